"""Costs of attention: what is counted exactly, and what must hold of any clock."""

import time

import pytest
import torch
from torch.nn import functional as F

from decodeloop.course import attention_costs as costs
from decodeloop.model import attention

CPU = torch.device("cpu")
LENGTHS = [16, 32, 64]


def fused(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def test_each_way_has_a_time_and_a_peak_for_each_length():
    found = costs.attention_costs({"plain": attention, "fused": fused}, LENGTHS, 3, 8, CPU)
    assert list(found.seconds) == list(found.peak_bytes) == ["plain", "fused"]
    assert all(len(values) == 3 and min(values) > 0 for values in found.seconds.values())
    assert found.table_bytes == [4 * 3 * T * T for T in LENGTHS]


def test_what_is_held_is_counted_to_the_byte():
    def copies_the_scores(q, k, v, mask):
        return (q @ k.mT).exp()

    found = costs.attention_costs({"two tables": copies_the_scores}, LENGTHS, 3, 8, CPU)
    assert found.peak_bytes["two tables"] == [2 * table for table in found.table_bytes]


def test_times_belong_to_their_way_and_length(monkeypatch):
    called = []

    def timed(calls, repeats=5, device=None):
        called.extend((call.func, call.args[0].shape[2]) for call in calls)
        return [0.1 * number for number in range(len(calls))]

    monkeypatch.setattr(costs, "median_seconds", timed)
    found = costs.attention_costs({"plain": attention, "fused": fused}, [8, 16], 1, 4, CPU)
    assert called[-4:] == [(attention, 8), (attention, 16), (fused, 8), (fused, 16)]
    assert found.seconds == {"plain": pytest.approx([0.0, 0.1]), "fused": pytest.approx([0.2, 0.3])}


def test_nobody_waits_for_a_loop_in_python(monkeypatch, capsys):
    def slow(q, k, v, mask):
        time.sleep(0.02)
        assert q.shape[2] == 8, "not to be measured"

    monkeypatch.setattr(costs, "PATIENCE", 0.01)
    found = costs.attention_costs({"yours": slow}, [8, 16], 1, 4, CPU)
    assert capsys.readouterr().out.startswith("yours: too slow to be measured")
    assert len(found.seconds["yours"]) == 2


def test_the_inputs_are_the_same_each_time_and_causal():
    one, other = costs.causal_inputs(8, 2, 4), costs.causal_inputs(8, 2, 4)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert one[0].shape == (1, 2, 8, 4)
    assert one[3].sum() == 36
