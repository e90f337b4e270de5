"""A cache that is taken out of its blocks and put into others goes on as if it had stayed."""

from __future__ import annotations

import pytest
import torch

from decodeloop.decode import decode_step, prefill
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.parallel import pack_blocks, unpack_blocks
from decodeloop.parallel.handover import packed_shape
from decodeloop.serve import PagedKVCache


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 9])
def test_blocks_that_travelled_hold_what_they_held(tiny_decoder, tokens):
    ids = torch.arange(tokens)[None]
    here, there = (PagedKVCache(TINY, 1, 16, size=4) for _ in range(2))
    there.memory.keys.fill_(torch.nan)
    there.memory.values.fill_(torch.nan)
    there.blocks.free.move_to_end(0)  # other numbers there
    prefill(tiny_decoder, ids, here)
    packed = pack_blocks(here)
    assert packed.shape == packed_shape(there, tokens)
    assert packed.numel() == 2 * TINY.layers * -(-tokens // 4) * 4 * TINY.kv_heads * TINY.head_dim
    unpack_blocks(there, packed, tokens)
    assert there.rows[0].blocks != here.rows[0].blocks
    for token in (7, 8):
        step = torch.tensor([[token]])
        got, expected = (decode_step(tiny_decoder, step, cache) for cache in (there, here))
        assert torch.equal(got, expected)


def test_what_does_not_fit_is_refused(tiny_decoder):
    cache = PagedKVCache(TINY, 1, 16, size=4)
    prefill(tiny_decoder, torch.tensor([[1, 2, 3]]), cache)
    packed = pack_blocks(cache)
    with pytest.raises(UserError, match="has read 3 tokens"):
        unpack_blocks(cache, packed, 3)
    with pytest.raises(UserError, match="expected an empty cache of the same shape"):
        unpack_blocks(PagedKVCache(TINY, 1, 16, size=2), packed, 3)
