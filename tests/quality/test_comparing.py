"""A model beside its original, against plain PyTorch on each text alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from decodeloop.decode import next_token_loss
from decodeloop.errors import UserError
from decodeloop.model import TINY, Decoder
from decodeloop.quality.comparing import Original, Quality, divergence


@pytest.fixture(scope="module")
def texts():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(TINY.vocabulary, (n,), generator=generator) for n in (9, 2, 30, 14, 5)]


@pytest.fixture
def pair(decoders):
    """A model, and one that was made of it: its matrices rounded to a few values."""
    original = decoders[2]
    changed = copy.deepcopy(original)
    for weight in changed.parameters():
        if weight.ndim == 2:
            step = weight.abs().max() / 7
            weight.copy_((weight / step).round() * step)
    return original, changed


def by_hand(original, changed, texts):
    """Loss, divergence and agreement of all predictions, in float64, each text alone."""
    losses, divergences, agreements = [], [], []
    for ids in texts:
        before, after = (m(ids[None])[0, :-1].double() for m in (original, changed))
        losses.append(F.cross_entropy(after, ids[1:], reduction="none"))
        p, q = before.softmax(-1), after.softmax(-1)
        divergences.append((p * (p / q).log()).sum(-1))
        agreements.append((p.argmax(-1) == q.argmax(-1)).double())
    return [torch.cat(x) for x in (losses, divergences, agreements)]


def test_the_figures_are_means_over_all_predictions(pair, texts):
    found = Original(pair[0], texts).compare(pair[1])
    losses, divergences, agreements = by_hand(*pair, texts)
    assert found.loss.value == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found.perplexity.value == pytest.approx(math.exp(losses.mean()), rel=1e-5)
    assert found.kl.value == pytest.approx(float(divergences.mean()), rel=1e-4)
    assert found.agreement.value == pytest.approx(float(agreements.mean()))
    assert 0 < found.agreement.value < 1
    for interval in (found.perplexity, found.kl, found.agreement):
        assert interval.low <= interval.value <= interval.high
        assert interval.low < interval.high


def test_the_loss_of_one_text_is_that_of_lesson_00(decoders, texts):
    quality = Original(decoders[2], texts).quality
    for ids, loss, n in zip(texts, quality.losses, quality.predictions, strict=True):
        assert n == len(ids) - 1
        expected = next_token_loss(decoders[2](ids[None]), ids[None])
        assert loss / n == pytest.approx(float(expected), rel=1e-5)


def test_a_model_is_no_distance_from_itself(decoders, texts):
    original = Original(decoders[2], texts)
    found = original.compare(decoders[2])
    assert found == original.quality
    assert (found.kl.value, found.agreement.value) == (0.0, 1.0)


def test_a_divergence_is_not_symmetric_and_the_original_comes_first():
    p, q = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log()
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert float(divergence(p, q)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(q, p)) != pytest.approx(expected, rel=0.1)


def test_through_a_cache_a_few_tokens_at_a_time_the_figures_are_the_same(pair, texts):
    whole = Original(pair[0], texts).compare(pair[1])
    steps = Original(pair[0], texts, chunk=2).compare(pair[1], chunk=1)
    assert steps.kl.value == pytest.approx(whole.kl.value, rel=1e-3)
    assert steps.perplexity.value == pytest.approx(whole.perplexity.value, rel=1e-4)


def test_two_models_are_compared_in_pairs_of_texts(pair, texts):
    original = Original(pair[0], texts)
    changed = original.compare(pair[1])
    ratio = changed.perplexity_over(original.quality)
    expected = changed.perplexity.value / original.quality.perplexity.value
    assert ratio.value == pytest.approx(expected)
    assert original.quality.perplexity_over(changed).value == pytest.approx(1 / expected)


def test_measured_on_other_texts_they_are_not_compared(decoders, texts):
    one, other = Original(decoders[2], texts), Original(decoders[2], texts[1:])
    with pytest.raises(UserError, match=r"different texts.*measure both on the same"):
        one.quality.perplexity_over(other.quality)


def test_another_vocabulary_is_refused(decoders, texts):
    other = Decoder(replace(TINY, vocabulary=120)).requires_grad_(False)
    with pytest.raises(UserError, match="vocabularies of 97 and 120 tokens"):
        Original(decoders[2], texts).compare(other)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_forecasts_are_no_numbers_is_refused(decoders, texts, value):
    broken = copy.deepcopy(decoders[2])
    broken.layers[1].feed_forward.up.weight[3, 4] = value
    with pytest.raises(UserError, match=r"text 1 are not numbers.*look at its weights"):
        Original(decoders[2], texts).compare(broken)
    with pytest.raises(UserError, match=r"text 1 are not numbers.*look at its weights"):
        _ = Original(broken, texts).quality


def test_as_a_dict_each_figure_has_its_ends():
    quality = Quality((2, 2), (1.0, 3.0), (0.5, 0.5), (1, 2))
    found = quality.as_dict()
    assert (found["texts"], found["predictions"]) == (2, 4)
    assert found["kl"] == {"value": 0.25, "low": 0.25, "high": 0.25}
    assert found["loss"] == {"value": 1.0, "low": 0.5, "high": 1.5}
    assert found["perplexity"]["high"] == pytest.approx(math.exp(1.5))


def test_on_a_gpu_nothing_meets_what_lies_elsewhere(fake_cuda_decoder):
    """Where no value is computed: the devices alone are held against each other."""
    decoder = fake_cuda_decoder(TINY)
    hidden = decoder.hidden(torch.zeros(2, 5, dtype=torch.long, device="cuda"))
    assert hidden.device.type == "cuda"
    assert decoder.head(hidden).cpu().device.type == "cpu"
