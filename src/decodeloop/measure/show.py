"""Measurements as a person reads them, in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from decodeloop.cost.architecture import BYTES
from decodeloop.cost.show import duration, plain_table, with_unit
from decodeloop.measure.machine import ForwardTime, Machine, achieved
from decodeloop.model import ModelConfig


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
