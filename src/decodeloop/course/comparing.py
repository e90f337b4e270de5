"""When two outputs are equal, and in which words it is said that they are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from decodeloop.course.plain import Odd, plain, shortened

# taken now: an answer may put something else in their places
isclose, item, to = torch.isclose, Tensor.item, Tensor.to
all_of, count_of, places_of = torch.all, torch.sum, torch.nonzero
SINGLE = torch.finfo(torch.float32).eps

Number = bool | int | float | complex


def same(got: Any, expected: Any, tolerance: float) -> bool:
    """Whether two outputs are equal: structure, shapes and kinds exactly, values within tolerance.

    - A number is one whatever carries it: Python, NumPy, or a tensor or array without axes. An
      array with axes is no tensor, and a list is neither.
    - Of kinds there are three: truth values, real numbers, complex numbers; no value of one equals
      one of another, not even 1 and True, or 2 and 2 + 0j.
    - Whole numbers equal whole numbers exactly, of whatever size. Where one of the two is a float,
      they may differ by `tolerance`, absolute, plus `tolerance` times what is expected.
    - Where a fraction is expected, a number of 32 bits may be off by what such a number can't tell;
      one of 16 bits by no more, or its coarseness would hide what is wrong.
    - NaN equals NaN. Lists, tuples and ranges of the same items are equal.
    """
    return alike(plain(got), plain(expected), tolerance)


def alike(got: Any, expected: Any, tolerance: float) -> bool:
    """`same` for values that are plain already, as those of an `Outcome`."""
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and got.keys() == expected.keys()
            and all(alike(got[k], expected[k], tolerance) for k in expected)
        )
    if isinstance(expected, str) or expected is None:
        return type(got) is type(expected) and bool(got == expected)
    if isinstance(expected, list | tuple):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(expected)
            and all(alike(g, e, tolerance) for g, e in zip(got, expected, strict=True))
        )
    g, e = without_axes(got), without_axes(expected)
    if isinstance(e, float):
        tolerance = max(tolerance, rounding(got))
    if isinstance(e, Tensor):
        return (
            isinstance(g, Tensor)
            and g.shape == e.shape
            and kind(g) == kind(e)
            and bool(item(all_of(close(g, e, tolerance))))
        )
    return isinstance(g, Number) and isinstance(e, Number) and numbers_alike(g, e, tolerance)


def without_axes(value: Any) -> Any:
    """A tensor without axes as the number that it holds; anything else as it is."""
    return item(value) if isinstance(value, Tensor) and value.ndim == 0 else value


def rounding(value: Any) -> float:
    """By how much of itself a tensor without axes may be off because of its type."""
    single = isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()
    return min(torch.finfo(value.dtype).eps, SINGLE) if single else 0.0


def numbers_alike(got: Number, expected: Number, tolerance: float) -> bool:
    if isinstance(got, bool) != isinstance(expected, bool):
        return False
    if isinstance(got, complex) or isinstance(expected, complex):
        if not (isinstance(got, complex) and isinstance(expected, complex)):
            return False
        parts = ((got.real, expected.real), (got.imag, expected.imag))
        return all(numbers_alike(g, e, tolerance) for g, e in parts)
    if isinstance(got, int) and isinstance(expected, int):
        return got == expected
    try:
        g, e = float(got), float(expected)
    except OverflowError:  # a whole number that no float holds
        return False
    if not (math.isfinite(g) and math.isfinite(e)):
        return g == e or (math.isnan(g) and math.isnan(e))
    return abs(g - e) <= tolerance + tolerance * abs(e)


def kind(tensor: Tensor) -> str:
    """Truth values, real or complex numbers."""
    if tensor.dtype == torch.bool:
        return "bool"
    return "complex" if tensor.is_complex() else "real"


def close(got: Tensor, expected: Tensor, tolerance: float) -> Tensor:
    """Where two tensors of one shape and kind agree."""
    if kind(got) == "complex":
        tensors = to(got, torch.complex128), to(expected, torch.complex128)
    elif got.is_floating_point() or expected.is_floating_point():
        tensors = to(got, torch.float64), to(expected, torch.float64)
    else:
        tensors, tolerance = (to(got, torch.int64), to(expected, torch.int64)), 0.0
    return isclose(*tensors, rtol=tolerance, atol=tolerance, equal_nan=True)


def difference(expected: Any, got: Any, tolerance: float) -> str:
    """Expected and got, in one sentence, with shapes, or the first place where they differ."""
    return difference_of_plain(plain(expected), plain(got), tolerance)


def difference_of_plain(expected: Any, got: Any, tolerance: float) -> str:
    """`difference` for values that are plain already."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            if key not in got:
                return f"expected an entry {key!r}, got {brief(list(got)).removeprefix('list ')}"
            if not alike(got[key], expected[key], tolerance):
                return f"{key}: {difference_of_plain(expected[key], got[key], tolerance)}"
    both_sequences = isinstance(expected, list | tuple) and isinstance(got, list | tuple)
    if both_sequences and len(expected) == len(got):
        for number, (e, g) in enumerate(zip(expected, got, strict=True), start=1):
            if not alike(g, e, tolerance):
                words = difference_of_plain(e, g, tolerance)
                return f"output {number} of {len(expected)}: {words}"
    if isinstance(expected, str) and isinstance(
        got, str
    ):  # words for what was seen: no type needed
        return f"expected {shortened(repr(expected))}, got {shortened(repr(got))}"
    if not (isinstance(expected, Tensor) and isinstance(got, Tensor)):
        return told_apart(brief, expected, got)
    if expected.shape != got.shape:
        return f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    if kind(expected) != kind(got):
        return f"expected values of type {expected.dtype}, got {got.dtype}"
    if expected.ndim == 0:
        return told_apart(written, expected, got)
    right = close(got, expected, tolerance)
    place = tuple(places_of(~right)[0].tolist())
    return (
        f"the shape {tuple(expected.shape)} is right, {item(count_of(~right))} of {right.numel()} "
        f"values are not; the first at {list(place)}: "
        f"{told_apart(written, expected[place], got[place])}"
    )


def told_apart(show: Callable[[Any, int], str], expected: Any, got: Any) -> str:
    """Expected and got, with as many digits as it takes to see that they differ."""
    e, g = "", ""
    for digits in range(4, 18):
        e, g = show(expected, digits), show(got, digits)
        if e.split()[-1] != g.split()[-1]:  # the number, after its type
            break
    missing = " (is a `return` missing?)" if got is None else ""
    return f"expected {e}, got {g}{missing}"


def written(x: Tensor, digits: int = 4) -> str:
    """The value of a tensor without axes: whole numbers and booleans as they are."""
    return f"{item(x):.{digits}g}" if x.is_floating_point() else str(item(x))


def brief(value: Any, digits: int = 4) -> str:
    """A plain value in a few words."""
    if value is None:
        return "None"
    if isinstance(value, Odd):
        return value.text
    if isinstance(value, Tensor):
        if value.ndim == 0:
            return f"a tensor without axes, {written(value, digits)}"
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if math.isfinite(value) else str(value)
    if isinstance(value, int) and abs(value) >= 10**60:
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, np.ndarray) and value.size > 1000:
        return f"an array of shape {value.shape}"
    try:
        return f"{type(value).__name__} {shortened(repr(value))}"
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return f"{type(value).__name__} of {len(value)} items"


__all__ = ["alike", "difference", "difference_of_plain", "same"]
