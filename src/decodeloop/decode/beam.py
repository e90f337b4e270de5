"""Beam search: keep the few best texts so far, not only the one whose next token is best.

The scheme is that of Hugging Face transformers (`_beam_search`), token for token. Its length
penalty is simpler than that of Wu et al. (2016), section 7, who divide by ((5 + n) / 6)^α: here a
text of n tokens is divided by n^α, so that α = 1 is the mean log-probability of a token. Built in
lesson 08.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from decodeloop.decode.loop import Model, decode_step, prefill
from decodeloop.decode.sequence import Completion, token_budget
from decodeloop.errors import UserError
from decodeloop.model import KVCache

EarlyStopping = bool | Literal["never"]


class Reader(Protocol):
    """What `prefill` and `decode_step` have in common, and a learner's own have too."""

    def __call__(self, model: Model, token_ids: Tensor, cache: KVCache, /) -> Tensor: ...


@dataclass(frozen=True)
class Beam(Completion):
    """The best text that was found.

    `score` is the sum of its tokens' log-probabilities, in nats, divided by n^length_penalty. The
    n tokens are those that were made after the prompt, the end-of-sequence token among them, and
    its log-probability is in the sum; `tokens` is without it.
    """

    score: float


@torch.inference_mode()
def beam_search(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
    early_stopping: EarlyStopping = False,
    *,
    prefill: Reader = prefill,
    decode_step: Reader = decode_step,
) -> Beam:
    """Look for the continuation with the best score, following `beams` texts at a time.

    At each step all beams are continued by all tokens, and the best of all these candidates go on.
    Those that end, by an end-of-sequence token or at the last step, are set aside: the best
    `beams` of them are kept, and the best one is returned. One beam is greedy decoding.

    Args:
        token_ids: the prompt, (1, T).
        max_new_tokens: at most so many; fewer where the model's context ends.
        length_penalty: above 0 favours long texts, below 0 short ones; 0 sums without dividing.
        early_stopping: when `beams` texts have ended, True stops at once; False stops unless the
            best running beam, as long as it is now, scores above the worst of them; "never" asks
            the same of it at the length at which its sum would score best.

    Raises:
        UserError: as `generate`; beams, length_penalty or early_stopping are out of range.
    """
    budget = token_budget(model.config, token_ids, max_new_tokens)
    if token_ids.shape[0] != 1:
        raise UserError(
            f"beam_search continues one prompt (1, T), it was given {tuple(token_ids.shape)}: "
            f"call it for each prompt."
        )
    check_beams(beams, model.config.vocabulary)
    check_length_penalty(length_penalty)
    check_early_stopping(early_stopping)
    T = token_ids.shape[1]
    # A beam can be lost to each end-of-sequence token; with so many candidates enough go on.
    count = beams * max(2, 1 + len(set(eos_ids)))

    # The prompt is read once, as one row. So the first candidates all come from it, and are all
    # different; from then on there are as many rows as beams.
    cache = model.new_cache(1, T + budget - 1)
    logits = prefill(model, token_ids, cache)  # (1, V)
    texts: list[list[int]] = [[]]  # what each beam has made
    scores = torch.zeros(1, device=logits.device)  # (K,): the log-probability of each beam
    ended: list[Beam] = []
    for made in range(1, budget + 1):
        log_probabilities = logits.float().log_softmax(-1)  # (K, V)
        candidates = beam_candidates(log_probabilities, scores, count)
        going: list[tuple[float, int, int]] = []
        for rank, (total, row, token) in enumerate(
            zip(*(x.tolist() for x in candidates), strict=True)
        ):
            ends = token in eos_ids
            if not ends and made < budget:
                going.append((total, row, token))
            elif rank < beams:  # the candidates behind are there only to replace those that end
                text = texts[row] if ends else [*texts[row], token]
                score = total / made**length_penalty
                ended.append(Beam(text, "eos" if ends else "length", score))
        ended = sorted(ended, key=lambda beam: -beam.score)[:beams]
        going = going[:beams]
        if not going:
            break
        if len(ended) == beams:
            longest = budget if early_stopping == "never" and length_penalty > 0 else made
            hope = going[0][0] / longest**length_penalty
            # one beam is greedy decoding, which ends with its first end of sequence
            if early_stopping is True or beams == 1 or hope <= ended[-1].score:
                break
        texts = [[*texts[row], token] for _, row, token in going]
        scores = torch.tensor([total for total, _, _ in going], device=logits.device)
        cache.select([row for _, row, _ in going])  # each beam takes the cache of the one it is of
        logits = decode_step(model, torch.tensor([[token] for *_, token in going]), cache)
    return ended[0]


def beam_candidates(
    log_probabilities: Tensor, scores: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of all beams together, best first; fewer if there are not `count`.

    Shapes: log_probabilities (K, V), scores (K,) → three of (count,): the new scores, the beam
    that each continues, and the token that it adds.

    >>> table = torch.tensor([[0.75, 0.25], [0.6, 0.4]]).log()
    >>> _, rows, tokens = beam_candidates(table, torch.tensor([0.5, 0.25]).log(), 2)
    >>> rows.tolist(), tokens.tolist()  # 0.375 and 0.15; the others are 0.125 and 0.1
    ([0, 1], [0, 0])
    """
    V = log_probabilities.shape[-1]
    totals = (scores[:, None] + log_probabilities).flatten()  # (K·V,): beam after beam
    best, places = totals.topk(min(count, totals.numel()))
    return best, places // V, places % V


def check_beams(beams: int, vocabulary: int | None = None) -> None:
    if not (beams >= 1 and beams == int(beams) and (vocabulary is None or beams <= vocabulary)):
        most = "up" if vocabulary is None else f"to {vocabulary}, the size of the vocabulary"
        raise UserError(f"beams is {beams}: expected a whole number from 1 (greedy) {most}.")


def check_length_penalty(penalty: float) -> None:
    if not (math.isfinite(penalty) and abs(penalty) <= 50.0):  # beyond, n^penalty may overflow
        raise UserError(
            f"length penalty is {penalty}: expected a number from -50 to 50; 1 divides by the "
            f"length, 0 does not divide."
        )


def check_early_stopping(early_stopping: object) -> None:
    if early_stopping not in (True, False, "never"):
        raise UserError(f"early_stopping is {early_stopping!r}: expected True, False or 'never'.")
