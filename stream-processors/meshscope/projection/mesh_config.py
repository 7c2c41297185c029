"""Mesh configuration with Istio's defaults written out.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from meshscope.projection.durations import milliseconds
from meshscope.projection.limits import Limit

Json = Mapping[str, Any]
OutboundMode = Literal["ALLOW_ANY", "REGISTRY_ONLY"]

PUBLIC: Final = "*"

_MODES: Final = ("ALLOW_ANY", "REGISTRY_ONLY")
_FIELDS: Final = frozenset(
    (
        "accessLogEncoding", "accessLogFile", "accessLogFormat", "ca", "caCertificates",
        "certificates", "configSources", "connectTimeout", "defaultConfig",
        "defaultDestinationRuleExportTo", "defaultHttpRetryPolicy", "defaultInboundHttpRetryPolicy",
        "defaultProviders", "defaultServiceExportTo", "defaultTrafficPolicy",
        "defaultVirtualServiceExportTo", "disableEnvoyListenerLog", "discoverySelectors",
        "dnsRefreshRate", "enableAutoMtls", "enableEnvoyAccessLogService", "enablePrometheusMerge",
        "enableTracing", "extensionProviders", "h2UpgradePolicy", "hboneIdleTimeout",
        "inboundClusterStatName", "inboundTrafficPolicy", "ingressClass",
        "ingressControllerMode", "ingressSelector", "ingressService", "localityLbSetting",
        "meshMTLS", "outboundClusterStatName", "outboundTrafficPolicy", "pathNormalization",
        "protocolDetectionTimeout", "proxyHttpPort", "proxyInboundListenPort", "proxyListenPort",
        "rootNamespace", "serviceEntryVisibility", "serviceScopeConfigs", "serviceSettings",
        "tcpKeepalive", "tlsDefaults", "trustDomain", "trustDomainAliases",
        "verifyCertificateAtClient",
    )
)  # fmt: skip
"""Every field that Istio has; what is not among them is a typing error, or newer than this."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshConfig:
    """The settings of the mesh.

    Attributes:
        given: MeshConfig as given, for blocks that a module reads for itself.
        root_namespace: Namespace whose policies hold everywhere.
        trust_domain, trust_domain_aliases: Of its identities.
        outbound_mode: What happens to traffic for hosts that the mesh does not know.
        service_exports, virtual_service_exports, destination_rule_exports: Who sees a resource
            without `exportTo`.
        retries: `defaultHttpRetryPolicy`; None: Istio's own.
        detection_timeout_ms: How long sniffing waits; 0: for ever.
        listen_port, inbound_port: Ports to which connections are redirected.
        http_proxy_port: Port of the explicit HTTP proxy; 0: none.
        notes: What could not be read.
    """

    given: Json = field(default_factory=dict)
    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    outbound_mode: OutboundMode = "ALLOW_ANY"
    service_exports: frozenset[str] = frozenset((PUBLIC,))
    virtual_service_exports: frozenset[str] = frozenset((PUBLIC,))
    destination_rule_exports: frozenset[str] = frozenset((PUBLIC,))
    retries: Json | None = None
    detection_timeout_ms: int = 0
    listen_port: int = 15001
    inbound_port: int = 15006
    http_proxy_port: int = 0
    notes: tuple[str, ...] = ()


def mesh_config(given: Json) -> MeshConfig:
    """Read MeshConfig; fields that Istio does not have are noted."""
    mode = (given.get("outboundTrafficPolicy") or {}).get("mode", "ALLOW_ANY")
    notes = [
        Limit.UNKNOWN_SETTING.note(
            f"the mesh configuration has the field {name!r}, which is not known here"
        )
        for name in sorted(given.keys() - _FIELDS)
    ]
    if mode not in _MODES:
        notes.append(
            Limit.UNKNOWN_SETTING.note(
                f"outboundTrafficPolicy {mode!r} is not known here; ALLOW_ANY is assumed"
            )
        )
        mode = "ALLOW_ANY"
    return MeshConfig(
        given=given,
        root_namespace=given.get("rootNamespace") or "istio-system",
        trust_domain=given.get("trustDomain") or "cluster.local",
        trust_domain_aliases=tuple(given.get("trustDomainAliases") or ()),
        outbound_mode=cast(OutboundMode, mode),
        service_exports=_exports(given.get("defaultServiceExportTo")),
        virtual_service_exports=_exports(given.get("defaultVirtualServiceExportTo")),
        destination_rule_exports=_exports(given.get("defaultDestinationRuleExportTo")),
        retries=given.get("defaultHttpRetryPolicy"),
        detection_timeout_ms=milliseconds(given.get("protocolDetectionTimeout") or "0"),
        listen_port=given.get("proxyListenPort") or 15001,
        inbound_port=given.get("proxyInboundListenPort") or 15006,
        http_proxy_port=given.get("proxyHttpPort") or 0,
        notes=tuple(notes),
    )


def _exports(given: Any) -> frozenset[str]:
    return frozenset((PUBLIC,)) if given is None else frozenset(given)
