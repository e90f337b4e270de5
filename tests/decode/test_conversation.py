"""A conversation, held against fresh generations over the same messages."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decodeloop.decode import Conversation, Sampling, generate
from decodeloop.decode import conversation as room
from decodeloop.decode.conversation import check_messages, common_beginning
from decodeloop.errors import UserError
from decodeloop.model import ContiguousKVCache

START, END = 96, 95  # around each message; END ends an answer
ROLE = {"system": 0, "user": 1, "assistant": 2}


class Letters:
    """A token for each printable character; special tokens are no text."""

    def encode(self, text, beginning=False):
        return [ord(c) - 32 for c in text]

    def decode(self, token_ids, skip_special=False):
        return "".join(chr(32 + t) for t in token_ids if t < END)


def message_ids(messages):
    check_messages(messages)
    ids = []
    for message in messages:
        ids += [START, ROLE[message["role"]], *Letters().encode(message["content"]), END]
    return [*ids, START, ROLE["assistant"]]


@pytest.fixture(scope="session")
def llm(decoder):
    return SimpleNamespace(
        model=decoder, tokenizer=Letters(), eos_ids=(END,), message_ids=message_ids
    )


def fresh(llm, messages, budget):
    """What the model says to these messages, all of them read at once."""
    return list(generate(llm.model, torch.tensor([message_ids(messages)]), budget, eos_ids=(END,)))


def said(*texts, system=None):
    roles = ("user", "assistant")
    first = [{"role": "system", "content": system}] if system else []
    return first + [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def test_a_turn_is_what_a_fresh_generation_says_and_only_what_is_new_is_read(llm):
    chat = Conversation(llm, "be brief", max_new_tokens=6)
    first = chat.ask("hello")
    answer = "".join(first)
    assert answer == first.text
    assert first.tokens == fresh(llm, said("hello", system="be brief"), 6)
    assert first.read_tokens == first.prompt_tokens
    assert chat.messages == said("hello", answer, system="be brief")

    second = chat.ask("and then?")
    "".join(second)
    assert second.tokens == fresh(llm, said("hello", answer, "and then?", system="be brief"), 6)
    # the question with what stands around it, the end of the answer, and its last token
    assert second.read_tokens <= len("and then?") + 7
    assert second.prompt_tokens > 3 * second.read_tokens / 2
    assert f"{second.read_tokens} of {second.prompt_tokens} prompt tokens" in second.timing


def test_an_answer_may_be_left_and_what_was_said_by_then_stays(llm):
    chat = Conversation(llm, max_new_tokens=20)
    turn = chat.ask("tell me")
    left = "".join(next(turn) for _ in range(3))
    assert chat.messages == said("tell me", left)
    left += next(turn)  # a look at the messages does not end it
    again = chat.ask("go on")
    assert list(turn) == []  # this does
    "".join(again)
    assert again.tokens == fresh(llm, said("tell me", left, "go on"), 20)


def test_a_question_that_was_left_before_an_answer_is_taken_back(llm):
    chat = Conversation(llm, max_new_tokens=5)
    chat.ask("nobody waits")
    assert chat.messages == said("nobody waits")
    answer = "".join(chat.ask("once more"))
    assert chat.messages == said("once more", answer)


def test_undo_takes_back_question_and_answer_and_reset_all_but_the_system(llm):
    chat = Conversation(llm, "be kind", max_new_tokens=4)
    first = "".join(chat.ask("one"))
    "".join(chat.ask("two"))
    assert chat.undo() == "two"
    assert chat.messages == said("one", first, system="be kind")
    turn = chat.ask("three")
    "".join(turn)
    assert turn.tokens == fresh(llm, said("one", first, "three", system="be kind"), 4)
    chat.reset()
    assert chat.messages == said(system="be kind")
    assert chat.undo() is None


def test_the_oldest_turns_go_when_the_context_is_full(llm):
    chat = Conversation(llm, "short", max_new_tokens=8, context=80)
    forgotten, sent = 0, 0
    for number in range(8):
        before = chat.messages
        turn = chat.ask(f"question {number}")
        "".join(turn)
        sent += 1
        now = chat.messages
        assert now[0] == {"role": "system", "content": "short"}
        assert [m["role"] for m in now[1:]] == ["user", "assistant"] * (len(now) // 2)
        assert turn.tokens == fresh(llm, now[:-1], 8)
        assert turn.prompt_tokens + len(turn.tokens) - 1 <= 80
        assert len(now) == len(before) - turn.forgotten + 2
        assert now[1 : len(before) - turn.forgotten] == before[1 + turn.forgotten :]
        forgotten += turn.forgotten
        assert len(chat.everything) == 1 + 2 * sent
        assert [m["content"] for m in chat.everything[1::2]] == [
            f"question {n}" for n in range(sent)
        ]
    assert 2 <= forgotten < 2 * sent


def test_an_answer_as_long_as_the_context_leaves_room_for_what_was_said(llm):
    chat = Conversation(llm, max_new_tokens=80, context=80)
    first = chat.ask("hello")
    for _, _ in zip(range(5), first, strict=False):
        pass
    second = chat.ask("again")
    assert second.forgotten == 0
    assert [m["content"] for m in chat.messages] == ["hello", first.text, "again"]
    assert second.read_tokens < second.prompt_tokens


@pytest.mark.parametrize("name", ["grow", "truncate"])
def test_a_conversation_survives_what_interrupts_it(llm, monkeypatch, name):
    monkeypatch.setattr(room, "SMALLEST_CACHE", 16)
    chat = Conversation(llm, max_new_tokens=5)
    answer = chat.ask("a").read()
    with monkeypatch.context() as patch:
        patch.setattr(ContiguousKVCache, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            chat.ask("interrupted, and long enough to outgrow the cache")
    assert chat.messages == said("a", answer)
    turn = chat.ask("b, which is long enough to outgrow the cache too")
    turn.read()
    assert turn.tokens == fresh(llm, said("a", answer, turn_text(chat)), 5)


def interrupted(*args):
    raise KeyboardInterrupt


def turn_text(chat):
    return chat.messages[-2]["content"]


def test_a_message_that_can_not_fit_is_refused_and_nothing_is_lost(llm):
    chat = Conversation(llm, max_new_tokens=4, context=60)
    answer = "".join(chat.ask("hi"))
    with pytest.raises(
        UserError, match=r"a prompt of \d+ tokens, with .* context holds 60: say it in"
    ):
        chat.ask("x" * 70)
    assert chat.messages == said("hi", answer)
    turn = chat.ask("x" * 50)  # fits alone, with a shorter answer
    "".join(turn)
    assert turn.forgotten == 2
    assert 1 <= len(turn.tokens) <= 4


def test_a_cache_that_is_outgrown_becomes_a_larger_one_without_reading_again(llm, monkeypatch):
    monkeypatch.setattr(room, "SMALLEST_CACHE", 16)
    chat = Conversation(llm, max_new_tokens=5)
    for number in range(4):
        turn = chat.ask(f"{number}")
        "".join(turn)
        assert turn.tokens == fresh(llm, chat.messages[:-1], 5)
        assert turn.read_tokens <= turn.prompt_tokens - (number > 0)
    assert turn.read_tokens < 12


def test_draws_are_those_of_the_generator(llm):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        chat = Conversation(
            llm, max_new_tokens=12, sampling=Sampling(temperature=3.0), generator=generator
        )
        return ["".join(chat.ask(text)) for text in ("a", "b")]

    assert drawn(1) == drawn(1) != drawn(2)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.text("abc ?", min_size=1, max_size=9), st.integers(0, 9)),
        st.tuples(st.just("undo")),
        st.tuples(st.just("reset")),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, context=st.integers(24, 128))
def test_whatever_happens_a_turn_is_that_of_a_fresh_model(llm, steps, context):
    chat = Conversation(llm, max_new_tokens=6, context=context)
    for name, *rest in steps:
        if name == "undo":
            chat.undo()
        elif name == "reset":
            chat.reset()
        elif rest[0].strip():
            turn = chat.ask(rest[0])
            asked = [dict(m) for m in chat._messages]
            for _, _ in zip(range(rest[1]), turn, strict=False):
                pass  # left after so many pieces
            made = len(turn.tokens)
            assert turn.tokens == fresh(llm, asked, 6)[:made]
    assert all(m["content"] or m["role"] == "assistant" for m in chat.messages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "the context is 0: expected 1 to 128"),
        ({"context": 129}, "the context is 129: expected 1 to 128"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0: expected at least 1"),
        ({"messages": [{"role": "bot", "content": "hi"}]}, "message 0 is .*one of system, user"),
        ({"messages": ["hi"]}, "message 0 is 'hi': expected a dict with role"),
        ({"messages": [{"role": "user"}]}, "message 0, of role user, says None: expected text"),
        ({"messages": said("a")}, "the last message is of role user: a conversation goes on after"),
        ({"messages": said("a", system="b")[::-1]}, "message 1 is of role system: expected it"),
    ],
)
def test_what_makes_no_conversation_is_refused(llm, options, message):
    with pytest.raises(UserError, match=message):
        Conversation(llm, **options)


def test_an_empty_message_is_refused(llm):
    chat = Conversation(llm)
    for text in ("", "  \n"):
        with pytest.raises(UserError, match="at least one character"):
            chat.ask(text)
    assert chat.messages == []
    with pytest.raises(UserError, match="there are no messages"):
        check_messages([])


def test_a_conversation_goes_on_where_another_ended(llm):
    old = said("one", "two", system="three")
    chat = Conversation(llm, messages=old, max_new_tokens=3)
    assert chat.messages == old
    turn = chat.ask("four")
    "".join(turn)
    assert turn.tokens == fresh(llm, [*old, *said("four")], 3)
    assert Conversation(llm, "other", old).messages == said("one", "two", system="other")


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_the_common_beginning_is_the_longest(one, other):
    n = common_beginning(one, other)
    assert one[:n] == other[:n]
    assert n == min(len(one), len(other)) or one[n] != other[n]
