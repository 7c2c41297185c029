"""Which patches are modelled, and in which order Istio applies them.

Istio applies the patches of one target after those of another, and what is merged or removed before
what is added. A patch without a row here, or of which its row cannot say everything, leaves open
what it may touch (`parts`).

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-ApplyTo.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.patches import clusters, connection_managers, http_filters, routes
from meshscope.projection.patches.effects import Effect, Held, Model
from meshscope.projection.patches.fields import Unmodelled
from meshscope.projection.patches.in_force import Patch
from meshscope.projection.patches.parts import touches, unverifiable
from meshscope.projection.result import Unverifiable

_INSERTING: Final = ("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST")


@dataclass(frozen=True, slots=True)
class Step:
    """Patches that are applied together, in the order of their EnvoyFilters.

    Attributes:
        target: What is patched.
        models: What each operation does.
    """

    target: str
    models: Mapping[str, Model]


STEPS: Final = (
    Step("CLUSTER", {"MERGE": clusters.merge, "REMOVE": clusters.remove}),
    Step("VIRTUAL_HOST", {"MERGE": routes.merge_hosts, "REMOVE": routes.remove_hosts}),
    Step("HTTP_ROUTE", {"MERGE": routes.merge_routes, "REMOVE": routes.remove_routes}),
    Step("HTTP_ROUTE", dict.fromkeys(("ADD", *_INSERTING), routes.insert_routes)),
    Step("VIRTUAL_HOST", {"ADD": routes.add_hosts}),
    Step("NETWORK_FILTER", {"MERGE": connection_managers.merge}),
    Step(
        "HTTP_FILTER",
        dict.fromkeys(("ADD", *_INSERTING), http_filters.insert) | {"REMOVE": http_filters.remove},
    ),
)
"""All that is modelled."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What patches make of the policies of a proxy.

    Attributes:
        policies: All policies.
        unverifiable: Of which nothing can be said.
    """

    policies: Held
    unverifiable: tuple[Unverifiable, ...] = ()


def apply(patches: Sequence[Patch], held: Held) -> Applied:
    """Apply the patches in force.

    Args:
        patches: In the order of their EnvoyFilters.
        held: The policies without them.
    """
    policies = dict(held)
    found: list[Unverifiable] = []
    modelled: set[int] = set()
    for step in STEPS:
        for number, patch in enumerate(patches):
            model = step.models.get(patch.operation) if patch.target == step.target else None
            if model is None:
                continue
            modelled.add(number)
            try:
                effects = tuple(model(patch, policies))
            except Unmodelled as error:
                found += _touched(patch, policies, str(error))
            else:
                found += _put(patch, effects, policies)
    for number, patch in enumerate(patches):
        if number not in modelled:
            what = f"{patch.operation} of {patch.target}"
            found += _touched(patch, policies, what)
    return Applied(policies, tuple(dict.fromkeys(found)))


def _put(
    patch: Patch, effects: Iterable[Effect], policies: dict[PolicyKey, tuple[Policy | None, ...]]
) -> Iterator[Unverifiable]:
    for effect in effects:
        if effect.outcomes is None:
            reason = _reason(patch, effect.reason)
            yield Unverifiable(reason, effect.key.kind, key=effect.key, source=patch.source)
        elif effect.outcomes:
            policies[effect.key] = effect.outcomes
        else:
            policies.pop(effect.key, None)
        if effect.leftovers or effect.outcomes is None:
            reason = _reason(patch, effect.reason or "a setting")
            yield Unverifiable(
                reason, Kind.EXTENSION, key_prefix=(str(effect.key),), source=patch.source
            )


def _touched(patch: Patch, known: Iterable[PolicyKey], what: str) -> Iterator[Unverifiable]:
    keys = tuple(known)
    for touch in touches(patch):
        yield from unverifiable(touch, keys, _reason(patch, what), patch.source)


def _reason(patch: Patch, what: str) -> str:
    return f"{patch.source} patches this part of the configuration; {what} is not modelled"
