"""How far a long check has come, on a terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

FEW: Final = 5
"""So many dumps need no bar."""


@contextmanager
def progress(items: Iterable[T], count: int) -> Iterator[Iterable[T]]:
    """The items, with a bar on standard error that follows while they are taken.

    The bar is there only on a terminal, and is gone at the end.
    """
    terminal = Console(stderr=True)
    if count <= FEW or not terminal.is_terminal:
        yield items
        return
    columns = (
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("proxies"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as bar:
        yield bar.track(items, total=count)
