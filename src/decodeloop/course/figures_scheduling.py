"""The pictures of lesson 14: who is read when, who waits, and what a budget costs and brings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, RED, doubling_axis
from decodeloop.serve import Simulation

PALE, AGAIN = "#d9d9d9", "#8a4500"
READING, REREADING, WAITING, MAKING = "reads its prompt", "reads again", "waits", "makes tokens"
LOOKS: dict[str, dict[str, Any]] = {
    READING: {"facecolor": ORANGE, "edgecolor": "white", "linewidth": 0.6},
    REREADING: {"facecolor": "white", "edgecolor": AGAIN, "hatch": "/////", "linewidth": 0.6},
    MAKING: {"facecolor": BLUE, "linewidth": 0},
}


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
                ax.text(asked, row, " waits", va="center", fontsize=9)
        ax.axvline(asked, color=GREY, linestyle=":", linewidth=1.2)
        ax.text(asked, -0.62, " the page comes", va="bottom", fontsize=9)
        ax.set_yticks(
            range(len(texts)), [f"reader {i + 1}" for i in range(newcomer)] + ["the page"]
        )
        ax.set(ylim=(len(texts) - 0.4, -0.6))
        ax.set_title(title, loc="right")
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


def pauses(
    begin: float, end: float, spans: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """What the spans (begin, length) leave of the time from `begin` to `end`, in the same form."""
    left, at = [], begin
    for start, length in sorted([*spans, (end, 0.0)]):
        if start > at + 1e-9:
            left.append((at, start - at))
        at = max(at, start + length)
    return left


def timeline(
    result: Simulation,
    first: int,
    last: int,
    others: Sequence[int] = (),
    *,
    ax: Axes | None = None,
    title: str = "",
) -> None:
    """A row for each request from `first` to `last`, and for the `others` below: waiting pale,
    chunks of a prompt orange, what is read again after a preemption hatched, tokens blue,
    preemptions as crosses."""
    rows = [*range(first, last + 1), *others]
    if ax is None:
        _, ax = plt.subplots(figsize=(9.5, 0.9 + 0.27 * len(rows)))
    height = {row: at for at, row in enumerate(rows)}
    spans = spans_of(result, rows)
    for row, at in height.items():
        request = result.requests[row]
        busy = [span for (of, _), some in spans.items() if of == row for span in some]
        waits = pauses(request.arrival, request.end, busy)
        ax.broken_barh(waits, (at - 0.31, 0.62), color=PALE, linewidth=0, zorder=1)
        ax.plot(request.arrival, at, "|", color="black", markersize=9, zorder=4)
    for (row, kind), some in spans.items():
        half = 0.15 if kind == MAKING else 0.31
        ax.broken_barh(some, (height[row] - half, 2 * half), zorder=2, **LOOKS[kind])
    for moment in result.moments:
        for victim in moment.plan.preempted:
            if victim.number in rows:
                ax.plot(
                    moment.start, height[victim.number], "X", color=RED, mec="black", ms=8, zorder=5
                )
    ax.set(xlabel="simulated seconds", ylabel="request", title=title)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [str(row) for row in rows])
    begin = min(result.requests[row].arrival for row in rows)
    ax.set_xlim(begin - 0.05, max(result.requests[row].end for row in rows) + 0.05)
    key: list[Artist] = [
        Line2D([], [], color="black", marker="|", markersize=9, linestyle="", label="comes"),
        Patch(facecolor=PALE, label=WAITING),
        Patch(**LOOKS[READING], label=READING),
        Patch(**LOOKS[MAKING], label=MAKING),
    ]
    if any(moment.plan.preempted for moment in result.moments):
        key.insert(3, Patch(**LOOKS[REREADING], label=REREADING))
        cross = Line2D([], [], color=RED, marker="X", mec="black", linestyle="", label="sent back")
        key.append(cross)
    ax.figure.legend(handles=key, loc="outside upper center", ncols=len(key), fontsize=9)


def two_timelines(
    results: Mapping[str, Simulation], first: int, last: int, others: Sequence[int] = ()
) -> None:
    """The same requests by two policies, on one clock."""
    rows = [*range(first, last + 1), *others]
    _, axes = plt.subplots(len(results), 1, figsize=(9.5, len(results) * (0.7 + 0.24 * len(rows))))
    begin = min(r.requests[first].arrival for r in results.values()) - 0.05
    end = max(r.requests[row].end for r in results.values() for row in rows) + 0.05
    for ax, (title, result) in zip(axes, results.items(), strict=True):
        timeline(result, first, last, others, ax=ax, title=title)
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
    left.plot(budgets, bound_ms, color=GREY, linestyle="--", label="by the formula")
    left.plot(budgets, worst_ms, "o-", color=BLUE, label="simulated")
    left.set(xscale="log", yscale="log", ylabel="worst ITL, ms", xlabel="tokens a step, at most")
    left.set_yticks([20, 50, 100, 150], ["20", "50", "100", "150"])
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
