"""`python -m meshscope.watcher`: publish what a directory of YAML declares."""

import asyncio
import logging
import os
import signal
import sys

from meshscope.watcher.publish import build_watcher
from meshscope.watcher.settings import SettingsError, WatcherSettings, from_environment


def main() -> int:
    """Run until SIGTERM or SIGINT; 0: stopped, 2: the settings are wrong."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # It tells of every event of the file system.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"meshscope watcher: {error}", file=sys.stderr)
        return 2
    left = asyncio.run(_run(settings))
    if left:
        logging.getLogger(__name__).warning(
            "%s records were not acknowledged; the next start publishes them", left
        )
    return 0


async def _run(settings: WatcherSettings) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return await build_watcher(settings).run(stopped)


if __name__ == "__main__":
    sys.exit(main())
