"""Load as a share of what a server can do just now: measured alone first, then under that load."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decodeloop.errors import UserError
from decodeloop.measure.load import Load, Serve, run_alone, run_load

LEAST = 10  # requests of a run, however slow the machine is


@dataclass(frozen=True)
class Shared:
    """A server alone, and the same server at a share of the rate that it then could keep."""

    share: float  # that was asked for
    alone: Load
    busy: Load

    @property
    def had(self) -> float:
        """The load that the run really had: the work that came, over the time in which it came."""
        return sum(self.busy.service_times) / self.busy.arrivals[-1]

    @property
    def forecast(self) -> list[float]:
        """A service for each request of the run: the mean that an answer of so many tokens took
        alone, or of all answers where none had so many."""
        by_tokens: dict[int, list[float]] = {}
        for request in self.alone.requests:
            by_tokens.setdefault(len(request.token_times), []).append(request.service)
        means = {tokens: statistics.fmean(seconds) for tokens, seconds in by_tokens.items()}
        usual = mean_service(self.alone)
        return [means.get(len(r.token_times), usual) for r in self.busy.requests]


def mean_service(run: Load) -> float:
    """Seconds that a service of the run took on average."""
    return statistics.fmean(run.service_times)


def run_at_load(
    fresh: Callable[[], Serve],
    share: float,
    arrivals: Sequence[float],
    *,
    calibration: int = 10,
    max_seconds: float = 120.0,
) -> Shared:
    """Measure a server alone, then ask it so often that `share` of its time is asked for.

    Args:
        fresh: a server that begins at its first request.
        share: of what it could do alone; 1.5 is half as much again.
        arrivals: of a rate of one a second; they are moved together or apart. A slow machine, which
            answers fewer than one in a second, gets fewer of them, at least 10.
        calibration: requests that are asked alone.

    Raises:
        UserError: the share is not above 0.
    """
    if not share > 0:
        raise UserError(f"share is {share}: expected more than 0; 0.7 is a load of 70 %.")
    alone = run_alone(fresh(), calibration, max_seconds=max_seconds)
    service = mean_service(alone)
    count = min(len(arrivals), max(LEAST, 5 * round(1 / service)))
    times = [arrival * service / share for arrival in arrivals[:count]]
    return Shared(share, alone, run_load(fresh(), times, max_seconds=max_seconds))


__all__ = ["Shared", "mean_service", "run_at_load"]
