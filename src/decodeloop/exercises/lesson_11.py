"""Exercises of lesson 11: latencies, percentiles, the queue and its mean wait, capacity."""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from decodeloop import cost
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call

LESSON = "11_metrics"
Trace = tuple[list[float], list[float]]  # arrivals, service times


def exponential(seed: int, count: int, mean: float) -> list[float]:
    """Exponential draws, the same at every run."""
    uniform = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (-mean * torch.log1p(-uniform)).tolist()


def random_trace(seed: int, count: int, load: float, servers: int = 1) -> Trace:
    """Poisson arrivals and exponential services of mean 1."""
    gaps = exponential(seed, count, 1 / (load * servers))
    return torch.tensor(gaps, dtype=torch.float64).cumsum(0).tolist(), exponential(
        seed + 1, count, 1.0
    )


# --- latencies ------------------------------------------------------------------------------------


def differences(arrival: float, token_times: Sequence[float]) -> Any:
    """Closed form by PyTorch's differences."""
    times = torch.tensor(list(token_times), dtype=torch.float64)
    return float(times[0]) - arrival, times.diff().tolist(), float(times[-1]) - arrival


def with_first_gap(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, _, whole = differences(arrival, token_times)
    return ttft, torch.tensor([arrival, *token_times], dtype=torch.float64).diff().tolist(), whole


def from_first_token(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, itl, _ = differences(arrival, token_times)
    return ttft, itl, token_times[-1] - token_times[0]


def one_gap(mean: Callable[[list[float]], float]) -> Candidate:
    """The ITLs as one number. What that is for one token, people write in different ways."""

    def run(arrival: float, token_times: Sequence[float]) -> Any:
        ttft, itl, whole = differences(arrival, token_times)
        return ttft, mean(itl), whole

    return run


ONE_MEAN = (
    "That is the mean of the gaps. Keep them all in a list, which is empty for one token: means hide "
    "the one long gap that a reader notices."
)


def itl_from_arrival(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, _, whole = differences(arrival, token_times)
    return ttft, [t - arrival for t in token_times[1:]], whole


def itl_from_first(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, _, whole = differences(arrival, token_times)
    return ttft, [t - token_times[0] for t in token_times[1:]], whole


def negative_gaps(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, itl, whole = differences(arrival, token_times)
    return ttft, [-gap for gap in itl], whole


def without_last_gap(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, itl, whole = differences(arrival, token_times)
    return ttft, itl[:-1], whole


def whole_second(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, itl, whole = differences(arrival, token_times)
    return ttft, whole, itl


def everything_summed(arrival: float, token_times: Sequence[float]) -> Any:
    ttft, itl, _ = differences(arrival, token_times)
    return ttft, itl, sum(t - arrival for t in token_times)


LATENCIES = Exercise(
    name="latencies",
    lesson=LESSON,
    library=cost.latencies,
    minutes=5,
    difficulty=1,
    tolerance=1e-6,
    cases=(
        call("three tokens, by hand", 10.0, [10.5, 10.75, 11.25], oracle=differences),
        call("one token: no ITL", 3.0, [3.25], oracle=differences),
        call("two tokens, arrival at 0", 0.0, [0.125, 0.375], oracle=differences),
        call("two tokens at the same moment", 1.0, [1.5, 2.0, 2.0, 2.75], oracle=differences),
        call(
            "nine tokens",
            100.0,
            [100.9, 101.0, 101.2, 101.25, 101.4, 101.45, 102.6, 102.7, 102.75],
            oracle=differences,
        ),
    ),
    mistakes=(
        Mistake(
            "ITL counts the first token",
            "Your ITLs begin with the wait for the first token. That is TTFT: it has prefill and "
            "queue in it, and would spoil the mean. n tokens have n - 1 gaps.",
            with_first_gap,
        ),
        Mistake(
            "the arrival ignored",
            "TTFT and the end-to-end latency are durations: subtract the arrival from the clock "
            "readings.",
            lambda arrival, times: (times[0], differences(arrival, times)[1], times[-1]),
        ),
        Mistake(
            "end-to-end from the first token",
            "You measure from the first token to the last. End-to-end begins when the user asks: the "
            "wait for the first token is part of it.",
            from_first_token,
        ),
        Mistake("one mean for all gaps", ONE_MEAN, one_gap(lambda itl: sum(itl) / len(itl))),
        Mistake("one mean for all gaps, by `statistics`", ONE_MEAN, one_gap(statistics.fmean)),
        Mistake(
            "one mean for all gaps, or 0",
            ONE_MEAN,
            one_gap(lambda itl: sum(itl) / len(itl) if itl else 0.0),
        ),
        Mistake(
            "ITL since the arrival",
            "Your ITLs grow from token to token: they count from the arrival. Each counts from the "
            "token before it.",
            itl_from_arrival,
        ),
        Mistake(
            "ITL since the first token",
            "Your ITLs grow from token to token: they all count from the first one. Each counts from "
            "the token just before it.",
            itl_from_first,
        ),
        Mistake(
            "negative gaps",
            "Your ITLs are negative: it is later minus earlier.",
            negative_gaps,
        ),
        Mistake(
            "the last gap is missing",
            "One gap too few: n tokens have n - 1 gaps, the last one ends at the last token.",
            without_last_gap,
        ),
        Mistake(
            "the wrong order",
            "The numbers are right, their order is not: TTFT, then the list of ITLs, then end-to-end.",
            whole_second,
        ),
        Mistake(
            "the waits of all tokens added",
            "You add up how long each token took since the arrival. The end-to-end latency is that of "
            "the last token alone.",
            everything_summed,
        ),
    ),
    hints=(
        "All three are differences of two clock readings. Which two? `zip(token_times, "
        "token_times[1:])` gives each token together with the next one.",
        "TTFT: first token minus arrival. End-to-end: last token, `token_times[-1]`, minus arrival. "
        "ITL: each token minus the one before.",
        "The ITLs are a list made in one line, `later - earlier` for each pair that `zip` gives. One "
        "token has no pairs, so its list is empty by itself.",
    ),
)

# --- percentile -----------------------------------------------------------------------------------


def nearest_rank(samples: Sequence[float], p: float) -> float:
    """PyTorch's k-th smallest; the rank in whole numbers, rounded up (NumPy's may be one off)."""
    rank = int(-(-p * len(samples) // 100))
    return float(torch.tensor(samples, dtype=torch.float64).kthvalue(max(rank, 1)).values)


def percentile_case(label: str, samples: Sequence[float], p: float) -> Case:
    """The value, and the caller's list as it is afterwards."""

    def run(candidate: Candidate) -> Any:
        lent = list(samples)
        return {"the percentile": candidate(lent, p), "the caller's list, afterwards": lent}

    def expected() -> Any:
        return {
            "the percentile": nearest_rank(samples, p),
            "the caller's list, afterwards": list(samples),
        }

    return Case(label, run, expected, (list(samples), p))


def by_rank(rank: Callable[[int, float], int]) -> Candidate:
    """A percentile whose index into the sorted samples is wrong."""
    return lambda samples, p: sorted(samples)[rank(len(samples), p)]


def exact_rank(n: int, p: float) -> int:
    return math.ceil(p * n / 100)


def interpolated(samples: Sequence[float], p: float) -> float:
    return float(np.percentile(samples, p))


def unsorted(samples: Sequence[float], p: float) -> float:
    return samples[exact_rank(len(samples), p) - 1]


def sorted_in_place(samples: list[float], p: float) -> float:
    samples.sort()
    return samples[exact_rank(len(samples), p) - 1]


def without_duplicates(samples: Sequence[float], p: float) -> float:
    kept = sorted(set(samples))
    return kept[exact_rank(len(kept), p) - 1]


def share_of_the_largest(samples: Sequence[float], p: float) -> float:
    return p / 100 * max(samples)


TWENTY = [round(0.1 + 0.05 * ((7 * i) % 20), 2) for i in range(20)]
HUNDRED = [float((37 * i) % 100) for i in range(100)]

PERCENTILE = Exercise(
    name="percentile",
    lesson=LESSON,
    library=cost.percentile,
    minutes=7,
    difficulty=1,
    tolerance=1e-6,
    cases=(
        percentile_case("P50 of four, by hand", [0.3, 0.1, 0.4, 0.2], 50),
        percentile_case("P90 of ten", [5.0, 9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 50.0], 90),
        percentile_case("P90 of seven", [5.0, 9.0, 1.0, 18.0, 2.0, 7.0, 3.0], 90),
        percentile_case("P62 of twenty", TWENTY, 62),
        percentile_case("P90 of fourteen", TWENTY[:14], 90),
        percentile_case(
            "P75 of eleven, with equal ones",
            [2.0, 2.0, 1.0, 5.0, 5.0, 5.0, 2.0, 9.0, 7.0, 1.0, 4.0],
            75,
        ),
        percentile_case("P30 of eleven", TWENTY[:11], 30),
        percentile_case("P55 of a hundred", HUNDRED, 55),
        percentile_case("P100", [3.0, 8.0, 1.0], 100),
        percentile_case("P1 of five: the least", [3.0, 8.0, 1.5, 6.0, 7.0], 1),
        percentile_case("one sample", [4.0], 99),
    ),
    mistakes=(
        Mistake(
            "the mean",
            "That is the mean, whatever p is. One request of 50 s moves it; it does not move the "
            "median.",
            lambda samples, p: statistics.fmean(samples),
        ),
        Mistake(
            "always the median",
            "That is P50, whatever p is.",
            lambda samples, p: nearest_rank(samples, 50),
        ),
        Mistake(
            "interpolated",
            "You interpolate between two samples, as NumPy does by default. Nearest rank gives one of "
            "the samples: a latency that somebody had.",
            interpolated,
        ),
        Mistake(
            "not sorted",
            "You take the sample that *came* at that place. Sort a copy first.",
            unsorted,
        ),
        Mistake(
            "sorted in the caller's list",
            "The value is right, but `samples.sort()` turned the caller's list around: arrival number "
            "5 now has another's latency. `sorted(samples)` makes a copy.",
            sorted_in_place,
        ),
        Mistake(
            "the rank as an index",
            "Off by one: ranks count from 1, Python's indices from 0. Take `ordered[rank - 1]`.",
            by_rank(exact_rank),
        ),
        Mistake(
            "rounded down, as an index",
            "`ordered[int(p * n / 100)]` is right only where p·n/100 is not whole. The P50 of four "
            "samples is then the third; and P100 has no sample at all.",
            by_rank(lambda n, p: int(p * n / 100)),
        ),
        Mistake(
            "rounded down",
            "You round the rank down: fewer than p % of the samples lie at or below the one that you "
            "give. Round up. (And a rank below 1 becomes index -1, which is the *largest* sample.)",
            by_rank(lambda n, p: int(p * n / 100) - 1),
        ),
        Mistake(
            "rounded to the nearest rank",
            "The name misleads: the rank is rounded *up*. Rounded to the nearest, fewer than p % of "
            "the samples may lie at or below it.",
            by_rank(lambda n, p: max(round(p * n / 100), 1) - 1),
        ),
        Mistake(
            "n - 1 instead of n",
            "You spread p over the n - 1 gaps between the samples, and round. The rank is p % of n, "
            "rounded up.",
            by_rank(lambda n, p: math.ceil(p * (n - 1) / 100)),
        ),
        Mistake(
            "n - 1 instead of n, rounded down",
            "You spread p over the n - 1 gaps between the samples, and round down. The rank is p % of "
            "n, rounded up; its index is one less.",
            by_rank(lambda n, p: int(p * (n - 1) / 100)),
        ),
        Mistake(
            "sorted downwards",
            "You count from the largest: P90 is then what only one in ten stays *below*.",
            lambda samples, p: sorted(samples, reverse=True)[exact_rank(len(samples), p) - 1],
        ),
        Mistake(
            "p as a fraction",
            "p is in percent, 90 and not 0.9: divide by 100.",
            by_rank(lambda n, p: math.ceil(p * n) - 1),
        ),
        Mistake(
            "divided first",
            "`p / 100 * n` is 55.00000000000001 for p = 55 and n = 100, and its ceiling 56. Multiply "
            "first: `p * n / 100` is exact for whole p.",
            by_rank(lambda n, p: math.ceil(p / 100 * n) - 1),
        ),
        Mistake(
            "equal samples counted once",
            "A set keeps equal samples once. Ten requests of 2 s are ten.",
            without_duplicates,
        ),
        Mistake(
            "a share of the largest",
            "P90 is not 90 % of the largest sample. It is the sample that 90 % of them don't exceed.",
            share_of_the_largest,
        ),
    ),
    hints=(
        "`sorted(samples)` makes a sorted copy. The percentile is one of the samples; only its place "
        "is to be found. Compute `p * n / 100` in this order: `55 / 100 * 100` is 55.00000000000001 "
        "in floating point, and rounds up to 56.",
        "The place, counted from 1, is p·n/100 rounded up (`math.ceil`). Python counts from 0.",
        "Two lines: the rank, rounded up, with n = `len(samples)`; then the sorted copy at that rank, "
        "one less as an index.",
    ),
)

# --- simulate_queue -------------------------------------------------------------------------------


def random_walk(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    """Closed form: the work that came before, minus time, above its lowest point so far."""
    work = torch.tensor([0.0, *service_times], dtype=torch.float64).cumsum(0)[:-1]
    walk = work - torch.tensor(list(arrivals), dtype=torch.float64)
    return (walk - walk.cummin(0).values).tolist()


def followed(
    step: Callable[[float, float, float], tuple[float, float]],
) -> Candidate:
    """A simulation request by request: (arrival, service, free) → (what is noted, free again)."""

    def run(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
        free, noted = 0.0, []
        for arrival, service in zip(arrivals, service_times, strict=True):
            note, free = step(arrival, service, free)
            noted.append(note)
        return noted

    return run


def next_ones_service(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    waits = [0.0]
    for i in range(1, len(arrivals)):
        gap = arrivals[i] - arrivals[i - 1]
        waits.append(max(0.0, waits[-1] + service_times[i] - gap))
    return waits


def no_memory(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    gaps = [b - a for a, b in pairwise(arrivals)]
    return [0.0, *(max(0.0, s - g) for s, g in zip(service_times, gaps, strict=False))]


def clock_not_gap(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    waits = [0.0]
    for i in range(1, len(arrivals)):
        waits.append(max(0.0, waits[-1] + service_times[i - 1] - arrivals[i]))
    return waits


def magnitudes(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    waits = [0.0]
    for i in range(1, len(arrivals)):
        gap = arrivals[i] - arrivals[i - 1]
        waits.append(abs(waits[-1] + service_times[i - 1] - gap))
    return waits


SIMULATE_QUEUE = Exercise(
    name="simulate_queue",
    lesson=LESSON,
    library=cost.simulate_queue,
    minutes=9,
    difficulty=2,
    tolerance=1e-6,
    cases=(
        call(
            "four requests, by hand", [0.0, 1.0, 2.0, 8.0], [3.0, 2.0, 1.0, 1.0], oracle=random_walk
        ),
        call(
            "the first comes late", [5.0, 5.5, 20.0, 21.0], [1.0, 2.0, 3.0, 1.0], oracle=random_walk
        ),
        call("nobody waits", [0.0, 2.0, 4.0, 6.5], [1.0, 2.0, 0.5, 1.0], oracle=random_walk),
        call("all at once", [1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 2.0, 0.25], oracle=random_walk),
        call(
            "a service of no time", [0.0, 0.5, 0.6, 0.7], [1.0, 0.0, 2.0, 1.0], oracle=random_walk
        ),
        call("one request", [2.0], [3.0], oracle=random_walk),
        call("60 random ones, half load", *random_trace(1, 60, 0.5), oracle=random_walk),
        call("60 random ones, too much load", *random_trace(3, 60, 1.3), oracle=random_walk),
    ),
    mistakes=(
        Mistake(
            "idle time forgotten",
            "Your server works without a pause from time 0 on: what it saves in quiet minutes it uses "
            "later. It can only start when a request *is there*: at the later one of arrival and free.",
            followed(lambda a, s, free: (max(0.0, free - a), free + s)),
        ),
        Mistake(
            "negative waits",
            "Some of your waits are negative: the request came to an idle server. It waits 0 then; "
            "the wait is start minus arrival.",
            followed(lambda a, s, free: (free - a, max(a, free) + s)),
        ),
        Mistake(
            "idle time saved up",
            "Your waits become negative and are carried on, as if the server could work ahead. Take "
            "the maximum with 0 at each request.",
            followed(lambda a, s, free: (free - a, free + s)),
        ),
        Mistake(
            "the latency instead of the wait",
            "You give the latency, wait plus service. The wait ends when the service starts.",
            followed(lambda a, s, free: (max(a, free) + s - a, max(a, free) + s)),
        ),
        Mistake(
            "the starts instead of the waits",
            "Those are the times at which the services start. Subtract the arrivals.",
            followed(lambda a, s, free: (max(a, free), max(a, free) + s)),
        ),
        Mistake(
            "the ends instead of the waits",
            "Those are the times at which the services end. The wait is start minus arrival.",
            followed(lambda a, s, free: (max(a, free) + s, max(a, free) + s)),
        ),
        Mistake(
            "the own service",
            "You make each request wait for its own service. It waits for the one *before* it: "
            "`service_times[i - 1]`.",
            next_ones_service,
        ),
        Mistake(
            "no memory",
            "You look at the request just before alone. That one may have waited itself: the delay "
            "is handed on.",
            no_memory,
        ),
        Mistake(
            "the clock instead of the gap",
            "You subtract the clock's reading. In Lindley's recursion it is the gap between this "
            "arrival and the one before.",
            clock_not_gap,
        ),
        Mistake(
            "the magnitude",
            "`abs` makes a wait out of the time that the server was idle. It is `max(0, …)`.",
            magnitudes,
        ),
        Mistake(
            "nobody ever waits",
            "Everybody is served at once: that is a machine for each request. Here one server must be "
            "free first.",
            followed(lambda a, s, free: (0.0, free)),
        ),
        Mistake(
            "the first is missing",
            "One wait too few: the first request waits as well, for 0 seconds.",
            lambda arrivals, services: random_walk(arrivals, services)[1:],
        ),
        Mistake(
            "latecomers alone",
            "You left out those who did not wait: there must be one wait for each request, 0 among "
            "them.",
            lambda arrivals, services: [w for w in random_walk(arrivals, services) if w > 0],
        ),
    ),
    hints=(
        "Go through the requests in order, and remember one number: when the server is free again.",
        "A service starts when the request is there *and* the server is free: at the later of the "
        "two times. Then the server is free again one service time later.",
        "In the loop: start = max(arrival, free); the wait is start - arrival; free = start + service. "
        "At the beginning free is 0.",
    ),
)

# --- mean_wait ------------------------------------------------------------------------------------


def by_variation(rate: float, mean: float, variance: float) -> float:
    """The same in Kingman's form: of load, squared coefficient of variation, and service time."""
    load, squared_variation = rate * mean, variance / mean**2
    if load >= 1:
        return math.inf
    return load / (1 - load) * (1 + squared_variation) / 2 * mean


def at_loads(label: str, mean: float, variance: float, loads: Sequence[float]) -> Case:
    """Several rates in one case: an infinite wait beside finite ones.

    A division by 0 counts as an output: only so can one be told from another.
    """

    def wait(candidate: Candidate, load: float) -> Any:
        try:
            return candidate(load / mean, mean, variance)
        except ZeroDivisionError as error:
            return f"ZeroDivisionError: {error}"

    def run(candidate: Candidate) -> Any:
        return {f"load {x:g}": wait(candidate, x) for x in loads}

    return Case(label, run, lambda: run(by_variation), ([x / mean for x in loads], mean, variance))


def unguarded(value: Callable[[float, float, float, float], float]) -> Candidate:
    """(rate, load, mean, variance) → wait; infinite from full load on."""

    def run(rate: float, mean: float, variance: float) -> float:
        load = rate * mean
        return math.inf if load >= 1 else value(rate, load, mean, variance)

    return run


MEAN_WAIT = Exercise(
    name="mean_wait",
    lesson=LESSON,
    library=cost.mean_wait,
    minutes=5,
    difficulty=1,
    tolerance=1e-6,
    cases=(
        call("always 0.1 s, 5 a second", 5.0, 0.1, 0.0, oracle=by_variation),
        call("exponential, 0.1 s, 8 a second", 8.0, 0.1, 0.01, oracle=by_variation),
        call("0.25 s ± 0.5 s, 3 a second", 3.0, 0.25, 0.25, oracle=by_variation),
        call("30 s ± 2 s, one a minute", 1 / 60, 30.0, 4.0, oracle=by_variation),
        at_loads("up to full load and beyond", 0.25, 0.03, [0.25, 0.9, 1.0, 1.5]),
        at_loads("below and above full load", 0.5, 0.1, [0.1, 0.5, 1.25]),
    ),
    mistakes=(
        Mistake(
            "the variance for the second moment",
            "You take the variance where E[S²] stands: services that all take equally long would make "
            "nobody wait. E[S²] is variance plus mean².",
            unguarded(lambda rate, load, mean, var: rate * var / (2 * (1 - load))),
        ),
        Mistake(
            "mean² for the second moment",
            "You take mean² for E[S²], which is right only where all services take equally long. Add "
            "the variance.",
            unguarded(lambda rate, load, mean, var: rate * mean**2 / (2 * (1 - load))),
        ),
        Mistake(
            "always exponential",
            "You give the wait for exponential services, ρ/(1 - ρ) services, whatever the variance.",
            unguarded(lambda rate, load, mean, var: load / (1 - load) * mean),
        ),
        Mistake(
            "the 2 is missing",
            "Twice too long: the denominator is 2 (1 - ρ). (In the middle of a service, half of it is "
            "left on average: that is where the 2 comes from.)",
            unguarded(lambda rate, load, mean, var: rate * (var + mean**2) / (1 - load)),
        ),
        Mistake(
            "the 2 divides the wrong thing",
            "`x / 2 * (1 - load)` divides by 2 and then multiplies. Put brackets: `/ (2 * (1 - load))`.",
            unguarded(lambda rate, load, mean, var: rate * (var + mean**2) / 2 * (1 - load)),
        ),
        Mistake(
            "1 - ρ is missing",
            "Your wait does not run away as the load comes near 1: divide by 1 - ρ as well.",
            unguarded(lambda rate, load, mean, var: rate * (var + mean**2) / 2),
        ),
        Mistake(
            "the rate for the load",
            "You subtract the rate from 1. The load ρ has no unit: rate times mean service.",
            lambda rate, mean, var: (
                math.inf if rate * mean >= 1 else rate * (var + mean**2) / (2 * (1 - rate))
            ),
        ),
        Mistake(
            "the load for the rate",
            "The numerator has λ, the rate, not the load: yours is off by a factor of E[S].",
            unguarded(lambda rate, load, mean, var: load * (var + mean**2) / (2 * (1 - load))),
        ),
        Mistake(
            "the latency",
            "You added the service. Asked for is the wait before it.",
            lambda rate, mean, var: by_variation(rate, mean, var) + mean,
        ),
        Mistake(
            "how many wait",
            "That is how many wait on average (Little's law), not how long.",
            lambda rate, mean, var: rate * by_variation(rate, mean, var),
        ),
        Mistake(
            "negative above full load",
            "From full load on, the formula gives nonsense: a division by 0, or a negative wait. The "
            "queue then grows for ever: return `math.inf`.",
            lambda rate, mean, var: rate * (var + mean**2) / (2 * (1 - rate * mean)),
        ),
        Mistake(
            "finite at full load",
            "At load 1 itself you divide by 0. The queue grows for ever from *full* load on: compare "
            "with `>= 1`, not `> 1`.",
            lambda rate, mean, var: (
                math.inf if rate * mean > 1 else rate * (var + mean**2) / (2 * (1 - rate * mean))
            ),
        ),
        Mistake(
            "the variance squared",
            "You squared the variance: it is a square already.",
            unguarded(lambda rate, load, mean, var: rate * (var**2 + mean**2) / (2 * (1 - load))),
        ),
        Mistake(
            "the standard deviation",
            "You add the standard deviation to mean². Variances add up, standard deviations don't.",
            unguarded(lambda rate, load, mean, var: rate * (var**0.5 + mean**2) / (2 * (1 - load))),
        ),
    ),
    hints=(
        "First the load, ρ = rate · mean; from 1 on the answer is infinite. Then E[S²], from mean and "
        "variance.",
        "E[S²] = variance + mean². The wait is rate · E[S²] / (2 · (1 - ρ)).",
    ),
)

# --- percentile_band ------------------------------------------------------------------------------


def below(n: int, p: float) -> list[float]:
    """P(at most k of n samples below the true percentile), k = 0 … n, by whole binomials."""
    q = p / 100
    chances = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    return np.cumsum(chances).tolist()


def band_ranks(n: int, p: float, tail: float) -> tuple[int, int]:
    """The ranks of both ends, from 1; 0 and n + 1 where no sample will do."""
    at_most = below(n, p)
    low = max((r for r in range(1, n + 1) if at_most[r - 1] <= tail), default=0)
    high = min((s for s in range(1, n + 1) if at_most[s - 1] >= 1 - tail), default=n + 1)
    return low, high


def band_by(
    ranks: Callable[[int, float, float], tuple[int, int]],
    *,
    clamp: bool = False,
    tails: float = 2.0,
    prepare: Callable[[Iterable[float]], list[float]] = sorted,
) -> Candidate:
    """A band whose ends have these ranks."""

    def run(samples: Sequence[float], p: float, confidence: float = 0.95) -> tuple[float, float]:
        n = len(samples)
        low, high = ranks(n, p, (1 - confidence) / tails)
        if clamp:
            low, high = max(low, 1), min(high, n)
        padded = [-math.inf, *prepare(samples), math.inf]
        return padded[max(low, 0)], padded[min(high, n + 1)]

    return run


def shifted(down: int, up: int) -> Candidate:
    def ranks(n: int, p: float, tail: float) -> tuple[int, int]:
        low, high = band_ranks(n, p, tail)
        return low + down, high + up

    return band_by(ranks)


def band_of_the_mean(
    samples: Sequence[float], p: float, confidence: float = 0.95
) -> tuple[float, float]:
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    half = z * statistics.stdev(samples) / len(samples) ** 0.5
    return statistics.fmean(samples) - half, statistics.fmean(samples) + half


def where_most_samples_lie(
    samples: Sequence[float], p: float, confidence: float = 0.95
) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    return nearest_rank(samples, tail), nearest_rank(samples, 100 - tail)


oracle_band = band_by(band_ranks)
SKEWED = [round(0.1 * 1.13 ** ((17 * i) % 60), 4) for i in range(60)]

PERCENTILE_BAND = Exercise(
    name="percentile_band",
    lesson=LESSON,
    library=cost.percentile_band,
    minutes=15,
    difficulty=3,
    kind="stretch",
    tolerance=1e-6,
    cases=(
        call("the median of 20", TWENTY, 50, oracle=oracle_band),
        call("P90 of 60", SKEWED, 90, oracle=oracle_band),
        call("the median of 60, 80 %", SKEWED, 50, 0.8, oracle=oracle_band),
        call("P90 of 20: no upper end", TWENTY, 90, oracle=oracle_band),
        call("P5 of 30: no lower end", SKEWED[:30], 5, oracle=oracle_band),
        call("P75 of 100, 99 %", HUNDRED, 75, 0.99, oracle=oracle_band),
    ),
    mistakes=(
        Mistake(
            "the band of the mean",
            "That is the band of the *mean*, by the normal distribution. Latencies are skewed, and a "
            "percentile is not a mean: count ranks.",
            band_of_the_mean,
        ),
        Mistake(
            "where most samples lie",
            "95 % of the *samples* lie between those two. The band is about the percentile: it gets "
            "narrow with many samples.",
            where_most_samples_lie,
        ),
        Mistake(
            "the whole doubt at each end",
            "Your band is too narrow: each end may be wrong in (1 - confidence) / 2 of the cases, "
            "since there are two.",
            band_by(band_ranks, tails=1.0),
        ),
        Mistake(
            "an end where there is none",
            "Where no sample is high (or low) enough, you take the largest (or least). But the true "
            "percentile may well lie beyond every sample: the end is infinite.",
            band_by(band_ranks, clamp=True),
        ),
        Mistake(
            "not sorted",
            "Ranks count in the sorted samples: sort a copy first.",
            band_by(band_ranks, prepare=list),
        ),
        Mistake(
            "the lower end one rank too high",
            "The lower end is one rank too high: for rank r it matters how likely *fewer than r* "
            "samples lie below, P(K ≤ r - 1).",
            shifted(1, 0),
        ),
        Mistake(
            "the upper end one rank too low",
            "The upper end is one rank too low: rank s will do if P(K ≤ s - 1) is at least 1 minus "
            "the tail.",
            shifted(0, -1),
        ),
        Mistake(
            "the upper end one rank too high",
            "The upper end is one rank too high: the smallest s with P(K ≤ s - 1) ≥ 1 minus the tail.",
            shifted(0, 1),
        ),
        Mistake(
            "both ends one rank too high",
            "Both ends are one rank too high: K counts from 0, ranks from 1, indices from 0 again.",
            shifted(1, 1),
        ),
        Mistake(
            "always the median",
            "Your band is that of the median: the binomial has q = p/100, not one half.",
            band_by(lambda n, p, tail: band_ranks(n, 50, tail)),
        ),
        Mistake(
            "always 95 %",
            "You ignore `confidence`: it is 0.95 only if nothing else is given.",
            band_by(lambda n, p, tail: band_ranks(n, p, 0.025)),
        ),
        Mistake(
            "ranks instead of samples",
            "Those are the ranks. Wanted are the samples that have them.",
            lambda samples, p, confidence=0.95: band_ranks(len(samples), p, (1 - confidence) / 2),
        ),
    ),
    hints=(
        "Let K be how many samples fall below the true percentile: binomial, n draws, q = p/100. "
        "`math.comb(n, k) * q**k * (1 - q)**(n - k)` is P(K = k). Sum them up: P(K ≤ k), k = 0 … n.",
        "x of rank r lies above the true percentile exactly if fewer than r samples fall below it: "
        "P(K ≤ r - 1). That may be at most tail = (1 - confidence) / 2. Take the highest such r.",
        "The upper end: the smallest s with P(K ≤ s - 1) ≥ 1 - tail. Without such an r: -math.inf; "
        "without such an s: math.inf. A trick: pad the sorted samples, [-inf, *ordered, inf], and "
        "ranks are indices.",
    ),
)

# --- machines_needed ------------------------------------------------------------------------------


def waits_with(arrivals: Sequence[float], services: Sequence[float], machines: int) -> list[float]:
    """One queue, several machines; each request takes the machine that is free first."""
    free, waits = [0.0] * machines, []  # a heap: its first entry is the least
    for arrival, service in zip(arrivals, services, strict=True):
        start = max(arrival, free[0])
        waits.append(start - arrival)
        heapq.heapreplace(free, start + service)
    return waits


def fewest(
    arrivals: Sequence[float],
    services: Sequence[float],
    holds: Callable[[list[float], list[float]], bool],
    most: int | None = None,
) -> int | None:
    """The fewest machines for which `holds(waits, latencies)`, looked for one by one."""
    for machines in range(1, (most or len(arrivals)) + 1):
        waits = waits_with(arrivals, services, machines)
        if holds(waits, [w + s for w, s in zip(waits, services, strict=True)]):
            return machines
    return None


def tried_one_by_one(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int | None:
    return fewest(arrivals, services, lambda _, lat: nearest_rank(lat, p) <= target)


def machines_by(
    holds: Callable[[list[float], list[float], float, float], bool],
) -> Candidate:
    def run(
        arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
    ) -> int | None:
        return fewest(arrivals, services, lambda waits, lat: holds(waits, lat, target, p))

    return run


def by_load_alone(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int:
    return math.ceil(sum(services) / (arrivals[-1] - arrivals[0]))


def doubled_only(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int | None:
    exact = tried_one_by_one(arrivals, services, target, p)
    return None if exact is None else 2 ** math.ceil(math.log2(exact))


def changed(exact: Callable[[int | None], Any]) -> Candidate:
    return lambda arrivals, services, target, p=90: exact(
        tried_one_by_one(arrivals, services, target, p)
    )


def apart(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int | None:
    """Each machine has its own queue, and they are taken in turn."""
    for k in range(1, len(arrivals) + 1):
        lat = []
        for m in range(k):
            waits = waits_with(arrivals[m::k], services[m::k], 1)
            lat += [w + s for w, s in zip(waits, services[m::k], strict=True)]
        if nearest_rank(lat, p) <= target:
            return k
    return None


def with_a_limit(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int | None:
    """Looked for up to 299."""
    exact = tried_one_by_one(arrivals, services, target, p)
    return exact if exact and exact < 300 else None


BUSY = random_trace(11, 150, 0.9, servers=6)
EVEN = (random_trace(21, 120, 0.9, servers=4)[0], [1.0] * 120)

MACHINES_NEEDED = Exercise(
    name="machines_needed",
    lesson=LESSON,
    library=cost.machines_needed,
    minutes=10,
    difficulty=2,
    kind="stretch",
    tolerance=1e-6,
    cases=(
        call(
            "four at once, by hand",
            [0.0, 0.0, 0.0, 0.0, 9.0],
            [1.0] * 5,
            2.0,
            100,
            oracle=tried_one_by_one,
        ),
        call("one is enough", [0.0, 2.0, 4.0], [1.0, 1.0, 1.0], 1.0, 90, oracle=tried_one_by_one),
        call("random services, P90", *BUSY, 2.6, 90, oracle=tried_one_by_one),
        call("random services, P50", *BUSY, 1.0, 50, oracle=tried_one_by_one),
        call("equal services, P99", *EVEN, 1.25, 99, oracle=tried_one_by_one),
        call("equal services, a long target", *EVEN, 4.0, 90, oracle=tried_one_by_one),
        call(
            "the services alone take too long",
            [0.0, 1.0, 2.0],
            [5.0, 5.0, 1.0],
            4.0,
            90,
            oracle=tried_one_by_one,
        ),
        call(
            "320 at once, and nobody may wait",
            [0.0] * 320,
            [1.0] * 320,
            1.0,
            100,
            oracle=tried_one_by_one,
        ),
    ),
    mistakes=(
        Mistake(
            "by the load alone",
            "That is the load, rounded up: enough for the *work*, whatever the target. With just as "
            "many machines as there is work, the queue is long.",
            by_load_alone,
        ),
        Mistake(
            "waits instead of latencies",
            "You hold the waits against the target. A user waits for the service too: add it.",
            machines_by(lambda waits, _, target, p: nearest_rank(waits, p) <= target),
        ),
        Mistake(
            "the mean instead of the percentile",
            "You hold the mean latency against the target: then many requests miss it.",
            machines_by(lambda _, lat, target, p: statistics.fmean(lat) <= target),
        ),
        Mistake(
            "the slowest of all",
            "You ask that *every* request keep the target. Only p % have to.",
            machines_by(lambda _, lat, target, p: max(lat) <= target),
        ),
        Mistake(
            "always P90",
            "You ignore p: it is 90 only if nothing else is given.",
            machines_by(lambda _, lat, target, p: nearest_rank(lat, 90) <= target),
        ),
        Mistake(
            "strictly below",
            "A latency that equals the target keeps it: compare with `<=`.",
            machines_by(lambda _, lat, target, p: nearest_rank(lat, p) < target),
        ),
        Mistake(
            "one too many",
            "One machine more than needed: is the number raised once more after the test that held?",
            changed(lambda k: None if k is None else k + 1),
        ),
        Mistake(
            "one too few",
            "One machine too few: yours is the last number that does *not* hold.",
            changed(lambda k: None if k is None else k - 1),
        ),
        Mistake(
            "doubled only",
            "You double until it holds and stop there: fewer may be enough. Look between the last "
            "two.",
            doubled_only,
        ),
        Mistake(
            "a queue for each machine",
            "Each of your machines has a queue of its own, so a request waits while another machine is "
            "idle. Here all share one queue.",
            apart,
        ),
        Mistake(
            "a limit of its own",
            "You give up too early. With a machine for each request nobody waits, so try every number "
            "up to `len(arrivals)`, and that one too.",
            with_a_limit,
        ),
        Mistake(
            "0 for none",
            "Where no number is enough, the answer is None: 0 machines would be read as a number.",
            changed(lambda k: 0 if k is None else k),
        ),
    ),
    hints=(
        "Try 1, 2, 3, … machines: simulate, add services to waits, take the percentile. When must "
        "you give up?",
        "With a machine for each request nobody waits. If that is not enough, nothing is: None.",
        "A loop over `range(1, len(arrivals) + 1)`: the waits by `simulate_servers(arrivals, "
        "service_times, k)`, the latencies, their percentile; the first k that holds is the answer.",
    ),
)

# --- goodput --------------------------------------------------------------------------------------


def kept(
    requests: Iterable[Any], ttft: float = math.inf, itl: float = math.inf, whole: float = math.inf
) -> list[tuple[bool, bool, bool]]:
    """Which targets each request kept."""
    return [
        (first <= ttft, sum(gaps) <= itl * len(gaps) if gaps else True, all_of_it <= whole)
        for first, gaps, all_of_it in requests
    ]


def goodput_by(
    count: Callable[[list[tuple[bool, bool, bool]]], float],
) -> Candidate:
    def run(
        requests: Sequence[Any],
        seconds: float,
        ttft: float = math.inf,
        itl: float = math.inf,
        end_to_end: float = math.inf,
    ) -> float:
        return count(kept(requests, ttft, itl, end_to_end)) / seconds

    return run


def goodput_with_gaps(good: Callable[[list[float], float], bool]) -> Candidate:
    """Goodput where the target for ITL is held against something else."""

    def run(
        requests: Sequence[Any],
        seconds: float,
        ttft: float = math.inf,
        itl: float = math.inf,
        end_to_end: float = math.inf,
    ) -> float:
        n = sum(
            first <= ttft and good(gaps, itl) and whole <= end_to_end
            for first, gaps, whole in requests
        )
        return n / seconds

    return run


def strictly(
    requests: Sequence[Any],
    seconds: float,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    n = sum(
        first < ttft and (not gaps or statistics.fmean(gaps) < itl) and whole < end_to_end
        for first, gaps, whole in requests
    )
    return n / seconds


def tokens_counted(
    requests: Sequence[Any],
    seconds: float,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    marks = kept(requests, ttft, itl, end_to_end)
    good = (r for r, mark in zip(requests, marks, strict=True) if all(mark))
    return sum(len(gaps) + 1 for _, gaps, _ in good) / seconds


def mean_of_nothing(
    requests: Sequence[Any],
    seconds: float,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    means = [sum(gaps) / len(gaps) for _, gaps, _ in requests]
    n = sum(
        r[0] <= ttft and mean <= itl and r[2] <= end_to_end
        for r, mean in zip(requests, means, strict=True)
    )
    return n / seconds


def or_division_by_zero(case: Case) -> Case:
    """A division by 0 counts as an output: a mistake that only raises could not be recognised."""

    def run(candidate: Candidate) -> Any:
        try:
            return case.run(candidate)
        except ZeroDivisionError as error:
            return f"ZeroDivisionError: {error}"

    return Case(case.label, run, case.expected, case.inputs)


def product_of_shares(marks: list[tuple[bool, bool, bool]]) -> float:
    return len(marks) * math.prod(sum(column) / len(marks) for column in zip(*marks, strict=True))


oracle_goodput = goodput_by(lambda marks: sum(map(all, marks)))

SERVED = [
    (0.25, [0.125, 0.375], 0.75),
    (0.75, [0.125], 0.875),
    (0.25, [], 0.25),
    (0.125, [0.5], 0.625),
    (0.5, [0.25, 0.25, 0.25], 1.25),
    (1.5, [0.75, 0.75], 3.0),
    (1.25, [], 1.25),
]

GOODPUT = Exercise(
    name="goodput",
    lesson=LESSON,
    library=cost.goodput,
    minutes=6,
    difficulty=1,
    kind="stretch",
    tolerance=1e-6,
    cases=(
        call("a target for TTFT", SERVED, 4.0, ttft=0.5, oracle=oracle_goodput),
        or_division_by_zero(call("a target for ITL", SERVED, 4.0, itl=0.25, oracle=oracle_goodput)),
        call("a target for all of it", SERVED, 2.0, end_to_end=0.875, oracle=oracle_goodput),
        call("two targets", SERVED, 4.0, ttft=0.5, itl=0.25, oracle=oracle_goodput),
        call(
            "three targets", SERVED, 8.0, ttft=1.25, itl=0.3, end_to_end=1.25, oracle=oracle_goodput
        ),
        call("no target", SERVED, 2.0, oracle=oracle_goodput),
        call("nobody keeps it", SERVED, 2.0, ttft=0.0625, oracle=oracle_goodput),
    ),
    mistakes=(
        Mistake(
            "the throughput",
            "You count every request. Those that missed a target were served for nothing.",
            goodput_by(len),
        ),
        Mistake(
            "one target is enough",
            "You count a request that kept *any* target. It must keep every one: the user feels the "
            "worst.",
            goodput_by(lambda marks: sum(map(any, marks))),
        ),
        Mistake(
            "the share instead of the rate",
            "That is the share of the requests that kept the targets. Goodput is a rate: divide by the "
            "seconds, not by the number.",
            lambda requests, seconds, **targets: (
                oracle_goodput(requests, 1.0, **targets) / len(requests)
            ),
        ),
        Mistake(
            "strictly below",
            "A latency that equals its target keeps it: compare with `<=`.",
            strictly,
        ),
        Mistake(
            "every gap",
            "You ask every single gap to keep the target for ITL. Here it is held against their mean "
            "(the time per output token).",
            goodput_with_gaps(lambda gaps, itl: all(gap <= itl for gap in gaps)),
        ),
        Mistake(
            "the sum of the gaps",
            "You hold the *sum* of the gaps against the target for ITL: long answers would never "
            "keep it. Take their mean.",
            goodput_with_gaps(lambda gaps, itl: sum(gaps) <= itl),
        ),
        Mistake(
            "one token fails",
            "A request of one token has no gaps, so it can't miss the target for ITL: count it.",
            goodput_with_gaps(lambda gaps, itl: bool(gaps) and statistics.fmean(gaps) <= itl),
        ),
        Mistake(
            "the mean of no gaps",
            "You divide by `len([])`, which is 0: a request of one token has no gaps. It can't miss "
            "the target for ITL; ask `not gaps or …` first.",
            mean_of_nothing,
        ),
        Mistake(
            "ITL ignored",
            "You ignore the target for ITL, which may be missed where TTFT is fine.",
            goodput_with_gaps(lambda gaps, itl: True),
        ),
        Mistake(
            "divided by one token too many",
            "The mean of the gaps: n tokens have n - 1 gaps, so divide by `len(gaps)`.",
            goodput_with_gaps(lambda gaps, itl: sum(gaps) <= itl * (len(gaps) + 1)),
        ),
        Mistake(
            "shares multiplied",
            "You multiply the shares of those who kept each target, as if they were independent. Count "
            "the requests that kept all.",
            goodput_by(product_of_shares),
        ),
        Mistake(
            "tokens counted",
            "You count tokens. Asked for are requests per second.",
            tokens_counted,
        ),
    ),
    hints=(
        "For each request: did it keep all three targets? Count those that did, divide by the seconds.",
        "`for first, gaps, whole in requests`: three comparisons, joined by `and`. The one for ITL "
        "needs a mean, and there is none of an empty list: `not gaps or …`.",
    ),
)

EXERCISES = (
    LATENCIES,
    PERCENTILE,
    SIMULATE_QUEUE,
    MEAN_WAIT,
    PERCENTILE_BAND,
    GOODPUT,
    MACHINES_NEEDED,
)
