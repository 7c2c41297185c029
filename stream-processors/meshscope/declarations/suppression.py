"""Findings that a resource says not to report: annotation `meshscope.io/suppress`.

One line for each code: `MSC-2301 until 2027-01-31: the canary is cut off on purpose`. Without a
reason, or without a day until which it counts, it does not count, and neither does one whose day is
over: what is wrong is then reported, and that the suppression does not count as well.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from meshscope.declarations.finding import Finding
from meshscope.events.resource import Resource

ANNOTATION: Final = "meshscope.io/suppress"
UNUSABLE: Final = "MSC-2010"

_LINE: Final = re.compile(
    r"(?P<code>MSC-\d{4})(?:\s+until\s+(?P<until>\S+?))?\s*(?::\s*(?P<reason>.*))?"
)


@dataclass(frozen=True, slots=True)
class Suppression:
    """One line of the annotation that can be read.

    Attributes:
        code: What is not to be reported.
        until: Last day on which that counts.
        reason: Why.
    """

    code: str
    until: date
    reason: str

    def counts(self, today: date) -> bool:
        """Whether it is still to be heeded."""
        return today <= self.until


def suppressions(resource: Resource) -> Iterator[Suppression]:
    """What a resource says not to report."""
    for found in _lines(resource):
        if isinstance(found, Suppression):
            yield found


def unusable(resource: Resource, today: date) -> Iterator[Finding]:
    """Lines of the annotation that do not count, and why."""
    for found in _lines(resource):
        if isinstance(found, str):
            why = found
        elif not found.counts(today):
            why = f"the one of {found.code} ended on {found.until}: {found.reason}"
        else:
            continue
        yield Finding(
            UNUSABLE,
            resource,
            f"metadata.annotations.{ANNOTATION}",
            f"a suppression does not count: {why}",
        )


def _lines(resource: Resource) -> Iterator[Suppression | str]:
    for line in resource.annotations.get(ANNOTATION, "").splitlines():
        if line.strip():
            yield _read(line.strip())


def _read(line: str) -> Suppression | str:
    """A suppression, or why the line is none."""
    found = _LINE.fullmatch(line)
    if found is None:
        return f"{line!r} is not of the form `CODE until YYYY-MM-DD: REASON`"
    if not (found["reason"] or "").strip():
        return f"{line!r} gives no reason"
    if found["until"] is None:
        return f"{line!r} does not say until when it counts"
    try:
        until = date.fromisoformat(found["until"])
    except ValueError:
        return f"{line!r}: {found['until']!r} is no date; write one such as 2027-01-31"
    return Suppression(found["code"], until, found["reason"].strip())
