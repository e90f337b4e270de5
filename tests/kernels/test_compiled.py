"""Each compiled function against its plain PyTorch twin."""

import math

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from decodeloop.kernels import compiled, quantize
from decodeloop.kernels.threads import numba_threads
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
@settings(max_examples=60)
@given(R=SIZES, C=SIZES, T=st.integers(1, 9))
def test_add_product(kind, R, C, T):
    matrix, scale, plain = as_stored(drawn(R, C), kind)
    x, out = drawn(T, C, seed=1), np.full((T, R), 7, np.float32)
    compiled.add_product(matrix, scale, x.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), 7 + x @ plain.T, **CLOSE)


@each_kind
@settings(max_examples=40)
@given(C=SIZES, T=st.integers(0, 9))
def test_products_of_a_pair_of_rows(kind, C, T):
    """Each row of the pair, from matrices of which one may be fp32 and the other int8."""
    (v, s_v, plain_v), (w, s_w, plain_w) = (
        as_stored(drawn(1, C), kind),
        (as_stored(drawn(1, C, seed=1), "fp32")),
    )
    x, out = drawn(T, C, seed=2), np.zeros((2, T), np.float32)
    compiled.add_pair(v[0], w[0], s_v[0], s_w[0], x.numpy(), out[0], out[1])
    expected = torch.stack([x @ plain_v[0], x @ plain_w[0]])
    torch.testing.assert_close(torch.from_numpy(out), expected, **CLOSE)
    if T:
        one = compiled.row_times(v[0], x[0].numpy()) * s_v[0]
        torch.testing.assert_close(torch.tensor(one), expected[0, 0], **CLOSE)


@given(C=SIZES)
def test_products_of_one_two_and_four_vectors(C):
    (v, w), x = drawn(2, C).numpy(), drawn(4, C, seed=1).numpy()
    expected = torch.from_numpy(np.stack([v, w])) @ torch.from_numpy(x).T  # (2, 4)
    for found, T in (
        (compiled.pair_times_one(v, w, x[0]), 1),
        (compiled.pair_times_two(v, w, x[0], x[1]), 2),
        (compiled.pair_times_four(v, w, x), 4),
    ):
        torch.testing.assert_close(torch.tensor(found).view(2, T), expected[:, :T], **CLOSE)


@each_kind
@settings(max_examples=40)
@given(queries=SIZES, keys=SIZES, C=SIZES, T=st.integers(1, 9))
def test_query_key_value(kind, queries, keys, C, T):
    stored = [as_stored(drawn(n, C, seed=n), kind) for n in (queries, keys, keys)]
    x, out = drawn(T, C, seed=1), np.zeros((T, queries + 2 * keys), np.float32)
    compiled.query_key_value(*(part for row in stored for part in row[:2]), x.numpy(), out)
    expected = torch.cat([x @ plain.T for _, _, plain in stored], dim=1)
    torch.testing.assert_close(torch.from_numpy(out), expected, **CLOSE)


@each_kind
@settings(max_examples=40)
@given(inner=SIZES, C=SIZES, T=st.integers(1, 9))
def test_gated(kind, inner, C, T):
    gate, up = (as_stored(drawn(inner, C, seed=n), kind) for n in (2, 3))
    x, out = drawn(T, C, seed=1), np.zeros((2, T, inner), np.float32)
    compiled.gated(*gate[:2], *up[:2], x.numpy(), out)
    expected = F.silu(x @ gate[2].T) * (x @ up[2].T)
    torch.testing.assert_close(torch.from_numpy(out[0]), expected, **CLOSE)


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


def attended(q, keys, values, texts, places):
    """Each token by PyTorch's operator. q (T, H, D), keys and values (B, G, S, D) → (T, H, D)"""
    found = []
    for t, (text, place) in enumerate(zip(texts, places, strict=True)):
        used = keys[text : text + 1, :, : place + 1], values[text : text + 1, :, : place + 1]
        found.append(grouped_query_attention(q[t, None, :, None], *used)[0, :, 0])
    return torch.stack(found)


def by_kernel(q, keys, values, texts, places):
    out = np.empty(q.shape, np.float32)
    compiled.attend(*(x.numpy() for x in (q, keys, values)), np.array(texts), np.array(places), out)
    return torch.from_numpy(out)


@settings(max_examples=60)
@given(
    G=st.integers(1, 4),
    share=st.integers(1, 4),
    D=SIZES,
    tokens=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 126, 127, 128, 254, 255, 256, 299])),
        min_size=1,
        max_size=8,
    ),
)
def test_attention_over_the_cache(G, share, D, tokens):
    """Tokens of three texts, at places of their own, out of order."""
    texts, places = zip(*tokens, strict=True)
    q = drawn(len(tokens), G * share, D)
    keys, values = (drawn(3, G, 300, D, seed=n) for n in (1, 2))
    found = by_kernel(q, keys, values, texts, places)
    torch.testing.assert_close(found, attended(q, keys, values, texts, places), **CLOSE)
    used = (x[texts[0], None, :, : places[0] + 1] for x in (keys, values))
    fused = F.scaled_dot_product_attention(q[0, None, :, None], *used, enable_gqa=True)
    torch.testing.assert_close(found[0], fused[0, :, 0], **CLOSE)


def test_a_token_sees_nothing_of_other_texts_nor_of_later_places():
    q, keys, values = drawn(2, 2, 8), drawn(2, 1, 300, 8, seed=1), drawn(2, 1, 300, 8, seed=2)
    before = by_kernel(q, keys, values, [1, 1], [4, 130])
    for tensor in (keys, values):
        tensor[0] = math.nan
        tensor[1, :, 131:] = math.nan
    assert torch.equal(by_kernel(q, keys, values, [1, 1], [4, 130]), before)
    keys[1, :, 5:] = math.nan
    assert torch.equal(by_kernel(q, keys, values, [1, 1], [4, 130])[0], before[0])


@pytest.mark.parametrize("size", [1e-3, 30.0, 1e4])
def test_scores_of_any_size_do_not_overflow(size):
    q, keys, values = (
        size * drawn(1, 2, 8),
        drawn(1, 1, 300, 8, seed=1),
        drawn(1, 1, 300, 8, seed=2),
    )
    plain = attention(q[0][None], keys[0], values[0])
    found = by_kernel(q, keys, values, [0], [299])
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-4)


# NaN and infinity go where they go in PyTorch

BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("T", [1, 2, 3, 4, 8])
def test_bad_numbers_in_products(bad, T):
    weight, x, out = drawn(5, 9), drawn(T, 9, seed=1), np.zeros((T, 5), np.float32)
    x[T - 1, 4] = bad
    compiled.add_product(weight.numpy(), np.ones(5, np.float32), x.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), x @ weight.T, equal_nan=True, **CLOSE)
    normed = np.empty(9, np.float32)
    compiled.rms_norm(x[T - 1].numpy(), weight[0].numpy(), 1e-5, normed)
    expected = rms_norm(x[T - 1], weight[0], 1e-5)
    torch.testing.assert_close(torch.from_numpy(normed), expected, equal_nan=True, **CLOSE)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["q", "keys", "values"])
@pytest.mark.parametrize("place", [0, 130, 299])
def test_bad_numbers_in_attention(bad, where, place):
    made = {
        "q": drawn(1, 2, 4),
        "keys": drawn(1, 1, 300, 4, seed=1),
        "values": drawn(1, 1, 300, 4, seed=2),
    }
    if where == "q":
        made["q"][0, 0, 1] = bad
    else:
        made[where][0, 0, place, 2] = bad
    found = by_kernel(*made.values(), [0], [299])[0]
    q, keys, values = (x[0] for x in made.values())
    expected = torch.softmax(q @ keys[0].T / 2.0, -1) @ values[0]
    torch.testing.assert_close(found, expected, equal_nan=True, **CLOSE)


@pytest.mark.parametrize("bad", BAD)
def test_bad_numbers_in_the_gate(bad):
    gate, up, x = drawn(6, 3), drawn(6, 3, seed=1), drawn(3, seed=2)
    gate[2, 1] = bad
    ones, out = np.ones(6, np.float32), np.zeros((2, 1, 6), np.float32)
    compiled.gated(gate.numpy(), ones, up.numpy(), ones, x[None].numpy(), out)
    expected = F.silu(gate @ x) * (up @ x)
    torch.testing.assert_close(torch.from_numpy(out[0, 0]), expected, equal_nan=True, **CLOSE)


# Each row of a result is added up by one thread, in one order


@each_kind
@pytest.mark.parametrize("T", [1, 2, 5, 8])
def test_the_number_of_threads_changes_no_bit(kind, T):
    stored = {
        name: as_stored(drawn(rows, columns, seed=rows), kind)[:2]
        for name, rows, columns in (
            ("query", 24, 32), ("key", 8, 32), ("value", 8, 32), ("output", 32, 24),
            ("gate", 45, 32), ("up", 45, 32), ("down", 32, 45),
        )
    }  # fmt: skip
    norm, angle = np.ones(32, np.float32), np.ones((T, 4), np.float32)
    weights = [norm, *(stored[n] for n in ("query", "key", "value", "output")), norm]
    weights += [stored[n] for n in ("gate", "up", "down")]
    flat = [part for w in weights for part in (w if isinstance(w, tuple) else (w,))]
    found = []
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        x = drawn(T, 32).numpy()
        keys, values = (drawn(1, 1, 300, 8, seed=n).numpy() for n in (1, 2))
        with numba_threads():
            numba.set_num_threads(threads)
            compiled.decode_layer(
                x, np.zeros(T, np.int64), np.arange(T) + 200, angle, angle, keys, values, 1e-5,
                *flat,
            )  # fmt: skip
        found.append((x, keys, values))
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one, two)
