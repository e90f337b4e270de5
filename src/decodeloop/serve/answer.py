"""An answer while it is made: texts that were asked for together, and what each step brings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decodeloop.decode import FinishReason
from decodeloop.decode import Sequence as Text
from decodeloop.decode.penalties import TokenForecast
from decodeloop.serve.taking import Event


@dataclass(frozen=True)
class Piece:
    """What a step brought one of the texts of an answer: characters, an end, or an error.

    `number` says which of the texts; `tokens` is how many it has by now; `forecasts` are those of
    the new ones, if they were asked for.
    """

    number: int
    text: str = ""
    tokens: int = 0
    forecasts: tuple[TokenForecast, ...] = ()
    finish_reason: FinishReason | None = None
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None or self.error is not None


Deliver = Callable[[list[Piece]], object]


class Answer:
    """Texts that were asked for together; what comes of them goes to `deliver`, in the service's
    thread. `asked` is when, by `time.perf_counter`."""

    def __init__(self, texts: Sequence[Text], deliver: Deliver) -> None:
        self.texts, self.deliver = list(texts), deliver
        self.asked = time.perf_counter()
        self._shown = [0] * len(self.texts)  # characters of each that were handed out
        self._told = [0] * len(self.texts)  # forecasts of each
        self._last: dict[int, float] = {}  # when each got its last token

    def piece(self, number: int, event: Event) -> Piece:
        """What of a text is new since its last piece."""
        text, told, shown = self.texts[number], self._told[number], self._shown[number]
        self._shown[number], self._told[number] = len(text.text), len(text.forecasts)
        return Piece(
            number,
            text.text[shown:],
            len(text.tokens),
            tuple(text.forecasts[told:]),
            event.finish_reason,
            event.error,
        )

    def waited(self, number: int, now: float) -> tuple[float, bool]:
        """How long a text waited for the token that has come now; and whether it is the first, so
        that this is its TTFT, and not an ITL."""
        before = self._last.get(number)
        self._last[number] = now
        return (now - self.asked, True) if before is None else (now - before, False)
