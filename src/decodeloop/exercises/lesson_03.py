"""Exercises of lesson 03: rms_norm, rope, swiglu, the block; sinusoidal positions, layer_norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call
from decodeloop.model import Block, ModelConfig, block, rms_norm, rope, swiglu

LESSON = "03_block"
draws = torch.Generator().manual_seed(3)


def tensors(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=draws)


# --- rms_norm -------------------------------------------------------------------------------------


def torch_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def mean_square(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True)


WITH_ZEROS = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])

RMS_NORM = Exercise(
    name="rms_norm",
    lesson=LESSON,
    library=rms_norm,
    minutes=8,
    difficulty=1,
    part=True,
    cases=(
        call("x of shape (3, 4)", tensors(3, 4), tensors(4), 1e-5, oracle=torch_rms_norm),
        call("x of shape (2, 3, 5)", tensors(2, 3, 5), tensors(5), 1e-5, oracle=torch_rms_norm),
        call("as many tokens as channels", tensors(4, 4), tensors(4), 1e-5, oracle=torch_rms_norm),
        call("far from a mean of 0", tensors(2, 6) + 5, tensors(6), 1e-5, oracle=torch_rms_norm),
        call("eps = 0.5", tensors(2, 3), tensors(3), 0.5, oracle=torch_rms_norm),
        call(
            "x around 0.001, where eps counts",
            tensors(2, 3, 4, scale=1e-3),
            tensors(4),
            1e-5,
            oracle=torch_rms_norm,
        ),
        call(
            "x around 10,000", tensors(2, 3, 4, scale=1e4), tensors(4), 1e-5, oracle=torch_rms_norm
        ),
        call("a token that is all 0", WITH_ZEROS, tensors(3), 1e-5, oracle=torch_rms_norm),
    ),
    mistakes=(
        Mistake(
            "eps outside the root",
            "Right but where x is small: there √ε, not ε, must count. It stands inside the root: "
            "√(mean square + ε).",
            lambda x, weight, eps: x / (mean_square(x).sqrt() + eps) * weight,
        ),
        Mistake(
            "eps forgotten",
            "Right but where x is small: a token that is all 0 gives 0 / 0 = NaN. Add eps to the "
            "mean square, inside the root.",
            lambda x, weight, eps: x / mean_square(x).sqrt() * weight,
        ),
        Mistake(
            "the mean subtracted",
            "That is LayerNorm: it subtracts the mean first. RMSNorm leaves the mean where it is, "
            "and only divides by the root mean square.",
            lambda x, weight, eps: F.layer_norm(x, (x.shape[-1],), weight, None, eps),
        ),
        Mistake(
            "divided by the standard deviation",
            "You divide by the standard deviation, which is measured from the mean: look at the "
            "case whose mean is 5. RMSNorm measures from 0: the mean of the squares of x itself.",
            lambda x, weight, eps: (
                x / (x.var(-1, keepdim=True, correction=0) + eps).sqrt() * weight
            ),
        ),
        Mistake(
            "the sum instead of the mean",
            "You divide by the root of the sum of squares, the vector's length; it is √C times the "
            "root of their mean.",
            lambda x, weight, eps: x / (x.square().sum(-1, keepdim=True) + eps).sqrt() * weight,
        ),
        Mistake(
            "the square of the mean",
            "You took the mean first and squared it afterwards. Square each number, then take the "
            "mean: positive and negative numbers must not cancel.",
            lambda x, weight, eps: x / (x.mean(-1, keepdim=True).square() + eps).sqrt() * weight,
        ),
        Mistake(
            "the root forgotten",
            "You divide by the mean square; its root is missing. Doubling x must leave the output "
            "as it is; yours is halved.",
            lambda x, weight, eps: x / (mean_square(x) + eps) * weight,
        ),
        Mistake(
            "the root and eps forgotten",
            "You divide by the mean square; its root is missing, and eps: doubling x must leave "
            "the output as it is. Divide by √(mean square + ε).",
            lambda x, weight, eps: x / mean_square(x) * weight,
        ),
        Mistake(
            "multiplied instead of divided",
            "You multiply by the root mean square. A large x should become smaller: divide by it.",
            lambda x, weight, eps: x * (mean_square(x) + eps).sqrt() * weight,
        ),
        Mistake(
            "the weight forgotten",
            "The size is right, but each channel must then be multiplied by its weight (C,).",
            lambda x, weight, eps: x / (mean_square(x) + eps).sqrt(),
        ),
        Mistake(
            "1 + weight",
            "You multiply by 1 + weight. Some models (Gemma) store their weights so; here the "
            "weight itself is the factor.",
            lambda x, weight, eps: x / (mean_square(x) + eps).sqrt() * (1 + weight),
        ),
        Mistake(
            "the weight first",
            "You multiply by the weight before the root mean square is taken, so the weights are "
            "measured too. Normalise x, then multiply.",
            lambda x, weight, eps: x * weight / (mean_square(x * weight) + eps).sqrt(),
        ),
        Mistake(
            "over the tokens",
            "You take the mean along the wrong axis, over the tokens. Each token is normalised by "
            "itself, over its channels: the last axis.",
            lambda x, weight, eps: x / (x.square().mean(-2, keepdim=True) + eps).sqrt() * weight,
        ),
        Mistake(
            "over everything",
            "You take one mean over the whole tensor. Each token is normalised by itself: "
            "mean(-1, keepdim=True).",
            lambda x, weight, eps: x / (x.square().mean() + eps).sqrt() * weight,
        ),
        Mistake(
            "the mean without keepdim",
            "The means have lost their axis, so the wrong axis is divided by them: (4, 4) / (4,) "
            "divides columns. Keep the axis with keepdim=True.",
            lambda x, weight, eps: x / (x.square().mean(-1) + eps).sqrt() * weight,
        ),
    ),
    hints=(
        "Read the name backwards: first square, then mean, then root. All of it along the last "
        "axis.",
        "`x.square().mean(-1, keepdim=True)` is (..., 1): one number for each token, and the axis "
        "is kept so that it divides a whole row.",
        "x / (that + eps).sqrt() * weight. `torch.rsqrt(y)` is 1/√y in one step.",
    ),
)

# --- rope -----------------------------------------------------------------------------------------


def rope_by_complex_numbers(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Pair i is the complex number x[i] + x[i + D/2]·j, multiplied by e^(angle·j)."""
    D = x.shape[-1]
    speeds = float(base) ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    angles = positions.double()[..., None] * speeds
    if positions.ndim == 2:
        angles = angles.unsqueeze(1)
    pairs = torch.complex(x[..., : D // 2].double(), x[..., D // 2 :].double())
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), -1).to(x.dtype)


Angles = tuple[Tensor, Tensor]


def speeds_of(D: int, base: float) -> Tensor:
    return base ** (-torch.arange(0, D, 2) / D)


def with_heads(positions: Tensor, per_position: Tensor) -> Tensor:
    return per_position[:, None] if positions.ndim == 2 else per_position


def halves(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def neighbours(x: Tensor, angles: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


def second_sees_the_turned_first(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    first = first * angles.cos() - second * angles.sin()
    return torch.cat((first, second * angles.cos() + first * angles.sin()), -1)


def first_sees_the_turned_second(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    second = second * angles.cos() + first * angles.sin()
    return torch.cat((first * angles.cos() - second * angles.sin(), second), -1)


def plus_in_both(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos + second * sin, second * cos + first * sin), -1)


def minus_in_both(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((first * cos - second * sin, second * cos - first * sin), -1)


def wrong_rope(
    speeds: Callable[[int, float], Tensor] = speeds_of,
    turn: Callable[[Tensor, Tensor], Tensor] = halves,
    place: Callable[[Tensor, Tensor], Tensor] = with_heads,
    positions_of: Callable[[Tensor, Tensor], Tensor] = lambda x, positions: positions,
) -> Candidate:
    """RoPE with one of its steps exchanged."""

    def turned(x: Tensor, positions: Tensor, base: float) -> Tensor:
        where = positions_of(x, positions)
        return turn(x, place(where, where[..., None] * speeds(x.shape[-1], base)))

    return turned


def without_an_axis_for_the_pairs(x: Tensor, positions: Tensor, base: float) -> Tensor:
    return halves(x, with_heads(positions, positions * speeds_of(x.shape[-1], base)))


def along_the_heads(positions: Tensor, per_position: Tensor) -> Tensor:
    return per_position[:, None] if positions.ndim == 1 else per_position.mT[:, None].mT


ROPE = Exercise(
    name="rope",
    lesson=LESSON,
    library=rope,
    minutes=12,
    difficulty=2,
    tolerance=1e-4,  # angles in fp32 are off by 1e-7 of themselves
    part=True,
    cases=(  # angles stay below 100 even with a positive exponent: fp32 tells them apart
        call(
            "the vector (1, 0) at positions 0 to 3",
            torch.tensor([1.0, 0.0]).expand(1, 1, 4, 2).clone(),
            torch.arange(4),
            10_000.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "x (1, 1, 2, 4)",
            tensors(1, 1, 2, 4),
            torch.arange(2),
            10_000.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "x (2, 3, 5, 8), base 50",
            tensors(2, 3, 5, 8),
            torch.arange(5),
            50.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "as many heads as tokens",
            tensors(2, 4, 4, 6),
            torch.arange(4),
            50.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "positions that go on from 7",
            tensors(1, 2, 3, 8),
            torch.arange(7, 10),
            20.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "positions 20, 0, 9, 3",
            tensors(1, 2, 4, 6),
            torch.tensor([20, 0, 9, 3]),
            10.0,
            oracle=rope_by_complex_numbers,
        ),
        call(
            "positions of its own for each row",
            tensors(2, 2, 3, 8),
            torch.tensor([[0, 1, 2], [5, 6, 7]]),
            20.0,
            oracle=rope_by_complex_numbers,
        ),
    ),
    mistakes=(
        Mistake(
            "interleaved pairs",
            "You pair neighbours: channels 0 and 1, 2 and 3, … Here channel i is paired with "
            "channel i + D/2: `x.chunk(2, dim=-1)` gives the two halves.",
            wrong_rope(turn=neighbours),
        ),
        Mistake(
            "base ignored",
            "Right where the base is 10,000, and nowhere else: use the argument `base`.",
            wrong_rope(speeds=lambda D, base: speeds_of(D, 10_000.0)),
        ),
        Mistake(
            "positions ignored",
            "Right where the positions are 0, 1, 2, …: you count them yourself. Turn by the "
            "positions that are given; with a cache they start later, and each row may have its "
            "own.",
            wrong_rope(positions_of=lambda x, positions: torch.arange(x.shape[-2])),
        ),
        Mistake(
            "turned the other way",
            "You turn clockwise. Try (1, 0) by a quarter turn on paper: it must become (0, 1), so "
            "the second half gets + first · sin, the first half − second · sin.",
            wrong_rope(turn=lambda x, angles: halves(x, -angles)),
        ),
        Mistake(
            "exponents i/D",
            "Your exponents are i/D: they stop half way. Pair i turns by base^(-2i/D): for D = 4 "
            "the exponents are 0 and 1/2.",
            wrong_rope(speeds=lambda D, base: base ** (-torch.arange(D // 2) / D)),
        ),
        Mistake(
            "the exponent doubled twice",
            "Your exponents go twice too far. `torch.arange(0, D, 2)` holds 2i already: divide by "
            "D and that is all.",
            wrong_rope(speeds=lambda D, base: base ** (-2 * torch.arange(0, D, 2) / D)),
        ),
        Mistake(
            "a positive exponent",
            "Your later pairs turn faster and faster. The exponent is negative: base^(-2i/D), so "
            "that the last pair is the slowest.",
            wrong_rope(speeds=lambda D, base: base ** (torch.arange(0, D, 2) / D)),
        ),
        Mistake(
            "one speed for all pairs",
            "All your pairs turn at the speed of the first. Pair i turns by position · "
            "base^(-2i/D).",
            wrong_rope(speeds=lambda D, base: torch.ones(D // 2)),
        ),
        Mistake(
            "the first half already turned",
            "The first half is right, the second is not: you computed it from the first half "
            "*after* that had been turned. Keep the old one until both are done.",
            wrong_rope(turn=second_sees_the_turned_first),
        ),
        Mistake(
            "the second half already turned",
            "The second half is right, the first is not: you computed it from the second half "
            "*after* that had been turned. Keep the old one until both are done.",
            wrong_rope(turn=first_sees_the_turned_second),
        ),
        Mistake(
            "a plus in both halves",
            "The second half is right; the first needs a minus: (first · cos − second · sin, "
            "second · cos + first · sin). With two plus signs it is no rotation: lengths change.",
            wrong_rope(turn=plus_in_both),
        ),
        Mistake(
            "a minus in both halves",
            "The first half is right; the second needs a plus: (first · cos − second · sin, "
            "second · cos + first · sin). With two minus signs it is no rotation: lengths change.",
            wrong_rope(turn=minus_in_both),
        ),
        Mistake(
            "no axis for the pairs",
            "You multiply positions (T,) by speeds (D/2,) as they are: no table comes of it. Give "
            "the positions an axis first: positions[..., None] * speeds is (T, D/2).",
            without_an_axis_for_the_pairs,
        ),
        Mistake(
            "positions along the heads",
            "Your angles vary with the head, not with the token: (T, 1, D/2) meets x (B, H, T, "
            "D/2) at the heads. For positions (T,) the angles are (T, D/2), with nothing between.",
            wrong_rope(place=along_the_heads),
        ),
        Mistake(
            "rows as heads",
            "Right but where each row has its own positions: angles of (B, T, D/2) meet x "
            "(B, H, T, D/2) at the heads. They need an axis for the heads: angles[:, None].",
            wrong_rope(place=lambda positions, per_position: per_position),
        ),
    ),
    hints=(
        "Three steps: the D/2 speeds, the angle of each position and pair, then the turn. Print "
        "the shape after each.",
        "`base ** (-torch.arange(0, D, 2, device=x.device) / D)` are the speeds (D/2,). "
        "`positions[..., None] * speeds` are the angles: (T, D/2) or (B, T, D/2).",
        "If the positions are (B, T), the angles need an axis for the heads: `angles[:, None]` is "
        "(B, 1, T, D/2).",
        "`first, second = x.chunk(2, dim=-1)`, then `torch.cat((first * cos - second * sin, "
        "second * cos + first * sin), dim=-1)`.",
    ),
)

# --- swiglu ---------------------------------------------------------------------------------------


def torch_swiglu(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, w_gate)) * F.linear(x, w_up), w_down)


def wrong_swiglu(middle: Callable[[Tensor, Tensor], Tensor]) -> Candidate:
    """A feed-forward that makes something else of gate(x) and up(x)."""

    def feed(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
        return F.linear(middle(F.linear(x, w_gate), F.linear(x, w_up)), w_down)

    return feed


def weights_of_a_feed_forward(C: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    return tensors(width, C), tensors(width, C), tensors(C, width)


SWIGLU = Exercise(
    name="swiglu",
    lesson=LESSON,
    library=swiglu,
    minutes=6,
    difficulty=1,
    part=True,
    cases=(
        call(
            "x (2, 3, 4), F = 6",
            tensors(2, 3, 4),
            *weights_of_a_feed_forward(4, 6),
            oracle=torch_swiglu,
        ),
        call(
            "one vector (5,), F = 3",
            tensors(5),
            *weights_of_a_feed_forward(5, 3),
            oracle=torch_swiglu,
        ),
        call("F = C = 4", tensors(2, 3, 4), *weights_of_a_feed_forward(4, 4), oracle=torch_swiglu),
        call(
            "large numbers",
            tensors(1, 2, 4, scale=30.0),
            *weights_of_a_feed_forward(4, 6),
            oracle=torch_swiglu,
        ),
    ),
    mistakes=(
        Mistake(
            "gate and up swapped",
            "You pass up(x) through silu. It is the gate that goes through silu; up(x) is "
            "multiplied by the result as it is.",
            wrong_swiglu(lambda gate, up: gate * F.silu(up)),
        ),
        Mistake(
            "silu on the product",
            "You multiply first and take silu of the product. Only the gate goes through silu: "
            "silu(gate) · up.",
            wrong_swiglu(lambda gate, up: F.silu(gate * up)),
        ),
        Mistake(
            "silu on both",
            "Both go through silu. Only the gate does; up(x) stays as it is.",
            wrong_swiglu(lambda gate, up: F.silu(gate) * F.silu(up)),
        ),
        Mistake(
            "gelu instead of silu",
            "Close, but that is GELU: z · Φ(z). SiLU is z · sigmoid(z). (With GELU the layer is "
            "called GEGLU, and Gemma has it.)",
            wrong_swiglu(lambda gate, up: F.gelu(gate) * up),
        ),
        Mistake(
            "sigmoid instead of silu",
            "You multiply by sigmoid(gate). SiLU is gate · sigmoid(gate). (With the plain sigmoid "
            "the layer is the original GLU.)",
            wrong_swiglu(lambda gate, up: gate.sigmoid() * up),
        ),
        Mistake(
            "relu instead of silu",
            "Your gate is cut off at 0: that is ReLU. SiLU is z · sigmoid(z), slightly negative "
            "left of 0.",
            wrong_swiglu(lambda gate, up: gate.relu() * up),
        ),
        Mistake(
            "the sigmoid of -z",
            "Your silu has its sign turned: silu(z) = z / (1 + e^(-z)), with a minus in the "
            "exponent. For large z it is z, for very negative z it is 0.",
            wrong_swiglu(lambda gate, up: gate * torch.sigmoid(-gate) * up),
        ),
        Mistake(
            "no silu at all",
            "gate · up without silu: the layer can open a gate, but never close it. The gate goes "
            "through silu first.",
            wrong_swiglu(lambda gate, up: gate * up),
        ),
        Mistake(
            "added instead of multiplied",
            "You add silu(gate) and up. A gate multiplies: where it is 0, nothing comes through.",
            wrong_swiglu(lambda gate, up: F.silu(gate) + up),
        ),
        Mistake(
            "no gate",
            "That is the plain feed-forward, down(silu(w_gate x)); w_up is not used. Multiply "
            "silu(gate) by up(x).",
            wrong_swiglu(lambda gate, up: F.silu(gate)),
        ),
        Mistake(
            "weights not transposed",
            "nn.Linear stores weights as (out, in), and computes x @ w.T. Yours runs without an "
            "error only where F = C. Use w.T, or F.linear(x, w).",
            lambda x, w_gate, w_up, w_down: (F.silu(x @ w_gate) * (x @ w_up)) @ w_down,
        ),
        Mistake(
            "x added",
            "You add x to the output. The residual belongs to the block, not to this function.",
            lambda x, *weights: x + torch_swiglu(x, *weights),
        ),
    ),
    hints=(
        "Three linear maps: two go up from C to F, one comes down. `F.linear(x, w)` is x @ w.T.",
        "`F.silu(z)` is z · sigmoid(z). It is taken of the gate, F.linear(x, w_gate), alone.",
        "F.linear(F.silu(gate) * up, w_down)",
    ),
)

# --- block ----------------------------------------------------------------------------------------

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def holder(config: ModelConfig, seed: int) -> Block:
    """A block with random weights, its norms' too: weights of 1 would hide what forgets them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Block(config).requires_grad_(False)
        for norm in (layer.attention_norm, layer.feed_forward_norm):
            norm.weight.copy_(torch.randn(config.width))
    return layer


SHARED = holder(ModelConfig(11, 20, 1, 4, 2, 8, 28, 64, rope_base=500.0, norm_eps=0.05), 1)
ONE_HEAD = holder(ModelConfig(11, 10, 1, 1, 1, 6, 14, 64, rope_base=50.0, norm_eps=0.01), 3)
SQUARE = holder(ModelConfig(11, 12, 1, 3, 3, 4, 16, 64, rope_base=100.0, norm_eps=0.01), 2)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def full(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def nothing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.zeros_like(q)


def three_times(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return 3 * causal(q, k, v)


def in_heads(x: Tensor, weight: Tensor, heads: int) -> Tensor:
    return F.linear(x, weight).unflatten(-1, (heads, -1)).transpose(1, 2)


def side_by_side(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def forward_of(layer: Any, x: Tensor) -> Tensor:
    feed = layer.feed_forward
    return torch_swiglu(x, feed.gate.weight, feed.up.weight, feed.down.weight)


def attention_norm(layer: Any, x: Tensor) -> Tensor:
    return torch_rms_norm(x, layer.attention_norm.weight, layer.config.norm_eps)


def feed_forward_norm(layer: Any, x: Tensor) -> Tensor:
    return torch_rms_norm(x, layer.feed_forward_norm.weight, layer.config.norm_eps)


def unturned(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weights, config = layer.attention, layer.config
    return (
        in_heads(x, weights.query.weight, config.heads),
        in_heads(x, weights.key.weight, config.kv_heads),
        in_heads(x, weights.value.weight, config.kv_heads),
    )


def queries_and_keys_turned(
    layer: Any, x: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = unturned(layer, x)
    base = layer.config.rope_base
    q, k = (rope_by_complex_numbers(y, positions, base) for y in (q, k))
    return q, k, v


def torch_block(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
    """A Llama block by PyTorch's operators, and rotations by complex numbers."""
    q, k, v = queries_and_keys_turned(layer, attention_norm(layer, x), positions)
    x = x + F.linear(side_by_side(attend(q, k, v)), layer.attention.output.weight)
    return x + forward_of(layer, feed_forward_norm(layer, x))


Part = Callable[[Any, Tensor], Tensor]


def wrong_block(
    first_norm: Part = attention_norm,
    second_norm: Part = feed_forward_norm,
    make: Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] = queries_and_keys_turned,
    merge: Callable[[Tensor], Tensor] = side_by_side,
    project: Part = lambda layer, x: F.linear(x, layer.attention.output.weight),
    first_sum: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x, normed, added: x + added,
    second_sum: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x, normed, added: x + added,
) -> Candidate:
    """A block with one of its steps exchanged. The sums get x, normalised x, and what is added."""

    def step(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
        normed = first_norm(layer, x)
        attended = attend(*make(layer, normed, positions))
        x = first_sum(x, normed, project(layer, merge(attended)))
        normed = second_norm(layer, x)
        return second_sum(x, normed, forward_of(layer, normed))

    return step


def values_turned(layer: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = queries_and_keys_turned(layer, x, positions)
    return q, k, rope_by_complex_numbers(v, positions, layer.config.rope_base)


def only_queries_turned(layer: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    _, k, v = unturned(layer, x)
    return queries_and_keys_turned(layer, x, positions)[0], k, v


def turned_before_the_split(
    layer: Any, x: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    config, base = layer.config, layer.config.rope_base

    def turned(y: Tensor, heads: int) -> Tensor:
        whole = rope_by_complex_numbers(y.transpose(1, 2).flatten(2)[:, None], positions, base)
        return whole[:, 0].unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = unturned(layer, x)
    return turned(q, config.heads), turned(k, config.kv_heads), v


def counted_from_zero(layer: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return queries_and_keys_turned(layer, x, torch.arange(x.shape[1]))


def base_of_ten_thousand(layer: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = unturned(layer, x)
    q, k = (rope_by_complex_numbers(y, positions, 10_000.0) for y in (q, k))
    return q, k, v


def keys_in_query_heads(layer: Any, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weights, config = layer.attention, layer.config
    q, k, v = (
        in_heads(x, w.weight, config.heads) for w in (weights.query, weights.key, weights.value)
    )
    q, k = (rope_by_complex_numbers(y, positions, config.rope_base) for y in (q, k))
    return q, k, v


def parallel_block(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
    q, k, v = queries_and_keys_turned(layer, attention_norm(layer, x), positions)
    added = F.linear(side_by_side(attend(q, k, v)), layer.attention.output.weight)
    return x + added + forward_of(layer, feed_forward_norm(layer, x))


def reading(again: Callable[[Any, Tensor], Tensor]) -> Candidate:
    """A block whose feed-forward reads what attention read, x from before attention, normed."""

    def step(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
        normed = attention_norm(layer, x)
        q, k, v = queries_and_keys_turned(layer, normed, positions)
        x = x + F.linear(side_by_side(attend(q, k, v)), layer.attention.output.weight)
        return x + forward_of(layer, again(layer, normed))

    return step


def normalised_afterwards(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
    q, k, v = queries_and_keys_turned(layer, x, positions)
    added = F.linear(side_by_side(attend(q, k, v)), layer.attention.output.weight)
    x = attention_norm(layer, x + added)
    return feed_forward_norm(layer, x + forward_of(layer, x))


def what_attend_is_given(x: Tensor, layer: Block, positions: Tensor) -> Case:
    """The queries, keys and values that reach `attend`, and what becomes of its answer."""

    def run(candidate: Candidate) -> dict[str, Any]:
        calls: list[tuple[Tensor, Tensor, Tensor]] = []

        def record(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            calls.append((q, k, v))
            return q

        out = candidate(x.clone(), layer, positions.clone(), record)
        seen: dict[str, Any] = {"the number of calls of attend": len(calls)}
        for q, k, v in calls[:1]:
            seen["the queries that attend was given"] = q
            seen["the keys that attend was given"] = k
            seen["the values that attend was given"] = v
        return seen | {"what block returned": out}

    return Case(
        "the q, k and v that attend is given, and the output", run, lambda: run(torch_block)
    )


BLOCK = Exercise(
    name="block",
    lesson=LESSON,
    library=block,
    minutes=12,
    difficulty=2,
    tolerance=5e-5,
    part=True,
    cases=(
        what_attend_is_given(tensors(2, 5, 20), SHARED, torch.arange(3, 8)),
        call(
            "an attend that gives zeros: the feed-forward alone",
            tensors(2, 5, 20),
            SHARED,
            torch.arange(5),
            nothing,
            oracle=torch_block,
        ),
        call(
            "x (2, 5, 20), causal attention",
            tensors(2, 5, 20),
            SHARED,
            torch.arange(5),
            causal,
            oracle=torch_block,
        ),
        call(
            "attention without a mask",
            tensors(2, 4, 20),
            SHARED,
            torch.arange(4),
            full,
            oracle=torch_block,
        ),
        call(
            "as many KV heads as heads, H·D = C = 12",
            tensors(2, 5, 12),
            SQUARE,
            torch.arange(5),
            causal,
            oracle=torch_block,
        ),
        call(
            "an attend that gives three times as much",
            tensors(1, 3, 20),
            SHARED,
            torch.arange(3),
            three_times,
            oracle=torch_block,
        ),
        call(
            "positions of its own for each row",
            tensors(2, 3, 20),
            SHARED,
            torch.tensor([[0, 1, 5], [4, 7, 9]]),
            causal,
            oracle=torch_block,
        ),
        call(
            "one head",
            tensors(2, 3, 10),
            ONE_HEAD,
            torch.arange(3),
            causal,
            oracle=torch_block,
        ),
        call(
            "one token", tensors(1, 1, 20), SHARED, torch.tensor([12]), causal, oracle=torch_block
        ),
    ),
    mistakes=(
        Mistake(
            "the first residual forgotten",
            "After attention you go on with what it gave, and have lost x. Add: x = x + attention.",
            wrong_block(first_sum=lambda x, normed, added: added),
        ),
        Mistake(
            "the second residual forgotten",
            "You return the feed-forward's output alone. Add it to the stream: x + feed-forward.",
            wrong_block(second_sum=lambda x, normed, added: added),
        ),
        Mistake(
            "both residuals forgotten",
            "Neither sublayer's output is added to x. The stream must go through: x = x + "
            "attention, then x + feed-forward.",
            wrong_block(
                first_sum=lambda x, normed, added: added, second_sum=lambda x, normed, added: added
            ),
        ),
        Mistake(
            "added to the normalised x",
            "You add to the normalised x, not to x: was x overwritten by its norm? Keep x as it is "
            "and give the norm another name.",
            wrong_block(
                first_sum=lambda x, normed, added: normed + added,
                second_sum=lambda x, normed, added: normed + added,
            ),
        ),
        Mistake(
            "attention added to the normalised x",
            "You add attention to the normalised x, not to x: was x overwritten by its norm? Keep "
            "x as it is and give the norm another name.",
            wrong_block(first_sum=lambda x, normed, added: normed + added),
        ),
        Mistake(
            "the feed-forward added to the normalised x",
            "You add the feed-forward to the normalised x, not to x: was x overwritten by its "
            "norm? Keep x as it is and give the norm another name.",
            wrong_block(second_sum=lambda x, normed, added: normed + added),
        ),
        Mistake(
            "the norm not taken again",
            "The feed-forward reads the normed x from before attention. Take the norm again, of "
            "the new x, with the weight of feed_forward_norm.",
            reading(lambda layer, normed: normed),
        ),
        Mistake(
            "the norm of the norm",
            "The second norm reads the normed x from before attention. It must read x itself, to "
            "which attention has been added.",
            reading(feed_forward_norm),
        ),
        Mistake(
            "normalised afterwards",
            "That is post-norm, the order of 2017: norm(x + sublayer(x)). Llama has pre-norm: "
            "x + sublayer(norm(x)).",
            normalised_afterwards,
        ),
        Mistake(
            "attention without its norm",
            "Queries, keys and values are made of x itself. Make them of rms_norm(x) with the "
            "weight of attention_norm.",
            wrong_block(first_norm=lambda layer, x: x),
        ),
        Mistake(
            "feed-forward without its norm",
            "The feed-forward reads x itself. It reads rms_norm(x) with the weight of "
            "feed_forward_norm.",
            wrong_block(second_norm=lambda layer, x: x),
        ),
        Mistake(
            "one norm for both",
            "You use the weight of attention_norm twice. The feed-forward has its own: "
            "layer.feed_forward_norm.weight.",
            wrong_block(second_norm=attention_norm),
        ),
        Mistake(
            "the norms swapped",
            "The two norms are swapped: attention_norm stands before attention, feed_forward_norm "
            "before the feed-forward.",
            wrong_block(first_norm=feed_forward_norm, second_norm=attention_norm),
        ),
        Mistake(
            "side by side",
            "The feed-forward reads the x from before attention. Here the sublayers come one after "
            "the other: it reads what attention has been added to. (GPT-J has them in parallel.)",
            parallel_block,
        ),
        Mistake(
            "values turned too",
            "You turned the values. Positions should decide who looks at whom, not what they get: "
            "turn q and k alone.",
            wrong_block(make=values_turned),
        ),
        Mistake(
            "only queries turned",
            "You turned the queries but not the keys. Then a score depends on the query's position "
            "alone; both must turn, for it to depend on the distance.",
            wrong_block(make=only_queries_turned),
        ),
        Mistake(
            "no positions at all",
            "Neither queries nor keys were turned. Call rope on both, with layer.config.rope_base.",
            wrong_block(make=lambda layer, x, positions: unturned(layer, x)),
        ),
        Mistake(
            "turned before the split",
            "You turned the whole width H·D before cutting it into heads, so each head has other "
            "speeds. Split first: each head turns its own D channels.",
            wrong_block(make=turned_before_the_split),
        ),
        Mistake(
            "positions ignored",
            "Right where the positions are 0, 1, 2, …: you count them yourself. Use the argument.",
            wrong_block(make=counted_from_zero),
        ),
        Mistake(
            "a base of 10,000",
            "The angles are those of base 10,000. Each model has its own: layer.config.rope_base.",
            wrong_block(make=base_of_ten_thousand),
        ),
        Mistake(
            "keys in as many heads as queries",
            "You cut keys and values into H heads, but there are only G of them: "
            "layer.config.kv_heads. Look at the shapes that attend is given.",
            wrong_block(make=keys_in_query_heads),
        ),
        Mistake(
            "merged without a transpose",
            "A plain reshape of (B, H, T, D) mixes heads and tokens. The heads must come next to D "
            "first: merge_heads.",
            wrong_block(merge=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
        ),
        Mistake(
            "not merged",
            "What attend gives is (B, H, T, D), and the output projection needs (B, T, H·D): "
            "merge_heads stands between them.",
            wrong_block(merge=lambda x: x),
        ),
        Mistake(
            "the output projection forgotten",
            "What attend gives goes into the stream as it is. It must pass layer.attention.output "
            "first; unnoticed only where H·D = C.",
            wrong_block(project=lambda layer, x: x),
        ),
    ),
    hints=(
        "Two halves of the same form: x = x + sublayer(norm(x)). Write the second first; it is one "
        "line.",
        "First half: normalise, project to q, k, v with layer.attention.query, .key, .value, split "
        "each into its heads (config.heads, config.kv_heads twice), turn q and k, attend, merge, "
        "project with layer.attention.output, add.",
        "q = rope(split_heads(layer.attention.query(normed), config.heads), positions, "
        "config.rope_base); k likewise with config.kv_heads; v likewise without rope.",
        "x = x + layer.attention.output(merge_heads(attend(q, k, v))). Then the feed-forward reads "
        "rms_norm(x, layer.feed_forward_norm.weight, config.norm_eps) of the new x.",
    ),
)

# --- sinusoidal_positions -------------------------------------------------------------------------


def sinusoidal_positions(T: int, C: int) -> Tensor:
    """The position vectors of the first transformer; C is even.

    Channel 2i of position t is sin(t / 10000^(2i/C)), channel 2i + 1 the cosine of the same.

    Shapes: → (T, C). Vaswani et al. (2017), section 3.5.
    """
    speeds = 10_000.0 ** (-torch.arange(0, C, 2) / C)
    angles = torch.arange(T)[:, None] * speeds
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def one_number_at_a_time(T: int, C: int) -> Tensor:
    def entry(t: int, c: int) -> float:
        angle = t / 10_000 ** (2 * (c // 2) / C)
        return math.cos(angle) if c % 2 else math.sin(angle)

    return torch.tensor([[entry(t, c) for c in range(C)] for t in range(T)])


def wrong_sinusoid(
    angle: Callable[[int, int, int], float] = lambda t, i, C: t / 10_000 ** (2 * i / C),
    pair: Callable[[Tensor], tuple[Tensor, Tensor]] = lambda a: (a.sin(), a.cos()),
    lay: Callable[[Tensor, Tensor], Tensor] = lambda s, c: torch.stack((s, c), -1).flatten(-2),
    first: int = 0,
) -> Candidate:
    def table(T: int, C: int) -> Tensor:
        angles = [[angle(t, i, C) for i in range(C // 2)] for t in range(first, first + T)]
        return lay(*pair(torch.tensor(angles)))

    return table


SINUSOIDAL_POSITIONS = Exercise(
    name="sinusoidal_positions",
    lesson=LESSON,
    library=sinusoidal_positions,
    minutes=8,
    difficulty=2,
    kind="stretch",
    tolerance=5e-5,
    cases=(
        call("T = 3, C = 4", 3, 4, oracle=one_number_at_a_time),
        call("T = 5, C = 2", 5, 2, oracle=one_number_at_a_time),
        call("T = 1, C = 6", 1, 6, oracle=one_number_at_a_time),
        call("T = 50, C = 16", 50, 16, oracle=one_number_at_a_time),
    ),
    mistakes=(
        Mistake(
            "sines first, cosines after",
            "The numbers are right, their places are not: all sines, then all cosines. Here they "
            "take turns: sin, cos, sin, cos, …",
            wrong_sinusoid(lay=lambda s, c: torch.cat((s, c), -1)),
        ),
        Mistake(
            "cosine before sine",
            "The even channels are sines, the odd ones cosines; yours are swapped. Position 0 is "
            "(0, 1, 0, 1, …).",
            wrong_sinusoid(pair=lambda a: (a.cos(), a.sin())),
        ),
        Mistake(
            "sines alone",
            "All channels are sines. Every second one is a cosine of the same angle.",
            wrong_sinusoid(pair=lambda a: (a.sin(), a.sin())),
        ),
        Mistake(
            "positions from 1",
            "Your first row is position 1. Positions count from 0, where all sines are 0.",
            wrong_sinusoid(first=1),
        ),
        Mistake(
            "exponents i/C",
            "Your exponents are i/C. Pair i of C/2 has the exponent 2i/C.",
            wrong_sinusoid(angle=lambda t, i, C: t / 10_000 ** (i / C)),
        ),
        Mistake(
            "the exponent doubled twice",
            "Your exponents go twice too far. `torch.arange(0, C, 2)` holds 2i already: divide by "
            "C and that is all.",
            wrong_sinusoid(angle=lambda t, i, C: t / 10_000 ** (4 * i / C)),
        ),
    ),
    hints=(
        "The angles are those of RoPE with base 10,000: positions times speeds, (T, C/2).",
        "`torch.stack((angles.sin(), angles.cos()), dim=-1)` is (T, C/2, 2); `.flatten(-2)` lays "
        "the last two axes one after the other.",
    ),
)

# --- layer_norm -----------------------------------------------------------------------------------


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Bring each vector to mean 0 and variance 1, then scale and shift each channel.

    Shapes: x (..., C), weight and bias (C,) → (..., C). Ba et al., "Layer Normalization" (2016).
    """
    centred = x - x.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps) * weight + bias


def torch_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def variance(x: Tensor, correction: int = 0) -> Tensor:
    return x.var(-1, keepdim=True, correction=correction)


def centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


LAYER_NORM = Exercise(
    name="layer_norm",
    lesson=LESSON,
    library=layer_norm,
    minutes=6,
    difficulty=1,
    kind="stretch",
    cases=(
        call(
            "x of shape (3, 4)",
            tensors(3, 4),
            tensors(4),
            tensors(4),
            1e-5,
            oracle=torch_layer_norm,
        ),
        call(
            "x of shape (2, 3, 5)",
            tensors(2, 3, 5),
            tensors(5),
            tensors(5),
            1e-5,
            oracle=torch_layer_norm,
        ),
        call(
            "far from a mean of 0",
            tensors(2, 6) + 5,
            tensors(6),
            tensors(6),
            1e-5,
            oracle=torch_layer_norm,
        ),
        call("eps = 0.5", tensors(2, 3), tensors(3), tensors(3), 0.5, oracle=torch_layer_norm),
        call(
            "equal channels",
            torch.full((2, 4), 2.0),
            tensors(4),
            tensors(4),
            1e-5,
            oracle=torch_layer_norm,
        ),
    ),
    mistakes=(
        Mistake(
            "C - 1 instead of C",
            "`var` and `std` divide by C - 1 unless told otherwise. Here the mean is over C: "
            "correction=0.",
            lambda x, w, b, eps: centred(x) / (variance(x, 1) + eps).sqrt() * w + b,
        ),
        Mistake(
            "eps outside the root",
            "Right but where the variance is small or eps large: ε stands inside the root.",
            lambda x, w, b, eps: centred(x) / (variance(x).sqrt() + eps) * w + b,
        ),
        Mistake(
            "C - 1, and eps outside the root",
            "`std` divides by C - 1 unless told otherwise (correction=0), and ε belongs inside the "
            "root: √(variance + ε), not √variance + ε.",
            lambda x, w, b, eps: centred(x) / (variance(x, 1).sqrt() + eps) * w + b,
        ),
        Mistake(
            "the mean square of x",
            "You divide by the mean square of x itself. The variance is the mean square of what "
            "remains when the mean is subtracted.",
            lambda x, w, b, eps: centred(x) / (mean_square(x) + eps).sqrt() * w + b,
        ),
        Mistake(
            "RMSNorm",
            "That is RMSNorm with a bias: the mean must be subtracted first.",
            lambda x, w, b, eps: torch_rms_norm(x, w, eps) + b,
        ),
        Mistake(
            "the mean not subtracted",
            "You divide by the standard deviation but leave the mean in x. Subtract it above the "
            "fraction too.",
            lambda x, w, b, eps: x / (variance(x) + eps).sqrt() * w + b,
        ),
        Mistake(
            "the bias forgotten",
            "The bias is missing: it is added at the end.",
            lambda x, w, b, eps: torch_layer_norm(x, w, torch.zeros_like(b), eps),
        ),
        Mistake(
            "the bias scaled too",
            "You add the bias before you multiply by the weight. Multiply first, then add.",
            lambda x, w, b, eps: (centred(x) / (variance(x) + eps).sqrt() + b) * w,
        ),
        Mistake(
            "one mean for the whole tensor",
            "You subtract one mean, that of the whole tensor. Each token has its own: "
            "mean(-1, keepdim=True).",
            lambda x, w, b, eps: torch_rms_norm(x - x.mean(), w, eps) + b,
        ),
        Mistake(
            "over everything",
            "Mean and variance are taken over the whole tensor. Each token has its own: the last "
            "axis, with keepdim=True.",
            lambda x, w, b, eps: (x - x.mean()) / (x.var(correction=0) + eps).sqrt() * w + b,
        ),
    ),
    hints=(
        "Subtract the mean, then do what RMSNorm does, then add the bias.",
        "The variance is the mean square of what is left when the mean is subtracted.",
    ),
)

EXERCISES = (RMS_NORM, ROPE, SWIGLU, BLOCK, SINUSOIDAL_POSITIONS, LAYER_NORM)
