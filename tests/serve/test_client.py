"""Our own client, against our server and against servers that say odd things."""

from __future__ import annotations

import socket
import threading

import pytest
from live_servers import NAME, all_free, live, tiny_speaker, wait_until

from decodeloop.errors import UserError
from decodeloop.serve import Refused
from decodeloop.serve.client import Endpoint
from decodeloop.serve.remote import RemoteConversation


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny"))) as server:
        yield server


ASKED = {"model": NAME, "prompt": "hello", "max_tokens": 6, "temperature": 0, "ignore_eos": True}


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_address_may_be_written_in_several_ways(server, path):
    assert Endpoint(server.url + path).models() == [NAME]


def test_events_come_and_hanging_up_ends_the_text(server):
    endpoint = Endpoint(server.url)
    events = list(endpoint.stream("/completions", ASKED))
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    stream = endpoint.stream("/completions", {**ASKED, "max_tokens": 200})
    next(stream)
    stream.close()
    wait_until(lambda: all_free(server))


def test_a_refusal_says_why(server):
    with pytest.raises(Refused, match=r"refuses \(400\): max_tokens is 0") as refused:
        next(Endpoint(server.url).stream("/completions", {**ASKED, "max_tokens": 0}))
    assert refused.value.status == 400


def test_a_key_is_shown(tmp_path):
    with live(tiny_speaker(tmp_path), api_key="sesame") as server:
        assert Endpoint(server.url, "sesame").models() == [NAME]
        with pytest.raises(Refused, match="401"):
            Endpoint(server.url).models()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UserError, match="is no address of a server"):
        Endpoint(url)


def test_nobody_there_is_one_sentence():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"{url} does not answer .* start the server"):
            Endpoint(url).models()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"nonsense\r\n\r\n", "does not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "expected a JSON object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "lists no models"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "lists no models"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\n<p>x", r"refuses \(502\): <p>x"),
        (b"", "does not answer"),
    ],
)
def test_a_server_that_says_odd_things_is_one_sentence(said, message):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(said)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(UserError, match=message):
            Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=5.0).models()
        thread.join(5)


# a conversation


def test_a_conversation_sends_all_that_was_said(server):
    chat = RemoteConversation(
        Endpoint(server.url), NAME, "Be brief.", options={"max_tokens": 5, "temperature": 0}
    )
    turn = chat.ask("hello")
    answer = "".join(turn)
    assert turn.finish_reason in ("stop", "length")
    assert turn.text == answer
    assert 1 <= len(turn.tokens) <= 5
    assert "the first after" in turn.timing
    first = turn.prompt_tokens
    turn = chat.ask("world")
    assert "".join(turn) is not None
    assert turn.prompt_tokens > first
    roles = [message["role"] for message in chat.messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert chat.undo() == "world"
    assert [m["content"] for m in chat.everything] == ["Be brief.", "hello", answer]
    chat.reset()
    assert chat.messages == [{"role": "system", "content": "Be brief."}]
    assert chat.undo() is None


def test_a_turn_that_is_left_stays_as_far_as_it_came_and_frees_its_blocks(server):
    chat = RemoteConversation(
        Endpoint(server.url), NAME, options={"temperature": 0, "ignore_eos": True}
    )
    turn = chat.ask("hello")
    said = next(turn)
    chat.ask("again")
    wait_until(lambda: all_free(server))
    assert chat.messages[:2] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": said},
    ]


def test_a_question_that_is_refused_is_taken_back(server):
    chat = RemoteConversation(Endpoint(server.url), "gpt-5")
    with pytest.raises(Refused, match="no model 'gpt-5'"):
        list(chat.ask("hello"))
    with pytest.raises(UserError, match="the message is empty"):
        chat.ask(" ")
    assert chat.messages == []
