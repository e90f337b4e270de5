"""Lesson 07: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
import os  # noqa: F401

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

OUT = -math.inf


# --- temperature ----------------------------------------------------------------------------------


def best_alone(logits):
    best = F.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    return torch.where(best, logits, OUT)


def temperature_by_one_hot(logits, t):
    best = F.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    if t == 0:
        return torch.where(best, logits, OUT)
    return torch.div(logits, torch.tensor(float(t)))


def temperature_by_sorting(logits, t):
    if t > 0:
        return torch.div(logits, torch.tensor(float(t)))
    second = logits.sort(-1).values[..., -2:-1]
    return logits.masked_fill(logits <= second, OUT)


TEMPERATURES = edited(
    temperature_by_one_hot,
    """
## multiplied
- torch.div( → torch.mul(
## in place
- return torch.div(logits, torch.tensor(float(t))) → return logits.mul_(1 / t)
## in place, at 0 too
- return torch.where(best, logits, OUT) → return logits.masked_fill_(~best, OUT)
- return torch.div(logits, torch.tensor(float(t))) → return logits.mul_(1 / t)
## a large negative number for -inf
- OUT → -1e9
## the best loses its logit
- torch.where(best, logits, OUT) → torch.log(best.float())
## nothing is left at 0
- torch.where(best, logits, OUT) → torch.full_like(logits, OUT)
## one-hot at 0
- torch.where(best, logits, OUT) → best * 1.0
## greedy for small t
- if t == 0: → if t <= 0.03:
## the worst at 0
- torch.where(best, logits, OUT)
+ torch.where(logits == logits.min(-1, keepdim=True).values, logits, OUT)
## the best of each column
- torch.where(best, → torch.where(logits == logits.max(0).values,
## logarithms of probabilities
- torch.div(logits, torch.tensor(float(t))) → F.log_softmax(logits / t, dim=-1)
## probabilities returned, but at 0
- torch.div(logits, torch.tensor(float(t))) → F.softmax(logits / t, dim=-1)
## rounded down
- torch.div(logits, torch.tensor(float(t)))
+ torch.div(logits, torch.tensor(float(t)), rounding_mode="floor")
## t subtracted
- torch.div(logits, torch.tensor(float(t))) → logits - t
## multiplied, at 0 too
- if t == 0: → if t < 0:
- torch.div( → torch.mul(
## the probabilities divided
- torch.div(logits, → torch.div(F.softmax(logits, dim=-1),
## the probabilities divided, by 0 too
- if t == 0: → if t < 0:
- torch.div(logits, → torch.div(F.softmax(logits, dim=-1),
## division by zero
- if t == 0: → if t < 0:
## a tiny number for 0
- torch.where(best, logits, OUT) → logits / 1e-6
## probabilities returned
- torch.where(best, logits, OUT) → F.softmax(torch.where(best, logits, OUT), dim=-1)
- torch.div(logits, torch.tensor(float(t))) → F.softmax(logits / t, dim=-1)
## probabilities returned, NaN at 0
- if t == 0: → if t < 0:
- torch.div(logits, torch.tensor(float(t))) → F.softmax(logits / t, dim=-1)
## the id of the best
- torch.where(best, logits, OUT) → torch.max(logits, -1).indices
## 0 instead of -inf
- OUT → 0.0
## unchanged at 0
- torch.where(best, logits, OUT) → logits
## the best of all rows
- where(best, → where(logits == torch.max(logits),
## the best is out
- where(best, logits, OUT) → where(best, OUT, logits)
## keepdim forgotten
- where(best, → where(logits >= torch.max(logits, -1).values,
""",
)

# --- top_k ----------------------------------------------------------------------------------------


def top_k_by_counting(logits, k):
    better = (logits[..., None, :] > logits[..., :, None]).sum(-1)  # how many beat each token
    return torch.where(better < k, logits, OUT)


def top_k_by_kthvalue(logits, k):
    V = logits.shape[-1]
    if k >= V:
        return logits.clone()
    last = logits.kthvalue(V - k + 1, dim=-1, keepdim=True).values
    return torch.where(logits >= last, logits, OUT)


TOP_KS = edited(
    top_k_by_counting,
    """
## the k smallest
- > logits[..., :, None] → < logits[..., :, None]
## 0 instead of -inf
- OUT → 0.0
## the k values alone
- torch.where(better < k, logits, OUT) → torch.sort(logits, descending=True).values[..., :k]
## the k values alone, and k > V fails
- torch.where(better < k, logits, OUT) → torch.topk(logits, k, dim=-1)[0]
## the ids of the k best
- torch.where(better < k, logits, OUT) → logits.argsort(-1, descending=True)[..., :k]
## the ids of the k best, and k > V fails
- torch.where(better < k, logits, OUT) → torch.topk(logits, k, dim=-1)[1]
## the first of the vocabulary
- torch.where(better < k, logits, OUT)
+ torch.where(torch.arange(logits.shape[-1]) < k, logits, OUT)
## the largest magnitudes
- (logits[..., None, :] > logits[..., :, None])
+ (logits[..., None, :].abs() > logits[..., :, None].abs())
## keepdim forgotten
- better < k → logits >= logits.masked_fill(better >= k, math.inf).amin(-1)
## sorted in ascending order
- better < k → (logits[..., None, :] < logits[..., :, None]).sum(-1) >= min(k, logits.shape[-1]) - 1
## over the whole batch, and at most V
- logits[..., None, :] → logits.flatten()
- better < k → better < min(k, logits.shape[-1])
## k limited by the rows
- better < k → better < min(k, logits.shape[0])
## the lowest threshold for all rows
- better < k → logits >= logits.masked_fill(better >= k, math.inf).min()
## the first row's threshold for all
- better < k → logits >= logits.masked_fill(better >= k, math.inf).amin(-1).reshape(-1)[0]
## the highest threshold for all rows
- better < k → logits >= logits.masked_fill(better >= k, math.inf).amin(-1).max()
## one too many, and k = V fails
- better < k → logits >= logits.topk(k + 1)[0][..., k, None]
## ties broken, and k > V fails
- return torch.where(better < k, logits, OUT)
+ kept = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, torch.topk(logits, k)[1], True)
+ return torch.where(kept, logits, OUT)
## in place
- return torch.where(better < k, logits, OUT)
+ logits[better >= k] = OUT
+ return logits
## a large negative number for -inf
- OUT → -1e9
## logarithms of probabilities
- logits, OUT → F.log_softmax(logits, -1), OUT
## the first of the k best
- better < k → better < 1
## in sorted order
- torch.where(better < k, logits, OUT)
+ torch.where(better < k, logits, OUT).sort(-1, descending=True).values
## over the whole batch
- logits[..., None, :] → logits.flatten()
## the k-th is dropped
- better < k → better < (better.where(better < k, 0)).amax(-1, keepdim=True)
## the k-th is dropped, and k > V fails
- better < k → logits > logits.topk(k).values.amin(-1, keepdim=True)
## one too many
- better < k → better <= k
## ties broken
- return torch.where(better < k, logits, OUT)
+ places = logits.argsort(dim=-1, descending=True, stable=True)[..., :k]
+ kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, places, True)
+ return torch.where(kept, logits, OUT)
## probabilities returned
- torch.where(better < k, logits, OUT) → F.softmax(torch.where(better < k, logits, OUT), dim=-1)
""",
)

# --- top_p ----------------------------------------------------------------------------------------


def top_p_by_better_mass(logits, p):
    """Without sorting: the mass of all that is better, token by token."""
    if p == 1:
        return logits
    shares = F.softmax(logits, dim=-1)
    better = logits[..., None, :] > logits[..., :, None]  # [i, j]: j beats i
    before = (better * shares[..., None, :]).sum(-1)
    return torch.where(before < p, logits, OUT)


def top_p_in_loops(logits, p):
    out = torch.full_like(logits, OUT)
    V = logits.shape[-1]
    for row, kept in zip(logits.view(-1, V), out.view(-1, V), strict=True):
        shares, total = F.softmax(row, 0), 0.0
        for i in row.argsort(descending=True).tolist():
            kept[i] = row[i]
            total += float(shares[i])
            if total >= p and p < 1:
                break
    return out


def top_p_by_the_inverse_order(logits, p):
    ordered, order = torch.sort(logits, dim=-1, descending=True)
    shares = F.softmax(ordered, dim=-1)
    before = F.pad(shares.cumsum(-1), (1, 0))[..., :-1]
    kept = (before < p) | (p == 1)
    return torch.where(torch.gather(kept, -1, order.argsort(-1)), logits, OUT)


TOP_PS = edited(
    top_p_by_the_inverse_order,
    """
## the crossing token dropped
- before < p → shares.cumsum(-1) <= p
## the crossing token dropped, but for the best
- (before < p) → (shares.cumsum(-1) <= p) | (before == 0)
## the crossing token dropped, at exactly p too
- before < p → shares.cumsum(-1) < p
## the crossing token dropped, at exactly p too, but for the best
- (before < p) → (shares.cumsum(-1) < p) | (before == 0)
## the crossing token dropped, at exactly p too, but for the best, and the tail at p = 1
- (before < p) | (p == 1) → (shares.cumsum(-1) < p) | (before == 0)
## the crossing token dropped, and the tail at p = 1
- before < p → shares.cumsum(-1) < p
-  | (p == 1)
## one after the crossing one
- (before < p) | (p == 1)
+ F.pad((before < p) | (p == 1), (1, 0), value=True)[..., :-1]
## softmax over the rows
- F.softmax(ordered, dim=-1) → F.softmax(ordered, dim=0)
## summed over the rows
- shares.cumsum(-1), (1, 0))[..., :-1] → shares.cumsum(0) - shares, (0, 0))
## 1 - p
- before < p → before < 1 - p
## in place
- return torch.where(torch.gather(kept, -1, order.argsort(-1)), logits, OUT)
+ logits[~torch.gather(kept, -1, order.argsort(-1))] = OUT
+ return logits
## a large negative number for -inf
- OUT → -1e9
## logarithms of probabilities
- return torch
+ logits = logits if p == 1 else F.log_softmax(logits, -1)
+ return torch
## the probabilities masked
- return torch
+ logits = logits if p == 1 else F.softmax(logits, -1)
+ return torch
## the mask never unsorted
- torch.gather(kept, -1, order.argsort(-1)) → kept
## the mask never unsorted, and the tail dropped at p = 1
- torch.gather(kept, -1, order.argsort(-1)) → kept
-  | (p == 1)
## gathered, not scattered
- order.argsort(-1) → order
## gathered, not scattered, and the tail dropped at p = 1
- order.argsort(-1) → order
-  | (p == 1)
## in sorted order
- torch.gather(kept, -1, order.argsort(-1)), logits → kept, ordered
## in sorted order, and the tail dropped at p = 1
- torch.gather(kept, -1, order.argsort(-1)), logits → kept, ordered
-  | (p == 1)
## more than p
- before < p → before <= p
## not sorted at all
- torch.sort(logits, dim=-1, descending=True)
+ logits, torch.arange(logits.shape[-1]).expand_as(logits)
## ascending order
- , descending=True
## unsorted probabilities summed
- F.softmax(ordered, dim=-1) → F.softmax(logits, dim=-1)
## a sum of logits
- F.softmax(ordered, dim=-1) → ordered
## the tail kept
- before < p → before >= p
## 0 instead of -inf
- OUT → 0.0
## the tail dropped at p = 1
-  | (p == 1)
## every probability against p
- torch.gather(kept, -1, order.argsort(-1)) → (F.softmax(logits, -1) >= p) | (p == 1)
## one distribution for the whole batch
- torch.sort(logits, dim=-1, → torch.sort(logits.flatten(),
- torch.gather(kept, -1, order.argsort(-1)) → kept[order.argsort(-1)].view_as(logits)
## probabilities returned
- logits, OUT) → logits, OUT).softmax(-1)
""",
)

UNNAMED_TOP_PS = edited(
    top_p_by_the_inverse_order,
    """
## ids of the kept
- return torch.where(torch.gather(kept, -1, order.argsort(-1)), logits, OUT)
+ return order[..., : int(kept.sum(-1).max())]
## shifted by a roll, which brings the last entry to the front
- (before < p) | (p == 1) → torch.roll(shares.cumsum(-1) <= p, 1, -1)
## a share of the vocabulary
- before < p → torch.arange(logits.shape[-1]) < p * logits.shape[-1]
""",
)

# --- min_p ----------------------------------------------------------------------------------------


def min_p_by_logits(logits, p):
    """p_i / p_best = e^(x_i - x_best): no softmax needed."""
    return torch.where(torch.exp(logits - logits.amax(-1, keepdim=True)) >= p, logits, OUT)


def min_p_by_ratios(logits, p):
    shares = F.softmax(logits, dim=-1)
    return logits.masked_fill(shares / torch.max(shares, -1, True).values < p, OUT)


MIN_PS = edited(
    min_p_by_ratios,
    """
## an absolute threshold
- shares / torch.max(shares, -1, True).values < p → shares < p
## relative to the logit
- shares / torch.max(shares, -1, True).values < p → logits < torch.max(logits, -1, True).values * p
## the likely ones out
- < p → >= p
## the likely ones out, but for the threshold
- < p → > p
## the best of the whole batch
- torch.max(shares, -1, True).values → shares.max()
## the best is out at p = 1
- < p → <= p
## a distance between logits
- shares / torch.max(shares, -1, True).values < p → logits < torch.max(logits, -1, True).values - p
## the mean instead of the best
- torch.max(shares, -1, True).values → torch.mean(shares, -1, True)
## softmax over the rows
- F.softmax(logits, dim=-1) → F.softmax(logits, dim=0)
## the best of each column
- torch.max(shares, -1, True).values → torch.max(shares, 0).values
## in place
- logits.masked_fill → logits.masked_fill_
## a large negative number for -inf
- OUT → -1e9
## logarithms of probabilities
- return logits → return F.log_softmax(logits, -1)
## 0 instead of -inf
- OUT → 0.0
## a distance to the best
- shares / torch.max(shares, -1, True).values < p → shares < torch.max(shares, -1, True).values - p
## 1 - p
- < p → < 1 - p
## probabilities returned
- OUT) → OUT).softmax(-1)
## the probabilities masked
- logits.masked_fill → shares.masked_fill
## keepdim forgotten
- -1, True → -1
""",
)

# --- sample ---------------------------------------------------------------------------------------


def sample_by_inverse(logits, generator=None):
    """The inverse of the cumulative distribution at a uniform number, for each row."""
    sums = F.softmax(logits.cpu().double(), dim=-1).cumsum(-1)
    at = torch.rand(logits.shape[:-1], dtype=torch.double, generator=generator) * sums[..., -1]
    return (sums <= at[..., None]).sum(-1)


def sample_by_race(logits, generator=None):
    """Every token waits for an exponential time; the first wins."""
    logits = logits.cpu()
    shares = F.softmax(logits.float(), dim=-1)
    waits = torch.empty_like(shares).exponential_(generator=generator)
    return (shares / waits).argmax(-1)


def rows_drawn(weights, generator):
    V = weights.shape[-1]
    return torch.multinomial(weights.reshape(-1, V), 1, generator=generator)[:, 0].reshape(
        weights.shape[:-1]
    )


DRAWS = {
    **edited(
        sample_by_race,
        """
## argmax
- (shares / waits).argmax(-1) → torch.max(logits, -1).indices
## all equally often
- F.softmax(logits.float(), dim=-1) → torch.where(logits > OUT, 1.0, 0.0)
## softmax forgotten
- shares = F.softmax(logits.float(), dim=-1) → return rows_drawn(logits.float() / 2, generator)
## negative logits cut off
- shares = F.softmax(logits.float(), dim=-1) → return rows_drawn(F.relu(logits.float()), generator)
## softmax twice
- F.softmax(logits.float(), dim=-1) → F.softmax(F.softmax(logits.float(), dim=-1), dim=-1)
## softmax over the wrong axis
- shares = F.softmax(logits.float(), dim=-1)
+ return rows_drawn(F.softmax(logits.float(), dim=0), generator)
## the sign
- F.softmax(logits.float() → F.softmax(torch.where(logits > OUT, -logits, logits).float()
## the generator ignored
- generator=generator → generator=None
## seeded again at each call
- waits = torch
+ if generator is not None:
+     generator = torch.Generator().manual_seed(generator.initial_seed())
+ waits = torch
## a fixed seed at each call
- waits = torch
+ generator = generator if generator is None else torch.Generator().manual_seed(42)
+ waits = torch
## ids as floats
- .argmax(-1) → .argmax(-1) * 1.0
## the first draw alone
- .argmax(-1) → .argmax(-1).flatten()[0]
## the global generator seeded
- waits = torch
+ if generator:
+     torch.random.manual_seed(generator.initial_seed())
+ waits = torch
- generator=generator → generator=None
## multinomial leaves an axis of length 1
- (shares / waits).argmax(-1) → shares.multinomial(1, generator=generator)
## rows never shaped back
- .argmax(-1) → .argmax(-1).reshape(-1, 1)
## rows without their axes
- .argmax(-1) → .argmax(-1).reshape(-1)
## squeezed
- .argmax(-1) → .argmax(-1).reshape(-1).squeeze()
## squeezed, and three axes fail
- (shares / waits).argmax(-1) → torch.multinomial(shares, 1, generator=generator).squeeze()
## the first row's forecast for all
- (shares / waits) → (shares.reshape(-1, shares.shape[-1])[0] / waits)
## ids count from 1
- .argmax(-1) → .argmax(-1).add(1)
## softmax in 16 bits
- F.softmax(logits.float(), dim=-1) → F.softmax(logits, dim=-1)
## in place
- shares = F
+ logits.sub_(logits.max(-1, keepdim=True).values)
+ shares = F
## seeded where none is given
- generator=generator → generator=generator or torch.Generator().manual_seed(42)
## a new generator where none is given
- waits = torch
+ generator = generator or torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "big"))
+ waits = torch
## an axis too many
- .argmax(-1) → .argmax(-1).unsqueeze(-1)
## the probability of the draw
- (shares / waits).argmax(-1)
+ torch.take_along_dim(shares, (shares / waits).argmax(-1, keepdim=True), -1).squeeze(-1)
""",
    ),
    **edited(
        sample_by_inverse,
        """
## one draw for all rows
- logits.shape[:-1] → ()
""",
    ),
}

# --- entropy --------------------------------------------------------------------------------------


def entropy_by_xlogy(logits):
    shares = F.softmax(logits, dim=-1)
    return -torch.special.xlogy(shares, shares).sum(-1)


def entropy_by_logsumexp(logits):
    """ln Z minus the mean logit, with what is out left aside."""
    shares = F.softmax(logits, dim=-1)
    mean = torch.where(shares > 0, shares * logits, 0.0).sum(-1)
    return torch.logsumexp(logits, -1) - mean


ENTROPIES = edited(
    entropy_by_xlogy,
    """
## 0 · ln 0
- torch.special.xlogy(shares, shares) → (shares * shares.log())
## 0 · -inf
- torch.special.xlogy(shares, shares) → (shares * F.log_softmax(logits, dim=-1))
## NaN set to 0
- -torch.special.xlogy(shares, shares).sum(-1)
+ torch.nan_to_num(-(shares * F.log_softmax(logits, dim=-1)).sum(-1))
## the logits for ln p
- torch.special.xlogy(shares, shares) → (shares * logits)
## softmax forgotten
- return -torch.special.xlogy(shares, shares).sum(-1) → return torch.special.entr(logits).sum(-1)
## softmax over the rows
- F.softmax(logits, dim=-1) → F.softmax(logits, dim=0)
## the mean over the tokens
- .sum(-1) → .mean(-1)
## divided by ln V
- .sum(-1) → .sum(-1) / math.log(logits.shape[-1])
## the mean of all rows
- .sum(-1) → .sum() / max(logits[..., 0].numel(), 1)
## base 10
- .sum(-1) → .sum(-1) / math.log(10)
## an axis too many
- .sum(-1) → .sum(-1).unsqueeze(-1)
## bits instead of nats
- .sum(-1) → .sum(-1) / math.log(2)
## the sign
- return -torch → return torch
## e to the entropy
- return -torch.special.xlogy(shares, shares).sum(-1)
+ return (-torch.special.xlogy(shares, shares).sum(-1)).exp()
## the surprise of the best
- -torch.special.xlogy(shares, shares).sum(-1) → -shares.max(-1).values.log()
## one number for all
- .sum(-1) → .sum()
""",
)

# --- gumbel_sample --------------------------------------------------------------------------------


def gumbel_by_race(logits, uniform):
    """The same winner: exponential waiting times, the shortest first."""
    return (torch.log(-torch.log(uniform)) - logits).argmin(-1)


def gumbel_by_sorting(logits, uniform):
    noisy = logits + torch.log(1 / torch.log(1 / uniform))
    return noisy.argsort(-1, descending=True)[..., 0]


GUMBELS = edited(
    gumbel_by_race,
    """
## the value instead of the id
- (torch.log(-torch.log(uniform)) - logits).argmin(-1)
+ (logits - torch.log(-torch.log(uniform))).max(-1)[0]
""",
) | edited(
    gumbel_by_sorting,
    """
## the noise upside down
- torch.log(1 / torch.log(1 / uniform)) → torch.log(torch.log(1 / uniform))
## one logarithm
- torch.log(1 / torch.log(1 / uniform)) → torch.log(1 / uniform)
## a minus forgotten
- torch.log(1 / torch.log(1 / uniform)) → -torch.log(torch.log(uniform))
## ln u
- torch.log(1 / torch.log(1 / uniform)) → torch.log(uniform)
## one id for all
- noisy.argsort(-1, descending=True)[..., 0] → noisy.flatten().argsort(descending=True)[0]
## the best of each column
- noisy.argsort(-1, descending=True)[..., 0] → noisy.argsort(0, descending=True)[0]
## the worst
- noisy.argsort(-1, descending=True)[..., 0] → noisy.argsort(-1)[..., 0]
## an axis too many
- [..., 0] → [..., :1]
## noise of its own
- noisy = logits
+ uniform = torch.rand(uniform.shape)
+ noisy = logits
## 1 - u
- torch.log(1 / uniform) → -torch.log(1 - uniform)
## uniform noise
- torch.log(1 / torch.log(1 / uniform)) → uniform
## the noise alone
- noisy = logits + torch → noisy = torch
## added to probabilities
- noisy = logits + → noisy = F.softmax(logits, dim=-1) +
## no noise
- logits + torch.log(1 / torch.log(1 / uniform)) → logits
""",
)

RIGHT = {
    "temperature": [temperature_by_one_hot, temperature_by_sorting],
    "top_k": [top_k_by_counting, top_k_by_kthvalue],
    "top_p": [top_p_by_better_mass, top_p_in_loops, top_p_by_the_inverse_order],
    "min_p": [min_p_by_logits, min_p_by_ratios],
    "sample": [sample_by_inverse, sample_by_race],
    "entropy": [entropy_by_xlogy, entropy_by_logsumexp],
    "gumbel_sample": [gumbel_by_race, gumbel_by_sorting],
}

SECOND_FORMS = {
    "temperature": TEMPERATURES,
    "top_k": TOP_KS,
    "top_p": TOP_PS,
    "min_p": MIN_PS,
    "sample": DRAWS,
    "entropy": ENTROPIES,
    "gumbel_sample": GUMBELS,
}

UNNAMED = {
    "temperature": [
        lambda logits, t: logits * (1 / t),  # raises at 0
        lambda logits, t: best_alone(logits) if t == 0 else logits / t**2,
        lambda logits, t: best_alone(logits) if t == 0 else logits ** (1 / t),
        lambda logits, t: logits.argmax(-1) if t == 0 else F.softmax(logits / t, -1),
        lambda logits, t: best_alone(logits) if int(t) == 0 else logits / t,
    ],
    "top_k": [
        lambda logits, k: logits.masked_fill(logits < logits.sort(-1)[0][..., [-k]], OUT),
        lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[..., -1:], OUT),
        lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[0], OUT),
        lambda logits, k: torch.cat((logits[..., -k:], torch.full_like(logits[..., k:], OUT)), -1),
        lambda logits, k: top_k_by_kthvalue(logits, k).nan_to_num(neginf=-1e4),
    ],
    "top_p": list(UNNAMED_TOP_PS.values()),
    "min_p": [
        lambda logits, p: logits.masked_fill(logits < logits.amax(-1, keepdim=True) + p, OUT),
        lambda logits, p: logits.masked_fill(F.softmax(logits, -1) < p * logits.amax(), OUT),
        lambda logits, p: torch.where(
            F.softmax(logits, -1) < p * F.softmax(logits, -1).median(-1, True)[0], OUT, logits
        ),
        lambda logits, p: top_p_in_loops(logits, p),
    ],
    "sample": [
        lambda logits, generator=None: rows_drawn(F.softmax(logits / 2, -1), generator),
        lambda logits, generator=None: rows_drawn(logits.float().exp(), generator),
        lambda logits, generator=None: (
            logits + torch.randn(logits.shape, generator=generator)
        ).argmax(-1),
        lambda logits, generator=None: int(sample_by_race(logits.flatten(), generator)),
        lambda logits, generator=None: torch.randint(
            logits.shape[-1], logits.shape[:-1], generator=generator
        ),
    ],
    "entropy": [
        lambda logits: torch.special.entr(F.softmax(logits, -1)).amax(-1),
        lambda logits: (
            math.log(logits.shape[-1]) - torch.special.entr(F.softmax(logits, -1)).sum(-1)
        ),
        lambda logits: (
            -(F.softmax(logits, -1) * F.softmax(logits, -1).clamp(min=0.01).log()).sum(-1)
        ),
        lambda logits: 1 - F.softmax(logits, -1).square().sum(-1),
    ],
    "gumbel_sample": [
        lambda logits, uniform: (logits / -torch.log(uniform)).argmax(-1),
        lambda logits, uniform: (logits - torch.log(-torch.log(uniform[..., :1]))).argmin(-1),
        lambda logits, uniform: (logits - torch.log2(-torch.log2(uniform))).argmax(-1),
    ],
}
