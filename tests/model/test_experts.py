import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import MixtralConfig, Qwen3MoeConfig
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter, load_balancing_loss_func
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

from decodeloop.errors import ShapeError, UserError
from decodeloop.model import (
    Experts,
    balance_loss,
    capacity,
    combine,
    dispatch,
    expert_load,
    route,
)

seeds = st.integers(0, 2**16)
shapes = st.integers(1, 7).flatmap(
    lambda E: st.tuples(st.integers(1, 9), st.just(E), st.integers(1, E))
)  # N, E, k


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def chosen(seed: int, N: int, E: int, k: int) -> torch.Tensor:
    return random(seed, N, E).topk(k).indices


# the configuration


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"number": 0, "active": 1}, "number is 0: expected a whole number from 1 up"),
        ({"number": 4, "active": 0}, "active is 0: expected a whole number from 1 up"),
        ({"number": 4, "active": 5}, "can't be sent to 5 of 4 experts: expected at most 4"),
        ({"number": 4, "active": True}, "active is True: expected a whole number"),
        ({"number": 4, "active": 1, "shared": -1}, "shared is -1: expected a whole number from 0"),
        ({"number": 4, "active": 1, "dense_layers": 2}, "2 layers are dense, and dense_width is 0"),
    ],
)
def test_experts_that_can_not_be_are_refused(numbers, message):
    with pytest.raises(UserError, match=message):
        Experts(**numbers)


def test_experts_show_what_is_not_usual_about_them():
    assert repr(Experts(8, 2)) == "Experts(number=8, active=2)"
    other = Experts(8, 2, normalised=False, shared=1)
    assert eval(repr(other)) == other
    assert Experts(8, 2).only_routed and not other.only_routed


# route


@given(seeds, shapes)
def test_routing_is_mixtrals(seed, shape):
    N, E, k = shape
    config = MixtralConfig(hidden_size=6, num_local_experts=E, num_experts_per_tok=k)
    router = MixtralTopKRouter(config).requires_grad_(False)
    router.weight.data = random(seed, E, 6)
    logits, weights, experts = router(random(seed + 1, N, 6))
    ours = route(logits, k)
    assert torch.equal(ours.experts, experts)
    assert_close(ours.weights, weights)


@pytest.mark.parametrize("normalised", [True, False])
@given(seeds, shapes)
def test_routing_is_qwens_with_and_without_the_last_division(normalised, seed, shape):
    N, E, k = shape
    config = Qwen3MoeConfig(
        hidden_size=6, num_experts=E, num_experts_per_tok=k, norm_topk_prob=normalised
    )
    router = Qwen3MoeTopKRouter(config).requires_grad_(False)
    router.weight.data = random(seed, E, 6)
    logits, weights, experts = router(random(seed + 1, N, 6))
    ours = route(logits, k, normalised)
    assert torch.equal(ours.experts, experts)
    assert_close(ours.weights, weights)


@given(seeds, shapes)
def test_normalised_weights_are_a_softmax_over_the_chosen_alone(seed, shape):
    N, E, k = shape
    logits = random(seed, N, E)
    experts, weights = route(logits, k)
    assert_close(weights, logits.gather(-1, experts).softmax(-1))
    assert_close(weights.sum(-1), torch.ones(N))
    assert (weights.diff(dim=-1) <= 0).all()  # best first


def test_logits_of_thousands_and_narrow_types_are_routed_in_fp32():
    logits = torch.tensor([[3000.0, 2999.0, -5000.0]])
    assert_close(
        route(logits, 2).weights,
        torch.tensor([[1.0, 0.0]]).lerp(torch.tensor([[0.0, 1.0]]), 0.26894143),
    )
    narrow = route(random(0, 5, 8).bfloat16(), 3)
    assert narrow.weights.dtype == torch.bfloat16
    wide = route(random(0, 5, 8).bfloat16().float(), 3)
    assert torch.equal(narrow.weights, wide.weights.bfloat16())


def test_any_axes_may_stand_before_the_experts():
    logits = random(3, 2, 4, 5)
    experts, weights = route(logits, 2)
    assert experts.shape == weights.shape == (2, 4, 2)
    assert torch.equal(experts[1, 3], route(logits[1, 3], 2).experts)


@pytest.mark.parametrize("k", [0, 4])
def test_more_experts_than_there_are_can_not_be_chosen(k):
    with pytest.raises(UserError, match=rf"k is {k} and the logits \(2, 3\) are of 3 experts"):
        route(torch.zeros(2, 3), k)


# dispatch and combine


@given(seeds, shapes)
def test_choices_are_sorted_by_expert_and_each_experts_tokens_rise(seed, shape):
    N, E, k = shape
    experts = chosen(seed, N, E, k)
    choices, counts = dispatch(experts, E)
    pairs = [(e, n * k + place) for n in range(N) for place, e in enumerate(experts[n].tolist())]
    assert choices.tolist() == [number for _, number in sorted(pairs)]
    assert counts.tolist() == [sum(e == expert for e, _ in pairs) for expert in range(E)]


@pytest.mark.parametrize("expert", [-1, 3])
def test_an_expert_that_there_is_not_is_named(expert):
    with pytest.raises(UserError, match=rf"there is no expert {expert}: expected 0 to 2"):
        dispatch(torch.tensor([[0, expert]]), 3)


def test_choices_of_one_axis_are_refused():
    with pytest.raises(ShapeError, match=r"experts \(3,\): expected \(N, k\)"):
        dispatch(torch.tensor([0, 1, 2]), 3)


@given(seeds, shapes, st.integers(1, 4))
def test_what_is_dispatched_and_combined_is_the_weighted_sum(seed, shape, C):
    N, E, k = shape
    experts, weights = chosen(seed, N, E, k), random(seed + 1, N, k)
    x, maps = random(seed + 2, N, C), random(seed + 3, E, C, C)
    choices, counts = dispatch(experts, E)
    pieces = x[choices // k].split(counts.tolist())
    outputs = torch.cat([piece @ own for piece, own in zip(pieces, maps, strict=True)])
    every = torch.einsum("nc,ecd->ned", x, maps)  # each expert on each token
    table = torch.zeros(N, E).scatter_(1, experts, weights)
    assert_close(
        combine(outputs, choices, weights),
        torch.einsum("ned,ne->nd", every, table),
        atol=1e-5,
        rtol=1e-4,
    )


def test_combine_names_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"outputs \(3, 2\), choices \(4,\), weights \(2, 2\)"):
        combine(torch.zeros(3, 2), torch.arange(4), torch.zeros(2, 2))


# load and balance


def test_load_and_what_is_dropped_in_closed_form():
    experts = torch.tensor([[0, 1], [0, 2], [0, 1], [0, 3]])  # 8 choices, 4 experts: 2 each if even
    load, dropped = expert_load(experts, 4, factor=1.0)
    assert load.tolist() == [2.0, 1.0, 0.5, 0.5]
    assert dropped == 2 / 8
    assert expert_load(experts, 4, factor=2.0)[1] == 0


@given(seeds, shapes)
def test_loads_average_to_one_and_enough_room_drops_nothing(seed, shape):
    N, E, k = shape
    load, dropped = expert_load(chosen(seed, N, E, k), E, factor=float(E))
    assert load.mean().item() == pytest.approx(1.0)
    assert dropped == 0


def test_capacity_is_rounded_up_and_refuses_what_is_none():
    assert capacity(10, Experts(8, 2), 1.0) == 3
    assert capacity(0, Experts(8, 2), 1.0) == 0
    for tokens, factor in ((-1, 1.0), (3, 0.0), (3, float("inf"))):
        with pytest.raises(UserError, match="expected 0 tokens or more, and a factor above 0"):
            capacity(tokens, Experts(8, 2), factor)


@given(seeds, shapes)
def test_the_balance_loss_is_that_of_transformers_for_each_choice(seed, shape):
    N, E, k = shape
    logits = random(seed, N, E)
    theirs = load_balancing_loss_func((logits,), E, k)
    assert_close(k * balance_loss(logits, route(logits, k).experts), torch.as_tensor(theirs))


def test_descending_the_balance_loss_evens_the_load():
    weight = torch.nn.Parameter(random(0, 4, 6))
    with torch.no_grad():
        weight[0] += 1.5  # the first expert gets nearly all
    x = random(1, 200, 6) + 0.8
    before = expert_load(route(x @ weight.T, 1).experts, 4)[0].max()
    for _ in range(60):
        logits = x @ weight.T
        (slope,) = torch.autograd.grad(balance_loss(logits, route(logits, 1).experts), weight)
        with torch.no_grad():
            weight -= 0.5 * slope
    after = expert_load(route(x @ weight.T, 1).experts, 4)[0].max()
    assert after < 1.5 < before


def test_a_gradient_goes_into_the_router_and_the_experts():
    logits = random(4, 6, 5).requires_grad_()
    experts, weights = route(logits, 2)
    outputs = random(5, 12, 3).requires_grad_()
    combine(outputs, dispatch(experts, 5).choices, weights).square().sum().backward()
    assert logits.grad.abs().sum() > 0 and outputs.grad.abs().sum() > 0


def test_functions_stay_on_the_device(fake_cuda):
    logits = torch.empty(6, 4, device="cuda")
    experts, weights = route(logits, 2)
    assert experts.device.type == weights.device.type == "cuda"
    assert balance_loss(logits, experts).device.type == "cuda"
    choices = torch.empty(12, dtype=torch.long, device="cuda")
    assert combine(torch.empty(12, 3, device="cuda"), choices, weights).device.type == "cuda"
