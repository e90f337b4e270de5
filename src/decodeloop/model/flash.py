"""Attention without the table of scores: tiles of queries meet tiles of keys, one at a time.

What is kept of a tile are three things for each query, and two such triples can be merged. So the
scores of all T queries with all S keys, (T, S) numbers for each head, are never held at once.

Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao et al.,
"FlashAttention" (2022), section 3.1; Dao, "FlashAttention-2" (2023), section 3.1; Dao et al.,
"Flash-Decoding for long-context inference" (2023). Built in lesson 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.model.attention import check_mask, check_values
from decodeloop.model.multi_head import check_groups, grouped_query_attention
from decodeloop.model.window import mask_for

ROWS, COLUMNS = 128, 512  # queries and keys of a tile: its scores stay in the processor's cache
BLOCK = 512  # queries that PyTorch's operator is given at a time


def online_softmax(tiles: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The two numbers of a softmax, in one pass over the scores: they come tile by tile.

    Of each row the largest score, and the sum of all e^(score - largest). Where a tile brings a
    larger one, what was summed up before is scaled down. e^(score - peak) / total is the softmax.

    Shapes: tiles (..., n), any n → two of (..., 1). A row that is all ``-inf`` gives the smallest
    number that there is, and 0.

    >>> peak, total = online_softmax(torch.tensor([0.0, 3.0, 3.0, 3.0]).split(2))
    >>> round(float(peak), 3), round(float(total), 3)
    (3.0, 3.05)
    """
    peak, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for tile in tiles:
        lowest = torch.finfo(tile.dtype).min  # -inf - -inf would be NaN
        new = torch.maximum(peak, tile.amax(-1, keepdim=True)).clamp(min=lowest)
        total = total * (peak - new).exp() + (tile - new).exp().sum(-1, keepdim=True)
        peak = new
    return peak, total


class Partial(NamedTuple):
    """Attention to some of the keys: what must be kept of it to take in the others later.

    Shapes: peak and total (..., T, 1), values (..., T, D).
    """

    peak: Tensor  # the largest score
    total: Tensor  # the sum of all e^(score - peak)
    values: Tensor  # the sum of all e^(score - peak) · value


def partial_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Partial:
    """Attention to some keys, not yet divided by its total. Queries come scaled by 1/√D.

    Sums are kept in fp32 where the type has fewer bits: they are added to once for each tile.

    Shapes: q (..., T, D), k and v (..., S, D), mask (..., T, S).
    """
    scores = (q @ k.mT).to(torch.promote_types(q.dtype, torch.float32))
    if mask is not None:
        scores.masked_fill_(~mask, -math.inf)
    lowest = torch.finfo(scores.dtype).min
    peak = scores.detach().amax(-1, keepdim=True).clamp(min=lowest)  # no result depends on it
    exponentials = scores.sub_(peak).exp_()
    total = exponentials.sum(-1, keepdim=True)
    return Partial(peak, total, (exponentials.to(v.dtype) @ v).to(scores.dtype))


def merge(one: Partial, other: Partial) -> Partial:
    """Attention to the keys of both, in any order: each is scaled to the larger peak, and added.

    Shapes: those of the two, which are alike.

    >>> low, high = ([torch.tensor([x]) for x in parts] for parts in ((0.0, 1.0, 5.0), (9, 2, 7)))
    >>> [round(float(x), 3) for x in merge(Partial(*low), Partial(*high))]
    [9.0, 2.0, 7.001]
    """
    (peak_1, total_1, values_1), (peak_2, total_2, values_2) = one, other
    peak = torch.maximum(peak_1, peak_2)
    fade_1, fade_2 = (peak_1 - peak).exp(), (peak_2 - peak).exp()
    return Partial(peak, total_1 * fade_1 + total_2 * fade_2, values_1 * fade_1 + values_2 * fade_2)


def finish(part: Partial) -> Tensor:
    """The weighted sum of the values; zeros where no key may be seen. Shapes: → (..., T, D)."""
    _, total, values = part
    return values / total.clamp(min=1.0)  # the peak adds e⁰ = 1: less only where none is


def skip_tiles(T: int, S: int, rows: int, columns: int) -> list[tuple[int, int, bool]]:
    """The tiles that are left when those above the diagonal are skipped.

    The T queries are the last T of the S keys. Of each tile that has something to see: its first
    query, its first key, and whether the diagonal cuts it, so that it needs a mask.

    >>> skip_tiles(4, 4, 2, 2)
    [(0, 0, True), (2, 0, False), (2, 2, True)]
    """
    left = []
    for i in range(0, T, rows):
        first, last = S - T + i, S - T + min(i + rows, T) - 1  # what its queries are as keys
        for j in range(0, min(S, last + 1), columns):
            left.append((i, j, min(j + columns, S) - 1 > first))
    return left


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> Tensor:
    """`grouped_query_attention` that never holds more scores than those of a tile, for each head.

    `causal` means that the T queries are the last T of the S keys, and see none behind themselves:
    tiles above that diagonal are skipped, and no mask but that of a tile is made.

    Shapes: q (B, H, T, D), k and v (B, G, S, D), mask broadcastable to (B, H, T, S), ``True`` = may
    attend → (B, H, T, D). A query that may attend to nothing gets zeros.

    Raises:
        ShapeError: H is not a multiple of G, the shapes do not fit, or, if causal, S is below T.
        UserError: a tile has no row or no column.

    >>> q = k = v = torch.eye(2)[None, None]
    >>> flash_attention(q, k, v, causal=True)[0, 0, 0].tolist()  # the first sees only itself
    [1.0, 0.0]
    """
    check_groups(q, k)
    check_values(k, v)
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    if rows < 1 or columns < 1:
        raise UserError(f"a tile of {rows} rows and {columns} columns: expected at least 1 each.")
    if causal:
        _check_last(T, S)
    if mask is not None:
        check_mask(mask, (B, H, T, S))
        mask = mask.expand(B, H, T, S)  # a view
    if causal:
        tiles = skip_tiles(T, S, rows, columns)
    else:
        tiles = [(i, j, False) for i in range(0, T, rows) for j in range(0, S, columns)]
    out = q.new_zeros(B, H, T, v.shape[-1])
    for i, in_row in groupby(tiles, key=itemgetter(0)):
        n = min(rows, T - i)
        some = q[:, :, i : i + n].reshape(B, G, -1, D) / math.sqrt(D)  # (B, G, H/G·n, D)
        seen_so_far: Partial | None = None
        for _, j, cut in in_row:
            m = min(columns, (S - T + i + n if causal else S) - j)  # none behind the last query
            visible = None if mask is None else mask[:, :, i : i + n, j : j + m]
            if cut:
                past = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(S - T + i - j)
                visible = past if visible is None else visible & past
            if visible is not None:
                visible = visible.expand(B, H, n, m).reshape(B, G, -1, m)
            part = partial_attention(some, k[:, :, j : j + m], v[:, :, j : j + m], visible)
            seen_so_far = part if seen_so_far is None else merge(seen_so_far, part)
        assert seen_so_far is not None
        out[:, :, i : i + n] = finish(seen_so_far).view(B, H, n, -1)
    return out


def split_attention(q: Tensor, k: Tensor, v: Tensor, parts: int) -> Tensor:
    """Attention of new tokens that may see all keys; these are split, and what came is merged.

    A single query has no rows that could be shared out among many processors: its keys can be.

    Shapes: q (B, H, T, D), k and v (B, G, S, D) → (B, H, T, D).

    Raises:
        ShapeError: H is not a multiple of G, or the shapes do not fit.
        UserError: there are fewer keys than parts, or no part.

    >>> q = k = v = torch.eye(2)[None, None]
    >>> bool(torch.allclose(split_attention(q, k, v, 2), flash_attention(q, k, v)))
    True
    """
    check_groups(q, k)
    check_values(k, v)
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    if not 1 <= parts <= S:
        raise UserError(f"{S} keys in {parts} parts: expected 1 to {S}, the number of keys.")
    some = q.reshape(B, G, -1, D) / math.sqrt(D)
    split = zip(k.tensor_split(parts, dim=2), v.tensor_split(parts, dim=2), strict=True)
    merged = reduce(merge, (partial_attention(some, *part) for part in split))
    return finish(merged).to(q.dtype).view(B, H, T, -1)


def causal_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, window: int | None = None
) -> Tensor:
    """What the decoder attends with: causal where no mask is given, and within the model's window
    if it has one, whatever the mask.

    By PyTorch's operator, which goes through tiles as `flash_attention` does, but in one call for a
    block of queries: where other programs run, threads that meet after each small operator of each
    tile wait longer than they compute. Its own `is_causal` puts the diagonal into the upper left
    corner, which is wrong behind a cache: so each block has a mask. A table that is no larger than
    a tile is not cut up.

    Shapes: as `flash_attention`.
    """
    T, S = q.shape[-2], k.shape[-2]
    check_groups(q, k)
    check_values(k, v)
    if mask is None or window is not None:
        _check_last(T, S)
    if mask is not None:
        check_mask(mask, (*q.shape[:3], S))
        mask = mask.expand(*mask.shape[:-2], T, S)
    if window is not None and (unseen := S - T - window + 1) > 0:
        k, v, S = k[:, :, unseen:], v[:, :, unseen:], S - unseen
        mask = None if mask is None else mask[..., unseen:]
    if T == 1 or T * S <= ROWS * COLUMNS:
        return grouped_query_attention(q, k, v, mask_for(T, S, mask, window, q.device))
    out = q.new_empty(*q.shape[:3], v.shape[-1])
    for i in range(0, T, BLOCK):
        n, first = min(BLOCK, T - i), S - T + i  # what the first query of the block is as a key
        start = 0 if window is None else max(0, first - window + 1)
        end = S if mask is not None and window is None else first + n  # none behind the last query
        own = None if mask is None else mask[..., i : i + n, start:end]
        visible = mask_for(n, end - start, own, window, q.device)
        keys, values = k[:, :, start:end], v[:, :, start:end]
        part = F.scaled_dot_product_attention(
            q[:, :, i : i + n], keys, values, attn_mask=visible, enable_gqa=True
        )
        if visible is not None:
            part = part.masked_fill(~visible.any(-1, keepdim=True), 0.0)
        out[:, :, i : i + n] = part
    return out


def _check_last(T: int, S: int) -> None:
    if S < T:
        raise ShapeError(
            f"causal attention of {T} queries to {S} keys: the queries are the last of the keys, "
            f"so there must be at least as many keys."
        )
