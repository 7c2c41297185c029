"""Sidecars that import what does not exist, or leave out what is used."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from meshscope.declarations.access import action_of
from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.hosts import services_at
from meshscope.declarations.reading import mapping, mappings, texts
from meshscope.declarations.surroundings import Surroundings, selector_of, words
from meshscope.events.resource import Resource
from meshscope.projection.services.registry import Service

NOTHING = "MSC-2504"
CUTS_OFF = "MSC-2505"


def imports_nothing(sidecar: Resource, around: Surroundings) -> Iterator[Said]:
    """Hosts of egress listeners that no service has."""
    for place, listener in mappings(sidecar.spec, "egress"):
        for at, host in enumerate(texts(listener, "hosts")):
            namespace, _, pattern = host.partition("/")
            if namespace in ("~", "*") or not pattern or pattern == "*":
                continue
            owner = sidecar.namespace if namespace == "." else namespace
            found = [one for one in services_at(pattern, around) if one.namespace == owner]
            if found:
                continue
            lacking = around.lacks_services(owner, NOTHING)
            yield lacking or Finding(
                NOTHING,
                sidecar,
                f"spec.egress[{place}].hosts[{at}]",
                f"no service of namespace {owner} has a host like {pattern}: nothing is imported "
                "by this",
            )


def cuts_off(sidecar: Resource, around: Surroundings) -> Iterator[Said]:
    """Services that a namespace is allowed to call and that its Sidecar does not import."""
    if selector_of(sidecar) is not None or sidecar.namespace == around.root:
        return
    scope = around.mesh.scope(sidecar.namespace, sidecar)
    registry_only = around.mesh.config.outbound_mode == "REGISTRY_ONLY"
    for policy in around.kept(_by_caller).get(sidecar.namespace, ()):
        cut = [
            service
            for service in _served(policy, around)
            if scope.namespace_of(service.host) is None
        ]
        if cut:
            follows = (
                "calls to it fail"
                if registry_only
                else "calls to it pass without mutual TLS, routes and retries"
            )
            yield Finding(
                CUTS_OFF,
                sidecar,
                "spec.egress",
                f"{policy.ref} lets clients of namespace {sidecar.namespace} call "
                f"{words(one.host for one in cut)}, which this Sidecar does not import: {follows}",
                related=(policy.ref, cut[0].ref),
            )


def _by_caller(around: Surroundings) -> Mapping[str, Sequence[Resource]]:
    """ALLOW policies by the namespaces that they let in."""
    found: dict[str, list[Resource]] = defaultdict(list)
    for policy in around.of("AuthorizationPolicy"):
        for namespace in _callers(policy) if action_of(policy) == "ALLOW" else ():
            found[namespace].append(policy)
    return found


def _callers(policy: Resource) -> frozenset[str]:
    """Namespaces that rules name without wildcards."""
    found: set[str] = set()
    for _, rule in mappings(policy.spec, "rules"):
        for _, source in mappings(rule, "from"):
            block = mapping(source, "source")
            found.update(texts(block, "namespaces"))
            for principal in texts(block, "principals"):
                parts = principal.split("/")
                if len(parts) == 5 and parts[1] == "ns":
                    found.add(parts[2])
    return frozenset(found)


def _served(policy: Resource, around: Surroundings) -> Iterator[Service]:
    """Services whose workloads a policy certainly selects."""
    wanted = selector_of(policy) or {}
    for service in around.mesh.registry.by_namespace.get(policy.namespace, ()):
        selector = service.selector
        if service.from_kubernetes and selector and wanted.items() <= selector.items():
            yield service
