"""From logits to the next token: each sampler is a function that moves or removes logits.

Nucleus sampling: Holtzman et al. (2019). Repetition penalty: Keskar et al., "CTRL" (2019),
section 4.1. Min-p: Nguyen et al. (2024). Built in lesson 07.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from decodeloop.decode.penalties import (
    check_bias,
    check_penalty,
    frequency_penalty,
    logit_bias,
    presence_penalty,
)
from decodeloop.errors import UserError

OUT = -math.inf  # the logit of a token that can't be drawn
SMALLEST, LARGEST = 1e-6, 1e6  # what logits may be divided by: fp32 has room for any in between


def temperature(logits: Tensor, t: float) -> Tensor:
    """Divide by `t`: below 1 sharpens, above 1 flattens, and 0 keeps the best token alone.

    Shapes: (..., V) → (..., V).
    """
    check_temperature(t)
    if t == 0.0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, OUT).scatter(-1, best, logits.gather(-1, best))
    return logits / t


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the `k` best tokens (and those that tie with the last of them).

    Shapes: (..., V) → (..., V), the others ``-inf``.
    """
    check_top_k(k)
    last = logits.topk(min(int(k), logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < last, OUT)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest best tokens whose probabilities sum to at least `p`.

    The token that crosses `p` is kept, so at least one always is.

    Shapes: (..., V) → (..., V), the others ``-inf``.
    """
    check_top_p(p)
    ordered, order = logits.sort(descending=True, stable=True)
    probabilities = at_least_fp32(ordered).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities  # the mass of all better tokens
    out = (before >= p) & (p < 1.0)
    out[..., 0] = False
    return logits.masked_fill(out.scatter(-1, order, out), OUT)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens that are at least `p` times as probable as the best one.

    Shapes: (..., V) → (..., V), the others ``-inf``.
    """
    check_min_p(p)
    probabilities = at_least_fp32(logits).softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), OUT)


def repetition_penalty(logits: Tensor, token_ids: Tensor, penalty: float) -> Tensor:
    """Make tokens that already occurred less likely: positive logits divided, others multiplied.

    Shapes: logits (..., V), token_ids (..., T), the tokens so far → (..., V).
    """
    check_repetition_penalty(penalty)
    seen = logits.gather(-1, token_ids)
    return logits.scatter(-1, token_ids, torch.where(seen > 0, seen / penalty, seen * penalty))


def at_least_fp32(logits: Tensor) -> Tensor:
    """bf16 has 8 bits: sums of its probabilities stand still long before they reach 1."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def greedy(logits: Tensor) -> Tensor:
    """The most probable token. Shapes: (..., V) → (...)."""
    return logits.argmax(-1)


def sample(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw a token with the probabilities softmax(logits).

    Drawn on the CPU from fp32 probabilities, so that a seed means the same on every device;
    `generator` is a CPU generator.

    Shapes: (..., V) → (...), on the CPU.
    """
    probabilities = logits.detach().to("cpu", torch.float32).softmax(-1)
    rows = probabilities.reshape(-1, probabilities.shape[-1])
    return torch.multinomial(rows, 1, generator=generator).reshape(logits.shape[:-1])


@dataclass(frozen=True)
class SamplingParts:
    """The functions that `Sampling` is made of; pass your own in the place of any."""

    repetition_penalty: Callable[[Tensor, Tensor, float], Tensor] = repetition_penalty
    temperature: Callable[[Tensor, float], Tensor] = temperature
    top_k: Callable[[Tensor, int], Tensor] = top_k
    top_p: Callable[[Tensor, float], Tensor] = top_p
    min_p: Callable[[Tensor, float], Tensor] = min_p
    greedy: Callable[[Tensor], Tensor] = greedy
    sample: Callable[[Tensor, torch.Generator | None], Tensor] = sample


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; as it stands, greedily.

    Applied in this order: logit bias, repetition, frequency and presence penalty, temperature,
    top-k, top-p, min-p. `parts` are the functions of lesson 07 that do it.

    Raises:
        UserError: a value is outside its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    parts: SamplingParts = field(default=SamplingParts(), repr=False)

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if self.top_k is not None:
            check_top_k(self.top_k)
        if self.top_p is not None:
            check_top_p(self.top_p)
        if self.min_p is not None:
            check_min_p(self.min_p)
        if self.repetition_penalty is not None:
            check_repetition_penalty(self.repetition_penalty)
        check_penalty("frequency penalty", self.frequency_penalty)
        check_penalty("presence penalty", self.presence_penalty)
        check_bias(self.logit_bias)

    @property
    def moves_logits(self) -> bool:
        """Whether the best token may be another one than the model's."""
        penalties = self.repetition_penalty, self.frequency_penalty, self.presence_penalty
        return any(penalties) or bool(self.logit_bias)

    def process(self, logits: Tensor, token_ids: Tensor, prompt: int = 0) -> Tensor:
        """The logits that are drawn from, in fp32. Shapes: (..., V) and (..., T) → (..., V).

        `prompt` is how many of the tokens were given: frequency and presence count the others.
        """
        parts, logits, made = self.parts, at_least_fp32(logits), token_ids[..., prompt:]
        if self.logit_bias:
            logits = logit_bias(logits, self.logit_bias)
        if self.repetition_penalty is not None:
            seen = token_ids.to(logits.device)
            logits = parts.repetition_penalty(logits, seen, self.repetition_penalty)
        if self.frequency_penalty:
            logits = frequency_penalty(logits, made, self.frequency_penalty)
        if self.presence_penalty:
            logits = presence_penalty(logits, made, self.presence_penalty)
        logits = parts.temperature(logits, self.temperature)
        if self.temperature == 0.0:
            return logits
        if self.top_k is not None:
            logits = parts.top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = parts.top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = parts.min_p(logits, self.min_p)
        return logits

    def choose(
        self,
        logits: Tensor,
        token_ids: Tensor,
        generator: torch.Generator | None = None,
        prompt: int = 0,
    ) -> Tensor:
        """The next token. Shapes: (..., V) and (..., T) → (...), on the CPU."""
        if self.temperature == 0.0 and not self.moves_logits:
            return self.parts.greedy(logits).cpu()
        logits = self.process(logits, token_ids, prompt)
        if self.temperature == 0.0:
            return self.parts.greedy(logits).cpu()
        return self.parts.sample(logits, generator).cpu()


def check_temperature(t: float) -> None:
    if t != 0.0 and not SMALLEST <= t <= LARGEST:
        raise UserError(
            f"temperature is {t}: expected a number from 0 (greedy) up, such as 0.8; above 0, one "
            f"that fp32 can divide by, {SMALLEST} to {LARGEST:.0f}."
        )


def check_top_k(k: int) -> None:
    if not (k >= 1 and k < math.inf and k == int(k)):
        raise UserError(f"top-k is {k}: expected a whole number from 1 up; leave it out for all.")


def check_top_p(p: float) -> None:
    if not 0.0 < p <= 1.0:
        raise UserError(f"top-p is {p}: expected more than 0 and at most 1; 1 keeps every token.")


def check_min_p(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise UserError(f"min-p is {p}: expected a number from 0 to 1; 0 keeps every token.")


def check_repetition_penalty(penalty: float) -> None:
    if not SMALLEST <= penalty <= LARGEST:
        raise UserError(
            f"repetition penalty is {penalty}: expected a positive number, from {SMALLEST} to "
            f"{LARGEST:.0f}; 1 changes nothing."
        )
