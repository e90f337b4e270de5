"""Lesson 03: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange
from hypothesis import strategies as st
from random_inputs import drawn, seeds, shaped, sizes
from torch.nn import functional as F

from decodeloop.model import Block, ModelConfig

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


def eps_added_to_the_size(x, weight, eps):
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / math.sqrt(x.shape[-1])
    return weight * (x / (size + eps))


def no_eps(x, weight, eps):
    return x * torch.rsqrt((x**2).sum(-1, keepdim=True) / x.shape[-1]) * weight


def centred_first(x, weight, eps):
    y = x - x.mean(-1, keepdim=True)
    return y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + eps) * weight


def by_the_deviation(x, weight, eps):
    spread = (x * x).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2
    return weight * x * torch.rsqrt(spread + eps)


def by_the_length(x, weight, eps):
    return x / torch.sqrt(torch.einsum("...c,...c->...", x, x)[..., None] + eps) * weight


def squared_too_late(x, weight, eps):
    return x * torch.rsqrt((x.sum(-1, keepdim=True) / x.size(-1)) ** 2 + eps) * weight


def by_the_mean_square(x, weight, eps):
    return weight * x / ((x * x).sum(dim=-1, keepdim=True) / x.size(-1) + eps)


def by_the_mean_square_alone(x, weight, eps):
    return x * weight * x.shape[-1] / torch.einsum("...c,...c->...", x, x)[..., None]


def times_the_size(x, weight, eps):
    return weight * x * torch.sqrt(torch.mean(x**2, dim=-1, keepdim=True) + eps)


def size_only(x, weight, eps):
    return F.rms_norm(x, x.shape[-1:], eps=eps)


def one_plus(x, weight, eps):
    normed = F.rms_norm(x, x.shape[-1:], eps=eps)
    return normed + normed * weight


def weighted_and_then_normed(x, weight, eps):
    return F.rms_norm(weight * x, x.shape[-1:], eps=eps)


def down_the_columns(x, weight, eps):
    turned = x.transpose(-1, -2)
    return F.rms_norm(turned, turned.shape[-1:], eps=eps).transpose(-1, -2) * weight


def everything_at_once(x, weight, eps):
    return F.rms_norm(x, x.shape, eps=eps) * weight


def sizes_without_an_axis(x, weight, eps):
    return x * torch.rsqrt(torch.mean(x * x, dim=-1) + eps) * weight


# --- rope -----------------------------------------------------------------------------------------


def frequencies(D, base):
    return torch.exp(-math.log(base) * torch.arange(0, D, 2) / D)


def angle_table(x, positions, speeds):
    """(T, D/2), or (B, 1, T, D/2) where the rows have positions of their own."""
    angles = torch.einsum("...t,d->...td", positions.float(), speeds)
    return angles if positions.ndim == 1 else rearrange(angles, "B T d -> B 1 T d")


def half_turned(x):
    first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-second, first), dim=-1)


def rope_by_rotate_half(x, positions, base):
    angles = angle_table(x, positions, frequencies(x.shape[-1], base)).repeat(
        *[1] * (1 + 2 * (positions.ndim == 2)), 2
    )
    return x * angles.cos() + half_turned(x) * angles.sin()


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
                out[b, :, t, [i, i + D // 2]] = pair @ torch.tensor([[c, s], [-s, c]])
    return out


def rope_with(speeds=frequencies, sign=1.0, turned=half_turned, table=angle_table):
    def answer(x, positions, base):
        angles = table(x, positions, speeds(x.shape[-1], base))
        angles = torch.cat((angles, angles), dim=-1)
        return x * torch.cos(angles) + sign * turned(x) * torch.sin(angles)

    return answer


def rope_of_neighbours(x, positions, base):
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    angles = angle_table(x, positions, frequencies(x.shape[-1], base))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def counting_for_itself(x, positions, base):
    return rope_by_matrices(x, torch.arange(x.shape[2]), base)


def base_always_ten_thousand(x, positions, base=10_000.0):
    return rope_by_matrices(x, positions, 10_000.0)


def overwriting(x, positions, base):
    angles = angle_table(x, positions, frequencies(x.shape[-1], base))
    out, h = x.clone(), x.shape[-1] // 2
    out[..., :h] = out[..., :h] * angles.cos() - out[..., h:] * angles.sin()
    out[..., h:] = out[..., h:] * angles.cos() + out[..., :h] * angles.sin()
    return out


def overwriting_from_the_back(x, positions, base):
    angles = angle_table(x, positions, frequencies(x.shape[-1], base))
    out, h = x.clone(), x.shape[-1] // 2
    out[..., h:] = out[..., h:] * angles.cos() + out[..., :h] * angles.sin()
    out[..., :h] = out[..., :h] * angles.cos() - out[..., h:] * angles.sin()
    return out


def without_the_new_axis(x, positions, base):
    angles = torch.mul(frequencies(x.shape[-1], base), positions)
    angles = angles.unsqueeze(1) if positions.ndim == 2 else angles
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    c, s = torch.cos(angles), torch.sin(angles)
    return torch.cat((a * c - b * s, a * s + b * c), dim=-1)


def both_positive(x):
    return -both_negative(x)


def both_negative(x):
    first, second = x.chunk(2, -1)
    return -torch.cat((second, first), -1)


def head_angles(x, positions, speeds):
    if positions.ndim == 2:
        return angle_table(x, positions, speeds)
    return torch.einsum("h,d->hd", positions.float(), speeds).unsqueeze(-2)


def angles_without_heads(x, positions, speeds):
    return positions.unsqueeze(-1) * speeds


def added_angles(x, positions, base):
    angles = angle_table(x, positions, frequencies(x.shape[-1], base))
    return x + torch.cat((angles.sin(), angles.cos()), -1)


def only_first_half(x, positions, base):
    turned = rope_by_rotate_half(x, positions, base)
    return torch.cat((turned.chunk(2, -1)[0], x.chunk(2, -1)[1]), -1)


def in_degrees(x, positions, base):
    return rope_by_rotate_half(x, positions.float() * math.pi / 180, base)


def of_the_transposed(x, positions, base):
    return rope_by_rotate_half(x.transpose(1, 2), positions, base).transpose(1, 2)


def sines_of_x(x, positions, base):
    angles = angle_table(x, positions, frequencies(x.shape[-1], base))
    return x * torch.cat((angles.cos(), angles.sin()), -1)


def in_place(x, positions, base):
    x.copy_(rope_by_rotate_half(x, positions, base))
    return x


# --- swiglu ---------------------------------------------------------------------------------------


def swiglu_by_einsum(x, w_gate, w_up, w_down):
    gate = torch.einsum("...c,fc->...f", x, w_gate)
    up = torch.einsum("...c,fc->...f", x, w_up)
    return torch.einsum("...f,cf->...c", gate * torch.sigmoid(gate) * up, w_down)


def swiglu_in_one_matrix(x, w_gate, w_up, w_down):
    gate, up = (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1)
    return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T


def projected(middle):
    def answer(x, w_gate, w_up, w_down):
        gate, up = (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1)
        return torch.matmul(middle(gate, up), w_down.mT)

    return answer


def hand_silu(z):
    return z / (1 + torch.exp(-z))


def gaussian(z):
    return z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def as_they_are(x, w_gate, w_up, w_down):
    return hand_silu(x.matmul(w_gate)).mul(x.matmul(w_up)).matmul(w_down)


def with_its_own_residual(x, w_gate, w_up, w_down):
    return swiglu_by_einsum(x, w_gate, w_up, w_down) + x


# --- block ----------------------------------------------------------------------------------------


def normed_by(norm, layer, x):
    return rms_norm_by_length(x, norm.weight, layer.config.norm_eps)


def fed(layer, x):
    f = layer.feed_forward
    return f.down(F.silu(f.gate(x)) * f.up(x))


def block_of_modules(x, layer, positions, attend):
    config = layer.config
    h = normed_by(layer.attention_norm, layer, x)
    q = rearrange(layer.attention.query(h), "B T (H D) -> B H T D", H=config.heads)
    k = rearrange(layer.attention.key(h), "B T (G D) -> B G T D", G=config.kv_heads)
    v = rearrange(layer.attention.value(h), "B T (G D) -> B G T D", G=config.kv_heads)
    q, k = (rope_by_rotate_half(y, positions, config.rope_base) for y in (q, k))
    x = x + layer.attention.output(rearrange(attend(q, k, v), "B H T D -> B T (H D)"))
    return x + fed(layer, normed_by(layer.feed_forward_norm, layer, x))


def block_in_one_projection(x, layer, positions, attend):
    config, weights = layer.config, layer.attention
    B, T, _ = x.shape
    D = config.head_dim
    h = F.rms_norm(x, x.shape[-1:], layer.attention_norm.weight, config.norm_eps)
    stacked = torch.cat((weights.query.weight, weights.key.weight, weights.value.weight))
    heads = (h @ stacked.T).view(B, T, -1, D).permute(0, 2, 1, 3)
    q, k, v = heads.split((config.heads, config.kv_heads, config.kv_heads), dim=1)
    q, k = torch.cat((q, k), 1).split((config.heads, config.kv_heads), 1)
    turned = rope_by_matrices(torch.cat((q, k), 1), positions, config.rope_base)
    q, k = turned[:, : config.heads], turned[:, config.heads :]
    mixed = attend(q, k, v).permute(0, 2, 1, 3).reshape(B, T, -1)
    middle = torch.add(x, mixed @ weights.output.weight.T)
    h = F.rms_norm(middle, x.shape[-1:], layer.feed_forward_norm.weight, config.norm_eps)
    f = layer.feed_forward
    return middle + swiglu_in_one_matrix(h, f.gate.weight, f.up.weight, f.down.weight)


def attended(
    layer,
    h,
    positions,
    attend,
    turn_k=True,
    turn_v=False,
    turn_q=True,
    kv=None,
    base=None,
    before=False,
    merge=True,
    out=True,
):
    """What attention adds, with switches for what students forget."""
    config, weights = layer.config, layer.attention
    kv = config.kv_heads if kv is None else kv
    base = config.rope_base if base is None else base

    def heads(linear, n, turn):
        y = linear(h)
        if turn and before:
            y = rope_by_rotate_half(y.unsqueeze(1), positions, base).squeeze(1)
        y = rearrange(y, "B T (n D) -> B n T D", n=n)
        return rope_by_rotate_half(y, positions, base) if turn and not before else y

    mixed = attend(
        heads(weights.query, config.heads, turn_q),
        heads(weights.key, kv, turn_k),
        heads(weights.value, kv, turn_v),
    )
    B, _, T, _ = mixed.shape
    if merge is None:
        return weights.output(mixed)
    mixed = mixed.permute(0, 2, 1, 3).flatten(2) if merge else mixed.contiguous().view(B, T, -1)
    return weights.output(mixed) if out else mixed


def block_with(positions_of=lambda x, positions: positions, first=None, second=None, **switches):
    """A right block but for its switches; `first` and `second` name the norms that are read."""

    def answer(x, layer, positions, attend):
        def norm(name, default, y):
            name = default if name is None else name
            return y if name == "none" else normed_by(getattr(layer, name), layer, y)

        where = positions_of(x, positions)
        h = norm(first, "attention_norm", x)
        x = x + attended(layer, h, where, attend, **switches)
        return x + fed(layer, norm(second, "feed_forward_norm", x))

    return answer


def in_query_heads(x, layer, positions, attend):
    return block_with(kv=layer.config.heads)(x, layer, positions, attend)


def sublayers(x, layer, positions, attend):
    """The two sublayers, each with its norm."""
    return (
        lambda y: attended(layer, normed_by(layer.attention_norm, layer, y), positions, attend),
        lambda y: fed(layer, normed_by(layer.feed_forward_norm, layer, y)),
    )


def lost_before_the_feed_forward(x, layer, positions, attend):
    first, second = sublayers(x, layer, positions, attend)
    x = first(x)
    x += second(x)
    return x


def feed_forward_returned(x, layer, positions, attend):
    first, second = sublayers(x, layer, positions, attend)
    return second(x + first(x))


def no_stream(x, layer, positions, attend):
    for sublayer in sublayers(x, layer, positions, attend):
        x = sublayer(x)
    return x


def x_overwritten(x, layer, positions, attend):
    x = normed_by(layer.attention_norm, layer, x)
    x = x + attended(layer, x, positions, attend)
    x = normed_by(layer.feed_forward_norm, layer, x)
    return x + fed(layer, x)


def x_overwritten_once(x, layer, positions, attend):
    x = normed_by(layer.attention_norm, layer, x)
    x = x + attended(layer, x, positions, attend)
    return x + fed(layer, normed_by(layer.feed_forward_norm, layer, x))


def x_overwritten_late(x, layer, positions, attend):
    x = x + sublayers(x, layer, positions, attend)[0](x)
    x = normed_by(layer.feed_forward_norm, layer, x)
    return fed(layer, x) + x


def old_norm(x, layer, positions, attend):
    y = normed_by(layer.attention_norm, layer, x)
    return x + attended(layer, y, positions, attend) + fed(layer, y)


def norm_of_the_norm(x, layer, positions, attend):
    y = normed_by(layer.attention_norm, layer, x)
    x = x + attended(layer, y, positions, attend)
    y = normed_by(layer.feed_forward_norm, layer, y)
    return x + fed(layer, y)


def post_norm(x, layer, positions, attend):
    x = normed_by(layer.attention_norm, layer, x + attended(layer, x, positions, attend))
    return normed_by(layer.feed_forward_norm, layer, fed(layer, x) + x)


def in_parallel(x, layer, positions, attend):
    return x + sum(sublayer(x) for sublayer in sublayers(x, layer, positions, attend))


def feed_forward_first(x, layer, positions, attend):
    first, second = sublayers(x, layer, positions, attend)
    x = x + second(x)
    return x + first(x)


def added_twice(x, layer, positions, attend):
    first, second = sublayers(x, layer, positions, attend)
    middle = x + first(x)
    return x + middle + second(middle)


def attention_only(x, layer, positions, attend):
    return x + sublayers(x, layer, positions, attend)[0](x)


def own_causal_attention(x, layer, positions, attend):
    def causal(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    return block_of_modules(x, layer, positions, causal)


def keys_repeated(x, layer, positions, attend):
    def repeated(q, k, v):
        n = q.shape[1] // k.shape[1]
        return attend(q, k.repeat_interleave(n, 1), v.repeat_interleave(n, 1))

    return block_of_modules(x, layer, positions, repeated)


def eps_by_heart(x, layer, positions, attend):
    first, second = layer.attention_norm.weight, layer.feed_forward_norm.weight
    x = x + attended(layer, rms_norm_by_length(x, first, 1e-5), positions, attend)
    return x + fed(layer, rms_norm_by_length(x, second, 1e-5))


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


def sinusoids(speeds=frequencies, shift=0, phases=(0.0, math.pi / 2), pattern="T i p -> T (i p)"):
    def answer(T, C):
        angles = torch.outer(torch.arange(T).double() + shift, speeds(C, 10_000.0).double())
        return rearrange(torch.sin(angles[..., None] + torch.tensor(phases)), pattern).float()

    return answer


# --- layer_norm -----------------------------------------------------------------------------------


def layer_norm_by_moments(x, weight, bias, eps):
    mean = x.mean(-1, keepdim=True)
    spread = torch.clamp(x.double().var(-1, keepdim=True, unbiased=False), min=0.0).float()
    return (x - mean) / torch.sqrt(spread + eps) * weight + bias


def layer_norm_by_rms(x, weight, bias, eps):
    return F.rms_norm(x - x.mean(-1, keepdim=True), x.shape[-1:], weight, eps) + bias


def centred(x):
    return x - x.sum(-1, keepdim=True) / x.shape[-1]


def by_std(x, weight, bias, eps):
    return weight * centred(x) * torch.rsqrt(torch.var(x, -1, keepdim=True) + eps) + bias


def std_plus_eps(x, weight, bias, eps):
    return centred(x) / (torch.std(x, -1, keepdim=True, unbiased=False) + eps) * weight + bias


def unbiased_std_plus_eps(x, weight, bias, eps):
    return centred(x) / (torch.std(x, -1, keepdim=True) + eps) * weight + bias


def by_the_size_of_x(x, weight, bias, eps):
    return centred(x) * torch.rsqrt((x**2).mean(-1, keepdim=True) + eps) * weight + bias


def one_mean(x, weight, bias, eps):
    rest = x - x.sum() / x.numel()
    return rest * torch.rsqrt((rest * rest).mean(-1, keepdim=True) + eps) * weight + bias


def not_centred(x, weight, bias, eps):
    return rms_norm_by_length(x, weight, eps) + bias


def centred_below_only(x, weight, bias, eps):
    return x * torch.rsqrt(centred(x).square().mean(-1, keepdim=True) + eps) * weight + bias


def unshifted(x, weight, bias, eps):
    return rms_norm_by_length(centred(x), weight, eps)


def shifted_first(x, weight, bias, eps):
    return weight * F.layer_norm(x, x.shape[-1:], bias=bias, eps=eps)


def whole_tensor(x, weight, bias, eps):
    return F.layer_norm(x, x.shape, eps=eps) * weight + bias


RIGHT = {
    "rms_norm": [rms_norm_by_length, rms_norm_in_loops],
    "rope": [rope_by_rotate_half, rope_by_matrices],
    "swiglu": [swiglu_by_einsum, swiglu_in_one_matrix],
    "block": [block_of_modules, block_in_one_projection],
    "sinusoidal_positions": [sinusoids_by_slices, sinusoids_as_shifted_sines],
    "layer_norm": [layer_norm_by_moments, layer_norm_by_rms],
}

SECOND_FORMS = {
    "rms_norm": {
        "eps outside the root": eps_added_to_the_size,
        "eps forgotten": no_eps,
        "the mean subtracted": centred_first,
        "divided by the standard deviation": by_the_deviation,
        "the sum instead of the mean": by_the_length,
        "the square of the mean": squared_too_late,
        "the root forgotten": by_the_mean_square,
        "the root and eps forgotten": by_the_mean_square_alone,
        "multiplied instead of divided": times_the_size,
        "the weight forgotten": size_only,
        "1 + weight": one_plus,
        "the weight first": weighted_and_then_normed,
        "over the tokens": down_the_columns,
        "over everything": everything_at_once,
        "the mean without keepdim": sizes_without_an_axis,
    },
    "rope": {
        "interleaved pairs": rope_of_neighbours,
        "base ignored": base_always_ten_thousand,
        "positions ignored": counting_for_itself,
        "turned the other way": rope_with(sign=-1.0),
        "exponents i/D": rope_with(lambda D, base: frequencies(D, base).sqrt()),
        "the exponent doubled twice": rope_with(lambda D, base: frequencies(D, base) ** 2),
        "a positive exponent": rope_with(
            lambda D, base: torch.exp(math.log(base) * 2 * torch.arange(D // 2).double() / D)
        ),
        "one speed for all pairs": rope_with(lambda D, base: frequencies(D, 1.0)),
        "the first half already turned": overwriting,
        "the second half already turned": overwriting_from_the_back,
        "a plus in both halves": rope_with(turned=both_positive),
        "a minus in both halves": rope_with(turned=both_negative),
        "no axis for the pairs": without_the_new_axis,
        "positions along the heads": rope_with(table=head_angles),
        "rows as heads": rope_with(table=angles_without_heads),
    },
    "swiglu": {
        "gate and up swapped": lambda x, w_gate, w_up, w_down: swiglu_by_einsum(
            x, w_up, w_gate, w_down
        ),
        "silu on the product": projected(lambda gate, up: hand_silu(up * gate)),
        "silu on both": projected(lambda gate, up: hand_silu(up) * hand_silu(gate)),
        "gelu instead of silu": projected(lambda gate, up: up * gaussian(gate)),
        "sigmoid instead of silu": projected(lambda gate, up: up / (1 + torch.exp(-gate))),
        "relu instead of silu": projected(lambda gate, up: up * gate.clamp(min=0)),
        "the sigmoid of -z": projected(lambda gate, up: gate / (1 + torch.exp(gate)) * up),
        "no silu at all": projected(torch.mul),
        "added instead of multiplied": projected(lambda gate, up: up + hand_silu(gate)),
        "no gate": projected(lambda gate, up: hand_silu(gate)),
        "weights not transposed": as_they_are,
        "x added": with_its_own_residual,
    },
    "block": {
        "the first residual forgotten": lost_before_the_feed_forward,
        "the second residual forgotten": feed_forward_returned,
        "both residuals forgotten": no_stream,
        "added to the normalised x": x_overwritten,
        "attention added to the normalised x": x_overwritten_once,
        "the feed-forward added to the normalised x": x_overwritten_late,
        "the norm not taken again": old_norm,
        "the norm of the norm": norm_of_the_norm,
        "normalised afterwards": post_norm,
        "attention without its norm": block_with(first="none"),
        "feed-forward without its norm": block_with(second="none"),
        "one norm for both": block_with(second="attention_norm"),
        "the norms swapped": block_with(first="feed_forward_norm", second="attention_norm"),
        "side by side": in_parallel,
        "values turned too": block_with(turn_v=True),
        "only queries turned": block_with(turn_k=False),
        "no positions at all": block_with(turn_q=False, turn_k=False),
        "turned before the split": block_with(before=True),
        "positions ignored": block_with(lambda x, positions: torch.arange(x.shape[1])),
        "a base of 10,000": block_with(base=10_000.0),
        "keys in as many heads as queries": in_query_heads,
        "merged without a transpose": block_with(merge=False),
        "not merged": block_with(merge=None),
        "the output projection forgotten": block_with(out=False),
    },
    "sinusoidal_positions": {
        "sines first, cosines after": sinusoids(pattern="T i p -> T (p i)"),
        "cosine before sine": sinusoids(phases=(math.pi / 2, 0.0)),
        "sines alone": sinusoids(phases=(0.0, 0.0)),
        "positions from 1": sinusoids(shift=1),
        "exponents i/C": sinusoids(lambda C, base: frequencies(C, base).sqrt()),
        "the exponent doubled twice": sinusoids(lambda C, base: frequencies(C, base).square()),
    },
    "layer_norm": {
        "C - 1 instead of C": by_std,
        "eps outside the root": std_plus_eps,
        "C - 1, and eps outside the root": unbiased_std_plus_eps,
        "the mean square of x": by_the_size_of_x,
        "RMSNorm": not_centred,
        "the mean not subtracted": centred_below_only,
        "the bias forgotten": unshifted,
        "the bias scaled too": shifted_first,
        "one mean for the whole tensor": one_mean,
        "over everything": whole_tensor,
    },
}

UNNAMED = {
    "rms_norm": [
        lambda x, weight, eps: F.normalize(x, dim=-1, eps=eps) * weight,
        lambda x, weight, eps: x / x.abs().mean(-1, keepdim=True) * weight,
        lambda x, weight, eps: rms_norm_by_length(x, weight, eps) + weight,
        lambda x, weight, eps: rms_norm_by_length(x, weight, 1e-5),
    ],
    "rope": [added_angles, only_first_half, in_degrees, of_the_transposed, sines_of_x, in_place],
    "swiglu": [
        lambda x, w_gate, w_up, w_down: F.silu(swiglu_by_einsum(x, w_gate, w_up, w_down)),
        lambda x, w_gate, w_up, w_down: F.silu(x @ w_gate.T) * (x @ w_up.T),
        projected(lambda gate, up: gate.softmax(-1) * up),
        projected(lambda gate, up: gate.tanh() * up),
    ],
    "block": [
        feed_forward_first,
        added_twice,
        attention_only,
        own_causal_attention,
        keys_repeated,
        eps_by_heart,
    ],
    "sinusoidal_positions": [
        lambda T, C: torch.arange(T)[:, None].expand(T, C).float(),
        lambda T, C: sinusoids_by_slices(T, C).T,
        lambda T, C: torch.sin(torch.outer(torch.arange(T).float(), frequencies(C, 10_000.0))),
    ],
    "layer_norm": [
        lambda x, weight, bias, eps: centred(x) * weight + bias,
        lambda x, weight, bias, eps: F.layer_norm(x, x.shape[-1:], weight, bias, eps) - bias,
        lambda x, weight, bias, eps: layer_norm_by_rms(x, weight, bias, 1e-5),
    ],
}

# --- random inputs --------------------------------------------------------------------------------

shapes = st.lists(sizes, min_size=1, max_size=3)


def random_vectors(shape, seed, eps, scale):
    return drawn(seed, *shape, scale=scale), drawn(seed + 1, shape[-1]), eps


def random_layer_norm(shape, seed, eps):
    x = drawn(seed, *shape, 2 * shape[0] + 1)
    return x, drawn(seed + 1, x.shape[-1]), drawn(seed + 2, x.shape[-1]), eps


def random_positions(seed, B, T, own):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 30, (B, T) if own else (T,), generator=generator)


def random_rope(B, H, T, half, seed, own, base):
    return drawn(seed, B, H, T, 2 * half), random_positions(seed, B, T, own), base


def random_feed_forward(leading, C, width, seed):
    w_gate, w_up, w_down = (drawn(seed + i, width, C) for i in range(3))
    return drawn(seed + 3, *leading, C), w_gate, w_up, w_down.T.contiguous()


def causal(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def random_block(B, T, G, group, half, C, seed, own):
    config = ModelConfig(11, C, 1, G * group, G, 2 * half, 2 * C + 1, 64, 300.0, 0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Block(config).requires_grad_(False)
        layer.attention_norm.weight.normal_()
        layer.feed_forward_norm.weight.normal_()
    return drawn(seed, B, T, C), layer, random_positions(seed, B, T, own), causal


small = st.integers(1, 3)
RANDOM = {
    "rms_norm": shaped(
        random_vectors,
        shapes,
        seeds,
        st.sampled_from([1e-5, 0.1]),
        st.sampled_from([1e-3, 1.0, 100.0]),
    ),
    "rope": shaped(
        random_rope,
        *[small] * 4,
        seeds,
        st.booleans(),
        st.sampled_from([10_000.0, 50.0]),
    ),
    "swiglu": shaped(random_feed_forward, st.lists(sizes, max_size=2), sizes, sizes, seeds),
    "block": shaped(random_block, *[small] * 5, sizes, seeds, st.booleans()),
    "sinusoidal_positions": st.tuples(st.integers(1, 20), st.integers(1, 8).map(lambda n: 2 * n)),
    "layer_norm": shaped(random_layer_norm, shapes, seeds, st.sampled_from([1e-5, 0.1])),
}
