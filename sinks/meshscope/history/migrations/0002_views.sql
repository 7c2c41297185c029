-- What several questions need.
--
-- verified_logs: per proxy the log on which verification stands, and since when it has said
-- something definite there. A broker that lost its log begins a new one, and with it verification
-- begins anew: what was open in an earlier log and is not opened again is not closed there either,
-- yet it is no longer open.
--
-- resource_changes: the rows of resources that changed something. A watcher that starts publishes
-- all that there is once more.

CREATE VIEW verified_logs AS
SELECT
    cluster,
    proxy,
    argMax(log_epoch, last) AS log_epoch,
    argMax(first, last) AS since
FROM
(
    SELECT cluster, proxy, log_epoch, min(observed_at) AS first, max(observed_at) AS last
    FROM
    (
        SELECT cluster, proxy, log_epoch, observed_at
        FROM verdicts
        WHERE verdict NOT IN ('converging', 'unknown')
        UNION ALL
        SELECT cluster, proxy, log_epoch, observed_at
        FROM drift
    )
    GROUP BY cluster, proxy, log_epoch
)
GROUP BY cluster, proxy
;
CREATE VIEW resource_changes AS
SELECT
    observed_at,
    multiIf(deleted, 'deleted', number = 1 OR was_deleted, 'created', 'changed') AS change,
    origin,
    cluster,
    api_group,
    kind,
    namespace,
    name,
    resource_version,
    file,
    line,
    body
FROM
(
    SELECT
        *,
        cityHash64(deleted, labels, annotations, body) AS content,
        row_number() OVER history AS number,
        lagInFrame(content) OVER history AS content_before,
        lagInFrame(deleted) OVER history AS was_deleted
    FROM resources FINAL
    WINDOW history AS
    (
        PARTITION BY origin, cluster, api_group, kind, namespace, name
        ORDER BY broker_at, kafka_offset
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
)
WHERE number = 1 OR content != content_before
;
