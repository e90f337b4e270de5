"""Exercises of lesson 06b: the bytes of a cache, and a prompt read in pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop import decode
from decodeloop.cost import kv_cache_bytes, preset
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call, trial
from decodeloop.exercises.lesson_06 import DEEPER, SMALL, CountingCache, random_decoder
from decodeloop.exercises.oracles import decoder_by_pytorch, random_ids
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    Decoder,
    ModelConfig,
)
from decodeloop.model import KVCache as AnyCache

LESSON = "06b_cache_costs"

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
        call("one KV head, 5 texts of 9 tokens", DEEPER, 5, 9, 4, oracle=counted),
    ),
    mistakes=edits(
        counted,
        """
## keys alone
- ("key", "value") → ("key",)
Half of it: values are stored as well as keys.
## H instead of G
- config.kv_heads → config.heads
You count the query heads. What is stored are keys and values, and they have `config.kv_heads`
heads; queries are never stored.
## one layer
-  for _ in range(config.layers)
That is one layer. Each layer has keys and values of its own.
## C instead of G·D
- [config.kv_heads, config.head_dim] → [config.width]
You count the width C for each key. A key has G·D numbers, `kv_heads * head_dim`: with fewer KV
heads than query heads that is less than C.
## C instead of D
- config.head_dim → config.width
You count the width C for each KV head. Each has D numbers: `config.head_dim`.
## D as C / H
- config.head_dim → config.width // config.heads
The head dimension need not be C / H: take `config.head_dim`.
## one text
- * batch * length → * length
That is one text: multiply by the batch, since no two texts share what is stored.
## one token
- * batch * length → * batch
That is one token: multiply by the length.
## numbers instead of bytes
- numel() * bytes_per_number → numel()
You count the numbers. Each takes `bytes_per_number` bytes.
## bits
- numel() * bytes_per_number → numel() * bytes_per_number * 8
That is eight times too much, or too little: `bytes_per_number` is in bytes already.
## always 4 bytes
- numel() * bytes_per_number → numel() * 4
You take 4 bytes for each number, whatever is asked: `bytes_per_number` is 2 in fp16.
## always 2 bytes
- numel() * bytes_per_number → numel() * 2
You take 2 bytes for each number, whatever is asked: `bytes_per_number` is 4 in fp32.
## counted twice
- numel() * bytes_per_number → numel() * bytes_per_number * 2
Twice as much: a key and a value make a factor of 2, once.
## kilobytes instead of bytes
- * batch * length → * batch * length / 1e3
That is in kB. Bytes are asked for: nothing is divided by a thousand.
## kibibytes instead of bytes
- * batch * length → * batch * length / 2**10
That is in KiB. Bytes are asked for: nothing is divided by 1,024.
## the lesson's model
- sum(one for _ in ("key", "value") for _ in range(config.layers)) → 11520 * bytes_per_number
Right for the lesson's model, and for no other: its numbers are written into your code. Take them from
`config`.
## megabytes instead of bytes
- * batch * length → * batch * length / 1e6
That is in MB. Bytes are asked for: nothing is divided by a million.
## mebibytes instead of bytes
- * batch * length → * batch * length / 2**20
That is in MiB. Bytes are asked for: nothing is divided by 2^20.
## gigabytes instead of bytes
- * batch * length → * batch * length / 1e9
That is in GB. Bytes are asked for: nothing is divided by 10^9.
## gibibytes instead of bytes
- * batch * length → * batch * length / 2**30
That is in GiB. Bytes are asked for: nothing is divided by 2^30.
## the longest text
- * batch * length → * batch * config.context
You take the longest text that the model can read. Asked for are texts of `length` tokens.
## queries stored too
- sum(one for _ in ("key", "value") for _ in range(config.layers))
+ config.layers * (one * 2 + config.heads * config.head_dim * bytes_per_number)
You count the queries too. They are used once and not stored: keys and values alone.
## one position more
- * batch * length → * batch * (length + 1)
You count one position too many: a text of `length` tokens leaves `length` keys and values.
""",
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


def chunked(
    candidate: Candidate, config: ModelConfig, token_ids: Tensor, chunk: int, cached: int = 0
) -> Any:
    """The first `cached` tokens are in the cache already; the candidate reads the others."""
    model, B = random_decoder(config), token_ids.shape[0]
    cache = CountingCache(config, B, 120)
    if cached:
        model.hidden(token_ids[:, :cached], cache)
        cache.forwards.clear()
    before = model.head_positions
    logits = candidate(model, token_ids[:, cached:], cache, chunk)
    wasted = model.head_positions - before > B * len(cache.forwards)
    return {
        "the logits": logits,
        "tokens in each forward": cache.forwards,
        # where they are (B, V) only: another shape is another mistake, and tells of itself
        "the head on one position of a chunk at most": not (
            wasted and getattr(logits, "ndim", 0) == 2
        ),
    }


def chunked_expected(config: ModelConfig, token_ids: Tensor, chunk: int, cached: int = 0) -> Any:
    model, T = random_decoder(config), token_ids.shape[1] - cached
    last = decoder_by_pytorch(model, token_ids)[:, -1]
    return {
        "the logits": F.linear(last, model.output.weight),
        "tokens in each forward": [min(chunk, T - start) for start in range(0, T, chunk)],
        "the head on one position of a chunk at most": True,
    }


def chunking(
    label: str, config: ModelConfig, seed: int, B: int, T: int, chunk: int, cached: int = 0
) -> Case:
    ids = random_ids(config, seed, B, T)
    return trial(label, chunked, chunked_expected, config, ids, chunk, cached)


def piece_after_piece(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    for piece in token_ids.split(chunk, dim=1):
        logits = decode.prefill(model, piece, cache)
    return logits


def last_of_all(model: Decoder, token_ids: Tensor, cache: AnyCache, chunk: int) -> Tensor:
    every = [decode.prefill(model, piece, cache) for piece in token_ids.split(chunk, dim=1)]
    return every[-1]


CHUNKED_PREFILL = Exercise(
    name="chunked_prefill",
    lesson=LESSON,
    library=chunked_prefill,
    minutes=5,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        chunking("6 tokens in chunks of 3", SMALL, 20, 1, 6, 3),
        chunking("7 tokens in chunks of 3: the last is shorter", SMALL, 21, 1, 7, 3),
        chunking("a batch of 2, 5 tokens in chunks of 2", SMALL, 22, 2, 5, 2),
        chunking("4 tokens, a chunk of 9", DEEPER, 23, 1, 4, 9),
        chunking("5 tokens one by one", DEEPER, 24, 3, 5, 1),
        chunking("5 more in chunks of 2, behind 3 that are cached", SMALL, 25, 2, 8, 2, 3),
    ),
    mistakes=edits(
        piece_after_piece,
        """
## the rest is dropped
- token_ids.split → token_ids[:, : max(token_ids.shape[1] // chunk, 1) * chunk].split
The last chunk may be shorter than the others, and you leave it out: its tokens are never read.
## the rest is dropped, and a short prompt
- token_ids.split(chunk, dim=1) → token_ids.split(chunk, dim=1)[: token_ids.shape[1] // chunk]
The last chunk may be shorter than the others, and you leave it out: its tokens are never read. Of a
prompt shorter than `chunk` you read nothing at all.
## the last piece is dropped
- split(chunk, dim=1) → split(chunk, dim=1)[:-1]
The last piece is never read, whether it is shorter or not: `[:-1]` leaves it out. Loop over all of
them.
## a last piece of one token is dropped
- token_ids.split(chunk, dim=1)
+ [token_ids[:, i : i + chunk] for i in range(0, max(token_ids.shape[1] - 1, 1), chunk)]
Where the last piece is a single token you never read it: a `range` or a `while` that ends at T - 1
stops one too early. It ends at T.
## the last piece is read twice
- return logits
+ return decode.prefill(model, piece, cache)
The last piece goes through the model twice, so its tokens stand in the cache twice. Keep its logits
the first time.
## the last piece is filled up
- token_ids.split(chunk, dim=1)
+ [token_ids[:, max(min(i, token_ids.shape[1] - chunk), 0) : i + chunk]
+     for i in range(0, token_ids.shape[1], chunk)]
You fill the last piece up with tokens from before it, so they are read twice, and stand in the cache
twice. The last piece may be shorter.
## the last piece alone
- in token_ids.split(chunk, dim=1) → in token_ids.split(chunk, dim=1)[-1:]
You read the last piece alone: those before it go through the model too, and leave their keys and
values in the cache.
## the rest at once
- token_ids.split(chunk, dim=1)
+ [x for x in (token_ids[:, :chunk], token_ids[:, chunk:]) if x.shape[1]]
You cut once: the first `chunk` tokens, then all that is left in one forward. Every piece has at most
`chunk` tokens.
## the shorter piece first
- token_ids.split(chunk, dim=1)
+ [token_ids[:, max(i - chunk, 0) : i] for i in range(token_ids.shape[1], 0, -chunk)][::-1]
You cut from the end, so that the first piece is the shorter one. Cut from the front, as `split`
does: the last may be shorter.
## one token too many
- split(chunk, dim=1) → split(chunk + 1, dim=1)
Your pieces have one token too many: at most `chunk`.
## one token short
- in token_ids.split(chunk, dim=1):
+ in [x[:, : chunk - 1] for x in token_ids.split(chunk, dim=1)]:
Each piece is one token short, so one in `chunk` tokens is never read: a slice ends *before* its end.
## from the beginning each time
- logits = decode.prefill(model, piece, cache)
+ begun = token_ids[:, : (1 + len(cache.forwards)) * chunk]
+ logits = decode.prefill(model, begun, cache)
Each piece begins at the start of the prompt, so the cache gets its tokens again and again. A piece begins
where the one before ended.
## the batch is split
- split(chunk, dim=1) → split(chunk)
You cut the rows of the batch, not the text: `split` takes axis 0 if it is told no other. The
positions are axis 1: `token_ids.split(chunk, dim=1)`.
## return inside the loop
- return logits
+     return logits
Only the first chunk is read: a `return` in the loop ends it. Give the logits back after the loop,
unindented.
## all at once
- token_ids.split(chunk, dim=1) → [token_ids]
You read the whole prompt in one forward, whatever `chunk` is.
## one by one
- split(chunk, dim=1) → split(1, dim=1)
You read one token at a time, whatever `chunk` is.
## chunks instead of their size
- split(chunk, dim=1) → chunk(chunk, dim=1)
`chunk` is the number of tokens in a chunk, not the number of chunks: `torch.split` takes the size,
`torch.chunk` the number.
""",
    )
    + edits(
        last_of_all,
        """
## a list of logits
- every[-1] → every
You give back a list with the logits of every chunk. Only the last are wanted, (B, V).
## the logits of the first chunk
- every[-1] → every[0]
Those are the logits after the first chunk. What follows the prompt is read off the last.
## the logits of every chunk
- every[-1] → torch.stack(every, dim=1)
You give back the logits of every chunk, (B, chunks, V): only the last are wanted, (B, V).
## the logits of all chunks, concatenated
- every[-1] → torch.cat(every)
You glue the logits of all chunks together, (B · chunks, V). Only those after the last chunk
forecast what follows: (B, V).
""",
    )
    + edits(
        piece_after_piece,
        """
## the vector instead of the logits
- logits = decode.prefill(model, piece, cache) → logits = model.hidden(piece, cache)[:, -1]
That is the last position's vector, (B, C): it still goes through `model.head`.
## the logits of all positions
- logits = decode.prefill(model, piece, cache) → logits = model.head(model.hidden(piece, cache))
You give back the logits of every position of the last piece. Only those of the last one are wanted,
(B, V).
## the head on all positions
- logits = decode.prefill(model, piece, cache) → logits = model(piece, cache)[:, -1]
The logits are right, but the head is run on every position of each piece, and all but the last are
thrown away. `prefill` runs it on the last one.
## the cache emptied first
- for piece
+ cache.truncate(0)
+ for piece
You empty the cache first. It may hold the beginning of a text already, which these tokens go on:
nothing is truncated.
## forgotten between the chunks
- logits = decode.prefill(model, piece, cache)
+ cache.truncate(0)
+ logits = decode.prefill(model, piece, cache)
The cache is emptied before each chunk, so the last sees nothing of the others.
## an overlap of one
- for piece in token_ids.split(chunk, dim=1):
-     logits = decode.prefill(model, piece, cache)
+ for start in range(0, token_ids.shape[1], chunk):
+     piece = token_ids[:, max(start - 1, 0) : start + chunk]
+     logits = decode.prefill(model, piece, cache)
Your chunks overlap: the last token of one is read again as the first of the next, and then stands
in the cache twice.
""",
    ),
    hints=(
        "`token_ids.split(chunk, dim=1)` cuts along the positions; the last piece may be shorter. "
        "Everything else is `prefill`, which counts on from the cache's length by itself.",
        "Loop over the pieces, call `prefill(model, piece, cache)`, and keep the logits of the last. "
        "(Whoever wants to save a little runs the head on the last piece alone.)",
    ),
)

EXERCISES = (
    KV_CACHE_BYTES,
    CHUNKED_PREFILL,
)
