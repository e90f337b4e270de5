"""A progress bar for what takes long: on a terminal, in a notebook, or in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, float], None]  # what is being done, and the fraction of it that is


def silent(step: str, fraction: float) -> None:
    """The progress report of those who do not want one."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar for each step of a long job, on stderr."""
    from rich.console import Console

    if Console().is_jupyter:  # rich's bars need ipywidgets there
        with progress_line() as line:
            yield line
        return
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    step_name, percent = "{task.description:<14}", "{task.percentage:>3.0f} %"
    columns = (TextColumn(step_name), BarColumn(), TextColumn(percent), TimeElapsedColumn())
    bar = Bar(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def show(step: str, fraction: float) -> None:
        if step not in tasks:
            tasks[step] = bar.add_task(step, total=1.0)
        bar.start()
        bar.update(tasks[step], completed=fraction)

    try:
        yield show
    finally:
        if tasks:  # a bar that showed nothing would still leave an empty line
            bar.stop()


@contextmanager
def progress_line() -> Iterator[Progress]:
    """One line that is written over again and again, where there are no bars."""
    shown: list[str] = []

    def show(step: str, fraction: float) -> None:
        line = f"{step:<14} {fraction:>4.0%}"
        if line not in shown[-1:]:
            shown.append(line)
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print(file=sys.stderr)
