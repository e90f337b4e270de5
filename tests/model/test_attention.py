import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import attention, attention_weights, causal_mask, softmax

sizes = st.integers(1, 6)


@st.composite
def inputs(draw):
    """q, k, v and a mask of random shapes; often a query may attend to nothing."""
    B, H, T, S, D = (draw(sizes) for _ in range(5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    q, k, v = (torch.randn(B, H, n, D, generator=generator) for n in (T, S, S))
    open_share = draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    mask_shape = draw(st.sampled_from([(T, S), (B, 1, T, S), (B, H, T, S), (1, S), (B, 1, 1, S)]))
    return q, k, v, torch.rand(mask_shape, generator=generator) < open_share


# softmax


@given(inputs(), st.sampled_from([-1, 0, 2]))
def test_softmax_equals_pytorchs(values, dim):
    assert_close(softmax(values[0], dim), torch.softmax(values[0], dim))


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=1, max_size=8))
def test_softmax_of_huge_scores_is_finite_and_sums_to_one(scores):
    weights = softmax(torch.tensor(scores))
    assert torch.isfinite(weights).all()
    assert_close(weights.sum(), torch.tensor(1.0))
    assert_close(weights, torch.softmax(torch.tensor(scores), -1))


def test_softmax_in_closed_form():
    assert_close(softmax(torch.tensor([0.0, math.log(3.0)])), torch.tensor([0.25, 0.75]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_softmax_keeps_the_type_and_does_not_overflow_in_it(dtype):
    scores = torch.tensor([[6e4, 6e4, -6e4], [-math.inf, -math.inf, -math.inf]], dtype=dtype)
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]], dtype=dtype)
    assert_close(softmax(scores), expected)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_row_of_minus_infinity_gives_zeros_and_leaves_its_neighbours_alone(dim):
    scores = torch.tensor([[-math.inf, -math.inf], [0.0, 0.0]])
    expected = torch.tensor([[0.0, 0.0], [0.5, 0.5]])
    weights = softmax(scores if dim == 1 else scores.mT, dim)
    assert_close(weights if dim == 1 else weights.mT, expected)


def test_nan_in_a_row_makes_that_row_nan_and_no_other():
    weights = softmax(torch.tensor([[0.0, math.nan], [-math.inf, math.nan], [0.0, 0.0]]))
    assert weights.isnan().tolist() == [[True, True], [True, True], [False, False]]


# causal_mask


@given(st.integers(0, 8), st.integers(0, 8))
def test_query_t_sees_the_cached_keys_the_keys_before_it_and_itself(T, cached):
    mask = causal_mask(T, cached + T)
    assert mask.dtype == torch.bool
    expected = [[key <= cached + query for key in range(cached + T)] for query in range(T)]
    assert mask.tolist() == expected


def test_causal_mask_without_s_is_square():
    assert causal_mask(3).tolist() == causal_mask(3, 3).tolist()


def test_fewer_keys_than_queries_are_refused():
    with pytest.raises(ShapeError, match=r"T=4, S=3.*S must be at least T; pass S = cached \+ T"):
        causal_mask(4, 3)


# attention


@given(inputs())
def test_attention_equals_pytorchs_where_a_query_may_attend_to_nothing_too(values):
    q, k, v, mask = values
    expected = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert_close(attention(q, k, v, mask), expected)


@given(inputs())
def test_attention_without_a_mask_equals_pytorchs(values):
    q, k, v, _ = values
    assert_close(attention(q, k, v), scaled_dot_product_attention(q, k, v))


@given(inputs())
def test_causal_attention_equals_pytorchs(values):
    q = values[0]
    expected = scaled_dot_product_attention(q, q, q, is_causal=True)
    assert_close(attention(q, q, q, causal_mask(q.shape[2])), expected)


@given(inputs())
def test_weights_are_those_that_attention_takes_of_one_hot_values(values):
    q, k, _, mask = values
    B, H, S, _ = k.shape
    one_hot = torch.eye(S).expand(B, H, S, S)
    expected = scaled_dot_product_attention(q, k, one_hot, attn_mask=mask)
    assert_close(attention_weights(q, k, mask), expected)


def test_a_query_that_may_attend_to_nothing_gets_zeros():
    q = torch.ones(1, 1, 2, 4)
    mask = torch.tensor([[True, True], [False, False]])
    assert attention(q, q, q, mask)[0, 0].tolist() == [[1.0] * 4, [0.0] * 4]


def test_leading_axes_may_be_none_or_many():
    q, k, v = torch.randn(2, 3, 5, 4, 8), torch.randn(2, 3, 5, 6, 8), torch.randn(2, 3, 5, 6, 7)
    expected = scaled_dot_product_attention(q, k, v)
    assert_close(attention(q, k, v), expected)
    assert_close(attention(q[0, 0, 0], k[0, 0, 0], v[0, 0, 0]), expected[0, 0, 0])


def test_infinite_scores_behind_the_mask_are_not_seen():
    q = torch.ones(1, 1, 1, 2)
    k = torch.tensor([[[[1.0, 1.0], [math.inf, -math.inf]]]])  # the second score is NaN
    weights = attention_weights(q, k, torch.tensor([[True, False]]))
    assert weights.tolist() == [[[[1.0, 0.0]]]]


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 5), r"head dimension D: 4 and 5"),
        ((1, 4, 3, 8), (1, 2, 3, 8), (1, 2, 3, 8), r"\(1, 4, 3, 8\).*\(1, 2, 3, 8\).*batch and he"),
        ((1, 4, 3, 8), (1, 2, 3, 8), (1, 2, 3, 8), r"grouped_query_attention"),
        ((2, 1, 3, 8), (1, 1, 3, 8), (1, 1, 3, 8), r"\(2, 1, 3, 8\).*before the last two, batch"),
        (
            (1, 2, 3, 4),
            (1, 2, 6, 4),
            (1, 2, 5, 4),
            r"\(1, 2, 6, 4\).*\(1, 2, 5, 4\).*one value for",
        ),
        ((4,), (1, 4), (1, 4), r"\(4,\).*at least two axes.*add one with \[None\]"),
        ((1, 4), (4,), (4,), r"\(4,\).*at least two axes"),
    ],
)
def test_shapes_that_do_not_fit_are_named(q, k, v, message):
    with pytest.raises(ShapeError, match=message):
        attention(torch.zeros(q), torch.zeros(k), torch.zeros(v))


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 5), (5,), (1, 1, 1, 3, 4), (2, 3, 4)])
def test_a_mask_that_does_not_fit_is_named(shape):
    q, k = torch.zeros(1, 1, 3, 8), torch.zeros(1, 1, 4, 8)
    with pytest.raises(ShapeError) as error:
        attention(q, k, k, torch.ones(shape, dtype=torch.bool))
    assert f"mask of shape {shape}" in str(error.value)
    assert "(1, 1, 3, 4) (..., T queries, S keys)" in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_that_is_not_boolean_is_refused(dtype):
    q = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ShapeError, match=f"{dtype}.*torch.bool with True = may attend.*mask > 0"):
        attention(q, q, q, torch.ones(2, 2, dtype=dtype))


def test_shape_errors_are_caught_without_importing_them():
    assert issubclass(ShapeError, UserError)
    assert issubclass(UserError, ValueError)
