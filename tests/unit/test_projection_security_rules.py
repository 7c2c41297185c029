"""Rules of an AuthorizationPolicy: what each part of the API demands of a request."""

from typing import Any, ClassVar

import pytest

from meshscope.policy.authorization import Alternative, Attribute, Condition, Rule
from meshscope.policy.canonical import as_set
from meshscope.policy.matches import StringMatch
from meshscope.projection.security.authorization_attributes import RuleContext
from meshscope.projection.security.authorization_rules import (
    TooManyAlternativesError,
    rule_of,
)

JWT = "envoy.filters.http.jwt_authn/payload"


def rule(
    spec: dict[str, Any], *, tcp: bool = False, allows: bool = True, domains: tuple[str, ...] = ()
) -> Rule | None:
    context = RuleContext("shop", domains or ("cluster.local",), tcp, allows)
    return rule_of("shop/policy", 0, spec, context)


def sources(spec: dict[str, Any], **options: Any) -> tuple[Alternative, ...]:
    found = rule(spec, **options)
    assert found is not None
    return found.sources


def operations(spec: dict[str, Any], **options: Any) -> tuple[Alternative, ...]:
    found = rule(spec, **options)
    assert found is not None
    return found.operations


def condition(
    attribute: Attribute, *values: StringMatch, name: str = "", negated: bool = False
) -> Condition:
    return Condition(attribute, name, values, negated=negated)


def test_an_empty_rule_matches_everything() -> None:
    assert rule({}) == Rule("shop/policy", 0, ((),), ((),))


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("principals", "td/ns/a/sa/b", StringMatch("exact", "spiffe://td/ns/a/sa/b")),
        ("principals", "*", StringMatch("regex", ".+")),
        ("principals", "td/ns/a/*", StringMatch("prefix", "spiffe://td/ns/a/")),
        ("principals", "*/sa/b.c", StringMatch("regex", r"spiffe://.*/sa/b\.c")),
        ("namespaces", "a-*.b", StringMatch("regex", r".*/ns/a-.*\.b/.*")),
        (
            "serviceAccounts",
            "b",
            StringMatch("regex", "spiffe://.+/ns/shop/(.+/|)sa/b(/.+)?"),
        ),
        (
            "serviceAccounts",
            "other/b",
            StringMatch("regex", "spiffe://.+/ns/other/(.+/|)sa/b(/.+)?"),
        ),
        ("trustDomains", "*", StringMatch("prefix", "spiffe://")),
        ("trustDomains", "td", StringMatch("prefix", "spiffe://td/")),
        ("trustDomains", "*.td", StringMatch("regex", r"spiffe://[^/]*\.td/.*")),
    ],
)
def test_identities(field: str, value: str, match: StringMatch) -> None:
    assert sources({"from": [{"source": {field: [value]}}]}) == ((condition("principal", match),),)


@pytest.mark.parametrize(
    ("value", "issuer", "subject"),
    [
        ("*", StringMatch("regex", ".+"), StringMatch("regex", ".+")),
        ("https://id/x/sub", StringMatch("exact", "https://id/x"), StringMatch("exact", "sub")),
        ("https://id/*", StringMatch("exact", "https://id"), StringMatch("regex", ".+")),
        ("id/su*", StringMatch("exact", "id"), StringMatch("prefix", "su")),
        ("*/sub", StringMatch("regex", ".+"), StringMatch("exact", "sub")),
        ("*id/sub", StringMatch("suffix", "id"), StringMatch("exact", "sub")),
        ("*sub", StringMatch("regex", ".+"), StringMatch("suffix", "sub")),
        ("iss*", StringMatch("prefix", "iss"), StringMatch("regex", ".+")),
        ("issuer", StringMatch("exact", "issuer"), StringMatch("exact", "")),
    ],
)
def test_request_principals_are_split_at_the_last_slash(
    value: str, issuer: StringMatch, subject: StringMatch
) -> None:
    expected = as_set(
        (
            condition("metadata", issuer, name=f"{JWT}/iss"),
            condition("metadata", subject, name=f"{JWT}/sub"),
        )
    )
    assert sources({"from": [{"source": {"requestPrincipals": [value]}}]}) == (expected,)


def test_several_request_principals_are_several_alternatives() -> None:
    found = sources(
        {"from": [{"source": {"requestPrincipals": ["a/b", "c/d"], "namespaces": ["n"]}}]}
    )
    assert len(found) == 2
    assert all(len(alternative) == 3 for alternative in found)


def test_not_a_request_principal_is_another_issuer_or_another_subject() -> None:
    found = sources({"from": [{"source": {"notRequestPrincipals": ["a/b"]}}]})
    assert found == as_set(
        (
            (condition("metadata", StringMatch("exact", "a"), name=f"{JWT}/iss", negated=True),),
            (condition("metadata", StringMatch("exact", "b"), name=f"{JWT}/sub", negated=True),),
        )
    )


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (
            "hosts",
            "Shop.Example*",
            condition("header", StringMatch("prefix", "shop.example", True), name=":authority"),
        ),
        ("hosts", "*", condition("header", StringMatch("present"), name=":authority")),
        ("methods", "GET", condition("header", StringMatch("exact", "GET"), name=":method")),
        ("paths", "/a*", condition("path", StringMatch("prefix", "/a"))),
        ("paths", "*", condition("path", StringMatch("regex", ".+"))),
        ("paths", "/a*b", condition("path", StringMatch("exact", "/a*b"))),
        ("paths", "/{*}/x/{**}", condition("path_template", StringMatch("exact", "/*/x/**"))),
        ("ports", "08080", condition("destination_port", StringMatch("exact", "8080"))),
    ],
)
def test_operations(field: str, value: str, expected: Condition) -> None:
    assert operations({"to": [{"operation": {field: [value]}}]}) == ((expected,),)


def test_paths_and_templates_are_alternatives() -> None:
    found = operations({"to": [{"operation": {"paths": ["/a", "/b", "/{*}"], "methods": ["GET"]}}]})
    method = condition("header", StringMatch("exact", "GET"), name=":method")
    assert found == as_set(
        (
            as_set(
                (method, condition("path", StringMatch("exact", "/a"), StringMatch("exact", "/b")))
            ),
            as_set((method, condition("path_template", StringMatch("exact", "/*")))),
        )
    )


def test_neither_a_path_nor_a_template_is_one_alternative() -> None:
    found = operations({"to": [{"operation": {"notPaths": ["/a", "/{*}"]}}]})
    assert found == (
        as_set(
            (
                condition("path", StringMatch("exact", "/a"), negated=True),
                condition("path_template", StringMatch("exact", "/*"), negated=True),
            )
        ),
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "source.ip",
            "10.1.2.3/8",
            condition("direct_remote_ip", StringMatch("exact", "10.0.0.0/8")),
        ),
        ("remote.ip", "10.1.2.3", condition("remote_ip", StringMatch("exact", "10.1.2.3/32"))),
        ("request.headers[X-A]", "*b", condition("header", StringMatch("suffix", "b"), name="x-a")),
        (
            "request.auth.claims[a][b]",
            "v",
            Condition("metadata", f"{JWT}/a/b", (StringMatch("exact", "v"),), "also"),
        ),
        (
            "request.auth.audiences",
            "v",
            Condition("metadata", f"{JWT}/aud", (StringMatch("exact", "v"),), "also"),
        ),
    ],
)
def test_conditions_about_the_peer(key: str, value: str, expected: Condition) -> None:
    assert sources({"when": [{"key": key, "values": [value]}]}) == ((expected,),)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("destination.ip", "::1", condition("destination_ip", StringMatch("exact", "::1/128"))),
        ("connection.sni", "*.x", condition("requested_server_name", StringMatch("suffix", ".x"))),
        (
            "experimental.envoy.filters.network.mysql_proxy[db.t]",
            "[insert]",
            Condition(
                "metadata",
                "envoy.filters.network.mysql_proxy/db.t",
                (StringMatch("exact", "insert"),),
                "only",
            ),
        ),
    ],
)
def test_conditions_about_the_request(key: str, value: str, expected: Condition) -> None:
    assert operations({"when": [{"key": key, "values": [value]}]}) == ((expected,),)


def test_a_condition_joins_every_alternative_of_its_side() -> None:
    found = rule(
        {
            "from": [{"source": {"namespaces": ["a"]}}, {"source": {"namespaces": ["b"]}}],
            "when": [{"key": "source.ip", "notValues": ["10.0.0.0/8"]}],
        }
    )
    assert found is not None
    assert [len(alternative) for alternative in found.sources] == [2, 2]
    assert found.operations == ((),)


class TestTcp:
    SPEC: ClassVar[dict[str, Any]] = {
        "from": [{"source": {"namespaces": ["a"], "requestPrincipals": ["*"]}}],
        "to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}],
    }

    def test_a_rule_that_allows_is_left_out(self) -> None:
        assert rule(self.SPEC, tcp=True) is None

    def test_any_other_rule_catches_more(self) -> None:
        found = rule(self.SPEC, tcp=True, allows=False)
        assert found is not None
        assert found.sources == ((condition("principal", StringMatch("regex", ".*/ns/a/.*")),),)
        assert found.operations == ((condition("destination_port", StringMatch("exact", "80")),),)

    def test_a_rule_without_attributes_of_http_is_the_same(self) -> None:
        spec = {"to": [{"operation": {"notPorts": ["80"]}}]}
        assert rule(spec, tcp=True) == rule(spec)


@pytest.mark.parametrize("allows", [True, False])
def test_an_unknown_condition_leaves_the_rule_out(allows: bool) -> None:
    assert rule({"when": [{"key": "source.colour", "values": ["red"]}]}, allows=allows) is None


class TestTrustDomains:
    DOMAINS = ("new", "old", "older")

    @pytest.mark.parametrize("domain", ["new", "old", "cluster.local"])
    def test_a_principal_of_the_mesh_stands_for_all_of_its_names(self, domain: str) -> None:
        found = sources(
            {"from": [{"source": {"principals": [f"{domain}/ns/a/sa/b"]}}]}, domains=self.DOMAINS
        )
        names = (StringMatch("exact", f"spiffe://{td}/ns/a/sa/b") for td in self.DOMAINS)
        assert found == ((condition("principal", *names),),)

    @pytest.mark.parametrize("principal", ["*/ns/a/sa/b", "*", "other/ns/a/sa/b", "ns/a/sa/b"])
    def test_other_principals_stay(self, principal: str) -> None:
        spec = {"from": [{"source": {"principals": [principal]}}]}
        assert sources(spec, domains=self.DOMAINS) == sources(spec)

    def test_a_wildcard_stays_and_the_names_that_it_misses_are_added(self) -> None:
        found = sources(
            {"from": [{"source": {"principals": ["*ld/ns/a/sa/b"]}}]}, domains=("new", "old")
        )
        assert found == (
            (
                condition(
                    "principal",
                    StringMatch("exact", "spiffe://new/ns/a/sa/b"),
                    StringMatch("regex", "spiffe://.*ld/ns/a/sa/b"),
                ),
            ),
        )

    def test_a_trust_domain_of_the_mesh_stands_for_all(self) -> None:
        found = sources({"from": [{"source": {"notTrustDomains": ["old"]}}]}, domains=self.DOMAINS)
        names = (StringMatch("prefix", f"spiffe://{td}/") for td in self.DOMAINS)
        assert found == ((condition("principal", *names, negated=True),),)


@pytest.mark.parametrize(
    "condition_spec",
    [
        {"key": "destination.port", "values": ["http"]},
        {"key": "source.ip", "values": ["10.0.0.0/33"]},
        {"key": "request.headers", "values": ["x"]},
        {"key": "experimental.envoy.filters.x", "values": ["x"]},
    ],
)
def test_what_cannot_be_used_leaves_out_a_rule_that_allows(condition_spec: dict[str, Any]) -> None:
    assert rule({"when": [condition_spec]}) is None
    denied = rule({"when": [condition_spec]}, allows=False)
    assert denied is not None
    assert (denied.sources, denied.operations) == (((),), ((),))


def test_what_is_excluded_of_one_attribute_is_one_condition() -> None:
    found = sources(
        {"from": [{"source": {"notNamespaces": ["a"], "notPrincipals": ["td/ns/b/sa/c"]}}]}
    )
    assert found == (
        (
            condition(
                "principal",
                StringMatch("exact", "spiffe://td/ns/b/sa/c"),
                StringMatch("regex", ".*/ns/a/.*"),
                negated=True,
            ),
        ),
    )


def test_a_rule_that_explodes_is_refused() -> None:
    many = [f"issuer{number}/subject" for number in range(11)]
    with pytest.raises(TooManyAlternativesError):
        rule({"from": [{"source": {"notRequestPrincipals": many}}]})
