"""What may be asked: OpenAI's fields as far as this server has them, and a sentence for the rest.

A field that is not supported is refused by name, unless it says what would happen anyway: who asks
for something must not believe that it was done.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from decodeloop.decode.conversation import Message
from decodeloop.serve.complaints import bad, bad_request

MOST_TEXTS = 16  # that are asked for together
# Fields that are not supported, with the values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "functions": ([],),
}

Probability = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=1)]
Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Strict(BaseModel):
    """Nothing is converted, and nothing unknown is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class StreamOptions(Strict):
    """With the usage at the end, or, beyond OpenAI's, as far as it is in each chunk."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class JsonSchema(Strict):
    """A schema and its label. It is always obeyed, whatever `strict` says."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    description: str | None = None
    strict: bool | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Common(Strict):
    """The fields of both endpoints. `user` is a label, and changes nothing."""

    model: str
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Probability = 1.0
    n: Annotated[int, Field(ge=1, le=MOST_TEXTS)] = 1
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    logit_bias: dict[
        Annotated[str, StringConstraints(pattern=r"^\d{1,9}$")],
        Annotated[float, Field(ge=-100, le=100)],
    ] = Field({}, max_length=1024)
    response_format: ResponseFormat | None = None  # of a completion, too: beyond OpenAI's
    user: str | None = None
    # beyond OpenAI's
    top_k: Count | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    ignore_eos: bool = False

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def budget(self) -> int | None:
        """How many tokens may be made; None means as many as there is room for."""
        return self.max_tokens


class CompletionRequest(Common):
    prompt: str | Tokens | Annotated[list[str] | list[Tokens], Field(min_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def budget(self) -> int | None:
        return 16 if self.max_tokens is None else self.max_tokens  # OpenAI's

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """One or several, each a text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [self.prompt] if isinstance(self.prompt[0], int) else self.prompt


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def as_message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": role, "content": text}


class ChatRequest(Common):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def budget(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


def parse(kind: type[Common], told: dict[str, Any]) -> Any:
    """A request of this kind.

    Raises:
        Refused: a field is missing, wrong, or not supported; the message names it.
    """
    asked = {
        name: value
        for name, value in told.items()
        if value is not None and value not in NEUTRAL.get(name, ())
    }
    try:
        request = kind.model_validate(asked)
    except ValidationError as error:
        raise bad_request(error) from None
    if (
        isinstance(request, ChatRequest)
        and request.top_logprobs is not None
        and not request.logprobs
    ):
        raise bad("top_logprobs was given without logprobs: set that to true.", "logprobs")
    wanted = request.response_format
    if wanted is not None and (wanted.type == "json_schema") != (wanted.json_schema is not None):
        raise bad(
            f"response_format is of type {wanted.type}: expected json_schema beside it if that is "
            f"its type, and else none.",
            "response_format",
        )
    if request.stream_options is not None and not request.stream:
        raise bad("stream_options was given without stream: leave it out.", "stream_options")
    return request
