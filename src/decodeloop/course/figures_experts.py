"""The pictures of lesson 26: few channels of a token, many experts of a batch, a router's bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, doubling_axis

MARKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
BARS = ((GREY, ""), (ORANGE, "//"), (ORANGE, ".."), (ORANGE, "xx"), (BLUE, ""))
LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (GREY, ":", "D"))


def few_channels(curves: Mapping[str, Sequence[float]]) -> Axes:
    """Which part of all that is added, by its size, the largest channels make up.

    Args:
        curves: by name, parts from 0 to 1; the first is that of none, the last that of all.
    """
    _, axis = plt.subplots(figsize=(6.6, 3.8))
    for (name, shares), (colour, style, _) in zip(curves.items(), LOOKS, strict=False):
        parts = [100 * place / (len(shares) - 1) for place in range(len(shares))]
        axis.plot(parts, [100 * s for s in shares], color=colour, linestyle=style, label=name)
    axis.set(
        xlabel="part of the layer that is computed, %",
        ylabel="part of the sizes that are added, %",
        xlim=(0, 100),
        ylim=(0, 101),
    )
    axis.axvline(25, color=GREY, linewidth=0.8)
    axis.legend(fontsize=9, loc="lower right")
    return axis


def batches(
    tokens: Sequence[int],
    met: Mapping[str, Sequence[float]],
    milliseconds: Mapping[str, Sequence[float]],
) -> tuple[Axes, Axes]:
    """What a batch of tokens meets and how long it takes, both by its size, on logarithmic axes.

    The first curve on the left is a formula, and has none beside it on the right.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(10.4, 3.9))
    for axis, curves, looks in ((left, met, LOOKS), (right, milliseconds, LOOKS[1:])):
        for (name, values), (colour, style, marker) in zip(curves.items(), looks, strict=False):
            axis.loglog(tokens, values, color=colour, ls=style, marker=marker, ms=5, label=name)
        doubling_axis(axis, list(tokens))
        low, high = axis.get_ylim()
        marks = [mark for mark in MARKS if low <= mark <= high]
        axis.set_yticks(marks, [f"{mark:g}" for mark in marks])
        axis.set_xlabel("tokens in the batch")
        axis.legend(fontsize=9, loc="upper left")
    left.set(title="experts that are read", ylabel="experts of 30")
    right.set(title="time of the layer", ylabel="ms")
    return left, right


def knowing(bits: Mapping[str, Sequence[float]]) -> Axes:
    """What the expert of a token says of its kind, in each layer: a group of bars a layer, on a
    logarithmic axis, since chance has bars too.

    Args:
        bits: for each kind of routing, one number a layer.
    """
    _, axis = plt.subplots(figsize=(6.8, 3.8))
    wide = 0.8 / len(bits)
    for number, (name, values) in enumerate(bits.items()):
        places = [layer + (number - (len(bits) - 1) / 2) * wide for layer in range(len(values))]
        colour, hatch = BARS[number % len(BARS)]
        axis.bar(places, values, wide, color=colour, label=name, hatch=hatch, edgecolor="white")
    axis.set_yscale("log")
    layers = range(max(map(len, bits.values())))
    axis.set_xticks(list(layers), [f"layer {layer}" for layer in layers])
    axis.set_ylabel("bits about the kind of token")
    axis.legend(fontsize=9, ncol=len(bits), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return axis


__all__ = ["batches", "few_channels", "knowing"]
