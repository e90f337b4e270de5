"""A conversation: who said what, and a cache that is kept from turn to turn.

The next turn's prompt is the last one's, its answer and the new question. All but the end of it is
in the cache already, so that only what is new is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import torch

from decodeloop.decode.loop import Model
from decodeloop.decode.sampling import Sampling
from decodeloop.decode.text import TextGeneration
from decodeloop.decode.text_stream import Tokenizer
from decodeloop.errors import UserError
from decodeloop.model import KVCache

Message = Mapping[str, str]  # role (system, user or assistant) and content
ROLES = ("system", "user", "assistant")
SMALLEST_CACHE = 1024  # positions; it doubles when a conversation outgrows it
KEPT = 0.75  # of the context, when old turns must go: so they don't have to at every turn


class ChatModel(Protocol):
    """What a conversation asks of a loaded model; `decodeloop.load` gives one."""

    @property
    def model(self) -> Model: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def eos_ids(self) -> Collection[int]: ...

    def message_ids(self, messages: Sequence[Message]) -> list[int]: ...


class Turn(TextGeneration):
    """An answer, piece by piece, and what it took to read the question.

    `read_tokens` of the `prompt_tokens` were new; the others were in the cache. `forgotten` old
    messages had to go, so that the rest fits into the context.
    """

    read_tokens: int
    forgotten: int
    context: int  # that of the conversation
    full_length: bool  # whether it may be as long as was asked for, and the context ends no sooner

    @property
    def timing(self) -> str:
        """How much was read and made, and how fast, in one line."""
        read = f"{self.read_tokens} of {self.prompt_tokens} prompt tokens were new"
        return f"{read} · {super().timing}"


class Conversation:
    """A chat with a model.

    Args:
        llm: a loaded model, as `decodeloop.load` gives it.
        system: what the model is told before all else; its template's own words if not given.
        messages: a conversation to go on with.
        max_new_tokens: the longest answer; less where the context ends.
        context: positions that prompt and answer may take; the model's own if not given.
        sampling, generator: as for `generate`; greedy if not given.

    When a conversation outgrows the context, its oldest turns go, question and answer together;
    the system's message stays.

    Raises:
        UserError: a message is none, or the context is not positive or longer than the model's.
    """

    def __init__(
        self,
        llm: ChatModel,
        system: str | None = None,
        messages: Iterable[Message] = (),
        *,
        max_new_tokens: int = 512,
        context: int | None = None,
        sampling: Sampling | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        longest = llm.model.config.context
        if context is not None and not 1 <= context <= longest:
            raise UserError(
                f"the context is {context}: expected 1 to {longest}, which the model was trained "
                f"for."
            )
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens}: expected at least 1.")
        self.llm, self.context = llm, context or longest
        self.max_new_tokens, self.sampling, self.generator = max_new_tokens, sampling, generator
        if earlier := list(messages):
            check_messages(earlier)
            if earlier[-1]["role"] == "user":
                raise UserError(
                    "the last message is of role user: a conversation goes on after an answer; "
                    "leave it out, and ask it."
                )
        self._messages = [dict(message) for message in earlier]
        if system is not None:
            self._messages = [
                {"role": "system", "content": system},
                *(m for m in self._messages if m["role"] != "system"),
            ]
        self._gone: list[dict[str, str]] = []  # what had to go, so that the rest fits
        self._cache: KVCache | None = None
        self._room = 0  # positions that the cache can hold
        self._read: list[int] = []  # the tokens that it holds
        self._turn: Turn | None = None  # the last one, until its answer stands in the messages

    @property
    def messages(self) -> list[dict[str, str]]:
        """All that was said, in order, the answer that is being made included."""
        said = [dict(message) for message in self._messages]
        if self._turn is not None and (self._turn.text or self._turn.finish_reason):
            said.append({"role": "assistant", "content": self._turn.text})
        return said

    @property
    def everything(self) -> list[dict[str, str]]:
        """The messages, those too that had to go and that the model no longer sees."""
        said = self.messages
        system = [m for m in said[:1] if m["role"] == "system"]
        return [*system, *map(dict, self._gone), *said[len(system) :]]

    def ask(self, text: str) -> Turn:
        """Say something; the answer is iterated over. It may be left at any time: what was said
        by then stays.

        Raises:
            UserError: the text is empty, or does not fit into the context by itself. The
                conversation is as it was.
        """
        self._settle()
        if not text.strip():
            raise UserError("the message is empty: expected at least one character.")
        question = {"role": "user", "content": text}
        messages, ids, gone = self._fitted([*self._messages, question])
        budget = min(self.max_new_tokens, self.context - len(ids) + 1)
        cache = self._cache_for(ids, len(ids) + budget - 1)
        known = min(cache.length, len(ids) - 1)  # the last token is always read: for its logits
        turn = Turn(
            self.llm.model,
            self.llm.tokenizer,
            ids,
            budget,
            sampling=self.sampling,
            generator=self.generator,
            eos_ids=self.llm.eos_ids,
            cache=cache,
        )
        turn.read_tokens, turn.forgotten = len(ids) - known, len(gone)
        turn.context = self.context
        turn.full_length = budget == self.max_new_tokens
        self._gone += gone
        self._messages, self._turn = messages, turn
        return turn

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
        self._gone = []

    def _settle(self) -> None:
        """Write down the answer of the last turn, as far as it came, and what the cache holds.

        An interrupted turn is settled like any other. A question that was never answered, not even
        by an end of sequence, is taken back.
        """
        turn, self._turn = self._turn, None
        if turn is None or self._cache is None:
            return
        turn.close()
        self._read = turn.token_ids[: self._cache.length]
        if turn.text or turn.finish_reason:
            self._messages.append({"role": "assistant", "content": turn.text})
        else:
            self._messages.pop()

    def _fitted(
        self, messages: list[dict[str, str]]
    ) -> tuple[list[dict[str, str]], list[int], list[dict[str, str]]]:
        """The messages that fit into the context, their tokens, and the messages that had to go."""
        ids = self.llm.message_ids(messages)
        # room for an answer, but never so much that there is none for what was said
        answer = min(self.max_new_tokens, self.context - int(KEPT * self.context) + 1)
        if len(ids) + answer - 1 <= self.context:
            return messages, ids, []
        system, rest = messages[:1], messages[1:]
        if system[0]["role"] != "system":
            system, rest = [], messages
        before = rest
        aim = min(int(KEPT * self.context), self.context - answer + 1)
        while len(ids) > aim and len(rest) > 1:
            rest = rest[1:]
            while len(rest) > 1 and rest[0]["role"] != "user":
                rest = rest[1:]
            ids = self.llm.message_ids([*system, *rest])
        if len(ids) > self.context:
            raise UserError(
                f"this message makes a prompt of {len(ids)} tokens, with the system's and what the "
                f"chat template adds, and the context holds {self.context}: say it in fewer words, "
                f"or in parts."
            )
        return [*system, *rest], ids, before[: len(before) - len(rest)]

    def _cache_for(self, ids: list[int], positions: int) -> KVCache:
        """The cache, cut back to the tokens that it has in common with a prompt, with room for
        `positions`; a new one, which holds nothing, where there is too little."""
        if self._cache is None or positions > self._room:
            larger = max(SMALLEST_CACHE, 2 * self._room, positions)
            room = min(larger, max(self.context, positions))
            grow = getattr(self._cache, "grow", None)
            if grow is not None:
                grow(room)
            else:  # none yet, or of a kind that can't: all is read again
                self._cache, self._read = self.llm.model.new_cache(1, room), []
            self._room = room
        assert self._cache is not None
        self._read = self._read[: common_beginning(self._read, ids)]  # first: less is never wrong
        self._cache.truncate(len(self._read))
        return self._cache


def check_messages(messages: Sequence[Message]) -> None:
    """Raise a `UserError` unless these are messages of a conversation.

    Raises:
        UserError: there is none, one lacks its role or its text, or the system speaks later than
            at first.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise UserError(
            f"messages is {type(messages).__name__}: expected a list of dicts with role and "
            f"content."
        )
    if not messages:
        raise UserError("there are no messages: expected at least one, of role user.")
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ROLES:
            raise UserError(
                f"message {number} is {message!r:.80}: expected a dict with role, one of "
                f"{', '.join(ROLES)}, and content."
            )
        content = message.get("content")
        if not isinstance(content, str) or (role == "user" and not content.strip()):
            raise UserError(
                f"message {number}, of role {role}, says {content!r}: expected text, at least one "
                f"character of it."
            )
        if role == "system" and number:
            raise UserError(
                f"message {number} is of role system: expected it first, or not at all."
            )


def common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with in common.

    >>> common_beginning([5, 6, 7], [5, 6, 8, 9])
    2
    """
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
