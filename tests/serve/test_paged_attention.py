from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from decodeloop.model import causal_mask
from decodeloop.serve.paged_attention import Run, attend_paged, runs

H, G, D = 6, 3, 4


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=12, unique=True),
    st.integers(1, 4),
    st.data(),
)
def test_runs_are_the_blocks_in_order(blocks, size, data):
    positions = data.draw(st.integers(1, len(blocks) * size))
    found = list(runs(blocks, positions, size))
    slots = [
        (block, offset)
        for run in found
        for block in range(run.first, run.first + run.blocks)
        for offset in range(run.positions)
    ]
    assert slots == [(blocks[p // size], p % size) for p in range(positions)]


def test_neighbours_are_read_in_one_go():
    assert list(runs(range(3, 33), 30 * 16, 16)) == [Run(3, 30, 16)]


def layer(S, size, blocks):
    """A layer of a pool that is NaN but where the text is; and the text's keys and values."""
    k, v = torch.randn(2, G, S, D, dtype=torch.float64)
    keys, values = torch.full((2, max(blocks) + 2, G, size, D), torch.nan, dtype=torch.float64)
    for p in range(S):
        keys[blocks[p // size], :, p % size] = k[:, p]
        values[blocks[p // size], :, p % size] = v[:, p]
    return k, v, keys, values


def check(attend_paged, T, start, size):
    S = start + T
    blocks = torch.randperm(-(-S // size) + 3)[: -(-S // size)].sort().values.tolist()
    blocks[:2] = blocks[:2][::-1]
    k, v, keys, values = layer(S, size, blocks)
    q = torch.randn(H, T, D, dtype=torch.float64)
    expected = scaled_dot_product_attention(
        q, k.repeat_interleave(H // G, 0), v.repeat_interleave(H // G, 0), causal_mask(T, S)
    )
    torch.testing.assert_close(attend_paged(q, keys, values, blocks, start), expected)


@pytest.mark.parametrize("T", [1, 2, 5, 70])
@pytest.mark.parametrize("start", [0, 1, 7, 64])
@pytest.mark.parametrize("size", [1, 3, 16])
def test_it_is_attention_to_all_of_the_text_and_nothing_else(T, start, size):
    check(attend_paged, T, start, size)


def test_a_chunk_sees_what_is_cached(kit):
    check(kit.attend_paged, 4, 9, 3)


@pytest.mark.parametrize("shape", [(2, 5), (6, 2, 5), (1, 2, 5)])
def test_a_mask_stands_in_the_place_of_the_causal_one(shape):
    blocks = [4, 2]
    k, v, keys, values = layer(5, 3, blocks)
    q = torch.randn(H, 2, D, dtype=torch.float64)
    mask = torch.rand(shape) < 0.6
    mask[..., 0] = True
    expected = scaled_dot_product_attention(
        q, k.repeat_interleave(H // G, 0), v.repeat_interleave(H // G, 0), mask
    )
    torch.testing.assert_close(attend_paged(q, keys, values, blocks, 3, mask), expected)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made, views aside."""

    def __init__(self, *known):
        super().__init__()
        self.known, self.bytes = {x.untyped_storage().data_ptr() for x in known}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            storage = out.untyped_storage()
            if storage.data_ptr() not in self.known:
                self.bytes = max(self.bytes, storage.nbytes())
        return out


def test_keys_are_not_brought_together(kit):
    """Nothing that is made is as large as the keys, or half of them."""
    S, size = 2048, 16
    blocks = torch.randperm(S // size).tolist()
    keys, values = torch.randn(S // size, G, size, 16), torch.randn(S // size, G, size, 16)
    with Largest(keys, values) as largest:
        kit.attend_paged(torch.randn(H, 1, 16), keys, values, blocks, S - 1)
    assert H * S * 4 <= largest.bytes < keys.nbytes / 2
