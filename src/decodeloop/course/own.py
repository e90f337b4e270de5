"""The real model, speaking through what the learner wrote: what a notebook sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decodeloop.course.linking import assemble, part_names
from decodeloop.course.own_model import OwnModel
from decodeloop.course.progress import ANSWERS
from decodeloop.course.session import current

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
    own = assemble(llm, accepted_sources(work))
    if not quiet:
        print(own.report())
    return own


def accepted_sources(work: Path | None) -> dict[str, tuple[str, str]]:
    """Name → (source, file name) of each accepted answer that is a part."""
    session = current()
    work = work or session.work
    found = {}
    if work is not None:
        for name in part_names():
            path = work / ANSWERS / f"{name}.py"
            if path.is_file():
                found[name] = (path.read_text("utf-8"), str(path))
    for name, source in session.accepted.items():
        if name in part_names() and name not in found:
            found[name] = (source, f"<your {name}>")
    return found


__all__ = ["OwnModel", "mine"]
