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
    """The matrices of a layer from left to right, each cut among the ranks, the two sums, and the
    residual stream that goes past them."""
    _, axis = plt.subplots(figsize=(10, 2.8))
    matrices = (  # name, left, cut by rows
        ("query, key,\nvalue", 1.5, True),
        ("output", 4.6, False),
        ("gate, up", 9.2, True),
        ("down", 12.9, False),
    )
    for name, left, by_rows in matrices:
        for rank in range(ranks):
            size = 1.5 / ranks
            if by_rows:
                box(axis, left, 1.5 - (rank + 1) * size, 1.5, size, rank, str(rank))
            else:
                box(axis, left + rank * size, 0.0, size, 1.5, rank, str(rank))
        axis.text(left + 0.75, 1.62, name, ha="center", va="bottom", fontsize=9)
        axis.text(left + 0.75, -0.1, "by rows" if by_rows else "by columns", ha="center", va="top")
    for place, text in (
        (0.85, "norm"),
        (3.8, "own\nheads"),
        (8.55, "norm"),
        (11.8, "silu(gate)\n· up"),
    ):
        axis.text(place, 0.75, text, ha="center", va="center", fontsize=9)
    for place, sign in ((6.75, "Σ"), (7.65, "+"), (15.05, "Σ"), (15.95, "+")):
        axis.add_patch(plt.Circle((place, 0.75), 0.28, facecolor="white", edgecolor="black"))
        axis.text(place, 0.75, sign, ha="center", va="center", fontsize=12)
        if sign == "Σ":
            axis.text(place - 0.45, 0.38, "all-reduce", ha="left", va="top", fontsize=9)
    arrows = [(0.1, 0.4), (1.25, 1.5), (3.05, 3.35), (4.25, 4.6), (6.15, 6.47), (7.03, 7.37)]
    arrows += [(7.93, 8.15), (8.95, 9.2), (10.75, 11.1), (12.55, 12.9), (14.45, 14.77)]
    for start, end in (*arrows, (15.33, 15.67), (16.23, 16.6)):
        axis.annotate("", (end, 0.75), (start, 0.75), arrowprops={"arrowstyle": "->"})
    for start, end in ((0.0, 7.65), (8.03, 15.95)):  # past them
        axis.plot([start, start, end], [1.0, 2.6, 2.6], color="black", linewidth=1)
        axis.annotate("", (end, 1.03), (end, 2.6), arrowprops={"arrowstyle": "->", "shrinkA": 0})
    axis.plot([8.03, 8.03], [0.75, 1.0], color="black", linewidth=1)
    axis.text(0.0, 0.75, "x", ha="center", va="center", style="italic")
    axis.text(
        4.0, 2.68, "residual stream, whole on every rank", ha="center", va="bottom", fontsize=9
    )
    axis.set(xlim=(-0.2, 16.7), ylim=(-0.6, 3.2), aspect="equal")
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

    A chunk in which all are is dark; the arrows show what was sent in the round.
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
        for rank in range(N) if number else ():
            right = (rank - number + 1) % N + 0.8
            tail, head = (N - 1 - r + 0.45 for r in (rank, (rank + 1) % N))
            style = {"arrowstyle": "-|>", "color": ORANGE, "linewidth": 1.6, "shrinkA": 0}
            axis.annotate("", (right, head), (right, tail), arrowprops=style)
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
    """How many times as fast as on one accelerator, by the seconds of an all-reduce; 1 is no gain.

    `links`: where connections lie.
    """
    _, axis = plt.subplots(figsize=(8.2, 4.2))
    for (name, values), marker in zip(lines.items(), "os^D", strict=False):
        shown = [1e6 * latency for latency in latencies]
        axis.loglog(shown, values, marker=marker, markevery=8, markersize=5, label=name)
    axis.axhline(1, color="black", linewidth=1, linestyle="-")
    for name, latency in links.items():
        axis.axvline(1e6 * latency, color=GREY, linewidth=0.9, linestyle=":")
        plate = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        place = (1e6 * latency, 0.2)
        axis.text(*place, name, rotation=90, ha="center", va="center", fontsize=9, bbox=plate)
    axis.set(xlabel="µs of an all-reduce", ylabel="times as fast as on one", ylim=(0.05, 10))
    axis.set_xticks([1, 10, 100, 1_000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    below = ["1/16", "1/8", "1/4", "1/2"]
    axis.set_yticks([2**e for e in range(-4, 4)], [*below, *"1248"])
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
            label="in all-reduces, waiting for the slowest rank included" if row == 0 else None,
        )
        axis.text(
            1e3 * (computing + waiting), row, f" {1e3 * (computing + waiting):,.0f}", va="center"
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.margins(x=0.1)
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
