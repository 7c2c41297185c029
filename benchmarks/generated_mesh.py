"""A large mesh that is not uniform: its resources, its proxies, and changes of every kind.

Everything follows from the size, so that two runs measure the same mesh. Of the namespaces (one per
ten services) a fifth has a Sidecar resource; services speak HTTP, gRPC, TCP, TLS or something that
is detected; a quarter has a VirtualService and a DestinationRule; three zones; every resource kind
that a projection reads is there. Pods of a namespace differ by zone and by a label that
VirtualServices look at, and by the service that they stand behind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource

CLUSTER: Final = "Kubernetes"
ROOT: Final = "istio-system"
SERVICES_PER_NAMESPACE: Final = 10
NODES: Final = 60
ZONES: Final = ("a", "b", "c")

_GROUPS: Final = {
    **dict.fromkeys(("Namespace", "Node", "Pod", "Service"), ("", "v1")),
    "EndpointSlice": ("discovery.k8s.io", "v1"),
    **dict.fromkeys(("HTTPRoute", "GRPCRoute"), ("gateway.networking.k8s.io", "v1")),
    "WasmPlugin": ("extensions.istio.io", "v1alpha1"),
    "EnvoyFilter": ("networking.istio.io", "v1alpha3"),
    "Telemetry": ("telemetry.istio.io", "v1"),
    **dict.fromkeys(
        ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"),
        ("security.istio.io", "v1"),
    ),
}
_ISTIO: Final = ("networking.istio.io", "v1")

MESH_CONFIG: Final[Mapping[str, Any]] = {
    "accessLogFile": "/dev/stdout",
    "extensionProviders": [
        {
            "name": "sign-in",
            "envoyExtAuthzHttp": {"service": "svc-0000.team-000.svc.cluster.local", "port": 8080},
        }
    ],
}


@dataclass(frozen=True, slots=True)
class GeneratedMesh:
    """Resources by a name of their own, and proxies."""

    control_plane: ControlPlane
    resources: Mapping[str, Resource]
    proxies: tuple[ProxyInputs, ...]


def generate(sidecars: int = 2_000, services: int = 1_000) -> GeneratedMesh:
    """The mesh of a size; every service has the same number of pods, give or take one."""
    resources = {_name(each): each for each in _resources(sidecars, services)}
    proxies = tuple(_proxy(number, services) for number in range(sidecars))
    control_plane = ControlPlane("1.29.6", mesh_config=MESH_CONFIG, mesh_networks={})
    return GeneratedMesh(control_plane, resources, proxies)


def moved_endpoint(mesh: GeneratedMesh, number: int) -> tuple[str, Resource]:
    """A slice in which an endpoint is ready that was not, or the other way round."""
    slices = sorted(name for name in mesh.resources if name.startswith("EndpointSlice/"))
    name = slices[number * 7 % len(slices)]
    known = mesh.resources[name]
    endpoints = [dict(endpoint) for endpoint in known.body["endpoints"]]
    endpoints[0]["conditions"] = {"ready": number // len(slices) % 2 == 1}
    return name, replace(known, body={**known.body, "endpoints": endpoints})


def changes(mesh: GeneratedMesh) -> Iterator[tuple[str, str, Resource]]:
    """One change of each kind: what it is called, the resource's name, the resource after it."""

    def spec(name: str, **fields: Any) -> tuple[str, Resource]:
        known = mesh.resources[name]
        return name, replace(known, body={**known.body, "spec": {**known.spec, **fields}})

    yield ("EndpointSlice", *moved_endpoint(mesh, 5))
    pod = mesh.resources[_pod_key(40, len(mesh.proxies))]
    yield "Pod", _name(pod), replace(pod, labels={**pod.labels, "version": "v9"})
    yield (
        "Service",
        *spec(
            "Service/team-004/svc-0040",
            ports=[{"name": "http", "port": 8080}, {"name": "http-new", "port": 8090}],
        ),
    )
    yield (
        "ServiceEntry",
        *spec("ServiceEntry/team-002/api-002", ports=_ports((8443, "https-new", "HTTPS"))),
    )
    entry = mesh.resources["WorkloadEntry/team-003/vm-003"]
    yield (
        "WorkloadEntry",
        _name(entry),
        replace(entry, body={"spec": {**entry.spec, "address": "192.168.77.7"}}),
    )
    yield "VirtualService", *spec("VirtualService/team-004/svc-0040", http=[_route("svc-0040", 5)])
    yield (
        "DestinationRule",
        *spec(
            "DestinationRule/team-004/svc-0040",
            trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 7}}},
        ),
    )
    yield "Sidecar", *spec("Sidecar/team-004/default", egress=[{"hosts": ["./*"]}])
    yield (
        "PeerAuthentication",
        *spec("PeerAuthentication/team-005/default", mtls={"mode": "DISABLE"}),
    )
    yield (
        "RequestAuthentication",
        *spec("RequestAuthentication/team-004/svc-0040", jwtRules=[_token("other.example.com")]),
    )
    yield (
        "AuthorizationPolicy",
        *spec("AuthorizationPolicy/team-004/default", rules=[_from("team-009")]),
    )
    yield "Telemetry", *spec("Telemetry/team-000/default", accessLogging=[{"disabled": True}])
    yield (
        "EnvoyFilter",
        *spec("EnvoyFilter/team-003/patch", workloadSelector={"labels": {"app": "svc-0031"}}),
    )
    yield (
        "WasmPlugin",
        *spec("WasmPlugin/team-011/plugin", selector={"matchLabels": {"app": "svc-0111"}}),
    )
    route = mesh.resources["HTTPRoute/team-002/svc-0025"]
    yield "HTTPRoute", *spec("HTTPRoute/team-002/svc-0025", rules=route.spec["rules"] * 2)
    route = mesh.resources["GRPCRoute/team-010/svc-0101"]
    yield "GRPCRoute", *spec("GRPCRoute/team-010/svc-0101", rules=route.spec["rules"] * 2)
    node = mesh.resources["Node//node-03"]
    yield (
        "Node",
        _name(node),
        replace(node, labels={**node.labels, "topology.kubernetes.io/zone": "region-c"}),
    )
    space = mesh.resources["Namespace//team-007"]
    yield (
        "Namespace",
        _name(space),
        replace(space, annotations={"networking.istio.io/traffic-distribution": "PreferClose"}),
    )
    yield (
        "PeerAuthentication of the root namespace",
        *spec(f"PeerAuthentication/{ROOT}/default", mtls={"mode": "STRICT"}),
    )
    yield (
        "AuthorizationPolicy of the root namespace",
        *spec(f"AuthorizationPolicy/{ROOT}/default", rules=[_from("team-008")]),
    )
    yield (
        "Telemetry of the root namespace",
        *spec(f"Telemetry/{ROOT}/default", tracing=[{"randomSamplingPercentage": 5}]),
    )


def _name(resource: Resource) -> str:
    return f"{resource.kind}/{resource.namespace}/{resource.name}"


def _namespace(service: int) -> str:
    return f"team-{service // SERVICES_PER_NAMESPACE:03}"


def _service(service: int) -> str:
    return f"svc-{service:04}"


def _host(service: int) -> str:
    return f"{_service(service)}.{_namespace(service)}.svc.cluster.local"


def _address(service: int) -> str:
    return f"10.96.{service // 250}.{service % 250 + 1}"


def _pod(number: int, services: int) -> str:
    return f"{_service(number % services)}-5d8f7c-{number // services:05}"


def _pod_key(number: int, services: int) -> str:
    return f"Pod/{_namespace(number % services)}/{_pod(number, services)}"


def _pod_address(number: int) -> str:
    return f"10.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def _labels(number: int, services: int) -> dict[str, str]:
    service = number % services
    return {
        "app": _service(service),
        "version": f"v{1 + number // services % 2}",
        "tier": ("front", "back")[service % 2],
        "pod-template-hash": "5d8f7c",
        "security.istio.io/tlsMode": "istio",
    }


def _node(number: int) -> int:
    return number * 7 % NODES


def _shape(service: int) -> list[dict[str, Any]]:
    """Ports of a service: name, number, target."""
    shapes: tuple[list[tuple[str, int, int]], ...] = (
        [("http", 8080, 8080)],
        [("grpc", 9000, 9000), ("http-admin", 8081, 8081)],
        [("tcp-data", 3306 + service % 40, 3306)],
        [("", 7000 + service % 20, 7000)],
        [("http", 80, 8080), ("https", 443, 8443)],
    )
    return [
        {"port": port, "targetPort": target, **({"name": name} if name else {})}
        for name, port, target in shapes[service % 5]
    ]


def _resource(kind: str, namespace: str, name: str, body: Any, **metadata: Any) -> Resource:
    group, version = _GROUPS.get(kind, _ISTIO)
    return Resource(
        group,
        version,
        kind,
        namespace,
        name,
        created_at="2026-01-01T00:00:00Z",
        body=body,
        **metadata,
    )


def _istio(kind: str, namespace: str, name: str, **spec: Any) -> Resource:
    return _resource(kind, namespace, name, {"spec": spec})


def _resources(sidecars: int, services: int) -> Iterator[Resource]:
    namespaces = -(-services // SERVICES_PER_NAMESPACE)
    yield from _mesh_wide()
    for number in range(NODES):
        labels = {
            "topology.kubernetes.io/region": "region",
            "topology.kubernetes.io/zone": f"region-{ZONES[number % 3]}",
            "kubernetes.io/hostname": f"node-{number:02}",
        }
        yield _resource("Node", "", f"node-{number:02}", {}, labels=labels)
    for number in range(namespaces):
        yield from _of_namespace(number)
    for number in range(services):
        yield from _of_service(number)
        yield _slice(number, sidecars, services)
    for number in range(sidecars):
        yield _resource(
            "Pod",
            _namespace(number % services),
            _pod(number, services),
            {
                "spec": {
                    "nodeName": f"node-{_node(number):02}",
                    "serviceAccountName": _service(number % services),
                },
                "status": {"podIP": _pod_address(number)},
            },
            labels=_labels(number, services),
        )


def _mesh_wide() -> Iterator[Resource]:
    yield _resource("Namespace", "", ROOT, {})
    yield _istio("PeerAuthentication", ROOT, "default", mtls={"mode": "PERMISSIVE"})
    yield _istio("AuthorizationPolicy", ROOT, "default", action="DENY", rules=[_from("team-099")])
    yield _istio("Telemetry", ROOT, "default", tracing=[{"randomSamplingPercentage": 1}])


def _of_namespace(number: int) -> Iterator[Resource]:
    name = f"team-{number:03}"
    yield _resource("Namespace", "", name, {}, labels={"kubernetes.io/metadata.name": name})
    if number % 5 == 4:
        others = (f"team-{(number + step) % 100:03}/*" for step in (1, 2, 3))
        yield _istio("Sidecar", name, "default", egress=[{"hosts": ["./*", *others]}])
    if number % 5 == 0:
        yield _istio("PeerAuthentication", name, "default", mtls={"mode": "STRICT"})
    if number % 2 == 0:
        rules = [_from(name), _from(f"team-{(number + 1) % 100:03}")]
        yield _istio("AuthorizationPolicy", name, "default", rules=rules)
    if number % 20 == 0:
        metrics = [{"providers": [{"name": "prometheus"}]}]
        yield _istio("Telemetry", name, "default", metrics=metrics)
    if number % 2 == 0:
        yield _istio(
            "ServiceEntry",
            name,
            f"api-{number:03}",
            hosts=[f"api-{number:03}.example.com"],
            ports=_ports((443, "https", "TLS")),
            resolution="DNS",
            location="MESH_EXTERNAL",
            exportTo=["." if number % 4 else "*"],
        )
    if number % 10 == 3:
        vm = f"vm-{number:03}"
        yield _istio(
            "ServiceEntry",
            name,
            vm,
            hosts=[f"{vm}.internal"],
            ports=_ports((8080, "http", "HTTP")),
            resolution="STATIC",
            location="MESH_INTERNAL",
            workloadSelector={"labels": {"app": vm}},
        )
        yield _istio("WorkloadEntry", name, vm, address=f"192.168.0.{number}", labels={"app": vm})
    if number % 50 == 3:
        patch = {
            "applyTo": "HTTP_FILTER",
            "match": {"context": "SIDECAR_INBOUND"},
            "patch": {"operation": "INSERT_BEFORE", "value": {"name": "custom"}},
        }
        yield _istio("EnvoyFilter", name, "patch", configPatches=[patch])
    if number % 50 == 11:
        yield _istio(
            "WasmPlugin",
            name,
            "plugin",
            url="oci://registry.example.com/plugin:1",
            selector={"matchLabels": {"app": f"svc-{number:03}0"}},
        )


def _of_service(number: int) -> Iterator[Resource]:
    name, namespace = _service(number), _namespace(number)
    headless = number % 25 == 2
    yield _resource(
        "Service",
        namespace,
        name,
        {
            "spec": {
                "selector": {"app": name},
                "clusterIP": "None" if headless else _address(number),
                "ports": _shape(number),
            }
        },
    )
    if number % 4 == 0 and number % 5 in (0, 1, 4):
        yield _istio(
            "VirtualService",
            namespace,
            name,
            hosts=[name],
            http=[_sourced(name), _route(name, 10)],
            exportTo=["." if number % 16 == 0 else "*"],
        )
        locality = {"outlierDetection": {"consecutive5xxErrors": 3}} if number % 12 == 0 else {}
        yield _istio(
            "DestinationRule",
            namespace,
            name,
            host=name,
            trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 100}}, **locality},
            subsets=[{"name": version, "labels": {"version": version}} for version in ("v1", "v2")],
        )
    if number % 50 == 32:
        route = {"route": [{"destination": {"host": name, "port": {"number": 3306 + number % 40}}}]}
        yield _istio("VirtualService", namespace, name, hosts=[name], tcp=[route])
    if number % 50 == 7:
        yield _istio(
            "PeerAuthentication",
            namespace,
            name,
            selector={"matchLabels": {"app": name}},
            mtls={"mode": "STRICT"},
            portLevelMtls={"9000": {"mode": "PERMISSIVE"}},
        )
    if number % 40 == 0:
        yield _istio(
            "RequestAuthentication",
            namespace,
            name,
            selector={"matchLabels": {"app": name}},
            jwtRules=[_token(f"issuer-{number}.example.com")],
        )
    if number % 10 in (1, 6):
        yield _istio(
            "AuthorizationPolicy",
            namespace,
            name,
            selector={"matchLabels": {"app": name}},
            action="DENY" if number % 20 < 10 else "AUDIT",
            rules=[{"to": [{"operation": {"methods": ["DELETE"], "paths": [f"/{name}/*"]}}]}],
        )
    if number % 100 == 90:
        yield _istio(
            "AuthorizationPolicy",
            namespace,
            f"{name}-custom",
            selector={"matchLabels": {"app": name}},
            action="CUSTOM",
            provider={"name": "sign-in"},
            rules=[{"to": [{"operation": {"paths": ["/admin/*"]}}]}],
        )
    if number % 50 == 25 or (number % 100 == 1 and number > 100):
        kind = "HTTPRoute" if number % 50 == 25 else "GRPCRoute"
        port = _shape(number)[0]["port"]
        yield _istio(
            kind,
            namespace,
            name,
            parentRefs=[{"group": "", "kind": "Service", "name": name, "port": port}],
            rules=[{"backendRefs": [{"name": name, "port": port}]}],
        )


def _slice(number: int, sidecars: int, services: int) -> Resource:
    name, namespace = _service(number), _namespace(number)
    return _resource(
        "EndpointSlice",
        namespace,
        f"{name}-x",
        {
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [_pod_address(pod)],
                    "conditions": {"ready": True},
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": namespace,
                        "name": _pod(pod, services),
                    },
                }
                for pod in range(number, sidecars, services)
            ],
            "ports": [
                {"name": port.get("name", ""), "port": port["targetPort"]}
                for port in _shape(number)
            ],
        },
        labels={"kubernetes.io/service-name": name},
    )


def _ports(*ports: tuple[int, str, str]) -> list[dict[str, Any]]:
    return [{"number": number, "name": name, "protocol": kind} for number, name, kind in ports]


def _route(name: str, share: int) -> dict[str, Any]:
    return {
        "timeout": "5s",
        "route": [
            {"destination": {"host": name, "subset": "v1"}, "weight": 100 - share},
            {"destination": {"host": name, "subset": "v2"}, "weight": share},
        ],
    }


def _sourced(name: str) -> dict[str, Any]:
    match = {"uri": {"prefix": "/new"}, "sourceLabels": {"tier": "front"}}
    return {"match": [match], "route": [{"destination": {"host": name, "subset": "v2"}}]}


def _from(namespace: str) -> dict[str, Any]:
    return {"from": [{"source": {"namespaces": [namespace]}}]}


def _token(issuer: str) -> dict[str, Any]:
    return {"issuer": issuer, "jwks": '{"keys":[]}'}


def _proxy(number: int, services: int) -> ProxyInputs:
    namespace = _namespace(number % services)
    address = _pod_address(number)
    labels = _labels(number, services)
    return ProxyInputs(
        proxy=f"{_pod(number, services)}.{namespace}",
        cluster=CLUSTER,
        namespace=namespace,
        labels=labels,
        service_account=_service(number % services),
        addresses=(address,),
        node_name=f"node-{_node(number):02}",
        region="region",
        zone=f"region-{ZONES[_node(number) % 3]}",
        dns_domain=f"{namespace}.svc.cluster.local",
        istio_version="1.29.6",
        metadata={
            "CLUSTER_ID": CLUSTER,
            "NAMESPACE": namespace,
            "NAME": _pod(number, services),
            "INSTANCE_IPS": address,
            "LABELS": labels,
            "MESH_ID": "cluster.local",
            "WORKLOAD_NAME": _service(number % services),
            "PROXY_CONFIG": {"concurrency": 2},
        },
    )
