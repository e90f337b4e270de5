"""The engine: many texts at once, each as `generate` would make it.

One step is: schedule, run the model once on all new tokens, take what comes. How each text is
sampled and where it ends is its `Sequence`'s affair, as everywhere. Built in lessons 14 and 15.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decodeloop.decode import Draft, Sequence
from decodeloop.decode.loop import Model
from decodeloop.decode.sequence import token_budget
from decodeloop.errors import UserError
from decodeloop.serve import blocks as block_parts
from decodeloop.serve import policy
from decodeloop.serve.block_manager import BlockManager
from decodeloop.serve.blocks import BlockParts, tenant_key
from decodeloop.serve.guessing import Guess, add_guesses
from decodeloop.serve.paged_attention import attend_paged
from decodeloop.serve.plan import Piece, Plan, Request
from decodeloop.serve.policy import SchedulerParts
from decodeloop.serve.scheduler import Scheduler
from decodeloop.serve.step import AttendPaged, BlockMemory, Span, Step
from decodeloop.serve.taking import Event, events_of, take_all


class Engine:
    """Texts of one model, added and aborted at any time, computed together.

    Args:
        blocks, size: how many blocks the cache has, and how many positions each.
        most: how many texts run at a time; the others wait.
        budget: how many tokens a step reads.
        chunk: how many tokens of one text a step reads; None means all that the budget allows.
        share: whether texts that begin alike share blocks.
        parts, block_parts, attend_paged: the functions that it is made of.

    Raises:
        UserError: one of the numbers is less than 1.

    >>> from decodeloop.model import TINY, Decoder
    >>> engine = Engine(Decoder(TINY), blocks=8)
    >>> number = engine.add(Sequence(torch.tensor([[5, 7]]), budget=3))
    >>> while engine.busy:
    ...     events = engine.step()
    >>> events[0].number == number, events[0].finish_reason
    (True, 'length')
    """

    def __init__(
        self,
        model: Model,
        *,
        blocks: int,
        size: int = 16,
        most: int = 8,
        budget: int = 256,
        chunk: int | None = None,
        share: bool = True,
        parts: SchedulerParts = policy.LIBRARY_PARTS,
        block_parts: BlockParts = block_parts.LIBRARY_PARTS,
        attend_paged: AttendPaged = attend_paged,
    ) -> None:
        self.model = model
        manager = BlockManager(blocks, size, block_parts, share=share)
        self.scheduler = Scheduler(manager, most=most, budget=budget, chunk=chunk, parts=parts)
        device, dtype = getattr(model, "device", None), getattr(model, "dtype", torch.float32)
        self.memory = BlockMemory(model.config, blocks, size, dtype, device)
        self._attend_paged = attend_paged
        # those that wait or run, each with its draft, if it has one
        self._texts: dict[int, tuple[Request, Sequence, Guess | None]] = {}
        self.plan = Plan()  # of the last step: who was read, who came in, who was sent back

    @property
    def busy(self) -> bool:
        """Whether a text waits or runs."""
        return bool(self._texts)

    def add(
        self, sequence: Sequence, salt: str | bytes | None = None, draft: Draft | None = None
    ) -> int:
        """Put a text in the queue; its number is what events and `abort` call it.

        Args:
            salt: texts share blocks only with those of the same salt, such as a tenant's name.
            draft: guesses what comes next, so that a step may bring several tokens; one of its own
                for each text, such as `PromptLookup()`.

        Raises:
            UserError: the prompt is no prompt for this model, it could never fit into the blocks,
                the text has ended already, the salt is of another type, or the draft costs steps.
        """
        if sequence.finish_reason is not None:
            raise UserError(f"this text has ended ({sequence.finish_reason}): add a new Sequence.")
        if token_budget(self.model.config, sequence.prompt, sequence.budget) < sequence.budget:
            raise UserError(
                f"a prompt of {sequence.prompt.shape[1]} tokens and {sequence.budget} new ones are "
                f"more than the model's context, {self.model.config.context}: ask for fewer."
            )
        guess = None if draft is None else Guess(draft, sequence)
        tokens = sequence.token_ids[0].tolist()
        request = self.scheduler.add(tokens, sequence.positions_needed, tenant_key(salt))
        self._texts[request.number] = request, sequence, guess
        return request.number

    def abort(self, number: int) -> None:
        """End a text without a reason; nothing more comes of it. A step that is being computed is
        finished first: then its blocks are free.

        Raises:
            UserError: no such text waits or runs.
        """
        if number not in self._texts:
            raise UserError(
                f"no text {number!r} waits or runs: it has ended, was aborted, or never came; "
                f"expected a number that add gave."
            )
        self.scheduler.abort(self._texts.pop(number)[0])

    def step(self) -> list[Event]:
        """Compute one step, and say what it brought; nothing, if no text is here.

        What fails ends the texts that it concerns, with an `error`: a text's own stop function or
        sampling only this text, the model all those of the step. Their blocks are free then, and
        the others go on.
        """
        plan = self.plan = self.scheduler.schedule()
        if not plan.pieces:
            return []
        guesses = {number: guess for number, (_, _, guess) in self._texts.items() if guess}
        try:
            if guesses:
                add_guesses(plan, guesses, self.scheduler.blocks, self.scheduler.budget)
            rows = self._run(plan)
            came = [self._take(*each) for each in zip(plan.pieces, rows, strict=True)]
        except BaseException as error:
            self.scheduler.cancel()
            if not isinstance(error, Exception):
                raise  # an interrupt: the next step computes what this one has not
            came = [self._fail(piece.request, error) for piece in plan.pieces]
        return [event for events in came for event in events]

    @torch.inference_mode()
    def _run(self, plan: Plan) -> tuple[Tensor, ...]:
        """The logits of what comes next, (n, V) for each piece: none for one that is not the last
        of its text, else a row, and one more for each drafted token."""
        self.memory.copy(plan.copies)
        tokens = [piece.tokens for piece in plan.pieces]
        spans = [
            Span(piece.request.table.blocks, piece.start, len(new))
            for piece, new in zip(plan.pieces, tokens, strict=True)
        ]
        step = Step(self.memory, spans, attend_paged=self._attend_paged)
        ids = torch.tensor([[token for new in tokens for token in new]])
        hidden = self.model.hidden(ids, step, positions=step.positions(ids.shape[1]))
        counts = [(1 + len(piece.drafted)) * piece.last for piece in plan.pieces]
        ends = step.last.tolist()
        rows = [end - i for end, n in zip(ends, counts, strict=True) for i in reversed(range(n))]
        read = hidden[0, rows]
        return (self.model.head(read) if rows else read).split(counts)

    def _take(self, piece: Piece, logits: Tensor) -> list[Event]:
        """Let a text choose its next tokens, if one is due, and tell the scheduler."""
        number = piece.request.number
        if not len(logits) or number not in self._texts:  # or it was aborted meanwhile
            self.scheduler.update(piece)
            return []
        _, sequence, guess = self._texts[number]
        made = len(sequence.tokens)
        try:
            came = take_all(sequence, logits, piece.drafted)
            if guess is not None:
                guess.tell(came)
        except Exception as error:
            self.scheduler.update(piece)
            return self._fail(piece.request, error)
        ended = sequence.finish_reason is not None
        self.scheduler.update(piece, came[-1], stay=came[:-1], ended=ended)
        if number not in self._texts:  # aborted by its own stop function
            return []
        if ended:
            del self._texts[number]
        return events_of(number, sequence, came, made)

    def _fail(self, request: Request, error: Exception) -> list[Event]:
        if request.number not in self._texts:
            return []
        self.abort(request.number)
        return [Event(request.number, error=error)]
