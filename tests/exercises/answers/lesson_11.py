"""Lesson 11: right answers, named mistakes in other words, and wrong answers nobody named."""

import bisect
import heapq
import math
import statistics
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from hypothesis import strategies as st
from random_inputs import Driven

INF = math.inf

# --- latencies ------------------------------------------------------------------------------------


def latencies_in_a_loop(arrival, token_times):
    gaps, before = [], None
    for t in token_times:
        if before is not None:
            gaps.append(t - before)
        before = t
    return token_times[0] - arrival, gaps, before - arrival


def latencies_by_numpy(arrival, token_times):
    since = np.array(token_times) - arrival
    return [float(since[0]), np.diff(since).tolist(), float(since[-1])]


def gaps_with_the_arrival(arrival, token_times):
    times = [arrival, *token_times]
    itl = [times[i + 1] - times[i] for i in range(len(times) - 1)]
    return itl[0], itl, sum(itl)


def clock_readings(arrival, token_times):
    return token_times[0], np.diff(token_times).tolist(), token_times[-1]


def sum_of_the_gaps(arrival, token_times):
    ttft, itl, _ = latencies_in_a_loop(arrival, token_times)
    return ttft, itl, sum(itl)


def time_per_output_token(arrival, token_times):
    n = len(token_times) - 1
    tpot = (token_times[-1] - token_times[0]) / n
    return token_times[0] - arrival, tpot, token_times[-1] - arrival


def mean_by_statistics(arrival, token_times):
    itl = np.diff(token_times).tolist()
    return token_times[0] - arrival, statistics.mean(itl), token_times[-1] - arrival


def mean_or_nothing(arrival, token_times):
    gaps = max(len(token_times) - 1, 1)
    tpot = (token_times[-1] - token_times[0]) / gaps
    return token_times[0] - arrival, tpot, token_times[-1] - arrival


def since_the_arrival(arrival, token_times):
    since = [t - arrival for t in token_times]
    return since[0], since[1:], since[-1]


def since_the_first(arrival, token_times):
    first = token_times[0]
    itl = []
    for i in range(1, len(token_times)):
        itl.append(token_times[i] - first)
    return first - arrival, itl, token_times[-1] - arrival


def earlier_minus_later(arrival, token_times):
    itl = [a - b for a, b in pairwise(token_times)]
    return token_times[0] - arrival, itl, token_times[-1] - arrival


def range_too_short(arrival, token_times):
    itl = [token_times[i] - token_times[i - 1] for i in range(1, len(token_times) - 1)]
    return token_times[0] - arrival, itl, token_times[-1] - arrival


def list_at_the_end(arrival, token_times):
    ttft, itl, whole = latencies_in_a_loop(arrival, token_times)
    return (ttft, whole, itl)


def all_waits_added(arrival, token_times):
    ttft, itl, _ = latencies_in_a_loop(arrival, token_times)
    return ttft, itl, sum(token_times) - len(token_times) * arrival


def worst_gap(arrival, token_times):
    ttft, itl, whole = latencies_in_a_loop(arrival, token_times)
    return ttft, max(itl, default=0.0), whole


def milliseconds(arrival, token_times):
    ttft, itl, whole = latencies_in_a_loop(arrival, token_times)
    return 1e3 * ttft, [1e3 * gap for gap in itl], 1e3 * whole


def ttft_of_the_second(arrival, token_times):
    _, itl, whole = latencies_in_a_loop(arrival, token_times)
    return token_times[min(1, len(token_times) - 1)] - arrival, itl, whole


def as_a_tensor(arrival, token_times):
    ttft, itl, whole = latencies_in_a_loop(arrival, token_times)
    return torch.tensor([ttft, *itl, whole])


# --- percentile -----------------------------------------------------------------------------------


def percentile_by_counting(samples, p):
    n = len(samples)
    return min(v for v in samples if 100 * sum(w <= v for w in samples) >= p * n)


def percentile_by_fractions(samples, p):
    rank = math.ceil(Fraction(p) * len(samples) / 100)
    return torch.tensor(samples, dtype=torch.float64).sort().values[rank - 1]


def exact(n, p):
    return -(-p * n // 100)


def mean_of_all(samples, p):
    return sum(samples) / len(samples)


def median_low(samples, p):
    return statistics.median_low(samples)


def torchs_quantile(samples, p):
    return torch.tensor(samples, dtype=torch.float64).quantile(p / 100)


def place_of_arrival(samples, p):
    return list(samples)[exact(len(samples), p) - 1]


def ordered_where_they_are(samples, p):
    samples[:] = sorted(samples)
    return samples[exact(len(samples), p) - 1]


def from_zero(samples, p):
    return np.sort(samples)[exact(len(samples), p)]


def floor_as_an_index(samples, p):
    return sorted(samples)[math.floor(len(samples) * p / 100)]


def floor_of_the_rank(samples, p):
    rank = len(samples) * p // 100
    return np.sort(samples)[max(rank, 1) - 1]


def nearest_in_name(samples, p):
    n = len(samples)
    rank = min(max(round(n * p / 100), 1), n)
    return sorted(samples)[rank - 1]


def numpys_higher(samples, p):
    return float(np.percentile(samples, p, method="higher"))


def numpys_lower(samples, p):
    return float(np.percentile(samples, p, method="lower"))


def downwards(samples, p):
    ordered = sorted(samples)
    return ordered[len(ordered) - exact(len(ordered), p)]


def fraction_expected(samples, p):
    ordered = sorted(samples)
    return ordered[math.ceil(len(ordered) * p) - 1]


def quotient_first(samples, p):
    share = p / 100
    return sorted(samples)[max(math.ceil(share * len(samples)), 1) - 1]


def unique_ones(samples, p):
    kept = np.unique(samples)
    return float(kept[exact(len(kept), p) - 1])


def part_of_the_maximum(samples, p):
    return sorted(samples)[-1] * p / 100


def smallest_above(samples, p):
    return sorted(samples)[min(exact(len(samples), p), len(samples) - 1)]


def one_less(samples, p):
    return sorted(samples)[max(exact(len(samples), p) - 2, 0)]


def mean_of_the_tail(samples, p):
    return statistics.fmean(sorted(samples)[exact(len(samples), p) - 1 :])


def rank_itself(samples, p):
    return exact(len(samples), p)


# --- simulate_queue -------------------------------------------------------------------------------


def lindley(arrivals, service_times):
    waits = [0.0]
    for i in range(1, len(arrivals)):
        waits.append(max(0.0, waits[-1] + service_times[i - 1] - (arrivals[i] - arrivals[i - 1])))
    return waits[: len(arrivals)]


def by_ends(arrivals, service_times):
    ends = []
    for a, s in zip(arrivals, service_times, strict=True):
        ends.append((a if not ends or ends[-1] < a else ends[-1]) + s)
    return [max(0.0, e - s - a) for e, s, a in zip(ends, service_times, arrivals, strict=True)]


def totals(arrivals, service_times):
    done = np.concatenate([[0.0], np.cumsum(service_times)[:-1]])
    return np.maximum(0.0, done - np.array(arrivals)).tolist()


def ends_of(arrivals, service_times):
    """When the one before each is done; 0 for the first."""
    done = [0.0]
    for a, s in zip(arrivals, service_times, strict=True):
        done.append(max(a, done[-1]) + s)
    return done


def not_clipped(arrivals, service_times):
    done = ends_of(arrivals, service_times)
    return [d - a for d, a in zip(done, arrivals, strict=False)]


def totals_not_clipped(arrivals, service_times):
    work, waits = 0.0, []
    for i in range(len(arrivals)):
        waits.append(work - arrivals[i])
        work += service_times[i]
    return waits


def whole_latency(arrivals, service_times):
    return [w + s for w, s in zip(lindley(arrivals, service_times), service_times, strict=True)]


def clock_at_the_start(arrivals, service_times):
    return [w + a for w, a in zip(lindley(arrivals, service_times), arrivals, strict=True)]


def clock_at_the_end(arrivals, service_times):
    return ends_of(arrivals, service_times)[1:]


def service_of_the_wrong_one(arrivals, service_times):
    wait, waits = 0.0, []
    for i in range(len(arrivals)):
        if i:
            wait = max(wait + service_times[i] - arrivals[i] + arrivals[i - 1], 0.0)
        waits.append(wait)
    return waits


def only_the_one_before(arrivals, service_times):
    waits = []
    for i, a in enumerate(arrivals):
        done = arrivals[i - 1] + service_times[i - 1] if i else 0.0
        waits.append(max(done - a, 0.0))
    return waits


def arrival_for_gap(arrivals, service_times):
    wait, waits = 0.0, [0.0]
    for s, a in zip(service_times[:-1], arrivals[1:], strict=True):
        wait = wait + s - a
        wait = wait if wait > 0 else 0.0
        waits.append(wait)
    return waits


def absolute(arrivals, service_times):
    wait, waits = 0.0, [0.0]
    for i in range(len(arrivals) - 1):
        wait = abs(arrivals[i + 1] - arrivals[i] - service_times[i] - wait)
        waits.append(wait)
    return waits


def at_once(arrivals, service_times):
    return [0.0] * len(service_times)


def from_the_second(arrivals, service_times):
    waits, wait = [], 0.0
    for i in range(1, len(arrivals)):
        wait = max(0.0, wait + service_times[i - 1] - (arrivals[i] - arrivals[i - 1]))
        waits.append(wait)
    return waits


def only_the_positive(arrivals, service_times):
    return list(filter(None, lindley(arrivals, service_times)))


def one_too_many(arrivals, service_times):
    return [*lindley(arrivals, service_times), 0.0]


def last_come_first(arrivals, service_times):
    return lindley(arrivals, service_times)[::-1]


def the_mean(arrivals, service_times):
    return statistics.fmean(lindley(arrivals, service_times))


def rounded(arrivals, service_times):
    return [round(w, 1) for w in lindley(arrivals, service_times)]


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


def guarded(formula):
    def run(rate, mean_service, variance_of_service):
        if rate * mean_service >= 1:
            return INF
        return formula(rate, mean_service, variance_of_service)

    return run


def no_guard(rate, mean_service, variance_of_service):
    load = rate * mean_service
    return load * (mean_service + variance_of_service / mean_service) / 2 / (1 - load)


def only_above_full_load(rate, mean_service, variance_of_service):
    idle = 1 - rate * mean_service
    if idle < 0:
        return INF
    return rate * mean_service * (mean_service + variance_of_service / mean_service) / (2 * idle)


def rate_above_one(rate, mean_service, variance_of_service):
    if rate * mean_service >= 1:
        return INF
    return rate * (variance_of_service + mean_service**2) / (2 - 2 * rate)


def with_service(rate, mean_service, variance_of_service):
    return mean_service + by_residual_service(rate, mean_service, variance_of_service)


def queue_length(rate, mean_service, variance_of_service):
    wait = by_residual_service(rate, mean_service, variance_of_service)
    return wait * rate


# --- percentile_band ------------------------------------------------------------------------------


def exact_band(n, p, confidence):
    """Both ranks in fractions; 0 and n + 1 where no sample will do."""
    q, chances = Fraction(p) / 100, []
    for k in range(n + 1):
        chances.append(math.comb(n, k) * q**k * (1 - q) ** (n - k))
    tail = (1 - Fraction(str(confidence))) / 2
    low, total = 0, chances[0]
    while total <= tail:
        low += 1
        total += chances[low]
    high, total = n + 1, chances[n]
    while total <= tail:
        high -= 1
        total += chances[high - 1]
    return low, high


def band_in_fractions(samples, p, confidence=0.95):
    low, high = exact_band(len(samples), p, confidence)
    ordered = sorted(samples)
    return (
        ordered[low - 1] if low else -INF,
        ordered[high - 1] if high <= len(ordered) else INF,
    )


def band_by_logarithms(samples, p, confidence=0.95):
    n, q = len(samples), p / 100
    k = torch.arange(n + 1, dtype=torch.float64)
    log = torch.lgamma(torch.tensor(n + 1.0, dtype=torch.float64))
    log = log - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    at_most = (log + k * math.log(q) + (n - k) * math.log(1 - q)).exp().cumsum(0).tolist()
    tail = (1 - confidence) / 2
    padded = [-INF, *sorted(samples), INF]
    return padded[bisect.bisect_right(at_most, tail)], padded[
        bisect.bisect_left(at_most, 1 - tail) + 1
    ]


def ends(samples, low, high):
    padded = [-INF, *sorted(samples), INF]
    return padded[max(low, 0)], padded[min(high, len(samples) + 1)]


def normal_band(samples, p, confidence=0.95):
    x = torch.tensor(samples, dtype=torch.float64)
    z = math.sqrt(2) * torch.erfinv(torch.tensor(confidence, dtype=torch.float64))
    half = float(z * x.std() / math.sqrt(len(samples)))
    return float(x.mean()) - half, float(x.mean()) + half


def central_samples(samples, p, confidence=0.95):
    tail = 50 * (1 - confidence)
    ordered = sorted(samples)
    n = len(ordered)
    return ordered[math.ceil(n * tail / 100) - 1], ordered[math.ceil(n - n * tail / 100) - 1]


def one_sided(samples, p, confidence=0.95):
    return ends(samples, *exact_band(len(samples), p, 2 * confidence - 1))


def cut_to_the_samples(samples, p, confidence=0.95):
    low, high = exact_band(len(samples), p, confidence)
    ordered = sorted(samples)
    return ordered[max(low - 1, 0)], ordered[min(high - 1, len(ordered) - 1)]


def as_they_came(samples, p, confidence=0.95):
    low, high = exact_band(len(samples), p, confidence)
    padded = [-INF, *samples, INF]
    return padded[low], padded[high]


def moved(down, up):
    def run(samples, p, confidence=0.95):
        low, high = exact_band(len(samples), p, confidence)
        return ends(samples, low + down, high + up)

    return run


def of_the_median(samples, p, confidence=0.95):
    return ends(samples, *exact_band(len(samples), 50, confidence))


def at_ninety_five(samples, p, confidence=0.95):
    return band_in_fractions(samples, p)


def only_ranks(samples, p, confidence=0.95):
    return exact_band(len(samples), p, confidence)


def one_tail_each_swapped(samples, p, confidence=0.95):
    low, high = band_in_fractions(samples, p, confidence)
    return high, low


def least_and_most(samples, p, confidence=0.95):
    return min(samples), max(samples)


def normal_ranks(samples, p, confidence=0.95):
    n, q = len(samples), p / 100
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    half = z * math.sqrt(n * q * (1 - q))
    return ends(samples, math.floor(n * q - half) - 1, math.ceil(n * q + half) + 2)


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
    if not share_kept(service_times, target, p):
        return None
    k = 1
    while not share_kept(latencies_with(arrivals, service_times, k)[1], target, p):
        k += 1
    return k


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


def counted_up(holds):
    def run(arrivals, service_times, target, p=90):
        for k in range(1, len(arrivals) + 1):
            waits, whole = latencies_with(arrivals, service_times, k)
            if holds(waits, whole, target, p):
                return k
        return None

    return run


def work_over_time(arrivals, service_times, target, p=90):
    rate = len(arrivals) / (arrivals[-1] - arrivals[0])
    return math.ceil(rate * statistics.fmean(service_times))


def powers_of_two(arrivals, service_times, target, p=90):
    k = 1
    while not share_kept(latencies_with(arrivals, service_times, k)[1], target, p):
        k *= 2
        if k > 2 * len(arrivals):
            return None
    return k


def after(change):
    def run(arrivals, service_times, target, p=90):
        return change(machines_counted_up(arrivals, service_times, target, p))

    return run


def in_turn(arrivals, service_times, target, p=90):
    for k in range(1, len(arrivals) + 1):
        free, whole = [0.0] * k, []
        for i, (a, s) in enumerate(zip(arrivals, service_times, strict=True)):
            free[i % k] = max(a, free[i % k]) + s
            whole.append(free[i % k] - a)
        if share_kept(whole, target, p):
            return k
    return None


def a_hundred_at_most(arrivals, service_times, target, p=90):
    k = 1
    while k < 100:
        if share_kept(latencies_with(arrivals, service_times, k)[1], target, p):
            return k
        k += 1
    return None


def one_for_each(arrivals, service_times, target, p=90):
    return len(arrivals)


def latency_over_target(arrivals, service_times, target, p=90):
    _, whole = latencies_with(arrivals, service_times, 1)
    return math.ceil(percentile_by_counting(whole, p) / target)


def always_one(arrivals, service_times, target, p=90):
    return 1


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


def judged(one):
    """Goodput, where `one` says whether a request counts."""

    def run(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
        return sum(bool(one(r, ttft, itl, end_to_end)) for r in requests) / seconds

    return run


def means(gaps):
    return sum(gaps) / len(gaps) if gaps else 0.0


def no_mean_of_nothing(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    good = 0
    for first, gaps, whole in requests:
        if first <= ttft and whole <= end_to_end:
            good += sum(gaps) / len(gaps) <= itl
    return good / seconds


def all_answered(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    return len(list(requests)) / seconds


def per_request(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    return goodput_in_a_loop(requests, len(requests), ttft, itl, end_to_end)


def tokens_of_the_good(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    tokens = 0
    for first, gaps, whole in requests:
        if first <= ttft and means(gaps) <= itl and whole <= end_to_end:
            tokens += 1 + len(gaps)
    return tokens / seconds


def each_share(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    n = len(requests)
    one = sum(r[0] <= ttft for r in requests) / n
    two = sum(means(r[1]) <= itl for r in requests) / n
    three = sum(r[2] <= end_to_end for r in requests) / n
    return one * two * three * n / seconds


def bad_ones(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    return (len(requests) / seconds) - goodput_in_a_loop(requests, seconds, ttft, itl, end_to_end)


def only_a_count(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    return goodput_in_a_loop(requests, 1.0, ttft, itl, end_to_end)


def seconds_over_count(requests, seconds, ttft=INF, itl=INF, end_to_end=INF):
    return seconds / max(goodput_in_a_loop(requests, 1.0, ttft, itl, end_to_end), 1)


# --- random inputs --------------------------------------------------------------------------------

gaps = st.floats(0.0, 4.0).map(lambda x: round(x, 3))
whole_percents = st.integers(1, 99)


def times(start, steps):
    made, t = [], start
    for step in steps:
        t = round(t + step, 3)
        made.append(t)
    return made


@st.composite
def token_times(draw):
    arrival = round(draw(st.floats(0.0, 50.0)), 3)
    return arrival, times(arrival, draw(st.lists(gaps, min_size=1, max_size=8)))


@st.composite
def traces(draw, most=12):
    services = draw(st.lists(gaps, min_size=1, max_size=most))
    steps = draw(st.lists(gaps, min_size=len(services), max_size=len(services)))
    return times(0.0, steps), services


@st.composite
def served(draw):
    one = st.tuples(gaps, st.lists(st.integers(1, 8).map(lambda k: k / 8), max_size=4), gaps)
    requests = draw(st.lists(one, min_size=1, max_size=8))
    return requests, draw(st.floats(0.5, 20.0)), *(draw(st.floats(0.1, 5.0)) for _ in range(3))


def with_targets(candidate, requests, seconds, ttft, itl, end_to_end):
    return candidate(requests, seconds, ttft=ttft, itl=itl, end_to_end=end_to_end)


RIGHT = {
    "latencies": [latencies_in_a_loop, latencies_by_numpy],
    "percentile": [percentile_by_counting, percentile_by_fractions],
    "simulate_queue": [lindley, by_ends],
    "mean_wait": [by_residual_service, between_md1_and_mm1],
    "percentile_band": [band_in_fractions, band_by_logarithms],
    "machines_needed": [machines_counted_up, machines_by_bisection],
    "goodput": [goodput_in_a_loop, goodput_by_filtering],
}

SECOND_FORMS = {
    "latencies": {
        "ITL counts the first token": gaps_with_the_arrival,
        "the arrival ignored": clock_readings,
        "end-to-end from the first token": sum_of_the_gaps,
        "one mean for all gaps": time_per_output_token,
        "one mean for all gaps, by `statistics`": mean_by_statistics,
        "one mean for all gaps, or 0": mean_or_nothing,
        "ITL since the arrival": since_the_arrival,
        "ITL since the first token": since_the_first,
        "negative gaps": earlier_minus_later,
        "the last gap is missing": range_too_short,
        "the wrong order": list_at_the_end,
        "the waits of all tokens added": all_waits_added,
    },
    "percentile": {
        "the mean": mean_of_all,
        "always the median": median_low,
        "interpolated": torchs_quantile,
        "not sorted": place_of_arrival,
        "sorted in the caller's list": ordered_where_they_are,
        "the rank as an index": from_zero,
        "rounded down, as an index": floor_as_an_index,
        "rounded down": floor_of_the_rank,
        "rounded to the nearest rank": nearest_in_name,
        "n - 1 instead of n": numpys_higher,
        "n - 1 instead of n, rounded down": numpys_lower,
        "sorted downwards": downwards,
        "p as a fraction": fraction_expected,
        "divided first": quotient_first,
        "equal samples counted once": unique_ones,
        "a share of the largest": part_of_the_maximum,
    },
    "simulate_queue": {
        "idle time forgotten": totals,
        "negative waits": not_clipped,
        "idle time saved up": totals_not_clipped,
        "the latency instead of the wait": whole_latency,
        "the starts instead of the waits": clock_at_the_start,
        "the ends instead of the waits": clock_at_the_end,
        "the own service": service_of_the_wrong_one,
        "no memory": only_the_one_before,
        "the clock instead of the gap": arrival_for_gap,
        "the magnitude": absolute,
        "nobody ever waits": at_once,
        "the first is missing": from_the_second,
        "latecomers alone": only_the_positive,
    },
    "mean_wait": {
        "the variance for the second moment": guarded(
            lambda rate, mean, var: 0.5 * rate * var / (1 - rate * mean)
        ),
        "mean² for the second moment": guarded(
            lambda rate, mean, var: (rate * mean) * mean / (2 - 2 * rate * mean)
        ),
        "always exponential": guarded(lambda rate, mean, var: 1 / (1 / mean - rate) - mean),
        "the 2 is missing": guarded(lambda *three: 2 * by_residual_service(*three)),
        "the 2 divides the wrong thing": guarded(
            lambda rate, mean, var: rate * (mean * mean + var) * (1 - rate * mean) * 0.5
        ),
        "1 - ρ is missing": guarded(
            lambda rate, mean, var: by_residual_service(rate, mean, var) * (1 - rate * mean)
        ),
        "the rate for the load": rate_above_one,
        "the load for the rate": guarded(
            lambda rate, mean, var: mean * by_residual_service(rate, mean, var)
        ),
        "the latency": with_service,
        "how many wait": queue_length,
        "negative above full load": no_guard,
        "finite at full load": only_above_full_load,
        "the variance squared": guarded(
            lambda rate, mean, var: by_residual_service(rate, mean, var * var)
        ),
        "the standard deviation": guarded(
            lambda rate, mean, var: by_residual_service(rate, mean, math.sqrt(var))
        ),
    },
    "percentile_band": {
        "the band of the mean": normal_band,
        "where most samples lie": central_samples,
        "the whole doubt at each end": one_sided,
        "an end where there is none": cut_to_the_samples,
        "not sorted": as_they_came,
        "the lower end one rank too high": moved(1, 0),
        "the upper end one rank too low": moved(0, -1),
        "the upper end one rank too high": moved(0, 1),
        "both ends one rank too high": moved(1, 1),
        "always the median": of_the_median,
        "always 95 %": at_ninety_five,
        "ranks instead of samples": only_ranks,
    },
    "machines_needed": {
        "by the load alone": work_over_time,
        "waits instead of latencies": counted_up(
            lambda waits, _, target, p: share_kept(waits, target, p)
        ),
        "the mean instead of the percentile": counted_up(
            lambda _, whole, target, p: sum(whole) / len(whole) <= target
        ),
        "the slowest of all": counted_up(
            lambda _, whole, target, p: all(x <= target for x in whole)
        ),
        "always P90": counted_up(lambda _, whole, target, p: share_kept(whole, target, 90)),
        "strictly below": counted_up(
            lambda _, whole, target, p: 100 * sum(x < target for x in whole) >= p * len(whole)
        ),
        "one too many": after(lambda k: k and k + 1),
        "one too few": after(lambda k: k and k - 1),
        "doubled only": powers_of_two,
        "a queue for each machine": in_turn,
        "a limit of its own": a_hundred_at_most,
        "0 for none": after(lambda k: k or 0),
    },
    "goodput": {
        "the throughput": all_answered,
        "one target is enough": judged(
            lambda r, ttft, itl, whole: r[0] <= ttft or means(r[1]) <= itl or r[2] <= whole
        ),
        "the share instead of the rate": per_request,
        "strictly below": judged(
            lambda r, ttft, itl, whole: r[0] < ttft and means(r[1]) < itl and r[2] < whole
        ),
        "every gap": judged(
            lambda r, ttft, itl, whole: (
                r[0] <= ttft and max(r[1], default=0.0) <= itl and r[2] <= whole
            )
        ),
        "the sum of the gaps": judged(
            lambda r, ttft, itl, whole: r[0] <= ttft and sum(r[1]) <= itl and r[2] <= whole
        ),
        "one token fails": judged(
            lambda r, ttft, itl, whole: (
                r[1] and r[0] <= ttft and means(r[1]) <= itl and r[2] <= whole
            )
        ),
        "the mean of no gaps": no_mean_of_nothing,
        "ITL ignored": judged(lambda r, ttft, itl, whole: r[0] <= ttft and r[2] <= whole),
        "divided by one token too many": judged(
            lambda r, ttft, itl, whole: (
                r[0] <= ttft and sum(r[1]) / (len(r[1]) + 1) <= itl and r[2] <= whole
            )
        ),
        "shares multiplied": each_share,
        "tokens counted": tokens_of_the_good,
    },
}

UNNAMED = {
    "latencies": [worst_gap, milliseconds, ttft_of_the_second, as_a_tensor],
    "percentile": [smallest_above, one_less, mean_of_the_tail, rank_itself],
    "simulate_queue": [one_too_many, last_come_first, the_mean, rounded],
    "mean_wait": [
        lambda rate, mean, var: rate * mean,
        lambda rate, mean, var: 0.0 if rate * mean < 1 else INF,
        guarded(lambda rate, mean, var: rate * (mean**2 - var) / (2 * (1 - rate * mean))),
        guarded(lambda rate, mean, var: mean / (1 - rate * mean)),
    ],
    "percentile_band": [one_tail_each_swapped, least_and_most, normal_ranks],
    "machines_needed": [one_for_each, latency_over_target, always_one],
    "goodput": [bad_ones, only_a_count, seconds_over_count],
}

RANDOM = {
    "latencies": token_times(),
    "percentile": st.tuples(st.lists(gaps, min_size=1, max_size=40), st.integers(1, 100)),
    "simulate_queue": traces(),
    "mean_wait": st.tuples(st.floats(0.1, 3.0), st.floats(0.05, 1.5), st.floats(0.0, 2.0)).filter(
        lambda x: abs(x[0] * x[1] - 1) > 1e-6  # at full load itself, rounding decides
    ),
    "percentile_band": st.tuples(
        st.lists(gaps, min_size=1, max_size=40),
        whole_percents,
        st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    ),
    "machines_needed": traces().flatmap(
        lambda trace: st.tuples(
            st.just(trace[0]), st.just(trace[1]), st.floats(0.1, 12.0), st.integers(1, 100)
        )
    ),
    "goodput": Driven(served(), with_targets),
}
