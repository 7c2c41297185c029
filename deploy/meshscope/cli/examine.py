"""From the inputs of `meshscope check` to its report, without reading or writing anything."""

from typing import Final, Literal

from meshscope.analysis.mesh import DeclaredMesh, declared_mesh
from meshscope.cli.codes import (
    FAILED_VERIFICATION,
    NOT_A_SIDECAR,
    NOTHING_DECLARED,
    SEVERAL_DUMPS,
)
from meshscope.cli.declared import examine_declarations
from meshscope.cli.delivery import delivery_findings, pods_without_sidecar
from meshscope.cli.given import (
    Given,
    Infer,
    Inputs,
    NotVerified,
    Project,
    places,
    read_declared,
)
from meshscope.cli.report import CheckReport, Finding, ProxyReport, finding, proxy_of_file
from meshscope.comparison import ProxyVerdict, compare
from meshscope.events.proxy import ProxyInputs
from meshscope.inference.result import Inference
from meshscope.projection.limits import Limit
from meshscope.projection.result import Unverifiable
from meshscope.watcher.control_plane import DEFAULT_REVISION
from meshscope.watcher.field_lines import FieldLines


def examine(
    inputs: Inputs, infer: Infer, project: Project, fail_on: Literal["error", "warning"]
) -> CheckReport:
    """Verify every dump against the resources, and look at the resources themselves."""
    read = read_declared(inputs)
    given = Given(inputs, read.resources)
    verifier = _Verifier(inputs, given, infer, project)
    proxies = tuple(verifier.verify(path, data) for path, data in inputs.dumps)
    if not given.control_planes:
        given.settings(DEFAULT_REVISION)
    declared = examine_declarations(
        next(iter(given.control_planes.values())),
        read.resources,
        FieldLines(dict((*inputs.cluster, *inputs.manifests))),
        inputs.today,
        complete=inputs.complete,
    )
    findings = [
        *inputs.unreadable,
        *(finding(problem) for problem in read.problems),
        *given.findings,
        *verifier.findings,
        *pods_without_sidecar(verifier.mesh(DEFAULT_REVISION), {proxy.proxy for proxy in proxies}),
    ]
    if not read.resources and not any(found.loses_input for found in findings):
        findings.append(_nothing_declared(inputs))
    findings += declared.findings
    return CheckReport(
        resources=len(read.resources),
        proxies=proxies,
        findings=tuple(findings),
        control_planes=tuple(given.control_planes.values()),
        fail_on=fail_on,
        places=places(read.resources),
        suppressed=declared.suppressed,
        skipped=declared.skipped,
    )


def _nothing_declared(inputs: Inputs) -> Finding:
    paths = ", ".join(path for path, _ in (*inputs.cluster, *inputs.manifests))
    reason = "there is no resource in this, only comments or nothing"
    return Finding(NOTHING_DECLARED, "error", reason, file=paths, loses_input=True)


class _Verifier:
    """Verifies dumps one by one."""

    def __init__(self, inputs: Inputs, given: Given, infer: Infer, project: Project) -> None:
        self.findings: list[Finding] = []
        self._inputs = inputs
        self._given = given
        self._infer = infer
        self._project = project
        self._meshes: dict[str, DeclaredMesh] = {}
        self._seen: dict[tuple[str, str], str] = {}

    def verify(self, path: str, data: bytes | Finding) -> ProxyReport:
        """The verdict on one dump; one that fails does not stop the others."""
        proxy = (data.proxy if isinstance(data, Finding) else "") or proxy_of_file(path)
        try:
            return self._verified(path, data)
        except NotVerified as error:
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
        inference = self._infer(self._given.dump(path, data))
        kind = dict(inference.state.node).get("node type", "sidecar")
        if kind != "sidecar":
            what = _PROXIES.get(kind, f"a proxy of type {kind!r}")
            raise NotVerified(NOT_A_SIDECAR, f"this is {what}; only sidecars are verified")
        proxy = inference.proxy.proxy or proxy_of_file(path)
        self._note_twins(inference.proxy, path)
        plane = self._given.settings(inference.proxy.revision)
        projection = self._project(plane, self._given.resources, inference.proxy)
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
            plane = self._given.settings(revision)
            self._meshes[revision] = declared_mesh(plane, self._given.resources)
        return self._meshes[revision]

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
