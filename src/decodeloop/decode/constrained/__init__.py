"""Structured output: a pattern or a JSON schema becomes a mask over the tokens.

The way of a constraint, a module each: a regular expression (`pattern`) or a JSON schema (`schema`)
→ a tree of characters (`syntax`) → automata over bytes (`nfa`, `automaton`) that may call one
another (`pushdown`) → the tokens that each state allows (`vocabulary`, `masks`) → `Constraint`,
which is asked after each token. Built in lesson 25.
"""

from decodeloop.decode.constrained.automaton import DEAD, Automaton, automaton_of, step_automaton
from decodeloop.decode.constrained.constraint import Constraint, constrained_choice
from decodeloop.decode.constrained.index import allowed_tokens, token_index
from decodeloop.decode.constrained.pattern import parse_pattern
from decodeloop.decode.constrained.pushdown import Pushdown, Stacks, push_and_pop, pushdown_of
from decodeloop.decode.constrained.schema import rules_of
from decodeloop.decode.constrained.vocabulary import Vocabulary

__all__ = [
    "DEAD",
    "Automaton",
    "Constraint",
    "Pushdown",
    "Stacks",
    "Vocabulary",
    "allowed_tokens",
    "automaton_of",
    "constrained_choice",
    "parse_pattern",
    "push_and_pop",
    "pushdown_of",
    "rules_of",
    "step_automaton",
    "token_index",
]
