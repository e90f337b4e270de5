"""How fast each pair of channels turns: RoPE as trained, and stretched to longer texts.

Position interpolation: Chen et al. (2023), arXiv:2306.15595, section 2. NTK-aware and dynamic
scaling, YaRN: Peng et al. (2023), arXiv:2309.00071, sections 3.1 to 3.4. Llama 3.1's smoothing:
Grattafiori et al. (2024), arXiv:2407.21783, as its released code has it. Built in lesson 18.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError

Kind = Literal["linear", "dynamic", "llama3", "yarn", "divided"]


@dataclass(frozen=True)
class RopeScaling:
    """By what a model's rotary positions are stretched beyond the texts that it was trained on.

    - "linear": every pair turns `factor` times as slowly.
    - "dynamic": the base grows with the text, once it is longer than `original_context`.
    - "yarn": pairs that turn `beta_fast` times or more within `original_context` stay as they are,
      those that turn `beta_slow` times or less turn `factor` times as slowly, with a ramp between.
    - "llama3": likewise, with `high` and `low` turns and a ramp over turns.
    - "divided": pair i turns `divisors[i]` times as slowly.

    Raises:
        UserError: a number is not positive, or the kind is none of these.
    """

    kind: Kind
    factor: float = 1.0
    original_context: int = 1
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention: float = 1.0  # what turned queries and keys are multiplied by, each
    truncate: bool = True  # YaRN's ramp begins and ends at a whole pair
    low: float = 1.0
    high: float = 4.0
    divisors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(
                f"RopeScaling: kind is {self.kind!r}: expected one of {', '.join(get_args(Kind))}."
            )
        numbers = {name: value for name, value in vars(self).items() if name in POSITIVE}
        numbers |= {f"divisors[{i}]": value for i, value in enumerate(self.divisors)}
        for name, value in numbers.items():
            if not 0 < value < LARGEST:
                raise UserError(f"RopeScaling: {name} is {value}: expected a positive number.")
        if self.kind == "llama3" and not self.low < self.high:
            raise UserError(
                f"RopeScaling: low is {self.low} and high {self.high}: expected low < high."
            )


LARGEST = 1e30
POSITIVE = ("factor", "original_context", "beta_fast", "beta_slow", "attention", "low", "high")


def rotary_frequencies(D: int, base: float, device: torch.device | None = None) -> Tensor:
    """By how much each pair of channels turns from one position to the next, in radians.

    D/2 numbers in fp32: base^(-2i/D) for pair i.
    """
    if D % 2:
        raise ShapeError(f"rotary_angles: the head dimension {D} is odd: channels turn in pairs.")
    exponents = torch.arange(0, D, 2, device=device, dtype=torch.float32) / D
    return base**-exponents


def interpolated_frequencies(D: int, base: float, factor: float) -> Tensor:
    """Position interpolation: every pair turns `factor` times as slowly, so that a text `factor`
    times as long turns each as far as training did. Shapes: → (D/2,).

    >>> interpolated_frequencies(4, 100.0, 2.0)
    tensor([0.5000, 0.0500])
    """
    return rotary_frequencies(D, base) / factor


def ntk_base(D: int, base: float, factor: float) -> float:
    """The larger base with which the slowest pair turns `factor` times as slowly, and the fastest
    as fast as before.

    >>> round(ntk_base(4, 100.0, 2.0))
    400
    """
    return float(base * factor ** (D / (D - 2)))


def dynamic_base(D: int, base: float, factor: float, trained: int, length: int) -> float:
    """The base for a text of so many tokens: NTK's, for a factor that grows with the text.

    >>> dynamic_base(4, 100.0, 2.0, trained=8, length=8)
    100.0
    """
    longer = max(length, trained) / trained
    return ntk_base(D, base, factor * longer - (factor - 1))


def yarn_frequencies(
    D: int,
    base: float,
    factor: float,
    trained: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
) -> Tensor:
    """YaRN: pairs that turn often within the trained length stay as they are, pairs that turn less
    than once turn `factor` times as slowly, with a straight ramp over the pairs between.

    Args:
        trained: the length that the model was trained for.
        beta_fast, beta_slow: how many turns within it are where the ramp begins and ends.
        truncate: it begins and ends at whole pairs.

    Shapes: → (D/2,).

    >>> yarn_frequencies(4, 100.0, 2.0, trained=1000)  # the ramp goes from pair 0 to pair 3
    tensor([1.0000, 0.0833])
    """
    frequencies = rotary_frequencies(D, base)
    first, last = (_pair_of(turns, D, base, trained) for turns in (beta_fast, beta_slow))
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, D - 1)
    last += 0.001 if first == last else 0
    slowed = ((torch.arange(D // 2) - first) / (last - first)).clamp(0, 1)
    return frequencies * (1 - slowed) + frequencies / factor * slowed


def _pair_of(turns: float, D: int, base: float, trained: int) -> float:
    """Which pair turns so many times within the trained length: trained · base^(-2i/D) = 2π·turns,
    solved for i."""
    return D * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))


def yarn_attention(factor: float) -> float:
    """By what YaRN multiplies turned queries and keys: longer texts have more keys to share a
    softmax, which so is made sharper again.

    >>> yarn_attention(1.0)
    1.0
    """
    return 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0


def llama3_frequencies(
    D: int, base: float, factor: float, trained: int, low: float = 1.0, high: float = 4.0
) -> Tensor:
    """Llama 3.1: as YaRN, with a ramp that is straight in the number of turns, from `high` to
    `low`. Shapes: → (D/2,)."""
    frequencies = rotary_frequencies(D, base)
    turns = trained * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * kept + frequencies / factor * (1 - kept)


def stretched_frequencies(D: int, base: float, scaling: RopeScaling, length: int = 0) -> Tensor:
    """The frequencies of a model whose rotary positions are stretched, for a text of so many
    tokens, which "dynamic" alone asks about. Shapes: → (D/2,)."""
    trained, factor = scaling.original_context, scaling.factor
    match scaling.kind:
        case "linear":
            return interpolated_frequencies(D, base, factor)
        case "dynamic":
            return rotary_frequencies(D, dynamic_base(D, base, factor, trained, length))
        case "yarn":
            betas = (scaling.beta_fast, scaling.beta_slow)
            return yarn_frequencies(D, base, factor, trained, *betas, scaling.truncate)
        case "llama3":
            return llama3_frequencies(D, base, factor, trained, scaling.low, scaling.high)
        case "divided":
            return rotary_frequencies(D, base) / torch.tensor(scaling.divisors)
