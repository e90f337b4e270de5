"""What a set of texts is made of: a tree of characters, sequences, choices and repetitions.

A regular expression is parsed into such a tree, a JSON schema is translated into one, and
`automaton` makes a machine of it. Built in lesson 25.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]  # code points, both ends included
LAST = 0x10FFFF  # of Unicode's code points
SURROGATES = (0xD800, 0xDFFF)  # halves of UTF-16 pairs: no characters, and not in UTF-8


@dataclass(frozen=True)
class Chars:
    """One character out of these ranges, which are sorted and do not touch."""

    ranges: Ranges


@dataclass(frozen=True)
class Then:
    """One part after another; none at all is the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """One of several; of none, no text at all."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part `least` to `most` times; `most` None is without end."""

    part: Node
    least: int
    most: int | None


@dataclass(frozen=True)
class Both:
    """What is a text of the one and of the other."""

    one: Node
    other: Node


@dataclass(frozen=True)
class Call:
    """A text of the rule of this name, which may call itself: what no automaton alone can do."""

    rule: str


Node: TypeAlias = Chars | Then | Either | Repeat | Both | Call
EMPTY, NOTHING = Then(()), Either(())


def text(characters: str) -> Node:
    """Exactly this text."""
    return Then(tuple(Chars(((ord(c), ord(c)),)) for c in characters))


def optional(part: Node) -> Node:
    return Repeat(part, 0, 1)


def chars(*ranges: tuple[int, int]) -> Chars:
    """One character out of ranges in any order, surrogates aside.

    >>> chars((98, 99), (97, 97)).ranges
    ((97, 99),)
    """
    low, high = SURROGATES
    parts: list[tuple[int, int]] = []
    for first, last in ranges:
        parts += [(first, min(last, low - 1)), (max(first, high + 1), last)]
    merged: list[tuple[int, int]] = []
    for first, last in sorted(part for part in parts if part[0] <= part[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return Chars(tuple(merged))


def all_but(ranges: Iterable[tuple[int, int]]) -> Chars:
    """One character that is in none of these ranges."""
    left, start = [], 0
    for first, last in chars(*ranges).ranges:
        left.append((start, first - 1))
        start = last + 1
    return chars(*left, (start, LAST))


ANY = all_but(())
