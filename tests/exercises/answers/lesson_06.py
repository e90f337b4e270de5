"""Lesson 06: right answers, named mistakes in other words, and wrong answers nobody named."""

from functools import partial

import torch
from second_forms import again
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_06 import (
    CONTIGUOUS_KV_CACHE,
    DECODE_STEP,
    HIDDEN_WITH_CACHE,
    PREFILL,
)
from decodeloop.model import (
    block,
    causal_mask,
    grouped_query_attention,
    rms_norm,
)

# --- ContiguousKVCache ----------------------------------------------------------------------------


class OneBuffer:
    """Keys and values in one tensor: (2, L, B, G, max_length, D)."""

    def __init__(self, config, batch, max_length, dtype=torch.float32, device=None):
        shape = (2, config.layers, batch, config.kv_heads, max_length, config.head_dim)
        self.both = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def append(self, layer, k, v):
        T = k.shape[2]
        self.both[:, layer, :, :, self.length : self.length + T] = torch.stack((k, v))
        keys, values = self.both[:, layer, :, :, : self.length + T]
        return keys, values

    def attend(self, layer, q, k, v, mask=None):
        keys, values = self.append(layer, k, v)
        if mask is None and q.shape[2] > 1:
            mask = causal_mask(q.shape[2], keys.shape[2]).to(q.device)
        return grouped_query_attention(q, keys, values, mask)

    def advance(self, T):
        self.length += T

    def truncate(self, n):
        self.length = n

    def select(self, rows):
        self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))


class PlaceByPlace:
    """A list of buffers, one for each layer, written one position at a time."""

    def __init__(self, config, batch, max_length, dtype=torch.float32, device=None):
        shape = (batch, config.kv_heads, max_length, config.head_dim)
        empty = torch.zeros(shape, dtype=dtype, device=device)
        self.layers = [[empty.clone(), empty.clone()] for _ in range(config.layers)]
        self.used = 0

    @property
    def length(self):
        return self.used

    def append(self, layer, k, v):
        end = self.used + k.size(2)
        for buffer, new in zip(self.layers[layer], (k, v), strict=True):
            for t in range(k.size(2)):
                buffer[:, :, self.used + t] = new[:, :, t]
        return [buffer[:, :, :end] for buffer in self.layers[layer]]

    def attend(self, layer, q, k, v, mask=None):
        keys, values = self.append(layer, k, v)
        T, S, groups = q.shape[2], keys.shape[2], q.shape[1] // k.shape[1]
        if mask is None:
            mask = torch.ones(S, S).tril()[S - T :].bool().to(q.device)
        keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
        scores = torch.einsum("bhtd,bhsd->bhts", q, keys) * q.shape[-1] ** -0.5
        return torch.where(mask, scores, -torch.inf).softmax(-1).nan_to_num(0.0) @ values

    def advance(self, T):
        self.used += T

    def truncate(self, n):
        self.used = n

    def select(self, rows):
        for pair in self.layers:
            pair[:] = [torch.stack([buffer[row] for row in rows]) for buffer in pair]


CACHES = {
    **again(CONTIGUOUS_KV_CACHE.mistakes, OneBuffer),
    **edited(
        OneBuffer,
        """
## advanced by every append
- return keys, values
+ self.length += T
+ return keys, values
## advanced by append alone
- return keys, values
+ self.length += T
+ return keys, values
- self.length += T → pass
## advanced by the first layer
- return keys, values
+ if not layer:
+     self.length += T
+ return keys, values
- self.length += T → pass
## what is stored is copied
- T = k.shape[2]
+ T = k.shape[2]
+ if self.length:
+     before = self.both[:, layer, :, :, : self.length]
+     self.both[:, layer, :, :, : self.length] = torch.cat((before,))
## always at the start
- self.length : self.length + T] = torch → : T] = torch
## advanced by the last layer
- return keys, values
+ if layer + 1 == self.both.shape[1]:
+     self.length += T
+ return keys, values
- self.length += T → pass
## all layers given back
- keys, values = self.both[:, layer, :, :, : self.length + T]
+ keys, values = self.both[:, :, :, :, : self.length + T]
## truncate cuts the buffers
- self.length = n
+ self.length, self.both = n, self.both.narrow(4, 0, n)
## the buffers keep their rows
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ self.both[:] = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
## the other way round
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ before, self.both = self.both, self.both.clone()
+ for i in range(len(rows)):
+     self.both[:, :, rows[i]] = before[:, :, i]
## the other way round, and the rest empty
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ before, self.both = self.both, torch.zeros_like(self.both)
+ self.both[:, :, torch.as_tensor(rows)] = before
## select forgets the length
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ self.truncate(0)
## attend sees the new tokens alone
- keys, values = self.append(layer, k, v)
+ _ = self.append(layer, k, v)
+ keys, values = k, v
## the causal mask on top of the given one
- if mask is None and q.shape[2] > 1:
-     mask = causal_mask(q.shape[2], keys.shape[2]).to(q.device)
+ triangle = causal_mask(q.shape[2], keys.shape[2]).to(q.device)
+ mask = triangle if mask is None else torch.logical_and(mask, triangle)
## the given mask is ignored for one token
- if mask is None and q.shape[2] > 1:
-     mask = causal_mask(q.shape[2], keys.shape[2]).to(q.device)
+ if q.shape[2] == 1:
+     mask = None
+ elif mask is None:
+     mask = causal_mask(q.shape[2], keys.shape[2]).to(q.device)
## only the new keys
- , : self.length + T] → , self.length : self.length + T]
## only the old keys
- , : self.length + T] → , : self.length]
## the whole buffer
- [:, layer, :, :, : self.length + T] → [:, layer]
## keys and values swapped
- torch.stack((k, v)) → torch.stack((v, k))
## one store for all layers
- T = k.shape[2] → layer, T = -1, k.shape[2]
## truncate by zeros
- self.length = n → self.both[..., n:, :].zero_()
## truncate off by one, but not at 0
- self.length = n → self.length = n - (n > 0)
## the place is not taken back
- self.length = 0 → self.length = self.written = 0
- self.length : self.length + T] = → self.written : self.written + T] =
- self.length += T → self.length, self.written = self.length + T, self.written + T
## the selection is dropped
- self.both = self.both.index_select → both = self.both.index_select
## select overwrites before it reads
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ for i in range(len(rows)):
+     self.both.select(2, i).copy_(self.both.select(2, rows[i]).clone())
## attend uses the whole buffer
- keys, values = self.append(layer, k, v)
+ self.append(layer, k, v)
+ keys, values = self.both[:, layer]
## causal for the prompt alone
- if mask is None and q.shape[2] > 1: → if mask is None and self.length == 0:
## the mask is not shifted
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(keys.shape[2])[: q.shape[2]]
## the mask is not shifted, not even for one token
- if mask is None and q.shape[2] > 1: → if mask is None:
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(keys.shape[2])[: q.shape[2]]
""",
    ),
    **edited(
        PlaceByPlace,
        """
## keys stored as values
- (k, v), strict → (k, k), strict
## select forgets the values
- pair[:] = [torch.stack([buffer[row] for row in rows]) for buffer in pair]
+ pair[0] = pair[0][torch.as_tensor(rows)]
## select takes layers
- for pair in self.layers:
-     pair[:] = [torch.stack([buffer[row] for row in rows]) for buffer in pair]
+ self.layers = [[buffer.clone() for buffer in self.layers[row]] for row in rows]
## attend without a mask
- torch.ones(S, S).tril()[S - T :].bool() → torch.ones(T, S).bool()
## the given mask is ignored
- if mask is None:
-     mask = torch.ones(S, S).tril()[S - T :].bool()
+ mask = torch.ones(S, S).tril()[S - T :].bool()
""",
    ),
}

UNNAMED_CACHES = edited(
    OneBuffer,
    """
## truncate forgotten
- self.length = n → pass
## one place late
- self.length : self.length + T] = → self.length + 1 : self.length + T + 1] =
- , : self.length + T] → , : self.length + T + 1]
## the newest first
- return keys, values → return keys.flip(2), values.flip(2)
## attends without storing
- keys, values = self.append(layer, k, v)
+ keys, values = k, v
+ mask = mask if mask is None else mask[..., -q.shape[2] :]
## truncate empties
- self.length = n → self.length = 0
## the first rows
- self.both = self.both.index_select(2, torch.as_tensor(rows, device=self.both.device))
+ self.both = self.both[:, :, : len(rows)]
## a mask of S rows
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(keys.shape[2])
## a mask of T columns
- causal_mask(q.shape[2], keys.shape[2]) → causal_mask(q.shape[2])
""",
)

# --- hidden_with_cache ----------------------------------------------------------------------------


def with_partials(model, token_ids, cache):
    config, (_, T) = model.config, token_ids.shape
    attends = [partial(cache.attend, number) for number in range(config.layers)]
    x = model.embedding(token_ids)
    positions = cache.length + torch.arange(T).to(x.device)
    for layer, attend in zip(model.layers, attends, strict=True):
        x = block(x, layer, positions, attend)
    cache.advance(T)
    return rms_norm(x, model.norm.weight, config.norm_eps)


def by_the_place(model, token_ids, cache):
    """Positions for each row, and PyTorch's embedding and norm."""
    B, T = token_ids.shape
    positions = torch.arange(cache.length, cache.length + T, device=token_ids.device).expand(B, T)
    x = F.embedding(token_ids, model.embedding.weight)
    for place in range(len(model.layers)):
        x = block(x, model.layers[place], positions, lambda *qkv: cache.attend(place, *qkv))  # noqa: B023
    cache.advance(T)
    return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)


HIDDENS = {
    **again(HIDDEN_WITH_CACHE.mistakes, by_the_place),
    **edited(
        by_the_place,
        """
## advanced before the layers
- cache.advance(T) → pass
- x = F.embedding(token_ids, model.embedding.weight)
+ x = F.embedding(token_ids, model.embedding.weight)
+ cache.advance(T)
## every layer reads the embedding
- x = block(x, model → last = block(x, model
- return F.rms_norm(x, → return F.rms_norm(last,
## no mask
- lambda *qkv: cache.attend(place, *qkv)
+ lambda *qkv: cache.attend(place, *qkv, mask=torch.ones(T, cache.length + T, dtype=torch.bool))
## the final norm is missing
- return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps) → return x
## the cache emptied first
- B, T = token_ids.shape
+ cache.truncate(0)
+ B, T = token_ids.shape
## positions count from 1
- .expand(B, T) → .add(1).expand(B, T)
## one position for all
- torch.arange(cache.length, cache.length + T, device=token_ids.device).expand(B, T)
+ torch.tensor([[cache.length] * T])
## positions of those before
- .expand(B, T) → .sub(T).expand(B, T)
## advanced by the new length
- cache.advance(T) → cache.advance(T + cache.length)
## advanced by the batch
- cache.advance(T) → cache.advance(B)
## advanced first of all
- cache.advance(T) → pass
- B, T = token_ids.shape
+ B, T = token_ids.shape
+ cache.advance(T)
## keys and values swapped
- lambda *qkv: cache.attend(place, *qkv) → lambda q, k, v: cache.attend(place, q, v, k)
## the head, too
- return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)
+ x = F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)
+ return F.linear(x, model.output.weight)
## the last position alone
- return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)
+ return F.rms_norm(x, x.shape[-1:], model.norm.weight, model.config.norm_eps)[:, -1, :]
## attends to the new tokens alone
- lambda *qkv: cache.attend(place, *qkv)
+ lambda q, k, v: (cache.attend(place, q, k, v), F.scaled_dot_product_attention(
+     q, k, v, is_causal=True, enable_gqa=True))[1]
""",
    ),
    **edited(
        with_partials,
        """
## all layers in one
- partial(cache.attend, number) → partial(cache.attend, 0)
## all layers in the last one
- partial(cache.attend, number) → lambda q, k, v: cache.attend(number, q, k, v)
""",
    ),
}

UNNAMED_HIDDENS = edited(
    with_partials,
    """
## two mistakes at once
- cache.length + torch.arange(T) → 1 + cache.length + torch.arange(T)
- cache.advance(T) → cache.advance(T + T)
## the epsilon of the lesson's model
- config.norm_eps → 1e-5
## the norm after every block
- x = block(x, layer, positions, attend)
+ x = rms_norm(block(x, layer, positions, attend), model.norm.weight, config.norm_eps)
## layers from the end
- zip(model.layers, attends, strict=True) → zip(reversed(model.layers), attends, strict=True)
""",
)

# --- prefill and decode_step ----------------------------------------------------------------------


def last_kept_then_flat(model, token_ids, cache):
    B, T = token_ids.shape
    last = model.hidden(token_ids, cache)[:, T - 1 : T]
    return model.head(last).reshape(B, -1)


def out_of_its_parts(model, token_ids, cache):
    hidden = with_partials(model, token_ids, cache)
    return model.head(hidden[:, -1])


PHASES = {
    **again((*PREFILL.mistakes, *DECODE_STEP.mistakes), out_of_its_parts),
    **edited(
        out_of_its_parts,
        """
## an axis too many
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).unsqueeze(1)
## the cache forgotten
- with_partials(model, token_ids, cache) → model.hidden(token_ids, None)
## without the cache
- with_partials(model, token_ids, cache) → model.hidden(token_ids, None)
## read twice
- hidden = with_partials(model, token_ids, cache)
+ for _ in range(2):
+     hidden = with_partials(model, token_ids, cache)
## squeezed
- model.head(hidden[:, -1]) → model.head(hidden[:, -1]).squeeze()
## the vector instead of the logits
- return model.head(hidden[:, -1]) → return hidden.select(1, -1)
## the last token left out
- with_partials(model, token_ids, cache)
+ model.hidden(token_ids[:, : token_ids.shape[1] - 1], cache)
## the whole model, and no cache
- return model.head(hidden[:, -1]) → return model(token_ids)[:, -1]
- hidden = with_partials(model, token_ids, cache)
## taken back
- return model.head(hidden[:, -1])
+ logits = model.head(hidden[:, -1])
+ cache.truncate(cache.length - token_ids.shape[1])
+ return logits
## one position late
- with_partials(model, token_ids, cache)
+ model.hidden(token_ids, cache, positions=torch.full_like(token_ids, cache.length + 1))
## one position early
- with_partials(model, token_ids, cache)
+ model.hidden(token_ids, cache, positions=torch.full_like(token_ids, cache.length - 1))
## advanced once more
- with_partials(model, token_ids, cache)
+ with_partials(model, token_ids, cache)
+ cache.advance(hidden.shape[1])
## the cache emptied first
- hidden = with_partials
+ cache.truncate(0)
+ hidden = with_partials
## positions from 0
- with_partials(model, token_ids, cache)
+ model.hidden(token_ids, cache, positions=torch.arange(token_ids.shape[1]).expand_as(token_ids))
## token by token
- hidden = with_partials(model, token_ids, cache)
+ for t in range(token_ids.shape[1]):
+     hidden = with_partials(model, token_ids[:, t : t + 1], cache)
## at position 0
- with_partials(model, token_ids, cache)
+ model.hidden(token_ids, cache, positions=torch.zeros(1, dtype=torch.long))
""",
    ),
}

UNNAMED_PHASES = edited(
    last_kept_then_flat,
    """
## shares of the logits
- reshape(B, -1) → reshape(B, -1).exp()
## the position before the last
- [:, T - 1 : T] → [:, max(T - 2, 0)]
## the sum of the positions
- [:, T - 1 : T] → .sum(1)
## the norm once more
- (token_ids, cache)[:, T - 1 : T] → (token_ids, cache)[:, T - 1 : T].mul(2)
## two positions late
- (token_ids, cache)[ → (token_ids, cache, torch.arange(T) + cache.length + 2)[
""",
)


def nobody_named(*names):
    return [UNNAMED_PHASES[name] for name in names]


# --- chunked_prefill ------------------------------------------------------------------------------


RIGHT = {
    "ContiguousKVCache": [OneBuffer, PlaceByPlace],
    "hidden_with_cache": [with_partials, by_the_place],
    "prefill": [last_kept_then_flat, out_of_its_parts],
    "decode_step": [last_kept_then_flat, out_of_its_parts],
}

SECOND_FORMS = {
    "ContiguousKVCache": CACHES,
    "hidden_with_cache": HIDDENS,
    "prefill": {mistake.name: PHASES[mistake.name] for mistake in PREFILL.mistakes},
    "decode_step": {mistake.name: PHASES[mistake.name] for mistake in DECODE_STEP.mistakes},
}

UNNAMED = {
    "ContiguousKVCache": list(UNNAMED_CACHES.values()),
    "hidden_with_cache": list(UNNAMED_HIDDENS.values()),
    "prefill": nobody_named(
        "shares of the logits", "the position before the last", "the sum of the positions"
    ),
    "decode_step": nobody_named("shares of the logits", "the norm once more", "two positions late"),
}
