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
    longest = max(run.first_token for run in runs.values())
    for ax, (title, run) in zip(axes, runs.items(), strict=True):
        times, counts = zip(*run.looks, strict=True)
        ax.fill_between(times, counts, step="post", color=PALE)
        ax.step(times, counts, where="post", color=BLUE)
        ax.axvline(run.first_token, color=ORANGE, linestyle="--")
        side = "left" if run.first_token < longest / 2 else "right"
        ax.text(run.first_token, 0.4 * most, " the newcomer's first token ", va="top", ha=side)
        ax.set_title(title, loc="left")
        ax.set(ylim=(0, most + 0.5), ylabel="texts computed")
    axes[-1].set_xlabel("seconds since four readers left")
    axes[-1].set_xlim(-0.02 * longest, 1.05 * longest)
    plt.show()


def waits_by_rate(
    measured: Mapping[float, float],
    simulated: Mapping[float, float],
    lasting: Mapping[float, float],
    target: float,
) -> None:
    """TTFT, 90th percentile, by the rate of requests as a multiple of a pace: a burst at the live
    server and at the simulated one, and a load that lasts, simulated. Where the last of them leaves
    the picture it grows for as long as the load lasts."""
    _, ax = plt.subplots()
    ax.plot(*lines(lasting), "-", color=ORANGE, label="lesson 14's clock, 300 requests")
    ax.plot(*lines(simulated), "s", color=ORANGE, label="lesson 14's clock, the same 10")
    ax.plot(*lines(measured), "o", color=BLUE, label="the live server, 10 requests")
    ax.axhline(target, color=GREY, linestyle=":")
    ax.text(0.0, target, " promised", va="bottom", color=GREY)
    top = 1.5 * max(target, *measured.values(), *simulated.values())
    ax.set(xlabel="requests per second, as a multiple of the pace", ylabel="TTFT, P90 (s)")
    ax.set(xlim=(0, None), ylim=(0, top))
    ax.legend(loc="upper center")
    plt.show()


def lines(points: Mapping[float, float]) -> tuple[Sequence[float], Sequence[float]]:
    rates = sorted(points)
    return rates, [points[rate] for rate in rates]


__all__ = ["waits_by_rate", "work_for_nobody"]
