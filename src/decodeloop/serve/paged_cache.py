"""A whole KV cache over blocks: rows that begin alike share them until they differ.

Beams, and several answers to one prompt, are `select`: it copies tables, and no keys or values.
Built in lesson 15.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig
from decodeloop.model.attention import check_mask
from decodeloop.model.kv_cache import check_truncate, row_numbers
from decodeloop.model.window import mask_for
from decodeloop.serve.block_manager import BlockManager, NoRoom
from decodeloop.serve.blocks import LIBRARY_PARTS, BlockParts, Table, blocks_needed
from decodeloop.serve.paged_attention import attend_paged
from decodeloop.serve.step import AttendPaged, BlockMemory, Span, Step


class PagedKVCache:
    """A `KVCache` of `batch` rows over a pool of blocks; made as `ContiguousKVCache` is.

    The pool has room for `batch` rows of `max_length` positions, and grows when `select` has made
    more rows that no longer share.

    >>> from decodeloop.model import TINY, Decoder, Parts
    >>> cache = Decoder(TINY, Parts(cache=PagedKVCache)).new_cache(1, 40)
    >>> cache.select([0, 0, 0])
    >>> cache.batch, cache.blocks.count
    (3, 3)

    Raises:
        UserError: more positions are stored than there is room for.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        size: int = 16,
        parts: BlockParts = LIBRARY_PARTS,
        attend_paged: AttendPaged = attend_paged,
    ) -> None:
        check_whole("PagedKVCache", batch=batch, max_length=max_length, size=size)
        count = batch * blocks_needed(max_length, size)
        self.max_length = max_length
        self.blocks = BlockManager(count, size, parts, share=False)
        self.memory = BlockMemory(config, count, size, dtype, device)
        self.rows = [Table() for _ in range(batch)]
        self._attend_paged = attend_paged
        self._step: Step | None = None  # of the forward in hand: one for all layers

    @property
    def length(self) -> int:
        return self.rows[0].stored

    @property
    def batch(self) -> int:
        return len(self.rows)

    def positions(self, T: int) -> Tensor:
        return torch.arange(self.length, self.length + T, device=self.memory.keys.device)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        B, H, T, _ = q.shape
        if self.batch != B:
            raise UserError(
                f"the cache has {self.batch} rows and was given {B}: make it for this batch with "
                f"model.new_cache(batch, max_length), or choose rows with select."
            )
        S = self.length + T
        if self.memory.window is not None:
            mask = mask_for(T, S, mask, self.memory.window, q.device)
        if mask is not None:
            check_mask(mask, (B, H, T, S))
            mask = mask.expand(B, *(1,) * (3 - mask.ndim), *mask.shape[-3:])
        step = self._step_of(T)
        step.store(layer, _one_row(k), _one_row(v))
        keys, values = self.memory.keys[layer], self.memory.values[layer]
        rows = []
        for b, span in enumerate(step.spans):
            own = () if mask is None else (mask[b],)
            rows.append(self._attend_paged(q[b], keys, values, span.blocks, span.start, *own))
        return torch.stack(rows)

    def advance(self, T: int) -> None:
        if self._step is None or self._step.spans[0].count != T:
            raise UserError(
                f"advance({T}): advance once for each forward, by the number of its tokens."
            )
        self._step = None
        for table in self.rows:
            self.blocks.complete(table, T)

    def truncate(self, n: int) -> None:
        check_truncate(n, self.length)
        self._step = None
        for table in self.rows:
            self.blocks.truncate(table, n)

    def select(self, rows: Tensor | Sequence[int]) -> None:
        chosen = row_numbers(rows, self.batch).tolist()
        self._step = None
        before, self.rows = self.rows, [self.blocks.fork(self.rows[row]) for row in chosen]
        for table in before:
            self.blocks.release(table)

    def _step_of(self, T: int) -> Step:
        """Room for T more positions in each row: found for the first layer, used by all."""
        if self._step is None or self._step.spans[0].count != T:
            if self.length + T > self.max_length:
                raise UserError(
                    f"the cache has room for {self.max_length} positions: {self.length} are used "
                    f"and {T} more were given; make it longer with new_cache(batch, max_length), "
                    f"or truncate it."
                )
            for table in self.rows:
                self.memory.copy(self._grow(table, T))
            spans = [Span(table.blocks, table.stored, T) for table in self.rows]
            self._step = Step(self.memory, spans)
        return self._step

    def _grow(self, table: Table, T: int) -> list[tuple[int, int]]:
        try:
            return self.blocks.grow(table, T)
        except NoRoom:  # twice as many blocks, so that little is moved in all
            self.memory.extend(self.blocks.count)
            self.blocks.extend(self.blocks.count)
            return self._grow(table, T)


def _one_row(x: Tensor) -> Tensor:
    """All rows of a batch in one. Shapes: (B, G, T, D) → (1, G, B·T, D)."""
    return x.transpose(0, 1).flatten(1, 2)[None]
