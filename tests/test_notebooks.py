"""What must hold of the notebooks that are stored; that they run is nbval's business."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path

import nbformat
import pytest
import torch

from decodeloop.course.building import lesson_paths, notebook_path, output_texts, stale
from decodeloop.course.languages import name_of, translation_paths
from decodeloop.course.lessons import BEGIN, END, STUB, edition, read_lesson, tags
from decodeloop.decode import generate

ROOT = Path(__file__).parents[1]
NAMES = [name_of(path) for path in [*lesson_paths(ROOT), *translation_paths(ROOT)]]
INFORMATIVE = re.compile(r"^(doctor|scoreboard)\(\)$|^plt\.show\(\)$", re.MULTILINE)
FOREIGN_PATH = re.compile(r"/(home|Users|root|tmp|private|var)/\w|[A-Z]:\\\w|\\\\Users")
SMALLEST_GAP = 0.02

each_lesson = pytest.mark.parametrize("name", NAMES)
each_notebook = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in NAMES for kind in ("worked", "lab")]
)


def code_cells(name, kind):
    notebook = nbformat.read(notebook_path(ROOT, name, kind), as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def draws(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_there_are_lessons():
    assert NAMES[:2] == ["00_start_here", "01_attention"]


def test_nothing_is_stale():
    assert stale(ROOT) == [], "run 'make build'"


@each_notebook
def test_a_notebook_holds_what_its_lesson_says_and_nobody_edited_it(name, kind):
    notebook = nbformat.read(notebook_path(ROOT, name, kind), as_version=4)
    built = edition(read_lesson(ROOT / "lessons" / f"{name}.md"), kind)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in built.cells]
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in built.cells]


@each_notebook
def test_notebooks_are_valid_and_name_their_lesson_and_edition(name, kind):
    notebook = nbformat.read(notebook_path(ROOT, name, kind), as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.decodeloop.lesson == name.rpartition("/")[2]
    assert notebook.metadata.decodeloop.edition == kind
    assert f"lessons/{name}.md" in notebook.cells[0].source


@each_lesson
def test_every_cell_of_a_worked_edition_was_executed_in_order(name):
    counts = [cell.execution_count for cell in code_cells(name, "worked")]
    assert counts == list(range(1, len(counts) + 1))


@each_lesson
def test_every_cell_that_prints_or_draws_has_its_output_stored(name):
    speaks = re.compile(r"^(?!\s*#).*\b(print|check|predict|reveal|plt\.show)\(", re.MULTILINE)
    for cell in code_cells(name, "worked"):
        top = [line for line in cell.source.splitlines() if not line.startswith((" ", "def "))]
        if speaks.search("\n".join(top)):
            assert cell.outputs, cell.source


@each_lesson
def test_no_worked_edition_stores_an_error_or_a_warning(name):
    for cell in code_cells(name, "worked"):
        assert not [
            o for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"
        ]


@each_lesson
def test_lab_editions_have_no_outputs(name):
    for cell in code_cells(name, "lab"):
        assert (cell.outputs, cell.execution_count) == ([], None), cell.source


@each_lesson
def test_a_cell_whose_output_is_ignored_asserts_something_or_only_informs(name):
    for cell in code_cells(name, "worked"):
        if "nbval-ignore-output" in tags(cell):
            assert INFORMATIVE.search(cell.source) or asserts(cell.source), cell.source


def asserts(source):
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))


@each_lesson
def test_lab_editions_hold_no_solution(name):
    lab = code_cells(name, "lab")
    for cell in lab:
        assert BEGIN not in cell.source
        assert END not in cell.source
    for solution in solutions(name):
        assert not [cell.source for cell in lab if solution in cell.source]
    for cell in lab:
        if "exercise" in tags(cell):
            assert STUB in cell.source


def solutions(name):
    found = []
    cells = read_lesson(ROOT / "lessons" / f"{name}.md").cells
    for cell in cells:
        parts = cell.source.split(BEGIN)[1:]
        found += [part.split(END)[0].strip() for part in parts]
    assert found or not [c for c in cells if "exercise" in tags(c)]  # an appendix may have none
    return found


@each_lesson
def test_worked_editions_hold_every_solution_and_no_marker(name):
    sources = [cell.source for cell in code_cells(name, "worked")]
    assert not [s for s in sources if BEGIN in s or END in s or STUB in s]
    for solution in solutions(name):
        assert [s for s in sources if solution in s], solution


@each_lesson
def test_every_exercise_is_right_in_the_worked_edition(name):
    for cell in code_cells(name, "worked"):
        if re.search(r"= check\(\w+\)$", cell.source):
            assert ": right" in " ".join(output_texts(cell)), cell.source


@each_notebook
def test_every_figure_has_alt_text(name, kind):
    figures = [draws(cell) for cell in code_cells(name, "worked")]
    assert any(figures)
    for cell, figure in zip(code_cells(name, kind), figures, strict=True):
        if figure:
            assert len(cell.metadata.mystnb.image.alt.split()) >= 5, cell.source


@each_lesson
def test_no_stored_output_names_a_machine(name):
    names = {n for n in (str(Path.home()), socket.gethostname()) if len(n) > 6}
    for cell in code_cells(name, "worked"):
        for text in output_texts(cell):
            assert not FOREIGN_PATH.search(text), text
            assert not re.search(r"0x[0-9a-fA-F]{6,}", text), text
            if "nbval-ignore-output" not in tags(cell):
                assert not re.search(r"\b(cuda|mps):?\d*\b|\+cpu|\+cu\d", text), text
            assert not [n for n in names if n in text], text


# Text that was generated greedily: no rounding of another machine may change it.


def lesson_00():
    return [ast.parse(cell.source) for cell in code_cells("00_start_here", "worked")]


def test_the_answers_of_lesson_00_have_a_clear_margin(smollm2):
    [questions] = (
        ast.literal_eval(node.value)
        for tree in lesson_00()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "questions"
    )
    assert len(questions) > 2
    gaps = {q: smallest_gap(smollm2, smollm2.prompt_ids(q), 20) for q in questions}
    assert min(gaps.values()) > SMALLEST_GAP, gaps


def test_the_loop_of_lesson_00_has_a_clear_margin(smollm2):
    [tree] = (t for t in lesson_00() if "ids.append(int(greedy(" in ast.unparse(t))
    [text] = (
        ast.literal_eval(node.value.args[0])
        for node in tree.body
        if isinstance(node, ast.Assign) and "encode(" in ast.unparse(node.value)
    )
    [loop] = (node for node in tree.body if isinstance(node, ast.For))
    steps = ast.literal_eval(loop.iter.args[0])
    gap = smallest_gap(smollm2, smollm2.tokenizer.encode(text), steps, eos_ids=())
    assert gap > SMALLEST_GAP


def smallest_gap(llm, prompt, steps, eos_ids=None):
    """The smallest gap between the two best logits of any step, the one that ends it included."""
    ends = llm.eos_ids if eos_ids is None else eos_ids
    generation = generate(llm.model, torch.tensor([prompt]), steps, eos_ids=ends)
    tokens = list(generation)
    if generation.finish_reason == "length":
        tokens.pop()  # nothing was chosen after the last
    with torch.inference_mode():
        hidden = llm.model.hidden(torch.tensor([prompt + tokens]))[0, len(prompt) - 1 :]
        best = llm.model.head(hidden).topk(2).values
    return float((best[:, 0] - best[:, 1]).min())
