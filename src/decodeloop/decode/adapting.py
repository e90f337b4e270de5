"""How many tokens to draft next, from what became of the last ones: none, where it would not pay.

Built in lesson 22.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from decodeloop.decode.acceptance import best_k
from decodeloop.errors import UserError

# What a step of 1, 2, … 8 tokens costs, in steps of one: by the compiled decoder with fp32 weights.
# `measure.few_token_costs` measures it.
STEP_COSTS = (1.0, 1.2, 1.45, 1.55, 1.9, 2.1, 2.4, 2.5)
FADE = 0.9  # what a trial counts for after the next one
FIRST_WAIT, LONGEST_WAIT = 8, 64  # rounds without a draft until one is tried again


@dataclass
class Record:
    """Trials of one kind of proposal: whether a drafted token stayed, if those before it did."""

    stayed: float  # at first, as if so many of so many had
    tried: float

    @property
    def alpha(self) -> float:
        return self.stayed / self.tried

    def add(self, stayed: bool) -> None:
        self.stayed, self.tried = FADE * self.stayed + stayed, FADE * self.tried + 1


class AdaptiveLength:
    """Chooses how many tokens of a proposal are checked, for each kind of proposal by itself.

    The share of drafted tokens that stay is estimated from those whose fate is known: all that
    stayed, and the first that did not. (Of those behind it nothing is known: accepted over proposed
    is not α.) Then `best_k` says how many pay. A proposal that costs nothing is looked at even if
    none of its tokens is checked: the token that comes shows whether the first was right. One that
    costs something is left out then, and tried again after 8 rounds, 16, 32, …

    Args:
        most: tokens that are drafted at most.
        step_costs: what a step of 1, 2, … tokens costs; beyond the last of them none are drafted.

    >>> length = AdaptiveLength(most=3)
    >>> for _ in range(5):
    ...     length.tell("copied", [7, 8], [7, 8, 9])
    ...     length.tell("guessed", [7, 8], [4])
    >>> length.of("copied"), length.of("guessed")
    (3, 0)
    """

    def __init__(self, most: int = 7, step_costs: Sequence[float] = STEP_COSTS) -> None:
        if most < 1:
            raise UserError(f"most is {most} tokens: expected at least 1 that may be drafted.")
        self.step_costs = tuple(step_costs[: most + 1])
        best_k(0.5, self.step_costs)  # says what is wrong with them
        self.most = len(self.step_costs) - 1
        self.begin()

    def begin(self, draft_cost: float = 0.0) -> None:
        """Forget what was told: another text begins, and a drafted token costs so many steps."""
        self.draft_cost = draft_cost
        self.records: dict[Hashable, Record] = {}
        self.wait, self.idle = FIRST_WAIT, 0

    def record(self, kind: Hashable) -> Record:
        # who pays for a draft expects more of it, and would never try one with even chances
        first = (1.0, 2.0) if self.draft_cost == 0 else (4.0, 5.0)
        return self.records.get(kind) or Record(*first)

    def of(self, kind: Hashable) -> int:
        """How many tokens of a proposal of this kind to check: 0 to `most`."""
        return best_k(self.record(kind).alpha, self.step_costs, self.draft_cost)

    def before_drafting(self) -> int:
        """How many tokens to ask for. All, where they cost nothing; else what has paid of late,
        or one, to try again."""
        if self.draft_cost == 0:
            return self.most
        if k := max(self.of(kind) for kind in self.records or (None,)):
            self.wait, self.idle = FIRST_WAIT, 0
            return k
        self.idle += 1
        if self.idle < self.wait:
            return 0
        self.wait, self.idle = min(2 * self.wait, LONGEST_WAIT), 0
        return 1

    def tell(self, kind: Hashable, drafted: Sequence[int], came: Sequence[int]) -> None:
        """These were proposed, whether checked or not, and those came: count what is known."""
        record = self.records[kind] = self.record(kind)
        for token, other in zip(drafted, came, strict=False):
            record.add(token == other)
            if token != other:
                break
