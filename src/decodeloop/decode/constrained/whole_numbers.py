"""The whole numbers of a range, as a tree of their digits. Built in lesson 25."""

from __future__ import annotations

from decodeloop.decode.constrained.syntax import (
    EMPTY,
    Either,
    Node,
    Repeat,
    Then,
    chars,
    text,
)


def whole_number(low: int | None, high: int | None) -> Node:
    """A whole number from `low` to `high`, without a leading zero; None is no bound.

    >>> whole_number(7, 7)
    Either(options=(Then(parts=(Chars(ranges=((55, 55),)), Then(parts=()))),))
    """
    options: list[Node] = []
    if low is None or low < 0:
        below = whole_number_from_zero(max(1, 1 if high is None else -high), low and -low)
        options.append(Then((text("-"), below)))
    if high is None or high >= 0:
        options.append(whole_number_from_zero(max(0, low or 0), high))
    return options[0] if len(options) == 1 else Either(tuple(options))


def whole_number_from_zero(low: int, high: int | None) -> Node:
    """The same for bounds that are not negative: one option for each number of digits."""
    options: list[Node] = []
    longest = len(str(low)) if high is None else len(str(high))
    for length in range(len(str(low)), longest + 1):
        first, last = max(low, 10 ** (length - 1) if length > 1 else 0), 10**length - 1
        if high is not None:
            last = min(last, high)
        if first <= last:
            options.append(digits_between(str(first), str(last)))
    if high is None:
        options.append(Then((digit("1", "9"), Repeat(digit(), longest, None))))
    return Either(tuple(options))


def digits_between(low: str, high: str) -> Node:
    """The texts of digits from one to another that is as long."""
    rest = len(low) - 1
    if not low:
        return EMPTY
    if low[0] == high[0]:
        return Then((digit(low[0], low[0]), digits_between(low[1:], high[1:])))
    if low[1:] == "0" * rest and high[1:] == "9" * rest:
        return Then((digit(low[0], high[0]), Repeat(digit(), rest, rest)))
    first = Then((digit(low[0], low[0]), digits_between(low[1:], "9" * rest)))
    last = Then((digit(high[0], high[0]), digits_between("0" * rest, high[1:])))
    between: list[Node] = []
    if int(high[0]) - int(low[0]) > 1:
        inner = digit(str(int(low[0]) + 1), str(int(high[0]) - 1))
        between = [Then((inner, Repeat(digit(), rest, rest)))]
    return Either((first, *between, last))


def digit(first: str = "0", last: str = "9") -> Node:
    return chars((ord(first), ord(last)))
