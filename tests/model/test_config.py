import dataclasses
import math

import pytest

from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M, TINY

SIZES = [field.name for field in dataclasses.fields(TINY) if field.type == "int"]


@pytest.mark.parametrize("name", [*SIZES, "rope_base", "norm_eps"])
@pytest.mark.parametrize("value", [0, -2, math.nan])
def test_every_number_must_be_positive(name, value):
    with pytest.raises(UserError, match=f"{name} is {value}: expected a positive number"):
        dataclasses.replace(TINY, **{name: value})


def test_query_heads_must_divide_among_kv_heads():
    with pytest.raises(UserError, match=r"6 query heads can't share 4 KV heads.*a multiple"):
        dataclasses.replace(TINY, kv_heads=4)


def test_the_head_dimension_must_be_even():
    with pytest.raises(UserError, match=r"head_dim is 9.*must be even"):
        dataclasses.replace(TINY, head_dim=9)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.layers = 4


def test_the_tiny_preset_shows_a_mixed_up_size():
    """Sizes that are all different: a shape that is right by accident is not."""
    sizes = [getattr(TINY, name) for name in SIZES]
    assert (
        len({*sizes, TINY.heads * TINY.head_dim, TINY.kv_heads * TINY.head_dim}) == len(sizes) + 2
    )


def test_the_preset_is_the_model_that_is_loaded(smollm2):
    assert smollm2.config == SMOLLM2_135M
