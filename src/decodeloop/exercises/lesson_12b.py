"""Exercises of lesson 12b: the compute-bound batch, and both phases of a machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from decodeloop import cost
from decodeloop.cost import BYTES, Prediction
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call
from decodeloop.exercises.lesson_12 import (
    EXACT,
    LLAMA_8B,
    by_two_times,
    described,
    flops_counted,
    numbers_moved,
    phase_by_cross_multiplying,
)
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "12b_prediction"

# --- compute_bound_batch --------------------------------------------------------------------------


def batch_by_bisection(
    config: ModelConfig, length: int, peak_flops: float, bandwidth: float, bytes_per_number: float
) -> int | None:
    """Closed form of both sides, in fractions, and a search for the first batch that crosses."""
    corner = Fraction(peak_flops) / Fraction(bandwidth)
    size = Fraction(bytes_per_number)

    def enough(batch: int) -> bool:
        moved = sum(numbers_moved(config, batch, 1, length).values()) * size
        return sum(flops_counted(config, batch, 1, length).values()) >= corner * moved

    high = 1
    while not enough(high):
        high *= 2
        if high > 2**60:
            return None
    low = high // 2  # not enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def first_batch(
    config: ModelConfig, length: int, peak_flops: float, bandwidth: float, bytes_per_number: float
) -> float | None:
    """A right one: the smallest B with B·f ≥ r·(W + B·c)."""
    n, b = numbers_moved(config, 1, 1, length), bytes_per_number
    W = (n["weights"] + n["head"]) * b
    c = (n["embedding_rows"] + n["kv"]) * b
    f = sum(flops_counted(config, 1, 1, length).values())
    r = peak_flops / bandwidth
    return math.ceil(r * W / (f - r * c)) if f > r * c else None


def batch_case(label: str, *inputs: Any) -> Case:
    """A division by 0 counts as an output: a mistake that only raises could not be recognised."""
    case = call(label, *inputs, oracle=batch_by_bisection)

    def run(candidate: Candidate) -> Any:
        try:
            return case.run(candidate)
        except ZeroDivisionError:
            return "a division by 0"

    return Case(label, run, case.expected, case.inputs)


BATCH_CASES = (
    ("SmolLM2-135M, a laptop's CPU, fp32", SMOLLM2_135M, 100, 150e9, 25e9, 4),
    ("the same at 3,000 positions", SMOLLM2_135M, 3_000, 150e9, 25e9, 4),
    ("Llama-3-8B, a large GPU, 1 position", LLAMA_8B, 1, 989e12, 3.35e12, 2),
    ("the same at 300 positions", LLAMA_8B, 300, 989e12, 3.35e12, 2),
    ("the same at 4,096 positions: none", LLAMA_8B, 4_096, 989e12, 3.35e12, 2),
    ("in 8 bits, a smaller GPU", LLAMA_8B, 512, 120e12, 0.9e12, 1),
    ("a small model, one row is enough", TINY, 9, 1.9, 1.0, 0.5),
    ("a small model, odd sizes", TINY, 5, 7.3, 1.1, 2),
    ("more bytes than FLOPs in a second", TINY, 3, 0.3, 1.0, 4),
    ("close to the wall: 101,286 rows", LLAMA_8B, 392, 989e12, 3.35e12, 2),
    ("f = r·c to the last digit: none", TINY, 10, 50.0, 1.0, 2),
    ("22 rows to the last digit", TINY, 2, 20.0, 1.0, 2),
    ("a small model, 4 bits", TINY, 6, 190.0, 1.0, 0.5),
)

COMPUTE_BOUND_BATCH = Exercise(
    name="compute_bound_batch",
    lesson=LESSON,
    library=cost.compute_bound_batch,
    minutes=12,
    difficulty=3,
    tolerance=EXACT,
    cases=tuple(batch_case(label, *inputs) for label, *inputs in BATCH_CASES),
    mistakes=edits(
        first_batch,
        """
## the cache forgotten
- math.ceil(r * W / (f - r * c)) if f > r * c else None → math.ceil(r * W / f)
You forget that each row brings its own cache: then there is always a batch. Bytes are W + B·c, and
c grows with the length.
## the weights multiplied by the batch
- math.ceil(r * W / (f - r * c)) if f > r * c else None → 1 if f >= r * (W + c) else None
You multiply the weights by the batch too; then FLOPs and bytes grow alike and no batch changes
anything. One forward reads the weights once for all rows.
## one cache for all rows
- math.ceil(r * W / (f - r * c)) if f > r * c else None → math.ceil(r * (W + c) / f)
You read one cache for the whole batch. No two rows share theirs: it is B·c.
## rounded down
- math.ceil → math.floor
Rounded down, the batch is one too small: at that size the step still waits for memory.
## not rounded
- math.ceil(r * W / (f - r * c)) → r * W / (f - r * c)
A batch is a whole number: round up with math.ceil.
## to the nearest
- math.ceil → round
Rounded to the nearest whole number, the batch is often one too small. Round up.
## one more than the whole part
- math.ceil → 1 + int
int(x) + 1 rounds up, but not where x is whole already: there it is one too many. math.ceil leaves
whole numbers alone.
## the embedding's row forgotten
- (n["embedding_rows"] + n["kv"]) * b → n["kv"] * b
Among a row's own bytes one entry is missing: `embedding_rows`. c is all but `weights` and `head`.
It is small, but near the wall it decides.
## the cache's reading alone
- (n["embedding_rows"] + n["kv"]) * b → n["kv"] // length * (length - 1) * b
You take `kv_read` alone for c. A row also writes one position (`kv_write`) and reads its row of
the embedding.
## W without the head
- (n["weights"] + n["head"]) * b → n["weights"] * b
The head is missing in W: its matrix is read once for all rows, like the layers' weights.
## the head counted as a row's own
- (n["weights"] + n["head"]) * b → n["weights"] * b
- (n["embedding_rows"] + n["kv"]) * b → (n["head"] + n["embedding_rows"] + n["kv"]) * b
You count the head among the bytes of each row. Its matrix is read once for all: it belongs to W.
## the cache stays at 4 bytes
- (n["embedding_rows"] + n["kv"]) * b → n["embedding_rows"] * b + n["kv"] * 4
The weights have the size that is asked for, the cache still has 4 bytes a number: pass
`cache_bytes_per_number` too.
## the weights stay at 4 bytes
- (n["weights"] + n["head"]) * b → (n["weights"] + n["head"]) * 4
- (n["embedding_rows"] + n["kv"]) * b → n["embedding_rows"] * 4 + n["kv"] * b
The cache has the size that is asked for, the weights still have 4 bytes a number: pass
`weight_bytes_per_number` too.
## a negative batch
-  if f > r * c else None
Where a row's own bytes take longer than its FLOPs, f - r·c is negative, and so is your batch: no
batch is enough, return None.
## a negative batch, but for 0
- if f > r * c else None → if f != r * c else None
Where a row's own bytes take longer than its FLOPs, f - r·c is negative, and so is your batch: no
batch is enough, return None. That holds below 0 as it does at 0.
## a batch of 1 where there is none
- math.ceil(r * W / (f - r * c)) if f > r * c else None
+ max(1, math.ceil(r * W / (f - r * c))) if f != r * c else None
Where a row's own bytes take longer than its FLOPs, f - r·c is negative, and no batch is enough:
return None. You hold the result at 1.
## the magnitude
- math.ceil(r * W / (f - r * c)) if f > r * c else None
+ math.ceil(r * W / abs(f - r * c)) if f != r * c else None
You take the magnitude of f - r·c. Where it is negative no batch is enough: return None.
## None only below 0
- if f > r * c else None → if f >= r * c else None
Where f is r·c you divide by 0. No batch is enough there either: return None.
## the ridge rounded down
- r = peak_flops / bandwidth → r = peak_flops // bandwidth
You round the ridge down: `//`. Divide with `/`.
## doubled only
- math.ceil(r * W / (f - r * c)) if → 2 ** max(0, math.ceil(math.log2(r * W / (f - r * c)))) if
You double until it is enough and stop there: a smaller batch may do. Look between the last two.
## what is written of the cache forgotten
- (n["embedding_rows"] + n["kv"]) * b → (n["embedding_rows"] + n["kv"] // length * (length - 1)) * b
Among a row's own bytes one entry is missing: `kv_write`. c is all but `weights` and `head`.
## a sum for the difference
- math.ceil(r * W / (f - r * c)) if f > r * c else None → math.ceil(r * W / (f + r * c))
You add r·c. From B·f ≥ r·(W + B·c) it comes to the other side with a minus: B·(f - r·c) ≥ r·W.
## gives up near a thousand
- else None
+ and r * W / (f - r * c) <= 1_000 else None
You say None where a larger batch is enough: how far do you search? Near the wall it may be a hundred
thousand rows. The inequality, solved for B, says it without a search.
## gives up later
- else None
+ and r * W / (f - r * c) <= 10_000 else None
You say None where a larger batch is enough: how far do you search? Near the wall it may be a hundred
thousand rows. The inequality, solved for B, says it without a search.
## infinity where there is none
- else None → else math.inf
Right, but where no batch is enough you return infinity: None is asked for.
## -1 where there is none
- else None → else -1
Right, but where no batch is enough you return -1: None is asked for.
## one row's own bytes in W too
- c = (n["embedding_rows"] + n["kv"]) * b
+ c = (n["embedding_rows"] + n["kv"]) * b
+ W += c
You take all bytes of one row for W, its own c among them, and add B·c once more. W is `weights` and
`head` alone.
## one position too many
- numbers_moved(config, 1, 1, length) → numbers_moved(config, 1, 1, length + 1)
- flops_counted(config, 1, 1, length) → flops_counted(config, 1, 1, length + 1)
You count a step at length + 1 positions. `length` has the new one in it: S = length.
## the head's FLOPs forgotten
- sum(flops_counted(config, 1, 1, length).values())
+ sum(v for k, v in flops_counted(config, 1, 1, length).items() if k != "head")
The head's FLOPs are missing, though its bytes are there: `head` belongs to f.
## two FLOPs for each weight
- f = sum(flops_counted(config, 1, 1, length).values()) → f = 2 * (n["weights"] + n["head"])
You take two FLOPs for each weight as f. Attention itself computes as well, and the norms' weights
are in no product: sum up `forward_flops`.
## the envelope's r·b/2
- math.ceil(r * W / (f - r * c)) if f > r * c else None → math.ceil(r * b / 2)
That is the estimate from the back of an envelope, with two FLOPs for each weight and no cache. Count
f, W and c.
## always 2 bytes
- length), bytes_per_number → length), 2
You take 2 bytes for each number, whatever is asked.
## 0 where there is none
- else None → else 0
Right, but where no batch is enough you return 0: None is asked for.
## the sparse peak, or half the FLOPs
- r = peak_flops → r = 2.0 * peak_flops
Your machine computes twice too fast for its work. Either you count half the FLOPs (a
multiplication and an addition are two), or you doubled the peak, as data sheets do for 2:4 sparse
matrices; these are dense.
## bits
- length), bytes_per_number → length), 8 * bytes_per_number
Your bytes are eight times too many: `bytes_per_number` is in bytes already.
## TFLOP/s for FLOP/s
- r = peak_flops → r = 1e-12 * peak_flops
You divide the peak by 1e12. It is given in FLOP/s and the bandwidth in bytes/s; so keep both.
## the ridge upside down
- r = peak_flops / bandwidth → r = 1 / (peak_flops / bandwidth)
The ridge stands on its head: it is peak_flops / bandwidth, FLOPs for each byte.
## the ridge itself
- math.ceil(r * W / (f - r * c)) if f > r * c else None → math.ceil(r)
That is the ridge. It equals the batch only where a weight takes 2 bytes and no row has a cache to
speak of.
## attention's FLOPs forgotten
- sum(flops_counted(config, 1, 1, length).values())
+ sum(v for k, v in flops_counted(config, 1, 1, length).items() if k != "attention")
The FLOPs of attention itself are missing, though its bytes are there: scores and weighted sum
belong to f.
## always 4 bytes
- length), bytes_per_number → length), 4
You take 4 bytes for each number, whatever is asked.
""",
    ),
    hints=(
        "Write both times for a batch of B: B·f FLOPs over the peak, W + B·c bytes over the bandwidth. "
        "Which B makes the first as long as the second?",
        "With r = peak_flops / bandwidth: B·f ≥ r·(W + B·c), so B·(f - r·c) ≥ r·W. What if f - r·c is "
        "not positive?",
        "moved = forward_bytes(config, 1, 1, length, ...) of one row: W is moved['weights'] + "
        "moved['head'], c is all the rest; f = sum(forward_flops(config, 1, 1, length).values()).",
        "None if f <= r·c, else math.ceil(r * W / (f - r * c)).",
    ),
)

# --- predict_phases -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """An accelerator, as far as the roofline is concerned."""

    name: str
    flops: Mapping[str, float]
    bandwidth: float


BIG = Card("a large GPU", {"fp32": 67e12, "bf16": 989e12, "int8": 1_979e12}, 3.35e12)
SMALL = Card("a laptop's CPU", {"fp32": 150e9, "bf16": 40e9}, 25e9)


def counted_prediction(
    config: ModelConfig,
    accelerator: Card,
    *,
    batch: int = 1,
    prompt: int,
    context: int | None = None,
    dtype: str = "bf16",
) -> dict[str, Any]:
    """Closed form: both phases by cross-multiplication, from the counts above."""
    peak, bandwidth = accelerator.flops[dtype], accelerator.bandwidth
    size = BYTES[dtype]

    def one(T: int, S: int) -> dict[str, Any]:
        flops = sum(flops_counted(config, batch, T, S).values())
        moved = sum(numbers_moved(config, batch, T, S).values()) * size
        return phase_by_cross_multiplying(flops, moved, peak, bandwidth)

    first, then = one(prompt, prompt), one(1, context or prompt + 1)
    return {
        "ttft_s": first["seconds"],
        "itl_s": then["seconds"],
        "prefill": first,
        "decode": then,
        "batch": batch,
    }


def predicting(label: str, config: ModelConfig, accelerator: Card, **options: Any) -> Case:
    return Case(
        label,
        lambda candidate: described(candidate(config, accelerator, **options)),
        lambda: counted_prediction(config, accelerator, **options),
    )


def predicted(
    config: ModelConfig,
    accelerator: Card,
    *,
    batch: int = 1,
    prompt: int,
    context: int | None = None,
    dtype: str = "bf16",
) -> Prediction:
    """A right one."""
    size, peak = BYTES[dtype], accelerator.flops[dtype]
    phases = []
    for T, S in ((prompt, prompt), (1, context or prompt + 1)):
        rows = batch
        flops, moved = flops_counted(config, rows, T, S), numbers_moved(config, rows, T, S)
        F, n = sum(flops.values()), sum(moved.values())
        phases.append(by_two_times(F, n * size, peak, accelerator.bandwidth))
    first, then = phases
    return Prediction(first.seconds, then.seconds, first, then, batch)


PREDICT_PHASES = Exercise(
    name="predict_phases",
    lesson=LESSON,
    library=cost.predict_phases,
    minutes=12,
    difficulty=2,
    kind="stretch",
    tolerance=EXACT,
    cases=(
        predicting("Llama-3-8B, a prompt of 512", LLAMA_8B, BIG, prompt=512),
        predicting("16 rows, in the middle", LLAMA_8B, BIG, batch=16, prompt=300, context=900),
        predicting("int8", LLAMA_8B, BIG, batch=3, prompt=40, dtype="int8"),
        predicting("SmolLM2 on a laptop, fp32", SMOLLM2_135M, SMALL, prompt=128, dtype="fp32"),
        predicting("bf16, slower than fp32 there", SMOLLM2_135M, SMALL, batch=7, prompt=64),
        predicting("a small model", TINY, SMALL, batch=2, prompt=9, context=30, dtype="fp32"),
    ),
    mistakes=edits(
        predicted,
        """
## the two times swapped
- first.seconds, then.seconds → then.seconds, first.seconds
TTFT and ITL are swapped: the prefill comes first and gives the time to first token.
## the two phases swapped
- first, then = phases → then, first = phases
Prefill and decode step stand in each other's place, with their times: the prefill has T = S =
prompt, and comes first.
## milliseconds
- first.seconds, then.seconds, → 1e3 * first.seconds, 1e3 * then.seconds,
Those are milliseconds. Both times are asked for in seconds.
## the batch not told
- first, then, batch) → first, then, 1)
All but the last is right: give the batch back, too.
## the first time for both
- first.seconds, then.seconds → first.seconds, first.seconds
Your ITL is the prefill's time. It is that of the decode step.
## the TTFT divided by the batch
- first.seconds, then.seconds → first.seconds / batch, then.seconds
You divide the prefill by the batch. Each row waits for the whole prefill of all rows.
## the prefill over the context
- ((prompt, prompt), → ((prompt, context or prompt),
Your prefill sees `context` keys. It reads the prompt alone: T = S = prompt.
## the decode step with one row
- rows = batch → rows = batch if T > 1 else 1
Your decode step has one row, whatever `batch` is; every row takes it.
## all prompts as one
- for T, S in ((prompt, prompt), → for T, S in ((batch * prompt, batch * prompt),
- rows = batch → rows = 1 if T > 1 else batch
You read all prompts as one long one. Each row attends to its own prompt alone: `batch` rows of T =
prompt.
## one position too many
- context or prompt + 1 → (context or prompt) + 1
`context` is the number of positions that the decode step sees, the new one among them. You add one
to it; only where it is None it is prompt + 1.
## always 4 bytes
- n * size → n * 4
You take 4 bytes for each number, which forward_bytes does if it is told nothing. BYTES[dtype] is the
size, for weights and cache.
## the cache stays at 4 bytes
- n * size → n * size + moved["kv"] * (4 - size)
The weights have the size of `dtype`, the cache still has 4 bytes a number: pass
`cache_bytes_per_number` too.
## the weights stay at 4 bytes
- n * size → n * 4 + moved["kv"] * (size - 4)
The cache has the size of `dtype`, the weights still have 4 bytes a number: pass
`weight_bytes_per_number` too.
## a bare tuple
- Prediction(first.seconds, then.seconds, first, then, batch)
+ (first.seconds, then.seconds, first, then, batch)
The parts are right, but they come back as a bare tuple: return Prediction(ttft_s, itl_s, prefill,
decode, batch).
## the largest peak
- accelerator.flops[dtype] → max(accelerator.flops.values())
You take the largest of the peaks, whatever `dtype` is: accelerator.flops[dtype].
## a dict
- Prediction(first.seconds, then.seconds, first, then, batch)
+ dict(ttft_s=first.seconds, itl_s=then.seconds, prefill=first, decode=then, batch=batch)
The parts have their names, but they come back in a dict. Put them into a Prediction(ttft_s, itl_s,
prefill, decode, batch).
## the context ignored
- context or prompt + 1 → prompt + 1
You always take the first step after the prompt: `context` says at how many positions.
## the new token not counted
- context or prompt + 1 → context or prompt
The first decode step attends to prompt + 1 positions: the new token is one of them.
## one row
- phases = []
+ phases, batch = [], 1
You predict one row, whatever `batch` is.
## the step divided by the batch
- then.seconds, first → then.seconds / batch, first
You divide the step by the batch. Each row waits for the whole step: that is its ITL. (Tokens per
second of all rows are batch / ITL.)
## always 2 bytes
- BYTES[dtype] → 2
You take 2 bytes for each number: BYTES[dtype] has the size of each type.
## always the bf16 peak
- accelerator.flops[dtype] → accelerator.flops["bf16"]
You take the peak of bf16, whatever `dtype` is: accelerator.flops[dtype].
## the head on every position
- sum(flops.values()) → sum(flops.values()) + (T - 1) * flops["head"]
You run the head on every position of the prompt. Only the last one's logits are read;
forward_flops counts one a row if it is told nothing.
## the first step counted into TTFT
- first.seconds, then.seconds → first.seconds + then.seconds, then.seconds
Your TTFT holds a decode step too. The first token is read off the prefill.
## the weights read once for each row
- sum(moved.values()) → batch * sum(numbers_moved(config, 1, T, S).values())
You read the weights once for each row; one forward reads them once for all.
## the prefill with one row
- rows = batch → rows = 1 if T > 1 else batch
Your prefill reads one prompt, whatever `batch` is; all rows have one.
## the prompt added to the context
- context or prompt + 1 → prompt + (context or 1)
You add `context` to the prompt. It is the number of positions in all, the prompt's and the new
ones.
## the cache forgotten
- sum(moved.values()) → sum(moved.values()) - moved["kv"]
The KV cache is missing among the bytes.
""",
    ),
    hints=(
        "Two forwards: the prefill has T = S = prompt, the decode step T = 1 and S = context.",
        "For each: sum the values of forward_flops and of forward_bytes (both sizes BYTES[dtype]), and "
        "give them to `phase` with accelerator.flops[dtype] and accelerator.bandwidth.",
        "If `context` is None it is prompt + 1. Return Prediction(prefill.seconds, decode.seconds, "
        "prefill, decode, batch).",
    ),
)

EXERCISES = (
    COMPUTE_BOUND_BATCH,
    PREDICT_PHASES,
)
