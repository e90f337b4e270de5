"""A function of an exercise as source, with what it needs of its module and nothing else."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from decodeloop.course.statements import needed_statements, only_used


@cache
def source_of(function: Callable[..., Any]) -> str:
    """The statements of its module that define a function and what it needs, without annotations:
    what only they need stays here."""
    return defined(inspect.getsource(sys.modules[function.__module__]), function.__name__)


def defined(source: str, name: str) -> str:
    """The same for any name that a module's source defines."""
    bare = ast.unparse(Bare().visit(ast.parse(source)))
    return ast.unparse(ast.Module(only_used(needed_statements(bare, name)), []))


class Bare(ast.NodeTransformer):
    """Leaves out annotations, and the mark of what is sent."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value, lineno=0) if node.value else ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.decorator_list = [d for d in node.decorator_list if ast.unparse(d) != "beside"]
        return self.generic_visit(node)


__all__ = ["defined", "source_of"]
