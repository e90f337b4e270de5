"""How good a learner's guesses were: each beside what was measured, as a factor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decodeloop.course.predictions import significant

CLOSE = 2.0  # a guess within this factor is a good one


@dataclass(frozen=True)
class Guess:
    """One guess that met its measurement."""

    lesson: str  # 06_kv_cache
    name: str
    guess: float
    measured: float
    unit: str

    @property
    def ratio(self) -> float | None:
        """Guessed / measured; None where no factor tells how far apart the two are."""
        numbers = (self.guess, self.measured)
        if not all(math.isfinite(x) and x != 0 for x in numbers):
            return None
        ratio = self.guess / self.measured
        return ratio if ratio > 0 and math.isfinite(ratio) else None

    @property
    def factor(self) -> float | None:
        """How many times too much or too little, at least 1."""
        return None if self.ratio is None else max(self.ratio, 1 / self.ratio)


def guesses(noted: Mapping[str, Any]) -> list[Guess]:
    """What a progress file says of predictions, in the order of the lessons."""
    found = [
        Guess(
            entry["lesson"],
            key.removeprefix(f"{entry['lesson']}: "),
            entry["guess"],
            entry["measured"],
            entry["unit"],
        )
        for key, entry in noted.items()
    ]
    return sorted(found, key=lambda guess: (guess.lesson, guess.name))


def summary(made: list[Guess]) -> str:
    """One paragraph about all of them.

    >>> summary([Guess("01", "a", 30.0, 10.0, "s"), Guess("01", "b", 8.0, 10.0, "s")])
    '2 guesses: 1 within a factor 2, half of them within 2.1; 1 too low, 1 too high.'
    """
    factors = [g.factor for g in made if g.factor is not None]
    if not factors:
        return f"{counted(made)}, and none that can be set beside its measurement as a factor."
    close = sum(factor <= CLOSE for factor in factors)
    low = sum(g.ratio < 1 for g in made if g.ratio is not None)
    high = sum(g.ratio > 1 for g in made if g.ratio is not None)
    beside = len(made) - len(factors)
    return (
        f"{counted(made)}: {close} within a factor {CLOSE:g}, half of them within "
        f"{significant(statistics.median(factors), 2)}; {low} too low, {high} too high"
        + (f"; {beside} without a factor." if beside else ".")
    )


def counted(made: list[Guess]) -> str:
    return f"{len(made)} {'guess' if len(made) == 1 else 'guesses'}"
