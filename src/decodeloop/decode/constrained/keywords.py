"""The keywords of JSON Schema that are known, and their values, checked. Built in lesson 25."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from decodeloop.errors import UserError

OF_TYPE = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set(),
    "null": set(),
}
KEYWORDS = {"$ref", "anyOf", "const", "enum", "type"}.union(*OF_TYPE.values())
ANNOTATIONS = {  # they say nothing about which texts are valid
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description"),
    *("default", "examples", "deprecated", "readOnly", "writeOnly"),
}


def refuse(place: str, what: str, expected: str) -> NoReturn:
    raise UserError(f"the schema is refused at {place}: {what}: {expected}.")


def check_known(schema: Mapping[str, Any], place: str) -> None:
    """Raise a `UserError` that names the first keyword that would not be obeyed."""
    for keyword in schema:
        if keyword not in KEYWORDS and keyword not in ANNOTATIONS:
            known = ", ".join(sorted(KEYWORDS))
            refuse(place, f"the keyword {keyword!r} is not supported", f"known are {known}")
    for keyword, beside in (("$ref", ()), ("anyOf", ()), ("const", ("type",)), ("enum", ("type",))):
        more = sorted(schema.keys() - ANNOTATIONS - {keyword, *beside})
        if keyword in schema and more:
            refuse(place, f"{more[0]!r} beside {keyword!r}", "expected the one or the other")


def types_of(schema: Mapping[str, Any], place: str) -> list[str] | None:
    """The types that a value may have; None where the schema says nothing of it.

    Where it names none, but has keywords of one, that type is meant.
    """
    if "type" not in schema:
        implied = [kind for kind, words in OF_TYPE.items() if words & schema.keys()]
        return [kind for kind in implied if kind != "number" or "integer" not in implied] or None
    named = schema["type"]
    kinds = [named] if isinstance(named, str) else list_of(schema, "type", place)
    for kind in kinds:
        if not isinstance(kind, str) or kind not in OF_TYPE:
            refuse(f"{place}/type", f"{kind!r:.40}", f"expected one of {', '.join(OF_TYPE)}")
    return [kind for kind in kinds if kind != "integer" or "number" not in kinds]


def is_of_type(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a type, as JSON Schema has it: 1.0 is an integer, true is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "object": isinstance(value, Mapping),
        "array": isinstance(value, list | tuple),
        "string": isinstance(value, str),
        "integer": is_number and value == value // 1,
        "number": is_number,
        "boolean": isinstance(value, bool),
        "null": value is None,
    }[kind]


def list_of(schema: Mapping[str, Any], keyword: str, place: str, least: int = 1) -> list[Any]:
    found = schema[keyword]
    if not isinstance(found, list | tuple) or len(found) < least:
        what = "a list" if least == 0 else "a list of one or more"
        refuse(f"{place}/{keyword}", f"{found!r:.40}", f"expected {what}")
    return list(found)


def string_of(schema: Mapping[str, Any], keyword: str, place: str) -> str:
    found = schema[keyword]
    if not isinstance(found, str):
        refuse(f"{place}/{keyword}", f"{found!r:.40}", "expected a string")
    return found


def counts(schema: Mapping[str, Any], noun: str, place: str) -> tuple[int, int | None]:
    """``minItems`` and ``maxItems``, or whatever the noun is; 0 and None where they are missing."""
    least, most = (count(schema, f"{bound}{noun}", place) for bound in ("min", "max"))
    if most is not None and (least or 0) > most:
        refuse(
            place, f"min{noun} is {least}, max{noun} {most}", "expected the smaller number first"
        )
    return least or 0, most


def count(schema: Mapping[str, Any], keyword: str, place: str) -> int | None:
    if keyword not in schema:
        return None
    found = schema[keyword]
    if not is_of_type(found, "integer") or found < 0:
        refuse(f"{place}/{keyword}", f"{found!r:.40}", "expected a whole number from 0 up")
    return int(found)
