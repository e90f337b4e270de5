"""A small part of the attacks on the command line, and by killing; `make attack` runs the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = [("fetch_kills.py", 5), ("grading_kills.py", 2), ("odd_calls.py", 15)]


@pytest.mark.parametrize(("script", "count"), SCRIPTS)
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and limits memory as Linux does")
def test_a_few_end_well(script, count):
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), "--count", str(count), "--seed", "1"],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 bad ends" in done.stdout
