"""Answers to the exercises of lesson A2: right ones, each mistake a second time, and others."""

import math

import torch
from hypothesis import strategies as st
from random_inputs import drawn, seeds, shaped, sizes
from torch.nn import functional as F

from decodeloop.model import attention, causal_mask, merge_heads, split_heads

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


def asked_by_the_memory(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q = heads_of(memory, w_query, H)
    k, v = heads_of(x, w_key, H), heads_of(x, w_value, H)
    return finished(attention(q, k, v, mask), w_output)


def fetched_from_x(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q, v = heads_of(x, w_query, H), heads_of(x, w_value, H)
    return finished(attention(q, heads_of(memory, w_key, H), v, mask), w_output)


def compared_with_x(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q, k = heads_of(x, w_query, H), heads_of(x, w_key, H)
    return finished(attention(q, k, heads_of(memory, w_value, H), mask), w_output)


def about_x_alone(x, memory, *rest):
    return finished_by_the_book(x, x, *rest)


def about_the_memory_alone(x, memory, *rest):
    return finished_by_the_book(memory, memory, *rest)


def finished_by_the_book(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q = heads_of(x, w_query, H)
    k, v = heads_of(memory, w_key, H), heads_of(memory, w_value, H)
    return finished(attention(q, k, v, mask), w_output)


def causal_unless_told(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    if mask is None:
        mask = causal_mask(x.shape[1], memory.shape[1])
    return finished_by_the_book(x, memory, w_query, w_key, w_value, w_output, H, mask)


def deaf_to_the_mask(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    return cross_attention_by_einsum(x, memory, w_query, w_key, w_value, w_output, H)


def hides_what_is_allowed(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    hidden = None if mask is None else torch.logical_not(mask)
    return cross_attention_in_loops(x, memory, w_query, w_key, w_value, w_output, H, hidden)


def heads_side_by_side(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    nothing = torch.eye(w_query.shape[0])
    return cross_attention_by_einsum(x, memory, w_query, w_key, w_value, nothing, H, mask)


def as_they_are_stored(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q = split_heads(x @ w_query, H)
    k, v = split_heads(memory @ w_key, H), split_heads(memory @ w_value, H)
    return merge_heads(attention(q, k, v, mask)) @ w_output


def keys_are_values(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    return cross_attention_in_loops(x, memory, w_query, w_value, w_key, w_output, H, mask)


def a_single_head(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    q, k, v = x @ w_query.T, memory @ w_key.T, memory @ w_value.T
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~(mask if mask.ndim < 4 else mask[:, 0]), -math.inf)
    return torch.softmax(scores, -1) @ v @ w_output.T


def reshaped_into_heads(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    B, T, _ = x.shape
    q = (x @ w_query.T).view(B, H, T, -1)
    k, v = ((memory @ w.T).view(B, H, memory.shape[1], -1) for w in (w_key, w_value))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.contiguous().view(B, T, -1) @ w_output.T


def with_a_scale(scale):
    def attend(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
        q = heads_of(x, w_query, H)
        k, v = heads_of(memory, w_key, H), heads_of(memory, w_value, H)
        mixed = F.scaled_dot_product_attention(q, k, v, mask, scale=scale(x))
        return finished(mixed, w_output)

    return attend


def output_not_transposed(x, memory, w_query, w_key, w_value, w_output, H, mask=None):
    return cross_attention_by_einsum(x, memory, w_query, w_key, w_value, w_output.T, H, mask)


def added_to_x(x, *rest):
    return x + cross_attention_by_einsum(x, *rest)


def query_and_key_weights_swapped(x, memory, w_query, w_key, *rest):
    return cross_attention_by_einsum(x, memory, w_key, w_query, *rest)


def both_texts_in_a_row(x, memory, *rest):
    return cross_attention_by_einsum(x, torch.cat((memory, x), dim=1), *rest)


def random_cross(B, T, S, H, D, C, share, seed):
    """Inputs of cross-attention; a share of None means no mask."""
    mask = None if share is None else drawn(seed, B, 1, T, S) < share
    weights = (drawn(seed + 2 + i, H * D, C) for i in range(3))
    x, memory = drawn(seed, B, T, C), drawn(seed + 1, B, S, C)
    return x, memory, *weights, drawn(seed + 5, C, H * D), H, mask


# --- mean_pool ------------------------------------------------------------------------------------


def mean_by_einsum(x, real):
    shares = real.float() / real.float().sum(-1, keepdim=True)
    return torch.einsum("btc,bt->bc", x, shares)


def mean_of_what_is_kept(x, real):
    kept = x.clone()
    kept[~real] = float("nan")
    return kept.nanmean(dim=1)


def over_all_positions(x, real):
    return x.sum(dim=1) / real.shape[1]


def kept_over_all_positions(x, real):
    return torch.where(real[:, :, None], x, 0.0).mean(dim=1)


def everything_over_kept(x, real):
    return torch.einsum("btc->bc", x) / real.float().sum(-1)[:, None]


def over_the_tokens_of_the_batch(x, real):
    return torch.einsum("btc,bt->bc", x, real.float()) / len(x[real])


def added_up(x, real):
    return torch.einsum("btc,bt->bc", x, real.float())


def one_for_all(x, real):
    return (x * real.unsqueeze(-1)).sum((0, 1)) / real.sum()


def across_texts(x, real):
    return torch.einsum("btc,bt->tc", x, real.float()) / real.float().sum(0).unsqueeze(-1)


def with_its_axis(x, real):
    return (x * real[..., None]).sum(1, keepdim=True) / real.sum(1)[:, None, None]


def mean_of_the_rest(x, real):
    return mean_by_einsum(x, ~real)


def in_front(x, real):
    return x.select(1, 0)


def highest_of_the_real(x, real):
    return torch.stack([row[keep].max(dim=0).values for row, keep in zip(x, real, strict=True)])


def the_last_position(x, real):
    return x[:, -1]


def mean_over_channels(x, real):
    return x.mean(-1)


def middle_of_the_real(x, real):
    return torch.stack([row[keep].median(dim=0).values for row, keep in zip(x, real, strict=True)])


def length_one(x, real):
    return F.normalize(mean_by_einsum(x, real), dim=-1)


def random_pool(B, T, C, seed):
    real = drawn(seed + 1, B, T) > 0
    real[:, seed % T] = True
    return drawn(seed, B, T, C), real


# --- prefix_mask ----------------------------------------------------------------------------------


def triangle_and_block(T, prefix):
    mask = torch.ones(T, T).tril().bool()
    mask[:prefix, :prefix] = True
    return mask


def per_cell(T, prefix):
    return torch.tensor([[k < max(q + 1, prefix) for k in range(T)] for q in range(T)])


def columns_set(T, end):
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    mask[:, : max(end, 0)] = True
    return mask


def nothing_but_columns(T, prefix):
    return (torch.arange(T) < prefix).expand(T, T)


def first_rows_set(T, prefix):
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    mask[:prefix] = True
    return mask


def two_blocks(T, prefix):
    rest = torch.ones(T - prefix, T - prefix).tril()
    return torch.block_diag(torch.ones(prefix, prefix), rest).bool()


def both_conditions(T, prefix):
    return causal_mask(T) * (torch.arange(T) < prefix)


def everyone_sees_everyone(T, prefix):
    return torch.ones(T, T, dtype=torch.bool)


def prefix_at_the_end(T, prefix):
    return triangle_and_block(T, prefix).flip(0, 1)


def queries_by_keys(T, prefix):
    return triangle_and_block(T, prefix).T


RIGHT = {
    "cross_attention": [cross_attention_in_loops, cross_attention_by_einsum],
    "mean_pool": [mean_by_einsum, mean_of_what_is_kept],
    "prefix_mask": [triangle_and_block, per_cell],
}

SECOND_FORMS = {
    "cross_attention": {
        "the roles swapped": asked_by_the_memory,
        "values from x": fetched_from_x,
        "keys from x": compared_with_x,
        "the memory ignored": about_x_alone,
        "everything from the memory": about_the_memory_alone,
        "always causal": causal_unless_told,
        "the mask ignored": deaf_to_the_mask,
        "the mask upside down": hides_what_is_allowed,
        "no output projection": heads_side_by_side,
        "weights not transposed": as_they_are_stored,
        "key and value weights swapped": keys_are_values,
        "one head only": a_single_head,
        "heads cut out of positions": reshaped_into_heads,
        "forgot 1/√D": with_a_scale(lambda x: 1.0),
        "divided by √C": with_a_scale(lambda x: x.shape[-1] ** -0.5),
    },
    "mean_pool": {
        "the padding counted": over_all_positions,
        "divided by T": kept_over_all_positions,
        "the padding in the sum": everything_over_kept,
        "divided by everybody's tokens": over_the_tokens_of_the_batch,
        "not divided": added_up,
        "one vector for the whole batch": one_for_all,
        "over the batch": across_texts,
        "an axis too many": with_its_axis,
        "the padding averaged": mean_of_the_rest,
        "the first token": in_front,
        "the largest value": highest_of_the_real,
    },
    "prefix_mask": {
        "one too many": lambda T, prefix: columns_set(T, prefix + 1),
        "one too few": lambda T, prefix: columns_set(T, prefix - 1),
        "only the prefix is seen": nothing_but_columns,
        "rows instead of columns": first_rows_set,
        "the prefix is not seen by the rest": two_blocks,
        "causal in the prefix too": lambda T, prefix: causal_mask(T),
        "both at once": both_conditions,
        "upside down": lambda T, prefix: ~triangle_and_block(T, prefix),
        "numbers instead of booleans": lambda T, prefix: triangle_and_block(T, prefix).long(),
    },
}

UNNAMED = {
    "cross_attention": [
        output_not_transposed,
        added_to_x,
        query_and_key_weights_swapped,
        both_texts_in_a_row,
    ],
    "mean_pool": [the_last_position, mean_over_channels, middle_of_the_real, length_one],
    "prefix_mask": [everyone_sees_everyone, prefix_at_the_end, queries_by_keys],
}

RANDOM = {
    "cross_attention": shaped(
        random_cross,
        *(sizes,) * 6,
        st.sampled_from([None, -9.0, 0.3, 9.0]),
        seeds,
    ),
    "mean_pool": shaped(random_pool, sizes, sizes, sizes, seeds),
    "prefix_mask": st.integers(1, 8).flatmap(
        lambda T: st.tuples(st.just(T), st.integers(0, T)),
    ),
}
