"""The header of a GGUF file, walked before it is believed.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A reader that trusts a
flipped count loops over 2^60 entries; this walk stops at the first that can't be true, and holds
the tensors' places to what every writer does: one after the other, each on a multiple of the
alignment. llama.cpp demands the same.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from decodeloop.checkpoints.files import check_regular
from decodeloop.errors import ModelFileError, one_line

SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type → bytes
UINT32, BOOL, STRING, ARRAY = 4, 7, 8, 9
HEADER_BYTES = 1 << 28  # vocabularies of 256,000 tokens take 16 MB
MOST_ITEMS = 1 << 22  # of all arrays together; such a vocabulary has 1.3 million


def damaged(path: Path, what: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged: {one_line(what)}; fetch or copy the file again (it has "
        f"{path.stat().st_size:,} bytes)."
    )


def check_header(path: Path) -> None:
    """Walk the header with every count held against the bytes that are left.

    Raises:
        ModelFileError: the file is missing, none of this kind, or damaged.
    """
    size = check_regular(path)
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError(
                    f"{path} is no GGUF file: it does not begin with 'GGUF'; check the path, or "
                    f"copy the file again."
                )
            _Walk(path, file, size).header()
    except OSError as error:
        raise ModelFileError(
            f"{path} can't be read ({error.strerror}): check the path, or copy the file again."
        ) from None


class _Walk:
    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self.file, self.size = path, file, size
        self.items = 0

    def header(self) -> None:
        version = self._unpack("<I")
        if version not in (2, 3):
            raise damaged(self.path, f"its version is {version}, expected 2 or 3")
        tensors, fields = self._unpack("<Q"), self._unpack("<Q")
        self._room(tensors, 24, "tensors")
        self._room(fields, 13, "fields")
        alignment = self._fields(fields)
        end = self._tensors(tensors, alignment)
        if -(-self.file.tell() // alignment) * alignment + end > self.size:
            raise damaged(self.path, "it is shorter than its header says, so it was cut off")

    def _fields(self, count: int) -> int:
        """Pass over the fields; returns the alignment of the data."""
        alignment, seen = 32, set()
        for _ in range(count):
            key, kind = self._string(), self._unpack("<I")
            if key in seen:
                raise damaged(self.path, f"its header has {shown(key)} twice")
            seen.add(key)
            if key == b"general.alignment" and kind == UINT32:
                alignment = self._unpack("<I")
                if alignment < 8 or alignment & (alignment - 1):
                    raise damaged(self.path, f"its alignment is {alignment}, not a power of two")
            else:
                self._skip_value(kind, depth=0)
        return alignment

    def _tensors(self, count: int, alignment: int) -> int:
        """Pass over the tensors' places; returns where the last one ends, from the data's start."""
        seen, end = set(), 0
        for _ in range(count):
            name, offset, size = self._tensor()
            if name in seen:
                raise damaged(self.path, f"it has the tensor {shown(name)} twice")
            seen.add(name)
            expected = -(-end // alignment) * alignment
            if offset != expected:
                raise damaged(
                    self.path, f"tensor {shown(name)} lies at {offset}, expected at {expected}"
                )
            end = offset + size
        return end

    def _tensor(self) -> tuple[bytes, int, int]:
        """A tensor's name, where its data begins, and how many bytes they are."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        name = self._string()
        axes = self._unpack("<I")
        if not 1 <= axes <= 4:
            raise damaged(self.path, f"tensor {shown(name)} has {axes} axes, expected 1 to 4")
        lengths = [self._unpack("<Q") for _ in range(axes)]
        elements = 1
        for length in lengths:
            elements *= length
        kind, offset = self._unpack("<I"), self._unpack("<Q")
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (KeyError, ValueError):
            raise damaged(self.path, f"tensor {shown(name)} has the unknown type {kind}") from None
        if elements == 0 or lengths[0] % block:
            what = f"{lengths[0]} elements a row, no blocks of {block}"
            raise damaged(self.path, f"tensor {shown(name)} has {what}")
        return name, offset, elements // block * block_bytes

    def _skip_value(self, kind: int, depth: int) -> None:
        if kind == BOOL:
            if self._unpack("<B") > 1:
                raise damaged(self.path, "its header has a truth value that is neither 0 nor 1")
        elif kind in SCALARS:
            self._skip(SCALARS[kind])
        elif kind == STRING:
            self._string()
        elif kind == ARRAY and depth == 0:
            item, count = self._unpack("<I"), self._unpack("<Q")
            self.items += count
            if self.items > MOST_ITEMS:
                raise damaged(self.path, f"its header has an array of {count} items")
            if item in SCALARS:
                self._skip(SCALARS[item] * count)
            else:
                self._room(count, 8, "array entries")
                for _ in range(count):
                    self._skip_value(item, depth + 1)
        else:
            raise damaged(self.path, f"its header has a value of the unknown type {kind}")

    def _string(self) -> bytes:
        length = self._unpack("<Q")
        self._room(length, 1, "characters")
        return self.file.read(length)

    def _unpack(self, form: str) -> int:
        raw = self.file.read(struct.calcsize(form))
        if len(raw) < struct.calcsize(form):
            raise damaged(self.path, "it ends inside its header, so it was cut off")
        number: int = struct.unpack(form, raw)[0]
        return number

    def _skip(self, length: int) -> None:
        self._room(length, 1, "bytes")
        self.file.seek(length, 1)

    def _room(self, count: int, bytes_each: int, what: str) -> None:
        left = min(self.size, HEADER_BYTES) - self.file.tell()
        if count * bytes_each > left:
            raise damaged(self.path, f"its header promises {count} {what}, with {left} bytes left")


def shown(name: bytes) -> str:
    return one_line(name.decode("utf-8", "replace"), limit=64)
