-- question: Which differences were open at a time?
-- parameters: at DateTime64(3, 'UTC')
-- columns: opened_at, cluster, proxy, kind, key, code, change, effect, expected, observed, sources,
--          episode
WITH
    logs AS
    (
        SELECT cluster, proxy, argMax(log_epoch, observed_at) AS log_epoch
        FROM
        (
            SELECT cluster, proxy, log_epoch, observed_at
            FROM verdicts
            WHERE verdict NOT IN ('converging', 'unknown')
            UNION ALL
            SELECT cluster, proxy, log_epoch, observed_at
            FROM drift
        )
        WHERE observed_at <= {at:DateTime64(3, 'UTC')}
        GROUP BY cluster, proxy
    )
SELECT
    max(opened_at) AS opened_at,
    cluster,
    proxy,
    argMax(kind, revision) AS kind,
    argMax(key, revision) AS key,
    argMax(code, revision) AS code,
    argMax(change, revision) AS change,
    argMax(effect, revision) AS effect,
    argMax(expected, revision) AS expected,
    argMax(observed, revision) AS observed,
    argMax(sources, revision) AS sources,
    episode
FROM drift
WHERE drift.observed_at <= {at:DateTime64(3, 'UTC')}
    AND (cluster, proxy, log_epoch) IN (SELECT cluster, proxy, log_epoch FROM logs)
GROUP BY cluster, proxy, episode
HAVING argMax(status, revision) != 'closed'
ORDER BY opened_at, cluster, proxy, key
