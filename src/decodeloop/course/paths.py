"""Ways through the course, for people who come with different reasons and hours.

The ways are data, here and nowhere else: the README, `decodeloop progress --path` and whatever else
shows them read them, and take titles and minutes from the lessons themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from decodeloop.course.lessons import EXERCISE_LINE, front_matter
from decodeloop.errors import UserError

PAUSE = "This is a good place for a pause."
STRETCH = "\n## Stretch\n"  # what stands below is for the fast, or looks back


@dataclass(frozen=True)
class Stop:
    """Lessons of a way: one, or those from `first` to `last`.

    With `to_pause` a lesson counts as far as its pause, and a second part (10b) is left out; one
    without a pause is taken whole.
    """

    first: str
    last: str = ""
    to_pause: bool = False

    def takes(self, number: str) -> bool:
        """Whether the lesson of this number belongs here.

        >>> Stop("09", "15").takes("10b"), Stop("10", to_pause=True).takes("10b")
        (True, False)
        """
        if not number[0].isdigit():  # an appendix
            return False
        if self.to_pause:
            return number == self.first
        return self.first <= number[:2] <= (self.last or self.first)


@dataclass(frozen=True)
class Way:
    """One way through the course."""

    name: str  # what `--path` takes
    title: str
    leads_to: str  # what somebody who went it has
    stops: tuple[Stop, ...]


WAYS = {
    way.name: way
    for way in (
        Way(
            "short",
            "The short course",
            "what a language model computes for each token, why it is slow, and the cache and the "
            "roofline by which that is understood",
            (
                Stop("00", "01"),
                Stop("05"),
                Stop("06", to_pause=True),
                Stop("08", to_pause=True),
                Stop("10", to_pause=True),
                Stop("12", to_pause=True),
            ),
        ),
        Way(
            "whole",
            "The whole build",
            "a decoder that you wrote line by line, the engine around it, and every way to make "
            "it fast, measured",
            (Stop("00", "99"),),
        ),
        Way(
            "serve",
            "For engineers who serve",
            "what your users wait for, and what an engine does about it: cache, batches, "
            "scheduling, fewer bits, drafts, a server under load",
            (Stop("06"), Stop("09", "15"), Stop("19"), Stop("22"), Stop("24")),
        ),
    )
}


@dataclass(frozen=True)
class Leg:
    """One lesson on a way."""

    number: str
    name: str  # 10_complexity
    title: str
    minutes: int
    to_pause: bool  # only as far as its pause
    exercises: tuple[str, ...] = ()  # those that stand in what is taken of it


def way(name: str) -> Way:
    """The way of this name.

    Raises:
        UserError: there is none.
    """
    if name not in WAYS:
        raise UserError(f"there is no path {name!r}: expected one of {', '.join(WAYS)}.")
    return WAYS[name]


def legs(taken: Way, lessons: Sequence[Path]) -> list[Leg]:
    """The lessons of a way, in its order.

    Args:
        lessons: the files of all lessons, in the order of the course.

    Raises:
        LessonError: a lesson's front matter is not as it should be.
    """
    return [leg for stop in taken.stops for leg in legs_of(stop, lessons)]


def legs_of(stop: Stop, lessons: Sequence[Path]) -> Iterator[Leg]:
    for path in lessons:
        number = path.stem.split("_")[0]
        if stop.takes(number):
            text = path.read_text("utf-8").replace("\r\n", "\n")
            front = front_matter(path, text)
            share = share_before_pause(text) if stop.to_pause else 1.0
            minutes = front["minutes"] if share == 1.0 else to_five(front["minutes"] * share)
            part = text.partition(PAUSE)[0] if stop.to_pause else text
            exercises = tuple(EXERCISE_LINE.findall(part))
            yield Leg(number, path.stem, front["title"], minutes, share < 1.0, exercises)


def share_before_pause(text: str) -> float:
    """Which part of a lesson's words, stretch and recap aside, stands before its pause.

    >>> share_before_pause(f"one two three {PAUSE} four")
    0.25
    """
    before, pause, _ = text.partition(PAUSE)
    if not pause:
        return 1.0
    return len(before.split()) / len(text.split(STRETCH)[0].split())


def to_five(minutes: float) -> int:
    """Nobody knows minutes better than to five of them."""
    return 5 * round(minutes / 5)


def hours(taken: Sequence[Leg]) -> str:
    """How long it takes, to the half hour, and rather too much than too little.

    >>> hours([Leg("00", "00_a", "A", 60, False), Leg("01", "01_b", "B", 95, False)])
    '3'
    """
    halves = math.ceil(sum(leg.minutes for leg in taken) / 30)
    whole = str(halves // 2) if halves > 1 else ""
    return whole + ("½" if halves % 2 else "")
