"""Exercises of lesson 04: the stack, its parameters, the rows of a checkpoint, the logit lens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.checkpoints.gguf_file import unpermute
from decodeloop.errors import ShapeError
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call
from decodeloop.model import SMOLLM2_135M, TINY, Decoder, ModelConfig, parameter_count, rms_norm

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


def turned(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """RoPE by complex numbers: channels i and i + D/2 are one number, turned by an angle."""
    D = x.shape[-1]
    speed = base ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    angles = positions.double()[..., None] * speed  # (T, D/2) or (B, T, D/2)
    turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    turn = turn if positions.ndim == 1 else turn[:, None]
    numbers = torch.complex(*x.chunk(2, -1)) * turn
    return torch.cat((numbers.real, numbers.imag), -1)


def one_layer(x: Tensor, layer: Any, positions: Tensor, mask: Tensor | None) -> Tensor:
    """A block by PyTorch's own operators, all of its weights taken as plain tensors."""
    config, attention, fed = layer.config, layer.attention, layer.feed_forward
    C, D, eps = config.width, config.head_dim, config.norm_eps
    h = F.rms_norm(x, (C,), layer.attention_norm.weight, eps)
    q, k, v = (
        F.linear(h, part.weight).unflatten(-1, (-1, D)).transpose(1, 2)
        for part in (attention.query, attention.key, attention.value)
    )
    q, k = turned(q, positions, config.rope_base), turned(k, positions, config.rope_base)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), attention.output.weight)
    h = F.rms_norm(x, (C,), layer.feed_forward_norm.weight, eps)
    gated = F.silu(F.linear(h, fed.gate.weight)) * F.linear(h, fed.up.weight)
    return x + F.linear(gated, fed.down.weight)


def final_norm(x: Tensor, model: Decoder) -> Tensor:
    return F.rms_norm(x, (model.config.width,), model.norm.weight, model.config.norm_eps)


def stack(
    order: Callable[[list[Any]], list[Any]] = lambda layers: layers,
    mask: Callable[[int], Tensor | None] = causal,
    positions: Callable[[Tensor], Tensor] = lambda ids: torch.arange(ids.shape[1]),
    enter: Callable[[Tensor, Decoder], Tensor] = lambda x, model: x,
    step: Callable[..., Tensor] = lambda x, new, start, model: new,
    leave: Callable[[Tensor, Decoder], Tensor] = final_norm,
) -> Callable[[Decoder, Tensor], Tensor]:
    """The whole decoder; the mistakes exchange one of its steps."""

    def run(model: Decoder, token_ids: Tensor) -> Tensor:
        x = start = enter(F.embedding(token_ids, model.embedding.weight), model)
        for layer in order(list(model.layers)):
            new = one_layer(x, layer, positions(token_ids), mask(token_ids.shape[1]))
            x = step(x, new, start, model)
        return leave(x, model)

    return run


decoder_by_pytorch = stack()


def every_layer_reads_the_embedding(model: Decoder, token_ids: Tensor) -> Tensor:
    last = stack(order=lambda layers: layers[-1:])
    return last(model, token_ids)


def mask_of_size_b(model: Decoder, token_ids: Tensor) -> Tensor:
    """With one text the mask is (1, 1), and hides nothing; with several it may not fit."""
    B, T = token_ids.shape
    if B not in (1, T):
        raise ShapeError(f"a mask ({B}, {B}) can't be broadcast to scores ({T}, {T})")
    return stack(mask=lambda _: causal(B))(model, token_ids)


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
    mistakes=(
        Mistake(
            "the final norm forgotten",
            "That is the residual stream as the last layer left it. One step is missing before the "
            "head can read it: rms_norm with model.norm.weight.",
            stack(leave=lambda x, model: x),
        ),
        Mistake(
            "no mask",
            "Your tokens see the future: change the last token of a text, and the vectors before it "
            "change too. `attend` must hand grouped_query_attention a causal mask as its fourth "
            "argument.",
            stack(mask=lambda T: None),
        ),
        Mistake(
            "no mask, and the final norm forgotten",
            "Two things. `attend` must hand grouped_query_attention a causal mask, or tokens see the "
            "future. And the stream is normed once more after the last layer, with model.norm.weight.",
            stack(mask=lambda T: None, leave=lambda x, model: x),
        ),
        Mistake(
            "the mask of size B",
            "Your mask is (B, B). With one text that is a single True, which hides nothing. T is the "
            "second number of token_ids.shape, (B, T): token_ids.shape[1].",
            mask_of_size_b,
        ),
        Mistake(
            "the mask upside down",
            "Each token sees only what comes after it: your mask is inverted. True means: may attend. "
            "causal_mask(T) is already the right way round.",
            stack(mask=lambda T: ~causal(T)),
        ),
        Mistake(
            "the same layer every time",
            "You run as many layers as there are, but each time the first one's weights. Hand `block` "
            "the layer of this turn.",
            stack(order=lambda layers: [layers[0]] * len(layers)),
        ),
        Mistake(
            "stopped after the first layer",
            "Right for a model of one layer: you return after the first. Look at the indentation of "
            "`return`: is it inside the loop?",
            stack(order=lambda layers: layers[:1]),
        ),
        Mistake(
            "layers in reverse",
            "You go through the layers from the last to the first. model.layers has them in the order "
            "in which they are run.",
            stack(order=lambda layers: layers[::-1]),
        ),
        Mistake(
            "every layer reads the embedding",
            "Right for a model of one layer. In deeper ones, each layer must read what the one before "
            "it wrote: x = block(x, ...). Yours all start from the embedding, and only the last counts.",
            every_layer_reads_the_embedding,
        ),
        Mistake(
            "the stream added twice",
            "You add the stream to the block's output, but `block` has already done that: what it "
            "returns is the whole stream. x = block(x, ...) is all.",
            stack(step=lambda x, new, start, model: x + new),
        ),
        Mistake(
            "the embedding added at every layer",
            "You add the embedding again at every layer. It enters once, at the bottom; the residual "
            "stream carries it up.",
            stack(step=lambda x, new, start, model: new + start),
        ),
        Mistake(
            "the embedding scaled by √C",
            "You scale the embedding by √C. Some models do (Gemma, and the first transformer); Llama "
            "and this one don't.",
            stack(enter=lambda x, model: x * model.config.width**0.5),
        ),
        Mistake(
            "normed after every layer",
            "You apply the final norm after every layer. It stands once, after the last: indent it "
            "less. Inside, each block norms what it reads, and leaves the stream alone.",
            stack(
                step=lambda x, new, start, model: final_norm(new, model), leave=lambda x, model: x
            ),
        ),
        Mistake(
            "normed before the layers",
            "The final norm stands in the wrong place: you apply it to the embedding. It comes once, "
            "after the last layer, right before the head.",
            stack(enter=final_norm, leave=lambda x, model: x),
        ),
        Mistake(
            "everyone at the same place",
            "All your tokens have the same position, so the model can't tell their order. The "
            "positions are 0, 1, ..., T - 1: torch.arange(T).",
            stack(positions=lambda ids: torch.zeros(ids.shape[1])),
        ),
        Mistake(
            "token ids as positions",
            "You pass the token ids as positions. A position says where a token stands, not which "
            "one it is: torch.arange(T).",
            stack(positions=lambda ids: ids),
        ),
        Mistake(
            "an eps of one's own",
            "Right where eps is tiny. One of the models that you are tried on has another eps: take "
            "it from model.config.norm_eps.",
            stack(
                leave=lambda x, model: F.rms_norm(x, x.shape[-1:], model.norm.weight, 1e-5),
            ),
        ),
        Mistake(
            "the head as well",
            "Those are logits, (B, T, V): you ran the head too. Asked for is what the head reads, "
            "(B, T, C). It is kept apart so that it need not run on every position.",
            stack(leave=lambda x, model: F.linear(final_norm(x, model), model.output.weight)),
        ),
        Mistake(
            "the last position only",
            "You return the last position alone. Asked for are the vectors of all of them, (B, T, C); "
            "which ones the head reads is for the caller to say.",
            stack(leave=lambda x, model: final_norm(x, model)[:, -1]),
        ),
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


def wrong_count(
    change: Callable[[ModelConfig], ModelConfig] = lambda c: c,
    more: Callable[[ModelConfig], int] = lambda c: 0,
) -> Callable[[ModelConfig], int]:
    """The count of another shape, or of more or fewer tensors."""
    return lambda config: count_by_shapes(change(config)) + more(config)


def square_projections(config: ModelConfig) -> int:
    """The count with four projections (C, C), in place of what they are."""
    C, D = config.width, config.head_dim
    real = 2 * C * D * (config.heads + config.kv_heads)
    return config.layers * (4 * C * C - real)


def all_biases(config: ModelConfig) -> int:
    D = config.head_dim
    rows = (config.heads + 2 * config.kv_heads) * D + 2 * config.width + 2 * config.feed_forward
    return config.layers * rows


def usual_head_dim(config: ModelConfig) -> int:
    """The difference that D = C // H makes."""
    C, usual = config.width, config.width // config.heads
    return config.layers * 2 * C * (config.heads + config.kv_heads) * (usual - config.head_dim)


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
    mistakes=(
        Mistake(
            "a tied head counted",
            "You count the head always. Where config.tied is true, it is the embedding's own table, "
            "and there is only one of it.",
            wrong_count(lambda c: replace(c, tied=False)),
        ),
        Mistake(
            "the head forgotten",
            "Right for tied models. Where config.tied is false, the head is a second table (V, C).",
            wrong_count(lambda c: replace(c, tied=True)),
        ),
        Mistake(
            "tied upside down",
            "You add the head's table where the model is tied, and leave it out where it is not. Tied "
            "means: the head is the embedding, so nothing is added.",
            wrong_count(lambda c: replace(c, tied=not c.tied)),
        ),
        Mistake(
            "norms forgotten",
            "You are short by a small fraction of a percent: the weights of the norms. There are two "
            "in each layer and one after the last, each with C numbers.",
            wrong_count(more=lambda c: -(2 * c.layers + 1) * c.width),
        ),
        Mistake(
            "the final norm forgotten",
            "You are short by exactly C numbers: the norm after the last layer has weights, too.",
            wrong_count(more=lambda c: -c.width),
        ),
        Mistake(
            "one norm for each layer",
            "You are short by L · C numbers: a block has two norms, one before attention and one "
            "before the feed-forward layer.",
            wrong_count(more=lambda c: -c.layers * c.width),
        ),
        Mistake(
            "all projections (C, C)",
            "You count all four projections of attention as (C, C). The query's is (H·D, C), those of "
            "key and value are (G·D, C), and the output's is (C, H·D); H·D need not be C.",
            wrong_count(more=square_projections),
        ),
        Mistake(
            "as many KV heads as query heads",
            "You count keys and values with H heads. They have G = config.kv_heads: their projections "
            "are (G·D, C).",
            wrong_count(lambda c: replace(c, kv_heads=c.heads)),
        ),
        Mistake(
            "key and value counted as one",
            "You are short by L · G·D · C numbers: key and value have a matrix each, (G·D, C), so "
            "there are two of these in a layer.",
            wrong_count(more=lambda c: -c.layers * c.kv_heads * c.head_dim * c.width),
        ),
        Mistake(
            "the norms of one layer only",
            "You count the two norms of a layer once. They belong to the layer: put them inside the "
            "parentheses that are multiplied by config.layers. Only the final norm stands outside.",
            wrong_count(more=lambda c: -(c.layers - 1) * 2 * c.width),
        ),
        Mistake(
            "a float",
            "The number is right, but it is a float. A count is a whole number, and floats are not "
            "exact for all of them: multiply only, or divide by //.",
            lambda config: float(count_by_shapes(config)),
        ),
        Mistake(
            "D taken for C / H",
            "Right where D is C / H, which it often is. But D is a number of its own: "
            "config.head_dim.",
            wrong_count(more=usual_head_dim),
        ),
        Mistake(
            "two matrices in the feed-forward layer",
            "You count two matrices in the feed-forward layer. SwiGLU has three: gate, up and down.",
            wrong_count(more=lambda c: -c.layers * c.width * c.feed_forward),
        ),
        Mistake(
            "biases counted",
            "You count biases. The linear layers of the Llama architecture have none: weights only.",
            wrong_count(more=all_biases),
        ),
        Mistake(
            "the output projection forgotten",
            "You are short by L · H·D · C numbers: after attention there is an output projection, "
            "(C, H·D), in each layer.",
            wrong_count(more=lambda c: -c.layers * c.heads * c.head_dim * c.width),
        ),
        Mistake(
            "one layer only",
            "You count a single layer. There are config.layers of them.",
            wrong_count(lambda c: replace(c, layers=1)),
        ),
        Mistake(
            "a table of positions",
            "You count a table of learned positions, as GPT-2 has one. RoPE computes its angles: "
            "nothing about positions is learned, and config.context counts for nothing here.",
            wrong_count(more=lambda c: c.context * c.width),
        ),
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


def by_index(
    place: Callable[[int, int], int],
) -> Callable[[Tensor, int], Tensor]:
    """New row i of a head of D rows is its old row place(i, D)."""

    def move(weight: Tensor, H: int) -> Tensor:
        D = weight.shape[0] // H
        rows = [h * D + place(i, D) for h in range(H) for i in range(D)]
        return torch.stack([weight[row] for row in rows])

    return move


def half_from_interleaved(i: int, D: int) -> int:
    return 2 * i if i < D // 2 else 2 * (i - D // 2) + 1


def interleaved_from_half(i: int, D: int) -> int:
    return i // 2 + (D // 2 if i % 2 else 0)


unpermuted = by_index(half_from_interleaved)


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
        call("three heads of 2 rows: nothing moves", numbered(6, 5), 3, oracle=unpermuted),
        call(
            "the size of the real model",
            torch.randn(576, 16, generator=draws),
            9,
            oracle=unpermuted,
        ),
    ),
    mistakes=(
        Mistake(
            "the other way round",
            "You bring half-split rows into the interleaved order; asked for is the way back. With "
            "four rows both are the same; try eight.",
            by_index(interleaved_from_half),
        ),
        Mistake(
            "heads ignored",
            "Right for one head. With several, you move rows from one head to another: the order is "
            "changed within each head, D = rows / H.",
            lambda weight, H: unpermuted(weight, 1),
        ),
        Mistake(
            "odd rows first",
            "The halves are swapped: the rows 0, 2, 4, ... come first, then 1, 3, 5, ...",
            by_index(lambda i, D: 2 * i + 1 if i < D // 2 else 2 * (i - D // 2)),
        ),
        Mistake(
            "nothing moved",
            "Nothing has moved. Within each head the rows 0, 2, 4, ... should come first, then "
            "1, 3, 5, ...",
            lambda weight, H: weight.clone(),
        ),
        Mistake(
            "columns moved",
            "You move columns. What a query is made of are the rows of its matrix: row i gives its "
            "number i.",
            lambda weight, H: torch.cat((weight[:, ::2], weight[:, 1::2]), 1),
        ),
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


def lens(
    norm: Callable[[Tensor, Decoder], Tensor] = final_norm,
    table: Callable[[Decoder], Tensor] = lambda model: model.output.weight,
    read: Callable[[Tensor, int], Tensor] = lambda logits, i: torch.softmax(logits, -1)[..., i],
) -> Callable[[Decoder, Tensor, int], Tensor]:
    return lambda model, states, token_id: read(
        F.linear(norm(states, model), table(model)), token_id
    )


def lens_inputs(model: Decoder, *shape: int, token_id: int) -> tuple[Decoder, Tensor, int]:
    return model, 3.0 * torch.randn(*shape, TINY.width, generator=draws), token_id


lens_by_pytorch = lens()

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
        call("one vector", *lens_inputs(SHALLOW, 1, token_id=50), oracle=lens_by_pytorch),
    ),
    mistakes=(
        Mistake(
            "the final norm forgotten",
            "You give the head the stream as it is. It was trained on what the final norm makes of "
            "it: rms_norm with model.norm.weight first.",
            lens(norm=lambda x, model: x),
        ),
        Mistake(
            "the logit",
            "That is the token's logit. Asked for is its probability: softmax over the vocabulary "
            "first, then pick the token.",
            lens(read=lambda logits, i: logits[..., i]),
        ),
        Mistake(
            "the logarithm of the probability",
            "That is the logarithm of the probability: use softmax, or take the exponential.",
            lens(read=lambda logits, i: torch.log_softmax(logits, -1)[..., i]),
        ),
        Mistake(
            "softmax over the positions",
            "Your softmax runs along the wrong axis. The shares are those of the tokens of the "
            "vocabulary: the last axis of the logits.",
            lens(read=lambda logits, i: torch.softmax(logits, -2)[..., i]),
        ),
        Mistake(
            "softmax over the layers",
            "Your softmax runs along the first axis, the layers. Each layer has a forecast of its "
            "own: softmax along the last axis of the logits.",
            lens(read=lambda logits, i: torch.softmax(logits, 0)[..., i]),
        ),
        Mistake(
            "the embedding for the head",
            "Right for tied models. One of the models here is not: call model.head.",
            lens(table=lambda model: model.embedding.weight),
        ),
        Mistake(
            "the best token's",
            "That is the probability of the best token. Asked for is that of token_id.",
            lens(read=lambda logits, i: torch.softmax(logits, -1).amax(-1)),
        ),
        Mistake(
            "all probabilities",
            "Those are the probabilities of the whole vocabulary. Pick one: `[..., token_id]`.",
            lens(read=lambda logits, i: torch.softmax(logits, -1)),
        ),
    ),
    hints=(
        "Three steps, all of which work on the last axis alone: norm, head, softmax. Then pick one.",
        "rms_norm(states, model.norm.weight, model.config.norm_eps), then model.head gives logits of "
        "shape (..., V).",
        "`x[..., token_id]` picks an entry of the last axis, whatever stands before it.",
    ),
)

EXERCISES = (HIDDEN_STATES, PARAMETER_COUNT, UNPERMUTE, LOGIT_LENS)
