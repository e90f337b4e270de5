"""`decodeloop bench`: the ways of decoding, in turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decodeloop.commands.shared import (
    MODEL,
    ApiKey,
    Json,
    Model,
    check_at_least,
    interruptible,
    note,
)
from decodeloop.errors import UserError, printable

if TYPE_CHECKING:
    from decodeloop.bench import DraftSettings


def bench(
    model: Model = MODEL,
    peers: Annotated[
        bool,
        typer.Option("--peers", help="Also other engines: those installed, and llama.cpp by npm."),
    ] = False,
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of the prompt.")] = 128,
    new_tokens: Annotated[int, typer.Option(help="Tokens that are decoded.")] = 64,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER,…",
            help="Positions in the cache when decoding begins: the prompt's. With --batch several.",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="INTEGER,…", help="Several texts at once, such as 1,2,4,8,16,32."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 10,
    threads: Annotated[int, typer.Option(help="As many as PyTorch takes, if not given.")] = 0,
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Also the plain decoder with the whole table of scores: for long prompts.",
        ),
    ] = False,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also with one core held by an endless loop.")
    ] = False,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="Speculative decoding, on tasks that copy and others."),
    ] = False,
    draft_tokens: Annotated[
        int | None,
        typer.Option(help="For --draft: always so many a step; as many as pay, if not given."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it as well: a .png, .svg or .pdf.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Load a server of OpenAI's protocol, such as one of 'decodeloop serve'."),
    ] = None,
    api_key: ApiKey = None,
    users: Annotated[
        str | None,
        typer.Option(metavar="INTEGER,…", help="For --url: rounds of so many users; 1,4,8."),
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(metavar="NUMBER,…", help="For --url: rounds of so many requests a second."),
    ] = None,
    requests: Annotated[int, typer.Option(help="For --url: requests of a round.")] = 32,
    as_json: Json = False,
) -> None:
    """Compare the ways of decoding on this machine, in turn; it ends in one line with --json.

    With --url a server is loaded instead, by users who ask again when they are answered (--users),
    or at random times (--rates).
    """
    if url is not None:
        load_server(url, api_key, model, users, rates, requests, prompt_tokens, new_tokens, as_json)
        return
    if users or rates:
        raise UserError("--users and --rates load a server: give --url too.")
    with interruptible():
        from decodeloop import bench as benches
        from decodeloop.bar import progress_bar
        from decodeloop.bench.figure import check_file, draw_batches, draw_report

    if draft_tokens is not None and not draft:
        raise UserError("--draft-tokens is for drafts: give --draft too.")
    if draft:
        others = {
            "--peers": peers,
            "--context": context is not None,
            "--batch": batch is not None,
            "--table": table,
            "--busy": busy,
            "--figure": figure is not None,
        }
        if given := [option for option, was in others.items() if was]:
            raise UserError(f"--draft has tasks and ways of its own: leave out {given[0]}.")
        with_drafts(benches.DraftSettings(model, new_tokens, runs, threads, draft_tokens), as_json)
        return
    if figure is not None:
        check_file(figure)
    contexts = numbers("--context", context or str(prompt_tokens))
    contenders = [one for one in benches.CONTENDERS if one.own or (peers and one.installed)]
    if table:
        contenders.insert(1, benches.TABLE)
    from rich.console import Console

    from decodeloop.bench.show import show_batches, show_report

    if batch is not None:
        if busy:
            raise UserError("--busy is for one text: leave out --batch.")
        if table:
            raise UserError("--table is for one text: leave out --batch.")
        many = benches.BatchSettings(
            model, numbers("--batch", batch), contexts, new_tokens, runs, threads
        )
        config = benches.config_of(model)
        with progress_bar() as show:
            found = benches.bench_batches(config, many, contenders, show)
        if figure is not None:
            draw_batches(found, figure)
        if as_json:
            print(json.dumps(found.as_dict()))
        else:
            show_batches(found, Console())
        return
    if len(contexts) > 1:
        raise UserError(f"--context is {context!r}: several contexts need --batch.")
    settings = benches.Settings(model, contexts[0], new_tokens, runs, threads, busy)
    config = benches.config_of(model)
    with progress_bar() as show:
        report = benches.bench(config, settings, contenders, show)
    if figure is not None:
        draw_report(report, figure)
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        show_report(report, Console())


def with_drafts(settings: DraftSettings, as_json: bool) -> None:
    """Compare decoding with drafts to decoding as it is."""
    from rich.console import Console

    from decodeloop.bar import progress_bar
    from decodeloop.bench import bench_drafts, config_of
    from decodeloop.bench.show import show_drafts

    config_of(settings.model)  # an unknown model is refused before anything is measured
    with progress_bar() as show:
        found = bench_drafts(settings, show)
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        show_drafts(found, Console())


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them.

    Raises:
        UserError: it is something else.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UserError(
            f"{option} is {printable(text)!r}: expected whole numbers of at least 1, such as 8 or "
            f"1,2,4."
        )
    return found


def load_server(
    url: str,
    api_key: str | None,
    model: str,
    users: str | None,
    rates: str | None,
    requests: int,
    prompt_words: int,
    new_tokens: int,
    as_json: bool,
) -> None:
    """Ask a server as many at once do, and print what came of it."""
    check_at_least(1, requests=requests, prompt_tokens=prompt_words, new_tokens=new_tokens)
    from rich.console import Console

    from decodeloop.bench.serving import LoadSettings, as_dict, bench_server
    from decodeloop.bench.show import show_load
    from decodeloop.serve.client import Endpoint

    counted = numbers("--users", users or "1,4,8") if users or not rates else ()
    a_second = decimals("--rates", rates)
    endpoint = Endpoint(url, api_key)
    name = model if model != MODEL else endpoint.models()[0]
    settings = LoadSettings(name, counted, a_second, requests, prompt_words, new_tokens)
    rows = bench_server(endpoint, settings, lambda text: note(f"{text} …"))
    if as_json:
        print(json.dumps(as_dict(settings, rows)))
    else:
        show_load(rows, Console())


def decimals(option: str, text: str | None) -> tuple[float, ...]:
    """Positive numbers with commas between them.

    Raises:
        UserError: it is something else.
    """
    try:
        found = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        found = (0.0,)
    if not all(0 < number < 1e6 for number in found):
        raise UserError(
            f"{option} is {printable(text)!r}: expected numbers above 0, such as 0.5 or 1,2,4."
        )
    return found
