"""What makes it a course: exercises, checks, hints, predictions, figures, and the builder."""

from decodeloop.course.checking import check, failed_inputs, hint
from decodeloop.course.importable import importable
from decodeloop.course.own import mine
from decodeloop.course.predictions import predict, record, reveal, scoreboard
from decodeloop.course.session import begin

__all__ = [
    "begin",
    "check",
    "failed_inputs",
    "hint",
    "importable",
    "mine",
    "predict",
    "record",
    "reveal",
    "scoreboard",
]
