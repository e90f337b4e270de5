"""A decoder whose layers lie in several processes: here is the one who asks, and what each answers.

It has the shape of `Decoder`, so that what drives a model drives this one too: `generate`, streams,
beams, padded batches. A forward pass is two requests. The tokens go to all ranks, which go through
the layers together, and the residual stream comes back from the first; then each rank gives the
logits of its part of the vocabulary. Caches stay where they are: a rank holds its own KV heads.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model import Attends, Decoder, KVCache, ModelConfig
from decodeloop.model.decoder import check_token_ids
from decodeloop.model.kv_cache import check_truncate, row_numbers
from decodeloop.parallel.group import Group
from decodeloop.parallel.traffic import Traffic
from decodeloop.parallel.workers import Workers


class Rank:
    """What a rank of a `SplitModel` answers: a request is a method's name and its arguments."""

    def __init__(self, group: Group, decoder: Decoder) -> None:
        self.group, self.decoder = group, decoder
        self._caches: dict[int, KVCache] = {}

    @torch.inference_mode()
    def __call__(self, method: str, *arguments: Any) -> Any:
        return getattr(self, method)(*arguments)

    def new_cache(self, number: int, batch: int, max_length: int) -> None:
        """A cache of the rank's KV heads, under a number."""
        self._caches[number] = self.decoder.new_cache(batch, max_length)

    def on_cache(self, number: int, method: str, argument: Any) -> None:
        """`truncate` or `select` it."""
        getattr(self._caches[number], method)(argument)

    def hidden(
        self,
        forgotten: Sequence[int],
        number: int | None,
        token_ids: Tensor,
        positions: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor | None:
        """The residual stream, which is the same on every rank: the first gives it."""
        for old in forgotten:
            self._caches.pop(old, None)
        cache = None if number is None else self._caches[number]
        hidden = self.decoder.hidden(token_ids, cache, positions, mask)
        return hidden if self.group.rank == 0 else None

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of the rank's part of the vocabulary."""
        return self.decoder.head(hidden)

    def traffic(self) -> Traffic:
        """What the rank has added up with the others by now."""
        return self.group.traffic


class SplitCache:
    """A KV cache whose keys and values lie with the ranks; here are its length and its size."""

    def __init__(self, workers: Workers, number: int, batch: int, max_length: int) -> None:
        self.number, self.batch, self.max_length = number, batch, max_length
        self.length = 0
        self._workers = workers

    def positions(self, T: int) -> Tensor:
        return torch.arange(self.length, self.length + T)

    def advance(self, T: int) -> None:
        """Its ranks have stored T more positions."""
        self.length += T

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        raise UserError("the keys and values of this cache lie with the ranks: attend there.")

    def check_room(self, batch: int, T: int) -> None:
        """Raise a `UserError` unless there is room for T more positions in this many rows."""
        if batch != self.batch or self.length + T > self.max_length:
            raise UserError(
                f"the cache has {self.batch} rows and room for {self.max_length} positions, of "
                f"which {self.length} are used; {T} more in {batch} rows were given: make it with "
                f"new_cache(batch, max_length)."
            )

    def truncate(self, n: int) -> None:
        check_truncate(n, self.length)
        self._workers.ask("on_cache", self.number, "truncate", n)
        self.length = n

    def select(self, rows: Tensor | Sequence[int]) -> None:
        chosen = row_numbers(rows, self.batch)
        self._workers.ask("on_cache", self.number, "select", chosen)
        self.batch = len(chosen)


class SplitModel:
    """A decoder over the ranks of `workers`, each of which answers as a `Rank` does."""

    device = torch.device("cpu")

    def __init__(self, config: ModelConfig, workers: Workers, dtype: torch.dtype) -> None:
        self.config, self.workers, self.dtype = config, workers, dtype
        self._numbers = count()
        self._forgotten: list[int] = []

    def __call__(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of every position. Shapes: (B, T) → (B, T, V)."""
        return self.head(self.hidden(token_ids, cache, positions, mask))

    def hidden(
        self,
        token_ids: Tensor,
        cache: Attends | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.hidden`.

        Raises:
            UserError: as there; the cache is none of this model's; a mask tells heads apart.
            WorkerError: a rank died.
        """
        check_token_ids(token_ids, self.config.vocabulary)
        if cache is not None:
            if not isinstance(cache, SplitCache):
                raise UserError(
                    f"a model over several ranks was given a {type(cache).__name__}: make the "
                    f"cache with its new_cache(batch, max_length)."
                )
            cache.check_room(*token_ids.shape)
        if mask is not None and mask.ndim > 2 and mask.shape[-3] != 1:
            raise UserError("a mask that tells heads apart can't be split over ranks: give (T, S).")
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        number = None if cache is None else cache.number
        answers = self.workers.ask("hidden", forgotten, number, token_ids, positions, mask)
        if cache is not None:
            cache.advance(token_ids.shape[1])
        hidden: Tensor = answers[0]
        return hidden

    def head(self, hidden: Tensor) -> Tensor:
        """As `Decoder.head`. Shapes: (..., C) → (..., V)."""
        return torch.cat(self.workers.ask("head", hidden), -1)

    def new_cache(self, batch: int, max_length: int) -> SplitCache:
        """An empty cache, a part of it on each rank."""
        number = next(self._numbers)
        self.workers.ask("new_cache", number, batch, max_length)
        cache = SplitCache(self.workers, number, batch, max_length)
        weakref.finalize(cache, self._forgotten.append, number)
        return cache

    def traffic(self) -> list[Traffic]:
        """What each rank has added up with the others so far."""
        return self.workers.ask("traffic")
