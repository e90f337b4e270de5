"""A learner's answer as a file that stands by itself, and back from the file to a function.

A cell leans on its notebook: imports at the top, helpers in other cells. What it leans on is
written above it, so that the answer can be run elsewhere. Other exercises are left out: they are
linked by name when the answers are put together (`mine`).
"""

from __future__ import annotations

import ast
import linecache
import math
import os
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from decodeloop.course.cells import without_magics
from decodeloop.course.plain import said
from decodeloop.course.statements import bound_names, missing_names, needed_statements
from decodeloop.course.timelimit import TimedOut, limited
from decodeloop.errors import UserError, one_line
from decodeloop.exercises.finding import numbers

Namespace = dict[str, Any]
LONGEST_S = 5.0  # for what stands in a file to be defined


def standalone(answer: Callable[..., Any], path: str) -> tuple[str, list[str]]:
    """The cell of an answer (the source file `path`), under the imports, constants and helpers of
    its notebook that it needs; and the names that could not be taken along."""
    cell = without_magics("".join(linecache.getlines(path)))
    try:
        kept = needed_statements(cell, answer.__name__)
    except SyntaxError:  # a file that is no Python, so that it came from somewhere else
        return cell, []
    above: list[str] = []
    lost: list[str] = []
    names, namespace = missing_names(kept), namespace_of(answer)
    left_out = {answer.__name__, *numbers()}
    borrow(names, namespace, above, lost, left_out, os.path.dirname(path))
    return "\n".join(above) + "\n\n\n" + cell if above else cell, lost


def borrow(
    names: set[str],
    namespace: Mapping[str, Any],
    above: list[str],
    lost: list[str],
    done: set[str],
    cells: str,
) -> None:
    """Append to `above` what defines these names of a notebook, and what that needs in turn; but
    for those that are `done`."""
    for name in sorted(names - done):
        done.add(name)
        if name not in namespace:
            continue
        value = namespace[name]
        if line := simple_definition(name, value):
            above.append(line)
        elif source := definition(name, cells):
            borrow(missing_names(ast.parse(source).body), namespace, above, lost, done, cells)
            above.append(source)
        else:
            lost.append(name)


def simple_definition(name: str, value: Any) -> str | None:
    """One line that binds `name` to a module, to what a module has, or to a plain constant."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    for home in (getattr(value, "__module__", None), "torch", "torch.nn.functional", "math"):
        label = getattr(value, "__name__", None)
        module = sys.modules.get(home) if isinstance(home, str) and home != "__main__" else None
        if module and isinstance(label, str) and getattr(module, label, None) is value:
            return f"from {home} import {label} as {name}"
    return f"{name} = {value!r}" if is_plain(value) else None


def is_plain(value: Any, most: int = 1000) -> bool:
    """Whether `repr` gives what can be written into a file: no large one, and none with code."""
    if type(value) in (int, bool):
        return int(value).bit_length() < most
    if type(value) is float:
        return math.isfinite(value)
    if value is None or type(value) in (str, bytes):
        return value is None or len(value) < 10 * most
    if type(value) in (list, tuple, set):
        return len(value) < most and all(is_plain(x, most // 10) for x in value)
    if type(value) is dict:
        return len(value) < most and all(is_plain(x, most // 10) for x in value.items())
    return False


def definition(name: str, cells: str) -> str | None:
    """The source of a function or class of another cell, without the rest of that cell.

    `cells` is the folder that the notebook's cells pretend to lie in; the latest counts.
    """
    for path in reversed([path for path in linecache.cache if os.path.dirname(path) == cells]):
        cell = "".join(linecache.getlines(path))
        try:
            found = [s for s in ast.parse(cell).body if name in bound_names(s)]
        except SyntaxError:
            continue
        for statement in found:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                decorators = "".join(f"@{ast.unparse(d)}\n" for d in statement.decorator_list)
                return decorators + (ast.get_source_segment(cell, statement) or "")
    return None


def namespace_of(answer: Callable[..., Any]) -> Mapping[str, Any]:
    """The globals of a function, or of the first method of a class."""
    members = vars(answer).values() if isinstance(answer, type) else [answer]
    return next((m.__globals__ for m in members if hasattr(m, "__globals__")), {})


def run_answer(name: str, source: str, filename: str, collaborators: Namespace) -> Namespace:
    """Run what defines an answer, in a namespace of its own, and give that namespace.

    `collaborators` are the other exercises, for what the source does not define itself.

    Raises:
        UserError: the source can't be run, or defines no such name.
    """
    module = types.ModuleType(f"mine.{name}")
    sys.modules[module.__name__] = module  # dataclasses look there for the module of a class
    namespace: Namespace = vars(module)
    namespace.update(collaborators)
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)  # for messages
    try:
        tree = ast.Module(body=needed_statements(source, name), type_ignores=[])
        code = compile(tree, filename, "exec")
        limited(lambda: exec(code, namespace), LONGEST_S)
    except BaseException as error:  # a file may also exit, or interrupt
        if type(error) is KeyboardInterrupt:
            raise
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = f"{type(error).__name__}: {one_line(said(error))}"
        if isinstance(error, TimedOut):
            what = f"it does not come to an end in {LONGEST_S:g} s"
        raise UserError(f"{filename}{where}: it can't be run, {what}") from None
    if namespace.get(name) is collaborators.get(name):
        raise UserError(f"{filename}: it does not define {name}.")
    return namespace
