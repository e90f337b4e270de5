"""`serve`: what it refuses before it begins, and a real process, asked and signalled."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import openai
import pytest
from one_sentence import assert_one_sentence
from tiny_models import random_llama, save_folder

from decodeloop.commands.serve import speaking
from decodeloop.commands.sizes import blocks_in, bytes_of
from decodeloop.course.progress import Progress
from decodeloop.errors import UserError
from decodeloop.loading import load
from decodeloop.serve import Engine, admit
from decodeloop.serve.asking import Speaker
from decodeloop.serve.running import LiveServer


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "no key", "--api-key"]),
        (["--host", "::"], ["::", "no key"]),
        (["--host", "192.168.1.7"], ["192.168.1.7", "no key"]),
        (["--host", "example.org"], ["example.org", "no key"]),
        (["--port", "65536"], ["--port is 65536", "0 to 65535"]),
        (["--api-key", " "], ["--api-key is empty"]),
        (["--max-batch", "0"], ["--max-batch is 0", "at least 1"]),
        (["--max-waiting", "-1"], ["--max-waiting is -1", "at least 0"]),
        (["--cache-memory", "much"], ["--cache-memory is 'much'", "500MB"]),
        (["--cache-memory", "0GB"], ["--cache-memory is '0GB'"]),
        (["--cache-dtype", "int8"], ["leave out --cache-dtype"]),
        (["--draft", "int8"], ["--draft is 'int8'", "lookup"]),
        (["--work", "there"], ["give --mine too"]),
        (["--replicas", "0"], ["--replicas is 0", "at least 1"]),
        (["--replicas", "2", "--mine"], ["--replicas", "leave out --mine"]),
    ],
)
def test_bad_options_are_one_sentence(command, words, parts):
    status, out, err = command("serve", *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("500mb", 5 * 10**8),
        ("2 KiB", 2048),
        ("1.5M", 1_500_000),
        ("7", 7),
        ("7B", 7),
    ],
)
def test_sizes_are_bytes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1GBB", "nan", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserError, match="expected a size"):
        bytes_of(text)


def test_blocks_are_as_many_as_have_room(smollm2):
    each = 2 * 30 * 3 * 64 * 16 * 4  # keys and values, layers, heads, width, positions, bytes
    assert blocks_in(each * 7 + each // 2, smollm2) == 7
    with pytest.raises(UserError, match=rf"one block of 16 positions takes {each:,}"):
        blocks_in(each - 1, smollm2)


def test_a_port_that_is_taken_is_one_sentence(command, tmp_path):
    import socket

    folder = save_folder(tmp_path, random_llama())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = command("serve", "--model", folder, "--port", port, "--no-compiled")
    assert status == 2
    assert_one_sentence(err.splitlines(keepends=True)[-1], f"port {port}", "give another --port")


@contextlib.contextmanager
def serving(folder, *words, **environment):
    """A process that serves, and where."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "decodeloop",
            "serve",
            "--model",
            folder,
            "--port",
            "0",
            "--no-compiled",
            "--device",
            "cpu",
            *words,
        ],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"note: (\S+) answers at (\S+)/v1", line):
                yield process, found[2], found[1]
                break
        else:
            raise AssertionError(lines)
    finally:
        process.kill()
        process.communicate()


def test_a_signal_lets_those_inside_finish_and_a_second_one_does_not(tmp_path):
    """One process for both: who asks 400 tokens is answered after a signal; then a second process
    is signalled twice, and ends though somebody is inside."""
    folder = save_folder(tmp_path / "tiny", random_llama(max_position_embeddings=4096))
    asked = {"prompt": "hello world", "temperature": 0, "extra_body": {"ignore_eos": True}}

    def stream(url, name, tokens, key):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
        return client.completions.create(model=name, max_tokens=tokens, stream=True, **asked)

    with serving(folder, "--name", "mine", DECODELOOP_API_KEY="secret") as (process, url, name):
        assert name == "mine"
        assert httpx.get(f"{url}/health").status_code == 401
        chunks = stream(url, name, 400, "secret")
        next(chunks)
        process.send_signal(signal.SIGTERM)
        last = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1]
        assert last == "length"
        assert process.wait(20) == 0
    with serving(folder) as (process, url, name):
        chunks = stream(url, name, 4000, "any")
        next(chunks)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None, "it waits for whoever is inside"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 1
        assert time.monotonic() - began < 5


ADMIT = "def admit(price, free, running, most):\n    return price <= free and running < most\n"
FAILING = ADMIT.replace("    return", "    running == most == 2 and 1 / 0\n    return")


@pytest.fixture
def own_work(tmp_path):
    """A work folder in which an answer to `admit` was accepted; and a tiny model."""
    folder = save_folder(tmp_path / "tiny", random_llama())
    progress = Progress(tmp_path / "work")
    progress.start()
    return load(folder, device="cpu", compiled=False), progress


LIMITS = {"blocks": 9, "size": 8, "most": 2}


def test_mine_answers_through_the_learners_scheduler(own_work, capsys):
    llm, progress = own_work
    progress.exercise("admit", "right", ADMIT)
    speaker, engine = speaking(llm, "mine", progress.work, LIMITS)
    report = capsys.readouterr().err
    assert re.search(r"^admit +yours$", report, re.MULTILINE)
    assert engine.scheduler.parts.admit is not admit
    library = Engine(llm.model, **LIMITS)
    body = {"model": "mine", "prompt": "hello world", "max_tokens": 9, "temperature": 0}
    told = []
    for who, computes in ((speaker, engine), (Speaker("mine", llm), library)):
        with LiveServer(who, computes) as server:
            told.append(httpx.post(f"{server.url}/v1/completions", json=body).json()["choices"])
    assert told[0] == told[1]


def test_a_part_that_fails_while_it_serves_ends_the_server_and_is_named(own_work):
    """Two run and a third one waits: then the answer divides by 0."""
    llm, progress = own_work
    progress.exercise("admit", "right", FAILING)
    speaker, engine = speaking(llm, "mine", progress.work, LIMITS)
    if engine.scheduler.parts.admit is admit:
        pytest.fail("the answer was not taken")
    body = {"model": "mine", "prompt": "hello world", "max_tokens": 40, "ignore_eos": True}
    with LiveServer(speaker, engine) as server:
        told = httpx.post(f"{server.url}/v1/completions", json={**body, "n": 3}, timeout=20)
    assert told.status_code == 500
    assert "your part admit failed: ZeroDivisionError" in str(server.error)
