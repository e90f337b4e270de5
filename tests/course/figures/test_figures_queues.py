"""The pictures of lessons 11 and 11b: what stands in them."""

import math

import matplotlib
import pytest

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.cost import Request, percentile
from decodeloop.course import figures_queues as figures
from decodeloop.measure import Load, Shared

REQUESTS = (
    Request(0.0, 0.0, (1.0,), 2.0),
    Request(0.5, 2.0, (3.0, 4.0), 4.0),
    Request(1.0, 4.0, (5.0,), 5.0),
)


def test_pale_is_waiting_and_dark_is_service():
    axis = drawn(figures.time_line(REQUESTS))
    assert [bar.get_width() for bar in axis.patches[::2]] == [0, 1.5, 3]
    assert [bar.get_width() for bar in axis.patches[1::2]] == [2, 2, 1]
    words = [text.get_text() for text in axis.get_legend().get_texts()]
    assert sorted(words) == ["first token", "is served", "waits"]


def test_a_band_without_an_upper_end_has_an_arrow():
    samples = [n / 100 for n in range(1, 101)]
    axis = drawn(figures.bands_of_percentiles(samples, [10, 100], top=9.0))
    arrows = [line for line in axis.lines if line.get_marker() == 6]
    assert len(arrows) == 3  # P90 and P99 of 10, P99 of 100
    assert {line.get_ydata()[0] for line in arrows} == {9.0}
    dots = [line.get_ydata()[0] for line in axis.lines if line.get_marker() in ("o", "s", "D")]
    assert dots[1] == percentile(samples, 50)


def test_runs_are_boxes_beside_the_formula():
    axis = drawn(figures.means_of_runs({20: [1.0, 2.0, 3.0], 200: [2.0, 2.5]}, 2.6))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["20", "200"]
    assert {2.6} in [set(line.get_ydata()) for line in axis.lines]


def test_a_run_stands_at_the_load_that_it_had_in_services_of_its_own():
    run = Load(REQUESTS, 0, 5.0)
    service = 5 / 3
    shared = Shared(0.7, run, run)
    curves = {"P90": [1.0, 2.0], "mean": [1.0, 1.5], "P50": [1.0, 1.2]}
    left, right = drawn(
        figures.up_to_saturation([0.1, 0.9], curves, [shared, Shared(1.5, run, run)])
    )
    [dot] = [line for line in left.lines if line.get_marker() == "o"]
    assert dot.get_xdata()[0] == shared.had == 5.0
    assert dot.get_ydata()[0] == pytest.approx(3.5 / service)
    felt = [2 / service, 3.5 / service, 4 / service]
    assert [list(line.get_ydata()) for line in right.lines] == [pytest.approx(felt)] * 2
    assert math.isfinite(right.get_ylim()[1])


def test_lines_are_what_was_given():
    axis = drawn(
        figures.load_at_target([1, 2], {"a": [0.5, 0.6], "b": [0.1, 0.2]} | {"c": [1, 1]}, 0.5, 2)
    )
    assert [list(line.get_ydata()) for line in axis.lines[:3]] == [[0.5, 0.6], [0.1, 0.2], [1, 1]]
    axis = drawn(figures.throughput_and_goodput([0.5, 1], [0.4, 0.9], [0.4, 0.2]))
    assert [list(line.get_ydata()) for line in axis.lines] == [[0.4, 0.9], [0.4, 0.2]]


def test_a_latency_is_drawn_up_to_where_it_runs_away():
    axis = drawn(figures.latency_by_load({"equal": lambda load: 1 + load}))
    line = axis.lines[0]
    assert list(line.get_ydata()) == pytest.approx([1 + load for load in line.get_xdata()])
    assert max(line.get_xdata()) < 1
