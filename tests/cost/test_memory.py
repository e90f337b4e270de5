import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.cost import (
    PRESETS,
    Memory,
    activation_bytes,
    activation_stages,
    kv_cache_bytes,
    mask_bytes,
    max_batch,
    max_length,
    memory,
    preset,
    weight_bytes,
)
from decodeloop.errors import UserError
from decodeloop.measure.inspecting import peak_bytes
from decodeloop.model import SMOLLM2_135M, TINY, WITH_TABLE, Decoder, ModelConfig

sizes = st.integers(1, 5)


@st.composite
def configs(draw):
    """Small Llama-like configurations of every kind of sharing, tied or not."""
    kv_heads, group, head_dim = draw(sizes), draw(st.integers(1, 3)), 4 + 2 * draw(sizes)
    width = draw(st.integers(2, 30))
    return ModelConfig(
        vocabulary=draw(st.integers(1, 60)),
        width=width,
        layers=draw(st.integers(1, 3)),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=head_dim,
        # wider than the stream and than all heads together, as in every real model
        feed_forward=3 * max(width, kv_heads * group * head_dim) // 2 + draw(st.integers(1, 40)),
        context=64,
        tied=draw(st.booleans()),
    )


def real_decoder(config, dtype=torch.float32):
    return Decoder(config, WITH_TABLE).requires_grad_(False).to(dtype)


def measured(model, batch, T, S, logits=1):
    """PyTorch's count of the most that one forward holds, its tensors' own cache aside."""
    cache = model.new_cache(batch, S + 2)
    ids = torch.zeros(batch, T, dtype=torch.long)
    with torch.inference_mode():
        if S > T:
            model.hidden(torch.zeros(batch, S - T, dtype=torch.long), cache)

        def forward():
            hidden = model.hidden(ids, cache)
            return model.head(hidden[:, -1] if logits == 1 else hidden[:, T - logits :])

        return peak_bytes(forward)


# weights and cache: the bytes of the tensors


@given(config=configs(), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_weights_are_the_tensors_of_a_decoder(config, dtype):
    held = sum(weight.nbytes for weight in real_decoder(config, dtype).parameters())
    assert weight_bytes(config, dtype.itemsize) == held


@given(config=configs(), batch=sizes, length=sizes)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_cache_is_the_tensors_of_a_cache(config, batch, length, dtype):
    cache = real_decoder(config, dtype).new_cache(batch, length)
    held = cache.keys.nbytes + cache.values.nbytes
    assert kv_cache_bytes(config, batch, length, dtype.itemsize) == held


def test_the_model_that_is_loaded(smollm2):
    held = sum(weight.nbytes for weight in smollm2.model.parameters())
    assert weight_bytes(SMOLLM2_135M, 4) == held == 538_060_032
    assert kv_cache_bytes(SMOLLM2_135M, 1, 1, 4) == 46_080


def test_the_primers_cache_in_bytes():
    """32 layers of 33,554,432 bytes: 1,073.7 MB, or 1 GiB."""
    assert kv_cache_bytes(preset("llama-7b"), 1, 2_048, 2) == 32 * 33_554_432 == 2**30
    assert round(weight_bytes(preset("llama-7b"), 2) / 1e9, 1) == 13.5


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_counted(name):
    config = preset(name)
    assert weight_bytes(config, 2) == 4 * weight_bytes(config, 0.5)
    assert kv_cache_bytes(config, 3, 5, 2) == 15 * kv_cache_bytes(config, 1, 1, 2) > 0


def test_half_a_byte_for_each_number_is_still_whole_bytes():
    odd = dataclasses.replace(TINY, vocabulary=2, width=1, layers=1)
    numbers = weight_bytes(odd, 1)
    assert numbers % 2 == 1
    assert weight_bytes(odd, 0.5) == (numbers + 1) // 2
    assert isinstance(kv_cache_bytes(TINY, 1, 1, 0.5), int)


def test_an_empty_text_takes_no_cache():
    assert kv_cache_bytes(TINY, 3, 0, 4) == kv_cache_bytes(TINY, 0, 3, 4) == 0


# activations: what PyTorch counts


@given(config=configs(), batch=st.integers(1, 3), T=st.integers(1, 12), old=st.integers(0, 12))
def test_activations_are_what_a_forward_holds_to_the_byte(config, batch, T, old):
    model, S = real_decoder(config), old + T
    for logits in {1, T}:
        predicted = activation_bytes(config, batch, T, S, 4, logits=logits)
        assert predicted == measured(model, batch, T, S, logits)


@pytest.mark.parametrize(
    ("batch", "T", "S"), [(1, 16, 16), (1, 200, 200), (2, 64, 64), (1, 64, 192), (1, 1, 100)]
)
def test_activations_of_the_model_that_is_loaded(smollm2, batch, T, S):
    found = measured(smollm2.model.with_parts(WITH_TABLE), batch, T, S)
    assert activation_bytes(SMOLLM2_135M, batch, T, S, 4) == found


def test_logits_of_every_position_of_the_model_that_is_loaded(smollm2):
    found = measured(smollm2.model, 1, 32, 32, logits=32)
    assert activation_bytes(SMOLLM2_135M, 1, 32, 32, 4, logits=32) == found
    assert found > 5 * activation_bytes(SMOLLM2_135M, 1, 32, 32, 4)


@pytest.mark.parametrize(
    ("batch", "T", "S"), [(1, 12, 12), (1, 512, 512), (2, 300, 1000), (1, 128, 2000), (1, 40, 3000)]
)
def test_without_the_table_they_are_bounded_nearly(batch, T, S):
    one_layer = dataclasses.replace(SMOLLM2_135M, layers=1, vocabulary=64)
    model = Decoder(one_layer).requires_grad_(False)
    found = measured(model, batch, T, S)
    predicted = activation_bytes(one_layer, batch, T, S, 4, table=False)
    assert found <= predicted < 1.1 * found
    if T > 12:
        assert predicted < activation_bytes(one_layer, batch, T, S, 4) / 2


def test_a_long_prompt_takes_less_than_a_quarter():
    one_layer = dataclasses.replace(SMOLLM2_135M, layers=1, vocabulary=64)
    found = measured(Decoder(one_layer).requires_grad_(False), 1, 1200, 1200)
    assert found < 0.25 * activation_bytes(one_layer, 1, 1200, 1200, 4)
    tiled, table = (activation_bytes(one_layer, 1, 4096, 4096, 4, table=t) for t in (False, True))
    assert tiled < 0.07 * table


@pytest.mark.parametrize("layers", [1, 7])
def test_layers_leave_nothing_behind(layers):
    deep = dataclasses.replace(TINY, layers=layers)
    assert activation_bytes(deep, 2, 9, 9, 4) == activation_bytes(TINY, 2, 9, 9, 4)


def test_the_largest_stage_decides():
    config = preset("smollm2-135m")
    largest = {
        (1, 1, 10): "head",  # one vector for each of 49,152 tokens
        (1, 100, 100): "feed_forward",
        (1, 1000, 1000): "attention",
    }
    for (batch, T, S), stage in largest.items():
        stages = activation_stages(config, batch, T, S, 4)
        assert max(stages, key=stages.__getitem__) == stage
        assert activation_bytes(config, batch, T, S, 4) == stages[stage]


def test_a_mask_is_written_out_where_heads_share():
    shared, own = TINY, dataclasses.replace(TINY, kv_heads=TINY.heads)
    assert mask_bytes(shared, 2, 3, 5) == 3 * 5 * (1 + 2 * 6)
    assert mask_bytes(own, 2, 3, 5) == 3 * 5
    assert mask_bytes(shared, 2, 1, 5) == 0


# all together


def test_memory_adds_up():
    config = preset("llama-3-8b")
    one = memory(config, 4, 1000, chunk=256)
    assert one.weights == weight_bytes(config, 2)
    assert one.kv_cache == kv_cache_bytes(config, 4, 1000, 2)
    assert one.activations == activation_bytes(config, 4, 256, 1000, 2)
    assert one.total == one.weights + one.kv_cache + one.activations
    assert Memory(1, 2, 3).total == 6


def test_memory_of_another_type_for_each_part():
    config = preset("llama-3-8b")
    small = memory(
        config,
        2,
        50,
        weight_bytes_per_number=0.5,
        cache_bytes_per_number=1,
        activation_bytes_per_number=4,
    )
    assert small.weights == weight_bytes(config, 0.5)
    assert small.kv_cache == kv_cache_bytes(config, 2, 50, 1)
    assert small.activations == activation_bytes(config, 2, 50, 50, 4)


def test_a_chunk_bounds_what_a_prefill_holds():
    config = preset("llama-7b")
    at_once, chunked = memory(config, 1, 2048), memory(config, 1, 2048, chunk=128)
    assert chunked.activations < at_once.activations / 10
    assert memory(config, 1, 100, chunk=128) == memory(config, 1, 100)
    assert memory(config, 1, 1).activations == activation_bytes(config, 1, 1, 1, 2)


def test_users_share_the_weights():
    """The primer multiplies everything by the number of users; the weights are there once."""
    config = preset("llama-7b")
    one, eight = memory(config, 1, 2048, chunk=128), memory(config, 8, 2048, chunk=128)
    assert eight.weights == one.weights
    assert eight.kv_cache == 8 * one.kv_cache
    assert eight.total < 3 * one.total


# what fits

rooms = st.integers(0, 10**6)


@given(config=configs(), room=rooms, length=st.integers(1, 200), reserve=st.integers(0, 1000))
@pytest.mark.parametrize("cache_size", [0.5, 1, 2, 4])
def test_the_largest_batch_fits_and_the_next_does_not(config, room, length, reserve, cache_size):
    def needed(batch):
        return weight_bytes(config, 2) + kv_cache_bytes(config, batch, length, cache_size)

    found = max_batch(config, room, length, 2, cache_size, reserve)
    assert needed(found + 1) + reserve > room
    assert needed(found) + reserve <= room or found == 0


@given(config=configs(), room=rooms, batch=st.integers(1, 50), reserve=st.integers(0, 1000))
@pytest.mark.parametrize("cache_size", [0.5, 1, 2, 4])
def test_the_longest_text_fits_and_the_next_does_not(config, room, batch, reserve, cache_size):
    def needed(length):
        return weight_bytes(config, 2) + kv_cache_bytes(config, batch, length, cache_size)

    found = max_length(config, room, batch, 2, cache_size, reserve)
    assert needed(found + 1) + reserve > room
    assert needed(found) + reserve <= room or found == 0


def test_nothing_fits_where_the_weights_do_not():
    config = preset("llama-3-70b")
    assert max_batch(config, 80e9, 1) == max_length(config, 80e9, 1) == 0
    assert max_batch(config, 80e9, 1000, weight_bytes_per_number=0.5) > 0


def test_what_is_exactly_enough_is_enough():
    room = weight_bytes(TINY, 2) + kv_cache_bytes(TINY, 3, 10, 2)
    assert max_batch(TINY, room, 10) == 3
    assert max_batch(TINY, room - 1, 10) == 2
    assert max_length(TINY, room, 3) == 10
    assert max_length(TINY, room, 3, reserve=1) == 9


# what is refused


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: weight_bytes(TINY, 0), "bytes_per_number is 0"),
        (lambda: weight_bytes(TINY, -2), "bytes_per_number is -2"),
        (lambda: weight_bytes(TINY, math.nan), "bytes_per_number is nan"),
        (lambda: weight_bytes(TINY, math.inf), "bytes_per_number is inf"),
        (lambda: weight_bytes(TINY, "bf16"), "bytes_per_number is 'bf16'"),
        (lambda: kv_cache_bytes(TINY, -1, 3, 2), "batch is -1"),
        (lambda: kv_cache_bytes(TINY, 1, 2.5, 2), "length is 2.5"),
        (lambda: kv_cache_bytes(TINY, True, 2, 2), "batch is True"),
        (lambda: activation_bytes(TINY, 0, 1, 1, 2), "batch is 0"),
        (lambda: activation_bytes(TINY, 1, 0, 1, 2), "T is 0"),
        (lambda: activation_bytes(TINY, 1, 5, 4, 2), "S is 4 and T is 5"),
        (lambda: activation_bytes(TINY, 1, 5, 5, 2, logits=6), "logits is 6 and T is 5"),
        (lambda: activation_bytes(TINY, 1, 5, 5, None), "bytes_per_number is None"),
        (lambda: memory(TINY, 0, 5), "batch is 0"),
        (lambda: memory(TINY, 1, 5, chunk=0), "chunk is 0"),
        (lambda: max_batch(TINY, -1, 5), "memory_bytes is -1"),
        (lambda: max_batch(TINY, 1e9, 0), "length is 0"),
        (lambda: max_batch(TINY, 1e9, 5, reserve=-1), "reserve is -1"),
        (lambda: max_length(TINY, math.nan, 5), "memory_bytes is nan"),
        (lambda: max_length(TINY, 1e9, 1.0), "batch is 1.0"),
    ],
)
def test_bad_values_are_refused_with_their_name(call, named):
    with pytest.raises(UserError, match=named):
        call()
