import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import SCHEMAS, by_chance

from decodeloop.decode import Constraint, Vocabulary
from decodeloop.decode.constrained import allowed_tokens, automaton_of, parse_pattern, token_index
from decodeloop.decode.constrained.alike import alike
from decodeloop.decode.constrained.pushdown import pushdown_of


def tried_one_by_one(constraint: Constraint, state) -> list[int]:
    found = []
    for token, data in enumerate(constraint.vocabulary.tokens):
        stacks = state
        for byte in data:
            stacks = constraint.rules.step(stacks, byte)
        if data and stacks:
            found.append(token)
    return found


def looked_up(constraint: Constraint, state) -> list[int]:
    return constraint.allowed(state).nonzero().flatten().tolist()


def states_on_the_way(constraint: Constraint, tokens):
    state = constraint.start
    yield state
    for token in tokens:
        state = constraint.advance(state, token)
        yield state


@pytest.mark.parametrize("name", [*SCHEMAS, "any value"])
def test_they_are_what_trying_each_token_finds(name, bytes_and_more):
    constraint = Constraint.from_schema(SCHEMAS.get(name, {}), bytes_and_more)
    brackets = {n for n, t in enumerate(bytes_and_more.tokens) if t and t[0] in b'"{}[],: \\'}
    for seed in range(6):
        tokens, _ = by_chance(constraint, seed, 40, brackets)
        for state in states_on_the_way(constraint, tokens):
            assert looked_up(constraint, state) == tried_one_by_one(constraint, state)


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=1, max_size=3), max_size=8), st.integers(0, 99))
def test_they_are_so_for_any_vocabulary(tokens, seed):
    vocabulary = Vocabulary(
        [*(bytes([b]) for b in b'[]{}",: 01atruefalsn'), *tokens, b"]]]", b'"}]']
    )
    constraint = Constraint.from_schema({"type": "array"}, vocabulary)
    drawn, _ = by_chance(constraint, seed, 12)
    for state in states_on_the_way(constraint, drawn):
        assert looked_up(constraint, state) == tried_one_by_one(constraint, state)


def test_they_are_so_for_the_real_vocabulary(real):
    schema = {"type": "array", "items": {"properties": {"a": {}, "b": {"type": "string"}}}}
    constraint = Constraint.from_schema(schema, real)
    for text in ("", '[{"a": "', '[{"a": [[1', '[{"a": {"b": {}', '[{"a": 1, "b": "ä'):
        state = constraint.start
        for byte in text.encode():
            state = constraint.rules.step(state, byte)
        assert looked_up(constraint, state) == tried_one_by_one(constraint, state), text


def test_a_finite_one_has_the_index_of_states_and_tokens(bytes_and_more):
    automaton = automaton_of(parse_pattern('"(ab|ä)*c?": [0-9]{2}'))
    rules = pushdown_of(automaton, {})
    constraint = Constraint(rules, bytes_and_more)
    index = token_index(automaton.table, 0, bytes_and_more.tokens)
    assert len(index) > 5
    for state, tokens in index.items():
        assert looked_up(constraint, frozenset([(state,)])) == list(tokens)
        plain = allowed_tokens(automaton.table, state, bytes_and_more.tokens)
        assert plain.nonzero().flatten().tolist() == list(tokens)


def test_states_that_no_token_tells_apart_are_one(real):
    """A string of up to 300 characters has 16 states a character; what a token can see of the end
    is as far away as the longest token is long."""
    automaton = automaton_of(parse_pattern('"[^"]{0,300}"'))
    rules = pushdown_of(automaton, {})
    colours = alike(rules, real.longest)
    assert len(np.unique(colours)) < 0.5 * len(colours)
    assert len(np.unique(alike(rules, 2000))) > 300
    assert len(np.unique(alike(rules, 1))) < 10


def test_a_special_token_is_never_allowed(real, smollm2):
    constraint = Constraint.from_pattern(".*", real)
    allowed = looked_up(constraint, constraint.start)
    assert not set(smollm2.eos_ids) & set(allowed)
    assert len(allowed) > 40_000
