"""The KV cache: keys and values of past positions, kept because they never change.

Pope et al., "Efficiently Scaling Transformer Inference" (2022), section 2.1. Built in lesson 06.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError
from decodeloop.model.attention import causal_mask
from decodeloop.model.config import ModelConfig
from decodeloop.model.flash import causal_attention
from decodeloop.model.window import mask_for


class Attends(Protocol):
    """What the decoder asks of what its tokens attend to, and all that it knows of it.

    One forward pass of T tokens asks once for their `positions(T)`, calls `attend` once for each
    layer, then `advance(T)` once.
    """

    def positions(self, T: int) -> Tensor:
        """Where T new tokens stand: (T,), or (B, T) where rows differ; on the device of the cache.

        Not always the length and on: after an eviction, or with several texts in one row, they
        stand elsewhere.
        """

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Store k and v after what is there, and attend to all of it.

        `mask` None means causal over what is cached and what is new.

        Shapes: q (B, H, T, D), k and v (B, G, T, D), mask broadcastable to (B, H, T, S), where the
        last T of the S keys are the new ones → (B, H, T, D).
        """

    def advance(self, T: int) -> None:
        """The T positions that every layer has now stored become part of what is there."""


class KVCache(Attends, Protocol):
    """An `Attends` that is kept from one forward to the next, and can go back."""

    @property
    def length(self) -> int:
        """How many tokens it has read."""

    def truncate(self, n: int) -> None:
        """Forget all tokens from `n` on: the length becomes n."""

    def select(self, rows: Tensor | Sequence[int]) -> None:
        """Row i becomes what row rows[i] was; a row may be taken several times, or never."""


@dataclass(frozen=True)
class BlockTables:
    """Where the tokens of one step lie: several texts in one row, each in blocks of one pool.

    A text's positions i · size to (i + 1) · size - 1 are in block `tables[text, i]` of the pool;
    what stands in a row of `tables` after the last block that its text needs is never read. New
    token n belongs to `texts[n]`, stands at `positions[n]`, and may attend to positions 0 to
    `positions[n]` of its text. A text's new tokens are neighbours, in the order of its positions.

    Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention"
    (2023), section 4.

    Shapes: keys and values (L, blocks, G, size, D); texts and positions (N,), whole numbers;
    tables (texts, most), whole numbers.
    """

    keys: Tensor
    values: Tensor
    texts: Tensor
    positions: Tensor
    tables: Tensor

    @property
    def size(self) -> int:
        """How many positions a block has."""
        return self.keys.shape[3]


class NoCache:
    """What stands for no cache: the tokens of one forward attend to each other, and none is kept.

    It attends with `flash.causal_attention`, unless it is given an `attention` of (q, k, v, mask):
    for that `causal_mask` makes a mask, once for all layers. `window` is the model's.
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        *,
        window: int | None = None,
        attention: Callable[..., Tensor] | None = None,
        causal_mask: Callable[..., Tensor] = causal_mask,
    ) -> None:
        self._device, self._window, self._attention = device, window, attention
        self._causal = lru_cache(maxsize=1)(partial(causal_mask, device=device))

    def positions(self, T: int) -> Tensor:
        return torch.arange(T, device=self._device)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        if self._attention is None:
            return causal_attention(q, k, v, mask, self._window)
        T = q.shape[2]
        if self._window is not None:
            mask = mask_for(T, T, mask, self._window, q.device)
        return self._attention(q, k, v, self._causal(T) if mask is None else mask)

    def advance(self, T: int) -> None:
        pass  # nothing was stored


class ContiguousKVCache:
    """A cache that is allocated once, at its full length, and filled from the left.

    It attends with `flash.causal_attention`, unless it is given an `attention` of (q, k, v, mask):
    for that `causal_mask` makes the masks.

    Shapes: keys and values are (L, B, G, max_length, D).

    Raises:
        UserError: more positions are appended than there is room for.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        attention: Callable[..., Tensor] | None = None,
        causal_mask: Callable[..., Tensor] = causal_mask,
    ) -> None:
        if batch < 1 or max_length < 1:
            raise UserError(
                f"a cache of batch {batch} and max_length {max_length}: both must be at least 1."
            )
        shape = (config.layers, batch, config.kv_heads, max_length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.head_shape = (config.kv_heads, config.head_dim)
        self._length = 0
        self._attention, self._causal_mask = attention, causal_mask
        self._window = config.window

    @property
    def length(self) -> int:
        return self._length

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    @property
    def max_length(self) -> int:
        return self.keys.shape[3]

    def is_plain(self, dtype: torch.dtype) -> bool:
        """Whether it holds numbers of this type on the CPU, and attends as the library does."""
        own = self._attention is not None or self._window is not None
        return not own and self.keys.is_cpu and self.keys.dtype == dtype

    def check_room(self, T: int) -> None:
        """Raise a `UserError` unless there is room for `T` more positions."""
        if self._length + T > self.max_length:
            raise UserError(
                f"the cache has room for {self.max_length} positions: {self._length} are used and "
                f"{T} more were given; make it longer with new_cache(batch, max_length), "
                f"or truncate it."
            )

    def check_shapes(self, k: Tensor, v: Tensor) -> None:
        """Raise a `ShapeError` unless k and v are (B, G, T, D)."""
        G, D = self.head_shape
        expected = (self.batch, G, k.shape[2], D)
        if tuple(k.shape) != expected or tuple(v.shape) != expected:
            raise ShapeError(
                f"the cache takes keys and values of shape {expected} (B, G, T, D); it was given "
                f"{tuple(k.shape)} and {tuple(v.shape)}: make it for this batch and this model "
                f"with model.new_cache(batch, max_length)."
            )

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v after what is stored; return all keys and all values, which are views.

        Shapes: k and v (B, G, T, D) → two of (B, G, length + T, D).
        """
        self.check_shapes(k, v)
        self.check_room(k.shape[2])
        end = self._length + k.shape[2]
        self.keys[layer, :, :, self._length : end] = k
        self.values[layer, :, :, self._length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def positions(self, T: int) -> Tensor:
        return torch.arange(self.length, self.length + T, device=self.keys.device)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        T = q.shape[2]
        keys, values = self.append(layer, k, v)
        if self._attention is None:
            return causal_attention(q, keys, values, mask, self._window)
        mask = mask_for(T, self._length + T, mask, self._window, q.device, self._causal_mask)
        return self._attention(q, keys, values, mask)

    def check_growth(self, max_length: int) -> None:
        """Raise a `UserError` if that is less than there is room for now."""
        if max_length < self.max_length:
            raise UserError(
                f"grow({max_length}): the cache has room for {self.max_length} positions already: "
                f"expected at least as many."
            )

    def grow(self, max_length: int) -> None:
        """Make room for `max_length` positions in all; what is stored stays.

        Raises:
            UserError: that is less than there is room for now.
        """
        self.check_growth(max_length)
        shape = (*self.keys.shape[:3], max_length, self.keys.shape[4])
        keys, values = self.keys.new_zeros(shape), self.values.new_zeros(shape)
        keys[:, :, :, : self._length] = self.keys[:, :, :, : self._length]
        values[:, :, :, : self._length] = self.values[:, :, :, : self._length]
        self.keys, self.values = keys, values  # at the end: nothing is lost if it is interrupted

    def advance(self, T: int) -> None:
        if not 0 <= T <= self.max_length - self._length:
            raise UserError(
                f"advance({T}): the cache has {self._length} of {self.max_length} positions; "
                f"advance once for each forward, by the number of its tokens."
            )
        self._length += T

    def truncate(self, n: int) -> None:
        check_truncate(n, self._length)
        self._length = n

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = row_numbers(rows, self.batch).to(self.keys.device)
        self.keys = self.keys.index_select(1, index)
        self.values = self.values.index_select(1, index)


def check_truncate(n: int, length: int) -> None:
    """Raise a `UserError` unless a cache of this length can become n long by forgetting."""
    if not 0 <= n <= length:
        raise UserError(f"truncate({n}): expected 0 to {length}, the cache's length.")


def row_numbers(rows: Tensor | Sequence[int], batch: int) -> Tensor:
    """The rows that `select` was asked for. Shapes: → (n,), whole numbers.

    Raises:
        ShapeError: it is not a list of whole numbers, or an empty one.
        UserError: there is no such row.
    """
    index = torch.as_tensor(rows)
    whole = not index.is_floating_point() and index.dtype != torch.bool
    if index.ndim != 1 or index.numel() == 0 or not whole:
        raise ShapeError(
            f"select: rows of shape {tuple(index.shape)} and type {index.dtype}: expected a "
            f"list of row numbers, at least one."
        )
    if int(index.min()) < 0 or int(index.max()) >= batch:
        raise UserError(f"select: rows {index.tolist()}: the cache has rows 0 to {batch - 1}.")
    return index
