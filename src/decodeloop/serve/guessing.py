"""Guesses in an engine: a text that waits for its next token lets drafted ones be checked with it.

One step reads the newest token and those that a draft says follow it; each that the model would
have chosen itself stays. Every token is chosen as it would be without a draft, by the same draws:
so the text is the same, greedy or sampled, and a guess only changes in how many steps it comes.

How many are checked depends on how often such guesses were right, and on the company: alone, four
tokens instead of one make a step half as dear again; for each of eight texts, nearly three times as
dear. Leviathan et al. (2023); Liu et al., "Optimizing Speculative Decoding for Serving Large
Language Models Using Goodput" (2024).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from decodeloop.decode import AdaptiveLength, Draft
from decodeloop.decode import Sequence as Text
from decodeloop.decode.acceptance import best_k
from decodeloop.decode.adapting import STEP_COSTS
from decodeloop.decode.drafts import Proposal
from decodeloop.errors import UserError
from decodeloop.serve.block_manager import BlockManager, NoRoom
from decodeloop.serve.plan import Plan
from decodeloop.serve.taking import Event

MOST = len(STEP_COSTS) - 1  # drafted tokens of one text in a step


class Guess:
    """The draft of one text, and what became of its proposals so far.

    Raises:
        UserError: the draft costs steps of its own: an engine has no time for it.
    """

    def __init__(self, draft: Draft, text: Text) -> None:
        if draft.cost:
            raise UserError(
                f"a draft that costs {draft.cost:g} steps a token was given to an engine: expected "
                f"one that costs none, such as PromptLookup."
            )
        self.draft, self.text = draft, text
        self.length = AdaptiveLength(MOST)
        self.proposal = Proposal([])
        draft.begin(text)

    def tokens(self, costs: Sequence[float]) -> list[int]:
        """The drafted tokens that are worth checking, where a step with 0, 1, 2, … of them costs so
        much; never the last that the text may have, which nobody reads."""
        most = min(len(costs) - 1, self.text.budget - len(self.text.tokens) - 1)
        self.proposal = self.draft.propose(self.text, most) if most > 0 else Proposal([])
        k = best_k(self.length.record(self.proposal.kind).alpha, costs)
        return self.proposal.tokens[:k]

    def tell(self, came: Sequence[int]) -> None:
        """These tokens came in the place of what was proposed, whether it was checked or not."""
        if self.proposal.tokens:
            self.length.tell(self.proposal.kind, self.proposal.tokens, came)
        self.draft.keep(self.text.token_ids.shape[1] - 1)


def step_cost(tokens: int) -> float:
    """What a step of so many tokens costs, in steps of one: as measured up to 8, then in a line.

    >>> step_cost(1), round(step_cost(15), 2)
    (1.0, 4.0)
    """
    if tokens <= len(STEP_COSTS):
        return STEP_COSTS[tokens - 1]
    each = (STEP_COSTS[-1] - STEP_COSTS[0]) / (len(STEP_COSTS) - 1)
    return STEP_COSTS[-1] + each * (tokens - len(STEP_COSTS))


def costs_in_company(tokens: int, guessing: int, most: int = MOST) -> list[float]:
    """What a step costs if each of the texts that guess has 0, 1, 2, … tokens checked, in steps
    without any; `tokens` is how many that one has.

    >>> [round(cost, 2) for cost in costs_in_company(8, 8, most=2)]
    [1.0, 1.69, 2.37]
    """
    alone = step_cost(tokens)
    return [step_cost(tokens + guessing * k) / alone for k in range(most + 1)]


def add_guesses(
    plan: Plan, guesses: Mapping[int, Guess], blocks: BlockManager, budget: int
) -> None:
    """Let the texts of a step that wait for their next token have drafted ones checked, as far as
    the step's budget and the free blocks have room: nobody is sent back for a guess."""
    tokens = sum(piece.count for piece in plan.pieces)
    who = [
        i
        for i, piece in enumerate(plan.pieces)
        if piece.count == 1 and piece.last and piece.request.number in guesses
    ]
    costs, left = costs_in_company(max(1, tokens), len(who)), budget - tokens
    for i in who:
        piece = plan.pieces[i]
        drafted = guesses[piece.request.number].tokens(costs)[:left]
        if not drafted:
            continue
        try:
            plan.copies += blocks.grow(piece.request.table, 1 + len(drafted))
        except NoRoom:
            continue
        plan.pieces[i] = replace(piece, drafted=tuple(drafted))
        left -= len(drafted)


def checked_guesses(plan: Plan, events: Sequence[Event]) -> Iterator[tuple[int, int]]:
    """Of each text whose drafted tokens a step has checked: how many, and how many of them stayed.
    The token that the model itself chose last is none of them."""
    came = Counter(event.number for event in events if event.error is None)
    for piece in plan.pieces:
        if piece.drafted and came[piece.request.number]:
            yield len(piece.drafted), came[piece.request.number] - 1
