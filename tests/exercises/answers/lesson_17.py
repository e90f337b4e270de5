"""Lesson 17: right answers, named mistakes in other words, and wrong answers nobody named."""

import itertools

import torch
from torch.nn import functional as F

from decodeloop.exercises.edits import edited
from decodeloop.model import (
    merge_heads,
    rms_norm,
    rope,
    split_heads,
)

# --- split_rows, split_columns --------------------------------------------------------------------


def rows_by_chunk(weight, rank, ranks):
    if weight.shape[0] % ranks != 0:
        raise ValueError("no")
    parts = weight.chunk(ranks, 0)
    return torch.clone(parts[rank])


def rows_by_index(weight, rank, ranks):
    each = weight.shape[0] / ranks
    assert_whole(each)
    wanted = torch.arange(int(each)) + rank * int(each)
    return weight.index_select(0, wanted)


def columns_by_chunk(weight, rank, ranks):
    if weight.shape[1] % ranks != 0:
        raise ValueError("no")
    parts = weight.chunk(ranks, 1)
    return parts[rank].contiguous().clone()


def columns_by_index(weight, rank, ranks):
    each = weight.shape[1] / ranks
    assert_whole(each)
    wanted = torch.arange(int(each)) + rank * int(each)
    return weight.index_select(1, wanted)


def assert_whole(number):
    if number != int(number):
        raise ValueError("no")


ROWS = edited(
    rows_by_chunk,
    """
## a view
- torch.clone(parts[rank]) → parts[rank]
## the columns
- weight.shape[0] → weight.shape[1]
- chunk(ranks, 0) → chunk(ranks, 1)
## every so many
- parts[rank]) → weight[range(rank, len(weight), ranks)])
## from the other end
- parts[rank] → parts[-1 - rank]
## ranks counted from 1
- parts[rank] → ([weight[:0], *parts] if rank else [weight[:0]])[rank]
## all that follow
- parts[rank] → torch.cat(parts[rank:])
## all up to there
- parts[rank] → torch.cat(parts[: rank + 1])
## the rest is dropped
- raise ValueError("no") → weight = weight[: len(weight) - len(weight) % ranks]
## uneven parts
- if weight.shape[0] % ranks != 0:
-     raise ValueError("no")
- weight.chunk(ranks, 0) → torch.tensor_split(weight, ranks)
## the last one is smaller
- if weight.shape[0] % ranks != 0:
-     raise ValueError("no")
## transposed
- parts[rank] → parts[rank].T
## another error
- raise ValueError("no") → raise RuntimeError(rank)
## as many rows as ranks
- parts[rank] → weight[rank * ranks :][:ranks]
## the others' rows
- parts[rank] → torch.cat((*parts[:rank], *parts[rank + 1 :], weight[:0]))
## the whole with zeros
- parts[rank] → torch.cat([p if r == rank else 0 * p for r, p in enumerate(parts)])
""",
)

UNNAMED_ROWS = edited(
    rows_by_chunk,
    """
## the next one's
- parts[rank] → parts[(rank + 1) % ranks]
## the first of them alone
- parts[rank] → parts[rank][:1]
## in two bytes
- parts[rank]) → parts[rank]).half()
## a list
- torch.clone(parts[rank]) → parts[rank].tolist()
""",
)

COLUMNS = edited(
    columns_by_chunk,
    """
## a view
- parts[rank].contiguous().clone() → parts[rank]
## a copy only where it must
- .contiguous().clone() → .contiguous()
## whether the rows divide
- weight.shape[1] % ranks → len(weight) % ranks
- weight.chunk(ranks, 1) → weight[:, : weight.shape[1] // ranks * ranks].chunk(ranks, 1)
## another error
- raise ValueError("no") → raise RuntimeError(rank)
## the rows
- weight.shape[1] → weight.shape[0]
- chunk(ranks, 1) → chunk(ranks, 0)
## the size of the rows
- weight.shape[1] → weight.shape[0]
- parts[rank] → weight[:, rank * (len(weight) // ranks) :][:, : len(weight) // ranks]
## every so many
- parts[rank] → weight[:, range(rank, weight.shape[1], ranks)]
## from the other end
- parts[rank] → parts[-1 - rank]
## ranks counted from 1
- parts[rank] → ([weight[:, :0], *parts] if rank else [weight[:, :0]])[rank]
## all that follow
- parts[rank] → torch.cat(parts[rank:], 1)
## the rest is dropped
- raise ValueError("no") → weight = weight[:, : weight.shape[1] - weight.shape[1] % ranks]
## uneven parts
- if weight.shape[1] % ranks != 0:
-     raise ValueError("no")
- weight.chunk(ranks, 1) → torch.tensor_split(weight, ranks, 1)
## transposed
- parts[rank] → parts[rank].T
## as many columns as ranks
- parts[rank] → weight[:, rank * ranks :][:, :ranks]
## a fair share of the product
- .clone() → .clone().div(ranks)
""",
)

UNNAMED_COLUMNS = edited(
    columns_by_chunk,
    """
## the next one's
- parts[rank] → parts[(rank + 1) % ranks]
## the first of them alone
- parts[rank] → parts[rank][:, :1]
## the last one is smaller
- if weight.shape[1] % ranks != 0:
-     raise ValueError("no")
## all up to there
- parts[rank] → torch.cat(parts[: rank + 1], 1)
""",
)

# --- local_heads ----------------------------------------------------------------------------------


def heads_by_lists(heads, kv_heads, rank, ranks):
    if kv_heads / ranks != kv_heads // ranks:
        raise ValueError("no")
    kv = list(range(kv_heads))[rank * kv_heads // ranks :][: kv_heads // ranks]
    queries = [h for h in range(heads) if h * kv_heads // heads in kv]
    return queries, kv


def heads_by_tensors(heads, kv_heads, rank, ranks):
    if kv_heads % ranks:
        raise ValueError("no")
    queries = torch.arange(heads).chunk(ranks)[rank]
    kv = torch.arange(kv_heads).chunk(ranks)[rank]
    return queries.tolist(), kv.tolist()


HEADS = edited(
    heads_by_tensors,
    """
## all KV heads everywhere
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.arange(kv_heads)
## query heads dealt out
- torch.arange(heads).chunk(ranks)[rank] → torch.arange(heads)[rank::ranks]
## KV heads dealt out
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.arange(kv_heads)[rank::ranks]
## both dealt out
- torch.arange(heads).chunk(ranks)[rank] → torch.arange(heads)[rank::ranks]
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.arange(kv_heads)[rank::ranks]
## counted anew on each rank
- torch.arange(heads).chunk(ranks)[rank] → torch.arange(heads).chunk(ranks)[0]
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.arange(kv_heads).chunk(ranks)[0]
## the query heads' numbers for both
- torch.arange(kv_heads).chunk(ranks)[rank] → queries
## the two exchanged
- queries.tolist(), kv.tolist() → kv.tolist(), queries.tolist()
## ranks counted from 1
- queries.tolist(), kv.tolist()
+ (queries - heads // ranks).tolist(), (kv - kv_heads // ranks).tolist()
## as long as the query heads divide
- if kv_heads % ranks: → if heads % ranks:
- torch.arange(kv_heads).chunk(ranks)[rank]
+ torch.arange(kv_heads // ranks) + rank * (kv_heads // ranks)
## never refused
- if kv_heads % ranks:
-     raise ValueError("no")
- torch.arange(heads).chunk(ranks)[rank] → torch.arange(heads // ranks) + rank * (heads // ranks)
- torch.arange(kv_heads).chunk(ranks)[rank]
+ torch.arange(kv_heads // ranks) + rank * (kv_heads // ranks)
## a KV head on several ranks
- if kv_heads % ranks: → if kv_heads % ranks and (ranks % kv_heads or heads % ranks):
- torch.arange(kv_heads).chunk(ranks)[rank]
+ torch.arange(kv_heads).repeat_interleave(max(1, ranks // kv_heads)).chunk(ranks)[rank]
## the wrong group
- torch.arange(kv_heads).chunk(ranks)[rank] → (queries // kv_heads).unique()
## the remainder
- torch.arange(kv_heads).chunk(ranks)[rank] → (queries % kv_heads).unique()
## another error
- raise ValueError("no") → raise RuntimeError(rank)
## how many
- queries.tolist(), kv.tolist() → [len(queries)], [len(kv)]
## only one rank is refused nothing
- if kv_heads % ranks: → if kv_heads % ranks or heads == kv_heads != kv_heads / ranks:
## one KV head each
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.tensor([rank])
## from the end
- torch.arange(heads).chunk(ranks)[rank] → torch.arange(heads).chunk(ranks)[-1 - rank]
- torch.arange(kv_heads).chunk(ranks)[rank] → torch.arange(kv_heads).chunk(ranks)[-1 - rank]
""",
)

UNNAMED_HEADS = edited(
    heads_by_lists,
    """
## half of them
- return queries, kv → return queries[::2], kv
## refused on one rank
- if kv_heads / ranks != kv_heads // ranks: → if ranks == 1 or kv_heads % ranks:
## one list
- return queries, kv → return [queries + kv, []]
## never on the last
- if kv_heads / ranks != kv_heads // ranks: → if rank == ranks - 1:
""",
)

# --- sharded_block --------------------------------------------------------------------------------


def block_by_terms(x, layer, positions, attend, all_reduce):
    shape, eps = layer.config, layer.config.norm_eps

    def turned(y, count):
        return rope(split_heads(y, count), positions, shape.rope_base)

    normed = rms_norm(x, layer.attention_norm.weight, eps)
    q = turned(layer.attention.query(normed), shape.heads)
    k = turned(layer.attention.key(normed), shape.kv_heads)
    v = split_heads(layer.attention.value(normed), shape.kv_heads)
    term = layer.attention.output(merge_heads(attend(q, k, v)))
    stream = x + all_reduce(term)
    normed = rms_norm(stream, layer.feed_forward_norm.weight, eps)
    hidden = F.silu(layer.feed_forward.gate(normed)) * layer.feed_forward.up(normed)
    return stream + all_reduce(layer.feed_forward.down(hidden))


def block_by_matrices(x, layer, positions, attend, all_reduce):
    config, own, ff = layer.config, layer.attention, layer.feed_forward
    C, eps = x.shape[-1:], config.norm_eps
    h = F.rms_norm(x, C, layer.attention_norm.weight, eps)
    q, k, v = (
        (h @ matrix.weight.T).unflatten(-1, (-1, config.head_dim)).transpose(1, 2)
        for matrix in (own.query, own.key, own.value)
    )
    q, k = rope(q, positions, config.rope_base), rope(k, positions, config.rope_base)
    heads = attend(q, k, v).transpose(1, 2).flatten(2)
    x = torch.add(x, all_reduce(heads @ own.output.weight.T))
    h = F.rms_norm(x, C, layer.feed_forward_norm.weight, eps)
    gated = F.silu(h @ ff.gate.weight.T) * (h @ ff.up.weight.T)
    return torch.add(x, all_reduce(gated @ ff.down.weight.T))


BLOCKS = edited(
    block_by_terms,
    """
## nothing added up after attention
- x + all_reduce(term) → x + term
## nothing added up after the feed-forward layer
- all_reduce(layer.feed_forward.down(hidden)) → layer.feed_forward.down(hidden)
## nothing added up
- x + all_reduce(term) → x + term
- all_reduce(layer.feed_forward.down(hidden)) → layer.feed_forward.down(hidden)
## the residual stream is added up, too
- x + all_reduce(term) → all_reduce(term + x)
## the residual stream is added up in the feed-forward layer
- stream + all_reduce(layer.feed_forward.down(hidden))
+ all_reduce(layer.feed_forward.down(hidden) + stream)
## the residual stream is added up both times
- x + all_reduce(term) → all_reduce(term + x)
- stream + all_reduce(layer.feed_forward.down(hidden))
+ all_reduce(layer.feed_forward.down(hidden) + stream)
## the sum is thrown away
- stream = x + all_reduce(term) → stream, _ = x + term, all_reduce(term)
- return stream + all_reduce(layer.feed_forward.down(hidden))
+ last = layer.feed_forward.down(hidden)
+ return (stream + last, all_reduce(last))[0]
## added up before the projection
- merge_heads(attend(q, k, v)) → all_reduce(merge_heads(attend(q, k, v)))
- x + all_reduce(term) → x + term
## added up before down
- all_reduce(layer.feed_forward.down(hidden)) → layer.feed_forward.down(all_reduce(hidden))
## added up once, at the end
- x + all_reduce(term) → x + term
- stream + all_reduce(layer.feed_forward.down(hidden))
+ x + all_reduce(term + layer.feed_forward.down(hidden))
## keys and values added up
- layer.attention.value(normed) → all_reduce(layer.attention.value(normed))
## three sums
- hidden = → normed = all_reduce(normed)
+ hidden =
## an average
- x + all_reduce(term) → x + all_reduce(term).div(3)
- all_reduce(layer.feed_forward.down(hidden)) → all_reduce(layer.feed_forward.down(hidden)).div(3)
## the feed-forward layer reads what came in
- rms_norm(stream → rms_norm(x
## the attention is not kept
- return stream + → return stream - all_reduce(term) +
## keys not turned
- turned(layer.attention.key(normed) → split_heads(layer.attention.key(normed)
## values turned
- v = split_heads( → v = turned(
## positions of its own
- shape, eps = → positions = torch.arange(x.shape[-2])
+ shape, eps =
## neither is turned
- rope(split_heads(y, count), positions, shape.rope_base) → split_heads(y, count)
## no norm before the attention
- rms_norm(x, layer.attention_norm.weight, eps) → x
## the second residual is missing
- return stream + → return
## the first norm twice
- rms_norm(stream, layer.feed_forward_norm → rms_norm(stream, layer.attention_norm
## no norm before the feed-forward layer
- rms_norm(stream, layer.feed_forward_norm.weight, eps) → stream
## gate and up exchanged
- hidden = F.silu(layer.feed_forward.gate(normed)) * layer.feed_forward.up(normed)
+ hidden = layer.feed_forward.gate(normed) * F.silu(layer.feed_forward.up(normed))
## the gate without silu
- F.silu(layer.feed_forward.gate(normed)) → layer.feed_forward.gate(normed)
""",
)

UNNAMED_BLOCKS = edited(
    block_by_terms,
    """
## queries not turned
- turned(layer.attention.query(normed) → split_heads(layer.attention.query(normed)
## no attention
- attend(q, k, v) → q
## no residual stream
- stream = x + → stream =
## another activation
- F.silu → F.gelu
""",
)

# --- ring_all_reduce ------------------------------------------------------------------------------


def ring_by_mail(vectors, send):
    """All of a round is sent before anything is taken."""
    N = len(vectors)
    held = [[c.clone() for c in v.tensor_split(N)] for v in vectors]
    for turn in range(2 * (N - 1)):
        mail = []
        for rank in range(N):
            number = (rank - turn) % N
            mail.append((number, send(rank, (rank + 1) % N, held[rank][number])))
        for rank in range(N):
            number, arrived = mail[rank - 1]
            adding = turn < N - 1
            held[rank][number] = held[rank][number] + arrived if adding else arrived
    return [torch.cat(own) for own in held]


def ring_from_the_back(vectors, send):
    """By slices, and the ranks of a round in the other order."""
    N, n = len(vectors), vectors[0].numel()
    ends = list(itertools.accumulate([n // N + (i < n % N) for i in range(N)], initial=0))
    sums = [v.clone() for v in vectors]
    for turn in range(N - 1):
        for rank in reversed(range(N)):
            own = slice(*ends[(rank - turn) % N :][:2])
            sums[(rank + 1) % N][own] += send(rank, (rank + 1) % N, sums[rank][own])
    for turn in range(N - 1):
        for rank in reversed(range(N)):
            own = slice(*ends[(rank + 1 - turn) % N :][:2])
            sums[(rank + 1) % N][own] = send(rank, (rank + 1) % N, sums[rank][own])
    return sums


def all_the_way_round(vectors, send):
    N = len(vectors)
    sums = [v.clone() for v in vectors]
    for start in range(1, N):
        if start == 1:
            carried = [v.clone() for v in vectors]
        carried = [send(rank, (rank + 1) % N, carried[rank]) for rank in range(N)]
        carried = carried[-1:] + carried[:-1]
        for rank in range(N):
            sums[rank] = sums[rank] + carried[rank]
    return sums


def chief_adds(vectors, send):
    mail = [send(rank, 0, v) for rank, v in enumerate(vectors) if rank]
    total = torch.stack([vectors[0], *mail]).sum(0)
    return [total] + [send(0, rank, total) for rank in range(1, len(vectors))]


def all_to_all(vectors, send):
    N = len(vectors)
    sums = [v.clone() for v in vectors]
    for target in range(N):
        for source in range(N):
            if source != target:
                sums[target] = sums[target] + send(source, target, vectors[source])
    return sums


RINGS = {
    "whole vectors go round": all_the_way_round,
    "a chief": chief_adds,
    "everyone to everyone": all_to_all,
    **edited(
        ring_by_mail,
        """
## a round too few in the first half
- turn in range(2 * (N - 1)) → turn in [*range(N - 2), *range(N - 1, 2 * (N - 1))]
## a round too few in the second half
- range(2 * (N - 1)) → range(2 * (N - 1) - (N > 1))
## a round too many in the first half
- range(2 * (N - 1)) → [*range(N), *range(N - 1, 2 * (N - 1))]
- adding = turn < N - 1 → added = locals().get("added", 0) + (rank == 0)
+ adding = added <= N
## a round too many in the second half
- range(2 * (N - 1)) → range(2 * N - 1)
## nothing is added
- held[rank][number] + arrived if adding else arrived → arrived
## added instead of written over
- adding = turn < N - 1 → adding = True
## the same chunk in every round
- number = (rank - turn) % N → number = rank if turn < N - 1 else (rank - turn) % N
## the chunks run the other way
- number = (rank - turn) % N → number = (rank + turn if turn < N - 1 else rank - turn) % N
## to the left
- (rank - turn) % N → (rank + turn) % N
- (rank + 1) % N, held → (rank - 1) % N, held
- mail[rank - 1] → mail[(rank + 1) % N]
## begun with another chunk
- (rank - turn) % N → (rank + 1 - turn) % N
## sent for show
- mail.append((number, send(rank, (rank + 1) % N, held[rank][number])))
+ send(rank, (rank + 1) % N, held[rank][number])
+ mail.append((number, held[rank][number]))
## fewer chunks than ranks
- tensor_split(N) → chunk(N)
## without the second half
- range(2 * (N - 1)) → range(N - 1)
## empty chunks left out
- mail.append((number, send(rank, (rank + 1) % N, held[rank][number])))
+ own = held[rank][number]
+ mail.append((number, send(rank, (rank + 1) % N, own) if len(own) else own))
## whole vectors are sent
- mail.append((number, send(rank, (rank + 1) % N, held[rank][number])))
+ whole = send(rank, (rank + 1) % N, torch.cat(held[rank]))
+ mail.append((number, whole.tensor_split(N)[number]))
## only the first half
- return [torch.cat(own) for own in held]
+ return [held[rank][(rank + 1) % N] for rank in range(N)]
## an average
- torch.cat(own) for → torch.cat(own).div(N) for
## the rest is dropped
- v.tensor_split(N) → v[: len(v) - len(v) % N].tensor_split(N)
## the rest is in the last chunk
- v.tensor_split(N) → v.tensor_split([v.numel() // N * i for i in range(1, N)])
## nothing is sent
- send(rank, (rank + 1) % N, held[rank][number]) → held[rank][number].clone()
""",
    ),
    **edited(
        ring_from_the_back,
        """
## one chunk after the other
- for turn in range(N - 1):
-     for rank in reversed(range(N)):
-         own = slice(*ends[(rank - turn) % N :][:2])
+ for start in range(N):
+     for turn in range(N - 1):
+         rank, own = (start + turn) % N, slice(*ends[start:][:2])
""",
    ),
}

UNNAMED_RINGS = edited(
    ring_by_mail,
    """
## half of the sum
- torch.cat(own) for → torch.cat(own) / 2 for
## one result
- return [torch.cat(own) for own in held] → return torch.cat(held[0])
## the largest
- held[rank][number] + arrived if → torch.maximum(held[rank][number], arrived) if
## everything twice
- mail.append( → send(rank, (rank + 1) % N, held[rank][number])
+ mail.append(
""",
)

# --- all_reduce_bytes -----------------------------------------------------------------------------


def bytes_of_both_halves(config, tokens, ranks, bytes_per_number=4):
    scatter = gather = (ranks - 1) * tokens * config.width * bytes_per_number
    return (scatter + gather) * config.layers * 2


def bytes_by_rank(config, tokens, ranks, bytes_per_number=4):
    total = 0
    for _ in range(2 * config.layers):
        for _ in range(1, ranks):
            total += 2 * tokens * config.width * bytes_per_number
    return total


SENT = edited(
    bytes_of_both_halves,
    """
## half of it
- (scatter + gather) → scatter
## a quarter of it
- (scatter + gather) * config.layers * 2 → gather * config.layers
## as often as there are ranks
- (ranks - 1) * → ranks *
## what is added up
- (ranks - 1) * tokens → tokens
- (scatter + gather) → scatter
## of one rank
- config.layers * 2 → config.layers * 2 // ranks
## four bytes by heart
- config.width * bytes_per_number → 4 * config.width
## numbers, not bytes
- config.width * bytes_per_number → config.width
## one token
- (ranks - 1) * tokens → (ranks - 1)
## the feed-forward width
- config.width → config.feed_forward
## the width of the heads
- config.width → (config.head_dim * config.heads)
## the width of a rank's part
- tokens * config.width → (tokens * config.width // ranks)
## the logits, too
- return → logits = config.vocabulary * tokens * bytes_per_number * (ranks - 1)
+ return logits +
## one layer
- * config.layers * 2 → * 2
## of every pair
- (ranks - 1) * → ranks * (ranks - 1) *
## both widths
- config.width → (config.width + config.feed_forward)
- * config.layers * 2 → * config.layers
## one layer more
- (scatter + gather) * config.layers * 2 → (scatter + gather) * (1 + 2 * config.layers)
""",
)

UNNAMED_SENT = edited(
    bytes_of_both_halves,
    """
## three a layer
- * config.layers * 2 → * config.layers * 3
## per token
- * config.layers * 2 → * config.layers * 2 / max(1, tokens)
## in text
- return (scatter + gather) * config.layers * 2
+ return str((scatter + gather) * config.layers * 2)
""",
)

# --- the tables -----------------------------------------------------------------------------------


RIGHT = {
    "split_rows": (rows_by_chunk, rows_by_index),
    "split_columns": (columns_by_chunk, columns_by_index),
    "local_heads": (heads_by_lists, heads_by_tensors),
    "sharded_block": (block_by_terms, block_by_matrices),
    "ring_all_reduce": (ring_by_mail, ring_from_the_back),
    "all_reduce_bytes": (bytes_of_both_halves, bytes_by_rank),
}
SECOND_FORMS = {
    "split_rows": ROWS,
    "split_columns": COLUMNS,
    "local_heads": HEADS,
    "sharded_block": BLOCKS,
    "ring_all_reduce": RINGS,
    "all_reduce_bytes": SENT,
}
UNNAMED = {
    "split_rows": tuple(UNNAMED_ROWS.values()),
    "split_columns": tuple(UNNAMED_COLUMNS.values()),
    "local_heads": tuple(UNNAMED_HEADS.values()),
    "sharded_block": tuple(UNNAMED_BLOCKS.values()),
    "ring_all_reduce": tuple(UNNAMED_RINGS.values()),
    "all_reduce_bytes": tuple(UNNAMED_SENT.values()),
}
