"""Progress of long steps, on the terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[str, float], None]
"""A function that receives the current action and the share done, from 0 to 1."""


def silent(_action: str, _share: float) -> None:
    """Report nothing."""


@contextmanager
def shown(what: str, lines: bool = False) -> Iterator[Report]:
    """Yield a function that moves a bar on standard error, if that is a terminal.

    Args:
        what: the name of the long step.
        lines: write a line per step to standard error instead, terminal or not.
    """
    console = Console(stderr=True)
    if lines:
        yield lambda action, share: console.print(f"{what}: {share:4.0%} {action}", highlight=False)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[action]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=1.0, action="")
        yield lambda action, share: progress.update(task, completed=share, action=action)
