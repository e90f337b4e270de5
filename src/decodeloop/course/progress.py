"""What a learner has done so far: one small file in the work folder, and nothing sent anywhere."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from decodeloop.errors import UserError, one_line

FILE = "progress.json"
ANSWERS = "mine"
MOST_BYTES = 2**22
LONGEST_WAIT = 10.0  # seconds for another notebook to be done with the file


def find_work(folder: Path) -> Path | None:
    """The work folder that `folder` is, or lies in: the one with a progress file."""
    return next((f for f in (folder, *folder.parents) if os.path.exists(f / FILE)), None)


@dataclass(frozen=True)
class Progress:
    """The progress file of a work folder; several notebooks may write it at once.

    Reading and noting raise a `UserError` where the file, or the disk, is not as it should be; what
    somebody else wrote into the file is left as it is.
    """

    work: Path

    def start(self) -> None:
        """Make the file if there is none, which is what makes a folder a work folder."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.work / FILE).exists():
            self._write({})

    def read(self) -> dict[str, Any]:
        """What was noted: "exercises", "records" and "predictions", where there are any."""
        path = self.work / FILE
        text = read_text(path, MOST_BYTES)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise odd(path, "no readable JSON") from None
        if what := strange(data):
            raise odd(path, f"not as the course wrote it ({what})")
        return dict(data)

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
            path = self.work / ANSWERS / f"{name}.py"
            with writing(path):
                path.parent.mkdir(exist_ok=True)
                replace_text(path, source)
        self._change(note)

    def record(self, name: str, value: float, unit: str) -> None:
        """Note one figure of the learner's own for the scoreboard."""
        self._change(lambda data: data.setdefault("records", {}).update({name: [value, unit]}))

    def prediction(self, lesson: str, name: str, guess: float, measured: float, unit: str) -> None:
        """Note a guess with what was measured; of a guess that was made again, the first."""
        entry = {"lesson": lesson, "guess": guess, "measured": measured, "unit": unit}
        key = f"{lesson}: {name}"
        self._change(lambda data: data.setdefault("predictions", {}).setdefault(key, entry))

    def _change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        with writing(self.work / FILE), FileLock(self.work / f".{FILE}.lock", LONGEST_WAIT):
            data = self.read()
            change(data)
            self._write(data)

    def _write(self, data: dict[str, Any]) -> None:
        replace_text(self.work / FILE, json.dumps(data, indent=1, sort_keys=True) + "\n")


def strange(data: Any) -> str:
    """What is not as the course writes it, or nothing."""
    if not isinstance(data, dict):
        return f"it is a {type(data).__name__}"
    for part, known in KINDS.items():
        entries = data.get(part, {})
        if not isinstance(entries, dict):
            return f'"{part}" is a {type(entries).__name__}'
        for name, entry in entries.items():
            if not known(entry):
                return f'"{one_line(name, 40)}" in "{part}" is something else'
    return ""


def is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    return isinstance(entry.get("state"), str) and type(entry.get("attempts")) is int


def is_record(entry: Any) -> bool:
    if not (isinstance(entry, list) and len(entry) == 2):
        return False
    return type(entry[0]) in (int, float) and isinstance(entry[1], str)


def is_prediction(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    numbers = (entry.get("guess"), entry.get("measured"))
    words = (entry.get("lesson"), entry.get("unit"))
    return all(type(x) in (int, float) for x in numbers) and all(isinstance(x, str) for x in words)


KINDS = {"exercises": is_entry, "records": is_record, "predictions": is_prediction}


def odd(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} is {what}: put it right, or delete it and run the check cells again; your answers "
        f"are in {path.parent / ANSWERS}."
    )


def read_text(path: Path, most: int) -> str:
    """A text file of the learner's.

    Raises:
        UserError: it can't be read, is no regular file, has more bytes than `most`, or no UTF-8.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is no file of text: expected one; move it out of the way.")
        if found.st_size > most:
            raise UserError(
                f"{path} has {found.st_size:,} bytes: expected at most {most:,}; move it out of "
                f"the way."
            )
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8: save it as such, or move it away.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where the disk does not do it: one sentence."""
    try:
        yield
    except OSError as error:
        reason = "another program holds it" if isinstance(error, Timeout) else error.strerror
        raise UserError(
            f"{path} can't be written: {reason or error}; it is as it was: make room, or allow it, "
            f"and run this cell again."
        ) from None


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it can't be written, or something stands there that is no file: a rename would
            replace a device such as /dev/null for the whole machine.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
