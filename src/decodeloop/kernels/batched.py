"""A step of many texts: their new tokens in one row, through all layers, over block tables.

What the texts share, the products with the matrices, takes all tokens at once; what they do not,
attention, goes from table to table (`paged`). A few tokens meet matrices in fp32 or int8 in the
loops of `compiled`, more of them in PyTorch's products; inputs in 8 bits have loops of their own
(`w8a8`). With int8 weights a text that makes a token and one that reads a prompt are computed as
they are alone, whatever comes with them: the loops for the one, `prefill`'s products for the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import compiled, paged
from decodeloop.kernels.int8 import ROWS
from decodeloop.model import BlockTables, ModelConfig

Array = np.ndarray[Any, Any]
MOST_IN_LOOPS = 8  # tokens; with more, PyTorch's products in fp32 are faster
MOST_ROUNDS = 4  # of so many tokens with int8 weights; with more, made floats once they are faster
SLAB = 256  # tokens whose attention is in memory at a time


class Places(NamedTuple):
    """Where the tokens of a step stand, and who attends to what when: the same for all layers."""

    cos: Array  # (N, D/2)
    sin: Array
    blocks: Array  # (N,): which block each new token goes to
    offsets: Array  # (N,): and its place there
    tables: Array  # (texts, most)
    texts: Array  # (N,)
    positions: Array  # (N,)
    jobs: Array  # (J, 3) and (slabs + 1, 2), as in `paged.attend`
    slabs: Array


def pieces_of(texts: Array) -> list[tuple[int, int]]:
    """From where to where each text's tokens stand in the row.

    >>> pieces_of(np.array([4, 4, 0, 7, 7]))
    [(0, 2), (2, 3), (3, 5)]
    """
    ends = [*(np.flatnonzero(np.diff(texts)) + 1).tolist(), len(texts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def jobs_of(texts: Array, positions: Array) -> tuple[Array, Array]:
    """The jobs of `paged.attend`, and its slabs. A text's tokens go together, `TILE` at most; the
    chunks are those that the last of them sees."""
    jobs: list[tuple[int, int, int]] = []
    slabs = []
    for start in range(0, len(texts), SLAB):
        slabs.append((start, len(jobs)))
        for first, last in pieces_of(texts[start : start + SLAB]):
            for begin in range(first, last, paged.TILE):
                end = min(begin + paged.TILE, last)
                chunks = int(positions[start + end - 1]) // paged.CHUNK + 1
                jobs += [(begin, end, chunk) for chunk in range(chunks)]
    slabs.append((len(texts), len(jobs)))
    return np.array(jobs, np.int64), np.array(slabs, np.int64)


def check_tables(tables: BlockTables, config: ModelConfig, N: int) -> None:
    """Raise unless the tables place N tokens inside of the pool: kernels check no bounds.

    Raises:
        ShapeError: the pool is of another model, or there is not one place for each token.
        UserError: a text, position or block is outside, or tokens are out of order.
    """
    shape, expected = tables.keys.shape, (config.layers, config.kv_heads, config.head_dim)
    if (shape[0], shape[2], shape[4]) != expected or tables.values.shape != shape:
        raise ShapeError(
            f"block tables: keys {tuple(shape)} and values {tuple(tables.values.shape)}: expected "
            f"(L, blocks, G, size, D) with L, G, D = {expected}: make the pool for this model."
        )
    texts, positions, table = (x.numpy() for x in (tables.texts, tables.positions, tables.tables))
    if texts.shape != (N,) or positions.shape != (N,) or table.ndim != 2:
        raise ShapeError(
            f"block tables: texts {texts.shape}, positions {positions.shape} and tables "
            f"{table.shape} for {N} tokens: expected ({N},), ({N},) and (texts, most)."
        )
    same = texts[1:] == texts[:-1]
    if (np.diff(positions)[same] != 1).any() or len(pieces_of(texts)) != len(np.unique(texts)):
        raise UserError(
            "block tables: the tokens of a text must be neighbours, each one position after the "
            "one before it."
        )
    if texts.min() < 0 or texts.max() >= len(table) or positions.min() < 0:
        raise UserError(
            f"block tables: texts {texts.min()} to {texts.max()} with {len(table)} tables, "
            f"positions from {positions.min()}: expected 0 to {len(table) - 1}, and none below 0."
        )
    ends = [last - 1 for _, last in pieces_of(texts)]
    needed = positions[ends] // tables.size + 1
    if needed.max() > table.shape[1]:
        raise UserError(
            f"block tables: a text needs {needed.max()} blocks of {tables.size} positions, its "
            f"table has {table.shape[1]}: give it more blocks."
        )
    used = table[texts[ends]][np.arange(table.shape[1]) < needed[:, None]]
    if used.min() < 0 or used.max() >= shape[1]:
        raise UserError(
            f"block tables: block {used.min() if used.min() < 0 else used.max()}: the pool has "
            f"blocks 0 to {shape[1] - 1}."
        )


def places_of(tables: BlockTables, frequencies: Array, attention: float = 1.0) -> Places:
    """What `Places` says, of tables that were checked; frequencies (D/2,) are the rotation's, and
    `attention` what turned queries and keys are multiplied by."""
    texts, positions, table = (
        x.numpy().astype(np.int64, copy=False)
        for x in (tables.texts, tables.positions, tables.tables)
    )
    angles = positions[:, None].astype(np.float32) * frequencies
    return Places(
        np.cos(angles) * attention,
        np.sin(angles) * attention,
        table[texts, positions // tables.size],
        positions % tables.size,
        np.ascontiguousarray(table),
        texts,
        positions,
        *jobs_of(texts, positions),
    )


class Rows(NamedTuple):
    """Which tokens belong to texts that read a few at once, as in decoding, and which to others;
    and what the products of these take their inputs in."""

    few: Tensor
    many: Tensor
    products: torch.dtype


def rows_of(texts: Array, products: torch.dtype) -> Rows:
    """The tokens of a step, by what is read of their text. texts (N,)"""
    _, place, count = np.unique(texts, return_inverse=True, return_counts=True)
    few = torch.from_numpy(count[place] <= MOST_IN_LOOPS)
    return Rows(few.nonzero()[:, 0], (~few).nonzero()[:, 0], products)


def linear(x: Tensor, matrix: Array, scale: Array, rows: Rows) -> Tensor:
    """x times a matrix in fp32, or in int8. x (N, C), matrix (R, C), scale (R,) → (N, R)"""
    weight = torch.from_numpy(matrix)
    if weight.dtype == torch.float32:
        return F.linear(x, weight)
    out, factor = x.new_zeros(len(x), len(matrix)), torch.from_numpy(scale)
    if len(rows.few) > MOST_ROUNDS * MOST_IN_LOOPS:
        out[rows.few] = product(x[rows.few], weight, factor, torch.float32)
    else:
        for some in rows.few.split(MOST_IN_LOOPS) if len(rows.few) else ():
            found = np.zeros((len(some), len(matrix)), np.float32)
            compiled.add_product(matrix, scale, x[some].numpy(), found)
            out[some] = torch.from_numpy(found)
    if len(rows.many):
        out[rows.many] = product(x[rows.many], weight, factor, rows.products)
    return out


def product(x: Tensor, weight: Tensor, scale: Tensor, products: torch.dtype) -> Tensor:
    """x times an int8 matrix, which becomes numbers of this type some rows at a time."""
    inputs = x.to(products)
    parts = [F.linear(inputs, rows.to(products)).float() for rows in weight.split(ROWS)]
    return torch.cat(parts, dim=-1).mul_(scale)


def layer_of_many(
    x: Array,
    keys: Array,
    values: Array,
    places: Places,
    eps: float,
    weights: tuple[Array, ...],
    rows: Rows,
) -> None:
    """One layer for many tokens, in place, with matrices in fp32 or int8. x (N, C), keys and values
    (blocks, G, size, D); weights as `compiled.decode_layer` has them"""
    N, D = len(x), keys.shape[-1]
    first_norm, q, s_q, k, s_k, v, s_v, output, s_output, second_norm, *rest = weights
    gate, s_gate, up, s_up, down, s_down = rest
    normed, stream = np.empty_like(x), torch.from_numpy(x)
    inputs = torch.from_numpy(normed)
    compiled.rms_norm_rows(x, first_norm, eps, normed)
    three = [linear(inputs, *one, rows) for one in ((q, s_q), (k, s_k), (v, s_v))]
    heads = torch.cat(three, dim=-1).view(N, -1, D).numpy()
    cos, sin, blocks, offsets, *who = places
    paged.turn_and_store(heads, cos, sin, blocks, offsets, keys, values)
    attended = torch.empty(N, len(q))
    attend: Any = paged.attend
    attend(heads, keys, values, *who, attended.view(N, -1, D).numpy())
    stream += linear(attended, output, s_output, rows)
    compiled.rms_norm_rows(x, second_norm, eps, normed)
    inner = F.silu(linear(inputs, gate, s_gate, rows), inplace=True)
    inner *= linear(inputs, up, s_up, rows)
    stream += linear(inner, down, s_down, rows)
