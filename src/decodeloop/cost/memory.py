"""What inference holds in memory: weights once, a cache for each row, activations for a moment.

All of it is arithmetic on a configuration. The weights and the cache are those of any decoder; the
activations are those of `decodeloop.model.Decoder` whose attention has the whole table of scores
(`model.WITH_TABLE`), found from its code, and right to the byte where PyTorch's own count can be
had (`measure.peak_bytes`). A fused attention (FlashAttention: Dao et al., 2022, arXiv:2205.14135;
lesson 16), which the decoder takes for long prompts, never holds that table. Built in lesson 09.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from decodeloop.cost.architecture import cached_numbers, latent_of, parameters_by_part
from decodeloop.cost.checks import (
    check_bytes_per_number,
    check_whole,
    check_window,
    is_number,
    whole_bytes,
)
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig, flash

POSITION_BYTES = 8  # positions are int64, whatever the model's type
MASK_BYTES = 1  # PyTorch keeps a boolean in a byte


def weight_bytes(config: ModelConfig, bytes_per_number: float) -> int:
    """Bytes of all weights; a tied head is the embedding itself, and counts once.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> weight_bytes(SMOLLM2_135M, 4)
    538060032
    """
    check_bytes_per_number("weight_bytes", bytes_per_number=bytes_per_number)
    return whole_bytes(sum(parameters_by_part(config).values()) * bytes_per_number)


def kv_cache_bytes(config: ModelConfig, batch: int, length: int, bytes_per_number: float) -> int:
    """Bytes of the keys and values of `batch` texts of `length` tokens each, in all layers.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> kv_cache_bytes(SMOLLM2_135M, 1, 1, 4)
    46080
    """
    check_whole("kv_cache_bytes", at_least=0, batch=batch)
    check_whole("kv_cache_bytes", at_least=0, length=length)
    check_window("kv_cache_bytes", config, length)
    check_bytes_per_number("kv_cache_bytes", bytes_per_number=bytes_per_number)
    per_token = config.layers * cached_numbers(config)
    return whole_bytes(batch * length * per_token * bytes_per_number)


def mask_bytes(config: ModelConfig, batch: int, T: int, S: int) -> int:
    """Bytes of the causal mask in one layer, a byte for each entry; a single query needs none.

    Where query heads share a KV head, `grouped_query_attention` lays them one after another, and
    their common (T, S) mask is written out for each: (B, H, T, S). With a KV head for each query
    head it stays a view.
    """
    if T == 1:
        return 0
    spread = batch * config.heads * T * S if config.kv_heads < config.heads else 0
    return MASK_BYTES * (T * S + spread)


def activation_stages(
    config: ModelConfig,
    batch: int,
    T: int,
    S: int,
    bytes_per_number: float,
    *,
    logits: int = 1,
    table: bool = True,
) -> dict[str, int]:
    """Bytes alive at the worst moment of each stage of a forward, beyond weights and cache.

    Layers come one after another and leave nothing behind but x, so their number plays no part.

    - "attention": x and its normalised copy, (B, T, C) each; q, k and v; three tables (B, H, T, S),
      the scores, their exponentials and the weights, with a number for each of their rows (largest,
      sum, clamped sum); the mask.
    - "feed_forward": x, x after attention, and its normalised copy; q, k and v, which the block
      still has names for; three of (B, T, F), the gate, what is gated, and their product.
    - "head": the final x, and the logits, (B, logits, V).

    - With experts, "feed_forward" is a bound: x, x after attention, its normalised copy, the sum;
      a copy of each token for each of its k experts, and what they give, twice; or three of (N, F)
      beside the first two, where all N = B·T tokens meet in one expert.

    Without the `table`, as `flash.causal_attention` does it: the mask of one block of queries, and
    its result, twice; and the result for all, (B, T, H·D). That is a bound, near at hand.

    Exact for a decoder `WITH_TABLE` and with a cache, in fp32 on a CPU, if F is half as large again
    as C and H·D, or more (with a narrow F, the norms or the rotation may hold a little more).
    """
    check_whole("activation_bytes", batch=batch, T=T, S=S, logits=logits)
    check_bytes_per_number("activation_bytes", bytes_per_number=bytes_per_number)
    if S < T:
        raise UserError(
            f"activation_bytes: S is {S} and T is {T}: the S keys include the T new positions, so "
            f"S must be at least T; pass S = cached + T."
        )
    if logits > T:
        raise UserError(
            f"activation_bytes: logits is {logits} and T is {T}: the head runs on at most the T "
            f"new positions of each row."
        )
    C, F, V = config.width, config.feed_forward, config.vocabulary
    H, G, D = config.heads, config.kv_heads, config.head_dim
    rows, tables = batch * T, 3 * batch * H * T * (S + 1)
    qkv = rows * (H + 2 * G) * D
    if (latent := latent_of(config)) is not None:
        qkv = rows * H * (2 * (latent.content + latent.rotated) + latent.value)
    inner = 3 * rows * F
    if (experts := config.experts) is not None:
        copies = rows * experts.active * C
        inner = rows * C + 2 * copies + max(2 * copies, 3 * rows * max(F, experts.dense_width))
    positions, masks = POSITION_BYTES * T, mask_bytes(config, batch, T, S)
    if not table and T > 1 and flash.ROWS * flash.COLUMNS < T * S:
        n = min(T, flash.BLOCK)
        tables = rows * H * D + 2 * batch * H * n * D
        masks = 3 * MASK_BYTES * n * S  # and what it is made of
    return {
        "attention": whole_bytes((2 * rows * C + qkv + tables) * bytes_per_number)
        + masks
        + positions,
        "feed_forward": whole_bytes((3 * rows * C + qkv + inner) * bytes_per_number) + positions,
        "head": whole_bytes((rows * C + batch * logits * V) * bytes_per_number),
    }


def activation_bytes(
    config: ModelConfig,
    batch: int,
    T: int,
    S: int,
    bytes_per_number: float,
    *,
    logits: int = 1,
    table: bool = True,
) -> int:
    """The most that one forward of the plain decoder holds at a time, beyond weights and cache.

    T new positions, S key positions with the new ones; the head runs on `logits` positions of each
    row; attention has the whole `table` of scores, or tiles of it. The largest of
    `activation_stages`, since no two of them are alive at once.

    Raises:
        UserError: a size is not a positive whole number, S is less than T, or `logits` more than T.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> activation_bytes(SMOLLM2_135M, 1, 1024, 1024, 4) > 3 * 4 * 9 * 1024**2  # three tables
    True
    """
    stages = activation_stages(config, batch, T, S, bytes_per_number, logits=logits, table=table)
    return max(stages.values())


@dataclass(frozen=True)
class Memory:
    """What a model takes while it runs, in bytes."""

    weights: int
    kv_cache: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.activations


def memory(
    config: ModelConfig,
    batch: int,
    length: int,
    *,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    activation_bytes_per_number: float = 2,
    chunk: int | None = None,
) -> Memory:
    """What `batch` texts of `length` tokens take: their prefill, and decoding at that length.

    `chunk` is how many positions the prefill reads at a time; None means all of them at once, whose
    tables of attention then grow with the square of the length.

    >>> from decodeloop.cost import preset
    >>> round(memory(preset("llama-7b"), 1, 2048, chunk=256).total / 1e9, 1)
    14.7
    """
    check_whole("memory", batch=batch)
    check_whole("memory", length=length)
    if chunk is not None:
        check_whole("memory", chunk=chunk)
    T = length if chunk is None else min(chunk, length)
    forwards = [(T, length)] if length == 1 else [(T, length), (1, length)]
    return Memory(
        weights=weight_bytes(config, weight_bytes_per_number),
        kv_cache=kv_cache_bytes(config, batch, length, cache_bytes_per_number),
        activations=max(
            activation_bytes(config, batch, new, keys, activation_bytes_per_number)
            for new, keys in forwards
        ),
    )


def max_batch(
    config: ModelConfig,
    memory_bytes: float,
    length: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> int:
    """How many texts of `length` tokens fit beside the weights: the weights once, a cache each.

    `reserve` bytes are kept for activations and all else. 0 if not even one fits.

    >>> from decodeloop.cost import preset
    >>> max_batch(preset("llama-3-8b"), 24e9, 8192)
    7
    """
    check_whole("max_batch", length=length)
    check_room("max_batch", memory_bytes, reserve)
    room = memory_bytes - reserve - weight_bytes(config, weight_bytes_per_number)
    return max(0, int(room // kv_cache_bytes(config, 1, length, cache_bytes_per_number)))


def max_length(
    config: ModelConfig,
    memory_bytes: float,
    batch: int,
    weight_bytes_per_number: float = 2,
    cache_bytes_per_number: float = 2,
    reserve: float = 0,
) -> int:
    """How many tokens each of `batch` texts may have; otherwise as `max_batch`.

    What fits may be longer than `config.context`, which is what the model was trained for.

    >>> from decodeloop.cost import preset
    >>> max_length(preset("llama-3-8b"), 24e9, 1)
    60573
    """
    check_whole("max_length", batch=batch)
    check_room("max_length", memory_bytes, reserve)
    room = memory_bytes - reserve - weight_bytes(config, weight_bytes_per_number)
    return max(0, int(room // kv_cache_bytes(config, batch, 1, cache_bytes_per_number)))


def check_room(function: str, memory_bytes: object, reserve: object) -> None:
    """Raise `UserError` unless both are numbers of bytes."""
    for name, value in (("memory_bytes", memory_bytes), ("reserve", reserve)):
        if not is_number(value) or not 0 <= value < math.inf:  # type: ignore[operator]
            raise UserError(
                f"{function}: {name} is {value!r}: expected a number of bytes, such as 24e9 for "
                f"24 GB."
            )
