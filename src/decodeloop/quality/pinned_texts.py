"""The texts that models are judged by, and those that they are tuned with: pinned, and apart.

Four files beside this module, each with its source and licence at its head: `plain` ones for models
of everyday language, `plays` for the small model of the course, which knows nothing else. What is
tuned on one of the two (a scale, a mask, a student) must be judged by the other.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from decodeloop.errors import ModelFileError, UserError

KINDS = ("plain", "plays")
FOLDER = Path(__file__).parent / "texts"
END_OF_HEAD, BETWEEN = "\n===\n", "\n===\n"
SHA256 = {  # of the text as UTF-8 with line feeds: a checkout on Windows may have other line ends
    "plain_test.txt": "aed643ea6403a52fe5fb7fa700bd6ba9fcd18c1917177d91e92e92274ebf15c6",
    "plain_calibration.txt": "81aacbfebf6c805e61c096da0de25e1ab077090eee8486a13d405f73e64429cb",
    "plays_test.txt": "4901eee5fbc54d0544515c5ec14b4f171c070fcb93fd0c504c8b68436e9eabb8",
    "plays_calibration.txt": "aeb928583d9ec8403e2658fa66ef1ea38f0f1c64df7d2c95a29c322c9ec1296c",
    "questions.txt": "3b772d255cc6c5d7720a715a4144715f2e1b67343b27a3bb5628f9dd6ace3585",
}


@cache
def read_pinned(name: str) -> tuple[str, tuple[str, ...]]:
    """What stands at the head of a file of this package, and its parts.

    Raises:
        ModelFileError: it is missing, or not what was pinned: figures of another text compare with
            nobody's.
    """
    path = FOLDER / name
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    if hashlib.sha256(text.encode()).hexdigest() != SHA256[name]:
        raise ModelFileError(
            f"{path} is missing, or not as it was pinned: install decodeloop again."
        )
    head, _, rest = text.partition(END_OF_HEAD)
    return head, tuple(part.strip("\n") for part in rest.split(BETWEEN))


def held_out(kind: str = "plain") -> tuple[str, ...]:
    """The passages that a model is judged by.

    >>> len(held_out("plain"))
    24

    Raises:
        UserError: there are none of this kind.
    """
    return passages(kind, "test")


def calibration(kind: str = "plain") -> tuple[str, ...]:
    """The passages that something is tuned with before it is judged by `held_out`.

    Raises:
        UserError: there are none of this kind.
    """
    return passages(kind, "calibration")


def passages(kind: str, use: Literal["test", "calibration"]) -> tuple[str, ...]:
    """The passages of a kind, for a use; errors as `held_out`."""
    if kind not in KINDS:
        raise UserError(f"texts of kind {kind!r:.80}: expected one of {', '.join(KINDS)}.")
    return read_pinned(f"{kind}_{use}.txt")[1]
