"""`python -m meshscope.embedded.store`: the ClickHouse engine behind ClickHouse's HTTP interface.

Sink, console and commands are processes of their own and share one store, while chDB lives inside
of one process; hence this server. Listens on loopback only; there is no authentication.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click
from aiohttp import web

from meshscope.embedded.locks import LockHeld
from meshscope.embedded.ports import PortInUse, listening_socket
from meshscope.embedded.store_engine import QUERY_SECONDS, StoreEngine
from meshscope.embedded.store_http import MAX_BODY_BYTES, build_store_app

CANNOT_START = 2


@click.command()
@click.option("--path", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=8123, show_default=True, help="0: any; it is printed.")
@click.option(
    "--query-seconds", default=QUERY_SECONDS, show_default=True, help="Longest time per statement."
)
@click.option("--max-body", default=MAX_BODY_BYTES, show_default=True, help="Bytes per request.")
def main(path: Path, port: int, query_seconds: float, max_body: int) -> None:
    """Serve the engine on the directory PATH until SIGTERM or SIGINT.

    Exit code 2 where the directory or the port is in use.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(path, port, query_seconds, max_body))
    except (LockHeld, PortInUse) as error:
        click.echo(f"meshscope store: {error}", err=True)
        sys.exit(CANNOT_START)


async def serve(path: Path, port: int, query_seconds: float, max_body: int) -> None:
    """Serve until SIGTERM or SIGINT; prints the address once statements are taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with listening_socket(port, "store", "MESHSCOPE_STORE_PORT") as sock:
        engine = StoreEngine(path, query_seconds=query_seconds)
        # Bodies are decompressed by the application, which bounds their size.
        runner = web.AppRunner(
            build_store_app(engine, max_body_bytes=max_body),
            access_log=None,
            shutdown_timeout=2.0,
            auto_decompress=False,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, sock).start()
            print(f"store ready: http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
            await stop.wait()
        finally:
            await runner.cleanup()
            engine.close()


if __name__ == "__main__":
    main(prog_name="python -m meshscope.embedded.store")
