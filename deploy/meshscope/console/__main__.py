"""`python -m meshscope.console`: the web page."""

import logging
import os
import sys

from aiohttp import web

from meshscope.console.server import build_app
from meshscope.console.settings import SettingsError, from_environment


def main() -> int:
    """Serve until SIGTERM or SIGINT; 2: the settings are wrong or the port is in use."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    try:
        settings = from_environment(os.environ)
        web.run_app(
            build_app(settings),
            host=settings.host,
            port=settings.port,
            print=lambda *_: None,
            access_log=None,
            shutdown_timeout=1.0,
        )
    except SettingsError as error:
        print(f"meshscope console: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"meshscope console: {settings.host}:{settings.port} cannot be opened ({error}); set "
            "MESHSCOPE_CONSOLE_PORT to another port",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
