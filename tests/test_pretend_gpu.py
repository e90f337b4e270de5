"""What needs a GPU is tried on the pretended one, in a process of its own: it is there for good."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pretend_gpu
import pytest
import torch

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available() or pretend_gpu.obstacle() is not None,
    reason=f"there is no pretend GPU here: {pretend_gpu.obstacle() or 'there is a real one'}",
)
ROOT = Path(__file__).parents[1]
NEED_A_GPU = [
    "test_cuda.py",
    "test_cuda_refusals.py",
    "course/test_linking.py",
    "course/test_on_device.py",
]


def on_pretend_gpu(*words, cwd=ROOT):
    """Run Python with the pretend GPU."""
    path = [str(ROOT / "tests" / "on_pretend_gpu"), os.environ.get("PYTHONPATH", "")]
    there = {"PYTHONPATH": os.pathsep.join(filter(None, path)), "DECODELOOP_DEVICE": "cuda"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **there},
        capture_output=True,
        encoding="utf-8",
    )


def test_what_needs_a_gpu_passes_on_the_pretended_one(tmp_path):
    report = tmp_path / "report.xml"
    words = ["-p", "no:cacheprovider", "--color=no", "-q", f"--junitxml={report}"]
    files = [f"tests/{name}" for name in NEED_A_GPU]
    result = on_pretend_gpu("-m", "pytest", *words, *files, "-k", "not [cpu")
    if result.returncode != 0:
        pytest.fail(result.stdout + result.stderr, pytrace=False)
    (suite,) = ET.parse(report).iter("testsuite")
    assert suite.get("skipped") == "0"
    ran = {case.get("classname").replace(".", "/") for case in suite.iter("testcase")}
    assert ran == {file.removesuffix(".py") for file in files}


def test_an_index_out_of_range_breaks_the_device_for_good():
    code = (
        "import torch\n"
        "x = torch.ones(3, device='cuda')\n"
        "for lookup in (lambda: x[torch.tensor([9], device='cuda')], lambda: x + 1):\n"
        "    try: lookup()\n"
        "    except RuntimeError as error: print(error)\n"
    )
    result = on_pretend_gpu("-c", code)
    assert result.stdout.count("CUDA error: device-side assert triggered") == 2, result.stderr


def test_a_process_that_needs_no_torch_imports_none():
    result = on_pretend_gpu("-c", "import sys, decodeloop; print('torch' in sys.modules)")
    assert result.stdout == "False\n", result.stderr
