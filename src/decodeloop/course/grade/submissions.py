"""Notebooks that students have handed in, read as JSON: nothing of them is run, or written to disk.

A folder, a zip as a learning platform gives it, or single notebooks. Whose one is, its name says:

- Canvas: ``doejane_LATE_1234_56789_01_attention-1.ipynb``, all in one zip;
- Moodle: ``Jane Doe_1234_assignsubmission_file_/01_attention.ipynb``;
- else the folder that it lies in, or its own name without that of the lesson.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decodeloop.errors import UserError, printable
from decodeloop.exercises.finding import numbers

LARGEST = 20 << 20  # bytes of a notebook
MOST_FILES = 5000  # in a zip
MOST_OF_ONE = 20  # notebooks of one student
TOO_MANY = f"more than {MOST_OF_ONE} notebooks, or {LARGEST >> 20} MB of code, of one student"
DEEPEST = 5  # folders
CANVAS = re.compile(r"^(?P<name>[^_]+)(?:_LATE)?_(?P<user>\d+)_\d+_(?P<file>.+)$")
MOODLE = re.compile(r"^(?P<name>.+)_(?P<user>\d+)_assignsubmission_file_?$")
OF_LESSON = re.compile(r"[-_ ]*(?:[0-9A-Z]\d[a-z]?_[a-z][a-z0-9_]*)(?:-\d+)?[-_ ]*")
PLATFORMS = "a platform's names in a zip in a folder: give that zip itself"
SKIPPED = ("__MACOSX", ".")


@dataclass(frozen=True)
class Submission:
    """One notebook: whose, of which lesson, and its code cells; or why it is not even opened."""

    student: str
    place: str  # where it lies in what was handed in
    lesson: str = ""  # its number
    cells: tuple[str, ...] = ()
    digest: str = ""  # of its bytes
    refused: str = ""
    number: str = ""  # that a platform knows the student by


class Refused(Exception):
    """A file that is not opened, and why."""


def submissions(paths: list[Path], lesson: str | None = None) -> list[Submission]:
    """All notebooks, by student.

    Args:
        paths: folders, zips and notebooks.
        lesson: its number, for notebooks that do not say which they are of.

    Raises:
        UserError: there is no such file or lesson, or no notebook in it.
    """
    known = set(numbers().values())
    if lesson is not None and lesson not in known:
        raise UserError(
            f"--lesson is {lesson!r}: expected the number of one that has exercises, such as 01."
        )
    found = list[Submission]()
    counts, sizes = dict[tuple[str, str], int](), dict[tuple[str, str], int]()
    for path in paths:
        if not os.path.lexists(path):
            raise UserError(f"there is no {path}: expected a folder, a zip or a notebook.")
        for place, owner, data in files_of(path):
            one = submission(place, owner, data, lesson, known)
            whose = (one.student, one.number)
            counts[whose] = counts.get(whose, 0) + 1
            sizes[whose] = sizes.get(whose, 0) + sum(map(len, one.cells))
            if counts[whose] > MOST_OF_ONE or sizes[whose] > LARGEST:
                one = replace(one, cells=(), digest="", refused=TOO_MANY)
                if counts[whose] > MOST_OF_ONE + 1:
                    continue  # it is said once
            found.append(one)
    if not found:
        where = ", ".join(map(str, paths))
        raise UserError(f"there is no notebook in {where}: expected files that end in .ipynb.")
    return sorted(found, key=lambda x: (x.student.casefold(), x.lesson, x.place))


def submission(
    place: str, owner: str, data: bytes | Refused, lesson: str | None, known: set[str]
) -> Submission:
    """One that lies in a place, and belongs to whom the owner's place names."""
    student = printable(student_of(owner)).replace("\n", " ")[:100] or "?"
    known_by = platform_number(owner)
    try:
        if isinstance(data, Refused):
            raise data
        cells, told = cells_of(data)
        number = lesson or told or lesson_in(place, known)
        if number not in known:
            raise Refused("it does not say which lesson it is of: give --lesson")
        digest = hashlib.sha256(data).hexdigest()
        return Submission(student, place, number, tuple(cells), digest, number=known_by)
    except Refused as why:
        number = lesson or lesson_in(place, known)
        return Submission(student, place, number, refused=str(why), number=known_by)


def files_of(path: Path) -> Iterator[tuple[str, str, bytes | Refused]]:
    """Each notebook's place, that of its owner, and its bytes, or why it was not read.

    In a zip that is given itself, names say whose a notebook is: a platform has made them. One in
    a folder was made by a student, who may have written any name into it: all of it is theirs.
    """
    if path.is_dir() and not path.is_symlink():
        for file in sorted(walked(path, DEEPEST)):
            owner = str(file.relative_to(path))
            for place, data in file_of(file, owner):
                inside = place.removeprefix(owner).lstrip("/")
                yield place, owner, Refused(PLATFORMS) if by_platform(inside) else data
    else:
        for place, data in file_of(path, path.name):
            yield place, place, data


def walked(folder: Path, deep: int) -> Iterator[Path]:
    """The notebooks and zips in a folder; links are not followed into other folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(SKIPPED):
                continue
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    yield from walked(folder / entry.name, deep - 1)
            elif entry.name.endswith((".ipynb", ".zip")):
                yield folder / entry.name


def file_of(path: Path, place: str) -> Iterator[tuple[str, bytes | Refused]]:
    zipped = path.suffix == ".zip"
    try:
        data = read(path, (1 << 32) if zipped else LARGEST)
    except Refused as why:
        yield place, why
        return
    if zipped:
        yield from zipped_in(data, place)
    else:
        yield place, data


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file; no link is followed, and nothing waits."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        number = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        what = "a link" if path.is_symlink() else error.strerror
        raise Refused(f"it can't be opened ({what})") from None
    with os.fdopen(number, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise Refused("it is no regular file")
        if info.st_size > most:
            raise Refused(f"it has {info.st_size >> 20} MB, more than {most >> 20}")
        return file.read(most + 1)


def zipped_in(data: bytes, place: str) -> Iterator[tuple[str, bytes | Refused]]:
    """The notebooks in a zip, which is never unpacked: sizes are counted, not believed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.namelist()) > MOST_FILES:
                yield place, Refused(f"a zip with more than {MOST_FILES:,} files: hand in fewer")
                return
            names = [
                name
                for name in archive.namelist()
                if name.endswith(".ipynb")
                and not any(part.startswith(SKIPPED) for part in name.split("/") if part != "..")
            ]
            if not names:
                yield place, Refused("a zip without a notebook")
            for name in names:
                with archive.open(name) as file:
                    content = file.read(LARGEST + 1)
                alone = len(names) == 1 and not by_platform(name)
                where = place if alone else f"{place}/{name}"
                if len(content) > LARGEST:
                    yield where, Refused(f"unpacked it has more than {LARGEST >> 20} MB")
                else:
                    yield where, content
    except Exception as error:  # zips fail in many ways: encrypted, cut off, an unknown method
        yield place, Refused(f"a zip that can't be read ({type(error).__name__})")


def cells_of(data: bytes) -> tuple[list[str], str]:
    """The sources of a notebook's code cells, and the number of its lesson if it tells it."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused(f"it is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is no notebook ({type(error).__name__})") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise Refused("it is no notebook: it has no cells")
    sources = [source_of(c) for c in cells if isinstance(c, dict) and c.get("cell_type") == "code"]
    metadata: Any = notebook.get("metadata")
    told = metadata.get("decodeloop") if isinstance(metadata, dict) else None
    name = told.get("lesson") if isinstance(told, dict) else None
    return sources, name.split("_")[0] if isinstance(name, str) else ""


def source_of(cell: dict[str, Any]) -> str:
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(x for x in source if isinstance(x, str))
    return source.encode("utf-8", "replace").decode() if isinstance(source, str) else ""


def by_platform(place: str) -> bool:
    """Whether a learning platform has given these names."""
    *folders, name = place.split("/")
    return bool(CANVAS.match(name)) or any(MOODLE.match(folder) for folder in folders)


def platform_number(place: str) -> str:
    """The number that a platform has given a student; empty where no name has it."""
    parts = [x for x in place.split("/") if x not in ("", "..", ".")]
    tops = [x for x in parts[:-1] if not x.endswith(".zip")][:1] or parts[-1:]
    tops += [x for x in parts[:1] if x.endswith(".zip")]  # handed in as a zip
    found = [match for part in tops for match in (MOODLE.match(part), CANVAS.match(part))]
    return next((match["user"] for match in found if match), "")


def student_of(place: str) -> str:
    """Who handed it in, by the names of the file and of the folders that it lies in."""
    *folders, name = [x for x in place.split("/") if x not in ("", "..", ".")] or [""]
    top = [folder for folder in folders if not folder.endswith(".zip")][:1] or [name]
    for kind in (MOODLE, CANVAS):  # what lies deeper has its name from a student
        if found := kind.match(top[0]):
            return found["name"]
    if folders and not folders[0].endswith(".zip"):
        return folders[0]
    if len(folders) > 1:
        return folders[1]
    if folders and (found := CANVAS.match(folders[0])):
        return found["name"]
    stem = (folders or [name])[0].removesuffix(".ipynb").removesuffix(".zip")
    return OF_LESSON.sub("", stem) or stem


def lesson_in(place: str, known: set[str]) -> str:
    """The number of the lesson whose name stands in the file's: ``01_attention``."""
    name = place.rpartition("/")[2]
    found = re.findall(r"(?<![0-9A-Za-z])([0-9A-Z]\d[a-z]?)_[a-z]", name)
    return found[-1] if found and found[-1] in known else ""


__all__ = ["Submission", "submissions"]
