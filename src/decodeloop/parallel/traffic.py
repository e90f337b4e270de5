"""What ranks say to each other: how many sums, how many bytes, and when it pays to be split.

Pope et al., "Efficiently Scaling Transformer Inference" (2022), section 3. Built in lesson 17.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.model import ModelConfig


@dataclass(frozen=True)
class Traffic:
    """What one rank has added up with the others."""

    sums: int = 0  # all-reduces
    bytes: int = 0  # of the vectors that were added up; what a ring sends of them: all_reduce_bytes
    seconds: float = 0.0  # spent in them, waiting for the slowest included

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.sums + other.sums, self.bytes + other.bytes, self.seconds + other.seconds
        )

    def __sub__(self, earlier: Traffic) -> Traffic:
        return self + Traffic(-earlier.sums, -earlier.bytes, -earlier.seconds)


def all_reduces(config: ModelConfig) -> int:
    """All-reduces of one forward pass: two a layer, however many tokens.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> all_reduces(SMOLLM2_135M)
    60
    """
    return 2 * config.layers


def all_reduce_bytes(
    config: ModelConfig, tokens: int, ranks: int, bytes_per_number: int = 4
) -> int:
    """The bytes that all ranks together send in a forward pass of `tokens` tokens, by rings;
    headers and other notes of a network come on top.

    Each of its all-reduces adds up a vector of width C for each token, and each number of it is
    sent 2 (ranks - 1) times: to every other rank as a part of a sum, and as the finished sum.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> all_reduce_bytes(SMOLLM2_135M, tokens=1, ranks=3)
    552960
    """
    check_whole("all_reduce_bytes", ranks=ranks, bytes_per_number=bytes_per_number)
    check_whole("all_reduce_bytes", at_least=0, tokens=tokens)
    added_up = all_reduces(config) * tokens * config.width * bytes_per_number
    return 2 * (ranks - 1) * added_up


@dataclass(frozen=True)
class Link:
    """What connects the ranks."""

    name: str
    latency: float  # seconds of an all-reduce of next to nothing
    bandwidth: float  # bytes per second that a rank can send

    def __post_init__(self) -> None:
        for name in ("latency", "bandwidth"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)) or (name == "bandwidth" and not value):
                raise UserError(
                    f"{self.name}: its {name} is {value}: expected a positive number, in seconds "
                    f"and bytes per second."
                )

    def seconds(
        self, config: ModelConfig, tokens: int, ranks: int, bytes_per_number: int = 4
    ) -> float:
        """How long the all-reduces of a forward pass take: each rank sends an equal part of it."""
        if ranks == 1:
            return 0.0
        moved = all_reduce_bytes(config, tokens, ranks, bytes_per_number) / ranks
        return all_reduces(config) * self.latency + moved / self.bandwidth


def split_seconds(
    whole: float,
    link: Link,
    config: ModelConfig,
    tokens: int,
    ranks: int,
    bytes_per_number: int = 4,
) -> float:
    """A forward pass over several ranks: an equal part of what it takes whole, and the talking.

    Args:
        whole: seconds of the forward pass on one.
    """
    check_whole("split_seconds", ranks=ranks, tokens=tokens)
    return whole / ranks + link.seconds(config, tokens, ranks, bytes_per_number)


def break_even_latency(whole: float, config: ModelConfig, ranks: int) -> float:
    """The latency of an all-reduce at which a step over `ranks` takes as long as on one: what is
    saved of the `whole` seconds, spread over the all-reduces; the bytes themselves cost nothing.

    >>> from decodeloop.model import SMOLLM2_135M
    >>> round(1e6 * break_even_latency(0.018, SMOLLM2_135M, 3))  # microseconds
    200
    """
    check_whole("break_even_latency", ranks=ranks)
    return whole * (1 - 1 / ranks) / all_reduces(config)
