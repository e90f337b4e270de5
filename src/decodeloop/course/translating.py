"""A translated lesson: prose of its own around the cells of its original.

A line ``{{cell}}`` stands for the next code cell of the original; ``{{cell: words}}`` gives the
words for who can't see its figure.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decodeloop.course.languages import known, language_of, name_of, original_of
from decodeloop.course.lessons import Lesson, LessonError, front_matter, read_lesson, source_hash

CELL_LINE = re.compile(r"^\{\{cell(?:: (.+))?\}\}$")
FRONT_MATTER = re.compile(r"---\n.*?\n---\n", re.DOTALL)


def read_translation(path: Path) -> Lesson:
    """Parse a translation, and put the cells of its original into it.

    Raises:
        LessonError: there is no original, or the two don't have the same cells.
    """
    if not original_of(path).is_file():
        raise LessonError(f"{path} is a translation of {original_of(path)}, which does not exist.")
    known(language_of(path))
    text = path.read_text("utf-8").replace("\r\n", "\n")
    front = front_matter(path, text)
    original = read_lesson(original_of(path))
    if front["minutes"] != original.minutes:
        raise LessonError(
            f"{path} says {front['minutes']} minutes, its original {original.minutes}."
        )
    code = [cell for cell in original.cells if cell.cell_type == "code"]
    cells = list(filled(path, FRONT_MATTER.sub("", text, count=1), code))
    return Lesson(path, name_of(path), **front, source_hash=source_hash(path), cells=tuple(cells))


def filled(path: Path, body: str, code: list[Any]) -> Iterator[Any]:
    """The cells of a translation: prose as it stands, and those of its original in their order."""
    import nbformat

    prose: list[str] = []
    taken = 0
    for line in [*body.splitlines(), "+++"]:
        place = CELL_LINE.match(line)
        if not place and line != "+++":
            prose.append(line)
            continue
        if written := "\n".join(prose).strip():
            yield nbformat.v4.new_markdown_cell(written)
        prose = []
        if place:
            taken += 1
            if taken <= len(code):
                yield with_words(path, code[taken - 1], place[1])
    if taken != len(code):
        raise LessonError(
            f"{path} has {taken} lines {{{{cell}}}}: expected {len(code)}, one for each code cell "
            f"of its original."
        )


def with_words(path: Path, original: Any, words: str | None) -> Any:
    """A cell of the original; the words for its figure are those of the translation."""
    cell = copy.deepcopy(original)
    image = cell.metadata.get("mystnb", {}).get("image")
    if (image is None) != (words is None):
        first = cell.source.splitlines()[0]
        expected = "no words" if image is None else "{{cell: words}}, for who can't see its figure"
        raise LessonError(f"{path}: the cell that begins with {first!r} needs {expected}.")
    if image is not None:
        image["alt"] = words
    return cell
