"""The pages that are no notebooks: the first one, the lessons, the paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from decodeloop.course.contents import HEAD
from decodeloop.course.lessons import front_matter
from decodeloop.course.paths import WAYS, hours, legs

SENTENCE = """You build a decoder by hand, from a dot product to a streaming chat, and a real
135M-parameter model speaks through it on your laptop, no GPU needed. Then you measure what
inference costs, and make it fast."""
COMMANDS = """```bash
make lab     # install, fetch the model once, check this machine, open JupyterLab at lesson 00
make test    # everything that CI runs: all tests, all notebooks
```"""
PROMISES = """- **Every exercise is checked, and [check knows your bug](bugs/index.md).** It says
  *right*, or which of {mistakes:,} known mistakes it was.
- **Every number is computed.** You predict it first, then measure, then find out which assumption
  broke.
- **Every notebook is a test.** What you read here is the output of its last run."""
REFERENCE = ("see", "bugs/index", "cheat-sheet", "glossary", "api/index", "about")


@dataclass(frozen=True)
class Lesson:
    """What the site says of a lesson; all of it is in its front matter."""

    name: str  # 01_attention
    title: str
    part: str
    minutes: int
    needs: str
    builds: str

    @classmethod
    def of(cls, path: Path) -> Lesson:
        """The lesson of this file.

        Raises:
            LessonError: its front matter is not as it should be.
        """
        text = path.read_text("utf-8").replace("\r\n", "\n")
        return cls(path.stem, **front_matter(path, text))

    @property
    def number(self) -> str:
        return self.name.split("_")[0]

    @property
    def heading(self) -> str:
        return f"{self.number} · {self.title}"


def toctree(entries: Sequence[str], caption: str = "") -> str:
    """What Sphinx takes order and navigation from; the reader sees none of it in the text."""
    said = f":caption: {caption}\n" if caption else ""
    lines = "\n".join(entries)
    return f"```{{toctree}}\n:hidden:\n{said}{lines}\n```\n"


def parts(lessons: Sequence[Lesson]) -> list[tuple[str, list[Lesson]]]:
    """The lessons under their parts, in their order."""
    grouped = groupby(lessons, key=lambda lesson: lesson.part.split(":")[0])
    return [(part[:1].upper() + part[1:], list(some)) for part, some in grouped]


def row(lesson: Lesson, folder: str = "") -> str:
    link = f"[{lesson.number}]({folder}{lesson.name}.ipynb)"
    return f"| {link} | {lesson.title} | {lesson.minutes} | {lesson.builds} |\n"


def lessons_page(lessons: Sequence[Lesson]) -> str:
    """All lessons by part, in Markdown."""
    total = sum(lesson.minutes for lesson in lessons)
    sections = "\n".join(
        f"## {part}\n\n{HEAD}{''.join(map(row, some))}" for part, some in parts(lessons)
    )
    trees = "\n".join(toctree([x.name for x in some], part) for part, some in parts(lessons))
    return (
        f"# Lessons\n\n{len(lessons)} lessons, {round(total / 60)} hours in all; "
        "[three paths](../paths.md) take a part of them. Here you read each as it ran, with "
        "solutions hidden until you ask. To write your own, download its lab notebook, or run "
        f"`make lab`.\n\n{sections}\n{trees}"
    )


def path_summaries(paths: Sequence[Path]) -> str:
    """The paths in a line each, with their hours."""
    return "\n".join(
        f"- **[{way.title}](paths.md#{way.name})**, {hours(legs(way, paths))} hours: "
        f"{way.leads_to}."
        for way in WAYS.values()
    )


def paths_page(paths: Sequence[Path]) -> str:
    """Each path with its lessons, in Markdown.

    Args:
        paths: the files of all lessons.
    """
    sections = []
    for way in WAYS.values():
        rows = "".join(
            f"| [{leg.number}](lessons/{leg.name}.ipynb) | {leg.title}"
            f"{', up to its pause' if leg.to_pause else ''} | {leg.minutes} |\n"
            for leg in legs(way, paths)
        )
        sections.append(
            f"({way.name})=\n## {way.title}\n\nAbout {hours(legs(way, paths))} hours. You end with "
            f"{way.leads_to}. `decodeloop progress --path {way.name}` shows how far you are.\n\n"
            f"| | lesson | minutes |\n| --- | --- | --- |\n{rows}"
        )
    return "# Three paths\n\nEach lesson says how long it takes; the hours are their sum.\n\n" + (
        "\n".join(sections)
    )


def index_page(lessons: Sequence[Lesson], paths: Sequence[Path], drawn: str, mistakes: int) -> str:
    """The first page, in Markdown.

    Args:
        drawn: the attention of a sentence, in HTML.
        mistakes: how many of them `check` knows by name.
    """
    rows = "".join(row(lesson, "lessons/") for lesson in lessons)
    return (
        f"# decodeloop: LLM inference from scratch, on your laptop's CPU\n\n{SENTENCE}\n\n"
        f"{drawn}\n\n## Two commands\n\n{COMMANDS}\n\nThey need Python 3.11 or newer, git and "
        f"make. [About](about.md) has the same for Windows and conda.\n\n"
        f"{PROMISES.format(mistakes=mistakes)}\n\n"
        f"## Three paths\n\n{path_summaries(paths)}\n\n## Lessons\n\n{HEAD}{rows}\n"
        + toctree(["lessons/index", "paths", *REFERENCE])
    )


def link_to(lessons: Sequence[Lesson], number: str) -> str:
    """A link to the lesson of this number, or plain words where there is none."""
    names = [lesson.name for lesson in lessons if lesson.number == number]
    return f"[Lesson {number}](lessons/{names[0]}.ipynb)" if names else f"Lesson {number}"


def see_page(lessons: Sequence[Lesson], attention: str, timeline: str) -> str:
    """The two pieces that answer to a touch, in Markdown."""
    return (
        "# Two things to touch\n\n## Where a token looks\n\nThe weights are those of a real model, "
        "SmolLM2-135M-Instruct, on this sentence. "
        f"{link_to(lessons, '01')} builds what makes them.\n\n{attention}\n\n"
        "## What a scheduler decides\n\nEight people ask a server, on a clock that jumps from step "
        "to step. The scheduler is the one of the package. "
        f"{link_to(lessons, '14')} builds it.\n\n{timeline}\n"
    )


__all__ = ["Lesson", "index_page", "lessons_page", "paths_page", "see_page", "toctree"]
