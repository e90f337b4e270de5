"""`load`: a name or a path becomes a language model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from decodeloop.assembling import decoder_from, int8_decoder_from
from decodeloop.bar import progress_bar
from decodeloop.checkpoints.download import (
    cache_folder,
    converted_folder,
    damage,
    fetch,
    is_fetched,
)
from decodeloop.checkpoints.fields import naming
from decodeloop.checkpoints.files import can_be_a_path
from decodeloop.checkpoints.folder import OneByOne, read_weights
from decodeloop.checkpoints.gguf_file import GGUFFile, is_gguf
from decodeloop.checkpoints.gguf_tokenizer import tokenizer_from_gguf
from decodeloop.checkpoints.hub import hub_folder, is_hub_id, kept_folder
from decodeloop.checkpoints.hub_config import read_config, read_eos_ids
from decodeloop.checkpoints.pinned import PINNED
from decodeloop.checkpoints.shipped import SHIPPED
from decodeloop.checkpoints.tokenizer import Tokenizer
from decodeloop.checkpoints.weights import Finite
from decodeloop.cost.presets import PRESETS
from decodeloop.decode import Sampling, TextGeneration
from decodeloop.decode.conversation import Message, check_messages
from decodeloop.devices import pick_device, total_memory
from decodeloop.dtypes import dtype_name, torch_dtype
from decodeloop.errors import ModelFileError, UserError
from decodeloop.kernels import fast, obstacle
from decodeloop.kernels.known import not_in_kernels
from decodeloop.model import Decoder, ModelConfig, parameter_count

DTYPES = ("fp32", "bf16", "fp16", "int8", "w8a8")  # what weights can be
COMPILED_DTYPES = ("fp32", "int8", "w8a8")  # those that there are kernels for
KNOWN = (*PINNED, *SHIPPED)  # models by name
INT8_PRODUCTS = {"int8": None, "w8a8": torch.int8}  # with int8 weights: what inputs are made


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
) -> LanguageModel:
    """Load a language model.

    What the weights are and what computes are two choices.

    Args:
        name_or_path: a name that the course knows (``smollm2-135m``, fetched at first use;
            ``small``, which comes with the course and knows Shakespeare alone); a ``.gguf`` file of
            Llama or a relative (F32, F16, Q8_0, Q4_1), or a part of one; a folder with
            ``config.json`` and safetensors; or a hub id (``owner/name``), whose folder is fetched,
            once. Relatives are Mistral, Qwen 2 and 3, SmolLM 3.
        device: where to; ``DECODELOOP_DEVICE``, else the best there is, if not given.
        dtype: what the weights are: ``fp32`` (if not given), ``bf16``, ``fp16``, or ``int8``,
            quantized to 8 bits with a scale for each row, while all else stays fp32; ``w8a8`` is
            int8 with the inputs of the products in 8 bits too, a scale for each token: less exact,
            and the fastest for many texts at once. PyTorch's types and their names are understood.
        compiled: True computes by kernels (`decodeloop.kernels`): with fp32 weights the same
            tokens, several times as fast. They are for fp32, int8 and w8a8 on the CPU,
            and need Numba.
            False is PyTorch alone. If not given, kernels compute where they can; where Numba alone
            is missing, a warning says so.

    Raises:
        UserError: the name or the type is unknown, kernels were asked for where there are none, or
            a fetch fails.
        ModelFileError: the file or folder is missing, damaged or not supported.
    """
    where, name = pick_device(device), str(name_or_path)
    form = form_of(where, dtype, compiled)
    if name in KNOWN:
        return from_folder(known_folder(name), name, form, known=True)
    path = Path(name_or_path)
    with contextlib.suppress(RuntimeError):  # a home that nobody has
        path = path.expanduser()
    if not can_be_a_path(path):
        raise unknown(name)
    if path.is_dir():
        return from_folder(path, name, form)
    if is_gguf(path):
        return from_gguf(path, name, form)
    if path.exists():
        raise ModelFileError(
            f"{path} is neither a .gguf file nor a folder with config.json and safetensors."
        )
    if is_hub_id(name):
        return from_folder(
            hub_folder(name, lambda config: check_fits(config, name, form)), name, form
        )
    if name.lower() in PRESETS:
        return from_folder(preset_folder(name), name, form)
    raise unknown(name)


@dataclass(frozen=True)
class Form:
    """In what form a model is wanted."""

    device: torch.device
    dtype: str  # one of DTYPES
    compiled: bool
    insists: bool = False  # compiled=True was asked for


def form_of(device: torch.device, dtype: object, compiled: bool | None) -> Form:
    """The form that was asked for, with what was left open decided.

    Raises:
        UserError: the type is unknown, or kernels were asked for where there are none.
    """
    name = "fp32" if dtype is None else dtype_name(dtype, DTYPES)
    has_kernels = name in COMPILED_DTYPES
    if compiled is None:  # without Numba `fast` warns, and plain PyTorch computes
        return Form(device, name, has_kernels and device.type == "cpu")
    if compiled and not has_kernels:
        raise UserError(
            f"compiled=True with dtype {name}: there are kernels for "
            f"{', '.join(COMPILED_DTYPES)} alone; leave out compiled, or take one of these."
        )
    if compiled and (reason := obstacle(device, name)):
        raise UserError(f"compiled=True: {reason}; leave it out for plain PyTorch.")
    return Form(device, name, compiled, insists=compiled)


def preset_folder(name: str) -> Path:
    """The folder of a model whose costs are known by a name, if it was fetched before.

    Raises:
        UserError: it was not.
    """
    hub_id = PRESETS[name.lower()].source.partition(",")[0]
    folder = kept_folder(hub_id) if is_hub_id(hub_id) else None
    if folder is None:
        how = f"load {hub_id!r} once, which fetches it, or " if is_hub_id(hub_id) else ""
        raise UserError(
            f"of {name!r} the configuration alone is known here, for what it costs: {how}give a "
            f"folder with its config.json and safetensors."
        )
    return folder


def check_fits(config: ModelConfig, name: str, form: Form) -> None:
    """Raise a `ModelFileError` if the weights of a model are more than this machine's memory holds:
    said before they are fetched."""
    each = 1 if form.dtype in INT8_PRODUCTS else torch_dtype(form.dtype).itemsize
    needed, memory = parameter_count(config) * each, total_memory()
    if memory is not None and needed > memory:
        raise ModelFileError(
            f"{name} has {needed / 1e9:,.1f} GB of weights as {form.dtype}, and this machine has "
            f"{memory / 1e9:,.1f} GB of memory: take a smaller model, or dtype='int8' or 'bf16'."
        )


def unknown(name: str) -> UserError:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return UserError(
        f"unknown model {shown!r}: expected one of {', '.join(KNOWN)}, a .gguf file, a folder "
        f"with config.json and safetensors, or a hub id (owner/name); nothing lies at that path."
    )


def known_folder(name: str) -> Path:
    """The folder of a model that the course knows; fetched, with a bar, if it is not there yet."""
    if name in SHIPPED:
        return SHIPPED[name]
    pinned, cache = PINNED[name], cache_folder()
    if not is_fetched(pinned, cache):
        with progress_bar() as show:
            return fetch(pinned, cache, progress=show)
    wrong = damage(pinned, cache)
    if wrong:
        raise ModelFileError(f"the model {name} is damaged: {wrong}; run 'decodeloop fetch'.")
    return converted_folder(pinned, cache)


def from_folder(folder: Path, name: str, form: Form, known: bool = False) -> LanguageModel:
    """Load a folder in the hub's layout; of a known one every byte is as it was written."""
    config, eos_ids = read_config(folder), read_eos_ids(folder)
    tokenizer = Tokenizer.from_folder(folder)
    read = OneByOne if form.dtype in INT8_PRODUCTS else read_weights
    tensors: Mapping[str, torch.Tensor] = read(folder, config)
    if not known:
        check_vocabulary(tokenizer, config, eos_ids, folder)
        tensors = Finite(tensors, folder)
    with enough_memory(folder):
        model = decoder_of(tensors, config, folder, form)
    return LanguageModel(name, config, tokenizer, model, tuple(eos_ids))


def from_gguf(path: Path, name: str, form: Form) -> LanguageModel:
    """Load a GGUF file as it is, dequantizing it each time."""
    file = GGUFFile(path)
    tokenizer = tokenizer_from_gguf(file.fields, path)
    check_vocabulary(tokenizer, file.config, file.eos_ids(), path)
    with enough_memory(path):
        model = decoder_of(file.weights(), file.config, path, form)
    return LanguageModel(name, file.config, tokenizer, model, tuple(file.eos_ids()))


def decoder_of(
    tensors: Mapping[str, torch.Tensor], config: ModelConfig, source: Path, form: Form
) -> Decoder:
    """The decoder that was asked for, of these tensors."""
    if form.insists and (unknown := not_in_kernels(config)):
        raise UserError(
            f"compiled=True: kernels do not know {unknown}; leave it out for plain PyTorch."
        )
    if form.dtype in INT8_PRODUCTS:
        products = INT8_PRODUCTS[form.dtype]
        decoder = int8_decoder_from(tensors, config, source, form.device, products)
    else:
        kind = torch_dtype(form.dtype)
        decoder = decoder_from(tensors, config, source, form.device, kind)
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


def check_vocabulary(
    tokenizer: Tokenizer, config: ModelConfig, eos_ids: Sequence[int], source: Path
) -> None:
    """Ids beyond the embedding belong to another model: it can neither read nor make them."""
    with naming(source):
        vocabulary = tokenizer.vocabulary
    if vocabulary > config.vocabulary:
        raise ModelFileError(
            f"{source}: the tokenizer has {vocabulary} tokens, the model {config.vocabulary}: they "
            f"do not belong together; copy the model again."
        )
    if beyond := [token for token in eos_ids if not 0 <= token < config.vocabulary]:
        raise ModelFileError(
            f"{source}: the token {beyond[0]} is to end a text, and the model has "
            f"{config.vocabulary} tokens, from 0 up: it would never end one; copy the model again."
        )
