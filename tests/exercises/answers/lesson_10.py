"""Lesson 10: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

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
## logits as a switch
- batch * logits → min(logits, 1) * linear
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
## D taken as C / H
- each, linear =
+ D = C // H
+ each, linear =
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


# --- generation_flops -----------------------------------------------------------------------------


def forward(config, T, S, logits=1):
    return sum(by_factors(config, 1, T, S, logits).values())


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
    "attention_overtakes": [
        lambda config: 1 / by_equal_costs(config),
        lambda config: math.sqrt(by_equal_costs(config)),
        lambda config: config.width,
        lambda config: 6 * config.width**2 / (config.heads * config.head_dim),
    ],
}
