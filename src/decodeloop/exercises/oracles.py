"""The decoder by PyTorch's operators alone: what the answers of several lessons are held against.

Nothing here calls what learners build. Rotary positions are complex numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.model import Decoder, ModelConfig

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def rope_by_complex_numbers(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Pair i is the complex number x[i] + x[i + D/2]·j, multiplied by e^(angle·j)."""
    D = x.shape[-1]
    speeds = float(base) ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    angles = positions.double()[..., None] * speeds  # (T, D/2) or (B, T, D/2)
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)
    pairs = torch.complex(x[..., : D // 2].double(), x[..., D // 2 :].double())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), -1).to(x.dtype)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def block_by_pytorch(
    x: Tensor, layer: Any, positions: Tensor, attend: Attend = causal_attention
) -> Tensor:
    """One layer, all of its weights taken as plain tensors. (B, T, C) → (B, T, C)."""
    config, attention, fed = layer.config, layer.attention, layer.feed_forward
    C, D, eps = config.width, config.head_dim, config.norm_eps
    h = F.rms_norm(x, (C,), layer.attention_norm.weight, eps)
    q, k, v = (
        F.linear(h, part.weight).unflatten(-1, (-1, D)).transpose(1, 2)
        for part in (attention.query, attention.key, attention.value)
    )
    q, k = (rope_by_complex_numbers(y, positions, config.rope_base) for y in (q, k))
    x = x + F.linear(attend(q, k, v).transpose(1, 2).flatten(2), attention.output.weight)
    h = F.rms_norm(x, (C,), layer.feed_forward_norm.weight, eps)
    gated = F.silu(F.linear(h, fed.gate.weight)) * F.linear(h, fed.up.weight)
    return x + F.linear(gated, fed.down.weight)


def decoder_by_pytorch(model: Decoder, token_ids: Tensor) -> Tensor:
    """All positions at once, and no cache. (B, T) → (B, T, C)."""
    x, layers = F.embedding(token_ids, model.embedding.weight), list[Any](model.layers)
    for layer in layers:
        x = block_by_pytorch(x, layer, torch.arange(token_ids.shape[1]))
    return F.rms_norm(x, (model.config.width,), model.norm.weight, model.config.norm_eps)


def random_ids(config: ModelConfig, seed: int, *shape: int) -> Tensor:
    """Token ids that are the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocabulary, shape, generator=generator)
