"""Lesson 00: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch
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
## always axis 1
- dim=-1).indices.squeeze(-1) → dim=1).indices.squeeze(1)
## the largest size
- torch.topk(logits, → torch.topk(logits**2,
## the value and its place
- torch.topk(logits, k=1, dim=-1).indices.squeeze(-1)
+ tuple(x.squeeze(-1) for x in torch.topk(logits, k=1, dim=-1))
## the probability instead of its place
- torch.topk(logits, k=1, dim=-1).indices → torch.topk(F.softmax(logits, -1), 1).values
## the last position of each text alone
- torch.topk(logits, → torch.topk(logits.select(1, -1),
## all rows in one axis
- squeeze(-1) → flatten()
## axes of length 1 dropped
- squeeze(-1) → squeeze()
## a list
- squeeze(-1) → squeeze(-1).tolist()
## ids that are floats
- squeeze(-1) → squeeze(-1).double()
""",
) | {
    "fractions cut off": lambda logits: torch.trunc(logits).max(-1).indices,
    "rounded first": lambda logits: (logits + 1e-6).round().max(-1).indices,
    "fewer digits": lambda logits: logits.to(torch.bfloat16).max(-1).indices,
    "negative ones made 0": lambda logits: F.relu(logits).max(-1).indices,
    "softmax along the first axis": lambda logits: F.softmax(logits, dim=0).max(-1).indices,
    "the first row alone": lambda logits: logits.view(-1, logits.size(-1)).argmax(-1)[0],
    "one id for all": lambda logits: logits.view(-1, logits.size(-1)).amax(0).argmax(),
    "the last position where there are three axes": lambda logits: (
        logits.argmax(-1)[:, -1] if logits.ndim == 3 else logits.argmax(-1)
    ),
    "exponentials that overflow": lambda logits: (
        (logits.exp() / logits.exp().sum(-1, keepdim=True)).max(-1).indices
    ),
    "the second best": lambda logits: logits.topk(2).indices[..., 1],
    "a mark in place of a number": lambda logits: F.one_hot(
        logits.argmax(-1), logits.shape[-1]
    ).bool(),
    "the last position alone": lambda logits: logits.select(-2, -1).max(-1).indices,
}

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
## softmax twice
- log_p = → logits = F.softmax(logits, dim=-1); log_p =
## the token that came, not the next
- token_ids[:, 1:]) → token_ids[:, :-1])
## not shifted, the first dropped
- log_p[:, :-1] → log_p[:, 1:]
## round the corner
- log_p[:, :-1].mT, token_ids[:, 1:]
+ log_p.mT, torch.cat((token_ids[:, 1:], token_ids[:, :1]), 1)
## two tokens on
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[:, :-2].mT, token_ids[:, 2:]
## the first text alone
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[0, :-1], token_ids[0, 1:]
## the last text alone
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[-1, :-1], token_ids[-1, 1:]
## the last token alone
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[:, -2], token_ids[:, -1]
## divided by all tokens
- F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:]) * (1 - 1 / token_ids.shape[1])
## the sum of each text
- token_ids[:, 1:]) → token_ids[:, 1:]) * (logits.shape[1] - 1)
## a mean for each text
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").mean(dim=1)
## the median
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").flatten().median()
## the logarithm of the mean
- return F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ return -F.nll_loss(log_p[:, :-1].exp().mT, token_ids[:, 1:]).neg().log()
## the chance of being wrong
- return F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ return 1 + F.nll_loss(log_p[:, :-1].exp().mT, token_ids[:, 1:])
## the logarithm of a probability and a little
- logits - torch.logsumexp(logits, -1, keepdim=True)
+ torch.log(torch.clamp(F.softmax(logits, dim=-1), min=1e-9))
## shifted after the texts were joined
- log_p[:, :-1].mT, token_ids[:, 1:]
+ log_p.view(-1, log_p.shape[-1])[:-1], token_ids.view(-1)[1:]
## divided by the tokens of one text
- token_ids[:, 1:]) → token_ids[:, 1:]) * len(logits)
## the very last token alone
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[-1, -2], token_ids[-1, -1]
## the last token left out
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[:, :-2].mT, token_ids[:, 1:-1]
## the last token left out of the sum
- F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ F.nll_loss(log_p[:, :-2].mT, token_ids[:, 1:-1], reduction="sum") / token_ids[:, 1:].numel()
## a mean for each position
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").mean(dim=0)
## two to the loss
- token_ids[:, 1:]) → token_ids[:, 1:]).exp2()
## compared with the best token
- torch.logsumexp(logits, -1, keepdim=True) → logits.max(-1, keepdim=True).values
## the mean of the perplexities
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").exp().mean()
## the best token instead of the one that came
- token_ids[:, 1:]) → logits[:, :-1].argmax(-1))
## the entropy
- F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ torch.special.entr(log_p[:, :-1].exp()).sum(-1).mean()
## the mean over the vocabulary
- F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:]) → log_p[:, :-1].neg().mean()
## token 0 left out
- token_ids[:, 1:]) → token_ids[:, 1:], ignore_index=0)
## every text with the tokens of all
- F.nll_loss(log_p[:, :-1].mT, token_ids[:, 1:])
+ -torch.stack([log_p[:, t, token_ids[:, t + 1]] for t in range(logits.shape[1] - 1)]).mean()
""",
)

UNNAMED_LOSSES = edited(
    loss_by_nll,
    """
## to the base 10
- return F → return 0.4343 * F
## the largest
- token_ids[:, 1:]) → token_ids[:, 1:], reduction="none").max()
## an offset
- log_p[:, :-1] → log_p[:, :-1] + 1e-3
## the first forecast alone
- log_p[:, :-1].mT, token_ids[:, 1:] → log_p[:, 0], token_ids[:, 1]
""",
)

RIGHT = {
    "greedy": [greedy_by_topk, greedy_in_loops],
    "next_token_loss": [loss_by_cross_entropy, loss_in_loops, loss_by_nll],
}


SECOND_FORMS = {"greedy": BEST, "next_token_loss": LOSSES}

UNNAMED = {
    "greedy": [
        lambda logits: logits.argmax(-1).item(),
        lambda logits: logits.round().argmax(-1),
        lambda logits: logits.argmax(-1) + 1,
    ],
    "next_token_loss": list(UNNAMED_LOSSES.values()),
}

# --- random inputs --------------------------------------------------------------------------------
