"""A client of any server that speaks OpenAI's protocol, ours or another."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from decodeloop.errors import UserError, one_line
from decodeloop.serve.admission import Refused
from decodeloop.serve.events import END, sse_events

MOST_BYTES = 10_000_000  # of an answer that is no stream


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers: the address of its `/v1`.

    Args:
        url: such as http://127.0.0.1:8000, with or without /v1.
        key: what it wants to see, if it wants one.
        seconds: how long it may say nothing.

    Raises:
        UserError: the address is none.
    """

    url: str
    key: str | None = None
    seconds: float = 120.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
            known = parts.scheme in ("http", "https") and parts.hostname
        except ValueError:
            known = None
        if not known:
            raise UserError(
                f"{self.url!r:.80} is no address of a server: expected one such as "
                f"http://127.0.0.1:8000."
            )

    def models(self) -> list[str]:
        """The names of the models that it has."""
        with self._asked("GET", "/models") as response:
            told = read_object(response.read(MOST_BYTES))
        names = [str(model.get("id")) for model in told.get("data", ()) if isinstance(model, dict)]
        if not names:
            raise UserError(f"{self.url} lists no models: expected a server of OpenAI's protocol.")
        return names

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The events of a streamed answer, as they come. Closing it hangs up.

        Args:
            path: ``/completions`` or ``/chat/completions``.

        Raises:
            Refused: the server refuses, or breaks the answer off with an error.
            UserError: there is no such server, or it goes away.
        """
        with self._asked("POST", path, {**body, "stream": True}) as response:
            for data in sse_events(self._chunks(response)):
                if data == END:
                    return
                told = read_object(data.encode())
                if "error" in told:
                    raise refused(500, told)
                yield told

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while chunk := response.read1(65536):
            yield chunk

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Generator[http.client.HTTPResponse, None, None]:
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        assert parts.hostname is not None
        connection = kind(parts.hostname, parts.port, timeout=self.seconds)
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            base = parts.path.rstrip("/")
            base = base if base.endswith("/v1") else f"{base}/v1"
            sent = None if body is None else json.dumps(body)
            connection.request(method, base + path, sent, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise refused(response.status, response.read(MOST_BYTES))
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"{self.url} does not answer ({one_line(error) or type(error).__name__}): "
                f"start the server, or give its address."
            ) from None
        finally:
            connection.close()


def read_object(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        said = one_line(data[:60].decode("utf-8", "replace"))
        raise UserError(f"the server said {said!r}: expected a JSON object.")
    return told


def refused(status: int, said: bytes | dict[str, Any]) -> Refused:
    """What a server says instead of an answer."""
    try:
        told = said if isinstance(said, dict) else read_object(said)
        message = one_line(told["error"]["message"], 400)
    except (UserError, KeyError, TypeError):
        message = one_line(
            said.decode("utf-8", "replace") if isinstance(said, bytes) else said, 100
        )
    return Refused(status, f"the server refuses ({status}): {message or 'it says nothing'}.")
