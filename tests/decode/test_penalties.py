"""Penalties that are subtracted, biases, and what the model thought of a token: closed forms."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from decodeloop.decode import (
    Sampling,
    Sequence,
    frequency_penalty,
    generate,
    logit_bias,
    presence_penalty,
    token_forecast,
)
from decodeloop.errors import UserError

V = 12
made = st.lists(st.integers(0, V - 1), max_size=9)
penalties = st.floats(-2, 2)
PROMPT = [5, 7, 7]


def random_logits(seed, *shape):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 999), made, penalties, penalties)
def test_they_are_the_sum_of_the_interfaces_formula(seed, tokens, frequency, presence):
    logits, counts = random_logits(seed, 1, V), Counter(tokens)
    expected = [
        float(logits[0, j]) - counts[j] * frequency - (counts[j] > 0) * presence for j in range(V)
    ]
    ids = torch.tensor([tokens], dtype=torch.long)
    both = presence_penalty(frequency_penalty(logits, ids, frequency), ids, presence)
    assert_close(both, torch.tensor([expected]))


def test_rows_have_counts_of_their_own():
    ids = torch.tensor([[1, 1], [2, 3]])
    assert frequency_penalty(torch.zeros(2, 4), ids, 1.0).tolist() == [
        [0, -2, 0, 0],
        [0, 0, -1, -1],
    ]


def test_a_bias_is_added_to_every_row_and_the_logits_stay_as_they_were():
    logits = torch.zeros(2, 3)
    assert logit_bias(logits, {0: 1.5, 2: -100}).tolist() == [[1.5, 0, -100]] * 2
    assert logits.tolist() == [[0, 0, 0]] * 2


def test_a_sampling_counts_what_was_made_and_not_the_prompt():
    logits, ids = torch.zeros(1, V), torch.tensor([[*PROMPT, 7, 9]])
    sampling = Sampling(1.0, frequency_penalty=0.5, presence_penalty=0.25)
    moved = sampling.process(logits, ids, len(PROMPT))[0]
    assert {i: float(x) for i, x in enumerate(moved) if x} == {7: -0.75, 9: -0.75}
    twice = sampling.process(logits, torch.tensor([[*PROMPT, 9, 9]]), len(PROMPT))[0]
    assert {i: float(x) for i, x in enumerate(twice) if x} == {9: -1.25}


def test_the_temperature_divides_what_was_penalised():
    ids = torch.tensor([[1]])
    moved = Sampling(0.5, presence_penalty=1.0, logit_bias={2: 3.0}).process(torch.zeros(1, 3), ids)
    assert moved.tolist() == [[0.0, -2.0, 6.0]]


@pytest.mark.parametrize(
    "options",
    [{"frequency_penalty": 2.0}, {"presence_penalty": -2.0}, {"logit_bias": {3: 100.0}}],
    ids=lambda o: next(iter(o)),
)
def test_greedy_text_is_moved_too(decoder, options):
    prompt = torch.tensor([PROMPT])
    plain = list(generate(decoder, prompt, 8))
    moved = list(generate(decoder, prompt, 8, sampling=Sampling(**options)))
    assert moved != plain
    if "logit_bias" in options:
        assert moved == [3] * 8


def test_a_loop_of_ones_own_is_penalised_alike(decoder):
    from decodeloop.decode import decoding_loop

    prompt, sampling = torch.tensor([PROMPT]), Sampling(frequency_penalty=1.5)
    alone = list(generate(decoder, prompt, 8, sampling=sampling))
    through = list(generate(decoder, prompt, 8, sampling=sampling, loop=decoding_loop))
    assert alone == through != list(generate(decoder, prompt, 8))


@pytest.mark.parametrize("value", [-2.1, 2.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_a_penalty_outside_its_range_is_refused(name, value):
    with pytest.raises(UserError, match=rf"{name.replace('_', ' ')} is .*: expected a number from"):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({-1: 1.0}, "logit bias names token -1: expected ids from 0"),
        ({4: 101.0}, "logit bias of token 4 is 101.0: expected a number from -100 to 100"),
        ({4: math.nan}, "logit bias of token 4 is nan"),
    ],
)
def test_a_bad_bias_is_refused(bias, message):
    with pytest.raises(UserError, match=message):
        Sampling(logit_bias=bias)


def test_a_bias_of_a_token_that_is_none_is_refused():
    with pytest.raises(UserError, match="names token 3: expected ids from 0 to 2"):
        logit_bias(torch.zeros(3), {3: 1.0})


# what the model thought of a token


def test_a_forecast_is_the_models_own_in_nats():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    told = token_forecast(logits, 1, 2)
    assert (told.token, [token for token, _ in told.best]) == (1, [0, 1])
    assert told.logprob == pytest.approx(-math.log(4))
    assert [value for _, value in told.best] == pytest.approx([-math.log(2), -math.log(4)])
    assert token_forecast(logits.bfloat16(), 1, 99).best[0] == pytest.approx(
        (0, -math.log(2)), 0.01
    )


def test_a_sequence_has_one_for_each_of_its_tokens_before_anything_was_penalised():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    sampling = Sampling(frequency_penalty=2.0)
    sequence = Sequence(torch.tensor([[1]]), 9, sampling=sampling, eos_ids=[2], best=1)
    for _ in range(3):
        sequence.take(sequence.choose(logits))
    assert sequence.finish_reason == "eos"
    assert sequence.tokens == [0, 1]
    assert [f.token for f in sequence.forecasts] == [0, 1]
    assert [f.logprob for f in sequence.forecasts] == pytest.approx([-math.log(2), -math.log(4)])
    assert all(f.best[0][0] == 0 for f in sequence.forecasts)


def test_who_does_not_ask_gets_none():
    sequence = Sequence(torch.tensor([[1]]), 9)
    sequence.take(sequence.choose(torch.zeros(1, 4)))
    assert sequence.forecasts == []
