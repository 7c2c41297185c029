"""Access, tokens, accepted connections, filters and telemetry of every recorded proxy.

Which outbound listeners there are is not decided here: that is taken from the dump, and everything
else is derived from the resources.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pytest
from recorded_meshes import MESHES, environment, mesh_config, recorded, resources, version

from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.projection.destinations.client_settings import client_settings
from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.inbound.ports import (
    PortPlan,
    ServiceTarget,
    ingress_ports,
    service_ports,
    with_pools,
)
from meshscope.projection.security.settings import inbound_policies_of, switches
from meshscope.projection.security.workload import (
    Declarations,
    Situation,
    in_force,
    inbound_security,
    outbound_security,
)
from meshscope.projection.worlds import Outcomes

pytestmark = pytest.mark.conformance

KINDS = (
    Kind.INBOUND,
    Kind.PEER_AUTHENTICATION,
    Kind.REQUEST_AUTHENTICATION,
    Kind.AUTHORIZATION,
    Kind.HTTP_CONNECTION,
    Kind.FILTER_ORDER,
    Kind.TELEMETRY,
)
FLOOR = {
    "demo-mesh": 1_352,
    "bookshop": 46_073,
    "bookshop-1.29": 46_073,
    "random-public": 26_592,
    "bookinfo": 6_540,
}
"""Equal policies per mesh; only ever raised."""

PATCHED = {"demo-mesh": 2, "bookshop": 24, "bookshop-1.29": 24, "random-public": 30, "bookinfo": 0}
"""Policies that differ because an EnvoyFilter selects the proxy."""

PROTOCOLS = ("grpc-web", "grpc", "http2", "http", "https", "tls", "tcp")
APP_PROTOCOLS = ("grpc", "http", "http2", "https", "tls", "tcp")
SERVER_FIRST = (25, 53, 3306, 27017)


@pytest.mark.parametrize("mesh", MESHES)
def test_recorded_proxies(mesh: str, capsys: pytest.CaptureFixture[str]) -> None:
    table: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for state, proxy, observed in recorded(mesh):
        found = {key: policy for key, policy in observed.policies.items() if key.kind in KINDS}
        expected = projected(mesh, state, observed.proxy, observed.policies)
        patched = is_patched(resources(mesh, state), observed.proxy)
        for key in expected.keys() | found.keys():
            verdict = judged(expected.get(key), found.get(key))
            if verdict != "equal" and patched:
                verdict = "patched"
            table[key.kind.value, verdict] += 1
            if verdict not in ("equal", "patched"):
                wrong.append(f"{state} {proxy} {key}: {verdict}")
    with capsys.disabled():
        print(f"\n{mesh}")
        for (kind, verdict), count in sorted(table.items()):
            print(f"  {kind:24} {verdict:10} {count:7}")
    assert wrong == []
    counts = Counter(dict.fromkeys(("equal", "patched"), 0))
    for (_, verdict), count in table.items():
        counts[verdict] += count
    assert counts["equal"] >= FLOOR[mesh]
    assert counts["patched"] == PATCHED[mesh]


def judged(expected: tuple[Policy | None, ...] | None, observed: Policy | None) -> str:
    if expected is None:
        return "extra"
    if observed is None:
        return "equal" if None in expected else "missing"
    digests = {policy.digest for policy in expected if policy}
    if observed.digest in digests or fetched_keys_apart(expected, observed):
        return "equal"
    return "different"


def fetched_keys_apart(expected: tuple[Policy | None, ...], observed: Policy) -> bool:
    """Whether only keys differ that the control plane fetched, and that nobody declares."""
    (wanted, *_), seen = expected, observed.content
    if wanted is None or not isinstance(seen, RequestAuthentication):
        return False
    rules = getattr(wanted.content, "rules", ())
    if len(rules) != len(seen.rules):
        return False
    without = tuple(
        replace(rule, local_keys=rule.local_keys if mine.local_keys else "")
        for rule, mine in zip(seen.rules, rules, strict=True)
    )
    return replace(seen, rules=without) == wanted.content


def is_patched(found: Iterable[Resource], proxy: ProxyInputs) -> bool:
    """Whether an EnvoyFilter selects the proxy."""
    return any(
        r.namespace in (proxy.namespace, "istio-system")
        and ((r.spec.get("workloadSelector") or {}).get("labels") or {}).items()
        <= proxy.labels.items()
        for r in found
        if r.kind == "EnvoyFilter"
    )


def projected(
    mesh: str, state: str, proxy: ProxyInputs, observed: Mapping[PolicyKey, Policy]
) -> Outcomes:
    config, declared = mesh_config(mesh, state), resources(mesh, state)
    env, istio = environment(mesh), version(mesh)
    root = config.get("rootNamespace", "istio-system")
    labels = labels_of(declared, proxy)

    def switch(name: str, default: bool) -> bool:
        return env.get(name, str(default)).lower() == "true"

    def of_kind(kind: str) -> tuple[Resource, ...]:
        return tuple(r for r in declared if r.kind == kind)

    hosts = dict(registry(declared))

    def find_service(name: str) -> str | None:
        namespace, _, host = name.rpartition("/")
        return host if host in hosts and namespace in ("", hosts[host]) else None

    rules = RuleIndex(of_kind("DestinationRule"), root)
    targets = tuple(sorted(served(declared, proxy, labels), key=lambda found: found[0]))
    situation = Situation(
        mesh_config=config,
        proxy_config=proxy.metadata.get("PROXY_CONFIG") or {},
        node_metadata=proxy.metadata,
        interception=proxy.interception,
        mesh=client_settings(config, switch, istio, proxy.addresses).mesh,
        switches=switches(switch, env, istio),
        hosts=frozenset(hosts),
        find_service=find_service,
        find_policy=inbound_policies_of(rules, proxy.namespace, hosts.get, config, istio),
    )
    plans = ports(
        sidecar_of(of_kind("Sidecar"), proxy.namespace, labels, root),
        tuple(target for _, target in targets),
        proxy,
        labelled=switch("PILOT_ENABLE_TELEMETRY_LABEL", True),
    )
    found = in_force(
        Declarations(
            of_kind("PeerAuthentication"),
            of_kind("RequestAuthentication"),
            of_kind("AuthorizationPolicy"),
            of_kind("Telemetry"),
        ),
        namespace=proxy.namespace,
        labels=labels,
        root=root,
    )
    inward = inbound_security(found, situation, [plans])
    outward = outbound_security(found.telemetries, situation, dict(listeners(observed)))
    assert inward.unverifiable == outward.unverifiable == ()
    return {**inward.outcomes, **outward.outcomes}


def labels_of(declared: Iterable[Resource], proxy: ProxyInputs) -> Mapping[str, str]:
    name, _, namespace = proxy.proxy.rpartition(".")
    found = (r for r in declared if (r.kind, r.name, r.namespace) == ("Pod", name, namespace))
    return next((pod.labels for pod in found), proxy.labels)


def listeners(observed: Mapping[PolicyKey, Policy]) -> Iterator[tuple[str, OutboundListener]]:
    for key, policy in observed.items():
        content = policy.content
        if isinstance(content, OutboundListener) and not content.use_original_dst:
            yield f"{key['address']}_{key['port']}", content


def registry(declared: Iterable[Resource]) -> Iterator[tuple[str, str]]:
    for r in declared:
        if r.kind == "ServiceEntry":
            yield from ((host, r.namespace) for host in r.spec["hosts"])
        elif r.kind == "Service":
            yield f"{r.name}.{r.namespace}.svc.cluster.local", r.namespace


def sidecar_of(
    found: Iterable[Resource], namespace: str, labels: Mapping[str, str], root: str
) -> Resource | None:
    def rank(sidecar: Resource) -> tuple[int, str, str] | None:
        selector = (sidecar.spec.get("workloadSelector") or {}).get("labels")
        if sidecar.namespace == namespace and selector:
            place = 0 if selector.items() <= labels.items() else None
        elif selector:
            place = None
        else:
            place = {namespace: 1, root: 2}.get(sidecar.namespace)
        return None if place is None else (place, sidecar.created_at or "", sidecar.name)

    ranked = [(key, sidecar) for sidecar in found if (key := rank(sidecar)) is not None]
    return min(ranked, key=lambda entry: entry[0])[1] if ranked else None


def ports(
    sidecar: Resource | None,
    targets: tuple[ServiceTarget, ...],
    proxy: ProxyInputs,
    *,
    labelled: bool,
) -> tuple[PortPlan, ...]:
    spec = {} if sidecar is None else sidecar.spec
    if sidecar is not None and spec.get("ingress"):
        plans = ingress_ports(
            sidecar.ref,
            spec,
            targets,
            interception=proxy.interception,
            addresses=proxy.addresses,
            labelled=labelled,
        )
    elif proxy.interception == "NONE":
        plans = ()
    else:
        plans = service_ports(targets, labelled=labelled)
    return with_pools(plans, spec)


def served(
    declared: Iterable[Resource], proxy: ProxyInputs, labels: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], ServiceTarget]]:
    """Ports of the services that the workload serves, with the service's age and host."""
    for r in declared:
        if r.kind == "Service" and r.namespace == proxy.namespace:
            selector = r.spec.get("selector")
            if selector and selector.items() <= labels.items():
                host = f"{r.name}.{r.namespace}.svc.cluster.local"
                for port in r.spec["ports"]:
                    target = target_port(declared, proxy, port)
                    if target and port.get("protocol", "TCP") == "TCP":
                        yield (
                            (r.created_at or "", host),
                            ServiceTarget(
                                host, r.namespace, r.name, port["port"], target, protocol(port)
                            ),
                        )
        elif r.kind == "ServiceEntry":
            yield from served_entry(r, proxy, labels)


def served_entry(
    entry: Resource, proxy: ProxyInputs, labels: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], ServiceTarget]]:
    selector = (entry.spec.get("workloadSelector") or {}).get("labels")
    own = [e for e in entry.spec.get("endpoints") or () if e.get("address") in proxy.addresses]
    selected = (
        selector and entry.namespace == proxy.namespace and selector.items() <= labels.items()
    )
    if not own and not selected:
        return
    numbers = own[0].get("ports") or {} if own else {}
    for host in entry.spec["hosts"]:
        for port in entry.spec["ports"]:
            number = port["number"]
            target = numbers.get(port["name"], port.get("targetPort", number))
            named = port.get("protocol", "").lower() or "auto"
            external = entry.spec.get("location") != "MESH_INTERNAL"
            yield (
                (entry.created_at or "", host),
                ServiceTarget(host, entry.namespace, host, number, target, named, external),
            )


def target_port(
    declared: Iterable[Resource], proxy: ProxyInputs, port: Mapping[str, object]
) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    name, _, namespace = proxy.proxy.rpartition(".")
    return next(
        (
            named["containerPort"]
            for r in declared
            if (r.kind, r.name, r.namespace) == ("Pod", name, namespace)
            for container in r.spec["containers"]
            for named in container.get("ports", ())
            if named.get("name") == target
        ),
        None,
    )


def protocol(port: Mapping[str, object]) -> str:
    if declared := str(port.get("appProtocol") or "").lower():
        return declared if declared in APP_PROTOCOLS else "auto"
    name = str(port.get("name") or "").lower()
    for known in PROTOCOLS:
        if name == known or name.startswith(f"{known}-"):
            return known
    return "tcp" if port["port"] in SERVER_FIRST else "auto"
