-- question: Which anomalies are open now?
-- columns: opened_at, updated_at, cluster, severity, code, layer, title, resource, proxies,
--          evidence_keys, evidence_expected, evidence_observed, repair, fingerprint
WITH
    -- On a new log of verdicts every anomaly that is still there is said anew; what is older was
    -- open on an earlier log and is never resolved there.
    (
        SELECT min(broker_at)
        FROM verdicts
        WHERE log_epoch = (SELECT argMax(log_epoch, broker_at) FROM verdicts)
    ) AS current_log_began
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
    WHERE broker_at >= current_log_began
) AS anomalies
GROUP BY cluster, fingerprint
HAVING argMax(status, order_of) != 'resolved'
ORDER BY opened_at DESC, cluster, fingerprint
