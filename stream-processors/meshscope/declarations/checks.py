"""What is looked for, by kind of resource: the visible table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from meshscope.declarations.access_rules import dead_rules
from meshscope.declarations.finding import Said
from meshscope.declarations.route_rules import dead_routes
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource

Check: TypeAlias = Callable[[Resource, Surroundings], Iterable[Said]]
"""From a resource and all others to what is said of it; two checks never say the same code."""

CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    "AuthorizationPolicy": (dead_rules,),
    "VirtualService": (dead_routes,),
}
"""Kinds of resources, and what is looked for in each."""
