-- question: Which proxies are there now, and what does verification say of each?
-- columns: cluster, proxy, verdict, reason, differences, equivalent, unverifiable, coverage, policies,
--          limits, live, connected, istio_version, verified_at, seen_at
WITH
    verdict AS
    (
        SELECT
            cluster,
            proxy,
            argMax(tuple(verdict, reason, differences, equivalent, unverifiable, coverage, policies, notes),
                   tuple(broker_at, revision)) AS last,
            max(observed_at) AS verified_at
        FROM verdicts
        GROUP BY cluster, proxy
    ),
    snapshot AS
    (
        SELECT
            cluster,
            proxy,
            argMax(tuple(live, connected, istio_version, deleted), tuple(broker_at, sequence)) AS last,
            max(observed_at) AS seen_at
        FROM snapshots
        GROUP BY cluster, proxy
    )
SELECT
    snapshot.cluster AS cluster,
    snapshot.proxy AS proxy,
    if(verdict.proxy = '', 'unknown', verdict.last.1) AS verdict,
    verdict.last.2 AS reason,
    verdict.last.3 AS differences,
    verdict.last.4 AS equivalent,
    verdict.last.5 AS unverifiable,
    verdict.last.6 AS coverage,
    verdict.last.7 AS policies,
    verdict.last.8 AS limits,
    snapshot.last.1 AS live,
    snapshot.last.2 AS connected,
    snapshot.last.3 AS istio_version,
    if(verdict.proxy = '', NULL, verdict.verified_at) AS verified_at,
    snapshot.seen_at AS seen_at
FROM snapshot
LEFT JOIN verdict USING (cluster, proxy)
WHERE NOT snapshot.last.4
ORDER BY cluster, proxy
