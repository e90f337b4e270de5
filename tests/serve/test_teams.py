"""One team of threads computes at a time: who leaves the computing to another gives up its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from decodeloop.serve import Engine, Service, service, teams

COUNTED = """
import os, torch
from decodeloop.serve.teams import give_up_team, loaded

def compute():
    torch.rand(1_000_000).exp()
    return len(os.listdir("/proc/self/task"))

alone = len(os.listdir("/proc/self/task"))
told = [compute() - alone]
give_up_team()
told += [len(os.listdir("/proc/self/task")) - alone, compute() - alone]
print(told if loaded("libgomp") else "another library")
"""


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core has no team")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_a_team_is_given_up_and_comes_again():
    done = subprocess.run(
        [sys.executable, "-c", COUNTED],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    if "another" in done.stdout:
        pytest.skip("PyTorch computes here without GNU's OpenMP")
    assert done.stdout.strip() == "[1, 0, 1]"


def test_who_starts_a_service_gives_up_its_team_before_the_engine_computes(decoder, monkeypatch):
    order = []
    own = Service(Engine(decoder, blocks=4))
    monkeypatch.setattr(service, "give_up_team", lambda: order.append(own._thread.is_alive()))
    own.start()
    own.stop()
    assert own.join(10)
    assert order == [False]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_nothing_is_looked_for(platform, monkeypatch):
    monkeypatch.setattr(teams.sys, "platform", platform)
    assert teams.loaded("libgomp") == set()
    teams.give_up_team()
