"""Without a network: what was fetched once is enough, and what was not is explained."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NO_NETWORK = ["unshare", "-rn"]


def can_cut_off():
    try:
        return subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not can_cut_off(), reason="this system has no unshare, or does not allow it"
)


def cut_off(code, **environment):
    code = f"import socket; assert [n for _, n in socket.if_nameindex()] == ['lo']\n{code}"
    return subprocess.run(
        [*NO_NETWORK, sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
    )


def test_the_model_loads_and_speaks():
    code = """
from decodeloop import load
from decodeloop.decode import stream
answer = stream(load("smollm2-135m"), "What is the capital of France?", 3)
print("".join(answer), len(answer.tokens))
"""
    result = cut_off(code)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "The capital of 3\n"


def test_without_the_model_it_is_one_sentence_with_the_way_round(tmp_path):
    code = """
import sys
from decodeloop.commands import main
sys.argv = ["decodeloop", "generate", "hi"]
main()
"""
    empty = {"XDG_CACHE_HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    result = cut_off(code, **empty)
    assert (result.returncode, result.stdout) == (2, "")
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("decodeloop: the model smollm2-135m is not on this machine")
    assert "connect to the network" in sentence
    assert "fetch --from" in sentence
    assert "Traceback" not in result.stderr
