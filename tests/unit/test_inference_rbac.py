"""RBAC filters and external authorizers become access rules."""

from typing import Any

import pytest
from fragments import content, extensions, http_chain, http_filter, infer_parts, rbac
from fragments import virtual_inbound as inbound

from meshscope.inference.rbac import MAX_ALTERNATIVES, alternatives
from meshscope.inference.reader import Reading, Unexpected
from meshscope.inference.result import Inference
from meshscope.policy import key
from meshscope.policy.authorization import Authorization, Condition, CustomRules, Rule
from meshscope.policy.canonical import as_set
from meshscope.policy.matches import StringMatch
from meshscope.policy.source import ResourceRef

ANY: dict[str, Any] = {"any": True}
KEY = key.authorization("*", "mtls", "http")


def read(*formulas: dict[str, Any]) -> tuple[tuple[Condition, ...], ...]:
    reading = Reading()
    found = alternatives(reading.open(formula, "") for formula in formulas)
    assert not list(reading.left())
    return as_set(as_set(alternative) for alternative in found)


def exact(attribute: Any, *values: str, name: str = "", negated: bool = False) -> Condition:
    matches = tuple(StringMatch("exact", value) for value in values)
    return Condition(attribute, name, matches, negated=negated)


def principal(name: str) -> dict[str, Any]:
    return {"authenticated": {"principal_name": {"exact": name}}}


def claim(path: str, value: str) -> dict[str, Any]:
    return {
        "metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "payload"}, {"key": path}],
            "value": {"string_match": {"exact": value}},
        }
    }


def claimed(path: str, value: str, negated: bool = False) -> Condition:
    name = f"envoy.filters.http.jwt_authn/payload/{path}"
    return exact("metadata", value, name=name, negated=negated)


def one_of(*formulas: dict[str, Any], kind: str = "id") -> dict[str, Any]:
    return {f"or_{kind}s": {f"{kind}s": list(formulas)}}


def all_of(*formulas: dict[str, Any], kind: str = "id") -> dict[str, Any]:
    return {f"and_{kind}s": {f"{kind}s": list(formulas)}}


def test_values_of_one_attribute_are_one_condition() -> None:
    found = read(all_of(one_of(principal("a"), principal("b"))))

    assert found == ((exact("principal", "a", "b"),),)


def test_the_negation_of_several_values_is_one_negated_condition() -> None:
    found = read(all_of({"not_id": one_of(principal("a"), principal("b"))}))

    assert found == ((exact("principal", "a", "b", negated=True),),)


def test_a_value_that_is_a_conjunction_is_an_alternative() -> None:
    found = read(
        one_of(
            all_of(claim("iss", "i"), claim("sub", "s")),
            all_of(claim("iss", "j"), claim("sub", "t")),
        )
    )

    assert found == as_set(
        (
            as_set((claimed("iss", "i"), claimed("sub", "s"))),
            as_set((claimed("iss", "j"), claimed("sub", "t"))),
        )
    )


def test_the_negation_of_a_conjunction_has_an_alternative_per_condition() -> None:
    found = read({"not_id": all_of(claim("iss", "i"), claim("sub", "s"))})

    assert found == as_set(
        ((claimed("iss", "i", negated=True),), (claimed("sub", "s", negated=True),))
    )


def test_values_of_different_attributes_are_alternatives() -> None:
    template = {
        "uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "path_template": "/a/*",
            },
        }
    }
    method = {"header": {"name": ":method", "string_match": {"exact": "GET"}}}

    reading = Reading()
    found = alternatives(
        [
            reading.open(
                all_of(
                    one_of(method, kind="rule"),
                    one_of({"url_path": {"path": {"exact": "/x"}}}, template, kind="rule"),
                    kind="rule",
                ),
                "",
            )
        ]
    )

    get = exact("header", "GET", name=":method")
    assert as_set(as_set(item) for item in found) == as_set(
        (as_set((get, exact("path", "/x"))), as_set((get, exact("path_template", "/a/*"))))
    )


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (ANY, ((),)),
        ({"not_id": ANY}, ((Condition("never"),),)),
        (all_of(ANY, principal("a")), ((exact("principal", "a"),),)),
        (one_of({"not_id": ANY}, principal("a")), ((exact("principal", "a"),),)),
        ({"not_id": {"not_id": principal("a")}}, ((exact("principal", "a"),),)),
        ({"authenticated": {}}, ((Condition("principal", "", (StringMatch("present"),)),),)),
        ({"destination_port": 80}, ((exact("destination_port", "80"),),)),
        (
            {"remote_ip": {"address_prefix": "10.1.2.3", "prefix_len": 8}},
            ((exact("remote_ip", "10.0.0.0/8"),),),
        ),
        (
            {"header": {"name": "X-A", "present_match": True, "invert_match": True}},
            ((Condition("header", "x-a", (StringMatch("present"),), negated=True),),),
        ),
        (
            {"requested_server_name": {"suffix": ".com"}},
            ((Condition("requested_server_name", "", (StringMatch("suffix", ".com"),)),),),
        ),
    ],
)
def test_single_conditions(formula: dict[str, Any], expected: Any) -> None:
    assert read(formula) == expected


@pytest.mark.parametrize(
    ("value", "in_list"),
    [
        ({"string_match": {"exact": "v"}}, "no"),
        ({"list_match": {"one_of": {"string_match": {"exact": "v"}}}}, "only"),
        (
            {
                "or_match": {
                    "value_matchers": [
                        {"string_match": {"exact": "v"}},
                        {"list_match": {"one_of": {"string_match": {"exact": "v"}}}},
                    ]
                }
            },
            "also",
        ),
    ],
)
def test_claims_may_be_lists(value: dict[str, Any], in_list: Any) -> None:
    formula = {"metadata": {"filter": "f", "path": [{"key": "k"}], "value": value}}

    assert read(formula) == (
        (Condition("metadata", "f/k", (StringMatch("exact", "v"),), in_list),),
    )


@pytest.mark.parametrize(
    "formula",
    [
        {"destination_port_range": {"start": 1, "end": 2}},
        {"header": {"name": "a", "range_match": {"start": 1}}},
        {"any": False},
        {"and_ids": {"ids": []}},
        {},
        {"any": True, "destination_port": 1},
        {"url_path": {"path": {"custom": {}}}},
    ],
)
def test_what_is_not_modelled_is_not_guessed(formula: dict[str, Any]) -> None:
    with pytest.raises(Unexpected):
        alternatives([Reading().open(formula, "")])


def test_a_formula_that_grows_too_large_is_not_modelled() -> None:
    pairs = [all_of(claim("a", str(n)), claim("b", str(n))) for n in range(20)]

    with pytest.raises(Unexpected, match=f"more than {MAX_ALTERNATIVES}"):
        alternatives([Reading().open({"not_id": one_of(*pairs)}, "")])


def rules(*names: str, action: str = "ALLOW", **policy: Any) -> dict[str, Any]:
    body = {"permissions": [ANY], "principals": [ANY], **policy}
    result: dict[str, Any] = {"policies": dict.fromkeys(names, body)}
    return result if action == "ALLOW" else {**result, "action": action}


def access(*filters: dict[str, Any]) -> Inference:
    return infer_parts(lds=[inbound(http_chain(*filters, tls=True))])


def test_each_action_has_its_rules_and_names_its_policies() -> None:
    inference = access(
        rbac(rules("ns[a]-policy[audit]-rule[0]", action="LOG")),
        rbac(rules("ns[a]-policy[deny]-rule[2]", action="DENY")),
        rbac(rules("ns[a]-policy[allow]-rule[1]", "by hand")),
    )

    assert content(inference, KEY) == Authorization(
        audit=(Rule("a/audit", 0),),
        deny=(Rule("a/deny", 2),),
        allow=(Rule("a/allow", 1), Rule("by hand", 0)),
    )
    assert inference.policies[KEY].sources == tuple(
        ResourceRef("AuthorizationPolicy", "a", name) for name in ("allow", "audit", "deny")
    )
    order = content(inference, key.filter_order("*", "mtls", "http"))
    assert order.filters == ("audit", "deny", "allow", "router")
    assert extensions(inference) == {}


def test_a_filter_without_rules_is_not_the_same_as_no_filter() -> None:
    assert content(access(rbac({})), KEY) == Authorization(allow=())
    assert content(access(), KEY) == Authorization()


def test_dry_run_rules_are_apart() -> None:
    shadow = rules("ns[a]-policy[p]-rule[0]", action="DENY")

    inference = access(rbac(shadow_rules=shadow, shadow_rules_stat_prefix="istio_dry_run_deny_"))

    assert content(inference, KEY) == Authorization(dry_run_deny=(Rule("a/p", 0),))


def ext_authz(prefix: str) -> dict[str, Any]:
    return http_filter(
        "ext_authz.v3.ExtAuthz",
        "envoy.filters.http.ext_authz",
        {
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "outbound|1||authz"}},
            "filter_enabled_metadata": {
                "filter": "envoy.filters.http.rbac",
                "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
                "value": {"string_match": {"prefix": prefix}},
            },
        },
    )


@pytest.mark.parametrize("provider", ["", "opa"])
def test_custom_rules_are_those_that_an_authorizer_is_asked_about(provider: str) -> None:
    prefix = "istio-ext-authz" + (f"-{provider}" if provider else "")
    inference = access(
        rbac(
            shadow_rules=rules(f"{prefix}-ns[a]-policy[p]-rule[0]", action="DENY"),
            shadow_rules_stat_prefix="istio_ext_authz_",
        ),
        ext_authz(prefix),
    )

    (custom,) = content(inference, KEY).custom
    assert (custom.provider, custom.rules) == (provider, (Rule("a/p", 0),))
    assert custom.authorizer.cluster == "outbound|1||authz"
    assert extensions(inference) == {}


def test_custom_rules_that_nobody_is_asked_about_do_not_pass_in_silence() -> None:
    shadow = rbac(
        shadow_rules=rules("istio-ext-authz-opa-ns[a]-policy[p]-rule[0]", action="DENY"),
        shadow_rules_stat_prefix="istio_ext_authz_",
    )

    inference = access(shadow)

    assert content(inference, KEY) == Authorization()
    assert str(KEY) in extensions(inference)


def test_an_authorizer_without_rules_is_never_asked() -> None:
    (custom,) = content(access(ext_authz("istio-ext-authz-opa")), KEY).custom

    assert (custom.provider, custom.rules) == ("opa", ())


def test_a_provider_that_istio_does_not_know_denies() -> None:
    name = "istio-ext-authz-opa-ns[a]-policy[p]-rule[0]-deny-due-to-bad-CUSTOM-action"

    inference = access(rbac(rules(name, action="DENY")))

    assert content(inference, KEY) == Authorization(custom=(CustomRules("opa", (Rule("a/p", 0),)),))


def test_one_rule_that_is_not_modelled_leaves_the_others() -> None:
    odd = rules("ns[a]-policy[p]-rule[0]", permissions=[{"sourced_metadata": {}}])
    odd["policies"].update(rules("ns[a]-policy[p]-rule[1]")["policies"])

    inference = access(rbac(odd))

    assert content(inference, KEY) == Authorization(allow=(Rule("a/p", 1),))
    (extension,) = [k for k in inference.policies if k.kind == "extension"]
    assert (extension["location"], extension["name"]) == (str(KEY), "ns[a]-policy[p]-rule[0]")


def test_chains_of_one_class_that_disagree_are_reported_at_their_key() -> None:
    allowed = http_chain(rbac({}), match={"application_protocols": ["a"]}, tls=True)
    open_ = http_chain(match={"application_protocols": ["b"]}, tls=True)

    inference = infer_parts(lds=[inbound(allowed, open_)])
    reordered = infer_parts(lds=[inbound(open_, allowed)])

    assert key.extension(str(KEY), "different chains") in inference.policies
    assert inference.policies == reordered.policies


def test_an_authorizer_that_no_rule_leads_to_is_reported() -> None:
    assert extensions(access(ext_authz("istio-ext-authzx")))


def test_the_prefix_of_rules_may_say_that_case_matters() -> None:
    usual = ext_authz("istio-ext-authz")
    usual["typed_config"]["filter_enabled_metadata"]["value"]["string_match"]["ignore_case"] = False

    assert extensions(access(usual)) == {}
