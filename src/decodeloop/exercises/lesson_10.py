"""Exercises of lesson 10: the FLOPs and bytes of a forward, and of a whole generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral

import torch

from decodeloop.cost import (
    attention_overtakes,
    forward_bytes,
    forward_flops,
    generation_flops,
    matmul_flops,
    preset,
)
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "10_complexity"
META = torch.device("meta")  # shapes without values: PyTorch's counter looks at nothing else

# The example of the lesson, small enough for paper.
TOY = ModelConfig(
    vocabulary=10,
    width=4,
    layers=1,
    heads=2,
    kv_heads=1,
    head_dim=2,
    feed_forward=6,
    context=64,
)
UNTIED = replace(TINY, tied=False)
GEMMA = preset("gemma-2b")  # H·D = C, one KV head, a large vocabulary
GEMMA_7B = preset("gemma-7b")  # H·D is not C


def counted(run: Callable[[], object]) -> int:
    """What PyTorch's own counter counts."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


# --- matmul_flops ---------------------------------------------------------------------------------


def product_counted(rows: int, inner: int, columns: int) -> int:
    return counted(
        lambda: torch.empty(rows, inner, device=META) @ torch.empty(inner, columns, device=META)
    )


def as_a_count(function: Callable[..., object]) -> str:
    """A count, with its type where that is no whole number's: 48.0 equals 48, and is no count."""
    product = function(2, 3, 4)
    whole = isinstance(product, Integral) or (
        isinstance(product, torch.Tensor)
        and product.ndim == 0
        and not (product.is_floating_point() or product.is_complex())
    )
    return f"whole {product}" if whole else f"{type(product).__name__} {product}"


def doubled_multiply_adds(rows: int, inner: int, columns: int) -> int:
    """A right one."""
    return 2 * rows * inner * columns


MATMUL_FLOPS = Exercise(
    name="matmul_flops",
    lesson=LESSON,
    library=matmul_flops,
    minutes=3,
    difficulty=1,
    tolerance=1e-14,
    cases=(
        call("(2, 3) times (3, 4)", 2, 3, 4, oracle=product_counted),
        call("a row times a matrix", 1, 5, 7, oracle=product_counted),
        call("a matrix times a column", 7, 5, 1, oracle=product_counted),
        call("a column times a row", 6, 1, 9, oracle=product_counted),
        call("100 positions through a (1536, 576) matrix", 100, 576, 1536, oracle=product_counted),
        Case("a whole number", as_a_count, lambda: "whole 48", (2, 3, 4)),
    ),
    mistakes=edits(
        doubled_multiply_adds,
        """
## one FLOP for a multiply-add
- 2 * rows → rows
You count a multiplication and an addition as one. They are two operations, and the convention
counts both: twice your number.
## one addition fewer
- 2 * rows * inner * columns → rows * columns * (2 * inner - 1)
A sum of n terms needs n - 1 additions, that is true. The convention counts n of them, since
processors add each product to a running sum that starts at 0.
## the entries of the result
- rows * inner * columns → rows * columns
You count the entries of the result, or twice that. Each of them is a sum of `inner` products.
## the entries of the result, once
- 2 * rows * inner * columns → rows * columns
You count the entries of the result. Each of them is a sum of `inner` products.
## the inner size of the example
- rows * inner * columns → rows * 3 * columns
You take 3 + 3 for each entry, as in the example. That 3 is `inner` there: each entry is a sum of
`inner` products.
## the entries of the inputs, twice
- rows * inner * columns → (rows * inner + inner * columns)
You count the numbers that go in, twice. Each of them is used many times: count the multiplications
and additions.
## the entries of the inputs
- 2 * rows * inner * columns → rows * inner + inner * columns
You count the numbers that go in. Each of them is used many times: count the multiplications and
additions.
## columns forgotten
- inner * columns → inner
That is the product of a matrix and one column. There are `columns` of them.
## rows forgotten
- 2 * rows → 2
That is the product of one row and a matrix. There are `rows` of them.
## a float
- 2 * rows → 2.0 * rows
The number is right, but it is a float, with a decimal point. A count is whole: multiply ints
alone, without 2.0, `/` or `float`.
""",
    ),
    hints=(
        "The result is (rows, columns). How many multiplications make one of its entries, and how "
        "many additions?",
        "`inner` multiplications and, by convention, `inner` additions for each of rows · columns "
        "entries.",
    ),
)

# --- forward_flops --------------------------------------------------------------------------------

Flops = dict[str, int]


def shapes(config: ModelConfig) -> dict[str, list[tuple[int, int]]]:
    """The matrices of one layer, (rows, columns)."""
    C, inner = config.width, config.feed_forward
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    gate = [(inner, C)] if config.gated else []
    return {
        "projections": [(q, C), (kv, C), (kv, C), (C, q)],
        "feed_forward": [*gate, (inner, C), (C, inner)],
    }


def forward_counted(config: ModelConfig, batch: int, T: int, S: int, logits: int = 1) -> Flops:
    """Each product done on shapes alone, and counted by PyTorch."""

    def linear(positions: int, rows: int, columns: int) -> int:
        return product_counted(positions, columns, rows)

    def batched(rows: int, inner: int, columns: int) -> int:
        heads = batch * config.heads
        a, b = (heads, rows, inner), (heads, inner, columns)
        return counted(lambda: torch.empty(a, device=META) @ torch.empty(b, device=META))

    layer = {
        part: sum(linear(batch * T, rows, columns) for rows, columns in matrices)
        for part, matrices in shapes(config).items()
    }
    layer["scores"] = batched(T, config.head_dim, S)
    layer["weighted_sum"] = batched(T, S, config.head_dim)
    flops = {part: config.layers * count for part, count in layer.items()}
    flops["head"] = linear(batch * logits, config.vocabulary, config.width)
    return flops


def forward_by_hand(config: ModelConfig, batch: int, T: int, S: int, logits: int = 1) -> Flops:
    """A right one, in closed form."""
    C, F, L, V = config.width, config.feed_forward, config.layers, config.vocabulary
    H, G, D = config.heads, config.kv_heads, config.head_dim
    two, positions = 2, batch * T
    entries = H * D * C + G * D * C + G * D * C + C * H * D
    projections = two * L * positions * entries
    scores = two * L * batch * H * T * D * S
    weighted_sum = two * L * batch * H * T * S * D
    feed_forward = two * L * positions * (F * C + F * C + C * F)
    head = two * batch * logits * C * V
    return {
        "projections": projections,
        "scores": scores,
        "weighted_sum": weighted_sum,
        "feed_forward": feed_forward,
        "head": head,
    }


def let_through(T: int, S: int) -> int:
    """How many entries of the table (T, S) a causal mask lets through."""
    return T * (S - T) + T * (T + 1) // 2


FORWARD_FLOPS = Exercise(
    name="forward_flops",
    lesson=LESSON,
    library=forward_flops,
    minutes=12,
    difficulty=2,
    tolerance=1e-14,
    cases=(
        call("the example on paper", TOY, 1, 3, 3, 1, oracle=forward_counted),
        call("SmolLM2-135M reads 100 tokens", SMOLLM2_135M, 1, 100, 100, oracle=forward_counted),
        call("a decode step, S = 1,000", SMOLLM2_135M, 1, 1, 1_000, oracle=forward_counted),
        call(
            "3 texts, 5 new positions after 7, H·D is not C",
            TINY,
            3,
            5,
            12,
            2,
            oracle=forward_counted,
        ),
        call("not tied, logits of all positions", UNTIED, 2, 7, 7, 7, oracle=forward_counted),
        call("a chunk of a prompt: no logits at all", TINY, 2, 4, 9, 0, oracle=forward_counted),
        call(
            "Gemma 7B: 2 texts of 20 tokens after 30", GEMMA_7B, 2, 20, 50, oracle=forward_counted
        ),
    ),
    mistakes=edits(
        forward_by_hand,
        """
## one FLOP for a multiply-add
- positions = 2, → positions = 1,
Everything is half of what it should be: a multiplication and an addition are two FLOPs.
`matmul_flops` has the factor already.
## twice a matmul_flops
- positions = 2, → positions = 4,
Everything is twice what it should be: the factor 2 stands in `matmul_flops` already.
## H twice
- H * T * D * S → H * H * T * D * S
- H * T * S * D → H * H * T * S * D
Scores and weighted sum are H times too large. Each of the H heads works on D numbers, and H·D of
them make a row, about the width C. H heads of width C there are nowhere.
## G for H
- H * T * D * S → G * T * D * S
- H * T * S * D → G * T * S * D
You count scores and weighted sums for G heads. Keys and values are shared, but each of the H query
heads computes scores of its own.
## H / G heads
- H * T * D * S → H // G * T * D * S
- H * T * S * D → H // G * T * S * D
You count scores and weighted sums of H / G heads, those that share one KV head. All H query heads
compute scores.
## one head in the scores
- H * T * D * S → T * D * S
The weighted sum is right, the scores are those of one head. There are H of them.
## one head in the weighted sum
- H * T * S * D → T * S * D
The scores are right, the weighted sum is that of one head. There are H of them.
## D forgotten
- H * T * D * S → H * T * S
- H * T * S * D → H * T * S
You count the entries of the tables (T, S). Each score is a product of D numbers, and each weight
multiplies D numbers of a value.
## the new positions added to S
- T * D * S → T * D * (S + T)
- T * S * D → T * (S + T) * D
You add the T new positions to S. S is the number of keys with the new ones in it.
## one head
- H * T * D * S → T * D * S
- H * T * S * D → T * S * D
You count scores and weighted sum of one head. There are H of them.
## S taken for T
- T * D * S → T * D * T
- T * S * D → T * T * D
Scores are a table (T, S): the T new positions look at all S keys, the old ones too. You count T ·
T. With T = 1 that would be one score for each head.
## S taken for T in the scores
- T * D * S → T * D * T
The weighted sum is right. Scores are a table (T, S): the T new positions look at all S keys, the
old ones too. You count T · T.
## S taken for T in the weighted sum
- T * S * D → T * T * D
The scores are right. In the weighted sum each of the T new positions mixes all S values, the old
ones too. You count T · T.
## T taken for S
- T * D * S → S * D * S
- T * S * D → S * S * D
Scores are a table (T, S), T queries and S keys. You count S · S: the old positions ask nothing
again.
## the linear layers over S
- batch * T → batch * S
You send all S positions through the linear layers. Only the T new ones go through them: what is
left of the old ones is in the cache.
## keys and values over S
- projections = two * L * positions * entries
+ projections = two * L * batch * (T * 2 * H * D * C + S * 2 * G * D * C)
You project keys and values for all S positions. Those of the old ones are in the cache: only T new
ones are computed.
## half of the scores left out
- T * D * S → T * D * S / 2
- T * S * D → T * S * D / 2
You halve the scores, because half of them are masked. Half of the *results* are thrown away, but
the product computes them all.
## masked scores left out
- T * D * S → D * let_through(T, S)
- T * S * D → D * let_through(T, S)
You count only those scores that the mask lets through. A plain product computes the whole table
(T, S); the mask comes afterwards.
## half of the scores alone left out
- T * D * S → T * D * S / 2
The weighted sum is right, the scores are half of it: you leave out what is masked. The product
computes the whole table (T, S); the mask comes afterwards.
## masked scores alone left out
- T * D * S → D * let_through(T, S)
The weighted sum is right. Of the scores you count only those that the mask lets through, but the
product computes the whole table (T, S).
## half of the weighted sum left out
- T * S * D → T * S * D / 2
The scores are right, the weighted sum is half of them: masked weights are 0, and a plain product
multiplies with zeros, too.
## masked weights left out
- T * S * D → D * let_through(T, S)
The scores are right. In the weighted sum you skip the weights that the mask made 0; a plain
product multiplies with them, too.
## the head on all positions
- batch * logits → batch * T
You run the head on all T positions. It runs on `logits` of each row.
## the head on one position
- batch * logits → batch
You run the head on one position of each row. It runs on `logits` of them.
## the head on one position in all
- batch * logits → 1
You run the head once. It runs on `logits` positions of each of the `batch` rows.
## the head on one position at least
- batch * logits → batch * max(logits, 1)
Right but for `logits` = 0: a forward that wants no logits does not run the head, 0 FLOPs.
## a tied head not counted
- head = two → head = 0 if config.tied else two
Where the head is tied you count nothing for it. Tied means that its numbers are stored once; the
product with them is computed all the same.
## the head in each layer
- head = two → head = L * two
You multiply the head by the number of layers. It stands once, after the last of them.
## one matrix in the feed-forward layer
- F * C + F * C + C * F → F * C
You count one matrix in the feed-forward layer. There are three: gate, up and down.
## four matrices in the feed-forward layer
- F * C + F * C + C * F → F * C + F * C + F * C + C * F
You count four matrices in the feed-forward layer. There are three: gate, up and down.
## gate forgotten
- F * C + F * C + C * F → F * C + C * F
You count two matrices in the feed-forward layer. This one is a SwiGLU (lesson 03), which has
three: gate, up and down.
## batch forgotten in the attention
- batch * H * T * D * S → H * T * D * S
- batch * H * T * S * D → H * T * S * D
The linear layers are right, scores and weighted sum are those of one row: each of the `batch` rows
attends for itself.
## batch forgotten in the scores
- batch * H * T * D * S → H * T * D * S
The weighted sum is right, the scores are those of one row: each of the `batch` rows has its own.
## batch forgotten in the weighted sum
- batch * H * T * S * D → H * T * S * D
The scores are right, the weighted sum is that of one row: each of the `batch` rows has its own.
## batch forgotten in the projections
- projections = two * L * positions → projections = two * L * T
The projections are those of one row: `batch` · T positions go through them.
## batch forgotten in the feed-forward layer
- feed_forward = two * L * positions → feed_forward = two * L * T
The feed-forward layer is that of one row: `batch` · T positions go through it.
## batch twice in the attention
- batch * H * T * D * S → batch * H * (batch * T) * D * S
- batch * H * T * S * D → batch * H * (batch * T) * S * D
The linear layers are right, scores and weighted sum are `batch` times too large: the batch stands
in them twice, perhaps as n = batch · T and once more as a factor.
## batch twice in the scores
- batch * H * T * D * S → batch * H * (batch * T) * D * S
The weighted sum is right, the scores are `batch` times too large: the batch stands in them twice,
perhaps as n = batch · T and once more as a factor.
## batch forgotten in the linear layers
- positions = 2, batch * T → positions = 2, T
The attention is right, the linear layers are those of one row: `batch` · T positions go through
them.
## batch forgotten in the head
- batch * logits → logits
The head runs on `logits` positions of each row, and there are `batch` rows.
## batch forgotten
- two, positions = 2, batch * T → two, batch, positions = 2, 1, T
That is one row. Multiply everything by `batch`.
## one layer
- config.layers → 1
That is one layer. There are config.layers of them (the head stands once).
## one layer in the attention
- scores = two * L → scores = two
- weighted_sum = two * L → weighted_sum = two
The linear layers are right, scores and weighted sum are those of one layer: each of the
config.layers layers attends.
## one layer in the scores
- scores = two * L → scores = two
The weighted sum is right, the scores are those of one layer: each of the config.layers layers has
its own.
## one layer in the weighted sum
- weighted_sum = two * L → weighted_sum = two
The scores are right, the weighted sum is that of one layer: each of the config.layers layers has
its own.
## one layer in the projections
- projections = two * L → projections = two
The projections are those of one layer: each of the config.layers layers has its own matrices.
## one layer in the feed-forward layer
- feed_forward = two * L → feed_forward = two
The feed-forward layer is counted once: each of the config.layers layers has one.
## one layer in the linear layers
- projections = two * L → projections = two
- feed_forward = two * L → feed_forward = two
Scores and weighted sum are right, projections and feed-forward are those of one layer: each layer
has matrices of its own.
## a sum
- return {
+ return projections + scores + weighted_sum + feed_forward + head
+ {
You give one number, the sum of all. Give the five parts, as a dict: with their names it can be
seen which of them grows.
## C for H·D
- H * T * D * S → T * C * S
- H * T * S * D → T * S * C
Right where H·D is C, which it often is. A score is a product of D numbers, in each of H heads:
config.heads * config.head_dim, not the width.
## C for H·D in one projection
- C * H * D → C * C
Right where H·D is C, which it often is. Of query and output you made one (C, C): the query's matrix
is (H·D, C), the output's (C, H·D).
## four projections (C, C)
- H * D * C + G * D * C + G * D * C + C * H * D → 4 * C * C
You make all four projections (C, C). Key and value are (G·D, C), query and output H·D wide.
## C for H·D in the projections
- H * D * C + G → C * C + G
- C * H * D → C * C
Right where H·D is C, which it often is. The query's matrix is (H·D, C) and the output's (C, H·D):
you made them (C, C).
## C for H·D everywhere
- H * D * C + G → C * C + G
- C * H * D → C * C
- H * T * D * S → T * C * S
- H * T * S * D → T * S * C
Right where H·D is C, which it often is. But H heads of D numbers need not make the width:
config.heads * config.head_dim, in the projections and in the attention.
## as many KV heads as query heads
- G * D * C + G * D * C → H * D * C + H * D * C
You project keys and values for H heads. They have G = config.kv_heads: their matrices are (G·D,
C).
## the output projection forgotten
-  + C * H * D
The projections are four: query, key, value, and the output projection, (C, H·D).
## key and value counted as one
- G * D * C + G * D * C → G * D * C
Key and value have a matrix each: twice (G·D, C).
""",
    ),
    hints=(
        "How many rows go into a linear layer? batch · T, whatever S is. A matrix that is stored as "
        "(rows, columns) takes `columns` numbers in and gives `rows`.",
        "The four projections together have H·D·C + 2·G·D·C + H·D·C entries, the feed-forward layer "
        "has 3·F·C. FLOPs: 2 · L · batch · T · entries.",
        "Scores: in each layer, row and head a (T, D) matrix times a (D, S) matrix. Weighted sum: (T, "
        "S) times (S, D). The two cost the same.",
        "scores = L * batch * H * matmul_flops(T, D, S); head = matmul_flops(batch * logits, C, V), "
        "once, tied or not.",
    ),
)

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
    minutes=10,
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
    minutes=6,
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

# --- attention_overtakes --------------------------------------------------------------------------


def overtakes_by_hand(config: ModelConfig) -> float:
    """Closed form: entries of a layer's matrices over 2·H·D."""
    entries = sum(rows * columns for part in shapes(config).values() for rows, columns in part)
    return entries / (2 * config.heads * config.head_dim)


ODD = replace(TINY, width=37, feed_forward=91)  # 133.508…: rounded it is one more

ATTENTION_OVERTAKES = Exercise(
    name="attention_overtakes",
    lesson=LESSON,
    library=attention_overtakes,
    minutes=6,
    difficulty=2,
    kind="stretch",
    tolerance=1e-9,
    cases=(
        call("SmolLM2-135M", SMOLLM2_135M, oracle=overtakes_by_hand),
        call("H·D is not C", TINY, oracle=overtakes_by_hand),
        call("Llama 2 70B", preset("llama-2-70b"), oracle=overtakes_by_hand),
        call("Gemma 2B", GEMMA, oracle=overtakes_by_hand),
        call("Gemma 7B", GEMMA_7B, oracle=overtakes_by_hand),
        call("the example on paper", TOY, oracle=overtakes_by_hand),
        call("GPT-2: no gate", preset("gpt2"), oracle=overtakes_by_hand),
        call("H·D is not C, odd sizes", ODD, oracle=overtakes_by_hand),
    ),
    mistakes=edits(
        overtakes_by_hand,
        """
## twice too long
- 2 * config.heads → config.heads
Twice too long: either the weighted sum is missing, which costs as much as the scores, or you left
out the masked half, which is computed too.
## half as long
- 2 * config.heads → 4 * config.heads
Half of what it should be: count the multiply-adds of both sides alike. A matrix entry costs 2
FLOPs for each position, too.
## only the feed-forward layer
- shapes(config).values() → [shapes(config)["feed_forward"]]
You compare with the feed-forward layer alone. The four projections are linear layers, too.
## only the projections
- shapes(config).values() → [shapes(config)["projections"]]
You compare with the projections alone. The feed-forward layer is linear, too, and most of it.
## all layers on one side
- return entries → return config.layers * entries
Both sides have L layers: L cancels.
## H twice
- config.heads → config.heads**2
H times too short: a pair of positions costs 4·H·D FLOPs in a layer, and H·D is about C.
## G for H
- config.heads → config.kv_heads
Scores are computed for each of the H query heads, not for G.
## C for H·D
- config.heads * config.head_dim → config.width
Right where H·D is C. A pair of positions costs 4·H·D FLOPs in a layer.
## the head too
- return entries → return (entries + config.vocabulary * config.width / config.layers)
You count the head as if it ran on every position. It stands aside here: only what is in the
layers.
## the formula for H·D = C
- return entries / (2 * config.heads * config.head_dim)
+ return config.width + config.kv_heads * config.head_dim + 1.5 * config.feed_forward
C + G·D + 1.5 F is the answer where H·D is C and the feed-forward layer has a gate. For any model:
the entries of linear_shapes(config), divided by 2·H·D.
## a gate in every model
- return entries
+ return (entries + (not config.gated) * config.width * config.feed_forward)
Right for models with a gate. GPT-2's feed-forward layer has two matrices: take those that
linear_shapes(config) has.
## rounded up
- return entries / (2 * config.heads * config.head_dim)
+ return -(-entries // (2 * config.heads * config.head_dim))
You round up. The length at which both cost the same need not be a whole number.
## rounded to the nearest
- return entries / (2 * config.heads * config.head_dim)
+ return round(entries / (2 * config.heads * config.head_dim))
You round. The length at which both cost the same need not be a whole number.
## rounded down
- entries / → entries //
You round down. The length at which both cost the same need not be a whole number.
""",
    ),
    hints=(
        "Write both sides for one layer and T = S: the linear layers 2·T·(entries), scores and "
        "weighted sum 2 · 2·T²·H·D. When are they equal?",
        "Divide both by 2·T: entries = 2·T·H·D. `linear_shapes(config)` has the (rows, columns) of "
        "every matrix of a layer by name.",
    ),
)

EXERCISES = (
    MATMUL_FLOPS,
    FORWARD_FLOPS,
    FORWARD_BYTES,
    GENERATION_FLOPS,
    ATTENTION_OVERTAKES,
)
