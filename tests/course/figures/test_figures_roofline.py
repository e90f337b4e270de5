"""The pictures of lessons 12 and 12b: what stands in them."""

import matplotlib

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.cost import Phase, Prediction, accelerator, compute_bound_length, preset
from decodeloop.course import figures_machines as machines
from decodeloop.course import figures_roofline as figures


def words(axis):
    return [text.get_text() for text in axis.texts]


def test_a_forward_stands_on_the_roof_of_its_part():
    part = accelerator("h100-sxm")
    ridge = part.flops["bf16"] / part.bandwidth
    axis = drawn(figures.roof_of(part, {"slow": ridge / 10, "fast": 3 * ridge}))
    assert "slow: 0.1 of the peak" in words(axis) and "fast: 1 of the peak" in words(axis)
    assert f"the ridge: {ridge:.0f}" in words(axis)[0]


def test_levels_are_dots_and_copies_a_line():
    left, right = drawn(figures.memory_levels({"a": (1e6, 2e9)}, [1e3, 1e6], [3e9, 4e9], model=5e6))
    assert [list(line.get_xydata()[0]) for line in left.lines] == [[1, 2]]
    assert list(right.lines[0].get_ydata()) == [3, 4]
    assert set(right.lines[1].get_xdata()) == {5}


def test_the_longer_time_counts_and_the_works_lie_on_the_roof():
    left, right = drawn(figures.longer_of_two_times(100, 20, 100, [200, 500, 2000]))
    assert list(left.lines[2].get_ydata()) == [5, 5, 5, 20]
    dots = [line.get_xydata()[0].tolist() for line in right.lines if line.get_marker() == "o"]
    assert dots == [[2, 40], [5, 100], [20, 100]]


def test_what_was_measured_hangs_below_its_prediction():
    points = {"B = 1": (0.5, 4e9), "T = 128": (60.0, 50e9)}
    axis = drawn(figures.forwards_below_the_roof(points, peak=100e9, bandwidth=10e9, routine=8e9))
    threads = [list(line.get_ydata()) for line in axis.lines if len(line.get_xdata()) == 2]
    assert [4, 5] in threads and [50, 100] in threads


def test_a_batch_is_enough_up_to_the_last_context():
    llama = preset("llama-3-8b")
    keys = ("m2-ultra", "rtx-4090", "a100-80gb-sxm", "h100-sxm")
    parts = [accelerator(key) for key in keys]
    by_context = {1: [1, 2], 512: [1, 2], 4096: [1, 2]}
    left, right = drawn(machines.where_a_batch_turns(llama, parts, [1, 2], by_context, 295))
    assert left.get_legend().get_texts()[0].get_text() == "1 position"
    limits = [line.get_xdata()[0] for line in right.lines if set(line.get_ydata()) == {0, 1}]
    assert limits == [compute_bound_length(llama, p.flops["bf16"], p.bandwidth, 2) for p in parts]
    thick, thin = right.lines[:2]
    assert len(thick.get_xdata()) < len(thin.get_xdata())  # what fits into the memory


def test_what_was_published_is_a_dot_on_its_bar():
    done = Phase(1.0, "memory", 1.0)
    predicted = {key: Prediction(0.5, 0.25, done, done, 1) for key in ("l4", "h100-sxm")}
    left, right = drawn(machines.speeds_of_parts(predicted, {"h100-sxm": 3.0}, prompt=1000))
    assert left.lines[0].get_xydata().tolist() == [[3, 1]]
    assert [bar.get_width() for bar in left.patches] == [4, 4]
    assert [bar.get_width() for bar in right.patches] == [2, 2]
