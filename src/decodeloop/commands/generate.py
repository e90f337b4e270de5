"""`decodeloop generate`: an answer to a prompt, streamed."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decodeloop.commands.constraints import Asked, JsonSchema, Regex
from decodeloop.commands.shared import (
    MODEL,
    CacheDtype,
    Compiled,
    Device,
    Dtype,
    Json,
    MinP,
    Model,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
    check_at_least,
    interruptible,
    load_as_asked,
    note,
    seeded_generator,
    shown,
    work_folder,
)
from decodeloop.errors import UserError

if TYPE_CHECKING:
    from decodeloop.course.own import OwnModel
    from decodeloop.decode import BeamText, Sampling, Speculation, TextGeneration
    from decodeloop.loading import LanguageModel
    from decodeloop.splitting import SplitLanguageModel


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to say to the model.")],
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens.")] = 256,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    beams: Annotated[
        int, typer.Option(help="Above 1: beam search, which follows so many texts at once.")
    ] = 1,
    length_penalty: Annotated[
        float | None, typer.Option(help="For beams: above 0 favours long texts; 1 if not given.")
    ] = None,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Stop before this text; repeatable.")
    ] = None,
    json_schema: JsonSchema = None,
    regex: Regex = None,
    model: Model = MODEL,
    device: Device = None,
    dtype: Dtype = "fp32",
    cache_dtype: CacheDtype = None,
    compiled: Compiled = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the text: no chat template.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Without the KV cache: the same text, slowly.")
    ] = False,
    draft: Annotated[
        str | None,
        typer.Option(
            help="Guess tokens, and check several in one step: lookup (what followed in the text "
            "before), int8 or int4 (the model in fewer bits). The same text, sooner or later."
        ),
    ] = None,
    draft_tokens: Annotated[
        int | None,
        typer.Option(help="For --draft: always so many a step; as many as pay, if not given."),
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(help="Over so many processes of this machine, each with a part of the model."),
    ] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Through the answers that you wrote in the lessons.")
    ] = False,
    work: Annotated[
        Path | None, typer.Option(help="For --mine: where you work; `work/` if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer a prompt, streamed as it is generated."""
    with interruptible():
        from decodeloop.assembling import QUANTIZED
        from decodeloop.decode import Sampling, search, stream
        from decodeloop.dtypes import dtype_name
        from decodeloop.loading import DTYPES

    # bad values are refused before a slow load
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    check_beams_alone(beams, length_penalty, sampling, no_cache)
    check_text(prompt, stop, max_new_tokens)
    check_draft_alone(
        draft,
        draft_tokens,
        dtype_name(dtype, DTYPES, "--dtype"),
        {
            "--beams": beams > 1,
            "--no-cache": no_cache,
            "--cache-dtype": cache_dtype is not None,
            "--mine": mine,
            "--ranks": ranks is not None,
        },
    )
    must_match = Asked(json_schema, regex, {"--beams": beams > 1, "--mine": mine})
    if work is not None and not mine:
        raise UserError("--work says where --mine finds your answers: give --mine too.")
    if mine and (kind := dtype_name(dtype, DTYPES, "--dtype")) in QUANTIZED:
        raise UserError(f"--mine computes with the weights as they are: leave out --dtype {kind}.")
    if mine and cache_dtype is not None:
        raise UserError("--mine computes with a cache of its own: leave out --cache-dtype.")
    folder = work_folder(work) if mine else None
    llm: LanguageModel
    if ranks is None:
        llm = load_as_asked(model, device, dtype, compiled, cache_dtype)
    else:
        asked = {
            f"--dtype {dtype}": dtype_name(dtype, DTYPES, "--dtype") != "fp32",
            f"--cache-dtype {cache_dtype}": cache_dtype is not None,
            f"--device {device}": device not in (None, "auto", "cpu"),
            "--compiled": bool(compiled),
            "--mine": mine,
        }
        llm = over_ranks = load_over_ranks(model, ranks, asked)
        context.call_on_close(over_ranks.close)
    own = None
    if folder is not None:
        from decodeloop.course.own import mine as through_answers

        own = through_answers(llm, folder, quiet=True)
        if not as_json:
            print(own.report() + "\n", file=sys.stderr)
    if beams > 1:
        penalty = 1.0 if length_penalty is None else length_penalty
        find = own.search if own else functools.partial(search, llm)
        found = find(
            prompt, max_new_tokens, beams=beams, length_penalty=penalty, raw=raw, stop=stop or ()
        )
        show(found, own, llm, as_json)
        return
    constraint, speculation = must_match.constraint(llm), None
    if draft is not None:
        from decodeloop.drafting import speculation_of

        speculation = speculation_of(llm, draft, draft_tokens)
    speaking = functools.partial(stream, llm, constraint=constraint, speculation=speculation)
    speak = own.stream if own else speaking
    generation = speak(
        prompt,
        max_new_tokens,
        raw=raw,
        sampling=sampling,
        generator=seeded_generator(seed),
        stop=stop or (),
        use_cache=not no_cache,
    )
    interrupted = False
    try:
        for piece in generation:
            if not as_json:
                print(shown(piece), end="", flush=True)
    except KeyboardInterrupt:
        interrupted = True
    show(generation, own, llm, as_json, speculation, constrained=must_match.given)
    if interrupted:
        raise typer.Exit(130)


def load_over_ranks(model: str, ranks: int, asked: Mapping[str, bool]) -> SplitLanguageModel:
    """The model over processes; they end when it is closed, or with this one.

    Args:
        asked: options that ask for what is not done over processes, and whether they were given.

    Raises:
        UserError: as `load_split`; or one of these was given.
    """
    from decodeloop.splitting import load_split

    check_at_least(1, ranks=ranks)
    if given := [option for option, was in asked.items() if was]:
        raise UserError(
            f"--ranks computes in fp32 on the CPU, by plain PyTorch: leave out {given[0]}."
        )
    return load_split(model, ranks)


def check_text(prompt: str, stop: list[str] | None, max_new_tokens: int) -> None:
    """Raise a `UserError` unless there is something to answer, and to end with."""
    if not prompt:
        raise UserError("the prompt is empty: expected at least one character.")
    check_at_least(1, max_new_tokens=max_new_tokens)
    if any(not s for s in stop or ()):
        raise UserError("--stop is an empty string: expected at least one character.")


def check_beams_alone(
    beams: int, length_penalty: float | None, sampling: Sampling, no_cache: bool
) -> None:
    """Raise a `UserError` unless the options of beam search are given with it, and none other."""
    from decodeloop.decode.beam import check_beams, check_length_penalty
    from decodeloop.decode.sampling import Sampling

    check_beams(beams)
    if length_penalty is not None:
        check_length_penalty(length_penalty)
        if beams == 1:
            raise UserError("--length-penalty is for beam search: give --beams 4, say, too.")
    if beams > 1 and (sampling != Sampling() or no_cache):
        raise UserError(
            "--beams looks for the most probable text with the cache: leave out temperature, "
            "top-k, top-p, min-p, repetition penalty and --no-cache."
        )


def check_draft_alone(
    draft: str | None, draft_tokens: int | None, dtype: str, others: Mapping[str, bool]
) -> None:
    """Raise a `UserError` unless a draft is one, and stands without options that rule it out.

    Args:
        others: options that a draft does not go with, and whether they were given.
    """
    if draft is None:
        if draft_tokens is not None:
            raise UserError("--draft-tokens is for a draft: give --draft lookup, say, too.")
        return
    from decodeloop.drafting import check_draft

    if given := [option for option, was in others.items() if was]:
        raise UserError(
            f"--draft needs a cache that goes back exactly, and the library's loop: leave out "
            f"{given[0]}."
        )
    check_draft(draft, draft_tokens, dtype)


def show(
    generation: TextGeneration | BeamText,
    own: OwnModel | None,
    llm: LanguageModel,
    as_json: bool,
    speculation: Speculation | None = None,
    constrained: bool = False,
) -> None:
    """What is left to print when a generation is over."""
    from decodeloop.decode import BeamText

    if as_json:
        data = summary(generation, str(llm.device), llm.name)
        if constrained and not isinstance(generation, BeamText):
            data["complete"] = generation.complete
        if own:
            data["parts"] = {part.name: part.whose for part in own.parts}
            data["failed_parts"] = {part.name: part.failed for part in own.parts if part.failed}
        if speculation:
            data["draft"] = asdict(speculation.stats)
        print(json.dumps(data, ensure_ascii=False))
        return
    # all but beams was streamed
    print(shown(generation.text) if isinstance(generation, BeamText) else "")
    if constrained and not isinstance(generation, BeamText) and not generation.complete:
        note(
            f"this is not complete: it was cut after {len(generation.tokens)} tokens; give "
            f"--max-new-tokens a larger number, or ask for something shorter."
        )
    if own:
        print("\n" + own.used(), file=sys.stderr)
    if sys.stdout.isatty():
        print(generation.timing, file=sys.stderr)
        if speculation and speculation.stats.rounds:
            print(f"{speculation.stats.tokens_per_round:.2f} tokens a step", file=sys.stderr)


def summary(generation: TextGeneration | BeamText, device: str, model: str) -> dict[str, Any]:
    """What `generate --json` prints."""
    from decodeloop.decode import BeamText

    if isinstance(generation, BeamText):
        times: dict[str, Any] = {"score": generation.score, "seconds": generation.seconds}
    else:
        times = {
            "ttft_s": generation.ttft_s,
            "itl_s": generation.itl_s,
            "tokens_per_s": generation.tokens_per_s,
        }
    return {
        "prompt_tokens": generation.prompt_tokens,
        "tokens": generation.tokens,
        "text": generation.text,
        "finish_reason": generation.finish_reason or "interrupted",
        **times,
        "device": device,
        "model": model,
    }
