"""Lesson 00: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch
from hypothesis import strategies as st
from random_inputs import drawn, random_ids, seeds, shaped, sizes
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

# --- greedy ---------------------------------------------------------------------------------------


def greedy_by_topk(logits):
    return torch.topk(logits, k=1, dim=-1).indices.squeeze(-1)


def greedy_in_loops(logits):
    ids = []
    for row in logits.reshape(-1, logits.shape[-1]).tolist():
        ids.append(max(range(len(row)), key=row.__getitem__))
    return torch.tensor(ids).reshape(logits.shape[:-1])


BEST = edited(
    greedy_by_topk,
    """
## no axis
- torch.topk(logits, → torch.topk(logits.flatten(),
## the value instead of its place
- .indices → .values
## the largest logit of all
- torch.topk(logits, → torch.topk(logits.flatten(),
- .indices → .values
## the worst token
- k=1, → k=1, largest=False,
## an axis too many
- .squeeze(-1)
## the first axis
- dim=-1).indices.squeeze(-1) → dim=0).indices.squeeze(0)
""",
)

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


def loss_by_nll(logits, token_ids):
    log_p = logits - torch.logsumexp(logits, -1, keepdim=True)
    return F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])


LOSSES = edited(
    loss_by_nll,
    """
## not shifted
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p.mT, token_ids
## shifted the wrong way
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[:, 1:].mT, token_ids[:, :-1]
## the sign
- return F → return -F
## the sum
- token_ids[:, 1:] → token_ids[:, 1:], reduction="sum"
## the other logarithm
- return F → return torch.tensor(2.0).log() ** -1 * F
## no mean
- token_ids[:, 1:] → token_ids[:, 1:], reduction="none"
## probabilities instead of their logarithms
- logits - torch.logsumexp(logits, -1, keepdim=True) → logits.softmax(-1)
## the logit instead of the log-probability
- logits - torch.logsumexp(logits, -1, keepdim=True) → logits
## softmax along the text
- torch.logsumexp(logits, -1, keepdim=True) → torch.logsumexp(logits[:, :-1], 1, keepdim=True)
## the perplexity
- return F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ return F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:]).exp()
## the logarithm of a softmax
- logits - torch.logsumexp(logits, -1, keepdim=True) → torch.log(F.softmax(logits, dim=-1))
## log2 of a softmax
- logits - torch.logsumexp(logits, -1, keepdim=True) → torch.log2(F.softmax(logits, dim=-1))
## exponentials that overflow
- logits - torch.logsumexp(logits, -1, keepdim=True)
+ torch.log(torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True))
""",
)

UNNAMED_LOSSES = edited(
    loss_by_nll,
    """
## softmax twice
- log_p = logits - torch.logsumexp(logits, -1, keepdim=True)
+ log_p = logits.softmax(-1).log_softmax(-1)
## divided by all positions
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="sum") / token_ids.numel()
## the sum of each text
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").sum(-1).mean()
""",
)

RIGHT = {
    "greedy": [greedy_by_topk, greedy_in_loops],
    "next_token_loss": [loss_by_cross_entropy, loss_in_loops, loss_by_nll],
}


SECOND_FORMS = {"greedy": BEST, "next_token_loss": LOSSES}

UNNAMED = {
    "greedy": [
        lambda logits: logits.max(-1),
        lambda logits: logits.argmax(-1).item(),
        lambda logits: logits.topk(2).indices[..., 1],
    ],
    "next_token_loss": list(UNNAMED_LOSSES.values()),
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
