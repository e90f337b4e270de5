"""Random inputs for the exercises of lesson 25."""

from __future__ import annotations

import torch

from decodeloop.exercises.fresh import drawing as st
from decodeloop.exercises.fresh.drawing import Driven, drawn
from decodeloop.exercises.lesson_25 import (
    BRACKETS,
    CHAIN,
    HALVES,
    LETTERS,
    LISTS,
    NUMBER,
    PIECES,
    TOKENS,
    TWINS,
    WORDS,
    best,
    half_of_all,
    in_order,
    second,
)

machines = st.sampled_from([(NUMBER, TOKENS), (WORDS, LETTERS), (HALVES, PIECES)])
numbers = st.lists(st.integers(0, 99), min_size=1, max_size=9)
stacks = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
masks = st.lists(st.booleans(), min_size=6, max_size=6).map(
    lambda x: torch.tensor([False, *x[:5], False, x[5], True])  # 0 and 6 may end a text
)


def with_tokens(machine, numbers, state):
    table, tokens = machine
    return table, state % len(table), [tokens[n % len(tokens)] for n in numbers]


def with_text(machine, numbers, state):
    table, state, tokens = with_tokens(machine, numbers[:4], state)
    return table, state, b"".join(tokens)


def one_byte(candidate, rules, stack, byte):
    return in_order(candidate(rules, stack, ord(byte)))


RANDOM = {
    "step_automaton": st.builds(with_text, machines, numbers, st.integers(0, 9)),
    "allowed_tokens": st.builds(with_tokens, machines, numbers, st.integers(0, 9)),
    "token_index": st.builds(with_tokens, machines, numbers, st.integers(0, 9)),
    "push_and_pop": Driven(
        st.tuples(
            st.sampled_from([BRACKETS, CHAIN, LISTS, TWINS]),
            stacks,
            st.sampled_from("()[],1!abxy"),
        ),
        one_byte,
    ),
    "constrained_choice": st.builds(
        lambda seed, mask, *others: (drawn(seed, 1, 9), mask, *others),
        st.integers(0, 999),
        masks,
        st.booleans(),
        st.sampled_from([(0,), (0, 6), ()]),
        st.sampled_from([best, second, half_of_all]),
    ),
}
