"""Lesson 12: right answers, named mistakes in other words, and wrong answers nobody named."""

import math

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


def changed(change):
    """A right phase, and then something done to it: (phase, flops, bytes, peak, bandwidth)."""

    def wrong(flops, bytes_moved, peak_flops, bandwidth):
        right = phase_by_cases(flops, bytes_moved, peak_flops, bandwidth)
        return Phase(*change(right, flops, bytes_moved, peak_flops, bandwidth))

    return wrong


def other_name(bound):
    return {"memory": "compute", "compute": "memory"}[bound]


def works_times_rates(flops, bytes_moved, peak_flops, bandwidth):
    times = {"memory": bandwidth * bytes_moved, "compute": peak_flops * flops}
    name = max(reversed(times), key=times.get)
    return Phase(times[name], name, flops / bytes_moved)


def rates_by_works(flops, bytes_moved, peak_flops, bandwidth):
    times = {"compute": peak_flops / flops, "memory": bandwidth / bytes_moved}
    name = max(times, key=times.get)
    return Phase(times[name], name, flops / bytes_moved)


# --- attainable -----------------------------------------------------------------------------------


def attainable_by_the_ridge(intensity, peak_flops, bandwidth):
    if intensity < peak_flops / bandwidth:
        return bandwidth * intensity
    return peak_flops


def attainable_by_time(intensity, peak_flops, bandwidth):
    return intensity / max(intensity / peak_flops, 1 / bandwidth)


# --- arithmetic_intensity -------------------------------------------------------------------------


def sizes(b):
    return {"weight_bytes_per_number": b, "cache_bytes_per_number": b}


def intensity_by_sums(config, batch, T, S, bytes_per_number):
    flops = sum(forward_flops(config, batch, T, S).values())
    return flops / sum(forward_bytes(config, batch, T, S, **sizes(bytes_per_number)).values())


def intensity_part_by_part(config, batch, T, S, bytes_per_number):
    moved = forward_bytes(config, batch, T, S, **sizes(bytes_per_number))
    total = 0
    for count in moved.values():
        total += count
    return sum(count / total for count in forward_flops(config, batch, T, S).values())


def per_byte(flops=None, moved=None):
    """Intensity with the parts of one of the counts changed."""

    def wrong(config, batch, T, S, b):
        f = forward_flops(config, batch, T, S)
        m = forward_bytes(config, batch, T, S, **sizes(b))
        f = flops(f) if flops else f
        m = moved(m, batch) if moved else m
        return sum(f.values()) / sum(m.values())

    return wrong


def but(*names):
    return lambda parts, *_: {k: v for k, v in parts.items() if k not in names}


def weights_by_row(parts, batch):
    return parts | {"weights": batch * parts["weights"], "head": batch * parts["head"]}


# --- compute_bound_batch --------------------------------------------------------------------------


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


def alone(config, accelerator, *, batch=1, **options):
    return prediction_by_phases(config, accelerator, **options)


def swapped(*inputs, **options):
    right = prediction_in_a_loop(*inputs, **options)
    return Prediction(right.itl_s, right.ttft_s, right.decode, right.prefill, right.batch)


RIGHT = {
    "phase": [phase_by_cases, phase_by_the_ridge],
    "attainable": [attainable_by_the_ridge, attainable_by_time],
    "arithmetic_intensity": [intensity_by_sums, intensity_part_by_part],
}

SECOND_FORMS = {
    "phase": {
        "the two times are added": changed(
            lambda p, f, m, peak, bw: (f / peak + m / bw, p.bound, p.intensity)
        ),
        "the shorter time": changed(
            lambda p, f, m, peak, bw: (f / max(peak, f / m * bw), p.bound, p.intensity)
        ),
        "compute and memory swapped": changed(
            lambda p, *_: (p.seconds, other_name(p.bound), p.intensity)
        ),
        "a tie called memory": changed(
            lambda p, f, m, peak, bw: (
                p.seconds,
                "memory" if m / bw >= f / peak else "compute",
                p.intensity,
            )
        ),
        "intensity upside down": changed(lambda p, *_: (p.seconds, p.bound, 1 / p.intensity)),
        "the rates exchanged": lambda flops, bytes_moved, bandwidth, peak_flops: phase_by_cases(
            flops, bytes_moved, peak_flops, bandwidth
        ),
        "multiplied by the rate": works_times_rates,
        "the rate over the work": rates_by_works,
        "always memory": changed(lambda p, *_: (p.seconds, "memory", p.intensity)),
        "always compute": changed(lambda p, *_: (p.seconds, "compute", p.intensity)),
        "FLOPs compared with bytes, strictly": changed(
            lambda p, *_: (p.seconds, "compute" if p.intensity > 1 else "memory", p.intensity)
        ),
        "the ridge upside down": changed(
            lambda p, f, m, peak, bw: (
                p.seconds,
                "memory" if p.intensity * peak < bw else "compute",
                p.intensity,
            )
        ),
        "the ridge rounded down": changed(
            lambda p, f, m, peak, bw: (
                p.seconds,
                "memory" if p.intensity < math.floor(peak / bw) else "compute",
                p.intensity,
            )
        ),
        "the intensity rounded down": changed(
            lambda p, *_: (p.seconds, p.bound, math.floor(p.intensity))
        ),
        "whole seconds": lambda f, m, peak, bw: Phase(
            max(math.floor(f / peak), math.floor(m / bw)),
            "memory" if math.floor(m / bw) > math.floor(f / peak) else "compute",
            f / m,
        ),
        "the intensity held against the peak": changed(
            lambda p, f, m, peak, bw: (
                p.seconds,
                "memory" if p.intensity < peak else "compute",
                p.intensity,
            )
        ),
        "milliseconds": changed(lambda p, *_: (1000 * p.seconds, p.bound, p.intensity)),
        "the fields in another order": changed(lambda p, *_: (p.intensity, p.bound, p.seconds)),
        "FLOP/s for the intensity": changed(lambda p, f, *_: (p.seconds, p.bound, f / p.seconds)),
        "a dict": lambda *inputs: vars(phase_by_cases(*inputs)),
        "the seconds alone": lambda *inputs: phase_by_the_ridge(*inputs).seconds,
        "FLOPs compared with bytes": changed(
            lambda p, *_: (p.seconds, "memory" if p.intensity < 1 else "compute", p.intensity)
        ),
        "the ridge for the intensity": changed(
            lambda p, f, m, peak, bw: (p.seconds, p.bound, peak / bw)
        ),
        "the time of memory alone": changed(
            lambda p, f, m, peak, bw: (m / bw, p.bound, p.intensity)
        ),
        "the time of computing alone": changed(
            lambda p, f, m, peak, bw: (f / peak, p.bound, p.intensity)
        ),
        "a bare tuple": lambda f, m, peak, bw: (
            f / min(peak, f / m * bw),
            "memory" if f / peak < m / bw else "compute",
            f / m,
        ),
    },
    "attainable": {
        "the higher line": lambda i, peak, bw: sorted([peak, i * bw])[-1],
        "the two times added": lambda i, peak, bw: peak * i * bw / (peak + i * bw),
        "the two rates added": lambda i, peak, bw: sum([i * bw, peak]),
        "no flat roof": lambda i, peak, bw: peak * (i / (peak / bw)),
        "the peak alone": lambda i, peak, bw: peak / bw * bw,
        "divided by the intensity": lambda i, peak, bw: bw / i if bw / i < peak else peak,
        "the bandwidth forgotten": lambda i, peak, bw: i if i < peak else peak,
        "the intensity forgotten": lambda i, peak, bw: bw if bw < peak else peak,
        "the bandwidth in bits": lambda i, peak, bw: min(8 * peak, i * bw) / 8,
        "in TFLOP/s": lambda i, peak, bw: attainable_by_time(i, peak / 1e12, bw / 1e12),
        "the share of the peak": lambda i, peak, bw: attainable_by_the_ridge(i, peak, bw) / peak,
        "the ridge of the example": lambda i, peak, bw: i * bw if i < 100 / 20 else peak,
        "the ridge rounded down": lambda i, peak, bw: i * bw if i < int(peak / bw) else peak,
        "the ridge upside down": lambda i, peak, bw: i * bw if i * peak < bw else peak,
        "whole FLOPs per byte": lambda i, peak, bw: attainable_by_time(math.floor(i), peak, bw),
        "rounded down": lambda i, peak, bw: (i * bw if i * bw < peak else peak) // 1,
        "the bandwidth outside of the minimum": lambda i, peak, bw: (peak if peak < i else i) * bw,
        "the mean of both lines": lambda i, peak, bw: peak / 2 + i * bw / 2,
        "the ridge": lambda i, peak, bw: 1 / (bw / peak),
        "seconds": lambda i, peak, bw: i / attainable_by_the_ridge(i, peak, bw),
        "the intensity at the peak": lambda i, peak, bw: attainable_by_the_ridge(i, bw, peak),
    },
    "arithmetic_intensity": {
        "upside down": lambda c, B, T, S, b: (
            sum(forward_bytes(c, B, T, S, **sizes(b)).values())
            / sum(forward_flops(c, B, T, S).values())
        ),
        "bits": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, 8 * b),
        "the weights read once for each row": per_byte(moved=weights_by_row),
        "the cache forgotten": per_byte(moved=but("kv_read", "kv_write")),
        "always 4 bytes": lambda c, B, T, S, b: (
            sum(forward_flops(c, B, T, S).values()) / sum(forward_bytes(c, B, T, S).values())
        ),
        "the cache stays at 4 bytes": lambda c, B, T, S, b: (
            sum(forward_flops(c, B, T, S).values())
            / sum(forward_bytes(c, B, T, S, weight_bytes_per_number=b).values())
        ),
        "the weights stay at 4 bytes": lambda c, B, T, S, b: (
            sum(forward_flops(c, B, T, S).values())
            / sum(forward_bytes(c, B, T, S, cache_bytes_per_number=b).values())
        ),
        "the FLOPs of one row": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, b) / B,
        "all positions new": lambda c, B, T, S, b: intensity_by_sums(c, B, S, S, b),
        "the positions before forgotten": lambda c, B, T, S, b: intensity_by_sums(c, B, T, T, b),
        "a multiply–add as one FLOP": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, 2 * b),
        "the head's bytes forgotten": per_byte(moved=but("head")),
        "rounded down": lambda *inputs: math.floor(intensity_by_sums(*inputs)),
        "only W in the bytes": per_byte(moved=but("embedding_rows", "kv_read", "kv_write")),
        "the rows of the embedding forgotten": per_byte(moved=but("embedding_rows")),
        "what is read of the cache forgotten": per_byte(moved=but("kv_read")),
        "what is written of the cache forgotten": per_byte(moved=but("kv_write")),
        "always 2 bytes": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, 2),
        "the size twice": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, b) / b,
        "the size over 4 bytes": lambda c, B, T, S, b: intensity_by_sums(c, B, T, S, 4 * b),
        "the head on every position": lambda c, B, T, S, b: (
            sum(forward_flops(c, B, T, S, T).values())
            / sum(forward_bytes(c, B, T, S, **sizes(b)).values())
        ),
        "the FLOPs without the positions before": lambda c, B, T, S, b: (
            sum(forward_flops(c, B, T, T).values())
            / sum(forward_bytes(c, B, T, S, **sizes(b)).values())
        ),
        "the head's FLOPs forgotten": per_byte(flops=but("head")),
        "attention's FLOPs forgotten": per_byte(flops=but("scores", "weighted_sum")),
        "the FLOPs multiplied by the batch again": lambda c, B, T, S, b: (
            sum(B * f for f in forward_flops(c, B, T, S).values())
            / sum(forward_bytes(c, B, T, S, **sizes(b)).values())
        ),
        "one row's intensity times the batch": lambda c, B, T, S, b: sum(
            intensity_by_sums(c, 1, T, S, b) for _ in range(B)
        ),
        "the envelope's 2n/b": lambda c, B, T, S, b: B * T / (b / 2),
    },
}

UNNAMED = {
    "phase": [
        lambda f, m, peak, bw: (f / peak, m / bw),
        changed(lambda p, *_: (p.seconds, p.bound.upper(), p.intensity)),
        changed(lambda p, f, m, peak, bw: ((f / peak + m / bw) / 2, p.bound, p.intensity)),
        changed(lambda p, *_: (p.seconds, p.bound, round(p.intensity))),
    ],
    "attainable": [
        lambda i, peak, bw: round(min(peak, i * bw)),
        lambda i, peak, bw: abs(peak - i * bw),
        lambda i, peak, bw: min(peak, i * bw) if i * bw > peak else 0.0,
        lambda i, peak, bw: math.sqrt(peak * i * bw),
    ],
    "arithmetic_intensity": [
        lambda c, B, T, S, b: 2 / b,
        lambda c, B, T, S, b: sum(forward_flops(c, B, T, S)),
        per_byte(moved=but("weights")),
    ],
}
