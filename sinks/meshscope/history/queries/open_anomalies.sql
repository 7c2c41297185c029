-- question: Which anomalies are open now?
-- columns: opened_at, updated_at, cluster, severity, code, layer, title, resource, proxies,
--          evidence_keys, evidence_expected, evidence_observed, repair, fingerprint
WITH
    unresolved AS
    (
        SELECT
            argMax(anomalies.opened_at, order_of) AS opened_at,
            max(anomalies.updated_at) AS updated_at,
            cluster,
            argMax(severity, order_of) AS severity,
            argMax(code, order_of) AS code,
            argMax(layer, order_of) AS layer,
            argMax(title, order_of) AS title,
            argMax(resource, order_of) AS resource,
            argMax(proxies, order_of) AS proxies,
            argMax(evidence_keys, order_of) AS evidence_keys,
            argMax(evidence_expected, order_of) AS evidence_expected,
            argMax(evidence_observed, order_of) AS evidence_observed,
            argMax(repair, order_of) AS repair,
            fingerprint
        FROM
        (
            SELECT *, tuple(broker_at, kafka_offset) AS order_of
            FROM anomalies
        ) AS anomalies
        GROUP BY cluster, fingerprint
        HAVING argMax(status, order_of) != 'resolved'
    )
SELECT unresolved.*
FROM unresolved
WHERE (cluster, fingerprint) IN
(
    -- Not those whose proxies were all verified in a new log since, where nobody opened them again.
    SELECT cluster, fingerprint
    FROM
    (
        SELECT
            cluster,
            fingerprint,
            updated_at,
            arrayJoin(if(empty(proxies), [''], proxies)) AS proxy
        FROM unresolved
    ) AS affected
    LEFT JOIN verified_logs USING (cluster, proxy)
    WHERE verified_logs.since <= affected.updated_at
)
ORDER BY opened_at DESC, cluster, fingerprint
