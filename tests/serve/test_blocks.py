from __future__ import annotations

import pytest

from decodeloop.errors import UserError
from decodeloop.serve.blocks import ROOT, blocks_needed, match_prefix, tenant_key


def test_every_position_has_a_block_and_no_block_is_empty(kit):
    for size in range(1, 6):
        for positions in range(20):
            expected = len({position // size for position in range(positions)})
            assert kit.block_parts.blocks_needed(positions, size) == expected
    assert blocks_needed(0, 3) == 0


def test_a_hash_is_no_accident(kit):
    """Python's `hash` of an int is its remainder by 2⁶¹ - 1; and anybody can compute it."""
    block_hash = kit.block_parts.block_hash
    assert hash(2**61 - 1) == hash(0)
    assert block_hash(ROOT, [2**61 - 1], b"") != block_hash(ROOT, [0], b"")
    assert block_hash(ROOT, [1, 23], b"") != block_hash(ROOT, [12, 3], b"")
    # 31 · 5 + 40 = 31 · 6 + 9
    assert block_hash(ROOT, [5, 40], b"") != block_hash(ROOT, [6, 9], b"")
    assert len(block_hash(ROOT, [0], b"")) >= 16


def test_a_hash_depends_on_tokens_parent_and_tenant(kit):
    block_hash = kit.block_parts.block_hash
    parent = block_hash(ROOT, [1, 2], b"")
    hashes = [
        block_hash(ROOT, [3, 4], b""),
        block_hash(parent, [3, 4], b""),
        block_hash(ROOT, [4, 3], b""),
        block_hash(ROOT, [3, 4], tenant_key("one")),
        block_hash(ROOT, [3, 4], tenant_key("two")),
    ]
    assert len({*hashes}) == 5
    assert block_hash(ROOT, [3, 4], b"") == hashes[0]


def test_a_match_ends_at_the_first_block_that_is_not_known():
    def name(parent, tokens, key):
        return (*parent, *tokens) if parent != ROOT else (*tokens,)

    known = {(1, 2): 7, (1, 2, 3, 4): 5, (1, 2, 3, 4, 5, 6, 7, 8): 6}
    text = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert match_prefix(text, 2, known, block_hash=name) == [7, 5]


@pytest.mark.parametrize("salt", [3, 1.5, ["a"], True])
def test_a_salt_is_text_or_bytes(salt):
    with pytest.raises(UserError, match=rf"the salt is .*, of type {type(salt).__name__}: expec"):
        tenant_key(salt)


def test_a_salt_may_be_of_any_length():
    keys = [tenant_key(salt) for salt in (None, "", "a", "a" * 65, "\ud800", b"\x00")]
    assert len({*keys}) == 6
    assert max(map(len, keys)) <= 64
