"""The memory of a decoder's weights, as kernels take it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from decodeloop.kernels.int4 import Int4Linear, Int4Matrix
from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix
from decodeloop.kernels.layers import Sizes
from decodeloop.kernels.screened import ScreenedLinear
from decodeloop.model import Block, Decoder, FeedForward, ModelConfig, RMSNorm, SelfAttention
from decodeloop.model.block import Linear
from decodeloop.model.decoder import Embedding

Array = np.ndarray[Any, Any]

KNOWN = {Block, SelfAttention, FeedForward, RMSNorm, Linear, Embedding, nn.ModuleList}
KNOWN |= {Int8Embedding, Int8Linear, Int8Matrix, Int4Linear, Int4Matrix, ScreenedLinear}


def arrays(module: nn.Module) -> tuple[Array, Array]:
    """A projection's or table's matrix, and a scale for each row, over their own memory; of one in
    4 bits its tiles, and the bits of their scales; of a head that looks twice the first look."""
    if isinstance(module, ScreenedLinear):
        return arrays(module.screen)
    if isinstance(module, Int4Linear):
        return module.matrix.packed.numpy(), module.matrix.scale.view(torch.int16).numpy()
    if isinstance(module, Int8Linear | Int8Embedding):
        return module.matrix.quantized.numpy(), module.matrix.scale.numpy()
    weight = cast(Tensor, module.weight).detach()
    return weight.numpy(), np.ones(weight.shape[0], np.float32)


def layer_arrays(block: Block) -> tuple[Array, ...]:
    """The weights of one layer, in the order of `compiled.decode_layer`."""
    attention, feed_forward = block.attention, block.feed_forward
    return (
        block.attention_norm.weight.detach().numpy(),
        *arrays(attention.query),
        *arrays(attention.key),
        *arrays(attention.value),
        *arrays(attention.output),
        block.feed_forward_norm.weight.detach().numpy(),
        *arrays(feed_forward.gate),
        *arrays(feed_forward.up),
        *arrays(feed_forward.down),
    )


def sizes_of(block: Block, config: ModelConfig) -> Sizes:
    """What kernels can't tell from the memory of a layer's weights."""
    width = cast(int, block.feed_forward.gate.out_features)
    return Sizes(config.heads, config.kv_heads, config.head_dim, width)


def are_known(decoder: Decoder) -> bool:
    """Whether kernels compute what this decoder's modules would. Weights are in 4 bits all or
    none: who replaced one of them by another kind gets PyTorch."""
    modules = [module for module in decoder.modules() if module is not decoder]
    linear = [module for block in decoder.layers for module in block.modules() if is_linear(module)]
    few = {isinstance(module, Int4Linear) for module in linear}
    few.add(isinstance(decoder.output, ScreenedLinear))
    return len(few) == 1 and all(map(is_known, modules))


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, Linear | Int8Linear | Int4Linear)


def is_known(module: nn.Module) -> bool:
    """Whether kernels compute what this module would: it is one of ours, in fp32 or fewer bits on
    the CPU, and nobody listens to it."""
    ours = type(module) in KNOWN and not module._forward_hooks and not module._forward_pre_hooks
    numbers = module.parameters(recurse=False)
    return ours and all(p.dtype == torch.float32 and p.is_cpu for p in numbers)
