"""`decodeloop serve --replicas`: Ray Serve's router before several servers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from decodeloop.commands.shared import note
from decodeloop.errors import UserError, printable

if TYPE_CHECKING:
    from decodeloop.decode import Draft
    from decodeloop.loading import LanguageModel


def serve_replicas(
    load: Callable[[], LanguageModel],
    limits: Callable[[Any], dict[str, Any]],
    *,
    name: str,
    count: int,
    address: tuple[str, int],
    api_key: str | None,
    most: tuple[int, int],
    draft: Callable[[], Draft] | None,
) -> None:
    """Answer until a signal comes.

    Args:
        address: host and port; the port is one, not 0, since the router is told it.
        most: texts of one replica that are computed at a time, and that may wait besides.

    Raises:
        UserError: Ray is not installed, or the port is 0.
    """
    try:
        import ray  # noqa: F401

        from decodeloop.serve.replicas import Replica, deploy
    except ImportError as error:
        raise UserError(
            f"--replicas needs {error.name}, which is not installed: 'pip install -e \".[ray]\"' "
            f"brings all that it needs."
        ) from None
    if address[1] == 0:
        raise UserError("--port is 0: with --replicas, expected the port that the router has.")
    batch, waiting = most
    replica = Replica(load, name, limits, api_key, waiting, draft)
    ended = threading.Event()
    end = deploy(replica, count, *address, batch + waiting + 1)
    for sent in (signal.SIGTERM, signal.SIGINT):  # behind Ray, which has handlers of its own
        signal.signal(sent, lambda *_: ended.set())
    try:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        note(
            f"{printable(name)} answers at http://{host}:{address[1]}/v1, {count} replicas with "
            f"{batch} texts at a time each; Ctrl-C ends them."
        )
        ended.wait()
    finally:
        end()
