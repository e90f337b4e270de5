"""A step, before it is computed: who reads how many tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from decodeloop.serve.blocks import Table


@dataclass(eq=False)
class Request:
    """One text at the scheduler. `number` counts the arrivals."""

    number: int
    table: Table
    shared: int = 0  # positions that it found in the cache
    preempted: int = 0  # how often


@dataclass(frozen=True)
class Piece:
    """What one text reads in a step: `count` tokens from position `start` on, and behind them those
    that were `drafted`, which may turn out to be others."""

    request: Request
    start: int
    count: int
    drafted: tuple[int, ...] = ()

    @property
    def tokens(self) -> list[int]:
        known = self.request.table.tokens[self.start : self.start + self.count]
        return [*known, *self.drafted]

    @property
    def last(self) -> bool:
        """Whether the text has then read all it has: its next token is due."""
        return self.start + self.count == len(self.request.table.tokens)


@dataclass
class Plan:
    """A step: its pieces, the copies of blocks to make before, and who came and went for it."""

    pieces: list[Piece] = field(default_factory=list)
    copies: list[tuple[int, int]] = field(default_factory=list)
    admitted: list[Request] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)
