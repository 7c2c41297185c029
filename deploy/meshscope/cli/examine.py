"""From the inputs of `meshscope check` to its report, without reading or writing anything."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from meshscope.analysis.mesh import DeclaredMesh, declared_mesh
from meshscope.cli.codes import (
    FAILED_VERIFICATION,
    NO_IDENTITY,
    NOT_A_SIDECAR,
    NOTHING_DECLARED,
    SEVERAL_DUMPS,
    UNREADABLE_INPUT,
)
from meshscope.cli.declared import examine_declarations
from meshscope.cli.delivery import delivery_findings, pods_without_sidecar
from meshscope.cli.identity import Pods, has_node, with_node
from meshscope.cli.report import (
    CheckReport,
    Finding,
    ProxyReport,
    finding,
    proxy_of_file,
    unreadable,
)
from meshscope.comparison import ProxyVerdict, compare
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.config_dump import (
    NoSidecarDump,
    UnreadableConfigDump,
    read_config_dump,
)
from meshscope.inference.result import Inference
from meshscope.projection.limits import Limit
from meshscope.projection.result import Projection, Unverifiable
from meshscope.watcher.control_plane import DEFAULT_REVISION, SettingsFile, control_plane
from meshscope.watcher.field_lines import FieldLines
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


def examine(
    inputs: Inputs, infer: Infer, project: Project, fail_on: Literal["error", "warning"]
) -> CheckReport:
    """Verify every dump against the resources, and look at the resources themselves."""
    read = _declared(inputs)
    verifier = _Verifier(inputs, read.resources, infer, project)
    proxies = tuple(verifier.verify(path, data) for path, data in inputs.dumps)
    if not verifier.control_planes:
        verifier.settings(DEFAULT_REVISION)
    declared = examine_declarations(
        next(iter(verifier.control_planes.values())),
        read.resources,
        FieldLines(dict((*inputs.cluster, *inputs.manifests))),
        inputs.today,
        complete=inputs.complete,
    )
    findings = [
        *inputs.unreadable,
        *(finding(problem) for problem in read.problems),
        *declared.findings,
        *verifier.findings,
        *pods_without_sidecar(verifier.mesh(DEFAULT_REVISION), {proxy.proxy for proxy in proxies}),
    ]
    if not read.resources and not any(found.loses_input for found in findings):
        findings.append(_nothing_declared(inputs))
    return CheckReport(
        resources=len(read.resources),
        proxies=proxies,
        findings=tuple(findings),
        control_planes=tuple(verifier.control_planes.values()),
        fail_on=fail_on,
        places={resource.ref: _place(resource) for resource in read.resources},
        suppressed=declared.suppressed,
        skipped=declared.skipped,
    )


def _declared(inputs: Inputs) -> Manifests:
    """All resources; a cluster's own list names some twice, which is not worth a word."""
    given, held = read_manifests(inputs.manifests), read_manifests(inputs.cluster)
    if not held.resources and not held.problems:
        return given
    resources, _ = without_duplicates((*held.resources, *given.resources))
    problems = (problem for problem in held.problems if problem.code in LOSES_INPUT)
    return Manifests(resources, (*problems, *given.problems))


def _place(resource: Resource) -> tuple[str, int]:
    return resource.origin.rpartition("#")[0] or resource.origin, resource.line


def _nothing_declared(inputs: Inputs) -> Finding:
    paths = ", ".join(path for path, _ in (*inputs.cluster, *inputs.manifests))
    reason = "there is no resource in this, only comments or nothing"
    return Finding(NOTHING_DECLARED, "error", reason, file=paths, loses_input=True)


class _NotVerified(Exception):
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


class _Verifier:
    """Verifies dumps one by one, and remembers the settings of each revision."""

    def __init__(
        self, inputs: Inputs, resources: tuple[Resource, ...], infer: Infer, project: Project
    ) -> None:
        self.control_planes: dict[str, ControlPlane] = {}
        self.findings: list[Finding] = []
        self._inputs = inputs
        self._resources = resources
        self._infer = infer
        self._project = project
        self._pods = Pods(resources)
        self._meshes: dict[str, DeclaredMesh] = {}
        self._seen: dict[tuple[str, str], str] = {}

    def settings(self, revision: str) -> ControlPlane:
        """The settings of a revision; what is wrong with them becomes findings, once."""
        if revision not in self.control_planes:
            declared = control_plane(
                self._resources,
                revision=revision,
                environment=self._inputs.environment,
                mesh_config=self._inputs.mesh_config,
            )
            self.control_planes[revision] = declared.control_plane
            found = (finding(problem) for problem in declared.problems)
            self.findings += [one for one in found if one not in self.findings]
        return self.control_planes[revision]

    def verify(self, path: str, data: bytes | Finding) -> ProxyReport:
        """The verdict on one dump; one that fails does not stop the others."""
        proxy = (data.proxy if isinstance(data, Finding) else "") or proxy_of_file(path)
        try:
            return self._verified(path, data)
        except _NotVerified as error:
            code, reason, found = error.code, error.reason, error.finding
        except Exception as error:
            # One dump must not take the others with it, nor end in the exit code of a finding.
            code, reason = (
                FAILED_VERIFICATION,
                f"verification failed: {type(error).__name__}: {error}",
            )
            found = Finding(code, "error", f"{proxy}: {reason}", file=path, proxy=proxy)
        if found is not None:
            self.findings.append(found)
        return ProxyReport(proxy, path, ProxyVerdict.unknown(reason), code=code)

    def _verified(self, path: str, data: bytes | Finding) -> ProxyReport:
        inference = self._infer(self._dump(path, data))
        kind = dict(inference.state.node).get("node type", "sidecar")
        if kind != "sidecar":
            what = _PROXIES.get(kind, f"a proxy of type {kind!r}")
            raise _NotVerified(NOT_A_SIDECAR, f"this is {what}; only sidecars are verified")
        proxy = inference.proxy.proxy or proxy_of_file(path)
        self._note_twins(inference.proxy, path)
        projection = self._project(
            self.settings(inference.proxy.revision), self._resources, inference.proxy
        )
        verdict = compare(
            projection,
            inference.policies,
            incomplete=(*self._lacking(), *_incomplete(inference)),
            unreferenced=inference.unreferenced,
        )
        self.findings += delivery_findings(
            inference, self.mesh(inference.proxy.revision), projection.unverifiable, path
        )
        return ProxyReport(proxy, path, verdict, inference.coverage.explained)

    def mesh(self, revision: str) -> DeclaredMesh:
        """What is declared for the proxies of a revision besides policies."""
        if revision not in self._meshes:
            self._meshes[revision] = declared_mesh(self.settings(revision), self._resources)
        return self._meshes[revision]

    def _dump(self, path: str, data: bytes | Finding) -> Mapping[str, Any]:
        """A dump that says whose it is.

        Raises:
            _NotVerified: There is none.
        """
        if isinstance(data, Finding):
            raise _NotVerified(data.code, data.explanation, data)
        try:
            dump = read_config_dump(data, path)
        except NoSidecarDump as error:
            raise _NotVerified(NOT_A_SIDECAR, f"the dump {error.reason}") from error
        except UnreadableConfigDump as error:
            found = unreadable(path, error.reason)
            reason = f"its configuration dump cannot be read: {error.reason}"
            raise _NotVerified(UNREADABLE_INPUT, reason, found) from error
        if has_node(dump):
            return dump
        proxy = proxy_of_file(path)
        plane = self.settings(self._pods.revision(proxy))
        node = self._pods.node(proxy, plane.mesh_config)
        if node is None:
            reason = (
                "the dump does not say which proxy it is of, as those of istiod never do, and no "
                f"Pod is called as the file is: {proxy}"
            )
            raise _NotVerified(NO_IDENTITY, reason)
        return with_node(dump, node)

    def _lacking(self) -> tuple[Unverifiable, ...]:
        reason = self._inputs.lacks
        return (Unverifiable(reason, code=Limit.MISSING_RESOURCES),) if reason else ()

    def _note_twins(self, proxy: ProxyInputs, path: str) -> None:
        """Say that a proxy was given before."""
        earlier = self._seen.setdefault((proxy.cluster, proxy.proxy), path)
        if earlier != path and proxy.proxy:
            explanation = f"{proxy.proxy} was read before, from {earlier}; both are verified"
            self.findings.append(
                Finding(SEVERAL_DUMPS, "warning", explanation, file=path, proxy=proxy.proxy)
            )


_PROXIES: Final = {"router": "a gateway", "waypoint": "a waypoint", "ztunnel": "a ztunnel"}
"""Istio's types of proxies besides sidecars."""


def _incomplete(inference: Inference) -> tuple[Unverifiable, ...]:
    return tuple(
        Unverifiable(
            f"the configuration dump lacks {lacking.section}: {lacking.reason}",
            kind,
            code=Limit.INCOMPLETE_DUMP,
        )
        for lacking in inference.incomplete
        for kind in lacking.kinds
    )
