"""What a model is made of, as far as its cost goes: matrices, vectors, and their sizes.

A `ModelConfig` says it for every decoder-only family, those too that `Decoder` does not compute.
Built in lesson 09.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention, whose cache holds one short vector of each token for all heads.

    DeepSeek-AI, "DeepSeek-V2" (2024), arXiv:2405.04434, section 2.1; lesson 18.
    """

    rank: int  # r, numbers of the latent that keys and values are made of
    rotated: int  # R, numbers of the turned key beside it, one for all heads
    content: int  # of each head's query and key, besides the R that are turned
    value: int  # of each head's value
    query_rank: int  # of the latent that queries are made of


@dataclass(frozen=True, repr=False)
class Architecture(ModelConfig):
    """A `ModelConfig` that says where its numbers stand, and may have what `Decoder` never has."""

    source: str = ""
    latent: Latent | None = None
    sinks: bool = False  # a learned score of each query head, beside those of its keys


def latent_of(config: ModelConfig) -> Latent | None:
    """The latent attention of a model, if it has one."""
    return config.latent if isinstance(config, Architecture) else None


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """The matrices of one layer, as `nn.Linear` stores them: name → (rows, columns). Of experts,
    the matrices of one; a router is not among them.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> linear_shapes(SMOLLM2_135M)["key"]
    (192, 576)
    """
    C, F = config.width, config.feed_forward
    if (latent := latent_of(config)) is not None:
        H, r, inner = config.heads, latent.rank, latent.content + latent.rotated
        shapes = {
            "query_down": (latent.query_rank, C),
            "query_up": (H * inner, latent.query_rank),
            "latent": (r + latent.rotated, C),
            "key_and_value_up": (H * (latent.content + latent.value), r),
            "output": (C, H * latent.value),
        }
    else:
        query_rows, kv_rows = config.heads * config.head_dim, config.kv_heads * config.head_dim
        shapes = {
            "query": (query_rows, C),
            "key": (kv_rows, C),
            "value": (kv_rows, C),
            "output": (C, query_rows),
        }
    shapes |= {"gate": (F, C), "up": (F, C), "down": (C, F)}
    if not config.gated:
        del shapes["gate"]
    return shapes


ATTENTION = ("query", "key", "value", "output")
FEED_FORWARD = ("gate", "up", "down")


class Product(NamedTuple):
    """A matrix that tokens are multiplied with, in all layers together."""

    part: str  # attention, feed_forward or router
    rows: int
    columns: int
    bias: bool
    held: int  # how many such matrices the model has
    used: int  # and how many of them one token meets


def products(config: ModelConfig) -> list[Product]:
    """All matrices of the layers. With experts a token meets `active` of `number` in a layer, and
    those that are shared; the router is a matrix too."""
    L, experts, found = config.layers, config.experts, []
    for name, (rows, columns) in linear_shapes(config).items():
        if name in FEED_FORWARD:
            part, bias = "feed_forward", config.biases == "all"
            held = used = L
        else:
            part = "attention"
            bias = config.biases == "all" or (config.biases == "qkv" and name in ATTENTION[:3])
            held = used = L
        if experts is not None and part == "feed_forward":
            mixed, wide = L - experts.dense_layers, experts.dense_width
            bias = experts.biased
            held = mixed * (experts.number + experts.shared)
            used = mixed * (experts.active + experts.shared)
            if experts.dense_layers:
                dense = (rows, wide) if name == "down" else (wide, columns)
                found.append(
                    Product(part, *dense, False, experts.dense_layers, experts.dense_layers)
                )
        found.append(Product(part, rows, columns, bias, held, used))
    if experts is not None:
        mixed = L - experts.dense_layers
        found.append(Product("router", experts.number, config.width, experts.biased, mixed, mixed))
    return found


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """How many numbers each part of a model has learned, over all layers.

    Biases count with their matrix. A tied head has none of its own. A router is a part only where
    there are experts, all of which are counted in `feed_forward`.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> parts = parameters_by_part(SMOLLM2_135M)
    >>> sum(parts.values()), parts["head"]
    (134515008, 0)
    """
    return counted(config, [product.held for product in products(config)])


def active_parameters(config: ModelConfig) -> dict[str, int]:
    """How many parameters one token meets, by part: of experts those that it is sent to, and the
    shared ones; of all else, all.

    Of the embedding a token reads one row; it counts whole here, as in `parameters_by_part`. Some
    published figures leave it out.

    >>> from decodeloop.cost import preset
    >>> round(sum(active_parameters(preset("mixtral-8x7b")).values()) / 1e9, 1)
    12.9
    """
    return counted(config, [product.used for product in products(config)])


def counted(config: ModelConfig, times: list[int]) -> dict[str, int]:
    """Numbers by part, each matrix so many times."""
    C, L, latent = config.width, config.layers, latent_of(config)
    counts = {"attention": 0, "feed_forward": 0}
    for product, number in zip(products(config), times, strict=True):
        size = product.rows * (product.columns + product.bias)
        counts[product.part] = counts.get(product.part, 0) + number * size
    if isinstance(config, Architecture) and config.sinks:
        counts["attention"] += L * config.heads
    norms = (2 * L + 1) * C * (1 + config.layer_norm)
    norms += 2 * L * config.head_dim if config.qk_norm else 0
    norms += L * (latent.rank + latent.query_rank) if latent is not None else 0
    return {
        "embedding": config.vocabulary * C,
        "positions": config.context * C if config.learned_positions else 0,
        **counts,
        "norms": norms,
        "head": 0 if config.tied else config.vocabulary * C,
    }


def cached_numbers(config: ModelConfig) -> int:
    """How many numbers a cache keeps of one token in one layer: a key and a value of each KV head,
    or a latent with its turned key.

    >>> from decodeloop.cost import preset
    >>> cached_numbers(preset("llama-3-8b")), cached_numbers(preset("deepseek-v3"))
    (2048, 576)
    """
    if (latent := latent_of(config)) is not None:
        return latent.rank + latent.rotated
    return 2 * config.kv_heads * config.head_dim


def score_widths(config: ModelConfig, T: int, S: int) -> tuple[int, int]:
    """How many numbers of a query meet a key, and how many a weighted value has, in each head.

    With latent attention, those of keys and values that are made for a prompt (T = S); later the
    queries meet the latents themselves, as lesson 18 does it (`absorb`).
    """
    latent = latent_of(config)
    if latent is None:
        return config.head_dim, config.head_dim
    if T == S:
        return latent.content + latent.rotated, latent.value
    return latent.rank + latent.rotated, latent.rank
