"""Servers of tiny models on loopback, for whoever asks one, and a model that waits for a test."""

from __future__ import annotations

import threading
import time

from tiny_models import random_llama, save_folder

from decodeloop.loading import load
from decodeloop.serve import Engine
from decodeloop.serve.asking import Speaker
from decodeloop.serve.running import LiveServer

NAME = "tiny"


def tiny_speaker(folder, **changes):
    """A tiny random model with a tokenizer, which can chat."""
    save_folder(folder, random_llama(max_position_embeddings=256))
    return Speaker(NAME, load(folder, device="cpu", compiled=False), **changes)


def live(speaker, model=None, *, most=3, blocks=40, size=8, **options):
    """A server of it, small enough that its limits are met."""
    engine = Engine(model or speaker.llm.model, blocks=blocks, size=size, most=most)
    return LiveServer(speaker, engine, **options)


class Paced:
    """A model whose steps take at least so long; while it is held, they take as long as that."""

    def __init__(self, model, seconds=0.0):
        self.model, self.seconds = model, seconds
        self.config, self.head, self.dtype = model.config, model.head, model.dtype
        self.steps, self.held = 0, False
        self.may_go = threading.Event()
        self.may_go.set()

    def hidden(self, *arguments, **options):
        self.steps += 1
        time.sleep(self.seconds)
        self.held = not self.may_go.is_set()
        assert self.may_go.wait(10)
        self.held = False
        return self.model.hidden(*arguments, **options)


def wait_until(true, seconds=10.0):
    """Fail unless something becomes true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.002)


def all_free(server):
    blocks = server.service.engine.scheduler.blocks
    return len(blocks.free) == blocks.count and not any(blocks.references)


__all__ = ["NAME", "Paced", "all_free", "live", "tiny_speaker", "wait_until"]
