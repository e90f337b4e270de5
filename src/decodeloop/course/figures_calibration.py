"""A learner's guesses against what was measured, over all lessons, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from decodeloop.course.calibration import CLOSE, Guess
from decodeloop.course.figures import BLUE, GREY, PALE, RED

WIDEST = 1000.0  # a guess that is further off is drawn at the edge


def calibration(made: Sequence[Guess], ax: Axes) -> None:
    """Draw guessed / measured, a point for each guess, lesson by lesson; 1 is a perfect one.

    Points within a factor of 2 are blue and round, others red and pointed, towards where they are
    off. A guess without a factor (of nothing, or of the other sign) has no point.
    """
    drawn = [guess for guess in made if guess.ratio is not None]
    ax.axhspan(1 / CLOSE, CLOSE, color=PALE, alpha=0.5, linewidth=0)
    ax.axhline(1.0, color=GREY, linewidth=1.0, linestyle="-")
    for x, guess in enumerate(drawn):
        ratio = min(max(guess.ratio or 1.0, 1 / WIDEST), WIDEST)
        close = 1 / CLOSE <= ratio <= CLOSE
        marker = "o" if close else "^" if ratio > 1 else "v"
        ax.plot(x, ratio, marker=marker, color=BLUE if close else RED, markersize=7)
    start, middles, names = 0, [], []
    for lesson, group in groupby(drawn, key=lambda guess: guess.lesson.split("_")[0]):
        size = len(list(group))
        middles.append(start + (size - 1) / 2)
        names.append(lesson)
        start += size
        if start < len(drawn):
            ax.axvline(start - 0.5, color=GREY, linewidth=0.5, linestyle=":")
    ax.set_xticks(middles, names)
    ax.tick_params(axis="x", length=0)
    ax.set_yscale("log")
    reach = max([CLOSE * 2, *(min(g.factor or 1.0, WIDEST) * 1.5 for g in drawn)])
    ax.set_ylim(1 / reach, reach)
    ticks = [t for t in (0.001, 0.01, 0.1, 0.5, 1, 2, 10, 100, 1000) if 1 / reach <= t <= reach]
    ax.set_yticks(ticks, [f"{tick:g} ×" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(-0.7, max(len(drawn) - 0.3, 0.7))
    ax.set_xlabel("lesson")
    ax.set_ylabel("guessed / measured")


def save_calibration(made: Sequence[Guess], title: str, path: Path) -> None:
    """Write the picture as a file, without a notebook; the format is that of its ending.

    Raises:
        OSError: it can't be written.
        ValueError: the ending is of no known format.
    """
    figure = Figure(figsize=(9.0, 4.0), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    calibration(made, ax)
    ax.set_title(title, fontsize="medium")
    figure.savefig(path)
