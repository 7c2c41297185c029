"""Resources → version and settings of a control plane."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.watcher.problem import Problem, ProblemCode
from meshscope.watcher.yaml_text import documents

ROOT_NAMESPACE = "istio-system"
"""Istio's default; a mesh configuration found elsewhere counts if it is the only one."""

DEFAULT_REVISION = "default"
REVISION_LABEL = "istio.io/rev"


@dataclass(frozen=True, slots=True)
class DeclaredControlPlane:
    """The settings that a set of resources declares, and what is wrong with them."""

    control_plane: ControlPlane
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A mesh configuration given as a file: bare MeshConfig, or the ConfigMap that holds it."""

    path: str
    text: str


def control_plane(
    resources: Iterable[Resource],
    *,
    version: str = "",
    revision: str = DEFAULT_REVISION,
    environment: Mapping[str, str] | None = None,
    mesh_config: SettingsFile | None = None,
) -> DeclaredControlPlane:
    """Find the settings of one revision of istiod among resources.

    Args:
        resources: Everything declared. ConfigMap `istio` (`istio-<revision>`) holds the mesh
            configuration and networks, istiod's Deployment its switches and version.
        version: Istio's version where it is known otherwise.
        revision: Which istiod.
        environment: Switches that are known otherwise; they win over the Deployment's.
        mesh_config: Used instead of the ConfigMap.

    Settings that are found nowhere are listed in `ControlPlane.assumed`. Settings that are there
    but cannot be read are reported as errors, and are assumed as well.
    """
    found = tuple(resources)
    reader = _Settings()
    config_map = _config_map(found, revision, reader)
    deployment = _deployment(found, revision, reader)
    if mesh_config is not None:
        mesh = reader.file(mesh_config)
    else:
        mesh = reader.config_map(config_map, "mesh")
    networks = reader.config_map(config_map, "meshNetworks")
    switches = _environment(deployment)
    version = version or _version(deployment)
    if environment is not None:
        switches = {**(switches or {}), **environment}
    assumed = {
        "mesh_config": mesh is None,
        "mesh_networks": networks is None,
        "environment": switches is None,
        "version": not version,
    }
    return DeclaredControlPlane(
        ControlPlane(
            version=version,
            revision=revision,
            mesh_config=mesh or {},
            mesh_networks=networks or {},
            environment=switches or {},
            assumed=tuple(name for name, is_assumed in assumed.items() if is_assumed),
        ),
        tuple(reader.problems),
    )


def revisions(resources: Iterable[Resource]) -> tuple[str, ...]:
    """The revisions of istiod for which there are settings, sorted; `default` where none are."""
    found: set[str] = set()
    for resource in resources:
        if _holds_mesh_config(resource) and (
            resource.name == "istio" or resource.name.startswith("istio-")
        ):
            found.add(resource.name.removeprefix("istio").removeprefix("-") or DEFAULT_REVISION)
        elif _is_istiod(resource):
            found.add(resource.labels.get(REVISION_LABEL, DEFAULT_REVISION))
    return tuple(sorted(found)) or (DEFAULT_REVISION,)


def _holds_mesh_config(resource: Resource) -> bool:
    data = resource.body.get("data")
    is_config_map = (resource.group, resource.kind) == ("", "ConfigMap")
    return is_config_map and isinstance(data, dict) and "mesh" in data


def _is_istiod(resource: Resource) -> bool:
    is_deployment = (resource.group, resource.kind) == ("apps", "Deployment")
    return is_deployment and resource.labels.get("app") == "istiod"


class _Settings:
    """Reads YAML inside of other things and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def config_map(self, resource: Resource | None, key: str) -> Mapping[str, Any] | None:
        """The mapping that a key of a ConfigMap holds as YAML; None: there is none."""
        if resource is None:
            return None
        data = resource.body.get("data")
        text = data.get(key) if isinstance(data, dict) else None
        if text is None:
            return None
        path = resource.origin.rpartition("#")[0] or resource.origin
        if not isinstance(text, str):
            self._report(path, resource.line, f"data.{key} must be text (`{key}: |`)", resource.ref)
            return None
        return self._mapping(text, f"data.{key}", path, resource.line, resource.ref)

    def file(self, settings: SettingsFile) -> Mapping[str, Any] | None:
        """The mesh configuration of a file."""
        given = self._mapping(settings.text, "", settings.path, 0, None)
        kind = None if given is None else given.get("kind")
        if given is None or kind is None:
            return given
        if kind != "ConfigMap":
            reason = f"this is a resource of kind {kind}, neither MeshConfig nor its ConfigMap"
            self._report(settings.path, 0, reason, None)
            return None
        data = given.get("data")
        text = data.get("mesh") if isinstance(data, dict) else None
        if not isinstance(text, str):
            self._report(settings.path, 0, "this ConfigMap has no text under data.mesh", None)
            return None
        return self._mapping(text, "data.mesh", settings.path, 0, None)

    def _mapping(
        self, text: str, where: str, path: str, base: int, ref: ResourceRef | None
    ) -> Mapping[str, Any] | None:
        """Read one mapping; lines inside of `where` are given relative to it."""
        parsed = list(documents(text))
        if not parsed:
            return {}
        document = parsed[0]

        def report(line: int, message: str) -> None:
            inside = f"line {line} of {where}: " if where else ""
            self._report(path, base if where else line, inside + message, ref)

        if document.error:
            report(document.line, document.error)
            return None
        if document.value is None:
            return {}
        if len(parsed) > 1:
            report(parsed[1].line, "there must be one document, but a second one begins here")
            return None
        if not isinstance(document.value, dict):
            report(document.line, "there must be a mapping of settings")
            return None
        for duplicate in document.duplicates:
            report(
                duplicate.line,
                f"the key {duplicate.key!r} was set in line {duplicate.first_line} already; the "
                "later value is taken",
            )
        return document.value

    def _report(self, path: str, line: int, message: str, ref: ResourceRef | None) -> None:
        subject = f"{ref}: " if ref else "mesh configuration: "
        code = ProblemCode.MESH_CONFIG
        self.problems.append(Problem(path, line, subject + message, "error", code, ref))

    def ambiguous(self, what: str, found: list[Resource]) -> None:
        """Several resources could hold the settings, and nothing says which one does."""
        places = ", ".join(str(resource.ref) for resource in found)
        first = found[0]
        path = first.origin.rpartition("#")[0] or first.origin
        self._report(
            path,
            first.line,
            f"{what} could be any of {places}; Istio's defaults are assumed. Leave the others out, "
            "or give the mesh configuration with --mesh-config and switches with --istiod-env",
            None,
        )


def _config_map(
    resources: tuple[Resource, ...], revision: str, reader: _Settings
) -> Resource | None:
    name = "istio" if revision == DEFAULT_REVISION else f"istio-{revision}"
    found = [
        resource for resource in resources if resource.name == name and _holds_mesh_config(resource)
    ]
    return _only(found, f"ConfigMap {name}", reader)


def _deployment(
    resources: tuple[Resource, ...], revision: str, reader: _Settings
) -> Resource | None:
    found = [
        resource
        for resource in resources
        if _is_istiod(resource)
        and resource.labels.get(REVISION_LABEL, DEFAULT_REVISION) == revision
    ]
    return _only(found, "the Deployment of istiod", reader)


def _only(found: list[Resource], what: str, reader: _Settings) -> Resource | None:
    in_root = [resource for resource in found if resource.namespace == ROOT_NAMESPACE]
    candidates = in_root or found
    if len(candidates) > 1:
        reader.ambiguous(what, candidates)
        return None
    return candidates[0] if candidates else None


def _discovery_container(deployment: Resource | None) -> Mapping[str, Any]:
    """The container that runs istiod; empty where the Deployment has none of that name."""
    if deployment is None:
        return {}
    value: Any = deployment.spec
    for field in ("template", "spec", "containers"):
        value = value.get(field) if isinstance(value, dict) else None
    containers = value if isinstance(value, list) else []
    return next((c for c in containers if isinstance(c, dict) and c.get("name") == "discovery"), {})


def _environment(deployment: Resource | None) -> Mapping[str, str] | None:
    """istiod's switches; those whose value comes from elsewhere (`valueFrom`) are left out."""
    container = _discovery_container(deployment)
    if not container:
        return None
    given = container.get("env")
    return {
        str(variable["name"]): str(variable["value"])
        for variable in (given if isinstance(given, list) else ())
        if isinstance(variable, dict) and "name" in variable and variable.get("value") is not None
    }


def _version(deployment: Resource | None) -> str:
    return image_version(str(_discovery_container(deployment).get("image") or ""))


def image_version(image: str) -> str:
    """Version by the tag of an image of Istio: `docker.io/istio/pilot:1.29.6-distroless`."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    number = tag.removesuffix("-distroless").removesuffix("-debug")
    return number if number[:1].isdigit() else ""
