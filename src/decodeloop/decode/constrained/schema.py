"""A JSON schema as trees: one for the whole text, one for each part that refers to itself.

What is written is valid, but not all that is valid is written: properties come in the schema's
order, and such as it does not name only where it names none. A keyword that is not known is refused
by name, since a text that ignores it would not be valid. JSON Schema, draft 2020-12. Built in
lesson 25.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from decodeloop.decode.constrained import json_text
from decodeloop.decode.constrained.keywords import (
    check_known,
    counts,
    is_of_type,
    list_of,
    refuse,
    string_of,
    types_of,
)
from decodeloop.decode.constrained.scalars import (
    number_as_asked,
    string_as_asked,
    whole_as_asked,
)
from decodeloop.decode.constrained.syntax import Call, Either, Node, Then, text

MOST_NESTED = 100  # schemas in one another


def rules_of(schema: Any) -> tuple[Node, dict[str, Node]]:
    """The tree of the JSON texts that a schema accepts, and those of the rules that it calls.

    Args:
        schema: the schema as `json.loads` gives it: an object, or true or false.

    Raises:
        UserError: it is no schema, or asks for what can't be done; the message names the place.

    >>> rules_of({"type": "array"})[1].keys()
    dict_keys(['any value'])
    """
    translation = Translation(schema)
    return translation.reference("#", "#"), translation.rules


class Translation:
    """A schema on its way into trees. A part that is met within itself becomes a rule."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.rules: dict[str, Node] = {}
        self._open: list[str] = []  # the references that are being translated
        self._called: set[str] = set()  # those of them that were met within themselves
        self._done: dict[str, Node] = {}
        self._depth = 0

    def reference(self, pointer: str, place: str) -> Node:
        if pointer in self._open:
            self._called.add(pointer)
            return Call(pointer)
        if pointer not in self._done:
            self._open.append(pointer)
            node = self.node(self.target(pointer, place), pointer)
            self._open.pop()
            if pointer in self._called:
                self.rules[pointer] = node
                node = Call(pointer)
            self._done[pointer] = node
        return self._done[pointer]

    def target(self, pointer: str, place: str) -> Any:
        """What a JSON pointer such as ``#/$defs/name`` leads to."""
        found, (first, *steps) = self.schema, pointer.split("/")
        if first != "#":
            refuse(place, f"$ref is {pointer!r}", "expected one within the schema, as #/$defs/name")
        for step in steps:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, Mapping) and key in found:
                found = found[key]
            else:
                refuse(place, f"$ref {pointer!r} leads nowhere", f"there is no {key!r} on its way")
        return found

    def node(self, schema: Any, place: str) -> Node:
        """The tree of one schema."""
        if schema is True:
            return self.any_value()
        if not isinstance(schema, Mapping):
            if schema is False:
                refuse(place, "false", "no value follows it: leave it out, or ask for something")
            refuse(place, f"{schema!r:.40}", "expected an object, or true")
        check_known(schema, place)
        self._depth += 1
        if self._depth > MOST_NESTED:
            refuse(place, f"more than {MOST_NESTED} schemas in one another", "expected fewer")
        node = self.by_keywords(schema, place)
        self._depth -= 1
        return node

    def by_keywords(self, schema: Mapping[str, Any], place: str) -> Node:
        if "$ref" in schema:
            return self.reference(string_of(schema, "$ref", place), f"{place}/$ref")
        if "anyOf" in schema:
            options = list_of(schema, "anyOf", place)
            nodes = [self.node(one, f"{place}/anyOf/{n}") for n, one in enumerate(options)]
            return Either(tuple(nodes))
        types = types_of(schema, place)
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else list_of(schema, "enum", place)
            kept = [v for v in values if types is None or any(is_of_type(v, t) for t in types)]
            if not kept:
                refuse(place, "no value of enum or const is of its type", "expected one at least")
            return Either(tuple(map(json_text.literal, kept)))
        if types is None:
            return self.any_value()
        return Either(tuple(self.of_type(one, schema, place) for one in types))

    def of_type(self, kind: str, schema: Mapping[str, Any], place: str) -> Node:
        match kind:
            case "object":
                return self.object(schema, place)
            case "array":
                return self.array(schema, place)
            case "string":
                return string_as_asked(schema, place)
            case "integer":
                return whole_as_asked(schema, place)
            case "number":
                return number_as_asked(schema, place)
            case "boolean":
                return Either((text("true"), text("false")))
            case _:
                return text("null")

    def any_value(self) -> Node:
        self.rules.setdefault(json_text.ANY_VALUE, json_text.any_value())
        return Call(json_text.ANY_VALUE)

    def array(self, schema: Mapping[str, Any], place: str) -> Node:
        least, most = counts(schema, "Items", place)
        prefix = list_of(schema, "prefixItems", place) if "prefixItems" in schema else []
        prefix = prefix[:most]
        first = [self.node(one, f"{place}/prefixItems/{n}") for n, one in enumerate(prefix)]
        items = schema.get("items", True)
        left = None if most is None else most - len(first)
        needed = max(0, least - len(first))
        if items is False or (prefix and "items" not in schema):
            if items is False and needed:
                refuse(place, f"minItems {least}", "more than it may have: give items a schema")
            left = needed
        if left == 0:
            return Then((text("["), json_text.listed(first), text("]")))
        more = self.node(items, f"{place}/items")
        return json_text.array(more, needed, left, tuple(first))

    def object(self, schema: Mapping[str, Any], place: str) -> Node:
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            refuse(f"{place}/properties", f"{properties!r:.40}", "expected an object of schemas")
        required = list_of(schema, "required", place, least=0) if "required" in schema else []
        others = schema.get("additionalProperties", True)
        if not properties and not required:
            if others is False:
                return text("{}")
            return json_text.mapping(self.node(others, f"{place}/additionalProperties"))
        pairs: list[tuple[Node, bool]] = []
        for name in dict.fromkeys([*properties, *required]):
            if not isinstance(name, str):
                refuse(f"{place}/required", f"{name!r:.40}", "expected names of properties")
            of_name = f"{place}/properties/{name.replace('~', '~0').replace('/', '~1')}"
            value, needed = properties.get(name, others), name in required
            if name not in properties and others is False:
                refuse(f"{place}/required", repr(name), "a name that additionalProperties forbids")
            if value is False and not needed:
                continue  # it must not be there
            key = text(json.dumps(name, ensure_ascii=False))
            pairs.append((Then((key, json_text.COLON, self.node(value, of_name))), needed))
        return Then((text("{"), json_text.chosen(pairs), text("}")))
