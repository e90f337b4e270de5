"""Mistakes as edits: how their text is read, where a change goes, and what is said of a bad one."""

import inspect

import pytest
from second_forms import again

from decodeloop.exercises import edits as module
from decodeloop.exercises.edits import BadEdit, edited, edits

ABOVE = 100


def total(numbers, start=0):
    """The sum of all numbers."""
    result = start
    for number in numbers:
        result = result + number
    return result


def other_total(numbers):
    result = 0
    result += sum(numbers)
    return result


def factorial(n):
    return n * factorial(n - 1) if n > 1 else ABOVE - 99


def counting(n):
    yield from range(n)


class Pile:
    def __init__(self):
        self.plates = []

    def put(self, plate):
        if plate is not None:
            self.plates.append(plate)
        return len(self.plates)


class TallPile(Pile):
    def put(self, plate):
        super().put(plate)
        return super().put(plate)


def one(right, changes):
    """The one mistake that these changes make."""
    (wrong,) = edited(right, f"## it\n{changes}").values()
    return wrong


# what a text says


def test_a_text_is_mistakes_with_their_hints_in_order():
    first, second = edits(
        total,
        """
## starts at one
- result = start → result = start + 1
You start at 1: nothing
has been added yet.

## the last alone
- result = result + number
+ result = number
You keep the last number.
""",
    )
    assert (first.name, second.name) == ("starts at one", "the last alone")
    assert first.hint == "You start at 1: nothing has been added yet."
    assert first.wrong([2, 3]) == 6
    assert second.wrong([2, 3]) == 3
    assert total([2, 3]) == 5


def test_a_text_may_be_indented_as_a_whole():
    wrong = edited(
        total,
        """
        ## returns in the loop
        - return result
        +     return result
        """,
    )
    assert wrong["returns in the loop"]([2, 3]) == 2


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ("- result + number → result + 2 * number", 10),  # a part of a line
        ("-  + number", 0),  # deleted
        ("- return result\n+ result = -result\n+ return result", -5),
        ("- for number in numbers:\n-     result = result + number\n+ result = 7", 7),
        ("- for number in numbers:\n-     result = result + number", 0),
        (
            "- for number in numbers:\n+ for number in numbers[:1]:\n+     if start:\n+         1",
            2,
        ),
        ("- result = start → result = 1\n- return result → return [result]", [6]),
        ("- return result → return [result]\n- result = start → result = 1", [6]),  # any order
        ("- , start=0\n\n-  + number\n- result = start → result = 4", 4),  # two deletions
        ("- return result → return [result]  # and\n- start=0 → start=1", [6]),
    ],
)
def test_a_change_takes_the_place_of_its_text(changes, result):
    assert one(total, changes)([2, 3]) == result


def test_several_lines_of_a_method_keep_their_indentation():
    wrong = one(Pile, "- if plate is not None:\n-     self.plates.append(plate)\n+ pass\n+ pass")
    assert wrong().put(1) == 0
    assert "        pass\n        pass\n" in inspect.getsource(wrong.compiled.put)


def test_the_copy_is_what_it_calls_itself_and_what_super_means():
    assert one(factorial, "- n * → n +")(3) == 3 + 2 + 1
    assert (
        one(TallPile, "- return super().put(plate) → return super().put(plate) + 10")().put(1) == 12
    )


def test_a_generator_stays_one():
    assert list(one(counting, "- range(n) → range(1, n)")(3)) == [1, 2]


def test_it_sees_the_module_of_the_right_answer_and_leaves_it_alone():
    wrong = one(factorial, "- - 99 → - 98")
    assert wrong(1) == 2
    assert factorial(1) == 1
    assert wrong.compiled.__globals__["ABOVE"] == ABOVE


def test_nothing_is_compiled_before_a_mistake_is_tried(monkeypatch):
    monkeypatch.setattr(module, "source_of", lambda right: pytest.fail("the source is looked up"))
    edits(total, "## it\n- this stands nowhere → nor this\nA hint.")


def test_an_edit_is_compiled_once():
    wrong = one(total, "- result = start → result = 1")
    assert wrong.compiled is wrong.compiled


def test_the_line_of_an_error_is_that_of_the_edited_source():
    with pytest.raises(ZeroDivisionError) as error:
        one(total, "- result + number → result / 0")([1])
    assert str(error.traceback[-1].statement).strip() == "result = result / 0"


def test_the_same_edits_of_another_right_answer():
    mistakes = edits(
        total,
        "## a list\n- return result → return [result]\nHint.\n## one\n- start=0 → start=1\nHint.",
    )
    found = again(mistakes, other_total)
    assert list(found) == ["a list"]
    assert found["a list"]([2, 3]) == [5]


# what is wrong with one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a → b", "'- a → b' belongs to no mistake"),
        ("## it\nA hint.", "'it' changes nothing"),
        ("## it\n- result = start → 1", "'it' has no hint"),
        ("## it\n+ b\nA hint.", r"'it': '\+ b' replaces nothing"),
        ("## it\n- result = start\nA hint.\n+ b", r"'it': '\+ b' stands behind the hint"),
        ("## it\n- a → b\nA hint of\n- two lines.", "'- two lines.' stands behind the hint"),
        ("## it\n- a → b\nA hint.\n## it\n- a → b\nA hint.", "two mistakes are called 'it'"),
    ],
)
def test_a_text_that_can_not_be_read_is_said_at_once(text, said):
    with pytest.raises(BadEdit, match=said):
        edits(total, text)


def test_a_line_that_is_no_edit_is_said_where_there_are_no_hints():
    with pytest.raises(BadEdit, match="'it': 'return result -> 1' is no edit"):
        edited(total, "## it\n- a → b\nreturn result -> 1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("- nowhere → b", "'it': 'nowhere' stands 0 times in total: expected once"),
        ("- number → b", "'it': 'number' stands 5 times in total"),
        ("- for number in numbers:\n-     pass\n+ pass", "stands 0 times"),
        ("- return result → return (", "'it' of total: '\\(' was never closed at 'return \\('"),
        ("- result = start → b\n- = start → c", "'result = start' runs into the text of another"),
    ],
)
def test_an_edit_that_can_not_be_made_is_said_when_it_is_tried(changes, said):
    with pytest.raises(BadEdit, match=said):
        one(total, changes)([1])


def test_what_has_no_source_of_its_own_can_not_be_edited():
    def local():
        return 1

    for right in (lambda: 1, local, Pile.put, None):
        with pytest.raises(BadEdit, match="expected a function or class of a module"):
            edits(right, "## it\n- 1 → 2\nA hint.")
