"""The fields of a dump that say nothing about policies, each with the reason.

Keys are Envoy's message name (for sections that of the dump, for parts of a section a name that
the reader gave them) and the field. Whatever is neither read nor here becomes an `extension`.
"""

from typing import Final

_STATISTICS: Final = "Only names statistics; no connection or request is treated differently."
_OWN: Final = (
    "The sidecar agent's own: taken from its bootstrap file at start, not from the control plane."
)
_BY_TYPE: Final = "Envoy finds the extension by the type of its configuration, which is read."
_REFUSED: Final = (
    "Logs and counts what is refused on the listener's own port; the refusal itself is read."
)

IGNORED: Final[dict[tuple[str, str], str]] = {
    ("BootstrapConfigDump", "last_updated"): "When the process started.",
    ("Bootstrap", "admin"): _OWN,
    ("Bootstrap", "application_log_config"): _OWN,
    ("Bootstrap", "bootstrap_extensions"): _OWN,
    ("Bootstrap", "cluster_manager"): _OWN,
    ("Bootstrap", "default_regex_engine"): _OWN,
    ("Bootstrap", "dynamic_resources"): _OWN,
    ("Bootstrap", "flags_path"): _OWN,
    ("Bootstrap", "header_prefix"): _OWN,
    ("Bootstrap", "hds_config"): _OWN,
    ("Bootstrap", "inline_headers"): _OWN,
    ("Bootstrap", "layered_runtime"): _OWN,
    ("Bootstrap", "overload_manager"): _OWN,
    ("Bootstrap", "static_resources"): _OWN,
    ("Bootstrap", "stats_config"): _OWN,
    ("Bootstrap", "stats_flush_interval"): _OWN,
    ("Bootstrap", "stats_server_version_override"): _OWN,
    ("Bootstrap", "stats_sinks"): _OWN,
    ("Bootstrap", "tracing"): _OWN,
    ("Bootstrap", "typed_dns_resolver_config"): _OWN,
    ("Bootstrap", "use_tcp_for_dns_lookups"): _OWN,
    ("Bootstrap", "watchdogs"): _OWN,
    ("Node", "cluster"): "A name for logs of the control plane; the node's metadata say who it is.",
    ("Node", "extensions"): "Which extensions are compiled in.",
    ("Node", "client_features"): "What the xDS client can do.",
    ("Node", "listening_addresses"): "Not used by Istio.",
    ("Node", "hidden_envoy_deprecated_build_version"): "An older way to write the version.",
    ("ClustersConfigDump", "static_clusters"): _OWN,
    ("EndpointsConfigDump", "static_endpoint_configs"): _OWN,
    ("ListenersConfigDump", "static_listeners"): _OWN,
    ("RoutesConfigDump", "static_route_configs"): (
        "Copies of route configurations that stand in listeners, those of draining filter chains "
        "among them; the active listener's is read."
    ),
    ("Listener", "name"): "Repeats address and port, which are read; names statistics.",
    ("Listener", "stat_prefix"): _STATISTICS,
    ("Listener", "max_connections_to_accept_per_socket_event"): (
        "How many connections are accepted at a time, not which."
    ),
    ("Listener", "tcp_backlog_size"): "Length of the kernel's queue of connections.",
    ("FilterChain", "name"): "Names the chain in logs and for updates.",
    ("TlsInspector", "initial_read_buffer_size"): (
        "How much of the handshake is read at first; more is read where it is needed."
    ),
    ("HttpConnectionManager", "stat_prefix"): _STATISTICS,
    ("TcpProxy", "stat_prefix"): _STATISTICS,
    ("MongoProxy", "stat_prefix"): _STATISTICS,
    ("MySQLProxy", "stat_prefix"): _STATISTICS,
    ("ExtAuthz", "stat_prefix"): _STATISTICS,
    ("RBAC", "stat_prefix"): _STATISTICS,
    ("RBAC", "rules_stat_prefix"): _STATISTICS,
    ("RBAC", "track_per_rule_stats"): _STATISTICS,
    ("RBAC without dry run", "shadow_rules_stat_prefix"): (
        "Names the result of rules in dry run, of which there are none."
    ),
    ("RBAC without dry run", "stat_prefix"): _STATISTICS,
    ("filter before a refusing one", "name"): _REFUSED,
    ("filter before a refusing one", "typed_config"): _REFUSED,
    ("refusing TcpProxy", "access_log"): _REFUSED,
    ("refusing TcpProxy", "stat_prefix"): _STATISTICS,
    ("RouteConfiguration", "validate_clusters"): (
        "Whether Envoy rejects a route table that names a missing cluster; once it is accepted "
        "it acts alike."
    ),
    ("RouteConfiguration of the workload", "name"): _STATISTICS,
    ("RouteConfiguration of the workload", "validate_clusters"): (
        "Whether Envoy rejects a listener that names a missing cluster; once it is accepted it "
        "acts alike."
    ),
    ("VirtualHost of the workload", "name"): _STATISTICS,
    ("RegexMatcher", "google_re2"): "There is only one regex engine.",
    ("AccessLog", "name"): _BY_TYPE,
    ("ListenerFilter", "name"): _BY_TYPE,
    ("RetryPriority", "name"): _BY_TYPE,
    ("TransportSocket", "name"): _BY_TYPE,
    ("TypedExtensionConfig", "name"): _BY_TYPE,
    ("Cluster", "alt_stat_name"): _STATISTICS,
    ("Cluster", "cleanup_interval"): (
        "How long an unused original destination is remembered; the next connection finds it again."
    ),
    ("ClusterLoadAssignment", "cluster_name"): "Repeats the name of the cluster it stands in.",
    ("SocketMatch", "name"): "Names statistics; the labels that it matches are read.",
    ("SecretsConfigDump", "static_secrets"): _OWN,
}
