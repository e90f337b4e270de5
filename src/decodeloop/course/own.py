"""The real model, speaking through what the learner wrote.

The accepted answers are linked with each other by name, each in a namespace of its own, and handed
to the decoder and to the loop as arguments; where there is none, the library's function stands in,
and is handed the learner's for what it calls. Nothing is patched.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import traceback
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from decodeloop import decode, model
from decodeloop.course.answers import Namespace, run_answer
from decodeloop.course.judge import judge
from decodeloop.course.progress import ANSWERS
from decodeloop.course.session import current
from decodeloop.decode.loop import FinishReason
from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Candidate
from decodeloop.exercises.finding import all_exercises, find

if TYPE_CHECKING:
    from decodeloop.loading import LanguageModel

# What may speak, from the inside out: the exercises of lessons 00 to 08 that a generation can use.
PARTS = (
    "softmax",
    "causal_mask",
    "attention",
    "split_heads",
    "merge_heads",
    "grouped_query_attention",
    "rms_norm",
    "rope",
    "swiglu",
    "block",
    "hidden_states",
    "generate_without_cache",
    "ContiguousKVCache",
    "hidden_with_cache",
    "prefill",
    "decode_step",
    "greedy",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "sample",
    "decoding_loop",
    "TextStream",
    "beam_search",
)


class PartFailed(UserError):
    """A part of the learner's own raised something while the model was speaking through it."""


@dataclass
class Part:
    """One part: whose it is, and how it went."""

    name: str
    whose: Literal["yours", "the library's"]
    failed: str = ""  # why an answer that was once accepted is not used
    calls: int = 0  # of yours, in this process


class OwnDecoder:
    """The shape of `Decoder`, with the learner's way through the layers.

    Rows with positions or masks of their own, which only batches need, go the library's way,
    through the learner's parts.
    """

    def __init__(
        self,
        decoder: model.Decoder,
        hidden_states: Callable[[model.Decoder, Tensor], Tensor] | None,
        hidden_with_cache: Callable[[model.Decoder, Tensor, Any], Tensor] | None,
    ) -> None:
        self.config = decoder.config
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
        token_ids = token_ids.to(self.decoder.device)
        if positions is None and mask is None:
            if cache is None and self._hidden_states:
                return self._hidden_states(self.decoder, token_ids)
            if cache is not None and self._hidden_with_cache:
                return self._hidden_with_cache(self.decoder, token_ids, cache)
        return self.decoder.hidden(token_ids, cache, positions, mask)

    def head(self, hidden: Tensor) -> Tensor:
        return self.decoder.head(hidden)

    def new_cache(self, batch: int, max_length: int) -> Any:
        return self.decoder.new_cache(batch, max_length)


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
    prompt_ids: Callable[..., list[int]] = field(repr=False)

    @property
    def device(self) -> torch.device:
        return self.model.decoder.device

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

    def report(self) -> str:
        """Part by part, whose it is."""
        lines = [f"{'part':<26}whose"]
        for part in self.parts:
            note = f"   yours failed: {part.failed}" if part.failed else ""
            lines.append(f"{part.name:<26}{part.whose}{note}")
        own = sum(part.whose == "yours" for part in self.parts)
        return "\n".join([*lines, f"{own} of {len(self.parts)} parts are yours"])

    def used(self) -> str:
        """Which of the learner's parts have run so far."""
        ran = [p.name for p in self.parts if p.calls]
        idle = [p.name for p in self.parts if p.whose == "yours" and not p.calls]
        text = f"yours that ran: {', '.join(ran) or 'none'}"
        return text + (f"; not needed for this: {', '.join(idle)}" if idle else "")


def mine(llm: LanguageModel, work: Path | None = None, *, quiet: bool = False) -> OwnModel:
    """The model through the learner's accepted answers; prints whose each part is.

    Args:
        llm: a loaded model, as `decodeloop.load` gives it.
        work: the work folder; if not given, that of the notebook, and what was accepted in the
            notebook itself.
        quiet: print nothing; `.report()` says it.
    """
    own = assemble(llm, accepted_sources(work))
    if not quiet:
        print(own.report())
    return own


def accepted_sources(work: Path | None) -> dict[str, tuple[str, str]]:
    """Name → (source, file name) of each accepted answer that is a part."""
    session = current()
    work = work or session.work
    found = {}
    if work is not None:
        for name in PARTS:
            path = work / ANSWERS / f"{name}.py"
            if path.is_file():
                found[name] = (path.read_text("utf-8"), str(path))
    for name, source in session.accepted.items():
        if name in PARTS and name not in found:
            found[name] = (source, f"<your {name}>")
    return found


def assemble(llm: LanguageModel, sources: Mapping[str, tuple[str, str]]) -> OwnModel:
    """Link the answers that still pass their check, and build the model out of them."""
    library: Namespace = {name: e.library for name, e in all_exercises().items()}
    parts = {name: Part(name, "the library's") for name in PARTS}
    namespaces: dict[str, Namespace] = {}
    for name, (source, filename) in sources.items():
        try:
            namespaces[name] = run_answer(name, source, filename, library)
            verdict = judge(namespaces[name][name], find(name))
            if verdict.state != "right":
                raise UserError(f"it no longer passes its check: {verdict.what or verdict.state}")
            parts[name].whose = "yours"
        except UserError as error:
            parts[name].failed = str(error)
            namespaces.pop(name, None)
    own = {name: guarded(n[name], parts[name]) for name, n in namespaces.items()}
    return build(llm, own, namespaces, tuple(parts.values()))


def build(
    llm: LanguageModel,
    own: Mapping[str, Candidate],
    namespaces: Mapping[str, Namespace],
    parts: tuple[Part, ...],
) -> OwnModel:
    """Every part, from the inside out: the learner's, or the library's with the learner's inside.

    `namespaces` are those that the learner's parts were run in: they are linked last.
    """

    def choose(name: str, library: Candidate) -> Candidate:
        return own.get(name, library)

    softmax = choose("softmax", model.softmax)
    causal_mask = on_device(choose("causal_mask", model.causal_mask))
    attention = choose("attention", functools.partial(model.attention, softmax=softmax))
    grouped = choose(
        "grouped_query_attention",
        functools.partial(model.grouped_query_attention, attention=attention),
    )
    swiglu = own.get("swiglu")
    block_parts = model.BlockParts(
        rms_norm=choose("rms_norm", model.rms_norm),
        split_heads=choose("split_heads", model.split_heads),
        merge_heads=choose("merge_heads", model.merge_heads),
        rope=choose("rope", model.rope),
        **({"feed_forward": through_weights(swiglu)} if swiglu else {}),
    )
    block = choose("block", functools.partial(model.block, parts=block_parts))
    cache = choose(
        "ContiguousKVCache",
        functools.partial(model.ContiguousKVCache, attention=grouped, causal_mask=causal_mask),
    )
    no_cache = functools.partial(model.NoCache, attention=grouped, causal_mask=causal_mask)
    decoder = llm.model.with_parts(model.Parts(block, block_parts.rms_norm, cache, no_cache))
    own_decoder = OwnDecoder(decoder, own.get("hidden_states"), own.get("hidden_with_cache"))

    prefill = choose("prefill", decode.prefill)
    step = choose("decode_step", decode.decode_step)
    loop = choose(
        "decoding_loop",
        functools.partial(decode.decoding_loop, prefill=prefill, decode_step=step),
    )
    beam_search = choose(
        "beam_search", functools.partial(decode.beam_search, prefill=prefill, decode_step=step)
    )
    sampling_names = decode.SamplingParts.__dataclass_fields__
    sampling_parts = decode.SamplingParts(
        **{name: choose(name, getattr(decode, name)) for name in sampling_names}
    )
    uncached = own.get("generate_without_cache")
    text_stream = choose("TextStream", decode.TextStream)

    linked = {
        "softmax": softmax,
        "causal_mask": causal_mask,
        "attention": attention,
        "split_heads": block_parts.split_heads,
        "merge_heads": block_parts.merge_heads,
        "grouped_query_attention": grouped,
        "rms_norm": block_parts.rms_norm,
        "rope": block_parts.rope,
        "swiglu": choose("swiglu", model.swiglu),
        "block": block,
        "ContiguousKVCache": cache,
        "prefill": prefill,
        "decode_step": step,
        **{name: getattr(sampling_parts, name) for name in sampling_names},
        "decoding_loop": loop,
        "TextStream": text_stream,
        "beam_search": beam_search,
    }
    for name, namespace in namespaces.items():
        for other, function in linked.items():
            if other != name and namespace.get(other) is find(other).library:
                namespace[other] = function  # a helper of this name in the cell itself stays
    return OwnModel(
        llm.name,
        own_decoder,
        llm.tokenizer,
        llm.eos_ids,
        parts,
        sampling_parts,
        without_gradients(loop),
        without_gradients(simplest_loop(uncached) if uncached else decode.loop_without_cache),
        text_stream,
        torch.inference_mode()(beam_search),
        llm.prompt_ids,
    )


def on_device(causal_mask: Candidate) -> Candidate:
    """Lesson 01's mask knows of no device; the decoder asks for one."""

    def mask(T: int, S: int | None = None, device: torch.device | str | None = None) -> Tensor:
        made: Tensor = causal_mask(T, S)
        return made.to(device) if device is not None else made

    return mask


def through_weights(swiglu: Candidate) -> Callable[[Tensor, model.FeedForward], Tensor]:
    """Lesson 03's `swiglu` takes weights; the block has modules that hold them."""

    def feed_forward(x: Tensor, layer: model.FeedForward) -> Tensor:
        gated: Tensor = swiglu(x, layer.gate.weight, layer.up.weight, layer.down.weight)
        return gated

    return feed_forward


def simplest_loop(generate_without_cache: Candidate) -> decode.loop.Loop:
    """Lesson 05's loop is greedy and knows of no ends: those are looked for here."""

    def loop(
        own_model: OwnDecoder,
        token_ids: Tensor,
        max_new_tokens: int,
        choose: Callable[..., Tensor],
        eos_ids: Collection[int] = (),
        stop: Callable[[int], bool] | None = None,
    ) -> Generator[int, None, FinishReason]:
        for token in generate_without_cache(own_model, token_ids, max_new_tokens):
            if token in eos_ids:
                return "eos"
            stops = stop is not None and stop(token)
            yield token
            if stops:
                return "stop"
        return "length"

    return loop


def without_gradients(loop: decode.loop.Loop) -> decode.loop.Loop:
    """The library's phases run in inference mode; so must all that shares a cache with them."""

    @torch.inference_mode()
    def run(*args: Any, **kwargs: Any) -> Generator[int, None, FinishReason]:
        return (yield from loop(*args, **kwargs))

    return run


def guarded(answer: Candidate, part: Part) -> Candidate:
    """The answer, which says its name when it fails, and counts how often it is called."""
    if isinstance(answer, type):
        return guarded_class(answer, part)
    if inspect.isgeneratorfunction(answer):

        @functools.wraps(answer)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            part.calls += 1
            try:
                return (yield from answer(*args, **kwargs))
            except Exception as error:
                raise told(error, part, answer) from None

        return generate

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        part.calls += 1
        try:
            return answer(*args, **kwargs)
        except Exception as error:
            raise told(error, part, answer) from None

    return call


def guarded_class(answer: type, part: Part) -> type:
    """A subclass whose methods and properties are guarded."""
    members: dict[str, Any] = {}
    for name, member in vars(answer).items():
        if inspect.isfunction(member):
            members[name] = guarded(member, part)
        elif isinstance(member, property) and member.fget:
            members[name] = property(guarded(member.fget, part), member.fset)
    return type(answer.__name__, (answer,), members)


def told(error: Exception, part: Part, answer: Candidate) -> PartFailed:
    """The error as one sentence that names the part, and its line; the innermost part says it."""
    if isinstance(error, PartFailed):  # a part inside it has said it
        return error
    frames = traceback.extract_tb(error.__traceback__)
    code = inspect.unwrap(answer).__code__
    own = [f for f in frames if f.filename == code.co_filename]
    where = ""
    if own:
        line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()
        where = f" at line {own[-1].lineno} of {own[-1].filename}: {line}"
    message = " ".join(str(error).split()) or "no message"
    return PartFailed(
        f"your part {part.name} failed: {type(error).__name__}: {message}{where}; check it again "
        f"in lesson {find(part.name).lesson[:2]}, or move its file out of mine/ to go on with the "
        f"library's."
    )


__all__ = ["PARTS", "OwnModel", "Part", "PartFailed", "assemble", "mine"]
