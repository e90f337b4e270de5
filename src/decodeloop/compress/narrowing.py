"""A smaller shape: layers, heads and channels go, and what is left is a model like any other.

Layers, and how far each turns the stream: Gromov et al., "The Unreasonable Ineffectiveness of the
Deeper Layers" (2024), section 3. Heads: Michel et al., "Are Sixteen Heads Really Better than One?"
(2019). Channels of the feed-forward layers, by what they read and write: the scores of Wanda, for
whole columns (An et al., "Fluctuation-based Adaptive Structured Pruning", 2024, section 3). Built
in lesson 20.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from decodeloop.compress.pruning import check_calibration
from decodeloop.compress.rebuilding import decoder_over, layer_and_part, plain_weights
from decodeloop.errors import UserError
from decodeloop.model import Decoder, block
from decodeloop.model.config import check_dense
from decodeloop.model.decoder import check_token_ids

Numbers = Sequence[int] | Tensor  # of layers, heads or channels, counted from 0


def drop_layers(decoder: Decoder, layers: Numbers) -> Decoder:
    """A decoder without these layers, over the weights of the others.

    Raises:
        UserError: a layer is not there, or none would be left.

    >>> from decodeloop.model import TINY
    >>> drop_layers(Decoder(TINY), [1]).config.layers
    2
    """
    L, gone = decoder.config.layers, set(numbers(layers))
    if absent := sorted(gone - set(range(L))):
        raise UserError(
            f"drop_layers: there is no layer {absent[0]}: the model has {L}, numbered from 0 to "
            f"{L - 1}."
        )
    kept = [number for number in range(L) if number not in gone]
    if not kept:
        raise UserError(f"drop_layers: all {L} layers would go: leave at least one.")
    weights = {}
    for name, weight in plain_weights(decoder, "drop_layers").items():
        number, _ = layer_and_part(name)
        if number in kept:
            weights[name.replace(f"layers.{number}.", f"layers.{kept.index(number)}.")] = weight
        elif number < 0:
            weights[name] = weight
    return decoder_over(replace(decoder.config, layers=len(kept)), weights)


def drop_heads(decoder: Decoder, heads: Sequence[Numbers]) -> Decoder:
    """A decoder without these query heads of each layer; a KV head that nobody reads goes too.

    A cache has as many KV heads in one layer as in another, and each is read by as many query
    heads as any other: so must be what is left.

    Args:
        heads: for each layer, the query heads that go.

    Raises:
        UserError: a head is not there; there is not one entry for each layer; what is left is
            uneven, or nothing.

    >>> from decodeloop.model import TINY
    >>> smaller = drop_heads(Decoder(TINY), [[0, 1, 2]] * 3)  # of 6; each KV head is read by 3
    >>> smaller.config.heads, smaller.config.kv_heads
    (3, 1)
    """
    config = decoder.config
    H, each, D = config.heads, config.heads // config.kv_heads, config.head_dim
    check_one_for_each("drop_heads", "query heads that go", heads, config.layers)
    kept, readers = [], []
    for layer, some in enumerate(heads):
        gone = check_there("drop_heads", "query head", layer, some, H)
        kept.append([head for head in range(H) if head not in gone])
        readers.append(Counter(head // each for head in kept[-1]))  # how many each KV head has left
    check_even([list(counts.values()) for counts in readers])
    weights = plain_weights(decoder, "drop_heads")
    for layer, some in enumerate(kept):
        rows, shared = channels_of(some, D), channels_of(list(readers[layer]), D)
        part = f"layers.{layer}.attention."
        for name, axis, channels in (
            ("query", 0, rows),
            ("key", 0, shared),
            ("value", 0, shared),
            ("output", 1, rows),
        ):
            weights[f"{part}{name}.weight"] = picked(
                weights[f"{part}{name}.weight"], axis, channels
            )
    smaller = replace(config, heads=len(kept[0]), kv_heads=len(readers[0]))
    return decoder_over(smaller, weights)


def narrow_feed_forward(decoder: Decoder, kept: Sequence[Numbers]) -> Decoder:
    """A decoder whose feed-forward layers have these of their channels, in this order.

    Args:
        kept: for each layer the channels that stay, as many in each.

    Raises:
        UserError: a channel is not there, or twice; there is not one entry for each layer; one
            layer keeps more than another, or none.

    >>> from decodeloop.model import TINY
    >>> narrow_feed_forward(Decoder(TINY), [range(32)] * 3).config.feed_forward
    32
    """
    config = decoder.config
    check_dense(config, "narrow_feed_forward")
    check_one_for_each("narrow_feed_forward", "channels that stay", kept, config.layers)
    weights, widths = plain_weights(decoder, "narrow_feed_forward"), []
    for layer, some in enumerate(kept):
        check_there("narrow_feed_forward", "channel", layer, some, config.feed_forward)
        channels = numbers(some)
        widths.append(len(channels))
        for name, axis in (("gate", 0), ("up", 0), ("down", 1)):
            key = f"layers.{layer}.feed_forward.{name}.weight"
            weights[key] = picked(weights[key], axis, channels)
    if len(set(widths)) > 1 or not widths[0]:
        raise UserError(
            f"narrow_feed_forward: layers would keep from {min(widths)} to {max(widths)} channels: "
            f"expected as many in each, and at least one, since a model has one width for all."
        )
    return decoder_over(replace(config, feed_forward=widths[0]), weights)


def channel_scores(decoder: Decoder, inputs: Mapping[str, Tensor]) -> Tensor:
    """What each channel of a feed-forward layer adds to the stream: the norm of what it holds at
    all tokens, times that of the column that it is written with.

    Args:
        inputs: of `inputs_of`.

    Shapes: → (L, F).
    """
    check_dense(decoder.config, "channel_scores")
    names = [f"layers.{n}.feed_forward.down.weight" for n in range(decoder.config.layers)]
    weights = plain_weights(decoder, "channel_scores")
    return torch.stack([weights[n].norm(dim=0) * inputs[n].norm(dim=0) for n in names])


def head_scores(decoder: Decoder, inputs: Mapping[str, Tensor]) -> Tensor:
    """What each query head adds to the stream: the norm of its output at all tokens, after the
    output projection, over that of all heads of its layer.

    Args:
        inputs: of `inputs_of`.

    Shapes: → (L, H).
    """
    D, rows = decoder.config.head_dim, []
    weights = plain_weights(decoder, "head_scores")
    for number in range(decoder.config.layers):
        name = f"layers.{number}.attention.output.weight"
        pairs = zip(weights[name].split(D, 1), inputs[name].split(D, 1), strict=True)
        added = torch.stack([(x @ w.mT).norm() for w, x in pairs])
        rows.append(added / added.square().sum().sqrt())
    return torch.stack(rows)


@torch.inference_mode()
def layer_angles(decoder: Decoder, texts: Sequence[Tensor], span: int = 1) -> Tensor:
    """By how much `span` layers turn the stream, from each layer on: the mean angle between what
    goes in and what comes out, 0 none and 1 half a turn.

    The first token of a text is left out: models keep it at one place, whatever it is.

    Shapes: texts a list of (T,) → (L - span + 1,).

    Raises:
        UserError: the texts are too short; there are fewer layers than `span`.
    """
    check_calibration(texts)
    L = decoder.config.layers
    if not 1 <= span <= L:
        raise UserError(f"layer_angles: {span} layers in a row: expected 1 to {L}.")
    reader = decoder_over(decoder.config, plain_weights(decoder, "layer_angles"))
    total, tokens = torch.zeros(L - span + 1), 0
    for ids in texts:
        states = torch.stack(stream_of(reader, ids))[:, 0, 1:].float()  # (L + 1, T - 1, C)
        cosine = torch.cosine_similarity(states[: L - span + 1], states[span:], dim=-1)
        total += (torch.arccos(cosine.clamp(-1, 1)) / math.pi).sum(-1).cpu()
        tokens += len(ids) - 1
    return total / tokens


def stream_of(decoder: Decoder, ids: Tensor) -> list[Tensor]:
    """The residual stream before the first layer, and after each. Shapes: (T,) → (1, T, C) each."""
    check_token_ids(ids[None], decoder.config.vocabulary)
    seen = decoder.parts.no_cache(decoder.device)
    positions = seen.positions(len(ids))
    states = [decoder.embedding(ids[None].to(decoder.device))]
    for number, layer in enumerate(decoder.layers):

        def attend(q: Tensor, k: Tensor, v: Tensor, number: int = number) -> Tensor:
            return seen.attend(number, q, k, v)

        states.append(block(states[-1], layer, positions, attend))  # type: ignore[arg-type]
    return states


def channels_of(heads: Sequence[int], D: int) -> list[int]:
    """The channels of some heads, one after the other.

    >>> channels_of([0, 2], 3)
    [0, 1, 2, 6, 7, 8]
    """
    return [head * D + channel for head in heads for channel in range(D)]


def picked(weight: Tensor, axis: int, channels: Sequence[int]) -> Tensor:
    """These rows (axis 0) or columns (axis 1) of a matrix, in memory of their own."""
    return weight.index_select(axis, torch.tensor(channels, dtype=torch.long, device=weight.device))


def numbers(some: Numbers) -> list[int]:
    """Numbers of layers, heads or channels as a list, whatever they came in."""
    return some.tolist() if isinstance(some, Tensor) else [int(n) for n in some]


def check_one_for_each(who: str, what: str, entries: Sequence[Numbers], layers: int) -> None:
    """Raise a `UserError` unless there is an entry for each layer."""
    if len(entries) != layers:
        raise UserError(
            f"{who}: {len(entries)} entries for {layers} layers: expected the {what} of each layer."
        )


def check_even(readers: Sequence[list[int]]) -> None:
    """Raise a `UserError` unless each layer has as many KV heads, each read by as many query heads.

    Args:
        readers: for each layer, by how many query heads each KV head is read that is left.
    """
    for layer, counts in enumerate(readers):
        if not counts or counts != counts[:1] * len(counts) or counts != readers[0]:
            here, first = (" + ".join(map(str, c)) or "no" for c in (counts, readers[0]))
            beside = f", those of layer 0 by {first}" if layer else ""
            raise UserError(
                f"drop_heads: a cache can't hold what is left: the KV heads of layer {layer} would "
                f"be read by {here} query heads{beside}; leave as many KV heads in each layer, and "
                f"each of them as many query heads."
            )


def check_there(who: str, what: str, layer: int, some: Numbers, size: int) -> set[int]:
    """The numbers as a set; raise a `UserError` unless each is there, and once."""
    found = numbers(some)
    wrong = [n for n in found if not 0 <= n < size]
    wrong += [n for n, times in Counter(found).items() if times > 1]
    if wrong:
        said = "is there twice" if 0 <= wrong[0] < size else "is not there"
        raise UserError(
            f"{who}: {what} {wrong[0]} of layer {layer} {said}: expected each at most once, from 0 "
            f"to {size - 1}."
        )
    return set(found)
