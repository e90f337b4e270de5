"""The ways of decoding that are compared: this project's, and other engines, if they are installed.

Each takes the same prompt ids, computes greedily with the same number of threads, goes on past the
end of the text, and tells when each token was there. What differs is said in `Contender`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decodeloop.bench import llama_cpp, peers
from decodeloop.bench.clock import Clock, Run
from decodeloop.errors import UserError


@dataclass(frozen=True)
class Contender:
    """One way of decoding, and what it does differently from others."""

    name: str
    bits: float  # for each weight, scales included
    activations: str  # the type that products take their inputs in
    cache: str  # the type of the KV cache
    load: Callable[[str, int], Run]  # model name or path, threads → what runs it
    module: str | None = None  # what must be installed; None for this project's own
    otherwise: Callable[[], bool] | None = None  # whether it can be had without that
    batches: bool = True  # whether it takes several texts at once

    @property
    def own(self) -> bool:
        return self.module is None

    @property
    def installed(self) -> bool:
        if self.module is None or importlib.util.find_spec(self.module) is not None:
            return True
        return self.otherwise is not None and self.otherwise()


def llama(form: str, bits: float) -> Contender:
    """llama.cpp with its weights in one of its formats."""
    return Contender(
        f"llama.cpp {form}", bits, "int8", "fp16", llama_cpp.load(form),
        module=llama_cpp.MODULE, otherwise=llama_cpp.is_possible,
    )  # fmt: skip


def load_own(
    dtype: str, compiled: bool, cache_dtype: str | None = None, *, with_table: bool = False
) -> Callable[[str, int], Run]:
    def load(model: str, threads: int) -> Run:
        import torch

        from decodeloop.bench.batch_of_ours import several
        from decodeloop.decode import generate
        from decodeloop.kernels import obstacle
        from decodeloop.loading import load as load_model
        from decodeloop.model import WITH_TABLE

        cpu, smaller = torch.device("cpu"), cache_dtype is not None
        reason = obstacle(cpu, dtype, smaller) if compiled else None
        if reason:  # or the plain path would stand in the table twice
            raise UserError(f"no compiled decode step: {reason}")
        torch.set_num_threads(threads)
        llm = load_model(model, cpu, dtype, compiled, cache_dtype)
        decoder = llm.model.with_parts(WITH_TABLE) if with_table else llm.model

        def run(ids: Sequence[int], new_tokens: int, batch: int = 1) -> list[float]:
            clock = Clock()
            if batch > 1:
                several(decoder, ids, new_tokens, batch, clock)
                return clock.times
            for _ in generate(decoder, torch.tensor([list(ids)]), new_tokens, eos_ids=()):
                clock.tick()
            return clock.times

        return run

    return load


def in_fewer_bits(dtype: str, cache: str) -> Contender:
    """One of our own with keys and values in fewer bits."""
    bits, inputs = {"int8": (8 + 32 / 576, "fp32 (in a prefill bf16)"), "int4": (4.5, "int8")}[
        dtype
    ]
    run = load_own(dtype, compiled=True, cache_dtype=cache)
    return Contender(f"{dtype}, {cache} cache", bits, inputs, cache, run)


# What `plain` was before lesson 16: by asking alone, to see what a long prompt takes.
TABLE = Contender("table", 32, "fp32", "fp32", load_own("fp32", compiled=False, with_table=True))

# A block of 32 weights has one 16-bit scale in Q8_0, Q4_0 and int4, and a minimum too in Q4_1. Of
# int4's head a step also reads the rows of a few tokens in 8 bits, which are not counted. A prefill
# of int8 weights takes bf16 inputs where the processor multiplies that, and fp32 ones elsewhere.
CONTENDERS = (
    Contender("plain", 32, "fp32", "fp32", load_own("fp32", compiled=False)),
    Contender("fp32", 32, "fp32", "fp32", load_own("fp32", compiled=True)),
    Contender(
        "int8", 8 + 32 / 576, "fp32 (in a prefill bf16)", "fp32", load_own("int8", compiled=True)
    ),
    Contender("w8a8", 8 + 32 / 576, "int8", "fp32", load_own("w8a8", compiled=True)),
    Contender("int4", 4.5, "int8", "fp32", load_own("int4", compiled=True)),
    in_fewer_bits("int8", "int8"),
    in_fewer_bits("int4", "int8"),
    in_fewer_bits("int4", "int4"),
    Contender("transformers", 32, "fp32", "fp32", peers.load_transformers, "transformers"),
    llama("Q8_0", 8.5),
    llama("Q4_1", 5.0),
    llama("Q4_0", 4.5),
    Contender(
        "openvino",
        5.0,
        "chosen by it",
        "chosen by it",
        peers.load_openvino,
        "openvino_genai",
        batches=False,
    ),
)
