"""A cell's function in a file, for processes that know nothing of the notebook."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from decodeloop.course.importable import importable
from decodeloop.errors import UserError
from decodeloop.parallel.workers import check_importable


@pytest.fixture
def last_cell(run_cell, monkeypatch):
    """Run the cells of a notebook, and give the function that the last one defines."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*sources, name="answer"):
        namespace = {"__name__": "__main__"}
        for number, source in enumerate(sources):
            run_cell(source, namespace, f"/tmp/ipykernel_17/{number}.py")
        return namespace[name]

    return run


CELLS = (
    "from decodeloop.model import rms_norm\nimport torch\nSCALE = 3\nheavy = object()",
    "def helper(x):\n    return SCALE * x",
    "def answer(x):\n    return helper(rms_norm(x, torch.ones(1), 1e-5))\nanswer(torch.ones(1, 1))",
)


def test_another_process_finds_it_with_all_that_it_needs_and_nothing_is_tried_out_there(last_cell):
    answer = last_cell(*CELLS)
    with pytest.raises(UserError, match=r"can't import answer"):
        check_importable(answer)
    found = importable(answer)
    check_importable(found)
    folder = Path(sys.modules[found.__module__].__file__).parent
    assert str(folder) in sys.path
    program = (
        f"import sys; sys.path.append({str(folder)!r}); import torch; "
        f"from {found.__module__} import answer; print(float(answer(torch.ones(1, 1))))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert float(told.stdout) == pytest.approx(3.0, abs=1e-3)
    text = next(folder.glob("*.py")).read_text("utf-8")
    assert text.count("answer(") == 1


def test_what_is_in_a_module_is_given_back_and_what_cannot_be_written_is_named(last_cell):
    assert importable(check_importable) is check_importable
    lent = types.FunctionType(check_importable.__code__, vars(sys.modules[__name__]), "lent")
    lent.__module__, lent.__name__ = check_importable.__module__, "check_importable"
    assert importable(lent) is check_importable
    with pytest.raises(UserError, match="uses heavy: make that an argument"):
        importable(last_cell(CELLS[0], "def answer(x):\n    return heavy"))
