"""Lesson 26: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from collections import Counter

import torch
import torch.nn.functional as F

from decodeloop.exercises.edits import edited

# --- route ----------------------------------------------------------------------------------------


def of_the_chosen(logits, k):
    found = torch.topk(logits, k)
    return found.indices, found.values.softmax(-1)


def by_sorting(logits, k):
    order = logits.sort(dim=-1, descending=True).indices[..., :k]
    e = torch.exp(logits - logits.amax(-1, keepdim=True))
    p = e / e.sum(-1, keepdim=True)
    kept = torch.gather(p, -1, order)
    return [order, kept / kept.sum(-1, keepdim=True)]


ROUTE_FORMS = edited(
    by_sorting,
    """
## not divided by their sum
- kept / kept.sum(-1, keepdim=True) → kept
## logits for weights
- p = e / e.sum(-1, keepdim=True) → p = logits
## the least likely
- descending=True → descending=False
## the worst first
- order, kept / kept.sum(-1, keepdim=True)
+ order.flip(-1), (kept / kept.sum(-1, keepdim=True)).flip(-1)
## the second axis
- [order, kept / kept.sum(-1, keepdim=True)]
+ [logits.topk(k, 1).indices, F.softmax(logits.topk(k, 1).values, 1)]
## exchanged
- [order, kept / kept.sum(-1, keepdim=True)] → [kept / kept.sum(-1, keepdim=True), order]
## a softmax over the tokens
- p = e / e.sum(-1, keepdim=True) → p = F.softmax(logits, 0)
- logits.sort( → F.softmax(logits, 0).sort(
## a softmax of probabilities
- kept / kept.sum(-1, keepdim=True) → F.softmax(kept, -1)
## all alike
- kept / kept.sum(-1, keepdim=True) → torch.ones_like(kept) / k
## the chosen by their numbers
- indices[..., :k] → indices[..., :k].sort(-1).values
## one column for each expert
- [order, kept / kept.sum(-1, keepdim=True)]
+ [order, (p * F.one_hot(order, p.shape[-1]).sum(-2)) / kept.sum(-1, keepdim=True)]
## the sum of all tokens
- kept.sum(-1, keepdim=True) → kept.sum()
## another token's sum
- kept / kept.sum(-1, keepdim=True) → kept / kept.sum(-1)[..., None, :]
## the best has all
- kept.sum(-1, keepdim=True) → kept.amax(-1, keepdim=True)
## a sigmoid
- p = e / e.sum(-1, keepdim=True) → p = 1 / (1 + torch.exp(-logits))
- logits.sort(dim=-1, descending=True).indices[..., :k] → torch.sigmoid(logits).topk(k).indices
## powers that overflow
- torch.exp(logits - logits.amax(-1, keepdim=True)) → torch.exp(logits)
- logits.sort(dim=-1, descending=True).indices[..., :k]
+ (logits.exp() / logits.exp().sum(-1, keepdim=True)).topk(k).indices
## the token's own number
- [order, → [torch.arange(k) + torch.zeros_like(order),
""",
)

UNNAMED_ROUTE = edited(
    by_sorting,
    """
## squares
- kept / kept.sum(-1, keepdim=True) → kept**2 / (kept**2).sum(-1, keepdim=True)
## one further
- [..., :k] → [..., 1 : k + 1]
## a temperature
- torch.exp(logits - logits.amax(-1, keepdim=True))
+ torch.exp((logits - logits.amax(-1, keepdim=True)) / 2)
""",
)

# --- dispatch -------------------------------------------------------------------------------------


def in_lists(experts, number):
    rows, k = experts.tolist(), experts.shape[1]
    pairs = [(e, n * k + i) for n, row in enumerate(rows) for i, e in enumerate(row)]
    pairs.sort()
    found = Counter(e for e, _ in pairs)
    return torch.tensor([p for _, p in pairs]), torch.tensor([found[e] for e in range(number)])


def by_a_table(experts, number):
    flat = experts.reshape(-1)
    table = flat[None] == torch.arange(number)[:, None]
    order = table.nonzero()[:, 1]
    return order, table.sum(1)


def unstable_order(flat):
    """As this machine sorts; where it keeps the order of equal ones, another order of them."""
    order, kept = torch.sort(flat).indices, torch.sort(flat, stable=True).indices
    if len(flat) <= 16 or not order.equal(kept):
        return order
    return torch.tensor(sorted(range(len(flat)), key=lambda p: (int(flat[p]), -p)))


DISPATCH_FORMS = edited(
    by_a_table,
    """
## tokens for choices
- [:, 1] → [:, 1].div(experts.shape[-1], rounding_mode="floor")
## the last experts have no count
- table.sum(1) → table[: flat.max() + 1].sum(1)
## experts without a choice have no count
- table.sum(1) → table[table.any(1)].sum(1)
## the experts, sorted
- [:, 1] → [:, 0]
## the way back
- [:, 1] → [:, 1].sort().indices
## numbered by columns
- experts.reshape(-1) → experts.mT.reshape(-1)
## not sorted
- return order → return order.sort().values
## the last expert first
- table.nonzero()[:, 1] → table.flip(0).nonzero()[:, 1]
## an expert's choices backwards
- table.nonzero()[:, 1] → len(flat) - 1 - table.flip(1).nonzero()[:, 1]
## a sort that is not stable
- order = table.nonzero()[:, 1]
+ order = unstable_order(flat)
## counts that are added up
- table.sum(1) → torch.cumsum(table.sum(1), 0)
## the best expert alone
- experts.reshape(-1) → experts.T[0]
## a part for a count
- table.sum(1) → table.float().mean(1)
## the choices as a table
- return order → return order.reshape(experts.shape)
""",
)

UNNAMED_DISPATCH = edited(
    by_a_table,
    """
## ends for counts, from zero
- table.sum(1) → table.sum(1).cumsum(0) - table.sum(1)
## from one on
- [:, 1] → [:, 1] + 1
## one too few
- [:, 1] → [:-1, 1]
""",
)

# --- combine --------------------------------------------------------------------------------------


def the_way_back(outputs, choices, weights):
    back = torch.argsort(choices)
    of_tokens = outputs[back].reshape(*weights.shape, outputs.shape[-1])
    return torch.einsum("nkc,nk->nc", of_tokens, weights)


def by_a_matrix(outputs, choices, weights):
    N, k = weights.shape
    matrix = torch.zeros(N, N * k)
    for place, p in enumerate(choices.tolist()):
        matrix[p // k, place] = weights[p // k, p % k]
    return matrix @ outputs


COMBINE_FORMS = edited(
    by_a_matrix,
    """
## without weights
- weights[p // k, p % k] → 1.0
## weights in the order of the tokens
- weights[p // k, p % k] → weights[place // k, place % k]
## the last one counts
- matrix[p // k, place] = weights[p // k, p % k]
+ matrix[p // k] = 0
+ matrix[p // k, place] = weights[p // k, p % k]
## the token by the remainder
- matrix[p // k, place] → matrix[p % N, place]
## the place among the chosen for the token
- matrix[p // k, place] → matrix[min(p % k, N - 1), place]
## outputs taken for sorted
- matrix[p // k, place] = weights[p // k, p % k]
+ matrix[place // k, place] = weights[place // k, place % k]
## sent on once more
- matrix[p // k, place] = weights[p // k, p % k]
+ matrix[place // k, p] = weights[place // k, place % k]
## the mean
- matrix @ outputs → matrix @ outputs * (1 / k)
## weights that add up to one again
- matrix @ outputs → matrix @ outputs / weights.sum(1, keepdim=True)
## the best expert's weight for all
- weights[p // k, p % k] → weights[p // k, 0]
## weights by columns
- weights[p // k, p % k] → weights[p % N, p // N]
## the first axis kept
- matrix @ outputs → matrix.sum(0)[:, None] * outputs
## the largest
- matrix @ outputs
+ (matrix[:, :, None] * outputs).masked_fill(matrix[:, :, None] == 0, -9e9).amax(1)
## a softmax of the weights
- weights[p // k, p % k] → weights.softmax(1)[p // k, p % k]
""",
)

UNNAMED_COMBINE = edited(
    the_way_back,
    """
## squares of weights
- of_tokens, weights) → of_tokens, weights**2)
## the tokens backwards
- return torch → return torch.flip(weights, [0]).sum() * torch
## from the mean
- of_tokens, weights) → of_tokens - of_tokens.mean(1, keepdim=True), weights)
""",
)

# --- moe_flops_and_bytes --------------------------------------------------------------------------


def by_powers(tokens, C, F, E, k, bytes_per_number=4):
    one, router = C * F + C * F + F * C, C * E
    missed = ((E - k) / E) ** tokens
    flops = tokens * router * 2 + tokens * k * one * 2
    return [flops, bytes_per_number * router + bytes_per_number * one * (E - E * missed)]


def token_by_token(tokens, C, F, E, k, bytes_per_number=4):
    met = 0.0
    for _ in range(tokens):
        met += (E - met) * k / E
    flops = sum(2 * (E * C + k * 3 * C * F) for _ in range(tokens))
    return flops, (met * 3 * C * F + E * C) * bytes_per_number


COST_FORMS = edited(
    by_powers,
    """
## all experts computed
- tokens * k * one → tokens * E * one
## all experts read
- (E - E * missed) → E
## k experts read, whatever the batch
- (E - E * missed) → k
## k experts read for each token
- (E - E * missed) → (k * tokens)
## never two alike
- (E - E * missed) → (k * tokens if k * tokens < E else E)
## two matrices
- C * F + C * F + F * C → C * F + F * C
## a multiply-add for one
- tokens * router * 2 + tokens * k * one * 2 → tokens * router + tokens * k * one
## the router's FLOPs forgotten
- tokens * router * 2 + tokens * k → tokens * k
## the router's bytes forgotten
- bytes_per_number * router + bytes_per_number * one → bytes_per_number * one
## the router's FLOPs once
- tokens * router * 2 → router * 2
## the router read for each token
- bytes_per_number * router → tokens * bytes_per_number * router
## four bytes for all
- bytes_per_number * router + bytes_per_number * one → 4 * router + 4 * one
## exchanged
- [flops, bytes_per_number * router + bytes_per_number * one * (E - E * missed)]
+ [bytes_per_number * router + bytes_per_number * one * (E - E * missed), flops]
## activations too
- bytes_per_number * router + → bytes_per_number * (router + 2 * C * tokens) +
## no router
- one, router = C * F + C * F + F * C, C * E → one, router = 3 * C * F, 0
## one expert a token
- ((E - k) / E) ** tokens → ((E - 1) / E) ** tokens
## one token draws the same expert twice
- ((E - k) / E) ** tokens → ((E - 1) / E) ** (tokens * k)
## those that are missed
- (E - E * missed) → (E * missed)
## numbers for bytes
- bytes_per_number * router + bytes_per_number * one → router + one
## computed by all that are met
- tokens * k * one → tokens * (E - E * missed) * one
## FLOPs of one token
- tokens * router * 2 + tokens * k * one * 2 → router * 2 + k * one * 2
## read for each token
- [flops, bytes → [flops, tokens * bytes
- + bytes_per_number * one → + tokens * bytes_per_number * one
## whole experts
- (E - E * missed) → round(E - E * missed)
## only the experts' bytes in this type
- bytes_per_number * router → 4 * router
""",
)

UNNAMED_COST = edited(
    by_powers,
    """
## rounded up
- (E - E * missed) → math.ceil(E - E * missed)
## activations moved too
- (E - E * missed) → (E - E * missed) + tokens * C
## at least k
- (E - E * missed) → max(E / 2, E - E * missed)
""",
)

# --- expert_load ----------------------------------------------------------------------------------


def by_one_hot(experts, number, factor=1.25):
    used = F.one_hot(experts, number).sum((0, 1)).double()
    total = experts.numel()
    share = total / number
    room = -int(-factor * total / number // 1)
    beyond = torch.relu(used - room).sum().item()
    return (used / share).float(), beyond / total


def in_a_dict(experts, number, factor=1.25):
    found = Counter(experts.flatten().tolist())
    total = sum(found.values())
    room = math.ceil(factor * total / number)
    kept = sum(min(count, room) for count in found.values())
    load = [found[e] * number / total for e in range(number)]
    return torch.tensor(load), 1 - kept / total


LOAD_FORMS = edited(
    by_one_hot,
    """
## parts of all choices
- used / share → used / total
## tokens for choices
- share = total / number → share = len(experts) / number
- factor * total / number → factor * len(experts) / number
## room rounded down
- -int(-factor * total / number // 1) → int(factor * total / number)
## room that is not whole
- -int(-factor * total / number // 1) → factor * total / number
## room rounded up twice
- -int(-factor * total / number // 1) → math.ceil(factor * math.ceil(total / number))
## room rounded
- -int(-factor * total / number // 1) → round(factor * total / number)
## room for the even share
- -factor * total → -total
## how many are dropped
- beyond / total → beyond
## a part of the tokens
- beyond / total → beyond / len(experts)
## a part of the experts
- beyond / total → (used > room).double().mean().item()
## all choices of an overfull expert
- torch.relu(used - room).sum() → (used * (used > room)).sum()
## room elsewhere makes up for it
- torch.relu(used - room).sum() → (used - room).sum()
## free room
- torch.relu(used - room) → torch.relu(room - used)
## what is kept
- beyond / total → (total - beyond) / total
## the last experts have no load
- (used / share).float() → (used / share).float()[: experts.max() + 1]
## the best experts alone
- F.one_hot(experts, → F.one_hot(experts[:, :1],
## over those that are used
- used / share → used / (total / (used > 0).sum())
## over the room
- used / share → used / room
## over the fullest
- used / share → used / used.amax()
""",
)

UNNAMED_LOAD = edited(
    by_one_hot,
    """
## the square
- used / share → (used / share) ** 2
## room for one more
- -int(-factor * total / number // 1) → 1 - int(-factor * total / number // 1)
## sorted
- (used / share).float() → (used / share).float().sort().values
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "route": (of_the_chosen, by_sorting),
    "dispatch": (in_lists, by_a_table),
    "combine": (the_way_back, by_a_matrix),
    "moe_flops_and_bytes": (by_powers, token_by_token),
    "expert_load": (by_one_hot, in_a_dict),
}
SECOND_FORMS = {
    "route": ROUTE_FORMS,
    "dispatch": DISPATCH_FORMS,
    "combine": COMBINE_FORMS,
    "moe_flops_and_bytes": COST_FORMS,
    "expert_load": LOAD_FORMS,
}
UNNAMED = {
    "route": tuple(UNNAMED_ROUTE.values()),
    "dispatch": tuple(UNNAMED_DISPATCH.values()),
    "combine": tuple(UNNAMED_COMBINE.values()),
    "moe_flops_and_bytes": tuple(UNNAMED_COST.values()),
    "expert_load": tuple(UNNAMED_LOAD.values()),
}
