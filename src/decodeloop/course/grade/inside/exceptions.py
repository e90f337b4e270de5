"""Exceptions of the other side: what is told of one, and what it becomes on this one."""

from __future__ import annotations

import builtins
import sys
from typing import Any


class Raised(Exception):
    """An exception of the other side's, whose class is not known on this one."""


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # what is in a `__str__` of theirs may fail in any way
        return "a message that can't be shown"


def names_of_bases(error: BaseException) -> list[str]:
    return [c.__name__ for c in type(error).__mro__ if issubclass(c, BaseException)]


def known_error(bases: Any) -> Any:
    """The class of an exception by the first of its names that Python or the package knows."""
    rooms = builtins, sys.modules.get("decodeloop.errors")
    for name in bases if isinstance(bases, list) else ():
        kinds = (getattr(room, name, None) for room in rooms if isinstance(name, str))
        kind = next((each for each in kinds if each is not None), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind if name not in ("UnicodeDecodeError", "UnicodeEncodeError") else ValueError
    return Raised


__all__ = ["Raised", "known_error", "names_of_bases", "text_of"]
