"""Clients that mean harm: the server goes on answering, and nothing is left of them."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from live_servers import NAME, all_free, live, tiny_speaker, wait_until

from decodeloop.serve.patience import Patient


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny"))) as server:
        yield server


def connect(server):
    url = httpx.URL(server.url)
    return socket.create_connection((url.host, url.port), timeout=10)


def answers(server):
    """The server's answer to a good request."""
    body = {"model": NAME, "prompt": "hello", "max_tokens": 2, "temperature": 0}
    told = httpx.post(f"{server.url}/v1/completions", json=body, timeout=10)
    return told.status_code == 200 and told.json()["usage"]["completion_tokens"] > 0


def test_a_hundred_slow_ones_do_not_keep_others_from_being_answered(server):
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(server)) for _ in range(100)]
        for i, one in enumerate(slow):
            one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Slow: "[: 10 + i % 50])
        assert answers(server)
        for one in slow:
            one.sendall(b"a")
        assert answers(server)


@pytest.mark.parametrize("said", [b"", b"GET /health HTT", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_who_never_says_what_it_wants_is_let_go(server, monkeypatch, said):
    monkeypatch.setattr(Patient, "seconds", 0.2)
    with connect(server) as one:
        one.sendall(said)
        began = time.monotonic()
        assert one.recv(100) == b""
        assert time.monotonic() - began < 5


def test_who_waits_for_an_answer_may_wait_for_longer_than_that(server, monkeypatch):
    monkeypatch.setattr(Patient, "seconds", 0.05)
    body = {"model": NAME, "prompt": "hello", "max_tokens": 200, "ignore_eos": True}
    told = httpx.post(f"{server.url}/v1/completions", json=body, timeout=20)
    assert told.json()["usage"]["completion_tokens"] == 200


def test_a_body_that_never_comes_is_let_go(server, monkeypatch):
    monkeypatch.setattr("decodeloop.serve.bodies.SECONDS", 0.2)
    with connect(server) as one:
        one.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        assert one.recv(1000).startswith(b"HTTP/1.1 408")


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 4x\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: x\r\n",
        b"Bad Header: x\r\n",
        b"X-Cut: a\rb\r\n",
        b"X-Zero: a\x00b\r\n",
        b" folded: x\r\n",
        b"X: " + b"a" * 200_000 + b"\r\n",
    ],
    ids=lambda head: repr(head[:40]),
)
def test_a_head_that_may_be_read_in_two_ways_is_refused_or_read_in_one(server, head):
    with connect(server) as one:
        one.settimeout(1.0)
        said = b""
        try:
            one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            one.sendall(b"0\r\n\r\n" + SMUGGLED)
            while part := one.recv(65536):
                said += part
        except (TimeoutError, ConnectionError):
            pass
    assert b"decodeloop_kv_blocks" not in said, "the request inside was answered"
    assert b" 200 " not in said
    assert answers(server)


def test_thousands_of_connects_leave_it_answering(server):
    for _ in range(2000):
        connect(server).close()
    assert answers(server)


def test_hundreds_who_ask_and_leave_at_once_leave_nothing(server, capsys):
    body = json.dumps(
        {"model": NAME, "prompt": "hello", "max_tokens": 200, "stream": True, "ignore_eos": True}
    ).encode()
    for i in range(200):
        with connect(server) as one:
            one.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body[: len(body) - i % 2])
            )
    wait_until(lambda: answers(server), 20)  # it comes behind them all, or is told 429
    wait_until(lambda: server.service.here == 0 and all_free(server), 20)
    assert "ClientDisconnect" not in capsys.readouterr().err
