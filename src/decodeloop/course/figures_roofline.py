"""The pictures of lessons 12 and 12b: memories, roofs, and what lies below them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

from decodeloop.cost import (
    Accelerator,
    attainable,
    phase,
)
from decodeloop.course.figures import GREY


def part_name(part: Accelerator) -> str:
    """A part's name without its form factor."""
    return "MI250X, one die" if part.key == "mi250x-die" else re.split(r" \(|,", part.name)[0]


def roof_of(part: Accelerator, forwards: Mapping[str, float]) -> None:
    """The roof of a part in bf16, and forwards on it by their FLOPs per byte."""
    peak, bandwidth = part.flops["bf16"], part.bandwidth
    _, axis = plt.subplots(figsize=(8, 3.6))
    span = sorted([2.0**p / 2 for p in range(13)] + [peak / bandwidth])
    roof = [attainable(i, peak, bandwidth) / 1e12 for i in span]
    axis.loglog(span, roof, color="black", linestyle="-")
    axis.axvline(peak / bandwidth, color=GREY, linewidth=1, linestyle=":")
    ridge = f"  the ridge: {peak / bandwidth:.0f}"
    axis.text(peak / bandwidth, roof[0], ridge, fontsize=9)
    for name, intensity in forwards.items():
        rate = attainable(intensity, peak, bandwidth) / 1e12
        axis.plot(intensity, rate, "o", color="black", markersize=8)
        axis.annotate(
            f"{name}: {rate * 1e12 / peak:.2g} of the peak", (intensity, rate), (8, -14),
            textcoords="offset points", fontsize=9,
        )  # fmt: skip
    axis.set(xlabel="FLOPs per byte", ylabel=f"TFLOP/s of one {part_name(part)}")
    axis.set_ylim(0.5 * roof[0], 2 * roof[-1])
    plt.show()


def memory_levels(
    levels: Mapping[str, tuple[float, float]],
    sizes: Sequence[float],
    rates: Sequence[float],
    model: float,
) -> None:
    """Levels of a memory as (bytes, bytes/s); beside them the rate of copies by the size of their
    tensors, with a line at the size of the model."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
    for name, (size, rate) in levels.items():
        place = (size / 1e6, rate / 1e9)
        left.loglog(*place, "o", color="black")
        left.annotate(name, place, xytext=(8, 3), textcoords="offset points", fontsize=9)
    left.set(xlabel="size in MB", ylabel="GB/s", title="an A100, by its white paper")
    left.set(xlim=(8, 2e8), ylim=(10, 6e4))
    right.semilogx([size / 1e6 for size in sizes], [rate / 1e9 for rate in rates], marker="o")
    right.axvline(model / 1e6, color="grey", linewidth=1, linestyle=":")
    right.text(0.93 * model / 1e6, 0.9 * max(rates) / 1e9, "the model", ha="right", fontsize=9)
    right.set(xlabel="size in MB", ylabel="GB/s read and written", title="this machine")
    right.set(xlim=(0.01, 1000), ylim=(0, None))
    plt.show()


def longer_of_two_times(
    peak: float, bandwidth: float, moved: float, works: Sequence[float]
) -> None:
    """Seconds and FLOP/s of works of so many FLOPs that all move the same bytes."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7))
    ridge, wait = peak / bandwidth, moved / bandwidth
    amounts = [0, *works]
    left.plot(amounts, [wait] * len(amounts), "--", label=f"to move {moved:g} bytes")
    left.plot(amounts, [flops / peak for flops in amounts], "-.", label="to compute")
    longer = [max(wait, flops / peak) for flops in amounts]
    left.plot(amounts, longer, "-", color="black", linewidth=5, alpha=0.3, label="the longer one")
    left.set(xlabel="FLOPs", ylabel="seconds", ylim=(0, 1.05 * longer[-1]))
    left.legend()
    span = sorted([2.0**p for p in range(-1, 6)] + [ridge])
    right.loglog(span, [attainable(i, peak, bandwidth) for i in span], color="black")
    for flops in works:
        found = phase(flops, moved, peak, bandwidth)
        place = (found.intensity, flops / found.seconds)
        right.plot(*place, "o", color="black", markersize=8)
        right.annotate(
            f"{flops:,} FLOPs", place, xytext=(6, -14), textcoords="offset points", fontsize=9
        )
    right.axvline(ridge, color="grey", linewidth=1, linestyle=":")
    right.text(1.06 * ridge, 0.12 * peak, f"the ridge: {peak} / {bandwidth} = {ridge:g}", size=9)
    right.text(0.5, 0.42 * peak, "bandwidth:\nbound by memory", fontsize=9)
    right.text(1.06 * ridge, 1.15 * peak, "peak: bound by computing", fontsize=9)
    right.set(xlabel="intensity, FLOPs per byte", ylabel="FLOP/s", ylim=(0.08 * peak, 1.8 * peak))
    right.set_xticks([0.5, 1, 2, 4, 8, 16, 32], ["½", "1", "2", "4", "8", "16", "32"])
    right.minorticks_off()
    plt.show()


def forwards_below_the_roof(
    points: Mapping[str, tuple[float, float]], peak: float, bandwidth: float, routine: float
) -> None:
    """Measured forwards as (FLOPs per byte, FLOP/s) below their predictions on the roof; those
    named "B = …" are decode steps. The dashed slope is a routine that reads so many bytes/s."""
    _, axis = plt.subplots(figsize=(8.6, 4.6))
    span = sorted([2.0**p / 4 for p in range(12)] + [peak / bandwidth])
    roof = [attainable(i, peak, bandwidth) / 1e9 for i in span]
    axis.loglog(span, roof, color="black", label="roof")
    slope = [i for i in span if i * routine < peak]
    axis.loglog(
        slope, [i * routine / 1e9 for i in slope], color="grey", linestyle="--", linewidth=1.2,
        label="the model's matrices, one vector",
    )  # fmt: skip
    axis.axvline(peak / bandwidth, color="grey", linewidth=1, linestyle=":")
    bottom = axis.get_xaxis_transform()
    axis.text(1.03 * peak / bandwidth, 0.03, "ridge", transform=bottom, fontsize=9)
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "black"}
    for name, (intensity, rate) in points.items():
        top = attainable(intensity, peak, bandwidth)
        decodes = name.startswith("B")
        marker = "o" if decodes else "s"
        both = [rate / 1e9, top / 1e9]
        axis.plot([intensity] * 2, both, color="grey", linewidth=1, linestyle="-")
        axis.plot(intensity, top / 1e9, marker, **hollow)
        axis.plot(intensity, rate / 1e9, marker, color="black")
        at, shift, side = (rate, (0, -15), "center")  # prefills are named below, decodes above
        if decodes:
            at = top
            shift, side = ((0, 7), "center") if top == peak else ((-5, 4), "right")
        place = (intensity, at / 1e9)
        axis.annotate(name, place, shift, textcoords="offset points", fontsize=9, ha=side)
    axis.plot([], [], "o", color="black", linestyle="none", label="decode, measured")
    axis.plot([], [], "s", color="black", linestyle="none", label="prefill, measured")
    axis.plot([], [], "o", linestyle="none", label="predicted, on the roof", **hollow)
    axis.set(xlabel="intensity, FLOPs per byte", ylabel="GFLOP/s", ylim=(None, 1.6 * peak / 1e9))
    axis.legend(loc="lower right", fontsize=9)
    plt.show()
