"""The same tokens on a GPU as on the CPU, where there is one: no model is needed for that."""

from types import SimpleNamespace

import pytest
import torch

from decodeloop.decode import (
    Conversation,
    Sampling,
    beam_search,
    generate,
    generate_batch,
)
from decodeloop.measure import attention_maps, bytes_held
from decodeloop.model import TINY, Decoder, NoCache

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
IDS = torch.tensor([[5, 40, 7, 7, 90]])


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    on_cpu = Decoder(TINY).requires_grad_(False).eval()
    for weight in on_cpu.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.4)
    on_gpu = Decoder(TINY).requires_grad_(False).eval()
    on_gpu.load_state_dict(on_cpu.state_dict())
    return on_cpu, on_gpu.to("cuda")


def both(pair, what):
    return [what(model) for model in pair]


def test_greedy_tokens_with_and_without_a_cache(pair):
    for use_cache in (True, False):
        cpu, gpu = both(pair, lambda m: list(generate(m, IDS, 30, use_cache=use_cache)))  # noqa: B023
        assert cpu == gpu


def test_draws(pair):
    def drawn(model):
        generator = torch.Generator().manual_seed(4)
        sampling = Sampling(temperature=1.3, top_k=20, top_p=0.9, repetition_penalty=1.1)
        return list(generate(model, IDS, 30, sampling=sampling, generator=generator))

    cpu, gpu = both(pair, drawn)
    assert cpu == gpu


def test_a_cache_that_has_read_a_beginning_and_grows(pair):
    def continued(model):
        cache = model.new_cache(1, 8)
        model.hidden(IDS[:, :3], cache)
        cache.grow(40)
        assert cache.positions(2).device.type == model.device.type
        return list(generate(model, IDS, 20, cache=cache)), cache.length

    assert continued(pair[0]) == continued(pair[1])


def test_batches_and_beams(pair):
    prompts = [[5, 6], [7, 8, 9, 10, 11], [3]]
    cpu, gpu = both(pair, lambda m: generate_batch(m, prompts, 12))
    assert cpu == gpu
    cpu, gpu = both(pair, lambda m: beam_search(m, IDS, 10, beams=4).tokens)
    assert cpu == gpu


def test_a_conversation(pair):
    def talk(model):
        def ids(messages):
            return [
                t for m in messages for t in (1, *(c % 90 for c in m["content"].encode()[:9]), 2)
            ]

        letters = SimpleNamespace(decode=lambda ids, skip_special=False: "".join("a" for _ in ids))
        llm = SimpleNamespace(model=model, tokenizer=letters, eos_ids=(0,), message_ids=ids)
        chat = Conversation(llm, max_new_tokens=6, context=60)
        return [chat.ask(text).read() for text in ("AB", "CD", "EF")], chat.messages

    cpu, gpu = both(pair, talk)
    assert cpu == gpu


def test_a_look_inside(pair):
    cpu, gpu = both(pair, lambda m: attention_maps(m, IDS[0].tolist()))
    torch.testing.assert_close(cpu, gpu, atol=1e-4, rtol=1e-4)
    assert NoCache("cuda").positions(3).is_cuda
    assert bytes_held(lambda: torch.ones(4)) != [0]
