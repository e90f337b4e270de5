"""Exercises of lesson 12: the two times, the roof, intensity, and the compute-bound batch."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

from decodeloop import cost
from decodeloop.cost import Phase, Prediction, preset
from decodeloop.exercises.edits import edits
from decodeloop.exercises.exercise import Case, Exercise, call
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

EXERCISES = (
    PHASE,
    ATTAINABLE,
    ARITHMETIC_INTENSITY,
)
