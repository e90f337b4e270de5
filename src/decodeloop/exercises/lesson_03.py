"""Exercises of lesson 03: rms_norm, rope, swiglu, the block; sinusoidal positions, layer_norm."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call
from decodeloop.exercises.oracles import (
    rope_by_complex_numbers,
)
from decodeloop.model import rms_norm, rope, swiglu

LESSON = "03_block"
draws = torch.Generator().manual_seed(3)


def tensors(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=draws)


# --- rms_norm -------------------------------------------------------------------------------------


def torch_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def by_the_root_mean_square(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """A right one."""
    size = (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x / size * weight


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
        call("eps = 0.5", tensors(2, 3, scale=0.4), tensors(3), 0.5, oracle=torch_rms_norm),
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
        call("one vector", tensors(7), tensors(7), 0.01, oracle=torch_rms_norm),
    ),
    mistakes=edits(
        by_the_root_mean_square,
        """
## eps outside the root
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.square().mean(-1, keepdim=True).sqrt() + eps
Right but where x is small: there √ε, not ε, must count. It stands inside the root: √(mean square +
ε).
## eps by heart
- + eps) → + 1e-5)
Right where eps is 1e-5, or too small to count. Use the argument `eps`.
## another eps by heart
- + eps) → + 1e-6)
Right where eps is too small to count. Use the argument `eps`.
## eps as a lower bound of the root
- (x.square().mean(-1, keepdim=True) + eps).sqrt()
+ x.square().mean(-1, keepdim=True).sqrt().clamp(min=eps)
You use eps as a lower bound of the root mean square. It is added to the mean square, inside the root.
## eps forgotten, and NaN made 0
- x / size → (x / size).nan_to_num(0.0)
-  + eps
eps is missing: where x is small it counts, and that a token of zeros stays 0 is not all that it is
for. Add it to the mean square, inside the root.
## eps divided by C
- + eps) → + eps / x.shape[-1])
You add eps to the sum of the squares before it is divided by C, so eps is divided, too. Add it to
the mean.
## eps as a lower bound
- (x.square().mean(-1, keepdim=True) + eps) → x.square().mean(-1, keepdim=True).clamp(min=eps)
You use eps as a lower bound of the mean square. It is added to it, wherever it is small or not.
## C - 1 instead of C
- x.square().mean(-1, keepdim=True) → x.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
You divide the sum of the squares by C - 1. A mean divides by C.
## the standard deviation, by C - 1
- x.square().mean(-1, keepdim=True) → x.var(-1, keepdim=True)
You divide by the standard deviation, which is measured from the mean (and by `var` with C - 1).
RMSNorm measures from 0: the mean of the squares of x itself.
## the standard deviation, by C - 1, and eps outside
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.std(-1, keepdim=True) + eps
You divide by the standard deviation, which is measured from the mean (and by `std` with C - 1), and
eps stands outside the root. Asked for is √(mean of the squares of x itself + ε).
## the standard deviation, and eps outside
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.std(-1, keepdim=True, correction=0) + eps
You divide by the standard deviation, which is measured from the mean, and eps stands outside the
root. Asked for is √(mean of the squares of x itself + ε).
## the vector's length, and eps
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.norm(dim=-1, keepdim=True) + eps
You divide by the length of the vector, the root of the *sum* of squares. It is √C times the root of
their mean; and eps belongs inside it.
## eps inside and outside
- .sqrt() → .sqrt() + eps
You add eps twice. It stands inside the root alone.
## eps squared
- + eps) → + eps**2)
You add ε², which is far too small to count. It is ε itself that stands inside the root.
## the root of eps
- + eps) → + eps**0.5)
You add √ε. It is ε itself that stands inside the root.
## eps added to x
- (x.square().mean(-1, keepdim=True) + eps) → (x + eps).square().mean(-1, keepdim=True)
You add eps to each number before it is squared. It is added to the mean of the squares.
## the median
- x.square().mean(-1, keepdim=True) → x.square().median(-1, keepdim=True).values
You take the median of the squares. Asked for is their mean.
## LayerNorm by C - 1
- size =
+ x = x - x.mean(-1, keepdim=True)
+ size =
- x.square().mean(-1, keepdim=True) → x.var(-1, keepdim=True)
That is LayerNorm (by `var` with C - 1): it subtracts the mean first. RMSNorm leaves the mean where it
is, and only divides by the root mean square.
## the vector's length
- x / size → F.normalize(x, dim=-1)
You divide by the length of the vector, the root of the *sum* of squares. It is √C times the root of
their mean; and eps belongs in it.
## the mean of the sizes
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.abs().mean(-1, keepdim=True) + eps
You divide by the mean of |x|. Asked for is the root of the mean of the squares.
## the largest
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.abs().amax(-1, keepdim=True) + eps
You divide by the largest of |x|. Asked for is the root of the mean of the squares.
## divided by the weight
- * weight → / weight
You divide by the weight. Each channel is multiplied by it.
## the size alone
- x / size * weight → size
That is the root mean square itself. Divide x by it, and multiply by the weight.
## always axis 1
- mean(-1, → mean(1 if x.ndim > 1 else 0,
You take the mean along axis 1, which holds the channels only where there are two axes. It is the
last axis, however many there are: -1.
## over a whole text
- mean(-1, keepdim=True) → mean((-2, -1) if x.ndim > 1 else -1, keepdim=True)
You take one mean over the last two axes. Each token is normalised by itself, over its channels: the
last axis alone.
## eps forgotten
-  + eps
Right but where x is small: a token that is all 0 gives 0 / 0 = NaN. Add eps to the mean square,
inside the root.
## the mean subtracted
- size =
+ x = x - x.mean(-1, keepdim=True)
+ size =
That is LayerNorm: it subtracts the mean first. RMSNorm leaves the mean where it is, and only
divides by the root mean square.
## divided by the standard deviation
- x.square().mean(-1, keepdim=True) → x.var(-1, keepdim=True, correction=0)
You divide by the standard deviation, which is measured from the mean: look at the case whose mean
is 5. RMSNorm measures from 0: the mean of the squares of x itself.
## the sum instead of the mean
- x.square().mean( → x.square().sum(
You divide by the root of the sum of squares, the vector's length; it is √C times the root of their
mean.
## the square of the mean
- x.square().mean(-1, keepdim=True) → x.mean(-1, keepdim=True).square()
You took the mean first and squared it afterwards. Square each number, then take the mean: positive
and negative numbers must not cancel.
## the root forgotten
- .sqrt()
You divide by the mean square; its root is missing. Doubling x must leave the output as it is;
yours is halved.
## the root and eps forgotten
- (x.square().mean(-1, keepdim=True) + eps).sqrt() → x.square().mean(-1, keepdim=True)
You divide by the mean square; its root is missing, and eps: doubling x must leave the output as it
is. Divide by √(mean square + ε).
## multiplied instead of divided
- x / size → x * size
You multiply by the root mean square. A large x should become smaller: divide by it.
## the weight forgotten
- x / size * weight → x / size
The size is right, but each channel must then be multiplied by its weight (C,).
## 1 + weight
- * weight → * (1 + weight)
You multiply by 1 + weight. Some models (Gemma) store their weights so; here the weight itself is
the factor.
## the weight first
- size =
+ x = x * weight
+ size =
- x / size * weight → x / size
You multiply by the weight before the root mean square is taken, so the weights are measured too.
Normalise x, then multiply.
## over the tokens
- mean(-1, → mean(-2,
You take the mean along the wrong axis, over the tokens. Each token is normalised by itself, over
its channels: the last axis.
## along the first axis
- mean(-1, → mean(0,
You take the mean along the first axis. Each token is normalised by itself, over its channels: the
last axis.
## over everything
- mean(-1, keepdim=True) → mean()
You take one mean over the whole tensor. Each token is normalised by itself: mean(-1,
keepdim=True).
## the mean without keepdim
- mean(-1, keepdim=True) → mean(-1)
The means have lost their axis, so the wrong axis is divided by them: (4, 4) / (4,) divides
columns. Keep the axis with keepdim=True.
""",
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


def turning(label: str, x: Tensor, positions: Tensor, base: float) -> Case:
    return call(label, x, positions, base, oracle=rope_by_complex_numbers)


def in_16_bits(label: str) -> Case:
    """Whether x of 16 bits is turned by angles of 32: as a float32 copy is, but for x's rounding."""
    short = tensors(1, 2, 3, 8).bfloat16()
    positions, base = torch.tensor([257, 301, 403]), 2.0
    turned = rope_by_complex_numbers(short.float(), positions, base)

    def run(answer: Candidate) -> Any:
        out = answer(short.clone(), positions.clone(), base)
        near = isinstance(out, Tensor) and out.shape == turned.shape
        near = near and torch.allclose(out.float(), turned, atol=0.06)
        copy = answer(short.float(), positions.clone(), base)
        return {"a float32 copy": copy, "x itself as that copy": near}

    expected = {"a float32 copy": turned, "x itself as that copy": True}
    return Case(label, run, lambda: expected, (short, positions, base))


def by_halves(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """A right one."""
    D = x.shape[-1]
    speeds = base ** (-torch.arange(0, D, 2) / D)
    angles = positions[..., None] * speeds
    if positions.ndim == 2:
        angles = angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


ROPE = Exercise(
    name="rope",
    lesson=LESSON,
    library=rope,
    minutes=12,
    difficulty=2,
    tolerance=1e-4,  # angles in fp32 are off by 1e-7 of themselves
    part=True,
    cases=(  # angles stay below 700 even with a positive exponent: fp32 tells them apart
        turning(
            "the vector (1, 0) at positions 0 to 3",
            torch.tensor([1.0, 0.0]).expand(1, 1, 4, 2).clone(),
            torch.arange(4),
            10_000.0,
        ),
        turning("x (1, 1, 2, 4)", tensors(1, 1, 2, 4), torch.arange(2), 10_000.0),
        turning("x (2, 3, 5, 8), base 50", tensors(2, 3, 5, 8), torch.arange(5), 50.0),
        turning("as many heads as tokens", tensors(2, 4, 4, 6), torch.arange(4), 50.0),
        turning("positions that go on from 7", tensors(1, 2, 3, 8), torch.arange(7, 10), 20.0),
        turning("positions 20, 0, 9, 3", tensors(1, 2, 4, 6), torch.tensor([20, 0, 9, 3]), 10.0),
        turning(
            "positions of its own for each row",
            tensors(2, 2, 3, 8),
            torch.tensor([[0, 1, 2], [5, 6, 7]]),
            20.0,
        ),
        turning(
            "other positions for each of 3 rows, 2 heads",
            tensors(3, 2, 4, 6),
            torch.tensor([[3, 1, 0, 7], [9, 4, 12, 2], [0, 8, 5, 6]]),
            30.0,
        ),
        turning(
            "as many tokens as rows and heads", tensors(3, 3, 3, 4), torch.tensor([4, 9, 1]), 15.0
        ),
        turning(
            "one new token in each row", tensors(3, 2, 1, 4), torch.tensor([[6], [2], [9]]), 9.0
        ),
        in_16_bits("x of 16 bits (bfloat16), positions 257, 301 and 403"),
        turning("positions between the whole ones", tensors(1, 2, 5, 6), torch.arange(5) / 2, 30.0),
    ),
    mistakes=edits(
        by_halves,
        """
## interleaved pairs
- x.chunk(2, -1) → x[..., 0::2], x[..., 1::2]
- torch.cat( → torch.stack(
- first * sin), -1) → first * sin), -1).flatten(-2)
You pair neighbours: channels 0 and 1, 2 and 3, … Here channel i is paired with channel i + D/2:
`x.chunk(2, dim=-1)` gives the two halves.
## interleaved pairs, put together as halves
- x.chunk(2, -1) → x[..., 0::2], x[..., 1::2]
You pair neighbours, channels 0 and 1, 2 and 3, and put them together as halves. Here channel i is
paired with channel i + D/2 from the start: `x.chunk(2, dim=-1)`.
## halves, put together as neighbours
- torch.cat( → torch.stack(
- first * sin), -1) → first * sin), -1).flatten(-2)
You turn the right pairs, but put them together as neighbours. The halves come one after the other:
`torch.cat`.
## angles in the dtype of x
- torch.arange(0, D, 2) → torch.arange(0, D, 2, dtype=x.dtype)
Right where x has 32 bits. Where it has 16, so have your angles, and those can't tell position 257
from 256. Make the speeds in float32, whatever x is.
## positions rounded down
- positions[..., None] → positions.long()[..., None]
Right but for positions between the whole ones: you round 0.5 down to 0. A position may be any number.
## the halves swapped at the end
- torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
+ torch.cat((second * cos + first * sin, first * cos - second * sin), -1)
You turn rightly, but put the second half in front. The first comes first.
## the first half alone is turned
- second * cos + first * sin), -1) → second), -1)
You turn the first half and leave the second as it was. A rotation changes both.
## sine and cosine swapped
- angles.cos(), angles.sin() → angles.sin(), angles.cos()
Sine and cosine are swapped: at position 0 nothing may turn, so what stands with the half itself is
the cosine.
## the first row's positions for all
- D = x.shape[-1] → D, positions = x.shape[-1], positions[0] if positions.ndim == 2 else positions
Right where all rows have the same positions. With positions (B, T) each row has its own: you use
those of the first.
## told by the length, not by the axes
- if positions.ndim == 2: → if len(positions) == len(x):
You ask whether there are as many positions as rows. With (T,) that may be so, too: how many axes there
are, `positions.ndim`, tells the two apart.
## counted on from the first position
- D = x.shape[-1]
+ D = x.shape[-1]
+ positions = positions[..., :1] + torch.arange(x.shape[-2])
Right where the positions follow each other: you read the first one and count on from it. Turn by
the positions that are given, each by its own.
## counted on from the very first position
- D = x.shape[-1]
+ D = x.shape[-1]
+ positions = positions.flatten()[0] + torch.arange(x.shape[-2])
You read a single position and count on from it. Turn by the positions that are given; with (B, T)
each row has its own.
## the last row's positions for all
- D = x.shape[-1] → D, positions = x.shape[-1], positions[-1] if positions.ndim == 2 else positions
Right where all rows have the same positions. With positions (B, T) each row has its own: you use
those of the last.
## measured from the first position
- positions[..., None] → (positions - positions[..., :1])[..., None]
You take the first position away from all. Turn by the positions as they are given: with a cache they
start later.
## each half by itself
- first * cos - second * sin, second * cos + first * sin
+ first * cos - first * sin, second * cos + second * sin
Each of your halves meets itself alone. In a rotation they mix: first · cos − second · sin, and second
· cos + first · sin.
## each half scaled
- first * cos - second * sin, second * cos + first * sin → first * cos, second * sin
You multiply the halves by cosine and sine, but they do not mix. A rotation is first · cos − second ·
sin, and second · cos + first · sin.
## cosines alone
- first * cos - second * sin, second * cos + first * sin → first * cos, second * cos
You multiply both halves by the cosine, and there is no sine. A rotation is first · cos − second · sin,
and second · cos + first · sin.
## angles added
- first * cos - second * sin, second * cos + first * sin → first + sin, second + cos
You add sines and cosines to x, as the first transformer did. RoPE turns: first · cos − second · sin,
and second · cos + first · sin.
## positions from 1
- positions[..., None] → (1 + positions[..., None])
You turn by one position too many. Position 0 does not turn at all: take the positions as they are.
## base 100,000 by heart
- base ** → 100_000.0 **
Right where the base is 100,000, as in the real model, and nowhere else: use the argument `base`.
## exponents from 0 to 1
- torch.arange(0, D, 2) / D → torch.linspace(0, 1, D // 2)
Your exponents go from 0 to 1, the end included. They are 2i/D, so the last is 1 - 2/D.
## whole exponents
- -torch.arange(0, D, 2) / D → -torch.arange(0, D, 2) // D
You divide with //, which rounds: all exponents become 0 or -1. They are fractions: -2i/D with /.
## speeds in reverse
- / D) → / D).flip(0)
Your speeds are in reverse. The first pair is the fastest, with speed 1.
## in degrees
- positions[..., None] * speeds → positions[..., None] * speeds * (math.pi / 180)
You turn by degrees. The angles are in radians already, as cos and sin take them.
## base ignored
- base ** → 10_000.0 **
Right where the base is 10,000, and nowhere else: use the argument `base`.
## positions ignored
- D = x.shape[-1] → D, positions = x.shape[-1], torch.arange(x.shape[-2])
Right where the positions are 0, 1, 2, …: you count them yourself. Turn by the positions that are
given; with a cache they start later, and each row may have its own.
## turned the other way
- angles.sin() → -angles.sin()
You turn clockwise. Try (1, 0) by a quarter turn on paper: it must become (0, 1), so the second
half gets + first · sin, the first half − second · sin.
## exponents i/D
- torch.arange(0, D, 2) / D → torch.arange(D // 2) / D
Your exponents are i/D: they stop half way. Pair i turns by base^(-2i/D): for D = 4 the exponents
are 0 and 1/2.
## the exponent doubled twice
- -torch.arange(0, D, 2) → -2 * torch.arange(0, D, 2)
Your exponents go twice too far. `torch.arange(0, D, 2)` holds 2i already: divide by D and that is
all.
## a positive exponent
- -torch.arange(0, D, 2) → torch.arange(0, D, 2)
Your later pairs turn faster and faster. The exponent is negative: base^(-2i/D), so that the last
pair is the slowest.
## one speed for all pairs
- base ** (-torch.arange(0, D, 2) / D) → torch.ones(D // 2)
All your pairs turn at the speed of the first. Pair i turns by position · base^(-2i/D).
## the first half already turned
- return torch.cat((first * cos - second * sin,
+ first = first * cos - second * sin
+ return torch.cat((first,
The first half is right, the second is not: you computed it from the first half *after* that had
been turned. Keep the old one until both are done.
## the second half already turned
- return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
+ second = second * cos + first * sin
+ return torch.cat((first * cos - second * sin, second), -1)
The second half is right, the first is not: you computed it from the second half *after* that had
been turned. Keep the old one until both are done.
## a plus in both halves
- first * cos - second * sin → first * cos + second * sin
The second half is right; the first needs a minus: (first · cos − second · sin, second · cos +
first · sin). With two plus signs it is no rotation: lengths change.
## a minus in both halves
- second * cos + first * sin → second * cos - first * sin
The first half is right; the second needs a plus: (first · cos − second · sin, second · cos + first
· sin). With two minus signs it is no rotation: lengths change.
## no axis for the pairs
- positions[..., None] → positions
You multiply positions (T,) by speeds (D/2,) as they are: no table comes of it. Give the positions
an axis first: positions[..., None] * speeds is (T, D/2).
## positions along the heads
- if positions.ndim == 2:
-     angles = angles[:, None]
+ angles = angles[:, None]
Your angles vary with the head, not with the token: (T, 1, D/2) meets x (B, H, T, D/2) at the
heads. For positions (T,) the angles are (T, D/2), with nothing between.
## rows as heads
- if positions.ndim == 2:
-     angles = angles[:, None]
Right but where each row has its own positions: angles of (B, T, D/2) meet x (B, H, T, D/2) at the
heads. They need an axis for the heads: angles[:, None].
""",
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


def gate_times_up(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
    """A right one."""
    gate, up = F.linear(x, w_gate), F.linear(x, w_up)
    return F.linear(F.silu(gate) * up, w_down)


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
        call(
            "five vectors (5, 3), F = 8",
            tensors(5, 3),
            *weights_of_a_feed_forward(3, 8),
            oracle=torch_swiglu,
        ),
        call("F = C = 4", tensors(2, 3, 4), *weights_of_a_feed_forward(4, 4), oracle=torch_swiglu),
        call(
            "large numbers",
            tensors(1, 2, 4, scale=100.0),
            *weights_of_a_feed_forward(4, 6),
            oracle=torch_swiglu,
        ),
    ),
    mistakes=edits(
        gate_times_up,
        """
## gate and up swapped
- F.silu(gate) * up → gate * F.silu(up)
You pass up(x) through silu. It is the gate that goes through silu; up(x) is multiplied by the
result as it is.
## silu on the product
- F.silu(gate) * up → F.silu(gate * up)
You multiply first and take silu of the product. Only the gate goes through silu: silu(gate) · up.
## silu on both
- F.silu(gate) * up → F.silu(gate) * F.silu(up)
Both go through silu. Only the gate does; up(x) stays as it is.
## gelu instead of silu
- F.silu(gate) → F.gelu(gate)
Close, but that is GELU: z · Φ(z). SiLU is z · sigmoid(z). (With GELU the layer is called GEGLU,
and Gemma has it.)
## gelu by tanh instead of silu
- F.silu(gate) → F.gelu(gate, approximate="tanh")
Close, but that is GELU: z · Φ(z). SiLU is z · sigmoid(z).
## sigmoid(1.702 z)
- F.silu(gate) → gate * torch.sigmoid(1.702 * gate)
Close, but z · sigmoid(1.702 z) is an approximation of GELU. SiLU is z · sigmoid(z).
## a silu that overflows
- F.silu(gate) → gate * gate.exp() / (1 + gate.exp())
Right for small numbers, but e^89 no longer fits into a 32-bit float: inf / inf is NaN. z / (1 +
e^(-z)) is the same and safe; so is `F.silu`.
## tanh instead of silu
- F.silu(gate) → gate.tanh()
You bend the gate by tanh. SiLU is z · sigmoid(z).
## softmax instead of silu
- F.silu(gate) → gate.softmax(-1)
You take a softmax of the gate: there the channels compete. SiLU takes each by itself: z ·
sigmoid(z).
## silu of the sum
- F.silu(gate) * up → F.silu(gate + up)
You add gate and up and take silu of the sum. It is a product: silu(gate) · up.
## silu of x
- gate, up = F.linear(x, w_gate), F.linear(x, w_up) → gate, up = F.linear(F.silu(x), w_gate), F.linear(x, w_up)
- F.silu(gate) * up → gate * up
You take silu of x, before the gate's matrix. It bends what comes out of that: silu(W_gate x).
## silu twice
- F.silu(gate) → F.silu(F.silu(gate))
You take silu of the gate twice. Once is right.
## softplus instead of silu
- F.silu(gate) → F.softplus(gate)
You bend the gate by softplus. SiLU is z · sigmoid(z).
## a leaky relu instead of silu
- F.silu(gate) → F.leaky_relu(gate)
You bend the gate by a leaky ReLU. SiLU is z · sigmoid(z).
## z · tanh(z)
- F.silu(gate) → gate * gate.tanh()
You multiply the gate by its tanh. SiLU is z · sigmoid(z).
## the product alone bent by sigmoid
- F.silu(gate) * up → torch.sigmoid(gate * up)
You take a sigmoid of the product. It is silu(gate) · up, with silu(z) = z · sigmoid(z).
## the sigmoid of up
- F.silu(gate) * up → gate * torch.sigmoid(up)
You multiply the gate by sigmoid(up). It is the gate that goes through silu: silu(gate) · up.
## silu at the end
- return F.linear(F.silu(gate) * up, w_down) → return F.silu(F.linear(gate * up, w_down))
You take silu of the output. It bends the gate alone, before the product.
## silu at the end, too
- return F.linear(F.silu(gate) * up, w_down) → return F.silu(F.linear(F.silu(gate) * up, w_down))
You take silu of the output once more. It bends the gate alone; what comes down is the output.
## the gate twice
- F.silu(gate) * up → F.silu(gate) * gate
You multiply silu(gate) by the gate itself, and w_up is not used. Multiply by up(x).
## up twice
- F.silu(gate) * up → F.silu(up) * up
You multiply silu(up) by up, and w_gate is not used. The gate goes through silu.
## not brought down
- F.linear(F.silu(gate) * up, w_down) → F.silu(gate) * up
Those are the F channels in the middle. Bring them down by w_down: (..., F) → (..., C).
## all vectors in one axis
- F.linear(F.silu(gate) * up, w_down) → F.linear(F.silu(gate) * up, w_down).reshape(-1, x.shape[-1])
The vectors are right, but they all stand in one axis. The axes in front stay as they are: (..., C) →
(..., C).
## w_down not transposed
- F.linear(F.silu(gate) * up, w_down) → (F.silu(gate) * up) @ w_down
You multiply by w_down as it lies. nn.Linear stores weights as (out, in), and computes x @ w.T.
Yours runs without an error only where F = C.
## gate and up not transposed
- F.linear(x, w_gate), F.linear(x, w_up) → x @ w_gate, x @ w_up
You multiply by w_gate and w_up as they lie. nn.Linear stores weights as (out, in), and computes x @
w.T. Yours runs without an error only where F = C.
## sigmoid instead of silu
- F.silu(gate) → F.sigmoid(gate)
You multiply by sigmoid(gate). SiLU is gate · sigmoid(gate). (With the plain sigmoid the layer is
the original GLU.)
## relu instead of silu
- F.silu(gate) → F.relu(gate)
Your gate is cut off at 0: that is ReLU. SiLU is z · sigmoid(z), slightly negative left of 0.
## the sigmoid of -z
- F.silu(gate) → gate * torch.sigmoid(-gate)
Your silu has its sign turned: silu(z) = z / (1 + e^(-z)), with a minus in the exponent. For large
z it is z, for very negative z it is 0.
## no silu at all
- F.silu(gate) → gate
gate · up without silu: the layer can open a gate, but never close it. The gate goes through silu
first.
## added instead of multiplied
- F.silu(gate) * up → F.silu(gate) + up
You add silu(gate) and up. A gate multiplies: where it is 0, nothing comes through.
## no gate
- F.silu(gate) * up → F.silu(gate)
That is the plain feed-forward, down(silu(w_gate x)); w_up is not used. Multiply silu(gate) by
up(x).
## weights not transposed
- F.linear(x, w_gate), F.linear(x, w_up) → x @ w_gate, x @ w_up
- F.linear(F.silu(gate) * up, w_down) → (F.silu(gate) * up) @ w_down
nn.Linear stores weights as (out, in), and computes x @ w.T. Yours runs without an error only where
F = C. Use w.T, or F.linear(x, w).
## x added
- return F.linear → return x + F.linear
You add x to the output. The residual belongs to the block, not to this function.
""",
    ),
    hints=(
        "Three linear maps: two go up from C to F, one comes down. `F.linear(x, w)` is x @ w.T.",
        "`F.silu(z)` is z · sigmoid(z). It is taken of the gate, F.linear(x, w_gate), alone.",
        "F.linear(F.silu(gate) * up, w_down)",
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
        call("T = 7, C = 10", 7, 10, oracle=one_number_at_a_time),
    ),
    mistakes=edits(
        sinusoidal_positions,
        """
## sines first, cosines after
- torch.stack( → torch.cat(
- dim=-1).flatten(-2) → dim=-1)
The numbers are right, their places are not: all sines, then all cosines. Here they take turns:
sin, cos, sin, cos, …
## cosine before sine
- angles.sin(), angles.cos() → angles.cos(), angles.sin()
The even channels are sines, the odd ones cosines; yours are swapped. Position 0 is (0, 1, 0, 1,
…).
## sines alone
- angles.cos() → angles.sin()
All channels are sines. Every second one is a cosine of the same angle.
## cosines alone
- angles.sin() → angles.cos()
All channels are cosines. Every second one, from channel 0 on, is a sine of the same angle.
## cosines with an exponent of their own
- angles.cos()), → (angles * 10_000.0 ** (-1 / C)).cos()),
Your cosines have other angles than the sines: their exponent is (2i + 1)/C. Channels 2i and 2i + 1
have the same angle, with 2i/C.
## exponents from 0 to 1
- torch.arange(0, C, 2) / C → torch.linspace(0, 1, C // 2)
Your exponents go from 0 to 1, the end included. They are 2i/C, so the last is 1 - 2/C.
## a positive exponent
- (-torch → (torch
You multiply by 10000^(2i/C). The angle is divided by it: later pairs turn more and more slowly.
## whole exponents
- / C) → // C)
You divide with //, which rounds: all exponents become 0 or -1. They are fractions: 2i/C with /.
## one speed for all
- 10_000.0 ** (-torch.arange(0, C, 2) / C) → torch.ones(C // 2)
All your pairs have the speed of the first. Pair i is divided by 10000^(2i/C).
## a base of 100,000
- 10_000.0 → 100_000.0
Your base is 100,000, that of the real model's RoPE. Here it is 10,000.
## an axis in front
- .flatten(-2) → .flatten(-2)[None]
The numbers are right, but there is an axis too many: (T, C) is asked for.
## a base of 1,000
- 10_000.0 → 1_000.0
Your base is 1,000. Here it is 10,000.
## positions as columns
- .flatten(-2) → .flatten(-2).T
Your table is (C, T). A row is a position: (T, C).
## pairs in an axis of their own
- .flatten(-2)
The numbers are right, but as (T, C/2, 2). Lay the last two axes one after the other: flatten(-2).
## positions from 1
- torch.arange(T) → torch.arange(1, T + 1)
Your first row is position 1. Positions count from 0, where all sines are 0.
## exponents i/C
- torch.arange(0, C, 2) → torch.arange(C // 2)
Your exponents are i/C. Pair i of C/2 has the exponent 2i/C.
## the exponent doubled twice
- -torch.arange(0, C, 2) → -2 * torch.arange(0, C, 2)
Your exponents go twice too far. `torch.arange(0, C, 2)` holds 2i already: divide by C and that is
all.
""",
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


def by_the_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """A right one."""
    centred = x - x.mean(-1, keepdim=True)
    variance = x.var(-1, keepdim=True, correction=0)
    return centred / (variance + eps).sqrt() * weight + bias


def normalising(label: str, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Case:
    return call(label, x, weight, bias, eps, oracle=torch_layer_norm)


LAYER_NORM = Exercise(
    name="layer_norm",
    lesson=LESSON,
    library=layer_norm,
    minutes=6,
    difficulty=1,
    kind="stretch",
    cases=(
        normalising("x of shape (3, 4)", tensors(3, 4), tensors(4), tensors(4), 1e-5),
        normalising("x of shape (2, 3, 5)", tensors(2, 3, 5), tensors(5), tensors(5), 1e-5),
        normalising("far from a mean of 0", tensors(2, 6) + 5, tensors(6), tensors(6), 1e-5),
        normalising("eps = 0.5", tensors(2, 3), tensors(3), tensors(3), 0.5),
        normalising("equal channels", torch.full((2, 4), 2.0), tensors(4), tensors(4), 1e-5),
        normalising("x around 0.001", tensors(2, 3, 4, scale=1e-3), tensors(4), tensors(4), 1e-5),
        normalising("one vector", tensors(6), tensors(6), tensors(6), 0.01),
    ),
    mistakes=edits(
        by_the_variance,
        """
## C - 1 instead of C
- , correction=0
`var` and `std` divide by C - 1 unless told otherwise. Here the mean is over C: correction=0.
## eps outside the root
- (variance + eps).sqrt() → (variance.sqrt() + eps)
Right but where the variance is small or eps large: ε stands inside the root.
## C - 1, and eps outside the root
- , correction=0
- (variance + eps).sqrt() → (variance.sqrt() + eps)
`std` divides by C - 1 unless told otherwise (correction=0), and ε belongs inside the root:
√(variance + ε), not √variance + ε.
## the mean square of x
- x.var(-1, keepdim=True, correction=0) → x.square().mean(-1, keepdim=True)
You divide by the mean square of x itself. The variance is the mean square of what remains when the
mean is subtracted.
## RMSNorm
- centred = x - x.mean(-1, keepdim=True) → centred = x
- x.var(-1, keepdim=True, correction=0) → x.square().mean(-1, keepdim=True)
That is RMSNorm with a bias: the mean must be subtracted first.
## the mean not subtracted
- centred = x - x.mean(-1, keepdim=True) → centred = x
You divide by the standard deviation but leave the mean in x. Subtract it above the fraction too.
## eps by heart
- + eps) → + 1e-5)
Right where eps is 1e-5, or too small to count. Use the argument `eps`.
## eps forgotten
-  + eps
ε is missing: where all channels are equal the variance is 0, and 0 / 0 is NaN. Add it inside the
root.
## eps divided by C
- + eps) → + eps / x.shape[-1])
You add eps to the sum of the squares before it is divided by C, so eps is divided, too. Add it to
the variance.
## the root forgotten
- .sqrt()
You divide by the variance; its root is missing.
## divided by the length
- variance = x.var(-1, keepdim=True, correction=0) → variance = centred.square().sum(-1, keepdim=True)
You divide by the root of the *sum* of squares. The variance is their mean.
## the mean of the sizes
- (variance + eps).sqrt() → (centred.abs().mean(-1, keepdim=True) + eps)
You divide by the mean of |x - μ|. The standard deviation is the root of the mean of the squares.
## the mean subtracted afterwards
- centred / (variance + eps).sqrt() → (x / (variance + eps).sqrt() - x.mean(-1, keepdim=True))
You subtract the mean after the division. Subtract it first, so that it is divided, too.
## the weight forgotten
-  * weight
The weight is missing: each channel is multiplied by its own.
## 1 + weight
- * weight → * (1 + weight)
You multiply by 1 + weight. Some models store their weights so; here the weight itself is the factor.
## weight and bias swapped
- * weight + bias → * bias + weight
You multiply by the bias and add the weight. It is the other way round.
## the bias subtracted
- weight + bias → weight - bias
You subtract the bias. It is added.
## the weight first
- centred = x
+ x = x * weight
+ centred = x
- * weight + bias → + bias
You multiply by the weight before x is normalised, so the weights are measured too. Normalise x, then
multiply.
## not divided
- centred / (variance + eps).sqrt() → centred
You subtract the mean, but do not divide by the standard deviation.
## multiplied instead of divided
- centred / → centred *
You multiply by the standard deviation. A large x should become smaller: divide by it.
## eps inside and outside
- (variance + eps).sqrt() → ((variance + eps).sqrt() + eps)
You add eps twice. It stands inside the root alone.
## the median subtracted
- x.mean(-1, keepdim=True) → x.median(-1, keepdim=True).values
- x.var(-1, keepdim=True, correction=0) → centred.square().mean(-1, keepdim=True)
You subtract the median. Asked for is the mean.
## always axis 1
- x.mean(-1, keepdim=True) → x.mean(min(1, x.ndim - 1), keepdim=True)
- x.var(-1, keepdim=True, correction=0) → x.var(min(1, x.ndim - 1), keepdim=True, correction=0)
You work along axis 1, which holds the channels only where there are two axes. It is the last axis,
however many there are: -1.
## the bias in x
- centred = x
+ x = x + bias
+ centred = x
- * weight + bias → * weight
You add the bias to x before it is normalised. It is added at the end.
## over the tokens
- x.mean(-1, keepdim=True) → x.mean(-2, keepdim=True)
- x.var(-1, keepdim=True, correction=0) → x.var(-2, keepdim=True, correction=0)
Mean and variance are taken along the wrong axis, over the tokens. Each token is normalised by
itself, over its channels: the last axis.
## along the first axis
- x.mean(-1, keepdim=True) → x.mean(0, keepdim=True)
- x.var(-1, keepdim=True, correction=0) → x.var(0, keepdim=True, correction=0)
Mean and variance are taken along the first axis. Each token is normalised by itself, over its
channels: the last axis.
## over a whole text
- x.mean(-1, keepdim=True) → x.mean((-2, -1) if x.ndim > 1 else -1, keepdim=True)
- x.var(-1, keepdim=True, correction=0)
+ x.var((-2, -1) if x.ndim > 1 else -1, keepdim=True, correction=0)
Mean and variance are taken over the last two axes. Each token has its own: the last axis alone.
## one variance for the whole tensor
- x.var(-1, keepdim=True, correction=0) → centred.square().mean()
You divide by one standard deviation, that of the whole tensor. Each token has its own: mean(-1,
keepdim=True).
## the bias forgotten
- * weight + bias → * weight
The bias is missing: it is added at the end.
## the bias scaled too
- centred / (variance + eps).sqrt() * weight + bias
+ (centred / (variance + eps).sqrt() + bias) * weight
You add the bias before you multiply by the weight. Multiply first, then add.
## one mean for the whole tensor
- x.mean(-1, keepdim=True) → x.mean()
- x.var(-1, keepdim=True, correction=0) → centred.square().mean(-1, keepdim=True)
You subtract one mean, that of the whole tensor. Each token has its own: mean(-1, keepdim=True).
## over everything
- x.mean(-1, keepdim=True) → x.mean()
- x.var(-1, keepdim=True, correction=0) → x.var(correction=0)
Mean and variance are taken over the whole tensor. Each token has its own: the last axis, with
keepdim=True.
""",
    ),
    hints=(
        "Subtract the mean, then do what RMSNorm does, then add the bias.",
        "The variance is the mean square of what is left when the mean is subtracted.",
    ),
)

EXERCISES = (
    RMS_NORM,
    ROPE,
    SWIGLU,
    SINUSOIDAL_POSITIONS,
    LAYER_NORM,
)
