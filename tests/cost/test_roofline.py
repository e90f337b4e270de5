"""The roofline: the longer of two times, against closed forms and by brute force."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.cost import (
    BYTES,
    Phase,
    Prediction,
    arithmetic_intensity,
    attainable,
    compute_bound_batch,
    compute_bound_length,
    decode_bytes,
    decode_flops,
    forward_bytes,
    forward_flops,
    phase,
    predict_phases,
    preset,
    ridge,
)
from decodeloop.errors import UserError
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

amounts = st.floats(1e-3, 1e18)
rates = st.floats(1e6, 1e16)
LLAMA_8B = preset("llama-3-8b")


@dataclass(frozen=True)
class Card:
    """A stand-in for an accelerator."""

    flops: dict
    bandwidth: float
    name: str = "a card"


A_CARD = Card({"bf16": 1e15, "fp32": 6e13, "int8": 2e15, "tf32": 5e14}, 3e12)


@st.composite
def configs(draw):
    """Random small models: shared KV heads, head dimensions that are not C / H."""
    size = st.integers(1, 40)
    G = draw(st.integers(1, 4))
    return ModelConfig(
        vocabulary=draw(size),
        width=draw(size),
        layers=draw(st.integers(1, 4)),
        heads=G * draw(st.integers(1, 4)),
        kv_heads=G,
        head_dim=2 * draw(st.integers(1, 8)),
        feed_forward=draw(size),
        context=64,
        tied=draw(st.booleans()),
    )


# the roof


@given(amounts, amounts, rates, rates)
def test_a_phase_takes_the_longer_of_its_two_times(flops, moved, peak, bandwidth):
    found = phase(flops, moved, peak, bandwidth)
    assert found.seconds == max(flops / peak, moved / bandwidth)
    assert found.bound == ("compute" if flops / peak >= moved / bandwidth else "memory")
    assert found.intensity == flops / moved


@given(amounts, amounts, rates, rates)
def test_the_roof_is_the_rate_of_a_phase(flops, moved, peak, bandwidth):
    found = phase(flops, moved, peak, bandwidth)
    roof = attainable(found.intensity, peak, bandwidth)
    assert math.isclose(flops / found.seconds, roof, rel_tol=1e-9)
    assert roof <= peak


@given(rates, rates)
def test_the_ridge_is_where_the_slope_meets_the_flat_roof(peak, bandwidth):
    corner = ridge(peak, bandwidth)
    assert math.isclose(attainable(corner, peak, bandwidth), peak, rel_tol=1e-12)
    assert math.isclose(attainable(corner / 2, peak, bandwidth), peak / 2, rel_tol=1e-12)
    assert attainable(2 * corner, peak, bandwidth) == peak


def test_a_tie_is_called_compute():
    assert phase(100.0, 20.0, 100.0, 20.0) == Phase(1.0, "compute", 5.0)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf])
def test_what_is_not_positive_is_refused(bad):
    for call in (
        lambda: ridge(bad, 1.0),
        lambda: ridge(1.0, bad),
        lambda: attainable(bad, 1.0, 1.0),
        lambda: attainable(1.0, bad, 1.0),
        lambda: attainable(1.0, 1.0, bad),
        lambda: phase(bad, 1.0, 1.0, 1.0),
        lambda: phase(1.0, bad, 1.0, 1.0),
        lambda: phase(1.0, 1.0, bad, 1.0),
        lambda: phase(1.0, 1.0, 1.0, bad),
        lambda: compute_bound_batch(TINY, 5, bad, 1.0, 2),
    ):
        with pytest.raises(UserError, match="expected a positive number"):
            call()


# intensity


def test_a_decode_step_does_two_flops_for_each_weight_that_it_reads():
    """At a context of one, nearly all bytes are weights: 2 FLOPs for each of 4 or 2 bytes."""
    assert arithmetic_intensity(SMOLLM2_135M, 1, 1, 1, 4) == pytest.approx(0.5, rel=2e-3)
    assert arithmetic_intensity(LLAMA_8B, 1, 1, 1, 2) == pytest.approx(1.0, rel=2e-3)


@settings(deadline=None)
@given(configs(), st.integers(1, 8), st.integers(1, 20), st.sampled_from([1, 2, 4]))
def test_intensity_is_flops_over_bytes(config, batch, T, size):
    flops = sum(forward_flops(config, batch, T, T).values())
    moved = forward_bytes(
        config, batch, T, T, weight_bytes_per_number=size, cache_bytes_per_number=size
    )
    found = arithmetic_intensity(config, batch, T, T, size)
    assert found == pytest.approx(flops / sum(moved.values()))
    assert arithmetic_intensity(config, batch, T, T, 2 * size) == pytest.approx(found / 2, rel=1e-9)


@settings(deadline=None)
@given(configs(), st.integers(1, 8), st.integers(1, 20))
def test_a_larger_batch_never_lowers_the_intensity(config, batch, length):
    one = arithmetic_intensity(config, batch, 1, length, 2)
    assert arithmetic_intensity(config, batch + 1, 1, length, 2) >= one * (1 - 1e-12)


# the batch that turns decode compute-bound


def margin(config, batch, length, peak, bandwidth, size):
    """Time to compute over time to move, of one decode step."""
    moved = decode_bytes(
        config, batch, length, weight_bytes_per_number=size, cache_bytes_per_number=size
    )
    return decode_flops(config, batch, length) / peak / (moved / bandwidth)


@settings(deadline=None)
@given(configs(), st.integers(1, 60), st.floats(0.01, 1e3), st.sampled_from([1, 2, 4]))
def test_the_batch_is_the_first_that_is_bound_by_computing(config, length, corner, size):
    peak, bandwidth = corner * 1e12, 1e12
    batch = compute_bound_batch(config, length, peak, bandwidth, size)
    if batch is None:
        assert margin(config, 10**12, length, peak, bandwidth, size) < 1 + 1e-9
        return
    assert margin(config, batch, length, peak, bandwidth, size) >= 1 - 1e-9
    if batch > 1:
        assert margin(config, batch - 1, length, peak, bandwidth, size) <= 1 + 1e-9


@settings(deadline=None)
@given(configs(), st.floats(0.01, 1e3), st.sampled_from([1, 2, 4]))
def test_beyond_the_longest_context_there_is_no_batch(config, corner, size):
    longest = compute_bound_length(config, corner, 1.0, size)
    if longest is None:
        assert compute_bound_batch(config, 100_000, corner, 1.0, size) is not None
        return
    if longest > 0:
        assert compute_bound_batch(config, longest, corner, 1.0, size) is not None
    assert compute_bound_batch(config, longest + 2, corner, 1.0, size) is None


def test_without_a_cache_to_speak_of_the_batch_is_the_ridge():
    """At 2 FLOPs and 2 bytes a weight, the batch must be as large as the ridge."""
    batch = compute_bound_batch(LLAMA_8B, 1, 300.0, 1.0, 2)
    assert batch == pytest.approx(300, rel=0.03)


def test_a_longer_context_needs_a_larger_batch_and_then_none_is_enough():
    lengths = [1, 128, 256, 384]
    batches = [compute_bound_batch(LLAMA_8B, S, 295.0, 1.0, 2) for S in lengths]
    assert None not in batches and batches == sorted(set(batches))
    assert compute_bound_batch(LLAMA_8B, 8_192, 295.0, 1.0, 2) is None


def test_attention_of_one_row_does_h_over_g_flops_for_each_byte_of_its_cache():
    """So a ridge below H / G (at 2 bytes) leaves no context at which computing can't win."""
    groups = LLAMA_8B.heads / LLAMA_8B.kv_heads
    assert compute_bound_length(LLAMA_8B, 0.9 * groups, 1.0, 2) is None
    assert compute_bound_length(LLAMA_8B, 1.1 * groups, 1.0, 2) > 10_000


# prediction


def test_a_prediction_is_the_two_phases():
    found = predict_phases(LLAMA_8B, A_CARD, batch=4, prompt=512, context=700)
    flops = sum(forward_flops(LLAMA_8B, 4, 512, 512).values())
    assert found.prefill.bound == "compute" and found.decode.bound == "memory"
    assert found.ttft_s == found.prefill.seconds == pytest.approx(flops / 1e15)
    moved = decode_bytes(LLAMA_8B, 4, 700, weight_bytes_per_number=2, cache_bytes_per_number=2)
    assert found.itl_s == found.decode.seconds == pytest.approx(moved / 3e12)
    assert found.tokens_per_second == pytest.approx(4 / found.itl_s)


def test_the_first_step_after_the_prompt_is_the_default():
    assert predict_phases(TINY, A_CARD, prompt=7) == predict_phases(
        TINY, A_CARD, prompt=7, context=8
    )


@pytest.mark.parametrize("dtype", ["bf16", "fp32", "int8", "tf32"])
def test_a_type_has_its_peak_and_its_bytes(dtype):
    size = 4 if dtype == "tf32" else BYTES[dtype]
    found = predict_phases(LLAMA_8B, A_CARD, prompt=4_096, dtype=dtype)
    flops = sum(forward_flops(LLAMA_8B, 1, 4_096, 4_096).values())
    assert found.ttft_s == pytest.approx(flops / A_CARD.flops[dtype])
    assert found.decode.intensity == pytest.approx(2 / size, rel=0.15)


def test_weights_may_be_stored_smaller_than_they_are_computed_with():
    plain = predict_phases(LLAMA_8B, A_CARD, prompt=16)
    small = predict_phases(LLAMA_8B, A_CARD, prompt=16, weight_bytes_per_number=0.5)
    assert isinstance(small, Prediction)
    assert plain.itl_s / small.itl_s == pytest.approx(4, rel=0.01)
    cache = predict_phases(LLAMA_8B, A_CARD, batch=64, prompt=8_000, cache_bytes_per_number=1)
    assert cache.itl_s < predict_phases(LLAMA_8B, A_CARD, batch=64, prompt=8_000).itl_s


def test_a_type_that_the_machine_lacks_is_refused_with_those_that_it_has():
    with pytest.raises(UserError, match=r"a card has no peak for 'fp8': expected one of bf16"):
        predict_phases(TINY, A_CARD, prompt=4, dtype="fp8")


@pytest.mark.parametrize("sizes", [{"batch": 0}, {"prompt": 0}, {"context": 0}])
def test_sizes_that_are_not_positive_are_refused(sizes):
    with pytest.raises(UserError):
        predict_phases(TINY, A_CARD, **({"prompt": 4} | sizes))
