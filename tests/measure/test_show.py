import io
import re

from rich.console import Console

from decodeloop.cost import PRESETS
from decodeloop.measure import ForwardTime, Machine
from decodeloop.measure.show import show_forwards, show_machine


def test_measurements_are_shown_beside_their_predictions():
    products = {"fp32": {64: 1e11, 128: 2e11}}
    machine = Machine("cpu", 2, read=30e9, copy=20e9, triad=25e9, linear=12e9, matmul=products)
    times = [ForwardTime(1, 1, 64, 0.05, 0.01, 0.075), ForwardTime(8, 128, 128, 2.0, 0.5, 2.5)]
    out = io.StringIO()
    console = Console(file=out, width=80)
    show_machine(machine, console)
    show_forwards(PRESETS["smollm2-135m"], machine, times, console)
    text = out.getvalue()
    assert "30 GB/s" in text and "200 GFLOP/s" in text
    assert re.search(r"decode at 64 +50 ms +10 ms +60 ms +75 ms +0\.80", text)
    assert re.search(r"prefill 128 × 8 .* 1\.00", text)
