"""The pictures of appendix A1: what a claim says, beside what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from decodeloop.course.figures import BLUE, GREY, ORANGE, PALE, doubling_axis


def prefill_with_and_without_h(
    sizes: Sequence[int],
    linear: Sequence[float],
    quadratic: Sequence[float],
    heads: int,
    counted: Sequence[tuple[float, float]],
    context: int,
) -> None:
    """FLOPs of a prefill by its tokens: linear layers, attention, and attention times the heads;
    dots are pairs that were counted, a line is the model's context."""
    _, axis = plt.subplots(figsize=(7.5, 4))
    axis.loglog(sizes, linear, "-", color=BLUE, label="linear layers")
    axis.loglog(sizes, quadratic, "--", color=ORANGE, label="attention")
    label = "attention, with the factor H"
    axis.loglog(sizes, [q * heads for q in quadratic], ":", color=GREY, label=label)
    for part in zip(*counted, strict=True):
        axis.loglog(sizes, part, "o", color="black", markersize=5)
    axis.lines[-1].set_label("counted by PyTorch")
    axis.axvline(context, color=GREY, linewidth=1, linestyle="-")
    low = axis.get_ylim()[0]
    axis.text(context * 1.08, 2 * low, "LLaMA-7B's\ncontext", fontsize=9, va="bottom")
    axis.set(xlabel="tokens T of the prompt", ylabel="FLOPs of the prefill")
    doubling_axis(axis, sizes)
    axis.legend(loc="lower right", fontsize=9)
    plt.show()


def exponents_of_an_answer(news: Sequence[int], exponents: Mapping[str, Sequence[float]]) -> None:
    """The local exponent of the work of an answer, by its new tokens."""
    _, axis = plt.subplots(figsize=(7.5, 3.6))
    looks = (("--", ORANGE), ("-", BLUE))
    for (name, values), (style, colour) in zip(exponents.items(), looks, strict=True):
        axis.semilogx(news, values, style, color=colour, marker="o", markersize=4, label=name)
    axis.set(xlabel="new tokens n", ylabel="exponent of the total work", ylim=(0.5, 3.1))
    doubling_axis(axis, news[::3])
    axis.legend(loc="upper left")
    plt.show()


def memory_of_users(
    users: Sequence[int],
    claimed: Sequence[float],
    needed: Sequence[float],
    caches: Sequence[float],
    weights: float,
) -> None:
    """GB for so many users: as claimed, as needed, and of the latter the caches and the weights."""
    _, axis = plt.subplots(figsize=(7.5, 3.6))
    label = f"m times {claimed[0]:g} GB"
    axis.loglog(users, claimed, color=ORANGE, linestyle="--", marker="s", label=label)
    label = "needed in all"
    axis.loglog(users, needed, color="black", linestyle="-", marker="o", label=label)
    axis.loglog(users, caches, color=BLUE, linestyle="-.", label="caches")
    axis.loglog(users, [weights] * len(users), color=GREY, linestyle=":", label="weights")
    axis.set(xlabel="concurrent users m, 2,048 tokens each", ylabel="GB")
    axis.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    doubling_axis(axis, users)
    axis.legend()
    plt.show()


def parts_that_are_needed(needed: Mapping[str, Sequence[int]], ways: Sequence[str]) -> None:
    """How many parts keep a promise, for kinds of service by the ways to share the requests out."""
    _, axis = plt.subplots(figsize=(7.5, 2.6))
    looks = ((PALE, ""), (BLUE, "//"))
    height = 0.8 / len(needed)
    for number, ((kind, counts), (colour, hatch)) in enumerate(
        zip(needed.items(), looks, strict=True)
    ):
        places = [y + (number - (len(needed) - 1) / 2) * height for y in range(len(ways))]
        bars = axis.barh(
            places, counts, height, color=colour, hatch=hatch, edgecolor="black", label=kind
        )
        axis.bar_label(bars, padding=3)
    axis.set_yticks(range(len(ways)), list(ways))
    axis.invert_yaxis()
    axis.set(xlabel="GPUs for 300 requests per second, at the same P90")
    axis.set_xlim(right=1.1 * max(max(counts) for counts in needed.values()))
    axis.legend(loc="lower right")
    plt.show()
