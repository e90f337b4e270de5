"""`decodeloop bench`: the ways of decoding, in turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from decodeloop.commands.shared import MODEL, Json, Model, check_at_least, interruptible


def bench(
    model: Model = MODEL,
    peers: Annotated[
        bool, typer.Option("--peers", help="Also other engines, those that are installed.")
    ] = False,
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of the prompt.")] = 128,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are decoded.")] = 64,
    context: Annotated[
        int | None, typer.Option(help="Positions in the cache when decoding begins: the prompt's.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 10,
    threads: Annotated[int, typer.Option(help="As many as PyTorch takes, if not given.")] = 0,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also with one core held by an endless loop.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it as well: a .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the ways of decoding on this machine, in turn; it ends in one line with --json."""
    with interruptible():
        from decodeloop import bench as benches
        from decodeloop.bar import progress_bar
        from decodeloop.bench.figure import check_file, draw_report

    if figure is not None:
        check_file(figure)
    check_at_least(1, context=context)
    settings = benches.Settings(model, context or prompt_tokens, new_tokens, runs, threads, busy)
    config = benches.config_of(model)
    contenders = [one for one in benches.CONTENDERS if one.own or (peers and one.installed)]
    with progress_bar() as show:
        report = benches.bench(config, settings, contenders, show)
    if figure is not None:
        draw_report(report, figure)
    if as_json:
        print(json.dumps(report.as_dict()))
        return
    from rich.console import Console

    from decodeloop.bench.show import show_report

    show_report(report, Console())
