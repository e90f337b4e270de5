"""Exercises of lesson 10: the FLOPs and bytes of a forward, and of a whole generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from decodeloop.cost import (
    attention_overtakes,
    forward_bytes,
    forward_flops,
    generation_flops,
    matmul_flops,
    preset,
)
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call
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


def with_its_type(function: Callable[..., object]) -> str:
    """A count and its type: 48.0 equals 48, and is no count."""
    product = function(2, 3, 4)
    return f"{type(product).__name__} {product}"


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
        Case("a whole number", with_its_type, lambda: "int 48", (2, 3, 4)),
    ),
    mistakes=(
        Mistake(
            "one FLOP for a multiply-add",
            "You count a multiplication and an addition as one. They are two operations, and the "
            "convention counts both: twice your number.",
            lambda rows, inner, columns: rows * inner * columns,
        ),
        Mistake(
            "one addition fewer",
            "A sum of n terms needs n - 1 additions, that is true. The convention counts n of them, "
            "since processors add each product to a running sum that starts at 0.",
            lambda rows, inner, columns: rows * columns * (2 * inner - 1),
        ),
        Mistake(
            "the entries of the result",
            "You count the entries of the result, or twice that. Each of them is a sum of `inner` "
            "products.",
            lambda rows, inner, columns: 2 * rows * columns,
        ),
        Mistake(
            "the entries of the inputs",
            "You count the numbers that go in. Each of them is used many times: count the "
            "multiplications and additions.",
            lambda rows, inner, columns: rows * inner + inner * columns,
        ),
        Mistake(
            "columns forgotten",
            "That is the product of a matrix and one column. There are `columns` of them.",
            lambda rows, inner, columns: 2 * rows * inner,
        ),
        Mistake(
            "rows forgotten",
            "That is the product of one row and a matrix. There are `rows` of them.",
            lambda rows, inner, columns: 2 * inner * columns,
        ),
        Mistake(
            "a float",
            "The number is right, but it is a float, with a decimal point. A count is whole: multiply "
            "ints alone, without 2.0, `/` or `float`.",
            lambda rows, inner, columns: 2.0 * rows * inner * columns,
        ),
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
    return {
        "projections": [(q, C), (kv, C), (kv, C), (C, q)],
        "feed_forward": [(inner, C), (inner, C), (C, inner)],
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
    """Closed form; the mistakes are made around it."""
    entries = {p: sum(r * c for r, c in ms) for p, ms in shapes(config).items()}
    pairs = 2 * config.layers * batch * T * S * config.heads * config.head_dim
    return {
        "projections": 2 * config.layers * batch * T * entries["projections"],
        "scores": pairs,
        "weighted_sum": pairs,
        "feed_forward": 2 * config.layers * batch * T * entries["feed_forward"],
        "head": 2 * batch * logits * config.width * config.vocabulary,
    }


LINEAR, ATTENTION = ("projections", "feed_forward"), ("scores", "weighted_sum")
ALL = (*LINEAR, *ATTENTION, "head")
Change = Callable[[ModelConfig, int, int, int, int], float]  # config, batch, T, S, logits


def times(change: Change, *parts: str) -> Callable[..., dict[str, Any]]:
    """The right counts, but some parts multiplied by something."""

    def run(config: ModelConfig, batch: int, T: int, S: int, logits: int = 1) -> dict[str, Any]:
        flops: dict[str, Any] = forward_by_hand(config, batch, T, S, logits)
        factor = change(config, batch, T, S, logits)
        return {part: n * factor if part in parts else n for part, n in flops.items()}

    return run


def plus(change: Change, part: str) -> Callable[..., dict[str, Any]]:
    """The right counts, but something added to one part."""

    def run(config: ModelConfig, batch: int, T: int, S: int, logits: int = 1) -> dict[str, Any]:
        flops: dict[str, Any] = forward_by_hand(config, batch, T, S, logits)
        return flops | {part: flops[part] + change(config, batch, T, S, logits)}

    return run


def kv_rows(config: ModelConfig) -> int:
    return config.kv_heads * config.head_dim


def head_is(count: Callable[..., int]) -> Callable[..., Flops]:
    def run(config: ModelConfig, batch: int, T: int, S: int, logits: int = 1) -> Flops:
        return forward_by_hand(config, batch, T, S, logits) | {
            "head": count(config, batch, T, S, logits)
        }

    return run


def with_width_for_heads(
    config: ModelConfig, batch: int, T: int, S: int, logits: int = 1
) -> dict[str, Any]:
    """C in the place of H·D in scores and weighted sum."""
    flops: dict[str, Any] = forward_by_hand(config, batch, T, S, logits)
    pairs = 2 * config.layers * batch * T * S * config.width
    return flops | {"scores": pairs, "weighted_sum": pairs}


def with_width_in_projections(
    config: ModelConfig, batch: int, T: int, S: int, logits: int = 1
) -> Flops:
    """C in the place of H·D in the matrices of query and output."""
    entries = 2 * config.width * (config.width + kv_rows(config))
    return forward_by_hand(config, batch, T, S, logits) | {
        "projections": 2 * config.layers * batch * T * entries
    }


def with_width_everywhere(
    config: ModelConfig, batch: int, T: int, S: int, logits: int = 1
) -> dict[str, Any]:
    projections = with_width_in_projections(config, batch, T, S, logits)["projections"]
    return with_width_for_heads(config, batch, T, S, logits) | {"projections": projections}


def let_through(config: ModelConfig, batch: int, T: int, S: int, logits: int) -> float:
    """The share of the table (T, S) that a causal mask lets through."""
    return (T * (S - T) + T * (T + 1) / 2) / (T * S)


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
    mistakes=(
        Mistake(
            "one FLOP for a multiply-add",
            "Everything is half of what it should be: a multiplication and an addition are two FLOPs. "
            "`matmul_flops` has the factor already.",
            times(lambda *_: 0.5, *ALL),
        ),
        Mistake(
            "twice a matmul_flops",
            "Everything is twice what it should be: the factor 2 stands in `matmul_flops` already.",
            times(lambda *_: 2, *ALL),
        ),
        Mistake(
            "H twice",
            "Scores and weighted sum are H times too large. Each of the H heads works on D numbers, and "
            "H·D of them make a row, about the width C. H heads of width C there are nowhere.",
            times(lambda config, *_: config.heads, *ATTENTION),
        ),
        Mistake(
            "G for H",
            "You count scores and weighted sums for G heads. Keys and values are shared, but each of "
            "the H query heads computes scores of its own.",
            times(lambda config, *_: config.kv_heads / config.heads, *ATTENTION),
        ),
        Mistake(
            "one head",
            "You count scores and weighted sum of one head. There are H of them.",
            times(lambda config, *_: 1 / config.heads, *ATTENTION),
        ),
        Mistake(
            "S taken for T",
            "Scores are a table (T, S): the T new positions look at all S keys, the old ones too. You "
            "count T · T. With T = 1 that would be one score for each head.",
            times(lambda config, batch, T, S, logits: T / S, *ATTENTION),
        ),
        Mistake(
            "the linear layers over S",
            "You send all S positions through the linear layers. Only the T new ones go through them: "
            "what is left of the old ones is in the cache.",
            times(lambda config, batch, T, S, logits: S / T, *LINEAR),
        ),
        Mistake(
            "keys and values over S",
            "You project keys and values for all S positions. Those of the old ones are in the cache: "
            "only T new ones are computed.",
            plus(
                lambda config, batch, T, S, logits: (
                    2 * config.layers * batch * (S - T) * 2 * kv_rows(config) * config.width
                ),
                "projections",
            ),
        ),
        Mistake(
            "half of the scores left out",
            "You halve the scores, because half of them are masked. Half of the *results* are thrown "
            "away, but the product computes them all.",
            times(lambda *_: 0.5, *ATTENTION),
        ),
        Mistake(
            "masked scores left out",
            "You count only those scores that the mask lets through. A plain product computes the "
            "whole table (T, S); the mask comes afterwards.",
            times(let_through, *ATTENTION),
        ),
        Mistake(
            "half of the scores alone left out",
            "The weighted sum is right, the scores are half of it: you leave out what is masked. The "
            "product computes the whole table (T, S); the mask comes afterwards.",
            times(lambda *_: 0.5, "scores"),
        ),
        Mistake(
            "masked scores alone left out",
            "The weighted sum is right. Of the scores you count only those that the mask lets through, "
            "but the product computes the whole table (T, S).",
            times(let_through, "scores"),
        ),
        Mistake(
            "half of the weighted sum left out",
            "The scores are right, the weighted sum is half of them: masked weights are 0, and a plain "
            "product multiplies with zeros, too.",
            times(lambda *_: 0.5, "weighted_sum"),
        ),
        Mistake(
            "masked weights left out",
            "The scores are right. In the weighted sum you skip the weights that the mask made 0; a "
            "plain product multiplies with them, too.",
            times(let_through, "weighted_sum"),
        ),
        Mistake(
            "the head on all positions",
            "You run the head on all T positions. It runs on `logits` of each row.",
            head_is(
                lambda config, batch, T, S, logits: 2 * batch * T * config.width * config.vocabulary
            ),
        ),
        Mistake(
            "the head on one position",
            "You run the head on one position of each row. It runs on `logits` of them.",
            head_is(
                lambda config, batch, T, S, logits: 2 * batch * config.width * config.vocabulary
            ),
        ),
        Mistake(
            "a tied head not counted",
            "Where the head is tied you count nothing for it. Tied means that its numbers are stored "
            "once; the product with them is computed all the same.",
            head_is(
                lambda config, batch, T, S, logits: (
                    0 if config.tied else 2 * batch * logits * config.width * config.vocabulary
                )
            ),
        ),
        Mistake(
            "the head in each layer",
            "You multiply the head by the number of layers. It stands once, after the last of them.",
            times(lambda config, *_: config.layers, "head"),
        ),
        Mistake(
            "gate forgotten",
            "You count two matrices in the feed-forward layer. This one is a SwiGLU (lesson 03), "
            "which has three: gate, up and down.",
            times(lambda *_: 2 / 3, "feed_forward"),
        ),
        Mistake(
            "batch forgotten in the attention",
            "The linear layers are right, scores and weighted sum are those of one row: each of the "
            "`batch` rows attends for itself.",
            times(lambda config, batch, *_: 1 / batch, *ATTENTION),
        ),
        Mistake(
            "batch twice in the attention",
            "The linear layers are right, scores and weighted sum are `batch` times too large: the "
            "batch stands in them twice, perhaps as n = batch · T and once more as a factor.",
            times(lambda config, batch, *_: batch, *ATTENTION),
        ),
        Mistake(
            "batch twice in the scores",
            "The weighted sum is right, the scores are `batch` times too large: the batch stands in "
            "them twice, perhaps as n = batch · T and once more as a factor.",
            times(lambda config, batch, *_: batch, "scores"),
        ),
        Mistake(
            "batch forgotten in the linear layers",
            "The attention is right, the linear layers are those of one row: `batch` · T positions go "
            "through them.",
            times(lambda config, batch, *_: 1 / batch, *LINEAR),
        ),
        Mistake(
            "batch forgotten in the head",
            "The head runs on `logits` positions of each row, and there are `batch` rows.",
            times(lambda config, batch, *_: 1 / batch, "head"),
        ),
        Mistake(
            "batch forgotten",
            "That is one row. Multiply everything by `batch`.",
            times(lambda config, batch, *_: 1 / batch, *ALL),
        ),
        Mistake(
            "one layer",
            "That is one layer. There are config.layers of them (the head stands once).",
            times(lambda config, *_: 1 / config.layers, *LINEAR, *ATTENTION),
        ),
        Mistake(
            "one layer in the attention",
            "The linear layers are right, scores and weighted sum are those of one layer: each of the "
            "config.layers layers attends.",
            times(lambda config, *_: 1 / config.layers, *ATTENTION),
        ),
        Mistake(
            "one layer in the linear layers",
            "Scores and weighted sum are right, projections and feed-forward are those of one layer: "
            "each layer has matrices of its own.",
            times(lambda config, *_: 1 / config.layers, *LINEAR),
        ),
        Mistake(
            "a sum",
            "You give one number, the sum of all. Give the five parts, as a dict: with their names it "
            "can be seen which of them grows.",
            lambda config, batch, T, S, logits=1: sum(
                forward_by_hand(config, batch, T, S, logits).values()
            ),
        ),
        Mistake(
            "C for H·D",
            "Right where H·D is C, which it often is. A score is a product of D numbers, in each of H "
            "heads: config.heads * config.head_dim, not the width.",
            with_width_for_heads,
        ),
        Mistake(
            "C for H·D in the projections",
            "Right where H·D is C, which it often is. The query's matrix is (H·D, C) and the output's "
            "(C, H·D): you made them (C, C).",
            with_width_in_projections,
        ),
        Mistake(
            "C for H·D everywhere",
            "Right where H·D is C, which it often is. But H heads of D numbers need not make the width: "
            "config.heads * config.head_dim, in the projections and in the attention.",
            with_width_everywhere,
        ),
        Mistake(
            "as many KV heads as query heads",
            "You project keys and values for H heads. They have G = config.kv_heads: their matrices "
            "are (G·D, C).",
            plus(
                lambda config, batch, T, S, logits: (
                    (2 * config.layers * batch * T * 2 * config.width)
                    * (config.heads - config.kv_heads)
                    * config.head_dim
                ),
                "projections",
            ),
        ),
        Mistake(
            "the output projection forgotten",
            "The projections are four: query, key, value, and the output projection, (C, H·D).",
            plus(
                lambda config, batch, T, S, logits: (
                    -2 * config.layers * batch * T * config.heads * config.head_dim * config.width
                ),
                "projections",
            ),
        ),
        Mistake(
            "key and value counted as one",
            "Key and value have a matrix each: twice (G·D, C).",
            plus(
                lambda config, batch, T, S, logits: (
                    -2 * config.layers * batch * T * kv_rows(config) * config.width
                ),
                "projections",
            ),
        ),
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
    matrices = [shape for part in shapes(config).values() for shape in part]
    in_layer = sum(rows * columns for rows, columns in matrices) + 2 * config.width
    position = sum(kv_rows(config) for _ in ("key", "value") for _ in range(config.layers))
    head = config.vocabulary * config.width if logits else 0
    return {
        "weights": (config.layers * in_layer + config.width) * weight_bytes_per_number,
        "head": head * weight_bytes_per_number,
        "embedding_rows": batch * T * config.width * weight_bytes_per_number,
        "kv_read": batch * (S - T) * position * cache_bytes_per_number,
        "kv_write": batch * T * position * cache_bytes_per_number,
    }


def wrong_bytes(change: Callable[..., Bytes]) -> Callable[..., Bytes]:
    """The right bytes, updated by `change(bytes, config, batch, T, S, **sizes)`."""

    def run(config: ModelConfig, batch: int, T: int, S: int, **sizes: Any) -> Bytes:
        right = bytes_by_hand(config, batch, T, S, **sizes)
        return right | change(right, config, batch, T, S, **sizes)

    return run


def scaled(factor: Callable[[ModelConfig, int, int, int], float], *parts: str) -> Any:
    return wrong_bytes(
        lambda right, config, batch, T, S, **_: {
            part: right[part] * factor(config, batch, T, S) for part in parts
        }
    )


def positions_read(count: Callable[[int, int], tuple[float, float]]) -> Any:
    """Other numbers of positions that are read and written."""

    def change(right: Bytes, config: ModelConfig, batch: int, T: int, S: int, **_: Any) -> Bytes:
        read, written = count(T, S)
        one = right["kv_write"] / T
        return {"kv_read": one * read, "kv_write": one * written}

    return wrong_bytes(change)


def head_anyway(
    right: Bytes, config: ModelConfig, batch: int, T: int, S: int, **sizes: Any
) -> Bytes:
    size = sizes.get("weight_bytes_per_number", 4)
    return {"head": config.vocabulary * config.width * size}


def norms(right: Bytes, config: ModelConfig, *_: Any, **sizes: Any) -> float:
    size: float = sizes.get("weight_bytes_per_number", 4)
    return (2 * config.layers + 1) * config.width * size


FORWARD_BYTES = Exercise(
    name="forward_bytes",
    lesson=LESSON,
    library=forward_bytes,
    minutes=10,
    difficulty=2,
    tolerance=1e-14,
    cases=(
        call("a decode step in fp32, S = 129", SMOLLM2_135M, 1, 1, 129, oracle=bytes_by_hand),
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
    mistakes=(
        Mistake(
            "weights times the batch",
            "You read the weights once for each row. All rows share them: one reading serves the whole "
            "batch. That is what a batch is good for.",
            scaled(lambda config, batch, T, S: batch, "weights", "head"),
        ),
        Mistake(
            "only the layers' weights times the batch",
            "The head is right, `weights` is not: all rows share the matrices of the layers, too. One "
            "reading serves the whole batch.",
            scaled(lambda config, batch, T, S: batch, "weights"),
        ),
        Mistake(
            "the head times the batch",
            "`weights` is right, `head` is not: you read its matrix once for each row. All rows share "
            "it.",
            scaled(lambda config, batch, T, S: batch, "head"),
        ),
        Mistake(
            "weights times the layers",
            "`weights` is too large: parameters_by_part counts over all layers already. No factor L.",
            scaled(lambda config, *_: config.layers, "weights"),
        ),
        Mistake(
            "weights times the positions",
            "You read the weights once for each new position. One reading serves all of them: a "
            "product takes all positions at once.",
            scaled(lambda config, batch, T, S: T, "weights", "head"),
        ),
        Mistake(
            "weights times all positions",
            "You read the weights batch · T times. One reading serves all positions of all rows.",
            scaled(lambda config, batch, T, S: batch * T, "weights", "head"),
        ),
        Mistake(
            "a tied head not counted",
            "Where the head is tied you count nothing. It has no numbers of its own, but they are read "
            "all the same: the embedding's table, as a whole.",
            wrong_bytes(
                lambda right, config, *_, **__: {"head": 0 if config.tied else right["head"]}
            ),
        ),
        Mistake(
            "a head that does not run",
            "Where `logits` is 0 the head does not run, and nothing of it is read.",
            wrong_bytes(head_anyway),
        ),
        Mistake(
            "the head for each of its positions",
            "You read the head once for each position that it runs on. One reading serves them all.",
            wrong_bytes(
                lambda right, *_, **sizes: {"head": right["head"] * sizes.get("logits", 1)}
            ),
        ),
        Mistake(
            "the whole embedding table",
            "Of the embedding table only the rows of the new tokens are read: batch · T of C numbers.",
            wrong_bytes(
                lambda right, config, *_, **sizes: {
                    "embedding_rows": config.vocabulary
                    * config.width
                    * sizes.get("weight_bytes_per_number", 4)
                }
            ),
        ),
        Mistake(
            "the embedding table among the weights",
            "You count the embedding's table among the weights. `weights` has what the layers have, "
            "and the last norm; the table comes in twice already, as `head` and as `embedding_rows`.",
            wrong_bytes(
                lambda right, config, *_, **sizes: {
                    "weights": right["weights"]
                    + config.vocabulary * config.width * sizes.get("weight_bytes_per_number", 4)
                }
            ),
        ),
        Mistake(
            "embedding rows of one text",
            "Each of the `batch` rows brings T tokens: batch · T rows of the table.",
            scaled(lambda config, batch, T, S: 1 / batch, "embedding_rows"),
        ),
        Mistake(
            "embedding rows in the type of the cache",
            "The embedding is a weight: its rows have numbers of weight_bytes_per_number.",
            wrong_bytes(
                lambda right, config, *_, **sizes: {
                    "embedding_rows": right["embedding_rows"]
                    * sizes.get("cache_bytes_per_number", 4)
                    / sizes.get("weight_bytes_per_number", 4)
                }
            ),
        ),
        Mistake(
            "norms forgotten",
            "You are short by a little: the norms have weights too, parameters_by_part(config)['norms'].",
            wrong_bytes(
                lambda right, config, *rest, **sizes: {
                    "weights": right["weights"] - norms(right, config, **sizes)
                }
            ),
        ),
        Mistake(
            "new positions read too",
            "You read all S positions. The T new ones are not in memory yet: they have just been "
            "computed. Old ones are read, S - T; new ones are written, T.",
            positions_read(lambda T, S: (S, T)),
        ),
        Mistake(
            "old and new swapped",
            "Read and written are swapped: the S - T old positions are read, the T new ones written.",
            positions_read(lambda T, S: (T, S - T)),
        ),
        Mistake(
            "all written again",
            "You write all S positions. The old ones lie in the cache already: only T are written.",
            positions_read(lambda T, S: (S - T, S)),
        ),
        Mistake(
            "read once for each new position",
            "You read the old positions once for each new one. All new positions of a row use the same "
            "reading.",
            positions_read(lambda T, S: (T * (S - T), T)),
        ),
        Mistake(
            "keys alone",
            "The cache has keys and values: a factor of 2 is missing.",
            scaled(lambda *_: 0.5, "kv_read", "kv_write"),
        ),
        Mistake(
            "H for G in the cache",
            "You count H heads in the cache. Keys and values have G = config.kv_heads.",
            scaled(lambda config, *_: config.heads / config.kv_heads, "kv_read", "kv_write"),
        ),
        Mistake(
            "C for G·D in the cache",
            "You count the width C for each key. A key has G·D numbers.",
            scaled(lambda config, *_: config.width / kv_rows(config), "kv_read", "kv_write"),
        ),
        Mistake(
            "the cache of one layer",
            "That is the cache of one layer: each layer has its own keys and values.",
            scaled(lambda config, *_: 1 / config.layers, "kv_read", "kv_write"),
        ),
        Mistake(
            "the cache of one row",
            "Weights are shared by the rows of a batch, the cache is not: each row reads and writes its "
            "own.",
            scaled(lambda config, batch, *_: 1 / batch, "kv_read", "kv_write"),
        ),
        Mistake(
            "the old positions of one row",
            "`kv_write` is right, `kv_read` is that of one row: each row of the batch reads a cache of "
            "its own.",
            scaled(lambda config, batch, *_: 1 / batch, "kv_read"),
        ),
        Mistake(
            "the new positions of one row",
            "`kv_read` is right, `kv_write` is that of one row: each row of the batch writes into a "
            "cache of its own.",
            scaled(lambda config, batch, *_: 1 / batch, "kv_write"),
        ),
        Mistake(
            "the cache in the type of the weights",
            "The numbers of the cache have a size of their own: cache_bytes_per_number.",
            wrong_bytes(
                lambda right, config, *_, **sizes: {
                    part: right[part]
                    * sizes.get("weight_bytes_per_number", 4)
                    / sizes.get("cache_bytes_per_number", 4)
                    for part in ("kv_read", "kv_write")
                }
            ),
        ),
        Mistake(
            "numbers instead of bytes",
            "You count numbers. Multiply them by their size: weight_bytes_per_number for the weights, "
            "cache_bytes_per_number for the cache.",
            lambda config, batch, T, S, *, logits=1, **_: bytes_by_hand(
                config,
                batch,
                T,
                S,
                weight_bytes_per_number=1,
                cache_bytes_per_number=1,
                logits=logits,
            ),
        ),
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


def generation(
    with_cache: Callable[[ModelConfig, int, int], int],
    without: Callable[[ModelConfig, int, int], int] | None = None,
) -> Callable[..., int]:
    """A candidate made of two functions of (config, P, n); the right one where none is given."""

    def run(config: ModelConfig, prompt: int, new_tokens: int, cached: bool = True) -> int:
        if cached:
            return with_cache(config, prompt, new_tokens)
        if without is None:
            return generation_by_hand(config, prompt, new_tokens, False)
        return without(config, prompt, new_tokens)

    return run


def right_cached(config: ModelConfig, P: int, n: int) -> int:
    return generation_by_hand(config, P, n)


def right_uncached(config: ModelConfig, P: int, n: int) -> int:
    return generation_by_hand(config, P, n, False)


def decodes(config: ModelConfig, lengths: range) -> int:
    return sum(whole_forward(config, 1, S) for S in lengths)


def prefills(config: ModelConfig, lengths: range) -> int:
    return sum(whole_forward(config, S, S) for S in lengths)


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
    mistakes=(
        Mistake(
            "one step too many",
            "You make a decode step for each new token. The first one comes out of the prefill, so n "
            "tokens need n - 1 steps.",
            generation(
                lambda config, P, n: (
                    whole_forward(config, P, P) + decodes(config, range(P + 1, P + n + 1))
                )
            ),
        ),
        Mistake(
            "the prompt not read",
            "The steps are right, but the prompt must be read first: a prefill of P tokens.",
            generation(lambda config, P, n: decodes(config, range(P + 1, P + n))),
        ),
        Mistake(
            "S behind by one",
            "In the first decode step the new token stands after P others and sees itself as well: "
            "S = P + 1, not P.",
            generation(
                lambda config, P, n: (
                    whole_forward(config, P, P) + decodes(config, range(P, P + n - 1))
                )
            ),
        ),
        Mistake(
            "S does not grow",
            "All your decode steps have the same S. Each new token finds one position more in the "
            "cache.",
            generation(
                lambda config, P, n: (
                    whole_forward(config, P, P) + (n - 1) * whole_forward(config, 1, P + 1)
                )
            ),
        ),
        Mistake(
            "S is 1",
            "Your decode steps see themselves alone. One new position, T = 1, but S counts those in "
            "the cache, too.",
            generation(
                lambda config, P, n: (
                    whole_forward(config, P, P) + (n - 1) * whole_forward(config, 1, 1)
                )
            ),
        ),
        Mistake(
            "the prompt token by token",
            "You read the prompt in decode steps. It is known as a whole: one prefill.",
            generation(lambda config, P, n: decodes(config, range(1, P + n))),
        ),
        Mistake(
            "never a cache",
            "You don't look at `cached`: with a cache only the first forward reads the whole prompt.",
            generation(right_uncached),
        ),
        Mistake(
            "always a cache",
            "You don't look at `cached`: without a cache each token needs a prefill of all before it.",
            generation(right_cached, right_cached),
        ),
        Mistake(
            "cached upside down",
            "The two are swapped: `cached=True` is the cheap one.",
            generation(right_uncached, right_cached),
        ),
        Mistake(
            "uncached: one length too far",
            "Without a cache you read P + 1 to P + n positions. The first token needs the P of the "
            "prompt, and the last one is never read.",
            generation(
                right_cached, lambda config, P, n: prefills(config, range(P + 1, P + n + 1))
            ),
        ),
        Mistake(
            "uncached: the text does not grow",
            "Without a cache all your forwards read the prompt alone. Each reads what was made before "
            "it, too: P, P + 1, …",
            generation(right_cached, lambda config, P, n: n * whole_forward(config, P, P)),
        ),
        Mistake(
            "uncached: one token too few",
            "Without a cache you make n - 1 forwards. There is no prefill besides: n tokens need n.",
            generation(right_cached, lambda config, P, n: prefills(config, range(P, P + n - 1))),
        ),
        Mistake(
            "uncached: T is 1",
            "Without a cache you send one position through the model for each token. What is not kept "
            "must be computed again: T = S, all that stands before the token.",
            generation(right_cached, lambda config, P, n: decodes(config, range(P, P + n))),
        ),
        Mistake(
            "uncached: the head everywhere",
            "Without a cache you run the head on all positions. Only the last is read: logits = 1.",
            generation(
                right_cached,
                lambda config, P, n: sum(whole_forward(config, S, S, S) for S in range(P, P + n)),
            ),
        ),
        Mistake(
            "uncached: the prompt counted twice",
            "Without a cache you begin with a prefill and then make n forwards more. The first forward "
            "is that prefill.",
            generation(
                right_cached,
                lambda config, P, n: (
                    whole_forward(config, P, P) + prefills(config, range(P, P + n))
                ),
            ),
        ),
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


def part_of_overtakes(config: ModelConfig, part: str) -> float:
    entries = sum(rows * columns for rows, columns in shapes(config)[part])
    return entries / (2 * config.heads * config.head_dim)


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
    ),
    mistakes=(
        Mistake(
            "twice too long",
            "Twice too long: either the weighted sum is missing, which costs as much as the scores, or "
            "you left out the masked half, which is computed too.",
            lambda config: 2 * overtakes_by_hand(config),
        ),
        Mistake(
            "half as long",
            "Half of what it should be: count the multiply-adds of both sides alike. A matrix entry "
            "costs 2 FLOPs for each position, too.",
            lambda config: overtakes_by_hand(config) / 2,
        ),
        Mistake(
            "only the feed-forward layer",
            "You compare with the feed-forward layer alone. The four projections are linear layers, "
            "too.",
            lambda config: part_of_overtakes(config, "feed_forward"),
        ),
        Mistake(
            "only the projections",
            "You compare with the projections alone. The feed-forward layer is linear, too, and most "
            "of it.",
            lambda config: part_of_overtakes(config, "projections"),
        ),
        Mistake(
            "all layers on one side",
            "Both sides have L layers: L cancels.",
            lambda config: config.layers * overtakes_by_hand(config),
        ),
        Mistake(
            "H twice",
            "H times too short: a pair of positions costs 4·H·D FLOPs in a layer, and H·D is about C.",
            lambda config: overtakes_by_hand(config) / config.heads,
        ),
        Mistake(
            "G for H",
            "Scores are computed for each of the H query heads, not for G.",
            lambda config: overtakes_by_hand(config) * config.heads / config.kv_heads,
        ),
        Mistake(
            "C for H·D",
            "Right where H·D is C. A pair of positions costs 4·H·D FLOPs in a layer.",
            lambda config: (
                overtakes_by_hand(config) * config.heads * config.head_dim / config.width
            ),
        ),
        Mistake(
            "the head too",
            "You count the head as if it ran on every position. It stands aside here: only what is in "
            "the layers.",
            lambda config: (
                overtakes_by_hand(config)
                + config.vocabulary
                * config.width
                / (2 * config.layers * config.heads * config.head_dim)
            ),
        ),
        Mistake(
            "rounded down",
            "You round down. The length at which both cost the same need not be a whole number.",
            lambda config: int(overtakes_by_hand(config)),
        ),
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
