"""Expert parallelism: each rank holds some experts whole, and computes what is sent to those.

Every rank asks the router about all tokens, which is little work, so all know who computes what.
What a rank adds to the output is one term of a sum. On a cluster tokens travel to the ranks of
their experts and back (two all-to-all exchanges) where each rank has tokens of its own; here all
ranks have all tokens, as in `sharded_block`, and one all-reduce adds the terms up. Lepikhin et al.,
"GShard" (2020), arXiv:2006.16668.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model import ExpertLayer, FeedForward, dispatch, route
from decodeloop.model.feed_forward import feed_forward
from decodeloop.parallel.sharding import AllReduce, share


def own_experts(number: int, rank: int, ranks: int) -> range:
    """The experts that a rank holds: neighbours, as many on each rank as can be.

    >>> [list(own_experts(5, rank, 2)) for rank in range(2)]
    [[0, 1], [2, 3, 4]]

    Raises:
        UserError: there are more ranks than experts, or there is no such rank.
    """
    if not 1 <= ranks <= number:
        raise UserError(
            f"{number} experts can't be split over {ranks} ranks: each holds at least one; take 1 "
            f"to {number}."
        )
    own = share(number, rank, ranks)
    return range(own.start, own.stop)


def expert_parallel(
    x: Tensor, layer: ExpertLayer, rank: int, ranks: int, all_reduce: AllReduce
) -> Tensor:
    """`model.mixture`, of which a rank computes its own experts; no other expert is touched.

    Shapes: (..., C) → (..., C), the same on every rank.
    """
    tokens = x.reshape(-1, x.shape[-1])  # (N, C)
    E, k = layer.config.number, layer.config.active
    experts, weights = route(layer.router(tokens), k, layer.config.normalised)
    choices, counts = dispatch(experts, E)
    own = own_experts(E, rank, ranks)
    ends = [0, *counts.cumsum(0).tolist()]  # where the choices of each expert begin and end
    mine = choices[ends[own.start] : ends[own.stop]]
    pieces = tokens[mine // k].split(counts[own.start : own.stop].tolist())
    outputs = [tokens.new_empty(0, tokens.shape[-1])]
    outputs += [
        feed_forward(piece, cast(FeedForward, layer.experts[expert]))
        for expert, piece in zip(own, pieces, strict=True)
        if len(piece)
    ]
    weighted = torch.cat(outputs) * weights.flatten()[mine][:, None]
    term = torch.zeros_like(tokens).index_add(0, mine // k, weighted)
    return all_reduce(term).view(x.shape)
