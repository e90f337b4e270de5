"""Products of nibbles with bytes: sixteen rows of a matrix with one to four tokens, in vectors.

`vpdpbusd` (see `vnni`) multiplies unsigned bytes with signed ones and adds them by fours. Here each
of its sixteen sums is another row's, so nothing is added up across a vector: four columns of
sixteen rows lie beside each other in memory, and meet four numbers of a token that are the same for
all of them. `int4_products.plain_tile` is the same in Python, and its whole numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from decodeloop.kernels.int4 import GROUP, TILE
from decodeloop.kernels.prefetch import BYTE, WORD, fetch_line
from decodeloop.kernels.vectors import FUSE, NUMBER, NUMBERS

WIDTH = 64  # bytes of a vector: four columns of sixteen rows
STEPS = GROUP // 8  # vectors of a group: each byte holds two columns
AHEAD = 4  # groups: so far ahead of its use a group is asked from the memory
BYTES, WORDS = ir.VectorType(BYTE, WIDTH), ir.VectorType(WORD, TILE)
HALVES = ir.VectorType(ir.HalfType(), TILE)


def spread(builder: Any, number: Any, vector: Any) -> Any:
    """A vector of sixteen times the same number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(WORDS, [0] * TILE))


def tile_product(tokens: int) -> Any:
    """The intrinsic for so many tokens at once: what is unpacked of the matrix serves all."""

    @intrinsic
    def products(
        _typing: Any, packed: Any, scale: Any, x: Any, x_scale: Any, offset: Any, out: Any
    ) -> Any:
        """packed (groups, 4, 64) uint8, scale (groups, 16) the bits of fp16; of each token x
        (groups · 32) int8, x_scale and offset (groups,), fp32 and int32 → out (tokens, 16)"""
        signature = types.void(packed, scale, x, x_scale, offset, out)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def array(number: int) -> Any:
                make = context.make_array(signature.args[number])
                return make(context, builder, values[number])

            def place(start: Any, index: Any, kind: Any) -> Any:
                return builder.bitcast(builder.gep(start, [index]), kind.as_pointer())

            arrays = [array(n) for n in range(6)]
            groups = cgutils.unpack_tuple(builder, arrays[0].shape)[0]
            index = groups.type
            starts = []  # of each token's numbers, scales and offsets
            for part in arrays[2:5]:
                stride = cgutils.unpack_tuple(builder, part.strides)[0]
                first = builder.bitcast(part.data, BYTE.as_pointer())
                starts.append(
                    [builder.gep(first, [builder.mul(stride, index(t))]) for t in range(tokens)]
                )
            matrix = builder.bitcast(arrays[0].data, BYTE.as_pointer())
            scales = builder.bitcast(arrays[1].data, BYTE.as_pointer())
            dot = builder.module.declare_intrinsic(
                "llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(WORDS, [WORDS] * 3)
            )
            zero = ir.Constant(NUMBERS, None)
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(tokens)]
            low = ir.Constant(BYTES, [15] * WIDTH)
            with cgutils.for_range(builder, groups) as loop:
                g = loop.index
                begin = builder.mul(g, index(STEPS * WIDTH))
                column = builder.mul(g, index(GROUP))
                number = builder.mul(g, index(4))
                sums = []
                for t in range(tokens):
                    excess = builder.load(place(starts[2][t], number, WORD))
                    sums.append(spread(builder, excess, WORDS))
                for step in range(STEPS):
                    at = builder.add(begin, index(step * WIDTH))
                    ahead = builder.add(at, index(AHEAD * STEPS * WIDTH))
                    fetch_line(builder, builder.gep(matrix, [ahead]))
                    both = builder.load(place(matrix, at, BYTES), align=1)
                    halves = (
                        builder.and_(both, low),
                        builder.lshr(both, ir.Constant(BYTES, [4] * WIDTH)),
                    )
                    for half, nibbles in enumerate(halves):
                        rows = builder.bitcast(nibbles, WORDS)
                        shift = index(half * GROUP // 2 + 4 * step)
                        for t in range(tokens):
                            four = builder.load(
                                place(starts[0][t], builder.add(column, shift), WORD), align=1
                            )
                            sums[t] = builder.call(
                                dot, [sums[t], rows, spread(builder, four, WORDS)]
                            )
                bits = builder.load(place(scales, builder.mul(g, index(2 * TILE)), HALVES), align=1)
                factors = builder.fpext(bits, NUMBERS)
                for t in range(tokens):
                    own = builder.load(place(starts[1][t], number, NUMBER))
                    both = builder.fmul(factors, spread(builder, own, NUMBERS))
                    exact = builder.sitofp(sums[t], NUMBERS)
                    product = builder.fmul(exact, both, flags=FUSE)
                    added = builder.fadd(builder.load(totals[t]), product, flags=FUSE)
                    builder.store(added, totals[t])
            to = builder.bitcast(arrays[5].data, BYTE.as_pointer())
            for t in range(tokens):
                builder.store(
                    builder.load(totals[t]), place(to, index(4 * TILE * t), NUMBERS), align=4
                )
            return context.get_dummy_value()

        generator: Callable[..., Any] = generate
        return signature, generator

    return products


one_token, four_tokens = tile_product(1), tile_product(4)
