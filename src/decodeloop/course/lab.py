"""The folder where a learner works: lab editions are copied there, and never over anything."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from decodeloop.course.building import built_from
from decodeloop.course.cheatsheet import cheat_sheet_path
from decodeloop.course.progress import Progress
from decodeloop.errors import UserError


@dataclass(frozen=True)
class Copied:
    """What `prepare` did."""

    new: tuple[Path, ...]  # lab editions that were not there
    beside: tuple[Path, ...]  # newer editions of notebooks that were there, put beside them


def prepare(root: Path, work: Path) -> Copied:
    """Copy the lab editions, and the cheat-sheet, that are missing from `work`.

    A notebook that is there is left alone. If the course has a newer edition of it, that arrives
    beside it, under a name with its edition, once.

    Raises:
        UserError: the folder can't be made or written.
    """
    try:
        return copy_editions(root, work)
    except OSError as error:
        raise UserError(
            f"the work folder {work} can't be written ({error.strerror}): make it writable, or "
            f"choose another with --work."
        ) from None


def copy_editions(root: Path, work: Path) -> Copied:
    Progress(work).start()
    new, beside = [], []
    for source in [*sorted((root / "notebooks" / "lab").glob("*.ipynb")), cheat_sheet_path(root)]:
        if not source.exists():  # a checkout may be without the cheat-sheet
            continue
        target = work / source.name
        edition = edition_of(source)
        if target.exists() and edition_of(target) != edition:
            target = work / f"{source.stem}.newer-{edition[:6]}{source.suffix}"
            if not target.exists():
                beside.append(target)
        elif not target.exists():
            new.append(target)
        if not target.exists():
            shutil.copyfile(source, target)
    return Copied(tuple(new), tuple(beside))


def edition_of(path: Path) -> str:
    """What changes with each edition: the hash of the lesson, or that of a page's own text."""
    if path.suffix == ".ipynb":
        return built_from(path) or "edition"
    return hashlib.sha256(path.read_bytes()).hexdigest()
