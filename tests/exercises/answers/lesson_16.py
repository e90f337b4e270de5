"""Lesson 16: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

import torch

from decodeloop.exercises.edits import edited
from decodeloop.model.flash import Partial, finish, merge, partial_attention

LOWEST = torch.finfo(torch.float32).min

# --- online_softmax -------------------------------------------------------------------------------


def from_the_lowest(tiles):
    peak, total = torch.tensor(LOWEST), torch.tensor(0.0)
    for tile in tiles:
        largest = tile.max(dim=-1, keepdim=True).values
        higher = torch.where(largest > peak, largest, peak)
        total = total * torch.exp(peak - higher) + torch.exp(tile - higher).sum(-1, keepdim=True)
        peak = higher
    return peak, total


def column_by_column(tiles):
    peak, total = torch.tensor(LOWEST), torch.tensor(0.0)
    for tile in tiles:
        for score in tile.clone().unbind(-1):
            old, peak = peak, torch.maximum(peak, score[..., None])
            total = torch.exp(old - peak) * total + torch.exp(score[..., None] - peak)
    return [peak, total]


def all_at_once(tiles):
    whole = torch.cat([*tiles], dim=-1)
    peak = whole.max(-1, keepdim=True).values
    return peak, torch.exp(whole - peak).sum(-1, keepdim=True)


def in_two_passes(tiles):
    kept = [tile + 0 for tile in tiles]
    peak = torch.stack([tile.amax(-1) for tile in kept]).amax(0)[..., None].clamp(min=LOWEST)
    return peak, sum(torch.exp(tile - peak).sum(-1, keepdim=True) for tile in kept)


ONLINES = {
    "the tiles kept": all_at_once,
    "copies of the tiles kept": in_two_passes,
    **edited(
        from_the_lowest,
        """
## the sum not scaled down
- total * torch.exp(peak - higher) + → total +
## scaled the wrong way
- for tile in tiles: → for number, tile in enumerate(tiles):
- total * torch.exp(peak - higher) → (total * torch.exp(higher - peak) if number else 0.0)
## the peak of the tile
- torch.where(largest > peak, largest, peak) → largest.clamp(min=LOWEST)
## each tile against its own peak
- torch.exp(tile - higher) → torch.exp(tile - largest.clamp(min=LOWEST))
## begun at zero
- torch.tensor(LOWEST) → torch.tensor(0.0)
## nothing seen is not a number
- torch.tensor(LOWEST), → torch.tensor(-math.inf),
- total * torch.exp(peak - higher) + → total * torch.exp(peak - higher).nan_to_num(0) +
## nothing seen has the peak -inf
- return peak, total → return peak.masked_fill(total == 0, -math.inf), total
## nothing seen counts one
- torch.exp(tile - higher) → torch.exp(torch.where(tile < LOWEST, LOWEST, tile) - higher)
## one peak for all rows
- tile.max(dim=-1, keepdim=True).values → torch.full_like(tile[..., :1], tile.max().item())
## nothing subtracted
- torch.exp(tile - higher) → torch.exp(tile)
## scaled after adding
- total * torch.exp(peak - higher) + torch.exp(tile - higher).sum(-1, keepdim=True)
+ fade * (total + torch.exp(tile - higher).sum(-1, keepdim=True))
- for tile in tiles: → for number, tile in enumerate(tiles):
- higher = torch.where(largest > peak, largest, peak)
+ higher = torch.where(largest > peak, largest, peak)
+ fade = torch.exp(peak - higher) if number else 1.0
## the axis gone
- return peak, total → return peak.squeeze(-1), total.squeeze(-1)
## in the other order
- return peak, total → return (total, peak)
## the logarithm of the sum
- return peak, total → return peak, torch.log(total) + peak
## the last tile forgotten
- for tile in tiles: → tiles = [tile.clone() for tile in tiles]
+ for number, tile in enumerate(tiles):
+     if number and number + 1 == len(tiles):
+         break
""",
    ),
}

UNNAMED_ONLINES = edited(
    from_the_lowest,
    """
## the mean
- torch.exp(tile - higher).sum(-1 → torch.exp(tile - higher).mean(-1
## powers of two
- torch.exp(tile - higher) → torch.exp2(tile - higher)
## the share of the peak
- return peak, total → return peak, 1 / total
## the first tile twice
- peak = higher → total = total * 2 if float(peak.max()) == LOWEST else total
+ peak = higher
""",
)

# --- merge ----------------------------------------------------------------------------------------


def towards_the_larger(one, other):
    (a, b, c), (d, e, f) = one, other
    top = torch.where(a > d, a, d)
    first, second = torch.exp(a - top), torch.exp(d - top)
    return top, first * b + second * e, first * c + second * f


def stacked(one, other):
    peaks, totals, values = (torch.stack(pair) for pair in zip(one, other, strict=True))
    top = peaks.amax(0)
    scale = torch.exp(peaks - top)
    return [top, (scale * totals).sum(0), (scale * values).sum(0)]


MERGES = edited(
    stacked,
    """
## nothing scaled
- scale = torch.exp(peaks - top) → scale = 1.0
## the values not scaled
- (scale * values) → values
## the totals not scaled
- (scale * totals) → totals
## scaled the wrong way
- torch.exp(peaks - top) → 1 / torch.exp(peaks - top)
## the scales exchanged
- torch.exp(peaks - top) → torch.exp(peaks - top).flip(0)
## only the second scaled
- scale = torch.exp(peaks - top) → scale = torch.exp(peaks - top)
+ scale = torch.stack([torch.ones_like(top), scale[1]])
## only the first scaled
- scale = torch.exp(peaks - top) → scale = torch.exp(peaks - top)
+ scale = torch.stack([scale[0], torch.ones_like(top)])
## the peak of the first
- peaks.amax(0) → peaks[0]
## the smaller peak
- peaks.amax(0) → peaks.amin(0)
## the peak in between
- peaks.amax(0) → peaks.mean(0)
## one peak for all rows
- peaks.amax(0) → torch.zeros_like(peaks[0]) + peaks.max()
## one branch for all rows
- peaks.amax(0) → peaks[int(peaks[0].max() < peaks[1].max())]
## exponentials divided
- torch.exp(peaks - top) → torch.exp(peaks) / torch.exp(top)
## divided already
- (scale * values).sum(0)] → (scale * values).sum(0) / (scale * totals).sum(0)]
## finished already
- (scale * values).sum(0)] → (scale * values).sum(0) / (scale * totals).sum(0).clamp(min=1)]
## the mean of two results
- (scale * values).sum(0) → (scale * values).mean(0)
## a sum of logarithms
- return [top, → return [torch.logsumexp(peaks, 0),
## values and total exchanged
- return [top, (scale * totals).sum(0), (scale * values).sum(0)]
+ return [top, (scale * values).sum(0), (scale * totals).sum(0)]
""",
)

UNNAMED_MERGES = edited(
    towards_the_larger,
    """
## the first alone
- first * c + second * f → first * c
## the totals multiplied
- first * b + second * e → first * b * second * e
## half of each
- torch.exp(a - top), torch.exp(d - top) → torch.full_like(a, 0.5), torch.full_like(d, 0.5)
## scaled by the root
- torch.exp(a - top), torch.exp(d - top) → torch.exp((a - top) / 2), torch.exp((d - top) / 2)
""",
)

# --- skip_tiles -----------------------------------------------------------------------------------


def by_masks(T, S, rows, columns):
    mask = torch.ones(T, S).tril(S - T) > 0
    found = []
    for i in range(0, T, rows):
        for j in range(0, S, columns):
            tile = mask[i : i + rows, j : j + columns]
            if tile.any():
                found.append((i, j, not bool(tile.all())))
    return found


def by_bounds(T, S, rows, columns):
    past = S - T
    return [
        (i, j, min(S, j + columns) > past + i + 1)
        for i in range(0, T, rows)
        for j in range(0, min(S, past + i + rows), columns)
    ]


SKIPS = {
    **edited(
        by_bounds,
        """
## the cache forgotten
- past = S - T → past = 0
## nothing skipped
- range(0, min(S, past + i + rows), columns) → range(0, S, columns)
## behind the last key
- range(0, min(S, past + i + rows), columns) → range(0, past + i + rows, columns)
## a number for a truth value
- min(S, j + columns) > past + i + 1 → +(min(S, j + columns) > past + i + 1)
## the diagonal skipped
- range(0, min(S, past + i + rows), columns)
+ range(0, min(S, past + i + rows), columns) if min(S, j + columns) <= past + i + 1
## skipped where the first query sees nothing
- past + i + rows), columns) → past + i + 1), columns)
## the key itself skipped
- past + i + rows), columns) → past + i + rows, S) - 1, columns)
- range(0, min(S, → range(0, min(
## every tile cut
- min(S, j + columns) > past + i + 1 → 1 > 0
## no tile cut
- min(S, j + columns) > past + i + 1 → 1 < 0
## cut by the last query
- min(S, j + columns) > past + i + 1 → min(S, j + columns) > min(S, past + i + rows)
## cut one key early
- > past + i + 1 → > past + i
## cut where it is whole
- > past + i + 1 → < past + i + 2
## the last tile taken for a full one
- min(S, j + columns) > → j + columns >
## numbers of tiles
- (i, j, min → (int(i / rows), int(j / columns), min
## keys first
- (i, j, min → (j, i, min
## the last row missing
- range(0, T, rows) → range(0, T // rows * rows, rows)
""",
    ),
    **edited(
        by_masks,
        """
## one tile too many
- if tile.any(): → before = mask[i : i + rows, max(j - 1, 0) : j + columns]
+ if before.any():
## those that are skipped
- if tile.any(): → if tile.sum() == 0:
## the last column missing
- range(0, S, columns) → range(0, S // columns * columns, columns)
## rows and columns exchanged
- mask = torch → rows, columns = columns, rows
+ mask = torch
""",
    ),
}

UNNAMED_SKIPS = edited(
    by_bounds,
    """
## the last entry left out
- (i, j, min(S, j + columns) > past + i + 1) → (i, j)
## the first row of tiles missing
- range(0, T, rows) → range(rows, T, rows)
## from the right
- for j in range(0, min(S, past + i + rows), columns)
+ for j in range(0, min(S, past + i + rows), columns)[::-1]
## where they end
- (i, j, min → (i + rows, j + columns, min
""",
)

# --- flash_attention ------------------------------------------------------------------------------


def tiles_in_a_dict(q, k, v, *, causal=False, rows=64, columns=64):
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    sums = {}
    for i in range(0, T, rows):
        for j in range(0, S, columns):
            at = torch.arange(i, min(i + rows, T)) + S - T
            keys = torch.arange(j, min(j + columns, S))
            seen = torch.ones(len(at), len(keys)) > 0
            if causal:
                seen = keys <= at[:, None]
            if not seen.any():
                continue
            some = q[:, :, i : i + rows] * D**-0.5
            if G < H:
                some = some.unflatten(1, (G, -1)).flatten(2, 3)
                seen = seen.expand(B, H, -1, -1).unflatten(1, (G, -1)).flatten(2, 3)
            kt, vt = k[:, :, j : j + columns], v[:, :, j : j + columns]
            part = partial_attention(some, kt, vt, seen)
            sums[i] = merge(part, sums[i]) if i in sums else part
    out = torch.zeros(B, H, T, D)
    for i, whole in sums.items():
        out[:, :, i : i + rows] = finish(whole).reshape(B, H, -1, D)
    return out


def head_by_head(q, k, v, *, causal=False, rows=64, columns=64):
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    out = torch.empty_like(q)
    for h in range(H):
        kv = h // (H // G)
        for i in range(0, T, rows):
            some = q[:, h, i : i + rows] / math.sqrt(D)
            n = some.shape[1]
            low = torch.full((B, n, 1), LOWEST)
            so_far = Partial(low, torch.zeros(B, n, 1), torch.zeros(B, n, D))
            for j in range(0, S, columns):
                if causal and j >= S - T + i + n:
                    break
                key, value = k[:, kv, j : j + columns], v[:, kv, j : j + columns]
                visible = torch.ones(n, key.shape[1], dtype=torch.bool)
                if causal and j + key.shape[1] > S - T + i + 1:
                    visible = visible.tril(S - T + i - j)
                so_far = merge(so_far, partial_attention(some, key, value, visible))
            out[:, h, i : i + rows] = finish(so_far)
    return out


def scores_at_once(q, k, v, *, causal=False, rows=64, columns=64):
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    k, v = (x.repeat_interleave(H // x.shape[1], 1) for x in (k, v))
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        scores = scores.masked_fill(torch.ones(T, S, dtype=torch.bool).triu(S - T + 1), -math.inf)
    return scores.softmax(-1) @ v


def asked_of_pytorch(q, k, v, *, causal=False, rows=64, columns=64):
    T, S = q.shape[2], k.shape[2]
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T if causal else S)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)


def asked_by_the_flag(q, k, v, *, causal=False, rows=64, columns=64):
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, None, 0.0, causal)


FLASHES = {
    "the whole table": scores_at_once,
    "the operator": asked_of_pytorch,
    "the operator with its flag": asked_by_the_flag,
    **edited(
        head_by_head,
        """
## not scaled
-  / math.sqrt(D)
## scaled by D
- / math.sqrt(D) → / float(D)
## groups interleaved
- kv = h // (H // G)
+ kv = h // (H // G)
+ hq = h % (H // G) * G + kv
- some = q[:, h, → some = q[:, hq,
## keys repeated in the other order
- kv = h // (H // G) → kv = h % G
## the queries laid by position
- q[:, h, i : i + rows] → q[:, :, i : i + rows].transpose(1, 2).reshape(B, H, -1, D)[:, h]
## the causal rule ignored
- if causal and j >= → if False and j >=
- if causal and j + key → if False and j + key
## always causal
- if causal and j + key → if j + key
## tiles skipped, none masked
- if causal and j + key → if False and j + key
## none skipped
- if causal and j >= → if False and j >=
## tiles of another size
- out = torch.empty_like(q) → rows, columns, out = 64, 64, torch.empty_like(q)
## the causal mask at once
- out = torch.empty_like(q)
+ out, whole = torch.empty_like(q), torch.ones(T, S, dtype=torch.bool).tril(S - T)
- visible.tril(S - T + i - j) → whole[i : i + n, j : j + columns]
## the cache forgotten in the mask
- tril(S - T + i - j) → tril(i - j)
## the last keys dropped
- range(0, S, columns) → range(0, max(S // columns, S < columns) * columns or S, columns)
## the last tile alone
- so_far = merge(so_far, partial_attention(some, key, value, visible))
+ so_far = partial_attention(some, key, value, visible)
## finished in between
- so_far = merge(so_far, partial_attention(some, key, value, visible))
+ part = partial_attention(some, key, value, visible)
+ if j == 0:
+     so_far = part
+ else:
+     mean = finish(so_far) / 2 + finish(part) / 2
+     so_far = Partial(part.peak, torch.ones_like(part.total), mean)
## not divided
- finish(so_far) → so_far[2]
## the heads in another order
- kv = h // (H // G)
+ kv, n_all = h // (H // G), T
+ share = H // G
- out[:, h, i : i + rows] = finish(so_far)
+ done = finish(so_far)
+ for row in range(n):
+     place = (h % share) * n + row
+     out[:, kv * share + place % share, i + place // share] = done[:, row]
## keys for values
- v[:, kv, j : j + columns] → k[:, kv, j : j + columns]
""",
    ),
}

UNNAMED_FLASHES = edited(
    tiles_in_a_dict,
    """
## the largest part alone
- merge(part, sums[i]) → part if part.total.sum() > sums[i].total.sum() else sums[i]
## the causal rule strict
- keys <= at → keys < at
## rows of a tile reversed
- finish(whole).reshape → finish(whole).flip(-2).reshape
## one head for all
- kt, vt = k → k, v = k[:, :1].expand_as(k), v[:, :1].expand_as(v)
+ kt, vt = k
""",
)

# --- traffic --------------------------------------------------------------------------------------


def traffic_in_a_loop(T, S, D, rows, columns):
    read = T * D
    for i in range(0, T, rows):
        last = S - T + min(i + rows, T) - 1
        for j in range(0, S, columns):
            if j <= last:
                read += 2 * D * (min(j + columns, S) - j)
    return read, D * T


def traffic_by_sums(T, S, D, rows, columns):
    ends = [min(T, i + rows) + S - T for i in range(0, T, rows)]
    keys = sum(min(S, (end + columns - 1) // columns * columns) for end in ends)
    return [D * (T + 2 * keys), T * D]


TRAFFICS = {
    **edited(
        traffic_in_a_loop,
        """
## nothing skipped
- if j <= last: → if j < S:
## keys alone
- read += 2 * D → read += D
## without the queries
- read = T * D → read = 0
## the queries for each tile
- read = T * D → read = 0
- read += 2 * D * (min(j + columns, S) - j)
+ read += D * (len(range(T)[i : i + rows]) + 2 * (min(j + columns, S) - j))
## whole bands
- read = T * D → whole = D * rows * len(range(0, T, rows))
+ read = whole
- return read, D * T → return read, whole
## the scores written
- return read, D * T → return read, T * (D + S)
## not whole tiles
- (min(j + columns, S) - j) → (min(j + columns, last + 1) - j)
## only full tiles
- if j <= last: → if j + columns <= last + 1:
- (min(j + columns, S) - j) → columns
## beyond the last key
- (min(j + columns, S) - j) → columns
## the cache forgotten
- last = S - T + min(i + rows, T) - 1 → last = i + rows - 1
## by the first query
- last = S - T + min(i + rows, T) - 1 → last = S - T + i
## only full rows
- range(0, T, rows) → range(0, T // rows * rows, rows)
## rows and columns exchanged
- read = T * D → rows, columns = columns, rows
+ read = T * D
## without the head dimension
- read = T * D → D = 1
+ read = T
## in bytes
- return read, D * T → return read * 4, D * T * 4
## in one sum
- return read, D * T → return read + D * T
## written, then read
- return read, D * T → return D * T, read
""",
    ),
    **edited(
        traffic_by_sums,
        """
## each key once
- 2 * keys → 2 * S
""",
    ),
}

UNNAMED_TRAFFICS = edited(
    traffic_by_sums,
    """
## half of it
- 2 * keys), T → keys), T
- D * (T + → D * (T / 2 +
## the values three times
- 2 * keys → 3 * keys
## by the middle query
- min(T, i + rows) + S - T → min(T, i + rows // 2 + 1) + S - T
## nothing written
- , T * D] → , 0]
""",
)

# --- the tables -----------------------------------------------------------------------------------


RIGHT = {
    "online_softmax": (from_the_lowest, column_by_column),
    "merge": (towards_the_larger, stacked),
    "skip_tiles": (by_masks, by_bounds),
    "flash_attention": (tiles_in_a_dict, head_by_head),
    "traffic": (traffic_in_a_loop, traffic_by_sums),
}
SECOND_FORMS = {
    "online_softmax": ONLINES,
    "merge": MERGES,
    "skip_tiles": SKIPS,
    "flash_attention": FLASHES,
    "traffic": TRAFFICS,
}
UNNAMED = {
    "online_softmax": tuple(UNNAMED_ONLINES.values()),
    "merge": tuple(UNNAMED_MERGES.values()),
    "skip_tiles": tuple(UNNAMED_SKIPS.values()),
    "flash_attention": tuple(UNNAMED_FLASHES.values()),
    "traffic": tuple(UNNAMED_TRAFFICS.values()),
}
