"""Lesson 10: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from itertools import accumulate

from hypothesis import strategies as st

from decodeloop.model import ModelConfig

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


def by_factors(config, batch, T, S, logits=1, *, linear=None, pairs=None, head=None, per=2):
    """Two FLOPs an entry and position; the factors of each part can be others."""
    C, L, H, G, D = config.width, config.layers, config.heads, config.kv_heads, config.head_dim
    positions = batch * T if linear is None else linear
    attention = batch * H * T * S * D if pairs is None else pairs
    heads = batch * logits if head is None else head
    return {
        "head": per * heads * C * config.vocabulary,
        "feed_forward": per * L * positions * 3 * C * config.feed_forward,
        "projections": per * L * positions * 2 * C * D * (H + G),
        "weighted_sum": per * L * attention,
        "scores": per * L * attention,
    }


def pairs_are(count):
    """Another number of multiply-adds in the scores of a layer: count(config, B, T, S)."""
    return lambda config, batch, T, S, logits=1: by_factors(
        config, batch, T, S, logits, pairs=count(config, batch, T, S)
    )


def linear_are(count):
    """Another number of positions in the linear layers."""
    return lambda config, batch, T, S, logits=1: by_factors(
        config, batch, T, S, logits, linear=count(batch, T, S)
    )


def heads_are(count):
    """Another number of positions under the head."""
    return lambda config, batch, T, S, logits=1: by_factors(
        config, batch, T, S, logits, head=count(config, batch, T, logits)
    )


def with_layer(**parts):
    """Another number of entries in one part of a layer: projections or feed_forward."""

    def run(config, batch, T, S, logits=1):
        other = {
            part: 2 * config.layers * batch * T * entries(config) for part, entries in parts.items()
        }
        return by_factors(config, batch, T, S, logits) | other

    return run


def per_multiply_add(number):
    return lambda config, batch, T, S, logits=1: by_factors(config, batch, T, S, logits, per=number)


def visible(T, S):
    return sum(S - T + 1 + t for t in range(T))


def only(part, count):
    """Another number of multiply-adds in one of scores and weighted_sum."""
    return lambda config, batch, T, S, logits=1: (
        by_factors(config, batch, T, S, logits)
        | {part: 2 * config.layers * config.heads * config.head_dim * count(config, batch, T, S)}
    )


def with_square_matrices(config):
    """Entries of the projections, those of query and output (C, C)."""
    C = config.width
    return C * C + C * C + 2 * C * config.kv_heads * config.head_dim


def linear_of_a_layer(config, batch, T, S, logits=1):
    one = step_by_step(config, batch, T, S, logits)
    return one | {p: one[p] // config.layers for p in ("projections", "feed_forward")}


def added_up(config, batch, T, S, logits=1):
    total = 0
    for count in step_by_step(config, batch, T, S, logits).values():
        total += count
    return total


def keys_of_all(config, batch, T, S, logits=1):
    C, D = config.width, config.head_dim
    query_and_output = T * 2 * C * config.heads * D
    key_and_value = S * 2 * C * config.kv_heads * D
    return by_factors(config, batch, T, S, logits) | {
        "projections": 2 * config.layers * batch * (query_and_output + key_and_value)
    }


def one_row(config, batch, T, S, logits=1):
    return by_factors(config, 1, T, S, logits)


def a_layer(config, batch, T, S, logits=1):
    all_layers = by_factors(config, batch, T, S, logits)
    return {p: n if p == "head" else n // config.layers for p, n in all_layers.items()}


def head_in_the_loop(config, batch, T, S, logits=1):
    flops = step_by_step(config, batch, T, S, logits)
    flops["head"] = sum(flops["head"] for _ in range(config.layers))
    return flops


# --- forward_bytes --------------------------------------------------------------------------------


def matrices(config):
    C, D, F = config.width, config.head_dim, config.feed_forward
    yield from ((config.heads * D, C), (config.kv_heads * D, C), (config.kv_heads * D, C))
    yield from ((C, config.heads * D), (F, C), (F, C), (C, F))


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
    layer = 2 * C * (config.heads * config.head_dim + kv) + 3 * C * config.feed_forward + 2 * C
    return {
        "kv_write": 2 * L * kv * c * batch * T,
        "kv_read": 2 * L * kv * c * batch * S - 2 * L * kv * c * batch * T,
        "embedding_rows": C * w * T * batch,
        "head": config.vocabulary * C * w * (logits != 0),
        "weights": w * (L * layer + C),
    }


def bytes_but(**parts):
    """Some parts given by other functions of (config, batch, T, S, w, c, logits)."""

    def run(config, batch, T, S, *, weight_bytes_per_number=4, cache_bytes_per_number=4, logits=1):
        sizes = {
            "weight_bytes_per_number": weight_bytes_per_number,
            "cache_bytes_per_number": cache_bytes_per_number,
        }
        right = tensor_by_tensor(config, batch, T, S, logits=logits, **sizes)
        w, c = sizes.values()
        return right | {part: f(config, batch, T, S, w, c, logits) for part, f in parts.items()}

    return run


def layers_entries(config):
    return config.layers * sum(r * c for r, c in matrices(config))


def all_weights(config):
    return layers_entries(config) + (2 * config.layers + 1) * config.width


def table(config):
    return config.vocabulary * config.width


def read_times(count):
    return bytes_but(
        weights=lambda config, B, T, S, w, c, logits: count(B, T) * w * all_weights(config),
        head=lambda config, B, T, S, w, c, logits: count(B, T) * w * table(config) if logits else 0,
    )


def cache_of(numbers):
    """`numbers(config, B)` of the cache for each position of all rows."""
    return bytes_but(
        kv_read=lambda config, B, T, S, w, c, logits: (S - T) * numbers(config, B) * c,
        kv_write=lambda config, B, T, S, w, c, logits: T * numbers(config, B) * c,
    )


def in_cache(config, batch=1):
    return 2 * config.layers * config.kv_heads * config.head_dim * batch


def cache_positions(read, written):
    return bytes_but(
        kv_read=lambda config, B, T, S, w, c, logits: read(T, S) * in_cache(config, B) * c,
        kv_write=lambda config, B, T, S, w, c, logits: written(T, S) * in_cache(config, B) * c,
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


def only_cached(steps):
    """Another way with a cache; without one as it should be."""
    return lambda config, prompt, new_tokens, cached=True: (
        steps(config, prompt, new_tokens)
        if cached
        else loop_over_tokens(config, prompt, new_tokens, False)
    )


def only_uncached(steps):
    return lambda config, prompt, new_tokens, cached=True: (
        loop_over_tokens(config, prompt, new_tokens)
        if cached
        else steps(config, prompt, new_tokens)
    )


def prefill_and(steps):
    """The prefill and decode steps at these S."""
    return only_cached(
        lambda config, P, n: forward(config, P, P) + sum(forward(config, 1, S) for S in steps(P, n))
    )


# --- attention_overtakes --------------------------------------------------------------------------


def by_equal_costs(config):
    """Linear layers cost a·T, attention b·T²."""
    a = 2 * sum(r * c for r, c in matrices(config))
    b = 4 * config.heads * config.head_dim
    return a / b


def by_sizes(config):
    C, HD, GD = config.width, config.heads * config.head_dim, config.kv_heads * config.head_dim
    return C * (1 + GD / HD + 1.5 * config.feed_forward / HD)


def overtakes(linear=lambda config: sum(r * c for r, c in matrices(config)), pair=None):
    def run(config):
        per_pair = 2 * config.heads * config.head_dim if pair is None else pair(config)
        return linear(config) / per_pair

    return run


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
        "the entries of the inputs": lambda m, k, n: k * (m + n),
        "columns forgotten": lambda m, k, n: sum(2 * k for _ in range(m)),
        "rows forgotten": lambda m, k, n: sum(2 * k for _ in range(n)),
        "a float": lambda m, k, n: m * n * k / 0.5,
    },
    "forward_flops": {
        "one FLOP for a multiply-add": per_multiply_add(1),
        "twice a matmul_flops": per_multiply_add(4),
        "H twice": pairs_are(lambda c, B, T, S: B * T * S * c.heads * (c.heads * c.head_dim)),
        "G for H": pairs_are(lambda c, B, T, S: B * T * S * c.kv_heads * c.head_dim),
        "one head": pairs_are(lambda c, B, T, S: B * T * S * c.head_dim),
        "S taken for T": pairs_are(lambda c, B, T, S: B * c.heads * c.head_dim * T**2),
        "the linear layers over S": linear_are(lambda B, T, S: B * S),
        "keys and values over S": keys_of_all,
        "half of the scores left out": pairs_are(
            lambda c, B, T, S: B * c.heads * c.head_dim * T * S / 2
        ),
        "masked scores left out": pairs_are(
            lambda c, B, T, S: B * c.heads * c.head_dim * visible(T, S)
        ),
        "the head on all positions": heads_are(lambda c, B, T, logits: B * T),
        "the head on one position": heads_are(lambda c, B, T, logits: B),
        "a tied head not counted": heads_are(
            lambda c, B, T, logits: B * logits * (0 if c.tied else 1)
        ),
        "the head in each layer": head_in_the_loop,
        "gate forgotten": with_layer(feed_forward=lambda c: 2 * c.width * c.feed_forward),
        "batch forgotten in the attention": pairs_are(
            lambda c, B, T, S: c.heads * c.head_dim * T * S
        ),
        "batch forgotten in the linear layers": linear_are(lambda B, T, S: T),
        "batch forgotten in the head": heads_are(lambda c, B, T, logits: logits),
        "batch forgotten": one_row,
        "one layer": a_layer,
        "C for H·D": pairs_are(lambda c, B, T, S: B * c.width * T * S),
        "C for H·D in the projections": with_layer(projections=with_square_matrices),
        "C for H·D everywhere": lambda config, batch, T, S, logits=1: (
            by_factors(config, batch, T, S, logits, pairs=batch * T * S * config.width)
            | {"projections": 2 * config.layers * batch * T * with_square_matrices(config)}
        ),
        "half of the scores alone left out": only("scores", lambda c, B, T, S: B * (T * S) / 2),
        "masked scores alone left out": only("scores", lambda c, B, T, S: B * visible(T, S)),
        "half of the weighted sum left out": only(
            "weighted_sum", lambda c, B, T, S: B * (T * S) / 2
        ),
        "masked weights left out": only("weighted_sum", lambda c, B, T, S: B * visible(T, S)),
        "batch twice in the attention": pairs_are(
            lambda c, B, T, S: B * c.heads * (B * T) * S * c.head_dim
        ),
        "batch twice in the scores": only("scores", lambda c, B, T, S: (B * T) * B * S),
        "one layer in the attention": lambda config, batch, T, S, logits=1: (
            by_factors(config, batch, T, S, logits)
            | dict.fromkeys(
                ("scores", "weighted_sum"), 2 * batch * config.heads * T * S * config.head_dim
            )
        ),
        "one layer in the linear layers": linear_of_a_layer,
        "a sum": added_up,
        "as many KV heads as query heads": with_layer(
            projections=lambda c: 4 * c.width * c.heads * c.head_dim
        ),
        "the output projection forgotten": with_layer(
            projections=lambda c: c.width * c.head_dim * (c.heads + 2 * c.kv_heads)
        ),
        "key and value counted as one": with_layer(
            projections=lambda c: c.width * c.head_dim * (2 * c.heads + c.kv_heads)
        ),
    },
    "forward_bytes": {
        "weights times the batch": read_times(lambda B, T: B),
        "only the layers' weights times the batch": bytes_but(
            weights=lambda config, B, T, S, w, c, logits: (
                sum(all_weights(config) for _ in range(B)) * w
            )
        ),
        "the head times the batch": bytes_but(
            head=lambda config, B, T, S, w, c, logits: (B if logits else 0) * table(config) * w
        ),
        "weights times the layers": bytes_but(
            weights=lambda config, B, T, S, w, c, logits: config.layers * w * all_weights(config)
        ),
        "weights times the positions": read_times(lambda B, T: T),
        "weights times all positions": read_times(lambda B, T: B * T),
        "a tied head not counted": bytes_but(
            head=lambda config, B, T, S, w, c, logits: (
                table(config) * w if logits and not config.tied else 0
            )
        ),
        "a head that does not run": bytes_but(
            head=lambda config, B, T, S, w, c, logits: table(config) * w
        ),
        "the head for each of its positions": bytes_but(
            head=lambda config, B, T, S, w, c, logits: sum(table(config) * w for _ in range(logits))
        ),
        "the whole embedding table": bytes_but(
            embedding_rows=lambda config, B, T, S, w, c, logits: table(config) * w
        ),
        "the embedding table among the weights": bytes_but(
            weights=lambda config, B, T, S, w, c, logits: (all_weights(config) + table(config)) * w
        ),
        "embedding rows of one text": bytes_but(
            embedding_rows=lambda config, B, T, S, w, c, logits: T * config.width * w
        ),
        "embedding rows in the type of the cache": bytes_but(
            embedding_rows=lambda config, B, T, S, w, c, logits: B * T * config.width * c
        ),
        "norms forgotten": bytes_but(
            weights=lambda config, B, T, S, w, c, logits: layers_entries(config) * w
        ),
        "new positions read too": cache_positions(lambda T, S: S, lambda T, S: T),
        "old and new swapped": cache_positions(lambda T, S: T, lambda T, S: S - T),
        "all written again": cache_positions(lambda T, S: S - T, lambda T, S: S),
        "read once for each new position": cache_positions(
            lambda T, S: sum(S - T for _ in range(T)), lambda T, S: T
        ),
        "keys alone": cache_of(lambda config, B: in_cache(config, B) // 2),
        "H for G in the cache": cache_of(
            lambda config, B: 2 * config.layers * config.heads * config.head_dim * B
        ),
        "C for G·D in the cache": cache_of(lambda config, B: 2 * config.layers * config.width * B),
        "the cache of one layer": cache_of(lambda config, B: in_cache(config, B) // config.layers),
        "the cache of one row": cache_of(lambda config, B: in_cache(config)),
        "the old positions of one row": bytes_but(
            kv_read=lambda config, B, T, S, w, c, logits: (S - T) * in_cache(config) * c
        ),
        "the new positions of one row": bytes_but(
            kv_write=lambda config, B, T, S, w, c, logits: T * in_cache(config) * c
        ),
        "the cache in the type of the weights": bytes_but(
            kv_read=lambda config, B, T, S, w, c, logits: (S - T) * in_cache(config, B) * w,
            kv_write=lambda config, B, T, S, w, c, logits: T * in_cache(config, B) * w,
        ),
        "numbers instead of bytes": lambda config, batch, T, S, *, logits=1, **sizes: (
            bytes_by_formula(
                config,
                batch,
                T,
                S,
                logits=logits,
                weight_bytes_per_number=1,
                cache_bytes_per_number=1,
            )
        ),
    },
    "generation_flops": {
        "one step too many": only_cached(
            lambda config, P, n: loop_over_tokens(config, P, n) + forward(config, 1, P + n)
        ),
        "the prompt not read": only_cached(
            lambda config, P, n: loop_over_tokens(config, P, n) - forward(config, P, P)
        ),
        "S behind by one": prefill_and(lambda P, n: [P + i for i in range(n - 1)]),
        "S does not grow": prefill_and(lambda P, n: [P + 1] * (n - 1)),
        "S is 1": prefill_and(lambda P, n: [1] * (n - 1)),
        "the prompt token by token": only_cached(
            lambda config, P, n: sum(forward(config, 1, S + 1) for S in range(P + n - 1))
        ),
        "never a cache": lambda config, P, n, cached=True: recursively(config, P, n, False),
        "always a cache": lambda config, P, n, cached=True: recursively(config, P, n, True),
        "cached upside down": lambda config, P, n, cached=True: recursively(
            config, P, n, not cached
        ),
        "uncached: one length too far": only_uncached(
            lambda config, P, n: recursively(config, P + 1, n, False)
        ),
        "uncached: the text does not grow": only_uncached(
            lambda config, P, n: sum(forward(config, P, P) for _ in range(n))
        ),
        "uncached: one token too few": only_uncached(
            lambda config, P, n: sum(forward(config, P + i, P + i) for i in range(n - 1))
        ),
        "uncached: T is 1": only_uncached(
            lambda config, P, n: sum(forward(config, 1, P + i) for i in range(n))
        ),
        "uncached: the head everywhere": only_uncached(
            lambda config, P, n: sum(forward(config, P + i, P + i, logits=P + i) for i in range(n))
        ),
        "uncached: the prompt counted twice": only_uncached(
            lambda config, P, n: recursively(config, P, n, False) + forward(config, P, P)
        ),
    },
    "attention_overtakes": {
        "twice too long": overtakes(pair=lambda c: c.heads * c.head_dim),
        "half as long": overtakes(pair=lambda c: 4 * c.heads * c.head_dim),
        "only the feed-forward layer": overtakes(lambda c: 3 * c.width * c.feed_forward),
        "only the projections": overtakes(
            lambda c: 2 * c.width * c.head_dim * (c.heads + c.kv_heads)
        ),
        "all layers on one side": overtakes(layers_entries),
        "H twice": overtakes(pair=lambda c: 2 * c.heads**2 * c.head_dim),
        "G for H": overtakes(pair=lambda c: 2 * c.kv_heads * c.head_dim),
        "C for H·D": overtakes(pair=lambda c: 2 * c.width),
        "the head too": overtakes(
            lambda c: layers_entries(c) + table(c),
            pair=lambda c: 2 * c.layers * c.heads * c.head_dim,
        ),
        "rounded down": lambda c: math.floor(by_equal_costs(c)),
    },
}

UNNAMED = {
    "matmul_flops": [
        lambda m, k, n: 2 * (m + k + n),
        lambda m, k, n: 2 * m * k * k,
        lambda m, k, n: 4 * m * k * n,
        lambda m, k, n: m * n * (k + 1),
    ],
    "forward_flops": [
        lambda config, batch, T, S, logits=1: list(step_by_step(config, batch, T, S).values()),
        only("weighted_sum", lambda c, B, T, S: B * T * T),
        pairs_are(lambda c, B, T, S: B * c.heads * c.head_dim * S * S),
        pairs_are(lambda c, B, T, S: B * c.heads * T * S),
        with_layer(projections=lambda c: 4 * c.width**2),
        with_layer(feed_forward=lambda c: 3 * c.feed_forward**2),
        lambda config, batch, T, S, logits=1: {},
    ],
    "forward_bytes": [
        lambda config, batch, T, S, **sizes: sum(
            bytes_by_formula(config, batch, T, S, **sizes).values()
        ),
        cache_positions(lambda T, S: S - T, lambda T, S: 1),
        bytes_but(embedding_rows=lambda config, B, T, S, w, c, logits: config.width * w),
        bytes_but(embedding_rows=lambda config, B, T, S, w, c, logits: B * S * config.width * w),
        bytes_but(weights=lambda config, B, T, S, w, c, logits: all_weights(config) * c),
    ],
    "generation_flops": [
        lambda config, P, n, cached=True: forward(config, P + n, P + n),
        lambda config, P, n, cached=True: n * forward(config, 1, P),
        only_cached(lambda config, P, n: forward(config, P, P) + forward(config, n, P + n)),
        only_uncached(lambda config, P, n: sum(forward(config, 1, S) for S in range(1, P + n))),
    ],
    "attention_overtakes": [
        lambda config: 1 / by_equal_costs(config),
        lambda config: math.sqrt(by_equal_costs(config)),
        lambda config: config.width,
        overtakes(lambda c: 12 * c.width**2),
    ],
}


# --- random inputs --------------------------------------------------------------------------------


@st.composite
def configs(draw):
    G = draw(st.integers(1, 4))
    return ModelConfig(
        vocabulary=draw(st.integers(2, 300)),
        width=draw(st.integers(2, 100)),
        layers=draw(st.integers(1, 5)),
        heads=G * draw(st.integers(1, 4)),
        kv_heads=G,
        head_dim=2 * draw(st.integers(1, 16)),
        feed_forward=draw(st.integers(1, 200)),
        context=64,
        tied=draw(st.booleans()),
    )


@st.composite
def forwards(draw):
    batch, T = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    S = T + draw(st.integers(0, 40))
    return draw(configs()), batch, T, S, draw(st.integers(0, T))


RANDOM = {
    "matmul_flops": st.tuples(*[st.integers(1, 60)] * 3),
    "forward_flops": forwards(),
    "forward_bytes": forwards().map(lambda sizes: sizes[:4]),
    "generation_flops": st.tuples(configs(), st.integers(1, 30), st.integers(1, 30), st.booleans()),
    "attention_overtakes": st.tuples(configs()),
}
