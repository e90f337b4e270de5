"""The pictures of lessons 23 and 23b: what a step consists of, rounded rows, and rows of speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from decodeloop.course.figures import BLUE, PALE


def parts_of_a_step(seconds: Mapping[str, float]) -> None:
    """One bar in three parts, in milliseconds, each by its name."""
    _, axis = plt.subplots(figsize=(9, 1.9))
    start = 0.0
    looks = ((BLUE, ""), (PALE, "//"), ("#f3d9a4", ".."))
    for (name, part), (colour, hatch) in zip(seconds.items(), looks, strict=True):
        axis.barh(
            "plain step", 1e3 * part, left=start, color=colour, edgecolor="black", hatch=hatch,
            label=f"{name}: {1e3 * part:.3g} ms",
        )  # fmt: skip
        start += 1e3 * part
    axis.set(xlabel="milliseconds")
    axis.legend(ncols=3, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    plt.show()


def errors_of_rows(largest: Sequence[float], errors: Mapping[str, Sequence[float]]) -> None:
    """The relative error of each row against its own largest weight, for ways to round."""
    _, axis = plt.subplots(figsize=(7.5, 3.6))
    for (name, values), marker in zip(errors.items(), "so", strict=True):
        percent = [100 * error for error in values]
        axis.plot(largest, percent, marker, markersize=4, alpha=0.6, linestyle="none", label=name)
    axis.set(xlabel="largest weight of the row", ylabel="error of the row, %", ylim=(0, None))
    axis.legend()
    plt.show()


def speeds_of_steps(speed: Mapping[str, float], share: Mapping[str, float], S: int) -> None:
    """Tokens per second of steps at `S` positions, each with its share of a plain read."""
    _, axis = plt.subplots(figsize=(8, 2.4))
    places = list(speed)[::-1]
    rates = [speed[place] for place in places]
    bars = axis.barh(places, rates, color=[BLUE, "#7fb2d6", PALE], edgecolor="black")
    axis.bar_label(bars, [f" {share[place]:.0%} of a plain read" for place in places], fontsize=9)
    axis.set(xlabel=f"tokens per second, at {S} positions", xlim=(0, 1.5 * max(rates)))
    plt.show()
