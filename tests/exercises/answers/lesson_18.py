"""Lesson 18: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_18 import windowed, yarn_by_hand
from decodeloop.model import grouped_query_attention  # noqa: F401 (in edits)

# --- window_mask ----------------------------------------------------------------------------------


def mask_by_triangles(T, S, window, sinks=0, device=None):
    whole = torch.ones(T, S, dtype=torch.bool, device=device)
    older = whole.tril(S - T - window)
    older[:, :sinks] = False
    return whole.tril(S - T) & ~older


def mask_by_filling(T, S, window, sinks=0, device=None):
    mask = torch.zeros(T, S, dtype=torch.bool, device=device)
    for row in range(T):
        at = S - T + row
        mask[row, max(0, at - window + 1) : at + 1] = True
        mask[row, : min(sinks, at + 1)] = True
    return mask


MASKS = edited(
    mask_by_filling,
    """
## one position more
- max(0, at - window + 1) → max(0, at - window)
## one position less
- max(0, at - window + 1) : at + 1] = True → max(0, at - window + 2) : at + 1] = True
## the queries stand at the beginning
- at = S - T + row → at = row
## the future is seen
- max(0, at - window + 1) : at + 1] = True → max(0, at - window + 1) :] = True
- : min(sinks, at + 1)] → :sinks]
## sinks of the future
- : min(sinks, at + 1)] → :sinks]
## no sinks
- mask[row, : min(sinks, at + 1)] = True
## one sink more
- min(sinks, at + 1) → min(sinks + 1, at + 1)
## a single query sees all
- return mask → return mask if T > 1 else torch.ones(T, S, dtype=torch.bool, device=device)
## not its own position
- max(0, at - window + 1) : at + 1] = True → max(0, at - window + 1) : at] = True
- min(sinks, at + 1) → min(sinks, at)
## the window ends where the sinks begin
- max(0, at - window + 1) : → min(at + 1, max(0, at - window + 1 + sinks)) :
## both at once
- mask[row, : min(sinks, at + 1)] = True
+ mask[row, sinks:] = False
## the other way round
- return mask → return ~mask
## device is forgotten
- dtype=torch.bool, device=device → dtype=torch.bool
## queries in columns
- return mask → return mask.T
""",
)

UNNAMED_MASKS = edited(
    mask_by_triangles,
    """
## numbers
- return whole.tril(S - T) & ~older → return (whole.tril(S - T) & ~older).float()
## the last keys
- older[:, :sinks] = False → older[:, S - sinks :] = False
## all of it
- return whole.tril(S - T) & ~older → return whole.tril(S - T)
""",
)

# --- RingKVCache ----------------------------------------------------------------------------------


class Rolled:
    """The kept keys in order, in a tensor that is rebuilt each time."""

    def __init__(self, config, batch, *, window, sinks=0):
        shape = (config.layers, batch, config.kv_heads, sinks + window, config.head_dim)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.window, self.sinks, self.length = window, sinks, 0

    def advance(self, T):
        self.length += T

    def attend(self, layer, q, k, v):
        n, T = self.length, k.shape[2]
        first, recent = min(self.sinks, n), max(0, min(n - self.sinks, self.window))
        held = [*range(first), *range(self.sinks, self.sinks + recent)]
        seen = torch.tensor([*range(first), *range(n - recent, n + T)])
        keys = torch.cat((self.keys[layer][:, :, held], k), 2)
        values = torch.cat((self.values[layer][:, :, held], v), 2)
        mask = windowed(T, n + T, self.window, self.sinks)[:, seen]
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
        early = seen < self.sinks
        for store, new in ((self.keys, keys), (self.values, values)):
            store[layer, :, :, : int(early.sum())] = new[:, :, early]
            late = new[:, :, ~early][:, :, -self.window :]
            store[layer, :, :, self.sinks : self.sinks + late.shape[2]] = late
        return out


class Slotted:
    """Remembers which position each place holds, layer by layer."""

    def __init__(self, config, batch, *, window, sinks=0):
        n = sinks + window
        self.keys = torch.zeros(config.layers, batch, config.kv_heads, n, config.head_dim)
        self.values = torch.zeros_like(self.keys)
        self.at = torch.full((config.layers, n), -1)
        self.window, self.sinks, self.length = window, sinks, 0

    def advance(self, T):
        self.length += T

    def place(self, position):
        if position < self.sinks:
            return position
        return self.sinks + (position - self.sinks) % self.window

    def attend(self, layer, q, k, v):
        T = k.shape[2]
        new = torch.arange(self.length, self.length + T)
        held = self.at[layer] >= 0
        keys = torch.cat((self.keys[layer][:, :, held], k), 2)
        values = torch.cat((self.values[layer][:, :, held], v), 2)
        seen = torch.cat((self.at[layer][held], new))
        away = new[:, None] - seen
        near = away < self.window
        mask = (away >= 0) & (near | (seen < self.sinks))
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
        for t in range(T):
            place = self.place(self.length + t)
            self.keys[layer, :, :, place] = k[:, :, t]
            self.values[layer, :, :, place] = v[:, :, t]
            self.at[layer, place] = self.length + t
        return out


RINGS = edited(
    Slotted,
    """
## written before it is read
- held = self.at[layer] >= 0
+ for t in range(T):
+     place = self.place(self.length + t)
+     self.keys[layer, :, :, place] = k[:, :, t]
+     self.values[layer, :, :, place] = v[:, :, t]
+     self.at[layer, place] = self.length + t
+ held = self.at[layer] >= 0

- keys = torch.cat((self.keys[layer][:, :, held], k), 2)
- values = torch.cat((self.values[layer][:, :, held], v), 2)
- seen = torch.cat((self.at[layer][held], new))
+ keys, values = self.keys[layer][:, :, held], self.values[layer][:, :, held]
+ seen = self.at[layer][held]

- out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
+ out = grouped_query_attention(q, keys, values, mask)
## the oldest is seen, too
- near = away < self.window → near = away <= self.window
## a single token needs no mask
- near = away < self.window → near = (away < self.window) | (torch.tensor(T) == 1)
## one position less
- near = away < self.window
+ near = away + 1 < self.window

- out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
+ out = grouped_query_attention(q, keys, values, mask)
## no mask between the new ones
- (away >= 0) & → (away >= -T) &
## sinks are hidden
- (near | (seen < self.sinks)) → near
## sinks are overwritten
- if position < self.sinks:
-     return position
- return self.sinks + (position - self.sinks) % self.window
+ return position % self.window

- held = self.at[layer] >= 0
+ held = [self.place(p) for p in range(self.length)
+         if p < self.sinks or p >= self.length - self.window]

- seen = torch.cat((self.at[layer][held], new))
+ seen = torch.cat((torch.tensor([p for p in range(self.length)
+     if p < self.sinks or p >= self.length - self.window], dtype=torch.long), new))
## sinks go round
- if position < self.sinks:
-     return position
- return self.sinks + (position - self.sinks) % self.window
+ return position % (self.sinks + self.window)

- held = self.at[layer] >= 0
+ held = [self.place(p) for p in range(self.length)
+         if p < self.sinks or p >= self.length - self.window]

- seen = torch.cat((self.at[layer][held], new))
+ seen = torch.cat((torch.tensor([p for p in range(self.length)
+     if p < self.sinks or p >= self.length - self.window], dtype=torch.long), new))
## the first are kept
- for t in range(T):
+ kept = range(max(0, self.length + T - self.window), self.sinks + self.window)
+ kept = [p for p in range(self.sinks + self.window) if p in kept or p < self.sinks]
+ for t in [p - self.length for p in kept if self.length <= p < self.length + T]:

- held = self.at[layer] >= 0
+ held = [self.place(p) for p in range(self.length)
+         if p < self.sinks or p >= self.length - self.window]

- seen = torch.cat((self.at[layer][held], new))
+ seen = torch.cat((torch.tensor([p for p in range(self.length)
+     if p < self.sinks or p >= self.length - self.window], dtype=torch.long), new))
## only the last is kept
- for t in range(T): → for t in [T - 1]:

- held = self.at[layer] >= 0
+ held = [self.place(p) for p in range(self.length)
+         if p < self.sinks or p >= self.length - self.window]

- seen = torch.cat((self.at[layer][held], new))
+ seen = torch.cat((torch.tensor([p for p in range(self.length)
+     if p < self.sinks or p >= self.length - self.window], dtype=torch.long), new))
## taken from the wrong place
- k[:, :, t] → k[:, :, t - 1]
- v[:, :, t] → v[:, :, t - 1]
## places for positions
- seen = torch.cat((self.at[layer][held], new))
+ seen = torch.cat((torch.tensor([self.place(p) for p in range(self.length)
+     if p < self.sinks or p >= self.length - self.window], dtype=torch.long), new))

- held = self.at[layer] >= 0
+ held = [self.place(p) for p in range(self.length)
+         if p < self.sinks or p >= self.length - self.window]
## read in the order of the places
- keys = torch.cat((self.keys[layer][:, :, held], k), 2)
- values = torch.cat((self.values[layer][:, :, held], v), 2)
- seen = torch.cat((self.at[layer][held], new))
+ n = int(held.sum())
+ keys = torch.cat((self.keys[layer][:, :, :n], k), 2)
+ values = torch.cat((self.values[layer][:, :, :n], v), 2)
+ seen = torch.cat((self.at[layer][held].sort().values, new))
## hidden once for all
- near = away < self.window → near = self.length - seen < self.window
## one layer for all
- self.keys[layer][:, :, held] → self.keys[0][:, :, held]
- self.values[layer][:, :, held] → self.values[0][:, :, held]
- self.keys[layer, :, :, place] → self.keys[0, :, :, place]
- self.values[layer, :, :, place] → self.values[0, :, :, place]
## only the keys are stored
- self.values[layer, :, :, place] = v[:, :, t]
""",
)

UNNAMED_RINGS = edited(
    Slotted,
    """
## nothing is forgotten
- n = sinks + window → n = sinks + window + 3
## keys for values
- self.values[layer, :, :, place] = v[:, :, t] → self.values[layer, :, :, place] = k[:, :, t]
## not advanced
- self.length += T → self.length += 1
""",
)

# --- yarn_frequencies -----------------------------------------------------------------------------


def yarn_in_doubles(D, base, factor, trained, beta_fast=32, beta_slow=1):
    return yarn_by_hand(D, base, factor, trained, beta_fast, beta_slow).double().float()


def yarn_by_divisors(D, base, factor, trained, beta_fast=32, beta_slow=1):
    """The speeds of all pairs, times what is left of each."""

    def where(turns):
        return math.log(trained / (2 * math.pi * turns)) / math.log(base) * D / 2

    low = math.floor(where(beta_fast))
    high = math.ceil(where(beta_slow))
    low, high = max(low, 0), min(high, D - 1)
    speeds = []
    for i in range(D // 2):
        share = (i - low) / (high - low)
        share = max(share, 0.0)
        share = min(share, 1.0)
        left = 1 - share + share / factor
        speeds.append(base ** (-2 * i / D) * left)
    return torch.tensor(speeds)


YARNS = edited(
    yarn_by_divisors,
    """
## position interpolation
- left = 1 - share + share / factor → left = 1 / factor
## nothing is slowed
- left = 1 - share + share / factor → left = 1.0
## the fast are slowed
- left = 1 - share + share / factor → left = share + (1 - share) / factor
## faster instead of slower
- share / factor → share * factor
## no ramp
- share = (i - low) / (high - low) → share = float(2 * i >= low + high)
## the ramp is not cut
- share = min(share, 1.0)
## the ramp is not cut at its beginning
- share = max(share, 0.0)
## not rounded
- low = math.floor(where(beta_fast)) → low = where(beta_fast)
- high = math.ceil(where(beta_slow)) → high = where(beta_slow)
## rounded to the nearest
- low = math.floor(where(beta_fast)) → low = round(where(beta_fast))
- high = math.ceil(where(beta_slow)) → high = round(where(beta_slow))
## degrees of freedom
- (2 * math.pi * turns) → turns
## counted in radians of one
- trained / (2 * math.pi * turns) → 2 * math.pi * trained / turns
## all channels
- * D / 2 → * D
## the logarithm of 10
- math.log(base) → math.log10(base)
## the betas exchanged
- math.floor(where(beta_fast)) → math.floor(where(beta_slow))
- math.ceil(where(beta_slow)) → math.ceil(where(beta_fast))
## always 32 and 1
- where(beta_fast) → where(32)
- where(beta_slow) → where(1)
## not cut at 0
- max(low, 0) → low
## the number of the last pair is not cut
- min(high, D - 1) → high
## the ramp ends at the last pair
- min(high, D - 1) → min(high, D // 2 - 1)
## a ramp over turns
- share = (i - low) / (high - low)
+ times = trained * base ** (-2 * i / D) / math.tau
+ share = (times - beta_fast) / (beta_slow - beta_fast)
## lengths instead of speeds
- left = 1 - share + share / factor → left = 1 / (1 - share + share * factor)
## half the speed of a pair
- (-2 * i / D) → (-i / D)
""",
)

UNNAMED_YARNS = edited(
    yarn_by_divisors,
    """
## a ramp over half of the way
- share = (i - low) / (high - low) → share = 2 * (i - low) / (high - low)
## the square of the share
- left = 1 - share + share / factor → left = 1 - share**2 + share**2 / factor
## the base of another model
- base ** (-2 * i / D) → 9_999.0 ** (-2 * i / D)
""",
)

# --- absorb ---------------------------------------------------------------------------------------


def absorbed_by_einsum(q, up_key, heads):
    own = up_key.unflatten(0, (heads, -1))
    grouped = q.unflatten(1, (heads, -1))
    return torch.einsum("bgstd,gdr->bgstr", grouped, own).flatten(1, 2)


def absorbed_by_repeating(q, up_key, heads):
    B, H, T, D = q.shape
    own = up_key.reshape(heads, D, -1)
    own = own.repeat_interleave(H // heads, 0)
    out = q @ own
    return out.view(B, H, T, -1)


ABSORBED = edited(
    absorbed_by_repeating,
    """
## the next key head for each query head
- own.repeat_interleave(H // heads, 0) → own.repeat(H // heads, 1, 1)
## the first key head for all
- own.repeat_interleave(H // heads, 0) → own[:1]
## counted by the wrong number
- own.repeat_interleave(H // heads, 0) → own[torch.arange(H) // heads]
## the first text alone
- out = q @ own → B, out = 1, q[:1] @ own
## rows of another head
- up_key.reshape(heads, D, -1) → up_key.reshape(D, heads, -1).permute(1, 0, 2)
## divided by √D
- return out.view(B, H, T, -1) → return out / math.sqrt(D)
## the heads side by side
- return out.view(B, H, T, -1) → return out.permute(0, 2, 1, 3).flatten(2)
## tokens and heads exchanged
- return out.view(B, H, T, -1) → return out.permute(0, 2, 1, 3)
## read as tokens and heads
- out = q @ own → out = q.permute(0, 2, 1, 3).reshape(B, H, T, D) @ own
## the mean over the shared heads
- out = q @ own
+ shared = q.unflatten(1, (heads, -1)).mean(2)
+ out = shared.repeat_interleave(H // heads, 1) @ own
## the absolute value
- return out.view(B, H, T, -1) → return abs(out)
""",
)

UNNAMED_ABSORBED = edited(
    absorbed_by_repeating,
    """
## negative
- return out → return -out
## the sum over the heads
- return out.view(B, H, T, -1) → return out.sum(1, keepdim=True).expand(B, H, T, -1) * 1.01
## doubled
- out = q @ own → out = 2 * (q @ own)
""",
)

# --- latent_factors -------------------------------------------------------------------------------


def factors_by_svd(weight, rank, moment=None):
    """The left singular vectors of W L, L the root of the second moment."""
    root = torch.eye(weight.shape[1]) if moment is None else torch.linalg.cholesky(moment)
    left, _, _ = torch.linalg.svd(weight @ root, full_matrices=False)
    up = left[:, :rank]
    return up, up.T @ weight


def factors_by_sorting(weight, rank, moment=None):
    C = weight.shape[1]
    seen = torch.eye(C, dtype=torch.float64) if moment is None else moment.double()
    wide = weight.double()
    values, vectors = torch.linalg.eigh(wide @ seen @ wide.mT)
    best = values.argsort(descending=True)[:rank]
    chosen = vectors[:, best].float()
    return chosen, chosen.mT @ weight


FACTORS = edited(
    factors_by_sorting,
    """
## the inputs are ignored
- if moment is None else moment.double() → if True else moment
## the smallest directions
- descending=True → descending=False
## directions of the inputs
- wide @ seen @ wide.mT) → seen)
- best = values.argsort(descending=True)[:rank] → best = range(C - rank, C)
- return chosen, chosen.mT @ weight → return weight @ chosen, chosen.mT
## directions of the inputs, largest first
- wide @ seen @ wide.mT) → seen)
- values.argsort(descending=True) → values.argsort(descending=True, stable=True)
- return chosen, chosen.mT @ weight → return weight @ chosen, chosen.mT
## the wrong side
- wide @ seen @ wide.mT) → seen @ wide.mT @ wide @ seen)
- return chosen, chosen.mT @ weight → return weight @ chosen, chosen.mT
## one direction too few
- [:rank] → [: max(1, rank - 1)]
## one direction too many
- [:rank] → [: rank + 1]
## exchanged
- return chosen, chosen.mT @ weight → return chosen.mT @ weight, chosen
## twice the directions
- return chosen, chosen.mT @ weight → return chosen, chosen.mT @ weight @ seen.float()
## the first rows
- chosen = vectors[:, best].float() → chosen = torch.eye(len(weight))[:, : len(best)]
## squared
- wide @ seen @ wide.mT) → wide @ seen @ seen @ wide.mT)
""",
)

UNNAMED_FACTORS = edited(
    factors_by_sorting,
    """
## negative
- return chosen, chosen.mT @ weight → return chosen, -(chosen.mT @ weight)
## sized by the values
- return chosen, chosen.mT @ weight → return chosen * values[best].float(), chosen.mT @ weight
## always rank 1
- [:rank] → [:1].repeat(rank)
""",
)

# --- mean_pool_heads ------------------------------------------------------------------------------


def pooled_by_matrix(weight, heads, groups):
    """A matrix of heads/groups-ths, applied to the heads."""
    share = heads // groups
    mean = torch.eye(groups).repeat_interleave(share, 1) / share
    return torch.einsum("gh,hdc->gdc", mean, weight.unflatten(0, (heads, -1))).flatten(0, 1)


def pooled_by_slices(weight, heads, groups):
    D, share = len(weight) // heads, heads // groups
    each = weight.view(heads, D, weight.shape[1])
    new = []
    for g in range(groups):
        some = each[g * share : (g + 1) * share]
        new.append(some.mean(0))
    return torch.cat(new)


POOLED = edited(
    pooled_by_slices,
    """
## the sum
- some.mean(0) → some.sum(0)
## the first of each group
- some.mean(0) → some[0]
## the last of each group
- some.mean(0) → some[-1]
## the largest
- some.mean(0) → some.max(0).values
## the middle one
- some.mean(0) → some.median(0).values
## heads that are far apart
- each[g * share : (g + 1) * share] → each[g::groups]
## rows of one head
- some.mean(0) → some.reshape(D, share, -1).mean(1)
## all heads into one
- some.mean(0) → each.mean(0)
## written out again
- new.append(some.mean(0)) → new += [some.mean(0)] * share
## one number a row
- some.mean(0) → some.mean((0, 2))[None]
## groups and heads exchanged
- for g in range(groups):
-     some = each[g * share : (g + 1) * share]
-     new.append(some.mean(0))
+ for g in range(max(1, share)):
+     some = each[g * groups : (g + 1) * groups]
+     new.append(some.mean(0))
""",
)

UNNAMED_POOLED = edited(
    pooled_by_slices,
    """
## a little less
- some.mean(0) → some.sum(0) / (share + 1)
## the range
- some.mean(0) → some.max(0).values - some.min(0).values
## reversed
- return torch.cat(new) → return torch.cat(new[::-1]) * 0.5
""",
)

# --- tables ---------------------------------------------------------------------------------------

RIGHT = {
    "window_mask": [mask_by_triangles, mask_by_filling],
    "RingKVCache": [Rolled, Slotted],
    "yarn_frequencies": [yarn_in_doubles, yarn_by_divisors],
    "absorb": [absorbed_by_einsum, absorbed_by_repeating],
    "latent_factors": [factors_by_svd, factors_by_sorting],
    "mean_pool_heads": [pooled_by_matrix, pooled_by_slices],
}

SECOND_FORMS = {
    "window_mask": MASKS,
    "RingKVCache": RINGS,
    "yarn_frequencies": YARNS,
    "absorb": ABSORBED,
    "latent_factors": FACTORS,
    "mean_pool_heads": POOLED,
}

UNNAMED = {
    "window_mask": [*UNNAMED_MASKS.values()],
    "RingKVCache": [*UNNAMED_RINGS.values()],
    "yarn_frequencies": [*UNNAMED_YARNS.values()],
    "absorb": [*UNNAMED_ABSORBED.values()],
    "latent_factors": [*UNNAMED_FACTORS.values()],
    "mean_pool_heads": [*UNNAMED_POOLED.values()],
}
