"""Attention: every query looks at every key that it may, and takes a weighted sum of the values.

Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1. Built in lesson 01.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from decodeloop.errors import ShapeError


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Turn scores into weights: positive, and summing to 1 along `dim`.

    The largest score is subtracted first, which changes nothing (e^(x-m) / Σ e^(x-m) = e^x / Σ e^x)
    but keeps `exp` from overflowing. A row that is all ``-inf`` gives zeros: who may attend to
    nothing takes nothing. (PyTorch gives NaN there: our one exception.)

    Shapes: any → the same.

    >>> softmax(torch.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    peak = x.amax(dim, keepdim=True).clamp(min=torch.finfo(x.dtype).min)  # -inf - -inf is NaN
    exponentials = (x - peak).exp()
    total = exponentials.sum(dim, keepdim=True)
    return exponentials / total.clamp(min=1.0)  # the peak adds e⁰ = 1: less only where all is -inf


def causal_mask(T: int, S: int | None = None, device: torch.device | str | None = None) -> Tensor:
    """The mask of a decoder: ``True`` where a query may attend, which is never to its future.

    The `T` queries are the last `T` of the `S` keys (`S` = `T` if not given), so with a cache,
    where S > T, the first query already sees the S - T keys before it, and itself.

    Shapes: → (T, S), boolean.

    Raises:
        ShapeError: `S` is less than `T`.

    >>> causal_mask(2, 3).tolist()
    [[True, True, False], [True, True, True]]
    """
    S = T if S is None else S
    if S < T:
        raise ShapeError(
            f"causal_mask(T={T}, S={S}): the T queries are the last T of the S keys, so S must be "
            f"at least T; pass S = cached + T, or leave it out."
        )
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    *,
    softmax: Callable[[Tensor], Tensor] = softmax,
) -> Tensor:
    """How much each query takes from each key: softmax(q kᵀ / √D), masked.

    Shapes: q (..., T, D), k (..., S, D), mask broadcastable to (..., T, S) → (..., T, S). The
    leading axes are usually (B, H). A row whose query may attend to nothing is zeros.

    Raises:
        ShapeError: the head dimensions differ, the leading axes differ, or the mask does not fit.
    """
    _check_queries_and_keys(q, k)
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        check_mask(mask, scores.shape)
        scores = scores.masked_fill(~mask, -math.inf)
    return softmax(scores)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    softmax: Callable[[Tensor], Tensor] = softmax,
) -> Tensor:
    """Scaled dot-product attention: the weighted sum of the values.

    Shapes: q (B, H, T, D), k and v (B, H, S, D), mask broadcastable to (B, H, T, S), ``True`` =
    may attend → (B, H, T, D). A query that may attend to nothing gets zeros.

    Raises:
        ShapeError: the shapes do not fit; the message names the axis.

    >>> q = k = v = torch.eye(2)[None, None]
    >>> attention(q, k, v, causal_mask(2))[0, 0, 0].tolist()  # the first token sees only itself
    [1.0, 0.0]
    """
    check_values(k, v)
    return attention_weights(q, k, mask, softmax=softmax) @ v


def _check_queries_and_keys(q: Tensor, k: Tensor) -> None:
    if q.ndim < 2 or k.ndim < 2:
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)} need at least two axes, "
            f"(positions, head dimension); add one with [None]."
        )
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)} differ in the last axis, the head "
            f"dimension D: {q.shape[-1]} and {k.shape[-1]}; a dot product needs equal lengths."
        )
    if q.shape[:-2] != k.shape[:-2]:
        raise ShapeError(
            f"queries {tuple(q.shape)} and keys {tuple(k.shape)} differ in the axes before the "
            f"last two, batch and heads; with fewer KV heads use grouped_query_attention."
        )


def check_values(k: Tensor, v: Tensor) -> None:
    """Raise `ShapeError` unless there is one value for every key."""
    if k.shape[:-1] != v.shape[:-1]:
        raise ShapeError(
            f"keys {tuple(k.shape)} and values {tuple(v.shape)} must agree in all axes but the "
            f"last: there is one value for every key."
        )


def check_mask(mask: Tensor, scores_shape: torch.Size | tuple[int, ...]) -> None:
    """Raise `ShapeError` unless `mask` is boolean and broadcastable to the shape of the scores."""
    if mask.dtype != torch.bool:
        raise ShapeError(
            f"the mask has type {mask.dtype}: expected torch.bool with True = may attend; "
            f"turn it into one with a comparison, such as mask > 0."
        )
    fits = len(mask.shape) <= len(scores_shape) and all(
        m in (1, s) for m, s in zip(reversed(mask.shape), reversed(scores_shape), strict=False)
    )
    if not fits:
        raise ShapeError(
            f"a mask of shape {tuple(mask.shape)} can't be broadcast to the scores "
            f"{tuple(scores_shape)} (..., T queries, S keys): its last two axes are (T, S)."
        )
