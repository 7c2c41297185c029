"""Who serves a service: Pods behind EndpointSlices, WorkloadEntries, endpoints of ServiceEntries.

Endpoints belong to a host and a namespace, whatever declared them: a ServiceEntry for the host of a
Kubernetes service in the same namespace adds to the service's endpoints.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/,
https://istio.io/latest/docs/reference/config/networking/workload-entry/ and
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal

from meshscope.events.resource import Resource
from meshscope.projection.memory import Memory
from meshscope.projection.services.locality import Place
from meshscope.projection.services.owners import workload_name

Json = Mapping[str, Any]
Labels = Mapping[str, str]
Health = Literal["healthy", "unready", "draining", "terminating"]

TLS_MODE = "security.istio.io/tlsMode"
MUTUAL = "istio"
_NO_TLS = "disabled"
SERVICE_NAME = "kubernetes.io/service-name"
_WORKLOAD_NAME = "service.istio.io/workload-name"
_GROUP = "istio.io/autoRegistrationGroup"
_LOCALITY = ("topology.istio.io/locality", "istio-locality")
CANONICAL_NAME = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_CANONICAL_REVISION = (
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    "version",
)
_REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_SUB_ZONE = ("topology.istio.io/subzone",)
_HOSTNAME = "kubernetes.io/hostname"
_CLUSTER = "topology.istio.io/cluster"
_NETWORK = "topology.istio.io/network"


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An address and port that serve one port of a service.

    Attributes:
        address, port: As configured: IP, DNS name or path of a socket (port 0).
        port_name: Name of the service's port.
        labels: Of the workload, with those of its place.
        tls_mode: `istio` where a sidecar takes mutual TLS; empty: none.
        namespace: Of the workload; empty: not known.
        workload: Name, namespace, canonical name, revision and cluster, joined by `;`.
        named_workload: The same as older control planes write it for ServiceEntries.
        identity: SPIFFE name of its service account; empty: none.
        node: Kubernetes node.
        place: Where it is.
        locality: The same as it is written; istiod keeps apart what is written in other ways.
        weight: Its share.
        health: As declared.
    """

    address: str
    port: int
    port_name: str
    labels: Labels = field(default_factory=dict)
    tls_mode: str = ""
    namespace: str = ""
    workload: str = ""
    named_workload: str = ""
    identity: str = ""
    node: str = ""
    place: Place = Place()
    locality: str = ""
    weight: int = 1
    health: Health = "healthy"


def place_of(labels: Labels, node: Labels) -> Place:
    """Where a workload is: as its own label says, else as its node's labels say."""
    own = _own_locality(labels)
    if own:
        return Place.parse(own)
    return Place(*(_first(node, names) or "" for names in (_REGION, _ZONE, _SUB_ZONE)))


def _own_locality(labels: Labels) -> str:
    """The locality that a workload's own label says; empty: none."""
    own = next((labels[name] for name in _LOCALITY if name in labels), "")
    return own if "/" in own else own.replace(".", "/")


def _written(place: Place) -> str:
    """A locality as istiod writes that of a node."""
    return "/".join((place.region, place.zone, place.sub_zone)) if place != Place() else ""


def with_place(
    labels: Labels, place: Place, *, cluster: str = "", node: str = "", network: str = ""
) -> Labels:
    """Labels of a workload with those that tell where it is; its own network counts."""
    known = {
        _REGION[0]: place.region,
        _ZONE[0]: place.zone,
        _SUB_ZONE[0]: place.sub_zone,
        _CLUSTER: cluster,
        _HOSTNAME: node,
        _NETWORK: labels.get(_NETWORK) or network,
    }
    return {**labels, **{name: value for name, value in known.items() if value}}


def spiffe(trust_domain: str, namespace: str, account: str) -> str:
    """SPIFFE name of a service account."""
    return f"spiffe://{trust_domain.replace('@', '.')}/ns/{namespace}/sa/{account}"


def describe(name: str, namespace: str, labels: Labels, cluster: str) -> str:
    """What telemetry is told of a workload."""
    canonical = _first(labels, CANONICAL_NAME)
    revision = _first(labels, _CANONICAL_REVISION) or ""
    return ";".join(
        (
            name,
            namespace,
            name if canonical is None else canonical,
            "" if revision == "latest" else revision,
            cluster,
        )
    )


def entry_labels(entry: Resource) -> Labels:
    """Labels of a WorkloadEntry: those of its metadata count before those of its spec."""
    return {**(entry.spec.get("labels") or {}), **entry.labels}


def _first(labels: Labels, names: Iterable[str]) -> str | None:
    return next((labels[name] for name in names if name in labels), None)


Slices = Memory[tuple[object, tuple[Instance, ...]]]
"""Instances of EndpointSlices, by the identity of all that was read for them."""


_Service = tuple[str, str]
"""Host and namespace."""

ByService = Mapping[_Service, tuple[Instance, ...]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier resources, in the same mesh, and the instances that they gave."""

    resources: tuple[Resource, ...]
    by_service: ByService


@dataclass(frozen=True, eq=False)
class InstanceIndex:
    """All instances, by host and namespace of the service.

    Attributes:
        resources: EndpointSlices, Pods, Nodes, Services, ServiceEntries, WorkloadEntries.
        cluster: Kubernetes cluster id.
        trust_domain: Of the mesh.
        domain: DNS domain of the cluster.
        earlier: What earlier resources gave, which stays where it is alike.
        slices: What EndpointSlices said before, for the same cluster, trust domain and domain.
    """

    resources: tuple[Resource, ...]
    cluster: str = "Kubernetes"
    trust_domain: str = "cluster.local"
    domain: str = "cluster.local"
    earlier: "Earlier | None" = None
    slices: Slices = field(default_factory=lambda: Memory(20_000))

    def of(self, host: str, namespace: str) -> tuple[Instance, ...]:
        """Instances of every port of a service."""
        return self.by_service.get((host, namespace), ())

    @cached_property
    def _kinds(self) -> Mapping[str, list[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            found[resource.kind].append(resource)
        return found

    @cached_property
    def _pods(self) -> Mapping[tuple[str, str], Resource]:
        return {(pod.namespace, pod.name): pod for pod in self._kinds.get("Pod", ())}

    @cached_property
    def _nodes(self) -> Mapping[str, Labels]:
        return {node.name: node.labels for node in self._kinds.get("Node", ())}

    @cached_property
    def by_service(self) -> ByService:
        """All instances by host and namespace of their service."""
        touched = self._touched()
        found: dict[_Service, list[Instance]] = defaultdict(list)
        for piece in self._kinds.get("EndpointSlice", ()):
            service = _of_piece(piece, self.domain)
            if service is not None and (touched is None or service in touched):
                found[service] += self._of_slice(piece)
        for declared in self._kinds.get("Service", ()):
            service = _named(declared.name, declared.namespace, self.domain)
            if touched is None or service in touched:
                found[service] += self._of_workload_entries(declared)
        for entry in self._kinds.get("ServiceEntry", ()):
            for host in dict.fromkeys(entry.spec.get("hosts") or ()):
                service = (host, entry.namespace)
                if touched is None or service in touched:
                    found[service] += self._of_service_entry(entry, host)
        known = {} if self.earlier is None else self.earlier.by_service
        made = {
            service: _same_or_new(tuple(instances), known.get(service, ()))
            for service, instances in found.items()
        }
        if touched is None:
            return made
        return {k: some for k, some in known.items() if k not in touched} | made

    def _touched(self) -> AbstractSet[_Service] | None:
        """The services whose instances may be others than they were; None: any.

        Endpoints change all the time, and mostly nothing else does.
        """
        if self.earlier is None:
            return None
        before = {id(resource): resource for resource in self.earlier.resources}
        now = {id(resource): resource for resource in self.resources}
        changed = [before.get(one) or now[one] for one in before.keys() ^ now.keys()]
        if any(resource.kind != "EndpointSlice" for resource in changed):
            return None
        found = (_of_piece(resource, self.domain) for resource in changed)
        return {service for service in found if service is not None}

    @property
    def known(self) -> "Earlier":
        """What a later index takes over."""
        return Earlier(self.resources, self.by_service)

    def _of_slice(self, piece: Resource) -> Sequence[Instance]:
        """The instances of a slice; the same while it, its Pods and their nodes are."""
        endpoints = [(each, self._target(each)) for each in piece.body.get("endpoints") or ()]
        pods = [pod for _, pod in endpoints if isinstance(pod, Resource)]
        read = (piece, *pods, *(self._nodes.get(pod.spec.get("nodeName", "")) for pod in pods))
        # What is read is kept as well, so that its identity stays its own.
        return self.slices.of(
            tuple(map(id, read)), lambda: (read, tuple(self._of_endpoints(piece, endpoints)))
        )[1]

    def _target(self, endpoint: Json) -> Resource | Literal["unknown"] | None:
        """The Pod that an endpoint is; None: it is no Pod; `unknown`: one that is not declared."""
        target = endpoint.get("targetRef") or {}
        if target.get("kind") != "Pod":
            return None
        return self._pods.get((target.get("namespace", ""), target.get("name", "")), "unknown")

    def _of_endpoints(
        self,
        piece: Resource,
        endpoints: Iterable[tuple[Json, Resource | Literal["unknown"] | None]],
    ) -> Iterator[Instance]:
        for endpoint, pod in endpoints:
            if pod == "unknown":
                continue
            health = _health(endpoint.get("conditions") or {})
            for address in endpoint.get("addresses") or ():
                for port in piece.body.get("ports") or ():
                    yield self._pod_instance(
                        pod, address, port.get("port") or 0, port.get("name") or "", health
                    )

    def _pod_instance(
        self, pod: Resource | None, address: str, port: int, port_name: str, health: Health
    ) -> Instance:
        if pod is None:
            return Instance(
                address,
                port,
                port_name,
                labels=with_place({}, Place(), cluster=self.cluster),
                workload=describe("", "", {}, self.cluster),
                named_workload=describe("", "", {}, self.cluster),
                health=health,
            )
        node = pod.spec.get("nodeName", "")
        place = place_of(pod.labels, self._nodes.get(node, {}))
        name = pod.labels.get(_WORKLOAD_NAME) or workload_name(pod)
        workload = describe(name, pod.namespace, pod.labels, self.cluster)
        return Instance(
            address,
            port,
            port_name,
            labels=with_place(pod.labels, place, cluster=self.cluster, node=node),
            tls_mode=_tls_mode(pod.labels.get(TLS_MODE, _NO_TLS)),
            namespace=pod.namespace,
            workload=workload,
            named_workload=workload,
            identity=spiffe(
                self.trust_domain, pod.namespace, pod.spec.get("serviceAccountName") or "default"
            ),
            node=node,
            place=place,
            locality=_own_locality(pod.labels) or _written(place),
            health=health,
        )

    def _of_workload_entries(self, service: Resource) -> Iterator[Instance]:
        """WorkloadEntries that a Kubernetes service selects; a headless one has none."""
        selector = service.spec.get("selector") or {}
        headless = service.spec.get("clusterIP") == "None"
        if not selector or headless or service.spec.get("type") == "ExternalName":
            return
        for entry in self._workload_entries(service.namespace, selector):
            for port in service.spec.get("ports") or ():
                number = mapped(port, entry.spec.get("ports") or {})
                if number:
                    yield self._entry_instance(
                        entry.spec,
                        entry.namespace,
                        _entry_name(entry),
                        (number, port.get("name") or ""),
                        entry.labels,
                    )

    def _workload_entries(self, namespace: str, selector: Labels) -> Iterator[Resource]:
        for entry in self._entries.get(namespace, ()):
            if selector.items() <= entry_labels(entry).items():
                yield entry

    @cached_property
    def _pods_of(self) -> Mapping[str, list[Resource]]:
        """Pods by namespace."""
        found: dict[str, list[Resource]] = defaultdict(list)
        for pod in self._kinds.get("Pod", ()):
            found[pod.namespace].append(pod)
        return found

    @cached_property
    def _entries(self) -> Mapping[str, list[Resource]]:
        """WorkloadEntries by namespace."""
        found: dict[str, list[Resource]] = defaultdict(list)
        for entry in self._kinds.get("WorkloadEntry", ()):
            found[entry.namespace].append(entry)
        return found

    def _of_service_entry(self, entry: Resource, host: str) -> Iterator[Instance]:
        spec = entry.spec
        selector = spec.get("workloadSelector")
        # Each address is a service of its own, and all of them have the endpoints, but for those
        # that take one endpoint only.
        single = spec.get("resolution") == "DNS_ROUND_ROBIN"
        services = 1 if single else max(1, len(spec.get("addresses") or ()))
        for port in (spec.get("ports") or ()) * services:
            name = port.get("name") or ""
            target = port.get("targetPort") or port.get("number") or 0
            endpoints = spec.get("endpoints") or ()
            if selector is not None:
                yield from self._selected(entry, selector.get("labels") or {}, name, target)
            elif not endpoints and spec.get("resolution") in ("DNS", "DNS_ROUND_ROBIN"):
                yield Instance(
                    host,
                    target,
                    name,
                    namespace=entry.namespace,
                    workload=describe(entry.name, entry.namespace, {}, self.cluster),
                    named_workload=describe("", "", {}, self.cluster),
                )
            for index, endpoint in enumerate(endpoints):
                yield self._entry_instance(
                    endpoint,
                    entry.namespace,
                    f"{entry.name}-{index}",
                    ((endpoint.get("ports") or {}).get(name) or target, name),
                )

    def _selected(
        self, entry: Resource, selector: Labels, port_name: str, target: int
    ) -> Iterator[Instance]:
        """WorkloadEntries and Pods that a ServiceEntry selects."""
        for found in self._workload_entries(entry.namespace, selector):
            port = (found.spec.get("ports") or {}).get(port_name) or target
            yield self._entry_instance(
                found.spec, found.namespace, _entry_name(found), (port, port_name), found.labels
            )
        for pod in self._pods_of.get(entry.namespace, ()):
            address = (pod.body.get("status") or {}).get("podIP")
            if selector.items() <= pod.labels.items() and address and _is_ready(pod):
                yield self._pod_instance(pod, address, target, port_name, "healthy")

    def _entry_instance(
        self,
        spec: Json,
        namespace: str,
        name: str,
        port: tuple[int, str],
        metadata_labels: Labels | None = None,
    ) -> Instance:
        """An endpoint as a WorkloadEntry writes it; `port` is number and name."""
        labels = {**(spec.get("labels") or {}), **(metadata_labels or {})}
        account = spec.get("serviceAccount", "")
        locality = spec.get("locality", "")
        place = Place.parse(locality) if locality else place_of(labels, {})
        address = spec.get("address", "")
        path = address.startswith("unix://")
        return Instance(
            address,
            0 if path else port[0],
            port[1],
            labels=with_place(labels, place, cluster=self.cluster, network=spec.get("network", "")),
            tls_mode=_tls_mode(labels.get(TLS_MODE, MUTUAL if account else _NO_TLS)),
            namespace=namespace,
            workload=describe(name, namespace, labels, self.cluster),
            named_workload=describe("", "", labels, self.cluster),
            identity=spiffe(self.trust_domain, namespace, account) if account else "",
            place=place,
            locality=locality or _own_locality(labels),
            weight=spec.get("weight") or 1,
        )


_FIELDS = attrgetter(*(field.name for field in fields(Instance)))


def _named(name: str, namespace: str, domain: str) -> _Service:
    return f"{name}.{namespace}.svc.{domain}", namespace


def _of_piece(piece: Resource, domain: str) -> _Service | None:
    """The service of an EndpointSlice; None: it is of none, or has no addresses."""
    name = piece.labels.get(SERVICE_NAME)
    if not name or piece.body.get("addressType") == "FQDN":
        return None
    return _named(name, piece.namespace, domain)


def _same_or_new(found: tuple[Instance, ...], known: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """The known instances if they are alike, so that what follows from them is known too."""
    alike = found == known or (
        len(found) == len(known)
        and all(_FIELDS(one) == _FIELDS(other) for one, other in zip(found, known, strict=True))
    )
    return known if alike else found


def _tls_mode(label: str) -> str:
    return "" if label == _NO_TLS else label


def _entry_name(entry: Resource) -> str:
    return entry.annotations.get(_GROUP) or entry.labels.get(_WORKLOAD_NAME) or entry.name


def mapped(port: Json, ports: Mapping[str, int]) -> int:
    """The port of a WorkloadEntry behind a port of a Kubernetes service; 0: it has none."""
    target = port.get("targetPort")
    if isinstance(target, str):
        return ports.get(target) or 0
    return ports.get(port.get("name") or "") or target or port.get("port") or 0


def _health(conditions: Json) -> Health:
    if conditions.get("ready", True) is not False:
        return "healthy"
    return "terminating" if conditions.get("terminating", True) is not False else "unready"


def _is_ready(pod: Resource) -> bool:
    conditions = (pod.body.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
