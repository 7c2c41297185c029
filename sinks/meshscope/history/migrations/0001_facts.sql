-- The facts, one table per kind.
--
-- Every table bears where its row stands in Kafka (log_epoch, kafka_topic, kafka_partition,
-- kafka_offset), and event_id, by which a record that was delivered twice is one row under FINAL.
-- Times are UTC with milliseconds: observed_at by the clock of the observer, broker_at as Kafka has
-- it, recorded_at by ClickHouse's own clock.
--
-- Partitions and TTL go by recorded_at, which is the same for all rows of an insert. So an insert
-- is one part, which is there or not, and an observer whose clock is wrong by years neither
-- scatters its rows nor has them deleted.

CREATE TABLE resources
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    origin LowCardinality(String),
    cluster LowCardinality(String),
    api_group LowCardinality(String),
    version LowCardinality(String),
    kind LowCardinality(String),
    namespace LowCardinality(String),
    name String,
    deleted Bool,
    labels Map(LowCardinality(String), String),
    annotations Map(LowCardinality(String), String),
    created_at Nullable(String),
    uid String,
    resource_version String,
    file String,
    line UInt32,
    body String CODEC(ZSTD(3)),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, kind, namespace, name, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE control_plane
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    origin LowCardinality(String),
    cluster LowCardinality(String),
    revision LowCardinality(String),
    version LowCardinality(String),
    mesh_config String CODEC(ZSTD(3)),
    mesh_networks String CODEC(ZSTD(3)),
    environment Map(LowCardinality(String), String),
    assumed Array(LowCardinality(String)),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, revision, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE syncs
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    origin LowCardinality(String),
    cluster LowCardinality(String),
    epoch String,
    count UInt32,
    revision String,
    problems Array(String),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, origin, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE snapshots
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    config_at DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    proxy LowCardinality(String),
    namespace LowCardinality(String),
    deleted Bool,
    epoch String,
    sequence UInt64,
    started_at DateTime64(3, 'UTC'),
    root String,
    ir_version UInt16,
    live LowCardinality(String),
    connected Nullable(Bool),
    rejected_types Array(LowCardinality(String)),
    rejected_resources Array(String),
    rejected_details Array(String),
    rejected_at Array(DateTime64(3, 'UTC')),
    warming Array(String),
    draining UInt32,
    versions Map(LowCardinality(String), String),
    certificate_expires_at DateTime64(3, 'UTC'),
    certificate_identity String,
    incomplete Array(String),
    error String,
    shards Map(String, String),
    policies UInt32,
    unreferenced Array(String),
    labels Map(LowCardinality(String), String),
    annotations Map(LowCardinality(String), String),
    service_account LowCardinality(String),
    addresses Array(String),
    node_name LowCardinality(String),
    region LowCardinality(String),
    zone LowCardinality(String),
    sub_zone LowCardinality(String),
    network LowCardinality(String),
    dns_domain LowCardinality(String),
    istio_version LowCardinality(String),
    revision LowCardinality(String),
    interception LowCardinality(String),
    metadata String CODEC(ZSTD(3)),
    coverage_consumed UInt32,
    coverage_ignored UInt32,
    coverage_unexplained UInt32,
    agent_version LowCardinality(String),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, proxy, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE policy_shards
(
    event_id String,
    broker_at DateTime64(3, 'UTC'),
    digest String,
    kind LowCardinality(String),
    shard UInt16,
    ir_version UInt16,
    keys Array(String) CODEC(ZSTD(3)),
    digests Array(String) CODEC(ZSTD(3)),
    sources Array(String) CODEC(ZSTD(3)),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (kind, digest)
TTL toDateTime(recorded_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000
;
CREATE TABLE policies
(
    event_id String,
    broker_at DateTime64(3, 'UTC'),
    digest String,
    kind LowCardinality(String),
    ir_version UInt16,
    content String CODEC(ZSTD(3)),
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (kind, digest)
TTL toDateTime(recorded_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000
;
CREATE TABLE drift
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    opened_at DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    proxy LowCardinality(String),
    episode String,
    status LowCardinality(String),
    kind LowCardinality(String),
    key String,
    code LowCardinality(String),
    change LowCardinality(String),
    effect LowCardinality(String),
    expected String,
    observed String,
    field_paths Array(String),
    field_expected Array(String),
    field_observed Array(String),
    sources Array(String),
    resource_versions Array(String),
    snapshot String,
    declared String,
    witness String,
    revision UInt64,
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, proxy, key, observed_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE verdicts
(
    event_id String,
    observed_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    cluster LowCardinality(String),
    proxy LowCardinality(String),
    verdict LowCardinality(String),
    reason String,
    unverifiable Array(String),
    equivalent UInt32,
    differences UInt32,
    policies UInt32,
    coverage Float64,
    snapshot String,
    declared String,
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
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
CREATE TABLE anomalies
(
    event_id String,
    updated_at DateTime64(3, 'UTC'),
    broker_at DateTime64(3, 'UTC'),
    opened_at DateTime64(3, 'UTC'),
    resolved_at Nullable(DateTime64(3, 'UTC')),
    cluster LowCardinality(String),
    fingerprint String,
    episode String,
    status LowCardinality(String),
    layer LowCardinality(String),
    code LowCardinality(String),
    severity LowCardinality(String),
    title String,
    resource String,
    proxies Array(LowCardinality(String)),
    evidence_count UInt32,
    evidence_proxies Array(String),
    evidence_keys Array(String),
    evidence_expected Array(String),
    evidence_observed Array(String),
    repair String,
    log_epoch LowCardinality(String),
    kafka_topic LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset UInt64,
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(recorded_at)
ORDER BY (cluster, fingerprint, updated_at, event_id)
TTL toDateTime(recorded_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
;
