"""A cache that has read the beginning of a prompt, and what it must be to be read on.

Built in lesson 06.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from decodeloop.decode.sequence import Sequence
from decodeloop.errors import UserError
from decodeloop.model import KVCache

if TYPE_CHECKING:
    from decodeloop.decode.loop import Model


def ready_cache(model: Model, sequence: Sequence, cache: KVCache | None) -> KVCache:
    """A new cache, or the one that is given, without the prompt's last token: that one is read
    again, for the logits of what comes next."""
    if cache is None:
        return model.new_cache(1, sequence.positions_needed)
    last = sequence.prompt.shape[1] - 1
    if cache.length > last:
        cache.truncate(last)
    return cache


def check_beginning(cache: KVCache, sequence: Sequence) -> None:
    """Raise a `UserError` unless `cache` can hold a beginning of this sequence, and the rest."""
    T, needed = sequence.prompt.shape[1], sequence.positions_needed
    rows, room = getattr(cache, "batch", 1), getattr(cache, "max_length", None)
    if rows != 1:
        raise UserError(
            f"the cache has {rows} rows for one prompt: keep one of them with cache.select([row])."
        )
    if cache.length > T:
        raise UserError(
            f"the cache holds {cache.length} tokens, the prompt has {T}: expected a beginning of "
            f"the prompt; cache.truncate(n) keeps the first n, those that they share."
        )
    if room is not None and room < needed:
        raise UserError(
            f"the cache has room for {room} positions: {T} tokens of the prompt and "
            f"{sequence.budget} new ones, of which the last is not read, need {needed}; make it "
            f"with new_cache(1, {needed}), or ask for fewer tokens."
        )
