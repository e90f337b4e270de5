"""Exercises of lesson 01: softmax, the causal mask, attention, and what it looks at."""

from __future__ import annotations

import math
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
    minutes=12,
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
            torch.tensor([[500.0, 501.0], [-1.0, 1.0]]),
            oracle=torch_softmax,
        ),
        call("masked scores", MASKED, oracle=torch_softmax),
        call("a row that is all -inf", NOTHING, oracle=torch_softmax),
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
    minutes=12,
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
            tensors(1, 2, 5, 16, scale=30.0),
            tensors(1, 2, 5, 16, scale=30.0),
            tensors(1, 2, 5, 16),
            causal_by_comparison(5),
            oracle=sdpa,
        ),
        call("a query that may attend to nothing", *SQUARE, LONELY, oracle=sdpa),
        call("scores that are exactly 0", *BY_HAND, causal_by_comparison(3), oracle=sdpa),
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
Right but for a query that may attend to nothing: with a finite number in place of -inf, the
forbidden keys share its whole weight. Use -inf and your own softmax.
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


def previous_token_head(maps: Tensor) -> tuple[int, int]:
    """The (layer, head) that pays most attention to the token just before.

    Shapes: maps (L, H, T, T) → two whole numbers.
    """
    share = maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1)  # (L, H)
    layer, head = divmod(int(share.argmax()), maps.shape[1])
    return layer, head


def planted_case(label: str, L: int, H: int, T: int, place: tuple[int, int]) -> Case:
    maps = planted(L, H, T, place)
    called = call(label, maps, oracle=lambda maps: list(place))

    def run(candidate: Candidate) -> Any:
        pair = called.run(candidate)
        return [int(x) for x in pair] if isinstance(pair, tuple | list) else pair

    return Case(label, run, called.expected, called.inputs)


PREVIOUS_TOKEN_HEAD = Exercise(
    name="previous_token_head",
    lesson=LESSON,
    library=previous_token_head,
    minutes=10,
    difficulty=2,
    kind="stretch",
    cases=(
        planted_case("3 layers, 4 heads", 3, 4, 7, (1, 2)),
        planted_case("2 layers, 5 heads", 2, 5, 6, (1, 4)),
        planted_case("5 layers, 2 heads", 5, 2, 9, (3, 0)),
        planted_case("4 layers, 3 heads", 4, 3, 8, (2, 1)),
    ),
    mistakes=edits(
        previous_token_head,
        """
## the token itself
- offset=-1 → offset=0
That head looks at the token itself: the main diagonal. The token before stands one column to the
left: offset=-1.
## the sink
- maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1) → maps.mean(-2).amax(-1)
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
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        call("lengths 2, 4, 1 of S = 4", torch.tensor([2, 4, 1]), 4, oracle=real_keys),
        call("one row, S = 6", torch.tensor([3]), 6, oracle=real_keys),
        call("as many rows as keys", torch.tensor([1, 3, 2]), 3, oracle=real_keys),
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
FEW = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])


def counted(weights: Tensor) -> Tensor:
    """By PyTorch's distributions, which drop zeros by way of xlogy."""
    return torch.exp(-torch.special.xlogy(weights, weights).sum(-1))


EFFECTIVE_KEYS = Exercise(
    name="effective_keys",
    lesson=LESSON,
    library=effective_keys,
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        call("weights (2, 3, 5)", SPREAD, oracle=counted),
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
