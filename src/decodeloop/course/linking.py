"""The learner's answers linked with each other and with the library, into one model.

Each answer stands in a namespace of its own; they are linked by name, and handed to the decoder and
to the loop as arguments. Where there is none, the library's function stands in, and is handed the
learner's for what it calls. Nothing is patched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Generator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from decodeloop import decode, model
from decodeloop.course.answers import Namespace, run_answer
from decodeloop.course.guarding import Part, guarded
from decodeloop.course.on_device import judge_here
from decodeloop.course.own_engine import engine_parts
from decodeloop.course.own_model import OwnDecoder, OwnModel
from decodeloop.course.surroundings import undisturbed
from decodeloop.decode.loop import FinishReason
from decodeloop.errors import UserError
from decodeloop.exercises.exercise import Candidate
from decodeloop.exercises.finding import all_exercises, find
from decodeloop.model.config import check_llama
from decodeloop.model.feed_forward import feed_forward

if TYPE_CHECKING:
    from decodeloop.loading import LanguageModel


@functools.cache
def part_names() -> tuple[str, ...]:
    """The exercises that a model can speak through, in the order of the lessons."""
    return tuple(name for name, exercise in all_exercises().items() if exercise.part)


def assemble(
    llm: LanguageModel,
    sources: Mapping[str, tuple[str, str]],
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> OwnModel:
    """Link the answers that still pass their check, and build the model out of them.

    Args:
        llm: the model that has the weights.
        sources: part → its source and the file that it is from.
        unreadable: part → why there is no source of it, though there should be one.
    """
    library: Namespace = {name: e.library for name, e in all_exercises().items()}
    parts = {name: Part(name, "the library's") for name in part_names()}
    namespaces: dict[str, Namespace] = {}
    for name, reason in unreadable.items():
        parts[name].failed = reason
    for name, (source, filename) in sources.items():
        try:
            with undisturbed():
                namespaces[name] = run_answer(name, source, filename, library)
            verdict = judge_here(namespaces[name][name], find(name))
            if verdict.state != "right":
                raise UserError(f"it no longer passes its check: {verdict.what or verdict.state}")
            parts[name].whose = "yours"
        except UserError as error:
            parts[name].failed = str(error)
            namespaces.pop(name, None)
    own = {name: guarded(n[name], parts[name]) for name, n in namespaces.items()}
    return link(llm, own, namespaces, tuple(parts.values()))


def link(
    llm: LanguageModel,
    own: Mapping[str, Candidate],
    namespaces: Mapping[str, Namespace],
    parts: tuple[Part, ...],
) -> OwnModel:
    """Every part, from the inside out: the learner's, or the library's with the learner's inside.

    `namespaces` are those that the learner's parts were run in: they are linked last.

    Raises:
        UserError: the model is none of the Llama family, which is what the answers compute.
    """
    check_llama(llm.config, "what you wrote")

    def choose(name: str, library: Candidate) -> Candidate:
        return own.get(name, library)

    softmax = choose("softmax", model.softmax)
    causal_mask = on_device(choose("causal_mask", model.causal_mask))
    attention = choose("attention", functools.partial(model.attention, softmax=softmax))
    grouped = choose(
        "grouped_query_attention",
        functools.partial(model.grouped_query_attention, attention=attention),
    )
    attends = {"softmax", "causal_mask", "attention", "grouped_query_attention"} & own.keys()
    own_attention = grouped if attends else None  # None: the library's, which needs no mask
    swiglu = own.get("swiglu")
    block_parts = model.BlockParts(
        rms_norm=choose("rms_norm", model.rms_norm),
        split_heads=choose("split_heads", model.split_heads),
        merge_heads=choose("merge_heads", model.merge_heads),
        rope=choose("rope", model.rope),
        feed_forward=through_weights(swiglu) if swiglu else feed_forward,
    )
    block = choose("block", functools.partial(model.block, parts=block_parts))
    cache = choose(
        "ContiguousKVCache",
        functools.partial(
            model.ContiguousKVCache, attention=own_attention, causal_mask=causal_mask
        ),
    )
    no_cache = functools.partial(model.NoCache, attention=own_attention, causal_mask=causal_mask)
    decoder = llm.model.with_parts(model.Parts(block, block_parts.rms_norm, cache, no_cache))
    own_decoder = OwnDecoder(decoder, own.get("hidden_states"), own.get("hidden_with_cache"))

    prefill = ids_on_device(choose("prefill", decode.prefill))
    step = ids_on_device(choose("decode_step", decode.decode_step))
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
    engine = engine_parts(choose)
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
        **{name: part for name, part in engine.by_name().items() if name in part_names()},
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
        engine,
        llm.prompt_ids,
    )


def on_device(causal_mask: Candidate) -> Candidate:
    """Lesson 01's mask knows of no device; the decoder asks for one."""

    def mask(T: int, S: int | None = None, device: torch.device | str | None = None) -> Tensor:
        made: Tensor = causal_mask(T, S)
        return made.to(device) if device is not None else made

    return mask


def ids_on_device(phase: Candidate) -> Candidate:
    """The loop draws on the CPU; an answer that looks ids up itself finds them with the model."""

    def run(own_model: OwnDecoder, token_ids: Tensor, cache: Any) -> Tensor:
        logits: Tensor = phase(own_model, token_ids.to(own_model.device), cache)
        return logits

    return run


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


__all__ = ["assemble", "part_names"]
