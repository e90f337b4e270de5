"""Products of bytes by the processor's matrix unit, where it has one (Intel's AMX, 2023).

A tile is a register of 16 rows of 64 bytes. `tdpbssd` multiplies a tile of 16 rows of a matrix, 64
columns of it, with the same columns of 16 tokens, and adds the products to a tile of sums: 16,384
multiplications in 16 cycles. So what is left of a step's products is reading the matrices.
`w8a8.plain_dots` gives the same numbers: they are whole.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any, cast

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from decodeloop.kernels.prefetch import BYTE, NEAR, WORD, fetch_line

TILE_ROWS, TILE_BYTES = 16, 64
ROWS = 2 * TILE_ROWS  # of a matrix, in two tiles: a sum waits for the one before it, two overlap
TOKENS = 16  # as many as fit beside them
WORDS = ir.VectorType(WORD, TILE_ROWS)
SUMS, INPUTS, MATRIX = (0, 1), 2, (3, 4)  # which tile holds what

REQUEST, TILE_DATA = 0x1023, 18  # asm/prctl.h: ARCH_REQ_XCOMP_PERM, and its part of the state
ARCH_PRCTL = 158  # the system call's number on x86-64


def has_amx() -> bool:
    """Whether Numba compiles for a processor with the unit, and the system lets us use it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    if cast(Any, numba.config).CPU_NAME:  # another processor may have been asked for
        return False
    if not llvmlite.binding.get_host_cpu_features().get("amx-int8", False):
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST, TILE_DATA) == 0)


def configuration() -> bytes:
    """What the unit is told of its tiles: palette 1, and for each its bytes a row and its rows."""
    used = max(*SUMS, INPUTS, *MATRIX) + 1
    told = np.zeros(64, np.uint8)
    told[0] = 1
    told[16:48].view(np.uint16)[:used] = TILE_BYTES
    told[48 : 48 + used] = TILE_ROWS
    return told.tobytes()


def transpose(builder: Any, place: Any) -> None:
    """Make the rows of 16 × 16 numbers in memory its columns: in four rounds neighbours, at the
    distance of 8, 4, 2, and 1, exchange halves."""
    places = [builder.gep(place, [WORD(row)]) for row in range(TILE_ROWS)]
    rows = [builder.load(row, align=4) for row in places]
    for distance in (8, 4, 2, 1):
        from_a = [lane + 16 - distance if lane & distance else lane for lane in range(16)]
        from_b = [lane + 16 if lane & distance else lane + distance for lane in range(16)]
        for i in (i for i in range(TILE_ROWS) if not i & distance):
            a, b = rows[i], rows[i + distance]
            rows[i] = builder.shuffle_vector(a, b, ir.Constant(WORDS, from_a))
            rows[i + distance] = builder.shuffle_vector(a, b, ir.Constant(WORDS, from_b))
    for row, numbers in zip(places, rows, strict=True):
        builder.store(numbers, row, align=4)


@intrinsic
def tile_dots(_typing: Any, rows: Any, inputs: Any, steps: Any, out: Any) -> Any:
    """Products of 32 rows with 16 tokens. rows (32, C) int8, one after the other in memory; inputs
    (C/64, 16, 16, 4) int8, as `w8a8.interleaved` makes them; steps = C/64; out (2, 16, 16) int32:
    for each half of the rows, and for each token, a number for each row of that half"""
    signature = types.void(rows, inputs, steps, out)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, wide = BYTE.as_pointer(), ir.IntType(64)

        def start(number: int) -> Any:
            array = context.make_array(signature.args[number])(context, builder, values[number])
            return builder.bitcast(array.data, pointer)

        def call(name: str, *arguments: Any) -> None:
            kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
            function = builder.module.declare_intrinsic(f"llvm.x86.{name}", (), kind)
            builder.call(function, arguments)

        def at(place: Any, offset: Any) -> Any:
            return builder.gep(place, [offset])

        told = cgutils.global_constant(
            builder, "tiles", cgutils.create_constant_array(BYTE, list(configuration()))
        )
        matrix, tokens, sums = start(0), start(1), start(3)
        steps = builder.zext(values[2], wide) if values[2].type.width < 64 else values[2]
        stride = builder.mul(steps, wide(TILE_BYTES))
        half = builder.mul(stride, wide(TILE_ROWS))
        before = builder.bitcast(builder.alloca(ir.ArrayType(BYTE, 64)), pointer)
        call("sttilecfg", before)
        call("ldtilecfg", builder.bitcast(told, pointer))
        for tile in SUMS:
            call("tilezero", BYTE(tile))
        with cgutils.for_range(builder, steps) as loop:
            offset = builder.mul(loop.index, wide(TILE_BYTES))
            block = builder.mul(loop.index, wide(TILE_BYTES * TILE_ROWS))
            following = at(matrix, builder.add(half, builder.mul(block, wide(2))))

            def ask(part: int) -> None:  # for a fifth of the lines; their neighbours come with them
                for line in range(0, ROWS, 2)[part::5]:
                    fetch_line(builder, at(following, wide(TILE_BYTES * line)), NEAR)

            ask(0)
            call("tileloadd64", BYTE(INPUTS), at(tokens, block), wide(TILE_BYTES))
            for number in range(2):
                ask(1 + 2 * number)
                place = at(matrix, builder.add(offset, half) if number else offset)
                call("tileloadd64", BYTE(MATRIX[number]), place, stride)
                ask(2 + 2 * number)
                call("tdpbssd", BYTE(SUMS[number]), BYTE(MATRIX[number]), BYTE(INPUTS))
        for number in range(2):
            place = at(sums, wide(number * TILE_ROWS * TILE_BYTES))
            call("tilestored64", BYTE(SUMS[number]), place, wide(TILE_BYTES))
            transpose(builder, builder.bitcast(place, WORDS.as_pointer()))
        call("ldtilecfg", before)  # another library may count on what it told the unit once
        return context.get_dummy_value()

    return signature, generate
