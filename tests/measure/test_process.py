import math
import subprocess
import sys

import pytest

from decodeloop.measure import process
from decodeloop.measure.process import loopback_bytes, peak_resident_bytes, resident_bytes


@pytest.mark.skipif(not process.STATUS.exists(), reason="only Linux tells it")
def test_what_lies_in_memory_grows_with_what_is_written():
    code = (  # in a process of its own: here the memory may be one that was freed before
        "import torch; from decodeloop.measure.process import *;"
        "before = resident_bytes(); written = torch.ones(2**25);"
        "print(resident_bytes() - before, written.nbytes, peak_resident_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    grown, written, most = map(float, done.stdout.split())
    assert 0.9 * written < grown < 1.5 * written
    assert most >= 0.99 * grown


def test_what_lies_in_memory_is_a_number_of_bytes_or_not_told():
    for told in (resident_bytes(), peak_resident_bytes()):
        assert math.isnan(told) or told > 10 * 2**20


def test_where_nothing_is_told_it_is_nan(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "STATUS", tmp_path / "none")
    assert math.isnan(resident_bytes()) and math.isnan(peak_resident_bytes())
    monkeypatch.setattr(process, "STATUS", tmp_path / "other")
    process.STATUS.write_text("VmSize: 3 kB\n")
    assert math.isnan(resident_bytes())
    process.STATUS.write_text("VmSize: 3 kB\nVmRSS:\t   7 kB\n")
    assert resident_bytes() == 7 * 1024


def test_what_a_machine_has_sent_to_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "NETWORK", tmp_path / "none")
    assert math.isnan(loopback_bytes())
    process.NETWORK.write_text(
        "face |bytes\n  eth0: 7 1\n    lo:  12345   99 0\n"
    )  # as Linux has it
    assert loopback_bytes() == 12345
    process.NETWORK.write_text("  eth0: 7 1\n")
    assert math.isnan(loopback_bytes())
