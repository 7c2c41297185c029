-- question: What changed in the control plane between two times?
-- parameters: from DateTime64(3, 'UTC'), to DateTime64(3, 'UTC')
-- columns: observed_at, change, cluster, kind, namespace, name, resource_version, file
SELECT observed_at, change, cluster, kind, namespace, name, resource_version, file
FROM resource_changes
WHERE observed_at > {from:DateTime64(3, 'UTC')} AND observed_at <= {to:DateTime64(3, 'UTC')}
ORDER BY observed_at, cluster, kind, namespace, name
