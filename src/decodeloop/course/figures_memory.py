"""The pictures of lesson 09: what is held, when, and how many texts fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from decodeloop.course.figures import BLUE, GREEN, GREY, ORANGE, RED, doubling_axis


def weights_and_caches(chats: Sequence[int], weights: float, caches: Sequence[float]) -> None:
    """MB for so many chats, weights below and caches on them; outlined beside them, the first bar
    times the chats."""
    _, axis = plt.subplots(figsize=(8, 3.4))
    places = range(len(chats))
    first = (weights + caches[0]) / 1e6
    left, right = [x - 0.2 for x in places], [x + 0.2 for x in places]
    axis.bar(left, [weights / 1e6] * len(chats), 0.38, color=GREY, label="weights")
    look: dict[str, Any] = {"color": ORANGE, "hatch": "//", "edgecolor": "white", "label": "caches"}
    axis.bar(left, [held / 1e6 for held in caches], 0.38, bottom=weights / 1e6, **look)
    look = {"fill": False, "edgecolor": "black", "linestyle": "--", "label": "m times the first"}
    axis.bar(right, [B * first for B in chats], 0.38, **look)
    axis.set(xlabel="chats of 1,000 tokens", ylabel="MB")
    axis.set_xticks(places, [str(B) for B in chats])
    axis.legend()
    plt.show()


def held_during_a_prefill(held: Sequence[float], layers: int, tables: float) -> None:
    """MB held, change after change: the first layers, one of them, and the end of the forward.

    Args:
        held: MB after each allocation or release of a whole forward.
        layers: how many it has; each changes as often as the others.
        tables: MB of three tables of scores, drawn as a line.
    """
    second, end = second_layer(held, layers)
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), width_ratios=(2, 4, 2))
    figure.set_layout_engine("constrained")
    axes[0].plot(held[: end + 2 * len(second)], linewidth=1)
    top = 1.14 * max(held)
    axes[0].set(ylabel="MB held", ylim=(0, top), title=f"the first 4 of {layers} layers")
    one_layer(axes[1], second, tables)
    axes[1].set(ylim=(0, top))
    ending = held[-22:]
    axes[2].step(range(len(ending)), ending, where="post")
    axes[2].text(14.5, max(ending) + 0.05, "last norm", ha="center")
    axes[2].text(20.3, max(ending[-4:]) - 0.15, "head")
    axes[2].set(ylabel="MB held", xlim=(-1, 25), ylim=(0, 4), title="the end")
    plt.show()


def second_layer(held: Sequence[float], layers: int) -> tuple[Sequence[float], int]:
    """MB held within the second layer, and where it ends: each layer changes as often."""
    layer = len(held) // layers
    start = min(range(layer, 2 * layer), key=held.__getitem__)  # only x is held there
    return held[start : start + layer], start + layer


def after_attention(second: Sequence[float]) -> int:
    """The first change in a layer at which attention has given back its tables."""
    top = second.index(max(second))
    return next((i for i in range(top, len(second)) if second[i] < 8), top)


def second_hump(held: Sequence[float], layers: int) -> float:
    """The most MB that are held in a layer once attention is over."""
    second, _ = second_layer(held, layers)
    return max(second[after_attention(second) :])


def one_layer(axis: Axes, second: Sequence[float], tables: float) -> None:
    """MB held within a layer, with a name at each of its humps."""
    top, low = second.index(max(second)), after_attention(second)
    axis.step(range(len(second)), second, where="post")
    axis.axhline(tables, color="grey", linestyle=":", linewidth=1)
    axis.text(0, tables + 0.7, "three tables of H · T · S numbers", fontsize=9)
    turned = second.index(max(second[: max(top // 2, 1)]))
    axis.text(turned, second[turned] + 1, "q and k are turned", ha="center")
    axis.text(top, second[top] + 1.5, "attention: exp, then /", ha="center")
    hump = max(second[low:])
    axis.text(second.index(hump, low), hump + 1, "feed-forward", ha="center")
    axis.set(xlabel="allocations and releases, in their order", ylabel="MB held")
    axis.set_title("one of them")


def activations_by_length(
    lengths: Sequence[int],
    stages: Mapping[str, Sequence[float]],
    measured: Mapping[int, float],
    ticks: Sequence[int],
) -> None:
    """MB of activations by the tokens of a prompt, stage by stage, beside what was measured."""
    _, axis = plt.subplots(figsize=(8, 4))
    looks = ((RED, ":"), (BLUE, "-"), (GREEN, "-."), (ORANGE, "--"))
    for (name, values), (colour, style) in zip(stages.items(), looks, strict=True):
        axis.loglog(lengths, values, color=colour, linestyle=style, label=name)
    dots = list(measured), list(measured.values())
    axis.loglog(*dots, "o", color="black", label="measured, last position")
    axis.set(xlabel="tokens of the prompt T", ylabel="MB of activations")
    doubling_axis(axis, ticks)
    axis.legend()
    plt.show()


def texts_that_fit(lengths: Sequence[int], frontiers: Mapping[str, Sequence[int]]) -> None:
    """How many texts fit by their length; none has no place on a logarithmic axis."""
    _, axis = plt.subplots(figsize=(8, 4.2))
    looks = ((GREEN, "-.", "^"), (BLUE, "-", "o"), (ORANGE, "--", "s"), (RED, ":", "v"))
    for (name, batches), (colour, line, marker) in zip(frontiers.items(), looks, strict=True):
        some = [(T, B) for T, B in zip(lengths, batches, strict=True) if B]
        look: dict[str, Any] = {"color": colour, "linestyle": line, "marker": marker, "label": name}
        axis.loglog(*zip(*some, strict=True), **look)
    axis.set(xlabel="tokens of each text", ylabel="texts that fit")
    doubling_axis(axis, lengths)
    axis.set_yticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    axis.legend(handlelength=4)
    plt.show()
