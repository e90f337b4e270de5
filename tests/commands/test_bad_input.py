"""Bad input is one sentence and exit status 2."""

from __future__ import annotations

import pytest
from one_sentence import assert_one_sentence

from decodeloop.checkpoints import PINNED, cache_folder
from decodeloop.model import Decoder

BAD = {
    "empty prompt": ([""], ["prompt is empty", "at least one character"]),
    "negative temperature": (["hi", "--temperature", "-1"], ["-1.0", "from 0", "such as 0.8"]),
    "tiny temperature": (
        ["hi", "--temperature", "1e-300"],
        ["1e-300", "from 0", "1e-06 to 1000000"],
    ),
    "huge temperature": (["hi", "--temperature", "1e300"], ["1e+300", "from 0", "such as 0.8"]),
    "tiny penalty": (["hi", "--repetition-penalty", "1e-300"], ["1e-300", "positive", "1e-06"]),
    "huge penalty": (["hi", "--repetition-penalty", "inf"], ["inf", "positive", "1 changes"]),
    "a prompt that is no text": (["caf\udce9"], ["can't be encoded", "UTF-8"]),
    "a long name": (["hi", "--model", "x" * 5000], ["xxx…", *PINNED]),
    "control characters": (["hi", "--model", "\x1b[2J"], ["x1b[2J", *PINNED]),
    "temperature is no number": (["hi", "--temperature", "nan"], ["nan", "from 0"]),
    "top-p 0": (["hi", "--top-p", "0"], ["top-p is 0.0", "more than 0 and at most 1"]),
    "unknown type": (
        ["hi", "--dtype", "int3"],
        ["--dtype is 'int3'", "fp32, bf16, fp16, int8, w8a8, int4;"],
    ),
    "compiled bf16": (["hi", "--dtype", "bf16", "--compiled"], ["dtype bf16", "fp32, int8, w8a8"]),
    "int8 and mine": (["hi", "--dtype", "int8", "--mine"], ["leave out --dtype int8"]),
    "w8a8 and mine": (["hi", "--dtype", "w8a8", "--mine"], ["leave out --dtype w8a8"]),
    "top-p 1.5": (["hi", "--top-p", "1.5"], ["top-p is 1.5", "more than 0 and at most 1"]),
    "top-k 0": (["hi", "--top-k", "0"], ["top-k is 0", "from 1 up", "leave it out"]),
    "no tokens": (["hi", "--max-new-tokens", "0"], ["--max-new-tokens is 0", "at least 1"]),
    "empty stop": (["hi", "--stop", ""], ["--stop is an empty string", "at least one"]),
    "unknown device": (["hi", "--device", "abacus"], ["'abacus'", "auto, cpu, cuda, mps", "set"]),
    "unknown model": (["hi", "--model", "gpt-9"], ["'gpt-9'", *PINNED, "folder with config.json"]),
    "min-p 2": (["hi", "--min-p", "2"], ["min-p is 2.0", "from 0 to 1", "0 keeps every"]),
    "penalty 0": (["hi", "--repetition-penalty", "0"], ["penalty is 0.0", "positive", "1 changes"]),
    "no beams": (["hi", "--beams", "0"], ["beams is 0", "from 1 (greedy) up"]),
    "length penalty nan": (["hi", "--beams", "2", "--length-penalty", "nan"], ["nan", "-50 to 50"]),
    "penalty without beams": (["hi", "--length-penalty", "2"], ["beam search", "--beams 4"]),
    "drawn beams": (["hi", "--beams", "2", "--temperature", "1"], ["--beams", "leave out"]),
    "beams without cache": (["hi", "--beams", "2", "--no-cache"], ["--beams", "--no-cache"]),
    "more beams than tokens": (["hi", "--beams", "50000"], ["50000", "49152", "vocabulary"]),
    "work without mine": (["hi", "--work", "here"], ["--work", "give --mine"]),
    "no work folder": (["hi", "--mine", "--work", "no-work"], ["no-work", "'make lab' makes one"]),
    "unknown draft": (["hi", "--draft", "oracle"], ["'oracle'", "lookup, int8 or int4"]),
    "no drafted tokens": (
        ["hi", "--draft", "lookup", "--draft-tokens", "0"],
        ["0 tokens", "at least 1", "leave it out"],
    ),
    "drafted tokens without a draft": (["hi", "--draft-tokens", "3"], ["give --draft lookup"]),
    "a draft as slow as the model": (
        ["hi", "--draft", "int8", "--dtype", "int8"],
        ["int8", "much quicker", "take lookup"],
    ),
    "a draft for beams": (["hi", "--draft", "lookup", "--beams", "2"], ["leave out --beams"]),
    "a draft without cache": (["hi", "--draft", "lookup", "--no-cache"], ["leave out --no-cache"]),
    "a draft and a cache that can't go back": (
        ["hi", "--draft", "lookup", "--cache-dtype", "int8"],
        ["goes back exactly", "leave out --cache-dtype"],
    ),
    "missing file": (["hi", "--model", "no.gguf"], ["no.gguf", "No such file"]),
}


@pytest.mark.parametrize(("words", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence_and_status_2(command, words, parts):
    status, out, err = command("generate", *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)


def test_an_unknown_device_in_the_environment_is_one_sentence(command, monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "abacus")
    status, out, err = command("generate", "hi")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "'abacus'", "auto, cpu, cuda, mps", "DECODELOOP_DEVICE")


def test_a_truncated_model_file_is_one_sentence(command, tmp_path):
    pinned = PINNED["smollm2-135m"]
    whole = cache_folder() / pinned.name / pinned.file_name
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(5_000_000))
    status, out, err = command("generate", "hi", "--model", cut)
    assert (status, out) == (2, "")
    assert_one_sentence(err, str(cut), "5,000,000 bytes", "again")


def test_a_folder_that_holds_no_llama_is_one_sentence(command, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    status, out, err = command("generate", "hi", "--model", tmp_path)
    assert (status, out) == (2, "")
    assert_one_sentence(err, str(tmp_path), "'gpt2'", "expected 'llama'")


def test_a_prompt_beyond_the_context_is_refused_before_anything_is_computed(command, monkeypatch):
    def computed(*_, **__):
        raise AssertionError("the prompt was read")

    monkeypatch.setattr(Decoder, "hidden", computed)
    status, out, err = command("generate", "word " * 8200, "--raw", "--device", "cpu")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "the prompt has 8201 tokens", "context 8192", "shorten")


def test_a_prompt_that_fills_the_context_is_taken(command, monkeypatch):
    def computed(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(Decoder, "hidden", computed)
    with pytest.raises(ZeroDivisionError):
        command("generate", "word " * 8191, "--raw", "--device", "cpu", "--no-compiled")


def test_a_cache_folder_that_can_not_be_written_is_one_sentence(command, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for words in (["generate", "hi"], ["fetch"]):
        status, out, err = command(*words)
        assert (status, out) == (2, "")
        assert_one_sentence(err, str(tmp_path / "file"), "can't be written", "XDG_CACHE_HOME")


def test_no_network_and_no_model_is_one_sentence(command, empty_cache):
    status, out, err = command("generate", "hi")
    assert (status, out) == (2, "")
    said = err.splitlines(keepends=True)[-1]  # after the bar
    assert_one_sentence(said, "smollm2-135m is not on this machine", "connect", "fetch --from")
