"""What the functions of this room refuse, each in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from decodeloop.errors import UserError
from decodeloop.model import ModelConfig


def is_number(value: object) -> bool:
    """Whether a value is a whole or a real number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


MOST = 10**18  # what is counted; the products of some such numbers are still floats


def check_whole(function: str, at_least: int = 1, **numbers: object) -> None:
    """Raise `UserError` unless all are whole numbers from `at_least` up to `MOST`."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < at_least:
            raise UserError(
                f"{function}: {name} is {number!r}: expected a whole number from {at_least} up."
            )
        if number > MOST:
            raise UserError(
                f"{function}: {name} is more than 10^18: expected a whole number from {at_least} "
                f"to that."
            )


def check_bytes_per_number(function: str, **sizes: object) -> None:
    """Raise `UserError` unless each can be the size of a number."""
    for name, size in sizes.items():
        if not is_number(size) or not 0 < size < math.inf:  # type: ignore[operator]
            raise UserError(
                f"{function}: {name} is {size!r}: expected a positive number, such as 4 for fp32, "
                f"2 for bf16 or 0.5 for 4 bits; BYTES has them by name."
            )


def check_window(function: str, config: ModelConfig, positions: int) -> None:
    """Raise `UserError` if a query can't see all these positions: what is counted here, it does."""
    if config.window is not None and positions > config.window:
        raise UserError(
            f"{function}: {positions} positions, and a query of this model sees {config.window}: "
            f"what a sliding window saves is not counted; expected at most {config.window}, or "
            f"dataclasses.replace(config, window=None), which counts as if it saw all."
        )


def check_positive(function: str, **values: float) -> None:
    """Raise `UserError` unless all are above 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{function}: {name} is {value}: expected more than 0.")


def check_in_order(what: str, times: Sequence[float]) -> None:
    """Raise `UserError` unless no time comes before the one in front of it."""
    for earlier, later in pairwise(times):
        if not later >= earlier:
            raise UserError(f"{what}: {later} comes after {earlier}: expected times in order.")


def whole_bytes(count: float) -> int:
    """Bytes are whole: half a byte left over (numbers of 4 bits) takes one more."""
    return math.ceil(count)
