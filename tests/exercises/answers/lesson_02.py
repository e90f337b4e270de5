"""Lesson 02: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange, reduce, repeat
from hypothesis import strategies as st
from random_inputs import drawn, seeds, shaped, sizes
from torch.nn import functional as F

# --- split_heads ----------------------------------------------------------------------------------


def split_by_view(x, H):
    B, T, C = x.shape
    return x.view(B, T, H, C // H).transpose(1, 2)


def split_by_slices(x, H):
    D = x.shape[-1] // H
    return torch.stack([x[..., h * D : (h + 1) * D] for h in range(H)], 1)


def viewed_at_once(x, H):
    B, T, C = x.shape
    return x.contiguous().view(B, H, T, C // H)


def heads_behind_positions(x, H):
    return rearrange(x, "B T (H D) -> B T H D", H=H)


def interleaved_heads(x, H):
    return rearrange(x, "B T (D H) -> B H T D", H=H)


def heads_of_h_channels(x, H):
    return rearrange(x, "B T (H D) -> B H T D", D=H)


def heads_first(x, H):
    return rearrange(x, "B T (H D) -> H B T D", H=H)


def rows_of_channels(x, H):
    return rearrange(x, "B T (H D) -> B H D T", H=H)


def turned_then_dealt_out(x, H):
    B, T, C = x.shape
    return torch.transpose(x, 1, 2).contiguous().view(B, H, T, C // H)


def one_tensor_for_each_head(x, H):
    D = x.shape[-1] // H
    return [x[..., h * D : (h + 1) * D] for h in range(H)]


# --- merge_heads ----------------------------------------------------------------------------------


def merge_by_transpose(x):
    B, H, T, D = x.shape
    return x.transpose(1, 2).contiguous().view(B, T, H * D)


def merge_by_cat(x):
    return torch.cat(list(x.unbind(1)), -1)


def dealt_out_anew(x):
    B, H, T, D = x.shape
    return x.contiguous().view(B, T, H * D)


def merged_channels_outside(x):
    return rearrange(x, "B H T D -> B T (D H)")


def positions_side_by_side(x):
    return rearrange(x, "B H T D -> B H (T D)")


def last_two_swapped(x):
    B, H, T, D = x.shape
    return torch.transpose(x, 2, 3).contiguous().view(B, T, H * D)


def heads_in_one_sum(x):
    return torch.einsum("bhtd->btd", x)


def heads_in_one_mean(x):
    return reduce(x, "B H T D -> B T D", "mean")


def one_long_text(x):
    return rearrange(x, "B H T D -> (B T) (H D)")


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
    B, H, T, _ = q.shape
    S = k.shape[2]
    seen = None if mask is None else mask.expand(B, H, T, S)
    heads = []
    for h in range(H):
        g = h * k.shape[1] // H
        scores = torch.einsum("btd,bsd->bts", q[:, h], k[:, g]) / math.sqrt(q.shape[-1])
        weights = weights_of(masked(scores, None if seen is None else seen[:, h]))
        heads.append(weights @ v[:, g])
    return torch.stack(heads, 1)


def looped(q, k, v, mask=None, key=None, value=None, query=None, scale=None):
    """One head at a time, with the KV head that `key` and `value` name for it."""
    B, H, T, D = q.shape
    G, S = k.shape[1:3]
    heads = []
    for h in range(H):
        own = h * G // H
        of_keys = own if key is None else key(h, G)
        of_values = own if value is None else value(h, G)
        asks = q[:, h] if query is None else query(q, h, G)
        scores = asks @ k[:, of_keys].mT / (math.sqrt(D) if scale is None else scale(q))
        seen = None if mask is None else mask.expand(B, H, T, S)[:, h]
        heads.append(weights_of(masked(scores, seen)) @ v[:, of_values])
    return torch.stack(heads, 1)


def every_gth(h, G):
    return h % G


def read_in_turn(q, k, v, mask=None):
    return looped(q, k, v, mask, key=every_gth, value=every_gth)


def values_in_turn(q, k, v, mask=None):
    return looped(q, k, v, mask, value=every_gth)


def keys_in_turn(q, k, v, mask=None):
    return looped(q, k, v, mask, key=every_gth)


def the_first_for_all(q, k, v, mask=None):
    return looped(q, k, v, mask, key=lambda h, G: 0, value=lambda h, G: 0)


def group_mean(q, h, G):
    n = q.shape[1] // G
    return sum(q[:, i] for i in range(h // n * n, h // n * n + n)) / n


def one_query_for_the_group(q, k, v, mask=None):
    return looped(q, k, v, mask, query=group_mean)


def one_output_for_the_group(q, k, v, mask=None):
    G = k.shape[1]
    mean = reduce(q, "B (G N) T D -> B G T D", "mean", G=G)
    return grouped_in_a_loop(mean, k, v, mask)


def as_many_as_keys(q, k, v, mask=None):
    G = k.shape[1]
    return grouped_in_a_loop(q[:, :G], k, v, mask)


def over_the_root_of_the_width(q, k, v, mask=None):
    return looped(q, k, v, mask, scale=lambda q: q[0, :, 0].numel() ** 0.5)


def scores_of(q, k, mask):
    keys = repeat(k, "B G S D -> B (G N) S D", N=q.shape[1] // k.shape[1])
    return masked(torch.einsum("bhtd,bhsd->bhts", q, keys) / math.sqrt(q.shape[-1]), mask)


def mixed(weights, v):
    return weights @ repeat(v, "B G S D -> B (G N) S D", N=weights.shape[1] // v.shape[1])


def shares_of_all_heads(q, k, v, mask=None):
    powers = scores_of(q, k, mask).exp()
    total = powers.sum((1, 3), keepdim=True)
    return mixed(torch.where(total > 0, powers / total, 0.0), v)


def heads_compete(q, k, v, mask=None):
    powers = scores_of(q, k, mask).exp()
    total = powers.sum(1, keepdim=True)
    return mixed(torch.where(total > 0, powers / total, 0.0), v)


def mask_written_into_head_zero(q, k, v, mask=None):
    scores = scores_of(q, k, None)
    if mask is not None:
        hidden = ~mask.expand(scores.shape)
        scores[:, 0] = scores[:, 0].masked_fill(hidden[:, 0], -math.inf)
    return mixed(weights_of(scores), v)


def one_mask_for_all_heads(q, k, v, mask=None):
    if mask is not None and mask.ndim == 4:
        mask = mask.select(1, 0).unsqueeze(1)
    return grouped_in_a_loop(q, k, v, mask)


def no_mask(q, k, v, mask=None):
    return mixed(weights_of(scores_of(q, k, None)), v)


def what_may_not_be_seen(q, k, v, mask=None):
    return grouped_in_a_loop(q, k, v, None if mask is None else torch.logical_not(mask))


def plain_attention(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def keys_cut_down(q, k, v, mask=None):
    n = q.shape[1] // k.shape[1]
    return looped(q, k, v, mask, key=lambda h, G: min(h, G - 1), value=lambda h, G: h // n)


def without_a_scale(q, k, v, mask=None):
    return looped(q, k, v, mask, scale=lambda q: 1.0)


# --- multi_head_attention -------------------------------------------------------------------------


def whole(x, w_query, w_key, w_value, w_output, H, mask=None, attend=grouped_in_a_loop):
    """The layer by einsum, one weight for each head: (H, D, C)."""
    D = w_query.shape[0] // H
    q, k, v = (
        torch.einsum("btc,hdc->bhtd", x, w.unflatten(0, (-1, D))) for w in (w_query, w_key, w_value)
    )
    out = w_output.unflatten(1, (H, D))
    return torch.einsum("bhtd,chd->btc", attend(q, k, v, mask), out)


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


def attending(attend):
    def layer(x, w_query, w_key, w_value, w_output, H, mask=None):
        return whole(x, w_query, w_key, w_value, w_output, H, mask, attend)

    return layer


def by_hand(
    x,
    weights,
    H,
    mask,
    project=lambda x, w: torch.matmul(x, w.mT),
    output=lambda x, w: torch.matmul(x, w.mT),
    split=split_by_view,
    merge=merge_by_transpose,
    attend=grouped_by_five_axes,
):
    w_query, w_key, w_value, w_output = weights
    G = H * w_key.shape[0] // w_query.shape[0]
    q, k, v = split(project(x, w_query), H), *(split(project(x, w), G) for w in (w_key, w_value))
    return output(merge(attend(q, k, v, mask)), w_output)


def as_they_lie(x, w):
    return torch.matmul(x, w)


def nothing_transposed(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, project=as_they_lie, output=as_they_lie)


def last_not_transposed(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, output=as_they_lie)


def first_three_not_transposed(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, project=as_they_lie)


def heads_side_by_side(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, output=lambda x, w: x)


def nothing_mixed_nothing_shared(x, a, b, c, d, H, mask=None):
    def attend(q, k, v, mask):
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.shape[-1] ** 0.5
        return weights_of(masked(scores, mask)) @ v

    return by_hand(x, (a, b, c, d), H, mask, output=lambda x, w: x, attend=attend)


def root_of_the_width(x, a, b, c, d, H, mask=None):
    D = a.shape[0] // H
    return whole(x, a * math.sqrt(D / x.shape[-1]), b, c, d, H, mask)


def split_dealt_out(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, split=viewed_at_once)


def merge_dealt_out(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, merge=dealt_out_anew)


def both_dealt_out(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, split=viewed_at_once, merge=dealt_out_anew)


def heads_attend_to_heads(x, a, b, c, d, H, mask=None):
    D = a.shape[0] // H
    q, k, v = (F.linear(x, w).view(*x.shape[:2], -1, D) for w in (a, b, c))
    return F.linear((weights_of(q @ k.mT / math.sqrt(D)) @ v).flatten(2), d)


def channels_outside(x, a, b, c, d, H, mask=None):
    return by_hand(x, (a, b, c, d), H, mask, split=interleaved_heads, merge=merged_channels_outside)


def never_split(x, a, b, c, d, H, mask=None):
    q, k, v = x @ a.T, x @ b.T, x @ c.T
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return weights_of(masked(scores, mask)) @ v @ d.T


def mask_turned_around(x, a, b, c, d, H, mask=None):
    return whole(x, a, b, c, d, H, None if mask is None else ~mask)


def mask_left_out(x, a, b, c, d, H, mask=None):
    return layer_in_a_loop(x, a, b, c, d, H)


def keys_for_values(x, a, b, c, d, H, mask=None):
    return layer_in_a_loop(x, a, b, b, d, H, mask)


def queries_and_keys_swapped(x, a, b, c, d, H, mask=None):
    return whole(x, b, a, c, d, H, mask)


def always_as_many_kv_heads(x, a, b, c, d, H, mask=None):
    q, k, v = (split_by_view(F.linear(x, w), H) for w in (a, b, c))
    return F.linear(merge_by_transpose(plain_attention(q, k, v, mask)), d)


def always_causal(x, a, b, c, d, H, mask=None):
    T = x.shape[1]
    return whole(x, a, b, c, d, H, torch.ones(T, T).tril().bool())


# --- head_outputs ---------------------------------------------------------------------------------


def head_outputs_in_a_loop(heads, w_output):
    D = heads.shape[-1]
    return torch.stack(
        [heads[:, h] @ w_output[:, h * D : (h + 1) * D].T for h in range(heads.shape[1])], 1
    )


def head_outputs_by_matmul(heads, w_output):
    return heads @ rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])


def the_whole_output(heads, w_output):
    return rearrange(heads, "B H T D -> B T (H D)") @ w_output.T


def outputs_of_interleaved_columns(heads, w_output):
    return heads @ rearrange(w_output, "C (D H) -> H D C", H=heads.shape[1])


def first_columns(heads, w_output):
    return torch.einsum("bhtd,cd->bhtc", heads, w_output[:, : heads.shape[-1]])


def columns_from_the_end(heads, w_output):
    H, D = heads.shape[1], heads.shape[-1]
    return torch.stack(
        [heads[:, h] @ w_output[:, (H - 1 - h) * D : (H - h) * D].T for h in range(H)], 1
    )


def parts_by_position(heads, w_output):
    columns = rearrange(w_output, "C (H D) -> H D C", H=heads.shape[1])
    return torch.einsum("bhtd,hdc->bthc", heads, columns)


def parts_of_a_mean(heads, w_output):
    return head_outputs_in_a_loop(heads / heads.shape[1], w_output)


# --- mean_pool_kv_heads ---------------------------------------------------------------------------


def pooled_by_einops(weight, H, G):
    return reduce(weight, "(G N D) C -> (G D) C", "mean", G=G, N=H // G)


def pooled_in_a_loop(weight, H, G):
    D, n = weight.shape[0] // H, H // G
    pooled = torch.zeros(G * D, weight.shape[1])
    for h in range(H):
        pooled[h // n * D : (h // n + 1) * D] += weight[h * D : (h + 1) * D] / n
    return pooled


def pooled_every_gth(weight, H, G):
    return reduce(weight, "(N G D) C -> (G D) C", "mean", G=G, N=H // G)


def pooled_by_sum(weight, H, G):
    return reduce(weight, "(G N D) C -> (G D) C", "sum", G=G, N=H // G)


def first_of_each(weight, H, G):
    return weight.reshape(G, H // G, -1, weight.shape[1])[:, 0].reshape(-1, weight.shape[1])


def neighbouring_rows(weight, H, G):
    return reduce(weight, "(R N) C -> R C", "mean", N=H // G)


def pooled_and_repeated(weight, H, G):
    pooled = pooled_by_einops(weight, H, G)
    return repeat(pooled, "(G D) C -> (G N D) C", G=G, N=H // G)


def pooled_rows_channel_by_channel(weight, H, G):
    return reduce(weight, "(G N D) C -> (D G) C", "mean", G=G, N=H // G)


RIGHT = {
    "split_heads": [split_by_view, split_by_slices],
    "merge_heads": [merge_by_transpose, merge_by_cat],
    "grouped_query_attention": [grouped_by_five_axes, grouped_in_a_loop],
    "multi_head_attention": [whole, layer_in_a_loop],
    "head_outputs": [head_outputs_in_a_loop, head_outputs_by_matmul],
    "mean_pool_kv_heads": [pooled_by_einops, pooled_in_a_loop],
}

SECOND_FORMS = {
    "split_heads": {
        "reshaped without a transpose": viewed_at_once,
        "heads and positions not swapped": heads_behind_positions,
        "(D H) instead of (H D)": interleaved_heads,
        "H taken for D": heads_of_h_channels,
        "heads in front of the batch": heads_first,
        "channels and positions swapped": rows_of_channels,
        "transposed before cutting": turned_then_dealt_out,
        "a list of heads": one_tensor_for_each_head,
    },
    "merge_heads": {
        "reshaped without a transpose": dealt_out_anew,
        "(D H) instead of (H D)": merged_channels_outside,
        "positions merged instead of heads": positions_side_by_side,
        "the wrong axes swapped": last_two_swapped,
        "heads added up": heads_in_one_sum,
        "heads averaged": heads_in_one_mean,
        "the batch merged too": one_long_text,
    },
    "grouped_query_attention": {
        "KV heads tiled instead of repeated": read_in_turn,
        "keys repeated, values tiled": values_in_turn,
        "keys tiled, values repeated": keys_in_turn,
        "all read the first KV head": the_first_for_all,
        "query heads averaged per group": one_output_for_the_group,
        "query heads averaged, then repeated": one_query_for_the_group,
        "only the first of each group": as_many_as_keys,
        "scaled by √(H·D)": over_the_root_of_the_width,
        "one softmax over all heads": shares_of_all_heads,
        "softmax over the heads": heads_compete,
        "mask on the first head alone": mask_written_into_head_zero,
        "the first head's mask for all": one_mask_for_all_heads,
        "the mask ignored": no_mask,
        "the mask upside down": what_may_not_be_seen,
    },
    "multi_head_attention": {
        "weights not transposed": nothing_transposed,
        "w_output not transposed": last_not_transposed,
        "queries, keys and values not transposed": first_three_not_transposed,
        "output projection forgotten": heads_side_by_side,
        "no output projection, and KV heads not shared": nothing_mixed_nothing_shared,
        "scaled by √C": root_of_the_width,
        "split by reshape": split_dealt_out,
        "merged by reshape": merge_dealt_out,
        "split and merged by reshape": both_dealt_out,
        "heads and positions swapped": heads_attend_to_heads,
        "(D H) instead of (H D)": channels_outside,
        "one wide head": never_split,
        "KV heads tiled instead of repeated": attending(read_in_turn),
        "query heads averaged per group": attending(one_query_for_the_group),
        "one softmax over all heads": attending(shares_of_all_heads),
        "mask on the first head alone": attending(mask_written_into_head_zero),
        "the mask ignored": mask_left_out,
        "the mask upside down": mask_turned_around,
        "values made with the keys' weights": keys_for_values,
    },
    "head_outputs": {
        "added up already": the_whole_output,
        "(D H) instead of (H D)": outputs_of_interleaved_columns,
        "the first head's columns for all": first_columns,
        "the columns in reverse": columns_from_the_end,
        "heads behind the positions": parts_by_position,
        "divided by the heads": parts_of_a_mean,
    },
    "mean_pool_kv_heads": {
        "every G-th head pooled": pooled_every_gth,
        "added instead of averaged": pooled_by_sum,
        "the first of each group": first_of_each,
        "channels averaged instead of heads": neighbouring_rows,
        "still H heads": pooled_and_repeated,
        "the rows in (D G) order": pooled_rows_channel_by_channel,
    },
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
    "grouped_query_attention": [
        plain_attention,
        keys_cut_down,
        without_a_scale,
        lambda q, k, v, mask=None: looped(q, k, v, mask, value=lambda h, G: G - 1),
        lambda q, k, v, mask=None: grouped_in_a_loop(q, k.flip(1), v.flip(1), mask),
    ],
    "multi_head_attention": [
        queries_and_keys_swapped,
        always_as_many_kv_heads,
        always_causal,
        lambda x, a, b, c, d, H, mask=None: x + whole(x, a, b, c, d, H, mask),
    ],
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
