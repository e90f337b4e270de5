"""Drawn cases that tell right from wrong.

An answer may hold the public cases by heart, and be one of the mistakes that are known by name on
all others. So cases are drawn until those are wrong on one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from decodeloop.course.judge import compare
from decodeloop.course.plain import plain
from decodeloop.course.trying import outcome
from decodeloop.exercises.exercise import Case, Exercise, Mistake
from decodeloop.exercises.fresh import COUNT, fresh_cases

FURTHER = 100  # cases that are looked at, of which only those are kept that tell


def telling_cases(exercise: Exercise, seed: int) -> list[Case]:
    """Cases drawn by a seed, and of further ones those on which a named mistake is wrong that was
    right on all before; the same for the same seed. A mistake that differs on none of them, since
    it needs an input that is hardly ever drawn, is left to the public cases.

    Mistakes are tried in a fork of this process: some of them write into what they are given.
    """
    cases = fresh_cases(exercise, seed)
    if not cases or not exercise.mistakes:
        return cases
    further = fresh_cases(exercise, seed, COUNT + FURTHER)[len(cases) :]
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, json.dumps(telling(exercise, cases, further)).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return cases + [further[i] for i in (json.loads(told) if told else [])]


def telling(exercise: Exercise, cases: Sequence[Case], further: Sequence[Case]) -> list[int]:
    """Which of the further cases show a mistake that all before let through."""
    expected = [plain(case.expected()) for case in (*cases, *further)]
    left = [
        mistake
        for mistake in exercise.mistakes
        if all(passes(exercise, mistake, *each) for each in zip(cases, expected, strict=False))
    ]
    kept = []
    for i, (case, want) in enumerate(zip(further, expected[len(cases) :], strict=True)):
        if not left:
            break
        still = [mistake for mistake in left if passes(exercise, mistake, case, want)]
        if len(still) < len(left):
            kept.append(i)
            left = still
    return kept


def passes(exercise: Exercise, mistake: Mistake, case: Case, expected: Any) -> bool:
    """Whether a mistake is right on a case."""
    alone = replace(exercise, cases=(case,), mistakes=())
    return compare(alone, [outcome(mistake.wrong, case)], [expected]).state == "right"


__all__ = ["telling", "telling_cases"]
