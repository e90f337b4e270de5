"""Sphinx's sources out of a checkout: which page comes from what."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from decodeloop.course.addresses import repository
from decodeloop.course.building import lesson_paths, notebook_path
from decodeloop.course.cheatsheet import cheat_sheet_path
from decodeloop.course.contents import readme_path
from decodeloop.course.site import api, attention, bugs, notebooks, pages, places, timeline
from decodeloop.course.site.glossary import glossary_page
from decodeloop.course.site.texts import PICTURES, Text
from decodeloop.errors import UserError
from decodeloop.exercises.finding import all_exercises, numbers, of_lesson

TOOLS = Path("tools", "site")  # what Sphinx is told, how pages look, what checks them


def prepare(root: Path, source: Path) -> list[str]:
    """Write the sources of the site; what was there before is removed. Returns the lessons' names.

    Args:
        root: the checkout.
        source: the folder for the sources, such as ``build/site-source``.

    Raises:
        UserError: a notebook is missing or not of this course, or `source` holds something else.
    """
    paths = lesson_paths(root)
    if source.exists() and not (source / "conf.py").is_file():
        raise UserError(f"{source} holds no sources of a site: name a folder that may be replaced.")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copy(root / TOOLS / "conf.py", source)
    for folder in ("static", "templates"):
        shutil.copytree(root / TOOLS / folder, source / f"_{folder}")
    lessons = [pages.Lesson.of(path) for path in paths]
    hosted = repository(root)
    write_lessons(root, source, lessons, hosted)
    write_bugs(source / "bugs", lessons)
    write_api(source / "api")
    write_texts(root, source, lessons, hosted)
    shutil.copy(cheat_sheet_path(root), source)
    drawn = attention.figure(json.loads((root / TOOLS / "attention.json").read_text("utf-8")))
    mistakes = sum(len(exercise.mistakes) for exercise in all_exercises().values())
    write(source / "index.md", pages.index_page(lessons, paths, drawn, mistakes))
    write(source / "see.md", pages.see_page(lessons, drawn, timeline.figure()))
    write(source / "paths.md", pages.paths_page(paths))
    terms = (root / TOOLS / "glossary.md").read_text("utf-8")
    write(source / "glossary.md", glossary_page(terms, lessons))
    return [lesson.name for lesson in lessons]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", newline="\n")


def write_lessons(
    root: Path, source: Path, lessons: list[pages.Lesson], hosted: str | None
) -> None:
    """The page of each lesson, its lab edition to download, and the table of all."""
    for lesson in lessons:
        worked, lab = (
            read_notebook(notebook_path(root, lesson.name, k)) for k in ("worked", "lab")
        )
        badges = notebooks.lesson_badges(lesson.minutes, lesson.part, lesson.needs, worked)
        links = places.lesson_links(lesson.name, hosted, lesson.number in numbers().values())
        page = notebooks.page(worked, lab, badges, links)
        write(source / "lessons" / f"{lesson.name}.ipynb", json.dumps(page, ensure_ascii=False))
        (source / "lab").mkdir(exist_ok=True)
        shutil.copy(notebook_path(root, lesson.name, "lab"), source / "lab")
    write(source / "lessons" / "index.md", pages.lessons_page(lessons))


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as JSON.

    Raises:
        UserError: there is none.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} is no notebook: run 'make build', then try again.") from None


def write_bugs(folder: Path, lessons: list[pages.Lesson]) -> None:
    """The mistakes that `check` knows: a page a lesson, and one of all."""
    of = set(numbers().values())
    known = [(x, list(of_lesson(x.number).values())) for x in lessons if x.number in of]
    for lesson, exercises in known:
        text = bugs.lesson_page(lesson.heading, f"../lessons/{lesson.name}", exercises)
        write(folder / f"{lesson.name}.md", text)
    table = [(lesson.name, lesson.heading, exercises) for lesson, exercises in known]
    write(folder / "index.md", bugs.index_page(table))


def write_api(folder: Path) -> None:
    for room in api.rooms():
        write(folder / f"{api.page_name(room)}.rst", api.room_page(room))
    write(folder / "index.md", api.index_page())


def write_texts(root: Path, source: Path, lessons: list[pages.Lesson], hosted: str | None) -> None:
    """The README and what lies in docs/, and the pictures that they show."""
    readme = readme_path(root).relative_to(root).as_posix()
    docs = [path.relative_to(root).as_posix() for path in docs_of(root)]
    shown = {f"notebooks/{x.name}.ipynb": f"lessons/{x.name}.ipynb" for x in lessons}
    shown |= {cheat_sheet_path(root).relative_to(root).as_posix(): cheat_sheet_path(root).name}
    shown |= {readme: "about.md"} | {path: path for path in docs}
    (source / PICTURES).mkdir(exist_ok=True)
    for path in (readme, *docs):
        text = Text(path, shown[path], shown, partial(places.file_address, hosted))
        said = text.shown((root / path).read_text("utf-8"))
        if path == readme:  # the first page has its title
            said = re.sub(r"\A# .*", "# About", said)
            said += "\n" + pages.toctree([path.removesuffix(".md") for path in docs])
        write(source / shown[path], said)
        for picture in text.pictures:
            shutil.copy(root / picture, source / PICTURES)


def docs_of(root: Path) -> list[Path]:
    """What the README leads to for those who want more."""
    return sorted((root / "docs").glob("*.md"))


__all__ = ["prepare"]
