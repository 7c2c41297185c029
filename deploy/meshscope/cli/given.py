"""What files give: resources, settings, whose a dump is; for all commands that read them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from meshscope.cli.codes import NO_IDENTITY, NOT_A_SIDECAR, UNREADABLE_INPUT
from meshscope.cli.identity import Pods, has_node, with_node
from meshscope.cli.report import Finding, finding, proxy_of_file, unreadable
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.config_dump import (
    NoSidecarDump,
    UnreadableConfigDump,
    read_config_dump,
)
from meshscope.inference.result import Inference
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Projection
from meshscope.watcher.control_plane import SettingsFile, control_plane
from meshscope.watcher.manifests import Manifests, read_manifests, without_duplicates
from meshscope.watcher.problem import LOSES_INPUT

Infer = Callable[[Mapping[str, Any]], Inference]
Project = Callable[[ControlPlane, tuple[Resource, ...], ProxyInputs], Projection]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read, before anybody looked into it.

    Attributes:
        manifests: Files of resources, path and content, in the order in which they count.
        dumps: Files of config dumps, path and content; content is read one dump at a time.
        mesh_config: Used instead of the ConfigMap.
        environment: istiod's switches from the command line; they win over the Deployment's.
        unreadable: Files that could not even be opened.
        cluster: Files of resources that a bug report holds; those of `manifests` win over them.
        lacks: Why the resources are known not to be all that there are; empty: they may be.
        complete: The resources are all that there are: what is not among them does not exist.
        today: Suppressions of findings that ended before do not count.
    """

    manifests: tuple[tuple[str, bytes], ...]
    dumps: Iterable[tuple[str, bytes | Finding]] = ()
    mesh_config: SettingsFile | None = None
    environment: Mapping[str, str] | None = None
    unreadable: tuple[Finding, ...] = ()
    cluster: tuple[tuple[str, bytes], ...] = ()
    lacks: str = ""
    complete: bool = False
    today: date = date.min


def read_declared(inputs: Inputs) -> Manifests:
    """All resources; a cluster's own list names some twice, which is not worth a word."""
    given, held = read_manifests(inputs.manifests), read_manifests(inputs.cluster)
    if not held.resources and not held.problems:
        return given
    resources, _ = without_duplicates((*held.resources, *given.resources))
    problems = (problem for problem in held.problems if problem.code in LOSES_INPUT)
    return Manifests(resources, (*problems, *given.problems))


def places(resources: Iterable[Resource]) -> Mapping[ResourceRef, tuple[str, int]]:
    """File and line of every resource."""
    return {
        resource.ref: (resource.origin.rpartition("#")[0] or resource.origin, resource.line)
        for resource in resources
    }


class NotVerified(Exception):
    """A dump of which nothing can be said.

    Attributes:
        code, reason: Why.
        finding: Said besides the verdict; None: the verdict says it all.
    """

    def __init__(self, code: str, reason: str, finding: Finding | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.finding = finding


class Given:
    """What is declared; remembers the settings of each revision of the control plane.

    Attributes:
        resources: All resources.
        pods: The Pods among them.
        control_planes: Settings that were asked for, by revision.
        findings: What is wrong with them.
    """

    def __init__(self, inputs: Inputs, resources: tuple[Resource, ...]) -> None:
        self.resources = resources
        self.pods = Pods(resources)
        self.control_planes: dict[str, ControlPlane] = {}
        self.findings: list[Finding] = []
        self._inputs = inputs

    def settings(self, revision: str) -> ControlPlane:
        """The settings of a revision; what is wrong with them becomes findings, once."""
        if revision not in self.control_planes:
            declared = control_plane(
                self.resources,
                revision=revision,
                environment=self._inputs.environment,
                mesh_config=self._inputs.mesh_config,
            )
            self.control_planes[revision] = declared.control_plane
            found = (finding(problem) for problem in declared.problems)
            self.findings += [one for one in found if one not in self.findings]
        return self.control_planes[revision]

    def dump(self, path: str, data: bytes | Finding) -> Mapping[str, Any]:
        """A dump that says whose it is.

        Raises:
            NotVerified: There is none.
        """
        if isinstance(data, Finding):
            raise NotVerified(data.code, data.explanation, data)
        try:
            dump = read_config_dump(data, path)
        except NoSidecarDump as error:
            raise NotVerified(NOT_A_SIDECAR, f"the dump {error.reason}") from error
        except UnreadableConfigDump as error:
            found = unreadable(path, error.reason)
            reason = f"its configuration dump cannot be read: {error.reason}"
            raise NotVerified(UNREADABLE_INPUT, reason, found) from error
        if has_node(dump):
            return dump
        proxy = proxy_of_file(path)
        node = self.node(proxy)
        if node is None:
            reason = (
                "the dump does not say which proxy it is of, as those of istiod never do, and no "
                f"Pod is called as the file is: {proxy}"
            )
            raise NotVerified(NO_IDENTITY, reason)
        return with_node(dump, node)

    def node(self, proxy: str) -> Mapping[str, Any] | None:
        """What the proxy of a Pod says of itself; None: there is no such Pod."""
        plane = self.settings(self.pods.revision(proxy))
        return self.pods.node(proxy, plane.mesh_config)
