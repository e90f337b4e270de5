"""Attention over blocks, in place: plain, one text at a time.

Kwon et al. (2023), section 4.1. Built in lesson 15.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from decodeloop.model import causal_mask, softmax

AT_ONCE = 64  # queries times blocks of one product: the queries are copied for each of its blocks


class Run(NamedTuple):
    """Neighbouring blocks of the pool that a text has one after another, and how many positions of
    each are read: as many as there are, but for a text's last block."""

    first: int
    blocks: int
    positions: int


def runs(blocks: Sequence[int], positions: int, size: int, longest: int) -> Iterator[Run]:
    """A text's blocks in runs of at most `longest`, which are views of the pool.

    >>> list(runs([3, 4, 5, 1], positions=14, size=4, longest=8))
    [Run(first=3, blocks=3, positions=4), Run(first=1, blocks=1, positions=2)]
    """
    full, rest = divmod(positions, size)
    i = 0
    while i < full:
        j = i + 1
        while j < min(full, i + longest) and blocks[j] == blocks[j - 1] + 1:
            j += 1
        yield Run(blocks[i], j - i, size)
        i = j
    if rest:
        yield Run(blocks[full], 1, rest)


def attend_paged(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    blocks: Sequence[int],
    start: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention of one text's new tokens to all of it, block by block where the blocks are.

    Keys and values are not brought together first: that would copy all of them for each token.
    What is brought together are the scores, one number for each key.

    Args:
        keys, values: of one layer of the pool, those of the new tokens among them.
        blocks: the text's, in order.
        start: the position of the first new token; each sees what is before it, and itself.
        mask: who may attend to whom, in the place of that.

    Shapes: q (H, T, D), keys and values (blocks, G, size, D), mask broadcastable to (H, T, S) with
    S = start + T → (H, T, D).
    """
    H, T, D = q.shape
    G, size = keys.shape[1:3]
    S = start + T
    found = list(runs(blocks, S, size, longest=max(1, AT_ONCE // T)))

    # the query heads that share a KV head, one after another, as if they were further positions
    q = q.reshape(1, G, H // G * T, D)
    scores = torch.cat([_scores(q, keys, run) for run in found], -1) / math.sqrt(D)  # (G, H/G·T, S)
    if mask is None and T > 1:
        mask = causal_mask(T, S, device=q.device)
    if mask is not None:
        scores = scores.view(H, T, S).masked_fill(~mask, -math.inf).view(G, -1, S)
    weights = softmax(scores).split([run.blocks * run.positions for run in found], -1)
    parts = [_values(w, values, run) for w, run in zip(weights, found, strict=True)]
    return sum(parts[1:], parts[0]).reshape(H, T, D)


def _scores(q: Tensor, keys: Tensor, run: Run) -> Tensor:
    """q (1, G, R, D) → (G, R, positions of the run)."""
    k = keys[run.first : run.first + run.blocks, :, : run.positions]  # (n, G, size, D), a view
    return (q @ k.mT).permute(1, 2, 0, 3).flatten(2)


def _values(weights: Tensor, values: Tensor, run: Run) -> Tensor:
    """weights (G, R, positions of the run) → (G, R, D)."""
    v = values[run.first : run.first + run.blocks, :, : run.positions]
    return (weights.unflatten(2, (run.blocks, run.positions)).permute(2, 0, 1, 3) @ v).sum(0)
