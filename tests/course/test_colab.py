import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from decodeloop.course.building import build, stale
from decodeloop.course.colab import HELD, install
from decodeloop.course.lessons import edition, edition_hash, read_lesson

URL = "https://example.org/some/where"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the cell in an empty folder, and give the commands that it would start."""

    def cell(installed):
        started = []
        found = importlib.util.find_spec
        there = (lambda name: found("math")) if installed else (lambda name: None)
        monkeypatch.setattr(importlib.util, "find_spec", there)
        monkeypatch.setattr(subprocess, "run", lambda words, check: started.append(words))
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.chdir(tmp_path)
        exec(compile(install(URL), "cell", "exec"), {})
        return [list(map(str, words)) for words in started]

    return cell


def test_where_the_course_is_installed_it_does_nothing(run, tmp_path):
    assert run(installed=True) == []
    assert not list(tmp_path.iterdir())


def test_elsewhere_it_brings_the_course_and_leaves_the_kernel_as_it_is(run, tmp_path):
    clone, pip = run(installed=False)
    folder = str(tmp_path / "decodeloop-course")
    assert clone == ["git", "clone", "--quiet", "--depth=1", URL, folder]
    assert pip[:4] == [sys.executable, "-m", "pip", "install"]
    assert pip[-4:] == ["-c", "held.txt", "-e", folder]
    assert "--upgrade" not in pip
    held = (tmp_path / "held.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in held} == set(HELD)
    assert f"ipykernel=={version('ipykernel')}" in held


def test_the_running_kernel_finds_it_at_once(run, tmp_path):
    run(installed=False)
    assert str(tmp_path / "decodeloop-course" / "src") == sys.path[0]


@pytest.fixture
def root(tmp_path):
    """A checkout with one lesson that is built."""
    for name in ("lessons", "notebooks"):
        (tmp_path / name).mkdir()
    front = "title: T\n  part: p\n  minutes: 5\n  needs: n\n  builds: b"
    (tmp_path / "lessons" / "01_a.md").write_text(f"---\nlesson:\n  {front}\n---\n\n# T\n")
    build(tmp_path)
    assert stale(tmp_path) == []
    return tmp_path


def test_a_lab_edition_has_it_once_the_project_has_an_address(root):
    path = root / "lessons" / "01_a.md"
    without = edition(read_lesson(path), "lab").cells[0].source
    assert "subprocess" not in without
    worked = edition_hash(path, "worked")
    url = '[project.urls]\nRepository = "https://github.com/some/where"\n'
    (root / "pyproject.toml").write_text(url)
    first = edition(read_lesson(path), "lab").cells[0].source
    assert "https://github.com/some/where" in first
    assert first.splitlines()[0] == without.splitlines()[0]
    assert re.sub(r"(?s)# On Colab.*invalidate_caches\(\)\n\n", "", first) == without
    assert "subprocess" not in edition(read_lesson(path), "worked").cells[0].source
    assert edition_hash(path, "worked") == worked


def test_a_new_address_makes_the_lab_editions_stale_and_nothing_is_executed(root, monkeypatch):
    from decodeloop.course import building

    url = '[project.urls]\nRepository = "https://github.com/some/where"\n'
    (root / "pyproject.toml").write_text(url)
    lab = root / "notebooks" / "lab" / "01_a.ipynb"
    assert stale(root) == [lab]
    monkeypatch.setattr(building, "executed", None)
    assert build(root) == ["01_a"]
    assert stale(root) == []
    assert "github.com/some/where" in lab.read_text("utf-8")
