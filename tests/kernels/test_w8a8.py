"""Products of 8-bit numbers: against whole numbers, exactly."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decodeloop.kernels import Int8Linear, Int8Matrix, w8a8
from decodeloop.kernels.elementary import exp, half, half_bits, largest, largest_magnitude
from decodeloop.kernels.int8 import quantize_tokens
from decodeloop.kernels.jit import kernel
from decodeloop.kernels.vnni import WIDTH, has_vnni, vector_dots


@settings(max_examples=30)
@example(R=64, C=128, N=16, seed=0)  # these for the matrix unit: whole tiles, more than one of
@example(R=97, C=576, N=17, seed=1)  # tokens, rows that are left
@example(R=32, C=64, N=8, seed=2)
@given(R=st.integers(1, 70), C=st.integers(1, 200), N=st.integers(1, 18), seed=st.integers(0, 999))
def test_products_are_exact(R, C, N, seed):
    g = np.random.default_rng(seed)
    matrix = g.integers(-127, 128, (R, C)).astype(np.int8)
    scale = g.random(R, np.float32)
    x = g.standard_normal((N, C), np.float32)
    inputs, out = w8a8.room(N, C), np.empty((N, R), np.float32)
    w8a8.quantize_rows(x, *inputs)
    w8a8.product(matrix, scale, *inputs, out)
    tokens, token_scale, total = inputs
    assert (total[:N] == tokens[:N].sum(1, dtype=np.int64)).all()
    whole = tokens[:N].astype(np.int64) @ matrix.T.astype(np.int64)
    assert np.array_equal(out, whole.astype(np.float32) * (scale * token_scale[:N, None]))


def on_this_processor():
    """Another process calls this: it ends at an instruction that its compiler does not know."""
    from decodeloop.kernels.jit import UNITS

    for shape in ((64, 128, 16), (50, 100, 9), (3, 64, 1)):
        test_products_are_exact.hypothesis.inner_test(*shape, seed=3)
    print(UNITS)


def test_a_processor_without_such_units_is_given_none_of_their_instructions():
    code = f"import runpy; runpy.run_path({__file__!r})['on_this_processor']()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CPU_NAME": "generic"},
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout) == (0, "(False, False)\n"), done.stderr


def test_the_largest_sums_do_not_overflow():
    matrix, x = np.full((4, 8192), -127, np.int8), np.full((1, 8192), 3.0, np.float32)
    inputs, out = w8a8.room(1, 8192), np.empty((1, 4), np.float32)
    w8a8.quantize_rows(x, *inputs)
    w8a8.product(matrix, np.ones(4, np.float32), *inputs, out)
    assert out[0, 0] == np.float32(-127 * 127 * 8192) * (np.float32(3) / np.float32(127))


@pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")
@pytest.mark.parametrize("C", [64, 130, 576])
def test_the_vector_instruction_is_what_the_loop_is(C):
    @kernel()
    def call(rows, tokens, blocks, out):
        vector_dots(rows, tokens, blocks, out)

    g = np.random.default_rng(C)
    wide = g.integers(-128, 128, (4, C + 9)).astype(np.int8)
    rows, tokens = wide[:, :C], g.integers(-127, 128, (4, C)).astype(np.int8)
    found, expected = np.empty(16, np.int32), np.zeros(16, np.int32)
    call(rows, tokens, C // WIDTH, found)
    whole = C // WIDTH * WIDTH
    w8a8.plain_dots(rows[:, :whole].copy(), tokens[:, :whole].copy(), 0, expected)
    assert (found == expected).all()


def test_a_token_is_quantized_as_pytorch_does_it():
    x = torch.randn(7, 33, generator=torch.Generator().manual_seed(0))
    x[3] = 0
    tokens, scale, _ = w8a8.room(7, 33)
    total = np.zeros(8, np.int32)
    w8a8.quantize_rows(x.numpy(), tokens, scale, total)
    expected, expected_scale = quantize_tokens(x)
    assert (tokens[:7] == expected.numpy()).all() and not tokens[7].any()
    assert (scale[:7] == expected_scale[:, 0].numpy()).all()
    assert scale[3] == 0 and not tokens[3].any()


def test_a_linear_layer_with_inputs_in_8_bits():
    g = torch.Generator().manual_seed(0)
    weight, x = torch.randn(20, 48, generator=g), torch.randn(2, 3, 48, generator=g)
    matrix = Int8Matrix(weight)
    found = Int8Linear(matrix, torch.int8)(x)
    tokens, scale = quantize_tokens(x)
    exact = tokens.double() @ matrix.quantized.double().T
    torch.testing.assert_close(found.double(), exact * scale * matrix.scale, rtol=1e-6, atol=0)
    assert float((found - x @ weight.T).norm() / (x @ weight.T).norm()) < 0.02


def test_norm_and_silu_end_in_8_bits():
    g = np.random.default_rng(0)
    x, weight = g.standard_normal((3, 40), np.float32), g.random(40, np.float32)
    inputs, normed = w8a8.room(3, 40), np.empty((3, 40), np.float32)
    w8a8.norm_and_quantize(x, weight, 1e-5, normed, *inputs)
    expected = torch.nn.functional.rms_norm(
        torch.from_numpy(x), (40,), torch.from_numpy(weight), 1e-5
    )
    np.testing.assert_allclose(normed, expected.numpy(), rtol=1e-5)
    back = inputs[0][:3] * inputs[1][:3, None]
    assert np.abs(back - normed).max() <= 0.51 * inputs[1].max()

    inner = g.standard_normal((2, 3, 40), np.float32) * 30
    gate, up = torch.from_numpy(inner.copy())
    w8a8.silu_and_quantize(inner, *inputs)
    np.testing.assert_allclose(
        inner[0], (torch.nn.functional.silu(gate) * up).numpy(), rtol=2e-6, atol=1e-30
    )


def test_exp():
    @kernel(parallel=False)
    def each(x, out):
        for i in range(x.shape[0]):
            out[i] = exp(x[i])

    x = np.linspace(-80, 87, 10_001, dtype=np.float32)
    out = np.empty_like(x)
    each(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=2e-7)
    odd = np.array([np.nan, -np.inf, np.inf, -1e30, 0.0], np.float32)
    each(odd, odd)
    assert np.isnan(odd[0]) and odd[1] == 0 and odd[2] > 1e37 and odd[3] == 0 and odd[4] == 1


def test_the_largest():
    g = np.random.default_rng(0)
    for n in (1, 7, 130):
        for x in (g.standard_normal(n, np.float32), -g.random(n, np.float32)):
            assert largest(x) == x.max() and largest_magnitude(x) == np.abs(x).max()
    odd = np.array([0.0, np.nan, np.inf, -np.inf], np.float32)
    assert np.isnan(largest(odd)) and np.isnan(largest_magnitude(odd))
    assert largest(odd[3:]) == -np.inf and largest(odd[:1]) == 0


def test_half_precision_by_its_bits():
    bits = np.arange(-(2**15), 2**15).astype(np.int16)
    expected = bits.view(np.float16).astype(np.float32)
    finite = np.isfinite(expected)
    found = np.array([half(b) for b in bits[finite]], np.float32)
    assert (found == expected[finite]).all()
    assert ([half_bits(x) for x in expected[finite]] == bits[finite]).all()
    between = np.float32([1 + 2**-11, 1 + 3 * 2**-11, -0.1, 2.0**-25, 3e-8, 1e9, -1e9, 65519])
    limited = between.clip(-65504, 65504).astype(np.float16)
    assert ([half_bits(x) for x in between] == limited.view(np.int16)).all()
