"""Lesson 07b: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

OUT = -math.inf


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


PENALTIES = {
    **edited(
        penalty_by_counts,
        """
## negative logits divided
- torch.where(logits < 0, penalty, 1 / penalty) → 1 / penalty
## once per occurrence
- torch.where(occurred(logits, token_ids), factor, 1.0)
+ factor ** F.one_hot(token_ids, logits.shape[-1]).sum(-2)
## a source as long as the vocabulary
- logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ logits.scatter(-1, token_ids, (logits * factor)[..., : token_ids.shape[-1]])
## multiplied always
- torch.where(logits < 0, penalty, 1 / penalty) → penalty
## positive ones alone
- torch.where(logits < 0, penalty, 1 / penalty) → torch.where(logits < 0, 1.0, 1 / penalty)
## negative ones alone
- torch.where(logits < 0, penalty, 1 / penalty) → torch.where(logits < 0, penalty, 1.0)
## the first token alone
- occurred(logits, token_ids) → occurred(logits, token_ids[..., :1])
## all but the last token
- return logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ seen = F.one_hot(token_ids, logits.shape[-1])[..., : token_ids.shape[-1] - 1, :]
+ return logits * torch.where(seen.sum(-2) > 0, factor, 1.0)
## added instead of written
- return logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ counts = F.one_hot(token_ids, logits.shape[-1]).sum(-2)
+ return torch.where(counts > 0, logits + counts * logits * factor, logits)
## put out
- logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ logits.masked_fill(occurred(logits, token_ids), OUT)
## subtracted
- logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ logits - penalty * occurred(logits, token_ids)
## probabilities divided
- torch.where(logits < 0, penalty, 1 / penalty) → 1 / penalty
- logits * torch → F.softmax(logits, dim=-1) * torch
## in place
- logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ logits.mul_(torch.where(occurred(logits, token_ids), factor, 1.0))
## only the last token
- occurred(logits, token_ids) → occurred(logits, token_ids[..., -1:])
## every token
- torch.where(occurred(logits, token_ids), factor, 1.0) → factor
## what was not seen
- factor, 1.0 → 1.0, factor
## a reward
- penalty, 1 / penalty → 1 / penalty, penalty
## one row's tokens for all
- occurred(logits, token_ids) → torch.isin(torch.arange(logits.shape[-1]), token_ids)
## the wrong tokens by place
- return logits * torch.where(occurred(logits, token_ids), factor, 1.0)
+ seen = (logits * factor).gather(-1, token_ids)[..., : logits.shape[-1]]
+ return torch.cat((seen, logits[..., token_ids.shape[-1] :]), dim=-1)
""",
    ),
    "a loop over ids, once per occurrence": a_loop_over_ids,
    "a loop over rows and ids, once per occurrence": a_loop_over_rows,
}

# --- gumbel_sample --------------------------------------------------------------------------------


RIGHT = {
    "repetition_penalty": [penalty_in_loops, penalty_by_counts],
}

SECOND_FORMS = {
    "repetition_penalty": PENALTIES,
}

UNNAMED = {
    "repetition_penalty": [
        lambda logits, token_ids, penalty: logits / penalty,
        lambda logits, token_ids, penalty: logits.scatter(-1, token_ids, 0.0),
        lambda logits, token_ids, penalty: logits.scatter(-1, token_ids, 1 / penalty),
        lambda logits, token_ids, penalty: torch.where(
            occurred(logits, token_ids), logits - logits.abs() * penalty, logits
        ),
    ],
}
