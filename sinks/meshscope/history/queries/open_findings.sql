-- question: What stands between the declaration and the proxies now, of one proxy or (empty name) of all?
-- parameters: proxy String = ''
-- columns: opened_at, cluster, proxy, code, key, expected, observed, subject, resource, episode,
--          observed_at
SELECT
    max(opened_at) AS opened_at,
    cluster,
    proxy,
    argMax(code, revision) AS code,
    argMax(key, revision) AS key,
    argMax(expected, revision) AS expected,
    argMax(observed, revision) AS observed,
    argMax(subject, revision) AS subject,
    argMax(resource, revision) AS resource,
    episode,
    max(findings.observed_at) AS observed_at
FROM findings
WHERE ({proxy:String} = '' OR proxy = {proxy:String})
    -- A Pod of which no snapshot has arrived was never verified.
    AND ((cluster, proxy, log_epoch) IN (SELECT cluster, proxy, log_epoch FROM verified_logs)
        OR (cluster, proxy) NOT IN (SELECT cluster, proxy FROM verified_logs))
GROUP BY cluster, proxy, episode
HAVING argMax(status, revision) != 'closed'
ORDER BY opened_at DESC, cluster, proxy, key
