"""What one notebook knows of itself: its lesson, its edition, and where the learner's work lies.

The session lies in the notebook's own namespace, so it begins and ends with it; strictness belongs
to a notebook, not to the process or its environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from decodeloop.course.backend import draw_in_notebook
from decodeloop.course.progress import Progress, find_work
from decodeloop.errors import UserError

KEY = "_decodeloop_session"
Edition = Literal["worked", "lab"]


@dataclass
class Session:
    """The state of one notebook."""

    lesson: str = ""
    edition: Edition = "lab"
    work: Path | None = None  # the folder that keeps the learner's answers, if there is one
    guesses: dict[str, tuple[float | None, str]] = field(default_factory=dict)
    hints_shown: dict[str, int] = field(default_factory=dict)
    records: dict[str, tuple[float, str]] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)  # exercise → source
    failed: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # exercise → inputs

    @property
    def strict(self) -> bool:
        """In a worked edition a wrong answer is an error; in a lab edition it is met with help."""
        return self.edition == "worked"

    @property
    def progress(self) -> Progress | None:
        return None if self.work is None else Progress(self.work)


def notebook_shell() -> Any:
    """IPython's shell, if this runs in one."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def notebook_namespace() -> dict[str, Any] | None:
    shell = notebook_shell()
    return None if shell is None else shell.user_ns


@contextlib.contextmanager
def told() -> Iterator[None]:
    """A sentence in the place of an error: what is noted on the disk comes second to the lesson."""
    try:
        yield
    except UserError as error:
        print(f"  {error}")


def work_here() -> Path | None:
    """The work folder that the notebook runs in, if it does."""
    try:
        return find_work(Path.cwd())
    except FileNotFoundError:  # the folder was deleted
        return None


def history() -> list[str]:
    """The cells that were run in the notebook, as IPython made Python of them."""
    return list((notebook_namespace() or {}).get("_ih", []))


def begin(lesson: str, edition: Edition) -> None:
    """The first cell of every built notebook: which lesson this is, and in which edition."""
    if edition not in ("worked", "lab"):
        raise UserError(f"begin: the edition is {edition!r}: expected 'worked' or 'lab'.")
    draw_in_notebook(notebook_shell())
    from decodeloop.course.figures import use_style  # matplotlib is imported here, and not before

    use_style()
    namespace = notebook_namespace()
    if namespace is not None:
        work = work_here() if edition == "lab" else None
        namespace[KEY] = Session(lesson, edition, work)
        if edition == "lab" and work is None:
            print(
                "This notebook lies in no work folder: answers are checked, but not kept. To keep "
                "them, open it by `make lab`, which copies it to work/."
            )


def current() -> Session:
    """The session of the notebook that is running; outside of one, a fresh one."""
    namespace = notebook_namespace()
    if namespace is None:
        return Session()
    return namespace.setdefault(KEY, Session(work=work_here()))
