"""What is expected of a lesson's exercises, and by which version of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from decodeloop.checkpoints.download import user_cache
from decodeloop.course.grade.drawn import telling_cases
from decodeloop.course.grade.grading import Ready, ready
from decodeloop.course.grade.sandbox import Kind
from decodeloop.errors import UserError
from decodeloop.exercises import finding

KEY_BYTES = 32
EXERCISES, GRADER = Path(finding.__file__).parent, Path(__file__).parent


def exercises(number: str, seed: int | None) -> list[Ready]:
    """Those of a lesson, with what is expected; by a seed also on inputs that nobody has seen."""
    return [
        ready(x, () if seed is None else telling_cases(x, seed))
        for x in finding.of_lesson(number).values()
    ]


def way(numbers: Sequence[str], seed: int | None, kind: Kind) -> str:
    """What grades depend on besides the notebook: other exercises, or another seed, are another.

    A record may lie beside what students have handed in, who know all else that is in this digest:
    so a key is in it that they don't have, and no line of theirs is believed.
    """
    digest = hashlib.sha256(own_key() + f" {seed} {kind}".encode())
    for path in sorted(EXERCISES.rglob("*.py")):
        number = path.stem.removeprefix("lesson_")
        if not path.stem.startswith("lesson_") or number in numbers:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def own_key() -> bytes:
    """Bytes that stay with who grades; where they can't be kept, others each time."""
    made = secrets.token_bytes(KEY_BYTES)
    with contextlib.suppress(OSError, UserError):
        path = user_cache() / "decodeloop" / "grading.key"
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "xb", opener=only_mine) as file:
            file.write(made)
        kept = path.read_bytes()
        return kept if len(kept) == KEY_BYTES else made
    return made


def only_mine(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def version() -> str:
    """A digest of the exercises and the grader, which is the same where these are."""
    digest = hashlib.sha256()
    for path in sorted([*EXERCISES.rglob("*.py"), *GRADER.rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


__all__ = ["exercises", "own_key", "version", "way"]
