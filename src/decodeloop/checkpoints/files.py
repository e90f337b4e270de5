"""The small files of a model, read with care: under their names a folder may hold anything.

A pipe that nobody writes to never ends, and a device or a sparse file of a terabyte never stops;
so each is looked at before it is opened.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from decodeloop.errors import ModelFileError, one_line

JSON_BYTES = 1 << 24  # of a configuration; the largest in use have one megabyte
TOKENIZER_BYTES = 1 << 27  # of a tokenizer.json; the largest in use have 35 megabytes


def can_be_a_path(path: Path) -> bool:
    """Whether the system would let a file have this name: not if it is too long, say."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return True
    except (OSError, ValueError):
        return False
    return True


def is_there(path: Path) -> bool:
    """Whether there is something of this name, even if it is no file, or a link to nowhere."""
    return os.path.lexists(path)


def check_regular(path: Path, limit: int | None = None) -> int:
    """How many bytes a file has.

    Raises:
        ModelFileError: it is missing, no regular file, or larger than `limit`.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError(
            f"{path} can't be read: it is {kind_of(found.st_mode)}, expected a regular file."
        )
    if limit is not None and found.st_size > limit:
        raise ModelFileError(
            f"{path} has {found.st_size:,} bytes: expected at most {limit:,}; copy it again."
        )
    return found.st_size


def kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a special file"


def read_text(path: Path, limit: int = JSON_BYTES) -> str:
    """The text of a file.

    Raises:
        ModelFileError: as `check_regular`; or it can't be read, or is no UTF-8.
    """
    check_regular(path, limit)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}.") from None
    except ValueError:
        raise ModelFileError(f"{path} is no readable text, as UTF-8: copy it again.") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelFileError: as `read_text`; or it is no JSON object, or names a thing twice.
    """
    try:
        value = json.loads(read_text(path), object_pairs_hook=once)
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is no readable JSON ({one_line(error)}): copy it again."
        ) from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names occur once: of two, who knows which one is meant?"""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return value
