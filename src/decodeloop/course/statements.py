"""Which statements of a source an answer needs: by its syntax alone, nothing is run.

Python's own library is all that this module needs, since it also works where a stranger's answer
is read (`course/grade`).
"""

from __future__ import annotations

import ast
import builtins
import dis
import types
from collections.abc import Iterator


def needed_statements(source: str, name: str) -> list[ast.stmt]:
    """The statements of a cell that define `name`, and those that it needs; no others, since a
    learner also tries things out there.

    Of several statements that bind `name` only definitions count: `softmax = check(softmax)` is
    none.
    """
    body = ast.parse(source).body
    definitions = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    wanted: list[ast.stmt] = [s for s in body if isinstance(s, definitions) and s.name == name]
    if not wanted:  # an answer may also be made otherwise, by a lambda or a decorator's result
        wanted = [s for s in body if name in bound_names(s)]
    while True:
        missing = missing_names(wanted) - {name}
        more = [s for s in body if s not in wanted and missing & bound_names(s)]
        if not more:
            return [s for s in body if s in wanted]
        wanted += more


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value to, at the top level of its cell."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(a.asname or a.name).split(".")[0] for a in statement.names}
    stored = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
    return {n.id for n in stored if isinstance(n.ctx, ast.Store)}


def missing_names(statements: list[ast.stmt]) -> set[str]:
    """The global names that statements use and do not bind themselves."""
    module = ast.Module(body=statements, type_ignores=[])
    code = compile(module, "<cell>", "exec")
    bound = set().union(*map(bound_names, statements)) if statements else set()
    return set(loaded_names(code)) - bound - set(vars(builtins))


def loaded_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from loaded_names(constant)


def only_used(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The same, without names that are imported and not used."""
    used = missing_names([s for s in statements if not isinstance(s, ast.Import | ast.ImportFrom)])
    kept: list[ast.stmt] = []
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            names = [a for a in statement.names if (a.asname or a.name) in used]
            if names:
                kept.append(ast.ImportFrom(statement.module, names, statement.level))
        else:
            kept.append(statement)
    return [ast.fix_missing_locations(statement) for statement in kept]
