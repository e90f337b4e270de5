"""Random inputs for exercises, in words that the tables of `answers/lesson_NN.py` use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**16)


@dataclass(frozen=True)
class Driven:
    """Inputs for a candidate that is not simply called, a class for one."""

    inputs: SearchStrategy[tuple[Any, ...]]
    run: Callable[..., Any]  # (candidate, *inputs) → outputs


def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """A random tensor that is the same for the same seed."""
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_ids(seed: int, vocabulary: int, *shape: int) -> Tensor:
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, shape, generator=generator)


def shaped(build: Callable[..., Any], *parts: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """`build` called with a draw of each strategy: usually sizes and a seed → a tuple of inputs."""
    return st.builds(build, *parts)


__all__: Sequence[str] = ["Driven", "drawn", "random_ids", "seeds", "shaped", "sizes"]
