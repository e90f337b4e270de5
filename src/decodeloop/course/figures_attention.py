"""The pictures of lessons 01 and 02: what scaling does, what attention takes, what heads do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from decodeloop.course.figures import BLUE, RED, attention_map, doubling_axis, mask_map
from decodeloop.model import causal_mask

Place = tuple[int, int]  # layer, head


def what_the_last_token_takes(
    weights: Tensor, labels: Sequence[str], best: Mapping[str, float]
) -> None:
    """An arc from the last token to each other one, as wide as the share that it takes from it,
    weights (T,); and the best next tokens, with their probabilities."""
    _, axis = plt.subplots(figsize=(9.5, 2.9))
    last = len(labels) - 1
    turns = [math.pi * step / 60 for step in range(61)]
    look: dict[str, Any] = {"color": BLUE, "linestyle": "-", "alpha": 0.7, "solid_capstyle": "butt"}
    for s, share in enumerate(weights.tolist()):
        if s < last:
            middle, half = (s + last) / 2, (last - s) / 2
            x = [middle - half * math.cos(turn) for turn in turns]
            y = [0.3 + 0.26 * (last - s) * math.sin(turn) for turn in turns]
            axis.plot(x, y, linewidth=0.4 + 22 * share, **look)
        axis.text(s, -0.45, f"{share:.0%}", ha="center", va="center", color=BLUE, fontsize=10)
    box = {"facecolor": "white", "edgecolor": "#bbbbbb", "pad": 3.0}
    for s, label in enumerate(labels):
        axis.text(s, 0, label, ha="center", va="center", bbox=box, zorder=3)
    axis.annotate(
        "", (last + 1.0, 0), (last + 0.35, 0), arrowprops={"arrowstyle": "-|>", "color": "black"}
    )
    expected = [f"{token.strip()} {p:.0%}" for token, p in best.items()]
    axis.text(last + 1.1, 0, expected[0], va="center", fontsize=13, weight="bold")
    axis.text(last + 1.1, -0.5, "\n".join(expected[1:]), va="top", fontsize=9)
    axis.text(-0.6, -0.45, "share:", ha="right", va="center", color=BLUE, fontsize=10)
    axis.set(xlim=(-1.5, last + 2.8), ylim=(-1.1, 2.6))
    axis.axis("off")
    plt.show()


def who_may_look_where() -> None:
    """Five masks, dark = may look: of an encoder, of a decoder, of a decoder with three tokens
    kept, from an output to an input, and with padding."""
    _, axes = plt.subplots(1, 5, figsize=(11.5, 3.1))
    everyone = torch.ones(5, 5, dtype=torch.bool)
    padded = everyone.clone()
    padded[:, 3:] = False
    mask_map(everyone, "1 bidirectional\n(BERT)", axes[0])
    mask_map(causal_mask(5), "2 causal\n(GPT, Llama)", axes[1])
    mask_map(causal_mask(2, 5), "3 causal, 2 new\ntokens after 3 kept", axes[2], first=4)
    mask_map(everyone[:3, :4], "4 cross\n(T5)", axes[3], "query: the output", "key: the input")
    mask_map(padded, "5 padding: the last\n2 are no tokens", axes[4])
    plt.show()


def why_scores_are_divided(
    dimensions: Sequence[int],
    spread: Sequence[float],
    plain: Sequence[float],
    scaled: Sequence[float],
) -> None:
    """By head dimension: the standard deviation of a score, and the largest of 16 shares with and
    without the division by √D."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    left.loglog(dimensions, [D**0.5 for D in dimensions], label="√D")
    left.loglog(dimensions, spread, "o", color="black", label="measured")
    left.set(xlabel="head dimension D", ylabel="standard deviation of a score")
    right.semilogx(dimensions, plain, marker="s", label="q·k")
    right.semilogx(dimensions, scaled, marker="o", label="q·k / √D")
    right.axhline(1 / 16, color="grey", linewidth=1, label="16 equal shares")
    right.set(xlabel="head dimension D", ylabel="largest of 16 shares", ylim=(0, 1.05))
    for axis in (left, right):
        doubling_axis(axis, dimensions)
        axis.legend()
    plt.show()


def the_sink(sink: Tensor, maps: Tensor, labels: Sequence[str], place: Place) -> None:
    """The mean weight on the first token by layer (L,); and the map of one head with the first
    column and without it, its rows made to sum to 1 again. maps: (L, H, T, T)."""
    layer, head = place
    whole = maps[layer, head]
    rest = whole[1:, 1:] / whole[1:, 1:].sum(-1, keepdim=True)
    _, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), width_ratios=[1.1, 1, 1])
    axes[0].bar(range(len(sink)), sink.tolist())
    axes[0].set(xlabel="layer", ylabel="mean weight on the first token", ylim=(0, 1))
    attention_map(whole, labels, title=f"layer {layer}, head {head}", ax=axes[1])
    attention_map(rest, labels[1:], title="the same, without the sink", ax=axes[2])
    plt.show()


def time_and_memory(
    lengths: Sequence[int],
    seconds: Mapping[str, Sequence[float]],
    held: Mapping[str, Sequence[float]],
    table: Sequence[float],
) -> None:
    """Milliseconds and peak MiB of ways to attend, by the length; beside them T², and the bytes of
    one table of scores."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for (name, values), marker in zip(seconds.items(), "so", strict=True):
        left.loglog(lengths, [1e3 * s for s in values], marker=marker, label=name)
    first = next(iter(seconds.values()))
    law = [1e3 * first[-1] * (T / lengths[-1]) ** 2 for T in lengths]
    thin = {"color": "grey", "linewidth": 1, "linestyle": ":"}
    left.loglog(lengths, law, label="∝ T²", **thin)
    left.set(xlabel="tokens T", ylabel="milliseconds")
    for (name, values), marker in zip(held.items(), "so", strict=True):
        right.loglog(lengths, [b / 2**20 for b in values], marker=marker, label=name)
    right.loglog(lengths, [b / 2**20 for b in table], label="one table of T²", **thin)
    right.set(xlabel="tokens T", ylabel="peak memory in MiB")
    for axis in (left, right):
        doubling_axis(axis, lengths)
        axis.legend()
    plt.show()


def keys_looked_at(keys: Tensor, most: int) -> None:
    """How many keys each head looks at, effectively (L, H), beside all of them."""
    _, axis = plt.subplots()
    for h in range(keys.shape[1]):
        axis.plot(keys[:, h].tolist(), "o", color="black", alpha=0.4, markersize=4)
    axis.axhline(most, color="grey", linewidth=1)
    axis.text(0, most - 0.3, f"all {most} keys equally", va="top", fontsize=9)
    axis.set(xlabel="layer", ylabel="keys looked at, effectively", ylim=(0, most + 1))
    plt.show()


def one_head_off(
    probability: Tensor, all_on: float, named: Mapping[Place, tuple[float, float]],
    looking: Sequence[Place],
) -> None:  # fmt: skip
    """A probability with each head off (L, H), beside that with all on. Heads with names stand
    where `named` says; those that look most at the name are marked by squares."""
    _, axis = plt.subplots(figsize=(9, 3.8))
    for h in range(probability.shape[1]):
        label = "one head off" if h == 0 else None
        axis.plot(
            probability[:, h].tolist(), "o", color="black", alpha=0.4, markersize=4, label=label
        )
    axis.axhline(all_on, color="grey", linewidth=1, label="all heads on")
    axis.plot(
        [layer for layer, _ in looking], [float(probability[place]) for place in looking], "s",
        color=RED, markersize=9, fillstyle="none", label="the three that look most at the name",
    )  # fmt: skip
    thread = {"arrowstyle": "-", "linewidth": 0.6}
    for (layer, h), at in named.items():
        place = (layer, float(probability[layer, h]))
        axis.annotate(f"layer {layer}, head {h}", place, at, fontsize=9, arrowprops=thread)
    axis.set(xlabel="layer of the head that is off", ylabel="probability of Paris", ylim=(0, 1.15))
    axis.legend(loc="upper center", ncols=3)
    plt.show()


def loss_by_head(effect: Sequence[float], places: Sequence[Place], least: float) -> None:
    """Changes of the loss by one head off, largest first, those of at least `least`."""
    order = sorted(range(len(effect)), key=lambda i: -effect[i])
    shown = [i for i in order if abs(effect[i]) >= least]
    _, axis = plt.subplots(figsize=(9, 3.4))
    axis.bar(range(len(shown)), [effect[i] for i in shown])
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(shown)), ["{}, {}".format(*places[i]) for i in shown], rotation=90)
    axis.set(xlabel=f"layer, head (all others change less than {least})")
    axis.set_ylabel("change of the loss, in nats")
    plt.show()


def heads_off_together(numbers: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    """A probability by how many heads are off at once; the last line is dotted: it was added up."""
    _, axis = plt.subplots()
    looks = [("-", "o"), ("--", "s"), (":", "^")]
    for (name, values), (style, marker) in zip(lines.items(), looks, strict=True):
        axis.plot(numbers, values, style, marker=marker, label=name)
    axis.set(xlabel="heads switched off at once", ylabel="probability of Paris", ylim=(0, 0.8))
    axis.set_xticks(range(0, max(numbers) + 1, 2))
    axis.legend()
    plt.show()
