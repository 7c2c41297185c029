-- question: Which causes hit most proxies?
-- parameters: hours UInt32 = 24, limit UInt32 = 20
-- columns: cluster, code, layer, resource, proxies, episodes, open, last_updated_at
SELECT
    cluster,
    code,
    layer,
    resource,
    uniqExactArray(proxies) AS proxies,
    uniqExact(episode) AS episodes,
    toBool(argMax(status, tuple(broker_at, kafka_offset)) != 'resolved') AS open,
    max(updated_at) AS last_updated_at
FROM anomalies
WHERE updated_at >= now64(3) - toIntervalHour({hours:UInt32})
GROUP BY cluster, code, layer, resource
ORDER BY proxies DESC, episodes DESC, cluster, code, resource
LIMIT {limit:UInt32}
