"""`decodeloop measure`: this machine's peaks, and the model on it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from decodeloop.commands.shared import MODEL, Device, Json, Model, check_at_least, interruptible


def measure(
    model: Model = MODEL,
    context: Annotated[
        list[int] | None, typer.Option(help="Positions at a decode step; repeatable.")
    ] = None,
    prompt: Annotated[
        list[int] | None, typer.Option(help="Tokens of a prefill; repeatable.")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Rows at once; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 5,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure this machine, and the model on it: predicted beside measured."""
    for name, values in (("context", context), ("prompt", prompt), ("batch", batch)):
        for value in values or ():
            check_at_least(1, **{name: value})
    check_at_least(1, repeats=repeats)
    with interruptible():
        from decodeloop.bar import progress_bar
        from decodeloop.cost.architecture import BYTES
        from decodeloop.loading import load
        from decodeloop.measure.machine import achieved, forward_times, measure_machine
        from decodeloop.measure.room import check_room, total_memory

    llm = load(model, device, compiled=False)
    cases = [(rows, 1, n) for rows in batch or (1,) for n in context or (64, 512, 2048)]
    cases += [(rows, n, n) for rows in batch or (1,) for n in prompt or (128, 512)]
    memory = total_memory() if llm.device.type == "cpu" else None
    for case in cases:
        check_room(llm.config, *case, memory)
    with progress_bar() as show:
        machine = measure_machine(
            llm.config,
            llm.device,
            repeats=repeats,
            progress=lambda done: show("this machine", done),
        )
        times = forward_times(
            llm.model, cases, repeats, progress=lambda done: show("the model", done)
        )
    if as_json:
        rows = [
            {
                **vars(time),
                "predicted": time.predicted,
                "ratio": time.predicted / time.measured,
                **achieved(llm.config, time, BYTES["fp32"]),
            }
            for time in times
        ]
        found = {**vars(machine), "flops": machine.flops}
        print(json.dumps({"model": llm.name, "machine": found, "forwards": rows}))
        return
    from rich.console import Console

    from decodeloop.measure.show import show_forwards, show_machine

    console = Console()
    show_machine(machine, console)
    show_forwards(llm.config, machine, times, console)
