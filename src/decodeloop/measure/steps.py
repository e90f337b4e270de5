"""Steps of many texts, measured: what `serve.fit_step_cost` is fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from decodeloop.decode.loop import Model
from decodeloop.errors import UserError
from decodeloop.measure.timing import OnProgress, median_seconds, silent
from decodeloop.serve import BlockMemory, Span, Step, StepTime, blocks_needed

SIZE = 16  # positions of a block


def step_times(
    model: Model,
    batches: Sequence[int] = (1, 2, 4, 8, 16),
    lengths: Sequence[int] = (64, 512),
    prompts: Sequence[int] = (32, 128, 512),
    *,
    repeats: int = 5,
    progress: OnProgress = silent,
) -> list[StepTime]:
    """Time decode steps of every batch at every length, and the reading of prompts.

    They run in turn, and each time is a median, as in `median_seconds`; the head, which a step
    runs on the last token of each text, is in it.

    Raises:
        UserError: a length or a prompt is longer than the model's context.
    """
    longest = max((*lengths, *prompts))
    if longest > model.config.context:
        raise UserError(
            f"step_times was given a length of {longest}: expected at most {model.config.context}, "
            f"the model's context."
        )
    kinds = [[(length - 1, 1)] * batch for batch in batches for length in lengths]
    kinds += [[(0, length)] for length in prompts]
    most = max(sum(blocks_needed(start + count, SIZE) for start, count in kind) for kind in kinds)
    device, dtype = getattr(model, "device", None), getattr(model, "dtype", torch.float32)
    memory = BlockMemory(model.config, most, SIZE, dtype, device)
    runs = [one_step(model, memory, kind) for kind in kinds]
    seconds = median_seconds(runs, repeats, memory.keys.device, progress)
    return [
        StepTime(sum(count for _, count in kind), len(kind), sum(map(sum, kind)), time)
        for kind, time in zip(kinds, seconds, strict=True)
    ]


def one_step(
    model: Model, memory: BlockMemory, kind: Iterable[tuple[int, int]]
) -> Callable[[], Tensor]:
    """A step of texts, (first position, number of new tokens) each, whose blocks are neighbours."""
    spans, used = [], 0
    for start, count in kind:
        blocks = blocks_needed(start + count, SIZE)
        spans.append(Span(range(used, used + blocks), start, count))
        used += blocks
    tokens = sum(span.count for span in spans)
    ids = torch.arange(tokens)[None] % model.config.vocabulary

    @torch.inference_mode()
    def run() -> Tensor:
        step = Step(memory, spans)
        hidden = model.hidden(ids, step, positions=step.positions(tokens))
        return model.head(hidden[0, step.last])

    return run
