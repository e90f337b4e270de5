"""Which drafted tokens stay, and what that is worth: the arithmetic of speculative decoding.

A drafted token that was drawn from q stays with probability min(1, p / q), where p is what the
model itself would have drawn from; in the place of one that does not, a token is drawn from what p
has more than q. So each token that comes out is distributed as p, whatever the draft.

Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding" (2023).
Built in lesson 22.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decodeloop.errors import ShapeError, UserError


def acceptance_probability(p: Tensor, q: Tensor) -> Tensor:
    """With what probability each token stays if it was drafted: min(1, p / q).

    A token that a draft never draws has 1 where the model might, and 0 where neither does.

    Shapes: p, the model's probabilities, and q, the draft's: (..., V) → (..., V).

    >>> acceptance_probability(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25]))
    tensor([1.0000, 0.5000, 1.0000])
    """
    check_pair(p, q)
    return torch.where(p >= q, (p > 0).to(p.dtype), p / q)


def residual(p: Tensor, q: Tensor) -> Tensor:
    """What is drawn from in the place of a token that did not stay: max(0, p - q), over its sum.

    Where p and q are the same, no token is ever refused, but for rounding; that gives p.

    Shapes: p, the model's probabilities, and q, the draft's: (..., V) → (..., V).

    >>> residual(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25]))
    tensor([1., 0., 0.])
    """
    check_pair(p, q)
    more = (p - q).clamp(min=0)
    mass = more.sum(-1, keepdim=True)
    return torch.where(mass > 0, more / mass, p)


def accept_or_replace(
    p: Tensor, q: Tensor | None, token: int, generator: torch.Generator | None = None
) -> tuple[int, bool]:
    """The token that comes in the place of a drafted one, and whether it is that one.

    Whatever q is, the token is distributed as p, if the drafted one was drawn from q. Without q the
    draft was sure of it: its q is 1 there. p and q are (V,), on the CPU, and `generator` is a CPU
    generator.
    """
    if q is None:
        q = torch.zeros_like(p)
        q[token] = 1
    stays = acceptance_probability(p, q)[token]
    if torch.rand((), generator=generator) < stays:
        return token, True
    return int(torch.multinomial(residual(p, q), 1, generator=generator)), False


def count_accepted(drafted: Sequence[int], best: Sequence[int]) -> int:
    """How many drafted tokens stay in greedy decoding: those before the first that is not the best.

    `best[i]` is the model's best token after the text and the first i drafted ones.

    >>> count_accepted([5, 7, 9], [5, 7, 8, 1])
    2
    """
    if len(best) < len(drafted):
        raise UserError(
            f"count_accepted was given {len(drafted)} drafted tokens and {len(best)} best ones: "
            f"expected a best one for each, and the one after them all."
        )
    for count, (token, own) in enumerate(zip(drafted, best, strict=False)):
        if token != own:
            return count
    return len(drafted)


def expected_tokens(alpha: float, k: int) -> float:
    """How many tokens a round brings: 1 + α + α² + … + αᵏ = (1 - αᵏ⁺¹) / (1 - α).

    The drafted token i + 1 counts if all before it stayed too; the model's own comes in any case.

    Args:
        alpha: the probability that a drafted token stays, if those before it did: 0 to 1.
        k: tokens that are drafted, from 0 up.

    >>> expected_tokens(0.5, 2), expected_tokens(1.0, 3)
    (1.75, 4.0)
    """
    if not 0.0 <= alpha <= 1.0:
        raise UserError(f"alpha is {alpha}: expected a probability, from 0 to 1.")
    if k < 0:
        raise UserError(f"k is {k} tokens: expected at least 0, which is no draft.")
    if alpha == 1.0:
        return k + 1.0
    return float((1 - alpha ** (k + 1)) / (1 - alpha))


def speed_up(alpha: float, k: int, step_costs: Sequence[float], draft_cost: float = 0.0) -> float:
    """Tokens per time against decoding without a draft: what k drafted tokens bring over what they
    cost. Arguments as in `best_k`.

    >>> speed_up(0.5, 1, [1.0, 1.25])
    1.2
    """
    return expected_tokens(alpha, k) / ((step_costs[k] + k * draft_cost) / step_costs[0])


def best_k(alpha: float, step_costs: Sequence[float], draft_cost: float = 0.0) -> int:
    """How many tokens to draft: where `speed_up` is largest, and the least of such k; 0 if none
    pays.

    Args:
        alpha: the probability that a drafted token stays, if those before it did: 0 to 1.
        step_costs: what a step of 1, 2, 3, … tokens costs; k is at most the last of them, less 1.
        draft_cost: what one drafted token costs, in the same unit.

    >>> best_k(0.8, [1.0, 1.25, 1.5, 1.75]), best_k(0.2, [1.0, 1.25, 1.5, 1.75])
    (3, 0)
    """
    if not step_costs or min(step_costs) <= 0 or draft_cost < 0:
        raise UserError(
            f"step costs {list(step_costs)} and a draft cost of {draft_cost}: expected what a step "
            f"of 1, 2, … tokens costs, all above 0, and a draft that costs at least 0."
        )
    choices = range(len(step_costs))
    return max(choices, key=lambda k: speed_up(alpha, k, step_costs, draft_cost))


def check_pair(p: Tensor, q: Tensor) -> None:
    """Raise a `ShapeError` unless p and q are of one shape."""
    if p.shape != q.shape or p.ndim == 0:
        raise ShapeError(
            f"p {tuple(p.shape)} and q {tuple(q.shape)}: expected the probabilities of the same "
            f"tokens, both (..., V)."
        )
