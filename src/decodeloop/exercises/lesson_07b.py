"""Exercise of lesson 07b: the repetition penalty."""

from __future__ import annotations

import torch
from torch import Tensor

from decodeloop.decode import repetition_penalty
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Exercise, Mistake, call
from decodeloop.exercises.lesson_07 import BATCH, SOME_OUT, leaves_its_input

LESSON = "07b_repetition"

# --- repetition_penalty ---------------------------------------------------------------------------


def penalised(x: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    """In plain Python: every token that occurred, once."""
    rows = x.reshape(-1, x.shape[-1]).tolist()
    ids = token_ids.reshape(len(rows), token_ids.shape[-1]).tolist()
    for row, seen in zip(rows, ids, strict=True):
        for token in set(seen):
            row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    return torch.tensor(rows).reshape(x.shape)


def read_changed_written(x: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """A right one."""
    seen = x.gather(-1, ids)
    changed = torch.where(seen > 0, seen / penalty, seen * penalty)
    return x.scatter(-1, ids, changed)


def one_by_one(row: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    """A loop for one row, which meets a token as often as it occurred."""
    out = row.clone()
    for i in token_ids:
        out[i] = out[i] / penalty if out[i] > 0 else out[i] * penalty
    return out


def row_by_row(x: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    out = x.clone()
    for row, ids in zip(out, token_ids, strict=True):
        for i in ids:
            row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
    return out


SIGNS = torch.tensor([4.0, -4.0, 1.0, 0.0, -1.0])
ROWS_SEEN = torch.tensor(
    [[[0, 1, 2, 2], [6, 6, 6, 6], [3, 0, 5, 1]], [[4, 4, 1, 4], [2, 3, 4, 5], [0, 6, 0, 6]]]
)

REPETITION_PENALTY = Exercise(
    name="repetition_penalty",
    lesson=LESSON,
    library=repetition_penalty,
    minutes=7,
    difficulty=2,
    part=True,
    cases=(
        call("five tokens, 0 and 1 seen", SIGNS, torch.tensor([0, 1]), 2.0, oracle=penalised),
        call(
            "a token seen three times",
            SIGNS,
            torch.tensor([0, 1, 0, 1, 0]),
            2.0,
            oracle=penalised,
        ),
        call(
            "logits (2, 5), a token twice in a row of ids",
            torch.stack((SIGNS, -SIGNS)),
            torch.tensor([[1, 0, 1], [4, 2, 2]]),
            2.0,
            oracle=penalised,
        ),
        call("logits (2, 3, 7), penalty 1.3", BATCH, ROWS_SEEN, 1.3, oracle=penalised),
        call("penalty 1 changes nothing", BATCH, ROWS_SEEN, 1.0, oracle=penalised),
        call("penalty 0.5 makes it likelier", BATCH, ROWS_SEEN, 0.5, oracle=penalised),
        call("a logit of exactly 0", SIGNS, torch.tensor([3, 4]), 1.5, oracle=penalised),
        call("one token alone, the last", SIGNS, torch.tensor([4]), 3.0, oracle=penalised),
        call(
            "a token that is out",
            SOME_OUT,
            torch.tensor([[1, 2], [0, 1]]),
            1.5,
            oracle=penalised,
        ),
        leaves_its_input(
            "the caller's logits stay as they are",
            *(SIGNS, torch.tensor([0, 1, 1]), 2.0),
            oracle=penalised,
        ),
    ),
    mistakes=(
        *edits(
            read_changed_written,
            """
## negative logits divided
- torch.where(seen > 0, seen / penalty, seen * penalty) → seen / penalty
You divide negative logits too. -4 / 2 = -2 is more than -4: the penalty rewards. Multiply where
the logit is negative.
## once per occurrence
- seen = x.gather(-1, ids)
- changed = torch.where(seen > 0, seen / penalty, seen * penalty)
- return x.scatter(-1, ids, changed)
+ for place in ids.split(1, dim=-1):
+     seen = x.gather(-1, place)
+     x = x.scatter(-1, place, torch.where(seen > 0, seen / penalty, seen * penalty))
+ return x
A token that occurred three times is penalised three times. Once is enough, however often it
occurred: read all logits first, then write.
""",
        ),
        Mistake(
            "a loop over ids, once per occurrence",
            "Your loop meets a token as often as it occurred, and penalises it each time. Once is "
            "enough: read all logits first (gather), then write (scatter). That also does what your "
            "loop can't, several rows at once.",
            one_by_one,
        ),
        Mistake(
            "a loop over rows and ids, once per occurrence",
            "Your loop meets a token as often as it occurred, and penalises it each time. Once is "
            "enough: read all logits first (gather), then write (scatter). That also does what your "
            "loop can't, logits of any shape (…, V).",
            row_by_row,
        ),
        *edits(
            read_changed_written,
            """
## a source as long as the vocabulary
- changed) → torch.where(x > 0, x / penalty, x * penalty))
You give scatter a source of shape (…, V). It takes the first T entries, whichever tokens they
belong to. The source must have the shape of the places, (…, T): gather first, change those, then
scatter.
## multiplied always
- torch.where(seen > 0, seen / penalty, seen * penalty) → seen * penalty
You multiply positive logits too, and make those tokens likelier. A positive logit is divided.
## positive ones alone
- seen * penalty) → seen)
You leave negative logits as they are. They are penalised too: multiplied, they fall further below 0.
## negative ones alone
- seen / penalty, → seen,
You leave positive logits as they are. They are penalised too: divided, they become smaller.
## the first token alone
- seen = x.gather(-1, ids)
+ ids = ids[..., :1]
+ seen = x.gather(-1, ids)
You penalise only the token written first. All that occur in token_ids are meant.
## all but the last token
- seen = x.gather(-1, ids)
+ ids = ids[..., :-1]
+ seen = x.gather(-1, ids)
You leave out the token written last. All that occur in token_ids are meant.
## added instead of written
- x.scatter(-1, ids, changed) → x.scatter_add(-1, ids, changed)
You add the changed logits to the old ones. They take their place: `scatter`, not `scatter_add`.
## put out
- changed) → torch.full_like(changed, -torch.inf))
You put the tokens that occurred out, whatever the penalty. They become less likely, not impossible:
divide positive logits by it, multiply negative ones.
## subtracted
- torch.where(seen > 0, seen / penalty, seen * penalty) → seen - penalty
You subtract the penalty. (Others do that, and call it a presence penalty.) Here positive logits
are divided by it, negative ones multiplied; 1 changes nothing.
## probabilities divided
- seen = x.gather(-1, ids)
+ x = x.softmax(-1)
+ seen = x.gather(-1, ids)
You divide probabilities and return them. The penalty works on logits, and gives logits.
## in place
- x.scatter( → x.scatter_(
You write into the caller's logits: called again with the same tensor, the penalty would be applied
twice. Work on a new tensor: `scatter` without the underscore, or `clone()`.
## only the last token
- seen = x.gather(-1, ids)
+ ids = ids[..., -1:]
+ seen = x.gather(-1, ids)
You penalise only the token written last. All that occur in token_ids are meant.
## every token
- x.scatter(-1, ids, changed) → torch.where(x > 0, x / penalty, x * penalty)
You penalise the whole vocabulary. Only tokens that occur in token_ids are meant.
## what was not seen
- x.scatter(-1, ids, changed)
+ torch.where(x > 0, x / penalty, x * penalty).scatter(-1, ids, seen)
You penalise the tokens that did not occur.
## a reward
- seen / penalty, seen * penalty → seen * penalty, seen / penalty
Yours makes repetition likelier: positive logits must become smaller (divide), negative ones more
negative (multiply).
## one row's tokens for all
- seen = x.gather(-1, ids)
+ ids = ids.flatten().expand(*x.shape[:-1], -1)
+ seen = x.gather(-1, ids)
You penalise in every row what occurred in any of them. Each row has its own text: gather and
scatter along the last axis keep rows apart.
## the wrong tokens by place
- x.scatter(-1, ids, changed)
+ torch.cat((changed[..., : x.shape[-1]], x[..., ids.shape[-1] :]), -1)
You penalise the first tokens of the vocabulary: `token_ids` are ids, not places 0, 1, 2… Write
with scatter(-1, token_ids, …).
""",
        ),
    ),
    hints=(
        "Read, change, write: `logits.gather(-1, token_ids)` are the logits of what was written, "
        "(…, T).",
        "`torch.where(seen > 0, seen / penalty, seen * penalty)` changes them by their sign.",
        "`logits.scatter(-1, token_ids, changed)` writes them back, into a new tensor. If a token "
        "occurs twice, the same value is written twice: once penalised, as it should be.",
    ),
)

EXERCISES = (REPETITION_PENALTY,)
