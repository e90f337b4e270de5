"""Schemas as people write them, and how a text is made of a constraint by chance."""

from __future__ import annotations

import random

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer", "minimum": -9, "maximum": 99},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
    },
    "required": ["value"],
}
SCHEMAS = {
    "a boolean": {"type": "boolean"},
    "one of several": {"enum": ["red", "gre\u0119n", 3, None, {"a": [1, "b"]}]},
    "a constant": {"const": {"kind": "\u00e9t\u00e9", "n": [1, 2.5]}},
    "an integer": {"type": "integer", "minimum": -20, "maximum": 1999},
    "a number": {"type": "number", "minimum": 0},
    "two types": {"type": ["string", "null"], "maxLength": 8},
    "a string of a length": {"type": "string", "minLength": 3, "maxLength": 12},
    "a pattern": {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,4}$"},
    "a pattern somewhere": {"type": "string", "pattern": "o", "maxLength": 9},
    "a pattern with escapes": {"type": "string", "pattern": '^["\\\\\\n]{1,3}[\u00e4-\u00fc]$'},
    "a date": {"type": "string", "format": "date"},
    "a moment": {"type": "string", "format": "date-time"},
    "a uuid": {"type": "string", "format": "uuid"},
    "integers": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    "a tuple": {"prefixItems": [{"type": "boolean"}, {"enum": ["x", "y"]}], "items": False},
    "a person": PERSON,
    "all optional": {
        "properties": {name: {"enum": [1, 2]} for name in "abcde"},
        "additionalProperties": False,
    },
    "optional before required": {
        "properties": {"a": {"type": "null"}, 'b"': {"enum": [1]}, "c": {"type": "boolean"}},
        "required": ['b"'],
    },
    "one or the other": {
        "anyOf": [
            {"properties": {"kind": {"const": "a"}, "n": {"enum": [1]}}, "required": ["kind", "n"]},
            {"properties": {"kind": {"const": "ab"}, "s": {"enum": [""]}}, "required": ["kind"]},
        ]
    },
    "nested": {
        "properties": {"people": {"type": "array", "items": PERSON, "minItems": 1, "maxItems": 2}},
        "required": ["people"],
    },
    "a tree": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
}


def by_chance(constraint, seed: int, most: int = 60, likely=None) -> tuple[list[int], bool]:
    """Tokens drawn among those that are allowed, and whether they have come to an end.

    `likely` is a set of tokens that are drawn, if any of them is allowed, four times in five.
    """
    draw = random.Random(seed)
    state, tokens = constraint.start, []
    while len(tokens) < most:
        allowed = constraint.allowed(state).nonzero().flatten().tolist()
        if not allowed or (constraint.complete(state) and draw.random() < 0.4):
            break
        favoured = [token for token in allowed if token in (likely or ())]
        chosen = draw.choice(favoured if favoured and draw.random() < 0.8 else allowed)
        tokens.append(chosen)
        state = constraint.advance(state, chosen)
    return tokens, constraint.complete(state)
