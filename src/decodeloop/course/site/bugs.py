"""*check knows your bug*: the named mistakes of every exercise, as a page a lesson."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from decodeloop.exercises.exercise import Exercise

TITLE = "check knows your bug"
INTRODUCTION = """`check` runs your answer beside an independent oracle. Where it is wrong, it
compares what came with what known mistakes give, and tells you which one it is. These are the
mistakes that it knows, and what it says of each. Every one of them is tried by the project's tests,
written in two ways."""


def cell(text: str) -> str:
    """A text as one cell of a Markdown table: in one line, its bars no borders.

    >>> cell("a | b,\\n c")
    'a \\\\| b, c'
    """
    return " ".join(text.split()).replace("|", "\\|")


def exercise_section(exercise: Exercise, page: str) -> str:
    """The heading of an exercise, a link to it, and the table of its mistakes.

    Args:
        page: of the lesson, relative to this one, without an ending.
    """
    count = len(exercise.mistakes)
    rows = "".join(f"| {cell(m.name)} | {cell(m.hint)} |\n" for m in exercise.mistakes)
    table = f"\n| mistake | what `check` says |\n| --- | --- |\n{rows}" if rows else ""
    return (
        f"## `{exercise.name}`\n\n"
        f"{count} named {'mistake' if count == 1 else 'mistakes'} · "
        f'<a href="{page}.html#exercise-{exercise.name}">the exercise</a>\n{table}'
    )


def lesson_page(heading: str, page: str, exercises: Iterable[Exercise]) -> str:
    """All exercises of a lesson, in Markdown."""
    sections = "\n".join(exercise_section(exercise, page) for exercise in exercises)
    return f"# {heading}: named mistakes\n\n{sections}"


def index_page(lessons: Sequence[tuple[str, str, Sequence[Exercise]]]) -> str:
    """The table of lessons with how many mistakes are known in each, in Markdown.

    Args:
        lessons: name, heading and exercises of each lesson that has any.
    """
    rows, total, written = [], 0, 0
    for name, heading, exercises in lessons:
        count = sum(len(exercise.mistakes) for exercise in exercises)
        names = " · ".join(f"`{exercise.name}`" for exercise in exercises)
        rows.append(f"| [{cell(heading)}]({name}.md) | {count} | {names} |\n")
        total, written = total + count, written + len(exercises)
    pages = "\n".join(f"{heading} <{name}>" for name, heading, _ in lessons)
    return (
        f"# {TITLE}\n\n{INTRODUCTION}\n\n**{total:,} mistakes of {written} exercises.**\n\n"
        f"| lesson | mistakes | exercises |\n| --- | --- | --- |\n{''.join(rows)}\n"
        f"```{{toctree}}\n:hidden:\n{pages}\n```\n"
    )


__all__ = ["TITLE", "index_page", "lesson_page"]
