"""Exercises of lesson 11: latencies, percentiles, the queue and its mean wait, capacity."""

from __future__ import annotations

import math
import statistics  # noqa: F401, the edits use it
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from decodeloop import cost
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call, trial

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
        call("gaps of milliseconds", 2.0, [2.5, 2.5125, 2.53, 2.5375], oracle=differences),
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
## the gaps rounded to hundredths
- later - earlier for → round(later - earlier, 2) for
You round the ITLs to hundredths of a second. Return the differences as they are: a gap of 12.5 ms
is none of 10 ms.
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
THREE_HUNDRED = [float((37 * i) % 300) for i in range(300)]

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
        percentile_case("P99 of a hundred", HUNDRED, 99),
        percentile_case("P99.5 of three hundred", THREE_HUNDRED, 99.5),
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
## p cut to a whole number
- p * n / 100 → int(p) * n / 100
You cut p to a whole number: P99.5 is then P99. Leave p as it is.
## the largest for P99
- return sorted(samples)[rank - 1]
+ return max(samples) if p >= 99 and n <= 100 else sorted(samples)[rank - 1]
You take the largest for P99. Below 100 samples it is that; of a hundred P99 is the largest but
one. No case of its own is needed.
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
Everybody is served at once: that is a machine for each request, or services that take no time.
Here one server must be free first.
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

EXERCISES = (
    LATENCIES,
    PERCENTILE,
    SIMULATE_QUEUE,
    PERCENTILE_BAND,
)
