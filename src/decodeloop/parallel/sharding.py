"""Tensor parallelism: which part of which matrix a rank holds, and what it computes with it.

A matrix whose outputs are independent (query, key, value, gate, up) is cut by its rows, as
`nn.Linear` stores them; the one that follows (output, down) by its columns, the inputs that the
rank has. So a rank goes through two products without a word to the others, and what it then has is
one term of a sum. Shoeybi et al., "Megatron-LM" (2019), section 3. Built in lesson 17.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import (
    Block,
    Decoder,
    ModelConfig,
    Parts,
    merge_heads,
    rms_norm,
)
from decodeloop.model.block import Attend, Linear, feed_forward, heads_of
from decodeloop.model.mixture import ExpertLayer, mixture

AllReduce = Callable[[Tensor], Tensor]  # each rank's term → the sum of all, on every rank

# of a layer's weights, and a bias with its rows; norms stay whole
CUT: dict[str, Literal["rows", "columns"]] = {
    "attention.query": "rows",
    "attention.key": "rows",
    "attention.value": "rows",
    "attention.output": "columns",
    "feed_forward.gate": "rows",
    "feed_forward.up": "rows",
    "feed_forward.down": "columns",
}
EXPERT = re.compile(r"\.experts\.\d+\.")  # each expert is cut as a feed-forward layer is


def check_rank(rank: int, ranks: int) -> None:
    """Raise a `UserError` unless there is such a rank."""
    if not 0 <= rank < ranks:
        raise UserError(f"rank {rank} of {ranks}: expected 0 to {ranks - 1}.")


def share(size: int, rank: int, ranks: int) -> slice:
    """A rank's neighbours among `size` things; where they don't divide, some have one more.

    >>> [share(10, rank, 4) for rank in range(4)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    """
    check_rank(rank, ranks)
    return slice(rank * size // ranks, (rank + 1) * size // ranks)


def split_rows(weight: Tensor, rank: int, ranks: int) -> Tensor:
    """A rank's rows of a matrix: some of its outputs, each whole.

    A copy, since a view would keep all of the matrix in memory.

    Shapes: (rows, columns) → (rows / ranks, columns).

    Raises:
        ShapeError: the rows don't divide.
    """
    check_divides("split_rows", weight, 0, ranks)
    return weight[share(weight.shape[0], rank, ranks)].clone()


def split_columns(weight: Tensor, rank: int, ranks: int) -> Tensor:
    """A rank's columns of a matrix: with a rank's inputs it gives one term of every output.

    Shapes: (rows, columns) → (rows, columns / ranks); a copy.

    Raises:
        ShapeError: the columns don't divide.
    """
    check_divides("split_columns", weight, 1, ranks)
    own = weight[:, share(weight.shape[1], rank, ranks)]
    return own.clone(memory_format=torch.contiguous_format)


def check_divides(who: str, weight: Tensor, axis: int, ranks: int) -> None:
    if ranks < 1 or weight.shape[axis] % ranks:
        raise ShapeError(
            f"{who}: axis {axis} of {tuple(weight.shape)} can't be cut into {ranks} equal parts: "
            f"take a number of ranks that divides {weight.shape[axis]}."
        )


def local_heads(heads: int, kv_heads: int, rank: int, ranks: int) -> tuple[range, range]:
    """The numbers of the query heads and of the KV heads that a rank holds.

    A KV head lies on one rank, and so do all query heads that read it (h // (H/G) is its number).

    >>> local_heads(9, 3, rank=1, ranks=3)
    (range(3, 6), range(1, 2))

    Raises:
        UserError: the KV heads don't divide, or there is no such rank.
    """
    check_rank(rank, ranks)
    if heads % kv_heads:
        raise UserError(f"{heads} query heads can't share {kv_heads} KV heads evenly.")
    if kv_heads % ranks:
        raise UserError(
            f"{heads} query heads and {kv_heads} KV heads can't be split over {ranks} ranks: a KV "
            f"head and the query heads that read it stay together, so the number of ranks must "
            f"divide {kv_heads}."
        )
    H, G = heads // ranks, kv_heads // ranks
    return range(rank * H, (rank + 1) * H), range(rank * G, (rank + 1) * G)


def possible_ranks(config: ModelConfig) -> list[int]:
    """The numbers of ranks over which a model can be split."""
    return [
        ranks
        for ranks in range(1, config.kv_heads + 1)
        if config.kv_heads % ranks == 0 and config.feed_forward % ranks == 0
    ]


def shard_config(config: ModelConfig, ranks: int) -> ModelConfig:
    """The shape of what one rank holds of each layer.

    Raises:
        UserError: the model can't be split over so many ranks; the message says over how many.
    """
    possible = possible_ranks(config)
    if ranks not in possible:
        raise UserError(
            f"{config.heads} query heads, {config.kv_heads} KV heads and {config.feed_forward} "
            f"channels of the feed-forward layer can't be split over {ranks} ranks: a KV head and "
            f"the query heads that read it stay together, and all ranks hold equal parts; take "
            f"{' or '.join(map(str, possible))}."
        )
    return replace(
        config,
        heads=config.heads // ranks,
        kv_heads=config.kv_heads // ranks,
        feed_forward=config.feed_forward // ranks,
    )


def share_of(part: str, shape: tuple[int, ...], rank: int, ranks: int) -> tuple[slice, ...] | None:
    """Which entries of a layer's weight a rank holds; None: all of them.

    >>> share_of("feed_forward.down", (8, 6), rank=2, ranks=3)
    (slice(None, None, None), slice(4, 6, None))
    """
    match CUT.get(EXPERT.sub(".", part)):
        case "rows":
            return (share(shape[0], rank, ranks),)
        case "columns":
            return (slice(None), share(shape[1], rank, ranks))
    return None


def sharded_block(
    x: Tensor, layer: Block, positions: Tensor, attend: Attend, all_reduce: AllReduce
) -> Tensor:
    """One layer, of which each rank holds a part of the heads and of the feed-forward channels.

    `block` of lesson 03, and two sums over all ranks. The residual stream is whole on every rank.

    Shapes: as `block`; `layer.config` is that of the rank's share.
    """
    eps = layer.config.norm_eps
    normed = rms_norm(x, layer.attention_norm.weight, eps)
    q, k, v = heads_of(normed, layer, positions)  # (B, H/ranks, T, D), twice (B, G/ranks, T, D)
    x = x + all_reduce(layer.attention.output(merge_heads(attend(q, k, v))))  # (B, T, C)

    normed = rms_norm(x, layer.feed_forward_norm.weight, eps)
    if isinstance(layer.feed_forward, ExpertLayer):  # of each expert a part of its channels
        return x + all_reduce(mixture(normed, layer.feed_forward))
    return x + all_reduce(feed_forward(normed, layer.feed_forward))


def shard_decoder(
    decoder: Decoder,
    rank: int,
    ranks: int,
    all_reduce: AllReduce,
    block: Callable[..., Tensor] = sharded_block,
    split_rows: Callable[[Tensor, int, int], Tensor] = split_rows,
    split_columns: Callable[[Tensor, int, int], Tensor] = split_columns,
) -> Decoder:
    """A rank's decoder out of a whole one: copies of its parts of the layers; the embedding is
    shared with the whole one. Its head gives the logits of the rank's part of the vocabulary.

    Args:
        block: one of your own in the place of `sharded_block`; and so the other two.

    Raises:
        UserError: it can't be split over so many ranks.
    """
    small = shard_config(decoder.config, ranks)
    check_rank(rank, ranks)
    with torch.device("meta"):
        part = Decoder(small)
    state = dict(decoder.state_dict())
    cut = {"rows": split_rows, "columns": split_columns}
    for name, tensor in state.items():
        if kind := CUT.get(EXPERT.sub(".", part_of(name))):
            state[name] = cut[kind](tensor, rank, ranks)
    part.load_state_dict(state, assign=True)
    return as_rank(part.requires_grad_(False).eval(), rank, ranks, all_reduce, block)


def part_of(name: str) -> str:
    """`layers.3.attention.query.weight` → `attention.query`, as `CUT` has it."""
    parts = name.split(".")
    return ".".join(parts[2:-1] if parts[0] == "layers" else parts[:-1])


def as_rank(
    part: Decoder,
    rank: int,
    ranks: int,
    all_reduce: AllReduce,
    block: Callable[..., Tensor] = sharded_block,
) -> Decoder:
    """A decoder of a rank's weights that computes as that rank: with sums over all ranks in each
    layer, and a head of its part of the vocabulary, which lies where the whole head lies.

    Args:
        block: one of your own in the place of `sharded_block`.
    """
    rows = part.output.weight[share(part.config.vocabulary, rank, ranks)]
    head = Linear(1, 1)  # it draws weights of its own first: few
    head.in_features, head.out_features = rows.shape[1], rows.shape[0]
    head.weight = nn.Parameter(rows, requires_grad=False)
    twin = copy.copy(part)
    twin._modules = part._modules | {"output": head}  # the part itself keeps its whole head
    own_block = partial(block, all_reduce=all_reduce)
    return cast(Decoder, twin.with_parts(Parts(block=own_block)))
