-- question: What did verification say of each proxy at a time?
-- parameters: at DateTime64(3, 'UTC')
-- columns: cluster, proxy, verdict, reason, differences, unverifiable, coverage, snapshot, verified_at
SELECT
    cluster,
    proxy,
    last.1 AS verdict,
    last.2 AS reason,
    last.3 AS differences,
    last.4 AS unverifiable,
    last.5 AS coverage,
    last.6 AS snapshot,
    verified_at
FROM
(
    SELECT
        cluster,
        proxy,
        argMax(tuple(verdict, reason, differences, unverifiable, coverage, snapshot),
               tuple(broker_at, revision)) AS last,
        max(verdicts.observed_at) AS verified_at
    FROM verdicts
    WHERE verdicts.observed_at <= {at:DateTime64(3, 'UTC')}
    GROUP BY cluster, proxy
)
WHERE last.1 != 'gone'
ORDER BY cluster, proxy
