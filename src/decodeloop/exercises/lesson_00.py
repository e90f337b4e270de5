"""Exercises of lesson 00: the best token, and the loss of a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.decode import greedy, next_token_loss
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call

LESSON = "00_start_here"

draws = torch.Generator().manual_seed(0)
ROW = torch.tensor([0.5, -1.0, 3.25, 2.0, -4.0, 3.0])
TABLE = torch.randn(4, 7, generator=draws)
CUBE = torch.randn(2, 5, 11, generator=draws)


def best_by_sorting(logits: Tensor) -> Tensor:
    return torch.sort(logits, dim=-1, descending=True).indices[..., 0]


def best_place(logits: Tensor) -> Tensor:
    """A right one."""
    return logits.argmax(dim=-1)


GREEDY = Exercise(
    name="greedy",
    lesson=LESSON,
    library=greedy,
    minutes=3,
    difficulty=1,
    part=True,
    cases=(
        call("one row of 6 logits", ROW, oracle=best_by_sorting),
        call("logits (4, 7)", TABLE, oracle=best_by_sorting),
        call("logits (2, 5, 11)", CUBE, oracle=best_by_sorting),
        call("all logits negative", -TABLE.abs() - 1, oracle=best_by_sorting),
    ),
    mistakes=edits(
        best_place,
        """
## no axis
- dim=-1
Without an axis, argmax looks at the whole tensor and gives one number. Each row wants its own:
name the last axis, the one of the vocabulary.
## the value instead of its place
- logits.argmax(dim=-1) → logits.max(dim=-1).values
That is the largest logit itself. Asked for is its place in the row: the token id.
## the largest logit of all
- logits.argmax(dim=-1) → logits.max()
That is the largest logit of the whole tensor. Asked for is, in each row, its place: the token id.
## the worst token
- argmax → argmin
That is the token with the smallest logit. A larger logit means a more probable token.
## an axis too many
- dim=-1 → dim=-1, keepdim=True
The ids are right, but the axis of the vocabulary is still there, with length 1: (..., V) should
become (...). Leave out keepdim, or index it away.
## the first axis
- dim=-1 → dim=0
That looks along the first axis. The logits of one position stand in the last.
""",
    ),
    hints=(
        "A row of logits has one number for each token of the vocabulary. Where is the largest?",
        "PyTorch has a method that gives the place of the largest entry: `argmax`.",
        "`logits.argmax(dim=...)`: the vocabulary is the last axis, and the last axis is -1.",
    ),
)

LOGITS = 2.0 * torch.randn(2, 6, 9, generator=draws)
IDS = torch.randint(0, 9, (2, 6), generator=draws)


def cross_entropy(logits: Tensor, token_ids: Tensor) -> Tensor:
    return F.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), token_ids[:, 1:].reshape(-1)
    )


def mean_surprise(logits: Tensor, token_ids: Tensor) -> Tensor:
    """A right one."""
    forecasts, came = logits[:, :-1], token_ids[:, 1:]
    log_p = forecasts.log_softmax(-1)
    surprise = -log_p.gather(-1, came[..., None])[..., 0]
    return surprise.mean()


def uniform_case() -> Case:
    """A model that knows nothing: every token has probability 1/V, so the loss is ln V."""
    V, T = 50, 8
    ids = torch.arange(T)[None] % V
    return Case(
        "a model that knows nothing (V = 50)",
        lambda candidate: candidate(torch.zeros(1, T, V), ids.clone()),
        lambda: torch.tensor(math.log(V)),
    )


NEXT_TOKEN_LOSS = Exercise(
    name="next_token_loss",
    lesson=LESSON,
    library=next_token_loss,
    minutes=12,
    difficulty=2,
    cases=(
        call("logits (2, 6, 9)", LOGITS, IDS, oracle=cross_entropy),
        call("one text of two tokens", LOGITS[:1, :2], IDS[:1, :2], oracle=cross_entropy),
        uniform_case(),
        call("huge logits", 500 * LOGITS, IDS, oracle=cross_entropy),
        call("a vocabulary as long as the text", LOGITS[..., :6], IDS % 6, oracle=cross_entropy),
    ),
    mistakes=edits(
        mean_surprise,
        """
## not shifted
- logits[:, :-1], token_ids[:, 1:] → logits, token_ids
You hold the logits at position t against token t, which the model had already read. They are its
forecast of token t + 1: drop the last logits and the first token.
## shifted the wrong way
- logits[:, :-1], token_ids[:, 1:] → logits[:, 1:], token_ids[:, :-1]
You hold the logits at position t + 1 against token t. The logits at t forecast token t + 1: it is
logits[:, :-1] and token_ids[:, 1:].
## the sign
- surprise = -log_p → surprise = log_p
Log-probabilities are negative, surprise is positive: one minus sign is missing.
## the sum
- surprise.mean() → surprise.sum()
That is the sum over all tokens. Asked for is their mean, so that long and short texts can be
compared.
## the other logarithm
- surprise.mean() → surprise.mean() / math.log(2)
That is in bits: a logarithm to base 2. Asked for are nats: the natural logarithm.
## no mean
- return surprise.mean() → return surprise
That is the surprise of each token by itself. Take the mean of them all: one number.
## probabilities instead of their logarithms
- forecasts.log_softmax(-1) → forecasts.softmax(-1)
That is the mean probability, with a minus. Take the logarithm of each probability first, then the
mean.
## the logit instead of the log-probability
- forecasts.log_softmax(-1) → forecasts
You took the logits themselves. Only after log_softmax are they log-probabilities.
## softmax along the text
- log_softmax(-1) → log_softmax(1)
Your softmax runs along the positions. At each position the probabilities of all tokens sum to 1:
it is the last axis, that of the vocabulary.
## the perplexity
- surprise.mean() → surprise.mean().exp()
That is e to the loss: the perplexity. Asked for is the loss itself.
## the logarithm of a softmax
- forecasts.log_softmax(-1) → forecasts.softmax(-1).log()
Right for small logits, but the probability of a token can be rounded to 0, whose logarithm is
-inf. `log_softmax` takes both steps at once and has no such trouble.
## log2 of a softmax
- forecasts.log_softmax(-1) → forecasts.softmax(-1).log2()
That is in bits: a logarithm to base 2. Asked for are nats: the natural logarithm. And
`log_softmax` takes it in one step with the softmax, so that nothing is rounded to 0.
## exponentials that overflow
- forecasts.log_softmax(-1) → (forecasts.exp() / forecasts.exp().sum(-1, keepdim=True)).log()
Right for small logits, but e^89 no longer fits into a 32-bit float: exp gives inf, and inf / inf
is NaN. `log_softmax` does the whole step and does not overflow.
""",
    ),
    hints=(
        "First line up forecasts and tokens: the logits at position t forecast token t + 1. Which "
        "logits forecast nothing that is there? Which token was forecast by nobody?",
        "logits[:, :-1] are the forecasts, token_ids[:, 1:] what came. log_softmax over the last "
        "axis turns the forecasts into log-probabilities.",
        "`log_probabilities.gather(-1, token_ids[:, 1:, None])` picks, at each position, the "
        "log-probability of the token that came. What remains is a mean and a sign.",
    ),
)

EXERCISES = (GREEDY, NEXT_TOKEN_LOSS)
