"""Any order of operations keeps what must always hold; then each thing that was once done wrong."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_kit import Kit

from decodeloop.errors import UserError
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
    run_trial(Kit(), *trial)


# one thing at a time


def stored(blocks, tokens, key=b""):
    """A text that has read all it has."""
    table = Table(list(tokens), key)
    blocks.admit(table, blocks.match(table))
    blocks.complete(table, table.left)
    return table


def found(blocks, tokens, key=b""):
    return blocks.match(Table(list(tokens), key))


def test_a_beginning_is_found_while_in_use_and_afterwards(kit):
    blocks = kit.manager(8, 2)
    table = stored(blocks, [1, 2, 3, 4, 5])
    assert found(blocks, [1, 2, 3, 4, 9]) == table.blocks[:2]
    kept = [*table.blocks]
    blocks.release(table)
    assert found(blocks, [1, 2, 3, 4, 9]) == kept[:2]
    assert found(blocks, [1, 2, 9, 4, 9]) == kept[:1]
    assert kit.manager(8, 2, share=False).match(Table([1, 2, 3, 4, 9])) == []


def test_a_block_that_is_used_again_is_not_found_by_its_old_hash(kit):
    blocks = kit.manager(2, 2)
    blocks.release(stored(blocks, [1, 2, 3]))
    stored(blocks, [7, 8, 9])
    assert found(blocks, [1, 2, 3]) == []


def test_a_text_that_is_wholly_known_still_reads_its_last_token(kit):
    blocks = kit.manager(8, 2)
    stored(blocks, [1, 2, 3, 4])
    table = Table([1, 2, 3, 4])
    assert blocks.admit(table, blocks.match(table)) == 2
    assert table.left == 2


def test_of_two_that_were_computed_at_once_one_is_found(kit):
    blocks = kit.manager(8, 2)
    twins = [Table([1, 2, 3]), Table([1, 2, 3])]
    for twin in twins:
        blocks.admit(twin, blocks.match(twin))
    for twin in twins:
        blocks.complete(twin, twin.left)
    assert blocks.hash_of == {b: h for h, b in blocks.block_of.items()}
    blocks.release(twins[1])
    stored(blocks, [4] * 11)  # takes all that is free
    assert found(blocks, [1, 2, 3]) == twins[0].blocks[:1]


def test_what_is_not_yet_computed_is_not_found(kit):
    blocks = kit.manager(8, 2)
    table = Table([1, 2, 3, 4, 5])
    blocks.admit(table, [])
    assert found(blocks, [1, 2, 3, 4, 5]) == []
    blocks.complete(table, 3)
    assert found(blocks, [1, 2, 3, 4, 5]) == table.blocks[:1]


def test_free_blocks_that_are_found_count_as_taken(kit):
    blocks = kit.manager(4, 2)
    blocks.release(stored(blocks, [1, 2, 3, 4, 5]))
    stored(blocks, [9])
    table = Table([1, 2, 3, 4, 5, 6, 7])  # two found, two new; three are free
    hit = blocks.match(table)
    assert blocks.price(table, hit) == 4
    with pytest.raises(NoRoom, match=r"4 blocks are needed and 3 of 4 are free"):
        blocks.admit(table, hit)


def test_a_refused_text_has_stored_nothing(kit):
    blocks = kit.manager(2, 2)
    stored(blocks, [1, 2, 3, 4])
    table = Table([1, 2, 3, 4, 5, 6])
    with pytest.raises(NoRoom):
        blocks.admit(table, blocks.match(table))
    assert (table.stored, table.blocks, table.hashes, table.left) == (0, [], [], 6)
    assert blocks.references == [1, 1]


def test_what_is_found_cannot_be_taken_by_others(kit):
    blocks = kit.manager(4, 2)
    blocks.release(stored(blocks, [1, 2, 3, 4, 5]))
    table = stored(blocks, [1, 2, 3, 4, 5])
    assert [blocks.references[b] for b in table.blocks] == [1, 1, 1]
    assert len(blocks.free) == 1
    with pytest.raises(NoRoom):
        stored(blocks, [7, 8, 9])


def test_a_text_is_given_back_once(kit):
    blocks = kit.manager(4, 2)
    table = stored(blocks, [1, 2, 3])
    other = stored(blocks, [1, 2, 4])
    blocks.release(table)
    blocks.release(table)
    assert [blocks.references[b] for b in other.blocks] == [1, 1]
    assert len(blocks.free) == 2


def test_a_text_that_went_back_is_known_by_its_new_tokens(kit):
    blocks = kit.manager(8, 2)
    table = stored(blocks, [1, 2, 3, 4, 5])
    blocks.truncate(table, 1)
    table.tokens[1:] = [7, 8, 9, 6]
    blocks.grow(table, table.left)
    blocks.complete(table, table.left)
    assert found(blocks, [1, 2, 3]) == []
    assert found(blocks, [1, 7, 8, 9, 0]) == table.blocks[:2]


def test_two_that_share_part_when_one_writes(kit):
    blocks = kit.manager(8, 2)
    table = stored(blocks, [1, 2, 3])
    twin = blocks.fork(table)
    assert twin.blocks == table.blocks
    shared = table.blocks[1]
    table.tokens.append(4)
    assert blocks.grow(table, 1) == [(shared, table.blocks[1])]
    assert table.blocks[1] != twin.blocks[1] == shared
    twin.tokens.append(5)
    assert blocks.grow(twin, 1) == []  # it is alone with the block now


def test_a_beginning_outlives_what_followed_it(kit):
    blocks = kit.manager(4, 2)
    blocks.release(stored(blocks, [1, 2, 3, 4, 5, 6, 7]))
    stored(blocks, [8, 9])
    assert len(found(blocks, [1, 2, 3, 4, 5, 6, 7])) == 3
    stored(blocks, [8, 8, 8])
    assert len(found(blocks, [1, 2, 3, 4, 5, 6, 7])) == 1


def test_the_longest_unused_is_forgotten_first(kit):
    blocks = kit.manager(4, 2)
    old, new = stored(blocks, [1, 2, 3]), stored(blocks, [4, 5, 6])
    blocks.release(new)
    blocks.release(old)
    stored(blocks, [7, 8, 9])
    assert not found(blocks, [4, 5, 6])
    assert found(blocks, [1, 2, 3])


def test_tenants_share_nothing_with_each_other(kit):
    blocks = kit.manager(9, 2)
    table = stored(blocks, [1, 2, 3], tenant_key("one"))
    assert found(blocks, [1, 2, 3], tenant_key("two")) == []
    assert found(blocks, [1, 2, 3]) == []
    assert found(blocks, [1, 2, 3], tenant_key(b"one")) == table.blocks[:1]


def test_equal_tokens_after_another_beginning_are_another_block(kit):
    blocks = kit.manager(9, 2)
    stored(blocks, [1, 2, 3, 4, 5])
    assert found(blocks, [3, 4, 3, 4, 5]) == []
    stored(blocks, [7, 8, 3, 4, 5])
    assert len({*blocks.block_of}) == 4


def test_a_longer_pool(kit):
    blocks = kit.manager(1, 2)
    stored(blocks, [1])
    blocks.extend(2)
    assert stored(blocks, [4, 5, 6]).blocks == [1, 2]


@pytest.mark.parametrize(("count", "size"), [(0, 4), (4, 0), (-1, 4), (2.5, 4)])
def test_a_pool_has_blocks_of_a_size(kit, count, size):
    with pytest.raises(UserError, match="expected a whole number from 1 up"):
        kit.manager(count, size)


@pytest.mark.parametrize("n", [-1, 4])
def test_no_text_goes_back_to_where_it_was_not(kit, n):
    blocks = kit.manager(4, 2)
    with pytest.raises(UserError, match=r"expected 0 to 3, what is stored"):
        blocks.truncate(stored(blocks, [1, 2, 3]), n)
