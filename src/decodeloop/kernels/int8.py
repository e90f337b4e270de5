"""Weights in 8 bits: one whole number for each weight, and one scale for each row.

Symmetric, round to nearest, the largest magnitude of a row becomes 127 (as in LLM.int8(): Dettmers
et al., 2022, section 2.1, by rows). A quarter of the bytes of fp32, and activations stay as they
are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.errors import ShapeError

LARGEST = 127
ROWS = 1024  # so many at a time are quantized, or become fp32 again: some MB, whatever the matrix


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
    """Holds a quantized matrix: `quantized` (R, C) and `scale` (R,)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.quantized: Tensor
        self.scale: Tensor
        self.register_buffer("quantized", torch.empty_like(weight, dtype=torch.int8))
        self.register_buffer("scale", weight.new_empty(len(weight), dtype=torch.float32))
        for first in range(0, len(weight), ROWS):  # what is needed on the way stays small
            rows = slice(first, first + ROWS)
            self.quantized[rows], self.scale[rows] = quantize(weight[rows].detach())


class Int8Linear(nn.Module):
    """A projection whose matrix is quantized; `matrix` may be shared, as that of a tied head is.

    The matrix becomes fp32 again some rows at a time, since the products are PyTorch's.
    """

    def __init__(self, matrix: Int8Matrix) -> None:
        super().__init__()
        self.matrix = matrix
        self.out_features, self.in_features = matrix.quantized.shape

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) → (..., R)."""
        blocks = self.matrix.quantized.split(ROWS)
        products = torch.cat([F.linear(x, rows.to(x.dtype)) for rows in blocks], dim=-1)
        return products * self.matrix.scale.to(x.dtype)


class Int8Embedding(nn.Module):
    """A table whose rows are quantized: those that are asked for become fp32 again."""

    def __init__(self, matrix: Int8Matrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, token_ids: Tensor) -> Tensor:
        """Shapes: token_ids (...) → (..., C)."""
        rows, scale = self.matrix.quantized[token_ids], self.matrix.scale[token_ids]
        return rows.float() * scale[..., None]
