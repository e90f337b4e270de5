"""Nothing mixes devices; shown without a GPU, by tensors that claim to be on one."""

import pytest
import torch

from decodeloop.model import TINY, causal_mask
from decodeloop.serve import BlockMemory, PagedKVCache, Span, Step, attend_paged

pytestmark = pytest.mark.usefixtures("fake_cuda")


def on_cuda(*shape):
    return torch.empty(shape, device="cuda")


@pytest.mark.parametrize("T", [1, 4])
def test_attention_over_blocks_stays_on_the_device(T):
    keys = on_cuda(5, 2, 4, 10)
    assert attend_paged(on_cuda(6, T, 10), keys, keys, [3, 4, 1], 6).device.type == "cuda"
    mask = causal_mask(T, 6 + T, device="cuda")
    assert attend_paged(on_cuda(6, T, 10), keys, keys, [3, 4, 1], 6, mask).device.type == "cuda"


def test_a_cache_over_blocks_says_positions_on_its_device():
    cache = PagedKVCache(TINY, 2, 20, device="cuda")
    assert cache.positions(3).device.type == "cuda"
    assert cache.memory.keys.device.type == "cuda"


def test_the_tables_of_a_step_are_on_the_device_of_the_pool():
    step = Step(BlockMemory(TINY, 9, 4, device="cuda"), [Span([7, 3], 3, 4)])
    for tensor in (step.last, step.positions(4), step.tables.texts, step.tables.tables):
        assert tensor.device.type == "cuda"
    assert not step.is_plain(torch.float32)
