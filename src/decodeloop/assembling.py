"""A decoder out of a configuration and tensors: as they are, or quantized."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from decodeloop.checkpoints.weights import hub_name, lacking, tensor_for
from decodeloop.errors import ModelFileError
from decodeloop.kernels.int4 import Int4Linear, Int4Matrix
from decodeloop.kernels.int8 import Int8Embedding, Int8Linear, Int8Matrix, one_piece
from decodeloop.kernels.screened import ScreenedLinear
from decodeloop.model import Decoder, ModelConfig

QUANTIZED = {"int8": None, "w8a8": torch.int8, "int4": None}  # and the products of int8 weights
MATRICES: dict[str, type[Int8Matrix] | type[Int4Matrix]] = {"int8": Int8Matrix, "int4": Int4Matrix}


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


def quantized_decoder_from(
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    source: object,
    device: torch.device,
    dtype: str,
) -> Decoder:
    """A `Decoder` whose matrices are quantized, one after the other, as they are read.

    It computes in fp32. Other args and errors as for `decoder_from`.

    Args:
        dtype: how, one of `QUANTIZED`.
    """
    model = skeleton(weights, config, source)
    own = model.state_dict()
    if config.tied:
        del own["output.weight"]
    wanted = [(kind, tensor.shape) for name, tensor in own.items() if not stays(name, tensor)
              for kind in kinds_for(name, config, dtype)]  # fmt: skip
    sizes = [MATRICES[kind].bytes_for(*shape) for kind, shape in wanted]
    memory = iter(one_piece(sizes) if device.type == "cpu" else [])
    for name, parameter in own.items():
        tensor = tensor_for(name, parameter.shape, weights, source, config)
        *above, part, kind = name.split(".")
        owner = model.get_submodule(".".join(above))
        if stays(name, tensor):
            vector = nn.Parameter(tensor.to(device, torch.float32).clone(), requires_grad=False)
            setattr(owner.get_submodule(part), kind, vector)
            continue
        kinds = kinds_for(name, config, dtype)
        matrix = MATRICES[kinds[0]](tensor.float(), next(memory, None)).to(device)
        del tensor  # what else is made of the matrix is made of its numbers in fewer bits
        if part == "embedding":
            model.embedding = Int8Embedding(matrix)  # type: ignore[assignment,arg-type]
            owner, part = model, "output" if config.tied else ""
        if part:
            more = next(memory, None) if len(kinds) > 1 else None
            setattr(owner, part, projection(matrix, len(kinds) > 1, more, dtype))
    return model.requires_grad_(False).eval()


def stays(name: str, tensor: Tensor) -> bool:
    """Whether a weight is kept in fp32: a norm, the bias of a matrix that came just before, or a
    router, of few numbers, where a rounded one may send a token to other experts."""
    return tensor.ndim == 1 or name.endswith(".router.weight")


def kinds_for(name: str, config: ModelConfig, dtype: str) -> list[str]:
    """What is made of a matrix: the head of a model in 4 bits is there in 8 bits too, and so is the
    embedding, whose rows are looked up and not multiplied."""
    if dtype != "int4":
        return ["int8"]
    if name == ("embedding.weight" if config.tied else "output.weight"):
        return ["int8", "int4"]
    return ["int8"] if name == "embedding.weight" else ["int4"]


def projection(matrix: nn.Module, screened: bool, memory: Tensor | None, dtype: str) -> nn.Module:
    """The module that multiplies with a quantized matrix; the head of a model in 4 bits looks
    twice, and its first look gets this memory."""
    if isinstance(matrix, Int4Matrix):
        return Int4Linear(matrix)
    assert isinstance(matrix, Int8Matrix)
    return ScreenedLinear(matrix, memory) if screened else Int8Linear(matrix, QUANTIZED[dtype])


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
