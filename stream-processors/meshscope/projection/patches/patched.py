"""What EnvoyFilters, WasmPlugins and TrafficExtensions make of a proxy's policies.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and
https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import is_not

from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context
from meshscope.projection.fragments import Fragment, Layer
from meshscope.projection.memory import Memory
from meshscope.projection.patches.effects import Held
from meshscope.projection.patches.in_force import extensions, in_force
from meshscope.projection.patches.modelled import Applied, apply
from meshscope.projection.result import Unverifiable
from meshscope.projection.worlds import distinct


@dataclass(frozen=True, slots=True)
class Patched:
    """What patches make of the layers of a proxy, and of what nothing can be said."""

    layers: tuple[Layer, ...]
    unverifiable: tuple[Unverifiable, ...] = ()


class PatchedLayers:
    """What was patched before: proxies with the same layers and patches share it."""

    def __init__(self, mesh: object) -> None:
        self._known: Memory[Patched] = Memory(500)

    def of(self, context: Context, layers: tuple[Layer, ...]) -> Patched:
        """The layers of a proxy with all that patches them."""
        force, opaque = in_force(context), tuple(_opaque(context))
        if not force.patches:
            return Patched(layers, opaque)
        name = (layers, force, opaque)
        known = self._known.get(name)
        if known is None:
            held = {
                key: outcomes
                for layer in layers
                for fragment in layer.fragments
                for key, outcomes in fragment.outcomes.items()
            }
            found = patched(context, held)
            changed = {k for k in (*held, *found.policies) if found.policies.get(k) != held.get(k)}
            layers = tuple(_changed(layers, changed, found.policies))
            known = self._known.put(name, Patched(layers, found.unverifiable))
        return known


def _changed(
    layers: Iterable[Layer], keys: AbstractSet[PolicyKey], policies: Held
) -> Iterator[Layer]:
    """The layers without some keys, and one that holds them as they are now."""
    for layer in layers:
        fragments = [fragment.without(keys) for fragment in layer.fragments]
        yield Layer(fragments) if any(map(is_not, fragments, layer.fragments)) else layer
    yield Layer((Fragment({key: policies[key] for key in keys if key in policies}),))


def patched(context: Context, policies: Held) -> Applied:
    """The policies of a proxy with all that patches them.

    Args:
        context: The proxy in its mesh.
        policies: What the other resources make.
    """
    force = in_force(context)
    opaque = tuple(_opaque(context))
    if not force.patches:
        return Applied(policies, opaque)
    found = apply(force.patches, policies)
    if force.other_order is None:
        return Applied(found.policies, (*found.unverifiable, *opaque))
    other = apply(force.other_order, policies)
    keys = dict.fromkeys((*found.policies, *other.policies))
    return Applied(
        {
            key: distinct((*found.policies.get(key, (None,)), *other.policies.get(key, (None,))))
            for key in keys
        },
        tuple(dict.fromkeys((*found.unverifiable, *other.unverifiable, *opaque))),
    )


def _opaque(context: Context) -> Iterator[Unverifiable]:
    """What plugins may change: the order of filters, and their own configuration."""
    for resource in extensions(context):
        reason = f"{resource.ref} adds a filter, which is not modelled"
        for kind in (Kind.FILTER_ORDER, Kind.EXTENSION):
            yield Unverifiable(reason, kind, source=resource.ref)
