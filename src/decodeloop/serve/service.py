"""A service: an engine in a thread of its own, which nobody else touches.

Whoever asks puts an errand into its inbox; between two steps the thread runs the errands, and after
each step it hands out what came. So a text that is aborted is gone before the next step, and
nothing needs a lock but one number. Built in lesson 24.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from decodeloop.decode import Draft
from decodeloop.decode import Sequence as Text
from decodeloop.errors import UserError
from decodeloop.serve.admission import Refused, admission
from decodeloop.serve.answer import Answer, Deliver, Piece
from decodeloop.serve.engine import Engine
from decodeloop.serve.guessing import checked_guesses
from decodeloop.serve.taking import Event
from decodeloop.serve.teams import give_up_team
from decodeloop.serve.watching import Admitted, Watch

MOST_WAITING = 64


class Service:
    """An engine that answers until it is drained or stopped.

    Args:
        most_waiting: how many texts may wait, besides those that the engine runs at a time.
        draft: makes a draft for each text, so that a step may bring several tokens of it.
        watch: told of everything that is worth counting.
        died: called, in the engine's thread, if that ends by an error.

    `state` is ``ok``, ``draining``, ``ended`` or ``dead``.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        most_waiting: int = MOST_WAITING,
        draft: Callable[[], Draft] | None = None,
        watch: Watch | None = None,
        died: Callable[[BaseException], object] = lambda error: None,
    ) -> None:
        self.engine, self.watch, self.died, self.draft = engine, watch or Watch(), died, draft
        self.most = engine.scheduler.most + most_waiting
        blocks = engine.scheduler.blocks
        self.longest = min(engine.model.config.context, blocks.count * blocks.size)
        self.state: Literal["ok", "draining", "ended", "dead"] = "ok"
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._whose: dict[int, tuple[Answer, int]] = {}  # by the engine's number
        self._here = 0  # texts that were let in and have not ended
        self._lock = threading.Lock()  # of that number, and of the door
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> Service:
        give_up_team()  # this thread has loaded the model, say; now another one computes
        self._thread.start()
        return self

    @property
    def here(self) -> int:
        """How many texts wait or run."""
        return self._here

    def ask(self, texts: Sequence[Text], deliver: Deliver) -> Answer:
        """Let texts in, all or none; from now on `deliver` is called with what comes of them.

        Raises:
            Refused: they can never be answered (400), the service is full (429) or ends (503).
        """
        with self._lock:
            for text in texts:
                self._check(text, len(texts))
            self._here += len(texts)
            answer = Answer(texts, deliver)
            self._inbox.put(lambda: self._add(answer))  # inside: after `drain` nothing comes
        return answer

    def abort(self, answer: Answer, number: int) -> None:
        """End one text of an answer before the next step; nothing, if it has ended."""
        self._inbox.put(lambda: self._abort(answer, number))

    def drain(self) -> None:
        """Let nobody in any more, and end when all are answered."""
        with self._lock:
            if self.state == "ok":
                self.state = "draining"
        self._inbox.put(lambda: None)  # it may be waiting for an errand

    def stop(self) -> None:
        """End now: those that are being answered get an error."""
        self.drain()
        self._inbox.put(self._abort_all)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _check(self, text: Text, together: int) -> None:
        if together > self.most:
            raise Refused(400, f"{together} texts at once: this server takes {self.most} at most.")
        T, new = text.prompt.shape[1], text.budget
        draining, here = self.state != "ok", self._here + together - 1
        status = admission(T, new, here, longest=self.longest, most=self.most, draining=draining)
        if status == 400:
            raise Refused(
                400,
                f"a prompt of {T} tokens and {new} new ones need {T + new - 1} positions, and a "
                f"text may have {self.longest}: shorten the prompt, or ask for fewer.",
            )
        if status == 503:
            raise Refused(503, "the server is shutting down: ask again elsewhere, or later.")
        if status == 429:
            raise Refused(429, f"{self._here} texts are here already: ask again in a moment.")

    # from here on in the engine's thread

    def _run(self) -> None:
        try:
            while self._obey():
                began = time.perf_counter()
                events = self.engine.step()
                self._watch_step(began, events)
                self._hand_out(events)
            self.state = "ended"
        except BaseException as error:
            self.state = "dead"
            self._fail_all(error)
            self.died(error)

    def _obey(self) -> bool:
        """Run all errands, waiting for one where there is nothing else to do; False at the end."""
        while True:
            try:
                self._inbox.get(block=not self.engine.busy and self.state == "ok")()
            except queue.Empty:
                return self.engine.busy or self.state == "ok"

    def _add(self, answer: Answer) -> None:
        for number, text in enumerate(answer.texts):
            try:
                draft = None if self.draft is None else self.draft()
                self._whose[self.engine.add(text, draft=draft)] = answer, number
            except Exception as error:  # a token that is none, say
                self._gone("failed")
                answer.deliver([Piece(number, error=error)])

    def _abort(self, answer: Answer, number: int) -> None:
        for key, whose in list(self._whose.items()):
            if whose == (answer, number):
                self.engine.abort(key)
                del self._whose[key]
                self._gone("aborted")

    def _abort_all(self) -> None:
        for key in self._whose:
            self.engine.abort(key)
        self._fail_all(UserError("the server was ended."))

    def _fail_all(self, error: BaseException) -> None:
        cause = error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
        self._hand_out([Event(key, error=cause) for key in self._whose])

    def _gone(self, outcome: str) -> None:
        with self._lock:
            self._here -= 1
        self.watch.ended(outcome)

    def _watch_step(self, began: float, events: Sequence[Event]) -> None:
        plan, admitted = self.engine.plan, list[Admitted]()
        for request in plan.admitted:
            if request.number in self._whose and not request.preempted:
                answer, number = self._whose[request.number]
                prompt = answer.texts[number].prompt.shape[1]
                admitted.append(Admitted(began - answer.asked, prompt, request.shared))
        self.watch.stepped(admitted, len(plan.preempted))
        for checked, accepted in checked_guesses(plan, events):
            self.watch.drafted(checked, accepted)

    def _hand_out(self, events: list[Event]) -> None:
        now, pieces = time.perf_counter(), dict[Answer, list[Piece]]()
        for event in events:
            answer, number = self._whose[event.number]
            pieces.setdefault(answer, []).append(answer.piece(number, event))
            if event.token is not None:
                self.watch.token(*answer.waited(number, now))
            if event.ended:
                del self._whose[event.number]
                self._gone("failed" if event.error else "answered")
        for answer, came in pieces.items():
            answer.deliver(came)
