"""Lesson 02: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange, reduce, repeat
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.model import attention

# --- split_heads ----------------------------------------------------------------------------------


def split_by_view(x, H):
    B, T, C = x.shape
    return x.view(B, T, H, C // H).transpose(1, 2)


def split_by_slices(x, H):
    D = x.shape[-1] // H
    return torch.stack([x[..., h * D : (h + 1) * D] for h in range(H)], 1)


SPLITS = edited(
    split_by_view,
    """
## reshaped without a transpose
- (B, T, H, C // H).transpose(1, 2) → (B, H, T, C // H)
## heads and positions not swapped
- .transpose(1, 2)
## (D H) instead of (H D)
- (B, T, H, C // H).transpose(1, 2) → (B, T, C // H, H).permute(0, 3, 1, 2)
## H taken for D
- (B, T, H, C // H) → (B, T, C // H, H)
## heads in front of the batch
- .transpose(1, 2) → .movedim(2, 0)
## channels and positions swapped
- .transpose(1, 2) → .transpose(1, 2).mT
## transposed before cutting
- x.view(B, T, H, C // H).transpose(1, 2) → x.transpose(1, 2).reshape(B, H, T, C // H)
## a list of heads
- x.view(B, T, H, C // H).transpose(1, 2) → list(x.split(C // H, dim=-1))
## heads behind the channels
- .transpose(1, 2) → .permute(0, 1, 3, 2)
## the first text alone
- .transpose(1, 2) → .transpose(1, 2)[0, None]
## axes of length 1 dropped
- return x → return torch.squeeze(x
- .transpose(1, 2) → .transpose(1, 2))
## batch and heads in one axis
- return x → return rearrange(x
- .view(B, T, H, C // H).transpose(1, 2) → , "B T (H D) -> (B H) T D", H=H)
## positions cut instead of channels
- x.view(B, T, H, C // H).transpose(1, 2) → torch.chunk(x, H, 1)
## channels in front, heads behind
- x.view(B, T, H, C // H).transpose(1, 2) → rearrange(x, "B T (H D) -> B D T H", H=H)
## heads one after the other in the batch
- x.view(B, T, H, C // H).transpose(1, 2) → rearrange(x, "B T (H D) -> (H B) T D", H=H)
## heads that overlap
- x.view(B, T, H, C // H).transpose(1, 2) → x.unfold(2, C // H, 1)[:, :, :H].transpose(1, 2)
## heads in reverse
- .transpose(1, 2) → .transpose(1, 2)[:, torch.arange(H - 1, -1, -1)]
## everything for each head
- x.view(B, T, H, C // H).transpose(1, 2) → torch.stack([x] * H, dim=1)
## the first head's channels for all
- x.view(B, T, H, C // H).transpose(1, 2) → torch.stack([x[..., : C // H] for _ in range(H)], 1)
""",
)

# --- merge_heads ----------------------------------------------------------------------------------


def merge_by_transpose(x):
    B, H, T, D = x.shape
    return x.transpose(1, 2).contiguous().view(B, T, H * D)


def merge_by_cat(x):
    return torch.cat(list(x.unbind(1)), -1)


MERGES = edited(
    merge_by_transpose,
    """
## reshaped without a transpose
- x.transpose(1, 2).contiguous() → x.contiguous()
## (D H) instead of (H D)
- x.transpose(1, 2) → x.transpose(1, 2).mT
## positions merged instead of heads
- x.transpose(1, 2).contiguous().view(B, T, H * D) → x.reshape(B, H, T * D)
## the wrong axes swapped
- transpose(1, 2) → transpose(2, 3)
## heads added up
- x.transpose(1, 2).contiguous().view(B, T, H * D) → torch.einsum("bhtd->btd", x)
## heads averaged
- x.transpose(1, 2).contiguous().view(B, T, H * D) → reduce(x, "B H T D -> B T D", "mean")
## the batch merged too
- view(B, T, H * D) → view(B * T, H * D)
## moved, but not joined
- view(B, T, H * D) → clone()
## heads one after the other
- x.transpose(1, 2).contiguous().view(B, T, H * D) → torch.cat(list(x.unbind(1)), 1)
## (T H) merged
- view(B, T, H * D) → view(B, T * H, D)
## all in one row
- view(B, T, H * D) → view(B, -1)
## positions in front of the batch
- x.transpose(1, 2).contiguous().view(B, T, H * D) → rearrange(x, "B H T D -> T B (H D)")
## positions last
- x.transpose(1, 2).contiguous().view(B, T, H * D) → rearrange(x, "B H T D -> B (H D) T")
## the first text alone
- view(B, T, H * D) → view(B, T, H * D)[0].unsqueeze(0)
## axes of length 1 dropped
- view(B, T, H * D) → view([n for n in (B, T, H * D) if n > 1])
## the first head alone
- x.transpose(1, 2).contiguous().view(B, T, H * D) → x.select(1, 0)
## heads in reverse
- x.transpose(1, 2) → x[:, range(H - 1, -1, -1)].transpose(1, 2)
## a list of rows
- view(B, T, H * D) → view(B, T, H * D).unbind(0)
""",
)

# --- grouped_query_attention ----------------------------------------------------------------------


def masked(scores, mask):
    return scores if mask is None else torch.where(mask, scores, -math.inf)


def weights_of(scores, dim=-1):
    return torch.softmax(scores, dim).nan_to_num(0.0)


def five_axes(q, k):
    """Queries as (B, G, N, T, D) and keys with an axis of length 1 for the N that share them."""
    return q.unflatten(1, (k.shape[1], -1)), k.unsqueeze(2)


def grouped_by_five_axes(q, k, v, mask=None):
    grouped, shared = five_axes(q, k)
    scores = (grouped @ shared.mT).flatten(1, 2) / q.shape[-1] ** 0.5
    weights = weights_of(masked(scores, mask)).unflatten(1, (k.shape[1], -1))
    return (weights @ v.unsqueeze(2)).flatten(1, 2)


def grouped_in_a_loop(q, k, v, mask=None):
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    seen = None if mask is None else mask.expand(B, H, T, S)
    heads = []
    for h in range(H):
        g = h * G // H
        scores = torch.einsum("btd,bsd->bts", q[:, h], k[:, g]) / math.sqrt(D)
        weights = weights_of(masked(scores, None if seen is None else seen[:, h]))
        heads.append(weights @ v[:, g])
    return torch.stack(heads, 1)


def grouped_by_powers(q, k, v, mask=None):
    """KV heads repeated by einops, and a softmax by hand."""
    n = q.shape[1] // k.shape[1]
    keys, values = (repeat(x, "B G S D -> B (G N) S D", N=n) for x in (k, v))
    scores = torch.einsum("bhtd,bhsd->bhts", q, keys) / math.sqrt(q.shape[-1])
    powers = (scores if mask is None else torch.where(mask, scores, -math.inf)).exp()
    total = powers.sum(-1, keepdim=True)
    return torch.where(total > 0, powers / total, 0.0) @ values


SHARES = {
    **edited(
        grouped_in_a_loop,
        """
## KV heads tiled instead of repeated
- g = h * G // H → g = h % G
## keys repeated, values tiled
- v[:, g] → v[:, h % G]
## keys tiled, values repeated
- k[:, g] → k[:, h % G]
## all read the first KV head
- g = h * G // H → g = 0
## query heads averaged per group
- (B, H, T, D), (G, S) =
+ q = reduce(q, "B (G N) T D -> B G T D", "mean", G=k.shape[1])
+ (B, H, T, D), (G, S) =
## query heads averaged, then repeated
- q[:, h] → q[:, g * (H // G) : (g + 1) * (H // G)].mean(1)
## only the first of each group
- (B, H, T, D), (G, S) =
+ q = q[:, : k.shape[1]]
+ (B, H, T, D), (G, S) =
## scaled by √(H·D)
- math.sqrt(D) → math.sqrt(H * D)
## query heads added up, then repeated
- q[:, h] → q[:, g * (H // G) : (g + 1) * (H // G)].sum(1)
## the first query head of each group for all
- q[:, h] → q[:, g * (H // G)]
## the mask ignored where nothing is shared
- seen = None if mask is None → seen = None if mask is None or G == H
## the first text alone
- return torch.stack(heads, 1) → return torch.stack(heads, 1)[0].unsqueeze(0)
## heads merged
- return torch.stack(heads, 1) → return torch.cat(heads, -1)
## all read the last KV head
- g = h * G // H → g = -1
## h // G
- g = h * G // H → g = min(h // G, G - 1)
## each its own, and the last for the rest
- g = h * G // H → g = h if h < G else G - 1
## KV heads in reverse
- g = h * G // H → g = (H - 1 - h) * G // H
## the mean of the KV heads
- k[:, g] → k.sum(1) / G
- v[:, g] → v.sum(1) / G
## the first values for all
- v[:, g] → v[:, 0]
## the first keys for all
- k[:, g] → k[:, 0]
## heads in another order
- return torch.stack(heads, 1)
+ return torch.stack([heads[h * (H // G) % H + h // G] for h in range(H)], 1)
## the heads of a group averaged
- return torch.stack(heads, 1) → return torch.stack(heads, 1).view(B, G, -1, T, D).mean(2)
## forgot 1/√D
-  / math.sqrt(D)
## divided by D
- math.sqrt(D) → D
## scaled by the group, too
- math.sqrt(D) → math.sqrt(D * H / G)
## groups folded, the mask's rows repeated in place
- heads = []
+ if mask is not None:
+     mask = torch.cat([mask[..., t : t + 1, :] for t in range(T) for _ in range(H // G)], dim=-2)
+ return attention(q.view(B, G, -1, D), k, v, mask).view(q.shape)
+ heads = []
""",
    ),
    **edited(
        grouped_by_powers,
        """
## one softmax over all heads
- powers.sum(-1, → powers.sum((1, 3),
## softmax over the heads
- powers.sum(-1, → powers.sum(1,
## mask on the first head alone
- powers = (
+ if mask is not None:
+     mask = mask.expand(scores.shape).clone()
+     mask[:, 1:] = True
+ powers = (
## the first head's mask for all
- powers = (
+ if mask is not None and mask.ndim == 4:
+     mask = mask.select(1, 0).unsqueeze(1)
+ powers = (
## NaN where nothing may be attended to
- torch.where(total > 0, powers / total, 0.0) → (powers / total)
## a large negative number instead of -inf
- torch.where(total > 0, powers / total, 0.0)
+ torch.where(total > 0, powers / total, 1 / k.shape[2])
## always causal
- powers = (
+ if mask is None:
+     mask = torch.ones(scores.shape[2:]).tril(k.shape[2] - q.shape[2]) > 0
+ powers = (
## causal besides the mask
- powers = (
+ if mask is not None:
+     mask = mask * torch.ones(scores.shape[2:]).tril(k.shape[2] - q.shape[2]).bool()
+ powers = (
## the mask ignored for one query
- scores if mask is None else → scores if mask is None or mask.shape[-2] == 1 else
## the first text's mask for all
- powers = (
+ mask = mask if mask is None or mask.ndim < 3 else mask[0]
+ powers = (
## one mask for each group
- powers = (
+ if mask is not None and mask.ndim == 4 and mask.shape[1] == q.shape[1]:
+     mask = mask[:, [h - h % n for h in range(q.shape[1])]]
+ powers = (
## softmax over the queries
- powers.sum(-1, → powers.sum(-2,
## the mask ignored
- scores if mask is None else torch.where(mask, scores, -math.inf) → scores
## the mask upside down
- torch.where(mask, scores, -math.inf) → torch.where(mask, -math.inf, scores)
""",
    ),
}

UNNAMED_SHARES = edited(
    grouped_in_a_loop,
    """
## the next KV head
- g = h * G // H → g = (h * G // H + 1) % G
## the last values for all
- v[:, g] → v[:, G - 1]
## the worst keys
- / math.sqrt(D) → / -math.sqrt(D)
""",
)


def plain_attention(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


# --- multi_head_attention -------------------------------------------------------------------------


def whole(x, w_query, w_key, w_value, w_output, H, mask=None):
    """The layer by einsum, one weight for each head: (H, D, C)."""
    D = w_query.shape[0] // H
    q, k, v = (
        torch.einsum("btc,hdc->bhtd", x, w.unflatten(0, (-1, D))) for w in (w_query, w_key, w_value)
    )
    out = w_output.unflatten(1, (H, D))
    return torch.einsum("bhtd,chd->btc", grouped_in_a_loop(q, k, v, mask), out)


def layer_in_a_loop(x, w_query, w_key, w_value, w_output, H, mask=None):
    D = w_query.shape[0] // H
    G = w_key.shape[0] // D
    total = torch.zeros_like(x)
    for h in range(H):
        g = h // (H // G)
        q = x @ w_query[h * D : (h + 1) * D].T
        k, v = (x @ w[g * D : (g + 1) * D].T for w in (w_key, w_value))
        scores = q @ k.mT / math.sqrt(D)
        if mask is not None:
            seen = mask.expand(x.shape[0], H, *scores.shape[1:])[:, h]
            scores = scores.masked_fill(~seen, -math.inf)
        total = total + weights_of(scores) @ v @ w_output[:, h * D : (h + 1) * D].T
    return total


def layer_by_parts(x, w_query, w_key, w_value, w_output, H, mask=None):
    G = H * w_key.shape[0] // w_query.shape[0]
    q, k, v = x @ w_query.T, x @ w_key.T, x @ w_value.T
    q, k, v = (split_by_view(y, n) for y, n in ((q, H), (k, G), (v, G)))
    merged = merge_by_transpose(grouped_by_five_axes(q, k, v, mask))
    return merged @ w_output.T


def unshared(q, k, v, mask):
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
    return weights_of(masked(scores, mask)) @ v


def heads_attend_to_heads(x, w_query, w_key, w_value, w_output, H, mask=None):
    D = w_query.shape[0] // H
    q, k, v = (F.linear(x, w).view(*x.shape[:2], -1, D) for w in (w_query, w_key, w_value))
    return F.linear((weights_of(q @ k.mT / math.sqrt(D)) @ v).flatten(2), w_output)


def never_split(x, w_query, w_key, w_value, w_output, H, mask=None):
    q, k, v = x @ w_query.T, x @ w_key.T, x @ w_value.T
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return weights_of(masked(scores, mask)) @ v @ w_output.T


LAYERS = {
    **edited(
        layer_by_parts,
        """
## weights not transposed
- x @ w_query.T, x @ w_key.T, x @ w_value.T → x @ w_query, x @ w_key, x @ w_value
- w_output.T → w_output
## w_output not transposed
- w_output.T → w_output
## queries, keys and values not transposed
- x @ w_query.T, x @ w_key.T, x @ w_value.T → x @ w_query, x @ w_key, x @ w_value
## output projection forgotten
- return merged @ w_output.T → return merged
## no output projection, and KV heads not shared
- grouped_by_five_axes → unshared
- return merged @ w_output.T → return merged
## scaled by √C
- grouped_by_five_axes(q, → grouped_by_five_axes(q * (q.shape[-1] / x.shape[-1]) ** 0.5,
## split by reshape
- split_by_view → SPLITS["reshaped without a transpose"]
## merged by reshape
- merge_by_transpose → MERGES["reshaped without a transpose"]
## split and merged by reshape
- split_by_view → SPLITS["reshaped without a transpose"]
- merge_by_transpose → MERGES["reshaped without a transpose"]
## (D H) instead of (H D)
- split_by_view → SPLITS["(D H) instead of (H D)"]
- merge_by_transpose → MERGES["(D H) instead of (H D)"]
## KV heads tiled instead of repeated
- grouped_by_five_axes → SHARES["KV heads tiled instead of repeated"]
## query heads averaged per group
- grouped_by_five_axes → SHARES["query heads averaged, then repeated"]
## one softmax over all heads
- grouped_by_five_axes → SHARES["one softmax over all heads"]
## mask on the first head alone
- grouped_by_five_axes → SHARES["mask on the first head alone"]
## the mask ignored
- (q, k, v, mask) → (q, k, v)
## the mask upside down
- (q, k, v, mask) → (q, k, v, None if mask is None else ~mask)
## values made with the keys' weights
- x @ w_value.T → x @ w_key.T
## heads added up
- return merged @ w_output.T
+ D = merged.shape[-1] // H
+ return merged.unflatten(-1, (H, D)).sum(2) @ w_output[:, :D].T
## heads averaged
- return merged → return merged / H
## scaled twice
- grouped_by_five_axes(q, → grouped_by_five_axes(q / math.sqrt(q.shape[-1]),
## the mean of the KV heads
- grouped_by_five_axes → SHARES["the mean of the KV heads"]
## the mask ignored where nothing is shared
- grouped_by_five_axes → SHARES["the mask ignored where nothing is shared"]
## KV heads in reverse
- grouped_by_five_axes → SHARES["KV heads in reverse"]
## h // G
- grouped_by_five_axes → SHARES["h // G"]
## keys repeated, values tiled
- grouped_by_five_axes → SHARES["keys repeated, values tiled"]
## keys tiled, values repeated
- grouped_by_five_axes → SHARES["keys tiled, values repeated"]
## all read the first KV head
- grouped_by_five_axes → SHARES["all read the first KV head"]
## the first head's mask for all
- grouped_by_five_axes → SHARES["the first head's mask for all"]
## the first text's mask for all
- grouped_by_five_axes → SHARES["the first text's mask for all"]
## always causal
- grouped_by_five_axes → SHARES["always causal"]
## causal whatever the mask
- (q, k, v, mask) → (q, k, v, torch.ones(x.shape[1], x.shape[1]).tril().bool())
## causal besides the mask
- grouped_by_five_axes → SHARES["causal besides the mask"]
## softmax over the queries
- grouped_by_five_axes → SHARES["softmax over the queries"]
## forgot 1/√D
- grouped_by_five_axes → SHARES["forgot 1/√D"]
## (D H) when merged
- merge_by_transpose → MERGES["(D H) instead of (H D)"]
## (D H) when split
- split_by_view → SPLITS["(D H) instead of (H D)"]
## the first text alone
- return merged @ w_output.T → return (merged[0] @ w_output.T).unsqueeze(0)
## x added
- return merged → return x + merged
## keys and values swapped
- (y, n) for y, n in ((q, H), (k, G), (v, G)) → (y, n) for y, n in ((q, H), (v, G), (k, G))
## keys made with the values' weights
- x @ w_key.T → x @ w_value.T
""",
    ),
    "heads and positions swapped": heads_attend_to_heads,
    "one wide head": never_split,
    "never split": lambda x, w_query, w_key, w_value, w_output, H, mask=None: (
        attention(*(x @ w.T for w in (w_query, w_key, w_value)), mask) @ w_output.T
    ),
}

UNNAMED_LAYERS = edited(
    layer_by_parts,
    """
## queries and keys swapped
- x @ w_query.T, x @ w_key.T → x @ w_key.T, x @ w_query.T
## always as many KV heads
- G = H * w_key.shape[0] // w_query.shape[0] → G = H
- grouped_by_five_axes → plain_attention
## the width of the tokens cut
- G = H * w_key.shape[0] // w_query.shape[0] → G = w_key.shape[0] // (x.shape[-1] // H)
## w_output twice
- return merged → return merged @ w_output.T @ w_output
""",
)

# --- head_outputs ---------------------------------------------------------------------------------


def head_outputs_in_a_loop(heads, w_output):
    D = heads.shape[-1]
    return torch.stack(
        [heads[:, h] @ w_output[:, h * D : (h + 1) * D].T for h in range(heads.shape[1])], 1
    )


def head_outputs_by_matmul(heads, w_output):
    return heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])


OUTPUTS = edited(
    head_outputs_by_matmul,
    """
## added up already
- return heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ return rearrange(heads, "B H T D -> B T (H D)") @ w_output.T
## (D H) instead of (H D)
- C (H D) → C (D H)
## the first head's columns for all
- rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1]) → w_output[:, : heads.shape[-1]].T
## the columns in reverse
- H=heads.shape[1]) → H=heads.shape[1]).flip(0)
## heads behind the positions
- heads @ → (heads @
- H=heads.shape[1]) → H=heads.shape[1])).transpose(1, 2)
## divided by the heads
- heads @ → heads / heads.shape[1] @
## rows cut instead of columns
- rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ w_output.flatten().view(heads.shape[1], -1, heads.shape[-1]).transpose(1, 2)
## added up as they come
- heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ torch.einsum(
+     "bhtc,hk->bktc",
+     head_outputs_in_a_loop(heads, w_output),
+     torch.ones(heads.shape[1], heads.shape[1]).triu(),
+ )
## what is left without the head
- return heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ off = torch.stack([heads.index_fill(1, torch.tensor(h), 0) for h in range(heads.shape[1])], 1)
+ return rearrange(off, "B N H T D -> B N T (H D)") @ w_output.T
## the sum for each head
- return heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ whole = rearrange(heads, "B H T D -> B T (H D)") @ w_output.T
+ return torch.stack([whole] * heads.shape[1], dim=1)
## the last head's columns for all
- rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1]) → w_output[:, -heads.shape[-1] :].T
## the first text alone
- heads @ → heads[0, None] @
## a list of parts
- heads @ → (heads @
- H=heads.shape[1]) → H=heads.shape[1])).unbind(dim=1)
## D taken for C / H
- rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
+ torch.stack(
+     [
+         w_output[:, h * (len(w_output) // heads.shape[1]) :][:, : heads.shape[-1]].T
+         for h in range(heads.shape[1])
+     ]
+ )
## heads one after the other
- heads @ → (heads @
- H=heads.shape[1]) → H=heads.shape[1])).reshape(len(heads), -1, len(w_output))
## heads in front of the batch
- heads @ → heads.transpose(0, 1) @
- "C (H D) -> H D C" → "C (H D) -> H 1 D C"
""",
)

# --- mean_pool_kv_heads ---------------------------------------------------------------------------


def pooled_by_einops(weight, H, G):
    return reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)


def pooled_in_a_loop(weight, H, G):
    D, n = weight.shape[0] // H, H // G
    pooled = torch.zeros(G * D, weight.shape[1])
    for h in range(H):
        pooled[h // n * D : (h // n + 1) * D] += weight[h * D : (h + 1) * D] / n
    return pooled


POOLS = edited(
    pooled_by_einops,
    """
## every G-th head pooled
- "(G N D) C → "(N G D) C
## added instead of averaged
- "mean" → "sum"
## the first of each group
- reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)
+ rearrange(weight, "(G N D) C -> G N D C", G=G, N=H // G)[:, 0].flatten(0, 1)
## channels averaged instead of heads
- "(G N D) C -> (G D) C", "mean", G=G → "(R N) C -> R C", "mean"
## still H heads
- return reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)
+ pooled = reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)
+ return repeat(pooled, "(G D) C -> (G N D) C", G=G, N=H // G)
## the rows in (D G) order
- -> (G D) C → -> (D G) C
## the largest
- "mean" → "max"
## all heads pooled
- reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)
+ repeat(reduce(weight, "(H D) C -> D C", "mean", H=H), "D C -> (G D) C", G=G)
## G taken for the size of a group
- G=G, N=H // G → N=G, G=H // G
## the channels of each head averaged
- "(G N D) C -> (G D) C", "mean" → "(G N D) C -> (G N) C", "mean"
## the heads in an axis of their own
- -> (G D) C → -> G D C
""",
) | {
    "always divided by 2": lambda weight, H, G: pooled_by_einops(weight, H, G) * (H // G) / 2,
    "divided by G": lambda weight, H, G: pooled_by_einops(weight, H, G) * (H // G) / G,
    "divided by H": lambda weight, H, G: pooled_by_einops(weight, H, G) / G,
    "the median": lambda weight, H, G: (
        rearrange(weight, "(G N D) C -> N (G D) C", G=G, N=H // G).median(0).values
    ),
    "the last of each group": lambda weight, H, G: rearrange(
        weight, "(G N D) C -> N (G D) C", G=G, N=H // G
    )[-1],
    "the first G heads": lambda weight, H, G: weight.chunk(H)[0].new_tensor(
        weight.tolist()[: len(weight) // H * G]
    ),
}

RIGHT = {
    "split_heads": [split_by_view, split_by_slices],
    "merge_heads": [merge_by_transpose, merge_by_cat],
    "grouped_query_attention": [grouped_by_five_axes, grouped_in_a_loop, grouped_by_powers],
    "multi_head_attention": [whole, layer_in_a_loop, layer_by_parts],
    "head_outputs": [head_outputs_in_a_loop, head_outputs_by_matmul],
    "mean_pool_kv_heads": [pooled_by_einops, pooled_in_a_loop],
}

SECOND_FORMS = {
    "split_heads": SPLITS,
    "merge_heads": MERGES,
    "grouped_query_attention": SHARES,
    "multi_head_attention": LAYERS,
    "head_outputs": OUTPUTS,
    "mean_pool_kv_heads": POOLS,
}

UNNAMED = {
    "split_heads": [
        lambda x, H: split_by_view(x, H)[:, :1],
        lambda x, H: split_by_view(x, H).flip(2),
        lambda x, H: split_by_view(x.flip(-1), H),
    ],
    "merge_heads": [
        lambda x: x[:, -1],
        lambda x: x.transpose(1, 2).view(x.shape[0], x.shape[2], -1),
        lambda x: merge_by_transpose(x.flip(3)),
    ],
    "grouped_query_attention": [plain_attention, *UNNAMED_SHARES.values()],
    "multi_head_attention": list(UNNAMED_LAYERS.values()),
    "head_outputs": [
        lambda heads, w: heads @ rearrange(w, "(H D) C -> H D C", H=heads.shape[1]),
        lambda heads, w: head_outputs_in_a_loop(heads, w).flip(1),
        lambda heads, w: head_outputs_in_a_loop(heads, w).abs(),
    ],
    "mean_pool_kv_heads": [
        lambda weight, H, G: pooled_by_einops(weight, H, G).T,
        lambda weight, H, G: weight.mean(0, keepdim=True),
        lambda weight, H, G: pooled_by_einops(weight, H, G) * math.sqrt(H // G),
    ],
}


# --- random inputs --------------------------------------------------------------------------------
