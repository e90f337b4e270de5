"""`cost`, `measure` and `bench`."""

from __future__ import annotations

import json

import pytest
from one_sentence import assert_one_sentence

from decodeloop import bench
from decodeloop.bar import silent
from decodeloop.bench import bench_drafts
from decodeloop.bench.tasks import TASKS

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
        (["gpt2", "--batch", "9" * 400], ["batch is more than 10^18", "from 1"]),
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
        (["--context", "999999999"], ["999,999,999 positions", "8,192"]),
        (["--batch", "99999999"], ["99,999,999 × 1 new", "GB", "ask for fewer"]),
    ],
)
def test_bad_measurements_get_one_sentence(command, words, parts):
    status, _, err = command("measure", *words)
    assert status == 2
    assert_one_sentence(err, *parts)


def test_a_bench_ends_in_one_line(command, monkeypatch):
    two = [c for c in bench.CONTENDERS if c.name in ("plain", "int4, int4 cache")]
    monkeypatch.setattr(bench, "CONTENDERS", two)  # each takes seconds to start
    words = ["--prompt-tokens", 4, "--new-tokens", 3, "--runs", 1, "--threads", 1]
    status, out, _ = command("bench", *words, "--json")
    assert (status, out.count("\n")) == (0, 1)
    data = json.loads(out)
    assert [row["name"] for row in data["paths"]] == ["plain", "int4, int4 cache"]
    assert data["failed"] == {}
    assert data["ratios"]["int4, int4 cache"]["plain"] > 0
    assert all(row["tokens_per_s"]["median"] > 0 for row in data["paths"])


def test_a_bench_of_batches_ends_in_one_line(command, monkeypatch):
    one = [c for c in bench.CONTENDERS if c.name == "w8a8"]  # each takes seconds to start
    monkeypatch.setattr(bench, "CONTENDERS", one)
    words = ["--batch", "2,1", "--context", 4, "--new-tokens", 3, "--runs", 1, "--threads", 1]
    status, out, _ = command("bench", *words, "--json")
    assert (status, out.count("\n")) == (0, 1)
    rows = json.loads(out)["rows"]
    assert [(r["path"], r["batch"]) for r in rows] == [("w8a8", 1), ("w8a8", 2)]
    for row in rows:
        assert row["context"] == 4 and row["ttft_ms"] > 0
        assert row["tokens_per_s"] == pytest.approx(1e3 * row["batch"] / row["itl_ms"])
        assert row["memory_mb"] is None or row["memory_mb"] > 100


def test_a_bench_of_drafts_ends_in_one_line(command, monkeypatch):
    two = {task: TASKS[task] for task in ("list", "chat")}
    monkeypatch.setattr(bench_drafts, "__defaults__", (silent, two, None))
    status, out, _ = command("bench", "--draft", "--new-tokens", 12, "--runs", 1, "--json")
    assert (status, out.count("\n")) == (0, 1)
    rows = json.loads(out)["rows"]
    ways = ["fp32", "fp32 + lookup", "fp32 + int8", "int8", "int8 + lookup"]
    assert [(row["task"], row["way"]) for row in rows] == [(t, w) for t in two for w in ways]
    assert all(row["same"] and row["made"] == 12 for row in rows)
    assert all(row["tokens_per_s"]["median"] > 0 and row["over"] > 0.1 for row in rows)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--runs", "0"], ["--runs is 0", "at least 1"]),
        (["--context", "0"], ["--context is '0'", "at least 1"]),
        (["--context", "4,8"], ["--context is '4,8'", "need --batch"]),
        (["--batch", "8,"], ["--batch is '8,'", "such as 8 or 1,2,4"]),
        (["--batch", "0"], ["--batch is '0'", "at least 1"]),
        (["--batch", "1", "--busy"], ["--busy is for one text", "leave out --batch"]),
        (["--batch", "1", "--new-tokens", "2"], ["--new-tokens is '2'", "at least 3"]),
        (["--batch", "9999999"], ["this machine has", "ask for fewer"]),
        (["--context", "999999999"], ["1,000,000,063 positions", "8,192"]),
        (["--new-tokens", "999999999"], ["positions are asked for", "8,192"]),
        (["--threads", "999999999"], ["--threads is 999999999", "this machine has"]),
        (["--model", "x" * 5000], ["unknown model 'xxx", "…"]),
        (["--draft", "--model", "gpt-9"], ["'gpt-9'"]),
        (["--draft", "--batch", "2"], ["tasks and ways of its own", "leave out --batch"]),
        (["--draft", "--draft-tokens", "0"], ["--draft-tokens is 0", "at least 1"]),
        (["--draft-tokens", "3"], ["--draft-tokens", "give --draft too"]),
    ],
)
def test_a_bench_that_can_not_be_is_refused(command, words, parts):
    status, _, err = command("bench", *words)
    assert status == 2
    assert_one_sentence(err, *parts)
