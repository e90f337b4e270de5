"""`decodeloop cost`: what inference with a model costs, by arithmetic."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from decodeloop.commands.shared import Json


def cost(
    model: Annotated[str, typer.Argument(help="A public model by name, a folder, or a hub id.")],
    batch: Annotated[int, typer.Option(help="Rows that are served at once.")] = 1,
    context: Annotated[
        int | None, typer.Option(help="Positions in the cache when a token is decoded.")
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(help="Tokens of the prefill; the whole context if not given.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights: fp32, bf16, int8, int4 …")] = "bf16",
    cache_dtype: Annotated[
        str | None, typer.Option(help="Of the KV cache; as the weights, but at least 2 bytes.")
    ] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Positions that the prefill reads at a time; all at once.")
    ] = None,
    device_name: Annotated[str, typer.Option(help="The part to predict for.")] = "h100-sxm",
    as_json: Json = False,
) -> None:
    """Say what inference with a model costs, before anything is run or downloaded.

    Parameters, memory, FLOPs, bytes, and the best times that a part allows.
    """
    from decodeloop.cost import accelerator, find_architecture
    from decodeloop.cost.summary import costs

    result = costs(
        find_architecture(model),
        accelerator(device_name),
        batch=batch,
        prompt=prompt,
        context=context,
        dtype=dtype,
        cache_dtype=cache_dtype,
        chunk=chunk,
    )
    if as_json:
        source = getattr(result.config, "source", "")
        print(json.dumps({"model": model, "source": source, **result.as_dict()}))
        return
    from rich.console import Console

    from decodeloop.cost.show import show_costs

    show_costs(model, result, Console())
