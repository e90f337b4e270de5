"""Weights by name: what a hub folder calls each tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from decodeloop.errors import ModelFileError
from decodeloop.model import ModelConfig

HUB_NAMES = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def hub_name(name: str) -> str:
    """Our name of a tensor → the hub's.

    >>> hub_name("layers.3.attention.query.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    match = re.fullmatch(r"(?:layers\.(\d+)\.)?(.+)\.weight", name)
    assert match, name
    layer, part = match.groups()
    prefix = f"model.layers.{layer}." if layer is not None else ""
    return f"{prefix}{HUB_NAMES[part]}.weight"


def tensor_for(
    name: str,
    shape: torch.Size,
    weights: Mapping[str, Tensor],
    source: object,
    config: ModelConfig,
) -> Tensor:
    """The tensor of one of our names, if it is there and has the right shape."""
    tensor = weights.get(hub_name(name))
    if tensor is None:
        raise lacking(name, source, config)
    if tensor.shape != shape:
        raise ModelFileError(
            f"{source}: tensor {hub_name(name)} has shape {tuple(tensor.shape)}, the "
            f"configuration asks for {tuple(shape)}; copy the model again."
        )
    return tensor


def lacking(name: str, source: object, config: ModelConfig) -> ModelFileError:
    return ModelFileError(
        f"{source} lacks the tensor {hub_name(name)}: a Llama-architecture model of "
        f"{config.layers} layers has one; copy the model again."
    )
