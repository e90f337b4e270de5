"""Verdicts on claims: the learner's before the evidence, the course's after it, and both in one
table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import EllipsisType

from decodeloop.errors import UserError

OUTCOMES = ("holds", "holds with a condition", "wrong")

Claim = int | str


class Verdicts:
    """A book of verdicts on some claims.

    >>> book = Verdicts([1, "2a"])
    >>> book.yours(1, "condition", "on Sundays only")
    ● claim 1: you say: holds with a condition (on Sundays only)
    >>> book.ours(1, "holds", "as it says")
    <BLANKLINE>
    claim 1: you said: holds with a condition (on Sundays only); we say: HOLDS: as it says
    """

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = list(claims)
        self._yours: dict[Claim, tuple[str, str]] = {}
        self._ours: dict[Claim, tuple[str, str]] = {}

    def yours(self, claim: Claim, outcome: str | EllipsisType, which: str = "") -> None:
        """Your verdict, before the evidence; `which` condition, if you like. Dots: none yet."""
        word = str(outcome).lower().strip()
        word = "holds with a condition" if word == "condition" else word
        if claim not in self.claims:
            known = ", ".join(map(str, self.claims))
            print(f"○ there is no claim {claim!r} here, only {known}")
        elif word in OUTCOMES:
            self._yours[claim] = (word, f" ({which})" if which else "")
            print(f"● claim {claim}: you say: {''.join(self._yours[claim])}")
        else:
            self._yours.pop(claim, None)
            given = "no verdict yet" if outcome is ... else f"{outcome!r} is none of the three"
            print(f'○ claim {claim}: {given}. Write "holds", "condition" or "wrong".')

    def ours(self, claim: Claim, outcome: str, finding: str) -> None:
        """The course's verdict, after the evidence; kept for the table.

        Raises:
            UserError: the claim is not in this book, or the outcome is none of the three.
        """
        if claim not in self.claims or outcome not in OUTCOMES:
            raise UserError(
                f"verdict {outcome!r} on claim {claim!r}: expected one of {', '.join(OUTCOMES)} on "
                f"one of the claims {', '.join(map(str, self.claims))}."
            )
        self._ours[claim] = (outcome, finding)
        mine = self._yours.get(claim)
        said = f"you said: {''.join(mine)}; we say: " if mine else ""
        print(f"\nclaim {claim}: {said}{outcome.upper()}: {finding}")

    def table(self) -> None:
        """Print all verdicts; below each the learner's, where it is another; and a count."""
        for claim, (outcome, finding) in self._ours.items():
            print(f"{claim!s:>3}  {outcome:<23} {finding}")
            mine = self._yours.get(claim)
            if mine and mine[0] != outcome:
                print(f"     you said: {''.join(mine)}")
        found = Counter(outcome for outcome, _ in self._ours.values())
        print("\n" + ", ".join(f"{found[outcome]} × {outcome}" for outcome in OUTCOMES))

    @property
    def judged(self) -> list[Claim]:
        """The claims on which there is evidence, in the order in which it came."""
        return list(self._ours)


__all__ = ["OUTCOMES", "Verdicts"]
