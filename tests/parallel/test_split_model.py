"""A decoder over two real processes does what the same decoder does in one."""

from __future__ import annotations

import gc

import pytest
import torch
from rank_programs import tiny_rank

from decodeloop.decode import beam_search, generate, generate_batch
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.parallel import SplitModel, Workers, all_reduce_bytes, all_reduces


@pytest.fixture(scope="module")
def split():
    with Workers(tiny_rank, 2, threads=1) as workers:
        yield SplitModel(TINY, workers, torch.float32)


PROMPT = torch.tensor([[5, 7, 9, 2, 4]])


def test_identical_tokens_and_the_predicted_sums_to_the_byte(split, tiny_decoder):
    before = split.traffic()
    assert list(generate(split, PROMPT, 12)) == list(generate(tiny_decoder, PROMPT, 12))
    read = 5 + 12 - 1  # the last token is not
    for earlier, now in zip(before, split.traffic(), strict=True):
        traffic = now - earlier
        assert traffic.sums == 12 * all_reduces(TINY)
        assert 2 * (2 - 1) * traffic.bytes == all_reduce_bytes(TINY, read, 2)
        assert traffic.seconds > 0


def test_beams_and_padded_batches_go_over_it_too(split, tiny_decoder):
    for drive in (
        lambda model: beam_search(model, PROMPT, 6, 3),
        lambda model: [c.tokens for c in generate_batch(model, [[5, 7, 9], [2], [3, 3, 3, 3]], 5)],
    ):
        assert drive(split) == drive(tiny_decoder)


def test_a_cache_is_a_cache_and_is_forgotten_with_its_last_owner(split, tiny_decoder):
    cache, own = split.new_cache(1, 8), tiny_decoder.new_cache(1, 8)
    for model, kept in ((split, cache), (tiny_decoder, own)):
        model(PROMPT, kept)
        kept.truncate(2)
        kept.select([0, 0])
    ids = torch.tensor([[8], [9]])
    torch.testing.assert_close(split(ids, cache), tiny_decoder(ids, own))
    assert (cache.length, cache.batch) == (3, 2)
    with pytest.raises(UserError, match="room for 8 positions, of which 3 are used; 6 more"):
        split(ids.expand(2, 6), cache)
    with pytest.raises(UserError, match="2 rows"):
        split(PROMPT[:, :1], cache)
    with pytest.raises(UserError, match=r"truncate\(4\)"):
        cache.truncate(4)
    number = cache.number
    del cache
    gc.collect()
    split(PROMPT)
    with pytest.raises(UserError, match=r"ContiguousKVCache.*new_cache"):
        split(PROMPT, own)
    assert number not in split._forgotten


def test_bad_tokens_are_refused_before_they_reach_a_rank(split):
    for ids in (torch.tensor([[97]]), torch.tensor([1, 2]), torch.tensor([[0.5]])):
        with pytest.raises(UserError):
            split(ids)
    mask = torch.ones(1, 6, 5, 5, dtype=torch.bool)
    with pytest.raises(UserError, match="tells heads apart"):
        split(PROMPT, mask=mask)
    assert list(generate(split, PROMPT, 2))
