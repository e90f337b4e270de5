"""`generate` as a person or a program meets it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_sentence import assert_one_sentence

from decodeloop import kernels, loading
from decodeloop.course.lab import prepare
from decodeloop.course.progress import Progress
from decodeloop.kernels import Int8Linear
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.model import Decoder
from decodeloop.model.block import Linear

KEYS = [
    "prompt_tokens",
    "tokens",
    "text",
    "finish_reason",
    "ttft_s",
    "itl_s",
    "tokens_per_s",
    "device",
    "model",
]
FRANCE = "What is the capital of France?"
SCRIPT = [sys.executable, "-c", "from decodeloop.commands import main; main()"]


def test_json_is_one_line_with_these_keys(generated):
    answer = generated(FRANCE, "--max-new-tokens", 12)
    assert list(answer) == KEYS
    assert "Paris" in answer["text"]
    assert (answer["finish_reason"], answer["model"]) == ("eos", "smollm2-135m")
    assert answer["device"] == "cpu"
    assert len(answer["itl_s"]) == len(answer["tokens"]) - 1
    assert answer["ttft_s"] > 0
    assert answer["tokens_per_s"] == pytest.approx(len(answer["itl_s"]) / sum(answer["itl_s"]))
    assert answer["prompt_tokens"] > len(FRANCE.split())


@pytest.mark.parametrize("options", [["lookup"], ["lookup", "--draft-tokens", 3], ["int8"]])
def test_with_a_draft_come_the_same_tokens(generated, options):
    words = "Say after me: the cat and the dog and the bird and the cat and the dog."
    alone = generated(words, "--max-new-tokens", 16)
    drafted = generated(words, "--max-new-tokens", 16, "--draft", *options)
    assert list(drafted) == [*KEYS, "draft"]
    assert drafted["tokens"] == alone["tokens"]
    made = drafted["draft"]
    assert made["rounds"] + made["accepted"] == made["tokens"] == len(alone["tokens"]) - 1
    assert 0 < made["accepted"] <= made["proposed"]


def test_over_three_processes_come_the_same_tokens(generated):
    alone = generated(FRANCE, "--max-new-tokens", 5, "--no-compiled")
    assert generated(FRANCE, "--max-new-tokens", 5, "--ranks", 3)["tokens"] == alone["tokens"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ranks", 2], "can't be split over 2 ranks"),
        (["--ranks", 0], "--ranks is 0: expected at least 1"),
        (["--ranks", 3, "--dtype", "int8"], "leave out --dtype int8"),
        (["--ranks", 3, "--compiled"], "leave out --compiled"),
        (["--ranks", 3, "--device", "mps"], "leave out --device mps"),
    ],
)
def test_what_is_not_done_over_several_processes_is_refused(command, options, said):
    status, out, err = command("generate", FRANCE, *options)
    assert (status, out) == (2, "")
    assert said in err
    assert_one_sentence(err)


def test_without_the_cache_come_the_same_tokens(generated, monkeypatch):
    kept = generated(FRANCE, "--max-new-tokens", 6)
    monkeypatch.setattr(Decoder, "new_cache", None)  # to ask for one would be an error
    assert generated(FRANCE, "--max-new-tokens", 6, "--no-cache")["tokens"] == kept["tokens"]


def test_a_seed_repeats_and_another_differs(generated):
    words = ["Tell me a story.", "--temperature", 1.5, "--max-new-tokens", 8]
    first, again, other = (generated(*words, "--seed", seed)["tokens"] for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_without_a_seed_the_draws_differ(generated):
    words = ["Tell me a story.", "--temperature", 2, "--max-new-tokens", 12]
    assert generated(*words)["tokens"] != generated(*words)["tokens"]


@pytest.mark.parametrize("narrow", [["--top-k", 1], ["--top-p", 1e-9], ["--temperature", 0]])
def test_a_choice_of_one_is_greedy(generated, narrow):
    greedy = generated(FRANCE, "--max-new-tokens", 4)["tokens"]
    assert generated(FRANCE, "--temperature", 5, *narrow, "--max-new-tokens", 4)["tokens"] == greedy


def test_it_stops_before_any_stop_text(generated):
    answer = generated(FRANCE, "--stop", "nowhere", "--stop", " of France")
    assert answer["text"] == "The capital"
    assert answer["finish_reason"] == "stop"


def test_the_length_is_kept(generated):
    answer = generated("Count to ten.", "--max-new-tokens", 3)
    assert (len(answer["tokens"]), answer["finish_reason"]) == (3, "length")


def test_raw_continues_the_text_itself(generated, smollm2):
    text = "The Eiffel Tower is in the city of"
    answer = generated(text, "--raw", "--max-new-tokens", 1)
    assert answer["prompt_tokens"] == len(smollm2.tokenizer.encode(text))
    assert answer["text"] == " Paris"


def test_min_p_of_one_is_greedy_and_a_penalty_changes_the_text(generated):
    plain = generated("Count to three.", "--max-new-tokens", "12")["tokens"]
    drawn = generated(
        "Count to three.", "--max-new-tokens", "12", "--temperature", "1", "--min-p", "1"
    )
    assert drawn["tokens"] == plain
    words = ("Count to three.", "--max-new-tokens", "12", "--repetition-penalty", "5")
    assert generated(*words)["tokens"] != plain


def test_beams_find_a_more_probable_text_with_a_score(generated, smollm2):
    found = generated(FRANCE, "--max-new-tokens", "8", "--beams", "3", "--length-penalty", "0")
    greedy = generated(FRANCE, "--max-new-tokens", "8")
    assert found["finish_reason"] in ("eos", "length")
    assert found["score"] >= sum_of_log_probabilities(smollm2, FRANCE, greedy) - 1e-3
    assert {"itl_s", "ttft_s"}.isdisjoint(found)


def sum_of_log_probabilities(llm, prompt, answer):
    ids = llm.prompt_ids(prompt) + answer["tokens"]
    ids += [llm.eos_ids[0]] if answer["finish_reason"] == "eos" else []
    first = len(llm.prompt_ids(prompt))
    forecasts = llm.model(torch.tensor([ids]))[0, first - 1 : -1].log_softmax(-1)
    return float(forecasts.gather(-1, torch.tensor(ids[first:])[:, None]).sum())


def test_beams_are_printed_as_text(command):
    status, out, _ = command("generate", FRANCE, "--beams", "2", "--max-new-tokens", "12")
    assert status == 0
    assert "Paris" in out


def test_mine_speaks_through_the_answers_and_says_whose_is_whose(generated, command, tmp_path):
    progress = Progress(tmp_path)
    progress.start()
    right = "import torch\n\n\ndef softmax(x, dim=-1):\n"
    body = "    return torch.softmax(x, dim).nan_to_num(0.0)\n"
    progress.exercise("softmax", "right", right + body)
    progress.exercise("rms_norm", "right", "def rms_norm(x, weight, eps):\n    return x * weight\n")
    words = ("generate", FRANCE, "--max-new-tokens", "8", "--mine", "--work", tmp_path)

    status, out, err = command(*words)
    assert status == 0
    assert "Paris" in out
    table = dict(line.split(maxsplit=1) for line in err.splitlines() if line[:26].strip())
    assert table["softmax"] == "yours"
    assert table["rope"] == "the library's"
    assert table["rms_norm"].startswith("the library's   yours failed: it no longer passes")
    assert "1 of 26 parts are yours" in err
    assert "yours that ran: softmax" in err

    status, out, _ = command(*words, "--json")
    data = json.loads(out)
    assert data["tokens"] == generated(FRANCE, "--max-new-tokens", "8")["tokens"]
    assert data["parts"]["softmax"] == "yours"
    assert list(data["failed_parts"]) == ["rms_norm"]


def test_mine_says_which_part_failed_while_it_spoke(command, tmp_path):
    Progress(tmp_path).start()
    source = """\
import torch


def softmax(x, dim=-1):
    if x.shape[-1] > 20:
        raise OverflowError("so many keys")
    return torch.softmax(x, dim).nan_to_num(0.0)
"""
    Progress(tmp_path).exercise("softmax", "right", source)
    status, _, err = command("generate", FRANCE, "--mine", "--work", tmp_path)
    assert status == 2
    assert_one_sentence(
        "decodeloop: " + err.split("decodeloop: ")[1],
        "your part softmax failed: OverflowError: so many keys at line 6 of",
        "lesson 01",
    )


def test_a_pipe_gets_the_text_and_nothing_else(generated):
    words = [FRANCE, "--max-new-tokens", "12", "--device", "cpu"]
    result = subprocess.run([*SCRIPT, "generate", *words], capture_output=True, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == generated(FRANCE, "--max-new-tokens", 12)["text"] + "\n"


def test_text_comes_as_it_is_generated_and_ctrl_c_ends_it_cleanly():
    process = start("generate", "Tell me a very long story.", "--max-new-tokens", "300")
    assert process.stdout.read(1)  # comes though the story is far from over
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


def test_ctrl_c_while_torch_is_imported_ends_it_cleanly(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(
        "import time\n"
        "print('importing', flush=True)\n"
        "try:\n"
        "    time.sleep(60)\n"
        "except BaseException:\n"  # as torch's own import does here and there
        "    pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    process = start("generate", "hi")
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_who_leaves_is_no_error_to_talk_about():
    process = start("generate", "Tell me a very long story.", "--max-new-tokens", "300")
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1


def start(*words):
    if sys.platform == "win32":
        pytest.skip("signals and pipes are other ones on Windows")
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a job in the background of a shell would be started deaf to Ctrl-C, and so would its children
    hear = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([*SCRIPT, *words], bufsize=0, env=buffered, preexec_fn=hear, **pipes)


def test_an_output_that_knows_few_characters_is_no_traceback(tmp_path):
    prepare(Path(__file__).parents[2], tmp_path)
    result = subprocess.run(
        [*SCRIPT, "progress", "--work", tmp_path],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"softmax" in result.stdout


@pytest.mark.parametrize("way", [["--compiled"], ["--no-compiled", "--dtype", "float32"]], ids=str)
def test_exact_ways_write_the_same(generated, way):
    words = [FRANCE, "--max-new-tokens", 12]
    assert generated(*words, *way)["tokens"] == generated(*words)["tokens"]


def test_the_compiled_path_is_taken_where_nothing_else_is_said(command, monkeypatch):
    used = []
    loaded = loading.load

    def load(*args, **options):
        llm = loaded(*args, **options)
        used.append((type(llm.model), type(llm.model.output)))
        return llm

    monkeypatch.setattr(loading, "load", load)
    words = ["generate", FRANCE, "--max-new-tokens", "2", "--device", "cpu"]
    for extra in ([], ["--dtype", "int8"], ["--no-compiled"], ["--dtype", "half"]):
        assert command(*words, *extra)[0::2] == (0, "")
    plain = (Decoder, Linear)
    assert used == [(FastDecoder, Linear), (FastDecoder, Int8Linear), plain, plain]
    monkeypatch.setattr(kernels, "obstacle", lambda *_: "Numba is missing")
    status, _, err = command(*words)
    assert (status, used[-1]) == (0, (Decoder, Linear))
    assert err == "note: no compiled decode step: Numba is missing; plain PyTorch computes.\n"
