"""Lesson 03: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

# --- rms_norm -------------------------------------------------------------------------------------


def rms_norm_by_length(x, weight, eps):
    squares = torch.einsum("...c,...c->...", x, x) / x.shape[-1]
    return x * weight / torch.sqrt(squares + eps).unsqueeze(-1)


def rms_norm_in_loops(x, weight, eps):
    out = torch.empty_like(x)
    for row, into in zip(x.reshape(-1, x.shape[-1]), out.view(-1, x.shape[-1]), strict=True):
        size = (sum(v * v for v in row.tolist()) / len(row) + eps) ** 0.5
        into.copy_(row / size * weight)
    return out


NORMS = edited(
    rms_norm_by_length,
    """
## eps outside the root
- torch.sqrt(squares + eps) → (torch.sqrt(squares) + eps)
## eps forgotten
-  + eps
## the mean subtracted
- squares =
+ x = x - x.mean(-1, keepdim=True)
+ squares =
## divided by the standard deviation
- squares + eps → squares - x.mean(-1) ** 2 + eps
## the sum instead of the mean
-  / x.shape[-1]
## the square of the mean
- squares + eps → (x.sum(-1) / x.size(-1)) ** 2 + eps
## the root forgotten
- torch.sqrt(squares + eps) → (squares + eps)
## the root and eps forgotten
- torch.sqrt(squares + eps) → squares
## multiplied instead of divided
- weight / torch → weight * torch
## the weight forgotten
- x * weight → x
## 1 + weight
- x * weight → (x + x * weight)
## the weight first
- squares =
+ x = x * weight
+ squares =
- x * weight → x
## over the tokens
- torch.einsum("...c,...c->...", x, x) / x.shape[-1] → (x * x).mean(-2)
- unsqueeze(-1) → unsqueeze(-2)
## over everything
- torch.einsum("...c,...c->...", x, x) / x.shape[-1] → (x * x).mean()
## the mean without keepdim
- .unsqueeze(-1)
## eps by heart
- squares + eps → squares + 1e-5
## another eps by heart
- squares + eps → squares + 1e-6
## eps as a lower bound of the root
- torch.sqrt(squares + eps) → torch.sqrt(squares).clamp(min=eps)
## eps forgotten, and NaN made 0
- return x → return torch.nan_to_num(x
- torch.sqrt(squares + eps).unsqueeze(-1) → torch.sqrt(squares).unsqueeze(-1), nan=0.0)
## eps divided by C
- torch.einsum("...c,...c->...", x, x) / x.shape[-1] → torch.einsum("...c,...c->...", x, x) + eps
- squares + eps → squares / x.shape[-1]
## eps as a lower bound
- squares + eps → torch.maximum(squares, torch.tensor(eps))
## C - 1 instead of C
- / x.shape[-1] → / (x.shape[-1] - 1)
## the standard deviation, by C - 1
- squares + eps → x.std(dim=-1) ** 2 + eps
## the standard deviation, by C - 1, and eps outside
- torch.sqrt(squares + eps) → (x.var(-1).sqrt() + eps)
## the standard deviation, and eps outside
- torch.sqrt(squares + eps) → (x.var(-1, unbiased=False).sqrt() + eps)
## the vector's length, and eps
- torch.sqrt(squares + eps) → (torch.linalg.norm(x, dim=-1) + eps)
## eps inside and outside
- torch.sqrt(squares + eps) → (eps + torch.sqrt(squares + eps))
## eps squared
- squares + eps → squares + eps * eps
## the root of eps
- squares + eps → squares + math.sqrt(eps)
## eps added to x
- torch.einsum("...c,...c->...", x, x) → ((x + eps) ** 2).sum(-1)
- squares + eps → squares
## the median
- squares + eps → (x * x).sort(-1).values[..., (x.shape[-1] - 1) // 2] + eps
## LayerNorm by C - 1
- squares =
+ x = x - x.mean(-1, keepdim=True)
+ squares =
- / x.shape[-1] → / (x.shape[-1] - 1)
## the vector's length
- torch.sqrt(squares + eps) → x.norm(dim=-1).clamp(min=1e-12)
## the mean of the sizes
- torch.sqrt(squares + eps) → (torch.sum(x.abs(), -1) / x.size(-1) + eps)
## the largest
- torch.sqrt(squares + eps) → (torch.linalg.vector_norm(x, math.inf, dim=-1) + eps)
## divided by the weight
- x * weight / torch.sqrt(squares + eps).unsqueeze(-1)
+ x / (weight * torch.sqrt(squares + eps).unsqueeze(-1))
## the size alone
- x * weight / torch.sqrt(squares + eps).unsqueeze(-1) → (squares + eps)[..., None] ** 0.5
## always axis 1
- return x * weight / torch.sqrt(squares + eps).unsqueeze(-1)
+ ms = x.pow(2).mean(min(x.ndim - 1, 1), keepdim=True)
+ return x * weight / (ms + eps) ** 0.5
## over a whole text
- return x * weight / torch.sqrt(squares + eps).unsqueeze(-1)
+ return F.rms_norm(x, x.shape[-2:], eps=eps) * weight
## along the first axis
- return x * weight / torch.sqrt(squares + eps).unsqueeze(-1)
+ return x * weight * torch.rsqrt((x * x).mean(dim=0) + eps)
""",
)

# --- rope -----------------------------------------------------------------------------------------


def frequencies(D, base):
    return torch.exp(-math.log(base) * torch.arange(0, D, 2) / D)


def rope_by_rotate_half(x, positions, base):
    h = x.shape[-1] // 2
    speeds = frequencies(2 * h, base)
    angles = torch.einsum("...t,d->...td", positions.float(), speeds.to(x.device))
    if positions.ndim == 2:
        angles = rearrange(angles, "B T d -> B 1 T d")
    cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
    half_turned = torch.cat((-x[..., h:], x[..., :h]), -1)
    return x * cos + half_turned * sin


def rope_by_matrices(x, positions, base):
    B, _, T, D = x.shape
    rows = positions.expand(B, T)
    out = x.clone()
    for b in range(B):
        for t in range(T):
            for i in range(D // 2):
                angle = float(rows[b, t]) * base ** (-2 * i / D)
                c, s = math.cos(angle), math.sin(angle)
                pair = x[b, :, t, [i, i + D // 2]]
                out[b, :, t, [i, i + D // 2]] = pair @ pair.new_tensor([[c, s], [-s, c]])
    return out


def of_the_transposed(x, positions, base):
    return rope_by_rotate_half(x.transpose(1, 2), positions, base).transpose(1, 2)


def without_the_new_axis(x, positions, base):
    angles = torch.mul(frequencies(x.shape[-1], base), positions)
    angles = angles.unsqueeze(1) if positions.ndim == 2 else angles
    a, b = x.chunk(2, dim=-1)
    c, s = torch.cos(angles), torch.sin(angles)
    return torch.cat((a * c - b * s, a * s + b * c), dim=-1)


ROPES = edited(
    rope_by_rotate_half,
    """
## interleaved pairs
- torch.cat((-x[..., h:], x[..., :h]), -1)
+ torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
- cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
+ cos, sin = (y.repeat_interleave(2, -1) for y in (angles.cos(), angles.sin()))
## base ignored
- frequencies(2 * h, base) → frequencies(2 * h, 10_000.0)
## positions ignored
- h = x.shape[-1] // 2 → h, positions = x.shape[-1] // 2, torch.arange(x.shape[2])
## angles in the dtype of x
- positions.float(), speeds.to(x.device) → positions.to(x.dtype), speeds.to(x)
## positions rounded down
- positions.float() → positions.float().floor()
## turned the other way
- x * cos + half_turned * sin → x * cos - half_turned * sin
## exponents i/D
- frequencies(2 * h, base) → frequencies(2 * h, base).sqrt()
## the exponent doubled twice
- frequencies(2 * h, base) → frequencies(2 * h, base) ** 2
## a positive exponent
- frequencies(2 * h, base) → 1 / frequencies(2 * h, base)
## one speed for all pairs
- frequencies(2 * h, base) → frequencies(2 * h, 1.0)
## the first half already turned
- return x * cos + half_turned * sin
+ first = (x * cos + half_turned * sin)[..., :h]
+ return torch.cat((first, x[..., h:] * cos[..., h:] + first * sin[..., h:]), -1)
## the second half already turned
- return x * cos + half_turned * sin
+ second = (x * cos + half_turned * sin)[..., h:]
+ return torch.cat((x[..., :h] * cos[..., :h] - second * sin[..., :h], second), -1)
## a plus in both halves
- (-x[..., h:], x → (x[..., h:], x
## a minus in both halves
- (-x[..., h:], x → (-x[..., h:], -x
## positions along the heads
- if positions.ndim == 2:
-     angles = rearrange(angles, "B T d -> B 1 T d")
+ angles = angles.unsqueeze(1)
## rows as heads
- if positions.ndim == 2:
-     angles = rearrange(angles, "B T d -> B 1 T d")
## interleaved pairs, put together as halves
- return x * cos + half_turned * sin
+ even, odd, c, s = x[..., ::2], x[..., 1::2], cos[..., :h], sin[..., :h]
+ return torch.cat((even * c - odd * s, odd * c + even * s), -1)
## halves, put together as neighbours
- return x * cos + half_turned * sin
+ return rearrange(x * cos + half_turned * sin, "... (two h) -> ... (h two)", two=2)
## the halves swapped at the end
- x * cos + half_turned * sin → (x * cos + half_turned * sin).roll(h, -1)
## the first half alone is turned
- return x * cos + half_turned * sin
+ return torch.cat(((x * cos + half_turned * sin)[..., :h], x[..., h:]), -1)
## sine and cosine swapped
- x * cos + half_turned * sin → x * sin + half_turned * cos
## the first row's positions for all
- h = x.shape[-1] // 2
+ h = x.shape[-1] // 2
+ positions = positions.view(-1, x.shape[2])[0]
## told by the length, not by the axes
- if positions.ndim == 2:
-     angles = rearrange(angles, "B T d -> B 1 T d")
+ if positions.shape[0] == x.shape[0]:
+     angles = angles.unsqueeze(1)
## counted on from the first position
- h = x.shape[-1] // 2
+ h = x.shape[-1] // 2
+ positions = positions.select(-1, 0).unsqueeze(-1) + torch.arange(x.shape[2])
## counted on from the very first position
- h = x.shape[-1] // 2
+ h = x.shape[-1] // 2
+ start = int(positions.reshape(-1)[0])
+ positions = torch.arange(start, start + x.shape[2])
## the last row's positions for all
- h = x.shape[-1] // 2
+ h = x.shape[-1] // 2
+ positions = positions.view(-1, x.shape[2])[-1]
## measured from the first position
- positions.float() → (positions - positions.select(-1, 0).unsqueeze(-1)).float()
## each half by itself
- (-x[..., h:], x[..., :h]) → (-x[..., :h], x[..., h:])
## each half scaled
- x * cos + half_turned * sin → x * torch.cat((cos[..., :h], sin[..., h:]), -1)
## cosines alone
- x * cos + half_turned * sin → x * cos
## angles added
- x * cos + half_turned * sin → x + torch.cat((sin[..., :h], cos[..., h:]), -1)
## positions from 1
- positions.float() → positions.float() + 1
## base 100,000 by heart
- frequencies(2 * h, base) → frequencies(2 * h, 1e5)
## exponents from 0 to 1
- frequencies(2 * h, base) → base ** -(torch.arange(h) / max(h - 1, 1))
## whole exponents
- frequencies(2 * h, base) → torch.tensor([base ** (-2 * i // (2 * h)) for i in range(h)])
## speeds in reverse
- frequencies(2 * h, base) → frequencies(2 * h, base)[torch.arange(h - 1, -1, -1)]
## in degrees
- positions.float() → torch.deg2rad(positions.float())
""",
)

UNNAMED_ROPES = edited(
    rope_by_rotate_half,
    """
## angles added
- x * cos + half_turned * sin → x + torch.cat((sin[..., :h], cos[..., h:]), -1)
## the first half alone
- return x * cos + half_turned * sin
+ return torch.cat(((x * cos + half_turned * sin)[..., :h], x[..., h:]), -1)
## in degrees
- positions.float() → positions.float() * math.pi / 180
## sines of x
- x * cos + half_turned * sin → x * torch.cat((cos[..., :h], sin[..., h:]), -1)
## in place
- return x * cos + half_turned * sin → return x.copy_(x * cos + half_turned * sin)
""",
)

# --- swiglu ---------------------------------------------------------------------------------------


def swiglu_by_einsum(x, w_gate, w_up, w_down):
    gate = torch.einsum("...c,fc->...f", x, w_gate)
    up = torch.einsum("...c,fc->...f", x, w_up)
    return torch.einsum("...f,cf->...c", gate * torch.sigmoid(gate) * up, w_down)


def swiglu_in_one_matrix(x, w_gate, w_up, w_down):
    gate, up = (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1)
    return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T


FEED_FORWARDS = edited(
    swiglu_in_one_matrix,
    """
## gate and up swapped
- gate / (1 + torch.exp(-gate)) * up → gate * (up / (1 + torch.exp(-up)))
## silu on the product
- gate / (1 + torch.exp(-gate)) * up → gate * up * torch.sigmoid(gate * up)
## silu on both
- gate / (1 + torch.exp(-gate)) * up → gate * torch.sigmoid(gate) * up * torch.sigmoid(up)
## gelu instead of silu
- gate / (1 + torch.exp(-gate)) * up → up * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
## sigmoid instead of silu
- gate / (1 → 1 / (1
## relu instead of silu
- gate / (1 + torch.exp(-gate)) * up → up * gate.clamp(min=0)
## the sigmoid of -z
- torch.exp(-gate) → torch.exp(gate)
## no silu at all
- gate / (1 + torch.exp(-gate)) * up → torch.mul(gate, up)
## added instead of multiplied
- torch.exp(-gate)) * up → torch.exp(-gate)) + up
## no gate
- torch.exp(-gate)) * up → torch.exp(-gate))
## weights not transposed
- (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1) → x.matmul(w_gate), x.matmul(w_up)
- w_down.T → w_down
## x added
- return (gate → return x + (gate
## gelu by tanh instead of silu
- gate / (1 + torch.exp(-gate)) * up
+ up * 0.5 * gate * (1 + torch.tanh((2 / math.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
## sigmoid(1.702 z)
- torch.exp(-gate) → torch.exp(-1.702 * gate)
## a silu that overflows
- gate / (1 + torch.exp(-gate)) → gate * (torch.exp(gate) / (torch.exp(gate) + 1))
## tanh instead of silu
- gate / (1 + torch.exp(-gate)) → (2 * torch.sigmoid(2 * gate) - 1)
## softmax instead of silu
- gate / (1 + torch.exp(-gate)) → torch.softmax(gate, dim=-1)
## silu of the sum
- gate / (1 + torch.exp(-gate)) * up → (gate + up) * torch.sigmoid(gate + up)
## silu at the end
- return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T
+ out = (gate * up) @ w_down.T
+ return out * torch.sigmoid(out)
## silu of x
- (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1) → (x * torch.sigmoid(x)) @ w_gate.T, x @ w_up.T
- gate / (1 + torch.exp(-gate)) * up → gate * up
## silu twice
- gate / (1 + torch.exp(-gate)) → F.silu(gate) * torch.sigmoid(F.silu(gate))
## softplus instead of silu
- gate / (1 + torch.exp(-gate)) → torch.logaddexp(gate, torch.zeros(()))
## a leaky relu instead of silu
- gate / (1 + torch.exp(-gate)) → torch.maximum(gate, 0.01 * gate)
## z · tanh(z)
- gate / (1 + torch.exp(-gate)) → torch.tanh(gate) * gate
## the product alone bent by sigmoid
- gate / (1 + torch.exp(-gate)) * up → 1 / (1 + torch.exp(-gate * up))
## the sigmoid of up
- (1 + torch.exp(-gate)) * up → (1 + torch.exp(-up))
## silu at the end, too
- return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T
+ out = (gate / (1 + torch.exp(-gate)) * up) @ w_down.T
+ return out * torch.sigmoid(out)
## the gate twice
- torch.exp(-gate)) * up → torch.exp(-gate)) * gate
## up twice
- gate / (1 + torch.exp(-gate)) * up → up / (1 + torch.exp(-up)) * up
## not brought down
-  @ w_down.T
## all vectors in one axis
- return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T
+ return ((gate / (1 + torch.exp(-gate)) * up) @ w_down.T).view(-1, len(w_down))
## w_down not transposed
- w_down.T → w_down
## gate and up not transposed
- (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1) → x.matmul(w_gate), x.matmul(w_up)
""",
)

UNNAMED_FEED_FORWARDS = edited(
    swiglu_in_one_matrix,
    """
## silu at the end
- return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T
+ return F.silu((gate / (1 + torch.exp(-gate)) * up) @ w_down.T)
## never down
-  @ w_down.T
## softmax
- gate / (1 + torch.exp(-gate)) → gate.softmax(-1)
## tanh
- gate / (1 + torch.exp(-gate)) → gate.tanh()
""",
)

# --- sinusoidal_positions -------------------------------------------------------------------------


def sinusoids_by_slices(T, C):
    out = torch.zeros(T, C)
    angles = torch.outer(torch.arange(T).float(), frequencies(C, 10_000.0))
    out[:, 0::2], out[:, 1::2] = angles.sin(), angles.cos()
    return out


def sinusoids_as_shifted_sines(T, C):
    channel = torch.arange(C)
    speed = torch.pow(torch.tensor(10_000.0, dtype=torch.float64), -(channel - channel % 2) / C)
    angles = torch.arange(T)[:, None] * speed + (channel % 2) * (math.pi / 2)
    return angles.sin().float()


SINUSOIDS = edited(
    sinusoids_by_slices,
    """
## sines first, cosines after
- out[:, 0::2], out[:, 1::2] → out[:, : C // 2], out[:, C // 2 :]
## cosine before sine
- out[:, 0::2], out[:, 1::2] → out[:, 1::2], out[:, 0::2]
## sines alone
- angles.sin(), angles.cos() → angles.sin(), angles.sin()
## positions from 1
- torch.arange(T).float() → torch.arange(T).float() + 1
## exponents i/C
- frequencies(C, 10_000.0) → frequencies(C, 10_000.0).sqrt()
## the exponent doubled twice
- frequencies(C, 10_000.0) → frequencies(C, 10_000.0).square()
## cosines alone
- angles.sin(), angles.cos() → angles.cos(), angles.cos()
## cosines with an exponent of their own
- angles.sin(), angles.cos() → angles.sin(), (angles / 10_000 ** (1 / C)).cos()
## exponents from 0 to 1
- frequencies(C, 10_000.0) → 10_000.0 ** -(torch.arange(C // 2) / max(C // 2 - 1, 1))
## a positive exponent
- frequencies(C, 10_000.0) → torch.pow(10_000.0, torch.arange(0, C, 2) / C)
## whole exponents
- frequencies(C, 10_000.0) → torch.tensor([10_000.0 ** (-2 * i // C) for i in range(C // 2)])
## one speed for all
- frequencies(C, 10_000.0) → frequencies(C, 1.0)
## a base of 100,000
- frequencies(C, 10_000.0) → frequencies(C, 1e5)
## an axis in front
- return out → return out.unsqueeze(0)
## a base of 1,000
- frequencies(C, 10_000.0) → frequencies(C, 1e3)
## positions as columns
- return out → return out.mT.contiguous()
## pairs in an axis of their own
- return out → return out.view(T, C // 2, 2)
""",
)

# --- layer_norm -----------------------------------------------------------------------------------


def layer_norm_by_moments(x, weight, bias, eps):
    mean = x.mean(-1, keepdim=True)
    spread = torch.clamp(x.double().var(-1, keepdim=True, unbiased=False), min=0.0).float()
    return (x - mean) / torch.sqrt(spread + eps) * weight + bias


def layer_norm_by_rms(x, weight, bias, eps):
    return F.rms_norm(x - x.mean(-1, keepdim=True), x.shape[-1:], weight, eps) + bias


LAYER_NORMS = edited(
    layer_norm_by_moments,
    """
## C - 1 instead of C
- unbiased=False → unbiased=True
## eps outside the root
- torch.sqrt(spread + eps) → (torch.sqrt(spread) + eps)
## C - 1, and eps outside the root
- unbiased=False → unbiased=True
- torch.sqrt(spread + eps) → (torch.sqrt(spread) + eps)
## the mean square of x
- spread + eps → (x**2).mean(-1, keepdim=True) + eps
## RMSNorm
- return (x - mean) / torch.sqrt(spread + eps) * weight
+ return rms_norm_by_length(x, weight, eps)
## the mean not subtracted
- (x - mean) → x
## the bias forgotten
- * weight + bias → * weight
## the bias scaled too
- return (x - mean) / torch.sqrt(spread + eps) * weight + bias
+ return weight * ((x - mean) / torch.sqrt(spread + eps) + bias)
## one mean for the whole tensor
- x.mean(-1, keepdim=True) → x.sum() / x.numel()
- spread + eps → ((x - mean) ** 2).mean(-1, keepdim=True) + eps
## over everything
- return (x - mean) / torch.sqrt(spread + eps) → return F.layer_norm(x, x.shape, eps=eps)
## eps by heart
- spread + eps → spread + 1e-5
## eps forgotten
-  + eps
## eps divided by C
- spread + eps → (spread * x.shape[-1] + eps) / x.shape[-1]
## the root forgotten
- torch.sqrt(spread + eps) → (spread + eps)
## divided by the length
- spread + eps → spread * x.shape[-1] + eps
## the mean of the sizes
- torch.sqrt(spread + eps) → ((x - mean).norm(1, -1, True) / x.shape[-1] + eps)
## the mean subtracted afterwards
- (x - mean) / torch.sqrt(spread + eps) → (x * torch.rsqrt(spread + eps) - mean)
## the weight forgotten
-  * weight
## 1 + weight
- return ( → normed = (
- * weight + bias
+ * 1.0
+ return normed + normed * weight + bias
## weight and bias swapped
- * weight + bias → * bias + weight
## the bias subtracted
- + bias → - bias
## the weight first
- mean = → x = x * weight; mean =
- * weight + bias → + bias
## not divided
-  / torch.sqrt(spread + eps)
## multiplied instead of divided
- / torch.sqrt → * torch.sqrt
## eps inside and outside
- torch.sqrt(spread + eps) → (eps + torch.sqrt(spread + eps))
## the median subtracted
- x.mean(-1, keepdim=True) → x.sort(-1).values[..., (x.shape[-1] - 1) // 2].unsqueeze(-1)
- spread + eps → ((x - mean) ** 2).mean(-1, keepdim=True) + eps
## always axis 1
- mean = x.mean(-1 → mean = x.mean(1 if x.ndim > 1 else 0
- x.double().var(-1 → x.double().var(1 if x.ndim > 1 else 0
## the bias in x
- mean = → x = x + bias; mean =
- * weight + bias → * weight
## over the tokens
- mean = x.mean(-1 → mean = x.mean(-2
- x.double().var(-1 → x.double().var(-2
## along the first axis
- mean = x.mean(-1 → mean = x.mean(0
- x.double().var(-1 → x.double().var(0
## over a whole text
- return (x - mean) / torch.sqrt(spread + eps) → return F.layer_norm(x, x.shape[-2:], eps=eps)
## one variance for the whole tensor
- spread + eps → spread.mean() + eps
""",
)

RIGHT = {
    "rms_norm": [rms_norm_by_length, rms_norm_in_loops],
    "rope": [rope_by_rotate_half, rope_by_matrices],
    "swiglu": [swiglu_by_einsum, swiglu_in_one_matrix],
    "sinusoidal_positions": [sinusoids_by_slices, sinusoids_as_shifted_sines],
    "layer_norm": [layer_norm_by_moments, layer_norm_by_rms],
}

SECOND_FORMS = {
    "rms_norm": NORMS,
    "rope": ROPES | {"no axis for the pairs": without_the_new_axis},
    "swiglu": FEED_FORWARDS,
    "sinusoidal_positions": SINUSOIDS,
    "layer_norm": LAYER_NORMS,
}

UNNAMED = {
    "rms_norm": [
        lambda x, weight, eps: F.normalize(x, dim=-1, eps=eps) * weight,
        lambda x, weight, eps: x / x.abs().mean(-1, keepdim=True) * weight,
        lambda x, weight, eps: rms_norm_by_length(x, weight, eps) + weight,
        lambda x, weight, eps: rms_norm_by_length(x, weight, 1e-5),
    ],
    "rope": [*UNNAMED_ROPES.values(), of_the_transposed],
    "swiglu": list(UNNAMED_FEED_FORWARDS.values()),
    "sinusoidal_positions": [
        lambda T, C: torch.arange(T)[:, None].expand(T, C).float(),
        lambda T, C: sinusoids_by_slices(T, C).T,
        lambda T, C: torch.sin(torch.outer(torch.arange(T).float(), frequencies(C, 10_000.0))),
    ],
    "layer_norm": [
        lambda x, weight, bias, eps: (x - x.mean(-1, keepdim=True)) * weight + bias,
        lambda x, weight, bias, eps: F.layer_norm(x, x.shape[-1:], weight, bias, eps) - bias,
        lambda x, weight, bias, eps: layer_norm_by_rms(x, weight, bias, 1e-5),
    ],
}
