"""What `--help` says, and how quickly."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = [
    "doctor",
    "fetch",
    "generate",
    "cost",
    "measure",
    "bench",
    "quality",
    "lab",
    "build",
    "progress",
]


def test_help_names_every_command(command):
    status, out, _ = command("--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)


def test_help_needs_no_torch():
    code = f"""
import sys
from typer.testing import CliRunner
from decodeloop.commands import app
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
        assert err.startswith("decodeloop: ")


def test_a_usage_error_shows_what_was_given(command):
    status, _, err = command("generate", "hi", "--\x1b[2J")
    assert status == 2
    assert "\x1b" not in err
    assert "x1b[2J" in err
