"""Nothing mixes devices; shown without a GPU, by tensors that claim to be on one."""

import pytest
import torch

from decodeloop.decode import (
    Sampling,
    beam_candidates,
    decode_step,
    generate,
    generate_batch,
    greedy,
    prefill,
    repetition_penalty,
    sample,
)
from decodeloop.model import TINY

pytestmark = pytest.mark.usefixtures("fake_cuda")

EVERYTHING = Sampling(0.8, top_k=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2)


@pytest.fixture
def decoder(fake_cuda_decoder):
    return fake_cuda_decoder(TINY)


def cuda_logits() -> torch.Tensor:
    return torch.empty(2, TINY.vocabulary, device="cuda")


def test_mixed_devices_are_noticed():
    with pytest.raises(RuntimeError, match=r"two (different )?devices,? cuda:0"):
        repetition_penalty(cuda_logits(), torch.zeros(2, 3, dtype=torch.long), 1.2)


def test_logits_are_processed_where_they_are_and_drawn_on_the_cpu():
    ids = torch.zeros(2, 3, dtype=torch.long)
    for sampling in (Sampling(repetition_penalty=1.2), EVERYTHING):
        assert sampling.process(cuda_logits(), ids).device.type == "cuda"
    for sampling in (Sampling(), Sampling(repetition_penalty=1.2), EVERYTHING):
        assert sampling.choose(cuda_logits(), ids, torch.Generator()).device.type == "cpu"
    assert greedy(cuda_logits()).device.type == "cuda"
    assert sample(cuda_logits(), torch.Generator()).device.type == "cpu"


def test_both_phases_take_ids_from_the_cpu_and_leave_the_logits_on_the_device(decoder):
    cache = decoder.new_cache(2, 4)
    logits = prefill(decoder, torch.zeros(2, 3, dtype=torch.long), cache)
    assert logits.device.type == "cuda"
    logits = decode_step(decoder, torch.zeros(2, 1, dtype=torch.long), cache)
    assert logits.device.type == "cuda"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_mixes_no_devices(decoder, device, use_cache):
    prompt = torch.zeros(1, 3, dtype=torch.long, device=device)
    tokens = generate(decoder, prompt, 3, sampling=EVERYTHING, use_cache=use_cache)
    assert list(tokens) == [1, 1, 1]


def test_generate_batch_mixes_no_devices(decoder):
    completions = generate_batch(decoder, [[1, 2, 3], [4]], 3, sampling=EVERYTHING)
    assert [completion.tokens for completion in completions] == [[1, 1, 1], [1, 1, 1]]


def test_the_candidates_of_beams_are_on_the_device_of_the_logits():
    scores = torch.zeros(2, device="cuda")
    for values in beam_candidates(cuda_logits().log_softmax(-1), scores, 4):
        assert values.device.type == "cuda"
