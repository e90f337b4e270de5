"""The pictures of lesson 19: who shares a step, what it costs, and where the outliers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from torch import Tensor

from decodeloop.course.figures import BLUE, GREEN, GREY, MUCH, ORANGE, RED
from decodeloop.quality import Interval

LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (GREY, "v"), ("black", "P"))
RATIOS = (1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20)


def grids(numbers: Tensor, steps: Mapping[str, float]) -> list[Axes]:
    """Some numbers among the whole multiples of a step: a panel for each step that they might have.
    A dot is a number, a cross what it is rounded to."""
    _, axes = plt.subplots(1, len(steps), figsize=(3.3 * len(steps), 3.4), sharey=True)
    values = numbers.float().cpu()
    top = float(values.abs().max())
    reach = max(1.2 * top, *(1.1 * step * round(top / step) for step in steps.values()))
    for axis, (name, step) in zip(axes, steps.items(), strict=True):
        for k in range(-int(top / step) - 1, int(top / step) + 2):
            axis.axhline(k * step, color="#bbbbbb", linewidth=0.8, linestyle="-", zorder=0)
        near = (values / step).round() * step
        places = range(len(values))
        axis.plot(places, values, "o", color=BLUE, markersize=4, label="weight")
        axis.plot(places, near, "x", color=RED, markersize=6, label="rounded")
        axis.set(title=f"{name}: step {step:.2g}", xlabel="column", ylim=(-reach, reach))
    axes[0].set_ylabel("weight")
    axes[0].legend(fontsize=8, loc="lower left")
    return list(axes)


def bits_and_quality(results: Mapping[str, tuple[float, Interval]]) -> Axes:
    """Both axes of fewer bits: how many a weight takes, and the perplexity against the original's,
    each with its interval."""
    _, axis = plt.subplots(figsize=(7.6, 4.0))
    for number, (name, (bits, ratio)) in enumerate(results.items()):
        colour, marker = LOOKS[number % len(LOOKS)]
        ends = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        axis.errorbar(bits, ratio.value, ends, color=colour, marker=marker, capsize=4, ls="")
        text = axis.annotate(
            name, (bits, ratio.value), (9, -3), textcoords="offset points", fontsize=9
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # over the line at 1
    most = max(ratio.high for _, ratio in results.values())
    least = min(1.0, *(ratio.low for _, ratio in results.values()))
    axis.axhline(1, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    axis.set(yscale="log", ylim=(0.97 * least, 1.15 * most), xlim=(2.5, 10.5))
    ratio_axis(axis.yaxis, most)
    axis.set(
        xlabel="bits a weight, with its share of the step", ylabel="perplexity, × the original's"
    )
    return axis


def ratios(results: Mapping[str, Interval], xlabel: str = "perplexity, × the original's") -> Axes:
    """A ratio of perplexities in each row, with its interval, on a logarithmic axis."""
    _, axis = plt.subplots(figsize=(7.2, 0.6 + 0.45 * len(results)))
    for row, ratio in enumerate(results.values()):
        ends = [[ratio.value - ratio.low], [ratio.high - ratio.value]]
        axis.errorbar(ratio.value, row, xerr=ends, color=BLUE, marker="o", capsize=4, ls="")
        axis.text(ratio.high * 1.04, row, f"{ratio.value:.3g}", va="center", fontsize=9)
    most = max(ratio.high for ratio in results.values())
    axis.axvline(1, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    axis.set(xscale="log", xlim=(0.95, 1.35 * most), ylim=(len(results) - 0.5, -0.5), xlabel=xlabel)
    axis.set_yticks(range(len(results)), list(results))
    ratio_axis(axis.xaxis, most)
    return axis


def ratio_axis(axis: object, most: float) -> None:
    """Round ratios as the ticks of a logarithmic axis."""
    ticks = [tick for tick in RATIOS if tick < 1.3 * most]
    ticks = [
        t for n, t in enumerate(ticks) if n == 0 or (t > 1.1 and most < 4) or t in (2, 5, 10, 20)
    ]
    axis.set_minor_locator(NullLocator())  # type: ignore[attr-defined]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])  # type: ignore[attr-defined]


def channels(found: Mapping[str, Tensor]) -> Axes:
    """The largest magnitude of each channel, from the largest channel to the smallest, both axes
    logarithmic; a line for each of several places."""
    _, axis = plt.subplots(figsize=(7.0, 3.6))
    styles = ("-", "--", "-.", ":")
    for (name, largest), (colour, _), style in zip(found.items(), LOOKS, styles, strict=False):
        values = largest.float().cpu().sort(descending=True).values
        axis.loglog(range(1, len(values) + 1), values, color=colour, linestyle=style, label=name)
    axis.set(xlabel="channel, from the largest down", ylabel="largest magnitude")
    axis.legend(fontsize=9)
    return axis


def keys_and_values(keys: Tensor, values: Tensor) -> tuple[Axes, Axes]:
    """The magnitudes of a head's keys and of its values: a row for each position, a column for each
    channel, dark = large; each on a scale of its own.

    Shapes: both (T, D).
    """
    _, axes = plt.subplots(1, 2, figsize=(9.4, 3.4))
    for axis, name, table in zip(axes, ("keys", "values"), (keys, values), strict=True):
        image = axis.imshow(table.abs().float().cpu().numpy(), cmap=MUCH, vmin=0, aspect="auto")
        axis.set(title=name, xlabel="channel", ylabel="position")
        axis.figure.colorbar(image, ax=axis, shrink=0.8, label="magnitude")
    return axes[0], axes[1]


def calibrated(
    positions: Sequence[int], errors: Mapping[str, Sequence[float]], nearest: float
) -> Axes:
    """The error of a product's output by the length of the calibration text, in percent.

    Args:
        errors: on each kind of text, one for each length.
        nearest: that of rounding to the nearest, which needs no text, on text never seen.
    """
    _, axis = plt.subplots(figsize=(6.8, 3.4))
    styles = ("-", "--")
    for (name, some), (colour, marker), style in zip(errors.items(), LOOKS, styles, strict=False):
        percent = [100 * error for error in some]
        axis.semilogx(positions, percent, color=colour, marker=marker, ls=style, label=name)
    axis.axhline(100 * nearest, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    axis.text(positions[0], 100 * nearest, "rounded to the nearest", fontsize=9, va="bottom")
    axis.set_xticks(positions, [f"{n:,}" for n in positions])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel="positions of the calibration text", ylabel="error of the output, %", ylim=0)
    axis.legend(fontsize=9)
    return axis


__all__ = ["bits_and_quality", "calibrated", "channels", "grids", "keys_and_values", "ratios"]
