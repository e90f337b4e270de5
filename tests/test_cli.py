"""The command line as a person or a program meets it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from decodeloop import checkpoints, cli, kernels
from decodeloop.checkpoints import PINNED, cache_folder
from decodeloop.course.lab import prepare
from decodeloop.course.progress import Progress
from decodeloop.kernels import Int8Linear
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.model import Decoder
from decodeloop.model.block import Linear

COMMANDS = ["doctor", "fetch", "generate", "cost", "measure", "bench", "lab", "build", "progress"]
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
SCRIPT = [sys.executable, "-c", "from decodeloop.cli import main; main()"]


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process; give its exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["decodeloop", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def generated(command):
    """What `generate --json` prints for these words, on the CPU."""

    def run(*words):
        status, out, err = command("generate", *words, "--json", "--device", "cpu")
        assert (status, err) == (0, "")
        assert out.endswith("}\n")
        assert out.count("\n") == 1
        return json.loads(out)

    return run


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No model on this machine, and nowhere to get one from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the lessons and notebooks of this course, to stand in."""
    here = Path(__file__).parents[1]
    for name in ("lessons", "notebooks"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(here / name, tmp_path / name, ignore=ignored)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# help


def test_help_names_every_command(command):
    status, out, _ = command("--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)


def test_help_needs_no_torch():
    code = f"""
import sys
from typer.testing import CliRunner
from decodeloop.cli import app
for words in ([], *([name] for name in {COMMANDS})):
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0 and len(result.output.splitlines()) > 5, words
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_option_or_command_is_a_usage_error(command):
    for words in (["generate", "hi", "--no-such-option"], ["no-such-command"], ["generate"]):
        status, out, err = command(*words)
        assert (status, out) == (2, "")
        assert "Usage:" in err


# generate


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
    prepare(Path(__file__).parents[1], tmp_path)
    result = subprocess.run(
        [*SCRIPT, "progress", "--work", tmp_path],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"softmax" in result.stdout


@pytest.mark.parametrize("weights", ["fp32", "plain"])
def test_exact_weights_write_the_same(generated, weights):
    words = [FRANCE, "--max-new-tokens", 12]
    assert generated(*words, "--weights", weights)["tokens"] == generated(*words)["tokens"]


def test_the_compiled_path_is_taken_where_nothing_else_is_said(command, monkeypatch):
    used = []
    loaded = checkpoints.load

    def load(*args, **options):
        llm = loaded(*args, **options)
        used.append((type(llm.model), type(llm.model.output)))
        return llm

    monkeypatch.setattr(checkpoints, "load", load)
    words = ["generate", FRANCE, "--max-new-tokens", "2", "--device", "cpu"]
    for extra in ([], ["--weights", "int8"], ["--weights", "plain"]):
        assert command(*words, *extra)[0::2] == (0, "")
    assert used == [(FastDecoder, Linear), (FastDecoder, Int8Linear), (Decoder, Linear)]
    monkeypatch.setattr(kernels, "obstacle", lambda device: "Numba is missing")
    status, _, err = command(*words)
    assert (status, used[-1]) == (0, (Decoder, Linear))
    assert err == "note: no compiled decode step: Numba is missing; plain PyTorch computes.\n"


# costs

COSTS = [
    "parameters",
    "weight_bytes",
    "kv_cache_bytes",
    "activation_bytes",
    "prefill_flops",
    "decode_flops",
    "prefill_bytes",
    "decode_bytes",
    "ttft_s",
    "itl_s",
    "bound",
]


def test_costs_as_json(command):
    status, out, err = command("cost", "llama-7b", "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    data = json.loads(out)
    assert [key for key in COSTS if key not in data] == []
    assert (data["parameters"], data["kv_cache_bytes"]) == (6_738_415_616, 2**30)


def test_every_option_of_cost_counts(command):
    def data(*words):
        return json.loads(command("cost", "llama-3-8b", *words, "--json")[1])

    plain = data()
    for words, key in [
        (("--batch", 2), "kv_cache_bytes"),
        (("--context", 100), "kv_cache_bytes"),
        (("--prompt", 100), "prefill_flops"),
        (("--dtype", "int8"), "weight_bytes"),
        (("--cache-dtype", "fp8"), "kv_cache_bytes"),
        (("--chunk", 64), "activation_bytes"),
        (("--device-name", "a100-80gb-sxm"), "itl_s"),
    ]:
        assert data(*words)[key] != plain[key], words


def test_costs_of_a_local_folder(command, tmp_path):
    from cost_configs import THEIRS

    (tmp_path / "config.json").write_text(json.dumps(THEIRS["gemma-2b"].to_dict()), "utf-8")
    folder = json.loads(command("cost", tmp_path, "--json")[1])
    named = json.loads(command("cost", "gemma-2b", "--json")[1])
    del folder["model"], folder["source"], named["model"], named["source"]
    assert folder == named


def test_costs_for_a_person(command):
    status, out, err = command("cost", "gpt3-175b", "--device-name", "h100-sxm")
    assert (status, err) == (0, "")
    assert "174,604,259,328 parameters" in out
    assert "does not fit into 80 GB" in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["gpt-5"], ["unknown model 'gpt-5'", "Known are smollm2-135m"]),
        (["gpt2", "--device-name", "h1000"], ["unknown accelerator 'h1000'", "Known are t4"]),
        (["gpt2", "--batch", "0"], ["batch is 0", "from 1 up"]),
        (["gpt2", "--dtype", "fp12"], ["dtype is 'fp12'", "expected one of fp32"]),
        (["gpt2", "--context", "5", "--prompt", "6"], ["longer than the context of 5"]),
    ],
)
def test_bad_costs_get_one_sentence(command, words, parts):
    status, out, err = command("cost", *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)


def test_this_machine_and_the_model_are_measured(command):
    words = ["--context", 8, "--prompt", 16, "--batch", 1, "--repeats", 1]
    status, out, _ = command("measure", *words, "--device", "cpu", "--json")
    assert status == 0
    assert out.count("\n") == 1
    data = json.loads(out)
    assert data["model"] == "smollm2-135m"
    assert min(data["machine"][k] for k in ("read", "copy", "triad", "linear")) > 0
    assert [(row["T"], row["S"]) for row in data["forwards"]] == [(1, 8), (16, 16)]
    assert all(row["measured"] > 0 and row["predicted"] > 0 for row in data["forwards"])


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--context", "0"], ["--context is 0", "at least 1"]),
        (["--prompt", "-3"], ["--prompt is -3", "at least 1"]),
        (["--batch", "0"], ["--batch is 0", "at least 1"]),
        (["--repeats", "0"], ["--repeats is 0", "at least 1"]),
    ],
)
def test_bad_measurements_get_one_sentence(command, words, parts):
    status, _, err = command("measure", *words)
    assert status == 2
    assert_one_sentence(err, *parts)


def test_a_bench_ends_in_one_line(command):
    words = ["--prompt-tokens", 4, "--new-tokens", 3, "--runs", 1, "--threads", 1]
    status, out, _ = command("bench", *words, "--json")
    assert (status, out.count("\n")) == (0, 1)
    data = json.loads(out)
    assert [row["name"] for row in data["paths"]] == ["plain", "fp32", "int8"]
    assert data["failed"] == {}
    assert data["ratios"]["int8"]["plain"] > 0
    assert all(row["tokens_per_s"]["median"] > 0 for row in data["paths"])


def test_a_bench_that_measures_nothing_is_refused(command):
    status, _, err = command("bench", "--runs", "0")
    assert status == 2
    assert_one_sentence(err, "--runs is 0", "at least 1")


# bad input


def assert_one_sentence(err, *parts):
    """One line, one sentence, which says what was given, what was expected and what to do."""
    assert err.startswith("decodeloop: "), err
    assert err.endswith(".\n"), err
    assert err.count("\n") == 1, err
    assert ". " not in err, err
    assert not [part for part in parts if part not in err], err


BAD = {
    "empty prompt": ([""], ["prompt is empty", "at least one character"]),
    "negative temperature": (["hi", "--temperature", "-1"], ["-1.0", "from 0", "such as 0.8"]),
    "temperature is no number": (["hi", "--temperature", "nan"], ["nan", "from 0"]),
    "top-p 0": (["hi", "--top-p", "0"], ["top-p is 0.0", "more than 0 and at most 1"]),
    "unknown weights": (["hi", "--weights", "int3"], ["--weights is 'int3'", "plain, fp32, int8."]),
    "int8 and mine": (["hi", "--weights", "int8", "--mine"], ["leave out --weights int8"]),
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
        command("generate", "word " * 8191, "--raw", "--device", "cpu", "--weights", "plain")


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


# doctor


def test_doctor_is_content_where_the_model_is(command):
    status, out, err = command("doctor", "--json")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    report = json.loads(out)
    assert list(report) == ["ok", "rows"]
    assert report["ok"]
    assert {tuple(row) for row in report["rows"]} == {("name", "found", "ok", "fix", "needed")}
    names = [row["name"] for row in report["rows"]]
    assert names[:4] == ["python", "torch", "device", "threads"]
    assert names[4:] == ["memory", "disk", "model", "load", "kernel", "notebooks"]


def test_doctor_fails_without_the_model_and_says_what_to_do(command, empty_cache, tmp_path):
    status, out, _ = command("doctor", "--json")
    assert status == 1
    failing = [row for row in json.loads(out)["rows"] if not row["ok"] and row["needed"]]
    assert [(row["name"], row["fix"]) for row in failing] == [("model", "run 'decodeloop fetch'")]
    assert not (tmp_path / "cache").exists()  # to look is not to fetch


def test_doctor_in_a_table_marks_the_failing_row(command, empty_cache):
    status, out, _ = command("doctor")
    assert status == 1
    assert any(line.startswith("FAIL") and "model" in line for line in out.splitlines())
    assert "\033" not in out


# fetch


def test_fetch_of_what_is_there_says_where(command):
    status, out, err = command("fetch", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out).keys() == {"model", "folder"}
    assert (Path(json.loads(out)["folder"]) / "config.json").is_file()
    assert json.loads(out)["folder"] in command("fetch")[1]


def test_fetch_from_a_wrong_file_is_one_sentence_and_leaves_nothing(command, empty_cache, tmp_path):
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF, but not that one")
    status, out, err = command("fetch", "--from", wrong)
    assert (status, out) == (2, "")
    said = err.splitlines(keepends=True)[-1]
    assert_one_sentence(said, str(wrong), "22 bytes", "98,362,432 bytes", "download it again")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name != ".lock"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["gpt-9"], ["'gpt-9'", *PINNED, "generate --model"]),
        (["--from", "nowhere.gguf"], ["nowhere.gguf", "expected", "package"]),
    ],
)
def test_fetch_refuses_what_it_does_not_know(command, empty_cache, words, parts):
    status, out, err = command("fetch", *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)


# lab, build, progress


def test_lab_copies_what_is_missing_and_says_so(command, checkout):
    expected = sorted(path.name for path in (checkout / "notebooks" / "lab").glob("*.ipynb"))
    status, out, _ = command("lab", "--no-open")
    assert status == 0
    assert out.splitlines() == [f"new: {name}" for name in [*expected, "cheat-sheet.md"]]
    assert sorted(path.name for path in (checkout / "work").glob("*.ipynb")) == expected
    assert command("lab", "--no-open") == (0, "", "")


def test_lab_says_where_a_newer_edition_arrived(command, checkout):
    command("lab", "--no-open", "--work", "mine")
    theirs = checkout / "notebooks" / "lab" / "01_attention.ipynb"
    notebook = json.loads(theirs.read_text("utf-8"))
    notebook["metadata"]["decodeloop"]["source_hash"] = "0123456789"
    theirs.write_text(json.dumps(notebook))
    out = command("lab", "--no-open", "--work", "mine")[1]
    assert out.startswith("a newer edition, beside yours, ")
    assert out.endswith(": 01_attention.newer-012345.ipynb\n")


def test_lab_opens_jupyterlab_at_lesson_00_with_the_further_options(command, checkout, monkeypatch):
    started = []

    def begin(words, *_):
        started.append((words, Path.cwd()))
        sys.exit(7)

    monkeypatch.setattr(os, "execv", lambda _, words: begin(words))
    monkeypatch.setattr(cli.subprocess, "run", begin)
    assert command("lab", "--no-browser", "--port=9999")[0] == 7
    [(words, folder)] = started
    assert words[:4] == [sys.executable, "-m", "jupyter", "lab"]
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in words
    assert words[-2:] == ["--no-browser", "--port=9999"]
    assert words[words.index("--ServerApp.root_dir") + 1] == str(folder)
    assert folder == checkout / "work"


def test_lab_does_not_open_without_the_model(command, checkout, empty_cache, monkeypatch):
    monkeypatch.setattr(os, "execv", None)
    status, _, err = command("lab")
    assert status == 2
    assert_one_sentence(err.splitlines(keepends=True)[-1], "not on this machine", "connect")


def test_lab_where_it_can_not_write_is_one_sentence(command, checkout):
    (checkout / "file").write_text("in the way")
    status, out, err = command("lab", "--no-open", "--work", "file")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "file can't be written", "--work")


def test_build_check_lists_what_is_stale(command, checkout):
    with (checkout / "lessons" / "01_attention.md").open("a") as lesson:
        lesson.write("\nOne more line.\n")
    status, out, _ = command("build", "--check")
    assert status == 1
    assert f"stale: {Path('notebooks', '01_attention.ipynb')}" in out.splitlines()
    assert f"stale: {Path('notebooks', 'lab', '01_attention.ipynb')}" in out.splitlines()
    for kind in ("", "lab"):
        for path in (checkout / "notebooks" / kind).glob("*.ipynb"):
            path.unlink()
    for path in (checkout / "lessons").glob("*.md"):
        path.unlink()
    assert command("build", "--check") == (0, "", "")
    assert command("build")[:2] == (0, "every notebook is up to date\n")
    (checkout / "notebooks" / "cheat-sheet.md").write_text("old")
    assert command("build")[:2] == (0, "built: cheat-sheet\n")


def test_build_of_an_unknown_lesson_is_one_sentence(command, checkout):
    status, out, err = command("build", "99")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "'99'", "expected", "01_attention")


def test_progress_shows_what_was_checked(command, tmp_path):
    Progress(tmp_path).start()
    Progress(tmp_path).exercise("softmax", "wrong")
    Progress(tmp_path).exercise("softmax", "right")
    Progress(tmp_path).exercise("attention", "wrong")
    status, out, _ = command("progress", "--work", tmp_path, "--json")
    assert status == 0
    assert out.count("\n") == 1
    rows = {row["exercise"]: row for row in json.loads(out)["exercises"]}
    assert rows["softmax"] == {
        "lesson": "01_attention",
        "exercise": "softmax",
        "kind": "core",
        "state": "right",
        "attempts": 2,
    }
    assert (rows["attention"]["state"], rows["attention"]["attempts"]) == ("wrong", 1)
    assert (rows["greedy"]["state"], rows["greedy"]["attempts"]) == ("", 0)

    table = command("progress", "--work", tmp_path)[1].splitlines()
    assert any("softmax" in line and "right" in line and "2 ×" in line for line in table)
    assert any("greedy" in line and "open" in line for line in table)
    assert table[-1] == f"1 of {len(rows)} exercises are right."


def test_progress_is_found_from_inside_the_work_folder(command, tmp_path, monkeypatch):
    Progress(tmp_path).start()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert command("progress")[0] == 0


def test_progress_elsewhere_or_unreadable_is_one_sentence(command, tmp_path):
    status, out, err = command("progress", "--work", tmp_path / "elsewhere")
    assert (status, out) == (2, "")
    assert_one_sentence(err, str(tmp_path / "elsewhere"), "no work folder", "make lab")
    (tmp_path / "progress.json").write_text("{")
    status, out, err = command("progress", "--work", tmp_path)
    assert (status, out) == (2, "")
    assert_one_sentence(err, str(tmp_path / "progress.json"), "no readable JSON", "delete it")


def test_importing_the_command_line_is_quick_enough_for_help():
    clock = time.perf_counter()
    subprocess.run([*SCRIPT, "--help"], check=True, capture_output=True)
    assert time.perf_counter() - clock < 20
