"""What a fault is shown on: an engine without a model, in which what is read can be told.

A dictionary plays the memory. Each slot holds the tokens up to its position, which is what a key
and a value are made of; so a text that reads another's slot is found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from decodeloop.serve import (
    BlockManager,
    BlockParts,
    Plan,
    Request,
    Scheduler,
    SchedulerParts,
    Table,
    attend_paged,
    tenant_key,
)


class Shipped(Exception):
    """What an engine with this fault would have done."""


def demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise Shipped(otherwise)


@dataclass(frozen=True)
class Kit:
    """What an engine is made of; a fault puts a faulty one in the place of one."""

    BlockManager: Callable[..., Any] = BlockManager
    Scheduler: Callable[..., Any] = Scheduler
    block_parts: BlockParts = field(default_factory=BlockParts)
    parts: SchedulerParts = field(default_factory=SchedulerParts)
    attend_paged: Callable[..., Any] = attend_paged


class Pool:
    """A block manager and the memory that it speaks of."""

    def __init__(self, kit: Kit, count: int, size: int = 2, *, share: bool = True) -> None:
        self.blocks = kit.BlockManager(count, size, kit.block_parts, share=share)
        self.memory: dict[tuple[int, int], Any] = {}
        self.texts: list[Table] = []

    def slot(self, table: Table, position: int) -> tuple[int, int]:
        size = self.blocks.size
        demand(position // size < len(table.blocks), "a token had no block to lie in")
        return table.blocks[position // size], position % size

    def write(self, table: Table, start: int, count: int) -> None:
        """The forward of one text's piece."""
        demand(start + count <= len(table.tokens), "a text read tokens that it had not")
        for position in range(start, start + count):
            slot = self.slot(table, position)
            demand(self.blocks.references[slot[0]] == 1, "a text wrote into another's block")
            self.memory[slot] = (table.key, *table.tokens[: position + 1])

    def read(self, table: Table, end: int) -> None:
        """What its attention looks at."""
        for position in range(end):
            slot = self.slot(table, position)
            demand(slot in self.memory, "a text attended to what nobody had computed")
            own = (table.key, *table.tokens[: position + 1])
            demand(self.memory[slot] == own, "a text attended to another's keys")

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        for old, new in pairs:
            for offset in range(self.blocks.size):
                if (old, offset) in self.memory:
                    self.memory[new, offset] = self.memory[old, offset]

    def admit(self, tokens: Sequence[int], salt: str | None = None) -> Table:
        """A new text, which reads itself at once."""
        table = Table([*tokens], tenant_key(salt))
        self.blocks.admit(table, self.blocks.match(table))
        demand(table.stored < len(tokens), "a text had nothing left to read, and so no logits")
        self.texts.append(table)
        self.go_on(table)
        return table

    def grow(self, table: Table, *tokens: int) -> None:
        """So many more tokens."""
        table.tokens += tokens
        self.copy(self.blocks.grow(table, len(tokens)))
        self.go_on(table)

    def go_on(self, table: Table) -> None:
        left, start = table.left, table.stored
        self.write(table, start, left)
        self.read(table, len(table.tokens))
        self.blocks.complete(table, left)

    def fork(self, table: Table) -> Table:
        self.texts.append(self.blocks.fork(table))
        return self.texts[-1]

    def release(self, table: Table) -> None:
        self.texts.remove(table)
        self.blocks.release(table)

    def check(self) -> None:
        """What must hold at any time."""
        b = self.blocks
        users = Counter(block for table in self.texts for block in table.blocks)
        used = [users[block] for block in range(b.count)]
        demand(b.references == used, "a block was counted for another number of users than it had")
        demand({*b.free} == {i for i, n in enumerate(used) if not n}, "a block was lost")
        names = {block: name for name, block in b.block_of.items()}
        demand(b.hash_of == names, "two blocks had one name, or one block two")


def token_after(tokens: Sequence[int]) -> int:
    """Plays the model."""
    return (7 * sum(tokens) + len(tokens)) % 5


def alone(prompt: Sequence[int], new: int) -> list[int]:
    """What becomes of a text alone."""
    tokens = [*prompt]
    for _ in range(new):
        tokens.append(token_after(tokens))
    return tokens[len(prompt) :]


class Engine:
    """A scheduler over a pool."""

    def __init__(
        self, kit: Kit, count: int, size: int = 2, *, share: bool = True, **limits: Any
    ) -> None:
        self.pool = Pool(kit, count, size, share=share)
        self.scheduler = kit.Scheduler(self.pool.blocks, parts=kit.parts, **limits)
        self.texts: dict[Request, tuple[list[int], int, list[int]]] = {}

    def add(self, prompt: Sequence[int], new: int = 1, salt: str | None = None) -> Request:
        request: Request = self.scheduler.add(prompt, len(prompt) + new - 1, tenant_key(salt))
        self.texts[request] = [*prompt], new, []
        return request

    def plan(self) -> Plan:
        """Schedule, and compute."""
        plan: Plan = self.scheduler.schedule()
        self.pool.copy(plan.copies)
        for piece in plan.pieces:
            running = piece.request in self.scheduler.running
            demand(running, "a text that was sent back was computed all the same")
            demand(piece.count > 0, "a text had nothing left to read, and so no logits")
            self.pool.write(piece.request.table, piece.start, piece.count)
        for piece in plan.pieces:
            self.pool.read(piece.request.table, piece.start + piece.count)
        return plan

    def update(self, plan: Plan) -> None:
        for piece in plan.pieces:
            _, new, made = self.texts[piece.request]
            token = token_after(piece.request.table.tokens) if piece.last else None
            if token is not None and piece.request in self.scheduler.running:
                made.append(token)
            self.scheduler.update(piece, token, ended=len(made) == new)

    def step(self) -> Plan:
        plan = self.plan()
        self.update(plan)
        return plan

    def run(self, most_steps: int = 60) -> None:
        """Until all have ended, each as it would have been alone, and nothing is lost."""
        for _ in range(most_steps):
            if not self.scheduler.waiting and not self.scheduler.running:
                break
            demand(self.step().pieces, "texts waited, and none was ever computed")
        for prompt, new, made in self.texts.values():
            demand(made == alone(prompt, new), "a text was another than it would have been alone")
        self.pool.check()


__all__ = ["Engine", "Kit", "Pool", "Shipped", "demand"]
