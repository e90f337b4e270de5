"""Pictures that a lesson draws more than once, in one style.

Legible in grey and by colour-blind readers (the palette of Okabe and Ito, 2008, and one sequential
map, dark = much), on an opaque light ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from torch import Tensor

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"
PALE = "#c4d7e8"  # what is there, beside what counts
STYLES = cycler(color=[BLUE, ORANGE, GREEN, RED]) + cycler(linestyle=["-", "--", "-.", ":"])
MUCH = "Blues"  # white = nothing, dark = much; the same in grey


def use_style() -> None:
    """The style of every figure of the course; called by `begin`."""
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 100,
            "figure.figsize": (7.0, 3.6),
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": STYLES,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "font.size": 11.0,
            "lines.linewidth": 2.0,
        }
    )


def attention_map(
    weights: Tensor,
    query_labels: Sequence[str],
    key_labels: Sequence[str] | None = None,
    *,
    title: str = "",
    numbers: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw attention weights: a row for each query, a column for each key, dark = much.

    Args:
        weights: (T, S), rows summing to 1.
        query_labels: T of them; the keys have the same if `key_labels` is not given.
        numbers: write each weight into its cell; for small maps.
    """
    table = weights.detach().float().cpu().numpy()
    keys = list(query_labels if key_labels is None else key_labels)
    alone = ax is None
    if ax is None:
        side = 1.6 + 0.36 * max(len(keys), len(query_labels))
        _, ax = plt.subplots(figsize=(min(side + 1.0, 9.0), min(side, 8.0)))
    image = ax.imshow(
        table, cmap=MUCH, vmin=0.0, vmax=max(float(table.max()), 1e-9), aspect="equal"
    )
    ax.set_xticks(range(len(keys)), keys, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(query_labels)), list(query_labels))
    ax.set_xlabel("key: attended to")
    ax.set_ylabel("query: attends")
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color("#bbbbbb")
    if title:
        ax.set_title(title)
    if numbers:
        middle = table.max() / 2
        for row, column in ((r, c) for r in range(table.shape[0]) for c in range(table.shape[1])):
            value = table[row, column]
            colour = "white" if value > middle else "black"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    elif alone:
        ax.figure.colorbar(image, ax=ax, shrink=0.7, label="weight")
    return ax


def mask_map(
    mask: Tensor,
    title: str,
    ax: Axes,
    queries: str = "query",
    keys: str = "key",
    first: int = 1,
) -> None:
    """Draw a boolean mask (T, S): filled = may attend. `first` is the number of the first query."""
    rows, columns = mask.shape
    ax.imshow(mask.cpu().numpy(), cmap="Greys", vmin=-0.15, vmax=1.5, aspect="equal")
    ax.set_xticks(range(columns), [str(c) for c in range(1, columns + 1)])
    ax.set_yticks(range(rows), [str(r) for r in range(first, first + rows)])
    ax.set_xticks([c - 0.5 for c in range(1, columns)], minor=True)
    ax.set_yticks([r - 0.5 for r in range(1, rows)], minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(keys)
    ax.set_ylabel(queries)
    ax.set_title(title)


def kv_sharing(H: int, G: int, title: str, ax: Axes) -> None:
    """Draw which of `H` query heads reads which of `G` KV heads."""
    for g in range(G):
        middle = (g + 0.5) * H / G - 0.5  # under the heads that read it
        box = plt.Rectangle((middle - 0.4, 0.0), 0.8, 0.5, facecolor=PALE, edgecolor="black")
        ax.add_patch(box)
        ax.text(middle, 0.25, str(g), ha="center", va="center", fontsize=9)
        for h in range(g * H // G, (g + 1) * H // G):
            ax.plot([h, middle], [1.5, 0.5], color="black", linewidth=1.0, linestyle="-", zorder=0)
    for h in range(H):
        ax.add_patch(plt.Rectangle((h - 0.4, 1.5), 0.8, 0.5, facecolor="white", edgecolor="black"))
        ax.text(h, 1.75, str(h), ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.6, H - 0.4), ylim=(-0.1, 2.1))
    ax.set_yticks([0.25, 1.75], ["KV", "query"])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)


def doubling_axis(ax: Axes, sizes: Sequence[int]) -> None:
    """Label a logarithmic x axis with the sizes that were measured, and nothing between."""
    ax.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
    ax.minorticks_off()


def token_labels(pieces: Sequence[str]) -> list[str]:
    """Pieces of text as axis labels: a leading space shows as ␣, a line break as ⏎.

    >>> token_labels([" cat", "\\n"])
    ['␣cat', '⏎']
    """
    return [p.replace(" ", "␣").replace("\n", "⏎").replace("$", r"\$") for p in pieces]


def course_map(layers: int) -> Axes:
    """One token's way through the machine, each part with the lesson that builds it."""
    _, ax = plt.subplots(figsize=(9.4, 3.9))
    light, dark = "#e8eef4", PALE

    def box(x: float, y: float, w: float, h: float, text: str, colour: str = light) -> None:
        ax.add_patch(plt.Rectangle((x, y), w, h, facecolor=colour, edgecolor="black", zorder=2))
        ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9.5, zorder=3)

    def arrow(*points: tuple[float, float]) -> None:
        for start, end in pairwise(points[:-1]):
            ax.plot(*zip(start, end, strict=True), color="black", linewidth=1.4, linestyle="-")
        head = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.4}
        ax.annotate("", xy=points[-1], xytext=points[-2], arrowprops=head)

    middle = 2.0
    columns = [
        (0.0, 1.25, "text to\ntokens\n\n00"),
        (1.75, 1.45, "embedding:\ntokens to\nvectors\n\n04"),
        (7.85, 1.3, "head:\nvectors to\nlogits\n\n04"),
        (9.65, 1.3, "choose\nthe next\ntoken\n\n07"),
    ]
    for x, w, text in columns:
        box(x, middle - 0.8, w, 1.6, text)
    box(3.7, 0.55, 3.65, 3.3, "", dark)
    ax.text(
        5.52, 3.62, f"the block, {layers} times", ha="center", va="center", fontsize=9.5, zorder=3
    )
    box(3.9, 1.2, 1.55, 1.6, "attention\n\n01, 02", "white")
    box(5.65, 1.2, 1.5, 1.6, "norms,\npositions,\nfeed-forward\n\n03", "white")
    box(3.9, 2.95, 1.55, 0.45, "KV cache · 06", "white")
    for start, end in ((1.25, 1.75), (3.2, 3.7), (7.35, 7.85), (9.15, 9.65)):
        arrow((start, middle), (end, middle))
    arrow((10.3, 1.2), (10.3, 0.15), (0.62, 0.15), (0.62, 1.2))
    ax.text(
        5.5, 0.27, "the decoding loop: append it, and again · 05, 08", ha="center", fontsize=9.5
    )
    ax.set_xlim(-0.1, 11.1)
    ax.set_ylim(0.0, 4.0)
    ax.axis("off")
    return ax


def block_diagram(order: str, ax: Axes) -> None:
    """One block, the stream running from left to right: `order` is "pre-norm" or "post-norm"."""
    light, dark = "#e8eef4", PALE
    stream, branch = 0.0, 1.5

    def arrow(*points: tuple[float, float]) -> None:
        for start, end in pairwise(points[:-1]):
            ax.plot(*zip(start, end, strict=True), color="black", linewidth=1.4, linestyle="-")
        head = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=points[-1], xytext=points[-2], arrowprops=head, zorder=1)

    def box(x: float, y: float, w: float, text: str, colour: str) -> None:
        corner = (x, y - 0.4)
        ax.add_patch(plt.Rectangle(corner, w, 0.8, facecolor=colour, edgecolor="black", zorder=3))
        ax.text(x + w / 2, y, text, ha="center", va="center", fontsize=9.5, zorder=4)

    for start, name in ((0.8, "attention"), (6.2, "feed-forward")):
        arrow((start, stream), (start, branch), (start + 0.4, branch))
        if order == "pre-norm":
            box(start + 0.4, branch, 0.9, "norm", light)
            arrow((start + 1.3, branch), (start + 1.7, branch))
            box(start + 1.7, branch, 1.9, name, dark)
            meet = start + 4.1
            arrow((start + 3.6, branch), (meet, branch), (meet, stream + 0.25))
        else:
            box(start + 0.4, branch, 1.9, name, dark)
            meet = start + 2.8
            arrow((start + 2.3, branch), (meet, branch), (meet, stream + 0.25))
            box(start + 3.5, stream, 0.9, "norm", light)
        ax.add_patch(
            plt.Circle((meet, stream), 0.25, facecolor="white", edgecolor="black", zorder=3)
        )
        ax.text(meet, stream - 0.02, "+", ha="center", va="center", fontsize=12, zorder=4)
    arrow((0.0, stream), (11.6, stream))
    ax.text(-0.1, stream, "x", ha="right", va="center", fontsize=12)
    ax.set_title(order)
    ax.set(xlim=(-0.5, 11.8), ylim=(-0.6, 2.1))
    ax.set_aspect("equal")
    ax.axis("off")
