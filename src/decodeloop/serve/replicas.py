"""Replicas: the same server several times, in processes of their own, behind Ray Serve's router.

Each has a model, blocks and an engine of its own, so nothing is shared, a prefix neither: what a
replica adds is as much throughput as it has cores. One that dies is replaced by the router; whoever
it was answering gets an error, and the next is answered by another. Moritz et al., "Ray" (2018).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from decodeloop.decode import Draft
from decodeloop.errors import UserError, one_line
from decodeloop.serve.asking import LanguageModel, Speaker
from decodeloop.serve.engine import Engine
from decodeloop.serve.metrics import Metrics
from decodeloop.serve.server import app
from decodeloop.serve.service import Service

NAME = "decodeloop"


@dataclass(frozen=True)
class Replica:
    """What one of them is made of; it is sent to its process as it stands.

    Args:
        load: gives the model, there.
        name: what clients call it.
        limits: of its engine, as `Engine` takes them, given the model.
        api_key, most_waiting, draft: as for `LiveServer`.
    """

    load: Callable[[], LanguageModel]
    name: str
    limits: Callable[[Any], dict[str, Any]]
    api_key: str | None = field(default=None, repr=False)
    most_waiting: int = 64
    draft: Callable[[], Draft] | None = None

    def app(self) -> ASGIApp:
        """The application, with an engine that runs; if that dies, so does the process."""
        llm = self.load()
        engine = Engine(llm.model, **self.limits(llm))  # type: ignore[attr-defined]
        metrics = Metrics(engine)
        service = Service(
            engine,
            most_waiting=self.most_waiting,
            draft=self.draft,
            watch=metrics,
            died=lambda error: os._exit(1),
        )
        return app(service.start(), Speaker(self.name, llm), metrics, self.api_key)


def deploy(replica: Replica, count: int, host: str, port: int, most: int) -> Callable[[], None]:
    """Begin so many replicas behind one address, and wait until they answer; gives what ends them.

    It joins the cluster that ``ray start --head`` has begun on this machine, or begins one.

    Args:
        most: texts that are with one replica at a time; the router holds further ones back.

    Raises:
        UserError: Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import serve

    threads = max(1, (os.cpu_count() or 1) // count)
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    try:
        ray.init(ignore_reinit_error=True, include_dashboard=False, logging_level="ERROR")
    except Exception as error:  # it raises a bare one where its own processes take more than 30 s
        raise UserError(
            f"Ray does not start ({one_line(error, 120)}): try again when the machine is less "
            f"busy, or begin it by 'ray start --head'."
        ) from None
    serve.start(http_options={"host": host, "port": port})

    def build() -> ASGIApp:
        return replica.app()

    deployment = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=count,
        max_ongoing_requests=most,
        health_check_period_s=2,
        graceful_shutdown_timeout_s=30,
        # no whole core is asked for: on a small machine Ray's own processes share them
        ray_actor_options={"num_cpus": 0.1, "runtime_env": environment},
    )
    serve.run(deployment.bind(), name=NAME)

    def end() -> None:
        serve.shutdown()
        ray.shutdown()

    return end
