"""Tiny models in every format, and a guard for files that are damaged on purpose."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_models import (
    CONTROL_TOKENS,
    TEMPLATE,
    TOKENS,
    as_stored,
    gguf_tensors,
    random_llama,
    save_folder,
    save_tokenizer,
    split_gguf,
    write_gguf,
)
from transformers import LlamaForCausalLM

from decodeloop.errors import UserError


@contextlib.contextmanager
def guarded(seconds: int = 60, megabytes: int = 1024) -> Iterator[None]:
    """Turn a hang or a huge allocation into a failure, where the system offers a way to."""

    def give_up(*_: Any) -> None:
        raise TimeoutError("a damaged file made the loader hang")

    with contextlib.ExitStack() as stack:
        if hasattr(signal, "SIGALRM"):
            previous = signal.signal(signal.SIGALRM, give_up)
            stack.callback(signal.signal, signal.SIGALRM, previous)
            signal.alarm(seconds)
            stack.callback(signal.alarm, 0)
        if sys.platform == "linux":
            import resource

            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_AS, (soft, hard))
        yield


def refusal(load: Callable[[], object]) -> str | None:
    """What `load` says, in one sentence, when it refuses; None when it works.

    Any other exception, or a message of several lines, is a failure.
    """
    try:
        load()
    except UserError as error:
        message = str(error)
        assert message.endswith("."), message
        assert "\n" not in message, message
        assert ".;" not in message, message
        return message
    return None


class Tiny:
    """What the tests of this room make models with."""

    tokens = TOKENS
    control_tokens = CONTROL_TOKENS
    template = TEMPLATE
    llama = staticmethod(random_llama)
    tensors = staticmethod(gguf_tensors)
    write_gguf = staticmethod(write_gguf)
    split_gguf = staticmethod(split_gguf)
    as_stored = staticmethod(as_stored)
    save_tokenizer = staticmethod(save_tokenizer)
    save_folder = staticmethod(save_folder)
    guarded = staticmethod(guarded)
    refusal = staticmethod(refusal)


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    return Tiny


@pytest.fixture(scope="session")
def llama() -> LlamaForCausalLM:
    """The tiny model that most tests store; its weights are not to be changed."""
    return random_llama()
