"""`decodeloop serve`: an endpoint that OpenAI's clients can ask."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decodeloop.commands.shared import (
    MODEL,
    CacheDtype,
    Compiled,
    Device,
    Dtype,
    Model,
    Work,
    check_at_least,
    interruptible,
    load_as_asked,
    note,
    work_folder,
)
from decodeloop.commands.sizes import SIZE, blocks_in, bytes_of
from decodeloop.errors import UserError, printable

if TYPE_CHECKING:
    from decodeloop.decode import Draft
    from decodeloop.loading import LanguageModel
    from decodeloop.serve import Engine
    from decodeloop.serve.asking import Speaker

LOOKUP = "lookup"


def serve(
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = "fp32",
    compiled: Compiled = None,
    host: Annotated[
        str,
        typer.Option(help="Where to listen; other machines can reach only what is not loopback."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes one that is free.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="What clients call the model; as --model, if not given.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="DECODELOOP_API_KEY",
            show_envvar=True,
            help="Nobody is answered without it. Other users of this machine see options.",
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Texts that are computed at a time.")] = 8,
    max_waiting: Annotated[int, typer.Option(help="Texts that may wait besides.")] = 64,
    max_tokens_a_step: Annotated[int, typer.Option(help="Tokens that a step reads.")] = 256,
    cache_memory: Annotated[
        str, typer.Option(help="For the keys and values of all texts, such as 500MB or 1GiB.")
    ] = "1GB",
    cache_dtype: CacheDtype = None,
    draft: Annotated[
        str | None,
        typer.Option(
            help="Guess what comes next, so that a step may bring several tokens: lookup."
        ),
    ] = None,
    replicas: Annotated[
        int,
        typer.Option(help="So many processes behind Ray Serve's router, each with a model."),
    ] = 1,
    mine: Annotated[
        bool, typer.Option("--mine", help="Through the answers that you wrote in the lessons.")
    ] = False,
    work: Work = None,
) -> None:
    """Answer OpenAI's clients: /v1/completions, /v1/chat/completions, /health, /metrics.

    SIGTERM or Ctrl-C lets nobody in any more and answers those inside; a second one ends at once.
    """
    check_at_least(1, max_batch=max_batch, max_tokens_a_step=max_tokens_a_step, replicas=replicas)
    check_at_least(0, max_waiting=max_waiting)
    memory = bytes_of(cache_memory)
    if not 0 <= port < 2**16:
        raise UserError(f"--port is {port}: expected 0 to 65535.")
    if api_key is not None and not api_key.strip():
        raise UserError("--api-key is empty: expected at least one character.")
    if cache_dtype is not None:
        raise UserError("serve keeps its blocks as the model computes: leave out --cache-dtype.")
    if draft not in (None, LOOKUP):
        raise UserError(
            f"--draft is {printable(draft)!r}: expected {LOOKUP}, which costs no steps of its own."
        )
    if work is not None and not mine:
        raise UserError("--work says where --mine finds your answers: give --mine too.")
    called = name or Path(model).name

    def limits_of(llm: LanguageModel) -> dict[str, Any]:
        blocks = blocks_in(memory, llm)
        return {"blocks": blocks, "size": SIZE, "most": max_batch, "budget": max_tokens_a_step}

    with interruptible():
        live_server = installed()
        listener_is_allowed(host, api_key)
        if replicas > 1:
            if mine:
                raise UserError("--replicas serves the library's parts: leave out --mine.")
            from decodeloop.commands.replicas import serve_replicas

            serve_replicas(
                lambda: load_as_asked(model, device, dtype, compiled),
                limits_of,
                name=called,
                count=replicas,
                address=(host, port),
                api_key=api_key,
                most=(max_batch, max_waiting),
                draft=guesser(draft),
            )
            return
        llm = load_as_asked(model, device, dtype, compiled)
        limits = limits_of(llm)
        speaker, engine = speaking(llm, called, work_folder(work) if mine else None, limits)
        server = live_server(
            speaker,
            engine,
            host=host,
            port=port,
            api_key=api_key,
            most_waiting=max_waiting,
            draft=guesser(draft),
        )
    note(
        f"{printable(called)} answers at {server.url}/v1, {max_batch} texts at a time and up to "
        f"{server.service.longest:,} tokens each; Ctrl-C ends it."
    )
    try:
        server.run()
    except UserError as error:  # the engine has died: status 1, so that it is started again
        print(f"decodeloop: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    sys.stderr.flush()
    if server.forced:
        os._exit(1)  # a step may still be computed


def installed() -> type:
    """The server, if all that it needs is here."""
    try:
        from decodeloop.serve.running import LiveServer
    except ImportError as error:
        raise UserError(
            f"serve needs {error.name}, which is not installed: 'pip install -e \".[serve]\"' "
            f"brings all that it needs."
        ) from None
    return LiveServer


def guesser(draft: str | None) -> Callable[[], Draft] | None:
    """What makes a draft for each text, if one was asked for."""
    if draft is None:
        return None
    from decodeloop.decode import PromptLookup

    return PromptLookup


def listener_is_allowed(host: str, api_key: str | None) -> None:
    """Raise a `UserError` before a model is loaded for nothing."""
    from decodeloop.serve.running import check_host

    check_host(host, api_key)


def speaking(
    llm: LanguageModel, name: str, folder: Path | None, limits: dict[str, Any]
) -> tuple[Speaker, Engine]:
    """Who answers, and what computes: the library's parts, or the learner's as far as they go."""
    from decodeloop.serve import Engine
    from decodeloop.serve.asking import Speaker

    if folder is None:
        return Speaker(name, llm), Engine(llm.model, **limits)
    from decodeloop.course.own import mine as through_answers

    own = through_answers(llm, folder, quiet=True)
    print(own.report() + "\n", file=sys.stderr)
    return Speaker(name, llm, own.sampling_parts, own.text_stream), own.engine(**limits)
