"""Loops over vectors of sixteen numbers that no loop of Python's becomes, in LLVM's own language.

LLVM makes them of whatever vectors a processor has. What they save is adding up inside of a vector,
and memory between one multiplication and the next: sums stay in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
NUMBER, WORD = ir.FloatType(), ir.IntType(32)
NUMBERS = ir.VectorType(NUMBER, LANES)
FUSE = ("contract",)  # multiply and add in one instruction


def folded(add: Any, shuffle: Any, a: Any, b: Any, group: int) -> Any:
    """Half of the sums of two vectors, and beside them those of the other: neighbours of `group`
    numbers change places so that one addition serves both."""
    parts = [list(range(start, start + group)) for start in range(0, LANES, group)]

    def picked(half: list[list[int]]) -> Any:
        own = [lane for part in half for lane in part]
        return shuffle(a, b, ir.Constant(ir.VectorType(WORD, LANES), own + [n + 16 for n in own]))

    return add(picked(parts[::2]), picked(parts[1::2]))


def sums_of(add: Any, shuffle: Any, vectors: list[Any]) -> Any:
    """Sixteen vectors of sixteen numbers → the vector of their sums, in their order."""
    for group in (8, 4, 2, 1):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [folded(add, shuffle, a, b, group) for a, b in pairs]
    return vectors[0]


class Arrays:
    """The arrays that an intrinsic is given: where they begin, and how far apart their rows are."""

    def __init__(self, context: Any, builder: Any, kinds: Any, values: Any) -> None:
        self.context, self.builder, self.kinds, self.values = context, builder, kinds, values

    def array(self, number: int) -> Any:
        make = self.context.make_array(self.kinds[number])
        return make(self.context, self.builder, self.values[number])

    def row(self, number: int, index: Any) -> Any:
        """Where a row begins; of an array with one axis, a number."""
        array = self.array(number)
        stride = cgutils.unpack_tuple(self.builder, array.strides)[0]
        start = self.builder.bitcast(array.data, ir.IntType(8).as_pointer())
        place = self.builder.gep(start, [self.builder.mul(stride, index)])
        return self.builder.bitcast(place, NUMBER.as_pointer())

    def length(self, number: int, axis: int = 0) -> Any:
        return cgutils.unpack_tuple(self.builder, self.array(number).shape)[axis]


def vector_at(builder: Any, start: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(start, [offset]), NUMBERS.as_pointer())


@intrinsic
def dot_sixteen(_typing: Any, rows: Any, x: Any, out: Any) -> Any:
    """The products of sixteen rows with one vector. rows (16, D), x (D,), out (16,), all fp32, D a
    multiple of 16"""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = Arrays(context, builder, signature.args, values)
        D = given.length(1)
        rows = [given.row(0, D.type(n)) for n in range(LANES)]
        x = given.row(1, D.type(0))
        zero = ir.Constant(NUMBERS, None)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(LANES)]
        with cgutils.for_range_slice(builder, D.type(0), D, D.type(LANES)) as (d, _):
            part = builder.load(vector_at(builder, x, d), align=4)
            for row, total in zip(rows, sums, strict=True):
                product = builder.fmul(
                    builder.load(vector_at(builder, row, d), align=4), part, flags=FUSE
                )
                builder.store(builder.fadd(builder.load(total), product, flags=FUSE), total)
        found = sums_of(builder.fadd, builder.shuffle_vector, [builder.load(t) for t in sums])
        builder.store(found, vector_at(builder, given.row(2, D.type(0)), D.type(0)), align=4)
        return context.get_dummy_value()

    return types.void(rows, x, out), generate


@intrinsic
def add_rows(_typing: Any, weights: Any, rows: Any, out: Any) -> Any:
    """Add rows, each times its weight. weights (n,), rows (n, D), out (D,), all fp32, D a multiple
    of 16"""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = Arrays(context, builder, signature.args, values)
        n, D = given.length(0), given.length(2)
        out = given.row(2, D.type(0))
        total = cgutils.alloca_once(builder, NUMBERS)
        with cgutils.for_range_slice(builder, D.type(0), D, D.type(LANES)) as (d, _):
            place = vector_at(builder, out, d)
            builder.store(builder.load(place, align=4), total)
            with cgutils.for_range(builder, n) as loop:
                weight = builder.load(given.row(0, loop.index))
                one = builder.insert_element(ir.Constant(NUMBERS, ir.Undefined), weight, WORD(0))
                every = ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES)
                row = vector_at(builder, given.row(1, loop.index), d)
                product = builder.fmul(
                    builder.load(row, align=4),
                    builder.shuffle_vector(one, one, every),
                    flags=FUSE,
                )
                builder.store(builder.fadd(builder.load(total), product, flags=FUSE), total)
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return types.void(weights, rows, out), generate
