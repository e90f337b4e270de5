import dataclasses

import pytest
import torch
from cost_configs import COUNTED, THEIRS
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedConfig
from transformers.models.auto import AutoModelForCausalLM

from decodeloop.cost import (
    PRESETS,
    Architecture,
    active_parameters,
    linear_shapes,
    parameters_by_part,
    preset,
)
from decodeloop.errors import UserError
from decodeloop.model import TINY, Decoder, Experts, parameter_count

# As the hub shows them for the published weights.
PUBLISHED = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-7b": 6_738_415_616,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "mistral-7b": 7_241_732_096,
    "phi-3-mini": 3_821_079_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "gpt-oss-20b": 20_914_757_184,
    "deepseek-v3": 671_026_404_352,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
}


def count(config):
    return sum(parameters_by_part(config).values())


def their_count(config: PreTrainedConfig) -> int:
    """Parameters of transformers' model; on the meta device it takes no memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    return sum({id(p): p.numel() for p in model.parameters()}.values())


@pytest.mark.parametrize("name", [*THEIRS, *COUNTED])
def test_counts_are_those_of_transformers(name):
    assert count(PRESETS[name]) == their_count((THEIRS | COUNTED)[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_of_the_published_weights(name):
    assert count(PRESETS[name]) == PUBLISHED[name]


# in billions, as papers and model cards have them, with or without the embedding
@pytest.mark.parametrize(
    ("name", "billions", "with_embedding", "places"),
    [
        ("mixtral-8x7b", 12.9, True, 1),
        ("qwen3-30b-a3b", 3.35, True, 2),
        ("gpt-oss-20b", 3.61, False, 2),
        ("deepseek-v3", 37, False, 0),
    ],
)
def test_active_parameters_are_those_that_were_published(name, billions, with_embedding, places):
    active = active_parameters(PRESETS[name])
    left_out = 0 if with_embedding else active["embedding"]
    assert round((sum(active.values()) - left_out) / 1e9, places) == billions


@pytest.mark.parametrize("name", PRESETS)
def test_all_parameters_are_active_where_there_are_no_experts(name):
    config = PRESETS[name]
    fewer = sum(active_parameters(config).values()) < count(config)
    assert fewer == (config.experts is not None)


def test_active_parameters_are_those_of_a_decoder_with_fewer_experts():
    mixed = dataclasses.replace(TINY, experts=Experts(number=5, active=2))
    fewer = dataclasses.replace(TINY, experts=Experts(number=2, active=2))
    router = 3 * TINY.width * TINY.layers  # the rows of those that are not there
    assert sum(active_parameters(mixed).values()) == parameter_count(fewer) + router


def test_gpt3_has_the_175_billion_of_its_paper():
    assert round(count(PRESETS["gpt3-175b"]) / 1e9) == 175


@st.composite
def architectures(draw):
    """Any Llama-like shape: few KV heads, odd vocabularies, heads that don't add up to C."""
    kv_heads, share = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Architecture(
        vocabulary=draw(st.integers(1, 50)),
        width=4 * draw(st.integers(1, 8)),
        layers=draw(st.integers(1, 4)),
        heads=kv_heads * share,
        kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 8)),
        feed_forward=draw(st.integers(1, 60)),
        context=16,
        tied=draw(st.booleans()),
    )


@given(architectures())
def test_counts_are_those_of_our_own_decoder(config):
    with torch.device("meta"):
        decoder = Decoder(config)
    assert count(config) == sum(p.numel() for p in decoder.parameters()) == parameter_count(config)
    layer = dict(decoder.layers[0].named_modules())
    for name, shape in linear_shapes(config).items():
        part = "feed_forward" if name in ("gate", "up", "down") else "attention"
        assert tuple(layer[f"{part}.{name}"].weight.shape) == shape


def test_a_plain_configuration_is_counted_as_llama():
    assert count(TINY) == parameter_count(TINY)
    assert sum(rows * columns for rows, columns in linear_shapes(TINY).values()) * TINY.layers == (
        parameters_by_part(TINY)["attention"] + parameters_by_part(TINY)["feed_forward"]
    )


def test_every_preset_says_where_its_numbers_stand():
    assert all(config.source for config in PRESETS.values())


def test_an_unknown_preset_is_told_the_known_ones():
    with pytest.raises(UserError, match=r"'lama-7b': did you mean llama-7b\? Known are .*gpt2"):
        preset("lama-7b")
    with pytest.raises(UserError, match=r"unknown model ''\? Known are"):
        preset("")
    assert preset("Llama-3-8B") is PRESETS["llama-3-8b"]


def test_impossible_architectures_are_refused():
    gemma = PRESETS["gemma-2b"]
    with pytest.raises(UserError, match=r"8 query heads can't share 3 KV heads"):
        dataclasses.replace(gemma, kv_heads=3)
    with pytest.raises(UserError, match="layers is -1: expected a positive number"):
        dataclasses.replace(gemma, layers=-1)
    with pytest.raises(UserError, match="biases is 'some': expected 'none', 'qkv' or 'all'"):
        dataclasses.replace(gemma, biases="some")
