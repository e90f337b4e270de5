"""Asking for memory before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BYTE, WORD = ir.IntType(8), ir.IntType(32)
LINE = 16  # fp32 numbers that come together
NEAREST, NEAR = 3, 2  # to which of the processor's caches


def fetch_line(builder: Any, place: Any, where: int = NEAREST) -> None:
    """Have what stands at a place on its way to one of the processor's caches. Where there is
    nothing, or nothing of ours, nothing happens."""
    pointer = BYTE.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, WORD, WORD, WORD])
    fetch = builder.module.declare_intrinsic("llvm.prefetch.p0", (), kind)
    for_reading, data = WORD(0), WORD(1)
    builder.call(fetch, [builder.bitcast(place, pointer), for_reading, WORD(where), data])


@intrinsic
def prefetch(_typing: Any, array: Any) -> Any:
    """Ask for the first numbers of an array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        fetch_line(builder, context.make_array(signature.args[0])(context, builder, values[0]).data)
        return context.get_dummy_value()

    return types.void(array), generate
