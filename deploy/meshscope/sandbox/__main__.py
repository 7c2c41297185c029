"""`python -m meshscope.sandbox --dir DIR [--state STATE] …`: the sandbox as one process."""

from __future__ import annotations

from pathlib import Path

import click

from meshscope.sandbox.commands import directory_option, run_in_foreground, run_options
from meshscope.sandbox.paths import default_directory


@click.command()
@directory_option
@run_options
def main(directory: Path | None, state: str, probe: bool, no_traffic: bool) -> None:
    """Run the sandbox in the foreground, until SIGTERM or SIGINT."""
    run_in_foreground(directory or default_directory(), state, probe, no_traffic)


if __name__ == "__main__":
    main(prog_name="python -m meshscope.sandbox")
