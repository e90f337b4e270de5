"""Numba's threads beside PyTorch's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, cast

import numba
import torch

from decodeloop.kernels.pace import Pace

# The simplest of Numba's threading layers ends the process if two threads are in kernels at once.
LOCK = threading.Lock()


def most_threads() -> int:
    """As many as PyTorch takes, or as Numba has, if those are fewer."""
    return min(torch.get_num_threads(), cast(Any, numba.config).NUMBA_NUM_THREADS)


@contextlib.contextmanager
def numba_threads() -> Iterator[int]:
    """Inside, kernels may be called: nobody else does, and they take `most_threads()`. Gives that
    number; a kernel may be run with less.

    When Numba starts its threads, the first time, PyTorch would afterwards take as many as Numba
    has: both use OpenMP. So what it took is said again.
    """
    threads, most = torch.get_num_threads(), most_threads()
    with LOCK:
        numba.set_num_threads(most)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        try:
            yield most
        finally:
            numba.set_num_threads(most)


def run_at_pace(
    pace: Pace,
    kind: Hashable,
    most: int,
    kernel: Callable[..., None],
    pieces: Iterable[tuple[Any, ...]],
) -> None:
    """Call a kernel with the arguments of each piece, inside of `numba_threads`, with as many
    threads as the pace says."""
    taken = most
    for arguments in pieces:
        threads = pace.threads(kind, most)
        if threads != taken:
            numba.set_num_threads(threads)
            taken = threads
        start = pace.clock()
        kernel(*arguments)
        pace.tell(kind, threads, pace.clock() - start)


@contextlib.contextmanager
def pytorch_at_pace(pace: Pace, kind: Hashable) -> Iterator[None]:
    """One piece of work, of PyTorch's operators and of kernels, with as many threads as the pace
    says. Pieces are few and long: it is asked sparingly.

    PyTorch keeps the number for each thread of Python by itself, so nobody else's is changed; but
    a thread that uses PyTorch for the first time meanwhile begins with the smaller number.
    """
    own = torch.get_num_threads()
    with LOCK:
        most = most_threads()
        threads = pace.threads(kind, most, sparing=True)
    start = pace.clock()
    try:
        if threads < most:
            torch.set_num_threads(threads)
        yield
    finally:
        if threads < most:
            torch.set_num_threads(own)
    with LOCK:
        pace.tell(kind, threads, pace.clock() - start)
