"""The pictures of lessons 03 and 03b: three kinds of positions, pairs of channels, the stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.course.figures import MUCH, block_diagram


def three_kinds_of_positions(rows: int = 48) -> None:
    """A table of sines, a learned table of so many rows, and clocks that turn at three speeds."""
    angles = torch.arange(64)[:, None] * 10_000.0 ** (-torch.arange(0, 32, 2) / 32)
    sinusoids = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)  # (64, 32)
    learned = torch.full((64, 32), math.nan)
    learned[:rows] = 0.4 * torch.randn(rows, 32, generator=torch.Generator().manual_seed(0))
    _, (left, middle, right) = plt.subplots(1, 3, figsize=(13.0, 3.4), width_ratios=[1, 1, 2])
    for axis, table, title in (
        (left, sinusoids, "sinusoidal: added"),
        (middle, learned, f"learned: added (here {rows} rows)"),
    ):
        look = {"cmap": MUCH, "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        axis.imshow(table.numpy(), aspect="auto", **look)
        axis.set(xlabel="channel", ylabel="position", title=title)
    middle.text(16, (rows + 64) / 2, "no row", ha="center", va="center")
    speeds = (1.0, 0.3, 0.1)
    for row, speed in enumerate(speeds):
        for p in range(9):  # a clock for each position: its hand is the turned (1, 0)
            right.add_patch(plt.Circle((p, -row), 0.4, fill=False, color="#bbbbbb"))
            tip = (p + 0.4 * math.cos(speed * p), -row + 0.4 * math.sin(speed * p))
            right.plot([p, tip[0]], [-row, tip[1]], "-", color="black")
            right.plot(*tip, "o", color="black", markersize=4)
    right.set(xlim=(-0.6, 8.6), ylim=(-2.6, 0.6), xticks=range(9), xlabel="position")
    right.set_yticks([0, -1, -2], [f"{speed:g}" for speed in speeds])
    right.set(ylabel="speed, radians a token", title="rotary: queries and keys turn")
    right.set_aspect("equal")
    plt.show()


def pairs_of_channels() -> None:
    """Which of eight channels are turned together, half-split and interleaved."""
    pairs = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]])
    _, axis = plt.subplots(figsize=(6.5, 1.7))
    axis.imshow(pairs.numpy(), cmap=MUCH, vmin=-1, vmax=6, aspect="auto")
    for row in range(2):
        for channel in range(8):
            text = f"pair {pairs[row, channel]}"
            axis.text(channel, row, text, ha="center", va="center", fontsize=9)
    axis.set(xticks=range(8), xlabel="channel, of D = 8")
    axis.set_yticks([0, 1], ["half-split (here)", "interleaved"])
    axis.set_xticks([c + 0.5 for c in range(7)], minor=True)
    axis.grid(which="minor", color="white", linewidth=2)
    axis.axhline(0.5, color="white", linewidth=8)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    plt.show()


def scores_by_distance(pairs: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> None:
    """Scores of equal query and key by their distance: of single pairs, and means of all."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.4))
    for name, scores in pairs.items():
        left.plot(scores.tolist(), label=name)
    left.set(xlabel="distance in tokens", ylabel="score of one pair", ylim=(-1.6, 1.1))
    left.legend(loc="lower center", ncols=3)
    for name, scores in means.items():
        right.plot(scores.tolist(), label=name)
    right.set(xlabel="distance in tokens", ylabel="score, mean of 32 pairs", ylim=(0, 1.05))
    right.legend()
    plt.show()


def losses_by_choice(losses: Mapping[str, float], choice: str) -> None:
    """Bars of losses in nats, each by its name."""
    _, axis = plt.subplots(figsize=(7.0, 3.0))
    bars = axis.bar(list(losses), list(losses.values()), color="#9fb9d0", edgecolor="black")
    axis.bar_label(bars, fmt="%.2f")
    axis.set(xlabel=choice, ylabel="loss in nats", ylim=(0, 1.16 * max(losses.values())))
    plt.show()


def bends_and_a_gate() -> None:
    """ReLU, GELU and SiLU; and what a gate lets through."""
    z = torch.linspace(-4, 4, 161)
    _, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.3))
    left.plot(z, F.relu(z), label="ReLU: max(z, 0)")
    left.plot(z, F.gelu(z), label="GELU: z · Φ(z)")
    left.plot(z, F.silu(z), label="SiLU: z · sigmoid(z)")
    left.set(xlabel="z", ylabel="f(z)")
    for up in (2.0, 1.0, -1.0):
        right.plot(z, F.silu(z) * up, label=f"up = {up:g}")
    right.set(xlabel="gate", ylabel="silu(gate) · up")
    for axis in (left, right):
        axis.legend()
    plt.show()


def one_block() -> None:
    """A block with its norms in the branches."""
    _, axis = plt.subplots(figsize=(8.0, 2.4))
    block_diagram("pre-norm", axis)
    axis.set_title("")
    plt.show()


def both_orders() -> None:
    """A block with its norms in the branches, and one with its norms on the line."""
    _, axes = plt.subplots(1, 2, figsize=(13.0, 2.3))
    for order, axis in zip(("pre-norm", "post-norm"), axes, strict=True):
        block_diagram(order, axis)
    plt.show()


def stacks_of_layers(
    sizes: Mapping[str, Sequence[float]],
    depths: Sequence[int],
    gradients: Mapping[str, Sequence[float]],
) -> None:
    """The size of the stream by layer, and the last layer's gradient by the depth of the stack;
    the last of the gradients beside 1/√depth."""
    _, (left, right) = plt.subplots(1, 2, figsize=(11.0, 3.5))
    looks = {
        name: {"color": f"C{i}", "linestyle": style, "label": name}
        for i, (name, style) in enumerate(zip(sizes, ("-", "--", "-.", ":"), strict=True))
    }
    for name, values in sizes.items():
        left.semilogy(range(len(values)), values, **looks[name])
    left.set(xlabel="layer", ylabel="root mean square of the stream")
    left.legend(loc="lower left")
    for (name, values), marker in zip(gradients.items(), "so", strict=True):
        right.loglog(depths, values, marker=marker, **looks[name])
    law = [values[-1] * (depths[-1] / n) ** 0.5 for n in depths]
    right.loglog(depths, law, color="grey", linewidth=1, linestyle="-", label="∝ 1/√depth")
    right.set(xlabel="layers in the stack", ylabel="gradient at the last layer")
    right.set_xticks(depths, [str(n) for n in depths])
    right.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    right.minorticks_off()
    right.legend()
    plt.show()


def growth_of_the_stream(usual: Tensor, first: Tensor, shares: Mapping[str, Tensor]) -> None:
    """The stream's length before each layer, of a usual token and of the first; and what each
    sublayer adds, as a share of it."""
    _, (left, right) = plt.subplots(1, 2, figsize=(11.0, 3.5))
    left.semilogy(usual.tolist(), label="the median token")
    left.semilogy(first.tolist(), label="the first token")
    left.set(xlabel=f"before layer ({len(usual) - 1}: after the last)")
    left.set_ylabel("length of the stream's vector")
    for (name, share), marker in zip(shares.items(), "os", strict=True):
        right.semilogy(share.tolist(), marker=marker, markersize=4, linewidth=1, label=name)
    right.axhline(1, color="grey", linewidth=1)
    right.set(xlabel="layer", ylabel="length of what is added / stream")
    right.set_yticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    for axis in (left, right):
        axis.legend()
    plt.show()
