"""The source of what a notebook's cells define, and what of it is IPython's and not Python.

Python knows the lines of a cell by a file name that IPython gives it. Under a cell magic, such as
``%%time``, it has none: the cell is then found in the notebook's history.
"""

from __future__ import annotations

import ast
import linecache
import os
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any


def cell_path(answer: Callable[..., Any], path: str | None, history: Sequence[str]) -> str | None:
    """The name under which `linecache` has the lines of the cell that defines an answer.

    `path` is the one that its code names, `history` the notebook's cells as IPython ran them. None
    where nobody knows the source.
    """
    if path is None or linecache.getlines(path):
        return path
    found = None
    for number, body in enumerate(magic_bodies(history)):
        name = os.path.join(folder_of_cells(history), f"<cell under a magic {number}>")
        linecache.cache[name] = (len(body), None, body.splitlines(keepends=True), name)
        if defines(body, answer):
            found = name
    return found


def magic_bodies(history: Sequence[str]) -> Iterator[str]:
    """What stands below each cell magic, as Python."""
    for cell in history:
        for statement in module(cell).body:
            match statement:
                case ast.Expr(
                    ast.Call(ast.Attribute(attr="run_cell_magic"), [_, _, ast.Constant(str(body))])
                ):
                    from IPython.core.inputtransformer2 import TransformerManager

                    yield TransformerManager().transform_cell(body)


def folder_of_cells(history: Sequence[str]) -> str:
    """The folder that this notebook's cells pretend to lie in."""
    for path, entry in reversed(linecache.cache.items()):
        if len(entry) > 2 and "".join(entry[2]) in history:
            return os.path.dirname(path)
    return ""


def defines(source: str, answer: Callable[..., Any]) -> bool:
    """Whether a source has this very function, or this very class's methods."""
    members = vars(answer).values() if isinstance(answer, type) else [answer]
    codes = {m.__code__.co_code for m in members if hasattr(m, "__code__")}
    try:
        whole = compile(source, "<cell>", "exec")
    except SyntaxError:
        return False
    return bool(codes) and codes <= {code.co_code for code in inner_codes(whole)}


def inner_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from inner_codes(constant)


def without_magics(cell: str) -> str:
    """A cell without the lines that are orders to IPython: ``%matplotlib inline``, ``!ls``."""
    lines = cell.splitlines(keepends=True)
    orders = [s for s in ast.walk(module(cell)) if isinstance(s, ast.stmt) and is_order(s)]
    for statement in sorted(orders, key=lambda s: -s.lineno):  # from below: line numbers hold
        first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
        indentation = lines[first][: statement.col_offset]
        lines[first:last] = [f"{indentation}pass\n"] if indentation else []
    return "".join(lines)


def is_order(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Call(ast.Name("get_ipython"))))):
            return True
    return False


def module(cell: str) -> ast.Module:
    """The statements of a cell, or none where it is no Python."""
    try:
        return ast.parse(cell)
    except SyntaxError:
        return ast.Module([], [])


__all__ = ["cell_path", "without_magics"]
