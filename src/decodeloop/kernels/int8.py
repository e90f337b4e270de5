"""Weights in 8 bits: one whole number for each weight, and one scale for each row.

Symmetric, round to nearest, the largest magnitude of a row becomes 127 (as in LLM.int8(): Dettmers
et al., 2022, section 2.1, by rows). A quarter of the bytes of fp32, and activations stay as they
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.errors import ShapeError

LARGEST = 127
# So many rows at a time are quantized, or made floats again: some MB, whatever the matrix. What
# quantizing needs on the way must stay in the processor's cache: with 2,048 it takes ten times as
# long, since each piece of that size comes fresh from the operating system.
QUANTIZED_ROWS, ROWS = 512, 2048


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest int8 matrix, and what to multiply each of its rows by.

    A row of zeros has scale 1.

    Shapes: weight (R, C) → (R, C) int8, (R,) fp32.

    Raises:
        ShapeError: the weight is no matrix.

    >>> quantize(torch.tensor([[0.0, -2.54, 1.0]]))
    (tensor([[   0, -127,   50]], dtype=torch.int8), tensor([0.0200]))
    """
    if weight.ndim != 2:
        raise ShapeError(f"quantize: the weight {tuple(weight.shape)} must be a matrix (R, C).")
    scale = weight.abs().amax(1).float() / LARGEST
    scale = torch.where(scale == 0, 1.0, scale)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def dequantize(quantized: Tensor, scale: Tensor) -> Tensor:
    """The matrix that an int8 matrix stands for. Shapes: (R, C) int8, (R,) → (R, C) fp32.

    >>> dequantize(torch.tensor([[0, -127, 50]], dtype=torch.int8), torch.tensor([0.02]))
    tensor([[ 0.0000, -2.5400,  1.0000]])
    """
    return quantized.float() * scale[:, None]


class Int8Matrix(nn.Module):
    """Holds a quantized matrix: `quantized` (R, C) and `scale` (R,); the first in memory that was
    given for it, (R·C,) int8, if one was."""

    def __init__(self, weight: Tensor, memory: Tensor | None = None) -> None:
        super().__init__()
        self.quantized: Tensor
        self.scale: Tensor
        if memory is None:
            memory = weight.new_empty(weight.numel(), dtype=torch.int8)
        self.register_buffer("quantized", memory.view(weight.shape))
        self.register_buffer("scale", weight.new_empty(len(weight), dtype=torch.float32))
        for first in range(0, len(weight), QUANTIZED_ROWS):
            rows = slice(first, first + QUANTIZED_ROWS)
            self.quantized[rows], self.scale[rows] = quantize(weight[rows].detach())

    @staticmethod
    def bytes_for(rows: int, columns: int) -> int:
        """What the numbers of such a matrix take, its scales aside."""
        return rows * columns


def one_piece(sizes: Sequence[int]) -> list[Tensor]:
    """Memory on the CPU for so many bytes each, all of one piece: the system gives a large piece in
    large pages (NumPy asks for them), and then a step that reads them all looks up fewer: it takes
    a tenth less.

    >>> [len(part) for part in one_piece([3, 100])]
    [3, 100]
    """
    line = 64  # bytes: where a row begins that a processor's vector can take in one go
    starts = list(accumulate((-(-size // line) * line for size in sizes), initial=0))
    whole = torch.from_numpy(np.empty(starts[-1], np.int8))
    return [whole[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def product_type(device: torch.device) -> torch.dtype:
    """What products of many tokens with int8 weights take their inputs in, on this device.

    That is bf16 where it multiplies bf16 numbers itself (a processor some four times as many as
    fp32 ones in the same time; CUDA from compute capability 8.0 on); else fp32. The whole numbers
    from -128 to 127 are exact in bf16. The activations are rounded to its 8 significant bits, and
    so are the products.
    """
    if device.type == "cpu":
        instructions = torch.cpu.get_capabilities()
        able = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    else:
        able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if able else torch.float32


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest int8 numbers of each token, and what to multiply them by; the largest magnitude
    of a token becomes 127. A token of zeros has scale 0.

    Shapes: x (..., C) fp32 → (..., C) int8, (..., 1).

    >>> quantize_tokens(torch.tensor([[0.0, -2.54, 1.0]]))
    (tensor([[   0, -127,   50]], dtype=torch.int8), tensor([[0.0200]]))
    """
    top = x.abs().amax(-1, keepdim=True)
    inverse = torch.where(top > 0, LARGEST / top, 0.0)
    return (x * inverse).round().to(torch.int8), top / LARGEST


def whole_product(x: Tensor, matrix: Tensor) -> Tensor:
    """x @ matrixᵀ of 8-bit numbers, as fp32: exact on the CPU, elsewhere as far as fp32 reaches.

    Shapes: x (N, C) int8, matrix (R, C) int8 → (N, R).
    """
    if x.is_cpu:
        return torch._int_mm(x, matrix.t()).float()
    return F.linear(x.float(), matrix.float())


class Int8Linear(nn.Module):
    """A projection whose matrix is quantized; `matrix` may be shared, as that of a tied head is.

    The products are PyTorch's, of inputs in the type `products`, which is that of the matrix's
    device if not given; the matrix becomes numbers of that type some rows at a time. With
    `torch.int8` the inputs are quantized too, with a scale for each token ("w8a8"). A `bias` (R,)
    stays fp32.
    """

    bias: nn.Parameter | None

    def __init__(self, matrix: Int8Matrix, products: torch.dtype | None = None) -> None:
        super().__init__()
        self.matrix = matrix
        self.products = products or product_type(matrix.quantized.device)
        self.out_features, self.in_features = matrix.quantized.shape
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) → (..., R) fp32."""
        product = self._product(x)
        return product if self.bias is None else product.add_(self.bias)

    def _product(self, x: Tensor) -> Tensor:
        if self.products == torch.int8:
            tokens, scale = quantize_tokens(x.reshape(-1, self.in_features))
            product = whole_product(tokens, self.matrix.quantized)
            return (product * (self.matrix.scale * scale)).view(*x.shape[:-1], -1)
        inputs = x.to(self.products)
        blocks = zip(self.matrix.quantized.split(ROWS), self.matrix.scale.split(ROWS), strict=True)
        products = [
            F.linear(inputs, rows.to(self.products)).float().mul_(scale) for rows, scale in blocks
        ]
        return products[0] if len(products) == 1 else torch.cat(products, dim=-1)


class Int8Embedding(nn.Module):
    """A table whose rows are quantized: those that are asked for become fp32 again."""

    def __init__(self, matrix: Int8Matrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, token_ids: Tensor) -> Tensor:
        """Shapes: token_ids (...) → (..., C)."""
        rows, scale = self.matrix.quantized[token_ids], self.matrix.scale[token_ids]
        return rows.float() * scale[..., None]
