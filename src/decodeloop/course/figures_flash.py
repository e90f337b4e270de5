"""The pictures of lesson 16: tiles, a softmax in one pass, and what moves between two memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from decodeloop.cost.traffic import FastMemory, Move
from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, RED, doubling_axis

PALE = "#c4d7e8"
LOOKS = (("-", "s"), ("--", "o"), ("-.", "^"), (":", "D"))


def bytes_by_length(lengths: Sequence[int], held: Mapping[str, Sequence[float]]) -> None:
    """The most MB that each way of attending holds, by the tokens of the text; both logarithmic."""
    _, axis = plt.subplots(figsize=(7.5, 3.6))
    for (name, megabytes), (line, marker), colour in zip(
        held.items(), LOOKS, (ORANGE, BLUE, GREEN, RED), strict=False
    ):
        axis.loglog(lengths, megabytes, line, marker=marker, color=colour, label=name)
        last_value(axis, lengths[-1], megabytes[-1])
    axis.set(xlabel="tokens T", ylabel="MB held at once")
    axis.set_xlim(right=1.25 * lengths[-1])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    doubling_axis(axis, lengths)
    axis.legend()
    plt.show()


def last_value(axis: Axes, x: float, y: float) -> None:
    """Write a line's last value beside its last point."""
    axis.annotate(f"{y:.3g}", (x, y), (8, 0), textcoords="offset points", va="center", fontsize=9)


def softmax_in_one_pass(
    tops: Sequence[float], peaks: Sequence[float], sums: Sequence[float], final: float
) -> None:
    """Tile after tile: each tile's largest score, the largest so far, and the sum so far."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.3))
    numbers = range(1, len(peaks) + 1)
    left.bar(numbers, tops, 0.7, color=PALE, edgecolor="black", linewidth=0.6, label="in this tile")
    left.step(numbers, peaks, where="mid", color=BLUE, label="so far")
    left.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel="tile of keys", ylabel="largest score")
    left.legend()
    right.plot(numbers, sums, "-o", color=BLUE, markersize=4, label="sum so far")
    right.axhline(final, color=GREY, linestyle=":", label="of the whole row")
    right.set(xlabel="tile of keys", ylabel=r"sum of $e^{\mathrm{score}-\mathrm{peak}}$")
    right.legend()
    for axis in (left, right):
        axis.set_xticks(list(numbers)[:: 1 + len(peaks) // 12])
    figure.align_ylabels()
    plt.show()


def tile_map(
    T: int, S: int, rows: int, columns: int, tiles: Sequence[tuple[int, int, bool]]
) -> None:
    """The table of T queries and S keys in tiles: whole, cut by the diagonal, skipped; in each
    that is computed stands its number."""
    _, axis = plt.subplots(figsize=(1.8 + 5.0 * S / max(T, S), 0.9 + 3.6 * T / max(T, S)))
    found = {(i, j): (number, cut) for number, (i, j, cut) in enumerate(tiles, start=1)}
    for i in range(0, T, rows):
        for j in range(0, S, columns):
            height, width = min(rows, T - i), min(columns, S - j)
            number, cut = found.get((i, j), (None, False))
            face = "white" if number is None else PALE if cut else BLUE
            hatch = "////" if cut else ""
            axis.add_patch(
                plt.Rectangle((j, i), width, height, facecolor=face, edgecolor="black", hatch=hatch)
            )
            if number is not None:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if cut else None
                colour = "black" if cut else "white"
                axis.text(
                    j + width / 2, i + height / 2, str(number), color=colour,
                    ha="center", va="center", bbox=box,
                )  # fmt: skip
    ends = [S - T + i // 2 + 1 for i in range(2 * T)]  # behind the last key that query i // 2 sees
    steps = [(i + 1) // 2 for i in range(2 * T)]
    axis.plot(ends, steps, color="black", linestyle="-", linewidth=3)
    looks = {"whole": (BLUE, ""), "cut: needs a mask": (PALE, "////"), "skipped": ("white", "")}
    patches = [
        plt.Rectangle((0, 0), 1, 1, facecolor=face, edgecolor="black", hatch=hatch, label=name)
        for name, (face, hatch) in looks.items()
    ]
    axis.set(xlabel="key", ylabel="query", xlim=(-0.1, S + 0.1), ylim=(T + 0.1, -0.1))
    axis.set_xticks(range(0, S + 1, columns))
    axis.set_yticks(range(0, T + 1, rows))
    axis.spines[:].set_visible(False)
    axis.legend(handles=patches, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    plt.show()


def moves(runs: Mapping[str, FastMemory]) -> None:
    """What each run moved between the two memories: move after move, and in all, by what it is."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
    thousands = FuncFormatter(lambda number, _: f"{number:,.0f}")
    kinds = list(dict.fromkeys(m.name for fast in runs.values() for m in moved(fast)))
    height = 0.8 / len(runs)
    for number, ((name, fast), (line, _), colour) in enumerate(
        zip(runs.items(), LOOKS, (ORANGE, BLUE), strict=False)
    ):
        so_far = list(accumulate(move.numbers for move in moved(fast)))
        left.plot(range(1, len(so_far) + 1), so_far, line, color=colour, label=name)
        amounts = [sum(m.numbers for m in moved(fast) if m.name == kind) for kind in kinds]
        places = [y + (number - (len(runs) - 1) / 2) * height for y in range(len(kinds))]
        hatch = "" if number else "//"
        right.barh(
            places, amounts, height, color=colour, edgecolor="black", hatch=hatch, label=name
        )
        for y, amount in zip(places, amounts, strict=True):
            right.text(amount, y, f" {amount:,}", va="center", fontsize=9)
    left.set(xlabel="reads and writes, one after another", ylabel="numbers moved so far")
    left.yaxis.set_major_formatter(thousands)
    right.set_yticks(range(len(kinds)), kinds)
    right.invert_yaxis()
    right.set(xlabel="numbers moved in all")
    right.xaxis.set_major_formatter(thousands)
    right.set_xlim(0, 1.2 * right.get_xlim()[1])
    left.legend()
    right.legend(loc="upper right")
    plt.show()


def moved(fast: FastMemory) -> list[Move]:
    """Its reads and writes."""
    return [move for move in fast.moves if move.kind in ("read", "write")]


def traffic_by_rows(
    rows: Sequence[int], tiled: Sequence[float], table: Sequence[float], room: Sequence[float]
) -> None:
    """MB that move, by the height of a tile, and the kB of fast memory that such a tile takes."""
    _, axis = plt.subplots(figsize=(7.5, 3.6))
    axis.loglog(rows, table, "-", marker="s", color=ORANGE, label="with the table")
    axis.loglog(rows, tiled, "--", marker="o", color=BLUE, label="in tiles (kB of fast memory)")
    for line in (table, tiled):
        last_value(axis, rows[-1], line[-1])
    for height, moved, kilobytes in zip(rows, tiled, room, strict=True):
        axis.annotate(
            f"({kilobytes:.0f} kB)", (height, moved), (-4, -16), textcoords="offset points",
            ha="center", fontsize=9,
        )  # fmt: skip
    axis.set(xlabel="queries in a tile", ylabel="MB moved, one head")
    axis.set_ylim(min(tiled) / 2, 2 * max(table))
    axis.set_xlim(right=1.25 * rows[-1])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    doubling_axis(axis, rows)
    axis.legend()
    plt.show()


def times_of_ways(seconds: Mapping[str, float]) -> None:
    """One bar for each way of attending, in ms."""
    _, axis = plt.subplots(figsize=(8.5, 0.8 + 0.45 * len(seconds)))
    names = list(seconds)[::-1]
    values = [1e3 * seconds[name] for name in names]
    axis.barh(names, values, color=[BLUE if name.startswith("yours") else PALE for name in names],
              edgecolor="black")  # fmt: skip
    for y, value in enumerate(values):
        axis.text(value, y, f" {value:,.0f}" if value >= 10 else f" {value:.2g}", va="center")
    axis.set(xlabel="ms, attention of one layer", xlim=(0, 1.15 * max(values)))
    plt.show()
