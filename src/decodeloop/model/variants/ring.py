"""Caches that forget: a ring of the last keys and values, and a stream that may go on forever.

The rolling buffer: Jiang et al., "Mistral 7B" (2023), section 2. Sinks, and positions within the
cache: Xiao et al. (2023), section 3.2. Built in lesson 18.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.model.attention import check_mask
from decodeloop.model.block import rotary_angles, rotate
from decodeloop.model.config import ModelConfig
from decodeloop.model.kv_cache import row_numbers
from decodeloop.model.multi_head import grouped_query_attention
from decodeloop.model.window import check_window


class RingKVCache:
    """A `KVCache` of `sinks` + `window` places, however long the text: equal to the whole cache
    under `window_mask(T, S, window, sinks)`.

    The first tokens keep their places; of the others, position p goes where p - window was. All
    positions stay those of the text. `window` is the model's if not given; `max_length` plays no
    part, since a ring is never full.

    Shapes: keys and values (L, B, G, sinks + window, D).

    >>> from functools import partial
    >>> from decodeloop.model import TINY, Decoder, Parts
    >>> model = Decoder(TINY, Parts(cache=partial(RingKVCache, window=4, sinks=1)))
    >>> cache = model.new_cache(1, 100)
    >>> with torch.inference_mode():
    ...     hidden = model.hidden(torch.arange(20)[None], cache)
    >>> cache.length, cache.keys.shape[3]
    (20, 5)

    Raises:
        UserError: there is no window.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        window: int | None = None,
        sinks: int = 0,
    ) -> None:
        window = window or config.window
        if window is None:
            raise UserError(
                "a ring needs a window: this model sees all positions; pass window=, which makes "
                "it another model."
            )
        check_window(window, sinks)
        if batch < 1:
            raise UserError(f"a cache of batch {batch}: it must be at least 1.")
        self.window, self.sinks, self._length = window, sinks, 0
        shape = (config.layers, batch, config.kv_heads, sinks + window, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def length(self) -> int:
        return self._length

    def positions(self, T: int) -> Tensor:
        return torch.arange(self._length, self._length + T, device=self.keys.device)

    def kept(self, n: int) -> Tensor:
        """The positions that a text of n tokens has in the ring, in order. Shapes: → (kept,)."""
        recent = max(self.sinks, n - self.window)
        first = torch.arange(min(self.sinks, n))
        return torch.cat((first, torch.arange(recent, max(n, recent)))).to(self.keys.device)

    def places(self, positions: Tensor) -> Tensor:
        """Where each position goes. Shapes: (n,) → (n,)."""
        turning = self.sinks + (positions - self.sinks) % self.window
        return torch.where(positions < self.sinks, positions, turning)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        T = q.shape[2]
        if mask is not None:
            raise UserError(
                "a ring was given a mask of its own: expected none, since a ring has no place for "
                "what the mask says of tokens that it forgot; read each text by itself."
            )
        # what is kept and what is new, side by side: a long prompt overwrites what its own first
        # tokens still have to see, so that nothing is written before all have seen
        old, new = self.kept(self._length), self.positions(T)
        seen, places = torch.cat((old, new)), self.places(old)
        keys = torch.cat((self.keys[layer][:, :, places], k), 2)
        values = torch.cat((self.values[layer][:, :, places], v), 2)
        distance = new[:, None] - seen
        allowed = (distance >= 0) & ((distance < self.window) | (seen < self.sinks))
        out = grouped_query_attention(q, keys, values, allowed)

        stay = self.kept(self._length + T)
        stay = stay[stay >= self._length]
        places, index = self.places(stay), stay - self._length
        self.keys[layer][:, :, places] = k[:, :, index]
        self.values[layer][:, :, places] = v[:, :, index]
        return out

    def advance(self, T: int) -> None:
        if T < 0:
            raise UserError(f"advance({T}): expected the number of tokens of a forward.")
        self._length += T

    def truncate(self, n: int) -> None:
        """The length becomes n, if what a text of n tokens needs is still there.

        Raises:
            UserError: it was overwritten, or n is more than the length.
        """
        whole = self._length <= self.sinks + self.window
        lowest = 0 if whole else self._length - 1
        if not lowest <= n <= self._length:
            raise UserError(
                f"truncate({n}): the ring has read {self._length} tokens and has overwritten what "
                f"came before its window: expected {lowest} to {self._length}; read the text again."
            )
        self._length = n

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = row_numbers(rows, self.keys.shape[1]).to(self.keys.device)
        self.keys, self.values = (x.index_select(1, index) for x in (self.keys, self.values))


class StreamingKVCache:
    """A `KVCache` for a text without an end: the first `sinks` tokens and the last `window`, the
    newest included, at positions counted within the cache.

    What was forgotten leaves no gap: the kept keys are turned back by as many positions as were
    dropped before them, so that no distance is ever larger than the model has met. Tokens that come
    one at a time stand at sinks + window - 1 at most; a piece of T new ones goes T - 1 beyond.

    Shapes: keys and values (L, B, G, kept, D).
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        *,
        window: int,
        sinks: int = 4,
    ) -> None:
        check_window(window, sinks)
        self.config, self.window, self.sinks = config, window, sinks
        self._length = 0  # how many tokens were read
        shape = (config.layers, batch, config.kv_heads, 0, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self._new: list[tuple[Tensor, Tensor]] = []  # of the forward in hand, a pair for each layer

    @property
    def length(self) -> int:
        return self._length

    def positions(self, T: int) -> Tensor:
        kept = self.keys.shape[3]
        return torch.arange(kept, kept + T, device=self.keys.device)

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys = torch.cat((self.keys[layer], k), 2)
        values = torch.cat((self.values[layer], v), 2)
        seen, new = torch.arange(keys.shape[2], device=q.device), self.positions(q.shape[2])
        distance = new[:, None] - seen
        allowed = (distance >= 0) & ((distance < self.window) | (seen < self.sinks))
        if mask is not None:
            check_mask(mask, (*mask.shape[:-2], *allowed.shape))
            allowed = allowed & mask
        self._new = [*self._new[:layer], (k, v)]
        return grouped_query_attention(q, keys, values, allowed)

    def advance(self, T: int) -> None:
        """Take the new tokens in, then forget the oldest that the next one would not see."""
        keys, values = (torch.stack(part) for part in zip(*self._new, strict=True))
        keys, values = torch.cat((self.keys, keys), 3), torch.cat((self.values, values), 3)
        self._new, self._length = [], self._length + T
        dropped = max(0, keys.shape[3] - self.sinks - (self.window - 1))
        if dropped:
            recent = slice(self.sinks + dropped, None)
            turned = turn_back(keys[:, :, :, recent], dropped, self.config)
            keys = torch.cat((keys[:, :, :, : self.sinks], turned), 3)
            values = torch.cat((values[:, :, :, : self.sinks], values[:, :, :, recent]), 3)
        self.keys, self.values = keys, values

    def truncate(self, n: int) -> None:
        """The length becomes n, while nothing has been forgotten.

        Raises:
            UserError: something was, or n is more than the length.
        """
        kept = self.keys.shape[3]
        if not 0 <= n <= self._length or (n < self._length and kept < self._length):
            raise UserError(
                f"truncate({n}): the stream has read {self._length} tokens and holds {kept}: what "
                f"it forgot can't be had back; read the text again."
            )
        self._length = n
        self.keys, self.values = self.keys[:, :, :, :n], self.values[:, :, :, :n]

    def select(self, rows: Tensor | Sequence[int]) -> None:
        index = row_numbers(rows, self.keys.shape[1]).to(self.keys.device)
        self.keys, self.values = (x.index_select(1, index) for x in (self.keys, self.values))


def turn_back(keys: Tensor, shift: int, config: ModelConfig) -> Tensor:
    """Keys that were turned by their positions p, as if by p - shift. In layers that turn nothing
    they stay. Shapes: (L, B, G, n, D) → the same.

    Raises:
        UserError: the model's positions are stretched by the length of the text, or by a factor
            that can't be taken back by a turn.
    """
    scaling = config.rope_scaling
    if scaling is not None and scaling.kind == "dynamic":
        raise UserError("a stream can't be kept of a model whose positions grow with the text.")
    back = torch.tensor([-shift], device=keys.device)
    cos, sin = rotary_angles(back, config.head_dim, config.rope_base, scaling)  # (1, D/2)
    scale = 1.0 if scaling is None else scaling.attention
    cos, sin = cos / scale, sin / scale  # it is in the keys already
    layers = [
        rotate(layer, cos, sin) if config.turns(number) else layer
        for number, layer in enumerate(keys)
    ]
    return torch.stack(layers)
