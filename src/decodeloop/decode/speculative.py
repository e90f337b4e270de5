"""Speculative decoding: a draft guesses some tokens, and one step of the model checks them all.

Greedy text is the same, token for token, and sampled text has the same distribution; only the time
changes. Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding"
(2023); Chen et al., "Accelerating Large Language Model Decoding with Speculative Sampling" (2023).
Built in lesson 22.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Sequence as Numbers
from dataclasses import dataclass

import torch
from torch import Tensor

from decodeloop.decode.acceptance import accept_or_replace
from decodeloop.decode.adapting import AdaptiveLength
from decodeloop.decode.beginnings import ready_cache
from decodeloop.decode.drafts import Draft, Proposal, ScriptedDraft
from decodeloop.decode.loop import Model, generate
from decodeloop.decode.sequence import Sequence
from decodeloop.errors import UserError
from decodeloop.model import KVCache


@torch.inference_mode()
def verify(model: Model, token_ids: Tensor, cache: KVCache, last: int) -> Tensor:
    """Read new tokens, and give the logits after each of the last so many.

    Shapes: token_ids (1, T), of which the first T - last are only read → (last, V).
    """
    return model.head(model.hidden(token_ids, cache)[0, -last:])


@dataclass
class Stats:
    """What became of the drafts: rounds are steps of the model after the prompt."""

    rounds: int = 0
    tokens: int = 0  # that these rounds brought
    proposed: int = 0  # drafted tokens that were checked
    accepted: int = 0

    @property
    def tokens_per_round(self) -> float:
        return self.tokens / self.rounds if self.rounds else 0.0

    @property
    def accepted_share(self) -> float:
        """Of the tokens that were checked. It is not α: those behind the first wrong one count."""
        return self.accepted / self.proposed if self.proposed else 0.0


class Speculation:
    """How a text is made with a draft; `generate(…, speculation=)` takes one, and `stream`.

    The model's cache must be able to go back (`truncate`). One in fewer bits goes back to nearly
    what it was, not exactly: the text may then be another. `stats` is of the last text.

    Args:
        draft: who guesses.
        k: how many tokens are drafted for a step: always so many, or as an `AdaptiveLength` finds
            that they pay; if not given, an adaptive one.

    Raises:
        UserError: k is less than 1.

    >>> from decodeloop.decode import generate
    >>> from decodeloop.model import TINY, Decoder
    >>> model, prompt = Decoder(TINY).eval(), torch.tensor([[1, 2, 3, 1, 2]])
    >>> speculation = Speculation(ScriptedDraft(lambda tokens, most: tokens[-2:]), k=2)
    >>> quick = list(generate(model, prompt, 9, speculation=speculation))
    >>> quick == list(generate(model, prompt, 9)), speculation.stats.rounds <= 8
    (True, True)
    """

    def __init__(self, draft: Draft, k: int | AdaptiveLength | None = None) -> None:
        if isinstance(k, int) and k < 1:
            raise UserError(f"k is {k} tokens: expected at least 1 that is drafted for a step.")
        self.draft = draft
        self.k: int | AdaptiveLength = AdaptiveLength() if k is None else k
        self.stats = Stats()

    def tokens(self, model: Model, sequence: Sequence, cache: KVCache | None) -> Iterator[int]:
        """Make the tokens of a text, and yield each that belongs to it.

        `cache` has read a beginning of the prompt, as in `generate`; None makes a new one.
        """
        cache = ready_cache(model, sequence, cache)
        self.stats = Stats()
        self.draft.begin(sequence)
        if isinstance(self.k, AdaptiveLength):
            self.k.begin(self.draft.cost)
        prompt = sequence.prompt.shape[1]
        while sequence.finish_reason is None:
            first = not sequence.tokens  # the prompt is read alone: it is no step
            proposal = Proposal([]) if first else self._proposal(sequence)
            checked = self._to_check(proposal)
            new = torch.cat((sequence.unread(cache.length), torch.tensor([checked]).long()), 1)
            logits = verify(model, new, cache, len(checked) + 1)
            before = len(sequence.tokens)
            try:
                yield from self._take(sequence, proposal, checked, logits)
            finally:  # also if nobody wants more: what was only guessed must not stay
                made = len(sequence.tokens)
                stay = prompt + made - (sequence.finish_reason != "eos")
                cache.truncate(min(cache.length, stay))
                self.draft.keep(stay)
                if not first:
                    self.stats.rounds += 1
                    self.stats.tokens += made - before
            if isinstance(self.k, AdaptiveLength) and proposal.tokens:
                self.k.tell(proposal.kind, proposal.tokens, sequence.tokens[before:])

    def _proposal(self, sequence: Sequence) -> Proposal:
        """What the draft says, of as many tokens as can still come before the last."""
        most = sequence.budget - len(sequence.tokens) - 1
        if isinstance(self.k, AdaptiveLength):
            most = min(most, self.k.before_drafting())
        else:
            most = min(most, self.k)
        return self.draft.propose(sequence, most) if most > 0 else Proposal([])

    def _to_check(self, proposal: Proposal) -> list[int]:
        """Those of its tokens that the model reads."""
        if isinstance(self.k, AdaptiveLength) and self.draft.cost == 0:
            return proposal.tokens[: self.k.of(proposal.kind)]
        return proposal.tokens

    def _take(
        self, sequence: Sequence, proposal: Proposal, checked: list[int], logits: Tensor
    ) -> Iterator[int]:
        """Take what was drafted as long as it stays, then one token of the model's own.

        Shapes: logits (len(checked) + 1, V): after the text, and after each that was checked.
        """
        self.stats.proposed += len(checked)
        for i, row in enumerate(logits):
            if i == len(checked) or sequence.sampling.temperature == 0:
                token = sequence.choose(row[None])  # with what was taken of the text up to here
                stays = i < len(checked) and token == checked[i]
            else:
                p, q = sequence.probabilities(row[None]).cpu(), proposal.probabilities
                drawn_from = None if q is None else q[i]
                token, stays = accept_or_replace(p, drawn_from, checked[i], sequence.generator)
            self.stats.accepted += stays
            reason = sequence.take(token)
            if token not in sequence.eos_ids:
                yield token
            if reason or not stays:
                return


def speculate(
    model: Model,
    token_ids: Tensor,
    max_new_tokens: int,
    propose: Callable[[list[int], int], Numbers[int]],
    k: int = 3,
    eos_ids: Collection[int] = (),
) -> list[int]:
    """Continue a prompt greedily, k drafted tokens a step at most; the tokens, as `generate` has
    them. In lesson 22 you write it.

    `propose(tokens, k)` is told all tokens so far and gives up to k that may come next;
    token_ids is (1, T).
    """
    speculation = Speculation(ScriptedDraft(propose), k)
    return list(
        generate(model, token_ids, max_new_tokens, eos_ids=eos_ids, speculation=speculation)
    )
