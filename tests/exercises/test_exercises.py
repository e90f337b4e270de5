"""Every exercise of every lesson, held against its own answers in `answers/lesson_NN.py`."""

import ast
import inspect
import math
import types
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
import torch
from answer_tables import answers
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import Driven
from torch import Tensor

from decodeloop.course.comparing import alike, same
from decodeloop.course.judge import compare, judge
from decodeloop.course.lessons import BEGIN, read_lesson, with_solutions, without_solutions
from decodeloop.course.plain import plain
from decodeloop.course.timelimit import limited
from decodeloop.course.trying import outcome
from decodeloop.errors import UserError
from decodeloop.exercises.edits import Edited
from decodeloop.exercises.exercise import copies
from decodeloop.exercises.finding import all_exercises, find
from decodeloop.exercises.fresh import called, fresh_cases, has_fresh
from decodeloop.exercises.fresh import driven as fresh_inputs
from decodeloop.exercises.fresh import of_lesson as of_fresh

LESSONS = Path(__file__).parents[2] / "lessons"
EXERCISES = list(all_exercises().values())
UNNAMED_AT_LEAST = 3
IMPORTS = (ast.Import, ast.ImportFrom)

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)


@pytest.fixture(autouse=True, scope="module")
def remembered():
    """What a named mistake gives on a case is found out once, not for each that is held against it:
    it is the same each time, which a test below demands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decodeloop.course.judge.outcome", outcome_once)
        yield


def outcome_once(wrong, case, known={}):  # noqa: B006
    key = id(wrong), id(case)  # both live as long as their exercise
    if key not in known:
        known[key] = outcome(wrong, case)
    return known[key]


@cache
def settled(name):
    """The exercise of this name, whose oracle answers each case once."""
    exercise = find(name)
    cases = [replace(case, expected=cache(case.expected)) for case in exercise.cases]
    return replace(exercise, cases=tuple(cases))


def not_met(exercise, wrong, try_once):
    """Which mistakes are not met with their own hint where `wrong` has them, by name: what was said
    instead. What they give is compared as a learner's is, without the guards around an answer,
    which take most of the time; right answers and those that nobody named have them."""
    known = settled(exercise.name)
    expected = [plain(case.expected()) for case in known.cases]

    def verdicts():
        for mistake in exercise.mistakes:
            answer = wrong[mistake.name]
            yield mistake, compare(known, [try_once(answer, c) for c in known.cases], expected)

    return {
        mistake.name: verdict
        for mistake, verdict in limited(lambda: list(verdicts()), 60.0)
        if verdict.state != "wrong" or verdict.mistake is not mistake
    }


def entry(exercise, table):
    """What the answers of its lesson have for an exercise."""
    found = getattr(answers(exercise.lesson), table, {})
    if exercise.name not in found:
        number = exercise.lesson.split("_")[0]
        pytest.fail(f"answers/lesson_{number}.py: {table} has no entry {exercise.name!r}.")
    return found[exercise.name]


@cache
def parsed(lesson):
    return read_lesson(LESSONS / f"{lesson}.md")


@cache
def exercise_cells(lesson):
    """The exercise cells of a lesson by the name that they define, with their place."""
    found = {}
    for place, cell in enumerate(parsed(lesson).cells):
        if "exercise" in cell.metadata.get("tags", []):
            namespace = {}
            exec(without_solutions(cell.source, lesson), namespace)
            (name,) = (n for n in namespace if n in all_exercises())
            found[name] = (place, cell)
    return found


def cell_of(exercise):
    cells = exercise_cells(exercise.lesson)
    if exercise.name not in cells:
        pytest.fail(f"{exercise.lesson}.md has no cell tagged 'exercise' for {exercise.name}.")
    return cells[exercise.name]


def written_in_the_lesson(exercise, edition):
    """The function of an exercise's cell, among what the cells above it define and import."""
    namespace = {"torch": torch, "math": math, "F": torch.nn.functional}
    last, _ = cell_of(exercise)
    for cell in parsed(exercise.lesson).cells[:last]:
        if cell.cell_type == "code":
            imports = [x for x in ast.parse(cell.source).body if isinstance(x, IMPORTS)]
            exec(compile(ast.Module(imports, []), "imports", "exec"), namespace)
    for place, cell in exercise_cells(exercise.lesson).values():
        if place < last:
            exec(with_solutions(cell.source), namespace)
    exec(edition(cell_of(exercise)[1].source), namespace)
    return namespace[exercise.name]


# right answers


@each_exercise
def test_the_library_is_right(exercise):
    assert judge(exercise.library, exercise).state == "right"


@each_exercise
def test_the_solution_in_the_lesson_is_right(exercise):
    assert BEGIN in cell_of(exercise)[1].source
    verdict = judge(written_in_the_lesson(exercise, with_solutions), exercise)
    assert verdict.state == "right", verdict


@each_exercise
def test_two_differently_written_answers_are_right(exercise):
    right = entry(exercise, "RIGHT")
    assert len(right) >= 2, f"{exercise.name}: RIGHT needs two answers"
    for answer in right:
        verdict = judge(answer, settled(exercise.name))
        assert verdict.state == "right", (answer.__name__, verdict)


@each_exercise
def test_the_stub_of_the_lab_edition_is_not_attempted(exercise):
    stub = written_in_the_lesson(exercise, lambda source: without_solutions(source, "here"))
    assert judge(stub, exercise).state == "not attempted"


# mistakes


# One test an exercise, not one a mistake: of those there are thousands, and a test takes its time.


@each_exercise
def test_a_named_mistake_is_met_with_its_own_hint(exercise):
    assert not not_met(exercise, {m.name: m.wrong for m in exercise.mistakes}, outcome_once)


@each_exercise
def test_a_mistake_written_another_way_is_met_with_the_same_hint(exercise):
    forms = entry(exercise, "SECOND_FORMS")
    assert not {m.name for m in exercise.mistakes} - set(forms), "SECOND_FORMS lacks these"
    assert not not_met(exercise, forms, outcome)


@each_exercise
def test_every_edit_finds_its_place_once_and_gives_python(exercise):
    wrong = [m.wrong for m in exercise.mistakes]
    wrong += [*entry(exercise, "SECOND_FORMS").values(), *entry(exercise, "UNNAMED")]
    for answer in wrong:
        if isinstance(answer, Edited):
            assert callable(answer.compiled)


@each_exercise
def test_every_two_mistakes_differ_on_some_case(exercise):
    cases = settled(exercise.name).cases
    results = {m.name: [outcome_once(m.wrong, c) for c in cases] for m in exercise.mistakes}
    assert len(results) == len(exercise.mistakes), "two mistakes have one name"
    for one, other in combinations(results, 2):
        equal = [
            a.error is None and b.error is None and alike(a.value, b.value, exercise.tolerance)
            for a, b in zip(results[one], results[other], strict=True)
        ]
        assert not all(equal), f"{one!r} and {other!r} give the same on every case"


@each_exercise
def test_wrong_answers_that_nobody_named_are_wrong(exercise):
    wrong = entry(exercise, "UNNAMED")
    assert len(wrong) >= UNNAMED_AT_LEAST, f"{exercise.name}: UNNAMED needs {UNNAMED_AT_LEAST}"
    for number, answer in enumerate(wrong):
        verdict = judge(answer, settled(exercise.name))
        assert verdict.state == "wrong", (number, answer)
        assert verdict.failed and verdict.what


@pytest.mark.parametrize("lesson", sorted({e.lesson for e in EXERCISES}))
def test_the_answers_have_no_entry_that_is_never_tried(lesson):
    names = {e.name for e in EXERCISES if e.lesson == lesson}
    for table in ("RIGHT", "SECOND_FORMS", "UNNAMED"):
        assert set(getattr(answers(lesson), table)) <= names, table
    drawn = of_fresh(lesson.split("_")[0]) or answers(lesson).RANDOM
    assert set(drawn) == names
    for name, forms in answers(lesson).SECOND_FORMS.items():
        assert set(forms) <= {m.name for m in find(name).mistakes}, name


# oracles


def defused(function, monkeypatch):
    """Make a function, or the methods of a class, fail wherever it is called from."""

    def broken(*args, **kwargs):
        raise AssertionError("the oracle calls the library")

    members = vars(function).values() if isinstance(function, type) else [inspect.unwrap(function)]
    for member in members:
        if isinstance(member, types.FunctionType):
            monkeypatch.setattr(member, "__code__", broken.__code__)


@each_exercise
def test_an_oracle_does_not_call_the_library(exercise, monkeypatch):
    for case in exercise.cases:
        before = case.run(exercise.library)
        with monkeypatch.context() as patch:
            defused(exercise.library, patch)
            with pytest.raises(AssertionError, match="the oracle calls the library"):
                case.run(exercise.library)
            expected = case.expected()
        assert same(before, expected, exercise.tolerance), case.label


def slightly_off(value):
    """An output that differs in every number by a little: one for whole numbers, 0.001 else."""
    if isinstance(value, Tensor):
        if value.dtype == torch.bool:
            return ~value
        return value + 1 if not value.is_floating_point() else value + 1e-3 * (1 + value.abs())
    if isinstance(value, dict):
        return {key: slightly_off(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(slightly_off(v) for v in value)
    if isinstance(value, str):
        return value + "?"
    return value + 1 if isinstance(value, int) else value + 1e-3 * (1 + abs(value))


@each_exercise
def test_a_small_error_in_the_output_is_noticed_on_every_case(exercise):
    if isinstance(exercise.library, type):
        for case in exercise.cases:
            off = slightly_off(case.run(exercise.library))
            assert not same(off, case.expected(), exercise.tolerance), case.label
        return

    def off(*args, **kwargs):
        return slightly_off(exercise.library(*args, **kwargs))

    verdict = judge(off, settled(exercise.name))
    assert verdict.failed == tuple(case.label for case in exercise.cases)


@each_exercise
def test_a_case_gives_the_same_each_time_it_is_run(exercise):
    for case in exercise.cases:
        for answer in (exercise.library, exercise.mistakes[0].wrong):
            once, again = outcome(answer, case), outcome(answer, case)
            assert type(once.error) is type(again.error), case.label
            assert once.error is not None or alike(again.value, once.value, 0.0), case.label
        assert same(case.expected(), case.expected(), 0.0), case.label


# what stands around them


@each_exercise
def test_an_exercise_is_described_sensibly(exercise):
    assert exercise.name == exercise.library.__name__
    assert 1 <= exercise.minutes <= 30
    assert exercise.difficulty in (1, 2, 3)
    assert exercise.kind in ("core", "stretch")
    assert 0 < exercise.tolerance <= 1e-2
    assert len(exercise.cases) >= 2
    assert len({c.label for c in exercise.cases}) == len(exercise.cases)
    assert len(exercise.hints) >= 2
    assert len(set(exercise.hints)) == len(exercise.hints)
    assert exercise.mistakes
    for text in (*exercise.hints, *(m.hint for m in exercise.mistakes)):
        assert len(text) > 20, text
        assert text == text.strip()
        assert "  " not in text


@each_exercise
def test_an_exercise_stands_in_its_lesson_with_its_heading_and_its_check(exercise):
    place, _ = cell_of(exercise)
    cells = parsed(exercise.lesson).cells
    above = "\n".join(c.source for c in cells[:place] if c.cell_type == "markdown")
    headings = [x for x in above.splitlines() if x.startswith("{{exercise ")]
    assert headings[-1] == f"{{{{exercise {exercise.name}}}}}"
    following = cells[place + 1]
    assert following.cell_type == "code"
    assert following.source == f"{exercise.name} = check({exercise.name})"


@pytest.mark.parametrize("path", sorted(LESSONS.glob("*.md")), ids=lambda p: p.stem)
def test_a_lesson_has_exactly_the_exercises_of_its_data(path):
    assert set(exercise_cells(path.stem)) == {e.name for e in EXERCISES if e.lesson == path.stem}


def test_the_minutes_of_the_core_exercises_fit_into_the_lesson():
    for lesson in {e.lesson for e in EXERCISES}:
        core = sum(e.minutes for e in EXERCISES if e.lesson == lesson and e.kind == "core")
        assert core < parsed(lesson).minutes, lesson


def test_an_unknown_exercise_is_answered_with_those_that_there_are():
    with pytest.raises(UserError) as error:
        find("atention")
    message = str(error.value)
    assert "'atention'" in message
    for exercise in EXERCISES:
        assert exercise.name in message


# on random shapes the library and the right answers agree: nobody who is right is told otherwise


@each_exercise
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_right_answers_agree_on_random_inputs(exercise, data):
    how, inputs = drawn_for(exercise, data)
    expected = how.run(exercise.library, *copies(inputs))
    for answer in entry(exercise, "RIGHT"):
        got = how.run(answer, *copies(inputs))
        assert same(got, expected, exercise.tolerance), (answer.__name__, got, expected)


def drawn_for(exercise, data):
    """Inputs out of the exercise's own data; of a lesson without such, out of its answers."""
    if has_fresh(exercise):
        how = fresh_inputs(exercise)
        return how, how.inputs.draw(Random(data.draw(st.integers(0, 2**32 - 1))))
    random = entry(exercise, "RANDOM")
    how = random if isinstance(random, Driven) else Driven(random, called)
    return how, data.draw(how.inputs)


@each_exercise
def test_fresh_cases_are_the_same_for_the_same_seed_and_the_library_passes_them(exercise):
    if not has_fresh(exercise):
        assert fresh_cases(exercise, 1) == []
        return
    one, again, other = (fresh_cases(exercise, seed, 3) for seed in (1, 1, 2))
    values = [[plain(case.expected()) for case in cases] for cases in (one, again, other)]
    assert alike(values[0], values[1], 0.0)
    assert len(one) >= 3
    for case, value in zip(one, values[0], strict=True):
        assert alike(plain(case.run(exercise.library)), value, exercise.tolerance), case.label


@each_exercise
def test_no_constant_passes_fresh_cases(exercise):
    for seed in range(20 if has_fresh(exercise) else 0):
        first, *others = [plain(case.expected()) for case in fresh_cases(exercise, seed)]
        assert not all(alike(other, first, exercise.tolerance) for other in others), seed
