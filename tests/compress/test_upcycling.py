from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from conftest import random_decoder
from decodeloop.compress import Recipe, routed_slices, train, upcycled
from decodeloop.errors import UserError
from decodeloop.model import TINY, Experts, mixture, sliced
from decodeloop.model.feed_forward import feed_forward

IDS = torch.tensor([[5, 3, 90, 7, 7, 41]])


@pytest.mark.parametrize("experts", [Experts(4, 2), Experts(3, 3), Experts(5, 1)])
@pytest.mark.parametrize("tied", [True, False])
def test_it_computes_the_same_whatever_its_routers_say(experts, tied):
    dense = random_decoder(replace(TINY, tied=tied))
    for seed in (0, 1):
        mixed = upcycled(dense, experts, seed)
        assert mixed.config == replace(dense.config, experts=experts)
        assert_close(mixed(IDS), dense(IDS), atol=1e-5, rtol=1e-4)


def test_routers_are_drawn_and_differ_by_layer_and_seed():
    dense = random_decoder(TINY)
    one, same, other = (upcycled(dense, Experts(4, 2), seed) for seed in (0, 0, 1))
    routers = [[layer.feed_forward.router.weight for layer in m.layers] for m in (one, same, other)]
    assert torch.equal(routers[0][0], routers[1][0])
    assert not torch.equal(routers[0][0], routers[2][0])
    assert not torch.equal(routers[0][0], routers[0][1])
    assert float(routers[0][0].std()) == pytest.approx(48**-0.5, rel=0.2)


def test_experts_have_memory_of_their_own_and_training_makes_them_differ():
    mixed = upcycled(random_decoder(TINY), Experts(4, 2))
    first, second = (mixed.layers[0].feed_forward.experts[n].gate.weight for n in (0, 1))
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()
    train(mixed, torch.arange(200) % 97, Recipe(steps=2, batch=2, length=16))
    assert not torch.equal(first, second)


def test_what_can_not_be_upcycled_is_refused():
    dense = random_decoder(TINY)
    with pytest.raises(UserError, match=r"normalised=False\): expected experts that tokens are"):
        upcycled(dense, Experts(4, 2, normalised=False))
    with pytest.raises(UserError, match="upcycled works on one feed-forward layer"):
        upcycled(upcycled(dense, Experts(4, 2)), Experts(2, 1))


# slices


@pytest.mark.parametrize("number", [1, 3, 6])
def test_all_slices_with_even_weights_are_the_dense_decoder(number):
    dense = random_decoder(TINY)
    mixed = routed_slices(dense, number, number)
    assert mixed.config.feed_forward * number == TINY.feed_forward
    for layer in mixed.layers:
        layer.feed_forward.router.weight.zero_()
    assert_close(mixed(IDS), dense(IDS), atol=1e-5, rtol=1e-4)


def test_a_few_slices_are_a_part_of_the_layer():
    dense = random_decoder(TINY)
    mixed = routed_slices(dense, 3, 1)
    layer, x = mixed.layers[1].feed_forward, torch.randn(4, 48)
    chosen = layer.router(x).argmax(-1)
    parts = torch.stack([feed_forward(x, one) for one in sliced(dense.layers[1].feed_forward, 3)])
    assert_close(mixture(x, layer), parts[chosen, torch.arange(4)])


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="72 channels can't be cut into 5 equal groups"):
        routed_slices(random_decoder(TINY), 5, 2)
    with pytest.raises(UserError, match="can't be sent to 4 of 3 experts"):
        routed_slices(random_decoder(TINY), 3, 4)
