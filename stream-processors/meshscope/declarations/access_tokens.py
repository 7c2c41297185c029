"""Tokens that are validated and not required, or required and not validated."""

from collections.abc import Iterable, Iterator, Mapping

from meshscope.algebra.request import Request
from meshscope.declarations.access import (
    ALLOWED,
    access_of,
    action_of,
    in_force,
)
from meshscope.declarations.finding import Finding, Lacking, Said, Witness, absent
from meshscope.declarations.reading import Json, mapping, mappings, text, texts
from meshscope.declarations.surroundings import Surroundings, selector_of, targets, words
from meshscope.events.resource import Resource
from meshscope.projection.routes.match import claim_path

NOT_REQUIRED = "MSC-2114"
NOT_VALIDATED = "MSC-2115"
ROUTED_BY_CLAIM = "MSC-2314"

_CLAIMS = "request.auth."


def tokens_not_required(authentication: Resource, around: Surroundings) -> Iterator[Said]:
    """A RequestAuthentication beside which requests without a token pass."""
    rules = list(mappings(authentication.spec, "jwtRules"))
    if targets(authentication) or not rules or any(_hands_on(rule) for _, rule in rules):
        return
    if not (around.complete or around.of("AuthorizationPolicy")):
        yield Lacking((NOT_REQUIRED,), absent("AuthorizationPolicies"))
        return
    wanted = selector_of(authentication) or {}
    selected = around.selected(authentication.namespace, wanted)
    spaces = [(one.namespace, dict(one.labels)) for one in selected]
    for namespace, own in spaces or [(authentication.namespace, dict(wanted))]:
        policies = in_force(around, namespace, own)
        if any(_asks(policy) for policy in policies) or _routes_by_claims(around):
            return
        request = Request(method="GET", path="/", transport="plaintext")
        access = access_of(policies, around)
        if access.outcome(request) == ALLOWED:
            yield Finding(
                NOT_REQUIRED,
                authentication,
                "spec.jwtRules",
                "tokens are validated where there are any, and no access rule asks for one: "
                "requests without a token pass",
                Witness(request, "allowed without a token"),
            )
            return


def _hands_on(rule: Json) -> bool:
    """Whether the application is given the token or claims, and can judge for itself."""
    return bool(
        rule.get("forwardOriginalToken")
        or rule.get("outputPayloadToHeader")
        or rule.get("outputClaimToHeaders")
    )


def _asks(policy: Resource) -> bool:
    return action_of(policy) == "CUSTOM" or any(True for _ in _token_fields(policy))


def _token_fields(policy: Resource) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Fields about tokens, with their values, and whether they demand one."""
    for index, spec in mappings(policy.spec, "rules"):
        for place, source in mappings(spec, "from"):
            block = mapping(source, "source")
            for name, demands in (("requestPrincipals", True), ("notRequestPrincipals", False)):
                if texts(block, name):
                    field = f"spec.rules[{index}].from[{place}].source.{name}"
                    yield field, texts(block, name), demands
        for place, condition in mappings(spec, "when"):
            key = text(condition, "key")
            if key.startswith(_CLAIMS):
                values = texts(condition, "values") if key.endswith(".principal") else ("*",)
                demands = bool(texts(condition, "values"))
                yield f"spec.rules[{index}].when[{place}]", values, demands


def _routes_by_claims(around: Surroundings) -> bool:
    return any(
        claim_path(name) is not None
        for service in around.of("VirtualService")
        for _, block in mappings(service.spec, "http")
        for _, match in mappings(block, "match")
        for part in ("headers", "withoutHeaders")
        for name in mapping(match, part)
    )


def tokens_not_validated(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Rules that demand a token where no RequestAuthentication validates one."""
    if targets(policy):
        return
    demanding = [(field, values) for field, values, demands in _token_fields(policy) if demands]
    if not demanding:
        return
    if not (around.complete or around.of("RequestAuthentication")):
        yield Lacking((NOT_VALIDATED,), absent("RequestAuthentications"))
        return
    validating = _validating(around, policy.namespace, selector_of(policy) or {})
    issuers = [
        text(rule, "issuer") for one in validating for _, rule in mappings(one.spec, "jwtRules")
    ]
    for field, values in demanding:
        if not issuers:
            yield Finding(
                NOT_VALIDATED,
                policy,
                field,
                "a token is demanded, and no RequestAuthentication of its workloads validates "
                "any, so this never holds",
            )
        elif all(_foreign(value, issuers) for value in values):
            yield Finding(
                NOT_VALIDATED,
                policy,
                field,
                f"tokens of another issuer are demanded than are validated ({words(issuers)}), "
                "so this never holds",
                related=tuple(one.ref for one in validating),
            )


def _validating(
    around: Surroundings, namespace: str, wanted: Mapping[str, str]
) -> tuple[Resource, ...]:
    """RequestAuthentications that can be in force at a workload with these labels and others."""
    return tuple(
        one
        for one in around.of("RequestAuthentication")
        if (namespace == around.root or one.namespace in (namespace, around.root))
        and _compatible(selector_of(one) or {}, wanted)
    )


def _compatible(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())


def _foreign(principal: str, issuers: Iterable[str]) -> bool:
    """Whether a request principal (`issuer/subject`) names an issuer that is not validated."""
    issuer, slash, _ = principal.rpartition("/")
    return bool(slash) and "*" not in issuer and issuer not in issuers


def routes_by_claims(service: Resource, around: Surroundings) -> Iterator[Said]:
    """VirtualServices that route by claims where no token is validated."""
    fields = [
        (f"spec.http[{index}].match[{place}].{part}", name)
        for index, block in mappings(service.spec, "http")
        for place, match in mappings(block, "match")
        for part in ("headers", "withoutHeaders")
        for name in mapping(match, part)
        if claim_path(name) is not None
    ]
    if not fields:
        return
    if not (around.complete or around.of("RequestAuthentication")):
        yield Lacking((ROUTED_BY_CLAIM,), absent("RequestAuthentications"))
        return
    for gateway in _gateways(service, around):
        wanted = selector_of_gateway(gateway)
        if any(
            _compatible(selector_of(one) or {}, wanted)
            for one in around.of("RequestAuthentication")
        ):
            continue
        yield Finding(
            ROUTED_BY_CLAIM,
            service,
            fields[0][0],
            f"{fields[0][1]} is a claim of a token, and no RequestAuthentication validates tokens "
            f"at the workloads of {gateway.ref}, so this never matches",
            related=(gateway.ref,),
        )
        return


def _gateways(service: Resource, around: Surroundings) -> Iterator[Resource]:
    for name in texts(service.spec, "gateways"):
        namespace, _, short = name.rpartition("/")
        found = around.named("Gateway", namespace or service.namespace, short)
        if found is not None:
            yield found


def selector_of_gateway(gateway: Resource) -> Mapping[str, str]:
    """Labels of the workloads of a Gateway."""
    return {str(name): str(value) for name, value in mapping(gateway.spec, "selector").items()}
