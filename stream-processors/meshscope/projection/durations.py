"""Durations as resources write them."""

import re
from decimal import Decimal

_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_MILLISECONDS = {
    "ns": Decimal("0.000001"),
    "us": Decimal("0.001"),
    "µs": Decimal("0.001"),
    "ms": Decimal(1),
    "s": Decimal(1_000),
    "m": Decimal(60_000),
    "h": Decimal(3_600_000),
}


def milliseconds(text: str) -> int:
    """A duration such as `1.5s` or `1m30s` in milliseconds, rounded down.

    Raises:
        ValueError: The text is no duration.
    """
    if text == "0":
        return 0
    if not text or not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text!r} is no duration; write one such as 1.5s or 1m30s")
    parts = _PART.findall(text)
    return int(sum(Decimal(number) * _MILLISECONDS[unit] for number, unit in parts))
