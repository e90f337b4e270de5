"""Prefill in one process, decode in another: the blocks of a text's cache travel once.

The first rank reads prompts, the second makes tokens, so that a long prompt no longer holds up
texts that are being answered. Zhong et al., "DistServe" (2024), section 3. What travels is what a
table names, block by block; at the other end the blocks get other numbers. Built in lesson 17.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decodeloop.decode import generate, greedy, prefill
from decodeloop.errors import UserError
from decodeloop.model import Decoder
from decodeloop.parallel.group import Group
from decodeloop.serve import PagedKVCache

PREFILL, DECODE = 0, 1  # the ranks


def pack_blocks(cache: PagedKVCache) -> Tensor:
    """What the blocks of the cache's only row hold, in the order of its table.

    Shapes: → (2, L, blocks, G, size, D), keys and then values.
    """
    [row] = cache.rows
    memory = cache.memory
    return torch.stack((memory.keys[:, row.blocks], memory.values[:, row.blocks]))


def unpack_blocks(cache: PagedKVCache, packed: Tensor, tokens: int) -> None:
    """Put what `pack_blocks` gave into free blocks of an empty cache; it has read `tokens` then.

    Raises:
        UserError: the cache is not empty, or has blocks of another shape.
    """
    [row] = cache.rows
    memory = cache.memory
    own = (2, memory.keys.shape[0], *memory.keys.shape[2:])
    if row.stored or (*packed.shape[:2], *packed.shape[3:]) != own:
        raise UserError(
            f"unpack_blocks: blocks {tuple(packed.shape)} for a cache that has read {row.stored} "
            f"tokens, of blocks {own}: expected an empty cache of the same shape."
        )
    memory.copy(cache.blocks.grow(row, tokens))
    memory.keys[:, row.blocks], memory.values[:, row.blocks] = packed
    cache.blocks.complete(row, tokens)


def packed_shape(cache: PagedKVCache, tokens: int) -> tuple[int, ...]:
    """What `pack_blocks` gives for a text of so many tokens."""
    L, _, *block = cache.memory.keys.shape
    return (2, L, cache.blocks.parts.blocks_needed(tokens, cache.blocks.size), *block)


class HandoverRank:
    """What either rank answers; both have the whole model. A request: token_ids (1, T), and how
    many new ones. The first answers with the bytes that it sent, the second with the tokens."""

    def __init__(self, group: Group, decoder: Decoder) -> None:
        if group.size != 2:
            raise UserError(f"a handover between {group.size} ranks: expected 2, prefill, decode.")
        self.group, self.decoder = group, decoder

    @torch.inference_mode()
    def __call__(self, token_ids: Tensor, new_tokens: int) -> int | list[int]:
        tokens, room = token_ids.shape[1], token_ids.shape[1] + new_tokens
        model = self.decoder
        cache = PagedKVCache(model.config, 1, room, model.dtype, model.device)
        if self.group.rank == PREFILL:
            first = greedy(prefill(model, token_ids, cache))
            packed = pack_blocks(cache)
            self.group.send(first, DECODE)
            self.group.send(packed, DECODE)
            return packed.numel() * packed.element_size()
        first = self.group.receive(torch.empty(1, dtype=torch.long), PREFILL)
        shape = packed_shape(cache, tokens)
        packed = self.group.receive(torch.empty(shape, dtype=model.dtype), PREFILL)
        unpack_blocks(cache, packed, tokens)
        so_far = torch.cat((token_ids, first[None]), -1)
        more = generate(model, so_far, new_tokens - 1, cache=cache) if new_tokens > 1 else ()
        return [int(first), *more]
