"""What a server tells of itself, in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from decodeloop.serve.engine import Engine
from decodeloop.serve.watching import Admitted, Watch

CONTENT_TYPE = CONTENT_TYPE_LATEST
LONG = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)  # seconds, of a wait
SHORT = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # of a gap between tokens


class Metrics(Watch):
    """Counters and histograms of one engine's service, in a registry of their own."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._made(Counter, "requests", "HTTP answers, by status.", ["status"])
        self._texts = self._made(Counter, "texts", "Texts that are gone, by outcome.", ["outcome"])
        self._prompts = self._made(Counter, "prompt_tokens", "Tokens of prompts that were let in.")
        self._found = self._made(Counter, "prefix_hit_tokens", "Of them, found in the cache.")
        self._tokens = self._made(Counter, "generation_tokens", "Tokens that were made.")
        self._back = self._made(Counter, "preemptions", "Texts that were sent back for blocks.")
        self._checked = self._made(Counter, "draft_tokens", "Drafted tokens that were checked.")
        self._stayed = self._made(Counter, "accepted_draft_tokens", "Of them, those that stayed.")
        self._steps = self._made(Counter, "steps", "Steps of the engine.")
        self._ttft = self._made(Histogram, "ttft_seconds", "To the first token.", buckets=LONG)
        self._itl = self._made(Histogram, "itl_seconds", "Between tokens.", buckets=SHORT)
        self._queue = self._made(Histogram, "queue_seconds", "Until let in.", buckets=LONG)
        scheduler = engine.scheduler
        for name, help_text, value in (
            ("requests_running", "Texts that are computed.", lambda: len(scheduler.running)),
            ("requests_waiting", "Texts that wait.", lambda: len(scheduler.waiting)),
            ("kv_blocks", "Blocks of the cache.", lambda: scheduler.blocks.count),
            (
                "kv_blocks_used",
                "Of them, those that a text uses.",
                lambda: scheduler.blocks.count - len(scheduler.blocks.free),
            ),
        ):
            self._made(Gauge, name, help_text).set_function(value)

    def _made(
        self, kind: Any, name: str, help_text: str, labels: Sequence[str] = (), **options: Any
    ) -> Any:
        return kind(f"decodeloop_{name}", help_text, labels, registry=self.registry, **options)

    def requested(self, status: int) -> None:
        """A request was answered, or given up, with this status."""
        self._requests.labels(str(status)).inc()

    def stepped(self, admitted: Sequence[Admitted], preempted: int) -> None:
        self._steps.inc()
        self._back.inc(preempted)
        for text in admitted:
            self._queue.observe(text.waited)
            self._prompts.inc(text.prompt)
            self._found.inc(text.found)

    def drafted(self, checked: int, accepted: int) -> None:
        self._checked.inc(checked)
        self._stayed.inc(accepted)

    def token(self, waited: float, first: bool) -> None:
        self._tokens.inc()
        (self._ttft if first else self._itl).observe(waited)

    def ended(self, outcome: str) -> None:
        self._texts.labels(outcome).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
