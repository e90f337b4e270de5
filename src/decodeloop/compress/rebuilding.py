"""A decoder taken apart into its weights, and one put together of others: what changes the shape of
a model, or the order of its channels, works on the weights by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import Decoder, ModelConfig


def plain_weights(decoder: Decoder, who: str) -> dict[str, Tensor]:
    """The weights of a decoder by name, the very memory; a tied head is among them.

    Raises:
        UserError: its projections hold no plain matrices.

    >>> from decodeloop.model import TINY
    >>> plain_weights(Decoder(TINY), "count")["layers.0.feed_forward.gate.weight"].shape
    torch.Size([72, 48])
    """
    found = {name: weight.detach() for name, weight in decoder.state_dict().items()}
    if found.keys() != skeleton(decoder.config).state_dict().keys():
        raise UserError(
            f"{who}: the weights are not those of a plain decoder (its head is of type "
            f"{type(decoder.output).__name__}): change a model first, then quantize it."
        )
    return found


def decoder_over(config: ModelConfig, weights: Mapping[str, Tensor]) -> Decoder:
    """A plain decoder of this shape over these weights, their very memory, ready to be used.

    Args:
        weights: by name, as `decoder.state_dict()` has them; a tied head is the embedding, whether
            it is among them or not, and others that the shape knows nothing of are left out.

    Raises:
        ShapeError: one is missing, or has not the shape that the configuration asks for.

    >>> from decodeloop.model import TINY
    >>> decoder = Decoder(TINY)
    >>> twin, ids = decoder_over(TINY, decoder.state_dict()), torch.tensor([[1, 2, 3]])
    >>> torch.equal(twin(ids), decoder(ids))
    True
    """
    twin = skeleton(config)
    used = {}
    for name, wanted in twin.state_dict().items():
        weight = weights.get("embedding.weight" if config.tied and name == TIED else name)
        if weight is None or weight.shape != wanted.shape:
            found = "it is missing" if weight is None else f"it has shape {tuple(weight.shape)}"
            raise ShapeError(
                f"decoder_over: a weight {name} of shape {tuple(wanted.shape)} is what the "
                f"configuration asks for, and {found}."
            )
        used[name] = weight.detach()
    twin.load_state_dict(used, assign=True)
    if config.tied:
        twin.output.weight = twin.embedding.weight
    return twin.requires_grad_(False).eval()


def layer_and_part(name: str) -> tuple[int, str]:
    """Where a weight belongs; what is of no layer has number -1.

    >>> layer_and_part("layers.3.attention.query.weight"), layer_and_part("norm.weight")
    ((3, 'attention.query'), (-1, 'norm'))
    """
    first, _, rest = name.removesuffix(".weight").partition(".")
    if first != "layers":
        return -1, first
    number, _, part = rest.partition(".")
    return int(number), part


TIED = "output.weight"


def skeleton(config: ModelConfig) -> Decoder:
    """A decoder of this shape, without memory."""
    with torch.device("meta"):
        return Decoder(config)
