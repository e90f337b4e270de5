"""Mistakes a second time, in words that the tables of `answers/lesson_NN.py` use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from decodeloop.exercises.edits import BadEdit, Edited
from decodeloop.exercises.exercise import Candidate, Mistake


def again(mistakes: Iterable[Mistake], right: Candidate) -> dict[str, Candidate]:
    """The same edits of another right answer: those whose texts stand in that one, too."""
    found: dict[str, Candidate] = {}
    for mistake in mistakes:
        if isinstance(mistake.wrong, Edited):
            form = Edited(right, mistake.name, mistake.wrong.changes)
            try:
                _ = form.compiled
            except BadEdit:
                continue
            found[mistake.name] = form
    return found


__all__: Sequence[str] = ["again"]
