-- What stands between a declaration and a proxy, and which drifts that explains.

CREATE TABLE findings
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    opened_at DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    proxy LowCardinality(String),
    episode String,
    status LowCardinality(String),
    key String,
    code LowCardinality(String),
    subject String,
    resource String,
    expected String,
    observed String,
    snapshot String,
    revision UInt64,
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, proxy, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1,
    deduplicate_merge_projection_mode = 'rebuild'
;
ALTER TABLE findings ADD PROJECTION IF NOT EXISTS places
(
    SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
    GROUP BY log_epoch, kafka_topic, kafka_partition
)
;
ALTER TABLE drift
    ADD COLUMN cause_code LowCardinality(String) AFTER witness,
    ADD COLUMN cause_subject String AFTER cause_code,
    ADD COLUMN cause_resource String AFTER cause_subject
