"""A decoder out of weights by name, and the weights out of a decoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decodeloop.compress import decoder_over, plain_weights
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import Int8Linear, Int8Matrix
from decodeloop.model import TINY

IDS = torch.randint(TINY.vocabulary, (2, 9), generator=torch.Generator().manual_seed(1))


def test_taken_apart_and_put_together_it_computes_the_same_in_the_same_memory(decoders):
    for G, decoder in decoders.items():
        weights = plain_weights(decoder, "a test")
        twin = decoder_over(decoder.config, weights)
        assert torch.equal(twin(IDS), decoder(IDS))
        assert (twin.output.weight is twin.embedding.weight) == (G != 3)  # 3 is untied
        for name, weight in twin.state_dict().items():
            assert weight.data_ptr() == decoder.state_dict()[name].data_ptr(), name
        assert not any(weight.requires_grad for weight in twin.parameters())


def test_a_tied_head_is_the_embedding_whatever_stands_beside_it(decoders):
    weights = plain_weights(decoders[2], "a test")
    weights["output.weight"] = torch.zeros(1)
    assert torch.equal(decoder_over(decoders[2].config, weights)(IDS), decoders[2](IDS))
    del weights["output.weight"]
    assert torch.equal(decoder_over(decoders[2].config, weights)(IDS), decoders[2](IDS))


def test_weights_that_do_not_fit_are_refused(decoders):
    decoder = decoders[3]
    weights = plain_weights(decoder, "a test")
    wider = replace(decoder.config, feed_forward=80)
    with pytest.raises(ShapeError, match=r"gate\.weight of shape \(80, 48\).* has shape \(72, 48"):
        decoder_over(wider, weights)
    del weights["norm.weight"]
    with pytest.raises(ShapeError, match=r"norm\.weight of shape \(48,\).*it is missing"):
        decoder_over(decoder.config, weights)


def test_what_is_quantized_already_has_no_plain_weights(decoders):
    quantized = decoder_over(decoders[3].config, plain_weights(decoders[3], "a test"))
    quantized.output = Int8Linear(Int8Matrix(quantized.output.weight))
    with pytest.raises(UserError, match=r"^cut: .*type Int8Linear.*first, then quantize"):
        plain_weights(quantized, "cut")
