"""The sum of all, on every rank, for the fewest bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.errors import ShapeError
from decodeloop.parallel import Wire, ring_all_reduce


@given(st.integers(1, 6), st.integers(0, 13), st.integers(0, 99))
def test_every_rank_gets_the_sum_and_every_number_is_sent_as_often_as_the_formula_says(N, n, seed):
    vectors = list(torch.randn(N, n, generator=torch.Generator().manual_seed(seed)))
    before = [v.clone() for v in vectors]
    wire = Wire()
    sums = ring_all_reduce(vectors, wire.send)
    assert len(sums) == N
    for got in sums:
        torch.testing.assert_close(got, torch.stack(before).sum(0))
        assert torch.equal(got, sums[0])  # to the bit, or the ranks would drift apart
    assert all(torch.equal(a, b) for a, b in zip(vectors, before, strict=True))
    assert wire.bytes == 2 * (N - 1) * n * 4
    assert len(wire.messages) == 2 * (N - 1) * N
    assert all(target == (source + 1) % N for source, target, _ in wire.messages)
    assert all(count <= 4 * -(-n // N) for *_, count in wire.messages)


def test_vectors_that_cannot_be_added_are_refused():
    for vectors in ([torch.ones(2), torch.ones(3)], [torch.ones(2, 2)] * 2, []):
        with pytest.raises(ShapeError, match="expected one for each rank"):
            ring_all_reduce(vectors, Wire().send)
