"""Smoothing: the function stays, and outliers are gone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decodeloop.compress import largest_inputs, seeing_inputs, smooth, smoothed
from decodeloop.errors import ShapeError, UserError
from decodeloop.model import TINY, Decoder


@pytest.fixture
def spiky():
    """A decoder with an outlier channel in each norm, and in what each `down` reads."""
    decoder = Decoder(TINY).requires_grad_(False)
    for layer in decoder.layers:
        layer.attention_norm.weight[3] = 60.0
        layer.feed_forward_norm.weight[5] = 40.0
        layer.feed_forward.up.weight[2] *= 50.0
    return decoder


def texts(*lengths):
    return [torch.arange(n) * 11 % TINY.vocabulary for n in lengths]


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_the_function_stays(spiky, decoders, strength):
    (ids,) = texts(20)
    for decoder in (spiky, *decoders.values()):
        before = {name: weight.clone() for name, weight in decoder.state_dict().items()}
        twin = smoothed(decoder, texts(9, 17), strength)
        expected, found = decoder(ids[None]), twin(ids[None])
        assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
        for name, weight in decoder.state_dict().items():
            assert torch.equal(weight, before[name]), name


def test_outliers_are_gone(spiky):
    def spread(decoder):
        """By how much the largest channel exceeds the median one, for each product."""
        found = largest_inputs(decoder, texts(30))
        parts = ("query", "gate", "down")
        return [float(x.max() / x.median()) for name, x in found.items() if name.endswith(parts)]

    for before, after in zip(spread(spiky), spread(smoothed(spiky, texts(30))), strict=True):
        assert after < 0.6 * before


def test_largest_inputs_are_those_of_all_texts(spiky):
    found = largest_inputs(spiky, texts(5, 12))
    alone = [largest_inputs(spiky, [one]) for one in texts(5, 12)]
    assert len(found) == 7 * TINY.layers
    for name, largest in found.items():
        assert torch.allclose(largest, torch.maximum(*(one[name] for one in alone))), name
    first = spiky.layers[0]
    x = torch.nn.functional.rms_norm(
        spiky.embedding(texts(12)[0]), (TINY.width,), first.attention_norm.weight, TINY.norm_eps
    )
    alone = largest_inputs(spiky, texts(12))["layers.0.attention.query"]
    assert torch.allclose(alone, x.abs().amax(0), rtol=1e-5)


@given(st.integers(0, 99), st.floats(0, 1), st.booleans())
def test_a_product_stays_and_the_factors_are_those_of_the_paper(seed, strength, matrix):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(6, 4, generator=generator) if matrix else torch.randn(6)
    weights = [torch.randn(3, 6, generator=generator), torch.randn(5, 6, generator=generator)]
    largest = torch.rand(6, generator=generator) * 50 + 0.1
    divided, multiplied = smooth(source, weights, largest, strength)
    for before, after in zip(weights, multiplied, strict=True):
        torch.testing.assert_close(after @ divided, before @ source, rtol=1e-4, atol=1e-4)
        read = torch.cat(weights).abs().amax(0)
        factor = largest.double() ** strength / read.double() ** (1 - strength)
        torch.testing.assert_close((after / before).double(), factor.expand(after.shape), rtol=1e-4,
                                   atol=1e-6)  # fmt: skip


def test_channels_that_are_never_used_stay():
    weights = [torch.tensor([[2.0, 0.0, 4.0]])]
    divided, (multiplied,) = smooth(torch.ones(3), weights, torch.tensor([0.0, 9.0, 16.0]))
    assert divided.tolist() == [1.0, 1.0, 0.5]
    assert multiplied.tolist() == [[2.0, 0.0, 8.0]]


def test_what_is_seen_can_be_replaced_and_hooks_are_gone_afterwards(spiky):
    (ids,) = texts(7)
    before = spiky(ids[None])
    with pytest.raises(KeyError), seeing_inputs(spiky, lambda name, x: {}[name]):
        spiky(ids[None])
    with seeing_inputs(spiky, lambda name, x: torch.zeros_like(x)):
        nothing = spiky(ids[None])
    assert torch.equal(spiky(ids[None]), before)
    embedded = spiky.embedding(ids[None])
    normed = torch.nn.functional.rms_norm(embedded, (TINY.width,), spiky.norm.weight, TINY.norm_eps)
    torch.testing.assert_close(nothing, spiky.head(normed))


def test_bad_input(spiky):
    ok = (torch.ones(3), [torch.ones(2, 3)], torch.ones(3))
    for wrong in (
        (torch.ones(4), *ok[1:]),
        (ok[0], [torch.ones(3, 2)], ok[2]),
        (ok[0], [], ok[2]),
        (*ok[:2], torch.ones(3, 1)),
    ):
        with pytest.raises(ShapeError, match=r"expected \(C,\) or \(C, K\), \(R, C\) each"):
            smooth(*wrong)
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(UserError, match=r"expected a number from 0 to 1"):
            smooth(*ok, strength)
    for none in ([], [torch.zeros(0, dtype=torch.long)], [torch.ones(1, 3, dtype=torch.long)]):
        with pytest.raises(UserError, match=r"texts to calibrate with: .*at least one"):
            largest_inputs(spiky, none)
