"""Lesson 09: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

from decodeloop.cost import kv_cache_bytes, linear_shapes, mask_bytes, parameters_by_part
from decodeloop.exercises.edits import edited

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


def only_layers_repeated(config, bytes_per_number):
    counts = dict(parameters_by_part(config))
    for part in ("attention", "feed_forward", "norms"):
        counts[part] *= config.layers
    return bytes_per_number * sum(counts.values())


def layer_after_layer(config, bytes_per_number):
    return sum(part_by_part(config, bytes_per_number) for _ in range(config.layers))


# --- activation_bytes -----------------------------------------------------------------------------


def three_sums(config, batch, T, S, bytes_per_number, logits=1):
    C, F, V = config.width, config.feed_forward, config.vocabulary
    H, G, D = config.heads, config.kv_heads, config.head_dim
    w, index = bytes_per_number, 8 * T
    mask = mask_bytes(config, batch, T, S)
    q, k, v = batch * T * H * D, batch * T * G * D, batch * T * G * D
    first = w * (batch * T * C * 2 + q + k + v + batch * H * (T * S + T) * 3) + mask + index
    second = w * (batch * T * (C * 3 + F * 3) + q + k + v) + index
    third = w * batch * (T * C + logits * V)
    return sorted((first, second, third))[-1]


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


def by_shapes(config, batch, T, S, bytes_per_number, logits=1):
    found = {
        stage: sum(math.prod(shape) for shape in alive) * bytes_per_number
        for stage, alive in shapes_of(config, batch, T, S, logits).items()
    }
    found["attention"] += mask_bytes(config, batch, T, S) + 8 * T
    found["feed_forward"] += 8 * T
    return sorted(found.values())[-1]


ACTIVATIONS = edited(
    three_sums,
    """
## the stages added
- sorted((first, second, third))[-1] → first + second + third
## the stages of a layer added
- (first, second, third) → (first + second, third)
## times the layers
- return sorted → return sum([1] * config.layers) * sorted
## one table
- (T * S + T) * 3 → (T * S + T)
## two tables
- (T * S + T) * 3 → (T * S + T) * 2
## four tables
- (T * S + T) * 3 → (T * S + T) * 4
## q, k and v of one row
- q, k, v = batch * T * H * D, batch * T * G * D, batch * T * G * D
+ q, k, v = T * H * D, T * G * D, T * G * D
## q of G heads
- q, k, v = batch * T * H * D → q, k, v = batch * T * G * D
## the tables of one row
- batch * H * (T * S + T) → H * (T * S + T)
## the tables of one head
- batch * H * (T * S + T) → batch * (T * S + T)
## one number for each row
- (T * S + T) * 3 → (T * S * 3 + T)
## the numbers of one head's rows
- (T * S + T) * 3 → (T * S + T / H) * 3
## x once in the attention stage
- batch * T * C * 2 → batch * T * C
## three of (B, T, C) in the attention stage
- batch * T * C * 2 → batch * T * C * 3
## two of (B, T, C) in the feed-forward stage
- C * 3 + F * 3 → C * 2 + F * 3
## one of (B, T, C) in the feed-forward stage
- C * 3 + F * 3 → C + F * 3
## no (B, T, C) in the feed-forward stage
- C * 3 + F * 3 → F * 3
## the product's tensors alone
- (C * 3 + F * 3) + q + k + v → F * 3
## q, k and v forgotten in the attention stage
- C * 2 + q + k + v → C * 2
## q, k and v forgotten
- C * 2 + q + k + v → C * 2
- F * 3) + q + k + v → F * 3)
## four tensors of F
- F * 3) → F * 4)
## positions for each row
- 8 * T → 8 * T * batch
## positions of all keys
- 8 * T → 8 * S
## a position of 4 bytes
- 8 * T → 4 * T
## 8 bytes for all positions
- 8 * T → 8
## the positions forgotten in the attention stage
- + mask + index → + mask
## the positions forgotten in the feed-forward stage
- F * 3) + q + k + v) + index → F * 3) + q + k + v)
## the positions in the head stage too
- logits * V) → logits * V) + index
## mask and positions forgotten
-  + mask + index
- F * 3) + q + k + v) + index → F * 3) + q + k + v)
## C for H·D
- batch * T * H * D → batch * T * C
## no hidden vectors in the head stage
- (T * C + logits * V) → logits * V
## logits of one row
- T * C + logits * V → T * C + logits * V / batch
## a table for each KV head
- batch * H * (T * S + T) → batch * G * (T * S + T)
## T · T
- T * S + T) * 3 → T * T + T) * 3
## S · S
- (T * S + T) * 3 → (S * S + S) * 3
## the numbers of each row forgotten
- (T * S + T) * 3 → (T * S) * 3
## q, k and v forgotten in the feed-forward stage
- F * 3) + q + k + v → F * 3)
## H heads for keys and values
- batch * T * G * D, batch * T * G * D → batch * T * H * D, batch * T * H * D
## keys or values forgotten
- batch * T * G * D, batch * T * G * D → batch * T * G * D, 0
## one tensor of F
- F * 3) → F)
## two tensors of F
- F * 3) → F * 2)
## the mask forgotten
- + mask + index → + index
## the mask in the model's type
- + mask + index → + mask * w + index
## mask and positions in the model's type
- w, index = bytes_per_number, 8 * T → w, index = bytes_per_number, 8 * T * bytes_per_number
- + mask + index → + mask * w + index
## the positions in the model's type
- w, index = bytes_per_number, 8 * T → w, index = bytes_per_number, 8 * T * bytes_per_number
## the mask once for all heads
- mask_bytes(config, batch, T, S) → T * S if T > 1 else 0
## the mask of one row
- mask_bytes(config, batch, T, S) → mask_bytes(config, 1, T, S)
## the mask in the feed-forward stage too
- F * 3) + q + k + v) + index → F * 3) + q + k + v) + mask + index
## keys and values of S positions
- batch * T * G * D, batch * T * G * D → batch * S * G * D, batch * S * G * D
## C / H for D
- config.head_dim → int(config.width / config.heads)
## hidden vectors of one position
- T * C + logits * V → C + logits * V
## hidden vectors of the logits' positions alone
- T * C + logits * V → logits * C + logits * V
## the positions forgotten
- w, index = bytes_per_number, 8 * T → w, index = bytes_per_number, 0
## the head forgotten
- (first, second, third) → (first, second)
## the attention stage forgotten
- (first, second, third) → (second, third)
## the feed-forward stage forgotten
- (first, second, third) → (first, third)
## the attention stage alone
- sorted((first, second, third))[-1] → first
## logits of every position
- logits * V → T * V
## logits of one position, always
- logits * V → V
## one row
- C, F, V =
+ batch = 1
+ C, F, V =
## always 4 bytes
- index = bytes_per_number → index = 4
## numbers instead of bytes
- index = bytes_per_number → index = 1
## bits for bytes
- index = bytes_per_number → index = bytes_per_number * 8
## megabytes instead of bytes
- third))[-1] → third))[-1] * 1e-6
""",
)

UNNAMED_ACTIVATIONS = edited(
    three_sums,
    """
## the smallest stage
- third))[-1] → third))[0]
## the feed-forward stage alone
- sorted((first, second, third))[-1] → second
## T and S exchanged
- C, F, V =
+ T, S = S, T
+ C, F, V =
## the stream alone
- sorted((first, second, third))[-1] → w * batch * T * C
## mebibytes
- third))[-1] → third))[-1] / 2**20
## the keys' positions among the tables
- (T * S + T) * 3 → (T * S + S) * 3
""",
)

# --- max_batch and max_length ---------------------------------------------------------------------


def room_for(config, memory_bytes, w=2, r=0):
    return memory_bytes - r - sum(parameters_by_part(config).values()) * w


def batch_by_formula(
    config, memory_bytes, length, weight_bytes_per_number=2, cache_bytes_per_number=2, reserve=0
):
    w, c, kept = weight_bytes_per_number, cache_bytes_per_number, reserve
    room = memory_bytes - kept - sum(parameters_by_part(config).values()) * w
    return max(0, int(room // kv_cache_bytes(config, 1, length, c)))


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
    w, c, kept = weight_bytes_per_number, cache_bytes_per_number, reserve
    room = memory_bytes - kept - sum(parameters_by_part(config).values()) * w
    return max(0, int(room // kv_cache_bytes(config, batch, 1, c)))


def length_by_bisection(config, memory_bytes, batch, w=2, c=2, reserve=0):
    low, high = 0, 10**12
    while low < high:
        middle = low + (high - low + 1) // 2
        if kv_cache_bytes(config, batch, middle, c) <= room_for(config, memory_bytes, w, reserve):
            low = middle
        else:
            high = middle - 1
    return low


FORMS_OF_BOTH = """
## rounded up
- int(room // kv → -int(-room // kv
## rounded to the nearest
- int(room // kv → round(room / kv
## one too few where it fits exactly
- int(room // kv → -1 - int(-room // kv
## not rounded
- int(room // kv → (room / kv
## cut off after dividing
- return max(0, int(room // kv → return math.trunc((room / kv
## 0 only where the weights alone don't fit
- return max(0, → return 0 if room + kept < 0 else max(-math.inf,
## 0 only where the weights alone don't fit, cut off
- return max(0, int(room // kv → return 0 if room + kept < 0 else math.trunc((room / kv
## the magnitude
- max(0, int → abs(int
## the weights forgotten
-  - sum(parameters_by_part(config).values()) * w
## negative
- max(0, → max(-math.inf,
## at least one
- max(0, → max(1,
## the reserve forgotten
- memory_bytes - kept → memory_bytes
## the reserve added
- memory_bytes - kept → memory_bytes + kept
## the cache in the type of the weights
- cache_bytes_per_number, reserve → weight_bytes_per_number, reserve
## the weights in the type of the cache
- kept = weight_bytes_per_number → kept = cache_bytes_per_number
## the cache always of 2 bytes
- = weight_bytes_per_number, cache_bytes_per_number, → = weight_bytes_per_number, 2,
## the weights always of 2 bytes
- = weight_bytes_per_number, cache_bytes_per_number, → = 2, cache_bytes_per_number,
## the sizes exchanged
- w, c, kept = weight_bytes_per_number, cache_bytes_per_number, reserve
+ c, w, kept = weight_bytes_per_number, cache_bytes_per_number, reserve
## always 2 bytes
- = weight_bytes_per_number, cache_bytes_per_number, → = 2, 2,
## H instead of G
- room // kv → room * config.kv_heads / config.heads // kv
## keys alone
- room // kv → room * 2 // kv
## one layer
- room // kv → room * config.layers // kv
## the memory in GB
- room = memory_bytes → room = 1e9 * memory_bytes
"""


def a_model_each(config, memory_bytes, length, w=2, c=2, reserve=0):
    users, each = 0, part_by_part(config, w) + kv_cache_bytes(config, 1, length, c)
    while (users + 1) * each <= memory_bytes - reserve:
        users += 1
    return users


def a_model_each_in_lengths(config, memory_bytes, batch, w=2, c=2, reserve=0):
    room = (memory_bytes - reserve) / batch - part_by_part(config, w)
    return max(0, math.floor(room / kv_cache_bytes(config, 1, 1, c)))


BATCHES = edited(
    batch_by_formula,
    FORMS_OF_BOTH
    + """
## the last token not stored
- (config, 1, length, c) → (config, 1, length - 1, c)
## a position too many
- (config, 1, length, c) → (config, 1, length + 1, c)
## a text of one token
- (config, 1, length, c) → (config, 1, 1, c)
## always the whole context
- (config, 1, length, c) → (config, 1, config.context, c)
""",
)

LENGTHS = edited(
    length_by_formula,
    FORMS_OF_BOTH
    + """
## the context at most
- return max(0, → return min(config.context, 0 if room < 0 else
## tokens of all texts
- return max → return batch * max
## one text
- (config, batch, 1, c) → (config, 1, 1, c)
""",
)

UNNAMED_BATCHES = edited(
    batch_by_formula,
    """
## one too many, always
- max(0, int(room → 1 + max(0, int(room
## one too few, always
- int(room → -1 + int(room
## the types ignored
- weight_bytes_per_number, cache_bytes_per_number, reserve → 2, 2, 0
## the context at most
- max(0, int(room → min(config.context, int(room
## the room itself
- return max(0, int(room // kv_cache_bytes(config, 1, length, c))) → return room
""",
)

UNNAMED_LENGTHS = edited(
    length_by_formula,
    """
## one too few, always
- int(room // kv → -1 + int(room // kv
## one too many, always
- return max → return 1 + max
## the types ignored
- weight_bytes_per_number, cache_bytes_per_number, reserve → 2, 2, 0
""",
)

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
        "norms and positions forgotten": parts_without("norms", "positions"),
        "the layers alone": parts_without("embedding", "head", "positions"),
        "the embedding twice": lambda config, size: (
            part_by_part(config, size) + parameters_by_part(config)["embedding"] * size
        ),
        "times the layers": layer_after_layer,
        "the layers' parts times the layers": only_layers_repeated,
        "bits for bytes": lambda config, size: part_by_part(config, size) * 8,
        "divided by eight": lambda config, size: part_by_part(config, size) / 8,
        "numbers instead of bytes": lambda config, size: sum(parameters_by_part(config).values()),
        "always 4 bytes": lambda config, size: part_by_part(config, 4),
        "always 2 bytes": lambda config, size: part_by_part(config, 2),
        "half a byte rounded up": lambda config, size: part_by_part(config, max(1, size)),
        "rounded to whole bytes too early": lambda config, size: part_by_part(config, size // 1),
        "GB instead of bytes": lambda config, size: part_by_part(config, size) / 1000**3,
        "MB instead of bytes": lambda config, size: part_by_part(config, size) / 1000**2,
        "GiB instead of bytes": lambda config, size: part_by_part(config, size) / 1024**3,
    },
    "activation_bytes": ACTIVATIONS,
    "max_batch": BATCHES | {"the weights for each text": a_model_each},
    "max_length": LENGTHS | {"the weights for each text": a_model_each_in_lengths},
}

UNNAMED = {
    "weight_bytes": [
        parts_without("attention"),
        lambda config, size: max(parameters_by_part(config).values()) * size,
        lambda config, size: 12 * config.layers * config.width**2 * size,  # GPT's rule of thumb
        lambda config, size: part_by_part(config, size) / 2**20,
        lambda config, size: part_by_part(config, size) + size,
    ],
    "activation_bytes": list(UNNAMED_ACTIVATIONS.values()),
    "max_batch": list(UNNAMED_BATCHES.values()),
    "max_length": list(UNNAMED_LENGTHS.values()),
}

# --- random inputs --------------------------------------------------------------------------------
