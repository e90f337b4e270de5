"""Exercises of lesson 04: the stack, its parameters, the rows of a checkpoint, the logit lens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.checkpoints.gguf_file import unpermute
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.exercises.oracles import block_by_pytorch, decoder_by_pytorch
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    Decoder,
    ModelConfig,
    grouped_query_attention,
    parameter_count,
    rms_norm,
)

LESSON = "04_decoder"
draws = torch.Generator().manual_seed(4)

# --- hidden_states --------------------------------------------------------------------------------


def random_decoder(config: ModelConfig, seed: int) -> Decoder:
    """A decoder with random weights. Its norms are not all one, and attention counts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Decoder(config)
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 1.5)
            elif ".attention." in name:
                torch.nn.init.normal_(weight, std=0.4)
    return model.requires_grad_(False).eval()


def hidden_states(model: Decoder, token_ids: Tensor) -> Tensor:
    return model.hidden(token_ids)


def causal(T: int) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool).tril()


def final_norm(x: Tensor, model: Decoder) -> Tensor:
    return F.rms_norm(x, (model.config.width,), model.norm.weight, model.config.norm_eps)


def layer_by_layer(model: Decoder, token_ids: Tensor) -> Tensor:
    """A right one."""
    T, layers = token_ids.shape[1], list[Any](model.layers)
    positions, mask = torch.arange(T), causal(T)
    x = F.embedding(token_ids, model.embedding.weight)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return grouped_query_attention(q, k, v, mask)  # raises what the learner's raises

    for layer in layers:
        x = block_by_pytorch(x, layer, positions, attend)
    return final_norm(x, model)


SHARED = random_decoder(replace(TINY, layers=3, kv_heads=2), 1)
PLAIN = random_decoder(replace(TINY, layers=2, kv_heads=6, norm_eps=0.05), 2)  # G = H, a large eps
UNTIED = random_decoder(replace(TINY, layers=4, kv_heads=1, tied=False, rope_base=300.0), 3)
SHALLOW = random_decoder(replace(TINY, layers=1), 4)


def texts(B: int, T: int) -> Tensor:
    return torch.randint(0, TINY.vocabulary, (B, T), generator=draws)


HIDDEN_STATES = Exercise(
    name="hidden_states",
    lesson=LESSON,
    library=hidden_states,
    minutes=14,
    difficulty=2,
    tolerance=1e-4,  # a stack adds up rounding errors
    part=True,
    cases=(
        call("3 layers, one text of 6 tokens", SHARED, texts(1, 6), oracle=decoder_by_pytorch),
        call("3 layers, 2 texts of 5 tokens", SHARED, texts(2, 5), oracle=decoder_by_pytorch),
        call("one token", SHARED, texts(1, 1), oracle=decoder_by_pytorch),
        call("a large eps, 3 texts", PLAIN, texts(3, 4), oracle=decoder_by_pytorch),
        call("4 layers, 11 tokens", UNTIED, texts(1, 11), oracle=decoder_by_pytorch),
        call("a single layer", SHALLOW, texts(2, 3), oracle=decoder_by_pytorch),
    ),
    mistakes=edits(
        layer_by_layer,
        """
## the final norm forgotten
- return final_norm(x, model) → return x
That is the residual stream as the last layer left it. One step is missing before the head can read
it: rms_norm with model.norm.weight.
## no mask
- (q, k, v, mask) → (q, k, v)
Your tokens see the future: change the last token of a text, and the vectors before it change too.
`attend` must hand grouped_query_attention a causal mask as its fourth argument.
## no mask, and the final norm forgotten
- (q, k, v, mask) → (q, k, v)
- return final_norm(x, model) → return x
Two things. `attend` must hand grouped_query_attention a causal mask, or tokens see the future. And
the stream is normed once more after the last layer, with model.norm.weight.
## the final norm without its weight
- final_norm(x, model) → F.rms_norm(x, (model.config.width,), eps=model.config.norm_eps)
The final norm is without its weight: rms_norm takes model.norm.weight.
## normed twice
- final_norm(x, model) → final_norm(final_norm(x, model), model)
You norm twice at the end. Once is enough: rms_norm with model.norm.weight.
## another norm's weight at the end
- return final_norm(x, model)
+ weight = layers[-1].feed_forward_norm.weight
+ return F.rms_norm(x, (model.config.width,), weight, model.config.norm_eps)
Your final norm has the weight of a norm in the last layer. It has one of its own: model.norm.weight.
## the first layer's norm at the end
- final_norm(x, model)
+ F.rms_norm(x, x.shape[-1:], layers[0].attention_norm.weight, model.config.norm_eps)
Your final norm has the weight of a norm in the first layer. It has one of its own:
model.norm.weight.
## the mean over the text
- final_norm(x, model) → final_norm(x, model).mean(1)
You take the mean over the positions. Asked for are the vectors of all of them, (B, T, C).
## every state, the embedding too
- x = block_by_pytorch(x, layer, positions, attend)
+ states = [x] if layer is layers[0] else states
+ x = block_by_pytorch(x, layer, positions, attend)
+ states.append(x)
- final_norm(x, model) → final_norm(torch.stack(states), model)
You return the stream before and after every layer. Asked for is what comes of the last one, normed.
## LayerNorm at the end
- final_norm(x, model) → final_norm(x - x.mean(-1, keepdim=True), model)
You subtract the mean in the final norm: that is LayerNorm. It is your rms_norm, as in the blocks.
## normed before and after
- F.embedding(token_ids, model.embedding.weight)
+ final_norm(F.embedding(token_ids, model.embedding.weight), model)
You norm the embedding, too. The first layer reads it as it is (its own norm stands inside the
block); the final norm comes once, after the last layer.
## the last layer left out
- for layer in layers: → for layer in layers[:-1]:
You stop one layer too early: the last one is missing.
## the first layer left out
- for layer in layers: → for layer in layers[1:]:
You begin one layer too late: the first one is missing. Layers are counted from 0.
## the head's table for the embedding
- model.embedding.weight) → model.output.weight)
Right for tied models. Where the head has a table of its own, you look the tokens up in that:
model.embedding is the one for the tokens.
## blind to itself
- causal(T) → causal(T).tril(-1)
Your tokens can't see themselves. The diagonal belongs to what is allowed: causal_mask(T) as it is.
## sees one ahead
- causal(T) → torch.ones(T, T).tril(1).bool()
Your tokens see one too many: the next one, which is what they are to forecast.
## the mask turned
- causal(T) → causal(T).T
Each token sees itself and what comes after it: rows and columns of your mask are swapped.
causal_mask(T) is already the right way round.
## positions in reverse
- torch.arange(T) → torch.arange(T).flip(0)
Your positions run backwards. They are 0, 1, ..., T - 1: torch.arange(T).
## the same positions, stretched
- torch.arange(T) → 2 * torch.arange(T)
Your positions are too far apart. They are 0, 1, ..., T - 1: torch.arange(T).
## the first text alone
- F.embedding(token_ids, → F.embedding(token_ids[:1],
Right for one text: of a batch you give the first alone. The axis B stays as it is.
## every state
- x = block_by_pytorch(x, layer, positions, attend)
+ x = block_by_pytorch(x, layer, positions, attend)
+ states = [x] if layer is layers[0] else [*states, x]
- final_norm(x, model) → torch.stack(states)
You return the stream after every layer. Asked for is what comes of the last one, normed.
## the last position kept as an axis
- final_norm(x, model) → final_norm(x, model)[:, -1:]
You return the last position alone. Asked for are the vectors of all of them, (B, T, C); which ones
the head reads is for the caller to say.
## the mask of size B
- causal(T) → causal(token_ids.shape[0])
Your mask is (B, B). With one text that is a single True, which hides nothing. T is the second
number of token_ids.shape, (B, T): token_ids.shape[1].
## the mask upside down
- causal(T) → ~causal(T)
Each token sees only what comes after it: your mask is inverted. True means: may attend.
causal_mask(T) is already the right way round.
## the same layer every time
- for layer in layers: → for layer in [layers[0]] * len(layers):
You run as many layers as there are, but each time the first one's weights. Hand `block` the layer
of this turn.
## stopped after the first layer
- for layer in layers: → for layer in layers[:1]:
Right for a model of one layer: you return after the first. Look at the indentation of `return`: is
it inside the loop?
## the same layer every time, the last
- for layer in layers: → for layer in [layers[-1]] * len(layers):
You run as many layers as there are, but each time the last one's weights. Hand `block` the layer of
this turn.
## each layer twice
- x = block_by_pytorch(x, layer, positions, attend)
+ x = block_by_pytorch(x, layer, positions, attend)
+ x = block_by_pytorch(x, layer, positions, attend)
You run each layer twice. Once is right.
## every other layer
- for layer in layers: → for layer in layers[::2]:
You leave out every other layer. All of model.layers are run.
## what block returns thrown away
- x = block_by_pytorch → block_by_pytorch
You throw away what `block` returns, and x stays the embedding: x = block(x, ...). It changes nothing
in place.
## normed before each layer
- block_by_pytorch(x, → block_by_pytorch(final_norm(x, model),
You apply the final norm before each layer. It stands once, after the last; inside, each block norms
what it reads, and leaves the stream alone.
## layers in reverse
- for layer in layers: → for layer in layers[::-1]:
You go through the layers from the last to the first. model.layers has them in the order in which
they are run.
## every layer reads the embedding
- x = F.embedding → embedded = F.embedding
- block_by_pytorch(x, → block_by_pytorch(embedded,
Right for a model of one layer. In deeper ones, each layer must read what the one before it wrote:
x = block(x, ...). Yours all start from the embedding, and only the last counts.
## the stream added twice
- x = block_by_pytorch → x = x + block_by_pytorch
You add the stream to the block's output, but `block` has already done that: what it returns is the
whole stream. x = block(x, ...) is all.
## the embedding added at every layer
- x = F.embedding → embedded = x = F.embedding
- x = block_by_pytorch → x = embedded + block_by_pytorch
You add the embedding again at every layer. It enters once, at the bottom; the residual stream
carries it up.
## the embedding scaled by √C
- x = F.embedding → x = model.config.width**0.5 * F.embedding
You scale the embedding by √C. Some models do (Gemma, and the first transformer); Llama and this
one don't.
## normed after every layer
- x = block_by_pytorch(x, layer, positions, attend)
+ x = block_by_pytorch(x, layer, positions, attend)
+ x = final_norm(x, model)
- return final_norm(x, model) → return x
You apply the final norm after every layer. It stands once, after the last: indent it less. Inside,
each block norms what it reads, and leaves the stream alone.
## normed before the layers
- F.embedding(token_ids, model.embedding.weight)
+ final_norm(F.embedding(token_ids, model.embedding.weight), model)
- return final_norm(x, model) → return x
The final norm stands in the wrong place: you apply it to the embedding. It comes once, after the
last layer, right before the head.
## everyone at the same place
- torch.arange(T) → torch.zeros(T)
All your tokens have the same position, so the model can't tell their order. The positions are 0,
1, ..., T - 1: torch.arange(T).
## token ids as positions
- torch.arange(T) → token_ids
You pass the token ids as positions. A position says where a token stands, not which one it is:
torch.arange(T).
## an eps of one's own
- final_norm(x, model) → F.rms_norm(x, x.shape[-1:], model.norm.weight, 1e-5)
Right where eps is tiny. One of the models that you are tried on has another eps: take it from
model.config.norm_eps.
## the head as well
- final_norm(x, model) → F.linear(final_norm(x, model), model.output.weight)
Those are logits, (B, T, V): you ran the head too. Asked for is what the head reads, (B, T, C). It
is kept apart so that it need not run on every position.
## the last position only
- final_norm(x, model) → final_norm(x, model)[:, -1]
You return the last position alone. Asked for are the vectors of all of them, (B, T, C); which ones
the head reads is for the caller to say.
""",
    ),
    hints=(
        "A loop with one line: x becomes what `block` makes of it. What stands before the loop, and "
        "what after it?",
        "Before it: x = model.embedding(token_ids), positions = torch.arange(T), mask = "
        "causal_mask(T), and the function attend(q, k, v), which adds the mask to the arguments.",
        "`def attend(q, k, v): return grouped_query_attention(q, k, v, mask)`. It finds `mask` in the "
        "function around it. Without `return` it gives None, and `block` complains of a NoneType. "
        "Hand `block` the function itself: attend, not a call of it, attend(...).",
        "The loop is `for layer in model.layers: x = block(x, layer, positions, attend)`: over the "
        "layers themselves, not over range(...), which gives numbers. Then "
        "`return rms_norm(x, model.norm.weight, model.config.norm_eps)`.",
    ),
)

# --- parameter_count ------------------------------------------------------------------------------


def shapes(config: ModelConfig) -> list[tuple[int, ...]]:
    """The shape of every tensor that a decoder keeps, one by one."""
    C, D, F_ = config.width, config.head_dim, config.feed_forward
    layer: list[tuple[int, ...]] = [
        (C,),
        (config.heads * D, C),
        (config.kv_heads * D, C),
        (config.kv_heads * D, C),
        (C, config.heads * D),
        (C,),
        (F_, C),
        (F_, C),
        (C, F_),
    ]
    ends = [(config.vocabulary, C)] * (1 if config.tied else 2)
    return [*ends, *layer * config.layers, (C,)]


def entries(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def count_by_shapes(config: ModelConfig) -> int:
    return sum(entries(shape) for shape in shapes(config))


def layer_times_layers(config: ModelConfig) -> int:
    """A right one."""
    C, F_, V, L = config.width, config.feed_forward, config.vocabulary, config.layers
    H, G, D = config.heads, config.kv_heads, config.head_dim
    layer = 2 * C + H * D * C + 2 * G * D * C + C * H * D + 3 * F_ * C
    tables = V * C if config.tied else 2 * V * C
    return tables + L * layer + C


def count_and_kind(count: Callable[[ModelConfig], object]) -> list[object]:
    found = count(TINY)
    return [found, "a float" if isinstance(found, float) else "a whole number"]


LLAMA_8B = ModelConfig(
    vocabulary=128_256,
    width=4_096,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    feed_forward=14_336,
    context=131_072,
    rope_base=500_000.0,
    tied=False,
)

PARAMETER_COUNT = Exercise(
    name="parameter_count",
    lesson=LESSON,
    library=parameter_count,
    minutes=10,
    difficulty=1,
    tolerance=1e-12,  # to the last one: the relative error of forgetting a norm is tiny
    cases=(
        call("the model of this course", SMOLLM2_135M, oracle=count_by_shapes),
        call("a head of its own (untied)", replace(TINY, tied=False), oracle=count_by_shapes),
        call("tied, D is not C / H", TINY, oracle=count_by_shapes),
        call(
            "multi-head: as many KV heads as query heads",
            replace(TINY, kv_heads=6, head_dim=8, layers=2),
            oracle=count_by_shapes,
        ),
        call(
            "multi-query: one KV head", replace(TINY, kv_heads=1, layers=1), oracle=count_by_shapes
        ),
        call("Llama 3.1 8B", LLAMA_8B, oracle=count_by_shapes),
        Case(
            "a whole number, not a float",
            count_and_kind,
            lambda: [count_by_shapes(TINY), "a whole number"],
            (TINY,),
        ),
    ),
    mistakes=edits(
        layer_times_layers,
        """
## a tied head counted
- V * C if config.tied else 2 * V * C → 2 * V * C
You count the head always. Where config.tied is true, it is the embedding's own table, and there is
only one of it.
## the head forgotten
- V * C if config.tied else 2 * V * C → V * C
Right for tied models. Where config.tied is false, the head is a second table (V, C).
## tied upside down
- if config.tied → if not config.tied
You add the head's table where the model is tied, and leave it out where it is not. Tied means: the
head is the embedding, so nothing is added.
## norms forgotten
- layer = 2 * C + → layer =
- L * layer + C → L * layer
You are short by a small fraction of a percent: the weights of the norms. There are two in each
layer and one after the last, each with C numbers.
## the final norm forgotten
- L * layer + C → L * layer
You are short by exactly C numbers: the norm after the last layer has weights, too.
## one norm for each layer
- layer = 2 * C → layer = C
You are short by L · C numbers: a block has two norms, one before attention and one before the
feed-forward layer.
## all projections (C, C)
- H * D * C + 2 * G * D * C + C * H * D → 4 * C * C
You count all four projections of attention as (C, C). The query's is (H·D, C), those of key and
value are (G·D, C), and the output's is (C, H·D); H·D need not be C.
## as many KV heads as query heads
- 2 * G * D * C → 2 * H * D * C
You count keys and values with H heads. They have G = config.kv_heads: their projections are (G·D,
C).
## values in H heads
- 2 * G * D * C → G * D * C + H * D * C
You count one of keys and values with H heads. Both have G = config.kv_heads: (G·D, C) each.
## the query with G heads
- H * D * C + 2 * G → G * D * C + 2 * G
You count the query's projection with G heads. It has H = config.heads of them: (H·D, C).
## query and output (C, C)
- layer = 2 * C + H * D * C + 2 * G * D * C + C * H * D → layer = 2 * C + 2 * C * C + 2 * G * D * C
You count the projections of the query and of the output as (C, C). They are (H·D, C) and (C, H·D);
H·D need not be C.
## a single KV head
- 2 * G * D * C → 2 * D * C
You count keys and values of a single head. They have G = config.kv_heads of them: (G·D, C) each.
## one head each
- H * D * C + 2 * G * D * C + C * H * D → 4 * D * C
You count the projections of one head. The query and the output have H of them, key and value G.
## the final norm in every layer
- L * layer + C → L * (layer + C)
You count three norms in each layer. There are two; the final norm comes once, after the last layer.
## the layers' norms forgotten
- layer = 2 * C + → layer =
You are short by L · 2 · C numbers: the weights of the two norms in each layer.
## a norm too many in each layer
- layer = 2 * C → layer = 3 * C
You count three norms in each layer. There are two, one before attention and one before the
feed-forward.
## a projection (C, C)
- C * H * D → C * C
You count one of two projections as (C, C): that of the query or that of the output. They are (H·D, C)
and (C, H·D); H·D need not be C.
## three keys and values
- 2 * G * D * C → 3 * G * D * C
You count three projections with G heads. There are two, key and value; the query has H.
## everything with G heads
- layer = 2 * C + H * D * C + 2 * G * D * C + C * H * D → layer = 2 * C + 4 * G * D * C
You count all projections of attention with G heads. The query and the output have H of them.
## D forgotten
- H * D * C + 2 * G * D * C + C * H * D → H * C + 2 * G * C + C * H
You forget D: a head has D rows, so the query's projection is (H·D, C).
## the group for G
- 2 * G * D → 2 * (H // G) * D
You count keys and values with H/G heads: that is the size of a group. There are G = config.kv_heads.
## the attention of all layers, the rest once
- layer = 2 * C + H → layer = H
- L * layer + C → L * (layer - 3 * F_ * C) + 3 * F_ * C + 2 * C + C
Only attention is multiplied by the number of layers. Each layer has a feed-forward and two norms as
well: put all of it in parentheses.
## the feed-forward of one layer only
- L * layer + C → L * (layer - 3 * F_ * C) + 3 * F_ * C + C
You count the feed-forward once. Each layer has one: put it inside the parentheses that are multiplied
by config.layers.
## the attention of one layer only
- L * layer + C
+ L * (2 * C + 3 * F_ * C) + layer - 2 * C - 3 * F_ * C + C
You count attention once. Each layer has one: put it inside the parentheses that are multiplied by
config.layers.
## biases in the feed-forward counted
- layer = 2 * C → layer = 2 * F_ + C + 2 * C
You count biases in the feed-forward. The linear layers of the Llama architecture have none: weights
only.
## in bytes of fp32
- return tables → return 4 * (tables
- L * layer + C → L * layer + C)
Those are bytes, at 4 for each number. Asked for is how many numbers there are.
## in bytes of fp16
- return tables → return 2 * (tables
- L * layer + C → L * layer + C)
Those are bytes, at 2 for each number. Asked for is how many numbers there are.
## two final norms
- L * layer + C → L * layer + 2 * C
You count 2 · C numbers at the end. There is one final norm, with C.
## norms with biases
- layer = 2 * C → layer = 4 * C
- L * layer + C → L * layer + 2 * C
You count a bias for each norm. RMSNorm has a weight alone: C numbers.
## the embedding forgotten
- V * C if config.tied else 2 * V * C → 0 if config.tied else V * C
You count the head, but not the embedding. Its table (V, C) is there in any case; the head comes on
top where it is not tied.
## one layer too many
- L * layer → (L + 1) * layer
You count one layer too many: there are config.layers.
## one layer too few
- L * layer → (L - 1) * layer
You count one layer too few: there are config.layers.
## biases in attention counted
- layer = 2 * C → layer = (H + 2 * G) * D + 2 * C
You count biases of queries, keys and values. The linear layers of the Llama architecture have none:
weights only.
## one matrix in the feed-forward layer
- 3 * F_ → F_
You count one matrix in the feed-forward layer. SwiGLU has three: gate, up and down.
## D of 64 by heart
- config.head_dim → 64
You take D = 64, as in the model of this course. Other models have another: config.head_dim.
## a KV head for three heads
- config.kv_heads → config.heads // 3
You take a third of H for G, as in the model of this course. Other models share otherwise:
config.kv_heads.
## 8/3 as wide
- 3 * F_ * C → 3 * (8 * C // 3) * C
You take the feed-forward to be 8/3 as wide as the model. Its width is a number of its own:
config.feed_forward.
## four times as wide
- 3 * F_ * C → 3 * 4 * C * C
You take the feed-forward to be four times as wide as the model. Its width is a number of its own:
config.feed_forward.
## key and value counted as one
- 2 * G * D * C → G * D * C
You are short by L · G·D · C numbers: key and value have a matrix each, (G·D, C), so there are two
of these in a layer.
## the norms of one layer only
- layer = 2 * C + → layer =
- L * layer + C → L * layer + 2 * C + C
You count the two norms of a layer once. They belong to the layer: put them inside the parentheses
that are multiplied by config.layers. Only the final norm stands outside.
## a float
- return tables → return float(tables)
The number is right, but it is a float. A count is a whole number, and floats are not exact for all
of them: multiply only, or divide by //.
## D taken for C / H
- config.head_dim → config.width // config.heads
Right where D is C / H, which it often is. But D is a number of its own: config.head_dim.
## two matrices in the feed-forward layer
- 3 * F_ → 2 * F_
You count two matrices in the feed-forward layer. SwiGLU has three: gate, up and down.
## biases counted
- layer = 2 * C → layer = (H + 2 * G) * D + C + 2 * F_ + C + 2 * C
You count biases. The linear layers of the Llama architecture have none: weights only.
## the output projection forgotten
-  + C * H * D
You are short by L · H·D · C numbers: after attention there is an output projection, (C, H·D), in
each layer.
## one layer only
- L * layer → layer
You count a single layer. There are config.layers of them.
## a table of positions
- return tables → return config.context * C + tables
You count a table of learned positions, as GPT-2 has one. RoPE computes its angles: nothing about
positions is learned, and config.context counts for nothing here.
""",
    ),
    hints=(
        "Begin with one layer of this model. Its query is (H·D, C) = (9 · 64, 576): 331,776 numbers. "
        "Do the same for its other eight weights, and add: a layer has 3,540,096.",
        "If you get another sum: attention has 884,736, the feed-forward layer 2,654,208, and the two "
        "norms 1,152. Now write the same with the names of the config.",
        "All of that config.layers times; then the embedding (V, C), the final norm (C,), and another "
        "(V, C) for the head, but only `if not config.tied`.",
    ),
)

# --- unpermute ------------------------------------------------------------------------------------


def unpermuted(weight: Tensor, H: int) -> Tensor:
    """Row by row."""
    D = weight.shape[0] // H
    places = [2 * i if i < D // 2 else 2 * (i - D // 2) + 1 for i in range(D)]
    return torch.stack([weight[h * D + place] for h in range(H) for place in places])


def evens_then_odds(weight: Tensor, H: int) -> Tensor:
    """A right one."""
    heads = weight.unflatten(0, (H, -1))
    return torch.cat((heads[:, 0::2], heads[:, 1::2]), 1).flatten(0, 1)


def numbered(rows: int, columns: int) -> Tensor:
    """Rows that are told apart at a glance: 0.1, 0.2, … then 1.1, 1.2, …"""
    return torch.arange(rows)[:, None] + 0.1 * torch.arange(1, columns + 1)


UNPERMUTE = Exercise(
    name="unpermute",
    lesson=LESSON,
    library=unpermute,
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        call("one head of 8 rows", numbered(8, 2), 1, oracle=unpermuted),
        call("two heads of 6 rows", numbered(12, 3), 2, oracle=unpermuted),
        call("one head of 4 rows", numbered(4, 4), 1, oracle=unpermuted),
        call("two heads of 10 rows", numbered(20, 8), 2, oracle=unpermuted),
        call("three heads of 2 rows: nothing moves", numbered(6, 5), 3, oracle=unpermuted),
        call(
            "the size of the real model",
            torch.randn(576, 16, generator=draws),
            9,
            oracle=unpermuted,
        ),
    ),
    mistakes=edits(
        evens_then_odds,
        """
## the other way round
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → torch.stack(heads.chunk(2, 1), 2).flatten(1, 2)
You bring half-split rows into the interleaved order; asked for is the way back. With four rows
both are the same; try eight.
## heads ignored
- (H, -1) → (1, -1)
Right for one head. With several, you move rows from one head to another: the order is changed
within each head, D = rows / H.
## the first head alone
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1)
+ torch.cat((torch.cat((heads[:1, 0::2], heads[:1, 1::2]), 1), heads[1:]))
Right for one head: of several you sort the rows of the first alone.
## heads of 64 rows
- weight.unflatten(0, (H, -1)) → weight.reshape(-1, min(64, len(weight)), weight.shape[1])
You make heads of 64 rows, as the real model has them. H says how many heads there are: D is the
number of rows divided by H.
## D taken for C / H
- (H, -1) → (-1, weight.shape[1] // H)
You take the number of columns divided by H for D. It is the number of *rows* divided by H; a weight
need not be square.
## H taken for D
- (H, -1) → (-1, H)
You made heads of H rows each. H is how many heads there are: D is the number of rows divided by H.
## halves swapped
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → heads.roll(heads.shape[1] // 2, 1)
You swap the two halves of each head. The rows 0, 2, 4, ... come first, then 1, 3, 5, ...
## rows in reverse
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → heads.flip(1)
You turn the rows of each head round. The rows 0, 2, 4, ... come first, then 1, 3, 5, ...
## twice
- return torch.cat((heads[:, 0::2], heads[:, 1::2]), 1).flatten(0, 1)
+ once = torch.cat((heads[:, 0::2], heads[:, 1::2]), 1)
+ return torch.cat((once[:, 0::2], once[:, 1::2]), 1).flatten(0, 1)
You move the rows twice. Once is right: 0, 2, 4, ... first, then 1, 3, 5, ...
## heads moved, not rows
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → heads.transpose(0, 1)
You deal the rows of the heads out in turns. Heads keep their places; rows move within each.
## heads in an axis of their own
- .flatten(0, 1)
The rows are right, but as (H, D, C). The shape stays as it was: (H·D, C).
## the even rows alone
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → heads[:, 0::2]
You keep the rows 0, 2, 4, ... of each head and lose the others. They come second.
## odd rows first
- heads[:, 0::2], heads[:, 1::2] → heads[:, 1::2], heads[:, 0::2]
The halves are swapped: the rows 0, 2, 4, ... come first, then 1, 3, 5, ...
## nothing moved
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1) → heads
Nothing has moved. Within each head the rows 0, 2, 4, ... should come first, then 1, 3, 5, ...
## columns moved
- torch.cat((heads[:, 0::2], heads[:, 1::2]), 1)
+ torch.cat((heads[:, :, 0::2], heads[:, :, 1::2]), 2)
You move columns. What a query is made of are the rows of its matrix: row i gives its number i.
""",
    ),
    hints=(
        "Of one head with D rows: those with even numbers come first, then those with odd ones.",
        "Cut the first axis into heads, pairs, and the two of a pair: (H·D, C) → (H, D/2, 2, C).",
        "Then swap the axes of pairs and of the two, and merge them again: "
        "`rearrange(weight, '(H i two) C -> (H two i) C', H=H, two=2)`.",
    ),
)

# --- logit_lens -----------------------------------------------------------------------------------


def logit_lens(model: Decoder, states: Tensor, token_id: int) -> Tensor:
    normed = rms_norm(states, model.norm.weight, model.config.norm_eps)
    return model.head(normed).softmax(-1)[..., token_id]


def lens_by_pytorch(model: Decoder, states: Tensor, token_id: int) -> Tensor:
    logits = F.linear(final_norm(states, model), model.output.weight)
    return torch.softmax(logits, -1)[..., token_id]


def lens_inputs(model: Decoder, *shape: int, token_id: int) -> tuple[Decoder, Tensor, int]:
    return model, 3.0 * torch.randn(*shape, TINY.width, generator=draws), token_id


LOGIT_LENS = Exercise(
    name="logit_lens",
    lesson=LESSON,
    library=logit_lens,
    minutes=8,
    difficulty=2,
    kind="stretch",
    cases=(
        call("states (4, 5, C)", *lens_inputs(SHARED, 4, 5, token_id=7), oracle=lens_by_pytorch),
        call(
            "states (3, 2, 6, C)", *lens_inputs(PLAIN, 3, 2, 6, token_id=0), oracle=lens_by_pytorch
        ),
        call("a head of its own", *lens_inputs(UNTIED, 5, 3, token_id=96), oracle=lens_by_pytorch),
        call("one vector", *lens_inputs(SHALLOW, token_id=50), oracle=lens_by_pytorch),
        call(
            "small vectors, where eps counts",
            PLAIN,
            0.1 * torch.randn(3, 4, TINY.width, generator=draws),
            11,
            oracle=lens_by_pytorch,
        ),
    ),
    mistakes=edits(
        lens_by_pytorch,
        """
## the final norm forgotten
- final_norm(states, model) → states
You give the head the stream as it is. It was trained on what the final norm makes of it: rms_norm
with model.norm.weight first.
## the final norm without its weight
- final_norm(states, model) → F.rms_norm(states, states.shape[-1:], eps=model.config.norm_eps)
The final norm is without its weight: rms_norm takes model.norm.weight.
## normed twice
- final_norm(states, model) → final_norm(final_norm(states, model), model)
You norm twice. Once is right: rms_norm with model.norm.weight, then the head.
## LayerNorm
- final_norm(states, model) → final_norm(states - states.mean(-1, keepdim=True), model)
You subtract the mean: that is LayerNorm. The final norm is your rms_norm.
## an eps of one's own
- final_norm(states, model) → F.rms_norm(states, states.shape[-1:], model.norm.weight, 1e-5)
Right where eps is tiny. One of the models that you are tried on has another eps: take it from
model.config.norm_eps.
## compared with the best token
- torch.softmax(logits, -1) → (logits - logits.amax(-1, keepdim=True)).exp()
That is how probable the token is compared with the best one. A probability is a share of all:
divide by the sum over the vocabulary.
## the exponential alone
- torch.softmax(logits, -1) → logits.exp()
You take the exponential of the logit, but don't divide by the sum over the vocabulary: softmax.
## the token by itself
- torch.softmax(logits, -1) → torch.sigmoid(logits)
You turn the logit into a number between 0 and 1 by itself, by a sigmoid. A probability is a share of
all tokens: softmax over the vocabulary.
## softmax twice
- torch.softmax(logits, -1) → torch.softmax(torch.softmax(logits, -1), -1)
You take the softmax twice. Once is right.
## of everything together
- torch.softmax(logits, -1) → torch.softmax(logits.flatten(), 0).view_as(logits)
Your softmax runs over all vectors at once. Each has a forecast of its own: softmax along the last
axis of the logits.
## the best token or not
- torch.softmax(logits, -1)[..., token_id] → (logits.argmax(-1) == token_id)
You say whether the token is the best one. Asked for is its probability.
## in percent
- torch.softmax(logits, -1) → 100 * torch.softmax(logits, -1)
That is the probability in percent. Asked for is a number between 0 and 1.
## an axis too many
- [..., token_id] → [..., [token_id]]
The probabilities are right, but the axis of the vocabulary is still there, with length 1: (…, C)
should become (…).
## the token before
- [..., token_id] → [..., token_id - 1]
You pick the token before: ids count from 0, so it is `[..., token_id]`.
## the last vector alone
- final_norm(states, model) → final_norm(states[-1:] if states.ndim > 1 else states, model)
Of the first axis you keep the last alone. Each vector has a probability of its own: (…, C) → (…).
## the last position alone
- final_norm(states, model)
+ final_norm(states[..., -1, :] if states.ndim > 1 else states, model)
You keep the last position alone. Each vector has a probability of its own: (…, C) → (…).
## the logit
- torch.softmax(logits, -1) → logits
That is the token's logit. Asked for is its probability: softmax over the vocabulary first, then
pick the token.
## the logarithm of the probability
- torch.softmax(logits, -1) → torch.log_softmax(logits, -1)
That is the logarithm of the probability: use softmax, or take the exponential.
## softmax over the positions
- torch.softmax(logits, -1) → torch.softmax(logits, -2)
Your softmax runs along the wrong axis. The shares are those of the tokens of the vocabulary: the
last axis of the logits.
## softmax over axis 1
- torch.softmax(logits, -1) → torch.softmax(logits, min(1, logits.ndim - 1))
Your softmax runs along axis 1. The shares are those of the tokens of the vocabulary: the last axis of
the logits.
## eps forgotten
- final_norm(states, model) → F.rms_norm(states, states.shape[-1:], model.norm.weight, 0.0)
The norm is without its eps: model.config.norm_eps.
## another norm's weight
- final_norm(states, model)
+ F.rms_norm(
+     states,
+     states.shape[-1:],
+     model.layers[-1].feed_forward_norm.weight,
+     model.config.norm_eps,
+ )
Your norm has the weight of a norm in the last layer. The final norm has one of its own:
model.norm.weight.
## softmax over the layers
- torch.softmax(logits, -1) → torch.softmax(logits, 0)
Your softmax runs along the first axis, the layers. Each layer has a forecast of its own: softmax
along the last axis of the logits.
## the embedding for the head
- model.output.weight → model.embedding.weight
Right for tied models. One of the models here is not: call model.head.
## the best token's
- [..., token_id] → .amax(-1)
That is the probability of the best token. Asked for is that of token_id.
## all probabilities
- [..., token_id]
Those are the probabilities of the whole vocabulary. Pick one: `[..., token_id]`.
""",
    ),
    hints=(
        "Three steps, all of which work on the last axis alone: norm, head, softmax. Then pick one.",
        "rms_norm(states, model.norm.weight, model.config.norm_eps), then model.head gives logits of "
        "shape (..., V).",
        "`x[..., token_id]` picks an entry of the last axis, whatever stands before it.",
    ),
)

EXERCISES = (HIDDEN_STATES, PARAMETER_COUNT, UNPERMUTE, LOGIT_LENS)
