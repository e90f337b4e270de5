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
from decodeloop.compress.rebuilding import decoder_over, plain_weights
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
    "channel_scores",
    "csr_matvec",
    "decoder_over",
    "dequantize_cache",
    "distillation_loss",
    "drop_heads",
    "drop_layers",
    "for_training",
    "hard_loss",
    "head_scores",
    "inputs_of",
    "layer_angles",
    "narrow_feed_forward",
    "new_decoder",
    "pack_nibbles",
    "plain_weights",
    "prune_magnitude",
    "pruned",
    "quantize_cache",
    "recover",
    "sequence_targets",
    "shuffled",
    "soft_targets",
    "train",
    "train_student",
    "trained",
    "two_four",
    "unpack_nibbles",
    "wanda",
    "wanda_scores",
    "windows",
    "zeros",
]
