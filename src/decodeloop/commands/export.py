"""`decodeloop export`: a model as a file or folder that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from decodeloop.commands.shared import MODEL, Json, Model, interruptible
from decodeloop.errors import printable


def export(
    out: Annotated[Path, typer.Argument(help="What is made: a .gguf file, or else a folder.")],
    model: Model = MODEL,
    dtype: Annotated[
        str,
        typer.Option(
            help="Of a .gguf file: fp32, q8_0 or q4_0; of a folder: fp32, bf16, fp16, int8 or int4."
        ),
    ] = "fp32",
    reordered: Annotated[
        bool,
        typer.Option(
            "--reordered",
            help="Channels in another order: the same function, free of groups that weights were "
            "quantized in before. For honest figures.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a model for other engines: a GGUF file for llama.cpp, or a folder of the hub's kind."""
    with interruptible():
        from decodeloop.bar import progress_bar
        from decodeloop.exporting import export as write
    with progress_bar() as show:
        made = write(model, out, dtype, show, reordered=reordered)
    size = sum(p.stat().st_size for p in ([made] if made.is_file() else made.iterdir()))
    if as_json:
        print(json.dumps({"path": str(made), "bytes": size}))
    else:
        print(f"{printable(made)}: {size / 1e6:,.0f} MB")
