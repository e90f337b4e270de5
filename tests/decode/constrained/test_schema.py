import json

import pytest
from jsonschema import Draft202012Validator
from schemas import SCHEMAS, by_chance

from decodeloop.decode import Constraint
from decodeloop.decode.constrained import automaton_of, pushdown_of, rules_of
from decodeloop.errors import UserError


def accepts(schema, value) -> bool:
    """Whether a value is read, as Python writes it."""
    whole, rules = rules_of(schema)
    machine = pushdown_of(automaton_of(whole), {n: automaton_of(r) for n, r in rules.items()})
    stacks = frozenset([(machine.start,)])
    for byte in json.dumps(value, ensure_ascii=False).encode():
        stacks = machine.step(stacks, byte)
    return machine.complete(stacks)


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_written_is_valid(name, bytes_and_more):
    schema = SCHEMAS[name]
    constraint = Constraint.from_schema(schema, bytes_and_more)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    ended = set()
    for seed in range(40):
        tokens, complete = by_chance(constraint, seed, 120)
        if complete:
            text = b"".join(bytes_and_more.tokens[token] for token in tokens).decode()
            validator.validate(json.loads(text))
            ended.add(text)
    assert ended, "none came to an end"


OBJECT = {"properties": {"a": {}, "b": {}, "c": {}}, "required": ["b"]}
VALID = [
    (True, {"x": [1, None]}),
    ({"title": "anything"}, "ä"),
    ({"type": "integer"}, -12),
    ({"type": "integer", "exclusiveMinimum": 2, "maximum": 10.5}, 10),
    ({"type": "number"}, -1.5e-07),
    ({"type": ["integer", "boolean"]}, False),
    ({"minLength": 2}, "ab"),
    ({"type": "string", "pattern": "b"}, "abc"),
    ({"type": "string", "maxLength": 2}, '"\n'),
    ({"items": {"type": "integer"}}, [1, 2, 3]),
    ({"type": "array", "maxItems": 0}, []),
    ({"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}}, [None, True, False]),
    (OBJECT, {"a": 1, "b": {}, "c": []}),
    (OBJECT, {"b": 0}),
    ({"additionalProperties": {"type": "integer"}}, {"x": 1, "y": 2}),
    ({"type": "object", "required": ["free"]}, {"free": [{}]}),
    ({"enum": [1, "a"], "type": "string"}, "a"),
    ({"anyOf": [{"type": "null"}, {"const": 3}]}, 3),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1),
    ({"properties": {"old": False, "new": {"const": 1}}}, {"new": 1}),
    ({"type": "string", "format": "date"}, "2024-01-31"),
]
INVALID = [
    ({"type": "integer", "exclusiveMinimum": 2, "maximum": 10.5}, 2),
    ({"type": "integer", "exclusiveMaximum": 2}, 2),
    ({"type": ["integer", "boolean"]}, "a"),
    ({"type": "number", "minimum": 0}, -1),
    ({"minLength": 2}, "a"),
    ({"minLength": 2}, "\U0001f600"),
    ({"type": "string", "maxLength": 2}, "abc"),
    ({"type": "string", "pattern": "^b"}, "ab"),
    ({"items": {"type": "integer"}, "minItems": 2}, [1]),
    ({"prefixItems": [{"type": "null"}]}, [None, 1]),
    (OBJECT, {"a": 1}),
    (OBJECT, {"b": 1, "d": 1}),
    (OBJECT, {"c": 1, "b": 1}),
    ({"additionalProperties": {"type": "integer"}}, {"x": "1"}),
    ({"type": "object", "additionalProperties": False}, {"a": 1}),
    ({"enum": [1, "a"], "type": "string"}, 1),
    ({"properties": {"old": False, "new": {"const": 1}}}, {"old": 1}),
    ({"type": "string", "format": "date"}, "2024-02-30"),
    ({"const": 1}, 1.5),
    ({"const": True}, 1),
]


@pytest.mark.parametrize(("schema", "value"), VALID)
def test_what_a_schema_asks_for_is_read(schema, value):
    Draft202012Validator(schema).validate(value)
    assert accepts(schema, value)


@pytest.mark.parametrize(("schema", "value"), INVALID)
def test_what_it_does_not_ask_for_is_not(schema, value):
    assert not accepts(schema, value)


REFUSED = [
    ({"type": "text"}, "#/type: 'text': expected one of object"),
    ({"properties": {"a": {"type": []}}}, "#/properties/a/type: .*: expected a list of one"),
    ({"properties": {"a": {"oneOf": []}}}, "#/properties/a: the keyword 'oneOf' is not supported"),
    ({"type": "array", "uniqueItems": True}, "#: the keyword 'uniqueItems' is not supported"),
    ({"type": "string", "format": "email"}, "#/format: 'email' is not supported"),
    (
        {"type": "string", "pattern": "a(b"},
        "#/pattern: the pattern 'a.b' is refused at cha",
    ),
    ({"items": {"type": "string", "minLength": -1}}, "#/items/minLength: -1: expected a whole"),
    ({"minItems": 3, "maxItems": 2}, "#: minItems is 3, maxItems 2"),
    ({"type": "integer", "minimum": 3, "maximum": 2}, "#: no whole number is from 3 to 2"),
    ({"type": "integer", "minimum": "3"}, "#/minimum: '3': expected a number"),
    ({"type": "number", "maximum": 2}, "#: maximum 2 of a number is not supported"),
    ({"$ref": "#/$defs/missing"}, "leads nowhere: there is no"),
    ({"$ref": "other.json"}, "expected one within the schema"),
    ({"anyOf": [True], "type": "null"}, "#: 'type' beside 'anyOf'"),
    ({"enum": []}, "#/enum: .*: expected a list of one"),
    ({"const": 1, "type": "string"}, "#: no value of enum or const is of its type"),
    ({"const": float("nan")}, "nan is no JSON value"),
    ({"items": False, "minItems": 1}, "#: minItems 1: more than it may have"),
    ({"properties": {"a": False}, "required": ["a"]}, "#/properties/a: false: no value"),
    ({"required": ["a"], "additionalProperties": False}, "#/required: 'a': a name that"),
    ({"properties": [1]}, "#/properties: .*: expected an object of schemas"),
    ({"required": [1]}, "#/required: 1: expected names"),
    (False, "#: false: no value follows it"),
    ([1], "#: .*: expected an object, or true"),
    ({"items": 3}, "#/items: 3: expected an object, or true"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_a_broken_schema_is_named_with_its_place(schema, message):
    with pytest.raises(UserError, match=message):
        rules_of(schema)


def test_schemas_in_one_another_have_an_end():
    schema = True
    for _ in range(150):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UserError, match="more than 100 schemas"):
        rules_of(schema)


def test_properties_that_may_be_left_out_do_not_multiply():
    names = [f"{n:03}" for n in range(64)]
    schema = {"properties": {name: {"type": "boolean"} for name in names}}
    whole, _ = rules_of(schema)
    assert len(automaton_of(whole).table) < 20_000
    assert accepts(schema, dict.fromkeys(names[::3], True))
    assert accepts(schema, {})
