"""Exercises of lesson 01: softmax, the causal mask, attention, and what it looks at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call
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


def exponentials(x: Tensor, dim: int, peak: Tensor | float) -> Tensor:
    """Normalised exponentials with some peak subtracted; the mistakes are made around it."""
    shifted = (x - peak).exp()
    return shifted / shifted.sum(dim, keepdim=True)


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
    mistakes=(
        Mistake(
            "overflow",
            "Right for small scores, but e^89 no longer fits into a 32-bit float: exp gives inf, and "
            "inf / inf is NaN. Subtract each row's largest score first; it cancels out.",
            lambda x, dim=-1: exponentials(x, dim, 0.0),
        ),
        Mistake(
            "always the last axis",
            "You ignore the argument `dim`: the sum (and the largest score) must be taken along it.",
            lambda x, dim=-1: torch_softmax(x, -1),
        ),
        Mistake(
            "overflow, and always the last axis",
            "Two things. First, e^89 no longer fits into a 32-bit float: exp gives inf, and inf / inf "
            "is NaN; subtract each row's largest score first. Second, work along `dim`, not always "
            "along the last axis.",
            lambda x, dim=-1: exponentials(x, -1, 0.0),
        ),
        Mistake(
            "one peak, and always the last axis",
            "Two things. Subtract each row's own largest score, not that of the whole tensor: in a row "
            "far below it every exponential is 0, and 0 / 0 is NaN. And work along `dim`, not always "
            "along the last axis.",
            lambda x, dim=-1: exponentials(x, -1, x.max()),
        ),
        Mistake(
            "overflow, and summed over everything",
            "Two things. First, you divide by the sum over the whole tensor: each row must sum to 1 by "
            "itself, so sum along `dim`, with keepdim=True. Second, e^89 overflows: subtract each "
            "row's largest score before you take the exponential.",
            lambda x, dim=-1: x.exp() / x.exp().sum(),
        ),
        Mistake(
            "summed over everything",
            "You divide by the sum over the whole tensor. Each row must sum to 1 by itself: sum "
            "along `dim`, with keepdim=True.",
            lambda x, dim=-1: (lambda e: e / e.sum())((x - x.max()).exp()),
        ),
        Mistake(
            "one total for everything",
            "You subtract each row's own peak, but divide by the sum over the whole tensor. Each row "
            "must sum to 1 by itself: sum along `dim`, with keepdim=True.",
            lambda x, dim=-1: (lambda e: e / e.sum())((x - x.amax(dim, keepdim=True)).exp()),
        ),
        Mistake(
            "one peak for everything",
            "You subtract the largest score of the whole tensor. In a row that is far below it every "
            "exponential is 0, and 0 / 0 is NaN. Subtract each row's own: amax(dim, keepdim=True).",
            lambda x, dim=-1: exponentials(x, dim, x.max()),
        ),
        Mistake(
            "the sum without keepdim",
            "The sums have lost their axis, so they are divided by along the wrong one: (3, 3) / (3,) "
            "divides columns. Keep the axis with keepdim=True.",
            lambda x, dim=-1: (lambda e: e / e.sum(dim))((x - x.amax(dim, keepdim=True)).exp()),
        ),
        Mistake(
            "not normalised",
            "Those are exponentials, but their rows don't sum to 1: divide by their sum along `dim`.",
            lambda x, dim=-1: (x - x.amax(dim, keepdim=True)).exp(),
        ),
        Mistake(
            "NaN for a row of -inf",
            "Right but for a row that is all -inf, where -inf - (-inf) is NaN, and so is 0 / 0. Who may "
            "attend to nothing takes nothing: the weights should be zeros. Make the subtracted peak "
            "finite, and don't divide by zero.",
            lambda x, dim=-1: torch.softmax(x, dim),
        ),
        Mistake(
            "equal weights for a row of -inf",
            "Right but for a row that is all -inf: you share the weight equally among keys that may "
            "not be attended to. Nothing may be attended to there: the weights should be zeros.",
            lambda x, dim=-1: torch.softmax(x.clamp(min=torch.finfo(x.dtype).min), dim),
        ),
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


def square(T: int, S: int | None, diagonal: Callable[[int, int], int]) -> Tensor:
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool).tril(diagonal(T, S))


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
    mistakes=(
        Mistake(
            "not shifted by the cache",
            "Right for S = T. But the T queries are the last T of the S keys: the first of them "
            "stands at position S - T, and may see all that came before. Shift the diagonal by S - T.",
            lambda T, S=None: square(T, S, lambda t, s: 0),
        ),
        Mistake(
            "shifted the wrong way",
            "Right for S = T. With a cache you move the diagonal to the left, so that queries lose keys; "
            "they should gain those that are cached. It is S - T, not T - S.",
            lambda T, S=None: square(T, S, lambda t, s: t - s),
        ),
        Mistake(
            "blind to itself",
            "Your queries can't see themselves. A token may attend to its own position: the diagonal "
            "belongs to what is allowed.",
            lambda T, S=None: square(T, S, lambda t, s: s - t - 1),
        ),
        Mistake(
            "sees one ahead",
            "Your queries see one token too many: the next one, which is what they are to forecast.",
            lambda T, S=None: square(T, S, lambda t, s: s - t + 1),
        ),
        Mistake(
            "upside down",
            "True stands where a query may NOT attend. Here True means: may attend. (PyTorch's "
            "MultiheadAttention has it the other way round; scaled_dot_product_attention as here.)",
            lambda T, S=None: ~causal_by_comparison(T, S),
        ),
        Mistake(
            "the future",
            "That is the upper triangle: each token would see itself and what comes after it. Causal "
            "is the lower one.",
            lambda T, S=None: torch.ones(T, S or T, dtype=torch.bool).triu((S or T) - T),
        ),
        Mistake(
            "numbers instead of booleans",
            "The pattern is right, but the type is not: make it boolean, so that `~mask` and "
            "`masked_fill` work on it.",
            lambda T, S=None: causal_by_comparison(T, S).float(),
        ),
        Mistake(
            "square whatever S is",
            "Your mask is (T, T), whatever S is. With a cache there are more keys than queries: "
            "the shape is (T, S).",
            lambda T, S=None: causal_by_comparison(T),
        ),
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


def wrong_attention(
    scale: Callable[[Tensor], float] = lambda q: math.sqrt(q.shape[-1]),
    mask_scores: Callable[[Tensor, Tensor], Tensor] = lambda s, m: s.masked_fill(~m, -INF),
    normalise: Callable[[Tensor], Tensor] = torch_softmax,
    mask_weights: Callable[[Tensor, Tensor], Tensor] = lambda w, m: w,
) -> Callable[..., Tensor]:
    """Attention with one of its steps exchanged."""

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = q @ k.mT / scale(q)
        if mask is not None:
            scores = mask_scores(scores, mask)
        weights = normalise(scores)
        if mask is not None:
            weights = mask_weights(weights, mask)
        return weights @ v

    return attend


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


def masks_what_is_zero(scores: Tensor, mask: Tensor) -> Tensor:
    return (scores * mask).masked_fill(scores * mask == 0.0, -INF)


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
    mistakes=(
        Mistake(
            "forgot 1/√D",
            "The scores are not scaled. Divide q kᵀ by √D, the root of the head dimension, before the "
            "softmax.",
            wrong_attention(scale=lambda q: 1.0),
        ),
        Mistake(
            "divided by D",
            "You divide by D, not by its root: the standard deviation of a sum of D products is √D.",
            wrong_attention(scale=lambda q: float(q.shape[-1])),
        ),
        Mistake(
            "divided by the root of T",
            "You take the root of the wrong axis: D is the last axis of q, not the number of positions.",
            wrong_attention(scale=lambda q: math.sqrt(q.shape[-2])),
        ),
        Mistake(
            "softmax over the queries",
            "Your softmax runs along the queries. Each query shares out its weight among the keys: the "
            "last axis of the scores (T, S).",
            wrong_attention(normalise=lambda s: torch_softmax(s, -2)),
        ),
        Mistake(
            "masked with zero",
            "You set the masked scores to 0, but e⁰ = 1 is no small weight. They must become -inf, "
            "so that their exponential is 0.",
            wrong_attention(mask_scores=lambda s, m: s.masked_fill(~m, 0.0)),
        ),
        Mistake(
            "masked after the softmax",
            "You mask after the softmax: the forbidden keys have already had their share, and the rows "
            "no longer sum to 1. Mask the scores, before it.",
            wrong_attention(mask_scores=lambda s, m: s, mask_weights=lambda w, m: w * m),
        ),
        Mistake(
            "every score of 0 masked",
            "You mask whatever score is 0. A score may be 0 by itself: two vectors at a right angle. "
            "Ask the mask, not the score.",
            wrong_attention(mask_scores=masks_what_is_zero),
        ),
        Mistake(
            "the mask added as a number",
            "You add the boolean mask: that is 1 where a query may look and 0 where it may not. The "
            "formula's mask is 0 and -inf. With a boolean one, set the scores where it is False.",
            wrong_attention(mask_scores=lambda s, m: s + m),
        ),
        Mistake(
            "always causal",
            "You mask the future even if no mask was given. Who calls the function decides: without "
            "a mask every query sees every key.",
            lambda q, k, v, mask=None: sdpa(
                q,
                k,
                v,
                causal_by_comparison(q.shape[-2], k.shape[-2])
                if k.shape[-2] >= q.shape[-2] and mask is None
                else mask,
            ),
        ),
        Mistake(
            "√64 for every D",
            "You divide by √64 whatever D is. The real model has D = 64, other tensors have not: D is "
            "the last axis of q.",
            wrong_attention(scale=lambda q: 8.0),
        ),
        Mistake(
            "the weights themselves",
            "Those are the weights (B, H, T, S). The output is the values in these shares: weights @ v.",
            lambda q, k, v, mask=None: sdpa(
                q, k, torch.eye(k.shape[-2]).expand(*k.shape[:-1], -1), mask
            ),
        ),
        Mistake(
            "the mask upside down",
            "You hide what may be seen. True means: may attend. It is the others, ~mask, whose "
            "scores become -inf.",
            wrong_attention(mask_scores=lambda s, m: s.masked_fill(m, -INF)),
        ),
        Mistake(
            "the mask ignored",
            "The mask changes nothing in your function. Where it is False the score must become -inf.",
            wrong_attention(mask_scores=lambda s, m: s),
        ),
        Mistake(
            "NaN where nothing may be attended to",
            "Right but for a query that may attend to nothing, where you give NaN. Use your own "
            "softmax, which gives zeros there.",
            wrong_attention(normalise=lambda s: torch.softmax(s, -1)),
        ),
        Mistake(
            "a large negative number instead of -inf",
            "Right but for a query that may attend to nothing: with a finite number in place of -inf, "
            "the forbidden keys share its whole weight. Use -inf and your own softmax.",
            wrong_attention(mask_scores=lambda s, m: s.masked_fill(~m, -1e9)),
        ),
        Mistake(
            "keys weighted instead of values",
            "You weight the keys. The keys decide how much is taken; what is taken are the values.",
            lambda q, k, v, mask=None: sdpa(q, k, k, mask),
        ),
        Mistake(
            "scaled after the softmax",
            "You divide by √D after the softmax, so the weights no longer sum to 1. Divide the scores.",
            lambda q, k, v, mask=None: (
                wrong_attention(scale=lambda q: 1.0)(q, k, v, mask) / math.sqrt(q.shape[-1])
            ),
        ),
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


def by_diagonal(offset: int) -> Callable[[Tensor], tuple[int, int]]:
    def find(maps: Tensor) -> tuple[int, int]:
        share = maps.diagonal(offset=offset, dim1=-2, dim2=-1).mean(-1)
        return divmod(int(share.argmax()), maps.shape[1])

    return find


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
    mistakes=(
        Mistake(
            "the token itself",
            "That head looks at the token itself: the main diagonal. The token before stands one "
            "column to the left: offset=-1.",
            by_diagonal(0),
        ),
        Mistake(
            "the sink",
            "That head puts most weight on a single key, the first token, for every query. Look at the "
            "weight that stands just left of the diagonal.",
            lambda maps: divmod(int(maps.mean(-2).amax(-1).argmax()), maps.shape[1]),
        ),
        Mistake(
            "one ahead",
            "You looked above the diagonal, at the token after. There a causal map is empty. One "
            "column to the left of the diagonal is offset=-1.",
            by_diagonal(1),
        ),
        Mistake(
            "two before",
            "That head looks at the token before the previous one. One column to the left is offset=-1.",
            by_diagonal(-2),
        ),
        Mistake(
            "head and layer swapped",
            "Those are the right two numbers in the wrong order: the layer comes first.",
            lambda maps: previous_token_head(maps)[::-1],
        ),
        Mistake(
            "divided by the layers",
            "You found the right place in the flattened table, but unpacked it by the number of "
            "layers. A row has H entries, one for each head: divide by H.",
            lambda maps: divmod(
                int(maps.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1).argmax()), maps.shape[0]
            ),
        ),
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
    mistakes=(
        Mistake(
            "one too many",
            "Your mask lets one padding token through. Positions count from 0, so the last real one "
            "is length - 1: compare with <.",
            lambda lengths, S: real_keys(lengths + 1, S),
        ),
        Mistake(
            "upside down",
            "True stands on the padding. True means: may attend.",
            lambda lengths, S: ~real_keys(lengths, S),
        ),
        Mistake(
            "two axes only",
            "The pattern is right, but (B, S) does not broadcast to (B, H, T, S): PyTorch lines axes "
            "up from the right. Put two axes of length 1 between: [:, None, None].",
            lambda lengths, S: real_keys(lengths, S)[:, 0, 0],
        ),
        Mistake(
            "padding on the left",
            "That hides the first tokens of a row, as if the padding stood on the left. Here it stands "
            "on the right. (Left padding comes with batched decoding.)",
            lambda lengths, S: real_keys(lengths, S).flip(-1),
        ),
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
    mistakes=(
        Mistake(
            "0 · ln 0",
            "Right but where a weight is 0: ln 0 is -inf, and 0 · -inf is NaN, though a key without "
            "weight should add nothing. `torch.special.entr` and `xlogy` know that.",
            lambda w: (-(w * w.log()).sum(-1)).exp(),
        ),
        Mistake(
            "the entropy itself",
            "That is the entropy, in nats. Raise e to it: then n equal weights give n.",
            lambda w: torch.special.entr(w).sum(-1),
        ),
        Mistake(
            "two to the nats",
            "The entropy is in nats but you raise 2 to it. e goes with the natural logarithm, 2 with "
            "log2.",
            lambda w: 2.0 ** torch.special.entr(w).sum(-1),
        ),
        Mistake(
            "one over the sum of squares",
            "That is the inverse Simpson index, another count of the same idea. Asked for is e to the "
            "entropy: e^(-Σ w ln w).",
            lambda w: 1.0 / w.square().sum(-1),
        ),
        Mistake(
            "the sign",
            "A minus is missing: ln w is negative, and entropy positive.",
            lambda w: torch.special.xlogy(w, w).sum(-1).exp(),
        ),
    ),
    hints=(
        "The entropy of a row is -Σ w ln w. If n weights are 1/n each, it is ln n, and e to it is n.",
        "What is 0 · ln 0 for a computer, and what should it be here?",
        "`torch.special.entr(w)` is -w ln w, and 0 at 0.",
    ),
)

EXERCISES = (SOFTMAX, CAUSAL_MASK, ATTENTION, PREVIOUS_TOKEN_HEAD, PADDING_MASK, EFFECTIVE_KEYS)
