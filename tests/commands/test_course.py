"""`lab`, `build` and `progress`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from one_sentence import assert_one_sentence

from decodeloop.course.progress import Progress

SCRIPT = [sys.executable, "-c", "from decodeloop.commands import main; main()"]


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
    monkeypatch.setattr(subprocess, "run", begin)
    assert command("lab", "--no-browser", "--port=9999")[0] == 7
    [(words, folder)] = started
    assert words[:4] == [sys.executable, "-m", "jupyter", "lab"]
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in words
    assert words[-2:] == ["--no-browser", "--port=9999"]
    assert words[words.index("--ServerApp.root_dir") + 1] == str(folder)
    assert folder == checkout / "work"


def test_lab_in_another_language(command, checkout, monkeypatch):
    (checkout / "notebooks" / "lab" / "de").mkdir(exist_ok=True)
    ours = checkout / "notebooks" / "lab" / "00_start_here.ipynb"
    (checkout / "notebooks" / "lab" / "de" / ours.name).write_bytes(ours.read_bytes())
    assert command("lab", "--no-open", "--language", "de")[0] == 0
    assert (checkout / "work" / "de" / ours.name).is_file()
    assert (checkout / "work" / ours.name).is_file()
    assert not (checkout / "work" / "de" / "progress.json").exists()  # one for all languages
    started = []
    monkeypatch.setattr(os, "execv", lambda _, words: sys.exit(started.append(words) or 7))
    assert command("lab", "--language", "de")[0] == 7
    assert f"--LabApp.default_url=/lab/tree/de/{ours.name}" in started[0]


def test_a_language_that_nobody_translated_into_is_one_sentence(command, checkout):
    status, out, err = command("lab", "--no-open", "--language", "xx")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "'xx'", "expected one of", "docs/translating.md")
    assert not (checkout / "work").exists()


def test_lab_without_jupyterlab_is_one_sentence(command, checkout, monkeypatch):
    monkeypatch.setattr(sys.modules["decodeloop.commands.lab"], "find_spec", lambda name: None)
    monkeypatch.setattr(os, "execv", None)
    status, _, err = command("lab")
    assert status == 2
    assert_one_sentence(err, "JupyterLab is not installed", ".[lab]", str(checkout / "work"))
    assert (checkout / "work" / "00_start_here.ipynb").is_file()  # for any other Jupyter


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
    for path in (checkout / "notebooks").rglob("*.ipynb"):
        path.unlink()
    for path in (checkout / "lessons").rglob("*.md"):
        path.unlink()
    assert command("build", "--check") == (0, "", "")
    assert command("build")[:2] == (0, "every notebook is up to date\n")
    (checkout / "notebooks" / "cheat-sheet.md").write_text("old")
    assert command("build")[:2] == (0, "built: cheat-sheet\n")


def test_build_of_an_unknown_lesson_is_one_sentence(command, checkout):
    status, out, err = command("build", "99")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "'99'", "expected", "01_attention")


def test_build_says_what_lessons_weigh(command, checkout):
    status, out, _ = command("build", "--weigh", "13", "00")
    assert status == 0
    heading, first, second = out.splitlines()
    assert heading.split()[:2] == ["lesson", "words"]
    assert first.startswith("13_batching ") and second.startswith("00_start_here ")
    assert len(first) == len(heading)

    (checkout / "lessons" / "00_start_here.md").open("a").write("word " * 3000)
    status, out, _ = command("build", "00", "--weigh", "--json")
    assert status == 1
    assert out.count("\n") == 1
    found = json.loads(out)
    [row] = found["lessons"]
    assert row["lesson"] == "00_start_here"
    assert 3000 < row["words"] < 6000
    assert len(row) == len(heading.split())
    assert [line for line in found["excess"] if f"has {row['words']:,} words" in line]
    assert [line for line in command("build", "--weigh", "00")[1].splitlines() if "words:" in line]


def test_json_of_a_build_is_refused(command, checkout):
    status, out, err = command("build", "--json")
    assert (status, out) == (2, "")
    assert_one_sentence(err, "--json", "--weigh", "add it")


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


def start_of_short(progress):
    """What somebody has done who went from 00 to the middle of 01."""
    progress.start()
    progress.exercise("greedy", "right")
    progress.exercise("next_token_loss", "right")
    progress.exercise("softmax", "right")
    progress.exercise("causal_mask", "wrong")


def test_progress_follows_a_path_and_says_what_comes_next(command, tmp_path):
    start_of_short(Progress(tmp_path))
    status, out, _ = command("progress", "--path", "short", "--work", tmp_path)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("The short course, about ")
    states = {line.split()[0]: line.rstrip() for line in lines[2:9]}
    assert list(states) == ["00", "01", "05", "06", "08", "10", "12"]
    assert states["00"].endswith("✓ done")
    assert states["01"].endswith("● begun")
    assert states["05"].endswith("○ open")
    assert lines[-2].startswith("1 of 7 lessons are done; about ")
    assert lines[-1] == "Next: 01 Attention, work/01_attention.ipynb"


def test_a_path_that_was_gone_is_done(command, tmp_path):
    Progress(tmp_path).start()
    out = command("progress", "--path", "short", "--work", tmp_path, "--json")[1]
    data = json.loads(out)
    assert data["path"]["name"] == "short"
    assert [x["lesson"].split("_")[0] for x in data["path"]["lessons"]][:2] == ["00", "01"]
    assert sum(x["right"] for x in data["path"]["lessons"]) == 0
    for row in data["exercises"]:
        if row["kind"] == "core":
            Progress(tmp_path).exercise(row["exercise"], "right")
    out = command("progress", "--path", "short", "--work", tmp_path)[1]
    assert out.endswith("Every lesson of it is done.\n")
    assert "open" not in out


def test_an_unknown_path_is_one_sentence(command, tmp_path):
    Progress(tmp_path).start()
    status, out, err = command("progress", "--path", "scenic", "--work", tmp_path)
    assert (status, out) == (2, "")
    assert_one_sentence(err, "'scenic'", "expected one of", "short, whole, serve")


def test_progress_draws_the_guesses(command, tmp_path):
    Progress(tmp_path).start()
    status, out, err = command("progress", "--predictions", tmp_path / "a.png", "--work", tmp_path)
    assert (status, out) == (2, "")
    assert_one_sentence(err, "no guess to draw yet", "predict")
    Progress(tmp_path).prediction("06_kv_cache", "bytes", 100.0, 46_080.0, "bytes")
    made = command("progress", "--predictions", tmp_path / "a.png", "--work", tmp_path)
    assert made == (
        0,
        f"{tmp_path / 'a.png'}: 1 guess: 0 within a factor 2, half of them within "
        "460; 1 too low, 0 too high.\n",
        "",
    )
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads(command("progress", "--work", tmp_path, "--json")[1])
    assert data["predictions"] == [
        {
            "lesson": "06_kv_cache",
            "name": "bytes",
            "guess": 100.0,
            "measured": 46_080.0,
            "unit": "bytes",
        }
    ]


@pytest.mark.parametrize("name", ["no/folder/a.png", "a.odd"])
def test_where_the_guesses_cannot_be_drawn_is_one_sentence(command, tmp_path, name):
    Progress(tmp_path).start()
    Progress(tmp_path).prediction("06_kv_cache", "bytes", 100.0, 46_080.0, "bytes")
    status, out, err = command("progress", "--predictions", tmp_path / name, "--work", tmp_path)
    assert (status, out) == (2, "")
    assert_one_sentence(err, str(tmp_path / name))
    assert not (tmp_path / "a.odd").exists()


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


ODD = [[], {"exercises": []}, {"exercises": {"softmax": 7}}, {"exercises": {"softmax": {}}}]
ODD += [{"predictions": {"a": value}} for value in ([], {}, {"lesson": 1}, "x")]
ODD += [
    {"exercises": {"softmax": {"state": value, "attempts": value}}} for value in ([], "[/]", {})
]


@pytest.mark.parametrize("data", ODD, ids=json.dumps)
@pytest.mark.parametrize("words", [[], ["--json"]], ids=["a table", "JSON"])
def test_what_somebody_else_wrote_into_progress_counts_as_nothing(command, tmp_path, data, words):
    (tmp_path / "progress.json").write_text(json.dumps(data))
    status, out, err = command("progress", "--work", tmp_path, *words)
    if status:  # it may be refused
        assert (status, out) == (2, "")
        assert_one_sentence(err, "progress.json")
    elif words:
        rows = json.loads(out)["exercises"]
        assert {(row["state"], row["attempts"]) for row in rows} == {("", 0)}
    else:
        assert "0 of" in out


def test_importing_the_command_line_is_quick_enough_for_help():
    clock = time.perf_counter()
    subprocess.run([*SCRIPT, "--help"], check=True, capture_output=True)
    assert time.perf_counter() - clock < 20
