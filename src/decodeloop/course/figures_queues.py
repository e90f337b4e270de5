"""The pictures of lessons 11 and 11b: who waits, what a few samples know, and how load is felt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt

from decodeloop.cost import Request, percentile, percentile_band
from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, PALE
from decodeloop.measure import Shared, mean_service


def time_line(requests: Sequence[Request]) -> None:
    """A row for each request: pale while it waits, dark while it is served, a dot where its first
    token is."""
    _, axis = plt.subplots(figsize=(8.5, 4.2))
    for row, request in enumerate(requests, start=1):
        names = ("waits", "is served", "first token") if row == 1 else (None, None, None)
        axis.barh(row, request.waited, left=request.arrival, color=PALE, label=names[0])
        axis.barh(row, request.service, left=request.start, color=BLUE, label=names[1])
        axis.plot(request.token_times[0], row, "o", color="black", markersize=4, label=names[2])
    axis.set(xlabel="seconds", ylabel="request", ylim=(len(requests) + 1, 0), xlim=(0, None))
    axis.set_yticks(range(1, len(requests) + 1, 3))
    axis.legend(loc="upper right")
    plt.show()


def bands_of_percentiles(samples: Sequence[float], counts: Sequence[int], top: float) -> None:
    """P50, P90 and P99 of the first so many samples, of exponential services of 1 s, each in its
    95 % band; an arrow at `top` where a band has no upper end."""
    _, axis = plt.subplots(figsize=(8, 3.8))
    looks = ((50, "o", BLUE, 0.9), (90, "s", ORANGE, 1.0), (99, "D", GREEN, 1.1))
    for p, marker, colour, shift in looks:
        axis.axhline(-math.log(1 - p / 100), color=colour, linewidth=1, linestyle=":")
        for n in counts:
            low, high = percentile_band(samples[:n], p)
            axis.plot([n * shift] * 2, [low, min(high, top)], color=colour, linestyle="-")
            if high == math.inf:
                axis.plot(n * shift, top, marker=6, color=colour, markersize=9)
            name = f"P{p}" if n == counts[0] else None
            value = percentile(samples[:n], p)
            axis.plot(n * shift, value, marker, color=colour, markeredgecolor="black", label=name)
    axis.set(xscale="log", xlabel="samples", ylabel="seconds", ylim=(0, 1.07 * top))
    axis.set_xticks(list(counts), [f"{n:,}" for n in counts])
    axis.minorticks_off()
    axis.legend(loc="upper right", framealpha=1)
    plt.show()


def means_of_runs(means: Mapping[int, Sequence[float]], formula: float) -> None:
    """Boxes of the mean latency of runs, by their number of requests, beside a formula."""
    _, axis = plt.subplots(figsize=(7, 3.6))
    line = {"color": "black", "linestyle": "-"}
    axis.boxplot(list(means.values()), whis=(5, 95), showfliers=False, medianprops=line)
    axis.axhline(formula, color="grey", linewidth=1.5, linestyle=":", label="the formula")
    axis.set_xticks(range(1, len(means) + 1), [f"{n:,}" for n in means])
    axis.set(xlabel="requests in a run", ylabel="mean latency of the run, services")
    axis.set_ylim(bottom=0)
    axis.legend(loc="lower right")
    plt.show()


def up_to_saturation(
    loads: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    runs: Sequence[Shared],
) -> None:
    """Latency in services: curves over the load, with the medians of runs below saturation in
    their bands; and of each run, request by request."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9))
    for (name, values), style, colour in zip(
        curves.items(), ("--", ":", "-"), (ORANGE, GREY, BLUE), strict=True
    ):
        left.plot(loads, values, style, color=colour, label=name)
    label: str | None = "P50, measured, 95 % band"
    for run, marker in zip(runs, "os^", strict=False):
        service = mean_service(run.busy)
        if run.share < 1:
            band = [end / service for end in percentile_band(run.busy.end_to_end, 50)]
            left.plot([run.had] * 2, band, color="black", linestyle="-", linewidth=1.5)
            median = percentile(run.busy.end_to_end, 50) / service
            left.plot(run.had, median, "o", color="black", label=label)
            label = None
        felt = [seconds / service for seconds in run.busy.end_to_end]
        name = f"{run.share:.0%} asked for, {run.had:.0%} had"
        right.plot(range(1, len(felt) + 1), felt, marker=marker, markersize=4, label=name)
    left.set(xlabel="load ρ", ylabel="latency, services", ylim=(0, 20), xlim=(0, None))
    right.set(xlabel="number of the request", ylabel="latency, services")
    right.set_xticks(range(1, max(len(run.busy.requests) for run in runs) + 1, 3))
    right.set_ylim(0, 1.35 * right.get_ylim()[1])
    for axis in (left, right):
        axis.legend(fontsize=9, loc="upper left")
    plt.show()


def load_at_target(
    machines: Sequence[int], reached: Mapping[str, Sequence[float]], split: float, target: float
) -> None:
    """The load at which P90 still keeps a target, by the number of machines with one queue; and
    where requests are sent to a machine at random."""
    _, axis = plt.subplots(figsize=(7.5, 3.8))
    for (name, loads), marker in zip(reached.items(), "os^", strict=True):
        axis.plot(machines, loads, marker=marker, label=f"shared queue, {name}")
    label = "split at random, ours"
    axis.axhline(split, color="grey", linewidth=1.5, linestyle=":", label=label)
    axis.set(xscale="log", xlabel="machines", ylabel=f"load at P90 ≤ {target} s", ylim=(0, 1.05))
    axis.set_xticks(list(machines), [str(k) for k in machines])
    axis.minorticks_off()
    axis.legend(fontsize=9, loc="lower right")
    plt.show()


def throughput_and_goodput(
    offered: Sequence[float], through: Sequence[float], good: Sequence[float]
) -> None:
    """Answers per service time, all and those in time, by the load that is offered."""
    _, axis = plt.subplots(figsize=(7, 3.4))
    axis.plot(offered, through, marker="o", label="throughput")
    axis.plot(offered, good, marker="s", label="goodput, 4 services")
    axis.set(xlabel="offered load", ylabel="answers per service time", ylim=(0, 1.1))
    axis.legend()
    plt.show()


def latency_by_load(means: Mapping[str, Callable[[float], float]]) -> None:
    """Mean latencies in services, as functions of the load."""
    _, axis = plt.subplots(figsize=(7, 3.4))
    loads = [0.01 * n for n in range(1, 98)]
    for name, mean in means.items():
        axis.plot(loads, [mean(load) for load in loads], label=name)
    axis.axhline(1, color=GREY, linewidth=1, linestyle=":")
    axis.set(xlabel="load ρ", ylabel="mean latency, services", xlim=(0, 1), ylim=(0, 20))
    axis.legend(loc="upper left")
    plt.show()
