"""`decodeloop quality`: what a smaller model lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from decodeloop.commands.shared import (
    MODEL,
    CacheDtype,
    Compiled,
    Device,
    Dtype,
    Json,
    Model,
    check_at_least,
    interruptible,
    load_as_asked,
)
from decodeloop.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decodeloop.loading import LanguageModel


def quality(
    model: Model = MODEL,
    dtype: Dtype = "fp32",
    cache_dtype: CacheDtype = None,
    against: Annotated[
        str | None,
        typer.Option(help="The original, which is read in fp32; the model itself if not given."),
    ] = None,
    texts: Annotated[
        str | None,
        typer.Option(help="plain or plays; if not given, plays for the small model, else plain."),
    ] = None,
    questions: Annotated[
        bool, typer.Option("--questions", help="Also 300 questions with four answers each.")
    ] = False,
    chunk: Annotated[
        int | None,
        typer.Option(help="Tokens read at a time, such as 1, as in decoding; else whole texts."),
    ] = None,
    device: Device = None,
    compiled: Compiled = None,
    as_json: Json = False,
) -> None:
    """Say what a model lost against its original: perplexity, KL divergence, agreement.

    On texts that are pinned, each figure with its 95 % interval.
    """
    check_at_least(1, chunk=chunk)
    with interruptible():
        from decodeloop import quality as measuring
        from decodeloop.bar import progress_bar
        from decodeloop.dtypes import dtype_name
        from decodeloop.loading import DTYPES
        from decodeloop.quality.report import Report, show_report

    default = "plays" if model == "small" else "plain"
    kind = default if texts is None else texts
    passages = measuring.held_out(kind)
    asked = measuring.questions() if questions else ()
    changed = load_as_asked(model, device, dtype, compiled, cache_dtype)
    plain = dtype_name(dtype, DTYPES, "--dtype") == "fp32" and cache_dtype is None
    itself = against is None and plain
    source = model if against is None else against
    original = changed if itself else load_as_asked(source, device, "fp32", compiled)
    check_same_tokens(changed, original, passages)
    ids = measuring.tokenized(original.tokenizer, passages)
    with progress_bar() as show:
        show("the original", 0.0)
        before = measuring.Original(original.model, ids, chunk=chunk)
        old = measuring.answer(original.model, original.tokenizer, asked) if asked else None
        show("the original", 1.0)
        after, new = before.quality, old
        if not itself:
            show("the model", 0.0)
            kept = changed.model.new_cache if cache_dtype else None  # else whole texts need none
            after = before.compare(changed.model, chunk=chunk, new_cache=kept)
            new = measuring.answer(changed.model, changed.tokenizer, asked) if asked else None
            show("the model", 1.0)
    report = Report(after, before.quality, new, old)
    if as_json:
        names = {"model": model, "dtype": dtype, "cache_dtype": cache_dtype, "against": source}
        print(json.dumps(names | {"kind": kind} | report.as_dict()))
        return
    from rich.console import Console

    cache = f", {cache_dtype} cache" if cache_dtype else ""
    show_report(f"{model} {dtype}{cache}", f"{source} fp32", report, Console())


def check_same_tokens(one: LanguageModel, other: LanguageModel, passages: Sequence[str]) -> None:
    """Raise a `UserError` unless two models cut the passages into the same tokens."""
    if one is not other and any(
        one.tokenizer.encode(text) != other.tokenizer.encode(text) for text in passages
    ):
        raise UserError(
            f"{one.name} and {other.name} cut the texts into different tokens, so their forecasts "
            f"can't be compared: measure each by itself, or take two models of one family."
        )
