"""Exercises of lesson 00: the best token, and the loss of a text."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.decode import greedy, next_token_loss
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call, trial

LESSON = "00_start_here"

draws = torch.Generator().manual_seed(0)
ROW = torch.tensor([0.5, -1.0, 3.25, 2.0, -4.0, 3.0])
TABLE = torch.randn(4, 7, generator=draws)
CUBE = torch.randn(2, 5, 11, generator=draws)
CLOSE = torch.tensor(
    [[2.2, 2.6, 2.9], [95.0, 90.0, 97.0], [-math.inf, -5.0, -7.0], [30.0, 30.001, 29.0]]
)


def best_by_sorting(logits: Tensor) -> Tensor:
    return torch.sort(logits, dim=-1, descending=True).indices[..., 0]


def best_place(logits: Tensor) -> Tensor:
    """A right one."""
    return logits.argmax(dim=-1)


def ids_and_kind(candidate: Candidate, logits: Tensor) -> list[Any]:
    """The ids, and whether they can be used as ids."""
    ids = candidate(logits)
    floats = isinstance(ids, float) or (isinstance(ids, Tensor) and ids.is_floating_point())
    return [ids, "floats" if floats else "whole numbers"]


def whole_ids(logits: Tensor) -> list[Any]:
    return ids_and_kind(best_by_sorting, logits)


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
        call("logits close together, large, or -inf", CLOSE, oracle=best_by_sorting),
        call("one position of one text: (1, 1, 6)", ROW[None, None], oracle=best_by_sorting),
        trial("ids that are whole numbers", ids_and_kind, whole_ids, TABLE),
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
## always axis 1
- dim=-1 → dim=1
You look along axis 1, which is the vocabulary only where there are two axes. It is the last one,
however many there are: -1.
## the largest size
- logits.argmax → logits.abs().argmax
You take the logit that is farthest from 0. One far below 0 is the least probable of all: leave out
the absolute value.
## fractions cut off
- logits.argmax → logits.int().argmax
You cut off the fractions first, so that two close logits become equal and the first of them wins.
Compare them as they are.
## rounded first
- logits.argmax → logits.round().argmax
You round the logits first, so that two close ones become equal and the first of them wins. Compare
them as they are.
## fewer digits
- logits.argmax → logits.bfloat16().argmax
You turn the logits into a type with fewer digits, in which two close ones become equal. Compare them
as they are.
## negative ones made 0
- logits.argmax → logits.clamp(min=0).argmax
You set negative logits to 0. Where all are negative, the first wins then. Compare them as they are.
## softmax along the first axis
- logits.argmax → logits.softmax(0).argmax
You take a softmax along the first axis before you compare. That mixes rows; the logits can be
compared as they are, each row by itself.
## the first row alone
- logits.argmax → logits.reshape(-1, logits.shape[-1])[0].argmax
You look at the first row alone. Every row of logits wants an id of its own: (..., V) → (...).
## one id for all
- logits.argmax(dim=-1) → logits.argmax() % logits.shape[-1]
You look for the largest logit of all, and give its id. Every row of logits wants an id of its own:
name the last axis.
## the last position where there are three axes
- logits.argmax → (logits[:, -1] if logits.ndim == 3 else logits).argmax
With three axes you keep the last position alone. Every row of logits wants an id of its own: (...,
V) → (...).
## exponentials that overflow
- logits.argmax → logits.exp().argmax
e^89 no longer fits into a 32-bit float: large logits all become inf, and the first of them wins.
The largest logit has the largest exponential anyway: compare the logits.
## the second best
- logits.argmax(dim=-1) → logits.argsort(dim=-1)[..., -2]
That is the second best token.
## the value and its place
- logits.argmax(dim=-1) → logits.max(dim=-1)
`max` with an axis gives a pair: the values, and their places. Asked for are the places alone.
## the probability instead of its place
- logits.argmax(dim=-1) → logits.softmax(dim=-1).amax(dim=-1)
That is the probability of the best token. Asked for is its place in the row: the token id.
## a mark in place of a number
- logits.argmax(dim=-1) → logits == logits.amax(dim=-1, keepdim=True)
You mark the best token in a table as wide as the vocabulary. Asked for is its place: one number
for each row.
## the last position alone
- logits.argmax → logits[..., -1, :].argmax
You keep the last position alone. Every row of logits wants an id of its own: (..., V) → (...).
## the last position of each text alone
- logits.argmax → logits[:, -1].argmax
You keep index -1 of axis 1 alone. Every row of logits wants an id of its own, and there may be any
axes in front: (..., V) → (...).
## all rows in one axis
- logits.argmax → logits.reshape(-1, logits.shape[-1]).argmax
The ids are right, but they all stand in one axis. The axes in front of the vocabulary stay as they
are: (..., V) → (...).
## axes of length 1 dropped
- dim=-1) → dim=-1).squeeze()
Right but where an axis has length 1: `squeeze()` without an axis drops all of these, not only that
of the vocabulary. (1, 1, V) must become (1, 1).
## a list
- dim=-1) → dim=-1).tolist()
The ids are right, but as a list. A tensor (...) is asked for.
## ids that are floats
- dim=-1) → dim=-1).float()
The ids are right, but they are floats. An id counts places in the vocabulary: it is a whole
number, as argmax gives it.
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
THREE = (
    torch.randn(3, 4, 5, generator=draws),
    torch.tensor([[1, 0, 0, 4], [2, 3, 1, 0], [4, 4, 2, 2]]),
)


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
        call("three texts of four tokens", *THREE, oracle=cross_entropy),
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
## softmax twice
- forecasts.log_softmax(-1) → forecasts.softmax(-1).log_softmax(-1)
You take the softmax twice: `log_softmax` and `cross_entropy` have one of their own. Give them the
logits as they are.
## the token that came, not the next
- logits[:, :-1], token_ids[:, 1:] → logits[:, :-1], token_ids[:, :-1]
You hold the logits at position t against token t, which the model had already read. They are its
forecast of token t + 1: of the tokens it is the first that is dropped.
## not shifted, the first dropped
- logits[:, :-1] → logits[:, 1:]
You hold the logits at position t against token t, which the model had already read. They are its
forecast of token t + 1: of the logits it is the last that are dropped.
## round the corner
- logits[:, :-1], token_ids[:, 1:] → logits, token_ids.roll(-1, 1)
The last logits are held against the first token: `roll` brings it round the corner. They forecast
nothing that is there: drop them.
## two tokens on
- logits[:, :-1], token_ids[:, 1:] → logits[:, :-2], token_ids[:, 2:]
You hold the logits at position t against token t + 2. They forecast the next one, t + 1.
## the first text alone
- logits[:, :-1], token_ids[:, 1:] → logits[:1, :-1], token_ids[:1, 1:]
Right for one text: you read the first of the batch alone. Take the mean over all B of them.
## the last text alone
- logits[:, :-1], token_ids[:, 1:] → logits[-1:, :-1], token_ids[-1:, 1:]
Right for one text: of a batch you use the last one alone. Take the mean over all B of them.
## the last token alone
- surprise.mean() → surprise[:, -1].mean()
You use the last token of each text alone. Take the mean over all T - 1 that were forecast.
## divided by all tokens
- surprise.mean() → surprise.sum() / token_ids.numel()
You divide by the number of all tokens. The first of each text was forecast by nobody: only T - 1
of them have a surprise.
## the sum of each text
- surprise.mean() → surprise.sum(-1).mean()
You add up the surprise of a text, and take the mean over the texts. Long and short texts can be
compared only by the mean over all tokens.
## a mean for each text
- surprise.mean() → surprise.mean(-1)
That is a loss for each text. Asked for is one number: the mean over the batch, too.
## the median
- surprise.mean() → surprise.median()
That is the median. Asked for is the mean.
## the logarithm of the mean
- surprise.mean() → -(-surprise).exp().mean().log()
You take the mean of the probabilities first, and the logarithm of that. A mean of surprises takes
the logarithm of each first.
## the logarithm of a probability and a little
- forecasts.log_softmax(-1) → (forecasts.softmax(-1) + 1e-9).log()
Right for small logits, but where a probability is rounded to 0 you put a small number in its place,
and the surprise stops growing there. `log_softmax` takes both steps at once and rounds nothing.
## shifted after the texts were joined
- forecasts, came = logits[:, :-1], token_ids[:, 1:]
+ forecasts, came = logits.flatten(0, 1)[:-1], token_ids.flatten()[1:]
You join the texts of the batch first and shift then: so the end of each text forecasts the beginning
of the next. Shift within each text.
## divided by the tokens of one text
- surprise.mean() → surprise.sum() / surprise.shape[1]
Right for one text: you add up all texts and divide by the T - 1 tokens of one. Divide by those of all
of them.
## the very last token alone
- surprise.mean() → surprise[-1, -1]
You give the surprise of a single token, the last of the last text: is something overwritten in a
loop, and not added up?
## the last token left out
- surprise.mean() → surprise[:, :-1].mean()
You leave out the last token of each text. The forecast at T - 2 is about it: only the forecast of the
last position, T - 1, is about nothing.
## the last token left out of the sum
- surprise.mean() → surprise[:, :-1].sum() / surprise.numel()
You leave the last token of each text out of the sum. The forecast at T - 2 is about it: only the
forecast of the last position, T - 1, is about nothing.
## a mean for each position
- surprise.mean() → surprise.mean(0)
That is a loss for each position. Asked for is one number: the mean over all positions, too.
## two to the loss
- surprise.mean() → 2 ** surprise.mean()
You raise 2 to the loss. Asked for is the loss itself.
## compared with the best token
- forecasts.log_softmax(-1) → forecasts - forecasts.amax(-1, keepdim=True)
You subtract the largest logit. Only with the logarithm of the sum of all exponentials subtracted are
logits log-probabilities: `log_softmax`.
## the chance of being wrong
- surprise.mean() → 1 - (-surprise).exp().mean()
That is the mean of 1 - p. Surprise is -ln p.
## the mean of the perplexities
- surprise.mean() → surprise.exp().mean()
That is the mean of 1/p, no loss: leave out `exp`.
## the best token instead of the one that came
- log_p.gather(-1, came[..., None])[..., 0] → log_p.amax(-1)
That is the surprise of the most probable token. Asked for is that of the token that came: pick its
log-probability.
## the entropy
- log_p.gather(-1, came[..., None])[..., 0] → (log_p.exp() * log_p).sum(-1)
You weight the surprise of every token by its probability: that is the entropy of the forecast, and
needs no text. Asked for is the surprise of the token that came.
## the mean over the vocabulary
- log_p.gather(-1, came[..., None])[..., 0] → log_p.mean(-1)
You take the mean over all tokens of the vocabulary. Only the token that came counts: pick its
log-probability.
## token 0 left out
- surprise.mean() → surprise[came != 0].mean()
You leave token 0 out, as if it were padding. Here it is a token like any other.
## every text with the tokens of all
- -log_p.gather(-1, came[..., None])[..., 0]
+ -log_p[:, torch.arange(came.shape[1]), came]
Right for one text. With several, your index picks from each text the tokens of all texts: a colon
and two tables of indices give (B, B, T - 1). `gather` keeps to the text's own.
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
