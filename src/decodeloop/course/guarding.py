"""The learner's parts under guard: one that fails says its name, and each counts its calls."""

from __future__ import annotations

import functools
import inspect
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from decodeloop.course.plain import said
from decodeloop.course.trying import frames_of, source_file
from decodeloop.errors import UserError, one_line
from decodeloop.exercises.exercise import Candidate
from decodeloop.exercises.finding import find


class PartFailed(UserError):
    """A part of the learner's own raised something while the model was speaking through it."""


@dataclass
class Part:
    """One part: whose it is, and how it went."""

    name: str
    whose: Literal["yours", "the library's"]
    failed: str = ""  # why an answer that was once accepted is not used
    calls: int = 0  # of yours, in this process


def guarded(answer: Candidate, part: Part) -> Candidate:
    """The answer, which says its name when it fails, and counts how often it is called."""
    if isinstance(answer, type):
        return guarded_class(answer, part)
    if inspect.isgeneratorfunction(answer):

        @functools.wraps(answer)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            part.calls += 1
            try:
                return (yield from answer(*args, **kwargs))
            except GeneratorExit:
                raise
            except BaseException as error:
                raise named_failure(error, part, answer) from None

        return generate

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        part.calls += 1
        try:
            return answer(*args, **kwargs)
        except BaseException as error:
            raise named_failure(error, part, answer) from None

    return call


def guarded_class(answer: type, part: Part) -> type:
    """A subclass whose methods and properties are guarded."""
    members: dict[str, Any] = {}
    for name, member in vars(answer).items():
        if inspect.isfunction(member):
            members[name] = guarded(member, part)
        elif isinstance(member, property) and member.fget:
            members[name] = property(guarded(member.fget, part), member.fset)
    return type(answer.__name__, (answer,), members)


def named_failure(error: BaseException, part: Part, answer: Candidate) -> BaseException:
    """The error as one sentence that names the part, and its line; the innermost part says it.

    An interruption from outside stays what it is; `sys.exit()` in a part is none.
    """
    if isinstance(error, PartFailed | KeyboardInterrupt):  # a part inside it has said it
        return error
    path, where = source_file(answer), ""
    lines = [number for file, number in frames_of(error) if file == path]
    if path is not None and lines:
        line = linecache.getline(path, lines[-1]).strip()
        where = f" at line {lines[-1]} of {path}: {line}"
    message = one_line(said(error)) or "no message"
    return PartFailed(
        f"your part {part.name} failed: {type(error).__name__}: {message}{where}; check it again "
        f"in lesson {find(part.name).lesson[:2]}, or move its file out of mine/ to go on with the "
        f"library's."
    )


__all__ = ["Part", "PartFailed", "guarded"]
