"""Machine code of loops from notebooks."""

import functools

import numpy as np
import pytest

from decodeloop.course.checking import report
from decodeloop.course.compiling import compiled, numpy_seconds, prange, whose
from decodeloop.course.judge import judge
from decodeloop.exercises.finding import find
from decodeloop.exercises.lesson_23 import AS_IT_SHOULD, Numbers, SingleNumbers, manner


def small():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    return matrix, np.ones(2, np.float32), np.ones(3, np.float32), np.empty(2, np.float32)


def matrix_vector(matrix, scale, x, out):
    for r in prange(matrix.shape[0]):
        out[r] = 0
        for c in range(matrix.shape[1]):
            out[r] += matrix[r, c] * x[c] * scale[r]


def test_loops_give_the_same_compiled_on_one_thread_or_more():
    for parallel in (False, True):
        example = small()
        compiled(matrix_vector, *example, parallel=parallel)(*example)
        assert example[-1].tolist() == [3.0, 12.0]


def test_what_check_gives_back_in_the_place_of_an_answer_is_compiled_too():
    library = find("matrix_vector").library

    @functools.wraps(library)
    def stand_in(*args, **kwargs):
        return library(*args, **kwargs)

    example = small()
    compiled(stand_in, *example)(*example)
    assert example[-1].tolist() == [3.0, 12.0]


def by_objects(matrix, scale, x, out):
    out[:] = list(map(str, {object(): 1}))


def by_a_missing_library(matrix, scale, x, out):
    raise ImportError("linear algebra takes another package")


def by_generators(matrix, scale, x, out):
    out[:] = sum(float(a) for a in matrix)


@pytest.mark.parametrize("answer", [by_objects, by_a_missing_library, by_generators])
def test_an_answer_that_cannot_be_compiled_is_exchanged(answer, capsys, monkeypatch):
    monkeypatch.setattr(answer, "__name__", "matrix_vector")
    example = small()
    done = compiled(answer, *example)
    done(*example)
    assert example[-1].tolist() == [3.0, 12.0]
    told = capsys.readouterr().out
    assert "Your matrix_vector can't be compiled" in told
    assert "Failed in nopython mode" not in told
    assert find("matrix_vector").library.__code__ is done.py_func.__code__
    assert whose(done) == "the library's"
    assert whose(compiled(answer, *example, parallel=True)) == "the library's"
    assert capsys.readouterr().out == ""  # once is enough


def test_loops_that_are_compiled_stay_those_of_who_wrote_them():
    assert whose(matrix_vector) == whose(compiled(matrix_vector, *small())) == "yours"


def from_a_64_bit_zero(matrix, scale, x, out):
    for r in prange(matrix.shape[0]):
        total = 0.0
        for c in range(matrix.shape[1]):
            total += matrix[r, c] * x[c]
        out[r] = total * scale[r]


def from_a_whole_zero(matrix, scale, x, out):
    for r in prange(matrix.shape[0]):
        total = 0
        for c in range(matrix.shape[1]):
            total += matrix[r, c] * x[c]
        out[r] = total * scale[r]


def wide_at_the_end(matrix, scale, x, out):
    for r in prange(matrix.shape[0]):
        total = np.float32(0)
        for c in range(matrix.shape[1]):
            total += matrix[r, c] * x[c]
        total = total / (1 + np.float64(0))
        out[r] = total * scale[r]


def from_a_32_bit_zero(matrix, scale, x, out):
    for r in prange(matrix.shape[0]):
        total = np.float32(0)
        for c in range(matrix.shape[1]):
            total += matrix[r, c] * x[c]
        out[r] = total * scale[r]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (from_a_64_bit_zero, True),
        (from_a_whole_zero, True),
        (from_a_32_bit_zero, False),
        (wide_at_the_end, False),
    ],
)
def test_sums_in_64_bits_are_told(answer, told, capsys, monkeypatch):
    monkeypatch.setattr(answer, "__name__", "matrix_vector")
    compiled(answer, *small())
    assert ("keeps total in 64 bits" in capsys.readouterr().out) == told
    compiled(answer, *small())
    assert capsys.readouterr().out == ""  # once is enough


def by_rows(matrix, scale, x, out):
    for r in range(matrix.shape[0]):
        out[r] = np.sum(matrix[r] * x) * scale[r]


def by_slices(matrix, scale, x, out):
    for r in range(matrix.shape[0]):
        out[r] = np.dot(matrix[r, :], x) * scale[r]


def at_once(matrix, scale, x, out):
    out[:] = scale * (matrix @ x)


def by_method(matrix, scale, x, out):
    products = matrix.astype(np.float32)
    out[0] = products[0, 0]


def by_function(matrix, scale, x, out):
    out[0] = np.dot(matrix, x)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (by_rows, "matrix[0] is a whole row"),
        (by_slices, "matrix[0, :] is a slice"),
        (at_once, "an operator takes the whole array matrix"),
        (by_method, "matrix.astype takes the whole array"),
        (by_function, "a function takes the whole array matrix"),
    ],
)
def test_answers_with_whole_arrays_are_told_to_loop_over_numbers(answer, what):
    exercise = find("matrix_vector")
    verdict = judge(answer, exercise)
    assert verdict.state == "wrong"
    told = report(verdict, exercise)
    assert f"{what}; here loop over single numbers, matrix[r, c]" in told
    assert "of your cell:" in told  # the student's own line, and none of ours
    assert "lesson_23.py" not in told


ZERO = np.float32(0)


def with_a_default(matrix, scale, x, out, start=ZERO):
    for r in prange(len(matrix)):
        total = start
        for c in range(len(x)):
            total += matrix[r, c] * x[c]
        out[r] = total * scale[r]


def in_64_bits(matrix, scale, x, out):
    for r in prange(len(matrix)):
        total = 0.0
        for c in range(len(x)):
            total += matrix[r, c] * x[c]
        out[r] = total * scale[r]


def tile_by_tile(matrix, scale, x, out):
    for r in prange(len(matrix)):
        out[r] = 0
    for first in range(0, len(x), 2):
        for r in prange(len(matrix)):
            for c in range(first, min(first + 2, len(x))):
                out[r] += matrix[r, c] * x[c]
    for r in range(len(matrix)):
        out[r] *= scale[r]


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        (with_a_default, AS_IT_SHOULD),
        (in_64_bits, f"{AS_IT_SHOULD}, but a sum of 64 bits"),
        (tile_by_tile, "row by row, prange further inside"),
        (matrix_vector, AS_IT_SHOULD),
        (functools.partial(matrix_vector), "row by row, no prange"),
    ],
)
def test_the_way_through_a_matrix_is_seen(answer, way):
    assert manner(answer) == way


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("quantize", lambda weight: tuple(x.double() for x in find("quantize").library(weight))),
        ("dequantize", lambda quantized, scale: quantized.double() * scale[:, None]),
    ],
)
def test_answers_in_64_bits_are_told_the_type(name, answer):
    verdict = judge(answer, find(name))
    assert verdict.state == "wrong"
    assert "torch.float64: fp32 expected" in verdict.what


def overflowing(q, keys, values, length, out):
    for h in range(len(q)):
        out[h, 0] = np.exp(np.float32(100))


def test_no_warning_comes_from_a_file_of_ours(recwarn):
    judge(overflowing, find("attend"))
    assert not recwarn.list


def test_numbers_can_be_read_and_written_one_by_one():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    numbers = Numbers(array, "matrix")
    numbers[1, 2] += 1
    assert numbers[1, -1] == array[1, 2] == 6
    assert numbers.shape == (2, 3) and len(numbers) == 2
    assert [float(v) for v in Numbers(array[0], "x")] == [0, 1, 2]
    with pytest.raises(IndexError):
        numbers[2, 0]
    for refused in (
        lambda: numbers + 1,
        lambda: np.float32(2) * numbers,
        lambda: np.sqrt(numbers),
        lambda: np.sum(numbers),
        lambda: np.asarray(numbers),
        lambda: numbers.T,
        lambda: numbers.__setitem__((0, 0), array),
    ):
        with pytest.raises(SingleNumbers, match="single numbers"):
            refused()


def test_without_numba_loops_stay_as_they_are(monkeypatch):
    monkeypatch.setattr("decodeloop.course.compiling.njit", None)
    assert compiled(matrix_vector, *small()) is matrix_vector


def test_numpys_product_takes_some_time():
    assert 0 < numpy_seconds(64, 64, repeats=3) < 10
