"""Guards around nbval, which runs notebooks as tests: a plugin for pytest, of its own.

``pip install decodeloop`` brings it; ``pytest --nbval`` uses it, in any project. By itself:

- a kernel that died is noticed within seconds; nbval alone waits out the time limit of the cell;
- a cell that ran past its limit fails, also where it caught the interrupt;
- after a failing cell the rest of its notebook is skipped, and says which cell it was: the cells
  below would fail too, and bury the one that matters (``--nb-keep-going`` runs them);
- addresses and names of temporary cell files are not compared (`sanitize.cfg`), from whatever
  folder pytest was started; another file goes to ``--nbval-sanitize-with``;
- pytest-xdist may not split a notebook over processes: ``--dist loadfile`` keeps them whole;
- kernels that start at the same time do not take each other's ports;
- checkpoints are not collected.

By asking:

- ``--nb-artifacts FOLDER`` keeps a notebook that failed, as it was executed; its path is a property
  of the failing test in the JUnit report;
- a notebook's metadata, under ``nbguards`` (or ``decodeloop``): ``requires: gpu`` skips it without
  an NVIDIA GPU, ``marks: [slow]`` marks its cells, and ``source: PATH`` with ``source_hash`` (the
  first 16 digits of the file's SHA-256) fails it where its outputs are older than its source.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from decodeloop.nbguards.artifacts import keep_executed
from decodeloop.nbguards.kernels import apart

SLICE_S = 2.0
SPLITS = ("load", "each", "worksteal")  # what xdist calls them
FIRST_FAILURE = pytest.StashKey[str]()
STALE = "the source {source} has changed since the outputs were stored: execute the notebook again"


class KernelDied(RuntimeError):
    """The process of a notebook's kernel ended while it ran a cell."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nbguards", "guards around notebooks")
    group.addoption(
        "--nb-keep-going", action="store_true", help="run the cells after one that failed, too"
    )
    group.addoption(
        "--nb-artifacts", metavar="FOLDER", help="keep notebooks that failed, as executed"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not active(config):
        return
    if config.getoption("nbval_sanitize_with", None) is None:
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))
    demand_whole_notebooks(config)
    import nbval.kernel
    from jupyter_client.manager import KernelManager

    nbval.kernel.KernelManager = functools.partial(apart, KernelManager)
    running = nbval.kernel.RunningKernel
    if not hasattr(running.await_reply, "patient"):
        running.await_reply = impatient(running.await_reply)


def active(config: pytest.Config) -> bool:
    """Whether nbval is there, and asked for."""
    return bool(config.getoption("nbval", False) or config.getoption("nbval_lax", False))


def demand_whole_notebooks(config: pytest.Config) -> None:
    """Raise a usage error where the cells of a notebook would go to several processes."""
    mode = config.getoption("dist", "no")
    if mode not in SPLITS or hasattr(config, "workerinput"):
        return
    for argument in config.args:
        path = Path(argument.split("::")[0])
        if path.suffix == ".ipynb" or (path.is_dir() and any(path.rglob("*.ipynb"))):
            raise pytest.UsageError(
                f"--dist {mode} would give the cells of one notebook to several processes, each "
                f"with a kernel of its own: expected --dist loadfile."
            )


def impatient(patient: Any) -> Any:
    """Wait in slices, and look after each whether anybody is still there to answer."""

    def await_reply(kernel: Any, msg_id: str, timeout: float | None = None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = SLICE_S if end is None else min(SLICE_S, end - time.monotonic())
            try:
                return patient(kernel, msg_id, timeout=max(left, 0.0))
            except Empty:
                if not kernel.is_alive():
                    raise KernelDied(
                        "the kernel died while it ran this cell: a crash, or more memory than "
                        "there is"
                    ) from None
                if end is not None and time.monotonic() >= end:
                    raise

    await_reply.patient = patient  # type: ignore[attr-defined]
    return await_reply


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return ".ipynb_checkpoints" in collection_path.parts or None


def cell_of(item: Any) -> bool:
    """Whether a test is a cell."""
    return type(item).__name__ == "IPyNbCell" and hasattr(item.parent, "nb")


def asked_by(notebook: Any) -> dict[str, Any]:
    """What the metadata of a notebook asks of its guards."""
    found: dict[str, Any] = {}
    for name in ("decodeloop", "nbguards"):
        told = notebook.metadata.get(name)
        if isinstance(told, dict):
            found |= told
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    for item in items:
        if not cell_of(item):
            continue
        asked = asked_by(item.parent.nb)
        if asked.get("requires") == "gpu" and not has_gpu():
            item.add_marker(pytest.mark.skip(reason="the notebook needs an NVIDIA GPU"))
        for name in asked.get("marks", ()):
            item.add_marker(str(name))


@functools.cache
def has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_runtest_setup(item: Any) -> None:
    if not cell_of(item):
        return
    first = item.parent.stash.get(FIRST_FAILURE, None)
    if first is not None and not item.config.getoption("--nb-keep-going", False):
        pytest.skip(f"{first} of this notebook failed")
    if source := stale(item.parent):
        pytest.fail(STALE.format(source=source), pytrace=False)


def stale(file: Any) -> str | None:
    """The source of a notebook, if it is not the one that its outputs were made from."""
    asked = asked_by(file.nb)
    source, wanted = asked.get("source"), asked.get("source_hash")
    if not isinstance(source, str) or not isinstance(wanted, str):
        return None
    try:
        content = (Path(file.path).parent / source).read_bytes().replace(b"\r\n", b"\n")
    except OSError:
        return source
    return None if hashlib.sha256(content).hexdigest().startswith(wanted) else source


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    outcome = yield
    if not cell_of(item):
        return
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.passed and item.parent.timed_out:
        report.outcome = "failed"  # nbval lets it pass, and excuses those below
        report.longrepr = f"{item.name} ran past its time limit, and caught the interrupt"
    if report.failed:
        first = FIRST_FAILURE not in item.parent.stash
        item.parent.stash.setdefault(FIRST_FAILURE, item.name)
        folder = item.config.getoption("--nb-artifacts", None)
        if folder and first:
            path = keep_executed(item, Path(folder))
            item.user_properties.append(("executed notebook", str(path)))
