"""Weights in fewer bits: a whole number for each, and a step that a group of neighbours shares.

Round to nearest: symmetric, where 0 is in the middle and a step is all that is kept, or asymmetric,
where a zero point says which whole number stands for 0. (Jacob et al., "Quantization and Training
of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.1; groups:
Shen et al., "Q-BERT", 2020, section 3.2.) A row is the group of all its columns; a whole tensor is
a matrix of one row: `weight.view(1, -1)`. Built in lesson 19.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Decoder

FEWEST, MOST = 2, 8  # bits


def quantize_groups(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """The nearest whole numbers from -n to n, where n = 2^(bits - 1) - 1, and the step of each
    group of neighbours in a row: the largest magnitude of a group becomes n.

    A group of zeros has step 0. A tie may be rounded either way. Numbers whose step is too small to
    divide by, below 3e-39, become 0.

    Shapes: weight (R, C) → (R, C) int8, (R, C / group) fp32.

    Raises:
        ShapeError: the weight is no matrix.
        UserError: the bits are not from 2 to 8, the groups don't divide C, or a weight is no
            number.

    >>> whole, step = quantize_groups(torch.tensor([[1.0, -3.5, 0.6, 1.75]]), bits=4, group=2)
    >>> whole.tolist(), step.tolist()
    ([[2, -7, 2, 7]], [[0.5, 0.25]])
    """
    groups = in_groups(weight, bits, group, "quantize_groups")
    highest = 2 ** (bits - 1) - 1
    step = groups.abs().amax(-1, keepdim=True) / highest
    whole = (groups * inverse_of(step)).round_().clamp_(-highest, highest)
    return whole.to(torch.int8).view(weight.shape), step[..., 0]


def dequantize_groups(whole: Tensor, step: Tensor) -> Tensor:
    """What the whole numbers stand for. Shapes: (R, C), (R, groups) → (R, C) fp32.

    Raises:
        ShapeError: there are no steps for these groups.
        UserError: a step is no number.
    """
    groups = groups_of(whole, step, "dequantize_groups")
    return (groups.float() * step.float()[..., None]).view(whole.shape)


def quantize_asymmetric(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest whole numbers from 0 to n = 2^bits - 1, the step of each group of neighbours in
    a row, and its zero point: the whole number that stands for 0.

    n steps reach from the smallest number of a group to its largest; both are stretched to 0 where
    it does not lie between them, so that 0 stays 0. A group of zeros has step 0.

    Shapes: weight (R, C) → (R, C) uint8, (R, C / group) fp32, (R, C / group) uint8.

    Raises:
        ShapeError, UserError: as `quantize_groups`.

    >>> whole, step, zero = quantize_asymmetric(torch.tensor([[-1.0, 0.1, 6.5, 3.0]]), 4, 4)
    >>> whole.tolist(), step.tolist(), zero.tolist()
    ([[0, 2, 15, 8]], [[0.5]], [[2]])
    """
    groups = in_groups(weight, bits, group, "quantize_asymmetric")
    highest = 2**bits - 1
    low = groups.amin(-1, keepdim=True).clamp(max=0)
    step = (groups.amax(-1, keepdim=True).clamp(min=0) - low) / highest
    inverse = inverse_of(step)
    zero = (-low * inverse).round()
    whole = (groups * inverse).round_().add_(zero).clamp_(0, highest)
    return whole.to(torch.uint8).view(weight.shape), step[..., 0], zero.to(torch.uint8)[..., 0]


def dequantize_asymmetric(whole: Tensor, step: Tensor, zero: Tensor) -> Tensor:
    """What the whole numbers stand for. Shapes: (R, C), twice (R, groups) → (R, C) fp32.

    Raises:
        ShapeError, UserError: as `dequantize_groups`.
    """
    groups = groups_of(whole, step, "dequantize_asymmetric")
    if zero.shape != step.shape:
        raise ShapeError(
            f"dequantize_asymmetric: zero points {tuple(zero.shape)} for steps "
            f"{tuple(step.shape)}: expected one for each group."
        )
    return ((groups.float() - zero.float()[..., None]) * step.float()[..., None]).view(whole.shape)


def pack_int4(whole: Tensor) -> Tensor:
    """Whole numbers from -8 to 7, two neighbours in a byte: the first in its lower half.

    A negative number keeps the lower four bits of its two's complement: -1 is 15, -8 is 8.

    Shapes: (..., C) int8 → (..., C / 2) uint8.

    Raises:
        ShapeError: C is odd.
        UserError: a number does not fit into 4 bits.

    >>> pack_int4(torch.tensor([1, 2, -1, 7], dtype=torch.int8)).tolist()
    [33, 127]
    """
    if whole.ndim == 0 or whole.shape[-1] % 2:
        raise ShapeError(
            f"pack_int4: whole numbers of shape {tuple(whole.shape)}: expected an even number of "
            f"columns, since two share a byte; add a column of zeros."
        )
    if whole.numel() and not -8 <= int(whole.min()) <= int(whole.max()) <= 7:
        raise UserError(
            f"pack_int4: numbers from {int(whole.min())} to {int(whole.max())}: expected -8 to 7, "
            f"which is all that 4 bits hold; quantize to 4 bits first."
        )
    nibbles = whole.to(torch.uint8) & 15
    return nibbles[..., ::2] | nibbles[..., 1::2] << 4


def unpack_int4(packed: Tensor) -> Tensor:
    """What `pack_int4` was given. Shapes: (..., C / 2) uint8 → (..., C) int8.

    >>> unpack_int4(torch.tensor([33, 127], dtype=torch.uint8)).tolist()
    [1, 2, -1, 7]
    """
    nibbles = torch.stack((packed & 15, packed >> 4), -1).flatten(-2).to(torch.int8)
    return (nibbles ^ 8) - 8  # the fourth bit counts -8


def rounded(decoder: Decoder, rounding: Callable[[Tensor], Tensor]) -> Decoder:
    """A decoder like this one whose matrices are what `rounding` leaves of them; embedding and head
    stay one where they are tied. Its norms are those of this one.

    Shapes: rounding (R, C) → (R, C).

    >>> from decodeloop.model import TINY
    >>> twin = rounded(Decoder(TINY), lambda w: dequantize_groups(*quantize_groups(w, 4, 12)))
    >>> twin.layers[0].attention.query.weight[0, :12].unique().numel() <= 15
    True
    """
    twin, made = twin_of(decoder), dict[int, nn.Parameter]()
    for module in twin.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim != 2:
            continue
        if id(weight) not in made:
            left = rounding(weight.detach()).to(weight)
            made[id(weight)] = nn.Parameter(left, requires_grad=False)
        module.weight = made[id(weight)]
    return twin


def twin_of(decoder: Decoder) -> Decoder:
    """A decoder with modules of its own over the very same weights."""
    return copy.deepcopy(decoder, {id(weight): weight for weight in decoder.parameters()})


def in_groups(weight: Tensor, bits: int, group: int, name: str) -> Tensor:
    """A matrix, checked, by its groups. Shapes: (R, C) → (R, C / group, group) fp32."""
    check_bits(bits, name)
    if weight.ndim != 2 or 0 in weight.shape:
        raise ShapeError(
            f"{name}: the weight {tuple(weight.shape)} must be a matrix (R, C) that is not empty; "
            f"a whole tensor is `weight.view(1, -1)`."
        )
    check_groups(weight.shape[1], group, name)
    if not bool(weight.isfinite().all()):
        raise UserError(f"{name}: a weight is infinite or no number: the model is damaged.")
    return weight.float().unflatten(1, (-1, group))


def groups_of(whole: Tensor, step: Tensor, name: str) -> Tensor:
    """Whole numbers by the groups that there are steps for. Shapes: (R, C), (R, groups) → (R,
    groups, C / groups)."""
    fits = whole.ndim == step.ndim == 2 and len(whole) == len(step) and step.shape[1] > 0
    if not fits or whole.shape[1] % step.shape[1]:
        raise ShapeError(
            f"{name}: steps {tuple(step.shape)} for whole numbers {tuple(whole.shape)}: expected "
            f"(R, groups) for (R, C), with groups that divide C."
        )
    if not bool(step.isfinite().all()):
        raise UserError(f"{name}: a step is infinite or no number: quantize the weights again.")
    return whole.unflatten(1, (step.shape[1], -1))


def check_bits(bits: int, name: str) -> None:
    """Raise a `UserError` unless numbers can have so many bits."""
    if bits not in range(FEWEST, MOST + 1):
        raise UserError(f"{name}: {bits!r} bits: expected a whole number from {FEWEST} to {MOST}.")


def check_groups(columns: int, group: int, name: str) -> None:
    """Raise a `UserError` unless groups of this size divide a row, and name the sizes that do."""
    if not isinstance(group, int) or group < 1 or columns % group:
        sizes = [size for size in range(1, columns + 1) if columns % size == 0]
        raise UserError(
            f"{name}: groups of {group!r} don't divide a row of {columns} columns: expected one "
            f"of {', '.join(map(str, sizes))}."
        )


def inverse_of(step: Tensor) -> Tensor:
    """1 / step, and 0 where the step is 0 or too small for that."""
    inverse = 1 / step
    return torch.where(inverse.isfinite(), inverse, 0.0)
