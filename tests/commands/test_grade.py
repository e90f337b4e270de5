"""`decodeloop grade`."""

from __future__ import annotations

import csv

import pytest
from hostile_submissions import RIGHT, notebook
from one_sentence import assert_one_sentence

from decodeloop.course.grade import sandbox
from decodeloop.course.grade.sandbox import CAN_GRADE, CANT_GRADE, probe


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "subs"
    folder.mkdir()
    (folder / "ann.ipynb").write_text(notebook(RIGHT), "utf-8")
    (folder / "bob.ipynb").write_text("no notebook")
    return folder


pytestmark = pytest.mark.skipif(not CAN_GRADE, reason=CANT_GRADE)
TRUST = ("--trust",) if probe() else ()


def test_a_table_a_csv_and_nothing_else(command, handed_in, tmp_path):
    table = tmp_path / "table.csv"
    words = ("grade", handed_in, "--lesson", "11", "--jobs", 1, "--csv", table, *TRUST)
    status, out, _ = command(*words)
    assert status == 0
    assert "lesson 11" in out
    assert "ann" in out
    with table.open(newline="", encoding="utf-8") as file:
        found = {(r["student"], r["exercise"]): r for r in csv.DictReader(file)}
    assert found["ann", "percentile"]["verdict"] == "right"
    assert found["ann", "percentile"]["points"] == "1"
    assert found["bob", "percentile"]["verdict"] == "refused"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["subs", "subs.grades.jsonl", "table.csv"]
    assert command(*words)[1] == out


def test_without_bubblewrap_it_refuses_and_says_how_to_get_it(command, handed_in, monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    status, out, err = command("grade", handed_in)
    assert (status, out) == (2, "")
    assert "bubblewrap is not installed" in err
    assert "apt install bubblewrap" in err
    assert "--trust" in err


def test_trust_says_what_was_not_contained(command, handed_in):
    status, out, err = command("grade", handed_in, "--lesson", "11", "--jobs", 1, "--trust")
    assert status == 0
    assert "lesson 11" in out
    assert "nothing was contained" in err


@pytest.mark.parametrize(("seed", "guessed"), [(3, True), (271_828_182, False)])
def test_a_seed_that_can_be_guessed_is_said_to_be(command, handed_in, seed, guessed):
    words = ("--lesson", "11", "--jobs", 1, "--seed", seed, *TRUST)
    status, _, err = command("grade", handed_in, *words)
    assert status == 0
    assert ("can be guessed" in err) is guessed


@pytest.mark.parametrize(
    "words", [("--jobs", "0"), ("--seed", "-1"), ("--lesson", "99"), ("--csv",)]
)
def test_bad_options_are_one_sentence(command, handed_in, words):
    status, out, err = command("grade", handed_in, *words)
    assert (status, out) == (2, "")
    if words != ("--csv",):
        assert_one_sentence(err)


def test_nothing_to_grade_is_one_sentence(command, tmp_path):
    status, _, err = command("grade", tmp_path / "gone")
    assert status == 2
    assert_one_sentence(err)
