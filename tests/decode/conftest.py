from dataclasses import replace

import pytest
from stand_ins import decoders, fake_cuda, fake_cuda_decoder, llama_like, steady

from decodeloop.model import Decoder

__all__ = ["decoders", "fake_cuda", "fake_cuda_decoder", "llama_like", "steady"]


@pytest.fixture(scope="session")
def decoder(decoders) -> Decoder:
    """Untied, so that greedy text does not merely repeat its last token."""
    return decoders[3]


@pytest.fixture(scope="session")
def short_decoder(decoder) -> Decoder:
    """The same, with a context of 10."""
    short = Decoder(replace(decoder.config, context=10)).requires_grad_(False)
    short.load_state_dict(decoder.state_dict())
    return short
