"""Exercises of lesson 02: heads split and merged, KV heads shared, and the whole layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.exercise import Exercise, Mistake, call
from decodeloop.model import (
    grouped_query_attention,
    merge_heads,
    multi_head_attention,
    split_heads,
)

LESSON = "02_multi_head_attention"
INF = math.inf
draws = torch.Generator().manual_seed(2)


def tensors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=draws)


# --- split_heads ----------------------------------------------------------------------------------


def slices(x: Tensor, H: int) -> Tensor:
    """The heads by slices of the last axis: head h has the channels h·D to (h + 1)·D."""
    D = x.shape[-1] // H
    return torch.stack([x[:, :, h * D : (h + 1) * D] for h in range(H)], dim=1)


def numbered(T: int, H: int, D: int) -> Tensor:
    """(1, T, H·D), where the number 123 says: position 1, head 2, channel 3."""
    t, h, d = torch.arange(T), torch.arange(H), torch.arange(D)
    table = 100.0 * t[:, None, None] + 10 * h[:, None] + d  # (T, H, D)
    return table.reshape(1, T, H * D)


SPLIT_HEADS = Exercise(
    name="split_heads",
    lesson=LESSON,
    library=split_heads,
    minutes=5,
    difficulty=1,
    part=True,
    cases=(
        call("the numbered (1, 2, 6), H = 3", numbered(2, 3, 2), 3, oracle=slices),
        call("x (2, 5, 12), H = 3", tensors(2, 5, 12), 3, oracle=slices),
        call("as many positions as heads: x (2, 3, 6), H = 3", tensors(2, 3, 6), 3, oracle=slices),
        call("one head: x (2, 4, 5), H = 1", tensors(2, 4, 5), 1, oracle=slices),
        call("heads of one channel: x (3, 2, 4), H = 4", tensors(3, 2, 4), 4, oracle=slices),
    ),
    mistakes=(
        Mistake(
            "reshaped without a transpose",
            "The shape is right, but the numbers are dealt out in the order in which they lie in "
            "memory: your first head holds the first position's heads, not its own channels of every "
            "position. Cut the last axis into (H, D) first, then move H in front of T.",
            lambda x, H: x.reshape(x.shape[0], H, x.shape[1], -1),
        ),
        Mistake(
            "heads and positions not swapped",
            "You cut the last axis rightly, but the result is (B, T, H, D). Attention works on the "
            "last two axes, so these must be (T, D): the heads belong in front of the positions.",
            lambda x, H: x.reshape(*x.shape[:2], H, -1),
        ),
        Mistake(
            "(D H) instead of (H D)",
            "You take every H-th channel for a head. A head's D channels lie side by side: in the "
            "pattern the axis that varies fastest stands on the right, so it is (H D).",
            lambda x, H: x.unflatten(-1, (-1, H)).permute(0, 3, 1, 2),
        ),
        Mistake(
            "H taken for D",
            "You made heads of H channels each. H is how many heads there are: H=H in rearrange, or "
            "x.shape[-1] // H channels for each.",
            lambda x, H: x.unflatten(-1, (-1, H)).transpose(1, 2),
        ),
        Mistake(
            "heads in front of the batch",
            "The heads are right, but the batch must stay in front: (B, H, T, D).",
            lambda x, H: slices(x, H).transpose(0, 1),
        ),
        Mistake(
            "channels and positions swapped",
            "Your last two axes are (D, T); they should be (T, D): a row for each position.",
            lambda x, H: slices(x, H).mT,
        ),
        Mistake(
            "transposed before cutting",
            "You swapped positions and channels before you cut the channels, and then dealt the "
            "numbers out anew. Cut the last axis first: unflatten it to (H, D), then swap T and H.",
            lambda x, H: x.mT.reshape(x.shape[0], H, x.shape[1], -1),
        ),
        Mistake(
            "a list of heads",
            "Those are the right heads, but as separate tensors. One tensor is asked for, with the "
            "heads as its axis number 1: torch.stack(heads, dim=1), or rearrange at once.",
            lambda x, H: list(x.chunk(H, dim=-1)),
        ),
    ),
    hints=(
        "The last axis is H groups of D channels: name it (H D). Then write the axes in the order "
        "in which you want them.",
        "With einops the left side of the pattern is what there is: 'B T (H D)'. The right side is "
        "what should come. H=H tells it how to cut.",
        'rearrange(x, "B T (H D) -> B H T D", H=H)',
    ),
)

# --- merge_heads ----------------------------------------------------------------------------------


def side_by_side(x: Tensor) -> Tensor:
    return torch.cat([x[:, h] for h in range(x.shape[1])], dim=-1)


MERGE_HEADS = Exercise(
    name="merge_heads",
    lesson=LESSON,
    library=merge_heads,
    minutes=4,
    difficulty=1,
    part=True,
    cases=(
        call("the numbered heads (1, 3, 2, 2)", slices(numbered(2, 3, 2), 3), oracle=side_by_side),
        call("x (2, 3, 5, 4)", tensors(2, 3, 5, 4), oracle=side_by_side),
        call(
            "as many positions as heads: x (2, 4, 4, 3)", tensors(2, 4, 4, 3), oracle=side_by_side
        ),
        call("one head: x (2, 1, 4, 5)", tensors(2, 1, 4, 5), oracle=side_by_side),
        call("heads of one channel: x (3, 4, 2, 1)", tensors(3, 4, 2, 1), oracle=side_by_side),
    ),
    mistakes=(
        Mistake(
            "reshaped without a transpose",
            "The shape is right, but each of your rows holds one head's numbers of several positions. "
            "Move the heads back behind the positions first, then put (H D) together.",
            lambda x: x.reshape(x.shape[0], x.shape[2], -1),
        ),
        Mistake(
            "(D H) instead of (H D)",
            "You interleave the heads: first the channel 0 of every head, then channel 1. A head's "
            "channels stay side by side: (H D).",
            lambda x: x.permute(0, 2, 3, 1).flatten(2),
        ),
        Mistake(
            "positions merged instead of heads",
            "You put the positions side by side, and have a row for each head. It should be a row for "
            "each position, with the heads side by side: (B, T, H·D).",
            lambda x: x.flatten(2),
        ),
        Mistake(
            "the wrong axes swapped",
            "You swapped the last two axes, (T, D). It is H and T, axes 1 and 2, that must change "
            "places before the last two are put together.",
            lambda x: x.mT.reshape(x.shape[0], x.shape[2], -1),
        ),
        Mistake(
            "heads added up",
            "You added the heads up, so nobody can tell them apart any more. Put them side by side: "
            "H·D numbers for each position.",
            lambda x: x.sum(1),
        ),
        Mistake(
            "heads averaged",
            "You took the mean of the heads. The point of several heads is that they are not averaged: "
            "put them side by side, H·D numbers for each position.",
            lambda x: x.mean(1),
        ),
        Mistake(
            "the batch merged too",
            "The rows are right, but the texts of the batch are one long text now: (B·T, H·D). Leave "
            "the batch an axis of its own.",
            lambda x: side_by_side(x).flatten(0, 1),
        ),
    ),
    hints=(
        "It is split_heads backwards: write the pattern the other way round.",
        "On the left 'B H T D'; on the right the heads stand behind the positions, in one axis with "
        "the channels: in brackets.",
        'rearrange(x, "B H T D -> B T (H D)")',
    ),
)

# --- grouped_query_attention ----------------------------------------------------------------------


def shared_sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


def joint_softmax(scores: Tensor) -> Tensor:
    """One softmax over all heads and keys of a query: (B, H, T, S), summing to 1 over H and S."""
    B, H, T, S = scores.shape
    rows = scores.transpose(1, 2).reshape(B, T, H * S).softmax(-1).nan_to_num(0.0)
    return rows.reshape(B, T, H, S).transpose(1, 2)


Repeat = Callable[[Tensor, int], Tensor]


def interleaved(x: Tensor, times: int) -> Tensor:
    return x.repeat_interleave(times, dim=1)


def tiled(x: Tensor, times: int) -> Tensor:
    return x.repeat(1, times, 1, 1)


def wrong_sharing(
    keys: Repeat = interleaved,
    values: Repeat = interleaved,
    queries: Callable[[Tensor, int], Tensor] = lambda q, G: q,
    scale: Callable[[Tensor], float] = lambda q: math.sqrt(q.shape[-1]),
    use: Callable[[Tensor, int], Tensor | None] = lambda mask, H: mask,
    normalise: Callable[[Tensor], Tensor] = lambda s: torch.softmax(s, -1).nan_to_num(0.0),
) -> Callable[..., Tensor]:
    """Grouped-query attention with one of its steps exchanged."""

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        H, G = q.shape[1], k.shape[1]
        q, k, v = queries(q, G), keys(k, H // G), values(v, H // G)
        scores = q @ k.mT / scale(q)
        mask = None if mask is None else use(mask, H)
        if mask is not None:
            scores = scores.masked_fill(~mask, -INF)
        return normalise(scores) @ v

    return attend


def for_the_first_head(mask: Tensor, H: int) -> Tensor:
    """Masks head 0 alone."""
    only = torch.ones(1, H, 1, 1, dtype=torch.bool)
    only[:, 0] = False
    return mask | only


def first_heads_mask(mask: Tensor, H: int) -> Tensor:
    return mask[:, :1] if mask.ndim == 4 else mask


def averaged(q: Tensor, G: int) -> Tensor:
    return q.unflatten(1, (G, -1)).mean(2)


def averaged_and_shared(q: Tensor, G: int) -> Tensor:
    return averaged(q, G).repeat_interleave(q.shape[1] // G, dim=1)


def nothing(x: Tensor, times: int) -> Tensor:
    return x


def lower(T: int, S: int) -> Tensor:
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def some(*shape: int) -> Tensor:
    mask = torch.rand(*shape, generator=draws) > 0.4
    mask[..., 0] = True
    return mask


def groups(B: int, H: int, G: int, T: int, S: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    return tensors(B, H, T, D), tensors(B, G, S, D), tensors(B, G, S, D)


LONELY = lower(3, 4).clone()
LONELY[1] = False

GROUPED_QUERY_ATTENTION = Exercise(
    name="grouped_query_attention",
    lesson=LESSON,
    library=grouped_query_attention,
    minutes=8,
    difficulty=2,
    part=True,
    cases=(
        call("H = 6, G = 2, no mask", *groups(1, 6, 2, 3, 4, 5), oracle=shared_sdpa),
        call("H = 9, G = 3, causal", *groups(2, 9, 3, 4, 4, 2), lower(4, 4), oracle=shared_sdpa),
        call(
            "H = 4, G = 4: every head has its own",
            *groups(2, 4, 4, 3, 5, 3),
            lower(3, 5),
            oracle=shared_sdpa,
        ),
        call(
            "H = 4, G = 1: one for all", *groups(2, 4, 1, 3, 5, 3), lower(3, 5), oracle=shared_sdpa
        ),
        call(
            "a mask for each text of the batch",
            *groups(2, 6, 3, 4, 5, 3),
            some(2, 1, 4, 5),
            oracle=shared_sdpa,
        ),
        call(
            "a mask for each head", *groups(2, 6, 2, 4, 5, 3), some(1, 6, 4, 5), oracle=shared_sdpa
        ),
        call(
            "a query that may attend to nothing",
            *groups(1, 4, 2, 3, 4, 3),
            LONELY,
            oracle=shared_sdpa,
        ),
    ),
    mistakes=(
        Mistake(
            "KV heads tiled instead of repeated",
            "You lay the KV heads out as 0 1 2 0 1 2 …; neighbours should share: 0 0 0 1 1 1 …. "
            "Query head h reads KV head h // (H/G), not h % G: repeat_interleave, not repeat.",
            wrong_sharing(tiled, tiled),
        ),
        Mistake(
            "keys repeated, values tiled",
            "Your keys are shared by neighbours, 0 0 1 1, but your values lie as 0 1 0 1. So a head's "
            "weights meet another head's values. Repeat both in the same way.",
            wrong_sharing(values=tiled),
        ),
        Mistake(
            "keys tiled, values repeated",
            "Your values are shared by neighbours, 0 0 1 1, but your keys lie as 0 1 0 1. Repeat both "
            "in the same way: repeat_interleave.",
            wrong_sharing(keys=tiled),
        ),
        Mistake(
            "all read the first KV head",
            "All your query heads read KV head 0. That is right for G = 1 alone: head h reads "
            "h // (H/G).",
            lambda q, k, v, mask=None: shared_sdpa(q, k[:, :1], v[:, :1], mask),
        ),
        Mistake(
            "query heads averaged per group",
            "You averaged the query heads of a group, so G heads come out instead of H. The queries "
            "stay apart; what they share are keys and values.",
            wrong_sharing(nothing, nothing, queries=averaged),
        ),
        Mistake(
            "query heads averaged, then repeated",
            "All heads of a group give the same output in your function: you averaged their queries. "
            "The queries stay apart; what they share are keys and values.",
            wrong_sharing(queries=averaged_and_shared),
        ),
        Mistake(
            "only the first of each group",
            "Only G heads come out, those of the first G query heads. All H are asked for: repeat keys "
            "and values until there are H of them.",
            lambda q, k, v, mask=None: shared_sdpa(q[:, : k.shape[1]], k, v, mask),
        ),
        Mistake(
            "scaled by √(H·D)",
            "You divide by the root of the whole width, H·D. Each head's scores are sums of D products: "
            "divide by √D.",
            wrong_sharing(scale=lambda q: math.sqrt(q.shape[1] * q.shape[-1])),
        ),
        Mistake(
            "one softmax over all heads",
            "Your weights sum to 1 over all heads together. Each head shares out a weight of 1 of its "
            "own: softmax along the keys, the last axis, alone.",
            wrong_sharing(normalise=joint_softmax),
        ),
        Mistake(
            "softmax over the heads",
            "Your softmax runs along axis 1: there the heads compete for each key. Each head shares "
            "out its own weight among the keys, the last axis.",
            wrong_sharing(normalise=lambda s: torch.softmax(s, 1).nan_to_num(0.0)),
        ),
        Mistake(
            "mask on the first head alone",
            "You mask head 0 and let all others see everything. A mask holds for every head: it "
            "broadcasts over the axis of the heads.",
            wrong_sharing(use=for_the_first_head),
        ),
        Mistake(
            "the first head's mask for all",
            "A mask may be different for each head, (B, H, T, S). You use that of head 0 for all.",
            wrong_sharing(use=first_heads_mask),
        ),
        Mistake(
            "the mask ignored",
            "The mask changes nothing in your function. Hand it on to `attention`.",
            wrong_sharing(use=lambda mask, H: None),
        ),
        Mistake(
            "the mask upside down",
            "You hide what may be seen. In this course True means: may attend.",
            wrong_sharing(use=lambda mask, H: ~mask),
        ),
    ),
    hints=(
        "With G = H it would be `attention(q, k, v, mask)`. So make H keys and H values out of G.",
        "Each KV head is read by H // G neighbouring query heads. `repeat_interleave(n, dim=1)` "
        "writes every head n times, side by side: 0 0 0 1 1 1.",
        "times = q.shape[1] // k.shape[1], then k.repeat_interleave(times, dim=1), and the same for "
        "v, and then `attention`.",
    ),
)

# --- multi_head_attention -------------------------------------------------------------------------


def in_plain_torch(
    x: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    H: int,
    mask: Tensor | None = None,
) -> Tensor:
    D = w_query.shape[0] // H
    q, k, v = (F.linear(x, w).unflatten(-1, (-1, D)).mT for w in (w_query, w_key, w_value))
    q, k, v = (a.permute(0, 3, 1, 2) for a in (q, k, v))  # (B, T, D, heads) → (B, heads, T, D)
    return F.linear(shared_sdpa(q, k, v, mask).transpose(1, 2).flatten(2), w_output)


Split = Callable[[Tensor, int], Tensor]


def wrong_layer(
    project: Callable[[Tensor, Tensor], Tensor] = F.linear,
    split: Split = slices,
    attend: Callable[..., Tensor] = shared_sdpa,
    merge: Callable[[Tensor], Tensor] = side_by_side,
    output: Callable[[Tensor, Tensor], Tensor] = F.linear,
    wide: bool = False,
) -> Callable[..., Tensor]:
    """The whole layer with one of its steps exchanged."""

    def layer(
        x: Tensor,
        w_query: Tensor,
        w_key: Tensor,
        w_value: Tensor,
        w_output: Tensor,
        H: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        G = w_key.shape[0] // (w_query.shape[0] // H)
        q, k, v = (
            split(project(x, w), 1 if wide else heads)
            for w, heads in ((w_query, H), (w_key, G), (w_value, G))
        )
        return output(merge(attend(q, k, v, mask)), w_output)

    return layer


def reshaped(x: Tensor, H: int) -> Tensor:
    return x.reshape(x.shape[0], H, x.shape[1], -1)


def every_hth(x: Tensor, H: int) -> Tensor:
    return x.unflatten(-1, (-1, H)).permute(0, 3, 1, 2)


def unshared(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention that wants a KV head for each query head, or a single one; else it raises."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -INF)
    return torch.softmax(scores, -1) @ v


def weights(C: int, H: int, G: int, D: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random projections whose outputs have a variance around 1."""
    return (
        tensors(H * D, C) / math.sqrt(C) * 1.5,
        tensors(G * D, C) / math.sqrt(C) * 1.5,
        tensors(G * D, C) / math.sqrt(C),
        tensors(C, H * D) / math.sqrt(H * D) * 2.0,
    )


MULTI_HEAD_ATTENTION = Exercise(
    name="multi_head_attention",
    lesson=LESSON,
    library=multi_head_attention,
    minutes=10,
    difficulty=2,
    cases=(
        call(
            "C = 6, H = G = 3, no mask",
            tensors(1, 4, 6),
            *weights(6, 3, 3, 2),
            3,
            oracle=in_plain_torch,
        ),
        call(
            "C = 12, H = G = 4, causal",
            tensors(2, 5, 12),
            *weights(12, 4, 4, 3),
            4,
            lower(5, 5),
            oracle=in_plain_torch,
        ),
        call(
            "C = 12, H = 6, G = 3, causal",
            tensors(2, 5, 12),
            *weights(12, 6, 3, 2),
            6,
            lower(5, 5),
            oracle=in_plain_torch,
        ),
        call(
            "C = 10, H = 3, G = 1, D = 4: H·D is not C",
            tensors(2, 3, 10),
            *weights(10, 3, 1, 4),
            3,
            oracle=in_plain_torch,
        ),
        call(
            "a mask for each text of the batch",
            tensors(2, 4, 8),
            *weights(8, 4, 2, 2),
            4,
            some(2, 1, 4, 4),
            oracle=in_plain_torch,
        ),
        call(
            "a mask for each head",
            tensors(2, 4, 6),
            *weights(6, 3, 1, 2),
            3,
            some(1, 3, 4, 4),
            oracle=in_plain_torch,
        ),
    ),
    mistakes=(
        Mistake(
            "weights not transposed",
            "You multiply by the weights as they lie. nn.Linear stores them as (out, in), so it is "
            "x @ w.T. With square weights nothing crashes; with others it does.",
            wrong_layer(project=lambda x, w: x @ w, output=lambda x, w: x @ w),
        ),
        Mistake(
            "w_output not transposed",
            "Queries, keys and values are right, but the output is multiplied by w_output as it lies: "
            "it is stored as (C, H·D) = (out, in) too, so w_output.T.",
            wrong_layer(output=lambda x, w: x @ w),
        ),
        Mistake(
            "queries, keys and values not transposed",
            "The output projection is right, but queries, keys and values are multiplied by their "
            "weights as they lie: nn.Linear stores (out, in), so it is x @ w.T.",
            wrong_layer(project=lambda x, w: x @ w),
        ),
        Mistake(
            "output projection forgotten",
            "You return the heads side by side. The last step mixes them: multiply by w_output.T.",
            wrong_layer(output=lambda x, w: x),
        ),
        Mistake(
            "no output projection, and KV heads not shared",
            "Two things. You return the heads side by side: the last step mixes them, by w_output.T. And "
            "with fewer KV heads than H, `attention` alone raises: grouped_query_attention shares them.",
            wrong_layer(attend=unshared, output=lambda x, w: x),
        ),
        Mistake(
            "scaled by √C",
            "You divide the scores by √C, the root of the whole width. A head's scores are sums of D "
            "products: divide by √D, or use your `attention`, which does.",
            lambda x, w_query, w_key, w_value, w_output, H, mask=None: wrong_layer(
                attend=wrong_sharing(scale=lambda q: math.sqrt(x.shape[-1]))
            )(x, w_query, w_key, w_value, w_output, H, mask),
        ),
        Mistake(
            "split by reshape",
            "You cut the heads by reshape to (B, H, T, D): that mixes positions and heads. Cut the last "
            "axis and move the heads: your split_heads.",
            wrong_layer(split=reshaped),
        ),
        Mistake(
            "merged by reshape",
            "You put the heads together by reshape to (B, T, H·D) without moving them behind the "
            "positions first: your merge_heads does both.",
            wrong_layer(merge=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
        ),
        Mistake(
            "split and merged by reshape",
            "You split and merge by reshape alone. The two undo each other, so the shapes are right, "
            "but inside, heads and positions are mixed. Use split_heads and merge_heads.",
            wrong_layer(split=reshaped, merge=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
        ),
        Mistake(
            "heads and positions swapped",
            "Your heads stand where the positions should be, (B, T, H, D): so each position's heads "
            "attend to one another, and no token sees another. Swap T and H.",
            lambda x, w_query, w_key, w_value, w_output, H, mask=None: wrong_layer(
                split=lambda x, H: slices(x, H).transpose(1, 2),
                attend=lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v),
                merge=lambda x: x.flatten(2),
            )(x, w_query, w_key, w_value, w_output, H, mask),
        ),
        Mistake(
            "(D H) instead of (H D)",
            "You take every H-th channel for a head. A head's D channels lie side by side, since the "
            "rows of w_query do: (H D).",
            wrong_layer(split=every_hth, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        ),
        Mistake(
            "one wide head",
            "You never split: that is one head of H·D channels, with one set of weights for all. Split "
            "queries, keys and values into heads first.",
            wrong_layer(wide=True),
        ),
        Mistake(
            "KV heads tiled instead of repeated",
            "Right for G = H and G = 1. Between them your query heads read the KV heads 0 1 2 0 1 2; it "
            "should be 0 0 1 1 2 2: your grouped_query_attention does that.",
            wrong_layer(attend=wrong_sharing(tiled, tiled)),
        ),
        Mistake(
            "query heads averaged per group",
            "Right for G = H. With fewer KV heads you average the queries of a group. They stay apart; "
            "what they share are keys and values.",
            wrong_layer(attend=wrong_sharing(queries=averaged_and_shared)),
        ),
        Mistake(
            "one softmax over all heads",
            "Your weights sum to 1 over all heads together. Each head shares out a weight of 1 of its "
            "own: softmax along the keys alone.",
            wrong_layer(attend=wrong_sharing(normalise=joint_softmax)),
        ),
        Mistake(
            "mask on the first head alone",
            "You mask head 0 and let all others see everything. A mask holds for every head: it "
            "broadcasts over the axis of the heads.",
            wrong_layer(attend=wrong_sharing(use=for_the_first_head)),
        ),
        Mistake(
            "the mask ignored",
            "The mask changes nothing in your function. Hand it on to grouped_query_attention.",
            wrong_layer(attend=wrong_sharing(use=lambda mask, H: None)),
        ),
        Mistake(
            "the mask upside down",
            "You hide what may be seen. PyTorch's MultiheadAttention reads a mask that way; in this "
            "course True means: may attend.",
            wrong_layer(attend=wrong_sharing(use=lambda mask, H: ~mask)),
        ),
        Mistake(
            "values made with the keys' weights",
            "Your values are made with w_key. What a token offers and what it gives are two things: "
            "values come from w_value.",
            lambda x, w_query, w_key, w_value, w_output, H, mask=None: in_plain_torch(
                x, w_query, w_key, w_key, w_output, H, mask
            ),
        ),
    ),
    hints=(
        "Five steps: project to queries, keys and values; split each into heads; attend; merge; "
        "project by w_output. You have written three of them.",
        "F.linear(x, w), or x @ w.T, multiplies by a weight as nn.Linear stores it.",
        "The queries have H heads. How many have the keys? D = w_query.shape[0] // H (64 in the real "
        "model alone), and G = w_key.shape[0] // D. Keys and values cut into H pieces are too narrow "
        "for the queries, and G heads are too few for `attention`: either raises unless G = H or 1.",
        "q = split_heads(F.linear(x, w_query), H); k and v with G instead of H; then "
        "F.linear(merge_heads(grouped_query_attention(q, k, v, mask)), w_output).",
    ),
)

# --- head_outputs ---------------------------------------------------------------------------------


def head_outputs(heads: Tensor, w_output: Tensor) -> Tensor:
    """What each head adds to the output; the sum over the heads is the output.

    Shapes: heads (B, H, T, D), w_output (C, H·D) → (B, H, T, C).
    """
    columns = w_output.unflatten(1, (heads.shape[1], -1))  # (C, H, D)
    return torch.einsum("bhtd,chd->bhtc", heads, columns)


def one_at_a_time(heads: Tensor, w_output: Tensor) -> Tensor:
    """The whole projection of a layer in which all heads but one are zero, for each of them."""
    outputs = []
    for h in range(heads.shape[1]):
        alone = torch.zeros_like(heads)
        alone[:, h] = heads[:, h]
        outputs.append(F.linear(side_by_side(alone), w_output))
    return torch.stack(outputs, dim=1)


def by_columns(heads: Tensor, columns: Tensor) -> Tensor:
    return torch.einsum("bhtd,chd->bhtc", heads, columns)


HEAD_OUTPUTS = Exercise(
    name="head_outputs",
    lesson=LESSON,
    library=head_outputs,
    minutes=10,
    difficulty=3,
    kind="stretch",
    cases=(
        call(
            "heads (2, 3, 4, 2), w_output (5, 6)",
            tensors(2, 3, 4, 2),
            tensors(5, 6),
            oracle=one_at_a_time,
        ),
        call(
            "heads (1, 2, 3, 4), w_output (8, 8)",
            tensors(1, 2, 3, 4),
            tensors(8, 8),
            oracle=one_at_a_time,
        ),
        call(
            "as many channels as heads: (2, 3, 4, 3)",
            tensors(2, 3, 4, 3),
            tensors(7, 9),
            oracle=one_at_a_time,
        ),
    ),
    mistakes=(
        Mistake(
            "added up already",
            "That is the output of the whole layer, (B, T, C). Asked for is each head's part of it, "
            "(B, H, T, C), before the sum.",
            lambda heads, w: one_at_a_time(heads, w).sum(1),
        ),
        Mistake(
            "(D H) instead of (H D)",
            "You gave each head every H-th column of w_output. A head's D columns lie side by side.",
            lambda heads, w: by_columns(heads, w.unflatten(1, (-1, heads.shape[1])).mT),
        ),
        Mistake(
            "the first head's columns for all",
            "You multiply every head by the first D columns of w_output. Each has its own: head h those "
            "from h·D on.",
            lambda heads, w: heads @ w[:, : heads.shape[-1]].T,
        ),
        Mistake(
            "the columns in reverse",
            "The columns are dealt out from the wrong end: head 0 has the first D, not the last.",
            lambda heads, w: by_columns(heads, w.unflatten(1, (heads.shape[1], -1)).flip(1)),
        ),
        Mistake(
            "heads behind the positions",
            "The parts are right, but the axes are (B, T, H, C): the heads should stand in front of the "
            "positions.",
            lambda heads, w: one_at_a_time(heads, w).transpose(1, 2),
        ),
        Mistake(
            "divided by the heads",
            "You divide by H. The output is the sum of the parts, not their mean.",
            lambda heads, w: one_at_a_time(heads, w) / heads.shape[1],
        ),
    ),
    hints=(
        "Heads side by side, times w_output.T: which columns of w_output does head h meet?",
        "Those from h·D to (h + 1)·D. So head h adds heads[:, h] @ w_output[:, h*D:(h+1)*D].T, which "
        "is (B, T, C). Stack them along axis 1.",
        "At once: columns = w_output.unflatten(1, (H, -1)) is (C, H, D), and then "
        'torch.einsum("bhtd,chd->bhtc", heads, columns).',
    ),
)

# --- mean_pool_kv_heads ---------------------------------------------------------------------------


def mean_pool_kv_heads(weight: Tensor, H: int, G: int) -> Tensor:
    """Make G KV heads out of H: each is the mean of H/G neighbours.

    Shapes: weight (H·D, C), of keys or values → (G·D, C). Ainslie et al., "GQA" (2023), section 2.1.
    """
    C = weight.shape[1]
    return weight.reshape(G, H // G, -1, C).mean(1).reshape(-1, C)


def pooled_by_slices(weight: Tensor, H: int, G: int) -> Tensor:
    D, n = weight.shape[0] // H, H // G
    heads = [weight[h * D : (h + 1) * D] for h in range(H)]
    return torch.cat([sum(heads[g * n : (g + 1) * n], torch.zeros(())) / n for g in range(G)])


def cut(weight: Tensor, H: int) -> Tensor:
    """(H·D, C) → (H, D, C)."""
    return weight.unflatten(0, (H, -1))


MEAN_POOL_KV_HEADS = Exercise(
    name="mean_pool_kv_heads",
    lesson=LESSON,
    library=mean_pool_kv_heads,
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        call("H = 6, G = 2, D = 3, C = 5", tensors(18, 5), 6, 2, oracle=pooled_by_slices),
        call("H = 6, G = 3, D = 2, C = 4", tensors(12, 4), 6, 3, oracle=pooled_by_slices),
        call("H = 4, G = 1: one for all", tensors(12, 7), 4, 1, oracle=pooled_by_slices),
        call("H = 3, G = 3: nothing to pool", tensors(6, 4), 3, 3, oracle=pooled_by_slices),
    ),
    mistakes=(
        Mistake(
            "every G-th head pooled",
            "You pooled heads 0, G, 2G, …. Neighbours are read by the same group of query heads, so "
            "neighbours are pooled: 0 to H/G - 1 first.",
            lambda weight, H, G: cut(weight, H).unflatten(0, (-1, G)).mean(0).flatten(0, 1),
        ),
        Mistake(
            "added instead of averaged",
            "You added the heads of a group up. Keys H/G times as large make scores H/G times as large: "
            "take the mean.",
            lambda weight, H, G: pooled_by_slices(weight, H, G) * (H // G),
        ),
        Mistake(
            "the first of each group",
            "You kept the first head of each group and dropped the others. What "
            "those had learned is lost: take their mean.",
            lambda weight, H, G: cut(weight, H)[:: H // G].flatten(0, 1),
        ),
        Mistake(
            "channels averaged instead of heads",
            "You averaged neighbouring rows: the channels of one head. A group is H/G whole heads of D "
            "rows each: cut the rows into (G, H/G, D) first.",
            lambda weight, H, G: weight.unflatten(0, (-1, H // G)).mean(1),
        ),
        Mistake(
            "still H heads",
            "The means are right, but each stands there H/G times. G heads are asked for: (G·D, C).",
            lambda weight, H, G: (
                cut(pooled_by_slices(weight, H, G), G)
                .repeat_interleave(H // G, dim=0)
                .flatten(0, 1)
            ),
        ),
        Mistake(
            "the rows in (D G) order",
            "The means are right, but you laid the rows out channel by channel. A head's rows stay "
            "together: (G D).",
            lambda weight, H, G: (
                cut(pooled_by_slices(weight, H, G), G).transpose(0, 1).flatten(0, 1)
            ),
        ),
    ),
    hints=(
        "The rows of a weight are (H·D): H heads of D rows. G groups of H/G heads: cut the rows into "
        "(G, H/G, D).",
        "weight.reshape(G, H // G, D, C), then the mean over axis 1, then G and D back into one axis.",
        "With einops in one call: reduce(weight, '(G N D) C -> (G D) C', 'mean', G=G, N=H // G).",
    ),
)

EXERCISES = (
    SPLIT_HEADS,
    MERGE_HEADS,
    GROUPED_QUERY_ATTENTION,
    MULTI_HEAD_ATTENTION,
    HEAD_OUTPUTS,
    MEAN_POOL_KV_HEADS,
)
