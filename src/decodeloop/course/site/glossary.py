"""The glossary: terms with their meanings, and links to the lessons that build what they name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from decodeloop.course.site.pages import Lesson
from decodeloop.errors import UserError

TERM = re.compile(r"^\*\*(.+?)\*\* · (\w+)\n((?:.+\n?)+)", re.MULTILINE)


def terms(text: str) -> list[tuple[str, str, str]]:
    """Term, number of its lesson, and meaning, from paragraphs ``**term** · 06``, in the order of
    the alphabet.

    >>> terms("**KV cache** · 06\\nKeys and values\\nthat are kept.\\n")
    [('KV cache', '06', 'Keys and values that are kept.')]
    """
    found = [(term, number, " ".join(said.split())) for term, number, said in TERM.findall(text)]
    return sorted(found, key=lambda entry: entry[0].casefold())


def glossary_page(text: str, lessons: Sequence[Lesson]) -> str:
    """The page, in Markdown.

    Raises:
        UserError: a term stands there twice, or names a lesson that does not exist.
    """
    of = {lesson.number: lesson for lesson in lessons}
    found = terms(text)
    names = [term.casefold() for term, _, _ in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"the glossary explains {min(twice)!r} twice: keep one of them.")
    entries = []
    for term, number, said in found:
        if number not in of:
            raise UserError(
                f"the glossary sends {term!r} to lesson {number}, which does not exist: expected "
                f"one of {', '.join(of)}."
            )
        link = f"[{of[number].heading}](lessons/{of[number].name}.ipynb)"
        entries.append(f"{term}\n  {said} {link}\n\n")
    return (
        "# Glossary\n\nThe words of the field, and the lesson that builds what each one names. "
        "Letters such as `B` and `T` stand on the [cheat-sheet](cheat-sheet.md).\n\n"
        f"```{{glossary}}\n{''.join(entries)}```\n"
    )


__all__ = ["glossary_page", "terms"]
