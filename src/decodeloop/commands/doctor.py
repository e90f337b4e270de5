"""`decodeloop doctor`: can this machine run the course?"""

from __future__ import annotations

import json

import typer

from decodeloop.commands.shared import Json
from decodeloop.errors import printable


def doctor(as_json: Json = False) -> None:
    """Check this machine; exit with 1 if the course can't run on it."""
    from decodeloop import doctor as checks

    if as_json:
        rows = checks.examine()
        print(json.dumps(checks.as_json(rows)))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        with console.status("looking at this machine"):
            rows = checks.examine()
        table = Table("", "what", "found", "what to do", box=None, pad_edge=False)
        colours = {"ok": "green", "FAIL": "red", "warn": "yellow"}
        for row in rows:
            word = Text(row.word, colours[row.word])
            found, fix = Text(printable(row.found)), Text(printable(row.fix))  # and no markup
            table.add_row(word, row.name, found, "" if row.ok else fix)
        console.print(table)
    raise typer.Exit(0 if checks.healthy(rows) else 1)
