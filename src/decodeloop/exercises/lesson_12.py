"""Exercises of lesson 12: the two times, the roof, intensity, and the compute-bound batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from decodeloop import cost
from decodeloop.cost import BYTES, Phase, Prediction, preset
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Candidate, Case, Exercise, call
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "12_accelerators"
EXACT = 1e-9  # numbers here are arithmetic, some of them small: no absolute slack

# --- phase ----------------------------------------------------------------------------------------


def described(found: Any) -> Any:
    """A phase or a prediction by its parts; a dict, which would look like one, in words."""
    if isinstance(found, Phase):
        return {"seconds": found.seconds, "bound": found.bound, "intensity": found.intensity}
    if isinstance(found, Prediction):
        return {
            "ttft_s": found.ttft_s,
            "itl_s": found.itl_s,
            "prefill": described(found.prefill),
            "decode": described(found.decode),
            "batch": found.batch,
        }
    if isinstance(found, tuple):
        return tuple(described(part) for part in found)
    return f"a dict of {', '.join(found)}" if isinstance(found, Mapping) else found


def phase_by_cross_multiplying(
    flops: float, bytes_moved: float, peak_flops: float, bandwidth: float
) -> dict[str, Any]:
    """Closed form: which product is larger says what binds; nothing is compared as a time."""
    by_compute = Fraction(flops) * Fraction(bandwidth) >= Fraction(bytes_moved) * Fraction(
        peak_flops
    )
    seconds = (
        Fraction(flops) / Fraction(peak_flops)
        if by_compute
        else Fraction(bytes_moved) / Fraction(bandwidth)
    )
    return {
        "seconds": float(seconds),
        "bound": "compute" if by_compute else "memory",
        "intensity": float(Fraction(flops) / Fraction(bytes_moved)),
    }


def timing(label: str, *inputs: float) -> Case:
    return Case(
        label,
        lambda candidate: described(candidate(*inputs)),
        lambda: phase_by_cross_multiplying(*inputs),
        inputs,
    )


def by_two_times(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
    """A right one."""
    compute, memory = flops / peak_flops, bytes_moved / bandwidth
    bound: Literal["compute", "memory"] = "compute" if compute >= memory else "memory"
    return Phase(max(compute, memory), bound, flops / bytes_moved)


PHASE = Exercise(
    name="phase",
    lesson=LESSON,
    library=cost.phase,
    minutes=5,
    difficulty=1,
    tolerance=EXACT,
    cases=(
        timing("200 FLOPs, 100 bytes, at 100 FLOP/s and 20 bytes/s", 200, 100, 100, 20),
        timing("2,000 FLOPs and the same 100 bytes", 2_000, 100, 100, 20),
        timing("both times equal", 500, 100, 100, 20),
        timing("fewer FLOPs than bytes, yet bound by computing", 80, 100, 4, 50),
        timing("a decode step on a laptop", 269e6, 538e6, 150e9, 25e9),
        timing("a prefill on a large GPU", 8.2e13, 1.7e10, 989e12, 3.35e12),
        timing("one operation, one byte", 1, 1, 3.0, 7.0),
        timing("as many FLOPs as bytes, bound by memory", 30, 30, 9.0, 4.0),
        timing("just left of a ridge of 2.5", 22, 10, 10, 4),
        timing("more FLOPs a byte than in a second", 60, 10, 5, 3),
    ),
    mistakes=edits(
        by_two_times,
        """
## the two times are added
- max(compute, memory) → compute + memory
You add the two times. A machine moves the next bytes while it computes with the last: the two
overlap, and the longer one is how long it takes.
## the shorter time
- max(compute, memory) → min(compute, memory)
That is the shorter of the two times. The work is done when both are done: max, not min.
## compute and memory swapped
- compute >= memory → compute < memory
The names are swapped: what takes longer is what binds. If computing takes longer, it is 'compute'.
## a tie called memory
- compute >= memory → compute > memory
All right but where both times are equal: there it shall be called 'compute' (>=).
## intensity upside down
- flops / bytes_moved → bytes_moved / flops
The intensity stands on its head: it is FLOPs for each byte, FLOPs divided by bytes.
## the rates exchanged
- flops / peak_flops, bytes_moved / bandwidth → flops / bandwidth, bytes_moved / peak_flops
You divide FLOPs by the bandwidth and bytes by the peak. Look at the units: FLOPs / (FLOP/s) are
seconds, and so are bytes / (bytes/s).
## multiplied by the rate
- flops / peak_flops, bytes_moved / bandwidth → flops * peak_flops, bytes_moved * bandwidth
You multiply work by rate. A machine twice as fast needs half the time: divide.
## the rate over the work
- flops / peak_flops, bytes_moved / bandwidth → peak_flops / flops, bandwidth / bytes_moved
Both quotients stand on their heads: time is work divided by rate, flops / peak_flops.
## always memory
- "compute" if compute >= memory else "memory" → "memory"
You say "memory" whatever takes longer. Where computing does, it is "compute".
## always compute
- "compute" if compute >= memory else "memory" → "compute"
You say "compute" whatever takes longer. Where moving does, it is "memory".
## FLOPs compared with bytes, strictly
- compute >= memory → flops > bytes_moved
You decide by comparing FLOPs with bytes, or their quotient with 1. A machine may do far more FLOPs
than it moves bytes in a second: compare the two times.
## the ridge upside down
- compute >= memory → flops / bytes_moved >= bandwidth / peak_flops
You hold the intensity against bandwidth / peak. The ridge is peak / bandwidth; or compare the two
times.
## the ridge rounded down
- compute >= memory → flops / bytes_moved >= peak_flops // bandwidth
You round the ridge down, and just left of it call work bound by computing that is not. Compare the
two times, or divide with `/`.
## the intensity rounded down
- bound, flops / bytes_moved → bound, flops // bytes_moved
You round the intensity down to a whole number: `//`. Work with fewer FLOPs than bytes would have 0:
divide with `/`.
## whole seconds
- flops / peak_flops, bytes_moved / bandwidth → flops // peak_flops, bytes_moved // bandwidth
You round both times down to whole seconds: `//`. Divide with `/`.
## the intensity held against the peak
- compute >= memory → flops / bytes_moved >= peak_flops
You hold the intensity against the peak. The ridge is peak / bandwidth; or compare the two times.
## milliseconds
- Phase(max(compute, memory) → Phase(1e3 * max(compute, memory)
Those are milliseconds. FLOPs / (FLOP/s) are seconds, and seconds are asked for.
## the fields in another order
- Phase(max(compute, memory), bound, flops / bytes_moved)
+ Phase(flops / bytes_moved, bound, max(compute, memory))
Seconds and intensity stand in each other's place: Phase(seconds, bound, intensity).
## FLOP/s for the intensity
- bound, flops / bytes_moved → bound, flops / max(compute, memory)
Your intensity is a rate, FLOPs per second. It is FLOPs per byte: flops / bytes_moved.
## FLOPs compared with bytes
- compute >= memory → flops >= bytes_moved
You decide by comparing FLOPs with bytes. A machine may do far more FLOPs than it moves bytes in a
second: compare the two times.
## the ridge for the intensity
- bound, flops / bytes_moved → bound, peak_flops / bandwidth
peak_flops / bandwidth belongs to the machine: that is its ridge. The intensity belongs to the
work: flops / bytes_moved.
## the time of memory alone
- max(compute, memory) → memory
The seconds are always those of memory. Where computing takes longer, its time counts.
## the time of computing alone
- max(compute, memory) → compute
The seconds are always those of computing. Where moving takes longer, its time counts.
## a dict
- return Phase(max(compute, memory), bound, flops / bytes_moved)
+ return {"seconds": max(compute, memory), "bound": bound, "intensity": flops / bytes_moved}
All three are right, but they come back in a dict. Put them into a Phase: return Phase(seconds,
bound, intensity).
## the seconds alone
- Phase(max(compute, memory), bound, flops / bytes_moved) → max(compute, memory)
The seconds are right. Give back all three: return Phase(seconds, bound, intensity).
## a bare tuple
- return Phase(max → return (max
All three are right, but they come back as a bare tuple. Put them into a Phase: return
Phase(seconds, bound, intensity).
""",
    ),
    hints=(
        "Write down the two times first: how long do the FLOPs take at the peak, how long the bytes "
        "at the bandwidth?",
        "compute = flops / peak_flops, memory = bytes_moved / bandwidth. The longer one counts, and "
        "it gives its name to `bound`.",
        "return Phase(max(compute, memory), 'compute' if compute >= memory else 'memory', and the "
        "FLOPs for each byte).",
    ),
)

# --- attainable -----------------------------------------------------------------------------------


def attainable_by_a_byte(intensity: float, peak_flops: float, bandwidth: float) -> float:
    """Closed form: one byte with its FLOPs, divided by how long it takes."""
    byte, work = 1 / Fraction(bandwidth), Fraction(intensity) / Fraction(peak_flops)
    return float(Fraction(intensity) / (work if work > byte else byte))


def the_lower_line(intensity: float, peak: float, bandwidth: float) -> float:
    """A right one."""
    return min(peak, intensity * bandwidth)


ATTAINABLE = Exercise(
    name="attainable",
    lesson=LESSON,
    library=cost.attainable,
    minutes=3,
    difficulty=1,
    tolerance=EXACT,
    cases=(
        call("left of the ridge", 2.0, 100.0, 20.0, oracle=attainable_by_a_byte),
        call("right of the ridge", 20.0, 100.0, 20.0, oracle=attainable_by_a_byte),
        call("at the ridge", 5.0, 100.0, 20.0, oracle=attainable_by_a_byte),
        call("just left of a ridge of 2.5", 2.2, 10, 4, oracle=attainable_by_a_byte),
        call("more FLOPs a byte than in a second", 6.0, 5.0, 2.0, oracle=attainable_by_a_byte),
        call("a peak of 10.75", 3.0, 10.75, 4.0, oracle=attainable_by_a_byte),
        call("half a FLOP a byte on a laptop", 0.5, 150e9, 25e9, oracle=attainable_by_a_byte),
        call("a long prompt on a large GPU", 800.0, 989e12, 3.35e12, oracle=attainable_by_a_byte),
        call("a machine with more bytes than FLOPs", 0.25, 3.0, 40.0, oracle=attainable_by_a_byte),
    ),
    mistakes=edits(
        the_lower_line,
        """
## the higher line
- min(peak, → max(peak,
You take the higher of the two lines. Neither can be exceeded: the lower one is the roof.
## the two times added
- min(peak, intensity * bandwidth) → 1 / (1 / peak + 1 / (intensity * bandwidth))
That is what you get if moving and computing take turns. They overlap: the roof has a sharp corner,
and at the ridge it reaches the peak.
## the two rates added
- min(peak, intensity * bandwidth) → peak + intensity * bandwidth
You add the two rates; that promises more than the peak.
## no flat roof
- min(peak, intensity * bandwidth) → intensity * bandwidth
Nothing stops your line from rising: no machine does more than its peak.
## the peak alone
- min(peak, intensity * bandwidth) → peak
You promise the peak to all work. Work with few FLOPs a byte waits for its bytes.
## divided by the intensity
- intensity * bandwidth → bandwidth / intensity
Bytes/s divided by FLOPs/byte has no meaning. With each byte come `intensity` FLOPs: multiply.
## the bandwidth forgotten
- intensity * bandwidth → intensity
You compare the peak, in FLOP/s, with FLOPs a byte. Bytes arrive at `bandwidth` a second.
## the intensity forgotten
- intensity * bandwidth → bandwidth
You compare the peak, in FLOP/s, with bytes/s. Each byte brings `intensity` FLOPs.
## the bandwidth in bits
- intensity * bandwidth → intensity * bandwidth / 8
Your slope is eight times too low: you divide by 8 as if the bandwidth were in bits. It is in bytes
already.
## in TFLOP/s
- min(peak, intensity * bandwidth) → min(peak, intensity * bandwidth) / 1e12
That is in TFLOP/s. FLOP/s are asked for: nothing is divided by 1e12.
## the share of the peak
- min(peak, intensity * bandwidth) → min(1.0, intensity * bandwidth / peak)
That is the share of the peak. The rate itself is asked for, in FLOP/s.
## the ridge of the example
- min(peak, intensity * bandwidth) → peak if intensity >= 5 else intensity * bandwidth
You take 5 FLOPs per byte for the ridge of every machine. It is peak / bandwidth.
## the ridge rounded down
- min(peak, intensity * bandwidth)
+ peak if intensity >= peak // bandwidth else intensity * bandwidth
You round the ridge down, and just left of it promise the peak. Divide with `/`, or take the lower
one of the two lines.
## the ridge upside down
- min(peak, intensity * bandwidth)
+ peak if intensity >= bandwidth / peak else intensity * bandwidth
You hold the intensity against bandwidth / peak. The ridge is peak / bandwidth.
## whole FLOPs per byte
- intensity * bandwidth → int(intensity) * bandwidth
You round the intensity down to a whole number: work with half a FLOP a byte has 0 then.
## rounded down
- min(peak, intensity * bandwidth) → min(peak, intensity * bandwidth) // 1
You round the rate down. Return it as it is.
## the bandwidth outside of the minimum
- min(peak, intensity * bandwidth) → min(peak, intensity) * bandwidth
The bandwidth stands outside of `min`: you compare the peak, in FLOP/s, with FLOPs a byte. It belongs
to the intensity.
## the mean of both lines
- min(peak, intensity * bandwidth) → (peak + intensity * bandwidth) / 2
You take the mean of the two lines. Neither can be exceeded: the lower one is the roof.
## the ridge
- min(peak, intensity * bandwidth) → peak / bandwidth
That is the ridge, in FLOPs per byte. The rate is asked for, in FLOP/s.
## seconds
- min(peak, intensity * bandwidth) → max(intensity / peak, 1 / bandwidth)
That is how long a byte and its FLOPs take. The rate is asked for: FLOPs by that time.
## the intensity at the peak
- min(peak, intensity * bandwidth) → min(intensity * peak, bandwidth)
You multiply the intensity by the peak. FLOPs/byte times FLOP/s has no meaning; FLOPs/byte times
bytes/s are FLOP/s.
""",
    ),
    hints=(
        "There are two limits: the peak, and what the bytes allow. Which one counts?",
        "In one second `bandwidth` bytes arrive, and each brings `intensity` FLOPs.",
        "The lower of peak_flops and intensity * bandwidth.",
    ),
)

# --- arithmetic_intensity -------------------------------------------------------------------------
#
# Counted here once more, in closed form and for the Llama family alone, so that no oracle leans on
# the library's counts.


def flops_counted(config: ModelConfig, batch: int, T: int, S: int) -> dict[str, int]:
    """FLOPs of one forward by part: two for each weight and position, the head on one a row."""
    C, L, D = config.width, config.layers, config.head_dim
    attention = C * D * (2 * config.heads + 2 * config.kv_heads)
    return {
        "projections": 2 * batch * T * L * attention,
        "attention": 4 * batch * L * config.heads * T * S * D,
        "feed_forward": 2 * batch * T * L * 3 * C * config.feed_forward,
        "head": 2 * batch * config.vocabulary * C,
    }


def numbers_moved(config: ModelConfig, batch: int, T: int, S: int) -> dict[str, int]:
    """Numbers that one forward reads or writes, each once."""
    C, L = config.width, config.layers
    attention = C * config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    layer = attention + 3 * C * config.feed_forward + 2 * C
    return {
        "weights": L * layer + C,
        "head": config.vocabulary * C,
        "embedding_rows": batch * T * C,
        "kv": batch * S * 2 * L * config.kv_heads * config.head_dim,
    }


def intensity_counted(config: ModelConfig, batch: int, T: int, S: int, size: float) -> float:
    """The oracle."""
    flops, moved = flops_counted(config, batch, T, S), numbers_moved(config, batch, T, S)
    return sum(flops.values()) / (sum(moved.values()) * size)


LLAMA_8B = preset("llama-3-8b")

ARITHMETIC_INTENSITY = Exercise(
    name="arithmetic_intensity",
    lesson=LESSON,
    library=cost.arithmetic_intensity,
    minutes=6,
    difficulty=1,
    tolerance=EXACT,
    cases=(
        call("one decode step, fp32", SMOLLM2_135M, 1, 1, 100, 4, oracle=intensity_counted),
        call("a prefill of 128, bf16", SMOLLM2_135M, 1, 128, 128, 2, oracle=intensity_counted),
        call("8 rows at 5,000 positions", SMOLLM2_135M, 8, 1, 5_000, 4, oracle=intensity_counted),
        call("3 rows, 4 new after 5 old, int8", TINY, 3, 4, 9, 1, oracle=intensity_counted),
        call("Llama-3-8B, 2 prompts of 16", LLAMA_8B, 2, 16, 16, 2, oracle=intensity_counted),
        call("Llama-3-8B in 4 bits", LLAMA_8B, 5, 1, 700, 0.5, oracle=intensity_counted),
    ),
    mistakes=edits(
        intensity_counted,
        """
## upside down
- sum(flops.values()) / (sum(moved.values()) * size)
+ sum(moved.values()) * size / sum(flops.values())
Upside down: FLOPs for each byte are FLOPs divided by bytes.
## bits
- * size) → * size * 8)
You divide by bits: eight times too low. `bytes_per_number` is in bytes already.
## the weights read once for each row
- sum(moved.values()) → batch * sum(numbers_moved(config, 1, T, S).values())
You read the weights once for each row. One forward reads each matrix once, and all rows of the
batch are multiplied by it: that is why a batch helps.
## the cache forgotten
- sum(moved.values()) → (sum(moved.values()) - moved["kv"])
The KV cache is missing among the bytes: `kv_read` and `kv_write` are moved too.
## always 4 bytes
- * size) → * 4)
You take 4 bytes for each number, whatever is asked: that is what `forward_bytes` takes if it is
told nothing. It has two sizes to be told, weights and cache.
## the cache stays at 4 bytes
- sum(moved.values()) * size → sum(moved.values()) * size + moved["kv"] * (4 - size)
The weights have the size that is asked for, the cache still has 4 bytes a number: pass
`cache_bytes_per_number` too.
## the weights stay at 4 bytes
- sum(moved.values()) * size → sum(moved.values()) * 4 + moved["kv"] * (size - 4)
The cache has the size that is asked for, the weights still have 4 bytes a number: pass
`weight_bytes_per_number` too.
## the FLOPs of one row
- flops_counted(config, batch, T, S) → flops_counted(config, 1, T, S)
The bytes are those of the batch, the FLOPs those of one row: pass `batch` to both.
## all positions new
- flops_counted(config, batch, T, S) → flops_counted(config, batch, S, S)
- numbers_moved(config, batch, T, S) → numbers_moved(config, batch, S, S)
You compute all S positions anew. Only T of them are new; the others are in the cache.
## the positions before forgotten
- flops_counted(config, batch, T, S) → flops_counted(config, batch, T, T)
- numbers_moved(config, batch, T, S) → numbers_moved(config, batch, T, T)
You count T positions alone, as if nothing stood before them: S is the number of keys.
## a multiply–add as one FLOP
- return sum → return 0.5 * sum
Half of it: a multiplication and an addition are two FLOPs, and `forward_flops` counts them so
already.
## the head's bytes forgotten
- sum(moved.values()) → (sum(moved.values()) - moved["head"])
The head's matrix is missing among the bytes. It is read as a whole, tied or not.
## rounded down
- sum(flops.values()) / (sum → sum(flops.values()) // (sum
`//` rounds down, to 0 for a decode step. Divide with `/`.
## only W in the bytes
- sum(moved.values()) → (moved["weights"] + moved["head"])
You count the bytes that all rows share. Each row moves more: `embedding_rows`, `kv_read` and
`kv_write`.
## the rows of the embedding forgotten
- sum(moved.values()) → (sum(moved.values()) - moved["embedding_rows"])
Among the bytes one entry is missing: `embedding_rows`.
## what is read of the cache forgotten
- sum(moved.values()) → (sum(moved.values()) - moved["kv"] * (S - T) // S)
`kv_read` is missing among the bytes: the S - T positions before the new ones are read, too.
## what is written of the cache forgotten
- sum(moved.values()) → (sum(moved.values()) - moved["kv"] * T // S)
`kv_write` is missing among the bytes.
## always 2 bytes
- * size) → * 2)
You take 2 bytes for each number, whatever is asked: `bytes_per_number`, for weights and cache.
## the size twice
- * size) → * size * size)
You multiply the bytes by `bytes_per_number` once more: forward_bytes gives bytes already if it is
told the sizes.
## the size over 4 bytes
- * size) → * 4 * size)
You let `forward_bytes` count 4 bytes a number and multiply by `bytes_per_number` on top. Tell it both
sizes instead.
## the head on every position
- sum(flops.values()) → (sum(flops.values()) + (T - 1) * flops["head"])
You run the head on every new position. It runs on one of each row, if `forward_flops` is told
nothing.
## the FLOPs without the positions before
- flops_counted(config, batch, T, S) → flops_counted(config, batch, T, T)
The bytes are right. Among the FLOPs you let the T new positions attend to T keys: there are S, those
before them too.
## the head's FLOPs forgotten
- sum(flops.values()) → (sum(flops.values()) - flops["head"])
The head's FLOPs are missing: `head` belongs to the sum.
## attention's FLOPs forgotten
- sum(flops.values()) → (sum(flops.values()) - flops["attention"])
The FLOPs of attention itself are missing: `scores` and `weighted_sum` belong to the sum.
## the FLOPs multiplied by the batch again
- return sum → return batch * sum
You multiply the FLOPs by the batch. `forward_flops` was told the batch, and counts all of its rows
already.
## one row's intensity times the batch
- flops_counted(config, batch, T, S) → flops_counted(config, 1, T, S)
- numbers_moved(config, batch, T, S) → numbers_moved(config, 1, T, S)
- return sum → return batch * sum
FLOPs of the whole batch stand over the bytes of one row (or one row's intensity was multiplied by
the batch, which is the same). Only the weights are shared: each row brings its own cache. Pass
`batch` to both counts.
## the envelope's 2n/b
- sum(flops.values()) / (sum(moved.values()) * size) → 2 * batch * T / size
That is the estimate 2n/b from the back of an envelope. Count: attention, the cache, and the head
on one position are not in it.
""",
    ),
    hints=(
        "Both counts are dicts: sum their values, sum(flops.values()). Then FLOPs over bytes.",
        "forward_flops(config, batch, T, S) and forward_bytes(config, batch, T, S, ...) with both "
        "sizes given.",
        "sum(flops.values()) / sum(moved.values()); forward_bytes takes weight_bytes_per_number and "
        "cache_bytes_per_number, both `bytes_per_number` here.",
    ),
)

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
    PHASE,
    ATTAINABLE,
    ARITHMETIC_INTENSITY,
    COMPUTE_BOUND_BATCH,
    PREDICT_PHASES,
)
