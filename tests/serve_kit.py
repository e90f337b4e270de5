"""What a test of `serve` is made of: the museum puts a faulty part in the place of one.

`Drive` is an engine without a model. A dictionary plays the cache: each slot holds the tokens up to
its position, which is what a key and a value are made of; so whatever is read can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from decodeloop.course import museum
from decodeloop.serve.blocks import tenant_key


class Kit(museum.Kit):
    def manager(self, count, size, **options):
        return self.BlockManager(count, size, self.block_parts, **options)

    def drive(self, count, size, *, share=True, **limits):
        blocks = self.manager(count, size, share=share)
        return Drive(blocks, self.Scheduler(blocks, parts=self.parts, **limits))


def token_after(tokens):
    return (7 * sum(tokens) + len(tokens)) % 5


def continued(prompt, new):
    """What becomes of a text alone."""
    tokens = list(prompt)
    for _ in range(new):
        tokens.append(token_after(tokens))
    return tokens[len(prompt) :]


@dataclass
class Drive:
    blocks: Any
    scheduler: Any
    memory: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)  # request → prompt, number of new ones, made
    plans: list = field(default_factory=list)

    def add(self, prompt, new=1, salt=None):
        request = self.scheduler.add(prompt, len(prompt) + new - 1, tenant_key(salt))
        self.texts[request] = list(prompt), new, []
        return request

    def slot(self, table, position):
        return table.blocks[position // self.blocks.size], position % self.blocks.size

    def plan(self):
        """Schedule, and compute."""
        plan = self.scheduler.schedule()
        self.plans.append(plan)
        for old, new in plan.copies:
            for offset in range(self.blocks.size):
                self.memory[new, offset] = self.memory.get((old, offset))
        for piece in plan.pieces:
            table = piece.request.table
            assert piece.request in self.scheduler.running, "who was sent back still runs"
            assert len(piece.tokens) == piece.count > 0, "it reads tokens that it has not"
            for position in range(piece.start, piece.start + piece.count):
                block, offset = self.slot(table, position)
                assert self.blocks.references[block] == 1, "written while shared"
                self.memory[block, offset] = (table.key, *table.tokens[: position + 1])
        for piece in plan.pieces:
            table = piece.request.table
            for position in range(piece.start + piece.count):
                own = (table.key, *table.tokens[: position + 1])
                assert self.memory[self.slot(table, position)] == own, "it reads another's keys"
        return plan

    def update(self, plan):
        for piece in plan.pieces:
            _, new, made = self.texts[piece.request]
            token = token_after(piece.request.table.tokens) if piece.last else None
            if token is not None and piece.request in self.scheduler.running:
                made.append(token)
            self.scheduler.update(piece, token, ended=len(made) == new)

    def step(self):
        plan = self.plan()
        self.update(plan)
        return plan

    def run(self, most_steps=1000):
        """Until all have ended; each as it would have been alone."""
        for _ in range(most_steps):
            if not self.scheduler.waiting and not self.scheduler.running:
                break
            plan = self.step()
            assert plan.pieces, "somebody waits, and nothing is done"
        for request, (prompt, new, made) in self.texts.items():
            assert made == continued(prompt, new), f"text {request.number} is another one"
        assert len(self.blocks.free) == self.blocks.count, "blocks were lost"
        assert not any(self.blocks.references), "blocks were lost"
