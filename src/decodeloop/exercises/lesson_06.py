"""Exercises of lesson 06: the KV cache, the decoder with it, prefill and decode, its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache as remember
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop import decode
from decodeloop.cost import kv_cache_bytes, preset
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    ContiguousKVCache,
    Decoder,
    ModelConfig,
    causal_mask,
    grouped_query_attention,
)
from decodeloop.model import KVCache as AnyCache

LESSON = "06_kv_cache"

# --- ContiguousKVCache ----------------------------------------------------------------------------
#
# A case is a trace: operations on a new cache, and what each of them gave back.

SMALL = ModelConfig(
    vocabulary=31,
    width=20,
    layers=2,
    heads=6,
    kv_heads=2,
    head_dim=4,
    feed_forward=28,
    context=64,
    rope_base=50.0,
)
DEEPER = ModelConfig(
    vocabulary=23,
    width=12,
    layers=3,
    heads=3,
    kv_heads=1,
    head_dim=6,
    feed_forward=16,
    context=64,
    rope_base=30.0,
)
Operation = tuple[Any, ...]


def visible(T: int, S: int) -> Tensor:
    """(T, S): the T queries are the last T of the S keys, and see nothing after themselves."""
    query = torch.arange(S - T, S)[:, None]
    return torch.arange(S)[None] <= query


class ListedCache:
    """The oracle: a tensor for each layer, grown with `torch.cat` and cut at the length."""

    def __init__(self, config: ModelConfig, batch: int, max_length: int) -> None:
        empty = torch.zeros(batch, config.kv_heads, 0, config.head_dim)
        self.stored = [(empty, empty)] * config.layers
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = (x[:, :, : self.length] for x in self.stored[layer])
        self.stored[layer] = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
        return self.stored[layer]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys, values = self.append(layer, k, v)
        mask = visible(q.shape[2], keys.shape[2]) if mask is None else mask
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)

    def advance(self, T: int) -> None:
        self.length += T

    def truncate(self, n: int) -> None:
        self.length = n

    def select(self, rows: Sequence[int]) -> None:
        self.stored = [(k[list(rows)], v[list(rows)]) for k, v in self.stored]


def drive(
    make: Callable[..., Any],
    config: ModelConfig,
    batch: int,
    max_length: int,
    operations: Sequence[Operation],
) -> list[Any]:
    """Carry out the operations on a new cache; everything that it gives back, in order.

    ("append", T) and ("attend", T, mask or None) go through all layers and then advance by T.
    """
    generator = torch.Generator().manual_seed(6)
    cache = make(config, batch, max_length)
    H, G, D = config.heads, config.kv_heads, config.head_dim
    outputs: list[Any] = [cache.length]
    for name, argument, *more in operations:
        if name == "truncate":
            cache.truncate(argument)
        elif name == "select":
            cache.select(argument)
            batch = len(argument)
        else:
            for layer in range(config.layers):
                k, v = (torch.randn(batch, G, argument, D, generator=generator) for _ in range(2))
                if name == "append":
                    # copies: a view would show what is written later
                    outputs += [x.clone() for x in cache.append(layer, k, v)]
                else:
                    q = 2 * torch.randn(batch, H, argument, D, generator=generator)
                    outputs.append(cache.attend(layer, q, k, v, *more).clone())
            cache.advance(argument)
        outputs.append(cache.length)
    return outputs


def trace(
    label: str, config: ModelConfig, batch: int, max_length: int, *operations: Operation
) -> Case:
    return Case(
        label,
        lambda candidate: drive(candidate, config, batch, max_length, operations),
        lambda: drive(ListedCache, config, batch, max_length, operations),
    )


class Buffered:
    """A right cache without any checks; the mistakes change one of its parts."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        shape = (config.layers, batch, config.kv_heads, max_length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self._length = 0

    @property
    def length(self) -> int:
        return self._length

    def write(self, layer: int, k: Tensor, v: Tensor, start: int) -> int:
        end = start + k.shape[2]
        self.keys[layer, :, :, start:end] = k
        self.values[layer, :, :, start:end] = v
        return end

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        end = self.write(layer, k, v, self._length)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys, values = self.append(layer, k, v)
        mask = causal_mask(q.shape[2], keys.shape[2]) if mask is None else mask
        return attended(q, keys, values, mask)

    def advance(self, T: int) -> None:
        self._length += T

    def truncate(self, n: int) -> None:
        self._length = n

    def select(self, rows: Sequence[int]) -> None:
        self.keys = self.keys[:, list(rows)]
        self.values = self.values[:, list(rows)]


def attended(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """As the learner is told to do it, so that what raises there raises the same here."""
    return grouped_query_attention(q, keys, values, mask)


class AdvancedTwice(Buffered):
    def advance(self, T: int) -> None:
        self._length += 2 * T


class AdvancedByEveryAppend(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        stored = super().append(layer, k, v)
        self._length += k.shape[2]
        return stored


class AdvancedByAppendAlone(AdvancedByEveryAppend):
    def advance(self, T: int) -> None:
        pass


class AdvancedByAttend(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        output = super().attend(layer, q, k, v, mask)
        self._length += q.shape[2]
        return output


class NeverAdvanced(Buffered):
    def advance(self, T: int) -> None:
        pass


class AdvancedByOne(Buffered):
    def advance(self, T: int) -> None:
        self._length += 1


class LengthOfTheLast(Buffered):
    def advance(self, T: int) -> None:
        self._length = T


class AlwaysAtTheStart(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.write(layer, k, v, 0)
        end = self._length + k.shape[2]
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class OnlyTheNew(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.write(layer, k, v, self._length)
        return k, v


class OnlyTheOld(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.write(layer, k, v, self._length)
        return self.keys[layer, :, :, : self._length], self.values[layer, :, :, : self._length]


class TheWholeBuffer(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.write(layer, k, v, self._length)
        return self.keys[layer], self.values[layer]


class Swapped(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = super().append(layer, k, v)
        return values, keys


class KeysAsValues(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return super().append(layer, k, k)


class OneStoreForAllLayers(Buffered):
    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return super().append(0, k, v)


class TruncateByZeros(Buffered):
    def truncate(self, n: int) -> None:
        self.keys[:, :, :, n:] = 0.0
        self.values[:, :, :, n:] = 0.0


class TruncateOneTooMany(Buffered):
    def truncate(self, n: int) -> None:
        self._length = max(n - 1, 0)


class TruncateTakesAway(Buffered):
    def truncate(self, n: int) -> None:
        self._length = max(self._length - n, 0)


class PlaceNotTakenBack(Buffered):
    """Counts where to write by itself; `truncate` does not know of that counter."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.place = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.write(layer, k, v, self.place)
        end = self._length + k.shape[2]
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, T: int) -> None:
        self._length += T
        self.place += T


class SelectForgetsValues(Buffered):
    def select(self, rows: Sequence[int]) -> None:
        self.keys = self.keys[:, list(rows)]


class SelectsLayers(Buffered):
    def select(self, rows: Sequence[int]) -> None:
        self.keys, self.values = self.keys[list(rows)], self.values[list(rows)]


class SelectionDropped(Buffered):
    def select(self, rows: Sequence[int]) -> None:
        self.keys.index_select(1, torch.as_tensor(rows))
        self.values.index_select(1, torch.as_tensor(rows))


class SelectOverwrites(Buffered):
    def select(self, rows: Sequence[int]) -> None:
        for place, row in enumerate(rows):
            self.keys[:, place] = self.keys[:, row]
            self.values[:, place] = self.values[:, row]


class AttendsToTheWholeBuffer(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        self.append(layer, k, v)
        keys, values = self.keys[layer], self.values[layer]
        mask = causal_mask(q.shape[2], keys.shape[2]) if mask is None else mask
        return attended(q, keys, values, mask)


class WithoutMask(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return attended(q, *self.append(layer, k, v), mask)


class MaskNotShifted(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys, values = self.append(layer, k, v)
        T, S = q.shape[2], keys.shape[2]
        if mask is None and T > 1:
            mask = torch.ones(T, S, dtype=torch.bool).tril()
        return attended(q, keys, values, mask)


class MaskNotShiftedNorForOne(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys, values = self.append(layer, k, v)
        if mask is None:
            mask = torch.ones(q.shape[2], keys.shape[2], dtype=torch.bool).tril()
        return attended(q, keys, values, mask)


class OwnMaskIgnored(Buffered):
    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return super().attend(layer, q, k, v)


HOLES = torch.ones(2, 1, 3, 5, dtype=torch.bool)
HOLES[0, :, :, :2] = False  # the first two places of row 0 are padding
HOLES[1, :, 0, 3:] = False

CONTIGUOUS_KV_CACHE = Exercise(
    name="ContiguousKVCache",
    lesson=LESSON,
    library=ContiguousKVCache,
    minutes=17,
    difficulty=3,
    cases=(
        trace("append 3 positions", SMALL, 1, 30, ("append", 3)),
        trace(
            "append 3, 1 and 2 positions", SMALL, 2, 30, ("append", 3), ("append", 1), ("append", 2)
        ),
        trace("attend: a prompt of 4", SMALL, 1, 30, ("attend", 4)),
        trace(
            "attend: a prompt of 4, then one at a time",
            SMALL,
            2,
            40,
            ("attend", 4),
            ("attend", 1),
            ("attend", 1),
        ),
        trace("attend: 4, then 3 at once", SMALL, 1, 40, ("attend", 4), ("attend", 3)),
        trace(
            "attend with a mask of its own",
            SMALL,
            2,
            40,
            ("attend", 2, None),
            ("attend", 3, HOLES),
        ),
        trace("three layers, one KV head", DEEPER, 3, 40, ("attend", 3), ("append", 2)),
        trace("filled to the last place", SMALL, 1, 5, ("append", 4), ("append", 1)),
        trace(
            "truncate to 3, then go on",
            SMALL,
            1,
            40,
            ("append", 5),
            ("truncate", 3),
            ("append", 2),
            ("attend", 1),
        ),
        trace(
            "truncate to 0: a second prompt",
            SMALL,
            2,
            40,
            ("attend", 4),
            ("attend", 1),
            ("truncate", 0),
            ("attend", 3),
            ("append", 1),
        ),
        trace(
            "truncate to the length it has",
            SMALL,
            1,
            40,
            ("append", 4),
            ("truncate", 4),
            ("append", 1),
        ),
        trace(
            "select rows 1 and 0",
            SMALL,
            2,
            40,
            ("append", 3),
            ("select", [1, 0]),
            ("append", 1),
        ),
        trace(
            "select a row twice",
            SMALL,
            3,
            40,
            ("attend", 3),
            ("select", [2, 2, 0]),
            ("append", 1),
            ("select", [1, 2, 0]),
            ("attend", 2),
        ),
        trace(
            "select two rows of three, then one of two",
            SMALL,
            3,
            40,
            ("attend", 3),
            ("select", [2, 1]),
            ("attend", 2),
            ("select", [1]),
            ("append", 1),
        ),
    ),
    mistakes=(
        Mistake(
            "advanced twice",
            "The length grows by twice the number of new positions, so every second place stays "
            "empty: a key of zeros, which still takes its share. `advance(T)` adds T, once.",
            AdvancedTwice,
        ),
        Mistake(
            "advanced by every append",
            "`append` must not change the length. It is called once for each layer, and all layers "
            "of one forward write to the same places; only `advance`, called once at the end, moves "
            "on. Compare `cache.length` before and after one append.",
            AdvancedByEveryAppend,
        ),
        Mistake(
            "advanced by append alone",
            "You move on in `append` instead of in `advance`. But `append` is called once for each "
            "layer: with 30 layers the length would be 30 times too large. Leave the length to "
            "`advance`.",
            AdvancedByAppendAlone,
        ),
        Mistake(
            "advanced by attend",
            "`attend` must not change the length: it is called once for each layer, and the next "
            "layer has to write to the same places. Only `advance` moves on.",
            AdvancedByAttend,
        ),
        Mistake(
            "never advanced",
            "The length stays what it was, so each token overwrites the one before. `advance(T)` adds "
            "T to the length.",
            NeverAdvanced,
        ),
        Mistake(
            "advanced by one",
            "`advance(T)` adds 1, whatever T is: right in decode, wrong after a prompt. It is told how "
            "many positions the forward had.",
            AdvancedByOne,
        ),
        Mistake(
            "the length of the last forward",
            "`advance(T)` sets the length to T; it should add T to what is there already.",
            LengthOfTheLast,
        ),
        Mistake(
            "always at the start",
            "You always write at place 0, so the new keys overwrite the oldest. They belong after what "
            "is stored: from `length` to `length + T`.",
            AlwaysAtTheStart,
        ),
        Mistake(
            "only the new keys",
            "`append` gives back what it was given: T positions. It should give back all that is "
            "stored by now, `length + T` positions, or there would be nothing to remember.",
            OnlyTheNew,
        ),
        Mistake(
            "only the old keys",
            "`append` gives back what was stored before, without the new positions. A token may attend "
            "to itself: give back places 0 to `length + T`.",
            OnlyTheOld,
        ),
        Mistake(
            "the whole buffer",
            "`append` gives back all `max_length` places, those that are still empty too. A key of "
            "zeros has the score 0, which takes a share like any other. Cut at `length + T`.",
            TheWholeBuffer,
        ),
        Mistake(
            "keys and values swapped",
            "Keys stand where values belong, and the other way round. `append` gives back the keys "
            "first.",
            Swapped,
        ),
        Mistake(
            "keys stored as values",
            "The values that come back are the keys: look at the line that stores `v`.",
            KeysAsValues,
        ),
        Mistake(
            "one store for all layers",
            "All layers write to the same place, so each overwrites what the one before has stored. "
            "`layer` is the first index of `self.keys` and `self.values`.",
            OneStoreForAllLayers,
        ),
        Mistake(
            "truncate by zeros",
            "You wipe the places from n on, but the length stays. Zeros are keys like any other; what "
            "counts is the length. Set it to n: nothing has to be wiped, since what lies behind the "
            "length is never read.",
            TruncateByZeros,
        ),
        Mistake(
            "truncate off by one",
            "After `truncate(n)` the length is n: positions 0 to n - 1 stay. You keep one fewer.",
            TruncateOneTooMany,
        ),
        Mistake(
            "truncate takes n away",
            "`truncate(n)` says how many positions stay, not how many go: the length becomes n.",
            TruncateTakesAway,
        ),
        Mistake(
            "the place is not taken back",
            "You keep a counter of your own for where to write, and `truncate` does not reset it: the "
            "next keys land behind the cut, and what lies there is never read. Use the length, and "
            "nothing else.",
            PlaceNotTakenBack,
        ),
        Mistake(
            "select forgets the values",
            "`select` reorders the keys but not the values: each row then finds by its own keys what "
            "another row has stored.",
            SelectForgetsValues,
        ),
        Mistake(
            "select takes layers",
            "`select` indexes the first axis, which is the layers. The rows of the batch are the "
            "second axis of (L, B, G, max_length, D).",
            SelectsLayers,
        ),
        Mistake(
            "the selection is dropped",
            "`select` has no effect: `index_select` gives back a new tensor and leaves the old one as "
            "it is. Store what it gives.",
            SelectionDropped,
        ),
        Mistake(
            "select overwrites before it reads",
            "You copy row after row inside the same buffer, so a row may be overwritten before it is "
            "read: with rows [1, 0] both become row 1. Nor do rows go away, or double. Take all rows "
            "at once into a new tensor: `self.keys[:, rows]`.",
            SelectOverwrites,
        ),
        Mistake(
            "attend uses the whole buffer",
            "`attend` takes its keys from `self.keys[layer]`, all `max_length` places of it, those "
            "that are still empty too. Use the keys and values that `append` gave back.",
            AttendsToTheWholeBuffer,
        ),
        Mistake(
            "attend without a mask",
            "Where no mask is given and several tokens are new, each of them sees those that come "
            "after it. None means causal: `causal_mask(T, S)`, with S keys in all.",
            WithoutMask,
        ),
        Mistake(
            "the mask is not shifted",
            "Your mask is right for an empty cache. With n positions cached the first new token stands "
            "at position n, not at 0, and must see all that is before it: the diagonal moves by S - T. "
            "`causal_mask(T, S)` does that.",
            MaskNotShifted,
        ),
        Mistake(
            "the mask is not shifted, not even for one token",
            "A single new token sees only the oldest key: your mask is the top of the causal triangle, "
            "and it should be the bottom. The T queries are the last T of the S keys: "
            "`causal_mask(T, S)`.",
            MaskNotShiftedNorForOne,
        ),
        Mistake(
            "the given mask is ignored",
            "`attend` makes a causal mask even where it was given another one. Make one only if `mask` "
            "is None.",
            OwnMaskIgnored,
        ),
    ),
    hints=(
        "append: the new positions stand at places `self._length` to `self._length + T`, where T is "
        "`k.shape[2]`. Which of the five indices of (L, B, G, max_length, D) do you fix, and which stay `:`?",
        "append: `self.keys[layer, :, :, start:end] = k` writes a slice. `self.keys[layer, :, :, "
        ":end]` reads everything up to the end; it is a view, nothing is copied. The same for the "
        "values.",
        "attend: append first. If `mask` is None, it is `causal_mask(T, S, device=q.device)` with S, "
        "the number of keys that append gave you. Then `grouped_query_attention(q, keys, values, "
        "mask)`.",
        "advance, truncate: they change `self._length` and nothing else. select: it replaces both "
        "buffers; `self.keys = self.keys[:, rows]` takes the rows along the second axis.",
    ),
)

# --- hidden_with_cache ----------------------------------------------------------------------------


@remember
def random_decoder(config: ModelConfig, seed: int = 0) -> Recorded:
    """A decoder whose weights are large enough that every mistake shows."""
    with torch.random.fork_rng(devices=[]):
        model = Recorded(config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        norm = name.endswith("norm.weight")
        parameter.data = 1.0 + 0.3 * drawn if norm else drawn * parameter.shape[-1] ** -0.5
        parameter.requires_grad_(False)
    return model


class Recorded(Decoder):
    """A decoder that counts the positions on which its head was run."""

    head_positions = 0

    def head(self, hidden: Tensor) -> Tensor:
        self.head_positions += hidden.numel() // self.config.width
        return super().head(hidden)


def random_ids(config: ModelConfig, seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocabulary, shape, generator=generator)


def turned(x: Tensor, base: float) -> Tensor:
    """Rotary positions 0, 1, 2, … by complex numbers. Shapes: (B, H, T, D) → same."""
    T, D = x.shape[-2:]
    pairs = torch.complex(*x.chunk(2, dim=-1))
    angles = torch.outer(torch.arange(T), base ** (-torch.arange(0, D, 2) / D))
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((pairs.real, pairs.imag), dim=-1)


def without_any_cache(model: Decoder, token_ids: Tensor) -> Tensor:
    """The oracle: all positions at once, of PyTorch's operators alone. (B, T) → (B, T, C)."""
    config = model.config
    norm = (config.width,), config.norm_eps
    x = model.embedding.weight[token_ids]
    layers: Any = model.layers
    for layer in layers:
        attention, feed_forward = layer.attention, layer.feed_forward
        h = F.rms_norm(x, norm[0], layer.attention_norm.weight, norm[1])
        q, k, v = (
            F.linear(h, w.weight).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
            for w in (attention.query, attention.key, attention.value)
        )
        q, k = turned(q, config.rope_base), turned(k, config.rope_base)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + F.linear(heads.transpose(1, 2).flatten(2), attention.output.weight)
        h = F.rms_norm(x, norm[0], layer.feed_forward_norm.weight, norm[1])
        gated = F.silu(F.linear(h, feed_forward.gate.weight)) * F.linear(h, feed_forward.up.weight)
        x = x + F.linear(gated, feed_forward.down.weight)
    return F.rms_norm(x, norm[0], model.norm.weight, norm[1])


def hidden_with_cache(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    """The residual stream of the new tokens, which follow those in the cache. (B, T) → (B, T, C)."""
    return model.hidden(token_ids, cache)


Parts = Sequence[int]


def fed(
    candidate: Callable[..., Tensor], model: Decoder, texts: Sequence[tuple[Tensor, Parts]]
) -> Any:
    """Each text in parts of these lengths, with a new cache; outputs and lengths as they come."""
    outputs: list[Any] = []
    for token_ids, parts in texts:
        cache = ContiguousKVCache(model.config, token_ids.shape[0], 120)
        for part in token_ids.split(list(parts), dim=1):
            outputs += [candidate(model, part, cache), cache.length]
    return outputs


def fed_expected(model: Decoder, texts: Sequence[tuple[Tensor, Parts]]) -> Any:
    outputs: list[Any] = []
    for token_ids, parts in texts:
        end = 0
        for part in without_any_cache(model, token_ids).split(list(parts), dim=1):
            end += part.shape[1]
            outputs += [part, end]
    return outputs


def feeding(label: str, config: ModelConfig, *texts: tuple[Tensor, Parts]) -> Case:
    return Case(
        label,
        lambda candidate: fed(candidate, random_decoder(config), texts),
        lambda: fed_expected(random_decoder(config), texts),
    )


def taken_back(
    step: Callable[[Decoder, Tensor, AnyCache], Tensor], config: ModelConfig
) -> list[Any]:
    """5 tokens, back to 2, 3 others: the others' output."""
    model = random_decoder(config)
    cache = ContiguousKVCache(config, 1, 120)
    step(model, random_ids(config, 1, 1, 5), cache)
    cache.truncate(2)
    return [step(model, random_ids(config, 2, 1, 3), cache), cache.length]


def taken_back_expected(config: ModelConfig) -> list[Any]:
    text = torch.cat((random_ids(config, 1, 1, 5)[:, :2], random_ids(config, 2, 1, 3)), dim=1)
    return [without_any_cache(random_decoder(config), text)[:, 2:], 5]


def wrong_hidden(
    positions: Callable[[int, int], tuple[int, int]] = lambda n, T: (n, n + T),
    before: Callable[[AnyCache, int], None] = lambda cache, T: None,
    after_layer: Callable[[AnyCache, int], None] = lambda cache, T: None,
    after: Callable[[AnyCache, int], None] = lambda cache, T: cache.advance(T),
    number: Callable[[int], int] = lambda layer: layer,
    attend_to: Callable[..., Tensor] | None = None,
    last_norm: bool = True,
) -> Callable[[Decoder, Tensor, AnyCache], Tensor]:
    """`hidden_with_cache` with one of its steps exchanged, written out of plain operators."""

    def hidden(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
        config, T = model.config, token_ids.shape[1]
        where = torch.arange(*positions(cache.length, T))
        before(cache, T)
        angles = torch.outer(
            where, config.rope_base ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
        )
        turns = torch.polar(torch.ones_like(angles), angles)

        def turn(x: Tensor) -> Tensor:
            pairs = torch.complex(*x.chunk(2, dim=-1)) * turns
            return torch.cat((pairs.real, pairs.imag), dim=-1)

        def norm(x: Tensor, weight: Tensor) -> Tensor:
            return F.rms_norm(x, (config.width,), weight, config.norm_eps)

        x = model.embedding(token_ids)
        layers: Any = model.layers
        for place, layer in enumerate(layers):
            h = norm(x, layer.attention_norm.weight)
            q, k, v = (
                w(h).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
                for w in (layer.attention.query, layer.attention.key, layer.attention.value)
            )
            q, k = turn(q), turn(k)
            if attend_to is None:
                heads = cache.attend(number(place), q, k, v)
            else:
                heads = attend_to(q, k, v)
            x = x + layer.attention.output(heads.transpose(1, 2).flatten(2))
            h, mlp = norm(x, layer.feed_forward_norm.weight), layer.feed_forward
            x = x + mlp.down(F.silu(mlp.gate(h)) * mlp.up(h))
            after_layer(cache, T)
        after(cache, T)
        return norm(x, model.norm.weight) if last_norm else x

    return hidden


def nothing(cache: AnyCache, T: int) -> None:
    pass


def advance(cache: AnyCache, T: int) -> None:
    cache.advance(T)


HIDDEN_WITH_CACHE = Exercise(
    name="hidden_with_cache",
    lesson=LESSON,
    library=hidden_with_cache,
    minutes=8,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        feeding("one prompt of 5, nothing cached", SMALL, (random_ids(SMALL, 3, 1, 5), [5])),
        feeding(
            "a prompt of 4, then three single tokens",
            SMALL,
            (random_ids(SMALL, 4, 1, 7), [4, 1, 1, 1]),
        ),
        feeding("chunks of 3, 2 and 4", DEEPER, (random_ids(DEEPER, 5, 1, 9), [3, 2, 4])),
        feeding("a batch of 2", SMALL, (random_ids(SMALL, 6, 2, 6), [5, 1])),
        feeding(
            "two prompts, one after the other, each with a new cache",
            SMALL,
            (random_ids(SMALL, 7, 1, 4), [3, 1]),
            (random_ids(SMALL, 8, 1, 6), [5, 1]),
        ),
        Case(
            "5 tokens, back to 2 with truncate, then 3 others",
            lambda candidate: taken_back(candidate, SMALL),
            lambda: taken_back_expected(SMALL),
        ),
    ),
    mistakes=(
        Mistake(
            "positions start at 0",
            "Your positions start at 0 at every call. The new tokens follow those in the cache: the "
            "first of them stands at `cache.length`.",
            wrong_hidden(positions=lambda n, T: (0, T)),
        ),
        Mistake(
            "not advanced",
            "The cache is never told that T positions have come: `cache.length` is still what it was, "
            "and the next token overwrites these. Call `cache.advance(T)` once, after the last layer.",
            wrong_hidden(after=nothing),
        ),
        Mistake(
            "advanced twice",
            "The length grows by 2·T: there is one `advance` too many. (`attend` does not advance; "
            "one call at the end is all.)",
            wrong_hidden(after=lambda cache, T: cache.advance(2 * T)),
        ),
        Mistake(
            "advanced in the loop",
            "You advance once for each layer, so every layer writes to other places, and the length "
            "grows L times too fast. All layers of a forward write to the same places: advance after "
            "the loop.",
            wrong_hidden(after_layer=advance, after=nothing),
        ),
        Mistake(
            "advanced before the layers",
            "You advance before the layers have written, so `attend` stores T places further on, and "
            "the places between stay empty. Advance after the last layer.",
            wrong_hidden(before=advance, after=nothing),
        ),
        Mistake(
            "advanced by one",
            "`cache.advance(1)` is right for one token, but a prompt has T of them: advance by "
            "`token_ids.shape[1]`.",
            wrong_hidden(after=lambda cache, T: cache.advance(1)),
        ),
        Mistake(
            "all layers in one",
            "Every layer hands the same layer number to `cache.attend`, so each overwrites what the "
            "one before has stored. Count them with `enumerate(model.layers)`. (If you made the "
            "functions first and called them later: they all see the last value of the loop.)",
            wrong_hidden(number=lambda layer: 0),
        ),
        Mistake(
            "the final norm is missing",
            "The stream is right up to the last block, but it must be normalised once more before the "
            "head: `rms_norm(x, model.norm.weight, model.config.norm_eps)`.",
            wrong_hidden(last_norm=False),
        ),
        Mistake(
            "attends to the new tokens alone",
            "Right for the first prompt, but later tokens see nothing of what came before: attention "
            "must go through `cache.attend(number, q, k, v)`, which stores the new keys and attends to "
            "all of them.",
            wrong_hidden(
                attend_to=lambda q, k, v: F.scaled_dot_product_attention(
                    q, k, v, is_causal=True, enable_gqa=True
                )
            ),
        ),
    ),
    hints=(
        "It is `hidden_states` of lesson 04 with three changes: where the positions start, who "
        "attends, and one call at the end.",
        "`torch.arange(start, end)` counts from start to end - 1. The T new tokens stand at positions "
        "cache.length to cache.length + T - 1.",
        "`block` wants a function of q, k and v. Inside the loop: `lambda q, k, v: "
        "cache.attend(number, q, k, v)`, with `for number, layer in enumerate(model.layers)`.",
        "In order: positions; x = model.embedding(token_ids); the loop x = block(x, layer, positions, "
        "attend); cache.advance(T); rms_norm(x, model.norm.weight, model.config.norm_eps).",
    ),
)

# --- prefill and decode_step ----------------------------------------------------------------------


def prefilled(candidate: Callable[..., Tensor], config: ModelConfig, token_ids: Tensor) -> Any:
    model = random_decoder(config)
    cache = ContiguousKVCache(config, token_ids.shape[0], 120)
    before = model.head_positions
    logits = candidate(model, token_ids, cache)
    return {
        "the logits": logits,
        "positions on which the head was run": model.head_positions - before,
        "the cache's length": cache.length,
    }


def prefilled_expected(config: ModelConfig, token_ids: Tensor) -> Any:
    model = random_decoder(config)
    last = without_any_cache(model, token_ids)[:, -1]
    return {
        "the logits": F.linear(last, model.output.weight),
        "positions on which the head was run": token_ids.shape[0],
        "the cache's length": token_ids.shape[1],
    }


def prefilling(label: str, config: ModelConfig, token_ids: Tensor) -> Case:
    return Case(
        label,
        lambda candidate: prefilled(candidate, config, token_ids),
        lambda: prefilled_expected(config, token_ids),
    )


def counted_twice(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    logits = model.head(model.hidden(token_ids, cache)[:, -1])
    cache.advance(token_ids.shape[1])
    return logits


PREFILL = Exercise(
    name="prefill",
    lesson=LESSON,
    library=decode.prefill,
    minutes=4,
    difficulty=1,
    tolerance=1e-4,
    cases=(
        prefilling("a prompt of 5", SMALL, random_ids(SMALL, 10, 1, 5)),
        prefilling("a prompt of 1", SMALL, random_ids(SMALL, 11, 1, 1)),
        prefilling("a batch of 3 prompts of 4", SMALL, random_ids(SMALL, 12, 3, 4)),
        prefilling("another model, 2 prompts of 7", DEEPER, random_ids(DEEPER, 13, 2, 7)),
    ),
    mistakes=(
        Mistake(
            "the head on all positions",
            "The logits are right, but the head was run on every position of the prompt, and all but "
            "the last were thrown away. Take the last position first, then the head.",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache))[:, -1],
        ),
        Mistake(
            "the logits of all positions",
            "You give back the logits of every position, (B, T, V). Only the last one forecasts what "
            "comes after the prompt: (B, V).",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache)),
        ),
        Mistake(
            "the first position",
            "Those are the logits after the first token of the prompt. The next token is read off the "
            "last position, -1.",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache)[:, 0]),
        ),
        Mistake(
            "an axis too many",
            "The values are right, but their shape is (B, 1, V): `[:, -1:]` keeps the axis of the "
            "positions, `[:, -1]` takes it out.",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache)[:, -1:]),
        ),
        Mistake(
            "the last row of the batch",
            "You take the last row of the batch, [-1]; axis 0 is the batch, axis 1 the positions: "
            "[:, -1].",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache)[-1]),
        ),
        Mistake(
            "the cache forgotten",
            "The logits are right, but the cache is empty afterwards: pass it on to `model.hidden`.",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids)[:, -1]),
        ),
        Mistake(
            "advanced once more",
            "The cache's length is twice that of the prompt: `model.hidden` has advanced it already.",
            counted_twice,
        ),
        Mistake(
            "the token instead of the logits",
            "That is the best token. `prefill` gives back the logits, (B, V); who calls it chooses.",
            lambda model, token_ids, cache: model.head(
                model.hidden(token_ids, cache)[:, -1]
            ).argmax(-1),
        ),
    ),
    hints=(
        "Two calls: `model.hidden(token_ids, cache)` gives (B, T, C), `model.head` turns vectors into "
        "logits. What do you do between them?",
        "`hidden[:, -1]` is the last position of each row, (B, C). The head of that is (B, V).",
    ),
)


def decoded(candidate: Callable[..., Tensor], config: ModelConfig, token_ids: Tensor) -> Any:
    """All but the last two tokens are in the cache; the candidate reads these two."""
    model = random_decoder(config)
    cache = ContiguousKVCache(config, token_ids.shape[0], 120)
    model.hidden(token_ids[:, :-2], cache)
    before = model.head_positions
    outputs: dict[str, Any] = {}
    for number, token in enumerate(token_ids[:, -2:].split(1, dim=1), start=1):
        outputs[f"the logits of step {number}"] = candidate(model, token, cache)
        outputs[f"the cache's length after step {number}"] = cache.length
    outputs["positions on which the head was run"] = model.head_positions - before
    return outputs


def decoded_expected(config: ModelConfig, token_ids: Tensor) -> Any:
    model = random_decoder(config)
    B, T = token_ids.shape
    logits = F.linear(without_any_cache(model, token_ids), model.output.weight)
    return {
        "the logits of step 1": logits[:, -2],
        "the cache's length after step 1": T - 1,
        "the logits of step 2": logits[:, -1],
        "the cache's length after step 2": T,
        "positions on which the head was run": 2 * B,
    }


def decoding(label: str, config: ModelConfig, token_ids: Tensor) -> Case:
    return Case(
        label,
        lambda candidate: decoded(candidate, config, token_ids),
        lambda: decoded_expected(config, token_ids),
    )


def emptied_first(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    cache.truncate(0)
    return model.head(model.hidden(token_ids, cache)[:, -1])


def at_position_0(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    return model.head(model.hidden(token_ids, cache, torch.tensor([0]))[:, -1])


DECODE_STEP = Exercise(
    name="decode_step",
    lesson=LESSON,
    library=decode.decode_step,
    minutes=3,
    difficulty=1,
    tolerance=1e-4,
    cases=(
        decoding("two steps after a prompt of 4", SMALL, random_ids(SMALL, 14, 1, 6)),
        decoding("a batch of 3", SMALL, random_ids(SMALL, 15, 3, 5)),
        decoding("another model, a batch of 2", DEEPER, random_ids(DEEPER, 16, 2, 8)),
    ),
    mistakes=(
        Mistake(
            "without the cache",
            "The step sees its own token alone: pass the cache to `model.hidden`.",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids)[:, -1]),
        ),
        Mistake(
            "an axis too many",
            "The values are right, but their shape is (B, 1, V): take the one position out, [:, -1].",
            lambda model, token_ids, cache: model.head(model.hidden(token_ids, cache)),
        ),
        Mistake(
            "advanced once more",
            "The cache's length grows by 2 at each step: `model.hidden` has advanced it already.",
            counted_twice,
        ),
        Mistake(
            "the cache emptied first",
            "The cache is emptied at each step, so the token sees itself alone: what is in the cache "
            "is the text so far.",
            emptied_first,
        ),
        Mistake(
            "at position 0",
            "The new token is told that it stands at position 0. `model.hidden` counts on from the "
            "cache's length by itself: give it no positions.",
            at_position_0,
        ),
        Mistake(
            "the token instead of the logits",
            "That is the best token. `decode_step` gives back the logits, (B, V); who calls it "
            "chooses.",
            lambda model, token_ids, cache: model.head(
                model.hidden(token_ids, cache)[:, -1]
            ).argmax(-1),
        ),
    ),
    hints=(
        "What `prefill` does with a prompt of T tokens, this does with one token. What is different "
        "in the code?",
        "Nothing, but the name: `model.hidden(token_ids, cache)` gives (B, 1, C); its position -1 "
        "goes to the head.",
    ),
)

# --- kv_cache_bytes -------------------------------------------------------------------------------


def counted(config: ModelConfig, batch: int, length: int, bytes_per_number: int) -> int:
    """Closed form: the size of a key and of a value for each layer, each row, each position."""
    one = torch.Size([config.kv_heads, config.head_dim]).numel() * bytes_per_number
    return sum(one for _ in ("key", "value") for _ in range(config.layers)) * batch * length


LLAMA_2_7B = preset("llama-2-7b")

KV_CACHE_BYTES = Exercise(
    name="kv_cache_bytes",
    lesson=LESSON,
    library=kv_cache_bytes,
    minutes=4,
    difficulty=1,
    tolerance=1e-10,
    cases=(
        call("one token of SmolLM2-135M in fp32", SMOLLM2_135M, 1, 1, 4, oracle=counted),
        call("3 texts of 100 tokens, fp16", SMOLLM2_135M, 3, 100, 2, oracle=counted),
        call("Llama-2-7B: 2,048 tokens in fp16", LLAMA_2_7B, 1, 2_048, 2, oracle=counted),
        call("a head dimension that is not C / H", TINY, 2, 7, 1, oracle=counted),
        call("one KV head, an empty text", DEEPER, 5, 0, 4, oracle=counted),
    ),
    mistakes=(
        Mistake(
            "keys alone",
            "Half of it: values are stored as well as keys.",
            lambda config, batch, length, size: counted(config, batch, length, size) // 2,
        ),
        Mistake(
            "H instead of G",
            "You count the query heads. What is stored are keys and values, and they have "
            "`config.kv_heads` heads; queries are never stored.",
            lambda config, batch, length, size: (
                counted(config, batch, length, size) * config.heads // config.kv_heads
            ),
        ),
        Mistake(
            "one layer",
            "That is one layer. Each layer has keys and values of its own.",
            lambda config, batch, length, size: (
                counted(config, batch, length, size) // config.layers
            ),
        ),
        Mistake(
            "C instead of G·D",
            "You count the width C for each key. A key has G·D numbers, `kv_heads * head_dim`: with "
            "fewer KV heads than query heads that is less than C.",
            lambda config, batch, length, size: (
                2 * config.layers * config.width * size * batch * length
            ),
        ),
        Mistake(
            "D as C / H",
            "The head dimension need not be C / H: take `config.head_dim`.",
            lambda config, batch, length, size: (
                (2 * config.layers * config.kv_heads * (config.width // config.heads) * size)
                * batch
                * length
            ),
        ),
        Mistake(
            "one text",
            "That is one text: multiply by the batch, since no two texts share what is stored.",
            lambda config, batch, length, size: counted(config, 1, length, size),
        ),
        Mistake(
            "one token",
            "That is one token: multiply by the length.",
            lambda config, batch, length, size: counted(config, batch, 1, size),
        ),
        Mistake(
            "numbers instead of bytes",
            "You count the numbers. Each takes `bytes_per_number` bytes.",
            lambda config, batch, length, size: counted(config, batch, length, 1),
        ),
        Mistake(
            "bits",
            "That is eight times too much, or too little: `bytes_per_number` is in bytes already.",
            lambda config, batch, length, size: 8 * counted(config, batch, length, size),
        ),
        Mistake(
            "always 4 bytes",
            "You take 4 bytes for each number, whatever is asked: `bytes_per_number` is 2 in fp16.",
            lambda config, batch, length, size: counted(config, batch, length, 4),
        ),
        Mistake(
            "megabytes instead of bytes",
            "That is in MB. Bytes are asked for: nothing is divided by a million.",
            lambda config, batch, length, size: counted(config, batch, length, size) / 1e6,
        ),
    ),
    hints=(
        "One token leaves a key and a value, in each of L layers, for each of G heads, D numbers each.",
        "2 · L · G · D numbers for a token: `config.layers`, `config.kv_heads`, `config.head_dim`. "
        "Then the tokens of a text, the texts of a batch, the bytes of a number.",
    ),
)

# --- chunked_prefill ------------------------------------------------------------------------------


def chunked_prefill(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    """Prefill in chunks of at most `chunk` tokens. (B, T) → the logits of the last position (B, V)."""
    *first, last = token_ids.split(chunk, dim=1)
    for part in first:
        model.hidden(part, cache)
    return decode.prefill(model, last, cache)


class CountingCache(ContiguousKVCache):
    """A cache that writes down the T of each forward."""

    def __init__(self, config: ModelConfig, batch: int, max_length: int) -> None:
        super().__init__(config, batch, max_length)
        self.forwards: list[int] = []

    def advance(self, T: int) -> None:
        super().advance(T)
        self.forwards.append(T)


def chunked(
    candidate: Callable[..., Tensor], config: ModelConfig, token_ids: Tensor, chunk: int
) -> Any:
    cache = CountingCache(config, token_ids.shape[0], 120)
    logits = candidate(random_decoder(config), token_ids, cache, chunk)
    return {"the logits": logits, "tokens in each forward": cache.forwards}


def chunked_expected(config: ModelConfig, token_ids: Tensor, chunk: int) -> Any:
    model, T = random_decoder(config), token_ids.shape[1]
    last = without_any_cache(model, token_ids)[:, -1]
    return {
        "the logits": F.linear(last, model.output.weight),
        "tokens in each forward": [min(chunk, T - start) for start in range(0, T, chunk)],
    }


def chunking(label: str, config: ModelConfig, token_ids: Tensor, chunk: int) -> Case:
    return Case(
        label,
        lambda candidate: chunked(candidate, config, token_ids, chunk),
        lambda: chunked_expected(config, token_ids, chunk),
    )


def by_parts(parts: Callable[[Tensor, int], Sequence[Tensor]]) -> Callable[..., Tensor]:
    """Prefill in some parts; the logits are those of the last."""

    def run(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
        logits = torch.zeros(0)
        for part in parts(token_ids, chunk):
            logits = decode.prefill(model, part, cache)
        return logits

    return run


def first_logits(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    every = [decode.prefill(model, part, cache) for part in token_ids.split(chunk, dim=1)]
    return every[0]


def stacked_logits(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    every = [model.hidden(part, cache)[:, -1] for part in token_ids.split(chunk, dim=1)]
    return model.head(torch.stack(every, dim=1))


def returns_in_the_loop(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    return decode.prefill(model, token_ids[:, :chunk], cache)


def last_piece_dropped(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    for part in token_ids.split(chunk, dim=1)[:-1]:
        logits = decode.prefill(model, part, cache)
    return logits  # unbound where there is one piece alone, as it is for the learner


def logits_concatenated(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    return torch.cat([decode.prefill(model, part, cache) for part in token_ids.split(chunk, 1)])


def forgets_between(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    logits = torch.zeros(0)
    for part in token_ids.split(chunk, dim=1):
        cache.truncate(0)
        logits = decode.prefill(model, part, cache)
    return logits


CHUNKED_PREFILL = Exercise(
    name="chunked_prefill",
    lesson=LESSON,
    library=chunked_prefill,
    minutes=6,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        chunking("6 tokens in chunks of 3", SMALL, random_ids(SMALL, 20, 1, 6), 3),
        chunking(
            "7 tokens in chunks of 3: the last is shorter", SMALL, random_ids(SMALL, 21, 1, 7), 3
        ),
        chunking("a batch of 2, 5 tokens in chunks of 2", SMALL, random_ids(SMALL, 22, 2, 5), 2),
        chunking("4 tokens, a chunk of 9", DEEPER, random_ids(DEEPER, 23, 1, 4), 9),
        chunking("5 tokens one by one", DEEPER, random_ids(DEEPER, 24, 3, 5), 1),
    ),
    mistakes=(
        Mistake(
            "the rest is dropped",
            "The last chunk may be shorter than the others, and you leave it out: its tokens are never "
            "read.",
            by_parts(
                lambda ids, n: (
                    [ids[:, s : s + n] for s in range(0, ids.shape[1] - n + 1, n)] or [ids]
                )
            ),
        ),
        Mistake(
            "the last piece is dropped",
            "The last piece is never read, whether it is shorter or not: `[:-1]` leaves it out. Loop "
            "over all of them.",
            last_piece_dropped,
        ),
        Mistake(
            "the batch is split",
            "You cut the rows of the batch, not the text: `split` takes axis 0 if it is told no "
            "other. The positions are axis 1: `token_ids.split(chunk, dim=1)`.",
            by_parts(lambda ids, n: ids.split(n)),
        ),
        Mistake(
            "return inside the loop",
            "Only the first chunk is read: a `return` in the loop ends it. Give the logits back after "
            "the loop, unindented.",
            returns_in_the_loop,
        ),
        Mistake(
            "all at once",
            "You read the whole prompt in one forward, whatever `chunk` is.",
            by_parts(lambda ids, n: [ids]),
        ),
        Mistake(
            "one by one",
            "You read one token at a time, whatever `chunk` is.",
            by_parts(lambda ids, n: ids.split(1, dim=1)),
        ),
        Mistake(
            "chunks instead of their size",
            "`chunk` is the number of tokens in a chunk, not the number of chunks: `torch.split` takes "
            "the size, `torch.chunk` the number.",
            by_parts(lambda ids, n: ids.chunk(n, dim=1)),
        ),
        Mistake(
            "the logits of the first chunk",
            "Those are the logits after the first chunk. What follows the prompt is read off the last.",
            first_logits,
        ),
        Mistake(
            "the logits of every chunk",
            "You give back the logits of every chunk, (B, chunks, V): only the last are wanted, (B, V).",
            stacked_logits,
        ),
        Mistake(
            "the logits of all chunks, concatenated",
            "You glue the logits of all chunks together, (B · chunks, V). Only those after the last "
            "chunk forecast what follows: (B, V).",
            logits_concatenated,
        ),
        Mistake(
            "forgotten between the chunks",
            "The cache is emptied before each chunk, so the last sees nothing of the others.",
            forgets_between,
        ),
        Mistake(
            "an overlap of one",
            "Your chunks overlap: the last token of one is read again as the first of the next, and "
            "then stands in the cache twice.",
            by_parts(
                lambda ids, n: [ids[:, max(s - 1, 0) : s + n] for s in range(0, ids.shape[1], n)]
            ),
        ),
    ),
    hints=(
        "`token_ids.split(chunk, dim=1)` cuts along the positions; the last piece may be shorter. "
        "Everything else is `prefill`, which counts on from the cache's length by itself.",
        "Loop over the pieces, call `prefill(model, piece, cache)`, and keep the logits of the last. "
        "(Whoever wants to save a little runs the head on the last piece alone.)",
    ),
)

EXERCISES = (
    CONTIGUOUS_KV_CACHE,
    HIDDEN_WITH_CACHE,
    PREFILL,
    DECODE_STEP,
    KV_CACHE_BYTES,
    CHUNKED_PREFILL,
)
