"""Exercises of lesson 11: latencies, percentiles, the queue and its mean wait, capacity."""

from __future__ import annotations

import heapq
import math
import statistics  # noqa: F401, the edits use it
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from decodeloop import cost
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call, trial

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


def by_pairs(arrival: float, token_times: Sequence[float]) -> Any:
    """A right one."""
    itl = [later - earlier for earlier, later in pairwise(token_times)]
    return token_times[0] - arrival, itl, token_times[-1] - arrival


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
    mistakes=edits(
        by_pairs,
        """
## ITL counts the first token
- pairwise(token_times) → pairwise([arrival, *token_times])
Your ITLs begin with the wait for the first token. That is TTFT: it has prefill and queue in it,
and would spoil the mean. n tokens have n - 1 gaps.
## the arrival ignored
- token_times[0] - arrival, itl, token_times[-1] - arrival → token_times[0], itl, token_times[-1]
TTFT and the end-to-end latency are durations: subtract the arrival from the clock readings.
## TTFT on the clock
- return token_times[0] - arrival → return token_times[0]
Your TTFT is a reading of the clock. It is how long the first token took: subtract the arrival.
## end-to-end on the clock
- token_times[-1] - arrival → token_times[-1]
Your end-to-end latency is a reading of the clock. It is how long the answer took: subtract the
arrival.
## rounded to hundredths
- later - earlier for → round(later - earlier, 2) for
- return token_times[0] - arrival → return round(token_times[0] - arrival, 2)
- token_times[-1] - arrival → round(token_times[-1] - arrival, 2)
You round to hundredths of a second. Return the differences as they are: where milliseconds count,
they are gone.
## a gap of 0 for one token
- , itl, → , itl or [0.0],
Right but for one token: it has no gap at all, so the list is empty. A 0 in it would pull the mean
down.
## in milliseconds
- later - earlier for → 1000 * (later - earlier) for
- return token_times[0] - arrival → return 1000 * (token_times[0] - arrival)
- token_times[-1] - arrival → 1000 * (token_times[-1] - arrival)
Those are milliseconds. Seconds are asked for.
## the first gap is missing
- , itl, → , itl[1:],
One gap too few: the first one is from the first token to the second.
## the worst gap
- , itl, → , max(itl, default=0.0),
That is the longest gap. Keep them all in a list, which is empty for one token.
## end-to-end from the first token
- token_times[-1] - arrival → token_times[-1] - token_times[0]
You measure from the first token to the last. End-to-end begins when the user asks: the wait for
the first token is part of it.
## one mean for all gaps
- , itl, → , sum(itl) / len(itl),
That is the mean of the gaps. Keep them all in a list, which is empty for one token: means hide the
one long gap that a reader notices.
## one mean for all gaps, by `statistics`
- , itl, → , statistics.fmean(itl),
That is the mean of the gaps. Keep them all in a list, which is empty for one token: means hide the
one long gap that a reader notices.
## one mean for all gaps, or 0
- , itl, → , sum(itl) / len(itl) if itl else 0.0,
That is the mean of the gaps. Keep them all in a list, which is empty for one token: means hide the
one long gap that a reader notices.
## ITL since the arrival
- [later - earlier for earlier, later in pairwise(token_times)]
+ [t - arrival for t in token_times[1:]]
Your ITLs grow from token to token: they count from the arrival. Each counts from the token before
it.
## all tokens since the arrival
- [later - earlier for earlier, later in pairwise(token_times)]
+ [t - arrival for t in token_times]
Your ITLs count from the arrival, and there is one for each token. Each counts from the token before
it, and n tokens have n - 1.
## ITL since the first token
- [later - earlier for earlier, later in pairwise(token_times)]
+ [t - token_times[0] for t in token_times[1:]]
Your ITLs grow from token to token: they all count from the first one. Each counts from the token
just before it.
## negative gaps
- later - earlier for → earlier - later for
Your ITLs are negative: it is later minus earlier.
## the last gap is missing
- , itl, → , itl[:-1],
One gap too few: n tokens have n - 1 gaps, the last one ends at the last token.
## end-to-end first
- token_times[0] - arrival, itl, token_times[-1] - arrival
+ token_times[-1] - arrival, itl, token_times[0] - arrival
The numbers are right, TTFT and end-to-end stand in each other's place: TTFT, then the list of ITLs,
then end-to-end.
## the wrong order
- itl, token_times[-1] - arrival → token_times[-1] - arrival, itl
The numbers are right, their order is not: TTFT, then the list of ITLs, then end-to-end.
## the waits of all tokens added
- token_times[-1] - arrival → sum(t - arrival for t in token_times)
You add up how long each token took since the arrival. The end-to-end latency is that of the last
token alone.
""",
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


def ranked(samples: list[float], p: float) -> float:
    """A right one."""
    n = len(samples)
    rank = math.ceil(p * n / 100)
    return sorted(samples)[rank - 1]


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
    mistakes=edits(
        ranked,
        """
## the mean
- sorted(samples)[rank - 1] → statistics.fmean(samples)
That is the mean, whatever p is. One request of 50 s moves it; it does not move the median.
## always the median
- p * n / 100 → 50 * n / 100
That is P50, whatever p is.
## interpolated
- sorted(samples)[rank - 1] → float(np.percentile(samples, p))
You interpolate between two samples, as NumPy does by default. Nearest rank gives one of the
samples: a latency that somebody had.
## not sorted
- sorted(samples) → samples
You take the sample that *came* at that place. Sort a copy first.
## sorted in the caller's list
- return sorted(samples)[rank - 1]
+ samples.sort()
+ return samples[rank - 1]
The value is right, but `samples.sort()` turned the caller's list around: arrival number 5 now has
another's latency. `sorted(samples)` makes a copy.
## the rank as an index, held back at the end
- [rank - 1] → [min(rank, n - 1)]
One rank too high, where there is one above: ranks count from 1, Python's indices from 0, so the
sample of rank 1 is `ordered[0]`. No rank is then too large.
## rounded down, as an index, held back at the end
- math.ceil(p * n / 100) → int(p * n / 100)
- [rank - 1] → [min(rank, n - 1)]
`ordered[int(p * n / 100)]` is right only where p·n/100 is not whole: the P50 of four samples is then
the third. Round up, and take one less as an index; P100 needs no case of its own then.
## the rank as an index
- [rank - 1] → [rank]
Off by one: ranks count from 1, Python's indices from 0. Take `ordered[rank - 1]`.
## rounded down, as an index
- math.ceil(p * n / 100) → int(p * n / 100)
- [rank - 1] → [rank]
`ordered[int(p * n / 100)]` is right only where p·n/100 is not whole. The P50 of four samples is
then the third; and P100 has no sample at all.
## rounded down
- math.ceil(p * n / 100) → int(p * n / 100)
You round the rank down: fewer than p % of the samples lie at or below the one that you give. Round
up. (And a rank below 1 becomes index -1, which is the *largest* sample.)
## rounded down, 1 at least
- math.ceil(p * n / 100) → max(int(p * n / 100), 1)
You round the rank down: fewer than p % of the samples may lie at or below the one that you give.
Round up.
## rounded to the nearest rank, or the last
- math.ceil(p * n / 100) → round(p * n / 100)
The name misleads: the rank is rounded *up*. Rounded to the nearest, fewer than p % of the samples
may lie at or below it, and a rank of 0 becomes index -1, the largest.
## one rank too low
- [rank - 1] → [max(rank - 2, 0)]
One rank too low: rank 1 is index 0, so take `ordered[rank - 1]`.
## the rank itself
- sorted(samples)[rank - 1] → rank
That is the rank. Asked for is the sample that has it.
## rounded to the nearest rank
- math.ceil(p * n / 100) → max(round(p * n / 100), 1)
The name misleads: the rank is rounded *up*. Rounded to the nearest, fewer than p % of the samples
may lie at or below it.
## n - 1 instead of n
- math.ceil(p * n / 100) → math.ceil(p * (n - 1) / 100)
- [rank - 1] → [rank]
You spread p over the n - 1 gaps between the samples, and round. The rank is p % of n, rounded up.
## n - 1 instead of n, to the nearest
- math.ceil(p * n / 100) → round(p * (n - 1) / 100)
- [rank - 1] → [rank]
You spread p over the n - 1 gaps between the samples, and take the nearest. The rank is p % of n,
rounded up; its index is one less.
## n - 1 instead of n, rounded down
- math.ceil(p * n / 100) → int(p * (n - 1) / 100)
- [rank - 1] → [rank]
You spread p over the n - 1 gaps between the samples, and round down. The rank is p % of n, rounded
up; its index is one less.
## sorted downwards
- sorted(samples) → sorted(samples, reverse=True)
You count from the largest: P90 is then what only one in ten stays *below*.
## p as a fraction
- p * n / 100 → p * n
p is in percent, 90 and not 0.9: divide by 100.
## divided first
- p * n / 100 → p / 100 * n
`p / 100 * n` is 55.00000000000001 for p = 55 and n = 100, and its ceiling 56. Multiply first: `p *
n / 100` is exact for whole p.
## equal samples counted once
- n = len(samples)
+ samples = list(set(samples))
+ n = len(samples)
A set keeps equal samples once. Ten requests of 2 s are ten.
## a share of the largest
- sorted(samples)[rank - 1] → p / 100 * max(samples)
P90 is not 90 % of the largest sample. It is the sample that 90 % of them don't exceed.
""",
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


def one_after_the_other(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    """A right one."""
    free, waits = 0.0, []
    for arrival, service in zip(arrivals, service_times, strict=True):
        start = max(arrival, free)
        waits.append(start - arrival)
        free = start + service
    return waits


def by_lindley(arrivals: Sequence[float], service_times: Sequence[float]) -> list[float]:
    """Another, without a clock."""
    waits = [0.0] if arrivals else []
    for i in range(1, len(arrivals)):
        gap = arrivals[i] - arrivals[i - 1]
        waits.append(max(0.0, waits[-1] + service_times[i - 1] - gap))
    return waits


def one_and_none(candidate: Candidate) -> list[Any]:
    return [candidate([2.0], [3.0]), candidate([], [])]


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
        trial("one request, and none", one_and_none, lambda: [[0.0], []]),
        call("60 random ones, half load", *random_trace(1, 60, 0.5), oracle=random_walk),
        call("60 random ones, too much load", *random_trace(3, 60, 1.3), oracle=random_walk),
    ),
    mistakes=(
        *edits(
            one_after_the_other,
            """
## idle time forgotten
- free = start + service → free = free + service
Your server works without a pause from time 0 on: what it saves in quiet minutes it uses later. It
can only start when a request *is there*: at the later one of arrival and free.
## negative waits
- start - arrival → free - arrival
Some of your waits are negative: the request came to an idle server. It waits 0 then; the wait is
start minus arrival.
## idle time saved up
- start = max(arrival, free) → start = free
Your waits become negative and are carried on, as if the server could work ahead. Take the maximum
with 0 at each request.
## the latency instead of the wait
- start - arrival → start + service - arrival
You give the latency, wait plus service. The wait ends when the service starts.
## the starts instead of the waits
- start - arrival → start
Those are the times at which the services start. Subtract the arrivals.
## the ends instead of the waits
- start - arrival → start + service
Those are the times at which the services end. The wait is start minus arrival.
""",
        ),
        *edits(
            by_lindley,
            """
## a wait that nobody had
- [0.0] if arrivals else [] → [0.0]
Right but where there is no request: one wait for each, so the list is empty then. Yours begins with
a 0 whether or not somebody came.
## the gap forgotten
- waits[-1] + service_times[i - 1] - gap → waits[-1] + service_times[i - 1]
You hand on the whole delay of the one before. Meanwhile time went by: subtract the gap between the
two arrivals.
## the own service
- service_times[i - 1] → service_times[i]
You make each request wait for its own service. It waits for the one *before* it:
`service_times[i - 1]`.
## no memory
- waits[-1] + service_times → service_times
You look at the request just before alone. That one may have waited itself: the delay is handed on.
## the clock instead of the gap
- - gap)) → - arrivals[i]))
You subtract the clock's reading. In Lindley's recursion it is the gap between this arrival and the
one before.
## the magnitude
- max(0.0, waits → abs(waits
`abs` makes a wait out of the time that the server was idle. It is `max(0, …)`.
""",
        ),
        *edits(
            one_after_the_other,
            """
## nobody ever waits
- start - arrival → 0.0
Everybody is served at once: that is a machine for each request. Here one server must be free
first.
## rounded to whole seconds
- start - arrival → round(start - arrival)
You round the waits. Return them as they are.
## the last to come is served first
- zip(arrivals, service_times, strict=True) → list(zip(arrivals, service_times, strict=True))[::-1]
You serve the last request first. They come in order, and who comes first is served first.
## the first is missing
- return waits → return waits[1:]
One wait too few: the first request waits as well, for 0 seconds.
## latecomers alone
- return waits → return [wait for wait in waits if wait > 0]
You left out those who did not wait: there must be one wait for each request, 0 among them.
""",
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


def by_the_formula(rate: float, mean: float, variance: float) -> float:
    """A right one."""
    load = rate * mean
    if load >= 1:
        return math.inf
    return rate * (variance + mean**2) / (2 * (1 - load))


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
    mistakes=edits(
        by_the_formula,
        """
## the variance for the second moment
- (variance + mean**2) → variance
You take the variance where E[S²] stands: services that all take equally long would make nobody
wait. E[S²] is variance plus mean².
## mean² for the second moment
- (variance + mean**2) → mean**2
You take mean² for E[S²], which is right only where all services take equally long. Add the
variance.
## the idle share squared
- (2 * (1 - load)) → (2 * (1 - load) ** 2)
You divide by 1 - ρ twice. Once is enough.
## the rate forgotten
- return rate * → return
λ is missing in the numerator: W = λ · E[S²] / (2 (1 - ρ)).
## the mean not squared
- variance + mean**2 → variance + mean
E[S²] is the variance plus the *square* of the mean.
## mean² minus the variance
- variance + mean**2 → mean**2 - variance
You subtract the variance from mean². It is E[S²] that is asked for: E[S²] = Var + mean². What
spreads more makes people wait longer.
## the latency of exponential services
- rate * (variance + mean**2) / (2 * (1 - load)) → mean / (1 - load)
That is the mean *latency* for exponential services, whatever the variance. Asked for is the wait:
E[S²] in the numerator, and no service added.
## in services
- return rate * → return rate / mean *
You divide the wait by the mean service. Seconds are asked for.
## always exponential
- rate * (variance + mean**2) / (2 * (1 - load)) → load / (1 - load) * mean
You give the wait for exponential services, ρ/(1 - ρ) services, whatever the variance.
## the 2 is missing
- (2 * (1 - load)) → (1 - load)
Twice too long: the denominator is 2 (1 - ρ). (In the middle of a service, half of it is left on
average: that is where the 2 comes from.)
## the 2 divides the wrong thing
- / (2 * (1 - load)) → / 2 * (1 - load)
`x / 2 * (1 - load)` divides by 2 and then multiplies. Put brackets: `/ (2 * (1 - load))`.
## 1 - ρ is missing
- (2 * (1 - load)) → 2
Your wait does not run away as the load comes near 1: divide by 1 - ρ as well.
## the rate for the load
- 1 - load → 1 - rate
You subtract the rate from 1. The load ρ has no unit: rate times mean service.
## the load for the rate
- return rate * → return load *
The numerator has λ, the rate, not the load: yours is off by a factor of E[S].
## the latency
- (2 * (1 - load)) → (2 * (1 - load)) + mean
You added the service. Asked for is the wait before it.
## how many wait
- return rate * → return rate * rate *
That is how many wait on average (Little's law), not how long.
## the rate held against 1
- load >= 1 → rate >= 1
You call a server full whose *rate* reaches 1. It is the load that counts: rate times mean service.
## 0 from full load on
- return math.inf → return 0.0
From full load on the queue grows for ever: return `math.inf`, not 0.
## None from full load on
- return math.inf → return None
From full load on the queue grows for ever: return `math.inf`, not None.
## negative above full load
- if load >= 1:
-     return math.inf
From full load on, the formula gives nonsense: a division by 0, or a negative wait. The queue then
grows for ever: return `math.inf`.
## finite at full load
- load >= 1 → load > 1
At load 1 itself you divide by 0. The queue grows for ever from *full* load on: compare with `>=
1`, not `> 1`.
## the variance squared
- variance + → variance**2 +
You squared the variance: it is a square already.
## the standard deviation
- variance + → variance**0.5 +
You add the standard deviation to mean². Variances add up, standard deviations don't.
""",
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


def band_by_ranks(
    samples: Sequence[float], p: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The oracle: the rank of each end, 0 and n + 1 where no sample will do."""
    n, tail = len(samples), (1 - confidence) / 2
    at_most = below(n, p)
    low = max((r for r in range(1, n + 1) if at_most[r - 1] <= tail), default=0)
    high = min((s for s in range(1, n + 1) if at_most[s - 1] >= 1 - tail), default=n + 1)
    padded = [-math.inf, *sorted(samples), math.inf]
    return padded[low], padded[high]


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
        call("the median of 20", TWENTY, 50, oracle=band_by_ranks),
        call("P90 of 60", SKEWED, 90, oracle=band_by_ranks),
        call("the median of 60, 80 %", SKEWED, 50, 0.8, oracle=band_by_ranks),
        call("P90 of 20: no upper end", TWENTY, 90, oracle=band_by_ranks),
        call("P5 of 30: no lower end", SKEWED[:30], 5, oracle=band_by_ranks),
        call("P75 of 100, 99 %", HUNDRED, 75, 0.99, oracle=band_by_ranks),
    ),
    mistakes=edits(
        band_by_ranks,
        """
## the band of the mean
- n, tail =
+ z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
+ half = z * statistics.stdev(samples) / len(samples) ** 0.5
+ n, tail =
- padded[low], padded[high] → statistics.fmean(samples) - half, statistics.fmean(samples) + half
That is the band of the *mean*, by the normal distribution. Latencies are skewed, and a percentile
is not a mean: count ranks.
## where most samples lie
- padded[low], padded[high]
+ nearest_rank(samples, 100 * tail), nearest_rank(samples, 100 - 100 * tail)
95 % of the *samples* lie between those two. The band is about the percentile: it gets narrow with
many samples.
## the whole doubt at each end
- (1 - confidence) / 2 → 1 - confidence
Your band is too narrow: each end may be wrong in (1 - confidence) / 2 of the cases, since there
are two.
## an end where there is none
- default=0 → default=1
- default=n + 1 → default=n
Where no sample is high (or low) enough, you take the largest (or least). But the true percentile
may well lie beyond every sample: the end is infinite.
## an upper end where there is none
- default=n + 1 → default=n
Where no sample is high enough you take the largest. But the true percentile may well lie beyond
every sample: the upper end is math.inf then.
## a lower end where there is none
- default=0 → default=1
Where no sample is low enough you take the least. But the true percentile may well lie below every
sample: the lower end is -math.inf then.
## not sorted
- *sorted(samples) → *samples
Ranks count in the sorted samples: sort a copy first.
## the lower end one rank too high
- padded[low], → padded[low + 1],
The lower end is one rank too high: for rank r it matters how likely *fewer than r* samples lie
below, P(K ≤ r - 1).
## the lower end one rank too low
- padded[low], → padded[max(low - 1, 0)],
The lower end is one rank too low: take the *highest* r with P(K ≤ r - 1) at most the tail. That is
not P(K ≤ r).
## both ends one rank too low
- padded[low], padded[high] → padded[max(low - 1, 0)], padded[max(high - 1, 0)]
Both ends are one rank too low: K counts from 0, ranks from 1. P(K ≤ r - 1) belongs to rank r, whose
index is r - 1.
## the first rank that will do
- low = max( → low = min(
P(K ≤ r - 1) is at most the tail for rank 1 already, if for any. Take the *highest* such r: the
narrowest band.
## the last rank that will do
- high = min( → high = max(
P(K ≤ s - 1) is large enough for the last rank, if for any. Take the *lowest* such s: the narrowest
band.
## chances not added up
- at_most = below(n, p)
+ at_most = [b - a for a, b in pairwise([0.0, *below(n, p)])]
You hold P(K = k) against the tail. It is P(K ≤ k): add the chances up from k = 0.
## the other side's chance
- below(n, p) → below(n, 100 - p)
Your q is the chance to fall *above*: with q = p/100 a sample falls below the true percentile.
## the doubt halved once more
- (1 - confidence) / 2 → (1 - confidence) / 4
Your band is too wide: each end may be wrong in (1 - confidence) / 2 of the cases, and you halve that
once more.
## the confidence as the tail
- (1 - confidence) / 2 → confidence / 2
You take half of the confidence for the tail. It is half of the *doubt*: (1 - confidence) / 2.
## the upper end one rank too low
- padded[high] → padded[high - 1]
The upper end is one rank too low: rank s will do if P(K ≤ s - 1) is at least 1 minus the tail.
## the upper end one rank too high
- padded[high] → padded[min(high + 1, n + 1)]
The upper end is one rank too high: the smallest s with P(K ≤ s - 1) ≥ 1 minus the tail.
## both ends one rank too high
- padded[low], padded[high] → padded[low + 1], padded[min(high + 1, n + 1)]
Both ends are one rank too high: K counts from 0, ranks from 1, indices from 0 again.
## always the median
- below(n, p) → below(n, 50)
Your band is that of the median: the binomial has q = p/100, not one half.
## always 95 %
- (1 - confidence) / 2 → 0.025
You ignore `confidence`: it is 0.95 only if nothing else is given.
## ranks instead of samples
- padded[low], padded[high] → low, high
Those are the ranks. Wanted are the samples that have them.
""",
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


def tried_one_by_one(
    arrivals: Sequence[float], services: Sequence[float], target: float, p: float = 90
) -> int | None:
    """The oracle."""
    for machines in range(1, len(arrivals) + 1):
        waits = waits_with(arrivals, services, machines)
        latencies = [w + s for w, s in zip(waits, services, strict=True)]
        if nearest_rank(latencies, p) <= target:
            return machines
    return None


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
        call(
            "one long service among short ones, P75",
            [0.0, 10.0, 20.0, 30.0],
            [1.0, 1.0, 1.0, 9.0],
            2.0,
            75,
            oracle=tried_one_by_one,
        ),
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
    mistakes=edits(
        tried_one_by_one,
        """
## by the load alone
- for machines in
+ return math.ceil(sum(services) / (arrivals[-1] - arrivals[0]))
+ for machines in
That is the load, rounded up: enough for the *work*, whatever the target. With just as many
machines as there is work, the queue is long.
## waits instead of latencies
- nearest_rank(latencies, p) → nearest_rank(waits, p)
You hold the waits against the target. A user waits for the service too: add it.
## the mean instead of the percentile
- nearest_rank(latencies, p) → statistics.fmean(latencies)
You hold the mean latency against the target: then many requests miss it.
## the slowest of all
- nearest_rank(latencies, p) → max(latencies)
You ask that *every* request keep the target. Only p % have to.
## the median
- nearest_rank(latencies, p) → nearest_rank(latencies, 50)
You hold the median against the target, whatever p is.
## the services alone
- nearest_rank(latencies, p) → nearest_rank(services, p)
You hold the services against the target. A user waits for a machine before that: add the waits.
## the mean service added
- w + s for w, s in zip(waits, services, strict=True)
+ w + statistics.fmean(services) for w in waits
You add the mean service to each wait. A request's latency is its wait and its *own* service.
## always P90
- nearest_rank(latencies, p) → nearest_rank(latencies, 90)
You ignore p: it is 90 only if nothing else is given.
## strictly below
- <= target → < target
A latency that equals the target keeps it: compare with `<=`.
## one too many
- return machines → return machines + 1
One machine more than needed: is the number raised once more after the test that held?
## one too few
- return machines → return machines - 1
One machine too few: yours is the last number that does *not* hold.
## doubled only
- return machines → return 2 ** math.ceil(math.log2(machines))
You double until it holds and stop there: fewer may be enough. Look between the last two.
## a queue for each machine
- waits = waits_with(arrivals, services, machines)
+ waits = [0.0] * len(arrivals)
+ for m in range(machines):
+     waits[m::machines] = waits_with(arrivals[m::machines], services[m::machines], 1)
Each of your machines has a queue of its own, so a request waits while another machine is idle.
Here all share one queue.
## a limit of its own
- range(1, len(arrivals) + 1) → range(1, min(len(arrivals) + 1, 300))
You give up too early. With a machine for each request nobody waits, so try every number up to
`len(arrivals)`, and that one too.
## as many as there are requests for none
- return None → return len(arrivals)
Where no number is enough, the answer is None. A machine for each request is not enough either.
## infinity for none
- return None → return math.inf
Where no number is enough, the answer is None.
## more than p percent
- if nearest_rank(latencies, p) <= target
+ if 100 * sum(x <= target for x in latencies) > p * len(latencies)
You ask that *more* than p % keep the target. It is enough that p % do: all of them for p = 100.
## one of two was tried
- range(1, len(arrivals) + 1) → range(1, len(arrivals) + 1, 2)
You try every second number: the fewest may lie between.
## 0 for none
- return None → return 0
Where no number is enough, the answer is None: 0 machines would be read as a number.
""",
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


def counted_one_by_one(
    requests: Sequence[Any],
    seconds: float,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    """The oracle."""
    good = 0
    for first, gaps, whole in requests:
        steady = not gaps or sum(gaps) / len(gaps) <= itl
        good += first <= ttft and steady and whole <= end_to_end
    return good / seconds


def shares_multiplied(
    requests: Sequence[Any],
    seconds: float,
    ttft: float = math.inf,
    itl: float = math.inf,
    end_to_end: float = math.inf,
) -> float:
    targets = {"ttft": ttft, "itl": itl, "end_to_end": end_to_end}
    n = len(requests)
    shares = [counted_one_by_one(requests, n, **{name: x}) for name, x in targets.items()]
    return n * math.prod(shares) / seconds


def or_division_by_zero(case: Case) -> Case:
    """A division by 0 counts as an output: a mistake that only raises could not be recognised."""

    def run(candidate: Candidate) -> Any:
        try:
            return case.run(candidate)
        except ZeroDivisionError as error:
            return f"ZeroDivisionError: {error}"

    return Case(case.label, run, case.expected, case.inputs)


SERVED = [
    (0.25, [0.125, 0.375], 0.75),
    (0.75, [0.125], 0.875),
    (0.25, [], 0.25),
    (0.125, [0.5], 0.625),
    (0.5, [0.25, 0.25, 0.25], 1.25),
    (1.5, [0.75, 0.75], 3.0),
    (1.25, [], 1.25),
    (0.375, [0.125, 0.125, 1.0], 1.625),  # a small median, a large mean
    (0.375, [0.5, 0.125, 0.125], 1.125),  # the mean just keeps 0.25, the first gap does not
    (0.25, [0.125, 0.5, 0.5], 1.375),  # the first gap and the least keep it, the mean does not
    (0.25, [0.25, 0.125, 0.125], 0.75),  # with the wait for the first in it, too
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
        call("a target for TTFT", SERVED, 4.0, ttft=0.5, oracle=counted_one_by_one),
        or_division_by_zero(
            call("a target for ITL", SERVED, 4.0, itl=0.25, oracle=counted_one_by_one)
        ),
        call("a target for all of it", SERVED, 2.0, end_to_end=0.875, oracle=counted_one_by_one),
        call("two targets", SERVED, 4.0, ttft=0.5, itl=0.25, oracle=counted_one_by_one),
        call(
            "three targets",
            SERVED,
            8.0,
            ttft=1.25,
            itl=0.3,
            end_to_end=1.25,
            oracle=counted_one_by_one,
        ),
        call("no target", SERVED, 2.0, oracle=counted_one_by_one),
        call("nobody keeps it", SERVED[3:6], 2.0, ttft=0.0625, oracle=counted_one_by_one),
    ),
    mistakes=(
        *edits(
            counted_one_by_one,
            """
## the throughput
- good += first <= ttft and steady and whole <= end_to_end → good += 1
You count every request. Those that missed a target were served for nothing.
## TTFT ignored
- first <= ttft and steady → steady
You ignore the target for TTFT.
## the end-to-end target ignored
- first <= ttft and steady and whole <= end_to_end → first <= ttft and steady
You ignore the target for the end-to-end latency.
## those that missed
- first <= ttft and steady and whole <= end_to_end
+ not (first <= ttft and steady and whole <= end_to_end)
You count the requests that missed a target. Asked for are those that kept them all.
## the number alone
- good / seconds → good
That is how many requests kept the targets. Asked for is how many per second: divide by `seconds`.
## rounded down
- good / seconds → good // seconds
`//` rounds down to a whole number. A rate has a part after the point: `/`.
## the median of the gaps
- sum(gaps) / len(gaps) → statistics.median(gaps)
You hold the median of the ITLs against the target. It is their *mean*, which one long gap moves.
## the first gap
- sum(gaps) / len(gaps) → gaps[0]
You hold a request's first ITL against the target. It is the mean of all of them.
## the last gap
- sum(gaps) / len(gaps) → gaps[-1]
You hold a request's last ITL against the target. It is the mean of all of them.
## the least gap
- sum(gaps) / len(gaps) → min(gaps)
You hold the least ITL against the target. It is the mean of all of them.
## the first token among the gaps
- sum(gaps) / len(gaps) → (first + sum(gaps)) / (len(gaps) + 1)
You take the wait for the first token into the mean. That is TTFT, which has a target of its own:
ITLs are the gaps between tokens.
## one target is enough
- ttft and steady and whole → ttft or steady or whole
You count a request that kept *any* target. It must keep every one: the user feels the worst.
## the share instead of the rate
- good / seconds → good / len(requests)
That is the share of the requests that kept the targets. Goodput is a rate: divide by the seconds,
not by the number.
## strictly below the target for TTFT
- first <= ttft → first < ttft
A latency that equals its target keeps it. For TTFT you ask for less: compare with `<=`.
## strictly below the target for ITL
- <= itl → < itl
A latency that equals its target keeps it. For ITL you ask for less: compare with `<=`.
## strictly below the target for all of it
- whole <= end_to_end → whole < end_to_end
A latency that equals its target keeps it. For the end-to-end latency you ask for less: compare with
`<=`.
## strictly below
- <= itl → < itl
- first <= ttft and steady and whole <= end_to_end
+ first < ttft and steady and whole < end_to_end
A latency that equals its target keeps it: compare with `<=`.
## every gap
- sum(gaps) / len(gaps) <= itl → all(gap <= itl for gap in gaps)
You ask every single gap to keep the target for ITL. Here it is held against their mean (the time
per output token).
## the sum of the gaps
- sum(gaps) / len(gaps) → sum(gaps)
You hold the *sum* of the gaps against the target for ITL: long answers would never keep it. Take
their mean.
## one token fails
- not gaps or → len(gaps) > 0 and
A request of one token has no gaps, so it can't miss the target for ITL: count it.
## the mean of no gaps
- not gaps or sum → sum
You divide by `len([])`, which is 0: a request of one token has no gaps. It can't miss the target
for ITL; ask `not gaps or …` first.
## ITL ignored
- not gaps or sum(gaps) / len(gaps) <= itl → True
You ignore the target for ITL, which may be missed where TTFT is fine.
## divided by one token too many
- len(gaps) → (len(gaps) + 1)
The mean of the gaps: n tokens have n - 1 gaps, so divide by `len(gaps)`.
""",
        ),
        Mistake(
            "shares multiplied",
            "You multiply the shares of those who kept each target, as if they were independent. Count "
            "the requests that kept all.",
            shares_multiplied,
        ),
        *edits(
            counted_one_by_one,
            """
## tokens counted
- good += first <= ttft and steady and whole <= end_to_end
+ good += (first <= ttft and steady and whole <= end_to_end) * (len(gaps) + 1)
You count tokens. Asked for are requests per second.
""",
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
