"""What the functions of this room refuse, each in one sentence."""

from __future__ import annotations

import math

from decodeloop.errors import UserError


def is_number(value: object) -> bool:
    """Whether a value is a whole or a real number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_whole(function: str, at_least: int = 1, **numbers: object) -> None:
    """Raise `UserError` unless all are whole numbers from `at_least` up."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < at_least:
            raise UserError(
                f"{function}: {name} is {number!r}: expected a whole number from {at_least} up."
            )


def check_bytes_per_number(function: str, **sizes: object) -> None:
    """Raise `UserError` unless each can be the size of a number."""
    for name, size in sizes.items():
        if not is_number(size) or not 0 < size < math.inf:  # type: ignore[operator]
            raise UserError(
                f"{function}: {name} is {size!r}: expected a positive number, such as 4 for fp32, "
                f"2 for bf16 or 0.5 for 4 bits; BYTES has them by name."
            )


def whole_bytes(count: float) -> int:
    """Bytes are whole: half a byte left over (numbers of 4 bits) takes one more."""
    return math.ceil(count)
