"""A dense model becomes one with experts: each feed-forward layer is copied into all of them, or
cut up among them.

Copies: all experts of a layer are alike at first, and their weights add up to 1, so the model
computes the same, wherever a router sends a token. Only training makes them differ. Komatsuzaki et
al., "Sparse Upcycling" (2023), arXiv:2212.05055. Slices: their sum is the layer, and of a few of
them a part is missing. Zhang et al., "MoEfication" (2022), arXiv:2110.01786. Lesson 26 cuts.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

import torch
from torch import Tensor

from decodeloop.compress.rebuilding import decoder_over, layer_and_part, plain_weights, skeleton
from decodeloop.errors import UserError
from decodeloop.model import Decoder, Experts, ModelConfig
from decodeloop.model.config import check_dense

EXPERT = re.compile(r"\.experts\.(\d+)\.")


def upcycled(decoder: Decoder, experts: Experts, seed: int = 0) -> Decoder:
    """A decoder with copies of each feed-forward layer as experts, and routers that know nothing.

    Raises:
        UserError: the decoder has experts already, or the weights of a token's experts would not
            add up to 1.

    >>> from decodeloop.model import TINY
    >>> decoder, ids = Decoder(TINY), torch.tensor([[1, 2, 3]])
    >>> torch.allclose(upcycled(decoder, Experts(4, 2))(ids), decoder(ids), atol=1e-5)
    True
    """
    check_dense(decoder.config, "upcycled")
    if not (experts.normalised and experts.only_routed):
        raise UserError(
            f"upcycled: {experts}: expected experts that tokens are routed to, with weights that "
            f"add up to 1, and no others."
        )
    config, old = replace(decoder.config, experts=experts), plain_weights(decoder, "upcycled")
    new = routers(config, decoder, seed)
    for name in skeleton(config).state_dict().keys() - new.keys():
        new[name] = old[EXPERT.sub(".", name)].clone()
    return decoder_over(config, new).with_parts(decoder.parts)


def routed_slices(decoder: Decoder, number: int, active: int, seed: int = 0) -> Decoder:
    """A decoder whose feed-forward layers are cut into `number` equal groups of neighbouring
    channels, of which a token is sent to `active` by routers that know nothing.

    A token's weights add up to 1, so what the slices write is multiplied by `active`: with even
    weights the outputs of the chosen are added up, and those of all slices are the layer.

    Raises:
        UserError: the decoder has experts already, or its channels don't divide.

    >>> from decodeloop.model import TINY
    >>> routed_slices(Decoder(TINY), number=3, active=1).config.feed_forward
    24
    """
    check_dense(decoder.config, "routed_slices")
    if number < 1 or decoder.config.feed_forward % number:
        raise UserError(
            f"routed_slices: {decoder.config.feed_forward} channels can't be cut into {number} "
            f"equal groups: take a number of experts that divides them."
        )
    F = decoder.config.feed_forward // number
    config = replace(decoder.config, feed_forward=F, experts=Experts(number, active))
    old, new = plain_weights(decoder, "routed_slices"), routers(config, decoder, seed)
    for name in skeleton(config).state_dict().keys() - new.keys():
        weight = old[EXPERT.sub(".", name)]
        if match := EXPERT.search(name):
            own = slice(int(match[1]) * F, (int(match[1]) + 1) * F)
            down = name.endswith(".down.weight")
            weight = active * weight[:, own] if down else weight[own]
        new[name] = weight.clone()
    return decoder_over(config, new).with_parts(decoder.parts)


def routers(config: ModelConfig, like: Decoder, seed: int) -> dict[str, Tensor]:
    """The routers of a model by name, drawn, the same on every machine, such that logits have the
    size of their inputs."""
    draw, found = random.Random(seed), {}
    for name, wanted in skeleton(config).state_dict().items():
        if layer_and_part(name)[1] == "feed_forward.router":
            numbers = [draw.gauss(0.0, config.width**-0.5) for _ in range(wanted.numel())]
            found[name] = torch.tensor(numbers).view(wanted.shape).to(like.device, like.dtype)
    return found
