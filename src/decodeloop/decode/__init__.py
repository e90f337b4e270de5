"""What drives the model: the loop, the samplers, and text as it is generated."""

from decodeloop.decode.loop import (
    Completion,
    Generation,
    decode_step,
    generate,
    generate_batch,
    pad_left,
    prefill,
)
from decodeloop.decode.sampling import (
    Sampling,
    greedy,
    min_p,
    repetition_penalty,
    sample,
    temperature,
    top_k,
    top_p,
)
from decodeloop.decode.scoring import next_token_loss, perplexity, text_loss
from decodeloop.decode.text import TextGeneration, TextStream, stream

__all__ = [
    "Completion",
    "Generation",
    "Sampling",
    "TextGeneration",
    "TextStream",
    "decode_step",
    "generate",
    "generate_batch",
    "greedy",
    "min_p",
    "next_token_loss",
    "pad_left",
    "perplexity",
    "prefill",
    "repetition_penalty",
    "sample",
    "stream",
    "temperature",
    "text_loss",
    "top_k",
    "top_p",
]
