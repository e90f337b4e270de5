"""Several prompts of different lengths at once, padded on the left. Built in lesson 08."""

from __future__ import annotations

from collections import abc
from collections.abc import Collection

import torch
from torch import Tensor

from decodeloop.decode.constrained import Constraint
from decodeloop.decode.loop import Model, decode_step, prefill
from decodeloop.decode.sampling import Sampling
from decodeloop.decode.sequence import Completion, Sequence, token_budget
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig


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
    """Continue several prompts of different lengths at once; each row as `generate` would.

    Short prompts are padded on the left, so that every row's newest token stands in the last
    column. Padding takes no position and nobody may attend to it.

    Args:
        generators: one for each prompt, so that a row's draws do not depend on its neighbours.
        constraints: one for each prompt, or None where it has none (lesson 25).

    Raises:
        UserError: as `generate`; the message names the prompt.
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
    B, T = len(prompts), max(map(len, prompts))

    token_ids, real = pad_left(prompts)  # (B, T) both
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    columns = torch.arange(T)
    mask = real[:, None, None, :] & (columns <= columns[:, None])  # (B, 1, T, T)

    cache = model.new_cache(B, T + max(sequence.budget for sequence in sequences) - 1)
    logits = prefill(model, token_ids, cache, positions, mask)
    while True:
        next_ids = torch.zeros(B, 1, dtype=torch.long)  # finished rows go on with a dummy
        for row, sequence in enumerate(sequences):
            if sequence.finish_reason is None:
                token = sequence.choose(logits[row : row + 1])
                if sequence.take(token) is None:
                    next_ids[row] = token
        done = [Completion(s.tokens, s.finish_reason) for s in sequences if s.finish_reason]
        if len(done) == B:
            return done
        positions = positions[:, -1:] + 1
        real = torch.cat((real, torch.ones(B, 1, dtype=torch.bool)), dim=1)
        logits = decode_step(model, next_ids, cache, positions, real[:, None, None, :])


def sequences_of(
    config: ModelConfig,
    prompts: abc.Sequence[abc.Sequence[int]],
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    generators: abc.Sequence[torch.Generator] | None = None,
    eos_ids: Collection[int] = (),
    constraints: abc.Sequence[Constraint | None] | None = None,
) -> list[Sequence]:
    """A sequence for each prompt of a batch; arguments and errors as `generate_batch`."""
    if not prompts:
        raise UserError("generate_batch was given no prompts: expected a list of token id lists.")
    if generators is not None and len(generators) != len(prompts):
        raise UserError(
            f"generate_batch was given {len(generators)} generators for {len(prompts)} prompts: "
            f"expected one each, or none."
        )
    if constraints is not None and len(constraints) != len(prompts):
        raise UserError(
            f"generate_batch was given {len(constraints)} constraints for {len(prompts)} prompts: "
            f"expected one each, None where there is none."
        )
    sequences = []
    for row, prompt in enumerate(prompts):
        try:
            ids = torch.tensor([list(prompt)], dtype=torch.long)
            budget = token_budget(config, ids, max_new_tokens)
        except UserError as error:
            raise UserError(f"prompt {row} of the batch: {error}") from None
        generator = generators[row] if generators else None
        sequences.append(
            Sequence(
                ids,
                budget,
                sampling=sampling,
                generator=generator,
                eos_ids=eos_ids,
                constraint=constraints[row] if constraints else None,
            )
        )
    return sequences


def pad_left(prompts: abc.Sequence[abc.Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as one tensor, and which of its entries are real.

    Shapes: → token_ids (B, T), real (B, T), ``True`` where no padding is.
    """
    T = max(map(len, prompts))
    rows = [[pad_id] * (T - len(p)) + list(p) for p in prompts]
    real = [[False] * (T - len(p)) + [True] * len(p) for p in prompts]
    return torch.tensor(rows), torch.tensor(real)
