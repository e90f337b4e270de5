"""What experts cost, against draws, PyTorch's counter, and the bytes of real modules."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from conftest import random_decoder
from decodeloop.cost import (
    activation_bytes,
    compute_bound_batch,
    costs,
    decode_bytes,
    decode_flops,
    expected_experts,
    forward_bytes,
    forward_flops,
    kv_cache_bytes,
    moe_flops_and_bytes,
    preset,
)
from decodeloop.cost.accelerators import accelerator
from decodeloop.errors import UserError
from decodeloop.measure.inspecting import peak_bytes
from decodeloop.model import TINY, WITH_TABLE, Decoder, ExpertLayer, Experts, mixture

MIXED = replace(TINY, experts=Experts(number=6, active=2))


@pytest.mark.parametrize(
    ("number", "active", "tokens"), [(8, 2, 1), (8, 2, 5), (16, 1, 30), (5, 5, 2)]
)
def test_as_many_experts_are_met_as_draws_meet(number, active, tokens):
    draw = random.Random(0)
    met = [
        len({e for _ in range(tokens) for e in draw.sample(range(number), active)})
        for _ in range(4000)
    ]
    mean = sum(met) / len(met)
    assert expected_experts(number, active, tokens) == pytest.approx(mean, abs=0.1)


def test_experts_that_are_met_in_closed_form():
    assert expected_experts(8, 2, 0) == 0
    assert expected_experts(8, 2, 1) == 2
    assert expected_experts(8, 2, 2) == 3.5
    assert expected_experts(8, 8, 1) == 8
    assert expected_experts(128, 8, 10**6) == pytest.approx(128)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 1, 1), "number is 0"),
        ((4, 5, 1), "can't meet 5 of 4 experts: expected at most 4"),
        ((4, 2, -1), "tokens is -1: expected a whole number from 0 up"),
        ((4, 1.0, 1), "active is 1.0"),
    ],
)
def test_experts_that_can_not_be_met_are_refused(numbers, message):
    with pytest.raises(UserError, match=message):
        expected_experts(*numbers)


@given(st.integers(2, 6), st.integers(1, 7), st.data())
def test_flops_of_a_layer_are_those_that_pytorchs_counter_counts(E, tokens, data):
    k = data.draw(st.integers(1, E))
    config = replace(TINY, experts=Experts(E, k))
    with torch.random.fork_rng():
        torch.manual_seed(tokens)
        layer, x = ExpertLayer(config), torch.randn(tokens, TINY.width)
    for module in layer.modules():  # it has none for a matrix times a vector
        if isinstance(module, torch.nn.Linear):
            module.forward = lambda x, w=module.weight: x @ w.mT
    with FlopCounterMode(display=False) as counter:
        mixture(x, layer)
    flops, _ = moe_flops_and_bytes(tokens, TINY.width, TINY.feed_forward, E, k)
    assert counter.get_total_flops() == flops


def test_bytes_of_a_layer_are_those_of_the_experts_that_are_met():
    flops, moved = moe_flops_and_bytes(1, 48, 72, 6, 2, bytes_per_number=2)
    assert moved == pytest.approx(2 * (6 * 48 + 2 * 3 * 48 * 72))
    assert flops == 2 * (6 * 48 + 2 * 3 * 48 * 72)
    _, all_of_them = moe_flops_and_bytes(10**6, 48, 72, 6, 2)
    held = sum(p.numel() for p in ExpertLayer(MIXED).parameters())
    assert all_of_them == pytest.approx(4 * held)


def test_sizes_that_make_no_sense_are_told_so():
    for sizes, message in (
        ({"C": 0}, "C is 0"),
        ({"F": 2.5}, "F is 2.5"),
        ({"k": 9}, "can't meet 9 of 4"),
        ({"bytes_per_number": 0}, "bytes_per_number is 0"),
    ):
        with pytest.raises(UserError, match=message):
            moe_flops_and_bytes(**({"tokens": 1, "C": 2, "F": 3, "E": 4, "k": 1} | sizes))


# a whole model


@pytest.mark.parametrize(("batch", "T", "old"), [(1, 1, 0), (2, 5, 0), (3, 4, 6)])
def test_flops_of_a_model_are_those_of_its_decoder(batch, T, old):
    model = random_decoder(MIXED).with_parts(WITH_TABLE)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = lambda x, w=module.weight: x @ w.mT
    cache = model.new_cache(batch, old + T)
    if old:
        model(torch.zeros(batch, old, dtype=torch.long), cache)
    with FlopCounterMode(display=False) as counter:
        model.head(model.hidden(torch.ones(batch, T, dtype=torch.long), cache)[:, -1:])
    flops = forward_flops(MIXED, batch, T, old + T)
    if T > 1:  # it has none for a product of vectors either
        assert counter.get_total_flops() == sum(flops.values())
    assert flops["router"] == 2 * MIXED.layers * batch * T * 6 * MIXED.width


def test_a_batch_reads_more_experts_and_no_more_than_there_are():
    one, many = (forward_bytes(MIXED, batch, 1, 9)["weights"] for batch in (1, 500))
    experts = 3 * TINY.width * TINY.feed_forward * TINY.layers * 4
    assert many - one == pytest.approx(4 * experts, rel=1e-4)
    dense = replace(TINY, experts=None)
    assert forward_bytes(dense, 1, 1, 9)["weights"] == forward_bytes(dense, 500, 1, 9)["weights"]


def test_experts_that_are_all_active_cost_what_a_wide_layer_costs():
    wide, all_of_them = (
        replace(TINY, feed_forward=3 * TINY.feed_forward),
        replace(TINY, experts=Experts(3, 3)),
    )
    router = 3 * TINY.width * TINY.layers
    assert decode_flops(all_of_them, 4, 9) - decode_flops(wide, 4, 9) == 2 * 4 * router
    assert decode_bytes(all_of_them, 4, 9) - decode_bytes(wide, 4, 9) == 4 * router


@pytest.mark.parametrize(("batch", "T"), [(1, 1), (2, 30), (1, 200)])
@torch.inference_mode()
def test_activations_are_bounded_nearly(batch, T):
    config = replace(MIXED, width=16, feed_forward=400)
    model = Decoder(config).with_parts(WITH_TABLE)
    cache = model.new_cache(batch, T)
    ids = torch.arange(batch * T).view(batch, T) % config.vocabulary

    def forward():
        cache.truncate(0)
        model.head(model.hidden(ids, cache)[:, -1])

    held = peak_bytes(forward)
    bound = activation_bytes(config, batch, T, T, 4)
    assert held <= bound < 4 * held


# DeepSeek-V3's attention, whose cache is a latent


def test_a_latent_cache_has_576_numbers_a_layer():
    deepseek = preset("deepseek-v3")
    assert kv_cache_bytes(deepseek, 1, 1, 2) == 61 * 576 * 2
    assert (
        forward_bytes(deepseek, 2, 1, 9, cache_bytes_per_number=2)["kv_read"] == 2 * 8 * 61 * 1152
    )


def test_a_step_meets_latents_and_a_prompt_keys_that_are_made():
    deepseek = preset("deepseek-v3")
    step, prompt = forward_flops(deepseek, 1, 1, 10), forward_flops(deepseek, 1, 10, 10)
    heads = 61 * 128
    assert step["scores"] == 2 * heads * 10 * (512 + 64)
    assert step["weighted_sum"] == 2 * heads * 10 * 512
    assert prompt["scores"] == 2 * heads * 100 * (128 + 64)
    assert prompt["weighted_sum"] == 2 * heads * 100 * 128


def test_costs_say_what_is_active():
    part = accelerator("h100-sxm")
    mixtral = costs(preset("mixtral-8x7b"), part)
    assert mixtral.active_parameters == 12_879_925_248
    assert mixtral.as_dict()["active_parameters"] == 12_879_925_248
    assert not mixtral.fits
    assert costs(preset("gpt-oss-20b"), part, dtype="int4").fits
    dense = costs(preset("llama-7b"), part)
    assert dense.active_parameters == sum(dense.parameters.values())


def test_where_a_batch_computes_is_not_told_of_experts():
    with pytest.raises(UserError, match="compute_bound_batch works on one feed-forward layer"):
        compute_bound_batch(preset("mixtral-8x7b"), 9, 1e14, 1e12, 2)
