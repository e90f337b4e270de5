"""Exercises of lesson 12: the two times, the roof, intensity, and the compute-bound batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from decodeloop import cost
from decodeloop.cost import BYTES, Phase, Prediction, preset
from decodeloop.exercises.exercise import Candidate, Case, Exercise, Mistake, call
from decodeloop.model import SMOLLM2_135M, TINY, ModelConfig

LESSON = "12_accelerators"
EXACT = 1e-9  # numbers here are arithmetic, some of them small: no absolute slack

# --- phase ----------------------------------------------------------------------------------------


def described(found: Any) -> Any:
    """A phase or a prediction by its parts; anything else as it is."""
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
    return found


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


def by_times(
    seconds: Callable[[float, float], float] = max,
    bound: Callable[[float, float], bool] = lambda compute, memory: compute >= memory,
    intensity: Callable[[float, float], float] = lambda flops, moved: flops / moved,
) -> Candidate:
    """A wrong phase: one of its three parts is made in another way."""

    def wrong(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
        compute, memory = flops / peak_flops, bytes_moved / bandwidth
        return Phase(
            seconds(compute, memory),
            "compute" if bound(compute, memory) else "memory",
            intensity(flops, bytes_moved),
        )

    return wrong


def rates_exchanged(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
    return by_times()(flops, bytes_moved, bandwidth, peak_flops)


def multiplied(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
    compute, memory = flops * peak_flops, bytes_moved * bandwidth
    return Phase(
        max(compute, memory), "compute" if compute >= memory else "memory", flops / bytes_moved
    )


def rate_over_work(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Phase:
    compute, memory = peak_flops / flops, bandwidth / bytes_moved
    return Phase(
        max(compute, memory), "compute" if compute >= memory else "memory", flops / bytes_moved
    )


def more_flops_than_bytes(
    flops: float, bytes_moved: float, peak_flops: float, bandwidth: float
) -> Phase:
    right = by_times()(flops, bytes_moved, peak_flops, bandwidth)
    return Phase(right.seconds, "compute" if flops >= bytes_moved else "memory", right.intensity)


def ridge_as_intensity(
    flops: float, bytes_moved: float, peak_flops: float, bandwidth: float
) -> Phase:
    right = by_times()(flops, bytes_moved, peak_flops, bandwidth)
    return Phase(right.seconds, right.bound, peak_flops / bandwidth)


def bare(flops: float, bytes_moved: float, peak_flops: float, bandwidth: float) -> Any:
    right = by_times()(flops, bytes_moved, peak_flops, bandwidth)
    return right.seconds, right.bound, right.intensity


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
    ),
    mistakes=(
        Mistake(
            "the two times are added",
            "You add the two times. A machine moves the next bytes while it computes with the last: "
            "the two overlap, and the longer one is how long it takes.",
            by_times(seconds=lambda compute, memory: compute + memory),
        ),
        Mistake(
            "the shorter time",
            "That is the shorter of the two times. The work is done when both are done: max, not min.",
            by_times(seconds=min),
        ),
        Mistake(
            "compute and memory swapped",
            "The names are swapped: what takes longer is what binds. If computing takes longer, it "
            "is 'compute'.",
            by_times(bound=lambda compute, memory: compute < memory),
        ),
        Mistake(
            "a tie called memory",
            "All right but where both times are equal: there it shall be called 'compute' (>=).",
            by_times(bound=lambda compute, memory: compute > memory),
        ),
        Mistake(
            "intensity upside down",
            "The intensity stands on its head: it is FLOPs for each byte, FLOPs divided by bytes.",
            by_times(intensity=lambda flops, moved: moved / flops),
        ),
        Mistake(
            "the rates exchanged",
            "You divide FLOPs by the bandwidth and bytes by the peak. Look at the units: FLOPs / "
            "(FLOP/s) are seconds, and so are bytes / (bytes/s).",
            rates_exchanged,
        ),
        Mistake(
            "multiplied by the rate",
            "You multiply work by rate. A machine twice as fast needs half the time: divide.",
            multiplied,
        ),
        Mistake(
            "the rate over the work",
            "Both quotients stand on their heads: time is work divided by rate, flops / peak_flops.",
            rate_over_work,
        ),
        Mistake(
            "FLOPs compared with bytes",
            "You decide by comparing FLOPs with bytes. A machine may do far more FLOPs than it moves "
            "bytes in a second: compare the two times.",
            more_flops_than_bytes,
        ),
        Mistake(
            "the ridge for the intensity",
            "peak_flops / bandwidth belongs to the machine: that is its ridge. The intensity belongs "
            "to the work: flops / bytes_moved.",
            ridge_as_intensity,
        ),
        Mistake(
            "the time of memory alone",
            "The seconds are always those of memory. Where computing takes longer, its time counts.",
            by_times(seconds=lambda compute, memory: memory),
        ),
        Mistake(
            "the time of computing alone",
            "The seconds are always those of computing. Where moving takes longer, its time counts.",
            by_times(seconds=lambda compute, memory: compute),
        ),
        Mistake(
            "a bare tuple",
            "All three are right, but they come back as a bare tuple. Put them into a Phase: "
            "return Phase(seconds, bound, intensity).",
            bare,
        ),
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
        call("half a FLOP a byte on a laptop", 0.5, 150e9, 25e9, oracle=attainable_by_a_byte),
        call("a long prompt on a large GPU", 800.0, 989e12, 3.35e12, oracle=attainable_by_a_byte),
        call("a machine with more bytes than FLOPs", 0.25, 3.0, 40.0, oracle=attainable_by_a_byte),
    ),
    mistakes=(
        Mistake(
            "the higher line",
            "You take the higher of the two lines. Neither can be exceeded: the lower one is the roof.",
            lambda intensity, peak, bandwidth: max(peak, intensity * bandwidth),
        ),
        Mistake(
            "the two times added",
            "That is what you get if moving and computing take turns. They overlap: the roof has a "
            "sharp corner, and at the ridge it reaches the peak.",
            lambda intensity, peak, bandwidth: 1 / (1 / peak + 1 / (intensity * bandwidth)),
        ),
        Mistake(
            "the two rates added",
            "You add the two rates; that promises more than the peak.",
            lambda intensity, peak, bandwidth: peak + intensity * bandwidth,
        ),
        Mistake(
            "no flat roof",
            "Nothing stops your line from rising: no machine does more than its peak.",
            lambda intensity, peak, bandwidth: intensity * bandwidth,
        ),
        Mistake(
            "the peak alone",
            "You promise the peak to all work. Work with few FLOPs a byte waits for its bytes.",
            lambda intensity, peak, bandwidth: peak,
        ),
        Mistake(
            "divided by the intensity",
            "Bytes/s divided by FLOPs/byte has no meaning. With each byte come `intensity` FLOPs: "
            "multiply.",
            lambda intensity, peak, bandwidth: min(peak, bandwidth / intensity),
        ),
        Mistake(
            "the bandwidth forgotten",
            "You compare the peak, in FLOP/s, with FLOPs a byte. Bytes arrive at `bandwidth` a second.",
            lambda intensity, peak, bandwidth: min(peak, intensity),
        ),
        Mistake(
            "the intensity forgotten",
            "You compare the peak, in FLOP/s, with bytes/s. Each byte brings `intensity` FLOPs.",
            lambda intensity, peak, bandwidth: min(peak, bandwidth),
        ),
        Mistake(
            "the bandwidth in bits",
            "Your slope is eight times too low: you divide by 8 as if the bandwidth were in bits. It "
            "is in bytes already.",
            lambda intensity, peak, bandwidth: min(peak, intensity * bandwidth / 8),
        ),
        Mistake(
            "in TFLOP/s",
            "That is in TFLOP/s. FLOP/s are asked for: nothing is divided by 1e12.",
            lambda intensity, peak, bandwidth: min(peak, intensity * bandwidth) / 1e12,
        ),
        Mistake(
            "the share of the peak",
            "That is the share of the peak. The rate itself is asked for, in FLOP/s.",
            lambda intensity, peak, bandwidth: min(1.0, intensity * bandwidth / peak),
        ),
        Mistake(
            "the intensity at the peak",
            "You multiply the intensity by the peak. FLOPs/byte times FLOP/s has no meaning; FLOPs/byte "
            "times bytes/s are FLOP/s.",
            lambda intensity, peak, bandwidth: min(intensity * peak, bandwidth),
        ),
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
    moved = sum(numbers_moved(config, batch, T, S).values())
    return sum(flops_counted(config, batch, T, S).values()) / (moved * size)


Counts = Callable[[ModelConfig, int, int, int], Mapping[str, float]]


def quotient(
    flops: Counts = flops_counted, numbers: Counts = numbers_moved, factor: float = 1.0
) -> Candidate:
    """A wrong intensity: something is counted in another way."""

    def wrong(config: ModelConfig, batch: int, T: int, S: int, bytes_per_number: float) -> float:
        moved = sum(numbers(config, batch, T, S).values()) * bytes_per_number
        return factor * sum(flops(config, batch, T, S).values()) / moved

    return wrong


def bytes_of(weights: float | None, cache: float | None) -> Candidate:
    """Intensity with a fixed size for weights or cache; None takes the one that is asked for."""

    def wrong(config: ModelConfig, batch: int, T: int, S: int, bytes_per_number: float) -> float:
        parts = numbers_moved(config, batch, T, S)
        kv = parts.pop("kv") * (bytes_per_number if cache is None else cache)
        others = sum(parts.values()) * (bytes_per_number if weights is None else weights)
        return sum(flops_counted(config, batch, T, S).values()) / (others + kv)

    return wrong


def without(counts: Counts, *names: str) -> Counts:
    def fewer(config: ModelConfig, batch: int, T: int, S: int) -> Mapping[str, float]:
        return {k: v for k, v in counts(config, batch, T, S).items() if k not in names}

    return fewer


def weights_for_each_row(config: ModelConfig, batch: int, T: int, S: int) -> Mapping[str, float]:
    return {k: batch * v for k, v in numbers_moved(config, 1, T, S).items()}


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
    mistakes=(
        Mistake(
            "upside down",
            "Upside down: FLOPs for each byte are FLOPs divided by bytes.",
            lambda *inputs: 1 / intensity_counted(*inputs),
        ),
        Mistake(
            "bits",
            "You divide by bits: eight times too low. `bytes_per_number` is in bytes already.",
            quotient(factor=1 / 8),
        ),
        Mistake(
            "the weights read once for each row",
            "You read the weights once for each row. One forward reads each matrix once, and all rows "
            "of the batch are multiplied by it: that is why a batch helps.",
            quotient(numbers=weights_for_each_row),
        ),
        Mistake(
            "the cache forgotten",
            "The KV cache is missing among the bytes: `kv_read` and `kv_write` are moved too.",
            quotient(numbers=without(numbers_moved, "kv")),
        ),
        Mistake(
            "always 4 bytes",
            "You take 4 bytes for each number, whatever is asked: that is what `forward_bytes` takes "
            "if it is told nothing. It has two sizes to be told, weights and cache.",
            bytes_of(4, 4),
        ),
        Mistake(
            "the cache stays at 4 bytes",
            "The weights have the size that is asked for, the cache still has 4 bytes a number: pass "
            "`cache_bytes_per_number` too.",
            bytes_of(None, 4),
        ),
        Mistake(
            "the weights stay at 4 bytes",
            "The cache has the size that is asked for, the weights still have 4 bytes a number: pass "
            "`weight_bytes_per_number` too.",
            bytes_of(4, None),
        ),
        Mistake(
            "the FLOPs of one row",
            "The bytes are those of the batch, the FLOPs those of one row: pass `batch` to both.",
            quotient(flops=lambda config, batch, T, S: flops_counted(config, 1, T, S)),
        ),
        Mistake(
            "all positions new",
            "You compute all S positions anew. Only T of them are new; the others are in the cache.",
            quotient(
                flops=lambda config, batch, T, S: flops_counted(config, batch, S, S),
                numbers=lambda config, batch, T, S: numbers_moved(config, batch, S, S),
            ),
        ),
        Mistake(
            "the positions before forgotten",
            "You count T positions alone, as if nothing stood before them: S is the number of keys.",
            quotient(
                flops=lambda config, batch, T, S: flops_counted(config, batch, T, T),
                numbers=lambda config, batch, T, S: numbers_moved(config, batch, T, T),
            ),
        ),
        Mistake(
            "a multiply–add as one FLOP",
            "Half of it: a multiplication and an addition are two FLOPs, and `forward_flops` counts "
            "them so already.",
            quotient(factor=0.5),
        ),
        Mistake(
            "the head's bytes forgotten",
            "The head's matrix is missing among the bytes. It is read as a whole, tied or not.",
            quotient(numbers=without(numbers_moved, "head")),
        ),
        Mistake(
            "attention's FLOPs forgotten",
            "The FLOPs of attention itself are missing: `scores` and `weighted_sum` belong to the sum.",
            quotient(flops=without(flops_counted, "attention")),
        ),
        Mistake(
            "the FLOPs multiplied by the batch again",
            "You multiply the FLOPs by the batch. `forward_flops` was told the batch, and counts all "
            "of its rows already.",
            lambda config, batch, T, S, b: batch * intensity_counted(config, batch, T, S, b),
        ),
        Mistake(
            "one row's intensity times the batch",
            "That is one row's intensity, times the batch. Only the weights are shared: each row brings "
            "its own cache. Pass `batch` to both counts.",
            lambda config, batch, T, S, b: batch * intensity_counted(config, 1, T, S, b),
        ),
        Mistake(
            "the envelope's 2n/b",
            "That is the estimate 2n/b from the back of an envelope. Count: attention, the cache, and "
            "the head on one position are not in it.",
            lambda config, batch, T, S, b: 2 * batch * T / b,
        ),
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


Solved = Callable[[float, float, float, float], float | None]


def first_batch(f: float, W: float, c: float, r: float) -> float | None:
    """The smallest B with B·f ≥ r·(W + B·c)."""
    return math.ceil(r * W / (f - r * c)) if f > r * c else None


Sizes = Callable[[Mapping[str, float], float], tuple[float, float]]


def shared_and_own(numbers: Mapping[str, float], b: float) -> tuple[float, float]:
    """W and c in bytes, from one row's numbers."""
    shared = numbers["weights"] + numbers["head"]
    return shared * b, (numbers["embedding_rows"] + numbers["kv"]) * b


def solved(
    solve: Solved = first_batch,
    flops: Counts = flops_counted,
    size: float | None = None,
    peak: float = 1.0,
    sizes: Sizes = shared_and_own,
) -> Candidate:
    """A wrong batch: one number, or the way to it, is another."""

    def wrong(
        config: ModelConfig,
        length: int,
        peak_flops: float,
        bandwidth: float,
        bytes_per_number: float,
    ) -> float | None:
        numbers = numbers_moved(config, 1, 1, length)
        b = bytes_per_number if size is None else size
        old = 2 * config.layers * config.kv_heads * config.head_dim * (length - 1)
        W, c = sizes({**numbers, "kv_read": old}, b)
        f = sum(flops(config, 1, 1, length).values())
        return solve(f, W, c, peak * peak_flops / bandwidth)

    return wrong


def bits(
    config: ModelConfig, length: int, peak_flops: float, bandwidth: float, bytes_per_number: float
) -> float | None:
    return solved()(config, length, peak_flops, bandwidth, 8 * bytes_per_number)


def each_row_reads_all(f: float, W: float, c: float, r: float) -> float | None:
    return 1 if f >= r * (W + c) else None


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
    cases=tuple(call(label, *inputs, oracle=batch_by_bisection) for label, *inputs in BATCH_CASES),
    mistakes=(
        Mistake(
            "the cache forgotten",
            "You forget that each row brings its own cache: then there is always a batch. Bytes are "
            "W + B·c, and c grows with the length.",
            solved(lambda f, W, c, r: math.ceil(r * W / f)),
        ),
        Mistake(
            "the weights multiplied by the batch",
            "You multiply the weights by the batch too; then FLOPs and bytes grow alike and no batch "
            "changes anything. One forward reads the weights once for all rows.",
            solved(each_row_reads_all),
        ),
        Mistake(
            "one cache for all rows",
            "You read one cache for the whole batch. No two rows share theirs: it is B·c.",
            solved(lambda f, W, c, r: math.ceil(r * (W + c) / f)),
        ),
        Mistake(
            "rounded down",
            "Rounded down, the batch is one too small: at that size the step still waits for memory.",
            solved(lambda f, W, c, r: math.floor(r * W / (f - r * c)) if f > r * c else None),
        ),
        Mistake(
            "not rounded",
            "A batch is a whole number: round up with math.ceil.",
            solved(lambda f, W, c, r: r * W / (f - r * c) if f > r * c else None),
        ),
        Mistake(
            "to the nearest",
            "Rounded to the nearest whole number, the batch is often one too small. Round up.",
            solved(lambda f, W, c, r: round(r * W / (f - r * c)) if f > r * c else None),
        ),
        Mistake(
            "one more than the whole part",
            "int(x) + 1 rounds up, but not where x is whole already: there it is one too many. "
            "math.ceil leaves whole numbers alone.",
            solved(lambda f, W, c, r: int(r * W / (f - r * c)) + 1 if f > r * c else None),
        ),
        Mistake(
            "the embedding's row forgotten",
            "Among a row's own bytes one entry is missing: `embedding_rows`. c is all but `weights` "
            "and `head`. It is small, but near the wall it decides.",
            solved(sizes=lambda n, b: ((n["weights"] + n["head"]) * b, n["kv"] * b)),
        ),
        Mistake(
            "the cache's reading alone",
            "You take `kv_read` alone for c. A row also writes one position (`kv_write`) and reads its "
            "row of the embedding.",
            solved(sizes=lambda n, b: ((n["weights"] + n["head"]) * b, n["kv_read"] * b)),
        ),
        Mistake(
            "W without the head",
            "The head is missing in W: its matrix is read once for all rows, like the layers' weights.",
            solved(sizes=lambda n, b: (n["weights"] * b, (n["embedding_rows"] + n["kv"]) * b)),
        ),
        Mistake(
            "the head counted as a row's own",
            "You count the head among the bytes of each row. Its matrix is read once for all: it "
            "belongs to W.",
            solved(
                sizes=lambda n, b: (
                    n["weights"] * b,
                    (n["head"] + n["embedding_rows"] + n["kv"]) * b,
                )
            ),
        ),
        Mistake(
            "the cache stays at 4 bytes",
            "The weights have the size that is asked for, the cache still has 4 bytes a number: pass "
            "`cache_bytes_per_number` too.",
            solved(
                sizes=lambda n, b: (
                    (n["weights"] + n["head"]) * b,
                    n["embedding_rows"] * b + n["kv"] * 4,
                )
            ),
        ),
        Mistake(
            "the weights stay at 4 bytes",
            "The cache has the size that is asked for, the weights still have 4 bytes a number: pass "
            "`weight_bytes_per_number` too.",
            solved(
                sizes=lambda n, b: (
                    (n["weights"] + n["head"]) * 4,
                    n["embedding_rows"] * 4 + n["kv"] * b,
                )
            ),
        ),
        Mistake(
            "a negative batch",
            "Where a row's own bytes take longer than its FLOPs, f - r·c is negative, and so is your "
            "batch: no batch is enough, return None.",
            solved(lambda f, W, c, r: math.ceil(r * W / (f - r * c))),
        ),
        Mistake(
            "0 where there is none",
            "Right, but where no batch is enough you return 0: None is asked for.",
            solved(lambda f, W, c, r: first_batch(f, W, c, r) or 0),
        ),
        Mistake(
            "the sparse peak, or half the FLOPs",
            "Your machine computes twice too fast for its work. Either you count half the FLOPs (a "
            "multiplication and an addition are two), or you doubled the peak, as data sheets do for "
            "2:4 sparse matrices; these are dense.",
            solved(peak=2.0),
        ),
        Mistake(
            "bits",
            "Your bytes are eight times too many: `bytes_per_number` is in bytes already.",
            bits,
        ),
        Mistake(
            "TFLOP/s for FLOP/s",
            "You divide the peak by 1e12. It is given in FLOP/s and the bandwidth in bytes/s; so keep "
            "both.",
            solved(peak=1e-12),
        ),
        Mistake(
            "the ridge upside down",
            "The ridge stands on its head: it is peak_flops / bandwidth, FLOPs for each byte.",
            solved(lambda f, W, c, r: first_batch(f, W, c, 1 / r)),
        ),
        Mistake(
            "the ridge itself",
            "That is the ridge. It equals the batch only where a weight takes 2 bytes and no row has a "
            "cache to speak of.",
            solved(lambda f, W, c, r: math.ceil(r)),
        ),
        Mistake(
            "attention's FLOPs forgotten",
            "The FLOPs of attention itself are missing, though its bytes are there: scores and "
            "weighted sum belong to f.",
            solved(flops=without(flops_counted, "attention")),
        ),
        Mistake(
            "always 4 bytes",
            "You take 4 bytes for each number, whatever is asked.",
            solved(size=4),
        ),
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


def as_prediction(parts: Mapping[str, Any]) -> Prediction:
    return Prediction(
        parts["ttft_s"],
        parts["itl_s"],
        Phase(**parts["prefill"]),
        Phase(**parts["decode"]),
        parts["batch"],
    )


def asked_otherwise(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Candidate:
    """A wrong prediction: right, but for other options than those that are asked for."""

    def wrong(config: ModelConfig, accelerator: Card, **options: Any) -> Prediction:
        return as_prediction(counted_prediction(config, accelerator, **change(options)))

    return wrong


def answered_otherwise(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Candidate:
    """A wrong prediction: the right one, and then something done to it."""

    def wrong(config: ModelConfig, accelerator: Card, **options: Any) -> Prediction:
        parts = counted_prediction(config, accelerator, **options)
        return as_prediction(parts | change(parts))

    return wrong


def phases_with(
    flops: Counts = flops_counted,
    numbers: Counts = numbers_moved,
    size: float | None = None,
    peak: str | None = None,
) -> Candidate:
    """A wrong prediction: something is counted, or looked up, in another way."""

    def wrong(
        config: ModelConfig,
        accelerator: Card,
        *,
        batch: int = 1,
        prompt: int,
        context: int | None = None,
        dtype: str = "bf16",
    ) -> Prediction:
        b = BYTES[dtype] if size is None else size

        def one(T: int, S: int) -> Phase:
            moved = sum(numbers(config, batch, T, S).values()) * b
            total = sum(flops(config, batch, T, S).values())
            return by_times()(total, moved, accelerator.flops[peak or dtype], accelerator.bandwidth)

        first, then = one(prompt, prompt), one(1, context or prompt + 1)
        return Prediction(first.seconds, then.seconds, first, then, batch)

    return wrong


def head_everywhere(config: ModelConfig, batch: int, T: int, S: int) -> Mapping[str, float]:
    counts = flops_counted(config, batch, T, S)
    return counts | {"head": T * counts["head"]}


def prefill_of_one(config: ModelConfig, accelerator: Card, **options: Any) -> Prediction:
    alone = counted_prediction(config, accelerator, **{**options, "batch": 1})
    parts = counted_prediction(config, accelerator, **options)
    return as_prediction(parts | {k: alone[k] for k in ("ttft_s", "prefill")})


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
    mistakes=(
        Mistake(
            "the two times swapped",
            "TTFT and ITL are swapped: the prefill comes first and gives the time to first token.",
            answered_otherwise(lambda p: {"ttft_s": p["itl_s"], "itl_s": p["ttft_s"]}),
        ),
        Mistake(
            "the context ignored",
            "You always take the first step after the prompt: `context` says at how many positions.",
            asked_otherwise(lambda options: {k: v for k, v in options.items() if k != "context"}),
        ),
        Mistake(
            "the new token not counted",
            "The first decode step attends to prompt + 1 positions: the new token is one of them.",
            asked_otherwise(lambda options: {"context": options["prompt"]} | options),
        ),
        Mistake(
            "one row",
            "You predict one row, whatever `batch` is.",
            asked_otherwise(lambda options: options | {"batch": 1}),
        ),
        Mistake(
            "the step divided by the batch",
            "You divide the step by the batch. Each row waits for the whole step: that is its ITL. "
            "(Tokens per second of all rows are batch / ITL.)",
            answered_otherwise(lambda p: {"itl_s": p["itl_s"] / p["batch"]}),
        ),
        Mistake(
            "always 2 bytes",
            "You take 2 bytes for each number: BYTES[dtype] has the size of each type.",
            phases_with(size=2),
        ),
        Mistake(
            "always the bf16 peak",
            "You take the peak of bf16, whatever `dtype` is: accelerator.flops[dtype].",
            phases_with(peak="bf16"),
        ),
        Mistake(
            "the head on every position",
            "You run the head on every position of the prompt. Only the last one's logits are read; "
            "forward_flops counts one a row if it is told nothing.",
            phases_with(flops=head_everywhere),
        ),
        Mistake(
            "the first step counted into TTFT",
            "Your TTFT holds a decode step too. The first token is read off the prefill.",
            answered_otherwise(lambda p: {"ttft_s": p["ttft_s"] + p["itl_s"]}),
        ),
        Mistake(
            "the weights read once for each row",
            "You read the weights once for each row; one forward reads them once for all.",
            phases_with(numbers=weights_for_each_row),
        ),
        Mistake(
            "the prefill with one row",
            "Your prefill reads one prompt, whatever `batch` is; all rows have one.",
            prefill_of_one,
        ),
        Mistake(
            "the prompt added to the context",
            "You add `context` to the prompt. It is the number of positions in all, the prompt's and "
            "the new ones.",
            asked_otherwise(
                lambda options: {
                    **options,
                    "context": options["prompt"] + options.get("context", 1),
                }
            ),
        ),
        Mistake(
            "the cache forgotten",
            "The KV cache is missing among the bytes.",
            phases_with(numbers=without(numbers_moved, "kv")),
        ),
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
