"""Reading texts in padded batches gives what reading each alone gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import random_decoder
from decodeloop.errors import UserError
from decodeloop.model import TINY, ContiguousKVCache, RopeScaling
from decodeloop.quality.forecasts import (
    batches,
    forecasts,
    hidden_states,
    log_probabilities,
    tokenized,
)

LENGTHS = (5, 2, 40, 5, 17, 3)


def texts_of(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(TINY.vocabulary, (n,), generator=generator) for n in lengths]


@pytest.fixture
def few_tokens(monkeypatch):
    """Batches so small that some hold several texts, and some one."""
    monkeypatch.setattr(batches, "__defaults__", (20,))


@pytest.mark.parametrize("options", [{}, {"chunk": 1}, {"chunk": 3}, {"chunk": 100}])
def test_each_text_is_read_as_if_it_were_alone(decoders, few_tokens, options):
    texts = texts_of(LENGTHS)
    for decoder in decoders.values():
        found = dict(hidden_states(decoder, texts, **options))
        assert sorted(found) == list(range(len(texts)))
        for number, ids in enumerate(texts):
            alone = decoder.hidden(ids[None])[0]
            torch.testing.assert_close(found[number], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"chunk": 1}, {"chunk": 7}])
def test_so_it_is_in_a_relative_of_llama(few_tokens, options):
    stretch = RopeScaling("yarn", 4.0, 16, attention=1.1)
    features = {"window": 4, "biases": "qkv", "qk_norm": True, "rope_scaling": stretch}
    relative, texts = random_decoder(replace(TINY, **features)), texts_of(LENGTHS)
    for number, hidden in hidden_states(relative, texts, **options):
        alone = relative.hidden(texts[number][None])[0]
        torch.testing.assert_close(hidden, alone, rtol=1e-4, atol=1e-4)


def test_log_probabilities_are_those_of_the_softmax(decoders):
    ids = texts_of([9])[0]
    hidden = decoders[2].hidden(ids[None])[0]
    found = log_probabilities(decoders[2], hidden)
    expected = decoders[2](ids[None])[0].double().softmax(-1)
    torch.testing.assert_close(found.double().exp(), expected, rtol=1e-5, atol=1e-8)


def test_the_head_reads_together_what_was_read_together(decoders, few_tokens, monkeypatch):
    decoder, texts, rows = decoders[2], texts_of(LENGTHS), []
    head = decoder.head
    monkeypatch.setattr(decoder, "head", lambda hidden: rows.append(len(hidden)) or head(hidden))
    found = dict(forecasts(decoder, texts))
    assert rows == [39, 16, sum(n - 1 for n in LENGTHS) - 39 - 16]
    for number, ids in enumerate(texts):
        alone = decoder(ids[None])[0, :-1].log_softmax(-1)
        torch.testing.assert_close(found[number], alone, rtol=1e-4, atol=1e-4)


def test_a_cache_of_ones_own_is_asked_for_each_batch(decoders, few_tokens):
    made = []

    def new_cache(batch, length):
        made.append((batch, length))
        return ContiguousKVCache(decoders[2].config, batch, length)

    texts = texts_of(LENGTHS)
    found = dict(hidden_states(decoders[2], texts, new_cache=new_cache))
    assert made == [(1, 40), (1, 17), (4, 5)]
    torch.testing.assert_close(
        found[1], decoders[2].hidden(texts[1][None])[0], rtol=1e-4, atol=1e-4
    )


@given(st.lists(st.integers(2, 90), min_size=1, max_size=30), st.integers(1, 200))
def test_batches_hold_every_text_once_and_little_padding(lengths, most):
    texts = [torch.zeros(n) for n in lengths]
    found = batches(texts, most)
    assert sorted(n for batch in found for n in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[n] for n in batch)
        assert len(batch) == 1 or longest * len(batch) <= most
    order = [lengths[n] for batch in found for n in batch]
    assert order == sorted(lengths, reverse=True)


class Characters:
    def encode(self, text):
        return [ord(c) % 90 for c in text]


def test_texts_become_tokens_at_most_so_many():
    found = tokenized(Characters(), ["some text", "more"], most=5)
    assert [len(ids) for ids in found] == [5, 4]
    assert found[1].tolist() == Characters().encode("more")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: tokenized(Characters(), ["long enough", "x"]), r"text 2 .*\(1,\).* two"),
        (lambda model: tokenized(Characters(), []), "no text: expected at least one"),
        (lambda model: list(hidden_states(model, texts_of([4]), chunk=0)), "chunk is 0: expected"),
        (lambda model: list(hidden_states(model, texts_of([200]))), "200 tokens.* 128; cut it"),
        (
            lambda model: list(hidden_states(model, [torch.zeros(1, 4)])),
            r"\(1, 4\): expected \(T,\)",
        ),
    ],
)
def test_what_forecasts_nothing_is_refused_in_one_sentence(decoders, call, said):
    with pytest.raises(UserError, match=said):
        call(decoders[2])
