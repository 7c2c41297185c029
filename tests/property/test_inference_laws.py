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
