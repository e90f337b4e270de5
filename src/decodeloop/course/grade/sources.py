"""What of the package's sources an answer may import: without what its exercise asks for."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

from decodeloop.exercises.exercise import Exercise

PACKAGE = Path(__file__).resolve().parents[2]
WITHHELD = ("exercises", "course", "commands", "__main__", "doctor", "bench")
INSTEAD = 'raise ImportError("{name} is the library\'s own function: the exercise asks for yours")'


def source_for(name: str, exercise: Exercise) -> dict[str, Any] | None:
    """A module of the package, as those who solve this exercise may have it; None if they may not.

    Only names that a module can have are looked up, and only in the package's own folder.
    """
    parts = name.split(".")
    if parts[:1] != ["decodeloop"] or len(parts) < 2 or parts[1] in WITHHELD:
        return None
    if not all(part.isidentifier() and part.isascii() for part in parts):
        return None
    at = PACKAGE.joinpath(*parts[1:])
    for path, package in ((at / "__init__.py", True), (at.with_suffix(".py"), False)):
        if path.is_file():
            return {"source": without(path, name, exercise), "package": package}
    return None


def without(path: Path, module: str, exercise: Exercise) -> str:
    """The source of a module, in which the function asked for does nothing but refuse."""
    source = read(path)
    library = inspect.unwrap(exercise.library)
    if library.__module__ != module:
        return source
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == library.__name__:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            refuse = INSTEAD.format(name=node.name)
            stub = f"def {node.name}(*_, **__):\n    {refuse}\n"
            lines[first - 1 : node.end_lineno] = [stub]
    return "".join(lines)


@cache
def read(path: Path) -> str:
    return path.read_text("utf-8")


__all__ = ["source_for"]
