"""Exercises of lesson 23: kernels in loops, and weights in 8 bits.

The loops here are plain Python over arrays: they are checked as they stand, on small cases, and
the lesson compiles them. A candidate is lent its arrays as `Numbers`, which give single numbers and
nothing else. `decodeloop.kernels.compiled` has the loops in their compiled form.
"""

from __future__ import annotations

import inspect
import math
import operator
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import Edited, edits
from decodeloop.exercises.exercise import (
    Candidate,
    Case,
    ChangedInput,
    Exercise,
    Mistake,
    beside,
)

LESSON = "23_fast_path"
prange = range  # Numba's when `compiling.compiled` compiles them: importing it takes a while
SEVEN = 7.0  # what `out` holds before, where one should see what became of it; else NaN

Array = np.ndarray[Any, Any]
draws = np.random.default_rng(23)


def normal(*shape: int, scale: float = 1.0) -> Array:
    return (scale * draws.standard_normal(shape)).astype(np.float32)


def whole(*shape: int) -> Array:
    """Whole numbers of 8 bits, large ones too."""
    return draws.integers(-127, 128, shape).astype(np.int8)


def scales(rows: int) -> Array:
    return draws.uniform(0.2, 3.0, rows).astype(np.float32)


class SingleNumbers(TypeError):
    """Something else was asked of an array than one of its numbers."""


class Watch:
    """What a candidate does with the numbers that it is lent."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, ...]] = []  # the places of the matrix, in their order
        self.wide = False  # whether a sum or a result has 64 bits, compiled

    def number(self, value: Any) -> Single:
        single = Single(value)
        single.watch = self
        return single

    def written(self, value: Any) -> None:
        """Python's floats have 64 bits, and np.float64 is one; 0.0 is stored as what it is."""
        self.wide |= isinstance(value, float) and value != 0


class Single(np.float32):
    """A number of 32 bits that notices when it meets one of 64, such as a sum begun by Python's 0.0.

    In Python such a sum stays at 32 bits; compiled it has 64.
    """

    watch: Watch

    def __add__(self, other: Any) -> Any:
        self.watch.wide |= isinstance(other, int | float)
        return self.watch.number(np.float32(self) + np.float32(other))

    def __mul__(self, other: Any) -> Any:
        self.watch.wide |= isinstance(other, float)
        return self.watch.number(np.float32(self) * np.float32(other))

    __radd__, __rmul__ = __add__, __mul__


class Numbers:
    """An array that can be read and written number by number alone, as in a compiled loop.

    Whole rows and operators on them would give the same values in Python. Compiled they are slow,
    or can't be compiled at all. What is done with the numbers is noted in `watch`, if there is such.

    >>> Numbers(np.ones((2, 3)), "matrix")[1, 2]
    np.float64(1.0)
    """

    def __init__(self, array: Array, name: str, watch: Watch | None = None) -> None:
        self.array, self.name, self.watch = array, name, watch
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def place(self, key: Any) -> tuple[int, ...]:
        """The indices of one number; an error that says what is expected for anything else."""
        keys = key if isinstance(key, tuple) else (key,)
        shown = ", ".join(":" if isinstance(k, slice) else str(k) for k in keys)
        asked = f"{self.name}[{shown}]"
        if any(isinstance(k, slice) or k is Ellipsis for k in keys):
            raise self.refused(f"{asked} is a slice")
        if len(keys) < self.ndim:
            raise self.refused(f"{asked} is a whole row")
        return tuple(operator.index(k) for k in keys)

    def refused(self, what: str) -> SingleNumbers:
        one = {1: "i", 2: "r, c", 3: "g, s, d"}[self.ndim]
        return SingleNumbers(
            f"{what}; here loop over single numbers, {self.name}[{one}]: that is what the compiler "
            f"turns into fast code"
        )

    def __getitem__(self, key: Any) -> Any:
        place = self.place(key)
        if self.watch is None:
            return self.array[place]
        if self.ndim == 2:
            self.watch.reads.append(place)
        return self.watch.number(self.array[place])

    def __setitem__(self, key: Any, value: Any) -> None:
        place = self.place(key)
        if isinstance(value, Numbers | np.ndarray | Tensor) and np.ndim(bare(value)):
            raise self.refused(f"you write an array into one place of {self.name}")
        if self.watch is not None:
            self.watch.written(value)
        self.array[place] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and NumPy look for by themselves
            raise AttributeError(name)
        raise self.refused(f"{self.name}.{name} takes the whole array")

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise self.refused(f"a function takes the whole array {self.name}")

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        raise self.refused(f"an operator takes the whole array {self.name}")

    def __array_function__(self, *_: Any, **__: Any) -> Any:
        raise self.refused(f"a function takes the whole array {self.name}")

    def whole(self, *_: Any) -> Any:
        raise self.refused(f"an operator takes the whole array {self.name}")

    __add__ = __radd__ = __iadd__ = __sub__ = __rsub__ = __isub__ = whole
    __mul__ = __rmul__ = __imul__ = __truediv__ = __rtruediv__ = __itruediv__ = whole
    __matmul__ = __rmatmul__ = __pow__ = __rpow__ = __neg__ = __abs__ = whole


def bare(x: Any) -> Any:
    """The array itself, for code of ours that is to be wrong in one way and not in two."""
    return x.array if isinstance(x, Numbers) else x


def array_copies(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.copy() if isinstance(x, np.ndarray) else x for x in inputs)


def names_of(candidate: Candidate, count: int) -> Iterable[str]:
    """What the candidate calls its arguments, for messages."""
    try:
        names = list(inspect.signature(candidate).parameters)
    except (TypeError, ValueError):  # some built-in ones don't tell
        names = []
    return names if len(names) == count else ["array"] * count


def written(
    candidate: Candidate, inputs: tuple[Any, ...], shape: tuple[int, ...], filler: float = math.nan
) -> Tensor:
    """What a candidate writes into `out`, its last argument; it may write nowhere else."""
    lent, out = array_copies(inputs), np.full(shape, filler, np.float32)
    arguments = (*lent, out)
    names = names_of(candidate, len(arguments))
    numbers = [Numbers(x, n) if is_array(x) else x for x, n in zip(arguments, names, strict=True)]
    with np.errstate(all="ignore"):  # an inf or NaN shows in the result; a warning would show ours
        candidate(*numbers)
    for position, (before, after) in enumerate(zip(inputs, lent, strict=True), start=1):
        if isinstance(before, np.ndarray) and not np.array_equal(
            before, after, equal_nan=before.dtype.kind == "f"
        ):
            raise ChangedInput(
                f"it changed its argument number {position}: write into `out` alone, since the "
                f"caller goes on with the others"
            )
    return torch.from_numpy(out)


def into(
    label: str,
    *inputs: Any,
    shape: tuple[int, ...],
    oracle: Candidate,
    filler: float = math.nan,
) -> Case:
    """A case whose outputs are what is written into `out`; the oracle gives them back."""
    return Case(
        label,
        lambda candidate: written(candidate, inputs, shape, filler),
        lambda: oracle(*(torch.from_numpy(x.copy()) if is_array(x) else x for x in inputs)),
        (*array_copies(inputs), np.full(shape, filler, np.float32)),
    )


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


# --- matrix_vector --------------------------------------------------------------------------------


def matrix_vector(matrix: Array, scale: Array, x: Array, out: Array) -> None:
    """out[r] = scale[r] · Σ matrix[r, c] · x[c].

    Shapes: matrix (R, C) fp32 or int8, scale (R,), x (C,); written: out (R,)
    """
    for r in prange(matrix.shape[0]):
        total = np.float32(0)
        for c in range(matrix.shape[1]):
            total += np.float32(matrix[r, c]) * x[c]
        out[r] = total * scale[r]


def torch_matrix_vector(matrix: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    return torch.mv(matrix.float(), x) * scale


def wrapped(total: float) -> float:
    """As 8 bits hold it: cut to a whole number, modulo 256."""
    return float((math.trunc(float(total)) + 128) % 256 - 128)


def down_the_columns(matrix: Array, scale: Array, x: Array, out: Array) -> None:
    R, C = matrix.shape
    for r in prange(R):
        out[r] = 0
    for c in range(C):
        for r in prange(R):
            out[r] += np.float32(matrix[r, c]) * x[c]
    for r in prange(R):
        out[r] *= scale[r]


TALL = normal(6, 3), scales(6), normal(3)  # more rows than columns, which `manner` relies on
LARGE = whole(4, 7), scales(4), normal(7, scale=20)
SPARSE = np.array([[1.0, 0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 1.0]], np.float32)
WITH_NAN = SPARSE, scales(2), np.array([1.0, math.nan, -2.0, 0.5], np.float32)
AS_IT_SHOULD = "row by row, prange on the rows"


def multiplies(candidate: Candidate, *inputs: Array) -> bool:
    """Whether a candidate's result is right."""
    found = written(candidate, inputs, (len(inputs[0]),))
    right = torch_matrix_vector(*map(torch.from_numpy, inputs))
    return torch.allclose(found, right, rtol=1e-4, atol=1e-4, equal_nan=True)


@beside
def with_prange(candidate: Candidate, noticed: Callable[..., range]) -> Candidate:
    """The same loops, whose `prange` is another."""
    if not isinstance(candidate, types.FunctionType):
        return candidate
    return types.FunctionType(
        candidate.__code__,
        candidate.__globals__ | {"prange": noticed},
        candidate.__name__,
        candidate.__defaults__,
        candidate.__closure__,
    )


def manner(candidate: Candidate) -> str:
    """In which order a right candidate reads a matrix, which loop it shares out, and how it adds.

    Of a wrong one only that it is: its other cases say more.
    """
    if isinstance(candidate, Edited):
        candidate = candidate.compiled
    if not all(multiplies(candidate, *inputs) for inputs in (TALL, LARGE, WITH_NAN)):
        return "a wrong result"
    matrix, scale, x = array_copies(TALL)
    out = np.full(len(matrix), math.nan, np.float32)
    watch = Watch()
    begun: list[int] = []  # for each prange, after how many reads it was entered

    def noticed(*bounds: int) -> range:
        begun.append(len(watch.reads))
        return range(*bounds)

    loops = with_prange(candidate, noticed)
    loops(
        Numbers(matrix, "matrix", watch),
        Numbers(scale, "scale", watch),
        Numbers(x, "x", watch),
        Numbers(out, "out", watch),
    )
    R = len(matrix)
    if len(watch.reads) >= R and len({c for _, c in watch.reads[:R]}) == 1:
        return "column by column"
    if not begun:
        return "row by row, no prange"
    if any(0 < after < matrix.size for after in begun):
        return "row by row, prange further inside"
    return f"{AS_IT_SHOULD}, but a sum of 64 bits" if watch.wide else AS_IT_SHOULD


BY_HAND_MATRIX = np.array([[2, 1, 0], [-1, 3, 2]], np.int8)
BY_HAND_SCALE = np.array([0.5, 2.0], np.float32)


def vector_case(
    label: str, matrix: Array, scale: Array, x: Array, filler: float = math.nan
) -> Case:
    oracle = torch_matrix_vector
    return into(label, matrix, scale, x, shape=(len(matrix),), oracle=oracle, filler=filler)


MATRIX_VECTOR = Exercise(
    name="matrix_vector",
    lesson=LESSON,
    library=matrix_vector,
    minutes=15,
    difficulty=1,
    tolerance=1e-4,
    cases=(
        vector_case(
            "the example on paper",
            BY_HAND_MATRIX,
            BY_HAND_SCALE,
            np.array([1, 10, 100], np.float32),
            SEVEN,
        ),
        vector_case("fp32, (3, 3)", normal(3, 3), scales(3), normal(3)),
        vector_case("fp32, (5, 2)", normal(5, 2), scales(5), normal(2)),
        vector_case("int8, (4, 7), large numbers", *LARGE),
        vector_case("int8, (6, 3)", whole(6, 3), scales(6) / 127, normal(3)),
        vector_case("one row, one column", normal(1, 1), scales(1), normal(1)),
        vector_case("an x with NaN in it", *WITH_NAN),
        Case("the way through the matrix", manner, lambda: AS_IT_SHOULD),
    ),
    mistakes=(
        *edits(
            matrix_vector,
            """
## out not written
- out[r] = total → out = total
`out` is as it was, NaN in most cases. The result is to be written into the array that you are
given, element by element: out[i] = … . A new array, returned, would be new memory in every step;
and `out = …` alone only gives the name to another array.
## out added to
- out[r] = total → out[r] += total
You add to what `out` held before. Its old contents are nobody's: start each element anew, with =
and not +=.
## the scale forgotten
- total * scale[r] → total
The sums are right, but not scaled: the row's sum is multiplied by scale[r], once, at the end.
## divided by the scale
- total * scale[r] → total / scale[r]
You divide by the scale. A row holds whole numbers, and each stands for itself times scale[r].
## the scale of the first row for all
- total * scale[r] → total * scale[0]
Every row is multiplied by the first row's scale. Each row has its own: scale[r].
## scaled in each step
- total += np.float32(matrix[r, c]) * x[c]
+ total += np.float32(matrix[r, c]) * x[c]
+ total *= scale[r]
- total * scale[r] → total
You multiply the sum so far by the scale in every step of the inner loop. It is multiplied once, at
the end, outside of that loop.
## the scale squared
- total * scale[r] → total * scale[r] * scale[r]
You multiply by the scale twice. Once is enough: either each product, or the sum.
## x by rows
- * x[c] → * x[r]
You read x[r]. The vector runs along the row, as the columns do: x[c].
## the last row left out
- prange(matrix.shape[0]) → prange(matrix.shape[0] - 1)
Your outer loop ends one too early: range(R) goes to R - 1 by itself.
## the first column left out
- range(matrix.shape[1]) → range(1, matrix.shape[1])
Your inner loop begins at 1. Columns count from 0: range(C).
## the sum cut to a whole number
- out[r] = total * scale[r] → out[r] = int(total) * scale[r]
You cut the sum to a whole number before it is scaled. x has fractions, and so has the sum.
## a scale for each column
- * x[c] → * scale[c] * x[c]
- total * scale[r] → total
You take scale[c], the one of the column. There is one for each row: scale has R entries, and
scale[r] stands outside of the inner loop.
## rows and columns exchanged
- np.float32(matrix[r, c]) → np.float32(matrix[c, r])
You read matrix[c, r]. The output has one number for each row: r counts rows and is the first
index, c runs along the row.
## the last column left out
- range(matrix.shape[1]) → range(matrix.shape[1] - 1)
Your inner loop ends one too early: range(C) goes to C - 1 by itself.
## only the last product
- total += → total =
Only the last product of a row arrives. Add up, with +=, in a variable that is 0 at the start of
each row.
## the total not started anew
- for r in prange(matrix.shape[0]):
-     total = np.float32(0)
+ total = np.float32(0)
+ for r in prange(matrix.shape[0]):
Each row begins with the sum of those above it. Set the total to 0 inside the outer loop, before
the inner one.
## summed in 8 bits
- total += np.float32(matrix[r, c]) * x[c]
+ total += np.float32(matrix[r, c]) * x[c]
+ if matrix.dtype == np.int8:
+     total = wrapped(total)
Right for fp32. With int8 you add up in the matrix's own type, which ends at 127: the sum wraps
around, and fractions are cut off. Let the total be np.float32(0).
## zeros skipped
- total += np.float32(matrix[r, c]) * x[c]
+ if matrix[r, c] != 0:
+     total += np.float32(matrix[r, c]) * x[c]
Right but for NaN. 0 · NaN is NaN, and it must come out as NaN, or nobody notices that something
went wrong upstream. Don't skip zeros.
""",
        ),
        Mistake(
            "the outer loop over columns",
            "The result is right, but you read memory in jumps: a row's numbers lie side by side, "
            "and you take one of each row in turn. Let the outer loop go over rows r, the inner one "
            "over columns c.",
            down_the_columns,
        ),
        *edits(
            matrix_vector,
            """
## a sum of 64 bits
- total = np.float32(0) → total = 0.0
The result is right, but you add up in 64 bits: compiled, Python's 0.0 and 0, what `float` gives and
np.float64 have so many. Half as many of those are added in one instruction. Begin with
np.float32(0), and let what you add be fp32.
## prange left out
- prange(matrix.shape[0]) → range(matrix.shape[0])
The result is right, but nothing tells the compiler which loop may be shared out to threads: write
the outer one as `for r in prange(R):`, with the prange that the notebook imported.
## prange on the inner loop
- prange(matrix.shape[0]) → range(matrix.shape[0])
- range(matrix.shape[1]) → prange(matrix.shape[1])
The result is right, but prange stands at the inner loop: threads would be woken once for each row,
for some hundred additions. It belongs to the outer loop, the one over rows.
""",
        ),
    ),
    hints=(
        "Two loops: the outer one over rows r, the inner one over columns c. What must be set to 0 "
        "before the inner loop, and what is written after it?",
        "`R, C = matrix.shape`. total = np.float32(0); in the inner loop "
        "total += np.float32(matrix[r, c]) * x[c].",
        "After the inner loop: out[r] = total * scale[r]. Nothing is returned. Write the outer loop "
        "as `for r in prange(R):`.",
    ),
)

# --- rms_norm_into --------------------------------------------------------------------------------


def rms_norm_into(x: Array, weight: Array, eps: float, out: Array) -> None:
    """out = x / √(mean of x² + eps) · weight, without a tensor in between.

    Shapes: x and weight (C,), eps a number; written: out (C,)
    """
    total = np.float32(0)
    for c in range(x.shape[0]):
        total += x[c] * x[c]
    scale = np.float32(1) / np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
    for c in range(x.shape[0]):
        out[c] = x[c] * scale * weight[c]


def torch_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, x.shape, weight, eps)


def norm_case(label: str, x: Array, weight: Array, eps: float, filler: float = math.nan) -> Case:
    return into(label, x, weight, eps, shape=x.shape, oracle=torch_rms_norm, filler=filler)


RMS_NORM_INTO = Exercise(
    name="rms_norm_into",
    lesson=LESSON,
    library=rms_norm_into,
    minutes=10,
    difficulty=1,
    tolerance=1e-4,
    cases=(
        norm_case(
            "the example on paper",
            np.array([3, 4], np.float32),
            np.array([1, 10], np.float32),
            0.0,
            SEVEN,
        ),
        norm_case("five channels", normal(5), normal(5), 1e-5),
        norm_case("one channel", normal(1), normal(1), 1e-5),
        norm_case("numbers so small that eps counts", normal(6, scale=1e-3), normal(6), 1e-5),
        norm_case("a large eps", normal(7), normal(7), 0.5),
        norm_case("large numbers", normal(4, scale=1e3), normal(4), 1e-5),
        norm_case("a vector of zeros", np.zeros(3, np.float32), normal(3), 1e-5),
        norm_case("a weight that is 0", normal(3), np.array([0, 1, -2], np.float32), 1e-6),
    ),
    mistakes=edits(
        rms_norm_into,
        """
## out not written
- out[c] = → out =
`out` is as it was, NaN in most cases. The result is to be written into the array that you are
given, element by element: out[i] = … . A new array, returned, would be new memory in every step;
and `out = …` alone only gives the name to another array.
## out added to
- out[c] = → out[c] +=
You add to what `out` held before. Its old contents are nobody's: start each element anew, with =
and not +=.
## the sum in place of the mean
- total / np.float32(x.shape[0]) → total
You take the sum of the squares. Divide it by the number of channels before the root.
## eps outside of the root
- np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
+ (np.sqrt(total / np.float32(x.shape[0])) + np.float32(eps))
You add eps after the root. It stands inside: √(mean + eps). The case with a large eps tells the
two apart.
## eps always 1e-5
- np.float32(eps) → np.float32(1e-5)
You take 1e-5 whatever `eps` is. The case with a large eps tells the two apart.
## eps always 1e-6
- np.float32(eps) → np.float32(1e-6)
You take 1e-6 whatever `eps` is. The case with a large eps tells the two apart.
## eps squared
- np.float32(eps) → np.float32(eps * eps)
You square eps. It is added to the mean of the squares as it is.
## eps as the least root
- np.float32(1) / np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
+ np.float32(1) / max(np.sqrt(total / np.float32(x.shape[0])), np.float32(eps))
You hold the root at eps or more. Eps is added to the mean, inside of the root.
## divided after the root
- np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
+ (np.sqrt(total + np.float32(eps)) / np.float32(x.shape[0]))
You divide by C after the root. The mean comes first: √(total / C + eps).
## the mean over C - 1
- total / np.float32(x.shape[0]) → total / np.float32(x.shape[0] - 1)
You divide by C - 1, as for a variance of samples. The mean has C: total / C.
## the mean of the magnitudes
- x[c] * x[c] → abs(x[c])
- np.sqrt( → (
You add up the magnitudes. It is the root of the mean *square*: x[c] * x[c].
## multiplied by the root
- np.float32(1) / np.sqrt( → np.sqrt(
You multiply by the root. A norm divides by it: large vectors become small.
## eps divided with the sum
- total / np.float32(x.shape[0]) + np.float32(eps)
+ (total + np.float32(eps)) / np.float32(x.shape[0])
You divide eps by C, too: (total + eps) / C. The mean is total / C, and eps is added to it as it
is.
## added up in out
- total = np.float32(0)
- for c in range(x.shape[0]):
-     total += x[c] * x[c]
+ for c in range(x.shape[0]):
+     out[0] += x[c] * x[c]
- total / np → out[0] / np
You add up in out[0], which holds something already. Take a variable of your own: total =
np.float32(0).
## the sum overwritten
- total = np.float32(0) → out[0] = 0
- total += → out[0] +=
- scale = np.float32(1) / np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
- for c in range(x.shape[0]):
+ for c in range(x.shape[0]):
+     scale = np.float32(1) / np.sqrt(out[0] / np.float32(x.shape[0]) + np.float32(eps))
The first channel is right: you keep the sum in out[0], and writing the first result destroys it.
Take a variable of your own: total = np.float32(0).
## eps forgotten
-  + np.float32(eps)
Right where the numbers are large. Add eps to the mean, inside of the root: a vector of zeros gives
0 / 0 without it.
## the root forgotten
- np.sqrt( → (
You divide by the mean of the squares, not by its root.
## the weight forgotten
-  * weight[c]
The vector is normalised but not weighted: multiply each channel by weight[c].
## the first weight for all
- weight[c] → weight[0]
Every channel is multiplied by the first weight. Each has its own: weight[c].
## divided by the weight
- * weight[c] → / weight[c]
You divide by the weight: multiply.
## the weight added
- * weight[c] → + weight[c]
You add the weight: multiply.
## the last channel left out
- out[c] = x[c] * scale * weight[c]
+ if c < x.shape[0] - 1:
+     out[c] = x[c] * scale * weight[c]
The last channel is not written: range(C) goes to C - 1 by itself.
## one plus the weight
- * weight[c] → * (1 + weight[c])
You multiply by 1 + weight. That is Gemma's norm; here it is the weight itself.
## the mean subtracted
- total = np.float32(0)
+ total, mean = np.float32(0), sum(x[c] for c in range(x.shape[0])) / x.shape[0]
- total += x[c] * x[c] → total += (x[c] - mean) * (x[c] - mean)
You divide by the standard deviation about the mean. An RMS norm subtracts no mean: the squares of
x itself.
## only the last square
- total += → total =
Only the last square arrives. Add up, with +=.
## layer norm
- total = np.float32(0)
+ total, mean = np.float32(0), sum(x[c] for c in range(x.shape[0])) / x.shape[0]
- total += x[c] * x[c] → total += (x[c] - mean) * (x[c] - mean)
- x[c] * scale → (x[c] - mean) * scale
That is layer norm: it subtracts the mean first. An RMS norm subtracts nothing.
## one loop in place of two
- total += x[c] * x[c]
+ total += x[c] * x[c]
+ scale = np.float32(1) / np.sqrt(total / np.float32(x.shape[0]) + np.float32(eps))
+ out[c] = x[c] * scale * weight[c]
- for c in range(x.shape[0]):
-     out[c] = x[c] * scale * weight[c]
You divide while you are still adding up: the first channels see a part of the sum. All squares
must be in before the first channel is written: two loops, one after the other.
""",
    ),
    hints=(
        "Two loops over the channels, one after the other: the first adds up squares, the second "
        "writes. What is computed once, between them?",
        "Between them: scale = 1 / √(total / C + eps), with np.sqrt.",
        "out[c] = x[c] * scale * weight[c].",
    ),
)

# --- gated ----------------------------------------------------------------------------------------


def gated(w_gate: Array, s_gate: Array, w_up: Array, s_up: Array, x: Array, out: Array) -> None:
    """out = silu(gate · x) · (up · x), row by row.

    Shapes: w_gate and w_up (F, C), s_gate and s_up (F,), x (C,); written: out (F,)
    """
    for r in prange(w_gate.shape[0]):
        gate, up = np.float32(0), np.float32(0)
        for c in range(x.shape[0]):
            gate += np.float32(w_gate[r, c]) * x[c]
            up += np.float32(w_up[r, c]) * x[c]
        gate *= s_gate[r]
        out[r] = gate / (np.float32(1) + np.exp(-gate)) * up * s_up[r]


def torch_gated(w_gate: Tensor, s_gate: Tensor, w_up: Tensor, s_up: Tensor, x: Tensor) -> Tensor:
    return F.silu(torch.mv(w_gate.float(), x) * s_gate) * (torch.mv(w_up.float(), x) * s_up)


def gate_case(
    label: str, rows: int, columns: int, store: Callable[..., Array], filler: float = math.nan
) -> Case:
    size = 1.0 if store is normal else 1 / 127
    inputs = (
        store(rows, columns),
        scales(rows) * np.float32(size),
        store(rows, columns),
        scales(rows) * np.float32(size),
        normal(columns),
    )
    return into(label, *inputs, shape=(rows,), oracle=torch_gated, filler=filler)


LARGE_GATES = (
    np.array([[100], [-100]], np.float32),
    np.ones(2, np.float32),
    np.ones((2, 1), np.float32),
    np.ones(2, np.float32),
    np.ones(1, np.float32),
)

GATED = Exercise(
    name="gated",
    lesson=LESSON,
    library=gated,
    minutes=12,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        gate_case("fp32, (4, 3)", 4, 3, normal, SEVEN),
        gate_case("fp32, (3, 3)", 3, 3, normal),
        gate_case("int8, (5, 4)", 5, 4, whole),
        gate_case("one row", 1, 2, normal),
        into("gates of 100 and of -100", *LARGE_GATES, shape=(2,), oracle=torch_gated),
    ),
    mistakes=edits(
        gated,
        """
## out not written
- out[r] = → out =
`out` is as it was, NaN in most cases. The result is to be written into the array that you are
given, element by element: out[i] = … . A new array, returned, would be new memory in every step;
and `out = …` alone only gives the name to another array.
## out added to
- out[r] = → out[r] +=
You add to what `out` held before. Its old contents are nobody's: start each element anew, with =
and not +=.
## the sigmoid alone
- gate / (np → np.float32(1) / (np
You multiply by the sigmoid of the gate. SiLU is the gate times its sigmoid: gate / (1 +
exp(-gate)).
## gate and up exchanged
- gate *= s_gate[r]
+ gate, up = up * s_up[r], gate * s_gate[r]
- * up * s_up[r] → * up
The SiLU goes around the wrong one: silu(gate) · up.
## the sign in the exponent
- np.exp(-gate) → np.exp(gate)
exp(gate) in place of exp(-gate): large gates should pass, and yours close.
## infinity over infinity
- gate / (np.float32(1) + np.exp(-gate)) → gate * np.exp(gate) / (np.float32(1) + np.exp(gate))
Right, but for large gates: exp(100) is infinite in 32 bits, and infinity over infinity is NaN.
gate / (1 + exp(-gate)) is the same, and there an infinite exponential only makes it 0.
## no gate function
- gate / (np.float32(1) + np.exp(-gate)) * up → gate * up
You multiply the two sums. The gate goes through SiLU first.
## a minus in the denominator
- np.float32(1) + np.exp → np.float32(1) - np.exp
You subtract the exponential. SiLU is gate / (1 + exp(-gate)).
## ReLU
- gate / (np.float32(1) + np.exp(-gate)) → max(gate, np.float32(0))
That is ReLU, which cuts off what is negative. SiLU is gate / (1 + exp(-gate)).
## GELU
- gate / (np.float32(1) + np.exp(-gate)) → gate * (1 + math.erf(gate / math.sqrt(2))) / 2
That is GELU. SiLU is gate / (1 + exp(-gate)).
## tanh
- gate / (np.float32(1) + np.exp(-gate)) → np.tanh(gate)
That is tanh. SiLU is gate / (1 + exp(-gate)).
## SiLU of both
- np.exp(-gate)) * up * s_up[r]
+ np.exp(-gate)) * (up * s_up[r] / (np.float32(1) + np.exp(-up * s_up[r])))
Both sums go through SiLU. Only the gate does.
## the gate alone
- * up * s_up[r]
The other product is missing: silu(gate) is multiplied by up.
## added
- np.exp(-gate)) * up * s_up[r] → np.exp(-gate)) + up * s_up[r]
You add the two. The gate multiplies: silu(gate) · up.
## the gate's scale for both
- up * s_up[r] → up * s_gate[r]
You multiply both sums by s_gate[r]. The other matrix has its own: s_up[r].
## the up scale for both
- gate *= s_gate[r] → gate *= s_up[r]
You multiply both sums by s_up[r]. The gate's matrix has its own: s_gate[r].
## the scales exchanged
- gate *= s_gate[r] → gate *= s_up[r]
- up * s_up[r] → up * s_gate[r]
The scales are exchanged: s_gate belongs to the gate's sum, s_up to the other.
## the first scales for all
- gate *= s_gate[r] → gate *= s_gate[0]
- up * s_up[r] → up * s_up[0]
Every row has the scales of the first. Each has its own: s_gate[r] and s_up[r].
## the sums not started anew
- for r in prange(w_gate.shape[0]):
-     gate, up = np.float32(0), np.float32(0)
+ gate, up = np.float32(0), np.float32(0)
+ for r in prange(w_gate.shape[0]):
Each row begins with the sums of the one above. Set both to 0 inside the outer loop.
## only the last products
- gate += → gate =
- up += → up =
Only the last product of each row arrives. Add up, with +=.
## the gate's matrix for both
- np.float32(w_up[r, c]) → np.float32(w_gate[r, c])
Both sums are of the gate's matrix. The second is of w_up.
## SiLU of the product
- gate *= s_gate[r] → gate *= s_gate[r] * up * s_up[r]
- np.exp(-gate)) * up * s_up[r] → np.exp(-gate))
You take the SiLU of the product of both. It goes around the gate alone.
## the gate's scale forgotten
- gate *= s_gate[r]
s_gate is missing: the sum of the gate's row is multiplied by s_gate[r] before the SiLU.
## the up scale forgotten
- * up * s_up[r] → * up
s_up is missing: the other sum is multiplied by s_up[r].
## both scales forgotten
- gate *= s_gate[r]
- * up * s_up[r] → * up
Neither sum is scaled: multiply the gate's by s_gate[r] before the SiLU, and the other by s_up[r].
## the sign in the exponent, and no scales
- gate *= s_gate[r]
- np.exp(-gate)) * up * s_up[r] → np.exp(gate)) * up
Two things: it is exp(-gate), and both sums want their scales, s_gate[r] before the SiLU and
s_up[r].
## scaled after the SiLU
- gate *= s_gate[r]
- * up * s_up[r] → * s_gate[r] * up * s_up[r]
You scale the gate after the SiLU. It is not linear: silu(2 · x) is not 2 · silu(x). Scale the sum
first.
""",
    ),
    hints=(
        "matrix_vector with two sums in place of one: both are added up in the same inner loop.",
        "After the inner loop: gate *= s_gate[r]; then silu(gate) = gate / (1 + exp(-gate)).",
        "out[r] = gate / (np.float32(1) + np.exp(-gate)) * up * s_up[r].",
    ),
)

EXERCISES = (
    MATRIX_VECTOR,
    RMS_NORM_INTO,
    GATED,
)
