"""Errors that are addressed to the person at the keyboard."""


class UserError(ValueError):
    """Bad input: one sentence with the value given, what was expected, and what to do.

    In a notebook it is shown as that sentence, without a traceback; the command line prints it
    and exits with status 2. As a ``ValueError`` it is catchable without importing this module.
    """

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
