"""The small model that comes with the course: it is what its card says."""

from __future__ import annotations

import random

import pytest
import torch

from decodeloop.bench.runs import config_of
from decodeloop.checkpoints.shipped import SHIPPED
from decodeloop.decode import Sampling, generate
from decodeloop.loading import load
from decodeloop.model import parameter_count
from decodeloop.quality import Original, held_out, tokenized


@pytest.fixture(scope="module")
def small():
    return load("small", device="cpu", compiled=False)


def test_it_is_small_and_of_the_llama_architecture(small):
    assert parameter_count(small.config) == 508_800
    assert config_of("small") == small.config
    assert sum(path.stat().st_size for path in SHIPPED["small"].iterdir()) < 1_100_000
    assert small.tokenizer.vocabulary == small.config.vocabulary == 512
    assert small.config.kv_heads < small.config.heads


def test_it_forecasts_plays_that_it_never_saw(small):
    texts = tokenized(small.tokenizer, held_out("plays"))
    loss = Original(small.model, texts).quality.loss
    assert 2.7 < loss.low < loss.value < loss.high < 3.1


def test_it_says_something_like_a_play(small):
    ids = torch.tensor([small.prompt_ids("KING.\n", raw=True)])
    generator = torch.Generator().manual_seed(0)
    made = list(generate(small.model, ids, 80, sampling=Sampling(0.7), generator=generator))
    text = small.tokenizer.decode(made)
    words = text.split()
    assert len(words) > 15
    assert "\n" in text


def test_its_weights_were_never_squeezed(small):
    """Of 32 neighbours nearly all differ, where those of a 4-bit file have 16 values at most."""
    draw = random.Random(0)
    for layer in small.model.layers:
        weight = layer.feed_forward.down.weight.reshape(-1, 32)
        for row in draw.sample(range(len(weight)), 20):
            assert weight[row].unique().numel() >= 28


def test_it_has_no_chat_template_and_says_what_to_do(small):
    with pytest.raises(ValueError, match="--raw"):
        small.prompt_ids("Hello")
