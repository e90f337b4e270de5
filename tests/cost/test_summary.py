import io
import json
import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from decodeloop.cost import PRESETS, accelerator, costs, preset
from decodeloop.cost.show import duration, show_costs, with_unit
from decodeloop.errors import UserError

A100 = accelerator("a100-80gb-sxm")


def test_the_primers_example_by_hand():
    found = costs(preset("llama-7b"), A100).as_dict()
    assert found["parameters"] == 6_738_415_616
    assert found["weight_bytes"] == 2 * 6_738_415_616
    assert found["kv_cache_bytes"] == 2 * 32 * 32 * 128 * 2048 * 2 == 2**30
    assert found["total_bytes"] == (
        found["weight_bytes"] + found["kv_cache_bytes"] + found["activation_bytes"]
    )
    # two FLOPs for each weight but those of the embedding and the norms, and the attention
    matrices = 6_738_415_616 - 32_000 * 4096 - 65 * 4096
    attention = 4 * 32 * 4096 * 2048
    assert found["decode_flops"] == 2 * matrices + attention
    # all weights but the table, of which one row is read; the cache, of which one row is written
    moved = 2 * (6_738_415_616 - 32_000 * 4096 + 4096) + 2**30
    assert found["decode_bytes"] == moved
    assert found["itl_s"] == pytest.approx(moved / 2.039e12)
    assert found["bound"] == {"prefill": "compute", "decode": "memory"}


def test_a_batch_shares_the_weights_and_nothing_else():
    one, eight = (costs(preset("llama-3-8b"), A100, batch=n).as_dict() for n in (1, 8))
    assert eight["weight_bytes"] == one["weight_bytes"]
    assert eight["kv_cache_bytes"] == 8 * one["kv_cache_bytes"]
    assert eight["decode_flops"] == 8 * one["decode_flops"]
    assert one["decode_bytes"] < eight["decode_bytes"] < 8 * one["decode_bytes"]
    assert eight["tokens_per_s"] > 4 * one["tokens_per_s"]


def test_smaller_weights_are_stored_and_not_computed_with():
    found = costs(preset("llama-7b"), A100, dtype="int4")
    assert (found.dtype, found.cache_dtype, found.compute_dtype) == ("int4", "bf16", "bf16")
    assert found.memory.weights == 6_738_415_616 // 2
    assert costs(preset("llama-7b"), accelerator("t4")).compute_dtype == "fp16"
    assert costs(preset("llama-7b"), A100, dtype="fp32").cache_dtype == "fp32"
    assert costs(preset("llama-7b"), A100, cache_dtype="int8").memory.kv_cache == 2**29


@pytest.mark.parametrize("name", ["fp16", "float16", "torch.float16", "half", torch.half, "FP16"])
def test_types_go_by_their_names_in_torch_too(name):
    assert costs(preset("gpt2"), A100, dtype=name) == costs(preset("gpt2"), A100, dtype="fp16")
    assert costs(preset("gpt2"), A100, cache_dtype=name).cache_dtype == "fp16"


def test_a_window_is_not_counted_as_if_all_were_seen():
    mistral = preset("mistral-7b")
    assert mistral.window == 4_096
    whole = costs(replace(mistral, window=None), A100, context=4_096)
    assert costs(mistral, A100, context=4_096).as_dict() == whole.as_dict()
    with pytest.raises(UserError, match=r"4097 positions, and a query of this model sees 4096"):
        costs(mistral, A100, context=4_097)


def test_defaults_follow_the_model():
    short = costs(preset("gpt2"), A100)
    assert (short.prompt, short.context) == (1024, 1024)
    assert costs(preset("gpt2"), A100, context=100).prompt == 100
    assert costs(preset("gpt2"), A100, prompt=7).prompt == 7


def test_a_chunked_prefill_holds_less():
    whole, chunked = (costs(preset("llama-7b"), A100, chunk=n) for n in (None, 128))
    assert chunked.memory.activations < whole.memory.activations / 10
    assert chunked.prefill_flops == whole.prefill_flops


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_all_costs_and_can_be_written(name):
    found = costs(PRESETS[name], A100)
    json.dumps(found.as_dict())
    assert found.parameters["embedding"] > 0
    assert 0 < found.times.itl_s <= found.times.ttft_s


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch is 0: expected a whole number from 1 up"),
        ({"context": -5}, "context is -5: expected a whole number from 1 up"),
        ({"prompt": 1.5}, "prompt is 1.5: expected a whole number from 1 up"),
        ({"dtype": "int3"}, "dtype is 'int3': expected one of fp32"),
        ({"cache_dtype": "fp7"}, "cache_dtype is 'fp7': expected one of fp32"),
        ({"prompt": 10, "context": 9}, "a prompt of 10 tokens is longer than the context of 9"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_bad_settings_get_a_sentence(options, message):
    with pytest.raises(UserError, match=message):
        costs(preset("gpt2"), A100, **options)


def test_a_part_without_the_type_says_so():
    with pytest.raises(UserError, match=r"has no peak for fp32 weights: it computes in bf16, int8"):
        costs(preset("gpt2"), accelerator("tpu-v4"), dtype="fp32")


def printed(found):
    out = io.StringIO()
    show_costs("some model", found, Console(file=out, width=120))
    return out.getvalue()


def test_what_is_shown_says_whether_it_fits():
    text = printed(costs(preset("llama-7b"), A100))
    assert "6,738,415,616 parameters" in text
    assert re.search(r"KV cache, bf16 +1,073,741,824 +1\.07 +1\.00", text)
    assert "it fits into 80 GB" in text
    text = printed(costs(preset("gpt3-175b"), A100))
    assert "it does not fit into 80 GB" in text
    assert "5 of them would hold it" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 B"), (1, "1 B"), (999, "999 B"), (999.6, "1 kB"), (1e9, "1 GB"), (5e19, "50000 PB")],
)
def test_units(value, text):
    assert with_unit(value, "B") == text


def test_durations():
    assert [duration(s) for s in (2.5, 0.00672, 1e-5)] == ["2.5 s", "6.72 ms", "10 µs"]
