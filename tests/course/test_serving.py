"""Those who read while a long text comes: what of it lesson 14 counts."""

from __future__ import annotations

import torch

from decodeloop.course.serving import Served, serve_readers
from decodeloop.decode import generate


def test_gaps_and_tokens_are_those_of_the_readers_alone():
    run = Served(2.0, [[1.0, 2.0, 5.0, 6.0], [1.0, 2.0, 4.5, 9.0], [5.0, 15.0]], [])
    assert (run.worst_gap, run.ttft, run.meanwhile) == (4.5, 3.0, 2)


def test_a_budget_lets_the_readers_go_on_and_changes_no_text(tiny_decoder):
    readers = [torch.tensor([[1, 2, 3]]), torch.tensor([[4, 5]])]
    newcomer = torch.arange(1, 41)[None]
    whole, small = (serve_readers(tiny_decoder, readers, newcomer, b) for b in (64, 8))
    assert whole.meanwhile == 2 and small.meanwhile > 6
    for a, b in zip(whole.texts, small.texts, strict=True):
        assert a.tokens == b.tokens == list(generate(tiny_decoder, a.prompt, a.budget))
    assert [len(times) for times in small.times] == [11, 11, 3]
