"""What experts cost: how many of them a batch of tokens meets, what is computed, what is read.

Built in lesson 26.
"""

from __future__ import annotations

from decodeloop.cost.checks import check_bytes_per_number, check_whole
from decodeloop.errors import UserError


def expected_experts(number: int, active: int, tokens: int) -> float:
    """How many of a layer's experts are met on average, if each token's are drawn evenly and for
    itself: E·(1 − (1 − k/E)^N).

    One expert is missed by a token with probability 1 − k/E, and by all N with its N-th power.

    Raises:
        UserError: a number is not whole and positive (`tokens` may be 0), or k is more than E.

    >>> expected_experts(8, 2, tokens=1), expected_experts(8, 2, tokens=2)
    (2.0, 3.5)
    """
    check_whole("expected_experts", number=number, active=active)
    check_whole("expected_experts", at_least=0, tokens=tokens)
    if active > number:
        raise UserError(
            f"expected_experts: a token can't meet {active} of {number} experts: expected at most "
            f"{number}."
        )
    return float(number * (1 - (1 - active / number) ** tokens))


def moe_flops_and_bytes(
    tokens: int, C: int, F: int, E: int, k: int, bytes_per_number: float = 4
) -> tuple[int, float]:
    """What a layer of experts computes for so many tokens, and the bytes of weights that it reads.

    FLOPs are those of the matrix products, a multiply-add being two: of each token with the router
    (E, C) and with the three matrices of its k experts. Bytes are those of the router and of all
    experts that are met, on average (`expected_experts`), each read once for all of its tokens.

    Raises:
        UserError: as `expected_experts`; or a number has no positive size.

    >>> moe_flops_and_bytes(1, C=10, F=20, E=8, k=2)
    (2560, 5120.0)
    """
    check_whole("moe_flops_and_bytes", C=C, F=F)
    check_bytes_per_number("moe_flops_and_bytes", bytes_per_number=bytes_per_number)
    met, expert = expected_experts(E, k, tokens), 3 * C * F
    flops = 2 * tokens * (E * C + k * expert)
    return flops, (E * C + met * expert) * bytes_per_number
