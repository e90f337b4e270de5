"""Several heads: each attends in a space of its own, and shares its keys and values with others.

Vaswani et al. (2017), section 3.2.2; Shazeer, "Fast Transformer Decoding: One Write-Head is All
You Need" (2019); Ainslie et al., "GQA" (2023). Built in lesson 02.
"""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

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
    check_groups(q, k)
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    if mask is not None:
        check_mask(mask, (B, H, T, S))
        mask = mask.expand(B, H, T, S).reshape(B, G, -1, S)
    return attention(q.reshape(B, G, -1, D), k, v, mask).reshape(B, H, T, v.shape[-1])


def check_groups(q: Tensor, k: Tensor) -> None:
    """Raise `ShapeError` unless q (B, H, T, D) can share k (B, G, S, D): H a multiple of G."""
    if q.ndim != 4 or k.ndim != 4:
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)}: expected four axes each, "
            f"(B, heads, positions, D)."
        )
    (B, H, _, D), G = q.shape, k.shape[1]
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


def multi_head_attention(
    x: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    H: int,
    mask: Tensor | None = None,
) -> Tensor:
    """A text attends to itself with `H` heads: project, split, attend, merge, project.

    The number of KV heads follows from the shapes: the head dimension D is the rows of `w_query`
    over H, and G the rows of `w_key` over D. No positions: the order of the tokens plays no part
    but by the mask.

    Shapes: x (B, T, C); w_query (H·D, C), w_key and w_value (G·D, C), w_output (C, H·D), as
    `nn.Linear` stores them; mask broadcastable to (B, H, T, T) → (B, T, C).

    Raises:
        ShapeError: the shapes do not fit.

    >>> import torch
    >>> w_query, w_key = torch.randn(12, 8), torch.randn(4, 8)  # C = 8, H = 3, D = 4, G = 1
    >>> x, w_output = torch.randn(2, 5, 8), torch.randn(8, 12)
    >>> multi_head_attention(x, w_query, w_key, w_key, w_output, 3).shape
    torch.Size([2, 5, 8])
    """
    C, rows = x.shape[-1], w_query.shape[0]
    if x.ndim != 3 or {w.shape[-1] for w in (w_query, w_key, w_value)} != {C}:
        raise ShapeError(
            f"multi_head_attention: x {tuple(x.shape)} must be (B, T, C), and the last axis of "
            f"w_query {tuple(w_query.shape)}, w_key {tuple(w_key.shape)} and w_value "
            f"{tuple(w_value.shape)} must be C = {C}."
        )
    if H < 1 or rows % H or w_key.shape[0] % (rows // H) or w_key.shape != w_value.shape:
        raise ShapeError(
            f"multi_head_attention: w_query {tuple(w_query.shape)} must have H = {H} times D "
            f"rows, w_key {tuple(w_key.shape)} and w_value {tuple(w_value.shape)} G times D."
        )
    if w_output.shape != (C, rows):
        raise ShapeError(
            f"multi_head_attention: w_output {tuple(w_output.shape)} must be (C, H·D) = "
            f"({C}, {rows})."
        )
    G = w_key.shape[0] // (rows // H)
    q = split_heads(F.linear(x, w_query), H)  # (B, H, T, D)
    k = split_heads(F.linear(x, w_key), G)  # (B, G, T, D)
    v = split_heads(F.linear(x, w_value), G)
    return F.linear(merge_heads(grouped_query_attention(q, k, v, mask)), w_output)
