from pathlib import Path

import pytest

from decodeloop.course.building import lesson_paths
from decodeloop.course.paths import (
    PAUSE,
    WAYS,
    Leg,
    Stop,
    Way,
    hours,
    legs,
    share_before_pause,
    way,
)
from decodeloop.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lessons(tmp_path):
    """Four lessons, one of them in two parts, and an appendix."""

    def lesson(name, minutes, text):
        path = tmp_path / f"{name}.md"
        front = f"title: T{minutes}\n  part: p\n  minutes: {minutes}\n  needs: n\n  builds: b"
        path.write_text(f"---\nlesson:\n  {front}\n---\n{text}")
        return path

    paused = f"{'word ' * 40}\n{{{{exercise one}}}}\n{PAUSE}{' word' * 40}\n"
    paused += f"{{{{exercise two}}}}\n\n## Stretch\n{'word ' * 500}"
    return [
        lesson("00_a", 30, "text"),
        lesson("01_b", 60, paused),
        lesson("01b_c", 20, "text"),
        lesson("02_d", 50, "text"),
        lesson("A1_e", 110, "text"),
    ]


def names(stops, lessons):
    return [leg.name for leg in legs(Way("x", "X", "x", stops), lessons)]


def test_a_stop_is_a_lesson_with_its_second_part_or_several(lessons):
    assert names((Stop("01"),), lessons) == ["01_b", "01b_c"]
    assert names((Stop("00", "01"), Stop("02")), lessons) == ["00_a", "01_b", "01b_c", "02_d"]
    assert names((Stop("02"), Stop("00")), lessons) == ["02_d", "00_a"]


def test_no_way_leads_through_an_appendix(lessons):
    assert "A1_e" not in names((Stop("00", "99"),), lessons)


def test_a_lesson_to_its_pause_is_counted_by_its_share_of_the_words(lessons):
    front = len(lessons[1].read_text().partition("word")[0].split())
    share = (front + 42) / (front + 84 + len(PAUSE.split()))
    assert share_before_pause(lessons[1].read_text()) == pytest.approx(share)
    [leg] = legs(Way("x", "X", "x", (Stop("01", to_pause=True),)), lessons)
    assert leg == Leg("01", "01_b", "T60", 30, True, ("one",))  # 60 · share = 31, to five
    [leg, _] = legs(Way("x", "X", "x", (Stop("01"),)), lessons)
    assert leg == Leg("01", "01_b", "T60", 60, False, ("one", "two"))
    assert 30 < 60 * share < 32


def test_without_a_pause_a_lesson_is_taken_whole(lessons):
    [leg] = legs(Way("x", "X", "x", (Stop("02", to_pause=True),)), lessons)
    assert leg == Leg("02", "02_d", "T50", 50, False)


@pytest.mark.parametrize(
    ("minutes", "text"), [((30,), "½"), ((30, 30), "1"), ((31, 30), "1½"), ((365,), "6½")]
)
def test_hours_are_never_too_few(minutes, text):
    assert hours([Leg("00", "00_a", "A", m, False) for m in minutes]) == text


def test_an_unknown_way_is_one_sentence():
    assert way("short") is WAYS["short"]
    with pytest.raises(UserError, match="no path 'long': expected one of short, whole, serve"):
        way("long")


# of the course itself


@pytest.mark.parametrize("name", WAYS)
def test_every_stop_of_the_course_leads_to_a_lesson(name):
    for stop in WAYS[name].stops:
        found = legs(Way("x", "X", "x", (stop,)), lesson_paths(ROOT))
        assert found and found[0].number == stop.first, stop
        if stop.last not in ("", "99"):
            assert found[-1].number.startswith(stop.last), stop


def test_the_whole_build_is_every_lesson_but_the_appendices():
    numbered = [p.stem for p in lesson_paths(ROOT) if p.stem[0].isdigit()]
    assert [leg.name for leg in legs(WAYS["whole"], lesson_paths(ROOT))] == numbered


def test_the_short_course_is_short():
    taken = legs(WAYS["short"], lesson_paths(ROOT))
    assert [leg.number for leg in taken] == ["00", "01", "05", "06", "08", "10", "12"]
    assert sum(leg.minutes for leg in taken) <= 6.5 * 60
