import pytest

from decodeloop.course.following import Stage, left, stages
from decodeloop.course.paths import Leg
from decodeloop.exercises.finding import find

FIRST = Leg("01", "01_attention", "Attention", 60, False, ("softmax", "causal_mask", "attention"))
SECOND = Leg("02", "02_x", "X", 60, True, ("split_heads",))
WITHOUT = Leg("03", "03_y", "Y", 10, False)


@pytest.mark.parametrize(
    ("states", "right", "done", "begun"),
    [
        ({}, 0, False, False),
        ({"softmax": "wrong", "attention": ""}, 0, False, False),
        ({"softmax": "right", "attention": "wrong"}, 1, False, True),
        (dict.fromkeys(FIRST.exercises, "right"), 3, True, False),
    ],
)
def test_a_lesson_is_done_when_all_its_core_exercises_are_right(states, right, done, begun):
    assert all(find(name).kind == "core" for name in FIRST.exercises)
    [stage] = stages([FIRST], states)
    assert (stage.right, stage.of, stage.done, stage.begun) == (right, 3, done, begun)


def test_stretch_exercises_count_for_nothing():
    stretch = find("chunked_prefill")
    assert stretch.kind == "stretch"
    leg = Leg("06", "06_z", "Z", 60, False, ("prefill", stretch.name))
    assert stages([leg], {"prefill": "right"}) == [Stage(leg, 1, 1)]
    assert stages([leg], {stretch.name: "right"}) == [Stage(leg, 0, 1)]


def test_what_is_left_is_in_its_order_and_a_lesson_without_exercises_is_no_hurdle():
    on_the_way = stages([FIRST, WITHOUT, SECOND], {"softmax": "right"})
    assert left(on_the_way) == [FIRST, SECOND]
    assert left(stages([WITHOUT], {})) == []
