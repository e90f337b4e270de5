"""`generate_batch` through the engine is the plain one, in results and in what it refuses."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop import decode
from decodeloop.decode import Sampling
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.serve import generate_batch

V = TINY.vocabulary
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=12)


def generators(count):
    return [torch.Generator().manual_seed(row) for row in range(count)]


def test_the_signature_is_that_of_the_plain_one():
    plain, own = inspect.signature(decode.generate_batch), inspect.signature(generate_batch)
    assert own == plain


@settings(max_examples=10)
@given(st.lists(prompts, min_size=1, max_size=5), st.integers(1, 12), st.booleans())
def test_it_gives_what_the_plain_one_gives(decoder, batch, n, sampled):
    sampling = Sampling(temperature=0.9, repetition_penalty=1.2) if sampled else None

    def options():
        return {"sampling": sampling, "generators": generators(len(batch)), "eos_ids": [3, 5]}

    plain = decode.generate_batch(decoder, batch, n, **options())
    assert generate_batch(decoder, batch, n, **options()) == plain


def test_more_texts_than_run_at_a_time(decoder):
    batch = [[1, 2, i] for i in range(40)]
    assert generate_batch(decoder, batch, 5) == decode.generate_batch(decoder, batch, 5)


@pytest.mark.parametrize(
    ("batch", "n", "options", "message"),
    [
        ([], 4, {}, r"given no prompts: expected a list of token id lists"),
        ([[1], []], 4, {}, r"prompt 1 of the batch: token_ids \(1, 0\)"),
        ([[1]], 0, {}, r"max_new_tokens is 0: expected at least 1"),
        ([[1], [2]], 4, {"generators": generators(1)}, r"1 generators for 2 prompts"),
    ],
)
def test_it_refuses_what_the_plain_one_refuses(decoder, batch, n, options, message):
    with pytest.raises(UserError, match=message):
        generate_batch(decoder, batch, n, **options)


def test_what_fails_in_the_model_is_raised(decoder):
    class Failing:
        config, head = decoder.config, decoder.head

        def hidden(self, *arguments, **options):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        generate_batch(Failing(), [[1, 2]], 3)
