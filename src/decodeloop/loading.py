"""`load`: a name or a path becomes a language model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from decodeloop.assembling import QUANTIZED, decoder_from, quantized_decoder_from
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.compress import QuantizedKVCache
from decodeloop.decode import Sampling, TextGeneration
from decodeloop.decode.conversation import Message, check_messages
from decodeloop.devices import pick_device
from decodeloop.dtypes import dtype_name, torch_dtype
from decodeloop.errors import ModelFileError, UserError
from decodeloop.finding import found
from decodeloop.kernels import fast, obstacle
from decodeloop.kernels.known import not_in_kernels
from decodeloop.model import Decoder, ModelConfig

DTYPES = ("fp32", "bf16", "fp16", *QUANTIZED)  # what weights can be
CACHE_BITS = {"int8": 8, "int4": 4}  # what keys and values can be besides
COMPILED_DTYPES = ("fp32", *QUANTIZED)  # those that there are kernels for


@dataclass(frozen=True)
class LanguageModel:
    """A decoder with its tokenizer: what is needed to turn text into text."""

    name: str
    config: ModelConfig
    tokenizer: Tokenizer
    model: Decoder
    eos_ids: tuple[int, ...]  # any of these ends a text

    @property
    def device(self) -> torch.device:
        return self.model.device

    def prompt_ids(self, prompt: str, raw: bool = False) -> list[int]:
        """The token ids of a prompt, as a chat message, or `raw`, as text to be continued.

        Raises:
            UserError: the prompt is empty.
        """
        if not prompt:
            raise UserError("the prompt is empty: expected at least one character.")
        if raw:
            return self.tokenizer.encode(prompt, beginning=True)
        return self.message_ids([{"role": "user", "content": prompt}])

    def message_ids(self, messages: Sequence[Message]) -> list[int]:
        """The token ids of a conversation, up to where the model answers.

        Raises:
            UserError: a message is none (a dict with role and content), or the model can't chat.
        """
        check_messages(messages)
        return self.tokenizer.encode(self.tokenizer.chat(messages))

    def chat(
        self,
        messages: Sequence[Message],
        max_new_tokens: int = 256,
        *,
        sampling: Sampling | None = None,
        generator: torch.Generator | None = None,
        stop: Sequence[str] = (),
    ) -> TextGeneration:
        """Answer a conversation. At the end of a notebook's cell the answer appears as it is made;
        elsewhere iterate over it, or take `.read()`.

        Each call reads all of it; a `decode.Conversation` keeps what was read.

        Args:
            messages: dicts with ``role`` (system, user or assistant) and ``content``; or one text.

        Raises:
            UserError: as `message_ids` and `generate`.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return TextGeneration(
            self.model,
            self.tokenizer,
            self.message_ids(messages),
            max_new_tokens,
            sampling=sampling,
            generator=generator,
            eos_ids=self.eos_ids,
            stop=stop,
        )


def load(
    name_or_path: str | Path = "smollm2-135m",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    compiled: bool | None = None,
    cache_dtype: str | None = None,
) -> LanguageModel:
    """Load a language model.

    What the weights are and what computes are two choices.

    Args:
        name_or_path: a name that the course knows (``smollm2-135m``, fetched at first use;
            ``small``, which comes with the course and knows Shakespeare alone); a ``.gguf`` file of
            Llama or a relative (F32, F16, Q8_0, Q4_1, Q4_0), or a part of one; a folder with
            ``config.json`` and safetensors; or a hub id (``owner/name``), whose folder is fetched,
            once. Relatives are Mistral, Qwen 2 and 3, SmolLM 3; with experts, and as folders alone,
            Mixtral and Qwen3-MoE.
        device: where to; ``DECODELOOP_DEVICE``, else the best there is, if not given.
        dtype: what the weights are: ``fp32`` (if not given, and a folder is not quantized),
            ``bf16``, ``fp16``; ``int8``, quantized to 8 bits with a scale for each row, while all
            else stays fp32; ``w8a8``, int8 with the inputs of the products in 8 bits too, a scale
            for each token: less exact, and the fastest for many texts at once; or ``int4``, 4 bits
            with a scale for each group of 32 weights, and 8-bit inputs: a seventh of fp32's bytes,
            and the fastest for one text. PyTorch's types and their names are understood.
        compiled: True computes by kernels (`decodeloop.kernels`): with fp32 weights the same
            tokens, several times as fast. They are for fp32, int8, w8a8 and int4 on the CPU, and
            need Numba. False is PyTorch alone. If not given, kernels compute where they can; where
            Numba alone is missing, a warning says so.
        cache_dtype: what keys and values are kept as: ``int8`` or ``int4``, a quarter and a seventh
            of fp32's bytes (`compress.QuantizedKVCache`); as they are computed, if not given.

    Raises:
        UserError: the name or the type is unknown, kernels were asked for where there are none, or
            a fetch fails.
        ModelFileError: the file or folder is missing, damaged or not supported.
    """
    where = pick_device(device)
    form = form_of(where, dtype, compiled, cache_dtype)  # bad values are refused before a fetch
    source = found(name_or_path, form.dtype)
    if dtype is None and source.dtype is not None:
        form = form_of(where, source.dtype, compiled, cache_dtype)
    with enough_memory(source.path):
        model = decoder_of(source.read(form.dtype), source.config, source.path, form)
    name, eos_ids = str(name_or_path), tuple(source.eos_ids)
    return LanguageModel(name, source.config, source.tokenizer, model, eos_ids)


@dataclass(frozen=True)
class Form:
    """In what form a model is wanted."""

    device: torch.device
    dtype: str  # one of DTYPES
    compiled: bool
    cache_bits: int | None = None  # as it computes, if none
    insists: bool = False  # compiled=True was asked for


def form_of(
    device: torch.device, dtype: object, compiled: bool | None, cache_dtype: object = None
) -> Form:
    """The form that was asked for, with what was left open decided.

    Raises:
        UserError: the type is unknown, or kernels were asked for where there are none.
    """
    name = "fp32" if dtype is None else dtype_name(dtype, DTYPES)
    bits = None
    if cache_dtype is not None:
        bits = CACHE_BITS[dtype_name(cache_dtype, CACHE_BITS, "cache_dtype")]
    has_kernels = name in COMPILED_DTYPES
    if compiled is None:  # without Numba `fast` warns, and plain PyTorch computes
        return Form(device, name, has_kernels and device.type == "cpu", bits)
    if compiled and not has_kernels:
        raise UserError(
            f"compiled=True with dtype {name}: there are kernels for "
            f"{', '.join(COMPILED_DTYPES)} alone; leave out compiled, or take one of these."
        )
    if compiled and (reason := obstacle(device, name)):
        raise UserError(f"compiled=True: {reason}; leave it out for plain PyTorch.")
    return Form(device, name, compiled, bits, insists=compiled)


def decoder_of(
    tensors: Mapping[str, torch.Tensor], config: ModelConfig, source: Path, form: Form
) -> Decoder:
    """The decoder that was asked for, of these tensors."""
    if form.insists and (unknown := not_in_kernels(config)):
        raise UserError(
            f"compiled=True: kernels do not know {unknown}; leave it out for plain PyTorch."
        )
    if form.dtype in QUANTIZED:
        decoder = quantized_decoder_from(tensors, config, source, form.device, form.dtype)
    else:
        kind = torch_dtype(form.dtype)
        decoder = decoder_from(tensors, config, source, form.device, kind)
    if form.cache_bits is not None:
        kept = partial(QuantizedKVCache, bits=form.cache_bits)
        decoder = decoder.with_parts(replace(decoder.parts, cache=kept))
    return fast(decoder) if form.compiled else decoder


@contextlib.contextmanager
def enough_memory(source: Path) -> Iterator[None]:
    """Say it in one sentence where a model is too large for this machine, or for its GPU."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise ModelFileError(
            f"{source} needs more memory than there is: take a smaller model, dtype='int8' or "
            f"'bf16', or another device."
        ) from None
