"""JSON as a tree: strings, numbers, and any value at all.

Every value has one spelling, that of Python's ``json.dumps(value, ensure_ascii=False)``: one space
behind a comma and a colon and none elsewhere, a character as itself where it may be, the short
escape where there is one. A model that may choose the white space can choose it for ever, and each
freedom is a token more for the mask to weigh. Built in lesson 25.
"""

from __future__ import annotations

import json
from typing import Any

from decodeloop.decode.constrained.pattern import parse_pattern
from decodeloop.decode.constrained.syntax import (
    ANY,
    EMPTY,
    Both,
    Call,
    Chars,
    Either,
    Node,
    Repeat,
    Then,
    chars,
    optional,
    text,
)
from decodeloop.errors import UserError

ESCAPED = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))  # controls, the quote, the backslash
COMMA, COLON = text(", "), text(": ")
INTEGER: Node = parse_pattern("-?(0|[1-9][0-9]*)")
UNSIGNED: Node = parse_pattern(r"(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+\-]?[0-9]+)?")
NUMBER: Node = Then((optional(text("-")), UNSIGNED))
ANY_VALUE = "any value"  # the name of its rule


def literal(value: Any) -> Node:
    """Exactly this value.

    Raises:
        UserError: JSON has no such value.
    """
    try:
        return text(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):
        raise UserError(f"{value!r:.60} is no JSON value: expected one that JSON has.") from None


def string(content: Node) -> Node:
    """A string of this content, in quotes."""
    return Then((text('"'), written(content), text('"')))


def free_string(least: int = 0, most: int | None = None) -> Node:
    """Any string of so many characters."""
    return string(Repeat(ANY, least, most))


def written(node: Node) -> Node:
    """A tree of characters, with each character as a JSON string writes it."""
    match node:
        case Chars(ranges):
            return one_written(ranges)
        case Then(parts):
            return Then(tuple(map(written, parts)))
        case Either(options):
            return Either(tuple(map(written, options)))
        case Repeat(part, least, most):
            return Repeat(written(part), least, most)
        case Both(one, other):
            return Both(written(one), written(other))
        case Call():
            return node


def one_written(ranges: tuple[tuple[int, int], ...]) -> Node:
    """One character of these ranges, as it is written: itself, or by its escape."""
    plain, escapes = [], []
    for first, last in ranges:
        start = first
        for low, high in ESCAPED:
            here = range(max(first, low), min(last, high) + 1)
            if here:
                escapes += [text(json.dumps(chr(code))[1:-1]) for code in here]
                plain.append((start, here[0] - 1))
                start = here[-1] + 1
        plain.append((start, last))
    as_itself = chars(*(span for span in plain if span[0] <= span[1]))
    options: list[Node] = [as_itself] if as_itself.ranges else []
    return Either((*options, *escapes))


def array(
    items: Node, least: int = 0, most: int | None = None, first: tuple[Node, ...] = ()
) -> Node:
    """An array: of these items first, then of `least` to `most` others, all of one kind."""
    parts = list(first)
    more = Then((COMMA, items))
    if first:
        inside: Node = Then((listed(parts), Repeat(more, least, most)))
    elif most == 0:
        inside = EMPTY
    else:
        inside = Then((items, Repeat(more, max(least - 1, 0), None if most is None else most - 1)))
        inside = inside if least else optional(inside)
    return Then((text("["), inside, text("]")))


def listed(parts: list[Node]) -> Node:
    """Parts with commas between them."""
    return Then((*parts[:1], *(Then((COMMA, part)) for part in parts[1:])))


def chosen(pairs: list[tuple[Node, bool]]) -> Node:
    """Parts in their order with commas between them; each one that is not needed may be left out.

    Around the first that is needed every comma belongs to one of the others, so that the tree grows
    with their number alone.
    """
    first = next((n for n, (_, needed) in enumerate(pairs) if needed), None)
    if first is None:
        return optional(some([part for part, _ in pairs]))
    before = [optional(Then((part, COMMA))) for part, _ in pairs[:first]]
    after = [
        Then((COMMA, part)) if needed else optional(Then((COMMA, part)))
        for part, needed in pairs[first + 1 :]
    ]
    return Then((*before, pairs[first][0], *after))


def some(parts: list[Node]) -> Node:
    """One of the parts or more: by halves, so that n parts are written n log n times."""
    if len(parts) <= 1:
        return Then(tuple(parts))
    half = len(parts) // 2
    rest = [optional(Then((COMMA, part))) for part in parts[half:]]
    return Either((Then((some(parts[:half]), *rest)), some(parts[half:])))


def mapping(values: Node) -> Node:
    """An object of any names, all of whose values are of one kind."""
    pair = Then((free_string(), COLON, values))
    inside = Then((pair, Repeat(Then((COMMA, pair)), 0, None)))
    return Then((text("{"), optional(inside), text("}")))


def any_value() -> Node:
    """Any value: what the rule `ANY_VALUE` stands for, which calls itself for what lies inside."""
    inner = Call(ANY_VALUE)
    words = (text(word) for word in ("true", "false", "null"))
    return Either((*words, NUMBER, free_string(), array(inner), mapping(inner)))
