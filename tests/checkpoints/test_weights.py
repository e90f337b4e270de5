"""Weights by name, and their way into a `Decoder`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from decodeloop.assembling import decoder_from
from decodeloop.checkpoints.folder import read_weights
from decodeloop.checkpoints.weights import hub_name
from decodeloop.errors import ModelFileError
from decodeloop.model import TINY, Decoder, ModelConfig

CPU = torch.device("cpu")


def weights_of(model) -> dict[str, torch.Tensor]:
    return {hub_name(name): tensor for name, tensor in model.state_dict().items()}


def test_names_are_those_of_transformers(tiny):
    theirs = tiny.llama(num_hidden_layers=TINY.layers, tie_word_embeddings=False)
    with torch.device("meta"):
        ours = Decoder(TINY)
    assert {hub_name(name) for name in ours.state_dict()} == set(theirs.state_dict())


def test_the_weights_are_the_very_memory_that_was_given(tiny_decoder):
    weights = weights_of(tiny_decoder)
    model = decoder_from(weights, TINY, "here", CPU, torch.float32)
    for name, parameter in model.named_parameters():
        assert parameter.data_ptr() == weights[hub_name(name)].data_ptr(), name


def test_a_model_made_from_weights_computes_as_the_one_they_come_from(tiny_decoder):
    model = decoder_from(weights_of(tiny_decoder), TINY, "here", CPU, torch.float32)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids), tiny_decoder(ids))


def test_a_model_made_from_weights_is_for_inference(tiny_decoder):
    model = decoder_from(weights_of(tiny_decoder), TINY, "here", CPU, torch.float32)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_tensors_that_no_layer_asks_for_are_left_out(tiny_decoder):
    weights = weights_of(tiny_decoder) | {"model.rotary_emb.inv_freq": torch.ones(5)}
    decoder_from(weights, TINY, "here", CPU, torch.float32)


@pytest.mark.parametrize("name", sorted(hub_name(n) for n in Decoder(TINY).state_dict()))
def test_every_tensor_is_missed_by_name(tiny_decoder, name):
    weights = weights_of(tiny_decoder)
    del weights[name]
    if name == "lm_head.weight":  # tied: it is never read
        decoder_from(weights, TINY, "here", CPU, torch.float32)
        return
    with pytest.raises(ModelFileError, match=rf"here lacks the tensor {name}: "):
        decoder_from(weights, TINY, "here", CPU, torch.float32)


def test_a_wrong_shape_names_the_tensor_and_both_shapes(tiny_decoder):
    weights = weights_of(tiny_decoder)
    weights["model.layers.1.self_attn.k_proj.weight"] = torch.ones(48, 20)
    with pytest.raises(ModelFileError, match=r"k_proj.weight has shape \(48, 20\).* \(20, 48\)"):
        decoder_from(weights, TINY, "here", CPU, torch.float32)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what of a process is mapped")
def test_reading_a_folder_maps_its_file_and_copies_nothing(tmp_path):
    def copied_bytes() -> int:
        status = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

    config = ModelConfig(1 << 17, 128, 1, 2, 1, 64, 64, 128)
    model = Decoder(config)
    size = model.embedding.weight.nbytes  # 64 MB
    weights = weights_of(model)
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    before = copied_bytes()
    mapped = decoder_from(read_weights(tmp_path, config), config, tmp_path, CPU, torch.float32)
    assert torch.equal(mapped.embedding.weight, model.embedding.weight)  # so that all of it is read
    assert copied_bytes() - before < size / 4
