"""A server that runs: until a signal drains it, or beside the program that began it."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import uvicorn

from decodeloop.decode import Draft
from decodeloop.errors import UserError
from decodeloop.serve.asking import Speaker
from decodeloop.serve.engine import Engine
from decodeloop.serve.metrics import Metrics
from decodeloop.serve.patience import Patient
from decodeloop.serve.server import app
from decodeloop.serve.service import MOST_WAITING, Service
from decodeloop.serve.teams import give_up_team

HOST = "127.0.0.1"


def listen(host: str, port: int, api_key: str | None) -> socket.socket:
    """A socket that listens; port 0 takes one that is free.

    Raises:
        UserError: without a key the address is not loopback, or nobody may listen there.
    """
    check_host(host, api_key)
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(kind, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"nobody can listen at {host}, port {port} ({reason}): give another --port or --host."
        ) from None
    return listener


def check_host(host: str, api_key: str | None) -> None:
    """Raise a `UserError` where anybody could come in."""
    if api_key is None and not is_loopback(host):
        raise UserError(
            f"{host} can be reached from other machines, and there is no key: give --api-key, or "
            f"leave out --host."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost is none."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """The first signal drains: nobody is let in, those inside are answered, then it ends. The
    second ends at once."""

    service: Service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
            self.service.stop()
        self.should_exit = True
        self.service.drain()


class LiveServer:
    """A server in threads of this process, on loopback; leaving the `with` ends it.

    `url` is where it answers, `model` what clients call the model; `service` and `metrics` are what
    it is made of, and the engine is `service.engine`, for looking at.

    Args:
        speaker: who answers.
        engine: what computes; it belongs to the server from now on.
        port: a free one, if not given.
        api_key: nobody is answered without it.
        most_waiting, draft: as for `Service`.
    """

    def __init__(
        self,
        speaker: Speaker,
        engine: Engine,
        *,
        host: str = HOST,
        port: int = 0,
        api_key: str | None = None,
        most_waiting: int = MOST_WAITING,
        draft: Callable[[], Draft] | None = None,
    ) -> None:
        self.model = speaker.name
        self.metrics = Metrics(engine)
        self.service = Service(
            engine, most_waiting=most_waiting, draft=draft, watch=self.metrics, died=self._died
        )
        self.error: BaseException | None = None  # what ended the engine's thread
        self._socket = listen(host, port, api_key)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        options: dict[str, Any] = {"log_level": "error", "access_log": False, "lifespan": "off"}
        options |= {"ws": "none", "http": Patient}
        config = uvicorn.Config(app(self.service, speaker, self.metrics, api_key), **options)
        self._server = Server(config)
        self._server.service = self.service
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Answer in this thread until a signal comes; in the main thread, Ctrl-C is one.

        Raises:
            UserError: the engine's thread has died.
        """
        self.service.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.service.stop()
            self.service.join(10.0)
            self._socket.close()
        if self.error is not None:
            raise UserError(
                f"the engine has ended by an error ({type(self.error).__name__}: {self.error}): "
                f"start the server again."
            )

    @property
    def forced(self) -> bool:
        """Whether a second signal ended it, and a step may still be computed."""
        return self._server.force_exit

    def __enter__(self) -> LiveServer:
        def run() -> None:
            with contextlib.suppress(UserError):  # it stands in `error`
                self.run()

        give_up_team()
        self._thread = threading.Thread(target=run, name="server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, drain: bool = False) -> None:
        """End it: now, or, with `drain`, when all who were let in are answered."""
        if drain:
            self.service.drain()
        else:
            self.service.stop()
        self._server.handle_exit(signal.SIGTERM, None)
        if self._thread is not None:
            self._thread.join(30.0)

    def _died(self, error: BaseException) -> None:
        self.error = error
        self._server.should_exit = True
