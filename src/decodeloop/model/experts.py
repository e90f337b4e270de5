"""Mixture of experts: a router sends each token to a few of many feed-forward layers.

Shazeer et al., "Outrageously Large Neural Networks" (2017), arXiv:1701.06538; capacity and the
balance loss: Fedus, Zoph and Shazeer, "Switch Transformers" (2022), arXiv:2101.03961; the weights
of a token's experts as Mixtral has them: Jiang et al. (2024), arXiv:2401.04088. Built in lesson 26.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError


@dataclass(frozen=True, repr=False)
class Experts:
    """The experts of each layer of a model.

    Raises:
        UserError: there are fewer than a token is sent to, or a number is impossible.
    """

    number: int  # E, of each layer
    active: int  # k, that a token is sent to
    normalised: bool = True  # a token's k weights add up to 1; else they keep their part of all E
    shared: int = 0  # further experts, to which every token is sent
    dense_layers: int = (
        0  # so many layers at the beginning have one wide feed-forward layer instead
    )
    dense_width: int = 0  # F of those
    biased: bool = False  # the router's matrix, and those of the experts, have biases

    def __post_init__(self) -> None:
        for name in ("number", "active", "shared", "dense_layers", "dense_width"):
            value, least = getattr(self, name), int(name in ("number", "active"))
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"Experts: {name} is {value!r}: expected a whole number from {least} up."
                )
        if self.active > self.number:
            raise UserError(
                f"Experts: a token can't be sent to {self.active} of {self.number} experts: "
                f"expected at most {self.number}."
            )
        if self.dense_layers and not self.dense_width:
            raise UserError(
                f"Experts: {self.dense_layers} layers are dense, and dense_width is 0: say how "
                f"wide they are."
            )

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Experts({', '.join(shown)})"

    @property
    def only_routed(self) -> bool:
        """Whether all layers are alike, and have nothing but a router and what it chooses among."""
        return not (self.shared or self.dense_layers or self.biased)


class Routing(NamedTuple):
    """Where each of N tokens goes: to k experts, and how much each of them counts.

    Shapes: both (..., k).
    """

    experts: Tensor
    weights: Tensor


def route(logits: Tensor, k: int, normalised: bool = True) -> Routing:
    """The k experts of each token, best first, and their weights: softmax over all experts, the k
    largest, divided by their sum.

    Without the last step (`normalised`) the weights keep their part of all E. Computed in fp32,
    whatever the type of the logits.

    Shapes: logits (..., E) → two of (..., k).

    Raises:
        UserError: k is not between 1 and E.

    >>> route(torch.tensor([[4.0, 2.0, 1.0, 1.0]]).log(), k=2).weights
    tensor([[0.6667, 0.3333]])
    """
    E = logits.shape[-1]
    if not 1 <= k <= E:
        raise UserError(
            f"route: k is {k} and the logits {tuple(logits.shape)} are of {E} experts: expected "
            f"1 to {E}."
        )
    weights, experts = logits.float().softmax(-1).topk(k, dim=-1)
    if normalised:
        weights = weights / weights.sum(-1, keepdim=True)
    return Routing(experts, weights.to(logits.dtype))


class Dispatch(NamedTuple):
    """The choices of all tokens in the order of their experts.

    Choice number p is that of token p // k. Shapes: choices (N·k,), counts (E,).
    """

    choices: Tensor  # numbers of choices: those for expert 0 first, each expert's in rising order
    counts: Tensor  # how many each expert has


def dispatch(experts: Tensor, number: int) -> Dispatch:
    """Sort the choices of all tokens by expert, so that each expert reads its tokens in one piece.

    Shapes: experts (N, k) → (N·k,), (E,) with E = `number`.

    Raises:
        ShapeError: `experts` has not two axes.
        UserError: an expert's number is none of 0 to E - 1.

    >>> dispatch(torch.tensor([[1, 2], [0, 1]]), number=3)
    Dispatch(choices=tensor([2, 0, 3, 1]), counts=tensor([1, 2, 1]))
    """
    if experts.ndim != 2:
        raise ShapeError(
            f"dispatch: experts {tuple(experts.shape)}: expected (N, k), the k experts of each of "
            f"N tokens; flatten the axes before the last one."
        )
    chosen = experts.flatten()
    if chosen.is_cpu and chosen.numel():  # elsewhere a look would wait for the device
        low, high = int(chosen.min()), int(chosen.max())
        if low < 0 or high >= number:
            raise UserError(
                f"dispatch: there is no expert {low if low < 0 else high}: expected 0 to "
                f"{number - 1}."
            )
    return Dispatch(chosen.argsort(stable=True), counted(chosen, number))


def counted(experts: Tensor, number: int) -> Tensor:
    """How often each expert was chosen. Shapes: (...) → (E,)."""
    chosen = experts.flatten()
    counts = torch.zeros(number, dtype=torch.long, device=chosen.device)
    return counts.scatter_add(0, chosen, torch.ones_like(chosen))


def combine(outputs: Tensor, choices: Tensor, weights: Tensor) -> Tensor:
    """For each token the sum of its experts' outputs, each times its weight.

    Shapes: outputs (N·k, C), in the order of `choices` (N·k,); weights (N, k) → (N, C).

    Raises:
        ShapeError: there is not one output and one choice for each weight.

    >>> combine(torch.tensor([[1.0], [10.0]]), torch.tensor([1, 0]), torch.tensor([[0.5, 0.25]]))
    tensor([[5.2500]])
    """
    N, k = weights.shape
    if len(outputs) != N * k or choices.shape != (N * k,):
        raise ShapeError(
            f"combine: outputs {tuple(outputs.shape)}, choices {tuple(choices.shape)}, weights "
            f"{tuple(weights.shape)}: expected (N·k, C), (N·k,) and (N, k)."
        )
    sorted_weights = weights.flatten().index_select(0, choices)
    weighted = outputs * sorted_weights[:, None].to(outputs.dtype)
    total = outputs.new_zeros(N, outputs.shape[-1])
    return total.index_add(0, choices // k, weighted)


def capacity(tokens: int, experts: Experts, factor: float) -> int:
    """The most choices that an expert takes where buffers have a fixed size: `factor` times its
    even share of them, rounded up.

    >>> capacity(10, Experts(number=8, active=2), factor=1.25)
    4
    """
    if tokens < 0 or not 0 < factor < math.inf:
        raise UserError(
            f"capacity: {tokens} tokens and a factor of {factor}: expected 0 tokens or more, and a "
            f"factor above 0, such as 1.25."
        )
    return math.ceil(factor * tokens * experts.active / experts.number)


def expert_load(experts: Tensor, number: int, factor: float = 1.25) -> tuple[Tensor, float]:
    """How evenly the experts are used, and which part of the choices would find no room.

    An expert's load is the number of its choices over the even share N·k/E: 1 for all would be
    even. With buffers for `capacity` choices each, those beyond it are dropped.

    Shapes: experts (N, k) → (E,) fp32, and a number from 0 to 1.

    >>> expert_load(torch.tensor([[0], [0], [0], [1]]), number=2, factor=1.0)
    (tensor([1.5000, 0.5000]), 0.25)
    """
    counts = dispatch(experts, number).counts
    (N, k), choices = experts.shape, experts.numel()
    room = capacity(N, Experts(number, k), factor)
    dropped = int((counts - room).clamp(min=0).sum()) / choices
    return counts * (number / choices), dropped


def balance_loss(logits: Tensor, experts: Tensor) -> Tensor:
    """E · Σ f·P over the experts: 1 where they are used evenly, up to E where one has all.

    f is an expert's part of the choices, P its mean probability, through which the gradient goes:
    it pushes tokens away from experts that are used much.

    Shapes: logits (N, E), experts (N, k) → a number.

    >>> float(balance_loss(torch.zeros(4, 2), torch.tensor([[0], [1], [0], [1]])))
    1.0
    """
    E = logits.shape[-1]
    used = counted(experts, E) / experts.numel()
    return E * (used * logits.float().softmax(-1).mean(0)).sum()
