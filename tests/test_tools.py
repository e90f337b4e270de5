"""The programs in `tools/` whose results are stored."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STORED = ROOT / "notebooks" / "check.svg"
DRAWN_AT_RANDOM = re.compile(r"-?\d+\.\d{3}\b")  # values, not the same on all processors
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The picture of `check`, drawn anew."""
    target = tmp_path_factory.mktemp("tools") / "check.svg"
    tool = ROOT / "tools" / "picture_of_check.py"
    subprocess.run([sys.executable, tool, target], check=True, cwd=ROOT)
    return target


def test_the_picture_of_check_shows_what_check_says_today(drawn):
    pictures = [path.read_text("utf-8") for path in (drawn, STORED)]
    new, old = (DRAWN_AT_RANDOM.sub("#", picture) for picture in pictures)
    assert new == old, "run tools/picture_of_check.py"


def test_it_shows_the_bug_its_name_and_the_answer_put_right(drawn):
    texts = ["".join(t.itertext()) for t in ET.parse(drawn).iter(f"{SVG}text")]
    assert any("q.shape[-2]" in text for text in texts)
    assert any("q.shape[-1]" in text for text in texts)
    assert any(text.startswith("✗ attention: wrong on ") for text in texts)
    assert any("the root of the wrong axis" in text for text in texts)
    assert any(text.startswith("✓ attention: right (") for text in texts)


def test_it_is_small_needs_nothing_and_stands_still_where_that_is_asked_for(drawn):
    text = drawn.read_text("utf-8")
    assert len(text) < 2**20 / 10
    assert "prefers-reduced-motion" in text
    assert "<script" not in text
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert ET.fromstring(text).find(f"{SVG}title") is not None
