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
from decodeloop.kernels import dequantize, quantize

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

# --- quantize -------------------------------------------------------------------------------------


def with_type(found: Any) -> Any:
    """A quantized matrix, its scales, and the type of the former.

    Raises:
        WrongType: the scales are floats of another type than fp32.
    """
    if isinstance(found, tuple | list) and len(found) == 2 and isinstance(found[0], Tensor):
        in_fp32(found[1], "the scales are")
        return [*found, "int8" if found[0].dtype == torch.int8 else "not int8"]
    return found


class WrongType(ChangedInput):
    """Numbers of another type than was asked for; as with a changed input, its message says all."""


def in_fp32(found: Any, what: str) -> None:
    """Refuse floats of another type than fp32; what is no float is wrong for another reason."""
    if isinstance(found, Tensor) and found.is_floating_point() and found.dtype != torch.float32:
        raise WrongType(
            f"{what} {found.dtype}: fp32 expected, as the kernel takes it (.float() gives it; "
            f".double() is 64 bits, .half() and .bfloat16() are 16)"
        )


def torch_quantize(weight: Tensor) -> list[Tensor]:
    """PyTorch's quantization as training imitates it, with one scale for each row."""
    peak = torch.tensor([max(abs(v) for v in row) for row in weight.tolist()])
    scale = torch.where(peak == 0, 1.0, peak / 127)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    imitated = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)
    return [(imitated / scale[:, None]).round().to(torch.int8), scale]


def zeros_apart(found: Any, zeros: Tensor) -> Any:
    """The scales of rows of zeros in words: of those that are wrong one is like another."""
    match with_type(found):
        case [numbers, Tensor() as scale, kind] if zeros.any() and scale.shape == zeros.shape:
            same = next((str(x) for x in (1, 0) if (scale[zeros] == x).all()), "another")
            return {
                "the matrix": numbers,
                "the scale of a row of zeros": same,
                "the other scales": scale[~zeros],
                "its type": kind,
            }
        case unlike:
            return unlike


def rounding(label: str, weight: Tensor) -> Case:
    zeros = (weight == 0).all(1)

    def run(candidate: Candidate) -> Any:
        lent = weight.clone()
        found = candidate(lent)
        if not torch.equal(lent, weight):
            raise ChangedInput("it changed the weight in place: the caller goes on with it")
        return zeros_apart(found, zeros)

    def expected() -> Any:
        return zeros_apart(torch_quantize(weight.clone()), zeros)

    return Case(label, run, expected, (weight,))


def row_by_row(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A right one."""
    peak = weight.abs().amax(1, keepdim=True)
    scale = peak / 127
    scale = torch.where(scale == 0, 1.0, scale)
    return torch.round(weight / scale).to(torch.int8), scale[:, 0]


# no quotient lies near a half, where the last bit would decide
ROWS = torch.tensor([[0.0, -2.54, 1.0], [0.635, 0.1, -0.3]])
SQUARE = torch.tensor([[1.0, -0.52, 0.3], [0.01, 0.0262, -0.02], [-30.0, 11.0, 44.0]])
NEGATIVE = torch.tensor([[-1.0, -0.5041, -0.25], [-3.0, 1.01, 2.2]])
ZEROS = torch.tensor([[0.0, 0.0], [1.27, -0.407], [0.0, 0.5]])
TINY_ROW = torch.tensor([[1e-6, -3e-7, 4.4e-7, 0.0], [100.0, 5.1, -77.7, 8.0]])

QUANTIZE = Exercise(
    name="quantize",
    lesson=LESSON,
    library=quantize,
    minutes=15,
    difficulty=2,
    tolerance=1e-7,
    cases=(
        rounding("the example on paper", ROWS),
        rounding("(3, 3), rows of very different sizes", SQUARE),
        rounding("rows whose largest magnitude is negative", NEGATIVE),
        rounding("a row of zeros", ZEROS),
        rounding("rows without a positive number", -SQUARE.abs()),
        rounding("a tiny row and a large one", TINY_ROW),
        rounding("one number", torch.tensor([[-0.3]])),
    ),
    mistakes=edits(
        row_by_row,
        """
## a scale for each column
- amax(1, → amax(0,
- scale[:, 0] → scale[0]
Those are the largest magnitudes of the columns. A row shares a scale: take the maximum along the
row, dim=1, so that there are R of them.
## one scale for the whole matrix
- weight.abs().amax(1, keepdim=True) → weight.abs().max()
- scale[:, 0] → scale
One scale for the whole matrix: a row of small weights is rounded to zeros. Take the largest
magnitude of each row: abs().amax(1).
## the same scale for every row
- weight.abs().amax(1, keepdim=True) → weight.abs().max().expand(len(weight), 1)
All rows have the scale of the largest weight of the matrix: a row of small weights is rounded to
zeros. Take the largest magnitude of each row: abs().amax(1).
## cut off in place of rounded
- torch.round → torch.trunc
You cut the fraction off: .to(torch.int8) goes toward zero. Round first, and the error is half as
large.
## rounded down
- torch.round → torch.floor
You round down. The nearest whole number is .round(); down has twice the error, and always in one
direction.
## the largest without its magnitude
- weight.abs().amax → weight.amax
You take the largest number of a row, not the largest magnitude: -2.54 is larger than 1.0 here.
Without abs() such rows leave the range of 8 bits and wrap around.
## the magnitude of the largest
- weight.abs().amax(1, keepdim=True) → weight.amax(1, keepdim=True).abs()
You take the magnitude of the largest number of a row, not the largest of the magnitudes: abs() comes
first. -2.54 is larger than 1.0 here.
## the range instead of the magnitude
- weight.abs().amax(1, keepdim=True) → weight.amax(1, keepdim=True) - weight.amin(1, keepdim=True)
- / 127 → / 255
You divide the range from the least to the largest number by 255. The largest *magnitude* becomes
127: zero stays in the middle.
## 255
- / 127 → / 255
The largest magnitude becomes 255, and int8 ends at 127: it wraps around. Divide by 127.
## 63.5
- / 127 → / 63.5
The largest magnitude becomes 64, half of what 8 bits hold. Divide by 127.
## the mean magnitude
- weight.abs().amax → weight.abs().mean
You take the mean magnitude of a row. All that is larger leaves the range of 8 bits and wraps around:
take the largest, amax(1).
## rounded up
- torch.round → torch.ceil
You round up. The nearest whole number is .round(); up has twice the error, and always in one
direction.
## the magnitude for the scale
- scale[:, 0] → scale[:, 0] * 127
The whole numbers are right. But you give back the largest magnitudes: the scale is a 127th of them,
what the whole numbers are to be multiplied by.
## the scales not given back
- torch.round(weight / scale).to(torch.int8), scale[:, 0] → torch.round(weight / scale).to(torch.int8)
The whole numbers are right. Without the scales nobody knows what they stand for: return quantized,
scale.
## 128
- / 127 → / 128
The largest magnitude becomes 128, and int8 ends at 127: +128 wraps around to -128. Divide by 127.
## division by zero
- scale = torch.where(scale == 0, 1.0, scale)
Right but for a row of zeros: its scale is 0, and 0 / 0 is NaN. Let such a row have scale 1:
torch.where(scale == 0, 1.0, scale).
## a row of zeros has another scale
- scale = peak / 127
- scale = torch.where(scale == 0, 1.0, scale)
+ peak = torch.where(peak == 0, 1.0, peak)
+ scale = peak / 127
Right but for the scale of a row of zeros: it is 1, and yours is another, 1/127 or something small.
Replace the scale where it is 0, after the division by 127.
## no small scales
- scale = torch.where(scale == 0, 1.0, scale) → scale = scale.clamp(min=1e-8)
You let no scale be smaller than 1e-8 or so. A row of tiny weights then loses steps, and one of zeros
has another scale than 1: replace the scale where it *is* 0.
## the outputs exchanged
- torch.round(weight / scale).to(torch.int8), scale[:, 0]
+ scale[:, 0], torch.round(weight / scale).to(torch.int8)
Both are right, in the wrong order: first the int8 matrix, then the scales.
## not stored in 8 bits
- .to(torch.int8)
The numbers are right, but they are not stored in one byte each, so less is saved, or nothing. Add
.to(torch.int8).
## the scale with an axis too many
- scale[:, 0] → scale
Your scale is (R, 1). Divide by it in that shape, and give it back as (R,): scale[:, 0].
## rows and scales not lined up
- weight / scale → weight / scale[:, 0]
The quotient must have the scale as a column. (R, C) / (R,) lines the scales up with the columns:
it fails, or, where R = C, divides each column. Write weight / scale[:, None].
## the scale upside down
- scale[:, 0] → 1 / scale[:, 0]
The whole numbers are right. But the scale is what they are to be multiplied by: magnitude / 127,
not 127 / magnitude.
""",
    ),
    hints=(
        "Step by step: the largest magnitude of each row; the scale, one number for each row; the "
        "quotients; rounding; the type.",
        "weight.abs().amax(1) is (R,). Divided by 127 it is the scale; where that is 0, make it 1: "
        "torch.where(scale == 0, 1.0, scale).",
        "Rows are divided by scale[:, None], which is (R, 1): (weight / scale[:, None]).round()"
        ".to(torch.int8). Give back both: return quantized, scale.",
    ),
)

# --- dequantize -----------------------------------------------------------------------------------


def torch_dequantize(quantized: Tensor, scale: Tensor) -> Tensor:
    """By a diagonal matrix: the scale of each row, and nothing beside it."""
    return torch.diag(scale) @ quantized.float()


def back_to_floats(label: str, quantized: Tensor, scale: Tensor) -> Case:
    def run(candidate: Candidate) -> Any:
        lent = quantized.clone(), scale.clone()
        found = candidate(*lent)
        if not (torch.equal(lent[0], quantized) and torch.equal(lent[1], scale)):
            raise ChangedInput("it changed its arguments in place: the caller goes on with them")
        in_fp32(found, "the result is")
        return found

    def expected() -> Tensor:
        return torch_dequantize(quantized, scale)

    return Case(label, run, expected, (quantized, scale))


def bytes_of(*shape: int) -> Tensor:
    return torch.from_numpy(whole(*shape))


def scales_of(rows: int) -> Tensor:
    return torch.from_numpy(scales(rows))


def rows_times_scales(quantized: Tensor, scale: Tensor) -> Tensor:
    """A right one."""
    return quantized.float() * scale[:, None]


DEQUANTIZE = Exercise(
    name="dequantize",
    lesson=LESSON,
    library=dequantize,
    minutes=4,
    difficulty=1,
    cases=(
        back_to_floats(
            "the example on paper",
            torch.tensor([[0, -127, 50], [127, 20, -60]], dtype=torch.int8),
            torch.tensor([0.02, 0.005]),
        ),
        back_to_floats("(3, 3)", bytes_of(3, 3), scales_of(3)),
        back_to_floats("(5, 2)", bytes_of(5, 2), scales_of(5)),
        back_to_floats("(1, 4)", bytes_of(1, 4), scales_of(1)),
    ),
    mistakes=edits(
        rows_times_scales,
        """
## a scale for each column
- scale[:, None] → scale
The scales were spread along the columns: (3, 3) * (3,) multiplies columns. Each row has its own:
scale[:, None].
## divided by the scale
- * scale[:, None] → / scale[:, None]
You divide by the scale. The whole number times the scale gives the weight back.
## the scale forgotten
-  * scale[:, None]
Those are the whole numbers themselves, as floats. Multiply each row by its scale.
## cut to whole numbers
- quantized.float() * scale[:, None] → (quantized.float() * scale[:, None]).int()
The products have been made whole numbers again: most weights are smaller than 1 and become 0. Let
the result be floats.
## the scale cut to a whole number
- * scale[:, None] → * scale.int()[:, None]
You made the scale a whole number before multiplying: 0.02 becomes 0. Make the matrix a float one
instead.
## the largest scale for all
- scale[:, None] → scale.max()
Every row was multiplied by the largest of the scales. Each row has its own: scale[:, None].
## the mean scale for all
- scale[:, None] → scale.mean()
Every row was multiplied by the mean of the scales. Each row has its own: scale[:, None].
## divided by 127, too
- quantized.float() → quantized.float() / 127
You divide by 127. That is in the scale already: the whole number times the scale gives the weight.
## the scale added
- * scale[:, None] → + scale[:, None]
You add the scale: multiply.
## the scale of the first row for all
- scale[:, None] → scale[0]
Every row was multiplied by the first row's scale. Each row has its own: scale[:, None].
""",
    ),
    hints=(
        "Each row times its own scale. Which shape must the scale have, so that (R, C) times it "
        "multiplies rows?",
        "quantized.float() * scale[:, None].",
    ),
)

# --- attend ---------------------------------------------------------------------------------------


def attend(q: Array, keys: Array, values: Array, length: int, out: Array) -> None:
    """Attention of one new token over the first `length` positions of a cache, in one pass.

    Shapes: q (H, D), keys and values (G, S, D), length ≥ 1; written: out (H, D)
    """
    H, D = q.shape
    share = H // keys.shape[0]
    for h in prange(H):
        g = h // share
        peak, total = np.float32(-np.inf), np.float32(0)
        for d in range(D):
            out[h, d] = 0
        for s in range(length):
            score = np.float32(0)
            for d in range(D):
                score += q[h, d] * keys[g, s, d]
            score /= np.float32(math.sqrt(D))
            if score > peak:  # what was added up so far counts for less
                fade = np.exp(peak - score)
                total *= fade
                for d in range(D):
                    out[h, d] *= fade
                peak = score
            weight = np.exp(score - peak)
            total += weight
            for d in range(D):
                out[h, d] += weight * values[g, s, d]
        for d in range(D):
            out[h, d] /= total


def sdpa(q: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    found = F.scaled_dot_product_attention(
        q[None, :, None], keys[None, :, :length], values[None, :, :length], enable_gqa=True
    )
    return found[0, :, 0]


def cache_case(
    label: str, H: int, G: int, D: int, S: int, length: int, size: float = 1.0, spare: float = 1.0
) -> Case:
    """A cache whose positions from `length` on hold what nobody should read."""
    q, keys, values = normal(H, D, scale=size), normal(G, S, D, scale=size), normal(G, S, D)
    keys[:, length:] *= spare
    return into(label, q, keys, values, length, shape=(H, D), oracle=sdpa)


BY_HAND_CACHE = (
    np.array([[0, 2]], np.float32),
    np.array([[[1, 0], [0, 1], [1, 1]]], np.float32),
    np.array([[[1, 0], [0, 10], [5, 5]]], np.float32),
)
FAR_BELOW = (  # scores of exactly -1000, -999 and -1001.5
    np.array([[10, 1, 0, 0]], np.float32),
    np.array([[[-200, 0, 1, 0], [-200, 2, 0, 1], [-200, -3, 0, 0]]], np.float32),
    normal(1, 3, 4),
)

ATTEND = Exercise(
    name="attend",
    lesson=LESSON,
    library=attend,
    minutes=25,
    difficulty=3,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        into("the token of lesson 01", *BY_HAND_CACHE, 3, shape=(1, 2), oracle=sdpa, filler=SEVEN),
        cache_case("3 heads with keys of their own, all of the cache", 3, 3, 5, 4, 4),
        cache_case("6 heads on 2, a cache that is half full", 6, 2, 4, 6, 3, spare=3.0),
        cache_case("4 heads on 1", 4, 1, 3, 5, 4),
        cache_case("one position", 2, 1, 4, 3, 1),
        cache_case("large scores", 4, 2, 6, 7, 6, size=12.0),
        into("all scores near -1000", *FAR_BELOW, 3, shape=(1, 4), oracle=sdpa),
    ),
    mistakes=edits(
        attend,
        """
## out not written
- H, D = q.shape
+ H, D = q.shape
+ out = np.zeros((H, D), np.float32)
`out` is as it was, NaN in most cases. The result is to be written into the array that you are
given, element by element: out[i] = … . A new array, returned, would be new memory in every step;
and `out = …` alone only gives the name to another array.
## out not started from zero
- peak, total =
+ held = [out[h, d] for d in range(D)]
+ peak, total =
- out[h, d] /= total → out[h, d] = held[d] + out[h, d] / total
You add to what `out` held before. Set all its D numbers to 0 before the first position, for each
head.
## out faded before it was set
- for d in range(D):
-     out[h, d] = 0
You never set out[h] to 0. Fading by e^(-∞) = 0 clears ordinary numbers, but what `out` holds is
nobody's: 0 · NaN is NaN. Set all D numbers of out[h] to 0 before the first position.
## the largest begins at 0
- np.float32(-np.inf) → np.float32(0)
Right where some score is near 0 or above. You begin with a largest score of 0, so scores near
-1000 all have weight e^-1000 = 0. Begin with np.float32(-np.inf).
## forgot 1/√D
- score /= np.float32(math.sqrt(D))
The scores are not scaled: divide each by √D, as in lesson 01.
## divided by D
- math.sqrt(D) → D
You divide the scores by D, not by its root.
## the largest not subtracted
- if score > peak: → if False:
- np.exp(score - peak) → np.exp(score)
Right for small scores. e^89 no longer fits into fp32: take exp(score - largest), and no
exponential is more than 1.
## the largest not subtracted, in 64 bits
- if score > peak: → if False:
- np.exp(score - peak) → np.exp(np.float64(score))
Right for small scores. You take exp(score) itself: large ones give numbers that fp32 can't hold
(inf), scores near -1000 give 0 / 0 (NaN). Take exp(score - largest): no exponential is then more
than 1.
## one position too many
- range(length) → range(length + 1)
You read position `length`, which is not there yet: the positions are 0 to length - 1,
range(length).
## one position too few
- range(length) → range(length - 1)
You leave out position length - 1, which is the newest: the token must see itself. range(length)
ends there.
## the whole cache
- range(length) → range(keys.shape[1])
You go through all S positions that there is room for. Only the first `length` have been written.
## heads shared in the wrong order
- h // share → h % keys.shape[0]
Heads 0 and 1 of 4 share KV head 0, 2 and 3 share KV head 1: g = h // (H // G). You take h % G,
which deals them out in turn.
## a KV head for each G heads
- h // share → h // keys.shape[0]
You divide h by G. H / G heads share a KV head, so head h reads g = h // (H // G).
## the last KV head for all
- h // share → keys.shape[0] - 1
Every head reads the last KV head. Head h reads g = h // (H // G).
## the first KV head for all
- h // share → 0
Every head reads the first KV head. Head h reads g = h // (H // G).
## not divided by the sum
- for d in range(D):
-     out[h, d] /= total
The weights don't sum to 1: divide all of out[h] by their sum, after the last position.
## keys in place of values
- weight * values[g, s, d] → weight * keys[g, s, d]
You mix the keys. They decide how much is taken; what is taken are the values.
## the fade upside down
- np.exp(peak - score) → np.exp(score - peak)
You multiply by exp(new - old), which makes what was added up so far count for more. It counts for
less: exp(old - new).
## divided by the number of positions
- out[h, d] /= total → out[h, d] /= length
You divide by the number of positions. Divide by the sum of the weights: then they sum to 1.
## the scores multiplied by √D
- score /= np.float32(math.sqrt(D)) → score *= np.float32(math.sqrt(D))
You multiply the scores by √D. Divide.
## the score for the weight
- np.exp(score - peak) → score
You take the score itself for the weight. It is exp(score - largest).
## nothing faded
- np.exp(peak - score) → 1
When a new largest score comes, all that was added up so far was weighted against the old one.
Multiply both the sum of weights and out[h] by exp(old - new).
## only the sum faded
- for d in range(D):
-     out[h, d] *= fade
When a new largest score comes you fade the sum of the weights, but not the values added up so far:
multiply out[h] by exp(old - new), too.
## only out faded
- total *= fade
When a new largest score comes you fade out[h], but not the sum of the weights: multiply it by
exp(old - new), too.
""",
    ),
    hints=(
        "A loop over heads, in it a loop over positions. For each head keep three things: the "
        "largest score so far, the sum of the weights, and out[h], the weighted values. What must out[h] "
        "be before the first position?",
        "share = H // G, and head h reads g = h // share. The score of position s is "
        "Σ_d q[h, d] · keys[g, s, d] / √D.",
        "If score > peak: fade = np.exp(peak - score); multiply total and all of out[h] by it; "
        "peak = score. Begin with peak = np.float32(-np.inf), for which fade is 0, and with "
        "out[h, d] = 0 for all d.",
        "Then weight = np.exp(score - peak); total += weight; out[h, d] += weight * values[g, s, d]. "
        "After the last position divide out[h] by total.",
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

EXERCISES = (MATRIX_VECTOR, RMS_NORM_INTO, QUANTIZE, DEQUANTIZE, ATTEND, GATED)
