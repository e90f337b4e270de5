"""What drives the model: the loop, the samplers, and text as it is generated."""

from decodeloop.decode.acceptance import (
    accept_or_replace,
    acceptance_probability,
    best_k,
    count_accepted,
    expected_tokens,
    residual,
    speed_up,
)
from decodeloop.decode.adapting import AdaptiveLength
from decodeloop.decode.batch import generate_batch, pad_left
from decodeloop.decode.beam import Beam, beam_candidates, beam_search
from decodeloop.decode.constrained import (
    Constraint,
    Vocabulary,
    allowed_tokens,
    constrained_choice,
    push_and_pop,
    step_automaton,
    token_index,
)
from decodeloop.decode.conversation import Conversation, Message, Turn
from decodeloop.decode.drafts import (
    Draft,
    ModelDraft,
    PromptLookup,
    Proposal,
    ScriptedDraft,
    lookup,
)
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
from decodeloop.decode.speculative import Speculation, speculate
from decodeloop.decode.text import BeamText, TextGeneration, search, stream
from decodeloop.decode.text_stream import TextStream

__all__ = [
    "AdaptiveLength",
    "Beam",
    "BeamText",
    "Completion",
    "Constraint",
    "Conversation",
    "Draft",
    "FinishReason",
    "Generation",
    "Message",
    "ModelDraft",
    "PromptLookup",
    "Proposal",
    "Sampling",
    "SamplingParts",
    "ScriptedDraft",
    "Sequence",
    "Speculation",
    "TextGeneration",
    "TextStream",
    "TokenForecast",
    "Turn",
    "Vocabulary",
    "accept_or_replace",
    "acceptance_probability",
    "allowed_tokens",
    "beam_candidates",
    "beam_search",
    "best_k",
    "constrained_choice",
    "count_accepted",
    "decode_step",
    "decoding_loop",
    "expected_tokens",
    "frequency_penalty",
    "generate",
    "generate_batch",
    "greedy",
    "logit_bias",
    "lookup",
    "loop_without_cache",
    "min_p",
    "next_token_loss",
    "pad_left",
    "perplexity",
    "prefill",
    "presence_penalty",
    "push_and_pop",
    "repetition_penalty",
    "residual",
    "sample",
    "search",
    "speculate",
    "speed_up",
    "step_automaton",
    "stream",
    "temperature",
    "text_loss",
    "token_forecast",
    "token_index",
    "top_k",
    "top_p",
]
