"""What it costs to read a few tokens at once: the price list of speculative decoding.

Built in lesson 22.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.errors import UserError
from decodeloop.measure.timing import OnProgress, median_seconds, silent


def few_token_costs(
    model: Model,
    most: int = 8,
    context: int = 64,
    *,
    repeats: int = 9,
    progress: OnProgress = silent,
) -> list[float]:
    """What steps of 1, 2, … tokens of one text cost, in steps of one; logits of each are made.

    They run in turn, at `context` positions, and each time is a median, as in `median_seconds`.

    Raises:
        UserError: there is no step to measure, or it has no room in the model's context.
    """
    if most < 1 or context < 1 or context + most > model.config.context:
        raise UserError(
            f"few_token_costs was given {most} tokens at {context} positions: expected at least 1 "
            f"of each, and together at most {model.config.context}, the model's context."
        )
    ids = torch.arange(context + most)[None] % model.config.vocabulary
    cache = model.new_cache(1, context + most)
    with torch.inference_mode():
        model.hidden(ids[:, :context], cache)

    def reading(tokens: int) -> Callable[[], Tensor]:
        @torch.inference_mode()
        def run() -> Tensor:
            cache.truncate(context)
            return model.head(model.hidden(ids[:, context : context + tokens], cache))

        return run

    jobs = [reading(tokens) for tokens in range(1, most + 1)]
    device = getattr(model, "device", None)
    seconds = median_seconds(jobs, repeats, device, progress)
    return [time / seconds[0] for time in seconds]
