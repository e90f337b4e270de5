"""The pictures of lesson 15: where texts lie in memory, and what sharing saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, ORANGE, PALE
from decodeloop.course.fragmentation import Span


def memory_strips(strips: Mapping[str, Sequence[Span]], places: int) -> None:
    """One strip of memory for each way of giving it out: dark what holds a token, hatched what is
    taken and empty, white what is free."""
    figure, axis = plt.subplots(figsize=(9.5, 0.9 + 0.75 * len(strips)))
    for y, spans in enumerate(strips.values()):
        axis.barh(y, places, 0.6, color="white", edgecolor="black", linewidth=1.2)
        for start, held, taken in spans:
            axis.barh(y, taken, 0.6, left=start, color="white", edgecolor=ORANGE, hatch="////")
            axis.barh(y, held, 0.6, left=start, color=BLUE, edgecolor="white", linewidth=0.6)
    looks = {"holds a token": (BLUE, BLUE, ""), "taken, empty": ("white", ORANGE, "////")}
    looks["free"] = ("white", "black", "")
    patches = [
        plt.Rectangle((0, 0), 1, 1, facecolor=face, edgecolor=edge, hatch=hatch, label=name)
        for name, (face, edge, hatch) in looks.items()
    ]
    axis.set_yticks(range(len(strips)), list(strips))
    axis.set(xlabel="places in the cache", xlim=(0, places), ylim=(len(strips) - 0.5, -0.5))
    axis.tick_params(left=False)
    axis.spines[:].set_visible(False)
    figure.legend(handles=patches, loc="outside upper center", ncols=3, frameon=False)
    plt.show()


def lost_to_blocks(
    sizes: Sequence[int], counted: Sequence[float], formula: Callable[[int], float]
) -> None:
    """The share of the places taken that are empty: counted for some block sizes, by formula for
    all between them."""
    _, axis = plt.subplots(figsize=(7.5, 3.0))
    every = range(min(sizes), max(sizes) + 1)
    axis.plot(every, [100 * formula(size) for size in every], color=BLUE, label="formula")
    axis.plot(sizes, [100 * x for x in counted], "o", color="black", label="counted")
    axis.set(xscale="log", xlabel="positions in a block")
    axis.set_ylabel("empty share of the\ntaken places, %")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.legend()
    plt.show()


def tables_and_pool(
    texts: Mapping[str, Sequence[str]], tables: Mapping[str, Sequence[int]], size: int, count: int
) -> None:
    """Each text as its reader sees it, its table, and the pool where its blocks lie: dashed what is
    free, thick what several texts use."""
    _, axis = plt.subplots(figsize=(9.5, 1.0 + 0.8 * len(texts)))
    owners: dict[int, list[str]] = {}
    held: dict[int, Sequence[str]] = {}
    for y, (name, words) in enumerate(texts.items()):
        axis.text(-0.3, 1.2 - y, f"text {name}", ha="right", va="center")
        for i, block in enumerate(tables[name]):
            part = words[i * size : (i + 1) * size]
            _block(axis, 1.35 * size * i, 0.85 - y, part, size, f"→ {block}")
            owners.setdefault(block, []).append(name)
            held[block] = part
    below = -len(texts) + 0.45
    axis.text(-0.3, below + 0.35, "pool", ha="right", va="center")
    for block in range(count):
        names = owners.get(block, [])
        label, x = f"{block}: {' and '.join(names) or 'free'}", 1.15 * size * block
        _block(axis, x, below, held.get(block, ()), size, label, len(names))
    axis.set(xlim=(-1.2 * size, 1.15 * size * count), ylim=(below - 0.4, 1.55))
    axis.axis("off")
    plt.show()


def _block(
    axis: Axes, x: float, y: float, words: Sequence[str], size: int, label: str, users: int = 1
) -> None:
    for i in range(size):
        word = words[i] if i < len(words) else ""
        face = PALE if word else "white"
        axis.add_patch(plt.Rectangle((x + i, y), 1, 0.6, facecolor=face, edgecolor="#999999"))
        axis.text(x + i + 0.5, y + 0.3, word, ha="center", va="center", fontsize=8)
    width, line = (1.2, "--") if users == 0 else (0.8 + 0.9 * users, "-")
    border = plt.Rectangle((x, y), size, 0.6, facecolor="none", edgecolor="black")
    border.set(linewidth=width, linestyle=line)
    axis.add_patch(border)
    axis.text(x + size / 2, y - 0.2, label, ha="center", va="center", fontsize=9)


def first_tokens(seconds: Mapping[str, Sequence[float]], read: Mapping[str, Sequence[int]]) -> None:
    """TTFT of each turn of a chat, with what was read for it written over the bar."""
    _, axis = plt.subplots(figsize=(8, 3.4))
    looks = ((ORANGE, "//"), (BLUE, ""))
    for place, (name, (colour, hatch)) in enumerate(zip(seconds, looks, strict=True)):
        turns = range(1, len(seconds[name]) + 1)
        at = [turn + 0.4 * place - 0.2 for turn in turns]
        axis.bar(at, seconds[name], 0.36, color=colour, hatch=hatch, edgecolor="white", label=name)
        for x, y, n in zip(at, seconds[name], read[name], strict=True):
            axis.text(x, y, f"reads\n{n}", ha="center", va="bottom", fontsize=9)
    axis.set(xlabel="turn of the chat", ylabel="TTFT, seconds")
    axis.set_ylim(0, 1.35 * max(max(row) for row in seconds.values()))
    axis.set_xticks(list(turns))
    axis.legend(loc="upper right", ncols=2)
    plt.show()


def blocks_over_steps(counted: Mapping[str, Sequence[int]]) -> None:
    """How many blocks are in use, token by token."""
    _, axis = plt.subplots(figsize=(7.5, 3.2))
    for name, counts in counted.items():
        axis.plot(range(len(counts)), counts, label=name, drawstyle="steps-post")
    axis.set(xlabel="tokens made for each answer", ylabel="blocks in use", ylim=(0, None))
    axis.set_xticks(range(0, len(counts), 4))
    axis.legend()
    plt.show()


__all__ = [
    "blocks_over_steps",
    "first_tokens",
    "lost_to_blocks",
    "memory_strips",
    "tables_and_pool",
]
