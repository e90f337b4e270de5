"""Lesson 00: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from hypothesis import strategies as st
from random_inputs import drawn, random_ids, seeds, shaped, sizes
from torch.nn import functional as F

# --- greedy ---------------------------------------------------------------------------------------


def greedy_by_topk(logits):
    return torch.topk(logits, k=1, dim=-1).indices.squeeze(-1)


def greedy_in_loops(logits):
    ids = []
    for row in logits.reshape(-1, logits.shape[-1]).tolist():
        ids.append(max(range(len(row)), key=row.__getitem__))
    return torch.tensor(ids).reshape(logits.shape[:-1])


def best_of_all(logits):
    flat = logits.flatten().tolist()
    return flat.index(max(flat))


def largest_logit(logits):
    return torch.sort(logits).values[..., -1]


def last_of_all_sorted(logits):
    return torch.sort(logits.flatten()).values[-1]


def first_when_sorted_upwards(logits):
    return torch.argsort(logits)[..., 0]


def topk_not_squeezed(logits):
    _, ids = torch.topk(logits, 1)
    return ids


def along_axis_0(logits):
    _, ids = torch.max(logits, 0)
    return ids


# --- next_token_loss ------------------------------------------------------------------------------


def loss_by_cross_entropy(logits, token_ids):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), token_ids[:, 1:])


def loss_in_loops(logits, token_ids):
    B, T = token_ids.shape
    total = 0.0
    for b in range(B):
        for t in range(T - 1):
            forecast = logits[b, t]
            total += torch.logsumexp(forecast, 0) - forecast[token_ids[b, t + 1]]
    return total / (B * (T - 1))


def token_against_its_own_logits(logits, token_ids):
    return F.cross_entropy(logits.flatten(0, 1), token_ids.flatten())


def forecast_of_the_past(logits, token_ids):
    B, T = token_ids.shape
    losses = []
    for b in range(B):
        for t in range(1, T):
            losses.append(-F.log_softmax(logits[b, t], dim=0)[token_ids[b, t - 1]])
    return torch.stack(losses).mean()


def mean_log_probability(logits, token_ids):
    return -F.cross_entropy(logits[:, :-1].mT, token_ids[:, 1:])


def total_surprise(logits, token_ids):
    return F.cross_entropy(logits[:, :-1].mT, token_ids[:, 1:], reduction="sum")


def loss_in_bits(logits, token_ids):
    return math.log2(math.e) * F.cross_entropy(logits[:, :-1].mT, token_ids[:, 1:])


def surprise_of_each(logits, token_ids):
    return F.cross_entropy(logits[:, :-1].mT, token_ids[:, 1:], reduction="none")


def mean_probability(logits, token_ids):
    p = F.softmax(logits[:, :-1], dim=-1)
    came = F.one_hot(token_ids[:, 1:], logits.shape[-1])
    return -(p * came).sum(-1).mean()


def mean_logit(logits, token_ids):
    return F.nll_loss(logits[:, :-1].mT, token_ids[:, 1:])


def normalised_along_the_text(logits, token_ids):
    forecasts = logits[:, :-1] - torch.logsumexp(logits[:, :-1], dim=1, keepdim=True)
    came = F.one_hot(token_ids[:, 1:], logits.shape[-1]) == 1
    return -forecasts[came].mean()


def log_of_softmax(logits, token_ids):
    total, count = 0.0, 0
    for row, ids in zip(logits, token_ids, strict=True):
        for forecast, token in zip(row[:-1], ids[1:], strict=True):
            total -= torch.log(torch.softmax(forecast, 0)[token])
            count += 1
    return total / count


def log2_of_softmax(logits, token_ids):
    p = torch.gather(logits.softmax(-1)[:, :-1], 2, token_ids[:, 1:].unsqueeze(2))
    return torch.mean(-torch.log2(p))


def log_of_exponentials(logits, token_ids):
    e = torch.exp(logits[:, :-1])
    p = e / e.sum(dim=2, keepdim=True)
    return -p.gather(2, token_ids[:, 1:].unsqueeze(2)).log().mean()


def softmax_twice(logits, token_ids):
    return F.cross_entropy(logits[:, :-1].softmax(-1).mT, token_ids[:, 1:])


def divided_by_all_positions(logits, token_ids):
    return total_surprise(logits, token_ids) / token_ids.numel()


def perplexity(logits, token_ids):
    return loss_by_cross_entropy(logits, token_ids).exp()


def sum_of_each_text(logits, token_ids):
    return surprise_of_each(logits, token_ids).sum(-1).mean()


RIGHT = {
    "greedy": [greedy_by_topk, greedy_in_loops],
    "next_token_loss": [loss_by_cross_entropy, loss_in_loops],
}


SECOND_FORMS = {
    "greedy": {
        "no axis": best_of_all,
        "the value instead of its place": largest_logit,
        "the largest logit of all": last_of_all_sorted,
        "the worst token": first_when_sorted_upwards,
        "an axis too many": topk_not_squeezed,
        "the first axis": along_axis_0,
    },
    "next_token_loss": {
        "not shifted": token_against_its_own_logits,
        "shifted the wrong way": forecast_of_the_past,
        "the sign": mean_log_probability,
        "the sum": total_surprise,
        "the other logarithm": loss_in_bits,
        "no mean": surprise_of_each,
        "probabilities instead of their logarithms": mean_probability,
        "the logit instead of the log-probability": mean_logit,
        "softmax along the text": normalised_along_the_text,
        "the perplexity": perplexity,
        "the logarithm of a softmax": log_of_softmax,
        "log2 of a softmax": log2_of_softmax,
        "exponentials that overflow": log_of_exponentials,
    },
}

UNNAMED = {
    "greedy": [
        lambda logits: logits.max(-1),
        lambda logits: logits.argmax(-1).item(),
        lambda logits: logits.topk(2).indices[..., 1],
    ],
    "next_token_loss": [
        softmax_twice,
        divided_by_all_positions,
        sum_of_each_text,
    ],
}


# --- random inputs --------------------------------------------------------------------------------


def random_logits(shape, seed):
    return (drawn(seed, *shape),)


def random_texts(B, T, V, seed, scale):
    return drawn(seed, B, T, V, scale=scale), random_ids(seed, V, B, T)


RANDOM = {
    "greedy": shaped(random_logits, st.lists(sizes, min_size=1, max_size=4), seeds),
    "next_token_loss": shaped(
        random_texts, sizes, st.integers(2, 6), st.integers(1, 9), seeds, st.sampled_from([1, 500])
    ),
}
