"""Submissions graded by the workers of a cluster: the same table as on one machine."""

from __future__ import annotations

import sys

import pytest
from hostile_submissions import RIGHT, notebook

from decodeloop.bar import silent
from decodeloop.course.grade import elsewhere
from decodeloop.course.grade import session as sessions
from decodeloop.course.grade.sandbox import CAN_GRADE, CANT_GRADE, Limits, probe
from decodeloop.course.grade.session import Asked, session
from decodeloop.errors import UserError

pytestmark = pytest.mark.skipif(not CAN_GRADE, reason=CANT_GRADE)
TRUST = bool(probe())
SHORT = Limits(times=0.5)
HANDED_IN = {
    "ann": RIGHT,
    "bob": RIGHT.replace("rank - 1", "rank - 2"),
    "cem": "def percentile(samples, p):\n    while True: pass",
    "dan": "def percentile(samples, p)\n    return 1",
    "eve": "import os\ndef percentile(samples, p):\n    os._exit(3)",
}


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "handed in"
    folder.mkdir()
    for name, source in HANDED_IN.items():
        (folder / f"{name}.ipynb").write_text(notebook(source), "utf-8")
    (folder / "fay.ipynb").write_text("no notebook", "utf-8")
    return folder


@pytest.fixture(scope="module")
def address():
    reason = "needs dask.distributed: pip install 'decodeloop[grade]'"
    distributed = pytest.importorskip("distributed", reason=reason)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with distributed.LocalCluster(**options, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def table(folder, record, **options):
    options |= {"trust": TRUST, "limits": SHORT, "record": folder.parent / record}
    made = session(Asked([folder], lesson="11", jobs=2, seed=3, **options), silent)
    return [(*row.cells()[:6], row.cells()[7]) for row in made]


def test_a_cluster_of_two_processes_makes_the_same_table(handed_in, address):
    there = table(handed_in, "there.jsonl", scheduler=address)
    assert there == table(handed_in, "here.jsonl")
    verdicts = {row[0]: row[3] for row in there if row[2] == "percentile"}
    assert verdicts == {
        "ann": "right",
        "bob": "wrong",
        "cem": "timed out",
        "dan": "syntax error",
        "eve": "wrong",
        "fay": "refused",
    }
    assert table(handed_in, "there.jsonl", scheduler="tcp://nobody:1") == there  # nothing to do


def test_a_worker_with_another_version_is_named(handed_in, address, monkeypatch):
    monkeypatch.setattr(sessions, "version", lambda: "another")
    with pytest.raises(UserError, match=r"worker on .* another version of the course"):
        table(handed_in, "record.jsonl", scheduler=address)


def test_an_address_where_nobody_is(handed_in, monkeypatch):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    monkeypatch.setattr(elsewhere, "PATIENCE_S", 1)
    with pytest.raises(UserError, match=r"no scheduler answers at 'tcp://127.0.0.1:9'"):
        table(handed_in, "record.jsonl", scheduler="tcp://127.0.0.1:9")


def test_without_dask_it_says_what_to_install(handed_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'decodeloop\[grade\]'"):
        table(handed_in, "record.jsonl", scheduler="tcp://127.0.0.1:9")
