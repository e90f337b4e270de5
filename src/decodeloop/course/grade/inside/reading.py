"""Cells of a notebook as Python: which statements make an answer, and its shape. Nothing is run.

It is done inside the sandbox all the same: a source may be made so that reading it is what hurts.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Any

from decodeloop.course.statements import bound_names, missing_names, only_used

DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
ORDERS = ("%", "!", "?")  # to IPython


def answers(
    cells: Sequence[str], names: Sequence[str], elsewhere: Collection[str]
) -> dict[str, dict[str, Any]]:
    """What the cells have for each exercise.

    Args:
        cells: sources, in their order.
        names: of the exercises of the lesson.
        elsewhere: those of all lessons; the library has them all.

    Returns:
        By name: ``source`` and ``shape`` of the answer, and ``links``, the exercises that it calls;
        or ``error``, why a cell that has it is no Python; or nothing.
    """
    body, broken = list[ast.stmt](), list[tuple[str, str]]()
    for cell in cells:
        statements, error = parsed(cell)
        body += statements
        if error:
            broken.append((cell, error))
    return {name: answer(body, broken, name, names, elsewhere) for name in names}


def parsed(cell: str) -> tuple[list[ast.stmt], str]:
    """The statements of a cell, without what is meant for IPython; or what is wrong with it."""
    if cell.lstrip().startswith("%%"):
        cell = "\n" + cell.partition("\n")[2]
    lines = [f"{before(x)}pass" if x.lstrip().startswith(ORDERS) else x for x in cell.split("\n")]
    try:
        return ast.parse("\n".join(lines)).body, ""
    except SyntaxError as error:
        return [], f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return [], f"it can't be read ({type(error).__name__})"


def before(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def answer(
    body: list[ast.stmt],
    broken: list[tuple[str, str]],
    name: str,
    names: Collection[str],
    elsewhere: Collection[str],
) -> dict[str, Any]:
    begins = re.compile(rf"^\s*(def|class)\s+{name}\b", re.MULTILINE)
    for cell, error in reversed(broken):
        if begins.search(cell) and not definitions(body, name):
            return {"error": error}
    try:
        wanted, links = needed(body, name, names, elsewhere)
        if not wanted:
            return {}
        tree = ast.Module(only_used([s for s in body if s in wanted]), [])
        made = definitions(wanted, name) or wanted
        return {"source": ast.unparse(tree), "links": sorted(links), "shape": shape(made)}
    except (RecursionError, MemoryError, ValueError, SyntaxError) as error:
        return {"error": f"it can't be read ({type(error).__name__})"}


def definitions(body: Sequence[ast.stmt], name: str) -> list[ast.stmt]:
    """The last definition of a name, if there is one."""
    found: list[ast.stmt] = [s for s in body if isinstance(s, DEFINITIONS) and s.name == name]
    return found[-1:]


def needed(
    body: list[ast.stmt], name: str, names: Collection[str], elsewhere: Collection[str]
) -> tuple[list[ast.stmt], set[str]]:
    """The statements that make an answer, and the exercises that it calls.

    Of these the library's are taken, so that a mistake counts once; one of another lesson only
    where the notebook defines no function of that name itself.
    """
    made = [s for s in body if name in bound_names(s) and not checks(s)]
    wanted, links, done = definitions(body, name) or made, set[str](), {name}
    while gap := missing_names(wanted) - done:
        for other in sorted(gap):
            done.add(other)
            own = definitions(body, other)
            if other in names or (other in elsewhere and not own):
                links.add(other)
                continue
            found = own or [s for s in body if other in bound_names(s) and not checks(s)]
            wanted += [s for s in found if s not in wanted]
        wanted += earlier(body, wanted)
    return wanted, links


def earlier(body: list[ast.stmt], wanted: list[ast.stmt]) -> list[ast.stmt]:
    """Definitions that statements need when they are run, where those that are wanted come later:
    ``percentile = mine`` is run before a further cell defines ``mine`` once more."""
    found = list[ast.stmt]()
    for place, statement in enumerate(body):
        if statement in wanted and not isinstance(statement, DEFINITIONS):
            before = [s for s in body[:place] if s in wanted]
            bound = set().union(*map(bound_names, before))
            for name in sorted(missing_names([statement]) - bound):
                found += [s for s in definitions(body[:place], name) if s not in found]
    return found


def checks(statement: ast.stmt) -> bool:
    """Whether it is ``name = check(name)``."""
    match statement:
        case ast.Assign(value=ast.Call(func=ast.Name(id="check"))):
            return True
    return False


def shape(statements: Sequence[ast.stmt]) -> str:
    """A digest of the syntax: comments, texts that explain, annotations and names of one's own
    are left out."""
    tree = copy.deepcopy(ast.Module(list(statements), []))
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    Plain(own).visit(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


class Plain(ast.NodeTransformer):
    """Names of one's own become numbers, in their order."""

    def __init__(self, own: Collection[str]) -> None:
        self.own, self.numbers = own, dict[str, str]()

    def number(self, name: str) -> str:
        return self.numbers.setdefault(name, f"_{len(self.numbers)}") if name in self.own else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.number(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self.number(node.arg), None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.body = without_text(node.body)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = without_text(node.body)
        return self.generic_visit(node)


def without_text(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(ast.Constant(str())), *rest]:
            return rest or [ast.Pass()]
    return body


__all__ = ["answers", "shape"]
