"""`load`: a name or a path becomes a language model, or a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import decodeloop
from decodeloop.assembling import decoder_from
from decodeloop.checkpoints import PINNED
from decodeloop.checkpoints.folder import OneByOne, read_weights
from decodeloop.checkpoints.hub_config import read_config
from decodeloop.checkpoints.weights import hub_name
from decodeloop.decode import generate, stream
from decodeloop.errors import DeviceError, ModelFileError, UserError
from decodeloop.kernels import dequantize, quantize
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.loading import load
from decodeloop.model import Decoder

IDS = torch.tensor([[5, 40, 7, 7, 99]])


@pytest.fixture(scope="module")
def folder(tiny, llama, tmp_path_factory) -> Path:
    return tiny.save_folder(tmp_path_factory.mktemp("hub") / "model", llama)


@pytest.fixture(scope="module")
def file(tiny, llama, tmp_path_factory) -> Path:
    return tiny.write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", llama)


def test_a_file_and_a_folder_of_the_same_model_are_the_same(file, folder):
    one, other = load(file, device="cpu"), load(str(folder), device="cpu")
    assert one.config == other.config
    assert one.eos_ids == other.eos_ids
    assert torch.equal(one.model(IDS), other.model(IDS))
    assert one.tokenizer.encode("hello 12") == other.tokenizer.encode("hello 12")
    assert one.tokenizer.chat_template == other.tokenizer.chat_template


def test_load_is_at_the_top(folder):
    assert decodeloop.load is load


def test_the_name_is_what_was_asked_for(file, folder):
    assert load(file, device="cpu").name == str(file)
    assert load(folder, device="cpu").name == str(folder)


def test_a_folder_may_be_called_like_a_file(folder, tmp_path):
    load(shutil.copytree(folder, tmp_path / "model.gguf"), device="cpu")


def test_the_home_folder_may_be_abbreviated(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    load(f"~/{folder.name}", device="cpu")


def test_the_device_follows_the_argument_and_else_the_variable(folder, monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "cpu")
    assert load(folder).device == torch.device("cpu")
    monkeypatch.setenv("DECODELOOP_DEVICE", "abacus")
    assert load(folder, device="cpu").device == torch.device("cpu")
    with pytest.raises(DeviceError, match="abacus"):
        load(folder)


def test_the_device_is_checked_before_anything_is_read(tmp_path):
    with pytest.raises(DeviceError):
        load(tmp_path / "nothing here", device="abacus")


def test_a_prompt_is_a_message_or_raw_text(folder):
    model = load(folder, device="cpu")
    asked = model.tokenizer.decode(model.prompt_ids("hello"))
    assert asked == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert model.tokenizer.decode(model.prompt_ids("hello", raw=True)) == "hello"


@pytest.mark.parametrize("raw", [True, False])
def test_an_empty_prompt_is_refused(folder, raw):
    with pytest.raises(UserError, match="empty"):
        load(folder, device="cpu").prompt_ids("", raw=raw)


def test_a_conversation_is_answered_as_a_prompt_is(folder):
    model = load(folder, device="cpu")
    said = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "word"},
        {"role": "user", "content": "hello"},
    ]
    text = model.tokenizer.decode(model.message_ids(said))
    turns = ["user\nhello", "assistant\nword", "user\nhello"]
    expected = "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns)
    assert text == expected + "<|im_start|>assistant\n"
    answer = model.chat(said, 6)
    assert "".join(answer) == answer.text
    ids = torch.tensor([model.message_ids(said)])
    assert answer.tokens == list(generate(model.model, ids, 6, eos_ids=model.eos_ids))
    one = model.chat("hello", 6)
    assert one.read() == "".join(stream(model, "hello", 6))
    assert one.prompt_tokens == len(model.prompt_ids("hello"))


@pytest.mark.parametrize("messages", [[], ["hello"], [{"role": "bot", "content": "x"}], ""])
def test_what_is_no_conversation_is_refused(folder, messages):
    with pytest.raises(UserError, match="expected"):
        load(folder, device="cpu").chat(messages)


@pytest.mark.parametrize(
    "name",
    ["smollm3", "some/where/else", "~nobody-of-this-name/model", "a\0b", "a\0b.gguf", "x" * 5000],
)
def test_an_unknown_name_lists_the_known_ones(tiny, name):
    message = tiny.refusal(lambda: load(name, device="cpu"))
    assert "unknown model" in message
    for known in PINNED:
        assert known in message
    assert len(message) < 500


def test_a_file_that_is_neither_is_refused(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match=r"model\.bin is neither"):
        load(path, device="cpu")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"no config\.json"):
        load(tmp_path, device="cpu")


TOO_LARGE = """
import gc, sys
from checkpoints.conftest import guarded, refusal
from decodeloop.loading import load

for path in sys.argv[1:]:
    for dtype in ("fp32", "bf16", "int8", "int4"):
        load(path, device="cpu", dtype=dtype, compiled=False)
        gc.collect()  # what waits to be freed would be room, too
        with guarded(megabytes=40):
            message = refusal(lambda: load(path, device="cpu", dtype=dtype))
        print(message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_a_model_that_is_too_large_is_one_sentence(tiny, tmp_path):
    """In a process of its own: memory that other tests have given back would be room for it."""
    large = tiny.llama(vocab_size=1 << 18, num_hidden_layers=1)  # 64 MB, then as much again
    file = tiny.write_gguf(tmp_path / "m.gguf", large, "F16")
    folder = tiny.save_folder(tmp_path / "m", large.half())
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, file, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    messages = done.stdout.splitlines()
    for path, said in zip([file] * 4 + [folder] * 4, messages, strict=True):
        assert str(path) in said
        assert "memory" in said


def test_a_tokenizer_that_is_larger_than_the_model_is_refused(tiny, tmp_path):
    small = tiny.llama(vocab_size=len(tiny.tokens) - 1)
    numbers = f"{len(tiny.tokens)} tokens, the model {len(tiny.tokens) - 1}"
    with pytest.raises(ModelFileError, match=numbers):
        load(tiny.save_folder(tmp_path / "m", small), device="cpu")
    with pytest.raises(ModelFileError, match=numbers):
        load(tiny.write_gguf(tmp_path / "m.gguf", small), device="cpu")


def test_a_tokenizer_that_is_smaller_than_the_model_is_accepted(tiny, tmp_path):
    padded = tiny.llama(vocab_size=len(tiny.tokens) + 6)
    model = load(tiny.save_folder(tmp_path / "m", padded), device="cpu")
    assert model.config.vocabulary == model.tokenizer.vocabulary + 6


# the compiled path


def stands_for(weights):
    """What is left of the weights when their matrices were quantized."""
    return {
        name: dequantize(*quantize(tensor.float())) if tensor.ndim == 2 else tensor
        for name, tensor in weights.items()
    }


def test_the_compiled_path_has_the_same_weights_and_tokens(folder):
    plain = load(folder, device="cpu", compiled=False).model
    assert type(plain) is Decoder
    for compiled in (None, True):
        quick = load(folder, device="cpu", compiled=compiled).model
        assert isinstance(quick, FastDecoder)
        assert list(generate(quick, IDS, 40)) == list(generate(plain, IDS, 40))


def test_where_there_are_no_kernels_the_plain_decoder_comes_without_a_word(folder, recwarn):
    assert type(load(folder, device="cpu", dtype=torch.bfloat16).model) is Decoder
    assert not recwarn.list


@pytest.mark.parametrize("dtype", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("compiled", [True, False])
def test_loading_leaves_the_random_numbers_of_others_alone(folder, dtype, compiled):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(folder, device="cpu", dtype=dtype, compiled=compiled)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture
def exact_products(monkeypatch):
    """Products with int8 weights in fp32, also where the processor has bf16."""
    monkeypatch.setattr("decodeloop.kernels.int8.product_type", lambda device: torch.float32)


@pytest.mark.usefixtures("exact_products")
def test_int8_is_the_plain_decoder_with_the_quantized_weights(folder):
    small = load(folder, device="cpu", dtype="int8")
    assert isinstance(small.model, FastDecoder)
    weights = stands_for(read_weights(folder, small.config))
    plain = decoder_from(weights, small.config, folder, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(small.model(IDS), plain(IDS), rtol=1e-4, atol=1e-4)
    assert list(generate(small.model, IDS, 40)) == list(generate(plain, IDS, 40))
    assert not [p for p in small.model.parameters() if p.ndim > 1]  # nothing in fp32 but norms


@pytest.mark.usefixtures("exact_products")
def test_int8_of_an_untied_model_has_a_head_of_its_own(tiny, tmp_path):
    untied = tiny.llama(tie_word_embeddings=False)
    folder = tiny.save_folder(tmp_path / "model", untied)
    small = load(folder, device="cpu", dtype="int8").model
    weights = stands_for(read_weights(folder, small.config))
    plain = decoder_from(weights, small.config, folder, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(small(IDS), plain(IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_file_and_a_folder_are_quantized_alike(file, folder, dtype):
    one, other = (load(x, device="cpu", dtype=dtype).model for x in (file, folder))
    assert torch.equal(one(IDS), other(IDS))


@pytest.mark.parametrize("tied", [True, False])
def test_int4_has_the_weights_of_llama_cpps_q4_0_and_a_head_in_8_bits(tiny, tmp_path, tied):
    llama = tiny.llama(tie_word_embeddings=tied)
    folder = tiny.save_folder(tmp_path / "model", llama)
    quick, small = (load(folder, device="cpu", dtype="int4", compiled=c).model for c in (1, 0))
    with torch.inference_mode():
        found, plain = quick(IDS), small(IDS)
    assert float((found - plain).norm() / plain.norm()) < 1e-3
    assert list(generate(quick, IDS, 40)) == list(generate(small, IDS, 40))
    stored = tiny.as_stored(llama, "Q4_0").state_dict()
    for name in ("layers.1.attention.output", "layers.0.feed_forward.down"):
        matrix = small.get_submodule(name).matrix.dequantized()
        assert torch.equal(matrix, stored[hub_name(f"{name}.weight")])
    head = llama.lm_head.weight
    exact = small.output.exact.matrix
    assert float((dequantize(exact.quantized, exact.scale) - head).abs().max()) < 0.01
    assert not [p for p in small.parameters() if p.ndim > 1]


def test_tensors_one_by_one_are_those_of_the_folder(folder):
    config = read_config(folder)
    singly, together = OneByOne(folder, config), read_weights(folder, config)
    assert set(singly) == set(together) and len(singly) == len(together)
    assert all(torch.equal(singly[name], together[name]) for name in together)


def test_a_damaged_folder_is_named_by_int8_too(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "model")
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match=r"model.safetensors is damaged .*copy it again"):
        load(copied, device="cpu", dtype="int8")
    weights.unlink()
    with pytest.raises(ModelFileError, match=r"has no model.safetensors"):
        load(copied, device="cpu", dtype="int8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dtype": "int3"},
            r"dtype is 'int3': expected one of .*, int8, w8a8, int4; PyTorch's",
        ),
        ({"dtype": torch.int32}, r"dtype is torch.int32: expected one of fp32, bf16, fp16, int8"),
        ({"dtype": torch.bfloat16, "compiled": True}, r"for fp32, int8, w8a8, int4 alone"),
        (
            {"dtype": "half", "compiled": True},
            r"dtype fp16: there are kernels for fp32, int8",
        ),
    ],
)
def test_ways_of_decoding_that_there_are_not(folder, options, message):
    with pytest.raises(UserError, match=message):
        load(folder, device="cpu", **options)


# models of the hub


@pytest.fixture
def hub(tiny, llama, tmp_path, monkeypatch):
    """What huggingface_hub has kept, without a network; a function that adds a model."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def keep(name: str, config_alone: bool = False) -> Path:
        kept = tmp_path / f"models--{name.replace('/', '--')}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("0123abcd")
        folder = tiny.save_folder(kept / "snapshots" / "0123abcd", llama)
        if config_alone:
            for path in folder.iterdir():
                if path.name != "config.json":
                    path.unlink()
        return folder

    return keep


def test_a_hub_id_that_is_kept_loads_without_a_network(hub, llama):
    hub("somebody/some-model")
    torch.testing.assert_close(
        load("somebody/some-model", device="cpu").model(IDS), llama(IDS).logits, atol=1e-4, rtol=0
    )


def test_a_name_of_cost_loads_where_its_folder_is_there(tiny, hub):
    message = tiny.refusal(lambda: load("Qwen3-0.6B", device="cpu"))
    assert "the configuration alone is known" in message and "'Qwen/Qwen3-0.6B'" in message
    hub("Qwen/Qwen3-0.6B")
    assert load("Qwen3-0.6B", device="cpu").name == "Qwen3-0.6B"
    assert "load 'T" not in tiny.refusal(lambda: load("llama-7b", device="cpu"))  # from a paper


def test_a_hub_id_of_which_only_the_configuration_is_kept_is_fetched(tiny, hub, monkeypatch):
    hub("somebody/some-model", config_alone=True)
    message = tiny.refusal(lambda: load("somebody/some-model", device="cpu"))
    assert message.startswith("the model somebody/some-model can't be fetched")
    message = tiny.refusal(lambda: load("somebody/another", device="cpu"))
    assert message.startswith("the configuration of somebody/another can't be fetched")
    monkeypatch.setattr("decodeloop.finding.total_memory", lambda: 1e5)  # bytes
    message = tiny.refusal(lambda: load("somebody/some-model", device="cpu"))
    assert "GB of weights as fp32" in message
