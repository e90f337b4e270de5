"""The command line, run in this process."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from decodeloop import commands


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process; give its exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["decodeloop", *map(str, words)])
        capsys.readouterr()
        try:
            commands.main()
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
    here = Path(__file__).parents[2]
    for name in ("lessons", "notebooks"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(here / name, tmp_path / name, ignore=ignored)
    monkeypatch.chdir(tmp_path)
    return tmp_path
