"""From tokens to text: never half a character, never part of a stop string. Built in lesson 08."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from decodeloop.errors import UserError

UNFINISHED = "\ufffd"  # what the bytes of half a character decode to


class Tokenizer(Protocol):
    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str: ...


class TextStream:
    """Turn tokens into text piece by piece.

    A character may be spread over several tokens and is held back until it is whole; text that
    may be the beginning of a stop string is held back until it is not. `stopped` becomes true when
    a stop string is complete; neither it nor what follows it is ever given out.

    Special tokens are never given out, but a stop string finds them where they stand.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        if isinstance(stop, str):
            stop = (stop,)
        if any(not s for s in stop):
            raise UserError("a stop string is empty: expected at least one character.")
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._context: list[int] = []  # the tokens of the last whole piece: some tokenizers look
        self._pending: list[int] = []  # back by one to decide on a space
        self._held: list[tuple[str, bool]] = []  # characters, and whether each may be given out

    def push(self, token: int) -> str:
        """Take one more token; give the text that is now certain, often the empty string."""
        if self.stopped:
            return ""
        if name := self._special(token):
            return self._release(name, shown=False)
        self._pending.append(token)
        piece = self._pending_text()
        if piece.endswith(UNFINISHED):
            return ""
        self._context, self._pending = self._pending, []
        return self._release(piece)

    def finish(self) -> str:
        """No more tokens will come: give what was held back."""
        if self.stopped:
            return ""
        rest = self._release(self._pending_text())
        self._pending = []
        rest, self._held = rest + shown_text(self._held), []
        return rest

    def _special(self, token: int) -> str:
        """How a token that has no text of its own is written out; of any other, nothing."""
        if self._tokenizer.decode([token], skip_special=True):
            return ""
        return self._tokenizer.decode([token])

    def _pending_text(self) -> str:
        if not self._pending:
            return ""
        before = self._tokenizer.decode(self._context, skip_special=True)
        whole = self._tokenizer.decode(self._context + self._pending, skip_special=True)
        return whole[len(before) :]

    def _release(self, piece: str, shown: bool = True) -> str:
        held = self._held + [(character, shown) for character in piece]
        text = "".join(character for character, _ in held)
        found = [(at + len(s), at) for s in self._stop if (at := text.find(s)) >= 0]
        if found:  # the one complete first, so that it does not matter how the text is cut
            self.stopped = True
            self._held = []
            return shown_text(held[: min(found)[1]])
        keep = max((overlap(text, s) for s in self._stop), default=0)
        self._held = held[len(held) - keep :]
        return shown_text(held[: len(held) - keep])


def shown_text(characters: Sequence[tuple[str, bool]]) -> str:
    """Those of the characters that may be given out."""
    return "".join(character for character, shown in characters if shown)


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`.

    >>> overlap("so on.\\n", "\\n\\n")
    1
    """
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
