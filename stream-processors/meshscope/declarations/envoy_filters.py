"""EnvoyFilters whose patches have no effect, or one that hangs on the order of others.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/.
"""

from collections.abc import Iterator
from typing import Final

from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.reading import mapping, mappings, number, text
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource

BY_ORDER: Final = "MSC-2901"
IGNORED: Final = "MSC-2902"

_RELATIVE: Final = ("INSERT_BEFORE", "INSERT_AFTER", "REPLACE", "REMOVE")
_ROUTES: Final = ("ROUTE_CONFIGURATION", "HTTP_ROUTE")
_REPLACEABLE: Final = ("HTTP_FILTER", "NETWORK_FILTER", "VIRTUAL_HOST", "LISTENER_FILTER")


def patches(filter_: Resource, around: Surroundings) -> Iterator[Said]:
    """Patches that are ignored, and those that depend on what other EnvoyFilters did before."""
    for place, patch in mappings(filter_.spec, "configPatches"):
        operation = text(mapping(patch, "patch"), "operation")
        target = text(patch, "applyTo")
        field = f"spec.configPatches[{place}].patch.operation"
        if operation in ("ADD", "REMOVE") and target in _ROUTES:
            applied = (
                "istiod applies it all the same, and need not do so for ever"
                if target == "HTTP_ROUTE"
                else "it has no effect"
            )
            yield Finding(
                IGNORED,
                filter_,
                field,
                f"{operation} of {target} is documented as ignored: {applied}",
            )
        elif operation == "REPLACE" and target not in _REPLACEABLE:
            yield Finding(
                IGNORED,
                filter_,
                field,
                f"REPLACE is for filters and virtual hosts: of {target} it has no effect",
            )
        elif operation in _RELATIVE and not number(filter_.spec, "priority"):
            version = text(mapping(patch, "match", "proxy"), "proxyVersion")
            besides = f", and on proxies of version {version}" if version else ""
            yield Finding(
                BY_ORDER,
                filter_,
                field,
                f"{operation} of {target} depends on what other EnvoyFilters did before{besides}, "
                "and no priority says which come first: a new or renamed one may change it",
            )
