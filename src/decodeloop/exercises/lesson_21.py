"""Exercises of lesson 21: what a teacher tells, how a student is told, and what it learns from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop import compress
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, beside, call, lend, trial
from decodeloop.model import Decoder, ModelConfig

LESSON = "21_distillation"


def drawn(seed: int, *shape: int, size: float = 2.0) -> Tensor:
    """Normal numbers, the same on every machine."""
    numbers = torch.empty(math.prod(shape), dtype=torch.float64)
    numbers.normal_(0.0, size, generator=torch.Generator().manual_seed(seed))
    return numbers.float().view(shape)


# --- soft_targets ---------------------------------------------------------------------------------


def by_powers(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Closed form in float64: e^(z/τ) over its sum, the largest taken off before."""
    z = logits.detach().double() / temperature
    powers = (z - z.amax(-1, keepdim=True)).exp()
    return (powers / powers.sum(-1, keepdim=True)).float()


def divided_then_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """A right one."""
    scaled = logits.detach() / temperature
    return torch.softmax(scaled, dim=-1)


def has_no_gradient(candidate: Any) -> list[Any]:
    logits = drawn(8, 2, 5).requires_grad_()
    found = candidate(logits, 2.0)
    return [found.detach(), found.requires_grad]


SOFT_TARGETS = Exercise(
    name="soft_targets",
    lesson=LESSON,
    library=compress.soft_targets,
    minutes=3,
    difficulty=1,
    cases=(
        call("by hand", torch.tensor([16.0, 4.0, 1.0]).log(), 2.0, oracle=by_powers),
        call("as trained", drawn(1, 2, 3, 7), oracle=by_powers),
        call("evened out", drawn(2, 3, 2, 9), 4.0, oracle=by_powers),
        call("sharpened", drawn(3, 5, 6), 0.25, oracle=by_powers),
        call("logits of thousands", 1000 * drawn(4, 4, 8), 3.0, oracle=by_powers),
        call("one token in the vocabulary", drawn(5, 3, 1), 2.0, oracle=by_powers),
        call("more positions than tokens", drawn(6, 1, 12, 4), 1.5, oracle=by_powers),
        trial(
            "the teacher has gradients",
            has_no_gradient,
            lambda: [by_powers(drawn(8, 2, 5), 2.0), False],
        ),
    ),
    mistakes=edits(
        divided_then_softmax,
        """
## multiplied by the temperature
- .detach() / temperature → .detach() * temperature
You multiply by the temperature, so a high one sharpens. Logits are *divided* by it.
## as trained, whatever the temperature
- .detach() / temperature → .detach()
The temperature plays no part: divide the logits by it before the softmax.
## the probabilities divided
- logits.detach() / temperature → logits.detach()
- torch.softmax(scaled, dim=-1) → torch.softmax(scaled, dim=-1) / temperature
You divide the *probabilities*, which then no longer add up to 1. Divide the logits, then softmax.
## a power that adds up to something else
- logits.detach() / temperature → logits.detach()
- torch.softmax(scaled, dim=-1) → torch.softmax(scaled, dim=-1) ** (1 / temperature)
A power of 1/τ is right, but the powers don't add up to 1. Dividing the logits first does both.
## divided by its root
- / temperature → / temperature**0.5
You divide by the root of the temperature: that is attention's √D. Here it is the temperature.
## divided by its square
- / temperature → / temperature**2
You divide by the temperature's square. The square comes with the loss, not with the targets.
## over the first axis
- dim=-1 → dim=0
Your softmax runs over the first axis. It belongs over the vocabulary, the last one.
## over an axis that PyTorch picks
- dim=-1 → dim=1 if scaled.ndim in (2, 4) else 0
You give `softmax` no axis, so PyTorch picks one: with three axes the first. Say which: dim=-1.
## over the positions
- dim=-1 → dim=max(-2, -scaled.ndim)
Your softmax runs over the positions. It belongs over the vocabulary, the last axis.
## over everything
- torch.softmax(scaled, dim=-1) → torch.softmax(scaled.flatten(), dim=-1).view_as(scaled)
All positions together add up to 1 in yours. Each position is a forecast of its own.
## logarithms
- torch.softmax(scaled → torch.log_softmax(scaled
These are log-probabilities. The targets are the probabilities themselves.
## no softmax
- torch.softmax(scaled, dim=-1) → scaled
You return the logits, divided. What is still missing is the softmax.
## one token
- torch.softmax(scaled, dim=-1) → F.one_hot(scaled.argmax(-1), scaled.shape[-1]).float()
You keep the best token alone: that is a hard target. What the others get is the lesson of it.
## powers without the largest taken off
- torch.softmax(scaled, dim=-1) → scaled.exp() / scaled.exp().sum(-1, keepdim=True)
Powers of large logits overflow. `torch.softmax` takes off the largest logit first.
## a way back into the teacher
- logits.detach() → logits
A gradient could go back through your targets, and teach the teacher. Detach the logits.
""",
    ),
    hints=(
        "Lesson 07 evened out a forecast in the same way, before it drew from it.",
        "Divide the logits by the temperature, then softmax over the last axis. Nothing may flow "
        "back: `.detach()`.",
    ),
)

# --- distillation_loss ----------------------------------------------------------------------------


def in_float64(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> tuple[float, Tensor]:
    """Closed forms in float64: τ² Σ p (ln p − ln q) / N, and its gradient τ (q − p) / N."""
    p, q = (by_log(x, temperature) for x in (teacher, student))
    N = student[..., 0].numel()
    loss = temperature**2 * float((p.exp() * (p - q)).sum()) / N
    return loss, (temperature * (q.exp() - p.exp()) / N).float()


def by_log(logits: Tensor, temperature: float) -> Tensor:
    z = logits.detach().double() / temperature
    return z - z.logsumexp(-1, keepdim=True)


def kl_by_pytorch(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """A right one."""
    target = (teacher_logits.detach() / temperature).softmax(-1)
    forecast = (student_logits / temperature).log_softmax(-1)
    each = F.kl_div(forecast, target, reduction="none").sum(-1)
    return temperature**2 * each.mean()


def loss_of(label: str, student: Tensor, teacher: Tensor, *temperature: float) -> Case:
    """The loss alone, by value."""
    return call(
        label,
        student,
        teacher,
        *temperature,
        oracle=lambda *inputs: in_float64(*inputs)[0],
    )


@beside
def gradients(candidate: Any, seed: int, temperature: float) -> list[Any]:
    """The loss, its gradient in the student's logits, and whether one goes into the teacher's."""
    student, teacher = (drawn(s, 2, 3, 6).requires_grad_() for s in (seed, seed + 1))
    loss = candidate(student, teacher, temperature)
    loss.backward()
    back = teacher.grad is not None and bool(teacher.grad.abs().sum() > 0)
    return [loss.item(), student.grad, back]


def gradient_of(label: str, seed: int, temperature: float) -> Case:
    return trial(
        label,
        gradients,
        lambda seed, temperature: [
            *in_float64(drawn(seed, 2, 3, 6), drawn(seed + 1, 2, 3, 6), temperature),
            False,
        ],
        seed,
        temperature,
    )


CERTAIN = torch.tensor([[200.0, 0.0, -5.0, 1.0], [0.0, 1.0, 2.0, 3.0]])

DISTILLATION_LOSS = Exercise(
    name="distillation_loss",
    lesson=LESSON,
    library=compress.distillation_loss,
    minutes=9,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        loss_of("by hand", torch.zeros(1, 3), torch.tensor([[16.0, 4.0, 1.0]]).log(), 2.0),
        loss_of("as trained", drawn(11, 3, 4, 7), drawn(12, 3, 4, 7)),
        loss_of("evened out", drawn(13, 4, 3, 9), drawn(14, 4, 3, 9), 4.0),
        loss_of("sharpened", drawn(15, 2, 5, 4), drawn(16, 2, 5, 4), 0.5),
        loss_of("without a batch axis", drawn(17, 6, 5), drawn(18, 6, 5), 1.5),
        loss_of("one position", drawn(26, 5), drawn(27, 5), 2.0),
        loss_of("a student that knows it all", drawn(19, 2, 3, 5), drawn(19, 2, 3, 5), 3.0),
        loss_of("a teacher that is certain", drawn(21, 2, 4), CERTAIN, 1.25),
        loss_of("a student that is certain", CERTAIN.flip(1), drawn(21, 2, 4), 1.25),
        gradient_of("its gradient", 22, 1.0),
        gradient_of("its gradient, evened out", 24, 3.0),
    ),
    mistakes=edits(
        kl_by_pytorch,
        """
## without the square
- temperature**2 * each.mean() → each.mean()
The factor of temperature² is missing: evened-out probabilities give gradients that are smaller by
that much.
## the temperature once
- temperature**2 * each → temperature * each
You multiply by the temperature once. One factor of 1/τ comes from the softmax, a second one from the
differences, which have become smaller: temperature².
## divided by the square
- temperature**2 * each.mean() → each.mean() / temperature**2
You divide by temperature². The evened-out loss is too small already: multiply.
## added up over the positions
- each.mean() → each.sum()
You add up the positions, so a longer text takes larger steps. Take their mean.
## the mean over the vocabulary too
- each.mean() → each.mean() / student_logits.shape[-1]
Your mean also runs over the vocabulary, as `reduction="mean"` does. A divergence is the *sum* over
the tokens; the mean is over positions.
## the mean over the rows alone
- each.mean() → each.sum() / len(target)
You divide by the first axis alone, as `reduction="batchmean"` does, and positions are added up.
Divide by the number of all positions.
## the other way round
- each = F.kl_div(forecast, target, reduction="none").sum(-1)
+ p = (teacher_logits.detach() / temperature).log_softmax(-1)
+ each = (forecast.exp() * (forecast - p)).sum(-1)
That is KL(student ‖ teacher). The teacher's forecast is what should come, so it stands first:
Σ p (ln p − ln q) with p the teacher's.
## the cross-entropy
- F.kl_div(forecast, target, reduction="none").sum(-1) → -(target * forecast).sum(-1)
That is −Σ p ln q. Its gradient is right, but it is not 0 for a student that knows it all: the
teacher's own uncertainty, −Σ p ln p, is still in it.
## a way back into the teacher
- teacher_logits.detach() → teacher_logits
Your gradient goes into the teacher too, which would come to meet the student. Detach its logits.
## the student as trained
- (student_logits / temperature) → student_logits
The student's logits are not divided by the temperature: then it would learn to be as evened out as
the targets. Divide both.
## the teacher as trained
- (teacher_logits.detach() / temperature) → teacher_logits.detach()
The teacher's logits are not divided by the temperature. Divide both.
## both as trained
- (teacher_logits.detach() / temperature) → teacher_logits.detach()
- (student_logits / temperature) → student_logits
Neither side is divided by the temperature.
## both multiplied
- detach() / temperature → detach() * temperature
- student_logits / temperature → student_logits * temperature
You multiply the logits by the temperature. Divide.
## probabilities for logarithms
- .log_softmax(-1) → .softmax(-1)
`kl_div` wants the student's *logarithms*: `log_softmax`.
## the logarithm of a target that is 0
- F.kl_div(forecast, target, reduction="none").sum(-1)
+ (target * (target.log() - forecast)).sum(-1)
A teacher that is certain gives others a probability that rounds to 0, and 0 · ln 0 is NaN here. The
teacher's logarithms too come from `log_softmax`, which stays finite, or let `F.kl_div` see to it.
## the logarithm of a forecast that is 0
- .log_softmax(-1) → .softmax(-1).log()
A student that is certain gives others a probability that rounds to 0, whose logarithm is −∞.
`log_softmax` goes past the probability and stays finite.
## logarithms of both after the softmax
- F.kl_div(forecast, target, reduction="none").sum(-1)
+ (target * (target.log() - forecast)).sum(-1)
- .log_softmax(-1) → .softmax(-1).log()
You take the logarithm of probabilities, and those round to 0 where a side is certain: that gives
−∞ or NaN. Take logarithms by `log_softmax`, which stays finite.
## logarithms for probabilities
- .softmax(-1) → .log_softmax(-1)
- reduction="none" → reduction="none", log_target=False
`kl_div` wants the teacher's *probabilities*, or `log_target=True`.
## the teacher's best token
- F.kl_div(forecast, target, reduction="none").sum(-1)
+ -forecast.gather(-1, target.argmax(-1, keepdim=True))[..., 0]
You keep the teacher's best token alone. That is a hard target.
## squares of logits
- F.kl_div(forecast, target, reduction="none").sum(-1)
+ (student_logits - teacher_logits.detach()).square().sum(-1) / 2
You compare the logits. They are only given up to a constant; compare the forecasts.
## squares of probabilities
- F.kl_div(forecast, target, reduction="none").sum(-1)
+ (forecast.exp() - target).square().sum(-1)
You take squares of differences of probabilities. Asked for is the divergence, Σ p (ln p − ln q).
## over the positions
- forecast = (student_logits / temperature).log_softmax(-1)
+ forecast = (student_logits / temperature).log_softmax(-2)
Your log-softmax runs over the positions. It belongs over the vocabulary, the last axis.
""",
    ),
    hints=(
        "Two forecasts, both evened out: the teacher's as probabilities, the student's as "
        "logarithms. Then Σ p (ln p − ln q) over the vocabulary, at each position.",
        "`F.kl_div(student's logarithms, teacher's probabilities, reduction='none')` gives each "
        "p (ln p − ln q): sum over the last axis, mean over the rest. `soft_targets` gives p.",
        "At the end times temperature². No gradient may go into the teacher's logits.",
    ),
)

# --- train_student --------------------------------------------------------------------------------

TINY = ModelConfig(
    vocabulary=11,
    width=8,
    layers=1,
    heads=2,
    kv_heads=1,
    head_dim=4,
    feed_forward=12,
    context=32,
)
Setting = dict[str, Any]  # what a training is given, besides the models


@cache
def master(seed: int) -> Decoder:
    """A tiny decoder that is far from even, never lent itself."""
    with torch.random.fork_rng(devices=[]):
        decoder = Decoder(TINY)
    with torch.no_grad():
        for number, weight in enumerate(decoder.parameters()):
            weight.copy_(drawn(100 * seed + number, *weight.shape, size=0.5))
    return decoder.requires_grad_(False)


def model(seed: int) -> Decoder:
    return copy.deepcopy(master(seed)).requires_grad_(True)


def text(seed: int, *shape: int) -> Tensor:
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(seed))


class Descent:
    """Plain gradient descent, with momentum if asked: PyTorch's own optimizers import a compiler
    when the first of them is made, in the middle of somebody's check."""

    def __init__(self, decoder: Decoder, rate: float, momentum: float = 0.0) -> None:
        self.weights, self.rate, self.momentum = list(decoder.parameters()), rate, momentum
        self.moving = [torch.zeros_like(weight) for weight in self.weights]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for weight in self.weights:
            weight.grad = None if set_to_none else torch.zeros_like(weight)

    @torch.no_grad()
    def step(self) -> None:
        for weight, moved in zip(self.weights, self.moving, strict=True):
            if weight.grad is not None:
                moved.mul_(self.momentum).add_(weight.grad)
                weight.sub_(self.rate * moved)


def weights_of(decoder: Decoder) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in decoder.parameters()])


@beside
def taught(candidate: Any, batches: list[Tensor], given: Setting, stale: bool) -> list[Any]:
    """Losses, the student's weights afterwards, and what became of the teacher."""
    student, teacher = model(1), model(2)
    if stale:  # gradients that somebody left
        student(batches[0]).sum().backward()
    before = weights_of(teacher)
    optimizer = Descent(student, 0.5)
    losses = candidate(student, teacher, iter(batches), optimizer, **given)
    untouched = torch.equal(before, weights_of(teacher))
    untouched = untouched and all(weight.grad is None for weight in teacher.parameters())
    return [losses, weights_of(student), "untouched" if untouched else "touched"]


def by_autograd(batches: list[Tensor], given: Setting, stale: bool) -> list[Any]:
    """Gradients by autograd, and plain descent; the losses by closed forms."""
    student, teacher = model(1), master(2)
    temperature, hard = given.get("temperature", 1.0), given.get("hard", 0.0)
    parameters, losses = list(student.parameters()), []
    for ids in batches:
        q = (student(ids[:, :-1]) / temperature).log_softmax(-1)
        p = by_log(teacher(ids[:, :-1]), temperature).float()
        soft = temperature**2 * (p.exp() * (p - q)).sum() / ids[:, 1:].numel()
        logs = student(ids[:, :-1]).log_softmax(-1)
        came = -sum(
            logs[row, place, int(ids[row, place + 1])]
            for row in range(len(ids))
            for place in range(ids.shape[1] - 1)
        )
        loss = hard * came / ids[:, 1:].numel() + (1 - hard) * soft
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for weight, slope in zip(parameters, slopes, strict=True):
                weight.sub_(0.5 * slope)
        losses.append(loss.item())
    return [losses, weights_of(student), "untouched"]


def training(
    label: str, batches: Sequence[Tensor], given: Setting | None = None, stale: bool = False
) -> Case:
    return trial(label, taught, by_autograd, list(batches), given or {}, stale)


def step_by_step(
    student: Decoder,
    teacher: Decoder,
    batches: Any,
    optimizer: Any,
    temperature: float = 1.0,
    hard: float = 0.0,
) -> list[float]:
    """A right one."""
    losses = []
    for ids in batches:
        read, came = ids[:, :-1], ids[:, 1:]
        with torch.no_grad():
            targets = teacher(read)
        logits = student(read)
        soft = kl_by_pytorch(logits, targets, temperature)
        surprise = F.cross_entropy(logits.flatten(0, 1), came.flatten())
        loss = hard * surprise + (1 - hard) * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


TRAIN_STUDENT = Exercise(
    name="train_student",
    lesson=LESSON,
    library=compress.train_student,
    minutes=12,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        training("three steps, soft targets", [text(n, 2, 6) for n in (1, 2, 3)]),
        training("evened out", [text(n, 3, 4) for n in (4, 5)], {"temperature": 3.0}),
        training("hard targets", [text(n, 2, 5) for n in (6, 7, 8)], {"hard": 1.0}),
        training(
            "a quarter hard, evened out",
            [text(n, 2, 7) for n in (9, 10)],
            {"temperature": 2.0, "hard": 0.25},
        ),
        training("windows of one token", [text(11, 1, 2), text(12, 1, 2)], {"hard": 0.5}),
        training("batches of unequal sizes", [text(13, 1, 9), text(14, 4, 3)], {"hard": 0.5}),
        training("gradients that were left there", [text(15, 2, 5)], stale=True),
    ),
    mistakes=edits(
        step_by_step,
        """
## gradients never forgotten
- optimizer.zero_grad()
+ pass
`backward` adds to the gradients that are there. Forget them, by `optimizer.zero_grad()`, in each
step.
## gradients forgotten afterwards
- optimizer.zero_grad()
- loss.backward()
- optimizer.step()
+ loss.backward()
+ optimizer.step()
+ optimizer.zero_grad()
You forget the gradients after each step. What was there before the first one goes into it: forget
before `backward`.
## nothing is learned
- optimizer.step()
+ pass
The student's weights don't change: either `optimizer.step()` is missing, or the gradients were
forgotten between `backward` and it.
## one step at the end
- optimizer.zero_grad()
- loss.backward()
- optimizer.step()
+ loss.backward()
- return losses
+ optimizer.step()
+ return losses
You take one step, after all batches. Take one for each.
## the token that was read
- came.flatten() → read.flatten()
Your hard targets are the tokens that were read. What is to be forecast is the *next* one:
`ids[:, 1:]`.
## the teacher one token ahead
- targets = teacher(read) → targets = teacher(came)
Your teacher reads the tokens that came after. Both must read the same, and forecast the same.
## the teacher shifted
- targets = teacher(read) → targets = teacher(ids)[:, 1:]
Your soft targets are shifted by one. A forecast of the teacher's belongs to the same position of
the student's; only the tokens that came are shifted.
## the whole window is read
- soft = kl_by_pytorch(logits, targets, temperature)
+ soft = kl_by_pytorch(student(ids), teacher(ids), temperature)
Your soft targets also have the last position, whose next token is not in the window. Read
`ids[:, :-1]`.
## hard and soft exchanged
- hard * surprise + (1 - hard) * soft → (1 - hard) * surprise + hard * soft
`hard` is the part of the surprise at the token that came; yours is the other way round.
## both in full
- (1 - hard) * soft → soft
The soft part is 1 − hard.
## hard taken for a switch
- hard * surprise + (1 - hard) * soft → surprise if hard else soft
You take `hard` for a switch. It is a share, from 0 to 1: mix the two.
## the hard part forgotten
- hard * surprise + (1 - hard) * soft → soft
The tokens that came play no part: `hard` says how much they should.
## the temperature forgotten
- targets, temperature) → targets)
The temperature is not handed to the loss.
## the surprise evened out
- cross_entropy(logits.flatten(0, 1) → cross_entropy((logits / temperature).flatten(0, 1)
Your hard part is evened out too. The temperature belongs to the soft part: a token that came is
forecast as trained.
## the surprise added up
- came.flatten()) → came.flatten(), reduction="sum")
Your hard part is added up over the positions: take the mean.
## the teacher's best token
- came.flatten()) → targets.argmax(-1).flatten())
Your hard targets are the teacher's best tokens. Hard targets are the tokens that came.
## losses after the step
- losses.append(loss.item())
+ with torch.no_grad():
+     after, said = student(read), kl_by_pytorch(student(read), targets, temperature)
+ surprise = F.cross_entropy(after.flatten(0, 1), came.flatten())
+ losses.append((hard * surprise + (1 - hard) * said).item())
Your losses are those after the step. Keep the one that the step was made from.
## the last loss alone
- return losses → return losses[-1] if losses else 0.0
You return the last loss: return a list, one for each step.
## the mean loss
- return losses → return [sum(losses) / len(losses)] * len(losses) if losses else []
You return their mean: return the loss of each step.
## the teacher learns
- targets = teacher(read) → targets = student(read)
- logits = student(read) → logits = teacher(read)
Student and teacher stand in each other's place.
## all but the first batch
- for ids in batches: → for ids in list(batches)[1:]:
The first batch is left out.
""",
    ),
    hints=(
        "For each batch: what is read is `ids[:, :-1]`, what came is `ids[:, 1:]`. The teacher's "
        "logits under `torch.no_grad()`, the student's without.",
        "loss = hard · F.cross_entropy(logits.flatten(0, 1), came.flatten()) + (1 − hard) · "
        "distillation_loss(logits, targets, temperature).",
        "Then `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, and "
        "`losses.append(loss.item())`.",
    ),
)

# --- sequence_targets -----------------------------------------------------------------------------

Choose = Callable[[Tensor], Tensor]


def best(logits: Tensor) -> Tensor:
    return logits.argmax(-1)


def second_best(logits: Tensor) -> Tensor:
    return logits.topk(2).indices[:, 1]


def how_many_above_0(logits: Tensor) -> Tensor:
    """A choice that sees the logits themselves: it differs for probabilities."""
    return (logits > 0).sum(-1).clamp(max=10)


def row_by_row(teacher: Decoder, prompts: Tensor, new_tokens: int, choose: Choose) -> list[Tensor]:
    """Each row alone, all of it read anew for each token."""
    inputs, targets = [], []
    for prompt in prompts.tolist():
        ids = list(prompt)
        for _ in range(new_tokens):
            ids.append(int(choose(teacher(torch.tensor([ids]))[:, -1])))
        inputs.append(ids[:-1])
        targets.append([t if n >= len(prompt) else -100 for n, t in enumerate(ids)][1:])
    return [torch.tensor(inputs), torch.tensor(targets)]


def with_a_cache(
    teacher: Decoder, prompts: Tensor, new_tokens: int, choose: Choose
) -> tuple[Tensor, Tensor]:
    """A right one."""
    B, P = prompts.shape
    cache = teacher.new_cache(B, 2 * (P + new_tokens))
    ids, read = prompts, prompts
    with torch.no_grad():
        for _ in range(new_tokens):
            logits = teacher(read, cache)[:, -1]
            read = choose(logits)[:, None]
            ids = torch.cat((ids, read), dim=1)
    targets = ids[:, 1:].clone()
    targets[:, : P - 1] = -100
    return ids[:, :-1], targets


def said(candidate: Any, seed: int, prompts: Tensor, n: int, choose: Choose) -> list[Any]:
    inputs, targets = candidate(master(seed), prompts, n, choose)
    return [inputs, targets, str(targets.dtype)]  # the losses of PyTorch want whole numbers


def saying(label: str, prompts: Tensor, n: int, choose: Choose = best, seed: int = 3) -> Case:
    return Case(
        label,
        lambda candidate: lend(lambda ids: said(candidate, seed, ids, n, choose), prompts),
        lambda: [*row_by_row(master(seed), prompts, n, choose), "torch.int64"],
        (prompts, n),
    )


SEQUENCE_TARGETS = Exercise(
    name="sequence_targets",
    lesson=LESSON,
    library=compress.sequence_targets,
    minutes=14,
    difficulty=2,
    kind="stretch",
    cases=(
        saying("two prompts of three tokens", text(31, 2, 3), 4),
        saying("one prompt", text(32, 1, 5), 6),
        saying("prompts of one token", text(33, 4, 1), 5),
        saying("one new token", text(34, 3, 4), 1),
        saying("prompts of two, not the best token", text(35, 3, 2), 6, second_best),
        saying("chosen by the logits themselves", text(37, 2, 3), 5, how_many_above_0),
        saying("another teacher, the second best", text(36, 2, 6), 7, second_best, seed=4),
    ),
    mistakes=edits(
        with_a_cache,
        """
## the prompt is to be learned too
- targets[:, : P - 1] = -100
+ pass
Your targets hold the prompt's own tokens. The teacher did not say those: -100 in their place.
## one position too many left out
- : P - 1] → : P]
You leave out the first token that the teacher made. After the last token of the prompt, at P − 1,
comes a token of the teacher's.
## one position too few left out
- : P - 1] → : max(P - 2, 0)]
The last token of the prompt is still a target. P − 1 of the prompt's tokens are targets of others.
## not shifted
- ids[:, 1:].clone() → ids[:, :-1].clone()
Your targets are the tokens that are read at the same position. Each target is the *next* token.
## read to the end
- return ids[:, :-1], targets
+ return ids, torch.cat((targets, torch.full((B, 1), -100)), dim=1)
The last token is read too, and nothing comes after it. Read `ids[:, :-1]`.
## zeros for what does not count
- = -100 → = 0
Zero is a token, and the student would learn it. What no loss counts is -100.
## the prompt wiped out
- return ids[:, :-1], targets
+ inputs = ids[:, :-1].clone()
+ inputs[:, : P - 1] = -100
+ return inputs, targets
You also wipe out what is read. The student reads the prompt; only its targets don't count.
## the best token
- choose(logits) → logits.argmax(-1)
You take the best token. `choose` says which is taken.
## chosen from probabilities
- choose(logits) → choose(logits.softmax(-1))
You hand probabilities to `choose`. It takes logits: what draws does its own softmax.
## chosen from logarithms
- choose(logits) → choose(logits.log_softmax(-1))
You hand log-probabilities to `choose`. It takes the logits themselves.
## the first row chooses for all
- choose(logits)[:, None] → choose(logits)[:1, None].expand(B, 1)
All rows get the token of the first. Each has logits of its own.
## the first position's forecast
- teacher(read, cache)[:, -1] → teacher(read, cache)[:, 0]
You take the forecast at the first position that was read. The newest is the last.
## everything read again
- read = choose(logits)[:, None]
- ids = torch.cat((ids, read), dim=1)
+ ids = torch.cat((ids, choose(logits)[:, None]), dim=1)
+ read = ids
- 2 * (P + new_tokens)) → 2 * (P + new_tokens) * (new_tokens + 1))
You hand all tokens to a cache that holds them already: it has them twice. Read what is new alone.
## the same token again
- logits = teacher(read, cache)[:, -1]
- read = choose(logits)[:, None]
+ logits = teacher(prompts)[:, -1]
+ read = choose(logits)[:, None]
You ask for the token after the prompt each time. What was chosen must be read in its turn.
## no memory
- teacher(read, cache) → teacher(read)
Without its cache the teacher sees the newest token alone.
## one token too few
- range(new_tokens) → range(new_tokens - 1)
One token too few. The last one is chosen too, and only not read.
## one token too many
- range(new_tokens) → range(new_tokens + 1)
One token too many: `new_tokens` of them are chosen.
## without the prompt
- return ids[:, :-1], targets
+ return ids[:, P:-1], targets[:, P:]
The prompt is missing in what is read: the answers make no sense without it.
""",
    ),
    hints=(
        "Lesson 06's loop, for all rows at once: read the prompts into a cache, choose a token a "
        "row from the logits of the last position, read those, and so on.",
        "`choose(logits)` is (B,); `[:, None]` makes it the next (B, 1) to be read. Put all of them "
        "behind the prompts: (B, P + new_tokens).",
        "Read is `ids[:, :-1]`, targets are a copy of `ids[:, 1:]`, whose first P − 1 columns become "
        "-100.",
    ),
)

# --- recover --------------------------------------------------------------------------------------


def cut(seed: int) -> Decoder:
    """A student with a third of its matrices' weights cut, and a zero in each norm, by chance."""
    pruned = model(seed)
    with torch.no_grad():
        for weight in pruned.parameters():
            if weight.ndim == 2:
                weight.mul_(weight.abs() > 0.2)
            else:
                weight[1] = 0.0
    return pruned


@beside
def recovered(
    candidate: Any, batches: list[Tensor], given: Setting, decay: float, moved: float
) -> list[Any]:
    """The losses, and the weights after a training whose optimizer has made steps before."""
    pruned, teacher = cut(1), model(2)
    optimizer = Descent(pruned, 0.3, decay)
    for moving in optimizer.moving:
        moving.fill_(moved)
    losses = candidate(pruned, teacher, iter(batches), optimizer, **given)
    return [losses, weights_of(pruned)]


def by_masked_steps(batches: list[Tensor], given: Setting, decay: float, moved: float) -> list[Any]:
    """Plain descent with momentum; what was cut takes no step."""
    pruned, teacher = cut(1), master(2)
    temperature = given.get("temperature", 1.0)
    parameters, losses = list(pruned.parameters()), []
    masks = [(w.detach() != 0) | (w.ndim != 2) for w in parameters]
    moving = [torch.full_like(w, moved) for w in parameters]
    for ids in batches:
        q = (pruned(ids[:, :-1]) / temperature).log_softmax(-1)
        p = by_log(teacher(ids[:, :-1]), temperature).float()
        loss = temperature**2 * (p.exp() * (p - q)).sum() / ids[:, 1:].numel()
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for weight, slope, mask, speed in zip(parameters, slopes, masks, moving, strict=True):
                speed.mul_(decay).add_(slope)
                weight.sub_(0.3 * speed * mask)
        losses.append(loss.item())
    return [losses, weights_of(pruned)]


def recovering(
    label: str, batches: list[Tensor], given: Setting, decay: float = 0.0, moved: float = 0.0
) -> Case:
    return trial(label, recovered, by_masked_steps, batches, given, decay, moved)


def masked_after_each_step(
    pruned: Decoder, teacher: Decoder, batches: Any, optimizer: Any, temperature: float = 1.0
) -> list[float]:
    """A right one."""
    matrices = [weight for weight in pruned.parameters() if weight.ndim == 2]
    masks = [weight != 0 for weight in matrices]
    losses = []
    for ids in batches:
        losses += step_by_step(pruned, teacher, [ids], optimizer, temperature)
        with torch.no_grad():
            for weight, mask in zip(matrices, masks, strict=True):
                weight.mul_(mask)
    return losses


RECOVER = Exercise(
    name="recover",
    lesson=LESSON,
    library=compress.recover,
    minutes=10,
    difficulty=2,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        recovering("three steps", [text(n, 2, 6) for n in (41, 42, 43)], {}),
        recovering("evened out", [text(n, 3, 4) for n in (44, 45)], {"temperature": 2.0}),
        recovering("with momentum", [text(n, 2, 5) for n in (46, 47, 48)], {}, 0.9),
        recovering("momentum from before", [text(n, 2, 5) for n in (49, 50)], {}, 0.9, 0.2),
    ),
    mistakes=edits(
        masked_after_each_step,
        """
## the mask is lost
- weight.mul_(mask)
+ pass
After the first step nothing is zero any more: it changed what was cut, too. Remember where the
zeros were before it, and set them back after each step.
## once, at the end
- for ids in batches:
-     losses += step_by_step(pruned, teacher, [ids], optimizer, temperature)
-     with torch.no_grad():
+ if True:
+     losses += step_by_step(pruned, teacher, batches, optimizer, temperature)
+     with torch.no_grad():
You set them to zero once, at the end: until then the others learned with their help.
## the gradients are masked, not the weights
- for ids in batches:
+ def masked_slope(mask):
+     return lambda slope: slope * mask
+ hooks = [w.register_hook(masked_slope(mask)) for w, mask in zip(matrices, masks)]
+ for ids in batches:
- weight.mul_(mask)
+ pass
- return losses
+ for hook in hooks:
+     hook.remove()
+ return losses
You set gradients to zero, and momentum from before, or an optimizer that mixes a matrix's gradients
as Muon does, moves those weights all the same. Set the weights themselves to zero after the step.
## the kept ones are cut
- weight != 0 for weight in matrices → weight == 0 for weight in matrices
Your mask is the other way round: it cuts what was kept.
## what has become small is cut too
- weight.mul_(mask)
+ weight.mul_(mask & (weight.abs() > 0.2))
You cut again by size. What was kept may become small, and stays.
## zeros of the norms stay too
- weight.ndim == 2] → True]
You hold zeros of the norms, too. A zero in a vector is there by chance and may move; what was cut
stands in the matrices, `weight.ndim == 2`.
## norms are masked away
- weight.ndim == 2] → True]
- mask in zip(matrices, masks, strict=True):
-     weight.mul_(mask)
+ mask in zip(matrices, masks, strict=True):
+     weight.mul_(mask & (weight.ndim == 2))
You set the norms to zero. Only what was zero in the matrices stays zero.
## the temperature forgotten
- optimizer, temperature) → optimizer)
The temperature is not handed on.
""",
    ),
    hints=(
        "Before the first step remember, for each matrix, where it is not zero: `weight != 0`.",
        "`train_student` with a list of one batch makes one step. After it, under "
        "`torch.no_grad()`, `weight.mul_(mask)` for each matrix.",
    ),
)

EXERCISES = (SOFT_TARGETS, DISTILLATION_LOSS, TRAIN_STUDENT, SEQUENCE_TARGETS, RECOVER)
