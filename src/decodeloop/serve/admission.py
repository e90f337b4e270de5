"""Who is let in, and what the others are told. Built in lesson 24.

A queue without a limit is a promise that nobody keeps: who waits too long has gone before the
answer comes. So a full server says so at once.
"""

from __future__ import annotations

from http import HTTPStatus

from decodeloop.errors import UserError

OK = HTTPStatus.OK
BAD_REQUEST = HTTPStatus.BAD_REQUEST
TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS
UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE


def admission(
    prompt: int, new: int, here: int, *, longest: int, most: int, draining: bool = False
) -> int:
    """The HTTP status for a text that asks to be let in.

    400 if it can never be answered, whenever it comes; 503 if the server is shutting down; 429 if
    it is full, and it may be tried again; else 200.

    Args:
        prompt, new: tokens of the prompt, and how many may be made; the last one is never read.
        here: how many texts wait or run already.
        longest: positions that a text may have.
        most: how many texts may wait or run.

    >>> admission(100, 29, 3, longest=128, most=4), admission(100, 30, 3, longest=128, most=4)
    (200, 400)
    """
    if prompt < 1 or new < 1 or prompt + new - 1 > longest:
        return int(BAD_REQUEST)
    if draining:
        return int(UNAVAILABLE)
    return int(OK if here < most else TOO_MANY)


class Refused(UserError):
    """A request that is not answered: `status` is that of HTTP, `param` the field at fault, if it
    is one, and `code` what OpenAI's clients know it by."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
