"""`meshscope explain`: what a code means, in the terminal."""

from importlib.resources import files
from typing import Final

import click
from rich.console import Console
from rich.markdown import Markdown

from meshscope.cli.codes import CODES

_PAGES: Final = files("meshscope.cli").joinpath("pages")


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Say what a code of a report means, its causes and what to do.

    CODE is a code such as MSC-1083, or its number. Without one, all codes are listed.
    """
    if code is None:
        for known in CODES.values():
            click.echo(f"{known.code}  {known.title}")
        return
    terminal = Console(highlight=False)
    text = page(code)
    if terminal.is_terminal:
        terminal.print(Markdown(text))
    else:
        click.echo(text, nl=False)


def page(code: str) -> str:
    """The page of a code, in Markdown.

    Raises:
        click.BadParameter: There is no such code.
    """
    name = code.upper()
    name = name if name.startswith("MSC-") else f"MSC-{name}"
    if name not in CODES:
        raise click.BadParameter(
            f"there is no code {code!r}; `meshscope explain` lists them all", param_hint="CODE"
        )
    return _PAGES.joinpath(f"{name}.md").read_text(encoding="utf-8")
