"""From the inputs of `meshscope check` to its report, without reading or writing anything."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meshscope.cli.report import (
    FAILED_VERIFICATION,
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
from meshscope.inference.config_dump import UnreadableConfigDump, read_config_dump
from meshscope.inference.result import Inference
from meshscope.projection.result import Projection, Unverifiable
from meshscope.watcher.control_plane import DEFAULT_REVISION, SettingsFile, control_plane
from meshscope.watcher.manifests import read_manifests

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
    """

    manifests: tuple[tuple[str, bytes], ...]
    dumps: Iterable[tuple[str, bytes | Finding]] = ()
    mesh_config: SettingsFile | None = None
    environment: Mapping[str, str] | None = None
    unreadable: tuple[Finding, ...] = ()


def examine(
    inputs: Inputs, infer: Infer, project: Project, fail_on: Literal["error", "warning"]
) -> CheckReport:
    """Verify every dump against the resources, and look at the resources themselves."""
    read = read_manifests(inputs.manifests)
    verifier = _Verifier(inputs, read.resources, infer, project)
    proxies = tuple(verifier.verify(path, data) for path, data in inputs.dumps)
    if not proxies:
        verifier.settings(DEFAULT_REVISION)
    findings = [
        *inputs.unreadable,
        *(finding(problem) for problem in read.problems),
        *verifier.findings,
    ]
    if not read.resources and not any(found.loses_input for found in findings):
        paths = ", ".join(path for path, _ in inputs.manifests)
        findings.append(unreadable(paths, "no resource is declared here"))
    return CheckReport(
        resources=len(read.resources),
        proxies=proxies,
        findings=tuple(findings),
        control_planes=tuple(verifier.control_planes.values()),
        fail_on=fail_on,
    )


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
        proxy = proxy_of_file(path)
        if isinstance(data, Finding):
            self.findings.append(data)
            return ProxyReport(proxy, path, ProxyVerdict.unknown(data.explanation))
        coverage: float | None = None
        try:
            inference = self._infer(read_config_dump(data, path))
            proxy = inference.proxy.proxy or proxy
            coverage = inference.coverage.explained
            plane = self.settings(inference.proxy.revision)
            verdict = compare(
                self._project(plane, self._resources, inference.proxy),
                inference.policies,
                incomplete=_incomplete(inference),
                unreferenced=inference.unreferenced,
            )
        except UnreadableConfigDump as error:
            self.findings.append(unreadable(path, error.reason))
            verdict = ProxyVerdict.unknown(f"its configuration dump {error.reason}")
        except Exception as error:
            # One dump must not take the others with it, nor end in the exit code of a finding.
            reason = f"{type(error).__name__}: {error}"
            explanation = f"verification of {proxy} failed: {reason}"
            self.findings.append(Finding(FAILED_VERIFICATION, "error", explanation, file=path))
            verdict = ProxyVerdict.unknown(f"its verification failed: {reason}")
        return ProxyReport(proxy, path, verdict, coverage)


def _incomplete(inference: Inference) -> tuple[Unverifiable, ...]:
    return tuple(
        Unverifiable(f"the configuration dump lacks {lacking.section}: {lacking.reason}", kind)
        for lacking in inference.incomplete
        for kind in lacking.kinds
    )
