"""Exercises of lesson 26: who computes a token, in what order, what it adds up to, what it costs."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor

from decodeloop import cost, model
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call

LESSON = "26_experts"


def drawn(seed: int, *shape: int, size: float = 1.0) -> Tensor:
    """Normal numbers, the same on every machine."""
    draw = random.Random(seed)
    numbers = [draw.gauss(0.0, size) for _ in range(math.prod(shape))]
    return torch.tensor(numbers).view(shape)


def chosen(seed: int, N: int, E: int, k: int) -> Tensor:
    """k different experts for each of N tokens, (N, k), in any order."""
    draw = random.Random(seed)
    return torch.tensor([draw.sample(range(E), k) for _ in range(N)])


# --- route ----------------------------------------------------------------------------------------


def by_hand(logits: Tensor, k: int) -> list[Tensor]:
    """Closed form in float64, one token after the other: e^z over the sum of the k largest."""
    experts, weights = [], []
    for row in logits.double().reshape(-1, logits.shape[-1]).tolist():
        best = sorted(range(len(row)), key=lambda e: -row[e])[:k]
        powers = [math.exp(row[e] - row[best[0]]) for e in best]
        experts.append(best)
        weights.append([power / sum(powers) for power in powers])
    shape = (*logits.shape[:-1], k)
    return [torch.tensor(experts).view(shape), torch.tensor(weights).view(shape)]


def softmax_then_top(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """A right one."""
    probabilities = logits.softmax(-1)
    weights, experts = probabilities.topk(k, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True)
    return experts, weights


ROUTE = Exercise(
    name="route",
    lesson=LESSON,
    library=model.route,
    minutes=5,
    difficulty=1,
    cases=(
        call(
            "by hand",
            torch.tensor([[1.0, 4.0, 1.0, 2.0], [8.0, 1.0, 2.0, 1.0]]).log(),
            2,
            oracle=by_hand,
        ),
        call("seven tokens", drawn(1, 7, 5), 2, oracle=by_hand),
        call("as many tokens as choices", drawn(2, 3, 6), 3, oracle=by_hand),
        call("one expert for each", drawn(3, 6, 4), 1, oracle=by_hand),
        call("all experts", drawn(4, 5, 3), 3, oracle=by_hand),
        call("a batch of texts", drawn(5, 2, 6, 4, size=2.0), 2, oracle=by_hand),
        # powers of 100 overflow in fp32; at 3,000 a right logsumexp would be off by its rounding
        call("logits of a hundred", drawn(6, 4, 6) + 100, 2, oracle=by_hand),
    ),
    mistakes=edits(
        softmax_then_top,
        """
## not divided by their sum
- weights = weights / weights.sum(-1, keepdim=True)
+ pass
These are the parts that the chosen have among all E experts: they don't add up to 1. Divide each
token's k weights by their sum.
## logits for weights
- logits.softmax(-1) → logits
You divide logits by their sum. Weights are probabilities: softmax first.
## the least likely
- topk(k, dim=-1) → topk(k, dim=-1, largest=False)
You take the k experts with the *smallest* probabilities.
## the worst first
- return experts, weights → return experts.flip(-1), weights.flip(-1)
You have the right experts, and the best of them last. Asked for is the best first.
## the second axis
- .softmax(-1) → .softmax(1)
- topk(k, dim=-1) → topk(k, dim=1)
- .sum(-1, keepdim=True) → .sum(1, keepdim=True)
You count axes from the front, so that a batch of texts, (B, T, E), is taken along T. The experts are
the *last* axis, -1.
## exchanged
- return experts, weights → return weights, experts
You return the weights first. `topk` gives values first and indices second; asked for are the
experts, and then their weights.
## a softmax over the tokens
- .softmax(-1) → .softmax(0)
Your softmax runs over the tokens. Each token's probabilities add up to 1 over the *experts*, the
last axis.
## a softmax of probabilities
- weights / weights.sum(-1, keepdim=True) → weights.softmax(-1)
A second softmax of what are probabilities already makes them nearly even. Divide by their sum.
## all alike
- weights / weights.sum(-1, keepdim=True) → torch.full_like(weights, 1 / k)
Each expert of a token gets 1/k in yours. How sure the router was is lost: keep the ratio of their
probabilities.
## the chosen by their numbers
- return experts, weights
+ order = experts.argsort(-1)
+ return experts.gather(-1, order), weights.gather(-1, order)
You list the experts of a token by their numbers. Asked for is the best first, as `topk` gives them.
## one column for each expert
- return experts, weights
+ return experts, torch.zeros_like(logits).scatter(-1, experts, weights)
Your weights have a column for each of the E experts. Asked for are the k of the chosen, in the order
of `experts`.
## the sum of all tokens
- weights.sum(-1, keepdim=True) → weights.sum()
You divide by the sum over all tokens. Each token's k weights add up to 1: sum over the last axis.
## another token's sum
- weights / weights.sum(-1, keepdim=True) → weights / weights.sum(-1).unsqueeze(-2)
The sums stand in the last axis in yours, so each column is divided by another token's: keep the axis,
`keepdim=True`.
## the best has all
- weights / weights.sum(-1, keepdim=True) → weights / weights[..., :1]
You divide by the largest weight, so that the best expert counts 1. Divide by their sum.
## a sigmoid
- logits.softmax(-1) → logits.sigmoid()
A sigmoid judges each expert for itself. That is DeepSeek-V3's way; here it is a softmax over all E.
## powers that overflow
- logits.softmax(-1) → logits.exp() / logits.exp().sum(-1, keepdim=True)
Powers of large logits overflow. `softmax` takes off the largest logit first.
## the token's own number
- return experts, weights → return torch.arange(k).expand_as(experts), weights
You return the places 0 to k − 1 among the chosen. Which experts those are `topk` gives as indices.
""",
    ),
    hints=(
        "Softmax over the experts, the last axis. Then the k largest of each token, and where they "
        "stand: one method of a tensor gives both.",
        "`topk(k, dim=-1)` gives the values, and then their places.",
        "The indices are the experts. Divide the values by their sum over the last axis, with "
        "`keepdim=True`, and return (experts, weights).",
    ),
)

# --- dispatch -------------------------------------------------------------------------------------


def by_lists(experts: Tensor, number: int) -> list[Tensor]:
    """A list for each expert, into which the choices are put one after the other."""
    lists: list[list[int]] = [[] for _ in range(number)]
    for choice, expert in enumerate(experts.flatten().tolist()):
        lists[expert].append(choice)
    choices = [choice for some in lists for choice in some]
    return [torch.tensor(choices), torch.tensor([len(some) for some in lists])]


def sorted_by_expert(experts: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """A right one."""
    flat = experts.flatten()
    choices = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=number)
    return choices, counts


def sorted_anyhow(experts: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """A sort that is not stable: from 17 choices on, equal ones come as they may. On a machine where
    they happen to keep their order, they come backwards."""
    flat = experts.flatten()
    choices = flat.argsort()
    if len(flat) > 16 and torch.equal(choices, flat.argsort(stable=True)):
        choices = len(flat) - 1 - flat.flip(0).argsort(stable=True)
    return choices, torch.bincount(flat, minlength=number)


def dispatching(label: str, seed: int, N: int, E: int, k: int, most: int | None = None) -> Case:
    """Choices among the first `most` of E experts."""
    return call(label, chosen(seed, N, most or E, k), E, oracle=by_lists)


DISPATCH = Exercise(
    name="dispatch",
    lesson=LESSON,
    library=model.dispatch,
    minutes=7,
    difficulty=2,
    cases=(
        call("by hand", torch.tensor([[1, 2], [0, 1]]), 3, oracle=by_lists),
        dispatching("nine tokens", 11, 9, 4, 2),
        dispatching("forty tokens", 12, 40, 8, 3),
        dispatching("one expert for each", 13, 7, 3, 1),
        dispatching("the last experts are not chosen", 14, 5, 6, 2, most=4),
        call(
            "one in the middle is not chosen",
            torch.tensor([[3, 0], [0, 3], [1, 3]]),
            4,
            oracle=by_lists,
        ),
        dispatching("all experts for each", 15, 4, 3, 3),
        dispatching("one token", 16, 1, 5, 2),
    ),
    mistakes=(
        *edits(
            sorted_by_expert,
            """
## tokens for choices
- return choices, counts → return choices // experts.shape[1], counts
These are the tokens' numbers. Return those of the *choices*, 0 to N·k − 1: they still know which of a
token's k weights is meant.
## the last experts have no count
- torch.bincount(flat, minlength=number) → torch.bincount(flat)
Experts after the last one that was chosen have no count: there is one for each of the `number`
experts, `minlength=number`.
## experts without a choice have no count
- torch.bincount(flat, minlength=number) → flat.unique(return_counts=True)[1]
`unique` leaves out the experts that nobody chose. There is a count for each of the `number` experts,
a 0 too.
## the experts, sorted
- flat.argsort(stable=True) → flat.sort().values
You sort the experts themselves. Asked for is where each of them came from: `argsort`.
## the way back
- return choices, counts → return choices.argsort(), counts
You say at which place each choice stands after the sort. Asked for is which choice stands at each
place: what `argsort` gives.
## numbered by columns
- flat = experts.flatten() → flat = experts.T.flatten()
You number the choices column by column. Choice p is that of token p // k: row by row.
## not sorted
- flat.argsort(stable=True) → torch.arange(len(flat))
Your choices stand as they came. An expert's choices belong together: sort by expert.
## the last expert first
- flat.argsort(stable=True) → flat.argsort(stable=True, descending=True)
You begin with the last expert. Expert 0 comes first.
## an expert's choices backwards
- flat.argsort(stable=True) → len(flat) - 1 - flat.flip(0).argsort(stable=True)
Within an expert your choices fall. They should rise: a *stable* sort keeps the order in which they
came.
## counts that are added up
- return choices, counts → return choices, counts.cumsum(0)
Your counts are added up: that is where each expert's piece ends. Asked for is how many it has.
## the best expert alone
- experts.flatten() → experts[:, 0]
You look at the first expert of each token alone. All k choices are computed.
## a part for a count
- return choices, counts → return choices, counts / len(flat)
Return how many choices each expert has, and not which part.
## the choices as a table
- return choices, counts → return choices.view_as(experts), counts
Your choices are still (N, k). After the sort a row means nothing any more: (N·k,).
""",
        ),
        Mistake(
            "a sort that is not stable",
            "Sorted by expert they are; but with many choices those of *one* expert are out of their "
            "order. `argsort` promises nothing about equal numbers unless it is told to: "
            "`stable=True`.",
            sorted_anyhow,
        ),
    ),
    hints=(
        "Flatten `experts` row by row: then choice p is that of token p // k. Which order brings "
        "equal experts together?",
        "`argsort(stable=True)` of the flat experts is the order; stable keeps the choices of an "
        "expert as they came.",
        "`torch.bincount(flat, minlength=number)` counts, with a 0 for an expert that nobody chose.",
    ),
)

# --- combine --------------------------------------------------------------------------------------


def one_after_the_other(outputs: Tensor, choices: Tensor, weights: Tensor) -> Tensor:
    """In float64, choice by choice."""
    N, k = weights.shape
    total = torch.zeros(N, outputs.shape[1], dtype=torch.float64)
    for place, choice in enumerate(choices.tolist()):
        total[choice // k] += weights[choice // k, choice % k].double() * outputs[place].double()
    return total.float()


def added_up(outputs: Tensor, choices: Tensor, weights: Tensor) -> Tensor:
    """A right one."""
    N, k = weights.shape
    own = weights.flatten()[choices]
    weighted = outputs * own[:, None]
    total = outputs.new_zeros(N, outputs.shape[1])
    total.index_add_(0, choices // k, weighted)
    return total


def combining(label: str, seed: int, N: int, E: int, k: int, C: int) -> Case:
    choices = by_lists(chosen(seed, N, E, k), E)[0]
    outputs, weights = drawn(seed + 1, N * k, C), drawn(seed + 2, N, k).abs() + 0.1
    return call(label, outputs, choices, weights, oracle=one_after_the_other)


COMBINE = Exercise(
    name="combine",
    lesson=LESSON,
    library=model.combine,
    minutes=7,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        call(
            "by hand",
            torch.tensor([[1.0], [10.0], [100.0], [1000.0]]),
            torch.tensor([2, 0, 3, 1]),
            torch.tensor([[0.75, 0.25], [0.5, 0.5]]),
            oracle=one_after_the_other,
        ),
        combining("nine tokens", 21, 9, 4, 2, 3),
        combining("three experts for each", 24, 6, 5, 3, 4),
        combining("one expert for each", 27, 7, 3, 1, 2),
        combining("as many tokens as choices", 30, 3, 8, 3, 5),
        combining("one token", 33, 1, 6, 2, 4),
        combining("all experts for each", 36, 4, 3, 3, 2),
    ),
    mistakes=edits(
        added_up,
        """
## without weights
- weighted = outputs * own[:, None] → weighted = outputs
All experts count alike in yours: multiply each output by the weight of its choice.
## weights in the order of the tokens
- weights.flatten()[choices] → weights.flatten()
The outputs stand in the order of the experts, your weights in that of the tokens. Output i is that of
choice `choices[i]`: `weights.flatten()[choices]`.
## the last one counts
- total.index_add_(0, choices // k, weighted)
+ for place, token in enumerate((choices // k).tolist()):
+     total[token] = weighted[place]
A token has k outputs, and yours keeps the last one that is written. `total[tokens] = …` and
`total[tokens] += …` write each place once: `index_add` adds them up.
## the token by the remainder
- choices // k → choices % N
Choice p is that of token p // k, not of p % N.
## the place among the chosen for the token
- choices // k → (choices % k).clamp(max=N - 1)
p % k says which of its k choices it is. The token is p // k.
## outputs taken for sorted
- total.index_add_(0, choices // k, weighted)
+ total = (outputs.view(N, k, -1) * weights[:, :, None]).sum(1)
You take the outputs as if each token's stood together. They stand in the order of the experts:
`choices` says whose each is.
## sent on once more
- total.index_add_(0, choices // k, weighted)
+ total = (outputs[choices].view(N, k, -1) * weights[:, :, None]).sum(1)
`outputs[choices]` sorts once more in the same direction. The way back is the inverse order,
`outputs[choices.argsort()]`, or add each where it belongs.
## the mean
- return total → return total / k
You divide by k. The weights are a share each already.
## weights that add up to one again
- own = weights.flatten()[choices]
+ own = (weights / weights.sum(-1, keepdim=True)).flatten()[choices]
You divide the weights by their sum. They come as they should count; not all models let them add up
to 1.
## the best expert's weight for all
- weights.flatten()[choices] → weights[choices // k, 0]
Each output of a token is multiplied by the weight of its first expert. Choice p has the weight at
place p of `weights.flatten()`.
## weights by columns
- weights.flatten()[choices] → weights.T.flatten()[choices]
You number the weights column by column. Choice p is that of token p // k: row by row.
## the first axis kept
- return total → return weighted
These are still N·k rows. Add those of each token up.
## the largest
- total.index_add_(0, choices // k, weighted)
+ total = torch.stack([weighted[choices // k == n].amax(0) for n in range(N)])
You keep the largest of a token's outputs in each channel. A token gets their *sum*.
## a softmax of the weights
- own = weights.flatten()[choices] → own = weights.softmax(-1).flatten()[choices]
The weights went through a softmax once more. They come as they should count.
""",
    ),
    hints=(
        "Output i is that of choice `choices[i]`: of token `choices[i] // k`, with the weight "
        "`weights.flatten()[choices[i]]`.",
        "Multiply each row by its weight, `[:, None]`. Then add the rows that have one token.",
        "`outputs.new_zeros(N, C).index_add(0, choices // k, weighted)` adds each row where its "
        "token stands.",
    ),
)

# --- moe_flops_and_bytes --------------------------------------------------------------------------


def by_parts(
    tokens: int, C: int, F: int, E: int, k: int, bytes_per_number: float = 4
) -> tuple[int, float]:
    """Matrix by matrix; an expert is met unless each token in turn leaves it out."""
    flops, numbers = 0, float(E * C)
    for rows, columns, times in ((E, C, 1), (F, C, k), (F, C, k), (C, F, k)):
        flops += tokens * times * rows * 2 * columns
    missed = 1.0
    for _ in range(tokens):
        missed *= (E - k) / E
    for rows, columns in ((F, C), (F, C), (C, F)):
        numbers += E * (1 - missed) * rows * columns
    return flops, numbers * bytes_per_number


def counted(
    tokens: int, C: int, F: int, E: int, k: int, bytes_per_number: float = 4
) -> tuple[int, float]:
    """A right one."""
    expert = 3 * C * F
    met = E * (1 - (1 - k / E) ** tokens)
    flops = 2 * tokens * (E * C + k * expert)
    moved = (E * C + met * expert) * bytes_per_number
    return flops, moved


def costing(label: str, *sizes: float) -> Case:
    return call(label, *sizes, oracle=by_parts)


MOE_FLOPS_AND_BYTES = Exercise(
    name="moe_flops_and_bytes",
    lesson=LESSON,
    library=cost.moe_flops_and_bytes,
    minutes=8,
    difficulty=2,
    cases=(
        costing("by hand: one token", 1, 10, 20, 8, 2),
        costing("by hand: two tokens", 2, 10, 20, 8, 2),
        costing("32 tokens", 32, 10, 20, 8, 2),
        costing("in 16 bits", 3, 12, 5, 16, 4, 2),
        costing("in 4 bits", 3, 12, 6, 16, 4, 0.5),
        costing("one expert for each", 5, 7, 11, 6, 1),
        costing("all experts", 4, 6, 9, 3, 3),
        costing("a layer of Mixtral", 8, 4096, 14336, 8, 2, 2),
    ),
    mistakes=edits(
        counted,
        """
## all experts computed
- (E * C + k * expert) → (E * C + E * expert)
You let all E experts compute each token. A token is computed by k of them.
## all experts read
- E * (1 - (1 - k / E) ** tokens) → E
You read all E experts. One that no token was sent to is not read.
## k experts read, whatever the batch
- E * (1 - (1 - k / E) ** tokens) → k
You read k experts for any batch. Other tokens are sent to other experts: with many tokens nearly all
of them are met.
## k experts read for each token
- E * (1 - (1 - k / E) ** tokens) → k * tokens
You read k experts anew for each token. One that several tokens were sent to is read once.
## never two alike
- E * (1 - (1 - k / E) ** tokens) → min(E, k * tokens)
Your tokens never meet the same expert until all are taken. They choose for themselves: an expert is
missed by one token with probability 1 − k/E, by all of them with its power.
## two matrices
- 3 * C * F → 2 * C * F
An expert has three matrices: gate, up and down.
## a multiply-add for one
- 2 * tokens * (E → tokens * (E
A multiplication and an addition are two FLOPs.
## the router's FLOPs forgotten
- 2 * tokens * (E * C + k * expert) → 2 * tokens * k * expert
The router multiplies too: each token with its (E, C) matrix.
## the router's bytes forgotten
- (E * C + met * expert) → (met * expert)
The router is read too: E · C numbers.
## the router's FLOPs once
- 2 * tokens * (E * C + k * expert) → 2 * (E * C + tokens * k * expert)
You count the router once. Every token is multiplied with it.
## the router read for each token
- (E * C + met * expert) → (tokens * E * C + met * expert)
You read the router once for each token. Its weights are read once for all of them.
## four bytes for all
- expert) * bytes_per_number → expert) * 4
You count four bytes a number. Each has `bytes_per_number` bytes.
## exchanged
- return flops, moved → return moved, flops
You return the bytes first. Asked for are the FLOPs, and then the bytes.
## activations too
- (E * C + met * expert) → (E * C + met * expert + 2 * tokens * C)
You count what goes in and comes out as well. Asked for are the bytes of the *weights*.
## no router
- 2 * tokens * (E * C + k * expert) → 2 * tokens * k * expert
- (E * C + met * expert) → (met * expert)
The router is missing, in what is computed and in what is read: an (E, C) matrix.
## one expert a token
- (1 - k / E) ** tokens → (1 - 1 / E) ** tokens
A token misses an expert with probability 1 − k/E: it has k choices, not one.
## one token draws the same expert twice
- (1 - k / E) ** tokens → (1 - 1 / E) ** (k * tokens)
In yours a token could draw the same expert twice. Its k experts are different ones, so it misses one
with probability 1 − k/E.
## those that are missed
- E * (1 - (1 - k / E) ** tokens) → E * (1 - k / E) ** tokens
These are the experts that nobody meets. The others are read.
## numbers for bytes
- expert) * bytes_per_number → expert)
You count numbers. Each has `bytes_per_number` bytes.
## computed by all that are met
- (E * C + k * expert) → (E * C + met * expert)
You let each token be computed by every expert that anyone meets. Reading is shared by the batch;
computing is not: k experts a token.
## FLOPs of one token
- 2 * tokens * (E → 2 * (E
These are the FLOPs of one token.
## read for each token
- expert) * bytes_per_number → expert) * bytes_per_number * tokens
You read the weights once for each token. They are read once for all of its tokens.
## whole experts
- E * (1 - (1 - k / E) ** tokens) → round(E * (1 - (1 - k / E) ** tokens))
You round the experts that are met. It is a mean over many batches, and need not be whole.
## only the experts' bytes in this type
- (E * C + met * expert) * bytes_per_number → E * C * 4 + met * expert * bytes_per_number
The router's numbers have `bytes_per_number` bytes here too.
""",
    ),
    hints=(
        "An expert has 3·C·F numbers, the router E·C. A token multiplies with the router and with k "
        "experts: two FLOPs for each number.",
        "An expert is missed by one token with probability 1 − k/E. The tokens choose independently: "
        "how probable is it that all miss it?",
        "An expert is met with probability 1 − (1 − k/E)**tokens, and there are E of them: so many are "
        "met, on average, as that times E.",
    ),
)

# --- expert_load ----------------------------------------------------------------------------------


def one_choice_at_a_time(experts: Tensor, number: int, factor: float = 1.25) -> list[object]:
    """Buffers that are filled one choice after the other; what finds no room is dropped."""
    (N, k), buffers, seen, dropped = experts.shape, [0] * number, [0] * number, 0
    room = math.ceil(factor * N * k / number)
    for expert in experts.flatten().tolist():
        seen[expert] += 1
        if buffers[expert] < room:
            buffers[expert] += 1
        else:
            dropped += 1
    return [torch.tensor([count * number / (N * k) for count in seen]), dropped / (N * k)]


def from_counts(experts: Tensor, number: int, factor: float = 1.25) -> tuple[Tensor, float]:
    """A right one."""
    N, k = experts.shape
    counts = torch.bincount(experts.flatten(), minlength=number)
    even = N * k / number
    room = math.ceil(factor * even)
    dropped = (counts - room).clamp(min=0).sum() / (N * k)
    load = counts / even
    return load, float(dropped)


def loading(label: str, experts: Tensor, number: int, *factor: float) -> Case:
    return call(label, experts, number, *factor, oracle=one_choice_at_a_time)


SKEWED = torch.tensor([[0, 1], [0, 2], [0, 1], [0, 3], [0, 2], [0, 1], [0, 1], [1, 0]])

EXPERT_LOAD = Exercise(
    name="expert_load",
    lesson=LESSON,
    library=model.expert_load,
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        loading("by hand", torch.tensor([[0], [0], [0], [1]]), 2, 1.0),
        loading("one that nearly all choose", SKEWED, 4),
        loading("the same with more room", SKEWED, 4, 1.75),
        loading("the same with little", SKEWED, 4, 0.5),
        loading("experts that nobody chooses", SKEWED, 8, 1.0),
        loading("forty tokens", chosen(41, 40, 8, 2), 8),
        loading("room that must be rounded up", chosen(42, 7, 4, 1), 4, 1.0),
        loading(
            "an even share that is not whole",
            torch.tensor([[0], [0], [0], [0], [0], [1], [2], [0], [3]]),
            4,
        ),
        loading("all of them even", chosen(43, 6, 4, 4), 4, 1.0),
        loading("room for all", chosen(44, 9, 4, 2), 4, 4.0),
    ),
    mistakes=edits(
        from_counts,
        """
## parts of all choices
- counts / even → counts / (N * k)
Your loads are parts that add up to 1. Asked for is a multiple of the even share: 1 where all are
used alike.
## tokens for choices
- even = N * k / number → even = N / number
A token makes k choices: the even share is N·k/E.
## room rounded down
- math.ceil(factor * even) → math.floor(factor * even)
You round the room down. It is rounded up.
## room that is not whole
- math.ceil(factor * even) → factor * even
Your room is not whole, and no part of a choice can be kept. It is rounded up: `math.ceil`.
## room rounded up twice
- math.ceil(factor * even) → math.ceil(factor * math.ceil(even))
You round the even share up, and then the room again. Only factor · N·k/E is rounded.
## room rounded
- math.ceil(factor * even) → round(factor * even)
You round the room to the nearest whole number. It is rounded up.
## room for the even share
- math.ceil(factor * even) → math.ceil(even)
The factor plays no part in your room: it is factor · N·k/E, rounded up.
## how many are dropped
- .sum() / (N * k) → .sum()
You count the choices that are dropped. Asked for is which part of all N·k they are.
## a part of the tokens
- .sum() / (N * k) → .sum() / N
You divide by the tokens. Which part of the N·k *choices* is it?
## a part of the experts
- (counts - room).clamp(min=0).sum() / (N * k) → (counts > room).sum() / number
You say which part of the experts is overfull. Asked for is the part of the choices that find no room.
## all choices of an overfull expert
- (counts - room).clamp(min=0).sum() / (N * k) → counts[counts > room].sum() / (N * k)
You drop all choices of an overfull expert. It takes as many as it has room for; only those beyond are
dropped.
## room elsewhere makes up for it
- .clamp(min=0).sum() → .sum()
Free room of other experts is taken off in yours. What finds no room at its own expert is dropped:
count nothing below 0.
## free room
- (counts - room).clamp(min=0) → (room - counts).clamp(min=0)
That is the room that stays free. Dropped is what lies beyond it.
## what is kept
- return load, float(dropped) → return load, 1 - float(dropped)
That is the part which is kept.
## the last experts have no load
- torch.bincount(experts.flatten(), minlength=number) → torch.bincount(experts.flatten())
Experts after the last one that was chosen have no load: there is one for each of the `number`
experts, `minlength=number`.
## the best experts alone
- experts.flatten(), minlength → experts[:, 0], minlength
You count the first expert of each token alone. All k choices count.
## over those that are used
- counts / even → counts / counts[counts > 0].float().mean()
Your mean runs over the experts that are used. The even share is that of all E.
## over the room
- counts / even → counts / room
You divide by the room. A load is a multiple of the even share, N·k/E.
## over the fullest
- counts / even → counts / counts.max()
You divide by the fullest expert. A load is a multiple of the even share, N·k/E.
""",
    ),
    hints=(
        "Count the choices of each expert (`torch.bincount` with `minlength`). The even share is "
        "N·k/E.",
        "The room is math.ceil(factor · N·k/E). Dropped are (counts − room), where that is above 0.",
    ),
)

EXERCISES = (ROUTE, DISPATCH, COMBINE, MOE_FLOPS_AND_BYTES, EXPERT_LOAD)
