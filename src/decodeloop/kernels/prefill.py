"""A prompt through all layers: PyTorch's matrix products, and kernels for all between them.

Many tokens meet each matrix here, so the products take nearly all of the time, and PyTorch's are
as fast as the machine. What this module saves is the rest: thousands of small operators, and an
attention that makes, masks and reads again a table of all scores.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.kernels import compiled
from decodeloop.kernels.threads import numba_threads
from decodeloop.model import Block, ContiguousKVCache

BLOCK = 128  # queries that attend at a time


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of T new tokens to S positions, theirs included, by matrix products.

    Some queries at a time meet the keys that the last of them may see: most of the products that a
    mask would throw away are never made, and the table of scores stays in the processor's cache.
    The query heads that share a key are one matrix.

    Shapes: q (H, T, D), k and v (G, S, D) → (H, T, D); all of one type.
    """
    (H, T, D), (G, S, _) = q.shape, k.shape
    share = H // G
    q, out = q.reshape(G, share, T, D), q.new_empty(G, share, T, D)
    later = q.new_full((BLOCK, BLOCK), -math.inf).triu(1)  # what each query of a block can't see
    room = q.new_empty(share * BLOCK * S)
    for first in range(0, T, BLOCK):
        last = min(first + BLOCK, T)
        n, seen = last - first, S - T + last
        scores = room[: share * n * seen].view(share * n, seen)
        for g in range(G):
            some = q[g, :, first:last].reshape(share * n, D)
            torch.addmm(scores, some, k[g, :seen].mT, beta=0, alpha=D**-0.5, out=scores)
            scores.view(share, n, seen)[..., seen - n :] += later[:n, :n]
            torch.softmax(scores, -1, out=scores)
            out[g, :, first:last] = (scores @ v[g, :seen]).view(share, n, D)
    return out.view(H, T, D)


def normalised(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`rms_norm`, of each token. Shapes: x (T, C), weight (C,) → (T, C)."""
    out = torch.empty_like(x)
    with numba_threads():
        compiled.rms_norm_rows(x.numpy(), weight.detach().numpy(), eps, out.numpy())
    return out


def prefill_layer(
    x: Tensor,
    layer: Block,
    number: int,
    angles: tuple[Tensor, Tensor],
    cache: ContiguousKVCache | None,
    products: torch.dtype,
) -> None:
    """One layer for T tokens, in place: normalise, attend, add; normalise, feed forward, add.

    Products take their inputs in the type `products`; the residual stream stays fp32.

    Shapes: x (T, C), angles two of (T, D/2).
    """
    config, projections, feed_forward = layer.config, layer.attention, layer.feed_forward
    T, H, G, D = len(x), config.heads, config.kv_heads, config.head_dim
    cos, sin = (a.numpy() for a in angles)

    inputs = normalised(x, layer.attention_norm.weight, config.norm_eps).to(products)
    q = projections.query(inputs).view(T, H, D)
    k = projections.key(inputs).view(T, G, D)
    v = projections.value(inputs).view(T, G, D)
    with numba_threads():
        compiled.turn_rows(q.numpy(), cos, sin)
        compiled.turn_rows(k.numpy(), cos, sin)
    k, v = k.transpose(0, 1), v.transpose(0, 1)  # (G, T, D)
    if cache is not None:
        k, v = (stored[0] for stored in cache.append(number, k[None], v[None]))
    attended = attend(q.transpose(0, 1).to(products), k.to(products), v.to(products))  # (H, T, D)
    x += projections.output(attended.transpose(0, 1).reshape(T, H * D))

    inputs = normalised(x, layer.feed_forward_norm.weight, config.norm_eps).to(products)
    inner = F.silu(feed_forward.gate(inputs), inplace=True).mul_(feed_forward.up(inputs))
    x += feed_forward.down(inner.to(products))
