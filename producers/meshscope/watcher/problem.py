"""What can be wrong with the text of manifests."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from meshscope.policy.source import ResourceRef

Severity = Literal["error", "warning", "info"]


class ProblemCode(StrEnum):
    """The closed list of problems; values are MeshScope's public codes."""

    UNREADABLE = "MSC-2001"
    NOT_A_RESOURCE = "MSC-2002"
    UNKNOWN_FIELD = "MSC-2003"
    DUPLICATE_RESOURCE = "MSC-2004"
    REFUSED_BY_KUBERNETES = "MSC-2005"
    MESH_CONFIG = "MSC-2006"
    NOT_RENDERED = "MSC-2007"


TITLES: dict[ProblemCode, str] = {
    ProblemCode.UNREADABLE: "A document cannot be read",
    ProblemCode.NOT_A_RESOURCE: "A document is not a Kubernetes resource",
    ProblemCode.UNKNOWN_FIELD: "A field has no meaning",
    ProblemCode.DUPLICATE_RESOURCE: "A resource is declared twice",
    ProblemCode.REFUSED_BY_KUBERNETES: "Kubernetes refuses this resource",
    ProblemCode.MESH_CONFIG: "The mesh configuration cannot be read",
    ProblemCode.NOT_RENDERED: "A document is the source of resources that must be rendered first",
}
"""One title per code."""

LOSES_INPUT = frozenset(
    {ProblemCode.UNREADABLE, ProblemCode.NOT_A_RESOURCE, ProblemCode.MESH_CONFIG}
)
"""Problems that leave something out of the input, so that what remains is not the whole."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file of manifests.

    Attributes:
        path: File, as it was named.
        line: Line in it, from 1; 0: the file as a whole.
        message: What is wrong and what to do, in one or two sentences.
        severity: `error`: the resource does not count as written.
        code: Which problem.
        resource: The resource concerned; None: there is none.
    """

    path: str
    line: int
    message: str
    severity: Severity
    code: ProblemCode
    resource: ResourceRef | None = None

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"
