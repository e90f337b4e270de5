import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode.constrained import automaton_of, push_and_pop, pushdown_of, rules_of
from decodeloop.decode.constrained.syntax import Call, Either, Then, text
from decodeloop.errors import UserError

BRACKETS = Then((text("("), Either((Then(()), Call("nested"))), text(")")))


def machine(whole, **rules):
    automata = {name: automaton_of(node) for name, node in rules.items()}
    return pushdown_of(automaton_of(whole), automata)


def of_schema(schema):
    whole, rules = rules_of(schema)
    return machine(whole, **rules)


def read(rules, data: bytes):
    stacks = frozenset([(rules.start,)])
    for byte in data:
        stacks = rules.step(stacks, byte)
    return stacks


def accepts(rules, data: bytes) -> bool:
    return rules.complete(read(rules, data))


@given(st.text("()", max_size=12))
def test_brackets_match_to_any_depth(word):
    rules = machine(Call("nested"), nested=BRACKETS)
    depth = len(word) // 2
    assert accepts(rules, word.encode()) == (bool(word) and word == "(" * depth + ")" * depth)
    assert accepts(rules, b"(" * 300 + b")" * 300)


def test_the_stack_is_as_deep_as_what_is_open():
    rules = machine(Call("nested"), nested=BRACKETS)
    (two,) = read(rules, b"((")
    (four,) = read(rules, b"((((")
    assert len(four) == len(two) + 2


def test_a_state_reads_or_calls_or_ends():
    rules = machine(Then((Call("word"), text("!"))), word=Either((text("a"), text("ab"))))
    (top,) = push_and_pop(rules, (0,), ord("a"))
    assert len(top) == 2  # where to go on, and the word
    assert len(push_and_pop(rules, top, ord("b"))) == 1  # reads
    assert {len(stack) for stack in push_and_pop(rules, top, ord("!"))} == {1}  # ends
    assert not push_and_pop(rules, top, ord("c"))
    assert not push_and_pop(rules, (0,), ord("!"))


def test_all_meanings_are_followed_until_one_is_left():
    rules = machine(
        Either((Then((Call("a"), text("x"))), Then((Call("b"), text("y"))))),
        a=text("aa"),
        b=Either((text("a"), text("aa"))),
    )
    assert len(read(rules, b"a")) == 2
    assert accepts(rules, b"aax") and accepts(rules, b"aay") and accepts(rules, b"ay")
    assert not accepts(rules, b"ax")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("aä\"\\\n"), inner),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_any_value_is_read_as_python_writes_it(value):
    rules = of_schema({})
    assert accepts(rules, json.dumps(value, ensure_ascii=False).encode())


@given(st.text('[]{}",: 01-.eatrue\\n\x01', max_size=8))
def test_what_is_read_is_json(word):
    rules = of_schema(True)
    if accepts(rules, word.encode()):
        json.loads(word)


def test_whites_and_escapes_have_one_spelling():
    rules = of_schema({})
    for word in ("[1,2]", "[ 1]", '{"a":1}', '"\\u0041"', '"\\/"', '"\\n "x', " 1"):
        assert not accepts(rules, word.encode()), word
    for word in ("[1, 2]", '{"a": 1}', '"\\u0001"', '"/"', '"\\n"', "1"):
        assert accepts(rules, word.encode()), word


def test_a_rule_reads_something_before_it_calls_itself():
    with pytest.raises(UserError, match="loop refers to itself before"):
        machine(Call("loop"), loop=Either((text("a"), Then((Call("loop"), text("b"))))))
    with pytest.raises(UserError, match="refers to itself before"):
        of_schema({"$ref": "#"})


def test_a_rule_can_end():
    schema = {"properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(UserError, match="# can never end"):
        of_schema(schema)


def test_something_must_match():
    with pytest.raises(UserError, match="no text at all"):
        of_schema({"type": "string", "pattern": "^a{3}$", "maxLength": 2})
