"""Distillation: a small model learns what a large one forecasts, and not only what came.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2; of whole
texts: Kim and Rush, "Sequence-Level Knowledge Distillation" (2016), section 3.2. Built in lesson
21.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Decoder

IGNORED = -100  # PyTorch's own: a target that no loss counts


class Steps(Protocol):
    """What is asked of an optimizer."""

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


def soft_targets(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """The probabilities of all tokens, evened out by a temperature: softmax(logits / temperature).

    They are what a student is to forecast; no gradient goes back through them.

    Shapes: logits (..., V) → (..., V).

    Raises:
        UserError: the temperature is not above 0.

    >>> soft_targets(torch.tensor([[16.0, 4.0, 1.0]]).log(), temperature=2.0)
    tensor([[0.5714, 0.2857, 0.1429]])
    """
    check_temperature(temperature)
    return (logits.detach().float() / temperature).softmax(-1)


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """temperature² · KL(teacher ‖ student), both evened out by the temperature, averaged over the
    positions.

    A gradient of evened-out probabilities is smaller by temperature²; the factor gives it back.

    Shapes: two (..., V) → a number.

    Raises:
        ShapeError: the two differ in shape.
        UserError: the temperature is not above 0.

    >>> student, teacher = torch.zeros(1, 3), torch.tensor([[16.0, 4.0, 1.0]]).log()
    >>> round(float(distillation_loss(student, teacher)), 4)
    0.4306
    """
    if student_logits.shape != teacher_logits.shape:
        raise ShapeError(
            f"distillation_loss: the student's logits {tuple(student_logits.shape)} and the "
            f"teacher's {tuple(teacher_logits.shape)} must have one shape: both forecast the same "
            f"tokens at the same positions."
        )
    targets = soft_targets(teacher_logits, temperature)
    forecast = (student_logits.float() / temperature).log_softmax(-1)
    each = (torch.special.xlogy(targets, targets) - targets * forecast).sum(-1)
    return temperature**2 * each.mean()


def train_student(
    student: Decoder,
    teacher: Decoder,
    batches: Iterable[Tensor],
    optimizer: Steps,
    temperature: float = 1.0,
    hard: float = 0.0,
) -> list[float]:
    """One step for each batch, in place; the losses.

    The loss is `hard` parts of the surprise at the token that came, the rest `distillation_loss`.

    Shapes: each batch (B, T + 1): windows of T tokens, and the one that comes after.

    Raises:
        UserError: the two have different vocabularies; `hard` is not between 0 and 1.
    """
    check_pair(student, teacher)
    if not 0 <= hard <= 1:
        raise UserError(f"hard is {hard}: expected the part of the loss, from 0 to 1.")
    losses = []
    for ids in batches:
        read, came = ids[:, :-1], ids[:, 1:].to(student.device)
        logits = student(read)  # (B, T, V)
        loss = logits.new_zeros(())
        if hard:
            loss = hard * F.cross_entropy(logits.flatten(0, 1), came.flatten())
        if hard < 1:
            with torch.no_grad():
                targets = teacher(read)
            loss = loss + (1 - hard) * distillation_loss(logits, targets, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def sequence_targets(
    teacher: Decoder, prompts: Tensor, new_tokens: int, choose: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The teacher's own continuations, as something to be learned: what is read, and what is to be
    forecast at each position. At a position whose next token belongs to the prompt that is -100,
    which no loss counts.

    Args:
        choose: logits (B, V) → the next tokens (B,).

    Shapes: prompts (B, P) → two (B, P + new_tokens - 1).

    Raises:
        UserError: nothing is to be made.
    """
    if new_tokens < 1:
        raise UserError(f"new_tokens is {new_tokens}: expected at least 1.")
    B, P = prompts.shape
    cache = teacher.new_cache(B, P + new_tokens)
    made, read = [prompts.cpu()], prompts
    for _ in range(new_tokens):
        chosen = choose(teacher.head(teacher.hidden(read, cache)[:, -1]))  # (B,)
        read = chosen[:, None]
        made.append(read.cpu())
    ids = torch.cat(made, dim=1)  # (B, P + new_tokens)
    targets = ids[:, 1:].clone()
    targets[:, : P - 1] = IGNORED
    return ids[:, :-1], targets


def recover(
    pruned: Decoder,
    teacher: Decoder,
    batches: Iterable[Tensor],
    optimizer: Steps,
    temperature: float = 1.0,
) -> list[float]:
    """As `train_student`, with soft targets alone, for a model with weights that were cut: what is
    zero in its matrices stays zero. The losses.

    Raises:
        UserError: the two have different vocabularies.
    """
    matrices = [weight for weight in pruned.parameters() if weight.ndim == 2]
    kept = [weight != 0 for weight in matrices]
    losses = []
    for ids in batches:
        losses += train_student(pruned, teacher, [ids], optimizer, temperature)
        with torch.no_grad():
            for weight, mask in zip(matrices, kept, strict=True):
                weight.mul_(mask)
    return losses


def check_temperature(temperature: float) -> None:
    """Raise a `UserError` unless a temperature is above 0."""
    if not temperature > 0:
        raise UserError(
            f"the temperature is {temperature}: expected a number above 0; 1 is as trained."
        )


def check_pair(student: Decoder, teacher: Decoder) -> None:
    """Raise a `UserError` unless a student can be told what a teacher forecasts."""
    V, U = student.config.vocabulary, teacher.config.vocabulary
    if V != U:
        raise UserError(
            f"the student has a vocabulary of {V} tokens and the teacher of {U}: soft targets need "
            f"the same; take a student with the teacher's tokenizer, or train it on the teacher's "
            f"texts (`sequence_targets`, decoded and encoded again)."
        )
