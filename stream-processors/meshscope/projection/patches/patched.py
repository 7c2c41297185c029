"""What EnvoyFilters, WasmPlugins and TrafficExtensions make of a proxy's policies.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and
https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/.
"""

from collections.abc import Iterator

from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context
from meshscope.projection.patches.effects import Held
from meshscope.projection.patches.in_force import extensions, in_force
from meshscope.projection.patches.modelled import Applied, apply
from meshscope.projection.result import Unverifiable
from meshscope.projection.worlds import distinct


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
