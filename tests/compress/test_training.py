"""The short training: what it does to a tiny model, and that it does it twice."""

from __future__ import annotations

import math

import pytest
import torch

from decodeloop.compress.training import (
    Recipe,
    hard_loss,
    new_decoder,
    orthogonal,
    train,
    windows,
)
from decodeloop.errors import UserError
from decodeloop.model import TINY

TEXT = torch.arange(400) * 7 % 31  # each token says which comes next


def test_a_text_with_a_rule_is_learned():
    decoder = new_decoder(TINY)
    before = hard_loss(decoder, TEXT[None, :65]).item()
    trained = train(decoder, TEXT, Recipe(steps=80, batch=4, length=16))
    after = float(hard_loss(decoder, TEXT[None, :65]))
    assert trained is decoder
    assert before == pytest.approx(math.log(TINY.vocabulary), rel=0.1)
    assert after < 0.2 * before
    assert not decoder.training
    assert not any(
        weight.requires_grad or weight.grad is not None for weight in decoder.parameters()
    )
    assert decoder.output.weight is decoder.embedding.weight


def test_twice_is_the_same_and_another_seed_is_not():
    def weights(seed):
        recipe = Recipe(steps=3, batch=2, length=8, seed=seed)
        return torch.cat([w.flatten() for w in train(new_decoder(TINY), TEXT, recipe).parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_it_learns_by_the_functions_that_the_model_computes_with():
    """The operators that make it quick give the loss and the gradients of the plain ones."""
    plain, quick = new_decoder(TINY, seed=1), new_decoder(TINY, seed=1)
    batch = TEXT[None, :33]
    hard_loss(plain, batch).backward()
    seen = []

    def loss(decoder, some):
        seen.append(hard_loss(decoder, batch))
        return seen[0]

    gradients = {}

    def keep():
        gradients.update({n: w.grad.clone() for n, w in quick.named_parameters()})

    train(quick, TEXT, Recipe(steps=1, batch=1, length=32), loss, after_step=keep)
    torch.testing.assert_close(seen[0], hard_loss(plain, batch))
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-3, atol=1e-5)


def test_after_each_step_what_was_pruned_may_be_set_to_zero_again():
    decoder = new_decoder(TINY)
    weight = decoder.layers[0].feed_forward.up.weight
    mask = torch.rand_like(weight) < 0.5
    train(
        decoder,
        TEXT,
        Recipe(steps=3, batch=2, length=8),
        after_step=lambda: weight.mul_(mask),
    )
    assert torch.equal(weight == 0, ~mask)


def test_the_loss_is_that_of_the_tokens_that_came():
    decoder = new_decoder(TINY)
    batch = TEXT[:20].view(2, 10)
    expected = [
        -decoder(row[None, :-1])[0].log_softmax(-1)[place, row[place + 1]]
        for row in batch
        for place in range(9)
    ]
    mean = sum(x.item() for x in expected) / 18
    assert hard_loss(decoder, batch).item() == pytest.approx(mean, rel=1e-5)


def test_windows_begin_anywhere_and_end_inside():
    recipe = Recipe(steps=60, batch=5, length=8)
    found = list(windows(torch.arange(20), recipe))
    assert [batch.shape for batch in found] == [(5, 9)] * 60
    starts = torch.stack(found)[..., 0]
    assert {*starts.flatten().tolist()} == set(range(12))
    assert torch.equal(torch.stack(found), starts[..., None] + torch.arange(9))


def test_the_rate_rises_and_falls():
    rates = [Recipe(steps=100, rising=10, falling=0.5).rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:51] == [1.0] * 42
    assert rates[75] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.03


@pytest.mark.parametrize("shape", [(6, 6), (4, 30), (30, 4)])
def test_an_orthogonal_step_keeps_the_directions_and_evens_the_sizes(shape):
    matrix = torch.randn(shape)
    found = orthogonal(matrix)
    sizes = torch.linalg.svdvals(found)
    assert float(sizes.min()) > 0.3
    assert float(sizes.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.mT @ found @ v.mT
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), rtol=0, atol=0.02)


def test_new_weights_keep_the_size_of_what_goes_through():
    decoder = new_decoder(TINY)
    up = decoder.layers[1].feed_forward.up.weight
    assert up.std().item() == pytest.approx(TINY.width**-0.5, rel=0.05)
    down = decoder.layers[1].feed_forward.down.weight
    assert down.std().item() == pytest.approx(
        (TINY.feed_forward * 2 * TINY.layers) ** -0.5, rel=0.1
    )
    assert decoder.embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Recipe(steps=0), "0 steps .*at least one"),
        (lambda: train(new_decoder(TINY), TEXT[:64], Recipe(2)), r"\(64,\).*at least 65 tokens"),
        (lambda: next(windows(TEXT[None], Recipe(2))), r"\(1, 400\): expected \(N,\)"),
    ],
)
def test_what_can_not_be_trained_is_refused_in_one_sentence(call, said):
    with pytest.raises(UserError, match=said):
        call()
