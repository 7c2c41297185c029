-- question: Which differences are open now, of one proxy or (empty name) of all?
-- parameters: proxy String = ''
-- columns: opened_at, cluster, proxy, kind, key, code, change, effect, expected, observed,
--          field_paths, field_expected, field_observed, sources, episode, observed_at
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
    argMax(field_paths, revision) AS field_paths,
    argMax(field_expected, revision) AS field_expected,
    argMax(field_observed, revision) AS field_observed,
    argMax(sources, revision) AS sources,
    episode,
    max(drift.observed_at) AS observed_at
FROM drift
WHERE ({proxy:String} = '' OR proxy = {proxy:String})
    AND (cluster, proxy, log_epoch) IN (SELECT cluster, proxy, log_epoch FROM verified_logs)
GROUP BY cluster, proxy, episode
HAVING argMax(status, revision) != 'closed'
ORDER BY opened_at DESC, cluster, proxy, key
