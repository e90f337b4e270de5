"""Exercises of lesson 09: the bytes of weights and activations, and what fits beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from decodeloop.cost import activation_bytes, max_batch, max_length, preset, weight_bytes
from decodeloop.exercises.exercise import Case, Exercise, Mistake
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
    return numbers(config) * bytes_per_number


def mistaken_weights(
    more: Callable[[ModelConfig], float] = lambda config: 0,
    times: Callable[[float], float] = lambda size: size,
) -> Callable[[ModelConfig, float], float]:
    """The right count of numbers with some added; the size of each changed."""
    return lambda config, size: (numbers(config) + more(config)) * times(size)


def all_norms(config: ModelConfig) -> int:
    """Norms of any family: GPT-2's have biases, Qwen 3's include those of queries and keys."""
    extra = 2 * config.layers * config.head_dim if config == QWEN_3 else 0
    return norm_numbers(config) * (2 if config == GPT2 else 1) + extra


def learned_positions(config: ModelConfig) -> int:
    return config.context * config.width if config == GPT2 else 0


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
    mistakes=(
        Mistake(
            "a tied head twice",
            "Too much by one table of V · C where the head is tied. It is the embedding itself, and "
            'there is only one of it: parameters_by_part has 0 under "head" for that reason.',
            mistaken_weights(lambda c: table(c) if c.tied else 0),
        ),
        Mistake(
            "the head forgotten",
            "Right for tied models. Where the head is a matrix of its own, it takes memory like any "
            "other.",
            mistaken_weights(lambda c: 0 if c.tied else -table(c)),
        ),
        Mistake(
            "the embedding forgotten",
            "The embedding is missing. Only a few of its rows are read for a text, but all of them "
            "lie in memory.",
            mistaken_weights(lambda c: -table(c)),
        ),
        Mistake(
            "the norms forgotten",
            "Short by a small fraction of a percent: the norms have weights too. Add all the parts, "
            "and there is no need to know their names.",
            mistaken_weights(lambda c: -all_norms(c)),
        ),
        Mistake(
            "the positions forgotten",
            "Right for models with RoPE. GPT-2 has learned a vector for each position, a table of "
            "context · C numbers. Add all the parts, and there is no need to know their names.",
            mistaken_weights(lambda c: -learned_positions(c)),
        ),
        Mistake(
            "times the layers",
            "The counts are for all layers together already: don't multiply by config.layers.",
            lambda config, size: weighed(config, size) * config.layers,
        ),
        Mistake(
            "bits for bytes",
            "Eight times too much. `bytes_per_number` is in bytes already: 4 for fp32, whose 32 are "
            "bits.",
            mistaken_weights(times=lambda size: 8 * size),
        ),
        Mistake(
            "divided by eight",
            "Eight times too little. `bytes_per_number` is in bytes already; only bits would be "
            "divided by 8.",
            mistaken_weights(times=lambda size: size / 8),
        ),
        Mistake(
            "numbers instead of bytes",
            "You count the numbers. Each takes `bytes_per_number` bytes.",
            mistaken_weights(times=lambda size: 1),
        ),
        Mistake(
            "always 4 bytes",
            "You take 4 bytes for each number, whatever is asked: 2 in bf16, 1 in int8.",
            mistaken_weights(times=lambda size: 4),
        ),
        Mistake(
            "rounded to whole bytes too early",
            "Half a byte for each number is 4 bits. You round `bytes_per_number` to a whole number "
            "before you multiply, and 0.5 becomes 0.",
            mistaken_weights(times=lambda size: int(size)),
        ),
        Mistake(
            "GB instead of bytes",
            "That is in GB. Bytes are asked for: divide only where you print.",
            lambda config, size: weighed(config, size) / 1e9,
        ),
        Mistake(
            "GiB instead of bytes",
            "That is in GiB. Bytes are asked for: divide only where you print.",
            lambda config, size: weighed(config, size) / 2**30,
        ),
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
    config: ModelConfig,
    batch: int,
    T: int,
    S: int,
    bytes_per_number: float,
    *,
    logits: int = 1,
    positions: int = 8,
    tables: int = 3,
    table_heads: str = "heads",
    columns: Callable[[int, int], int] = lambda T, S: S + 1,
    kv: int = 2,
    kv_length: Callable[[int, int], int] = lambda T, S: T,
    head_dim: Callable[[ModelConfig], int] = lambda config: config.head_dim,
    kv_heads: str = "kv_heads",
    qkv_in_feed_forward: bool = True,
    vectors: tuple[int, int, int] = (2, 3, 1),
    inner: int = 3,
    mask: Callable[[int, float], float] = lambda entries, size: entries,
    mask_heads: bool = True,
    mask_in_feed_forward: bool = False,
    hidden_in_head: Callable[[int, int], int] = lambda T, logits: T,
    pick: Callable[[list[float]], float] = max,
    stages: tuple[int, ...] = (0, 1, 2),
) -> float:
    """The sum of what is alive in each stage, tensor by tensor; the mistakes change a term of it."""
    C, F, H, D = config.width, config.feed_forward, config.heads, head_dim(config)
    rows = batch * T
    stream, feed = rows * C, rows * F
    qkv = rows * D * H + batch * kv_length(T, S) * D * kv * getattr(config, kv_heads)
    score_tables = tables * batch * getattr(config, table_heads) * T * columns(T, S)
    entries = 0
    if T > 1:
        entries = T * S
        if mask_heads and config.kv_heads < H:
            entries += batch * H * T * S
    attention = (vectors[0] * stream + qkv + score_tables) * bytes_per_number
    feed_forward = vectors[1] * stream + qkv * qkv_in_feed_forward + inner * feed
    alive = [
        attention + mask(entries, bytes_per_number) + positions * T,
        feed_forward * bytes_per_number + positions * T + entries * mask_in_feed_forward,
        (vectors[2] * batch * hidden_in_head(T, logits) * C + batch * logits * config.vocabulary)
        * bytes_per_number,
    ]
    return pick([alive[stage] for stage in stages])


def mistaken(**changed: Any) -> Callable[..., float]:
    """`live` with a term changed."""

    def count(
        config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
    ) -> float:
        return live(config, batch, T, S, size, **{"logits": logits, **changed})

    return count


def logits_everywhere(
    config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
) -> float:
    return live(config, batch, T, S, size, logits=T)


def in_all_layers(
    config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
) -> float:
    return config.layers * live(config, batch, T, S, size, logits=logits)


def one_row(config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1) -> float:
    return live(config, 1, T, S, size, logits=logits)


def always_four(
    config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
) -> float:
    return live(config, batch, T, S, 4, logits=logits)


def as_numbers(
    config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
) -> float:
    return live(config, batch, T, S, 1, logits=logits)


def in_bits(config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1) -> float:
    return live(config, batch, T, S, 8 * size, logits=logits)


def in_megabytes(
    config: ModelConfig, batch: int, T: int, S: int, size: float, logits: int = 1
) -> float:
    return live(config, batch, T, S, size, logits=logits) / 1e6


WIDE = replace(TINY, kv_heads=6, feed_forward=200)  # a KV head for each query head

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
    ),
    mistakes=(
        Mistake(
            "the stages added",
            "You add the three stages. They come one after another, and what the first held is given "
            "back before the next needs it: the largest decides, `max`.",
            mistaken(pick=sum),
        ),
        Mistake(
            "times the layers",
            "You count every layer. But a layer gives its memory back before the next one runs, and "
            "leaves only x behind: config.layers plays no part. (In training it would.)",
            in_all_layers,
        ),
        Mistake(
            "one table",
            "You count one table of T · S. At the worst moment there are three: the scores, their "
            "exponentials, and the weights.",
            mistaken(tables=1),
        ),
        Mistake(
            "two tables",
            "You count two tables of T · S. At the worst moment there are three: the scores, their "
            "exponentials, and the weights.",
            mistaken(tables=2),
        ),
        Mistake(
            "a table for each KV head",
            "A query head that shares its keys still has scores of its own: the tables are "
            "(B, H, T, S), with H = config.heads.",
            mistaken(table_heads="kv_heads"),
        ),
        Mistake(
            "T · T",
            "Right for a first prefill. The keys include those that are in the cache already: each "
            "of the T queries has S scores, not T.",
            mistaken(columns=lambda T, S: T + 1),
        ),
        Mistake(
            "S · S",
            "Right for a first prefill. Only T of the S positions ask: a table has T rows and S "
            "columns.",
            lambda config, batch, T, S, size, logits=1: live(
                config,
                batch,
                T,
                S,
                size,
                logits=logits,
                columns=lambda T, S: S * (S + 1) / T,  # type: ignore[arg-type,return-value]
            ),
        ),
        Mistake(
            "the numbers of each row forgotten",
            "Short by three numbers for each query of each head: its largest score, its sum, and "
            "that sum clamped. Count S + 1 columns for each table.",
            mistaken(columns=lambda T, S: S),
        ),
        Mistake(
            "q, k and v forgotten in the feed-forward stage",
            "Your feed-forward stage has no q, k and v. Nobody needs them any more, but the block's "
            "function still has names for them, so they are alive.",
            mistaken(qkv_in_feed_forward=False),
        ),
        Mistake(
            "H heads for keys and values",
            "You count H heads for keys and values. They have config.kv_heads.",
            mistaken(kv_heads="heads"),
        ),
        Mistake(
            "keys or values forgotten",
            "You count keys or values, one of the two: both have (B, T, G · D) numbers.",
            mistaken(kv=1),
        ),
        Mistake(
            "one tensor of F",
            "You count one tensor of (B, T, F) in the feed-forward stage. While gate and up are "
            "multiplied three are alive: both factors, and the product.",
            mistaken(inner=1),
        ),
        Mistake(
            "two tensors of F",
            "You count two tensors of (B, T, F) in the feed-forward stage. While gate and up are "
            "multiplied three are alive: both factors, and the product.",
            mistaken(inner=2),
        ),
        Mistake(
            "the mask forgotten",
            "Your attention stage has no mask. A boolean takes a byte, and where heads share, there "
            "is one for each score: add mask_bytes(config, batch, T, S).",
            mistaken(mask=lambda entries, size: 0),
        ),
        Mistake(
            "the mask in the model's type",
            "mask_bytes gives bytes already; you multiply it by bytes_per_number once more. The same "
            "for the positions, if you put them into the same parentheses.",
            mistaken(mask=lambda entries, size: entries * size),
        ),
        Mistake(
            "mask and positions in the model's type",
            "mask_bytes and 8 · T are bytes already; you multiply both by bytes_per_number.",
            lambda config, batch, T, S, size, logits=1: live(
                config,
                batch,
                T,
                S,
                size,
                logits=logits,
                mask=lambda entries, size: entries * size,
                positions=8 * size,
            ),
        ),
        Mistake(
            "the positions in the model's type",
            "You multiply the positions by bytes_per_number. They are whole numbers of 8 bytes each, "
            "whatever the model's type: 8 · T is in bytes already.",
            lambda config, batch, T, S, size, logits=1: live(
                config, batch, T, S, size, logits=logits, positions=8 * size
            ),
        ),
        Mistake(
            "the mask once for all heads",
            "You count the mask as T · S. Where query heads share a KV head it is written out for "
            "each head as well: add mask_bytes(config, batch, T, S), which knows.",
            mistaken(mask_heads=False),
        ),
        Mistake(
            "the mask in the feed-forward stage too",
            "Your feed-forward stage has the mask in it. That was a variable of attend's, which has "
            "returned: it is gone.",
            mistaken(mask_in_feed_forward=True),
        ),
        Mistake(
            "keys and values of S positions",
            "You count k and v of all S positions. Those of earlier tokens lie in the cache, which "
            "is counted elsewhere: new are T.",
            mistaken(kv_length=lambda T, S: S),
        ),
        Mistake(
            "C / H for D",
            "You take C / H for the size of a head. It often is, but a model may choose another: "
            "config.head_dim.",
            mistaken(head_dim=lambda config: config.width // config.heads),
        ),
        Mistake(
            "hidden vectors of the logits' positions alone",
            "In the head stage you count hidden vectors for `logits` positions. The head runs on so "
            "many, but all T final vectors of each row are still there.",
            mistaken(hidden_in_head=lambda T, logits: logits),
        ),
        Mistake(
            "the positions forgotten",
            "Short by 8 · T bytes: the positions are alive in the first two stages, whole numbers of "
            "8 bytes each.",
            mistaken(positions=0),
        ),
        Mistake(
            "the head forgotten",
            "There is a third stage: the logits. In a decode step they are most of what is alive, "
            "for the vocabulary is large.",
            mistaken(stages=(0, 1)),
        ),
        Mistake(
            "the attention stage forgotten",
            "Right for short texts. The tables of attention grow with T · S, and overtake the rest.",
            mistaken(stages=(1, 2)),
        ),
        Mistake(
            "the feed-forward stage forgotten",
            "Right for long texts. In short ones the three tensors of (B, T, F) are more than the "
            "tables.",
            mistaken(stages=(0, 2)),
        ),
        Mistake(
            "the attention stage alone",
            "Right where the tables of attention are the most. Return the largest of the three "
            "stages.",
            mistaken(stages=(0,)),
        ),
        Mistake(
            "logits of every position",
            "You count logits for all T positions. The head runs on `logits` positions of each row, "
            "usually one.",
            logits_everywhere,
        ),
        Mistake(
            "logits of one position, always",
            "You count one position's logits for each row, whatever `logits` says.",
            mistaken(logits=1),
        ),
        Mistake(
            "one row",
            "That is one row of the batch. Each row has activations of its own.",
            one_row,
        ),
        Mistake(
            "always 4 bytes",
            "You take 4 bytes for each number, whatever is asked: `bytes_per_number` is 2 in bf16.",
            always_four,
        ),
        Mistake(
            "numbers instead of bytes",
            "You count the numbers. Each takes `bytes_per_number` bytes.",
            as_numbers,
        ),
        Mistake(
            "bits for bytes",
            "Eight times too much: `bytes_per_number` is in bytes already.",
            in_bits,
        ),
        Mistake(
            "megabytes instead of bytes",
            "That is in MB. Bytes are asked for: divide only where you print.",
            in_megabytes,
        ),
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


def share(
    weights: Callable[[float, int], float] = lambda W, other: W,
    each: Callable[[float, float], float] = lambda W, each: each,
    reserve: Callable[[float], float] = lambda r: r,
    size: Callable[[float, float], float] = lambda weight, cache: cache,
    weight_size: Callable[[float, float], float] = lambda weight, cache: weight,
    length: Callable[[int, ModelConfig], int] = lambda n, config: n,
    heads: str = "kv_heads",
    kinds: int = 2,
    layers: bool = True,
    least: float = 0,
    rounded: Callable[[float], float] = math.floor,
    units: float = 1,
) -> Callable[..., float]:
    """(room) / (what each takes) with a part changed; for batches and for lengths alike."""

    def count(
        config: ModelConfig,
        memory_bytes: float,
        other: int,  # the length, or the batch
        weight_bytes_per_number: float = 2,
        cache_bytes_per_number: float = 2,
        kept: float = 0,
    ) -> float:
        sizes = weight_bytes_per_number, cache_bytes_per_number
        W = weighed(config, weight_size(*sizes))
        one = kinds * getattr(config, heads) * config.head_dim * size(*sizes)
        cache = one * (config.layers if layers else 1) * length(other, config)
        room = memory_bytes * units - reserve(kept) - weights(W, other)
        return max(least, rounded(room / each(W, cache)))

    return count


FITTING_MISTAKES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "rounded up",
        "One too many: the last one has only part of the room that it needs. Round down.",
        {"rounded": math.ceil},
    ),
    (
        "rounded to the nearest",
        "Sometimes one too many: `round` rounds up where half of the room is there. Round down.",
        {"rounded": round},
    ),
    (
        "not rounded",
        "There is no part of one: round down to a whole number.",
        {"rounded": lambda x: x},
    ),
    (
        "the weights forgotten",
        "You divide all of the memory among the caches. The weights lie in it too, once.",
        {"weights": lambda W, other: 0},
    ),
    (
        "negative",
        "Where not even the weights fit, the room is negative, and so is your answer. Then nothing "
        "fits: 0.",
        {"least": -math.inf},
    ),
    (
        "at least one",
        "Where nothing fits, the answer is 0, not 1.",
        {"least": 1},
    ),
    (
        "the reserve forgotten",
        "You use all of the memory: `reserve` bytes of it are to stay free.",
        {"reserve": lambda r: 0},
    ),
    (
        "the reserve added",
        "You add the reserve to the room. It is what must stay free: subtract it.",
        {"reserve": lambda r: -r},
    ),
    (
        "the cache in the type of the weights",
        "Weights and cache may have different types: the cache's numbers take "
        "cache_bytes_per_number each.",
        {"size": lambda weight, cache: weight},
    ),
    (
        "the weights in the type of the cache",
        "Weights and cache may have different types: the weights' numbers take "
        "weight_bytes_per_number each.",
        {"weight_size": lambda weight, cache: cache},
    ),
    (
        "H instead of G",
        "You count the query heads. What is stored are keys and values, and they have "
        "config.kv_heads heads.",
        {"heads": "heads"},
    ),
    (
        "keys alone",
        "You count the keys. Values are stored as well.",
        {"kinds": 1},
    ),
    (
        "one layer",
        "You count the cache of one layer. Each layer has keys and values of its own.",
        {"layers": False},
    ),
    (
        "the memory in GB",
        "`memory_bytes` is in bytes already: don't multiply it by a billion.",
        {"units": 1e9},
    ),
)


def fitting_mistakes(*own: tuple[str, str, dict[str, Any]]) -> tuple[Mistake, ...]:
    return tuple(
        Mistake(name, hint, share(**changed)) for name, hint, changed in (*FITTING_MISTAKES, *own)
    )


LLAMA_3_70B = replace(
    LLAMA_3_8B, width=8_192, layers=80, heads=64, feed_forward=28_672, source="closed form"
)
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
    ),
    mistakes=fitting_mistakes(
        (
            "the weights for each text",
            "You count the weights once for each text. All texts share them: subtract them once, and "
            "divide what is left by the cache of one text. (The primer makes this mistake: “resource "
            "requirements would be m times higher”.)",
            {"weights": lambda W, other: 0, "each": lambda W, each: W + each},
        ),
        (
            "a text of one token",
            "You divide by the cache of a single token. A text has `length` of them.",
            {"length": lambda n, config: 1},
        ),
        (
            "always the whole context",
            "You give each text the longest context of the model. Here it has `length` tokens.",
            {"length": lambda n, config: config.context},
        ),
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
        fits("exactly 7 fit", length_by_trying, UNTIED, int(EXACT), 3, 4, 4),
        fits("a byte less", length_by_trying, UNTIED, int(EXACT) - 1, 3, 4, 4),
    ),
    mistakes=fitting_mistakes(
        (
            "one text",
            "That is the length of one text alone. `batch` texts grow at the same time: each has a "
            "share of the room.",
            {"length": lambda n, config: 1},
        ),
        (
            "the weights for each text",
            "You count the weights once for each text. All texts share them: subtract them once.",
            {"weights": lambda W, batch: batch * W},
        ),
    ),
    hints=(
        "The same room as in max_batch. One more token for every text costs batch tokens of cache.",
        "room // kv_cache_bytes(config, batch, 1, cache_bytes_per_number), and 0 at least.",
    ),
)

EXERCISES = (WEIGHT_BYTES, ACTIVATION_BYTES, MAX_BATCH, MAX_LENGTH)
