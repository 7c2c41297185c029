-- question: Which proxies went in and out of drift most often?
-- parameters: hours UInt32 = 24, limit UInt32 = 20
-- columns: cluster, proxy, episodes, last_opened_at, keys
SELECT
    cluster,
    proxy,
    uniqExact(episode) AS episodes,
    max(opened_at) AS last_opened_at,
    groupUniqArray(10)(key) AS keys
FROM drift
WHERE drift.opened_at >= now64(3) - toIntervalHour({hours:UInt32})
GROUP BY cluster, proxy
HAVING episodes > 1
ORDER BY episodes DESC, cluster, proxy
LIMIT {limit:UInt32}
