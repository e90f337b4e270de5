"""Exercises of lesson 16: softmax in one pass, parts merged, tiles skipped, FlashAttention."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from decodeloop import cost, model
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, Mistake, beside, call, trial
from decodeloop.model import flash
from decodeloop.model.flash import finish, merge, partial_attention

LESSON = "16_efficient_attention"
LOWEST = torch.finfo(torch.float32).min
INF = math.inf


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


MATMULS = ("matmul", "__matmul__", "bmm")


class Watching(TorchFunctionMode):
    """Looks on at what PyTorch makes: what is alive of it, the largest, products, the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.products, self.fused = 0, 0, False
        self.made: list[weakref.ref[Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused |= func is F.scaled_dot_product_attention
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numbers = max(self.numbers, stored(made))
            if func.__name__ in MATMULS:
                self.products += made.numel() * args[0].shape[-1]
            self.made.append(weakref.ref(made))
        return made

    def held(self) -> int:
        """Numbers in the memory of all tensors made so far that are still there."""
        alive = [made for ref in self.made if (made := ref()) is not None]
        return sum({made.untyped_storage().data_ptr(): stored(made) for made in alive}.values())


def stored(made: Tensor) -> int:
    """Numbers in its memory; that of a view is what it looks at."""
    return made.untyped_storage().nbytes() // made.itemsize


# --- online_softmax -------------------------------------------------------------------------------


def stream(tiles: Sequence[Tensor]) -> Iterator[Tensor]:
    """One tile after the other, in memory that is used again."""
    for tile in tiles:
        lent = tile.clone()
        yield lent
        lent.fill_(math.nan)


def by_logsumexp(scores: Tensor) -> list[Tensor]:
    """Closed form, in double precision."""
    peak = scores.amax(-1, keepdim=True).clamp(min=LOWEST)
    total = (torch.logsumexp(scores.double(), -1, keepdim=True) - peak).exp()
    return [peak, total.float()]


@beside
def passed(candidate: Any, scores: Tensor, sizes: Sequence[int]) -> Any:
    """What comes of the tiles, which are lent where the answer computes: there its memory is."""
    return list(candidate(stream(scores.split(list(sizes), -1))))


def passing(label: str, scores: Tensor, sizes: Sequence[int]) -> Case:
    def run(candidate: Any, scores: Tensor) -> Any:
        return passed(candidate, scores, sizes)

    return trial(label, run, by_logsumexp, scores)


@beside
def keeping_little(candidate: Any, scores: Tensor) -> list[Any]:
    """Its result, and whether it held more than a few tiles of 64 keys while they came."""
    held = 0
    with Watching() as seen:

        def tiles() -> Iterator[Tensor]:
            nonlocal held
            for tile in stream(scores.split(64, -1)):
                yield tile
                held = max(held, seen.held())

        peak, total = candidate(tiles())
    return [peak, total, FEW if held <= 5 * scores[..., :64].numel() else "many tiles were held"]


FEW = "a few tiles were held at once"


def in_one_pass(tiles: Any) -> Any:
    """A right one."""
    peak, total = None, 0.0
    for tile in tiles:
        top = tile.amax(-1, keepdim=True).clamp(min=torch.finfo(tile.dtype).min)
        new = top if peak is None else torch.maximum(peak, top)
        fade = 0.0 if peak is None else (peak - new).exp()
        total = total * fade + (tile - new).exp().sum(-1, keepdim=True)
        peak = new
    return peak, total


def kept_in_a_list(tiles: Any) -> Any:
    row = torch.cat(list(tiles), -1)
    peak = row.amax(-1, keepdim=True)
    return peak, (row - peak).exp().sum(-1, keepdim=True)


def kept_as_copies(tiles: Any) -> Any:
    row = torch.cat([tile.clone() for tile in tiles], -1)
    peak = row.amax(-1, keepdim=True).clamp(min=LOWEST)
    return peak, (row - peak).exp().sum(-1, keepdim=True)


UNSEEN = random(5, 3, 9)
UNSEEN[0, :3], UNSEEN[1], UNSEEN[2, 6:] = -INF, -INF, -INF

ONLINE_SOFTMAX = Exercise(
    name="online_softmax",
    lesson=LESSON,
    library=model.online_softmax,
    minutes=10,
    difficulty=2,
    cases=(
        passing("by hand", torch.tensor([[1.0, 3.0, 2.0, 5.0]]), [2, 2]),
        passing("a single tile", random(0, 4, 7), [7]),
        passing("rows with different peaks", 3 * random(1, 6, 12), [4, 4, 4]),
        passing("tiles of one, larger and larger", torch.arange(9.0)[None] - 4, [1] * 9),
        passing("smaller and smaller", 6 - torch.arange(8.0)[None], [3, 3, 2]),
        passing("negative scores", random(2, 3, 10) - 50, [5, 5]),
        passing("scores of thousands", 2000 * random(3, 2, 8), [2, 6]),
        passing("heads and queries, unequal tiles", random(4, 2, 3, 4, 11), [1, 7, 3]),
        passing("keys that may not be seen", UNSEEN, [3, 3, 3]),
        trial(
            "twenty tiles, and what is kept of them",
            keeping_little,
            lambda scores: [*by_logsumexp(scores), FEW],
            random(6, 4, 1280),
        ),
    ),
    mistakes=(
        *edits(
            in_one_pass,
            """
## the sum not scaled down
- total * fade → total
When a tile brings a larger score, what was summed up before belongs to the old one: multiply it by
e^(old - new).
## scaled the wrong way
- (peak - new).exp() → (new - peak).exp()
That scales the sum up. The new peak is the larger one, so e^(old - new) is at most 1.
## the peak of the tile
- top if peak is None else torch.maximum(peak, top) → top
You take each tile's own largest score. A later tile may be lower: keep the larger of the two.
## each tile against its own peak
- (tile - new).exp() → (tile - top).exp()
You subtract the tile's own largest score from it. All must be measured from the same one: the
largest so far.
## begun at zero
- top if peak is None → top.clamp(min=0.0) if peak is None
Your peak begins at 0. Where all scores are negative it stays there, and the exponentials vanish.
## nothing seen is not a number
- .clamp(min=torch.finfo(tile.dtype).min)
Where a row has seen nothing but -inf, its peak stays -inf, and -inf - -inf is NaN. Let the peak be
`torch.finfo(tile.dtype).min` at least.
## nothing seen has the peak -inf
- return peak, total → return torch.where(total > 0, peak, -math.inf), total
The sums are right, but a row that has seen nothing ends with the peak -inf. It should be
`torch.finfo(tile.dtype).min`: then nothing that is measured from it becomes NaN.
## nothing seen counts one
- (tile - new).exp() → (tile.clamp(min=torch.finfo(tile.dtype).min) - new).exp()
A row that has seen only -inf has a sum of 0. You replaced the scores by the smallest number: then
they equal the peak, and each counts e⁰ = 1. Only the peak is to be held above -inf.
## one peak for all rows
- tile.amax(-1, keepdim=True) → tile.amax().expand_as(tile[..., :1])
You take one peak for all rows. Each row has its own: `amax(-1, keepdim=True)`.
## nothing subtracted
- (tile - new).exp() → tile.exp()
You sum up e^score. Subtract the largest score so far, or large scores overflow.
## scaled after adding
- total * fade + (tile - new).exp().sum(-1, keepdim=True)
+ (total + (tile - new).exp().sum(-1, keepdim=True)) * (1.0 if peak is None else fade)
You scale what the tile brings, too. It is measured from the new peak already: scale the old sum,
then add.
## the axis gone
- return peak, total → return peak[..., 0], total[..., 0]
The numbers are right, but the last axis is gone: keep it, of length 1 (`keepdim=True`), so that
they can be subtracted from the scores.
## in the other order
- return peak, total → return total, peak
The largest score comes first, then the sum.
## the logarithm of the sum
- return peak, total → return peak, peak + total.log()
You return the logarithm of the sum of all e^score. Asked for is the sum of e^(score - peak).
## the last tile forgotten
- for tile in tiles: → tiles = list(map(torch.clone, tiles))
+ for tile in tiles[: len(tiles) - 1] or tiles:
The last tile plays no part.
""",
        ),
        Mistake(
            "the tiles kept",
            "You keep the tiles until all are there. That is what is to be avoided: the memory of "
            "a tile is used again for the next one. Keep two numbers a row, and go on.",
            kept_in_a_list,
        ),
        Mistake(
            "copies of the tiles kept",
            "The numbers are right, but you keep a copy of every tile: that is the row of scores "
            "again. Keep two numbers a row, and go on.",
            kept_as_copies,
        ),
    ),
    hints=(
        "Keep two things from tile to tile, for each row: the largest score so far, and the sum so "
        "far. What happens to the sum when a larger score comes?",
        "new = the larger of the old peak and this tile's; the old sum times e^(old - new), plus "
        "the sum of e^(tile - new).",
        "`top = tile.amax(-1, keepdim=True).clamp(min=torch.finfo(tile.dtype).min)`; for the first "
        "tile `new = top`, later `new = torch.maximum(peak, top)`.",
    ),
)

# --- merge ----------------------------------------------------------------------------------------


def part_of(scores: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Closed form, in double precision. scores (..., T, n), v (..., n, D)."""
    peak, total = by_logsumexp(scores)
    weights = (scores.double() - peak).exp()
    return peak, total, (weights @ v.double()).float()


def merging(label: str, scores: Tensor, v: Tensor, cut: int) -> Case:
    """Two parts: the keys before the cut, and those behind it."""
    halves = zip(scores.split([cut, scores.shape[-1] - cut], -1), (v[:cut], v[cut:]), strict=True)
    one, other = (part_of(*half) for half in halves)
    return trial(
        label,
        lambda candidate, one, other: list(candidate(one, other)),
        lambda one, other: list(part_of(scores, v)),
        one,
        other,
    )


def by_fades(one: Any, other: Any) -> Any:
    """A right one."""
    (peak_1, total_1, values_1), (peak_2, total_2, values_2) = one, other
    peak = torch.maximum(peak_1, peak_2)
    a, b = (peak_1 - peak).exp(), (peak_2 - peak).exp()
    return peak, total_1 * a + total_2 * b, values_1 * a + values_2 * b


HALF_SEEN = 2 * random(8, 3, 8)
HALF_SEEN[0, :5], HALF_SEEN[1, 5:], HALF_SEEN[2] = -INF, -INF, -INF

MERGE = Exercise(
    name="merge",
    lesson=LESSON,
    library=flash.merge,
    minutes=6,
    difficulty=1,
    cases=(
        merging("by hand", torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0], [3.0]]), 1),
        merging("one query, equal peaks", torch.ones(1, 4), random(0, 4, 3), 2),
        merging("the first has the larger peak", -torch.arange(6.0)[None], random(1, 6, 2), 3),
        merging("the second has it", torch.arange(6.0)[None], random(2, 6, 2), 3),
        merging("each row its own", 3 * random(3, 7, 9), random(4, 9, 4), 5),
        merging("heads before the rows", random(5, 2, 3, 4, 6), random(6, 6, 5), 2),
        merging("scores of thousands", 2000 * random(7, 3, 6), random(8, 6, 2), 4),
        merging("parts that saw nothing", HALF_SEEN, random(9, 8, 3), 5),
    ),
    mistakes=edits(
        by_fades,
        """
## nothing scaled
- total_1 * a + total_2 * b, values_1 * a + values_2 * b
+ total_1 + total_2, values_1 + values_2
You add what is measured from two different peaks. Scale each part by e^(its peak - the larger
one).
## the values not scaled
- values_1 * a + values_2 * b → values_1 + values_2
The totals are scaled, the values not. Both are sums of the same exponentials.
## the totals not scaled
- total_1 * a + total_2 * b → total_1 + total_2
The values are scaled, the totals not. Both are sums of the same exponentials.
## scaled the wrong way
- (peak_1 - peak).exp(), (peak_2 - peak).exp() → (peak - peak_1).exp(), (peak - peak_2).exp()
You scale up the part with the lower peak. It is e^(its peak - the larger one), at most 1.
## the scales exchanged
- a, b = → b, a =
Each part is scaled by the other's factor.
## only the second scaled
- total_1 * a + total_2 * b, values_1 * a + values_2 * b
+ total_1 + total_2 * b, values_1 + values_2 * b
You scale the second part alone. Where it has the larger peak, it is the first that must shrink.
## only the first scaled
- total_1 * a + total_2 * b, values_1 * a + values_2 * b
+ total_1 * a + total_2, values_1 * a + values_2
You scale the first part alone, as if the second always had the larger peak.
## the peak of the first
- torch.maximum(peak_1, peak_2) → peak_1
You keep the first part's peak. Where the second is larger, exponentials grow beyond 1, and
overflow.
## the smaller peak
- torch.maximum(peak_1, peak_2) → torch.minimum(peak_1, peak_2)
You keep the smaller peak: then exponentials grow beyond 1, and overflow.
## the peak in between
- torch.maximum(peak_1, peak_2) → (peak_1 + peak_2) / 2
The peak is the larger of the two, not their mean.
## one peak for all rows
- torch.maximum(peak_1, peak_2) → torch.maximum(peak_1, peak_2).amax().expand_as(peak_1)
You take one peak for all rows. Each row has its own.
## one branch for all rows
- torch.maximum(peak_1, peak_2) → peak_1 if peak_1.max() >= peak_2.max() else peak_2
You decide once for all rows which part has the larger peak. Each row has its own.
## exponentials divided
- (peak_1 - peak).exp(), (peak_2 - peak).exp()
+ peak_1.exp() / peak.exp(), peak_2.exp() / peak.exp()
e^90 is too large for fp32, and e^-90 is 0: subtract the peaks first, then take one exponential.
## divided already
- values_1 * a + values_2 * b → (values_1 * a + values_2 * b) / (total_1 * a + total_2 * b)
You divide by the total. The values are a sum, and may be merged again: don't divide here.
## finished already
- values_1 * a + values_2 * b
+ (values_1 * a + values_2 * b) / (total_1 * a + total_2 * b).clamp(min=1.0)
You divide by the total, as `finish` does. The values are a sum, and may be merged again: don't
divide here.
## the mean of two results
- values_1 * a + values_2 * b → (values_1 * a + values_2 * b) / 2
You halve the values. They are sums: add them.
## a sum of logarithms
- return peak, total → peak = torch.logaddexp(peak_1, peak_2)
+ return peak, total
The peak is the larger of the two, nothing more.
## values and total exchanged
- return peak, total_1 * a + total_2 * b, values_1 * a + values_2 * b
+ return peak, values_1 * a + values_2 * b, total_1 * a + total_2 * b
The order is peak, total, values.
""",
    ),
    hints=(
        "A part's total is a sum of e^(score - its peak). To measure it from another peak p, "
        "multiply it by e^(its peak - p). The values likewise.",
        "p = torch.maximum of the two peaks; a and b are e^(peak - p) of the two; total = a · "
        "total + b · total, values = a · values + b · values.",
    ),
)

# --- skip_tiles -----------------------------------------------------------------------------------


def by_brute_force(T: int, S: int, rows: int, columns: int) -> list[tuple[int, int, bool]]:
    """Look at every entry of every tile: query t stands at position S - T + t."""
    found = []
    for i in range(0, T, rows):
        for j in range(0, S, columns):
            seen = [
                key <= S - T + t
                for t in range(i, min(i + rows, T))
                for key in range(j, min(j + columns, S))
            ]
            if any(seen):
                found.append((i, j, not all(seen)))
    return found


def up_to_the_diagonal(T: int, S: int, rows: int, columns: int) -> Any:
    """A right one."""
    tiles = []
    for i in range(0, T, rows):
        first, last = S - T + i, min(S - T + i + rows, S) - 1
        for j in range(0, S, columns):
            end = min(j + columns, S) - 1
            if j <= last:
                tiles.append((i, j, end > first))
    return tiles


def skipping(label: str, *sizes: int) -> Case:
    return call(label, *sizes, oracle=by_brute_force)


SKIP_TILES = Exercise(
    name="skip_tiles",
    lesson=LESSON,
    library=model.skip_tiles,
    minutes=8,
    difficulty=2,
    cases=(
        skipping("by hand", 4, 4, 2, 2),
        skipping("lower than wide", 12, 12, 2, 4),
        skipping("higher than wide", 12, 12, 4, 2),
        skipping("sizes that do not divide", 11, 11, 3, 4),
        skipping("a last band of one query", 5, 5, 4, 2),
        skipping("new tokens behind a cache", 6, 13, 2, 3),
        skipping("a single new token", 1, 10, 4, 4),
        skipping("one tile for all", 5, 5, 8, 9),
        skipping("tiles of one", 4, 6, 1, 1),
        skipping("wide tiles, many keys", 7, 20, 2, 6),
    ),
    mistakes=edits(
        up_to_the_diagonal,
        """
## the cache forgotten
- first, last = S - T + i, min(S - T + i + rows, S) - 1
+ first, last = i, min(i + rows, S) - 1
You take query i for position i. The queries are the last T of the S keys: query i stands at
S - T + i.
## nothing skipped
- if j <= last: → if True:
You keep all tiles. One whose first key comes after the last query of its band has nothing to see.
## the diagonal skipped
- if j <= last: → if end <= first:
You skip the tiles that the diagonal cuts. A part of them may be seen.
## skipped where the first query sees nothing
- if j <= last: → if j <= first:
You skip what the first query of a band can't see. The later ones of that band see further:
the last one decides.
## the key itself skipped
- if j <= last: → if j < last:
A query sees its own key too: a tile that begins exactly there is needed.
## one tile too many
- if j <= last: → if j <= last + 1:
A tile that begins one key behind the last query has nothing to see.
## behind the last key
- for j in range(0, S, columns):
+ for j in range(0, S - T + i + rows, columns):
- if j <= last: → if True:
The last band of queries may be smaller: its last query is the last key, S - 1. You go on behind it.
## a number for a truth value
- (i, j, end > first) → (i, j, int(end > first))
The third entry is 1 or 0: it should be `True` or `False`, as a comparison gives it.
## every tile cut
- (i, j, end > first) → (i, j, True)
You say that every tile needs a mask. One whose last key the first query may see needs none.
## no tile cut
- (i, j, end > first) → (i, j, False)
You say that no tile needs a mask. Where the last key is behind the first query, the diagonal cuts.
## cut by the last query
- (i, j, end > first) → (i, j, end > last)
You ask whether the last query sees the whole tile. The first one sees least: it decides.
## cut one key early
- (i, j, end > first) → (i, j, end >= first)
The first query sees its own key: a tile that ends exactly there is whole.
## cut where it is whole
- (i, j, end > first) → (i, j, end <= first)
That is the other way round: the third entry says that the diagonal cuts the tile.
## the last tile taken for a full one
- end = min(j + columns, S) - 1 → end = j + columns - 1
The last tile of a band may be narrower: its last key is S - 1 at most.
## numbers of tiles
- (i, j, end > first) → (i // rows, j // columns, end > first)
You count tiles. Asked for are the first query and the first key of each.
## keys first
- (i, j, end > first) → (j, i, end > first)
The first query comes first, then the first key.
## those that are skipped
- if j <= last: → if j > last:
Those are the tiles that are skipped. Asked for are those that are left.
## the last row missing
- for i in range(0, T, rows): → for i in range(0, T - rows + 1, rows):
The last band of queries is missing where T is no multiple of `rows`.
## the last column missing
- for j in range(0, S, columns): → for j in range(0, S - columns + 1, columns):
The last column of tiles is missing where S is no multiple of `columns`.
## rows and columns exchanged
- def up_to_the_diagonal(T: int, S: int, rows: int, columns: int) -> Any:
+ def up_to_the_diagonal(T: int, S: int, columns: int, rows: int) -> Any:
You exchange rows and columns: a tile has `rows` queries and `columns` keys.
""",
    ),
    hints=(
        "Two loops, `range(0, T, rows)` and `range(0, S, columns)`. As positions, the queries of "
        "band i are S - T + i and the next ones. Which of them sees furthest, and which least?",
        "A tile is needed if its first key is not behind the band's last query. It is cut if its "
        "last key is behind the band's first query.",
        "first = S - T + i; last = min(first + rows, S) - 1; needed: j <= last; cut: "
        "min(j + columns, S) - 1 > first.",
    ),
)

# --- flash_attention ------------------------------------------------------------------------------


def by_pytorch(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """PyTorch's operator with the table's mask; it knows no tiles."""
    T, S = q.shape[2], k.shape[2]
    seen = torch.arange(S) <= torch.arange(T)[:, None] + S - T if options.get("causal") else None
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True)


def heads(seed: int, B: int, H: int, G: int, T: int, S: int, D: int) -> tuple[Tensor, ...]:
    return random(seed, B, H, T, D), random(seed + 1, B, G, S, D), random(seed + 2, B, G, S, D)


def flashing(label: str, *sizes: int, **options: Any) -> Case:
    return call(label, *heads(len(label), *sizes), oracle=by_pytorch, **options)


@beside
def watched(candidate: Any, q: Tensor, k: Tensor, v: Tensor) -> list[Any]:
    """The result, whether a large tensor was made, and whether more was multiplied than needed."""
    with Watching() as seen:
        out = candidate(q, k, v, causal=True, rows=32, columns=16)
    if seen.fused:
        return [out, "PyTorch's operator did it", ""]
    H, T, D = q.shape[1:]
    needed = sum(2 * H * 32 * (i + 32) * D for i in range(0, T, 32))
    more = seen.products / needed
    return [
        out,
        SMALL
        if seen.numbers <= 4 * H * 32 * 16
        else f"a tensor of {seen.numbers:,} numbers was made",
        NEEDED if more < 1.01 else f"{more:.0%} of the products of these tiles were computed",
    ]


SMALL, NEEDED = "no tensor is larger than four tiles", "no tile too many"


def tile_by_tile(
    q: Any, k: Any, v: Any, *, causal: Any = False, rows: Any = 64, columns: Any = 64
) -> Any:
    """A right one."""
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    out = torch.zeros_like(q)
    for i in range(0, T, rows):
        n, first = min(rows, T - i), S - T + i
        some = q[:, :, i : i + n].reshape(B, G, -1, D) / math.sqrt(D)
        so_far: Any = None
        for j in range(0, min(S, first + n) if causal else S, columns):
            m = min(columns, S - j)
            visible = torch.ones(n, m, dtype=torch.bool)
            cut = causal and j + m - 1 > first
            if cut:
                visible = visible.tril(first - j)
            visible = visible.expand(B, H, n, m).reshape(B, G, -1, m)
            part = partial_attention(some, k[:, :, j : j + m], v[:, :, j : j + m], visible)
            so_far = part if so_far is None else merge(so_far, part)
        result = finish(so_far)
        out[:, :, i : i + n] = result.view(B, H, n, D)
    return out


def by_the_table(q: Any, k: Any, v: Any, **options: Any) -> Any:
    S, T = k.shape[2], q.shape[2]
    seen = torch.ones(T, S, dtype=torch.bool)
    return model.grouped_query_attention(q, k, v, seen.tril(S - T) if options["causal"] else seen)


def by_the_operator(q: Any, k: Any, v: Any, **options: Any) -> Any:
    return by_pytorch(q, k, v, **options)


def by_its_flag(q: Any, k: Any, v: Any, **options: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=options["causal"], enable_gqa=True)


LONG = heads(40, 1, 1, 1, 128, 128, 4)

FLASH_ATTENTION = Exercise(
    name="flash_attention",
    lesson=LESSON,
    library=model.flash_attention,
    minutes=15,
    difficulty=3,
    cases=(
        flashing("one head, one tile", 1, 1, 1, 4, 4, 2, causal=False, rows=4, columns=4),
        flashing("four tiles", 1, 1, 1, 4, 4, 2, causal=False, rows=2, columns=2),
        flashing("causal", 2, 2, 2, 12, 12, 4, causal=True, rows=4, columns=4),
        flashing("heads that share keys", 2, 6, 2, 9, 9, 4, causal=True, rows=2, columns=3),
        flashing("sizes that do not divide", 1, 3, 3, 11, 17, 5, causal=False, rows=4, columns=3),
        flashing("causal behind a cache", 1, 4, 2, 5, 16, 8, causal=True, rows=2, columns=4),
        flashing("not causal, fewer keys", 1, 2, 1, 9, 4, 4, causal=False, rows=4, columns=3),
        flashing("one new token", 2, 4, 2, 1, 30, 4, causal=True, rows=64, columns=8),
        trial(
            "a longer text, tiles of 32 by 16",
            watched,
            lambda q, k, v: [by_pytorch(q, k, v, causal=True), SMALL, NEEDED],
            *LONG,
        ),
    ),
    mistakes=(
        *edits(
            tile_by_tile,
            """
## not scaled
-  / math.sqrt(D)
The scores are not divided by √D: `partial_attention` expects queries that are.
## scaled by D
- / math.sqrt(D) → / D
You divide by D. It is √D.
## groups interleaved
- some = q[:, :, i : i + n].reshape(B, G, -1, D)
+ some = q[:, :, i : i + n].unflatten(1, (-1, G)).transpose(1, 2).reshape(B, G, -1, D)
Query heads 0, 1, … H/G - 1 share KV head 0, as in lesson 02: neighbours, not every G-th.
## keys repeated in the other order
- out = torch.zeros_like(q)
+ k, v = (x.repeat(1, H // G, 1, 1) for x in (k, v))
+ G, out = H, torch.zeros_like(q)
`repeat` lays the KV heads out as 0 1 0 1. Neighbours share one, 0 0 1 1: `repeat_interleave`; or
lay the query heads one below the other, and repeat nothing.
## the queries laid by position
- i : i + n].reshape → i : i + n].transpose(1, 2).reshape
The queries of one position lie together. Those of one head must, and then the next head's:
`q[:, :, i:i + n].reshape(B, G, -1, D)`.
## the causal rule ignored
- cut = causal and j + m - 1 > first → cut = False
- min(S, first + n) if causal else S → S
With `causal` a query must not see keys behind itself.
## always causal
- cut = causal and → cut =
You hide later keys without being asked: only with `causal`.
## tiles skipped, none masked
- if cut: → if False:
You skip the tiles above the diagonal, but those that it cuts need a mask too.
## none skipped
- min(S, first + n) if causal else S → S
The result is right, but tiles above the diagonal are computed and then hidden. Go through the
tiles of `skip_tiles`.
## tiles of another size
- out = torch.zeros_like(q)
+ rows = columns = 64
+ out = torch.zeros_like(q)
The result is right, but a tile has `rows` queries and `columns` keys: how large it may be is
for the caller to say.
## the causal mask at once
- for i in range(0, T, rows):
+ table = torch.ones(T, S, dtype=torch.bool).tril(S - T)
+ for i in range(0, T, rows):
- visible.tril(first - j) → table[i : i + n, j : j + m]
The result is right, but you make a mask of (T, S). Make that of a tile, where it is cut.
## the cache forgotten in the mask
- .tril(first - j) → .tril(i - j)
In the tiles that the diagonal cuts, query i stands at position S - T + i.
## the last keys dropped
- range(0, min(S, first + n) if causal else S, columns)
+ range(0, min(S // columns * columns or S, first + n if causal else S), columns)
The last tile of keys is missing where S is no multiple of `columns`.
## the last tile alone
- part if so_far is None else merge(so_far, part) → part
You keep the last tile alone: merge it with what came before.
## finished in between
- merge(so_far, part)
+ type(part)(part.peak, torch.ones_like(part.total), (finish(so_far) + finish(part)) / 2)
You average the results of the tiles. A tile with large scores counts more: merge, and finish once.
## not divided
- finish(so_far) → so_far.values
The values are never divided by their total: `finish` does it.
## the heads in another order
- result.view(B, H, n, D) → result.view(B, G, n, -1, D).transpose(2, 3).reshape(B, H, n, D)
The heads of the result are laid out otherwise than those of the queries: (B, G, H/G · n, D) is
(B, H, n, D) read in the same order.
## keys for values
- v[:, :, j : j + m], visible → k[:, :, j : j + m], visible
The weighted sum is one of the values, not of the keys.
""",
        ),
        Mistake(
            "the whole table",
            "The result is right, but you hold all scores at once: that is the attention of lesson "
            "02. Make no tensor larger than four tiles, no mask of (T, S) either.",
            by_the_table,
        ),
        Mistake(
            "the operator",
            "That is PyTorch's own operator: it is the oracle. Build it out of `partial_attention`, "
            "`merge` and `finish`.",
            by_the_operator,
        ),
        Mistake(
            "the operator with its flag",
            "That is PyTorch's own operator: it is the oracle. And its `is_causal` puts the "
            "diagonal into the upper left corner: right only where T = S.",
            by_its_flag,
        ),
    ),
    hints=(
        "For each band of queries: take them, go through the tiles of keys, make a part of each by "
        "`partial_attention`, merge it with the part so far; at the end `finish`.",
        "The queries of a band: `q[:, :, i:i + n].reshape(B, G, -1, D) / math.sqrt(D)`. A tile's "
        "mask has the same layout: `visible.expand(B, H, n, m).reshape(B, G, -1, m)`.",
        "`tiles = skip_tiles(T, S, rows, columns)` if causal, else all `(i, j, False)`. In a tile "
        "that is cut, `torch.ones(n, m, dtype=torch.bool, device=q.device).tril(S - T + i - j)` "
        "may be seen; in the others the mask is None.",
        "`parts[i] = merge(parts[i], part) if i in parts else part`, in a dict; at the end, for "
        "each i, `out[:, :, i:i + n] = finish(parts[i]).view(B, H, n, D)`.",
    ),
)

# --- traffic --------------------------------------------------------------------------------------


def counted(T: int, S: int, D: int, rows: int, columns: int) -> tuple[int, int]:
    """Brute force: every read and write of every tile that has something to see."""
    read = written = 0
    for i in range(0, T, rows):
        queries = range(i, min(i + rows, T))
        read += len(queries) * D
        for j in range(0, S, columns):
            keys = range(j, min(j + columns, S))
            if any(key <= S - T + t for t in (queries[0], queries[-1]) for key in (keys[0],)):
                read += 2 * len(keys) * D
        written += len(queries) * D
    return read, written


def by_rows(T: int, S: int, D: int, rows: int, columns: int) -> Any:
    """A right one."""
    keys = 0
    for i in range(0, T, rows):
        seen = min(S - T + i + rows, S)
        whole = math.ceil(seen / columns) * columns
        keys += min(whole, S)
    return T * D + 2 * keys * D, T * D


def moving(label: str, *sizes: int) -> Case:
    return call(label, *sizes, oracle=counted)


TRAFFIC = Exercise(
    name="traffic",
    lesson=LESSON,
    library=cost.traffic,
    minutes=7,
    difficulty=2,
    kind="stretch",
    cases=(
        moving("by hand", 4, 4, 8, 2, 2),
        moving("a prompt", 512, 512, 64, 128, 64),
        moving("sizes that do not divide", 100, 100, 16, 24, 36),
        moving("new tokens behind a cache", 40, 170, 8, 16, 32),
        moving("one new token", 1, 300, 64, 128, 64),
        moving("one tile for all", 9, 9, 4, 16, 16),
        moving("tiles of one", 6, 8, 3, 1, 1),
        moving("wide tiles", 37, 61, 5, 4, 50),
        moving("high tiles", 61, 67, 7, 50, 3),
    ),
    mistakes=edits(
        by_rows,
        """
## nothing skipped
- min(S - T + i + rows, S) → S
You read all keys for every band of queries. Those above the diagonal are skipped.
## keys alone
- 2 * keys * D → keys * D
You count the keys. The values are read too.
## each key once
- return T * D + 2 * keys * D → return T * D + 2 * S * D
You read every key and value once. Each band reads them again: fast memory is too small to
keep them.
## without the queries
- return T * D + 2 * keys * D → return 2 * keys * D
The queries are read too, each once.
## the queries for each tile
- keys = 0 → keys = queries = 0
- keys += min(whole, S)
+ keys += min(whole, S)
+ queries += min(rows, T - i) * (whole // columns)
- return T * D + 2 * keys → return queries * D + 2 * keys
A band of queries stays in fast memory while the keys go by: it is read once, not for each tile.
## whole bands
- keys = 0
+ keys, high = 0, math.ceil(T / rows) * rows
- return T * D + 2 * keys * D, T * D → return high * D + 2 * keys * D, high * D
You count whole bands of queries. The last one has fewer where T is no multiple of `rows`.
## the scores written
- , T * D → , T * D + T * S
The scores never leave the fast memory: that is the point.
## not whole tiles
- whole = math.ceil(seen / columns) * columns → whole = seen
You read only the keys that are seen. Tiles are read whole.
## only full tiles
- math.ceil(seen / columns) → (seen // columns)
You round the tiles of a band down. One that is begun is read.
## beyond the last key
- min(whole, S) → whole
The last tile ends with the last key: there is nothing to read behind it.
## the cache forgotten
- min(S - T + i + rows, S) → min(i + rows, S)
Query i stands at position S - T + i: it sees the keys in the cache too.
## by the first query
- min(S - T + i + rows, S) → min(S - T + i + 1, S)
You take what the first query of a band sees. The last one sees furthest.
## only full rows
- range(0, T, rows) → range(0, T - rows + 1, rows)
The last band of queries is missing where T is no multiple of `rows`.
## rows and columns exchanged
- def by_rows(T: int, S: int, D: int, rows: int, columns: int) -> Any:
+ def by_rows(T: int, S: int, D: int, columns: int, rows: int) -> Any:
You exchange rows and columns: keys and values are read once for each band.
## without the head dimension
- return T * D + 2 * keys * D, T * D → return T + 2 * keys, T
You count queries and keys. Each has D numbers.
## in bytes
- return T * D + 2 * keys * D, T * D → return 4 * (T * D + 2 * keys * D), 4 * T * D
Those are bytes of fp32. Asked for are numbers.
## in one sum
- 2 * keys * D, T * D → 2 * keys * D + T * D
Asked for are two numbers: what is read, and what is written.
## written, then read
- return T * D + 2 * keys * D, T * D → return T * D, T * D + 2 * keys * D
What is read comes first.
""",
    ),
    hints=(
        "Three things are read: the queries once; keys and values for every band. One is "
        "written: the result. How many keys does a band read?",
        "Go through `skip_tiles(T, S, rows, columns)`: each tile (i, j, …) reads "
        "min(columns, S - j) keys, and as many values.",
        "read = T · D + 2 · D · (the keys of all bands), written = T · D.",
    ),
)

EXERCISES = (ONLINE_SOFTMAX, MERGE, SKIP_TILES, FLASH_ATTENTION, TRAFFIC)
