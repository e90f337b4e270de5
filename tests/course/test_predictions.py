import pytest

from decodeloop.course.predictions import predict, record, reveal, scoreboard, significant
from decodeloop.course.progress import Progress
from decodeloop.errors import UserError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8, "8"),
        (8.04, "8.04"),
        (0.012345, "0.0123"),
        (99.96, "100"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (123456789, "123,000,000"),
        (-1234.5, "-1,230"),
        (0, "0"),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.000012345, "1.23e-05"),
        (1e18, "1e+18"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_three_significant_digits(value, text):
    assert significant(value) == text


def test_the_number_of_digits_can_be_chosen():
    assert significant(1234.5, 2) == "1,200"
    assert significant(1.2345, 2) == "1.2"


def test_a_guess_is_set_beside_formula_and_measurement(notebook, capsys):
    predict("spread", 16, "points")
    assert capsys.readouterr().out == "● spread: you say 16 points\n"
    reveal("spread", measured=8.0, formula=4.0, unit="points")
    assert capsys.readouterr().out.splitlines() == [
        "spread, in points",
        "  your guess           16   = 2.00 × measured",
        "  the formula           4   = 0.50 × measured",
        "  measured              8",
    ]


def test_whole_numbers_are_exact_and_measurements_are_not(notebook, capsys):
    predict("bytes", 23_040, "bytes")
    assert capsys.readouterr().out == "● bytes: you say 23,040 bytes\n"
    reveal("bytes", measured=46_080, formula=46_081.0, unit="bytes")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "  your guess       23,040   = 0.50 × measured",
        "  the formula      46,100   = 1.00 × measured",
        "  measured         46,080",
    ]


@pytest.mark.parametrize("nothing", [..., None])
def test_without_a_guess_it_says_so_and_goes_on(notebook, capsys, nothing):
    predict("spread", nothing, "points")
    assert capsys.readouterr().out.startswith("○ spread: no guess yet. Put a number in place")
    reveal("spread", measured=8.0, formula=4.0, unit="points")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  your guess    none made"
    assert lines[2:] == [
        "  the formula           4   = 0.50 × measured",
        "  measured              8",
    ]


def test_a_measurement_that_nobody_was_asked_about(notebook, capsys):
    reveal("spread", measured=8.0)
    assert capsys.readouterr().out.splitlines() == [
        "spread",
        "  your guess    none made",
        "  measured              8",
    ]


def test_a_measurement_of_nothing_has_no_ratios(notebook, capsys):
    predict("waste", 1, "MiB")
    reveal("waste", measured=0.0, formula=0.0)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "waste, in MiB",
        "  your guess            1",
        "  the formula           0",
        "  measured              0",
    ]


def test_the_last_guess_counts_and_each_has_its_own_name(notebook, capsys):
    predict("a", 1, "s")
    predict("b", 2, "s")
    predict("a", 3, "s")
    capsys.readouterr()
    reveal("a", measured=3.0)
    assert "your guess            3   = 1.00 × measured" in capsys.readouterr().out


@pytest.mark.parametrize("guess", ["many", [1, 2], "4 s"])
def test_a_guess_that_is_no_number_is_told_so(notebook, guess):
    with pytest.raises(UserError) as error:
        predict("spread", guess, "points")
    assert str(error.value).startswith(
        f"predict('spread'): your guess is {guess!r}: expected one number, in points, without "
    )


def test_a_measurement_in_another_unit_is_refused(notebook):
    predict("time", 3, "ms")
    with pytest.raises(UserError, match="guess was made in 'ms', the measurement is in 's'"):
        reveal("time", measured=0.003, unit="s")


def test_the_scoreboard_without_a_figure(notebook, capsys):
    scoreboard()
    assert capsys.readouterr().out == "nothing measured yet\n"


def test_the_scoreboard_is_sorted_and_has_the_last_of_each(notebook, capsys):
    record("05 loop", 1.0, "tokens/s")
    record("01 attention", 1234.5, "ms")
    record("05 loop", 2.5, "tokens/s")
    scoreboard()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["01", "attention", "1,230", "ms"],
        ["05", "loop", "2.5", "tokens/s"],
    ]


def test_the_scoreboard_has_the_figures_of_earlier_lessons(notebook, tmp_path, capsys):
    Progress(tmp_path).start()
    Progress(tmp_path).record("01 attention", 7.0, "ms")
    Progress(tmp_path).record("05 loop", 1.0, "tokens/s")
    record("05 loop", 2.0, "tokens/s")
    assert Progress(tmp_path).read()["records"]["05 loop"] == [2.0, "tokens/s"]
    Progress(tmp_path).record("05 loop", 9.0, "tokens/s")  # another notebook: ours stays ours
    scoreboard()
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["01", "attention", "7", "ms"],
        ["05", "loop", "2", "tokens/s"],
    ]


def test_a_figure_that_was_not_measured_leaves_the_one_before(notebook, capsys):
    record("05 loop", 2.0, "tokens/s")
    record("05 loop", None, "tokens/s")
    scoreboard()
    assert capsys.readouterr().out.split() == ["05", "loop", "2", "tokens/s"]


def test_without_a_work_folder_a_figure_is_written_nowhere(notebook, tmp_path):
    record("05 loop", 2.0, "tokens/s")
    assert not list(tmp_path.iterdir())
