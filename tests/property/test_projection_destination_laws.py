"""Laws of merging that hold for all DestinationRules and traffic policies."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshscope.policy.source import ResourceRef
from meshscope.projection.destinations.destination_rule import MergedRule, merge
from meshscope.projection.destinations.traffic_policy import effective, of_port

BLOCKS = ("connectionPool", "loadBalancer", "outlierDetection", "tls")
PORTS = st.integers(1, 3)
blocks = st.dictionaries(st.sampled_from(BLOCKS), st.builds(lambda n: {"n": n}, st.integers(0, 5)))


@st.composite
def policies(draw: st.DrawFn) -> Mapping[str, Any]:
    levels = draw(st.dictionaries(PORTS, blocks, max_size=2))
    entries = [{"port": {"number": port}, **entry} for port, entry in levels.items()]
    return {**draw(blocks), **({"portLevelSettings": entries} if entries else {})}


@st.composite
def rules(draw: st.DrawFn) -> list[MergedRule]:
    exports = st.frozensets(st.sampled_from((".", "*", "web")), max_size=2)
    selectors = st.none() | st.sampled_from(((("app", "a"),), (("app", "b"),)))
    names = st.lists(st.sampled_from("xyz"), unique=True)
    found = []
    for index in range(draw(st.integers(0, 5))):
        selector = draw(selectors)
        found.append(
            MergedRule(
                (ResourceRef("DestinationRule", "shop", f"r{index}"),),
                "shop",
                "h",
                draw(exports) if selector is None else frozenset((".",)),
                selector,
                draw(st.none() | blocks),
                {name: {"name": name, "of": index} for name in draw(names)},
            )
        )
    return found


@given(policies(), PORTS)
def test_a_subset_without_policy_is_the_whole(policy: Mapping[str, Any], port: int) -> None:
    whole = effective(policy, None, port).blocks
    assert effective(policy, {}, port).blocks == whole


@given(policies(), policies(), PORTS)
def test_each_block_comes_from_the_subset_or_else_from_the_rule(
    policy: Mapping[str, Any], subset: Mapping[str, Any], port: int
) -> None:
    base, own = of_port(policy, port)[0] or {}, of_port(subset, port)
    found = effective(policy, subset, port).blocks
    for name in BLOCKS:
        inherited = None if own[1] else base.get(name)
        assert found.get(name) == (own[0] or {}).get(name, inherited)


@given(policies(), policies(), PORTS)
def test_the_meshs_policy_never_overrides(
    policy: Mapping[str, Any], defaults: Mapping[str, Any], port: int
) -> None:
    alone = effective(policy, None, port).blocks
    found = effective(policy, None, port, defaults).blocks
    assert alone.items() <= found.items()
    assert set(found) - set(alone) <= {"connectionPool", "outlierDetection"}


@given(rules())
def test_merging_loses_no_rule_and_invents_none(given_rules: list[MergedRule]) -> None:
    found = merge(given_rules)
    taking_part = {ref for rule in found for ref in rule.refs}
    assert taking_part == {rule.ref for rule in given_rules}


@given(rules())
def test_the_first_definition_of_a_subset_is_kept(given_rules: list[MergedRule]) -> None:
    by_ref = {rule.ref: rule for rule in given_rules}
    for merged in merge(given_rules):
        for name, subset in merged.subsets.items():
            first = next(ref for ref in merged.refs if name in by_ref[ref].subsets)
            assert subset == by_ref[first].subsets[name]


@given(rules())
def test_the_policy_is_that_of_the_first_rule_that_has_one(given_rules: list[MergedRule]) -> None:
    by_ref = {rule.ref: rule for rule in given_rules}
    for merged in merge(given_rules):
        policies_in_order = (by_ref[ref].policy for ref in merged.refs)
        assert merged.policy == next((p for p in policies_in_order if p is not None), None)


@given(rules())
def test_rules_that_are_all_alike_become_one(given_rules: list[MergedRule]) -> None:
    alike = [replace(rule, export_to=frozenset(), selector=None) for rule in given_rules]
    assert len(merge(alike)) == min(len(alike), 1)
