"""Threads that compute, as teams: one Python thread has one, and a machine has cores for one.

PyTorch and Numba compute by OpenMP, which gives each Python thread that computes a team as large as
the machine. Between two products the members of a team wait, some microseconds; GNU's library lets
them spin only while all teams together have no more members than there are cores, and puts them to
sleep otherwise, thousands of times in a step. So a thread that has computed, and now leaves it to
another, gives up its team: on two cores a step of an engine took half as long again without.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

SOFT = 1  # omp_pause_soft of OpenMP 5.0, 3.2.44: the team ends, and comes again when it is needed


def give_up_team() -> None:
    """End the team of the calling thread; it gets another one when it computes again.

    Where OpenMP is another library than GNU's, or none, nothing is done.
    """
    for path in loaded("libgomp"):
        try:
            ctypes.CDLL(path).omp_pause_resource_all(SOFT)
        except (OSError, AttributeError):  # a copy that is gone, or older than OpenMP 5.0
            continue


def loaded(name: str) -> set[str]:
    """The paths of the libraries of that name in this process; on Linux alone."""
    if not sys.platform.startswith("linux"):
        return set()
    fields = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    paths = {field[5] for field in fields if len(field) == 6}
    return {path for path in paths if Path(path).name.startswith(name)}
