"""The command line: a module a command, and `main`, which runs them.

Heavy imports stand inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys

import typer

from decodeloop.commands.bench import bench
from decodeloop.commands.build import build
from decodeloop.commands.chat import chat
from decodeloop.commands.cost import cost
from decodeloop.commands.doctor import doctor
from decodeloop.commands.fetch import fetch
from decodeloop.commands.generate import generate
from decodeloop.commands.lab import lab
from decodeloop.commands.measure import measure
from decodeloop.commands.progress import progress
from decodeloop.errors import UserError

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
app.command()(cost)
app.command()(measure)
app.command()(bench)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
app.command()(build)
app.command()(progress)


def main() -> None:
    """Run the command line; bad input is one sentence on stderr and exit status 2."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):  # a pipe may know fewer characters than we print
            out.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        print(f"decodeloop: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our pipe has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
