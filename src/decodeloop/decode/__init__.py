"""What drives the model: the loop, the samplers, and text as it is generated."""

from decodeloop.decode.batch import generate_batch, pad_left
from decodeloop.decode.beam import Beam, beam_candidates, beam_search
from decodeloop.decode.conversation import Conversation, Message, Turn
from decodeloop.decode.loop import (
    Generation,
    decode_step,
    decoding_loop,
    generate,
    loop_without_cache,
    prefill,
)
from decodeloop.decode.penalties import (
    TokenForecast,
    frequency_penalty,
    logit_bias,
    presence_penalty,
    token_forecast,
)
from decodeloop.decode.sampling import (
    Sampling,
    SamplingParts,
    greedy,
    min_p,
    repetition_penalty,
    sample,
    temperature,
    top_k,
    top_p,
)
from decodeloop.decode.scoring import next_token_loss, perplexity, text_loss
from decodeloop.decode.sequence import Completion, FinishReason, Sequence
from decodeloop.decode.text import BeamText, TextGeneration, search, stream
from decodeloop.decode.text_stream import TextStream

__all__ = [
    "Beam",
    "BeamText",
    "Completion",
    "Conversation",
    "FinishReason",
    "Generation",
    "Message",
    "Sampling",
    "SamplingParts",
    "Sequence",
    "TextGeneration",
    "TextStream",
    "TokenForecast",
    "Turn",
    "beam_candidates",
    "beam_search",
    "decode_step",
    "decoding_loop",
    "frequency_penalty",
    "generate",
    "generate_batch",
    "greedy",
    "logit_bias",
    "loop_without_cache",
    "min_p",
    "next_token_loss",
    "pad_left",
    "perplexity",
    "prefill",
    "presence_penalty",
    "repetition_penalty",
    "sample",
    "search",
    "stream",
    "temperature",
    "text_loss",
    "token_forecast",
    "top_k",
    "top_p",
]
