"""How kernels are compiled, and when their machine code on disk is out of date."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from decodeloop.kernels.amx import has_amx
from decodeloop.kernels.vnni import has_vnni

# The compiler may add up in another order, and so use vector instructions. It may not assume that
# NaN and infinity never come: they propagate as in PyTorch.
REORDER = {"reassoc", "contract", "nsz", "arcp"}

Function = TypeVar("Function", bound=Callable[..., Any])


def stamp() -> tuple[tuple[str, float], ...]:
    """When each file of this room was changed."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime) for file in files)


# Kernels differ by what this process may use, and would end it if they used more.
UNITS = (has_vnni(), has_amx())
STAMP = (stamp(), UNITS)


def kernel(parallel: bool = False) -> Callable[[Function], Function]:
    """Compile a function by Numba, and keep its machine code on disk.

    Numba takes the code anew where the function's own file has changed, and misses edits of what it
    calls in other files. So here what is kept belongs to the state of all files of this room, and
    to the units that this process may use.

    While it runs, other Python threads may, too: a server that talks to its clients would wait for
    whole layers otherwise.
    """

    def compiled(function: Function) -> Function:
        dispatcher = cast(
            Any, numba.njit(cache=True, parallel=parallel, nogil=True, fastmath=REORDER)(function)
        )
        with contextlib.suppress(AttributeError):  # a newer Numba may keep it elsewhere
            kept = dispatcher._cache._cache_file
            kept._source_stamp = (kept._source_stamp, STAMP)
        return cast(Function, dispatcher)

    return compiled
