"""Named places at which a test may kill the sink.

`MESHSCOPE_FAULT=<point>` ends the process with SIGKILL the first time that it comes there. The
points are the seams of the delivery promise in `positions.py`; in production the variable is not
set.
"""

import os
import signal
from typing import Final, Literal, get_args

Point = Literal[
    "before_insert",
    "between_inserts",
    "after_insert",
    "after_dead_letter",
    "before_commit",
    "after_commit",
]
POINTS: Final[tuple[Point, ...]] = get_args(Point)

_WANTED: Final = os.environ.get("MESHSCOPE_FAULT", "")


def reach(point: Point) -> None:
    """Die here if a test wants it."""
    if point == _WANTED:
        os.kill(os.getpid(), signal.SIGKILL)
