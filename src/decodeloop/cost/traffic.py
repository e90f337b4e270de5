"""What attention moves between a large slow memory and a small fast one: counted, and by formula.

A GPU computes on what lies in its shared memory, some 100 kB for each group of cores, and fetches
it from a memory that is thousands of times larger and ten times slower; a CPU has caches that play
the same part. Here both are simulated: `FastMemory` counts what moves, and refuses what does not
fit. Counts are of numbers, for one head.

Dao et al., "FlashAttention" (2022), sections 2.1 and 3.2. Built in lesson 16.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.model import skip_tiles, softmax
from decodeloop.model.flash import finish, merge, partial_attention


class Move(NamedTuple):
    """One thing that happened in a fast memory, and how many numbers it held afterwards."""

    kind: Literal["read", "hold", "write", "free"]
    name: str
    numbers: int
    held: int


class FastMemory:
    """A fast memory that has room for so many numbers.

    Raises:
        UserError: something does not fit beside what it holds, or is freed without being there.

    >>> fast, slow = FastMemory(room=6), torch.zeros(4)
    >>> x = fast.read("x", slow[:2])
    >>> fast.write(fast.hold("y", x + 1), slow[2:])
    >>> fast.numbers_read, fast.numbers_written, slow.tolist()
    (2, 2, [0.0, 0.0, 1.0, 1.0])
    """

    def __init__(self, room: int) -> None:
        check_whole("FastMemory", room=room)
        self.room = room
        self.moves: list[Move] = []
        self._holds: dict[str, int] = {}

    @property
    def held(self) -> int:
        """Numbers that it holds now."""
        return sum(self._holds.values())

    @property
    def numbers_read(self) -> int:
        return sum(move.numbers for move in self.moves if move.kind == "read")

    @property
    def numbers_written(self) -> int:
        return sum(move.numbers for move in self.moves if move.kind == "write")

    def read(self, name: str, slow: Tensor) -> Tensor:
        """Fetch a piece of slow memory; what had this name before is gone."""
        self._take(name, slow.numel())
        self._note("read", name, slow.numel())
        return slow.clone()

    def hold(self, name: str, made: Tensor) -> Tensor:
        """Keep what was computed here: it takes room, and moves nothing."""
        self._take(name, made.numel())
        self._note("hold", name, made.numel())
        return made

    def write(self, made: Tensor, slow: Tensor, name: str = "out") -> None:
        """Put a result into a piece of slow memory."""
        slow.copy_(made)
        self._note("write", name, made.numel())

    def free(self, *names: str) -> None:
        """Let go of some of what it holds."""
        for name in names:
            if name not in self._holds:
                raise UserError(f"FastMemory: there is no {name!r}; it holds {[*self._holds]}.")
            self._note("free", name, self._holds.pop(name))

    def _take(self, name: str, numbers: int) -> None:
        others = self.held - self._holds.get(name, 0)
        if others + numbers > self.room:
            raise UserError(
                f"FastMemory: {name} has {numbers:,} numbers, and {others:,} of {self.room:,} are "
                f"taken: make the tiles smaller, or free something before."
            )
        self._holds[name] = numbers

    def _note(self, kind: Literal["read", "hold", "write", "free"], name: str, n: int) -> None:
        self.moves.append(Move(kind, name, n, self.held))


def attend_by_table(
    fast: FastMemory, q: Tensor, k: Tensor, v: Tensor, rows: int, columns: int
) -> Tensor:
    """Causal attention in three operators, each of which writes its result to slow memory.

    The scores, their softmax, the weighted sum: each goes through the table tile by tile.

    Shapes: q (T, D), k and v (S, D) → (T, D).
    """
    (T, D), S = q.shape, k.shape[0]
    table, out = q.new_empty(T, S), torch.empty_like(q)
    for i in range(0, T, rows):
        some = fast.read("q", q[i : i + rows]) / D**0.5
        for j in range(0, S, columns):
            keys = fast.read("k", k[j : j + columns])
            scores = fast.hold("scores", some @ keys.mT)
            fast.write(scores, table[i : i + rows, j : j + columns], "scores")
            fast.free("k", "scores")
        fast.free("q")
    for i in range(T):  # a whole row at a time
        scores = fast.read("scores", table[i])
        scores[S - T + i + 1 :] = -torch.inf  # what it may not see
        fast.write(softmax(scores), table[i], "weights")
        fast.free("scores")
    for i in range(0, T, rows):
        total = fast.hold("out", torch.zeros_like(q[i : i + rows]))
        for j in range(0, S, columns):
            weights = fast.read("weights", table[i : i + rows, j : j + columns])
            total += weights @ fast.read("v", v[j : j + columns])
            fast.free("weights", "v")
        fast.write(total, out[i : i + rows])
        fast.free("out")
    return out


def attend_by_tiles(
    fast: FastMemory, q: Tensor, k: Tensor, v: Tensor, rows: int, columns: int
) -> Tensor:
    """Causal attention in one operator, as `flash_attention`: no score reaches slow memory.

    Shapes: q (T, D), k and v (S, D) → (T, D).
    """
    (T, D), S = q.shape, k.shape[0]
    out = torch.empty_like(q)
    tiles = skip_tiles(T, S, rows, columns)
    for i in range(0, T, rows):
        some = fast.read("q", q[i : i + rows]) / D**0.5
        so_far = None
        for j in (j for first, j, _ in tiles if first == i):
            keys = fast.read("k", k[j : j + columns])
            values = fast.read("v", v[j : j + columns])
            fast.hold("scores", some @ keys.mT)
            seen = torch.ones(len(some), len(keys), dtype=torch.bool).tril(S - T + i - j)
            part = partial_attention(some, keys, values, seen)
            so_far = part if so_far is None else merge(so_far, part)
            fast.hold("out", so_far.values)
            fast.hold("peak, total", torch.cat(so_far[:2]))
            fast.free("k", "v", "scores")
        assert so_far is not None  # each query sees itself
        fast.write(finish(so_far), out[i : i + rows])
        fast.free("q", "out", "peak, total")
    return out


def traffic(T: int, S: int, D: int, rows: int, columns: int) -> tuple[int, int]:
    """Numbers that `attend_by_tiles` reads and writes, for one head.

    Queries are read and results written once. For each row of tiles all keys and values are read
    that its last query may see, in whole tiles.

    >>> traffic(T=4, S=4, D=8, rows=2, columns=2)
    (128, 32)
    """
    check_whole("traffic", T=T, S=S, D=D, rows=rows, columns=columns)
    if S < T:
        raise UserError(
            f"traffic: T is {T} and S is {S}: the T queries are the last of the S keys, so S must "
            f"be at least T."
        )
    keys = 0
    for i in range(0, T, rows):
        seen = S - T + min(i + rows, T)  # by the last query of the row
        keys += min(S, -(-seen // columns) * columns)
    return T * D + 2 * keys * D, T * D


def table_traffic(T: int, S: int, D: int, rows: int) -> tuple[int, int]:
    """Numbers that `attend_by_table` reads and writes: for each row of tiles all keys and values,
    and the table of scores written, read, written again as weights, and read.

    >>> table_traffic(T=4, S=4, D=8, rows=2)
    (192, 64)
    """
    check_whole("table_traffic", T=T, S=S, D=D, rows=rows)
    journeys = -(-T // rows)
    return T * D + 2 * journeys * S * D + 2 * T * S, T * D + 2 * T * S
