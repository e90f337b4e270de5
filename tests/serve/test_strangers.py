"""A client that nobody here wrote, besides OpenAI's own: `llm`, on the command line.

It is not among what the tests install, since it brings a plugin system, a database and other
versions of what is here. Put it anywhere (`pipx install llm`), and these run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from live_servers import NAME, all_free, live, tiny_speaker, wait_until

LLM = shutil.which("llm")
pytestmark = pytest.mark.skipif(
    LLM is None, reason="llm is not installed: 'pipx install llm' brings it"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny"))) as server:
        yield server


@pytest.fixture
def llm(server, tmp_path):
    """Run it with the server as one of its models; what it printed."""
    told = {"model_id": "ours", "model_name": NAME, "api_base": f"{server.url}/v1"}
    told |= {"supports_schema": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([told]))

    def run(*words):
        done = subprocess.run(
            [LLM, *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "any"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield run
    wait_until(lambda: server.service.here == 0)
    assert all_free(server)


OPTIONS = ["-m", "ours", "-o", "temperature", "0", "-o", "max_tokens", "12"]


def test_it_gets_the_same_answer_streamed_or_not(llm):
    streamed = llm(*OPTIONS, "hello world")
    assert streamed.strip()
    assert llm(*OPTIONS, "--no-stream", "hello world") == streamed


def test_it_goes_on_with_a_conversation(llm):
    llm(*OPTIONS, "-s", "Be brief.", "hello")
    assert llm(*OPTIONS, "-c", "go on").strip()
    asked = json.loads(llm("logs", "-n", "1", "--json"))[0]
    assert asked["prompt"] == "go on"


def test_its_schemas_are_obeyed(llm):
    said = llm("-m", "ours", "-o", "max_tokens", "120", "--schema", "large bool, old bool", "hello")
    told = json.loads(said)
    assert set(told) <= {"large", "old"}
    assert all(isinstance(value, bool) for value in told.values())
