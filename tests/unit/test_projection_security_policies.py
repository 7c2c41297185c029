"""Which security policies are in force for a workload, and what they amount to."""

from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy.authorization import Authorization
from meshscope.policy.matches import StringMatch
from meshscope.policy.peer_authentication import mode_of
from meshscope.projection.declared.selection import selecting
from meshscope.projection.inbound.chains import Mode, PortProtocol, chain_shapes
from meshscope.projection.security.authorization import authorization
from meshscope.projection.security.authorization_rules import NEVER
from meshscope.projection.security.ext_authz import Authorizers, ProviderError, authorizers
from meshscope.projection.security.peer_authentication import (
    MeshTls,
    MutualTls,
    mutual_tls,
    peer_authentication,
    scopes,
)
from meshscope.projection.security.request_authentication import request_authentication

ROOT = "istio-system"
LABELS = {"app": "web", "version": "v1"}


def resource(
    kind: str,
    name: str,
    spec: dict[str, Any],
    *,
    namespace: str = "shop",
    created: str | None = "2026-01-01T00:00:00Z",
    annotations: dict[str, str] | None = None,
) -> Resource:
    return Resource(
        "security.istio.io",
        "v1",
        kind,
        namespace,
        name,
        annotations=annotations or {},
        created_at=created,
        body={"spec": spec},
    )


def peer(name: str, mode: str, **options: Any) -> Resource:
    labels = options.pop("labels", None)
    ports = options.pop("ports", None)
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if labels is not None:
        spec["selector"] = {"matchLabels": labels}
    if ports is not None:
        spec["portLevelMtls"] = {port: {"mode": level} for port, level in ports.items()}
    return resource("PeerAuthentication", name, spec, **options)


def modes(*policies: Resource) -> tuple[MutualTls, ...]:
    return mutual_tls(scopes(policies, namespace="shop", labels=LABELS, root=ROOT))


class TestPeerAuthentication:
    def test_nothing_declared_is_permissive(self) -> None:
        assert modes() == (MutualTls("PERMISSIVE"),)

    def test_the_narrowest_scope_wins(self) -> None:
        mesh = peer("mesh", "STRICT", namespace=ROOT)
        wide = peer("wide", "DISABLE")
        own = peer("own", "PERMISSIVE", labels={"app": "web"})
        assert [m.mode for m in modes(mesh)] == ["STRICT"]
        assert [m.mode for m in modes(mesh, wide)] == ["DISABLE"]
        assert [m.mode for m in modes(mesh, wide, own)] == ["PERMISSIVE"]

    def test_unset_takes_the_mode_of_the_wider_scope(self) -> None:
        found = modes(
            peer("mesh", "STRICT", namespace=ROOT),
            peer("wide", "UNSET"),
            peer("own", "UNSET", labels={"app": "web"}, ports={"8080": "UNSET", "9": "DISABLE"}),
        )
        assert found[0].mode == "STRICT"
        assert found[0].ports == ((9, "DISABLE"), (8080, "STRICT"))

    def test_a_selector_in_the_root_namespace_selects_nothing(self) -> None:
        policy = peer("root", "STRICT", namespace=ROOT, labels={"app": "web"})
        assert modes(policy) == (MutualTls(),)
        assert mutual_tls(scopes([policy], namespace=ROOT, labels=LABELS, root=ROOT)) == (
            MutualTls(),
        )

    def test_port_levels_count_in_workload_policies_only(self) -> None:
        assert modes(peer("wide", "STRICT", ports={"8080": "DISABLE"}))[0].ports == ()

    def test_the_oldest_wins_then_the_first_by_name(self) -> None:
        old = peer("z", "DISABLE", created="2026-01-01T00:00:00Z")
        new = peer("a", "STRICT", created="2026-01-02T00:00:00Z")
        twin = peer("b", "PERMISSIVE", created="2026-01-01T00:00:00Z")
        assert [m.mode for m in modes(new, old)] == ["DISABLE"]
        assert [m.mode for m in modes(old, twin)] == ["PERMISSIVE"]

    def test_unknown_ages_leave_every_outcome_open(self) -> None:
        found = modes(peer("a", "STRICT", created=None), peer("b", "DISABLE", created=None))
        assert {m.mode for m in found} == {"STRICT", "DISABLE"}

    def test_a_policy_of_known_age_cannot_be_older_than_a_still_older_one(self) -> None:
        found = modes(
            peer("a", "STRICT", created="2026-01-01T00:00:00Z"),
            peer("b", "DISABLE", created="2026-01-02T00:00:00Z"),
            peer("c", "PERMISSIVE", created=None),
        )
        assert {m.mode for m in found} == {"STRICT", "PERMISSIVE"}

    @pytest.mark.parametrize("protocol", ["http", "tcp", "auto"])
    @pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
    def test_the_chains_of_a_mode_are_read_as_that_mode(
        self, mode: Mode, protocol: PortProtocol
    ) -> None:
        shapes = chain_shapes(mode, protocol, http10=False)
        policy = peer_authentication(shapes, MeshTls(("td",)))
        assert policy.mode == mode_of(policy.chains) == mode

    def test_no_chain_hides_another(self) -> None:
        for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
            for protocol in ("http", "tcp", "auto"):
                shapes = chain_shapes(mode, protocol, http10=True)
                matches = [(s.transport_protocol, s.application_protocols) for s in shapes]
                assert len(set(matches)) == len(matches)

    def test_metadata_is_exchanged_over_tcp_only(self) -> None:
        tls = MeshTls(("td",))
        assert tls.context("tcp").alpn == ("istio-peer-exchange", "h2", "http/1.1")
        assert tls.context("http").alpn == ("h2", "http/1.1")
        assert tls.context("http").peers == (StringMatch("prefix", "spiffe://td/"),)


class TestSelection:
    @pytest.mark.parametrize(
        ("namespace", "selector", "selected"),
        [
            ("shop", None, True),
            ("shop", {"app": "web"}, True),
            ("shop", {"app": "web", "version": "v2"}, False),
            (ROOT, {"app": "web"}, True),
            ("other", None, False),
        ],
    )
    def test_by_namespace_and_labels(
        self, namespace: str, selector: dict[str, str] | None, selected: bool
    ) -> None:
        spec = {"selector": {"matchLabels": selector}} if selector else {}
        policy = resource("AuthorizationPolicy", "p", spec, namespace=namespace)
        found = selecting([policy], namespace="shop", labels=LABELS, root=ROOT)
        assert bool(found) is selected

    def test_policies_with_targets_are_not_for_sidecars(self) -> None:
        policy = resource("AuthorizationPolicy", "p", {"targetRefs": [{"kind": "Gateway"}]})
        assert selecting([policy], namespace="shop", labels=LABELS, root=ROOT) == ()


def access(*policies: Resource, tcp: bool = False, **options: Any) -> Authorization:
    settings: dict[str, Any] = {
        "find_provider": unknown_provider,
        "several_providers": False,
        "provider_in_ids": True,
        **options,
    }
    return authorization(policies, tcp=tcp, trust_domains=("cluster.local",), **settings)


def unknown_provider(name: str) -> Authorizers:
    raise ProviderError(name)


def policy(name: str, action: str, rules: list[Any] | None, **options: Any) -> Resource:
    provider = options.pop("provider", None)
    spec: dict[str, Any] = {"action": action, "rules": rules}
    if provider:
        spec["provider"] = {"name": provider}
    return resource("AuthorizationPolicy", name, spec, **options)


GET = {"to": [{"operation": {"methods": ["GET"]}}]}
DRY_RUN = {"istio.io/dry-run": "true"}


class TestAuthorization:
    def test_no_policy_is_no_filter(self) -> None:
        assert access() == Authorization()

    def test_a_policy_without_rules_matches_nothing(self) -> None:
        found = access(policy("p", "ALLOW", None))
        assert found.allow is not None
        assert [(rule.sources, rule.operations) for rule in found.allow] == [(NEVER, NEVER)]

    def test_the_action_is_allow_unless_said(self) -> None:
        found = access(resource("AuthorizationPolicy", "p", {"rules": [{}]}))
        assert found.allow is not None
        assert found.allow[0].sources == ((),)

    def test_a_tcp_chain_where_nothing_is_left_to_allow_denies_everything(self) -> None:
        assert access(policy("p", "ALLOW", [GET]), tcp=True).allow == ()

    def test_a_tcp_chain_denies_everything_that_a_rule_of_http_cannot_tell_apart(self) -> None:
        found = access(policy("p", "DENY", [GET]), tcp=True)
        assert found.deny is not None
        assert found.deny[0].operations == ((),)

    def test_a_rule_that_is_null_is_none(self) -> None:
        assert access(policy("p", "ALLOW", [None])).allow == ()

    def test_dry_run_alone_enforces_nothing(self) -> None:
        found = access(policy("p", "ALLOW", [GET], annotations=DRY_RUN))
        assert found.allow is None
        assert found.dry_run_allow is not None

    @pytest.mark.parametrize(("text", "dry"), [("True", True), ("1", True), ("yes", False)])
    def test_what_counts_as_dry_run(self, text: str, dry: bool) -> None:
        found = access(policy("p", "DENY", [GET], annotations={"istio.io/dry-run": text}))
        assert (found.deny is None) is dry

    def test_an_unknown_provider_denies(self) -> None:
        found = access(policy("p", "CUSTOM", [GET], provider="nobody"))
        assert [(c.provider, c.authorizer) for c in found.custom] == [("nobody", None)]

    def test_an_http_provider_does_not_protect_tcp(self) -> None:
        provider = {
            "name": "p",
            "envoyExtAuthzHttp": {"service": "authz.shop", "port": 80},
        }

        def find(name: str) -> Authorizers:
            return authorizers(name, [provider], lambda host: host)

        rules = policy("p", "CUSTOM", [GET], provider="p")
        assert access(rules, tcp=True, find_provider=find).custom == ()
        (custom,) = access(rules, find_provider=find).custom
        assert custom.authorizer is not None
        assert custom.authorizer.cluster == "outbound|80||authz.shop"

    def test_two_providers_deny_unless_istiod_allows_them(self) -> None:
        provider = {"envoyExtAuthzGrpc": {"service": "authz.shop", "port": 80}}

        def find(name: str) -> Authorizers:
            return authorizers(name, [{"name": name, **provider}], lambda host: host)

        rules = [policy(name, "CUSTOM", [GET], provider=name) for name in ("p", "q")]
        refused = access(*rules, find_provider=find)
        assert [c.authorizer for c in refused.custom] == [None, None]
        accepted = access(*rules, find_provider=find, several_providers=True)
        assert all(c.authorizer is not None for c in accepted.custom)

    def test_before_1_30_ids_do_not_name_the_provider(self) -> None:
        found = access(policy("p", "CUSTOM", [GET], provider="nobody"), provider_in_ids=False)
        assert [c.provider for c in found.custom] == [""]


@pytest.mark.parametrize(
    "settings",
    [
        {"service": "authz", "port": 0},
        {"service": "elsewhere", "port": 80},
        {"service": "authz", "port": 80, "statusOnError": "999"},
        {"service": "authz", "port": 80, "pathPrefix": "check"},
        {"service": "authz", "port": 80, "headersToUpstreamOnAllow": ["*"]},
    ],
)
def test_settings_that_istio_refuses_make_a_provider_unknown(settings: dict[str, Any]) -> None:
    def find(name: str) -> str | None:
        return name if name == "authz" else None

    with pytest.raises(ProviderError):
        authorizers("p", [{"name": "p", "envoyExtAuthzHttp": settings}], find)


def test_a_provider_over_grpc_is_asked_about_connections_too() -> None:
    settings = {
        "service": "shop/authz",
        "port": 9000,
        "timeout": "0.5s",
        "failOpen": True,
        "statusOnError": "503",
        "includeRequestBodyInCheck": {"maxRequestBytes": 8, "packAsBytes": True},
    }
    providers = [{"name": "other"}, {"name": "p", "envoyExtAuthzGrpc": settings}]
    found = authorizers("p", providers, lambda name: name.rpartition("/")[2])
    assert found.tcp is not None
    assert (found.http.status_on_error, found.http.body_bytes, found.http.body_packed) == (
        503,
        8,
        True,
    )
    assert (found.tcp.timeout_ms, found.tcp.fail_open, found.tcp.body_bytes) == (500, True, 0)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("X-A", StringMatch("exact", "x-a", ignore_case=True)),
        ("x-*", StringMatch("prefix", "x-", ignore_case=True)),
        ("*-id", StringMatch("suffix", "-id", ignore_case=True)),
    ],
)
def test_headers_that_are_sent_along(name: str, match: StringMatch) -> None:
    settings = {"service": "authz", "port": 1, "includeRequestHeadersInCheck": [name]}
    providers = [{"name": "p", "envoyExtAuthzHttp": settings}]
    assert authorizers("p", providers, lambda host: host).http.request_headers == (match,)


def test_a_provider_that_does_not_authorize_is_none() -> None:
    with pytest.raises(ProviderError, match="'p'"):
        authorizers("p", [{"name": "p", "zipkin": {}}], lambda host: host)


def jwt(name: str, *rules: dict[str, Any]) -> Resource:
    return resource("RequestAuthentication", name, {"jwtRules": list(rules)})


class TestRequestAuthentication:
    def test_no_policy_looks_at_no_token(self) -> None:
        assert request_authentication([]).rules == ()

    def test_rules_of_all_policies_are_sorted_by_issuer(self) -> None:
        found = request_authentication(
            [jwt("a", {"issuer": "z"}, {"issuer": "b"}), jwt("b", {"issuer": "a"})]
        )
        assert [rule.issuer for rule in found.rules] == ["a", "b", "z"]

    def test_keys_that_istiod_fetches_are_not_declared(self) -> None:
        (fetched,) = request_authentication(
            [jwt("a", {"issuer": "i", "jwksUri": "https://i/k"})]
        ).rules
        (inline,) = request_authentication([jwt("a", {"issuer": "i", "jwks": "{}"})]).rules
        assert (fetched.keys, fetched.local_keys) == ("local", "")
        assert inline.local_keys

    def test_keys_that_the_proxy_fetches(self) -> None:
        policy = jwt("a", {"issuer": "i", "jwksUri": "https://i.example/k", "timeout": "2s"})
        (rule,) = request_authentication([policy], fetch_mode="true").rules
        assert (rule.keys, rule.timeout_ms) == ("https://i.example/k", 2_000)
        (rule,) = request_authentication([policy], fetch_mode="hybrid").rules
        assert rule.keys == "local"
        (rule,) = request_authentication([policy], fetch_mode="hybrid", in_mesh=["i.example"]).rules
        assert rule.keys == "https://i.example/k"
