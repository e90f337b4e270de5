"""llama.cpp through its C interface: several texts at once, as its own examples drive it.

The library is that of llama-cpp-python where it is installed, else a prebuilt one. Of the structs
that its functions take by value, only the first fields are named here, those that have stood where
they stand for years; the rest is as its own defaults fill it, so that a newer one fits too.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decodeloop.bench import prebuilt
from decodeloop.bench.clock import Clock, Run
from decodeloop.checkpoints.download import cache_folder
from decodeloop.checkpoints.pinned import PINNED

MODULE = "llama_cpp"
FTYPES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7}  # llama.h: LLAMA_FTYPE_MOSTLY_…
READ_AT_ONCE = 512  # tokens of a prompt, its own default


class Unnamed(ctypes.Structure):
    """A struct of parameters that stays as it is."""

    _fields_ = (("all", ctypes.c_ubyte * 512),)


class ContextParams(ctypes.Structure):
    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("rest", ctypes.c_ubyte * 496),
    )


class QuantizeParams(ctypes.Structure):
    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int32),
        ("output_type", ctypes.c_int32),
        ("embedding_type", ctypes.c_int32),
        ("allow_requantize", ctypes.c_bool),
        ("rest", ctypes.c_ubyte * 495),
    )


class Batch(ctypes.Structure):
    """Tokens, each with its position, its text, and whether its logits are wanted."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


POINTER, WHOLE = ctypes.c_void_p, ctypes.c_int32
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [POINTER, POINTER]),
    "llama_model_default_params": (Unnamed, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_quantize_default_params": (QuantizeParams, []),
    "llama_model_quantize": (
        ctypes.c_uint32,
        [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(QuantizeParams)],
    ),
    "llama_model_load_from_file": (POINTER, [ctypes.c_char_p, Unnamed]),
    "llama_model_get_vocab": (POINTER, [POINTER]),
    "llama_vocab_n_tokens": (WHOLE, [POINTER]),
    "llama_init_from_model": (POINTER, [POINTER, ContextParams]),
    "llama_set_n_threads": (None, [POINTER, WHOLE, WHOLE]),
    "llama_n_seq_max": (ctypes.c_uint32, [POINTER]),
    "llama_get_memory": (POINTER, [POINTER]),
    "llama_memory_seq_cp": (None, [POINTER, WHOLE, WHOLE, WHOLE, WHOLE]),
    "llama_batch_init": (Batch, [WHOLE, WHOLE, WHOLE]),
    "llama_batch_free": (None, [Batch]),
    "llama_decode": (WHOLE, [POINTER, Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [POINTER, WHOLE]),
    "llama_free": (None, [POINTER]),
}
SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, POINTER)(lambda *_: None)


def is_possible() -> bool:
    """Whether there is a library, or could be."""
    return importlib.util.find_spec(MODULE) is not None or prebuilt.is_possible()


def library() -> ctypes.CDLL:
    """llama.cpp, ready to be called.

    Raises:
        UserError: it has to be fetched, and can't be.
    """
    if importlib.util.find_spec(MODULE) is not None:
        import llama_cpp.llama_cpp as installed

        found = ctypes.CDLL(installed._lib._name)  # a handle of our own, with types of our own
    else:
        folder = prebuilt.libraries()
        ctypes.CDLL(str(folder / "libggml-base.so"), ctypes.RTLD_GLOBAL)
        (base,) = folder.glob("libggml.*so*")
        ggml = ctypes.CDLL(str(base), ctypes.RTLD_GLOBAL)
        ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
        ggml.ggml_backend_load_all_from_path(f"{folder}/".encode())
        (path,) = folder.glob("libllama.*so*")
        found = ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    found.llama_log_set(SILENT, None)
    found.llama_backend_init()
    return found


class Texts:
    """Some texts in one context of llama.cpp; it is freed by `close`."""

    def __init__(self, lib: ctypes.CDLL, model: int, texts: int, length: int, threads: int) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_seq_max = texts * length, texts
        params.n_batch = max(READ_AT_ONCE, texts)
        self.lib, self.texts = lib, texts
        self.vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        self.context = lib.llama_init_from_model(model, params)
        if not self.context or lib.llama_n_seq_max(self.context) != texts:
            raise RuntimeError(f"llama.cpp makes no context of {texts} texts of {length} tokens")
        lib.llama_set_n_threads(self.context, threads, threads)
        self.batch = lib.llama_batch_init(params.n_batch, 0, 1)

    def read(self, tokens: Sequence[int], places: Sequence[int], texts: Sequence[int]) -> None:
        """Run tokens at these places of these texts; the logits of each text's last one are
        wanted."""
        batch, last = self.batch, {text: n for n, text in enumerate(texts)}
        batch.n_tokens = len(tokens)
        for n, (token, place, text) in enumerate(zip(tokens, places, texts, strict=True)):
            batch.token[n], batch.pos[n], batch.n_seq_id[n] = token, place, 1
            batch.seq_id[n][0], batch.logits[n] = text, last[text] == n
        if code := self.lib.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode gave {code}")

    def best(self, n: int) -> int:
        """The token with the largest logit after the n-th token of what was read."""
        logits = self.lib.llama_get_logits_ith(self.context, n)
        return int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def copy_the_first(self) -> None:
        """All texts become the first one."""
        memory = self.lib.llama_get_memory(self.context)
        for text in range(1, self.texts):
            self.lib.llama_memory_seq_cp(memory, 0, text, -1, -1)

    def close(self) -> None:
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)


def load(form: str) -> Any:
    """What loads llama.cpp with its weights in one of its formats."""

    def load_form(model: str, threads: int) -> Run:
        lib = library()
        path = requantized(lib, gguf_file(model), form)
        weights = lib.llama_model_load_from_file(
            str(path).encode(), lib.llama_model_default_params()
        )
        if not weights:
            raise RuntimeError(f"llama.cpp can't load {path}")

        def run(ids: Sequence[int], new_tokens: int, batch: int = 1) -> list[float]:
            S, all_texts = len(ids), list(range(batch))
            texts = Texts(lib, weights, batch, S + new_tokens, threads)
            try:
                clock = Clock()
                for n in range(0, S, READ_AT_ONCE):
                    some = ids[n : n + READ_AT_ONCE]
                    texts.read(some, range(n, n + len(some)), [0] * len(some))
                token = texts.best(len(some) - 1)
                clock.tick()
                texts.copy_the_first()
                tokens = [token] * batch
                for place in range(S, S + new_tokens - 1):
                    texts.read(tokens, [place] * batch, all_texts)
                    tokens = [texts.best(n) for n in all_texts]
                    clock.tick()
                return clock.times
            finally:
                texts.close()

        return run

    return load_form


def gguf_file(model: str) -> Path:
    """The file that all engines get, in its own format."""
    if model in PINNED:
        pinned = PINNED[model]
        return cache_folder() / pinned.name / pinned.file_name
    return Path(model)


def requantized(lib: ctypes.CDLL | None, source: Path, form: str) -> Path:
    """The file in another of llama.cpp's formats, made once and kept in the cache folder."""
    if form in source.name:
        return source
    target = cache_folder() / "bench" / f"{source.stem}-{form}.gguf"
    if not target.is_file():
        assert lib
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}")
        params = lib.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize = FTYPES[form], True
        code = lib.llama_model_quantize(
            str(source).encode(), str(unfinished).encode(), ctypes.byref(params)
        )
        if code:
            raise RuntimeError(f"llama.cpp can't make {form} of {source} (code {code})")
        unfinished.replace(target)
    return target
