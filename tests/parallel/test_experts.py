"""Experts on several ranks: together they are the whole layer, and each touches its own alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decodeloop.errors import UserError
from decodeloop.model import TINY, ExpertLayer, Experts, mixture
from decodeloop.parallel import expert_parallel, on_threads, own_experts


def layer_of(E, k):
    with torch.random.fork_rng():
        torch.manual_seed(E)
        layer = ExpertLayer(replace(TINY, experts=Experts(E, k)))
        return layer.requires_grad_(False), torch.randn(2, 5, TINY.width)


@pytest.mark.parametrize(("E", "k", "ranks"), [(4, 2, 2), (5, 2, 3), (5, 1, 5), (3, 3, 1)])
def test_the_ranks_together_compute_the_whole_layer(E, k, ranks):
    layer, x = layer_of(E, k)

    def program(rank, all_reduce):
        return expert_parallel(x, layer, rank, ranks, all_reduce)

    for got in on_threads(program, ranks):
        torch.testing.assert_close(got, mixture(x, layer), atol=1e-5, rtol=1e-5)


def test_a_rank_touches_its_own_experts_alone():
    layer, x = layer_of(5, 2)
    for expert in (0, 1, 4):
        for projection in layer.experts[expert].children():
            projection.weight.fill_(torch.nan)
    assert own_experts(5, 1, 3) == range(1, 3)
    layer.experts[1].load_state_dict(layer.experts[2].state_dict())
    term = expert_parallel(x, layer, 1, 3, lambda term: term)
    assert term.isfinite().all() and term.abs().sum() > 0


def test_each_expert_lies_on_one_rank():
    for number, ranks in ((8, 3), (5, 5), (7, 2)):
        held = [expert for rank in range(ranks) for expert in own_experts(number, rank, ranks)]
        assert held == list(range(number))
    with pytest.raises(UserError, match="3 experts can't be split over 4 ranks: each holds at"):
        own_experts(3, 0, 4)
    with pytest.raises(UserError, match="rank 2 of 2: expected 0 to 1"):
        own_experts(3, 2, 2)
