"""The web application: what OpenAI's clients ask, answered by a service. No model is touched here.

`/v1/models`, `/v1/completions`, `/v1/chat/completions`, `/health` and `/metrics`. Built in
lesson 24.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from decodeloop.decode import Sequence as Text
from decodeloop.errors import UserError
from decodeloop.serve.admission import Refused
from decodeloop.serve.answer import Piece
from decodeloop.serve.asking import Speaker, forecasts_of
from decodeloop.serve.bodies import GONE, read_body
from decodeloop.serve.complaints import read_json
from decodeloop.serve.door import as_json, guarded
from decodeloop.serve.events import END, event, on_disconnect
from decodeloop.serve.metrics import CONTENT_TYPE, Metrics
from decodeloop.serve.protocol import ChatRequest, CompletionRequest, StreamOptions, parse
from decodeloop.serve.replies import Reply, encoded, error_body
from decodeloop.serve.service import Service
from decodeloop.serve.streaming import Stream, collected, until_gone

RETRY = {429: "1", 503: "5"}  # seconds


class Endpoints:
    """What each path answers."""

    def __init__(self, service: Service, speaker: Speaker, metrics: Metrics) -> None:
        self.service, self.speaker, self.metrics = service, speaker, metrics

    async def models(self, http: Request) -> Response:
        return as_json({"object": "list", "data": [self._model()]})

    async def model(self, http: Request) -> Response:
        self._check_model(http.path_params["name"])
        return as_json(self._model())

    def _model(self) -> dict[str, Any]:
        return {
            "id": self.speaker.name,
            "object": "model",
            "created": 0,
            "owned_by": "decodeloop",
            "max_model_len": self.service.longest,
        }

    async def health(self, http: Request) -> Response:
        state = self.service.state
        return as_json({"status": state}, 200 if state == "ok" else 503)

    async def tell_metrics(self, http: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def completions(self, http: Request) -> Response:
        return await self._answer(http, CompletionRequest)

    async def chat(self, http: Request) -> Response:
        return await self._answer(http, ChatRequest)

    def _check_model(self, name: str) -> None:
        if name != self.speaker.name:
            raise Refused(
                404,
                f"there is no model {name!r:.80} here: expected {self.speaker.name!r}.",
                "model",
                "model_not_found",
            )

    async def _answer(self, http: Request, kind: type) -> Response:
        request = parse(kind, read_json(await read_body(http)))
        self._check_model(request.model)
        # a tokenizer takes its time with a long text, and the others are being answered meanwhile
        texts = await asyncio.to_thread(self.speaker.texts, request, self.service.longest)
        prompt_tokens = sum(text.prompt.shape[1] for text in texts[:: request.n])
        reply = Reply(
            kind is ChatRequest,
            self.speaker.name,
            prompt_tokens,
            self.speaker.llm.tokenizer,
            forecasts_of(request),
        )
        pieces = self._pieces(texts)
        if request.stream:
            options = request.stream_options or StreamOptions()
            left = functools.partial(self.metrics.requested, GONE)
            return Stream(self._events(pieces, reply, options), left)
        whole = await until_gone(http.receive, collected(pieces))
        if whole is None:
            return Response(status_code=GONE)
        for piece in whole:
            if piece.error is not None:
                raise Refused(500, sentence(piece.error)) from piece.error
        return as_json(reply.whole(whole))

    def _pieces(self, texts: list[Text]) -> AsyncIterator[Piece]:
        """Ask for texts, and give what comes; who stops reading aborts them."""
        loop, inbox = asyncio.get_running_loop(), asyncio.Queue[list[Piece]]()

        def deliver(came: list[Piece]) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended, nobody reads it
                loop.call_soon_threadsafe(inbox.put_nowait, came)

        answer = self.service.ask(texts, deliver)

        async def pieces() -> AsyncIterator[Piece]:
            left = len(texts)
            while left:
                for piece in await inbox.get():
                    left -= piece.ended
                    yield piece

        numbers = range(len(texts))
        return on_disconnect(pieces(), numbers, lambda n: self.service.abort(answer, n))

    async def _events(
        self, pieces: AsyncIterator[Piece], reply: Reply, options: StreamOptions
    ) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                if piece.error is not None:
                    yield event(encoded(error_body(500, sentence(piece.error))))
                    return
                if (said := reply.chunk(piece)) is not None:
                    usage = {"usage": reply.usage} if options.continuous_usage_stats else {}
                    yield event(encoded(said | usage))
            if options.include_usage:
                yield event(encoded(reply.usage_chunk()))
            yield event(END)


def sentence(error: Exception) -> str:
    """What a client is told of an error: nothing that is not meant for it."""
    return str(error) if isinstance(error, UserError) else "the answer failed: ask again."


def app(
    service: Service, speaker: Speaker, metrics: Metrics, api_key: str | None = None
) -> ASGIApp:
    """The application; with a key, nobody is answered who has not got it."""
    own = Endpoints(service, speaker, metrics)

    async def refused(http: Request, error: Exception) -> Response:
        status = getattr(error, "status", 400 if isinstance(error, UserError) else 500)
        param, code = getattr(error, "param", None), getattr(error, "code", None)
        headers = {"retry-after": RETRY[status]} if status in RETRY else None
        return as_json(error_body(status, sentence(error), param, code), status, headers)

    async def unrouted(http: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{http.method} {http.url.path!r:.80} is not served here: see /v1/models."
        return as_json(
            error_body(error.status_code, message), error.status_code, dict(error.headers or {})
        )

    routes = [
        Route("/v1/models", own.models),
        Route("/v1/models/{name:path}", own.model),
        Route("/v1/completions", own.completions, methods=["POST"]),
        Route("/v1/chat/completions", own.chat, methods=["POST"]),
        Route("/health", own.health),
        Route("/metrics", own.tell_metrics),
    ]
    handlers: Any = {HTTPException: unrouted, UserError: refused, Exception: refused}
    return guarded(Starlette(routes=routes, exception_handlers=handlers), metrics, api_key)
