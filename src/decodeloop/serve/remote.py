"""A conversation with a server: it remembers nothing, so each turn sends all that was said."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from decodeloop.decode.conversation import Message, check_messages
from decodeloop.errors import UserError
from decodeloop.serve.client import Endpoint


class RemoteTurn(Iterator[str]):
    """An answer, piece by piece, as it comes over the network.

    `tokens` has as many as were made; which they are, a server does not say.
    """

    forgotten = context = 0  # that is the server's affair
    full_length = True

    def __init__(self, events: Generator[dict[str, Any], None, None]) -> None:
        self.text = ""
        self.finish_reason: str | None = None
        self.tokens = range(0)
        self.prompt_tokens: int | None = None
        self._began = time.perf_counter()
        self.ttft_s: float | None = None
        self.seconds = 0.0
        self._events = events
        self._pieces = self._run()

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Hang up; what has come by now stays."""
        self._pieces.close()
        self._events.close()

    @property
    def timing(self) -> str:
        parts = [f"{len(self.tokens)} tokens"]
        if self.prompt_tokens is not None:
            parts.insert(0, f"{self.prompt_tokens} prompt tokens")
        if self.ttft_s is not None:
            parts.append(f"the first after {self.ttft_s:.2f} s, all after {self.seconds:.2f} s")
        return " · ".join(parts)

    def _run(self) -> Generator[str, None, None]:
        for event in self._events:
            self.seconds = time.perf_counter() - self._began
            if usage := event.get("usage"):
                self.tokens = range(int(usage["completion_tokens"]))
                self.prompt_tokens = int(usage["prompt_tokens"])
            for choice in event.get("choices", ()):
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                piece = (choice.get("delta") or {}).get("content") or ""
                if piece:
                    if self.ttft_s is None:
                        self.ttft_s = self.seconds
                    if not event.get("usage"):
                        self.tokens = range(len(self.tokens) + 1)
                    self.text += piece
                    yield piece


class RemoteConversation:
    """A chat with a server; to be used as `decode.Conversation`.

    Args:
        model: what the server calls it.
        options: fields of the request besides, such as temperature.

    Raises:
        UserError: a message is none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        system: str | None = None,
        messages: Iterable[Message] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.endpoint, self.model, self.options = endpoint, model, dict(options or {})
        self._messages = [dict(message) for message in messages]
        if self._messages:
            check_messages(self._messages)
        if system is not None:
            rest = [m for m in self._messages if m["role"] != "system"]
            self._messages = [{"role": "system", "content": system}, *rest]
        self._turn: RemoteTurn | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """All that was said, in order, the answer that is being made included."""
        said = [dict(message) for message in self._messages]
        if self._turn is not None and (self._turn.text or self._turn.finish_reason):
            said.append({"role": "assistant", "content": self._turn.text})
        return said

    everything = messages

    def ask(self, text: str) -> RemoteTurn:
        """Say something; the answer is iterated over, and may be left at any time.

        Raises:
            UserError: the text is empty.
        """
        self._settle()
        if not text.strip():
            raise UserError("the message is empty: expected at least one character.")
        self._messages.append({"role": "user", "content": text})
        body = {
            "model": self.model,
            "messages": self._messages,
            "stream_options": {"include_usage": True},
            **self.options,
        }
        self._turn = RemoteTurn(self.endpoint.stream("/chat/completions", body))
        return self._turn

    def undo(self) -> str | None:
        """Take back the last question and its answer; returns the question, if there was one."""
        self._settle()
        while self._messages and self._messages[-1]["role"] != "system":
            last = self._messages.pop()
            if last["role"] == "user":
                return last["content"]
        return None

    def reset(self) -> None:
        """Forget all that was said; the system's message stays."""
        self._settle()
        self._messages = [m for m in self._messages if m["role"] == "system"]

    def _settle(self) -> None:
        """Write down the last answer, as far as it came; a question without one is taken back."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        turn.close()
        if turn.text or turn.finish_reason:
            self._messages.append({"role": "assistant", "content": turn.text})
        else:
            self._messages.pop()
