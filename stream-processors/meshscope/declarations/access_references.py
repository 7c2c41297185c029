"""What AuthorizationPolicies name that does not exist, and what is only tried out."""

from collections.abc import Iterator
from string import ascii_uppercase

from meshscope.declarations.access import action_of
from meshscope.declarations.finding import Finding, Lacking, Said, absent
from meshscope.declarations.reading import Json, mapping, mappings, text, texts
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource
from meshscope.projection.security.authorization import is_dry_run

DRY_RUN = "MSC-2113"
NOBODY = "MSC-2116"
NO_METHOD = "MSC-2117"
NO_PROVIDER = "MSC-2118"

_UPPER = frozenset(ascii_uppercase)


def dry_run(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Policies that are only counted."""
    if is_dry_run(policy):
        yield Finding(
            DRY_RUN,
            policy,
            "metadata.annotations.istio.io/dry-run",
            f"this {action_of(policy)} policy is only tried out: what it matches is counted, and "
            "nothing is refused or allowed by it",
        )


def unknown_identities(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Namespaces and service accounts that rules name and that do not exist."""
    named = list(_named(policy))
    if not named:
        return
    lacking = around.lacks_namespaces(NOBODY)
    if lacking is not None:
        yield lacking
        return
    accounts = {(one.namespace, one.name) for one in around.of("ServiceAccount")}
    accounts |= {(one.namespace, one.account) for one in around.all_workloads}
    listed = {one.namespace for one in around.of("ServiceAccount")}
    for field, namespace, account in named:
        if "*" in namespace:
            if any(_matches(namespace, name) for name in around.namespaces):
                continue
            missing = f"namespace like {namespace}"
        elif namespace not in around.namespaces:
            missing = f"namespace {namespace}"
        elif account and namespace in listed and (namespace, account) not in accounts:
            missing = f"service account {account} of namespace {namespace}"
        else:
            continue
        yield Finding(NOBODY, policy, field, f"there is no {missing}: nobody has an identity of it")


def _named(policy: Resource) -> Iterator[tuple[str, str, str]]:
    """Fields of identities, with the namespace and service account that they name."""
    for index, spec in mappings(policy.spec, "rules"):
        for place, source in mappings(spec, "from"):
            block = mapping(source, "source")
            for name in ("namespaces", "notNamespaces", "principals", "notPrincipals"):
                path = f"spec.rules[{index}].from[{place}].source.{name}"
                for at, value in enumerate(texts(block, name)):
                    for namespace, account in _identity(name, value):
                        yield f"{path}[{at}]", namespace, account


def _identity(field: str, value: str) -> Iterator[tuple[str, str]]:
    if field.lower().endswith("namespaces"):
        yield value, ""
        return
    if "*" in value:
        return
    parts = value.split("/")
    if len(parts) == 5 and (parts[1], parts[3]) == ("ns", "sa"):
        yield parts[2], parts[4]


def _matches(pattern: str, name: str) -> bool:
    """Whether a namespace is meant by a pattern, whose asterisks stand for anything."""
    head, *middle, tail = pattern.split("*")
    rest = name.removeprefix(head)
    if not name.startswith(head) or not rest.endswith(tail):
        return False
    at = 0
    for part in middle:
        at = rest.find(part, at) + len(part)
        if at < len(part):
            return False
    return at <= len(rest) - len(tail)


def methods_that_nobody_sends(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Methods in another form than requests have: they are compared letter by letter."""
    for index, spec in mappings(policy.spec, "rules"):
        for place, operation in mappings(spec, "to"):
            yield from _methods(policy, f"spec.rules[{index}].to[{place}].operation", operation)


def _methods(policy: Resource, path: str, operation: Json) -> Iterator[Finding]:
    block = mapping(operation, "operation")
    for name in ("methods", "notMethods"):
        for at, value in enumerate(texts(block, name)):
            if _UPPER.issuperset(value.replace("-", "").replace("*", "")):
                continue
            hint = f"write {value.upper()}" if value.isalpha() else "gRPC methods are paths"
            yield Finding(
                NO_METHOD,
                policy,
                f"{path}.{name}[{at}]",
                f"no client sends the method {value!r} ({hint}): methods are compared letter by "
                "letter",
            )


def unknown_provider(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """CUSTOM policies whose provider the mesh configuration does not have."""
    if action_of(policy) != "CUSTOM":
        return
    if "mesh_config" in around.control_plane.assumed and not around.complete:
        yield Lacking((NO_PROVIDER,), absent("settings of the mesh"))
        return
    name = text(mapping(policy.spec, "provider"), "name")
    known = {
        text(one, "name")
        for _, one in mappings(around.control_plane.mesh_config, "extensionProviders")
        if "envoyExtAuthzHttp" in one or "envoyExtAuthzGrpc" in one
    }
    if name not in known:
        yield Finding(
            NO_PROVIDER,
            policy,
            "spec.provider.name",
            f"the mesh configuration has no external authorizer {name!r}: Istio refuses "
            "everything that this policy matches",
        )
