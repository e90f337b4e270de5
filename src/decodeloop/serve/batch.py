"""Several prompts at once through the engine: no padding, and who has ended takes no room."""

from __future__ import annotations

from collections import abc
from collections.abc import Collection

import torch

from decodeloop.decode import Completion, Constraint, Sampling
from decodeloop.decode.batch import sequences_of
from decodeloop.decode.loop import Model
from decodeloop.serve.blocks import blocks_needed
from decodeloop.serve.engine import Engine

MOST = 32  # texts at a time
SIZE = 16  # positions of a block


def generate_batch(
    model: Model,
    prompts: abc.Sequence[abc.Sequence[int]],
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    generators: abc.Sequence[torch.Generator] | None = None,
    eos_ids: Collection[int] = (),
    constraints: abc.Sequence[Constraint | None] | None = None,
) -> list[Completion]:
    """Continue several prompts of different lengths; each row as `generate` would.

    Arguments, result and errors are those of `decode.generate_batch`. The cache has room for the
    longest texts that can run at a time, so that none is ever sent back.
    """
    sequences = sequences_of(
        model.config,
        prompts,
        max_new_tokens,
        sampling=sampling,
        generators=generators,
        eos_ids=eos_ids,
        constraints=constraints,
    )
    needed = sorted(blocks_needed(s.positions_needed, SIZE) for s in sequences)
    engine = Engine(model, blocks=sum(needed[-MOST:]), size=SIZE, most=MOST)
    for sequence in sequences:
        engine.add(sequence)
    while engine.busy:
        for event in engine.step():
            if event.error is not None:
                raise event.error
    return [Completion(s.tokens, s.finish_reason) for s in sequences if s.finish_reason]
