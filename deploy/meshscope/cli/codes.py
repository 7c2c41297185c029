"""Every code that MeshScope can say, with its title and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from meshscope.analysis.delivery_codes import DELIVERY_CODES
from meshscope.comparison.codes import DRIFT_CODES
from meshscope.declarations.codes import DECLARATION_CODES
from meshscope.events.facts import Change
from meshscope.policy.kinds import Kind
from meshscope.projection.limits import LIMIT_TITLES, Limit
from meshscope.watcher.problem import TITLES, ProblemCode

CLOCK_SKEW: Final = "MSC-5010"
UNREADABLE_INPUT: Final = "MSC-5011"
FAILED_VERIFICATION: Final = "MSC-5012"
NOT_A_SIDECAR: Final = "MSC-5013"
SEVERAL_DUMPS: Final = "MSC-5014"
NOTHING_DECLARED: Final = "MSC-5015"
NO_DUMP: Final = "MSC-5016"
NO_IDENTITY: Final = "MSC-5017"


@dataclass(frozen=True, slots=True)
class Code:
    """One code.

    Attributes:
        code: `MSC-nnnn`, public and stable.
        title: What sort of thing it is.
        help: What to do, in a sentence or two; the page of the code says more.
    """

    code: str
    title: str
    help: str

    @property
    def page(self) -> str:
        """The command that prints the page of the code."""
        return f"meshscope explain {self.code}"

    def to_json(self) -> dict[str, str]:
        """The code as in the JSON report, without itself."""
        return {"title": self.title, "help": self.help, "page": self.page}


_DRIFT_HELP: Final[Mapping[Change, str]] = {
    "missing": "Find out why the proxy does not hold it: `istioctl proxy-status` tells whether it "
    "is connected and what it rejected; where it is, restart it to have everything sent anew.",
    "extra": "Find out why the proxy still holds it: it may be cut off or hold an outdated state, "
    "or the resource that declares it was not among the input.",
    "different": "Compare the age of the resource with that of the configuration dump, and look "
    "at `istioctl proxy-status`: restart a proxy that is connected and does not follow.",
}
_MANIFEST_HELP: Final[Mapping[ProblemCode, str]] = {
    ProblemCode.UNREADABLE: "Repair the document; the resources in it were left out.",
    ProblemCode.NOT_A_RESOURCE: (
        "Repair the document, or name only files of resources; it was left out."
    ),
    ProblemCode.UNKNOWN_FIELD: "Correct the name of the field, or remove it.",
    ProblemCode.DUPLICATE_RESOURCE: "Keep one of the two documents.",
    ProblemCode.REFUSED_BY_KUBERNETES: "Correct the value; `kubectl apply` would fail.",
    ProblemCode.MESH_CONFIG: (
        "Correct the settings, or give them with --mesh-config; Istio's defaults were assumed."
    ),
    ProblemCode.NOT_RENDERED: "Give MeshScope the rendered resources.",
}
_LIMIT_HELP: Final[Mapping[Limit, str]] = {
    Limit.UNTESTED_VERSION: "Put istiod's Deployment among the resources; its image bears the "
    "version.",
    Limit.UNKNOWN_SETTING: "Check the name of the setting; what it changes is not predicted.",
    Limit.ASSUMED_DEFAULTS: "Put ConfigMap `istio` and istiod's Deployment among the resources, or "
    "give --mesh-config and --istiod-env.",
    Limit.NOT_MODELLED: "Verify what it changes by other means.",
    Limit.INCOMPLETE_DUMP: "Dump again with `/config_dump?include_eds` and without a filter.",
    Limit.MISSING_RESOURCES: "Give everything that the cluster holds, not Istio's resources "
    "alone; `istioctl bug-report` collects it.",
    Limit.UNEXPLAINED: "Find out who put it there; nothing that MeshScope models writes it.",
}
_OTHERS: Final = (
    Code(
        CLOCK_SKEW,
        "The clock of a proxy's agent is wrong",
        "Correct the clock of the node that the proxy runs on.",
    ),
    Code(
        UNREADABLE_INPUT,
        "An input cannot be read",
        "Check the path and the content of the file, and run again.",
    ),
    Code(
        FAILED_VERIFICATION,
        "A proxy could not be verified",
        "This is a fault of MeshScope; please report it with the message.",
    ),
    Code(
        NOT_A_SIDECAR,
        "A configuration dump is not of a sidecar",
        "Leave it out: gateways, waypoints and ztunnel are not verified.",
    ),
    Code(
        SEVERAL_DUMPS,
        "A proxy was given more than once",
        "Keep the newest dump of each proxy.",
    ),
    Code(
        NOTHING_DECLARED,
        "No resource is declared",
        "Check the path; a rendered chart may have been empty.",
    ),
    Code(
        NO_DUMP,
        "A proxy has no configuration dump",
        "Run `istioctl bug-report` again with a longer --timeout, or without --skip-proxy-debug.",
    ),
    Code(
        NO_IDENTITY,
        "A configuration dump does not say whose it is",
        "Call the file POD.NAMESPACE.json and put the Pod among the resources.",
    ),
)


def _drift() -> Iterable[Code]:
    for (kind, change), said in DRIFT_CODES.items():
        yield Code(said.code, said.title, _PATCH_HELP if _is_patch(kind) else _DRIFT_HELP[change])


def _is_patch(kind: Kind) -> bool:
    return kind is Kind.EXTENSION


_PATCH_HELP: Final = (
    "Look for an EnvoyFilter or WasmPlugin that does this and was not among the input, or for "
    "somebody who changed the proxy itself."
)

CODES: Final[Mapping[str, Code]] = {
    found.code: found
    for found in (
        *_drift(),
        *(Code(code.value, TITLES[code], text) for code, text in _MANIFEST_HELP.items()),
        *(Code(each.code, each.title, each.repair) for each in DECLARATION_CODES.values()),
        *(Code(each.code, each.title, each.repair) for each in DELIVERY_CODES.values()),
        *(Code(limit.value, LIMIT_TITLES[limit], text) for limit, text in _LIMIT_HELP.items()),
        *_OTHERS,
    )
}
"""The closed table of codes, a block per layer: drift, declaration, delivery, limits."""
