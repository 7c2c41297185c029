"""What `meshscope check --against` found: values, exit code and JSON."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meshscope.cli.codes import CODES
from meshscope.cli.report import (
    API_VERSION,
    CLEAN,
    FINDINGS,
    INCOMPLETE,
    SEVERITIES,
    UNREADABLE,
    Finding,
    ProxyReport,
)
from meshscope.comparison.comparator import NOT_DECLARED, NOT_LOADED
from meshscope.comparison.verdict import Difference, Outcome
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Change
from meshscope.events.resource import Resource
from meshscope.policy.kinds import Kind
from meshscope.policy.source import ResourceRef

VERDICTS: Final[Mapping[Outcome, str]] = {
    "in-sync": "unchanged",
    "drift": "changed",
    "unverifiable": "unverifiable",
    "unknown": "unknown",
}
"""Verdicts of the comparison, in words for two declarations."""

CHANGES: Final[Mapping[Change, str]] = {
    "missing": "removed",
    "extra": "added",
    "different": "changed",
}

CONCLUSIONS: Final[Mapping[int, str]] = {
    CLEAN: "No change in behaviour.",
    FINDINGS: "Behaviour changes.",
    UNREADABLE: "Some input could not be read and was left out: this result is not complete.",
    INCOMPLETE: "No change in behaviour was found, but not everything could be compared.",
}
"""What each exit code means."""

NO_PROXY: Final = (
    "No sidecar is known: put Pods, or Deployments, StatefulSets, DaemonSets and their Namespaces, "
    "among the resources of both sides, or give --config-dump or --bug-report."
)

Topic = Literal["access", "encryption", "routing", "treatment"]
TOPICS: Final[Mapping[Topic, str]] = {
    "access": "Who gains or loses access",
    "encryption": "What is encrypted or identified otherwise",
    "routing": "Which requests go elsewhere",
    "treatment": "What is treated otherwise: timeouts, retries, limits and the like",
}
"""What a change may concern, in the order of reports."""

_ACCESS: Final = frozenset(
    (Kind.AUTHORIZATION, Kind.REQUEST_AUTHENTICATION, Kind.FILTER_ORDER, Kind.EGRESS)
)
_GOES: Final = frozenset(("exposes", "blocks", "reroutes"))


def topic(found: Difference) -> Topic:
    """What a difference is about."""
    kind = found.key.kind
    if kind in _ACCESS:
        return "access"
    words = [place.path.lower().split(".") for place in found.fields]
    about_tls = any("tls" in each for each in words)
    # Whether an endpoint is spoken to with mutual TLS.
    transport = kind is Kind.ENDPOINTS and any(each[-1] == "transport" for each in words)
    if kind is Kind.PEER_AUTHENTICATION or about_tls or transport:
        return "encryption"
    return "routing" if found.effect in _GOES else "treatment"


def sides(found: Difference) -> tuple[str, str]:
    """What is declared before and after, where a whole policy comes or goes."""
    before = "not declared" if found.expected == NOT_DECLARED else found.expected
    return before, "not declared any more" if found.observed == NOT_LOADED else found.observed


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """A resource that is written otherwise.

    Attributes:
        ref: Which.
        change: What happened to the text.
        effect: `behaviour`: a difference comes from it; `none`: no sidecar behaves otherwise
            because of it; `not known`: there is a difference whose cause is not known, or
            something could not be compared.
        file, line: Where it stands; for a removed one, where it stood.
    """

    ref: ResourceRef
    change: Literal["added", "removed", "changed"]
    effect: Literal["behaviour", "none", "not known"] = "not known"
    file: str = ""
    line: int = 0

    @classmethod
    def of(
        cls, resource: Resource, change: Literal["added", "removed", "changed"]
    ) -> "ResourceChange":
        """The change of a resource; its effect is not known yet."""
        file = resource.origin.rpartition("#")[0] or resource.origin
        return cls(resource.ref, change, file=file, line=resource.line)

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def to_json(self) -> dict[str, Any]:
        """The change as in the JSON report."""
        return {
            "kind": self.ref.kind,
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "change": self.change,
            "effect": self.effect,
            "file": self.file,
            "line": self.line,
        }


@dataclass(frozen=True, slots=True)
class AgainstReport:
    """Everything that `meshscope check --against` found.

    Attributes:
        resources: Number of resources before and after.
        proxies: Sidecars of both sides; in their verdicts `expected` is before, `observed` after.
        changes: Resources that are written otherwise.
        new, gone: Sidecars of one side only.
        without: Pods and workloads without a sidecar, and the reason.
        findings: About the input, and about what the new declaration does wrong and the old did
            not.
        control_planes: Settings that were used for the new side, one per revision.
        fail_on: Severity from which findings count for the exit code.
    """

    resources: tuple[int, int]
    proxies: tuple[ProxyReport, ...] = ()
    changes: tuple[ResourceChange, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict, hash=False)
    findings: tuple[Finding, ...] = ()
    control_planes: tuple[ControlPlane, ...] = ()
    fail_on: Literal["error", "warning"] = "error"

    @property
    def exit_code(self) -> int:
        """As for other checks: input that was left out counts most, then what is certain."""
        if any(found.loses_input for found in self.findings):
            return UNREADABLE
        verdicts = {proxy.verdict.verdict for proxy in self.proxies}
        limit = SEVERITIES.index(self.fail_on)
        if "drift" in verdicts or any(
            SEVERITIES.index(found.severity) <= limit for found in self.findings
        ):
            return FINDINGS
        return INCOMPLETE if verdicts - {"in-sync"} or not self.proxies else CLEAN

    @property
    def text_only(self) -> tuple[ResourceChange, ...]:
        """Resources that are written otherwise and change nothing."""
        return tuple(change for change in self.changes if change.effect == "none")

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that the report says, each once."""
        verdicts = [proxy.verdict for proxy in self.proxies]
        said = (
            *(found.code for verdict in verdicts for found in verdict.differences),
            *(found.code for found in self.findings),
            *(part.code.value for verdict in verdicts for part in verdict.unverifiable),
            *(note.partition(":")[0] for verdict in verdicts for note in verdict.notes),
        )
        return tuple(code for code in dict.fromkeys(said) if code in CODES)

    def summary(self) -> dict[str, Any]:
        """Numbers."""
        verdicts = Counter(proxy.verdict.verdict for proxy in self.proxies)
        effects = Counter(change.effect for change in self.changes)
        return {
            "exit_code": self.exit_code,
            "resources_before": self.resources[0],
            "resources_after": self.resources[1],
            "resources_changed": len(self.changes),
            "resources_without_effect": effects["none"],
            "proxies": len(self.proxies),
            **{word: verdicts[verdict] for verdict, word in VERDICTS.items()},
            "differences": sum(len(proxy.verdict.drift) for proxy in self.proxies),
            "equivalent": sum(len(proxy.verdict.equivalent) for proxy in self.proxies),
        }

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; its shape is stable under `API_VERSION`."""
        return {
            "apiVersion": API_VERSION,
            "kind": "AgainstReport",
            "summary": self.summary(),
            "resources": [change.to_json() for change in self.changes],
            "proxies": [_proxy_json(proxy) for proxy in self.proxies],
            "proxiesAdded": list(self.new),
            "proxiesRemoved": list(self.gone),
            "withoutSidecar": [{"name": n, "reason": why} for n, why in self.without.items()],
            "findings": [found.to_json() for found in self.findings],
            "codes": {code: CODES[code].to_json() for code in self.codes},
        }


def _proxy_json(proxy: ProxyReport) -> dict[str, Any]:
    verdict = proxy.verdict
    return {
        "proxy": proxy.proxy,
        "verdict": VERDICTS[verdict.verdict],
        "policies": verdict.policies,
        "differences": [_difference_json(found) for found in verdict.differences],
        "unverifiable": [part.to_json() for part in verdict.unverifiable],
        "notes": list(verdict.notes),
    }


def _difference_json(found: Difference) -> dict[str, Any]:
    """As in the report of `check`, with `before` and `after`."""
    said = found.to_json()
    before, after = sides(found)
    witness = said["witness"]
    return {
        "code": said["code"],
        "kind": said["kind"],
        "key": said["key"],
        "change": CHANGES[found.change],
        "topic": topic(found),
        "effect": said["effect"],
        "before": before,
        "after": after,
        "fields": [_renamed(field) for field in said["fields"]],
        "affected": [_renamed(some) for some in said["affected"]],
        "witness": _renamed(witness) if witness else None,
        "sources": said["sources"],
    }


def _renamed(said: Mapping[str, Any]) -> dict[str, Any]:
    names = {"expected": "before", "observed": "after"}
    return {names.get(name, name): value for name, value in said.items()}
