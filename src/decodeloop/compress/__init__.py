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
from decodeloop.compress.listening import seeing_inputs
from decodeloop.compress.narrowing import (
    channel_scores,
    drop_heads,
    drop_layers,
    head_scores,
    layer_angles,
    narrow_feed_forward,
)
from decodeloop.compress.pruning import (
    csr_matvec,
    inputs_of,
    prune_magnitude,
    pruned,
    two_four,
    wanda,
    wanda_scores,
    zeros,
)
from decodeloop.compress.quantization import (
    dequantize_asymmetric,
    dequantize_groups,
    pack_int4,
    quantize_asymmetric,
    quantize_groups,
    rounded,
    unpack_int4,
)
from decodeloop.compress.rebuilding import decoder_over, plain_weights
from decodeloop.compress.shuffling import shuffled
from decodeloop.compress.smoothing import largest_inputs, smooth, smoothed
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
from decodeloop.compress.upcycling import routed_slices, upcycled

__all__ = [
    "Optimizer",
    "QuantizedKVCache",
    "Recipe",
    "channel_scores",
    "csr_matvec",
    "decoder_over",
    "dequantize_asymmetric",
    "dequantize_cache",
    "dequantize_groups",
    "distillation_loss",
    "drop_heads",
    "drop_layers",
    "for_training",
    "gptq",
    "hard_loss",
    "head_scores",
    "inputs_of",
    "largest_inputs",
    "layer_angles",
    "narrow_feed_forward",
    "new_decoder",
    "output_error",
    "pack_int4",
    "pack_nibbles",
    "plain_weights",
    "prune_magnitude",
    "pruned",
    "quantize_asymmetric",
    "quantize_cache",
    "quantize_groups",
    "recover",
    "rounded",
    "routed_slices",
    "seeing_inputs",
    "sequence_targets",
    "shuffled",
    "smooth",
    "smoothed",
    "soft_targets",
    "train",
    "train_student",
    "trained",
    "two_four",
    "unpack_int4",
    "unpack_nibbles",
    "upcycled",
    "wanda",
    "wanda_scores",
    "windows",
    "zeros",
]
