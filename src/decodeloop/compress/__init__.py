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
from decodeloop.compress.gptq import gptq, output_error
from decodeloop.compress.quantization import (
    dequantize_asymmetric,
    dequantize_groups,
    pack_int4,
    quantize_asymmetric,
    quantize_groups,
    rounded,
    unpack_int4,
)
from decodeloop.compress.shuffling import shuffled
from decodeloop.compress.smoothing import largest_inputs, seeing_inputs, smooth, smoothed
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
    "dequantize_asymmetric",
    "dequantize_cache",
    "dequantize_groups",
    "distillation_loss",
    "for_training",
    "gptq",
    "hard_loss",
    "largest_inputs",
    "new_decoder",
    "output_error",
    "pack_int4",
    "pack_nibbles",
    "quantize_asymmetric",
    "quantize_cache",
    "quantize_groups",
    "recover",
    "rounded",
    "seeing_inputs",
    "sequence_targets",
    "shuffled",
    "smooth",
    "smoothed",
    "soft_targets",
    "train",
    "train_student",
    "trained",
    "unpack_int4",
    "unpack_nibbles",
    "windows",
]
