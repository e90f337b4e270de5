"""Guards around nbval, which runs every notebook here as a test.

- A kernel that died is noticed within seconds; nbval alone waits out the timeout of the cell.
- After a failing cell the rest of its notebook is skipped, and says which cell it was: the cells
  below would fail too, and bury the one that matters.
- What outputs are compared without stands beside this file, wherever pytest was started.
- A notebook whose metadata says ``decodeloop: {requires: gpu}`` is skipped without one, with this
  reason.
"""

from __future__ import annotations

import time
from pathlib import Path
from queue import Empty

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

SLICE_S = 2.0
FIRST_FAILURE = pytest.StashKey[str]()

patient_await_reply = RunningKernel.await_reply


class KernelDied(RuntimeError):
    """The process of a notebook's kernel ended while it ran a cell."""


def await_reply(kernel: RunningKernel, msg_id: str, timeout: float | None = None) -> None:
    """Wait in slices, and look after each whether anybody is still there to answer."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = SLICE_S if end is None else min(SLICE_S, end - time.monotonic())
        try:
            return patient_await_reply(kernel, msg_id, timeout=max(left, 0.0))
        except Empty:
            if not kernel.is_alive():
                raise KernelDied(
                    "the kernel died while it ran this cell: a crash, or more memory than there is"
                ) from None
            if end is not None and time.monotonic() >= end:
                raise


RunningKernel.await_reply = await_reply


def pytest_configure(config):
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))


def pytest_ignore_collect(collection_path, config):
    return ".ipynb_checkpoints" in collection_path.parts or None


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, IPyNbCell):
            needs = item.parent.nb.metadata.get("decodeloop", {}).get("requires")
            if needs == "gpu" and not has_gpu():
                item.add_marker(pytest.mark.skip(reason="the notebook needs an NVIDIA GPU"))


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item):
    if isinstance(item, IPyNbCell):
        first = item.parent.stash.get(FIRST_FAILURE, None)
        if first is not None:
            pytest.skip(f"{first} of this notebook failed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if isinstance(item, IPyNbCell) and report.when == "call":
        if report.passed and item.parent.timed_out:  # nbval lets it pass, and excuses those below
            report.outcome = "failed"
            report.longrepr = f"{item.name} ran past its time limit, and caught the interrupt"
        if report.failed:
            item.parent.stash.setdefault(FIRST_FAILURE, item.name)
