"""The pictures of lesson 20: which weights go, what is lost, and what it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from torch import Tensor

from decodeloop.course.figures import BLUE, GREEN, GREY, MUCH, ORANGE, PALE, RED
from decodeloop.quality import Interval

MARKERS = "os^DvPX*"
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)


def sizes(weight: Tensor, share: float) -> tuple[Axes, Axes]:
    """How the numbers of a matrix are spread, and the sum of their squares; the smallest share of
    the numbers by size is dark in both."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.0))
    numbers = weight.detach().float().cpu().flatten()
    limit = float(numbers.abs().kthvalue(max(1, int(share * len(numbers)))).values)
    edge = 4 * float(numbers.std())
    squares = numbers.square()
    part = float(squares[numbers.abs() <= limit].sum() / squares.sum())
    for axis, counted, title in (
        (left, None, f"how many: {share:.0%} are dark"),
        (right, squares.numpy(), f"the sum of their squares: {part:.0%} is dark"),
    ):
        heights, bins = np.histogram(numbers.numpy(), 101, (-edge, edge), weights=counted)
        middles, width = (bins[1:] + bins[:-1]) / 2, bins[1] - bins[0]
        colours = [BLUE if abs(middle) - width / 2 < limit else PALE for middle in middles]
        axis.bar(middles, heights, width, color=colours)
        axis.set(xlabel="weight", yticks=[], xlim=(-edge, edge), title=title)
    return left, right


def patterns(matrices: Mapping[str, Tensor]) -> list[Axes]:
    """The sizes of some matrices' numbers, side by side, lines between groups of four columns: dark
    = large, a cross = zero, white = gone."""
    _, axes = plt.subplots(1, len(matrices), figsize=(10, 2.6), squeeze=False)
    most = max(float(m.abs().max()) for m in matrices.values())
    rows = max(len(m) for m in matrices.values())
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        axis.imshow(matrix.abs().cpu().numpy(), cmap=MUCH, vmin=0, vmax=most, aspect="equal")
        axis.set(title=name, xticks=[], yticks=[], ylim=(rows - 0.5, -0.5))
        R, C = matrix.shape
        places = (matrix == 0).nonzero().cpu()
        axis.plot(places[:, 1], places[:, 0], "x", color="black", markersize=3, markeredgewidth=0.7)
        axis.vlines([n - 0.5 for n in range(0, C + 1, 4)], -0.5, R - 0.5, GREY, linewidth=0.8)
        for side in axis.spines.values():
            side.set_visible(False)
    return list(axes[0])


def times_as_large(found: Mapping[str, Interval], what: str) -> Axes:
    """By how much a perplexity is multiplied, a line for each way to cut, with its interval."""
    _, axis = plt.subplots(figsize=(7.4, 0.8 + 0.36 * len(found)))
    for place, (name, ratio) in enumerate(found.items()):
        ends = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        colour = GREY if name.startswith("random") else BLUE
        axis.errorbar(ratio.value, place, xerr=ends, color=colour, marker="o", capsize=4, ls="")
    axis.set(xscale="log", ylim=(len(found) - 0.5, -0.5))
    low, high = min(r.low for r in found.values()), max(r.high for r in found.values())
    axis.set_xlim(min(0.8, low / 1.2), high * 1.6)
    ticks = [t for t in (1, 2, 3, 5, 10, 30, 100, 1000, 10_000, 100_000) if t < high * 1.6]
    axis.set_xticks(ticks, [f"{t:,}" for t in ticks])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axvline(1, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    axis.set_yticks(range(len(found)), list(found))
    axis.set_xlabel(f"perplexity, times that of the original ({what})")
    return axis


def layers(angles: Sequence[float], ratios: Mapping[int, Interval]) -> tuple[Axes, Axes]:
    """By how much each layer turns the stream, and the perplexity without some of them."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    left.bar(range(len(angles)), [180 * a for a in angles], color=PALE)
    for place, (number, ratio) in enumerate(sorted(ratios.items(), key=lambda r: angles[r[0]])):
        left.bar(number, 180 * angles[number], color=BLUE)
        at = (180 * angles[number], ratio.value)
        ends = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        right.errorbar(*at, ends, color=BLUE, marker="o", capsize=4, ls="")
        offset = (6, -14) if place == 0 else (7, 5)  # the first two are neighbours
        right.annotate(f"layer {number}", at, offset, textcoords="offset points", fontsize=9)
    left.set(xlabel="layer", ylabel="degrees", title="by how much it turns the stream")
    right.set(
        xscale="log", yscale="log", xlabel="degrees", title="perplexity without it, times as large"
    )
    some = (10, 20, 50, 100)
    right.set_xticks(some, [str(t) for t in some])
    right.xaxis.set_minor_formatter(NullFormatter())
    powers = [10**n for n in range(7) if 10**n < max(r.high for r in ratios.values())]
    right.set_yticks(powers, [f"{p:,}" for p in powers])
    right.axhline(1, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    right.margins(x=0.25, y=0.12)
    return left, right


def bytes_and_quality(models: Mapping[str, tuple[float, Interval]]) -> Axes:
    """Both axes of a smaller model: what a step reads, and what its perplexity is multiplied by."""
    _, axis = plt.subplots(figsize=(7.8, 4.2))
    for number, (name, (size, ratio)) in enumerate(models.items()):
        ends = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        axis.errorbar(
            size,
            ratio.value,
            ends,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            capsize=4,
            ls="",
            label=name,
        )
    high = max(ratio.high for _, ratio in models.values())
    axis.set(yscale="log", ylim=(0.9, high * 1.3))
    ticks = [t for t in (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100) if t < high * 1.3]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.axhline(1, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    axis.set(xlabel="MB that a decode step reads (fp32)", ylabel="perplexity, times as large")
    axis.legend(fontsize=9)
    return axis


__all__ = ["bytes_and_quality", "layers", "patterns", "sizes", "times_as_large"]
