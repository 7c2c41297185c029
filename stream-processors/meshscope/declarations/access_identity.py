"""AuthorizationPolicies and identities: who bears none, and what that lets through."""

from collections.abc import Iterator, Mapping

from meshscope.declarations.access import (
    ALLOWED,
    access_of,
    action_of,
    arriving,
    declared_rule,
    example_of,
    places,
)
from meshscope.declarations.finding import Finding, Lacking, Said, Witness, absent
from meshscope.declarations.hosts import full, namespace_of
from meshscope.declarations.reading import Json, mapping, mappings, text, texts
from meshscope.declarations.surroundings import Surroundings, selector_of, targets
from meshscope.declarations.transport import (
    client_namespaces,
    server_modes,
    spoken_to,
)
from meshscope.events.resource import Resource
from meshscope.policy.authorization import Rule
from meshscope.policy.source import ResourceRef
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.security.authorization import is_dry_run

NO_IDENTITY = "MSC-2107"
NEGATED = "MSC-2108"
DODGED = "MSC-2109"

_FIELDS = ("principals", "namespaces", "serviceAccounts", "trustDomains")
_MODES = "PeerAuthentications"
_KEYS = ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")


def identities_that_never_arrive(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Rules about identities at workloads that no client reaches over mutual TLS."""
    if targets(policy):
        return
    if not _modes_known(around):
        if any(True for _, spec in mappings(policy.spec, "rules") for _ in _asked(spec)):
            yield Lacking((NO_IDENTITY,), absent(_MODES))
        return
    for index, spec in mappings(policy.spec, "rules"):
        for field, names in _asked(spec):
            reason = _never_over_mtls(policy, around, names)
            if reason is not None:
                why, rule = reason
                yield Finding(
                    NO_IDENTITY,
                    policy,
                    f"spec.rules[{index}].{field}",
                    f"rule {index} asks for an identity, and {why}, so it never matches",
                    related=() if rule is None else (rule,),
                )


def _modes_known(around: Surroundings) -> bool:
    """Whether what is said of mutual TLS can be all of it."""
    return around.complete or bool(around.of("PeerAuthentication"))


def _asked(spec: Json) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Fields by which each alternative of a rule demands an identity, with their values."""
    for place, source in mappings(spec, "from"):
        for name in _FIELDS:
            values = texts(mapping(source, "source"), name)
            if values:
                yield f"from[{place}].source.{name}", _namespaces(name, values)
    for place, condition in mappings(spec, "when"):
        if text(condition, "key") in _KEYS and texts(condition, "values"):
            name = _FIELDS[_KEYS.index(text(condition, "key"))]
            yield f"when[{place}].values", _namespaces(name, texts(condition, "values"))


def _namespaces(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Namespaces of the clients that values mean; empty: any."""
    if name == "namespaces":
        found = values
    elif name == "principals":
        parts = [value.split("/") for value in values]
        found = tuple(p[2] if len(p) == 5 and p[1] == "ns" else "*" for p in parts)
    else:
        found = ("*",)
    return () if any("*" in one for one in found) else found


def _never_over_mtls(
    policy: Resource, around: Surroundings, clients: tuple[str, ...]
) -> tuple[str, ResourceRef | None] | None:
    """Why no client reaches the policy's workloads with an identity; None: one does, or may."""
    wanted = selector_of(policy) or {}
    selected = around.selected(policy.namespace, wanted)
    spaces = {(one.namespace, tuple(sorted(one.labels.items()))) for one in selected}
    if not spaces and policy.namespace == around.root:
        # It applies to namespaces of which nothing is known.
        return None
    why: tuple[str, ResourceRef | None] | None = None
    for namespace, own in spaces or {(policy.namespace, tuple(sorted(wanted.items())))}:
        for host, port in _served(around, namespace, dict(own)):
            for client in clients or tuple(client_namespaces(around, namespace, host)):
                for modes in server_modes(around, namespace, dict(own)):
                    levels = {modes.mode, *(mode for _, mode in modes.ports)}
                    for mode in levels:
                        found = spoken_to(around, client, host, namespace, port, mode)
                        if found.spoken == "mtls" and found.accepted:
                            return None
                        why = why or (_reason(found.spoken, found.rule, mode), found.rule)
    return why


def _served(
    around: Surroundings, namespace: str, own: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """Hosts and ports under which a workload is reached.

    Where none is known: a made-up one, and those of the namespace that DestinationRules are for.
    """
    found = [
        (service.host, service.ports[0].number if service.ports else 0)
        for service in around.mesh.registry.by_namespace.get(namespace, ())
        if service.selector and service.selector.items() <= own.items()
    ]
    if found:
        yield from found
        return
    yield f"any.{namespace}.svc.{around.domain}", 0
    for rule in around.of("DestinationRule"):
        host = full(text(rule.spec, "host"), rule.namespace, around)
        if namespace_of(host, around) == namespace and not is_wildcard(host):
            yield host, 0


def _reason(spoken: str, rule: ResourceRef | None, mode: str) -> str:
    if spoken == "mtls":
        return f"its workloads refuse mutual TLS (mode {mode})"
    if rule is not None:
        return f"clients reach its workloads without mutual TLS of the mesh, as {rule} says"
    if mode == "DISABLE":
        return "its workloads do not take mutual TLS (mode DISABLE)"
    return "clients do not speak mutual TLS (enableAutoMtls is off and no DestinationRule says so)"


def negated_identities(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """ALLOW rules that name who may not, and so let through who has no identity at all."""
    if action_of(policy) != "ALLOW" or targets(policy) or is_dry_run(policy):
        return
    for index, spec in mappings(policy.spec, "rules"):
        field = _negating(spec)
        if not field:
            continue
        if not _modes_known(around):
            yield Lacking((NEGATED,), absent(_MODES))
            return
        found = declared_rule(policy, index, spec, around)
        if found is None:
            continue
        for policies, workload in places(policy, around):
            namespace = policy.namespace if workload is None else workload.namespace
            own = selector_of(policy) or {} if workload is None else workload.labels
            if not _takes_plaintext(around, namespace, own):
                continue
            access = access_of(policies, around)
            example = example_of(found.rule, arriving("plaintext"), access.decisions())
            if example is not None and access.outcome(example) == ALLOWED:
                yield Finding(
                    NEGATED,
                    policy,
                    f"spec.rules[{index}].{field}",
                    f"rule {index} excludes identities, and whoever speaks plaintext has none: "
                    "all plaintext passes that meets the other conditions, since the workload "
                    "accepts it",
                    Witness(example, "allowed"),
                )
                break


def _negating(spec: Json) -> str:
    """The field by which an alternative excludes identities without demanding one; empty: none."""
    demands = any(
        text(condition, "key") in _KEYS and texts(condition, "values")
        for _, condition in mappings(spec, "when")
    )
    if demands:
        return ""
    for place, source in mappings(spec, "from"):
        block = mapping(source, "source")
        if not any(texts(block, name) for name in _FIELDS):
            for name in _FIELDS:
                negated = f"not{name[0].upper()}{name[1:]}"
                if texts(block, negated):
                    return f"from[{place}].source.{negated}"
    if not any(True for _ in _asked(spec)):
        for place, condition in mappings(spec, "when"):
            if text(condition, "key") in _KEYS and texts(condition, "notValues"):
                return f"when[{place}].notValues"
    return ""


def dodged_denials(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """DENY rules about identities that the same client escapes by speaking plaintext."""
    if action_of(policy) != "DENY" or targets(policy) or is_dry_run(policy):
        return
    for index, spec in mappings(policy.spec, "rules"):
        asked = [field for field, _ in _asked(spec)]
        if asked and not _modes_known(around):
            yield Lacking((DODGED,), absent(_MODES))
            return
        found = declared_rule(policy, index, spec, around) if asked else None
        if found is None or example_of(found.rule, arriving("plaintext")) is not None:
            continue
        anybody = Rule(found.rule.policy, found.rule.index, ((),), found.rule.operations)
        for policies, workload in places(policy, around):
            namespace = policy.namespace if workload is None else workload.namespace
            own = selector_of(policy) or {} if workload is None else workload.labels
            if not _takes_plaintext(around, namespace, own):
                continue
            access = access_of(policies, around)
            example = example_of(anybody, arriving("plaintext"), access.decisions())
            if example is not None and access.outcome(example) == ALLOWED:
                yield Finding(
                    DODGED,
                    policy,
                    f"spec.rules[{index}].{asked[0]}",
                    f"rule {index} refuses identities, and the workload accepts plaintext, which "
                    "bears none: the same client gets through without mutual TLS",
                    Witness(example, "allowed"),
                )
                break


def _takes_plaintext(around: Surroundings, namespace: str, own: Mapping[str, str]) -> bool:
    return all(modes.mode != "STRICT" for modes in server_modes(around, namespace, own))
