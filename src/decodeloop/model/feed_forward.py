"""A projection, and the feed-forward layer that three of them make. Built in lesson 03."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.model.config import ModelConfig


class Linear(nn.Linear):
    """A projection, most without a bias. On the meta device, where weights have no values, none are
    drawn: drawing them there takes two seconds, which every load would wait for."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() == self.in_features:  # one token: PyTorch is faster with a vector than a row
            y = torch.mv(self.weight, x.flatten()).view(*x.shape[:-1], self.out_features)
            return y if self.bias is None else y + self.bias
        return F.linear(x, self.weight, self.bias)


class FeedForward(nn.Module):
    """Holds the three projections of `swiglu`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.feed_forward)
        self.up = Linear(config.width, config.feed_forward)
        self.down = Linear(config.feed_forward, config.width)


def feed_forward(x: Tensor, layer: FeedForward) -> Tensor:
    """`swiglu` with the projections of a layer called as modules, so that a quantized or sharded
    one can take the place of any of them. Shapes: (..., C) → (..., C)."""
    gated: Tensor = layer.down(F.silu(layer.gate(x)) * layer.up(x))
    return gated
