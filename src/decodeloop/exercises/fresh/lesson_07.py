"""Random inputs for the exercises of lesson 07."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from decodeloop.exercises.fresh.drawing import Driven, drawn, seeds, shaped, sizes


def a_forecast(rows, vocabulary, seed):
    return drawn(seed, rows, vocabulary + 1, scale=2.0)


def with_an_odd_number(values):
    """Logits and one option that no random sum or ratio meets exactly."""
    return lambda rows, vocabulary, seed: (
        a_forecast(rows, vocabulary, seed),
        values[seed % len(values)],
    )


def clear_p(rows, vocabulary, seed):
    """Logits and a p that is far from every cumulative sum: no rounding decides."""
    logits = a_forecast(rows, vocabulary, seed)
    sums = F.softmax(logits, -1).sort(-1, descending=True).values.cumsum(-1)
    for p in (0.9, 0.5, 0.7, 0.3, 0.05, 0.6):
        if (sums - p).abs().min() > 1e-4:
            return logits, p
    return logits, 1.0


def what_draws_show(candidate, logits):
    """What must be the same for every right sampler, whatever numbers it draws."""
    drawn_ids = candidate(logits.expand(3000, *logits.shape), torch.Generator().manual_seed(1))
    shares = torch.stack([(drawn_ids == i).float().mean(0) for i in range(logits.shape[-1])], -1)
    return {
        "shape": list(drawn_ids.shape),
        "right": bool(((shares - F.softmax(logits, -1)).abs() < 0.06).all()),
    }


def some_uniforms(rows, vocabulary, seed):
    logits = a_forecast(rows, vocabulary, seed)
    noise = torch.rand(logits.shape, generator=torch.Generator().manual_seed(seed))
    return logits, noise.clamp(1e-6, 1 - 1e-6)


RANDOM = {
    "temperature": shaped(with_an_odd_number([0.3, 1.0, 2.5, 0.0]), sizes, sizes, seeds),
    "top_k": shaped(with_an_odd_number([1, 2, 3, 5, 9]), sizes, sizes, seeds),
    "top_p": shaped(clear_p, sizes, sizes, seeds),
    "min_p": shaped(with_an_odd_number([0.1, 0.35, 0.0, 0.77]), sizes, sizes, seeds),
    "sample": Driven(shaped(lambda *s: (a_forecast(*s),), sizes, sizes, seeds), what_draws_show),
    "entropy": shaped(lambda *s: (a_forecast(*s),), sizes, sizes, seeds),
    "gumbel_sample": shaped(some_uniforms, sizes, sizes, seeds),
}
