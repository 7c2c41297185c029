"""The codes of what verification cannot say of a proxy (`MSC-50xx`)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Limit(StrEnum):
    """The closed list of limits; values are MeshScope's public codes."""

    UNTESTED_VERSION = "MSC-5001"
    UNKNOWN_SETTING = "MSC-5002"
    ASSUMED_DEFAULTS = "MSC-5003"
    NOT_MODELLED = "MSC-5004"
    INCOMPLETE_DUMP = "MSC-5005"
    UNEXPLAINED = "MSC-5006"
    MISSING_RESOURCES = "MSC-5007"

    def note(self, text: str) -> str:
        """A sentence for a verdict, with its code."""
        return f"{self.value}: {text}"


LIMIT_TITLES: Final[Mapping[Limit, str]] = {
    Limit.UNTESTED_VERSION: "The version of Istio is unknown, or was never compared",
    Limit.UNKNOWN_SETTING: "A setting of the mesh configuration is not known",
    Limit.ASSUMED_DEFAULTS: "Settings of the control plane are assumed",
    Limit.NOT_MODELLED: "Something that is declared cannot be predicted",
    Limit.INCOMPLETE_DUMP: "A configuration dump lacks a part",
    Limit.UNEXPLAINED: "A part of the proxy's configuration is not understood",
    Limit.MISSING_RESOURCES: "Resources that decide are missing",
}
"""One title per code."""
