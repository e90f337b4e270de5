"""The pictures of lesson 25: what a mask removes, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from decodeloop.course.figures import BLUE, GREY, ORANGE, token_labels


def what_is_removed(
    pieces: Sequence[str], probabilities: Sequence[float], allowed: Sequence[bool]
) -> Axes:
    """The probability of some tokens: those that are allowed, and those that a mask removes,
    hatched."""
    _, axis = plt.subplots(figsize=(7.0, 0.34 * len(pieces) + 1.3))
    bars = axis.barh(
        range(len(pieces)),
        probabilities,
        color=[BLUE if one else GREY for one in allowed],
        edgecolor="white",
    )
    for bar, one in zip(bars, allowed, strict=True):
        bar.set_hatch("" if one else "///")
    for place, share in enumerate(probabilities):
        axis.text(share, place, f" {share:.2g}", va="center", fontsize=9)
    axis.set_yticks(range(len(pieces)), [f"“{label}”" for label in token_labels(pieces)])
    axis.invert_yaxis()
    axis.set(xlabel="the model's own probability", ylabel="next token")
    axis.set_xlim(0, 1.3 * max(probabilities))
    kinds = [Patch(facecolor=BLUE), Patch(facecolor=GREY, hatch="///", edgecolor="white")]
    axis.legend(kinds, ["allowed", "removed"], loc="lower right", fontsize=9)
    return axis


def surprise_at_each(pieces: Sequence[str], nats: Sequence[float]) -> Axes:
    """How surprised the model itself is by each token of a text that it was made to write."""
    _, axis = plt.subplots(figsize=(9.2, 3.0))
    colours = [ORANGE if one > 2 else BLUE for one in nats]
    axis.bar(range(len(nats)), nats, color=colours)
    labels = token_labels(pieces)
    axis.set_xticks(range(len(nats)), labels, fontsize=9)
    for place, one in enumerate(nats):
        if one > 2:
            axis.text(place, one, f"{labels[place]}  {one:.1f}", ha="center", va="bottom")
    axis.set(ylabel="surprise, nats", xlim=(-0.6, len(nats) - 0.4), ylim=(0, 1.15 * max(nats)))
    return axis


__all__ = ["surprise_at_each", "what_is_removed"]
