"""What the processes of the tests in `parallel/` run: they import it by name."""

from __future__ import annotations

import time

import torch

from decodeloop.model import TINY, Decoder
from decodeloop.parallel import Rank, shard_decoder


def adding(group, misbehave=None):
    """Answers what the ranks' numbers add up to, or does something bad."""

    def answer(deed, rank, number):
        if rank == group.rank:
            (misbehave or misbehaving)(deed)
        return group.rank, float(group.all_reduce(torch.tensor([number * (group.rank + 1.0)])))

    return answer


def misbehaving(deed):
    match deed:
        case "raise":
            raise ArithmeticError("no sum today")
        case "sleep":
            time.sleep(3600)


def tiny_rank(group):
    """A rank of the tiny random decoder of the tests."""
    torch.manual_seed(0)
    whole = Decoder(TINY).requires_grad_(False).eval()
    return Rank(group, shard_decoder(whole, group.rank, group.size, group.all_reduce))
