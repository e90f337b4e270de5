"""What a model is made of, as far as its cost goes: matrices, vectors, and their sizes.

A `ModelConfig` says it for every decoder-only family, those too that `Decoder` does not compute.
Built in lesson 09.
"""

from __future__ import annotations

from decodeloop.model import ModelConfig

# Bytes of one number. "int4" leaves the scales of quantized weights aside.
BYTES: dict[str, float] = {
    "fp32": 4,
    "bf16": 2,
    "fp16": 2,
    "fp8": 1,
    "int8": 1,
    "int4": 0.5,
}


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """The matrices of one layer, as `nn.Linear` stores them: name → (rows, columns).

    >>> from decodeloop.model import SMOLLM2_135M
    >>> linear_shapes(SMOLLM2_135M)["key"]
    (192, 576)
    """
    C, F = config.width, config.feed_forward
    query_rows, kv_rows = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = {
        "query": (query_rows, C),
        "key": (kv_rows, C),
        "value": (kv_rows, C),
        "output": (C, query_rows),
        "gate": (F, C),
        "up": (F, C),
        "down": (C, F),
    }
    if not config.gated:
        del shapes["gate"]
    return shapes


ATTENTION = ("query", "key", "value", "output")


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """How many numbers each part of a model has learned, over all layers.

    Biases count with their matrix. A tied head has none of its own.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> parts = parameters_by_part(SMOLLM2_135M)
    >>> sum(parts.values()), parts["head"]
    (134515008, 0)
    """
    C, L = config.width, config.layers
    counts = {"attention": 0, "feed_forward": 0}
    for name, (rows, columns) in linear_shapes(config).items():
        has_bias = config.biases == "all" or (config.biases == "qkv" and name in ATTENTION[:3])
        part = "attention" if name in ATTENTION else "feed_forward"
        counts[part] += L * rows * (columns + has_bias)
    norm = C * (1 + config.layer_norm)
    return {
        "embedding": config.vocabulary * C,
        "positions": config.context * C if config.learned_positions else 0,
        **counts,
        "norms": (2 * L + 1) * norm + (2 * L * config.head_dim if config.qk_norm else 0),
        "head": 0 if config.tied else config.vocabulary * C,
    }
