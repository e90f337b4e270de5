"""`doctor` and `fetch`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from one_sentence import assert_one_sentence

from decodeloop.checkpoints import PINNED

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
