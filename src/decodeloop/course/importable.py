"""A cell's function as a function of a module, so that another process can import it."""

from __future__ import annotations

import ast
import atexit
import hashlib
import importlib
import linecache
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decodeloop.course.answers import borrow, missing_names, needed_statements
from decodeloop.course.cells import without_magics
from decodeloop.errors import UserError


def importable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, out of a file that holds what its cell says of it, and what it needs of
    other cells. Of the library's it is the library's own.

    Raises:
        UserError: it leans on something that can't be written into a file; the message names it.
    """
    if function.__module__ != "__main__":
        home = importlib.import_module(function.__module__)
        own: Callable[..., Any] = getattr(home, function.__name__)  # `check` lends a copy of it
        return own
    name, path = function.__name__, function.__code__.co_filename
    try:
        kept = needed_statements(without_magics("".join(linecache.getlines(path))), name)
    except SyntaxError:
        kept = []
    above: list[str] = []
    lost = [] if kept else [f"the source of {name}"]
    needs = missing_names(kept)
    borrow(needs, function.__globals__, above, lost, {name}, os.path.dirname(path))
    if lost:
        raise UserError(
            f"{name} can't be written into a file for other processes, since it uses {lost[0]}: "
            f"make that an argument, or define it in a cell as a function or a plain number."
        )
    source = "\n".join([*above, "", "", ast.unparse(ast.Module(kept, [])), ""])
    module = f"cell_{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    folder = tempfile.mkdtemp(prefix="decodeloop-cell-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (Path(folder) / f"{module}.py").write_text(source, "utf-8")
    sys.path.append(folder)  # where other processes look, too: `Workers` tells them
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
