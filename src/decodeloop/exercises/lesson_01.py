"""Exercises of lesson 01: softmax, the causal mask, attention, and what it looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call
from decodeloop.model import attention, causal_mask, softmax

LESSON = "01_attention"
INF = math.inf
draws = torch.Generator().manual_seed(1)

# --- softmax --------------------------------------------------------------------------------------

SCORES = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [-2.0, 1.0, 0.0]])
MASKED = torch.tensor([[1.0, -INF, 2.0], [-INF, 0.0, -INF]])
NOTHING = torch.tensor([[0.0, 1.0], [-INF, -INF], [2.0, -INF]])
FAR_APART = torch.tensor([[0.0, 200.0, -300.0, 199.0], [-200.0, -210.0, 30.0, 29.0]])


def torch_softmax(x: Tensor, dim: int = -1) -> Tensor:
    return torch.softmax(x, dim).nan_to_num(0.0)  # all -inf: zeros, where PyTorch gives NaN


def by_a_finite_peak(x: Tensor, dim: int = -1) -> Tensor:
    """A right one."""
    lowest = torch.finfo(x.dtype).min
    peak = x.amax(dim, keepdim=True).clamp(min=lowest)
    e = (x - peak).exp()
    return e / e.sum(dim, keepdim=True).clamp(min=1.0)


SOFTMAX = Exercise(
    name="softmax",
    lesson=LESSON,
    library=softmax,
    minutes=15,
    difficulty=2,
    part=True,
    cases=(
        call("scores (3, 3)", SCORES, oracle=torch_softmax),
        call("scores (2, 4, 5)", torch.randn(2, 4, 5, generator=draws), oracle=torch_softmax),
        call("along axis 1", torch.randn(2, 4, 5, generator=draws), 1, oracle=torch_softmax),
        call("scores around 1,000", 1000.0 + 10 * SCORES, oracle=torch_softmax),
        call("scores around -1,000", -1000.0 + 10 * SCORES, oracle=torch_softmax),
        call(
            "one row high, one row low",
            torch.tensor([[-1.0, 1.0], [500.0, 501.0], [-500.0, -499.0]]),
            oracle=torch_softmax,
        ),
        call("masked scores", MASKED, oracle=torch_softmax),
        call("a row that is all -inf", NOTHING, oracle=torch_softmax),
        call(
            "along axis 0, and a column that is all -inf",
            NOTHING.T.clone(),
            0,
            oracle=torch_softmax,
        ),
        call("all scores below 0", -1.0 - SCORES.square(), oracle=torch_softmax),
        call("scores far apart", FAR_APART, oracle=torch_softmax),
        call("a single row", SCORES[0], oracle=torch_softmax),
    ),
    mistakes=edits(
        by_a_finite_peak,
        """
## overflow
- x - peak → x
- .clamp(min=1.0)
Right for small scores, but e^89 no longer fits into a 32-bit float: exp gives inf, and inf / inf
is NaN. Subtract each row's largest score first; it cancels out.
## always the last axis
- x.amax(dim, → x.amax(-1,
- e.sum(dim, → e.sum(-1,
You ignore the argument `dim`: the sum (and the largest score) must be taken along it.
## overflow, and always the last axis
- x - peak → x
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(-1, keepdim=True)
Two things. First, e^89 no longer fits into a 32-bit float: exp gives inf, and inf / inf is NaN;
subtract each row's largest score first. Second, work along `dim`, not always along the last axis.
## one peak, and always the last axis
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.max()
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(-1, keepdim=True)
Two things. Subtract each row's own largest score, not that of the whole tensor: in a row far below
it every exponential is 0, and 0 / 0 is NaN. And work along `dim`, not always along the last axis.
## overflow, and summed over everything
- x - peak → x
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum()
Two things. First, you divide by the sum over the whole tensor: each row must sum to 1 by itself,
so sum along `dim`, with keepdim=True. Second, e^89 overflows: subtract each row's largest score
before you take the exponential.
## summed over everything
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.max()
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum()
You divide by the sum over the whole tensor. Each row must sum to 1 by itself: sum along `dim`,
with keepdim=True.
## one total for everything
- .clamp(min=lowest)
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum()
You subtract each row's own peak, but divide by the sum over the whole tensor. Each row must sum to
1 by itself: sum along `dim`, with keepdim=True.
## one peak for everything
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.max()
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(dim, keepdim=True)
You subtract the largest score of the whole tensor. In a row that is far below it every exponential
is 0, and 0 / 0 is NaN. Subtract each row's own: amax(dim, keepdim=True).
## the sum without keepdim
- .clamp(min=lowest)
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(dim)
The sums have lost their axis, so they are divided by along the wrong one: (3, 3) / (3,) divides
columns. Keep the axis with keepdim=True.
## not normalised
- .clamp(min=lowest)
- return e / e.sum(dim, keepdim=True).clamp(min=1.0) → return e
Those are exponentials, but their rows don't sum to 1: divide by their sum along `dim`.
## NaN for a row of -inf
- .clamp(min=lowest)
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(dim, keepdim=True)
Right but for a row that is all -inf, where -inf - (-inf) is NaN, and so is 0 / 0. Who may attend
to nothing takes nothing: the weights should be zeros. Make the subtracted peak finite, and don't
divide by zero.
## overflow, and zeros where the sum is 0
- x - peak → x
- .clamp(min=1.0) → .clamp(min=1e-30)
Right for small scores, but e^89 no longer fits into a 32-bit float: exp gives inf, and inf / inf
is NaN. Scores far below 0 become all zeros. Subtract each row's largest score first; it cancels
out.
## overflow, and NaN made 0
- x - peak → x
- e / e.sum(dim, keepdim=True).clamp(min=1.0) → (e / e.sum(dim, keepdim=True)).nan_to_num(0.0)
Right for small scores, but e^89 no longer fits into a 32-bit float: exp gives inf, inf / inf is
NaN, and of that you make zeros. Subtract each row's largest score first; it cancels out.
## one peak for everything, and zeros where the sum is 0
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.max()
- .clamp(min=1.0) → .clamp(min=1e-30)
You subtract the largest score of the whole tensor. In a row that is far below it every exponential
is 0, and so are its shares. Subtract each row's own: amax(dim, keepdim=True).
## one peak for everything, and a sum of at least 1
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.max()
You subtract the largest score of the whole tensor. In the rows below it the exponentials sum to
less than 1, and your smallest total is 1. Subtract each row's own: amax(dim, keepdim=True).
## a peak of at least 0
- clamp(min=lowest) → clamp(min=0.0)
- .clamp(min=1.0) → .clamp(min=1e-30)
Your peak is never below 0. In a row far below 0 every exponential is then 0, and so are its
shares. Only a peak of -inf needs another value.
## a peak of at least 0, and NaN
- clamp(min=lowest) → clamp(min=0.0)
- .clamp(min=1.0)
Your peak is never below 0. In a row far below 0 every exponential is then 0, and 0 / 0 is NaN; so
it is in a row that is all -inf. Only a peak of -inf needs another value, and that row zeros.
## a peak of at least 0, and a sum of at least 1
- clamp(min=lowest) → clamp(min=0.0)
Your peak is never below 0. In a row below 0 the exponentials then sum to less than 1, and your
smallest total is 1. Only a peak of -inf needs another value.
## the mean subtracted
- amax(dim, keepdim=True).clamp(min=lowest) → mean(dim, keepdim=True)
- .clamp(min=1.0)
You subtract the mean of each row. Far above it exponentials still overflow, and with a -inf among
the scores the mean is -inf itself. Subtract the largest: then no exponential is more than 1.
## the smallest subtracted
- amax(dim, keepdim=True).clamp(min=lowest) → amin(dim, keepdim=True)
- .clamp(min=1.0)
You subtract the smallest score of each row: then the largest exponential is as large as can be.
Subtract the largest, so that no exponential is more than 1.
## the peak without keepdim
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.amax(dim)
- .clamp(min=1.0)
The peaks have lost their axis, so they are subtracted along the wrong one: (3, 3) - (3,) subtracts
from columns. Keep the axis with keepdim=True.
## keepdim nowhere, and NaN made 0
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.amax(dim)
- e / e.sum(dim, keepdim=True).clamp(min=1.0) → (e / e.sum(dim)).nan_to_num(0.0)
Peaks and sums have lost their axis, so they meet the wrong one: (3, 3) - (3,) subtracts from columns.
Keep the axis in both with keepdim=True.
## the sum along the last axis
- e.sum(dim, → e.sum(-1,
- .clamp(min=1.0) → .clamp(min=1e-30)
Your peak is taken along `dim`, but the sum always along the last axis. Both belong to `dim`.
## the peak along the last axis
- x.amax(dim, → x.amax(-1,
- .clamp(min=1.0) → .clamp(min=1e-30)
Your sum is taken along `dim`, but the peak always along the last axis. Both belong to `dim`.
## always the last axis, and NaN for a row of -inf
- x.amax(dim, keepdim=True).clamp(min=lowest) → x.amax(-1, keepdim=True)
- e.sum(dim, keepdim=True).clamp(min=1.0) → e.sum(-1, keepdim=True)
Two things. You ignore the argument `dim`: peak and sum must be taken along it. And in a row that
is all -inf, -inf - (-inf) is NaN: its weights should be zeros.
## empty rows looked for along the last axis
- return e / e.sum(dim, keepdim=True).clamp(min=1.0)
+ empty = (x == -INF).all(-1, keepdim=True)
+ return torch.softmax(x, dim).masked_fill(empty, 0.0)
Right along the last axis. Whether all scores are -inf must be asked along `dim` too: along another
axis you give NaN there.
## ones for a row of -inf
- return e / e.sum(dim, keepdim=True).clamp(min=1.0)
+ return torch.softmax(x, dim).nan_to_num(1.0)
Right but for a row that is all -inf: you give each key a weight of 1. Nothing may be attended to
there: the weights should be zeros.
## the mean subtracted, and NaN made 0
- amax(dim, keepdim=True).clamp(min=lowest) → mean(dim, keepdim=True)
- e / e.sum(dim, keepdim=True).clamp(min=1.0) → (e / e.sum(dim, keepdim=True)).nan_to_num(0.0)
You subtract the mean of each row. Far above it exponentials still overflow, and with a -inf among
the scores the mean is -inf itself. Subtract the largest: then no exponential is more than 1.
## divided by the peak
- x - peak → x / peak
- .clamp(min=1.0)
You divide by the largest score. That changes the differences between scores, on which the shares
depend: subtract it.
## divided by the peak, and NaN made 0
- x - peak → x / peak
- e / e.sum(dim, keepdim=True).clamp(min=1.0) → (e / e.sum(dim, keepdim=True)).nan_to_num(0.0)
You divide by the largest score. That changes the differences between scores, on which the shares
depend: subtract it.
## zeros everywhere for a row of -inf
- return e / e.sum(dim, keepdim=True).clamp(min=1.0)
+ empty = bool((x == -INF).all(dim).any())
+ return torch.zeros_like(x) if empty else torch.softmax(x, dim)
Where one row is all -inf you give zeros to every row. The others share their weight as always.
## zeros for any -inf
- return e / e.sum(dim, keepdim=True).clamp(min=1.0)
+ empty = (x == -INF).any(dim, keepdim=True)
+ return (e / e.sum(dim, keepdim=True).clamp(min=1.0)).masked_fill(empty, 0.0)
You give zeros to every row that has a -inf. Only a row that is *all* -inf gets them; in others the
remaining scores share the weight.
## scores cut off on both sides
- x - peak → x.clamp(-80, 80)
- .clamp(min=1.0)
You cut the scores off so that nothing overflows. But different scores become equal then, and -inf
becomes a number. Subtract each row's largest score instead; it cancels out.
## scores cut off from above
- x - peak → x.clamp(max=80)
- .clamp(min=1.0)
You cut large scores off so that nothing overflows. But different scores become equal then, and far
below 0 all exponentials are 0. Subtract each row's largest score instead; it cancels out.
## scores cut off from above, and zeros where the sum is 0
- x - peak → x.clamp(max=80)
- .clamp(min=1.0) → .clamp(min=1e-30)
You cut large scores off so that nothing overflows. But different scores become equal then, and far
below 0 all exponentials are 0. Subtract each row's largest score instead; it cancels out.
## two in place of e
- .exp() → .exp2()
You take powers of 2. The formula has e: `exp`.
## no exponentials
- return e / e.sum(dim, keepdim=True).clamp(min=1.0) → return x / x.sum(dim, keepdim=True)
You divide the scores by their sum. Scores may be negative: take their exponentials first.
## the logarithm of the shares
- return e / e.sum(dim, keepdim=True).clamp(min=1.0) → return torch.log_softmax(x, dim)
Those are the logarithms of the shares. Asked for are the shares themselves: positive, summing
to 1.
## each score by itself
- return e / e.sum(dim, keepdim=True).clamp(min=1.0) → return x.sigmoid()
You give each score a share by itself, by a sigmoid. Shares depend on all scores of the row: they
sum to 1.
## equal weights for a row of -inf
- peak = x.amax
+ x = x.clamp(min=lowest)
+ peak = x.amax
Right but for a row that is all -inf: you share the weight equally among keys that may not be
attended to. Nothing may be attended to there: the weights should be zeros.
""",
    ),
    hints=(
        "softmax(x)ᵢ = e^xᵢ / Σⱼ e^xⱼ, along one axis. Which call gives a sum that still has that "
        "axis, with length 1?",
        "e^1000 overflows. But e^(x-m) / Σ e^(x-m) is the same for every m: choose m such that "
        "the largest exponent is 0. `x.amax(dim, keepdim=True)` gives it.",
        "A row that is all -inf has the peak -inf, and -inf - (-inf) is NaN. `clamp(min=...)` can "
        "make the peak finite: `torch.finfo(x.dtype).min` is the smallest finite number.",
        "Then that row's exponentials are 0 and so is their sum; 0 / 0 is NaN again. In every other "
        "row the sum is at least e⁰ = 1, so `total.clamp(min=1.0)` changes nothing but the empty one.",
    ),
)

# --- causal_mask ----------------------------------------------------------------------------------


def causal_by_comparison(T: int, S: int | None = None) -> Tensor:
    """Closed form: the query in row t stands at position S - T + t, and sees all up to itself."""
    S = T if S is None else S
    return torch.tensor([[s <= S - T + t for s in range(S)] for t in range(T)])


def lower_triangle(T: int, S: int | None = None) -> Tensor:
    """A right one."""
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


CAUSAL_MASK = Exercise(
    name="causal_mask",
    lesson=LESSON,
    library=causal_mask,
    minutes=8,
    difficulty=2,
    part=True,
    cases=(
        call("T = 4", 4, oracle=causal_by_comparison),
        call("T = 1", 1, oracle=causal_by_comparison),
        call("T = 2, S = 5", 2, 5, oracle=causal_by_comparison),
        call("T = 1, S = 6: one new token, five cached", 1, 6, oracle=causal_by_comparison),
        call("T = 5, S = 5", 5, 5, oracle=causal_by_comparison),
        call("T = 3, S = 4", 3, 4, oracle=causal_by_comparison),
        call("T = 3, S = 80", 3, 80, oracle=causal_by_comparison),
    ),
    mistakes=edits(
        lower_triangle,
        """
## not shifted by the cache
- tril(S - T) → tril()
Right for S = T. But the T queries are the last T of the S keys: the first of them stands at
position S - T, and may see all that came before. Shift the diagonal by S - T.
## shifted the wrong way
- tril(S - T) → tril(T - S)
Right for S = T. With a cache you move the diagonal to the left, so that queries lose keys; they
should gain those that are cached. It is S - T, not T - S.
## blind to itself
- tril(S - T) → tril(S - T - 1)
Your queries can't see themselves. A token may attend to its own position: the diagonal belongs to
what is allowed.
## sees one ahead
- tril(S - T) → tril(S - T + 1)
Your queries see one token too many: the next one, which is what they are to forecast.
## blind to itself with a cache
- tril(S - T) → tril(S - T - (S > T))
Right for S = T. With a cache your queries can't see themselves: the first stands at position S - T
and sees it, too.
## blind to itself where S is given
- S = T if S is None else S → shift, S = (0, T) if S is None else (S - T - 1, S)
- tril(S - T) → tril(shift)
Right where S is not given. Where it is, your queries can't see themselves: the first stands at
position S - T and sees it, too.
## sees one ahead with a cache
- tril(S - T) → tril(S - T + (S > T))
Right for S = T. With a cache your queries see one token too many, the next one: the first stands
at position S - T and sees nothing behind it.
## new tokens see each other
- tril(S - T) → tril(S - T if S == T else S)
Right for S = T. With a cache you hide nothing. That is right for one new token; of several, the
earlier may not see the later.
## nothing hidden
- tril(S - T) → tril(S)
You hide nothing. A query may see itself and what came before, nothing later.
## what is cached hidden
- tril(S - T) → tril(S - T) & (torch.arange(S) >= S - T)
Right for S = T. With a cache you hide the keys that are cached. They came before, so every query may
see them.
## sees one ahead, not shifted
- tril(S - T) → tril(1)
Two things. Your queries see the next token, which is what they are to forecast. And the T queries
are the last T of the S keys: shift the diagonal by S - T.
## blind to itself, not shifted
- tril(S - T) → tril(-1)
Two things. Your queries can't see themselves; a token may attend to its own position. And the T
queries are the last T of the S keys: shift the diagonal by S - T.
## shifted by T
- tril(S - T) → tril(T)
You shift the diagonal by T. It moves by the number of keys that were there before: S - T.
## the whole square
- ones(T, S, → ones(S, S,
- tril(S - T) → tril()
You give a row for each of the S keys. Only the last T positions ask: keep the last T rows.
## queries and keys swapped
- tril(S - T) → tril(S - T).T
The rows are the keys in your mask, (S, T). A row is a query, a column a key: (T, S).
## 0 and -inf
- return torch.ones(T, S, dtype=torch.bool).tril(S - T)
+ return torch.full((T, S), -INF).triu(S - T + 1)
That is a mask to be added, as papers write it. Here a mask is boolean, True where a query may
attend.
## two axes in front
- tril(S - T) → tril(S - T)[None, None]
The pattern is right, but it has two axes more than asked for: (T, S). It broadcasts as it is.
## upside down
- return torch → return ~torch
True stands where a query may NOT attend. Here True means: may attend. (PyTorch's
MultiheadAttention has it the other way round; scaled_dot_product_attention as here.)
## the future
- tril(S - T) → triu(S - T)
That is the upper triangle: each token would see itself and what comes after it. Causal is the
lower one.
## numbers instead of booleans
- , dtype=torch.bool
The pattern is right, but the type is not: make it boolean, so that `~mask` and `masked_fill` work
on it.
## square whatever S is
- S = T if S is None else S → S = T
Your mask is (T, T), whatever S is. With a cache there are more keys than queries: the shape is (T,
S).
""",
    ),
    hints=(
        "Draw it for T = 3 on paper: three rows (queries), three columns (keys), a cross where the "
        "row may look. `tril` keeps the lower triangle of a matrix.",
        "Now T = 2, S = 5: three keys are cached. The first query stands at position 3 (counting "
        "from 0), so it sees keys 0 to 3, the second sees all five. How far did the diagonal move?",
        "`torch.ones(T, S, dtype=torch.bool).tril(k)` keeps what is at most k to the right of the "
        "diagonal. k depends on S and T alone.",
    ),
)

# --- attention ------------------------------------------------------------------------------------


def tensors(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=draws)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def in_three_steps(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """A right one."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -INF)
    weights = torch_softmax(scores)
    return weights @ v


SOME = torch.rand(2, 1, 4, 6, generator=draws) > 0.4
SOME[..., 0] = True  # everyone sees something
LONELY = causal_by_comparison(4).clone()
LONELY[1] = False  # the second query may attend to nothing
ONE_BLIND = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]]).bool()[None, :, None]
NOT_THE_FIRST = SOME.clone()
NOT_THE_FIRST[..., 0], NOT_THE_FIRST[..., -1] = False, True
SQUARE = (tensors(1, 1, 4, 4), tensors(1, 1, 4, 4), tensors(1, 1, 4, 4))

BY_HAND = tuple(
    torch.tensor([[rows]])
    for rows in (
        [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]],
        [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        [[1.0, 0.0], [0.0, 10.0], [5.0, 5.0]],
    )
)  # the three tokens of the lesson: some of their scores are 0


ATTENTION = Exercise(
    name="attention",
    lesson=LESSON,
    library=attention,
    minutes=10,
    difficulty=2,
    part=True,
    cases=(
        call("q, k, v (1, 1, 4, 4), no mask", *SQUARE, oracle=sdpa),
        call(
            "q (2, 3, 4, 8), k and v (2, 3, 6, 8), no mask",
            tensors(2, 3, 4, 8),
            tensors(2, 3, 6, 8),
            tensors(2, 3, 6, 8),
            oracle=sdpa,
        ),
        call("a causal mask", *SQUARE, causal_by_comparison(4), oracle=sdpa),
        call(
            "a mask of its own for each row of the batch",
            tensors(2, 3, 4, 8),
            tensors(2, 3, 6, 8),
            tensors(2, 3, 6, 8),
            SOME,
            oracle=sdpa,
        ),
        call(
            "large scores",
            tensors(1, 2, 5, 16, scale=300.0),
            tensors(1, 2, 5, 16, scale=300.0),
            tensors(1, 2, 5, 16),
            causal_by_comparison(5),
            oracle=sdpa,
        ),
        call("a query that may attend to nothing", *SQUARE, LONELY, oracle=sdpa),
        call("scores that are exactly 0", *BY_HAND, causal_by_comparison(3), oracle=sdpa),
        call(
            "values of another width; the first key is hidden",
            tensors(2, 3, 4, 8),
            tensors(2, 3, 6, 8),
            tensors(2, 3, 6, 5),
            NOT_THE_FIRST,
            oracle=sdpa,
        ),
        call(
            "one query, with a mask for each head",
            tensors(2, 3, 1, 4),
            tensors(2, 3, 5, 4),
            tensors(2, 3, 5, 4),
            ONE_BLIND,
            oracle=sdpa,
        ),
        call("nothing may be attended to", *SQUARE, torch.zeros(4, 4).bool(), oracle=sdpa),
    ),
    mistakes=edits(
        in_three_steps,
        """
## forgot 1/√D
-  / math.sqrt(q.shape[-1])
The scores are not scaled. Divide q kᵀ by √D, the root of the head dimension, before the softmax.
## divided by D
- math.sqrt(q.shape[-1]) → q.shape[-1]
You divide by D, not by its root: the standard deviation of a sum of D products is √D.
## divided by the root of T
- math.sqrt(q.shape[-1]) → math.sqrt(q.shape[-2])
You take the root of the wrong axis: D is the last axis of q, not the number of positions.
## softmax over the queries
- torch_softmax(scores) → torch_softmax(scores, -2)
Your softmax runs along the queries. Each query shares out its weight among the keys: the last axis
of the scores (T, S).
## masked with zero
- (~mask, -INF) → (~mask, 0.0)
You set the masked scores to 0, but e⁰ = 1 is no small weight. They must become -inf, so that their
exponential is 0.
## masked after the softmax
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
- weights = torch_softmax(scores)
+ weights = torch_softmax(scores)
+ if mask is not None:
+     weights = weights * mask
You mask after the softmax: the forbidden keys have already had their share, and the rows no longer
sum to 1. Mask the scores, before it.
## every score of 0 masked
- scores.masked_fill(~mask, -INF) → (scores * mask).masked_fill(scores * mask == 0.0, -INF)
You mask whatever score is 0. A score may be 0 by itself: two vectors at a right angle. Ask the
mask, not the score.
## the mask added as a number
- scores.masked_fill(~mask, -INF) → scores + mask
You add the boolean mask: that is 1 where a query may look and 0 where it may not. The formula's
mask is 0 and -inf. With a boolean one, set the scores where it is False.
## always causal
- if mask is not None:
+ T, S = scores.shape[-2:]
+ if mask is None and S >= T:
+     mask = causal_by_comparison(T, S)
+ if mask is not None:
You mask the future even if no mask was given. Who calls the function decides: without a mask every
query sees every key.
## √64 for every D
- math.sqrt(q.shape[-1]) → math.sqrt(64)
You divide by √64 whatever D is. The real model has D = 64, other tensors have not: D is the last
axis of q.
## the weights themselves
- return weights @ v → return weights
Those are the weights (B, H, T, S). The output is the values in these shares: weights @ v.
## the mask upside down
- ~mask → mask
You hide what may be seen. True means: may attend. It is the others, ~mask, whose scores become
-inf.
## the mask ignored
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
The mask changes nothing in your function. Where it is False the score must become -inf.
## NaN where nothing may be attended to
- torch_softmax(scores) → torch.softmax(scores, -1)
Right but for a query that may attend to nothing, where you give NaN. Use your own softmax, which
gives zeros there.
## a large negative number instead of -inf
- (~mask, -INF) → (~mask, -1e9)
Right but for a query that may attend to nothing: yours takes the mean of all values, as happens with
a large negative number in place of -inf. It should get zeros: use -inf and your own softmax.
## masked after the softmax, and divided anew
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
- weights = torch_softmax(scores)
+ weights = torch_softmax(scores)
+ if mask is not None:
+     weights = weights * mask
+     weights = weights / weights.sum(-1, keepdim=True)
You mask after the softmax, and divide by what is left. Where a forbidden key had nearly everything,
what is left is 0, and 0 / 0 is NaN. Mask the scores, before it.
## masked after the softmax, and divided anew by a small number
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
- weights = torch_softmax(scores)
+ weights = torch_softmax(scores)
+ if mask is not None:
+     weights = weights * mask
+     weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)
You mask after the softmax, and divide by what is left. Where a forbidden key had nearly everything,
what is left is 0, though there are keys that may be seen. Mask the scores, before it.
## a mask of two axes ignored
- if mask is not None: → if mask is not None and mask.ndim > 2:
You ignore a mask of two axes, (T, S). A mask of any shape that broadcasts to (B, H, T, S) is used.
## a mask of four axes ignored
- if mask is not None: → if mask is not None and mask.ndim < 4:
You ignore a mask of four axes. A mask of any shape that broadcasts to (B, H, T, S) is used.
## scaled only with a mask
-  / math.sqrt(q.shape[-1])
- scores.masked_fill → (scores / math.sqrt(q.shape[-1])).masked_fill
You divide by √D only where there is a mask. The scale has nothing to do with it: divide in any case.
## the root cut off
- math.sqrt(q.shape[-1]) → int(math.sqrt(q.shape[-1]))
You cut the root off to a whole number. √D is a fraction for most D: divide by math.sqrt(D).
## causal whatever the mask
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
+ scores = scores.masked_fill(~causal_by_comparison(*scores.shape[-2:]), -INF)
You mask the future, whatever mask was given, or none. Who calls the function decides: use the mask
that is given.
## one mask for all texts and heads
- if mask is not None:
+ if mask is not None:
+     mask = mask.flatten(0, -3)[0] if mask.ndim > 2 else mask
You use the mask of the first text and the first head for all. A mask of any shape that broadcasts to
(B, H, T, S) is used as it is.
## the first text alone
- return weights @ v → return (weights @ v)[:1]
Right for one text: of a batch you keep the first alone. The axis B stays as it is.
## the first text without its axis
- return weights @ v → return (weights @ v)[0]
You keep the first text of the batch alone, and without the axis B. The output is (B, H, T, D).
## zeros unless the first key is seen
- weights = torch_softmax(scores)
+ weights = torch_softmax(scores)
+ weights = weights if mask is None else weights.masked_fill(~mask[..., :1], 0.0)
You give zeros to every query that may not see the first key. Only one that may see *no* key gets
them: ask all keys of its row.
## zeros if any key is hidden
- weights = torch_softmax(scores)
+ weights = torch_softmax(scores)
+ weights = weights if mask is None else weights * mask.all(-1, keepdim=True)
You give zeros to every query from which a key is hidden. Only one that may see *no* key gets them.
## zeros if nobody sees anything
- weights = torch_softmax(scores)
+ weights = torch.softmax(scores, -1)
+ if mask is not None and not mask.any():
+     weights = torch.zeros_like(weights)
Right where nobody may see anything, but a single query that may attend to nothing gets NaN from
you. Ask each row for itself, or use your own softmax.
## the mask ignored for one query
- if mask is not None: → if mask is not None and q.shape[-2] > 1:
You ignore the mask where there is a single query. It may hide keys from that one, too: padding, for
example.
## causal besides the mask
- if mask is not None:
+ if mask is not None:
+     mask = mask & causal_by_comparison(*scores.shape[-2:])
You mask the future on top of the mask that is given. Who calls the function decides: a mask may
let a query see what comes later.
## the first query's mask for all
- if mask is not None:
+ if mask is not None:
+     mask = mask[..., :1, :]
You use the first query's row of the mask for all queries. Each has its own.
## the first text's mask for all
- if mask is not None:
+ if mask is not None:
+     mask = mask[:1] if mask.ndim == 4 else mask
You use the first text's mask for all texts of the batch. Each may have its own: (B, 1, T, S)
broadcasts as it is.
## the first head's mask for all
- if mask is not None:
+ if mask is not None:
+     mask = mask[:, :1] if mask.ndim == 4 else mask
You use the first head's mask for all heads. Each may have its own: a mask (B, H, T, S) is used as
it is.
## the mask turned
- ~mask → ~mask.mT
You swap the two axes of the mask. A row is a query, a column a key, as in the scores: use it as it
is.
## divided by the root of v's width
- math.sqrt(q.shape[-1]) → math.sqrt(v.shape[-1])
You take the root of the width of the values. A score is a sum over the channels of q and k: D is
the last axis of q.
## divided by the root of S
- math.sqrt(q.shape[-1]) → math.sqrt(k.shape[-2])
You take the root of the number of keys. A score is a sum over D channels: D is the last axis of q.
## divided by the root of the heads
- math.sqrt(q.shape[-1]) → math.sqrt(q.shape[1])
You take the root of the number of heads. A score is a sum over D channels: D is the last axis of q.
## multiplied by √D
- / math.sqrt → * math.sqrt
You multiply by √D. A sum of D products is too large by that factor: divide.
## no softmax
- torch_softmax(scores) → scores
You mix the values by the scores themselves. They must become shares first: softmax.
## softmax over the heads
- torch_softmax(scores) → torch_softmax(scores, 1)
Your softmax runs along the heads, axis 1. Each query shares out its weight among the keys: the last
axis of the scores.
## exponentials that overflow
- torch_softmax(scores) → scores.exp() / scores.exp().sum(-1, keepdim=True)
Right for small scores, but e^89 no longer fits into a 32-bit float: inf / inf is NaN. And a query
that may attend to nothing has 0 / 0. Your own softmax takes care of both.
## exponentials that overflow, and zeros where the sum is 0
- torch_softmax(scores) → scores.exp() / scores.exp().sum(-1, keepdim=True).clamp(min=1e-30)
Right for small scores, but e^89 no longer fits into a 32-bit float: inf / inf is NaN. Your own
softmax subtracts the largest score first.
## keys not transposed
- k.mT → k
You multiply q by k as it lies: that is no score of a query with a key. Each entry is the dot
product of a row of q with a row of k: q @ k.mT.
## queries and keys swapped
- q @ k.mT → k @ q.mT
You multiply the keys by the queries: rows and columns of the scores are swapped. A row is a query:
q @ k.mT.
## heads merged
- return weights @ v → return (weights @ v).transpose(1, 2).flatten(2)
The numbers are right, but you put the heads side by side. The output keeps the shape of q: (B, H,
T, D).
## the weights as well
- return weights @ v → return weights @ v, weights
You return the weights as well. Asked for is the output alone.
## keys weighted instead of values
- weights @ v → weights @ k
You weight the keys. The keys decide how much is taken; what is taken are the values.
## scaled after the softmax
-  / math.sqrt(q.shape[-1])
- weights @ v → weights @ v / math.sqrt(q.shape[-1])
You divide by √D after the softmax, so the weights no longer sum to 1. Divide the scores.
""",
    ),
    hints=(
        "Three lines: scores, weights, output. Write down the shape of each first: (B, H, T, S), "
        "(B, H, T, S), (B, H, T, D).",
        "scores = q @ k.mT / math.sqrt(D), where `.mT` swaps the last two axes and D is q's last axis.",
        "Where the mask is False, the score becomes -inf: `scores.masked_fill(~mask, -math.inf)`. "
        "A boolean mask of any broadcastable shape works.",
        "weights = softmax(scores), yours, along the keys; the output is weights @ v.",
    ),
)

# --- previous_token_head --------------------------------------------------------------------------


def planted(L: int, H: int, T: int, place: tuple[int, int]) -> Tensor:
    """Random attention maps with one head that looks at the token before, and tempting others."""
    maps = torch_softmax(tensors(L, H, T, T).masked_fill(~causal_by_comparison(T), -INF))
    eye = torch.eye(T)
    before = torch.cat((eye[:1], eye[:-1]))  # the first token can only see itself
    maps[place] = 0.1 * maps[place] + 0.9 * before
    sink, itself = torch.zeros(T, T), eye
    sink[:, 0] = 1.0
    earlier = torch.cat((eye[:1], eye[:1], eye[:-2]))  # two before
    once = torch.cat((eye[:-1], eye[-2:-1]))  # the token before, but for the last query alone
    taken = [(layer, head) for layer in range(L) for head in range(H) if (layer, head) != place]
    # from the end, so that the first place, which an argmax over zeros gives, is none of these
    for spot, pattern in zip(reversed(taken), (sink, itself, earlier, once), strict=False):
        maps[spot] = 0.02 * maps[spot] + 0.98 * pattern
    return maps


def with_shares(shares: Sequence[Sequence[Sequence[float]]]) -> Tensor:
    """Maps whose queries pay these weights to the token before, for each layer, head and query from
    the second on; the rest goes to the token itself."""
    table = torch.tensor(shares)  # (L, H, T - 1)
    T = table.shape[-1] + 1
    maps = torch.zeros(*table.shape[:2], T, T)
    maps[..., range(1, T), range(T - 1)] = table
    maps[..., range(T), range(T)] = 1 - maps.sum(-1)
    return maps


def alike(L: int, H: int, T: int) -> Tensor:
    """Random maps without a plain winner."""
    return torch_softmax(tensors(L, H, T, T, scale=2.0).masked_fill(~causal_by_comparison(T), -INF))


EVEN, UNEVEN, WEAK = [0.55] * 5, [0.9, 0.9, 0.4, 0.45, 0.4], [0.1, 0.0, 0.2, 0.1, 0.0]


ALIKE = (("4 by 5", alike(4, 5, 6)), ("6 by 3", alike(6, 3, 5)), ("3 by 7", alike(3, 7, 4)))
ASIDE = with_shares([[WEAK, [0.52] * 5, WEAK], [UNEVEN, WEAK, WEAK]])
ASIDE[0, 1, range(2, 6), 0], ASIDE[0, 1, range(1, 6), range(1, 6)] = 0.48, 0.0


def previous_token_head(maps: Tensor) -> tuple[int, int]:
    """The (layer, head) that pays most attention to the token just before.

    Shapes: maps (L, H, T, T) → two whole numbers.
    """
    share = maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1)  # (L, H)
    layer, head = divmod(int(share.argmax()), maps.shape[1])
    return layer, head


def by_adding_up(maps: Tensor) -> tuple[int, int]:
    """The place of the head whose queries pay most to the token before, all in all."""
    (L, H, T), table = maps.shape[:3], maps.tolist()
    paid = {
        (layer, head): sum(table[layer][head][t][t - 1] for t in range(1, T))
        for layer in range(L)
        for head in range(H)
    }
    return max(paid, key=paid.__getitem__)


WITHOUT_A_MASK = with_shares([[WEAK, [0.7] * 5], [[0.62] * 5, EVEN]])
WITHOUT_A_MASK[1, 0, 0] = torch.eye(6)[-1]  # its first query looks at the last token alone


def as_place(pair: Any) -> Any:
    """A layer and a head in whatever holds two of them: a tensor of two unpacks as a tuple does."""
    two = isinstance(pair, tuple | list) or (isinstance(pair, Tensor) and pair.shape == (2,))
    return [int(x) for x in pair] if two else pair


def placed(candidate: Candidate, maps: Tensor) -> Any:
    return as_place(candidate(maps))


def planted_case(label: str, maps: Tensor, place: tuple[int, int]) -> Case:
    called = call(label, maps, oracle=lambda maps: list(place))
    return Case(label, lambda f: as_place(called.run(f)), called.expected, called.inputs)


PREVIOUS_TOKEN_HEAD = Exercise(
    name="previous_token_head",
    lesson=LESSON,
    library=previous_token_head,
    minutes=12,
    difficulty=2,
    kind="stretch",
    cases=(
        planted_case("3 layers, 4 heads", planted(3, 4, 7, (1, 2)), (1, 2)),
        planted_case("2 layers, 5 heads", planted(2, 5, 6, (1, 4)), (1, 4)),
        planted_case("5 layers, 2 heads", planted(5, 2, 9, (3, 0)), (3, 0)),
        planted_case("4 layers, 3 heads", planted(4, 3, 8, (2, 1)), (2, 1)),
        planted_case("a head of the first layer", planted(3, 4, 6, (0, 2)), (0, 2)),
        planted_case(
            "the best head stands in a poor layer, among poor heads",
            with_shares(
                [[WEAK, WEAK, EVEN], [WEAK, UNEVEN, WEAK], [EVEN, WEAK, EVEN], [WEAK, WEAK, WEAK]]
            ),
            (1, 1),
        ),
        planted_case(
            "one head looks back most on average; others at one query, or evenly",
            with_shares(
                [
                    [[0.0, 0.0, 0.97, 0.0, 0.0], [0.6, 0.6, 0.6, 0.1, 0.1]],
                    [[0.0, 0.0, 0.0, 0.0, 0.8], [0.45] * 5],
                    [[0.52, 0.52, 0.52, 0.52, 0.0], [0.95, 0.95, 0.45, 0.4, 0.4]],
                    [[0.96, 0.0, 0.0, 0.0, 0.0], WEAK],
                ]
            ),
            (2, 1),
        ),
        planted_case("a head that hardly looks at itself, and one that does", ASIDE, (1, 0)),
        planted_case("no mask: a first query that looks at the last token", WITHOUT_A_MASK, (0, 1)),
        *(planted_case(f"heads that differ little, {n}", x, by_adding_up(x)) for n, x in ALIKE),
    ),
    mistakes=edits(
        previous_token_head,
        """
## the token itself
- offset=-1 → offset=0
That head looks at the token itself: the main diagonal. The token before stands one column to the
left: offset=-1.
## the sink
- maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1) → maps[..., 0].mean(-1)
That head puts most weight on a single key, the first token, for every query. Look at the weight
that stands just left of the diagonal.
## one ahead
- offset=-1 → offset=1
You looked above the diagonal, at the token after. There a causal map is empty. One column to the
left of the diagonal is offset=-1.
## two before
- offset=-1 → offset=-2
That head looks at the token before the previous one. One column to the left is offset=-1.
## head and layer swapped
- return layer, head → return head, layer
Those are the right two numbers in the wrong order: the layer comes first.
## the best layer first
- layer, head = divmod(int(share.argmax()), maps.shape[1])
+ layer = int(share.mean(1).argmax())
+ head = int(share[layer].argmax())
You choose the layer whose heads look back most on average, and then the best head in it. The best
head of all may stand in a poor layer: look for it in the whole table.
## the best head first
- layer, head = divmod(int(share.argmax()), maps.shape[1])
+ head = int(share.mean(0).argmax())
+ layer = int(share[:, head].argmax())
You choose the head number that looks back most on average over the layers, and then its best layer.
Heads of different layers have nothing to do with each other: look for the best in the whole table.
## layer and head apart
- layer, head = divmod(int(share.argmax()), maps.shape[1])
+ layer, head = int(share.mean(1).argmax()), int(share.mean(0).argmax())
You look for the best layer and for the best head number apart. There need not be a good head where
the two meet: look for the largest entry of the whole table.
## hits counted
- maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1)
+ (maps[..., 1:, :].argmax(-1) == torch.arange(maps.shape[-1] - 1)).float().mean(-1)
You count for how many queries the token before has the largest weight. Asked for is how much weight
it has, on average.
## the last query alone
- .mean(-1) → [..., -1]
You look at the last query alone. Asked for is the average over all queries that have a token before.
## the first query alone
- .mean(-1) → [..., 0]
You look at a single query, the second token. Asked for is the average over all queries that have a
token before.
## the best query
- .mean(-1) → .amax(-1)
You compare the heads by their best query. A head may look back once by chance: take the average
over the queries.
## the worst query
- .mean(-1) → .amin(-1)
You compare the heads by their worst query. Asked for is the average over the queries.
## the second token left out
- .mean(-1) → [..., 1:].mean(-1)
You leave out the second token, whose weight on the first counts too: average over all queries from it
on.
## around the corner
- maps.diagonal(offset=-1, dim1=-2, dim2=-1) → maps.roll(1, -1).diagonal(dim1=-2, dim2=-1)
You count the first query, too, as if the last token stood before it: an index of -1 is the last. Only
the others have a token before: start at the second.
## compared with the token itself
- .mean(-1)
+ .mean(-1) / maps.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-9)
You compare the weight on the token before with that on the token itself. Asked for is the weight
alone.
## the median
- .mean(-1) → .median(-1).values
You compare the heads by the median of their queries. Asked for is the average, the mean.
## one number
- return layer, head → return layer * maps.shape[1] + head
That is the place in the flattened table. Asked for are two numbers: the layer, and the head in it.
## counted from 1
- return layer, head → return layer + 1, head + 1
Those are the right two, but counted from 1. Layers and heads are counted from 0, as everywhere in
Python.
## the first layer alone
- share.argmax() → share[0].argmax()
You look for the best head of the first layer alone. Look through all layers.
## the last layer alone
- share.argmax() → share[-1].argmax()
- return layer, head → return maps.shape[0] - 1, head
You look for the best head of the last layer alone. Look through all layers.
## divided by the layers
- maps.shape[1] → maps.shape[0]
You found the right place in the flattened table, but unpacked it by the number of layers. A row
has H entries, one for each head: divide by H.
""",
    ),
    hints=(
        "For one map (T, T): the weight of query t on key t - 1 stands just left of the diagonal. "
        "`weights.diagonal(offset=-1)` gives all T - 1 of them.",
        "For all maps at once: `maps.diagonal(offset=-1, dim1=-2, dim2=-1)` is (L, H, T - 1). "
        "Take the mean over the last axis, then find the largest.",
        "`argmax()` counts through the flattened (L, H) table: place = layer · H + head, so "
        "`divmod(place, H)` gives both back.",
    ),
)

# --- padding_mask ---------------------------------------------------------------------------------


def padding_mask(lengths: Tensor, S: int) -> Tensor:
    """The mask that hides padding on the right: ``True`` where a key is a real token.

    Shapes: lengths (B,), how many tokens of each row are real → (B, 1, 1, S), boolean.
    """
    return (torch.arange(S, device=lengths.device) < lengths[:, None])[:, None, None]


def real_keys(lengths: Tensor, S: int) -> Tensor:
    return torch.tensor([[[[s < n for s in range(S)]]] for n in lengths.tolist()])


PADDING_MASK = Exercise(
    name="padding_mask",
    lesson=LESSON,
    library=padding_mask,
    minutes=7,
    difficulty=2,
    kind="stretch",
    cases=(
        call("lengths 2, 4, 1 of S = 4", torch.tensor([2, 4, 1]), 4, oracle=real_keys),
        call("one row, S = 6", torch.tensor([3]), 6, oracle=real_keys),
        call("as many rows as keys", torch.tensor([1, 3, 2]), 3, oracle=real_keys),
        call("lengths 5 and 3 of S = 7", torch.tensor([5, 3]), 7, oracle=real_keys),
        call("two full rows", torch.tensor([2, 2]), 2, oracle=real_keys),
    ),
    mistakes=edits(
        padding_mask,
        """
## one too many
- < lengths → <= lengths
Your mask lets one padding token through. Positions count from 0, so the last real one is length -
1: compare with <.
## upside down
- < lengths → >= lengths
True stands on the padding. True means: may attend.
## two axes only
- [:, None, None]
The pattern is right, but (B, S) does not broadcast to (B, H, T, S): PyTorch lines axes up from the
right. Put two axes of length 1 between: [:, None, None].
## one too few
- < lengths → < lengths.sub(1)
Your mask hides the last real token. Positions count from 0, so it stands at length - 1: compare
with s < length.
## as wide as the longest
- torch.arange(S, → torch.arange(int(lengths.max()),
Your mask is as wide as the longest text. There are S keys, and all may be padding at the end: use
the argument S.
## one new axis
- [:, None, None] → [:, None]
The pattern is right, but (B, 1, S) does not broadcast to (B, H, T, S) as it should: the texts meet
the heads. Put two axes of length 1 between: (B, 1, 1, S).
## the axes in front
- [:, None, None] → [None, None]
The pattern is right, but your new axes stand in front: in (1, 1, B, S) the texts meet the queries.
They belong behind the batch: (B, 1, 1, S).
## the axes behind
- [:, None, None] → [..., None, None]
The pattern is right, but your new axes stand behind: S must stay the last axis, that of the keys:
(B, 1, 1, S).
## queries hidden, not keys
- [:, None, None] → [:, None, :, None]
Your mask is (B, 1, S, 1): it hides queries. What must not be looked at are keys, the last axis:
(B, 1, 1, S).
## queries and keys
- return ( → real = (
- [:, None, None]
+ [:, None, None]
+ return real & real.mT
You hide the padding as queries, too: (B, 1, S, S). Asked for is which keys may be looked at: (B, 1,
1, S).
## causal besides
- [:, None, None] → [:, None, None] & torch.ones(S, S).tril().bool()
You mask the future as well. Asked for is the padding alone, (B, 1, 1, S); the two can be combined
later.
## the longest for all
- < lengths → < lengths.max().expand(len(lengths))
You compare with the longest length in every row. Each row has its own.
## the first row's length for all
- < lengths → < lengths[:1].expand(len(lengths))
You compare with the first length in every row. Each row has its own.
## the shortest for all
- < lengths → < lengths.min().expand(len(lengths))
You compare with the shortest length in every row. Each row has its own.
## a row for each query
- [:, None, None] → [:, None, None].repeat(1, 1, S, 1)
The pattern is right, but you repeat it for each query: (B, 1, S, S). With an axis of length 1, (B, 1,
1, S), it broadcasts by itself, to any number of queries.
## the texts in the second axis
- [:, None, None] → [None, :, None]
The pattern is right, but in (1, B, 1, S) the texts meet the heads. The batch stays in front: (B, 1,
1, S).
## 0 and -inf
- return ( → real = (
- [:, None, None]
+ [:, None, None]
+ return torch.zeros(real.shape).masked_fill(~real, -INF)
That is a mask to be added, as papers write it. Here a mask is boolean, True where a key may be looked
at.
## numbers instead of booleans
- [:, None, None] → [:, None, None].int()
The pattern is right, but the type is not: make it boolean.
## padding on the left
- [:, None, None] → [:, None, None].flip(-1)
That hides the first tokens of a row, as if the padding stood on the left. Here it stands on the
right. (Left padding comes with batched decoding.)
""",
    ),
    hints=(
        "Key s of row b is real when s < lengths[b]. `torch.arange(S)` has all s at once.",
        "To compare S positions with B lengths, one of them needs a new axis: lengths[:, None] is "
        "(B, 1), and the comparison is (B, S).",
        "The scores are (B, H, T, S). Axes are lined up from the right: (B, S) must become "
        "(B, 1, 1, S).",
    ),
)

# --- effective_keys -------------------------------------------------------------------------------


def effective_keys(weights: Tensor) -> Tensor:
    """How many keys each query really looks at: e to the entropy of its weights.

    Shapes: weights (..., T, S), rows summing to 1 → (..., T). A key of weight 0 adds nothing.
    """
    return torch.special.entr(weights).sum(-1).exp()


SPREAD = torch_softmax(tensors(2, 3, 5))
FOUR = torch_softmax(tensors(2, 3, 4, 4))
UNEQUAL = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.1, 0.2, 0.0, 0.7]])
FEW = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])


def counted(weights: Tensor) -> Tensor:
    """By PyTorch's distributions, which drop zeros by way of xlogy."""
    return torch.exp(-torch.special.xlogy(weights, weights).sum(-1))


EFFECTIVE_KEYS = Exercise(
    name="effective_keys",
    lesson=LESSON,
    library=effective_keys,
    minutes=9,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,  # 256 small terms add up
    cases=(
        call("weights (2, 3, 5)", SPREAD, oracle=counted),
        call("as many queries as keys: weights (2, 3, 4, 4)", FOUR, oracle=counted),
        call("uneven weights, some of them 0", UNEQUAL, oracle=counted),
        call("a great many keys", torch.full((2, 256), 1 / 256), oracle=counted),
        Case(
            "one, two and four keys",
            lambda f: f(FEW.clone()),
            lambda: torch.tensor([1.0, 2.0, 4.0]),
        ),
    ),
    mistakes=edits(
        effective_keys,
        """
## 0 · ln 0
- torch.special.entr(weights) → (-weights * weights.log())
Right but where a weight is 0: ln 0 is -inf, and 0 · -inf is NaN, though a key without weight
should add nothing. `torch.special.entr` and `xlogy` know that.
## the entropy itself
- .exp()
That is the entropy, in nats. Raise e to it: then n equal weights give n.
## two to the nats
- torch.special.entr(weights).sum(-1).exp() → 2.0 ** torch.special.entr(weights).sum(-1)
The entropy is in nats but you raise 2 to it. e goes with the natural logarithm, 2 with log2.
## one over the sum of squares
- torch.special.entr(weights).sum(-1).exp() → 1.0 / weights.square().sum(-1)
That is the inverse Simpson index, another count of the same idea. Asked for is e to the entropy:
e^(-Σ w ln w).
## NaN made 0
- torch.special.entr(weights).sum(-1).exp()
+ (-weights * weights.log()).sum(-1).exp().nan_to_num(0.0)
Right but where a weight is 0: ln 0 is -inf, 0 · -inf is NaN, and of that you make 0. A key without
weight should add nothing to the sum: `torch.special.entr` and `xlogy` know that.
## NaN made 1
- torch.special.entr(weights).sum(-1).exp()
+ (-weights * weights.log()).sum(-1).nan_to_num(0.0).exp()
Right but where a weight is 0: ln 0 is -inf, and 0 · -inf makes NaN of the whole sum, which you set to
0. A key without weight should add nothing to it: `torch.special.entr` and `xlogy` know that.
## the keys that have any weight
- torch.special.entr(weights).sum(-1).exp() → (weights > 0).sum(-1).float()
You count the keys that have any weight. One that has next to none should count for next to nothing:
take the entropy of the weights.
## one over the largest weight
- torch.special.entr(weights).sum(-1).exp() → 1.0 / weights.amax(-1)
That is one over the largest weight: right where all that count are equal. Asked for is e to the
entropy, to which all of them add.
## over the queries
- sum(-1) → sum(-2)
You add up along the queries. The weights of a query lie along the keys: the last axis.
## over everything
- sum(-1) → sum()
You add up the entropies of all rows. Each query has a number of its own: sum along the last axis.
## the mean instead of the sum
- sum(-1) → mean(-1)
You take the mean of -w ln w over the keys. The entropy is their sum.
## a share of the most that there could be
- .exp() → / math.log(weights.shape[-1])
That is the entropy divided by its largest value, between 0 and 1. Raise e to the entropy: then n
equal weights give n.
## e to the bits
- .sum(-1).exp() → .sum(-1).div(math.log(2)).exp()
The entropy is in bits, for you took log2, but you raise e to it. e goes with the natural logarithm,
2 with log2.
## each key raised by itself
- .sum(-1).exp() → .exp().sum(-1)
You raise e to the part of each key and add up afterwards. Add first: e to the whole entropy.
## a mean over the queries
- .exp() → .exp().mean(-1)
That is the mean over the queries. Each has a number of its own: (..., T, S) → (..., T).
## the sign
- torch.special.entr(weights) → (-torch.special.entr(weights))
A minus is missing: ln w is negative, and entropy positive.
""",
    ),
    hints=(
        "The entropy of a row is -Σ w ln w. If n weights are 1/n each, it is ln n, and e to it is n.",
        "What is 0 · ln 0 for a computer, and what should it be here?",
        "`torch.special.entr(w)` is -w ln w, and 0 at 0.",
    ),
)

EXERCISES = (SOFTMAX, CAUSAL_MASK, ATTENTION, PREVIOUS_TOKEN_HEAD, PADDING_MASK, EFFECTIVE_KEYS)
