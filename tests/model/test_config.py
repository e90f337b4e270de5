import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.cost import PRESETS, parameters_by_part
from decodeloop.errors import UserError
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    Decoder,
    Experts,
    ModelConfig,
    RopeScaling,
    parameter_count,
)
from decodeloop.model.config import COMPUTED, LLAMA, check_llama

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


def test_a_layer_at_least_has_experts():
    experts = Experts(4, 2, dense_layers=3, dense_width=9)
    with pytest.raises(UserError, match="3 of 3 layers are dense: expected at least one with"):
        dataclasses.replace(TINY, experts=experts)


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


# parameters


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_are_counted_as_a_decoder_has_them(layers, kv_heads, tied):
    config = dataclasses.replace(TINY, layers=layers, kv_heads=kv_heads, tied=tied)
    held = sum(weight.numel() for weight in Decoder(config).parameters())
    assert parameter_count(config) == held


# vocabulary, width, layers, heads, kv_heads, head_dim, feed_forward; the counts are those that the
# models were published with
@pytest.mark.parametrize(
    ("sizes", "tied", "published"),
    [
        ((49_152, 960, 32, 15, 5, 64, 2_560), True, 361_821_120),  # SmolLM2-360M
        ((49_152, 2_048, 24, 32, 32, 64, 8_192), True, 1_711_376_384),  # SmolLM2-1.7B
        ((32_000, 2_048, 22, 32, 4, 64, 5_632), False, 1_100_048_384),  # TinyLlama-1.1B
        ((128_256, 4_096, 32, 32, 8, 128, 14_336), False, 8_030_261_248),  # Llama-3.1-8B
        ((128_256, 8_192, 80, 64, 8, 128, 28_672), False, 70_553_706_496),  # Llama-3.1-70B
    ],
)
def test_parameters_of_published_models(sizes, tied, published):
    assert parameter_count(ModelConfig(*sizes, context=8_192, tied=tied)) == published


def test_parameters_of_the_model_that_is_loaded(smollm2):
    held = sum(weight.numel() for weight in smollm2.model.parameters())
    assert parameter_count(SMOLLM2_135M) == held == 134_515_008


# features beyond the Llama family


@pytest.mark.parametrize(("name", "value"), [("biases", "some"), ("window", 0)])
def test_features_that_can_not_be_are_refused(name, value):
    with pytest.raises(UserError, match=f"{name} is {value!r}: expected "):
        dataclasses.replace(TINY, **{name: value})


BEYOND = {
    "gated": False,
    "biases": "qkv",
    "layer_norm": True,
    "qk_norm": True,
    "learned_positions": True,
    "window": 4,
    "rope_scaling": RopeScaling("linear", 2.0),
    "no_rope_every": 2,
    "experts": Experts(4, 2),
}
REFUSED = {name: BEYOND[name] for name in ("gated", "layer_norm", "learned_positions")}
REFUSED |= {"biases": "all"}


def test_every_feature_beyond_llama_is_known():
    assert set(BEYOND) == set(LLAMA)
    assert all(BEYOND[name] != LLAMA[name] for name in LLAMA)


def test_it_shows_its_sizes_and_what_it_has_beyond_llama():
    assert "gated" not in repr(TINY) and "window" not in repr(TINY)
    assert eval(repr(TINY)) == TINY
    other = dataclasses.replace(TINY, window=4, tied=False)
    assert "window=4" in repr(other) and eval(repr(other)) == other


@given(st.sets(st.sampled_from(sorted(REFUSED)), min_size=1), st.sets(st.sampled_from(COMPUTED)))
def test_a_decoder_refuses_by_name_what_it_can_not_compute(names, others):
    refused = {name: REFUSED[name] for name in names}
    config = dataclasses.replace(TINY, **refused, **{name: BEYOND[name] for name in others})
    for refuses in (Decoder, parameter_count):
        with pytest.raises(UserError, match="can't compute this model") as error:
            refuses(config)
        for name in REFUSED:
            assert (f"{name}={REFUSED[name]!r}" in str(error.value)) == (name in names)
            assert (f"{name}={LLAMA[name]!r}" in str(error.value)) == (name in names)


@pytest.mark.parametrize("name", [*COMPUTED, "biases"])
def test_what_a_decoder_computes_beyond_llama_is_counted(name):
    config = dataclasses.replace(TINY, **{name: BEYOND[name]})
    held = sum(weight.numel() for weight in Decoder(config).parameters())
    assert parameter_count(config) == held == sum(parameters_by_part(config).values())
    with pytest.raises(UserError, match=f"somebody can't .* {name}="):
        check_llama(config, "somebody")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head_dim": 2, "rope_scaling": RopeScaling("dynamic", 2.0)}, "head_dim is 2 with"),
        ({"rope_base": 1.0, "rope_scaling": RopeScaling("yarn", 2.0)}, "rope_base is 1.0 with"),
        ({"rope_scaling": RopeScaling("divided", divisors=(1.0,))}, "1 divisors: expected 5"),
    ],
)
def test_scalings_that_can_not_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize("name", PRESETS)
def test_a_public_model_is_counted_alike_or_refused(name):
    config = PRESETS[name]
    beyond = {feature: getattr(config, feature) for feature in LLAMA}
    mixed = config.experts is not None and not config.experts.only_routed
    if mixed or any(beyond[feature] == REFUSED[feature] for feature in REFUSED):
        with pytest.raises(UserError):
            parameter_count(config)
    else:
        assert parameter_count(config) == sum(parameters_by_part(config).values())
