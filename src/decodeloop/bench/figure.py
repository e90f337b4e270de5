"""A bench as a picture."""

from __future__ import annotations

from pathlib import Path

from decodeloop.bench.batches import BatchReport
from decodeloop.bench.contenders import CONTENDERS
from decodeloop.bench.runs import Report, Row
from decodeloop.bench.spread import Spread
from decodeloop.errors import UserError

FORMATS = (".png", ".svg", ".pdf")


def check_file(file: Path) -> None:
    """Raise a `UserError` unless a picture can be saved there: told before minutes of work."""
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--figure is {file}: expected a name that ends in {', '.join(FORMATS)}.")
    if not file.absolute().parent.is_dir():
        raise UserError(f"--figure is {file}: there is no folder {file.absolute().parent}.")


def draw_report(report: Report, file: Path) -> None:
    """Save bars of tokens per second and of TTFT, medians with their extremes, to `file`."""
    from matplotlib.figure import Figure

    own = {one.name for one in CONTENDERS if one.own}
    rows = report.rows[::-1]  # the first at the top
    figure = Figure(figsize=(9.0, 1.4 + 0.36 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2, sharey=True)
    names = [f"{row.name}, {row.bits:.2g} bits" for row in rows]
    for axis, spreads, label in (
        (axes[0], [row.tokens_per_s for row in rows], "tokens per second (longer is faster)"),
        (axes[1], [scaled(row, 1e3) for row in rows], "TTFT, ms (shorter is faster)"),
    ):
        medians = [s.median for s in spreads]
        bars = axis.barh(
            names,
            medians,
            xerr=[[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]],
            color=["#0072B2" if row.name in own else "#c4d7e8" for row in rows],
            edgecolor="black",
            error_kw={"capsize": 2, "elinewidth": 1},
        )
        for bar, row in zip(bars, rows, strict=True):
            bar.set_hatch("" if row.name in own else "//")
        furthest = max(s.most for s in spreads)
        for number, (median, s) in enumerate(zip(medians, spreads, strict=True)):
            axis.text(s.most + 0.02 * furthest, number, f"{median:.3g}", va="center", fontsize=9)
        axis.set(xlabel=label, xlim=(0, 1.15 * furthest))
        axis.spines[["top", "right"]].set_visible(False)
    settings = report.settings
    figure.suptitle(
        f"{settings.model}: {settings.prompt_tokens:,} tokens in, {settings.new_tokens:,} out, "
        f"batch 1, {settings.thread_count} threads; medians of {settings.runs} interleaved runs, "
        f"least to most",
        fontsize=10,
    )
    figure.savefig(file, dpi=110)


def scaled(row: Row, factor: float) -> Spread:
    """The TTFT of a row in another unit."""
    s = row.ttft_s
    return Spread(factor * s.median, factor * s.least, factor * s.most)


COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7")  # ours; others are grey


def draw_batches(report: BatchReport, file: Path) -> None:
    """Save tokens per second over the batch, a panel for each context, to `file`."""
    from matplotlib.figure import Figure

    contexts = sorted({row.context for row in report.rows})
    own = [one.name for one in CONTENDERS if one.own]
    figure = Figure(figsize=(4.8 * len(contexts), 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(contexts), squeeze=False)[0]
    for axis, context in zip(axes, contexts, strict=True):
        for number, path in enumerate(report.paths()):
            rows = [row for row in report.rows if (row.path, row.context) == (path, context)]
            medians = [row.tokens_per_s.median for row in rows]
            below = [row.tokens_per_s.median - row.tokens_per_s.least for row in rows]
            above = [row.tokens_per_s.most - row.tokens_per_s.median for row in rows]
            mine = path in own
            axis.errorbar(
                [row.batch for row in rows],
                medians,
                yerr=[below, above],
                label=path,
                color=COLOURS[own.index(path) % len(COLOURS)] if mine else "#777777",
                linestyle="-" if mine else "--",
                marker="o" if mine else "sv^D"[number % 4],
                capsize=2,
            )
        batches = sorted({row.batch for row in report.rows})
        axis.set_xscale("log", base=2)
        axis.set_xticks(batches, [str(batch) for batch in batches])
        axis.set(xlabel="texts at once", title=f"{context:,} positions", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("tokens per second, of all texts")
    axes[0].legend(frameon=False, fontsize=8)
    settings = report.settings
    figure.suptitle(
        f"{settings.model}: {settings.thread_count} threads, medians of {settings.runs} "
        f"interleaved runs, least to most",
        fontsize=10,
    )
    figure.savefig(file, dpi=110)
