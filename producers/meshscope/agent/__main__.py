"""`python -m meshscope.agent`: publish what the Envoy beside this process holds."""

import asyncio
import importlib.metadata
import logging
import os
import signal
import sys

from meshscope.agent.process import run
from meshscope.agent.settings import AgentSettings, SettingsError, from_environment
from meshscope.agent.spool import SpoolError


def main() -> int:
    """Run until SIGTERM or SIGINT; 0: stopped, 2: the settings are wrong."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    try:
        settings = from_environment(os.environ)
        left = asyncio.run(_run(settings))
    except (SettingsError, SpoolError) as error:
        print(f"meshscope agent: {error}", file=sys.stderr)
        return 2
    if left:
        logging.getLogger(__name__).warning(
            "%s records stay in %s for the next start", left, settings.spool
        )
    return 0


async def _run(settings: AgentSettings) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return await run(settings, stopped, importlib.metadata.version("meshscope"))


if __name__ == "__main__":
    sys.exit(main())
