"""`generate` with an answer that must match."""

from __future__ import annotations

import json

import pytest
from one_sentence import assert_one_sentence

MARIA = "Maria Keller, 34, lives in Lisbon. Write her name and age as JSON."
SCHEMA = {
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture
def schema_file(tmp_path):
    def write(text):
        path = tmp_path / "schema.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
        return path

    return write


def test_an_answer_is_what_a_schema_asks_for(generated, schema_file):
    answer = generated(MARIA, "--json-schema", schema_file(SCHEMA), "--max-new-tokens", 60)
    assert json.loads(answer["text"]) == {"name": "Maria", "age": 34}
    assert (answer["finish_reason"], answer["complete"]) == ("stop", True)


def test_an_answer_is_what_a_pattern_matches(generated):
    answer = generated("Is Paris in Japan? Answer yes or no.", "--regex", "Yes|No")
    assert answer["text"] == "No"


def test_what_was_cut_is_said_to_be(command, generated, schema_file):
    words = [MARIA, "--json-schema", schema_file(SCHEMA), "--max-new-tokens", 3]
    answer = generated(*words)
    assert (answer["finish_reason"], answer["complete"]) == ("length", False)
    status, out, err = command("generate", *words)
    assert status == 0 and out.startswith("{")
    assert "not complete" in err and "cut after 3 tokens" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "schema.json is no JSON (line 1, column 2"),
        ('{"type": "array", "uniqueItems": true}', "at #: the keyword 'uniqueItems'"),
        ('{"properties": {"a": {"pattern": "(b"}}}', "at #/properties/a/pattern: the pattern '(b'"),
        ("[" * 100_000, "schema.json"),
    ],
)
def test_a_broken_schema_is_named_before_a_model_is_loaded(command, schema_file, text, said):
    status, out, err = command("generate", "x", "--json-schema", schema_file(text), "--model", "no")
    assert (status, out) == (2, "")
    assert said in err
    assert_one_sentence(err)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--regex", "a)"], "the pattern 'a)' is refused at character 2"),
        (["--json-schema", "missing.json"], "missing.json can't be read"),
        (["--regex", "a", "--json-schema", "b"], "were both given"),
        (["--regex", "a", "--beams", 2], "--regex was given together with --beams"),
        (["--regex", "a", "--mine"], "--regex was given together with --mine"),
    ],
)
def test_bad_options_are_named(command, options, said):
    status, out, err = command("generate", "x", *options, "--model", "none")
    assert (status, out) == (2, "")
    assert said in err
    assert_one_sentence(err)
