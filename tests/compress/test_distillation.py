"""Distillation: gradients by finite differences, limits by closed forms, a student that learns."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from decodeloop.compress import (
    Optimizer,
    Recipe,
    distillation_loss,
    for_training,
    hard_loss,
    new_decoder,
    recover,
    sequence_targets,
    soft_targets,
    train,
    train_student,
    trained,
    windows,
)
from decodeloop.decode import greedy
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY

TEXT = torch.arange(600) * 7 % 31


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_gradient_is_that_of_finite_differences(temperature):
    student = torch.randn(2, 3, 5, dtype=torch.float64)
    teacher = torch.randn(2, 3, 5, dtype=torch.float64)

    def loss(logits):  # in float64: the function itself computes in fp32
        p = (teacher / temperature).softmax(-1)
        each = (p * (p.log() - (logits / temperature).log_softmax(-1))).sum(-1)
        return temperature**2 * each.mean()

    free = student.float().requires_grad_()
    distillation_loss(free, teacher.float(), temperature).backward()
    h = 1e-5
    for place in [(0, 0, 0), (1, 2, 4), (0, 2, 3)]:
        step = torch.zeros_like(student)
        step[place] = h
        slope = float(loss(student + step) - loss(student - step)) / (2 * h)
        assert float(free.grad[place]) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_at_a_high_temperature_it_compares_logits():
    """Hinton et al., section 2.1: τ² KL → the mean square of centred differences, halved."""
    student, teacher = torch.randn(4, 9), torch.randn(4, 9)
    off = (student - teacher) - (student - teacher).mean(-1, keepdim=True)
    expected = float(off.square().mean()) / 2
    assert float(distillation_loss(student, teacher, 100.0)) == pytest.approx(expected, rel=0.03)


def test_it_is_the_cross_entropy_less_what_the_teacher_leaves_open():
    student, teacher = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    p = soft_targets(teacher)
    crossed = F.cross_entropy(student.flatten(0, 1), p.flatten(0, 1))
    own = -(p * p.log()).sum(-1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher), crossed - own)
    assert float(distillation_loss(teacher, teacher, 2.0)) == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def teacher():
    return train(new_decoder(TINY, seed=7), TEXT, Recipe(steps=80, batch=4, length=16))


def pupil(seed=1):
    student = new_decoder(replace(TINY, layers=1, feed_forward=24), seed)
    return student, for_training(student)


def test_a_student_comes_to_forecast_what_its_teacher_does(teacher):
    recipe = Recipe(steps=80, batch=4, length=16)
    student, learner = pupil()
    untouched = {name: weight.clone() for name, weight in teacher.named_parameters()}
    batches = windows(TEXT, recipe)
    losses = train_student(learner, teacher, batches, Optimizer(student, recipe), 2.0)
    trained(student)
    assert len(losses) == 80
    assert losses[-1] < 0.4 * losses[0]
    assert hard_loss(student, TEXT[None, :65]).item() < 0.7 * math.log(31)
    for name, weight in teacher.named_parameters():
        assert torch.equal(weight, untouched[name]) and weight.grad is None


def test_hard_targets_alone_are_plain_training(teacher):
    recipe = Recipe(steps=3, batch=2, length=8)
    one, learner = pupil()
    train_student(learner, teacher, windows(TEXT, recipe), Optimizer(one, recipe), hard=1.0)
    other = train(pupil()[0], TEXT, recipe)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_teachers_text_can_be_learned_from(teacher):
    inputs, targets = sequence_targets(teacher, TEXT[:12].view(4, 3), 20, greedy)
    assert inputs.shape == targets.shape == (4, 22)
    assert (targets[:, :2] == -100).all()
    assert torch.equal(targets[:, 2:-1], inputs[:, 3:])
    loss = F.cross_entropy(teacher(inputs).flatten(0, 1), targets.flatten())
    assert float(loss) < 1.0  # its own words surprise it little


def test_what_was_cut_stays_cut_while_the_rest_learns(teacher):
    pruned = new_decoder(TINY, seed=7)
    pruned.load_state_dict(teacher.state_dict())
    for weight in pruned.parameters():
        if weight.ndim == 2:
            weight.data *= weight.abs() > weight.abs().median()
    before = hard_loss(pruned, TEXT[None, :65]).item()
    zeros = [weight == 0 for weight in pruned.parameters()]
    recipe = Recipe(steps=20, batch=4, length=16)
    learner = for_training(pruned)
    recover(learner, teacher, windows(TEXT, recipe), Optimizer(pruned, recipe))
    for weight, zero in zip(pruned.parameters(), zeros, strict=True):
        assert torch.equal(weight == 0, zero)
    assert hard_loss(trained(pruned), TEXT[None, :65]).item() < before


def other_vocabulary(teacher):
    return new_decoder(replace(TINY, vocabulary=50))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t: soft_targets(torch.zeros(3), 0.0), "temperature is 0.0: expected .* above 0"),
        (lambda t: soft_targets(torch.zeros(3), math.nan), "temperature is nan"),
        (lambda t: train_student(t, other_vocabulary(t), [], None), "of 97 tokens .* of 50: soft"),
        (lambda t: train_student(t, t, [], None, hard=1.5), "hard is 1.5: expected the part"),
        (lambda t: sequence_targets(t, TEXT[None, :3], 0, greedy), "new_tokens is 0: expected"),
    ],
)
def test_bad_input_is_one_sentence(teacher, call, said):
    with pytest.raises(UserError, match=said):
        call(teacher)


def test_forecasts_of_different_places_are_refused():
    with pytest.raises(ShapeError, match=r"\(2, 5\) and the teacher's \(2, 6\) must have one"):
        distillation_loss(torch.zeros(2, 5), torch.zeros(2, 6))


def test_on_a_gpu_targets_and_tokens_are_where_the_student_is(fake_cuda_decoder):
    decoder = fake_cuda_decoder(TINY)
    ids = torch.zeros(2, 6, dtype=torch.long, device="cuda")
    assert distillation_loss(decoder(ids), decoder(ids), 2.0).device.type == "cuda"
    assert hard_loss(decoder, ids).device.type == "cuda"
