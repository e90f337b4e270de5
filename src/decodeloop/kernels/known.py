"""What of a model kernels know, and what they leave to PyTorch, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from decodeloop.model import ModelConfig, rotary_frequencies
from decodeloop.model.config import beyond_llama
from decodeloop.model.frequencies import stretched_frequencies

Array = np.ndarray[Any, Any]


def not_in_kernels(config: ModelConfig) -> str:
    """The features of a model that kernels do not compute, as a phrase; empty if there are none.

    Stretched rotary positions are computed, but for those that grow with the text.

    >>> from dataclasses import replace
    >>> from decodeloop.model import TINY
    >>> not_in_kernels(replace(TINY, window=4, qk_norm=True))
    'qk_norm=True, window=4'
    """
    beyond = beyond_llama(config)
    if config.rope_scaling is not None and config.rope_scaling.kind != "dynamic":
        del beyond["rope_scaling"]
    return ", ".join(f"{name}={value!r}" for name, value in beyond.items())


def turning(config: ModelConfig) -> tuple[Array, float]:
    """How fast each pair of channels turns, (D/2,), and what turned numbers are multiplied by."""
    D, base, scaling = config.head_dim, config.rope_base, config.rope_scaling
    if scaling is None:
        return rotary_frequencies(D, base).numpy(), 1.0
    return stretched_frequencies(D, base, scaling).numpy(), scaling.attention
