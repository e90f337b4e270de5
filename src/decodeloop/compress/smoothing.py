"""Activations in 8 bits: outliers move from the inputs of a product into its weights.

A few channels of the activations are many times as large as all others, and set the step for all.
Divide a channel by a number and multiply the column of the weights that reads it by the same: the
product stays as it was, and both sides are quantized with less loss. The division costs nothing:
what makes the channel, a norm's weight or a row of the matrix before, is divided once and for all.
(Xiao et al., "SmoothQuant", 2023, sections 4 and 5.1.) Built in lesson 19.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from decodeloop.compress.listening import read, seeing_inputs
from decodeloop.compress.quantization import twin_of
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Decoder
from decodeloop.model.config import check_dense

# What makes the inputs of each product, and the projections that read them.
SOURCES = {
    "attention_norm": ("attention.query", "attention.key", "attention.value"),
    "feed_forward_norm": ("feed_forward.gate", "feed_forward.up"),
    "feed_forward.up": ("feed_forward.down",),
}


def smooth(
    source: Tensor, weights: Sequence[Tensor], largest: Tensor, strength: float = 0.5
) -> tuple[Tensor, list[Tensor]]:
    """What makes the inputs of some matrices, divided, and the matrices, multiplied, by one number
    for each channel: largest^strength / (the largest weight of its column)^(1 - strength).

    A channel that is always 0, or that no weight reads, stays as it is. What is
    returned is new.

    Args:
        source: what the channels are in proportion to, along its first axis: a norm's weight, or
            the matrix whose rows make them.
        weights: all matrices that read them.
        largest: the largest magnitude of each channel, as `largest_inputs` finds it.
        strength: 0 makes the columns of the weights alike, 1 the channels.

    Shapes: source (C,) or (C, K); weights (R, C) each; largest (C,) → the same.

    Raises:
        ShapeError: the shapes don't fit.
        UserError: the strength is not from 0 to 1.

    >>> gain, weights = torch.tensor([1.0, 1.0]), [torch.tensor([[1.0, 1.0]])]
    >>> smooth(gain, weights, largest=torch.tensor([16.0, 1.0]))
    (tensor([0.2500, 1.0000]), [tensor([[4., 1.]])])
    """
    columns = {weight.shape[1:] for weight in weights}
    if (
        largest.ndim != 1
        or source.ndim > 2
        or source.shape[:1] != largest.shape
        or columns != {largest.shape}
    ):
        shapes = ", ".join(str(tuple(weight.shape)) for weight in weights) or "none"
        raise ShapeError(
            f"smooth: source {tuple(source.shape)}, weights {shapes}, largest "
            f"{tuple(largest.shape)}: expected (C,) or (C, K), (R, C) each, and (C,)."
        )
    if not 0 <= strength <= 1:
        raise UserError(f"smooth: strength {strength}: expected a number from 0 to 1.")
    read = torch.cat(list(weights)).abs().amax(0)
    factor = largest**strength / read ** (1 - strength)
    factor = torch.where((largest > 0) & (read > 0), factor, 1.0)
    divided = source / (factor if source.ndim == 1 else factor[:, None])
    return divided, [weight * factor for weight in weights]


def smoothed(decoder: Decoder, texts: Sequence[Tensor], strength: float = 0.5) -> Decoder:
    """A decoder that computes the same, with smooth inputs in all its layers but for the output of
    attention, whose channels several query heads share.

    Args:
        texts: token ids, (T,) each, whose activations say which channels are large.

    Raises:
        UserError: as `largest_inputs` and `smooth`; the model has experts.
    """
    check_dense(decoder.config, "smoothed")
    largest, twin = largest_inputs(decoder, texts), twin_of(decoder)
    for number in range(decoder.config.layers):
        for name, readers in SOURCES.items():
            modules = [twin.get_submodule(f"layers.{number}.{part}") for part in (name, *readers)]
            source, *weights = (cast(Tensor, module.weight).detach() for module in modules)
            found = largest[f"layers.{number}.{readers[0]}"]
            divided, multiplied = smooth(source, weights, found, strength)
            for module, weight in zip(modules, (divided, *multiplied), strict=True):
                module.weight = nn.Parameter(weight, requires_grad=False)
    return twin


def largest_inputs(decoder: Decoder, texts: Sequence[Tensor]) -> dict[str, Tensor]:
    """The largest magnitude of each channel of what goes into each projection of the layers.

    Shapes: texts (T,) each → by name, such as "layers.0.attention.query", (C,).

    Raises:
        UserError: there is no text, or one is no row of token ids.
    """
    found: dict[str, Tensor] = {}

    def look(name: str, x: Tensor) -> Tensor:
        top = x.abs().flatten(0, -2).amax(0)
        found[name] = torch.maximum(found[name], top) if name in found else top
        return x

    with seeing_inputs(decoder, look):
        read(decoder, texts)
    return found
