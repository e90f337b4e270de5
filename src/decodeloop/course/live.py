"""A server beside a notebook, and the question of lesson 24: some leave, and somebody comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from decodeloop.errors import UserError
from decodeloop.loading import LanguageModel
from decodeloop.measure import tokens_from
from decodeloop.serve import Engine
from decodeloop.serve.client import Endpoint

if TYPE_CHECKING:
    from decodeloop.serve.running import LiveServer

EVERY = 0.004  # seconds between two looks at the engine


def live_server(
    llm: LanguageModel, *, most: int = 8, most_waiting: int = 64, blocks: int = 256
) -> LiveServer:
    """A server of a model, on a free port of this machine, in threads of this process. It begins
    with its `with`, and is over when that is left, also by an error.

    Args:
        most: how many texts are computed at a time.
        most_waiting: how many may wait besides.
        blocks: of the cache, with 16 positions each.

    Raises:
        UserError: what it is made of is not installed.
    """
    try:
        from decodeloop.serve.asking import Speaker
        from decodeloop.serve.running import LiveServer
    except ImportError as error:
        raise UserError(
            f"a server needs {error.name}, which is not installed: run '%pip install starlette "
            f"uvicorn pydantic prometheus-client' in a cell, then restart the kernel."
        ) from None
    engine = Engine(llm.model, blocks=blocks, most=most)
    return LiveServer(Speaker(llm.name, llm), engine, most_waiting=most_waiting)


@dataclass(frozen=True)
class HungUp:
    """What came of it, in seconds since all readers had left: when the newcomer had its first
    token, and how many texts the engine was computing at each look at it."""

    first_token: float
    looks: list[tuple[float, int]]
    itl: float  # of the readers, before they left
    left: int  # tokens that each of them had still coming


def newcomer_after_hang_ups(
    server: LiveServer, prompts: Sequence[str], newcomer: str, tokens: int, read: int = 6
) -> HungUp:
    """Let readers ask for so many tokens each, read a few and leave; then somebody asks for one.

    Args:
        prompts: one for each reader; as many as the server computes at a time.
        read: tokens that each reads.
    """
    endpoint, name = Endpoint(server.url), server.model
    asked: dict[str, Any] = {"model": name, "temperature": 0, "ignore_eos": True}

    def ask(prompt: str, count: int) -> Any:
        body = {**asked, "prompt": prompt, "max_tokens": count}
        return tokens_from(endpoint.stream("/completions", body))

    streams = [ask(prompt, tokens) for prompt in prompts]
    for stream in streams:
        next(stream)  # all are being computed
    begun = time.perf_counter()
    for _ in islice(streams[-1], read):
        pass
    itl = (time.perf_counter() - begun) / read
    for stream in streams:
        stream.close()
    left = time.perf_counter()
    came: list[float] = []

    def ask_for_one() -> None:
        for _ in ask(newcomer, 1):
            came.append(time.perf_counter() - left)

    thread = threading.Thread(target=ask_for_one, daemon=True)
    thread.start()
    looks = []
    while thread.is_alive():
        running = len(server.service.engine.scheduler.running)
        looks.append((time.perf_counter() - left, running))
        time.sleep(EVERY)
    if not came:
        raise UserError("the newcomer got no answer: look at the server's log.")
    return HungUp(came[0], looks, itl, tokens - read - 1)


__all__ = ["HungUp", "live_server", "newcomer_after_hang_ups"]
