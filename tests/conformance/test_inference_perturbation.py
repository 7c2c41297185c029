"""Change any leaf of a dump: what inference says moves, or the leaf is ignored with a reason."""

from collections.abc import Mapping
from typing import Any

import pytest
from dumps import capture_dump
from perturbation import Ignored, Leaf, changed, leaves_of, meaning_of, record, removed

pytestmark = pytest.mark.conformance

MESH = "bookshop"
DUMPS = (
    ("000-base", "api-v1-pz5sh.storefront"),
    ("000-base", "books-v1-qgckn.catalog"),
    ("000-base", "orders-v1-zmffj.orders"),
    ("021-vs-tcp", "orders-v1-zmffj.orders"),
    ("022-vs-tls", "orders-v1-zmffj.orders"),
    ("038-dr-wildcard-root", "books-v1-qgckn.catalog"),
    ("058-pa-port-level", "orders-v1-zmffj.orders"),
    ("066-sidecar-ingress", "orders-v1-zmffj.orders"),
    ("085-mesh-trust-alias", "books-v1-qgckn.catalog"),
    ("086-mesh-path-normalization", "books-v1-qgckn.catalog"),
)

DEFAULTS: Mapping[str, object] = {
    "cluster.type": "STATIC",
    "cluster.upstream_bind_config.source_address.port_value": 0,
    "cluster.load_assignment.endpoints.lb_endpoints.load_balancing_weight": 1,
    "endpoint_config.endpoints.lb_endpoints.load_balancing_weight": 1,
    "endpoint_config.endpoints.lb_endpoints.health_status": "HEALTHY",
    "endpoint_config.policy.overprovisioning_factor": 140,
    "typed_config.use_remote_address": False,
    "typed_config.use_request_id_for_trace_sampling": True,
    "routes.match.case_sensitive": True,
}
"""Defaults that Istio or Envoy write out: without them the dump means the same."""

SAID_ELSEWHERE: Mapping[str, str] = {
    "cluster.eds_cluster_config.service_name": "without it Envoy takes the name of the cluster",
    "routes.metadata.filter_metadata.istio.config": (
        "sources are those of the virtual host, and its other routes name the same"
    ),
}
"""Leaves that say what another leaf says, so that nothing changes without them."""


@pytest.fixture(scope="module")
def dumps() -> dict[tuple[str, str], Mapping[str, Any]]:
    return {dump: capture_dump(MESH, *dump) for dump in DUMPS}


@pytest.mark.parametrize(("state", "proxy"), DUMPS, ids=lambda part: part)
def test_every_leaf_matters_or_is_ignored_with_a_reason(
    dumps: dict[tuple[str, str], Mapping[str, Any]],
    state: str,
    proxy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dump = dumps[state, proxy]
    readings = record(monkeypatch)
    before = meaning_of(dump)
    ignored = Ignored(readings)
    earlier = {leaf.path for place, other in _before(dumps, state, proxy) for leaf in other}

    silent: list[str] = []
    for leaf in _distinct(dump, ignored):
        if leaf.path in earlier:
            continue
        if meaning_of(changed(dump, leaf)) == before:
            silent.append(f"changed {leaf.path} {leaf.value!r}")
        if not _may_be_absent(leaf) and meaning_of(removed(dump, leaf)) == before:
            silent.append(f"removed {leaf.path} {leaf.value!r}")

    assert not silent, "\n".join(silent)


def _before(
    dumps: dict[tuple[str, str], Mapping[str, Any]], state: str, proxy: str
) -> list[tuple[str, list[Leaf]]]:
    """The leaves of the dumps that are tried before this one."""
    found = []
    for dump in DUMPS:
        if dump == (state, proxy):
            break
        found.append((dump[0], list(leaves_of(dumps[dump]))))
    return found


def _distinct(dump: Mapping[str, Any], ignored: Ignored) -> list[Leaf]:
    """The first and the last leaf of every path, without ignored ones."""
    first: dict[str, Leaf] = {}
    last: dict[str, Leaf] = {}
    for leaf in leaves_of(dump):
        if not ignored.holds(dump, leaf):
            first.setdefault(leaf.path, leaf)
            last[leaf.path] = leaf
    return list(dict.fromkeys((*first.values(), *last.values())))


def _may_be_absent(leaf: Leaf) -> bool:
    if leaf.value in ({}, []):
        return True
    if any(leaf.path.endswith(path) for path in SAID_ELSEWHERE):
        return True
    return any(leaf.path.endswith(path) and leaf.value == value for path, value in DEFAULTS.items())
