"""Several heads: each attends in a space of its own, and shares its keys and values with others.

Vaswani et al. (2017), section 3.2.2; Shazeer, "Fast Transformer Decoding: One Write-Head is All
You Need" (2019); Ainslie et al., "GQA" (2023). Built in lesson 02.
"""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import Tensor

from decodeloop.errors import ShapeError
from decodeloop.model.attention import attention, check_mask


def split_heads(x: Tensor, H: int) -> Tensor:
    """Cut the last axis into `H` heads. Shapes: (B, T, H·D) → (B, H, T, D).

    Raises:
        ShapeError: the last axis is not a multiple of `H`.
    """
    if x.ndim != 3 or H < 1 or x.shape[-1] % H:
        raise ShapeError(
            f"split_heads: {tuple(x.shape)} can't be cut into H = {H} heads: expected three axes "
            f"(B, T, H·D), the last a multiple of H."
        )
    return rearrange(x, "B T (H D) -> B H T D", H=H)


def merge_heads(x: Tensor) -> Tensor:
    """Put the heads side by side again. Shapes: (B, H, T, D) → (B, T, H·D)."""
    if x.ndim != 4:
        raise ShapeError(f"merge_heads: {tuple(x.shape)} has {x.ndim} axes: expected (B, H, T, D).")
    return rearrange(x, "B H T D -> B T (H D)")


def grouped_query_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    attention: Callable[..., Tensor] = attention,
) -> Tensor:
    """Attention with G KV heads for H query heads: query head h reads KV head h // (H/G).

    G = H is multi-head attention, G = 1 multi-query attention. The queries that share a KV head
    are laid one after another, as if they were further positions, so that keys and values are
    never copied.

    Shapes: q (B, H, T, D), k and v (B, G, S, D), mask broadcastable to (B, H, T, S) →
    (B, H, T, D).

    Raises:
        ShapeError: H is not a multiple of G, or the shapes do not fit.
    """
    if q.ndim != 4 or k.ndim != 4:
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)}: expected four axes each, "
            f"(B, heads, positions, D)."
        )
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    if (k.shape[0], k.shape[3]) != (B, D):
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)} must agree in axis 0, the batch, "
            f"and in axis 3, the head dimension D."
        )
    if G < 1 or H % G:
        raise ShapeError(
            f"{H} query heads can't share {G} KV heads evenly: axis 1 of the queries "
            f"{tuple(q.shape)} must be a multiple of axis 1 of the keys {tuple(k.shape)}."
        )
    if mask is not None:
        check_mask(mask, (B, H, T, S))
        mask = mask.expand(B, H, T, S).reshape(B, G, -1, S)
    return attention(q.reshape(B, G, -1, D), k, v, mask).reshape(B, H, T, v.shape[-1])
