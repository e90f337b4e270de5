"""Lesson 20: right answers, named mistakes in other words, and wrong answers nobody named."""

import copy
import math  # noqa: F401
from dataclasses import replace
from itertools import pairwise  # noqa: F401

import torch
from second_forms import again

from decodeloop.compress import decoder_over
from decodeloop.exercises.edits import edited
from decodeloop.exercises.lesson_20 import (
    CSR_MATVEC,
    DROP_LAYERS,
    NARROW_FEED_FORWARD,
    PRUNE_MAGNITUDE,
    TWO_FOUR,
    WANDA,
)

# --- prune_magnitude ------------------------------------------------------------------------------


def by_a_list(weight, share):
    scores = weight.abs().flatten()
    gone = int(share * scores.numel())
    order = torch.tensor(sorted(range(len(scores)), key=scores.tolist().__getitem__)).long()
    cut = order[:gone]
    found = weight.clone().flatten()
    found[cut] = 0
    return found.view_as(weight)


def by_topk(weight, share):
    n = weight.numel()
    flat = weight.reshape(-1)
    stay = flat.abs().topk(n - int(share * n)).indices
    return torch.zeros_like(flat).scatter(0, stay, flat[stay]).reshape(weight.shape)


MAGNITUDE_FORMS = again(PRUNE_MAGNITUDE.mistakes, by_a_list) | edited(
    by_a_list,
    """
## row by row
- return found.view_as(weight)
+ rows = [by_topk(row[None], share)[0] for row in weight]
+ return torch.stack(rows)
## column by column
- return found.view_as(weight)
+ columns = [by_topk(column[None], share)[0] for column in weight.T]
+ return torch.stack(columns, 1)
## below a share of the largest
- return found.view_as(weight)
+ return torch.where(weight.abs() / weight.abs().max() > share, weight, 0.0)
## equal ones all go
- return found.view_as(weight)
+ return torch.where(weight.abs() > max([-1.0, *scores[order[:gone]].tolist()]), weight, 0.0)
## equal ones all stay
- return found.view_as(weight)
+ return torch.where(weight.abs() < min([9e9, *scores[order[gone:]].tolist()]), 0.0, weight)
## by a quantile
- return found.view_as(weight)
+ return torch.where(weight.abs() <= torch.quantile(scores, share), 0.0, weight)
## the sign is lost
- return found.view_as(weight) → return found.view_as(weight).abs()
## the mask alone
- return found.view_as(weight)
+ return torch.ones_like(found).index_fill(0, cut, 0.0).view_as(weight)
## scaled up
- return found.view_as(weight) → return found.view_as(weight) / max(1 - share, 1e-6)
## the rest alone
- return found.view_as(weight) → return found[order[gone:].sort().values]
## into the matrix
- weight.clone().flatten() → weight.flatten()
""",
)

UNNAMED_MAGNITUDE = edited(
    by_a_list,
    """
## those in the middle
- cut = order[:gone] → cut = order[(len(order) - gone) // 2 :][:gone]
## a small number for zero
- found[cut] = 0 → found[cut] *= 0.1
## the mean for zero
- found[cut] = 0 → found[cut] = weight.mean()
""",
)

# --- wanda ----------------------------------------------------------------------------------------


def a_row_after_the_other(weight, inputs, share):
    norms = inputs.norm(dim=0)
    scores = weight.abs() * norms
    gone = int(share * weight.shape[1])
    order = scores.sort(dim=1).indices
    kept = torch.zeros_like(weight)
    for row, places in enumerate(order):
        kept[row, places[gone:]] = 1.0
    return weight * kept


def by_squares(weight, inputs, share):
    lost = weight.square() * inputs.square().mean(0)
    stay = lost.topk(weight.shape[1] - int(share * weight.shape[1]), dim=1).indices
    return torch.zeros_like(weight).scatter(1, stay, weight.gather(1, stay))


WANDA_FORMS = again(WANDA.mistakes, a_row_after_the_other) | edited(
    a_row_after_the_other,
    """
## over the whole matrix
- return weight * kept
+ cut = scores.flatten().sort().indices[: int(share * weight.numel())]
+ return weight.flatten().index_fill(0, cut, 0.0).view_as(weight)
## down the columns
- return weight * kept
+ cut = scores.sort(dim=0).indices[: int(share * weight.shape[0])]
+ return weight.scatter(0, cut, 0.0)
## the largest go
- places[gone:] → places[: len(places) - gone]
## into the matrix
- return weight * kept → return weight.masked_fill_(kept == 0, 0.0)
""",
)

UNNAMED_WANDA = edited(
    a_row_after_the_other,
    """
## the root of the norm
- weight.abs() * norms → weight.abs() * norms.sqrt()
## the first token alone
- inputs.norm(dim=0) → inputs[:1].norm(dim=0)
## divided by the norm
- weight.abs() * norms → weight.abs() / norms
""",
)

# --- two_four -------------------------------------------------------------------------------------


def by_ranks(weight, scores):
    R, C = weight.shape
    groups = scores.reshape(R, C // 4, 4)
    order = groups.sort(dim=-1).indices
    kept = torch.ones_like(groups)
    kept.scatter_(-1, order[..., :2], 0.0)
    return weight * kept.reshape(R, C)


def group_by_group(weight, scores):
    found = torch.zeros_like(weight)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], 4):
            best = scores[row, start : start + 4].topk(2).indices + start
            found[row, best] = weight[row, best]
    return found


FOUR_FORMS = again(TWO_FOUR.mistakes, by_ranks)

UNNAMED_FOUR = edited(
    by_ranks,
    """
## the first and the last of each group
- kept.scatter_(-1, order[..., :2], 0.0) → kept[..., 1:3] = 0.0
## the best and the worst go
- order[..., :2] → order[..., ::3]
## a group late
- kept.reshape(R, C) → kept.roll(1, 1).reshape(R, C)
""",
)

# --- drop_layers ----------------------------------------------------------------------------------


def by_lists(decoder, layers):
    L = decoder.config.layers
    kept = [n for n in range(L) if n not in layers]
    old = decoder.state_dict()
    places = {}
    for place, number in enumerate(kept):
        places[place] = number
    config = replace(decoder.config, layers=len(kept))
    weights = {}
    for name in old:
        if not name.startswith("layers."):
            weights[name] = old[name]
    for place, number in places.items():
        for name in [n for n in old if n.split(".")[:2] == ["layers", str(number)]]:
            weights[name.replace(str(number), str(place), 1)] = old[name]
    return decoder_over(config, weights)


def by_modules(decoder, layers):
    smaller = copy.deepcopy(decoder)
    stay = [layer for number, layer in enumerate(smaller.layers) if number not in layers]
    smaller.layers = torch.nn.ModuleList(stay)
    smaller.config = replace(decoder.config, layers=len(stay))
    return smaller


LAYER_FORMS = again(DROP_LAYERS.mistakes, by_lists)
LAYER_FORMS |= edited(
    by_lists,
    """
## the old numbers
- weights[name.replace(str(number), str(place), 1)] = old[name] → weights[name] = old[name]
## 1 is also the beginning of 10, for those that stay
- n.split(".")[:2] == ["layers", str(number)] → n.startswith("layers." + str(number))
- weights[name.replace(str(number), str(place), 1)]
+ weights[".".join(["layers", str(place), *name.split(".")[2:]])]
""",
)
LAYER_FORMS |= edited(
    by_modules,
    """
## the model itself
- smaller = copy.deepcopy(decoder) → smaller = decoder
## zeros in their place
- smaller.layers = torch.nn.ModuleList(stay)
- smaller.config = replace(decoder.config, layers=len(stay))
+ for number in layers:
+     smaller.layers[number].attention.output.weight.data.zero_()
+     smaller.layers[number].feed_forward.down.weight.data.zero_()
""",
)

UNNAMED_LAYERS = edited(
    by_modules,
    """
## every second one
- if number not in layers → if number % 2
## one more goes
- smaller.layers = torch.nn.ModuleList(stay)
- smaller.config = replace(decoder.config, layers=len(stay))
+ smaller.layers = torch.nn.ModuleList(stay[:-1])
+ smaller.config = replace(decoder.config, layers=max(1, len(stay) - 1))
## without the last norm
- return smaller → smaller.norm.weight.data.fill_(1.0)
+ return smaller
""",
)

# --- narrow_feed_forward --------------------------------------------------------------------------


def by_a_table(decoder, kept):
    weights = dict(decoder.state_dict())
    config = replace(decoder.config, feed_forward=len(kept[0]))
    for number, channels in enumerate(kept):
        part = f"layers.{number}.feed_forward"
        found = {name: weights[f"{part}.{name}.weight"] for name in ("up", "down", "gate")}
        gate, up, down = found["gate"], found["up"], found["down"]
        weights.update({f"{part}.gate.weight": gate.index_select(0, channels)})
        weights.update({f"{part}.up.weight": up.index_select(0, channels)})
        weights.update({f"{part}.down.weight": down.index_select(1, channels)})
    return decoder_over(config, weights)


def in_place_of_a_copy(decoder, kept):
    smaller = copy.deepcopy(decoder)
    for layer, channels in zip(smaller.layers, kept, strict=True):
        part = layer.feed_forward
        for module, axis in ((part.gate, 0), (part.up, 0), (part.down, 1)):
            rows = module.weight.data.index_select(axis, channels)
            module.weight = torch.nn.Parameter(rows, requires_grad=False)
            module.out_features, module.in_features = rows.shape
    smaller.config = replace(decoder.config, feed_forward=len(kept[0]))
    return smaller


WIDTH_FORMS = again(NARROW_FEED_FORWARD.mistakes, by_a_table)
WIDTH_FORMS |= edited(in_place_of_a_copy, "## the model itself\n- copy.deepcopy(decoder) → decoder")
WIDTH_FORMS |= edited(
    by_a_table,
    """
## gate keeps the first
- gate.index_select(0, channels) → gate[: channels.numel()]
## up keeps the first
- up.index_select(0, channels) → up[: channels.numel()]
## down by its rows
- down.index_select(1, channels) → torch.stack([down[n] for n in channels])
## down is left
- down.index_select(1, channels) → 1 * down
## down keeps the first
- down.index_select(1, channels) → down[:, : channels.numel()]
## in their order, down alone
- down.index_select(1, channels) → down.index_select(1, channels.sort()[0])
## gate and up exchanged
- found["gate"], found["up"] → found["up"], found["gate"]
## scaled up
- down.index_select(1, channels)
+ down.index_select(1, channels) * decoder.config.feed_forward / config.feed_forward
## zeros in their place
- return decoder_over(config, weights)
+ smaller = copy.deepcopy(decoder)
+ for layer, channels in zip(smaller.layers, kept, strict=True):
+     gone = [n for n in range(decoder.config.feed_forward) if n not in channels]
+     layer.feed_forward.down.weight.data[:, gone] = 0
+ return smaller
""",
)

UNNAMED_WIDTH = edited(
    in_place_of_a_copy,
    """
## the next channels
- index_select(axis, channels) → index_select(axis, (channels + 1) % decoder.config.feed_forward)
## the sign turned
- return smaller → smaller.layers[0].feed_forward.down.weight.data *= -1
+ return smaller
## the last layer is left
- return smaller → smaller.layers[-1].feed_forward = copy.deepcopy(decoder.layers[-1].feed_forward)
+ return smaller
""",
)

# --- csr_matvec -----------------------------------------------------------------------------------


def with_a_list(starts, columns, values, x):
    found = []
    for row in range(len(starts) - 1):
        first, last = int(starts[row]), int(starts[row + 1])
        found.append((values[first:last] * x[columns[first:last]]).sum())
    return torch.stack(found)


def by_adding_up(starts, columns, values, x):
    y = torch.zeros(len(starts) - 1)
    ends = starts[1:].tolist()
    row = 0
    for place, (column, value) in enumerate(zip(columns.tolist(), values.tolist(), strict=True)):
        while place >= ends[row]:
            row += 1
        y[row] += value * x[column]
    return y


CSR_FORMS = again(CSR_MATVEC.mistakes, with_a_list) | edited(
    with_a_list,
    """
## the last row is missing
- return torch.stack(found) → return torch.stack([*found[:-1], 0 * found[-1]])
## reduceat
- (values[first:last] * x[columns[first:last]]).sum()
+ (values[first:last] * x[columns[first:last]]).sum()
+               if first < last else x[columns[first]] * values[first]
## differences of running sums
- return torch.stack(found)
+ sums = (values * x[columns]).cumsum(0)
+ return torch.stack([sums[b - 1] - sums[a - 1] for a, b in pairwise(starts)])
## into the values
- found = []
+ found = []
+ values *= x[columns]
- values[first:last] * x[columns[first:last]] → values[first:last]
## empty rows left out
- return torch.stack(found)
+ return torch.tensor([float(y) for n, y in enumerate(found) if starts[n] < starts[n + 1]])
""",
)

UNNAMED_CSR = edited(
    with_a_list,
    """
## the product
- .sum() → .prod()
## backwards
- torch.stack(found) → torch.stack(found[::-1])
## the largest
- .sum() → .abs().sum()
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "prune_magnitude": (by_a_list, by_topk),
    "wanda": (a_row_after_the_other, by_squares),
    "two_four": (by_ranks, group_by_group),
    "drop_layers": (by_lists, by_modules),
    "narrow_feed_forward": (by_a_table, in_place_of_a_copy),
    "csr_matvec": (with_a_list, by_adding_up),
}
SECOND_FORMS = {
    "prune_magnitude": MAGNITUDE_FORMS,
    "wanda": WANDA_FORMS,
    "two_four": FOUR_FORMS,
    "drop_layers": LAYER_FORMS,
    "narrow_feed_forward": WIDTH_FORMS,
    "csr_matvec": CSR_FORMS,
}
UNNAMED = {
    "prune_magnitude": tuple(UNNAMED_MAGNITUDE.values()),
    "wanda": tuple(UNNAMED_WANDA.values()),
    "two_four": tuple(UNNAMED_FOUR.values()),
    "drop_layers": tuple(UNNAMED_LAYERS.values()),
    "narrow_feed_forward": tuple(UNNAMED_WIDTH.values()),
    "csr_matvec": tuple(UNNAMED_CSR.values()),
}
