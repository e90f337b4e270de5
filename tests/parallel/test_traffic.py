"""The arithmetic of being split."""

from __future__ import annotations

import pytest
import torch

from conftest import random_decoder
from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M, TINY
from decodeloop.parallel import (
    Link,
    Traffic,
    Wire,
    all_reduce_bytes,
    all_reduces,
    break_even_latency,
    ring_all_reduce,
    shard_decoder,
    split_seconds,
)


@pytest.mark.parametrize(("tokens", "ranks"), [(1, 2), (5, 2), (3, 1)])
def test_the_formula_says_what_rings_under_a_real_decoder_send(tokens, ranks):
    """One rank runs, and its ring is played with as many copies of what it adds up."""
    wire, calls = Wire(), []

    def all_reduce(term):
        calls.append(term.numel())
        ring_all_reduce([term.flatten()] * ranks, wire.send)
        return term

    shard_decoder(random_decoder(TINY), 0, ranks, all_reduce)(torch.arange(tokens)[None])
    assert len(calls) == all_reduces(TINY)
    assert wire.bytes == all_reduce_bytes(TINY, tokens, ranks)


def test_half_the_bytes_a_number_are_half_the_bytes():
    whole = all_reduce_bytes(SMOLLM2_135M, 7, 3)
    assert 2 * all_reduce_bytes(SMOLLM2_135M, 7, 3, bytes_per_number=2) == whole
    assert all_reduce_bytes(SMOLLM2_135M, 0, 3) == 0


def test_at_the_break_even_latency_a_step_takes_as_long_as_on_one():
    latency = break_even_latency(0.02, SMOLLM2_135M, 3)
    for factor, order in ((0.9, -1), (1.0, 0), (1.1, 1)):
        link = Link("a thought", factor * latency, 1e30)
        seconds = split_seconds(0.02, link, SMOLLM2_135M, 1, 3)
        assert (seconds > 0.02 + 1e-12) - (seconds < 0.02 - 1e-12) == order
    assert split_seconds(0.02, Link("slow", 9.0, 1.0), SMOLLM2_135M, 1, 1) == 0.02
    assert break_even_latency(0.02, SMOLLM2_135M, 1) == 0


def test_bytes_cost_what_a_rank_sends_over_the_bandwidth():
    link = Link("a wire", 0.0, 1e6)
    each = all_reduce_bytes(SMOLLM2_135M, 100, 3) / 3
    assert link.seconds(SMOLLM2_135M, 100, 3) == pytest.approx(each / 1e6)


def test_senseless_numbers_are_refused():
    for bad in ((-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(UserError, match="expected a positive number"):
            Link("it", *bad)
    with pytest.raises(UserError, match="ranks"):
        all_reduce_bytes(TINY, 1, 0)


def test_traffic_adds_up_and_is_taken_apart():
    one, two = Traffic(2, 10, 0.5), Traffic(3, 5, 0.25)
    assert one + two == Traffic(5, 15, 0.75)
    assert one + two - two == one
