"""`quality`: on the small model, which is read in no time, and on tiny folders."""

from __future__ import annotations

import json

import pytest
from one_sentence import assert_one_sentence
from tiny_models import random_llama, save_folder

INTERVALS = ("perplexity", "original_perplexity", "perplexity_ratio", "kl", "agreement")


@pytest.fixture
def measured(command):
    def run(*words):
        status, out, err = command("quality", *words, "--json", "--device", "cpu")
        assert (status, out.count("\n")) == (0, 1), err
        return json.loads(out)

    return run


def test_int8_costs_little_and_every_figure_has_its_interval(measured):
    found = measured("--model", "small", "--dtype", "int8", "--no-compiled")
    assert {"model", "dtype", "against", "kind", "texts", "predictions"} <= found.keys()
    for name in INTERVALS:
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"], name
    assert (found["kind"], found["texts"]) == ("plays", 40)
    assert 0 < found["kl"]["value"] < 0.01
    assert 0.95 < found["agreement"]["value"] < 1
    assert 0.99 < found["perplexity_ratio"]["value"] < 1.01


def test_a_cache_in_four_bits_costs_more_than_one_in_eight(measured):
    words = ("--model", "small", "--no-compiled", "--cache-dtype")
    eight, four = (measured(*words, bits)["kl"]["value"] for bits in ("int8", "int4"))
    assert 0 < 10 * eight < four


def test_a_model_against_itself_lost_nothing(measured):
    found = measured("--model", "small", "--no-compiled")
    assert found["kl"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["agreement"]["value"] == found["perplexity_ratio"]["value"] == 1.0
    assert found["perplexity"] == found["original_perplexity"]


@pytest.fixture
def two_folders(tmp_path):
    """Two tiny models of one tokenizer, whose context holds the passages."""
    folders = []
    for number, layers in enumerate((2, 1)):
        model = random_llama(num_hidden_layers=layers, max_position_embeddings=600)
        folders.append(save_folder(tmp_path / str(number), model))
    return folders


def test_against_another_model_with_questions_and_in_steps(measured, two_folders):
    one, other = map(str, two_folders)
    words = ("--model", one, "--against", other, "--no-compiled")
    found = measured(*words, "--questions")
    assert found["kl"]["value"] > 0.01
    assert found["questions"] >= 200
    assert 0.1 < found["accuracy"]["value"] < 0.5  # it knows nothing
    assert found["accuracy_change"]["low"] <= found["accuracy_change"]["high"]
    steps = measured(*words, "--chunk", "64")
    assert steps["kl"]["value"] == pytest.approx(found["kl"]["value"], rel=1e-3)


def test_of_a_relative_of_llama_that_was_exported_in_fewer_bits(measured, command, tmp_path):
    theirs = random_llama("qwen2", max_position_embeddings=600)
    folder, made = str(save_folder(tmp_path / "qwen2", theirs)), str(tmp_path / "int8")
    assert command("export", made, "--model", folder, "--dtype", "int8")[0] == 0
    in_8_bits = ("--dtype", "int8", "--no-compiled")
    found = measured("--model", made, "--against", folder, *in_8_bits)
    assert 0 < found["kl"]["value"] < 0.1
    again = measured("--model", folder, *in_8_bits)
    assert again["kl"]["value"] == pytest.approx(found["kl"]["value"], rel=1e-3)


def test_as_a_table_it_says_what_was_measured(command):
    status, out, _ = command("quality", "--model", "small", "--no-compiled", "--device", "cpu")
    assert status == 0
    for words in ("small fp32, the original", "perplexity", "same best token", "40 texts", "95 %"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--texts", "verse"], ["'verse'", "plain, plays"]),
        (["--dtype", "int3"], ["--dtype", "'int3'", "int8"]),
        (["--chunk", "0"], ["--chunk is 0", "at least 1"]),
        (["--against", "nowhere"], ["'nowhere'", "small"]),
        (["--model", "small", "--against", "smollm2-135m"], ["different tokens", "one family"]),
    ],
)
def test_bad_input_is_one_sentence(command, words, parts):
    status, out, err = command("quality", "--no-compiled", *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)
