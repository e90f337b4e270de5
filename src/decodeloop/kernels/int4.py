"""Weights in 4 bits: whole numbers from -8 to 7 in groups of 32 columns, each with its own scale.

Symmetric, and by groups, since one scale for a whole row would leave most of its weights the choice
between two or three numbers. The number of largest magnitude becomes -8, whatever its sign: so all
sixteen numbers are in use. (So it is in llama.cpp's Q4_0.) Scales that leave a smaller squared
error can be found, and lose more: they make large weights smaller. With its scale in 16 bits a
group takes 4.5 bits a weight, a seventh of fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels.int8 import dequantize

GROUP = 32  # columns that share a scale
TILE = 16  # rows that lie together: one for each number of a processor's vector
LOWEST, HIGHEST = -8, 7
PIECE = 1 << 17  # weights that are quantized at a time: what is needed on the way stays near
DEQUANTIZED_ROWS = 2048


def quantize_groups(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest numbers from -8 to 7, and what to multiply each group of 32 columns by.

    A last group that is not full is filled up with zeros. A group of zeros has scale 0.

    Shapes: weight (R, C) → (R, groups, 32) int8, (R, groups) fp16.

    Raises:
        ShapeError: the weight is no matrix.
        UserError: a weight is larger than what 16-bit scales can reach.

    >>> quantized, scale = quantize_groups(torch.tensor([[0.0, -2.0, 1.0, 1.75]]))
    >>> quantized[0, 0, :4].tolist(), scale.tolist()
    ([0, -8, 4, 7], [[0.25]])
    """
    if weight.ndim != 2:
        raise ShapeError(f"quantize_groups: the weight {tuple(weight.shape)} must be a matrix.")
    groups = F.pad(weight.float(), (0, -weight.shape[1] % GROUP)).view(len(weight), -1, GROUP)
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))  # with its sign
    step = largest / LOWEST
    scale = step.half()
    if not bool(scale.isfinite().all()):
        raise UserError(
            f"quantize_groups: a weight is {float(largest.abs().max()):g}: in 4 bits with 16-bit "
            f"scales weights reach {-LOWEST * torch.finfo(torch.float16).max:,.0f}; take another "
            f"dtype."
        )
    inverse = torch.where(scale == 0, 0.0, 1 / step)
    whole = (groups * inverse + 0.5).floor_().clamp_(LOWEST, HIGHEST)
    return whole.to(torch.int8), scale[..., 0]


def dequantize_groups(quantized: Tensor, scale: Tensor) -> Tensor:
    """The matrix that groups stand for, filled up. Shapes: (R, groups, 32), (R, groups) →
    (R, groups · 32) fp32."""
    return (quantized.float() * scale.float()[..., None]).flatten(1)


def pack(quantized: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Groups in the order in which a product takes them, two columns in a byte.

    Sixteen rows are a tile. Of each, four columns lie together; the byte of column c of the first
    half of a group holds column c + 16 in its upper nibble; 8 is added to all. Rows that are
    missing in the last tile are zeros.

    Shapes: (R, groups, 32) int8, (R, groups) → (tiles, groups, 4, 64) uint8, (tiles, groups, 16)
    fp16.
    """
    groups = quantized.shape[1]
    missing = -len(quantized) % TILE
    raised = F.pad(quantized, (0, 0, 0, 0, 0, missing)).to(torch.int16) - LOWEST
    halves = raised.view(-1, TILE, groups, 2, GROUP // 8, 4)  # tile, row, group, half, step, column
    both = halves[:, :, :, 0] | halves[:, :, :, 1] << 4
    packed = both.to(torch.uint8).permute(0, 2, 3, 1, 4)  # tile, group, step, row, column
    scales = F.pad(scale, (0, 0, 0, missing)).view(-1, TILE, groups).transpose(1, 2)
    return packed.flatten(3).contiguous(), scales.contiguous()


def unpack(packed: Tensor, scale: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """What `pack` was given, of a matrix with so many rows."""
    tiles, groups = packed.shape[:2]
    both = packed.view(tiles, groups, GROUP // 8, TILE, 4).permute(0, 3, 1, 2, 4)
    halves = torch.stack((both & 15, both >> 4), 3)  # tile, row, group, half, step, column
    quantized = halves.to(torch.int8).reshape(-1, groups, GROUP) + LOWEST
    return quantized[:rows], scale.transpose(1, 2).reshape(-1, groups)[:rows]


class Int4Matrix(nn.Module):
    """Holds a matrix (R, C) in 4 bits, as `pack` orders it; the packed part in memory that was
    given for it, of `bytes_for(R, C)` bytes, if it was. With a `row_scale` (R,) the weight is one
    in 8 bits, of which some rows at a time are made floats again."""

    def __init__(
        self, weight: Tensor, memory: Tensor | None = None, row_scale: Tensor | None = None
    ) -> None:
        super().__init__()
        self.rows, self.columns = weight.shape
        tiles, groups = tiles_and_groups(self.rows, self.columns)
        if memory is None:
            memory = weight.new_empty(self.bytes_for(*weight.shape), dtype=torch.uint8)
        self.packed: Tensor
        self.scale: Tensor
        self.register_buffer("packed", memory.view(torch.uint8).view(tiles, groups, GROUP // 8, 64))
        scale = weight.new_empty(tiles, groups, TILE, dtype=torch.float16)
        self.register_buffer("scale", scale)
        rows = max(1, PIECE // max(1, self.columns) // TILE) * TILE
        for first in range(0, self.rows, rows):
            piece = weight[first : first + rows].detach()
            if row_scale is not None:
                piece = dequantize(piece, row_scale[first : first + rows])
            part = slice(first // TILE, (first + rows) // TILE)
            self.packed[part], self.scale[part] = pack(*quantize_groups(piece))

    @staticmethod
    def bytes_for(rows: int, columns: int) -> int:
        """What the packed part of such a matrix takes: half a byte for each weight, those that
        fill up included."""
        tiles, groups = tiles_and_groups(rows, columns)
        return tiles * groups * TILE * GROUP // 2

    def dequantized(self, first: int = 0, last: int | None = None) -> Tensor:
        """Some rows of the matrix, from a multiple of 16 on. Shapes: → (last - first, C) fp32."""
        last = self.rows if last is None else min(last, self.rows)
        part = slice(first // TILE, -(-last // TILE))
        groups = unpack(self.packed[part], self.scale[part], last - first)
        return dequantize_groups(*groups)[:, : self.columns]


def tiles_and_groups(rows: int, columns: int) -> tuple[int, int]:
    """How many a matrix has of each, those that are not full included."""
    return -(-rows // TILE), -(-columns // GROUP)


def quantize_inputs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest int8 numbers of each group of 32 columns, filled up with zeros, and what to
    multiply them by; the largest magnitude of a group becomes 127. A group of zeros has scale 0.

    Shapes: x (..., C) fp32 → (..., groups, 32) int8, (..., groups, 1).
    """
    groups = F.pad(x, (0, -x.shape[-1] % GROUP)).unflatten(-1, (-1, GROUP))
    top = groups.abs().amax(-1, keepdim=True)
    inverse = torch.where(top > 0, 127 / top, 0.0)
    return (groups * inverse).round().to(torch.int8), top / 127


class Int4Linear(nn.Module):
    """A projection whose matrix is in 4 bits; `matrix` may be shared, as that of a tied head is.

    Its inputs are rounded to 8 bits, each group of 32 with a scale of its own, as the kernels do
    it: so plain PyTorch gives what they give, but for the order of additions. The products are
    PyTorch's, in fp32, of some rows at a time. A `bias` (R,) stays fp32.
    """

    bias: nn.Parameter | None

    def __init__(self, matrix: Int4Matrix) -> None:
        super().__init__()
        self.matrix = matrix
        self.out_features, self.in_features = matrix.rows, matrix.columns
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x (..., C) → (..., R) fp32."""
        whole, scale = quantize_inputs(x.float())
        inputs = (whole * scale).flatten(-2)[..., : self.in_features]
        products = [
            F.linear(inputs, self.matrix.dequantized(first, first + DEQUANTIZED_ROWS))
            for first in range(0, self.out_features, DEQUANTIZED_ROWS)
        ]
        product = products[0] if len(products) == 1 else torch.cat(products, dim=-1)
        return product if self.bias is None else product.add_(self.bias)
