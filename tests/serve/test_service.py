"""One thread owns the engine: what is asked, aborted, refused, drained, and what if it dies."""

from __future__ import annotations

import queue
import threading
import time

import pytest
import torch
from live_servers import Paced, wait_until

from decodeloop.decode import Sampling, Sequence, generate
from decodeloop.errors import UserError
from decodeloop.model import TINY
from decodeloop.serve import Engine, Refused, Service
from decodeloop.serve.watching import Watch

V = TINY.vocabulary


class Noted(Watch):
    def __init__(self):
        self.outcomes, self.tokens, self.came = [], [], []

    def stepped(self, admitted, preempted):
        self.came += admitted

    def token(self, waited, first):
        assert waited >= 0
        self.tokens.append(first)

    def ended(self, outcome):
        self.outcomes.append(outcome)


def sequence(prompt, new=6, **options):
    return Sequence(torch.tensor([prompt]), new, **options)


def alone(decoder, prompt, new=6):
    return list(generate(decoder, torch.tensor([prompt]), new))


@pytest.fixture
def served(decoder):
    """Make a service of a model, and end it in any case."""
    made = []

    def make(model=None, *, most=2, blocks=12, size=4, **options):
        service = Service(Engine(model or decoder, blocks=blocks, size=size, most=most), **options)
        made.append(service)
        return service.start()

    yield make
    for service in made:
        model = service.engine.model
        if isinstance(model, Paced):
            model.may_go.set()
        service.stop()
        assert service.join(10)


def ask(service, *texts):
    """What comes of texts, in an inbox; and the answer."""
    inbox = queue.Queue()
    return inbox, service.ask(texts, lambda came: [inbox.put(piece) for piece in came])


def ends(inbox, count=1):
    """The last pieces of so many texts, by number; and all pieces."""
    pieces, last = [], {}
    while len(last) < count:
        pieces.append(inbox.get(timeout=10))
        if pieces[-1].ended:
            last[pieces[-1].number] = pieces[-1]
    return last, pieces


def free(service):
    blocks = service.engine.scheduler.blocks
    return len(blocks.free) == blocks.count


def test_texts_that_are_asked_for_at_once_are_those_of_each_alone(served, decoder):
    watch = Noted()
    service = served(watch=watch)
    prompts = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [2]]
    texts = [sequence(p) for p in prompts]
    asked = [ask(service, *texts[:2]), *(ask(service, text) for text in texts[2:])]
    for (inbox, _), count in zip(asked, (2, 1, 1), strict=True):
        last, _ = ends(inbox, count)
        assert {piece.finish_reason for piece in last.values()} == {"length"}
        assert {piece.tokens for piece in last.values()} == {6}
    assert [text.tokens for text in texts] == [alone(decoder, p) for p in prompts]
    wait_until(lambda: service.here == 0)
    assert free(service)
    assert watch.outcomes == ["answered"] * 4
    assert (watch.tokens.count(True), watch.tokens.count(False)) == (4, 20)
    assert [text.prompt for text in watch.came] == [3, 2, 4, 1]


def test_a_piece_has_what_is_new_of_text_and_forecasts(served):
    class Said:
        stopped = False

        def push(self, token):
            return "" if token % 2 else f"<{token}>"

        def finish(self):
            return "."

    text = sequence([1, 2, 3], text_stream=Said(), best=2)
    inbox, _ = ask(served(), text)
    _, pieces = ends(inbox)
    assert "".join(piece.text for piece in pieces) == text.text
    assert text.text.endswith(".")
    told = [forecast for piece in pieces for forecast in piece.forecasts]
    assert told == text.forecasts
    assert [forecast.token for forecast in told] == text.tokens


def test_an_abort_is_done_before_the_next_step(served, decoder):
    """While a step is computed the text is still in it; not in the one after."""
    model, watch = Paced(decoder), Noted()
    service = served(model, watch=watch)
    model.may_go.clear()
    gone, stays = sequence([1, 2, 3], 40), sequence([4, 5], 3)
    _, answer = ask(service, gone)
    other, _ = ask(service, stays)
    wait_until(lambda: model.steps == 1)
    service.abort(answer, 0)
    model.may_go.set()
    ends(other)
    assert len(gone.tokens) <= 2  # its first step was under way, perhaps with the other one's
    assert stays.tokens == alone(decoder, [4, 5], 3)
    wait_until(lambda: service.here == 0)
    assert free(service)
    assert sorted(watch.outcomes) == ["aborted", "answered"]
    service.abort(answer, 0)  # once more is nothing
    ends(ask(service, sequence([1]))[0])
    assert service.here == 0


def test_the_step_that_lets_a_text_in_is_no_wait_in_the_queue(served, decoder):
    model, watch = Paced(decoder), Noted()
    service = served(model, watch=watch)
    model.may_go.clear()
    inbox, answer = ask(service, sequence([1, 2, 3]))
    wait_until(lambda: model.held)
    held = time.perf_counter() - answer.asked
    model.may_go.set()
    ends(inbox)
    assert 0 <= watch.came[0].waited <= held


def test_one_of_several_is_aborted_and_the_others_go_on(served, decoder):
    model = Paced(decoder)
    service = served(model)
    model.may_go.clear()
    texts = [sequence([1, 2, 3], 9), sequence([4, 5], 9), sequence([6], 9)]
    inbox, answer = ask(service, *texts)
    service.abort(answer, 2)  # it waits: two run at a time
    service.abort(answer, 0)
    model.may_go.set()
    last, _ = ends(inbox)
    assert set(last) == {1}
    assert texts[1].tokens == alone(decoder, [4, 5], 9)
    assert texts[2].tokens == []


# who is let in


def test_a_full_service_says_so_and_has_room_again(served, decoder):
    model = Paced(decoder)
    service = served(model, most_waiting=1)
    model.may_go.clear()
    inboxes = [ask(service, sequence([i + 1]))[0] for i in range(3)]
    with pytest.raises(Refused, match="3 texts are here already") as refused:
        ask(service, sequence([9]))
    assert refused.value.status == 429
    model.may_go.set()
    for inbox in inboxes:
        ends(inbox)
    wait_until(lambda: service.here == 0)
    ends(ask(service, sequence([9]))[0])


def test_texts_that_are_asked_for_together_are_let_in_together_or_not_at_all(served, decoder):
    model = Paced(decoder)
    service = served(model, most_waiting=1)
    model.may_go.clear()
    ask(service, sequence([1]))
    with pytest.raises(Refused) as refused:
        ask(service, *(sequence([i]) for i in (1, 2, 3)))
    assert (refused.value.status, service.here) == (429, 1)
    with pytest.raises(Refused, match="4 texts at once: this server takes 3 at most") as refused:
        ask(service, *(sequence([i]) for i in (1, 2, 3, 4)))
    assert refused.value.status == 400


def test_what_can_never_fit_is_told_its_numbers(served):
    service = served(blocks=3, size=4)
    with pytest.raises(
        Refused, match=r"of 9 tokens and 5 new ones need 13 positions, and a text may have 12"
    ) as refused:
        ask(service, sequence([1] * 9, 5))
    assert refused.value.status == 400
    ends(ask(service, sequence([1] * 9, 4))[0])


def test_a_token_that_is_none_fails_alone(served, decoder):
    service = served()
    inbox, _ = ask(service, sequence([V]), good := sequence([1, 2]))
    last, _ = ends(inbox, 2)
    assert isinstance(last[0].error, UserError)
    assert good.tokens == alone(decoder, [1, 2])
    wait_until(lambda: service.here == 0)


def test_a_step_that_fails_ends_its_texts_and_the_service_goes_on(served, decoder):
    class Faulty(Sampling):
        def choose(self, *arguments):
            raise ZeroDivisionError

    watch = Noted()
    service = served(watch=watch)
    last, _ = ends(ask(service, sequence([1], sampling=Faulty()))[0])
    assert isinstance(last[0].error, ZeroDivisionError)
    ends(ask(service, sequence([1]))[0])
    assert watch.outcomes == ["failed", "answered"]


# how it ends


def test_a_drain_lets_nobody_in_and_answers_all_who_are_inside(served, decoder):
    model = Paced(decoder)
    service = served(model)
    model.may_go.clear()
    texts = [sequence([i + 1]) for i in range(4)]
    inboxes = [ask(service, text)[0] for text in texts]
    service.drain()
    assert service.state == "draining"
    with pytest.raises(Refused, match="shutting down") as refused:
        ask(service, sequence([9]))
    assert refused.value.status == 503
    model.may_go.set()
    for inbox in inboxes:
        ends(inbox)
    assert service.join(10)
    assert service.state == "ended"
    assert [text.tokens for text in texts] == [alone(decoder, [i + 1]) for i in range(4)]


def test_a_drain_of_nobody_ends_at_once(served):
    service = served()
    service.drain()
    assert service.join(10)


def test_a_stop_tells_those_who_wait(served, decoder):
    model = Paced(decoder, 0.01)
    service = served(model)
    inboxes = [ask(service, sequence([i + 1], 40))[0] for i in range(3)]
    service.stop()
    for inbox in inboxes:
        assert "was ended" in str(ends(inbox)[0][0].error)
    assert service.join(10)
    assert service.here == 0
    assert free(service)


def test_if_its_thread_dies_all_are_told_and_so_is_who_began_it(served, decoder):
    class Dying(Paced):
        def hidden(self, *arguments, **options):
            if self.steps == 3:
                raise SystemExit("the end")  # what an engine takes for no text's fault
            return super().hidden(*arguments, **options)

    told = threading.Event()
    service = served(Dying(decoder), died=lambda error: told.set())
    inboxes = [ask(service, sequence([i + 1]))[0] for i in range(3)]
    for inbox in inboxes:
        assert ends(inbox)[0][0].error is not None
    assert told.wait(10)
    assert service.state == "dead"
    with pytest.raises(Refused):
        ask(service, sequence([1]))
