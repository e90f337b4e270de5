import ast
import linecache
from pathlib import Path

import pytest
from stand_ins import decoders, llama_like, steady

from decodeloop.course import session
from decodeloop.course.answers import standalone
from decodeloop.course.lessons import read_lesson, with_solutions
from decodeloop.course.linking import part_names
from decodeloop.exercises.finding import find

__all__ = ["decoders", "llama_like", "steady"]
LESSONS = Path(__file__).parents[2] / "lessons"
IMPORTS = (ast.Import, ast.ImportFrom)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The namespace of a notebook that runs in an empty folder."""
    namespace = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "notebook_namespace", lambda: namespace)
    return namespace


@pytest.fixture
def run_cell():
    """Run source as ipykernel runs a cell: compiled under a file name that linecache knows."""
    names = []

    def run(source, namespace, filename="/tmp/ipykernel_1/2.py"):
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        names.append(filename)
        exec(compile(source, filename, "exec"), namespace)

    yield run
    for name in names:
        linecache.cache.pop(name, None)


@pytest.fixture(scope="session")
def solutions():
    """What a lab notebook keeps of each part when all solutions are pasted into it."""
    found = {}
    for lesson in sorted({find(name).lesson for name in part_names()}):
        cells = [c for c in read_lesson(LESSONS / f"{lesson}.md").cells if c.cell_type == "code"]
        namespace = {"__name__": "__main__"}
        for cell in cells:
            imports = [s for s in ast.parse(cell.source).body if isinstance(s, IMPORTS)]
            exec(compile(ast.Module(imports, []), "imports", "exec"), namespace)
        for number, cell in enumerate(cells):
            if "exercise" in cell.metadata.get("tags", []):
                before = set(namespace)
                path = f"/tmp/ipykernel_{lesson}/{number}.py"
                source = with_solutions(cell.source)
                remember(path, source)
                exec(compile(source, path, "exec"), namespace)
                for name in set(part_names()) & (set(namespace) - before | defined_in(source)):
                    found[name] = standalone(namespace[name], path)
    return found


def remember(path, source):
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)


def defined_in(source):
    return {getattr(s, "name", None) for s in ast.parse(source).body}
