"""Smaller: fewer bits, fewer weights, a smaller model that learned from a larger one."""

from decodeloop.compress.cache import (
    QuantizedKVCache,
    dequantize_cache,
    pack_nibbles,
    quantize_cache,
    unpack_nibbles,
)
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
    "QuantizedKVCache",
    "Recipe",
    "dequantize_cache",
    "distillation_loss",
    "for_training",
    "hard_loss",
    "new_decoder",
    "pack_nibbles",
    "quantize_cache",
    "recover",
    "sequence_targets",
    "shuffled",
    "soft_targets",
    "train",
    "train_student",
    "trained",
    "unpack_nibbles",
    "windows",
]
