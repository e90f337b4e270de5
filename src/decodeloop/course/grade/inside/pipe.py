"""Frames on a pipe: two lengths, JSON, and the tensors as safetensors. No pickle."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any, Literal

LENGTHS = struct.Struct("<II")
Message = dict[str, Any]
Why = Literal["time", "end", "junk"]


class Broken(BaseException):
    """Nothing more comes over a pipe: `why` is "time", "end" or "junk".

    Not an `Exception`, so that no case takes it for one of the answer's.
    """

    def __init__(self, why: Why, what: str = "") -> None:
        super().__init__(what)
        self.why, self.what = why, what


class Pipe:
    """Messages to and from one process. `patience` is how many seconds may be waited in all.

    Once broken it stays so: every further use raises the same.
    """

    def __init__(self, reading: int, writing: int, largest: int = 2**31) -> None:
        self.reading, self.writing, self.largest = reading, writing, largest
        self.patience: float | None = None
        self.broken: Broken | None = None

    def broke(self, why: Why, what: str = "") -> Broken:
        """Note that it is of no more use; what is to be raised."""
        self.broken = self.broken or Broken(why, what)
        return self.broken

    def send(self, message: Message, tensors: dict[str, Any] | None = None) -> None:
        """Write one message.

        Raises:
            Broken: the other side does not read, or is not there.
        """
        if self.broken:
            raise self.broken
        header, blob = json.dumps(message).encode(), b""
        if tensors:
            from safetensors.torch import save

            blob = save(tensors)
        data = memoryview(LENGTHS.pack(len(header), len(blob)) + header + blob)
        while data:
            self.wait([], [self.writing])
            try:
                data = data[os.write(self.writing, data[: 1 << 16]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self.broke("end") from None

    def receive(self) -> tuple[Message, dict[str, Any]]:
        """The next message.

        Raises:
            Broken: patience is at its end, nobody is there, or it is no message.
        """
        if self.broken:
            raise self.broken
        header, blob = LENGTHS.unpack(self.exactly(LENGTHS.size))
        if header + blob > self.largest:
            raise self.broke("junk", f"a message of {(header + blob) >> 20} MB")
        text, data = self.exactly(header), self.exactly(blob)
        try:
            message, tensors = json.loads(text), dict[str, Any]()
            if data:
                from safetensors.torch import load

                tensors = load(data)
        except Exception as error:  # JSON too deep, bytes that are no tensors
            raise self.broke("junk", f"{type(error).__name__} in a message") from None
        if not isinstance(message, dict):
            raise self.broke("junk", "a message that is none")
        return message, tensors

    def exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self.wait([self.reading], [])
            part = os.read(self.reading, min(1 << 20, count - len(data)))
            if not part:
                raise self.broke("end")
            data += part
        return bytes(data)

    def wait(self, reading: list[int], writing: list[int]) -> None:
        """Until one of them is ready; what is waited counts."""
        if self.patience is None:
            return
        began = time.monotonic()
        ready = select.select(reading, writing, [], max(self.patience, 0.0))
        self.patience -= time.monotonic() - began
        if not (ready[0] or ready[1]):
            raise self.broke("time")


__all__ = ["Broken", "Message", "Pipe"]
