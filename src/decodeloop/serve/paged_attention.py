"""Attention over blocks, in place: plain, one text at a time.

Kwon et al. (2023), section 4.1. Built in lesson 15.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from decodeloop.model import causal_mask, softmax


class Run(NamedTuple):
    """Neighbouring blocks of the pool that a text has one after another, and how many positions of
    each are read: as many as there are, but for a text's last block."""

    first: int
    blocks: int
    positions: int

    def of(self, pool: Tensor) -> Tensor:
        """Shapes: keys or values (blocks, G, size, D) → (n, G, positions, D), a view."""
        return pool[self.first : self.first + self.blocks, :, : self.positions]


def runs(blocks: Sequence[int], positions: int, size: int) -> Iterator[Run]:
    """A text's blocks in runs, each of which is a view of the pool.

    >>> list(runs([3, 4, 5, 1], positions=14, size=4))
    [Run(first=3, blocks=3, positions=4), Run(first=1, blocks=1, positions=2)]
    """
    full, rest = divmod(positions, size)
    i = 0
    while i < full:
        j = i + 1
        while j < full and blocks[j] == blocks[j - 1] + 1:
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
    """Attention of one text's new tokens to all of it, run by run where its blocks are.

    For a single token its keys and values are not brought together: that would copy all of them,
    which takes longer than to attend to them. What is brought together are the scores, one number
    for each key. For the many tokens of a prompt one copy of a run is little beside the work.

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
    scores_of, values_of = (_scores, _values) if T == 1 else (_scores_of_many, _values_of_many)

    # the query heads that share a KV head, one after another, as if they were further positions
    q = q.reshape(G, H // G * T, D)
    views = [run.of(keys) for run in runs(blocks, S, size)]
    scores = torch.cat([scores_of(q, k) for k in views], -1) / math.sqrt(D)  # (G, H/G·T, S)
    if mask is None and T > 1:
        mask = causal_mask(T, S, device=q.device)
    if mask is not None:
        scores = scores.view(H, T, S).masked_fill(~mask, -math.inf).view(G, -1, S)
    weights = softmax(scores).split([k.shape[0] * k.shape[2] for k in views], -1)
    views = [run.of(values) for run in runs(blocks, S, size)]
    return reduce(add, map(values_of, weights, views)).reshape(H, T, D)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    """q (G, R, D), k (n, G, size, D) → (G, R, n·size), by a product for each block."""
    return (q @ k.mT).permute(1, 2, 0, 3).flatten(2)


def _values(weights: Tensor, v: Tensor) -> Tensor:
    """weights (G, R, n·size), v (n, G, size, D) → (G, R, D)."""
    return (weights.unflatten(2, (len(v), -1)).permute(2, 0, 1, 3) @ v).sum(0)


def _scores_of_many(q: Tensor, k: Tensor) -> Tensor:
    """The same by one product, of a copy."""
    return q @ k.transpose(0, 1).flatten(1, 2).mT


def _values_of_many(weights: Tensor, v: Tensor) -> Tensor:
    return weights @ v.transpose(0, 1).flatten(1, 2)
