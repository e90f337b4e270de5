"""What stands in for the real thing, for every room: transformers' Llama, a claimed GPU, and a
tokenizer whose tokens are what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import EllipsisType

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from transformers import LlamaConfig, LlamaForCausalLM

from decodeloop.decode import Sequence
from decodeloop.model import TINY, Decoder, ModelConfig

SPECIAL = 999  # a token without text
SPECIAL_NAME = "<|s|>"  # how it is written out

THEIR_NAMES = {
    "embedding": "model.embed_tokens",
    "output": "lm_head",
    "norm": "model.norm",
    "layers": "model.layers",
    "attention_norm": "input_layernorm",
    "attention": "self_attn",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward": "mlp",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
}


def their_name(name: str) -> str:
    """'layers.0.attention.query.weight' → 'model.layers.0.self_attn.q_proj.weight'."""
    if name.endswith("attention.output.weight"):
        name = name.replace("output", "o_proj")
    return ".".join(THEIR_NAMES.get(part, part) for part in name.split("."))


@pytest.fixture(autouse=True)
def steady() -> Iterator[None]:
    """The same random tensors at every run, and one thread: tiny products only wait for a second,
    and where other programs use it, they wait long."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def decoders() -> dict[int, Decoder]:
    """Random decoders by their number of KV heads; the one with 3 is untied.

    Their norms have weights that are not all one, and what they attend to makes a difference.
    """
    made = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for G in (1, 2, 3, 6):
            decoder = Decoder(replace(TINY, layers=2, kv_heads=G, tied=G != 3, rope_base=500.0 * G))
            for name, weight in decoder.named_parameters():
                if "norm" in name:
                    torch.nn.init.uniform_(weight, 0.5, 1.5)
                elif ".attention." in name:
                    torch.nn.init.normal_(weight, std=0.4)
            made[G] = decoder.requires_grad_(False).eval()
    return made


@pytest.fixture(scope="session")
def llama_like() -> Callable[[Decoder], LlamaForCausalLM]:
    """Transformers' Llama with a decoder's weights."""

    def build(decoder: Decoder) -> LlamaForCausalLM:
        config = decoder.config
        llama = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.kv_heads,
                head_dim=config.head_dim,
                intermediate_size=config.feed_forward,
                max_position_embeddings=config.context,
                rms_norm_eps=config.norm_eps,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
                tie_word_embeddings=config.tied,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        llama.load_state_dict({their_name(n): w for n, w in decoder.state_dict().items()})
        return llama.eval().requires_grad_(False)

    return build


class WithoutGuards(TorchFunctionMode):
    """Go around the Python entries that ask for the guard of the tensor's device.

    A CPU build of PyTorch has no guard for CUDA, and most operators do not ask for one.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return INSTEAD.get(function, function)(*args, **(kwargs or {}))


def indexed(x: Tensor, index: object) -> Tensor:
    index = index if isinstance(index, tuple) else (index,)
    named = sum(not isinstance(i, EllipsisType | None) for i in index)
    axis, ndim = 0, x.ndim
    for i in index:
        if i is Ellipsis:
            axis += ndim - named
        elif isinstance(i, int):
            x = x.select(axis, i)
        else:
            x = x.unsqueeze(axis) if i is None else torch.ops.aten.slice(x, axis, i.start, i.stop)
            axis += 1
    return x


INSTEAD = {
    Tensor.__getitem__: indexed,
    Tensor.__setitem__: lambda x, index, value: torch.ops.aten.copy_(indexed(x, index), value),
    Tensor.__invert__: torch.ops.aten.bitwise_not,
    Tensor.copy_: torch.ops.aten.copy_,
    Tensor.__int__: lambda x: 1,  # a token id, say: the loop needs a number where there is none
}


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    """Tensors may claim to be on cuda: no value is computed, but devices must not mix."""
    with WithoutGuards(), FakeTensorMode():
        yield


@pytest.fixture
def fake_cuda_decoder(fake_cuda: None) -> Callable[[ModelConfig], Decoder]:
    """Build a decoder whose weights claim to be on cuda."""

    def build(config: ModelConfig) -> Decoder:
        with torch.device("meta"):
            decoder = Decoder(config)
        weights = {n: torch.empty(p.shape, device="cuda") for n, p in decoder.named_parameters()}
        decoder.load_state_dict(weights, assign=True, strict=False)
        if config.tied:
            decoder.output.weight = decoder.embedding.weight
        return decoder.requires_grad_(False)

    return build


class Chunks:
    """A tokenizer whose tokens are any runs of bytes: characters may be split anywhere."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def decode(self, token_ids, skip_special=False):
        written = b"" if skip_special else SPECIAL_NAME.encode()
        kept = (written if token == SPECIAL else self.chunks[token] for token in token_ids)
        return b"".join(kept).decode("utf-8", "replace")


class Letters:
    """A tokenizer with a letter, a space or half a character for each id."""

    def decode(self, token_ids, skip_special=False):
        table = [b"e", b" ", b"t", b"a", b"\xc3", b"\xa9", b"o", b"."]
        return b"".join(table[t % len(table)] for t in token_ids).decode("utf-8", "replace")

    def encode(self, text, beginning=False):
        return [ord(c) % 90 for c in text]

    def chat(self, messages):
        return messages[0]["content"]


def served(new_engine):
    """The tokens of three texts, a prompt in chunks, in a pool that is too small for all."""
    engine = new_engine(blocks=5, size=2, budget=3)
    texts = [Sequence(torch.tensor([ids]), 4) for ids in ([5, 7], [9, 3, 8, 2, 6], [4])]
    for text in texts:
        engine.add(text)
    while engine.busy:
        engine.step()
    return [text.tokens for text in texts]
