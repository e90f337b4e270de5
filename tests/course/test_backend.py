"""Figures appear in the notebook, whatever MPLBACKEND says."""

from __future__ import annotations

import os

import matplotlib
import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from decodeloop.course.backend import INLINE, draw_in_notebook
from decodeloop.nbguards.kernels import apart

BEGIN = "from decodeloop.course import begin\nbegin('01_attention', edition='worked')"
DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


@pytest.mark.parametrize(
    ("backend", "first"),
    [("Agg", BEGIN), ("no such backend", BEGIN), ("svg", f"import matplotlib\n{BEGIN}")],
    ids=["Agg", "one that does not exist", "matplotlib was there before"],
)
def test_a_figure_appears_below_its_cell(monkeypatch, backend, first):
    monkeypatch.setenv("MPLBACKEND", backend)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in (first, DRAW)])
    kernel = apart(AsyncKernelManager, kernel_name="python3")
    NotebookClient(notebook, km=kernel, timeout=120).execute(cleanup_kc=True)
    [output] = [o for o in notebook.cells[1].outputs if o.output_type == "display_data"]
    assert "image/png" in output.data
    assert not [o for o in notebook.cells[1].outputs if o.get("name") == "stderr"]


class Shell:
    """IPython's, with a kernel, in which magic is noted."""

    kernel = None

    def __init__(self):
        self.magic = []

    def run_line_magic(self, *words):
        self.magic.append(words)


def test_what_draws_into_the_notebook_already_is_left(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://ipympl.backend_nbagg")
    monkeypatch.setitem(matplotlib.rcParams, "backend", INLINE)
    shell = Shell()
    draw_in_notebook(shell)
    assert os.environ["MPLBACKEND"] == "module://ipympl.backend_nbagg"
    assert shell.magic == []


@pytest.mark.parametrize("shell", [None, object()], ids=["a script", "IPython in a terminal"])
def test_outside_of_a_notebook_nothing_is_changed(monkeypatch, shell):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    draw_in_notebook(shell)
    assert os.environ["MPLBACKEND"] == "Agg"
