"""A layer of experts: its weights, what is computed with them, and one cut out of a dense layer.

Built in lesson 26.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from decodeloop.errors import UserError
from decodeloop.model.config import ModelConfig
from decodeloop.model.experts import Experts, Routing, combine, dispatch, route
from decodeloop.model.feed_forward import FeedForward, Linear, feed_forward


class ExpertLayer(nn.Module):
    """Holds the router, and the experts, each a feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.config = config.experts
        self.router = Linear(config.width, config.experts.number)
        self.experts = nn.ModuleList(FeedForward(config) for _ in range(config.experts.number))


def through_experts(x: Tensor, routing: Routing, experts: Sequence[nn.Module]) -> Tensor:
    """Each token through its experts; an expert that nobody was sent to is not even read.

    Shapes: x (N, C), routing of N tokens → (N, C).
    """
    k = routing.experts.shape[-1]
    choices, counts = dispatch(routing.experts, len(experts))
    pieces = x.index_select(0, choices // k).split(counts.tolist())  # each expert's tokens
    outputs = [x.new_empty(0, x.shape[-1])]  # where no expert here was chosen
    outputs += [
        feed_forward(piece, cast(FeedForward, expert))
        for piece, expert in zip(pieces, experts, strict=True)
        if len(piece)
    ]
    return combine(torch.cat(outputs), choices, routing.weights)


def mixture(x: Tensor, layer: ExpertLayer) -> Tensor:
    """The feed-forward layer of a model with experts: route, dispatch, compute, combine.

    Shapes: (..., C) → (..., C).

    >>> from dataclasses import replace
    >>> from decodeloop.model import TINY
    >>> layer = ExpertLayer(replace(TINY, experts=Experts(number=4, active=2)))
    >>> mixture(torch.zeros(1, 3, TINY.width), layer).shape
    torch.Size([1, 3, 48])
    """
    tokens = x.reshape(-1, x.shape[-1])  # (N, C)
    routing = route(layer.router(tokens), layer.config.active, layer.config.normalised)
    return through_experts(tokens, routing, cast(Sequence[nn.Module], layer.experts)).view(x.shape)


def sliced(layer: FeedForward, number: int, channels: Tensor | None = None) -> list[FeedForward]:
    """A dense feed-forward layer as experts: its F channels cut into equal groups.

    Each channel adds something of its own to the output, so that the outputs of all experts add up
    to that of the dense layer.

    Args:
        channels: the order in which the channels are cut, (F,); as they stand, if not given.

    Raises:
        UserError: the channels don't divide.

    >>> from decodeloop.model import TINY
    >>> [len(expert.gate.weight) for expert in sliced(FeedForward(TINY), 3)]
    [24, 24, 24]
    """
    F = len(layer.gate.weight)
    if number < 1 or F % number:
        raise UserError(
            f"sliced: {F} channels can't be cut into {number} equal groups: take a number of "
            f"experts that divides {F}."
        )
    order = torch.arange(F) if channels is None else channels
    experts = []
    for group in order.to(layer.gate.weight.device).chunk(number):
        expert = copy.copy(layer)
        expert._modules = {
            "gate": projection(layer.gate.weight[group]),
            "up": projection(layer.up.weight[group]),
            "down": projection(layer.down.weight[:, group]),
        }
        experts.append(expert)
    return experts


def projection(weight: Tensor) -> Linear:
    """A projection that holds these numbers. Shapes: (rows, columns)."""
    rows, columns = weight.shape
    with torch.device("meta"):
        linear = Linear(columns, rows)
    linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return linear


__all__ = ["ExpertLayer", "Experts", "mixture", "projection", "sliced", "through_experts"]
