"""Llama's relatives where they meet what was built for Llama: exports, fewer bits, other caches."""

from __future__ import annotations

from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from tiny_models import gguf_tensors, random_llama, save_folder, write_gguf
from tiny_relatives import (
    FAMILIES,
    IDS,
    LLAMA3,
    MIXTRAL,
    ORIGINAL,
    QWEN3_MOE,
    WINDOW,
    stretched,
)
from transformers import AutoModelForCausalLM

from decodeloop.checkpoints.gguf_writing import architecture_of, unusual
from decodeloop.compress import QuantizedKVCache
from decodeloop.errors import UserError
from decodeloop.exporting import export
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.kernels.known import not_in_kernels
from decodeloop.loading import load
from decodeloop.model import TINY, RopeScaling

RELATIVES = {
    "llama3": ("llama", LLAMA3),
    "yarn": ("llama", stretched("yarn", **{ORIGINAL: 24}, beta_fast=4, beta_slow=2)),
    "mistral": ("mistral", {"sliding_window": 5}),
    "qwen2": ("qwen2", stretched("linear")),
    "qwen2, window": ("qwen2", WINDOW),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": False}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5}),
    "mixtral": MIXTRAL,
    "qwen3_moe": QWEN3_MOE,
}


@pytest.fixture(scope="module", params=RELATIVES)
def relative(request, tmp_path_factory):
    kind, changes = RELATIVES[request.param]
    model = random_llama(kind, initializer_range=0.2, **changes)
    return save_folder(tmp_path_factory.mktemp("relative") / "m", model), model


def plain(source, **more):
    return load(source, device="cpu", compiled=False, **more).model


def error(ours, theirs):
    """The norm of the difference, as a part of the norm."""
    return float((ours - theirs).norm() / theirs.norm())


def error_of_most(ours, theirs):
    """The same of the median token: with experts, one that is rounded may go to another expert."""
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).median())


def in_pieces(model, cache):
    return torch.cat([model(some, cache) for some in IDS.split([7, 1, 1, 30, 1, 8], 1)], 1)


@torch.inference_mode()
def test_a_folder_that_is_exported_is_the_same_model_to_us_and_to_transformers(relative, tmp_path):
    folder, theirs = relative
    made = export(folder, tmp_path / "made")
    exact = plain(folder)
    assert plain(made).config == exact.config
    assert torch.equal(plain(made)(IDS), exact(IDS))
    again = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32).eval()
    assert type(again) is type(theirs)
    assert torch.equal(again(IDS).logits, theirs(IDS).logits)


@torch.inference_mode()
def test_its_channels_in_another_order_are_the_same_function(relative, tmp_path):
    folder, _ = relative
    made = export(folder, tmp_path / "made", reordered=True)
    assert error(plain(made)(IDS), plain(folder)(IDS)) < 1e-4


@torch.inference_mode()
def test_a_gguf_file_is_what_llama_cpp_would_have_or_is_refused_by_name(relative, tmp_path):
    folder, theirs = relative
    config = plain(folder).config
    if config.window is not None or config.experts is not None:
        with pytest.raises(
            UserError, match=r"a model with .*(window|experts)=.*: llama.cpp .*export a folder"
        ):
            export(folder, tmp_path / "m.gguf")
        assert not list(tmp_path.iterdir())
        return
    path = export(folder, tmp_path / "m.gguf")
    assert error(plain(path)(IDS), theirs(IDS).logits) < 1e-5
    expected = gguf_tensors(theirs)
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    assert set(found) - set(expected) <= {"rope_freqs.weight"}
    for name, array in expected.items():
        assert np.array_equal(found[name].reshape(array.shape), array), name
    if config.rope_scaling is None:  # its header has the kind of the one that transformers gave
        reference = gguf.GGUFReader(write_gguf(tmp_path / "reference.gguf", theirs))
        kinds = [
            r.fields["general.architecture"].contents() for r in (reference, gguf.GGUFReader(path))
        ]
        assert kinds[0] == kinds[1]
    rounded = plain(export(folder, tmp_path / "q.gguf", "q8_0"))
    assert error(rounded(IDS), theirs(IDS).logits) < 0.1


def test_what_a_gguf_file_can_not_say_is_refused_by_name():
    assert architecture_of(replace(TINY, rope_scaling=RopeScaling("linear", 2.0))) == "llama"
    for features in (
        {"rope_scaling": RopeScaling("dynamic", 2.0, 64)},
        {"rope_scaling": RopeScaling("yarn", 2.0, 64)},  # whose queries are not made larger
        {"rope_scaling": RopeScaling("llama3", 2.0, 64), "biases": "qkv"},
        {"no_rope_every": 3},
        {"qk_norm": True, "biases": "qkv"},
    ):
        with pytest.raises(UserError, match=f"a model with .*{next(iter(features))}="):
            architecture_of(replace(TINY, **features))
    usual = RopeScaling("yarn", 4.0, 64, attention=1.138629436)
    assert not unusual(usual)
    assert unusual(replace(usual, truncate=False))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@torch.inference_mode()
def test_a_quantized_folder_comes_back_with_its_biases_and_norms(relative, tmp_path, dtype):
    folder, _ = relative
    made = export(folder, tmp_path / dtype, dtype)
    again, whole, exact = plain(made), plain(made, dtype="fp32"), plain(folder)
    assert torch.equal(again(IDS), plain(folder, dtype=dtype)(IDS))
    rounded = {"int8": 0.02, "int4": 0.15}[dtype]
    for (name, one), (_, other) in zip(
        whole.state_dict().items(), exact.state_dict().items(), strict=True
    ):
        assert error(one, other) < (rounded if one.ndim == 2 else 1e-9), name
    # of the same numbers; with int4 inputs are rounded too
    far = error_of_most if exact.config.experts else error
    assert far(again(IDS), whole(IDS)) < {"int8": 0.03, "int4": 0.2}[dtype]


@pytest.mark.parametrize("dtype", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("cache_dtype", [None, "int8", "int4"])
@torch.inference_mode()
def test_caches_in_fewer_bits_change_little_and_kernels_nothing(relative, dtype, cache_dtype):
    folder, _ = relative
    model = plain(folder, dtype=dtype, cache_dtype=cache_dtype)
    cache = model.new_cache(1, 64)
    assert isinstance(cache, QuantizedKVCache) == (cache_dtype is not None)
    exact, pieces = model(IDS), in_pieces(model, cache)
    # where inputs are rounded too, a sum in another order may become another whole number
    alike = 0.02 if dtype == "int4" else 1e-5
    far = error_of_most if model.config.experts else error
    assert far(pieces, exact) < {None: alike, "int8": 0.1, "int4": 0.3}[cache_dtype]
    if not not_in_kernels(model.config):
        quick = load(folder, device="cpu", compiled=True, dtype=dtype, cache_dtype=cache_dtype)
        assert isinstance(quick.model, FastDecoder)
        found = in_pieces(quick.model, quick.model.new_cache(1, 64))
        assert error(found, pieces) < (1e-4 if (dtype, cache_dtype) == ("fp32", None) else 0.05)


def test_kernels_are_refused_by_name_with_any_bits(relative):
    folder, _ = relative
    unknown = not_in_kernels(plain(folder).config)
    for more in ({"dtype": "int4"}, {"cache_dtype": "int8"}):
        if unknown:
            with pytest.raises(UserError, match=r"compiled=True: kernels do not know"):
                load(folder, device="cpu", compiled=True, **more)
            with pytest.warns(UserWarning, match=r"kernels do not know .*plain PyTorch computes"):
                load(folder, device="cpu", **more)


def test_the_families_here_are_those_that_are_read():
    assert {kind for kind, _ in RELATIVES.values()} == {kind for kind, _ in FAMILIES.values()}
