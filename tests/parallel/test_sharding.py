"""A part of each matrix on each rank, and together what the whole one computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from conftest import random_decoder
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import SMOLLM2_135M, TINY, Experts
from decodeloop.parallel import (
    local_heads,
    on_threads,
    possible_ranks,
    shard_config,
    shard_decoder,
    split_columns,
    split_rows,
)
from decodeloop.parallel.sharding import CUT, share

MIXED = replace(TINY, experts=Experts(number=5, active=2))
THREE = replace(TINY, heads=9, kv_heads=3, feed_forward=75, vocabulary=98, tied=False)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_rows_and_columns_put_together_are_the_matrix_and_compute_its_product(
    ranks, rows, columns, seed
):
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn(rows * ranks, columns, generator=generator)
    down = torch.randn(columns, rows * ranks, generator=generator)
    x = torch.randn(3, columns, generator=generator)
    ups = [split_rows(up, rank, ranks) for rank in range(ranks)]
    downs = [split_columns(down, rank, ranks) for rank in range(ranks)]
    assert torch.equal(torch.cat(ups), up)
    assert torch.equal(torch.cat(downs, 1), down)
    terms = [F.linear(F.linear(x, u), d) for u, d in zip(ups, downs, strict=True)]
    torch.testing.assert_close(sum(terms), x @ up.T @ down.T)


@pytest.mark.parametrize("split", [split_rows, split_columns])
def test_a_part_keeps_no_more_in_memory_than_it_is_and_no_part_is_missing(split):
    part = split(torch.randn(6, 12), 1, 3)
    assert part.untyped_storage().nbytes() == 4 * 6 * 12 / 3
    assert part.is_contiguous()
    with pytest.raises(ShapeError, match="5 equal parts"):
        split(torch.randn(6, 12), 0, 5)
    with pytest.raises(UserError, match="rank 3 of 3: expected 0 to 2"):
        split(torch.randn(6, 12), 3, 3)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_each_rank_has_the_kv_heads_that_its_query_heads_read(ranks, kv_each, group):
    G = ranks * kv_each
    H = G * group
    held = [local_heads(H, G, rank, ranks) for rank in range(ranks)]
    assert [h for queries, _ in held for h in queries] == list(range(H))
    assert [g for _, kv in held for g in kv] == list(range(G))
    for queries, kv in held:
        assert {h // (H // G) for h in queries} == set(kv)


def test_two_ranks_are_refused_with_the_reason_and_what_to_take():
    assert possible_ranks(SMOLLM2_135M) == [1, 3]
    with pytest.raises(UserError, match=r"9 query heads.*3 KV heads.*take 1 or 3\.$"):
        shard_config(SMOLLM2_135M, 2)
    with pytest.raises(UserError, match="9 query heads and 3 KV heads can't be split over 2 ranks"):
        local_heads(9, 3, 0, 2)
    for ranks in (0, -3, 9):
        with pytest.raises(UserError, match="take 1 or 3"):
            shard_config(SMOLLM2_135M, ranks)


def test_where_they_do_not_divide_the_parts_still_cover_everything():
    for size, ranks in ((97, 2), (1, 3), (10, 4)):
        spans = [share(size, rank, ranks) for rank in range(ranks)]
        assert [i for span in spans for i in range(span.start, span.stop)] == list(range(size))


@pytest.mark.parametrize(("config", "ranks"), [(TINY, 2), (THREE, 3), (TINY, 1), (MIXED, 2)])
def test_the_ranks_together_compute_what_the_whole_decoder_does(config, ranks):
    whole = random_decoder(config)
    ids = torch.arange(12).view(2, 6) % 97

    def program(rank, all_reduce):
        part = shard_decoder(whole, rank, ranks, all_reduce)
        cache = part.new_cache(2, 8)
        once = part(ids)
        stepwise = [part(ids[:, :4], cache), part(ids[:, 4:5], cache), part(ids[:, 5:], cache)]
        held = sum(p.numel() for p in part.layers.parameters())
        return once, torch.cat(stepwise, 1), cache.keys.shape, held

    for kind in (0, 1):
        logits = torch.cat([got[kind] for got in on_threads(program, ranks)], -1)
        torch.testing.assert_close(logits, whole(ids))
    _, _, shape, held = on_threads(program, ranks)[0]
    assert shape[2] == config.kv_heads // ranks
    rows = 2 if config.experts is None else 2 + config.experts.number  # of norms and routers
    kept = rows * config.width * config.layers
    assert held == (sum(p.numel() for p in whole.layers.parameters()) - kept) / ranks + kept


def test_every_matrix_of_a_layer_is_cut_and_no_norm():
    layer = random_decoder(TINY).layers[0]
    matrices = {name.removesuffix(".weight") for name, p in layer.named_parameters() if p.ndim == 2}
    assert set(CUT) == matrices


def test_sharding_leaves_the_whole_decoder_as_it_was():
    whole = random_decoder(TINY)
    before = whole(torch.tensor([[1, 2, 3]]))
    shard_decoder(whole, 0, 2, lambda term: term)
    assert torch.equal(whole(torch.tensor([[1, 2, 3]])), before)
    assert whole.output.weight is whole.embedding.weight
