"""DestinationRules that nothing applies, and subsets that nothing is in."""

from collections.abc import Iterator, Mapping

from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.hosts import full, lacks_host, namespace_of, services_at
from meshscope.declarations.reading import Json, labels, mapping, mappings, number, text
from meshscope.declarations.surroundings import Surroundings, selector_of, words
from meshscope.declarations.transport import applied, client_namespaces
from meshscope.declarations.workloads import Workload
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.destinations.destination_rule import MergedRule, rule_of
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.services.registry import Service

UNVERIFIED = "MSC-2204"
NO_HOST = "MSC-2401"
HIDDEN = "MSC-2402"
EMPTY_SUBSET = "MSC-2403"
NO_LABELS = "MSC-2404"

_TOPOLOGY = "topology."


def unknown_host(rule: Resource, around: Surroundings) -> Iterator[Said]:
    """DestinationRules for a host that nothing declares."""
    host = full(text(rule.spec, "host"), rule.namespace, around)
    if not host or list(services_at(host, around)):
        return
    lacking = lacks_host(host, around, NO_HOST)
    yield lacking or Finding(
        NO_HOST,
        rule,
        "spec.host",
        f"nothing declares {'a host like' if is_wildcard(host) else 'the host'} {host}: it has no "
        "effect",
    )


def hidden(rule: Resource, around: Surroundings) -> Iterator[Said]:
    """DestinationRules, or parts of them, that no client applies since others count before."""
    own = rule_of(rule, around.domain)
    if own.selector is not None:
        return
    chosen: dict[ResourceRef | None, MergedRule | None] = {}
    for service in _covered(own, around):
        for client in client_namespaces(around, service.namespace, service.host):
            if not own.exported_to(client) and client != rule.namespace:
                continue
            found = applied(around, client, service.host, service.namespace)
            chosen[None if found is None else found.ref] = found
    applying = [one for one in chosen.values() if one is not None and rule.ref in one.refs]
    others = [one for one in chosen.values() if one is not None and rule.ref not in one.refs]
    if not applying:
        if others:
            yield Finding(
                HIDDEN,
                rule,
                "spec.host",
                f"no client applies it: {words(str(one.ref) for one in others)} counts before it "
                "for every service that it is about",
                related=tuple(one.ref for one in others),
            )
        return
    yield from _overruled(rule, own, applying)


def _covered(own: MergedRule, around: Surroundings) -> Iterator[Service]:
    found = list(services_at(own.host, around))
    if found or is_wildcard(own.host):
        yield from found
        return
    yield Service(
        own.host, namespace_of(own.host, around) or own.namespace, own.host, "Kubernetes", ()
    )


def _overruled(rule: Resource, own: MergedRule, applying: list[MergedRule]) -> Iterator[Finding]:
    """What merging with other rules for the same host left out."""
    others = tuple(dict.fromkeys(ref for one in applying for ref in one.refs if ref != rule.ref))
    if own.policy is not None and all(one.policy is not own.policy for one in applying):
        yield Finding(
            HIDDEN,
            rule,
            "spec.trafficPolicy",
            f"its trafficPolicy is left out: {words(map(str, others))} for the same host has one "
            "and is older",
            related=others,
        )
    for place, subset in mappings(rule.spec, "subsets"):
        name = text(subset, "name")
        if all(one.subsets.get(name) is not subset for one in applying):
            yield Finding(
                HIDDEN,
                rule,
                f"spec.subsets[{place}]",
                f"its subset {name} is left out: another one of this name comes before",
                related=others,
            )


def empty_subsets(rule: Resource, around: Surroundings) -> Iterator[Said]:
    """Subsets that no workload of the service is in, or every one."""
    host = full(text(rule.spec, "host"), rule.namespace, around)
    for place, subset in mappings(rule.spec, "subsets"):
        wanted = labels(subset, "labels")
        name = text(subset, "name")
        if not wanted:
            yield Finding(
                NO_LABELS,
                rule,
                f"spec.subsets[{place}]",
                f"the subset {name} has no labels: every workload of {host} is in it",
            )
            continue
        if is_wildcard(host):
            continue
        for service in services_at(host, around):
            found = _workloads(service, around)
            if found is None:
                continue
            lacking = around.lacks_workloads(service.namespace, EMPTY_SUBSET)
            if any(_in_subset(own, wanted) for own in found):
                break
            if lacking is not None:
                yield lacking
                break
            yield Finding(
                EMPTY_SUBSET,
                rule,
                f"spec.subsets[{place}].labels",
                f"no workload of {service.ref} has the labels "
                f"{words(f'{key}={value}' for key, value in wanted.items())} of subset {name}: "
                "requests sent to it are answered with 503",
                related=(service.ref,),
            )
            break


def _workloads(service: Service, around: Surroundings) -> list[Mapping[str, str]] | None:
    """Labels of the workloads of a service; None: they are not found by labels."""
    if service.selector:
        return [
            _placed(one, around)
            for one in around.workloads.get(service.namespace, ())
            if service.selector.items() <= one.labels.items()
        ]
    entry = around.named("ServiceEntry", service.namespace, service.ref.name)
    endpoints = [] if entry is None else list(mappings(entry.spec, "endpoints"))
    return [labels(one, "labels") for _, one in endpoints] or None


def _placed(workload: Workload, around: Surroundings) -> Mapping[str, str]:
    """Labels of a workload and of its place, where that is known; else it may be anywhere."""
    node = around.named("Node", "", text(workload.spec, "nodeName"))
    if node is None:
        return workload.labels if text(workload.spec, "nodeName") else _Anywhere(workload.labels)
    place = {k: v for k, v in node.labels.items() if k.startswith(_TOPOLOGY) and v}
    return {**place, **workload.labels}


class _Anywhere(dict[str, str]):
    """Labels of a workload whose place is not known."""


def _in_subset(own: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    asked = {
        name: value
        for name, value in wanted.items()
        if not (isinstance(own, _Anywhere) and name.startswith(_TOPOLOGY))
    }
    return asked.items() <= own.items()


def unverified_servers(rule: Resource, around: Surroundings) -> Iterator[Said]:
    """TLS to a server whose certificate is checked against no roots that the rule names."""
    policy = mapping(rule.spec, "trafficPolicy")
    for field, tls in _tls_settings(policy):
        if text(tls, "mode") not in ("SIMPLE", "MUTUAL") or tls.get("insecureSkipVerify"):
            continue
        usable = text(tls, "credentialName") and selector_of(rule) is not None
        if text(tls, "caCertificates") or usable:
            continue
        unused = (
            " (credentialName counts only beside a workloadSelector)"
            if text(tls, "credentialName")
            else ""
        )
        yield Finding(
            UNVERIFIED,
            rule,
            f"spec.trafficPolicy.{field}",
            f"TLS without caCertificates{unused}: the server's certificate is checked against the "
            "system's roots at most, and not at all with verifyCertificateAtClient off",
        )


def _tls_settings(policy: Json) -> Iterator[tuple[str, Json]]:
    if mapping(policy, "tls"):
        yield "tls", mapping(policy, "tls")
    for place, entry in mappings(policy, "portLevelSettings"):
        if mapping(entry, "tls") and number(mapping(entry, "port"), "number"):
            yield f"portLevelSettings[{place}].tls", mapping(entry, "tls")
