"""What a learner has done so far: one small file in the work folder, and nothing sent anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from decodeloop.errors import UserError

FILE = "progress.json"
ANSWERS = "mine"


def find_work(folder: Path) -> Path | None:
    """The work folder that `folder` is, or lies in: the one with a progress file."""
    return next((f for f in (folder, *folder.parents) if (f / FILE).is_file()), None)


@dataclass(frozen=True)
class Progress:
    """The progress file of a work folder; several notebooks may write it at once."""

    work: Path

    def start(self) -> None:
        """Make the file if there is none, which is what makes a folder a work folder."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.work / FILE).exists():
            self._write({})

    def read(self) -> dict[str, Any]:
        path = self.work / FILE
        try:
            data = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise UserError(
                f"{path} is no readable JSON: put it right, or delete it and run the check cells "
                f"again; your answers are in {self.work / ANSWERS}."
            ) from None
        return data if isinstance(data, dict) else {}

    def exercise(self, name: str, state: str, source: str | None = None) -> None:
        """Note one checked answer; keep the source of an accepted one in `mine/`.

        An exercise that was once accepted stays so: a later experiment takes nothing away.
        """

        def note(data: dict[str, Any]) -> None:
            entry = data.setdefault("exercises", {}).setdefault(name, {"state": "", "attempts": 0})
            entry["attempts"] += 1
            if entry["state"] != "right":
                entry["state"] = state

        if source is not None:
            answers = self.work / ANSWERS
            answers.mkdir(exist_ok=True)
            replace_text(answers / f"{name}.py", source)
        self._change(note)

    def record(self, name: str, value: float, unit: str) -> None:
        """Note one figure of the learner's own for the scoreboard."""
        self._change(lambda data: data.setdefault("records", {}).update({name: [value, unit]}))

    def _change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        with FileLock(self.work / f".{FILE}.lock"):
            data = self.read()
            change(data)
            self._write(data)

    def _write(self, data: dict[str, Any]) -> None:
        replace_text(self.work / FILE, json.dumps(data, indent=1, sort_keys=True) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)
