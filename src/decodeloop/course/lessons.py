"""A lesson's source, and the two notebooks that it becomes.

`lessons/NN_topic.md` is a MyST Markdown notebook. The worked edition has the solutions, the lab
edition a stub in the place of each. Nothing is ever synced back.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from decodeloop.course.addresses import repository
from decodeloop.course.colab import install
from decodeloop.course.languages import EXERCISE, KINDS, code_of, language_of, original_of
from decodeloop.course.session import Edition
from decodeloop.errors import UserError, one_line
from decodeloop.exercises.exercise import Exercise
from decodeloop.exercises.finding import find

BUILDER = "1"  # part of every hash: a change to what the builder makes is a change to each notebook
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("write me")'
FRONT_MATTER = {"title": str, "part": str, "minutes": int, "needs": str, "builds": str}
EXERCISE_LINE = re.compile(r"^\{\{exercise (\w+)\}\}$", re.MULTILINE)


class LessonError(UserError):
    """A lesson that can't be built; the message names the file and the cell."""


@dataclass(frozen=True)
class Lesson:
    """One parsed lesson."""

    path: Path
    name: str  # 01_attention; of a translation de/01_attention
    title: str
    part: str
    minutes: int
    needs: str
    builds: str  # what the README's table says of it
    source_hash: str
    cells: tuple[Any, ...]  # nbformat cells, solutions and markers still in

    @property
    def number(self) -> str:
        return self.original.split("_")[0]

    @property
    def original(self) -> str:
        """The name without a language."""
        return self.name.rpartition("/")[2]


def source_hash(path: Path) -> str:
    """What is stored in a built notebook, to know later whether it is stale."""
    text = path.read_text("utf-8").replace("\r\n", "\n")  # git may have changed the line ends
    if language_of(path) and original_of(path).is_file():  # its cells lie in another file
        text += code_of(original_of(path).read_text("utf-8").replace("\r\n", "\n"))
    return hashlib.sha256(f"{BUILDER}\n{text}".encode()).hexdigest()[:16]


def edition_hash(path: Path, kind: Edition) -> str:
    """The hash of one edition of a lesson: in it is the address that a lab edition is brought
    from, so that whoever sets another has those built again."""
    extra = brought(path, kind)
    digest = source_hash(path)
    return hashlib.sha256(f"{digest}\n{extra}".encode()).hexdigest()[:16] if extra else digest


def brought(path: Path, kind: Edition) -> str:
    """The lines by which a lab edition installs the course on Colab; none without an address."""
    hosted = repository(original_of(path.resolve()).parent.parent) if kind == "lab" else None
    return install(f"https://github.com/{hosted}") + "\n" if hosted else ""


def read_lesson(path: Path) -> Lesson:
    """Parse and check a lesson.

    Raises:
        LessonError: the front matter lacks an entry, there is not exactly one top heading, an
            exercise is unknown or unmarked, or solution markers don't balance.
    """
    if language_of(path):
        from decodeloop.course.translating import read_translation

        return read_translation(path)
    import jupytext

    text = path.read_text("utf-8").replace("\r\n", "\n")
    front = front_matter(path, text)
    cells = jupytext.reads(text, fmt="md:myst").cells
    lesson = Lesson(path, path.stem, **front, source_hash=source_hash(path), cells=tuple(cells))
    check_headings(lesson)
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type == "code":
            without_solutions(cell.source, where(lesson, number, cell.source))
            if BEGIN in cell.source and "exercise" not in tags(cell):
                raise LessonError(
                    f"{where(lesson, number, cell.source)} has a solution but not the tag "
                    f"'exercise': add it."
                )
    return lesson


def front_matter(path: Path, text: str) -> dict[str, Any]:
    import yaml

    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        data = yaml.safe_load(match.group(1)) if match else {}
    except yaml.YAMLError as error:
        raise LessonError(f"{path}: its front matter is no YAML: {one_line(error)}.") from None
    found = data.get("lesson") if isinstance(data, dict) else None
    found = found if isinstance(found, dict) else {}
    for key, kind in FRONT_MATTER.items():
        if not isinstance(found.get(key), kind):
            raise LessonError(
                f"{path}: its front matter has lesson: {key}: {found.get(key)!r}: expected "
                f"{kind.__name__}; see CONTRIBUTING.md."
            )
    return {key: found[key] for key in FRONT_MATTER}


def check_headings(lesson: Lesson) -> None:
    tops = [
        line
        for cell in lesson.cells
        if cell.cell_type == "markdown"
        for line in prose_lines(cell.source)
        if line.startswith("# ")
    ]
    if len(tops) != 1:
        raise LessonError(f"{lesson.path} has {len(tops)} top headings {tops}: expected one.")


def prose_lines(markdown: str) -> Iterator[str]:
    """The lines of a Markdown text that are not inside a fenced block."""
    fenced = False
    for line in markdown.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced:
            yield line


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def where(lesson: Lesson, number: int, source: str) -> str:
    first = next((line for line in source.splitlines() if line.strip()), "")
    return f"{lesson.path}, cell {number} (“{first[:60]}”)"


def without_solutions(source: str, place: str) -> str:
    """Replace each solution by the stub, at its indentation.

    Raises:
        LessonError: a marker lacks its other half.
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines():
        marker = line.strip()
        if marker == BEGIN and not inside:
            inside = True
            kept.append(line[: len(line) - len(line.lstrip())] + STUB)
        elif marker == END and inside:
            inside = False
        elif marker in (BEGIN, END):
            raise LessonError(f"{place} has an unbalanced {marker!r}: each BEGIN needs its END.")
        elif not inside:
            kept.append(line)
    if inside:
        raise LessonError(f"{place} has a {BEGIN!r} that is never ended.")
    return "\n".join(kept)


def with_solutions(source: str) -> str:
    """Take the markers away and leave the solutions."""
    return "\n".join(x for x in source.splitlines() if x.strip() not in (BEGIN, END))


def exercise_line(exercise: Exercise, language: str = "") -> str:
    """What stands above an exercise, from its data."""
    return EXERCISE[language].format(
        name=exercise.name,
        kind=KINDS[language].get(exercise.kind, exercise.kind),
        dots="●" * exercise.difficulty + "○" * (3 - exercise.difficulty),
        minutes=exercise.minutes,
    )


def edition(lesson: Lesson, kind: Edition) -> Any:
    """The notebook of a lesson in one of its editions, not executed."""
    import nbformat

    first = nbformat.v4.new_code_cell(
        f"# Lesson {lesson.number}, {kind} edition, built from lessons/{lesson.name}.md\n"
        f"{brought(lesson.path, kind)}"
        f"from decodeloop.course import begin\n\n"
        f'begin("{lesson.original}", edition="{kind}")'
    )
    cells = [first]
    for number, original in enumerate(lesson.cells, start=1):
        cell = copy.deepcopy(original)
        place = where(lesson, number, cell.source)
        if cell.cell_type == "markdown":
            said = partial(announce, place, language_of(lesson.path))
            cell.source = EXERCISE_LINE.sub(said, cell.source)
        elif kind == "lab":
            cell.source = without_solutions(cell.source, place)
        else:
            cell.source = with_solutions(cell.source)
        cells.append(cell)
    name_cells(cells, lesson)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "decodeloop": {
                "lesson": lesson.original,
                "edition": kind,
                "source_hash": edition_hash(lesson.path, kind),
            },
        }
    )
    return notebook


def announce(place: str, language: str, match: re.Match[str]) -> str:
    try:
        return exercise_line(find(match.group(1)), language)
    except UserError as error:
        raise LessonError(f"{place}: {error}") from None


def name_cells(cells: list[Any], lesson: Lesson) -> None:
    """Ids by content, so that inserting a cell changes one id and a diff shows one cell."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        count = seen[digest] = seen.get(digest, 0) + 1
        cell.id = f"{lesson.number}-{digest}" + (f"-{count}" if count > 1 else "")
