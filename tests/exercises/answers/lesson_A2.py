"""Answers to the exercises of lesson A2: right ones, each mistake a second time, and others."""

import math

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.model import attention, causal_mask, merge_heads, split_heads  # noqa: F401, an edit

# --- cross_attention ------------------------------------------------------------------------------


def cross_attention_in_loops(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    B, T, _ = x.shape
    S, D = memory.shape[1], w_query.shape[0] // H
    seen = torch.ones(B, H, T, S, dtype=torch.bool)
    if mask is not None:
        seen = seen & mask
    rows = []
    for b in range(B):
        heads = []
        for h in range(H):
            part = slice(h * D, (h + 1) * D)
            q, k, v = x[b] @ w_query[part].T, memory[b] @ w_key[part].T, memory[b] @ w_value[part].T
            scores = (q @ k.T * D**-0.5).masked_fill(~seen[b, h], -math.inf)
            heads.append(torch.softmax(scores, -1).nan_to_num(0.0) @ v)
        rows.append(torch.cat(heads, dim=-1) @ w_output.T)
    return torch.stack(rows)


def cross_attention_by_einsum(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q = torch.einsum("btc,hdc->bhtd", x, w_query.unflatten(0, (H, -1)))
    k = torch.einsum("bsc,hdc->bhsd", memory, w_key.unflatten(0, (H, -1)))
    v = torch.einsum("bsc,hdc->bhsd", memory, w_value.unflatten(0, (H, -1)))
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = torch.where(mask, scores, -math.inf)
    mixed = torch.softmax(scores, dim=-1).nan_to_num(0.0) @ v
    return torch.einsum("bhtd,chd->btc", mixed, w_output.unflatten(1, (H, -1)))


def heads_of(text, weight, H):
    return split_heads(text @ weight.mT, H)


def finished(heads, w_output):
    return merge_heads(heads) @ w_output.mT


def finished_by_the_book(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q = heads_of(x, w_query, H)
    k, v = heads_of(memory, w_key, H), heads_of(memory, w_value, H)
    return finished(attention(q, k, v, mask), w_output)


def reshaped_into_heads(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    B, T, _ = x.shape
    q = (x @ w_query.T).view(B, H, T, -1)
    k, v = ((memory @ w.T).view(B, H, memory.shape[1], -1) for w in (w_key, w_value))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.contiguous().view(B, T, -1) @ w_output.T


CROSSES = edited(
    finished_by_the_book,
    """
## the roles swapped
- heads_of(x, w_query → heads_of(memory, w_query
- heads_of(memory, w_key, H), heads_of(memory, w_value → heads_of(x, w_key, H), heads_of(x, w_value
## values from x
- heads_of(memory, w_value → heads_of(x, w_value
## keys from x
- heads_of(memory, w_key → heads_of(x, w_key
## the memory ignored
- q = heads_of
+ memory = x
+ q = heads_of
## everything from the memory
- q = heads_of
+ x = memory
+ q = heads_of
## always causal
- q = heads_of
+ if mask is None:
+     mask = causal_mask(x.shape[1], memory.shape[1])
+ q = heads_of
## always causal, from the top
- q = heads_of
+ if mask is None:
+     mask = torch.arange(memory.shape[1]) <= torch.arange(x.shape[1])[:, None]
+ q = heads_of
## scores set to 0
- return finished(attention(q, k, v, mask), w_output)
+ scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
+ scores = scores if mask is None else scores * mask
+ return finished(torch.softmax(scores, dim=-1) @ v, w_output)
## the first text's memory for all
- q = heads_of
+ memory = memory[torch.zeros(len(memory), dtype=torch.long)]
+ q = heads_of
## the mask ignored
- v, mask) → v)
## the mask upside down
- v, mask) → v, None if mask is None else torch.logical_not(mask))
## no output projection
- finished(attention(q, k, v, mask), w_output) → merge_heads(attention(q, k, v, mask))
## weights not transposed
- heads_of(x, w_query, H) → split_heads(x @ w_query, H)
- heads_of(memory, w_key, H) → split_heads(memory @ w_key, H)
- heads_of(memory, w_value, H) → split_heads(memory @ w_value, H)
- mask), w_output) → mask), w_output.mT)
## input weights not transposed
- heads_of(x, w_query, H) → split_heads(x @ w_query, H)
- heads_of(memory, w_key, H) → split_heads(memory @ w_key, H)
- heads_of(memory, w_value, H) → split_heads(memory @ w_value, H)
## output weights not transposed
- mask), w_output) → mask), w_output.T)
## query and key weights swapped
- heads_of(x, w_query → heads_of(x, w_key
- heads_of(memory, w_key → heads_of(memory, w_query
## x is added
- return finished → return x + finished
## both texts in a row
- q = heads_of
+ memory = torch.hstack((x, memory))
+ q = heads_of
- attention(q, k, v, mask)
+ attention(q, k.roll(-x.shape[1], 2), v.roll(-x.shape[1], 2), mask)
## heads merged without swapping axes
- finished(attention(q, k, v, mask), w_output)
+ attention(q, k, v, mask).contiguous().view(*x.shape[:2], -1) @ w_output.mT
## heads not moved to the front
- heads_of(x, w_query, H) → heads_of(x, w_query, H).transpose(1, 2)
- heads_of(memory, w_key, H) → heads_of(memory, w_key, H).transpose(1, 2)
- heads_of(memory, w_value, H) → heads_of(memory, w_value, H).transpose(1, 2)
- attention(q, k, v, mask) → attention(q, k, v, mask).transpose(1, 2)
## softmax over the queries
- return finished(attention(q, k, v, mask), w_output)
+ scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
+ if mask is not None:
+     scores = torch.where(mask, scores, -math.inf)
+ return finished(torch.softmax(scores, dim=2) @ v, w_output)
## the mask added
- return finished(attention(q, k, v, mask), w_output)
+ scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
+ scores = scores if mask is None else scores + mask
+ return finished(torch.softmax(scores, dim=-1) @ v, w_output)
## divided by D
- attention(q, → attention(q * q.shape[-1] ** -0.5,
## divided by √(H·D)
- attention(q, → attention(q * H**-0.5,
## values by the weights of the keys
- heads_of(memory, w_value → heads_of(memory, w_key
## key and value weights swapped
- k, v = → v, k =
## one head only
- w_query, H) → w_query, 1)
- w_key, H) → w_key, 1)
- w_value, H) → w_value, 1)
## forgot 1/√D
- attention(q, → attention(q * q.shape[-1] ** 0.5,
## divided by √C
- attention(q, → attention(q * (q.shape[-1] / x.shape[-1]) ** 0.5,
""",
)

UNNAMED_CROSSES = edited(
    finished_by_the_book,
    """
## keys in the place of queries
- heads_of(x, w_query → heads_of(x, w_key
## the query is not projected
- heads_of(x, w_query, H) → split_heads(x.expand(-1, -1, -1), H)
## the heads turned around
- attention(q, k, v, mask) → attention(q, k, v, mask).flip(1)
""",
)


# --- mean_pool ------------------------------------------------------------------------------------


def mean_by_einsum(x, real):
    shares = real.float() / real.float().sum(-1, keepdim=True)
    return torch.einsum("btc,bt->bc", x, shares)


def mean_of_what_is_kept(x, real):
    kept = x.clone()
    kept[~real] = float("nan")
    return kept.nanmean(dim=1)


POOLS = edited(
    mean_by_einsum,
    """
## the padding counted
- torch.einsum("btc,bt->bc", x, shares) → x.sum(dim=1) / real.shape[1]
## divided by T
- real.float().sum(-1, keepdim=True) → real.shape[1]
## the padding in the sum
- shares = real.float() → shares = torch.ones(real.shape)
## divided by everybody's tokens
- real.float().sum(-1, keepdim=True) → real.float().sum()
## divided by the first row's tokens
- real.float().sum(-1, keepdim=True) → real.float()[0].sum()
## divided by the longest
- real.float().sum(-1, keepdim=True) → real.float().sum(-1).amax()
## keepdim forgotten
- shares = real.float() / real.float().sum(-1, keepdim=True)
+ shares = real.float()
- torch.einsum("btc,bt->bc", x, shares)
+ torch.einsum("btc,bt->bc", x, shares) / torch.count_nonzero(real, dim=1)
## the first positions
- shares = real
+ real = torch.arange(real.shape[1]) < real.sum(1, keepdim=True)
+ shares = real
## rounded down
- torch.einsum("btc,bt->bc", x, shares) → torch.einsum("btc,bt->bc", x, shares).floor()
## one too many
- real.float().sum(-1, keepdim=True) → (1 + real.sum(-1, keepdim=True))
## one mean for all rows
- real.float().sum(-1, keepdim=True) → real.sum()
- torch.einsum("btc,bt->bc", x, shares)
+ torch.einsum("btc,bt->c", x, shares) + torch.zeros(len(x), 1)
## of length one
- return torch.einsum("btc,bt->bc", x, shares)
+ return F.normalize(torch.einsum("btc,bt->bc", x, shares), dim=-1)
## the first real token
- shares = real.float() / real.float().sum(-1, keepdim=True)
+ shares = (real & (real.cumsum(1) == 1)).float()
## the last real token
- shares = real.float() / real.float().sum(-1, keepdim=True)
+ shares = (real & (real.flip(1).cumsum(1).flip(1) == 1)).float()
## the median
- torch.einsum("btc,bt->bc", x, shares)
+ torch.where(real[..., None], x, math.nan).nanmedian(1).values
## the last position
- torch.einsum("btc,bt->bc", x, shares) → x.select(1, x.shape[1] - 1)
## not divided
-  / real.float().sum(-1, keepdim=True)
## one vector for the whole batch
- real.float().sum(-1, keepdim=True) → real.float().sum()
- bt->bc → bt->c
## over the batch
- real.float().sum(-1, keepdim=True) → real.float().sum(0)
- bt->bc → bt->tc
## an axis too many
- x, shares) → x, shares).unsqueeze(1)
## the padding averaged
- shares = real
+ real = ~real
+ shares = real
## the first token
- torch.einsum("btc,bt->bc", x, shares) → x.select(1, 0)
## the largest value
- torch.einsum("btc,bt->bc", x, shares) → torch.where(real[..., None], x, -math.inf).amax(1)
""",
)

UNNAMED_POOLS = edited(
    mean_by_einsum,
    """
## over the channels
- torch.einsum("btc,bt->bc", x, shares) → x.mean(-1)
## an epsilon too large
- real.float().sum(-1, keepdim=True) → (real.float().sum(-1, keepdim=True) + 0.01)
## the root of the number
- real.float().sum(-1, keepdim=True) → real.float().sum(-1, keepdim=True).sqrt()
""",
)


# --- prefix_mask ----------------------------------------------------------------------------------


def triangle_and_block(T, prefix):
    mask = torch.ones(T, T).tril().bool()
    mask[:prefix, :prefix] = True
    return mask


def per_cell(T, prefix):
    return torch.tensor([[k < max(q + 1, prefix) for k in range(T)] for q in range(T)])


PREFIXES = edited(
    triangle_and_block,
    """
## one too many
- [:prefix, :prefix] → [:, : prefix + 1]
## one too few
- [:prefix, :prefix] → [:, : max(prefix - 1, 0)]
## only the prefix is seen
- torch.ones(T, T).tril() → torch.zeros(T, T)
- [:prefix, :prefix] → [:, :prefix]
## rows instead of columns
- [:prefix, :prefix] → [:prefix]
## the prefix is not seen by the rest
- return mask
+ mask[prefix:, :prefix] = False
+ return mask
## causal in the prefix too
- mask[:prefix, :prefix] = True
## a diagonal further on
- return mask → return torch.ones(T, T).tril(prefix).bool()
## a diagonal further on, by one less
- return mask → return torch.ones(T, T).tril(prefix - 1).bool()
## a diagonal further on, by one less, where there is a prefix
- return mask → return torch.ones(T, T).tril(prefix - 1 if prefix else 0).bool()
## the last columns
- mask[:prefix, :prefix] = True → mask[:, T - prefix :] = True
## the upper triangle
- torch.ones(T, T).tril().bool() → torch.ones(T, T).triu().bool()
- [:prefix, :prefix] → [:, :prefix]
## minus nought
- mask[:prefix, :prefix] = True → mask[:, : -(T - prefix)] = True
## without oneself
- tril() → tril(-1)
- [:prefix, :prefix] → [:, :prefix]
## everyone sees everyone
- return mask → return torch.ones_like(mask)
## queries and keys swapped
- return mask → return mask.T
## the prefix is causal, the rest sees all
- mask[:prefix, :prefix] = True → mask[prefix:] = True
## the block alone
- torch.ones(T, T).tril() → torch.zeros(T, T)
## zeros and -inf
- return mask → return torch.where(mask, 0.0, -math.inf)
## axes too many
- return mask → return mask.view(1, 1, T, T)
## both at once
- mask[:prefix, :prefix] = True → mask[:, prefix:] = False
## upside down
- return mask → return ~mask
## numbers instead of booleans
- return mask → return mask.long()
""",
)

UNNAMED_PREFIXES = edited(
    triangle_and_block,
    """
## the prefix at the end
- return mask → return mask.flip(0, 1)
## one row less
- return mask → return mask[1:]
## the prefix sees itself as the rest does
- [:prefix, :prefix] → [:prefix, prefix:]
""",
)

RIGHT = {
    "cross_attention": [cross_attention_in_loops, cross_attention_by_einsum, finished_by_the_book],
    "mean_pool": [mean_by_einsum, mean_of_what_is_kept],
    "prefix_mask": [triangle_and_block, per_cell],
}

SECOND_FORMS = {
    "cross_attention": CROSSES | {"heads cut out of positions": reshaped_into_heads},
    "mean_pool": POOLS,
    "prefix_mask": PREFIXES,
}

UNNAMED = {
    "cross_attention": list(UNNAMED_CROSSES.values()),
    "mean_pool": list(UNNAMED_POOLS.values()),
    "prefix_mask": list(UNNAMED_PREFIXES.values()),
}
