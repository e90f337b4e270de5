"""The pictures of lesson 24: work for those who have left, and waits by rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from decodeloop.course.figures import BLUE, GREY, ORANGE, PALE
from decodeloop.course.live import HungUp


def work_for_nobody(runs: Mapping[str, HungUp]) -> None:
    """How many texts are computed after all readers have left, until the newcomer's first token; a
    panel for each run, on one scale."""
    _, axes = plt.subplots(len(runs), 1, figsize=(8.0, 1.7 * len(runs)), sharex=True, sharey=True)
    most = max(count for run in runs.values() for _, count in run.looks)
    for ax, (title, run) in zip(axes, runs.items(), strict=True):
        times, counts = zip(*run.looks, strict=True)
        ax.fill_between(times, counts, step="post", color=PALE)
        ax.step(times, counts, where="post", color=BLUE)
        ax.axvline(run.first_token, color=ORANGE, linestyle="--")
        ax.text(run.first_token, most, " the newcomer's first token", va="top")
        ax.set_title(title, loc="left")
        ax.set(ylim=(0, most + 0.5), ylabel="texts")
    axes[-1].set_xlabel("seconds since four readers left")
    longest = max(run.first_token for run in runs.values())
    axes[-1].set_xlim(-0.02 * longest, 1.5 * longest)
    plt.show()


def waits_by_rate(
    measured: Mapping[float, float],
    simulated: Mapping[float, float],
    target: float,
    capacity: float,
) -> None:
    """TTFT, 90th percentile, by requests per second: the live server and the simulated one."""
    _, ax = plt.subplots()
    ax.plot(*lines(measured), "o-", color=BLUE, label="the live server")
    ax.plot(*lines(simulated), "s--", color=ORANGE, label="lesson 14's clock")
    ax.axhline(target, color=GREY, linestyle=":")
    ax.text(max(measured), target, "promised ", va="bottom", ha="right", color=GREY)
    if capacity:
        ax.axvline(capacity, color=GREY, linewidth=1)
        at_the_end = capacity == max(measured)
        where = "right" if at_the_end else "left"
        ax.text(capacity, 0.02 * target, " capacity ", va="bottom", ha=where, color=GREY)
    ax.set(xlabel="requests per second", ylabel="TTFT, P90 (s)", ylim=(0, None))
    ax.legend(loc="lower right")
    plt.show()


def lines(points: Mapping[float, float]) -> tuple[Sequence[float], Sequence[float]]:
    rates = sorted(points)
    return rates, [points[rate] for rate in rates]


__all__ = ["waits_by_rate", "work_for_nobody"]
