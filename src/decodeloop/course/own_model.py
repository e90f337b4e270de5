"""A language model whose parts are the learner's, as far as they go."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from decodeloop import decode, model, serve
from decodeloop.course.guarding import Part
from decodeloop.course.own_engine import EngineParts


class OwnDecoder:
    """The shape of `Decoder`, with the learner's way through the layers.

    All else is the decoder's own: an answer may take its embedding, its layers and its norm. Rows
    with positions or masks of their own, which only batches need, go the library's way, through the
    learner's parts.
    """

    def __init__(
        self,
        decoder: model.Decoder,
        hidden_states: Callable[[model.Decoder, Tensor], Tensor] | None,
        hidden_with_cache: Callable[[model.Decoder, Tensor, Any], Tensor] | None,
    ) -> None:
        self.decoder = decoder
        self._hidden_states = hidden_states
        self._hidden_with_cache = hidden_with_cache

    def __call__(self, token_ids: Tensor, cache: Any = None) -> Tensor:
        return self.head(self.hidden(token_ids, cache))

    def hidden(
        self,
        token_ids: Tensor,
        cache: Any = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        token_ids = token_ids.to(self.device)
        if positions is None and mask is None:
            if cache is None and self._hidden_states:
                return self._hidden_states(self.decoder, token_ids)
            if cache is not None and self._hidden_with_cache:
                return self._hidden_with_cache(self.decoder, token_ids, cache)
        return self.decoder.hidden(token_ids, cache, positions, mask)

    def __getattr__(self, name: str) -> Any:
        if name == "decoder":  # a copy asks before it has one
            raise AttributeError(name)
        return getattr(self.decoder, name)


@dataclass(frozen=True)
class OwnModel:
    """A language model whose parts are the learner's, as far as they go."""

    name: str
    model: OwnDecoder
    tokenizer: Any
    eos_ids: Collection[int]
    parts: tuple[Part, ...]
    sampling_parts: decode.SamplingParts
    loop: decode.loop.Loop
    loop_without_cache: decode.loop.Loop
    text_stream: Callable[..., Any]
    beam_search: Callable[..., Any]
    engine_parts: EngineParts
    prompt_ids: Callable[..., list[int]] = field(repr=False)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def stream(
        self,
        prompt: str,
        max_new_tokens: int = 256,
        *,
        sampling: decode.Sampling | None = None,
        use_cache: bool = True,
        **options: Any,
    ) -> decode.TextGeneration:
        """Answer a prompt, piece by piece; options as those of `decodeloop.decode.stream`."""
        return decode.stream(
            self,
            prompt,
            max_new_tokens,
            sampling=replace(sampling or decode.Sampling(), parts=self.sampling_parts),
            loop=self.loop if use_cache else self.loop_without_cache,
            text_stream=self.text_stream,
            **options,
        )

    def search(self, prompt: str, max_new_tokens: int = 256, **options: Any) -> decode.BeamText:
        """Answer a prompt by beam search; options as those of `decodeloop.decode.search`."""
        return decode.search(
            self,
            prompt,
            max_new_tokens,
            beam_search=self.beam_search,
            text_stream=self.text_stream,
            **options,
        )

    def engine(self, **limits: Any) -> serve.Engine:
        """An engine for many texts at once; limits as those of `decodeloop.serve.Engine`.

        It goes the library's way through the learner's layers, since its texts share one row.
        """
        return self.engine_parts.engine(self.model, **limits)

    def report(self) -> str:
        """Part by part, whose it is; the engine's, once one of them was written."""
        served = self.engine_parts.by_name()
        reached = any(p.whose == "yours" or p.failed for p in self.parts if p.name in served)
        parts = [part for part in self.parts if reached or part.name not in served]
        lines = [f"{'part':<26}whose"]
        for part in parts:
            note = f"   yours failed: {part.failed}" if part.failed else ""
            lines.append(f"{part.name:<26}{part.whose}{note}")
        own = sum(part.whose == "yours" for part in parts)
        return "\n".join([*lines, f"{own} of {len(parts)} parts are yours"])

    def used(self) -> str:
        """Which of the learner's parts have run so far."""
        ran = [p.name for p in self.parts if p.calls]
        idle = [p.name for p in self.parts if p.whose == "yours" and not p.calls]
        text = f"yours that ran: {', '.join(ran) or 'none'}"
        return text + (f"; not needed for this: {', '.join(idle)}" if idle else "")


__all__ = ["OwnDecoder", "OwnModel"]
