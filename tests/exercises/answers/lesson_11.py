"""Lesson 11: right answers, named mistakes in other words, and wrong answers nobody named."""

import bisect
import math
import statistics  # noqa: F401, the edits use it
from fractions import Fraction

import numpy as np
import torch

from decodeloop.exercises.edits import edited

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


LATENCIES = edited(
    latencies_in_a_loop,
    """
## ITL counts the first token
- before = [], None → before = [], arrival
## the arrival ignored
- token_times[0] - arrival, gaps, before - arrival → token_times[0], gaps, before
## TTFT on the clock
- return token_times[0] - arrival → return token_times[0]
## end-to-end on the clock
- before - arrival → before
## rounded to hundredths
- return token_times[0] - arrival, gaps, before - arrival
+ whole = token_times[0] - arrival, before - arrival
+ return round(whole[0], 2), [float(f"{gap:.2f}") for gap in gaps], round(whole[1], 2)
## the gaps rounded to hundredths
- gaps.append(t - before) → gaps.append(float(f"{t - before:.2f}"))
## a gap of 0 for one token
- , gaps, → , gaps if len(token_times) > 1 else [0],
## in milliseconds
- return token_times[0] - arrival, gaps, before - arrival
+ return 1e3 * (token_times[0] - arrival), [1e3 * gap for gap in gaps], 1e3 * (before - arrival)
## the first gap is missing
- , gaps, → , [gap for i, gap in enumerate(gaps) if i],
## the worst gap
- , gaps, → , sorted([0.0, *gaps])[-1],
## end-to-end from the first token
- before - arrival → sum(gaps)
## one mean for all gaps
- , gaps, → , sum(gaps) / len(gaps),
## one mean for all gaps, by `statistics`
- , gaps, → , statistics.mean(gaps),
## one mean for all gaps, or 0
- , gaps, → , sum(gaps) / max(len(gaps), 1),
## ITL since the arrival
- t - before → t - arrival
## all tokens since the arrival
- , gaps, → , [t - arrival for t in token_times],
## ITL since the first token
- t - before → t - token_times[0]
## negative gaps
- t - before → before - t
## the last gap is missing
- , gaps, → , gaps[: max(len(gaps) - 1, 0)],
## end-to-end first
- return token_times[0] - arrival, gaps, before - arrival
+ return before - arrival, gaps, token_times[0] - arrival
## the wrong order
- gaps, before - arrival → before - arrival, gaps
## the waits of all tokens added
- before - arrival → sum(token_times) - len(token_times) * arrival
""",
)

UNNAMED_LATENCIES = edited(
    latencies_in_a_loop,
    """
## the least gap
- , gaps, → , min(gaps, default=0.0),
## TTFT of the second token
- token_times[0] - arrival → token_times[min(1, len(token_times) - 1)] - arrival
## as a tensor
- return token_times[0] - arrival, gaps, before - arrival
+ return torch.tensor([token_times[0] - arrival, *gaps, before - arrival])
""",
)

# --- percentile -----------------------------------------------------------------------------------


def percentile_by_counting(samples, p):
    n = len(samples)
    return min(v for v in samples if 100 * sum(w <= v for w in samples) >= p * n)


def percentile_by_fractions(samples, p):
    n = len(samples)
    rank = math.ceil(Fraction(p) * n / 100)
    return torch.tensor(samples, dtype=torch.float64).sort().values[rank - 1]


PERCENTILES = edited(
    percentile_by_fractions,
    """
## the mean
- .sort().values[rank - 1] → .mean()
## always the median
- Fraction(p) → Fraction(50)
## interpolated
- .sort().values[rank - 1] → .quantile(p / 100)
## not sorted
- .sort().values
## sorted in the caller's list
- return torch
+ samples[:] = sorted(samples)
+ return torch
## the rank as an index, held back at the end
- [rank - 1] → [rank if rank < n else n - 1]
## rounded down, as an index, held back at the end
- math.ceil(Fraction(p) * n / 100) → min(int(n * p / 100), n - 1) + 1
## the rank as an index
- [rank - 1] → [rank]
## rounded down, as an index
- math.ceil(Fraction(p) * n / 100) → int(n * p // 100)
- [rank - 1] → [rank]
## rounded down
- math.ceil(Fraction(p) * n / 100) → int(n * p // 100)
## rounded down, 1 at least
- math.ceil(Fraction(p) * n / 100) → int(n * p // 100) or 1
## rounded to the nearest rank, or the last
- math.ceil(Fraction(p) * n / 100) → round(Fraction(p) * n / 100)
## one rank too low
- [rank - 1] → [rank - 2 if rank > 1 else 0]
## the rank itself
- torch.tensor(samples, dtype=torch.float64).sort().values[rank - 1] → rank
## rounded to the nearest rank
- math.ceil(Fraction(p) * n / 100) → max(round(n * p / 100), 1)
## n - 1 instead of n
- .sort().values[rank - 1] → .quantile(p / 100, interpolation="higher")
## n - 1 instead of n, to the nearest
- .sort().values[rank - 1] → .quantile(p / 100, interpolation="nearest")
## n - 1 instead of n, rounded down
- .sort().values[rank - 1] → .quantile(p / 100, interpolation="lower")
## sorted downwards
- .sort() → .sort(descending=True)
## p as a fraction
- * n / 100 → * n
## divided first
- Fraction(p) * n / 100 → (p / 100) * n
## p cut to a whole number
- Fraction(p) → math.floor(p)
## the largest for P99
- [rank - 1] → [n - 1 if n < 101 and p > 98 else rank - 1]
## equal samples counted once
- n = len(samples)
+ samples = sorted(set(samples))
+ n = len(samples)
## a share of the largest
- .sort().values[rank - 1] → .max() * p / 100
""",
)

UNNAMED_PERCENTILES = edited(
    percentile_by_fractions,
    """
## the middle of two
- [rank - 1] → [max(rank - 2, 0) : rank].mean()
## the mean of the tail
- [rank - 1] → [rank - 1 :].mean()
## from the other end
- [rank - 1] → [n - rank]
""",
)

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


QUEUES = {
    **edited(
        lindley,
        """
## the latency instead of the wait
- waits[: len(arrivals)] → [w + s for w, s in zip(waits, service_times)]
## the starts instead of the waits
- waits[: len(arrivals)] → [w + a for w, a in zip(waits, arrivals)]
## the ends instead of the waits
- waits[: len(arrivals)] → [w + a + s for w, a, s in zip(waits, arrivals, service_times)]
## a wait that nobody had
- waits[: len(arrivals)] → waits
## the gap forgotten
-  - (arrivals[i] - arrivals[i - 1])
## rounded to whole seconds
- waits[: len(arrivals)] → [float(round(w)) for w in waits[: len(arrivals)]]
## the own service
- service_times[i - 1] → service_times[i]
## no memory
- waits[-1] + service_times → service_times
## the clock instead of the gap
- (arrivals[i] - arrivals[i - 1]) → arrivals[i]
## the magnitude
- max(0.0, waits → abs(waits
## the last to come is served first
- waits = [0.0]
+ arrivals, service_times = arrivals[::-1], service_times[::-1]
+ waits = [0.0 for _ in arrivals[:1]]
+ free = (arrivals[0] + service_times[0]) if arrivals else 0.0
- waits.append(max(0.0, waits[-1] + service_times[i - 1] - (arrivals[i] - arrivals[i - 1])))
+ waits.append(max(0.0, free - arrivals[i]))
+ free = max(free, arrivals[i]) + service_times[i]
## nobody ever waits
- waits[: len(arrivals)] → [0.0] * len(arrivals)
## the first is missing
- waits[: len(arrivals)] → waits[1:]
## latecomers alone
- waits[: len(arrivals)] → list(filter(None, waits))
""",
    ),
    **edited(
        by_ends,
        """
## idle time forgotten
- a if not ends or ends[-1] < a else ends[-1] → ends[-1] if ends else 0.0
## negative waits
- max(0.0, e - s - a) for e, s, a in zip(ends, service_times, arrivals, strict=True)
+ e - a for e, a in zip([0.0, *ends], arrivals)
## idle time saved up
- a if not ends or ends[-1] < a else ends[-1] → ends[-1] if ends else 0.0
- max(0.0, e - s - a) → e - s - a
""",
    ),
}

UNNAMED_QUEUES = edited(
    lindley,
    """
## one too many
- waits[: len(arrivals)] → [*waits, 0.0]
## the waits turned around
- waits[: len(arrivals)] → waits[::-1]
## the mean
- waits[: len(arrivals)] → statistics.fmean(waits)
## rounded
- waits[: len(arrivals)] → [round(w, 1) for w in waits]
""",
)

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
    padded = [-INF, *sorted(samples), INF]
    return padded[low], padded[high]


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


def by_single_chances(samples, p, confidence=0.95):
    """Each P(K = k) against the tails."""
    n, q, tail = len(samples), p / 100, (1 - confidence) / 2
    ranks = {
        r: math.comb(n, r - 1) * q ** (r - 1) * (1 - q) ** (n - r + 1) for r in range(1, n + 1)
    }
    low = [r for r, chance in ranks.items() if chance <= tail]
    high = [r for r, chance in ranks.items() if chance >= 1 - tail]
    padded = [-INF, *sorted(samples), INF]
    return padded[low[-1] if low else 0], padded[high[0] if high else n + 1]


BANDS = {
    "the band of the mean": normal_band,
    "where most samples lie": central_samples,
    "chances not added up": by_single_chances,
    **edited(
        band_in_fractions,
        """
## the whole doubt at each end
- p, confidence) → p, 2 * confidence - 1)
## an end where there is none
- padded[low], padded[high] → padded[max(low, 1)], padded[min(high, len(samples))]
## an upper end where there is none
- padded[high] → padded[min(high, len(samples))]
## a lower end where there is none
- padded[low], → padded[max(low, 1)],
## not sorted
- *sorted(samples) → *samples
## the lower end one rank too low
- padded[low], → padded[low - (low > 0)],
## both ends one rank too low
- padded[low], padded[high] → padded[low - (low > 0)], padded[high - 1]
## the first rank that will do
- padded[low], → padded[min(low, 1)],
## the last rank that will do
- padded[high] → padded[high if high > len(samples) else len(samples)]
## the other side's chance
- len(samples), p → len(samples), 100 - p
## the doubt halved once more
- p, confidence) → p, (1 + confidence) / 2)
## the confidence as the tail
- p, confidence) → p, 1 - confidence)
## the lower end one rank too high
- padded[low], → padded[low + 1],
## the upper end one rank too low
- padded[high] → padded[high - 1]
## the upper end one rank too high
- padded[high] → (*padded, INF)[high + 1]
## both ends one rank too high
- padded[low], padded[high] → padded[low + 1], (*padded, INF)[high + 1]
## always the median
- len(samples), p → len(samples), 50
## always 95 %
- p, confidence) → p, 0.95)
## ranks instead of samples
- padded[low], padded[high] → low, high
""",
    ),
}

UNNAMED_BANDS = edited(
    band_in_fractions,
    """
## the ends exchanged
- padded[low], padded[high] → padded[high], padded[low]
## the least and the most
- padded[low], padded[high] → min(samples), max(samples)
## ranks by the normal distribution
- low, high = exact_band(len(samples), p, confidence)
+ n, q = len(samples), p / 100
+ half = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(n * q * (1 - q))
+ low = max(math.floor(n * q - half) - 1, 0)
+ high = min(math.ceil(n * q + half) + 2, n + 1)
""",
)

# --- random inputs --------------------------------------------------------------------------------


RIGHT = {
    "latencies": [latencies_in_a_loop, latencies_by_numpy],
    "percentile": [percentile_by_counting, percentile_by_fractions],
    "simulate_queue": [lindley, by_ends],
    "percentile_band": [band_in_fractions, band_by_logarithms],
}

SECOND_FORMS = {
    "latencies": LATENCIES,
    "percentile": PERCENTILES,
    "simulate_queue": QUEUES,
    "percentile_band": BANDS,
}

UNNAMED = {
    "latencies": list(UNNAMED_LATENCIES.values()),
    "percentile": list(UNNAMED_PERCENTILES.values()),
    "simulate_queue": list(UNNAMED_QUEUES.values()),
    "percentile_band": list(UNNAMED_BANDS.values()),
}
