import pytest
from serve_kit import Kit
from stand_ins import decoders, steady

__all__ = ["decoders", "steady"]


@pytest.fixture
def kit() -> Kit:
    return Kit()
