"""The folder where a learner works: lab editions are copied there, and never over anything."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
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


def prepare(root: Path, work: Path, language: str | None = None) -> Copied:
    """Copy the lab editions, and the cheat-sheet, that are missing from `work`.

    A notebook that is there is left alone. If the course has a newer edition of it, that arrives
    beside it, under a name with its edition, once.

    Args:
        language: also those that are translated, ``de``; they go to a folder of that name.

    Raises:
        UserError: the folder can't be made or written, or nothing is translated into the language.
    """
    labs = root / "notebooks" / "lab"
    languages = sorted(path.name for path in labs.glob("[a-z][a-z]") if path.is_dir())
    if language is not None and language not in languages:
        raise UserError(
            f"no lesson is translated into {language!r}: expected one of "
            f"{', '.join(languages) or 'none'}; docs/translating.md says how one is made."
        )
    try:
        Progress(work).start()
        copied = copy_editions([*labs.glob("*.ipynb"), cheat_sheet_path(root)], work)
        if language is None:
            return copied
        (work / language).mkdir(exist_ok=True)
        other = copy_editions([*(labs / language).glob("*.ipynb")], work / language)
        return Copied(copied.new + other.new, copied.beside + other.beside)
    except OSError as error:
        raise UserError(
            f"the work folder {work} can't be written ({error.strerror}): make it writable, or "
            f"choose another with --work."
        ) from None


def copy_editions(sources: Sequence[Path], work: Path) -> Copied:
    new: list[Path] = []
    beside: list[Path] = []
    for source in sorted(sources, key=lambda path: (path.suffix != ".ipynb", path.name)):
        if not source.exists():  # a checkout may be without the cheat-sheet
            continue
        target = work / source.name
        edition = edition_of(source)
        copied = new
        if os.path.lexists(target) and edition_of(target) != edition:
            target = work / f"{source.stem}.newer-{edition[:6]}{source.suffix}"
            copied = beside
        # whatever has the name, be it a link that leads nowhere, is the learner's own
        if not os.path.lexists(target) and put(source.read_bytes(), target):
            copied.append(target)
    return Copied(tuple(new), tuple(beside))


def put(content: bytes, target: Path) -> bool:
    """Make a file whole or not at all, and never over anything: False where the name is taken."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return moved(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def moved(partial: Path, target: Path) -> bool:
    """Give a file another name, unless that is taken: by a second link, since a rename replaces
    what is there. On Windows it does not; where there are no links, the name is claimed first."""
    try:
        if os.name == "nt":
            os.rename(partial, target)
        else:
            os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:
        try:
            target.touch(exist_ok=False)
        except FileExistsError:
            return False
        try:
            os.replace(partial, target)
        except OSError:
            target.unlink()
            raise
    return True


def edition_of(path: Path) -> str:
    """What changes with each edition: the hash of the lesson, or that of a page's own text."""
    if path.suffix == ".ipynb":
        return built_from(path) or "edition"
    return hashlib.sha256(path.read_bytes()).hexdigest()
