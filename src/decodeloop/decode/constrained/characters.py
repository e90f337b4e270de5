"""Characters as bytes: which sequences of bytes UTF-8 writes for a range of code points.

A model's tokens are pieces of bytes, and may end in the middle of a character. So the automata of
this room read bytes. Built in lesson 25.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]  # bytes, both ends included
LONGEST = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)  # the last code point of one, two, three, four bytes


@functools.cache
def utf8_spans(first: int, last: int) -> tuple[tuple[Span, ...], ...]:
    """The code points first … last as sequences of byte ranges: any byte of the first range, then
    any of the second, and so on, and nothing else.

    >>> utf8_spans(0x41, 0x5A)
    (((65, 90),),)
    >>> utf8_spans(0xE4, 0x17F)
    (((195, 195), (164, 191)), ((196, 197), (128, 191)))
    """
    return tuple(split(first, last))


def split(first: int, last: int) -> Iterator[tuple[Span, ...]]:
    """The same one by one: a range is cut until its bytes are independent of one another."""
    for longest in LONGEST:
        if first <= longest < last:  # both ends must have as many bytes
            yield from split(first, longest)
            first = longest + 1
    low, high = chr(first).encode(), chr(last).encode()
    for place in range(1, len(low)):
        # where this byte takes several values, all bytes behind it must take every value
        block = 1 << 6 * (len(low) - place)
        if low[:place] != high[:place]:
            if first % block:
                end = first - first % block + block - 1
                yield from split(first, end)
                yield from split(end + 1, last)
                return
            if (last + 1) % block:
                start = last - last % block
                yield from split(first, start - 1)
                yield from split(start, last)
                return
    yield tuple(zip(low, high, strict=True))
