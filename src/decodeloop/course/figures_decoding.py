"""The pictures of lessons 08 and 08b: tokens and text, waiting, padded prompts, a tree of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from torch import Tensor

from decodeloop.course.figures import BLUE, GREY, PALE, doubling_axis, mask_map, token_labels

Tree = Mapping[str, Mapping[str, float]]  # a word, or "" → what may follow, with its probability


def tokens_and_text(tokens: Sequence[str], given: Sequence[str]) -> None:
    """Tokens as they come, and below each the text that is given out with it."""
    _, axis = plt.subplots(figsize=(min(1.1 + 1.1 * len(tokens), 10), 1.9))
    for row, pieces in enumerate((tokens, given)):
        for x, piece in enumerate(token_labels(pieces)):
            face = PALE if row == 0 else "white"
            edge = "black" if piece else "#bbbbbb"
            axis.add_patch(plt.Rectangle((x, -row), 0.94, 0.7, facecolor=face, edgecolor=edge))
            axis.text(x + 0.47, 0.35 - row, piece or "waits", ha="center", va="center", size=9,
                      color="black" if piece else GREY)  # fmt: skip
    for y, name in ((0.35, "token"), (-0.65, "reader sees")):
        axis.text(-0.1, y, name, ha="right", va="center", fontsize=10)
    axis.set(xlim=(-1.2, len(tokens)), ylim=(-1.1, 0.8))
    axis.axis("off")
    plt.show()


def waits_of_the_reader(seconds: Mapping[int, Sequence[float]]) -> None:
    """Seconds before each token, by the length of the prompt: the first token's by the length, and
    the others' by their index."""
    lengths = list(seconds)
    first = [1e3 * seconds[n][0] for n in lengths]
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    left.loglog(lengths, first, marker="o", label="measured")
    law = [first[-1] * n / lengths[-1] for n in lengths]
    left.loglog(lengths, law, color="grey", linewidth=1, linestyle=":", label="∝ length")
    left.set(xlabel="prompt, tokens", ylabel="TTFT in milliseconds")
    doubling_axis(left, lengths)
    left.set_yticks(first, [f"{ms:.0f}" for ms in first])
    left.legend()
    for length, marker in zip(lengths, "os^", strict=False):
        later = [1e3 * s for s in seconds[length][1:]]
        indices = range(2, len(later) + 2)
        right.plot(indices, later, marker=marker, label=f"prompt of {length}")
        right.set_xticks(indices)
    right.set(xlabel="index of the token", ylabel="ITL in milliseconds")
    right.set_ylim(bottom=0)
    right.legend()
    plt.show()


def masks_of_prompts(masks: Tensor, lengths: Sequence[int]) -> None:
    """The mask (B, 1, T, T) of each prompt of a padded batch, with its number of tokens."""
    _, axes = plt.subplots(1, len(lengths), figsize=(8, 3))
    for mask, length, axis in zip(masks[:, 0], lengths, axes, strict=True):
        mask_map(mask, f"{length} token{'s' * (length > 1)}", axis)
    plt.show()


def tree_of_texts(tree: Tree, ways: Mapping[str, tuple[str, str]]) -> None:
    """All texts of two words with their probabilities; the ways by their names, the first one
    dashed, the second one thick."""
    _, axis = plt.subplots(figsize=(7, 3.4))
    texts = [(first, second) for first in tree[""] for second in tree[first]]
    rows = {text: len(texts) - 1.0 - n for n, text in enumerate(texts)}
    middle = {first: (rows[own[0]] + rows[own[-1]]) / 2 for first in tree[""]
              if (own := [text for text in texts if text[0] == first])}  # fmt: skip
    looks = dict(zip(ways.values(), (("--", 2.2), ("-", 3.4)), strict=True))
    box = {"facecolor": "white", "edgecolor": "grey", "pad": 4}
    root = sum(middle.values()) / len(middle)
    for text, y in rows.items():
        style, width = looks.get(text, ("-", 1.0))
        colour = "black" if text in looks else "grey"
        x = [0, 1, 2]
        axis.plot(x, [root, middle[text[0]], y], style, linewidth=width, color=colour, zorder=1)
        share, second = tree[""][text[0]], tree[text[0]][text[1]]
        label = f"{text[1]}  {second:g}  →  {share * second:.2f}"
        axis.text(2, y, label, va="center", ha="left", bbox=box)
    for first, y in middle.items():
        axis.text(1, y, f"{first}  {tree[''][first]:g}", va="center", ha="center", bbox=box)
    axis.text(0, root, "I", va="center", ha="center", bbox=box)
    for name, text in ways.items():
        axis.text(2.8, rows[text], name, va="center")
    axis.set(xlim=(-0.2, 3.4), ylim=(-0.5, len(texts) - 0.5))
    axis.axis("off")
    plt.show()


def surprise_of_texts(texts: Mapping[str, tuple[Sequence[str], Tensor]]) -> None:
    """The surprise in nats of each token of texts by title: their pieces, and −ln p of each."""
    _, axes = plt.subplots(len(texts), 1, figsize=(9, 2.3 * len(texts)), sharey=True)
    for axis, (title, (pieces, surprise)) in zip(axes, texts.items(), strict=True):
        axis.bar(range(len(pieces)), surprise.tolist(), color=BLUE)
        labels = token_labels(pieces)
        axis.set_xticks(range(len(pieces)), labels, rotation=45, ha="right", rotation_mode="anchor")
        mean = float(surprise.mean())
        axis.set(title=f"{title}: {mean:.1f} nats per token", ylabel="surprise, nats")
    plt.show()
