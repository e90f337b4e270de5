"""Lesson 10b: right answers, named mistakes in other words, and wrong answers nobody named."""

from itertools import accumulate

from decodeloop.exercises.edits import edited

# --- forward_flops --------------------------------------------------------------------------------


def by_factors(config, batch, T, S, logits=1):
    """Two FLOPs an entry and position."""
    C, L, H, G, D = config.width, config.layers, config.heads, config.kv_heads, config.head_dim
    each, linear = 2, batch * T
    return {
        "head": each * batch * logits * C * config.vocabulary,
        "feed_forward": each * L * linear * 3 * C * config.feed_forward,
        "projections": each * L * linear * 2 * C * D * (H + G),
        "weighted_sum": each * L * batch * T * (H * D) * S,
        "scores": each * L * batch * T * S * (H * D),
    }


# --- forward_bytes --------------------------------------------------------------------------------


def matrices(config, gated=None):
    C, D, F = config.width, config.head_dim, config.feed_forward
    yield from ((config.heads * D, C), (config.kv_heads * D, C), (config.kv_heads * D, C))
    yield from ((C, config.heads * D), (F, C), (C, F))
    if config.gated if gated is None else gated:
        yield F, C


def tensor_by_tensor(
    config, batch, T, S, *, weight_bytes_per_number=4, cache_bytes_per_number=4, logits=1
):
    w, c = weight_bytes_per_number, cache_bytes_per_number
    read = dict.fromkeys(("weights", "head", "embedding_rows", "kv_read", "kv_write"), 0)
    for _ in range(config.layers):
        for rows, columns in matrices(config):
            read["weights"] += rows * columns * w
        read["weights"] += 2 * config.width * w
        for part, positions in (("kv_read", S - T), ("kv_write", T)):
            for _ in ("key", "value"):
                read[part] += batch * positions * config.kv_heads * config.head_dim * c
    read["weights"] += config.width * w
    if logits > 0:
        read["head"] += config.vocabulary * config.width * w
    read["embedding_rows"] += batch * T * config.width * w
    return read


def bytes_by_formula(config, batch, T, S, *, logits=1, **sizes):
    w = sizes.get("weight_bytes_per_number", 4)
    c = sizes.get("cache_bytes_per_number", 4)
    C, L, kv = config.width, config.layers, config.kv_heads * config.head_dim
    layer = 2 * C * (config.heads * config.head_dim + kv) + 3 * C * config.feed_forward
    norms = (2 * L + 1) * C
    return {
        "kv_write": 2 * L * kv * c * batch * T,
        "kv_read": 2 * L * kv * c * batch * (S - T),
        "embedding_rows": C * w * batch * T,
        "head": config.vocabulary * C * w * (logits != 0),
        "weights": w * (L * layer + norms),
    }


BYTES = edited(
    bytes_by_formula,
    """
## weights times the batch
- "weights": w → "weights": batch * w
- (logits != 0) → (logits != 0) * batch
## only the layers' weights times the batch
- "weights": w → "weights": batch * w
## the head times the batch
- (logits != 0) → (logits != 0) * batch
## weights times the layers
- "weights": w → "weights": L * w
## weights times the positions
- "weights": w → "weights": T * w
- (logits != 0) → (logits != 0) * T
## weights times all positions
- "weights": w → "weights": batch * T * w
- (logits != 0) → (logits != 0) * batch * T
## a tied head not counted
- (logits != 0) → (logits != 0 and not config.tied)
## a head that does not run
-  * (logits != 0)
## the head for each of its positions
- (logits != 0) → logits
## the whole embedding table
- C * w * batch * T → config.vocabulary * C * w
## one row of the embedding
- C * w * batch * T → C * w
## a row of the embedding for each text
- C * w * batch * T → C * w * batch
## embedding rows of all positions
- C * w * batch * T → C * w * batch * S
## the last norm forgotten
- (2 * L + 1) * C → 2 * L * C
## the embedding table among the weights
- L * layer + norms → L * layer + norms + config.vocabulary * C
## all parts among the weights
- L * layer + norms → L * layer + norms + (2 - config.tied) * config.vocabulary * C
## embedding rows of one text
- C * w * batch * T → C * w * T
## embedding rows in the type of the cache
- C * w * batch * T → C * c * batch * T
## norms forgotten
- L * layer + norms → L * layer
## new positions read too
- (S - T) → S
## old and new swapped
- c * batch * T → c * batch * (S - T)
- (S - T) → T
## read: all but one
- (S - T) → (S - 1)
## written: one
- c * batch * T → c * batch
## as if one position were new
- (S - T) → (S - 1)
- c * batch * T → c * batch
## all written again
- c * batch * T → c * batch * S
## read once for each new position
- (S - T) → (S - T) * T
## keys alone
- "kv_write": 2 * L → "kv_write": L
- "kv_read": 2 * L → "kv_read": L
## H for G in the cache
- kv * c * batch * T → config.heads * config.head_dim * c * batch * T
- kv * c * batch * (S → config.heads * config.head_dim * c * batch * (S
## C for G·D in the cache
- kv * c * batch * T → C * c * batch * T
- kv * c * batch * (S → C * c * batch * (S
## the cache of one layer
- "kv_write": 2 * L → "kv_write": 2
- "kv_read": 2 * L → "kv_read": 2
## the cache of one row
- c * batch * T → c * T
- c * batch * (S → c * (S
## the old positions of one row
- c * batch * (S → c * (S
## the new positions of one row
- c * batch * T → c * T
## the sizes exchanged
- sizes.get("weight_bytes_per_number", 4) → sizes.get("cache_bytes_per_number", 4) + 0
- c = sizes.get("cache_bytes_per_number", 4) → c = sizes.get("weight_bytes_per_number", 4)
## half a byte made a whole number
- w = sizes.get("weight_bytes_per_number", 4) → w = sizes.get("weight_bytes_per_number", 4) // 1
- c = sizes.get("cache_bytes_per_number", 4) → c = sizes.get("cache_bytes_per_number", 4) // 1
## always 4 bytes
- sizes.get("weight_bytes_per_number", 4) → 4
- sizes.get("cache_bytes_per_number", 4) → 4
## the cache in the type of the weights
- kv * c * batch * T → kv * w * batch * T
- kv * c * batch * (S → kv * w * batch * (S
## numbers instead of bytes
- sizes.get("weight_bytes_per_number", 4) → 1
- sizes.get("cache_bytes_per_number", 4) → 1
""",
)

UNNAMED_BYTES = edited(
    bytes_by_formula,
    """
## half of the layers' entries
- L * layer → L * layer / 2
## nothing is read from the cache
- (S - T) → 0
## weights in the type of the cache
- "weights": w → "weights": c
""",
)

# --- generation_flops -----------------------------------------------------------------------------


def forward(config, T, S, logits=1):
    return sum(by_factors(config, 1, T, S, logits).values())


def loop_over_tokens(config, prompt, new_tokens, cached=True):
    total, length = 0, prompt
    for number in range(new_tokens):
        new = 1 if cached and number > 0 else length
        total += forward(config, new, length)
        length += 1
    return total


def recursively(config, prompt, new_tokens, cached=True):
    if new_tokens == 1:
        return forward(config, prompt, prompt)
    S = prompt + new_tokens - 1
    return recursively(config, prompt, new_tokens - 1, cached) + forward(
        config, 1 if cached else S, S
    )


def by_running_sums(config, prompt, new_tokens, cached=True):
    costs = [forward(config, prompt, prompt)]
    for i in range(1, new_tokens):
        costs.append(forward(config, 1 if cached else prompt + i, prompt + i))
    return list(accumulate(costs))[-1]


GENERATIONS = edited(
    loop_over_tokens,
    """
## one step too many
- return total → return total + cached * forward(config, 1, length)
## one step too many, from S = P on
- return total
+ late = sum(forward(config, 1, S) for S in range(prompt, prompt + new_tokens))
+ return forward(config, prompt, prompt) + late if cached else total
## a step at least
- range(new_tokens) → range(max(new_tokens, 2) if cached else new_tokens)
## decode steps alone
- return total
+ steps = (forward(config, 1, prompt + i) for i in range(new_tokens))
+ return sum(steps) if cached else total
## the head on the whole prompt
- forward(config, new, length)
+ forward(config, new, length, new if cached else 1)
## the prompt not read
- return total → return total - cached * forward(config, prompt, prompt)
## S behind by one
- forward(config, new, length) → forward(config, new, length - (new < length))
## S ahead by one
- forward(config, new, length) → forward(config, new, length + (new < length))
## all steps as long as the last
- forward(config, new, length)
+ forward(config, new, length if new == length else prompt + new_tokens - 1)
## S does not grow
- forward(config, new, length)
+ forward(config, new, length if new == length else prompt + 1)
## S is 1
- forward(config, new, length) → forward(config, new, new)
## the prompt token by token
- return total
+ apart = sum(forward(config, 1, S + 1) for S in range(prompt))
+ return total + cached * (apart - forward(config, prompt, prompt))
## never a cache
- 1 if cached and number > 0 else length → length
## always a cache
- cached and number > 0 → number > 0
## cached upside down
- cached and number > 0 → not cached and number > 0
## uncached: one length too far
- length = 0, prompt → length = 0, prompt if cached else prompt + 1
## uncached: one token too many
- range(new_tokens) → range(new_tokens if cached else new_tokens + 1)
## uncached: from the first token on
- return total
+ before = sum(forward(config, S, S) for S in range(1, prompt))
+ return total if cached else total + before
## uncached: the text does not grow
- length += 1 → length += cached
## uncached: one token too few
- range(new_tokens) → range(new_tokens if cached else new_tokens - 1)
## uncached: all as long as the last
- return total
+ last = prompt + new_tokens - 1
+ return total if cached else new_tokens * forward(config, last, last)
## uncached: T stays P
- else length → else prompt
## uncached: T is 1
- cached and number > 0 → not cached or number > 0
## the head everywhere
- forward(config, new, length) → forward(config, new, length, new)
## uncached: the head everywhere
- forward(config, new, length) → forward(config, new, length, 1 if cached else length)
## uncached: the prompt counted twice
- return total → return total + (not cached) * forward(config, prompt, prompt)
""",
)

UNNAMED_GENERATIONS = edited(
    loop_over_tokens,
    """
## one forward for all
- return total → return forward(config, length, length)
## as if all were one step
- return total → return new_tokens * forward(config, 1, prompt)
## all new tokens at once
- return total
+ chunk = forward(config, new_tokens, prompt + new_tokens)
+ return forward(config, prompt, prompt) + chunk if cached else total
## uncached, and yet token by token
- return total
+ return total if cached else sum(forward(config, 1, S) for S in range(1, length))
""",
)

# --- attention_overtakes --------------------------------------------------------------------------


RIGHT = {
    "forward_bytes": [tensor_by_tensor, bytes_by_formula],
    "generation_flops": [loop_over_tokens, recursively, by_running_sums],
}

SECOND_FORMS = {
    "forward_bytes": BYTES
    | {"a sum": lambda *forward, **sizes: sum(bytes_by_formula(*forward, **sizes).values())},
    "generation_flops": GENERATIONS,
}

UNNAMED = {
    "forward_bytes": [
        lambda *forward, **sizes: list(bytes_by_formula(*forward, **sizes).values()),
        *UNNAMED_BYTES.values(),
    ],
    "generation_flops": list(UNNAMED_GENERATIONS.values()),
}
