"""Costs as a person reads them, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from decodeloop.cost.summary import Costs
from decodeloop.errors import printable

STEPS = ("", "k", "M", "G", "T", "P")


def with_unit(value: float, unit: str) -> str:
    """A number to three digits with a decimal prefix.

    >>> with_unit(1_073_741_824, "B"), with_unit(512, "FLOPs")
    ('1.07 GB', '512 FLOPs')
    """
    step = 0
    while round(abs(value), 3 - len(str(int(abs(value))))) >= 1000 and step + 1 < len(STEPS):
        value, step = value / 1000, step + 1
    return f"{float(f'{value:.3g}'):g} {STEPS[step]}{unit}"


def duration(seconds: float) -> str:
    """A time to three digits, in the unit that fits.

    >>> duration(0.00672), duration(2.5)
    ('6.72 ms', '2.5 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{float(f'{seconds / size:.3g}'):g} {unit}"
    return f"{float(f'{seconds * 1e6:.3g}'):g} µs"


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def of_them_active(costs: Costs) -> str:
    """How many parameters a token meets, and in how many experts, as the end of a phrase."""
    if (experts := costs.config.experts) is None:
        return ""
    shared = f" and {experts.shared} shared" if experts.shared else ""
    return (
        f", {costs.active_parameters:,} of them for one token, which meets {experts.active} of "
        f"{experts.number}{shared} experts in a layer"
    )


def show_costs(name: str, costs: Costs, console: Console) -> None:
    """Print all that `costs` knows."""
    part, held = costs.accelerator, costs.memory
    total = sum(costs.parameters.values())
    console.print(
        f"[bold]{escape(printable(name))}[/]: {total:,} parameters{of_them_active(costs)}"
    )
    shares = [
        f"{part.replace('_', ' ')} {count / total:.1%}"
        for part, count in costs.parameters.items()
        if count
    ]
    console.print("  " + " · ".join(shares), highlight=False)

    table = plain_table(
        f"\nmemory, {costs.batch} × {costs.context:,} tokens", "\nbytes", "\nGB", "\nGiB"
    )
    rows = {
        f"weights, {costs.dtype}": held.weights,
        f"KV cache, {costs.cache_dtype}": held.kv_cache,
        "activations of the plain decoder": held.activations,
        "together": held.total,
    }
    for label, count in rows.items():
        table.add_row(label, f"{count:,}", f"{count / 1e9:.2f}", f"{count / 2**30:.2f}")
    console.print(table, highlight=False)

    table = plain_table("\nwork", "\nFLOPs", "\nbytes moved", "\nFLOPs per byte")
    phases = (
        (f"prefill of {costs.prompt:,}", costs.prefill_flops, costs.prefill_bytes),
        (f"decode step at {costs.context:,}", costs.decode_flops, costs.decode_bytes),
    )
    for label, flops, moved in phases:
        f, b = sum(flops.values()), sum(moved.values())
        table.add_row(label, with_unit(f, ""), with_unit(b, "B"), f"{f / b:.3g}")
    console.print(table, highlight=False)

    times = costs.times
    table = plain_table(f"\non {part.name}, at best", "\ntime", "\nlimited by")
    table.add_row("TTFT", duration(times.ttft_s), times.prefill.bound)
    table.add_row("ITL", duration(times.itl_s), times.decode.bound)
    table.add_row("tokens per second, all rows", f"{times.tokens_per_second:,.3g}", "")
    console.print(table, highlight=False)
    if costs.fits:
        room = f"it fits into {with_unit(part.memory, 'B')}, and so do {costs.max_batch:,} rows"
        console.print(f"\n{room} of this context, activations aside.", highlight=False)
    else:
        parts = -(-held.total // part.memory)
        console.print(
            f"\nit does not fit into {with_unit(part.memory, 'B')}: the times are those of a part "
            f"with room enough; {parts:,} of them would hold it.",
            highlight=False,
        )
