"""What every room's tests share: a tiny random decoder, and the real model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

from decodeloop.loading import LanguageModel, load
from decodeloop.model import TINY, Decoder, ModelConfig

# The machines that run this are shared: a slow example is no failure.
settings.register_profile("decodeloop", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("decodeloop")


def random_decoder(config: ModelConfig, seed: int = 0) -> Decoder:
    """A decoder with random weights, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Decoder(config).requires_grad_(False).eval()


@pytest.fixture(scope="session")
def tiny_decoder() -> Decoder:
    return random_decoder(TINY)


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The real model on the CPU; `make test` fetched it."""
    return load("smollm2-135m", device="cpu", compiled=False)
