"""The pictures of lessons 04, 05, 07 and 07b: parameters, times of a loop, and chosen tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from torch import Tensor

from decodeloop.course.figures import BLUE, ORANGE, PALE, doubling_axis

THIN: dict[str, Any] = {"color": "grey", "linewidth": 1, "linestyle": ":"}


def where_parameters_are(shares: Mapping[str, Sequence[float]]) -> None:
    """For models by name the percent of embedding and head, attention, and feed-forward."""
    _, axis = plt.subplots(figsize=(8, 3))
    left = [0.0] * len(shares)
    looks = ((PALE, ""), ("#5b9bc8", "//"), ("#f3d9a4", ""))
    for percent, (colour, hatch) in zip(zip(*shares.values(), strict=True), looks, strict=True):
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "black"}
        bars = axis.barh(list(shares), percent, left=left, **look)
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0}
        axis.bar_label(bars, fmt="%.0f", label_type="center", fontsize=10, bbox=box)
        left = [start + more for start, more in zip(left, percent, strict=True)]
    axis.set(xlabel="% of all parameters", xlim=(0, 100))
    axis.set_title("embedding and head  ·  attention (hatched)  ·  feed-forward")
    plt.show()


def fetched_before_readable(
    hidden: Sequence[float], lens: Sequence[float], first: int, readable: int
) -> None:
    """A probability by the layers run: with the name hidden after them, and by the lens; between
    `first` and `readable` it is fetched, and not yet readable."""
    _, axis = plt.subplots()
    axis.axvspan(first, readable, color="#dddddd")
    axis.text((first + readable) / 2, 0.25, "fetched,\nnot yet\nreadable", ha="center")
    axis.plot(hidden, marker="o", markersize=4, label="the name hidden after n layers")
    axis.plot(lens, marker="s", markersize=4, label="the lens after n layers")
    axis.set(xlabel="n (layers run)", ylabel="probability of Paris", ylim=(-0.03, 1))
    axis.legend(loc="upper left")
    plt.show()


def seconds_of_tokens(loops: Mapping[str, Sequence[float]]) -> None:
    """Milliseconds that each new token takes, a bar for each of two loops."""
    _, axis = plt.subplots(figsize=(6.5, 3.2))
    for (name, seconds), (shift, hatch) in zip(
        loops.items(), ((-0.2, ""), (0.2, "//")), strict=True
    ):
        places = [n + shift for n in range(1, len(seconds) + 1)]
        times = [1e3 * s for s in seconds]
        axis.bar(places, times, 0.38, label=name, hatch=hatch, edgecolor="white")
    longest = max(s for seconds in loops.values() for s in seconds)
    axis.set(xlabel="new token", ylabel="milliseconds", ylim=(0, 1.35e3 * longest))
    axis.set_xticks(range(1, max(map(len, loops.values())) + 1))
    axis.legend(loc="upper right", ncols=2)
    plt.show()


def pass_and_total(
    lengths: Sequence[int],
    pass_s: Sequence[float],
    a: float,
    b: float,
    counts: Sequence[int],
    measured: Sequence[float],
) -> None:
    """Seconds of a pass by its positions, beside a + b·T; and of all passes of 1, 2, … new tokens,
    beside a·n + b·positions, where `counts` are the positions."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.7))
    left.loglog(lengths, [1e3 * (a + b * T) for T in lengths], label="a + b·T")
    law = [1e3 * pass_s[-1] * T / lengths[-1] for T in lengths]
    left.loglog(lengths, law, label="∝ T", **THIN)
    left.loglog(lengths, [1e3 * s for s in pass_s], "o", color="black", label="measured")
    left.set(xlabel="positions T in a pass", ylabel="milliseconds a pass")
    doubling_axis(left, lengths)
    news = list(range(1, len(counts) + 1))
    line = [a * n + b * c for n, c in zip(news, counts, strict=True)]
    right.loglog(news, line, label="a·n + b·positions")
    law = [measured[-1] * c / counts[-1] for c in counts]
    right.loglog(news, law, label="∝ positions", **THIN)
    right.loglog(news, measured, "o", color="black", markersize=4, label="measured")
    right.set(xlabel="new tokens n", ylabel="seconds in all")
    doubling_axis(right, [n for n in news if n & (n - 1) == 0])
    for axis in (left, right):
        axis.legend()
    plt.show()


def change_of_the_old(changes: Mapping[str, Tensor]) -> None:
    """How far one more token moves the old keys and values, layer by layer, for two masks."""
    _, axis = plt.subplots()
    for (name, change), marker in zip(changes.items(), "so", strict=True):
        axis.semilogy(change.clamp(min=1e-8).tolist(), marker=marker, label=name)
    axis.set(xlabel="layer", ylabel="relative change", ylim=(3e-9, 10))
    axis.legend(loc="center right")
    plt.show()


def probability_along(person: Tensor, greedy: Tensor, skipped: int) -> None:
    """The probability of each token that came, in a person's text and in a greedy one."""
    _, axis = plt.subplots(figsize=(9, 3.4))
    dashed: dict[str, Any] = {"linestyle": "--", "linewidth": 1, "color": ORANGE}
    axis.plot(person.tolist(), marker="o", markersize=3, label="a person's text", **dashed)
    axis.plot(greedy.tolist(), marker="s", markersize=3, color=BLUE, label="greedy")
    axis.set(xlabel=f"token (after the first {skipped})", ylim=(0, 1.02))
    axis.set_ylabel("probability of the token that came")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    plt.show()


def repetition_and_entropy(loops: Mapping[str, float], entropies: Mapping[str, Tensor]) -> None:
    """The share of repeated 4-grams of each text, and the entropy of each forecast of two."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(2, 3))
    bars = left.barh(list(loops), list(loops.values()), color=PALE, edgecolor="black")
    left.bar_label(bars, [f"{share:.0%}" for share in loops.values()], padding=3)
    left.invert_yaxis()
    left.set(xlabel="share of repeated 4-grams", xlim=(0, 1))
    for (name, values), marker in zip(entropies.items(), "s^", strict=True):
        right.plot(values.tolist(), marker=marker, markersize=3, linewidth=1.2, label=name)
    right.set(xlabel="position", ylabel="entropy of the forecast, nats")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    plt.show()


def repetition_feeds_itself(means: Mapping[str, Tensor]) -> None:
    """The mean probability of a sentence's tokens by how often it has been written."""
    _, axis = plt.subplots()
    for (sentence, shares), marker in zip(means.items(), "os^", strict=True):
        axis.plot(range(1, len(shares) + 1), shares.tolist(), marker=marker, label=sentence)
    axis.set(xlabel="how often the sentence has been written", ylim=(0, 1.02))
    axis.set_ylabel("mean probability of its tokens")
    axis.legend()
    plt.show()
