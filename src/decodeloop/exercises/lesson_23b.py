"""Exercises of lesson 23b: weights of 8 bits, and attention over a cache in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import (
    Candidate,
    Case,
    ChangedInput,
    Exercise,
)
from decodeloop.exercises.lesson_23 import SEVEN, Array, into, normal, prange, scales, whole
from decodeloop.kernels import dequantize, quantize

LESSON = "23b_fewer_bytes"

# --- quantize -------------------------------------------------------------------------------------


def with_type(found: Any) -> Any:
    """A quantized matrix, its scales, and the type of the former.

    Raises:
        WrongType: the scales are floats of another type than fp32.
    """
    if isinstance(found, tuple | list) and len(found) == 2 and isinstance(found[0], Tensor):
        in_fp32(found[1], "the scales are")
        return [*found, "int8" if found[0].dtype == torch.int8 else "not int8"]
    return found


class WrongType(ChangedInput):
    """Numbers of another type than was asked for; as with a changed input, its message says all."""


def in_fp32(found: Any, what: str) -> None:
    """Refuse floats of another type than fp32; what is no float is wrong for another reason."""
    if isinstance(found, Tensor) and found.is_floating_point() and found.dtype != torch.float32:
        raise WrongType(
            f"{what} {found.dtype}: fp32 expected, as the kernel takes it (.float() gives it; "
            f".double() is 64 bits, .half() and .bfloat16() are 16)"
        )


def torch_quantize(weight: Tensor) -> list[Tensor]:
    """PyTorch's quantization as training imitates it, with one scale for each row."""
    peak = torch.tensor([max(abs(v) for v in row) for row in weight.tolist()])
    scale = torch.where(peak == 0, 1.0, peak / 127)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    imitated = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)
    return [(imitated / scale[:, None]).round().to(torch.int8), scale]


def zeros_apart(found: Any, zeros: Tensor) -> Any:
    """The scales of rows of zeros in words: of those that are wrong one is like another."""
    match with_type(found):
        case [numbers, Tensor() as scale, kind] if zeros.any() and scale.shape == zeros.shape:
            same = next((str(x) for x in (1, 0) if (scale[zeros] == x).all()), "another")
            return {
                "the matrix": numbers,
                "the scale of a row of zeros": same,
                "the other scales": scale[~zeros],
                "its type": kind,
            }
        case unlike:
            return unlike


def rounding(label: str, weight: Tensor) -> Case:
    zeros = (weight == 0).all(1)

    def run(candidate: Candidate) -> Any:
        lent = weight.clone()
        found = candidate(lent)
        if not torch.equal(lent, weight):
            raise ChangedInput("it changed the weight in place: the caller goes on with it")
        return zeros_apart(found, zeros)

    def expected() -> Any:
        return zeros_apart(torch_quantize(weight.clone()), zeros)

    return Case(label, run, expected, (weight,))


def row_by_row(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A right one."""
    peak = weight.abs().amax(1, keepdim=True)
    scale = peak / 127
    scale = torch.where(scale == 0, 1.0, scale)
    return torch.round(weight / scale).to(torch.int8), scale[:, 0]


# no quotient lies near a half, where the last bit would decide
ROWS = torch.tensor([[0.0, -2.54, 1.0], [0.635, 0.1, -0.3]])
SQUARE = torch.tensor([[1.0, -0.52, 0.3], [0.01, 0.0262, -0.02], [-30.0, 11.0, 44.0]])
NEGATIVE = torch.tensor([[-1.0, -0.5041, -0.25], [-3.0, 1.01, 2.2]])
ZEROS = torch.tensor([[0.0, 0.0], [1.27, -0.407], [0.0, 0.5]])
# its sum is 0, and all its numbers are not; and one so small that somebody might take it for zeros
NO_SUM = torch.tensor([[1.0, -1.0, 0.4, -0.4], [3e-7, -2e-7, 1.1e-7, 0.0]])
TINY_ROW = torch.tensor([[1e-6, -3e-7, 4.4e-7, 0.0], [100.0, 5.1, -77.7, 8.0]])

QUANTIZE = Exercise(
    name="quantize",
    lesson=LESSON,
    library=quantize,
    minutes=15,
    difficulty=2,
    tolerance=1e-7,
    cases=(
        rounding("the example on paper", ROWS),
        rounding("(3, 3), rows of very different sizes", SQUARE),
        rounding("rows whose largest magnitude is negative", NEGATIVE),
        rounding("a row of zeros", ZEROS),
        rounding("rows without a positive number", -SQUARE.abs()),
        rounding("a tiny row and a large one", TINY_ROW),
        rounding("a row that sums to zero, and a tiny one", NO_SUM),
        rounding("one number", torch.tensor([[-0.3]])),
    ),
    mistakes=edits(
        row_by_row,
        """
## a scale for each column
- amax(1, → amax(0,
- scale[:, 0] → scale[0]
Those are the largest magnitudes of the columns. A row shares a scale: take the maximum along the
row, dim=1, so that there are R of them.
## one scale for the whole matrix
- weight.abs().amax(1, keepdim=True) → weight.abs().max()
- scale[:, 0] → scale
One scale for the whole matrix: a row of small weights is rounded to zeros. Take the largest
magnitude of each row: abs().amax(1).
## the same scale for every row
- weight.abs().amax(1, keepdim=True) → weight.abs().max().expand(len(weight), 1)
All rows have the scale of the largest weight of the matrix: a row of small weights is rounded to
zeros. Take the largest magnitude of each row: abs().amax(1).
## cut off in place of rounded
- torch.round → torch.trunc
You cut the fraction off: .to(torch.int8) goes toward zero. Round first, and the error is half as
large.
## rounded down
- torch.round → torch.floor
You round down. The nearest whole number is .round(); down has twice the error, and always in one
direction.
## the largest without its magnitude
- weight.abs().amax → weight.amax
You take the largest number of a row, not the largest magnitude: -2.54 is larger than 1.0 here.
Without abs() such rows leave the range of 8 bits and wrap around.
## the magnitude of the largest
- weight.abs().amax(1, keepdim=True) → weight.amax(1, keepdim=True).abs()
You take the magnitude of the largest number of a row, not the largest of the magnitudes: abs() comes
first. -2.54 is larger than 1.0 here.
## the range instead of the magnitude
- weight.abs().amax(1, keepdim=True) → weight.amax(1, keepdim=True) - weight.amin(1, keepdim=True)
- / 127 → / 255
You divide the range from the least to the largest number by 255. The largest *magnitude* becomes
127: zero stays in the middle.
## 255
- / 127 → / 255
The largest magnitude becomes 255, and int8 ends at 127: it wraps around. Divide by 127.
## 63.5
- / 127 → / 63.5
The largest magnitude becomes 64, half of what 8 bits hold. Divide by 127.
## the mean magnitude
- weight.abs().amax → weight.abs().mean
You take the mean magnitude of a row. All that is larger leaves the range of 8 bits and wraps around:
take the largest, amax(1).
## rounded up
- torch.round → torch.ceil
You round up. The nearest whole number is .round(); up has twice the error, and always in one
direction.
## the magnitude for the scale
- scale[:, 0] → scale[:, 0] * 127
The whole numbers are right. But you give back the largest magnitudes: the scale is a 127th of them,
what the whole numbers are to be multiplied by.
## the scales not given back
- torch.round(weight / scale).to(torch.int8), scale[:, 0] → torch.round(weight / scale).to(torch.int8)
The whole numbers are right. Without the scales nobody knows what they stand for: return quantized,
scale.
## 128
- / 127 → / 128
The largest magnitude becomes 128, and int8 ends at 127: +128 wraps around to -128. Divide by 127.
## division by zero
- scale = torch.where(scale == 0, 1.0, scale)
Right but for a row of zeros: its scale is 0, and 0 / 0 is NaN. Let such a row have scale 1:
torch.where(scale == 0, 1.0, scale).
## a row of zeros has another scale
- scale = peak / 127
- scale = torch.where(scale == 0, 1.0, scale)
+ peak = torch.where(peak == 0, 1.0, peak)
+ scale = peak / 127
Right but for the scale of a row of zeros: it is 1, and yours is another, 1/127 or something small.
Replace the scale where it is 0, after the division by 127.
## no small scales
- scale = torch.where(scale == 0, 1.0, scale) → scale = scale.clamp(min=1e-8)
You let no scale be smaller than 1e-8 or so. A row of tiny weights then loses steps, and one of zeros
has another scale than 1: replace the scale where it *is* 0.
## the outputs exchanged
- torch.round(weight / scale).to(torch.int8), scale[:, 0]
+ scale[:, 0], torch.round(weight / scale).to(torch.int8)
Both are right, in the wrong order: first the int8 matrix, then the scales.
## not stored in 8 bits
- .to(torch.int8)
The numbers are right, but they are not stored in one byte each, so less is saved, or nothing. Add
.to(torch.int8).
## the scale with an axis too many
- scale[:, 0] → scale
Your scale is (R, 1). Divide by it in that shape, and give it back as (R,): scale[:, 0].
## rows and scales not lined up
- weight / scale → weight / scale[:, 0]
The quotient must have the scale as a column. (R, C) / (R,) lines the scales up with the columns:
it fails, or, where R = C, divides each column. Write weight / scale[:, None].
## the scale upside down
- scale[:, 0] → 1 / scale[:, 0]
The whole numbers are right. But the scale is what they are to be multiplied by: magnitude / 127,
not 127 / magnitude.
""",
    ),
    hints=(
        "Step by step: the largest magnitude of each row; the scale, one number for each row; the "
        "quotients; rounding; the type.",
        "weight.abs().amax(1) is (R,). Divided by 127 it is the scale; where that is 0, make it 1: "
        "torch.where(scale == 0, 1.0, scale).",
        "Rows are divided by scale[:, None], which is (R, 1): (weight / scale[:, None]).round()"
        ".to(torch.int8). Give back both: return quantized, scale.",
    ),
)

# --- dequantize -----------------------------------------------------------------------------------


def torch_dequantize(quantized: Tensor, scale: Tensor) -> Tensor:
    """By a diagonal matrix: the scale of each row, and nothing beside it."""
    return torch.diag(scale) @ quantized.float()


def back_to_floats(label: str, quantized: Tensor, scale: Tensor) -> Case:
    def run(candidate: Candidate) -> Any:
        lent = quantized.clone(), scale.clone()
        found = candidate(*lent)
        if not (torch.equal(lent[0], quantized) and torch.equal(lent[1], scale)):
            raise ChangedInput("it changed its arguments in place: the caller goes on with them")
        in_fp32(found, "the result is")
        return found

    def expected() -> Tensor:
        return torch_dequantize(quantized, scale)

    return Case(label, run, expected, (quantized, scale))


def bytes_of(*shape: int) -> Tensor:
    return torch.from_numpy(whole(*shape))


def scales_of(rows: int) -> Tensor:
    return torch.from_numpy(scales(rows))


def rows_times_scales(quantized: Tensor, scale: Tensor) -> Tensor:
    """A right one."""
    return quantized.float() * scale[:, None]


DEQUANTIZE = Exercise(
    name="dequantize",
    lesson=LESSON,
    library=dequantize,
    minutes=4,
    difficulty=1,
    cases=(
        back_to_floats(
            "the example on paper",
            torch.tensor([[0, -127, 50], [127, 20, -60]], dtype=torch.int8),
            torch.tensor([0.02, 0.005]),
        ),
        back_to_floats("(3, 3)", bytes_of(3, 3), scales_of(3)),
        back_to_floats("(5, 2)", bytes_of(5, 2), scales_of(5)),
        back_to_floats("(1, 4)", bytes_of(1, 4), scales_of(1)),
    ),
    mistakes=edits(
        rows_times_scales,
        """
## a scale for each column
- scale[:, None] → scale
The scales were spread along the columns: (3, 3) * (3,) multiplies columns. Each row has its own:
scale[:, None].
## divided by the scale
- * scale[:, None] → / scale[:, None]
You divide by the scale. The whole number times the scale gives the weight back.
## the scale forgotten
-  * scale[:, None]
Those are the whole numbers themselves, as floats. Multiply each row by its scale.
## cut to whole numbers
- quantized.float() * scale[:, None] → (quantized.float() * scale[:, None]).int()
The products have been made whole numbers again: most weights are smaller than 1 and become 0. Let
the result be floats.
## the scale cut to a whole number
- * scale[:, None] → * scale.int()[:, None]
You made the scale a whole number before multiplying: 0.02 becomes 0. Make the matrix a float one
instead.
## the largest scale for all
- scale[:, None] → scale.max()
Every row was multiplied by the largest of the scales. Each row has its own: scale[:, None].
## the mean scale for all
- scale[:, None] → scale.mean()
Every row was multiplied by the mean of the scales. Each row has its own: scale[:, None].
## divided by 127, too
- quantized.float() → quantized.float() / 127
You divide by 127. That is in the scale already: the whole number times the scale gives the weight.
## the scale added
- * scale[:, None] → + scale[:, None]
You add the scale: multiply.
## the scale of the first row for all
- scale[:, None] → scale[0]
Every row was multiplied by the first row's scale. Each row has its own: scale[:, None].
""",
    ),
    hints=(
        "Each row times its own scale. Which shape must the scale have, so that (R, C) times it "
        "multiplies rows?",
        "quantized.float() * scale[:, None].",
    ),
)

# --- attend ---------------------------------------------------------------------------------------


def attend(q: Array, keys: Array, values: Array, length: int, out: Array) -> None:
    """Attention of one new token over the first `length` positions of a cache, in one pass.

    Shapes: q (H, D), keys and values (G, S, D), length ≥ 1; written: out (H, D)
    """
    H, D = q.shape
    share = H // keys.shape[0]
    for h in prange(H):
        g = h // share
        peak, total = np.float32(-np.inf), np.float32(0)
        for d in range(D):
            out[h, d] = 0
        for s in range(length):
            score = np.float32(0)
            for d in range(D):
                score += q[h, d] * keys[g, s, d]
            score /= np.float32(math.sqrt(D))
            if score > peak:  # what was added up so far counts for less
                fade = np.exp(peak - score)
                total *= fade
                for d in range(D):
                    out[h, d] *= fade
                peak = score
            weight = np.exp(score - peak)
            total += weight
            for d in range(D):
                out[h, d] += weight * values[g, s, d]
        for d in range(D):
            out[h, d] /= total


def sdpa(q: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    found = F.scaled_dot_product_attention(
        q[None, :, None], keys[None, :, :length], values[None, :, :length], enable_gqa=True
    )
    return found[0, :, 0]


def cache_case(
    label: str, H: int, G: int, D: int, S: int, length: int, size: float = 1.0, spare: float = 1.0
) -> Case:
    """A cache whose positions from `length` on hold what nobody should read."""
    q, keys, values = normal(H, D, scale=size), normal(G, S, D, scale=size), normal(G, S, D)
    keys[:, length:] *= spare
    return into(label, q, keys, values, length, shape=(H, D), oracle=sdpa)


BY_HAND_CACHE = (
    np.array([[0, 2]], np.float32),
    np.array([[[1, 0], [0, 1], [1, 1]]], np.float32),
    np.array([[[1, 0], [0, 10], [5, 5]]], np.float32),
)
FAR_BELOW = (  # scores of exactly -1000, -999 and -1001.5
    np.array([[10, 1, 0, 0]], np.float32),
    np.array([[[-200, 0, 1, 0], [-200, 2, 0, 1], [-200, -3, 0, 0]]], np.float32),
    normal(1, 3, 4),
)

ATTEND = Exercise(
    name="attend",
    lesson=LESSON,
    library=attend,
    minutes=25,
    difficulty=3,
    kind="stretch",
    tolerance=1e-4,
    cases=(
        into("the token of lesson 01", *BY_HAND_CACHE, 3, shape=(1, 2), oracle=sdpa, filler=SEVEN),
        cache_case("3 heads with keys of their own, all of the cache", 3, 3, 5, 4, 4),
        cache_case("6 heads on 2, a cache that is half full", 6, 2, 4, 6, 3, spare=3.0),
        cache_case("4 heads on 1", 4, 1, 3, 5, 4),
        cache_case("one position", 2, 1, 4, 3, 1),
        cache_case("large scores", 4, 2, 6, 7, 6, size=12.0),
        into("all scores near -1000", *FAR_BELOW, 3, shape=(1, 4), oracle=sdpa),
    ),
    mistakes=edits(
        attend,
        """
## out not written
- H, D = q.shape
+ H, D = q.shape
+ out = np.zeros((H, D), np.float32)
`out` is as it was, NaN in most cases. The result is to be written into the array that you are
given, element by element: out[i] = … . A new array, returned, would be new memory in every step;
and `out = …` alone only gives the name to another array.
## out not started from zero
- peak, total =
+ held = [out[h, d] for d in range(D)]
+ peak, total =
- out[h, d] /= total → out[h, d] = held[d] + out[h, d] / total
You add to what `out` held before. Set all its D numbers to 0 before the first position, for each
head.
## out faded before it was set
- for d in range(D):
-     out[h, d] = 0
You never set out[h] to 0. Fading by e^(-∞) = 0 clears ordinary numbers, but what `out` holds is
nobody's: 0 · NaN is NaN. Set all D numbers of out[h] to 0 before the first position.
## the largest begins at 0
- np.float32(-np.inf) → np.float32(0)
Right where some score is near 0 or above. You begin with a largest score of 0, so scores near
-1000 all have weight e^-1000 = 0. Begin with np.float32(-np.inf).
## forgot 1/√D
- score /= np.float32(math.sqrt(D))
The scores are not scaled: divide each by √D, as in lesson 01.
## divided by D
- math.sqrt(D) → D
You divide the scores by D, not by its root.
## the largest not subtracted
- if score > peak: → if False:
- np.exp(score - peak) → np.exp(score)
Right for small scores. e^89 no longer fits into fp32: take exp(score - largest), and no
exponential is more than 1.
## the largest not subtracted, in 64 bits
- if score > peak: → if False:
- np.exp(score - peak) → np.exp(np.float64(score))
Right for small scores. You take exp(score) itself: large ones give numbers that fp32 can't hold
(inf), scores near -1000 give 0 / 0 (NaN). Take exp(score - largest): no exponential is then more
than 1.
## one position too many
- range(length) → range(length + 1)
You read position `length`, which is not there yet: the positions are 0 to length - 1,
range(length).
## one position too few
- range(length) → range(length - 1)
You leave out position length - 1, which is the newest: the token must see itself. range(length)
ends there.
## the whole cache
- range(length) → range(keys.shape[1])
You go through all S positions that there is room for. Only the first `length` have been written.
## heads shared in the wrong order
- h // share → h % keys.shape[0]
Heads 0 and 1 of 4 share KV head 0, 2 and 3 share KV head 1: g = h // (H // G). You take h % G,
which deals them out in turn.
## a KV head for each G heads
- h // share → h // keys.shape[0]
You divide h by G. H / G heads share a KV head, so head h reads g = h // (H // G).
## the last KV head for all
- h // share → keys.shape[0] - 1
Every head reads the last KV head. Head h reads g = h // (H // G).
## the first KV head for all
- h // share → 0
Every head reads the first KV head. Head h reads g = h // (H // G).
## not divided by the sum
- for d in range(D):
-     out[h, d] /= total
The weights don't sum to 1: divide all of out[h] by their sum, after the last position.
## keys in place of values
- weight * values[g, s, d] → weight * keys[g, s, d]
You mix the keys. They decide how much is taken; what is taken are the values.
## the fade upside down
- np.exp(peak - score) → np.exp(score - peak)
You multiply by exp(new - old), which makes what was added up so far count for more. It counts for
less: exp(old - new).
## divided by the number of positions
- out[h, d] /= total → out[h, d] /= length
You divide by the number of positions. Divide by the sum of the weights: then they sum to 1.
## the scores multiplied by √D
- score /= np.float32(math.sqrt(D)) → score *= np.float32(math.sqrt(D))
You multiply the scores by √D. Divide.
## the score for the weight
- np.exp(score - peak) → score
You take the score itself for the weight. It is exp(score - largest).
## nothing faded
- np.exp(peak - score) → 1
When a new largest score comes, all that was added up so far was weighted against the old one.
Multiply both the sum of weights and out[h] by exp(old - new).
## only the sum faded
- for d in range(D):
-     out[h, d] *= fade
When a new largest score comes you fade the sum of the weights, but not the values added up so far:
multiply out[h] by exp(old - new), too.
## only out faded
- total *= fade
When a new largest score comes you fade out[h], but not the sum of the weights: multiply it by
exp(old - new), too.
""",
    ),
    hints=(
        "A loop over heads, in it a loop over positions. For each head keep three things: the "
        "largest score so far, the sum of the weights, and out[h], the weighted values. What must out[h] "
        "be before the first position?",
        "share = H // G, and head h reads g = h // share. The score of position s is "
        "Σ_d q[h, d] · keys[g, s, d] / √D.",
        "If score > peak: fade = np.exp(peak - score); multiply total and all of out[h] by it; "
        "peak = score. Begin with peak = np.float32(-np.inf), for which fade is 0, and with "
        "out[h, d] = 0 for all d.",
        "Then weight = np.exp(score - peak); total += weight; out[h, d] += weight * values[g, s, d]. "
        "After the last position divide out[h] by total.",
    ),
)

EXERCISES = (
    QUANTIZE,
    DEQUANTIZE,
    ATTEND,
)
