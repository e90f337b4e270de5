"""GPTQ: round a matrix column after column, and let the columns to come make up for each error.

What counts is the output of a product, not its weights. Rounding one column changes the output;
the columns that are not rounded yet can be moved to undo most of it, as far as the inputs of the
two go together. How they do is in H = Σ x xᵀ over the inputs of a calibration text. (Frantar et
al., "GPTQ", 2023, section 3.) Built in lesson 19.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decodeloop.compress.quantization import check_bits, check_groups, inverse_of
from decodeloop.errors import ShapeError, UserError

DAMPING = 0.01  # of the mean of H's diagonal, added to it
BLOCK = 64  # columns after which the others are told of their errors


def gptq(
    weight: Tensor, inputs: Tensor, bits: int, group: int, damping: float = DAMPING
) -> tuple[Tensor, Tensor]:
    """As `quantize_groups`, but each column's rounding error is made up for by later columns.

    The step of a group is found when its first column is reached, of the weights as they have
    become by then. Columns whose input is always 0 are rounded to 0.

    Args:
        inputs: what went into the product on a calibration text, a row for each position. Fewer
            positions than columns would say that columns go together which only happen to.

    Shapes: weight (R, C), inputs (N, C) → (R, C) int8, (R, C / group) fp32.

    Raises:
        ShapeError: the two have different columns.
        UserError: the bits are not from 2 to 8, the groups don't divide C, there are fewer
            positions than columns, or a number is none.
    """
    check(weight, inputs, bits, group, damping)
    highest, C = 2 ** (bits - 1) - 1, weight.shape[1]
    H = second_moments(inputs)
    unread = H.diag() == 0
    left = weight.float().masked_fill(unread, 0.0)  # what is still to be rounded
    inverse = upper_inverse(H, unread, damping).float()
    whole = torch.zeros_like(weight, dtype=torch.int8)
    steps = []
    for start in range(0, C, BLOCK):
        end = min(start + BLOCK, C)
        errors = torch.zeros(len(left), end - start, device=left.device)
        for c in range(start, end):
            if c % group == 0:
                now = left[:, c : c + group].clone()  # those of later blocks: told so far of ours
                now[:, end - c :] -= errors @ inverse[start:end, end : c + group]
                steps.append(now.abs().amax(1) / highest)
            column = left[:, c]
            whole_column = (column * inverse_of(steps[-1])).round().clamp(-highest, highest)
            whole[:, c] = whole_column.to(torch.int8)
            error = (column - whole_column * steps[-1]) / inverse[c, c]
            left[:, c + 1 : end] -= error[:, None] * inverse[c, c + 1 : end]
            errors[:, c - start] = error
        left[:, end:] -= errors @ inverse[start:end, end:]
    return whole, torch.stack(steps, 1)


def second_moments(inputs: Tensor) -> Tensor:
    """Σ x xᵀ over the positions. Shapes: (N, C) → (C, C) fp64."""
    x = inputs.double()
    return x.T @ x


def upper_inverse(H: Tensor, unread: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of H, damped: its row c says how later columns make
    up for an error of column c when all before it are done. Shapes: (C, C), (C,) → (C, C)."""
    damped = H.clone()
    diagonal = damped.diagonal()
    diagonal += damping * diagonal.mean() + unread.double()
    factor, failed = torch.linalg.cholesky_ex(damped)
    if int(failed):
        raise UserError(
            f"gptq: with damping {damping} the inputs leave no inverse: some columns always go "
            f"together; take a larger damping, such as {DAMPING}, or more text."
        )
    return torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)


def output_error(weight: Tensor, changed: Tensor, inputs: Tensor) -> float:
    """How far the output of a product moves when its matrix does, against its size: the root of
    the ratio of squares. Shapes: weight and changed (R, C), inputs (N, C).

    >>> output_error(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]), torch.eye(2))
    0.7071067690849304
    """
    before = inputs.float() @ weight.float().T
    after = inputs.float() @ changed.float().T
    return float((after - before).norm() / before.norm())


def check(weight: Tensor, inputs: Tensor, bits: int, group: int, damping: float) -> None:
    """Raise what `gptq` promises to."""
    check_bits(bits, "gptq")
    if weight.ndim != 2 or inputs.ndim != 2 or weight.shape[1] != inputs.shape[1]:
        raise ShapeError(
            f"gptq: weight {tuple(weight.shape)} and inputs {tuple(inputs.shape)}: expected (R, C) "
            f"and (N, C): a row of inputs for each position."
        )
    N, C = inputs.shape
    check_groups(C, group, "gptq")
    if N < C:
        raise UserError(
            f"gptq: a calibration text of {N} positions for {C} columns: expected at least {C}, "
            f"since fewer would say that columns go together which only happen to; take a longer "
            f"text."
        )
    if not damping >= 0:
        raise UserError(f"gptq: damping {damping}: expected a number from 0 up, such as {DAMPING}.")
    if not bool(weight.isfinite().all() and inputs.isfinite().all()):
        raise UserError("gptq: a weight or an input is infinite or no number: look at the model.")
