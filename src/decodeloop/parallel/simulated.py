"""Ranks as threads of one process: the same program as over real processes, within a cell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from decodeloop.errors import UserError
from decodeloop.parallel.sharding import AllReduce

ENDED = object()


def on_threads(program: Callable[[int, AllReduce], Any], ranks: int) -> list[Any]:
    """Run `program(rank, all_reduce)` for each rank at once, and give what each returns.

    >>> on_threads(lambda rank, all_reduce: float(all_reduce(torch.tensor(rank + 1.0))), 3)
    [6.0, 6.0, 6.0]

    Raises:
        UserError: a rank has ended while others wait for it; or what a rank raised.
    """
    barrier = threading.Barrier(ranks)
    shown: list[Any] = [None] * ranks

    def exchange(rank: int, item: Any) -> list[Any]:
        """What every rank shows in this round."""
        shown[rank] = item
        barrier.wait()
        items = list(shown)
        barrier.wait()  # nobody shows something new before all have read
        return items

    def run(rank: int) -> Any:
        def all_reduce(term: Tensor) -> Tensor:
            terms = exchange(rank, term)
            if gone := [other for other, item in enumerate(terms) if item is ENDED]:
                raise UserError(
                    f"rank {gone[0]} has ended, and others wait for it in all_reduce: every rank "
                    f"must call it equally often."
                )
            return torch.stack(terms).sum(0)

        try:
            with torch.inference_mode():  # each thread has its own
                result = program(rank, all_reduce)
                exchange(rank, ENDED)
            return result
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(ranks) as pool:
        futures = [pool.submit(run, rank) for rank in range(ranks)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    causes = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise (causes or errors)[0]
    return [future.result() for future in futures]
