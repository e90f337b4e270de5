"""Machine code of the loops that a notebook has written, where Numba is installed.

Where it is not, `prange` is `range`, `compiled` gives the loops back as they are, and the notebook
leaves its timings out.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

from decodeloop.exercises.finding import find, numbers

try:
    numba: Any = importlib.import_module("numba")
except ImportError:
    numba = None

njit: Any = getattr(numba, "njit", None)
prange: Any = getattr(numba, "prange", range)
NUMBA = numba is not None
REORDER = frozenset({"reassoc", "contract", "nsz", "arcp"})  # sums in another order, NaN as ever
# marks on a function of which something was said: a notebook compiles it many times
WIDE, EXCHANGED = "_decodeloop_wide", "_decodeloop_exchanged"

Loops = Callable[..., Any]


def compiled(
    function: Loops, *example: Any, parallel: bool = False, fastmath: Any = REORDER
) -> Loops:
    """The function in machine code, compiled for arguments of the example's types, and tried.

    An answer that Numba can't compile, or that fails when it is tried, is exchanged for the
    library's, with a word about it. Another tells what a loop goes on with in 64 bits.

    >>> import numpy as np
    >>> def double(x, out):
    ...     for i in prange(x.shape[0]):
    ...         out[i] = 2 * x[i]
    >>> x, out = np.ones(3), np.zeros(3)
    >>> compiled(double, x, out)(x, out)
    >>> out.tolist()
    [2.0, 2.0, 2.0]
    """
    loops = loops_of(function)
    if njit is None:
        return loops
    flags = fastmath if isinstance(fastmath, bool) else set(fastmath)

    def translated(source: Loops) -> Loops:
        return tried(njit(parallel=parallel, fastmath=flags)(source), example)

    name = loops.__name__
    library = library_loops(name)
    if library is None or loops.__code__ is library.__code__:
        return translated(loops)
    if hasattr(loops, EXCHANGED):
        return translated(library)
    try:
        machine_code = translated(loops)
    except Exception as error:  # ImportError and others, besides Numba's own
        setattr(loops, EXCHANGED, True)
        print(
            f"Your {name} can't be compiled: from here on the library's takes its place. Numba "
            f"says: {reason(error)}. It compiles loops over single numbers best."
        )
        return translated(library)
    wide = [] if parallel or hasattr(loops, WIDE) else kept_in_64_bits(machine_code)
    if wide:
        setattr(loops, WIDE, True)
        print(
            f"Your {name} keeps {', '.join(wide)} in 64 bits: right, but slower, since half as "
            f"many such numbers fit into one instruction. Begin with np.float32(…)."
        )
    return machine_code


def library_loops(name: str) -> Loops | None:
    """The library's loops for an exercise; None if there is no such exercise."""
    return loops_of(find(name).library) if name in numbers() else None


def whose(function: Loops) -> str:
    """Whose loops a function has, compiled or not: "yours", or "the library's".

    >>> whose(find("matrix_vector").library)
    "the library's"
    """
    loops = loops_of(getattr(function, "py_func", function))
    library = library_loops(loops.__name__)
    return "the library's" if library and loops.__code__ is library.__code__ else "yours"


def loops_of(function: Loops) -> Loops:
    """The loops themselves, `check` wraps the library's, with Numba's own `prange`."""
    loops: Any = inspect.unwrap(function)
    if loops.__globals__.get("prange") is not range:
        return loops
    names = loops.__globals__ | {"prange": prange}
    return types.FunctionType(loops.__code__, names, loops.__name__, loops.__defaults__)


def tried(function: Loops, example: tuple[Any, ...]) -> Loops:
    with warnings.catch_warnings():
        # a loop without prange runs on one thread, which is no mistake
        warnings.simplefilter("ignore", numba.core.errors.NumbaWarning)
        function(*example)
    return function


def reason(error: Exception) -> str:
    """The first line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    saying = [line for line in lines if not line.startswith("Failed in nopython mode")]
    return (saying[0] if saying else type(error).__name__).rstrip(".:")


def kept_in_64_bits(machine_code: Any) -> list[str]:
    """The variables that are set again and again, as in a loop, and are never fp32.

    The compiler counts versions of a variable: total, total.1, total.2, each with a type.
    """
    (compiled_once,) = machine_code.overloads.values()
    versions: dict[str, list[Any]] = {}
    for name, kind in compiled_once.type_annotation.typemap.items():
        versions.setdefault(name.split(".")[0], []).append(kind)
    single, double = numba.types.float32, numba.types.float64
    return [
        name
        for name, kinds in versions.items()
        if name.isidentifier() and kinds.count(double) > 1 and single not in kinds
    ]


def numpy_seconds(R: int, C: int, repeats: int = 9) -> float:
    """The median time of NumPy's matrix @ x with one thread, for an fp32 matrix (R, C).

    In a process of its own: NumPy's library asks once, as it starts, how many threads to take.
    """
    lines = (
        "import time, numpy",
        f"matrix = numpy.ones(({R}, {C}), numpy.float32)",
        "times, x = [], matrix[0].copy()",
        f"for _ in range({repeats} + 1):",
        "    clock = time.perf_counter()",
        "    matrix @ x",
        "    times.append(time.perf_counter() - clock)",
        f"print(sorted(times[1:])[{repeats} // 2])",
    )
    libraries = ("OPENBLAS", "OMP", "MKL", "BLIS")
    one = {f"{library}_NUM_THREADS": "1" for library in libraries} | {"VECLIB_MAXIMUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=os.environ | one,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
