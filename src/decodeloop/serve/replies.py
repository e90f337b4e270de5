"""What is answered, in OpenAI's shapes: chunks of a stream, whole answers, and errors."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from decodeloop.decode.text_stream import UNFINISHED, TextStream, Tokenizer
from decodeloop.errors import printable
from decodeloop.serve.answer import Piece

# Their names of the reasons; ours are finer.
REASONS = {"eos": "stop", "stop": "stop", "length": "length", None: None}
KINDS = {401: "authentication_error", 429: "rate_limit_error"}


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error, as OpenAI's clients read it."""
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    told = {"message": printable(message), "type": kind, "param": param, "code": code}
    return {"error": told}


def encoded(told: object) -> str:
    """JSON in ASCII: a model may write half a character, which no encoding knows."""
    return json.dumps(told, allow_nan=False, separators=(",", ":"))


@dataclass
class Reply:
    """One answer, as chunks while it comes or as a whole; `chat` or completion.

    Args:
        tokenizer: for log-probabilities, which name each token.
        forecasts: how many best tokens they were asked for with; None if they were not.
    """

    chat: bool
    model: str
    prompt_tokens: int
    tokenizer: Tokenizer
    forecasts: int | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))
    made: dict[int, int] = field(default_factory=dict)  # tokens of each text
    places: dict[int, Places] = field(default_factory=dict)  # of each, where they begin

    def chunk(self, piece: Piece) -> dict[str, Any] | None:
        """What a piece adds to a stream; None if nothing shows. The first of a chat says who
        speaks."""
        first, self.made[piece.number] = piece.number not in self.made, piece.tokens
        if not (piece.text or piece.ended or piece.forecasts or (first and self.chat)):
            return None
        delta = {"role": "assistant", "content": ""} if first else {}
        said = {"delta": {**delta, "content": piece.text} if piece.text else delta}
        return self._body([self._choice(piece, said if self.chat else {"text": piece.text})], True)

    def usage_chunk(self) -> dict[str, Any]:
        """What a stream ends with, where it was asked for."""
        return {**self._body([], True), "usage": self.usage}

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer at once, out of all its pieces."""
        choices = []
        for number in sorted({piece.number for piece in pieces}):
            own = [piece for piece in pieces if piece.number == number]
            text = "".join(piece.text for piece in own)
            told = tuple(forecast for piece in own for forecast in piece.forecasts)
            last = Piece(number, text, own[-1].tokens, told, own[-1].finish_reason)
            self.made[number] = last.tokens
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
            choices.append(self._choice(last, said if self.chat else {"text": text}))
        return {**self._body(choices, False), "usage": self.usage}

    @property
    def usage(self) -> dict[str, int]:
        made = sum(self.made.values())
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }

    def _body(self, choices: list[dict[str, Any]], chunk: bool) -> dict[str, Any]:
        kind = f"chat.completion{'.chunk' if chunk else ''}" if self.chat else "text_completion"
        name = f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}"
        body = {"id": name, "object": kind, "created": self.created, "model": self.model}
        return {**body, "choices": choices}

    def _choice(self, piece: Piece, said: dict[str, Any]) -> dict[str, Any]:
        told = None
        if self.forecasts is not None:
            shape = self._chat_logprobs if self.chat else self._completion_logprobs
            told = shape(piece)
        reason = REASONS[piece.finish_reason]
        return {"index": piece.number, **said, "logprobs": told, "finish_reason": reason}

    def _name(self, token: int) -> str:
        return self.tokenizer.decode([token])

    def _chat_logprobs(self, piece: Piece) -> dict[str, Any]:
        def entry(token: int, logprob: float) -> dict[str, Any]:
            text = self._name(token)
            known = None if UNFINISHED in text else list(text.encode())  # half a character has none
            return {"token": text, "logprob": floor(logprob), "bytes": known}

        return {
            "content": [
                {
                    **entry(f.token, f.logprob),
                    "top_logprobs": [entry(*pair) for pair in f.best[: self.forecasts]],
                }
                for f in piece.forecasts
            ]
        }

    def _completion_logprobs(self, piece: Piece) -> dict[str, Any]:
        forecasts = piece.forecasts
        places = self.places.setdefault(piece.number, Places(self.tokenizer))
        return {
            "tokens": [self._name(f.token) for f in forecasts],
            "token_logprobs": [floor(f.logprob) for f in forecasts],
            "top_logprobs": [
                {self._name(token): floor(logprob) for token, logprob in f.best} for f in forecasts
            ],
            "text_offset": [places.next(f.token) for f in forecasts],
        }


class Places:
    """Where each token of a text begins in it, in characters; the second part of one that is spread
    over several begins where the first does."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._stream, self._at = TextStream(tokenizer), 0

    def next(self, token: int) -> int:
        at = self._at
        self._at += len(self._stream.push(token))
        return at


def floor(logprob: float) -> float:
    """JSON knows no infinity; OpenAI's interface says -9999 for what is all but impossible."""
    return max(logprob, -9999.0)
