"""Exercises of lesson 11b: the mean wait, goodput, and how many machines."""

from __future__ import annotations

import heapq
import math
import statistics  # noqa: F401, the edits use it
from collections.abc import Sequence
from typing import Any

from decodeloop import cost
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call
from decodeloop.exercises.lesson_11 import nearest_rank, random_trace

LESSON = "11b_capacity"

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
## the sum squared
- variance + mean**2 → (variance + mean) ** 2
You square the sum of variance and mean. E[S²] is the variance plus the square of the mean.
## the 2 inside of the bracket
- (2 * (1 - load)) → (2 - load)
The 2 multiplies 1 alone. Put brackets: `2 * (1 - load)`.
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
## None every time
- if nearest_rank(latencies, p) <= target:
-     return machines
You give None every time, which says that no number is enough. Return the first number of machines
with which the percentile keeps the target.
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
    (0.5, [0.75], 1.25),
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
## a single gap ignored
- not gaps or → len(gaps) < 2 or
A request of two tokens has one gap, which is its mean. Only without any gap the target is kept in
any case.
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
    MEAN_WAIT,
    GOODPUT,
    MACHINES_NEEDED,
)
