"""Strings and numbers as a schema describes them. Built in lesson 25."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from decodeloop.decode.constrained.json_text import INTEGER, NUMBER, UNSIGNED, string
from decodeloop.decode.constrained.keywords import counts, is_of_type, refuse, string_of
from decodeloop.decode.constrained.pattern import parse_pattern
from decodeloop.decode.constrained.syntax import ANY, Both, Node, Repeat
from decodeloop.decode.constrained.whole_numbers import whole_number
from decodeloop.errors import UserError

MONTHS = ("(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])", "(0[13-9]|1[0-2])-(29|30)")
DATE = rf"\d{{4}}-({MONTHS[0]}|{MONTHS[1]}|(0[13578]|1[02])-31)"  # no year's 29th of February
TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+\-]([01]\d|2[0-3]):[0-5]\d)"
FORMATS = {
    "date": DATE,
    "time": TIME,
    "date-time": f"{DATE}T{TIME}",
    "uuid": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


def string_as_asked(schema: Mapping[str, Any], place: str) -> Node:
    """A string of a pattern, a format and a length, as far as they are given."""
    least, most = counts(schema, "Length", place)
    asked: list[Node] = []
    if "pattern" in schema:
        pattern = string_of(schema, "pattern", place)
        try:
            asked.append(parse_pattern(pattern, whole=False))
        except UserError as error:
            raise UserError(f"the schema is refused at {place}/pattern: {error}") from None
    if "format" in schema:
        name = string_of(schema, "format", place)
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            refuse(f"{place}/format", f"{name!r} is not supported", f"expected one of {known}")
        asked.append(parse_pattern(FORMATS[name]))
    if least or most is not None or not asked:
        asked.append(Repeat(ANY, least, most))
    content = asked[0]
    for other in asked[1:]:
        content = Both(content, other)
    return string(content)


def whole_as_asked(schema: Mapping[str, Any], place: str) -> Node:
    """A whole number between the bounds that are given."""
    lows, highs = [], []
    if (bound := bound_of(schema, "minimum", place)) is not None:
        lows.append(math.ceil(bound))
    if (bound := bound_of(schema, "exclusiveMinimum", place)) is not None:
        lows.append(math.floor(bound) + 1)
    if (bound := bound_of(schema, "maximum", place)) is not None:
        highs.append(math.floor(bound))
    if (bound := bound_of(schema, "exclusiveMaximum", place)) is not None:
        highs.append(math.ceil(bound) - 1)
    if not lows and not highs:
        return INTEGER
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        refuse(place, f"no whole number is from {low} to {high}", "expected the smaller one first")
    return whole_number(low, high)


def number_as_asked(schema: Mapping[str, Any], place: str) -> Node:
    """A number; of bounds only that it is not negative, since others are not a matter of digits
    alone once there is an exponent."""
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        bound = bound_of(schema, keyword, place)
        if bound is not None and (keyword, bound) != ("minimum", 0):
            what = f"{keyword} {bound:g} of a number is not supported"
            refuse(place, what, 'expected "minimum": 0, or the type integer')
    return UNSIGNED if "minimum" in schema else NUMBER


def bound_of(schema: Mapping[str, Any], keyword: str, place: str) -> float | None:
    if keyword not in schema:
        return None
    bound: float = schema[keyword]
    if not is_of_type(bound, "number") or not math.isfinite(bound):
        refuse(f"{place}/{keyword}", f"{bound!r:.40}", "expected a number")
    return bound
