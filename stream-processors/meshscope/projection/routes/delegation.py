"""What a VirtualService makes of the routes that it delegates.

Every match of a delegate must lie within one of the root's matches, otherwise the delegate's route
is left out. What the delegate leaves open is the root's.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

_INHERITED: Final = (
    "rewrite", "directResponse", "timeout", "retries", "fault", "mirror", "mirrorPercent",
    "mirrorPercentage", "corsPolicy", "mirrors", "headers",
)  # fmt: skip
_TEXTS: Final = ("uri", "scheme", "method", "authority")
_MAPS: Final = ("headers", "withoutHeaders", "queryParams", "sourceLabels")
_PLAIN: Final = (*_TEXTS, "port", "sourceNamespace", "gateways", "statPrefix")


def merged_routes(root: Json, delegate: Sequence[Json]) -> Iterator[Json]:
    """The routes that stand in place of the root's route."""
    for route in delegate:
        matches = _merged_matches(root.get("match") or (), route.get("match") or ())
        if matches is None:
            continue
        merged = {**route, "match": matches, "name": _joined(root, route)}
        for name in _INHERITED:
            if merged.get(name) is None and root.get(name) is not None:
                merged[name] = root[name]
        yield merged


def _joined(root: Json, leaf: Json) -> str:
    return "-".join(name for name in (root.get("name"), leaf.get("name")) if name)


def _merged_matches(roots: Sequence[Json], leaves: Sequence[Json]) -> Sequence[Json] | None:
    """Every combination that does not contradict itself; None: the route is left out."""
    if not roots or not leaves:
        return roots or leaves
    found: list[Json] = []
    for leaf in leaves:
        fitting = [_merged_match(root, leaf) for root in roots if not _conflict(root, leaf)]
        if not fitting:
            return None
        found += fitting
    return found


def _merged_match(root: Json, leaf: Json) -> Json:
    merged = {**leaf, "name": _joined(root, leaf)}
    for name in _PLAIN:
        if not merged.get(name) and root.get(name):
            merged[name] = root[name]
    for name in _MAPS:
        merged[name] = {**(root.get(name) or {}), **(leaf.get(name) or {})}
    return merged


def _conflict(root: Json, leaf: Json) -> bool:
    pairs = [(root.get(name), leaf.get(name)) for name in _TEXTS]
    for name in ("headers", "withoutHeaders", "queryParams"):
        known = root.get(name) or {}
        pairs += [(known.get(key), value) for key, value in (leaf.get(name) or {}).items()]
    labels = root.get("sourceLabels") or {}
    gateways = set(root.get("gateways") or ())
    return (
        any(_texts_conflict(one, other) for one, other in pairs)
        or bool(root.get("ignoreUriCase")) != bool(leaf.get("ignoreUriCase"))
        or _differ(root.get("port"), leaf.get("port"))
        or (
            bool(root.get("sourceNamespace"))
            and root.get("sourceNamespace") != leaf.get("sourceNamespace")
        )
        or any(
            labels.get(key, value) != value
            for key, value in (leaf.get("sourceLabels") or {}).items()
        )
        or (bool(gateways) and not set(leaf.get("gateways") or ()) <= gateways)
    )


def _differ(one: int | None, other: int | None) -> bool:
    return bool(one) and bool(other) and one != other


def _texts_conflict(root: Json | None, leaf: Json | None) -> bool:
    """Whether a condition of the delegate does not lie within that of the root."""
    if root is None or leaf is None:
        return False
    if (root.get("regex") and any(leaf.values())) or (leaf.get("regex") and any(root.values())):
        return True
    if exact := root.get("exact"):
        return bool(leaf.get("prefix")) or leaf.get("exact") != exact
    if prefix := root.get("prefix"):
        narrower = leaf.get("prefix") or leaf.get("exact")
        if narrower:
            return not narrower.startswith(prefix)
    return True
