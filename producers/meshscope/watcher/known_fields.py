"""The fields that Istio's resources have, so that a misspelt one is noticed.

A field that is not in a resource's schema is dropped by the API server without a word unless the
client asks for strict validation. Source: the CustomResourceDefinitions of Istio 1.31; fields that
older versions had are kept there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_TYPES: dict[str, str] = {
    # A word is a field. `field:Type` holds one message or a list of them, `field*:Type` a map from
    # free keys to messages. Fields without a type may hold anything.
    "Port": "number",
    "PortSpec": "name number protocol targetPort",
    "Selector": "matchLabels",
    "LabelSelector": "labels",
    "TargetRef": "group kind name namespace",
    "StringMatch": "exact prefix regex",
    "Percent": "value",
    "Destination": "host port:Port subset",
    "HeaderOperations": "add remove set",
    "Headers": "request:HeaderOperations response:HeaderOperations",
    # VirtualService
    "VirtualService": "exportTo gateways hosts http:HttpRoute tcp:TcpRoute tls:TlsRoute",
    "HttpRoute": (
        "corsPolicy:Cors delegate:Delegate directResponse:DirectResponse fault:Fault "
        "headers:Headers match:HttpMatch mirror:Destination mirrorPercent mirror_percent "
        "mirrorPercentage:Percent mirrors:Mirror name redirect:Redirect retries:Retries "
        "rewrite:Rewrite route:HttpDestination timeout"
    ),
    "HttpMatch": (
        "authority:StringMatch gateways headers*:StringMatch ignoreUriCase method:StringMatch "
        "name port queryParams*:StringMatch scheme:StringMatch sourceLabels sourceNamespace "
        "statPrefix uri:StringMatch withoutHeaders*:StringMatch"
    ),
    "HttpDestination": "destination:Destination headers:Headers weight",
    "Delegate": "name namespace",
    "DirectResponse": "body:DirectResponseBody status",
    "DirectResponseBody": "bytes string",
    "Redirect": "authority derivePort port prefixRewrite redirectCode scheme uri",
    "Rewrite": "authority uri uriRegexRewrite:RegexRewrite",
    "RegexRewrite": "match rewrite",
    "Retries": (
        "attempts backoff perTryTimeout retryIgnorePreviousHosts retryOn retryRemoteLocalities"
    ),
    "Mirror": "destination:Destination percentage:Percent",
    "Fault": "abort:Abort delay:Delay",
    "Abort": "grpcStatus http2Error httpStatus percentage:Percent",
    "Delay": "exponentialDelay fixedDelay percent percentage:Percent",
    "Cors": (
        "allowCredentials allowHeaders allowMethods allowOrigin allowOrigins:StringMatch "
        "exposeHeaders maxAge unmatchedPreflights"
    ),
    "RouteDestination": "destination:Destination weight",
    "TcpRoute": "match:TcpMatch route:RouteDestination",
    "TcpMatch": "destinationSubnets gateways port sourceLabels sourceNamespace sourceSubnet",
    "TlsRoute": "match:TlsMatch route:RouteDestination",
    "TlsMatch": "destinationSubnets gateways port sniHosts sourceLabels sourceNamespace",
    # DestinationRule
    "DestinationRule": (
        "exportTo host subsets:Subset trafficPolicy:TrafficPolicy workloadSelector:Selector"
    ),
    "Subset": "labels name trafficPolicy:TrafficPolicy",
    "TrafficPolicy": (
        "connectionPool:ConnectionPool loadBalancer:LoadBalancer outlierDetection:OutlierDetection "
        "portLevelSettings:PortPolicy proxyProtocol:ProxyProtocol retryBudget:RetryBudget "
        "tls:ClientTls tunnel:Tunnel"
    ),
    "PortPolicy": (
        "connectionPool:ConnectionPool loadBalancer:LoadBalancer outlierDetection:OutlierDetection "
        "port:Port tls:ClientTls"
    ),
    "ConnectionPool": "http:HttpPool tcp:TcpPool",
    "HttpPool": (
        "h2UpgradePolicy http1MaxPendingRequests http2KeepAlive:Http2KeepAlive http2MaxRequests "
        "idleTimeout maxConcurrentStreams maxRequestsPerConnection maxRetries useClientProtocol"
    ),
    "Http2KeepAlive": "interval timeout",
    "TcpPool": (
        "connectTimeout idleTimeout maxConnectionDuration maxConnections tcpKeepalive:TcpKeepalive"
    ),
    "TcpKeepalive": "interval probes time",
    "LoadBalancer": (
        "consistentHash:ConsistentHash localityLbSetting:LocalityLb simple warmup:Warmup "
        "warmupDurationSecs zoneAwareLbSetting:ZoneAwareLb"
    ),
    "ConsistentHash": (
        "httpCookie:HttpCookie httpHeaderName httpQueryParameterName maglev:Maglev minimumRingSize "
        "ringHash:RingHash useSourceIp"
    ),
    "HttpCookie": "attributes:NameValue name path ttl",
    "NameValue": "name value",
    "Maglev": "tableSize",
    "RingHash": "minimumRingSize",
    "LocalityLb": "distribute:FromTo enabled failover:FromTo failoverPriority",
    "ZoneAwareLb": "enabled failover:FromTo failoverPriority minClusterSize",
    "FromTo": "from to",
    "Warmup": "aggression duration minimumPercent",
    "OutlierDetection": (
        "baseEjectionTime consecutive5xxErrors consecutiveErrors consecutiveGatewayErrors "
        "consecutiveLocalOriginFailures interval maxEjectionPercent minHealthPercent "
        "outlierDetectionHttpErrorCodes splitExternalLocalOriginErrors"
    ),
    "ClientTls": (
        "caCertificates caCrl clientCertificate credentialName insecureSkipVerify mode privateKey "
        "sni subjectAltNames"
    ),
    "Tunnel": "protocol targetHost targetPort",
    "ProxyProtocol": "version",
    "RetryBudget": "budgetInterval minRetryConcurrency percent",
    # ServiceEntry, WorkloadEntry, Sidecar, Gateway
    "ServiceEntry": (
        "addresses endpoints:WorkloadEntry exportTo hosts location ports:PortSpec resolution "
        "subjectAltNames workloadSelector:LabelSelector"
    ),
    "WorkloadEntry": "address labels locality network ports serviceAccount weight",
    "WorkloadGroup": "metadata probe template:WorkloadEntry",
    "Sidecar": (
        "egress:SidecarEgress inboundConnectionPool:ConnectionPool ingress:SidecarIngress "
        "outboundTrafficPolicy:OutboundTrafficPolicy workloadSelector:LabelSelector"
    ),
    "SidecarEgress": "bind captureMode hosts port:PortSpec",
    "SidecarIngress": (
        "bind captureMode connectionPool:ConnectionPool defaultEndpoint port:PortSpec tls:ServerTls"
    ),
    "OutboundTrafficPolicy": "egressProxy:Destination mode",
    "Gateway": "selector servers:GatewayServer",
    "GatewayServer": "bind defaultEndpoint hosts name port:PortSpec tls:ServerTls",
    "ServerTls": (
        "caCertCredentialName caCertificates caCrl cipherSuites credentialName credentialNames "
        "httpsRedirect insecureSkipVerify maxProtocolVersion minProtocolVersion mode privateKey "
        "serverCertificate subjectAltNames tlsCertificates:TlsCertificate verifyCertificateHash "
        "verifyCertificateSpki"
    ),
    "TlsCertificate": "caCertificates privateKey serverCertificate",
    # Security
    "PeerAuthentication": "mtls:MutualTls portLevelMtls*:MutualTls selector:Selector",
    "MutualTls": "mode",
    "RequestAuthentication": (
        "jwtRules:JwtRule selector:Selector targetRef:TargetRef targetRefs:TargetRef"
    ),
    "JwtRule": (
        "audiences forwardOriginalToken fromCookies fromHeaders:JwtHeader fromParams issuer jwks "
        "jwksUri jwks_uri outputClaimToHeaders:ClaimToHeader outputPayloadToHeader "
        "spaceDelimitedClaims timeout"
    ),
    "JwtHeader": "name prefix",
    "ClaimToHeader": "claim header",
    "AuthorizationPolicy": (
        "action provider:Name rules:AuthorizationRule selector:Selector targetRef:TargetRef "
        "targetRefs:TargetRef"
    ),
    "Name": "name",
    "AuthorizationRule": "from:From to:To when:Condition",
    "From": "source:Source",
    "Source": (
        "ipBlocks namespaces notIpBlocks notNamespaces notPrincipals notRemoteIpBlocks "
        "notRequestPrincipals notServiceAccounts notTrustDomains principals remoteIpBlocks "
        "requestPrincipals serviceAccounts trustDomains"
    ),
    "To": "operation:Operation",
    "Operation": "hosts methods notHosts notMethods notPaths notPorts paths ports",
    "Condition": "key notValues values",
    # Telemetry and extensions
    "Telemetry": (
        "accessLogging:AccessLogging metrics:Metrics selector:Selector targetRef:TargetRef "
        "targetRefs:TargetRef tracing:Tracing"
    ),
    "AccessLogging": "disabled filter:Expression match:ModeMatch providers:Name",
    "Expression": "expression",
    "ModeMatch": "mode",
    "Metrics": "overrides:MetricsOverride providers:Name reportingInterval",
    "MetricsOverride": "disabled match:MetricMatch tagOverrides*:TagOverride",
    "MetricMatch": "customMetric metric mode",
    "TagOverride": "operation value",
    "Tracing": (
        "customTags*:CustomTag disableContextPropagation disableSpanReporting enableIstioTags "
        "match:ModeMatch providers:Name randomSamplingPercentage useRequestIdForTraceSampling"
    ),
    "CustomTag": "environment:TagSource formatter:Percent header:TagSource literal:Percent",
    "TagSource": "defaultValue name",
    "EnvoyFilter": (
        "configPatches:ConfigPatch priority targetRefs:TargetRef workloadSelector:LabelSelector"
    ),
    "ConfigPatch": "applyTo match:PatchMatch patch:Patch",
    "PatchMatch": (
        "cluster:ClusterMatch context listener:ListenerMatch proxy:ProxyMatch "
        "routeConfiguration:RouteConfigurationMatch waypoint:WaypointMatch"
    ),
    "ClusterMatch": "name portNumber service subset",
    "ListenerMatch": "filterChain:FilterChainMatch listenerFilter name portName portNumber",
    "FilterChainMatch": (
        "applicationProtocols destinationPort filter:FilterMatch name sni transportProtocol"
    ),
    "FilterMatch": "name subFilter:Name",
    "ProxyMatch": "metadata proxyVersion",
    "RouteConfigurationMatch": "gateway name portName portNumber vhost:VirtualHostMatch",
    "VirtualHostMatch": "domainName name route:RouteMatch",
    "RouteMatch": "action name",
    "WaypointMatch": "filter:FilterMatch portNumber route:Name",
    "Patch": "filterClass operation value",
    "ProxyConfig": "concurrency environmentVariables image:Image selector:Selector",
    "Image": "imageType",
    "WasmPlugin": (
        "failStrategy imagePullPolicy imagePullSecret match:TrafficSelector phase pluginConfig "
        "pluginName priority selector:Selector sha256 targetRef:TargetRef targetRefs:TargetRef "
        "type url verificationKey vmConfig:VmConfig"
    ),
    "TrafficSelector": "mode ports:Port",
    "VmConfig": "env:EnvironmentVariable",
    "EnvironmentVariable": "name value valueFrom",
    "TrafficExtension": (
        "lua:Lua match:TrafficSelector phase priority selector:Selector targetRefs:TargetRef "
        "wasm:Wasm"
    ),
    "Lua": "inlineCode",
    "Wasm": (
        "failStrategy imagePullPolicy imagePullSecret pluginConfig pluginName sha256 type url "
        "verificationKey vmConfig:VmConfig"
    ),
}

_KINDS: dict[str, tuple[str, ...]] = {
    "networking.istio.io": (
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "ProxyConfig",
        "ServiceEntry",
        "Sidecar",
        "VirtualService",
        "WorkloadEntry",
        "WorkloadGroup",
    ),
    "security.istio.io": ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"),
    "telemetry.istio.io": ("Telemetry",),
    "extensions.istio.io": ("TrafficExtension", "WasmPlugin"),
}
"""The kinds whose `spec` is known, by API group; each has a type of its own name."""

_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


def _parse(fields: str) -> dict[str, tuple[str, bool]]:
    """Field → (type, whether its keys are free)."""
    parsed: dict[str, tuple[str, bool]] = {}
    for word in fields.split():
        name, _, type_name = word.partition(":")
        parsed[name.removesuffix("*")] = (type_name, name.endswith("*"))
    return parsed


_FIELDS = {name: _parse(fields) for name, fields in _TYPES.items()}


@dataclass(frozen=True, slots=True, eq=False)
class UnknownField:
    """A field that a resource of this kind does not have.

    Attributes:
        holder: The mapping that holds it.
        name: As it is written.
        path: Where it stands, such as `spec.http[0].mathc`.
        suggestion: The known field that was probably meant; empty: none is alike.
    """

    holder: Mapping[str, Any]
    name: str
    path: str
    suggestion: str


def unknown_fields(group: str, kind: str, manifest: Mapping[str, Any]) -> Iterator[UnknownField]:
    """The fields of a manifest that its kind does not have; none for kinds that are not known."""
    if kind not in _KINDS.get(group, ()):
        return
    for name in manifest:
        if name not in _TOP_LEVEL:
            yield UnknownField(manifest, name, name, _alike(name, _TOP_LEVEL))
    yield from _walk(manifest.get("spec"), kind, "spec")


def _walk(value: Any, type_name: str, path: str) -> Iterator[UnknownField]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, type_name, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    known = _FIELDS[type_name]
    for name, field in value.items():
        here = f"{path}.{name}"
        if name not in known:
            yield UnknownField(value, name, here, _alike(name, known))
            continue
        field_type, free_keys = known[name]
        if not field_type:
            continue
        if not free_keys:
            yield from _walk(field, field_type, here)
        elif isinstance(field, dict):
            for key, item in field.items():
                yield from _walk(item, field_type, f"{here}[{key}]")


def _alike(name: str, known: Iterable[str]) -> str:
    by_lower = {field.lower(): field for field in known}
    close = get_close_matches(name.lower().replace("_", ""), list(by_lower), n=1, cutoff=0.75)
    return by_lower[close[0]] if close else ""
