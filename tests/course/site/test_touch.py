"""The two pieces in a browser, by keyboard alone, and with scripts off."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from decodeloop.course.building import project_root
from decodeloop.course.site import attention, timeline

ROOT = project_root()
STATIC = ROOT / "tools" / "site" / "static"
MODULES = ROOT / "build" / "site-tools" / "node_modules"
DATA = json.loads((ROOT / "tools" / "site" / "attention.json").read_text("utf-8"))


def used(folder):
    """What the pieces said to one who has a keyboard only."""
    if shutil.which("node") is None or not (MODULES / ".installed").exists():
        pytest.skip("node, or what it needs, is not there: `make site` fetches it")
    page = folder / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>{(STATIC / 'course.css').read_text('utf-8')}"
        f"</style>{attention.figure(DATA)}{timeline.figure()}"
        f"<script>{(STATIC / 'pieces.js').read_text('utf-8')}</script>",
        "utf-8",
    )
    command = ["node", str(Path(__file__).with_name("touch.mjs")), str(page), str(MODULES)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "no Chromium was found" in ended.stderr:
        pytest.skip("there is no Chromium")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def looks(layer, head, asks):
    """What should be said of one token: the three that it takes most from."""
    tokens = DATA["tokens"]
    row = attention.triangle(DATA["weights"][layer][head], len(tokens))[asks]
    order = sorted(range(len(row)), key=lambda at: -row[at])[:3]
    most = ", ".join(f"{tokens[at]} ({row[at]})" for at in order if row[at])
    return f"In layer {layer}, head {head}, {tokens[asks]} looks at {most}."


def test_both_answer_to_the_keyboard_and_are_whole_without_scripts(tmp_path):
    told = used(tmp_path)
    layer, head, size = DATA["layer"], DATA["head"], len(DATA["tokens"])
    assert told["cellsWithout"] == size * (size + 1) / 2
    assert told["drawingsWithout"] == len(timeline.SETTINGS)
    assert told["controlsWithout"] == 0

    assert told["focused"] == ["layer", "head", DATA["tokens"][0]]
    assert told["first"] == looks(layer, head, size - 1)
    assert told["layer"] == looks(layer - 1, head, size - 1)
    assert told["head"] == looks(layer - 1, head + 1, size - 1)
    assert told["token"] == looks(layer - 1, head + 1, 0)
    assert told["pressed"] == [DATA["tokens"][0]]
    assert told["live"] == 2  # what changes is read out

    titles, runs = list(timeline.SETTINGS), list(timeline.results().values())
    assert told["drawings"] == 1
    assert told["chosen"].startswith(f"{titles[1]}: ")
    steps = timeline.steps(runs[1])
    assert told["step"].startswith(f"Step 4 of {len(steps)}, {steps[3]['begin']:.2f} to ")
    assert told["value"] == told["step"]
    assert told["last"].startswith(f"Step {len(steps)} of {len(steps)}, ")
