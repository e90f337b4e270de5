"""Weights in 4 bits, and their products with inputs in 8: against llama.cpp's Q4_0 and PyTorch."""

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize as gguf_dequantized
from gguf.quants import quantize as gguf_quantized
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import Int4Linear, Int4Matrix, Int8Matrix, ScreenedLinear, int4_products
from decodeloop.kernels.int4 import GROUP, dequantize_groups, quantize_groups, quantize_inputs
from decodeloop.kernels.int4 import unpack as unpacked
from decodeloop.kernels.int4_products import plain_tile, spread

Q4_0 = gguf.GGMLQuantizationType.Q4_0


def drawn(R, C, seed=0):
    return torch.randn(R, C, generator=torch.Generator().manual_seed(seed))


def tiles_of(matrix):
    return matrix.packed.numpy(), matrix.scale.view(torch.int16).numpy()


def test_it_is_what_llama_cpp_stores():
    weight = drawn(64, 320)
    weight[3, 32:64] = 0
    theirs = gguf_dequantized(gguf_quantized(weight.numpy(), Q4_0), Q4_0)
    ours = dequantize_groups(*quantize_groups(weight))
    assert torch.equal(ours, torch.from_numpy(theirs))


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 9), st.sampled_from([1e-3, 1, 1e3]))
def test_no_weight_is_off_by_more_than_a_step(R, C, seed, size):
    weight = size * drawn(R, C, seed)
    quantized, scale = quantize_groups(weight)
    assert quantized.shape == (R, -(-C // GROUP), GROUP) and scale.dtype == torch.float16
    assert int(quantized.min()) == -8 and int(quantized.max()) <= 7
    error = (dequantize_groups(quantized, scale)[:, :C] - weight).abs()
    step = scale.float().abs().repeat_interleave(GROUP, 1)[:, :C]
    assert bool((error <= 1.01 * step).all())  # what is 8 with the other sign becomes 7


@given(st.integers(1, 40), st.integers(1, 70))
def test_packing_loses_nothing(R, C):
    matrix, groups = Int4Matrix(drawn(R, C)), quantize_groups(drawn(R, C))
    for found, expected in zip(unpacked(matrix.packed, matrix.scale, R), groups, strict=True):
        assert torch.equal(found, expected)
    assert matrix.packed.numel() == Int4Matrix.bytes_for(R, C)
    assert torch.equal(matrix.dequantized(), dequantize_groups(*groups)[:, :C])
    assert torch.equal(matrix.dequantized(16, 20), dequantize_groups(*groups)[16:20, :C])


def test_bad_weights():
    with pytest.raises(ShapeError, match=r"the weight \(3,\) must be a matrix"):
        quantize_groups(torch.ones(3))
    with pytest.raises(
        UserError, match=r"a weight is 1e\+06: .* reach 524,032; take another dtype"
    ):
        quantize_groups(torch.tensor([[1e6]]))
    tiny = torch.full((1, 2), 1e-12)  # its scale is 0 in fp16
    assert not dequantize_groups(*quantize_groups(tiny)).any()


@settings(max_examples=30)
@example(R=49, C=576, N=9, seed=1)
@example(R=16, C=64, N=70, seed=2)  # more tokens than are taken at a time
@given(R=st.integers(1, 70), C=st.integers(1, 200), N=st.integers(1, 9), seed=st.integers(0, 999))
def test_products_are_those_of_the_unpacked_matrix(R, C, N, seed):
    matrix, x = Int4Matrix(drawn(R, C, seed)), drawn(N, C, seed + 1)
    inputs, out = int4_products.room(N, C), np.full((N, R), np.nan, np.float32)
    int4_products.quantize_rows(x.numpy(), *inputs)
    int4_products.product(*tiles_of(matrix), *inputs, out)
    whole, scale = quantize_inputs(x)
    assert (inputs[0][:N] == whole.flatten(1).numpy()).all()
    exact = (whole.double() * scale).flatten(1)[:, :C] @ matrix.dequantized().double().T
    torch.testing.assert_close(torch.from_numpy(out).double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(Int4Linear(matrix)(x), torch.from_numpy(out), rtol=1e-4, atol=1e-4)
    copies = spread(inputs[0])
    tile = np.empty((1, 16), np.float32)
    plain_tile(*(part[0] for part in tiles_of(matrix)), copies[0], inputs[1][0], inputs[2][0], tile)
    np.testing.assert_allclose(tile[0, : min(R, 16)], out[0, :16], rtol=1e-5, atol=1e-5)


def test_the_largest_sums_do_not_overflow():
    weight = torch.full((16, 64), -8.0)  # all numbers are -8, and 7 beside them
    weight[:, 1::2] = 7.0
    x = torch.tensor([3.0, -3.0]).repeat(32)[None]
    matrix, inputs = Int4Matrix(weight), int4_products.room(1, 64)
    int4_products.quantize_rows(x.numpy(), *inputs)
    out, tile = np.empty((1, 16), np.float32), np.empty((1, 16), np.float32)
    int4_products.product(*tiles_of(matrix), *inputs, out)
    plain_tile(
        *(part[0] for part in tiles_of(matrix)), spread(inputs[0])[0], inputs[1][0], inputs[2][0],
        tile,
    )  # fmt: skip
    np.testing.assert_allclose(out, -15 * 3.0 * 32, rtol=1e-6)
    np.testing.assert_allclose(tile, out, rtol=1e-6)


def test_a_projection_in_plain_pytorch():
    weight, x = drawn(40, 72), drawn(6, 72).view(2, 3, 72)
    linear = Int4Linear(Int4Matrix(weight))
    assert linear(x).shape == (2, 3, 40) and (linear.in_features, linear.out_features) == (72, 40)
    full = F.linear(x, weight)
    assert 0.02 < float((linear(x) - full).norm() / full.norm()) < 0.15


def screened(R=3000, C=64):
    weight = drawn(R, C)
    return weight, ScreenedLinear(Int8Matrix(weight))


def test_a_head_scores_what_may_be_best_again():
    weight, head = screened()
    x = 3 * drawn(20, 64, 5)
    scores, coarse, full = head(x), head.screen(x), x @ weight.T
    again = (scores - head.exact(x)).abs() < 1e-4
    assert 0.001 < float(again.float().mean()) < 0.2  # some are scored again, and few
    assert bool(((scores == coarse) | again).all())
    best = full.argmax(-1)
    assert torch.equal(scores.argmax(-1), head.exact(x).argmax(-1))
    assert int((scores.argmax(-1) == best).sum()) > int((coarse.argmax(-1) == best).sum())


def test_the_compiled_head_is_the_plain_one():
    _, head = screened()
    x = 3 * drawn(5, 64, 5)
    x[3] = 0  # then every score is near the best
    scores = head.screen(x).numpy()
    before = scores.copy()
    exact = head.exact.matrix
    int4_products.score_again(
        exact.quantized.numpy(), exact.scale.numpy(), x.numpy(), head.error, scores
    )
    assert (scores != before).any()
    np.testing.assert_allclose(scores, head(x).numpy(), rtol=1e-4, atol=1e-4)
    scores[:] = np.nan
    int4_products.score_again(
        exact.quantized.numpy(), exact.scale.numpy(), x.numpy(), head.error, scores
    )
    assert np.isnan(scores).all()
