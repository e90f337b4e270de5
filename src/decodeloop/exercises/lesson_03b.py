"""Exercise of lesson 03b: the block."""

from __future__ import annotations

import math  # noqa: F401, the edits use it
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call
from decodeloop.exercises.lesson_03 import tensors, torch_rms_norm, torch_swiglu
from decodeloop.exercises.oracles import (
    Attend,
    block_by_pytorch,
    causal_attention,
    rope_by_complex_numbers,
)
from decodeloop.model import Block, ModelConfig, block

LESSON = "03b_stream"

# --- block ----------------------------------------------------------------------------------------


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


def full(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def nothing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.zeros_like(q)


def three_times(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return 3 * causal_attention(q, k, v)


def in_heads(x: Tensor, weight: Tensor, heads: int) -> Tensor:
    return F.linear(x, weight).unflatten(-1, (heads, -1)).transpose(1, 2)


def in_two_halves(x: Tensor, layer: Any, positions: Tensor, attend: Attend) -> Tensor:
    """A right one."""
    weights, feed = layer.attention, layer.feed_forward
    H, G = layer.config.heads, layer.config.kv_heads
    eps, base = layer.config.norm_eps, layer.config.rope_base
    normed = torch_rms_norm(x, layer.attention_norm.weight, eps)
    q = in_heads(normed, weights.query.weight, H)
    k = in_heads(normed, weights.key.weight, G)
    v = in_heads(normed, weights.value.weight, G)
    q = rope_by_complex_numbers(q, positions, base)
    k = rope_by_complex_numbers(k, positions, base)
    merged = attend(q, k, v).transpose(1, 2).flatten(2)
    x = x + F.linear(merged, weights.output.weight)
    normed = torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
    return x + torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)


def passing(label: str, x: Tensor, layer: Block, positions: Tensor, attend: Attend) -> Case:
    return call(label, x, layer, positions, attend, oracle=block_by_pytorch)


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
        "the q, k and v that attend is given, and the output", run, lambda: run(block_by_pytorch)
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
        passing(
            "an attend that gives zeros: the feed-forward alone",
            tensors(2, 5, 20),
            SHARED,
            torch.arange(5),
            nothing,
        ),
        passing(
            "x (2, 5, 20), causal attention",
            tensors(2, 5, 20),
            SHARED,
            torch.arange(5),
            causal_attention,
        ),
        passing("attention without a mask", tensors(2, 4, 20), SHARED, torch.arange(4), full),
        passing(
            "as many KV heads as heads, H·D = C = 12",
            tensors(2, 5, 12),
            SQUARE,
            torch.arange(5),
            causal_attention,
        ),
        passing(
            "an attend that gives three times as much",
            tensors(1, 3, 20),
            SHARED,
            torch.arange(3),
            three_times,
        ),
        passing(
            "positions of its own for each row",
            tensors(2, 3, 20),
            SHARED,
            torch.tensor([[0, 1, 5], [4, 7, 9]]),
            causal_attention,
        ),
        passing("one head", tensors(2, 3, 10), ONE_HEAD, torch.arange(3), causal_attention),
        passing("one token", tensors(1, 1, 20), SHARED, torch.tensor([12]), causal_attention),
    ),
    mistakes=edits(
        in_two_halves,
        """
## the first residual forgotten
- x = x + F.linear → x = F.linear
After attention you go on with what it gave, and have lost x. Add: x = x + attention.
## the second residual forgotten
- return x + → return
You return the feed-forward's output alone. Add it to the stream: x + feed-forward.
## both residuals forgotten
- x = x + F.linear → x = F.linear
- return x + → return
Neither sublayer's output is added to x. The stream must go through: x = x + attention, then x +
feed-forward.
## added to the normalised x
- x = x + F.linear → x = normed + F.linear
- return x + → return normed +
You add to the normalised x, not to x: was x overwritten by its norm? Keep x as it is and give the
norm another name.
## attention added to the normalised x
- x = x + F.linear → x = normed + F.linear
You add attention to the normalised x, not to x: was x overwritten by its norm? Keep x as it is and
give the norm another name.
## the feed-forward added to the normalised x
- return x + → return normed +
You add the feed-forward to the normalised x, not to x: was x overwritten by its norm? Keep x as it
is and give the norm another name.
## the norm not taken again
- normed = torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
The feed-forward reads the normed x from before attention. Take the norm again, of the new x, with
the weight of feed_forward_norm.
## the norm of the norm
- torch_rms_norm(x, layer.feed_forward_norm → torch_rms_norm(normed, layer.feed_forward_norm
The second norm reads the normed x from before attention. It must read x itself, to which attention
has been added.
## normalised afterwards
- torch_rms_norm(x, layer.attention_norm.weight, eps) → x
- normed = torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
+ x = normed = torch_rms_norm(x, layer.attention_norm.weight, eps)
- return x + torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ x = x + torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ return torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
That is post-norm, the order of 2017: norm(x + sublayer(x)). Llama has pre-norm: x +
sublayer(norm(x)).
## attention without its norm
- torch_rms_norm(x, layer.attention_norm.weight, eps) → x
Queries, keys and values are made of x itself. Make them of rms_norm(x) with the weight of
attention_norm.
## feed-forward without its norm
- torch_rms_norm(x, layer.feed_forward_norm.weight, eps) → x
The feed-forward reads x itself. It reads rms_norm(x) with the weight of feed_forward_norm.
## one norm for both
- layer.feed_forward_norm → layer.attention_norm
You use the weight of attention_norm twice. The feed-forward has its own:
layer.feed_forward_norm.weight.
## the norms swapped
- layer.attention_norm → layer.feed_forward_norm
- layer.feed_forward_norm → layer.attention_norm
The two norms are swapped: attention_norm stands before attention, feed_forward_norm before the
feed-forward.
## side by side
- x = x + F.linear → before, x = x, x + F.linear
- torch_rms_norm(x, layer.feed_forward_norm → torch_rms_norm(before, layer.feed_forward_norm
The feed-forward reads the x from before attention. Here the sublayers come one after the other: it
reads what attention has been added to. (GPT-J has them in parallel.)
## the feed-forward first
- normed = torch_rms_norm(x, layer.attention_norm.weight, eps)
+ first = torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
+ x = x + torch_swiglu(first, feed.gate.weight, feed.up.weight, feed.down.weight)
+ normed = torch_rms_norm(x, layer.attention_norm.weight, eps)
- return x + torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ return x
The feed-forward comes first in your block. Attention is first; the feed-forward reads what it has
added.
## the feed-forward forgotten
- return x + torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ return x
You stop after attention. The feed-forward of the normed x is added, too.
## attention lost
- x = x + F.linear → attended = x + F.linear
- normed = torch_rms_norm(x, layer.feed → normed = torch_rms_norm(attended, layer.feed
The feed-forward reads what attention has been added to, but you add its output to the x from
before attention, so that attention itself is lost. Keep the sum in x.
## x twice
- x = x + F.linear → before, x = x, x + F.linear
- return x + → return before + x +
You add x a second time at the end. After attention it is in the sum already.
## the feed-forward reads attention's output alone
- x = x + F.linear(merged, weights.output.weight)
+ attended = F.linear(merged, weights.output.weight)
+ x = x + attended
- torch_rms_norm(x, layer.feed_forward_norm → torch_rms_norm(attended, layer.feed_forward_norm
The feed-forward reads the norm of what attention gave, alone. It reads the norm of the stream: x to
which that has been added.
## the attention norm's weight forgotten
- torch_rms_norm(x, layer.attention_norm.weight, → torch_rms_norm(x, torch.ones(x.shape[-1]),
The norm before attention is without its weight: layer.attention_norm.weight.
## the feed-forward norm's weight forgotten
- torch_rms_norm(x, layer.feed_forward_norm.weight, → torch_rms_norm(x, torch.ones(x.shape[-1]),
The norm before the feed-forward is without its weight: layer.feed_forward_norm.weight.
## both norms' weights forgotten
- torch_rms_norm(x, layer.attention_norm.weight, → torch_rms_norm(x, torch.ones(x.shape[-1]),
- torch_rms_norm(x, layer.feed_forward_norm.weight, → torch_rms_norm(x, torch.ones(x.shape[-1]),
The norms are without their weights: layer.attention_norm.weight and layer.feed_forward_norm.weight.
## LayerNorm
- torch_rms_norm(x, layer.attention_norm → torch_rms_norm(x - x.mean(-1, True), layer.attention_norm
- torch_rms_norm(x, layer.feed_forward_norm
+ torch_rms_norm(x - x.mean(-1, True), layer.feed_forward_norm
You subtract the mean in both norms: that is LayerNorm. This block has RMSNorm, your rms_norm.
## eps by heart
- layer.config.norm_eps → 1e-5
Your norms have an eps of their own, too small to count here. Each model has its own:
layer.config.norm_eps.
## a base of 100,000
- layer.config.rope_base → 100_000.0
The angles are those of base 100,000. Each model has its own: layer.config.rope_base.
## the first row's positions for all
- weights, feed =
+ positions = positions[0] if positions.ndim == 2 else positions
+ weights, feed =
Right where all rows have the same positions. With positions (B, T) each row has its own: you use
those of the first. Hand them on as they are.
## a causal attention of its own
- attend(q, k, v) → causal_attention(q, k, v)
You attend by yourself, causally, and never call `attend`. Who calls the block decides who may look
where: attend(q, k, v).
## an attention of its own, without a mask
- attend(q, k, v) → full(q, k, v)
You attend by yourself, without a mask, and never call `attend`. Who calls the block decides who may
look where: attend(q, k, v).
## keys and values repeated
- attend(q, k, v) → attend(q, *(y.repeat_interleave(H // G, 1) for y in (k, v)))
You repeat keys and values to H heads before you hand them on. `attend` takes all G of them as they
are, and shares them itself.
## queries and keys handed on in the wrong order
- attend(q, k, v) → attend(k, q, v)
You hand `attend` the keys first. Its order is queries, keys, values.
## values made as keys
- in_heads(normed, weights.value.weight, G) → in_heads(normed, weights.key.weight, G)
Your values are made by layer.attention.key. They have a layer of their own: layer.attention.value.
## values made of x
- in_heads(normed, weights.value.weight, G) → in_heads(x, weights.value.weight, G)
Your values are made of x itself. They read the normed x, as queries and keys do.
## split by reshape
- in_heads(normed, weights.query.weight, H)
+ F.linear(normed, weights.query.weight).reshape(len(x), H, x.shape[1], -1)
- in_heads(normed, weights.key.weight, G)
+ F.linear(normed, weights.key.weight).reshape(len(x), G, x.shape[1], -1)
- in_heads(normed, weights.value.weight, G)
+ F.linear(normed, weights.value.weight).reshape(len(x), G, x.shape[1], -1)
You cut the heads by reshape to (B, H, T, D): that mixes positions and heads. Cut the last axis and
move the heads: your split_heads.
## merged as (D H)
- .transpose(1, 2).flatten(2) → .permute(0, 2, 3, 1).flatten(2)
You merge the heads as (D H): first the channel 0 of every head, then channel 1. Your merge_heads
puts the heads side by side.
## gate and up swapped
- feed.gate.weight, feed.up.weight → feed.up.weight, feed.gate.weight
You hand swiglu `up` in the place of `gate`. Its order is gate, up, down.
## values turned too
- k = rope_by_complex_numbers(k, positions, base)
+ k = rope_by_complex_numbers(k, positions, base)
+ v = rope_by_complex_numbers(v, positions, base)
You turned the values. Positions should decide who looks at whom, not what they get: turn q and k
alone.
## only queries turned
- k = rope_by_complex_numbers(k, positions, base)
You turned the queries but not the keys. Then a score depends on the query's position alone; both
must turn, for it to depend on the distance.
## only keys turned
- q = rope_by_complex_numbers(q, positions, base)
You turned the keys but not the queries. Then a score depends on the key's position alone; both must
turn, for it to depend on the distance.
## queries made of x
- in_heads(normed, weights.query.weight, H) → in_heads(x, weights.query.weight, H)
Your queries are made of x itself. They read the normed x, as keys and values do.
## keys and values made of x
- in_heads(normed, weights.key.weight, G) → in_heads(x, weights.key.weight, G)
- in_heads(normed, weights.value.weight, G) → in_heads(x, weights.value.weight, G)
Your keys and values are made of x itself. They read the normed x, as the queries do.
## keys and values handed on in the wrong order
- attend(q, k, v) → attend(q, v, k)
You hand `attend` the values second. Its order is queries, keys, values.
## scaled before attend
- attend(q, k, v) → attend(q / math.sqrt(q.shape[-1]), k, v)
You scale the queries before you hand them on. `attend` scales the scores by itself.
## attend called once for nothing
- merged = attend
+ attend(q, k, v)
+ merged = attend
The output is right, but you call `attend` twice. A cache would store everything twice: call it once
and keep what it gives.
## eps by heart in the first norm
- torch_rms_norm(x, layer.attention_norm.weight, eps)
+ torch_rms_norm(x, layer.attention_norm.weight, 1e-5)
The norm before attention has an eps of its own, too small to count here. Each model has its own:
layer.config.norm_eps.
## eps by heart in the second norm
- torch_rms_norm(x, layer.feed_forward_norm.weight, eps)
+ torch_rms_norm(x, layer.feed_forward_norm.weight, 1e-5)
The norm before the feed-forward has an eps of its own, too small to count here. Each model has its
own: layer.config.norm_eps.
## gelu instead of silu
- torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ feed.down(F.gelu(feed.gate(normed)) * feed.up(normed))
The gate is bent by GELU in your feed-forward. It is SiLU: your swiglu.
## no silu
- torch_swiglu(normed, feed.gate.weight, feed.up.weight, feed.down.weight)
+ feed.down(feed.gate(normed) * feed.up(normed))
The gate is not bent in your feed-forward. It goes through SiLU: your swiglu.
## the gate for both
- feed.gate.weight, feed.up.weight → feed.gate.weight, feed.gate.weight
You hand swiglu the gate's weight twice. Its order is gate, up, down.
## up for both
- feed.gate.weight, feed.up.weight → feed.up.weight, feed.up.weight
You hand swiglu the weight of `up` twice. Its order is gate, up, down.
## no positions at all
- q = rope_by_complex_numbers(q, positions, base)
- k = rope_by_complex_numbers(k, positions, base)
Neither queries nor keys were turned. Call rope on both, with layer.config.rope_base.
## turned before the split
- q = rope_by_complex_numbers(q, positions, base)
- k = rope_by_complex_numbers(k, positions, base)
+ q, k = (y.transpose(1, 2).flatten(2)[:, None] for y in (q, k))
+ q, k = (rope_by_complex_numbers(y, positions, base)[:, 0] for y in (q, k))
+ q, k = (y.unflatten(-1, (n, -1)).transpose(1, 2) for y, n in ((q, H), (k, G)))
You turned the whole width H·D before cutting it into heads, so each head has other speeds. Split
first: each head turns its own D channels.
## positions ignored
- weights, feed =
+ positions = torch.arange(x.shape[1])
+ weights, feed =
Right where the positions are 0, 1, 2, …: you count them yourself. Use the argument.
## a base of 10,000
- layer.config.rope_base → 10_000.0
The angles are those of base 10,000. Each model has its own: layer.config.rope_base.
## keys in as many heads as queries
- H, G = layer.config.heads, layer.config.kv_heads → H = G = layer.config.heads
You cut keys and values into H heads, but there are only G of them: layer.config.kv_heads. Look at
the shapes that attend is given.
## merged without a transpose
- .transpose(1, 2).flatten(2) → .reshape(*x.shape[:2], -1)
A plain reshape of (B, H, T, D) mixes heads and tokens. The heads must come next to D first:
merge_heads.
## not merged
- .transpose(1, 2).flatten(2)
What attend gives is (B, H, T, D), and the output projection needs (B, T, H·D): merge_heads stands
between them.
## the output projection forgotten
- F.linear(merged, weights.output.weight) → merged
What attend gives goes into the stream as it is. It must pass layer.attention.output first;
unnoticed only where H·D = C.
""",
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

EXERCISES = (BLOCK,)
