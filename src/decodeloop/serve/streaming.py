"""Answers as long as somebody is there: a client that leaves ends what is done for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Result = TypeVar("Result")
Item = TypeVar("Item")


async def until_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What comes of some work; if the client leaves before, it is cancelled, and gives None."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class Stream(Response):
    """Server-sent events, as they come; what they come from is closed when the client leaves, and
    `left` is called."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], left: Callable[[], object]) -> None:
        self.status_code, self.background = 200, None
        self.events, self.left = events, left
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await until_gone(receive, self._send(send)) is None:
            self.left()

    async def _send(self, send: Send) -> bool:
        async with contextlib.aclosing(self.events) as events:  # type: ignore[type-var]
            data = await anext(events, b"")  # first: a generator that never began has no `finally`
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                data = await anext(events, b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True


async def collected(items: AsyncIterator[Item]) -> list[Item]:
    """All of them; what they come from is closed, whatever happens."""
    async with contextlib.aclosing(items):  # type: ignore[type-var]
        return [item async for item in items]
