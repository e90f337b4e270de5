"""The ways of decoding that are compared: this project's, and other engines, if they are installed.

Each takes the same prompt ids, computes greedily with the same number of threads, goes on past the
end of the text, and tells when each token was there. What differs is said in `Contender`.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decodeloop.checkpoints.download import cache_folder, converted_folder
from decodeloop.checkpoints.pinned import PINNED
from decodeloop.errors import UserError

Run = Callable[[Sequence[int], int], list[float]]  # ids, new tokens → seconds until each was there


@dataclass(frozen=True)
class Contender:
    """One way of decoding, and what it does differently from others."""

    name: str
    bits: float  # for each weight, scales included
    activations: str  # the type that products take their inputs in
    cache: str  # the type of the KV cache
    load: Callable[[str, int], Run]  # model name or path, threads → what runs it
    module: str | None = None  # what must be installed; None for this project's own

    @property
    def own(self) -> bool:
        return self.module is None

    @property
    def installed(self) -> bool:
        return self.module is None or importlib.util.find_spec(self.module) is not None


class Clock:
    """Notes when it is told of a token, in seconds since it was made."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start = time.perf_counter()

    def tick(self) -> None:
        self.times.append(time.perf_counter() - self.start)


def load_own(dtype: str, compiled: bool) -> Callable[[str, int], Run]:
    def load(model: str, threads: int) -> Run:
        import torch

        from decodeloop.decode import generate
        from decodeloop.kernels import obstacle
        from decodeloop.loading import load as load_model

        reason = obstacle(torch.device("cpu"), dtype) if compiled else None
        if reason:  # or the plain path would stand in the table twice
            raise UserError(f"no compiled decode step: {reason}")
        torch.set_num_threads(threads)
        llm = load_model(model, "cpu", dtype, compiled)

        def run(ids: Sequence[int], new_tokens: int) -> list[float]:
            prompt, clock = torch.tensor([list(ids)]), Clock()
            for _ in generate(llm.model, prompt, new_tokens, eos_ids=()):
                clock.tick()
            return clock.times

        return run

    return load


def load_transformers(model: str, threads: int) -> Run:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    folder = converted_folder(PINNED[model], cache_folder()) if model in PINNED else model
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    class Streamer:
        """What `generate` tells of each token; first it tells of the prompt."""

        def __init__(self) -> None:
            self.clock, self.prompt_told = Clock(), False

        def put(self, ids: Any) -> None:
            if self.prompt_told:
                self.clock.tick()
            self.prompt_told = True

        def end(self) -> None:
            pass

    def run(ids: Sequence[int], new_tokens: int) -> list[float]:
        prompt, streamer = torch.tensor([list(ids)]), Streamer()
        theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            streamer=streamer,
        )
        return streamer.clock.times

    return run


def gguf_file(model: str) -> Path:
    """The file that all engines get, in its own format."""
    if model in PINNED:
        pinned = PINNED[model]
        return cache_folder() / pinned.name / pinned.file_name
    return Path(model)


def load_llama_cpp(form: str) -> Callable[[str, int], Run]:
    def load(model: str, threads: int) -> Run:
        import llama_cpp

        path = requantized(gguf_file(model), form)
        engine = llama_cpp.Llama(
            model_path=str(path), n_ctx=4096, n_threads=threads, n_threads_batch=threads,
            n_batch=512, verbose=False,
        )  # fmt: skip

        def run(ids: Sequence[int], new_tokens: int) -> list[float]:
            engine.reset()  # or it would go on from the same prompt's cache
            clock = Clock()
            for _ in engine.generate(list(ids), top_k=1, temp=0.0, repeat_penalty=1.0):
                clock.tick()
                if len(clock.times) == new_tokens:
                    break
            return clock.times

        return run

    return load


def requantized(source: Path, form: str) -> Path:
    """The file in another of llama.cpp's formats, made once and kept in the cache folder."""
    if form in source.name:
        return source
    import llama_cpp

    target = cache_folder() / "bench" / f"{source.stem}-{form}.gguf"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}")
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{form}")
        params.allow_requantize = True
        code = llama_cpp.llama_model_quantize(
            str(source).encode(), str(unfinished).encode(), params
        )
        if code:
            raise RuntimeError(f"llama.cpp can't make {form} of {source} (code {code})")
        unfinished.replace(target)
    return target


def load_openvino(model: str, threads: int) -> Run:
    import numpy as np
    import openvino
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False  # or the second run would find its prompt read
    pipeline = openvino_genai.LLMPipeline(
        str(gguf_file(model)),
        "CPU",
        {"INFERENCE_NUM_THREADS": threads, "scheduler_config": scheduler},
    )

    class Streamer(openvino_genai.StreamerBase):
        def __init__(self) -> None:
            super().__init__()
            self.clock = Clock()

        def write(self, token: Any) -> Any:
            for _ in token if isinstance(token, list) else [token]:
                self.clock.tick()
            return openvino_genai.StreamingStatus.RUNNING

        def end(self) -> None:
            pass

    def run(ids: Sequence[int], new_tokens: int) -> list[float]:
        prompt = np.array([list(ids)], dtype=np.int64)
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new_tokens, True, False
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(prompt), openvino.Tensor(np.ones_like(prompt))
        )
        streamer = Streamer()
        pipeline.generate(inputs, config, streamer)
        return streamer.clock.times

    return run


# A block of 32 weights has one 16-bit scale in Q8_0 and Q4_0, and a minimum too in Q4_1. A prefill
# of int8 weights takes bf16 inputs where the processor multiplies that, and fp32 ones elsewhere.
CONTENDERS = (
    Contender("plain", 32, "fp32", "fp32", load_own("fp32", compiled=False)),
    Contender("fp32", 32, "fp32", "fp32", load_own("fp32", compiled=True)),
    Contender(
        "int8", 8 + 32 / 576, "fp32 (in a prefill bf16)", "fp32", load_own("int8", compiled=True)
    ),
    Contender("transformers", 32, "fp32", "fp32", load_transformers, "transformers"),
    Contender("llama.cpp Q8_0", 8.5, "int8", "fp16", load_llama_cpp("Q8_0"), "llama_cpp"),
    Contender("llama.cpp Q4_1", 5.0, "int8", "fp16", load_llama_cpp("Q4_1"), "llama_cpp"),
    Contender("llama.cpp Q4_0", 4.5, "int8", "fp16", load_llama_cpp("Q4_0"), "llama_cpp"),
    Contender("openvino", 5.0, "chosen by it", "chosen by it", load_openvino, "openvino_genai"),
)
