"""Lesson 07: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from random_inputs import Driven, drawn, random_ids, seeds, shaped, sizes
from torch.nn import functional as F

OUT = -math.inf


# --- temperature ----------------------------------------------------------------------------------


def best_alone(logits):
    best = F.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    return torch.where(best, logits, OUT)


def temperature_by_one_hot(logits, t):
    return best_alone(logits) if t == 0 else torch.mul(logits, 1 / t)


def temperature_by_sorting(logits, t):
    if t > 0:
        return torch.div(logits, torch.tensor(float(t)))
    second = logits.sort(-1).values[..., -2:-1]
    return logits.masked_fill(logits <= second, OUT)


def times_t(logits, t):
    return best_alone(logits) if not t else torch.mul(logits, t)


def ready_to_draw_always(logits, t):
    return F.softmax(torch.div(logits, torch.tensor(float(t))), dim=-1)


def shares_over_t_always(logits, t):
    return torch.div(F.softmax(logits, dim=-1), torch.tensor(float(t)))


def all_but_the_best(logits, t):
    if t > 0:
        return logits / t
    return torch.where(torch.isfinite(best_alone(logits)), OUT, logits)


def best_without_its_axis(logits, t):
    if t > 0:
        return logits / t
    return torch.where(logits >= torch.max(logits, -1).values, logits, OUT)


def times_t_always(logits, t):
    return torch.mul(torch.tensor(float(t)), logits)


def shares_over_t(logits, t):
    if t == 0:
        return best_alone(logits)
    return (
        logits.exp().div(logits.exp().sum(-1, True)) / t
        if logits.max() < 50
        else (F.softmax(logits, dim=-1) / t)
    )


def divided_always(logits, t):
    return torch.div(logits, torch.tensor(float(t)))


def at_least_a_millionth(logits, t):
    return logits / max(t, 1e-6)


def ready_to_draw(logits, t):
    return F.softmax(temperature_by_one_hot(logits, t), dim=-1)


def id_at_zero(logits, t):
    return torch.max(logits, -1).indices if t == 0 else logits / t


def zeros_elsewhere(logits, t):
    if t > 0:
        return logits / t
    best = logits.argmax(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, best, logits.gather(-1, best))


def one_if_zero(logits, t):
    return logits / (t or 1.0)


def highest_of_the_tensor(logits, t):
    if t > 0:
        return logits / t
    return torch.where(logits == torch.max(logits), logits, OUT)


# --- top_k ----------------------------------------------------------------------------------------


def top_k_by_counting(logits, k):
    better = (logits[..., None, :] > logits[..., :, None]).sum(-1)  # how many beat each token
    return torch.where(better < k, logits, OUT)


def top_k_by_kthvalue(logits, k):
    V = logits.shape[-1]
    if k >= V:
        return logits.clone()
    last = logits.kthvalue(V - k + 1, dim=-1, keepdim=True).values
    return torch.where(logits >= last, logits, OUT)


def smallest_k(logits, k):
    last = logits.topk(min(k, logits.shape[-1]), largest=False).values.amax(-1, keepdim=True)
    return torch.where(logits <= last, logits, OUT)


def times_the_mask(logits, k):
    kept = torch.isfinite(top_k_by_counting(logits, k)) | (logits == OUT)
    last = logits.sort(-1, descending=True).values[..., min(k, logits.shape[-1]) - 1, None]
    return torch.where(kept & (logits >= last), logits, 0.0)


def best_values(logits, k):
    return torch.sort(logits, descending=True, dim=-1).values[..., :k]


def best_values_unbounded(logits, k):
    return torch.topk(logits, k, dim=-1)[0]


def best_of_the_k(logits, k):
    return torch.where(logits == logits.amax(-1, keepdim=True), logits, OUT)


def strictly_more_unbounded(logits, k):
    return torch.where(logits > logits.topk(k).values.amin(-1, keepdim=True), logits, OUT)


def sorted_and_cut(logits, k):
    ordered = torch.sort(logits, -1, True).values
    return torch.where(ordered >= ordered[..., min(k, ordered.shape[-1]) - 1, None], ordered, OUT)


def best_of_the_batch(logits, k):
    return top_k_by_counting(logits.reshape(1, -1), k).view_as(logits)


def strictly_more(logits, k):
    last = logits.topk(min(k, logits.shape[-1])).values.amin(-1, keepdim=True)
    return torch.where(logits > last, logits, OUT)


def k_and_one(logits, k):
    return top_k_by_counting(logits, k + 1)


def scattered(logits, k):
    places = logits.argsort(dim=-1, descending=True, stable=True)[..., :k]
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, places, True)
    return torch.where(kept, logits, OUT)


def shares_of_the_best(logits, k):
    return F.softmax(top_k_by_kthvalue(logits, k), dim=-1)


# --- top_p ----------------------------------------------------------------------------------------


def top_p_by_better_mass(logits, p):
    """Without sorting: the mass of all that is better, token by token."""
    if p == 1:
        return logits
    shares = F.softmax(logits, dim=-1)
    better = logits[..., None, :] > logits[..., :, None]  # [i, j]: j beats i
    before = (better * shares[..., None, :]).sum(-1)
    return torch.where(before < p, logits, OUT)


def top_p_in_loops(logits, p):
    out = torch.full_like(logits, OUT)
    V = logits.shape[-1]
    for row, kept in zip(logits.view(-1, V), out.view(-1, V), strict=True):
        shares, total = F.softmax(row, 0), 0.0
        for i in row.argsort(descending=True).tolist():
            kept[i] = row[i]
            total += float(shares[i])
            if total >= p and p < 1:
                break
    return out


def sorted_shares(logits):
    ordered, order = torch.sort(logits, dim=-1, descending=True)
    return F.softmax(ordered, dim=-1), order


def back(mask, order):
    return torch.gather(mask, -1, order.argsort(-1))


def sum_above_p(logits, p):
    shares, order = sorted_shares(logits)
    if p == 1:
        return logits
    return torch.where(back(shares.cumsum(-1) <= p, order), logits, OUT)


def sum_above_p_but_for_the_best(logits, p):
    shares, order = sorted_shares(logits)
    if p == 1:
        return logits
    keep = torch.cumsum(shares, -1) <= p
    keep = torch.cat((torch.ones_like(keep[..., :1]), keep[..., 1:]), -1)
    return torch.where(back(keep, order), logits, OUT)


def mask_in_the_wrong_order(logits, p):
    shares, _ = sorted_shares(logits)
    before = F.pad(shares.cumsum(-1), (1, 0))[..., :-1]
    return logits.masked_fill((before >= p) & (p < 1), OUT)


def nucleus_sorted(logits, p):
    ordered = torch.sort(logits, dim=-1, descending=True).values
    before = F.pad(F.softmax(ordered, -1).cumsum(-1), (1, 0))[..., :-1]
    return ordered.masked_fill((before >= p) & (p < 1), OUT)


def vocabulary_order(logits, p):
    before = F.pad(F.softmax(logits, -1).cumsum(-1), (1, 0))[..., :-1]
    return logits.masked_fill((before >= p) & (p < 1), OUT)


def from_the_worst(logits, p):
    if p == 1:
        return logits
    ordered, order = torch.sort(logits, dim=-1)
    before = F.pad(F.softmax(ordered, -1).cumsum(-1), (1, 0))[..., :-1]
    return torch.where(back(before < p, order), logits, OUT)


def mask_in_the_wrong_order_always(logits, p):
    shares, _ = sorted_shares(logits)
    return torch.where(shares.cumsum(-1) - shares < p, logits, OUT)


def mask_gathered(logits, p):
    return logits if p == 1 else argsort_of_the_order_forgotten(logits, p)


def nucleus_sorted_always(logits, p):
    shares, order = sorted_shares(logits)
    return torch.where(shares.cumsum(-1) - shares < p, logits.gather(-1, order), OUT)


def until_more_than_p(logits, p):
    if p == 1:
        return logits
    shares, order = sorted_shares(logits)
    before = F.pad(shares.cumsum(-1), (1, 0))[..., :-1]
    return torch.where(back(before <= p, order), logits, OUT)


def logits_summed(logits, p):
    if p == 1:
        return logits
    ordered, order = torch.sort(logits, dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return logits.masked_fill(back(before >= p, order), OUT)


def nucleus_removed(logits, p):
    if p == 1:
        return logits
    return torch.where(torch.isfinite(top_p_in_loops(logits, p)), OUT, logits)


def zero_outside(logits, p):
    if p == 1:
        return logits
    shares, order = sorted_shares(logits)
    before = F.pad(shares.cumsum(-1), (1, 0))[..., :-1]
    return torch.where(back(before < p, order), logits, 0.0)


def one_like_any_p(logits, p):
    shares, order = sorted_shares(logits)
    before = shares.cumsum(-1) - shares
    return torch.where(back(before < p, order), logits, OUT)


def each_above_p(logits, p):
    return logits if p == 1 else torch.where(F.softmax(logits, -1) >= p, logits, OUT)


def nucleus_of_the_batch(logits, p):
    return top_p_in_loops(logits.reshape(-1), p).view_as(logits)


def nucleus_as_shares(logits, p):
    return F.softmax(top_p_by_better_mass(logits, p), dim=-1)


def places_kept(logits, p):
    shares, order = sorted_shares(logits)
    return order[..., : int((shares.cumsum(-1) < p).sum(-1).max()) + 1]


def rolled(logits, p):
    """Shifted by a roll, whose last entry comes round to the front and removes the best."""
    shares, order = sorted_shares(logits)
    out = torch.roll(shares.cumsum(-1) > p, 1, -1)
    out[..., 0] = True
    return logits.masked_fill(back(out, order), OUT)


def one_minus_p(logits, p):
    return top_p_by_better_mass(logits, 1 - p) if p < 1 else logits


def argsort_of_the_order_forgotten(logits, p):
    shares, order = sorted_shares(logits)
    return logits.masked_fill(torch.gather(shares.cumsum(-1) - shares >= p, -1, order), OUT)


# --- min_p ----------------------------------------------------------------------------------------


def min_p_by_logits(logits, p):
    """p_i / p_best = e^(x_i - x_best): no softmax needed."""
    return torch.where(torch.exp(logits - logits.amax(-1, keepdim=True)) >= p, logits, OUT)


def min_p_by_ratios(logits, p):
    shares = F.softmax(logits, dim=-1)
    return logits.masked_fill(shares / torch.max(shares, -1, True).values < p, OUT)


def at_least_p(logits, p):
    return torch.where(F.softmax(logits, -1) >= p, logits, OUT)


def share_of_the_best_logit(logits, p):
    return torch.where(logits >= torch.max(logits, -1, True).values * p, logits, OUT)


def unlikely_kept(logits, p):
    return torch.where(torch.exp(logits - logits.amax(-1, keepdim=True)) < p, logits, OUT)


def best_of_all_rows(logits, p):
    shares = F.softmax(logits, dim=-1)
    return torch.where(shares / shares.max() >= p, logits, OUT)


def more_than_p(logits, p):
    shares = F.softmax(logits, dim=-1)
    return torch.where(shares > p * shares.max(-1, True).values, logits, OUT)


def others_to_zero(logits, p):
    return torch.where(torch.isfinite(min_p_by_ratios(logits, p)) | (p == 0), logits, 0.0)


def within_p(logits, p):
    shares = F.softmax(logits, dim=-1)
    return torch.where(shares >= shares.max(-1, True).values - p, logits, OUT)


def the_rest_of_p(logits, p):
    return min_p_by_ratios(logits, 1 - p)


def min_p_of_the_shares(logits, p):
    shares = F.softmax(logits, dim=-1)
    return torch.where(shares >= p * shares.max(-1, True).values, shares, OUT)


def best_share_without_its_axis(logits, p):
    shares = F.softmax(logits, dim=-1)
    return torch.where(shares / torch.max(shares, -1).values >= p, logits, OUT)


def min_p_as_shares(logits, p):
    return F.softmax(min_p_by_ratios(logits, p), dim=-1)


# --- repetition_penalty ---------------------------------------------------------------------------


def penalty_in_loops(logits, token_ids, penalty):
    out = logits.clone()
    V, T = logits.shape[-1], token_ids.shape[-1]
    rows = out.view(-1, V)
    for row, ids in zip(rows, token_ids.reshape(len(rows), T), strict=True):
        for i in set(ids.tolist()):
            row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
    return out


def occurred(logits, token_ids):
    return F.one_hot(token_ids, logits.shape[-1]).sum(-2) > 0


def penalty_by_counts(logits, token_ids, penalty):
    factor = torch.where(logits < 0, penalty, 1 / penalty)
    return logits * torch.where(occurred(logits, token_ids), factor, 1.0)


def all_divided(logits, token_ids, penalty):
    return logits.scatter(-1, token_ids, logits.gather(-1, token_ids) / penalty)


def each_time(logits, token_ids, penalty):
    counts = F.one_hot(token_ids, logits.shape[-1]).sum(-2)
    factor = torch.where(logits < 0, float(penalty), 1 / penalty)
    return logits * torch.where(counts > 0, factor**counts, 1.0)


def a_loop_over_ids(logits, token_ids, penalty):
    out = 1 * logits
    for i in token_ids:
        if out[i] < 0:
            out[i] *= penalty
        else:
            out[i] /= penalty
    return out


def a_loop_over_rows(logits, token_ids, penalty):
    out = logits.clone()
    for b, ids in enumerate(token_ids):
        for i in ids:
            if out[b][i] < 0:
                out[b][i] *= penalty
            else:
                out[b][i] /= penalty
    return out


def source_of_the_vocabulary(logits, token_ids, penalty):
    source = torch.where(logits < 0, logits * penalty, logits / penalty)
    return logits.scatter(-1, token_ids, source[..., : token_ids.shape[-1]])


def less_the_penalty(logits, token_ids, penalty):
    return logits.scatter(-1, token_ids, logits.gather(-1, token_ids) - penalty)


def likelihoods_divided(logits, token_ids, penalty):
    shares = F.softmax(logits, dim=-1)
    return shares.scatter(-1, token_ids, shares.gather(-1, token_ids) / penalty)


def written_into(logits, token_ids, penalty):
    seen = logits.gather(-1, token_ids)
    return logits.scatter_(-1, token_ids, torch.where(seen > 0, seen / penalty, seen * penalty))


def the_last_one(logits, token_ids, penalty):
    ids = token_ids[..., token_ids.shape[-1] - 1 :]
    return penalty_in_loops(logits, ids, penalty)


def whole_vocabulary(logits, token_ids, penalty):
    return torch.where(logits < 0, logits * penalty, logits / penalty)


def the_new_ones(logits, token_ids, penalty):
    return torch.where(occurred(logits, token_ids), logits, whole_vocabulary(logits, None, penalty))


def repetition_rewarded(logits, token_ids, penalty):
    return penalty_in_loops(logits, token_ids, 1 / penalty)


def tokens_of_any_row(logits, token_ids, penalty):
    out = logits.clone()
    for i in set(token_ids.flatten().tolist()):
        out[..., i] = whole_vocabulary(logits[..., i], None, penalty)
    return out


def gathered_but_not_scattered(logits, token_ids, penalty):
    T = token_ids.shape[-1]
    seen = logits.gather(-1, token_ids)
    changed = torch.where(seen < 0, seen * penalty, seen / penalty)[..., : logits.shape[-1]]
    return torch.cat((changed, logits[..., T:]), dim=-1)


# --- sample ---------------------------------------------------------------------------------------


def sample_by_inverse(logits, generator=None):
    """The inverse of the cumulative distribution at a uniform number, for each row."""
    sums = F.softmax(logits.double(), dim=-1).cumsum(-1)
    at = torch.rand(logits.shape[:-1], dtype=torch.double, generator=generator) * sums[..., -1]
    return (sums <= at[..., None]).sum(-1)


def sample_by_race(logits, generator=None):
    """Every token waits for an exponential time; the first wins."""
    shares = F.softmax(logits, dim=-1)
    waits = torch.empty_like(shares).exponential_(generator=generator)
    return (shares / waits).argmax(-1)


def rows_drawn(weights, generator):
    V = weights.shape[-1]
    return torch.multinomial(weights.reshape(-1, V), 1, generator=generator)[:, 0].reshape(
        weights.shape[:-1]
    )


def best_of_each(logits, generator=None):
    return torch.max(logits, -1).indices


def any_that_is_left(logits, generator=None):
    return rows_drawn(torch.where(logits > OUT, 1.0, 0.0), generator)


def logits_as_weights(logits, generator=None):
    return rows_drawn(logits / 2, generator)


def positive_logits_as_weights(logits, generator=None):
    return rows_drawn(F.relu(logits), generator)


def shares_of_shares(logits, generator=None):
    return sample_by_inverse(F.softmax(logits, dim=-1), generator)


def shares_of_the_rows(logits, generator=None):
    return rows_drawn(torch.exp(logits) / torch.exp(logits).sum(0), generator)


def surprise_as_weights(logits, generator=None):
    return sample_by_inverse(torch.where(logits > OUT, -logits, logits), generator)


def without_the_generator(logits, generator=None):
    return sample_by_race(logits, None)


def one_number_for_all(logits, generator=None):
    sums = F.softmax(logits.double(), dim=-1).cumsum(-1)
    return (sums <= torch.rand((), dtype=torch.double, generator=generator)).sum(-1)


def a_new_generator_each_time(logits, generator=None):
    mine = None if generator is None else torch.Generator().manual_seed(generator.initial_seed())
    return sample_by_race(logits, mine)


def manual_seed_of_everything(logits, generator=None):
    if generator:
        torch.random.manual_seed(generator.initial_seed())
    return sample_by_race(logits)


def multinomial_as_it_came(logits, generator=None):
    return F.softmax(logits, dim=-1).multinomial(1, generator=generator)


def flat_column(logits, generator=None):
    return sample_by_race(logits, generator).reshape(-1, 1)


def flat(logits, generator=None):
    return sample_by_race(logits, generator).reshape(-1)


def zero_if_none(logits, generator=None):
    return sample_by_inverse(logits, generator or torch.Generator().manual_seed(42))


def column_kept(logits, generator=None):
    return sample_by_race(logits, generator).unsqueeze(-1)


def its_probability(logits, generator=None):
    shares = F.softmax(logits, dim=-1)
    return torch.take_along_dim(shares, sample_by_race(logits, generator)[..., None], -1).squeeze(
        -1
    )


# --- entropy --------------------------------------------------------------------------------------


def entropy_by_xlogy(logits):
    shares = F.softmax(logits, dim=-1)
    return -torch.special.xlogy(shares, shares).sum(-1)


def entropy_by_logsumexp(logits):
    """ln Z minus the mean logit, with what is out left aside."""
    shares = F.softmax(logits, dim=-1)
    mean = torch.where(shares > 0, shares * logits, 0.0).sum(-1)
    return torch.logsumexp(logits, -1) - mean


def nan_at_zero(logits):
    shares = F.softmax(logits, dim=-1)
    return (shares * (1 / shares).log().nan_to_num(nan=math.nan, posinf=math.inf)).sum(-1)


def in_bits(logits):
    shares = F.softmax(logits, dim=-1)
    return -torch.where(shares > 0, shares * shares.clamp(min=1e-45).log2(), 0.0).sum(-1)


def without_the_minus(logits):
    shares = F.softmax(logits, dim=-1)
    return torch.xlogy(shares, shares).sum(-1)


def perplexity_of_the_forecast(logits):
    return entropy_by_xlogy(logits).exp()


def surprise_of_the_best(logits):
    return -F.softmax(logits, dim=-1).max(-1).values.log()


def sum_over_all_rows(logits):
    return entropy_by_xlogy(logits).flatten().sum()


# --- gumbel_sample --------------------------------------------------------------------------------


def gumbel_by_race(logits, uniform):
    """The same winner: exponential waiting times, the shortest first."""
    return (torch.log(-torch.log(uniform)) - logits).argmin(-1)


def gumbel_by_sorting(logits, uniform):
    noisy = logits + torch.log(1 / torch.log(1 / uniform))
    return noisy.argsort(-1, descending=True)[..., 0]


def plus_log_minus_log(logits, uniform):
    return torch.max(logits + torch.log(torch.log(1 / uniform)), -1).indices


def exponential_noise(logits, uniform):
    return torch.max(logits + torch.log(1 / uniform), -1).indices


def plain_noise(logits, uniform):
    return torch.max(torch.add(uniform, logits), -1).indices


def noise_wins(logits, uniform):
    return torch.log(1 / torch.log(1 / uniform)).max(-1).indices


def noise_on_shares(logits, uniform):
    return gumbel_by_race(F.softmax(logits, dim=-1), uniform)


def noise_unused(logits, uniform):
    return torch.max(logits, -1).indices


RIGHT = {
    "temperature": [temperature_by_one_hot, temperature_by_sorting],
    "top_k": [top_k_by_counting, top_k_by_kthvalue],
    "top_p": [top_p_by_better_mass, top_p_in_loops],
    "min_p": [min_p_by_logits, min_p_by_ratios],
    "repetition_penalty": [penalty_in_loops, penalty_by_counts],
    "sample": [sample_by_inverse, sample_by_race],
    "entropy": [entropy_by_xlogy, entropy_by_logsumexp],
    "gumbel_sample": [gumbel_by_race, gumbel_by_sorting],
}

SECOND_FORMS = {
    "temperature": {
        "multiplied": times_t,
        "multiplied, at 0 too": times_t_always,
        "the probabilities divided": shares_over_t,
        "division by zero": divided_always,
        "a tiny number for 0": at_least_a_millionth,
        "probabilities returned": ready_to_draw,
        "the id of the best": id_at_zero,
        "0 instead of -inf": zeros_elsewhere,
        "unchanged at 0": one_if_zero,
        "the best of all rows": highest_of_the_tensor,
        "probabilities returned, NaN at 0": ready_to_draw_always,
        "the probabilities divided, by 0 too": shares_over_t_always,
        "the best is out": all_but_the_best,
        "keepdim forgotten": best_without_its_axis,
    },
    "top_k": {
        "the k smallest": smallest_k,
        "0 instead of -inf": times_the_mask,
        "the k values alone": best_values,
        "the k values alone, and k > V fails": best_values_unbounded,
        "the first of the k best": best_of_the_k,
        "the k-th is dropped, and k > V fails": strictly_more_unbounded,
        "in sorted order": sorted_and_cut,
        "over the whole batch": best_of_the_batch,
        "the k-th is dropped": strictly_more,
        "one too many": k_and_one,
        "ties broken": scattered,
        "probabilities returned": shares_of_the_best,
    },
    "top_p": {
        "the crossing token dropped": sum_above_p,
        "the crossing token dropped, but for the best": sum_above_p_but_for_the_best,
        "the mask never unsorted": mask_in_the_wrong_order,
        "the mask never unsorted, and the tail dropped at p = 1": mask_in_the_wrong_order_always,
        "gathered, not scattered": mask_gathered,
        "gathered, not scattered, and the tail dropped at p = 1": argsort_of_the_order_forgotten,
        "in sorted order": nucleus_sorted,
        "in sorted order, and the tail dropped at p = 1": nucleus_sorted_always,
        "more than p": until_more_than_p,
        "not sorted at all": vocabulary_order,
        "ascending order": from_the_worst,
        "a sum of logits": logits_summed,
        "the tail kept": nucleus_removed,
        "0 instead of -inf": zero_outside,
        "the tail dropped at p = 1": one_like_any_p,
        "every probability against p": each_above_p,
        "one distribution for the whole batch": nucleus_of_the_batch,
        "probabilities returned": nucleus_as_shares,
    },
    "min_p": {
        "an absolute threshold": at_least_p,
        "relative to the logit": share_of_the_best_logit,
        "the likely ones out": unlikely_kept,
        "the best of the whole batch": best_of_all_rows,
        "the best is out at p = 1": more_than_p,
        "0 instead of -inf": others_to_zero,
        "a distance to the best": within_p,
        "1 - p": the_rest_of_p,
        "probabilities returned": min_p_as_shares,
        "the probabilities masked": min_p_of_the_shares,
        "keepdim forgotten": best_share_without_its_axis,
    },
    "repetition_penalty": {
        "negative logits divided": all_divided,
        "once per occurrence": each_time,
        "a loop over ids, once per occurrence": a_loop_over_ids,
        "a loop over rows and ids, once per occurrence": a_loop_over_rows,
        "a source as long as the vocabulary": source_of_the_vocabulary,
        "subtracted": less_the_penalty,
        "probabilities divided": likelihoods_divided,
        "in place": written_into,
        "only the last token": the_last_one,
        "every token": whole_vocabulary,
        "what was not seen": the_new_ones,
        "a reward": repetition_rewarded,
        "one row's tokens for all": tokens_of_any_row,
        "the wrong tokens by place": gathered_but_not_scattered,
    },
    "sample": {
        "argmax": best_of_each,
        "all equally often": any_that_is_left,
        "softmax forgotten": logits_as_weights,
        "negative logits cut off": positive_logits_as_weights,
        "softmax twice": shares_of_shares,
        "softmax over the wrong axis": shares_of_the_rows,
        "the sign": surprise_as_weights,
        "the generator ignored": without_the_generator,
        "one draw for all rows": one_number_for_all,
        "seeded again at each call": a_new_generator_each_time,
        "the global generator seeded": manual_seed_of_everything,
        "multinomial leaves an axis of length 1": multinomial_as_it_came,
        "rows never shaped back": flat_column,
        "rows without their axes": flat,
        "seeded where none is given": zero_if_none,
        "an axis too many": column_kept,
        "the probability of the draw": its_probability,
    },
    "entropy": {
        "0 · ln 0": nan_at_zero,
        "bits instead of nats": in_bits,
        "the sign": without_the_minus,
        "e to the entropy": perplexity_of_the_forecast,
        "the surprise of the best": surprise_of_the_best,
        "one number for all": sum_over_all_rows,
    },
    "gumbel_sample": {
        "the noise upside down": plus_log_minus_log,
        "one logarithm": exponential_noise,
        "uniform noise": plain_noise,
        "the noise alone": noise_wins,
        "added to probabilities": noise_on_shares,
        "no noise": noise_unused,
    },
}

UNNAMED = {
    "temperature": [
        lambda logits, t: logits * (1 / t),  # raises at 0
        lambda logits, t: best_alone(logits) if t == 0 else logits - t,
        lambda logits, t: best_alone(logits) if t == 0 else logits ** (1 / t),
        lambda logits, t: best_alone(logits) if t == 0 else logits // t,
        lambda logits, t: logits.argmax(-1) if t == 0 else F.softmax(logits / t, -1),
    ],
    "top_k": [
        lambda logits, k: logits.topk(k).indices,
        lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[..., -1:], OUT),
        lambda logits, k: logits.masked_fill(logits < logits.topk(k).values[0], OUT),
        lambda logits, k: torch.cat((logits[..., :k], torch.full_like(logits[..., k:], OUT)), -1),
        lambda logits, k: top_k_by_kthvalue(logits, k).nan_to_num(neginf=-1e4),
    ],
    "top_p": [places_kept, rolled, one_minus_p],
    "min_p": [
        lambda logits, p: logits.masked_fill(logits < logits.amax(-1, keepdim=True) - p, OUT),
        lambda logits, p: logits.masked_fill(F.softmax(logits, -1) < p * logits.amax(), OUT),
        lambda logits, p: torch.where(
            F.softmax(logits, -1) < p * F.softmax(logits, -1).mean(-1, True), OUT, logits
        ),
        lambda logits, p: top_p_in_loops(logits, p),
    ],
    "repetition_penalty": [
        lambda logits, token_ids, penalty: logits / penalty,
        lambda logits, token_ids, penalty: logits.scatter(-1, token_ids, OUT),
        lambda logits, token_ids, penalty: logits.scatter(-1, token_ids, 1 / penalty),
        lambda logits, token_ids, penalty: torch.where(
            occurred(logits, token_ids), logits - logits.abs() * penalty, logits
        ),
    ],
    "sample": [
        lambda logits, generator=None: rows_drawn(F.softmax(logits / 2, -1), generator),
        lambda logits, generator=None: torch.multinomial(
            F.softmax(logits, -1), 1, generator=generator
        ).squeeze(),
        lambda logits, generator=None: (
            logits + torch.randn(logits.shape, generator=generator)
        ).argmax(-1),
        lambda logits, generator=None: int(sample_by_race(logits.flatten(), generator)),
        lambda logits, generator=None: torch.randint(
            logits.shape[-1], logits.shape[:-1], generator=generator
        ),
    ],
    "entropy": [
        lambda logits: torch.special.entr(F.softmax(logits, -1)).mean(-1),
        lambda logits: torch.special.entr(logits).sum(-1),
        lambda logits: torch.special.entr(F.softmax(logits, 0)).sum(-1),
        lambda logits: 1 - F.softmax(logits, -1).square().sum(-1),
    ],
    "gumbel_sample": [
        lambda logits, uniform: (logits + torch.log(-torch.log(1 - uniform))).argmin(-1),
        lambda logits, uniform: (logits - torch.log(-torch.log(uniform))).amax(-1),
        lambda logits, uniform: (logits - torch.log(-torch.log(uniform))).argmin(-1),
        lambda logits, uniform: (logits - torch.log2(-torch.log2(uniform))).argmax(-1),
    ],
}


# --- random inputs --------------------------------------------------------------------------------


def a_forecast(rows, vocabulary, seed):
    return drawn(seed, rows, vocabulary + 1, scale=2.0)


def with_an_odd_number(values):
    """Logits and one option that no random sum or ratio meets exactly."""
    return lambda rows, vocabulary, seed: (
        a_forecast(rows, vocabulary, seed),
        values[seed % len(values)],
    )


def clear_p(rows, vocabulary, seed):
    """Logits and a p that is far from every cumulative sum: no rounding decides."""
    logits = a_forecast(rows, vocabulary, seed)
    sums = F.softmax(logits, -1).sort(-1, descending=True).values.cumsum(-1)
    for p in (0.9, 0.5, 0.7, 0.3, 0.05, 0.6):
        if (sums - p).abs().min() > 1e-4:
            return logits, p
    return logits, 1.0


def a_text_so_far(rows, vocabulary, length, seed):
    logits = a_forecast(rows, vocabulary, seed)
    return logits, random_ids(seed, vocabulary + 1, rows, length), (1.3, 2.0, 0.7, 1.0)[seed % 4]


def what_draws_show(candidate, logits):
    """What must be the same for every right sampler, whatever numbers it draws."""
    drawn_ids = candidate(logits.expand(3000, *logits.shape), torch.Generator().manual_seed(1))
    shares = torch.stack([(drawn_ids == i).float().mean(0) for i in range(logits.shape[-1])], -1)
    return {
        "shape": list(drawn_ids.shape),
        "right": bool(((shares - F.softmax(logits, -1)).abs() < 0.06).all()),
    }


def some_uniforms(rows, vocabulary, seed):
    logits = a_forecast(rows, vocabulary, seed)
    noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed))
    return logits, noise.clamp(1e-6, 1 - 1e-6)


RANDOM = {
    "temperature": shaped(with_an_odd_number([0.3, 1.0, 2.5, 0.0]), sizes, sizes, seeds),
    "top_k": shaped(with_an_odd_number([1, 2, 3, 5, 9]), sizes, sizes, seeds),
    "top_p": shaped(clear_p, sizes, sizes, seeds),
    "min_p": shaped(with_an_odd_number([0.1, 0.35, 0.0, 0.77]), sizes, sizes, seeds),
    "repetition_penalty": shaped(a_text_so_far, sizes, sizes, sizes, seeds),
    "sample": Driven(shaped(lambda *s: (a_forecast(*s),), sizes, sizes, seeds), what_draws_show),
    "entropy": shaped(lambda *s: (a_forecast(*s),), sizes, sizes, seeds),
    "gumbel_sample": shaped(some_uniforms, sizes, sizes, seeds),
}
