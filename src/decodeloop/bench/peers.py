"""Engines that are called in Python: transformers and OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decodeloop.bench.clock import Clock, Run
from decodeloop.bench.llama_cpp import gguf_file
from decodeloop.finding import KNOWN, known_folder


def load_transformers(model: str, threads: int) -> Run:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    folder = known_folder(model) if model in KNOWN else model
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

    def several(ids: Sequence[int], new_tokens: int, batch: int) -> list[float]:
        clock = Clock()
        with torch.inference_mode():
            found = theirs(torch.tensor([list(ids)]), use_cache=True)
            cache, tokens = found.past_key_values, found.logits[:, -1:].argmax(-1)
            clock.tick()
            cache.batch_repeat_interleave(batch)
            tokens = tokens.repeat(batch, 1)
            for _ in range(new_tokens - 1):
                found = theirs(tokens, past_key_values=cache, use_cache=True)
                tokens = found.logits[:, -1:].argmax(-1)
                clock.tick()
        return clock.times

    def run(ids: Sequence[int], new_tokens: int, batch: int = 1) -> list[float]:
        if batch > 1:
            return several(ids, new_tokens, batch)
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

    def run(ids: Sequence[int], new_tokens: int, batch: int = 1) -> list[float]:
        if batch > 1:
            raise NotImplementedError("OpenVINO is compared with one text alone")
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
