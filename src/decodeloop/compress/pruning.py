"""Pruning: weights become zero, one by one, and the matrices keep their shapes.

By size alone: Han et al., "Learning both Weights and Connections for Efficient Neural Networks"
(2015). By size times what comes in: Sun et al., "A Simple and Effective Pruning Approach for Large
Language Models" (Wanda, 2024), section 3. Two of each four, as sparse tensor cores read them:
Mishra et al., "Accelerating Sparse Deep Neural Networks" (2021). Built in lesson 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from decodeloop.compress.listening import read, seeing_inputs
from decodeloop.compress.rebuilding import decoder_over, plain_weights
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Decoder

LEAST_TOKENS = 64  # of a calibration text: below it a norm says more of the text than of the model
Rule = Callable[[str, Tensor], Tensor]  # a matrix's name and the matrix → what takes its place


def prune_magnitude(weight: Tensor, share: float) -> Tensor:
    """The matrix with this share of its numbers zero: the smallest by size, wherever they stand.

    Exactly ⌊share · R · C⌋ go, of equal ones some.

    Shapes: weight (R, C) → (R, C).

    Raises:
        UserError: the share is not between 0 and 1.

    >>> prune_magnitude(torch.tensor([[4.0, -1.0], [-3.0, 2.0]]), 0.5)
    tensor([[ 4.,  0.],
            [-3.,  0.]])
    """
    check_share(share)
    return weight.masked_fill(lowest(weight.abs().flatten()[None], share).view_as(weight), 0)


def wanda(weight: Tensor, inputs: Tensor, share: float) -> Tensor:
    """The matrix with this share of each row zero: where `|weight|` · ‖input channel‖ is smallest.

    The norm of a channel is that of its numbers at all tokens of a calibration text. Numbers are
    compared within a row only, since a row is one output, and ⌊share · C⌋ of each go.

    Shapes: weight (R, C), inputs (N, C): what the matrix was multiplied with → (R, C).

    Raises:
        ShapeError: the inputs have another width than the matrix.
        UserError: the share is not between 0 and 1.

    >>> wanda(torch.tensor([[4.0, 1.0], [1.0, 3.0]]), torch.tensor([[1.0, 3.0], [0.0, 4.0]]), 0.5)
    tensor([[0., 1.],
            [0., 3.]])
    """
    check_share(share)
    return weight.masked_fill(lowest(wanda_scores(weight, inputs), share), 0)


def two_four(weight: Tensor, scores: Tensor) -> Tensor:
    """The matrix with two of each four neighbours in a row zero: those with the lower scores.

    Shapes: weight and scores (R, C), C a multiple of 4 → (R, C).

    Raises:
        ShapeError: the scores have another shape than the matrix, or a row is not made of fours.

    >>> weight = torch.tensor([[1.0, -4.0, 3.0, 2.0]])
    >>> two_four(weight, weight.abs())
    tensor([[ 0., -4.,  3.,  0.]])
    """
    if weight.ndim != 2 or weight.shape != scores.shape:
        raise ShapeError(
            f"two_four: the matrix {tuple(weight.shape)} and the scores {tuple(scores.shape)} must "
            f"have one shape, (R, C): a score for each number."
        )
    if weight.shape[1] % 4:
        raise ShapeError(
            f"two_four: a row of {weight.shape[1]} numbers can't be cut into groups of four: "
            f"expected a multiple of 4."
        )
    fours = scores.unflatten(1, (-1, 4)).flatten(0, 1)  # (R · C/4, 4)
    return weight.masked_fill(lowest(fours, 0.5).view_as(weight), 0)


def csr_matvec(starts: Tensor, columns: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """A matrix in compressed rows times a vector: row r has `values[starts[r] : starts[r + 1]]`, in
    these `columns`, and is zero elsewhere.

    Shapes: starts (R + 1,), columns and values (numbers that are not zero,), x (C,) → (R,).

    >>> starts, columns = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 2, 1])  # a row is empty
    >>> values, x = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 10.0, 100.0])
    >>> csr_matvec(starts, columns, values, x)
    tensor([201.,   0.,  30.])
    """
    R = len(starts) - 1
    rows = torch.repeat_interleave(torch.arange(R, device=starts.device), starts.diff())
    return values.new_zeros(R).index_add_(0, rows, values * x[columns])


def wanda_scores(weight: Tensor, inputs: Tensor) -> Tensor:
    """`|weight|` · ‖input channel‖. Shapes: weight (R, C), inputs (N, C) → (R, C); errors as
    `wanda`."""
    if weight.ndim != 2 or inputs.ndim != 2 or inputs.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"wanda: a matrix {tuple(weight.shape)} is multiplied with inputs of its own width, "
            f"(N, C) with C its last axis: these are {tuple(inputs.shape)}."
        )
    return weight.abs() * inputs.norm(dim=0)


def lowest(scores: Tensor, share: float) -> Tensor:
    """Where the ⌊share · C⌋ lowest scores of each row stand; of equal ones some.

    Shapes: (R, C) → (R, C) boolean.

    >>> lowest(torch.tensor([[2.0, 2.0, 1.0, 5.0, 2.0]]), 0.6).sum()
    tensor(3)
    """
    gone = int(share * scores.shape[1] + 1e-9)  # 0.7 · 10 is a little less than 7
    chosen = scores.topk(gone, dim=1, largest=False, sorted=False).indices  # a sort takes longest
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, chosen, value=True)


def pruned(decoder: Decoder, rule: Rule) -> Decoder:
    """A decoder with the matrices of its layers changed by a rule; the others it shares.

    Args:
        rule: the name of a matrix and the matrix (R, C) → (R, C).

    Raises:
        UserError: its projections hold no plain matrices.

    >>> from decodeloop.model import TINY
    >>> half = pruned(Decoder(TINY), lambda name, weight: prune_magnitude(weight, 0.5))
    >>> zeros(half)
    0.5
    """
    weights = plain_weights(decoder, "pruned")
    for name in matrices_of(weights):
        weights[name] = rule(name, weights[name])
    return decoder_over(decoder.config, weights)


def zeros(decoder: Decoder) -> float:
    """Which share of the numbers in the matrices of its layers is zero."""
    weights = plain_weights(decoder, "zeros")
    found = [weights[name] for name in matrices_of(weights)]
    return sum(int((w == 0).sum()) for w in found) / sum(w.numel() for w in found)


def matrices_of(weights: dict[str, Tensor]) -> list[str]:
    """The names of the matrices of the layers; the embedding is a table, and no product."""
    return [n for n, weight in weights.items() if weight.ndim == 2 and n.startswith("layers.")]


@torch.inference_mode()
def inputs_of(decoder: Decoder, texts: Sequence[Tensor]) -> dict[str, Tensor]:
    """What each matrix of the layers is multiplied with while the model reads some texts.

    All of it is kept: for N tokens N · (3C + F) numbers a layer, where several matrices read the
    same only once.

    Shapes: texts a list of (T,) → by the name of the matrix (N, its width), N tokens in all.

    Raises:
        UserError: the texts have too few tokens together; the projections hold no plain matrices.
    """
    check_calibration(texts)
    reader = decoder_over(decoder.config, plain_weights(decoder, "inputs_of"))
    found: dict[str, list[Tensor]] = {}

    def keep(name: str, x: Tensor) -> Tensor:
        found.setdefault(f"{name}.weight", []).append(x.flatten(0, -2))
        return x

    with seeing_inputs(reader, keep):
        read(reader, texts)
    once: dict[tuple[int, ...], Tensor] = {}  # what several matrices read stands in one memory
    return {
        name: once.setdefault(tuple(x.data_ptr() for x in pieces), torch.cat(pieces))
        for name, pieces in found.items()
    }


def check_share(share: float) -> None:
    """Raise a `UserError` unless a share is between 0 and 1."""
    if not 0 <= share <= 1:
        raise UserError(
            f"the share that is cut is {share}: expected a number from 0 to 1; 0.5 is a half."
        )


def check_calibration(texts: Sequence[Tensor]) -> None:
    """Raise a `UserError` unless texts are long enough to say what comes into a matrix."""
    tokens = sum(map(len, texts))
    if tokens < LEAST_TOKENS:
        raise UserError(
            f"the calibration texts have {tokens} tokens together: expected at least "
            f"{LEAST_TOKENS}, since the norm of a channel is taken over them; take longer ones, "
            f"such as `quality.calibration()`."
        )
