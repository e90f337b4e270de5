"""Text as it is generated, and what there is to know about it. Built in lesson 08."""

from __future__ import annotations

import time
from collections import abc
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from decodeloop.decode.beam import Beam, beam_search
from decodeloop.decode.constrained import Constraint
from decodeloop.decode.loop import Loop, Model, Speculates, tokens_of
from decodeloop.decode.sampling import Sampling
from decodeloop.decode.sequence import FinishReason, Pieces, Sequence, token_budget
from decodeloop.decode.text_stream import TextStream, Tokenizer
from decodeloop.model import KVCache


class LanguageModel(Protocol):
    """What `stream` asks of a loaded model; `decodeloop.load` gives one."""

    @property
    def model(self) -> Model: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def eos_ids(self) -> Collection[int]: ...

    def prompt_ids(self, prompt: str, raw: bool = False) -> list[int]: ...


class TextGeneration(Iterator[str]):
    """Pieces of text as they come, and afterwards what there is to know about them.

    `tokens`, `text`, `finish_reason`, `prompt_tokens`; `ttft_s` is the time to the first token,
    `itl_s` the times between tokens, in seconds. `tokens_per_s` is that of decoding alone.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        prompt_ids: abc.Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        generator: torch.Generator | None = None,
        eos_ids: Collection[int] = (),
        stop: abc.Sequence[str] = (),
        use_cache: bool = True,
        cache: KVCache | None = None,
        loop: Loop | None = None,
        speculation: Speculates | None = None,
        text_stream: Callable[..., Pieces] = TextStream,
        constraint: Constraint | None = None,
    ) -> None:
        ids = torch.tensor([list(prompt_ids)], dtype=torch.long)
        self._sequence = Sequence(
            ids,
            token_budget(model.config, ids, max_new_tokens),
            sampling=sampling,
            generator=generator,
            eos_ids=eos_ids,
            text_stream=text_stream(tokenizer, stop),
            constraint=constraint,
        )
        self.prompt_tokens = len(prompt_ids)
        self.ttft_s: float | None = None
        self.itl_s: list[float] = []
        self._pieces = self._run(
            tokens_of(
                model,
                self._sequence,
                use_cache=use_cache,
                cache=cache,
                loop=loop,
                speculation=speculation,
            )
        )

    def __next__(self) -> str:
        return next(self._pieces)

    def read(self) -> str:
        """Let it come to its end, and give the whole text."""
        for _ in self:
            pass
        return self.text

    def close(self) -> None:
        """Stop here: no further token is made, and what has come by now stays."""
        self._pieces.close()

    def _ipython_display_(self) -> None:  # at the end of a cell it is shown as it comes
        print(self.text, end="", flush=True)
        for piece in self:
            print(piece, end="", flush=True)
        print()

    @property
    def token_ids(self) -> list[int]:
        """Those of the prompt, and those that were made."""
        ids: list[int] = self._sequence.token_ids[0].tolist()
        return ids

    @property
    def tokens(self) -> list[int]:
        return self._sequence.tokens

    @property
    def text(self) -> str:
        return self._sequence.text

    @property
    def finish_reason(self) -> FinishReason | None:
        return self._sequence.finish_reason

    @property
    def complete(self) -> bool:
        """Whether the text is all that the constraint asks for; true without one."""
        return self._sequence.complete

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

    def _run(self, tokens: Iterator[int]) -> Generator[str, None, None]:
        shown = 0  # characters
        clock = time.perf_counter()
        for _ in tokens:
            elapsed = time.perf_counter() - clock
            if self.ttft_s is None:
                self.ttft_s = elapsed
            else:
                self.itl_s.append(elapsed)
            if piece := self.text[shown:]:
                shown += len(piece)
                yield piece
            clock = time.perf_counter()  # what the reader does with a piece is not our time
        if rest := self.text[shown:]:  # held back until an end-of-sequence token came
            yield rest


def stream(
    llm: LanguageModel,
    prompt: str,
    max_new_tokens: int = 256,
    *,
    raw: bool = False,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    stop: abc.Sequence[str] = (),
    use_cache: bool = True,
    cache: KVCache | None = None,
    loop: Loop | None = None,
    speculation: Speculates | None = None,
    text_stream: Callable[..., Pieces] = TextStream,
    constraint: Constraint | None = None,
) -> TextGeneration:
    """Answer a prompt; the result is iterated over, and gives the text piece by piece.

    Args:
        llm: a loaded model, as `decodeloop.load` gives it.
        prompt: a message to the model, or, with `raw`, a text that it continues.
        stop: ends before any of these strings.
        cache: one that has read a beginning of the prompt's token ids; as in `generate`.
        loop: a loop of your own in the place of `decoding_loop`.
        speculation: a draft that guesses tokens; as in `generate`.
        text_stream: a class of your own in the place of `TextStream`.
        constraint: what the answer must match; as in `generate`.

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
        cache=cache,
        loop=loop,
        speculation=speculation,
        text_stream=text_stream,
        constraint=constraint,
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
    stop: abc.Sequence[str] = (),
    beam_search: Callable[..., Beam | abc.Sequence[int]] = beam_search,
    text_stream: Callable[..., Pieces] = TextStream,
) -> BeamText:
    """Answer a prompt by beam search.

    Args:
        stop: the text is cut before any of these strings; the search itself knows nothing of them.
        beam_search: one of your own in the place of the library's; it may give the tokens alone.

    Raises:
        UserError: as `beam_search`; the prompt or a stop string is empty.
    """
    prompt_ids = torch.tensor([llm.prompt_ids(prompt, raw=raw)], dtype=torch.long)
    pieces = text_stream(llm.tokenizer, stop)
    clock = time.perf_counter()
    found = beam_search(llm.model, prompt_ids, max_new_tokens, beams, length_penalty, llm.eos_ids)
    seconds = time.perf_counter() - clock
    tokens = found.tokens if isinstance(found, Beam) else [int(token) for token in found]
    sequence = Sequence(prompt_ids, max(max_new_tokens, len(tokens)), text_stream=pieces)
    for token in tokens:
        if sequence.take(token):
            break
    reason = sequence.end(found.finish_reason if isinstance(found, Beam) else "eos")
    score = found.score if isinstance(found, Beam) else None
    return BeamText(prompt_ids.shape[1], tokens, sequence.text, reason, score, seconds)
