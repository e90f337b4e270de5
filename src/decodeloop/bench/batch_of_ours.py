"""Several texts by the project's own decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from decodeloop.bench.clock import Clock
from decodeloop.decode import decode_step, greedy, prefill
from decodeloop.model import BlockTables, ContiguousKVCache, Decoder

if TYPE_CHECKING:  # it needs Numba, which the plain path does without
    from decodeloop.kernels.decoder import FastDecoder

BLOCK = 16  # positions


@torch.inference_mode()
def several(
    model: Decoder, ids: Sequence[int], new_tokens: int, batch: int, clock: Clock
) -> list[list[int]]:
    """Read a prompt once, and go on from it greedily in so many texts → what each of them made."""
    prompt = torch.tensor([list(ids)])
    own_cache = model.parts.cache is not ContiguousKVCache
    if hasattr(model, "packed") and not own_cache:
        return over_tables(cast("FastDecoder", model), prompt, new_tokens, batch, clock)
    cache = model.new_cache(1, prompt.shape[1] + new_tokens)
    tokens = greedy(prefill(model, prompt, cache))
    clock.tick()
    cache.select([0] * batch)
    made = [tokens.repeat(batch)]
    for _ in range(new_tokens - 1):
        made.append(greedy(decode_step(model, made[-1][:, None], cache)))
        clock.tick()
    return rows_of(made)


def over_tables(
    model: FastDecoder, prompt: Tensor, new_tokens: int, batch: int, clock: Clock
) -> list[list[int]]:
    """The same by the compiled decoder, over a pool of blocks, those of each text in any order."""
    config, S = model.config, prompt.shape[1]
    each = -(-(S + new_tokens) // BLOCK)
    order = torch.randperm(each * batch, generator=torch.Generator().manual_seed(0))
    shape = (config.layers, each * batch, config.kv_heads, BLOCK, config.head_dim)
    keys, values = torch.zeros(shape), torch.zeros(shape)
    tables = order.view(batch, each)

    def step(token_ids: Tensor, texts: Tensor, positions: Tensor) -> Tensor:
        places = BlockTables(keys, values, texts, positions, tables)
        return model.packed(token_ids[None], places)[0]  # (N, C)

    model.look_at_modules()
    first = step(prompt[0], torch.zeros(S, dtype=torch.long), torch.arange(S))
    token = greedy(model.head(first[-1:]))
    clock.tick()
    for numbers in (keys, values):
        numbers[:, tables[1:]] = numbers[:, tables[:1]]
    made, texts = [token.repeat(batch)], torch.arange(batch)
    for place in range(S, S + new_tokens - 1):
        hidden = step(made[-1], texts, torch.full((batch,), place))
        made.append(greedy(model.head(hidden)))
        clock.tick()
    return rows_of(made)


def rows_of(made: list[Tensor]) -> list[list[int]]:
    """Tokens by step → by text."""
    found: list[list[int]] = torch.stack(made, 1).tolist()
    return found
