"""Smaller: fewer bits, fewer weights, a smaller model that learned from a larger one."""

from decodeloop.compress.distillation import (
    distillation_loss,
    recover,
    sequence_targets,
    soft_targets,
    train_student,
)
from decodeloop.compress.shuffling import shuffled
from decodeloop.compress.training import (
    Optimizer,
    Recipe,
    for_training,
    hard_loss,
    new_decoder,
    train,
    trained,
    windows,
)

__all__ = [
    "Optimizer",
    "Recipe",
    "distillation_loss",
    "for_training",
    "hard_loss",
    "new_decoder",
    "recover",
    "sequence_targets",
    "shuffled",
    "soft_targets",
    "train",
    "train_student",
    "trained",
    "windows",
]
