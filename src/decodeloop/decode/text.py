"""Text as it is generated: never half a character, never part of a stop string.

Built in lesson 08.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from decodeloop.decode.beam import Beam, beam_search
from decodeloop.decode.loop import FinishReason, Loop, Model, generate
from decodeloop.decode.sampling import Sampling
from decodeloop.errors import UserError

UNFINISHED = "\ufffd"  # what the bytes of half a character decode to


class Tokenizer(Protocol):
    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str: ...


class LanguageModel(Protocol):
    """What `stream` asks of a loaded model; `decodeloop.load` gives one."""

    @property
    def model(self) -> Model: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def eos_ids(self) -> Collection[int]: ...

    def prompt_ids(self, prompt: str, raw: bool = False) -> list[int]: ...


class TextStream:
    """Turn tokens into text piece by piece.

    A character may be spread over several tokens and is held back until it is whole; text that
    may be the beginning of a stop string is held back until it is not. `stopped` becomes true when
    a stop string is complete; neither it nor what follows it is ever given out.
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
        self._held = ""

    def push(self, token: int) -> str:
        """Take one more token; give the text that is now certain, often the empty string."""
        if self.stopped:
            return ""
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
        rest, self._held = rest + self._held, ""
        return rest

    def _pending_text(self) -> str:
        if not self._pending:
            return ""
        before = self._tokenizer.decode(self._context, skip_special=True)
        whole = self._tokenizer.decode(self._context + self._pending, skip_special=True)
        return whole[len(before) :]

    def _release(self, piece: str) -> str:
        text = self._held + piece
        found = [(at + len(s), at) for s in self._stop if (at := text.find(s)) >= 0]
        if found:  # the one complete first, so that it does not matter how the text is cut
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = max((overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`.

    >>> overlap("so on.\\n", "\\n\\n")
    1
    """
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextGeneration(Iterator[str]):
    """Pieces of text as they come, and afterwards what there is to know about them.

    `tokens`, `text`, `finish_reason`, `prompt_tokens`; `ttft_s` is the time to the first token,
    `itl_s` the times between tokens, in seconds. `tokens_per_s` is that of decoding alone.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        generator: torch.Generator | None = None,
        eos_ids: Collection[int] = (),
        stop: Sequence[str] = (),
        use_cache: bool = True,
        loop: Loop | None = None,
        text_stream: Callable[..., TextStream] = TextStream,
    ) -> None:
        self.prompt_tokens = len(prompt_ids)
        self.tokens: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.ttft_s: float | None = None
        self.itl_s: list[float] = []
        self._stream = text_stream(tokenizer, stop)
        self._piece = ""
        self._generation = generate(
            model,
            torch.tensor([list(prompt_ids)], dtype=torch.long),
            max_new_tokens,
            sampling=sampling,
            generator=generator,
            eos_ids=eos_ids,
            stop=self._take,
            use_cache=use_cache,
            loop=loop,
        )
        self._pieces = self._run()

    def __next__(self) -> str:
        return next(self._pieces)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second of decoding; None with fewer than two tokens."""
        return len(self.itl_s) / sum(self.itl_s) if self.itl_s else None

    @property
    def timing(self) -> str:
        """How many tokens, and how fast, in one line."""
        parts = [f"{len(self.tokens)} tokens"]
        if self.ttft_s is not None:
            parts.append(f"the first after {self.ttft_s:.2f} s")
        if self.tokens_per_s is not None:
            parts.append(f"then {self.tokens_per_s:.1f} tokens per second")
        return " · ".join(parts)

    def _take(self, token: int) -> bool:
        self._piece = self._stream.push(token)
        return self._stream.stopped

    def _run(self) -> Iterator[str]:
        clock = time.perf_counter()
        for token in self._generation:
            elapsed = time.perf_counter() - clock
            if self.ttft_s is None:
                self.ttft_s = elapsed
            else:
                self.itl_s.append(elapsed)
            self.tokens.append(token)
            if self._generation.finish_reason:
                self.finish_reason = self._generation.finish_reason
            if self._piece:
                self.text += self._piece
                yield self._piece
            clock = time.perf_counter()  # what the reader does with a piece is not our time
        self.finish_reason = self._generation.finish_reason
        rest = self._stream.finish()
        if self._stream.stopped:  # a stop string may have waited for the rest of a character
            self.finish_reason = "stop"
        if rest:
            self.text += rest
            yield rest


def stream(
    llm: LanguageModel,
    prompt: str,
    max_new_tokens: int = 256,
    *,
    raw: bool = False,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    stop: Sequence[str] = (),
    use_cache: bool = True,
    loop: Loop | None = None,
    text_stream: Callable[..., TextStream] = TextStream,
) -> TextGeneration:
    """Answer a prompt; the result is iterated over, and gives the text piece by piece.

    Args:
        llm: a loaded model, as `decodeloop.load` gives it.
        prompt: a message to the model, or, with `raw`, a text that it continues.
        stop: ends before any of these strings.
        loop: a loop of your own in the place of `decoding_loop`.
        text_stream: a class of your own in the place of `TextStream`.

    Raises:
        UserError: as `generate`; the prompt or a stop string is empty.
    """
    return TextGeneration(
        llm.model,
        llm.tokenizer,
        llm.prompt_ids(prompt, raw=raw),
        max_new_tokens,
        sampling=sampling,
        generator=generator,
        eos_ids=llm.eos_ids,
        stop=stop,
        use_cache=use_cache,
        loop=loop,
        text_stream=text_stream,
    )


@dataclass(frozen=True)
class BeamText:
    """A text found by beam search. It is known only at the end, so there is no stream of it.

    `score` is as in `Beam`; `seconds` is the time of the whole search.
    """

    prompt_tokens: int
    tokens: list[int]
    text: str
    finish_reason: FinishReason
    score: float | None
    seconds: float

    @property
    def timing(self) -> str:
        """How many tokens, and how fast, in one line."""
        return f"{len(self.tokens)} tokens by beam search in {self.seconds:.2f} s"


def search(
    llm: LanguageModel,
    prompt: str,
    max_new_tokens: int = 256,
    *,
    beams: int,
    length_penalty: float = 1.0,
    raw: bool = False,
    stop: Sequence[str] = (),
    beam_search: Callable[..., Beam | Sequence[int]] = beam_search,
    text_stream: Callable[..., TextStream] = TextStream,
) -> BeamText:
    """Answer a prompt by beam search.

    Args:
        stop: the text is cut before any of these strings; the search itself knows nothing of them.
        beam_search: one of your own in the place of the library's; it may give the tokens alone.

    Raises:
        UserError: as `beam_search`; the prompt or a stop string is empty.
    """
    ids = llm.prompt_ids(prompt, raw=raw)
    pieces = text_stream(llm.tokenizer, stop)
    clock = time.perf_counter()
    found = beam_search(
        llm.model,
        torch.tensor([ids], dtype=torch.long),
        max_new_tokens,
        beams,
        length_penalty,
        llm.eos_ids,
    )
    seconds = time.perf_counter() - clock
    if isinstance(found, Beam):
        tokens, reason, score = found.tokens, found.finish_reason, found.score
    else:
        tokens, score = [int(token) for token in found], None
        reason = "length" if len(tokens) == max_new_tokens else "eos"
    text = "".join(pieces.push(token) for token in tokens) + pieces.finish()
    return BeamText(len(ids), tokens, text, "stop" if pieces.stopped else reason, score, seconds)
