"""The syntax of the answers that everybody can read: the worked edition's, and the library's."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Sequence

from decodeloop.course.building import project_root
from decodeloop.course.grade.inside.reading import answers, shape
from decodeloop.course.grade.table import LIBRARY, WORKED
from decodeloop.errors import UserError
from decodeloop.exercises import finding


def known_shapes(numbers: Sequence[str]) -> dict[tuple[str, str], str]:
    """By exercise and shape of its syntax: whose it is. These sources are our own."""
    known: dict[tuple[str, str], str] = {}
    for number in numbers:
        for name, exercise in finding.of_lesson(number).items():
            source = inspect.getsource(inspect.unwrap(exercise.library))
            known[name, shape(ast.parse(textwrap.dedent(source)).body)] = LIBRARY
        for name, found in worked(number).items():
            known[name, found] = WORKED
    return known


def worked(number: str) -> dict[str, str]:
    """The shapes of a worked edition's answers; none where the package came without notebooks."""
    try:
        folder = project_root() / "notebooks"
    except UserError:
        return {}
    found: dict[str, str] = {}
    for path in folder.glob(f"{number}_*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        names = list(finding.of_lesson(number))
        told = answers(sources, names, list(finding.numbers()))
        found |= {name: x["shape"] for name, x in told.items() if "shape" in x}
    return found


__all__ = ["known_shapes"]
