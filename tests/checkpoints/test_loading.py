"""`load`: a name or a path becomes a language model, or a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import decodeloop
from decodeloop.checkpoints import PINNED, load
from decodeloop.errors import DeviceError, ModelFileError, UserError

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


@pytest.mark.parametrize(
    "name",
    ["smollm3", "some/where", "~nobody-of-this-name/model", "a\0b", "a\0b.gguf", "x" * 5000],
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
