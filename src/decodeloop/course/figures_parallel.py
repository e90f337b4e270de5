"""The pictures of lesson 17: how a model is split, how ranks add up, and when it pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, GREY, ORANGE

RANKS = (("#c4d7e8", ""), ("#f3d9a8", "//"), ("#b9dfd1", ".."))  # a colour and a hatch for each
WAYS = (
    ("data", "no message"),
    ("pipeline", "one message a boundary"),
    ("tensor", "two sums a layer"),
    ("expert", "tokens travel"),
)


def box(
    axis: Axes, left: float, bottom: float, width: float, height: float, rank: int, text: str = ""
) -> None:
    """A rectangle in a rank's colour."""
    colour, hatch = RANKS[rank % len(RANKS)]
    axis.add_patch(
        plt.Rectangle(
            (left, bottom),
            width,
            height,
            facecolor=colour,
            hatch=hatch,
            edgecolor=GREY,
            linewidth=1,
        )
    )
    if text:
        middle = (left + width / 2, bottom + height / 2)
        plate = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        axis.text(*middle, text, ha="center", va="center", fontsize=9, bbox=plate)


def four_ways(layers: int = 4) -> list[Axes]:
    """Data, pipeline, tensor and expert parallelism over two ranks, a row for each layer."""
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.9))
    for axis, (way, message) in zip(axes, WAYS, strict=True):
        for layer in range(layers):
            match way:
                case "data":
                    box(axis, 0, layer, 0.9, 0.7, 0)
                    box(axis, 1.1, layer, 0.9, 0.7, 1)
                case "pipeline":
                    box(axis, 0.3, layer, 1.4, 0.7, layer * 2 // layers)
                case "tensor":
                    box(axis, 0.3, layer, 0.7, 0.7, 0)
                    box(axis, 1.0, layer, 0.7, 0.7, 1)
                case "expert":
                    for expert in range(4):
                        box(axis, 0.5 * expert, layer, 0.42, 0.7, expert % 2)
        axis.set(xlim=(-0.1, 2.1), ylim=(-0.3, layers), xticks=[], title=way, xlabel=message)
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    axes[0].set_yticks([n + 0.35 for n in range(layers)], [f"layer {n}" for n in range(layers)])
    axes[0].tick_params(length=0)
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor=GREY)
        for colour, hatch in RANKS[:2]
    ]
    figure.legend(handles, ["rank 0", "rank 1"], loc="outside lower center", ncols=2)
    return list(axes)


def cut_layer(ranks: int = 3) -> Axes:
    """The matrices of a layer from left to right, each cut among the ranks, and the two sums."""
    _, axis = plt.subplots(figsize=(10, 2.8))
    matrices = (  # name, left, cut by rows
        ("query, key,\nvalue", 0.6, True),
        ("output", 3.6, False),
        ("gate, up", 7.0, True),
        ("down", 9.4, False),
    )
    for name, left, by_rows in matrices:
        for rank in range(ranks):
            size = 1.5 / ranks
            if by_rows:
                box(axis, left, 1.5 - (rank + 1) * size, 1.5, size, rank, str(rank))
            else:
                box(axis, left + rank * size, 0.0, size, 1.5, rank, str(rank))
        axis.text(left + 0.75, 1.62, name, ha="center", va="bottom", fontsize=10)
        axis.text(left + 0.75, -0.1, "by rows" if by_rows else "by columns", ha="center", va="top")
    axis.text(2.85, 0.75, "own\nheads", ha="center", va="center", fontsize=9)
    axis.text(8.95, 0.75, "silu, ·", ha="center", va="center", fontsize=9)
    for place in (5.55, 11.35):
        axis.add_patch(plt.Circle((place, 0.75), 0.28, facecolor="white", edgecolor="black"))
        axis.text(place, 0.75, "Σ", ha="center", va="center", fontsize=13)
        axis.text(place, 0.32, "all-reduce", ha="center", va="top", fontsize=9)
    arrows = ((0.1, 0.55), (2.15, 2.45), (3.25, 3.55), (5.15, 5.25), (5.85, 6.95), (8.55, 8.65))
    for start, end in (*arrows, (9.2, 9.38), (10.95, 11.05), (11.65, 12.1)):
        axis.annotate("", (end, 0.75), (start, 0.75), arrowprops={"arrowstyle": "->"})
    axis.text(0.0, 0.75, "x", ha="center", va="center", style="italic")
    axis.text(6.4, 0.9, "x + Σ", ha="center", va="bottom", style="italic")
    axis.set(xlim=(-0.2, 12.2), ylim=(-0.5, 2.2), aspect="equal")
    axis.axis("off")
    return axis


def rounds_of(N: int) -> list[list[list[str]]]:
    """Whose numbers are in each chunk of each rank, at first and after each round of the ring."""
    held = [["abcdefgh"[rank]] * N for rank in range(N)]
    tables = [[list(row) for row in held]]
    for done in range(2 * (N - 1)):
        before = tables[-1]
        for rank in range(N):
            right, number = (rank + 1) % N, (rank - done) % N
            own = held[right][number] if done < N - 1 else ""
            held[right][number] = "".join(sorted({*own, *before[rank][number]}))
        tables.append([list(row) for row in held])
    return tables


def ring_rounds(N: int = 3) -> list[Axes]:
    """After each round, whose numbers are in each chunk (columns) of each rank (rows).

    A chunk in which all are is dark.
    """
    held = rounds_of(N)
    _, axes = plt.subplots(1, len(held), figsize=(10, 2.7), squeeze=False)
    for number, (axis, table) in enumerate(zip(axes[0], held, strict=True)):
        for rank, chunks in enumerate(table):
            for place, letters in enumerate(chunks):
                done = len(letters) == N
                axis.add_patch(
                    plt.Rectangle(
                        (place, N - 1 - rank),
                        0.94,
                        0.9,
                        facecolor=BLUE if done else "#eef3f8" if len(letters) == 1 else "#c4d7e8",
                        edgecolor=GREY,
                    )
                )
                axis.text(
                    place + 0.47,
                    N - 1 - rank + 0.45,
                    letters,
                    ha="center",
                    va="center",
                    color="white" if done else "black",
                )
        axis.set(xlim=(-0.1, N + 0.05), ylim=(-0.1, N), aspect="equal")
        axis.set_title("at first" if number == 0 else f"round {number}")
        axis.set_xticks([c + 0.47 for c in range(N)], [str(c) for c in range(N)])
        axis.set_yticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("chunk")
    axes[0][0].set_yticks([N - 1 - r + 0.45 for r in range(N)], [f"rank {r}" for r in range(N)])
    return list(axes[0])


def held_memory(bars: Mapping[str, float], whole: float) -> Axes:
    """MB by what holds them, and a line at what one process holds."""
    _, axis = plt.subplots(figsize=(7.4, 0.5 * len(bars) + 1.3))
    for row, size in enumerate(bars.values()):
        hatch = "" if row else "///"
        axis.barh(row, size / 1e6, height=0.6, color="#7fa8c9", hatch=hatch, edgecolor=GREY)
        axis.text(size / 1e6, row, f" {size / 1e6:,.0f}", va="center")
    axis.axvline(whole / 1e6, color="black", linestyle="--", linewidth=1.2)
    axis.text(whole / 1e6, -0.75, "all weights ", ha="right", va="center", fontsize=9)
    axis.set_yticks(range(len(bars)), list(bars))
    axis.set(xlabel="MB", xlim=(0, 1.08 * whole / 1e6), ylim=(len(bars) - 0.5, -1.0))
    return axis


def speedup_by_latency(
    latencies: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    links: Mapping[str, float],
) -> Axes:
    """How many times as fast as on one part, by the seconds of an all-reduce; below 1 it is slower.

    `links`: where connections lie.
    """
    _, axis = plt.subplots(figsize=(8.2, 4.2))
    for (name, values), marker in zip(lines.items(), "os^D", strict=False):
        shown = [1e6 * latency for latency in latencies]
        axis.loglog(shown, values, marker=marker, markevery=8, markersize=5, label=name)
    axis.axhline(1, color="black", linewidth=1, linestyle="-")
    for name, latency in links.items():
        axis.axvline(1e6 * latency, color=GREY, linewidth=0.9, linestyle=":")
        axis.text(1e6 * latency, 0.12, f" {name}", rotation=90, va="bottom", fontsize=9)
    axis.set(xlabel="µs of an all-reduce", ylabel="times as fast as on one", ylim=(0.05, 10))
    axis.set_xticks([1, 10, 100, 1_000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    axis.set_yticks([0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8], ["1/20", "1/10", "1/4", "1/2", *"1248"])
    axis.minorticks_off()
    axis.legend(fontsize=9, loc="lower left")
    return axis


def where_a_step_goes(rows: Mapping[str, tuple[float, float]]) -> Axes:
    """Milliseconds of a step, computing and waiting in all-reduces."""
    _, axis = plt.subplots(figsize=(7.4, 0.5 * len(rows) + 1.4))
    for row, (computing, waiting) in enumerate(rows.values()):
        first = "computing" if row == 0 else None
        axis.barh(row, 1e3 * computing, height=0.6, color=BLUE, label=first)
        axis.barh(
            row,
            1e3 * waiting,
            left=1e3 * computing,
            height=0.6,
            color=ORANGE,
            hatch="//",
            edgecolor="white",
            label="in all-reduces" if row == 0 else None,
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(xlabel="ms a step", ylim=(len(rows) - 0.5, -0.5))
    axis.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return axis


__all__ = [
    "cut_layer",
    "four_ways",
    "held_memory",
    "ring_rounds",
    "speedup_by_latency",
    "where_a_step_goes",
]
