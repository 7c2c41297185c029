"""Rules of AuthorizationPolicies that never decide."""

import pytest
from reviewed import fields, findings, one, pod, policy, requested


def paths(*values: str, **more: str) -> str:
    also = "".join(f", {name}: {value}" for name, value in more.items())
    return f"{{to: [{{operation: {{paths: {list(values)}{also}}}}}]}}"


def test_a_rule_whose_conditions_exclude_each_other_matches_nothing() -> None:
    rule = paths("/a", notPaths="['/a*']")
    found = one(policy(f"[{rule}, {paths('/b')}]"), "MSC-2101")
    assert (found.field, found.witness) == ("spec.rules[0]", None)
    assert "no request can meet all conditions of rule 0 of shop/a" in found.explanation


@pytest.mark.parametrize("rule", [paths("/a", notPaths="['/a/*']"), "{}"])
def test_a_rule_that_something_meets_is_not_called_impossible(rule: str) -> None:
    assert not findings(policy(f"[{rule}]"), "MSC-2101")


def test_a_policy_without_rules_is_meant_so() -> None:
    assert not findings(policy("[]"), "MSC-2101")


def test_a_rule_is_covered_by_the_union_of_others() -> None:
    union = [paths("/a*"), paths("/b*", methods="[GET]")]
    inside = "{to: [{operation: {paths: ['/ab*']}}, {operation: {paths: ['/bc'], methods: [GET]}}]}"
    found = one(policy(f"[{', '.join((*union, inside))}]"), "MSC-2102")
    assert found.field == "spec.rules[2]"
    assert "one of rule 0 of shop/a, rule 1 of shop/a" in found.explanation
    assert requested(found) == "GET /ab, over plaintext"


def test_a_rule_that_sticks_out_by_one_method_is_not_covered() -> None:
    union = [paths("/a*"), paths("/b*", methods="[GET]")]
    outside = "{to: [{operation: {paths: ['/bc'], methods: [GET, PUT]}}]}"
    assert not findings(policy(f"[{', '.join((*union, outside))}]"), "MSC-2102")


def test_of_two_equal_rules_one_is_named() -> None:
    assert fields(policy(f"[{paths('/a')}, {paths('/a')}]"), "MSC-2102") == ["spec.rules[1]"]


def test_policies_that_may_select_other_workloads_cover_nothing() -> None:
    wide = policy("[{}]", "wide", selector="{app: cart, version: v1}")
    narrow = policy(f"[{paths('/a')}]", "narrow", selector="{app: cart}")
    assert not findings(wide + narrow, "MSC-2102")
    known = pod("{app: cart, version: v1}")
    assert one(wide + narrow + known, "MSC-2102").resource.name == "narrow"
    other = pod("{app: cart, version: v2}", "cart-2")
    assert not findings(wide + narrow + known + other, "MSC-2102")


def test_what_is_only_tried_out_covers_nothing() -> None:
    tried = policy("[{}]", "wide", more=", annotations: {istio.io/dry-run: 'true'}")
    assert not findings(tried + policy(f"[{paths('/a')}]"), "MSC-2102")


def test_an_allow_rule_of_which_deny_rules_leave_nothing() -> None:
    denied = policy(f"[{paths('/a*', methods='[GET]')}, {paths('/a*', notMethods='[GET]')}]", "d")
    denied = denied.replace("action: ALLOW", "action: DENY")
    found = one(denied + policy(f"[{paths('/ab')}, {paths('/c')}]"), "MSC-2103")
    assert (found.resource.name, found.field) == ("a", "spec.rules[0]")
    assert "one of rule 0 of shop/d, rule 1 of shop/d" in found.explanation
    assert [str(ref) for ref in found.related] == ["AuthorizationPolicy shop/d"]
    assert requested(found) == "GET /ab, over plaintext"


def test_an_allow_rule_of_which_something_is_left() -> None:
    denied = policy(f"[{paths('/a*', methods='[GET]')}]", "d", "DENY")
    assert not findings(denied + policy(f"[{paths('/ab')}]"), "MSC-2103")


def test_a_deny_rule_beside_narrow_allow_rules_is_no_mistake() -> None:
    denied = policy(f"[{paths('/admin')}]", "d", "DENY")
    allowed = policy(f"[{paths('/cart')}]")
    for code in ("MSC-2101", "MSC-2102", "MSC-2103"):
        assert not findings(denied + allowed, code)
