import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from decodeloop.decode import (
    accept_or_replace,
    acceptance_probability,
    best_k,
    count_accepted,
    expected_tokens,
    residual,
    speed_up,
)
from decodeloop.errors import ShapeError, UserError

CHI_SQUARE = 24.322  # its upper 0.1 % point at 7 degrees of freedom (NIST/SEMATECH, 1.3.6.7.4)
COSTS = [1.0, 1.2, 1.5, 1.7, 2.2]
probabilities = st.floats(0, 1)


def pair(seed: int, V: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Two distributions in float64, either of them with tokens that it never gives."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(2):
        logits = 2 * torch.randn(V, generator=generator, dtype=torch.float64)
        out = torch.rand(V, generator=generator) < 0.25
        out[int(logits.argmax())] = False
        made.append(logits.masked_fill(out, -math.inf).softmax(-1))
    return made[0], made[1]


# one token


@pytest.mark.parametrize("seed", range(200))
def test_what_comes_out_is_distributed_as_the_model_has_it(seed):
    """Enumerated, not drawn: each drafted token, times what comes in its place."""
    p, q = pair(seed)
    stays = acceptance_probability(p, q)
    came = q * stays + (1 - (q * stays).sum()) * residual(p, q)
    assert_close(came, p, rtol=0, atol=1e-12)
    assert_close((q * stays).sum(), torch.minimum(p, q).sum(), rtol=0, atol=1e-12)


def test_a_token_stays_with_p_over_q_and_one_that_nobody_draws_does_not():
    p = torch.tensor([0.2, 0.3, 0.5, 0.0, 0.0])
    q = torch.tensor([0.4, 0.3, 0.0, 0.3, 0.0])
    assert acceptance_probability(p, q).tolist() == pytest.approx([0.5, 1.0, 1.0, 0.0, 0.0])
    assert residual(p, q).tolist() == pytest.approx([0.0, 0.0, 1.0, 0.0, 0.0])


def test_the_residual_of_two_alike_is_what_they_are():
    p = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    assert torch.equal(residual(p, p), p)
    assert torch.equal(acceptance_probability(p, p), torch.tensor([[1.0, 1.0], [1.0, 0.0]]))


@pytest.mark.parametrize("way", ["drawn from q", "sure"])
def test_drawn_tokens_have_the_distribution_of_the_model(way):
    p, q = (x.float() for x in pair(1, V=8))
    p, q = (p + 0.01) / 1.08, (q + 0.01) / 1.08
    generator, n = torch.Generator().manual_seed(0), 20_000
    if way == "drawn from q":
        drafted = torch.multinomial(q, n, replacement=True, generator=generator).tolist()
    else:
        drafted = [int(q.argmax())] * n
    given_q = q if way == "drawn from q" else None
    counts, accepted = torch.zeros(8), 0
    for token in drafted:
        came, stays = accept_or_replace(p, given_q, token, generator)
        counts[came] += 1
        accepted += stays
        assert not stays or came == token
    assert float(((counts - n * p) ** 2 / (n * p)).sum()) < CHI_SQUARE
    expected = float(torch.minimum(p, q).sum() if given_q is not None else p[drafted[0]])
    assert accepted / n == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("wrong", ["drawn anew from the model", "exchanged", "only the best stays"])
def test_the_same_count_tells_wrong_rules_apart(wrong):
    """So that the test above can fail."""
    p, q = (x.float() for x in pair(1, V=8))
    p, q = (p + 0.01) / 1.08, (q + 0.01) / 1.08
    generator, n = torch.Generator().manual_seed(0), 20_000
    counts = torch.zeros(8)
    for token in torch.multinomial(q, n, replacement=True, generator=generator).tolist():
        stays = {
            "drawn anew from the model": acceptance_probability(p, q)[token],
            "exchanged": acceptance_probability(q, p)[token],
            "only the best stays": float(token == int(p.argmax())),
        }[wrong]
        other = residual(p, q) if wrong == "exchanged" else p
        keep = torch.rand((), generator=generator) < stays
        counts[token if keep else int(torch.multinomial(other, 1, generator=generator))] += 1
    assert float(((counts - n * p) ** 2 / (n * p)).sum()) > 2 * CHI_SQUARE


@pytest.mark.parametrize("function", [acceptance_probability, residual])
@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 3), (3,)), ((), ())])
def test_the_two_are_of_one_shape(function, shapes):
    with pytest.raises(ShapeError, match=r"both \(\.\.\., V\)"):
        function(*(torch.zeros(shape) for shape in shapes))


# counting


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), min_size=6))
def test_accepted_are_those_before_the_first_that_is_not_the_best(drafted, best):
    count = count_accepted(drafted, best)
    assert drafted[:count] == best[:count]
    assert count == len(drafted) or drafted[count] != best[count]


def test_a_best_token_is_needed_for_each_drafted_one():
    with pytest.raises(UserError, match="2 drafted tokens and 1 best ones"):
        count_accepted([1, 2], [1])


# what it is worth


@pytest.mark.parametrize(("alpha", "k"), list(product([0.0, 0.3, 0.9, 1.0], range(5))))
def test_expected_tokens_are_those_of_all_outcomes(alpha, k):
    """Enumerated: each of k coins says whether a token stays, if it comes to that."""
    total = 0.0
    for coins in product([True, False], repeat=k):
        chance = math.prod(alpha if coin else 1 - alpha for coin in coins)
        total += chance * (1 + count_accepted([1] * k, [int(c) for c in coins] + [0]))
    assert expected_tokens(alpha, k) == pytest.approx(total)


def test_near_one_nothing_is_lost():
    assert expected_tokens(1 - 1e-12, 7) == pytest.approx(8.0, rel=1e-3)


@given(probabilities, st.floats(0, 0.5))
def test_no_other_k_is_better_and_no_smaller_one_as_good(alpha, cost):
    k = best_k(alpha, COSTS, cost)
    gains = [speed_up(alpha, other, COSTS, cost) for other in range(len(COSTS))]
    assert gains[k] == max(gains)
    assert all(gain < gains[k] for gain in gains[:k])
    assert gains[0] == 1.0


def test_what_steps_cost_decides():
    assert best_k(1.0, COSTS) == 3  # 4 tokens for 1.7, and not 5 for 2.2
    assert best_k(0.9, [1.0, 1.8, 2.6, 3.4]) == 1
    assert best_k(0.9, [1.0, 2.0, 3.0]) == 0
    assert best_k(0.9, [20.0, 24.0, 30.0], draft_cost=9.0) == 1
    assert best_k(0.9, COSTS, draft_cost=1.0) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: expected_tokens(1.2, 2), "alpha is 1.2"),
        (lambda: expected_tokens(math.nan, 2), "alpha is nan"),
        (lambda: expected_tokens(0.5, -1), "k is -1"),
        (lambda: best_k(0.5, []), "step costs"),
        (lambda: best_k(0.5, [1.0, 0.0]), "step costs"),
        (lambda: best_k(0.5, [1.0, 1.2], draft_cost=-1), "draft cost of -1"),
    ],
)
def test_bad_numbers_are_named(call, said):
    with pytest.raises(UserError, match=said):
        call()
