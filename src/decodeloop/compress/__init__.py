"""Smaller: what a model's numbers can be rounded to, and what is lost with it."""

from decodeloop.compress.cache import (
    QuantizedKVCache,
    dequantize_cache,
    pack_nibbles,
    quantize_cache,
    unpack_nibbles,
)

__all__ = [
    "QuantizedKVCache",
    "dequantize_cache",
    "pack_nibbles",
    "quantize_cache",
    "unpack_nibbles",
]
