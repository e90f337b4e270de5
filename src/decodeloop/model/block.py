"""The block: normalise, attend, add; normalise, feed forward, add.

RMSNorm: Zhang and Sennrich (2019). RoPE: Su et al., "RoFormer" (2021), section 3.4. SwiGLU:
Shazeer, "GLU Variants Improve Transformer" (2020). The block as Llama has it: Touvron et al.
(2023), section 2.2. Built in lesson 03.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decodeloop.errors import ShapeError
from decodeloop.model.config import ModelConfig
from decodeloop.model.feed_forward import FeedForward, Linear, feed_forward
from decodeloop.model.frequencies import RopeScaling, rotary_frequencies, stretched_frequencies
from decodeloop.model.mixture import ExpertLayer, mixture
from decodeloop.model.multi_head import merge_heads, split_heads


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Scale each vector to a root mean square of 1, then each channel by its weight.

    `eps` stands inside the root. Computed in fp32, whatever the type of `x`.

    Shapes: x (..., C), weight (C,) → (..., C).
    """
    if weight.shape != x.shape[-1:]:
        raise ShapeError(
            f"rms_norm: x {tuple(x.shape)} has {x.shape[-1]} channels in its last axis, the weight "
            f"{tuple(weight.shape)}: they must be equal."
        )
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (wide * scale).to(x.dtype) * weight


def swiglu(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
    """The feed-forward layer of Llama: down(silu(gate(x)) · up(x)).

    Shapes: x (..., C), w_gate and w_up (F, C), w_down (C, F), as `nn.Linear` stores them →
    (..., C).
    """
    width = x.shape[-1]
    if w_gate.ndim != 2 or w_gate.shape != w_up.shape or w_gate.shape[-1:] != (width,):
        raise ShapeError(
            f"swiglu: w_gate {tuple(w_gate.shape)} and w_up {tuple(w_up.shape)} must both be "
            f"(F, C) with C = {width}, the last axis of x {tuple(x.shape)}."
        )
    if w_down.shape != w_gate.mT.shape:
        raise ShapeError(
            f"swiglu: w_down {tuple(w_down.shape)} must be (C, F) = {tuple(w_gate.mT.shape)}."
        )
    return F.linear(F.silu(F.linear(x, w_gate)) * F.linear(x, w_up), w_down)


def rotary_angles(
    positions: Tensor, D: int, base: float, scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angle by which each pair of channels turns at each position.

    Pair i of D/2 turns by position · base^(-2i/D): the first fast, the last slowly; with `scaling`,
    as `frequencies` says, and both are multiplied by its `attention`.

    Shapes: positions (T,) or (B, T) → two of (T, D/2) or (B, 1, T, D/2), fp32; the 1 stands for
    the heads.
    """
    if scaling is None:
        frequencies, scale = rotary_frequencies(D, base, positions.device), 1.0
    else:
        length = int(positions.max()) + 1 if scaling.kind == "dynamic" else 0
        frequencies = stretched_frequencies(D, base, scaling, length).to(positions.device)
        scale = scaling.attention
    angles = positions[..., None].float() * frequencies
    if positions.ndim == 2:
        angles = angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    return (cos, sin) if scale == 1 else (cos * scale, sin * scale)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels; channel i is paired with channel i + D/2 (half-split).

    Shapes: x (B, H, T, D), cos and sin from `rotary_angles` → (B, H, T, D).
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def rope(x: Tensor, positions: Tensor, base: float, scaling: RopeScaling | None = None) -> Tensor:
    """Rotary position embedding: queries and keys turn with their position.

    The score of a turned query with a turned key depends on the distance of the two alone. Of some
    models the turning is stretched to longer texts, by `scaling`.

    Shapes: x (B, H, T, D), positions (T,) or (B, T) → (B, H, T, D).

    Raises:
        ShapeError: D is odd, or there is not one position for each token.
    """
    if x.ndim != 4:
        raise ShapeError(f"rope: x {tuple(x.shape)} has {x.ndim} axes: expected (B, H, T, D).")
    check_positions(positions, x.shape[0], x.shape[2])
    return rotate(x, *rotary_angles(positions, x.shape[-1], base, scaling))


def check_positions(positions: Tensor, B: int, T: int) -> None:
    """Raise `ShapeError` unless there is one position for each of the (B, T) tokens."""
    if tuple(positions.shape) not in ((T,), (B, T), (1, T)):
        raise ShapeError(
            f"positions {tuple(positions.shape)} don't fit {B} rows of {T} tokens: "
            f"expected ({T},) or ({B}, {T}), one position for each token."
        )


class RMSNorm(nn.Module):
    """Holds the weight of `rms_norm`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class SelfAttention(nn.Module):
    """Holds the four projections of grouped-query attention, and where a model has them, the norms
    of queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, D, biased = config.width, config.head_dim, config.biases != "none"
        self.query = Linear(C, config.heads * D, biased)
        self.key = Linear(C, config.kv_heads * D, biased)
        self.value = Linear(C, config.kv_heads * D, biased)
        self.output = Linear(config.heads * D, C)
        if config.qk_norm:
            self.query_norm = RMSNorm(D)
            self.key_norm = RMSNorm(D)


class Block(nn.Module):
    """Holds the weights of one layer; `block` computes with them."""

    def __init__(self, config: ModelConfig, number: int = 0) -> None:
        super().__init__()
        self.config = config
        self.turns = config.turns(number)
        self.attention_norm = RMSNorm(config.width)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = RMSNorm(config.width)
        mixed = config.experts is not None
        self.feed_forward = cast(FeedForward, ExpertLayer(config)) if mixed else FeedForward(config)


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BlockParts:
    """The functions that a block is made of; pass your own in the place of any."""

    rms_norm: Callable[[Tensor, Tensor, float], Tensor] = rms_norm
    split_heads: Callable[[Tensor, int], Tensor] = split_heads
    merge_heads: Callable[[Tensor], Tensor] = merge_heads
    rope: Callable[..., Tensor] = rope  # of x, positions and base; stretched: and the scaling
    feed_forward: Callable[[Tensor, FeedForward], Tensor] = feed_forward
    mixture: Callable[[Tensor, ExpertLayer], Tensor] = mixture  # of a model with experts


LIBRARY_PARTS = BlockParts()


def heads_of(
    normed: Tensor, layer: Block, positions: Tensor, parts: BlockParts = LIBRARY_PARTS
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, the first two normed and turned as the model has it.

    Shapes: normed (B, T, C), positions (T,) or (B, T) → (B, H, T, D), twice (B, G, T, D).
    """
    config, projections = layer.config, layer.attention
    H, G, eps = config.heads, config.kv_heads, config.norm_eps
    q = parts.split_heads(projections.query(normed), H)  # (B, H, T, D)
    k = parts.split_heads(projections.key(normed), G)  # (B, G, T, D)
    v = parts.split_heads(projections.value(normed), G)
    if config.qk_norm:
        q = parts.rms_norm(q, projections.query_norm.weight, eps)
        k = parts.rms_norm(k, projections.key_norm.weight, eps)
    if layer.turns:
        scaling = () if config.rope_scaling is None else (config.rope_scaling,)
        q, k = (parts.rope(y, positions, config.rope_base, *scaling) for y in (q, k))
    return q, k, v


def block(
    x: Tensor,
    layer: Block,
    positions: Tensor,
    attend: Attend,
    parts: BlockParts = LIBRARY_PARTS,
) -> Tensor:
    """One layer: normalise, attend, add; normalise, feed forward, add.

    It knows neither mask nor cache: `attend(q, k, v)` does. Queries and keys come to it turned by
    their positions.

    Shapes: x (B, T, C), positions (T,) or (B, T); attend gets q (B, H, T, D), k and v
    (B, G, T, D), and gives (B, H, T, D) → (B, T, C).

    >>> from decodeloop.model import TINY, grouped_query_attention
    >>> x = torch.zeros(1, 3, TINY.width)
    >>> block(x, Block(TINY), torch.arange(3), grouped_query_attention).shape
    torch.Size([1, 3, 48])
    """
    eps = layer.config.norm_eps
    normed = parts.rms_norm(x, layer.attention_norm.weight, eps)
    q, k, v = heads_of(normed, layer, positions, parts)
    x = x + layer.attention.output(parts.merge_heads(attend(q, k, v)))  # (B, T, C)

    normed = parts.rms_norm(x, layer.feed_forward_norm.weight, eps)
    if isinstance(layer.feed_forward, ExpertLayer):
        return x + parts.mixture(normed, layer.feed_forward)
    return x + parts.feed_forward(normed, layer.feed_forward)
