"""Nothing mixes devices; shown without a GPU, by tensors that claim to be on one."""

import pytest
import torch

from decodeloop.model import (
    TINY,
    ContiguousKVCache,
    NoCache,
    attention,
    causal_mask,
    grouped_query_attention,
    rms_norm,
    rope,
    softmax,
    swiglu,
)

pytestmark = pytest.mark.usefixtures("fake_cuda")


def cuda(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="cuda")


def test_mixed_devices_are_noticed():
    q = cuda(1, 2, 3, 4)
    with pytest.raises(RuntimeError, match=r"two (different )?devices,? cuda:0"):
        attention(q, q, q, causal_mask(3))


def test_functions_stay_on_the_device():
    q, k = cuda(1, 6, 3, 4), cuda(1, 2, 5, 4)
    results = (
        softmax(q),
        causal_mask(3, 5, device="cuda"),
        attention(q, q, q, causal_mask(3, device="cuda")),
        grouped_query_attention(q, k, k, causal_mask(3, 5, device="cuda")),
        rms_norm(q, cuda(4), 1e-5),
        swiglu(q, cuda(8, 4), cuda(8, 4), cuda(4, 8)),
        rope(q, torch.arange(3, device="cuda"), 1e4),
        rope(q, torch.zeros(1, 3, device="cuda"), 1e4),
    )
    assert all(r.device.type == "cuda" for r in results)


def test_the_decoder_stays_on_the_device_without_a_cache(fake_cuda_decoder):
    decoder = fake_cuda_decoder(TINY)
    logits = decoder(torch.zeros(2, 5, dtype=torch.long, device="cuda"))
    assert logits.device.type == "cuda"
    assert logits.shape == (2, 5, TINY.vocabulary)


def test_positions_are_made_where_their_tokens_are():
    for seen in (ContiguousKVCache(TINY, 2, 4, device="cuda"), NoCache("cuda")):
        assert seen.positions(3).device.type == "cuda"


@pytest.mark.parametrize("rows", [[1, 0, 0], [0]])
def test_selected_rows_stay_on_the_device(rows):
    cache = ContiguousKVCache(TINY, 2, 4, device="cuda")
    cache.select(rows)
    assert cache.batch == len(rows)
    assert cache.keys.device.type == cache.values.device.type == "cuda"


def test_the_decoder_and_its_cache_stay_on_the_device(fake_cuda_decoder):
    decoder = fake_cuda_decoder(TINY)
    cache = decoder.new_cache(2, 8)
    assert cache.keys.device.type == "cuda"
    for T in (5, 1, 2):
        ids = torch.zeros(2, T, dtype=torch.long, device="cuda")
        assert decoder(ids, cache).device.type == "cuda"
    assert cache.length == 8


def test_ids_positions_and_mask_may_lie_on_the_cpu(fake_cuda_decoder):
    decoder = fake_cuda_decoder(TINY)
    logits = decoder(
        torch.zeros(2, 3, dtype=torch.long),
        decoder.new_cache(2, 3),
        positions=torch.zeros(2, 3, dtype=torch.long),
        mask=causal_mask(3)[None, None],
    )
    assert logits.device.type == "cuda"
