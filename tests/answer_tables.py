"""The tables of `exercises/answers/lesson_NN.py`, for the tests that walk them."""

import importlib.util
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "exercises" / "answers"


@cache
def answers(lesson):
    """The module of a lesson's answers; `lesson` is the lesson's whole name."""
    path = HERE / f"lesson_{lesson.split('_')[0]}.py"
    if not path.is_file():
        pytest.fail(f"{path} is missing: it has RIGHT, SECOND_FORMS and UNNAMED for {lesson}.")
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # the source of a class is looked for there
    spec.loader.exec_module(module)
    return module
