"""Inputs drawn by chance, in the words of `hypothesis`, which learners need not have.

A strategy says what may come; ``draw(random)`` gives one of it, the same for the same state of the
generator. The least and the largest come more often than the others: errors live there.

>>> import random
>>> lists(integers(1, 3), min_size=2, max_size=4).draw(random.Random(1))
[1, 3]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

EDGES = 0.15  # how often the least comes, and how often the largest
MOST = 10  # items of a list, where nothing else is said
TRIES = 1000


@dataclass(frozen=True)
class Strategy:
    """What may be drawn."""

    draw: Callable[[Random], Any]

    def map(self, change: Callable[[Any], Any]) -> Strategy:
        return Strategy(lambda random: change(self.draw(random)))

    def flatmap(self, further: Callable[[Any], Strategy]) -> Strategy:
        return Strategy(lambda random: further(self.draw(random)).draw(random))

    def filter(self, kept: Callable[[Any], bool]) -> Strategy:
        def draw(random: Random) -> Any:
            for _ in range(TRIES):
                value = self.draw(random)
                if kept(value):
                    return value
            raise ValueError(f"none of {TRIES} values was kept: allow more of them.")

        return Strategy(draw)

    def __or__(self, other: Strategy) -> Strategy:
        return one_of(self, other)


@dataclass(frozen=True)
class Driven:
    """Inputs for a candidate that is not simply called, a class for one."""

    inputs: Strategy
    run: Callable[..., Any]  # (candidate, *inputs) → outputs


def integers(least: int, most: int) -> Strategy:
    def draw(random: Random) -> int:
        where = random.random()
        if where < 2 * EDGES:
            return least if where < EDGES else most
        return random.randint(least, most)

    return Strategy(draw)


def floats(least: float, most: float) -> Strategy:
    def draw(random: Random) -> float:
        where = random.random()
        if where < 2 * EDGES:
            return float(least if where < EDGES else most)
        return random.uniform(least, most)

    return Strategy(draw)


def booleans() -> Strategy:
    return Strategy(lambda random: random.random() < 0.5)


def just(value: Any) -> Strategy:
    return Strategy(lambda random: value)


def none() -> Strategy:
    return just(None)


def sampled_from(values: Iterable[Any]) -> Strategy:
    kept = list(values)
    return Strategy(lambda random: random.choice(kept))


def one_of(*strategies: Strategy) -> Strategy:
    return Strategy(lambda random: random.choice(strategies).draw(random))


def tuples(*strategies: Strategy) -> Strategy:
    return Strategy(lambda random: tuple(x.draw(random) for x in strategies))


def builds(build: Callable[..., Any], *strategies: Strategy, **named: Strategy) -> Strategy:
    def draw(random: Random) -> Any:
        given = [x.draw(random) for x in strategies]
        return build(*given, **{name: x.draw(random) for name, x in named.items()})

    return Strategy(draw)


shaped = builds  # usually sizes and a seed → a tuple of inputs


def lists(
    items: Strategy, min_size: int = 0, max_size: int | None = None, unique: bool = False
) -> Strategy:
    most = min_size + MOST if max_size is None else max_size

    def draw(random: Random) -> list[Any]:
        count, made = integers(min_size, most).draw(random), list[Any]()
        for _ in range(TRIES):
            if len(made) == count:
                return made
            item = items.draw(random)
            if not (unique and item in made):
                made.append(item)
        return made  # there are not so many

    return Strategy(draw)


def sets(items: Strategy, min_size: int = 0, max_size: int | None = None) -> Strategy:
    return lists(items, min_size, max_size, unique=True).map(set)


def dictionaries(keys: Strategy, values: Strategy, max_size: int) -> Strategy:
    """Each of some keys once, with a value of its own."""
    return lists(keys, max_size=max_size, unique=True).flatmap(
        lambda found: lists(values, len(found), len(found)).map(
            lambda given: dict(zip(found, given, strict=True))
        )
    )


def permutations(values: Sequence[Any]) -> Strategy:
    return Strategy(lambda random: random.sample(list(values), len(values)))


def text(letters: str, min_size: int = 0, max_size: int | None = None) -> Strategy:
    return lists(sampled_from(letters), min_size, max_size).map("".join)


def composite(build: Callable[..., Any]) -> Callable[..., Strategy]:
    """A strategy out of a function that is given `draw` first."""

    def strategy(*args: Any, **kwargs: Any) -> Strategy:
        return Strategy(lambda random: build(lambda x: x.draw(random), *args, **kwargs))

    return strategy


sizes = integers(1, 5)
seeds = integers(0, 2**16)


def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """A random tensor that is the same for the same seed."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_ids(seed: int, vocabulary: int, *shape: int) -> Tensor:
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, shape, generator=generator)


__all__ = ["Driven", "Strategy"]
