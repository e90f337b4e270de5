"""Lesson 09: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from dataclasses import replace

from hypothesis import strategies as st
from random_inputs import shaped, sizes

from decodeloop.cost import kv_cache_bytes, linear_shapes, mask_bytes, parameters_by_part
from decodeloop.exercises.lesson_09 import (
    GPT2,
    LLAMA_3_8B,
    QWEN_2_5,
    QWEN_3,
)
from decodeloop.model import SMOLLM2_135M, ModelConfig

# --- weight_bytes ---------------------------------------------------------------------------------


def part_by_part(config, bytes_per_number):
    total = 0
    for count in parameters_by_part(config).values():
        total += count * bytes_per_number
    return total


def from_matrices(config, bytes_per_number):
    """The matrices of a layer, and what is not among them from the other parts."""
    parts = parameters_by_part(config)
    layer = sum(rows * columns for rows, columns in linear_shapes(config).values())
    biases = parts["attention"] + parts["feed_forward"] - config.layers * layer
    tables = config.vocabulary * config.width * (2 - config.tied) + parts["positions"]
    return (config.layers * layer + biases + tables + parts["norms"]) * bytes_per_number


def parts_without(*left_out):
    def count(config, bytes_per_number):
        parts = parameters_by_part(config)
        return sum(n for name, n in parts.items() if name not in left_out) * bytes_per_number

    return count


def with_a_head(config, bytes_per_number):
    parts = dict(parameters_by_part(config))
    parts["head"] = parts["embedding"]
    return sum(parts.values()) * bytes_per_number


def layer_after_layer(config, bytes_per_number):
    return sum(part_by_part(config, bytes_per_number) for _ in range(config.layers))


# --- activation_bytes -----------------------------------------------------------------------------


def three_sums(config, batch, T, S, bytes_per_number, logits=1):
    C, F, V = config.width, config.feed_forward, config.vocabulary
    H, G, D = config.heads, config.kv_heads, config.head_dim
    q, k = batch * T * H * D, batch * T * G * D
    small = 8 * T
    attention = bytes_per_number * (2 * batch * T * C + q + k + k + 3 * batch * H * T * (S + 1))
    attention += mask_bytes(config, batch, T, S) + small
    feed_forward = bytes_per_number * batch * T * (3 * C + H * D + 2 * G * D + 3 * F) + small
    return max(attention, feed_forward, bytes_per_number * batch * (T * C + logits * V))


def shapes_of(config, batch, T, S, logits):
    """Stage → the shapes of what is alive in it."""
    C, F, H, G, D = (
        config.width,
        config.feed_forward,
        config.heads,
        config.kv_heads,
        config.head_dim,
    )
    x, wide, scores = (batch, T, C), (batch, T, F), (batch, H, T, S)
    qkv = [(batch, H, T, D), (batch, G, T, D), (batch, G, T, D)]
    return {
        "attention": [x, x, *qkv, *[scores] * 3, *[(batch, H, T, 1)] * 3],
        "feed_forward": [x, x, x, *qkv, *[wide] * 3],
        "head": [x, (batch, logits, config.vocabulary)],
    }


def by_shapes(config, batch, T, S, bytes_per_number, logits=1, change=lambda shapes: None):
    shapes = shapes_of(config, batch, T, S, logits)
    change(shapes)
    found = {
        stage: sum(math.prod(shape) for shape in alive) * bytes_per_number
        for stage, alive in shapes.items()
    }
    found["attention"] += mask_bytes(config, batch, T, S) + 8 * T
    found["feed_forward"] += 8 * T
    return sorted(found.values())[-1]


def shapes_changed(change):
    """`by_shapes` with the lists of shapes changed: change(shapes, config, B, T, S, logits)."""

    def count(config, batch, T, S, bytes_per_number, logits=1):
        return by_shapes(
            config,
            batch,
            T,
            S,
            bytes_per_number,
            logits,
            lambda shapes: change(shapes, config, batch, T, S, logits),
        )

    return count


def removed(stage, first, last):
    def change(shapes, *_):
        del shapes[stage][first:last]

    return shapes_changed(change)


def without_stage(stage):
    def count(config, batch, T, S, bytes_per_number, logits=1):
        found = stage_sums(config, batch, T, S, bytes_per_number, logits)
        return max(v for name, v in found.items() if name != stage)

    return count


def stage_sums(config, batch, T, S, size, logits=1, mask=1, index=8):
    found = {
        stage: sum(math.prod(shape) for shape in alive) * size
        for stage, alive in shapes_of(config, batch, T, S, logits).items()
    }
    found["attention"] += mask * mask_bytes(config, batch, T, S) + index * T
    found["feed_forward"] += index * T
    return found


def all_stages(config, batch, T, S, size, logits=1):
    return sum(stage_sums(config, batch, T, S, size, logits).values())


def layers_piled_up(config, batch, T, S, size, logits=1):
    held = 0
    for _ in range(config.layers):
        held += three_sums(config, batch, T, S, size, logits)
    return held


def tables_of(shape):
    """The three tables and the numbers of their rows, with another shape (B, heads, T, S)."""

    def change(shapes, config, batch, T, S, logits):
        changed = shape(config, batch, T, S)
        shapes["attention"][5:] = [changed] * 3 + [(*changed[:3], 1)] * 3

    return shapes_changed(change)


def so_many_tables(count):
    def change(shapes, config, batch, T, S, logits):
        shapes["attention"][5:] = [(batch, config.heads, T, S + 1)] * count

    return shapes_changed(change)


def keys_with_h_heads(shapes, config, batch, T, S, logits):
    for stage in ("attention", "feed_forward"):
        place = 2 if stage == "attention" else 3
        shapes[stage][place + 1 : place + 3] = [(batch, config.heads, T, config.head_dim)] * 2


def keys_of_s_positions(shapes, config, batch, T, S, logits):
    for stage, place in (("attention", 3), ("feed_forward", 4)):
        shapes[stage][place : place + 2] = [(batch, config.kv_heads, S, config.head_dim)] * 2


def few_hidden_vectors(shapes, config, batch, T, S, logits):
    shapes["head"][0] = (batch, logits, config.width)


def one_mask(config, batch, T, S, size, logits=1):
    found = stage_sums(config, batch, T, S, size, logits, mask=0)
    return max(found["attention"] + (T * S if T > 1 else 0), found["feed_forward"], found["head"])


def mask_twice(config, batch, T, S, size, logits=1):
    found = stage_sums(config, batch, T, S, size, logits)
    found["feed_forward"] += mask_bytes(config, batch, T, S)
    return max(found.values())


def keys_without_values(shapes, *_):
    del shapes["attention"][4], shapes["feed_forward"][5]


# --- max_batch and max_length ---------------------------------------------------------------------


def room_for(config, memory_bytes, w=2, r=0):
    return memory_bytes - r - sum(parameters_by_part(config).values()) * w


def batch_by_formula(
    config, memory_bytes, length, weight_bytes_per_number=2, cache_bytes_per_number=2, reserve=0
):
    room = room_for(config, memory_bytes, weight_bytes_per_number, reserve)
    if room < 0:
        return 0
    return math.floor(room / kv_cache_bytes(config, 1, length, cache_bytes_per_number))


def batch_by_bisection(config, memory_bytes, length, w=2, c=2, reserve=0):
    low, high = 0, 10**12
    while low < high:
        middle = (low + high + 1) // 2
        used = kv_cache_bytes(config, middle, length, c) + memory_bytes
        if used - room_for(config, memory_bytes, w, reserve) <= memory_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def length_by_formula(
    config, memory_bytes, batch, weight_bytes_per_number=2, cache_bytes_per_number=2, reserve=0
):
    room = room_for(config, memory_bytes, weight_bytes_per_number, reserve)
    tokens = int(room // kv_cache_bytes(config, 1, 1, cache_bytes_per_number))
    return tokens // batch if tokens > 0 else 0


def length_by_bisection(config, memory_bytes, batch, w=2, c=2, reserve=0):
    low, high = 0, 10**12
    while low < high:
        middle = low + (high - low + 1) // 2
        if kv_cache_bytes(config, batch, middle, c) <= room_for(config, memory_bytes, w, reserve):
            low = middle
        else:
            high = middle - 1
    return low


def fitted(cost, end=lambda x: max(0, int(x // 1))):
    """`end` of room / cost; cost(config, other, w, c) → bytes; room without the weights' part."""

    def count(config, memory_bytes, other, w=2, c=2, reserve=0):
        return end(room_for(config, memory_bytes, w, reserve) / cost(config, other, w, c))

    return count


def fitted_in(room, cost):
    """The same with another room: room(config, M, other, w, c, r)."""

    def count(config, memory_bytes, other, w=2, c=2, reserve=0):
        there = room(config, memory_bytes, other, w, c, reserve)
        return max(0, int(there // cost(config, other, w, c)))

    return count


def second_forms_of_fitting(cost):
    """The mistakes that batch and length share; `cost(config, other, w, c)` is the right one."""
    return {
        "rounded up": fitted(cost, lambda x: max(0, -int(-x // 1))),
        "rounded to the nearest": fitted(cost, lambda x: max(0, int(f"{x:.0f}"))),
        "not rounded": fitted(cost, lambda x: x if x > 0 else 0),
        "the weights forgotten": fitted_in(lambda config, M, n, w, c, r: M - r, cost),
        "negative": fitted(cost, math.floor),
        "at least one": fitted(cost, lambda x: math.floor(x) if x >= 1 else 1),
        "the reserve forgotten": fitted_in(
            lambda config, M, n, w, c, r: room_for(config, M, w), cost
        ),
        "the reserve added": fitted_in(
            lambda config, M, n, w, c, r: room_for(config, M + r, w), cost
        ),
        "the cache in the type of the weights": fitted(
            lambda config, n, w, c: cost(config, n, w, w)
        ),
        "the weights in the type of the cache": fitted_in(
            lambda config, M, n, w, c, r: room_for(config, M, c, r), cost
        ),
        "H instead of G": fitted(
            lambda config, n, w, c: cost(config, n, w, c) * config.heads / config.kv_heads
        ),
        "keys alone": fitted(lambda config, n, w, c: cost(config, n, w, c) / 2),
        "one layer": fitted(lambda config, n, w, c: cost(config, n, w, c) / config.layers),
        "the memory in GB": fitted_in(
            lambda config, M, n, w, c, r: room_for(config, 1e9 * M, w, r), cost
        ),
    }


def cache_of_a_text(config, length, w, c):
    return kv_cache_bytes(config, 1, length, c)


def cache_of_a_token_each(config, batch, w, c):
    return kv_cache_bytes(config, batch, 1, c)


def a_model_each(config, memory_bytes, length, w=2, c=2, reserve=0):
    users = 0
    while (users + 1) * (
        part_by_part(config, w) + cache_of_a_text(config, length, w, c)
    ) <= memory_bytes - reserve:
        users += 1
    return users


def a_model_each_in_lengths(config, memory_bytes, batch, w=2, c=2, reserve=0):
    room = (memory_bytes - reserve) / batch - part_by_part(config, w)
    return max(0, math.floor(room / kv_cache_bytes(config, 1, 1, c)))


# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "weight_bytes": [part_by_part, from_matrices],
    "activation_bytes": [three_sums, by_shapes],
    "max_batch": [batch_by_formula, batch_by_bisection],
    "max_length": [length_by_formula, length_by_bisection],
}

SECOND_FORMS = {
    "weight_bytes": {
        "a tied head twice": with_a_head,
        "the head forgotten": parts_without("head"),
        "the embedding forgotten": parts_without("embedding"),
        "the norms forgotten": parts_without("norms"),
        "the positions forgotten": parts_without("positions"),
        "times the layers": layer_after_layer,
        "bits for bytes": lambda config, size: part_by_part(config, size) * 8,
        "divided by eight": lambda config, size: part_by_part(config, size) / 8,
        "numbers instead of bytes": lambda config, size: sum(parameters_by_part(config).values()),
        "always 4 bytes": lambda config, size: part_by_part(config, 4),
        "rounded to whole bytes too early": lambda config, size: part_by_part(config, size // 1),
        "GB instead of bytes": lambda config, size: part_by_part(config, size) / 1000**3,
        "GiB instead of bytes": lambda config, size: part_by_part(config, size) / 1024**3,
    },
    "activation_bytes": {
        "the stages added": all_stages,
        "times the layers": layers_piled_up,
        "one table": so_many_tables(1),
        "two tables": so_many_tables(2),
        "a table for each KV head": tables_of(lambda config, B, T, S: (B, config.kv_heads, T, S)),
        "T · T": tables_of(lambda config, B, T, S: (B, config.heads, T, T)),
        "S · S": tables_of(lambda config, B, T, S: (B, config.heads, S, S)),
        "the numbers of each row forgotten": removed("attention", 8, None),
        "q, k and v forgotten in the feed-forward stage": removed("feed_forward", 3, 6),
        "H heads for keys and values": shapes_changed(keys_with_h_heads),
        "keys or values forgotten": shapes_changed(keys_without_values),
        "one tensor of F": removed("feed_forward", 6, 8),
        "two tensors of F": removed("feed_forward", 8, None),
        "the mask forgotten": lambda *sizes, **options: max(
            stage_sums(*sizes, **options, mask=0).values()
        ),
        "the mask in the model's type": lambda *sizes, **options: max(
            stage_sums(*sizes, **options, mask=sizes[4]).values()
        ),
        "mask and positions in the model's type": lambda *sizes, **options: max(
            stage_sums(*sizes, **options, mask=sizes[4], index=8 * sizes[4]).values()
        ),
        "the positions in the model's type": lambda *sizes, **options: max(
            stage_sums(*sizes, **options, index=8 * sizes[4]).values()
        ),
        "the mask once for all heads": one_mask,
        "the mask in the feed-forward stage too": mask_twice,
        "keys and values of S positions": shapes_changed(keys_of_s_positions),
        "C / H for D": lambda config, *sizes, **options: three_sums(
            replace(config, head_dim=int(config.width / config.heads)), *sizes, **options
        ),
        "hidden vectors of the logits' positions alone": shapes_changed(few_hidden_vectors),
        "the attention stage alone": lambda *sizes, **options: stage_sums(*sizes, **options)[
            "attention"
        ],
        "the positions forgotten": lambda *sizes, **options: max(
            stage_sums(*sizes, **options, index=0).values()
        ),
        "the head forgotten": without_stage("head"),
        "the attention stage forgotten": without_stage("attention"),
        "the feed-forward stage forgotten": without_stage("feed_forward"),
        "logits of every position": lambda config, batch, T, S, size, logits=1: three_sums(
            config, batch, T, S, size, T
        ),
        "logits of one position, always": lambda config, batch, T, S, size, logits=1: three_sums(
            config, batch, T, S, size
        ),
        "one row": lambda config, batch, T, S, size, logits=1: by_shapes(
            config, 1, T, S, size, logits
        ),
        "always 4 bytes": lambda config, batch, T, S, size, logits=1: by_shapes(
            config, batch, T, S, 4, logits
        ),
        "numbers instead of bytes": lambda config, batch, T, S, size, logits=1: by_shapes(
            config, batch, T, S, 1, logits
        ),
        "bits for bytes": lambda config, batch, T, S, size, logits=1: by_shapes(
            config, batch, T, S, size * 8, logits
        ),
        "megabytes instead of bytes": lambda *sizes, **options: by_shapes(*sizes, **options) * 1e-6,
    },
    "max_batch": {
        **second_forms_of_fitting(cache_of_a_text),
        "the weights for each text": a_model_each,
        "a text of one token": fitted(lambda config, length, w, c: kv_cache_bytes(config, 1, 1, c)),
        "always the whole context": fitted(
            lambda config, length, w, c: kv_cache_bytes(config, 1, config.context, c)
        ),
    },
    "max_length": {
        **second_forms_of_fitting(cache_of_a_token_each),
        "one text": fitted(lambda config, batch, w, c: kv_cache_bytes(config, 1, 1, c)),
        "the weights for each text": a_model_each_in_lengths,
    },
}

UNNAMED = {
    "weight_bytes": [
        parts_without("attention"),
        lambda config, size: max(parameters_by_part(config).values()) * size,
        lambda config, size: 12 * config.layers * config.width**2 * size,  # GPT's rule of thumb
        lambda config, size: part_by_part(config, size) / 2**20,
        lambda config, size: part_by_part(config, size) + size,
    ],
    "activation_bytes": [
        lambda *sizes, **options: min(stage_sums(*sizes, **options).values()),
        lambda *sizes, **options: stage_sums(*sizes, **options)["feed_forward"],
        lambda config, batch, T, S, size, logits=1: three_sums(config, batch, S, T, size, logits),
        lambda config, batch, T, S, size, logits=1: batch * T * config.width * size,
        lambda *sizes, **options: three_sums(*sizes, **options) / 2**20,
        tables_of(lambda config, B, T, S: (1, config.heads, T, S)),
    ],
    "max_batch": [
        lambda config, M, length, w=2, c=2, reserve=0: (
            batch_by_formula(config, M, length, w, c, reserve) + 1
        ),
        lambda config, M, length, w=2, c=2, reserve=0: max(
            0, batch_by_formula(config, M, length, w, c, reserve) - 1
        ),
        lambda config, M, length, w=2, c=2, reserve=0: batch_by_formula(config, M, length),
        lambda config, M, length, w=2, c=2, reserve=0: abs(
            math.floor(room_for(config, M, w, reserve) / cache_of_a_text(config, length, w, c))
        ),
        lambda config, M, length, w=2, c=2, reserve=0: room_for(config, M, w, reserve),
    ],
    "max_length": [
        lambda config, M, batch, w=2, c=2, reserve=0: min(
            config.context, length_by_formula(config, M, batch, w, c, reserve)
        ),
        lambda config, M, batch, w=2, c=2, reserve=0: (
            batch * length_by_formula(config, M, batch, w, c, reserve)
        ),
        lambda config, M, batch, w=2, c=2, reserve=0: (
            length_by_formula(config, M, batch, w, c, reserve) + 1
        ),
        lambda config, M, batch, w=2, c=2, reserve=0: length_by_formula(config, M, batch),
    ],
}

# --- random inputs --------------------------------------------------------------------------------


def small(V, C, L, G, group, half, F, tied):
    heads = {"heads": G * group, "kv_heads": G, "head_dim": 2 * half}
    return ModelConfig(
        vocabulary=V, width=C, layers=L, feed_forward=F, context=16, tied=tied, **heads
    )


smalls = st.builds(small, st.integers(1, 90), st.integers(1, 20), *[sizes] * 5, st.booleans())
any_config = st.one_of(smalls, st.sampled_from([SMOLLM2_135M, LLAMA_3_8B, GPT2, QWEN_2_5, QWEN_3]))
bytes_per_number = st.sampled_from([1, 2, 4, 8])
reserve = st.integers(0, 2_000)

RANDOM = {
    "weight_bytes": st.tuples(any_config, bytes_per_number),
    "activation_bytes": shaped(
        lambda config, batch, T, old, size: (config, batch, T, T + old, size),
        any_config,
        sizes,
        st.integers(1, 300),
        st.integers(0, 300),
        bytes_per_number,
    ),
    "max_batch": st.tuples(
        any_config,
        st.integers(0, 10**6) | st.integers(10**9, 10**11),
        st.integers(1, 5_000),
        bytes_per_number,
        bytes_per_number,
        reserve,
    ),
    "max_length": st.tuples(
        any_config,
        st.integers(0, 10**6) | st.integers(10**9, 10**11),
        st.integers(1, 64),
        bytes_per_number,
        bytes_per_number,
        reserve,
    ),
}
