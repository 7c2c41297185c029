"""Which DestinationRule a client applies, and what merging makes of several."""

from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.projection.destinations.destination_rule import MergedRule, RuleIndex

HOST = "books.shop.svc.cluster.local"
ROOT = "istio-system"


def rule(
    name: str, *, namespace: str = "shop", age: int | None = 0, host: str = HOST, **spec: Any
) -> Resource:
    return Resource(
        "networking.istio.io",
        "v1",
        "DestinationRule",
        namespace,
        name,
        created_at=None if age is None else f"2026-01-01T00:00:{age:02}Z",
        body={"spec": {"host": host, **spec}},
    )


def subsets(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "labels": {"version": name}} for name in names]


def applied(*rules: Resource, client: str = "web", labels: dict[str, str] | None = None) -> Any:
    found = RuleIndex(rules, ROOT).choose(client, labels or {}, "shop", HOST)
    assert len(found) == 1
    return found[0]


def names(found: MergedRule | None) -> list[str]:
    return [] if found is None else [ref.name for ref in found.refs]


def test_a_short_host_lies_in_the_namespace_of_the_rule() -> None:
    assert names(applied(rule("a", host="books"))) == ["a"]
    assert applied(rule("a", host="books", namespace="web"), client="web") is None


def test_a_host_with_a_dot_is_taken_as_it_stands() -> None:
    assert applied(rule("a", host="books.shop")) is None


def test_the_rule_of_the_clients_namespace_hides_that_of_the_owner_with_its_subsets() -> None:
    own = rule("own", namespace="web", trafficPolicy={})
    owner = rule("owner", subsets=subsets("v1"))
    found = applied(owner, own)
    assert names(found) == ["own"]
    assert not found.subsets


def test_the_owners_rule_comes_before_that_of_the_root_namespace() -> None:
    everywhere = rule("everywhere", namespace=ROOT, host="*.svc.cluster.local")
    assert names(applied(rule("owner"), everywhere)) == ["owner"]
    assert names(applied(rule("other", host="x.shop.svc.cluster.local"), everywhere)) == [
        "everywhere"
    ]


def test_the_most_specific_host_counts() -> None:
    wide, narrow = rule("wide", host="*.local"), rule("narrow", host="*.shop.svc.cluster.local")
    assert names(applied(wide, narrow)) == ["narrow"]
    assert names(applied(wide, narrow, rule("exact"))) == ["exact"]


def test_a_private_exact_rule_leaves_the_owners_wildcard_in_force() -> None:
    exact = rule("exact", exportTo=["."])
    assert names(applied(exact, rule("wide", host="*.svc.cluster.local"))) == ["wide"]


def test_an_exact_rule_for_other_clients_hides_the_owners_wildcard() -> None:
    exact = rule("exact", exportTo=["payments"])
    assert applied(exact, rule("wide", host="*.svc.cluster.local")) is None


def test_a_rule_without_export_stays_home_where_the_mesh_says_so() -> None:
    index = RuleIndex((rule("a"),), ROOT, private_by_default=True)
    assert index.choose("web", {}, "shop", HOST) == (None,)
    assert names(index.choose("shop", {}, "shop", HOST)[0]) == ["a"]


def test_rules_of_one_host_are_merged_oldest_first() -> None:
    old = rule("old", age=1, subsets=subsets("v1"))
    new = rule("new", age=2, subsets=subsets("v1", "v2"), trafficPolicy={"tls": {}})
    found = applied(new, old)
    assert names(found) == ["old", "new"]
    assert list(found.subsets) == ["v1", "v2"]
    assert found.policy == {"tls": {}}


def test_the_first_policy_is_kept_whole() -> None:
    old = rule("old", age=1, trafficPolicy={"tls": {"mode": "DISABLE"}})
    new = rule("new", age=2, trafficPolicy={"loadBalancer": {"simple": "RANDOM"}})
    assert applied(old, new).policy == {"tls": {"mode": "DISABLE"}}


def test_of_rules_that_do_not_merge_the_newest_counts() -> None:
    old = rule("old", age=1)
    new = rule("new", age=2, exportTo=["web"])
    assert names(applied(old, new)) == ["new"]


def test_a_selector_counts_in_its_own_namespace_alone() -> None:
    chosen = rule("chosen", workloadSelector={"matchLabels": {"app": "web"}})
    assert applied(chosen, labels={"app": "web"}) is None
    assert names(applied(chosen, client="shop", labels={"app": "web"})) == ["chosen"]


def test_a_namespace_with_selectors_that_do_not_match_has_no_rule_at_all() -> None:
    other = rule("other", namespace="web", workloadSelector={"matchLabels": {"app": "x"}})
    assert applied(other, rule("owner"), labels={"app": "web"}) is None


def test_a_private_rule_beside_a_selector_is_only_merged() -> None:
    chosen = rule("chosen", age=2, workloadSelector={"matchLabels": {"app": "a"}})
    private = rule("private", age=1, exportTo=["."], subsets=subsets("v1"))
    found = applied(chosen, private, client="shop", labels={"app": "a"})
    assert names(found) == ["chosen", "private"]
    assert list(found.subsets) == ["v1"]
    assert applied(chosen, private, client="shop", labels={"app": "b"}) is None


def test_a_private_rule_that_is_exported_too_is_merged_and_kept() -> None:
    chosen = rule("chosen", age=2, workloadSelector={"matchLabels": {"app": "a"}})
    wider = rule("wider", age=1, exportTo=[".", "web"])
    assert names(applied(chosen, wider, client="shop", labels={"app": "a"})) == ["chosen", "wider"]
    assert names(applied(chosen, wider, client="shop", labels={"app": "b"})) == ["wider"]


@pytest.mark.parametrize(
    ("first", "second", "outcomes"), [(1, 2, 1), (None, 2, 2), (None, None, 2)]
)
def test_unknown_ages_leave_every_order_open(
    first: int | None, second: int | None, outcomes: int
) -> None:
    rules = (
        rule("a", age=first, trafficPolicy={"tls": {"mode": "DISABLE"}}),
        rule("b", age=second, trafficPolicy={"tls": {"mode": "SIMPLE"}}),
    )
    found = RuleIndex(rules, ROOT).choose("web", {}, "shop", HOST)
    assert len(found) == outcomes
    assert {rule.policy["tls"]["mode"] for rule in found if rule and rule.policy} == (
        {"DISABLE"} if outcomes == 1 else {"DISABLE", "SIMPLE"}
    )
