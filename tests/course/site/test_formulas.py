"""Formulas become HTML by KaTeX; it needs node, and what `make site` fetches with it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from decodeloop.course.building import project_root
from decodeloop.course.site.formulas import MODULES, SCRIPT, Typesetter
from decodeloop.errors import UserError

ROOT = project_root()


@pytest.fixture(scope="module")
def katex():
    if shutil.which("node") is None or not (ROOT / MODULES / ".installed").exists():
        pytest.skip("node, or what it needs, is not there: `make site` fetches it")
    made = Typesetter(ROOT / SCRIPT, ROOT / MODULES)
    yield made
    made.close()
    assert made.process.returncode == 0


def test_a_formula_is_drawn_and_said(katex):
    html = katex.html(r"\sqrt{D}")
    assert html.startswith('<span class="katex">')
    assert "<msqrt>" in html  # for those who listen
    assert "katex-display" not in html
    assert "katex-display" in katex.html(r"\sqrt{D}", display=True)


def test_lines_and_letters_of_a_formula_arrive_whole(katex):
    html = katex.html("a \\\\\n\\text{für zwei} · b", display=True)
    assert "für zwei" in html


def test_what_is_no_formula_is_refused_and_the_next_one_is_set(katex):
    with pytest.raises(UserError, match="is no formula: KaTeX parse error"):
        katex.html(r"\fra{")
    assert "katex" in katex.html("x")


def test_a_process_that_has_ended_is_said_in_a_sentence(katex):
    other = Typesetter(ROOT / SCRIPT, ROOT / MODULES)
    other.process.kill()
    other.process.wait()
    with pytest.raises(UserError, match="KaTeX has ended"):
        other.html("x")


def test_where_nothing_was_fetched_it_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="has no KaTeX: run 'make site'"):
        Typesetter(ROOT / SCRIPT, tmp_path)


@pytest.mark.parametrize(("formula", "status"), [(r"\sqrt{D}", 0), (r"\fra{", 1)])
def test_sphinx_stops_at_a_formula_that_can_not_be_set(tmp_path, katex, formula, status):
    pytest.importorskip("sphinx", reason="Sphinx is not there: `make site` installs it")
    (tmp_path / "conf.py").write_text(
        'extensions = ["decodeloop.course.site.formulas"]\nhtml_math_renderer = "katex"\n'
        f'formulas_modules = r"{ROOT / MODULES}"\n',
        "utf-8",
    )
    (tmp_path / "index.rst").write_text(f"Title\n=====\n\n:math:`{formula}`\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(tmp_path), str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr
    assert ("index.rst:4: WARNING" in ended.stderr) == bool(status)
    if not status:
        assert '<span class="katex">' in (tmp_path / "out" / "index.html").read_text("utf-8")
