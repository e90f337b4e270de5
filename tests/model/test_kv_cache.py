import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import (
    TINY,
    Attends,
    ContiguousKVCache,
    Decoder,
    NoCache,
    causal_mask,
    grouped_query_attention,
)

H, G, D = TINY.heads, TINY.kv_heads, TINY.head_dim

chunkings = st.lists(st.integers(1, 4), min_size=1, max_size=5)
lengths = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def random_heads(B: int, T: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """q (B, H, T, D), k and v (B, G, T, D)."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(B, n, T, D, generator=generator) for n in (H, G, G))


def filled(B: int, T: int, max_length: int) -> ContiguousKVCache:
    cache = ContiguousKVCache(TINY, B, max_length)
    feed(cache, *random_heads(B, T, seed=1))
    return cache


def feed(cache: Attends, q, k, v) -> torch.Tensor:
    """One forward of a model whose layers are all given the same; what the last one attended."""
    for layer in range(TINY.layers):
        attended = cache.attend(layer, q, k, v)
    cache.advance(q.shape[2])
    return attended


def causal_oracle(q, k, v) -> torch.Tensor:
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


@settings(max_examples=20)
@given(chunkings, st.integers(1, 3), st.integers(0, 3), st.integers(0, 2**16))
def test_attending_in_any_chunks_equals_attending_at_once(chunks, B, spare, seed):
    T = sum(chunks)
    q, k, v = random_heads(B, T, seed)
    cache = ContiguousKVCache(TINY, B, T + spare)
    parts = zip(*(x.split(chunks, dim=2) for x in (q, k, v)), strict=True)
    attended = [feed(cache, *part) for part in parts]
    assert cache.length == T
    assert_close(torch.cat(attended, dim=2), causal_oracle(q, k, v))


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(0, 4), st.integers(1, 3), st.integers(0, 2**16))
def test_a_mask_replaces_the_causal_one(B, cached, T, seed):
    q, k, v = random_heads(B, cached + T, seed)
    cache = ContiguousKVCache(TINY, B, cached + T)
    if cached:
        feed(cache, q[:, :, :cached], k[:, :, :cached], v[:, :, :cached])
    new = (x[:, :, cached:] for x in (q, k, v))
    mask = torch.rand(B, 1, T, cached + T, generator=torch.Generator().manual_seed(seed)) < 0.6
    expected = scaled_dot_product_attention(q[:, :, cached:], k, v, attn_mask=mask, enable_gqa=True)
    assert_close(cache.attend(0, *new, mask), expected)


def test_append_gives_everything_so_far_without_a_copy():
    _, k, v = random_heads(2, 5)
    cache = ContiguousKVCache(TINY, 2, 8)
    cache.append(1, k[:, :, :3], v[:, :, :3])
    cache.advance(3)
    keys, values = cache.append(1, k[:, :, 3:], v[:, :, 3:])
    assert torch.equal(keys, k)
    assert torch.equal(values, v)
    assert keys.data_ptr() == cache.keys[1].data_ptr()
    assert values.data_ptr() == cache.values[1].data_ptr()


def test_layers_do_not_share_their_keys():
    cache = ContiguousKVCache(TINY, 1, 4)
    for layer in range(TINY.layers):
        _, k, v = random_heads(1, 2, seed=layer)
        cache.append(layer, k, v)
    for layer in range(TINY.layers):
        _, k, v = random_heads(1, 2, seed=layer)
        assert torch.equal(cache.keys[layer, :, :, :2], k)
        assert torch.equal(cache.values[layer, :, :, :2], v)


def test_the_length_changes_by_advance_alone():
    cache = ContiguousKVCache(TINY, 1, 4)
    for layer in range(TINY.layers):
        cache.attend(layer, *random_heads(1, 3))
        assert cache.length == 0
    cache.advance(3)
    assert cache.length == 3
    cache.advance(0)
    assert cache.length == 3


def test_what_was_not_advanced_over_is_written_over():
    q, k, v = random_heads(1, 2, seed=7)
    cache = ContiguousKVCache(TINY, 1, 4)
    cache.attend(0, *random_heads(1, 4))
    assert_close(cache.attend(0, q, k, v), causal_oracle(q, k, v))


@settings(max_examples=20)
@given(st.integers(1, 6), st.data())
def test_truncating_and_going_on_equals_never_having_gone_wrong(T, data):
    n = data.draw(st.integers(0, T))
    cache = filled(2, T, 9)
    cache.truncate(n)
    assert cache.length == n
    fresh = ContiguousKVCache(TINY, 2, 9)
    if n:
        feed(fresh, *(x[:, :, :n] for x in random_heads(2, T, seed=1)))
    new = random_heads(2, 3, seed=2)
    assert torch.equal(feed(cache, *new), feed(fresh, *new))


@settings(max_examples=20)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=5),
    st.booleans(),
)
def test_select_repeats_reorders_and_drops_rows(rows, as_tensor):
    q, k, v = random_heads(3, 4, seed=1)
    cache = filled(3, 4, 6)
    cache.select(torch.tensor(rows) if as_tensor else rows)
    assert (cache.batch, cache.length, cache.max_length) == (len(rows), 4, 6)
    q2, k2, v2 = random_heads(len(rows), 2, seed=2)
    joined = (torch.cat((old[rows], new), dim=2) for old, new in ((q, q2), (k, k2), (v, v2)))
    assert_close(feed(cache, q2, k2, v2), causal_oracle(*joined)[:, :, 4:])


def test_rows_that_were_the_same_row_do_not_share_memory():
    cache = filled(1, 2, 4)
    cache.select([0, 0])
    _, k, v = random_heads(2, 1, seed=3)
    keys, _ = cache.append(0, k, v)
    assert torch.equal(keys[:, :, 2:], k)


def test_a_full_cache_says_so_and_has_lost_nothing():
    cache = filled(2, 3, 5)
    before = cache.keys.clone(), cache.values.clone()
    with pytest.raises(UserError, match="room for 5 positions: 3 are used and 3 more were given"):
        cache.attend(0, *random_heads(2, 3, seed=2))
    assert cache.length == 3
    assert torch.equal(cache.keys, before[0])
    assert torch.equal(cache.values, before[1])
    old, new = random_heads(2, 3, seed=1), random_heads(2, 2, seed=2)
    joined = (torch.cat(pair, dim=2) for pair in zip(old, new, strict=True))
    assert_close(feed(cache, *new), causal_oracle(*joined)[:, :, 3:])


def test_the_message_of_a_full_cache_says_what_to_do():
    with pytest.raises(UserError, match=r"new_cache\(batch, max_length\), or truncate it"):
        filled(1, 2, 2).attend(0, *random_heads(1, 1))


@pytest.mark.parametrize(
    ("k", "v"),
    [
        ((1, G, 3, D), (1, G, 3, D)),
        ((2, G + 1, 3, D), (2, G + 1, 3, D)),
        ((2, G, 3, D + 2), (2, G, 3, D + 2)),
        ((2, G, 3, D), (2, G, 2, D)),
        ((2, 3, D), (2, 3, D)),
    ],
)
def test_keys_and_values_of_another_shape_are_named(k, v):
    cache = ContiguousKVCache(TINY, 2, 4)
    with pytest.raises(ShapeError) as error:
        cache.append(0, torch.zeros(k), torch.zeros(v))
    assert f"it was given {k} and {v}" in str(error.value)
    assert f"of shape (2, {G}, " in str(error.value)
    assert "model.new_cache(batch, max_length)" in str(error.value)


@pytest.mark.parametrize(("batch", "max_length"), [(0, 4), (2, 0), (-1, 4)])
def test_an_empty_cache_is_refused(batch, max_length):
    message = f"batch {batch} and max_length {max_length}: both must be at least 1"
    with pytest.raises(UserError, match=message):
        ContiguousKVCache(TINY, batch, max_length)


@pytest.mark.parametrize("T", [-1, 3, 100])
def test_advancing_past_the_end_or_back_is_refused(T):
    cache = filled(1, 2, 4)
    with pytest.raises(UserError, match=rf"advance\({T}\): the cache has 2 of 4 positions"):
        cache.advance(T)
    assert cache.length == 2


@pytest.mark.parametrize("n", [-1, 3, 4])
def test_truncating_to_more_than_there_is_is_refused(n):
    cache = filled(1, 2, 4)
    with pytest.raises(UserError, match=rf"truncate\({n}\): expected 0 to 2, the cache's length"):
        cache.truncate(n)
    assert cache.length == 2


@pytest.mark.parametrize("rows", [[2], [-1], [0, 5]])
def test_a_row_that_is_not_there_is_named(rows):
    cache = filled(2, 2, 4)
    with pytest.raises(UserError) as error:
        cache.select(rows)
    assert f"rows {rows}: the cache has rows 0 to 1" in str(error.value)
    assert cache.batch == 2


@pytest.mark.parametrize("rows", [[], [[0, 1]], [True, False], [0.0, 1.0], 1])
def test_rows_that_are_no_list_of_numbers_are_refused(rows):
    with pytest.raises(ShapeError, match="expected a list of row numbers, at least one"):
        filled(2, 2, 4).select(rows)


def test_type_and_device_are_those_asked_for():
    cache = ContiguousKVCache(TINY, 2, 5, torch.bfloat16, "meta")
    assert cache.keys.shape == cache.values.shape == (TINY.layers, 2, G, 5, D)
    assert {cache.keys.dtype, cache.values.dtype} == {torch.bfloat16}
    assert cache.keys.is_meta
    assert cache.values.is_meta


@given(st.integers(0, 5), st.integers(1, 3))
def test_new_tokens_stand_after_the_length(stored, T):
    cache = ContiguousKVCache(TINY, 2, 8)
    cache.advance(stored)
    assert cache.positions(T).tolist() == list(range(stored, stored + T))


# no cache


@settings(max_examples=20)
@given(
    st.integers(1, 3), st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 2**16)
)
def test_without_a_cache_tokens_attend_causally_to_each_other(B, lengths, seed):
    none = NoCache()
    for T in lengths:  # nothing is left of the one before
        q, k, v = random_heads(B, T, seed)
        assert none.positions(T).tolist() == list(range(T))
        assert_close(feed(none, q, k, v), causal_oracle(q, k, v))


def test_without_a_cache_a_mask_replaces_the_causal_one():
    q, k, v = random_heads(2, 4)
    mask = torch.rand(2, 1, 4, 4) < 0.7
    mask |= torch.eye(4, dtype=torch.bool)
    expected = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    assert_close(NoCache().attend(0, q, k, v, mask), expected)


def test_without_a_cache_all_layers_share_one_mask():
    made = []

    def counted(T, S=None, device=None):
        made.append(T)
        return causal_mask(T, S, device)

    none = NoCache(attention=grouped_query_attention, causal_mask=counted)
    feed(none, *random_heads(1, 5))
    assert made == [5]


def test_without_a_cache_attention_is_what_one_passes():
    q, k, v = random_heads(1, 3)
    twice = NoCache(attention=lambda *given: 2 * grouped_query_attention(*given))
    assert_close(twice.attend(0, q, k, v), 2 * causal_oracle(q, k, v))


# growing


@pytest.mark.parametrize("T", [0, 3, 5])
def test_a_cache_that_grows_keeps_what_it_holds_and_has_room_for_more(T):
    model = Decoder(TINY).eval()
    ids = torch.randint(TINY.vocabulary, (2, 9), generator=torch.Generator().manual_seed(1))
    small, large = model.new_cache(2, 5), model.new_cache(2, 9)
    with torch.inference_mode():
        for cache in (small, large):
            if T:
                model.hidden(ids[:, :T], cache)
        small.grow(9)
        assert (small.length, small.max_length) == (T, 9)
        assert_close(model.hidden(ids[:, T:], small), model.hidden(ids[:, T:], large))
    with pytest.raises(UserError, match=r"grow\(8\): the cache has room for 9 positions already"):
        small.grow(8)
