"""Slides for the front of a class, made from a worked notebook: figures, formulas and questions.

What is on them stands in the lesson already: the sentences that it prints bold, its display
formulas, its figures, its exercises and its quiz. Code and walls of text stay in the notebook. What
only the speaker needs is in the notes (the key S).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decodeloop.course.lessons import Lesson, prose_lines
from decodeloop.course.teaching import exercises_of, minutes_in_class, questions
from decodeloop.exercises.exercise import Exercise

BOLD = re.compile(r"\*\*(.+?)\*\*")
FORMULA = re.compile(r"\$\$.+?\$\$", re.DOTALL)
SENTENCE = 35  # characters from which something bold is more than a term
MOST_WORDS = 60  # on a slide
ENDS = ("Recap", "Stretch", "Quiz", "Sources")


@dataclass(frozen=True)
class Slide:
    """One of them: Markdown, perhaps a picture, and what is for the speaker alone."""

    title: str
    text: str = ""
    picture: str = ""  # PNG, in base 64
    notes: str = ""


def slides(lesson: Lesson, notebook: Any) -> list[Slide]:
    """All slides of a lesson, in its order.

    Args:
        notebook: its worked edition, as nbformat reads it.
    """
    exercises = {x.name: x for x in exercises_of(lesson)}
    made, title = [opening(lesson)], lesson.title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            title = heading(cell.source) or title
            if title not in ENDS:
                made += said(title, cell.source)
        elif "exercise" in cell.metadata.get("tags", []):
            made += [yours(x) for name, x in exercises.items() if defines(cell.source, name)]
        else:
            made += pictures(title, cell)
    asked = enumerate(questions(lesson), start=1)
    quiz = [Slide(f"Question {number}", q.text, notes=q.answer) for number, q in asked]
    return [*made, *recap(notebook), *quiz]


def opening(lesson: Lesson) -> Slide:
    text = f"You build {lesson.builds}\n\n{lesson.minutes} minutes · needs {lesson.needs}"
    return Slide(f"{lesson.number} · {lesson.title}", text)


def heading(source: str) -> str:
    """The section that begins in a cell, if one does."""
    lines = [line for line in prose_lines(source) if line.startswith("## ")]
    return lines[0].removeprefix("## ") if lines else ""


def said(title: str, source: str) -> Iterator[Slide]:
    """What a text prints bold, and its formulas: one slide, or several if that is much."""
    if source.startswith("# "):
        return  # the opening has it
    prose = "\n".join(line for line in prose_lines(source) if not line.startswith("#"))
    prose = re.sub(r"<details>.*?</details>", "", prose, flags=re.DOTALL)
    parts = [found for found in BOLD.findall(FORMULA.sub("", prose)) if is_sentence(found)]
    formulas = FORMULA.findall(prose)
    for part in parts:
        yield Slide(title, f"**{part}**", notes=first_words(prose))
    for formula in formulas:
        yield Slide(title, formula, notes=first_words(prose))


def is_sentence(bold: str) -> bool:
    """Whether it stands by itself, and is no term, or the end of another."""
    whole = bold[:1].isupper() and bold.endswith((".", "?", "!"))
    return whole and len(bold) >= SENTENCE


def first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:MOST_WORDS]) + (" …" if len(words) > MOST_WORDS else "")


def defines(source: str, name: str) -> bool:
    return re.search(rf"^(async )?(def|class) {name}\b", source, re.MULTILINE) is not None


def yours(exercise: Exercise) -> Slide:
    """An exercise, without its solution; how people go wrong is in the notes."""
    text = f"# `{exercise.name}`\n\n{minutes_in_class(exercise)} minutes, in pairs"
    text += " · for the fast ones" if exercise.kind == "stretch" else ""
    known = "; ".join(mistake.name for mistake in exercise.mistakes[:5])
    return Slide("You write it", text, notes=f"What goes wrong: {known}.")


def pictures(title: str, cell: Any) -> Iterator[Slide]:
    """The figures of a cell."""
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    for output in cell.get("outputs", ()):
        if png := output.get("data", {}).get("image/png"):
            yield Slide(title, picture="".join(png.split()), notes=alt)


def recap(notebook: Any) -> Iterator[Slide]:
    """The points of the recap, two on a slide, or one where two are a wall of text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and heading(cell.source) == "Recap":
            points = [x for x in prose_lines(cell.source) if x.startswith("- ")]
            while points:
                both = "\n".join(points[:2])
                text = both if len(both.split()) <= MOST_WORDS else points[0]
                yield Slide("Recap", text)
                points = points[len(text.splitlines()) :]


def as_notebook(made: Sequence[Slide]) -> Any:
    """The slides as a notebook, each with its kind in the metadata, as nbconvert reads it."""
    import nbformat

    cells = []
    for slide in made:
        picture = f"\n\n![{alt_of(slide)}](data:image/png;base64,{slide.picture})"
        text = f"## {slide.title}\n\n{slide.text}{picture if slide.picture else ''}"
        cells.append(kind(nbformat.v4.new_markdown_cell(text), "slide"))
        if slide.notes:
            cells.append(kind(nbformat.v4.new_markdown_cell(slide.notes), "notes"))
    for number, cell in enumerate(cells):
        cell.id = f"slide-{number}"
    return nbformat.v4.new_notebook(cells=cells)


def kind(cell: Any, what: str) -> Any:
    cell.metadata["slideshow"] = {"slide_type": what}
    return cell


def alt_of(slide: Slide) -> str:
    return re.sub(r"[\[\]]", "", slide.notes)


STYLE = """<style>
.reveal section img { width: 92%; max-height: 68vh; object-fit: contain; background: white; }
.reveal .MathJax_Display, .reveal mjx-container { font-size: 70%; }
.reveal h2 { font-size: 1.1em; opacity: 0.75; }
.reveal p, .reveal li { font-size: 0.9em; line-height: 1.45; }
</style>"""


def page(made: Sequence[Slide], title: str, assets: str = "") -> str:
    """A presentation in one page, by nbconvert and reveal.js.

    Args:
        assets: where reveal.js and MathJax lie, ``assets/reveal.js`` and
            ``assets/mathjax/MathJax.js``; from the network if not given.
    """
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(reveal_scroll=True, exclude_input_prompt=True)
    if assets:
        exporter.reveal_url_prefix = f"{assets}/reveal.js"
        exporter.mathjax_url = f"{assets}/mathjax/MathJax.js?config=TeX-AMS_CHTML-full"
        exporter.require_js_url = exporter.jquery_url = ""
    notebook = as_notebook(made)
    notebook.metadata["title"] = title
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    return html.replace("</head>", f"{STYLE}\n</head>", 1)


def write_slides(lessons: Sequence[Lesson], root: Path, out: Path, assets: str = "") -> list[Path]:
    """A page for each lesson whose worked edition is there; raises `OSError` where it can't be."""
    import nbformat

    written = []
    out.mkdir(parents=True, exist_ok=True)
    for lesson in lessons:
        source = root / "notebooks" / f"{lesson.name}.ipynb"
        if source.is_file():
            made = slides(lesson, nbformat.read(source, as_version=4))
            path = out / f"{lesson.name}.slides.html"
            path.write_text(page(made, f"{lesson.number} · {lesson.title}", assets), "utf-8")
            written.append(path)
    return written


__all__ = ["Slide", "page", "slides", "write_slides"]
