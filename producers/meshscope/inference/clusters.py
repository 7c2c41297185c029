"""Clusters: how connections to a destination, or to the workload itself, are made."""

from typing import Final, Literal

from meshscope.inference.cluster_limits import connection_pool, load_balancing, outlier_detection
from meshscope.inference.endpoints import configured_addresses
from meshscope.inference.names import resource, target
from meshscope.inference.reader import Message
from meshscope.inference.tls import PROXY_PROTOCOL, RAW_BUFFER, UPSTREAM_TLS, client_tls
from meshscope.policy.destination import ClientTls, Destination, Service
from meshscope.policy.inbound import Upstream
from meshscope.policy.source import ResourceRef

Protocol = Literal["http1", "http2", "auto", "downstream"]

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_FETCHED: Final = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
"""Where Istio lets Envoy fetch endpoints and routes from: the control plane's own stream."""

_METADATA_EXCHANGE: Final = [
    {
        "name": "istio.metadata_exchange",
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": ("type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange"),
            "value": {"enable_discovery": True, "protocol": "istio-peer-exchange"},
        },
    }
]
_RESOLVER: Final = {
    "name": "envoy.network.dns_resolver.cares",
    "typed_config": {
        "@type": "type.googleapis.com/"
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "udp_max_queries": 100,
    },
}
_MUTUAL: Final = {"tlsMode": "istio"}
"""Label of endpoints with a sidecar that takes mutual TLS."""

_DISCOVERY: Final = {
    "STATIC": "static",
    "STRICT_DNS": "strict_dns",
    "LOGICAL_DNS": "logical_dns",
    "EDS": "eds",
    "ORIGINAL_DST": "original_dst",
}
DNS: Final = frozenset(("strict_dns", "logical_dns"))
_FAMILIES: Final = {
    "AUTO": "",
    "V4_ONLY": "v4_only",
    "V6_ONLY": "v6_only",
    "V4_PREFERRED": "v4_preferred",
    "ALL": "all",
}
_PROXY_PROTOCOLS: Final = {"V1": "v1", "V2": "v2"}
_DEFAULT_DNS_REFRESH_MS: Final = 5_000


class ClusterReader:
    """Reads the settings that outbound and inbound clusters share.

    Attributes:
        name: Name of the cluster.
        discovery: As in `Destination`.
        services, sources: What its metadata name.
    """

    def __init__(self, cluster: Message, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.discovery = cluster.word("type", _DISCOVERY, "static")
        self._metadata(cluster)
        self._options = self._http_options(cluster)
        self._upstream = self._options and self._options.message("upstream_http_protocol_options")
        self.protocol = self._protocol(cluster)

    def _metadata(self, cluster: Message) -> None:
        self.services: tuple[Service, ...] = ()
        self.sources: tuple[ResourceRef, ...] = ()
        self.external = False
        self.alpn_override = True
        metadata = cluster.message("metadata")
        filters = None if metadata is None else metadata.message("filter_metadata")
        istio = None if filters is None else filters.message("istio")
        if istio is None:
            return
        self.services = tuple(
            Service(item.string("host"), item.string("namespace"), item.string("name"))
            for item in istio.messages("services")
        )
        found = istio.convert("config", resource, None)
        self.sources = () if found is None else (found,)
        self.external = istio.boolean("external")
        self.alpn_override = not istio.constant("alpn_override", "false")
        subset = target(self.name).subset
        if subset:
            istio.require("subset", subset)

    def _http_options(self, cluster: Message) -> Message | None:
        extensions = cluster.message("typed_extension_protocol_options")
        if extensions is None:
            return None
        found = extensions.any(HTTP_OPTIONS)
        if found is None or found[0] != HTTP_OPTIONS:
            if found is not None:
                found[1].unread()
            return None
        return found[1]

    def _protocol(self, cluster: Message) -> Protocol:
        self._http2: Message | None = None
        options = self._options
        if options is None:
            return "http2" if self._explicit_http2(cluster) else "http1"
        if options.constant(
            "use_downstream_protocol_config",
            {"http_protocol_options": {}, "http2_protocol_options": {}},
        ):
            return "downstream"
        if (dynamic := options.message("use_downstream_protocol_config")) is not None:
            dynamic.require("http_protocol_options", {})
            self._http2 = dynamic.message("http2_protocol_options")
            if self._http2 is None:
                dynamic.remark("http2_protocol_options", "missing")
            return "downstream"
        if (explicit := options.message("explicit_http_config")) is not None:
            self._http2 = explicit.message("http2_protocol_options")
            explicit.constant("http_protocol_options", {})
            return "http1" if self._http2 is None else "http2"
        if (automatic := options.message("auto_config")) is not None:
            automatic.constant("http_protocol_options", {})
            self._http2 = automatic.message("http2_protocol_options")
            return "auto"
        return "http1"

    def _explicit_http2(self, cluster: Message) -> bool:
        self._http2 = cluster.message("http2_protocol_options")
        return self._http2 is not None

    def destination(self) -> Destination:
        """The cluster as the traffic policy of a destination."""
        cluster = self._cluster
        proxy_protocol, tls_mode, tls = self._sockets()
        dns = self.discovery in DNS
        if dns:
            cluster.require("typed_dns_resolver_config", _RESOLVER)
        elif self.discovery == "original_dst":
            # What resolved names stays where a DestinationRule passes connections through.
            cluster.constant("typed_dns_resolver_config", _RESOLVER)
        refresh = cluster.milliseconds("dns_refresh_rate")
        return Destination(
            discovery=self.discovery,
            protocol=self.protocol,
            load_balancing=load_balancing(cluster),
            connection_pool=connection_pool(cluster, self._options, self._http2),
            outlier_detection=outlier_detection(cluster),
            tls_mode=tls_mode,
            tls=tls,
            proxy_protocol=proxy_protocol,
            external=self.external,
            dns_refresh_ms=(_DEFAULT_DNS_REFRESH_MS if dns else 0) if refresh is None else refresh,
            dns_respect_ttl=cluster.boolean("respect_dns_ttl"),
            dns_family=cluster.word("dns_lookup_family", _FAMILIES, ""),
            dns_jitter_ms=cluster.milliseconds("dns_jitter") or 0,
            metadata_exchange=cluster.constant("filters", _METADATA_EXCHANGE),
            alpn_override=self.alpn_override,
            source_address=self._source_address(),
            services=self.services,
            eds_service_name=self._service_name(),
        )

    def _source_address(self) -> str:
        bind = self._cluster.message("upstream_bind_config")
        source = None if bind is None else bind.message("source_address")
        if source is None:
            return ""
        source.constant("port_value", 0)
        return source.string("address")

    def _service_name(self) -> str:
        eds = self._cluster.message("eds_cluster_config")
        if eds is None:
            if self.discovery == "eds":
                self._cluster.remark("eds_cluster_config", "missing")
            return ""
        eds.require("eds_config", _FETCHED)
        service = eds.string("service_name")
        return "" if service == self.name else service

    def _sockets(self) -> tuple[str, Literal["auto", "always", "never"], ClientTls | None]:
        """PROXY protocol, TLS mode and TLS parameters."""
        matches = self._cluster.peek("transport_socket_matches")
        if matches:
            return self._matched_sockets()
        socket = self._cluster.message("transport_socket", "TransportSocket")
        if socket is None:
            if self._upstream is not None:
                # Without TLS they have no effect.
                self._upstream.boolean("auto_sni")
                self._upstream.boolean("auto_san_validation")
            return "", "never", None
        proxy_protocol, tls = self._socket(socket)
        return proxy_protocol, "never" if tls is None else "always", tls

    def _matched_sockets(self) -> tuple[str, Literal["auto", "always", "never"], ClientTls | None]:
        """What is spoken to endpoints with Istio's label, and to all others.

        The first match that holds counts, so that those behind it have no effect.
        """
        matches = self._cluster.messages("transport_socket_matches", "SocketMatch")
        labelled = next((m for m in matches if (m.peek("match") or {}) in (_MUTUAL, {})), None)
        others = next((m for m in matches if not m.peek("match")), None)
        if labelled is None or others is None:
            for item in matches:
                item.unread()
            return "", "never", None
        for item in matches:
            if (item.peek("match") or {}) not in (_MUTUAL, {}):
                item.unread()
            elif item is not labelled and item is not others:
                item.rest.clear()
        proxy_protocol, tls = self._used_socket(labelled)
        if others is labelled:
            return proxy_protocol, "never" if tls is None else "always", tls
        other_protocol, other_tls = self._used_socket(others)
        if other_protocol != proxy_protocol or (other_tls is not None and other_tls != tls):
            what = f"{proxy_protocol} {tls} and {other_protocol} {other_tls}"
            self._cluster.remark("transport_socket_matches", what)
        if tls is None:
            return proxy_protocol, "never", None
        return proxy_protocol, "auto" if other_tls is None else "always", tls

    def _used_socket(self, match: Message) -> tuple[str, ClientTls | None]:
        match.json("match")
        return self._socket(match.need("transport_socket", "TransportSocket"))

    def _socket(self, socket: Message) -> tuple[str, ClientTls | None]:
        """PROXY protocol version and TLS of a transport socket."""
        found = socket.configured()
        if found is None:
            return "", None
        kind, config = found
        if kind == RAW_BUFFER:
            return "", None
        if kind == PROXY_PROTOCOL:
            settings = config.message("config")
            version = "v1" if settings is None else settings.word("version", _PROXY_PROTOCOLS, "v1")
            inner = config.message("transport_socket", "TransportSocket")
            return version, None if inner is None else self._socket(inner)[1]
        if kind != UPSTREAM_TLS:
            config.unread()
            return "", None
        options = self._upstream
        return "", client_tls(
            config,
            auto_sni=options is not None and options.boolean("auto_sni"),
            auto_san_validation=options is not None and options.boolean("auto_san_validation"),
        )

    def upstream(self, own: frozenset[str], self_address: str) -> Upstream:
        """The cluster as the way to the workload itself.

        Args:
            own: The workload's own addresses.
            self_address: What stands for them.
        """
        cluster = self._cluster
        kind: Literal["original_dst", "static"]
        if self.discovery == "original_dst":
            kind = "original_dst"
            cluster.require("lb_policy", "CLUSTER_PROVIDED")
        elif self.discovery == "static":
            kind = "static"
        else:
            kind = "static"
            cluster.remark("type", self.discovery)
        cluster.constant("common_lb_config", {})
        cluster.constant("dns_lookup_family", "AUTO")
        return Upstream(
            kind=kind,
            addresses=tuple(
                self_address + address.removeprefix(found)
                if (found := address.rpartition(":")[0]) in own
                else address
                for address in configured_addresses(cluster)
            ),
            source_address=self._source_address(),
            protocol=self.protocol,
            connection_pool=connection_pool(cluster, self._options, self._http2),
        )
