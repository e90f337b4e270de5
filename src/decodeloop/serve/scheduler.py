"""The scheduler: which tokens of which texts are computed in the next step. No model, and no clock.

What it decides stands in `policy`; here is who waits, who runs, and what a step is. Built in
lesson 14.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from operator import attrgetter

from decodeloop.cost.checks import check_whole
from decodeloop.errors import UserError
from decodeloop.serve.block_manager import BlockManager, NoRoom
from decodeloop.serve.blocks import Table
from decodeloop.serve.plan import Piece, Plan, Request
from decodeloop.serve.policy import LIBRARY_PARTS, SchedulerParts


class Scheduler:
    """Requests that wait and that run, in the order of their arrival, over a pool of blocks.

    Each step is one `schedule`, then one `update` for each of its pieces, or `cancel`.

    Args:
        most: how many texts run at a time.
        budget: how many tokens a step reads.
        chunk: how many tokens of one text a step reads; None means all that the budget allows.

    Raises:
        UserError: one of them is less than 1; or, at a step, parts of your own let nobody get on.
    """

    def __init__(
        self,
        blocks: BlockManager,
        *,
        most: int = 8,
        budget: int = 256,
        chunk: int | None = None,
        parts: SchedulerParts = LIBRARY_PARTS,
    ) -> None:
        check_whole("Scheduler", most=most, budget=budget, chunk=1 if chunk is None else chunk)
        self.blocks, self.parts = blocks, parts
        self.most, self.budget, self.chunk = most, budget, chunk
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self._in_flight: list[Request] = []  # in the step that is being computed
        self._arrived = 0

    def add(self, tokens: Sequence[int], longest: int, key: bytes = b"") -> Request:
        """Put a text at the end of the queue, which will have at most `longest` positions.

        Raises:
            UserError: it is empty, or so long that it would never fit.
        """
        check_whole("Scheduler.add", tokens=len(tokens), longest=longest)
        blocks = self.blocks
        longest = max(longest, len(tokens))
        needed = blocks.parts.blocks_needed(longest, blocks.size)
        if needed > blocks.count:  # it would wait for ever, and all behind it
            raise UserError(
                f"a text of up to {longest} positions needs {needed} blocks of {blocks.size}, and "
                f"there are {blocks.count}: ask for fewer tokens, or make the pool larger."
            )
        request = Request(self._arrived, Table([*tokens], key))
        self._arrived += 1
        self.waiting.append(request)
        return request

    def abort(self, request: Request) -> None:
        """End a text now. If it is in the step that is being computed, its blocks are free only
        after that: they are still written to.

        Raises:
            UserError: it has ended already.
        """
        for queue in (self.waiting, self.running):
            if request in queue:
                queue.remove(request)
                if request not in self._in_flight:
                    self.blocks.release(request.table)
                return
        raise UserError(f"request {request.number} is not here: it has ended, or was aborted.")

    def schedule(self) -> Plan:
        """The next step; without pieces if nobody is here."""
        if self._in_flight:
            raise UserError("the last step is still computed: update all its pieces, or cancel it.")
        plan, parts = Plan(), self.parts
        left = [request.table.left for request in self.running]
        counts = parts.take_tokens(left, self.budget, self.chunk, chunk=parts.chunk)
        for request, count in zip([*self.running], counts, strict=True):
            if count:
                self._find_room(request, count, plan)
        while self.waiting and not plan.preempted:  # who was just sent back would come straight in
            budget = self.budget - sum(piece.count for piece in plan.pieces)
            if budget < 1 or not self._admit(self.waiting[0], budget, plan):
                break  # nobody overtakes
        if not plan.pieces and (self.waiting or self.running):
            raise UserError(
                f"{len(self.waiting)} waits and {len(self.running)} run, and nothing is computed: "
                f"look at take_tokens, chunk and admit, or at who else holds blocks (or was every "
                f"token of a text found?)."
            )
        self._in_flight = [piece.request for piece in plan.pieces]
        return plan

    def update(
        self,
        piece: Piece,
        token: int | None = None,
        *,
        stay: Sequence[int] = (),
        ended: bool = False,
    ) -> None:
        """A piece was computed, and so many of its drafted tokens `stay`; `token` comes next, if
        one was due and the text has not ended."""
        request, table = piece.request, piece.request.table
        self._in_flight.remove(request)
        table.tokens += stay
        self.blocks.complete(table, piece.count + len(stay))
        if piece.drafted:
            self.blocks.truncate(table, table.stored)  # the room of those that don't stay
        if token is not None:
            table.tokens.append(token)
        if ended and request in self.running:
            self.running.remove(request)
        if request not in self.running:  # or it was aborted meanwhile
            self.blocks.release(table)

    def cancel(self) -> None:
        """The step failed: those of its pieces that were not updated are still to be read."""
        for request in self._in_flight:
            if request not in self.running:
                self.blocks.release(request.table)
        self._in_flight = []

    def _find_room(self, request: Request, count: int, plan: Plan) -> None:
        while request in self.running:  # it may be sent back itself
            try:
                plan.copies += self.blocks.grow(request.table, count)
            except NoRoom:
                self._preempt(plan)
            else:
                plan.pieces.append(Piece(request, request.table.stored, count))
                return

    def _preempt(self, plan: Plan) -> None:
        """Send a text back. It keeps its tokens, those that were made too, and reads them again."""
        victim = self.running.pop(self.parts.preempt([r.number for r in self.running]))
        plan.pieces = [piece for piece in plan.pieces if piece.request is not victim]
        self.blocks.release(victim.table)
        victim.preempted += 1
        plan.preempted.append(victim)
        insort(self.waiting, victim, key=attrgetter("number"))

    def _admit(self, request: Request, budget: int, plan: Plan) -> bool:
        table, parts = request.table, self.parts
        found = self.blocks.match(table)
        price, free = self.blocks.price(table, found), len(self.blocks.free)
        if not parts.admit(price, free, len(self.running), self.most):
            return False
        request.shared += self.blocks.admit(table, found)
        self.waiting.remove(request)
        insort(self.running, request, key=attrgetter("number"))
        plan.admitted.append(request)
        if count := parts.chunk(table.left, budget, self.chunk):
            self._find_room(request, count, plan)
        return True
