"""A pattern, read a character at a time; where it is wrong, the place is named.

Built in lesson 25.
"""

from __future__ import annotations

from typing import NoReturn

from decodeloop.errors import UserError


class Reader:
    """What has been read of a pattern, and what comes next; behind its end comes the empty text."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0  # the next character

    def peek(self, ahead: int = 0) -> str:
        return self.pattern[self.at + ahead : self.at + ahead + 1]

    def next(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1 : self.at]

    def take(self, character: str) -> bool:
        found = self.peek() == character
        self.at += found
        return found

    def refuse(self, why: str, at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        found = f"at character {at + 1}, {self.pattern[at : at + 8]!r}"
        place = found if at < len(self.pattern) else "at its end"
        raise UserError(f"the pattern {self.pattern!r:.80} is refused {place}: {why}.")
