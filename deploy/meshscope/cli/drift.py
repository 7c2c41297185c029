"""`meshscope drift`: what is said of the proxies now."""

import time
from collections.abc import Sequence
from typing import cast

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from meshscope.cli.endpoints import endpoints
from meshscope.cli.history_client import ask_library, connect
from meshscope.cli.output import Format, as_json, console, format_option, table

PROXY_COLUMNS = ("proxy", "verdict", "differences", "policies", "notes", "verified_at")
DRIFT_COLUMNS = ("proxy", "key", "effect", "expected", "observed", "sources", "opened_at")


@click.command()
@click.option("--proxy", default="", help="Only this proxy (pod.namespace).")
@click.option("--watch", is_flag=True, help="Go on showing, once a second, until interrupted.")
@format_option
def drift(proxy: str, watch: bool, output: Format) -> None:
    """Show the verdict on every proxy and the differences that are open.

    Exit code: 0 where every proxy is known to be in sync, 1 where one drifts, 3 where something
    could not be verified.
    """
    client = connect(endpoints())

    def look() -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        proxies = [
            row | {"notes": _notes(row)}
            for row in ask_library(client, "proxies", {})
            if proxy in ("", row["proxy"])
        ]
        return proxies, ask_library(client, "open_drift", {"proxy": proxy})

    def page() -> Group:
        proxies, differences = look()
        if not proxies:
            return Group(Text(f"No snapshot of {proxy or 'any proxy'} has arrived yet."))
        parts = [table(proxies, PROXY_COLUMNS)]
        if differences:
            parts += [Text(""), table(differences, DRIFT_COLUMNS)]  # type: ignore[list-item]
        return Group(*parts)

    if watch and output == "table":
        with Live(page(), console=console(), auto_refresh=False, screen=False) as live:
            while True:
                time.sleep(1)
                live.update(page(), refresh=True)
    while True:
        if output == "json":
            proxies, differences = look()
            click.echo(as_json({"proxies": proxies, "drift": differences}))
        else:
            console().print(page())
        if not watch:
            break
        time.sleep(1)
    verdicts = {row["verdict"] for row in look()[0]}
    raise SystemExit(1 if "drift" in verdicts else 0 if verdicts == {"in-sync"} else 3)


def _notes(row: dict[str, object]) -> str:
    notes = []
    if row["live"] != "LIVE":
        notes.append(str(row["live"]).lower().replace("_", " "))
    if row["connected"] is False:
        notes.append("cut off from its control plane")
    if row["reason"]:
        notes.append(str(row["reason"]))
    unverifiable = row["unverifiable"]
    if isinstance(unverifiable, list | tuple) and unverifiable:
        notes.append(f"{len(unverifiable)} not verifiable")
    # Their codes here; what they say takes more room than a table has, see `-o json`.
    notes += [str(limit).partition(":")[0] for limit in cast("Sequence[object]", row["limits"])]
    return "; ".join(notes)
