import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from decodeloop.decode import (
    Sampling,
    greedy,
    min_p,
    repetition_penalty,
    sample,
    temperature,
    top_k,
    top_p,
)
from decodeloop.errors import UserError

seeds = st.integers(0, 2**16)
shares = st.floats(0.01, 1.0)
positive = st.floats(0.1, 5.0)
NO_IDS = torch.zeros(1, 0, dtype=torch.long)

# Upper 0.1 % points of chi-square by degrees of freedom, NIST/SEMATECH e-Handbook of Statistical
# Methods, section 1.3.6.7.4, column 0.999.
CRITICAL = {2: 13.816, 5: 20.515, 7: 24.322}


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "sampler",
    [partial(top_p, p=0.99), partial(top_p, p=0.5), partial(min_p, p=0.02)],
    ids=lambda s: f"{s.func.__name__}-{s.keywords['p']}",
)
def test_what_half_precision_keeps_is_what_fp32_keeps(dtype, sampler):
    """In bf16 itself, of 128 nuclei of 0.99 there were 84 others."""
    logits = random_logits(0, 128, 64).to(dtype)
    kept = sampler(logits)
    assert kept.dtype == dtype
    assert torch.equal(kept.isfinite(), sampler(logits.float()).isfinite())
    assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])


def test_a_sampling_computes_in_fp32():
    logits = random_logits(1, 8, 64).bfloat16()
    ids = torch.arange(20).expand(8, 20)
    sampling = Sampling(0.7, top_k=30, top_p=0.9, min_p=0.01, repetition_penalty=1.3)
    assert torch.equal(sampling.process(logits, ids), sampling.process(logits.float(), ids))
    assert sampling.process(logits, ids).dtype == torch.float32
    assert sampling.process(logits.double(), ids).dtype == torch.float64


@pytest.mark.parametrize("t", [1e-6, 1e6])
@pytest.mark.parametrize("penalty", [1e-6, 1e6])
def test_the_ends_of_the_ranges_leave_something_to_draw_from(t, penalty):
    logits = 1e3 * random_logits(2, 4, 64)
    logits[:, 0] = 0
    chosen = Sampling(t, top_p=0.9, repetition_penalty=penalty).process(
        logits, torch.arange(9)[None]
    )
    assert chosen.softmax(-1).isfinite().all()


@pytest.mark.parametrize("value", [1e-300, 1e-7, 1e300, math.inf, math.nan, -1.0])
def test_what_fp32_cannot_divide_by_is_refused(value):
    with pytest.raises(UserError, match=r"temperature is .*from 0 \(greedy\) up"):
        Sampling(value)
    with pytest.raises(UserError, match=r"repetition penalty is .*from 1e-06 to 1000000"):
        Sampling(repetition_penalty=value)


# each sampler, against transformers' own


@given(seeds, positive)
def test_temperature_equals_transformers(seed, t):
    logits = random_logits(seed, 2, 20)
    assert_close(temperature(logits, t), TemperatureLogitsWarper(t)(NO_IDS, logits))


@given(seeds, st.integers(1, 30))
def test_top_k_equals_transformers_for_more_than_there_are_too(seed, k):
    logits = random_logits(seed, 2, 20)
    assert torch.equal(top_k(logits, k), TopKLogitsWarper(k)(NO_IDS, logits))


@given(seeds, shares)
def test_top_p_equals_transformers(seed, p):
    logits = random_logits(seed, 2, 20)
    assert torch.equal(top_p(logits, p), TopPLogitsWarper(p)(NO_IDS, logits))


@given(seeds, shares)
def test_min_p_equals_transformers(seed, p):
    logits = random_logits(seed, 2, 20)
    assert torch.equal(min_p(logits, p), MinPLogitsWarper(p)(NO_IDS, logits))


@given(seeds, positive, st.lists(st.integers(0, 19), min_size=1, max_size=8))
def test_repetition_penalty_equals_transformers(seed, penalty, seen):
    logits, ids = random_logits(seed, 2, 20), torch.tensor([seen, seen[::-1]])
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert_close(repetition_penalty(logits, ids, penalty), expected)


@given(seeds, positive, st.integers(1, 20), shares, shares, positive)
def test_they_are_applied_in_the_order_of_transformers(seed, t, k, p, least, penalty):
    logits, ids = random_logits(seed, 2, 20), torch.tensor([[3, 4, 3], [0, 19, 7]])
    expected = logits.clone()
    for theirs in (
        RepetitionPenaltyLogitsProcessor(penalty),
        TemperatureLogitsWarper(t),
        TopKLogitsWarper(k),
        TopPLogitsWarper(p),
        MinPLogitsWarper(least),
    ):
        expected = theirs(ids, expected)
    sampling = Sampling(t, k, p, least, penalty)
    assert_close(sampling.process(logits, ids), expected)


@pytest.mark.parametrize("scale", [1.0, 3.0, 8.0])
def test_on_a_real_vocabulary_they_keep_what_transformers_keeps(scale):
    logits = scale * random_logits(0, 2, 49_152) / 3
    for ours, theirs in (
        (top_k(logits, 40), TopKLogitsWarper(40)),
        (min_p(logits, 0.05), MinPLogitsWarper(0.05)),
    ):
        assert torch.equal(ours, theirs(NO_IDS, logits))
    # they sum from the worst token up, and round otherwise: the last token may differ
    mine, their = (
        torch.isfinite(x) for x in (top_p(logits, 0.9), TopPLogitsWarper(0.9)(NO_IDS, logits))
    )
    differ = logits.softmax(-1).masked_fill(mine == their, 0.0)
    assert differ.sum(-1).max() < 1e-4
    kept_mass = logits.double().softmax(-1).masked_fill(~mine, 0.0).sum(-1)
    assert (kept_mass > 0.9 - 1e-5).all()


# closed forms and edges

KNOWN = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def kept(logits: torch.Tensor) -> list[int]:
    return torch.isfinite(logits).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.05, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_token_that_crosses_p(p, expected):
    assert kept(top_p(KNOWN, p)) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0, [0, 1, 2, 3]), (0.3, [1, 2, 3]), (1.0, [1])])
def test_min_p_is_relative_to_the_best(p, expected):
    assert kept(min_p(KNOWN, p)) == expected


def test_the_order_of_temperature_and_top_p_matters():
    logits, ids = torch.tensor([0.5, 0.25, 0.15, 0.1]).log(), torch.tensor([0])
    assert kept(temperature(top_p(logits, 0.8), 0.5)) == [0, 1, 2]
    assert kept(top_p(temperature(logits, 0.5), 0.8)) == [0, 1]
    assert kept(Sampling(temperature=0.5, top_p=0.8).process(logits, ids)) == [0, 1]


def test_top_k_keeps_ties_of_the_last_kept():
    assert kept(top_k(torch.tensor([1.0, 3.0, 2.0, 2.0]), 2)) == [1, 2, 3]


def test_temperature_zero_keeps_the_best_alone():
    logits = random_logits(0, 3, 5)
    only = temperature(logits, 0.0)
    assert torch.isfinite(only).sum(-1).tolist() == [1, 1, 1]
    assert torch.equal(only.max(-1).values, logits.max(-1).values)


def test_what_is_kept_keeps_its_logit():
    logits = random_logits(0, 50)
    for sampler in (partial(top_k, k=5), partial(top_p, p=0.5), partial(min_p, p=0.1)):
        out = sampler(logits)
        assert 0 < len(kept(out)) < 50
        assert torch.equal(out[kept(out)], logits[kept(out)])


def test_what_was_out_before_stays_out():
    logits = torch.tensor([0.0, -math.inf, 1.0, -math.inf])
    ids = torch.tensor([1, 2])
    for out in (
        temperature(logits, 0.7),
        top_k(logits, 3),
        top_p(logits, 0.999),
        min_p(logits, 0.01),
        repetition_penalty(logits, ids, 1.5),
    ):
        assert kept(out) == [0, 2]


def test_a_token_seen_twice_is_penalised_once():
    logits = torch.tensor([4.0, -4.0, 1.0])
    penalised = repetition_penalty(logits, torch.tensor([0, 0, 1, 1]), 2.0)
    assert penalised.tolist() == [2.0, -8.0, 1.0]


def test_samplers_leave_their_input_as_it_is():
    logits = random_logits(0, 9)
    before = logits.clone()
    Sampling(0.7, 5, 0.9, 0.1, 1.3).process(logits, torch.tensor([1, 2]))
    temperature(logits, 0.0)
    assert torch.equal(logits, before)


# choosing


def test_greedy_takes_the_best_of_each_row():
    logits = torch.tensor([[[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]]])
    assert greedy(logits).tolist() == [[1, 0]]
    assert Sampling().choose(logits, NO_IDS).tolist() == [[1, 0]]


def test_greedy_with_a_penalty_takes_the_best_after_it():
    logits, ids = torch.tensor([[3.0, 2.0, -1.0]]), torch.tensor([[0, 0]])
    assert Sampling(repetition_penalty=2.0).choose(logits, ids).tolist() == [1]


def chi_square(draws: torch.Tensor, probabilities: torch.Tensor) -> float:
    expected = probabilities.double() * draws.numel()
    observed = torch.bincount(draws, minlength=len(probabilities))
    assert observed[expected == 0].sum() == 0
    return float(((observed - expected).square() / expected)[expected > 0].sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_draws_have_the_probabilities_of_softmax(seed):
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, 0.0, -0.5, -1.0, -2.0])
    draws = sample(logits.expand(40_000, 8), torch.Generator().manual_seed(seed))
    assert chi_square(draws, torch.softmax(logits, -1)) < CRITICAL[7]


def test_the_chi_square_test_notices_a_temperature_of_1_1():
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, 0.0, -0.5, -1.0, -2.0])
    draws = sample((logits / 1.1).expand(40_000, 8), torch.Generator().manual_seed(0))
    assert chi_square(draws, torch.softmax(logits, -1)) > CRITICAL[7]


def test_draws_of_a_sampling_have_the_probabilities_of_what_is_kept():
    sampling = Sampling(temperature=0.5, top_p=0.95)  # p² ∝ 1, 16, 4, 9: the last three are kept
    draws = sampling.choose(KNOWN.expand(40_000, 4), NO_IDS, torch.Generator().manual_seed(0))
    assert chi_square(draws, torch.tensor([0.0, 16 / 29, 4 / 29, 9 / 29])) < CRITICAL[2]


def test_draws_of_the_whole_chain_have_the_probabilities_of_transformers_chain():
    logits = torch.tensor([[2.0, 1.0, 0.5, 0.0, 0.25, -0.5, -1.0, 1.5]])
    ids = torch.tensor([[0, 5, 0]])
    exact = logits.clone()
    for theirs in (
        RepetitionPenaltyLogitsProcessor(1.3),
        TemperatureLogitsWarper(1.5),
        TopKLogitsWarper(6),
        TopPLogitsWarper(0.6),
        MinPLogitsWarper(0.1),
    ):
        exact = theirs(ids, exact)
    probabilities = exact[0].softmax(-1)
    assert int((probabilities > 0).sum()) == 3
    sampling = Sampling(1.5, 6, 0.6, 0.1, 1.3)
    generator = torch.Generator().manual_seed(0)
    draws = sampling.choose(logits.expand(40_000, 8), ids.expand(40_000, 3), generator)
    assert chi_square(draws, probabilities) < CRITICAL[2]


def test_at_temperature_zero_the_cuts_change_nothing():
    logits = random_logits(0, 5, 30)
    for p in (0.01, 0.5, 1.0):
        assert torch.equal(Sampling(0.0, 3, p, p).choose(logits, NO_IDS), greedy(logits))


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_rows_are_drawn_independently_each_from_its_own(shape):
    logits = random_logits(1, *shape, 6)
    draws = sample(logits.expand(8_000, *shape, 6), torch.Generator().manual_seed(0))
    for row, drawn in zip(logits.reshape(-1, 6), draws.reshape(8_000, -1).T, strict=True):
        assert chi_square(drawn, row.softmax(-1)) < CRITICAL[5]
    flat = draws.reshape(8_000, -1).double()
    together = torch.corrcoef(flat.T) - torch.eye(flat.shape[1], dtype=torch.double)
    assert together.abs().max() < 0.06  # five standard deviations of a correlation of 8,000


@pytest.mark.parametrize("draw", [sample, lambda x, g: Sampling(0.9).choose(x, NO_IDS, g)])
def test_the_same_seed_gives_the_same_draws_and_another_seed_others(draw):
    logits = random_logits(0, 100, 50)
    first, again, other = (draw(logits, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_draws_are_made_from_fp32_whatever_the_type(dtype):
    logits = random_logits(0, 200, 30).to(torch.bfloat16)  # the same numbers in every type
    expected = sample(logits.float(), torch.Generator().manual_seed(0))
    assert torch.equal(sample(logits.to(dtype), torch.Generator().manual_seed(0)), expected)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_one_token_is_drawn_for_each_row(shape):
    for choose in (sample, greedy, lambda x: Sampling(1.0).choose(x, NO_IDS)):
        tokens = choose(random_logits(0, *shape, 7))
        assert tokens.shape == shape
        assert tokens.dtype == torch.long


# bad input


@pytest.mark.parametrize(
    ("name", "function", "field", "bad"),
    [
        ("temperature", temperature, "temperature", [-0.1, -1, math.nan, math.inf]),
        ("top-k", top_k, "top_k", [0, -3, 1.5, math.nan, math.inf]),
        ("top-p", top_p, "top_p", [0.0, -0.1, 1.1, math.nan]),
        ("min-p", min_p, "min_p", [-0.1, 1.1, math.nan]),
        (
            "repetition penalty",
            lambda x, value: repetition_penalty(x, torch.tensor([0]), value),
            "repetition_penalty",
            [0.0, -1.0, math.nan, math.inf],
        ),
    ],
)
def test_a_value_outside_its_range_is_named_with_the_range(name, function, field, bad):
    for value in bad:
        with pytest.raises(UserError, match=rf"{name} is {value}: expected "):
            function(torch.zeros(4), value)
        with pytest.raises(UserError, match=rf"{name} is {value}: expected "):
            Sampling(**{"temperature": 1.0, field: value})


def test_a_whole_top_k_may_be_written_as_a_float():
    assert kept(top_k(KNOWN, 2.0)) == [1, 3]


def test_the_edges_of_each_range_are_inside_it():
    Sampling(0.0, 1, 1.0, 0.0, 1e-3)
    Sampling(temperature=5.0, min_p=1.0)
