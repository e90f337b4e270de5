"""Exercises of lesson 06: the KV cache, the decoder with it, prefill and decode, its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache as remember
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from decodeloop import decode
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, beside, trial
from decodeloop.exercises.lending import copied
from decodeloop.exercises.oracles import decoder_by_pytorch, random_ids
from decodeloop.model import (
    ContiguousKVCache,
    Decoder,
    ModelConfig,
    block,
    causal_mask,
    grouped_query_attention,
    rms_norm,
)
from decodeloop.model import KVCache as AnyCache

LESSON = "06_kv_cache"

# --- ContiguousKVCache ----------------------------------------------------------------------------
#
# A case is a trace: operations on a new cache, and what each of them gave back.

# V, C, L, H, G, D, F, context
SMALL = ModelConfig(31, 20, 2, 6, 2, 4, 28, 64, rope_base=50.0)
DEEPER = ModelConfig(23, 12, 3, 3, 1, 6, 16, 64, rope_base=30.0, norm_eps=0.05)
Operations = Sequence[tuple[Any, ...]]


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
        taken = torch.as_tensor(rows)
        self.stored = [(k[taken], v[taken]) for k, v in self.stored]


def drive(
    make: Candidate, config: ModelConfig, batch: int, max_length: int, operations: Operations
) -> list[Any]:
    """Carry out the operations on a new cache; everything that it gives back, in order.

    ("append", T) and ("attend", T, mask or None) go through all layers, which leave the length as
    it is, and then advance by T.
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
                    outputs += [copied(x) for x in cache.append(layer, k, v)]
                else:
                    q = 2 * torch.randn(batch, H, argument, D, generator=generator)
                    outputs.append(copied(cache.attend(layer, q, k, v, *more)))
            outputs.append(cache.length)
            cache.advance(argument)
        outputs.append(cache.length)
    return outputs


def trace(label: str, config: ModelConfig, batch: int, max_length: int, steps: str) -> Case:
    """The operations in words, such as "append 3, select 1 0"."""
    operations: list[tuple[Any, ...]] = []
    for name, *numbers in map(str.split, steps.split(", ")):
        rows = [int(number) for number in numbers]
        operations.append((name, rows if name == "select" else rows[0]))
    return trial(label, drive, listed, config, batch, max_length, operations)


def listed(*inputs: Any) -> list[Any]:
    return drive(ListedCache, *inputs)


class Anew(TorchFunctionMode):
    """Looks for the largest tensor that an operation makes anew; a view is none."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [a for x in args for a in (x if isinstance(x, list | tuple) else [x])]
        old = {a.untyped_storage().data_ptr() for a in given if type(a) is Tensor}
        for made in out if isinstance(out, list | tuple) else [out]:
            if type(made) is Tensor and made.untyped_storage().data_ptr() not in old:
                self.largest = max(self.largest, made.numel())
        return out


@beside
def grown_by_one(make: Candidate, config: ModelConfig, stored: int) -> dict[str, Any]:
    """So many positions in all layers, then one more: what layer 0 gives back of it."""
    cache = make(config, 1, stored + 1)
    k = torch.arange(config.kv_heads * (stored + 1) * config.head_dim * 1.0)
    k = k.view(1, config.kv_heads, stored + 1, config.head_dim)
    for layer in range(config.layers):
        cache.append(layer, k[:, :, :stored].clone(), -k[:, :, :stored])
    cache.advance(stored)
    new = k[:, :, stored:].clone(), -k[:, :, stored:]
    with Anew() as anew:
        keys, values = cache.append(0, *new)
    return {
        "keys": keys.clone(),
        "values": values.clone(),
        "nothing that was stored is copied": anew.largest < k.numel() / 2,
    }


def one_more(config: ModelConfig, stored: int) -> dict[str, Any]:
    k = torch.arange(config.kv_heads * (stored + 1) * config.head_dim * 1.0)
    k = k.view(1, config.kv_heads, stored + 1, config.head_dim)
    return {"keys": k, "values": -k, "nothing that was stored is copied": True}


class Buffered:
    """A right cache, without any checks."""

    def __init__(self, config: ModelConfig, batch: int, max_length: int) -> None:
        shape = (config.layers, batch, config.kv_heads, max_length, config.head_dim)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start, end = self.length, self.length + k.shape[2]
        self.keys[layer, :, :, start:end] = k
        self.values[layer, :, :, start:end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        keys, values = self.append(layer, k, v)
        if mask is None:
            mask = causal_mask(q.shape[2], keys.shape[2])
        return grouped_query_attention(q, keys, values, mask)

    def advance(self, T: int) -> None:
        self.length += T

    def truncate(self, n: int) -> None:
        self.length = n

    def select(self, rows: Sequence[int]) -> None:
        self.keys = self.keys[:, rows]
        self.values = self.values[:, rows]


HOLES = torch.ones(2, 1, 3, 5, dtype=torch.bool)
HOLES[0, :, :, :2] = False  # the first two places of row 0 are padding
HOLES[1, :, 0, 3:] = False
ONE_ROW_OF_HOLES = HOLES[:, :, :1, :4]

CONTIGUOUS_KV_CACHE = Exercise(
    name="ContiguousKVCache",
    lesson=LESSON,
    library=ContiguousKVCache,
    minutes=20,
    difficulty=3,
    part=True,
    cases=(
        trace("append 3 positions", SMALL, 1, 30, "append 3"),
        trace("append 3, 1 and 2 positions", SMALL, 2, 30, "append 3, append 1, append 2"),
        trace("three layers, append 3 and 2", DEEPER, 3, 40, "append 3, append 2"),
        trace("append 4 and 1, to the last place", SMALL, 1, 5, "append 4, append 1"),
        trial("append 1 after 20, without a copy", grown_by_one, one_more, SMALL, 20),
        trace("truncate to 2, then append", SMALL, 1, 40, "append 4, truncate 2, append 1"),
        trace("truncate to the length it has", SMALL, 1, 40, "append 4, truncate 4, append 1"),
        trace("attend: a prompt of 4", SMALL, 1, 30, "attend 4"),
        trace(
            "attend: a prompt of 4, then one at a time",
            *(SMALL, 2, 40, "attend 4, attend 1, attend 1"),
        ),
        trace("attend: 4, then 3 at once", SMALL, 1, 40, "attend 4, attend 3"),
        trial(
            "attend with a mask of its own",
            *(drive, listed, SMALL, 2, 40, [("attend", 2, None), ("attend", 3, HOLES)]),
        ),
        trial(
            "attend: one token with a mask of its own",
            *(drive, listed, SMALL, 2, 40, [("attend", 3, None), ("attend", 1, ONE_ROW_OF_HOLES)]),
        ),
        trace("three layers, one KV head", DEEPER, 3, 40, "attend 3, append 2"),
        trace(
            "truncate to 3, then go on", SMALL, 1, 40, "append 5, truncate 3, append 2, attend 1"
        ),
        trace(
            "truncate to 0: a second prompt",
            *(SMALL, 2, 40, "attend 4, attend 1, truncate 0, attend 3, append 1"),
        ),
        trace(
            "truncate to 2, then one at a time",
            *(SMALL, 1, 40, "append 4, truncate 2, append 1, attend 1"),
        ),
        trace("select rows 1 and 0", SMALL, 2, 40, "append 3, select 1 0, append 1"),
        trace(
            "select a row twice",
            *(SMALL, 3, 40, "attend 3, select 2 2 0, append 1, select 1 2 0, attend 2"),
        ),
        trace(
            "select two rows of three, then one of two",
            *(SMALL, 3, 40, "attend 3, select 2 1, attend 2, select 1, append 1"),
        ),
        trace("select one row of three", SMALL, 3, 40, "append 3, select 2, append 1"),
        trial(
            "select rows 2, 0 and 1, given as a tensor",
            drive,
            listed,
            *(SMALL, 3, 40, [("append", 2), ("select", torch.tensor([2, 0, 1])), ("attend", 1)]),
        ),
    ),
    mistakes=edits(
        Buffered,
        """
## advanced twice
- self.length += T → self.length += 2 * T
The length grows by twice the number of new positions, so every second place stays empty: a key of
zeros, which still takes its share. `advance(T)` adds T, once.
## advanced by every append
- self.values[layer, :, :, start:end] = v
+ self.values[layer, :, :, start:end] = v
+ self.length = end
`append` must not change the length. It is called once for each layer, and all layers of one
forward write to the same places; only `advance`, called once at the end, moves on. Compare
`cache.length` before and after one append.
## advanced by append alone
- self.values[layer, :, :, start:end] = v
+ self.values[layer, :, :, start:end] = v
+ self.length = end
- self.length += T → pass
You move on in `append` instead of in `advance`. But `append` is called once for each layer: with
30 layers the length would be 30 times too large. Leave the length to `advance`.
## advanced by attend
- keys, values = self.append(layer, k, v)
+ keys, values = self.append(layer, k, v)
+ self.length += q.shape[2]
`attend` must not change the length: it is called once for each layer, and the next layer has to
write to the same places. Only `advance` moves on.
## advanced by the last layer
- self.values[layer, :, :, start:end] = v
+ self.values[layer, :, :, start:end] = v
+ self.length = end if layer == len(self.keys) - 1 else start
- self.length += T → pass
You move on when the last layer has appended, and `advance` does nothing. `append` and `attend` must
not change the length: that is what `advance` is called for.
## advanced by the first layer
- self.values[layer, :, :, start:end] = v
+ self.values[layer, :, :, start:end] = v
+ self.length = end if layer == 0 else start
- self.length += T → pass
You move on when the first layer has appended, so all the others write T places too far right. `append`
and `attend` must not change the length: that is what `advance` is called for, after the last layer.
## never advanced
- self.length += T → pass
The length stays what it was, so each token overwrites the one before. `advance(T)` adds T to the
length.
## advanced by one
- self.length += T → self.length += 1
`advance(T)` adds 1, whatever T is: right in decode, wrong after a prompt. It is told how many
positions the forward had.
## the length of the last forward
- self.length += T → self.length = T
`advance(T)` sets the length to T; it should add T to what is there already.
## always at the start
- start:end] = k → : k.shape[2]] = k
- start:end] = v → : v.shape[2]] = v
You always write at place 0, so the new keys overwrite the oldest. They belong after what is
stored: from `length` to `length + T`.
## only the new keys
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end] → return k, v
`append` gives back what it was given: T positions. It should give back all that is stored by now,
`length + T` positions, or there would be nothing to remember.
## only the old keys
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
+ return self.keys[layer, :, :, :start], self.values[layer, :, :, :start]
`append` gives back what was stored before, without the new positions. A token may attend to
itself: give back places 0 to `length + T`.
## the whole buffer
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
+ return self.keys[layer], self.values[layer]
`append` gives back all `max_length` places, those that are still empty too. A key of zeros has the
score 0, which takes a share like any other. Cut at `length + T`.
## all layers given back
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
+ return self.keys[:, :, :, :end], self.values[:, :, :, :end]
You give back the keys and values of all layers, with an axis L in front: only those of `layer` are
asked for, (B, G, S, D).
## what is stored is copied
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
+ return self.keys[layer, :, :, :end].clone(), self.values[layer, :, :, :end].clone()
The numbers are right, but at each append all that is stored is copied, by `torch.cat`, `clone` or the
like: the cost that the buffers are there to save. Write the new positions into the buffer, and give back
slices of it: those are views.
## keys and values swapped
- return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
+ return self.values[layer, :, :, :end], self.keys[layer, :, :, :end]
Keys stand where values belong, and the other way round. `append` gives back the keys first.
## keys stored as values
- start:end] = v → start:end] = k
The values that come back are the keys: look at the line that stores `v`.
## one store for all layers
- start, end = self.length, → layer, start, end = 0, self.length,
All layers write to the same place, so each overwrites what the one before has stored. `layer` is
the first index of `self.keys` and `self.values`.
## truncate by zeros
- self.length = n → self.keys[..., n:, :] = self.values[..., n:, :] = 0
You wipe the places from n on, but the length stays. Zeros are keys like any other; what counts is
the length. Set it to n: nothing has to be wiped, since what lies behind the length is never read.
## truncate cuts the buffers
- self.length = n
+ self.length = n
+ self.keys, self.values = self.keys[..., :n, :], self.values[..., :n, :]
You cut the buffers down to n places, so nothing fits in behind them any more. They keep their size:
`truncate` changes the length and nothing else, and what lies behind it is overwritten.
## truncate off by one, but not at 0
- self.length = n → self.length = max(n - 1, 0)
After `truncate(n)` the length is n: positions 0 to n - 1 stay. You keep one fewer.
## truncate off by one
- self.length = n → self.length = n - 1
After `truncate(n)` the length is n: positions 0 to n - 1 stay. You keep one fewer.
## truncate takes n away
- self.length = n → self.length -= n
`truncate(n)` says how many positions stay, not how many go: the length becomes n.
## the place is not taken back
- self.length = 0 → self.length = self.place = 0
- start:end] = k → self.place : self.place + k.shape[2]] = k
- start:end] = v → self.place : self.place + k.shape[2]] = v
- self.length += T → self.length, self.place = self.length + T, self.place + T
You keep a counter of your own for where to write, and `truncate` does not reset it: the next keys
land behind the cut, and what lies there is never read. Use the length, and nothing else.
## select forgets the values
- self.values = self.values[:, rows]
`select` reorders the keys but not the values: each row then finds by its own keys what another row
has stored.
## select takes layers
- self.keys[:, rows] → self.keys[rows]
- self.values[:, rows] → self.values[rows]
`select` indexes the first axis, which is the layers. The rows of the batch are the second axis of
(L, B, G, max_length, D).
## the selection is dropped
- self.keys = self.keys[:, rows] → self.keys.index_select(1, torch.as_tensor(rows))
- self.values = self.values[:, rows] → self.values.index_select(1, torch.as_tensor(rows))
`select` has no effect: `self.keys[:, rows]` gives back a new tensor and leaves the old one as it is.
Store what it gives: `self.keys = self.keys[:, rows]`.
## select overwrites before it reads
- self.keys = self.keys[:, rows]
- self.values = self.values[:, rows]
+ for i, row in enumerate(rows):
+     self.keys[:, i] = self.keys[:, row]
+     self.values[:, i] = self.values[:, row]
You copy row after row inside the same buffer, so a row may be overwritten before it is read: with
rows [1, 0] both become row 1. Nor do rows go away, or double. Take all rows at once into a new
tensor: `self.keys[:, rows]`.
## the buffers keep their rows
- self.keys = self.keys[:, rows]
- self.values = self.values[:, rows]
+ self.keys[:] = self.keys[:, rows]
+ self.values[:] = self.values[:, rows]
You write the chosen rows back into the old buffers, which have as many rows as before. `rows` may
be shorter or longer than the batch, and so must the new buffers be: `self.keys = …`, not
`self.keys[...] = …`.
## the other way round
- self.keys = self.keys[:, rows]
- self.values = self.values[:, rows]
+ keys, values = self.keys.clone(), self.values.clone()
+ for i, row in enumerate(rows):
+     keys[:, row], values[:, row] = self.keys[:, i], self.values[:, i]
+ self.keys, self.values = keys, values
You do it the other way round: row rows[i] becomes what row i was. Row i of the new buffers is row
rows[i] of the old ones.
## the other way round, and the rest empty
- self.keys = self.keys[:, rows]
- self.values = self.values[:, rows]
+ keys, values = torch.zeros_like(self.keys), torch.zeros_like(self.values)
+ keys[:, rows], values[:, rows] = self.keys, self.values
+ self.keys, self.values = keys, values
You do it the other way round: row rows[i] becomes what row i was, and a row that nobody is sent to
stays empty. Row i of the new buffers is row rows[i] of the old ones: `self.keys[:, rows]`.
## select forgets the length
- self.values = self.values[:, rows]
+ self.values = self.values[:, rows]
+ self.length = 0
`select` sets the length to 0. It reorders the rows, and each keeps all of its positions: the length stays.
## attend uses the whole buffer
- keys, values = self.append(layer, k, v)
+ self.append(layer, k, v)
+ keys, values = self.keys[layer], self.values[layer]
`attend` takes its keys from `self.keys[layer]`, all `max_length` places of it, those that are
still empty too. Use the keys and values that `append` gave back.
## attend sees the new tokens alone
- keys, values = self.append(layer, k, v)
+ self.append(layer, k, v)
+ keys, values = k, v
`attend` stores the new keys and values, and then attends to these alone. It should attend to all
that is stored: `append` gives that back.
## attend without a mask
- if mask is None:
-     mask = causal_mask(q.shape[2], keys.shape[2])
Where no mask is given and several tokens are new, each of them sees those that come after it. None
means causal: `causal_mask(T, S)`, with S keys in all.
## causal for the prompt alone
- if mask is None: → if mask is None and q.shape[2] == keys.shape[2]:
Your mask is causal where the cache is empty, but several tokens that come later see each other's future.
Wherever no mask is given it is `causal_mask(T, S)`, with S keys in all.
## the mask is not shifted
- if mask is None: → if mask is None and q.shape[2] > 1:
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(keys.shape[2])[: q.shape[2]]
Your mask is right for an empty cache. With n positions cached the first new token stands at
position n, not at 0, and must see all that is before it: the diagonal moves by S - T.
`causal_mask(T, S)` does that.
## the mask is not shifted, not even for one token
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(keys.shape[2])[: q.shape[2]]
A single new token sees only the oldest key: your mask is the top of the causal triangle, and it
should be the bottom. The T queries are the last T of the S keys: `causal_mask(T, S)`.
## the causal mask on top of the given one
- if mask is None:
-     mask = causal_mask(q.shape[2], keys.shape[2])
+ causal = causal_mask(q.shape[2], keys.shape[2])
+ mask = causal if mask is None else causal & mask
Where a mask is given you make it causal as well. Then the given one alone decides: a causal mask
only if `mask` is None.
## the given mask is ignored for one token
- if mask is None: → if mask is None or q.shape[2] == 1:
For a single new token you ignore the mask that was given. It may hide padding from that token too:
use it whatever T is.
## the given mask is ignored
- if mask is None:
-     mask = causal_mask(q.shape[2], keys.shape[2])
+ mask = causal_mask(q.shape[2], keys.shape[2])
`attend` makes a causal mask even where it was given another one. Make one only if `mask` is None.
""",
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
        "advance, truncate: they change `self._length` and nothing else.",
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


def hidden_with_cache(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    """The residual stream of the new tokens, which follow those in the cache. (B, T) → (B, T, C)."""
    return model.hidden(token_ids, cache)


class CountingCache(ContiguousKVCache):
    """A cache that writes down the T of each forward."""

    def __init__(self, config: ModelConfig, batch: int, max_length: int) -> None:
        super().__init__(config, batch, max_length)
        self.forwards: list[int] = []

    def advance(self, T: int) -> None:
        super().advance(T)
        self.forwards.append(T)


Texts = Sequence[tuple[Tensor, Sequence[int]]]


def fed(candidate: Candidate, config: ModelConfig, texts: Texts) -> Any:
    """Each text in parts of these lengths, with a new cache; outputs and lengths as they come."""
    model, outputs = random_decoder(config), list[Any]()
    for token_ids, parts in texts:
        cache = ContiguousKVCache(config, token_ids.shape[0], 120)
        for part in token_ids.split(list(parts), dim=1):
            outputs += [candidate(model, part, cache), cache.length]
    return outputs


def fed_expected(config: ModelConfig, texts: Texts) -> Any:
    model, outputs = random_decoder(config), list[Any]()
    for token_ids, parts in texts:
        end = 0
        for part in decoder_by_pytorch(model, token_ids).split(list(parts), dim=1):
            end += part.shape[1]
            outputs += [part, end]
    return outputs


def taken_back(step: Candidate, config: ModelConfig) -> list[Any]:
    """5 tokens, back to 2, 3 others: the others' output."""
    model = random_decoder(config)
    cache = ContiguousKVCache(config, 1, 120)
    step(model, random_ids(config, 1, 1, 5), cache)
    cache.truncate(2)
    return [step(model, random_ids(config, 2, 1, 3), cache), cache.length]


def taken_back_expected(config: ModelConfig) -> list[Any]:
    text = torch.cat((random_ids(config, 1, 1, 5)[:, :2], random_ids(config, 2, 1, 3)), dim=1)
    return [decoder_by_pytorch(random_decoder(config), text)[:, 2:], 5]


def gone_on(step: Candidate, config: ModelConfig) -> list[Any]:
    """3 tokens that the model itself has read, then 4 that the candidate reads."""
    model, token_ids = random_decoder(config), random_ids(config, 9, 2, 7)
    cache = ContiguousKVCache(config, 2, 120)
    model.hidden(token_ids[:, :3], cache)
    return [step(model, token_ids[:, 3:], cache), cache.length]


def gone_on_expected(config: ModelConfig) -> list[Any]:
    return [decoder_by_pytorch(random_decoder(config), random_ids(config, 9, 2, 7))[:, 3:], 7]


def closures(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    """`hidden_with_cache` as the hints say it."""
    T, layers = token_ids.shape[1], list[Any](model.layers)
    positions = torch.arange(cache.length, cache.length + T)
    x = model.embedding(token_ids)
    for number, layer in enumerate(layers):

        def attend(q: Tensor, k: Tensor, v: Tensor, number: int = number) -> Tensor:
            return cache.attend(number, q, k, v)

        x = block(x, layer, positions, attend)
    cache.advance(T)
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


def feeding(label: str, config: ModelConfig, *texts: tuple[int, int, list[int]]) -> Case:
    """Texts by their seed, rows, and the lengths of their parts."""
    drawn = [(random_ids(config, seed, B, sum(parts)), parts) for seed, B, parts in texts]
    return trial(label, fed, fed_expected, config, drawn)


HIDDEN_WITH_CACHE = Exercise(
    name="hidden_with_cache",
    lesson=LESSON,
    library=hidden_with_cache,
    minutes=11,
    difficulty=2,
    tolerance=1e-4,
    part=True,
    cases=(
        feeding("one prompt of 5, nothing cached", SMALL, (3, 1, [5])),
        feeding("a prompt of 4, then three single tokens", SMALL, (4, 1, [4, 1, 1, 1])),
        feeding("chunks of 3, 2 and 4", DEEPER, (5, 1, [3, 2, 4])),
        feeding("a batch of 2", SMALL, (6, 2, [5, 1])),
        feeding(
            "two prompts, one after the other, each with a new cache",
            *(SMALL, (7, 1, [3, 1]), (8, 1, [5, 1])),
        ),
        trial(
            "5 tokens, back to 2 with truncate, then 3 others",
            *(taken_back, taken_back_expected, SMALL),
        ),
        trial("4 tokens after 3 that `model.hidden` has read", gone_on, gone_on_expected, DEEPER),
    ),
    mistakes=edits(
        closures,
        """
## positions start at 0
- cache.length, cache.length + T → 0, T
Your positions start at 0 at every call. The new tokens follow those in the cache: the first of
them stands at `cache.length`.
## positions count from 1
- cache.length, cache.length + T → cache.length + 1, cache.length + T + 1
Your positions are one too large. Positions count from 0, so where `cache.length` are cached the next
one stands at position `cache.length`.
## positions of those before
- cache.length, cache.length + T → cache.length - T, cache.length
Your T positions end where the new tokens begin. The first of them stands at `cache.length`, the last at
`cache.length + T - 1`.
## one position for all
- torch.arange(cache.length, cache.length + T) → torch.full((T,), cache.length)
All T new tokens stand at one and the same position in your answer. The first stands at
`cache.length`, and each of the others one further on: `torch.arange`.
## the cache emptied first
- x = model.embedding(token_ids)
+ cache.truncate(0)
+ x = model.embedding(token_ids)
- positions = torch.arange(cache.length, cache.length + T)
+ positions = torch.arange(T)
You empty the cache at each call. What it holds is the text so far, and the new tokens go on from it:
nothing is truncated here.
## not advanced
- cache.advance(T) → pass
The cache is never told that T positions have come: `cache.length` is still what it was, and the
next token overwrites these. Call `cache.advance(T)` once, after the last layer.
## advanced twice
- cache.advance(T) → cache.advance(2 * T)
The length grows by 2·T: there is one `advance` too many. (`attend` does not advance; one call at
the end is all.)
## advanced by the batch
- cache.advance(T) → cache.advance(token_ids.shape[0])
You advance by the number of rows, B. Each row has got T new positions: `token_ids.shape[1]`.
## advanced in the loop
- cache.advance(T)
+     cache.advance(T)
You advance once for each layer, so every layer writes to other places, and the length grows L
times too fast. All layers of a forward write to the same places: advance after the loop.
## advanced before the layers
- cache.advance(T) → pass
- x = model.embedding(token_ids)
+ x = model.embedding(token_ids)
+ cache.advance(T)
You advance before the layers have written, so `attend` stores T places further on, and the places
between stay empty. Advance after the last layer.
## advanced first of all
- cache.advance(T) → pass
- positions = torch.arange
+ cache.advance(T)
+ positions = torch.arange
You advance before anything else, so the new tokens stand T positions too far on, and `attend` stores
their keys T places too far on. Advance once, after the last layer.
## advanced by the new length
- cache.advance(T) → cache.advance(cache.length + T)
You advance by the new length. `advance` adds what it is given to the length there is: T, the number of
new tokens.
## advanced by one
- cache.advance(T) → cache.advance(1)
`cache.advance(1)` is right for one token, but a prompt has T of them: advance by
`token_ids.shape[1]`.
## all layers in one
- cache.attend(number, → cache.attend(0,
Every layer hands the number 0 to `cache.attend`, so each overwrites what the one before has stored.
Count them with `enumerate(model.layers)`.
## all layers in the last one
- cache.attend(number, → cache.attend(len(layers) - 1,
Every layer hands the number of the last one to `cache.attend`, so each overwrites what the one before
has stored. Functions that are made first and called later all see the last value of the loop: make
each where it is called.
## every layer reads the embedding
- x = block(x, layer → y = block(x, layer
- return rms_norm(x, → return rms_norm(y,
Every layer reads the embedding, and what all but the last give is thrown away: x is never replaced.
Each layer reads what the one before gave: `x = block(x, …)`.
## the final norm is missing
- return rms_norm(x, model.norm.weight, model.config.norm_eps) → return x
The stream is right up to the last block, but it must be normalised once more before the head:
`rms_norm(x, model.norm.weight, model.config.norm_eps)`.
## keys and values swapped
- cache.attend(number, q, k, v) → cache.attend(number, q, v, k)
You hand the values over as keys, and the keys as values: `cache.attend(number, q, k, v)`.
## the head, too
- return rms_norm(x, model.norm.weight, model.config.norm_eps)
+ return model.head(rms_norm(x, model.norm.weight, model.config.norm_eps))
Those are logits, (B, T, V). The hidden states are asked for, (B, T, C): the head is left to the
caller.
## the last position alone
- return rms_norm(x, model.norm.weight, model.config.norm_eps)
+ return rms_norm(x[:, -1], model.norm.weight, model.config.norm_eps)
You give back the last position alone. All T new positions are asked for, (B, T, C).
## no mask
- cache.attend(number, q, k, v)
+ grouped_query_attention(q, *cache.append(number, k, v))
Each new token sees those that come after it: there is no mask. `cache.attend(number, q, k, v)` makes the
causal one; it appends, too.
## attends to the new tokens alone
- cache.attend(number, q, k, v)
+ grouped_query_attention(q, k, v, causal_mask(q.shape[2]))
Right for the first prompt, but later tokens see nothing of what came before: attention must go
through `cache.attend(number, q, k, v)`, which stores the new keys and attends to all of them.
""",
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


def prefilled(candidate: Candidate, config: ModelConfig, token_ids: Tensor, cached: int = 0) -> Any:
    """The first `cached` tokens are in the cache already; the candidate reads the others."""
    model = random_decoder(config)
    cache = CountingCache(config, token_ids.shape[0], 120)
    if cached:
        model.hidden(token_ids[:, :cached], cache)
        token_ids = token_ids[:, cached:]
        cache.forwards.clear()
    before = model.head_positions
    logits = candidate(model, token_ids, cache)
    return {
        "the logits": logits,
        "positions on which the head was run": model.head_positions - before,
        "the cache's length": cache.length,
        "at most 2 forwards": len(cache.forwards) <= 2,
    }


def prefilled_expected(config: ModelConfig, token_ids: Tensor, cached: int = 0) -> Any:
    model = random_decoder(config)
    last = decoder_by_pytorch(model, token_ids)[:, -1]
    return {
        "the logits": F.linear(last, model.output.weight),
        "positions on which the head was run": token_ids.shape[0],
        "the cache's length": token_ids.shape[1],
        "at most 2 forwards": True,
    }


def prefilling(label: str, config: ModelConfig, seed: int, B: int, T: int, cached: int = 0) -> Case:
    ids = random_ids(config, seed, B, T)
    return trial(label, prefilled, prefilled_expected, config, ids, cached)


def last_logits(model: Decoder, token_ids: Tensor, cache: AnyCache) -> Tensor:
    """Right for a prompt and for a step."""
    hidden = model.hidden(token_ids, cache)
    return model.head(hidden[:, -1])


# mistakes of both phases: what is taken of the hidden vectors, and what goes through the head
OF_ITS_LAST_POSITION = """\
## the first row of the batch
- hidden[:, -1] → hidden[0, -1]
You take row 0 of the batch alone: [:, -1] takes the last position of every row.
## a batch of the first row
- hidden[:, -1] → hidden[:1, -1]
Right for one row, but of a batch you give back the first row alone: [:, -1] takes the last position
of every row.
## squeezed
- model.head(hidden[:, -1]) → model.head(hidden[:, -1:]).squeeze()
`squeeze()` takes out every axis of size 1, that of a batch of one too. Take the position out with
[:, -1], and no other axis goes.
## probabilities instead of logits
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).softmax(-1)
Those are probabilities. The logits are asked for, as the head gives them: softmax is left to who
draws from them.
## logarithms of probabilities
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).log_softmax(-1)
Those are the logarithms of probabilities. The logits are asked for, as the head gives them.
## the vector instead of the logits
- model.head(hidden[:, -1]) → hidden[:, -1]
That is the last position's vector, (B, C). It still goes through `model.head`, which makes logits of
it, (B, V).
## read twice
- hidden = model.hidden(token_ids, cache)
+ model.hidden(token_ids, cache)
+ hidden = model.hidden(token_ids, cache)
`model.hidden` is called twice with the cache, so the tokens stand in it twice. Call it once, and
keep what it gives.
"""


PREFILL = Exercise(
    name="prefill",
    lesson=LESSON,
    library=decode.prefill,
    minutes=5,
    difficulty=1,
    tolerance=1e-4,
    part=True,
    cases=(
        prefilling("a prompt of 5", SMALL, 10, 1, 5),
        prefilling("a prompt of 1", SMALL, 11, 1, 1),
        prefilling("a batch of 3 prompts of 4", SMALL, 12, 3, 4),
        prefilling("another model, 2 prompts of 7", DEEPER, 13, 2, 7),
        prefilling("4 more tokens behind 3 that are cached", SMALL, 14, 2, 7, 3),
    ),
    mistakes=edits(
        last_logits,
        """
## the head on all positions
- model.head(hidden[:, -1]) → model.head(hidden)[:, -1]
The logits are right, but the head was run on every position of the prompt, and all but the last
were thrown away. Take the last position first, then the head.
## the logits of all positions
- model.head(hidden[:, -1]) → model.head(hidden)
You give back the logits of every position, (B, T, V). Only the last one forecasts what comes after
the prompt: (B, V).
## the first position
- hidden[:, -1] → hidden[:, 0]
Those are the logits after the first token of the prompt. The next token is read off the last
position, -1.
## an axis too many
- hidden[:, -1] → hidden[:, -1:]
The values are right, but their shape is (B, 1, V): `[:, -1:]` keeps the axis of the positions,
`[:, -1]` takes it out.
## the last row of the batch
- hidden[:, -1] → hidden[-1]
You take the last row of the batch, [-1]; axis 0 is the batch, axis 1 the positions: [:, -1].
"""
        + OF_ITS_LAST_POSITION
        + """\
## the mean of all positions
- hidden[:, -1] → hidden.mean(1)
You average over the positions. The vector of the last one alone has seen the whole prompt, and
forecasts what follows it: [:, -1].
## the last token left out
- model.hidden(token_ids, cache) → model.hidden(token_ids[:, :-1], cache)
You read all but the last token of the prompt. What follows it can only be told after all of it.
## the cache emptied first
- hidden = model.hidden(token_ids, cache)
+ cache.truncate(0)
+ hidden = model.hidden(token_ids, cache)
You empty the cache first. It may hold the beginning of a text already, which these tokens go on:
`model.hidden` counts on from there, and nothing is truncated.
## positions from 0
- model.hidden(token_ids, cache) → model.hidden(token_ids, cache, torch.arange(token_ids.shape[1]))
Your positions start at 0, though the cache may hold a beginning already. `model.hidden` counts on from
the cache's length by itself: give it no positions.
## token by token
- hidden = model.hidden(token_ids, cache)
+ for token in token_ids.split(1, dim=1):
+     hidden = model.hidden(token, cache)
The logits are right, but you read the prompt token by token, a forward for each. The prompt is known:
`model.hidden` takes all of it at once.
## the whole model, and no cache
- hidden = model.hidden(token_ids, cache)
- return model.head(hidden[:, -1])
+ return model(token_ids)[:, -1]
`model(token_ids)` knows no cache, and runs the head on every position. Call `model.hidden` with the
cache, take the last position, and give that one to `model.head`.
## the cache forgotten
- model.hidden(token_ids, cache) → model.hidden(token_ids)
The logits are right, but the cache is empty afterwards: pass it on to `model.hidden`.
## advanced once more
- hidden = model.hidden(token_ids, cache)
+ hidden = model.hidden(token_ids, cache)
+ cache.advance(token_ids.shape[1])
The cache's length is twice that of the prompt: `model.hidden` has advanced it already.
## the token instead of the logits
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).argmax(-1)
That is the best token. `prefill` gives back the logits, (B, V); who calls it chooses.
""",
    ),
    hints=(
        "Two calls: `model.hidden(token_ids, cache)` gives (B, T, C), `model.head` turns vectors into "
        "logits. What do you do between them?",
        "`hidden[:, -1]` is the last position of each row, (B, C). The head of that is (B, V).",
    ),
)


def decoded(candidate: Candidate, config: ModelConfig, token_ids: Tensor) -> Any:
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
    logits = F.linear(decoder_by_pytorch(model, token_ids), model.output.weight)
    return {
        "the logits of step 1": logits[:, -2],
        "the cache's length after step 1": T - 1,
        "the logits of step 2": logits[:, -1],
        "the cache's length after step 2": T,
        "positions on which the head was run": 2 * B,
    }


def decoding(label: str, config: ModelConfig, seed: int, B: int, T: int) -> Case:
    return trial(label, decoded, decoded_expected, config, random_ids(config, seed, B, T))


DECODE_STEP = Exercise(
    name="decode_step",
    lesson=LESSON,
    library=decode.decode_step,
    minutes=1,
    difficulty=1,
    tolerance=1e-4,
    part=True,
    cases=(
        decoding("two steps after a prompt of 4", SMALL, 14, 1, 6),
        decoding("a batch of 3", SMALL, 15, 3, 5),
        decoding("another model, a batch of 2", DEEPER, 16, 2, 8),
    ),
    mistakes=edits(
        last_logits,
        """
## without the cache
- model.hidden(token_ids, cache) → model.hidden(token_ids)
The step sees its own token alone: pass the cache to `model.hidden`.
## an axis too many
- model.head(hidden[:, -1]) → model.head(hidden)
The values are right, but their shape is (B, 1, V): take the one position out, [:, -1].
## advanced once more
- hidden = model.hidden(token_ids, cache)
+ hidden = model.hidden(token_ids, cache)
+ cache.advance(token_ids.shape[1])
The cache's length grows by 2 at each step: `model.hidden` has advanced it already.
"""
        + OF_ITS_LAST_POSITION
        + """\
## the last row of the batch
- hidden[:, -1] → hidden[-1]
You take the last row of the batch, [-1]; axis 0 is the batch, axis 1 the positions: [:, -1].
## taken back
- return model.head(hidden[:, -1])
+ cache.truncate(cache.length - 1)
+ return model.head(hidden[:, -1])
At the end you take the token back out of the cache, so the next step can't see it. It belongs to the
text now: leave the length as `model.hidden` leaves it.
## one position late
- (token_ids, cache) → (token_ids, cache, torch.tensor([cache.length + 1]))
The new token is told a position that is one too large: `model.hidden` counts on from the cache's
length by itself. Give it no positions.
## one position early
- (token_ids, cache) → (token_ids, cache, torch.tensor([cache.length - 1]))
The new token is told the position of the last one that is cached: `model.hidden` counts on from the
cache's length by itself. Give it no positions.
## the cache emptied first
- hidden = model.hidden(token_ids, cache)
+ cache.truncate(0)
+ hidden = model.hidden(token_ids, cache)
The cache is emptied at each step, so the token sees itself alone: what is in the cache is the text
so far.
## at position 0
- model.hidden(token_ids, cache) → model.hidden(token_ids, cache, torch.tensor([0]))
The new token is told that it stands at position 0. `model.hidden` counts on from the cache's
length by itself: give it no positions.
## the token instead of the logits
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).argmax(-1)
That is the best token. `decode_step` gives back the logits, (B, V); who calls it chooses.
""",
    ),
    hints=(
        "What `prefill` does with a prompt of T tokens, this does with one token. What is different "
        "in the code?",
        "Nothing, but the name: `model.hidden(token_ids, cache)` gives (B, 1, C); its position -1 "
        "goes to the head.",
    ),
)

EXERCISES = (
    CONTIGUOUS_KV_CACHE,
    HIDDEN_WITH_CACHE,
    PREFILL,
    DECODE_STEP,
)
