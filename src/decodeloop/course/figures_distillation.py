"""The pictures of lesson 21: what a teacher says, what a student makes of it, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, doubling_axis, token_labels
from decodeloop.quality import Interval

MARKERS = "os^Dv"
LOOKS = tuple(zip((BLUE, ORANGE, GREEN, GREY), ("-", "--", "-.", ":"), MARKERS, strict=False))


def targets(pieces: Sequence[str], rows: Mapping[str, Sequence[float]]) -> list[Axes]:
    """What a student is told at one position: a panel for each kind of target, a bar for each of
    some tokens, and one for what all others get."""
    _, axes = plt.subplots(
        1, len(rows), figsize=(2.5 * len(rows) + 0.8, 3.4), sharey=True, squeeze=False
    )
    labels = [*token_labels(pieces), "all others"]
    for axis, (title, some) in zip(axes[0], rows.items(), strict=True):
        shares = [*some, 1 - sum(some)]
        axis.barh(range(len(shares)), shares, color=[*[BLUE] * len(some), GREY])
        for place, share in enumerate(shares):
            axis.text(share + 0.03, place, f"{share:.1%}", va="center", fontsize=8)
        axis.set(xlim=(0, 1.32), xlabel="probability", title=title, ylim=(len(shares) - 0.4, -0.6))
        axis.set_xticks([0, 0.5, 1])
    axes[0][0].set_yticks(range(len(labels)), labels)
    return list(axes[0])


def gradient_sizes(temperatures: Sequence[float], sizes: Mapping[str, Sequence[float]]) -> Axes:
    """How large the gradient of a loss is, by temperature, both on logarithmic axes."""
    _, axis = plt.subplots(figsize=(6.4, 3.6))
    for (name, values), (colour, style, marker) in zip(sizes.items(), LOOKS, strict=False):
        axis.loglog(temperatures, values, color=colour, linestyle=style, marker=marker, label=name)
    doubling_axis(axis, [round(t) for t in temperatures])
    axis.set(xlabel="temperature", ylabel="size of the gradient")
    axis.legend(fontsize=9)
    return axis


def learning(
    steps: Sequence[int],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    teacher: float,
) -> tuple[Axes, Axes]:
    """Losses by step: on the text that is learned from, and on text that was never seen.

    Args:
        losses: for each way to learn, surprise at the learned and at the unseen text, in nats.
        teacher: the teacher's surprise at the unseen text.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7), sharey=True)
    for (name, (seen, unseen)), look in zip(losses.items(), LOOKS, strict=False):
        colour, style, marker = look
        shown = {"color": colour, "linestyle": style, "marker": marker, "label": name}
        left.plot(steps, seen, **shown)
        right.plot(steps, unseen, **shown)
    right.axhline(teacher, color="black", linewidth=1.0, linestyle=(0, (1, 1)))
    right.text(steps[0], teacher, "the teacher", fontsize=9, va="bottom")
    left.set(title="the text that is learned from", ylabel="surprise, nats a token")
    right.set(title="text that was never seen")
    for axis in (left, right):
        axis.set(xlabel="steps")
    left.legend(fontsize=9)
    return left, right


def size_and_quality(models: Mapping[str, tuple[float, Interval]]) -> Axes:
    """Both axes of a smaller model: what it has to read for a token, and its perplexity, each with
    its interval."""
    _, axis = plt.subplots(figsize=(7.4, 4.0))
    for number, (name, (size, quality)) in enumerate(models.items()):
        colour, _, marker = LOOKS[number % len(LOOKS)]
        ends = [[quality.value - quality.low], [quality.high - quality.value]]
        axis.errorbar(size, quality.value, ends, color=colour, marker=marker, capsize=4, ls="")
        axis.annotate(name, (size, quality.value), (9, -3), textcoords="offset points", fontsize=9)
    axis.set(xscale="log", yscale="log")
    sizes = [size for size, _ in models.values()]
    axis.set_xlim(min(sizes) / 1.5, max(sizes) * 2.6)
    for ax, ticks in ((axis.xaxis, sorted({round(s, 2) for s in sizes})), (axis.yaxis, None)):
        ax.set_minor_locator(NullLocator())
        if ticks is not None:
            ax.set_ticks(ticks, [f"{t:.3g}" for t in ticks])
    least = min(q.low for _, q in models.values())
    most = max(q.high for _, q in models.values())
    round_ones = (10, 15, 20, 30, 50, 70, 100, 150, 200, 300)
    marks = [tick for tick in round_ones if least / 1.1 < tick < most * 1.1]
    axis.set_yticks(marks, [str(t) for t in marks])
    axis.set(xlabel="MB that a decode step reads (fp32)", ylabel="perplexity, unseen text")
    return axis


__all__ = ["gradient_sizes", "learning", "size_and_quality", "targets"]
