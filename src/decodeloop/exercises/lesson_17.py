"""Exercises of lesson 17: a part of each matrix on each rank, and what the ranks add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop import parallel
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import (
    Candidate,
    Case,
    Exercise,
    Mistake,
    beside,
    call,
    copies,
    lend,
    trial,
)
from decodeloop.exercises.oracles import block_by_pytorch, causal_attention
from decodeloop.model import (
    SMOLLM2_135M,
    TINY,
    Block,
    ModelConfig,
    merge_heads,
    rms_norm,
    rope,
    split_heads,
)

LESSON = "17_parallelism"

# --- split_rows, split_columns --------------------------------------------------------------------


REFUSED = "a ValueError"
REFUSED_OTHERWISE = "an error, but no ValueError"


def or_refused(run: Callable[[], Any]) -> Any:
    """What it gives; or that it refused, and whether by the error that is asked for."""
    try:
        return run()
    except NotImplementedError:
        raise
    except ValueError:
        return REFUSED
    except RuntimeError:
        return REFUSED_OTHERWISE


def part_or_refused(split: Candidate, weight: Tensor, rank: int, ranks: int) -> Any:
    """The part that a rank gets, how many bytes it keeps in memory, and whether they are the given
    matrix's; or that it was refused."""
    return or_refused(lambda: lend(partial(looked_at, split), weight, rank, ranks))


@beside
def looked_at(split: Candidate, given: Tensor, rank: int, ranks: int) -> dict[str, Any]:
    """Memory is seen where it is: what comes over a pipe has its own."""
    part = split(given, rank, ranks)
    if not isinstance(part, Tensor):
        return {"part": part}
    own, whole = part.untyped_storage(), given.untyped_storage()
    return {
        "part": part,
        "bytes that it keeps in memory": own.nbytes(),
        "a copy": own.data_ptr() != whole.data_ptr(),
    }


def part_by_numpy(axis: int) -> Candidate:
    def expected(weight: Tensor, rank: int, ranks: int) -> Any:
        if weight.shape[axis] % ranks:
            return REFUSED
        size = weight.shape[axis] // ranks
        taken = weight.numpy().take(range(rank * size, (rank + 1) * size), axis=axis)
        part = torch.from_numpy(taken)
        return {"part": part, "bytes that it keeps in memory": taken.nbytes, "a copy": True}

    return expected


def numbered(rows: int, columns: int) -> Tensor:
    return torch.arange(rows * columns, dtype=torch.float32).view(rows, columns)


def splitting(axis: int) -> tuple[Case, ...]:
    sizes = [(0, 2, 4, 6), (1, 2, 6, 4), (2, 3, 9, 6), (1, 3, 6, 6), (0, 1, 3, 5), (4, 5, 5, 10)]
    sizes += [(3, 4, 12, 16), (0, 3, 3, 3)]
    sizes += [(1, 2, 2, 2) if axis == 0 else (1, 2, 1, 6)]
    uneven = [(1, 2, 5, 5), (0, 4, 6, 10), (5, 7, 14, 7), (2, 3, 3, 9), (1, 3, 6, 4), (1, 3, 4, 6)]
    expected = part_by_numpy(axis)

    def both(split: Candidate, *inputs: Any) -> list[dict[str, Any]]:
        """One that may not divide, and one that does."""
        _, rank, ranks = inputs
        even = numbered(2 * ranks, 3 * ranks)
        return [part_or_refused(split, *inputs), part_or_refused(split, even, rank, ranks)]

    def both_expected(weight: Tensor, rank: int, ranks: int) -> list[dict[str, Any]]:
        even = numbered(2 * ranks, 3 * ranks)
        return [expected(weight, rank, ranks), expected(even, rank, ranks)]

    def label(rank: int, ranks: int, rows: int, columns: int) -> str:
        return f"rank {rank} of {ranks}, a {rows} × {columns} matrix"

    return (
        *(
            trial(label(*size), part_or_refused, expected, numbered(*size[2:]), *size[:2])
            for size in sizes
        ),
        *(
            trial(
                f"{label(*size)}, and another", both, both_expected, numbered(*size[2:]), *size[:2]
            )
            for size in uneven
        ),
    )


def own_rows(weight: Tensor, rank: int, ranks: int) -> Tensor:
    """A right one."""
    size, rest = divmod(weight.shape[0], ranks)
    if rest:
        raise ValueError(f"{weight.shape[0]} rows over {ranks} ranks")
    return weight[rank * size : (rank + 1) * size].clone()


def own_columns(weight: Tensor, rank: int, ranks: int) -> Tensor:
    """A right one."""
    size, rest = divmod(weight.shape[1], ranks)
    if rest:
        raise ValueError(f"{weight.shape[1]} columns over {ranks} ranks")
    return weight[:, rank * size : (rank + 1) * size].clone()


SPLIT_ROWS = Exercise(
    name="split_rows",
    lesson=LESSON,
    library=parallel.split_rows,
    minutes=3,
    difficulty=1,
    cases=splitting(0),
    mistakes=edits(
        own_rows,
        """
## a view
- .clone()
The numbers are right, but a slice is a *view*: it keeps the whole matrix in memory, so no rank would
hold less than before. Make it a copy: `.clone()`.
## the columns
- weight.shape[0], → weight.shape[1],
- weight[rank → weight[:, rank
Those are columns. Rows are axis 0, the outputs of the matrix as `nn.Linear` stores it.
## every so many
- weight[rank * size : (rank + 1) * size] → weight[rank::ranks]
You deal the rows out like cards. A rank gets neighbours: rows rank · size and on.
## from the other end
- divmod(weight.shape[0], ranks) → divmod(weight.shape[0], ranks)
+ rank = ranks - 1 - rank
The last rank gets the first rows with you. Rank 0 has the first.
## ranks counted from 1
- weight[rank * size : (rank + 1) * size] → weight[(rank - 1) * size : rank * size]
You count ranks from 1. Rank 0 has rows 0 to size - 1.
## all that follow
- weight[rank * size : (rank + 1) * size] → weight[rank * size :]
You give all rows from there to the end. A rank has `rows / ranks` of them.
## all up to there
- weight[rank * size : (rank + 1) * size] → weight[: (rank + 1) * size]
You give all rows up to there. A rank has `rows / ranks` of them.
## the rest is dropped
- if rest: → if False:
Where the rows don't divide you leave some out without a word, and the model would be another. Raise
a ValueError.
## uneven parts
- raise ValueError(f"{weight.shape[0]} rows over {ranks} ranks")
+ return weight.tensor_split(ranks)[rank].clone()
Where the rows don't divide your parts are uneven: all ranks would wait for the largest. Raise a
ValueError.
## the last one is smaller
- raise ValueError(f"{weight.shape[0]} rows over {ranks} ranks")
+ return weight.chunk(ranks)[rank].clone()
Where the rows don't divide, `chunk` makes the last part smaller, or makes fewer parts. Raise a
ValueError.
## transposed
- .clone() → .mT.clone()
You transpose the part. It stays as `nn.Linear` stores it: a row for each output.
## another error
- raise ValueError( → raise RuntimeError(
You refuse, but by a RuntimeError (PyTorch's own `reshape` raises one, too), not by a ValueError.
Who calls you waits for a ValueError.
## as many rows as ranks
- weight[rank * size : (rank + 1) * size] → weight[rank * ranks : (rank + 1) * ranks]
You give each rank `ranks` rows. It has `rows / ranks` of them.
## the others' rows
- weight[rank * size : (rank + 1) * size].clone()
+ torch.cat((weight[: rank * size], weight[(rank + 1) * size :]))
Those are the rows that the rank does *not* have.
## the whole with zeros
- return weight[rank * size : (rank + 1) * size].clone()
+ part = torch.zeros_like(weight)
+ part[rank * size : (rank + 1) * size] = weight[rank * size : (rank + 1) * size]
+ return part
Your part has the shape of the whole, zeros elsewhere: no memory is saved. Keep the rank's rows alone.
""",
    ),
    hints=(
        "How many rows has each rank? At which row do those of this rank begin?",
        "`divmod(weight.shape[0], ranks)` gives the number of rows and what is left over. If "
        "anything is left over, raise a ValueError.",
        "`weight[rank * size : (rank + 1) * size]` are its rows; `.clone()` makes them a copy.",
    ),
)

SPLIT_COLUMNS = Exercise(
    name="split_columns",
    lesson=LESSON,
    library=parallel.split_columns,
    minutes=2,
    difficulty=1,
    cases=splitting(1),
    mistakes=edits(
        own_columns,
        """
## a view
- .clone()
The numbers are right, but a slice is a *view*: it keeps the whole matrix in memory. Make it a copy:
`.clone()`.
## a copy only where it must
- .clone() → .contiguous()
`.contiguous()` copies only what doesn't lie together already: of one rank, or of a single row, you
return a view. `.clone()` always copies.
## whether the rows divide
- if rest: → if weight.shape[0] % ranks:
You ask whether the *rows* divide. Here columns are cut.
## another error
- raise ValueError( → raise RuntimeError(
You refuse, but by a RuntimeError (PyTorch's own `reshape` raises one, too), not by a ValueError.
## the rows
- weight.shape[1], → weight.shape[0],
- weight[:, rank → weight[rank
Those are rows. Columns are axis 1: the inputs of the matrix.
## the size of the rows
- weight.shape[1], → weight.shape[0],
You count the rows and cut columns. It is the number of *columns* that is divided.
## every so many
- weight[:, rank * size : (rank + 1) * size] → weight[:, rank::ranks]
You deal the columns out like cards. A rank gets neighbours: they belong to the rows that it has of
the matrix before.
## from the other end
- divmod(weight.shape[1], ranks) → divmod(weight.shape[1], ranks)
+ rank = ranks - 1 - rank
The last rank gets the first columns with you. Rank 0 has the first.
## ranks counted from 1
- weight[:, rank * size : (rank + 1) * size] → weight[:, (rank - 1) * size : rank * size]
You count ranks from 1. Rank 0 has columns 0 to size - 1.
## all that follow
- weight[:, rank * size : (rank + 1) * size] → weight[:, rank * size :]
You give all columns from there to the end. A rank has `columns / ranks` of them.
## the rest is dropped
- if rest: → if False:
Where the columns don't divide you leave some out without a word. Raise a ValueError.
## uneven parts
- raise ValueError(f"{weight.shape[1]} columns over {ranks} ranks")
+ return weight.tensor_split(ranks, 1)[rank].clone()
Where the columns don't divide your parts are uneven. Raise a ValueError.
## transposed
- .clone() → .mT.clone()
You transpose the part. It stays as `nn.Linear` stores it.
## as many columns as ranks
- weight[:, rank * size : (rank + 1) * size] → weight[:, rank * ranks : (rank + 1) * ranks]
You give each rank `ranks` columns. It has `columns / ranks` of them.
## a fair share of the product
- .clone() → .clone() / ranks
You divide the numbers, too. The terms are added up: each is what it is.
""",
    ),
    hints=(
        "As `split_rows`, along the other axis.",
        "`weight[:, a:b]` are columns a to b - 1, of all rows. A copy again.",
    ),
)

# --- local_heads ----------------------------------------------------------------------------------


def heads_or_refused(local_heads: Candidate, *numbers: int) -> Any:
    return or_refused(lambda: [list(part) for part in local_heads(*numbers)])


def heads_of_two(local_heads: Candidate, H: int, G: int, rank: int, ranks: int) -> Any:
    """Of a model that may not divide, and of one that does."""
    numbers = ((H, G, rank, ranks), (4 * ranks, 2 * ranks, rank, ranks))
    return [heads_or_refused(local_heads, *given) for given in numbers]


def heads_one_by_one(heads: int, kv_heads: int, rank: int, ranks: int) -> Any:
    """Brute force: the KV heads are dealt out in order, and each query head goes where its own is."""
    if kv_heads % ranks:
        return REFUSED
    kv = [g for g in range(kv_heads) if g * ranks // kv_heads == rank]
    return [[h for h in range(heads) if h // (heads // kv_heads) in kv], kv]


def heads_of_two_one_by_one(H: int, G: int, rank: int, ranks: int) -> Any:
    numbers = ((H, G, rank, ranks), (4 * ranks, 2 * ranks, rank, ranks))
    return [heads_one_by_one(*given) for given in numbers]


def own_heads(heads: int, kv_heads: int, rank: int, ranks: int) -> Any:
    """A right one."""
    if kv_heads % ranks:
        raise ValueError(f"{kv_heads} KV heads over {ranks} ranks")
    H, G = heads // ranks, kv_heads // ranks
    queries = range(rank * H, rank * H + H)
    kv = range(rank * G, rank * G + G)
    return queries, kv


LOCAL_HEADS = Exercise(
    name="local_heads",
    lesson=LESSON,
    library=parallel.local_heads,
    minutes=5,
    difficulty=1,
    cases=tuple(
        trial(
            f"{H} and {G} heads, rank {r} of {N}", heads_of_two, heads_of_two_one_by_one, H, G, r, N
        )
        for H, G, r, N in (
            (9, 3, 0, 3),
            (9, 3, 1, 3),
            (9, 3, 2, 3),
            (9, 3, 0, 2),
            (9, 3, 0, 1),
            (9, 3, 4, 9),
            (12, 3, 1, 2),
            (8, 8, 3, 4),
            (32, 8, 5, 8),
            (32, 8, 1, 2),
            (64, 8, 0, 16),
            (6, 6, 2, 3),
            (12, 4, 1, 2),
            (5, 1, 0, 1),
            (4, 1, 1, 2),
        )
    ),
    mistakes=edits(
        own_heads,
        """
## all KV heads everywhere
- range(rank * G, rank * G + G) → range(kv_heads)
Every rank holds all KV heads with you, and the cache is no smaller. A rank needs those alone that its
query heads read.
## query heads dealt out
- range(rank * H, rank * H + H) → range(rank, heads, ranks)
You deal the query heads out like cards, so that a rank has heads whose keys lie on others.
Neighbours share a KV head: they stay together.
## KV heads dealt out
- range(rank * G, rank * G + G) → range(rank, kv_heads, ranks)
You deal the KV heads out like cards, and the query heads in blocks: they don't belong together.
## both dealt out
- range(rank * H, rank * H + H) → range(rank, heads, ranks)
- range(rank * G, rank * G + G) → range(rank, kv_heads, ranks)
You deal the heads out like cards. A rank has neighbours, which belong to neighbouring rows.
## counted anew on each rank
- range(rank * H, rank * H + H) → range(H)
- range(rank * G, rank * G + G) → range(G)
That is how a rank counts its own heads. Asked for are their numbers in the whole model.
## the query heads' numbers for both
- range(rank * G, rank * G + G) → queries
Those are query heads twice. There are fewer KV heads: `kv_heads / ranks` of them.
## the two exchanged
- return queries, kv → return kv, queries
Query heads come first, then KV heads.
## ranks counted from 1
- H, G = → rank -= 1
+ H, G =
You count ranks from 1. Rank 0 has the first heads.
## as long as the query heads divide
- if kv_heads % ranks: → if heads % ranks:
You ask whether the *query* heads divide. A KV head lies on one rank, so it is `kv_heads` that the
ranks must divide.
## never refused
- if kv_heads % ranks: → if False:
9 query heads and 3 KV heads over 2 ranks leave some heads out with you. Raise a ValueError.
## a KV head on several ranks
- raise ValueError(f"{kv_heads} KV heads over {ranks} ranks")
+ if ranks % kv_heads or heads % ranks:
+     raise ValueError("no")
+ queries = range(rank * (heads // ranks), (rank + 1) * (heads // ranks))
+ return queries, [rank * kv_heads // ranks]
You store a KV head on several ranks where there are more ranks than KV heads. Engines do that, but
here it is refused: each KV head lies on one rank.
## the wrong group
- kv = range(rank * G, rank * G + G) → kv = sorted({h // kv_heads for h in queries})
You divide a query head's number by the number of KV heads. It is divided by how many query heads
read one KV head: h // (heads // kv_heads).
## the remainder
- kv = range(rank * G, rank * G + G) → kv = sorted({h % kv_heads for h in queries})
With `h % kv_heads` every KV head is read from everywhere. Neighbours share a KV head:
h // (heads // kv_heads).
## another error
- raise ValueError( → raise RuntimeError(
You refuse, but by a RuntimeError, not by a ValueError.
## how many
- return queries, kv → return [H], [G]
Those are the *numbers of heads*. Asked for is which ones they are.
## only one rank is refused nothing
- if kv_heads % ranks: → if ranks > 1 and (kv_heads % ranks or heads == kv_heads):
You refuse models in which each query head has a KV head of its own. They divide as well.
## one KV head each
- range(rank * G, rank * G + G) → range(rank, rank + 1)
You give each rank one KV head. It has `kv_heads / ranks` of them.
## from the end
- H, G = → rank = ranks - 1 - rank
+ H, G =
The last rank gets the first heads with you. Rank 0 has the first.
""",
    ),
    hints=(
        "First the KV heads: how many has each rank, and does it come out even? Then the query heads "
        "that read them.",
        "Query heads h with h // (heads // kv_heads) = g read KV head g: neighbours. So both lists are neighbours, "
        "and begin at rank times how many there are.",
        "`range(rank * n, (rank + 1) * n)` with n = kv_heads // ranks; the same with heads. And "
        "`raise ValueError` where `kv_heads % ranks` is not 0.",
    ),
)

# --- sharded_block --------------------------------------------------------------------------------
#
# The ranks run one after another, each up to its first all-reduce; then, with that sum known, up to
# the second, and so on to the end.

WHOLE = replace(TINY, width=16, heads=6, kv_heads=3, head_dim=4, feed_forward=21, rope_base=30.0)
CUT = {"query": 0, "key": 0, "value": 0, "output": 1, "gate": 0, "up": 0, "down": 1}
MOST = 6  # all-reduces: who asks for more has lost the thread


class Reached(BaseException):
    """A rank has come to an all-reduce whose sum is not known yet."""


@cache
def layers_of(seed: int, ranks: int) -> tuple[Block, tuple[Block, ...]]:
    """A layer, and each rank's part of it, cut by hand."""
    whole = Block(WHOLE).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in whole.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(drawn * 0.4 if drawn.ndim == 2 else 1 + 0.3 * drawn)
    small = replace(
        WHOLE,
        heads=WHOLE.heads // ranks,
        kv_heads=WHOLE.kv_heads // ranks,
        feed_forward=WHOLE.feed_forward // ranks,
    )
    parts = tuple(Block(small).requires_grad_(False) for _ in range(ranks))
    for name, parameter in whole.named_parameters():
        axis = CUT.get(name.split(".")[-2])
        for rank, part in enumerate(parts):
            own = parameter if axis is None else parameter.chunk(ranks, axis)[rank]
            part.get_parameter(name).copy_(own)
    return whole, parts


def all_ranks(
    sharded_block: Candidate, x: Tensor, positions: Tensor, seed: int, ranks: int
) -> dict[str, Any]:
    """What comes out on each rank, and how many sums were asked for."""
    _, parts = layers_of(seed, ranks)
    tried = copies(parts)  # before all sums are known
    sums: list[Tensor] = []

    def all_reduce_of_known() -> Callable[[Tensor], Tensor]:
        asked = iter(sums)

        def all_reduce(term: Tensor) -> Tensor:
            known = next(asked, None)
            if known is None:
                raise Reached(term)
            return known.clone()

        return all_reduce

    def term_of(part: Block) -> Tensor | None:
        try:
            sharded_block(x.clone(), part, positions, causal_attention, all_reduce_of_known())
        except Reached as reached:
            term: Tensor = reached.args[0]
            return term
        return None

    while len(sums) < MOST:
        terms = [term for part in tried if (term := term_of(part)) is not None]
        if not terms:
            break
        sums.append(torch.stack(terms).sum(0))
    out = [
        lend(sharded_block, x, part, positions, causal_attention, all_reduce_of_known())
        for part in parts
    ]
    return {"out": out, "all-reduces": len(sums)}


def what_the_whole_block_gives(
    x: Tensor, positions: Tensor, seed: int, ranks: int
) -> dict[str, Any]:
    """The oracle: the whole block, by PyTorch's operators."""
    out = block_by_pytorch(x, layers_of(seed, 1)[0], positions)
    return {"out": [out] * ranks, "all-reduces": 2}


def over_ranks(label: str, seed: int, B: int, T: int, ranks: int, start: int = 0) -> Case:
    x = torch.randn(B, T, WHOLE.width, generator=torch.Generator().manual_seed(seed + 100))
    positions = start + torch.arange(T) ** 2  # gaps: RoPE doesn't tell 0, 1, 2 from 5, 6, 7
    if B > 1:
        positions = positions + torch.arange(B)[:, None]
    return trial(label, all_ranks, what_the_whole_block_gives, x, positions, seed, ranks)


def block_with_two_sums(
    x: Tensor, layer: Block, positions: Tensor, attend: Any, all_reduce: Callable[[Tensor], Tensor]
) -> Tensor:
    """A right one."""
    config, own, ff = layer.config, layer.attention, layer.feed_forward
    h = rms_norm(x, layer.attention_norm.weight, config.norm_eps)
    q = rope(split_heads(own.query(h), config.heads), positions, config.rope_base)
    k = rope(split_heads(own.key(h), config.kv_heads), positions, config.rope_base)
    v = split_heads(own.value(h), config.kv_heads)
    attended = own.output(merge_heads(attend(q, k, v)))
    x = x + all_reduce(attended)
    h = rms_norm(x, layer.feed_forward_norm.weight, config.norm_eps)
    gated = F.silu(ff.gate(h)) * ff.up(h)
    return x + all_reduce(ff.down(gated))


SHARDED_BLOCK = Exercise(
    name="sharded_block",
    lesson=LESSON,
    library=parallel.sharded_block,
    minutes=12,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        over_ranks("3 ranks", 0, 1, 4, 3),
        over_ranks("3 ranks, one token at position 5", 2, 1, 1, 3, start=5),
        over_ranks("3 ranks, two rows from 9 on", 1, 2, 3, 3, start=9),
        over_ranks("one rank alone", 3, 1, 3, 1),
    ),
    mistakes=edits(
        block_with_two_sums,
        """
## nothing added up after attention
- all_reduce(attended) → attended
After the attention each rank has only its heads' term of the sum: `all_reduce` it before it joins the
residual stream.
## nothing added up after the feed-forward layer
- all_reduce(ff.down(gated)) → ff.down(gated)
After the feed-forward layer each rank has only its channels' term of the sum: `all_reduce` it, too.
## nothing added up
- all_reduce(attended) → attended
- all_reduce(ff.down(gated)) → ff.down(gated)
The ranks never talk. Each has one term of two sums: after the attention's output, and after down.
## the residual stream is added up, too
- x + all_reduce(attended) → all_reduce(x + attended)
You add up `x + term`, so x counts once for each rank. Every rank has all of x: add up the term alone.
## the residual stream is added up in the feed-forward layer
- x + all_reduce(ff.down(gated)) → all_reduce(x + ff.down(gated))
You add up `x + term` at the end, so x counts once for each rank. Add up the term alone.
## the residual stream is added up both times
- x + all_reduce(attended) → all_reduce(x + attended)
- x + all_reduce(ff.down(gated)) → all_reduce(x + ff.down(gated))
You add up `x + term` both times, so x counts once for each rank. Add up the terms alone.
## the sum is thrown away
- x = x + all_reduce(attended)
+ all_reduce(attended)
+ x = x + attended
- return x + all_reduce(ff.down(gated))
+ fed = ff.down(gated)
+ all_reduce(fed)
+ return x + fed
You call `all_reduce` and go on with your own term. It *returns* the sum.
## added up before the projection
- own.output(merge_heads(attend(q, k, v))) → own.output(all_reduce(merge_heads(attend(q, k, v))))
- all_reduce(attended) → attended
You add up the heads before the output projection: head 0 of one rank and head 0 of another are
different heads. Each rank multiplies its own first.
## added up before down
- all_reduce(ff.down(gated)) → ff.down(all_reduce(gated))
You add up the channels before `down`: they are different channels. Each rank multiplies its own
first, and the products are added up.
## added up once, at the end
- x + all_reduce(attended) → x + attended
- return x + all_reduce(ff.down(gated)) → return x - attended + all_reduce(attended + ff.down(gated))
One sum at the end comes too late: the feed-forward layer needs the whole residual stream, behind the
attention of *all* ranks.
## keys and values added up
- split_heads(own.value(h), config.kv_heads) → split_heads(all_reduce(own.value(h)), config.kv_heads)
The values of different ranks belong to different heads: they are not added up.
## three sums
- gated = F → h = all_reduce(h)
+ gated = F
What is normalised is whole on every rank already. Two sums are enough.
## an average
- all_reduce(attended) → all_reduce(attended) / 3
- all_reduce(ff.down(gated)) → all_reduce(ff.down(gated)) / 3
You take the mean of the terms. The product is their *sum*.
## the feed-forward layer reads what came in
- x = x + all_reduce(attended) → before, x = x, x + all_reduce(attended)
- rms_norm(x, layer.feed_forward_norm → rms_norm(before, layer.feed_forward_norm
Your feed-forward layer reads x as it came in. It reads the residual stream behind the attention.
## the attention is not kept
- return x + all_reduce(ff.down(gated)) → return x - all_reduce(attended) + all_reduce(ff.down(gated))
The attention's part of the residual stream is lost at the end.
## keys not turned
- k = rope(split_heads(own.key(h), config.kv_heads), positions, config.rope_base)
+ k = split_heads(own.key(h), config.kv_heads)
Keys are turned by their positions, as queries are.
## values turned
- v = split_heads(own.value(h), config.kv_heads)
+ v = rope(split_heads(own.value(h), config.kv_heads), positions, config.rope_base)
Values are not turned by their positions.
## positions of its own
- h = rms_norm(x, layer.attention_norm.weight → positions = torch.arange(x.shape[1])
+ h = rms_norm(x, layer.attention_norm.weight
You count positions from 0. Use those that are given: behind a cache they begin later, and may have
gaps.
## neither is turned
- q = rope(split_heads(own.query(h), config.heads), positions, config.rope_base)
+ q = split_heads(own.query(h), config.heads)
- k = rope(split_heads(own.key(h), config.kv_heads), positions, config.rope_base)
+ k = split_heads(own.key(h), config.kv_heads)
Nothing is turned by its position. `rope` belongs to queries and keys, behind `split_heads`.
## no norm before the attention
- h = rms_norm(x, layer.attention_norm.weight, config.norm_eps) → h = x
The attention reads the *normalised* residual stream.
## the second residual is missing
- return x + all → return all
What the feed-forward layer gives is added to x, as the attention's was.
## the first norm twice
- rms_norm(x, layer.feed_forward_norm.weight → rms_norm(x, layer.attention_norm.weight
The feed-forward layer has a norm of its own: `layer.feed_forward_norm`.
## no norm before the feed-forward layer
- h = rms_norm(x, layer.feed_forward_norm.weight, config.norm_eps) → h = x
The feed-forward layer reads the *normalised* residual stream.
## gate and up exchanged
- F.silu(ff.gate(h)) * ff.up(h) → F.silu(ff.up(h)) * ff.gate(h)
It is the gate that goes through silu.
## the gate without silu
- F.silu(ff.gate(h)) → ff.gate(h)
The gate goes through silu before it is multiplied.
""",
    ),
    hints=(
        "Begin with the block of lesson 03; `layer.config` has the rank's own numbers of heads, so "
        "the same lines do a part of the work. Where does a rank have only a term of a sum?",
        "Behind `output` and behind `down`, the two matrices that are cut by columns. Each of the "
        "two results goes through `all_reduce` before it is added to x.",
        "`x = x + all_reduce(own.output(merge_heads(attend(q, k, v))))`, and at the end "
        "`x + all_reduce(fed.down(F.silu(fed.gate(h)) * fed.up(h)))`.",
    ),
)

# --- ring_all_reduce ------------------------------------------------------------------------------


def ring_tried(ring_all_reduce: Candidate, vectors: list[Tensor]) -> dict[str, Any]:
    """The sums, and what was sent: how often, how much, by whom in each round, to whom."""
    sent: list[tuple[int, int, int]] = []

    def send(source: int, target: int, chunk: Tensor) -> Tensor:
        sent.append((int(source), int(target), chunk.numel()))
        return chunk.clone()

    sums = lend(lambda given: ring_all_reduce(given, send), vectors)
    N = len(vectors)
    return {
        "sums": list(sums),
        "chunks sent": len(sent),
        "numbers sent": sum(n for *_, n in sent),
        "sizes in each round": [
            sorted(n for *_, n in sent[i : i + N]) for i in range(0, len(sent), N)
        ],
        "to the right neighbour": all(t == (s + 1) % N for s, t, _ in sent),
        "senders in each round": [
            sorted(s for s, _, _ in sent[i : i + N]) for i in range(0, len(sent), N)
        ],
    }


def ring_in_numbers(vectors: list[Tensor]) -> dict[str, Any]:
    """The oracle: a sum, and closed forms."""
    N, n = len(vectors), vectors[0].numel()
    rounds = 2 * (N - 1)
    return {
        "sums": [torch.stack(vectors).sum(0)] * N,
        "chunks sent": rounds * N,
        "numbers sent": rounds * n,
        "sizes in each round": [sorted(n // N + (c < n % N) for c in range(N))] * rounds,
        "to the right neighbour": True,
        "senders in each round": [list(range(N))] * rounds,
    }


def ringing(label: str, seed: int, N: int, n: int) -> Case:
    vectors = torch.randn(N, n, generator=torch.Generator().manual_seed(seed))
    return trial(label, ring_tried, ring_in_numbers, [v.clone() for v in vectors])


TOLL = 100.0


def ring_over_a_wire_that_adds(ring_all_reduce: Candidate, vectors: list[Tensor]) -> list[Tensor]:
    """The sums, where each number comes with 100 more: so it shows what came over the wire."""
    return list(
        lend(lambda given: ring_all_reduce(given, lambda _, __, chunk: chunk + TOLL), vectors)
    )


def sums_and_tolls(vectors: list[Tensor]) -> list[Tensor]:
    """A sum of chunk c begins at rank c, and is handed on N - 1 times; then as a finished one."""
    N = len(vectors)
    sums = []
    for rank in range(N):
        parts = list(torch.stack(vectors).sum(0).tensor_split(N))
        tolls = [TOLL * (N - 1 + (rank + 1 - c) % N) for c in range(N)]
        sums.append(torch.cat([part + toll for part, toll in zip(parts, tolls, strict=True)]))
    return sums


def over_a_wire_that_adds(label: str, seed: int, N: int, n: int) -> Case:
    vectors = torch.randn(N, n, generator=torch.Generator().manual_seed(seed))
    given = [v.clone() for v in vectors]
    return trial(label, ring_over_a_wire_that_adds, sums_and_tolls, given)


def round_after_round(vectors: Sequence[Tensor], send: Candidate) -> list[Tensor]:
    """A right one."""
    N = len(vectors)
    chunks = [list(v.tensor_split(N)) for v in vectors]
    for done in range(N - 1):
        for rank in range(N):
            to, c = (rank + 1) % N, (rank - done) % N
            chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
    for done in range(N - 1):
        for rank in range(N):
            to, c = (rank + 1) % N, (rank + 1 - done) % N
            chunks[to][c] = send(rank, to, chunks[rank][c])
    return [torch.cat(own) for own in chunks]


def whole_vectors_round(vectors: Sequence[Tensor], send: Candidate) -> list[Tensor]:
    """Right sums, but everything goes all the way round."""
    N = len(vectors)
    sums, carried = [v.clone() for v in vectors], list(vectors)
    for _ in range(N - 1):
        arrived = [send((rank - 1) % N, rank, carried[(rank - 1) % N]) for rank in range(N)]
        sums = [total + new for total, new in zip(sums, arrived, strict=True)]
        carried = arrived
    return sums


def by_a_chief(vectors: Sequence[Tensor], send: Candidate) -> list[Tensor]:
    """Rank 0 adds up, and tells everyone."""
    N, total = len(vectors), vectors[0].clone()
    for rank in range(1, N):
        total = total + send(rank, 0, vectors[rank])
    return [total, *(send(0, rank, total) for rank in range(1, N))]


def everyone_to_everyone(vectors: Sequence[Tensor], send: Candidate) -> list[Tensor]:
    N = len(vectors)
    sums = []
    for rank in range(N):
        others = [send(other, rank, vectors[other]) for other in range(N) if other != rank]
        sums.append(vectors[rank] + sum(others))
    return sums


RING_ALL_REDUCE = Exercise(
    name="ring_all_reduce",
    lesson=LESSON,
    library=parallel.ring_all_reduce,
    minutes=20,
    difficulty=3,
    kind="stretch",
    cases=(
        ringing("2 ranks, 4 numbers", 0, 2, 4),
        ringing("3 ranks, 6 numbers", 1, 3, 6),
        ringing("3 ranks, 7 numbers", 2, 3, 7),
        ringing("5 ranks, 13 numbers", 3, 5, 13),
        ringing("one rank alone", 4, 1, 3),
        ringing("4 ranks, 2 numbers", 5, 4, 2),
        ringing("6 ranks, 576 numbers", 6, 6, 576),
        ringing("3 ranks, 1 number", 7, 3, 1),
        over_a_wire_that_adds("3 ranks, 7 numbers, what arrives is 100 more", 8, 3, 7),
        over_a_wire_that_adds("4 ranks, 8 numbers, what arrives is 100 more", 9, 4, 8),
    ),
    mistakes=(
        *edits(
            round_after_round,
            """
## a round too few in the first half
- for done in range(N - 1):
-     for rank in range(N):
-         to, c = (rank + 1) % N, (rank - done) % N
+ for done in range(N - 2):
+     for rank in range(N):
+         to, c = (rank + 1) % N, (rank - done) % N
A sum has to pass N - 1 neighbours before everybody is in it: N - 1 rounds.
## a round too few in the second half
- for done in range(N - 1):
-     for rank in range(N):
-         to, c = (rank + 1) % N, (rank + 1 - done) % N
+ for done in range(N - 2):
+     for rank in range(N):
+         to, c = (rank + 1) % N, (rank + 1 - done) % N
A finished chunk has to pass N - 1 neighbours before everybody has it: N - 1 rounds.
## a round too many in the first half
- for done in range(N - 1):
-     for rank in range(N):
-         to, c = (rank + 1) % N, (rank - done) % N
+ for done in range(N):
+     for rank in range(N):
+         to, c = (rank + 1) % N, (rank - done) % N
After N - 1 rounds the sums are whole. In one more, something is added twice.
## a round too many in the second half
- for done in range(N - 1):
-     for rank in range(N):
-         to, c = (rank + 1) % N, (rank + 1 - done) % N
+ for done in range(N):
+     for rank in range(N):
+         to, c = (rank + 1) % N, (rank + 1 - done) % N
After N - 1 rounds everybody has every chunk. One more sends what is there already.
## nothing is added
- chunks[to][c] + send → send
Each chunk ends as one rank had it. In the first half what arrives is *added* to the rank's own chunk;
and the second half begins with chunk r + 1, which rank r has finished, not with chunk r.
## added instead of written over
- chunks[to][c] = send(rank, to, chunks[rank][c])
+ chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
In the second half what arrives is the finished sum: it takes the place of the rank's own chunk.
## the same chunk in every round
- (rank - done) % N → rank
In each round a rank passes on the chunk that it has just added to: in round `done` that is chunk
rank - done.
## the chunks run the other way
- (rank - done) % N → (rank + done) % N
In the next round a rank passes on what it has just received, and that came from the rank before:
chunk rank - done, not rank + done.
## to the left
- to, c = (rank + 1) % N, (rank - done) % N → to, c = (rank - 1) % N, (rank + done) % N
- to, c = (rank + 1) % N, (rank + 1 - done) % N → to, c = (rank - 1) % N, (rank - 1 + done) % N
Your ring runs to the left: right sums, but asked for is that rank r sends to rank r + 1.
## begun with another chunk
- (rank - done) → (rank + 1 - done)
- (rank + 1 - done) → (rank + 2 - done)
A ring, but begun with chunk r + 1. Asked for is that rank r begins with its chunk r.
## sent for show
- chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
+ send(rank, to, chunks[rank][c])
+ chunks[to][c] = chunks[to][c] + chunks[rank][c]
- chunks[to][c] = send(rank, to, chunks[rank][c])
+ send(rank, to, chunks[rank][c])
+ chunks[to][c] = chunks[rank][c]
You call `send`, but go on with what lies in the neighbour's list. They are processes of their own:
what a rank gets is what `send` *returns*.
## fewer chunks than ranks
- v.tensor_split(N) → v.chunk(N)
`chunk` makes fewer chunks where the numbers don't suffice, and a smaller last one. `tensor_split`
always makes N, which differ by one number at most.
## without the second half
- chunks[to][c] = send(rank, to, chunks[rank][c]) → pass
Each rank has one finished chunk now, and old ones. A second half is missing, in which the finished
chunks go round.
## empty chunks left out
- chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
+ if len(chunks[rank][c]):
+     chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
- chunks[to][c] = send(rank, to, chunks[rank][c])
+ if len(chunks[rank][c]):
+     chunks[to][c] = send(rank, to, chunks[rank][c])
You leave empty chunks out. They are sent all the same: the neighbour waits for one in each round.
## whole vectors are sent
- chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c])
+ arrived = send(rank, to, torch.cat(chunks[rank]))
+ chunks[to][c] = chunks[to][c] + arrived.tensor_split(N)[c]
- chunks[to][c] = send(rank, to, chunks[rank][c])
+ chunks[to][c] = send(rank, to, torch.cat(chunks[rank])).tensor_split(N)[c]
You send the whole vector, of which one chunk is used. Send the chunk alone.
## only the first half
- return [torch.cat(own) for own in chunks] → return [own[(r + 1) % N] for r, own in enumerate(chunks)]
Each rank returns only the chunk that it has finished. Return the whole vector.
## an average
- return [torch.cat(own) for own in chunks] → return [torch.cat(own) / N for own in chunks]
You divide by the number of ranks. Asked for is the sum.
## the rest is dropped
- list(v.tensor_split(N)) → list(v[: v.numel() // N * N].tensor_split(N))
Where the numbers don't divide, you drop the last ones. `tensor_split` makes chunks of unequal sizes.
## the rest is in the last chunk
- list(v.tensor_split(N)) → list(v.split([v.numel() // N] * (N - 1) + [v.numel() - v.numel() // N * (N - 1)]))
Your last chunk takes all that is left over, and every round waits for it. `tensor_split` makes chunks
that differ by one number at most.
## nothing is sent
- return [torch.cat(own) for own in chunks]
+ return [sum(vectors[1:], vectors[0].clone()) for _ in vectors]
- chunks[to][c] = chunks[to][c] + send(rank, to, chunks[rank][c]) → pass
- chunks[to][c] = send(rank, to, chunks[rank][c]) → pass
Your ranks read each other's memory. They are processes of their own: all that one has of another comes
through `send`.
## one chunk after the other
- for done in range(N - 1):
-     for rank in range(N):
-         to, c = (rank + 1) % N, (rank - done) % N
+ for start in range(N):
+     for step in range(N - 1):
+         rank, c = (start + step) % N, start
+         to = (rank + 1) % N
Your chunks go round one after the other, while the other ranks have nothing to do. In each round every
rank sends one: the loop over rounds is outside, that over ranks inside.
""",
        ),
        Mistake(
            "whole vectors go round",
            "Right sums, but each vector goes all the way round: N - 1 times its size for each rank. "
            "In chunks it is less than twice: a sum of each chunk goes round, then the finished sum.",
            whole_vectors_round,
        ),
        Mistake(
            "a chief",
            "Rank 0 adds up and tells everyone: the sums are right, but all goes through one rank, "
            "and it is no ring. Each rank talks to its right neighbour alone.",
            by_a_chief,
        ),
        Mistake(
            "everyone to everyone",
            "Each rank sends its whole vector to every other. Right sums, too many bytes: cut the "
            "vectors into chunks, and talk to the right neighbour alone.",
            everyone_to_everyone,
        ),
    ),
    hints=(
        "`chunks = [list(v.tensor_split(N)) for v in vectors]`: `chunks[rank][c]` is chunk c as the "
        "rank has it. Two loops over N - 1 rounds follow, each with a loop over the ranks inside.",
        "In round 0 rank r sends its chunk r, and its neighbour adds it to its own chunk r. In round 1 "
        "each passes on what it has just added to: rank r sends chunk r - 1. In round `done`: "
        "chunk (r - done) % N. `+=` would change the given vector: `tensor_split` gives views.",
        "Now rank r has finished chunk r + 1. In the second half it sends chunk (r + 1 - done) % N, "
        "and what arrives takes the place of what was there. At the end `torch.cat(chunks[rank])`.",
    ),
)

# --- all_reduce_bytes -----------------------------------------------------------------------------


def hop_by_hop(config: ModelConfig, tokens: int, ranks: int, bytes_per_number: int = 4) -> int:
    """Brute force: each chunk of each all-reduce goes round twice."""
    sent, numbers = 0, tokens * config.width
    for _ in range(config.layers):
        for _ in ("attention", "feed-forward"):
            for chunk in range(ranks):
                size = numbers // ranks + (chunk < numbers % ranks)
                sent += 2 * (ranks - 1) * size * bytes_per_number
    return sent


def bytes_in_one_product(
    config: ModelConfig, tokens: int, ranks: int, bytes_per_number: int = 4
) -> int:
    """A right one."""
    vector = tokens * config.width * bytes_per_number
    return 2 * config.layers * vector * 2 * (ranks - 1)


ODD = replace(TINY, layers=5, width=50, head_dim=8, heads=4, kv_heads=2)

ALL_REDUCE_BYTES = Exercise(
    name="all_reduce_bytes",
    lesson=LESSON,
    library=parallel.all_reduce_bytes,
    minutes=5,
    difficulty=1,
    cases=(
        call("a token of our model, 3 ranks", SMOLLM2_135M, 1, 3, oracle=hop_by_hop),
        call("a prompt of 100", SMOLLM2_135M, 100, 3, oracle=hop_by_hop),
        call("in 2 bytes a number", SMOLLM2_135M, 7, 3, 2, oracle=hop_by_hop),
        call("2 ranks", TINY, 5, 2, oracle=hop_by_hop),
        call("one rank", TINY, 5, 1, oracle=hop_by_hop),
        call("8 ranks, 1 byte a number", ODD, 3, 8, bytes_per_number=1, oracle=hop_by_hop),
        call("no token", ODD, 0, 4, oracle=hop_by_hop),
    ),
    mistakes=edits(
        bytes_in_one_product,
        """
## half of it
- 2 * config.layers → config.layers
That is half. There are two all-reduces in each layer, and in each every number goes round twice:
first as a part of the sum, then as the finished sum.
## a quarter of it
- 2 * config.layers * vector * 2 * (ranks - 1) → config.layers * vector * (ranks - 1)
Two all-reduces in each layer, and in each of them every number goes round twice.
## as often as there are ranks
- (ranks - 1) → ranks
A chunk passes N - 1 neighbours until everybody is in it, not N: a rank sends itself nothing.
## what is added up
- 2 * config.layers * vector * 2 * (ranks - 1) → 2 * config.layers * vector
Those are the bytes of the vectors that are added up. A ring sends each of them 2 (N - 1) times.
## of one rank
- vector * 2 * (ranks - 1) → vector * 2 * (ranks - 1) // ranks
That is what *one* rank sends. Asked for is what all of them send together.
## four bytes by heart
- config.width * bytes_per_number → config.width * 4
Use `bytes_per_number`: most models run in 2 bytes.
## numbers, not bytes
- config.width * bytes_per_number → config.width
Those are numbers. Each of them has `bytes_per_number` bytes.
## one token
- vector = tokens * config.width → vector = config.width
A vector of width C is added up for *each* token.
## the feed-forward width
- tokens * config.width → tokens * config.feed_forward
What is added up stands behind `down`: it has the width C of the residual stream.
## the width of the heads
- tokens * config.width → tokens * config.heads * config.head_dim
What is added up stands behind the output projection: it has the width C, not H · D.
## the width of a rank's part
- tokens * config.width → tokens * config.width // ranks
Each rank's term is of full width C: it is the *inputs* of the last product that are divided.
## the logits, too
- return 2 → return tokens * config.vocabulary * bytes_per_number * (ranks - 1) + 2
The logits are not added up, only what joins the residual stream.
## one layer
- 2 * config.layers → 2
It happens in each of the `config.layers` layers.
## of every pair
- (ranks - 1) → (ranks - 1) * ranks
You count the chunks of each rank as if they were whole vectors: a ring's chunks have 1/N of them.
## both widths
- 2 * config.layers * vector → config.layers * (vector + tokens * config.feed_forward * bytes_per_number)
Both sums have width C: they join the residual stream.
## one layer more
- 2 * config.layers → (2 * config.layers + 1)
The embedding lies whole on every rank here: no sum for it.
""",
    ),
    hints=(
        "How many all-reduces are there in a forward pass? How many numbers does each add up? How "
        "often is each of these numbers sent?",
        "Two a layer, each of `tokens * config.width` numbers. In the ring each number passes N - 1 "
        "neighbours as a part of a sum, and N - 1 as a finished one.",
    ),
)

EXERCISES = (
    SPLIT_ROWS,
    SPLIT_COLUMNS,
    LOCAL_HEADS,
    SHARDED_BLOCK,
    RING_ALL_REDUCE,
    ALL_REDUCE_BYTES,
)
