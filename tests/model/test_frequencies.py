import math
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from decodeloop.errors import UserError
from decodeloop.model import RopeScaling, ntk_base, rotary_frequencies, yarn_frequencies
from decodeloop.model.frequencies import (
    dynamic_base,
    interpolated_frequencies,
    stretched_frequencies,
)

BASES = [500.0, 10_000.0, 100_000.0]


def theirs(kind, D, base, length=None, **told):
    told |= {"rope_type": kind, "rope_theta": base}
    context = told.pop("context", 2048)
    config = LlamaConfig(
        hidden_size=D, num_attention_heads=1, max_position_embeddings=context, rope_parameters=told
    )
    return ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("D", [4, 10, 64, 128])
@pytest.mark.parametrize("factor", [1.0, 2.5, 8.0])
def test_frequencies_are_those_of_transformers(D, base, factor):
    old = {"factor": factor, "original_max_position_embeddings": 512}
    for scaling, told in (
        (RopeScaling("linear", factor), {"factor": factor}),
        (RopeScaling("yarn", factor, 512), old),
        (
            RopeScaling("yarn", factor, 512, beta_fast=9, beta_slow=2.5, truncate=False),
            old | {"beta_fast": 9, "beta_slow": 2.5, "truncate": False},
        ),
        (
            RopeScaling("llama3", factor, 512, low=1.5, high=6),
            old | {"low_freq_factor": 1.5, "high_freq_factor": 6},
        ),
    ):
        expected, _ = theirs(scaling.kind, D, base, **told)
        found = stretched_frequencies(D, base, scaling)
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-5)
    for length in (1, 512, 513, 4000):
        expected, _ = theirs("dynamic", D, base, length, factor=factor, context=512)
        found = stretched_frequencies(D, base, RopeScaling("dynamic", factor, 512), length)
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-5)


def test_what_each_stretching_keeps_and_what_it_slows():
    D, base, factor = 64, 10_000.0, 4.0
    plain = rotary_frequencies(D, base)
    torch.testing.assert_close(interpolated_frequencies(D, base, factor), plain / 4)
    ntk = rotary_frequencies(D, ntk_base(D, base, factor))
    torch.testing.assert_close(ntk[0], plain[0])
    torch.testing.assert_close(ntk[-1], plain[-1] / 4)
    turns = 2048 * plain / (2 * math.pi)
    ratio = plain / yarn_frequencies(D, base, factor, 2048)
    assert (ratio[turns > 40] == 1).all() and (turns > 40).any()
    torch.testing.assert_close(ratio[turns < 0.8], torch.full_like(ratio[turns < 0.8], 4.0))
    assert (ratio.diff() >= -1e-6).all()
    assert dynamic_base(D, base, factor, 100, 100) == base < dynamic_base(D, base, factor, 100, 101)


@pytest.mark.parametrize(
    "wrong",
    [
        SimpleNamespace(kind="linear", factor=0.0),
        SimpleNamespace(kind="linear", factor=math.nan),
        SimpleNamespace(kind="yarn", beta_fast=-1.0),
        SimpleNamespace(kind="yarn", original_context=0),
        SimpleNamespace(kind="divided", divisors=(1.0, -2.0)),
        SimpleNamespace(kind="llama3", low=4.0, high=4.0),
        SimpleNamespace(kind="cubic"),
    ],
)
def test_a_scaling_that_can_not_be_is_refused(wrong):
    with pytest.raises(UserError, match="RopeScaling: "):
        RopeScaling(**vars(wrong))
