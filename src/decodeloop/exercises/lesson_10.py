"""Exercises of lesson 10: the FLOPs of a forward, and where attention overtakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral

import torch

from decodeloop.cost import (
    attention_overtakes,
    forward_flops,
    matmul_flops,
    preset,
)
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "10_complexity"
META = torch.device("meta")  # shapes without values: PyTorch's counter looks at nothing else

# The example of the lesson, small enough for paper; H·D is not C, and D is not C / H.
TOY = ModelConfig(
    vocabulary=10,
    width=6,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=2,
    feed_forward=5,
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
    minutes=2,
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
    minutes=14,
    difficulty=2,
    tolerance=1e-14,
    cases=(
        call("the example on paper", TOY, 3, 2, 5, oracle=forward_counted),
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
## the old positions alone
- T * D * S → T * D * (S - T)
- T * S * D → T * (S - T) * D
You let the new positions attend to the S - T old ones alone. They see one another, too: S keys.
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
## logits as a switch
- batch * logits → batch * (T if logits else 0)
You take `logits` for a switch, and run the head on all T positions. It is a number: on how many
positions of each row the head runs.
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
## D taken as C / H
- config.kv_heads, config.head_dim → config.kv_heads, config.width // config.heads
Right where H·D is C, which it often is. You take C / H for the head dimension: it is a size of its
own, config.head_dim.
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
## H forgotten
- config.heads * config.head_dim → config.head_dim
H times too long: each of the H heads computes scores.
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
    ATTENTION_OVERTAKES,
)
