"""Each compiled function against its plain PyTorch twin."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from decodeloop.kernels import compiled, quantize
from decodeloop.model import (
    attention,
    grouped_query_attention,
    rms_norm,
    rotary_angles,
    rotate,
)

SIZES = st.sampled_from([1, 2, 3, 5, 7, 16, 17, 31, 64, 65, 130])
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def as_stored(weight, kind):
    """A matrix as the kernels take it: (numbers, scale of each row), and as fp32."""
    if kind == "fp32":
        return weight.numpy(), np.ones(len(weight), np.float32), weight
    quantized, scale = quantize(weight)
    return quantized.numpy(), scale.numpy(), quantized.float() * scale[:, None]


each_kind = pytest.mark.parametrize("kind", ["fp32", "int8"])


@each_kind
@settings(max_examples=40)
@given(R=SIZES, C=SIZES)
def test_matrix_vector(kind, R, C):
    matrix, scale, plain = as_stored(drawn(R, C), kind)
    x, out = drawn(C, seed=1), np.full(R, 7, np.float32)
    compiled.matrix_vector(matrix, scale, x.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), plain @ x, **CLOSE)
    added = np.full(R, 7, np.float32)
    compiled.add_matrix_vector(matrix, scale, x.numpy(), added)
    torch.testing.assert_close(torch.from_numpy(added), 7 + plain @ x, **CLOSE)


@each_kind
@settings(max_examples=20)
@given(queries=SIZES, keys=SIZES, C=SIZES)
def test_query_key_value(kind, queries, keys, C):
    stored = [as_stored(drawn(n, C, seed=n), kind) for n in (queries, keys, keys)]
    x, out = drawn(C, seed=1), np.empty(queries + 2 * keys, np.float32)
    compiled.query_key_value(*(part for row in stored for part in row[:2]), x.numpy(), out)
    expected = torch.cat([plain @ x for _, _, plain in stored])
    torch.testing.assert_close(torch.from_numpy(out), expected, **CLOSE)


@each_kind
@settings(max_examples=20)
@given(inner=SIZES, C=SIZES)
def test_gated(kind, inner, C):
    gate, up = (as_stored(drawn(inner, C, seed=n), kind) for n in (2, 3))
    x, out = drawn(C, seed=1), np.empty(inner, np.float32)
    compiled.gated(*gate[:2], *up[:2], x.numpy(), out)
    expected = F.silu(gate[2] @ x) * (up[2] @ x)
    torch.testing.assert_close(torch.from_numpy(out), expected, **CLOSE)


@given(C=SIZES, size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_rms_norm(C, size):
    x, weight, out = size * drawn(C), drawn(C, seed=1), np.empty(C, np.float32)
    compiled.rms_norm(x.numpy(), weight.numpy(), 1e-5, out)
    torch.testing.assert_close(torch.from_numpy(out), rms_norm(x, weight, 1e-5), **CLOSE)


@given(n=SIZES, half=SIZES, place=st.integers(0, 10_000))
def test_turn(n, half, place):
    x = drawn(1, n, 1, 2 * half)
    cos, sin = rotary_angles(torch.tensor([place]), 2 * half, 10_000.0)
    turned = x[0, :, 0].clone().numpy()
    compiled.turn(turned, cos[0].numpy(), sin[0].numpy())
    torch.testing.assert_close(torch.from_numpy(turned), rotate(x, cos, sin)[0, :, 0], **CLOSE)


@given(T=st.integers(1, 9), C=SIZES)
def test_rms_norm_rows(T, C):
    x, weight, out = drawn(T, C), drawn(C, seed=1), np.empty((T, C), np.float32)
    compiled.rms_norm_rows(x.numpy(), weight.numpy(), 1e-5, out)
    torch.testing.assert_close(torch.from_numpy(out), rms_norm(x, weight, 1e-5), **CLOSE)


@given(T=st.integers(1, 9), n=st.integers(1, 5), half=SIZES, start=st.integers(0, 10_000))
def test_turn_rows(T, n, half, start):
    x = drawn(1, n, T, 2 * half)
    cos, sin = rotary_angles(torch.arange(start, start + T), 2 * half, 10_000.0)
    turned = x[0].transpose(0, 1).clone(memory_format=torch.contiguous_format).numpy()  # (T, n, D)
    compiled.turn_rows(turned, cos.numpy(), sin.numpy())
    expected = rotate(x, cos, sin)[0].transpose(0, 1)
    torch.testing.assert_close(torch.from_numpy(turned), expected, **CLOSE)


@settings(max_examples=40)
@given(
    G=st.integers(1, 4),
    share=st.integers(1, 4),
    D=SIZES,
    length=st.sampled_from([1, 2, 127, 128, 129, 255, 256, 257, 300]),
    spare=st.integers(0, 3),
)
def test_attention_over_the_cache(G, share, D, length, spare):
    q = drawn(G * share, D)
    keys, values = (drawn(G, length + spare, D, seed=n) for n in (1, 2))
    out = np.empty((G * share, D), np.float32)
    compiled.attend(q.numpy(), keys.numpy(), values.numpy(), length, out)
    used = keys[None, :, :length], values[None, :, :length]
    plain = grouped_query_attention(q[None, :, None], *used)[0, :, 0]
    torch.testing.assert_close(torch.from_numpy(out), plain, **CLOSE)
    fused = F.scaled_dot_product_attention(q[None, :, None], *used, enable_gqa=True)[0, :, 0]
    torch.testing.assert_close(torch.from_numpy(out), fused, **CLOSE)


@pytest.mark.parametrize("size", [1e-3, 30.0, 1e4])
def test_scores_of_any_size_do_not_overflow(size):
    q, keys, values = size * drawn(2, 8), drawn(1, 300, 8, seed=1), drawn(1, 300, 8, seed=2)
    out = np.empty((2, 8), np.float32)
    compiled.attend(q.numpy(), keys.numpy(), values.numpy(), 300, out)
    plain = attention(q[None], keys, values)[0]
    torch.testing.assert_close(torch.from_numpy(out), plain, rtol=1e-3, atol=1e-4)


# NaN and infinity go where they go in PyTorch

BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("bad", BAD)
def test_bad_numbers_in_products(bad):
    weight, x, out = drawn(5, 9), drawn(9, seed=1), np.empty(5, np.float32)
    x[4] = bad
    compiled.matrix_vector(weight.numpy(), np.ones(5, np.float32), x.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), weight @ x, equal_nan=True, **CLOSE)
    compiled.rms_norm(x.numpy(), weight[0].numpy(), 1e-5, np.empty(9, np.float32))
    normed = np.empty(9, np.float32)
    compiled.rms_norm(x.numpy(), weight[0].numpy(), 1e-5, normed)
    expected = rms_norm(x, weight[0], 1e-5)
    torch.testing.assert_close(torch.from_numpy(normed), expected, equal_nan=True, **CLOSE)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["q", "keys", "values"])
@pytest.mark.parametrize("place", [0, 130, 299])
def test_bad_numbers_in_attention(bad, where, place):
    made = {"q": drawn(2, 4), "keys": drawn(1, 300, 4, seed=1), "values": drawn(1, 300, 4, seed=2)}
    if where == "q":
        made["q"][0, 1] = bad
    else:
        made[where][0, place, 2] = bad
    out = np.empty((2, 4), np.float32)
    compiled.attend(*(x.numpy() for x in made.values()), 300, out)
    q, keys, values = made.values()
    scores = q @ keys[0].T / 2.0
    expected = torch.softmax(scores, -1) @ values[0]
    torch.testing.assert_close(torch.from_numpy(out), expected, equal_nan=True, **CLOSE)


@pytest.mark.parametrize("bad", BAD)
def test_bad_numbers_in_the_gate(bad):
    gate, up, x = drawn(6, 3), drawn(6, 3, seed=1), drawn(3, seed=2)
    gate[2, 1] = bad
    ones, out = np.ones(6, np.float32), np.empty(6, np.float32)
    compiled.gated(gate.numpy(), ones, up.numpy(), ones, x.numpy(), out)
    expected = F.silu(gate @ x) * (up @ x)
    torch.testing.assert_close(torch.from_numpy(out), expected, equal_nan=True, **CLOSE)
