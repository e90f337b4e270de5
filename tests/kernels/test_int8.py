import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from decodeloop.errors import ShapeError
from decodeloop.kernels import Int8Embedding, Int8Linear, Int8Matrix, dequantize, quantize
from decodeloop.kernels.int8 import ROWS, product_type


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.sampled_from([1e-8, 1, 1e8]))
def test_no_weight_is_off_by_more_than_half_a_step(R, C, seed, size):
    weight = size * torch.randn(R, C, generator=torch.Generator().manual_seed(seed))
    quantized, scale = quantize(weight)
    assert quantized.dtype == torch.int8
    assert int(quantized.abs().max()) == 127
    error = (dequantize(quantized, scale) - weight).abs()
    assert bool((error <= 0.501 * scale[:, None]).all())


def test_it_is_symmetric_and_keeps_the_largest_of_each_row():
    weight = torch.tensor([[1.0, -4.0, 2.0], [0.0, 0.0, 0.0], [3.0, 3.0, -3.0]])
    quantized, scale = quantize(weight)
    assert quantized.tolist() == [[32, -127, 64], [0, 0, 0], [127, 127, -127]]
    assert scale.tolist() == pytest.approx([4 / 127, 1.0, 3 / 127])
    minus, same = quantize(-weight)
    assert torch.equal(minus, -quantized) and torch.equal(same, scale)


def test_only_matrices_are_quantized():
    with pytest.raises(ShapeError, match=r"the weight \(3,\) must be a matrix \(R, C\)"):
        quantize(torch.ones(3))


@pytest.mark.parametrize("rows", [1, 7, ROWS, ROWS + 3])
def test_a_projection_is_that_of_the_dequantized_matrix(rows):
    weight, x = torch.randn(rows, 12), torch.randn(2, 3, 12)
    linear = Int8Linear(Int8Matrix(weight), torch.float32)
    expected = F.linear(x, dequantize(*quantize(weight)))
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-5)
    assert (linear.in_features, linear.out_features) == (12, rows)


def test_in_bf16_nothing_but_inputs_and_products_is_rounded():
    weight, x = torch.randn(64, 200), torch.randn(3, 200)
    linear = Int8Linear(Int8Matrix(weight), torch.bfloat16)
    quantized, scale = quantize(weight)
    exact = x.bfloat16().double() @ quantized.double().T  # whole numbers are exact in bf16
    torch.testing.assert_close(linear(x).double(), exact * scale.double(), rtol=2**-8, atol=1e-3)
    assert linear(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("able", "products"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_products_are_in_bf16_where_the_processor_has_it(able, products, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert product_type(torch.device("cpu")) == products
    assert Int8Linear(Int8Matrix(torch.ones(2, 3))).products == products


@pytest.mark.parametrize(
    ("device", "capability", "products"),
    [
        ("cuda", (9, 0), torch.bfloat16),
        ("cuda:1", (8, 0), torch.bfloat16),
        ("cuda", (7, 5), torch.float32),
        ("mps", None, torch.float32),
    ],
)
def test_a_gpu_is_asked_itself_and_not_the_processor(device, capability, products, monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda d: asked.append(d) or capability
    )
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: pytest.fail("the CPU was asked"))
    assert product_type(torch.device(device)) == products
    assert asked == ([torch.device(device)] if capability else [])


def test_an_embedding_gives_the_rows_of_the_dequantized_table():
    table = torch.randn(50, 6)
    ids = torch.tensor([[3, 49, 0], [3, 3, 7]])
    expected = dequantize(*quantize(table))[ids]
    torch.testing.assert_close(Int8Embedding(Int8Matrix(table))(ids), expected)
