"""Weights by name: what a hub folder calls each tensor, and where in a model it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from decodeloop.checkpoints.expert_names import with_expert, without_expert
from decodeloop.errors import ModelFileError, one_line
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
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.router": "mlp.gate",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}
OF_THE_MODEL = ("embedding", "norm", "output")  # and not of each layer
BIASED = ("attention.query", "attention.key", "attention.value")  # where a model has biases
OF_A_FEED_FORWARD = ("feed_forward.gate", "feed_forward.up", "feed_forward.down")
OWN_NAMES = {hub: own for own, hub in HUB_NAMES.items()}
LARGEST = torch.finfo(torch.float32).max


def hub_name(name: str) -> str:
    """Our name of a tensor → the hub's.

    >>> hub_name("layers.3.attention.query.weight")
    'model.layers.3.self_attn.q_proj.weight'
    >>> hub_name("layers.3.feed_forward.experts.1.up.weight")
    'model.layers.3.mlp.experts.1.up_proj.weight'
    """
    match = re.fullmatch(r"(?:layers\.(\d+)\.)?(.+)\.(weight|bias)", name)
    assert match, name
    layer, part, kind = match.groups()
    prefix = f"model.layers.{layer}." if layer is not None else ""
    part, expert = without_expert(part)
    return f"{prefix}{with_expert(HUB_NAMES[part], expert)}.{kind}"


def parsed(hub: str) -> tuple[int | None, str, str]:
    """The hub's name of a tensor → its layer, if it is of one, which of our parts it is of, and
    whether it is the weight or the bias; no part where there is none of this name.

    >>> parsed("model.layers.3.self_attn.q_proj.bias")
    (3, 'attention.query', 'bias')
    """
    name = r"(?:model\.layers\.(0|[1-9]\d{0,8})\.)?(.{1,80})\.(weight|bias)"
    layer, part, kind = match.groups() if (match := re.fullmatch(name, hub)) else (None, "", "")
    part, expert = without_expert(part)
    own = OWN_NAMES.get(part, "")
    if (own in OF_THE_MODEL) == (layer is not None):
        own = ""
    if expert is not None:
        own = with_expert(own, expert) if own in OF_A_FEED_FORWARD else ""
    return (None if layer is None else int(layer)), own, kind


def own_part(hub: str) -> str:
    """The hub's name of a tensor → which of our parts it is, in whatever layer.

    >>> own_part("model.layers.3.self_attn.q_proj.weight")
    'attention.query'
    """
    _, part, _ = parsed(hub)
    assert part, hub
    return part


def shape_of(part: str, kind: str, config: ModelConfig) -> tuple[int, ...] | None:
    """The shape of the weight or bias of a part that `HUB_NAMES` lists; None where it has none."""
    if part.endswith(("query_norm", "key_norm")) and not config.qk_norm:
        return None
    if kind == "bias":
        biased = config.biases == "qkv" and part in BIASED
        matrix = shape_of(part, "weight", config) if biased else None
        return matrix and matrix[:1]
    part, expert = without_expert(part)
    experts = 0 if config.experts is None else config.experts.number
    if part == "feed_forward.router":
        return (experts, config.width) if experts else None
    if part in OF_A_FEED_FORWARD and not (
        expert is None if not experts else is_one(expert, experts)
    ):
        return None
    C, F = config.width, config.feed_forward
    query_rows, kv_rows = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "embedding": (config.vocabulary, C),
        "output": (config.vocabulary, C),
        "attention.query": (query_rows, C),
        "attention.key": (kv_rows, C),
        "attention.value": (kv_rows, C),
        "attention.output": (C, query_rows),
        "feed_forward.gate": (F, C),
        "feed_forward.up": (F, C),
        "feed_forward.down": (C, F),
        "attention.query_norm": (config.head_dim,),
        "attention.key_norm": (config.head_dim,),
    }.get(part, (C,))


def is_one(expert: int | None, experts: int) -> bool:
    """Whether there is an expert of this number."""
    return expert is not None and expert < experts


def shape_of_hub(name: str, config: ModelConfig) -> tuple[int, ...]:
    """The shape of the tensor of a hub name; () for one that there is no place for."""
    _, part, kind = parsed(name)
    return (part and shape_of(part, kind, config)) or ()


def check_place(
    name: str, shape: tuple[int, ...], config: ModelConfig, source: object, shown: str = ""
) -> None:
    """Hold a tensor's hub name and shape against what the configuration asks for.

    What has no place would be left out without a word: a bias, a norm, a scale, an adapter, a layer
    too many, each of which makes another model.

    Args:
        shown: the name that the file gives it, if that is another.

    Raises:
        ModelFileError: it has no place, or another shape.
    """
    shown = one_line(shown or name, limit=80)
    layer = parsed(name)[0]
    expected = shape_of_hub(name, config)
    if not expected:
        raise ModelFileError(
            f"{source} has a tensor {shown} that its architecture has no place for: take another "
            f"model, or one that was merged and saved whole."
        )
    if layer is not None and layer >= config.layers:
        raise ModelFileError(
            f"{source} has a tensor {shown}, and its configuration says that there are "
            f"{config.layers} layers; copy the model again."
        )
    if shape != expected:
        raise misshapen(shown, shape, expected, source)


def misshapen(
    name: str, shape: tuple[int, ...], expected: tuple[int, ...], source: object
) -> ModelFileError:
    return ModelFileError(
        f"{source}: tensor {name} has shape {shape}, the configuration asks for {expected}; copy "
        f"the model again."
    )


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
        raise misshapen(hub_name(name), tuple(tensor.shape), tuple(shape), source)
    return tensor


def lacking(name: str, source: object, config: ModelConfig) -> ModelFileError:
    return ModelFileError(
        f"{source} lacks the tensor {hub_name(name)}: a model of this "
        f"architecture with {config.layers} layers has one; copy the model again."
    )


class Finite(Mapping[str, Tensor]):
    """Weights, each looked through when it is asked for.

    Raises:
        ModelFileError: one holds infinity, or what is no number, in fp32.
    """

    def __init__(self, weights: Mapping[str, Tensor], source: object) -> None:
        self.weights, self.source = weights, source

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.weights[name]
        check_finite(name, tensor, self.source)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def check_finite(name: str, tensor: Tensor, source: object) -> None:
    """Raise a `ModelFileError` if a number of a weight is none, or beyond what fp32 can hold."""
    low, high = map(float, tensor.aminmax())  # one pass, no copy; NaN comes out as NaN
    if not (low >= -LARGEST and high <= LARGEST):
        raise ModelFileError(
            f"{source}: tensor {name} has values that are not numbers, or infinite; copy the model "
            f"again."
        )
