"""The command line: a module a command, and `main`, which runs them.

Heavy imports stand inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from decodeloop.commands.bench import bench
from decodeloop.commands.build import build
from decodeloop.commands.bundle import bundle
from decodeloop.commands.chat import chat
from decodeloop.commands.cost import cost
from decodeloop.commands.doctor import doctor
from decodeloop.commands.export import export
from decodeloop.commands.fetch import fetch
from decodeloop.commands.generate import generate
from decodeloop.commands.grade import grade
from decodeloop.commands.lab import lab
from decodeloop.commands.measure import measure
from decodeloop.commands.progress import progress
from decodeloop.commands.quality import quality
from decodeloop.commands.serve import serve
from decodeloop.commands.shared import warnings_in_one_line
from decodeloop.commands.streams import UNPRINTED, all_printed, prepare_streams, say, unprinted
from decodeloop.commands.teach import teach
from decodeloop.errors import UserError, one_line, printable

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="LLM inference from scratch: a course whose notebooks are also its tests.",
)
app.command()(doctor)  # in the order of the help
app.command()(fetch)
app.command()(generate)
app.command()(chat)
app.command()(serve)
app.command()(cost)
app.command()(measure)
app.command()(bench)
app.command()(quality)
app.command()(export)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
app.command()(build)
app.command()(progress)
app.command()(grade)
app.command()(bundle)
app.command()(teach)


# typer's own copy of click's, or click's, as the version has it
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; bad input is one sentence on stderr and exit status 2."""
    status = outcome(sys.argv[1:])
    if not all_printed():
        status = status or 1
    sys.exit(status)


def outcome(arguments: list[str]) -> int:
    """Run one command line; its exit status. What went wrong was said in one sentence."""
    try:
        prepare_streams()
        check_folder()
        with warnings_in_one_line():
            return app(arguments or ["--help"], standalone_mode=False) or 0
    except UserError as error:
        say(error)
        return 2
    except UsageError as error:
        say(usage(error))
        return 2
    except SystemExit as end:  # typer's, where the reader of a pipe has gone
        return end.code if isinstance(end.code, int) else 1
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except MemoryError:
        say("there is not enough memory for this: ask for less, or close other programs.")
        return 1
    except OSError as error:
        if error.filename is None and error.errno in UNPRINTED:  # a stream has no name
            unprinted(error)
        else:
            say(f"the system refused ({one_line(error)}): see to that file or disk, and try again.")
        return 1


def check_folder() -> None:
    """Raise a `UserError` if the folder that the process stands in was removed: much needs it."""
    try:
        os.getcwd()
    except OSError:
        raise UserError(
            "the folder that you stand in is gone: change to one that exists, then try again."
        ) from None


def usage(error: Any) -> str:
    """What was wrong with the words of a command line, and how they should be."""
    what = printable(error.format_message()).rstrip(".")
    if error.ctx is None:
        return f"{what}: 'decodeloop --help' lists what there is."
    path = error.ctx.command_path
    return f"{what}: see '{path} --help'.\n{error.ctx.get_usage()}"
