"""Exercises of lesson 19: weights, nibbles, activations and a cache in fewer bits, and GPTQ."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from decodeloop import compress
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, trial

LESSON = "19_quantization"


def drawn(seed: int, *shape: int, size: float = 1.0, middle: float = 0.0) -> Tensor:
    """Normal numbers, the same on every machine."""
    draw = random.Random(seed)
    numbers = [draw.gauss(middle, size) for _ in range(math.prod(shape))]
    return torch.tensor(numbers).view(shape)


def near_steps(
    seed: int, first: int, last: int, *shape: int, off: float = 0.3, ends: int = 1
) -> Tensor:
    """Whole numbers from first to last, each off by 0.1 to `off`, so that whatever way the step is
    found, they are rounded alike; in each row of the last axis one end occurs exactly, or both."""
    draw = random.Random(seed)
    numbers = torch.empty(shape)
    for row in numbers.view(-1, shape[-1]):
        for place in range(shape[-1]):
            by = draw.choice((-1, 1)) * draw.uniform(0.1, off) if off else 0.0
            row[place] = draw.randint(first, last) + by
        row.clamp_(first, last)
        places = draw.sample(range(shape[-1]), min(ends, shape[-1]))
        for place, end in zip(places, draw.sample((first, last), len(places)), strict=True):
            row[place] = end
    return numbers


def powers_of_two(seed: int, *shape: int) -> Tensor:
    """One of 1/4 to 4 for each row of an axis that follows: products with them are exact."""
    draw = random.Random(seed)
    return torch.tensor([2.0 ** draw.randint(-2, 2) for _ in range(math.prod(shape))]).view(
        *shape, 1
    )


def told(whole: Tensor, *others: Tensor) -> list[Any]:
    """What is returned, and of which types."""
    return [whole, *others, *(str(x.dtype) for x in (whole, *others))]


def zeros_told(found: list[Any]) -> list[Any]:
    """Besides, which steps are 0: one that is nearly 0 is so within the tolerance."""
    return [*found, found[1] == 0]


# --- quantize_groups ------------------------------------------------------------------------------


def symmetric_by_pytorch(weight: Tensor, bits: int, group: int) -> list[Any]:
    """By `torch.fake_quantize_per_channel_affine`, a channel being a group."""
    n = 2 ** (bits - 1) - 1
    rows = weight.reshape(-1, group)
    step = torch.stack([row.abs().max() / n for row in rows])
    some = torch.where(step == 0, 1.0, step)
    none = torch.zeros(len(some), dtype=torch.int32)
    near = torch.fake_quantize_per_channel_affine(rows, some, none, 0, -n, n)
    whole = (near / some[:, None]).round().to(torch.int8).view(weight.shape)
    return told(whole, step.view(len(weight), -1))


def symmetric(label: str, weight: Tensor, bits: int, group: int) -> Case:
    return trial(
        label,
        lambda candidate, *inputs: zeros_told(told(*candidate(*inputs))),
        lambda *inputs: zeros_told(symmetric_by_pytorch(*inputs)),
        weight,
        bits,
        group,
    )


def by_groups(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """A right one."""
    n = 2 ** (bits - 1) - 1
    groups = weight.view(len(weight), -1, group)
    step = groups.abs().amax(-1, keepdim=True) / n
    ratio = torch.where(step == 0, 0.0, groups / step)
    whole = ratio.round().to(torch.int8)
    return whole.view(weight.shape), step[..., 0]


def both_ways(
    label: str, seed: int, bits: int, *shape: int, size: float = 1.0, first: int | None = None
) -> Case:
    """Groups of numbers around 0, or from `first` up; the shape is (R, groups, group)."""
    n = 2 ** (bits - 1) - 1
    ends = 1 if first is None else 2
    groups = near_steps(seed, -n if first is None else first, n, *shape, ends=ends)
    groups *= size * powers_of_two(seed, *shape[:-1])
    return symmetric(label, groups.flatten(1), bits, shape[-1])


SOME_ZEROS = near_steps(7, -7, 7, 3, 2, 4).flatten(1) / 4
SOME_ZEROS[1, 4:] = 0.0
SOME_ZEROS[2, :4] = 0.0
BELOW = -near_steps(8, 3, 7, 3, 1, 8, ends=2).flatten(1) / 8

QUANTIZE_GROUPS = Exercise(
    name="quantize_groups",
    lesson=LESSON,
    library=compress.quantize_groups,
    minutes=9,
    difficulty=1,
    cases=(
        symmetric("by hand", torch.tensor([[1.0, -3.5, 0.6, 1.75]]), 4, 2),
        both_ways("4 bits, groups of 4", 1, 4, 6, 3, 4, size=0.5),
        both_ways("8 bits, a step a row", 2, 8, 5, 1, 20, size=2**-9),
        both_ways("3 bits, more rows than columns", 3, 3, 16, 2, 2, size=2**-5),
        both_ways("2 bits", 4, 2, 4, 3, 3),
        both_ways("one step for a whole matrix", 5, 4, 1, 1, 30, size=16.0),
        both_ways("groups of one", 6, 5, 2, 5, 1),
        symmetric("groups of zeros", SOME_ZEROS, 4, 4),
        symmetric("all below 0", BELOW, 4, 8),
        both_ways("as many groups as columns in one", 9, 4, 4, 4, 4),
        both_ways("all far above 0", 10, 6, 4, 2, 4, size=0.25, first=20),
        both_ways("tiny ones", 25, 4, 3, 2, 4, size=2**-60),
    ),
    mistakes=edits(
        by_groups,
        """
## the sign of the largest
- groups.abs().amax → groups.amax
Your step follows the largest *number*. The largest *magnitude* may be a negative one: `abs()` first.
## one number too many
- 2 ** (bits - 1) - 1 → 2 ** (bits - 1)
With 2^(bits − 1) the largest becomes 8 in 4 bits, and signed 4 bits end at 7. It is one less.
## twice as many numbers
- 2 ** (bits - 1) - 1 → 2**bits - 1
2^bits − 1 numbers are there in all, on *both* sides of 0. To one side there are 2^(bits − 1) − 1.
## cut off
- ratio.round() → ratio.trunc()
You cut off what stands behind the point: 6.9 becomes 6. Round to the nearest.
## always down
- ratio.round() → ratio.floor()
You round down. Round to the nearest.
## always up
- ratio.round() → ratio.ceil()
You round up. Round to the nearest.
## a step for each row
- groups.abs().amax(-1, keepdim=True) / n → groups.abs().amax((1, 2), keepdim=True).expand(-1, groups.shape[1], 1) / n
All groups of a row share a step in yours. Each group has its own: the largest along the last axis of
(R, groups, group).
## one step for all
- groups.abs().amax(-1, keepdim=True) / n
+ groups.abs().amax().expand(*groups.shape[:2], 1) / n
The whole matrix has one step in yours. Each group has its own.
## every so manyth column
- weight.view(len(weight), -1, group) → weight.view(len(weight), group, -1).mT
- whole.view(weight.shape) → whole.mT.reshape(weight.shape)
Your groups hold every so manyth column. Neighbours share a step: the last axis is the group.
## the range from end to end
- groups.abs().amax(-1, keepdim=True) / n
+ (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / (2 * n)
You spread the numbers from the smallest to the largest. Symmetric means from −largest to largest.
## the middle size
- groups.abs().amax(-1, keepdim=True) / n → groups.abs().mean(-1, keepdim=True) / n
The mean magnitude becomes n in yours, and the larger ones leave the range. It is the largest.
## floats
- .round().to(torch.int8) → .round()
The whole numbers are still floats, of 32 bits each. `.to(torch.int8)`.
## back again
- whole.view(weight.shape), step[..., 0] → (whole * step).view(weight.shape), step[..., 0]
You have multiplied again: these are weights, not the whole numbers.
## in the other order
- return whole.view(weight.shape), step[..., 0] → return step[..., 0], whole.view(weight.shape)
The whole numbers come first, then the steps.
## a step where nothing is
- step[..., 0] → torch.where(step == 0, 1.0, step)[..., 0]
A group of zeros has a step of 0; yours is 1.
## no step below a floor
- step = groups.abs().amax(-1, keepdim=True) / n
+ step = (groups.abs().amax(-1, keepdim=True) / n).clamp(min=1e-8)
Your step is never below some small number. That of a group of zeros is 0, and that of tiny weights
is tiny: ask whether it is 0, and only where you divide.
## divided by no less than a floor
- torch.where(step == 0, 0.0, groups / step) → groups / step.clamp(min=1e-8)
You divide by no less than some small number, and tiny weights, whose step is smaller, all become 0.
Ask whether the step *is* 0.
## still in groups
- whole.view(weight.shape) → whole
The whole numbers are to have the shape of the weight, (R, C).
## an axis too many
- step[..., 0] → step
The steps are (R, C / group): drop their last axis.
## the inverse
- step[..., 0] → 1 / step[..., 0]
You return one over the step. A weight is its whole number *times* the step.
""",
    ),
    hints=(
        "`weight.view(len(weight), -1, group)` has the groups along its last axis.",
        "The step is the largest magnitude of a group over n: `groups.abs().amax(-1, keepdim=True)`.",
        "`(groups / step).round().to(torch.int8)`; where the step is 0 that divides by 0: "
        "`torch.where(step == 0, 0.0, groups / step)`. Then `.view(weight.shape)`.",
    ),
)

# --- quantize_asymmetric --------------------------------------------------------------------------


def asymmetric_by_pytorch(weight: Tensor, bits: int, group: int) -> list[Any]:
    """The ends of each group one by one; the numbers by `torch.fake_quantize_per_tensor_affine`."""
    n, parts, steps, zeros = 2**bits - 1, [], [], []
    for row in weight.reshape(-1, group):
        low, high = min(0.0, float(row.min())), max(0.0, float(row.max()))
        step = (high - low) / n
        zero = round(-low / step) if step else 0
        near = torch.fake_quantize_per_tensor_affine(row, step or 1.0, zero, 0, n)
        parts.append((near / (step or 1.0)).round() + zero)
        steps.append(step)
        zeros.append(zero)
    shape = (len(weight), -1)
    whole = torch.stack(parts).view(weight.shape).to(torch.uint8)
    zero_points = torch.tensor(zeros, dtype=torch.uint8).view(shape)
    return told(whole, torch.tensor(steps).view(shape), zero_points)


def asymmetric(label: str, weight: Tensor, bits: int, group: int) -> Case:
    return trial(
        label,
        lambda candidate, *inputs: zeros_told(told(*candidate(*inputs))),
        lambda *inputs: zeros_told(asymmetric_by_pytorch(*inputs)),
        weight,
        bits,
        group,
    )


def largest_one(label: str, weight: Tensor, bits: int) -> Case:
    """The largest whole number of each row alone: whichever way halves are rounded, it is n."""
    return trial(
        label,
        lambda candidate, *inputs: candidate(*inputs)[0].amax(-1),
        lambda *inputs: asymmetric_by_pytorch(*inputs)[0].amax(-1),
        weight,
        bits,
        weight.shape[1],
    )


def around_0(
    label: str, seed: int, bits: int, zero: float, *shape: int, size: float = 1.0, off: float = 0.3
) -> Case:
    """Groups of numbers from -zero to n - zero steps; the shape is (R, groups, group)."""
    groups = near_steps(seed, 0, 2**bits - 1, *shape, off=off, ends=2) - zero
    groups *= size * powers_of_two(seed, *shape[:-1])
    return asymmetric(label, groups.flatten(1), bits, shape[-1])


def with_zero_points(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """A right one."""
    n = 2**bits - 1
    groups = weight.view(len(weight), -1, group)
    low = groups.amin(-1, keepdim=True).clamp(max=0)
    high = groups.amax(-1, keepdim=True).clamp(min=0)
    step = (high - low) / n
    inverse = torch.where(step == 0, 0.0, 1 / step)
    zero = (-low * inverse).round()
    whole = ((groups * inverse).round() + zero).clamp(0, n)
    return whole.to(torch.uint8).view(weight.shape), step[..., 0], zero.to(torch.uint8)[..., 0]


# Off by 0.3 where the zero point is off by 0.3, too: rounded together they are another number.
APART = near_steps(26, 0, 15, 4, 2, 5, off=0, ends=2)
APART = (APART + 0.3 * ((APART > 0) & (APART < 15)) - 8.7).flatten(1)
ABOVE = near_steps(14, 5, 15, 3, 2, 4, ends=2).flatten(1) / 8
NO_NUMBERS = (near_steps(15, 0, 15, 3, 2, 4, ends=2).flatten(1) - 6) / 4
NO_NUMBERS[0, :4] = 0.0
NO_NUMBERS[2] = 0.0

QUANTIZE_ASYMMETRIC = Exercise(
    name="quantize_asymmetric",
    lesson=LESSON,
    library=compress.quantize_asymmetric,
    minutes=10,
    difficulty=2,
    kind="stretch",
    cases=(
        asymmetric("by hand", torch.tensor([[-1.0, 0.1, 6.5, 3.2]]), 4, 4),
        around_0("4 bits, groups of 4", 11, 4, 6, 6, 3, 4, size=0.5),
        around_0("8 bits, a step a row", 12, 8, 99.7, 5, 1, 20, size=2**-7, off=0.15),
        around_0("2 bits, more rows than columns", 13, 2, 1, 16, 2, 3),
        around_0("4 bits, 0 a little off", 19, 4, 8.7, 4, 2, 5, off=0.15),
        around_0("4 bits, off the other way", 20, 4, 5.3, 4, 2, 5, off=0.15),
        asymmetric("all above 0", ABOVE, 4, 4),
        asymmetric("all below 0", -ABOVE, 4, 8),
        around_0("mostly above 0", 16, 5, 2, 4, 2, 8, size=2**-4),
        asymmetric("groups of zeros", NO_NUMBERS, 4, 4),
        asymmetric("groups of one", torch.tensor([[7.0, -3.5, 0.0], [1.75, 14.0, -7.0]]), 3, 1),
        around_0("one step for a whole matrix", 18, 4, 11, 1, 1, 30, size=64.0),
        asymmetric("what two roundings add up to", APART, 4, 5),
        largest_one("the largest, 4 bits", torch.tensor([[-1.5, 13.5, 3.2, 0.1]]) / 4, 4),
        largest_one("the largest, 8 bits", torch.tensor([[-1.5, 253.5, 7.2, 0.1]]) / 64, 8),
        around_0("tiny ones", 27, 4, 6, 3, 2, 4, size=2**-60),
    ),
    mistakes=edits(
        with_zero_points,
        """
## 0 need not be there
- low = groups.amin(-1, keepdim=True).clamp(max=0)
- high = groups.amax(-1, keepdim=True).clamp(min=0)
+ low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
- (-low * inverse).round() → (-low * inverse).round().clamp(0, n)
Where a group lies on one side of 0, its range must be stretched to 0: else no whole number stands
for 0, and the zero point would be below 0 or above n.
## one end stretched
- .clamp(min=0)
- (-low * inverse).round() → (-low * inverse).round().clamp(0, n)
You stretch the range to 0 from below. Where all numbers are below 0, its upper end must be 0, too.
## the other end stretched
- .clamp(max=0)
- (-low * inverse).round() → (-low * inverse).round().clamp(0, n)
You stretch the range to 0 from above. Where all numbers are above 0, its lower end must be 0, too.
## as many steps as numbers
- (high - low) / n → (high - low) / (n + 1)
Between 2^bits numbers there are 2^bits − 1 steps.
## half of the numbers
- n = 2**bits - 1 → n = 2 ** (bits - 1) - 1
2^(bits − 1) − 1 is the symmetric end. From 0 to n there is room for all 2^bits numbers.
## symmetric
- (high - low) / n → torch.maximum(high, -low) / (n // 2)
Your step is that of a symmetric range. Here it is the largest minus the smallest, over n.
## the zero point forgotten
- (groups * inverse).round() + zero → (groups * inverse).round()
What is below 0 has become 0. Add the zero point to the rounded numbers: it shifts them to 0 and up.
## the zero point taken off
- (groups * inverse).round() + zero → (groups * inverse).round() - zero
You subtract the zero point when quantizing. That is for the way back; here it is added.
## the smallest in place of the zero point
- zero.to(torch.uint8)[..., 0] → low[..., 0]
You return the smallest number itself. The zero point is the *whole number* that stands for 0.
## cut off
- ((groups * inverse).round() → ((groups * inverse).trunc()
You cut off what stands behind the point. Round to the nearest.
## shifted, then rounded down
- ((groups * inverse).round() + zero) → (groups * inverse + zero).floor()
You round down. Round to the nearest.
## rounded together
- (groups * inverse).round() + zero → ((groups - low) * inverse).round()
You round w / s and the zero point together. Round w / s by itself, and add the zero point, which is
rounded already: else 0 is not where the zero point says.
## not clamped
- ((groups * inverse).round() + zero).clamp(0, n) → (groups * inverse).round() + zero
Where both roundings go up, the largest number becomes n + 1. Clamp to 0 … n.
## clamped too late
- ((groups * inverse).round() + zero).clamp(0, n) → (groups * inverse).round() + zero
- whole.to(torch.uint8) → whole.to(torch.uint8).clamp(0, n)
You clamp what is `torch.uint8` already: there 256 has become 0. Clamp first, then `.to(torch.uint8)`.
## the zero point rounded down
- (-low * inverse).round() → (-low * inverse).floor()
You round the zero point down. It, too, is the nearest whole number.
## a step for each row
- low = groups → low = groups.flatten(1)[:, None].expand(-1, groups.shape[1], -1)
- high = groups → high = groups.flatten(1)[:, None].expand(-1, groups.shape[1], -1)
All groups of a row share a step in yours. Each group has its own.
## signed
- whole.to(torch.uint8) → (whole - 2 ** (bits - 1)).to(torch.int8)
Yours go from −2^(bits − 1). Here they begin at 0, and are `torch.uint8`.
## floats
- whole.to(torch.uint8) → whole
- zero.to(torch.uint8)[..., 0] → zero[..., 0]
The whole numbers and zero points are still floats. `.to(torch.uint8)`.
## the zero point second
- step[..., 0], zero.to(torch.uint8)[..., 0] → zero.to(torch.uint8)[..., 0], step[..., 0]
The order is: whole numbers, steps, zero points.
## a step where nothing is
- step[..., 0] → torch.where(step == 0, 1.0, step)[..., 0]
A group of zeros has a step of 0; yours is 1.
## no step below a floor
- step = (high - low) / n → step = ((high - low) / n).clamp(min=1e-8)
Your step is never below some small number. That of a group of zeros is 0, and that of tiny weights
is tiny: ask whether it is 0, and only where you divide.
## divided by no less than a floor
- torch.where(step == 0, 0.0, 1 / step) → 1 / step.clamp(min=1e-8)
You divide by no less than some small number, and tiny weights, whose step is smaller, all become 0.
Ask whether the step *is* 0.
""",
    ),
    hints=(
        "The ends of each group: `amin` and `amax` along the last axis of (R, groups, group), the "
        "lower one at most 0, the upper one at least 0.",
        "The step is the distance of the ends over n, the zero point `(-low / step).round()`.",
        "`((groups / step).round() + zero).clamp(0, n)`. Where the step is 0, multiply by 0 in place "
        "of 1 / step: `torch.where(step == 0, 0.0, 1 / step)`.",
    ),
)

# --- pack_int4 ------------------------------------------------------------------------------------


def in_python(whole: Tensor) -> list[Any]:
    """Byte by byte, by Python's remainders: -1 % 16 is 15."""
    rows = whole.reshape(-1, whole.shape[-1]).tolist()
    packed = [
        [a % 16 + 16 * (b % 16) for a, b in zip(row[::2], row[1::2], strict=True)] for row in rows
    ]
    shape = (*whole.shape[:-1], whole.shape[-1] // 2)
    return told(torch.tensor(packed, dtype=torch.uint8).view(shape))


def nibbles(seed: int, *shape: int) -> Tensor:
    """Whole numbers from -8 to 7, the same on every machine."""
    draw = random.Random(seed)
    numbers = [draw.randint(-8, 7) for _ in range(math.prod(shape))]
    return torch.tensor(numbers, dtype=torch.int8).view(shape)


def packing(label: str, whole: Tensor) -> Case:
    return trial(label, lambda candidate, whole: told(candidate(whole)), in_python, whole)


def by_shifting(whole: Tensor) -> Tensor:
    """A right one."""
    first = whole[..., ::2].to(torch.uint8)
    second = whole[..., 1::2].to(torch.uint8)
    return (first & 15) | (second << 4)


PACK_INT4 = Exercise(
    name="pack_int4",
    lesson=LESSON,
    library=compress.pack_int4,
    minutes=4,
    difficulty=1,
    cases=(
        packing("by hand", torch.tensor([[1, 2, -1, 7]], dtype=torch.int8)),
        packing("all that there are", torch.arange(-8, 8).to(torch.int8)),
        packing("a matrix", nibbles(21, 6, 8)),
        packing("more rows than columns", nibbles(22, 9, 2)),
        packing("groups of a matrix", nibbles(23, 3, 2, 4)),
        packing("no number below 0", nibbles(24, 4, 6).abs().clamp(max=7)),
    ),
    mistakes=edits(
        by_shifting,
        """
## the lower half not masked
- (first & 15) → first
A negative number has ones in all of its upper bits, and they run over its neighbour. Keep the lower
four: `& 15`.
## the first in the upper half
- whole[..., ::2].to(torch.uint8)
- second = whole[..., 1::2].to(torch.uint8)
+ whole[..., 1::2].to(torch.uint8)
+ second = whole[..., ::2].to(torch.uint8)
The first of the two belongs into the lower half of the byte, the second into the upper one.
## halves of a row together
- whole[..., ::2] → whole.chunk(2, -1)[0]
- whole[..., 1::2] → whole.chunk(2, -1)[1]
You put column c and column c + C/2 together. *Neighbours* share a byte: 0 and 1, 2 and 3, …
## the sign lost
- whole[..., ::2].to → whole[..., ::2].abs().to
- whole[..., 1::2].to → whole[..., 1::2].abs().to
The sign is lost. `& 15` keeps the lower four bits of a negative number, and its sign is among them.
## 8 added
- whole[..., ::2] → (whole[..., ::2] + 8)
- whole[..., 1::2] → (whole[..., 1::2] + 8)
You add 8 to all numbers. Some formats do; here a nibble is the lower four bits as they are.
## what is negative becomes 0
- whole[..., ::2] → whole[..., ::2].clamp(min=0)
- whole[..., 1::2] → whole[..., 1::2].clamp(min=0)
What is below 0 has become 0. Turn it into `torch.uint8` first, which keeps its bits, then mask.
## shifted by three
- (second << 4) → ((second & 15) << 3)
A nibble has four bits: shift by 4.
## shifted by eight
- (second << 4) → (second << 4 << 4)
You shift by more than half a byte: the second number falls out. Shift by 4.
## not shifted
- (second << 4) → (second & 15)
Both stand in the lower half. Shift the second by 4.
## and, not or
- (first & 15) | → (first & 15) &
`&` keeps what both have, which is nothing. `|` puts the two halves together.
## the second twice
- whole[..., ::2] → whole[..., 1::2]
Both halves hold the second of the two.
## two rows in a byte
- whole[..., ::2].to(torch.uint8)
- second = whole[..., 1::2].to(torch.uint8)
+ whole.mT[..., ::2].mT.to(torch.uint8) if whole.ndim > 1 else whole[::2].to(torch.uint8)
+ second = whole.mT[..., 1::2].mT.to(torch.uint8) if whole.ndim > 1 else whole[1::2].to(torch.uint8)
You put two *rows* together. The neighbours of a row share a byte.
## along the second axis
- whole[..., ::2].to → whole[:, ::2].to
- whole[..., 1::2].to → whole[:, 1::2].to
You take every second along axis 1. Neighbours stand along the *last* axis, however many there are
before it: `[..., ::2]`.
## a signed byte
- return (first & 15) | (second << 4) → return ((first & 15) | (second << 4)).view(torch.int8)
The bits are right; the type is to be `torch.uint8`.
## not packed
- return (first & 15) | (second << 4) → return whole.to(torch.uint8) & 15
Each number still has a byte of its own. Put two in one.
""",
    ),
    hints=(
        "The first of each two neighbours is `whole[..., ::2]`, the second `whole[..., 1::2]`.",
        "`.to(torch.uint8)` keeps the bits of a negative number: -1 becomes 255. `& 15` keeps the "
        "lower four: 15.",
        "`first & 15 | second << 4`, where both are uint8.",
    ),
)

# --- smooth ---------------------------------------------------------------------------------------


def channel_by_channel(
    source: Tensor, weights: Sequence[Tensor], largest: Tensor, strength: float = 0.5
) -> list[Any]:
    """In Python's numbers, a channel at a time."""
    source, weights = source.clone(), [weight.clone() for weight in weights]
    for c, top in enumerate(largest.tolist()):
        read = max(abs(x) for weight in weights for x in weight[:, c].tolist())
        if top > 0 and read > 0:
            factor = top**strength / read ** (1 - strength)
            source[c] /= factor
            for weight in weights:
                weight[:, c] *= factor
    return [source, *weights]


def smoothing(
    label: str, source: Tensor, weights: list[Tensor], largest: Tensor, *strength: float
) -> Case:
    def run(candidate: Any, *inputs: Any) -> list[Any]:
        divided, multiplied = candidate(*inputs)
        return [divided, *multiplied]

    return trial(label, run, channel_by_channel, source, weights, largest, *strength)


def by_factors(
    source: Tensor, weights: Sequence[Tensor], largest: Tensor, strength: float = 0.5
) -> tuple[Tensor, list[Tensor]]:
    """A right one."""
    read = torch.cat(list(weights)).abs().amax(0)
    factor = largest**strength / read ** (1 - strength)
    used = (largest > 0) & (read > 0)
    factor = torch.where(used, factor, torch.ones_like(factor))
    divided = source / factor.view(-1, *[1] * (source.ndim - 1))
    return divided, [weight * factor for weight in weights]


def tops(seed: int, C: int) -> Tensor:
    """Largest magnitudes of channels, one of them an outlier."""
    found = drawn(seed, C).abs() + 0.1
    found[C // 2] *= 100
    return found


UNREAD = [drawn(47, 4, 5), drawn(48, 2, 5)]
for one in UNREAD:
    one[:, 1] = 0.0
UNREAD[1][:, 4] = 0.0  # read by the other one
NEVER = tops(49, 5)
NEVER[3] = 0.0
HARDLY, FAINT = drawn(29, 3, 4), tops(30, 4)
HARDLY[:, 1] *= 2**-40
FAINT[3] = 2**-40

SMOOTH = Exercise(
    name="smooth",
    lesson=LESSON,
    library=compress.smooth,
    minutes=12,
    difficulty=2,
    tolerance=1e-4,
    cases=(
        smoothing(
            "by hand", torch.ones(2), [torch.tensor([[1.0, 1.0]])], torch.tensor([16.0, 1.0])
        ),
        smoothing("a norm and one matrix", drawn(31, 6), [drawn(32, 4, 6)], tops(33, 6)),
        smoothing(
            "a norm and three matrices",
            drawn(34, 8),
            [drawn(35, 4, 8), drawn(36, 2, 8, size=3.0), drawn(37, 8, 8)],
            tops(38, 8),
        ),
        smoothing("a matrix before", drawn(39, 6, 6), [drawn(40, 3, 6)], tops(41, 6)),
        smoothing("a wide one before", drawn(42, 5, 9), [drawn(43, 4, 5)], tops(44, 5)),
        smoothing("gently", drawn(45, 6), [drawn(46, 6, 6)], tops(33, 6), 0.25),
        smoothing("the weights alone", drawn(50, 4), [drawn(51, 3, 4)], tops(52, 4), 0.0),
        smoothing("the channels alone", drawn(53, 4), [drawn(54, 3, 4)], tops(55, 4), 1.0),
        smoothing("what is always 0, and what nobody reads", drawn(56, 5), UNREAD, NEVER),
        smoothing("the same, the weights alone", drawn(60, 5), UNREAD, NEVER, 0.0),
        smoothing("the same, the channels alone", drawn(64, 5), UNREAD, NEVER, 1.0),
        smoothing("what is nearly 0", drawn(69, 4), [HARDLY], FAINT),
        smoothing("one channel", drawn(57, 1), [drawn(58, 3, 1)], tops(59, 1), 0.75),
    ),
    mistakes=edits(
        by_factors,
        """
## the strength on the other side
- largest**strength / read ** (1 - strength) → largest ** (1 - strength) / read**strength
You have the two powers exchanged. A strength of 1 makes the *channels* alike: largest^strength.
## both sides divided
- [weight * factor for → [weight / factor for
You divide the channel, and the weights, too. What is taken from one side must go into the other.
## the wrong way round
- source / factor.view → source * factor.view
- [weight * factor for → [weight / factor for
You make the outlier channels larger. They are divided, and the weights multiplied.
## the source stays
- divided = source / factor.view(-1, *[1] * (source.ndim - 1)) → divided = source
The weights are multiplied, but nothing is divided: the product has changed.
## the weights stay
- [weight * factor for weight → [weight for weight
The channels are divided, but the weights stay: the product has changed.
## one matrix says
- torch.cat(list(weights)).abs().amax(0) → weights[0].abs().amax(0)
Your factor looks at the first matrix alone. It is the largest weight of a column over *all* that
read it.
## each matrix by its own
- return divided, [weight * factor for weight in weights]
+ own = [largest**strength / weight.abs().amax(0) ** (1 - strength) for weight in weights]
+ own = [torch.where((largest > 0) & weight.any(0), f, 1.0) for weight, f in zip(weights, own)]
+ return divided, [weight * f for weight, f in zip(weights, own, strict=True)]
Each of your matrices has a factor of its own, but the channel that they read is divided only once:
the factor must be the same for all.
## the first matrix alone
- [weight * factor for weight in weights] → [weights[0] * factor, *weights[1:]]
Only the first matrix is multiplied. All of them read the channel.
## a mean
- .abs().amax(0) → .abs().mean(0)
You take the mean magnitude of a column. It is the largest one that sets the step.
## a sum
- .abs().amax(0) → .abs().sum(0)
You add up the magnitudes of a column. It is the largest one that sets the step.
## the largest number
- .abs().amax(0) → .amax(0).abs()
The largest magnitude may be a negative number: `abs()` first.
## the weights don't count
- largest**strength / read ** (1 - strength) → largest**strength
You divide by the channel's size alone. The weights of its column count, too:
/ read^(1 − strength).
## multiplied powers
- largest**strength / read → largest**strength * read
Divide the two powers: a column of large weights leaves less room for the channel's size.
## always half
- largest**strength / read ** (1 - strength) → (largest / read).sqrt()
Yours is √(largest / read), which is right for a strength of a half alone.
## nothing is guarded
- used = (largest > 0) & (read > 0)
+ used = torch.ones_like(read) > 0
A channel that is always 0, or that no weight reads, gives a factor of 0 or infinity. It stays as it
is: a factor of 1.
## only the zeros of the channels
- (largest > 0) & (read > 0) → largest > 0
A column of zeros gives a factor of infinity. Where no weight reads a channel, it stays as it is.
## only the columns of zeros
- (largest > 0) & (read > 0) → read > 0
A channel that is always 0 gives a factor of 0, and you divide by it. It stays as it is.
## repaired afterwards
- used = (largest > 0) & (read > 0)
+ used = factor.isfinite() & (factor > 0)
You look at f whether it is 0 or infinite. With a strength of 0 or 1 one of the two powers is
0 ** 0 = 1, and f looks sound. Ask the two maxima.
## a floor under the maxima
- largest**strength / read ** (1 - strength)
+ largest.clamp(min=1e-5) ** strength / read.clamp(min=1e-5) ** (1 - strength)
- used = (largest > 0) & (read > 0)
+ used = torch.ones_like(read) > 0
A floor under the maxima gives channels of 0 a factor all the same, and what is nearly 0 another one.
f is 1 where one of the two maxima *is* 0.
## one factor for all
- factor = torch.where(used, factor, torch.ones_like(factor))
+ factor = torch.where(used, factor, torch.ones_like(factor)).mean().expand_as(factor)
All channels are divided by the same number: nothing has become smoother.
## along the other axis
- source / factor.view(-1, *[1] * (source.ndim - 1)) → source / factor
A matrix before makes channel c by its *row* c. You divide its columns: `factor[:, None]`.
""",
    ),
    hints=(
        "`torch.cat(list(weights)).abs().amax(0)` is the largest weight of each column, over all "
        "matrices.",
        "factor = largest^strength / read^(1 − strength), (C,); 1 where either of the two is 0.",
        "`weight * factor` multiplies columns. The source is divided along its first axis: "
        "`source / factor` if it is (C,), `source / factor[:, None]` if it is (C, K).",
    ),
)

# --- quantize_cache -------------------------------------------------------------------------------


def slice_by_slice(x: Tensor, bits: int, dim: int) -> list[Any]:
    """In Python's numbers, those that share a step at a time; 16 bits by way of a tensor."""
    n = 2**bits - 1

    def half(number: float) -> float:
        return float(torch.tensor(number).half())

    moved = x.movedim(dim, -1)
    wholes, steps, lows = [], [], []
    for numbers in moved.reshape(-1, moved.shape[-1]).tolist():
        low = half(min(numbers))
        step = half((max(numbers) - low) / n)
        near = [round((number - low) / step) if step else 0 for number in numbers]
        wholes.append([min(n, max(0, k)) for k in near])
        steps.append(step)
        lows.append(low)
    whole = torch.tensor(wholes, dtype=torch.uint8).view(moved.shape).movedim(-1, dim)
    shape = whole.amax(dim, keepdim=True).shape
    halves = [torch.tensor(y).half().view(shape) for y in (steps, lows)]
    return told_cache(whole, *halves)


def told_cache(whole: Tensor, step: Tensor, low: Tensor) -> list[Any]:
    return [whole, step, low, *(str(y.dtype) for y in (whole, step, low))]


def caching(label: str, x: Tensor, bits: int, dim: int) -> Case:
    return trial(
        label,
        lambda candidate, *inputs: told_cache(*candidate(*inputs)),
        slice_by_slice,
        x,
        bits,
        dim,
    )


def along_an_axis(x: Tensor, bits: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """A right one."""
    n = 2**bits - 1
    low = x.amin(dim, keepdim=True).half()
    step = ((x.amax(dim, keepdim=True) - low.float()) / n).half()
    ratio = torch.where(step == 0, 0.0, (x - low.float()) / step.float())
    whole = ratio.round().clamp(0, n)
    return whole.to(torch.uint8), step, low


def of_slices(seed: int, bits: int, *shape: int) -> Tensor:
    """Steps and lows that 16 bits hold; along the last axis both ends occur."""
    numbers = near_steps(seed, 0, 2**bits - 1, *shape, ends=2) - 12
    return numbers / 16 * powers_of_two(seed, *shape[:-1])


ALIKE = of_slices(66, 4, 2, 3, 6)
ALIKE[1, 2] = 0.5
ALIKE[0, :, 4] = -2.0
NO_HALF = torch.tensor([[1000.3, 1003.1, 1001.4, 1002.1]])  # 16 bits have 1000 and 1000.5
NO_STEP = torch.tensor([[0.0, 255.122, 200.547, 100.2]])  # a step of 1.00048, and 16 bits have 1
SMALLEST = near_steps(70, 0, 7, 2, 5, ends=2) * 2**-24
SMALLEST[1] = torch.tensor([0.0, 9.8, 3.1, 5.2, 1.9]) * 2**-24  # the step is rounded down by far
LARGE_CHANNEL = of_slices(63, 8, 1, 2, 4, 7) * torch.tensor([1.0, 0.25, 64.0, 2.0])[:, None]

QUANTIZE_CACHE = Exercise(
    name="quantize_cache",
    lesson=LESSON,
    library=compress.quantize_cache,
    minutes=8,
    difficulty=2,
    cases=(
        caching("by hand", torch.tensor([[-1.0, 0.1, 6.5]]), 4, -1),
        caching("values by token", of_slices(61, 4, 2, 3, 5, 8), 4, -1),
        caching("keys by channel", of_slices(62, 4, 2, 3, 8, 5).mT, 4, -2),
        caching("keys with a large channel", LARGE_CHANNEL.mT, 8, -2),
        caching("2 bits, by an axis from the front", of_slices(65, 2, 3, 2, 6).mT, 2, 1),
        caching("some are all alike", ALIKE, 4, -1),
        caching("alike for all tokens", ALIKE.mT, 4, -2),
        caching("all above 0", of_slices(67, 4, 3, 9) + 4, 4, -1),
        caching("one token", of_slices(68, 4, 2, 1, 6), 4, -1),
        caching("a whole channel of one token", torch.tensor([[[0.5, -3.0, 4.25]]]), 4, -2),
        caching("a smallest that 16 bits don't hold", NO_HALF, 4, -1),
        caching("a step that 16 bits don't hold", NO_STEP, 8, -1),
        caching("a step that 16 bits make 0", 2**-20 + torch.tensor([1e-8, 1e-6, 4e-6]), 8, 0),
        caching("the smallest step of 16 bits", SMALLEST, 3, -1),
    ),
    mistakes=edits(
        along_an_axis,
        """
## always by token
- x.amin(dim → x.amin(-1
- x.amax(dim → x.amax(-1
You always go along the last axis. `dim` says along which: -2 for keys, whose channels share a step.
## always by channel
- x.amin(dim → x.amin(-2
- x.amax(dim → x.amax(-2
You always go along the last axis but one. `dim` says along which: -1 for values.
## one step for all
- x.amin(dim, keepdim=True) → x.amin().expand_as(x.amin(dim, keepdim=True))
- x.amax(dim, keepdim=True) → x.amax()
All numbers share a step in yours. Only those along `dim` do.
## stretched to 0
- x.amin(dim, keepdim=True) → x.amin(dim, keepdim=True).clamp(max=0)
You stretch the range to 0, as for a zero point. Here the smallest number itself is kept.
## symmetric
- x.amin(dim, keepdim=True).half() → (-x.abs().amax(dim, keepdim=True)).half()
Your range begins at minus the largest magnitude. It begins at the smallest number.
## as many steps as numbers
- low.float()) / n).half() → low.float()) / (n + 1)).half()
Between 2^bits numbers there are 2^bits − 1 steps.
## half of the numbers
- 2**bits - 1 → 2 ** (bits - 1) - 1
From 0 to 2^bits − 1 there is room for all of them: there is no sign.
## cut off
- ratio.round() → ratio.floor()
You round down. Round to the nearest.
## always up
- ratio.round() → ratio.ceil()
You round up. Round to the nearest.
## in 32 bits
- low = x.amin(dim, keepdim=True).half()
- step = ((x.amax(dim, keepdim=True) - low.float()) / n).half()
+ low = x.amin(dim, keepdim=True)
+ step = (x.amax(dim, keepdim=True) - low) / n
Steps and lows are still in 32 bits: with one for each token they would weigh as much as the numbers.
`.half()`.
## the low in 32 bits
- x.amin(dim, keepdim=True).half() → x.amin(dim, keepdim=True)
The smallest number is still in 32 bits. `.half()`.
## rounded to 16 bits at the end
- low = x.amin(dim, keepdim=True).half()
- step = ((x.amax(dim, keepdim=True) - low.float()) / n).half()
+ low = x.amin(dim, keepdim=True)
+ step = (x.amax(dim, keepdim=True) - low) / n
- return whole.to(torch.uint8), step, low → return whole.to(torch.uint8), step.half(), low.half()
Your whole numbers are right for a step and a smallest number that are not the ones kept. Round these
two to 16 bits first, and go on with what has become of them.
## the step rounded at the end
- low.float()) / n).half() → low.float()) / n)
- return whole.to(torch.uint8), step, low → return whole.to(torch.uint8), step.half(), low
Your whole numbers are found with the step in 32 bits. Round it to 16 first, and divide by what is
kept.
## the step from the smallest as it was
- (x.amax(dim, keepdim=True) - low.float()) → (x.amax(dim, keepdim=True) - x.amin(dim, keepdim=True))
Your step reaches from the smallest number as it *was*. On the way back one begins at ℓ, the one in
16 bits: the steps must reach from there to the largest.
## 0 asked too early
- torch.where(step == 0, → torch.where(x.amax(dim, keepdim=True) == low.float(),
You look for steps of 0 before they are rounded to 16 bits. There, too, a step may become 0, and you
divide by it.
## divided by no less than a floor
- (x - low.float()) / step.float()) → (x - low.float()) / step.float().clamp(min=1e-5))
You divide by no less than some small number, and 16 bits hold steps that are smaller. Ask whether
the step *is* 0.
## not clamped
- ratio.round().clamp(0, n) → ratio.round()
ℓ may have been rounded up, or the step down: then numbers fall below 0, or above n. Clamp to 0 … n.
## the smallest not taken off
- (x - low.float()) / step.float()) → x / step.float())
You divide the numbers as they are. Take off the smallest first.
## without its axis
- return whole.to(torch.uint8), step, low
+ return whole.to(torch.uint8), step.squeeze(dim), low.squeeze(dim)
The numbers are right, but the axis is gone: keep it, of length 1 (`keepdim=True`), so that they
broadcast on the way back.
## the low second
- return whole.to(torch.uint8), step, low → return whole.to(torch.uint8), low, step
The order is: whole numbers, steps, lows.
## floats
- whole.to(torch.uint8) → whole
The whole numbers are still floats. `.to(torch.uint8)`.
## signed
- whole.to(torch.uint8) → (whole - 2 ** (bits - 1)).to(torch.int8)
Yours are shifted below 0. Here they begin at 0, and are `torch.uint8`.
## the largest in place of the step
- return whole.to(torch.uint8), step, low
+ return whole.to(torch.uint8), x.amax(dim, keepdim=True).half(), low
You return the largest number. What is multiplied on the way back is the step.
## a step where nothing is
- return whole.to(torch.uint8), step, low
+ return whole.to(torch.uint8), torch.where(step == 0, 1.0, step.float()).half(), low
Where all are alike the step is 0; yours is 1.
""",
    ),
    hints=(
        "`x.amin(dim, keepdim=True)` is the smallest number along `dim`, with an axis of length 1 in "
        "its place.",
        "Round the low to 16 bits first (`.half()`), then the step, and compute the whole numbers "
        "with these: `(x - low.float()) / step.float()`.",
        "Where the step is 0: `torch.where(step == 0, 0.0, …)`. Then `.round().clamp(0, n)` and "
        "`.to(torch.uint8)`.",
    ),
)

# --- gptq -----------------------------------------------------------------------------------------


def going_together(seed: int, N: int, C: int) -> Tensor:
    """Inputs whose columns have a few causes in common. Shapes: → (N, C)."""
    causes = drawn(seed, N, max(1, C // 3)) @ drawn(seed + 1, max(1, C // 3), C)
    return causes + 0.4 * drawn(seed + 2, N, C)


def surgeon(
    weight: Tensor, inputs: Tensor, bits: int, group: int, damping: float = 0.01
) -> list[Any]:
    """The paper's section 3.1, slowly: what is left of H is inverted anew for each column."""
    n, C = 2 ** (bits - 1) - 1, weight.shape[1]
    w, x = weight.double(), inputs.double()
    H = x.T @ x
    H = H + damping * H.diag().mean() * torch.eye(C, dtype=torch.float64)
    wholes, steps = [], []
    for c in range(C):
        if c % group == 0:
            steps.append(w[:, c : c + group].abs().amax(1) / n)
        none = steps[-1] == 0
        whole = torch.where(none, 0.0, w[:, c] / steps[-1]).round().clamp(-n, n)
        inverse = torch.linalg.inv(H[c:, c:])
        moved = (w[:, c] - whole * steps[-1])[:, None] * inverse[0] / inverse[0, 0]
        w = torch.cat((w[:, :c], w[:, c:] - moved), 1)
        wholes.append(whole)
    return told(torch.stack(wholes, 1).to(torch.int8), torch.stack(steps, 1).float())


def compensating(label: str, *inputs: Any) -> Case:
    return trial(
        label,
        lambda candidate, *given: zeros_told(told(*candidate(*given))),
        lambda *given: zeros_told(surgeon(*given)),
        *inputs,
    )


def by_cholesky(
    weight: Tensor, inputs: Tensor, bits: int, group: int, damping: float = 0.01
) -> tuple[Tensor, Tensor]:
    """A right one."""
    n, C = 2 ** (bits - 1) - 1, weight.shape[1]
    left, x = weight.double(), inputs.double()
    H = x.T @ x
    H += damping * H.diagonal().mean() * torch.eye(C).double()
    U = torch.linalg.cholesky(H.inverse(), upper=True)
    whole, steps = torch.zeros_like(left), []
    for c in range(C):
        if c % group == 0:
            steps.append(left[:, c : c + group].abs().amax(1) / n)
        ratio = torch.where(steps[-1] == 0, 0.0, left[:, c] / steps[-1])
        whole[:, c] = ratio.round().clamp(-n, n)
        error = (left[:, c] - whole[:, c] * steps[-1]) / U[c, c]
        left[:, c + 1 :] -= error[:, None] * U[c, c + 1 :]
    return whole.to(torch.int8), torch.stack(steps, 1).float()


BOTH_SIDES = torch.cat((drawn(582, 4, 8), -drawn(582, 4, 8)))  # some leave the range, both ways
BEGIN_WITH_ZEROS = drawn(97, 4, 9)
BEGIN_WITH_ZEROS[1, :3] = 0.0
BEGIN_WITH_ZEROS[3] = 0.0

GPTQ = Exercise(
    name="gptq",
    lesson=LESSON,
    library=compress.gptq,
    minutes=20,
    difficulty=3,
    kind="stretch",
    cases=(
        compensating("two columns", drawn(71, 3, 2), going_together(72, 9, 2), 4, 2),
        compensating("4 bits, groups of 4", drawn(75, 6, 12), going_together(76, 40, 12), 4, 4),
        compensating("3 bits, a step a row", drawn(79, 5, 10), going_together(80, 30, 10), 3, 10),
        compensating("2 bits", BOTH_SIDES, going_together(282, 25, 8), 2, 4),
        compensating("damped", drawn(87, 6, 9), going_together(88, 30, 9), 4, 3, 2.0),
        compensating("hardly damped", drawn(91, 5, 8), going_together(92, 30, 8), 4, 8, 1e-6),
        compensating("columns of one group each", drawn(95, 3, 6), going_together(96, 20, 6), 5, 1),
        compensating("zeros first", BEGIN_WITH_ZEROS, going_together(98, 30, 9), 4, 3),
    ),
    mistakes=edits(
        by_cholesky,
        """
## nothing is made up for
- left[:, c + 1 :] -= error[:, None] * U[c, c + 1 :]
+ pass
This rounds each column to the nearest. Take from the columns to come what undoes the error. (With
the *lower* Cholesky factor that is 0.)
## the error grows
- left[:, c + 1 :] -= error → left[:, c + 1 :] += error
You add to the error. The columns to come must move the other way: `-=`.
## not over the diagonal
- steps[-1]) / U[c, c] → steps[-1])
The error of column c is divided by `U[c, c]`.
## the inverse itself
- torch.linalg.cholesky(H.inverse(), upper=True) → H.inverse()
That is the inverse of all of H, also for columns that are done. Its upper Cholesky factor has in
row c what is right for those still to come.
## H itself
- torch.linalg.cholesky(H.inverse(), upper=True) → torch.linalg.cholesky(H, upper=True)
You took the factor of H. It is that of its *inverse*.
## not damped
- H += damping * H.diagonal().mean() * torch.eye(C).double()
+ pass
The damping plays no part. Add damping · (the mean of the diagonal) to the diagonal.
## damped by a number
- damping * H.diagonal().mean() → damping
You add the damping as it is. It is a share of the mean of the diagonal.
## damped by its own share
- H.diagonal().mean() * torch.eye(C).double() → torch.diag(H.diagonal())
You add to each number of the diagonal its own share. It is a share of their mean, the same for all.
## a group of zeros forgotten
- torch.where(steps[-1] == 0, 0.0, left[:, c] / steps[-1]) → left[:, c] / steps[-1]
Where a group is all zeros its step is 0: 0 / 0 is no number, and goes on into all columns to come.
There the whole numbers are 0.
## steps of 64 bits
- torch.stack(steps, 1).float() → torch.stack(steps, 1)
Your steps are still float64. They are to be of the weight's type.
## the steps of the old weights
- steps.append(left[:, c → steps.append(weight.double()[:, c
The step of a group is that of its weights as they have become when the group is reached.
## not held in the range
- .round().clamp(-n, n) → .round()
A column may have moved out of the range by the time it is rounded: clamp.
## one number more on one side
- .round().clamp(-n, n) → .round().clamp(-n - 1, n)
You let numbers down to −n − 1. That one is not used: clamp to −n … n.
## the error of the whole number
- left[:, c] - whole[:, c] * steps[-1] → left[:, c] / steps[-1] - whole[:, c]
The error is that of the *weight*: the whole number times its step.
## the next column alone
- left[:, c + 1 :] -= error[:, None] * U[c, c + 1 :] → left[:, c + 1 : c + 2] -= error[:, None] * U[c, c + 1 : c + 2]
Only the next column makes up for the error. All that are left do.
## within the group
- left[:, c + 1 :] -= error[:, None] * U[c, c + 1 :]
+ end = c - c % group + group
+ left[:, c + 1 : end] -= error[:, None] * U[c, c + 1 : end]
Only columns of the same group make up for the error. All that are left do.
## a step for each column
- if c % group == 0:
-     steps.append(left[:, c : c + group].abs().amax(1) / n)
+ if c % group == 0:
+     steps.append(None)
+ first = c - c % group
+ steps[-1] = left[:, first : first + group].abs().amax(1) / n
You find the step anew at each column. What is rounded already was rounded with the old one: it is
found once, when the group begins.
""",
    ),
    hints=(
        "H = inputs.T @ inputs, in float64; add damping · mean of the diagonal to its diagonal. "
        "`torch.linalg.cholesky(H.inverse(), upper=True)` is U.",
        "For each column c: a group that begins here gets its step, of `left` as it is now. Round "
        "the column, and clamp it.",
        "error = (column − whole · step) / U[c, c]; then take `error[:, None] * U[c, c + 1:]` from "
        "the columns behind c.",
    ),
)

EXERCISES = (QUANTIZE_GROUPS, QUANTIZE_ASYMMETRIC, PACK_INT4, SMOOTH, QUANTIZE_CACHE, GPTQ)
