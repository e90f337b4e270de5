"""Exercises of lesson A2: cross-attention, one vector for a whole text, and the prefix mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
from decodeloop.model import attention, causal_mask, merge_heads, split_heads  # noqa: F401, an edit

LESSON = "A2_encoders"
draws = torch.Generator().manual_seed(102)


def tensors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=draws)


# --- cross_attention ------------------------------------------------------------------------------


def cross_attention(
    x: Tensor,
    memory: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    H: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention whose queries come from `x`, its keys and values from `memory`.

    With `memory` = `x` it is self-attention. Vaswani et al. (2017), section 3.2.3.

    Shapes: x (B, T, C), memory (B, S, C), w_query, w_key, w_value (H·D, C), w_output (C, H·D), as
    `nn.Linear` stores them; mask broadcastable to (B, H, T, S) → (B, T, C).
    """
    q = split_heads(F.linear(x, w_query), H)  # (B, H, T, D)
    k = split_heads(F.linear(memory, w_key), H)  # (B, H, S, D)
    v = split_heads(F.linear(memory, w_value), H)
    return F.linear(merge_heads(attention(q, k, v, mask)), w_output)


def torch_cross_attention(
    x: Tensor,
    memory: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_output: Tensor,
    H: int,
    mask: Tensor | None = None,
) -> Tensor:
    """By PyTorch alone: its views, its fused operator, its products."""
    q, k, v = (
        (source @ weight.T).unflatten(-1, (H, -1)).transpose(1, 2)
        for source, weight in ((x, w_query), (memory, w_key), (memory, w_value))
    )
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(-2) @ w_output.T


def projections(C: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random weights for queries, keys, values (H·D, C) and the output (C, H·D)."""
    inwards = (tensors(width, C) / math.sqrt(C) for _ in range(3))
    w_query, w_key, w_value = inwards
    return w_query, w_key, w_value, tensors(C, width) / math.sqrt(width)


IDENTITY = (torch.eye(2),) * 4
SOME = torch.rand(2, 1, 3, 5, generator=draws) > 0.4
SOME[..., 1] = True  # everyone sees something

CROSS_ATTENTION = Exercise(
    name="cross_attention",
    lesson=LESSON,
    library=cross_attention,
    minutes=9,
    difficulty=2,
    cases=(
        call(
            "the example on paper",
            torch.tensor([[[0.0, 2.0]]]),
            torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]),
            *IDENTITY,
            1,
            oracle=torch_cross_attention,
        ),
        call(
            "x (2, 4, 6), memory (2, 4, 6): as many queries as keys",
            tensors(2, 4, 6),
            tensors(2, 4, 6),
            *projections(6, 6),
            2,
            oracle=torch_cross_attention,
        ),
        call(
            "x (2, 3, 6), memory (2, 5, 6), H·D = 8",
            tensors(2, 3, 6),
            tensors(2, 5, 6),
            *projections(6, 8),
            2,
            oracle=torch_cross_attention,
        ),
        call(
            "more queries than keys",
            tensors(1, 5, 4),
            tensors(1, 2, 4),
            *projections(4, 6),
            3,
            oracle=torch_cross_attention,
        ),
        call(
            "a mask (2, 1, 3, 5)",
            tensors(2, 3, 6),
            tensors(2, 5, 6),
            *projections(6, 8),
            2,
            SOME,
            oracle=torch_cross_attention,
        ),
        call(
            "a causal mask (4, 4)",
            tensors(1, 4, 6),
            tensors(1, 4, 6),
            *projections(6, 6),
            3,
            torch.ones(4, 4, dtype=torch.bool).tril(),
            oracle=torch_cross_attention,
        ),
    ),
    mistakes=edits(
        cross_attention,
        """
## the roles swapped
- F.linear(x, w_query) → F.linear(memory, w_query)
- F.linear(memory, w_key) → F.linear(x, w_key)
- F.linear(memory, w_value) → F.linear(x, w_value)
Your queries come from the memory, and keys and values from x. Then each *input* token asks, and
you get S rows; the output asks: T rows. Queries come from x.
## values from x
- F.linear(memory, w_value) → F.linear(x, w_value)
Your keys come from the memory but your values from x: then the scores say which input token fits,
and what is fetched is not that token. It only runs where S = T. Keys and values are two
projections of the same text, the memory.
## keys from x
- F.linear(memory, w_key) → F.linear(x, w_key)
Your values come from the memory but your keys from x, so each query is compared with tokens of its
own text. It only runs where S = T. Keys and values both come from the memory.
## the memory ignored
- F.linear(memory, w_key) → F.linear(x, w_key)
- F.linear(memory, w_value) → F.linear(x, w_value)
That is self-attention: you never look at the memory. Change the memory and your output stays the
same. Keys and values come from it.
## everything from the memory
- F.linear(x, w_query) → F.linear(memory, w_query)
That is the self-attention of the memory: x plays no part in it, and you get S rows. The queries
come from x.
## always causal
- return F.linear
+ mask = causal_mask(q.shape[-2], k.shape[-2]) if mask is None else mask
+ return F.linear
You mask causally where no mask was asked for. The input is all there before the first output
token: every query may see all of it. Pass on the mask that you were given, also when it is None.
## always causal, from the top
- return F.linear
+ if mask is None:
+     mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
+ return F.linear
You mask causally where no mask was asked for. The input is all there before the first output
token: every query may see all of it. Pass on the mask that you were given, also when it is None.
## scores set to 0
- attention(q, k, v, mask)
+ (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(
+     torch.tensor(False) if mask is None else ~mask, 0.0).softmax(-1) @ v
Where the mask is False you set the score to 0, which still takes a share: e⁰ = 1. It must be -inf, as
`attention` makes it.
## the first text's memory for all
- q = split_heads
+ memory = memory[:1].expand(len(x), -1, -1)
+ q = split_heads
All texts look at the memory of the first. Each row of the batch has a memory of its own.
## the mask ignored
- attention(q, k, v, mask) → attention(q, k, v)
Right without a mask, but the mask that was given plays no part. Pass it on to `attention`.
## the mask upside down
- attention(q, k, v, mask) → attention(q, k, v, None if mask is None else ~mask)
You hide what may be seen. True means: may attend, and `attention` takes it so.
## no output projection
- F.linear(merge_heads(attention(q, k, v, mask)), w_output) → merge_heads(attention(q, k, v, mask))
Those are the heads side by side, (B, T, H·D). They still go through w_output, which mixes the
heads and gives (B, T, C).
## weights not transposed
- F.linear(x, w_query) → x @ w_query
- F.linear(memory, w_key) → memory @ w_key
- F.linear(memory, w_value) → memory @ w_value
- F.linear(merge_heads(attention(q, k, v, mask)), w_output)
+ merge_heads(attention(q, k, v, mask)) @ w_output
You multiply x by the weights as they are stored, (outputs, inputs). It only runs where they are
square. F.linear(x, w) is x @ w.T.
## input weights not transposed
- F.linear(x, w_query) → x @ w_query
- F.linear(memory, w_key) → memory @ w_key
- F.linear(memory, w_value) → memory @ w_value
You multiply by the weights of queries, keys and values as they are stored, (outputs, inputs). It only
runs where they are square. F.linear(x, w) is x @ w.T.
## output weights not transposed
- F.linear(merge_heads(attention(q, k, v, mask)), w_output)
+ merge_heads(attention(q, k, v, mask)) @ w_output
You multiply by w_output as it is stored, (outputs, inputs). It only runs where it is square.
F.linear(x, w) is x @ w.T.
## query and key weights swapped
- F.linear(x, w_query) → F.linear(x, w_key)
- F.linear(memory, w_key) → F.linear(memory, w_query)
w_query and w_key have changed places: w_query meets x, w_key the memory.
## x is added
- return F.linear → return x + F.linear
You add x to the result. That residual connection belongs to the block around it, not to attention.
## both texts in a row
- q = split_heads
+ memory = torch.cat((memory, x), dim=1)
+ q = split_heads
Your keys and values come from the memory and from x. In cross-attention they come from the memory
alone.
## key and value weights swapped
- F.linear(memory, w_key) → F.linear(memory, w_value)
- F.linear(memory, w_value) → F.linear(memory, w_key)
w_key and w_value have changed places. Both meet the memory: w_key gives what a query is compared
with, w_value what it gets.
## one head only
- F.linear(x, w_query), H → F.linear(x, w_query), 1
- F.linear(memory, w_key), H → F.linear(memory, w_key), 1
- F.linear(memory, w_value), H → F.linear(memory, w_value), 1
You attend once over all H·D channels. Cut queries, keys and values into H heads first, with
split_heads: each head has a softmax of its own.
## heads cut out of positions
- q = split_heads(F.linear(x, w_query), H)
+ q = F.linear(x, w_query).reshape(x.shape[0], H, x.shape[1], -1)
- k = split_heads(F.linear(memory, w_key), H)
+ k = F.linear(memory, w_key).reshape(x.shape[0], H, memory.shape[1], -1)
- v = split_heads(F.linear(memory, w_value), H)
+ v = F.linear(memory, w_value).reshape(x.shape[0], H, memory.shape[1], -1)
- merge_heads(attention(q, k, v, mask)) → attention(q, k, v, mask).reshape(*x.shape[:2], -1)
A reshape of (B, T, H·D) to (B, H, T, D) keeps the numbers in their order, so that a “head” is a
stretch of positions. Axes must be swapped too: split_heads does it.
## heads merged without swapping axes
- merge_heads(attention(q, k, v, mask)) → attention(q, k, v, mask).reshape(*x.shape[:2], -1)
The heads come out as (B, H, T, D), and a reshape alone keeps the numbers in that order: positions and
heads get mixed. Swap the axes first: merge_heads does it.
## heads not moved to the front
- q = split_heads(F.linear(x, w_query), H)
+ q = F.linear(x, w_query).unflatten(-1, (H, -1))
- k = split_heads(F.linear(memory, w_key), H)
+ k = F.linear(memory, w_key).unflatten(-1, (H, -1))
- v = split_heads(F.linear(memory, w_value), H)
+ v = F.linear(memory, w_value).unflatten(-1, (H, -1))
- merge_heads(attention(q, k, v, mask)) → attention(q, k, v, mask).flatten(2)
Your heads stand behind the positions, (B, T, H, D), so `attention` compares the heads of one position
with each other. They belong in front: split_heads gives (B, H, T, D).
## softmax over the queries
- attention(q, k, v, mask)
+ (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(
+     torch.tensor(False) if mask is None else ~mask, -math.inf).softmax(-2) @ v
Your softmax runs along the queries. For each query the weights sum to 1 over the keys: softmax(-1).
## the mask added
- attention(q, k, v, mask)
+ F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.to(q.dtype))
You add the mask to the scores as 0 and 1. Where it is False nothing may be seen: the score there is
-inf, as `attention` makes it of a boolean mask.
## divided by D
- attention(q, → attention(q / math.sqrt(q.shape[-1]),
You divide the scores by D. It is its root, √D, as `attention` does.
## divided by √(H·D)
- attention(q, → attention(q / math.sqrt(H),
You divide the scores by the root of H·D. A score is a sum over one head's D numbers: divide by √D, as
`attention` does.
## forgot 1/√D
- attention(q, → attention(q * math.sqrt(q.shape[-1]),
The scores are not scaled. Use `attention`, which divides by √D, or divide yourself.
## divided by √C
- attention(q, → attention(q * math.sqrt(q.shape[-1] / x.shape[-1]),
You divide the scores by the root of the whole width. A score is a sum over one head's D numbers:
divide by √D, as `attention` does.
""",
    ),
    hints=(
        "Who asks? The text that is being written, x. Who is asked, and who answers? The text that "
        "was read: memory.",
        "Three projections: F.linear(x, w_query), F.linear(memory, w_key), F.linear(memory, w_value). "
        "Cut each into H heads: split_heads(…, H).",
        "`attention(q, k, v, mask)` gives (B, H, T, D). merge_heads lays the heads side by side, and "
        "F.linear(…, w_output) comes last.",
    ),
)

# --- mean_pool ------------------------------------------------------------------------------------


def mean_pool(x: Tensor, real: Tensor) -> Tensor:
    """One vector for each text: the mean over its real positions, the padding left out.

    Shapes: x (B, T, C), real (B, T), boolean, with at least one True in each row → (B, C).
    """
    weights = real[..., None].to(x.dtype)  # (B, T, 1)
    return (x * weights).sum(1) / weights.sum(1)


def row_by_row(x: Tensor, real: Tensor) -> Tensor:
    return torch.stack([vectors[keep].mean(0) for vectors, keep in zip(x, real, strict=True)])


def real_positions(lengths: list[int], T: int) -> Tensor:
    return torch.arange(T) < torch.tensor(lengths)[:, None]


ON_PAPER = torch.tensor([[[1.0, 10.0], [3.0, 20.0], [99.0, 99.0]]])
GAPS = torch.tensor([[False, True, True, False], [True, False, False, True]])

MEAN_POOL = Exercise(
    name="mean_pool",
    lesson=LESSON,
    library=mean_pool,
    minutes=6,
    difficulty=1,
    cases=(
        Case(
            "two real tokens and one of padding",
            lambda f: f(ON_PAPER.clone(), torch.tensor([[True, True, False]])),
            lambda: torch.tensor([[2.0, 15.0]]),
        ),
        call(
            "x (3, 5, 4), lengths 2, 5, 3",
            tensors(3, 5, 4),
            real_positions([2, 5, 3], 5),
            oracle=row_by_row,
        ),
        call("padding on the left, and gaps", tensors(2, 4, 3), GAPS, oracle=row_by_row),
        call(
            "as many texts as tokens as channels",
            tensors(3, 3, 3),
            real_positions([1, 3, 2], 3),
            oracle=row_by_row,
        ),
    ),
    mistakes=edits(
        mean_pool,
        """
## the padding counted
- (x * weights).sum(1) / weights.sum(1) → x.mean(1)
You average over all T positions, the padding too. Then the vector of a text depends on how long
its neighbours in the batch are.
## divided by T
- / weights.sum(1) → / x.shape[1]
The padding is out of the sum, but you still divide by T. Divide each row by the number of its own
real tokens, real.sum(1).
## the padding in the sum
- (x * weights).sum(1) → x.sum(1)
You divide by the right number, but the padding's vectors are still in the sum. Multiply x by
`real` first.
## divided by everybody's tokens
- / weights.sum(1) → / weights.sum()
You divide every row by the number of real tokens in the whole batch. Each row has its own:
real.sum(1, keepdim=True).
## divided by the first row's tokens
- / weights.sum(1) → / weights[0].sum()
You divide every row by the number of real tokens of the first. Each row has its own: real.sum(1).
## keepdim forgotten
- / weights.sum(1) → / real.sum(1)
real.sum(1) is (B,), and broadcasts along the channels of (B, C), or not at all. With keepdim=True it
is (B, 1), a number for each row.
## the first positions
- (x * weights).sum(1) / weights.sum(1)
+ torch.stack([row[: int(n)].mean(0) for row, n in zip(x, real.sum(1))])
You take as many positions as are real, but always the first of the row. Padding may stand in front or
between: take those where `real` is True.
## rounded down
- (x * weights).sum(1) / weights.sum(1) → (x * weights).sum(1) // weights.sum(1)
You round the mean down: `/` divides, `//` cuts what is behind the point.
## one too many
- / weights.sum(1) → / (weights.sum(1) + 1)
You divide by one more than there are. Every row has a real token, so the number is never 0.
## one mean for all rows
- (x * weights).sum(1) / weights.sum(1) → x[real].mean(0).expand(len(x), -1)
All your rows are the same: the mean over the real tokens of the whole batch. Each text has a mean of
its own.
## of length one
- return (x * weights).sum(1) / weights.sum(1)
+ return F.normalize((x * weights).sum(1), dim=-1)
You scale each vector to length 1. Asked for is the mean itself.
## the first real token
- (x * weights).sum(1) / weights.sum(1)
+ x[torch.arange(len(x)), real.int().argmax(1)]
That is the vector of the first real token alone. Asked for is the mean of all of them.
## the last real token
- (x * weights).sum(1) / weights.sum(1)
+ torch.stack([row[keep][-1] for row, keep in zip(x, real)])
That is the vector of the last real token alone. Asked for is the mean of all of them.
## the median
- (x * weights).sum(1) / weights.sum(1)
+ torch.stack([row[keep].median(0).values for row, keep in zip(x, real)])
That is the median of each channel. Asked for is the mean.
## the last position
- (x * weights).sum(1) / weights.sum(1) → x[:, -1]
That is the vector of the last position, which may even be padding. Asked for is the mean of the real
ones.
## not divided
-  / weights.sum(1)
That is the sum, and a long text has a large one. Divide each row by the number of its real tokens.
## one vector for the whole batch
- (x * weights).sum(1) / weights.sum(1) → x[real].mean(0)
x[real] lays the real tokens of all texts into one long row, so you average over the batch. Each
text needs a mean of its own: (B, C).
## over the batch
- (x * weights).sum(1) / weights.sum(1) → (x * weights).sum(0) / weights.sum(0)
Your sum runs over axis 0, the texts. The positions of one text are axis 1.
## an axis too many
- (x * weights).sum(1) / weights.sum(1) → (x * weights).sum(1, True) / weights.sum(1, True)
The values are right, but the axis of the positions is still there, with length 1: (B, 1, C). Sum
without keepdim.
## the padding averaged
- weights = real → weights = (~real)
That is the mean of what is *not* real. True stands on the real tokens.
## the first token
- (x * weights).sum(1) / weights.sum(1) → x[:, 0]
That is the vector of the first position. BERT does take it, since there a special token stands in
front; asked for here is the mean of the real ones.
## the largest value
- (x * weights).sum(1) / weights.sum(1) → x.masked_fill(~real[..., None], -math.inf).amax(1)
That is max pooling: the largest value of each channel. Asked for is the mean.
""",
    ),
    hints=(
        "x is (B, T, C) and real is (B, T). How does `real` get an axis for the channels, so that the "
        "two can be multiplied?",
        "x * real[..., None] sets the padding's vectors to 0: False counts as 0. Now sum along the "
        "positions.",
        "Divide by how many were real: real.sum(1) is (B,), and the sums are (B, C); keepdim=True "
        "makes it (B, 1).",
    ),
)

# --- prefix_mask ----------------------------------------------------------------------------------


def prefix_mask(T: int, prefix: int) -> Tensor:
    """The first `prefix` positions see each other; the rest sees them, and is causal.

    Raffel et al., T5 (2019), section 3.2.1. Shapes: → (T, T), boolean, True = may attend.
    """
    position = torch.arange(T)
    return (position <= position[:, None]) | (position < prefix)


def prefix_in_words(T: int, prefix: int) -> Tensor:
    rows = [[key <= query or key < prefix for key in range(T)] for query in range(T)]
    return torch.tensor(rows)


def in_a_table(T: int, prefix: int) -> Tensor:
    """A right one."""
    q, k = torch.arange(T)[:, None], torch.arange(T)[None]
    return (k <= q) | (k < prefix)


PREFIX_MASK = Exercise(
    name="prefix_mask",
    lesson=LESSON,
    library=prefix_mask,
    minutes=6,
    difficulty=1,
    kind="stretch",
    cases=(
        call("T = 5, prefix 2", 5, 2, oracle=prefix_in_words),
        call("T = 6, prefix 3", 6, 3, oracle=prefix_in_words),
        call("no prefix: causal", 4, 0, oracle=prefix_in_words),
        call("nothing but the prefix: all see all", 4, 4, oracle=prefix_in_words),
        call("T = 1", 1, 1, oracle=prefix_in_words),
    ),
    mistakes=edits(
        in_a_table,
        """
## one too many
- k < prefix → k <= prefix
Your prefix is one position too long. Positions count from 0, so the last of `prefix` positions is
prefix - 1: compare with <.
## one too few
- k < prefix → k < prefix - 1
Your prefix is one position too short: its last position is prefix - 1, and it belongs to it.
## only the prefix is seen
- (k <= q) | (k < prefix) → (k < prefix).expand(T, T)
Everyone sees the prefix, but the positions after it don't see themselves or each other. They are
causal: add the lower triangle, with `|`.
## rows instead of columns
- k < prefix → q < prefix
The first `prefix` *rows* are all True: so the prefix looks into the output, which is not written
yet. It is the columns: everyone sees the prefix.
## the prefix is not seen by the rest
- (k <= q) | (k < prefix)
+ ((k <= q) & (k >= prefix)) | ((q < prefix) & (k < prefix))
The prefix sees itself, but what comes after it sees nothing of it. The output must read the input:
every row may see the columns of the prefix.
## causal in the prefix too
-  | (k < prefix)
That is the causal mask: the prefix does not see its own right side yet.
## a diagonal further on
- (k <= q) | (k < prefix) → k <= q + prefix
You move the diagonal by `prefix`, so every position looks `prefix` places ahead, those of the output too.
Only the columns of the prefix are open to all.
## a diagonal further on, by one less
- (k <= q) | (k < prefix) → k < q + prefix
You move the diagonal by `prefix` - 1, so every position looks ahead, those of the output too. Only the
columns of the prefix are open to all.
## a diagonal further on, by one less, where there is a prefix
- (k <= q) | (k < prefix) → k <= q + max(prefix - 1, 0)
You move the diagonal by `prefix` - 1, so every position looks ahead, those of the output too. Only the
columns of the prefix are open to all.
## the last columns
- k < prefix → k >= T - prefix
You open the last `prefix` columns. The prompt stands first: columns 0 to prefix - 1.
## minus nought
- (k <= q) | (k < prefix)
+ (k <= q) | (k < torch.arange(T)[: -(T - prefix)].numel())
Right but where all is prefix: there you cut with [:-0], which is empty, since -0 is 0. Count from the
front: [:prefix].
## without oneself
- k <= q → k < q
The positions behind the prefix don't see themselves: causal means up to and with oneself, <=.
## everyone sees everyone
- (k <= q) | (k < prefix) → (k <= q) | (k >= 0)
All of it is True. Only the prefix looks both ways; what comes after it is causal.
## queries and keys swapped
- (k <= q) | (k < prefix) → (k >= q) | (q < prefix)
Your table is turned: rows are queries and columns are keys, and entry [query, key] says whether the
query may look.
## the prefix is causal, the rest sees all
- (k <= q) | (k < prefix) → (k <= q) | (q >= prefix)
It is the other way round: the prefix looks both ways, and what comes after it is causal.
## the block alone
- (k <= q) | (k < prefix) → (q < prefix) & (k < prefix)
The prefix sees itself, but what comes after it sees nothing at all: it is causal, and sees the prefix
too.
## zeros and -inf
- (k <= q) | (k < prefix)
+ torch.zeros(T, T).masked_fill(~((k <= q) | (k < prefix)), -math.inf)
The pattern is right, but you give what is added to the scores. Asked for is a boolean mask: True where
a query may look.
## axes too many
- (k <= q) | (k < prefix) → ((k <= q) | (k < prefix))[None, None]
The pattern is right, but the shape is (1, 1, T, T): (T, T) is asked for.
## both at once
- (k <= q) | → (k <= q) &
You ask for both conditions: causal *and* in the prefix. One is enough: `|`, not `&`.
## upside down
- (k <= q) | (k < prefix) → (k > q) & (k >= prefix)
True stands where a query may NOT attend. Here True means: may attend.
## numbers instead of booleans
- (k <= q) | (k < prefix) → ((k <= q) | (k < prefix)).float()
The pattern is right, but the type is not: make it boolean.
""",
    ),
    hints=(
        "Draw it for T = 5 and prefix 2: five rows, five columns. Which cells does the causal mask have "
        "already, and which single cell is missing?",
        "A key may be seen when it stands at or before the query, *or* when it stands in the prefix. "
        "The second says something of columns alone: torch.arange(T) < prefix.",
        "A (T, T) table and a (T,) row can be joined by `|`: the row is repeated for each query.",
    ),
)

EXERCISES = (CROSS_ATTENTION, MEAN_POOL, PREFIX_MASK)
