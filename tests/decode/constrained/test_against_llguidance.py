"""Masks beside those of llguidance 1.9, a library that engines use.

Three differences are meant. Where one text alone can follow, it allows that token alone which
encoding the text gives. It writes the control character 127 by its number, as JSON does not ask
for. And it lets a control character be written by its number in capitals, or where it has a letter.
"""

import json
import random

import llguidance
import llguidance.numpy
import numpy as np
import pytest
from schemas import PERSON, by_chance

from decodeloop.decode import Constraint

SPACES = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
CLOSED = {"additionalProperties": False}
SCHEMAS = {
    "a number": {"type": "number"},
    "several": {"enum": ["red", "reddish", 12, None, True]},
    "a person": {**PERSON, **CLOSED},
    "a free string": {"type": "string"},
    "a pattern": {"type": "string", "pattern": "^[A-Z]{2,3}-[0-9]+$"},
    "a list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
    "optional": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": "number"}},
        "required": ["b"],
        **CLOSED,
    },
    "a tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "children"],
                **CLOSED,
            }
        },
    },
}
STRUCTURE = b'"{}[],: .0123456789'


class Theirs:
    """The same tokens, allowed by llguidance."""

    def __init__(self, schema, backend) -> None:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=SPACES)
        self._matcher = llguidance.LLMatcher(backend, grammar)
        assert not self._matcher.get_error()
        self._bits = llguidance.numpy.allocate_token_bitmask(1, backend.vocab_size)

    def after(self, tokens: list[int]) -> set[int]:
        self._matcher.reset()
        assert self._matcher.consume_tokens(tokens)
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._bits)
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")
        return set(np.flatnonzero(bits).tolist())


@pytest.fixture(scope="module")
def backend(smollm2):
    told = json.dumps(smollm2.tokenizer.as_dict())
    return llguidance.LLTokenizer(told, n_vocab=49152, eos_token=next(iter(smollm2.eos_ids)))


@pytest.fixture(scope="module")
def structure(real) -> set[int]:
    """Tokens that a random text has to hold, for it to come to an end."""
    return {n for n, token in enumerate(real.tokens) if token and set(token) <= set(STRUCTURE)}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_masks_are_the_same(name, real, backend, structure, smollm2):
    schema = SCHEMAS[name]
    ours, theirs = Constraint.from_schema(schema, real), Theirs(schema, backend)
    draw, same, forced = random.Random(name), 0, 0
    while same + forced < 40:
        tokens, _ = by_chance(ours, draw.randrange(10**6), draw.randrange(1, 30), structure)
        state = ours.start
        for token in tokens:
            state = ours.advance(state, token)
        text = b"".join(real.tokens[token] for token in tokens)
        if b"\x7f" in text or b"\\u" in text[-6:]:
            continue
        allowed = set(ours.allowed(state).nonzero().flatten().tolist())
        allowed |= set(smollm2.eos_ids) if ours.complete(state) else set()
        allowed -= {n for n in allowed if b"\x7f" in real.tokens[n]}
        found = theirs.after(tokens)
        if found != allowed:
            # where only one text can follow, it allows that token alone which encoding it gives
            assert len(found) == 1 and found < allowed, real.tokens[tokens[-1]]
            assert one_way(ours, state, max(len(real.tokens[token]) for token in allowed))
            forced += 1
        same += found == allowed
    assert same > forced


def one_way(constraint, state, length) -> bool:
    """Whether the next bytes are given."""
    for _ in range(length):
        ways = [b for b in range(256) if constraint.rules.step(state, b)]
        if len(ways) != 1 or constraint.complete(state):
            return False
        state = constraint.rules.step(state, ways[0])
    return True
