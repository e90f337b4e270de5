"""A bench as a person reads it, in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decodeloop.bench.batches import BatchReport, BatchRow
from decodeloop.bench.drafts import DraftReport, DraftRow
from decodeloop.bench.runs import Report
from decodeloop.bench.serving import LoadRow
from decodeloop.bench.spread import Spread
from decodeloop.cost.show import plain_table, with_unit
from decodeloop.errors import printable


def milliseconds(times: Spread) -> str:
    return f"{1e3 * times.median:.0f} ({1e3 * times.least:.0f}–{1e3 * times.most:.0f})"


def rates(values: Spread) -> str:
    return f"{values.median:.1f} ({values.least:.1f}–{values.most:.1f})"


def show_busy(report: Report, console: Console) -> None:
    """Print what is left of each beside a busy program."""
    runs = report.settings.busy_runs
    console.print(
        f"\nWith one core held by an endless loop of another process; medians of {runs} runs:\n",
        highlight=False,
        soft_wrap=True,
    )
    table = plain_table("", "tokens/s", "of quiet", "TTFT, ms")
    for row in report.rows:
        if row.busy_tokens_per_s and row.busy_share and row.busy_ttft_s:
            rate, share = rates(row.busy_tokens_per_s), f"{row.busy_share:.0%}"
            table.add_row(row.name, rate, share, milliseconds(row.busy_ttft_s))
    console.print(table, highlight=False)


def show_report(report: Report, console: Console) -> None:
    """Print a row for each contender, then what differs between them."""
    settings = report.settings
    console.print(
        f"{escape(printable(settings.model))}: {settings.prompt_tokens:,} tokens in, "
        f"{settings.new_tokens:,} out, batch 1, greedy, {settings.thread_count} threads; "
        f"medians of {settings.runs} runs (least–most)\n",
        highlight=False,
        soft_wrap=True,
    )
    table = plain_table("", "tokens/s", "TTFT, ms", "GB/s", "of read", "GFLOP/s", "of peak", "MB")
    for row in report.rows:
        table.add_row(
            row.name,
            rates(row.tokens_per_s),
            milliseconds(row.ttft_s),
            f"{row.bytes_per_s / 1e9:.1f}",
            f"{row.bytes_per_s / report.read:.0%}",
            f"{row.flops_per_s / 1e9:.0f}",
            f"{row.flops_per_s / report.matmul:.0%}",
            "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f}",
        )
    console.print(table, highlight=False)
    taken = " · ".join(f"{row.name} {row.run_bytes / 1e6:,.0f}" for row in report.rows
                       if row.run_bytes is not None)  # fmt: skip
    if taken:
        line = f"\nMB that a run takes beyond what is held before it: {taken}"
        console.print(line, highlight=False, soft_wrap=True)
    if settings.busy:
        show_busy(report, console)
    for name, others in report.ratios().items():
        listed = " · ".join(f"{ratio:.2f} × {other}" for other, ratio in others.items())
        if listed:
            console.print(f"\n[bold]{name}[/]: {listed}", highlight=False, soft_wrap=True)
    kinds = " · ".join(
        f"{row.name} {row.bits:.3g} bits a weight, {row.activations} activations, {row.cache} cache"
        for row in report.rows
    )
    read, peak = with_unit(report.read, "B/s"), with_unit(report.matmul, "FLOP/s")
    console.print(
        f"\nWhat differs: {kinds}.\nGB/s: the bytes of weights and cache that a token must read, "
        f"over its time, and that against a read of {read}. GFLOP/s: the FLOPs of the prefill, "
        f"without scores that the mask throws away, over the TTFT, and that against a product of "
        f"{peak} in fp32 (in bf16 or int8 there is a higher one). MB: the most memory above the "
        f"state after imports. The figures are of this machine, now.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    show_failed(report.failed, console)


def show_failed(failed: Mapping[str, str], console: Console) -> None:
    for name, why in failed.items():
        line = f"{name} could not run: {escape(printable(why))}"
        console.print(line, style="red", highlight=False, soft_wrap=True)


def batch_table(report: BatchReport, context: int, cell: Callable[[BatchRow], str]) -> Table:
    """A row for each contender, a column for each batch, at one context."""
    batches = sorted({row.batch for row in report.rows})
    table = plain_table("batch", *(str(batch) for batch in batches))
    cells = {(row.path, row.batch): cell(row) for row in report.rows if row.context == context}
    for path in report.paths():
        table.add_row(path, *(cells.get((path, batch), "") for batch in batches))
    return table


def show_batches(report: BatchReport, console: Console) -> None:
    """Print tokens per second, and what they are of the machine's peaks, by batch and context."""
    settings = report.settings
    console.print(
        f"{escape(printable(settings.model))}: {settings.new_tokens:,} tokens out, greedy, "
        f"{settings.thread_count} threads; medians of {settings.runs} interleaved runs",
        highlight=False,
        soft_wrap=True,
    )
    for context in sorted({row.context for row in report.rows}):
        ttft = {row.path: f"{1e3 * row.ttft_s.median:.0f}" for row in report.rows
                if row.context == context}  # fmt: skip
        for title, cell in (
            ("tokens/s of all texts", lambda row: f"{row.tokens_per_s.median:.0f}"),
            ("from least to most", lambda row: f"{row.tokens_per_s.least:.0f}–"
                                               f"{row.tokens_per_s.most:.0f}"),
            ("ITL, ms", lambda row: f"{1e3 * row.itl_s.median:.1f}"),
            ("of the memory's read", lambda row: f"{row.bytes_per_s / report.read:.0%}"),
            ("of the fp32 peak", lambda row: f"{row.flops_per_s / report.matmul:.0%}"),
        ):  # fmt: skip
            console.print(f"\n{context:,} positions, {title}:", highlight=False)
            console.print(batch_table(report, context, cell), highlight=False)
        listed = " · ".join(f"{path} {ms}" for path, ms in ttft.items())
        console.print(f"TTFT of the prompt, ms: {listed}", highlight=False, soft_wrap=True)
    read, peak = with_unit(report.read, "B/s"), with_unit(report.matmul, "FLOP/s")
    console.print(
        f"\nThe texts of a batch have one prompt, which is read once. The memory's read is {read}; "
        f"a large product in fp32 makes {peak} (in bf16 or int8 there is a higher one). The "
        f"figures are of this machine, now.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    show_failed(report.failed, console)


def show_drafts(report: DraftReport, console: Console) -> None:
    """Print tokens per second with and without drafts, and what stayed of these, by task."""
    settings = report.settings
    many = "as many as pay" if settings.k is None else f"{settings.k}"
    console.print(
        f"{escape(printable(settings.model))}: at most {settings.new_tokens:,} tokens out, greedy, "
        f"{many} drafted a step, {settings.thread_count} threads; medians of {settings.runs} "
        f"interleaved runs",
        highlight=False,
        soft_wrap=True,
    )
    ways = list(dict.fromkeys(row.way for row in report.rows))

    def share(row: DraftRow) -> str:
        if row.draft is None:
            return f"{row.made} tokens"
        kept = "none drafted" if row.accepted is None else f"{row.accepted:.0%} stayed"
        return f"{row.tokens_per_step:.2f}, {kept}"

    for title, cell in (
        ("tokens/s", lambda row: rates(row.tokens_per_s)),
        ("times as fast as without a draft", lambda row: "" if row.draft is None
                                                         else f"{row.over:.2f}"),
        ("tokens a step, and drafted tokens that stayed", share),
    ):  # fmt: skip
        console.print(f"\n{title}:", highlight=False)
        table = plain_table("", *ways)
        for task in dict.fromkeys(row.task for row in report.rows):
            cells = {row.way: cell(row) for row in report.rows if row.task == task}
            table.add_row(task, *(cells[way] for way in ways))
        console.print(table, highlight=False)
    if others := [f"{row.way} at {row.task}" for row in report.rows if not row.same]:
        line = f"\nNot the same tokens as without a draft: {', '.join(others)}."
        console.print(line, style="red", highlight=False, soft_wrap=True)
    else:
        line = "\nEach draft left the text as it is, token for token."
        console.print(line, highlight=False, soft_wrap=True)


def show_load(rows: Sequence[LoadRow], console: Console) -> None:
    """Print a row for each round of a load."""
    table = plain_table(
        "P50 / P90", "tokens/s", "TTFT, ms", "ITL, ms", "TPOT, ms", "good", "failed"
    )
    for row in rows:
        waits = [
            f"{1e3 * of['p50']:.0f} / {1e3 * of['p90']:.0f}" for of in (row.ttft, row.itl, row.tpot)
        ]
        counts = str(row.answered), str(row.failed)
        table.add_row(row.load, f"{row.tokens_per_s:.1f}", *waits, *counts)
    console.print(table, highlight=False)
    for row in rows:
        if row.failure:
            console.print(
                f"{row.load}: {escape(printable(row.failure))}", highlight=False, soft_wrap=True
            )
