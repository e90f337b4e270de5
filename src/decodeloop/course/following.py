"""How far somebody has come on a way through the course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decodeloop.course.paths import Leg
from decodeloop.exercises.finding import find


@dataclass(frozen=True)
class Stage:
    """One lesson of a way, and what was done of it: core exercises alone count."""

    leg: Leg
    right: int
    of: int

    @property
    def done(self) -> bool:
        return self.right == self.of

    @property
    def begun(self) -> bool:
        return 0 < self.right < self.of


def stages(legs: Sequence[Leg], states: Mapping[str, str]) -> list[Stage]:
    """The lessons of a way, each with how many of its core exercises are right.

    Args:
        states: the name of an exercise → "right", or anything else.
    """
    found = []
    for leg in legs:
        core = [name for name in leg.exercises if find(name).kind == "core"]
        found.append(Stage(leg, sum(states.get(name) == "right" for name in core), len(core)))
    return found


def left(on_the_way: Sequence[Stage]) -> list[Leg]:
    """What is still to be done, in its order."""
    return [stage.leg for stage in on_the_way if not stage.done]
