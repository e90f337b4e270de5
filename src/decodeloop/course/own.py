"""The real model, speaking through what the learner wrote: what a notebook sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decodeloop.course.linking import assemble, part_names
from decodeloop.course.own_model import OwnModel
from decodeloop.course.progress import ANSWERS, MOST_BYTES, read_text
from decodeloop.course.session import current
from decodeloop.errors import UserError

if TYPE_CHECKING:
    from decodeloop.loading import LanguageModel


def mine(llm: LanguageModel, work: Path | None = None, *, quiet: bool = False) -> OwnModel:
    """The model through the learner's accepted answers; prints whose each part is.

    Args:
        llm: a loaded model, as `decodeloop.load` gives it.
        work: the work folder; if not given, that of the notebook, and what was accepted in the
            notebook itself.
        quiet: print nothing; `.report()` says it.
    """
    sources, unreadable = accepted_sources(work)
    own = assemble(llm, sources, unreadable)
    if not quiet:
        print(own.report())
    return own


def accepted_sources(
    work: Path | None,
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Of each accepted answer that is a part, by its name: source and file name; and of those
    whose file can't be read, why."""
    session = current()
    work = work or session.work
    found, unreadable = dict[str, tuple[str, str]](), dict[str, str]()
    for name in part_names():
        path = None if work is None else work / ANSWERS / f"{name}.py"
        if path is not None and is_there(path):
            try:
                found[name] = (read_text(path, MOST_BYTES), str(path))
            except UserError as error:
                unreadable[name] = str(error)
        elif name in session.accepted:
            found[name] = (session.accepted[name], f"<your {name}>")
    return found, unreadable


def is_there(path: Path) -> bool:
    """Whether there is such a name, be it one that can't be looked into."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


__all__ = ["OwnModel", "mine"]
