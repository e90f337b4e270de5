"""From a request to texts that an engine can make: tokens, a budget, how each is sampled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch

from decodeloop.decode import Constraint, Sampling, SamplingParts, TextStream
from decodeloop.decode import Sequence as Text
from decodeloop.decode.conversation import Message
from decodeloop.decode.sampling import SMALLEST
from decodeloop.decode.sequence import Pieces
from decodeloop.model import ModelConfig
from decodeloop.serve.complaints import bad
from decodeloop.serve.formats import Formats
from decodeloop.serve.protocol import MOST_TEXTS, ChatRequest, Common, CompletionRequest


class Tokenizer(Protocol):
    def encode(self, text: str, beginning: bool = False) -> list[int]: ...
    def decode(self, token_ids: Sequence[int], skip_special: bool = False) -> str: ...
    def token_bytes(self) -> list[bytes]: ...


class LanguageModel(Protocol):
    """What a server asks of a loaded model, besides the engine; `decodeloop.load` gives one."""

    @property
    def config(self) -> ModelConfig: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def eos_ids(self) -> Collection[int]: ...

    def message_ids(self, messages: Sequence[Message]) -> list[int]: ...


@dataclass(frozen=True)
class Speaker:
    """Who speaks: a model under the name that clients call it by, and the parts it speaks through,
    the library's or a learner's."""

    name: str
    llm: LanguageModel
    sampling_parts: SamplingParts = field(default_factory=SamplingParts)
    text_stream: Callable[..., Pieces] = TextStream

    @cached_property
    def formats(self) -> Formats:
        """What answers may be asked to be."""
        return Formats(self.llm.tokenizer.token_bytes)

    def texts(self, request: Common, longest: int) -> list[Text]:
        """The texts that a request asks for: `n` for each of its prompts.

        Args:
            longest: positions that a text may have.

        Raises:
            UserError: a prompt can't be read, or leaves no room for an answer; or what the answer
                must be can't be obeyed.
        """
        prompts = self._prompts(request)
        if len(prompts) * request.n > MOST_TEXTS:
            raise bad(
                f"{len(prompts)} prompts with n = {request.n} are more than {MOST_TEXTS} texts: "
                f"ask for fewer at once.",
                "n",
            )
        constraint = self.formats.constraint(request.response_format)
        texts: list[Text] = []
        for ids in prompts:
            if not ids:
                raise bad("the prompt has no tokens: expected at least one.", "prompt")
            room = longest - len(ids) + 1
            if room < 1:
                raise bad(
                    f"the prompt has {len(ids)} tokens, and a text may have {longest} positions: "
                    f"shorten it."
                )
            budget = room if request.budget is None else request.budget
            numbers = range(len(texts), len(texts) + request.n)
            texts += [self._text(request, ids, budget, number, constraint) for number in numbers]
        return texts

    def _prompts(self, request: Common) -> list[list[int]]:
        if isinstance(request, ChatRequest):
            return [self.llm.message_ids([m.as_message for m in request.messages])]
        assert isinstance(request, CompletionRequest)
        encode = self.llm.tokenizer.encode
        return [encode(p, beginning=True) if isinstance(p, str) else p for p in request.prompts]

    def _text(
        self,
        request: Common,
        ids: list[int],
        budget: int,
        number: int,
        constraint: Constraint | None,
    ) -> Text:
        if any(token >= self.llm.config.vocabulary for token in ids):
            raise bad(
                f"the prompt has token {max(ids)}: expected ids below "
                f"{self.llm.config.vocabulary}, the model's vocabulary.",
                "prompt",
            )
        generator = torch.Generator()
        if request.seed is None:
            generator.seed()
        else:
            generator.manual_seed((request.seed + number) % 2**64)
        return Text(
            torch.tensor([ids], dtype=torch.long),
            budget,
            sampling=self._sampling(request),
            generator=generator,
            eos_ids=() if request.ignore_eos else self.llm.eos_ids,
            text_stream=self.text_stream(self.llm.tokenizer, request.stops),
            constraint=constraint,
            best=forecasts_of(request),
        )

    def _sampling(self, request: Common) -> Sampling:
        bias = {int(token): value for token, value in request.logit_bias.items()}
        for token in bias:
            if token >= self.llm.config.vocabulary:
                raise bad(
                    f"logit_bias names token {token}: expected ids below "
                    f"{self.llm.config.vocabulary}, the model's vocabulary.",
                    "logit_bias",
                )
        t = request.temperature
        sampling = Sampling(
            t if t >= SMALLEST else 0.0,  # what fp32 can't divide by is greedy
            request.top_k,
            None if request.top_p == 1.0 else request.top_p,
            request.min_p or None,
            request.repetition_penalty,
            request.frequency_penalty,
            request.presence_penalty,
            bias,
        )
        return replace(sampling, parts=self.sampling_parts)


def forecasts_of(request: Common) -> int | None:
    """How many best tokens the log-probabilities are wanted of; None if they are not."""
    if isinstance(request, ChatRequest):
        return (request.top_logprobs or 0) if request.logprobs else None
    return request.logprobs if isinstance(request, CompletionRequest) else None
