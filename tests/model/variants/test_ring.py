"""Rings and streams: equal to a masked whole cache, and to keys that are turned anew."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import pytest
import torch

from decodeloop.decode import generate
from decodeloop.errors import UserError
from decodeloop.model import (
    TINY,
    ContiguousKVCache,
    Decoder,
    NoCache,
    Parts,
    RopeScaling,
    grouped_query_attention,
    rope,
    window_mask,
)
from decodeloop.model.variants import RingKVCache, StreamingKVCache

SMALL = replace(TINY, layers=2)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Decoder(SMALL).requires_grad_(False)


def ids_of(draw, B, T):
    return torch.tensor([[draw.randrange(SMALL.vocabulary) for _ in range(T)] for _ in range(B)])


def pieces_of(draw, T):
    """T tokens cut anywhere, often into single ones."""
    sizes = []
    while sum(sizes) < T:
        sizes.append(min(draw.choice((1, 1, 2, 3, 7, 20, 40)), T - sum(sizes)))
    return sizes


def test_a_ring_equals_the_masked_whole_cache_for_every_split_of_200_streams():
    draw = random.Random(0)
    for _ in range(200):
        window, sinks = draw.choice((1, 2, 5, 8, 16)), draw.choice((0, 0, 1, 3))
        B, T = draw.choice((1, 2)), draw.choice((1, 9, 17, 40))
        q, k, v = torch.randn(2, B, 6, T, 10), *torch.randn(2, 2, B, 2, T, 10)  # of two layers
        mask = window_mask(T, T, window, sinks)
        cache, start = RingKVCache(SMALL, B, window=window, sinks=sinks), 0
        for size in pieces_of(draw, T):
            for layer in range(2):
                some = (x[layer, :, :, start : start + size] for x in (q, k, v))
                expected = grouped_query_attention(q[layer], k[layer], v[layer], mask)
                found, expected = cache.attend(layer, *some), expected[:, :, start : start + size]
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
            cache.advance(size)
            start += size
        assert cache.length == T and cache.keys.shape[3] == window + sinks


def test_a_model_reads_through_a_ring_as_under_the_mask(model):
    ids = ids_of(random.Random(0), 2, 40)
    expected = model.hidden(ids, mask=window_mask(40, 40, 5, 2))
    cache = RingKVCache(SMALL, 2, window=5, sinks=2)
    found = torch.cat([model.hidden(some, cache) for some in ids.split([20, 1, 1, 3, 15], 1)], 1)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_the_mask_is_that_of_the_definition():
    for T, S, window, sinks in (
        (1, 1, 1, 0),
        (3, 7, 2, 1),
        (7, 7, 3, 0),
        (1, 9, 4, 2),
        (4, 4, 9, 9),
    ):
        mask = window_mask(T, S, window, sinks)
        for t in range(T):
            for s in range(S):
                distance = (S - T + t) - s
                assert mask[t, s] == (distance >= 0 and (distance < window or s < sinks))
    for window, sinks in ((0, 0), (-1, 0), (1, -1)):
        with pytest.raises(UserError, match="at least 1"):
            window_mask(2, 2, window, sinks)


@pytest.mark.parametrize("features", [{}, {"rope_scaling": RopeScaling("linear", 2.0)}])
def test_a_model_with_a_window_masks_by_itself_and_may_have_a_ring(model, features):
    windowed = Decoder(replace(SMALL, window=5, **features)).requires_grad_(False)
    windowed.load_state_dict(model.state_dict())
    plain = Decoder(replace(SMALL, **features)).requires_grad_(False)
    plain.load_state_dict(model.state_dict())
    ids = ids_of(random.Random(1), 2, 30)
    expected = plain.hidden(ids, mask=window_mask(30, 30, 5))
    assert not torch.allclose(expected, plain.hidden(ids))
    ring = windowed.with_parts(Parts(cache=RingKVCache))
    for cache in (None, windowed.new_cache(2, 30), ring.new_cache(2, 1)):
        pieces = [ids] if cache is None else ids.split([11, 1, 1, 17], 1)
        found = torch.cat([windowed.hidden(some, cache) for some in pieces], 1)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_a_mask_of_ones_own_only_takes_away_from_a_window(model):
    windowed = Decoder(replace(SMALL, window=5)).requires_grad_(False)
    windowed.load_state_dict(model.state_dict())
    ids, T = ids_of(random.Random(2), 2, 12), 12
    own = torch.ones(2, 1, T, T, dtype=torch.bool)
    own[0, :, :, :3] = False  # padding
    expected = model.hidden(ids, mask=own & window_mask(T, T, 5))
    for cache in (None, windowed.new_cache(2, T)):
        assert torch.equal(windowed.hidden(ids, cache, mask=own), expected)


def test_generating_with_a_ring_gives_the_tokens_of_the_mask():
    config = replace(SMALL, window=4, tied=False)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Decoder(config).requires_grad_(False)
    ids = ids_of(random.Random(3), 1, 13)
    whole = list(generate(model, ids, 25, eos_ids=()))
    assert len(set(whole)) > 3
    assert list(generate(model.with_parts(Parts(cache=RingKVCache)), ids, 25, eos_ids=())) == whole


def test_a_ring_goes_back_as_far_as_nothing_was_lost(model):
    ids = ids_of(random.Random(4), 1, 20)
    cache = RingKVCache(SMALL, 1, window=6, sinks=2)
    model.hidden(ids[:, :8], cache)
    cache.truncate(3)  # all eight are still there
    first = model.hidden(ids[:, 3:20], cache)
    cache.truncate(19)
    again = model.hidden(ids[:, 19:], cache)
    torch.testing.assert_close(again, first[:, -1:], atol=2e-5, rtol=0)
    for n in (18, 21, -1):
        with pytest.raises(UserError, match=r"truncate\(.*\): the ring has read 20 .* 19 to 20"):
            cache.truncate(n)


@pytest.mark.parametrize("kind", [RingKVCache, StreamingKVCache])
def test_rows_are_selected(model, kind):
    ids = ids_of(random.Random(6), 3, 10)
    cache = kind(SMALL, 3, window=4, sinks=1)
    expected = torch.cat([model.hidden(some, cache) for some in ids.split(1, 1)], 1)[[2, 0], -1:]
    cache = kind(SMALL, 3, window=4, sinks=1)
    for some in ids[:, :9].split(1, 1):
        model.hidden(some, cache)
    cache.select([2, 0])
    found = model.hidden(ids[[2, 0], 9:], cache)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_what_a_ring_can_not_do_is_said(model):
    with pytest.raises(UserError, match="pass window="):
        RingKVCache(SMALL, 1, 10)
    for changes in ({"window": -1}, {"window": 3, "sinks": -1}, {"window": 3, "batch": 0}):
        with pytest.raises(UserError, match="at least 1"):
            RingKVCache(SMALL, **{"batch": 1} | changes)
    with pytest.raises(UserError, match="a mask of its own"):
        cache = RingKVCache(SMALL, 1, window=3)
        model.hidden(torch.tensor([[1, 2]]), cache, mask=torch.ones(2, 2, dtype=torch.bool))


# streams


class TurnedAnew:
    """Keeps keys unturned, and turns those of each forward by their places in the cache."""

    def __init__(self, window, sinks, base, T=1):
        self.window, self.sinks, self.base = window, sinks, base
        self.kept = {}  # layer → list of (key unturned, value)

    def positions(self, T):
        assert T == 1
        return torch.tensor([min(len(self.kept.get(0, [])), self.sinks + self.window - 1)])

    def attend(self, layer, q, k, v, mask=None):
        own, place = self.kept.setdefault(layer, []), self.positions_now
        own.append((rope(k, -place, self.base), v))
        if len(own) > self.sinks + self.window:
            del own[self.sinks]
        keys = [rope(key, torch.tensor([i]), self.base) for i, (key, _) in enumerate(own)]
        return grouped_query_attention(q, torch.cat(keys, 2), torch.cat([v for _, v in own], 2))

    def advance(self, T):
        pass


@pytest.mark.parametrize(("window", "sinks"), [(4, 0), (4, 2), (1, 1), (7, 4)])
def test_a_stream_equals_keys_that_are_turned_anew_for_every_token(model, window, sinks):
    model = Decoder(SMALL).double().requires_grad_(False)
    ids = ids_of(random.Random(window), 1, 60)
    cache = StreamingKVCache(SMALL, 1, dtype=torch.float64, window=window, sinks=sinks)
    anew = TurnedAnew(window, sinks, SMALL.rope_base)
    for step in range(30):
        one = ids[:, step : step + 1]
        anew.positions_now = anew.positions(1)
        found, expected = model.hidden(one, cache), model.hidden(one, anew)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)  # angles are fp32
        assert cache.positions(1).item() <= sinks + window - 1
    assert cache.length == 30


def test_a_short_text_streams_as_it_is_read(model):
    ids = ids_of(random.Random(8), 2, 10)
    cache = StreamingKVCache(SMALL, 2, window=8, sinks=3)
    found = torch.cat([model.hidden(some, cache) for some in ids.split([4, 1, 5], 1)], 1)
    torch.testing.assert_close(found, model.hidden(ids), atol=2e-5, rtol=0)
    cache.truncate(6)
    torch.testing.assert_close(model.hidden(ids[:, 6:], cache), found[:, 6:], atol=2e-5, rtol=0)


def test_a_stream_forgets_and_does_not_go_back(model):
    cache = StreamingKVCache(SMALL, 1, window=4, sinks=1)
    for some in ids_of(random.Random(9), 1, 30).split(7, 1):
        model.hidden(some, cache)
    assert cache.keys.shape[3] == 1 + 3  # the fourth is the next token itself
    cache.truncate(30)
    with pytest.raises(UserError, match="has read 30 tokens and holds 4"):
        cache.truncate(29)


def test_layers_that_turn_nothing_are_not_turned_back(model):
    config = replace(
        SMALL, no_rope_every=2, rope_scaling=RopeScaling("yarn", 2.0, 16, attention=1.2)
    )
    stretched = Decoder(config).requires_grad_(False)
    stretched.load_state_dict(model.state_dict())
    cache = StreamingKVCache(config, 1, window=4, sinks=0)
    for some in ids_of(random.Random(10), 1, 9).split(1, 1):
        before = cache.keys
        stretched.hidden(some, cache)
    assert torch.equal(cache.keys[1, :, :, :2], before[1, :, :, 1:3])
    moved, norms = cache.keys[0, :, :, :2], before[0, :, :, 1:3].norm(dim=-1)
    assert not torch.allclose(moved, before[0, :, :, 1:3])
    torch.testing.assert_close(moved.norm(dim=-1), norms)


def test_positions_that_grow_with_the_text_can_not_stream(model):
    config = replace(SMALL, rope_scaling=RopeScaling("dynamic", 2.0, 4))
    stretched = Decoder(config).requires_grad_(False)
    cache = StreamingKVCache(config, 1, window=2, sinks=0)
    with pytest.raises(UserError, match="grow with the text"):
        for _ in range(3):
            stretched.hidden(torch.tensor([[1]]), cache)


def test_caches_and_no_cache_stand_in_for_each_other(model):
    """The causal mask is the window that no text fills."""
    ids = ids_of(random.Random(11), 1, 12)
    ring = partial(RingKVCache, window=12)
    whole = ContiguousKVCache(SMALL, 1, 12)
    for cache in (NoCache(), whole, ring(SMALL, 1)):
        torch.testing.assert_close(model.hidden(ids, cache), model.hidden(ids), atol=2e-5, rtol=0)
