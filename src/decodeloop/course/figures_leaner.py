"""The pictures of lesson 18: what a window sees, how a text is read beyond what a model knows, and
what leaving things out costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from torch import Tensor

from decodeloop.course.figures import BLUE, GREY, ORANGE, mask_map
from decodeloop.quality import three_digits


def masks(named: Mapping[str, Tensor]) -> None:
    """Masks side by side: dark = may attend."""
    figure, axes = plt.subplots(1, len(named), figsize=(3.1 * len(named), 3.2))
    for axis, (title, mask) in zip(axes, named.items(), strict=True):
        mask_map(mask, title, axis)
    for axis in axes[1:]:
        axis.set_ylabel("")
    figure.align_xlabels()
    plt.show()


def losses_over_position(
    curves: Mapping[str, Sequence[float]], width: int, trained: int | None = None
) -> None:
    """The loss of each stretch of a text, each point in the middle of its stretch of `width`."""
    _, axis = plt.subplots(figsize=(8, 3.4))
    looks = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"))
    for (name, curve), (line, mark) in zip(curves.items(), looks, strict=False):
        middles = [width * (i + 0.5) for i in range(len(curve))]
        axis.plot(middles, curve, linestyle=line, marker=mark, markersize=5, label=name)
    if trained is not None:
        axis.axvline(trained, color=GREY, linewidth=1.2, linestyle="-")
        axis.text(trained, axis.get_ylim()[1], " trained to here", color=GREY, va="top", fontsize=9)
    axis.set(xlabel="position in the text", ylabel="loss, nats a token")
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plt.show()


def speeds_kept(ratios: Mapping[str, Sequence[float]]) -> None:
    """Of each pair of channels, the share of its speed that a stretching leaves."""
    _, axis = plt.subplots(figsize=(7.5, 3.0))
    for (name, ratio), mark in zip(ratios.items(), ("o", "s", "^", "D"), strict=False):
        axis.plot(range(len(ratio)), ratio, marker=mark, markersize=4, label=name)
    axis.set(xlabel="pair of channels, fast to slow", ylabel="share of its speed", ylim=(0, 1.08))
    axis.legend(fontsize=9)
    plt.show()


def cost_of_leaving_out(rows: Mapping[str, tuple[float, float]]) -> None:
    """For each thing left out: what it saves, in %, and by how much the perplexity grows."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 0.8 + 0.34 * len(rows)), sharey=True, width_ratios=(1, 2)
    )
    places = range(len(rows))
    saved, worse = zip(*rows.values(), strict=True)
    left.barh(places, saved, color=BLUE)
    left.set(xlabel="saved of the cache, %", xlim=(0, 105))
    left.set_yticks(places, list(rows))
    left.invert_yaxis()
    right.barh(places, worse, left=0, color=ORANGE, hatch="//", edgecolor="white")
    right.set(xscale="log", xlabel="perplexity, times that of the model", xlim=(0.9, None))
    for place, value in zip(places, worse, strict=True):
        right.text(max(value, 1) * 1.08, place, three_digits(value), va="center", fontsize=9)
    right.set_xlim(0.9, 6 * max(worse))
    figure.align_xlabels()
    plt.show()


__all__ = [
    "cost_of_leaving_out",
    "losses_over_position",
    "masks",
    "speeds_kept",
]
