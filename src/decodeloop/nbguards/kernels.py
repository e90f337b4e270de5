"""Kernels that meet nobody else's: for builds and tests, which start several at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, TypeVar

Manager = TypeVar("Manager")


def apart(manager: type[Manager], **options: Any) -> Manager:
    """A kernel manager whose kernel is spoken to through files in a folder of its own.

    Jupyter finds five free TCP ports, frees them again, and the kernel takes them a second later:
    what another kernel has taken meanwhile ends this one before its first answer, or makes it
    silent. Unix sockets have no such moment. Windows has none of them: there, ports it is.

    Args:
        manager: jupyter_client's `KernelManager` or `AsyncKernelManager`.
        options: what else it is made with.
    """
    if os.name == "nt":
        return manager(**options)
    folder = tempfile.mkdtemp(prefix="kernel-")  # short: a socket's path has at most 103 bytes
    options |= {"transport": "ipc", "ip": str(Path(folder, "socket"))}
    made = manager(**options)
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made
