"""Fewer keys and values, and fewer layers: what a trained model can be cut down to.

Heads pooled: Ainslie et al., "GQA" (2023), section 2.1. Keys and values shared between layers:
Brandon et al., "Reducing Transformer Key-Value Cache Size with Cross-Layer Attention" (2024).
Layers left out: Gromov et al., "The Unreasonable Ineffectiveness of the Deeper Layers" (2024).
Built in lesson 18.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from decodeloop.errors import ShapeError, UserError
from decodeloop.model.block import Block, Linear
from decodeloop.model.config import ModelConfig
from decodeloop.model.decoder import Decoder
from decodeloop.model.kv_cache import ContiguousKVCache

M = TypeVar("M", bound=nn.Module)


def mean_pool_heads(weight: Tensor, heads: int, groups: int) -> Tensor:
    """One head in the place of each heads/groups neighbours: their mean.

    Shapes: weight (heads·D, C), as `nn.Linear` stores it → (groups·D, C).

    Raises:
        ShapeError: the rows are no multiple of `heads`, or `heads` none of `groups`.

    >>> mean_pool_heads(torch.tensor([[1.0], [2.0], [3.0], [6.0]]), heads=2, groups=1).tolist()
    [[2.0], [4.0]]
    """
    if heads < 1 or groups < 1 or len(weight) % heads or heads % groups:
        raise ShapeError(
            f"mean_pool_heads: {tuple(weight.shape)} with {heads} heads in {groups} groups: the "
            f"rows must be a multiple of the heads, and these of the groups."
        )
    D = len(weight) // heads
    return weight.reshape(groups, heads // groups, D, -1).mean(1).reshape(groups * D, -1)


def pool_kv_heads(
    model: Decoder,
    kv_heads: int,
    layers: Sequence[int] | None = None,
    pool: Callable[[Tensor, int, int], Tensor] = mean_pool_heads,
) -> Decoder:
    """A copy with so many KV heads, each made by `pool` of those that it stands for: their mean.

    With `layers`, they are pooled in these alone, and written out again: the loss is that of
    pooling there, the cache as large as before.

    Raises:
        UserError: the model has biases of keys, whose heads are not pooled.
    """
    config = model.config
    if config.biases != "none":
        raise UserError(
            "pool_kv_heads: this model has biases of keys and values: expected one of the Llama "
            "family, without."
        )
    pooled = replace(config, kv_heads=kv_heads) if layers is None else config
    twin = _with_layers(model, range(config.layers), pooled)
    for number, module in enumerate(twin.layers):
        if layers is not None and number not in layers:
            continue
        layer = cast(Block, module)
        attention = own_copy(layer.attention)
        for name in ("key", "value"):
            weight = pool(getattr(attention, name).weight, config.kv_heads, kv_heads)
            if layers is not None:
                share = config.kv_heads // kv_heads
                weight = weight.unflatten(0, (kv_heads, -1)).repeat_interleave(share, 0)
                weight = weight.flatten(0, 1)
            setattr(attention, name, _linear(weight))
        layer.attention = attention
    return twin


def keep_layers(model: Decoder, layers: Sequence[int]) -> Decoder:
    """A decoder of these layers of another, over their very weights. The first n alone are an early
    exit: the head reads the residual stream after them.

    Raises:
        UserError: there are none, or one is not there.

    >>> from decodeloop.model import TINY
    >>> keep_layers(Decoder(TINY), [0, 2]).config.layers
    2
    """
    count = model.config.layers
    if not layers or not all(0 <= layer < count for layer in layers):
        raise UserError(f"keep_layers: layers {list(layers)}: expected some of 0 to {count - 1}.")
    return _with_layers(model, layers, replace(model.config, layers=len(layers)))


def _with_layers(model: Decoder, layers: Sequence[int], config: ModelConfig) -> Decoder:
    """A decoder with these layers of another, whose blocks know the new configuration."""
    blocks = []
    for number in layers:
        block = own_copy(cast(Block, model.layers[number]))
        block.config = config
        blocks.append(block)
    twin = model.with_parts(model.parts)  # of a compiled decoder, the plain one
    twin._modules = {**twin._modules, "layers": nn.ModuleList(blocks)}
    twin.config = config
    return twin


def own_copy(module: M) -> M:
    """A copy with these very weights, in which one can be replaced without touching the other."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _linear(weight: Tensor) -> Linear:
    with torch.device("meta"):
        linear = Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    return linear


class SharingKVCache(ContiguousKVCache):
    """A `KVCache` in which some layers read the keys and values of a layer below, and store none.

    Args:
        owners: for each layer, the layer whose keys and values it reads: itself, or one below that
            does so.

    Shapes: keys and values (owning layers, B, G, max_length, D).

    Raises:
        UserError: a layer reads one that is above it, or that reads another's.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        owners: Sequence[int],
    ) -> None:
        own = [layer for layer, owner in enumerate(owners) if owner == layer]
        if len(owners) != config.layers or not set(owners) <= set(own):
            raise UserError(
                f"owners {list(owners)}: expected {config.layers} layers, each itself or one below "
                f"it that reads its own."
            )
        if any(owner > layer for layer, owner in enumerate(owners)):
            raise UserError(f"owners {list(owners)}: a layer can't read those of a layer above it.")
        super().__init__(replace(config, layers=len(own)), batch, max_length, dtype, device)
        self._place = {layer: place for place, layer in enumerate(own)}
        self._owners = tuple(owners)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As `ContiguousKVCache.append`; for a layer that owns none, what its owner has stored."""
        owner = self._owners[layer]
        if owner == layer:
            return super().append(self._place[layer], k, v)
        end = self._length + k.shape[2]
        stored = self._place[owner]
        return self.keys[stored, :, :, :end], self.values[stored, :, :, :end]
