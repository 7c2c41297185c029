"""What versions of Istio and switches of istiod change about a proxy's configuration.

Source: https://istio.io/latest/news/releases/ and
https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from meshscope.projection.limits import Limit

Version = tuple[int, int]

FIRST: Final[Version] = (1, 29)
LATEST: Final[Version] = (1, 31)
"""Versions that were compared with what real control planes send."""

SINCE: Final[Mapping[str, Version]] = {
    "best_namespace": (1, 30),
    "default_traffic_policy": (1, 31),
    "inherited_distribution": (1, 30),
    "named_workloads": (1, 31),
    "provider_in_ids": (1, 30),
    "retry_budgets": (1, 30),
    "sidecar_exclusions": (1, 31),
    "unready_sent": (1, 31),
}
"""Differences between versions, and the version in which each began.

`best_namespace`: of services of one host in other namespaces that of Kubernetes or the oldest
counts, before that the first by namespace;
`default_traffic_policy`: the mesh configuration has a traffic policy for all destinations;
`inherited_distribution`: services inherit `networking.istio.io/traffic-distribution` of their
namespace;
`named_workloads`: endpoints of ServiceEntries bear the name of their workload;
`provider_in_ids`: ids of CUSTOM rules name their provider;
`retry_budgets`: they have the documented default, and subsets keep them;
`sidecar_exclusions`: hosts of Sidecar egress listeners may begin with `~` to be left out;
`unready_sent`: endpoints that are not ready are sent, marked as such, where they are wanted.
"""

_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(frozen=True, slots=True)
class Features:
    """The version and switches in force.

    Attributes:
        version: Major and minor version that is assumed, one of those compared.
        environment: istiod's environment, as far as it is known.
        notes: What was assumed.
    """

    version: Version
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()

    def switch(self, name: str, default: bool) -> bool:
        """The value of a switch; one that cannot be read has its default, as in istiod."""
        value = self.environment.get(name, "")
        if value in _TRUE:
            return True
        return False if value in _FALSE else default

    def has(self, name: str) -> bool:
        """Whether the version has a difference of `SINCE`."""
        return has(self.version, name)

    def text(self, name: str) -> str:
        """The value of a setting that is no switch; empty: not set."""
        return self.environment.get(name, "")


def has(version: Version, name: str) -> bool:
    """Whether a version has a difference of `SINCE`."""
    return version >= SINCE[name]


def features(version: str, environment: Mapping[str, str]) -> Features:
    """The features of a control plane.

    Args:
        version: Such as `1.29.6`; empty: not known.
        environment: istiod's switches.
    """
    parsed = parse_version(version)
    if parsed is None:
        known = f"the version {version!r} cannot be read" if version else "the version is unknown"
        return Features(
            LATEST,
            environment,
            (Limit.UNTESTED_VERSION.note(f"{known}; Istio {_text(LATEST)} is assumed"),),
        )
    nearest = min(max(parsed, FIRST), LATEST)
    if nearest == parsed:
        return Features(parsed, environment)
    note = Limit.UNTESTED_VERSION.note(
        f"Istio {_text(parsed)} was never compared with a real control plane; "
        f"the rules of {_text(nearest)} are used"
    )
    return Features(nearest, environment, (note,))


def parse_version(text: str) -> Version | None:
    """Major and minor version of a text such as `1.29.6` or `1.31-alpha.abc`; None: it has none."""
    major, _, rest = text.partition(".")
    minor = rest.split(".")[0].split("-")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
