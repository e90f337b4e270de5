"""Lesson 19: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch

from decodeloop.exercises.edits import edited

# --- quantize_groups ------------------------------------------------------------------------------


def group_by_group(weight, bits, group):
    n = (1 << (bits - 1)) - 1
    wholes, steps = [], []
    for part in weight.split(group, dim=1):
        step = torch.maximum(part.max(1).values, -part.min(1).values) / n
        wholes.append(torch.round(part / step.clamp(min=1e-38)[:, None]))
        steps.append(step)
    return torch.cat(wholes, 1).to(torch.int8), torch.stack(steps, 1)


def by_an_inverse(weight, bits, group):
    n = 2**bits // 2 - 1
    rows = weight.reshape(-1, group)
    top = rows.abs().max(dim=1, keepdim=True)[0]
    whole = (rows * torch.where(top > 0, n / top, 0.0)).round().char()
    return whole.reshape(weight.shape), (top / n).reshape(len(weight), -1)


GROUPS_FORMS = edited(
    by_an_inverse,
    """
## the sign of the largest
- rows.abs().max → rows.max
- torch.where(top > 0, n / top, 0.0) → torch.where(top != 0, n / top, 0.0)
## one number too many
- 2**bits // 2 - 1 → 2**bits // 2
## twice as many numbers
- 2**bits // 2 - 1 → 2**bits - 1
## cut off
- .round().char() → .char()
## always down
- .round().char() → .floor().char()
## always up
- .round().char() → .ceil().char()
## a step for each row
- rows.abs().max(dim=1, keepdim=True)[0]
+ weight.abs().max(dim=1)[0].repeat_interleave(weight.shape[1] // group)[:, None]
## one step for all
- rows.abs().max(dim=1, keepdim=True)[0] → weight.abs().max().expand(len(rows), 1)
## every so manyth column
- weight.reshape(-1, group) → weight.view(len(weight), group, -1).transpose(1, 2).reshape(-1, group)
- whole.reshape(weight.shape)
+ whole.view(len(weight), -1, group).transpose(1, 2).reshape(weight.shape)
## the range from end to end
- rows.abs().max(dim=1, keepdim=True)[0]
+ (rows.max(1, keepdim=True)[0] - rows.min(1, keepdim=True)[0]) / 2
## the middle size
- rows.abs().max(dim=1, keepdim=True)[0] → rows.abs().mean(dim=1, keepdim=True)
## floats
- .round().char() → .round()
## back again
- whole.reshape(weight.shape) → (whole * (top / n)).reshape(weight.shape)
## in the other order
- return whole.reshape(weight.shape), (top / n).reshape(len(weight), -1)
+ return (top / n).reshape(len(weight), -1), whole.reshape(weight.shape)
## a step where nothing is
- (top / n).reshape → (top / n).masked_fill(top == 0, 1.0).reshape
## no step below a floor
- rows.abs().max(dim=1, keepdim=True)[0] → rows.abs().max(dim=1, keepdim=True)[0].clamp(n * 1e-9)
## divided by no less than a floor
- torch.where(top > 0, n / top, 0.0) → n / (top + n * 1e-9)
## still in groups
- whole.reshape(weight.shape) → whole.reshape(len(weight), -1, group)
## an axis too many
- .reshape(len(weight), -1) → .reshape(len(weight), -1, 1)
## the inverse
- (top / n).reshape → (n / top).reshape
""",
)

UNNAMED_GROUPS = edited(
    group_by_group,
    """
## the smaller of the two ends
- torch.maximum( → torch.minimum(
## steps beside each other the wrong way
- torch.stack(steps, 1) → torch.stack(steps, 0)
## the last group alone
- steps.append(step) → steps = [step] * (len(steps) + 1)
""",
)

# --- quantize_asymmetric --------------------------------------------------------------------------


def ends_with_a_zero(weight, bits, group):
    n = 2**bits - 1
    rows = weight.reshape(-1, group)
    seen = torch.nn.functional.pad(rows, (0, 1))  # with a 0 among them
    low, high = seen.min(1, keepdim=True)[0], seen.max(1, keepdim=True)[0]
    step = (high - low) / n
    some = step.masked_fill(step == 0, torch.inf)
    zero = torch.round(-low / some)
    whole = torch.clip(torch.round(rows / some) + zero, 0, n)
    shape = (len(weight), -1)
    return (whole.reshape(weight.shape).byte(), step.reshape(shape), zero.reshape(shape).byte())


def each_group_alone(weight, bits, group):
    n, R = 2**bits - 1, len(weight)
    whole = torch.zeros(weight.shape, dtype=torch.uint8)
    step = torch.zeros(R, weight.shape[1] // group)
    zero = torch.zeros_like(step, dtype=torch.uint8)
    for g in range(step.shape[1]):
        part = weight[:, g * group : (g + 1) * group]
        low = torch.clamp(part.amin(1), max=0.0)
        step[:, g] = (torch.clamp(part.amax(1), min=0.0) - low) / n
        some = torch.where(step[:, g] > 0, step[:, g], 1.0)
        zero[:, g] = (-low / some).round().byte()
        shifted = (part / some[:, None]).round() + zero[:, g, None].float()
        whole[:, g * group : (g + 1) * group] = shifted.clamp(0, n).byte()
    return whole, step, zero


ASYMMETRIC_FORMS = edited(
    ends_with_a_zero,
    """
## 0 need not be there
- seen = torch.nn.functional.pad(rows, (0, 1)) → seen = rows
- torch.round(-low / some) → torch.round(-low / some).clamp(0, n)
## one end stretched
- seen.max(1 → rows.max(1
- torch.round(-low / some) → torch.round(-low / some).clamp(0, n)
## the other end stretched
- seen.min(1 → rows.min(1
- torch.round(-low / some) → torch.round(-low / some).clamp(0, n)
## as many steps as numbers
- (high - low) / n → (high - low) / 2**bits
## half of the numbers
- n = 2**bits - 1 → n = 2**bits // 2 - 1
## symmetric
- (high - low) / n → rows.abs().max(1, keepdim=True)[0] / (2**bits // 2 - 1)
## the zero point forgotten
- torch.round(rows / some) + zero → torch.round(rows / some)
## the zero point taken off
- torch.round(rows / some) + zero → torch.round(rows / some) - zero
## the smallest in place of the zero point
- zero.reshape(shape).byte() → low.reshape(shape)
## cut off
- torch.round(rows / some) → torch.trunc(rows / some)
## shifted, then rounded down
- torch.round(rows / some) + zero → torch.floor(rows / some + zero)
## rounded together
- torch.round(rows / some) + zero → torch.round((rows - low) / some)
## not clamped
- torch.clip(torch.round(rows / some) + zero, 0, n) → torch.round(rows / some) + zero
## clamped too late
- torch.clip(torch.round(rows / some) + zero, 0, n)
+ torch.clip((torch.round(rows / some) + zero).byte(), 0, n)
## the zero point rounded down
- torch.round(-low / some) → torch.floor(-low / some)
## a step for each row
- low, high = seen.min(1, keepdim=True)[0], seen.max(1, keepdim=True)[0]
+ many = weight.shape[1] // group
+ low = weight.min(1)[0].clamp(max=0).repeat_interleave(many)[:, None]
+ high = weight.max(1)[0].clamp(min=0).repeat_interleave(many)[:, None]
## signed
- whole.reshape(weight.shape).byte() → (whole.reshape(weight.shape) - 2**bits // 2).char()
## floats
- whole.reshape(weight.shape).byte() → whole.reshape(weight.shape)
- zero.reshape(shape).byte() → zero.reshape(shape)
## the zero point second
- step.reshape(shape), zero.reshape(shape).byte() → zero.reshape(shape).byte(), step.reshape(shape)
## a step where nothing is
- step.reshape(shape), → (step + (step == 0)).reshape(shape),
## no step below a floor
- step = (high - low) / n → step = torch.maximum((high - low) / n, torch.tensor(1e-9))
## divided by no less than a floor
- step.masked_fill(step == 0, torch.inf) → step.clamp(1e-9)
""",
)

UNNAMED_ASYMMETRIC = edited(
    each_group_alone,
    """
## one more zero
- .round().byte() → .round().byte() + 1
## the ends exchanged
- part.amin(1) → -part.amax(1)
## a middle in place of the zero point
- zero[:, g] = (-low / some).round().byte() → zero[:, g] = n // 2
""",
)

# --- pack_int4 ------------------------------------------------------------------------------------


def by_remainders(whole):
    pairs = whole.unflatten(-1, (-1, 2)).to(torch.int64) % 16
    return (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.uint8)


def by_a_sum(whole):
    lower = whole.to(torch.int16).bitwise_and(15)
    return (lower * torch.tensor([1, 16]).repeat(whole.shape[-1] // 2)).unflatten(
        -1, (-1, 2)
    ).sum(-1).to(torch.uint8)  # fmt: skip


PACK_FORMS = edited(
    by_remainders,
    """
## the lower half not masked
- (pairs[..., 0] + 16 * pairs[..., 1])
+ ((whole[..., ::2].long() & 255) | 16 * pairs[..., 1])
## the first in the upper half
- pairs[..., 0] + 16 * pairs[..., 1] → pairs[..., 1] + 16 * pairs[..., 0]
## halves of a row together
- whole.unflatten(-1, (-1, 2)) → whole.unflatten(-1, (2, -1)).mT
## the sign lost
- whole.unflatten(-1, (-1, 2)) → whole.abs().unflatten(-1, (-1, 2))
## 8 added
- .to(torch.int64) % 16 → .to(torch.int64) + 8
## what is negative becomes 0
- .to(torch.int64) % 16 → .to(torch.int64).relu()
## shifted by three
- pairs[..., 0] + 16 * pairs[..., 1] → pairs[..., 0] | 8 * pairs[..., 1]
## shifted by eight
- pairs[..., 0] + 16 * pairs[..., 1] → pairs[..., 0]
## not shifted
- pairs[..., 0] + 16 * pairs[..., 1] → pairs[..., 0] | pairs[..., 1]
## and, not or
- (pairs[..., 0] + 16 * pairs[..., 1]) → (0 * pairs[..., 0])
## the second twice
- pairs[..., 0] + 16 → pairs[..., 1] + 16
## two rows in a byte
- pairs = whole.unflatten(-1, (-1, 2)).to(torch.int64) % 16
- return (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.uint8)
+ rows = whole.movedim(max(-2, -whole.ndim), 0).long() % 16
+ return (rows[::2] + 16 * rows[1::2]).movedim(0, max(-2, -whole.ndim)).to(torch.uint8)
## along the second axis
- whole.unflatten(-1, (-1, 2)) → whole.unflatten(1, (-1, 2)).movedim(2, -1)
## a signed byte
- (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.uint8)
+ (pairs[..., 0] + 16 * pairs[..., 1]).to(torch.int8)
## not packed
- (pairs[..., 0] + 16 * pairs[..., 1]) → pairs.flatten(-2)
""",
)

UNNAMED_PACK = edited(
    by_remainders,
    """
## ones' complement
- .to(torch.int64) % 16 → .to(torch.int64) % 15
## base 15
- 16 * pairs[..., 1] → 15 * pairs[..., 1]
## the sign turned
- whole.unflatten → (-whole).unflatten
""",
)

# --- smooth ---------------------------------------------------------------------------------------


def by_logarithms(source, weights, largest, strength=0.5):
    read = torch.stack([weight.abs().max(0).values for weight in weights]).max(0).values
    power = strength * largest.log() - (1 - strength) * read.log()
    factor = power.nan_to_num(0, 0, 0).exp()
    factor[(largest == 0) | (read == 0)] = 1
    return (source.mT if source.ndim == 2 else source).div(factor).mT if source.ndim == 2 else (
        source / factor
    ), [factor * weight for weight in weights]  # fmt: skip


def with_diagonals(source, weights, largest, strength=0.5):
    read = torch.zeros_like(largest)
    for weight in weights:
        read = torch.maximum(read, weight.abs().amax(0))
    up = torch.ones_like(largest)
    used = (largest != 0) & (read != 0)
    up[used] = largest[used].pow(strength) * read[used].pow(strength - 1)
    down = 1 / up
    return torch.diag(down) @ source, [weight @ torch.diag(up) for weight in weights]


SMOOTH_FORMS = edited(
    with_diagonals,
    """
## the strength on the other side
- .pow(strength) * → .pow(1 - strength) *
- .pow(strength - 1) → .pow(-strength)
## both sides divided
- torch.diag(up) → torch.diag(down)
## the wrong way round
- torch.diag(down) @ source → torch.diag(up) @ source
- weight @ torch.diag(up) → weight @ torch.diag(down)
## the source stays
- torch.diag(down) @ source → source
## the weights stay
- weight @ torch.diag(up) → weight
## one matrix says
- for weight in weights: → for weight in weights[:1]:
## each matrix by its own
- return torch.diag(down) @ source, [weight @ torch.diag(up) for weight in weights]
+ own = []
+ for weight in weights:
+     alone = weight.abs().amax(0)
+     f = largest.pow(strength) * alone.pow(strength - 1)
+     own.append(weight @ torch.diag(torch.where((alone == 0) | (largest == 0), 1, f)))
+ return torch.diag(down) @ source, own
## the first matrix alone
- [weight @ torch.diag(up) for weight in weights] → [weights[0] @ torch.diag(up), *weights[1:]]
## a mean
- read = torch.zeros_like(largest)
- for weight in weights:
-     read = torch.maximum(read, weight.abs().amax(0))
+ read = torch.cat(weights).abs().mean(0)
## a sum
- read = torch.maximum(read, weight.abs().amax(0)) → read = read + weight.abs().sum(0)
## the largest number
- read = torch.zeros_like(largest)
- for weight in weights:
-     read = torch.maximum(read, weight.abs().amax(0))
+ read = torch.cat(weights).amax(0).abs()
## the weights don't count
-  * read[used].pow(strength - 1)
## multiplied powers
- read[used].pow(strength - 1) → read[used].pow(1 - strength)
## always half
- .pow(strength) * → .pow(0.5) *
- .pow(strength - 1) → .pow(-0.5)
## nothing is guarded
- used = (largest != 0) & (read != 0) → used = largest >= 0
- torch.diag(down) @ source → (source.T * down).T
- weight @ torch.diag(up) → weight * up
## only the zeros of the channels
- used = (largest != 0) & (read != 0) → used = largest != 0
- torch.diag(down) @ source → (source.T * down).T
- weight @ torch.diag(up) → weight * up
## only the columns of zeros
- used = (largest != 0) & (read != 0) → used = read != 0
- torch.diag(down) @ source → (source.T * down).T
- weight @ torch.diag(up) → weight * up
## repaired afterwards
- up = torch.ones_like(largest)
- used = (largest != 0) & (read != 0)
- up[used] = largest[used].pow(strength) * read[used].pow(strength - 1)
+ up = (largest.pow(strength) * read.pow(strength - 1)).nan_to_num(1.0, 1.0)
+ up[up == 0] = 1.0
## a floor under the maxima
- up[used] = largest[used].pow(strength) * read[used].pow(strength - 1)
+ up = largest.clamp(min=1e-5).pow(strength) * read.clamp(min=1e-5).pow(strength - 1)
## one factor for all
- down = 1 / up → up = up.mean().repeat(len(up))
+ down = 1 / up
## along the other axis
- torch.diag(down) @ source → source * down
""",
)

UNNAMED_SMOOTH = edited(
    with_diagonals,
    """
## the root of the factor
- down = 1 / up → down, up = up**-0.5, up**0.5
## squares
- weight.abs().amax(0) → weight.square().amax(0)
## the last one alone
- torch.maximum(read, weight.abs().amax(0)) → weight.abs().amax(0)
""",
)

# --- quantize_cache -------------------------------------------------------------------------------


def by_aminmax(x, bits, dim):
    n = (1 << bits) - 1
    low, high = torch.aminmax(x, dim=dim, keepdim=True)
    low = low.to(torch.float16)
    step = torch.div(high - low, n).to(torch.float16)
    inverse = (1 / step.float()).masked_fill(step == 0, 0)
    whole = torch.round((x - low) * inverse).clip(0, n)
    return whole.byte(), step, low


def last_axis_first(x, bits, dim):
    moved = x.transpose(dim, -1)
    n = 2**bits - 1
    low = moved.min(-1)[0].half()[..., None]
    step = ((moved.max(-1)[0][..., None] - low.float()) / n).half()
    some = step.float() + (step == 0)
    whole = ((moved - low.float()) / some).round().clamp(0, n).to(torch.uint8)
    return tuple(y.transpose(dim, -1) for y in (whole, step, low))


CACHE_FORMS = edited(
    by_aminmax,
    """
## always by token
- dim=dim → dim=-1
## always by channel
- dim=dim → dim=-2
## one step for all
- low = low.to(torch.float16)
+ low, high = torch.full_like(low, x.min()).half(), torch.full_like(high, x.max())
## stretched to 0
- low = low.to(torch.float16)
+ low = torch.clamp(low, max=0).to(torch.float16)
## symmetric
- low = low.to(torch.float16)
+ low = -torch.maximum(high, -low).to(torch.float16)
## as many steps as numbers
- torch.div(high - low, n) → torch.div(high - low, 1 << bits)
## half of the numbers
- (1 << bits) - 1 → (1 << (bits - 1)) - 1
## cut off
- torch.round( → torch.floor(
## always up
- torch.round( → torch.ceil(
## in 32 bits
- low = low.to(torch.float16)
- step = torch.div(high - low, n).to(torch.float16)
+ step = torch.div(high - low, n)
## the low in 32 bits
- low = low.to(torch.float16)
- step = torch.div(high - low, n).to(torch.float16)
+ step = torch.div(high - low, n).to(torch.float16)
## rounded to 16 bits at the end
- low = low.to(torch.float16)
- step = torch.div(high - low, n).to(torch.float16)
+ step = torch.div(high - low, n)
- return whole.byte(), step, low → return whole.byte(), step.half(), low.half()
## the step rounded at the end
- torch.div(high - low, n).to(torch.float16) → torch.div(high - low, n)
- return whole.byte(), step, low → return whole.byte(), step.half(), low
## the step from the smallest as it was
- low = low.to(torch.float16)
- step = torch.div(high - low, n).to(torch.float16)
+ step = torch.div(high - low, n).to(torch.float16)
+ low = low.to(torch.float16)
## 0 asked too early
- masked_fill(step == 0, 0) → masked_fill(high == low, 0)
## divided by no less than a floor
- (1 / step.float()).masked_fill(step == 0, 0) → 1 / step.float().clamp(2e-5)
## not clamped
- torch.round((x - low) * inverse).clip(0, n) → torch.round((x - low) * inverse)
## the smallest not taken off
- (x - low) * inverse → x * inverse
## without its axis
- step, low → step.sum(dim), low.sum(dim)
## the low second
- step, low → low, step
## floats
- whole.byte() → whole
## signed
- whole.byte() → (whole - (1 << (bits - 1))).char()
## the largest in place of the step
- return whole.byte(), step, low → return whole.byte(), high.half(), low
## a step where nothing is
- return whole.byte(), step, low → return whole.byte(), step + (step == 0), low
""",
)

UNNAMED_CACHE = edited(
    by_aminmax,
    """
## the low in the middle
- return whole.byte(), step, low → return whole.byte(), step, low + step
## twice the step
- return whole.byte(), step, low → return whole.byte(), 2 * step, low
## turned around
- torch.round((x - low) * inverse) → torch.round((high - x) * inverse)
""",
)

# --- gptq -----------------------------------------------------------------------------------------


def inverted_anew(weight, inputs, bits, group, damping=0.01):
    n, C = 2 ** (bits - 1) - 1, weight.shape[1]
    left, x = weight.double(), inputs.double()
    H = x.T @ x
    H = H + torch.eye(C) * damping * H.diagonal().mean()
    whole, steps = [], []
    for c in range(C):
        if c % group == 0:
            top = left[:, c : c + group].abs().max(1).values
            steps += [top / n]
        near = torch.round(left[:, c] / steps[-1].masked_fill(steps[-1] == 0, torch.inf))
        whole += [near.clip(-n, n)]
        row = torch.linalg.inv(H[c:, c:])[0]
        error = left[:, c] - whole[-1] * steps[-1]
        left[:, c:] = left[:, c:] - torch.outer(error, row / row[0])
    return torch.stack(whole, 1).char(), torch.stack(steps, 1).float()


def by_eliminating(weight, inputs, bits, group, damping=0.01):
    n = 2 ** (bits - 1) - 1
    left, x = weight.double().clone(), inputs.double()
    H = x.T @ x
    H.diagonal().add_(damping * H.diagonal().mean())
    inverse = torch.linalg.inv(H)
    whole, step = torch.zeros_like(left), torch.zeros(len(left), left.shape[1] // group).double()
    for c in range(left.shape[1]):
        if c % group == 0:
            step[:, c // group] = left[:, c : c + group].abs().amax(1) / n
        size = step[:, c // group]
        whole[:, c] = (left[:, c] / (size + (size == 0))).round().clamp(-n, n)
        row = inverse[c] / inverse[c, c]
        error = left[:, c] - whole[:, c] * size
        left[:, c + 1 :] -= (error[:, None] * row)[:, c + 1 :]
        inverse = inverse - torch.outer(inverse[:, c], row)  # column c is done
        inverse[c, c] = 1.0
    return whole.to(torch.int8), step.float()


GPTQ_FORMS = edited(
    by_eliminating,
    """
## nothing is made up for
- left[:, c + 1 :] -= (error[:, None] * row)[:, c + 1 :] → pass
## the error grows
- left[:, c + 1 :] -= (error → left[:, c + 1 :] += (error
## not over the diagonal
- left[:, c + 1 :] -= (error → left[:, c + 1 :] -= (inverse[c, c] ** 0.5 * error
## the inverse itself
- inverse = inverse - torch.outer(inverse[:, c], row) → pass
- inverse[c, c] = 1.0
+ pass
## H itself
- inverse = torch.linalg.inv(H) → inverse = H
## not damped
- H.diagonal().add_(damping * H.diagonal().mean())
+ pass
## damped by a number
- damping * H.diagonal().mean() → damping
## damped by its own share
- H.diagonal().add_(damping * H.diagonal().mean()) → H.diagonal().mul_(1 + damping)
## a group of zeros forgotten
- (left[:, c] / (size + (size == 0))) → (left[:, c] / size)
## steps of 64 bits
- step.float() → step
## the steps of the old weights
- step[:, c // group] = left[:, c → step[:, c // group] = weight.double()[:, c
## not held in the range
- .round().clamp(-n, n) → .round()
## one number more on one side
- .round().clamp(-n, n) → .round().clamp(~n, n)
## the error of the whole number
- left[:, c] - whole[:, c] * size → left[:, c] / size - whole[:, c]
## the next column alone
- left[:, c + 1 :] -= (error[:, None] * row)[:, c + 1 :]
+ left[:, c + 1 : c + 2] -= (error[:, None] * row)[:, c + 1 : c + 2]
## within the group
- left[:, c + 1 :] -= (error[:, None] * row)[:, c + 1 :]
+ stop = (c // group + 1) * group
+ left[:, c + 1 : stop] -= (error[:, None] * row)[:, c + 1 : stop]
## a step for each column
- if c % group == 0:
-     step[:, c // group] = left[:, c : c + group].abs().amax(1) / n
+ start = c // group * group
+ step[:, c // group] = left[:, start : start + group].abs().amax(1) / n
""",
)

UNNAMED_GPTQ = edited(
    inverted_anew,
    """
## half of the error
- torch.outer(error, row / row[0]) → torch.outer(error / 2, row / row[0])
## from behind
- if c % group == 0: → if c % group == 0 or c % group == group - 1:
- steps += [top / n]
+ steps = [*steps, top / n] if c % group == 0 else [*steps[:-1], 1.01 * steps[-1]]
## only half of the positions
- inputs.double() → inputs[::2].double()
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "quantize_groups": (group_by_group, by_an_inverse),
    "quantize_asymmetric": (ends_with_a_zero, each_group_alone),
    "pack_int4": (by_remainders, by_a_sum),
    "smooth": (by_logarithms, with_diagonals),
    "quantize_cache": (by_aminmax, last_axis_first),
    "gptq": (inverted_anew, by_eliminating),
}
SECOND_FORMS = {
    "quantize_groups": GROUPS_FORMS,
    "quantize_asymmetric": ASYMMETRIC_FORMS,
    "pack_int4": PACK_FORMS,
    "smooth": SMOOTH_FORMS,
    "quantize_cache": CACHE_FORMS,
    "gptq": GPTQ_FORMS,
}
UNNAMED = {
    "quantize_groups": tuple(UNNAMED_GROUPS.values()),
    "quantize_asymmetric": tuple(UNNAMED_ASYMMETRIC.values()),
    "pack_int4": tuple(UNNAMED_PACK.values()),
    "smooth": tuple(UNNAMED_SMOOTH.values()),
    "quantize_cache": tuple(UNNAMED_CACHE.values()),
    "gptq": tuple(UNNAMED_GPTQ.values()),
}
