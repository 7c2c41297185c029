-- question: What changed in the control plane in the minutes before the first difference of a proxy
--           that is open now?
-- parameters: proxy String, minutes UInt32 = 10
-- columns: observed_at, change, kind, namespace, name, resource_version, file
WITH
    (
        SELECT min(opened)
        FROM
        (
            SELECT min(drift.opened_at) AS opened
            FROM drift
            WHERE proxy = {proxy:String}
                AND (cluster, proxy, log_epoch)
                    IN (SELECT cluster, proxy, log_epoch FROM verified_logs)
            GROUP BY cluster, episode
            HAVING argMax(status, revision) != 'closed'
        )
    ) AS first_opened
SELECT observed_at, change, kind, namespace, name, resource_version, file
FROM resource_changes
WHERE observed_at BETWEEN first_opened - toIntervalMinute({minutes:UInt32}) AND first_opened
ORDER BY observed_at DESC, kind, namespace, name
