"""Kernels that start at the same time do not meet."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from nbval import kernel

from decodeloop.nbguards.kernels import apart

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no Unix sockets")


def test_two_kernels_have_no_place_in_common():
    one, other = apart(KernelManager), apart(KernelManager)
    assert one.transport == other.transport == "ipc"
    assert Path(one.ip).parent != Path(other.ip).parent


def test_the_notebooks_under_test_have_such_kernels():
    manager, client = kernel.start_new_kernel(kernel_name=kernel.CURRENT_ENV_KERNEL_NAME)
    try:
        folder = Path(manager.ip).parent
        sockets = {path.name for path in folder.iterdir()}
        assert {f"socket-{number}" for number in range(1, 6)} <= sockets
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_nothing_stays_behind():
    manager = apart(KernelManager)
    folder = Path(manager.ip).parent
    assert folder.is_dir()
    del manager
    gc.collect()
    assert not folder.exists()
