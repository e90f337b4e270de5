"""Exercises of lesson 02: heads split and merged, KV heads shared, and the whole layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.model import (
    attention,
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


def cut_and_moved(x: Tensor, H: int) -> Tensor:
    """A right one."""
    return x.unflatten(-1, (H, -1)).transpose(1, 2)


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
        call("one position: x (2, 1, 10), H = 5", tensors(2, 1, 10), 5, oracle=slices),
    ),
    mistakes=edits(
        cut_and_moved,
        """
## reshaped without a transpose
- x.unflatten(-1, (H, -1)).transpose(1, 2) → x.reshape(x.shape[0], H, x.shape[1], -1)
The shape is right, but the numbers are dealt out in the order in which they lie in memory: your
first head holds the first position's heads, not its own channels of every position. Cut the last
axis into (H, D) first, then move H in front of T.
## heads and positions not swapped
- .transpose(1, 2)
You cut the last axis rightly, but the result is (B, T, H, D). Attention works on the last two
axes, so these must be (T, D): the heads belong in front of the positions.
## (D H) instead of (H D)
- (H, -1)).transpose(1, 2) → (-1, H)).permute(0, 3, 1, 2)
You take every H-th channel for a head. A head's D channels lie side by side: in the pattern the
axis that varies fastest stands on the right, so it is (H D).
## H taken for D
- (H, -1) → (-1, H)
You made heads of H channels each. H is how many heads there are: H=H in rearrange, or x.shape[-1]
// H channels for each.
## heads in front of the batch
- .transpose(1, 2) → .permute(2, 0, 1, 3)
The heads are right, but the batch must stay in front: (B, H, T, D).
## heads behind the channels
- .transpose(1, 2) → .mT
Your heads stand last: (B, T, D, H). They belong in front of the positions: (B, H, T, D).
## the first text alone
- x.unflatten → x[:1].unflatten
Right for one text: of a batch you keep the first alone. The axis B stays as it is.
## axes of length 1 dropped
- .transpose(1, 2) → .transpose(1, 2).squeeze()
The numbers are right, but `squeeze` drops every axis of length 1: with one text, one head or one
position there must still be four axes.
## batch and heads in one axis
- .transpose(1, 2) → .transpose(1, 2).flatten(0, 1)
The heads are right, but you put them in one axis with the texts: (B·H, T, D). Four axes are asked
for: (B, H, T, D).
## positions cut instead of channels
- x.unflatten(-1, (H, -1)).transpose(1, 2) → list(x.chunk(H, dim=1))
You cut the text into pieces, along its positions. What is cut into heads are the channels, the last
axis.
## channels in front, heads behind
- .transpose(1, 2) → .permute(0, 3, 1, 2)
Your axes are (B, D, T, H). The heads belong in front of the positions, the channels last: (B, H, T,
D).
## heads one after the other in the batch
- x.unflatten(-1, (H, -1)).transpose(1, 2) → torch.cat(x.chunk(H, -1))
You put the heads one after the other along the batch: (H·B, T, D). They have an axis of their own:
torch.stack(heads, dim=1).
## heads that overlap
- x.unflatten(-1, (H, -1)).transpose(1, 2)
+ torch.stack([x[..., h : h + x.shape[-1] // H] for h in range(H)], 1)
Your heads overlap: each begins one channel after the one before. Head h begins at h·D.
## heads in reverse
- .transpose(1, 2) → .transpose(1, 2).flip(1)
The heads are right, but in reverse: head 0 has the first D channels.
## everything for each head
- x.unflatten(-1, (H, -1)).transpose(1, 2) → x[:, None].expand(-1, H, -1, -1)
You give all channels to each head. They are shared out: D = C / H for each.
## the first head's channels for all
- .transpose(1, 2) → [:, :, :1].expand(-1, -1, H, -1).transpose(1, 2)
You give the first D channels to every head. Head h has those from h·D on.
## channels and positions swapped
- .transpose(1, 2) → .permute(0, 2, 3, 1)
Your last two axes are (D, T); they should be (T, D): a row for each position.
## transposed before cutting
- x.unflatten(-1, (H, -1)).transpose(1, 2) → x.mT.reshape(x.shape[0], H, x.shape[1], -1)
You swapped positions and channels before you cut the channels, and then dealt the numbers out
anew. Cut the last axis first: unflatten it to (H, D), then swap T and H.
## a list of heads
- x.unflatten(-1, (H, -1)).transpose(1, 2) → list(x.chunk(H, dim=-1))
Those are the right heads, but as separate tensors. One tensor is asked for, with the heads as its
axis number 1: torch.stack(heads, dim=1), or rearrange at once.
""",
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


def moved_and_joined(x: Tensor) -> Tensor:
    """A right one."""
    return x.transpose(1, 2).flatten(2)


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
        call("one position: x (2, 5, 1, 3)", tensors(2, 5, 1, 3), oracle=side_by_side),
    ),
    mistakes=edits(
        moved_and_joined,
        """
## reshaped without a transpose
- x.transpose(1, 2).flatten(2) → x.reshape(x.shape[0], x.shape[2], -1)
The shape is right, but each of your rows holds one head's numbers of several positions. Move the
heads back behind the positions first, then put (H D) together.
## (D H) instead of (H D)
- x.transpose(1, 2) → x.permute(0, 2, 3, 1)
You interleave the heads: first the channel 0 of every head, then channel 1. A head's channels stay
side by side: (H D).
## positions merged instead of heads
- .transpose(1, 2)
You put the positions side by side, and have a row for each head. It should be a row for each
position, with the heads side by side: (B, T, H·D).
## the wrong axes swapped
- x.transpose(1, 2).flatten(2) → x.mT.reshape(x.shape[0], x.shape[2], -1)
You swapped the last two axes, (T, D). It is H and T, axes 1 and 2, that must change places before
the last two are put together.
## moved, but not joined
- .flatten(2)
The heads stand behind the positions now, but in an axis of their own: (B, T, H, D). Make one axis
of the last two.
## heads one after the other
- x.transpose(1, 2).flatten(2) → x.flatten(1, 2)
You put the heads one after the other along the positions: (B, H·T, D). They belong side by side: a
row of H·D numbers for each position.
## (T H) merged
- .flatten(2) → .flatten(1, 2)
You merge positions and heads: (B, T·H, D). It is heads and channels, the last two axes, that become
one: (B, T, H·D).
## all in one row
- .flatten(2) → .flatten(1)
You make one row of each text: (B, T·H·D). Positions keep their axis: flatten from axis 2 on.
## positions in front of the batch
- .flatten(2) → .flatten(2).transpose(0, 1)
Your positions stand in front of the texts: (T, B, H·D). The batch stays first.
## positions last
- .flatten(2) → .flatten(2).mT
The rows became columns: you give (B, H·D, T). Positions stay in front of the channels: (B, T,
H·D).
## the first text alone
- x.transpose → x[:1].transpose
Right for one text: of a batch you keep the first alone. The axis B stays as it is.
## axes of length 1 dropped
- .flatten(2) → .flatten(2).squeeze()
The numbers are right, but `squeeze` drops every axis of length 1: with one text or one position
there must still be three axes.
## the first head alone
- x.transpose(1, 2).flatten(2) → x[:, 0]
You keep head 0 alone. All are put side by side: H·D numbers for each position.
## heads in reverse
- x.transpose → x.flip(1).transpose
The heads stand side by side, but in reverse: head 0 comes first.
## a list of rows
- x.transpose(1, 2).flatten(2) → list(torch.cat(x.unbind(1), -1))
The rows are right, but the texts of the batch are separate tensors. One tensor is asked for: (B, T,
H·D).
## heads added up
- x.transpose(1, 2).flatten(2) → x.sum(1)
You added the heads up, so nobody can tell them apart any more. Put them side by side: H·D numbers
for each position.
## heads averaged
- x.transpose(1, 2).flatten(2) → x.mean(1)
You took the mean of the heads. The point of several heads is that they are not averaged: put them
side by side, H·D numbers for each position.
## the batch merged too
- .flatten(2) → .flatten(2).flatten(0, 1)
The rows are right, but the texts of the batch are one long text now: (B·T, H·D). Leave the batch
an axis of its own.
""",
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


def by_repeating(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """A right one."""
    n = q.shape[1] // k.shape[1]
    k = k.repeat_interleave(n, dim=1)
    v = v.repeat_interleave(n, dim=1)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -INF)
    return scores.softmax(-1).nan_to_num(0.0) @ v


def shared_by(q: Tensor, k: Tensor, size: int) -> list[int]:
    """The KV head of each query head, if `size` neighbours shared one; the last for the rest."""
    return [min(h // size, k.shape[1] - 1) for h in range(q.shape[1])]


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Queries (B, G, n·T, D), and a mask whose rows lie otherwise."""
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    if mask is not None:
        mask = mask.expand(*mask.shape[:-2], T, S).repeat_interleave(H // G, dim=-2)
    return attention(q.reshape(B, G, -1, D), k, v, mask).reshape(B, H, T, D)


def for_the_first_head(mask: Tensor, H: int) -> Tensor:
    """Masks head 0 alone."""
    only = torch.ones(1, H, 1, 1, dtype=torch.bool)
    only[:, 0] = False
    return mask | only


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
        call(
            "H = 8, G = 2, one query, a mask for each text and head",
            *groups(3, 8, 2, 1, 5, 4),
            some(3, 8, 1, 5),
            oracle=shared_sdpa,
        ),
    ),
    mistakes=edits(
        by_repeating,
        """
## KV heads tiled instead of repeated
- k.repeat_interleave(n, dim=1) → k.repeat(1, n, 1, 1)
- v.repeat_interleave(n, dim=1) → v.repeat(1, n, 1, 1)
You lay the KV heads out as 0 1 2 0 1 2 …; neighbours should share: 0 0 0 1 1 1 …. Query head h
reads KV head h // (H/G), not h % G: repeat_interleave, not repeat.
## keys repeated, values tiled
- v.repeat_interleave(n, dim=1) → v.repeat(1, n, 1, 1)
Your keys are shared by neighbours, 0 0 1 1, but your values lie as 0 1 0 1. So a head's weights
meet another head's values. Repeat both in the same way.
## keys tiled, values repeated
- k.repeat_interleave(n, dim=1) → k.repeat(1, n, 1, 1)
Your values are shared by neighbours, 0 0 1 1, but your keys lie as 0 1 0 1. Repeat both in the
same way: repeat_interleave.
## all read the first KV head
- k.repeat_interleave(n, dim=1) → k[:, :1]
- v.repeat_interleave(n, dim=1) → v[:, :1]
All your query heads read KV head 0. That is right for G = 1 alone: head h reads h // (H/G).
## all read the last KV head
- k.repeat_interleave(n, dim=1) → k[:, -1:]
- v.repeat_interleave(n, dim=1) → v[:, -1:]
All your query heads read the last KV head. That is right for G = 1 alone: head h reads h // (H/G).
## h // G
- k.repeat_interleave(n, dim=1) → k[:, shared_by(q, k, k.shape[1])]
- v.repeat_interleave(n, dim=1) → v[:, shared_by(q, v, v.shape[1])]
You divide h by G. A group has H/G heads, so head h reads KV head h // (H/G); the two are the same
where H = G · G.
## each its own, and the last for the rest
- k.repeat_interleave(n, dim=1) → k[:, shared_by(q, k, 1)]
- v.repeat_interleave(n, dim=1) → v[:, shared_by(q, v, 1)]
Your first G heads have a KV head each, and all others read the last. Neighbours share: head h reads
KV head h // (H/G).
## KV heads in reverse
- k.repeat_interleave(n, dim=1) → k.flip(1).repeat_interleave(n, dim=1)
- v.repeat_interleave(n, dim=1) → v.flip(1).repeat_interleave(n, dim=1)
You deal out the KV heads from the last to the first. The first group reads KV head 0.
## the mean of the KV heads
- k.repeat_interleave(n, dim=1) → k.mean(1, keepdim=True)
- v.repeat_interleave(n, dim=1) → v.mean(1, keepdim=True)
You average the KV heads, and every head reads that mean. Each group reads a KV head of its own.
## the first values for all
- v.repeat_interleave(n, dim=1) → v[:, :1]
Your keys are shared rightly, but the values of all heads are those of KV head 0. Repeat both in the
same way.
## the first keys for all
- k.repeat_interleave(n, dim=1) → k[:, :1]
Your values are shared rightly, but the keys of all heads are those of KV head 0. Repeat both in the
same way.
## heads in another order
- return scores.softmax(-1).nan_to_num(0.0) @ v
+ out = scores.softmax(-1).nan_to_num(0.0) @ v
+ return out.unflatten(1, (-1, n)).transpose(1, 2).flatten(1, 2)
Each head's output is right, but it stands in the wrong place: the first head of every group comes
first. The order of the queries stays: group by group.
## the heads of a group averaged
- return scores.softmax(-1).nan_to_num(0.0) @ v
+ out = scores.softmax(-1).nan_to_num(0.0) @ v
+ return out.unflatten(1, (-1, n)).mean(2)
You average the outputs of a group: G heads come out. All H are asked for.
## query heads averaged per group
- n = q.shape[1] // k.shape[1] → n, q = 1, q.unflatten(1, (k.shape[1], -1)).mean(2)
You averaged the query heads of a group, so G heads come out instead of H. The queries stay apart;
what they share are keys and values.
## query heads added up, then repeated
- k = k.repeat_interleave
+ q = q.unflatten(1, (k.shape[1], -1)).sum(2).repeat_interleave(n, dim=1)
+ k = k.repeat_interleave
All heads of a group give the same output in your function: you added up their queries. The queries
stay apart; what they share are keys and values.
## the first query head of each group for all
- k = k.repeat_interleave
+ q = q[:, ::n].repeat_interleave(n, dim=1)
+ k = k.repeat_interleave
All heads of a group give the same output in your function: that of its first head. The queries stay
apart; what they share are keys and values.
## query heads averaged, then repeated
- k = k.repeat_interleave
+ q = q.unflatten(1, (k.shape[1], -1)).mean(2).repeat_interleave(n, dim=1)
+ k = k.repeat_interleave
All heads of a group give the same output in your function: you averaged their queries. The queries
stay apart; what they share are keys and values.
## only the first of each group
- n = q.shape[1] // k.shape[1] → n, q = 1, q[:, : k.shape[1]]
Only G heads come out, those of the first G query heads. All H are asked for: repeat keys and
values until there are H of them.
## scaled by √(H·D)
- math.sqrt(q.shape[-1]) → math.sqrt(q.shape[1] * q.shape[-1])
You divide by the root of the whole width, H·D. Each head's scores are sums of D products: divide
by √D.
## forgot 1/√D
-  / math.sqrt(q.shape[-1])
The scores are not scaled. Divide them by √D, or use your `attention`, which does.
## divided by D
- math.sqrt(q.shape[-1]) → q.shape[-1]
You divide by D, not by its root. Or use your `attention`, which scales.
## scaled by the group, too
- math.sqrt(q.shape[-1]) → math.sqrt(q.shape[-1] * n)
You scale by the number of heads in a group. The scores of each head are sums of D products: divide
by √D alone.
## NaN where nothing may be attended to
- .nan_to_num(0.0)
Right but for a query that may attend to nothing, where you give NaN. Your `attention` gives zeros
there.
## a large negative number instead of -inf
- ~mask, -INF → ~mask, -1e9
Right but for a query that may attend to nothing: yours takes the mean of all values, as happens with
a large negative number in place of -inf. Your `attention` gives zeros there.
## always causal
- if mask is not None:
+ if mask is None:
+     mask = lower(q.shape[2], k.shape[2])
+ if mask is not None:
You mask the future even if no mask was given. Who calls the function decides: without a mask every
query sees every key.
## causal besides the mask
- if mask is not None:
+ if mask is not None:
+     mask = mask & lower(q.shape[2], k.shape[2])
You mask the future on top of the mask that is given. Who calls the function decides: a mask may let
a query see what comes later.
## the mask ignored for one query
- if mask is not None: → if mask is not None and q.shape[2] > 1:
You ignore the mask where there is a single query. It may hide keys from that one, too.
## the mask ignored where nothing is shared
- if mask is not None: → if mask is not None and n > 1:
Where every head has a KV head of its own you ignore the mask. Hand it on in that case, too.
## the first text alone
- return scores.softmax(-1).nan_to_num(0.0) @ v
+ return (scores.softmax(-1).nan_to_num(0.0) @ v)[:1]
Right for one text: of a batch you keep the first alone. The axis B stays as it is.
## heads merged
- return scores.softmax(-1).nan_to_num(0.0) @ v
+ return (scores.softmax(-1).nan_to_num(0.0) @ v).transpose(1, 2).flatten(2)
The numbers are right, but you put the heads side by side. The output keeps the shape of q: (B, H,
T, D).
## the first text's mask for all
- scores = scores.masked_fill
+ mask = mask[:1] if mask.ndim == 4 else mask
+ scores = scores.masked_fill
You use the first text's mask for all texts of the batch. Each may have its own: (B, 1, T, S)
broadcasts as it is.
## one mask for each group
- scores = scores.masked_fill
+ if mask.ndim == 4 and mask.shape[1] > 1:
+     mask = mask[:, ::n].repeat_interleave(n, dim=1)
+ scores = scores.masked_fill
You use the mask of a group's first head for the whole group. Heads share keys and values; each may
have a mask of its own.
## softmax over the queries
- softmax(-1) → softmax(-2)
Your softmax runs along the queries. Each query shares out its weight among the keys: the last axis.
## groups folded, the mask's rows repeated in place
- n = q.shape[1] // k.shape[1] → return folded(q, k, v, mask)
You put the heads of a group one after the other along the positions, but repeat each row of the
mask in place: 0 0 1 1. The positions lie as 0 1 0 1 there, and so must the rows of the mask.
## one softmax over all heads
- scores.softmax(-1).nan_to_num(0.0) → joint_softmax(scores)
Your weights sum to 1 over all heads together. Each head shares out a weight of 1 of its own:
softmax along the keys, the last axis, alone.
## softmax over the heads
- softmax(-1) → softmax(1)
Your softmax runs along axis 1: there the heads compete for each key. Each head shares out its own
weight among the keys, the last axis.
## mask on the first head alone
- ~mask → ~for_the_first_head(mask, q.shape[1])
You mask head 0 and let all others see everything. A mask holds for every head: it broadcasts over
the axis of the heads.
## the first head's mask for all
- scores = scores.masked_fill
+ mask = mask[:, :1] if mask.ndim == 4 else mask
+ scores = scores.masked_fill
A mask may be different for each head, (B, H, T, S). You use that of head 0 for all.
## the mask ignored
- if mask is not None:
-     scores = scores.masked_fill(~mask, -INF)
The mask changes nothing in your function. Hand it on to `attention`.
## the mask upside down
- ~mask → mask
You hide what may be seen. In this course True means: may attend.
""",
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


def in_five_steps(
    x: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    H: int,
    mask: Tensor | None = None,
) -> Tensor:
    """A right one."""
    D = w_query.shape[0] // H
    G = w_key.shape[0] // D
    q, k, v = F.linear(x, w_query), F.linear(x, w_key), F.linear(x, w_value)
    q, k, v = slices(q, H), slices(k, G), slices(v, G)
    heads = shared_sdpa(q, k, v, mask)
    return F.linear(side_by_side(heads), w_output)


def layered(label: str, *inputs: object) -> Case:
    return call(label, *inputs, oracle=in_plain_torch)


wrong_sharing = {mistake.name: mistake.wrong for mistake in GROUPED_QUERY_ATTENTION.mistakes}


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
        layered("C = 6, H = G = 3, no mask", tensors(1, 4, 6), *weights(6, 3, 3, 2), 3),
        layered(
            "C = 12, H = G = 4, causal", tensors(2, 5, 12), *weights(12, 4, 4, 3), 4, lower(5, 5)
        ),
        layered(
            "C = 12, H = 6, G = 3, causal", tensors(2, 5, 12), *weights(12, 6, 3, 2), 6, lower(5, 5)
        ),
        layered(
            "C = 10, H = 3, G = 1, D = 4: H·D is not C", tensors(2, 3, 10), *weights(10, 3, 1, 4), 3
        ),
        layered(
            "a mask for each text of the batch",
            tensors(2, 4, 8),
            *weights(8, 4, 2, 2),
            4,
            some(2, 1, 4, 4),
        ),
        layered(
            "a mask for each head", tensors(2, 4, 6), *weights(6, 3, 1, 2), 3, some(1, 3, 4, 4)
        ),
        layered(
            "C = 8, H = 4, G = 2, D = 3, causal",
            tensors(3, 5, 8),
            *weights(8, 4, 2, 3),
            4,
            lower(5, 5),
        ),
        layered("C = 9, H = 8, G = 2, D = 2", tensors(1, 3, 9), *weights(9, 8, 2, 2), 8),
    ),
    mistakes=edits(
        in_five_steps,
        """
## weights not transposed
- F.linear(x, w_query), F.linear(x, w_key), F.linear(x, w_value) → x @ w_query, x @ w_key, x @ w_value
- F.linear(side_by_side(heads), w_output) → side_by_side(heads) @ w_output
You multiply by the weights as they lie. nn.Linear stores them as (out, in), so it is x @ w.T. With
square weights nothing crashes; with others it does.
## w_output not transposed
- F.linear(side_by_side(heads), w_output) → side_by_side(heads) @ w_output
Queries, keys and values are right, but the output is multiplied by w_output as it lies: it is
stored as (C, H·D) = (out, in) too, so w_output.T.
## queries, keys and values not transposed
- F.linear(x, w_query), F.linear(x, w_key), F.linear(x, w_value) → x @ w_query, x @ w_key, x @ w_value
The output projection is right, but queries, keys and values are multiplied by their weights as
they lie: nn.Linear stores (out, in), so it is x @ w.T.
## output projection forgotten
- F.linear(side_by_side(heads), w_output) → side_by_side(heads)
You return the heads side by side. The last step mixes them: multiply by w_output.T.
## no output projection, and KV heads not shared
- shared_sdpa → unshared
- F.linear(side_by_side(heads), w_output) → side_by_side(heads)
Two things. You return the heads side by side: the last step mixes them, by w_output.T. And with
fewer KV heads than H, `attention` alone raises: grouped_query_attention shares them.
## scaled by √C
- shared_sdpa(q, → shared_sdpa(q * math.sqrt(D / x.shape[-1]),
You divide the scores by √C, the root of the whole width. A head's scores are sums of D products:
divide by √D, or use your `attention`, which does.
## split by reshape
- slices(q, H), slices(k, G), slices(v, G) → reshaped(q, H), reshaped(k, G), reshaped(v, G)
You cut the heads by reshape to (B, H, T, D): that mixes positions and heads. Cut the last axis and
move the heads: your split_heads.
## merged by reshape
- side_by_side(heads) → heads.reshape(*x.shape[:2], -1)
You put the heads together by reshape to (B, T, H·D) without moving them behind the positions
first: your merge_heads does both.
## split and merged by reshape
- slices(q, H), slices(k, G), slices(v, G) → reshaped(q, H), reshaped(k, G), reshaped(v, G)
- side_by_side(heads) → heads.reshape(*x.shape[:2], -1)
You split and merge by reshape alone. The two undo each other, so the shapes are right, but inside,
heads and positions are mixed. Use split_heads and merge_heads.
## heads and positions swapped
- slices(q, H), slices(k, G), slices(v, G) → (y.unflatten(-1, (-1, D)) for y in (q, k, v))
- shared_sdpa(q, k, v, mask) → F.scaled_dot_product_attention(q, k, v)
- side_by_side(heads) → heads.flatten(2)
Your heads stand where the positions should be, (B, T, H, D): so each position's heads attend to
one another, and no token sees another. Swap T and H.
## (D H) instead of (H D)
- slices(q, H), slices(k, G), slices(v, G) → every_hth(q, H), every_hth(k, G), every_hth(v, G)
- side_by_side(heads) → heads.permute(0, 2, 3, 1).flatten(2)
You take every H-th channel for a head. A head's D channels lie side by side, since the rows of
w_query do: (H D).
## one wide head
- slices(q, H), slices(k, G), slices(v, G) → slices(q, 1), slices(k, 1), slices(v, 1)
You never split: that is one head of H·D channels, with one set of weights for all. Split queries,
keys and values into heads first.
## never split
- q, k, v = slices(q, H), slices(k, G), slices(v, G)
+ return F.linear(attention(q, k, v, mask), w_output)
You never split: that is one head of H·D channels, with one set of weights for all. Split queries,
keys and values into heads first.
## heads added up
- F.linear(side_by_side(heads), w_output) → F.linear(heads.sum(1), w_output[:, :D])
You add the heads up. They are put side by side, H·D numbers, and w_output mixes them.
## heads averaged
- F.linear(side_by_side(heads), w_output) → F.linear(side_by_side(heads), w_output) / H
You divide by H. The output is the sum of what the heads add, by w_output, not their mean.
## scaled twice
- shared_sdpa → wrong_sharing["divided by D"]
You divide the scores by D in the end: by √D twice? `attention` does it already.
## the mean of the KV heads
- shared_sdpa → wrong_sharing["the mean of the KV heads"]
You average the KV heads, and every head reads that mean. Each group reads a KV head of its own: your
grouped_query_attention.
## the mask ignored where nothing is shared
- shared_sdpa → wrong_sharing["the mask ignored where nothing is shared"]
Where every head has a KV head of its own you ignore the mask. Hand it on in that case, too.
## KV heads in reverse
- shared_sdpa → wrong_sharing["KV heads in reverse"]
You deal out the KV heads from the last to the first. The first group reads KV head 0: your
grouped_query_attention.
## KV heads tiled instead of repeated
- shared_sdpa → wrong_sharing["KV heads tiled instead of repeated"]
Right for G = H and G = 1. Between them your query heads read the KV heads 0 1 2 0 1 2; it should
be 0 0 1 1 2 2: your grouped_query_attention does that.
## h // G
- shared_sdpa → wrong_sharing["h // G"]
You divide h by G to find the KV head of head h. A group has H/G heads, so it is h // (H/G): your
grouped_query_attention does that.
## keys repeated, values tiled
- shared_sdpa → wrong_sharing["keys repeated, values tiled"]
Your keys are shared by neighbours, 0 0 1 1, but your values lie as 0 1 0 1. Repeat both in the same
way: your grouped_query_attention does that.
## keys tiled, values repeated
- shared_sdpa → wrong_sharing["keys tiled, values repeated"]
Your values are shared by neighbours, 0 0 1 1, but your keys lie as 0 1 0 1. Repeat both in the same
way: your grouped_query_attention does that.
## all read the first KV head
- shared_sdpa → wrong_sharing["all read the first KV head"]
All your query heads read KV head 0. Neighbours share: your grouped_query_attention does that.
## query heads averaged per group
- shared_sdpa → wrong_sharing["query heads averaged, then repeated"]
Right for G = H. With fewer KV heads you average the queries of a group. They stay apart; what they
share are keys and values.
## one softmax over all heads
- shared_sdpa → wrong_sharing["one softmax over all heads"]
Your weights sum to 1 over all heads together. Each head shares out a weight of 1 of its own:
softmax along the keys alone.
## mask on the first head alone
- shared_sdpa → wrong_sharing["mask on the first head alone"]
You mask head 0 and let all others see everything. A mask holds for every head: it broadcasts over
the axis of the heads.
## the first head's mask for all
- shared_sdpa → wrong_sharing["the first head's mask for all"]
A mask may be different for each head, (B, H, T, T). You use that of head 0 for all.
## the first text's mask for all
- shared_sdpa → wrong_sharing["the first text's mask for all"]
You use the first text's mask for all texts of the batch. Each may have its own: hand the mask on as
it is.
## always causal
- shared_sdpa → wrong_sharing["always causal"]
You mask the future even if no mask was given. Who calls the function decides: hand on None, and
every position sees every other.
## causal whatever the mask
- shared_sdpa(q, k, v, mask) → shared_sdpa(q, k, v, lower(x.shape[1], x.shape[1]))
You mask the future, whatever mask was given, or none. Hand on the one that is given.
## causal besides the mask
- shared_sdpa → wrong_sharing["causal besides the mask"]
You mask the future on top of the mask that is given. Hand that on as it is.
## softmax over the queries
- shared_sdpa → wrong_sharing["softmax over the queries"]
Your softmax runs along the queries. Each query shares out its weight among the keys: the last axis.
## forgot 1/√D
- shared_sdpa → wrong_sharing["forgot 1/√D"]
The scores are not scaled. Divide them by √D, or use your `attention`, which does.
## (D H) when merged
- side_by_side(heads) → heads.permute(0, 2, 3, 1).flatten(2)
You split rightly, but merge as (D H): first the channel 0 of every head, then channel 1. Your
merge_heads puts the heads side by side.
## (D H) when split
- slices(q, H), slices(k, G), slices(v, G) → every_hth(q, H), every_hth(k, G), every_hth(v, G)
You merge rightly, but split as (D H): you take every H-th channel for a head. A head's D channels
lie side by side: your split_heads.
## the first text alone
- F.linear(side_by_side(heads), w_output) → F.linear(side_by_side(heads), w_output)[:1]
Right for one text: of a batch you give the first alone.
## x added
- return F.linear → return x + F.linear
You add x to the output. The residual comes in lesson 03, and not in this function.
## keys and values swapped
- F.linear(x, w_key), F.linear(x, w_value) → F.linear(x, w_value), F.linear(x, w_key)
Your keys are made with w_value and your values with w_key.
## keys made with the values' weights
- F.linear(x, w_key), → F.linear(x, w_value),
Your keys are made with w_value. By what a token is found and what it gives are two things: keys come
from w_key.
## the mask ignored
- shared_sdpa(q, k, v, mask) → shared_sdpa(q, k, v)
The mask changes nothing in your function. Hand it on to grouped_query_attention.
## the mask upside down
- shared_sdpa → wrong_sharing["the mask upside down"]
You hide what may be seen. PyTorch's MultiheadAttention reads a mask that way; in this course True
means: may attend.
## values made with the keys' weights
- F.linear(x, w_value) → F.linear(x, w_key)
Your values are made with w_key. What a token offers and what it gives are two things: values come
from w_value.
""",
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


def starting_at(w_output: Tensor, H: int, step: int, D: int) -> Tensor:
    """Columns of each head, (C, H, D), if head h began at h times `step`."""
    return torch.stack([w_output[:, h * step : h * step + D] for h in range(H)], dim=1)


def one_at_a_time(heads: Tensor, w_output: Tensor) -> Tensor:
    """The whole projection of a layer in which all heads but one are zero, for each of them."""
    outputs = []
    for h in range(heads.shape[1]):
        alone = torch.zeros_like(heads)
        alone[:, h] = heads[:, h]
        outputs.append(F.linear(side_by_side(alone), w_output))
    return torch.stack(outputs, dim=1)


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
            "one head: (2, 1, 3, 4), w_output (5, 4)",
            tensors(2, 1, 3, 4),
            tensors(5, 4),
            oracle=one_at_a_time,
        ),
        call(
            "as many channels as heads: (2, 3, 4, 3)",
            tensors(2, 3, 4, 3),
            tensors(7, 9),
            oracle=one_at_a_time,
        ),
    ),
    mistakes=edits(
        head_outputs,
        """
## added up already
- ->bhtc → ->btc
That is the output of the whole layer, (B, T, C). Asked for is each head's part of it, (B, H, T,
C), before the sum.
## (D H) instead of (H D)
- (heads.shape[1], -1)) → (-1, heads.shape[1])).mT
You gave each head every H-th column of w_output. A head's D columns lie side by side.
## the first head's columns for all
- torch.einsum("bhtd,chd->bhtc", heads, columns) → heads @ columns[:, 0].T
You multiply every head by the first D columns of w_output. Each has its own: head h those from h·D
on.
## the columns in reverse
- heads, columns) → heads, columns.flip(1))
The columns are dealt out from the wrong end: head 0 has the first D, not the last.
## heads behind the positions
- ->bhtc → ->bthc
The parts are right, but the axes are (B, T, H, C): the heads should stand in front of the
positions.
## rows cut instead of columns
- w_output.unflatten(1, (heads.shape[1], -1)) → w_output.reshape(len(heads[0]), -1, heads.shape[-1])
- bhtd,chd->bhtc → bhtd,hcd->bhtc
You cut the matrix as it lies in memory: that deals out its rows. Head h meets *columns* of
w_output: those from h·D to (h + 1)·D.
## added up as they come
- torch.einsum("bhtd,chd->bhtc", heads, columns)
+ torch.einsum("bhtd,chd->bhtc", heads, columns).cumsum(1)
Your head h also holds what the heads before it add. Each stands for itself: is something not
emptied between two heads?
## what is left without the head
- return torch.einsum("bhtd,chd->bhtc", heads, columns)
+ parts = torch.einsum("bhtd,chd->bhtc", heads, columns)
+ return parts.sum(1, keepdim=True) - parts
That is the output of the layer without head h, the sum of all others. Asked for is what head h
adds.
## the sum for each head
- return torch.einsum("bhtd,chd->bhtc", heads, columns)
+ parts = torch.einsum("bhtd,chd->bhtc", heads, columns)
+ return parts.sum(1, keepdim=True).expand(parts.shape)
You give the output of the whole layer for each head. Head h adds only what meets its own columns of
w_output.
## the last head's columns for all
- torch.einsum("bhtd,chd->bhtc", heads, columns) → heads @ columns[:, -1].T
You multiply every head by the last D columns of w_output. Each has its own: head h those from h·D
on.
## the first text alone
- heads, columns) → heads[:1], columns)
Right for one text: of a batch you give the first alone.
## a list of parts
- torch.einsum("bhtd,chd->bhtc", heads, columns)
+ list(torch.einsum("bhtd,chd->hbtc", heads, columns))
The parts are right, but as separate tensors. One tensor is asked for, with the heads as its axis
number 1: torch.stack(parts, dim=1).
## D taken for C / H
- w_output.unflatten(1, (heads.shape[1], -1))
+ starting_at(w_output, heads.shape[1], len(w_output) // heads.shape[1], heads.shape[-1])
You take C / H for D, so head h begins at the wrong column. D is the last axis of `heads`: head h
meets the columns from h·D on.
## heads one after the other
- torch.einsum("bhtd,chd->bhtc", heads, columns)
+ torch.einsum("bhtd,chd->bhtc", heads, columns).flatten(1, 2)
You put the parts one after the other along the positions: (B, H·T, C). They have an axis of their
own: torch.stack(parts, dim=1).
## heads in front of the batch
- ->bhtc → ->hbtc
The parts are right, but the heads stand in front of the texts: stack them along axis 1.
## divided by the heads
- heads, columns) → heads, columns) / heads.shape[1]
You divide by H. The output is the sum of the parts, not their mean.
""",
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
        call("H = 10, G = 2, D = 3, C = 4", tensors(30, 4), 10, 2, oracle=pooled_by_slices),
    ),
    mistakes=edits(
        mean_pool_kv_heads,
        """
## every G-th head pooled
- reshape(G, H // G, -1, C).mean(1) → reshape(H // G, G, -1, C).mean(0)
You pooled heads 0, G, 2G, …. Neighbours are read by the same group of query heads, so neighbours
are pooled: 0 to H/G - 1 first.
## added instead of averaged
- .mean(1) → .sum(1)
You added the heads of a group up. Keys H/G times as large make scores H/G times as large: take the
mean.
## always divided by 2
- .mean(1) → .sum(1).div(2)
You always divide by 2. A group has H/G heads: take their mean.
## divided by G
- .mean(1) → .sum(1).div(G)
You divide by G, the number of groups. A group has H/G heads: take their mean.
## divided by H
- .mean(1) → .sum(1).div(H)
You divide by H, all heads. A group has H/G of them: take their mean.
## the median
- .mean(1) → .median(1).values
That is the median of the group's heads. Asked for is their mean.
## the largest
- .mean(1) → .amax(1)
That is the largest number among the group's heads. Asked for is their mean.
## the last of each group
- .mean(1) → [:, -1]
You kept the last head of each group and dropped the others. What those had learned is lost: take
their mean.
## the first G heads
- weight.reshape(G, H // G, -1, C).mean(1) → weight[: G * weight.shape[0] // H]
You kept the first G heads and dropped the others. What those had learned is lost: take the mean of
each group.
## all heads pooled
- reshape(G, H // G, -1, C).mean(1) → reshape(H, -1, C).mean(0).repeat(G, 1, 1)
You pooled all heads into one, and have G copies of it. Each new head is the mean of its own H/G
neighbours.
## G taken for the size of a group
- reshape(G, H // G, -1, C) → reshape(H // G, G, -1, C)
You made groups of G heads. G is how many there are; each has H/G heads.
## the heads in an axis of their own
- .mean(1).reshape(-1, C) → .mean(1)
The means are right, but as (G, D, C). A weight has two axes: put G and D back into one, (G·D, C).
## the first of each group
- .mean(1) → [:, 0]
You kept the first head of each group and dropped the others. What those had learned is lost: take
their mean.
## channels averaged instead of heads
- reshape(G, H // G, -1, C) → reshape(-1, H // G, C)
You averaged neighbouring rows: the channels of one head. A group is H/G whole heads of D rows
each: cut the rows into (G, H/G, D) first.
## the channels of each head averaged
- .mean(1) → .mean(2)
You averaged over the D channels of each head. It is the H/G heads of a group that are averaged: axis
1 of (G, H/G, D, C).
## still H heads
- .mean(1) → .mean(1).repeat_interleave(H // G, dim=0)
The means are right, but each stands there H/G times. G heads are asked for: (G·D, C).
## the rows in (D G) order
- .mean(1) → .mean(1).transpose(0, 1)
The means are right, but you laid the rows out channel by channel. A head's rows stay together: (G
D).
""",
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
