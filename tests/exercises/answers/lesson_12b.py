"""Lesson 12b: right answers, named mistakes in other words, and wrong answers nobody named."""

import math
from dataclasses import replace

from decodeloop.cost import (
    BYTES,
    Phase,
    Prediction,
    decode_bytes,
    decode_flops,
    forward_bytes,
    forward_flops,
    prefill_bytes,
    prefill_flops,
)

# --- phase ----------------------------------------------------------------------------------------


def phase_by_cases(flops, bytes_moved, peak_flops, bandwidth):
    computing = flops / peak_flops
    moving = bytes_moved / bandwidth
    if computing < moving:
        return Phase(moving, "memory", flops / bytes_moved)
    return Phase(computing, "compute", flops / bytes_moved)


def phase_by_the_ridge(flops, bytes_moved, peak_flops, bandwidth):
    intensity = flops / bytes_moved
    rate = min(peak_flops, bandwidth * intensity)
    bound = "memory" if intensity < peak_flops / bandwidth else "compute"
    return Phase(seconds=flops / rate, bound=bound, intensity=intensity)


# --- arithmetic_intensity -------------------------------------------------------------------------


def sizes(b):
    return {"weight_bytes_per_number": b, "cache_bytes_per_number": b}


def but(*names):
    return lambda parts, *_: {k: v for k, v in parts.items() if k not in names}


# --- compute_bound_batch --------------------------------------------------------------------------


def batch_by_formula(config, length, peak_flops, bandwidth, bytes_per_number):
    moved = forward_bytes(config, 1, 1, length, **sizes(bytes_per_number))
    own = moved["embedding_rows"] + moved["kv_read"] + moved["kv_write"]
    r = peak_flops / bandwidth
    left = decode_flops(config, 1, length) - r * own
    if left <= 0:
        return None
    return -int(-(r * (moved["weights"] + moved["head"])) // left)


def batch_by_search(config, length, peak_flops, bandwidth, bytes_per_number):
    def enough(batch):
        moved = decode_bytes(config, batch, length, **sizes(bytes_per_number))
        return decode_flops(config, batch, length) * bandwidth >= moved * peak_flops

    high = 1
    while not enough(high):
        high *= 2
        if high > 2**50:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high


def two_forwards(solve):
    """W and c from forwards of one row and of two: the second row adds only its own."""

    def wrong(config, length, peak_flops, bandwidth, b):
        one, two = (decode_bytes(config, rows, length, **sizes(b)) for rows in (1, 2))
        c = two - one
        f = decode_flops(config, 1, length)
        return solve(f, one - c, c, peak_flops / bandwidth)

    return wrong


def from_parts(divide, weight=None, cache=None):
    """W and c by names from the bytes of one row."""

    def wrong(config, length, peak_flops, bandwidth, b):
        W, c = divide(
            forward_bytes(
                config,
                1,
                1,
                length,
                weight_bytes_per_number=weight or b,
                cache_bytes_per_number=cache or b,
            )
        )
        return smallest(decode_flops(config, 1, length), W, c, peak_flops / bandwidth)

    return wrong


def searching(most):
    def in_a_loop(config, length, peak_flops, bandwidth, b):
        """Tries batches, and gives up at the most."""
        for batch in range(1, most + 1):
            moved = decode_bytes(config, batch, length, **sizes(b))
            if decode_flops(config, batch, length) / peak_flops >= moved / bandwidth:
                return batch
        return None

    return in_a_loop


def up(x):
    return -int(-x // 1)


def smallest(f, W, c, r):
    return None if f <= r * c else up(r * W / (f - r * c))


def weights_times_batch(config, length, peak_flops, bandwidth, b):
    """Tries batches, each reading the weights as often as it has rows."""
    for batch in range(1, 50):
        moved = batch * decode_bytes(config, 1, length, **sizes(b))
        if decode_flops(config, batch, length) / peak_flops >= moved / bandwidth:
            return batch
    return None


def called_with(change):
    def wrong(config, length, peak_flops, bandwidth, b):
        return batch_by_formula(config, length, *change(peak_flops, bandwidth, b))

    return wrong


def without_scores(config, length, peak_flops, bandwidth, b):
    f = forward_flops(config, 1, 1, length)
    of_weights = f["projections"] + f["feed_forward"] + f["head"]
    one, two = (decode_bytes(config, rows, length, **sizes(b)) for rows in (1, 2))
    return smallest(of_weights, 2 * one - two, two - one, peak_flops / bandwidth)


def two_per_weight(config, length, peak_flops, bandwidth, b):
    one, two = (decode_bytes(config, rows, length, **sizes(b)) for rows in (1, 2))
    return smallest(2 * (2 * one - two) / b, 2 * one - two, two - one, peak_flops / bandwidth)


def without_head(config, length, peak_flops, bandwidth, b):
    f = decode_flops(config, 1, length) - forward_flops(config, 1, 1, length)["head"]
    one, two = (decode_bytes(config, rows, length, **sizes(b)) for rows in (1, 2))
    return smallest(f, 2 * one - two, two - one, peak_flops / bandwidth)


# --- predict_phases -------------------------------------------------------------------------------


def prediction_by_phases(config, accelerator, *, batch=1, prompt, context=None, dtype="bf16"):
    b = sizes(BYTES[dtype])
    rates = accelerator.flops[dtype], accelerator.bandwidth
    S = prompt + 1 if context is None else context
    first = phase_by_cases(
        prefill_flops(config, batch, prompt), prefill_bytes(config, batch, prompt, **b), *rates
    )
    then = phase_by_cases(
        decode_flops(config, batch, S), decode_bytes(config, batch, S, **b), *rates
    )
    return Prediction(first.seconds, then.seconds, first, then, batch)


def prediction_in_a_loop(config, accelerator, *, batch=1, prompt, context=None, dtype="bf16"):
    phases = []
    for T, S in ((prompt, prompt), (1, context or prompt + 1)):
        flops = sum(forward_flops(config, batch, T, S).values())
        moved = forward_bytes(config, batch, T, S, **sizes(BYTES[dtype]))
        phases.append(
            phase_by_the_ridge(
                flops, sum(moved.values()), accelerator.flops[dtype], accelerator.bandwidth
            )
        )
    return Prediction(
        ttft_s=phases[0].seconds,
        itl_s=phases[1].seconds,
        prefill=phases[0],
        decode=phases[1],
        batch=batch,
    )


def predicting(
    flops=lambda c, B, T, S: sum(forward_flops(c, B, T, S).values()),
    moved=None,
    peak=None,
    size=None,
    weight=None,
    cache=None,
    step=None,
):
    """A wrong prediction, from its parts."""

    def wrong(config, accelerator, *, batch=1, prompt, context=None, dtype="bf16"):
        def one(T, S):
            parts = forward_bytes(
                config,
                batch,
                T,
                S,
                weight_bytes_per_number=weight or size or BYTES[dtype],
                cache_bytes_per_number=cache or size or BYTES[dtype],
            )
            parts = moved(parts, batch) if moved else parts
            return phase_by_the_ridge(
                flops(config, batch, T, S),
                sum(parts.values()),
                max(accelerator.flops.values())
                if peak is max
                else accelerator.flops[peak or dtype],
                accelerator.bandwidth,
            )

        S = step(prompt, context) if step else context or prompt + 1
        first, then = one(prompt, prompt), one(1, S)
        return Prediction(first.seconds, then.seconds, first, then, batch)

    return wrong


def afterwards(change):
    def wrong(config, accelerator, **options):
        right = prediction_in_a_loop(config, accelerator, **options)
        ttft, itl = change(right)
        return Prediction(ttft, itl, right.prefill, right.decode, right.batch)

    return wrong


def alone(config, accelerator, *, batch=1, **options):
    return prediction_by_phases(config, accelerator, **options)


def swapped(*inputs, **options):
    right = prediction_in_a_loop(*inputs, **options)
    return Prediction(right.itl_s, right.ttft_s, right.decode, right.prefill, right.batch)


def prefill_over_the_context(config, accelerator, *, context=None, prompt, **options):
    right = prediction_in_a_loop(config, accelerator, context=context, prompt=prompt, **options)
    if context is None:
        return right
    batch, dtype = options.get("batch", 1), options.get("dtype", "bf16")
    first = phase_by_cases(
        sum(forward_flops(config, batch, prompt, context).values()),
        sum(forward_bytes(config, batch, prompt, context, **sizes(BYTES[dtype])).values()),
        accelerator.flops[dtype],
        accelerator.bandwidth,
    )
    return replace(right, ttft_s=first.seconds, prefill=first)


def decode_alone(*inputs, batch=1, **options):
    one = prediction_by_phases(*inputs, **options)
    all_rows = prediction_by_phases(*inputs, batch=batch, **options)
    return Prediction(all_rows.ttft_s, one.itl_s, all_rows.prefill, one.decode, batch)


def prompts_as_one(*inputs, batch=1, prompt, context=None, **options):
    right = prediction_by_phases(*inputs, batch=batch, prompt=prompt, context=context, **options)
    long = prediction_by_phases(*inputs, prompt=batch * prompt, **options).prefill
    return replace(right, ttft_s=long.seconds, prefill=long)


def prefill_alone(config, accelerator, *, batch=1, **options):
    one = prediction_by_phases(config, accelerator, batch=1, **options)
    all_rows = prediction_by_phases(config, accelerator, batch=batch, **options)
    return Prediction(one.ttft_s, all_rows.itl_s, one.prefill, all_rows.decode, batch)


RIGHT = {
    "compute_bound_batch": [batch_by_formula, batch_by_search],
    "predict_phases": [prediction_by_phases, prediction_in_a_loop],
}

SECOND_FORMS = {
    "compute_bound_batch": {
        "the cache forgotten": two_forwards(lambda f, W, c, r: smallest(f, W, 0, r)),
        "the weights multiplied by the batch": weights_times_batch,
        "one cache for all rows": two_forwards(lambda f, W, c, r: smallest(f, W + c, 0, r)),
        "rounded down": two_forwards(
            lambda f, W, c, r: None if f <= r * c else int(r * W / (f - r * c))
        ),
        "not rounded": two_forwards(lambda f, W, c, r: None if f <= r * c else W / (f / r - c)),
        "a negative batch": two_forwards(lambda f, W, c, r: up(W / (f / r - c))),
        "to the nearest": two_forwards(
            lambda f, W, c, r: None if f <= r * c else math.floor(r * W / (f - r * c) + 0.5)
        ),
        "one more than the whole part": two_forwards(
            lambda f, W, c, r: None if f <= r * c else r * W // (f - r * c) + 1
        ),
        "the embedding's row forgotten": from_parts(
            lambda m: (m["weights"] + m["head"], m["kv_read"] + m["kv_write"])
        ),
        "the cache's reading alone": from_parts(lambda m: (m["weights"] + m["head"], m["kv_read"])),
        "W without the head": from_parts(
            lambda m: (m["weights"], m["embedding_rows"] + m["kv_read"] + m["kv_write"])
        ),
        "the head counted as a row's own": from_parts(
            lambda m: (m["weights"], sum(m.values()) - m["weights"])
        ),
        "the cache stays at 4 bytes": from_parts(
            lambda m: (m["weights"] + m["head"], sum(m.values()) - m["weights"] - m["head"]),
            cache=4,
        ),
        "the weights stay at 4 bytes": from_parts(
            lambda m: (m["weights"] + m["head"], sum(m.values()) - m["weights"] - m["head"]),
            weight=4,
        ),
        "a negative batch, but for 0": two_forwards(
            lambda f, W, c, r: None if f == r * c else up(r * W / (f - r * c))
        ),
        "a batch of 1 where there is none": two_forwards(
            lambda f, W, c, r: smallest(f, W, c, r) or (None if f == r * c else 1)
        ),
        "the magnitude": two_forwards(
            lambda f, W, c, r: smallest(f, W, c, r) or smallest(-f, W, -c, r)
        ),
        "None only below 0": two_forwards(
            lambda f, W, c, r: None if f < r * c else up(r * W / (f - r * c))
        ),
        "the ridge rounded down": called_with(lambda peak, bw, b: (math.floor(peak / bw), 1, b)),
        "doubled only": lambda *inputs: next(
            (2**i for i in range(50) if 2**i >= (batch_by_search(*inputs) or 2**50)), None
        ),
        "what is written of the cache forgotten": from_parts(
            lambda m: (m["weights"] + m["head"], m["embedding_rows"] + m["kv_read"])
        ),
        "a sum for the difference": two_forwards(lambda f, W, c, r: smallest(f, W, -c, r)),
        "gives up near a thousand": searching(1_024),
        "gives up later": searching(1_250),
        "infinity where there is none": lambda *inputs: batch_by_search(*inputs) or math.inf,
        "-1 where there is none": lambda *inputs: batch_by_search(*inputs) or -1,
        "one row's own bytes in W too": two_forwards(lambda f, W, c, r: smallest(f, W + c, c, r)),
        "one position too many": lambda config, length, *rates: batch_by_formula(
            config, length + 1, *rates
        ),
        "the head's FLOPs forgotten": without_head,
        "two FLOPs for each weight": two_per_weight,
        "the envelope's r·b/2": lambda config, length, peak, bw, b: up(peak / bw / 2 * b),
        "always 2 bytes": called_with(lambda peak, bw, b: (peak, bw, 2)),
        "0 where there is none": lambda *inputs: batch_by_search(*inputs) or 0,
        "the sparse peak, or half the FLOPs": called_with(lambda peak, bw, b: (peak + peak, bw, b)),
        "bits": called_with(lambda peak, bw, b: (peak, bw, b * 8)),
        "TFLOP/s for FLOP/s": called_with(lambda peak, bw, b: (peak / 1e12, bw, b)),
        "the ridge upside down": called_with(lambda peak, bw, b: (bw, peak, b)),
        "the ridge itself": lambda config, length, peak, bw, b: up(peak / bw),
        "attention's FLOPs forgotten": without_scores,
        "always 4 bytes": called_with(lambda peak, bw, b: (peak, bw, 4)),
    },
    "predict_phases": {
        "the two times swapped": afterwards(lambda p: (p.decode.seconds, p.prefill.seconds)),
        "the two phases swapped": swapped,
        "milliseconds": afterwards(lambda p: (p.ttft_s * 1000, p.itl_s * 1000)),
        "the batch not told": lambda *inputs, **options: replace(
            prediction_by_phases(*inputs, **options), batch=1
        ),
        "the first time for both": afterwards(lambda p: (p.ttft_s, p.prefill.seconds)),
        "the TTFT divided by the batch": afterwards(lambda p: (p.ttft_s / p.batch, p.itl_s)),
        "the prefill over the context": prefill_over_the_context,
        "the decode step with one row": decode_alone,
        "all prompts as one": prompts_as_one,
        "one position too many": predicting(
            step=lambda prompt, context: 1 + (prompt if context is None else context)
        ),
        "always 4 bytes": predicting(size=4),
        "the cache stays at 4 bytes": predicting(cache=4),
        "the weights stay at 4 bytes": predicting(weight=4),
        "a bare tuple": lambda *inputs, **options: tuple(
            vars(prediction_in_a_loop(*inputs, **options)).values()
        ),
        "the largest peak": predicting(peak=max),
        "a dict": lambda *inputs, **options: vars(prediction_by_phases(*inputs, **options)),
        "the context ignored": predicting(step=lambda prompt, context: prompt + 1),
        "the new token not counted": predicting(step=lambda prompt, context: context or prompt),
        "one row": alone,
        "the step divided by the batch": afterwards(lambda p: (p.ttft_s, 1 / (p.batch / p.itl_s))),
        "always 2 bytes": predicting(size=2),
        "always the bf16 peak": predicting(peak="bf16"),
        "the head on every position": predicting(
            flops=lambda c, B, T, S: sum(forward_flops(c, B, T, S, logits=T).values())
        ),
        "the first step counted into TTFT": afterwards(
            lambda p: (p.prefill.seconds + p.decode.seconds, p.decode.seconds)
        ),
        "the weights read once for each row": predicting(
            moved=lambda parts, batch: parts | {k: batch * parts[k] for k in ("weights", "head")}
        ),
        "the cache forgotten": predicting(moved=but("kv_read", "kv_write")),
        "the prefill with one row": prefill_alone,
        "the prompt added to the context": predicting(
            step=lambda prompt, context: prompt + (context or 1)
        ),
    },
}

UNNAMED = {
    "compute_bound_batch": [
        searching(40),
        two_forwards(lambda f, W, c, r: None if f <= r * c else smallest(f, W, c, r) + 1),
        two_forwards(lambda f, W, c, r: smallest(f, W, c, r) or 10**9),
        two_forwards(lambda f, W, c, r: smallest(f, W, c * c, r)),
    ],
    "predict_phases": [
        afterwards(lambda p: (p.ttft_s, p.itl_s * p.batch)),
        afterwards(lambda p: (p.ttft_s * p.batch, p.itl_s)),
        predicting(step=lambda prompt, context: prompt),
    ],
}
