-- Where each table ends, in every part of it.
--
-- A sink that is given partitions asks every table for its highest offset per log, topic and
-- partition. The projection answers that without reading the rows, however long the history is. It
-- stands in the part of the rows it sums up, so it is there exactly when they are. Merges that drop
-- repeated rows build it anew. Parts from before this migration are read as they were.

ALTER TABLE resources MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE resources ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE control_plane MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE control_plane ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE syncs MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE syncs ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE snapshots MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE snapshots ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE policy_shards MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE policy_shards ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE policies MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE policies ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE drift MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE drift ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE verdicts MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE verdicts ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE anomalies MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE anomalies ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
