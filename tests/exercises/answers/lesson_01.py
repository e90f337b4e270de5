"""Lesson 01: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
import statistics  # noqa: F401

import torch
from einops import rearrange  # noqa: F401
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

# --- softmax --------------------------------------------------------------------------------------


def softmax_by_logsumexp(x, dim=-1):
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True)).nan_to_num(0.0)


def softmax_with_empty_rows_replaced(x, dim=-1):
    empty = (x == -math.inf).all(dim, keepdim=True)
    peak = torch.where(empty, 0.0, x.max(dim, keepdim=True).values)
    e = torch.exp(x - peak)
    total = torch.where(empty, 1.0, e.sum(dim, keepdim=True))
    return e / total


SOFTMAXES = edited(
    softmax_with_empty_rows_replaced,
    """
## overflow
- torch.exp(x - peak) → torch.pow(math.e, x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.sum(dim).unsqueeze(dim)
## always the last axis
- empty = (
+ dim = -1
+ empty = (
## overflow, and always the last axis
- torch.exp(x - peak) → torch.pow(math.e, x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.sum(-1).unsqueeze(-1)
## one peak, and always the last axis
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.sum(-1).unsqueeze(-1)
## overflow, and summed over everything
- torch.exp(x - peak) → torch.pow(math.e, x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.flatten().sum()
## summed over everything
- return e / total → return F.softmax(x.flatten(), dim=0).view_as(x)
## one total for everything
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → x.max(dim, keepdim=True).values
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → torch.sum(e)
## one peak for everything
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.sum(dim, True)
## the sum without keepdim
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → x.max(dim, keepdim=True).values
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → torch.sum(e, axis=dim)
## not normalised
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → x.max(dim).values.unsqueeze(dim)
- return e / total → return e
## NaN for a row of -inf
- return e / total → return torch.where(empty, torch.nan, e / total)
## equal weights for a row of -inf
- empty = (
+ x = x.masked_fill(x == -math.inf, -1e9)
+ empty = (
## overflow, and zeros where the sum is 0
- torch.exp(x - peak) → torch.pow(math.e, x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True)) → e.sum(dim, keepdim=True)
- return e / total → return torch.where(total == 0, 0.0, e / total)
## overflow, and NaN made 0
- torch.exp(x - peak) → torch.pow(math.e, x)
- return e / total → return torch.nan_to_num(e / e.sum(dim, True), nan=0.0)
## one peak for everything, and zeros where the sum is 0
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x)
- return e / total → return torch.nan_to_num(e / e.sum(dim, True), nan=0.0)
## one peak for everything, and a sum of at least 1
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x)
- torch.where(empty, 1.0, e.sum(dim, keepdim=True))
+ torch.maximum(e.sum(dim, keepdim=True), torch.ones(()))
## a peak of at least 0
- x.max(dim, keepdim=True).values) → F.relu(x.max(dim, keepdim=True).values))
- return e / total → return torch.nan_to_num(e / e.sum(dim, True), nan=0.0)
## a peak of at least 0, and NaN
- x.max(dim, keepdim=True).values) → F.relu(x.max(dim, keepdim=True).values))
- return e / total → return e / e.sum(dim, True)
## a peak of at least 0, and a sum of at least 1
- x.max(dim, keepdim=True).values) → F.relu(x.max(dim, keepdim=True).values))
- torch.where(empty, 1.0, e.sum(dim, keepdim=True))
+ torch.maximum(e.sum(dim, keepdim=True), torch.ones(()))
## the mean subtracted
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → x.sum(dim, True) / x.shape[dim]
- return e / total → return e / e.sum(dim, True)
## the smallest subtracted
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → -torch.amax(-x, dim, True)
- return e / total → return e / e.sum(dim, True)
## the peak without keepdim
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x, dim).values
- return e / total → return e / e.sum(dim, True)
## keepdim nowhere, and NaN made 0
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → torch.max(x, dim).values
- return e / total → return torch.nan_to_num(e / torch.sum(e, axis=dim))
## the sum along the last axis
- e.sum(dim, keepdim=True) → e.sum(-1, keepdim=True)
- return e / total → return torch.nan_to_num(e / total, nan=0.0)
## the peak along the last axis
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values)
+ x.max(-1, keepdim=True).values.clamp(min=-1e30)
- return e / total → return torch.nan_to_num(e / e.sum(dim, True), nan=0.0)
## always the last axis, and NaN for a row of -inf
- return e / total → return torch.softmax(x, -1)
## empty rows looked for along the last axis
- return e / total → return torch.where((x == -math.inf).all(-1, True), 0.0, F.softmax(x, dim))
## ones for a row of -inf
- return e / total → return torch.where(empty, 1.0, e / total)
## the mean subtracted, and NaN made 0
- torch.where(empty, 0.0, x.max(dim, keepdim=True).values) → x.sum(dim, True) / x.shape[dim]
- return e / total → return torch.nan_to_num(e / e.sum(dim, True))
## divided by the peak
- torch.exp(x - peak) → torch.exp(torch.div(x, x.max(dim, keepdim=True).values))
- return e / total → return e / e.sum(dim, True)
## divided by the peak, and NaN made 0
- torch.exp(x - peak) → torch.exp(torch.div(x, x.max(dim, keepdim=True).values))
- return e / total → return torch.nan_to_num(e / e.sum(dim, True))
## zeros everywhere for a row of -inf
- return e / total → return 0 * x.nan_to_num() if empty.any() else e / total
## zeros for any -inf
- return e / total → return torch.where(torch.isinf(x).any(dim, True), 0.0, F.softmax(x, dim))
## scores cut off on both sides
- torch.exp(x - peak) → x.clip(-85, 85).exp()
- return e / total → return e / e.sum(dim, True)
## scores cut off from above
- torch.exp(x - peak) → x.clamp(max=60).exp()
- return e / total → return e / e.sum(dim, True)
## scores cut off from above, and zeros where the sum is 0
- torch.exp(x - peak) → x.clamp(max=60).exp()
- return e / total → return (e / e.sum(dim, True)).nan_to_num(0.0)
## two in place of e
- torch.exp(x - peak) → 2 ** (x - peak)
## no exponentials
- return e / total → return torch.div(x, x.sum(dim).unsqueeze(dim))
## the logarithm of the shares
- return e / total → return F.log_softmax(x.double(), dim=dim)
## each score by itself
- return e / total → return 1 / (1 + torch.exp(-x))
""",
)


# --- causal_mask ----------------------------------------------------------------------------------


def positions(T, S=None):
    """Where queries and keys stand: (T, 1) and (1, S)."""
    S = S or T
    return torch.arange(S - T, S)[:, None], torch.arange(S)[None]


def causal_by_positions(T, S=None):
    query, key = positions(T, S)
    return key <= query


def bottom_of_the_square(T, S=None):
    S = T if S is None else S
    return torch.tril(torch.ones(S, S)).bool()[S - T :]


MASKS = edited(
    causal_by_positions,
    """
## not shifted by the cache
- key <= query → key <= query - query[0]
## shifted the wrong way
- key <= query → key + query[0] <= query - query[0]
## blind to itself
- key <= query → key < query
## sees one ahead
- key <= query → key <= query + 1
## upside down
- key <= query → key > query
## the future
- key <= query → key >= query
## numbers instead of booleans
- return key <= query → return (key <= query).long()
## square whatever S is
- positions(T, S) → positions(T)
## blind to itself with a cache
- key <= query → key <= query if S in (None, T) else key < query
## blind to itself where S is given
- key <= query → key <= query if S is None else key < query
## sees one ahead with a cache
- key <= query → key <= query if S in (None, T) else key - 1 <= query
## new tokens see each other
- key <= query → key <= query if S in (None, T) else (key <= key) & (query <= query)
## nothing hidden
- key <= query → key < query + 2 * T + 1 + (S or 0)
## what is cached hidden
- key <= query → (key <= query) & (key >= query[0])
## sees one ahead, not shifted
- key <= query → key <= query - query[0] + 1
## blind to itself, not shifted
- key <= query → key < query - query[0]
## shifted by T
- key <= query → key <= query - query[0] + T
## queries and keys swapped
- key <= query → key.T <= query.T
## 0 and -inf
- key <= query → torch.where(key <= query, 0.0, -math.inf)
## two axes in front
- key <= query → (key <= query).view(1, 1, T, -1)
""",
) | {"the whole square": lambda T, S=None: causal_by_positions(S or T)}


def s_not_filled_in(T, S=None):
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


# --- attention ------------------------------------------------------------------------------------


def dots(q, k):
    return torch.einsum("bhtd,bhsd->bhts", q, k)


def mixed(weights, v):
    return torch.einsum("bhts,bhsd->bhtd", weights, v)


def hidden(scores, mask):
    return scores if mask is None else torch.where(mask, scores, -math.inf)


def attention_by_einsum(q, k, v, mask=None):
    scores = hidden(dots(q, k) / q.shape[-1] ** 0.5, mask)
    return mixed(softmax_by_logsumexp(scores), v)


def renewed(weights, mask):
    """Masked after the fact."""
    kept = weights if mask is None else torch.where(mask, weights, 0.0)
    return kept if mask is None else kept / kept.sum(-1, keepdim=True)


def attention_in_loops(q, k, v, mask=None):
    B, H, T, D = q.shape
    S = k.shape[2]
    seen = torch.ones(B, H, T, S) if mask is None else mask.expand(B, H, T, S)
    out = torch.zeros(B, H, T, v.shape[-1], device=v.device)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                keys = [s for s in range(S) if seen[b, h, t, s]]
                if keys:
                    scores = torch.stack([q[b, h, t] @ k[b, h, s] for s in keys]) / math.sqrt(D)
                    shares = torch.softmax(scores, 0)
                    for s, share in zip(keys, shares, strict=True):
                        out[b, h, t] += share * v[b, h, s]
    return out


ATTENTIONS = edited(
    attention_by_einsum,
    """
## forgot 1/√D
-  / q.shape[-1] ** 0.5
## divided by D
- q.shape[-1] ** 0.5 → q.shape[-1]
## divided by the root of T
- q.shape[-1] → q.shape[2]
## softmax over the queries
- softmax_by_logsumexp(scores) → softmax_by_logsumexp(scores, dim=2)
## masked with zero
- hidden(dots(q, k) / q.shape[-1] ** 0.5, mask)
+ dots(q, k) / q.shape[-1] ** 0.5 * (1 if mask is None else mask)
## masked after the softmax
- 0.5, mask) → 0.5, None)
- softmax_by_logsumexp(scores), v → softmax_by_logsumexp(scores) * (1 if mask is None else mask), v
## every score of 0 masked
- return mixed
+ scores = scores if mask is None else torch.where(scores == 0, -math.inf, scores)
+ return mixed
## the mask added as a number
- hidden(dots(q, k) / q.shape[-1] ** 0.5, mask)
+ dots(q, k) / q.shape[-1] ** 0.5 + (0 if mask is None else mask)
## always causal
- scores = hidden
+ mask = causal_by_positions(q.shape[2], k.shape[2]) if mask is None else mask
+ scores = hidden
## √64 for every D
- q.shape[-1] ** 0.5 → 8
## the weights themselves
- mixed(softmax_by_logsumexp(scores), v) → softmax_by_logsumexp(scores)
## the mask upside down
- 0.5, mask) → 0.5, None if mask is None else ~mask)
## the mask ignored
- 0.5, mask) → 0.5, None)
## NaN where nothing may be attended to
- softmax_by_logsumexp(scores) → F.softmax(scores, dim=-1)
## a large negative number instead of -inf
- softmax_by_logsumexp(scores) → F.softmax(scores.clamp(min=-1e20), dim=-1)
## keys weighted instead of values
- (scores), v) → (scores), k)
## scaled after the softmax
-  / q.shape[-1] ** 0.5
- softmax_by_logsumexp(scores) → softmax_by_logsumexp(scores) * q.shape[-1] ** -0.5
## masked after the softmax, and divided anew
- 0.5, mask) → 0.5, None)
- softmax_by_logsumexp(scores), v → renewed(softmax_by_logsumexp(scores), mask), v
## masked after the softmax, and divided anew by a small number
- 0.5, mask) → 0.5, None)
- softmax_by_logsumexp(scores), v → renewed(softmax_by_logsumexp(scores), mask).nan_to_num(0.0), v
## a mask of two axes ignored
- 0.5, mask) → 0.5, None if mask is None or mask.ndim == 2 else mask)
## a mask of four axes ignored
- 0.5, mask) → 0.5, None if mask is None or mask.ndim == 4 else mask)
## scaled only with a mask
- / q.shape[-1] ** 0.5 → / (1.0 if mask is None else q.shape[-1] ** 0.5)
## the root cut off
- q.shape[-1] ** 0.5 → math.isqrt(q.shape[-1])
## causal whatever the mask
- scores = hidden
+ mask = causal_by_positions(q.shape[2], k.shape[2])
+ scores = hidden
## one mask for all texts and heads
- 0.5, mask) → 0.5, None if mask is None else mask.reshape(-1, *mask.shape[-2:])[0])
## the first text alone
- return mixed(softmax_by_logsumexp(scores), v)
+ return mixed(softmax_by_logsumexp(scores), v)[0].unsqueeze(0)
## the first text without its axis
- return mixed(softmax_by_logsumexp(scores), v)
+ return mixed(softmax_by_logsumexp(scores), v).select(0, 0)
## zeros unless the first key is seen
- return mixed(softmax_by_logsumexp(scores), v)
+ blind = False if mask is None else torch.logical_not(mask)[..., 0, None]
+ return torch.where(torch.as_tensor(blind), 0.0, mixed(softmax_by_logsumexp(scores), v))
## zeros if any key is hidden
- return mixed(softmax_by_logsumexp(scores), v)
+ blind = False if mask is None else (~mask).any(-1, keepdim=True)
+ return torch.where(torch.as_tensor(blind), 0.0, mixed(softmax_by_logsumexp(scores), v))
## zeros if nobody sees anything
- return mixed(softmax_by_logsumexp(scores), v)
+ if mask is not None and (~mask).all():
+     return torch.zeros(*q.shape[:3], v.shape[-1])
+ return mixed(F.softmax(scores, dim=-1), v)
## the mask ignored for one query
- 0.5, mask) → 0.5, None if q.shape[2] == 1 else mask)
## causal besides the mask
- scores = hidden
+ mask = None if mask is None else mask & causal_by_positions(q.shape[2], k.shape[2])
+ scores = hidden
## the first query's mask for all
- 0.5, mask) → 0.5, None if mask is None else mask.movedim(-2, 0)[0].unsqueeze(-2))
## the first text's mask for all
- 0.5, mask) → 0.5, None if mask is None else mask if mask.ndim < 4 else mask[0])
## the first head's mask for all
- 0.5, mask) → 0.5, None if mask is None else mask if mask.ndim < 4 else mask[:, 0, None])
## the mask turned
- 0.5, mask) → 0.5, None if mask is None else mask.transpose(-1, -2))
## divided by the root of v's width
- q.shape[-1] → v.shape[3]
## divided by the root of S
- q.shape[-1] → v.shape[2]
## divided by the root of the heads
- q.shape[-1] → v.shape[1]
## multiplied by √D
- / q.shape[-1] ** 0.5 → * math.sqrt(q.shape[-1])
## no softmax
- softmax_by_logsumexp(scores) → scores
## softmax over the heads
- softmax_by_logsumexp(scores) → softmax_by_logsumexp(scores, dim=1)
## exponentials that overflow
- softmax_by_logsumexp(scores) → (math.e**scores / (math.e**scores).sum(-1, keepdim=True))
## exponentials that overflow, and zeros where the sum is 0
- softmax_by_logsumexp(scores)
+ (scores.exp() / scores.exp().sum(-1, True)).where(scores.exp().sum(-1, True) > 0, 0.0)
## keys not transposed
- dots(q, k) → torch.matmul(q, k)
## queries and keys swapped
- dots(q, k) → dots(k, q)
## heads merged
- return mixed(softmax_by_logsumexp(scores), v)
+ return rearrange(mixed(softmax_by_logsumexp(scores), v), "B H T D -> B T (H D)")
## the weights as well
- return mixed(softmax_by_logsumexp(scores), v)
+ return [mixed(softmax_by_logsumexp(scores), v), softmax_by_logsumexp(scores)]
""",
)

UNNAMED_ATTENTIONS = edited(
    attention_by_einsum,
    """
## the worst keys
- softmax_by_logsumexp(scores) → softmax_by_logsumexp(-scores)
## the best key alone
- softmax_by_logsumexp(scores) → F.one_hot(scores.argmax(-1), scores.shape[-1]).float()
## the mask of -100
- softmax_by_logsumexp(scores) → softmax_by_logsumexp(scores.clamp(min=-5.0))
""",
)

# --- previous_token_head --------------------------------------------------------------------------


def best_of(maps, score):
    """The (layer, head) whose map scores highest, one map at a time."""
    L, H = maps.shape[:2]
    places = [(layer, head) for layer in range(L) for head in range(H)]
    return max(places, key=lambda place: score(maps[place].tolist()))


def previous_in_loops(maps):
    def score(rows):
        return sum(rows[t][t - 1] for t in range(1, len(rows)))

    return best_of(maps, score)


def previous_by_indexing(maps):
    T = maps.shape[-1]
    share = maps[..., torch.arange(1, T), torch.arange(T - 1)].mean(-1)
    return (share == share.max()).nonzero()[0]  # a tensor of two


def looks_back(maps):
    return maps[..., 1:, :].diagonal(0, 2, 3).sum(-1)


HEADS = edited(
    previous_in_loops,
    """
## the token itself
- rows[t][t - 1] for t in range(1, → rows[t][t] for t in range(0,
## the sink
- rows[t][t - 1] for t in range(1, → rows[t][0] for t in range(0,
## one ahead
- rows[t][t - 1] for t in range(1, len(rows)) → rows[t][t + 1] for t in range(len(rows) - 1)
## two before
- rows[t][t - 1] for t in range(1, → rows[t][t - 2] for t in range(2,
## head and layer swapped
- best_of(maps, score) → best_of(maps, score)[::-1]
## divided by the layers
- return best_of(maps, score)
+ layer, head = best_of(maps, score)
+ return divmod(layer * maps.shape[1] + head, maps.shape[0])
## hits counted
- rows[t][t - 1] for → (max(rows[t]) == rows[t][t - 1]) for
## the last query alone
- sum(rows[t][t - 1] for t in range(1, len(rows))) → rows[-1][-2]
## the first query alone
- sum(rows[t][t - 1] for t in range(1, len(rows))) → rows[1][0]
## the best query
- return sum( → return max(
## the worst query
- return sum( → return min(
## the second token left out
- range(1, → range(2,
## around the corner
- for t in range(1, → for t in range(0,
## compared with the token itself
- return sum(rows[t][t - 1] for t in range(1, len(rows)))
+ back = sum(rows[t][t - 1] for t in range(1, len(rows))) / (len(rows) - 1)
+ return back / max(sum(rows[t][t] for t in range(len(rows))) / len(rows), 1e-9)
## the median
- return sum( → return statistics.median_low(
## counted from 1
- best_of(maps, score) → tuple(x + 1 for x in best_of(maps, score))
## the first layer alone
- best_of(maps, score) → best_of(maps[:1], score)
## the last layer alone
- best_of(maps, score) → (len(maps) - 1, best_of(maps[-1:], score)[1])
## one number
- return best_of(maps, score)
+ layer, head = best_of(maps, score)
+ return torch.tensor(layer * maps.shape[1] + head)
""",
) | {
    "the best layer first": lambda maps: (
        int(looks_back(maps).sum(1).argmax()),
        int(looks_back(maps)[looks_back(maps).sum(1).argmax()].argmax()),
    ),
    "the best head first": lambda maps: (
        int(looks_back(maps).T[looks_back(maps).sum(0).argmax()].argmax()),
        int(looks_back(maps).sum(0).argmax()),
    ),
    "layer and head apart": lambda maps: (
        looks_back(maps).sum(1).argmax(),
        looks_back(maps).sum(0).argmax(),
    ),
}


# --- padding_mask ---------------------------------------------------------------------------------


def real_in_loops(lengths, S):
    mask = torch.zeros(len(lengths), 1, 1, S, dtype=torch.bool)
    for b, n in enumerate(lengths.tolist()):
        mask[b, :, :, :n] = True
    return mask


def real_by_comparison(lengths, S):
    return lengths.view(-1, 1, 1, 1) > torch.arange(S)


PADDINGS = edited(
    real_by_comparison,
    """
## one too many
- > torch → >= torch
## upside down
- > torch → <= torch
## two axes only
- view(-1, 1, 1, 1) → view(-1, 1)
## padding on the left
- torch.arange(S) → torch.arange(S).flip(0)
## one too few
- torch.arange(S) → torch.arange(1, S + 1)
## as wide as the longest
- torch.arange(S) → torch.arange(max(lengths.tolist()))
## one new axis
- view(-1, 1, 1, 1) → view(-1, 1, 1)
## the axes in front
- view(-1, 1, 1, 1) → view(1, 1, -1, 1)
## the axes behind
- return lengths.view(-1, 1, 1, 1) > torch.arange(S)
+ return (lengths[:, None] > torch.arange(S)).view(len(lengths), S, 1, 1)
## queries hidden, not keys
- torch.arange(S) → torch.arange(S)[:, None]
## queries and keys
- torch.arange(S) → torch.maximum(torch.arange(S)[:, None], torch.arange(S))
## causal besides
- return lengths.view(-1, 1, 1, 1) > torch.arange(S)
+ return (lengths.view(-1, 1, 1, 1) > torch.arange(S)) & causal_by_positions(S)
## the longest for all
- lengths.view(-1, 1, 1, 1) → torch.full_like(lengths, max(lengths)).view(-1, 1, 1, 1)
## the first row's length for all
- lengths.view(-1, 1, 1, 1) → torch.full_like(lengths, lengths[0]).view(-1, 1, 1, 1)
## the shortest for all
- lengths.view(-1, 1, 1, 1) → torch.full_like(lengths, min(lengths)).view(-1, 1, 1, 1)
## a row for each query
- torch.arange(S) → torch.arange(S).expand(S, S)
## the texts in the second axis
- view(-1, 1, 1, 1) → view(1, -1, 1, 1)
## 0 and -inf
- return lengths.view(-1, 1, 1, 1) > torch.arange(S)
+ return torch.where(lengths.view(-1, 1, 1, 1) > torch.arange(S), 0.0, -math.inf)
## numbers instead of booleans
- return lengths.view(-1, 1, 1, 1) > torch.arange(S)
+ return torch.where(lengths.view(-1, 1, 1, 1) > torch.arange(S), 1.0, 0.0)
""",
)

UNNAMED_PADDINGS = edited(
    real_by_comparison,
    """
## no new axis
- .view(-1, 1, 1, 1)
## half
- torch.arange(S) → 2 * torch.arange(S)
## the shortest for all
- lengths.view(-1, 1, 1, 1) → lengths.min().expand(len(lengths)).view(-1, 1, 1, 1)
""",
)

# --- effective_keys -------------------------------------------------------------------------------


def effective_with_zeros_replaced(weights):
    logs = torch.where(weights > 0, weights, 1.0).log()
    return torch.exp(-torch.einsum("...s,...s->...", weights, logs))


def effective_in_loops(weights):
    counts = []
    for row in weights.reshape(-1, weights.shape[-1]).tolist():
        counts.append(math.exp(-sum(w * math.log(w) for w in row if w > 0)))
    return torch.tensor(counts).reshape(weights.shape[:-1])


COUNTS = edited(
    effective_with_zeros_replaced,
    """
## 0 · ln 0
- torch.where(weights > 0, weights, 1.0).log() → weights.log()
## the entropy itself
- torch.exp(-torch → (-torch
## two to the nats
- torch.exp(-torch → torch.exp2(-torch
## one over the sum of squares
- torch.exp(-torch.einsum("...s,...s->...", weights, logs)) → 1 / (weights * weights).sum(-1)
## the sign
- torch.exp(-torch → torch.exp(torch
## over the queries
- "...s,...s->..." → "...ts,...ts->...s"
## over everything
- "...s,...s->..." → "...s,...s->"
## the mean instead of the sum
- weights, logs)) → weights, logs) / weights.shape[-1])
## e to the bits
- 1.0).log() → 1.0).log2()
## a mean over the queries
- weights, logs)) → weights, logs)).mean(dim=-1)
## a share of the most that there could be
- torch.exp(-torch.einsum("...s,...s->...", weights, logs))
+ -torch.einsum("...s,...s->...", weights, logs) / math.log(weights.size(-1))
## one over the largest weight
- torch.exp(-torch.einsum("...s,...s->...", weights, logs)) → weights.max(-1).values ** -1
## each key raised by itself
- torch.exp(-torch.einsum("...s,...s->...", weights, logs)) → (weights**-weights).sum(-1)
## NaN made 0
- torch.exp(-torch.einsum("...s,...s->...", weights, logs))
+ torch.nan_to_num(torch.exp(-(weights.log() * weights).sum(-1)))
## NaN made 1
- torch.exp(-torch.einsum("...s,...s->...", weights, logs))
+ torch.exp(-(weights.log() * weights).sum(-1)).nan_to_num(nan=1.0)
## the keys that have any weight
- torch.exp(-torch.einsum("...s,...s->...", weights, logs))
+ weights.count_nonzero(dim=-1).double()
""",
)

RIGHT = {
    "softmax": [softmax_by_logsumexp, softmax_with_empty_rows_replaced],
    "causal_mask": [causal_by_positions, bottom_of_the_square],
    "attention": [attention_by_einsum, attention_in_loops],
    "previous_token_head": [previous_in_loops, previous_by_indexing],
    "padding_mask": [real_in_loops, real_by_comparison],
    "effective_keys": [effective_with_zeros_replaced, effective_in_loops],
}


SECOND_FORMS = {
    "softmax": SOFTMAXES,
    "causal_mask": MASKS,
    "attention": ATTENTIONS,
    "previous_token_head": HEADS,
    "padding_mask": PADDINGS,
    "effective_keys": COUNTS,
}

UNNAMED = {
    "softmax": [
        lambda x, dim=-1: (x == x.amax(dim, keepdim=True)).float(),
        lambda x, dim=-1: F.softmin(x, dim),
        lambda x, dim=-1: softmax_by_logsumexp(x.clamp(min=-20.0), dim),
    ],
    "causal_mask": [
        s_not_filled_in,
        lambda T, S=None: causal_by_positions(T, S).flip(0),
        lambda T, S=None: causal_by_positions(T, S)[None],
    ],
    "attention": list(UNNAMED_ATTENTIONS.values()),
    "previous_token_head": [
        lambda maps: (int(looks_back(maps).argmin()) // maps.shape[1], 0),
        lambda maps: divmod(int(maps.sum((-1, -2)).argmax()), maps.shape[1]),
        lambda maps: looks_back(maps),
    ],
    "padding_mask": list(UNNAMED_PADDINGS.values()),
    "effective_keys": [
        lambda weights: weights.sum(-1),
        lambda weights: torch.special.entr(weights).sum(-1).exp().round(),
        lambda weights: (weights > 0.1).sum(-1).float(),
    ],
}


# --- random inputs --------------------------------------------------------------------------------
