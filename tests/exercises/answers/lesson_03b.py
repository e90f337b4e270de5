"""Lesson 03b: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch
from einops import rearrange
from torch.nn import functional as F

from decodeloop.exercises.edits import edited

# --- rms_norm -------------------------------------------------------------------------------------


def rms_norm_by_length(x, weight, eps):
    squares = torch.einsum("...c,...c->...", x, x) / x.shape[-1]
    return x * weight / torch.sqrt(squares + eps).unsqueeze(-1)


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


# --- swiglu ---------------------------------------------------------------------------------------


def swiglu_in_one_matrix(x, w_gate, w_up, w_down):
    gate, up = (x @ torch.cat((w_gate, w_up)).T).chunk(2, dim=-1)
    return (gate / (1 + torch.exp(-gate)) * up) @ w_down.T


# --- block ----------------------------------------------------------------------------------------


def normed_by(norm, layer, x):
    return rms_norm_by_length(x, norm.weight, layer.config.norm_eps)


def fed(layer, x):
    f = layer.feed_forward
    return f.down(F.silu(f.gate(x)) * f.up(x))


def block_of_modules(x, layer, positions, attend):
    config, weights = layer.config, layer.attention
    h = normed_by(layer.attention_norm, layer, x)
    q = rearrange(weights.query(h), "B T (H D) -> B H T D", H=config.heads)
    k = rearrange(weights.key(h), "B T (G D) -> B G T D", G=config.kv_heads)
    v = rearrange(weights.value(h), "B T (G D) -> B G T D", G=config.kv_heads)
    q = rope_by_rotate_half(q, positions, config.rope_base)
    k = rope_by_rotate_half(k, positions, config.rope_base)
    x = x + weights.output(rearrange(attend(q, k, v), "B H T D -> B T (H D)"))
    h = normed_by(layer.feed_forward_norm, layer, x)
    return x + fed(layer, h)


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


BLOCKS = edited(
    block_of_modules,
    """
## the first residual forgotten
- x = x + weights → x = weights
## the second residual forgotten
- return x + fed → return fed
## both residuals forgotten
- x = x + weights → x = weights
- return x + fed → return fed
## added to the normalised x
- h = normed_by(layer.attention_norm, layer, x) → h = x = normed_by(layer.attention_norm, layer, x)
- h = normed_by(layer.feed_forward_norm, layer, x)
+ h = x = normed_by(layer.feed_forward_norm, layer, x)
## attention added to the normalised x
- h = normed_by(layer.attention_norm, layer, x) → h = x = normed_by(layer.attention_norm, layer, x)
## the feed-forward added to the normalised x
- h = normed_by(layer.feed_forward_norm, layer, x)
+ h = x = normed_by(layer.feed_forward_norm, layer, x)
## the norm not taken again
- h = normed_by(layer.feed_forward_norm, layer, x)
## the norm of the norm
- normed_by(layer.feed_forward_norm, layer, x) → normed_by(layer.feed_forward_norm, layer, h)
## normalised afterwards
- normed_by(layer.attention_norm, layer, x) → x
- h = normed_by(layer.feed_forward_norm, layer, x)
- return x + fed(layer, h)
+ x = normed_by(layer.attention_norm, layer, x)
+ return normed_by(layer.feed_forward_norm, layer, fed(layer, x) + x)
## attention without its norm
- normed_by(layer.attention_norm, layer, x) → x
## feed-forward without its norm
- normed_by(layer.feed_forward_norm, layer, x) → x
## one norm for both
- layer.feed_forward_norm → layer.attention_norm
## the norms swapped
- layer.attention_norm → layer.feed_forward_norm
- layer.feed_forward_norm → layer.attention_norm
## side by side
- h = normed_by(layer.attention_norm, layer, x)
+ second = fed(layer, normed_by(layer.feed_forward_norm, layer, x))
+ h = normed_by(layer.attention_norm, layer, x)
- return x + fed(layer, h) → return x + second
## values turned too
- k = rope_by_rotate_half(k, positions, config.rope_base)
+ k, v = (rope_by_rotate_half(y, positions, config.rope_base) for y in (k, v))
## only queries turned
- k = rope_by_rotate_half(k, positions, config.rope_base)
## only keys turned
- q = rope_by_rotate_half(q, positions, config.rope_base)
## queries made of x
- weights.query(h) → weights.query(x)
## keys and values made of x
- weights.key(h) → weights.key(x)
- weights.value(h) → weights.value(x)
## keys and values handed on in the wrong order
- attend(q, k, v) → attend(q, *(v, k))
## scaled before attend
- attend(q, k, v) → attend(q * q.shape[-1] ** -0.5, k, v)
## attend called once for nothing
- h = normed_by(layer.feed_forward_norm, layer, x)
+ attend(q, k, v)
+ h = normed_by(layer.feed_forward_norm, layer, x)
## eps by heart in the first norm
- normed_by(layer.attention_norm, layer, x)
+ rms_norm_by_length(x, layer.attention_norm.weight, 1e-6)
## eps by heart in the second norm
- normed_by(layer.feed_forward_norm, layer, x)
+ rms_norm_by_length(x, layer.feed_forward_norm.weight, 1e-6)
## gelu instead of silu
- return x + fed(layer, h)
+ f = layer.feed_forward
+ return x + F.linear(F.gelu(f.gate(h)) * f.up(h), f.down.weight)
## no silu
- return x + fed(layer, h)
+ f = layer.feed_forward
+ return x + F.linear(f.gate(h) * f.up(h), f.down.weight)
## the gate for both
- return x + fed(layer, h)
+ f = layer.feed_forward
+ return x + f.down(F.silu(f.gate(h)) * f.gate(h))
## up for both
- return x + fed(layer, h)
+ f = layer.feed_forward
+ return x + f.down(F.silu(f.up(h)) * f.up(h))
## no positions at all
- q = rope_by_rotate_half(q, positions, config.rope_base)
- k = rope_by_rotate_half(k, positions, config.rope_base)
## turned before the split
- weights.query(h)
+ rope_by_rotate_half(weights.query(h)[:, None], positions, config.rope_base)[:, 0]
- weights.key(h)
+ rope_by_rotate_half(weights.key(h)[:, None], positions, config.rope_base)[:, 0]
- q = rope_by_rotate_half(q, positions, config.rope_base)
- k = rope_by_rotate_half(k, positions, config.rope_base)
## positions ignored
- config, weights =
+ positions = torch.arange(x.shape[1])
+ config, weights =
## a base of 10,000
- q, positions, config.rope_base → q, positions, 10_000.0
- k, positions, config.rope_base → k, positions, 10_000.0
## keys in as many heads as queries
- weights.key(h), "B T (G D) -> B G T D", G=config.kv_heads
+ weights.key(h), "B T (G D) -> B G T D", G=config.heads
- weights.value(h), "B T (G D) -> B G T D", G=config.kv_heads
+ weights.value(h), "B T (G D) -> B G T D", G=config.heads
## merged without a transpose
- rearrange(attend(q, k, v), "B H T D -> B T (H D)")
+ attend(q, k, v).contiguous().view(*x.shape[:2], -1)
## not merged
- rearrange(attend(q, k, v), "B H T D -> B T (H D)") → attend(q, k, v)
## the output projection forgotten
- weights.output(rearrange → (rearrange
## the feed-forward first
- h = normed_by(layer.attention_norm, layer, x)
+ x = x + fed(layer, normed_by(layer.feed_forward_norm, layer, x))
+ h = normed_by(layer.attention_norm, layer, x)
- return x + fed(layer, h) → return x
## the feed-forward forgotten
- return x + fed(layer, h) → return x
## attention lost
- x = x + weights → before, x = x, x + weights
- return x + fed → return before + fed
## x twice
- x = x + weights → before, x = x, x + weights
- return x + fed → return before + x + fed
## the feed-forward reads attention's output alone
- x = x + weights → before, x = x, x + weights
- layer.feed_forward_norm, layer, x → layer.feed_forward_norm, layer, x - before
## the attention norm's weight forgotten
- normed_by(layer.attention_norm, layer, x) → F.rms_norm(x, x.shape[2:], eps=config.norm_eps)
## the feed-forward norm's weight forgotten
- normed_by(layer.feed_forward_norm, layer, x) → F.rms_norm(x, x.shape[2:], eps=config.norm_eps)
## both norms' weights forgotten
- normed_by(layer.attention_norm, layer, x) → F.rms_norm(x, x.shape[2:], eps=config.norm_eps)
- normed_by(layer.feed_forward_norm, layer, x) → F.rms_norm(x, x.shape[2:], eps=config.norm_eps)
## LayerNorm
- normed_by(layer.attention_norm, layer, x)
+ F.layer_norm(x, x.shape[2:], layer.attention_norm.weight, None, config.norm_eps)
- normed_by(layer.feed_forward_norm, layer, x)
+ F.layer_norm(x, x.shape[2:], layer.feed_forward_norm.weight, None, config.norm_eps)
## eps by heart
- normed_by(layer.attention_norm, layer, x)
+ rms_norm_by_length(x, layer.attention_norm.weight, 1e-6)
- normed_by(layer.feed_forward_norm, layer, x)
+ rms_norm_by_length(x, layer.feed_forward_norm.weight, 1e-6)
## a base of 100,000
- q, positions, config.rope_base → q, positions, 1e5
- k, positions, config.rope_base → k, positions, 1e5
## the first row's positions for all
- config, weights =
+ positions = positions.view(-1, x.shape[1])[0]
+ config, weights =
## a causal attention of its own
- attend(q, k, v) → F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
## an attention of its own, without a mask
- attend(q, k, v) → F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
## keys and values repeated
- attend(q, k, v)
+ attend(q, *(y[:, [h * y.shape[1] // q.shape[1] for h in range(q.shape[1])]] for y in (k, v)))
## queries and keys handed on in the wrong order
- q = rope_by_rotate_half(q, positions, config.rope_base)
- k = rope_by_rotate_half(k, positions, config.rope_base)
+ k, q = (rope_by_rotate_half(y, positions, config.rope_base) for y in (q, k))
## values made as keys
- weights.value(h) → weights.key(h)
## values made of x
- weights.value(h) → weights.value(x)
## split by reshape
- rearrange(weights.query(h), "B T (H D) -> B H T D", H=config.heads)
+ weights.query(h).view(x.shape[0], config.heads, x.shape[1], -1)
- rearrange(weights.key(h), "B T (G D) -> B G T D", G=config.kv_heads)
+ weights.key(h).view(x.shape[0], config.kv_heads, x.shape[1], -1)
- rearrange(weights.value(h), "B T (G D) -> B G T D", G=config.kv_heads)
+ weights.value(h).view(x.shape[0], config.kv_heads, x.shape[1], -1)
## merged as (D H)
- "B H T D -> B T (H D)" → "B H T D -> B T (D H)"
## gate and up swapped
- return x + fed(layer, h)
+ f = layer.feed_forward
+ return x + f.down(f.gate(h) * F.silu(f.up(h)))
""",
)

UNNAMED_BLOCKS = edited(
    block_of_modules,
    """
## the feed-forward first
- h = normed_by(layer.attention_norm, layer, x)
+ x = x + fed(layer, normed_by(layer.feed_forward_norm, layer, x))
+ h = normed_by(layer.attention_norm, layer, x)
- return x + fed(layer, h) → return x
## x added twice
- x = x + weights → before, x = x, x + weights
- return x + fed → return before + x + fed
## attention only
- return x + fed(layer, h) → return x
## a causal attention of its own
- attend(q, k, v) → F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
## keys repeated
- attend(q, k, v)
+ attend(q, *(y.repeat_interleave(config.heads // config.kv_heads, 1) for y in (k, v)))
## eps by heart
- normed_by(layer.attention_norm, layer, x)
+ rms_norm_by_length(x, layer.attention_norm.weight, 1e-5)
- normed_by(layer.feed_forward_norm, layer, x)
+ rms_norm_by_length(x, layer.feed_forward_norm.weight, 1e-5)
""",
)

# --- layer_norm -----------------------------------------------------------------------------------


RIGHT = {
    "block": [block_of_modules, block_in_one_projection],
}

SECOND_FORMS = {
    "block": BLOCKS,
}

UNNAMED = {
    "block": list(UNNAMED_BLOCKS.values()),
}
