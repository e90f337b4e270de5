"""The pictures of lessons 06 and 06b: what stands in them."""

import matplotlib

matplotlib.use("Agg")

from pictures import drawn

from decodeloop.course import figures_cache as figures


def words(axis):
    return [text.get_text() for text in axis.texts]


def test_without_a_cache_every_position_is_computed_in_each_step():
    without, with_cache = drawn(figures.again_or_kept(prompt=4, new=3))
    assert without.get_title().endswith(f"{4 + 5 + 6} positions computed")
    assert with_cache.get_title().endswith(f"{4 + 1 + 1} positions computed")
    assert (words(without).count("again"), words(without).count("new")) == (4 + 5, 4 + 1 + 1)
    assert (words(with_cache).count("kept"), words(with_cache).count("new")) == (4 + 5, 6)


def test_a_cache_that_was_allocated_copies_nothing():
    growing, allocated = drawn(figures.growing_or_allocated())
    assert words(growing).count("copy") == 4 + 5 + 4
    assert words(allocated).count("copy") == 0
    assert words(growing).count("new") == words(allocated).count("new") == 4 + 1 + 1 + 1


def test_each_forward_has_its_mask():
    axes = drawn(figures.masks_of_three_forwards())
    titles = [axis.get_title() for axis in axes]
    assert titles == ["a prompt of 5", "3 more at once", "1 more"]
    queries = [[tick.get_text() for tick in axis.get_yticklabels()] for axis in axes]
    assert queries == [list("01234"), list("567"), ["8"]]


def test_bars_are_milliseconds():
    axis = drawn(figures.wait_for_each_token({"slow": [0.5, 0.25], "quick": [0.5, 0.125]}, 7))
    assert [bar.get_height() for bar in axis.patches] == [500, 250, 500, 125]
    assert "prompt of 7" in axis.get_xlabel()


def test_the_arrow_says_how_far_the_first_prediction_is_off():
    axis = drawn(figures.speed_up([1, 4, 16], [1.0, 2.0, 4.0], {1: 1.0, 16: 3.0}, free=5.2))
    [text] = [text for text in words(axis) if text]
    assert "4 times too high" in text and "as much as 5" in text
    assert [list(line.get_ydata()) for line in axis.lines[:3]] == [[1, 4, 16], [1, 3], [1, 2, 4]]


def test_before_it_is_measured_there_is_the_work_and_a_question():
    axis = drawn(figures.speed_up_asked([1, 4, 16]))
    assert words(axis) == ["?"]
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 4, 16]]
    assert "times" in axis.get_ylabel()
