"""A decoder out of a configuration and tensors: as they are, or quantized to int8."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from decodeloop.checkpoints.weights import hub_name, lacking, tensor_for
from decodeloop.errors import ModelFileError
from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix, one_piece
from decodeloop.model import Decoder, ModelConfig


def decoder_from(
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    source: object,
    device: torch.device,
    dtype: torch.dtype,
) -> Decoder:
    """A `Decoder` over these weights; where type and device already fit, over their very memory.

    Args:
        weights: by hub name.
        source: what to name in an error.

    Raises:
        ModelFileError: a tensor is missing or has the wrong shape.
    """
    model = skeleton(weights, config, source)
    state: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        if name == "output.weight" and config.tied:
            continue
        state[name] = tensor_for(name, parameter.shape, weights, source, config).to(device, dtype)
    if config.tied:
        state["output.weight"] = state["embedding.weight"]
    model.load_state_dict(state, assign=True)
    if config.tied:
        model.output.weight = model.embedding.weight
    return model.requires_grad_(False).eval()


def int8_decoder_from(
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    source: object,
    device: torch.device,
    products: torch.dtype | None = None,
) -> Decoder:
    """A `Decoder` whose matrices are quantized to int8, one after the other, as they are read.

    It computes in fp32, its products as `Int8Linear` with these `products`. Other args and errors
    as for `decoder_from`.
    """
    model = skeleton(weights, config, source)
    shared: dict[str, Int8Matrix] = {}
    sizes = [tensor.numel() for _, tensor in matrices_of(model)]
    memory = iter(one_piece(sizes) if device.type == "cpu" else [])
    for name, parameter in model.state_dict().items():
        if name == "output.weight" and config.tied:
            continue
        tensor = tensor_for(name, parameter.shape, weights, source, config)
        *above, part, kind = name.split(".")
        owner = model.get_submodule(".".join(above))
        if tensor.ndim == 1:  # a norm, or the bias of a matrix that came just before
            vector = nn.Parameter(tensor.to(device, torch.float32).clone(), requires_grad=False)
            setattr(owner.get_submodule(part), kind, vector)
            continue
        matrix = Int8Matrix(tensor.float(), next(memory, None)).to(device)
        shared[name] = matrix
        table = part == "embedding"
        setattr(owner, part, Int8Embedding(matrix) if table else Int8Linear(matrix, products))
    if config.tied:
        head = Int8Linear(shared["embedding.weight"], products)
        model.output = head  # type: ignore[assignment]
    return model.requires_grad_(False).eval()


def matrices_of(model: Decoder) -> list[tuple[str, Tensor]]:
    """Those that are read from a file, by name, in the order of the model's state."""
    own = model.state_dict().items()
    head = "output.weight" if model.config.tied else None
    return [(name, tensor) for name, tensor in own if tensor.ndim == 2 and name != head]


def check_tied(weights: Mapping[str, Tensor], config: ModelConfig, source: object) -> None:
    """Raise a `ModelFileError` if there is a head of its own where the embedding should be it."""
    head, embedding = hub_name("output.weight"), hub_name("embedding.weight")
    if not (config.tied and head in weights and embedding in weights):
        return
    if not torch.equal(weights[head], weights[embedding]):
        raise ModelFileError(
            f"{source} has a tensor {head} that differs from {embedding}, and its configuration "
            f"ties them: set tie_word_embeddings to false if the head was trained, else delete the "
            f"tensor."
        )


def skeleton(weights: Mapping[str, Tensor], config: ModelConfig, source: object) -> Decoder:
    """A decoder of this shape, without memory.

    Raises:
        ModelFileError: there are fewer layers among the weights, or no tensor could be so large.
    """
    for layer in range(config.layers):  # before 2^31 layers are built, which a flipped bit asks for
        name = f"layers.{layer}.attention_norm.weight"
        if hub_name(name) not in weights:
            raise lacking(name, source, config)
    check_tied(weights, config, source)
    try:
        with torch.device("meta"):  # shapes only: nothing is allocated that is thrown away at once
            return Decoder(config)
    except (RuntimeError, TypeError, OverflowError):
        raise ModelFileError(
            f"{source}: no tensor is as large as its configuration asks for ({config}); copy the "
            f"model again."
        ) from None
