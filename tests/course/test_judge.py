import math
import sys
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from decodeloop.course import timelimit
from decodeloop.course.comparing import difference, same
from decodeloop.course.judge import judge, recognise
from decodeloop.course.trying import Outcome, describe_error, outcome, source_file
from decodeloop.exercises.exercise import Case, Exercise, Mistake, call

NAN, INF = math.nan, math.inf
CELL = "/tmp/ipykernel_1/2.py"


def exercise(*mistakes, seconds=5.0, cases=None):
    """Asks for a function that doubles a tensor."""

    def twice(x):
        return torch.mul(x, 2)

    return Exercise(
        name="double",
        lesson="00",
        library=twice,
        cases=cases
        or (
            call("one row", torch.tensor([1.0, 2.0, 3.0]), oracle=twice),
            call("a table", torch.tensor([[1.0, 4.0], [0.5, -1.0]]), oracle=twice),
        ),
        mistakes=mistakes,
        hints=("Two of it.", "x + x"),
        minutes=1,
        difficulty=1,
        seconds=seconds,
    )


SQUARES = Mistake("the square", "That is the square.", lambda x: x**2)
HALVES = Mistake("half", "That is half of it.", lambda x: x / 2)
RAISES = Mistake("raises", "It can't be concatenated.", lambda x: x + "2")
ROW_ONLY = Mistake("row only", "Right for one row.", lambda x: 2 * x if x.ndim == 1 else 0 * x)


# same


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6])),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN])),
        (torch.tensor([INF, -INF]), torch.tensor([INF, -INF])),
        (2, torch.tensor(2)),
        (2.0, torch.tensor(2.0)),
        (torch.tensor(2.0), 2.0),
        (torch.tensor([1.0], dtype=torch.float64), torch.tensor([1.0])),
        (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])),
        (torch.tensor([True]), torch.tensor([True])),
        (torch.ones(2, requires_grad=True), torch.ones(2)),
        ((1, 2), [1, 2]),
        ([torch.ones(2), "eos"], (torch.ones(2), "eos")),
        ({"a": 1, "b": torch.zeros(2)}, {"b": torch.zeros(2), "a": 1}),
        ("text", "text"),
        (None, None),
        (np.int64(6), 6),
        (np.float32(0.5), 0.5),
        (np.array(6), 6),
        (np.array(0.5), torch.tensor(0.5)),
        (torch.tensor(6), 6),
        (np.bool_(True), True),
        (np.float64(1.5), 1.5),
        (np.str_("eos"), "eos"),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        ([np.int64(1), np.float32(2)], [1, 2.0]),
        ({"seconds": np.float32(0.5)}, {"seconds": 0.5}),
        (2**63, 2**63),
        (10**400, 10**400),
        (float(2**70), 2**70),
        (6.000001, 6),
        (6, 6.000001),
        (1 + 2j, 1 + 2j),
        (torch.tensor([1 + 2j]), torch.tensor([1 + 2j])),
        (torch.nn.Parameter(torch.ones(2)), torch.ones(2)),
        (torch.ones(1).expand(3), torch.ones(3)),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (torch.Size([2, 3]), (2, 3)),
        (OrderedDict(a=1), {"a": 1}),
        (NAN, NAN),
        (-INF, -INF),
    ],
)
def test_these_are_the_same(got, expected):
    assert same(got, expected, 1e-5)


@pytest.mark.parametrize("number", [np.float32, torch.tensor, lambda x: np.array(x, np.float32)])
def test_a_number_of_32_bits_is_as_exact_as_it_can_be(number):
    assert same(number(8.8), 8.8, 1e-14)
    assert same([number(8.8)], [8.8], 1e-14)
    assert not same(number(8.800003), 8.8, 1e-14)
    assert not same(number(16777216.0), 16777217, 1e-14)  # a whole number is asked for exactly


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_a_coarse_number_is_no_excuse(dtype):
    assert same(torch.tensor(0.5, dtype=dtype), 0.5, 1e-14)
    assert not same(torch.tensor(0.0, dtype=dtype), 2e-4, 1e-5)
    assert not same(torch.tensor(100.0, dtype=dtype), 100.01, 1e-5)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-3])),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, 2.0])),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, NAN])),
        (torch.tensor([INF]), torch.tensor([-INF])),
        (torch.ones(3), torch.ones(1)),
        (torch.ones(1, 3), torch.ones(3)),
        (torch.tensor([1.0]), torch.tensor(1.0)),
        (torch.tensor([1.0]), torch.tensor([True])),
        (torch.tensor([True]), torch.tensor([1.0])),
        (True, torch.tensor(1.0)),
        (np.ones(2), torch.ones(2)),
        ([1.0, 1.0], torch.ones(2)),
        (None, torch.ones(2)),
        (torch.ones(2), None),
        ("1", 1),
        (1, "1"),
        ([1, 2, 3], [1, 2]),
        (2, [2]),
        ("ab", ["a", "b"]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ([1], {"a": 1}),
        (1, True),
        (True, 1),
        (np.bool_(True), 1),
        (2 + 0j, 2),
        (2 + 1j, 2),
        (1 + 2j, 1 + 3j),
        (torch.tensor([2 + 1j]), torch.tensor([2.0])),
        (torch.tensor(2 + 1j), torch.tensor(2.0)),
        (2**63 + 1, 2**63),
        (10**400, 1.0),
        (10**400, INF),
        (float(10**300), 10**400),
        (1_000_001, 1_000_000),
        (torch.tensor([49151]), torch.tensor([49150])),
        (torch.tensor(2**62 + 1), 2**62),
        (b"\x01", [1]),
        ("ab", ("a", "b")),
        ({1, 2}, [1, 2]),
        (iter([1]), [1]),
        (type("Any", (), {"__eq__": lambda *_: True})(), 1),
    ],
)
def test_these_are_not_the_same(got, expected):
    assert not same(got, expected, 1e-5)


def test_the_tolerance_is_relative_and_absolute():
    assert same(torch.tensor([1000.5]), torch.tensor([1000.0]), 1e-3)
    assert not same(torch.tensor([1002.0]), torch.tensor([1000.0]), 1e-3)
    assert same(torch.tensor([5e-4]), torch.tensor([0.0]), 1e-3)
    assert not same(torch.tensor([2e-3]), torch.tensor([0.0]), 1e-3)


# difference


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "expected shape (2, 3), got (3, 2)"),
        (
            torch.tensor([True]),
            torch.tensor([1.0]),
            "expected values of type torch.bool, got torch.float32",
        ),
        (
            torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
            torch.tensor([[1.0, 2.0], [3.5, 0.0]]),
            "the shape (2, 2) is right, 2 of 4 values are not; "
            "the first at [1, 0]: expected 3, got 3.5",
        ),
        (
            torch.tensor([1.0, 2.0]),
            torch.tensor([1.0, NAN]),
            "the shape (2,) is right, 1 of 2 values are not; the first at [1]: expected 2, got nan",
        ),
        (
            torch.tensor([True, False]),
            torch.tensor([True, True]),
            "the shape (2,) is right, 1 of 2 values are not; "
            "the first at [1]: expected False, got True",
        ),
        (
            torch.tensor([49151]),
            torch.tensor([49150]),
            "the shape (1,) is right, 1 of 1 values are not; "
            "the first at [0]: expected 49151, got 49150",
        ),
        (torch.tensor(1.25), torch.tensor(2.5), "expected 1.25, got 2.5"),
        (torch.tensor(1.25), 2.5, "expected a tensor without axes, 1.25, got 2.5"),
        (
            torch.zeros(2),
            None,
            "expected a tensor of shape (2,), got None (is a `return` missing?)",
        ),
        (torch.zeros(2), [0.0, 0.0], "expected a tensor of shape (2,), got list [0.0, 0.0]"),
        (
            torch.zeros(2, 1),
            np.array([[0.0], [1.0]]),
            "expected a tensor of shape (2, 1), got ndarray array([[0.], [1.]])",
        ),
        ([1, 2], [1, 3], "output 2 of 2: expected int 2, got int 3"),
        ([1, 2], [1], "expected list [1, 2], got list [1]"),
        ({"a": 1, "b": 2}, {"a": 1}, "expected an entry 'b', got ['a']"),
        ({"a": torch.zeros(1)}, {"a": torch.zeros(2)}, "a: expected shape (1,), got (2,)"),
        (1.0, INF, "expected 1, got inf"),
        (0.50841, 0.50844, "expected 0.50841, got 0.50844"),
        (295, 294.99997, "expected int 295, got 294.99997"),
        (torch.tensor(0.50841), torch.tensor(0.50844), "expected 0.50841, got 0.50844"),
        (
            torch.tensor([0.50841]),
            torch.tensor([0.50844]),
            "the shape (1,) is right, 1 of 1 values are not; "
            "the first at [0]: expected 0.50841, got 0.50844",
        ),
        ("eos", "length", "expected 'eos', got 'length'"),
        (6, 10**80, "expected int 6, got a whole number of 266 bits"),
        ([6], [10**5000], "output 1 of 1: expected int 6, got a whole number of 16,610 bits"),
        ([6], [10**5000, 1], "expected list [6], got list of 2 items"),
        (2.0, 2 + 1j, "expected 2, got complex (2+1j)"),
        (
            torch.ones(1),
            torch.ones(1) + 1j,
            "expected values of type torch.float32, got torch.complex64",
        ),
    ],
)
def test_the_difference_in_words(expected, got, text):
    assert difference(expected, got, 1e-5) == text


def test_a_long_value_is_cut():
    text = difference(1.0, list(range(100)), 1e-5)
    assert len(text) < 100
    assert text.endswith("…")


def test_values_within_tolerance_are_not_counted_as_different():
    got = torch.tensor([1.0 + 1e-7, 2.0, 5.0], requires_grad=True)
    text = difference(torch.tensor([1.0, 2.0, 3.0]), got, 1e-5)
    assert "1 of 3 values are not; the first at [2]: expected 3, got 5" in text


# judge


def test_a_right_answer():
    verdict = judge(lambda x: x + x, exercise(SQUARES))
    assert (verdict.state, verdict.cases) == ("right", 2)
    assert not verdict.failed
    assert verdict.mistake is None


def test_a_right_answer_that_prints_and_keeps_a_gradient(capsys):
    weight = torch.tensor(2.0, requires_grad=True)

    def double(x):
        print("x is", x.shape)
        return weight * x

    verdict = judge(double, exercise())
    assert verdict.state == "right"
    assert verdict.printed.startswith("x is torch.Size([3])\nx is ")
    assert not capsys.readouterr().out


def test_what_is_printed_without_end_is_cut():
    verdict = judge(lambda x: print("y" * 10_000), exercise())
    assert verdict.printed == "y" * 400


def test_a_wrong_answer_is_told_on_which_cases_and_what_came_on_the_first():
    verdict = judge(ROW_ONLY.wrong, exercise())
    assert verdict.state == "wrong"
    assert verdict.failed == ("a table",)
    assert "expected 2, got 0" in verdict.what


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda x: None, "None (is a `return` missing?)"),
        (lambda x: (2 * x).numpy(), "ndarray array([2., 4., 6.]"),
        (lambda x: (2 * x).tolist(), "list [2.0, 4.0, 6.0]"),
        (lambda x: "2x", "str '2x'"),
        (lambda x: (2 * x,), "tuple (tensor([2., 4., 6.]),)"),
    ],
)
def test_what_is_no_tensor_is_wrong_and_said(answer, got):
    verdict = judge(answer, exercise(SQUARES, RAISES))
    assert verdict.state == "wrong"
    assert verdict.what.startswith("expected a tensor of shape (3,), got " + got)
    assert verdict.mistake is None


@pytest.mark.parametrize("error", [NotImplementedError("write me"), NotImplementedError])
def test_a_stub_is_not_attempted(error):
    def double(x):
        raise error

    verdict = judge(double, exercise(SQUARES))
    assert verdict.state == "not attempted"
    assert verdict.cases == 2


def test_an_answer_with_a_part_still_to_be_written_is_wrong_and_says_which():
    def double(x):
        if x.ndim > 1:
            raise NotImplementedError("tables")
        return 2 * x

    verdict = judge(double, exercise())
    assert (verdict.state, verdict.failed) == ("wrong", ("a table",))
    assert verdict.what.startswith("it raised NotImplementedError: tables\n  at line ")


def test_what_others_have_not_implemented_is_no_stub():
    verdict = judge(lambda x: torch.nn.Module()(x), exercise())
    assert verdict.state == "wrong"
    assert verdict.what.startswith("it raised NotImplementedError: Module [Module] is missing")


def test_an_operator_that_pytorch_lacks_for_a_type_is_an_error_and_no_stub():
    verdict = judge(lambda x: x.long().softmax(-1), exercise())
    assert verdict.state == "wrong"
    assert "not implemented for 'Long'" in verdict.what


def test_an_answer_that_never_ends_is_interrupted_and_the_case_named(monkeypatch):
    monkeypatch.setattr(timelimit, "LONGEST", 100.0)  # it computes, however busy the machine

    def double(x):
        while x.ndim == 2:
            pass
        return 2 * x

    verdict = judge(double, exercise(SQUARES, seconds=0.2))
    assert verdict.state == "wrong"
    assert verdict.failed == ("a table",)
    assert "it ran for 0.2 s without coming to an end" in verdict.what


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.mul_(2),
        lambda x: torch.add(x, x, out=x),
        lambda x: x.resize_(1).clone(),
    ],
)
def test_an_answer_that_changes_its_input_is_told_so(change):
    verdict = judge(change, exercise())
    assert verdict.state == "wrong"
    assert verdict.what.startswith("it changed its argument number 1 in place: work on a new")


def test_the_argument_that_was_changed_is_counted_from_one():
    pair = call("two", torch.ones(2), torch.ones(2), oracle=lambda a, b: a + b)
    verdict = judge(lambda a, b: b.add_(a), exercise(cases=(pair,)))
    assert "argument number 2" in verdict.what


def test_an_input_with_nan_in_it_is_not_taken_for_changed():
    odd = call("nan", torch.tensor([NAN, 1.0]), oracle=lambda x: x * 2)
    assert judge(lambda x: x + x, exercise(cases=(odd,))).state == "right"


def test_a_case_after_a_changed_input_gets_fresh_copies():
    one = exercise()
    judge(lambda x: x.zero_(), one)
    assert judge(lambda x: x + x, one).state == "right"


def test_the_draws_of_the_notebook_go_on_as_if_nothing_had_been_checked():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    noisy = Mistake("noise", "Noise.", lambda x: torch.rand_like(x))
    judge(lambda x: x + torch.rand(1) + torch.manual_seed(3).seed() * 0, exercise(noisy))
    assert torch.equal(torch.rand(3), expected)


def test_an_answer_that_draws_is_tried_with_the_same_draws_each_time():
    case = exercise().cases[0]
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        drawn.append(outcome(lambda x: torch.rand(4), case).value)
    assert torch.equal(*drawn)


def test_the_learners_own_interruption_is_no_wrong_answer():
    def double(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(double, exercise())


def test_an_exit_in_an_answer_ends_neither_the_check_nor_the_notebook():
    verdict = judge(lambda x: sys.exit("enough"), exercise())
    assert verdict.state == "wrong"
    assert verdict.what.startswith("it raised SystemExit: enough")


def test_the_inputs_of_the_first_failed_case_are_in_the_verdict():
    (x,) = judge(ROW_ONLY.wrong, exercise()).inputs
    assert torch.equal(x, torch.tensor([[1.0, 4.0], [0.5, -1.0]]))
    assert judge(lambda x: x + x, exercise()).inputs is None


# recognise


def test_a_mistake_is_recognised_by_what_it_gives():
    verdict = judge(lambda x: x * x, exercise(HALVES, SQUARES))
    assert verdict.mistake is SQUARES


def test_the_mistake_that_agrees_on_most_cases_is_recognised():
    near = Mistake("near", "Near.", lambda x: 3 * x if x.ndim == 1 else 0 * x)
    for mistakes in ((near, ROW_ONLY), (ROW_ONLY, near)):
        assert judge(ROW_ONLY.wrong, exercise(*mistakes)).mistake is ROW_ONLY


def test_a_mistake_that_explains_only_some_of_the_failures_is_not_named():
    def double(x):
        return x**2 if x.ndim == 1 else 7 * x

    verdict = judge(double, exercise(SQUARES, HALVES))
    assert len(verdict.failed) == 2
    assert verdict.mistake is None


def test_a_mistake_is_never_recognised_by_an_exception_alone():
    def double(x):
        return x + "2"

    verdict = judge(double, exercise(RAISES))
    assert verdict.state == "wrong"
    assert verdict.mistake is None


def test_a_mistake_is_recognised_by_a_value_and_the_same_kind_of_exception():
    def wrong(x):
        return x**2 if x.ndim == 1 else x + "2"

    def other_kind(x):
        return x**2 if x.ndim == 1 else x[9]

    mistake = Mistake("both", "Both.", wrong)
    assert judge(wrong, exercise(mistake)).mistake is mistake
    assert judge(other_kind, exercise(mistake)).mistake is None
    assert judge(SQUARES.wrong, exercise(mistake)).mistake is None


def test_a_mistake_is_not_named_where_the_answer_is_right_and_the_mistake_is_not():
    outcomes = [Outcome(torch.zeros(3)), Outcome(torch.zeros(2, 2))]
    everywhere = Mistake("zeros", "Zeros.", lambda x: 0 * x)
    one = exercise(ROW_ONLY, everywhere)
    assert recognise(one, outcomes, ["one row", "a table"]) is everywhere
    assert judge(ROW_ONLY.wrong, exercise(everywhere)).mistake is None
    assert judge(everywhere.wrong, exercise(ROW_ONLY)).mistake is None


def test_an_answer_that_is_right_where_the_mistake_raises_may_be_the_mistake():
    raises_on_tables = Mistake("both", "Both.", lambda x: x**2 if x.ndim == 1 else x + "2")

    def not_reached(x):
        return x**2 if x.ndim == 1 else 2 * x

    assert judge(not_reached, exercise(raises_on_tables)).mistake is raises_on_tables


# describe_error and source_file


def test_an_error_is_told_with_the_line_of_the_learners_own_cell(run_cell):
    namespace = {}
    run_cell("import torch\n\ndef double(x):\n    y = x.nothing\n    return y\n", namespace)
    verdict = judge(namespace["double"], exercise())
    assert verdict.what == (
        "it raised AttributeError: 'Tensor' object has no attribute 'nothing'\n"
        "  at line 4 of your cell:  y = x.nothing"
    )


def test_nothing_of_ours_and_nothing_of_pytorchs_is_in_it(run_cell):
    namespace = {"torch": torch}
    run_cell("def double(x):\n    return torch.nn.functional.linear(\n    x, x, 3)\n", namespace)
    what = judge(namespace["double"], exercise()).what
    assert "it raised TypeError: " in what
    assert "at line 2 of your cell:  return torch.nn.functional.linear(" in what
    for ours in ("Traceback", "judge.py", "exercise.py", "site-packages", CELL):
        assert ours not in what


def test_the_last_line_of_the_cell_is_named_where_a_helper_in_it_failed(run_cell):
    namespace = {}
    run_cell(
        "def helper(x):\n    return x / '2'\ndef double(x):\n    return helper(x)\n", namespace
    )
    assert "at line 2 of your cell:  return x / '2'" in judge(namespace["double"], exercise()).what


def test_a_decorated_answer_is_found_in_its_cell(run_cell):
    namespace = {"torch": torch}
    run_cell("@torch.no_grad()\ndef double(x):\n    return x / 'a'\n", namespace)
    assert source_file(namespace["double"]) == CELL
    what = judge(namespace["double"], exercise()).what
    assert what.endswith("at line 3 of your cell:  return x / 'a'")


def test_a_class_is_found_by_its_methods(run_cell):
    namespace = {}
    run_cell("class Cache:\n  size = 3\n  def append(self, x):\n    raise ValueError\n", namespace)
    cache = namespace["Cache"]
    assert source_file(cache) == CELL
    trace = Case("a trace", lambda made: made().append(1), lambda: 1)
    assert judge(cache, exercise(cases=(trace,))).what == (
        "it raised ValueError: without a message\n  at line 4 of your cell:  raise ValueError"
    )


def test_what_was_written_in_no_file_has_none():
    assert source_file(len) is None
    assert source_file(int) is None
    assert source_file(type("Empty", (), {})) is None


def test_an_error_that_the_cell_has_no_line_of_is_told_without_one():
    def double(a, b):
        return a

    what = judge(double, exercise()).what
    assert what == (
        "it raised TypeError: test_an_error_that_the_cell_has_no_line_of_is_told_without_one."
        "<locals>.double() missing 1 required positional argument: 'b'"
    )


def test_a_message_of_many_lines_becomes_one():
    assert describe_error(ValueError("one\n\n   two"), len) == "it raised ValueError: one two"


def test_endless_recursion_is_an_error_like_any_other():
    def double(x):
        return double(x)

    verdict = judge(double, exercise())
    assert verdict.state == "wrong"
    assert verdict.what.startswith("it raised RecursionError: ")
    assert sys.getrecursionlimit() > 100


def test_an_oracle_gets_copies_too():
    x = torch.ones(2)

    def spoils(x: Tensor) -> Tensor:
        return x.mul_(2)

    case = call("spoiled", x, oracle=spoils)
    assert torch.equal(case.expected(), case.expected())
    assert torch.equal(x, torch.ones(2))


def test_where_none_is_right_nobody_is_asked_for_a_return():
    assert difference(None, 3, 1e-5) == "expected None, got int 3"
