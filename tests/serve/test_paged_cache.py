"""A cache over blocks is a cache like any other, and its rows share what they have in common."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.decode import (
    ScriptedDraft,
    Speculation,
    beam_search,
    generate,
    generate_batch,
)
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Parts
from decodeloop.serve import PagedKVCache


def small_blocks(*arguments, **options):
    cache = PagedKVCache(*arguments, size=3, **options)
    cache.memory.keys.fill_(torch.nan)
    cache.memory.values.fill_(torch.nan)
    return cache


@pytest.fixture(scope="module")
def paged(decoder):
    return decoder.with_parts(Parts(cache=small_blocks))


def check(cache):
    users = [sum(block in row.blocks for row in cache.rows) for block in range(cache.blocks.count)]
    assert users == cache.blocks.references


@given(st.integers(0, 10**6))
def test_any_operations_leave_what_a_contiguous_cache_holds(decoder, paged, seed):
    draw = random.Random(seed)
    B = draw.randrange(1, 4)
    plain, blocks = decoder.new_cache(B, 30), paged.new_cache(B, 30)
    for _ in range(8):
        match draw.choice(["read", "read", "read", "truncate", "select"]):
            case "read":
                T = draw.choice([1, 1, 4])
                if plain.length + T > 30:
                    continue
                ids = torch.randint(0, 97, (plain.batch, T))
                torch.testing.assert_close(paged(ids, blocks), decoder(ids, plain))
            case "truncate":
                n = draw.randrange(plain.length + 1)
                plain.truncate(n)
                blocks.truncate(n)
            case "select":
                rows = [draw.randrange(plain.batch) for _ in range(draw.randrange(1, 5))]
                plain.select(rows)
                blocks.select(rows)
        assert (blocks.length, blocks.batch) == (plain.length, plain.batch)
        check(blocks)


def test_generate_through_it(decoder, paged):
    prompt = torch.tensor([[5, 7, 9, 11]])
    assert list(generate(paged, prompt, 20)) == list(generate(decoder, prompt, 20))


def test_left_padded_rows_with_their_mask(decoder, paged):
    batch = [[1, 2, 3], [7], [11, 12, 13, 14, 15, 16, 17]]
    assert generate_batch(paged, batch, 9) == generate_batch(decoder, batch, 9)


@pytest.mark.parametrize("beams", [2, 5])
def test_beams_through_it(decoder, paged, beams):
    prompt = torch.tensor([[5, 7, 9, 11]])
    expected = beam_search(decoder, prompt, 12, beams)
    found = beam_search(paged, prompt, 12, beams)
    assert found.tokens == expected.tokens
    assert found.score == pytest.approx(expected.score, abs=1e-5)


def test_several_answers_hold_their_prompt_once(decoder):
    cache = PagedKVCache(decoder.config, 1, 64, size=4)
    decoder(torch.randint(0, 97, (1, 41)), cache)  # ten blocks, and one position
    cache.select([0] * 5)
    assert cache.blocks.count - len(cache.blocks.free) == 11
    decoder(torch.randint(0, 97, (5, 1)), cache)
    assert cache.blocks.count - len(cache.blocks.free) == 10 + 5
    check(cache)


def test_a_forward_that_failed_is_done_again(decoder, paged):
    ids = torch.tensor([[5, 7, 9]])
    cache = paged.new_cache(1, 20)
    paged(ids, cache)
    cache.select([0, 0])
    q, k = torch.randn(2, 6, 2, 10), torch.randn(2, 3, 2, 10)
    cache.attend(0, q, k, k)  # and then nothing more
    got = paged(torch.tensor([[1], [2]]), cache)
    plain = decoder.new_cache(2, 20)
    decoder(ids.expand(2, 3), plain)
    torch.testing.assert_close(got, decoder(torch.tensor([[1], [2]]), plain))


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda c, d: c.truncate(4), UserError, r"truncate\(4\): expected 0 to 3"),
        (lambda c, d: c.select([]), ShapeError, r"select: rows of shape \(0,\)"),
        (lambda c, d: c.select([1]), UserError, r"the cache has rows 0 to 0"),
        (lambda c, d: c.advance(1), UserError, r"advance once for each forward"),
        (lambda c, d: d(torch.ones(1, 5, dtype=int), c), UserError, r"room for 7 .*: 3 are used"),
        (lambda c, d: d(torch.ones(2, 1, dtype=int), c), UserError, r"1 rows and was given 2"),
        (lambda c, d: PagedKVCache(d.config, 0, 5), UserError, r"batch is 0"),
    ],
)
def test_bad_input(decoder, paged, action, error, message):
    cache = paged.new_cache(1, 7)
    paged(torch.tensor([[5, 7, 9]]), cache)
    with pytest.raises(error, match=message):
        action(cache, decoder)
    assert cache.length == 3
    paged(torch.tensor([[5]]), cache)


def test_guesses_that_did_not_stay_leave_the_blocks_of_those_that_did(decoder, paged):
    """Every third guess is wrong, wherever a block ends."""
    prompt = torch.tensor([[5, 7, 9, 11]])
    expected = list(generate(decoder, prompt, 20))
    full = [5, 7, 9, 11, *expected]

    def propose(tokens, most):
        places = range(len(tokens), min(len(tokens) + most, len(full)))
        return [(full[place] + (place % 3 == 2)) % 97 for place in places]

    for k in (1, 3, 7):
        cache = paged.new_cache(1, 23)
        speculation = Speculation(ScriptedDraft(propose), k)
        assert list(generate(paged, prompt, 20, cache=cache, speculation=speculation)) == expected
        assert cache.length == 23
        assert 0 < speculation.stats.accepted < speculation.stats.proposed
        check(cache)
