"""The pictures of lesson 13: what a step of many texts costs, and what a static batch wastes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from decodeloop.cost import Request
from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, PALE, doubling_axis
from decodeloop.serve import StepCost, StepTime

MIDDLE = "#7fa8c9"
MARKERS = "os^Dv"
FIRST = "gives the first token"
USES = "once a step", "prompts", "padding", "answers", "ended rows"


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 10, 20, 50, 100, and nothing between."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def step_and_rate(
    batches: Sequence[int], seconds: Sequence[float], roof: Sequence[float]
) -> tuple[Axes, Axes]:
    """Decode steps of several batches: how long each takes, and the tokens per second.

    `roof`: the seconds that the machine's roofline allows.
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.7))
    doubled = list(batches)
    shown = (
        ("measured", seconds, "-", "o", BLUE),
        ("roof", roof, "--", "s", ORANGE),
        ("one after another", [seconds[0] * b / batches[0] for b in batches], ":", "", GREY),
    )
    for name, times, style, marker, colour in shown:
        look = {"linestyle": style, "marker": marker, "color": colour, "label": name}
        left.loglog(doubled, [1e3 * s for s in times], **look)
        right.loglog(doubled, [b / s for b, s in zip(batches, times, strict=True)], **look)
    for axis in (left, right):
        doubling_axis(axis, batches)
        plain_numbers(axis.yaxis)
        axis.set_xlabel("texts in the step")
        axis.legend(fontsize=9)
    left.set(ylabel="ms for a step")
    right.set(ylabel="tokens per second, all texts")
    return left, right


def fit_over_steps(measured: Sequence[StepTime], cost: StepCost) -> Axes:
    """Each measured step against what the fitted cost says of it; on the line, they agree."""
    _, axis = plt.subplots(figsize=(5.6, 4.0))
    kinds = (
        ("decode, short context", [m for m in measured if is_decode(m) and context(m) < 256]),
        ("decode, long context", [m for m in measured if is_decode(m) and context(m) >= 256]),
        ("prompts", [m for m in measured if not is_decode(m)]),
    )
    for (name, steps), marker, colour in zip(kinds, MARKERS, (BLUE, ORANGE, GREEN), strict=False):
        said = [1e3 * cost(m.tokens, m.texts, m.positions) for m in steps]
        took = [1e3 * m.seconds for m in steps]
        axis.plot(said, took, marker, color=colour, markersize=7, linestyle="", label=name)
    ends = [0.8e3 * min(m.seconds for m in measured), 1.25e3 * max(m.seconds for m in measured)]
    axis.plot(ends, ends, color="black", linewidth=1, linestyle="-", label="measured = fitted")
    axis.set(xscale="log", yscale="log", xlabel="ms by the fitted cost", ylabel="ms measured")
    plain_numbers(axis.xaxis)
    plain_numbers(axis.yaxis)
    axis.legend(fontsize=9)
    return axis


def is_decode(step: StepTime) -> bool:
    return step.tokens == step.texts


def context(step: StepTime) -> float:
    return step.positions / step.texts


def static_batch(prompts: Sequence[int], answers: Sequence[int]) -> Axes:
    """A static batch, a row for each text and a column for each position that is computed.

    A dot: here the first token of the answer comes out.
    """
    T, columns = max(prompts), max(prompts) + max(answers) - 1
    _, axis = plt.subplots(figsize=(8.4, 0.55 * len(prompts) + 1.6))
    looks = {
        "prompt": (BLUE, ""),
        "answer": (PALE, ""),
        "padding": ("white", "///"),
        "ended": ("white", "xxx"),
    }
    names: set[str] = set()
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        for column in range(columns):
            if column < T:
                kind = "prompt" if column >= T - prompt else "padding"
            else:
                kind = "answer" if column < T + answer - 1 else "ended"
            colour, hatch = looks[kind]
            axis.add_patch(
                plt.Rectangle(
                    (column, row - 0.4),
                    0.92,
                    0.8,
                    facecolor=colour,
                    edgecolor=GREY,
                    hatch=hatch,
                    linewidth=0.6,
                    label=kind if kind not in names else None,
                )
            )
            names.add(kind)
    axis.plot(
        [T - 0.54] * len(prompts),
        range(len(prompts)),
        "o",
        color="white",
        markeredgecolor="black",
        label=FIRST,
        linestyle="",
    )
    axis.axvline(T - 0.04, color="black", linewidth=1.5, linestyle="-")
    axis.set(xlim=(-0.2, columns), ylim=(len(prompts) - 0.4, -0.6))
    axis.set(xlabel="column: left of the line one step, right of it one step each", ylabel="text")
    axis.set_xticks([c + 0.46 for c in range(columns)], [str(c + 1) for c in range(columns)])
    axis.set_yticks(range(len(prompts)), [str(row + 1) for row in range(len(prompts))])
    named = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    in_order = [kind for kind in ("prompt", FIRST, "padding", "answer", "ended") if kind in named]
    axis.legend(
        [named[kind] for kind in in_order],
        in_order,
        ncols=5,
        fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
    )
    return axis


def who_waits(schedules: Mapping[str, Sequence[Request]]) -> list[Axes]:
    """The life of each request, a row each: waits, is served, and its batch goes on without it.

    The requests of one batch have one start; the batch ends with the last of them.
    """
    figure, axes = plt.subplots(
        1, len(schedules), figsize=(10, 3.8), sharex=True, sharey=True, squeeze=False
    )
    for axis, (title, requests) in zip(axes[0], schedules.items(), strict=True):
        for row, r in enumerate(requests, start=1):
            over = max(other.end for other in requests if other.start == r.start)
            first = row == 1
            bars = (
                ("waits", r.arrival, r.start, PALE, ""),
                ("its prompt is read", r.start, r.token_times[0], MIDDLE, ""),
                ("its answer is made", r.token_times[0], r.end, BLUE, ""),
                ("its place, unused", r.end, over, "white", "////"),
            )
            for name, start, end, colour, hatch in bars:
                axis.barh(
                    row,
                    end - start,
                    left=start,
                    height=0.8,
                    color=colour,
                    hatch=hatch,
                    edgecolor=GREY if hatch else colour,
                    linewidth=0.5,
                    label=name if first else None,
                )
        axis.set(xlabel="seconds", title=title, ylim=(len(requests) + 1, 0))
        axis.set_yticks([1, *range(5, len(requests) + 1, 5)])
    axes[0][0].set_ylabel("request")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return list(axes[0])


def seconds_by_use(
    batches: Iterable[tuple[Sequence[int], Sequence[int]]], cost: StepCost
) -> dict[str, float]:
    """What the seconds of static batches are paid for; each is a pair of prompts and answers, in
    tokens. All parts together are the sum of their `static_batch_time`."""
    uses = dict.fromkeys(USES, 0.0)
    for prompts, answers in batches:
        B, T = len(prompts), max(prompts)
        once, real, padding, made, ended = USES
        uses[once] += cost.step * max(answers)
        uses[real] += (cost.token + cost.position) * sum(prompts) + cost.text * B
        uses[padding] += (cost.token + cost.position) * (B * T - sum(prompts))
        for k in range(1, max(answers)):
            going_on = sum(n > k for n in answers)
            row = cost.token + cost.text + cost.position * (T + k)
            uses[made] += going_on * row
            uses[ended] += (B - going_on) * row
    return uses


def where_the_seconds_go(bars: Mapping[str, Mapping[str, float]]) -> Axes:
    """A bar for each way to serve the same requests, in parts: what for, and how many seconds."""
    _, axis = plt.subplots(figsize=(8.6, 0.75 * len(bars) + 1.5))
    longest = max(sum(parts.values()) for parts in bars.values())
    looks = ((GREY, ""), (MIDDLE, ""), ("white", "///"), (PALE, ""), ("white", "xxx"))
    for row, parts in enumerate(bars.values()):
        left = 0.0
        for (use, seconds), (colour, hatch) in zip(parts.items(), looks, strict=True):
            axis.barh(
                row,
                seconds,
                left=left,
                height=0.6,
                color=colour,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.6,
                label=None if row else use,
            )
            if seconds > longest / 20:  # room for a number
                behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if hatch else None
                ink = "white" if colour == GREY else "black"
                middle = left + seconds / 2
                axis.text(
                    middle, row, f"{seconds:.0f}", ha="center", va="center", color=ink, bbox=behind
                )
            left += seconds
    axis.set_yticks(range(len(bars)), list(bars))
    axis.set(xlabel="seconds for all requests", ylim=(len(bars) - 0.5, -0.5))
    axis.legend(ncols=5, fontsize=9, loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False)
    return axis


def gain_by_batch(batches: Sequence[int], gains: Mapping[str, Sequence[float]]) -> Axes:
    """Throughput of static batches against one text at a time, by the most texts of a batch."""
    _, axis = plt.subplots(figsize=(7.4, 4.0))
    for (name, values), marker in zip(gains.items(), MARKERS, strict=False):
        axis.loglog(batches, values, marker=marker, label=name)
    axis.axhline(1, color="black", linewidth=1, linestyle="-")
    axis.text(batches[-1], 1.03, "one at a time", fontsize=9, va="bottom", ha="right")
    doubling_axis(axis, batches)
    ticks = [0.5, 1, 2, 4, 8, 16]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.set(xlabel="most texts in a batch", ylabel="throughput, one at a time = 1")
    axis.legend(fontsize=9, loc="upper left")
    return axis


__all__ = [
    "fit_over_steps",
    "gain_by_batch",
    "seconds_by_use",
    "static_batch",
    "step_and_rate",
    "where_the_seconds_go",
    "who_waits",
]
