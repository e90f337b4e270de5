"""Where what is printed goes may be closed, full or a terminal; where one stands may be gone."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
from one_sentence import assert_one_sentence

from decodeloop import loading
from decodeloop.commands.shared import note, shown

SCRIPT = [sys.executable, "-c", "from decodeloop.commands import main; main()"]
COST = ["cost", "gpt2"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="streams are other ones on Windows")


@pytest.mark.parametrize("words", [COST, [*COST, "--json"], ["--help"]], ids=" ".join)
def test_an_output_that_is_full_is_said_and_fails(words):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SCRIPT, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert_one_sentence(done.stderr, "could be printed", "No space left", "elsewhere")


def test_an_output_that_is_closed_is_said_and_fails():
    done = subprocess.run(
        [*SCRIPT, *COST],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(os.close, 1),
    )
    assert done.returncode == 2
    assert_one_sentence(done.stderr, "no standard output", "leave it open")


def test_where_errors_can_not_be_said_the_answer_is_not_mixed_with_them():
    done = subprocess.run(
        [*SCRIPT, "cost", "no such model"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(os.close, 2),
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_folder_that_is_gone_is_one_sentence(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    code = f"import os; os.rmdir({str(here)!r}); {SCRIPT[-1]}"
    done = subprocess.run(
        [sys.executable, "-c", code, *COST], cwd=here, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_sentence(done.stderr, "folder that you stand in is gone", "change to one")


def test_what_a_model_writes_does_not_steer_a_terminal(monkeypatch):
    text = "\x1b[2J and a\nline"
    assert shown(text) == text  # to the letter, for a program
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert shown(text) == "\\u001b[2J and a\nline"


def test_what_is_noted_does_not_either(capsys):
    note("\x1b[2J")
    assert capsys.readouterr().err == "note: \\u001b[2J\n"


def test_what_is_given_is_no_markup(command, monkeypatch):
    monkeypatch.setenv("DECODELOOP_DEVICE", "[/]")
    monkeypatch.setattr(loading, "load", None)
    status, out, err = command("doctor")
    assert (status, err) == (1, "")
    assert "'[/]'" in out


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(13, "Permission denied"), PermissionError(13, "no", "a\x1bb")],
    ids=repr,
)
def test_what_the_system_refuses_is_one_sentence(command, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(loading, "load", fails)
    status, out, err = command("generate", "hi")
    assert (status, out) == (1, "")
    assert_one_sentence(err, "memory" if isinstance(error, MemoryError) else "refused")
    assert "\x1b" not in err
