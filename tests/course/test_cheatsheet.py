import inspect
import re
import subprocess
import sys
from pathlib import Path

from decodeloop import cost, decode, model
from decodeloop.course.building import build, stale
from decodeloop.course.cheatsheet import NOTATION, cheat_sheet_path, page, shapes_of, summary_of
from decodeloop.course.lab import prepare

ROOT = Path(__file__).parents[2]
LESSONS_OF_COSTS = [
    f"decodeloop.cost.{m}"
    for m in ("memory", "flops", "latency", "queues", "capacity", "utilisation", "roofline")
]


def test_every_public_function_stands_on_it_with_its_parameters():
    text = page()
    functions = [
        (name, value)
        for room in (model, decode)
        for name, value in ((n, getattr(room, n)) for n in room.__all__)
        if inspect.isfunction(value)
    ]
    functions += [
        (name, value)
        for name, value in vars(cost).items()
        if inspect.isfunction(value) and value.__module__ in LESSONS_OF_COSTS
    ]
    assert len(functions) > 50
    missing = [name for name, _ in functions if f"`{name}(" not in text]
    assert not missing
    assert "`attention(q, k, v, mask=None)`" in text  # what has a type or a keyword is left out


def test_the_methods_of_a_cache_stand_on_it_with_their_shapes():
    (row,) = [line for line in page().splitlines() if "`Attends.attend(" in line]
    assert "q (B, H, T, D), k and v (B, G, T, D)" in row
    assert row.endswith("→ (B, H, T, D) |")


def test_it_says_what_the_docstrings_say():
    def asked(x):
        """Do it.

        Shapes: x (B, T),
        with ``-inf`` → (B,). A sentence more.

        And a paragraph.
        """

    def unshaped(x):
        """Count the tokens; fast. Twice."""

    assert shapes_of(asked) == "x (B, T), with `-inf` → (B,)"
    assert shapes_of(unshaped) == ""
    assert summary_of(unshaped) == "count the tokens"

    def abbreviated(x):
        """FLOPs of it."""

    assert summary_of(abbreviated) == "FLOPs of it"


def test_every_row_has_three_columns_and_something_to_say():
    rows = [line for line in page().splitlines() if line.startswith("|")]
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 3, row
        assert all(cell.strip() for cell in cells[1:]), row


def test_it_fits_on_a_page():
    assert len(page().splitlines()) <= 80


def test_its_notation_is_that_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert " · ".join(f"`{letter}` {meaning}" for letter, meaning in NOTATION.items()) in readme


def test_it_is_the_same_without_the_packages_of_the_extras():
    """`make lab` installs none of them, and asks whether the page is up to date."""
    code = """
import sys
for name in ("starlette", "uvicorn", "pydantic", "prometheus_client", "jupytext", "nbclient"):
    sys.modules[name] = None
from decodeloop.course.cheatsheet import page
sys.stdout.buffer.write(page().encode())
"""
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert made.stdout.decode() == page()


def test_the_one_that_is_stored_is_up_to_date():
    assert cheat_sheet_path(ROOT).read_text("utf-8") == page()


def test_an_old_one_is_stale_and_built_again(tmp_path):
    (tmp_path / "lessons").mkdir()
    sheet = cheat_sheet_path(tmp_path)
    sheet.parent.mkdir()
    sheet.write_text("old")
    assert stale(tmp_path) == [sheet]
    assert build(tmp_path) == ["cheat-sheet"]
    assert sheet.read_text("utf-8") == page()
    assert stale(tmp_path) == []
    assert build(tmp_path) == []


def test_it_comes_to_the_work_folder_and_a_newer_one_beside_it(tmp_path):
    root, work = tmp_path / "root", tmp_path / "work"
    (root / "notebooks" / "lab").mkdir(parents=True)
    sheet = cheat_sheet_path(root)
    sheet.write_text("first")
    assert [path.name for path in prepare(root, work).new] == ["cheat-sheet.md"]
    (work / "cheat-sheet.md").write_text("my notes")
    sheet.write_text("second")
    (beside,) = prepare(root, work).beside
    assert beside.read_text() == "second"
    assert (work / "cheat-sheet.md").read_text() == "my notes"
    assert prepare(root, work).beside == ()
