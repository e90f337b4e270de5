"""The guards around nbval (`decodeloop.nbguards`), tried on notebooks that misbehave, in a project
that has no conftest of ours.

One run of pytest, on a copy of the project's own configuration, serves most tests: every notebook
in it costs the start of a kernel.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import nbformat
import pytest
import torch

ROOT = Path(__file__).parents[1]
INSTALLED = "nbguards" in {plugin.name for plugin in entry_points(group="pytest11")}
PLUGIN = () if INSTALLED else ("-p", "decodeloop.nbguards")  # installed before there was one


def cell(source, printed=None):
    """A code cell that was executed, with what it printed then."""
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
    return nbformat.v4.new_code_cell(source, execution_count=1, outputs=outputs)


def not_run(source):
    return nbformat.v4.new_code_cell(source)


def project(folder, notebooks):
    """A project with this one's configuration, and these notebooks."""
    (folder / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, (cells, metadata) in notebooks.items():
        path = folder / "notebooks" / name
        path.parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return folder


@dataclass
class Result:
    """What a run of pytest came to."""

    output: str
    seconds: float
    tests: dict[str, list[tuple[str, str]]]  # by notebook: the state and the message of each cell
    properties: dict[str, tuple[str, str]]

    def states(self, name):
        return [state for state, _ in self.tests[name]]


def run(folder, *options, path="notebooks", start="."):
    """Run pytest on a path, from a folder of the project's."""
    clock = time.monotonic()
    words = [
        *PLUGIN,
        "-p",
        "no:cacheprovider",
        "--color=no",
        f"--junitxml={folder}/report.xml",
        path,
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *options],
        cwd=folder / start,
        capture_output=True,
        encoding="utf-8",
    )
    seconds = time.monotonic() - clock
    assert result.returncode in (0, 1), result.stdout + result.stderr
    tests, properties = {}, {}
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        name = re.search(r"notebooks[./\\](.*\.ipynb)", f"{case.get('classname')} ")[1]
        inner = [child for child in case if child.tag in ("failure", "error", "skipped")]
        state, message = ("passed", "") if not inner else (inner[0].tag, inner[0].get("message"))
        for told in case.iter("property"):
            properties[name] = (told.get("name"), told.get("value"))
        tests.setdefault(name.replace(".", "/").replace("/ipynb", ""), []).append((state, message))
    return Result(result.stdout, seconds, tests, properties)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    notebooks = {
        "changed.ipynb": [cell("print('same')", "same\n"), cell("print(1 + 1)", "3 apples\n")],
        "failing.ipynb": [cell("one = 1"), cell("one / 0"), cell("one"), cell("print(one)", "1\n")],
        "dying.ipynb": [cell("import os; os._exit(1)"), cell("one = 1")],
        "untouched.ipynb": [not_run("print('anything')"), not_run("one = 1")],
        "addresses.ipynb": [
            cell("print(object.__repr__(object()))", "<object object at 0x7fabcdef0123>\n"),
            cell(
                "import inspect; print(inspect.currentframe().f_code.co_filename)",
                "/tmp/ipykernel_123/456.py\n",
            ),
        ],
        "gpu.ipynb": [cell("one = 1")],
        ".ipynb_checkpoints/old.ipynb": [cell("1 / 0")],
    }
    metadata = {"gpu.ipynb": {"decodeloop": {"requires": "gpu"}}}
    folder = project(
        tmp_path_factory.mktemp("project"),
        {name: (cells, metadata.get(name, {})) for name, cells in notebooks.items()},
    )
    # pytest itself would leave dot folders out, and five minutes are long to wait for a failure
    return run(folder, "--override-ini=norecursedirs=", "--nbval-cell-timeout=120")


def test_a_changed_output_fails_and_names_notebook_cell_and_difference(result):
    assert result.states("changed") == ["passed", "failure"]
    assert re.search(r"FAILED notebooks/changed\.ipynb::Cell 1", result.output)
    assert "3 apples" in result.output
    assert re.search(r"disagrees with newly computed|assert reference_output", result.output)
    assert "print(1 + 1)" in result.output


def test_after_a_failing_cell_the_rest_is_skipped_by_its_name(result):
    assert result.states("failing") == ["passed", "failure", "skipped", "skipped"]
    messages = [message for _, message in result.tests["failing"][2:]]
    assert messages == ["Cell 1 of this notebook failed"] * 2
    assert "ZeroDivisionError" in result.output


def test_other_notebooks_go_on_after_one_that_failed(result):
    assert result.states("untouched") == ["passed", "passed"]


def test_a_kernel_that_dies_is_noticed_long_before_the_timeout_of_its_cell(result):
    assert result.states("dying") == ["failure", "skipped"]
    assert "the kernel died while it ran this cell" in result.output
    assert result.tests["dying"][1][1] == "Cell 0 of this notebook failed"
    assert result.seconds < 110


def test_addresses_and_temporary_files_are_not_compared(result):
    assert result.states("addresses") == ["passed", "passed"]


@pytest.mark.parametrize("start", ["notebooks", ".."])
def test_they_are_run_from_any_folder(tmp_path, start):
    cells = [cell("print(object.__repr__(object()))", "<object object at 0x7fabcdef0123>\n")]
    folder = project(tmp_path / "here", {"address.ipynb": (cells, {})})
    path = "address.ipynb" if start == "notebooks" else "here/notebooks/address.ipynb"
    assert run(folder, path=path, start=start).states("address") == ["passed"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
def test_a_notebook_that_needs_a_gpu_is_skipped_with_its_reason(result):
    assert result.tests["gpu"] == [("skipped", "the notebook needs an NVIDIA GPU")]


def test_checkpoints_are_not_collected(result):
    assert "old" not in str(sorted(result.tests))
    assert sorted(result.tests) == [
        "addresses",
        "changed",
        "dying",
        "failing",
        "gpu",
        "untouched",
    ]


def test_a_timeout_is_a_failure_and_excuses_nobody(tmp_path):
    slow = [cell("import time; time.sleep(60)"), cell("one = 1")]
    stubborn = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
    notebooks = {"slow.ipynb": slow, "stubborn.ipynb": [cell(stubborn), cell("1 / 0")]}
    folder = project(tmp_path, {name: (cells, {}) for name, cells in notebooks.items()})
    result = run(folder, "--nbval-cell-timeout=2")
    for name in ("slow", "stubborn"):
        assert result.states(name) == ["failure", "skipped"]
        assert result.tests[name][1][1] == "Cell 0 of this notebook failed"
    assert "Timeout of 2 seconds exceeded" in result.output
    assert "Cell 0 ran past its time limit" in result.output
    assert result.seconds < 50


def test_by_asking_cells_go_on_and_what_failed_is_kept(tmp_path):
    """Also with marks, a stale source, and in a folder whose name has spaces and umlauts."""
    source = "a source\n"
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    fresh = {"nbguards": {"source": "source.md", "source_hash": digest}}
    stale = {"nbguards": {"source": "source.md", "source_hash": "0" * 16}}
    notebooks = {
        "failing.ipynb": ([cell("print('first')", "first\n"), cell("1 / 0"), cell("one = 1")], {}),
        "fresh.ipynb": ([cell("one = 1")], fresh),
        "slow.ipynb": ([cell("1 / 0")], {"nbguards": {"marks": ["slow"]}}),
        "stale.ipynb": ([cell("one = 1"), cell("one = 1")], stale),
    }
    folder = project(tmp_path / "Übung 1", notebooks)
    (folder / "notebooks" / "source.md").write_text(source)
    kept = tmp_path / "kept"
    marks = ("--override-ini=markers=slow: takes long", "-m", "not slow")
    result = run(folder, "--nb-keep-going", f"--nb-artifacts={kept}", *marks)
    assert result.states("failing") == ["passed", "failure", "passed"]
    assert result.states("fresh") == ["passed"]
    assert result.states("stale") in (["failure", "failure"], ["error", "error"])
    assert "the source source.md has changed since the outputs were stored" in result.output
    name, value = result.properties["failing.ipynb"]
    assert name == "executed notebook"
    executed = nbformat.read(value, 4)
    assert executed.cells[0].outputs[0].text == "first\n"
    assert executed.cells[1].outputs[0].ename == "ZeroDivisionError"
    assert executed.cells[2].outputs == []
    assert sorted(result.tests) == ["failing", "fresh", "stale"]


@pytest.mark.parametrize("mode", ["load", "worksteal", "each"])
def test_a_notebook_is_not_split_over_processes(tmp_path, mode):
    folder = project(tmp_path, {"one.ipynb": ([cell("1")], {})})
    words = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-n", "2"]
    result = subprocess.run(
        [*words, "--dist", mode, "notebooks"], cwd=folder, capture_output=True, encoding="utf-8"
    )
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--dist {mode} would give the cells of one notebook" in result.stderr
    assert "expected --dist loadfile." in result.stderr
