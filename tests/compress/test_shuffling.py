"""The shuffled model: the same function, and no memory of old groups."""

from __future__ import annotations

import pytest
import torch

from decodeloop.compress import shuffled
from decodeloop.errors import UserError
from decodeloop.kernels import Int8Linear, Int8Matrix
from decodeloop.model import TINY, Decoder
from decodeloop.model.config import ModelConfig


def test_it_computes_the_same(decoders):
    ids = torch.randint(TINY.vocabulary, (2, 19))
    for G, decoder in decoders.items():
        expected = decoder(ids)
        twin = shuffled(decoder)
        torch.testing.assert_close(twin(ids), expected, rtol=1e-4, atol=1e-4)
        assert (twin.output.weight is twin.embedding.weight) == (G != 3)  # 3 is untied
        assert twin.config == decoder.config
        assert not any(weight.requires_grad for weight in twin.parameters())


def test_through_a_cache_too(decoders):
    twin = shuffled(decoders[2], seed=3)
    ids, cache = torch.randint(TINY.vocabulary, (1, 12)), twin.new_cache(1, 12)
    pieces = torch.cat([twin(piece, cache) for piece in ids.split(5, dim=1)], dim=1)
    torch.testing.assert_close(pieces, decoders[2](ids), rtol=1e-4, atol=1e-4)


def test_the_original_is_left_alone_and_every_matrix_is_in_another_order(decoders):
    decoder = decoders[3]
    before = {name: weight.clone() for name, weight in decoder.state_dict().items()}
    twin = shuffled(decoder)
    for name, weight in decoder.state_dict().items():
        assert torch.equal(weight, before[name]), name
        moved = twin.state_dict()[name]
        assert torch.equal(moved.flatten().sort().values, weight.flatten().sort().values), name
        assert not torch.equal(moved, weight), name


def test_a_seed_is_an_order(decoders):
    one, again, other = (shuffled(decoders[2], seed=seed).norm.weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


WIDE = ModelConfig(
    vocabulary=50,
    width=96,
    layers=1,
    heads=4,
    kv_heads=2,
    head_dim=64,
    feed_forward=128,
    context=32,
)


def error_of_groups(weight, size=32, levels=15):
    """The relative error of rounding each group of neighbours to its own 16 values."""
    groups = weight.reshape(-1, size).double()
    low = groups.amin(1, keepdim=True)
    step = (groups.amax(1, keepdim=True) - low) / levels
    rounded = ((groups - low) / step).round() * step + low
    return float((rounded - groups).norm() / groups.norm())


def test_nothing_is_left_of_groups_that_weights_were_quantized_in():
    """Weights that were rounded in groups of 32 lose nothing by it again; shuffled, they do."""
    decoder = Decoder(WIDE).requires_grad_(False)
    matrices = [name for name, weight in decoder.named_parameters() if weight.ndim == 2]
    for name in matrices:
        weight = decoder.get_parameter(name)
        groups = weight.reshape(-1, 32)
        low = groups.amin(1, keepdim=True)
        step = (groups.amax(1, keepdim=True) - low) / 15
        weight.copy_((((groups - low) / step).round() * step + low).view(weight.shape))
    twin = shuffled(decoder)
    for name in matrices:
        assert error_of_groups(decoder.get_parameter(name)) < 1e-6, name
        assert error_of_groups(twin.get_parameter(name)) > 0.02, name


def test_what_is_quantized_already_is_refused(decoders):
    decoder = shuffled(decoders[3])
    decoder.output = Int8Linear(Int8Matrix(decoder.output.weight))
    with pytest.raises(UserError, match=r"head is of type Int8Linear.*first, then quantize"):
        shuffled(decoder)
