"""Any order of operations keeps what must always hold; then each thing that was once done wrong."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.serve.block_manager import NoRoom
from decodeloop.serve.blocks import Table, tenant_key

# BLOCK_TRIALS=10000x100 for a long run
EXAMPLES, STEPS = map(int, os.environ.get("BLOCK_TRIALS", "400x40").split("x"))


class Trial:
    """A pool and the texts in it. `memory` plays the tensors: each slot holds the tokens up to it,
    which is what a key and a value are made of."""

    def __init__(self, kit, count, size):
        self.blocks, self.size, self.count = kit.manager(count, size), size, count
        self.texts: list[Table] = []
        self.memory = {}

    def state(self):
        b = self.blocks
        return [*b.references], [*b.free], {**b.block_of}, {**b.hash_of}

    def write(self, table, count):
        for position in range(table.stored, table.stored + count):
            block = table.blocks[position // self.size]
            assert self.blocks.references[block] == 1, "written while shared"
            self.memory[block, position % self.size] = (table.key, *table.tokens[: position + 1])
        self.blocks.complete(table, count)

    def chosen(self, i):
        return self.texts[i % len(self.texts)]

    def admit(self, i, n, number):
        """A new text of two kinds of tokens, so that many begin alike; it reads its first chunk."""
        tokens = [number >> bit & 1 for bit in range(n)]
        table, before = Table(tokens, tenant_key("abc"[i % 3])), self.state()
        found = self.blocks.match(table)
        try:
            cached = self.blocks.admit(table, found)
        except NoRoom:
            assert self.state() == before, "a refused text changed something"
            assert not table.blocks
            assert table.stored == 0
            return
        assert cached == table.stored < n, "nothing is left to read"
        self.texts.append(table)
        self.write(table, min(1 + i % 14, table.left))

    def grow(self, i, n, number):
        """It reads what it has left, or the next token."""
        table, before = self.chosen(i), self.state()
        count = min(n, table.left) or 1
        if not table.left:
            table.tokens.append(number & 1)
        try:
            copies = self.blocks.grow(table, count)
        except NoRoom:
            assert self.state() == before, "a text that found no room changed something"
            return
        for old, new in copies:
            for offset in range(self.size):
                self.memory[new, offset] = self.memory.get((old, offset))
        self.write(table, count)

    def fork(self, i, n, number):
        self.texts.append(self.blocks.fork(self.chosen(i)))

    def truncate(self, i, n, number):
        table = self.chosen(i)
        n = min(n - 1, table.stored)
        self.blocks.truncate(table, n)
        del table.tokens[n:]

    def release(self, i, n, number):
        table = self.chosen(i)
        self.texts.remove(table)
        self.blocks.release(table)

    def check(self):
        manager = self.blocks
        users = Counter(block for table in self.texts for block in table.blocks)
        assert manager.references == [users[b] for b in range(self.count)], "references ≠ users"
        assert set(manager.free) == {b for b in range(self.count) if not users[b]}, "free ≠ unused"
        assert manager.hash_of == {b: h for h, b in manager.block_of.items()}, "not one to one"
        for table in self.texts:
            assert len({*table.blocks}) == len(table.blocks), "a block twice in one table"
            assert len(table.hashes) == table.stored // self.size
            for position in range(table.stored):
                slot = table.blocks[position // self.size], position % self.size
                own = (table.key, *table.tokens[: position + 1])
                assert self.memory[slot] == own, "it holds another text's prefix"
        index = {}
        for table in self.texts:
            for i, block in enumerate(table.blocks):
                assert index.setdefault(block, i) == i, "shared at different places"


operation = st.tuples(
    st.sampled_from(["admit", "admit", "grow", "grow", "grow", "fork", "truncate", "release"]),
    st.integers(0, 99),
    st.integers(1, 14),
    st.integers(0, 2**14 - 1),
)
trials = st.tuples(
    st.integers(2, 12), st.integers(1, 4), st.lists(operation, min_size=STEPS, max_size=STEPS)
)


def run_trial(kit, count, size, operations):
    trial = Trial(kit, count, size)
    for name, *arguments in operations:
        if name == "admit" or trial.texts:
            getattr(trial, name)(*arguments)
            trial.check()
    for table in trial.texts:
        trial.blocks.release(table)
    assert len(trial.blocks.free) == count, "blocks were lost"
    assert not any(trial.blocks.references)


@settings(max_examples=EXAMPLES)
@given(trials)
def test_any_operations_keep_what_must_always_hold(trial):
    from serve_kit import Kit

    run_trial(Kit(), *trial)
