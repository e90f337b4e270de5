"""What a rank has of the others: how to add up with them, and to send to them. By gloo, over TCP
between processes of this machine.

They find each other by a file, so that no port has to be free. PyTorch's gloo backend:
https://docs.pytorch.org/docs/stable/distributed.html. Built in lesson 17.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch import Tensor

from decodeloop.parallel.traffic import Traffic

PATIENCE_S = 120.0  # how long a rank waits for the others within one message


class LostPeer(RuntimeError):
    """Another rank is gone, or does not answer."""


class Group:
    """A rank among `size`, once all of them have joined.

    Args:
        meeting: a file in a folder of this run alone; it is there before anybody joins, or made.
    """

    def __init__(self, meeting: Path, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.traffic = Traffic()
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())
        store = dist.FileStore(str(meeting), size)
        patience = timedelta(seconds=PATIENCE_S)
        try:
            dist.init_process_group(
                "gloo", store=store, rank=rank, world_size=size, timeout=patience
            )
        except RuntimeError as error:
            raise LostPeer(str(error)) from None

    def all_reduce(self, term: Tensor) -> Tensor:
        """The sum of what all ranks give, on each of them, in the memory of `term`; counted."""
        clock = time.perf_counter()
        with peers_named_as_such():
            dist.all_reduce(term)
        size = term.numel() * term.element_size()
        self.traffic += Traffic(1, size, time.perf_counter() - clock)
        return term

    def send(self, tensor: Tensor, to: int) -> None:
        """Give a tensor to another rank, which must be waiting for one of this shape."""
        with peers_named_as_such():
            dist.send(tensor, to)

    def receive(self, into: Tensor, source: int) -> Tensor:
        """What another rank sends; it must be of this shape and type."""
        with peers_named_as_such():
            dist.recv(into, source)
        return into


@contextlib.contextmanager
def peers_named_as_such() -> Iterator[None]:
    """What gloo raises means that another rank is gone, or stands elsewhere in the program."""
    try:
        yield
    except RuntimeError as error:
        raise LostPeer(str(error)) from None


def loopback() -> str:
    """The name of the interface through which a machine talks to itself: a machine's own name may
    lead nowhere, or outside."""
    try:
        names = [name for _, name in socket.if_nameindex()]
    except OSError:
        names = []
    return next((name for name in names if name in ("lo", "lo0")), "lo")
