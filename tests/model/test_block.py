import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from decodeloop.errors import ShapeError
from decodeloop.model import rms_norm, rope, rotary_angles, rotate, swiglu
from decodeloop.model.block import Linear

seeds = st.integers(0, 2**16)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# rms_norm


@given(seeds, st.integers(1, 9), st.sampled_from([(), (3,), (2, 3)]), st.floats(1e-8, 1.0))
def test_rms_norm_equals_pytorchs(seed, C, leading, eps):
    x, weight = random(seed, *leading, C), random(seed + 1, C)
    assert_close(rms_norm(x, weight, eps), F.rms_norm(x, (C,), weight, eps))


def test_rms_norm_in_closed_form():
    normed = rms_norm(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]), 0.5)
    assert_close(normed, torch.tensor([3.0, 8.0]) / math.sqrt(13.0))  # √(25/2 + 1/2), eps inside


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_narrow_type_is_kept_and_its_squares_do_not_overflow(dtype):
    x, weight = (300 * random(0, 4, 8)).to(dtype), random(1, 8).to(dtype)
    theirs = LlamaRMSNorm(8, 1e-5).to(dtype)
    theirs.weight.data = weight
    ours = rms_norm(x, weight, 1e-5)
    assert ours.dtype == dtype
    assert_close(ours, theirs(x).detach(), rtol=0, atol=0)


@pytest.mark.parametrize("weight", [(3,), (1,), (2, 4), ()])
def test_a_weight_of_another_width_is_named(weight):
    with pytest.raises(ShapeError) as error:
        rms_norm(torch.zeros(2, 4), torch.ones(weight), 1e-5)
    assert "x (2, 4) has 4 channels in its last axis" in str(error.value)
    assert f"weight {weight}" in str(error.value)


# swiglu


@given(seeds, st.integers(1, 5), st.integers(1, 5), st.sampled_from([(), (3,), (2, 3)]))
def test_swiglu_equals_transformers(seed, C, width, leading):
    config = LlamaConfig(hidden_size=C, num_attention_heads=1, head_dim=2, intermediate_size=width)
    theirs = LlamaMLP(config)
    weights = [p.weight.detach() for p in (theirs.gate_proj, theirs.up_proj, theirs.down_proj)]
    x = random(seed, *leading, C)
    assert_close(swiglu(x, *weights), theirs(x).detach())


def test_swiglu_in_closed_form():
    one = torch.ones(1, 1)
    # gate 2, up 3·2 = 6, down 5: 5 · 6 · 2 / (1 + e⁻²)
    got = swiglu(torch.tensor([2.0]), one, 3 * one, 5 * one)
    assert_close(got, torch.tensor([60.0 / (1.0 + math.exp(-2.0))]))


@pytest.mark.parametrize(
    ("w_gate", "w_up", "w_down", "message"),
    [
        (
            (6, 5),
            (6, 5),
            (4, 6),
            r"w_gate \(6, 5\).*\(F, C\) with C = 4, the last axis of x \(2, 4",
        ),
        ((6, 4), (7, 4), (4, 6), r"w_gate \(6, 4\) and w_up \(7, 4\) must both be \(F, C\)"),
        ((6, 4), (6, 4), (6, 4), r"w_down \(6, 4\) must be \(C, F\) = \(4, 6\)"),
        ((4,), (4,), (4,), r"w_gate \(4,\) and w_up \(4,\) must both be \(F, C\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(w_gate, w_up, w_down, message):
    with pytest.raises(ShapeError, match=message):
        swiglu(torch.zeros(2, 4), torch.zeros(w_gate), torch.zeros(w_up), torch.zeros(w_down))


# rope


def their_angles(positions: torch.Tensor, D: int, base: float) -> tuple[torch.Tensor, torch.Tensor]:
    config = LlamaConfig(
        hidden_size=D,
        num_attention_heads=1,
        head_dim=D,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    return LlamaRotaryEmbedding(config)(torch.zeros(1), positions)


@given(
    seeds,
    st.sampled_from([2, 4, 10, 64]),
    st.sampled_from([10.0, 1e4, 1e5]),
    st.lists(st.integers(0, 4000), min_size=3, max_size=3),
)
def test_rope_equals_transformers(seed, D, base, row):
    q, k = random(seed, 2, 6, 3, D), random(seed + 1, 2, 2, 3, D)
    positions = torch.tensor([row, row[::-1]])
    cos, sin = their_angles(positions, D, base)
    theirs = apply_rotary_pos_emb(q, k, cos, sin)
    for ours, expected in zip((q, k), theirs, strict=True):
        assert_close(rope(ours, positions, base), expected, rtol=1e-3, atol=1e-3)  # angles in fp32


def test_rope_by_hand():
    x = torch.tensor([1.0, 2.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    turned = rope(x, torch.tensor([3]), 100.0)  # pair (0, 2) turns by 3, pair (1, 3) by 3/√100
    expected = [math.cos(3), 2 * math.cos(0.3), math.sin(3), 2 * math.sin(0.3)]
    assert_close(turned.flatten(), torch.tensor(expected))


@given(seeds, st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_scores_depend_on_the_distance_alone(seed, i, j, shift):
    q, k = random(seed, 1, 1, 1, 16), random(seed + 1, 1, 1, 1, 16)

    def score(at_q: int, at_k: int) -> torch.Tensor:
        return (rope(q, torch.tensor([at_q]), 1e4) * rope(k, torch.tensor([at_k]), 1e4)).sum()

    assert_close(score(i, j), score(i + shift, j + shift), rtol=1e-3, atol=1e-3)


@given(seeds, st.integers(0, 8000))
def test_turning_keeps_the_length_and_position_zero_turns_nothing(seed, position):
    x = random(seed, 1, 2, 1, 8)
    turned = rope(x, torch.tensor([position]), 1e4)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rope(x, torch.tensor([0]), 1e4), x)


def test_each_row_of_a_batch_has_positions_of_its_own():
    x = random(0, 2, 3, 4, 8)
    positions = torch.tensor([[0, 1, 2, 3], [7, 8, 9, 10]])
    together = rope(x, positions, 1e4)
    for row in range(2):
        assert_close(together[row : row + 1], rope(x[row : row + 1], positions[row], 1e4))


@pytest.mark.parametrize(("positions", "shape"), [((5,), (5, 3)), ((2, 5), (2, 1, 5, 3))])
def test_angles_have_an_axis_for_the_heads_only_in_a_batch(positions, shape):
    cos, sin = rotary_angles(torch.zeros(positions), 6, 1e4)
    assert cos.shape == sin.shape == shape


def test_rotating_keeps_a_narrow_type():
    x = random(0, 1, 2, 3, 4).bfloat16()
    angles = rotary_angles(torch.arange(3), 4, 1e4)
    assert angles[0].dtype == torch.float32
    assert rotate(x, *angles).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("x", "positions", "message"),
    [
        ((1, 2, 3, 5), (3,), "head dimension 5 is odd.*pairs"),
        ((2, 3, 4), (3,), r"x \(2, 3, 4\) has 3 axes: expected \(B, H, T, D\)"),
        ((2, 6, 3, 4), (4,), r"positions \(4,\) don't fit 2 rows of 3 tokens.*\(3,\) or \(2, 3\)"),
        ((2, 6, 3, 4), (3, 3), r"positions \(3, 3\) don't fit 2 rows of 3 tokens"),
        ((2, 6, 3, 4), (), r"positions \(\) don't fit"),
    ],
)
def test_what_cannot_be_turned_is_named(x, positions, message):
    with pytest.raises(ShapeError, match=message):
        rope(torch.zeros(x), torch.zeros(positions), 1e4)


# weights


def test_on_the_meta_device_no_weights_are_drawn(monkeypatch):
    drawn = []
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda layer: drawn.append(layer))
    with torch.device("meta"):
        Linear(4, 5)
    assert not drawn
    on_cpu = Linear(4, 5)
    assert drawn == [on_cpu]
