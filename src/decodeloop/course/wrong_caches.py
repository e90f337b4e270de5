"""Seven wrong KV caches of lesson 06, and a test that reads texts in pieces to find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from decodeloop.model import Decoder, KVCache

Pieces = Sequence[Tensor]  # a text (1, T), cut


@dataclass(frozen=True)
class Variant:
    """A kind of cache, and how the model reads with it: token ids (1, T) → logits (1, T, V)."""

    new: Callable[[], KVCache]
    read: Callable[[Tensor, Any], Tensor]


def variants(kind: Any, model: Decoder, max_length: int = 200) -> dict[str, Variant]:
    """A class of caches as it is, as "right", and with each of seven mistakes, by name."""

    class NeverAdvanced(kind):
        def advance(self, T: int) -> None:
            pass

    class AdvancedByPrefillAlone(kind):
        def advance(self, T: int) -> None:
            if T > 1:
                super().advance(T)

    class AdvancedTwice(kind):
        def advance(self, T: int) -> None:
            super().advance(2 * T)

    class OnePlaceForAllLayers(kind):
        def append(self, layer: int, k: Tensor, v: Tensor) -> Any:
            return super().append(0, k, v)

    class KeptForTheNextText(kind):
        def truncate(self, n: int) -> None:
            pass

    def positions_from_0(token_ids: Tensor, cache: Any) -> Tensor:
        return model(token_ids, cache, positions=torch.arange(token_ids.shape[1]))

    def top_of_the_triangle(token_ids: Tensor, cache: Any) -> Tensor:
        T = token_ids.shape[1]
        mask = torch.ones(T, cache.length + T, dtype=torch.bool).tril() if T > 1 else None
        return model(token_ids, cache, mask=mask)

    def of(wrong: Any, read: Callable[[Tensor, Any], Tensor] = model) -> Variant:
        weight = model.embedding.weight
        options = {"dtype": weight.dtype, "device": weight.device}
        return Variant(lambda: wrong(model.config, 1, max_length, **options), read)

    return {
        "right": of(kind),
        "never advanced": of(NeverAdvanced),
        "advanced by prefill alone": of(AdvancedByPrefillAlone),
        "advanced twice": of(AdvancedTwice),
        "positions from 0": of(kind, positions_from_0),
        "mask not shifted": of(kind, top_of_the_triangle),
        "one place for all layers": of(OnePlaceForAllLayers),
        "kept for the next text": of(KeptForTheNextText),
    }


@torch.inference_mode()
def errors(variant: Variant, texts: Sequence[Pieces], alone: Sequence[Tensor]) -> list[float]:
    """Read texts piece by piece, all in one cache that is truncated between them: for each, by how
    much its logits differ at most from `alone`, those of one forward without a cache, (1, T, V)."""
    cache, largest = variant.new(), []
    for pieces, expected in zip(texts, alone, strict=False):
        logits = torch.cat([variant.read(piece, cache) for piece in pieces], dim=1)
        largest.append(float((logits - expected).abs().max()))
        cache.truncate(0)
    return largest


@torch.inference_mode()
def answer(variant: Variant, pieces: Pieces, tokens: int) -> list[int]:
    """Read a prompt piece by piece in a new cache; the best tokens after it, one by one."""
    cache = variant.new()
    for piece in pieces:
        logits = variant.read(piece, cache)
    ids = [int(logits[0, -1].argmax())]
    while len(ids) < tokens:
        ids.append(int(variant.read(torch.tensor([ids[-1:]]), cache)[0, -1].argmax()))
    return ids


__all__ = ["Pieces", "Variant", "answer", "errors", "variants"]
