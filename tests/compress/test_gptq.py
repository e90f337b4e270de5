"""GPTQ: against the paper's own, slower form, and against rounding to the nearest on new text."""

from __future__ import annotations

import pytest
import torch

from decodeloop.compress import (
    dequantize_groups,
    gptq,
    output_error,
    quantize_groups,
    seeing_inputs,
)
from decodeloop.compress.gptq import BLOCK
from decodeloop.compress.smoothing import read
from decodeloop.errors import ShapeError, UserError


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs_of(C, positions, seed=0):
    """Channels that go together: a few causes for many."""
    return drawn(seed, positions, C // 4) @ drawn(99, C // 4, C) + 0.3 * drawn(
        seed + 1, positions, C
    )


def one_at_a_time(weight, inputs, bits, group, damping=0.01):
    """Optimal brain surgery, as in section 3.1 there: after each column the inverse of what is left
    of H is computed anew, in float64."""
    n = 2 ** (bits - 1) - 1
    w, x = weight.double().clone(), inputs.double()
    H = x.T @ x
    H += damping * H.diag().mean() * torch.eye(len(H), dtype=torch.float64)
    whole, steps = torch.zeros_like(weight, dtype=torch.int8), []
    for c in range(weight.shape[1]):
        if c % group == 0:
            steps.append(w[:, c : c + group].abs().amax(1) / n)
        whole[:, c] = (w[:, c] / steps[-1]).round().clamp(-n, n).to(torch.int8)
        inverse = torch.linalg.inv(H[c:, c:])
        error = (w[:, c] - whole[:, c] * steps[-1]) / inverse[0, 0]
        w[:, c:] -= error[:, None] * inverse[0]
    return whole, torch.stack(steps, 1).float()


@pytest.mark.parametrize(("C", "group"), [(24, 8), (24, 24), (2 * BLOCK, 32), (2 * BLOCK, 4 * 32)])
def test_it_is_the_papers(C, group):
    weight, inputs = drawn(3, 5, C), inputs_of(C, 3 * C)
    whole, step = gptq(weight, inputs, 4, group)
    expected, expected_step = one_at_a_time(weight, inputs, 4, group)
    assert whole.dtype == torch.int8 and step.shape == (5, C // group)
    torch.testing.assert_close(step, expected_step, rtol=1e-3, atol=1e-5)
    assert float((whole != expected).float().mean()) < 0.01  # a tie may be rounded either way


def test_where_columns_have_nothing_in_common_it_rounds_to_the_nearest():
    weight = drawn(1, 6, 16)
    found, expected = gptq(weight, torch.eye(16).repeat(2, 1), 3, 8), quantize_groups(weight, 3, 8)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.fixture(scope="module")
def small():
    from decodeloop import load
    from decodeloop.quality import calibration, held_out, tokenized

    lm = load("small", compiled=False)
    texts = (tokenized(lm.tokenizer, kind("plays"), most=200) for kind in (calibration, held_out))
    return lm.model, [seen_in(lm.model, some[:12]) for some in texts]


def seen_in(model, texts):
    found = {}

    def see(name, x):
        found.setdefault(name, []).append(x.flatten(0, -2))
        return x

    with seeing_inputs(model, see):
        read(model, texts)
    return {name: torch.cat(rows) for name, rows in found.items()}


@pytest.mark.parametrize(
    "name", ["layers.0.attention.query", "layers.1.feed_forward.gate", "layers.2.feed_forward.down"]
)
def test_on_text_that_it_never_saw_the_output_is_nearer_and_the_weights_are_farther(small, name):
    model, (seen, strange) = small
    weight = model.get_submodule(name).weight
    nearest = dequantize_groups(*quantize_groups(weight, 3, 32))
    better = dequantize_groups(*gptq(weight, seen[name], 3, 32))
    assert output_error(weight, better, strange[name]) < 0.9 * output_error(
        weight, nearest, strange[name]
    )
    assert (better - weight).norm() > 1.1 * (nearest - weight).norm()


def test_columns_that_nothing_goes_into_are_zero():
    weight, inputs = drawn(1, 4, 8), inputs_of(8, 30)
    inputs[:, 3] = 0
    whole, _ = gptq(weight, inputs, 4, 4)
    assert whole[:, 3].tolist() == [0] * 4
    assert whole[:, 4:].abs().amax() > 3


def test_bad_input():
    weight, inputs = drawn(1, 4, 12), drawn(2, 30, 12)
    with pytest.raises(UserError, match=r"11 positions for 12 columns: expected at least 12"):
        gptq(weight, inputs[:11], 4, 4)
    with pytest.raises(UserError, match=r"gptq: 9 bits"):
        gptq(weight, inputs, 9, 4)
    with pytest.raises(UserError, match=r"gptq: groups of 5 .* 1, 2, 3, 4, 6, 12"):
        gptq(weight, inputs, 4, 5)
    for wrong in (inputs[:, :11], inputs[0]):
        with pytest.raises(ShapeError, match=r"expected \(R, C\) and \(N, C\)"):
            gptq(weight, wrong, 4, 4)
    for bad in (weight * torch.nan, weight / 0):
        with pytest.raises(UserError, match=r"infinite or no number"):
            gptq(bad, inputs, 4, 4)
    with pytest.raises(UserError, match=r"damping -1: expected"):
        gptq(weight, inputs, 4, 4, damping=-1)
    alike = inputs[:, :1].expand(30, 12)
    with pytest.raises(UserError, match=r"columns always go together; take a larger damping"):
        gptq(weight, alike, 4, 4, damping=0)
