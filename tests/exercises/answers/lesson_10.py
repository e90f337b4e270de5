"""Lesson 10: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from itertools import accumulate

from decodeloop.exercises.edits import edited

# --- matmul_flops ---------------------------------------------------------------------------------


def one_entry_at_a_time(rows, inner, columns):
    return sum(inner + inner for _ in range(rows) for _ in range(columns))


def by_the_product(rows, inner, columns):
    return 2 * math.prod((rows, inner, columns))


# --- forward_flops --------------------------------------------------------------------------------


def step_by_step(config, batch, T, S, logits=1):
    """Every product spelled out: layer by layer, row by row, head by head."""
    C, D, F = config.width, config.head_dim, config.feed_forward
    flops = dict.fromkeys(("projections", "scores", "weighted_sum", "feed_forward", "head"), 0)
    for _ in range(config.layers):
        for columns in (config.heads * D, config.kv_heads * D, config.kv_heads * D):
            flops["projections"] += 2 * batch * T * C * columns
        flops["projections"] += 2 * batch * T * (config.heads * D) * C
        for _ in range(batch):
            for _ in range(config.heads):
                flops["scores"] += 2 * T * D * S
                flops["weighted_sum"] += 2 * T * S * D
        for rows, columns in ((C, F), (C, F), (F, C)):
            flops["feed_forward"] += 2 * batch * T * rows * columns
    for _ in range(batch):
        flops["head"] += 2 * logits * C * config.vocabulary
    return flops


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


def visible(T, S):
    return sum(S - T + 1 + t for t in range(T))


def added_up(config, batch, T, S, logits=1):
    return sum(by_factors(config, batch, T, S, logits).values())


FLOPS = edited(
    by_factors,
    """
## one FLOP for a multiply-add
- linear = 2, → linear = 1,
## twice a matmul_flops
- linear = 2, → linear = 4,
## H twice
- T * (H * D) * S → T * (H * H * D) * S
- T * S * (H * D) → T * S * (H * H * D)
## G for H
- T * (H * D) * S → T * (G * D) * S
- T * S * (H * D) → T * S * (G * D)
## H / G heads
- T * (H * D) * S → T * (H / G * D) * S
- T * S * (H * D) → T * S * (H / G * D)
## one head in the scores
- T * S * (H * D) → T * S * D
## one head in the weighted sum
- T * (H * D) * S → T * D * S
## D forgotten
- T * (H * D) * S → T * H * S
- T * S * (H * D) → T * S * H
## the old positions alone
- T * (H * D) * S → T * (H * D) * (S - T)
- T * S * (H * D) → T * (S - T) * (H * D)
## the new positions added to S
- T * (H * D) * S → T * (H * D) * (T + S)
- T * S * (H * D) → T * (S + T) * (H * D)
## one head
- T * (H * D) * S → T * D * S
- T * S * (H * D) → T * S * D
## S taken for T
- T * (H * D) * S → T * (H * D) * T
- T * S * (H * D) → T**2 * (H * D)
## S taken for T in the scores
- T * S * (H * D) → T**2 * (H * D)
## S taken for T in the weighted sum
- T * (H * D) * S → T * (H * D) * T
## T taken for S
- T * (H * D) * S → S * (H * D) * S
- T * S * (H * D) → S * S * (H * D)
## the linear layers over S
- linear = 2, batch * T → linear = 2, batch * S
## keys and values over S
- linear * 2 * C * D * (H + G) → batch * 2 * C * D * (T * H + S * G)
## half of the scores left out
- T * (H * D) * S → T * (H * D) * S / 2
- T * S * (H * D) → T * S / 2 * (H * D)
## masked scores left out
- T * (H * D) * S → (H * D) * visible(T, S)
- T * S * (H * D) → visible(T, S) * (H * D)
## half of the scores alone left out
- T * S * (H * D) → T * S / 2 * (H * D)
## masked scores alone left out
- T * S * (H * D) → visible(T, S) * (H * D)
## half of the weighted sum left out
- T * (H * D) * S → T * (H * D) * S / 2
## masked weights left out
- T * (H * D) * S → (H * D) * visible(T, S)
## the head on all positions
- batch * logits → linear
## the head on one position
- batch * logits → batch
## the head on one position in all
- batch * logits → min(T, 1)
## the head on one position at least
- batch * logits → batch * (logits or 1)
## a tied head not counted
- batch * logits → batch * logits * (0 if config.tied else 1)
## the head in each layer
- batch * logits → batch * logits * L
## one matrix in the feed-forward layer
- linear * 3 → linear
## four matrices in the feed-forward layer
- linear * 3 → linear * 4
## gate forgotten
- linear * 3 → linear * 2
## batch forgotten in the attention
- batch * T * (H * D) → T * (H * D)
- batch * T * S → T * S
## batch forgotten in the scores
- batch * T * S → T * S
## batch forgotten in the weighted sum
- batch * T * (H * D) → T * (H * D)
## batch forgotten in the projections
- L * linear * 2 → L * T * 2
## batch forgotten in the feed-forward layer
- L * linear * 3 → L * T * 3
## batch twice in the attention
- batch * T * (H * D) → batch * linear * (H * D)
- batch * T * S → batch * linear * S
## batch twice in the scores
- batch * T * S → batch * linear * S
## batch forgotten in the linear layers
- linear = 2, batch * T → linear = 2, T
## batch forgotten in the head
- batch * logits → logits
## batch forgotten
- each, linear =
+ batch = 1
+ each, linear =
## one layer
- config.layers → 1
## one layer in the attention
- L * batch * T * (H * D) → batch * T * (H * D)
- L * batch * T * S → batch * T * S
## one layer in the scores
- L * batch * T * S → batch * T * S
## one layer in the weighted sum
- L * batch * T * (H * D) → batch * T * (H * D)
## one layer in the projections
- L * linear * 2 → linear * 2
## one layer in the feed-forward layer
- L * linear * 3 → linear * 3
## one layer in the linear layers
- L * linear * 3 → linear * 3
- L * linear * 2 → linear * 2
## C for H·D
- T * (H * D) * S → T * C * S
- T * S * (H * D) → T * S * C
## C for H·D in one projection
- 2 * C * D * (H + G) → C * (H * D + 2 * G * D + C)
## four projections (C, C)
- 2 * C * D * (H + G) → 4 * C**2
## C for H·D in the projections
- 2 * C * D * (H + G) → 2 * C * (C + G * D)
## C for H·D everywhere
- 2 * C * D * (H + G) → 2 * C * (C + G * D)
- T * (H * D) * S → T * C * S
- T * S * (H * D) → T * S * C
## as many KV heads as query heads
- D * (H + G) → D * (H + H)
## the output projection forgotten
- 2 * C * D * (H + G) → C * D * (H + 2 * G)
## key and value counted as one
- 2 * C * D * (H + G) → C * D * (2 * H + G)
""",
)

UNNAMED_FLOPS = edited(
    by_factors,
    """
## scores of the width
- T * S * (H * D) → T * S * (H + D)
## the head before the layers
- batch * logits * C → batch * T * logits * C
## F for C
- 3 * C * config.feed_forward → 3 * config.feed_forward**2
""",
)

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


def by_equal_costs(config):
    """Linear layers cost a·T, attention b·T²."""
    a = 2 * sum(r * c for r, c in matrices(config))
    b = 4 * config.heads * config.head_dim
    return a / b


def by_sizes(config):
    C, HD, GD = config.width, config.heads * config.head_dim, config.kv_heads * config.head_dim
    inner = 1.5 if config.gated else 1.0
    return C * (1 + GD / HD + inner * config.feed_forward / HD)


OVERTAKES = edited(
    by_equal_costs,
    """
## twice too long
- b = 4 → b = 2
## half as long
- a = 2 → a = 1
## only the feed-forward layer
- matrices(config)) → matrices(config) if config.feed_forward in (r, c))
## only the projections
- sum(r * c for r, c in matrices(config))
+ 2 * config.width * config.head_dim * (config.heads + config.kv_heads)
## all layers on one side
- a = 2 → a = 2 * config.layers
## H twice
- config.heads → config.heads**2
## H forgotten
- b = 4 * config.heads → b = 4
## G for H
- config.heads → config.kv_heads
## C for H·D
- config.heads * config.head_dim → config.width
## the head too
- a / b → (config.layers * a + 2 * config.vocabulary * config.width) / (config.layers * b)
## the formula for H·D = C
- a / b
+ config.width + 1.5 * config.feed_forward + config.kv_heads * config.head_dim
## a gate in every model
- for r, c in matrices(config)
+ for r, c in matrices(config, gated=True)
## rounded up
- a / b → math.ceil(a / b)
## rounded to the nearest
- a / b → math.floor(a / b + 0.5)
## rounded down
- a / b → math.floor(a / b)
""",
)

RIGHT = {
    "matmul_flops": [one_entry_at_a_time, by_the_product],
    "forward_flops": [step_by_step, by_factors],
    "forward_bytes": [tensor_by_tensor, bytes_by_formula],
    "generation_flops": [loop_over_tokens, recursively, by_running_sums],
    "attention_overtakes": [by_equal_costs, by_sizes],
}

SECOND_FORMS = {
    "matmul_flops": {
        "one FLOP for a multiply-add": lambda m, k, n: math.prod((m, k, n)),
        "one addition fewer": lambda m, k, n: m * n * k + m * n * (k - 1),
        "the entries of the result": lambda m, k, n: m * n + m * n,
        "the entries of the result, once": lambda m, k, n: sum(n for _ in range(m)),
        "the inner size of the example": lambda m, k, n: m * n * (3 + 3),
        "the entries of the inputs, twice": lambda m, k, n: 2 * k * (m + n),
        "the entries of the inputs": lambda m, k, n: k * (m + n),
        "columns forgotten": lambda m, k, n: sum(2 * k for _ in range(m)),
        "rows forgotten": lambda m, k, n: sum(2 * k for _ in range(n)),
        "a float": lambda m, k, n: m * n * k / 0.5,
    },
    "forward_flops": FLOPS | {"a sum": added_up},
    "forward_bytes": BYTES
    | {"a sum": lambda *forward, **sizes: sum(bytes_by_formula(*forward, **sizes).values())},
    "generation_flops": GENERATIONS,
    "attention_overtakes": OVERTAKES,
}

UNNAMED = {
    "matmul_flops": [
        lambda m, k, n: 2 * (m + k + n),
        lambda m, k, n: 2 * m * k * k,
        lambda m, k, n: 4 * m * k * n,
        lambda m, k, n: str(2 * m * k * n),
        lambda m, k, n: m * n * (k + 1),
    ],
    "forward_flops": [
        lambda config, batch, T, S, logits=1: list(step_by_step(config, batch, T, S).values()),
        *UNNAMED_FLOPS.values(),
        lambda config, batch, T, S, logits=1: {},
    ],
    "forward_bytes": [
        lambda *forward, **sizes: list(bytes_by_formula(*forward, **sizes).values()),
        *UNNAMED_BYTES.values(),
    ],
    "generation_flops": list(UNNAMED_GENERATIONS.values()),
    "attention_overtakes": [
        lambda config: 1 / by_equal_costs(config),
        lambda config: math.sqrt(by_equal_costs(config)),
        lambda config: config.width,
        lambda config: 6 * config.width**2 / (config.heads * config.head_dim),
    ],
}


# --- random inputs --------------------------------------------------------------------------------
