"""Ends of the process: one exit code per reason, for the supervisor.

    2   a setting is wrong: change it
    65  the input as a whole cannot be read: look at the dead letters
    75  the broker or the log is not what it was: start again, state comes from the topics

A worker that cannot go on exits at once, without a shutdown that could commit what was not done.
"""

import logging
import os
from typing import Final, NoReturn

EXIT_SETTINGS: Final = 2
EXIT_POISONED: Final = 65
EXIT_RESTART: Final = 75

log = logging.getLogger(__name__)


def stop_at_once(code: int, reason: str, error: BaseException | None = None) -> NoReturn:
    """Say why and exit."""
    log.critical("exit %d: %s", code, reason, exc_info=error)
    logging.shutdown()
    os._exit(code)
