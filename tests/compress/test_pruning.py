"""Which weights become zero, by brute force on small matrices; and what comes into a matrix."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from decodeloop.compress import (
    inputs_of,
    plain_weights,
    prune_magnitude,
    pruned,
    two_four,
    wanda,
    wanda_scores,
    zeros,
)
from decodeloop.errors import ShapeError, UserError
from decodeloop.kernels import fast

TEXTS = [torch.randint(97, (n,), generator=torch.Generator().manual_seed(n)) for n in (40, 31)]
SHARES = (0.0, 0.25, 0.5, 0.7, 1.0)


def best_subset(scores, kept):
    """Of all ways to keep so many numbers the one whose scores add up to the most."""
    ways = combinations(range(len(scores)), kept)
    return set(max(ways, key=lambda way: sum(scores[n] for n in way)))


@pytest.mark.parametrize("share", SHARES)
def test_magnitude_keeps_the_largest_of_the_whole_matrix(share):
    weight = torch.randn(3, 4)
    kept = best_subset(weight.abs().flatten().tolist(), 12 - int(share * 12))
    found = prune_magnitude(weight, share).flatten()
    for place, number in enumerate(weight.flatten()):
        assert found[place] == (number if place in kept else 0)


@pytest.mark.parametrize("share", SHARES)
def test_wanda_keeps_in_each_row_what_the_output_would_miss_most(share):
    """A row is one output, Σ w·x. The mean square by which it moves when one weight goes is
    w² · mean x²: the numbers whose loss adds up to the least go."""
    weight, inputs = torch.randn(4, 10), torch.randn(30, 10) * torch.logspace(-2, 2, 10)
    found = wanda(weight, inputs, share)
    for row, before in zip(found, weight, strict=True):
        lost = [
            float((x * w).square().mean()) ** 0.5 for x, w in zip(inputs.T, before, strict=True)
        ]
        kept = best_subset(lost, 10 - int(share * 10 + 1e-9))
        assert set(row.nonzero().flatten().tolist()) == kept
        assert torch.equal(row[list(kept)], before[list(kept)])


def test_two_of_four_is_the_best_that_there_is():
    weight, inputs = torch.randn(5, 12), torch.rand(8, 12) * torch.arange(1, 13)
    scores = wanda_scores(weight, inputs)
    found = two_four(weight, scores)
    for row in range(5):
        for start in range(0, 12, 4):
            kept = best_subset(scores[row, start : start + 4].tolist(), 2)
            part = found[row, start : start + 4]
            assert set(part.nonzero().flatten().tolist()) == kept
            assert part.count_nonzero() == 2
    assert torch.equal(found[found != 0], weight[found != 0])


def test_of_equal_ones_exactly_the_share_goes():
    same = torch.ones(6, 8)
    assert (prune_magnitude(same, 0.3) == 0).sum() == 14  # of 48
    assert ((wanda(same, same, 0.7) == 0).sum(1) == 5).all()
    assert ((two_four(same, same).unflatten(1, (2, 4)) == 0).sum(-1) == 2).all()


def test_what_is_no_number_does_not_come_back_as_one():
    """0 · inf would be NaN: what is cut is zero."""
    weight = torch.tensor([[float("inf"), 1.0, 2.0, 3.0]])
    assert two_four(weight, torch.tensor([[0.0, 1.0, 2.0, 3.0]])).tolist() == [[0, 0, 2, 3]]


def test_a_pruned_model_is_the_model_with_zeros_and_runs_compiled(decoders):
    decoder = decoders[3]
    inputs = inputs_of(decoder, TEXTS)
    before = {name: weight.clone() for name, weight in decoder.state_dict().items()}
    half = pruned(decoder, lambda name, weight: wanda(weight, inputs[name], 0.5))
    assert zeros(half) == 0.5
    assert zeros(decoder) == 0
    for name, weight in half.state_dict().items():
        cut = weight == 0
        assert cut.any() == (weight.ndim == 2 and name.startswith("layers.")), name
        assert torch.equal(weight, before[name].masked_fill(cut, 0)), name
        assert torch.equal(decoder.state_dict()[name], before[name]), name
    ids = TEXTS[0][None, :9]
    with torch.inference_mode():
        quick, cache = fast(half), half.new_cache(1, 9)
        found = torch.cat([quick(piece, cache) for piece in ids.split([7, 1, 1], 1)], 1)
        torch.testing.assert_close(found, half(ids), rtol=1e-4, atol=1e-4)


def test_inputs_are_what_the_matrices_are_multiplied_with(decoders):
    decoder = decoders[2]
    inputs = inputs_of(decoder, TEXTS)
    names = [n for n, w in plain_weights(decoder, "x").items() if w.ndim == 2 and "layers" in n]
    assert list(inputs) and set(inputs) == set(names)
    layer = decoder.layers[1]
    for part in ("feed_forward.down", "attention.output", "attention.key"):
        heard = []
        hook = layer.get_submodule(part).register_forward_hook(
            lambda _, args, out, heard=heard: heard.append((args[0][0], out[0]))
        )
        for ids in TEXTS:
            decoder.hidden(ids[None])
        hook.remove()
        x = inputs[f"layers.1.{part}.weight"]
        torch.testing.assert_close(x, torch.cat([before for before, _ in heard]))
        assert x.shape == (71, layer.get_submodule(part).in_features)
    one, other = (inputs[f"layers.0.attention.{part}.weight"] for part in ("query", "value"))
    assert one.data_ptr() == other.data_ptr()  # kept once


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_a_share_is_between_0_and_1(share):
    weight = torch.ones(2, 4)
    for cut in (prune_magnitude, lambda w, s: wanda(w, w, s)):
        with pytest.raises(UserError, match=r"share that is cut is .*from 0 to 1"):
            cut(weight, share)


def test_shapes_that_do_not_fit_are_named():
    weight = torch.ones(3, 8)
    with pytest.raises(ShapeError, match=r"\(3, 8\).*these are \(8, 3\)"):
        wanda(weight, torch.ones(8, 3), 0.5)
    with pytest.raises(ShapeError, match=r"a row of 6 numbers.*multiple of 4"):
        two_four(torch.ones(2, 6), torch.ones(2, 6))
    with pytest.raises(ShapeError, match=r"\(3, 8\) and the scores \(8, 3\)"):
        two_four(weight, torch.ones(8, 3))


def test_a_calibration_text_that_is_too_short_is_refused(decoders):
    for few in ([], [torch.arange(30), torch.arange(33)]):
        with pytest.raises(UserError, match=rf"have {sum(map(len, few))} tokens.*at least 64"):
            inputs_of(decoders[2], few)
