"""How a dump is written changes nothing."""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from dumps import capture_dump
from hypothesis import given, settings
from hypothesis import strategies as st

from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.readings import Readings
from meshscope.inference.result import Inference

_PROXY = "orders-v1-zmffj.orders"
_STATES = ("000-base", "021-vs-tcp", "066-sidecar-ingress")
_UNORDERED = frozenset(
    (
        "dynamic_active_clusters",
        "dynamic_endpoint_configs",
        "dynamic_listeners",
        "dynamic_route_configs",
        "endpoints",
        "filter_chains",
        "lb_endpoints",
        "match_subject_alt_names",
        "services",
        "virtual_hosts",
    )
)
"""Lists of a dump whose order has no meaning."""


@pytest.fixture(scope="module", params=_STATES)
def dump(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return capture_dump("bookshop", request.param, _PROXY)


def shuffled(value: Any, draw: Any, name: str = "") -> Any:
    """The same dump with other orders of fields and of lists without order."""
    if isinstance(value, dict):
        names = draw(value)
        return {key: shuffled(value[key], draw, key) for key in names}
    if isinstance(value, list):
        items = [shuffled(item, draw) for item in value]
        return draw(items) if name in _UNORDERED or name == "configs" else items
    return value


def same(one: Inference, other: Inference) -> bool:
    return (
        one.policies == other.policies
        and one.state == other.state
        and one.unreferenced == other.unreferenced
        and one.coverage == other.coverage
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_order_without_meaning_has_none(dump: Mapping[str, Any], seed: int) -> None:
    random = Random(seed)  # noqa: S311 - an order, not a secret

    def draw(items: Any) -> list[Any]:
        return random.sample(list(items), len(items))

    assert same(infer(shuffled(dump, draw)), infer(dump))


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_white_space_has_no_meaning(dump: Mapping[str, Any], indent: int | None) -> None:
    text = json.dumps(dump, indent=indent).encode()

    assert same(infer(read_config_dump(text, "x")), infer(dump))


def test_a_dump_is_not_changed_by_inferring_from_it(dump: Mapping[str, Any]) -> None:
    before = json.dumps(dump)

    infer(dump)

    assert json.dumps(dump) == before


def mutated(dump: Mapping[str, Any], random: Random) -> Any:
    """A copy of which one leaf is another: changed, removed, or of another type."""
    copy = json.loads(json.dumps(dump))
    places = []
    stack = [copy]
    while stack:
        value = stack.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in items:
            if isinstance(item, dict | list):
                stack.append(item)
            else:
                places.append((value, step))
    parent, step = random.choice(places)
    parent[step] = random.choice([None, 7, "other", not parent[step], {"a": 1}])
    return copy


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_what_is_known_of_other_dumps_changes_nothing(dump: Mapping[str, Any], seed: int) -> None:
    random = Random(seed)  # noqa: S311 - an order, not a secret
    known = Readings()
    infer(dump, known)
    other = mutated(shuffled(dump, lambda items: random.sample(list(items), len(items))), random)

    assert same(infer(other, known), infer(other))
    assert same(infer(dump, known), infer(dump))


def test_the_same_resource_of_another_proxy_is_read_for_that_proxy() -> None:
    """Own addresses and names stand for the proxy itself, so they are part of what is asked."""
    one = capture_dump("bookshop", "000-base", "books-v1-qgckn.catalog")
    proxy = infer(one).proxy
    moved = json.dumps(one).replace(proxy.addresses[0], "10.255.0.1")
    renamed = json.dumps(one).replace('"NAMESPACE": "catalog"', '"NAMESPACE": "other"')
    known = Readings()

    for other in (one, json.loads(moved), json.loads(renamed)):
        assert same(infer(other, known), infer(other))
    assert infer(json.loads(moved)).proxy != proxy != infer(json.loads(renamed)).proxy


def test_no_more_is_remembered_than_was_allowed(dump: Mapping[str, Any]) -> None:
    known = Readings(limit=20_000)
    for _ in range(2):
        assert same(infer(dump, known), infer(dump))
        assert 0 < known.bytes <= 20_000
