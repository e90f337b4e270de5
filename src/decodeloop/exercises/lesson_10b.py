"""Exercises of lesson 10b: the bytes of a forward, and the FLOPs of a whole generation."""

from __future__ import annotations

from decodeloop.cost import (
    forward_bytes,
    generation_flops,
)
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Exercise, call
from decodeloop.exercises.lesson_10 import GEMMA, TOY, UNTIED, forward_by_hand, shapes
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "10b_bytes"

# --- forward_bytes --------------------------------------------------------------------------------

Bytes = dict[str, float]


def bytes_by_hand(
    config: ModelConfig,
    batch: int,
    T: int,
    S: int,
    *,
    weight_bytes_per_number: float = 4,
    cache_bytes_per_number: float = 4,
    logits: int = 1,
) -> Bytes:
    """Closed form: the entries of every matrix and vector, once."""
    w, c = weight_bytes_per_number, cache_bytes_per_number
    C, L, V = config.width, config.layers, config.vocabulary
    matrices = sum(rows * columns for part in shapes(config).values() for rows, columns in part)
    weights = (L * (matrices + 2 * C) + C) * w
    head = V * C * w if logits else 0
    rows_of_table = batch * T * C * w
    position = 2 * L * config.kv_heads * config.head_dim * c
    read = batch * (S - T) * position
    written = batch * T * position
    return {
        "weights": weights,
        "head": head,
        "embedding_rows": rows_of_table,
        "kv_read": read,
        "kv_write": written,
    }


FORWARD_BYTES = Exercise(
    name="forward_bytes",
    lesson=LESSON,
    library=forward_bytes,
    minutes=12,
    difficulty=2,
    tolerance=1e-14,
    cases=(
        call("a decode step in fp32, S = 129", SMOLLM2_135M, 1, 1, 129, oracle=bytes_by_hand),
        call(
            "weights of half a byte, a cache of 2",
            TINY,
            2,
            3,
            8,
            oracle=bytes_by_hand,
            weight_bytes_per_number=0.5,
            cache_bytes_per_number=2,
        ),
        call("a prompt of 128 in fp32", SMOLLM2_135M, 1, 128, 128, oracle=bytes_by_hand),
        call(
            "3 texts, 5 positions after 7; weights of 2 bytes, a cache of 1",
            TINY,
            3,
            5,
            12,
            oracle=bytes_by_hand,
            weight_bytes_per_number=2,
            cache_bytes_per_number=1,
        ),
        call("not tied, logits of 3 positions", UNTIED, 2, 7, 9, oracle=bytes_by_hand, logits=3),
        call(
            "a chunk of a prompt: no logits at all", TINY, 2, 4, 20, oracle=bytes_by_hand, logits=0
        ),
        call(
            "Gemma 2B in bf16: 8 texts, one token each",
            GEMMA,
            8,
            1,
            300,
            oracle=bytes_by_hand,
            weight_bytes_per_number=2,
            cache_bytes_per_number=2,
        ),
    ),
    mistakes=edits(
        bytes_by_hand,
        """
## weights times the batch
- weights = ( → weights = batch * (
- head = V → head = batch * V
You read the weights once for each row. All rows share them: one reading serves the whole batch.
That is what a batch is good for.
## only the layers' weights times the batch
- weights = ( → weights = batch * (
The head is right, `weights` is not: all rows share the matrices of the layers, too. One reading
serves the whole batch.
## the head times the batch
- head = V → head = batch * V
`weights` is right, `head` is not: you read its matrix once for each row. All rows share it.
## weights times the layers
- weights = ( → weights = L * (
`weights` is too large: parameters_by_part counts over all layers already. No factor L.
## weights times the positions
- weights = ( → weights = T * (
- head = V → head = T * V
You read the weights once for each new position. One reading serves all of them: a product takes
all positions at once.
## weights times all positions
- weights = ( → weights = batch * T * (
- head = V → head = batch * T * V
You read the weights batch · T times. One reading serves all positions of all rows.
## a tied head not counted
- if logits else 0 → if logits and not config.tied else 0
Where the head is tied you count nothing. It has no numbers of its own, but they are read all the
same: the embedding's table, as a whole.
## a head that does not run
- V * C * w if logits else 0 → V * C * w
Where `logits` is 0 the head does not run, and nothing of it is read.
## the head for each of its positions
- head = V → head = logits * V
You read the head once for each position that it runs on. One reading serves them all.
## the whole embedding table
- rows_of_table = batch * T → rows_of_table = V
Of the embedding table only the rows of the new tokens are read: batch · T of C numbers.
## one row of the embedding
- rows_of_table = batch * T → rows_of_table = 1
You read one row of the embedding. Each of the batch · T new tokens brings one.
## a row of the embedding for each text
- rows_of_table = batch * T → rows_of_table = batch
You read one row of the embedding for each text. Each of its T new tokens brings one.
## embedding rows of all positions
- rows_of_table = batch * T → rows_of_table = batch * S
You read a row of the embedding for all S positions. Only the T new tokens of each row bring one.
## the last norm forgotten
- (L * (matrices + 2 * C) + C) * w → L * (matrices + 2 * C) * w
You are short by C numbers: the norm after the last layer. parameters_by_part(config)['norms'] has
it.
## the embedding table among the weights
- weights = ( → weights = V * C * w + (
You count the embedding's table among the weights. `weights` has what the layers have, and the last
norm; the table comes in twice already, as `head` and as `embedding_rows`.
## all parts among the weights
- weights = (L * (matrices + 2 * C) + C) * w
+ weights = (L * (matrices + 2 * C) + C + V * C * (1 if config.tied else 2)) * w
You count all parts as `weights`. It has what the layers have, and the last norm; the embedding's
table and the head are counted under `embedding_rows` and `head`.
## embedding rows of one text
- rows_of_table = batch * T → rows_of_table = T
Each of the `batch` rows brings T tokens: batch · T rows of the table.
## embedding rows in the type of the cache
- batch * T * C * w → batch * T * C * c
The embedding is a weight: its rows have numbers of weight_bytes_per_number.
## norms forgotten
- (L * (matrices + 2 * C) + C) * w → L * matrices * w
You are short by a little: the norms have weights too, parameters_by_part(config)['norms'].
## new positions read too
- batch * (S - T) → batch * S
You read all S positions. The T new ones are not in memory yet: they have just been computed. Old
ones are read, S - T; new ones are written, T.
## old and new swapped
- batch * (S - T) → batch * T
- batch * T * position → batch * (S - T) * position
Read and written are swapped: the S - T old positions are read, the T new ones written.
## read: all but one
- batch * (S - T) → batch * (S - 1)
Right for a decode step. You take one position for new, whatever T is: S - T old ones are read.
## written: one
- batch * T * position → batch * position
Right for a decode step. You write one position of each row: T are new.
## as if one position were new
- batch * (S - T) → batch * (S - 1)
- batch * T * position → batch * position
Right for a decode step. You take one position for new, whatever T is: S - T old ones are read, T
new ones written.
## all written again
- batch * T * position → batch * S * position
You write all S positions. The old ones lie in the cache already: only T are written.
## read once for each new position
- batch * (S - T) → batch * T * (S - T)
You read the old positions once for each new one. All new positions of a row use the same reading.
## keys alone
- position = 2 * L → position = L
The cache has keys and values: a factor of 2 is missing.
## H for G in the cache
- config.kv_heads → config.heads
You count H heads in the cache. Keys and values have G = config.kv_heads.
## C for G·D in the cache
- config.kv_heads * config.head_dim → C
You count the width C for each key. A key has G·D numbers.
## the cache of one layer
- position = 2 * L → position = 2
That is the cache of one layer: each layer has its own keys and values.
## the cache of one row
- batch * (S - T) → (S - T)
- batch * T * position → T * position
Weights are shared by the rows of a batch, the cache is not: each row reads and writes its own.
## the old positions of one row
- batch * (S - T) → (S - T)
`kv_write` is right, `kv_read` is that of one row: each row of the batch reads a cache of its own.
## the new positions of one row
- batch * T * position → T * position
`kv_read` is right, `kv_write` is that of one row: each row of the batch writes into a cache of its
own.
## the sizes exchanged
- w, c = weight_bytes_per_number, cache_bytes_per_number
+ c, w = weight_bytes_per_number, cache_bytes_per_number
The two sizes are exchanged: weights and embedding take weight_bytes_per_number, the cache takes
cache_bytes_per_number.
## always 4 bytes
- w, c = weight_bytes_per_number, cache_bytes_per_number → w = c = 4
You take 4 bytes for each number, whatever is asked: weight_bytes_per_number for the weights,
cache_bytes_per_number for the cache.
## a sum
- return {
+ return weights + head + rows_of_table + read + written
+ {
You give one number, the sum of all. Give the five parts, as a dict: with their names it can be
seen which of them grows.
## the cache in the type of the weights
- config.head_dim * c → config.head_dim * w
The numbers of the cache have a size of their own: cache_bytes_per_number.
## half a byte made a whole number
- w, c = weight_bytes_per_number, cache_bytes_per_number
+ w, c = int(weight_bytes_per_number), int(cache_bytes_per_number)
Half a byte for each number is 4 bits. You make the size a whole number, and 0.5 becomes 0.
## numbers instead of bytes
- w, c = weight_bytes_per_number, cache_bytes_per_number → w = c = 1
You count numbers. Multiply them by their size: weight_bytes_per_number for the weights,
cache_bytes_per_number for the cache.
""",
    ),
    hints=(
        "`parameters_by_part(config)` has the entries of the layers: attention, feed_forward and "
        "norms together are `weights`. The embedding's table is not among them.",
        "One reading of a matrix serves all positions of all rows. So neither `weights` nor `head` "
        "depends on batch, T or S.",
        "One position of one row has 2 · L · G · D numbers in the cache. S - T of them are read in "
        "each row, T written.",
        "head: V · C numbers, if logits is not 0, whether config.tied or not. embedding_rows: batch · "
        "T · C numbers.",
    ),
)

# --- generation_flops -----------------------------------------------------------------------------


def whole_forward(config: ModelConfig, T: int, S: int, logits: int = 1) -> int:
    return sum(forward_by_hand(config, 1, T, S, logits).values())


def generation_by_hand(
    config: ModelConfig, prompt: int, new_tokens: int, cached: bool = True
) -> int:
    """Closed form: sums of 1, 2, 3, … and of their squares."""
    P, n, L = prompt, new_tokens, config.layers
    position = 2 * L * sum(r * c for part in shapes(config).values() for r, c in part)
    pair = 4 * L * config.heads * config.head_dim  # a query and a key: score and weighted sum
    head = 2 * config.width * config.vocabulary
    N = P + n - 1  # the last length that is read
    if cached:
        pairs = P * P + (N * (N + 1) - P * (P + 1)) // 2
        return position * N + pair * pairs + head * n

    def squares(m: int) -> int:  # 1 + 4 + ... + m²
        return m * (m + 1) * (2 * m + 1) // 6

    positions = (N * (N + 1) - (P - 1) * P) // 2
    return position * positions + pair * (squares(N) - squares(P - 1)) + head * n


def forward_by_forward(
    config: ModelConfig, prompt: int, new_tokens: int, cached: bool = True
) -> int:
    """A right one."""
    P, n = prompt, new_tokens
    if cached:
        steps = sum(whole_forward(config, 1, S) for S in range(P + 1, P + n))
        return whole_forward(config, P, P) + steps
    return sum(whole_forward(config, S, S) for S in range(P, P + n))


GENERATION_FLOPS = Exercise(
    name="generation_flops",
    lesson=LESSON,
    library=generation_flops,
    minutes=7,
    difficulty=2,
    tolerance=1e-14,
    cases=(
        call("5 tokens after 3, with a cache", TINY, 3, 5, oracle=generation_by_hand),
        call("5 tokens after 3, without", TINY, 3, 5, False, oracle=generation_by_hand),
        call("one token after 9, with a cache", UNTIED, 9, 1, True, oracle=generation_by_hand),
        call("one token after 9, without", UNTIED, 9, 1, False, oracle=generation_by_hand),
        call("SmolLM2-135M: 12 after 20", SMOLLM2_135M, 20, 12, oracle=generation_by_hand),
        call(
            "SmolLM2-135M: 12 after 20, without a cache",
            SMOLLM2_135M,
            20,
            12,
            False,
            oracle=generation_by_hand,
        ),
        call("two tokens after one", TOY, 1, 2, True, oracle=generation_by_hand),
    ),
    mistakes=edits(
        forward_by_forward,
        """
## one step too many
- range(P + 1, P + n) → range(P + 1, P + n + 1)
You make a decode step for each new token. The first one comes out of the prefill, so n tokens need
n - 1 steps.
## one step too many, from S = P on
- range(P + 1, P + n) → range(P, P + n)
You make a decode step for each new token, and the first with S = P. The first token comes out of
the prefill; the first step is that of the second, S = P + 1, and n tokens need n - 1 steps.
## a step at least
- range(P + 1, P + n) → range(P + 1, max(P + n, P + 2))
Right but for a single new token: you make one decode step at least. The first token comes out of
the prefill, and one token needs no step.
## decode steps alone
- range(P + 1, P + n) → range(P, P + n)
- whole_forward(config, P, P) + steps → steps
You make n decode steps and no prefill. The prompt must be read first, T = P positions at once;
that gives the first token, and n - 1 steps the others.
## the head on the whole prompt
- whole_forward(config, P, P) + steps → whole_forward(config, P, P, P) + steps
With a cache your prefill runs the head on all positions. Only the last is read: logits = 1.
## the prompt not read
- whole_forward(config, P, P) + steps → steps
The steps are right, but the prompt must be read first: a prefill of P tokens.
## S behind by one
- range(P + 1, P + n) → range(P, P + n - 1)
In the first decode step the new token stands after P others and sees itself as well: S = P + 1,
not P.
## S ahead by one
- range(P + 1, P + n) → range(P + 2, P + n + 1)
In the first decode step the new token stands after P others and sees itself: S = P + 1, and yours
is one more.
## all steps as long as the last
- whole_forward(config, 1, S) → whole_forward(config, 1, P + n - 1)
All your decode steps have the S of the last one. It grows: P + 1, P + 2, …
## S does not grow
- whole_forward(config, 1, S) → whole_forward(config, 1, P + 1)
All your decode steps have the same S. Each new token finds one position more in the cache.
## S is 1
- whole_forward(config, 1, S) → whole_forward(config, 1, 1)
Your decode steps see themselves alone. One new position, T = 1, but S counts those in the cache,
too.
## the prompt token by token
- range(P + 1, P + n) → range(1, P + n)
- whole_forward(config, P, P) + steps → steps
You read the prompt in decode steps. It is known as a whole: one prefill.
## never a cache
- if cached: → if False:
You don't look at `cached`: with a cache only the first forward reads the whole prompt.
## always a cache
- if cached: → if True:
You don't look at `cached`: without a cache each token needs a prefill of all before it.
## cached upside down
- if cached: → if not cached:
The two are swapped: `cached=True` is the cheap one.
## uncached: one length too far
- range(P, P + n) → range(P + 1, P + n + 1)
Without a cache you read P + 1 to P + n positions. The first token needs the P of the prompt, and
the last one is never read.
## uncached: one token too many
- range(P, P + n) → range(P, P + n + 1)
Without a cache you make n + 1 forwards. The last token is chosen and never read: n tokens need n.
## uncached: from the first token on
- range(P, P + n) → range(1, P + n)
Without a cache you begin with a text of one token. The prompt is there from the start: the first
forward reads its P tokens.
## uncached: the text does not grow
- whole_forward(config, S, S) → whole_forward(config, P, P)
Without a cache all your forwards read the prompt alone. Each reads what was made before it, too:
P, P + 1, …
## uncached: one token too few
- range(P, P + n) → range(P, P + n - 1)
Without a cache you make n - 1 forwards. There is no prefill besides: n tokens need n.
## uncached: all as long as the last
- whole_forward(config, S, S) → whole_forward(config, P + n - 1, P + n - 1)
Without a cache all your forwards are as long as the last one. They grow: P, P + 1, …
## uncached: T stays P
- whole_forward(config, S, S) → whole_forward(config, P, S)
Without a cache S grows, and T stays P in your forwards. What is not kept must be computed again: T
= S, all that stands before the token.
## uncached: T is 1
- whole_forward(config, S, S) → whole_forward(config, 1, S)
Without a cache you send one position through the model for each token. What is not kept must be
computed again: T = S, all that stands before the token.
## the head everywhere
- whole_forward(config, P, P) + steps → whole_forward(config, P, P, P) + steps
- whole_forward(config, S, S) → whole_forward(config, S, S, S)
Your forwards run the head on all positions. Only the last one is read, with a cache and without:
logits = 1.
## uncached: the head everywhere
- whole_forward(config, S, S) → whole_forward(config, S, S, S)
Without a cache you run the head on all positions. Only the last is read: logits = 1.
## uncached: the prompt counted twice
- return sum(whole_forward(config, S, S)
+ return whole_forward(config, P, P) + sum(whole_forward(config, S, S)
Without a cache you begin with a prefill and then make n forwards more. The first forward is that
prefill.
""",
    ),
    hints=(
        "With a cache: one forward with T = S = prompt, then new_tokens - 1 forwards with T = 1. What "
        "is S in the first of those?",
        "Without one: new_tokens forwards with T = S, from S = prompt to S = prompt + new_tokens - 1.",
        "`sum(forward_flops(config, 1, T, S).values())` is one forward; `range(a, b)` ends at b - 1.",
    ),
)

EXERCISES = (
    FORWARD_BYTES,
    GENERATION_FLOPS,
)
