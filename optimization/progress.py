"""Progress of long steps, on the terminal and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[str, float], None]
"""Given what is being done and how much of all is done, from 0 to 1."""


def silent(_doing: str, _share: float) -> None:
    """Tell nobody."""


@contextmanager
def shown(what: str, lines: bool = False) -> Iterator[Report]:
    """Give what moves a bar on standard error, where that is a terminal.

    Args:
        what: the long step, in words.
        lines: write a line a step instead of a bar, wherever standard error goes.
    """
    console = Console(stderr=True)
    if lines:
        yield lambda doing, share: console.print(f"{what}: {share:4.0%} {doing}", highlight=False)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=1.0, doing="")
        yield lambda doing, share: progress.update(task, completed=share, doing=doing)
