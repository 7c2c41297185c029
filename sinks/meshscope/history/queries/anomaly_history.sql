-- question: Which anomalies were there, when did each open and end?
-- parameters: limit UInt32 = 50
-- columns: opened_at, resolved_at, status, cluster, severity, code, title, resource, proxies,
--          fingerprint, episode
SELECT
    min(anomalies.opened_at) AS opened_at,
    argMax(anomalies.resolved_at, order_of) AS resolved_at,
    argMax(status, order_of) AS status,
    cluster,
    argMax(severity, order_of) AS severity,
    argMax(code, order_of) AS code,
    argMax(title, order_of) AS title,
    argMax(resource, order_of) AS resource,
    groupUniqArrayArray(proxies) AS proxies,
    fingerprint,
    episode
FROM
(
    SELECT *, tuple(broker_at, kafka_offset) AS order_of
    FROM anomalies
) AS anomalies
GROUP BY cluster, fingerprint, episode
ORDER BY opened_at DESC, cluster, fingerprint
LIMIT {limit:UInt32}
