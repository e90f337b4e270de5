"""`response_format`: answers that are JSON, asked for by OpenAI's own client."""

from __future__ import annotations

import json
from typing import Literal

import httpx
import jsonschema
import openai
import pytest
from live_servers import NAME, all_free, live, tiny_speaker, wait_until
from pydantic import BaseModel

from decodeloop.serve.formats import MOST_KEPT, Formats
from decodeloop.serve.protocol import ResponseFormat
from decodeloop.serve.replies import Places

CHAT = [{"role": "user", "content": "Say something in JSON."}]
SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green"]},
        "sizes": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    },
    "required": ["colour", "sizes"],
    "additionalProperties": False,
}


def as_schema(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tiny_speaker(tmp_path_factory.mktemp("tiny"))) as server:
        yield server
        wait_until(lambda: server.service.here == 0)
        assert all_free(server)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", timeout=20, max_retries=0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("strict", [True, False, None])
def test_an_answer_is_valid_by_its_schema(client, temperature, strict):
    told = client.chat.completions.create(
        model=NAME, messages=CHAT, max_tokens=150, n=3, seed=1, temperature=temperature,
        response_format=as_schema(SCHEMA, strict=strict),
    )  # fmt: skip
    for choice in told.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)


def test_a_stream_is_the_same_answer_in_pieces(client):
    asked = {
        "model": NAME, "messages": CHAT, "max_tokens": 150, "temperature": 1, "seed": 5,
        "response_format": as_schema(SCHEMA),
    }  # fmt: skip
    chunks = list(client.chat.completions.create(**asked, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len(chunks) > 5
    assert text == client.chat.completions.create(**asked).choices[0].message.content
    jsonschema.validate(json.loads(text), SCHEMA)


def test_the_clients_own_parsing_gives_an_object_of_a_class(client):
    class Size(BaseModel):
        unit: Literal["m", "km"]
        large: bool

    class Answer(BaseModel):
        colour: Literal["red", "green"]
        size: Size

    told = client.chat.completions.parse(
        model=NAME, messages=CHAT, max_tokens=150, temperature=0, response_format=Answer
    )
    assert isinstance(told.choices[0].message.parsed, Answer)


def test_an_answer_may_be_any_object(client):
    """Of a random model: some end in time, and these can be read; the others say `length`."""
    ended = 0
    for seed in range(4):
        told = client.chat.completions.create(
            model=NAME, messages=CHAT, max_tokens=60, n=3, seed=seed, temperature=1,
            response_format={"type": "json_object"},
        )  # fmt: skip
        for choice in told.choices:
            assert choice.message.content.startswith("{")
            if choice.finish_reason == "stop":
                assert isinstance(json.loads(choice.message.content), dict)
                ended += 1
    assert ended > 2


def test_a_completion_takes_it_too_and_one_that_asks_for_text_is_free(client):
    asked = {"model": NAME, "prompt": "hello", "max_tokens": 150, "temperature": 0}
    told = client.completions.create(**asked, extra_body={"response_format": as_schema(SCHEMA)})
    jsonschema.validate(json.loads(told.choices[0].text), SCHEMA)
    free = client.completions.create(**asked, extra_body={"response_format": {"type": "text"}})
    assert free.choices[0].text == client.completions.create(**asked).choices[0].text


def test_too_few_tokens_are_told_as_such(client):
    told = client.chat.completions.create(
        model=NAME, messages=CHAT, max_tokens=3, response_format=as_schema(SCHEMA)
    )
    assert told.choices[0].finish_reason == "length"


DEEP: dict[str, object] = {"type": "null"}
for _ in range(150):
    DEEP = {"type": "array", "items": DEEP}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"type": "xml"}, 'response_format.type is "xml"'),
        ("json", 'response_format is "json"'),
        ({"type": "json_schema"}, "expected json_schema beside it"),
        (as_schema(SCHEMA) | {"type": "json_object"}, "is of type json_object: expected"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "json_schema.schema is missing"),
        (as_schema("object"), 'response_format.json_schema.schema is "object": expected an obj'),
        (as_schema(SCHEMA, name=""), 'response_format.json_schema.name is ""'),
        (as_schema({"type": "integral"}), "the schema is refused at #/type: 'integral'"),
        (
            as_schema({"type": "object", "properties": {"a": {"allOf": []}}}),
            "refused at #/properties/a: the keyword 'allOf' is not supported",
        ),
        (as_schema(False), "the schema is refused at #: false"),
        (as_schema({"$ref": "#/$defs/none"}), "leads nowhere"),
        (as_schema({"type": "string", "pattern": "("}), "#/pattern"),
        (as_schema(DEEP), "more than 100 schemas in one another"),
    ],
    ids=lambda x: str(x)[:50],
)
def test_a_bad_format_is_told_what_is_wrong_with_it_and_where(server, asked, message):
    told = httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"model": NAME, "messages": CHAT, "max_tokens": 4, "response_format": asked},
    )
    assert told.status_code == 400
    assert message in told.json()["error"]["message"]
    assert told.json()["error"]["param"].startswith("response_format")


def test_a_schema_is_made_once_and_only_so_many_are_kept(server):
    formats = server_formats(server)
    asked = [ResponseFormat.model_validate(as_schema({"const": i})) for i in range(MOST_KEPT + 1)]
    first = formats.constraint(asked[0])
    assert formats.constraint(asked[0]) is first
    for one in asked:
        formats.constraint(one)
    assert formats.constraint(asked[0]) is not first


def server_formats(server):
    texts = [b"", *(bytes([i]) for i in range(256))]
    assert server.service.state == "ok"
    return Formats(lambda: texts)


class Bytes:
    """A tokenizer whose tokens are bytes."""

    def decode(self, token_ids, skip_special=False):
        return bytes(token_ids).decode("utf-8", "replace")


def test_a_token_begins_where_its_character_does():
    places = Places(Bytes())
    assert [places.next(byte) for byte in "aé€b".encode()] == [0, 1, 1, 2, 2, 2, 3]
