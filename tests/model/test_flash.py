import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import (
    TINY,
    WITH_TABLE,
    Decoder,
    causal_mask,
    flash,
    flash_attention,
    grouped_query_attention,
    online_softmax,
    skip_tiles,
    split_attention,
    window_mask,
)
from decodeloop.model.flash import Partial, causal_attention, finish, merge, partial_attention


class Largest(TorchDispatchMode):
    """Watches for the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not function.is_view:
            self.numbers = max(self.numbers, made.numel())
        return made


def heads(B, H, G, T, S, D, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = (B, H, T, D), (B, G, S, D), (B, G, S, D)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def oracle(q, k, v, mask=None):
    """PyTorch's, with zeros where no key may be seen."""
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    if mask is None:
        return out
    return out.masked_fill(~mask.expand(*q.shape[:3], k.shape[2]).any(-1, keepdim=True), 0.0)


MASK_SHAPES = (
    lambda B, H, T, S: (T, S),
    lambda B, H, T, S: (B, 1, T, S),
    lambda B, H, T, S: (1, H, T, S),
    lambda B, H, T, S: (B, 1, 1, S),
    lambda B, H, T, S: (B, H, T, 1),
)


def trial(seed):
    """Random sizes, groups, tiles and mask; some rows of the mask have nothing to see."""
    draw = random.Random(seed)
    B, G, share = draw.randint(1, 3), draw.randint(1, 3), draw.randint(1, 3)
    T, H = draw.randint(1, 40), G * share
    S = T + draw.randint(0, 40) if draw.random() < 0.7 else draw.randint(1, 60)
    q, k, v = heads(B, H, G, T, S, draw.choice([1, 2, 8, 16]), seed)
    if draw.random() < 0.2:  # scores beyond what exp can take; such are rounded badly in fp32
        q, k, v = 2000 * q.double(), k.double(), v.double()
    causal = S >= T and draw.random() < 0.5
    mask = None
    if draw.random() < 0.5:
        shape = draw.choice(MASK_SHAPES)(B, H, T, S)
        mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < draw.random()
    tile = {"rows": draw.randint(1, T + 5), "columns": draw.randint(1, S + 5)}
    return (q, k, v, mask), causal, tile


def test_it_equals_pytorch_for_500_random_shapes_masks_and_groups():
    dead = 0
    for seed in range(500):
        (q, k, v, mask), causal, tile = trial(seed)
        T, S = q.shape[2], k.shape[2]
        seen = mask
        if causal:
            seen = causal_mask(T, S) if mask is None else mask & causal_mask(T, S)
        expected = oracle(q, k, v, seen)
        dead += int((expected == 0).all(-1).any())
        found = flash_attention(q, k, v, mask, causal=causal, **tile)
        assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=lambda m, n=seed: f"{n}: {m}")
    assert dead > 50


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_are_as_exact_as_they_can_be(dtype):
    q, k, v = (x.to(dtype) for x in heads(2, 4, 2, 70, 70, 8, 0))
    found = flash_attention(q, k, v, causal=True, rows=8, columns=8)
    assert found.dtype == dtype
    exact = oracle(*(x.double() for x in (q, k, v)), causal_mask(70))
    plain = grouped_query_attention(q, k, v, causal_mask(70))
    error, plain_error = ((x.double() - exact).abs().max() for x in (found, plain))
    assert error <= 1.5 * plain_error + 1e-15


def test_gradients_go_through():
    inputs = [x.requires_grad_() for x in heads(1, 4, 2, 9, 12, 8, 1)]
    found = flash_attention(*inputs, causal=True, rows=4, columns=5)
    expected = oracle(*inputs, causal_mask(9, 12))
    weights = torch.randn(found.shape)
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_nothing_larger_than_a_tile_or_the_result_is_made():
    q, k, v = heads(1, 4, 2, 128, 128, 4, 0)
    with Largest() as watched:
        flash_attention(q, k, v, causal=True, rows=16, columns=16)
    assert watched.numbers <= max(4 * 16 * 16, q.numel()) < 4 * 128 * 128
    with Largest() as watched:
        grouped_query_attention(q, k, v, causal_mask(128))
    assert watched.numbers == 4 * 128 * 128


@given(st.data())
@settings(max_examples=40)
def test_parts_may_be_merged_in_any_order_and_grouping(data):
    seed = data.draw(st.integers(0, 999))
    q, k, v = heads(1, 1, 1, 3, 12, 4, seed)
    mask = torch.rand(3, 12, generator=torch.Generator().manual_seed(seed)) < 0.4
    cuts = sorted(data.draw(st.sets(st.integers(1, 11), max_size=4)))
    pieces = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, 12], strict=True)]
    parts = [partial_attention(q / 2, k[:, :, p], v[:, :, p], mask[:, p]) for p in pieces]
    for _ in pieces[1:]:
        first, second = data.draw(st.permutations(range(len(parts))))[:2]
        merged = merge(parts[first], parts[second])
        parts = [p for n, p in enumerate(parts) if n not in (first, second)] + [merged]
    assert_close(finish(parts[0]), oracle(q, k, v, mask), atol=1e-5, rtol=1e-5)


def test_two_parts_that_have_seen_nothing_make_one_that_has_seen_nothing():
    q = k = v = torch.ones(1, 2)
    nothing = partial_attention(q, k, v, torch.zeros(1, 1, dtype=torch.bool))
    assert finish(merge(nothing, nothing)).tolist() == [[0.0, 0.0]]
    one = partial_attention(q, k, v)
    assert_close(finish(merge(nothing, one)), v)
    assert_close(finish(merge(one, nothing)), v)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 60), st.integers(0, 999))
@settings(max_examples=60)
def test_in_a_model_with_a_window_no_query_sees_further(T, more, window, seed):
    """Whatever the blocks of queries, with a mask of one's own and without."""
    S, draw = T + more, random.Random(seed)
    q, k, v = heads(2, 4, 2, T, S, 8, seed)
    shape = draw.choice(MASK_SHAPES)(2, 4, T, S)
    own = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    for block, largest in ((flash.BLOCK, flash.COLUMNS), (draw.randint(1, T), 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flash, "BLOCK", block)
            patch.setattr(flash, "COLUMNS", largest)  # of a table that is not cut up
            for mask in (None, own):
                seen = window_mask(T, S, window)
                seen = seen if mask is None else seen & mask
                found = causal_attention(q, k, v, mask, window)
                assert_close(found, oracle(q, k, v, seen), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("T", [1, 40])
def test_keys_that_no_query_sees_are_not_read(T):
    q, k, v = heads(1, 4, 2, T, 900, 8, 0)
    k[:, :, : 900 - T - 6], v[:, :, : 900 - T - 6] = torch.nan, torch.nan
    assert causal_attention(q, k, v, window=7).isfinite().all()
    assert causal_attention(q, k, v, window=8).isnan().any()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 999))
@settings(max_examples=40)
def test_online_softmax_equals_the_softmax_of_the_whole_row(sizes, seed):
    scores = 50 * torch.randn(3, sum(sizes), generator=torch.Generator().manual_seed(seed))
    scores[0, : sizes[0]] = -torch.inf
    peak, total = online_softmax(iter(scores.split(sizes, -1)))
    if len(sizes) > 1:
        assert_close((scores - peak).exp() / total, scores.softmax(-1))
    assert_close((scores[1:] - peak[1:]).exp() / total[1:], scores[1:].softmax(-1))


def test_online_softmax_of_a_row_that_sees_nothing():
    peak, total = online_softmax([torch.full((2, 3), -torch.inf)] * 2)
    assert (total == 0).all()
    assert (peak == torch.finfo(torch.float32).min).all()


@given(st.integers(1, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_the_tiles_that_are_left_are_those_with_something_to_see(T, more, rows, columns):
    S = T + more
    mask = causal_mask(T, S)
    expected = []
    for i in range(0, T, rows):
        for j in range(0, S, columns):
            tile = mask[i : i + rows, j : j + columns]
            if tile.any():
                expected.append((i, j, not tile.all()))
    assert skip_tiles(T, S, rows, columns) == expected


def test_half_of_the_products_are_skipped():
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = heads(1, 2, 1, 256, 256, 8, 0)
    counts = []
    for causal in (False, True):
        with FlopCounterMode(display=False) as counter:
            flash_attention(q, k, v, causal=causal, rows=16, columns=16)
        counts.append(counter.get_total_flops())
    assert counts[0] == 4 * 2 * 8 * 256 * 256
    assert counts[1] == counts[0] * (16 * 17 / 2) / 16**2


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 30), st.data())
@settings(max_examples=40)
def test_keys_split_in_any_number_of_parts(G, share, S, data):
    q, k, v = heads(2, G * share, G, 1, S, 4, S)
    parts = data.draw(st.integers(1, S))
    assert_close(split_attention(q, k, v, parts), oracle(q, k, v), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parts", [0, 4])
def test_more_parts_than_keys_are_refused(parts):
    with pytest.raises(UserError, match=rf"3 keys in {parts} parts: expected 1 to 3"):
        split_attention(*heads(1, 1, 1, 1, 3, 2, 0), parts)


@pytest.mark.parametrize(
    ("T", "S", "options", "message"),
    [
        (3, 2, {"causal": True}, "3 queries to 2 keys: the queries are the last of the keys"),
        (2, 2, {"rows": 0}, "0 rows and 512 columns: expected at least 1 each"),
        (2, 2, {"columns": -1}, "128 rows and -1 columns: expected at least 1 each"),
    ],
)
def test_what_is_no_tile_or_not_causal_is_refused(T, S, options, message):
    with pytest.raises(UserError, match=message):
        flash_attention(*heads(1, 1, 1, T, S, 2, 0), **options)


def test_shapes_that_do_not_fit_are_refused_as_elsewhere():
    q, k, v = heads(1, 4, 2, 3, 3, 2, 0)
    with pytest.raises(ShapeError, match="can't share 3 KV heads"):
        flash_attention(q, torch.cat((k, k[:, :1]), 1), torch.cat((v, v[:, :1]), 1))
    with pytest.raises(ShapeError, match="one value for every key"):
        flash_attention(q, k, v[:, :, :2])
    with pytest.raises(ShapeError, match="can't be broadcast"):
        flash_attention(q, k, v, torch.ones(2, 3, dtype=torch.bool))


# in the decoder


@pytest.mark.parametrize("cached", [0, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_decoder_says_the_same_with_tiles_as_with_the_table(cached, masked, monkeypatch):
    monkeypatch.setattr(flash, "ROWS", 4)
    monkeypatch.setattr(flash, "COLUMNS", 4)
    monkeypatch.setattr(flash, "BLOCK", 7)
    model = Decoder(TINY).eval()
    ids = torch.randint(TINY.vocabulary, (2, 30), generator=torch.Generator().manual_seed(0))
    mask = None
    if masked:
        mask = causal_mask(30 - cached, 30).expand(2, 1, -1, -1).clone()
        mask[1, :, :, :7] = False  # a row that is padded on the left
    with torch.inference_mode():
        found = []
        for one in (model, model.with_parts(WITH_TABLE)):
            cache = one.new_cache(2, 30)
            if cached:
                one.hidden(ids[:, :cached], cache)
            found.append(one(ids[:, cached:], cache, mask=mask))
        assert_close(*found, atol=1e-4, rtol=1e-4)
        if not cached:
            assert_close(model(ids, mask=mask), found[1], atol=1e-4, rtol=1e-4)


def test_blocks_of_queries_equal_the_operator_at_once(monkeypatch):
    monkeypatch.setattr(flash, "ROWS", 1)
    monkeypatch.setattr(flash, "COLUMNS", 1)
    monkeypatch.setattr(flash, "BLOCK", 5)
    for seed in range(100):
        (q, k, v, mask), _, _ = trial(seed)
        T, S = q.shape[2], k.shape[2]
        if mask is None and S < T:
            continue
        if mask is not None and seed % 3 == 0:
            mask = mask.expand(*q.shape[:3], S)[0]  # (H, T, S)
        seen = causal_mask(T, S) if mask is None else mask
        found = causal_attention(q, k, v, mask)
        assert_close(found, oracle(q, k, v, seen), atol=1e-5, rtol=1e-5)


def test_gradients_go_through_the_blocks(monkeypatch):
    monkeypatch.setattr(flash, "ROWS", 1)
    monkeypatch.setattr(flash, "COLUMNS", 1)
    monkeypatch.setattr(flash, "BLOCK", 5)
    inputs = [x.requires_grad_() for x in heads(1, 4, 2, 9, 12, 8, 1)]
    found, expected = causal_attention(*inputs), oracle(*inputs, causal_mask(9, 12))
    assert_close(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("mask", [None, torch.ones(3, 3, dtype=torch.bool)])
def test_blocks_refuse_what_does_not_fit(mask, monkeypatch):
    monkeypatch.setattr(flash, "ROWS", 1)
    monkeypatch.setattr(flash, "COLUMNS", 1)
    q, k, v = heads(1, 4, 2, 3, 5, 2, 0)
    if mask is None:
        k, v = k[:, :, :2], v[:, :, :2]
    with pytest.raises(ShapeError, match="to 2 keys" if mask is None else "can't be broadcast"):
        causal_attention(q, k, v, mask)


def test_a_long_prompt_holds_no_table_and_a_short_one_is_not_cut_up():
    q, k, v = heads(1, 2, 1, 600, 600, 4, 0)
    with Largest() as watched:
        found = causal_attention(q, k, v)
    assert watched.numbers <= flash.BLOCK * 600 < 2 * 600 * 600
    assert_close(found, oracle(q, k, v, causal_mask(600)), atol=1e-5, rtol=1e-5)
    short = [x[:, :, :200] for x in (q, k, v)]
    assert torch.equal(causal_attention(*short), grouped_query_attention(*short, causal_mask(200)))
    one = q[:, :, -1:], k, v
    assert torch.equal(causal_attention(*one), grouped_query_attention(*one))


def test_a_partial_attention_is_what_it_says():
    q, k, v = heads(1, 1, 1, 2, 5, 3, 0)
    peak, total, values = Partial(*partial_attention(q, k, v))
    scores = q @ k.mT
    assert_close(peak, scores.amax(-1, keepdim=True))
    assert_close(total.log() + peak, scores.logsumexp(-1, keepdim=True))
    assert_close(values / total, scores.softmax(-1) @ v)
