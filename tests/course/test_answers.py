import linecache

import pytest
import torch

from decodeloop.course.answers import needed_statements, run_answer, standalone
from decodeloop.errors import UserError


@pytest.fixture
def cells(run_cell):
    """Run the cells of a notebook in one namespace; give it, and the file of the last."""

    def run(*sources):
        namespace = {"__name__": "__main__"}
        for number, source in enumerate(sources):
            path = f"/tmp/ipykernel_1/{number}.py"
            run_cell(source, namespace, path)
        return namespace, path

    return run


def taken_along(cells, *sources, name="answer"):
    """The file of an answer, and what it gives when it is run where nothing else is."""
    namespace, path = cells(*sources)
    source, lost = standalone(namespace[name], path)
    for other in range(len(sources)):
        linecache.cache.pop(f"/tmp/ipykernel_1/{other}.py")
    return source, lost, run_answer(name, source, "mine.py", {})[name]


def test_a_cell_that_leans_on_nothing_is_kept_as_it_is(cells):
    cell = "def answer(x):\n    return [len(x), x]  # a comment\n"
    source, lost, _ = taken_along(cells, "y = 1\n", cell)
    assert (source, lost) == (cell, [])


@pytest.mark.parametrize(
    ("above", "body", "expected"),
    [
        ("import math", "math.sqrt(4.0)", 2.0),
        ("import torch.nn.functional as F", "F.relu(torch.tensor(-1.0)).item()", 0.0),
        ("from torch.nn import functional as F", "F.silu(torch.zeros(())).item()", 0.0),
        (
            "from einops import rearrange as turned",
            "turned(torch.ones(1, 2), 'a b -> b a').sum()",
            2,
        ),
        ("from torch import zeros_like", "zeros_like(torch.ones(1)).item()", 0.0),
        ("from math import sqrt", "sqrt(9)", 3.0),
        ("EPS = 1e-5\nNAMES = ('a', {'b': None})", "(EPS, NAMES)", (1e-5, ("a", {"b": None}))),
        ("def helper(x):\n    return one() + x\n\ndef one():\n    return 1", "helper(2)", 3),
        ("class Held:\n    value = 5", "Held.value", 5),
        (
            "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Held:\n    v: int",
            "Held(4).v",
            4,
        ),
    ],
)
def test_what_stands_in_other_cells_goes_with_it(cells, above, body, expected):
    cell = f"def answer():\n    return {body}\n"
    source, lost, answer = taken_along(cells, "import torch\n" + above + "\n", cell)
    assert source.endswith(cell)
    assert lost == []
    assert answer() == expected


def test_what_a_learner_tries_out_in_the_cell_is_not_run_again(cells):
    cell = """\
SIZE = 3

def helper():
    return SIZE

def answer():
    return helper()

value = answer() + notes
print(value)
answer = str(answer) and answer
"""
    source, lost, answer = taken_along(cells, "notes = 1\n", cell)
    assert source == cell
    assert lost == []
    assert answer() == 3


def test_what_can_not_go_with_it_is_named(cells):
    cell = "def answer():\n    return weights.sum()\n"
    namespace, path = cells("import torch\nweights = torch.ones(3)\n", cell)
    source, lost = standalone(namespace["answer"], path)
    assert (source, lost) == (cell, ["weights"])


def test_other_exercises_are_left_to_be_linked(cells):
    cell = "def attention(q):\n    return softmax(q)\n"
    namespace, path = cells("def softmax(x):\n    return 1\n", cell)
    assert standalone(namespace["attention"], path) == (cell, [])
    linked = run_answer("attention", cell, "mine.py", {"softmax": lambda x: 2, "attention": None})
    assert linked["attention"](0) == 2


def test_a_class_is_taken_along_with_what_its_methods_use(cells):
    cell = "class answer:\n    def size(self):\n        return torch.zeros(SIZE).shape[0]\n"
    _, lost, answer = taken_along(cells, "import torch\nSIZE = 4\n", cell)
    assert lost == []
    assert answer().size() == 4


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("def answer(:\n    pass\n", ["mine.py, line 1", "SyntaxError"]),
        ("x = 1\n", ["mine.py", "does not define answer"]),
        ("def answer(x=missing):\n    pass\n", ["mine.py", "NameError", "missing"]),
    ],
)
def test_a_file_that_can_not_be_run_is_named(source, parts):
    with pytest.raises(UserError) as error:
        run_answer("answer", source, "mine.py", {})
    assert not [part for part in parts if part not in str(error.value)]


def test_of_a_reassigned_name_the_definition_counts():
    source = "def f():\n    return 1\n\nf = check(f)\n"
    (statement,) = needed_statements(source, "f")
    assert statement.lineno == 1
    assert torch.is_tensor(run_answer("f", "import torch\nf = torch.ones(1)\n", "x", {})["f"])
