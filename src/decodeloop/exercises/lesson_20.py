"""Exercises of lesson 20: which weights become zero, and which parts of a model go."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from decodeloop import compress
from decodeloop.compress import decoder_over
from decodeloop.errors import ShapeError
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, beside, call, trial
from decodeloop.model import Decoder, ModelConfig

LESSON = "20_pruning"


def drawn(seed: int, *shape: int) -> Tensor:
    """Normal numbers, the same on every machine."""
    numbers = torch.empty(math.prod(shape), dtype=torch.float64)
    numbers.normal_(0.0, 1.0, generator=torch.Generator().manual_seed(seed))
    return numbers.float().view(shape)


def whole(seed: int, *shape: int) -> Tensor:
    """Numbers of which many are equally large: -2, -1, 1 and 2."""
    signs = drawn(seed, *shape).sign()
    return signs * (1 + (drawn(seed + 1, *shape) > 0).float())


def without_smallest(numbers: list[float], scores: list[float], gone: int) -> list[float]:
    """By Python's own sort: those with the lowest scores are zero."""
    ranked = sorted(range(len(numbers)), key=lambda n: scores[n])
    return [0.0 if n in ranked[:gone] else number for n, number in enumerate(numbers)]


def zeros_of_each_row(found: Tensor) -> Tensor:
    return (found == 0).sum(-1)


def and_afterwards(candidate: Any, *lent: Any) -> list[Any]:
    """What it gives, and what it leaves of the matrix that it is given."""
    mine = copy.deepcopy(lent)
    return [candidate(*mine), mine[0]]


def left_alone(oracle: Any, *inputs: Any) -> Case:
    """An answer that writes into the matrix is wrong here by a value, so its mistake has a name."""
    return trial(
        "the matrix itself afterwards",
        and_afterwards,
        lambda *lent: [oracle(*lent), lent[0]],
        *inputs,
    )


# --- prune_magnitude ------------------------------------------------------------------------------


def by_pythons_sort(weight: Tensor, share: float) -> Tensor:
    flat = weight.flatten().tolist()
    found = without_smallest(flat, [abs(x) for x in flat], int(share * len(flat)))
    return torch.tensor(found).view(weight.shape)


def smallest_of_all(weight: Tensor, share: float) -> Tensor:
    """A right one."""
    scores = weight.abs().flatten()
    gone = int(share * scores.numel())
    order = scores.argsort()
    cut = order[:gone]
    kept = torch.ones_like(scores)
    kept[cut] = 0
    return weight * kept.view_as(weight)


def how_many_go(candidate: Any, weight: Tensor, share: float) -> int:
    return int((candidate(weight, share) == 0).sum())


PRUNE_MAGNITUDE = Exercise(
    name="prune_magnitude",
    lesson=LESSON,
    library=compress.prune_magnitude,
    minutes=6,
    difficulty=1,
    cases=(
        call("by hand", torch.tensor([[4.0, -1.0], [-3.0, 2.0]]), 0.5, oracle=by_pythons_sort),
        call("half of it", drawn(1, 4, 6), 0.5, oracle=by_pythons_sort),
        call("a third that is no whole number", drawn(2, 3, 5), 0.3, oracle=by_pythons_sort),
        call(
            "rows of different sizes",
            drawn(3, 4, 5) * torch.tensor([[0.1], [1.0], [3.0], [9.0]]),
            0.4,
            oracle=by_pythons_sort,
        ),
        call("a tall one", drawn(4, 9, 2), 0.75, oracle=by_pythons_sort),
        call("nothing goes", drawn(5, 2, 3), 0.0, oracle=by_pythons_sort),
        call("everything goes", drawn(6, 3, 2), 1.0, oracle=by_pythons_sort),
        trial(
            "many equally large: how many go",
            how_many_go,
            lambda weight, share: int(share * weight.numel()),
            whole(7, 5, 8),
            0.25,
        ),
        call("one number", torch.tensor([[3.0]]), 0.9, oracle=by_pythons_sort),
        left_alone(by_pythons_sort, drawn(8, 3, 4), 0.5),
    ),
    mistakes=edits(
        smallest_of_all,
        """
## with the sign
- weight.abs().flatten() → weight.flatten()
You cut the most negative numbers. Small means near zero: `weight.abs()`.
## the largest go
- cut = order[:gone] → cut = order[len(order) - gone :]
You cut the largest numbers and keep the small ones.
## the share is kept
- int(share * scores.numel()) → int((1 - share) * scores.numel() + 1e-6)
You keep the share, and cut the rest: `share` is what goes.
## as many stay
- int(share * scores.numel()) → len(scores) - int(share * scores.numel())
You keep as many as should go: `int(share * n)` is how many go.
## row by row
- gone = int(share * scores.numel())
- order = scores.argsort()
- cut = order[:gone]
+ rows = weight.abs().argsort(1)[:, : int(share * weight.shape[1])]
+ cut = (torch.arange(len(weight))[:, None] * weight.shape[1] + rows).flatten()
You cut the same share of each row. Asked for are the smallest of the whole matrix, wherever they
stand; `wanda` is the one that goes row by row.
## column by column
- gone = int(share * scores.numel())
- order = scores.argsort()
- cut = order[:gone]
+ columns = weight.abs().argsort(0)[: int(share * len(weight))]
+ cut = (columns * weight.shape[1] + torch.arange(weight.shape[1])).flatten()
You cut the same share of each column. Asked for are the smallest of the whole matrix.
## below a share of the largest
- return weight * kept.view_as(weight)
+ return weight * (weight.abs() > share * weight.abs().max())
You cut what is smaller than that share of the largest number. `share` is how *many* go.
## equal ones all go
- return weight * kept.view_as(weight)
+ limit = scores[order[gone - 1]] if gone else -1.0
+ return weight * (weight.abs() > limit)
Where many numbers are equally large, all of them go: more than the share. A limit can't tell them
apart; places can: cut those of `topk`, exactly `int(share * n)`.
## equal ones all stay
- return weight * kept.view_as(weight)
+ limit = scores[order[gone]] if gone < len(order) else float("inf")
+ return weight * (weight.abs() >= limit)
Where many numbers are equally large, too few go. A limit can't tell them apart; places can: cut
those of `topk`, exactly `int(share * n)`.
## by a quantile
- return weight * kept.view_as(weight)
+ return weight * (weight.abs() > scores.quantile(share))
A quantile lies between two numbers or on one of them, so now and then one number too many goes.
Cut the places of `topk`, exactly `int(share * n)`.
## rounded up
- int(share * scores.numel()) → math.ceil(share * scores.numel())
You round the count up: expected is `int(share * n)`.
## rounded
- int(share * scores.numel()) → round(share * scores.numel())
You round the count to the nearest: expected is `int(share * n)`, which rounds down.
## into the matrix
- return weight * kept.view_as(weight) → return weight.mul_(kept.view_as(weight))
Your numbers are right, and you write them into `weight` itself: the caller has lost the original.
`flatten` and `view` of a matrix share its memory: work on `weight.clone()`, or make a mask and
multiply.
## one too few
- order[:gone] → order[: max(gone - 1, 0)]
One number too few goes: `[:n]` has n of them.
## the sign is lost
- return weight * → return weight.abs() *
What you keep has lost its sign: only the scores are sizes.
## the mask alone
- return weight * kept.view_as(weight) → return kept.view_as(weight)
You return where something is kept: return the weights, with zeros elsewhere.
## scaled up
- return weight * → return weight / max(1 - share, 1e-6) *
You make up for what is gone, as dropout does. What is kept stays as it is.
## the rest alone
- return weight * kept.view_as(weight) → return weight.flatten()[kept == 1]
You return what is left, one after the other. The matrix keeps its shape.
""",
    ),
    hints=(
        "How many go is `int(share * weight.numel())`. Which: the flattened sizes are the scores, "
        "`weight.abs().flatten()`, and `topk` with `largest=False` has the places of the lowest.",
        "`kept = weight.clone().flatten()`, set to 0 at these places, and in the shape of the "
        "matrix again: `kept.view_as(weight)`. Without `clone` it is `weight` that you write into.",
    ),
)

# --- wanda ----------------------------------------------------------------------------------------


def by_what_is_lost(weight: Tensor, inputs: Tensor, share: float) -> Tensor:
    """From what each single weight adds to its output, at all tokens: Σ (w · x)²."""
    rows = []
    for row in weight.double().tolist():
        lost = [
            sum((w * x) ** 2 for x in column)
            for w, column in zip(row, inputs.double().T.tolist(), strict=True)
        ]
        rows.append(without_smallest(row, lost, int(share * len(row))))
    return torch.tensor(rows, dtype=torch.float64).float().view(weight.shape)


def row_by_row(weight: Tensor, inputs: Tensor, share: float) -> Tensor:
    """A right one."""
    norms = inputs.norm(dim=0)
    scores = weight.abs() * norms
    gone = int(share * weight.shape[1])
    order = scores.argsort(dim=1)
    kept = torch.ones_like(weight)
    kept.scatter_(1, order[:, :gone], 0.0)
    return weight * kept


def uneven(seed: int, N: int, C: int, mean: float = 0.0) -> Tensor:
    """Inputs whose channels are of very different sizes."""
    return (drawn(seed, N, C) + mean) * 4.0 ** drawn(seed + 1, C)


def zeros_in_rows(candidate: Any, weight: Tensor, inputs: Tensor, share: float) -> Tensor:
    return zeros_of_each_row(candidate(weight, inputs, share))


ONE_SPIKE = torch.tensor(  # the same sum of sizes everywhere, and the largest number in channel 0
    [[4.0, 2.0, -1.0, 3.0], [0.0, -2.0, 5.0, 0.5], [0.0, 2.0, 0.1, 0.0], [3.0, -2.0, 0.1, 3.0]]
)

WANDA = Exercise(
    name="wanda",
    lesson=LESSON,
    library=compress.wanda,
    minutes=9,
    difficulty=2,
    cases=(
        call(
            "by hand",
            torch.tensor([[4.0, 1.0], [1.0, 3.0]]),
            torch.tensor([[1.0, 3.0], [0.0, 4.0]]),
            0.5,
            oracle=by_what_is_lost,
        ),
        call("half of each row", drawn(11, 5, 8), uneven(12, 20, 8), 0.5, oracle=by_what_is_lost),
        call(
            "a third that is no whole number",
            drawn(14, 3, 7),
            uneven(15, 9, 7),
            0.3,
            oracle=by_what_is_lost,
        ),
        call(
            "as many tokens as channels",
            drawn(17, 6, 6),
            uneven(18, 6, 6),
            0.5,
            oracle=by_what_is_lost,
        ),
        call(
            "channels with one sign",
            drawn(20, 8, 10),
            uneven(21, 30, 10, 2.0),
            0.6,
            oracle=by_what_is_lost,
        ),
        call("spikes", drawn(23, 12, 4).abs() + 0.5, ONE_SPIKE, 0.5, oracle=by_what_is_lost),
        call(
            "rows of different sizes",
            drawn(24, 8, 8) * 3.0 ** drawn(25, 8, 1),
            uneven(26, 8, 8),
            0.25,
            oracle=by_what_is_lost,
        ),
        call("nothing goes", drawn(28, 2, 3), drawn(29, 5, 3), 0.0, oracle=by_what_is_lost),
        call("everything goes", drawn(30, 2, 3), drawn(31, 5, 3), 1.0, oracle=by_what_is_lost),
        trial(
            "many equal scores: how many of each row go",
            zeros_in_rows,
            lambda weight, inputs, share: torch.full((6,), int(share * weight.shape[1])),
            whole(32, 6, 12) * 10.0 ** torch.arange(6.0)[:, None],
            torch.ones(4, 12),
            0.3,
        ),
        left_alone(by_what_is_lost, drawn(35, 3, 6), uneven(36, 7, 6), 0.5),
    ),
    mistakes=edits(
        row_by_row,
        """
## the norm of each token
- inputs.norm(dim=0) → inputs.norm(dim=1)
Your norm runs over the channels, and gives one number for each token. What is needed is one for
each channel, over all tokens: `dim=0`.
## the weights alone
- weight.abs() * norms → weight.abs() * torch.ones_like(norms)
Your scores are the sizes of the weights: the inputs play no part.
## the inputs alone
- weight.abs() * norms → torch.ones_like(weight) * norms
Your scores are the norms of the inputs: the sizes of the weights play no part.
## the square of the norm
- weight.abs() * norms → weight.abs() * norms**2
Your norm is squared, and the weight is not: a sum of squares wants its root, `inputs.norm(dim=0)`.
## the square of the weight
- weight.abs() * norms → weight**2 * norms
Your weight is squared, and the norm is not. Either both, or none.
## the mean size
- inputs.norm(dim=0) → inputs.abs().mean(0)
You take the mean of the sizes. The norm is the root of the sum of squares: one large number counts
more than many small ones.
## the sum with its signs
- inputs.norm(dim=0) → inputs.sum(0).abs()
You add up numbers of both signs, which cancel. The norm adds up squares.
## the largest
- inputs.norm(dim=0) → inputs.abs().amax(0)
You take the largest input of each channel: take the norm, over all tokens.
## about the mean
- inputs.norm(dim=0) → inputs.std(0, correction=0)
You take the deviation from the mean. A channel that is always 5 counts, and its deviation is 0.
## the norm of the other axis of the matrix
- weight.abs() * norms → weight.abs() * norms[:, None]
You multiply the norms to the *rows*. Column j of the matrix is what channel j is multiplied with:
`weight.abs() * norms` broadcasts over rows.
## over the whole matrix
- kept.scatter_(1, order[:, :gone], 0.0)
+ kept.view(-1)[scores.flatten().argsort()[: int(share * weight.numel())]] = 0.0
You compare the whole matrix. Each row loses its own share: a row is one output, with a size of its
own, so compare within it, `dim=1`.
## down the columns
- kept.scatter_(1, order[:, :gone], 0.0)
+ kept.scatter_(0, scores.argsort(dim=0)[: int(share * len(weight))], 0.0)
You cut a share of each *column*. A row makes one output: cut a share of each row.
## with the sign
- weight.abs() * norms → weight * norms
You cut the most negative weights: `weight.abs()`.
## the largest go
- order[:, :gone] → order[:, weight.shape[1] - gone :]
You cut the highest scores, and keep the lowest.
## the share is kept
- int(share * weight.shape[1]) → int((1 - share) * weight.shape[1] + 1e-6)
You keep the share, and cut the rest.
## as many stay
- int(share * weight.shape[1]) → weight.shape[1] - int(share * weight.shape[1])
You keep as many of each row as should go: `int(share * C)` is how many go.
## the scores
- return weight * kept → return scores * kept
You return the scores: return the weights, with zeros elsewhere.
## the norms multiplied in
- return weight * kept → return weight * norms * kept
What you keep is multiplied with the norms. They only decide.
## the mask alone
- return weight * kept → return kept
You return where something is kept: return the weights, with zeros elsewhere.
## equal ones all go
- return weight * kept
+ limit = scores.gather(1, order[:, gone - 1 : gone]) if gone else -1.0
+ return weight * (scores > limit)
Where several scores of a row are equal, all of them go. Cut exactly `int(share * C)` of each row.
## rounded up
- int(share * weight.shape[1]) → math.ceil(share * weight.shape[1])
You round the count up: expected is `int(share * C)` of each row.
## rounded
- int(share * weight.shape[1]) → round(share * weight.shape[1])
You round the count to the nearest: expected is `int(share * C)`, which rounds down.
## into the matrix
- return weight * kept → return weight.mul_(kept)
Your numbers are right, and you write them into `weight` itself: the caller has lost the original.
Work on `weight.clone()`; `scatter_` with its underscore writes in place, `scatter` doesn't.
""",
    ),
    hints=(
        "A score for each weight, (R, C): its size, times the norm of the channel that it is "
        "multiplied with. The norm is over tokens.",
        "`weight.abs() * inputs.norm(dim=0)`. The places that go are those of `topk`, with "
        "`int(share * weight.shape[1])`, `dim=1` and `largest=False`.",
        "`kept = weight.clone()`, and `kept.scatter_(1, places, 0.0)` writes zeros at these places "
        "of each row.",
    ),
)

# --- two_four -------------------------------------------------------------------------------------


def four_by_four(weight: Tensor, scores: Tensor) -> Tensor:
    rows = []
    for row, marks in zip(weight.tolist(), scores.tolist(), strict=True):
        found: list[float] = []
        for n in range(0, len(row), 4):
            found += without_smallest(row[n : n + 4], marks[n : n + 4], 2)
        rows.append(found)
    return torch.tensor(rows)


def in_groups(weight: Tensor, scores: Tensor) -> Tensor:
    """A right one."""
    R, C = weight.shape
    groups = scores.reshape(R, C // 4, 4)
    order = groups.argsort(dim=-1)
    kept = torch.ones_like(groups)
    kept.scatter_(-1, order[..., :2], 0.0)
    return weight * kept.reshape(R, C)


ROWS = ("1111", "2111", "3110", "1222", "0001", "2211", "1223", "5550")
TIED = torch.tensor([[float(score) for score in row] for row in ROWS])
TIED += 10 * torch.arange(8)[:, None]  # equal ones within a row only


def zeros_of_groups(candidate: Any, weight: Tensor, scores: Tensor) -> Tensor:
    return zeros_of_each_row(candidate(weight, scores).unflatten(1, (-1, 4)))


TWO_FOUR = Exercise(
    name="two_four",
    lesson=LESSON,
    library=compress.two_four,
    minutes=7,
    difficulty=2,
    cases=(
        call(
            "by hand",
            torch.tensor([[1.0, -4.0, 3.0, 2.0]]),
            torch.tensor([[1.0, 4.0, 3.0, 2.0]]),
            oracle=four_by_four,
        ),
        call("one group a row", drawn(41, 8, 4), drawn(42, 8, 4).abs(), oracle=four_by_four),
        call("three groups a row", drawn(43, 4, 12), drawn(44, 4, 12).abs(), oracle=four_by_four),
        call("a square", drawn(45, 8, 8), drawn(46, 8, 8).abs(), oracle=four_by_four),
        call("a tall one", drawn(47, 16, 4), drawn(47, 16, 4).abs(), oracle=four_by_four),
        call("a long row", drawn(48, 1, 32), drawn(49, 1, 32).abs(), oracle=four_by_four),
        trial(
            "many equal scores: how many of each four go",
            zeros_of_groups,
            lambda weight, scores: torch.full((8, 1), 2),
            drawn(50, 8, 4),
            TIED,
        ),
        call("scores below zero", drawn(52, 4, 8), drawn(53, 4, 8), oracle=four_by_four),
        left_alone(four_by_four, drawn(54, 4, 8), drawn(55, 4, 8).abs()),
    ),
    mistakes=edits(
        in_groups,
        """
## down the columns
- groups = scores.reshape(R, C // 4, 4)
+ groups = scores.T.reshape(C, R // 4, 4)
- return weight * kept.reshape(R, C) → return weight * kept.reshape(C, R).T
Your groups run down the columns. The hardware reads four neighbours of a *row*.
## half of each row
- scores.reshape(R, C // 4, 4) → scores.reshape(R, 1, C)
- order[..., :2] → order[..., : C // 2]
You cut half of each row, wherever it stands. Two must go of *each* four.
## one of each two
- scores.reshape(R, C // 4, 4) → scores.reshape(R, C // 2, 2)
- order[..., :2] → order[..., :1]
You cut one of each two: the pattern is freer, both of the kept ones may be neighbours.
## four of each eight
- scores.reshape(R, C // 4, 4) → scores.reshape(R, -1, min(8, C))
- order[..., :2] → order[..., : min(8, C) // 2]
Your groups have eight numbers. Two must go of each four.
## groups that are no neighbours
- scores.reshape(R, C // 4, 4) → scores.reshape(R, 4, C // 4).mT
- kept.reshape(R, C) → kept.mT.reshape(R, C)
Your groups take every (C/4)-th number. A group is four *neighbours*: reshape to (R, C/4, 4).
## one goes
- order[..., :2] → order[..., :1]
You cut one of each four: two must go.
## three go
- order[..., :2] → order[..., :3]
You cut three of each four: two must stay.
## the best two go
- order[..., :2] → order[..., 2:]
You cut the two with the *highest* scores.
## always the same two
- kept.scatter_(-1, order[..., :2], 0.0)
+ kept[..., 2:] = 0.0
You keep the first two of each four, whatever their scores.
## by the weights
- scores.reshape(R, C // 4, 4) → weight.abs().reshape(R, C // 4, 4)
You decide by the sizes of the weights. What decides is `scores`.
## by the weights with their signs
- scores.reshape(R, C // 4, 4) → weight.reshape(R, C // 4, 4)
You decide by the weights, signs and all. What decides is `scores`.
## the sizes of the scores
- scores.reshape(R, C // 4, 4) → scores.abs().reshape(R, C // 4, 4)
You take the sizes of the scores. A score below zero is lower than 0: it goes first.
## equal ones all go
- return weight * kept.reshape(R, C)
+ limit = groups.gather(-1, order[..., 1:2])
+ return weight * (groups > limit).reshape(R, C)
Where scores are equal, more than two of a group go: the format has room for exactly two.
## equal ones all stay
- return weight * kept.reshape(R, C)
+ limit = groups.gather(-1, order[..., 2:3])
+ return weight * (groups >= limit).reshape(R, C)
Where scores are equal, more than two of a group stay: the format has room for exactly two.
## the mask alone
- return weight * kept.reshape(R, C) → return kept.reshape(R, C)
You return where something is kept: return the weights, with zeros elsewhere.
## the scores
- return weight * → return scores *
You return the scores: they only decide.
## packed
- return weight * kept.reshape(R, C)
+ return weight[kept.reshape(R, C) == 1].reshape(R, C // 2)
You return what is left, packed, as the hardware stores it. Asked for is the matrix, with zeros.
## into the matrix
- return weight * kept.reshape(R, C) → return weight.mul_(kept.reshape(R, C))
Your numbers are right, and you write them into `weight` itself: the caller has lost the original.
`reshape` of a matrix shares its memory: make a mask and multiply.
""",
    ),
    hints=(
        "`scores.reshape(R, C // 4, 4)` has four neighbours of a row in its last axis.",
        "`topk(2, dim=-1, largest=False)` there has the places of the two that go. Ones with zeros "
        "at these places, by `scatter`, back to (R, C), times `weight`.",
    ),
)

# --- drop_layers ----------------------------------------------------------------------------------

TINY = ModelConfig(
    vocabulary=13,
    width=8,
    layers=4,
    heads=2,
    kv_heads=1,
    head_dim=4,
    feed_forward=12,
    context=32,
)
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
OUTPUTS = ("attention.output", "feed_forward.down")  # what a layer adds to the stream goes by these


@cache
def master(seed: int, layers: int = 4) -> Decoder:
    """A tiny decoder that is far from even, never lent itself."""
    with torch.random.fork_rng(devices=[]):
        decoder = Decoder(replace(TINY, tied=bool(seed % 2), layers=layers))
    with torch.no_grad():
        for number, weight in enumerate(decoder.parameters()):
            weight.copy_(0.6 * drawn(100 * seed + number, *weight.shape))
    return decoder.requires_grad_(False).eval()


def told_of(smaller: Decoder) -> list[Any]:
    """What a model of another shape computes, and how large it says, and is, that it is."""
    if not isinstance(smaller, Decoder):  # another could say anything of itself
        raise TypeError(f"it gave {type(smaller).__name__}: expected a Decoder")
    config = smaller.config
    with torch.no_grad():
        logits = smaller(IDS)
    sizes = sum(weight.numel() for weight in smaller.parameters())
    return [logits, config.layers, config.feed_forward, sizes]


def told_or_refused(candidate: Any, decoder: Decoder, numbers: Any) -> list[Any]:
    """What a smaller model is, or why there is none: where weights don't fit there isn't, and by
    its message a mistake can be told from another."""
    try:
        return told_of(candidate(decoder, numbers))
    except ShapeError as error:
        return [str(error)]


@beside
def told_of_both(candidate: Any, decoder: Decoder, numbers: Any) -> list[Any]:
    """What a smaller model is, and the one that it was made of, afterwards."""
    mine = copy.deepcopy(decoder)
    return told_of(candidate(mine, numbers)) + told_of(mine)


def zeroed(decoder: Decoder, places: Sequence[tuple[str, Any]]) -> Tensor:
    """The logits of the original with zeros in some columns of some matrices."""
    weights = {name: w.clone() for name, w in decoder.state_dict().items()}
    for name, columns in places:
        weights[name][:, columns] = 0
    other = Decoder(decoder.config)
    other.load_state_dict(weights)
    with torch.no_grad():
        return other(IDS)


def size_of(seed: int, layers: int, feed_forward: int) -> int:
    """By hand: tables, norms, attention and three matrices a layer."""
    tables = 13 * 8 * (1 if seed % 2 else 2)
    return tables + 8 + layers * (2 * 8 + 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * feed_forward)


def right_model(decoder: Decoder, places: Sequence[tuple[str, Any]], L: int, F: int) -> list[Any]:
    """What is told of a model of this shape that gives what the original gives with these zeros."""
    seed = int(decoder.config.tied)
    return [zeroed(decoder, places), L, F, size_of(seed, L, F)]


def dropping(
    label: str, seed: int, gone: Sequence[int], *, layers: int = 4, tell: Any = told_or_refused
) -> Case:
    def expected(decoder: Decoder, gone: Sequence[int]) -> list[Any]:
        places = [(f"layers.{n}.{part}.weight", slice(None)) for n in gone for part in OUTPUTS]
        original = right_model(decoder, (), layers, 12) if tell is told_of_both else []
        return right_model(decoder, places, layers - len(gone), 12) + original

    def run(candidate: Any, decoder: Decoder, layers: Sequence[int]) -> list[Any]:
        return tell(candidate, decoder, layers)

    return trial(label, run, expected, master(seed, layers), gone)


def by_names(decoder: Decoder, layers: list[int]) -> Decoder:
    """A right one."""
    L = decoder.config.layers
    kept = [n for n in range(L) if n not in layers]
    old = decoder.state_dict()
    weights = {name: weight for name, weight in old.items() if "layers." not in name}
    for place, number in enumerate(kept):
        for name, weight in old.items():
            if name.startswith(f"layers.{number}."):
                rest = name.split(".", 2)[2]
                weights[f"layers.{place}.{rest}"] = weight
    config = replace(decoder.config, layers=len(kept))
    return decoder_over(config, weights)


DROP_LAYERS = Exercise(
    name="drop_layers",
    lesson=LESSON,
    library=compress.drop_layers,
    minutes=11,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        dropping("the second of four", 1, [1]),
        dropping("the first", 2, [0]),
        dropping("the last", 3, [3]),
        dropping("two neighbours", 4, [1, 2]),
        dropping("the first and the third", 5, [0, 2]),
        dropping("not in their order", 6, [3, 1]),
        dropping("all but one", 7, [0, 1, 3]),
        dropping("none", 8, []),
        dropping("a range of them", 9, range(1, 3)),
        dropping("layers 1 and 10 of twelve", 10, [1, 10], layers=12),
        dropping("layers 11 and 5 of twelve", 11, [11, 5], layers=12),
        dropping("the model itself afterwards", 12, [2], tell=told_of_both),
    ),
    mistakes=edits(
        by_names,
        """
## these stay
- kept = [n for n in range(L) if n not in layers]
+ kept = [n for n in range(L) if n in layers]
You keep the layers that were to go.
## the last ones go
- for place, number in enumerate(kept):
+ for place, number in enumerate(range(len(kept))):
Your number of layers is right, and their weights are those of the first ones: take each kept layer's
own.
## the first ones go
- for place, number in enumerate(kept):
+ for place, number in enumerate(range(L - len(kept), L)):
Your number of layers is right, and their weights are those of the last ones: take each kept layer's
own.
## the first of them alone
- if n not in layers → if n not in layers[:1]
Only the first of the layers goes: all of `layers` should.
## all between them
- if n not in layers → if not layers or not min(layers) <= n <= max(layers)
All layers between the first and the last of `layers` go too: only those named should.
## counted from 1
- if n not in layers → if n + 1 not in layers
You count layers from 1: the first is number 0.
## numbers that move
- kept = [n for n in range(L) if n not in layers]
+ kept = list(range(L))
+ for n in layers:
+     del kept[min(n, len(kept) - 1)]
You delete one after the other, and after each the later ones have moved up: the next number means
another layer. Decide by the old numbers which stay.
## the other way round
- for place, number in enumerate(kept):
+ for place, number in enumerate(reversed(kept)):
Your layers stand in reverse order.
## zeros in their place
- config = replace(decoder.config, layers=len(kept))
- return decoder_over(config, weights)
+ weights = dict(old)
+ for n in layers:
+     for part in ("attention.output", "feed_forward.down"):
+         weights[f"layers.{n}.{part}.weight"] = old[f"layers.{n}.{part}.weight"] * 0
+ return decoder_over(decoder.config, weights)
It computes what it should, but the layers are still there, full of zeros: nothing is smaller. Leave
them out, and make the configuration say so.
## the old configuration
- return decoder_over(config, weights)
+ smaller = decoder_over(config, weights)
+ smaller.config = decoder.config
+ return smaller
The layers are gone, and the configuration still counts them, so a cache would have room for all.
## a layer twice
- for place, number in enumerate(kept):
+ for place, number in enumerate([kept[0], *kept[:-1]]):
A layer stands there twice, and the last one is missing: each kept layer has one place.
## the old numbers
- weights[f"layers.{place}.{rest}"] → weights[f"layers.{number}.{rest}"]
The layers that stay have their old numbers, with gaps between them. A model of n layers has layers
0 to n - 1: give each the number of its new place.
## all move up alike
- for place, number in enumerate(kept):
+ for number in kept:
+     place = number - len(layers) * (number > min(layers, default=0))
Every layer behind the first one that goes moves up by as many as go in all. It moves up by as many
as go *before it*: `enumerate` over those that stay counts that.
## 1 is also the beginning of 10
- if n not in layers
+ if not any(str(n).startswith(str(gone)) for gone in layers)
Without layer 1 layers 10 and 11 are gone too: a name begins with `layers.1` in all of them. With the
point, `layers.1.`, it is layer 1 alone.
## 1 is also the beginning of 10, for those that stay
- if name.startswith(f"layers.{number}."): → if name.startswith(f"layers.{number}"):
The place of layer 1 gets the weights of layer 10: a name begins with `layers.1` in both. With the
point, `layers.1.`, it is layer 1 alone.
## sorted as words
- kept = [n for n in range(L) if n not in layers]
+ kept = [int(word) for word in sorted(str(n) for n in range(L) if n not in layers)]
Your layers are sorted as words: 0, 1, 10, 11, 2. Make numbers of them first.
## no new configuration
- return decoder_over(config, weights) → return decoder_over(decoder.config, weights)
`decoder_over` is told the old number of layers, and misses those that are gone: give it
`replace(decoder.config, layers=…)`.
## the model itself
- return decoder_over(config, weights)
+ decoder.layers = torch.nn.ModuleList(decoder.layers[n] for n in kept)
+ decoder.config = config
+ return decoder
You change `decoder` itself: its caller has lost the original. Leave it as it is, and put another one
together with `decoder_over`.
""",
    ),
    hints=(
        "Which stay: `[n for n in range(L) if n not in layers]`. Their places in the smaller model "
        "are 0, 1, 2, …: `enumerate`.",
        "`decoder.state_dict()` has every weight by its name, `layers.7.attention.query.weight` for "
        "one. What is of layer `number` gets the name of its new place; what is of no layer stays.",
        "`config = replace(decoder.config, layers=len(kept))`, and `decoder_over(config, weights)` "
        "puts a model together.",
    ),
)

# --- narrow_feed_forward --------------------------------------------------------------------------


def narrowing(label: str, seed: int, *channels: Sequence[int], tell: Any = told_or_refused) -> Case:
    def expected(decoder: Decoder, kept: list[Tensor]) -> list[Any]:
        places = [
            (f"layers.{n}.feed_forward.down.weight", [c for c in range(12) if c not in some])
            for n, some in enumerate(channels)
        ]
        L = len(channels)
        original = right_model(decoder, (), L, 12) if tell is told_of_both else []
        return right_model(decoder, places, L, len(kept[0])) + original

    def run(candidate: Any, decoder: Decoder, kept: list[Tensor]) -> list[Any]:
        return tell(candidate, decoder, kept)

    kept = [torch.tensor(some) for some in channels]
    return trial(label, run, expected, master(seed, len(channels)), kept)


def layer_by_layer(decoder: Decoder, kept: list[Tensor]) -> Decoder:
    """A right one."""
    weights = dict(decoder.state_dict())
    for number, channels in enumerate(kept):
        part = f"layers.{number}.feed_forward"
        gate, up, down = (weights[f"{part}.{name}.weight"] for name in ("gate", "up", "down"))
        weights[f"{part}.gate.weight"] = gate[channels]
        weights[f"{part}.up.weight"] = up[channels]
        weights[f"{part}.down.weight"] = down[:, channels]
    config = replace(decoder.config, feed_forward=len(kept[0]))
    return decoder_over(config, weights)


SIX = ([0, 2, 3, 7, 8, 11], [1, 2, 5, 6, 9, 10], [0, 4, 5, 6, 7, 9], [2, 3, 4, 8, 10, 11])

NARROW_FEED_FORWARD = Exercise(
    name="narrow_feed_forward",
    lesson=LESSON,
    library=compress.narrow_feed_forward,
    minutes=9,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        narrowing("half of the channels", 11, *SIX),
        narrowing("an untied model", 12, *SIX),
        narrowing("another order in each layer", 13, [7, 1, 4], [9, 11, 0], [5, 4, 3], [10, 2, 8]),
        narrowing(
            "as wide as the stream", 14, *([n for n in range(12) if n not in s[:4]] for s in SIX)
        ),
        narrowing("one channel a layer", 15, [3], [11], [0], [6]),
        narrowing("all but one", 16, *([n for n in range(12) if n != k] for k in (0, 5, 11, 3))),
        narrowing("twelve layers", 17, *([n % 8, (n + 3) % 8, (n + 5) % 8] for n in range(12))),
        narrowing("the model itself afterwards", 18, *SIX, tell=told_of_both),
    ),
    mistakes=edits(
        layer_by_layer,
        """
## the first layer's for all
- for number, channels in enumerate(kept):
+ for number, channels in enumerate([kept[0]] * len(kept)):
Every layer keeps the channels of the first: `kept[number]` are those of each.
## these go
- part = f"layers.{number}.feed_forward"
+ part = f"layers.{number}.feed_forward"
+ channels = torch.tensor([n for n in range(decoder.config.feed_forward) if n not in channels])
- len(kept[0]) → decoder.config.feed_forward - len(kept[0])
You keep the channels that are not in `kept`.
## the first channels
- part = f"layers.{number}.feed_forward"
+ part = f"layers.{number}.feed_forward"
+ channels = torch.arange(len(channels))
You keep the first channels of each layer, as many as asked for, whichever they are.
## gate keeps the first
- = gate[channels] → = gate[: len(channels)]
The rows of `gate` are not those of `up`: channel j of the one is multiplied with channel j of the
other, so both keep the same.
## up keeps the first
- = up[channels] → = up[: len(channels)]
The rows of `up` are not those of `gate`: channel j of the one is multiplied with channel j of the
other, so both keep the same.
## down keeps the first
- down[:, channels] → down[:, : len(channels)]
`down` has the first columns, and not those of the kept channels: column j of it writes what channel
j holds.
## in their order, down alone
- down[:, channels] → down[:, channels.sort().values]
The columns of `down` are sorted, and the rows of `gate` and `up` are not: channels get mixed up.
## gate and up exchanged
- = gate[channels] → = up[channels]
- = up[channels] → = gate[channels]
`gate` and `up` have changed places: only one of them goes through silu.
## scaled up
- down[:, channels] → down[:, channels] * (down.shape[1] / len(channels))
You make up for what is gone, as dropout does. What is kept stays as it is.
## zeros in their place
- config = replace(decoder.config, feed_forward=len(kept[0]))
- return decoder_over(config, weights)
+ weights = dict(decoder.state_dict())
+ for number, channels in enumerate(kept):
+     name = f"layers.{number}.feed_forward.down.weight"
+     stay = torch.zeros(decoder.config.feed_forward)
+     stay[channels] = 1
+     weights[name] = weights[name] * stay
+ return decoder_over(decoder.config, weights)
It computes what it should, but the matrices are as large as before: nothing is smaller. Take the
rows and columns out.
## the old configuration
- return decoder_over(config, weights)
+ smaller = decoder_over(config, weights)
+ smaller.config = decoder.config
+ return smaller
The matrices are smaller, and the configuration still says the old width: whoever saves or costs the
model believes it.
## one channel too few
- part = f"layers.{number}.feed_forward"
+ part = f"layers.{number}.feed_forward"
+ channels = channels[:-1] if len(channels) > 1 else channels
- len(kept[0]) → max(len(kept[0]) - 1, 1)
The last of the kept channels is missing in each layer.
## layers in reverse
- for number, channels in enumerate(kept):
+ for number, channels in enumerate(reversed(kept)):
The first layer gets the channels of the last: `kept[number]` belongs to layer `number`.
## one digit of the number
- part = f"layers.{number}.feed_forward"
+ part = f"layers.{number}.feed_forward"
+ channels = kept[int(str(number)[0])]
Layers 10 and 11 get the channels of layer 1: you read one digit of the number. Split the name at its
points, or count the layers.
## down by its rows
- down[:, channels] → down[channels]
You take *rows* of `down`. Its channels are columns, `[:, channels]`: it reads what `gate` and `up`
write.
## down is left
- down[:, channels] → down
`down` is as wide as before: it reads one number of each channel, so it loses a column for each row
that `gate` and `up` lose.
## no new configuration
- return decoder_over(config, weights) → return decoder_over(decoder.config, weights)
`decoder_over` is told the old width: give it `replace(decoder.config, feed_forward=…)`.
## the model itself
- return decoder_over(config, weights)
+ for number, layer in enumerate(decoder.layers):
+     for name in ("gate", "up", "down"):
+         new = torch.nn.Parameter(weights[f"layers.{number}.feed_forward.{name}.weight"], False)
+         getattr(layer.feed_forward, name).weight = new
+ decoder.config = config
+ return decoder
You change `decoder` itself: its caller has lost the original. Leave it as it is, and put another one
together with `decoder_over`.
""",
    ),
    hints=(
        "A channel is a row of `gate`, the same row of `up`, and the same column of `down`.",
        "`weights = dict(decoder.state_dict())`, then for each layer "
        '`weights[f"layers.{number}.feed_forward.gate.weight"]` gets its rows `[channels]`, `up` '
        "too, and `down` its columns `[:, channels]`.",
        "`replace(decoder.config, feed_forward=len(kept[0]))`, and `decoder_over(config, weights)`.",
    ),
)

# --- csr_matvec -----------------------------------------------------------------------------------


def compressed(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Starts, columns and values of a matrix, by Python."""
    starts, columns, values = [0], [], []
    for row in matrix.tolist():
        for column, value in enumerate(row):
            if value:
                columns.append(column)
                values.append(value)
        starts.append(len(values))
    return (
        torch.tensor(starts),
        torch.tensor(columns, dtype=torch.long),
        torch.tensor(values, dtype=torch.float32),
    )


def sparse(seed: int, R: int, C: int, empty: Sequence[int] = (), share: float = 0.5) -> Tensor:
    matrix = drawn(seed, R, C) * (drawn(seed + 1, R, C).erf() > 2 * share - 1)
    matrix[list(empty)] = 0
    return matrix


def multiplying(label: str, matrix: Tensor, seed: int) -> Case:
    x = drawn(seed, matrix.shape[1])
    starts, columns, values = compressed(matrix)
    expected = (matrix.double() @ x.double()).float()
    return call(label, starts, columns, values, x, oracle=lambda *_: expected)


def dense(starts: Tensor, columns: Tensor, values: Tensor, x: Tensor) -> Tensor:
    matrix = torch.zeros(len(starts) - 1, len(x))
    for row, (first, last) in enumerate(pairwise(starts.tolist())):
        matrix[row, columns[first:last]] = values[first:last]
    return matrix @ x


def values_afterwards(candidate: Any, *inputs: Tensor) -> list[Tensor]:
    return [candidate(*inputs), inputs[2]]


def a_row_at_a_time(starts: Tensor, columns: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """A right one."""
    y = torch.zeros(len(starts) - 1)
    for row in range(len(y)):
        first, last = int(starts[row]), int(starts[row + 1])
        y[row] = (values[first:last] * x[columns[first:last]]).sum()
    return y


CSR_MATVEC = Exercise(
    name="csr_matvec",
    lesson=LESSON,
    library=compress.csr_matvec,
    minutes=10,
    difficulty=2,
    kind="stretch",
    cases=(
        multiplying(
            "by hand", torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]), 61
        ),
        multiplying("half of it zero", sparse(62, 5, 7), 64),
        multiplying("a square", sparse(65, 6, 6), 67),
        multiplying("empty rows in the middle", sparse(68, 6, 5, (2, 3)), 70),
        multiplying("an empty first and last row", sparse(71, 5, 6, (0, 4)), 73),
        multiplying("nearly empty", sparse(74, 8, 8, (1,), 0.85), 76),
        multiplying("nothing is zero", drawn(77, 3, 4), 78),
        multiplying("empty columns at the end", sparse(79, 4, 7) * (torch.arange(7) < 4), 81),
        multiplying("nothing but zeros", torch.zeros(3, 5), 82),
        trial(
            "the values themselves afterwards",
            lambda candidate, starts, columns, values, x: values_afterwards(
                candidate, starts, columns, values.clone(), x
            ),
            lambda starts, columns, values, x: [dense(starts, columns, values, x), values],
            *compressed(sparse(83, 4, 4)),
            drawn(85, 4),
        ),
    ),
    mistakes=edits(
        a_row_at_a_time,
        """
## the first numbers of x
- x[columns[first:last]] → x[: last - first]
You multiply with the first numbers of x. Which of them belongs to a value is what `columns` says.
## the numbers of x at the same places
- x[columns[first:last]] → x[torch.arange(first, last) % len(x)]
You multiply with x at the places of the *values*. Which number of x belongs to one is what
`columns` says.
## x of the row
- x[columns[first:last]] → x[min(row, len(x) - 1)]
You multiply a row's values with x at the number of the row: take x at their columns.
## lengths for ends
- int(starts[row + 1]) → int(starts[row]) + int(starts[row + 1])
You take the next start for a length. `starts[row + 1]` is where the row ends.
## one value too few
- int(starts[row + 1]) → max(int(starts[row + 1]) - 1, int(starts[row]))
The last value of each row is missing: a slice ends before `last` by itself.
## one value too many
- int(starts[row + 1]) → int(starts[row + 1]) + 1
A row takes the first value of the next one: it ends before `starts[row + 1]`.
## all up to here
- first, last = int(starts[row]), int(starts[row + 1])
+ first, last = 0, int(starts[row + 1])
Each row also has the values of all rows before it.
## empty rows get the next value
- int(starts[row + 1]) → max(int(starts[row + 1]), int(starts[row]) + 1)
An empty row gets the value of the next one: it ends where it begins, and adds up to 0.
## reduceat
- y[row] = (values[first:last] * x[columns[first:last]]).sum()
+ more = values[first:last] * x[columns[first:last]]
+ y[row] = more.sum() if len(more) else values[first] * x[columns[first]]
`np.add.reduceat` gives an empty row the value of the next one, and raises where the last row is empty.
An empty row adds up to 0: write it yourself.
## differences of running sums
- y[row] = (values[first:last] * x[columns[first:last]]).sum()
+ sums = (values * x[columns]).cumsum(0)
+ y[row] = sums[last - 1] - sums[first - 1]
Where a row begins at 0, the sum before it is `sums[-1]`, which is that of everything. Put a 0 before
the running sums.
## into the values
- y = torch.zeros(len(starts) - 1)
+ y = torch.zeros(len(starts) - 1)
+ values.mul_(x[columns])
- values[first:last] * x[columns[first:last]] → values[first:last]
Your sums are right, and you multiply into `values` itself: the caller has lost the matrix. Make new
numbers: `values * x[columns]`.
## the last row is missing
- range(len(y)) → range(len(y) - 1)
The last row stays 0: there are as many rows as starts, less one.
## empty rows left out
- return y → return y[starts.diff() > 0]
Rows without a value are left out. They are rows too, and give 0.
## the mean
- .sum() → .mean().nan_to_num()
You take the mean of the products: a product of a matrix and a vector adds them up.
## x is left out
- values[first:last] * x[columns[first:last]] → values[first:last]
You add up the values alone: multiply each with x at its column.
## columns counted from 1
- x[columns[first:last]] → x[columns[first:last] - 1]
You count columns from 1: they begin at 0.
""",
    ),
    hints=(
        "Row r has the values from `starts[r]` up to, not including, `starts[r + 1]`.",
        "For each row: `(values[first:last] * x[columns[first:last]]).sum()`. Without a loop: all "
        "products at once, then `index_add_` to the row that each belongs to.",
    ),
)

EXERCISES = (
    PRUNE_MAGNITUDE,
    WANDA,
    TWO_FOUR,
    DROP_LAYERS,
    NARROW_FEED_FORWARD,
    CSR_MATVEC,
)
