"""Cells under a magic, and orders to IPython in a cell."""

import linecache

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from decodeloop.course.cells import cell_path, without_magics

DEFINES = "\ndef answer(x):\n    # a comment\n    return x + 1\n"


@pytest.fixture
def history():
    """Cells as IPython ran them; it knows the file of those without a magic."""
    ran = []

    def run(*cells):
        for cell in cells:
            source = TransformerManager().transform_cell(cell)
            ran.append(source)
            if not cell.startswith("%%"):
                name = f"/tmp/ipykernel_9/{len(ran)}.py"
                linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        return ran

    yield run
    for name in [n for n in linecache.cache if "ipykernel_9" in n]:
        linecache.cache.pop(name)


def timed(source, name="answer"):
    namespace = {}
    exec(compile(source, "<timed exec>", "exec"), namespace)
    return namespace[name]


@pytest.mark.parametrize("magic", ["%%time", "%%time\n\n", "%%prun -q", "%%capture out"])
def test_the_source_under_a_magic_is_found_in_the_history(history, magic):
    cells = history("import math", f"{magic}\n{DEFINES}", "%%time\nanswer = 3\n")
    path = cell_path(timed(DEFINES), "<timed exec>", cells)
    assert path.startswith("/tmp/ipykernel_9/")
    assert "".join(linecache.getlines(path)).strip() == DEFINES.strip()


def test_of_two_cells_that_is_taken_which_has_this_function(history):
    other = DEFINES.replace("x + 1", "x * 2 + 1")
    cells = history(f"%%time\n{DEFINES}", f"%%time\n{other}")
    path = cell_path(timed(DEFINES), "<timed exec>", cells)
    assert "x + 1" in "".join(linecache.getlines(path))


def test_a_class_is_found_by_its_methods(history):
    source = "class answer:\n    def a(self):\n        return 1\n"
    cells = history(f"%%time\n{source}")
    assert cell_path(timed(source), "<timed exec>", cells)


def test_what_is_nowhere_is_not_found(history):
    assert cell_path(timed(DEFINES), "<timed exec>", history("x = 1", "%%time\nx = (\n")) is None
    assert cell_path(len, None, []) is None


def test_a_file_that_is_known_stays_what_it_is(history):
    history(DEFINES)
    assert cell_path(len, "/tmp/ipykernel_9/1.py", []) == "/tmp/ipykernel_9/1.py"


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("%matplotlib inline\nx = 1\n!ls\ny = 2\n", "x = 1\ny = 2\n"),
        ("def f():\n    !ls\n    return 1\n", "def f():\n    pass\n    return 1\n"),
        ("def f():\n    %time\n", "def f():\n    pass\n"),
        ("x?\ny = 1\n", "y = 1\n"),
        ("names = !ls\n", "names = get_ipython().getoutput('ls')\n"),
        ("x = 1  # plain\n", "x = 1  # plain\n"),
    ],
)
def test_orders_to_ipython_are_left_out(cell, kept):
    assert without_magics(TransformerManager().transform_cell(cell)) == kept


def test_what_is_no_python_stays_as_it_is():
    assert without_magics("%%html\n<b>") == "%%html\n<b>"
