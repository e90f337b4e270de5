"""Lesson 01: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from hypothesis import strategies as st
from random_inputs import drawn, seeds, shaped, sizes
from torch.nn import functional as F

# --- softmax --------------------------------------------------------------------------------------


def softmax_by_logsumexp(x, dim=-1):
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True)).nan_to_num(0.0)


def softmax_with_empty_rows_replaced(x, dim=-1):
    empty = (x == -math.inf).all(dim, keepdim=True)
    e = torch.exp(x - torch.where(empty, 0.0, x.max(dim, keepdim=True).values))
    return e / torch.where(empty, 1.0, e.sum(dim, keepdim=True))


def powers_of_e(x, dim=-1):
    powers = torch.pow(math.e, x)
    return powers / powers.sum(dim).unsqueeze(dim)


def along_the_last(x, dim=-1):
    highest = torch.max(x, -1, keepdim=True).values
    e = torch.exp(x - torch.where(highest == -math.inf, 0.0, highest))
    total = e.sum(-1, keepdim=True)
    return torch.where(total == 0, 0.0, e / total)


def powers_over_their_total(x, dim=-1):
    powers = torch.pow(math.e, x)
    return powers / powers.flatten().sum()


def flattened(x, dim=-1):
    return F.softmax(x.flatten(), dim=0).view_as(x)


def one_total(x, dim=-1):
    e = torch.exp(x - x.max(dim, keepdim=True).values)
    return e / torch.sum(e)


def highest_of_all(x, dim=-1):
    e = torch.exp(x - torch.max(x))
    return e / torch.sum(e, dim, keepdim=True)


def highest_of_all_along_the_last(x, dim=-1):
    e = torch.exp(x - torch.max(x))
    return e / torch.sum(e, -1).unsqueeze(-1)


def total_lost_its_axis(x, dim=-1):
    e = torch.exp(torch.sub(x, x.max(dim, True)[0]))
    return torch.div(e, torch.sum(e, axis=dim))


def never_divided(x, dim=-1):
    return torch.exp(x - x.max(dim=dim).values.unsqueeze(dim))


def stable_but_for_empty_rows(x, dim=-1):
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def minus_a_billion_for_minus_infinity(x, dim=-1):
    return F.softmax(x.masked_fill(x == -math.inf, -1e9), dim=dim)


def shares_without_exponentials(x, dim=-1):
    return x / x.sum(dim, keepdim=True)


def naive_along_the_last(x, dim=-1):
    return x.exp() / x.exp().sum(-1, keepdim=True)


# --- causal_mask ----------------------------------------------------------------------------------


def positions(T, S=None):
    """Where queries and keys stand: (T, 1) and (1, S)."""
    S = S or T
    return torch.arange(S - T, S)[:, None], torch.arange(S)[None]


def causal_by_positions(T, S=None):
    query, key = positions(T, S)
    return key <= query


def bottom_of_the_square(T, S=None):
    S = T if S is None else S
    return torch.tril(torch.ones(S, S)).bool()[S - T :]


def rows_from_zero(T, S=None):
    return torch.arange(S or T)[None] <= torch.arange(T)[:, None]


def strictly_before(T, S=None):
    query, key = positions(T, S)
    return key < query


def up_to_the_next(T, S=None):
    query, key = positions(T, S)
    return key <= query + 1


def what_is_hidden(T, S=None):
    S = T if S is None else S
    return torch.triu(torch.ones(T, S), diagonal=S - T + 1) == 1


def itself_and_later(T, S=None):
    query, key = positions(T, S)
    return key >= query


def ones_and_zeros(T, S=None):
    return causal_by_positions(T, S).long()


def only_new_keys(T, S=None):
    return torch.tril(torch.ones(T, T)).bool()


def additive(T, S=None):
    return torch.zeros(T, S or T).masked_fill(~causal_by_positions(T, S), -math.inf)


def shifted_backwards(T, S=None):
    S = S or T
    return torch.arange(S)[None] + (S - T) <= torch.arange(T)[:, None]


def keys_by_queries(T, S=None):
    return causal_by_positions(T, S).mT


def s_not_filled_in(T, S=None):
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


# --- attention ------------------------------------------------------------------------------------


def dots(q, k):
    return torch.einsum("bhtd,bhsd->bhts", q, k)


def mixed(weights, v):
    return torch.einsum("bhts,bhsd->bhtd", weights, v)


def hidden(scores, mask):
    return scores if mask is None else torch.where(mask, scores, -math.inf)


def attention_by_einsum(q, k, v, mask=None):
    scores = hidden(dots(q, k) / q.shape[-1] ** 0.5, mask)
    return mixed(softmax_by_logsumexp(scores), v)


def attention_in_loops(q, k, v, mask=None):
    B, H, T, D = q.shape
    S = k.shape[2]
    seen = torch.ones(B, H, T, S) if mask is None else mask.expand(B, H, T, S)
    out = torch.zeros(B, H, T, v.shape[-1])
    for b in range(B):
        for h in range(H):
            for t in range(T):
                keys = [s for s in range(S) if seen[b, h, t, s]]
                if keys:
                    scores = torch.stack([q[b, h, t] @ k[b, h, s] for s in keys]) / math.sqrt(D)
                    shares = torch.softmax(scores, 0)
                    for s, share in zip(keys, shares, strict=True):
                        out[b, h, t] += share * v[b, h, s]
    return out


def plain_dots(q, k, v, mask=None):
    return mixed(softmax_by_logsumexp(hidden(dots(q, k), mask)), v)


def over_d(q, k, v, mask=None):
    scores = torch.matmul(q, k.transpose(-2, -1)) / q.size(-1)
    return torch.matmul(softmax_by_logsumexp(hidden(scores, mask)), v)


def over_root_of_positions(q, k, v, mask=None):
    return mixed(softmax_by_logsumexp(hidden(dots(q / q.shape[2] ** 0.5, k), mask)), v)


def shares_of_the_queries(q, k, v, mask=None):
    scores = hidden(dots(q, k) / math.sqrt(q.shape[-1]), mask)
    return mixed(softmax_by_logsumexp(scores, dim=2), v)


def scores_times_mask(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    return mixed(F.softmax(scores if mask is None else scores * mask, dim=-1), v)


def weights_set_to_zero(q, k, v, mask=None):
    weights = F.softmax(dots(q, k) / math.sqrt(q.shape[-1]), dim=-1)
    if mask is not None:
        weights = torch.where(mask, weights, 0.0)
    return mixed(weights, v)


def filled_where_true(q, k, v, mask=None):
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores[mask.expand_as(scores)] = -math.inf
    return torch.matmul(softmax_by_logsumexp(scores), v)


def result_of_the_mask_dropped(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores.masked_fill(~mask, -math.inf)
    return mixed(F.softmax(scores, dim=-1), v)


def with_pytorchs_softmax(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    return mixed(F.softmax(scores, dim=-1), v)


def a_finite_number_instead(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e20))
    return mixed(F.softmax(scores, dim=-1), v)


def mixture_of_keys(q, k, v, mask=None):
    scores = hidden(dots(q, k) / math.sqrt(q.shape[-1]), mask)
    return torch.einsum("bhts,bhsd->bhtd", softmax_by_logsumexp(scores), k)


def scaled_at_the_end(q, k, v, mask=None):
    weights = softmax_by_logsumexp(hidden(dots(q, k), mask))
    return mixed(weights * q.shape[-1] ** -0.5, v)


def zeros_hidden(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores * mask
        scores = torch.where(scores == 0, -math.inf, scores)
    return mixed(softmax_by_logsumexp(scores), v)


def causal_by_default(q, k, v, mask=None):
    if mask is None:
        mask = causal_by_positions(q.shape[2], k.shape[2])
    return attention_by_einsum(q, k, v, mask)


def over_eight(q, k, v, mask=None):
    return mixed(softmax_by_logsumexp(hidden(dots(q, k) / 8, mask)), v)


def shares_only(q, k, v, mask=None):
    return softmax_by_logsumexp(hidden(dots(q, k) / q.shape[-1] ** 0.5, mask))


def times_root_d(q, k, v, mask=None):
    scores = hidden(dots(q, k) * math.sqrt(q.shape[-1]), mask)
    return mixed(softmax_by_logsumexp(scores), v)


def root_of_heads(q, k, v, mask=None):
    scores = hidden(dots(q, k) / math.sqrt(q.shape[1]), mask)
    return mixed(softmax_by_logsumexp(scores), v)


def boolean_added(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    return mixed(F.softmax(scores if mask is None else scores + mask, dim=-1), v)


def without_softmax(q, k, v, mask=None):
    scores = dots(q, k) / math.sqrt(q.shape[-1])
    return mixed(scores if mask is None else scores.masked_fill(~mask, 0.0), v)


def keys_not_transposed(q, k, v, mask=None):
    return F.softmax(q @ k / math.sqrt(q.shape[-1]), dim=-1) @ v


# --- previous_token_head --------------------------------------------------------------------------


def best_of(maps, score):
    """The (layer, head) whose map scores highest, one map at a time."""
    L, H = maps.shape[:2]
    places = [(layer, head) for layer in range(L) for head in range(H)]
    return max(places, key=lambda place: score(maps[place].tolist()))


def previous_in_loops(maps):
    def score(rows):
        return sum(rows[t][t - 1] for t in range(1, len(rows)))

    return best_of(maps, score)


def previous_by_indexing(maps):
    T = maps.shape[-1]
    share = maps[..., torch.arange(1, T), torch.arange(T - 1)].mean(-1)
    layer, head = (share == share.max()).nonzero()[0]
    return layer, head


def main_diagonal(maps):
    return divmod(torch.einsum("lhtt->lh", maps).argmax().item(), maps.shape[1])


def first_column(maps):
    layer, head = torch.unravel_index(maps[..., 0].mean(-1).argmax(), maps.shape[:2])
    return layer, head


def second_below_the_diagonal(maps):
    def score(rows):
        return sum(rows[t][t - 2] for t in range(2, len(rows))) / (len(rows) - 2)

    return best_of(maps, score)


def head_then_layer(maps):
    layer, head = previous_in_loops(maps)
    return head, layer


def unpacked_by_layers(maps):
    L = maps.shape[0]
    place = int(maps.diagonal(-1, 2, 3).sum(-1).flatten().argmax())
    return place // L, place % L


def flattened_place(maps):
    return maps.diagonal(-1, 2, 3).mean(-1).argmax()


def above_the_diagonal(maps):
    def score(rows):
        return sum(rows[t][t + 1] for t in range(len(rows) - 1))

    return best_of(maps, score)


def by_the_last_query(maps):
    return divmod(int(maps[:, :, -1, -2].argmax()), maps.shape[1])


def by_the_best_query(maps):
    return divmod(int(maps.diagonal(-1, 2, 3).amax(-1).argmax()), maps.shape[1])


# --- padding_mask ---------------------------------------------------------------------------------


def real_in_loops(lengths, S):
    mask = torch.zeros(len(lengths), 1, 1, S, dtype=torch.bool)
    for b, n in enumerate(lengths.tolist()):
        mask[b, :, :, :n] = True
    return mask


def real_by_comparison(lengths, S):
    return lengths.view(-1, 1, 1, 1) > torch.arange(S)


def up_to_the_length(lengths, S):
    return torch.arange(S) <= lengths.view(-1, 1, 1, 1)


def padding_itself(lengths, S):
    return torch.arange(S) >= lengths.view(-1, 1, 1, 1)


def batch_by_keys(lengths, S):
    return torch.arange(S).expand(len(lengths), S) < lengths.unsqueeze(1)


def last_ones(lengths, S):
    return (torch.arange(S) >= S - lengths.unsqueeze(1)).view(len(lengths), 1, 1, S)


def one_new_axis_only(lengths, S):
    return batch_by_keys(lengths, S).unsqueeze(1)


def no_new_axis(lengths, S):
    return torch.arange(S) < lengths


def real_as_numbers(lengths, S):
    return real_in_loops(lengths, S).float()


# --- effective_keys -------------------------------------------------------------------------------


def effective_with_zeros_replaced(weights):
    logs = torch.where(weights > 0, weights, 1.0).log()
    return torch.exp(-torch.einsum("...s,...s->...", weights, logs))


def effective_in_loops(weights):
    counts = []
    for row in weights.reshape(-1, weights.shape[-1]).tolist():
        counts.append(math.exp(-sum(w * math.log(w) for w in row if w > 0)))
    return torch.tensor(counts).reshape(weights.shape[:-1])


def zero_times_infinity(weights):
    return 1 / torch.exp(torch.einsum("...s,...s->...", weights, torch.log(weights)))


def entropy_in_nats(weights):
    return effective_with_zeros_replaced(weights).log()


def two_to_the_entropy(weights):
    return torch.exp2(-torch.xlogy(weights, weights).sum(dim=-1))


def inverse_simpson(weights):
    return 1 / (weights * weights).sum(-1)


def sign_forgotten(weights):
    logs = torch.where(weights > 0, weights, 1.0).log()
    return torch.exp((weights * logs).sum(-1))


RIGHT = {
    "softmax": [softmax_by_logsumexp, softmax_with_empty_rows_replaced],
    "causal_mask": [causal_by_positions, bottom_of_the_square],
    "attention": [attention_by_einsum, attention_in_loops],
    "previous_token_head": [previous_in_loops, previous_by_indexing],
    "padding_mask": [real_in_loops, real_by_comparison],
    "effective_keys": [effective_with_zeros_replaced, effective_in_loops],
}


SECOND_FORMS = {
    "softmax": {
        "overflow": powers_of_e,
        "always the last axis": along_the_last,
        "overflow, and always the last axis": naive_along_the_last,
        "one peak, and always the last axis": highest_of_all_along_the_last,
        "overflow, and summed over everything": powers_over_their_total,
        "summed over everything": flattened,
        "one total for everything": one_total,
        "one peak for everything": highest_of_all,
        "the sum without keepdim": total_lost_its_axis,
        "not normalised": never_divided,
        "NaN for a row of -inf": stable_but_for_empty_rows,
        "equal weights for a row of -inf": minus_a_billion_for_minus_infinity,
    },
    "causal_mask": {
        "not shifted by the cache": rows_from_zero,
        "shifted the wrong way": shifted_backwards,
        "blind to itself": strictly_before,
        "sees one ahead": up_to_the_next,
        "upside down": what_is_hidden,
        "the future": itself_and_later,
        "numbers instead of booleans": ones_and_zeros,
        "square whatever S is": only_new_keys,
    },
    "attention": {
        "forgot 1/√D": plain_dots,
        "divided by D": over_d,
        "divided by the root of T": over_root_of_positions,
        "softmax over the queries": shares_of_the_queries,
        "masked with zero": scores_times_mask,
        "masked after the softmax": weights_set_to_zero,
        "every score of 0 masked": zeros_hidden,
        "the mask added as a number": boolean_added,
        "always causal": causal_by_default,
        "√64 for every D": over_eight,
        "the weights themselves": shares_only,
        "the mask upside down": filled_where_true,
        "the mask ignored": result_of_the_mask_dropped,
        "NaN where nothing may be attended to": with_pytorchs_softmax,
        "a large negative number instead of -inf": a_finite_number_instead,
        "keys weighted instead of values": mixture_of_keys,
        "scaled after the softmax": scaled_at_the_end,
    },
    "previous_token_head": {
        "the token itself": main_diagonal,
        "the sink": first_column,
        "one ahead": above_the_diagonal,
        "two before": second_below_the_diagonal,
        "head and layer swapped": head_then_layer,
        "divided by the layers": unpacked_by_layers,
    },
    "padding_mask": {
        "one too many": up_to_the_length,
        "upside down": padding_itself,
        "two axes only": batch_by_keys,
        "padding on the left": last_ones,
    },
    "effective_keys": {
        "0 · ln 0": zero_times_infinity,
        "the entropy itself": entropy_in_nats,
        "two to the nats": two_to_the_entropy,
        "one over the sum of squares": inverse_simpson,
        "the sign": sign_forgotten,
    },
}

UNNAMED = {
    "softmax": [
        shares_without_exponentials,
        lambda x, dim=-1: torch.sigmoid(x),
        lambda x, dim=-1: F.log_softmax(x, dim),
    ],
    "causal_mask": [additive, keys_by_queries, s_not_filled_in],
    "attention": [
        times_root_d,
        root_of_heads,
        without_softmax,
        keys_not_transposed,
    ],
    "previous_token_head": [
        flattened_place,
        by_the_last_query,
        by_the_best_query,
    ],
    "padding_mask": [one_new_axis_only, no_new_axis, real_as_numbers],
    "effective_keys": [
        lambda weights: 1 / weights.amax(-1),
        lambda weights: (weights > 0).sum(-1).float(),
        lambda weights: torch.special.entr(weights).sum(-2).exp(),
    ],
}


# --- random inputs --------------------------------------------------------------------------------


def random_scores(shape, seed, scale, axis):
    x = drawn(seed, *shape, scale=scale)
    chance = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return x.masked_fill(chance < 0.3, -math.inf), axis % len(shape) - len(shape) * (axis < 0)


def random_lengths(T, cached):
    return (T,) if cached is None else (T, T + cached)


def random_queries(B, H, T, S, D, seed, share):
    q, k, v = drawn(seed, B, H, T, D), drawn(seed + 1, B, H, S, D), drawn(seed + 2, B, H, S, D)
    if share is None:
        return q, k, v
    return q, k, v, torch.rand(B, 1, T, S, generator=torch.Generator().manual_seed(seed)) < share


def random_maps(L, H, T, seed):
    return (drawn(seed, L, H, T, T, scale=3.0).softmax(-1),)


def random_padding(lengths, more):
    return torch.tensor(lengths), max(lengths) + more


def random_weights(shape, seed):
    x = drawn(seed, *shape, scale=3.0)
    x[..., 1:] = x[..., 1:].masked_fill(x[..., 1:] > 2.0, -math.inf)  # some weights are 0
    return (x.softmax(-1),)


RANDOM = {
    "softmax": shaped(
        random_scores,
        st.lists(sizes, min_size=1, max_size=4),
        seeds,
        st.sampled_from([1.0, 30.0]),
        st.integers(-4, 3),
    ),
    "causal_mask": shaped(random_lengths, st.integers(1, 8), st.none() | st.integers(0, 8)),
    "attention": shaped(
        random_queries, *[sizes] * 5, seeds, st.sampled_from([None, 0.0, 0.5, 1.0])
    ),
    "previous_token_head": shaped(random_maps, sizes, sizes, st.integers(2, 6), seeds),
    "padding_mask": shaped(
        random_padding, st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, 3)
    ),
    "effective_keys": shaped(random_weights, st.lists(sizes, min_size=1, max_size=3), seeds),
}
