"""What learners write, as data: one module a lesson, found by the names of its exercises."""

from decodeloop.exercises.exercise import Case, Exercise, Mistake, call, trial
from decodeloop.exercises.finding import all_exercises, find

__all__ = ["Case", "Exercise", "Mistake", "all_exercises", "call", "find", "trial"]
