from dataclasses import replace
from functools import partial

import pytest
import torch

from decodeloop.decode import generate
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels.decoder import FastDecoder
from decodeloop.model import TINY, Decoder, Parts
from decodeloop.model.variants import SharingKVCache, keep_layers, mean_pool_heads, pool_kv_heads

IDS = torch.tensor([[5, 40, 7, 7, 26, 1, 9, 12], [2, 33, 8, 15, 41, 2, 77, 11]])


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Decoder(replace(TINY, heads=6, kv_heads=6)).requires_grad_(False)


def test_heads_are_pooled_by_their_mean():
    weight = torch.arange(6 * 4 * 5.0).view(24, 5)  # six heads of four rows
    pooled = mean_pool_heads(weight, heads=6, groups=2)
    for row in range(4):
        torch.testing.assert_close(pooled[row], weight[[row, 4 + row, 8 + row]].mean(0))
        torch.testing.assert_close(pooled[4 + row], weight[[12 + row, 16 + row, 20 + row]].mean(0))
    assert torch.equal(mean_pool_heads(weight, 6, 6), weight)
    for heads, groups in ((5, 1), (6, 4), (0, 1), (6, 0)):
        with pytest.raises(ShapeError):
            mean_pool_heads(weight, heads, groups)


def test_pooling_heads_that_are_alike_changes_nothing(model):
    for layer in model.layers:
        for part in (layer.attention.key, layer.attention.value):
            alike = part.weight.view(2, 3, 10, -1)
            alike[:] = alike[:, :1].clone()
    expected = model(IDS)
    pooled = pool_kv_heads(model, 2)
    assert pooled.config.kv_heads == 2 and pooled.new_cache(1, 4).keys.shape[2] == 2
    torch.testing.assert_close(pooled(IDS), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(pool_kv_heads(model, 2, [1])(IDS), expected, atol=2e-5, rtol=0)


def test_pooling_some_layers_leaves_the_others_and_the_model_alone(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    twin = pool_kv_heads(model, 1, [1])
    assert twin.config == model.config and not torch.allclose(twin(IDS), model(IDS))
    assert twin.layers[0].attention.key.weight is model.layers[0].attention.key.weight
    key = twin.layers[1].attention.key.weight.view(6, 10, -1)
    torch.testing.assert_close(key[4], model.layers[1].attention.key.weight.view(6, 10, -1).mean(0))
    pool_kv_heads(model, 2), keep_layers(model, [0])
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert model.config.kv_heads == 6 and len(model.layers) == 3
    first = pool_kv_heads(model, 2, pool=lambda weight, heads, groups: weight[: 10 * groups])
    assert torch.equal(
        first.layers[2].attention.value.weight, model.layers[2].attention.value.weight[:20]
    )
    with pytest.raises(UserError, match="biases"):
        pool_kv_heads(Decoder(replace(TINY, biases="qkv")), 1)


def test_layers_are_left_out(model):
    less = keep_layers(model, [0, 2])
    one = Decoder(replace(model.config, layers=2)).requires_grad_(False)
    state = {k: v for k, v in model.state_dict().items() if "layers.1" not in k}
    one.load_state_dict({k.replace("layers.2", "layers.1"): v for k, v in state.items()})
    assert torch.equal(less(IDS), one(IDS))
    assert less.new_cache(1, 5).keys.shape[0] == 2
    compiled = keep_layers(FastDecoder(model), [0, 2])
    assert torch.equal(compiled(IDS), one(IDS))
    for layers in ([], [3], [-1]):
        with pytest.raises(UserError, match="expected some of 0 to 2"):
            keep_layers(model, layers)


def test_keys_and_values_are_shared_between_layers(model):
    for layer in (1, 2):  # as if both had the projections of layer 0, and its input
        model.layers[layer] = model.layers[0]
    sharing = model.with_parts(Parts(cache=partial(SharingKVCache, owners=(0, 0, 2))))
    cache = sharing.new_cache(2, 8)
    assert cache.keys.shape[0] == 2
    found = torch.cat([sharing.hidden(some, cache) for some in IDS.split([3, 1, 4], 1)], 1)
    whole = sharing.hidden(IDS, sharing.new_cache(2, 8))
    torch.testing.assert_close(found, whole, atol=2e-5, rtol=0)
    assert not torch.allclose(whole, model.hidden(IDS))
    none = model.with_parts(Parts(cache=partial(SharingKVCache, owners=(0, 1, 2))))
    assert torch.equal(
        none.hidden(IDS, none.new_cache(2, 8)), model.hidden(IDS, model.new_cache(2, 8))
    )
    list(generate(sharing, IDS[:1], 3, eos_ids=()))


def test_a_sharing_layer_attends_to_what_its_owner_stored():
    cache = SharingKVCache(TINY, 1, 4, owners=(0, 0, 2))
    k, v, other = (torch.randn(1, 2, 3, 10) for _ in range(3))
    stored = cache.append(0, k, v)
    for given, found in zip(stored, cache.append(1, other, other), strict=True):
        assert torch.equal(given, found)
    assert torch.equal(cache.append(2, other, other)[0], other)


@pytest.mark.parametrize("owners", [(0, 0), (0, 0, 1), (1, 1, 2), (0, 1, 3), (2, 1, 2)])
def test_owners_that_can_not_be_are_refused(owners):
    with pytest.raises(UserError, match=r"owners \["):
        SharingKVCache(TINY, 1, 4, owners=owners)
