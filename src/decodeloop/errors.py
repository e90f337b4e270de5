"""Errors that are addressed to the person at the keyboard."""

import unicodedata

UNPRINTED = ("Cc", "Cs")  # control characters, and halves of surrogate pairs


def printable(text: object) -> str:
    r"""A text that a terminal only shows: control characters, which could move the cursor or set a
    title, and what no encoding knows, as their numbers. Line breaks and tabs stay.

    >>> print(printable("\x1b[2J and \udcff"))
    \u001b[2J and \udcff
    """
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in UNPRINTED and c not in "\n\t" else c
        for c in str(text)
    )


class UserError(ValueError):
    """Bad input: one sentence with the value given, what was expected, and what to do.

    In a notebook it is shown as that sentence, without a traceback; the command line prints it
    and exits with status 2. As a ``ValueError`` it is catchable without importing this module.
    What it quotes, from a file or a command line, is printable.
    """

    def __str__(self) -> str:
        return printable(super().__str__())

    def _render_traceback_(self) -> list[str]:  # IPython asks the exception itself how to show it
        return [f"{type(self).__name__}: {self}"]


def one_line(text: object, limit: int = 200) -> str:
    """What another library says, or what a file holds, fit to stand inside our sentence."""
    words = " ".join(str(text).split()).rstrip(".")
    printable = "".join(c if c.isprintable() else "\ufffd" for c in words)
    return printable if len(printable) <= limit else f"{printable[:limit]}…"


class ShapeError(UserError):
    """A tensor has the wrong shape or type; the message names the shapes, the axis and the fix."""


class ModelFileError(UserError):
    """A model file or folder is missing, damaged or unsupported; the message names the file."""


class DeviceError(UserError):
    """An unknown device, or one that this machine lacks."""
