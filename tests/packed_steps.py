"""Steps of several texts over block tables, and how the plain path takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.model import BlockTables, ModelConfig


def pool_with(
    config: ModelConfig, cached: Sequence[int], new: Sequence[int], size: int, seed: int = 0
) -> BlockTables:
    """Texts with so many cached and new positions, their blocks in random order; what is not
    cached is NaN, and what a table needs no block for is no block."""
    g = torch.Generator().manual_seed(seed)
    needed = [-(-(old + some) // size) for old, some in zip(cached, new, strict=True)]
    order = torch.randperm(sum(needed) + 3, generator=g).tolist()
    shape = (config.layers, len(order), config.kv_heads, size, config.head_dim)
    keys, values = torch.full(shape, math.nan), torch.full(shape, math.nan)
    tables = torch.full((len(new), max(needed) + 1), -7)
    for text, (old, count) in enumerate(zip(cached, needed, strict=True)):
        for block in range(count):
            place = order.pop()
            tables[text, block] = place
            n = min(size, max(0, old - block * size))
            for numbers in (keys, values):
                numbers[:, place, :, :n] = torch.randn(
                    config.layers, config.kv_heads, n, config.head_dim, generator=g
                )
    texts = torch.arange(len(new)).repeat_interleave(torch.tensor(new))
    pieces = [torch.arange(old, old + some) for old, some in zip(cached, new, strict=True)]
    return BlockTables(keys, values, texts, torch.cat(pieces), tables)


def copied(tables: BlockTables) -> BlockTables:
    return BlockTables(
        tables.keys.clone(), tables.values.clone(), tables.texts, tables.positions, tables.tables
    )


def gathered(numbers: Tensor, tables: BlockTables, text: int, length: int) -> Tensor:
    """The first positions of a text, of one layer (blocks, G, size, D) → (G, length, D)."""
    blocks = tables.tables[text, : -(-length // tables.size)]
    return numbers[blocks].transpose(0, 1).flatten(1, 2)[:, :length]


class GatheringStep:
    """An `Attends` over block tables: gathers, and leaves the rest to PyTorch."""

    def __init__(self, tables: BlockTables, plain: bool = True) -> None:
        self.tables, self.plain, self.advanced = tables, plain, 0

    def is_plain(self, dtype: torch.dtype) -> bool:
        return self.plain and self.tables.keys.dtype == dtype and self.tables.keys.is_cpu

    def positions(self, T: int) -> Tensor:
        return self.tables.positions[None]

    def advance(self, T: int) -> None:
        self.advanced += T

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        t, out = self.tables, torch.empty_like(q)
        keys, values = t.keys[layer], t.values[layer]
        blocks = t.tables[t.texts, t.positions // t.size]
        keys[blocks, :, t.positions % t.size] = k[0].transpose(0, 1)
        values[blocks, :, t.positions % t.size] = v[0].transpose(0, 1)
        for n, (text, place) in enumerate(zip(t.texts.tolist(), t.positions.tolist(), strict=True)):
            seen = [gathered(numbers, t, text, place + 1)[None] for numbers in (keys, values)]
            out[:, :, n : n + 1] = F.scaled_dot_product_attention(
                q[:, :, n : n + 1], *seen, enable_gqa=True
            )
        return out
