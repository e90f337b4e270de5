"""Smaller: fewer bits, fewer weights, a smaller model that learned from a larger one."""

from decodeloop.compress.shuffling import shuffled
from decodeloop.compress.training import Recipe, new_decoder, train

__all__ = ["Recipe", "new_decoder", "shuffled", "train"]
