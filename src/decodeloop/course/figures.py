"""Pictures that a lesson draws more than once, in one style.

Legible in grey and by colour-blind readers (the palette of Okabe and Ito, 2008, and one sequential
map, dark = much), on an opaque light ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from torch import Tensor

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6b6b6b"
STYLES = cycler(color=[BLUE, ORANGE, GREEN, RED]) + cycler(linestyle=["-", "--", "-.", ":"])
MUCH = "cividis_r"  # light = little, dark = much; the same in grey


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
    if ax is None:
        side = 1.6 + 0.36 * max(len(keys), len(query_labels))
        _, ax = plt.subplots(figsize=(min(side + 1.0, 9.0), min(side, 8.0)))
    ax.imshow(table, cmap=MUCH, vmin=0.0, vmax=max(float(table.max()), 1e-9), aspect="equal")
    ax.set_xticks(range(len(keys)), keys, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(query_labels)), list(query_labels))
    ax.set_xlabel("key: attended to")
    ax.set_ylabel("query: attends")
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    if numbers:
        middle = table.max() / 2
        for row, column in ((r, c) for r in range(table.shape[0]) for c in range(table.shape[1])):
            value = table[row, column]
            colour = "white" if value > middle else "black"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
    return ax


def mask_map(mask: Tensor, title: str, ax: Axes, queries: str = "query", keys: str = "key") -> None:
    """Draw a boolean mask (T, S): filled = may attend."""
    rows, columns = mask.shape
    ax.imshow(mask.cpu().numpy(), cmap="Greys", vmin=0, vmax=1.6, aspect="equal")
    ax.set_xticks(range(columns), range(1, columns + 1))
    ax.set_yticks(range(rows), range(1, rows + 1))
    ax.set_xticks([c - 0.5 for c in range(1, columns)], minor=True)
    ax.set_yticks([r - 0.5 for r in range(1, rows)], minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(keys)
    ax.set_ylabel(queries)
    ax.set_title(title)


def token_labels(pieces: Sequence[str]) -> list[str]:
    """Pieces of text as axis labels: a leading space shows as ␣, a line break as ⏎.

    >>> token_labels([" cat", "\\n"])
    ['␣cat', '⏎']
    """
    return [p.replace(" ", "␣").replace("\n", "⏎").replace("$", r"\$") for p in pieces]


def boxes(
    ax: Axes, labels: Sequence[str], *, y: float, height: float, colour: Any, width: float = 0.9
) -> None:
    """A row of labelled boxes centred at x = 0, 1, 2, …: a picture of steps or tensors."""
    for x, label in enumerate(labels):
        ax.add_patch(
            plt.Rectangle(
                (x - width / 2, y - height / 2), width, height, facecolor=colour, edgecolor="black"
            )
        )
        ax.text(x, y, label, ha="center", va="center", fontsize=9)
