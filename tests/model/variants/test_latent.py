"""Latent attention: absorbed equals expanded, and a decoder that keeps r + R numbers of a token."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from decodeloop.decode import generate, generate_batch
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, Decoder, causal_mask, rope
from decodeloop.model.variants import (
    LatentConfig,
    LatentDecoder,
    LatentKVCache,
    absorb,
    input_moments,
    latent_attention,
    latent_factors,
    latent_from,
)
from decodeloop.model.variants.latent import Kept, expanded_attention

IDS = torch.tensor([[5, 40, 7, 7, 26, 1, 9, 12], [2, 33, 8, 15, 41, 2, 77, 11]])


def config_of(**sizes):
    return LatentConfig(**vars(TINY) | {"rank": 12, "rotated": 4} | sizes)


def decoder(config, seed=0, **more):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LatentDecoder(config, **more).requires_grad_(False)


def test_absorbed_equals_expanded_in_fp64():
    draw = random.Random(0)
    for _ in range(60):
        G, share, g = draw.choice(((1, 3, 1), (2, 1, 1), (4, 2, 2), (3, 2, 3)))
        H, D, R, Dv, r = G * share, draw.choice((0, 2, 6)), 2 * draw.randrange(1, 4), 5, 7
        B, T, S = draw.choice(((1, 1, 4), (2, 3, 3), (1, 4, 9)))
        q, q_rotated = torch.randn(B, H, T, D).double(), torch.randn(B, H, T, R).double()
        kept = Kept(torch.randn(B, S, r).double(), torch.randn(B, g, S, R).double())
        ups = torch.randn(G * D, r).double(), torch.randn(G * Dv, r).double()
        mask = causal_mask(T, S) if draw.random() < 0.7 else None
        one = latent_attention(q, q_rotated, kept, *ups, G, mask)
        other = expanded_attention(q, q_rotated, kept, *ups, G, mask)
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_the_definition_of_attention_by_hand():
    """One head, with loops: a score is divided by √(D + R), whatever the rank."""
    q, turned, latents, keys = (torch.randn(3, n).double() for n in (4, 2, 5, 2))
    up_key, up_value = torch.randn(4, 5).double(), torch.randn(3, 5).double()
    expected = torch.zeros(3, 3).double()
    for t in range(3):
        scores = [
            (q[t] @ (up_key @ latents[s]) + turned[t] @ keys[s]) / math.sqrt(6)
            for s in range(t + 1)
        ]
        weights = torch.stack(scores).softmax(0)
        expected[t] = sum(w * (up_value @ latents[s]) for s, w in enumerate(weights))
    kept = Kept(latents[None], keys[None, None])
    found = latent_attention(
        q[None, None], turned[None, None], kept, up_key, up_value, 1, causal_mask(3)
    )
    torch.testing.assert_close(found[0, 0], expected)


def test_queries_turned_after_the_projection_do_not_absorb():
    """Why the turned part is kept apart: the turn stands between the two matrices."""
    q, latents, up_key = torch.randn(1, 1, 3, 4), torch.randn(1, 3, 5), torch.randn(4, 5)
    at = torch.arange(3)
    turned_keys = rope((latents @ up_key.mT)[:, None], at, 100.0)
    exact = rope(q, at, 100.0) @ turned_keys.mT
    absorbed = absorb(rope(q, at, 100.0), up_key, 1) @ latents[:, None].mT
    assert not torch.allclose(exact, absorbed, atol=0.1)


def test_shapes_that_do_not_fit_are_named():
    for q, up, heads in (
        ((1, 3, 2, 4), (8, 5), 2),
        ((1, 2, 2, 4), (6, 5), 2),
        ((1, 2, 2, 4), (8, 5), 0),
    ):
        with pytest.raises(ShapeError, match="absorb"):
            absorb(torch.zeros(q), torch.zeros(up), heads)


@pytest.mark.parametrize("sizes", [{}, {"rotated": 10}, {"rotated_heads": 2}, {"tied": False}])
def test_with_a_cache_it_is_the_same_as_without_and_as_expanded(sizes):
    config = config_of(**sizes)
    model, expanded = decoder(config), decoder(config, attend=expanded_attention)
    whole, cache = model(IDS), model.new_cache(2, 8)
    found = torch.cat([model(some, cache) for some in IDS.split([3, 1, 1, 3], 1)], 1)
    torch.testing.assert_close(found, whole, atol=2e-5, rtol=0)
    torch.testing.assert_close(expanded(IDS), whole, atol=2e-5, rtol=0)


def test_it_generates_from_so_many_numbers_a_token_and_layer():
    config = config_of(rotated_heads=2)
    model = decoder(config)
    cache = model.new_cache(1, 8 + 20)
    assert config.kept == 12 + 2 * 4
    assert cache.nbytes == 28 * config.layers * config.kept * 4
    full = Decoder(TINY).new_cache(1, 28)
    assert full.keys.nbytes + full.values.nbytes == 28 * TINY.layers * 2 * 2 * 10 * 4
    run = list(generate(model, IDS[:1], 20, cache=cache, eos_ids=()))
    assert cache.length == 8 + 19
    ids = IDS[:1]
    for token in run:  # without any cache
        assert int(model(ids)[0, -1].argmax()) == token
        ids = torch.cat((ids, torch.tensor([[token]])), 1)
    uneven = [IDS[0].tolist(), IDS[1, :3].tolist()]
    alone = [list(generate(model, torch.tensor([one]), 6, eos_ids=())) for one in uneven]
    assert [list(result.tokens) for result in generate_batch(model, uneven, 6, eos_ids=())] == alone


def test_the_cache_goes_back_and_selects_and_says_what_is_wrong():
    model = decoder(config_of())
    cache = model.new_cache(2, 8)
    whole = model.hidden(IDS, cache)
    cache.truncate(5)
    cache.select([1, 0])
    again = model.hidden(IDS[[1, 0], 5:], cache)
    torch.testing.assert_close(again, whole[[1, 0], 5:], atol=2e-5, rtol=0)
    with pytest.raises(UserError, match="room for 8 positions"):
        model.hidden(IDS, cache)
    with pytest.raises(ShapeError, match="2 rows and was given 1"):
        model.hidden(IDS[:1], model.new_cache(2, 8))
    with pytest.raises(UserError, match="expected a LatentKVCache"):
        model.hidden(IDS, Decoder(TINY).new_cache(2, 8))
    for wrong in (lambda: cache.truncate(9), lambda: cache.advance(1), lambda: cache.truncate(-1)):
        with pytest.raises(UserError):
            wrong()
    with pytest.raises(UserError, match="at least 1"):
        LatentKVCache(1, 0, 5, 3, (1, 2))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"rotated": 3}, "rotated is 3"), ({"rotated": 12}, "12"), ({"rotated_heads": 3}, "3 turned"),
     ({"rank": 0}, "rank is 0"), ({"window": 4}, "window=4")],
)  # fmt: skip
def test_sizes_that_can_not_be_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        LatentDecoder(config_of(**sizes))


# out of a trained model


@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize("with_moment", [True, False])
def test_no_two_thin_matrices_come_nearer(rank, with_moment):
    """Eckart and Young: the error is what the singular values say that are left out."""
    weight, x = torch.randn(6, 9).double(), torch.randn(9, 40).double() * torch.rand(9, 1)
    inputs = x if with_moment else torch.eye(9).double()
    moment = x @ x.mT / 40 if with_moment else None
    up, down = latent_factors(weight, rank, moment)
    assert up.shape == (6, rank) and down.shape == (rank, 9)
    left_out = torch.linalg.svdvals(weight @ inputs)[rank:].square().sum()
    error = ((weight - up @ down) @ inputs).square().sum()
    torch.testing.assert_close(error, left_out, atol=1e-9, rtol=1e-9)
    for bad in (0, 7):
        with pytest.raises(UserError, match="expected 1 to 6"):
            latent_factors(weight, bad)


@pytest.fixture
def trained():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Decoder(replace(TINY, tied=False, rope_base=1e4)).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.mul_(2)
    return model


def test_a_whole_latent_of_fully_turned_keys_is_the_model_itself(trained):
    twin = latent_from(trained, rank=20, rotated=10)  # G·D values, all pairs turned
    assert twin.config.kept == 20 + 2 * 10
    torch.testing.assert_close(twin(IDS), trained(IDS), atol=1e-4, rtol=0)


def test_pairs_that_do_not_turn_can_go_into_the_latent(trained):
    """With a base so large that only the first pair turns, no turning is lost."""
    trained.config = replace(TINY, rope_base=1e30, tied=False)
    for layer in trained.layers:
        layer.config = trained.config
    twin = latent_from(trained, rank=36, rotated=2)  # 2·8 of the keys, 2·10 of the values
    torch.testing.assert_close(twin(IDS), trained(IDS), atol=1e-3, rtol=0)
    less = latent_from(trained, rank=30, rotated=2)
    assert (less(IDS) - trained(IDS)).abs().max() > 1e-3


def test_moments_are_those_of_what_keys_are_made_of(trained):
    moments = input_moments(trained, [IDS[:1], IDS[1:, :4]])
    x = trained.embedding(torch.cat((IDS[0], IDS[1, :4])))
    normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + TINY.norm_eps)
    expected = (normed.mT @ normed).double() / 12
    torch.testing.assert_close(moments[0], expected, atol=1e-5, rtol=0)
    assert len(moments) == 3 and not trained.layers[0].attention.key._forward_pre_hooks

    def distance(some):
        return float((latent_from(trained, 14, 10, some)(IDS) - trained(IDS)).norm())

    exact = input_moments(trained, [IDS[:1], IDS[1:]])
    assert distance(exact) < distance(None)


def test_the_two_matrices_may_be_found_by_another_function(trained):
    asked = []

    def first_rows(weight, rank, moment):
        asked.append((weight.dtype, tuple(weight.shape), rank, moment.dtype))
        return torch.eye(len(weight))[:, :rank], weight[:rank]

    moments = input_moments(trained, [IDS])
    twin = latent_from(trained, 7, 10, moments, factors=first_rows)
    assert asked == [(torch.float32, (20, trained.config.width), 7, torch.float32)] * 3
    value = trained.layers[0].attention.value.weight  # all pairs are turned: values alone are left
    assert torch.equal(twin.layers[0].attention.down.weight, value[:7])
