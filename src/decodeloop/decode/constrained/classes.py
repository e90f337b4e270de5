"""The classes of characters that a regular expression names. Built in lesson 25."""

from __future__ import annotations

from decodeloop.decode.constrained.syntax import Ranges, all_but, chars

DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = ((9, 13), (32, 32))
ALL_SPACE: Ranges = (  # of Unicode: what \S leaves out
    *SPACE,
    *((0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
LINE_BREAKS: Ranges = ((10, 10), (13, 13), (0x2028, 0x2029))
CLASSES = {
    "d": chars(*DIGIT),
    "D": all_but(DIGIT),
    "w": chars(*WORD),
    "W": all_but(WORD),
    "s": chars(*SPACE),
    "S": all_but(ALL_SPACE),
}
CONTROLS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "0": 0}
