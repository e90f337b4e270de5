"""Numba's threads beside PyTorch's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, cast

import numba
import torch

# The simplest of Numba's threading layers ends the process if two threads are in kernels at once.
LOCK = threading.Lock()


@contextlib.contextmanager
def numba_threads() -> Iterator[None]:
    """Inside, kernels may be called: nobody else does, and they take as many threads as PyTorch.

    When Numba starts its threads, the first time, PyTorch would afterwards take as many as Numba
    has: both use OpenMP. So what it took is said again.
    """
    threads = torch.get_num_threads()
    most: int = cast(Any, numba.config).NUMBA_NUM_THREADS
    with LOCK:
        numba.set_num_threads(min(threads, most))
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        yield
