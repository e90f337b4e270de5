"""What a process is given to speak with: streams that may be closed, full, or of few characters."""

from __future__ import annotations

import errno
import io
import os
import sys

from decodeloop.errors import UserError, one_line

# what a stream answers that takes nothing any more: full, closed, or gone with its device
UNPRINTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def prepare_streams() -> None:
    """Make sure that what is printed can't do harm, wherever it goes.

    Raises:
        UserError: there is no standard output.
    """
    for number in range(3):  # or a file that is opened later would get the number, and the prints
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:  # `print` would take stdout in its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):  # a pipe may know fewer characters than we print
            out.reconfigure(errors="replace")
    if sys.stdout is None:
        raise UserError("there is no standard output: leave it open, or send it to a file.")


def say(text: object) -> None:
    """One sentence on stderr; where that is full or gone, the exit status alone has to tell."""
    try:
        print(f"decodeloop: {text}", file=sys.stderr, flush=True)
    except OSError:
        drop(sys.stderr)


def all_printed() -> bool:
    """Whether all that was printed has reached the standard output; if not, it is said why."""
    try:
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of our pipe has gone: nobody is left to tell
        drop(sys.stdout)
        return False
    except OSError as error:
        unprinted(error)
        return False
    return True


def unprinted(error: OSError) -> None:
    """Say why not all was printed, and let the rest go."""
    drop(sys.stdout)
    say(
        f"not all could be printed ({one_line(error.strerror)}): make room where the output goes, "
        f"or send it elsewhere."
    )


def drop(out: io.TextIOBase | object) -> None:
    """Let what a stream still holds go nowhere: Python's own last flush would complain."""
    try:
        number = out.fileno()  # type: ignore[union-attr]
    except (OSError, AttributeError):  # not a file of the system
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
