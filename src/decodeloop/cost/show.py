"""Costs and measurements as a person reads them, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from decodeloop.cost.architecture import BYTES
from decodeloop.cost.machine import ForwardTime, Machine, achieved
from decodeloop.cost.summary import Costs
from decodeloop.model import ModelConfig

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


def show_costs(name: str, costs: Costs, console: Console) -> None:
    """Print all that `costs` knows."""
    part, held = costs.accelerator, costs.memory
    total = sum(costs.parameters.values())
    console.print(f"[bold]{name}[/]: {total:,} parameters")
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


def show_machine(machine: Machine, console: Console) -> None:
    """Print what a machine reached."""
    table = plain_table(f"this machine, {machine.device}, {machine.threads} threads", "reached")
    rows: Mapping[str, float] = {
        "read": machine.read,
        "copy": machine.copy,
        "triad": machine.triad,
        "the model's matrices × one vector": machine.linear,
    }
    for label, rate in rows.items():
        table.add_row(label, with_unit(rate, "B/s"))
    for kind, by_size in machine.matmul.items():
        for size, flops in by_size.items():
            table.add_row(f"{kind} product of {size} × {size}", with_unit(flops, "FLOP/s"))
    console.print(table, highlight=False)


def show_forwards(
    config: ModelConfig, machine: Machine, times: Sequence[ForwardTime], console: Console
) -> None:
    """Print forward passes in fp32 as predicted from parts and as measured."""
    table = plain_table(
        "\nforward",
        "\nmatrices",
        "\nrest",
        "\npredicted",
        "\nmeasured",
        "\nratio",
        "\nof peak",
        "\nof read",
    )
    for time in times:
        label = f"prefill {time.T}" if time.T > 1 else f"decode at {time.S}"
        rates = achieved(config, time, BYTES["fp32"])
        table.add_row(
            label + (f" × {time.batch}" if time.batch > 1 else ""),
            *(duration(s) for s in (time.matrices, time.rest, time.predicted, time.measured)),
            f"{time.predicted / time.measured:.2f}",
            f"{rates['flops_per_s'] / machine.flops['fp32']:.0%}",
            f"{rates['bytes_per_s'] / machine.read:.0%}",
        )
    console.print(table, highlight=False)
    console.print(
        "ratio: predicted / measured; of peak: FLOP/s against the best fp32 product; of read: "
        "bytes/s\nmoved at least, against the read bandwidth.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
