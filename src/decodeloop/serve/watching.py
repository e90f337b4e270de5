"""Who looks on while a service works: here nobody; `metrics` counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Admitted(NamedTuple):
    """A text that came in for a step, for the first time."""

    waited: float  # seconds, from when it was asked for until this step began
    prompt: int  # tokens
    found: int  # of them, in the cache already


class Watch:
    """Told of everything that is worth counting, in the service's thread, and once for each."""

    def stepped(self, admitted: Sequence[Admitted], preempted: int) -> None:
        """A step was computed: who came in for it, and how many were sent back."""

    def drafted(self, checked: int, accepted: int) -> None:
        """A step checked so many drafted tokens of a text, and so many of them stayed."""

    def token(self, waited: float, first: bool) -> None:
        """A token came, after so many seconds: since it was asked for, or since the last one."""

    def ended(self, outcome: str) -> None:
        """A text is gone: it was ``answered``, ``aborted``, or has ``failed``."""
