"""Llama and its relatives, hub folders and GGUF files alike: the logits of transformers."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from tiny_models import gguf_tensors, random_llama, save_folder, write_gguf
from tiny_relatives import FAMILIES, IDS, ORIGINAL, WINDOW, stretched

from decodeloop.checkpoints.hub_config import read_config, write_config
from decodeloop.decode import generate
from decodeloop.errors import UserError
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.loading import load
from decodeloop.model import TINY, RopeScaling
from decodeloop.model.config import beyond_llama
from decodeloop.serve import generate_batch


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    kind, changes = FAMILIES[request.param]
    model = random_llama(kind, initializer_range=0.2, **changes)
    return save_folder(tmp_path_factory.mktemp("family") / "m", model), model


def plain(source, **more):
    return load(source, device="cpu", compiled=False, **more).model


def assert_same_logits(ours, theirs):
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_logits_equal_those_of_transformers(family):
    folder, theirs = family
    assert_same_logits(plain(folder), theirs)


@torch.inference_mode()
def test_a_written_configuration_is_read_back(family, tmp_path):
    config = read_config(family[0])
    write_config(config, tmp_path, [2])
    assert read_config(tmp_path) == config


@torch.inference_mode()
def test_with_a_cache_one_token_at_a_time_and_in_batches_it_is_the_same(family):
    model = plain(family[0])
    scaling = model.config.rope_scaling
    if scaling and scaling.kind == "dynamic" and scaling.original_context < IDS.shape[1]:
        pytest.skip(
            "its keys were turned by the frequencies of a shorter text, as transformers' are"
        )
    whole, cache = model(IDS), model.new_cache(1, 48)
    pieces = torch.cat([model(some, cache) for some in IDS.split([7, 1, 1, 30, 1, 8], 1)], 1)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=0)
    prompts = [IDS[0, :20].tolist(), IDS[0, 3:9].tolist(), IDS[0, 5:6].tolist()]
    alone = [list(generate(model, torch.tensor([ids]), 8, eos_ids=())) for ids in prompts]
    together = generate_batch(model, prompts, 8, eos_ids=())
    assert [list(result.tokens) for result in together] == alone


@torch.inference_mode()
def test_int8_keeps_biases_and_norms(family):
    folder, theirs = family
    exact, ours = theirs(IDS).logits, plain(folder, dtype="int8")(IDS)
    if plain(folder).config.experts is None:
        assert (ours - exact).norm() < 0.1 * exact.norm()
    else:  # a token between two experts may go to the other one, and be another token from there on
        each = (ours - exact).norm(dim=-1) / exact.norm(dim=-1)
        assert each.median() < 0.1


@torch.inference_mode()
def test_kernels_follow_or_leave_it_to_pytorch_by_name(family):
    folder, theirs = family
    config = read_config(folder)
    if set(beyond_llama(config)) <= {"rope_scaling"} and "dynamic" not in repr(config):
        for dtype in ("fp32", "int8", "w8a8"):
            quick = load(folder, device="cpu", compiled=True, dtype=dtype).model
            assert isinstance(quick, FastDecoder)
            cache = quick.new_cache(1, 64)
            pieces = [quick(some, cache) for some in IDS.split([30, 1, 8, 9], 1)]
            exact, ours = theirs(IDS).logits, torch.cat(pieces, 1)
            assert (ours - exact).norm() < {"fp32": 1e-4}.get(dtype, 0.15) * exact.norm()
        return
    name = next(iter(beyond_llama(config)))
    with pytest.raises(UserError, match=f"compiled=True: kernels do not know .*{name}="):
        load(folder, device="cpu", compiled=True)
    with pytest.warns(UserWarning, match=f"kernels do not know .*{name}=.*plain PyTorch computes"):
        assert_same_logits(load(folder, device="cpu").model, theirs)


# GGUF


def llama3_divisors(model):
    """As llama.cpp's converter computes what it writes into rope_freqs.weight."""
    told, D = model.config.rope_parameters, 16
    low, high, old = told["low_freq_factor"], told["high_freq_factor"], told[ORIGINAL]
    divisors = []
    for frequency in (told["rope_theta"] ** -(i / D) for i in range(0, D, 2)):
        length = 2 * math.pi / frequency
        if length < old / high:
            divisors.append(1.0)
        elif length > old / low:
            divisors.append(told["factor"])
        else:
            smooth = (old / length - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / told["factor"] + smooth))
    assert len(set(divisors)) > 1
    return {"rope_freqs.weight": np.array(divisors, np.float32)}


GGUF = ["linear", "yarn", "llama3", "mistral", "qwen2", "qwen3", "smollm3", "explicit head_dim"]


@pytest.mark.parametrize("name", GGUF)
@torch.inference_mode()
def test_a_gguf_file_gives_the_logits_of_transformers(name, tmp_path):
    kind, changes = FAMILIES[name]
    model = random_llama(kind, initializer_range=0.2, **changes)

    def edit(writer):
        told = model.config.rope_parameters
        if told["rope_type"] in ("linear", "yarn"):
            writer.add_rope_scaling_type(gguf.RopeScalingType(told["rope_type"]))
            writer.add_rope_scaling_factor(told["factor"])
        if told["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(told[ORIGINAL])
        if kind == "mistral":
            writer.add_sliding_window(model.config.sliding_window)

    tensors = None
    if name == "llama3":
        tensors = gguf_tensors(model) | llama3_divisors(model)
    path = write_gguf(tmp_path / "m.gguf", model, tensors=tensors, edit=edit)
    assert_same_logits(plain(path), model)


@pytest.mark.parametrize(
    ("divisors", "message"),
    [
        ([1.0] * 7, "7 divisors: expected 8"),
        ([1.0] * 7 + [0.0], r"divisors\[7\] is 0.0"),
        ([math.nan] * 8, r"divisors\[0\] is nan"),
    ],
)
def test_divisors_that_do_not_fit_are_refused(divisors, message, tmp_path):
    model = random_llama()
    tensors = gguf_tensors(model) | {"rope_freqs.weight": np.array(divisors, np.float32)}
    path = write_gguf(tmp_path / "m.gguf", model, tensors=tensors)
    with pytest.raises(UserError, match=message):
        plain(path)


# what is refused


@pytest.mark.parametrize(
    ("kind", "changes", "without", "parts"),
    [
        ("llama", {"sliding_window": 16}, (), ["sliding_window = 16"]),
        ("qwen2", WINDOW | {"max_window_layers": 1}, ("layer_types",), ["max_window_layers = 1"]),
        (
            "qwen2",
            WINDOW | {"layer_types": ["full_attention", "sliding_attention"]},
            (),
            ["layer_ty"],
        ),
        ("qwen2", WINDOW | {"layer_types": "sliding_attention"}, (), ["layer_types"]),
        ("qwen2", {}, ("num_key_value_heads",), ["num_key_value_heads = None"]),
        ("qwen3", {"attention_bias": True}, (), ["attention_bias = True"]),
        ("qwen3", {}, ("head_dim",), ["head_dim = None"]),
        ("smollm3", {"use_sliding_window": True}, (), ["use_sliding_window = True"]),
        ("smollm3", {"no_rope_layers": [0, 1]}, (), ["no_rope_layers"]),
        ("smollm3", {"no_rope_layers": [1]}, (), ["no_rope_layers"]),
        ("smollm3", {"no_rope_layer_interval": 0}, ("no_rope_layers",), ["interval = 0"]),
        ("phi3", {}, (), ["'phi3'", "'llama', 'mistral', 'qwen2', 'qwen3', 'smollm3'"]),
        ("llama", stretched("longrope"), (), ["rope_parameters", "'longrope'"]),
        ("llama", stretched("llama3"), (), ["rope_parameters.low_freq_factor = None"]),
        (
            "llama",
            stretched("llama3", low_freq_factor=4, high_freq_factor=4),
            (),
            ["low is 4.0 and high 4.0"],
        ),
        ("llama", stretched("linear", short_factor=[1.0]), (), ["short_factor"]),
        ("llama", stretched("linear", factor=-1), (), ["factor is -1.0"]),
        ("llama", stretched("yarn", type="linear"), (), ["'yarn'", "'linear'"]),
        ("llama", stretched("dynamic", **{ORIGINAL: 7}), (), [f"{ORIGINAL} = 7"]),
        ("llama", stretched("yarn", mscale=1, mscale_all_dim=-9), (), ["attention is -"]),
    ],
)
def test_what_is_not_supported_is_refused_by_name(kind, changes, without, parts, tmp_path):
    family = kind if kind != "phi3" else "llama"
    folder = save_folder(tmp_path / "m", random_llama(family))
    path = folder / "config.json"
    raw = json.loads(path.read_text("utf-8")) | {"model_type": kind} | changes
    path.write_text(json.dumps({k: v for k, v in raw.items() if k not in without}), "utf-8")
    with pytest.raises(UserError) as error:
        load(folder, device="cpu")
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    "features",
    [
        {"qk_norm": True, "biases": "qkv"},
        {"window": 4, "no_rope_every": 2},
        {"rope_scaling": RopeScaling("divided", divisors=(1.0,) * 5)},
    ],
    ids=str,
)
def test_a_configuration_of_no_family_is_not_written(features, tmp_path):
    with pytest.raises(UserError, match=r"no family|has no place"):
        write_config(replace(TINY, **features), tmp_path, [2])
