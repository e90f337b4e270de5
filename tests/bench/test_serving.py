"""A server under load: rounds of users, and of random arrivals."""

from __future__ import annotations

import json
import sys

import pytest
from live_servers import NAME, live, tiny_speaker
from one_sentence import assert_one_sentence

from decodeloop import commands
from decodeloop.bench import LoadSettings, bench_server
from decodeloop.bench.serving import asking
from decodeloop.errors import UserError
from decodeloop.serve.client import Endpoint


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny")), most_waiting=9) as server:
        yield server


SMALL = LoadSettings(NAME, (1, 3), (200.0,), requests=6, prompt_words=9, new_tokens=5)


def test_each_round_has_its_users_and_all_their_tokens(server):
    rows = bench_server(Endpoint(server.url), SMALL)
    assert [row.load for row in rows] == ["1 users", "3 users", "200 requests/s"]
    for row in rows:
        assert (row.answered, row.failed, row.failure) == (6, 0, None)
        assert 0 < row.ttft["p50"] <= row.ttft["p90"] <= row.ttft["p99"]
        assert 0 < row.ttft["p50"] <= row.end_to_end["p50"]
        assert row.tokens_per_s > 0


def test_the_same_number_asks_the_same_and_another_one_does_not(server):
    ask = asking(Endpoint(server.url), SMALL)
    one, again, other = ("".join(ask(n)) for n in (1, 1, 2))
    assert one == again != other


def test_a_server_that_refuses_all_is_one_sentence(server):
    with pytest.raises(UserError, match="no model 'gpt-5'"):
        bench_server(Endpoint(server.url), LoadSettings("gpt-5"))


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["decodeloop", "bench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            commands.main()
        return end.value.code or 0, *capsys.readouterr()

    return run


SHORT = ["--requests", 4, "--prompt-tokens", 9, "--new-tokens", 4]


def test_the_command_prints_a_table_or_one_object(command, server):
    status, out, _ = command("--url", server.url, "--users", "2", *SHORT)
    assert status == 0
    assert "2 users" in out and "TTFT" in out
    status, out, _ = command("--url", server.url, "--rates", "100", *SHORT, "--json")
    told = json.loads(out)
    assert [one["load"] for one in told["rounds"]] == ["100 requests/s"]
    assert told["settings"]["model"] == NAME


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--users", "2"], ["give --url too"]),
        (["--url", "x"], ["is no address"]),
        (["--url", "http://127.0.0.1:1", "--rates", "0"], ["--rates is '0'"]),
        (["--url", "http://127.0.0.1:1", "--users", "no"], ["--users is 'no'"]),
        (["--url", "http://127.0.0.1:1"], ["does not answer"]),
        (["--url", "http://127.0.0.1:1", "--requests", "0"], ["--requests is 0"]),
    ],
)
def test_bad_options_are_one_sentence(command, words, parts):
    status, out, err = command(*words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)
