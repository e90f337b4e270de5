"""Lessons in other languages: where they lie, and what belongs to their originals.

`lessons/de/00_start_here.md` is the German prose of `lessons/00_start_here.md`. The cells are the
original's own, so they can't differ.
"""

from __future__ import annotations

import re
from pathlib import Path

from decodeloop.errors import UserError

CODE_CELL = re.compile(r"^```\{code-cell\}.*?^```$", re.MULTILINE | re.DOTALL)
TWO_LETTERS = re.compile(r"[a-z]{2}")

# What stands above an exercise; its kind in words.
EXERCISE = {
    "": (
        "**Exercise `{name}`** · {kind} · difficulty {dots} · about {minutes} minutes · stuck? "
        '`hint("{name}")`'
    ),
    "de": (
        "**Aufgabe `{name}`** · {kind} · Schwierigkeit {dots} · etwa {minutes} Minuten · "
        'festgefahren? `hint("{name}")`'
    ),
}
KINDS = {"": {}, "de": {"core": "Kern", "stretch": "Kür"}}


def language_of(path: Path) -> str:
    """The language of a lesson's file, ``de``; nothing for an original."""
    folder = path.resolve().parent
    inside = folder.parent.name == "lessons" and TWO_LETTERS.fullmatch(folder.name)
    return folder.name if inside else ""


def original_of(path: Path) -> Path:
    """The lesson that a file is a translation of; an original's is itself."""
    return path.parent.parent / path.name if language_of(path) else path


def translation_paths(root: Path) -> list[Path]:
    """Every translated lesson, by language."""
    return sorted((root / "lessons").glob("[a-z][a-z]/[0-9AP]*_*.md"))


def name_of(path: Path) -> str:
    """What a lesson is called: ``00_start_here``, or ``de/00_start_here``."""
    language = language_of(path)
    return f"{language}/{path.stem}" if language else path.stem


def code_of(text: str) -> str:
    """The code cells of a lesson's source, with their tags."""
    return "\n".join(CODE_CELL.findall(text))


def known(language: str) -> str:
    """The same language, if the course says its words.

    Raises:
        UserError: it does not.
    """
    if language not in EXERCISE:
        raise UserError(
            f"lessons/{language}: the course has no words in this language: add them to EXERCISE "
            f"and KINDS in course/languages.py."
        )
    return language
