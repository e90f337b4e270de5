"""Lesson 02: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange, reduce, repeat
from hypothesis import strategies as st
from random_inputs import drawn, seeds, shaped, sizes
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

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
## keys cut down
- k[:, g] → k[:, min(h, G - 1)]
## no scale
-  / math.sqrt(D)
## the last values for all
- v[:, g] → v[:, G - 1]
## from behind
- (B, H, T, D), (G, S) =
+ k, v = k.flip(1), v.flip(1)
+ (B, H, T, D), (G, S) =
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
""",
    ),
    "heads and positions swapped": heads_attend_to_heads,
    "one wide head": never_split,
}

UNNAMED_LAYERS = edited(
    layer_by_parts,
    """
## queries and keys swapped
- x @ w_query.T, x @ w_key.T → x @ w_key.T, x @ w_query.T
## always as many KV heads
- G = H * w_key.shape[0] // w_query.shape[0] → G = H
- grouped_by_five_axes → plain_attention
## always causal
- (q, k, v, mask) → (q, k, v, torch.ones(x.shape[1], x.shape[1]).tril().bool())
## x added
- return merged → return x + merged
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
""",
)

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
        lambda x, H: x[:, None].expand(-1, H, -1, -1),
        lambda x, H: split_by_view(x, H).flip(1),
        lambda x, H: split_by_view(x, H).flatten(0, 1),
        lambda x, H: x.chunk(H, 1),
    ],
    "merge_heads": [
        lambda x: x[:, 0],
        lambda x: x.transpose(1, 2),
        lambda x: x.transpose(1, 2).view(x.shape[0], x.shape[2], -1),
        lambda x: merge_by_transpose(x.flip(1)),
    ],
    "grouped_query_attention": [plain_attention, *UNNAMED_SHARES.values()],
    "multi_head_attention": list(UNNAMED_LAYERS.values()),
    "head_outputs": [
        lambda heads, w: heads @ rearrange(w, "(H D) C -> H D C", H=heads.shape[1]),
        lambda heads, w: head_outputs_in_a_loop(heads, w).unbind(1),
        lambda heads, w: head_outputs_in_a_loop(heads, w).abs(),
    ],
    "mean_pool_kv_heads": [
        lambda weight, H, G: weight[: G * (weight.shape[0] // H)],
        lambda weight, H, G: weight.mean(0, keepdim=True),
        lambda weight, H, G: pooled_by_einops(weight, H, G) * math.sqrt(H // G),
    ],
}


# --- random inputs --------------------------------------------------------------------------------


def random_mask(seed, share, *shape):
    if share is None:
        return ()
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share,)


def random_widths(B, T, H, D, seed):
    return drawn(seed, B, T, H * D), H


def random_heads(B, H, T, D, seed):
    return (drawn(seed, B, H, T, D),)


def random_groups(B, G, N, T, S, D, seed, share, own):
    H = G * N
    q, k, v = drawn(seed, B, H, T, D), drawn(seed + 1, B, G, S, D), drawn(seed + 2, B, G, S, D)
    return q, k, v, *random_mask(seed, share, B, H if own else 1, T, S)


def random_layer(B, G, N, T, C, D, seed, share):
    H = G * N
    shapes = ((H * D, C), (G * D, C), (G * D, C), (C, H * D))
    weights = [drawn(seed + 1 + i, *s, scale=s[1] ** -0.5) for i, s in enumerate(shapes)]
    return drawn(seed, B, T, C), *weights, H, *random_mask(seed, share, T, T)


def random_outputs(B, H, T, D, C, seed):
    return drawn(seed, B, H, T, D), drawn(seed + 1, C, H * D)


def random_kv_weight(G, N, D, C, seed):
    return drawn(seed, G * N * D, C), G * N, G


shares = st.sampled_from([None, 0.0, 0.5, 1.0])
few = st.integers(1, 3)

RANDOM = {
    "split_heads": shaped(random_widths, sizes, sizes, sizes, sizes, seeds),
    "merge_heads": shaped(random_heads, sizes, sizes, sizes, sizes, seeds),
    "grouped_query_attention": shaped(
        random_groups, sizes, few, few, sizes, sizes, sizes, seeds, shares, st.booleans()
    ),
    "multi_head_attention": shaped(
        random_layer, sizes, few, few, sizes, sizes, sizes, seeds, shares
    ),
    "head_outputs": shaped(random_outputs, sizes, sizes, sizes, sizes, sizes, seeds),
    "mean_pool_kv_heads": shaped(random_kv_weight, few, few, sizes, sizes, seeds),
}
