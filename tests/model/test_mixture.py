import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from conftest import random_decoder
from decodeloop.decode import generate
from decodeloop.errors import UserError
from decodeloop.model import (
    TINY,
    Decoder,
    ExpertLayer,
    Experts,
    FeedForward,
    Routing,
    mixture,
    sliced,
    through_experts,
)
from decodeloop.model.feed_forward import feed_forward

MIXED = dataclasses.replace(TINY, experts=Experts(number=5, active=2))
IDS = torch.tensor([[1, 5, 9, 9, 2, 60, 31, 8]])


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(config, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ExpertLayer(config).requires_grad_(False)


@pytest.mark.parametrize("leading", [(1,), (7,), (2, 3)])
def test_a_layer_of_experts_is_mixtrals(leading):
    ours = layer_of(MIXED)
    config = MixtralConfig(
        hidden_size=48, intermediate_size=72, num_local_experts=5, num_experts_per_tok=2
    )
    config._experts_implementation = "eager"
    theirs = MixtralSparseMoeBlock(config).requires_grad_(False)
    theirs.gate.weight.data = ours.router.weight
    for number, expert in enumerate(ours.experts):
        theirs.experts.gate_up_proj.data[number] = torch.cat((expert.gate.weight, expert.up.weight))
        theirs.experts.down_proj.data[number] = expert.down.weight
    x = random(1, *leading, 48)
    assert_close(mixture(x, ours), theirs(x.view(1, -1, 48)).view(x.shape), atol=1e-5, rtol=1e-4)


def test_an_expert_that_nobody_is_sent_to_is_not_read():
    layer = layer_of(MIXED)
    read = []
    for number, expert in enumerate(layer.experts):
        expert.gate.register_forward_pre_hook(lambda _, x, n=number: read.append((n, len(x[0]))))
    routing = Routing(torch.tensor([[3, 1], [3, 0]]), torch.ones(2, 2))
    through_experts(random(0, 2, 48), routing, layer.experts)
    assert read == [(0, 1), (1, 1), (3, 2)]


def test_no_tokens_give_no_rows():
    routing = Routing(torch.empty(0, 2, dtype=torch.long), torch.empty(0, 2))
    assert through_experts(torch.empty(0, 48), routing, layer_of(MIXED).experts).shape == (0, 48)


# a dense layer as experts: all of them together are the dense layer


@pytest.mark.parametrize("number", [1, 2, 9, 72])
@given(st.integers(0, 2**16))
def test_all_slices_together_equal_the_dense_layer(number, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        dense = FeedForward(TINY).requires_grad_(False)
    x = random(seed, 6, 48)
    experts = sliced(
        dense, number, torch.randperm(72, generator=torch.Generator().manual_seed(seed))
    )
    everyone = torch.arange(number).expand(6, number)
    routing = Routing(everyone, torch.ones(6, number))
    assert_close(through_experts(x, routing, experts), feed_forward(x, dense), atol=1e-5, rtol=1e-5)


def test_a_layer_that_can_not_be_cut_is_refused():
    for number in (0, 5, 73):
        with pytest.raises(UserError, match=f"72 channels can't be cut into {number} equal groups"):
            sliced(FeedForward(TINY), number)


def test_slices_hold_numbers_of_their_own():
    dense = FeedForward(TINY)
    first = sliced(dense, 2)[0]
    with torch.no_grad():
        dense.gate.weight.zero_()
    assert first.gate.weight.abs().sum() > 0
    assert sum(p.numel() for p in first.parameters()) == 3 * 48 * 36


# the decoder


def test_with_all_experts_alike_it_is_the_dense_decoder():
    dense, mixed = random_decoder(TINY), random_decoder(MIXED)
    state = dict(mixed.state_dict())
    for name in state:
        source = (
            name
            if ".experts." not in name
            else name.replace(name[name.index(".experts.") :][:10], "")
        )
        if source in dense.state_dict():
            state[name] = dense.state_dict()[source]
    mixed.load_state_dict(state)
    assert_close(mixed(IDS), dense(IDS), atol=1e-5, rtol=1e-4)


def test_with_a_cache_and_in_pieces_it_is_the_same():
    model = random_decoder(MIXED)
    cache = model.new_cache(1, 8)
    pieces = torch.cat([model(some, cache) for some in IDS.split([3, 1, 4], 1)], 1)
    assert_close(pieces, model(IDS), atol=1e-5, rtol=1e-4)


def test_it_generates():
    tokens = list(generate(random_decoder(MIXED), IDS, 6, eos_ids=()))
    assert len(tokens) == 6


def test_it_trains_its_router():
    model = Decoder(MIXED)
    model(IDS).logsumexp(-1).mean().backward()
    assert all(layer.feed_forward.router.weight.grad.abs().sum() > 0 for layer in model.layers)


def test_a_learners_own_mixture_takes_its_place():
    from functools import partial

    from decodeloop.model import BlockParts, Parts, block

    calls = []

    def mine(x, layer):
        calls.append(x.shape)
        return mixture(x, layer)

    model = random_decoder(MIXED)
    own = model.with_parts(Parts(block=partial(block, parts=BlockParts(mixture=mine))))
    assert torch.equal(own(IDS), model(IDS))
    assert calls == [(1, 8, 48)] * 3


@pytest.mark.parametrize(
    "more", [{"shared": 1}, {"dense_layers": 1, "dense_width": 9}, {"biased": True}]
)
def test_experts_that_are_not_computed_are_refused(more):
    config = dataclasses.replace(TINY, experts=Experts(5, 2, **more))
    with pytest.raises(UserError, match=rf"can't compute this model: .*{next(iter(more))}="):
        Decoder(config)
