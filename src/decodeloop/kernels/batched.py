"""A step of many texts: their new tokens in one row, through all layers, over block tables.

What the texts share, the products with the matrices, takes all tokens at once; what they do not,
attention, goes from table to table (`paged`). A few tokens meet matrices in fp32 or int8 in the
loops of `compiled`, more of them in PyTorch's products; inputs in 8 bits have loops of their own
(`w8a8`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import compiled, paged, w8a8
from decodeloop.kernels.int8 import ROWS
from decodeloop.model import BlockTables, ModelConfig

Array = np.ndarray[Any, Any]
One = tuple[Array, Array]  # a matrix, and a scale for each row
Two = tuple[Array, Array, Array, Array]
Three = tuple[Array, Array, Array, Array, Array, Array]
FEW = 8  # tokens; with more, PyTorch's products in fp32 are faster than loops
SLAB = 256  # tokens whose attention is in memory at a time


class Layer(NamedTuple):
    """The weights of one layer, by what reads them together."""

    attention_norm: Array
    query_key_value: Three
    output: One
    feed_forward_norm: Array
    gate_up: Two
    down: One

    @classmethod
    def of(cls, arrays: tuple[Array, ...]) -> Layer:
        """From the order of `compiled.decode_layer`."""
        norm, *matrices = arrays
        q, k, v, output = (cast(One, tuple(matrices[i : i + 2])) for i in (0, 2, 4, 6))
        second, gate, s_gate, up, s_up, down, s_down = matrices[8:]
        return cls(norm, (*q, *k, *v), output, second, (gate, s_gate, up, s_up), (down, s_down))

    @property
    def queries(self) -> int:
        """H·D"""
        return len(self.query_key_value[0])

    @property
    def inner(self) -> int:
        """F"""
        return len(self.gate_up[0])


@dataclass(frozen=True)
class Places:
    """Where the tokens of a step stand, and who attends to what when: the same for all layers."""

    cos: Array  # (N, D/2)
    sin: Array
    blocks: Array  # (N,): which block each new token goes to
    offsets: Array  # (N,): and its place there
    texts: Array  # (N,)
    positions: Array  # (N,)
    tables: Array  # (texts, most)
    slabs: list[tuple[slice, Array]]  # some tokens, and the jobs of `paged.attend_chunks` for them


def pieces_of(texts: Array) -> list[tuple[int, int]]:
    """From where to where each text's tokens stand in the row.

    >>> pieces_of(np.array([4, 4, 0, 7, 7]))
    [(0, 2), (2, 3), (3, 5)]
    """
    ends = [*(np.flatnonzero(np.diff(texts)) + 1).tolist(), len(texts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def jobs_of(texts: Array, positions: Array) -> Array:
    """Tokens from, to, and the chunk that they meet: (J, 3). A text's tokens go together, `TILE`
    at most; the chunks are those that the last of them sees."""
    return np.array(
        [
            (begin, min(begin + paged.TILE, last), chunk)
            for first, last in pieces_of(texts)
            for begin in range(first, last, paged.TILE)
            for chunk in range(positions[min(begin + paged.TILE, last) - 1] // paged.CHUNK + 1)
        ],
        np.int64,
    )


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


def places_of(tables: BlockTables, frequencies: Array) -> Places:
    """What `Places` says, of tables that were checked; frequencies (D/2,) are the rotation's."""
    texts, positions, table = (
        x.numpy().astype(np.int64, copy=False)
        for x in (tables.texts, tables.positions, tables.tables)
    )
    angles = positions[:, None].astype(np.float32) * frequencies
    slabs = [slice(n, min(n + SLAB, len(texts))) for n in range(0, len(texts), SLAB)]
    return Places(
        np.cos(angles),
        np.sin(angles),
        table[texts, positions // tables.size],
        positions % tables.size,
        texts,
        positions,
        np.ascontiguousarray(table),
        [(slab, jobs_of(texts[slab], positions[slab])) for slab in slabs],
    )


def attend(projected: Array, keys: Array, values: Array, places: Places, out: Array) -> None:
    """Store the new keys and values of one layer, and attend. projected (N, H + 2·G, D): queries,
    keys, values, not yet turned; keys and values (blocks, G, size, D) → out (N, H, D)"""
    paged.turn_and_store(
        projected, places.cos, places.sin, places.blocks, places.offsets, keys, values
    )
    for slab, jobs in places.slabs:
        positions = places.positions[slab]
        _, H, D = out.shape
        shape = (len(positions), int(positions.max()) // paged.CHUNK + 1, H)
        part = np.empty((*shape, D), np.float32)
        peak, mass = np.empty(shape, np.float32), np.empty(shape, np.float32)
        paged.attend_chunks(
            projected[slab], keys, values, places.tables, places.texts[slab], positions, jobs,
            part, peak, mass,
        )  # fmt: skip
        paged.merge_chunks(part, peak, mass, positions, out[slab])


# one layer, in three ways: x (N, C) in place


def layer_in_8_bits(
    x: Array, layer: Layer, keys: Array, values: Array, places: Places, eps: float
) -> None:
    """One layer whose matrices and their inputs have 8 bits."""
    N, C = x.shape
    _, G, _, D = keys.shape
    queries = layer.queries
    projected = np.empty((N, queries + 2 * G * D), np.float32)
    normed, inputs = np.empty_like(x), w8a8.room(N, C)
    w8a8.norm_and_quantize(x, layer.attention_norm, eps, normed, *inputs)
    w8a8.query_key_value(*layer.query_key_value, *inputs, projected)
    attended = np.empty((N, queries // D, D), np.float32)
    attend(projected.reshape(N, -1, D), keys, values, places, attended)
    heads = w8a8.room(N, queries)
    w8a8.quantize_rows(attended.reshape(N, queries), *heads)
    w8a8.product(*layer.output, *heads, normed)
    x += normed
    w8a8.norm_and_quantize(x, layer.feed_forward_norm, eps, normed, *inputs)
    inner, hidden = np.empty((2, N, layer.inner), np.float32), w8a8.room(N, layer.inner)
    w8a8.gated(*layer.gate_up, *inputs, inner)
    w8a8.silu_and_quantize(inner, *hidden)
    w8a8.product(*layer.down, *hidden, normed)
    x += normed


def layer_of_few(
    x: Array, layer: Layer, keys: Array, values: Array, places: Places, eps: float
) -> None:
    """One layer for a few tokens: each matrix is read once, in loops."""
    N = len(x)
    _, G, _, D = keys.shape
    queries = layer.queries
    normed = np.empty_like(x)
    compiled.rms_norm_rows(x, layer.attention_norm, eps, normed)
    projected = np.zeros((N, queries + 2 * G * D), np.float32)
    compiled.query_key_value(*layer.query_key_value, normed, projected)
    attended = np.empty((N, queries // D, D), np.float32)
    attend(projected.reshape(N, -1, D), keys, values, places, attended)
    compiled.add_product(*layer.output, attended.reshape(N, queries), x)
    compiled.rms_norm_rows(x, layer.feed_forward_norm, eps, normed)
    inner = np.zeros((2, N, layer.inner), np.float32)
    compiled.gated(*layer.gate_up, normed, inner)
    compiled.add_product(*layer.down, inner[0], x)


def linear(x: Tensor, matrix: Array, scale: Array) -> Tensor:
    """x times a matrix in fp32, or in int8, which is made floats again some rows at a time. The
    inputs stay in fp32, as those of `compiled` do. x (N, C), matrix (R, C), scale (R,) → (N, R)"""
    weight = torch.from_numpy(matrix)
    if weight.dtype == torch.float32:
        return F.linear(x, weight)
    products = [F.linear(x, rows.float()) for rows in weight.split(ROWS)]
    return torch.cat(products, dim=-1).mul_(torch.from_numpy(scale))


def layer_of_many(
    x: Array, layer: Layer, keys: Array, values: Array, places: Places, eps: float
) -> None:
    """One layer for many tokens: PyTorch's products."""
    N, D = len(x), keys.shape[-1]
    q, s_q, k, s_k, v, s_v = layer.query_key_value
    gate, s_gate, up, s_up = layer.gate_up
    normed, stream = np.empty_like(x), torch.from_numpy(x)
    inputs = torch.from_numpy(normed)
    compiled.rms_norm_rows(x, layer.attention_norm, eps, normed)
    three = [linear(inputs, *one) for one in ((q, s_q), (k, s_k), (v, s_v))]
    projected = torch.cat(three, dim=-1).view(N, -1, D).numpy()
    attended = torch.empty(N, layer.queries)
    attend(projected, keys, values, places, attended.view(N, -1, D).numpy())
    stream += linear(attended, *layer.output)
    compiled.rms_norm_rows(x, layer.feed_forward_norm, eps, normed)
    inner = F.silu(linear(inputs, gate, s_gate), inplace=True).mul_(linear(inputs, up, s_up))
    stream += linear(inner, *layer.down)


def way_of(N: int, eight_bits: bool) -> Callable[..., None]:
    """How a layer takes N tokens."""
    if eight_bits:
        return layer_in_8_bits
    return layer_of_few if N <= FEW else layer_of_many
