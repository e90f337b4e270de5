"""`chat`, through a pipe and in a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import sys
import time

import pytest
from live_servers import live, tiny_speaker
from one_sentence import assert_one_sentence

from decodeloop import loading
from decodeloop.commands.terminal import line_editor
from decodeloop.decode import Conversation


@pytest.fixture
def piped(command, smollm2, monkeypatch):
    """Run `chat` on the CPU with these lines as its input, and a model that is loaded already."""

    def run(text, *words):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        monkeypatch.setattr(loading, "load", lambda *args: smollm2)
        return command("chat", "--device", "cpu", *words)

    return run


def test_each_line_of_a_pipe_is_a_message_and_the_answers_are_all_that_is_printed(piped, smollm2):
    lines = "What is the capital of France?\n\nAnd of Italy?\n"
    status, out, err = piped(lines, "--max-new-tokens", 10)
    assert (status, err) == (0, "")
    asked = Conversation(smollm2, max_new_tokens=10)
    answers = ["".join(asked.ask(line)) for line in lines.split("\n") if line]
    assert out == "".join(f"{answer}\n" for answer in answers)
    assert "Paris" in answers[0] and "Rome" in answers[1]


def test_a_pipe_that_is_no_utf_8_is_read_all_the_same(command, smollm2, monkeypatch):
    monkeypatch.setattr(loading, "load", lambda *args: smollm2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="ascii"))
    status, out, err = command("chat", "--max-new-tokens", 3)
    assert (status, "Traceback" in err) == (0, False)
    assert out.strip()


def test_options_reach_the_conversation(piped):
    words = ["--max-new-tokens", 6, "--temperature", 1.5]
    once, again, other = (piped("Hello\n", *words, "--seed", seed)[1] for seed in (1, 1, 2))
    assert once == again != other
    pirate = piped("Hello\n", "--max-new-tokens", 12, "--system", "Answer with one word: Ahoy.")[1]
    assert pirate != piped("Hello\n", "--max-new-tokens", 12)[1]


def test_a_full_context_is_said_and_the_chat_goes_on(piped):
    status, out, err = piped("Hello there\n" * 4, "--context", 90, "--max-new-tokens", 8)
    assert status == 0
    assert out.count("\n") >= 4
    assert re.search(
        r"note: the oldest \d+ messages went: with room for an answer, .* context of 90 tokens", err
    )


def test_commands_work_in_a_pipe_too(piped, tmp_path):
    kept, plain = tmp_path / "kept.json", tmp_path / "kept.txt"
    lines = f"//quit is a word\nHello\n/undo\n/save {kept}\n/save {plain}\n/quit\nnever read\n"
    status, _, err = piped(lines, "--max-new-tokens", 4)
    assert status == 0
    assert "taken back: Hello" in err
    assert f"2 messages saved in {kept}" in err
    messages = json.loads(kept.read_text("utf-8"))
    assert [m["role"] for m in messages] == ["user", "assistant"]
    assert messages[0]["content"] == "/quit is a word"
    assert plain.read_text("utf-8").startswith("user:\n/quit is a word\n\nassistant:\n")
    status, out, err = piped("/reset\n/undo\n /help\n", "--resume", kept)
    assert f"2 messages of {kept} are taken up" in err
    assert status == 0
    assert all(name in out for name in ("/reset", "/undo", "/save", "/quit", "Ctrl-C"))


BAD = {
    "unknown command": ("/fly\n", [], ["no command /fly", "/reset", "two"]),
    "save nowhere": ("/save\n", [], ["/save needs a file", "chat.json"]),
    "save where nobody can": ("/save /no/such/place.json\n", [], ["place.json", "written"]),
    "too long": ("word " * 200 + "\n", ["--context", "100"], ["context holds 100", "fewer words"]),
    "no context": ("hi\n", ["--context", "0"], ["--context is 0", "at least 1"]),
    "no such context": ("hi\n", ["--context", "9000"], ["context is 9000", "1 to 8192"]),
    "save as a folder": ("/save ./\n", [], ["./ can't be written", "name another"]),
    "save with nobody": ("/save ~nobody-of-this-name/x\n", [], ["can't be written"]),
    "no tokens": ("hi\n", ["--max-new-tokens", "0"], ["--max-new-tokens is 0", "at least 1"]),
    "temperature": ("hi\n", ["--temperature", "-1"], ["-1.0", "from 0"]),
    "type": ("hi\n", ["--dtype", "int3"], ["--dtype is 'int3'", "fp32"]),
    "nothing to resume": ("hi\n", ["--resume", "gone.json"], ["gone.json", "/save wrote"]),
}


@pytest.mark.parametrize(("lines", "words", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(piped, lines, words, parts):
    status, out, err = piped(lines, *words)
    assert (status, out) == (2, "")
    assert_one_sentence(err, *parts)


@pytest.mark.parametrize("text", ["no json", "{}", "[" * 100_000, "[]", '[{"role": "bot"}]'])
def test_a_file_that_holds_no_conversation_is_refused(piped, tmp_path, text):
    path = tmp_path / "chat.json"
    path.write_text(text)
    status, _, err = piped("hi\n", "--resume", path)
    assert status == 2
    assert_one_sentence(err, "chat.json", "expected" if text[:2] in ("[]", "[{") else "/save wrote")


# in a terminal


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("hello\r", "hello"),
        ("two\\\rlines\r", "two\nlines"),
        ("two\x1b\rlines\r", "two\nlines"),
        ("\x1b[200~pasted\nlines\x1b[201~\r", "pasted\nlines"),
    ],
    ids=["a line", "a backslash", "Alt-Enter", "pasted"],
)
def test_enter_sends_and_there_are_ways_to_begin_a_new_line(keys, text):
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        assert line_editor()("") == text


class Terminal:
    """`chat` in a terminal of its own."""

    def __init__(self, *words):
        import fcntl
        import pty
        import struct
        import termios

        self.process, self.screen = pty.fork()
        if self.process == 0:
            os.environ |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
            code = "from decodeloop.commands import main; main()"
            os.execv(sys.executable, [sys.executable, "-c", code, "chat", *words])
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.seen = ""

    def wait_for(self, pattern, seconds=60):
        """Read until the pattern has come; what stood before it is dropped."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen, re.DOTALL)):
            left = end - time.monotonic()
            assert left > 0, f"waited for {pattern!r}, saw {self.seen!r}"
            if select.select([self.screen], [], [], left)[0]:
                try:
                    self.seen += os.read(self.screen, 65536).decode("utf-8", "replace")
                except OSError:  # it has ended
                    raise AssertionError(f"ended before {pattern!r}: {self.seen!r}") from None
        self.seen = self.seen[found.end() :]
        return found

    def type(self, keys):
        os.write(self.screen, keys.encode())

    def status(self, seconds=20):
        """How it ended, which it has to do by now."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        raise AssertionError(f"still runs: {self.seen!r}")


@pytest.fixture
def terminal():
    pytest.importorskip("pty", reason="terminals are other ones on Windows")
    started = []

    def start(*words):
        started.append(Terminal(*words))
        return started[-1]

    yield start
    for one in started:
        os.close(one.screen)
        try:
            os.kill(one.process, signal.SIGKILL)
            os.waitpid(one.process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_three_turns_an_interrupted_answer_and_the_end(terminal):
    screen = terminal("--device", "cpu", "--dtype", "int8", "--max-new-tokens", "300")
    screen.wait_for(r"Ctrl-D ends.*>")
    screen.type("What is the capital of France?\r")
    first = screen.wait_for(r"Paris.*?(\d+) of (\d+) prompt tokens were new.*the first after")
    assert first[1] == first[2]
    screen.type("And of Italy?\r")
    second = screen.wait_for(r"Rome.*?(\d+) of (\d+) prompt tokens were new.*the first after")
    assert int(second[1]) < int(second[2]) / 2
    screen.type("Tell me a very long story about a ship.\r")
    screen.wait_for(r"about a ship\..*\n.*[A-Za-z ]{40}")  # the answer has begun
    screen.type("\x03")
    screen.wait_for("interrupted.*>")
    screen.type("half a thought\x03")  # clears the line
    screen.wait_for("half a thought.*>")
    screen.type("/fly\r")
    screen.wait_for("no command /fly.*>")
    screen.type("/undo\r")
    screen.wait_for("taken back: Tell me a very long story.*>")  # what is typed sooner is lost
    screen.type("\x04")
    assert screen.status() == 0


# with a server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny"))) as server:
        yield server


def test_a_server_answers_each_line_of_a_pipe(command, monkeypatch, server):
    def talk(text, *words):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return command("chat", "--url", server.url, "--max-new-tokens", 6, *words)

    status, out, err = talk("hello\n/undo\nhello\n")
    assert status == 0
    lines = out.split("\n")
    assert lines[0] == lines[1] != "", "what was taken back is not remembered"
    assert "note: taken back: hello" in err
    assert talk("hello\n", "--temperature", 1, "--seed", 1) == talk(
        "hello\n", "--temperature", 1, "--seed", 1
    )


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--dtype", "int8"], ["--dtype is the server's affair"]),
        (["--context", 9], ["--context is the server's affair"]),
        (["--model", "gpt-5"], ["refuses (404)", "no model 'gpt-5'"]),
        (["--url", "nowhere"], ["is no address of a server"]),
        (["--url", "http://127.0.0.1:1"], ["does not answer", "start the server"]),
    ],
)
def test_what_a_server_can_not_do_is_one_sentence(command, monkeypatch, server, words, parts):
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    status, out, err = command("chat", "--url", server.url, *words)
    assert (status, out.strip()) == (2, "")
    assert_one_sentence(err, *parts)
