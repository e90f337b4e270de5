"""A small part of `fetch_kills`; `make attack` runs the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and limits memory as Linux does")
def test_a_few_end_well():
    script = Path(__file__).with_name("fetch_kills.py")
    done = subprocess.run(
        [sys.executable, script, "--count", "12", "--seed", "1"],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 bad ends" in done.stdout
