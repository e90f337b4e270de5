"""Where weights come from: pinned models, GGUF files, hub folders."""

from decodeloop.checkpoints.download import cache_folder, damage, fetch, is_fetched
from decodeloop.checkpoints.pinned import PINNED, PinnedModel
from decodeloop.checkpoints.tokenizer import Tokenizer

__all__ = [
    "PINNED",
    "PinnedModel",
    "Tokenizer",
    "cache_folder",
    "damage",
    "fetch",
    "is_fetched",
]
