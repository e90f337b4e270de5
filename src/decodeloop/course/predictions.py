"""Predict, measure, explain: guesses, what came of them, and the learner's own figures."""

from __future__ import annotations

from types import EllipsisType

from decodeloop.course.session import current, told
from decodeloop.errors import UserError


def predict(name: str, value: float | EllipsisType | None, unit: str) -> None:
    """Keep a guess until `reveal` sets it beside the measurement; `...` means none was made."""
    if value is ... or value is None:
        current().guesses[name] = (None, unit)
        print(f"○ {name}: no guess yet. Put a number in place of the dots; any guess teaches more.")
        return
    try:
        guess = float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"predict({name!r}): your guess is {value!r}: expected one number"
            f"{f', in {unit}' if unit else ''}, without quotes or unit, or the dots."
        ) from None
    if guess.is_integer() and abs(guess) < 1e15:
        guess = int(guess)
    current().guesses[name] = (guess, unit)
    print(f"● {name}: you say {shown(guess)} {unit}")


def reveal(name: str, *, measured: float, formula: float | None = None, unit: str = "") -> None:
    """Print guess, formula and measurement of `name`, each with its ratio to the measurement.

    A guess is kept with its measurement, where there is a work folder: `decodeloop progress
    --predictions` draws them all.
    """
    session = current()
    guess, unit_then = session.guesses.get(name, (None, unit))
    if unit and unit_then != unit:
        raise UserError(
            f"reveal({name!r}): the guess was made in {unit_then!r}, the measurement is in "
            f"{unit!r}: use the same unit for both."
        )
    rows = [
        ("your guess", guess),
        ("the formula", formula),
        ("measured", measured),
    ]
    print(f"{name}, in {unit_then}" if unit_then else name)
    for label, value in rows:
        if label == "your guess" and value is None:
            print("  your guess    none made")
        elif value is not None:
            compared = label != "measured" and measured != 0
            ratio = f"   = {value / measured:.2f} × measured" if compared else ""
            print(f"  {label:<13} {shown(value):>9}{ratio}")
    if guess is not None and session.progress is not None:
        with told():
            session.progress.prediction(session.lesson, name, guess, float(measured), unit_then)


def shown(value: float) -> str:
    """A whole number as it is, any other to three significant digits: a count is exact.

    >>> shown(46080), shown(1234.5)
    ('46,080', '1,230')
    """
    return f"{value:,}" if isinstance(value, int) else significant(value)


def significant(value: float, digits: int = 3) -> str:
    """A number to a few significant digits, without an exponent where people write none.

    >>> significant(1234.5), significant(0.012345)
    ('1,230', '0.0123')
    """
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or not 1e-4 <= abs(rounded) < 1e15:
        return f"{value:.{digits}g}"
    if abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:,.0f}"
    return f"{rounded:.{digits}g}"


def record(name: str, value: float | None, unit: str) -> None:
    """Put one figure of your own on the scoreboard; None, nothing measured, leaves it as it is."""
    if value is None:
        return
    session = current()
    session.records[name] = (value, unit)
    if session.progress is not None:
        with told():
            session.progress.record(name, value, unit)


def scoreboard() -> None:
    """Print your own figures so far, those of earlier lessons too."""
    session = current()
    rows = dict(session.records)
    if session.progress is not None:
        with told():
            kept = session.progress.read().get("records", {})
            rows = {name: (value, unit) for name, (value, unit) in kept.items()} | rows
    if not rows:
        print("nothing measured yet")
    for name, (value, unit) in sorted(rows.items()):
        print(f"{name:<44} {significant(value):>9} {unit}")
