"""Exercises of lesson 07: the samplers, and drawing a token."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from decodeloop.decode import min_p, sample, temperature, top_k, top_p
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, beside, call

LESSON = "07_sampling"
INF = math.inf
draws = torch.Generator().manual_seed(7)


def scores(*shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=draws)


def by_rows(x: Tensor, rule: Callable[[list[float]], list[float]]) -> Tensor:
    """A rule for one row of logits, in plain Python, applied to every row."""
    rows = [rule(row) for row in x.reshape(-1, x.shape[-1]).tolist()]
    return torch.tensor(rows).reshape(x.shape)


def shares(row: list[float]) -> list[float]:
    """Softmax of one row, in plain Python."""
    peak = max(row)
    powers = [math.exp(x - peak) for x in row]
    return [x / sum(powers) for x in powers]


VOTES = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()  # four tokens, easy to check by hand
BATCH = scores(2, 3, 7)
BELOW_ZERO = -10.0 + scores(2, 6)  # 0 would be better than all of them
SQUARE = torch.tensor(  # as many rows as tokens: a forgotten keepdim gives a value
    [[3.0, 1.0, 0.0, 2.0], [0.5, 4.0, 1.0, 0.0], [1.0, 0.0, 2.0, 5.0], [0.3, 0.2, 0.1, 0.0]]
)
SOME_OUT = torch.tensor([[1.0, -INF, 2.0, 0.5, -INF], [-INF, 3.0, 0.0, 1.0, 2.0]])

# --- temperature ----------------------------------------------------------------------------------


def scaled(x: Tensor, t: float) -> Tensor:
    """Closed form: divided by t; at 0 the best of each row alone."""
    if t == 0:
        return by_rows(x, lambda row: [v if v == max(row) else -INF for v in row])
    return by_rows(x, lambda row: [v / t for v in row])


def at_zero(label: str, x: Tensor, t: float = 0.0) -> Case:
    """At t = 0: what is left, with which probability, and whether it has kept its logit."""

    def seen(answer: Candidate) -> Any:
        out = called(answer)
        if not isinstance(out, Tensor) or out.shape != x.shape:
            return {"what came": shape_of(out)}
        best = x == x.amax(-1, keepdim=True)
        return {
            "left": torch.isfinite(out),
            "probabilities": torch.softmax(out.float(), -1),
            "the best keeps its logit": bool(torch.isclose(out[best], x[best]).all()),
            "free of inf and NaN": not bool((out.isposinf() | out.isnan()).any()),
        }

    called = call(label, x, t, oracle=scaled).run
    return Case(label, seen, lambda: seen(scaled), (x, t))


def leaves_its_input(label: str, x: Tensor, *options: Any, oracle: Candidate) -> Case:
    """What became of the logits that were lent, beside the answer."""

    def run(answer: Candidate) -> Any:
        lent = x.clone()
        out = answer(lent, *options)
        return {"what came": out, "the caller's logits afterwards": lent}

    return Case(label, run, lambda: run(oracle), (x, *options))


def divided(x: Tensor, t: float) -> Tensor:
    """A right one."""
    if t == 0:
        return x.masked_fill(x < x.amax(-1, keepdim=True), -INF)
    return x / t


TEMPERATURE = Exercise(
    name="temperature",
    lesson=LESSON,
    library=temperature,
    minutes=5,
    difficulty=1,
    part=True,
    cases=(
        call("four tokens, t = 0.5", VOTES, 0.5, oracle=scaled),
        call("logits (2, 3, 7), t = 2", BATCH, 2.0, oracle=scaled),
        call("t = 1 changes nothing", BATCH, 1.0, oracle=scaled),
        call("t = 0.1, large logits", 100.0 + 50 * BATCH, 0.1, oracle=scaled),
        call("some tokens are out already, t = 0.7", SOME_OUT, 0.7, oracle=scaled),
        call("t = 0.02, which is not 0", BATCH, 0.02, oracle=scaled),
        at_zero("t = 0, logits (6,)", scores(6)),
        at_zero("t = 0, logits (2, 3, 7)", BATCH),
        at_zero("t = 0, all logits below 0", BELOW_ZERO),
        at_zero("t = 0, a logit is exactly 0", torch.tensor([-1.0, 0.0, 2.0, 1.0])),
        at_zero("t = 0, some tokens are out already", SOME_OUT),
        at_zero("t = 0, logits (4, 4)", SQUARE),
        leaves_its_input("the caller's logits stay as they are", BATCH, 2.0, oracle=scaled),
    ),
    mistakes=edits(
        divided,
        """
## multiplied
- x / t → x * t
You multiply by t. A low temperature must sharpen: divide, so that t = 0.5 doubles every distance
between two logits.
## multiplied, at 0 too
- if t == 0: → if t < 0:
- x / t → x * t
You multiply by t. A low temperature must sharpen: divide instead. And t = 0 is a case of its own,
where the best token of each row is left alone.
## the probabilities divided
- x / t → x.softmax(-1) / t
You divide probabilities. Dividing all of them by one number changes no ratio between two tokens,
and they no longer sum to 1. Divide the logits, before any softmax.
## the probabilities divided, by 0 too
- if t == 0: → if t < 0:
- x / t → x.softmax(-1) / t
Two things. You divide probabilities: divide the logits, before any softmax. And t = 0 is a case of
its own, where the best token of each row stays and every other becomes -inf.
## division by zero
- if t == 0: → if t < 0:
Right but at t = 0, where x / 0 is ±inf or NaN. There the best token of each row stays, and every
other becomes -inf: a case of its own, before you divide.
## a tiny number for 0
- x.masked_fill(x < x.amax(-1, keepdim=True), -INF) → x / 1e-4
At t = 0 you divide by some tiny number. Two tokens that are nearly equal then still share the
draws, and no token is out. Set every token but the best to -inf.
## in place
- return x / t → return x.div_(t)
You divide in place, with `/=` or `div_`, so the caller's logits change too. Make a new tensor:
`logits / t`.
## in place, at 0 too
- x.masked_fill → x.masked_fill_
- return x / t → return x.div_(t)
You write into the caller's logits, at t = 0 too. Make new tensors: `logits / t`, and `masked_fill`
without the underscore.
## a large negative number for -inf
- -INF → -1e9
At t = 0 you give the others a large negative number. What is out must be -inf, also for the samplers
that follow.
## the best loses its logit
- x.masked_fill(x < x.amax(-1, keepdim=True), -INF)
+ torch.zeros_like(x).masked_fill(x < x.amax(-1, keepdim=True), -INF)
At t = 0 the right token is left, but not with its own logit. The best keeps its logit, the others
become -inf.
## nothing is left at 0
- x < x.amax → x <= x.amax
At t = 0 you put out the best token too, and nothing is left: out is what is *less* than the best.
## one-hot at 0
- x.masked_fill(x < x.amax(-1, keepdim=True), -INF) → (x == x.amax(-1, keepdim=True)).float()
At t = 0 you return 1 for the best and 0 for the others. Those are probabilities: return logits, the best
with its own, the others -inf.
## greedy for small t
- if t == 0: → if t < 0.05:
Right but for small t: you take them for 0. Only t = 0 is greedy; every other t divides.
## the worst at 0
- x < x.amax → x > x.amin
At t = 0 you keep the worst token of each row. It is the largest logit that stays.
## the best of each column
- x.amax(-1, keepdim=True) → x.amax(0, keepdim=True)
At t = 0 you look for the best along the first axis. Each row has its own best, along the tokens:
axis -1.
## logarithms of probabilities
- x / t → (x / t).log_softmax(-1)
You return the logarithms of probabilities: softmax is not yet asked for, only the division.
## probabilities returned, but at 0
- x / t → (x / t).softmax(-1)
You return probabilities. Samplers are chained, each takes logits and gives logits; the softmax
comes once, at the end.
## rounded down
- x / t → x // t
You round down: `//` cuts what is behind the point, `/` divides.
## t subtracted
- x / t → x - t
You subtract t. That moves all logits alike, and changes no probability: divide by it.
## probabilities returned
- , -INF) → , -INF).softmax(-1)
- x / t → (x / t).softmax(-1)
You return probabilities. Samplers are chained, each takes logits and gives logits; the softmax
comes once, at the end.
## probabilities returned, NaN at 0
- if t == 0: → if t < 0:
- x / t → (x / t).softmax(-1)
Two things. You return probabilities: samplers are chained, each takes logits and gives logits. And
at t = 0 you divide by 0: there the best token of each row stays, and every other becomes -inf, a
case of its own.
## the id of the best
- x.masked_fill(x < x.amax(-1, keepdim=True), -INF) → x.argmax(-1)
At t = 0 you return the id of the best token. Return logits (…, V), as at every other temperature:
the best one's stays, the others become -inf.
## 0 instead of -inf
- -INF → 0.0
At t = 0 you set the other tokens to 0. A logit of 0 is no small one, e⁰ = 1: what is out must be
-inf.
## unchanged at 0
- x.masked_fill(x < x.amax(-1, keepdim=True), -INF) → x.clone()
At t = 0 you change nothing. Temperature 0 is the limit of ever sharper: only the best token of
each row is left.
## the best of all rows
- x.amax(-1, keepdim=True) → x.max()
At t = 0 you look for the largest logit of the whole tensor, so that every other row is left with
nothing. Each row has its own best: argmax(-1, keepdim=True) or amax(-1, keepdim=True).
## the best is out
- x < x.amax(-1, keepdim=True) → x == x.amax(-1, keepdim=True)
At t = 0 you put out the best token and keep all others: the mask is upside down. masked_fill
writes where the mask is True, and that must be where a logit is less than the best.
## keepdim forgotten
- x.amax(-1, keepdim=True) → x.amax(-1)
At t = 0 the best logits have shape (…), an axis less than the logits: they don't broadcast, or
they do along the wrong axis. amax(-1, keepdim=True) has (…, 1).
""",
    ),
    hints=(
        "softmax(logits / t): for t above 0 it is one division. t = 0 can't be divided by: treat it "
        "first.",
        "At t = 0: find the best of each row with `logits.amax(-1, keepdim=True)`, (…, 1), and fill "
        "what is less with -inf.",
        "`logits.masked_fill(logits < logits.amax(-1, keepdim=True), -math.inf)` if t == 0, else "
        "logits / t.",
    ),
)

# --- top_k ----------------------------------------------------------------------------------------


def k_best(x: Tensor, k: int) -> Tensor:
    """In plain Python: all that is at least the k-th of the sorted row."""

    def rule(row: list[float]) -> list[float]:
        last = sorted(row, reverse=True)[min(k, len(row)) - 1]
        return [v if v >= last else -INF for v in row]

    return by_rows(x, rule)


def as_they_were(out: Tensor, x: Tensor) -> bool:
    """Whether what is kept has kept its logit."""
    kept = torch.isfinite(out)
    return bool(torch.isclose(out[kept], x[kept], rtol=1e-5).all()) and not bool(out.isnan().any())


def number_kept(label: str, x: Tensor, *options: Any, oracle: Candidate) -> Case:
    """Only how many tokens of each row are left: of equal ones, which is nobody's business."""

    def seen(answer: Candidate) -> Any:
        out = called(answer)
        if not isinstance(out, Tensor) or out.shape != x.shape:
            return {"what came": shape_of(out)}
        return {
            "kept in each row": torch.isfinite(out).sum(-1),
            "as they were": as_they_were(out, x),
        }

    called = call(label, x, *options, oracle=oracle).run
    return Case(label, seen, lambda: seen(oracle), (x, *options))


def from_the_kth(x: Tensor, k: int) -> Tensor:
    """A right one."""
    last = x.topk(min(k, x.shape[-1])).values[..., -1:]
    return x.masked_fill(x < last, -INF)


# mistakes of whatever puts tokens out: top-k, top-p and min-p
MASKED_OTHERWISE = """\
## in place
- x.masked_fill → x.masked_fill_
You write -inf into the caller's logits. Make a new tensor: `masked_fill` without the underscore, or
`torch.where`.
## a large negative number for -inf
- -INF → -1e9
What is out gets a large negative number from you. It must be -inf.
"""


TOP_K = Exercise(
    name="top_k",
    lesson=LESSON,
    library=top_k,
    minutes=5,
    difficulty=1,
    part=True,
    cases=(
        call("four tokens 0.1, 0.4, 0.2, 0.3, k = 2", VOTES, 2, oracle=k_best),
        call("logits (2, 3, 7), k = 3", BATCH, 3, oracle=k_best),
        call("k = 1", BATCH, 1, oracle=k_best),
        call("as many as there are", BATCH, 7, oracle=k_best),
        call("more than there are", BATCH, 50, oracle=k_best),
        call("all logits below 0, k = 2", BELOW_ZERO, 2, oracle=k_best),
        call("some tokens are out already, k = 2", SOME_OUT, 2, oracle=k_best),
        number_kept(
            "a tie with the last, k = 2",
            torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0]]),
            2,
            oracle=k_best,
        ),
        call("logits (4, 4), k = 2", SQUARE, 2, oracle=k_best),
        leaves_its_input("the caller's logits stay as they are", BATCH, 3, oracle=k_best),
    ),
    mistakes=edits(
        from_the_kth,
        """
## the k smallest
- x.topk(min(k, x.shape[-1])) → x.topk(min(k, x.shape[-1]), largest=False)
- x < last → x > last
You keep the k smallest logits. The largest are the likely ones: sort in descending order, or use
topk.
## 0 instead of -inf
- -INF → 0.0
You set what is out to 0. A logit of 0 is no small one, e⁰ = 1, and here it is even larger than
those that you keep when they are negative. What is out must be -inf.
## the k values alone
- x.masked_fill(x < last, -INF) → x.topk(min(k, x.shape[-1])).values
You return the k best values, (…, k). Every token must keep its place: return (…, V), with -inf
where a token is out.
## the k values alone, and k > V fails
- min(k, x.shape[-1]) → k
- x.masked_fill(x < last, -INF) → x.topk(k).values
Two things. You return the k best values, (…, k): every token must keep its place, so return (…,
V), with -inf where a token is out. And topk fails if k is more than V: min(k, V).
## keepdim forgotten
- [..., -1:] → [..., -1]
The k-th logits have shape (…), an axis less than the logits: they don't broadcast, or they do along the
wrong axis. `[..., -1:]` keeps the axis.
## sorted in ascending order
- x.topk(min(k, x.shape[-1])).values[..., -1:]
+ x.sort(-1).values[..., min(k, x.shape[-1]) - 1, None]
You sort in ascending order, so your threshold is the k-th *smallest* logit. descending=True, or topk.
## over the whole batch, and at most V
- x.topk(min(k, x.shape[-1])).values[..., -1:] → x.flatten().topk(min(k, x.shape[-1])).values[-1]
You take the k best of the whole tensor. Each row has its own k best: work along the last axis.
## the first of the k best
- [..., -1:] → [..., :1]
You compare with the first of the k best, and only the best token is left. topk gives them in
descending order: the k-th is the last, [..., -1:].
## the ids of the k best
- x.masked_fill(x < last, -INF) → x.topk(min(k, x.shape[-1])).indices
You return the ids of the k best, (…, k). A sampler gives logits: (…, V), with -inf where a token is
out.
## the ids of the k best, and k > V fails
- min(k, x.shape[-1]) → k
- x.masked_fill(x < last, -INF) → x.topk(k).indices
Two things. You return the ids of the k best: a sampler gives logits, (…, V), with -inf where a token
is out. And topk fails if k is more than V: min(k, V).
## the first of the vocabulary
- x.masked_fill(x < last, -INF)
+ torch.cat((x[..., :k], torch.full_like(x[..., k:], -INF)), -1)
You keep the first k tokens of the vocabulary. The best are meant: those with the largest logits.
## the largest magnitudes
- last = x.topk
+ last = x.abs().topk
- x < last → x.abs() < last
You go by the absolute value. A logit far below 0 is an unlikely token: compare the logits as they
are.
## k limited by the rows
- min(k, x.shape[-1]) → min(k, len(x))
You limit k by the length of the first axis. That is V for a single row alone; of a batch it is the
number of rows: V is logits.shape[-1].
## the lowest threshold for all rows
- [..., -1:] → [..., -1:].min()
You compare all rows with one number, the lowest of their k-th logits. Each row has a threshold of its
own: [..., -1:] keeps the axis.
## the first row's threshold for all
- [..., -1:] → [..., -1].flatten()[0]
You compare all rows with the k-th logit of the first. Each row has a threshold of its own: [..., -1:]
keeps the axis.
## the highest threshold for all rows
- [..., -1:] → [..., -1:].max()
You compare all rows with one number, the highest of their k-th logits. Each row has a threshold of
its own: [..., -1:] keeps the axis.
"""
        + MASKED_OTHERWISE
        + """\
## logarithms of probabilities
- x.masked_fill(x < last, -INF) → x.log_softmax(-1).masked_fill(x < last, -INF)
The right tokens are kept, but not with their logits: you return logarithms of probabilities. What is
kept keeps its logit.
## in sorted order
- last = x.topk
+ x = x.sort(dim=-1, descending=True).values
+ last = x.topk
The right values, but in sorted order: the first is no longer the logit of token 0. Use the sorted
row only to find the threshold, and mask the logits where they stand.
## over the whole batch
- x.topk(min(k, x.shape[-1])).values[..., -1:] → x.flatten().topk(min(k, x.numel())).values[-1]
You take the k best of the whole tensor. Each row has its own k best: work along the last axis.
## the k-th is dropped
- x < last → x <= last
You drop the k-th as well, and for k = 1 nothing is left. Out is what is less than the k-th, not
what is equal to it.
## the k-th is dropped, and k > V fails
- min(k, x.shape[-1]) → k
- x < last → x <= last
Two things. You drop the k-th as well: out is what is less than it, not what is equal. And topk
fails if k is more than V: min(k, V).
## one too many
- min(k, → min(k + 1,
You keep k + 1 tokens. In a sorted row the k-th best stands at place k - 1.
## one too many, and k = V fails
- x.topk(min(k, x.shape[-1])) → x.topk(k + 1)
Two things. You keep k + 1 tokens: the k-th best stands at place k - 1. And topk fails where that is
more than V: k may be V, or larger.
## ties broken
- return x.masked_fill(x < last, -INF)
+ kept = x.topk(min(k, x.shape[-1])).indices
+ return torch.full_like(x, -INF).scatter(-1, kept, x.gather(-1, kept))
Right but for a tie: tokens whose logit equals that of the k-th are kept too, since nothing says
which of them is better. Compare with the k-th value instead of scattering k of them.
## ties broken, and k > V fails
- return x.masked_fill(x < last, -INF)
+ return torch.full_like(x, -INF).scatter(-1, x.topk(k).indices, x.topk(k).values)
Two things. Tokens whose logit equals that of the k-th are kept too: compare with the k-th value
instead of scattering k of them. And topk fails if k is more than V: min(k, V).
## probabilities returned
- x.masked_fill(x < last, -INF) → x.masked_fill(x < last, -INF).softmax(-1)
You return probabilities. Samplers are chained, each takes logits and gives logits; what is kept
keeps its logit.
""",
    ),
    hints=(
        "You need one number for each row: the logit of its k-th best token. What is less than it is "
        "out.",
        "`logits.topk(k).values` is (…, k), in descending order: the k-th best is its last, and "
        "`[..., -1:]` keeps the axis. k may be larger than V: min(k, V).",
        "`logits.masked_fill(logits < last, -math.inf)`.",
    ),
)

# --- top_p ----------------------------------------------------------------------------------------


def nucleus(x: Tensor, p: float) -> Tensor:
    """In plain Python: the best tokens one by one, until their probabilities sum to p."""

    def rule(row: list[float]) -> list[float]:
        chances, total, kept = shares(row), 0.0, set()
        for token in sorted(range(len(row)), key=lambda i: -row[i]):
            if total >= p and p < 1.0:
                break
            kept.add(token)
            total += chances[token]
        return [v if i in kept else -INF for i, v in enumerate(row)]

    return by_rows(x, rule)


def through_the_sorted_row(x: Tensor, p: float) -> Tensor:
    """A right one."""
    ordered, order = x.sort(dim=-1, descending=True)
    m = ordered.softmax(-1)
    out = m.cumsum(-1) - m >= p
    if p == 1:
        return x.clone()
    return x.masked_fill(out.scatter(-1, order, out), -INF)


def left_at_one(label: str, x: Tensor) -> Case:
    """Whether p = 1 keeps every token; what rounding drops depends on how one sums."""

    def seen(answer: Candidate) -> Any:
        out = called(answer)
        if not isinstance(out, Tensor) or out.shape != x.shape:
            return {"what came": shape_of(out)}
        kept = bool(torch.isfinite(out).all())
        return {"every token kept": kept, "as they were": as_they_were(out, x)}

    called = call(label, x, 1.0, oracle=nucleus).run
    return Case(label, seen, lambda: seen(nucleus), (x, 1.0))


# sums of halves are exact, and the rounding of these logarithms leaves 0.75 or a trace more
HALVES = torch.tensor([0.25, 1.0, 0.125, 0.5, 0.125], dtype=torch.double).log().float()
# four quarters are exactly 1, so that every sum is 1 long before the last token
LONG_TAIL = torch.cat((torch.zeros(4), torch.linspace(-30.0, -60.0, 200)))

TOP_P = Exercise(
    name="top_p",
    lesson=LESSON,
    library=top_p,
    minutes=10,
    difficulty=3,
    part=True,
    cases=(
        call("four tokens 0.1, 0.4, 0.2, 0.3, p = 0.65", VOTES, 0.65, oracle=nucleus),
        call("four tokens 0.1, 0.4, 0.2, 0.3, p = 0.35", VOTES, 0.35, oracle=nucleus),
        call("four tokens 0.1, 0.4, 0.2, 0.3, p = 0.75", VOTES, 0.75, oracle=nucleus),
        call("logits (2, 3, 7), p = 0.8", BATCH, 0.8, oracle=nucleus),
        call("logits (2, 3, 7), p = 0.01: one token each", BATCH, 0.01, oracle=nucleus),
        call("all logits below 0, p = 0.5", BELOW_ZERO, 0.5, oracle=nucleus),
        call("logits around 1,000, p = 0.9", 1000.0 + BATCH, 0.9, oracle=nucleus),
        call("some tokens are out already, p = 0.7", SOME_OUT, 0.7, oracle=nucleus),
        call(
            "0.125, 0.5, 0.0625, 0.25, 0.0625, p = 0.75: exactly the two best",
            HALVES,
            0.75,
            oracle=nucleus,
        ),
        left_at_one("p = 1, and a tail of tiny probabilities", LONG_TAIL),
        leaves_its_input("the caller's logits stay as they are", BATCH, 0.8, oracle=nucleus),
    ),
    mistakes=edits(
        through_the_sorted_row,
        """
## the crossing token dropped
- m.cumsum(-1) - m >= p → m.cumsum(-1) > p
You drop the token that crosses p: what you keep has less than p. And where one token alone has
more than p, nothing is left. Ask of each token how much stood *before* it: cumsum minus its own
probability.
## the crossing token dropped, but for the best
- out = m.cumsum(-1) - m >= p
+ out = m.cumsum(-1) > p
+ out[..., 0] = False
You drop the token that crosses p, unless it is the best. What is kept must have at least p, so the
crossing one belongs to it. Ask of each token how much stood *before* it: cumsum minus its own
probability.
## the crossing token dropped, at exactly p too
- m.cumsum(-1) - m >= p → m.cumsum(-1) >= p
You drop the token with which the sum reaches p: what you keep has less than p. Ask of each token how
much stood *before* it: cumsum minus its own probability.
## the crossing token dropped, at exactly p too, but for the best
- out = m.cumsum(-1) - m >= p
+ out = m.cumsum(-1) >= p
+ out[..., 0] = False
You drop the token with which the sum reaches p, unless it is the best: what you keep has less than p.
Ask of each token how much stood *before* it: cumsum minus its own probability.
## the crossing token dropped, at exactly p too, but for the best, and the tail at p = 1
- if p == 1: → if p > 1:
- out = m.cumsum(-1) - m >= p
+ out = m.cumsum(-1) >= p
+ out[..., 0] = False
Two things. You drop the token with which the sum reaches p, unless it is the best: ask of each token
how much stood *before* it, cumsum minus its own probability. And p = 1 keeps all: leave the logits
alone there.
## the crossing token dropped, and the tail at p = 1
- m.cumsum(-1) - m >= p → m.cumsum(-1) >= p
- if p == 1: → if p > 1:
Two things. You drop the token with which the sum reaches p: ask of each token how much stood *before*
it, cumsum minus its own probability. And p = 1 keeps all: leave the logits alone there.
## one after the crossing one
- out = m.cumsum(-1) - m >= p
+ out = m.cumsum(-1) - m >= p
+ out = torch.cat((out[..., :1] & False, out[..., :-1]), -1)
You keep one token too many: the one that crosses p is the last that stays.
## softmax over the rows
- ordered.softmax(-1) → ordered.softmax(0)
Your softmax runs over the first axis. Each row is a forecast, and sums to 1 along the tokens:
softmax(-1).
## summed over the rows
- m.cumsum(-1) → m.cumsum(0)
Your cumulative sum runs over the first axis. Each row is summed by itself, along the tokens:
cumsum(-1).
## 1 - p
- >= p → >= 1 - p
You cut off a tail that has p, and keep 1 - p. It is the kept tokens that must have p together: in
descending order a token is out if those before it have p already.
"""
        + MASKED_OTHERWISE
        + """\
## logarithms of probabilities
- x.masked_fill → x.log_softmax(-1).masked_fill
The right tokens are kept, but not with their logits: you return logarithms of probabilities. What is
kept keeps its logit.
## the probabilities masked
- x.masked_fill → x.softmax(-1).masked_fill
The right tokens are out, but you mask the probabilities and return those. What is kept keeps its
logit: mask the logits.
## the mask never unsorted
- out.scatter(-1, order, out) → out
Your mask is in the order of the sorted row, but you put it on the unsorted one: the wrong tokens
are out. Bring it back: mask.scatter(-1, order, mask) puts each entry at its token's place.
## the mask never unsorted, and the tail dropped at p = 1
- out.scatter(-1, order, out) → out
- if p == 1: → if p > 1:
Two things. Your mask is in the order of the sorted row, but you put it on the unsorted one:
out.scatter(-1, order, out) brings it back. And at p = 1 rounded sums reach 1 too early: leave the
logits alone there.
## gathered, not scattered
- out.scatter(-1, order, out) → out.gather(-1, order)
You bring the mask back with gather. That reads at `order`, and so sorts once more;
`out.scatter(-1, order, out)` writes each entry at the place that it came from.
## gathered, not scattered, and the tail dropped at p = 1
- out.scatter(-1, order, out) → out.gather(-1, order)
- if p == 1: → if p > 1:
Two things. gather reads at `order`, and so sorts the mask once more; `out.scatter(-1, order, out)`
writes each entry at the place that it came from. And at p = 1 rounded sums reach 1 too early:
leave the logits alone there.
## in sorted order
- return x.clone() → return ordered
- x.masked_fill(out.scatter(-1, order, out), -INF) → ordered.masked_fill(out, -INF)
You return the sorted logits: the first is no longer the logit of token 0. Bring the mask back to
the order of the vocabulary, and apply it to the logits as they came.
## in sorted order, and the tail dropped at p = 1
- if p == 1: → if p > 1:
- x.masked_fill(out.scatter(-1, order, out), -INF) → ordered.masked_fill(out, -INF)
Two things. You return the sorted logits: bring the mask back to the order of the vocabulary, and
apply it to the logits as they came. And at p = 1 rounded sums reach 1 too early: leave the logits
alone there.
## more than p
- >= p → > p
Right but on the boundary: where the tokens before already have exactly p, they are enough, and
this one is out. Out is before >= p, not before > p.
## not sorted at all
- x.sort(dim=-1, descending=True) → x, torch.arange(x.shape[-1]).expand(x.shape)
You sum in the order of the vocabulary. The nucleus is made of the best tokens: sort by probability
first.
## ascending order
- descending=True → descending=False
You sort in ascending order, so you keep the worst tokens. descending=True.
## unsorted probabilities summed
- ordered.softmax(-1) → x.softmax(-1)
You sum the probabilities in the order of the vocabulary, but take the sums for those of the sorted row:
softmax of `ordered`.
## a sum of logits
- ordered.softmax(-1) → ordered
You sum up the logits. p is a probability: softmax first.
## the tail kept
- >= p → < p
You keep the tail, and remove the nucleus: the condition is upside down.
## 0 instead of -inf
- -INF → 0.0
You set what is out to 0. A logit of 0 is no small one, e⁰ = 1: what is out must be -inf.
## the tail dropped at p = 1
- if p == 1: → if p > 1:
Right but at p = 1, where every token must stay. Rounded sums reach 1 before the last token, and
the rest goes out. Leave the logits alone when p is 1.
## every probability against p
- out.scatter(-1, order, out) → x.softmax(-1) < p
You compare each token's own probability with p. It is the sum of the best that must reach p: sort,
and take a cumulative sum.
## one distribution for the whole batch
- x.sort(dim=-1, descending=True) → x.flatten().sort(descending=True)
- out.scatter(-1, order, out) → out.scatter(-1, order, out).view(x.shape)
You take the softmax over all rows together. Each row is a forecast of its own, and sums to 1 by
itself: softmax(-1).
## probabilities returned
- return x.clone() → return x.softmax(-1)
- , -INF) → , -INF).softmax(-1)
You return probabilities. Samplers are chained, each takes logits and gives logits; what is kept
keeps its logit.
""",
    ),
    hints=(
        "Four steps: sort in descending order, softmax, cumulative sum, and the mask brought back to "
        "the order of the vocabulary. Do them on paper for 0.1, 0.4, 0.2, 0.3 and p = 0.65.",
        "A token is out if those *before* it already have p: `before = probabilities.cumsum(-1) - "
        "probabilities`, and out is `before >= p`. p is above 0, so the best, with 0 before it, always stays.",
        "`ordered, order = logits.sort(descending=True)`; with `out` in sorted order, "
        "`out.scatter(-1, order, out)` has every entry at the place of its token.",
        "Rounded sums may reach 1 too early: if p is 1, return the logits as they are. In the end "
        "`logits.masked_fill(mask, -math.inf)`.",
    ),
)

# --- min_p ----------------------------------------------------------------------------------------


def near_the_best(x: Tensor, p: float) -> Tensor:
    """In plain Python: every token at least p times as probable as the best of its row."""

    def rule(row: list[float]) -> list[float]:
        chances = shares(row)
        return [v if c >= p * max(chances) else -INF for v, c in zip(row, chances, strict=True)]

    return by_rows(x, rule)


def against_the_best(x: Tensor, p: float) -> Tensor:
    """A right one."""
    m = x.softmax(-1)
    return x.masked_fill(m < p * m.amax(-1, keepdim=True), -INF)


MIN_P = Exercise(
    name="min_p",
    lesson=LESSON,
    library=min_p,
    minutes=3,
    difficulty=1,
    part=True,
    cases=(
        call("four tokens 0.1, 0.4, 0.2, 0.3, p = 0.6", VOTES, 0.6, oracle=near_the_best),
        call("four tokens 0.1, 0.4, 0.2, 0.3, p = 0.3", VOTES, 0.3, oracle=near_the_best),
        call("logits (2, 3, 7), p = 0.1", BATCH, 0.1, oracle=near_the_best),
        call("p = 0 keeps all", BATCH, 0.0, oracle=near_the_best),
        call("p = 1 keeps the best", BATCH, 1.0, oracle=near_the_best),
        call("all logits below 0, p = 0.2", BELOW_ZERO, 0.2, oracle=near_the_best),
        call("logits around 1,000, p = 0.3", 1000.0 + BATCH, 0.3, oracle=near_the_best),
        call("some tokens are out already, p = 0.2", SOME_OUT, 0.2, oracle=near_the_best),
        call("logits (4, 4), p = 0.5", SQUARE, 0.5, oracle=near_the_best),
        call(
            "a flat row and a sharp one, p = 0.5",
            torch.tensor([[0.3, 0.0, 0.1, 0.2, -0.9], [9.0, 0.0, 1.0, 8.9, 8.0]]),
            0.5,
            oracle=near_the_best,
        ),
        leaves_its_input("the caller's logits stay as they are", BATCH, 0.1, oracle=near_the_best),
    ),
    mistakes=edits(
        against_the_best,
        """
## an absolute threshold
- m < p * m.amax(-1, keepdim=True) → m < p
You compare each probability with p itself. Min-p is relative: the threshold is p times the
probability of the best token, so it falls where the model is unsure.
## relative to the logit
- m < p * m.amax(-1, keepdim=True) → x < p * x.amax(-1, keepdim=True)
You compare logits with p times the best logit. That means nothing: add 100 to all logits and the
forecast is the same, but your threshold is not. Compare probabilities.
## the likely ones out
- m < p → m >= p
You remove the tokens that are likely enough, and keep the others: the comparison is the wrong way
round.
## the likely ones out, but for the threshold
- m < p → m > p
You remove the tokens that are likely enough, and keep the others: the comparison is the wrong way
round.
## the best of the whole batch
- m.amax(-1, keepdim=True) → m.max()
You take the largest probability of the whole tensor. Each row has its own best: amax(-1,
keepdim=True).
## the best is out at p = 1
- m < p → m <= p
What is exactly p times as probable as the best stays. With ≤ instead of < even the best itself
goes out at p = 1.
## a distance between logits
- m < p * m.amax(-1, keepdim=True) → x < x.amax(-1, keepdim=True) - p
You keep what is at most p below the best *logit*. Probabilities are compared, and by their ratio: at
least p times that of the best.
## the mean instead of the best
- m.amax(-1, keepdim=True) → m.mean(-1, keepdim=True)
You compare with the mean of the probabilities. The threshold is p times the largest one.
## softmax over the rows
- x.softmax(-1) → x.softmax(0)
Your softmax runs over the first axis. Each row is a forecast, and sums to 1 along the tokens:
softmax(-1).
## the best of each column
- m.amax(-1, keepdim=True) → m.amax(0, keepdim=True)
You look for the largest probability along the first axis. Each row has its own best, along the
tokens: amax(-1, keepdim=True).
"""
        + MASKED_OTHERWISE
        + """\
## logarithms of probabilities
- x.masked_fill → x.log_softmax(-1).masked_fill
The right tokens are kept, but not with their logits: you return logarithms of probabilities. What is
kept keeps its logit.
## 0 instead of -inf
- -INF → 0.0
You set what is out to 0. A logit of 0 is no small one, e⁰ = 1: what is out must be -inf.
## a distance to the best
- p * m.amax(-1, keepdim=True) → m.amax(-1, keepdim=True) - p
You keep what is at most p *below* the best. It is a ratio: at least p *times* the probability of
the best.
## 1 - p
- m < p → m < (1 - p)
You compare with (1 - p) times the best. A small p is to keep much: at least p times as probable as
the best.
## probabilities returned
- , -INF) → , -INF).softmax(-1)
You return probabilities. Samplers are chained, each takes logits and gives logits; what is kept
keeps its logit.
## the probabilities masked
- x.masked_fill → m.masked_fill
The right tokens are out, but you mask the probabilities and return those. Compare probabilities,
and mask the logits: logits.masked_fill(…).
## keepdim forgotten
- m.amax(-1, keepdim=True) → m.amax(-1)
The largest probabilities have shape (…), an axis less than the logits: they don't broadcast, or
they do along the wrong axis. amax(-1, keepdim=True) has (…, 1).
""",
    ),
    hints=(
        "Softmax first. Then each row has its own threshold: p times its largest probability.",
        "`probabilities.amax(-1, keepdim=True)` is (…, 1), so that it broadcasts against (…, V).",
        "`logits.masked_fill(probabilities < p * largest, -math.inf)`.",
    ),
)

# --- sample ---------------------------------------------------------------------------------------

CALLS, EACH = 20, 200  # so many calls, with so many draws each
UNLIKELY = 1e-6  # a right sampler is called wrong once in a million cases


def p_value(drawn: Tensor, probabilities: Tensor) -> float:
    """How probable it is that right draws would fit no better than these: a chi-square test."""
    expected = probabilities.double() * drawn.numel()
    if drawn.min() < 0 or drawn.max() >= len(probabilities):
        return 0.0
    observed = torch.bincount(drawn, minlength=len(probabilities))
    if observed[expected == 0].sum() > 0:
        return 0.0
    inside = expected > 0
    if inside.sum() < 2:
        return 1.0
    statistic = ((observed - expected).square() / expected)[inside].sum()
    degrees = (inside.sum() - 1).double()
    return float(torch.special.gammaincc(degrees / 2, statistic / 2))


def fits(drawn: Tensor, probabilities: Tensor) -> bool:
    return p_value(drawn, probabilities) > UNLIKELY


def exact(row: Tensor) -> Tensor:
    """The probabilities of softmax, in plain Python."""
    return torch.tensor(shares(row.tolist()))


def alternatives(row: Tensor) -> dict[str, Tensor]:
    """What wrong samplers draw from."""
    inside = torch.isfinite(row).double()
    finite = torch.where(torch.isfinite(row), row, 0.0).clamp(min=0.0).double()
    return {
        "all tokens that are left equally often": inside / inside.sum(),
        "in proportion to the logits": finite / finite.sum(),
        "in proportion to a softmax of a softmax": torch.softmax(exact(row), -1).double(),
        "in proportion to softmax(-logits)": exact(torch.where(torch.isfinite(row), -row, row)),
    }


def flags_of(drawn: Tensor, row: Tensor) -> dict[str, Any]:
    """What is seen of the draws of one token, (calls, draws)."""
    if drawn.is_floating_point() or drawn.dtype == torch.bool:
        return {"token ids are whole numbers": False}
    ids = drawn.flatten().cpu()
    seen = {
        "token ids are whole numbers": True,
        "drawn with the probabilities of softmax": fits(ids, exact(row)),
        "always the best": bool((ids == int(row.argmax())).all()),
        "all rows of a call alike": bool((drawn == drawn[:, :1]).all()),
    }
    return seen | {name: fits(ids, other) for name, other in alternatives(row).items()}


RIGHT_FLAGS = {
    "token ids are whole numbers": True,
    "drawn with the probabilities of softmax": True,
    "always the best": False,
    "all rows of a call alike": False,
    "all tokens that are left equally often": False,
    "in proportion to the logits": False,
    "in proportion to a softmax of a softmax": False,
    "in proportion to softmax(-logits)": False,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shape_of(drawn: Any) -> Any:
    """Zeros of the same shape: where shapes differ, `check` names both."""
    return torch.zeros(drawn.shape) if isinstance(drawn, Tensor) else drawn


def lent(answer: Candidate, logits: Tensor, *generator: torch.Generator) -> Any:
    """A call that must leave the logits as they are."""
    return call("", logits, oracle=shape_of).run(lambda x: answer(x, *generator))


def drawn_in_calls(answer: Candidate, logits: Tensor, generator: bool = True) -> Any:
    """`CALLS` calls with logits (EACH, …): (CALLS, EACH, …), or what came of the wrong shape."""
    rows = logits.expand(EACH, *logits.shape).contiguous()
    calls = [lent(answer, rows, *([seeded(i)] if generator else [])) for i in range(CALLS)]
    for drawn in calls:
        if not isinstance(drawn, Tensor) or drawn.shape != rows.shape[:-1]:
            return {"token ids": shape_of(drawn)}
    return torch.stack(calls)


def all_alike(drawn: Tensor, best: Tensor) -> dict[str, Any]:
    """Whether all calls gave the same; if so nothing else is asked, since it depends on the seed."""
    if bool((drawn == drawn[:1]).all()):
        return {"all calls alike": True, "always the best": bool((drawn == best).all())}
    return {"all calls alike": False}


def many_draws(label: str, row: Tensor, generator: bool = True) -> Case:
    def run(answer: Candidate) -> Any:
        drawn = drawn_in_calls(answer, row, generator)
        if not isinstance(drawn, Tensor):
            return drawn
        seen = {"token ids": shape_of(drawn[0])} | all_alike(drawn, row.argmax())
        return seen if seen["all calls alike"] else seen | flags_of(drawn, row)

    expected = {"token ids": torch.zeros(EACH), "all calls alike": False} | RIGHT_FLAGS
    return Case(label, run, lambda: expected, (row.expand(EACH, -1),))


def rows_of_their_own(label: str, rows: Tensor) -> Case:
    """Different forecasts in one tensor: each row must fit its own."""

    def run(answer: Candidate) -> Any:
        drawn = drawn_in_calls(answer, rows)
        if not isinstance(drawn, Tensor):
            return drawn
        seen = {"token ids": shape_of(drawn[0])} | all_alike(drawn, rows.argmax(-1))
        if seen["all calls alike"]:
            return seen
        return seen | {f"row {i}": flags_of(drawn[:, :, i], row) for i, row in enumerate(rows)}

    expected: dict[str, Any] = {"token ids": torch.zeros(EACH, len(rows)), "all calls alike": False}
    expected |= {f"row {i}": RIGHT_FLAGS for i in range(len(rows))}
    return Case(label, run, lambda: expected, (rows.expand(EACH, *rows.shape),))


def shape_alone(*size: int) -> Case:
    """The shape of what comes, and whether it is ids: an axis less than the logits."""
    logits = torch.zeros(*size)

    def run(answer: Candidate) -> Any:
        drawn = lent(answer, logits, seeded())
        integers = isinstance(drawn, Tensor) and not drawn.is_floating_point()
        inside = integers and bool(((drawn >= 0) & (drawn < size[-1])).all())
        return {"token ids": shape_of(drawn), "ids inside the vocabulary": inside}

    expected = {"token ids": torch.zeros(size[:-1]), "ids inside the vocabulary": True}
    return Case(f"logits {size}", run, lambda: expected, (logits,))


@beside
def one_seed_and_another(answer: Candidate) -> Any:
    logits = torch.zeros(50, 20)

    def drawn(generator: torch.Generator) -> list[int]:
        got = answer(logits.clone(), generator)
        return got.flatten().tolist() if isinstance(got, Tensor) else [got]

    before = torch.get_rng_state()
    first = drawn(seeded(5))
    untouched = torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)  # the global one, which must not matter
    one = seeded(5)
    again, next_one = drawn(one), drawn(one)
    return {
        "the same seed, the same draws": first == again,
        "another seed, other draws": drawn(seeded(6)) != first,
        "the next call, other draws": again != next_one,
        "the global generator left alone": untouched,
        "ids inside the vocabulary": all(0 <= x < 20 for x in first),
    }


def by_the_generator(label: str) -> Case:
    """A seed means the same draws; two calls don't; and the global generator stands still."""

    names = (
        "the same seed, the same draws",
        "another seed, other draws",
        "the next call, other draws",
        "the global generator left alone",
        "ids inside the vocabulary",
    )
    return Case(label, one_seed_and_another, lambda: dict.fromkeys(names, True))


@beside
def global_seeds(answer: Candidate) -> Any:
    logits = torch.zeros(50, 20)

    def drawn(seed: int) -> list[int]:
        torch.manual_seed(seed)
        got = answer(logits.clone())
        return got.flatten().tolist() if isinstance(got, Tensor) else [got]

    before = torch.get_rng_state()
    first = drawn(5)
    seen = {
        "the same global seed, the same draws": drawn(5) == first,
        "another global seed, other draws": drawn(6) != first,
        "ids inside the vocabulary": all(0 <= x < 20 for x in first),
    }
    torch.set_rng_state(before)
    return seen


def by_the_global_generator(label: str) -> Case:
    """Without a generator, `torch.manual_seed` decides what is drawn."""
    names = (
        "the same global seed, the same draws",
        "another global seed, other draws",
        "ids inside the vocabulary",
    )
    return Case(label, global_seeds, lambda: dict.fromkeys(names, True))


def inside(drawn: Any, V: int) -> bool:
    """Whether these are token ids of a vocabulary of V."""
    return isinstance(drawn, Tensor) and bool(((drawn >= 0) & (drawn < V)).all())


def leaves_its_logits(label: str, rows: Tensor) -> Case:
    """What became of the logits that were lent."""
    logits = rows.repeat(EACH, 1, 1)

    def run(answer: Candidate) -> Any:
        lent = logits.clone()
        drawn = answer(lent, seeded())
        return {"the caller's logits": lent, "ids inside": inside(drawn, rows.shape[-1])}

    expected = {"the caller's logits": logits, "ids inside": True}
    return Case(label, run, lambda: expected, (logits,))


def in_32_bits(label: str) -> Case:
    """Logits of 16 bits and the same numbers in 32 bits: a seed means the same for both."""
    short = scores(4000, 20).bfloat16()

    def run(answer: Candidate) -> Any:
        drawn, as_float32 = (answer(x, seeded(3)) for x in (short.clone(), short.float()))
        same = isinstance(drawn, Tensor) and torch.equal(drawn, as_float32)
        return {"the draws of a float32 copy": same, "ids inside": inside(drawn, 20)}

    return Case(label, run, lambda: {"the draws of a float32 copy": True, "ids inside": True})


def by_rows_of_weights(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A right one."""
    weights = logits.float().softmax(-1)
    rows = weights.reshape(-1, weights.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1])


CHANCES = torch.tensor([2.0, 1.0, 0.2, 3.0, 0.5, 1.5])  # all positive
MIXED = torch.tensor([-1.0, 2.0, -2.0, 0.5, 1.0])
CUT = torch.tensor([-INF, 1.0, 2.5, -INF, 0.3, 1.5, -INF])
LARGER = torch.tensor([3001.0, 3000.0, 2998.0])  # 16 bits can't tell them apart
LARGE = torch.tensor([100.0, 98.0, 0.0])  # e^100 is too large for 32 bits
SPREAD_ROWS = torch.tensor([[0.5, 2.0, 1.0, 0.2], [3.0, 1.0, 2.0, 2.5], [0.3, 0.1, 2.0, 1.5]])

SAMPLE = Exercise(
    name="sample",
    lesson=LESSON,
    library=sample,
    minutes=7,
    difficulty=2,
    part=True,
    cases=(
        many_draws("logits (200, 6), called 20 times", CHANCES),
        many_draws("logits (200, 5), some below 0", MIXED),
        many_draws("logits (200, 7), three tokens are out", CUT),
        many_draws("logits (200, 6), without a generator", CHANCES, generator=False),
        rows_of_their_own("logits (200, 3, 4), three different forecasts", SPREAD_ROWS),
        many_draws("logits (200, 3) as large as 100", LARGE),
        many_draws("logits (200, 3) around 3,000", LARGER),
        shape_alone(7),
        shape_alone(1, 7),
        shape_alone(2, 3, 7),
        by_the_generator("what the seed means"),
        by_the_global_generator("without a generator, after torch.manual_seed"),
        in_32_bits("logits of 16 bits (bfloat16)"),
        leaves_its_logits("the caller's logits stay as they are", SPREAD_ROWS),
    ),
    mistakes=edits(
        by_rows_of_weights,
        """
## argmax
- torch.multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1]) → logits.argmax(-1)
You always take the best token: that is greedy. A token must come up as often as its probability
says.
## all equally often
- logits.float().softmax(-1) → torch.isfinite(logits).float()
You draw all tokens that are left equally often. A token must come up as often as its probability
says: draw from softmax(logits).
## softmax forgotten
- logits.float().softmax(-1) → logits.float()
You use the logits as weights: a logit twice as large is drawn twice as often. And a negative one
can't be a weight at all. Take the softmax first.
## negative logits cut off
- logits.float().softmax(-1) → logits.float().clamp(min=0.0)
You use the logits as weights, with 0 for the negative ones. The weights are softmax(logits).
## softmax twice
- logits.float().softmax(-1) → logits.float().softmax(-1).softmax(-1)
You take the softmax twice. The second one makes everything nearly equal, and gives tokens that are
out a share again.
## softmax over the wrong axis
- logits.float().softmax(-1) → logits.float().softmax(0)
Your softmax runs over the rows. Each row is a forecast, and sums to 1 along the tokens:
softmax(-1).
## the sign
- logits.float().softmax(-1)
+ torch.where(torch.isfinite(logits), -logits, logits).float().softmax(-1)
The most probable token comes up most rarely: there is a minus too many before the softmax.
## the generator ignored
- generator=generator → generator=None
You draw with the global generator: the same seed gives other draws each time. Hand the argument
on: generator=generator.
## one draw for all rows
- return torch.multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1])
+ below = weights.cumsum(-1) < torch.rand(1, generator=generator)
+ return below.sum(-1).clamp(max=logits.shape[-1] - 1)
All rows get the same draw. Each row needs a random number of its own.
## seeded again at each call
- weights = logits.float().softmax(-1)
+ weights = logits.float().softmax(-1)
+ if generator is not None:
+     generator.manual_seed(generator.initial_seed())
You set the generator back to its seed at each call, so every token of a text is drawn with the
same random number. Only use the generator; who made it seeds it.
## a fixed seed at each call
- weights = logits.float().softmax(-1)
+ weights = logits.float().softmax(-1)
+ if generator is not None:
+     generator.manual_seed(0)
You give the generator a fixed seed at each call, so every call draws the same. Only use the generator;
who made it seeds it.
## the global generator seeded
- weights = logits.float().softmax(-1)
+ weights = logits.float().softmax(-1)
+ if generator is not None:
+     torch.manual_seed(generator.initial_seed())
- generator=generator → generator=None
You seed the global generator. That changes the draws of everybody else, and repeats yours at each
call. Hand the generator on: generator=generator.
## multinomial leaves an axis of length 1
- multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1])
+ multinomial(weights, 1, generator=generator)
You return multinomial's result as it came, (rows, 1), and logits with three axes fail in it. Make
rows of any shape with reshape(-1, V), where V is logits.shape[-1], and in the end reshape to
logits.shape[:-1].
## rows never shaped back
- .reshape(logits.shape[:-1])
You flatten the axes in front, and return (rows, 1). Bring them back: reshape to logits.shape[:-1].
## squeezed
- .reshape(logits.shape[:-1]) → .squeeze()
You flatten the axes in front and then `squeeze()`, which takes out every axis of size 1: (1, V) loses
its row, and (2, 3, V) gives one axis of 6. Reshape to logits.shape[:-1].
## squeezed, and three axes fail
- multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1])
+ multinomial(weights, 1, generator=generator).squeeze()
`multinomial` takes one or two axes alone, and `squeeze()` takes out every axis of size 1, that of
(1, V) too. Make rows with reshape(-1, V), and in the end reshape to logits.shape[:-1].
## the first row's forecast for all
- torch.multinomial(rows, 1, → torch.multinomial(rows[:1].expand_as(rows), 1,
You draw all rows from the forecast of the first. Each row has its own.
## ids as floats
- .reshape(logits.shape[:-1]) → .reshape(logits.shape[:-1]).float()
Your ids are floating-point numbers, which no embedding takes: leave them as multinomial gives them.
## the first draw alone
- .reshape(logits.shape[:-1]) → [0, 0]
You return the draw of the first row alone. Every row has its own: reshape to logits.shape[:-1].
## ids count from 1
- .reshape(logits.shape[:-1]) → .reshape(logits.shape[:-1]) + 1
Your ids are one too large: the first token of the vocabulary has the id 0.
## softmax in 16 bits
- logits.float().softmax(-1) → logits.softmax(-1)
Right for logits of 32 bits, but where they have 16 you take the softmax in 16, which rounds the
probabilities. Make them float32 first.
## in place
- weights = logits
+ logits -= logits.amax(-1, keepdim=True)
+ weights = logits
You write into the caller's logits. Work on a new tensor.
## rows without their axes
- .reshape(logits.shape[:-1]) → .reshape(-1)
You flatten the axes in front, and return one axis of rows. Bring the others back: reshape to
logits.shape[:-1], which for logits (V,) means no axis at all.
## seeded where none is given
- generator=generator → generator=generator or torch.Generator().manual_seed(0)
Without a generator every call gives the same draws: you make one with a fixed seed. None means
PyTorch's global generator, and multinomial understands generator=None.
## a new generator where none is given
- weights = logits.float().softmax(-1)
+ weights = logits.float().softmax(-1)
+ if generator is None:
+     generator = torch.Generator()
+     generator.seed()
Without a generator you make a new one, so torch.manual_seed has no effect on your draws. None means
PyTorch's global generator, and multinomial understands generator=None.
## an axis too many
- .reshape(logits.shape[:-1]) → .reshape(*logits.shape[:-1], 1)
multinomial gives (…, 1): one column for one draw. The result has one axis less than the logits:
reshape to logits.shape[:-1].
## the probability of the draw
- torch.multinomial(rows, 1, generator=generator).reshape
+ rows.gather(-1, torch.multinomial(rows, 1, generator=generator)).reshape
You return the probability of the token that was drawn. Asked for is its id, a whole number.
""",
    ),
    hints=(
        "softmax(-1), then `torch.multinomial(weights, 1, generator=generator)`. It takes (V,) or "
        "(rows, V), so other shapes must become rows first.",
        "`weights.reshape(-1, weights.shape[-1])` makes rows of any shape; multinomial gives (rows, 1), and "
        "`.reshape(logits.shape[:-1])` brings the axes back.",
        "The generator lives on the CPU, so the weights must too: "
        '`logits.to("cpu", torch.float32).softmax(-1)`.',
    ),
)

# --- entropy --------------------------------------------------------------------------------------


def entropy(logits: Tensor) -> Tensor:
    """How unsure a forecast is: -Σ p ln p in nats, 0 for a certain one.

    Shapes: (..., V) → (...). What is -inf adds nothing.
    """
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def summed_surprise(x: Tensor) -> Tensor:
    """In plain Python."""
    rows = x.reshape(-1, x.shape[-1]).tolist()
    sums = [-sum(p * math.log(p) for p in shares(row) if p > 0) for row in rows]
    return torch.tensor(sums).reshape(x.shape[:-1])


def surprise_weighted(x: Tensor) -> Tensor:
    """A right one."""
    p = x.softmax(-1)
    return torch.special.entr(p).sum(-1)


ENTROPY = Exercise(
    name="entropy",
    lesson=LESSON,
    library=entropy,
    minutes=6,
    difficulty=2,
    kind="stretch",
    cases=(
        call("four tokens", VOTES, oracle=summed_surprise),
        call("logits (2, 3, 7)", BATCH, oracle=summed_surprise),
        call("eight equal logits: ln 8", torch.full((8,), -3.0), oracle=summed_surprise),
        call("some tokens are out", SOME_OUT, oracle=summed_surprise),
        call(
            "49,152 equal logits: ln 49,152",
            torch.full((49_152,), 2.0),
            oracle=lambda x: torch.tensor(math.log(len(x))),
        ),
        call("a certain forecast", torch.tensor([0.0, 300.0, -50.0]), oracle=summed_surprise),
    ),
    mistakes=edits(
        surprise_weighted,
        """
## 0 · ln 0
- torch.special.entr(p) → -(p * p.log())
Right but where a probability is 0: ln 0 is -inf, and 0 · -inf is NaN, though a token that never
comes adds nothing. `torch.special.entr` knows that.
## 0 · -inf
- torch.special.entr(p) → -(p * x.log_softmax(-1))
Right but where a token is out: its ln p is -inf, and 0 · -inf is NaN, though a token that never comes
adds nothing. `torch.special.entr` knows that.
## NaN set to 0
- torch.special.entr(p).sum(-1) → (-(p * p.log()).sum(-1)).nan_to_num(0.0)
Where a token is out the whole sum is NaN, and you make it 0. It is that one product, 0 · ln 0, which is
0, and the rest of the sum counts. `torch.special.entr` knows that.
## the logits for ln p
- torch.special.entr(p) → -(p * x)
You multiply p by the logit. It is ln p that belongs there, and a logit is that only up to a number
that differs from row to row.
## softmax forgotten
- x.softmax(-1) → x
You take the logits for probabilities: softmax first.
## softmax over the rows
- x.softmax(-1) → x.softmax(0)
Your softmax runs over the first axis. Each row is a forecast, and sums to 1 along the tokens:
softmax(-1).
## the mean over the tokens
- .sum(-1) → .mean(-1)
You take the mean over the vocabulary. Entropy is the sum of -p ln p: the p are the weights already.
## divided by ln V
- .sum(-1) → .sum(-1) / math.log(x.shape[-1])
You divide by ln V. Asked for is the entropy itself, in nats.
## the mean of all rows
- .sum(-1) → .sum(-1).mean()
You average over the rows. Each is a forecast with an entropy of its own: (…).
## base 10
- .sum(-1) → .sum(-1) / math.log(10.0)
You use the logarithm to base 10. Nats come from the natural one.
## an axis too many
- .sum(-1) → .sum(-1, keepdim=True)
The values are right, but they have an axis too many: (…, 1) in the place of (…). No keepdim.
## bits instead of nats
- .sum(-1) → .sum(-1) / math.log(2.0)
You use the logarithm to base 2: those are bits. Nats come from the natural one.
## the sign
- return torch → return -torch
A minus is missing: ln p is negative, entropy is not.
## e to the entropy
- .sum(-1) → .sum(-1).exp()
That is e to the entropy, the effective number of tokens. Asked for is the entropy.
## the surprise of the best
- torch.special.entr(p).sum(-1) → -p.amax(-1).log()
That is -ln p of the most probable token alone. Entropy is the mean of -ln p over all tokens, each
weighted by its p.
## one number for all
- .sum(-1) → .sum()
You sum over all axes. Each row is a forecast with an entropy of its own: sum(-1).
""",
    ),
    hints=(
        "Softmax, then -Σ p ln p along the last axis. What is 0 · ln 0 for a computer, and what "
        "should it be?",
        "`torch.special.entr(p)` is -p ln p, and 0 at 0.",
    ),
)

# --- gumbel_sample --------------------------------------------------------------------------------


def gumbel_sample(logits: Tensor, uniform: Tensor) -> Tensor:
    """A draw from softmax(logits) without any softmax: the best of logits plus Gumbel noise.

    Shapes: logits and uniform (..., V), uniform random numbers between 0 and 1 → (...).
    """
    return (logits - (-uniform.log()).log()).argmax(-1)


def noisy_best(x: Tensor, uniform: Tensor) -> Tensor:
    """In plain Python."""
    rows = x.reshape(-1, x.shape[-1]).tolist()
    noise = uniform.reshape(-1, x.shape[-1]).tolist()
    found = []
    for row, us in zip(rows, noise, strict=True):
        noisy = [v - math.log(-math.log(u)) for v, u in zip(row, us, strict=True)]
        found.append(noisy.index(max(noisy)))
    return torch.tensor(found).reshape(x.shape[:-1])


def uniforms(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=draws).clamp(1e-6, 1 - 1e-6)


GUMBEL_SAMPLE = Exercise(
    name="gumbel_sample",
    lesson=LESSON,
    library=gumbel_sample,
    minutes=5,
    difficulty=2,
    kind="stretch",
    cases=(
        call("logits (7,)", BATCH[0, 0], uniforms(7), oracle=noisy_best),
        call("logits (2, 3, 7)", BATCH, uniforms(2, 3, 7), oracle=noisy_best),
        call("300 rows", scores(300, 6, scale=1.0), uniforms(300, 6), oracle=noisy_best),
        call("some tokens are out", SOME_OUT, uniforms(2, 5), oracle=noisy_best),
    ),
    mistakes=edits(
        gumbel_sample,
        """
## the noise upside down
- logits - (-uniform → logits + (-uniform
You add ln(-ln u). Gumbel noise is -ln(-ln u): the minus matters, since the two tails differ.
## one logarithm
- (-uniform.log()).log() → uniform.log()
You add -ln u, which is exponential noise. Gumbel noise is -ln(-ln u), two logarithms.
## a minus forgotten
- (-uniform.log()).log() → uniform.log().log()
You take the logarithm of ln u, which is negative, and get NaN. Gumbel noise is -ln(-ln u), with two
minus signs.
## ln u
- logits - (-uniform.log()).log() → logits + uniform.log()
You add ln u, one logarithm. Gumbel noise is -ln(-ln u), two of them.
## one id for all
- .argmax(-1) → .argmax()
`argmax()` looks for the best of the whole tensor. Each row has its own draw: argmax(-1).
## the best of each column
- .argmax(-1) → .argmax(0)
You look for the best along the first axis. Each row has its own, along the tokens: argmax(-1).
## the worst
- .argmax(-1) → .argmin(-1)
You take the token with the smallest sum of logit and noise. It is the largest that is drawn.
## the value instead of the id
- .argmax(-1) → .amax(-1)
You return the largest sum. Asked for is the id of the token that has it: argmax.
## an axis too many
- .argmax(-1) → .argmax(-1, keepdim=True)
The ids are right, but they have an axis too many: (…, 1) in the place of (…). No keepdim.
## noise of its own
- (-uniform.log()).log() → (-torch.rand_like(uniform).log()).log()
You draw random numbers of your own. `uniform` has them: what is drawn depends on nothing else.
## 1 - u
- uniform.log() → (1 - uniform).log()
You turn 1 - u into noise. That is as random, but it is not the noise that was asked for: -ln(-ln u).
## uniform noise
- logits - (-uniform.log()).log() → logits + uniform
You add the uniform numbers themselves. They can't carry a token further than 1: turn them into
Gumbel noise, -ln(-ln u).
## the noise alone
- (logits - (-uniform.log()).log()) → uniform
You take the best of the noise alone: every token comes up equally often. Add it to the logits.
## added to probabilities
- logits - (-uniform → logits.softmax(-1) - (-uniform
You add the noise to probabilities. It belongs to the logits.
## no noise
- (logits - (-uniform.log()).log()) → logits
The best of the logits wins: that is greedy. Either you add no noise, or the same to all tokens of a
row, which changes nothing: each token has a u of its own.
""",
    ),
    hints=(
        "Gumbel noise is -ln(-ln u), for each token its own u. Add it to the logits.",
        "Then take the best: argmax(-1). No softmax, no cumulative sum.",
    ),
)

EXERCISES = (
    SAMPLE,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    MIN_P,
    ENTROPY,
    GUMBEL_SAMPLE,
)
