"""The pictures of lessons 06 and 06b: what is kept, what is computed again, and what that saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, GREY, ORANGE, PALE, doubling_axis, mask_map
from decodeloop.model import causal_mask

LOOKS = {  # a letter for each place: its label, ground and ink
    "N": ("new", BLUE, "white"),
    "K": ("kept", PALE, "black"),
    "C": ("copy", ORANGE, "black"),
    "A": ("again", ORANGE, "black"),
    "·": ("", "white", "black"),
}


def places(axis: Axes, title: str, steps: Sequence[str], rows: Sequence[str]) -> None:
    """A row for each step, a cell for each place, by the letters of `LOOKS`."""
    width = max(map(len, rows))
    for y, (step, cells) in enumerate(zip(steps, rows, strict=True)):
        for x, (label, ground, ink) in enumerate(LOOKS[cell] for cell in cells):
            axis.add_patch(plt.Rectangle((x, -y), 0.92, 0.8, fc=ground, ec="grey"))
            axis.text(x + 0.46, 0.4 - y, label, ha="center", va="center", color=ink, size=8)
        axis.text(-0.2, 0.4 - y, step, ha="right", va="center", fontsize=9)
    axis.set(xlim=(-0.1, max(width, 8)), ylim=(0.1 - len(rows), 1), title=title)
    axis.axis("off")


def again_or_kept(prompt: int, new: int) -> None:
    """Which positions each step computes, for a prompt and so many new tokens: without a cache, and
    with one."""
    _, axes = plt.subplots(1, 2, figsize=(11, 0.6 + 0.4 * new))
    steps = [f"token {n}" for n in range(1, new + 1)]
    first = "N" * prompt
    again = [first, *("A" * (prompt + n - 1) + "N" for n in range(1, new))]
    kept = [first, *("K" * (prompt + n - 1) + "N" for n in range(1, new))]
    for axis, title, rows in (
        (axes[0], "without a cache: read again", again),
        (axes[1], "with a cache: kept", kept),
    ):
        places(axis, f"{title}, {sum(map(computed, rows))} positions computed", steps, rows)
    plt.show()


def computed(row: str) -> int:
    """How many places of a row are computed in its step."""
    return sum(cell in "NA" for cell in row)


def growing_or_allocated() -> None:
    """A cache that is concatenated, and one that is allocated once, over five steps."""
    steps = ["prompt of 4", "token 5", "token 6", "truncate to 4", "another token 5"]
    _, axes = plt.subplots(1, 2, figsize=(11, 2.6))
    growing = ["NNNN", "CCCCN", "CCCCCN", "KKKK", "CCCCN"]
    allocated = ["NNNN····", "KKKKN···", "KKKKKN··", "KKKK····", "KKKKN···"]
    places(axes[0], "concatenated", steps, growing)
    places(axes[1], "allocated once", steps, allocated)
    plt.show()


def masks_of_three_forwards() -> None:
    """A prompt of five, three tokens more, and one more: who may see whom."""
    _, axes = plt.subplots(1, 3, figsize=(10.5, 2.9), width_ratios=[5, 8, 9])
    forwards = ((5, 5, "a prompt of 5"), (3, 8, "3 more at once"), (1, 9, "1 more"))
    for axis, (T, S, title) in zip(axes, forwards, strict=True):
        mask_map(causal_mask(T, S), title, axis)
        axis.set_xticks(range(S), [str(place) for place in range(S)])  # from 0, as places are
        axis.set_yticks(range(T), [str(place) for place in range(S - T, S)])
    plt.show()


def wait_for_each_token(waits: Mapping[str, Sequence[float]], prompt: int) -> None:
    """The seconds that each new token takes, a bar for each of two loops."""
    _, axis = plt.subplots(figsize=(7, 3.2))
    looks = ((-0.2, ORANGE, "//"), (0.2, BLUE, ""))
    for (name, seconds), (shift, colour, hatch) in zip(waits.items(), looks, strict=True):
        axis.bar(
            [n + shift for n in range(1, len(seconds) + 1)], [1e3 * s for s in seconds], 0.38,
            color=colour, hatch=hatch, edgecolor="white", label=name,
        )  # fmt: skip
    longest = max(s for seconds in waits.values() for s in seconds)
    axis.set(xlabel=f"new token, after a prompt of {prompt}", ylabel="milliseconds")
    axis.set_ylim(0, 1.3e3 * longest)
    axis.legend(loc="upper right", ncols=2)
    plt.show()


def speed_up_asked(lengths: Sequence[int]) -> None:
    """The chart of `speed_up` before anything is measured: the work, and a question."""
    _, axis = plt.subplots(figsize=(9, 3.4))
    last = lengths[-1]
    work_line(axis, lengths)
    axis.fill_between(lengths, lengths, 0.5, color=PALE, alpha=0.5)
    axis.text(last, last**0.4, "?", ha="center", va="center", fontsize=28)
    finish_speed_up(axis, lengths)


def work_line(axis: Axes, lengths: Sequence[int]) -> None:
    axis.loglog(lengths, lengths, color=GREY, linestyle=":", label="A: positions computed")


def finish_speed_up(axis: Axes, lengths: Sequence[int]) -> None:
    """What both charts of speed-ups share."""
    last = lengths[-1]
    axis.set(xlabel="positions S, the new one included", ylabel="speed-up of one step, times")
    axis.set(xlim=(0.7, 6.25 * last), ylim=(0.5, 1.6 * last))
    doubling_axis(axis, lengths)
    axis.set_yticks(list(lengths), [f"{length}" for length in lengths])
    axis.minorticks_off()
    axis.legend(loc="upper left")
    plt.show()


def speed_up(
    lengths: Sequence[int], measured: Sequence[float], by_read: Mapping[float, float], free: float
) -> None:
    """How many times as fast a step is with a cache, against two predictions: the positions that
    are not computed, and the slower one of reading and arithmetic (by length). `free` positions
    cost as much as one."""
    _, axis = plt.subplots(figsize=(9, 4.2))
    work_line(axis, lengths)
    label = "B: the slower of reading and arithmetic"
    axis.loglog(list(by_read), list(by_read.values()), color=BLUE, label=label)
    axis.loglog(lengths, measured, "o", color="black", markersize=8, label="measured")
    last = lengths[-1]
    both_ways = {"arrowstyle": "<->", "color": "black"}
    axis.annotate("", (last, last), (last, measured[-1]), arrowprops=both_ways)
    axis.text(
        1.17 * last, (last * measured[-1]) ** 0.5,
        f"A is {last / measured[-1]:.0f} times too high:\nthe weights are read\n"
        f"anyway, 1 position\ncosts as much as {max(free, 1):.0f}",
        va="center", fontsize=10,
    )  # fmt: skip
    finish_speed_up(axis, lengths)
