from dataclasses import replace

import pytest
from serve_kit import Kit
from stand_ins import decoders, fake_cuda, fake_cuda_decoder, steady

from decodeloop.model import Decoder

__all__ = ["decoders", "fake_cuda", "fake_cuda_decoder", "steady"]


@pytest.fixture(scope="session")
def decoder(decoders) -> Decoder:
    """Untied, so that greedy text does not merely repeat its last token; for long prompts, too."""
    long = Decoder(replace(decoders[3].config, context=2048)).requires_grad_(False).eval()
    long.load_state_dict(decoders[3].state_dict())
    return long


@pytest.fixture
def kit() -> Kit:
    return Kit()
