-- question: What changed in the control plane in the minutes before the first open difference of a
--           proxy?
-- parameters: proxy String, minutes UInt32 = 10
-- columns: observed_at, kind, namespace, name, deleted, resource_version, file
WITH
    (
        SELECT min(opened)
        FROM
        (
            SELECT min(drift.opened_at) AS opened
            FROM drift
            WHERE proxy = {proxy:String}
            GROUP BY cluster, episode
            HAVING argMax(status, revision) != 'closed'
        )
    ) AS first_opened
SELECT observed_at, kind, namespace, name, deleted, resource_version, file
FROM resources FINAL
WHERE observed_at BETWEEN first_opened - toIntervalMinute({minutes:UInt32}) AND first_opened
ORDER BY observed_at DESC, kind, namespace, name
