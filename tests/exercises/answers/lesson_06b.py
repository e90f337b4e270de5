"""Lesson 06b: right answers, named mistakes in other words, and wrong answers nobody named."""

from functools import partial

import torch

from decodeloop.exercises.edits import edited
from decodeloop.model import (
    block,
    rms_norm,
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


# --- prefill and decode_step ----------------------------------------------------------------------


def out_of_its_parts(model, token_ids, cache):
    hidden = with_partials(model, token_ids, cache)
    return model.head(hidden[:, -1])


# --- kv_cache_bytes -------------------------------------------------------------------------------


def by_the_buffer(config, batch, length, bytes_per_number):
    shape = (2, config.layers, batch, config.kv_heads, length, config.head_dim)
    return torch.Size(shape).numel() * bytes_per_number


def by_the_layer(config, batch, length, bytes_per_number):
    total = 0
    for _ in range(config.layers):
        keys = batch * config.kv_heads * length * config.head_dim
        values = keys
        total += (keys + values) * bytes_per_number
    return total


SIZES = edited(
    by_the_buffer,
    """
## keys alone
- (2, config.layers → (config.layers
## H instead of G
- config.kv_heads → config.heads
## one layer
- config.layers → 1
## C instead of G·D
- config.kv_heads, length, config.head_dim → config.width, length
## C instead of D
- length, config.head_dim → length, config.width
## always 2 bytes
- .numel() * bytes_per_number → .numel() << 1
## counted twice
- (2, config.layers → (4, config.layers
## mebibytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number / 1024 / 1024
## gigabytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number * 1e-9
## gibibytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number / 1024**3
## the longest text
- config.kv_heads, length, → config.kv_heads, config.context,
## queries stored too
- (2, config.layers, batch, config.kv_heads, length
+ (1, config.layers, batch, config.heads + 2 * config.kv_heads, length
## one position more
- config.kv_heads, length, → config.kv_heads, length + 1,
## D as C / H
- config.head_dim → config.width // config.heads
## one text
- config.layers, batch, → config.layers,
## one token
- config.kv_heads, length, → config.kv_heads,
## numbers instead of bytes
- .numel() * bytes_per_number → .numel()
## bits
- (2, config.layers → (16, config.layers
## always 4 bytes
- .numel() * bytes_per_number → .numel() * 4
## kilobytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number / 1000
## kibibytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number / 1024
## the lesson's model
- torch.Size(shape).numel() * bytes_per_number → 46_080 * batch * length * bytes_per_number // 4
## megabytes instead of bytes
- .numel() * bytes_per_number → .numel() * bytes_per_number * 1e-6
""",
)

UNNAMED_SIZES = edited(
    by_the_layer,
    """
## the width for each query head
- config.kv_heads * length * config.head_dim → config.heads * length * config.width
## the feed-forward's width
- config.kv_heads * length * config.head_dim → length * config.feed_forward
## texts and tokens added
- batch * config.kv_heads * length → (batch + length) * config.kv_heads
## terabytes
- return total → return total / 1e12
## the layers squared
- (keys + values) * bytes_per_number → (keys + values) * bytes_per_number * config.layers
""",
)

# --- chunked_prefill ------------------------------------------------------------------------------


def by_indices(model, token_ids, cache, chunk):
    T = token_ids.shape[1]
    start = 0
    while start < T:
        end = min(start + chunk, T)
        hidden = model.hidden(token_ids[:, start:end], cache)
        start = end
    return model.head(hidden[:, -1])


def recursively(model, token_ids, cache, chunk):
    logits = out_of_its_parts(model, token_ids[:, :chunk], cache)
    rest = token_ids[:, chunk:]
    return recursively(model, rest, cache, chunk) if rest.shape[1] else logits


CHUNKS = {
    **edited(
        by_indices,
        """
## the rest is dropped
- while start < T: → while start == 0 or start + chunk <= T:
## the rest is dropped, and a short prompt
- while start < T: → while start + chunk <= T:
## a list of logits
- start = 0 → start, every = 0, []
- start = end
+ start = end
+ every.append(model.head(hidden[:, -1]))
- return model.head(hidden[:, -1]) → return every
## the last piece is dropped
- while start < T: → while start + chunk < T:
## a last piece of one token is dropped
- while start < T: → while start == 0 or start < T - 1:
## the last piece is read twice
- return model.head
+ hidden = model.hidden(token_ids[:, (T - 1) // chunk * chunk :], cache)
+ return model.head
## the last piece is filled up
- token_ids[:, start:end] → token_ids[:, max(0, min(start, T - chunk)) : end]
## the last piece alone
- start = 0 → start = (T - 1) // chunk * chunk
## the rest at once
- end = min(start + chunk, T) → end = T if start else min(chunk, T)
## the shorter piece first
- min(start + chunk, T) → min(start + (chunk if start or T % chunk == 0 else T % chunk), T)
## one token too many
- start + chunk → start + chunk + 1
## the vector instead of the logits
- return model.head(hidden[:, -1]) → return hidden[:, -1]
## the logits of all positions
- model.head(hidden[:, -1]) → model.head(hidden)
## the head on all positions
- return model.head(hidden[:, -1]) → return logits[:, -1]
- start = end
+ start = end
+ logits = model.head(hidden)
## the cache emptied first
- start = 0
+ start = 0
+ cache.truncate(start)
## one token short
- token_ids[:, start:end] → token_ids[:, start : min(start + chunk - 1, T)]
## from the beginning each time
- token_ids[:, start:end] → token_ids[:, :end]
## the batch is split
- T = token_ids.shape[1] → T = token_ids.shape[0]
- token_ids[:, start:end] → token_ids[start:end]
## one by one
- start + chunk → start + 1
## chunks instead of their size
- start + chunk → start - (-T // chunk)
## the logits of the first chunk
- hidden = model.hidden(token_ids[:, start:end], cache)
+ new = model.hidden(token_ids[:, start:end], cache)
+ hidden = new if start == 0 else hidden
## the logits of every chunk
- start = 0 → start, every = 0, []
- start = end
+ start = end
+ every.append(hidden[:, -1])
- hidden[:, -1] → torch.stack(every, 1)
## forgotten between the chunks
- end = min(start + chunk, T)
+ end = min(start + chunk, T)
+ cache.truncate(0)
## an overlap of one
- token_ids[:, start:end] → token_ids[:, max(0, start - 1) : end]
""",
    ),
    **edited(
        recursively,
        """
## return inside the loop
- return recursively(model, rest, cache, chunk) if rest.shape[1] else logits → return logits
## all at once
- token_ids[:, :chunk] → token_ids
- return recursively(model, rest, cache, chunk) if rest.shape[1] else logits → return logits
## the logits of all chunks, concatenated
- return recursively(model, rest, cache, chunk) if rest.shape[1] else logits
+ if not rest.shape[1]:
+     return logits
+ return torch.cat((logits, recursively(model, rest, cache, chunk)))
""",
    ),
}

UNNAMED_CHUNKS = edited(
    by_indices,
    """
## from behind
- token_ids[:, start:end] → token_ids[:, max(0, T - start - chunk) : T - start]
## the number of pieces, and a piece for what is left
- start + chunk → start + max(T // chunk, 1)
## the mean of the last piece
- hidden[:, -1] → hidden.mean(1)
""",
)

RIGHT = {
    "kv_cache_bytes": [by_the_buffer, by_the_layer],
    "chunked_prefill": [by_indices, recursively],
}

SECOND_FORMS = {
    "kv_cache_bytes": SIZES,
    "chunked_prefill": CHUNKS,
}

UNNAMED = {
    "kv_cache_bytes": list(UNNAMED_SIZES.values()),
    "chunked_prefill": list(UNNAMED_CHUNKS.values()),
}
