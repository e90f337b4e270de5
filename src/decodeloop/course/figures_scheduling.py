"""The pictures of lesson 14: who is read when, who waits, and what a budget costs and brings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, RED, doubling_axis
from decodeloop.serve import Simulation

PALE, AGAIN = "#d9d9d9", "#b35900"
READING, REREADING, WAITING, MAKING = "reads its prompt", "reads again", "waits", "makes tokens"


def tokens_of_readers(
    runs: Mapping[str, tuple[float, Sequence[Sequence[float]]]], newcomer: int
) -> None:
    """Dots where tokens came, a row for each text and a panel for each run.

    Args:
        runs: title → when the `newcomer` asked, and the token times of each text, in seconds.
        newcomer: the row of the text that came later.
    """
    figure, axes = plt.subplots(len(runs), 1, figsize=(8.5, 1.9 * len(runs)), sharex=True)
    for ax, (title, (asked, texts)) in zip(axes, runs.items(), strict=True):
        for row, times in enumerate(texts):
            late = row == newcomer
            colour, marker = (ORANGE, "s") if late else (BLUE, "o")
            ax.plot(times, [row] * len(times), marker, color=colour, markersize=5)
            if late:
                ax.barh(row, times[0] - asked, left=asked, height=0.35, color=PALE)
        ax.axvline(asked, color=GREY, linestyle=":", linewidth=1.2)
        ax.set_yticks(
            range(len(texts)), [f"reader {i + 1}" for i in range(newcomer)] + ["the page"]
        )
        ax.set(ylim=(len(texts) - 0.4, -0.6), title=title)
    axes[-1].set_xlabel("seconds")
    figure.align_ylabels()
    plt.show()


def spans_of(
    result: Simulation, rows: Collection[int]
) -> dict[tuple[int, str], list[tuple[float, float]]]:
    """What each request did, and when: (row, kind) → (begin, length) of each of its pieces."""
    spans: dict[tuple[int, str], list[tuple[float, float]]] = {}
    again: set[int] = set()  # those that read again what they had
    for moment in result.moments:
        again.update(request.number for request in moment.plan.preempted)
        for piece in moment.plan.pieces:
            row, kind = piece.request.number, MAKING
            came = moment.end in result.requests[row].token_times
            if piece.count > 1 or not came:
                kind = REREADING if row in again else READING
            if came:
                again.discard(row)
            if row in rows:
                span = moment.start, moment.end - moment.start
                spans.setdefault((row, kind), []).append(span)
    return spans


def timeline(
    result: Simulation, first: int, last: int, *, ax: Axes | None = None, title: str = ""
) -> None:
    """A row for each request from `first` to `last`: waiting pale, chunks of a prompt orange, what
    is read again after a preemption hatched, tokens blue, preemptions as crosses."""
    rows = range(first, last + 1)
    if ax is None:
        _, ax = plt.subplots(figsize=(9.5, 0.9 + 0.27 * len(rows)))
    for row in rows:
        request = result.requests[row]
        wait = request.end - request.arrival
        ax.barh(row, wait, left=request.arrival, height=0.62, color=PALE, zorder=1)
        ax.plot(request.arrival, row, "|", color="black", markersize=9, zorder=4)
    for (row, kind), spans in spans_of(result, rows).items():
        if kind == MAKING:
            ax.broken_barh(spans, (row - 0.15, 0.3), color=BLUE, linewidth=0, zorder=2)
        else:
            colour, hatch = (AGAIN, "////") if kind == REREADING else (ORANGE, None)
            place = (row - 0.31, 0.62)
            ax.broken_barh(
                spans, place, facecolor=colour, hatch=hatch, edgecolor="white", lw=0.6, zorder=3
            )
    for moment in result.moments:
        for victim in moment.plan.preempted:
            if victim.number in rows:
                ax.plot(moment.start, victim.number, "X", color=RED, mec="black", ms=8, zorder=5)
    ax.set(xlabel="simulated seconds", ylabel="request", title=title)
    ax.set_ylim(last + 0.6, first - 0.6)
    ax.set_yticks(rows)
    begin = min(result.requests[row].arrival for row in rows)
    ax.set_xlim(begin - 0.05, max(result.requests[row].end for row in rows) + 0.05)
    key: list[Artist] = [
        Patch(facecolor=PALE, label=WAITING),
        Patch(facecolor=ORANGE, edgecolor="white", label=READING),
        Patch(facecolor=BLUE, label=MAKING),
    ]
    if any(moment.plan.preempted for moment in result.moments):
        key.insert(2, Patch(facecolor=AGAIN, hatch="////", edgecolor="white", label=REREADING))
        cross = Line2D([], [], color=RED, marker="X", mec="black", linestyle="", label="sent back")
        key.append(cross)
    ax.figure.legend(handles=key, loc="outside upper center", ncols=len(key), fontsize=9)


def two_timelines(results: Mapping[str, Simulation], first: int, last: int) -> None:
    """The same requests by two policies, on one clock."""
    _, axes = plt.subplots(
        len(results), 1, figsize=(9.5, len(results) * (0.7 + 0.24 * (last - first + 1)))
    )
    begin = min(r.requests[first].arrival for r in results.values()) - 0.05
    end = max(q.end for r in results.values() for q in r.requests[first : last + 1]) + 0.05
    for ax, (title, result) in zip(axes, results.items(), strict=True):
        timeline(result, first, last, ax=ax, title=title)
        ax.set_xlim(begin, end)
        for legend in ax.figure.legends[1:]:
            legend.remove()
    plt.show()


def budget_costs_and_brings(
    budgets: Sequence[int],
    worst_ms: Sequence[float],
    bound_ms: Sequence[float],
    throughput: Sequence[float],
    goodput: Sequence[float],
) -> None:
    """Against the budget: the worst ITL beside its bound; throughput and goodput, each as a share
    of its highest."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.5))
    left.plot(budgets, bound_ms, color=GREY, linestyle="--", label="the longest step possible")
    left.plot(budgets, worst_ms, "o-", color=BLUE, label="simulated")
    left.set(xscale="log", yscale="log", ylabel="worst ITL, ms", xlabel="tokens a step, at most")
    left.set_yticks([20, 50, 100, 200, 500, 1000], ["20", "50", "100", "200", "500", "1,000"])
    left.minorticks_off()
    left.legend(fontsize=9)
    for values, marker, colour, name in (
        (throughput, "s", GREEN, "throughput"),
        (goodput, "o", ORANGE, "goodput"),
    ):
        shares = [value / max(values) for value in values]
        right.plot(budgets, shares, marker + "-", color=colour, label=name)
    right.set(xscale="log", ylabel="share of the highest", xlabel="tokens a step, at most")
    right.set_ylim(0, 1.08)
    right.legend(fontsize=9, loc="lower right")
    for ax in (left, right):
        doubling_axis(ax, budgets)
        ax.tick_params(axis="x", labelrotation=45)
    plt.show()
