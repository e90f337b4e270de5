import linecache

import pytest
from stand_ins import decoders, llama_like, steady

from decodeloop.course import session

__all__ = ["decoders", "llama_like", "steady"]


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
