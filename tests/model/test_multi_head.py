import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention
from torch.testing import assert_close

from decodeloop.errors import ShapeError
from decodeloop.model import (
    causal_mask,
    grouped_query_attention,
    merge_heads,
    multi_head_attention,
    split_heads,
)

sizes = st.integers(1, 4)


@given(sizes, sizes, sizes, sizes)
def test_split_cuts_the_last_axis_into_heads_of_neighbouring_channels(B, T, H, D):
    x = torch.arange(B * T * H * D).reshape(B, T, H * D)
    heads = split_heads(x, H)
    assert heads.shape == (B, H, T, D)
    for h, channels in enumerate(x.split(D, dim=-1)):
        assert torch.equal(heads[:, h], channels)


@given(sizes, sizes, sizes, sizes)
def test_merge_undoes_split(B, T, H, D):
    x = torch.randn(B, T, H * D)
    assert torch.equal(merge_heads(split_heads(x, H)), x)


@given(sizes, sizes, sizes, sizes)
def test_split_undoes_merge(B, T, H, D):
    x = torch.randn(B, H, T, D)
    assert torch.equal(split_heads(merge_heads(x), H), x)


@pytest.mark.parametrize(
    ("shape", "H", "message"),
    [
        ((1, 2, 10), 3, r"\(1, 2, 10\) can't be cut into H = 3 heads.*the last a multiple of H"),
        ((1, 2, 10), 0, r"H = 0 heads"),
        ((2, 10), 2, r"\(2, 10\).*expected three axes \(B, T, H·D\)"),
    ],
)
def test_a_width_that_cannot_be_split_is_named(shape, H, message):
    with pytest.raises(ShapeError, match=message):
        split_heads(torch.zeros(shape), H)


def test_merging_needs_four_axes():
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\) has 3 axes: expected \(B, H, T, D\)"):
        merge_heads(torch.zeros(2, 3, 4))


@given(
    st.sampled_from([(H, G) for H in (1, 2, 6, 9) for G in range(1, H + 1) if H % G == 0]),
    sizes,
    sizes,
    st.integers(0, 3),
    st.sampled_from([None, "TS", "1TS", "B1TS", "BHTS", "B11S", "H11"]),
    st.integers(0, 2**16),
)
def test_grouped_attention_equals_pytorchs(heads, B, T, cached, mask_axes, seed):
    H, G = heads
    S, D = cached + T, 4
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(B, H, T, D, generator=generator)
    k, v = (torch.randn(B, G, S, D, generator=generator) for _ in range(2))
    mask = None
    if mask_axes is not None:
        shape = [{"B": B, "H": H, "T": T, "S": S, "1": 1}[axis] for axis in mask_axes]
        mask = torch.rand(shape, generator=generator) < 0.6
    expected = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    assert_close(grouped_query_attention(q, k, v, mask), expected)


@pytest.mark.parametrize("G", [1, 2, 3, 6])
def test_sharing_a_head_is_repeating_it(G):
    H, T = 6, 5
    q, k, v = torch.randn(2, H, T, 4), torch.randn(2, G, T, 4), torch.randn(2, G, T, 4)
    repeated = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    expected = scaled_dot_product_attention(q, *repeated, is_causal=True)
    assert_close(grouped_query_attention(q, k, v, causal_mask(T)), expected)


def test_values_may_have_a_head_dimension_of_their_own():
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 7)
    expected = scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert_close(grouped_query_attention(q, k, v), expected)


def test_split_attend_merge_is_pytorchs_multi_head_attention():
    B, T, H, D = 2, 5, 3, 4
    C = H * D
    x, w_in, w_out = torch.randn(B, T, C), torch.randn(3 * C, C), torch.randn(C, C)
    q, k, v = (split_heads(part, H) for part in (x @ w_in.mT).chunk(3, dim=-1))
    ours = merge_heads(grouped_query_attention(q, k, v, causal_mask(T))) @ w_out.mT
    turned = x.transpose(0, 1)
    theirs, _ = multi_head_attention_forward(
        *(turned, turned, turned, C, H, w_in, None, None, None, False, 0.0, w_out, None),
        attn_mask=~causal_mask(T),  # theirs says who may not attend
        need_weights=False,
    )
    assert_close(ours, theirs.transpose(0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((1, 6, 3, 4), (1, 4, 3, 4), None, r"6 query heads can't share 4 KV heads evenly: axis 1"),
        ((1, 2, 3, 4), (1, 4, 3, 4), None, r"2 query heads can't share 4 KV heads"),
        ((6, 3, 4), (1, 6, 3, 4), None, r"\(6, 3, 4\).*expected four axes"),
        ((1, 6, 3, 4), (6, 3, 4), None, r"\(6, 3, 4\): expected four axes each"),
        ((1, 6, 3, 4), (1, 3, 3, 8), None, r"\(1, 6, 3, 4\).*\(1, 3, 3, 8\).*head dimension"),
        ((2, 6, 3, 4), (1, 3, 3, 4), None, r"\(2, 6, 3, 4\).*\(1, 3, 3, 4\).*batch"),
        ((1, 6, 3, 4), (1, 3, 5, 4), (1, 3, 6, 4), r"\(1, 3, 5, 4\).*\(1, 3, 6, 4\).*one value"),
    ],
)
def test_shapes_that_do_not_fit_are_named_as_they_were_given(q, k, v, message):
    with pytest.raises(ShapeError, match=message):
        grouped_query_attention(torch.zeros(q), torch.zeros(k), torch.zeros(v or k))


def test_a_mask_that_does_not_fit_is_named():
    q, k = torch.zeros(2, 6, 3, 4), torch.zeros(2, 3, 5, 4)
    with pytest.raises(ShapeError, match=r"mask of shape \(3, 4\).*\(2, 6, 3, 5\)"):
        grouped_query_attention(q, k, k, torch.ones(3, 4, dtype=torch.bool))


# multi_head_attention


def projections(C, H, G, D, generator=None):
    rows = (H * D, G * D, G * D)
    weights = [torch.randn(n, C, generator=generator) / C**0.5 for n in rows]
    return [*weights, torch.randn(C, H * D, generator=generator) / (H * D) ** 0.5]


@pytest.mark.parametrize("causal", [False, True])
def test_with_as_many_kv_heads_it_is_pytorchs_module(causal):
    B, T, C, H = 2, 5, 12, 3
    theirs = torch.nn.MultiheadAttention(C, H, bias=False, batch_first=True)
    x, mask = torch.randn(B, T, C), causal_mask(T) if causal else None
    weights = (*theirs.in_proj_weight.chunk(3), theirs.out_proj.weight)
    # theirs says who may not attend
    expected, _ = theirs(x, x, x, attn_mask=None if mask is None else ~mask)
    assert_close(multi_head_attention(x, *weights, H, mask), expected)


@given(
    st.sampled_from([(H, G) for H in (1, 2, 6, 9) for G in range(1, H + 1) if H % G == 0]),
    sizes,
    sizes,
    sizes,
    st.sampled_from([None, "TT", "B1TT", "BHTT", "H11"]),
    st.integers(0, 2**16),
)
def test_with_shared_kv_heads_it_is_pytorchs_grouped_attention(heads, B, T, D, mask_axes, seed):
    H, G = heads
    C = 7
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(B, T, C, generator=generator)
    weights = projections(C, H, G, D, generator)
    mask = None
    if mask_axes is not None:
        shape = [{"B": B, "H": H, "T": T, "1": 1}[axis] for axis in mask_axes]
        mask = torch.rand(shape, generator=generator) < 0.6
    q, k, v = (
        (x @ w.mT).unflatten(-1, (heads, D)).transpose(1, 2)
        for w, heads in zip(weights, (H, G, G), strict=False)
    )
    attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    expected = attended.transpose(1, 2).flatten(2) @ weights[-1].mT
    assert_close(multi_head_attention(x, *weights, H, mask), expected, rtol=1e-4, atol=1e-5)


def test_without_a_mask_a_shuffled_text_gives_shuffled_outputs():
    x, weights = torch.randn(1, 6, 8), projections(8, 4, 2, 3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = multi_head_attention(x[:, order], *weights, 4)
    assert_close(shuffled, multi_head_attention(x, *weights, 4)[:, order])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": (5, 8)}, r"x \(5, 8\) must be \(B, T, C\)"),
        ({"x": (2, 5, 9)}, r"\(2, 5, 9\).*must be C = 9"),
        ({"w_query": (13, 8)}, r"w_query \(13, 8\) must have H = 6 times D rows"),
        ({"w_key": (7, 8), "w_value": (7, 8)}, r"w_key \(7, 8\) and w_value \(7, 8\) G times D"),
        ({"w_value": (2, 8)}, r"w_key \(4, 8\) and w_value \(2, 8\)"),
        ({"w_output": (12, 8)}, r"w_output \(12, 8\) must be \(C, H·D\) = \(8, 12\)"),
        ({"w_key": (8, 8), "w_value": (8, 8)}, r"6 query heads can't share 4 KV heads"),
    ],
)
def test_weights_that_do_not_fit_are_named(changed, message):
    fitting = {
        "x": (2, 5, 8),
        "w_query": (12, 8),
        "w_key": (4, 8),
        "w_value": (4, 8),
        "w_output": (8, 12),
    }
    with pytest.raises(ShapeError, match=message):
        multi_head_attention(*(torch.zeros(s) for s in (fitting | changed).values()), 6)
