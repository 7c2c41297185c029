"""From two declarations to what the change between them does, without reading or writing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from meshscope.cli.against_report import AgainstReport, ResourceChange
from meshscope.cli.codes import FAILED_VERIFICATION, NOTHING_DECLARED
from meshscope.cli.given import Given, Infer, Inputs, NotVerified, Project
from meshscope.cli.identity import node_of
from meshscope.cli.known_proxies import known_proxies
from meshscope.cli.report import Finding, ProxyReport, finding
from meshscope.comparison.change import compare_projections
from meshscope.comparison.verdict import ProxyVerdict
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Projection
from meshscope.watcher.manifests import Manifests, read_manifests, without_duplicates
from meshscope.watcher.problem import LOSES_INPUT


def against(
    inputs: Inputs,
    before_files: tuple[tuple[str, bytes], ...],
    infer: Infer,
    project: Project,
    fail_on: Literal["error", "warning"],
) -> AgainstReport:
    """Say what a change of declarations does to every sidecar that is known.

    Args:
        inputs: What is declared now, and what both sides share: settings, dumps for the sake of
            whose they are, and the resources of a cluster. Those that files of one side name count
            as these say, and what only the files of the first side name is gone in the second.
        before_files: What was declared before, path and content.
        infer, project: As for `examine`.
        fail_on: Severity from which findings count for the exit code.
    """
    sets = (inputs.cluster, before_files, inputs.manifests)
    read = [read_manifests(files) for files in sets]
    cluster, old, new = read
    gone = {_identity(each) for each in old.resources}
    kept = (each for each in cluster.resources if _identity(each) not in gone)
    before = without_duplicates((*cluster.resources, *old.resources))[0]
    after = _shared(before, without_duplicates((*kept, *new.resources))[0])

    sides = [Given(inputs, resources) for resources in (before, after)]
    dumped, unread = _dumped(inputs, sides[1], infer)
    first, second = (_Side(given, dumped, infer, project) for given in sides)
    changes = dict(_changes(before, after))
    both = sorted(first.proxies.keys() & second.proxies.keys())
    # One side after the other: what proxies have in common is then projected once.
    projected = [first.projected(name) for name in both]
    proxies = tuple(
        ProxyReport(
            name, name, _verdict(old, second.projected(name), changes), code=FAILED_VERIFICATION
        )
        for name, old in zip(both, projected, strict=True)
    )
    return AgainstReport(
        resources=(len(before), len(after)),
        proxies=proxies,
        changes=tuple(_with_effect(changes, proxies)),
        new=tuple(sorted(second.proxies.keys() - first.proxies.keys())),
        gone=tuple(sorted(first.proxies.keys() - second.proxies.keys())),
        without=second.without,
        findings=tuple(
            dict.fromkeys((*inputs.unreadable, *unread, *_findings(read, first, second)))
        ),
        control_planes=tuple(second.given.control_planes.values()),
        fail_on=fail_on,
    )


_Identity = tuple[str, str, str, str]


def _identity(resource: Resource) -> _Identity:
    return resource.group, resource.kind, resource.namespace, resource.name


def _is_same(one: Resource, other: Resource) -> bool:
    """Whether two resources of one name declare the same, wherever they stand."""
    plain = (replace(each, origin="", line=0, uid="", resource_version="") for each in (one, other))
    return next(plain) == next(plain)


def _shared(before: Sequence[Resource], after: Sequence[Resource]) -> tuple[Resource, ...]:
    """The resources of the second side; those that did not change are the same objects."""
    known = {_identity(each): each for each in before}
    return tuple(
        known[_identity(each)]
        if _identity(each) in known and _is_same(known[_identity(each)], each)
        else each
        for each in after
    )


def _changes(
    before: Sequence[Resource], after: Sequence[Resource]
) -> Iterator[tuple[ResourceRef, ResourceChange]]:
    """What is written otherwise; in the order of the second side, what is gone last."""
    known = {_identity(each): each for each in before}
    for each in after:
        old = known.pop(_identity(each), None)
        if old is not each:
            yield each.ref, ResourceChange.of(each, "added" if old is None else "changed")
    for each in known.values():
        yield each.ref, ResourceChange.of(each, "removed")


def _dumped(
    inputs: Inputs, given: Given, infer: Infer
) -> tuple[dict[str, ProxyInputs], list[Finding]]:
    """The sidecars that dumps are of, and dumps that cannot be read; what else they hold is not
    looked at.
    """
    proxies: dict[str, ProxyInputs] = {}
    findings: list[Finding] = []
    for path, data in inputs.dumps:
        try:
            found = infer(node_of(given.dump(path, data)))
        except NotVerified as error:
            if error.finding is not None:
                findings.append(error.finding)
            continue
        if dict(found.state.node).get("node type", "sidecar") == "sidecar":
            proxies[found.proxy.proxy] = found.proxy
    return proxies, findings


class _Side:
    """One declaration: its sidecars and their projections.

    Attributes:
        given: What is declared.
        proxies: The sidecars, by `pod.namespace`.
        without: Pods and workloads without a sidecar, and the reason.
    """

    def __init__(
        self, given: Given, dumped: Mapping[str, ProxyInputs], infer: Infer, project: Project
    ) -> None:
        self.given = given
        known = known_proxies(given.resources, given.settings, infer)
        self.proxies = {**known.proxies, **dumped}
        self.without = {n: why for n, why in known.without.items() if n not in self.proxies}
        self._resources = known.resources
        self._project = project

    def projected(self, name: str) -> Projection | str:
        """What a sidecar should hold; or why that cannot be said."""
        proxy = self.proxies[name]
        try:
            return self._project(self.given.settings(proxy.revision), self._resources, proxy)
        except Exception as error:
            # One proxy must not take the others with it.
            return f"projection failed: {type(error).__name__}: {error}"


def _verdict(
    before: Projection | str, after: Projection | str, changed: Collection[ResourceRef]
) -> ProxyVerdict:
    if isinstance(before, str):
        return ProxyVerdict.unknown(before)
    if isinstance(after, str):
        return ProxyVerdict.unknown(after)
    return compare_projections(before, after, lambda ref: ref in changed)


def _with_effect(
    changes: Mapping[ResourceRef, ResourceChange], proxies: Sequence[ProxyReport]
) -> Iterator[ResourceChange]:
    """What each change of a resource does, as far as differences name resources."""
    differences = [found for proxy in proxies for found in proxy.verdict.differences]
    named = {source for found in differences if found.is_drift for source in found.sources}
    explained = all(changes.keys() & set(found.sources) for found in differences if found.is_drift)
    certain = explained and all(proxy.verdict.verdict in ("in-sync", "drift") for proxy in proxies)
    for ref, change in changes.items():
        if ref in named:
            yield replace(change, effect="behaviour")
        else:
            yield replace(change, effect="none" if certain and proxies else "not known")


def _findings(read: Sequence[Manifests], first: _Side, second: _Side) -> Iterator[Finding]:
    """What is lost of either side, and else what is wrong with the second side only."""
    cluster, old, new = read
    known = {(problem.code, problem.resource) for problem in (*cluster.problems, *old.problems)}
    for problem in (*cluster.problems, *old.problems, *new.problems):
        is_new = problem in new.problems and (problem.code, problem.resource) not in known
        if is_new or problem.code in LOSES_INPUT:
            yield finding(problem)
    yield from (each for each in second.given.findings if each not in first.given.findings)
    yield from (each for each in first.given.findings if each.loses_input)
    for side, resources in (("before", old.resources), ("after", new.resources)):
        if not resources and not cluster.resources:
            reason = f"there is no resource in what is given as {side}"
            yield Finding(NOTHING_DECLARED, "error", reason, loses_input=True)
