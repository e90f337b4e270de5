"""The pictures of lesson 12b: batches and speeds on machines that one need not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.cost import (
    Accelerator,
    Prediction,
    accelerator,
    compute_bound_batch,
    compute_bound_length,
    kv_cache_bytes,
    weight_bytes,
)
from decodeloop.course.figures import PALE
from decodeloop.course.figures_roofline import part_name
from decodeloop.model import ModelConfig

SIXTEEN_BITS = 2  # bytes of a number


def fits(part: Accelerator, config: ModelConfig, batch: int, length: int) -> bool:
    """Whether weights and caches, all in 16 bits, fit into a part's memory."""
    caches = kv_cache_bytes(config, batch, length, SIXTEEN_BITS)
    return weight_bytes(config, SIXTEEN_BITS) + caches <= part.memory


def batches_that_are_enough(config: ModelConfig, parts: Sequence[Accelerator], axis: Axes) -> None:
    """The batch from which on a step is compute-bound, by the context: thick with markers where it
    fits into the part's memory, up to the last context at which there is one."""
    looks = ((":", "o", 0.02), ("-.", "s", 0.09), ("--", "^", 0.02), ("-", "D", 0.02))
    for part, (style, marker, first) in zip(parts, looks, strict=True):
        rates = part.flops["bf16"], part.bandwidth
        limit = compute_bound_length(config, *rates, SIXTEEN_BITS)
        if limit is None:  # memory bounds every step of this part
            continue
        lengths = [S for S in (round(2 ** (p / 8)) for p in range(112)) if limit > S] + [limit]
        needed = [compute_bound_batch(config, S, *rates, SIXTEEN_BITS) or 0 for S in lengths]
        held = [(S, B) for S, B in zip(lengths, needed, strict=True) if fits(part, config, B, S)]
        (line,) = axis.loglog(
            *zip(*held, strict=True), style, marker=marker, markevery=(first, 0.14), markersize=5,
            linewidth=2.5, label=part_name(part),
        )  # fmt: skip
        axis.loglog(lengths, needed, style, color=line.get_color(), linewidth=0.8)
        axis.axvline(limit, color=line.get_color(), linewidth=0.8, linestyle=":")
    axis.set(xlabel="context, positions", ylabel="batch from which on\ncompute-bound")
    axis.set_ylim(20, 1e5)
    axis.legend(fontsize=9)


def where_a_batch_turns(
    config: ModelConfig,
    parts: Sequence[Accelerator],
    batches: Sequence[int],
    by_context: Mapping[int, Sequence[float]],
    ridge: float,
) -> None:
    """Intensity of a step by batch, at several contexts, against a ridge; and for parts the batch
    that is enough."""
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for (S, intensities), style in zip(by_context.items(), ("-", "--", "-."), strict=True):
        left.loglog(batches, intensities, style, label=f"{S:,} position{'s' * (S > 1)}")
    left.axhline(ridge, color="grey", linewidth=1.2, linestyle=":")
    left.text(1, 1.12 * ridge, "ridge of an H100", fontsize=9)
    left.set(xlabel="batch", ylabel="intensity, FLOPs per byte")
    left.legend()
    batches_that_are_enough(config, parts, right)
    plt.show()


def speeds_of_parts(
    predicted: Mapping[str, Prediction], published: Mapping[str, float], prompt: int
) -> None:
    """Tokens per second of decode and of a prefill of `prompt` tokens at best, by the keys of the
    parts, with dots for what was published."""
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
    names = [part_name(accelerator(key)) for key in predicted]
    decode = [p.tokens_per_second for p in predicted.values()]
    left.barh(names, decode, color=PALE, edgecolor="black")
    dots = [(published[key], y) for y, key in enumerate(predicted) if key in published]
    left.plot(*zip(*dots, strict=True), "o", color="black", linestyle="none", label="published")
    left.set(xlabel="decode: new tokens per second, at best")
    left.legend(loc="lower right")
    prefill = [prompt / 1e3 / p.ttft_s for p in predicted.values()]
    right.barh(names, prefill, color=PALE, edgecolor="black", hatch="//")
    right.set(xlabel="prefill: thousands of prompt tokens per second, at best")
    for axis in (left, right):
        axis.tick_params(axis="y", labelsize=9)
    plt.show()
