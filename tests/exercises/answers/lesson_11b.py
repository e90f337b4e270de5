"""Lesson 11b: right answers, named mistakes in other words, and wrong answers nobody named."""

import bisect
import heapq
import math
import statistics

from decodeloop.exercises.edits import edited

INF = math.inf

# --- percentile -----------------------------------------------------------------------------------


def percentile_by_counting(samples, p):
    n = len(samples)
    return min(v for v in samples if 100 * sum(w <= v for w in samples) >= p * n)


# --- mean_wait ------------------------------------------------------------------------------------


def by_residual_service(rate, mean_service, variance_of_service):
    """Who comes finds a service half done, with chance ρ, and the waits of those in front."""
    load = rate * mean_service
    if not load < 1:
        return float("inf")
    residual = (mean_service + variance_of_service / mean_service) / 2
    return load * residual / (1 - load)


def between_md1_and_mm1(rate, mean_service, variance_of_service):
    idle = 1 - rate * mean_service
    if idle <= 0:
        return INF
    md1 = rate * mean_service**2 / (2 * idle)
    return md1 * (1 + variance_of_service / mean_service**2)


MEAN_WAITS = edited(
    between_md1_and_mm1,
    """
## the variance for the second moment
- (1 + variance_of_service / mean_service**2) → (variance_of_service / mean_service**2)
## mean² for the second moment
- return md1 * (1 + variance_of_service / mean_service**2) → return md1
## the idle share squared
- (2 * idle) → (2 * idle * idle)
## the rate forgotten
- md1 = rate * mean_service**2 → md1 = mean_service**2
## the sum squared
- return md1 * (1 + variance_of_service / mean_service**2)
+ return md1 * (1 + variance_of_service / mean_service) ** 2
## the 2 inside of the bracket
- (2 * idle) → (1 + idle)
## the mean not squared
- return md1 * (1 + variance_of_service / mean_service**2)
+ return md1 * (1 / mean_service + variance_of_service / mean_service**2)
## mean² minus the variance
- (1 + variance → (1 - variance
## the latency of exponential services
- return md1 * (1 + variance_of_service / mean_service**2) → return mean_service / idle
## in services
- return md1 → return md1 / mean_service
## always exponential
- return md1 * (1 + variance_of_service / mean_service**2) → return md1 + md1
## the 2 is missing
- (2 * idle) → idle
## the 2 divides the wrong thing
- (2 * idle) → 2 * idle
## 1 - ρ is missing
- (2 * idle) → 2
## the rate for the load
- (2 * idle) → (2 - 2 * rate)
## the load for the rate
- md1 = rate * → md1 = rate * mean_service *
## the latency
- return md1 → return mean_service + md1
## how many wait
- return md1 → return rate * md1
## the rate held against 1
- idle <= 0 → rate >= 1
## 0 from full load on
- return INF → return 0
## None from full load on
- return INF → return None
## negative above full load
- if idle <= 0:
-     return INF
## finite at full load
- idle <= 0 → idle < 0
## the variance squared
- variance_of_service / → variance_of_service**2 /
## the standard deviation
- variance_of_service / → math.sqrt(variance_of_service) /
""",
)

UNNAMED_MEAN_WAITS = edited(
    between_md1_and_mm1,
    """
## the load
- return md1 * (1 + variance_of_service / mean_service**2) → return 1 - idle
## 0 below full load
- return md1 * (1 + variance_of_service / mean_service**2) → return 0.0
## the spread ignored above the mean
- variance_of_service / mean_service**2 → min(variance_of_service / mean_service**2, 1)
## the deviation, relative
- variance_of_service / mean_service**2 → math.sqrt(variance_of_service) / mean_service
""",
)

# --- machines_needed ------------------------------------------------------------------------------


def latencies_with(arrivals, service_times, k):
    free = [0.0] * k
    out = []
    for a, s in zip(arrivals, service_times, strict=True):
        start = max(a, heapq.heappop(free))
        heapq.heappush(free, start + s)
        out.append((start - a, start - a + s))
    return [w for w, _ in out], [x for _, x in out]


def share_kept(latencies, target, p):
    """As a percentile, without one: at least p % take at most the target."""
    return 100 * sum(x <= target for x in latencies) >= p * len(latencies)


def machines_counted_up(arrivals, service_times, target, p=90):
    for k in range(1, len(arrivals) + 1):
        _, whole = latencies_with(arrivals, service_times, k)
        if share_kept(whole, target, p):
            return k
    return None


def machines_by_bisection(arrivals, service_times, target, p=90):
    numbers = range(1, len(arrivals) + 1)
    holds = bisect.bisect_left(
        numbers,
        True,
        key=lambda k: (
            percentile_by_counting(latencies_with(arrivals, service_times, k)[1], p) <= target
        ),
    )
    return holds + 1 if holds < len(arrivals) else None


MACHINES = edited(
    machines_counted_up,
    """
## by the load alone
- for k in
+ rate = len(arrivals) / (arrivals[-1] - arrivals[0])
+ return math.ceil(rate * statistics.fmean(service_times))
+ for k in
## waits instead of latencies
- _, whole = → whole, _ =
## the mean instead of the percentile
- share_kept(whole, target, p) → sum(whole) / len(whole) <= target
## the slowest of all
- share_kept(whole, target, p) → all(x <= target for x in whole)
## the median
- share_kept(whole, target, p) → share_kept(whole, target, 50)
## the services alone
- share_kept(whole, target, p) → share_kept(service_times, target, p)
## the mean service added
- _, whole = latencies_with(arrivals, service_times, k)
+ waits, _ = latencies_with(arrivals, service_times, k)
+ whole = [sum(service_times) / len(service_times) + w for w in waits]
## always P90
- share_kept(whole, target, p) → share_kept(whole, target, 90)
## strictly below
- share_kept(whole, target, p) → 100 * sum(x < target for x in whole) >= p * len(whole)
## one too many
- return k → return k + 1
## one too few
- return k → return k - 1
## doubled only
- return k → return next(2**i for i in range(20) if 2**i >= k)
## a queue for each machine
- _, whole = latencies_with(arrivals, service_times, k)
+ free, whole = [0.0] * k, []
+ for i, (a, s) in enumerate(zip(arrivals, service_times)):
+     free[i % k] = max(a, free[i % k]) + s
+     whole.append(free[i % k] - a)
## a limit of its own
- range(1, len(arrivals) + 1) → range(1, min(len(arrivals) + 1, 100))
## as many as there are requests for none
- return None → return k
## None every time
- return k → pass
## infinity for none
- return None → return INF
## more than p percent
- share_kept(whole, target, p) → 100 * sum(x <= target for x in whole) > p * len(whole)
## one of two was tried
- if share_kept → if k % 2 and share_kept
## 0 for none
- return None → return 0
""",
)


def latency_over_target(arrivals, service_times, target, p=90):
    _, whole = latencies_with(arrivals, service_times, 1)
    return math.ceil(percentile_by_counting(whole, p) / target)


# --- goodput --------------------------------------------------------------------------------------


def goodput_in_a_loop(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    good = 0
    for first, gaps, whole in requests:
        if first > ttft or whole > end_to_end:
            continue
        if len(gaps) > 0 and sum(gaps) / len(gaps) > itl:
            continue
        good += 1
    return good / seconds


def goodput_by_filtering(requests, seconds, *, ttft=INF, itl=INF, end_to_end=INF):
    left = [r for r in requests if r[0] <= ttft and r[2] <= end_to_end]
    left = [r for r in left if statistics.fmean(r[1] or [0.0]) <= itl]
    return len(left) / seconds


def means(gaps):
    return sum(gaps) / len(gaps) if gaps else 0.0


def each_share(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    n = len(requests)
    one = sum(r[0] <= ttft for r in requests) / n
    two = sum(means(r[1]) <= itl for r in requests) / n
    three = sum(r[2] <= end_to_end for r in requests) / n
    return one * two * three * n / seconds


GOODPUTS = {
    **edited(
        goodput_in_a_loop,
        """
## the throughput
- good / seconds → len(requests) / seconds
## TTFT ignored
- first > ttft or whole → whole
## the end-to-end target ignored
- first > ttft or whole > end_to_end → first > ttft
## those that missed
- good / seconds → (len(requests) - good) / seconds
## the number alone
- good / seconds → good
## rounded down
- good / seconds → math.floor(good / seconds)
## the median of the gaps
- sum(gaps) / len(gaps) → (sorted(gaps)[len(gaps) // 2] + sorted(gaps)[(len(gaps) - 1) // 2]) / 2
## a single gap ignored
- len(gaps) > 0 and → len(gaps) > 1 and
## the first gap
- sum(gaps) / len(gaps) → next(iter(gaps))
## the last gap
- sum(gaps) / len(gaps) → gaps[len(gaps) - 1]
## the least gap
- sum(gaps) / len(gaps) → sorted(gaps)[0]
## the first token among the gaps
- sum(gaps) / len(gaps) → statistics.fmean([first, *gaps])
## one target is enough
- if first > ttft or whole > end_to_end:
-     continue
- if len(gaps) > 0 and sum(gaps) / len(gaps) > itl:
+ if first > ttft and whole > end_to_end and len(gaps) > 0 and sum(gaps) / len(gaps) > itl:
## the share instead of the rate
- good / seconds → good / len(requests)
## strictly below the target for TTFT
- first > ttft → first >= ttft
## strictly below the target for ITL
- > itl → >= itl
## strictly below the target for all of it
- whole > end_to_end → whole >= end_to_end
## strictly below
- first > ttft or whole > end_to_end → first >= ttft or whole >= end_to_end
- > itl → >= itl
## every gap
- len(gaps) > 0 and sum(gaps) / len(gaps) → max(gaps, default=0.0)
## the sum of the gaps
- sum(gaps) / len(gaps) → sum(gaps)
## one token fails
- len(gaps) > 0 and → len(gaps) == 0 or
## the mean of no gaps
- len(gaps) > 0 and sum → sum
## ITL ignored
- len(gaps) > 0 and sum(gaps) / len(gaps) > itl → False
## divided by one token too many
- / len(gaps) → / (len(gaps) + 1)
## tokens counted
- good += 1 → good += 1 + len(gaps)
""",
    ),
    "shares multiplied": each_share,
}

UNNAMED_GOODPUTS = edited(
    goodput_in_a_loop,
    """
## the mean of the first and the last gap
- sum(gaps) / len(gaps) → (gaps[0] + gaps[-1]) / 2
## one request less
- good / seconds → max(good - 1, 0) / seconds
## seconds over count
- good / seconds → seconds / max(good, 1)
""",
)

# --- random inputs --------------------------------------------------------------------------------


RIGHT = {
    "mean_wait": [by_residual_service, between_md1_and_mm1],
    "machines_needed": [machines_counted_up, machines_by_bisection],
    "goodput": [goodput_in_a_loop, goodput_by_filtering],
}

SECOND_FORMS = {
    "mean_wait": MEAN_WAITS,
    "machines_needed": MACHINES,
    "goodput": GOODPUTS,
}

UNNAMED = {
    "mean_wait": list(UNNAMED_MEAN_WAITS.values()),
    "machines_needed": [
        lambda arrivals, service_times, target, p=90: len(arrivals),
        latency_over_target,
        lambda arrivals, service_times, target, p=90: 1,
    ],
    "goodput": list(UNNAMED_GOODPUTS.values()),
}
