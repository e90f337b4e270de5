"""The door of a server: who is let in, and what is counted there."""

from __future__ import annotations

import hmac
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from decodeloop.serve.bodies import JSON
from decodeloop.serve.metrics import Metrics
from decodeloop.serve.replies import encoded, error_body


def as_json(told: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encoded(told), status, headers, JSON)


def guarded(inner: ASGIApp, metrics: Metrics, api_key: str | None) -> ASGIApp:
    """Count what is answered, and let nobody in without the key, compared in constant time."""
    wanted = None if api_key is None else f"Bearer {api_key}".encode()

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                metrics.requested(message["status"])
            await send(message)

        headers = dict(scope.get("headers", ()))
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # two lengths: what stands before us may have seen another end, and another request
            message = "the request has two lengths: send content-length or transfer-encoding."
            reply = as_json(error_body(400, message), 400, {"connection": "close"})
            await reply(scope, receive, counting)
            return
        if scope["type"] == "http" and wanted is not None:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, wanted):
                message = "the key is missing or wrong: send 'Authorization: Bearer KEY'."
                reply = as_json(error_body(401, message, None, "invalid_api_key"), 401)
                await reply(scope, receive, counting)
                return
        await inner(scope, receive, counting)

    return outer
