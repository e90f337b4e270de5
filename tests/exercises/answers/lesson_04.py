"""Lesson 04: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.model import (
    Decoder,
    block,
    causal_mask,
    grouped_query_attention,
    rms_norm,
)

# --- hidden_states --------------------------------------------------------------------------------


def seeing(mask):
    return lambda q, k, v: grouped_query_attention(q, k, v, mask.to(q.device))


def normed(model, x):
    return rms_norm(x, model.norm.weight, model.config.norm_eps)


def hidden_states_with_partial(model, token_ids):
    B, T = token_ids.shape
    x = model.embedding.weight[token_ids]
    positions = torch.arange(T).expand(B, T).to(x.device)
    for i in range(model.config.layers):
        x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
    return normed(model, x)


def hidden_states_text_by_text(model, token_ids):
    rows = []
    for text in token_ids:
        mask = torch.tensor([[s <= t for s in range(len(text))] for t in range(len(text))])
        x = torch.stack([model.embedding.weight[int(i)] for i in text])[None]
        for layer in model.layers:
            x = block(x, layer, torch.arange(len(text), device=x.device), seeing(mask))
        rows.append(normed(model, x)[0])
    return torch.stack(rows)


def hidden_states_from_one(model, token_ids):
    """Positions that start at 1 give the same: RoPE turns by distances alone."""
    T = token_ids.shape[1]
    x = F.embedding(token_ids, model.embedding.weight)
    for layer in model.layers:
        x = block(x, layer, 1 + torch.arange(T).to(x.device), seeing(causal_mask(T)))
    return normed(model, x)


HIDDENS = edited(
    hidden_states_with_partial,
    """
## the final norm forgotten
- return normed(model, x) → return x
## no mask
- causal_mask(T) → torch.ones(T, T, dtype=torch.bool)
## no mask, and the final norm forgotten
- causal_mask(T) → torch.ones(T, T, dtype=torch.bool)
- return normed(model, x) → return x
## the mask of size B
- causal_mask(T) → causal_mask(len(token_ids))
## the mask upside down
- causal_mask(T) → torch.ones(T, T).triu(1) == 1
## the same layer every time
- model.layers[i] → model.layers[0]
## stopped after the first layer
- return normed(model, x)
+     return normed(model, x)
## the same layer every time, the last
- model.layers[i] → model.layers[-1]
## each layer twice
- x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ for _ in range(2):
+     x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
## every other layer
- range(model.config.layers) → range(0, model.config.layers, 2)
## what block returns thrown away
- x = block → _ = block
## normed before each layer
- block(x, → block(normed(model, x),
## layers in reverse
- range(model.config.layers) → reversed(range(model.config.layers))
## every layer reads the embedding
- block(x, → block(model.embedding.weight[token_ids],
## the stream added twice
- x = block → x = x + block
## the embedding added at every layer
- x = block → x = model.embedding(token_ids) + block
## the embedding scaled by √C
- model.embedding.weight[token_ids] → model.embedding.weight[token_ids] * model.config.width**0.5
## normed after every layer
- x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ x = normed(model, block(x, model.layers[i], positions, seeing(causal_mask(T))))
- return normed(model, x) → return x
## normed before the layers
- model.embedding.weight[token_ids] → normed(model, model.embedding.weight[token_ids])
- return normed(model, x) → return x
## everyone at the same place
- torch.arange(T).expand(B, T) → torch.full((T,), 5)
## token ids as positions
- torch.arange(T).expand(B, T) → token_ids
## an eps of one's own
- normed(model, x) → rms_norm(x, model.norm.weight, eps=1e-5)
## the head as well
- normed(model, x) → model.head(normed(model, x))
## the last position only
- normed(model, x) → normed(model, x[:, -1])
## the final norm without its weight
- normed(model, x) → normed(model, x) / model.norm.weight
## normed twice
- normed(model, x) → normed(model, normed(model, x))
## another norm's weight at the end
- normed(model, x) → normed(model, x) / model.norm.weight * model.layers[i].feed_forward_norm.weight
## the first layer's norm at the end
- normed(model, x) → normed(model, x) / model.norm.weight * model.layers[0].attention_norm.weight
## the mean over the text
- normed(model, x) → normed(model, x).sum(1) / T
## every state, the embedding too
- positions = → every = [normed(model, x)]; positions =
- x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ every.append(normed(model, x))
- return normed(model, x) → return torch.stack(every)
## LayerNorm at the end
- normed(model, x)
+ F.layer_norm(x, x.shape[2:], model.norm.weight, None, model.config.norm_eps)
## normed before and after
- model.embedding.weight[token_ids] → normed(model, model.embedding.weight[token_ids])
## the last layer left out
- range(model.config.layers) → range(model.config.layers - 1)
## the first layer left out
- range(model.config.layers) → range(1, model.config.layers)
## the head's table for the embedding
- model.embedding.weight[token_ids] → model.output.weight[token_ids]
## blind to itself
- causal_mask(T) → torch.ones(T, T).tril(-1) > 0
## sees one ahead
- causal_mask(T) → torch.arange(T) <= torch.arange(1, T + 1)[:, None]
## the mask turned
- causal_mask(T) → torch.ones(T, T).triu() > 0
## positions in reverse
- torch.arange(T) → torch.arange(T - 1, -1, -1)
## the same positions, stretched
- torch.arange(T) → torch.arange(0, 2 * T, 2)
## the first text alone
- normed(model, x) → normed(model, x)[0].unsqueeze(0)
## every state
- x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ every = x[None] if i == 0 else torch.cat((every, x[None]))
- normed(model, x) → every
## the last position kept as an axis
- normed(model, x) → normed(model, x)[:, T - 1 : T]
""",
)

UNNAMED_HIDDENS = edited(
    hidden_states_with_partial,
    """
## the last layer left out
- range(model.config.layers) → range(model.config.layers - 1)
## the last position kept as an axis
- normed(model, x) → normed(model, x)[:, -1:]
## normed before and after
- model.embedding.weight[token_ids] → normed(model, model.embedding.weight[token_ids])
## layer norm at the end
- normed(model, x) → F.layer_norm(x, (model.config.width,), model.norm.weight)
## the final norm without its weight
- normed(model, x) → F.rms_norm(x, (model.config.width,), eps=model.config.norm_eps)
## positions backwards
- torch.arange(T) → torch.arange(T).flip(0)
## all states
- x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ x = block(x, model.layers[i], positions, seeing(causal_mask(T)))
+ every = [x] if i == 0 else [*every, x]
- normed(model, x) → torch.stack(every)
""",
)

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


COUNTS = edited(
    count_in_steps,
    """
## a tied head counted
- (2 - config.tied) → 2
## the head forgotten
- (2 - config.tied) → 1
## tied upside down
- (2 - config.tied) → (1 + config.tied)
## norms forgotten
- config.feed_forward + 2 → config.feed_forward
- return total + config.width → return total
## the final norm forgotten
- return total + config.width → return total
## one norm for each layer
- config.feed_forward + 2 → config.feed_forward + 1
## all projections (C, C)
- 2 * (config.heads + config.kv_heads) * config.head_dim * config.width → 4 * config.width**2
## as many KV heads as query heads
- 2 * (config.heads + config.kv_heads) → 2 * (config.heads + config.heads)
## key and value counted as one
- 2 * (config.heads + config.kv_heads) → (2 * config.heads + config.kv_heads)
## the norms of one layer only
- config.feed_forward + 2 → config.feed_forward
- return total + config.width → return total + 3 * config.width
## a float
- return total + config.width → return 2 * (total + config.width) / 2
## D taken for C / H
- config.head_dim → (config.width // config.heads)
## two matrices in the feed-forward layer
- 3 * config.feed_forward → 2 * config.feed_forward
## biases counted
- config.feed_forward + 2) → config.feed_forward + 2) + 2 * config.feed_forward + 2 * config.width
- total += 2 * (config.heads + config.kv_heads)
+ total += (config.heads + 2 * config.kv_heads) * config.head_dim
+ total += 2 * (config.heads + config.kv_heads)
## the output projection forgotten
- 2 * (config.heads + config.kv_heads) → (config.heads + 2 * config.kv_heads)
## one layer only
- range(config.layers) → range(1)
## a table of positions
- return total + config.width → return total + config.width * (1 + config.context)
## values in H heads
- 2 * (config.heads + config.kv_heads) → (3 * config.heads + config.kv_heads)
## the query with G heads
- 2 * (config.heads + config.kv_heads) → (config.heads + 3 * config.kv_heads)
## query and output (C, C)
- 2 * (config.heads + config.kv_heads) * config.head_dim * config.width
+ 2 * config.width * (config.width + config.kv_heads * config.head_dim)
## a single KV head
- config.heads + config.kv_heads → config.heads + 1
## one head each
- 2 * (config.heads + config.kv_heads) → 4
## the final norm in every layer
- config.feed_forward + 2 → config.feed_forward + 3
- return total + config.width → return total
## the layers' norms forgotten
- config.feed_forward + 2 → config.feed_forward
## a norm too many in each layer
- config.feed_forward + 2 → config.feed_forward + 3
## a projection (C, C)
- 2 * (config.heads + config.kv_heads) * config.head_dim
+ (config.width + (config.heads + 2 * config.kv_heads) * config.head_dim)
## three keys and values
- 2 * (config.heads + config.kv_heads) → (2 * config.heads + 3 * config.kv_heads)
## everything with G heads
- 2 * (config.heads + config.kv_heads) → 4 * config.kv_heads
## D forgotten
-  * config.head_dim
## the group for G
- config.heads + config.kv_heads → config.heads + config.heads // config.kv_heads
## the attention of all layers, the rest once
- total += config.width * (3 * config.feed_forward + 2)
- return total + config.width → return total + config.width * (3 * config.feed_forward + 3)
## the feed-forward of one layer only
- (3 * config.feed_forward + 2) → 2
- return total + config.width → return total + config.width * (3 * config.feed_forward + 1)
## the attention of one layer only
- for _ in range(config.layers):
-     total += 2 * (config.heads + config.kv_heads) * config.head_dim * config.width
+ total += 2 * (config.heads + config.kv_heads) * config.head_dim * config.width
+ for _ in range(config.layers):
## biases in the feed-forward counted
- config.feed_forward + 2) → config.feed_forward + 3) + 2 * config.feed_forward
## in bytes of fp32
- return total + config.width → return (total + config.width) * 4
## in bytes of fp16
- return total + config.width → return (total + config.width) * 2
## two final norms
- return total + config.width → return total + 2 * config.width
## norms with biases
- config.feed_forward + 2 → config.feed_forward + 4
- return total + config.width → return total + 2 * config.width
## the embedding forgotten
- (2 - config.tied) → (1 - config.tied)
## one layer too many
- range(config.layers) → range(config.layers + 1)
## one layer too few
- range(config.layers) → range(1, config.layers)
## biases in attention counted
- total += 2 * (config.heads + config.kv_heads)
+ total += (config.heads + 2 * config.kv_heads) * config.head_dim
+ total += 2 * (config.heads + config.kv_heads)
## one matrix in the feed-forward layer
- 3 * config.feed_forward → config.feed_forward
## D of 64 by heart
- config.head_dim → 64
## a KV head for three heads
- config.kv_heads → config.heads // 3
## 8/3 as wide
- 3 * config.feed_forward → 3 * int(config.width * 8 / 3)
## four times as wide
- 3 * config.feed_forward → 12 * config.width
""",
)

UNNAMED_COUNTS = edited(
    count_in_steps,
    """
## half
- return total + config.width → return (total + config.width) / 2
## a final norm in each layer
- return total + config.width → return total + config.layers * config.width
## a query of one head
- 2 * (config.heads + config.kv_heads) → (1 + config.heads + 2 * config.kv_heads)
""",
)

# --- unpermute ------------------------------------------------------------------------------------


def even_rows_then_odd_rows(weight, H):
    heads = weight.chunk(H)
    return torch.cat([torch.cat((head[0::2], head[1::2])) for head in heads])


def unpermute_by_reshape(weight, H):
    rows, C = weight.shape
    D = rows // H
    return weight.reshape(H, D // 2, 2, C).permute(0, 2, 1, 3).reshape(rows, C)


ROWS = edited(
    even_rows_then_odd_rows,
    """
## the other way round
- torch.cat((head[0::2], head[1::2])) → torch.stack(head.chunk(2), 1).flatten(0, 1)
## heads ignored
- weight.chunk(H) → [weight]
## odd rows first
- head[0::2], head[1::2] → head[1::2], head[0::2]
## nothing moved
- torch.cat((head[0::2], head[1::2])) → head
## columns moved
- (head[0::2], head[1::2]) → (head[:, 0::2], head[:, 1::2]), 1
## the first head alone
- torch.cat((head[0::2], head[1::2])) for
+ torch.cat((head[0::2], head[1::2])) if head is heads[0] else head for
## heads of 64 rows
- weight.chunk(H) → weight.split(64)
## D taken for C / H
- weight.chunk(H) → weight.split(weight.shape[1] // H)
## H taken for D
- weight.chunk(H) → weight.split(H)
## halves swapped
- (head[0::2], head[1::2]) → head.chunk(2)[::-1]
## rows in reverse
- torch.cat((head[0::2], head[1::2])) → head[torch.arange(len(head) - 1, -1, -1)]
## twice
- torch.cat((head[0::2], head[1::2])) for
+ torch.cat([torch.cat((head[0::2], head[1::2]))[i::2] for i in (0, 1)]) for
## heads moved, not rows
- torch.cat([torch.cat((head[0::2], head[1::2])) for head in heads])
+ torch.stack([row for rows in zip(*heads, strict=True) for row in rows])
## heads in an axis of their own
- torch.cat([torch → torch.stack([torch
## the even rows alone
- torch.cat((head[0::2], head[1::2])) → head[0::2]
""",
)

UNNAMED_ROWS = edited(
    even_rows_then_odd_rows,
    """
## rows reversed
- torch.cat((head[0::2], head[1::2])) → head.flip(0)
## halves swapped
- torch.cat((head[0::2], head[1::2])) → head.roll(head.shape[0] // 2, 0)
""",
)


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


LENSES = edited(
    lens_by_logsumexp,
    """
## the final norm forgotten
- rms_norm(states, model.norm.weight, model.config.norm_eps) → states
## the logit
- (logits[..., token_id] - logits.logsumexp(-1)).exp() → logits.select(-1, token_id)
## the logarithm of the probability
- .exp()
## softmax over the positions
- logits.logsumexp(-1) → logits.logsumexp(-2, keepdim=True)[..., token_id]
## softmax over axis 1
- logits.logsumexp(-1)
+ logits.logsumexp(min(1, logits.ndim - 1), keepdim=True).expand_as(logits)[..., token_id]
## eps forgotten
- model.config.norm_eps → 0.0
## another norm's weight
- model.norm.weight → model.layers[-1].feed_forward_norm.weight
## softmax over the layers
- logits.logsumexp(-1) → logits.logsumexp(0, keepdim=True).expand_as(logits)[..., token_id]
## the embedding for the head
- model.output(rms_norm → F.linear(rms_norm
- model.config.norm_eps)) → model.config.norm_eps), model.embedding.weight)
## the best token's
- logits[..., token_id] → logits.max(-1).values
## all probabilities
- logits[..., token_id] - logits.logsumexp(-1) → logits.log_softmax(-1)
## the final norm without its weight
- rms_norm(states, model.norm.weight, → rms_norm(states, torch.ones(states.shape[-1]),
## normed twice
- logits = model
+ states = rms_norm(states, model.norm.weight, model.config.norm_eps)
+ logits = model
## LayerNorm
- rms_norm(states, model.norm.weight, model.config.norm_eps)
+ F.layer_norm(states, states.shape[-1:], model.norm.weight, None, model.config.norm_eps)
## an eps of one's own
- model.config.norm_eps → 1e-5
## compared with the best token
- logits.logsumexp(-1) → logits.max(-1).values
## the exponential alone
-  - logits.logsumexp(-1)
## the token by itself
- (logits[..., token_id] - logits.logsumexp(-1)).exp() → 1 / (1 + (-logits[..., token_id]).exp())
## softmax twice
- return (
+ logits = logits.softmax(-1)
+ return (
## of everything together
- logits.logsumexp(-1) → logits.reshape(-1).logsumexp(0)
## the best token or not
- (logits[..., token_id] - logits.logsumexp(-1)).exp() → logits[..., token_id] >= logits.amax(-1)
## in percent
- .exp() → .exp() * 100
## an axis too many
- .exp() → .exp().unsqueeze(-1)
## the token before
- logits[..., token_id] → logits[..., (token_id - 1) % logits.shape[-1]]
## the last vector alone
- return (
+ logits = logits[-1:] if logits.ndim > 1 else logits
+ return (
## the last position alone
- return (
+ logits = logits.view(*states.shape[:-2], -1, logits.shape[-1]).select(-2, -1)
+ return (
""",
)

UNNAMED_LENSES = edited(
    lens_by_logsumexp,
    """
## of one layer
- (logits[..., token_id] - logits.logsumexp(-1)).exp()
+ logits.softmax(-1)[token_id % states.shape[0]]
## a sigmoid
- (logits[..., token_id] - logits.logsumexp(-1)).exp() → logits[..., token_id].sigmoid()
## normed twice
- logits = model
+ states = rms_norm(states, model.norm.weight, model.config.norm_eps)
+ logits = model
""",
)

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
    "hidden_states": HIDDENS,
    "parameter_count": COUNTS,
    "unpermute": ROWS,
    "logit_lens": LENSES,
}

UNNAMED = {
    "hidden_states": list(UNNAMED_HIDDENS.values()),
    "parameter_count": [
        *UNNAMED_COUNTS.values(),
        lambda c: 134_515_008,
        lambda c: 12 * c.layers * c.width**2 + c.vocabulary * c.width,  # the rule of thumb for GPT
    ],
    "unpermute": [*UNNAMED_ROWS.values(), heads_interleaved],
    "logit_lens": list(UNNAMED_LENSES.values()),
}


# --- random inputs --------------------------------------------------------------------------------
