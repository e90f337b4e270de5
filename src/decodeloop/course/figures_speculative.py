"""The pictures of lesson 22: who said which token, what a step costs, and what stays of a guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, token_labels

PER_LINE = 62  # characters
STYLES = ("-", "--", "-.", ":")


def who_said(pieces: Sequence[str], drafted: Sequence[bool]) -> Axes:
    """A text, token by token: in a filled box what was drafted and stayed, in an empty one what the
    model said itself."""
    labels = token_labels(pieces)
    rows: list[list[int]] = [[]]
    length = 0
    for number, label in enumerate(labels):
        if length + len(label) + 1 > PER_LINE:
            rows.append([])
            length = 0
        rows[-1].append(number)
        length += len(label) + 1
    _, axis = plt.subplots(figsize=(9.0, 0.34 * len(rows) + 0.3))
    for line, numbers in enumerate(rows):
        x = 0.0
        for number in numbers:
            width = len(labels[number]) + 0.6
            filled = drafted[number]
            axis.add_patch(
                plt.Rectangle(
                    (x, line + 0.1), width, 0.8,
                    facecolor=BLUE if filled else "none",
                    edgecolor=BLUE if filled else GREY,
                    alpha=0.35 if filled else 1.0,
                )
            )  # fmt: skip
            axis.text(
                x + width / 2, line + 0.5, labels[number],
                ha="center", va="center", family="monospace", fontsize=8,
            )  # fmt: skip
            x += width + 0.4
    axis.set(xlim=(-0.5, PER_LINE + 1), ylim=(len(rows) + 0.1, -0.1))
    axis.axis("off")
    return axis


def step_costs(costs: Sequence[float], predicted: Sequence[float]) -> Axes:
    """What a step of 1, 2, … tokens costs, in steps of one: measured, by the bytes that it reads,
    and one token after the other."""
    _, axis = plt.subplots(figsize=(6.4, 3.6))
    tokens = range(1, len(costs) + 1)
    axis.plot(tokens, tokens, color=GREY, linestyle=":", label="one after the other")
    axis.plot(tokens, costs, color=BLUE, marker="o", label="in one step, measured")
    axis.plot(tokens, predicted, color=ORANGE, linestyle="--", label="in one step, by its bytes")
    axis.set(xlabel="tokens", ylabel="steps of one token", xticks=list(tokens))
    axis.set(ylim=(0, max(*costs, len(costs)) + 0.5))
    axis.legend(fontsize=9)
    return axis


def speed_ups(
    alphas: Sequence[float],
    ks: Sequence[int],
    panels: dict[str, Callable[[float, int], float]],
) -> list[Axes]:
    """How many times as fast k drafted tokens make it, a line for each α and a panel for each kind
    of draft; the best k of each line is filled."""
    _, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.6), sharey=True)
    for axis, (title, speed_up) in zip(axes, panels.items(), strict=True):
        axis.axhline(1, color="black", linewidth=0.8)
        for alpha, colour, style in zip(alphas, (BLUE, GREEN, ORANGE, GREY), STYLES, strict=False):
            values = [speed_up(alpha, k) for k in ks]
            axis.plot(ks, values, color=colour, linestyle=style, marker="o", markersize=5,
                      markerfacecolor="white", label=f"α = {alpha:g}")  # fmt: skip
            best = max(range(len(ks)), key=values.__getitem__)
            axis.plot(ks[best], values[best], color=colour, marker="o", markersize=8)
        axis.set(title=title, xlabel="k, drafted tokens a step", xticks=list(ks))
    axes[0].set_ylabel("times as fast as without")
    axes[0].legend(fontsize=9)
    return list(axes)


def what_stays(labels: Sequence[str], p: Sequence[float], q: Sequence[float]) -> list[Axes]:
    """Two forecasts of one token. Left, side by side; right, what comes out: the drafted ones that
    stay, the smaller of the two, and on top what is drawn where one was refused."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.6), sharey=True)
    places = range(len(labels))
    left.bar([x - 0.2 for x in places], p, 0.4, color=BLUE, label="the model, p")
    left.bar([x + 0.2 for x in places], q, 0.4, color="white", edgecolor=ORANGE, hatch="//",
             label="the draft, q")  # fmt: skip
    both = [min(a, b) for a, b in zip(p, q, strict=True)]
    more = [a - b for a, b in zip(p, both, strict=True)]
    right.bar(places, both, 0.6, color="white", edgecolor=ORANGE, hatch="//",
              label="drafted, and it stays")  # fmt: skip
    right.bar(places, more, 0.6, bottom=both, color=GREEN, label="in the place of a refused one")
    left.set(title="what each would say", ylabel="probability")
    right.set(title="what comes")
    for axis in (left, right):
        axis.set_xticks(list(places), labels, rotation=30, ha="right")
        axis.legend(fontsize=9)
    return [left, right]
