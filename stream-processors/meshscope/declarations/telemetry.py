"""Telemetry resources whose providers are not there, or no longer supported."""

from collections.abc import Iterator
from typing import Final

from meshscope.declarations.finding import Finding, Lacking, Said, absent
from meshscope.declarations.reading import Json, mapping, mappings, text
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource

NO_PROVIDER: Final = "MSC-2903"
DEPRECATED: Final = "MSC-2904"

_BUILT_IN: Final = frozenset(("envoy", "prometheus", "stackdriver"))
_RETIRED: Final = ("lightstep", "opencensus")
_SECTIONS: Final = ("accessLogging", "metrics", "tracing")


def providers(telemetry: Resource, around: Surroundings) -> Iterator[Said]:
    """Sections that name no provider, one that is not there, or one that is retired."""
    settings = around.control_plane.mesh_config
    declared = {text(one, "name"): one for _, one in mappings(settings, "extensionProviders")}
    known = around.complete or "mesh_config" not in around.control_plane.assumed
    for section in _SECTIONS:
        for place, item in mappings(telemetry.spec, section):
            path = f"spec.{section}[{place}]"
            named = [text(one, "name") for _, one in mappings(item, "providers")]
            if section == "accessLogging" and not named and not item.get("disabled"):
                if _logs_by_default(settings):
                    continue
                if not known:
                    yield Lacking((NO_PROVIDER,), absent("settings of the mesh"))
                    continue
                yield Finding(
                    NO_PROVIDER,
                    telemetry,
                    path,
                    "it names no provider, and the mesh configuration has no default one for "
                    "access logs: it has no effect",
                )
            for at, name in enumerate(named):
                yield from _provider(
                    telemetry, f"{path}.providers[{at}].name", name, declared, known
                )


def _logs_by_default(settings: Json) -> bool:
    chosen = mapping(settings, "defaultProviders").get("accessLogging")
    return bool(chosen or text(settings, "accessLogFile"))


def _provider(
    telemetry: Resource, field: str, name: str, declared: dict[str, Json], known: bool
) -> Iterator[Said]:
    retired = [kind for kind in _RETIRED if kind in declared.get(name, {})]
    if retired:
        yield Finding(
            DEPRECATED,
            telemetry,
            field,
            f"provider {name} is of type {retired[0]}, which Istio retires: use openTelemetry",
        )
    elif name not in declared and name not in _BUILT_IN:
        if known:
            yield Finding(
                NO_PROVIDER,
                telemetry,
                field,
                f"the mesh configuration has no provider {name!r}: this has no effect",
            )
        else:
            yield Lacking((NO_PROVIDER,), absent("settings of the mesh"))
