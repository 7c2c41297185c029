"""AuthorizationPolicies beside ports, identities, tokens, and forms of hosts and paths."""

from typing import Any

import pytest
from reviewed import fields, findings, istio, kubernetes, one, pod, policy, requested, reviewed
from reviewed import service as svc

STRICT = istio("PeerAuthentication", "{mtls: {mode: STRICT}}", "default")
PERMISSIVE = istio("PeerAuthentication", "{mtls: {mode: PERMISSIVE}}", "default")
DISABLED = istio("PeerAuthentication", "{mtls: {mode: DISABLE}}", "default")
LEDGER = pod("{app: ledger}") + svc(
    "[{name: tcp, port: 5432}, {name: http, port: 80, targetPort: 8080}]", "ledger"
)


# Ports


def test_allow_rules_about_http_close_a_tcp_port() -> None:
    manifests = LEDGER + policy("[{to: [{operation: {methods: [GET]}}]}]")
    found = one(manifests, "MSC-2105")
    assert "port 5432 of Pod shop/cart-1 (port tcp of Service shop/ledger, tcp)" in (
        found.explanation
    )
    assert requested(found).endswith("port 5432")
    assert not findings(manifests, "MSC-2112")


def test_a_rule_without_http_opens_the_tcp_port() -> None:
    rules = "[{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {ports: ['5432']}}]}]"
    assert not findings(LEDGER + policy(rules), "MSC-2105")


def test_allow_rules_close_a_port_that_none_is_about() -> None:
    manifests = LEDGER + policy("[{to: [{operation: {ports: ['5432']}}]}]")
    assert "port 8080 of Pod shop/cart-1" in one(manifests, "MSC-2112").explanation
    both = LEDGER + policy("[{to: [{operation: {ports: ['5432', '8080']}}]}]")
    assert not findings(both, "MSC-2112")


def test_a_policy_without_rules_closes_ports_on_purpose() -> None:
    manifests = LEDGER + policy("[{to: [{operation: {ports: ['5432']}}]}]")
    assert not findings(manifests + policy("[]", "nothing"), "MSC-2112")


def test_a_deny_rule_about_http_refuses_every_connection_on_a_tcp_port() -> None:
    denied = policy("[{to: [{operation: {methods: [TRACE]}}]}]", action="DENY")
    found = one(LEDGER + denied, "MSC-2106")
    assert "refuses every connection" in found.explanation
    assert requested(found).endswith("port 5432")
    limited = policy("[{to: [{operation: {methods: [TRACE], ports: ['8080']}}]}]", action="DENY")
    assert not findings(LEDGER + limited, "MSC-2106")


def test_ports_of_unknown_workloads_are_not_looked_at() -> None:
    denied = policy("[{to: [{operation: {methods: [TRACE]}}]}]", action="DENY")
    skipped = {code for one in reviewed(denied).skipped for code in one.codes}
    assert "MSC-2106" in skipped
    assert not reviewed(denied).findings


# Identities

BY_IDENTITY = "[{from: [{source: {namespaces: [web]}}]}]"


@pytest.mark.parametrize(
    ("more", "settings"),
    [
        (DISABLED, {}),
        (PERMISSIVE, {"enableAutoMtls": False}),
        (
            PERMISSIVE
            + istio(
                "DestinationRule",
                "{host: '*.shop.svc.cluster.local', trafficPolicy: {tls: {mode: DISABLE}}}",
            ),
            {},
        ),
    ],
)
def test_identities_that_never_arrive(more: str, settings: dict[str, Any]) -> None:
    found = one(policy(BY_IDENTITY) + more, "MSC-2107", **settings)
    assert found.field == "spec.rules[0].from[0].source.namespaces"


@pytest.mark.parametrize(
    "more",
    [
        PERMISSIVE,
        STRICT,
        # Clients of the namespace that is named follow a rule of their own.
        PERMISSIVE
        + istio(
            "DestinationRule",
            "{host: '*.shop.svc.cluster.local', trafficPolicy: {tls: {mode: DISABLE}}}",
        )
        + istio(
            "DestinationRule",
            "{host: '*.shop.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
            namespace="web",
        ),
    ],
)
def test_identities_that_arrive(more: str) -> None:
    assert not findings(policy(BY_IDENTITY) + more, "MSC-2107")


def test_a_negated_identity_lets_plaintext_pass() -> None:
    rules = "[{from: [{source: {notNamespaces: [evil]}}], to: [{operation: {paths: [/a]}}]}]"
    found = one(policy(rules) + PERMISSIVE, "MSC-2108")
    assert found.field == "spec.rules[0].from[0].source.notNamespaces"
    assert requested(found) == "GET /a, over plaintext"


@pytest.mark.parametrize(
    ("rules", "mode"),
    [
        ("[{from: [{source: {notNamespaces: [evil]}}]}]", STRICT),
        ("[{from: [{source: {notNamespaces: [evil], principals: ['*']}}]}]", PERMISSIVE),
        (
            "[{from: [{source: {notNamespaces: [evil]}}], "
            "when: [{key: source.principal, values: ['*']}]}]",
            PERMISSIVE,
        ),
    ],
)
def test_a_negated_identity_that_plaintext_does_not_meet(rules: str, mode: str) -> None:
    assert not findings(policy(rules) + mode, "MSC-2108")


def test_who_is_denied_by_identity_gets_through_by_plaintext() -> None:
    rules = "[{from: [{source: {namespaces: [evil]}}], to: [{operation: {paths: [/a]}}]}]"
    denied = policy(rules, action="DENY")
    assert requested(one(denied + PERMISSIVE, "MSC-2109")) == "GET /a, over plaintext"
    assert not findings(denied + STRICT, "MSC-2109")
    allowed = policy("[{from: [{source: {principals: ['*']}}]}]", "known")
    assert not findings(denied + allowed + PERMISSIVE, "MSC-2109")


def test_without_peer_authentications_nothing_is_said_of_modes() -> None:
    rules = "[{from: [{source: {notNamespaces: [evil], namespaces: [a]}}]}]"
    found = reviewed(policy(rules) + policy("[{from: [{source: {notNamespaces: [e]}}]}]", "b"))
    assert not found.findings
    assert "PeerAuthentications are not among the resources" in {one.lacks for one in found.skipped}
    assert findings(policy("[{from: [{source: {notNamespaces: [e]}}]}]"), "MSC-2108", complete=True)


# Forms

ADMIN = policy("[{to: [{operation: {paths: [/admin]}}]}]", action="DENY")


@pytest.mark.parametrize(
    ("normalization", "form"),
    [("NONE", "//admin"), ("BASE", "//admin"), ("MERGE_SLASHES", ""), (None, "//admin")],
)
def test_forms_of_a_path_that_the_normalisation_leaves(
    normalization: str | None, form: str
) -> None:
    settings: dict[str, Any] = {}
    if normalization:
        settings["pathNormalization"] = {"normalization": normalization}
    found = findings(ADMIN, "MSC-2111", **settings)
    assert [requested(one) for one in found] == ([f"GET {form}, over plaintext"] if form else [])


def test_escaped_slashes_escape_until_they_are_decoded() -> None:
    deep = policy("[{to: [{operation: {paths: ['/a/b*']}}]}]", action="DENY")
    merged = {"pathNormalization": {"normalization": "MERGE_SLASHES"}}
    assert "/a%2Fbx" in one(deep, "MSC-2111", **merged).explanation
    decoded = {"pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"}}
    assert not findings(deep, "MSC-2111", **decoded)


def test_allowed_paths_have_no_forms_that_escape() -> None:
    assert not findings(policy("[{to: [{operation: {paths: [/a]}}]}]"), "MSC-2111")
    excluded = policy("[{to: [{operation: {notPaths: [/admin]}}]}]")
    assert fields(excluded, "MSC-2111") == ["spec.rules[0].to[0].operation.notPaths"]


def test_what_refuses_the_other_form_too_keeps_it_from_escaping() -> None:
    both = policy("[{to: [{operation: {paths: [/admin, '*/admin']}}]}]", action="DENY")
    assert not findings(both, "MSC-2111")


def test_a_host_with_a_port_escapes_and_a_pattern_catches_it() -> None:
    host = policy("[{to: [{operation: {hosts: [a.example]}}]}]", action="DENY")
    assert "a.example:80" in one(host, "MSC-2110").explanation
    forms = "[a.example, 'a.example:*', a.example.]"
    caught = policy(f"[{{to: [{{operation: {{hosts: {forms}}}}}]}}]", action="DENY")
    assert not findings(caught, "MSC-2110")


# Tokens

TOKENS = istio("RequestAuthentication", "{jwtRules: [{issuer: https://a.example}]}")


def test_tokens_that_nothing_requires() -> None:
    found = one(TOKENS + policy("[{}]"), "MSC-2114")
    assert (found.resource.kind, found.field) == ("RequestAuthentication", "spec.jwtRules")
    assert found.witness is not None


@pytest.mark.parametrize(
    "more",
    [
        policy("[{from: [{source: {requestPrincipals: ['*']}}]}]"),
        policy("[{from: [{source: {notRequestPrincipals: ['*']}}]}]", action="DENY"),
        policy("[{when: [{key: 'request.auth.claims[a]', values: [b]}]}]"),
        policy("[]"),
    ],
)
def test_tokens_that_something_requires(more: str) -> None:
    assert not findings(TOKENS + more, "MSC-2114")


def test_tokens_that_are_handed_on_are_for_the_application() -> None:
    handed = TOKENS.replace("issuer: https://a.example", "issuer: a, forwardOriginalToken: true")
    assert not findings(handed + policy("[{}]"), "MSC-2114")


@pytest.mark.parametrize(
    ("rules", "tokens"),
    [
        ("[{from: [{source: {requestPrincipals: ['*']}}]}]", TOKENS.replace("shop", "other")),
        ("[{from: [{source: {requestPrincipals: ['https://b.example/*']}}]}]", TOKENS),
        ("[{when: [{key: 'request.auth.claims[a]', values: [b]}]}]", TOKENS.replace("shop", "x")),
    ],
)
def test_a_token_that_nobody_validates(rules: str, tokens: str) -> None:
    assert findings(policy(rules) + tokens, "MSC-2115")
    assert not findings(policy(rules), "MSC-2115")


@pytest.mark.parametrize("principal", ["*", "https://a.example/*", "https://a.example/x"])
def test_a_token_that_is_validated(principal: str) -> None:
    rules = f"[{{from: [{{source: {{requestPrincipals: ['{principal}']}}}}]}}]"
    assert not findings(policy(rules) + TOKENS, "MSC-2115")


# References


def test_identities_that_do_not_exist() -> None:
    source = "{namespaces: [web, wbe, 'w*'], principals: [cluster.local/ns/web/sa/a, '*']}"
    manifests = policy(f"[{{from: [{{source: {source}}}]}}]") + kubernetes(
        "Namespace", "{}", "web", "''"
    )
    assert fields(manifests, "MSC-2116") == ["spec.rules[0].from[0].source.namespaces[1]"]
    account = kubernetes("ServiceAccount", "{}", "b", "web")
    assert fields(manifests + account, "MSC-2116") == [
        "spec.rules[0].from[0].source.namespaces[1]",
        "spec.rules[0].from[0].source.principals[0]",
    ]
    assert not findings(policy("[{from: [{source: {namespaces: [wbe]}}]}]"), "MSC-2116")


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("w*", True), ("*b", True), ("*e*", True), ("w*e*b", True), ("x*", False), ("w*bb", False)],
)
def test_patterns_of_namespaces(pattern: str, meant: bool) -> None:
    manifests = policy(f"[{{from: [{{source: {{namespaces: ['{pattern}']}}}}]}}]")
    known = kubernetes("Namespace", "{}", "web", "''")
    # The policy's own namespace is known as well: shop.
    assert bool(findings(manifests + known, "MSC-2116")) is not meant


def test_methods_that_nobody_sends() -> None:
    rules = "[{to: [{operation: {methods: [GET, get, 'M-SEARCH', '*', '/a.B/C']}}]}]"
    assert fields(policy(rules), "MSC-2117") == [
        "spec.rules[0].to[0].operation.methods[1]",
        "spec.rules[0].to[0].operation.methods[4]",
    ]


def test_a_policy_that_is_only_tried_out() -> None:
    tried = policy("[{}]", more=", annotations: {istio.io/dry-run: 'true'}")
    assert one(tried, "MSC-2113").field == "metadata.annotations.istio.io/dry-run"
    assert not findings(policy("[{}]"), "MSC-2113")


def test_an_external_authorizer_that_is_not_known() -> None:
    custom = policy("[{}]", action="CUSTOM, provider: {name: ext}")
    assert one(custom, "MSC-2118").field == "spec.provider.name"
    grpc = {"name": "ext", "envoyExtAuthzGrpc": {"service": "a.b", "port": 9000}}
    assert not findings(custom, "MSC-2118", extensionProviders=[grpc])
    tracing = {"name": "ext", "zipkin": {"service": "a.b", "port": 9000}}
    assert findings(custom, "MSC-2118", extensionProviders=[tracing])
