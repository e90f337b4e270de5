"""The prefill's attention against PyTorch's operator."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from decodeloop.kernels.prefill import attend
from decodeloop.model import causal_mask

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_pytorch(q, k, v):
    mask = causal_mask(q.shape[1], k.shape[1])
    return F.scaled_dot_product_attention(q[None], k[None], v[None], mask, enable_gqa=True)[0]


@settings(max_examples=60)
@given(
    G=st.integers(1, 3),
    share=st.integers(1, 3),
    D=st.sampled_from([1, 2, 5, 16, 64]),
    T=st.sampled_from([1, 2, 127, 128, 129, 200, 256, 257]),
    before=st.sampled_from([0, 1, 100, 128, 300]),
)
def test_it_is_pytorchs_attention(G, share, D, T, before):
    q = drawn(G * share, T, D)
    k, v = (drawn(G, before + T, D, seed=n) for n in (1, 2))
    torch.testing.assert_close(attend(q, k, v), by_pytorch(q, k, v), **CLOSE)


def test_in_bf16_it_is_as_near_as_that_type_allows():
    q, k, v = drawn(4, 150, 16), drawn(2, 200, 16, seed=1), drawn(2, 200, 16, seed=2)
    rounded = [x.bfloat16() for x in (q, k, v)]
    torch.testing.assert_close(
        attend(*rounded).float(), by_pytorch(*(x.float() for x in rounded)), rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("size", [1e-3, 30.0, 1e4])
def test_scores_of_any_size_do_not_overflow(size):
    q, k, v = size * drawn(2, 140, 8), drawn(1, 140, 8, seed=1), drawn(1, 140, 8, seed=2)
    torch.testing.assert_close(attend(q, k, v), by_pytorch(q, k, v), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["q", "k", "v"])
def test_bad_numbers_go_to_all_that_may_see_them_and_to_nobody_before(bad, where):
    made = {"q": drawn(2, 140, 4), "k": drawn(1, 140, 4, seed=1), "v": drawn(1, 140, 4, seed=2)}
    good = attend(**made)
    made[where][0, 130, 2] = bad
    q, k, v = made["q"], made["k"], made["v"]
    out = attend(q, k, v)
    torch.testing.assert_close(out[:, :128], good[:, :128])  # what comes later is never read
    for t in (130, 139):  # a softmax written out, for one query
        expected = torch.softmax(q[:, t] @ k[0, : t + 1].T / 2.0, -1) @ v[0, : t + 1]
        seen_bad = expected.isnan().any() or expected.isinf().any() or where != "v"
        assert seen_bad
        if t == 139 or where != "v":
            torch.testing.assert_close(out[:, t], expected, equal_nan=True, **CLOSE)
