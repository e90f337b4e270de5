"""Sixteen products of vectors of bytes at once, by the instruction that processors have for it.

`vpdpbusd` (Intel's VNNI, 2019; AMD from Zen 4 on) multiplies 64 pairs of bytes and adds them by
fours to sixteen 32-bit sums. No loop of Python's becomes that instruction, so this one is written
in LLVM's own language, and Numba puts it where it is called. `w8a8.plain_dots` is the same in
Python, and gives the same numbers: they are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from decodeloop.kernels.prefetch import BYTE, WORD, fetch_line
from decodeloop.kernels.vectors import sums_of

WIDTH = 64  # bytes of a vector of the processor's
FOUR = 4  # rows of a matrix that meet as many tokens: sixteen sums, half of the registers
AHEAD = 4608  # bytes: a row is asked from the memory so far ahead of its use

BYTES, WORDS = ir.VectorType(BYTE, WIDTH), ir.VectorType(WORD, WIDTH // 4)


def has_vnni() -> bool:
    """Whether Numba compiles for a processor that has the instruction."""
    config = cast(Any, numba.config)
    if config.CPU_NAME:  # another processor than this one may have been asked for
        return "+avx512vnni" in (config.CPU_FEATURES or "").split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni", False))


@intrinsic
def vector_dots(_typing: Any, rows: Any, tokens: Any, blocks: Any, out: Any) -> Any:
    """out[4·t + r] = the product of row r and token t, over the first `blocks` · 64 columns.

    rows (4, C) and tokens (4, C) int8, out (16,) int32. The instruction takes one side without a
    sign, so rows are taken as w + 128: 128 times the token's sum is in each product, too much.
    """
    signature = types.void(rows, tokens, blocks, out)

    def starts(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
        array = context.make_array(kind)(context, builder, value)
        stride = cgutils.unpack_tuple(builder, array.strides)[0]
        return [
            builder.gep(array.data, [builder.mul(stride, stride.type(number))])
            for number in range(FOUR)
        ]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        row_kind, token_kind, _, out_kind = signature.args
        w = starts(context, builder, row_kind, values[0])
        x = starts(context, builder, token_kind, values[1])
        module = builder.module
        dot = module.declare_intrinsic(
            "llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(WORDS, [WORDS] * 3)
        )
        sums = [
            cgutils.alloca_once_value(builder, ir.Constant(WORDS, None)) for _ in range(FOUR * FOUR)
        ]
        with cgutils.for_range(builder, values[2]) as loop:
            offset = builder.mul(loop.index, loop.index.type(WIDTH))
            ahead = builder.add(offset, loop.index.type(AHEAD))

            def load(start: Any) -> Any:
                place = builder.bitcast(builder.gep(start, [offset]), BYTES.as_pointer())
                return builder.load(place, align=1)

            for start in w:
                fetch_line(builder, builder.gep(start, [ahead]))
            flip = ir.Constant(BYTES, [-128] * WIDTH)  # w + 128, by its highest bit
            unsigned = [builder.bitcast(builder.xor(load(start), flip), WORDS) for start in w]
            for t in range(FOUR):
                token = builder.bitcast(load(x[t]), WORDS)
                for r in range(FOUR):
                    total = sums[FOUR * t + r]
                    added = builder.call(dot, [builder.load(total), unsigned[r], token])
                    builder.store(added, total)
        found = sums_of(builder.add, builder.shuffle_vector, [builder.load(t) for t in sums])
        array = context.make_array(out_kind)(context, builder, values[3])
        place = builder.bitcast(array.data, WORDS.as_pointer())
        builder.store(found, place, align=4)
        return context.get_dummy_value()

    generator: Callable[..., Any] = generate
    return signature, generator
