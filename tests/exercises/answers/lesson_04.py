"""Lesson 04: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from dataclasses import replace
from functools import partial

import torch
from hypothesis import strategies as st
from random_inputs import drawn, random_ids, seeds, shaped, sizes
from torch.nn import functional as F

from decodeloop.exercises.lesson_04 import random_decoder
from decodeloop.model import (
    TINY,
    Decoder,
    ModelConfig,
    block,
    causal_mask,
    grouped_query_attention,
    rms_norm,
)

# --- hidden_states --------------------------------------------------------------------------------


def seeing(mask):
    return partial(grouped_query_attention, mask=mask)


def normed(model, x):
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


def hidden_states_with_partial(model, token_ids):
    B, T = token_ids.shape
    x = model.embedding.weight[token_ids]
    positions = torch.arange(T).expand(B, T)
    for i in range(model.config.layers):
        x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
    return normed(model, x)


def hidden_states_text_by_text(model, token_ids):
    rows = []
    for text in token_ids:
        mask = torch.tensor([[s <= t for s in range(len(text))] for t in range(len(text))])
        x = torch.stack([model.embedding.weight[int(i)] for i in text])[None]
        for layer in model.layers:
            x = block(x, layer, torch.arange(len(text)), seeing(mask))
        rows.append(normed(model, x)[0])
    return torch.stack(rows)


def hidden_states_from_one(model, token_ids):
    """Positions that start at 1 give the same: RoPE turns by distances alone."""
    T = token_ids.shape[1]
    x = F.embedding(token_ids, model.embedding.weight)
    for layer in model.layers:
        x = block(x, layer, 1 + torch.arange(T), seeing(causal_mask(T)))
    return normed(model, x)


def states(model, token_ids, layers=None, mask=True, positions=None):
    """The stream after the embedding and after each layer."""
    T = token_ids.shape[1]
    found = [model.embedding(token_ids)]
    where = torch.arange(T) if positions is None else positions
    for layer in model.layers if layers is None else layers:
        attend = seeing(causal_mask(T)) if mask else grouped_query_attention
        found.append(block(found[-1], layer, where, attend))
    return found


def last_of_the_stream(model, token_ids):
    return states(model, token_ids)[-1]


def everyone_sees_everyone(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(torch.ones(T, T, dtype=torch.bool)))
    return normed(model, x)


def everyone_sees_everyone_and_no_norm(model, token_ids):
    return states(model, token_ids, mask=False)[-1]


def only_the_future(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(torch.ones(T, T).triu(1) == 1))
    return normed(model, x)


def layer_zero_each_time(model, token_ids):
    first = model.layers[0]
    return normed(model, states(model, token_ids, [first for _ in model.layers])[-1])


def return_inside_the_loop(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(causal_mask(T)))
        return normed(model, x)
    return None


def from_the_top(model, token_ids):
    return normed(model, states(model, token_ids, reversed(model.layers))[-1])


def never_handed_on(model, token_ids):
    T = token_ids.shape[1]
    embedded = model.embedding(token_ids)
    for layer in model.layers:
        out = block(embedded, layer, torch.arange(T), seeing(causal_mask(T)))
    return normed(model, out)


def plus_equals(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = x + block(x, layer, torch.arange(T), seeing(causal_mask(T)))
    return normed(model, x)


def reminded_of_the_embedding(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(causal_mask(T))) + model.embedding(token_ids)
    return normed(model, x)


def as_gemma_does(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    x = x * math.sqrt(x.shape[-1])
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(causal_mask(T)))
    return normed(model, x)


def norm_in_the_loop(model, token_ids):
    T = token_ids.shape[1]
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(T), seeing(causal_mask(T)))
        x = rms_norm(x, model.norm.weight, model.config.norm_eps)
    return x


def positions_all_five(model, token_ids):
    same = torch.full((token_ids.shape[1],), 5)
    return normed(model, states(model, token_ids, positions=same)[-1])


def turned_by_their_ids(model, token_ids):
    return normed(model, states(model, token_ids, positions=token_ids)[-1])


def eps_written_in(model, token_ids):
    return rms_norm(states(model, token_ids)[-1], model.norm.weight, eps=1e-5)


def logits_of_all(model, token_ids):
    return model.head(normed(model, states(model, token_ids)[-1]))


def last_layer_left_out(model, token_ids):
    return normed(model, states(model, token_ids)[-2])


def last_position_only(model, token_ids):
    return normed(model, states(model, token_ids)[-1][:, -1])


def mask_by_len(model, token_ids):
    T = len(token_ids)
    x = model.embedding(token_ids)
    for layer in model.layers:
        x = block(x, layer, torch.arange(token_ids.shape[1]), seeing(causal_mask(T)))
    return normed(model, x)


def norm_before_the_loop(model, token_ids):
    x = normed(model, model.embedding(token_ids))
    for layer in model.layers:
        x = block(x, layer, torch.arange(x.shape[1]), seeing(causal_mask(x.shape[1])))
    return x


def normed_before_and_after(model, token_ids):
    return normed(model, norm_before_the_loop(model, token_ids))


def last_position_kept_as_an_axis(model, token_ids):
    return normed(model, states(model, token_ids)[-1])[:, -1:]


def layer_norm_at_the_end(model, token_ids):
    return F.layer_norm(states(model, token_ids)[-1], (model.config.width,), model.norm.weight)


def final_norm_without_weight(model, token_ids):
    x = states(model, token_ids)[-1]
    return F.rms_norm(x, (model.config.width,), eps=model.config.norm_eps)


def positions_backwards(model, token_ids):
    back = torch.arange(token_ids.shape[1]).flip(0)
    return normed(model, states(model, token_ids, positions=back)[-1])


def all_states(model, token_ids):
    return torch.stack(states(model, token_ids))


# --- parameter_count ------------------------------------------------------------------------------


def count_by_building(config):
    """Build it, on the meta device where weights have no values, and count what it has."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in Decoder(config).parameters())


def count_in_steps(config):
    total = config.vocabulary * config.width * (2 - config.tied)
    for _ in range(config.layers):
        total += 2 * (config.heads + config.kv_heads) * config.head_dim * config.width
        total += config.width * (3 * config.feed_forward + 2)
    return total + config.width


def terms(config, **changed):
    """The terms of the sum by name, some of them changed."""
    C, F_, D = config.width, config.feed_forward, config.head_dim
    H, G, L = config.heads, config.kv_heads, config.layers
    parts = {
        "embedding": config.vocabulary * C,
        "head": 0 if config.tied else config.vocabulary * C,
        "query": L * H * D * C,
        "key and value": L * 2 * G * D * C,
        "output": L * H * D * C,
        "feed_forward": L * 3 * F_ * C,
        "norms": L * 2 * C,
        "final": C,
    }
    return sum((parts | {k.replace("_and_", " and "): v for k, v in changed.items()}).values())


def two_tables(c):
    return terms(c, head=c.vocabulary * c.width)


def one_table(c):
    return terms(c, head=0)


def head_if_tied(c):
    return terms(c, head=c.vocabulary * c.width if c.tied else 0)


def matrices_only(c):
    return terms(c, norms=0, final=0)


def layers_only_have_norms(c):
    return terms(c, final=0)


def single_norms(c):
    return terms(c, norms=c.layers * c.width)


def four_squares(c):
    square = c.layers * c.width**2
    return terms(c, query=square, output=square) + 2 * square - kv(c)


def kv(c):
    return c.layers * 2 * c.kv_heads * c.head_dim * c.width


def keys_as_queries(c):
    return terms(c) - kv(c) + c.layers * 2 * c.heads * c.head_dim * c.width


def one_matrix_for_both(c):
    return terms(c, key_and_value=kv(c) // 2)


def norms_outside(c):
    return terms(c, norms=2 * c.width)


def divided(c):
    return 2 * terms(c) / 2


def d_by_division(c):
    D = c.width // c.heads
    attention = c.width * D * (2 * c.heads + 2 * c.kv_heads)
    rest = 3 * c.width * c.feed_forward + 2 * c.width
    return c.vocabulary * c.width * (2 - c.tied) + c.layers * (attention + rest) + c.width


def up_and_down(c):
    return terms(c, feed_forward=c.layers * 2 * c.width * c.feed_forward)


def with_biases(c):
    biases = c.heads * c.head_dim + 2 * c.kv_heads * c.head_dim + c.width
    return terms(c) + c.layers * (biases + 2 * c.feed_forward + c.width)


def no_output_projection(c):
    return terms(c, output=0)


def one_block(c):
    per_layer = (terms(c) - terms(replace(c, layers=1))) // max(c.layers - 1, 1)
    return terms(c) - (c.layers - 1) * per_layer


def learned_positions(c):
    return terms(c) + c.context * c.width


# --- unpermute ------------------------------------------------------------------------------------


def even_rows_then_odd_rows(weight, H):
    heads = weight.chunk(H)
    return torch.cat([torch.cat((head[0::2], head[1::2])) for head in heads])


def unpermute_by_reshape(weight, H):
    rows, C = weight.shape
    D = rows // H
    return weight.reshape(H, D // 2, 2, C).permute(0, 2, 1, 3).reshape(rows, C)


def interleaved(weight, H):
    rows, C = weight.shape
    return weight.reshape(H, 2, rows // H // 2, C).transpose(1, 2).reshape(rows, C)


def all_even_rows_first(weight, H):
    return torch.cat((weight[::2], weight[1::2]))


def odd_rows_then_even_rows(weight, H):
    return torch.cat([torch.cat((head[1::2], head[0::2])) for head in weight.chunk(H)])


def left_alone(weight, H):
    return weight.view(H, -1, weight.shape[-1]).reshape(weight.shape)


def even_columns_first(weight, H):
    C = weight.shape[1]
    return weight[:, [*range(0, C, 2), *range(1, C, 2)]]


def rows_reversed(weight, H):
    return torch.cat([head.flip(0) for head in weight.chunk(H)])


def halves_swapped(weight, H):
    return torch.cat([head.roll(head.shape[0] // 2, 0) for head in weight.chunk(H)])


def heads_interleaved(weight, H):
    return weight.unflatten(0, (H, -1)).transpose(0, 1).reshape(weight.shape)


# --- logit_lens -----------------------------------------------------------------------------------


def lens_by_logsumexp(model, states, token_id):
    logits = model.output(rms_norm(states, model.norm.weight, model.config.norm_eps))
    return (logits[..., token_id] - logits.logsumexp(-1)).exp()


def lens_vector_by_vector(model, states, token_id):
    found = []
    for x in states.reshape(-1, states.shape[-1]):
        scale = (x.square().mean() + model.config.norm_eps) ** -0.5
        logits = model.output.weight @ (x * scale * model.norm.weight)
        found.append(torch.softmax(logits, 0)[token_id])
    return torch.stack(found).reshape(states.shape[:-1])


def lens_on_the_raw_stream(model, states, token_id):
    return F.softmax(model.head(states), dim=-1).select(-1, token_id)


def lens_logits(model, states):
    return model.head(rms_norm(states, model.norm.weight, model.config.norm_eps))


def lens_logit(model, states, token_id):
    return lens_logits(model, states).select(-1, token_id)


def lens_log(model, states, token_id):
    return lens_by_logsumexp(model, states, token_id).log()


def lens_across_positions(model, states, token_id):
    e = lens_logits(model, states).exp()
    return (e / e.sum(-2, keepdim=True))[..., token_id]


def lens_across_layers(model, states, token_id):
    e = lens_logits(model, states).exp()
    return (e / e.sum(0))[..., token_id]


def lens_with_the_embedding(model, states, token_id):
    x = rms_norm(states, model.norm.weight, model.config.norm_eps)
    return (x @ model.embedding.weight.T).softmax(-1)[..., token_id]


def lens_of_the_best(model, states, token_id):
    return lens_logits(model, states).softmax(-1).max(-1).values


def lens_of_everything(model, states, token_id):
    return F.softmax(lens_logits(model, states), dim=-1)


def lens_of_a_layer(model, states, token_id):
    return lens_of_everything(model, states, token_id)[token_id % states.shape[0]]


def lens_sigmoid(model, states, token_id):
    return lens_logit(model, states, token_id).sigmoid()


def lens_normed_twice(model, states, token_id):
    once = rms_norm(states, model.norm.weight, model.config.norm_eps)
    return lens_by_logsumexp(model, once, token_id)


RIGHT = {
    "hidden_states": [
        hidden_states_with_partial,
        hidden_states_text_by_text,
        hidden_states_from_one,
    ],
    "parameter_count": [count_by_building, count_in_steps],
    "unpermute": [even_rows_then_odd_rows, unpermute_by_reshape],
    "logit_lens": [lens_by_logsumexp, lens_vector_by_vector],
}


SECOND_FORMS = {
    "hidden_states": {
        "the final norm forgotten": last_of_the_stream,
        "no mask": everyone_sees_everyone,
        "no mask, and the final norm forgotten": everyone_sees_everyone_and_no_norm,
        "the mask of size B": mask_by_len,
        "the mask upside down": only_the_future,
        "the same layer every time": layer_zero_each_time,
        "stopped after the first layer": return_inside_the_loop,
        "layers in reverse": from_the_top,
        "every layer reads the embedding": never_handed_on,
        "the stream added twice": plus_equals,
        "the embedding added at every layer": reminded_of_the_embedding,
        "the embedding scaled by √C": as_gemma_does,
        "normed after every layer": norm_in_the_loop,
        "normed before the layers": norm_before_the_loop,
        "everyone at the same place": positions_all_five,
        "token ids as positions": turned_by_their_ids,
        "an eps of one's own": eps_written_in,
        "the head as well": logits_of_all,
        "the last position only": last_position_only,
    },
    "parameter_count": {
        "a tied head counted": two_tables,
        "the head forgotten": one_table,
        "tied upside down": head_if_tied,
        "norms forgotten": matrices_only,
        "the final norm forgotten": layers_only_have_norms,
        "one norm for each layer": single_norms,
        "all projections (C, C)": four_squares,
        "as many KV heads as query heads": keys_as_queries,
        "key and value counted as one": one_matrix_for_both,
        "the norms of one layer only": norms_outside,
        "a float": divided,
        "D taken for C / H": d_by_division,
        "two matrices in the feed-forward layer": up_and_down,
        "biases counted": with_biases,
        "the output projection forgotten": no_output_projection,
        "one layer only": one_block,
        "a table of positions": learned_positions,
    },
    "unpermute": {
        "the other way round": interleaved,
        "heads ignored": all_even_rows_first,
        "odd rows first": odd_rows_then_even_rows,
        "nothing moved": left_alone,
        "columns moved": even_columns_first,
    },
    "logit_lens": {
        "the final norm forgotten": lens_on_the_raw_stream,
        "the logit": lens_logit,
        "the logarithm of the probability": lens_log,
        "softmax over the positions": lens_across_positions,
        "softmax over the layers": lens_across_layers,
        "the embedding for the head": lens_with_the_embedding,
        "the best token's": lens_of_the_best,
        "all probabilities": lens_of_everything,
    },
}

UNNAMED = {
    "hidden_states": [
        last_layer_left_out,
        last_position_kept_as_an_axis,
        normed_before_and_after,
        layer_norm_at_the_end,
        final_norm_without_weight,
        positions_backwards,
        all_states,
    ],
    "parameter_count": [
        lambda c: terms(c) / 2,
        lambda c: terms(c, final=c.layers * c.width),
        lambda c: 134_515_008,
        lambda c: 12 * c.layers * c.width**2 + c.vocabulary * c.width,  # the rule of thumb for GPT
        lambda c: terms(c, query=c.layers * c.head_dim * c.width),
    ],
    "unpermute": [rows_reversed, halves_swapped, heads_interleaved],
    "logit_lens": [lens_of_a_layer, lens_sigmoid, lens_normed_twice],
}


# --- random inputs --------------------------------------------------------------------------------


def random_text(B, T, layers, kv_heads, tied, seed):
    config = replace(TINY, layers=layers, kv_heads=kv_heads, tied=tied)
    return random_decoder(config, seed), random_ids(seed, config.vocabulary, B, T)


def random_config(V, C, L, G, group, half, F_, tied):
    sizes = {"heads": G * group, "kv_heads": G, "head_dim": 2 * half, "feed_forward": F_}
    return (ModelConfig(vocabulary=V, width=C, layers=L, context=16, tied=tied, **sizes),)


def random_rows(H, half, C, seed):
    return drawn(seed, 2 * half * H, C), H


def random_states(shape, tied, seed):
    model = random_decoder(replace(TINY, layers=1, tied=tied), seed)
    return model, drawn(seed, *shape, TINY.width, scale=3.0), seed % TINY.vocabulary


RANDOM = {
    "hidden_states": shaped(
        random_text,
        sizes,
        sizes,
        st.integers(1, 3),
        st.sampled_from([1, 2, 6]),
        st.booleans(),
        seeds,
    ),
    "parameter_count": shaped(
        random_config, st.integers(1, 90), st.integers(1, 20), *[sizes] * 5, st.booleans()
    ),
    "unpermute": shaped(random_rows, sizes, st.integers(1, 6), sizes, seeds),
    "logit_lens": shaped(
        random_states, st.lists(sizes, min_size=1, max_size=3), st.booleans(), seeds
    ),
}
