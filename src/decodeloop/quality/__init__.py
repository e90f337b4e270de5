"""What was lost: loss and perplexity, distance from the original, and answers, with intervals."""

from decodeloop.quality.comparing import Original, Quality, divergence
from decodeloop.quality.forecasts import hidden_states, log_probabilities, tokenized
from decodeloop.quality.intervals import Interval, bootstrap, ratio_of_sums, three_digits
from decodeloop.quality.pinned_texts import calibration, held_out
from decodeloop.quality.questions import Answers, Question, answer, questions

__all__ = [
    "Answers",
    "Interval",
    "Original",
    "Quality",
    "Question",
    "answer",
    "bootstrap",
    "calibration",
    "divergence",
    "held_out",
    "hidden_states",
    "log_probabilities",
    "questions",
    "ratio_of_sums",
    "three_digits",
    "tokenized",
]
