"""Exercises of lesson 09: the bytes of weights and activations, and what fits beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from decodeloop.cost import activation_bytes, max_batch, max_length, preset, weight_bytes
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "09_memory"


def exactly(value: Any) -> Any:
    """A float that is a whole number, as an int: floats are compared to seven digits only."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def counting(label: str, *inputs: Any, oracle: Callable[..., Any], **options: Any) -> Case:
    """Call the candidate once; its answer counts as whole if its value is."""
    return Case(
        label,
        lambda candidate: exactly(candidate(*inputs, **options)),
        lambda: exactly(oracle(*inputs, **options)),
        inputs,
    )


# --- weight_bytes ---------------------------------------------------------------------------------

UNTIED = replace(TINY, tied=False)
LLAMA_7B, LLAMA_3_8B, GPT2 = preset("llama-7b"), preset("llama-3-8b"), preset("gpt2")
QWEN_2_5, QWEN_3 = preset("qwen2.5-0.5b"), preset("qwen3-0.6b")

# What the models were published with. A family is told by what it has: biases, learned positions,
# norms on queries and keys.
PUBLISHED = {
    SMOLLM2_135M: 134_515_008,
    LLAMA_7B: 6_738_415_616,
    LLAMA_3_8B: 8_030_261_248,
    GPT2: 124_439_808,
    QWEN_2_5: 494_032_768,
    QWEN_3: 596_049_920,
}


def norm_numbers(config: ModelConfig) -> int:
    """Of a model of the Llama family: two norms in each layer, and one after the last."""
    return (2 * config.layers + 1) * config.width


def table(config: ModelConfig) -> int:
    return config.vocabulary * config.width


def llama_numbers(config: ModelConfig) -> int:
    """Closed form of the Llama family: the matrices of a layer by their sides."""
    C, F, H, G, D = (
        config.width,
        config.feed_forward,
        config.heads,
        config.kv_heads,
        config.head_dim,
    )
    layer = C * (2 * H * D + 2 * G * D + 3 * F)
    tables = table(config) * (1 if config.tied else 2)
    return config.layers * layer + tables + norm_numbers(config)


def numbers(config: ModelConfig) -> int:
    return PUBLISHED.get(config) or llama_numbers(config)


def weighed(config: ModelConfig, bytes_per_number: float) -> float:
    count = numbers(config)
    return count * bytes_per_number


def all_norms(config: ModelConfig) -> int:
    """Norms of any family: GPT-2's have biases, Qwen 3's include those of queries and keys."""
    extra = 2 * config.layers * config.head_dim if config == QWEN_3 else 0
    return norm_numbers(config) * (2 if config == GPT2 else 1) + extra


def learned_positions(config: ModelConfig) -> int:
    return config.context * config.width if config == GPT2 else 0


def outside_of_layers(config: ModelConfig) -> int:
    """Embedding, head and positions; the last norm counts with the norms of the layers."""
    return table(config) * (1 if config.tied else 2) + learned_positions(config)


WEIGHT_BYTES = Exercise(
    name="weight_bytes",
    lesson=LESSON,
    library=weight_bytes,
    minutes=5,
    difficulty=1,
    tolerance=1e-12,  # to the last byte: the norms are a small fraction of a large number
    cases=(
        counting("SmolLM2-135M in fp32: a tied head", SMOLLM2_135M, 4, oracle=weighed),
        counting("LLaMA-7B in fp16: a head of its own", LLAMA_7B, 2, oracle=weighed),
        counting("Llama-3-8B in int8", LLAMA_3_8B, 1, oracle=weighed),
        counting("Llama-3-8B in 4 bits: half a byte", LLAMA_3_8B, 0.5, oracle=weighed),
        counting("GPT-2 in fp32: a table of positions", GPT2, 4, oracle=weighed),
        counting("Qwen2.5-0.5B in bf16: biases", QWEN_2_5, 2, oracle=weighed),
        counting("Qwen3-0.6B in bf16: norms on queries and keys", QWEN_3, 2, oracle=weighed),
        counting("a tiny model with a head of its own, fp32", UNTIED, 4, oracle=weighed),
    ),
    mistakes=edits(
        weighed,
        """
## a tied head twice
- numbers(config) → numbers(config) + (table(config) if config.tied else 0)
Too much by one table of V · C where the head is tied. It is the embedding itself, and there is
only one of it: parameters_by_part has 0 under "head" for that reason.
## the head forgotten
- numbers(config) → numbers(config) - (0 if config.tied else table(config))
Right for tied models. Where the head is a matrix of its own, it takes memory like any other.
## the embedding forgotten
- numbers(config) → numbers(config) - table(config)
The embedding is missing. Only a few of its rows are read for a text, but all of them lie in
memory.
## the norms forgotten
- numbers(config) → numbers(config) - all_norms(config)
Short by a small fraction of a percent: the norms have weights too. Add all the parts, and there is
no need to know their names.
## the positions forgotten
- numbers(config) → numbers(config) - learned_positions(config)
Right for models with RoPE. GPT-2 has learned a vector for each position, a table of context · C
numbers. Add all the parts, and there is no need to know their names.
## norms and positions forgotten
- numbers(config) → numbers(config) - all_norms(config) - learned_positions(config)
The norms are missing, and where the model has one the table of positions. Add all the parts, and
there is no need to know their names.
## the layers alone
- numbers(config) → numbers(config) - outside_of_layers(config)
You weigh the layers alone. Embedding, head and positions lie in memory like them: add all the
parts.
## the embedding twice
- numbers(config) → numbers(config) + table(config)
Too much by one table of V · C: you count the embedding once more. The values of
parameters_by_part have it already, and a head that is no matrix of its own has 0 there.
## times the layers
- * bytes_per_number → * bytes_per_number * config.layers
The counts are for all layers together already: don't multiply by config.layers.
## the layers' parts times the layers
- count = numbers(config)
+ outside = outside_of_layers(config)
+ count = (numbers(config) - outside) * config.layers + outside
You multiply attention, feed-forward and norms by config.layers. Their counts are for all layers
together already.
## bits for bytes
- * bytes_per_number → * bytes_per_number * 8
Eight times too much. `bytes_per_number` is in bytes already: 4 for fp32, whose 32 are bits.
## divided by eight
- * bytes_per_number → * bytes_per_number / 8
Eight times too little. `bytes_per_number` is in bytes already; only bits would be divided by 8.
## numbers instead of bytes
-  * bytes_per_number
You count the numbers. Each takes `bytes_per_number` bytes.
## always 4 bytes
- * bytes_per_number → * 4
You take 4 bytes for each number, whatever is asked: 2 in bf16, 1 in int8.
## always 2 bytes
- * bytes_per_number → * 2
You take 2 bytes for each number, whatever is asked: 4 in fp32, 1 in int8.
## half a byte rounded up
- * bytes_per_number → * math.ceil(bytes_per_number)
Half a byte for each number is 4 bits: two numbers share a byte. You round `bytes_per_number` up to
a whole byte before you multiply.
## rounded to whole bytes too early
- * bytes_per_number → * int(bytes_per_number)
Half a byte for each number is 4 bits. You round `bytes_per_number` to a whole number before you
multiply, and 0.5 becomes 0.
## GB instead of bytes
- * bytes_per_number → * bytes_per_number / 1e9
That is in GB. Bytes are asked for: divide only where you print.
## MB instead of bytes
- * bytes_per_number → * bytes_per_number / 1e6
That is in MB. Bytes are asked for: divide only where you print.
## GiB instead of bytes
- * bytes_per_number → * bytes_per_number / 2**30
That is in GiB. Bytes are asked for: divide only where you print.
""",
    ),
    hints=(
        "parameters_by_part(config) is a dict: part → how many numbers. Which of them lie in memory? "
        "All.",
        "`parts.values()` are the counts, `sum(...)` adds them.",
        "sum(parameters_by_part(config).values()), times bytes_per_number.",
    ),
)

# --- activation_bytes -----------------------------------------------------------------------------


def live(
    config: ModelConfig, batch: int, T: int, S: int, bytes_per_number: float, logits: int = 1
) -> float:
    """The oracle: the sum of what is alive in each stage, tensor by tensor."""
    size = bytes_per_number
    C, F, V = config.width, config.feed_forward, config.vocabulary
    H, G, D = config.heads, config.kv_heads, config.head_dim
    stream, feed = batch * T * C, batch * T * F
    qkv = batch * T * H * D + batch * T * 2 * G * D
    tables = 3 * batch * H * T * (S + 1)
    spread = batch * H * T * S if G < H else 0
    mask = T * S + spread if T > 1 else 0
    positions = 8 * T
    attention = (2 * stream + qkv + tables) * size + mask + positions
    feed_forward = (3 * stream + qkv + 3 * feed) * size + positions
    head = (stream + batch * logits * V) * size
    return max(attention, feed_forward, head)


WIDE = replace(TINY, kv_heads=6, feed_forward=200)  # a KV head for each query head
SHARED = replace(TINY, feed_forward=400, vocabulary=2_000)  # H, G, D, C all different, as in TINY

ACTIVATION_BYTES = Exercise(
    name="activation_bytes",
    lesson=LESSON,
    library=activation_bytes,
    minutes=20,
    difficulty=2,
    tolerance=1e-10,
    cases=(
        counting("a prefill of 64 tokens, fp32", SMOLLM2_135M, 1, 64, 64, 4, oracle=live),
        counting("a prefill of 512 tokens, fp32", SMOLLM2_135M, 1, 512, 512, 4, oracle=live),
        counting("a prompt of 5: the head decides", SMOLLM2_135M, 1, 5, 5, 4, oracle=live),
        counting("3 rows of 400 tokens, bf16", SMOLLM2_135M, 3, 400, 400, 2, oracle=live),
        counting("a decode step after 255 tokens", SMOLLM2_135M, 1, 1, 256, 4, oracle=live),
        counting("a decode step, very long cache", SMOLLM2_135M, 2, 1, 100_000, 4, oracle=live),
        counting("64 tokens after 4,000", SMOLLM2_135M, 1, 64, 4_064, 4, oracle=live),
        counting("the head on all 64", SMOLLM2_135M, 2, 64, 64, 4, logits=64, oracle=live),
        counting("the head on 8 of 64", SMOLLM2_135M, 2, 64, 64, 4, logits=8, oracle=live),
        counting("a KV head for each query head", WIDE, 2, 50, 70, 4, oracle=live),
        counting("the same, feed-forward", WIDE, 2, 5, 7, 2, oracle=live),
        counting("D is not C / H", TINY, 3, 30, 31, 4, oracle=live),
        counting("the same, a wide feed-forward", SHARED, 3, 6, 11, 2, logits=2, oracle=live),
        counting("the same, a step: the head", SHARED, 5, 1, 14, 4, oracle=live),
    ),
    mistakes=edits(
        live,
        """
## the stages added
- max(attention, feed_forward, head) → attention + feed_forward + head
You add the three stages. They come one after another, and what the first held is given back before
the next needs it: the largest decides, `max`.
## the stages of a layer added
- max(attention, feed_forward, head) → max(attention + feed_forward, head)
You add the first two stages. They come one after another in a layer, and attention's tables are
given back before the feed-forward stage needs room: the largest of the three decides.
## times the layers
- return max → return config.layers * max
You count every layer. But a layer gives its memory back before the next one runs, and leaves only
x behind: config.layers plays no part. (In training it would.)
## one table
- tables = 3 * batch → tables = batch
You count one table of T · S. At the worst moment there are three: the scores, their exponentials,
and the weights.
## two tables
- tables = 3 * batch → tables = 2 * batch
You count two tables of T · S. At the worst moment there are three: the scores, their exponentials,
and the weights.
## the tables of one row
- tables = 3 * batch * H → tables = 3 * H
Your tables are those of one row: each of the `batch` rows has scores of its own.
## the tables of one head
- tables = 3 * batch * H → tables = 3 * batch
Your tables are those of one head. There is a table (T, S) for each of the H query heads.
## a table for each KV head
- tables = 3 * batch * H → tables = 3 * batch * G
A query head that shares its keys still has scores of its own: the tables are (B, H, T, S), with H
= config.heads.
## T · T
- T * (S + 1) → T * (T + 1)
Right for a first prefill. The keys include those that are in the cache already: each of the T
queries has S scores, not T.
## S · S
- T * (S + 1) → S * (S + 1)
Right for a first prefill. Only T of the S positions ask: a table has T rows and S columns.
## the numbers of each row forgotten
- T * (S + 1) → T * S
Short by three numbers for each query of each head: its largest score, its sum, and that sum
clamped. Count S + 1 columns for each table.
## one number for each row
- tables = 3 * batch * H * T * (S + 1) → tables = batch * H * T * (3 * S + 1)
Short by two numbers for each query of each head: there are three of them, its largest score, its
sum, and that sum clamped. Count S + 1 columns for each of the three tables.
## the numbers of one head's rows
- tables = 3 * batch * H * T * (S + 1) → tables = 3 * batch * H * T * S + 3 * batch * T
Short by a little: the largest score, the sum and the sum clamped are kept for each query of *each
head*, so there are batch · H · T of each. Count S + 1 columns for each table.
## x once in the attention stage
- 2 * stream → stream
You count one (B, T, C) in the attention stage. There are two: x, the input of the block, and its
normalised copy.
## three of (B, T, C) in the attention stage
- 2 * stream → 3 * stream
You count three of (B, T, C) in the attention stage. There are two: x, and its normalised copy.
(The third comes with the feed-forward stage.)
## two of (B, T, C) in the feed-forward stage
- 3 * stream → 2 * stream
You count two of (B, T, C) in the feed-forward stage. There are three: the x that the caller still
names, the x that attention was added to, and its normalised copy.
## one of (B, T, C) in the feed-forward stage
- 3 * stream → stream
You count one (B, T, C) in the feed-forward stage. There are three: the x that the caller still
names, the x that attention was added to, and its normalised copy.
## no (B, T, C) in the feed-forward stage
- 3 * stream + qkv → qkv
Your feed-forward stage has no (B, T, C). There are three: the x that the caller still names, the x
that attention was added to, and its normalised copy.
## the product's tensors alone
- 3 * stream + qkv + 3 * feed → 3 * feed
You count what the product itself needs, and nothing that is left over from before: three of (B, T,
C), and q, k and v.
## q, k and v forgotten in the attention stage
- 2 * stream + qkv → 2 * stream
Your attention stage has no q, k and v: they are alive, too.
## q, k and v forgotten
- 2 * stream + qkv → 2 * stream
- 3 * stream + qkv → 3 * stream
You count no q, k and v. They are alive in the first two stages: the block's function has names for
them until it returns.
## q, k and v forgotten in the feed-forward stage
- 3 * stream + qkv → 3 * stream
Your feed-forward stage has no q, k and v. Nobody needs them any more, but the block's function
still has names for them, so they are alive.
## H heads for keys and values
- 2 * G * D → 2 * H * D
You count H heads for keys and values. They have config.kv_heads.
## keys or values forgotten
- 2 * G * D → G * D
You count keys or values, one of the two: both have (B, T, G · D) numbers.
## one tensor of F
- 3 * feed) → feed)
You count one tensor of (B, T, F) in the feed-forward stage. While gate and up are multiplied three
are alive: both factors, and the product.
## two tensors of F
- 3 * feed) → 2 * feed)
You count two tensors of (B, T, F) in the feed-forward stage. While gate and up are multiplied
three are alive: both factors, and the product.
## four tensors of F
- 3 * feed) → 4 * feed)
You count four tensors of (B, T, F) in the feed-forward stage. While gate and up are multiplied
three are alive: both factors, and the product. (The gate before its SiLU is gone.)
## the mask forgotten
-  + mask
Your attention stage has no mask. A boolean takes a byte, and where heads share, there is one for
each score: add mask_bytes(config, batch, T, S).
## the mask in the model's type
- + mask → + mask * size
mask_bytes gives bytes already; you multiply it by bytes_per_number once more. The same for the
positions, if you put them into the same parentheses.
## mask and positions in the model's type
- + mask → + mask * size
- 8 * T → 8 * T * size
mask_bytes and 8 · T are bytes already; you multiply both by bytes_per_number.
## the positions in the model's type
- 8 * T → 8 * T * size
You multiply the positions by bytes_per_number. They are whole numbers of 8 bytes each, whatever
the model's type: 8 · T is in bytes already.
## positions for each row
- 8 * T → 8 * batch * T
You count the positions once for each row of the batch. All rows share them: 8 · T bytes.
## positions of all keys
- 8 * T → 8 * S
You count the positions of all S keys. Only those of the T new ones are made: 8 · T bytes.
## a position of 4 bytes
- 8 * T → 4 * T
You count 4 bytes for each position. They are whole numbers of 64 bits: 8 bytes each.
## 8 bytes for all positions
- 8 * T → 8
You count 8 bytes for the positions together. There are T of them, 8 bytes each.
## the positions forgotten in the attention stage
- + mask + positions → + mask
The attention stage is short by 8 · T bytes: the positions are alive in both stages of a layer.
## the positions forgotten in the feed-forward stage
- 3 * feed) * size + positions → 3 * feed) * size
The feed-forward stage is short by 8 · T bytes: the positions are alive in both stages of a layer.
## the positions in the head stage too
- logits * V) * size → logits * V) * size + positions
Your head stage has the positions in it. They were the layers', and are gone.
## the mask once for all heads
- T * S + spread → T * S
You count the mask as T · S. Where query heads share a KV head it is written out for each head as
well: add mask_bytes(config, batch, T, S), which knows.
## the mask of one row
- spread = batch * H → spread = H
Your mask is that of one row. Where query heads share a KV head it is written out for each head of
each row: mask_bytes(config, batch, T, S).
## the mask in the feed-forward stage too
- 3 * feed) * size → 3 * feed) * size + mask
Your feed-forward stage has the mask in it. That was a variable of attend's, which has returned: it
is gone.
## keys and values of S positions
- batch * T * 2 * G → batch * S * 2 * G
You count k and v of all S positions. Those of earlier tokens lie in the cache, which is counted
elsewhere: new are T.
## C / H for D
- config.head_dim → config.width // config.heads
You take C / H for the size of a head. It often is, but a model may choose another:
config.head_dim.
## C for H·D
- batch * T * H * D + → batch * T * C +
You take C numbers for each q. It has H·D, config.heads * config.head_dim: often C, but a model may
choose otherwise.
## no hidden vectors in the head stage
- (stream + batch * logits * V) → (batch * logits * V)
Your head stage has the logits alone. The final hidden vectors, (B, T, C), are still there.
## hidden vectors of the logits' positions alone
- head = (stream → head = (batch * logits * C
In the head stage you count hidden vectors for `logits` positions. The head runs on so many, but
all T final vectors of each row are still there.
## the positions forgotten
- 8 * T → 0
Short by 8 · T bytes: the positions are alive in the first two stages, whole numbers of 8 bytes
each.
## the head forgotten
- max(attention, feed_forward, head) → max(attention, feed_forward)
There is a third stage: the logits. In a decode step they are most of what is alive, for the
vocabulary is large.
## the attention stage forgotten
- max(attention, feed_forward, head) → max(feed_forward, head)
Right for short texts. The tables of attention grow with T · S, and overtake the rest.
## the feed-forward stage forgotten
- max(attention, feed_forward, head) → max(attention, head)
Right for long texts. In short ones the three tensors of (B, T, F) are more than the tables.
## the attention stage alone
- max(attention, feed_forward, head) → attention
Right where the tables of attention are the most. Return the largest of the three stages.
## logits of every position
- batch * logits * V → batch * T * V
You count logits for all T positions. The head runs on `logits` positions of each row, usually one.
## logits of one row
- batch * logits * V → logits * V
You count the logits of one row: each of the `batch` rows has `logits` · V numbers.
## logits of one position, always
- batch * logits * V → batch * V
You count one position's logits for each row, whatever `logits` says.
## one row
- size = bytes_per_number → batch, size = 1, bytes_per_number
That is one row of the batch. Each row has activations of its own.
## always 4 bytes
- size = bytes_per_number → size = 4
You take 4 bytes for each number, whatever is asked: `bytes_per_number` is 2 in bf16.
## mask and positions forgotten
-  + mask + positions
- 3 * feed) * size + positions → 3 * feed) * size
Right for the head. In the two stages of a layer the positions are missing, 8 · T bytes, and in the
attention stage the mask: add mask_bytes(config, batch, T, S).
## numbers instead of bytes
- size = bytes_per_number → size = 1
You count the numbers. Each takes `bytes_per_number` bytes.
## bits for bytes
- size = bytes_per_number → size = 8 * bytes_per_number
Eight times too much: `bytes_per_number` is in bytes already.
## megabytes instead of bytes
- max(attention, feed_forward, head) → max(attention, feed_forward, head) / 1e6
That is in MB. Bytes are asked for: divide only where you print.
""",
    ),
    hints=(
        "Write three sums, one for each of the three stages in bold, and return the largest.",
        "Most tensors come up twice, so name their sizes: stream = batch * T * config.width; "
        "qkv = batch * T * (config.heads + 2 * config.kv_heads) * config.head_dim.",
        "Feed-forward: the product needs both factors and its own room, three of (B, T, F). `block` "
        "names x, normed, q, k and v until it returns, and its caller the x that came in.",
        "attention = (2 * stream + qkv + 3 * batch * config.heads * T * (S + 1)) * bytes_per_number "
        "+ mask_bytes(config, batch, T, S) + 8 * T.",
        "feed_forward = (3 * stream + qkv + 3 * batch * T * config.feed_forward) * bytes_per_number "
        "+ 8 * T; head = (stream + batch * logits * config.vocabulary) * bytes_per_number.",
    ),
)

# --- max_batch ------------------------------------------------------------------------------------


def one_token(config: ModelConfig, size: float) -> float:
    """Bytes of a key and a value in every layer."""
    return 2 * config.layers * config.kv_heads * config.head_dim * size


def counted_up(needed: Callable[[int], float], room: float) -> int:
    """The largest count that fits, by trying: doubling, then halving the step."""
    found, step = 0, 1
    while needed(step) <= room:
        step *= 2
    while step >= 1:
        if needed(found + step) <= room:
            found += step
        step //= 2
    return found


def batch_by_trying(
    config: ModelConfig,
    memory_bytes: float,
    length: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> int:
    fixed = weighed(config, weight_bytes_per_number) + reserve
    each = one_token(config, cache_bytes_per_number) * length
    return counted_up(lambda batch: fixed + batch * each, memory_bytes)


def batch_that_fits(
    config: ModelConfig,
    memory_bytes: float,
    length: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> float:
    """A right one."""
    W = weighed(config, weight_bytes_per_number)
    one = 2 * config.layers * config.kv_heads * config.head_dim * cache_bytes_per_number
    room, each = memory_bytes - reserve - W, length * one
    return max(0, math.floor(room / each))


def length_that_fits(
    config: ModelConfig,
    memory_bytes: float,
    batch: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> float:
    """A right one."""
    W = weighed(config, weight_bytes_per_number)
    one = 2 * config.layers * config.kv_heads * config.head_dim * cache_bytes_per_number
    room, each = memory_bytes - reserve - W, batch * one
    return max(0, math.floor(room / each))


MISTAKES_OF_BOTH = """
## rounded up
- math.floor → math.ceil
One too many: the last one has only part of the room that it needs. Round down.
## cut off after dividing
- math.floor(room / each) → int(room / each) if room < 0 else room // each
- max(0, → max(-math.inf,
Where not even the weights and the reserve fit, the room is negative, and so is your answer. Then
nothing fits: 0.
## 0 only where the weights alone don't fit
- max(0, math.floor(room / each)) → 0 if W > memory_bytes else math.floor(room / each)
Where the weights fit, but not the reserve beside them, the room is negative, and so is your answer.
Nothing fits then: 0.
## 0 only where the weights alone don't fit, cut off
- max(0, math.floor(room / each)) → 0 if W > memory_bytes else int(room / each)
Where the weights fit, but not the reserve beside them, the room is negative, and so is your answer.
Nothing fits then: 0.
## the magnitude
- max(0, math.floor(room / each)) → abs(math.floor(room / each))
You take the magnitude of a negative room. Where not even the weights and the reserve fit, nothing
fits: 0.
## rounded to the nearest
- math.floor → round
Sometimes one too many: `round` rounds up where half of the room is there. Round down.
## one too few where it fits exactly
- math.floor(room / each) → math.ceil(room / each) - 1
One too few where the last one just fits: a memory that is full to the last byte is not too small.
Compare with `<=`, or round down.
## not rounded
- math.floor(room / each) → room / each
There is no part of one: round down to a whole number.
## the weights forgotten
- reserve - W → reserve
You divide all of the memory among the caches. The weights lie in it too, once.
## negative
- max(0, → max(-math.inf,
Where not even the weights fit, the room is negative, and so is your answer. Then nothing fits: 0.
## at least one
- max(0, → max(1,
Where nothing fits, the answer is 0, not 1.
## the reserve forgotten
- memory_bytes - reserve → memory_bytes
You use all of the memory: `reserve` bytes of it are to stay free.
## the reserve added
- memory_bytes - reserve → memory_bytes + reserve
You add the reserve to the room. It is what must stay free: subtract it.
## the cache in the type of the weights
- config.head_dim * cache → config.head_dim * weight
Weights and cache may have different types: the cache's numbers take cache_bytes_per_number each.
## the weights in the type of the cache
- weighed(config, weight → weighed(config, cache
Weights and cache may have different types: the weights' numbers take weight_bytes_per_number each.
## the cache always of 2 bytes
- config.head_dim * cache_bytes_per_number → config.head_dim * 2
You take 2 bytes for each number of the cache, whatever is asked: cache_bytes_per_number.
## the weights always of 2 bytes
- weighed(config, weight_bytes_per_number) → weighed(config, 2)
You take 2 bytes for each weight, whatever is asked: weight_bytes_per_number.
## always 2 bytes
- config.head_dim * cache_bytes_per_number → config.head_dim * 2
- weighed(config, weight_bytes_per_number) → weighed(config, 2)
You take 2 bytes for each number, whatever is asked: weight_bytes_per_number for the weights,
cache_bytes_per_number for the cache.
## H instead of G
- config.kv_heads → config.heads
You count the query heads. What is stored are keys and values, and they have config.kv_heads heads.
## keys alone
- one = 2 * config → one = config
You count the keys. Values are stored as well.
## one layer
- 2 * config.layers → 2
You count the cache of one layer. Each layer has keys and values of its own.
## the memory in GB
- memory_bytes - reserve → 1e9 * memory_bytes - reserve
`memory_bytes` is in bytes already: don't multiply it by a billion.
"""


LLAMA_3_70B = replace(
    LLAMA_3_8B, width=8_192, layers=80, heads=64, feed_forward=28_672, source="closed form"
)
ALL_KEPT = (LLAMA_3_8B, 24e9, 1_000, 2, 2, 9e9)  # the weights fit, the reserve does not
EXACT = 4 * llama_numbers(UNTIED) + 3 * 7 * 4 * one_token(UNTIED, 1)  # 3 texts of 7 tokens, fp32


def fits(label: str, oracle: Callable[..., Any], *inputs: Any) -> Case:
    return counting(label, *inputs, oracle=oracle)


MAX_BATCH = Exercise(
    name="max_batch",
    lesson=LESSON,
    library=max_batch,
    minutes=8,
    difficulty=2,
    tolerance=1e-10,
    cases=(
        fits("Llama-3-8B, 24 GB, 1,000 tokens", batch_by_trying, LLAMA_3_8B, 24e9, 1_000),
        fits("the same, 2 GB kept free", batch_by_trying, LLAMA_3_8B, 24e9, 1_000, 2, 2, 2e9),
        fits("weights of 4 bits", batch_by_trying, LLAMA_3_8B, 24e9, 4_096, 0.5, 2, 1e9),
        fits("a cache of 8 bits", batch_by_trying, LLAMA_3_8B, 24e9, 4_096, 2, 1, 1e9),
        fits("the weights don't fit", batch_by_trying, LLAMA_3_70B, 80e9, 100),
        fits("not one text fits", batch_by_trying, LLAMA_7B, 14e9, 2_048),
        fits("exactly 3 fit", batch_by_trying, UNTIED, int(EXACT), 7, 4, 4),
        fits("a byte less", batch_by_trying, UNTIED, int(EXACT) - 1, 7, 4, 4),
        fits("more is kept than there is", batch_by_trying, UNTIED, 10_000, 7, 1, 4, 20_000),
        fits("nothing is left beside the reserve", batch_by_trying, *ALL_KEPT),
        fits("thousands of short texts", batch_by_trying, LLAMA_3_8B, 24e9, 2, 2, 2, 9e8),
    ),
    mistakes=edits(
        batch_that_fits,
        MISTAKES_OF_BOTH
        + """
## the weights for each text
- reserve - W, length * one → reserve, W + length * one
You count the weights once for each text. All texts share them: subtract them once, and divide what
is left by the cache of one text. (The primer makes this mistake: “resource requirements would be m
times higher”.)
## the last token not stored
- length * one → (length - 1) * one
You give each text length - 1 positions. The last token is read too when the next one is asked for:
a text of `length` tokens takes `length` positions of cache.
## a position too many
- length * one → (length + 1) * one
You give each text one position more than its `length` tokens.
## a text of one token
- length * one → one
You divide by the cache of a single token. A text has `length` of them.
## always the whole context
- length * one → config.context * one
You give each text the longest context of the model. Here it has `length` tokens.
""",
    ),
    hints=(
        "What is there, less what lies there once (the weights) and what must stay free, is the room "
        "for caches. How much does the cache of one text take?",
        "Both come from functions that you have: weight_bytes(config, …) and "
        "kv_cache_bytes(config, 1, length, …). Mind which type belongs to which.",
        "`room // each` divides and rounds down, also negative numbers (to minus something): "
        "max(0, …) makes 0 of those.",
    ),
)

# --- max_length -----------------------------------------------------------------------------------


def length_by_trying(
    config: ModelConfig,
    memory_bytes: float,
    batch: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> int:
    fixed = weighed(config, weight_bytes_per_number) + reserve
    each = one_token(config, cache_bytes_per_number) * batch
    return counted_up(lambda length: fixed + length * each, memory_bytes)


MAX_LENGTH = Exercise(
    name="max_length",
    lesson=LESSON,
    library=max_length,
    minutes=6,
    difficulty=2,
    kind="stretch",
    tolerance=1e-10,
    cases=(
        fits("Llama-3-8B, 24 GB, one text", length_by_trying, LLAMA_3_8B, 24e9, 1),
        fits("9 texts, 2 GB kept free", length_by_trying, LLAMA_3_8B, 24e9, 9, 2, 2, 2e9),
        fits("weights of 4 bits", length_by_trying, LLAMA_3_8B, 24e9, 16, 0.5, 2, 1e9),
        fits("a cache of 8 bits", length_by_trying, LLAMA_3_8B, 24e9, 16, 2, 1, 1e9),
        fits("a cache of 4 bits", length_by_trying, LLAMA_3_8B, 24e9, 7, 1, 0.5),
        fits("the weights don't fit", length_by_trying, LLAMA_3_70B, 80e9, 2),
        fits("not one token fits", length_by_trying, LLAMA_7B, 13_477_000_000, 3),
        fits("nothing is left beside the reserve", length_by_trying, *ALL_KEPT),
        fits("exactly 7 fit", length_by_trying, UNTIED, int(EXACT), 3, 4, 4),
        fits("a byte less", length_by_trying, UNTIED, int(EXACT) - 1, 3, 4, 4),
    ),
    mistakes=edits(
        length_that_fits,
        MISTAKES_OF_BOTH
        + """
## the context at most
- max(0, math.floor(room / each)) → min(config.context, max(0, math.floor(room / each)))
You stop at config.context. What is asked is how much fits into memory; whether the model was
trained for so long a text is another question.
## tokens of all texts
- max(0, math.floor(room / each)) → batch * max(0, math.floor(room / each))
That is how many tokens all texts have together. Asked for is the length of each.
## one text
- batch * one → one
That is the length of one text alone. `batch` texts grow at the same time: each has a share of the
room.
## the weights for each text
- reserve - W → reserve - batch * W
You count the weights once for each text. All texts share them: subtract them once.
""",
    ),
    hints=(
        "The same room as in max_batch. One more token for every text costs batch tokens of cache.",
        "room // kv_cache_bytes(config, batch, 1, cache_bytes_per_number), and 0 at least.",
    ),
)

EXERCISES = (WEIGHT_BYTES, ACTIVATION_BYTES, MAX_BATCH, MAX_LENGTH)
