"""Reading a text, timed: all at once and token by token, and one layer's attention by its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from decodeloop.decode import decode_step, prefill
from decodeloop.measure.timing import median_seconds
from decodeloop.model import (
    Block,
    Decoder,
    ModelConfig,
    causal_mask,
    grouped_query_attention,
    softmax,
)

Job = Callable[[], object]
STEPS = 8  # decode steps that are timed, in the middle of the text


@torch.inference_mode()
def reading_times(model: Decoder, tokens: int = 128, repeats: int = 3) -> tuple[float, float]:
    """Seconds to bring a text into a KV cache: in one prefill, and in decode steps.

    Of the steps those in the middle of the text are timed, which cost what a step costs on average,
    and multiplied. Which tokens they are makes no difference.
    """
    where = model.embedding.weight.device
    ids = torch.zeros(1, tokens, dtype=torch.long, device=where)
    cache = model.new_cache(1, tokens)
    steps = min(STEPS, tokens)
    first = (tokens - steps) // 2

    def all_at_once() -> None:
        cache.truncate(0)
        prefill(model, ids, cache)

    def in_the_middle() -> None:
        cache.truncate(first)
        for t in range(first, first + steps):
            decode_step(model, ids[:, t : t + 1], cache)

    at_once, some = median_seconds([all_at_once, in_the_middle], repeats, where)
    return at_once, some * tokens / steps


def attention_jobs(config: ModelConfig, T: int, device: torch.device) -> dict[str, Job]:
    """One layer's attention on T positions: whole and plain, its parts alone, and fused."""
    H, G, D = config.heads, config.kv_heads, config.head_dim
    q, k, v = (torch.randn(1, heads, T, D, device=device) for heads in (H, G, G))
    mask, table = causal_mask(T, device=device), torch.rand(1, H, T, T, device=device)
    keys, values = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    return {
        "attention, plain": lambda: grouped_query_attention(q, k, v, mask),
        "its two products": lambda: (q @ keys.mT, table @ values),
        "scale, mask, softmax": lambda: softmax(
            (table / math.sqrt(D)).masked_fill(~mask, -math.inf)
        ),
        "attention, fused": lambda: F.scaled_dot_product_attention(q, keys, values, is_causal=True),
    }


def linear_job(matrices: Sequence[nn.Linear], T: int, device: torch.device) -> Job:
    """T positions through each matrix of a layer."""
    inputs = {m.in_features: torch.randn(1, T, m.in_features, device=device) for m in matrices}
    return lambda: [m(inputs[m.in_features]) for m in matrices]


@torch.inference_mode()
def attention_times(
    model: Decoder, lengths: Sequence[int], repeats: int = 3
) -> dict[str, list[float]]:
    """Seconds of one layer's attention at each length, whole and by its parts, and of its linear
    layers: name → one for each length."""
    where = model.embedding.weight.device
    layer = cast(Block, model.layers[0])
    parts = [*layer.attention.children(), *layer.feed_forward.children()]
    matrices = [cast(nn.Linear, part) for part in parts]
    jobs = {
        (name, T): job
        for T in lengths
        for name, job in (
            attention_jobs(model.config, T, where)
            | {"linear layers": linear_job(matrices, T, where)}
        ).items()
    }
    times = median_seconds(list(jobs.values()), repeats, where)
    seconds: dict[str, list[float]] = {}
    for (name, _), time in zip(jobs, times, strict=True):
        seconds.setdefault(name, []).append(time)
    return seconds
