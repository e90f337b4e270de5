"""The pictures of lessons 10 and 10b: which terms a forward is made of, and what they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt

from decodeloop.cost import forward_bytes, forward_flops, preset
from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, PALE, RED, doubling_axis
from decodeloop.model import ModelConfig

TERMS = {
    "feed_forward": (BLUE, ""),
    "projections": ("#8fbfe0", "//"),
    "head": (GREY, ""),
    "scores": ("#f3d48f", ".."),
    "weighted_sum": (ORANGE, "xx"),
}
LENGTHS = [2**e for e in range(4, 17)]


def shares_of_prefill(config: ModelConfig, tokens: int) -> dict[str, float]:
    """The shares of the five terms in the FLOPs of a prompt of so many tokens, in percent.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> round(shares_of_prefill(SMOLLM2_135M, 128)["feed_forward"])
    72
    """
    flops = forward_flops(config, 1, tokens, tokens)
    return {term: 100 * count / sum(flops.values()) for term, count in flops.items()}


def shares_of_terms(config: ModelConfig, overtakes: float) -> None:
    """The shares of the five terms in the FLOPs of a prefill and of a step, by the length; lines
    mark where attention overtakes the linear layers, and the model's context."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4))
    prefills = [forward_flops(config, 1, length, length) for length in LENGTHS]
    steps = [forward_flops(config, 1, 1, length) for length in LENGTHS]
    for axis, title, forwards in (
        (left, "prefill of T tokens", prefills),
        (right, "decode step", steps),
    ):
        below = [0.0] * len(LENGTHS)
        for term, (colour, hatch) in TERMS.items():
            shares = [flops[term] / sum(flops.values()) for flops in forwards]
            top = [b + share for b, share in zip(below, shares, strict=True)]
            axis.fill_between(
                LENGTHS, below, top, facecolor=colour, hatch=hatch, edgecolor="white",
                linewidth=0.5, label=term.replace("_", " "),
            )  # fmt: skip
            below = top
        for length, line, name in (
            (overtakes, "--", "attention = linear layers"),
            (config.context, ":", "the model's context"),
        ):
            label = f"{name} ({length:,})"
            axis.axvline(length, color="black", linewidth=1.5, linestyle=line, label=label)
        axis.set_xscale("log")
        axis.set(title=title, ylim=(0, 1), xlim=(LENGTHS[0], LENGTHS[-1]))
        doubling_axis(axis, [64, 1024, 16384])
    left.set(xlabel="tokens T", ylabel="share of the FLOPs")
    right.set(xlabel="positions S")
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center")
    plt.show()


def crossing(lengths: Sequence[float], one: Sequence[float], other: Sequence[float]) -> float:
    """The length from which on `one` lies above `other`: between two lengths on a straight line in
    log-log; the first or the last length where they don't cross.

    >>> round(crossing([1, 4], [1, 16], [2, 8]), 9)
    2.0
    """
    gaps = [math.log(x / y) for x, y in zip(one, other, strict=True)]
    places = [i for i, (before, after) in enumerate(pairwise(gaps)) if before < 0 <= after]
    if not places:
        return lengths[0] if gaps[-1] > 0 else lengths[-1]
    i = places[-1]
    part = gaps[i] / (gaps[i] - gaps[i + 1])
    return lengths[i] * (lengths[i + 1] / lengths[i]) ** part


def attention_and_linear_layers(
    lengths: Sequence[int],
    seconds: Mapping[str, Sequence[float]],
    overtakes: float,
) -> None:
    """Seconds of one layer's attention and its parts, and of its "linear layers": these go on as a
    line at the speed that they had last, beside what attention's FLOPs would take at it."""
    figure, axis = plt.subplots(figsize=(10.5, 4.3))
    wide = [lengths[0], 2 ** math.ceil(math.log2(2 * overtakes))]
    linear = seconds["linear layers"]
    per_position = linear[-1] / lengths[-1]
    axis.plot(lengths, [1e3 * s for s in linear], "-D", color=BLUE, label="linear layers")
    axis.plot(
        [lengths[-1], wide[1]], [1e3 * linear[-1], 1e3 * per_position * wide[1]], "-", color=BLUE,
        linewidth=1,
    )  # fmt: skip
    looks = (("black", "o", "--"), (GREEN, "s", "-"), (ORANGE, "d", "-"), (RED, "^", "-"))
    ways = {name: row for name, row in seconds.items() if name != "linear layers"}
    for (name, row), (colour, marker, line) in zip(ways.items(), looks, strict=False):
        times = [1e3 * s for s in row]
        axis.plot(lengths, times, line, marker=marker, color=colour, label=name)
    axis.plot(
        wide, [1e3 * per_position * T * T / overtakes for T in wide], ":", color=GREY,
        linewidth=1.2, label="attention's FLOPs,\nat the linear layers' speed",
    )  # fmt: skip
    axis.set(xscale="log", yscale="log")
    meets = 1e3 * per_position * overtakes
    axis.annotate(
        f"by FLOPs:\n{overtakes:,} tokens", (overtakes, meets), (1.4 * overtakes, meets / 12),
        fontsize=10, arrowprops={"arrowstyle": "->", "color": "black"},
    )  # fmt: skip
    shortest = min(s for row in ways.values() for s in row)
    axis.set(
        xlabel="tokens T",
        ylabel="milliseconds for one layer",
        ylim=(0.3e3 * shortest, 4e3 * per_position * wide[1]),
    )
    doubling_axis(axis, [2**e for e in range(7, 14)])
    figure.legend(loc="outside right center")
    plt.show()


def two_ways_to_read(config: ModelConfig, tokens: int) -> None:
    """FLOPs and bytes of a text read in one prefill, and in decode steps."""
    counts: dict[str, Callable[..., Mapping[str, float]]] = {
        "FLOPs, 10⁹": forward_flops,
        "GB moved, at least": forward_bytes,
    }
    _, axes = plt.subplots(1, 2, figsize=(9.5, 1.9))
    for axis, (name, count) in zip(axes, counts.items(), strict=True):
        at_once = sum(count(config, 1, tokens, tokens).values()) / 1e9
        singly = sum(sum(count(config, 1, 1, S).values()) for S in range(1, tokens + 1)) / 1e9
        colours = [PALE, ORANGE]
        axis.barh(["all at once", "token by token"], [at_once, singly], color=colours, ec="black")
        for y, value in enumerate((at_once, singly)):
            axis.text(value, y, f" {value:.3g}", va="center")
        axis.set(xlabel=name, xlim=(0, 1.2 * max(at_once, singly)))
        axis.invert_yaxis()
    plt.show()


def flops_per_byte(
    sizes: Sequence[int], reading: Sequence[float], writing: Sequence[float]
) -> None:
    """FLOPs for each byte of prefills and of decode steps, by the positions in the forward."""
    _, axis = plt.subplots(figsize=(7.5, 3.8))
    axis.loglog(sizes, reading, marker="o", label="prefill of T tokens")
    axis.loglog(sizes, writing, marker="s", label="decode step, B rows, S = 1,024")
    axis.set(xlabel="positions in the forward: T, or B", ylabel="FLOPs per byte moved, at most")
    doubling_axis(axis, sizes[::2])
    axis.set_yticks([1, 10, 100], ["1", "10", "100"])
    axis.minorticks_off()
    axis.legend()
    plt.show()


def flops_of_an_answer(
    news: Sequence[int], with_cache: Sequence[float], without: Sequence[float]
) -> None:
    """FLOPs of an answer by its length, each beside the law that it follows at first."""
    _, axis = plt.subplots(figsize=(7.5, 3.8))
    axis.loglog(news, without, marker="s", label="without a cache")
    axis.loglog(news, with_cache, marker="o", label="with a cache")
    for power, row in ((1, with_cache), (2, without)):
        law = [row[5] * (n / news[5]) ** power for n in news[5:]]
        axis.loglog(news[5:], law, color="black", linewidth=1, linestyle=":")
        axis.text(news[-1] * 1.1, law[-1], f"∝ n{'²' if power > 1 else ''}", va="top")
    axis.set(
        xlabel="new tokens n, after a prompt of 1",
        ylabel="FLOPs in all",
        xlim=(0.8, 2.2 * news[-1]),
    )
    doubling_axis(axis, news[::2])
    axis.legend()
    plt.show()


def contexts_and_overtaking(overtakes: Mapping[str, float]) -> None:
    """For models by name: the context, and the length at which attention overtakes."""
    _, axis = plt.subplots(figsize=(8, 3.8))
    models = [preset(name) for name in overtakes]
    contexts = [model.context for model in models]
    for y, ends in enumerate(zip(contexts, overtakes.values(), strict=True)):
        axis.plot(ends, [y, y], color="grey", linewidth=1, linestyle="-")
    label = "context that its configuration gives"
    axis.plot(contexts, range(len(models)), "s", color=BLUE, label=label)
    lengths = list(overtakes.values())
    axis.plot(lengths, range(len(models)), "o", color=RED, label="attention overtakes")
    axis.set_xscale("log")
    wide = [
        f"{name}, C = {model.width:,}, F = {model.feed_forward / model.width:.1f} C"
        for name, model in zip(overtakes, models, strict=True)
    ]
    axis.set_yticks(range(len(models)), wide, fontsize=9)
    axis.set(xlabel="tokens", ylim=(-0.7, len(models) + 1.4))
    doubling_axis(axis, [1024, 4096, 16384, 65536, 262144])
    axis.legend(ncols=2, loc="upper center", fontsize=9)
    plt.show()
