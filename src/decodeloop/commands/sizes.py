"""`--cache-memory`: a size in bytes, and how many blocks have room in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from decodeloop.errors import UserError, printable

if TYPE_CHECKING:
    from decodeloop.loading import LanguageModel

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SIZE = 16  # positions of a block


def bytes_of(text: str) -> int:
    """A size such as 1GB or 512MiB, in bytes.

    >>> bytes_of("1.5MB"), bytes_of("2 KiB")
    (1500000, 2048)

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)", text.strip().upper())
    unit = found[2] if found else ""
    unit = unit if unit.endswith("B") or not unit else f"{unit}B"
    size = int(float(found[1]) * UNITS.get("" if unit == "B" else unit, 0)) if found else 0
    if size < 1:
        raise UserError(
            f"--cache-memory is {printable(text)!r}: expected a size such as 500MB or 1GiB."
        )
    return size


def blocks_in(memory: int, llm: LanguageModel) -> int:
    """How many blocks have room in so many bytes.

    Raises:
        UserError: none has.
    """
    import torch

    config, dtype = llm.config, getattr(llm.model, "dtype", torch.float32)
    each = 2 * config.layers * config.kv_heads * config.head_dim * SIZE * dtype.itemsize
    if memory < each:
        raise UserError(
            f"--cache-memory is {memory:,} bytes: one block of {SIZE} positions takes {each:,}; "
            f"give more."
        )
    return memory // each
