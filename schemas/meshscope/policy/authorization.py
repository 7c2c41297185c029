"""Kind `authorization`: who may do what."""

from dataclasses import dataclass, replace
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.matches import StringMatch

Attribute = Literal[
    "principal",
    "direct_remote_ip",
    "remote_ip",
    "source_ip",
    "header",
    "path",
    "path_template",
    "destination_ip",
    "destination_port",
    "requested_server_name",
    "metadata",
    "filter_state",
    "never",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule: the attribute must meet one of the values.

    Attributes:
        attribute: What is looked at. `principal`: the peer's identity, `spiffe://…`, known only
            under mutual TLS; `direct_remote_ip`: the peer's address; `remote_ip`: the client's,
            after forwarded-for; `path`: without query, normalised as the connection says;
            `path_template`: Envoy's URI templates, as `exact` values;
            `destination_port`: the target port; `metadata`: dynamic metadata such as a JWT claim;
            `never`: a condition that cannot hold.
        name: Header name in lower case, or path of the metadata as `filter/key/key`; else empty.
        values: Any of them. Addresses are `exact` networks (`10.0.0.0/8`), ports `exact` numbers.
        in_list: For metadata: elements of a list count `no`t, `also` or `only` (see
            `MetadataMatch`).
        negated: None of the values may be met. True for peers without the attribute.
        missing_as_empty: For headers, see `HeaderMatch`.
    """

    attribute: Attribute
    name: str = ""
    values: tuple[StringMatch, ...] = ()
    in_list: Literal["no", "also", "only"] = "no"
    negated: bool = False
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, values=as_set(self.values))


Alternative = tuple[Condition, ...]
"""Conditions that must all hold, a set; empty: holds always."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an AuthorizationPolicy: one of `sources` and one of `operations` must hold.

    Alternatives are a disjunctive normal form: values of one attribute are one condition, and where
    a value is a conjunction itself (issuer and subject of a token), or values belong to different
    attributes (`path` and `path_template`), there is one alternative per value. The negation of
    several values of one attribute is one negated condition.

    Attributes:
        policy: `namespace/name` of the AuthorizationPolicy; it changes nothing for traffic.
        index: Position of the rule in it.
        sources: Alternatives about the peer.
        operations: Alternatives about the request.
    """

    policy: str
    index: int
    sources: tuple[Alternative, ...] = ((),)
    operations: tuple[Alternative, ...] = ((),)

    def __post_init__(self) -> None:
        replace_fields(
            self,
            sources=as_set(as_set(alternative) for alternative in self.sources),
            operations=as_set(as_set(alternative) for alternative in self.operations),
        )


@dataclass(frozen=True, slots=True)
class ExternalAuthorizer:
    """A service that is asked (Envoy `ExtAuthz`).

    Attributes:
        protocol: `http` or `grpc`.
        cluster: Cluster name of the service.
        authority: Host that is asked for: authority of gRPC, host of the HTTP address.
        timeout_ms: For one answer.
        path_prefix: Prepended to the path of the request (HTTP).
        fail_open: The request passes where there is no answer.
        status_on_error: Answer where there is none and it does not pass.
        request_headers, request_headers_to_add: Headers that are sent along, a set; headers added,
            `name=value`.
        upstream_headers, downstream_headers_on_allow, downstream_headers_on_deny: Headers of its
            answer that reach the application, or the client.
        body_bytes, body_partial, body_packed: Body that is sent along; 0: none.
        clear_route_cache: The route is chosen again after it answered.
    """

    protocol: Literal["http", "grpc"]
    cluster: str
    authority: str = ""
    timeout_ms: int = 600_000
    path_prefix: str = ""
    fail_open: bool = False
    status_on_error: int = 403
    request_headers: tuple[StringMatch, ...] = ()
    request_headers_to_add: tuple[str, ...] = ()
    upstream_headers: tuple[StringMatch, ...] = ()
    downstream_headers_on_allow: tuple[StringMatch, ...] = ()
    downstream_headers_on_deny: tuple[StringMatch, ...] = ()
    body_bytes: int = 0
    body_partial: bool = False
    body_packed: bool = False
    clear_route_cache: bool = False

    def __post_init__(self) -> None:
        replace_fields(
            self,
            request_headers=as_set(self.request_headers),
            request_headers_to_add=as_set(self.request_headers_to_add),
            upstream_headers=as_set(self.upstream_headers),
            downstream_headers_on_allow=as_set(self.downstream_headers_on_allow),
            downstream_headers_on_deny=as_set(self.downstream_headers_on_deny),
        )


@dataclass(frozen=True, slots=True)
class CustomRules:
    """CUSTOM rules of one provider: a request that meets one of them is shown to the authorizer.

    `authorizer` is None where the provider is unknown: Istio then denies what the rules match.
    `provider` is empty where the ids of the rules do not name it (before Istio 1.30). Without rules
    the authorizer is never asked: the filter that would mark requests for it is missing.
    """

    provider: str
    rules: tuple[Rule, ...]
    authorizer: ExternalAuthorizer | None = None

    def __post_init__(self) -> None:
        replace_fields(self, rules=as_set(self.rules))


@dataclass(frozen=True, slots=True)
class Authorization:
    """The access rules on the chains of a port.

    A tuple of rules is a set. None: there is no such filter. An empty tuple: there is a filter
    without rules, which for ALLOW denies everything. Every class of chains has its policy, also
    where there is no filter at all, so that a filter that vanished is a difference of content.

    Attributes:
        custom: Per provider; asked first.
        audit, deny, allow: Enforced rules.
        dry_run_deny, dry_run_allow: Rules that are only counted.
    """

    custom: tuple[CustomRules, ...] = ()
    audit: tuple[Rule, ...] | None = None
    deny: tuple[Rule, ...] | None = None
    allow: tuple[Rule, ...] | None = None
    dry_run_deny: tuple[Rule, ...] | None = None
    dry_run_allow: tuple[Rule, ...] | None = None

    def __post_init__(self) -> None:
        replace_fields(self, custom=as_set(self.custom))
        for name in ("audit", "deny", "allow", "dry_run_deny", "dry_run_allow"):
            rules = getattr(self, name)
            if rules is not None:
                replace_fields(self, **{name: as_set(rules)})

    def without_names(self) -> "Authorization":
        """The rules without the names of the policies and providers that they came from."""

        def nameless(rules: tuple[Rule, ...] | None) -> tuple[Rule, ...] | None:
            return rules and tuple(replace(rule, policy="", index=0) for rule in rules)

        return Authorization(
            custom=tuple(
                replace(custom, provider="", rules=nameless(custom.rules) or ())
                for custom in self.custom
            ),
            audit=nameless(self.audit),
            deny=nameless(self.deny),
            allow=nameless(self.allow),
            dry_run_deny=nameless(self.dry_run_deny),
            dry_run_allow=nameless(self.dry_run_allow),
        )
